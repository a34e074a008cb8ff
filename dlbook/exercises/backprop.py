"""Exercises of the chapter on backpropagation.

Page: ``book/backprop.md``. Axes: j neurons of a layer, k neurons of the layer that its weights come
from, or, in BP2, of the layer above, as in the chapter.
"""

import numpy as np
from scipy.special import expit

from dlbook import backprop as chapter
from dlbook.exercises.forms import Choice, Exercise, Mistake, sizes
from dlbook.linear_classification import sigmoid_prime
from dlbook.tools.jit import njit
from dlbook.verification import complex_step

__all__ = ["EXERCISES"]


# BP2 in one line


def bp2_probes(rng):
    """One neuron in each layer; then layers of different sizes."""
    yield np.array([[2.0]]), np.array([0.5]), np.array([0.0])
    yield rng.normal(size=(3, 3)), rng.normal(size=3), rng.normal(size=3)
    for _ in range(4):
        k, j = sizes(rng, 2)
        yield rng.normal(size=(k, j)), rng.normal(size=k), rng.normal(size=j)


def bp2_vectorised(w, delta, z):
    s = expit(z)
    return (w.T @ delta) * s * (1 - s)


def bp2_loops(w, delta, z):
    below = np.zeros(len(z))
    for j in range(len(z)):
        for k in range(len(delta)):
            below[j] += w[k, j] * delta[k]
        below[j] *= np.exp(-z[j]) / (1 + np.exp(-z[j])) ** 2
    return below


def bp2_einsum(w, delta, z):
    return np.einsum("kj,k,j->j", w, delta, sigmoid_prime(z))


@njit
def bp2_compiled(w, delta, z):
    return np.dot(w.T, delta) * sigmoid_prime(z)


BP2 = Exercise(
    label="backprop-bp2",
    task="Write `my_bp2(w, delta, z)`, the error one layer back, with w and delta of the layer above.",
    reference=chapter.bp2,
    axes="(k j), (k), (j) -> (j)",
    probes=bp2_probes,
    mistakes=(
        Mistake(
            "the slope σ′(z) is missing",
            lambda w, delta, z: w.T @ delta,
            "This is ∂C/∂a. The error is a derivative with respect to z, so one more factor of the chain rule is due.",
            "{eq}`backprop-bp2`",
        ),
        Mistake(
            "σ(z) stands where σ′(z) belongs",
            lambda w, delta, z: (w.T @ delta) * expit(z),
            "The activation has taken the place of its slope, which is σ(z)(1 − σ(z)).",
            "{eq}`backprop-bp2-matrix`",
        ),
        Mistake(
            "the slope is taken at the activation",
            lambda w, delta, z: (w.T @ delta) * sigmoid_prime(expit(z)),
            "σ′ is a function of z. Written with a it is a(1 − a), without another sigmoid.",
            "{eq}`backprop-bp2-matrix`",
        ),
        Mistake(
            "the slope is z(1 − z) instead of a(1 − a)",
            lambda w, delta, z: (w.T @ delta) * z * (1 - z),
            "σ′ can be written with the output a = σ(z), as a(1 − a); z is what goes in.",
            "{eq}`backprop-bp2-matrix`",
        ),
        Mistake(
            "the slope is 1 − a instead of a(1 − a)",
            lambda w, delta, z: (w.T @ delta) * (1 - expit(z)),
            "Half of the slope is there; the other factor is a itself.",
            "{eq}`backprop-bp2-matrix`",
        ),
        Mistake(
            "the slope 1 − a² is that of tanh",
            lambda w, delta, z: (w.T @ delta) * (1 - expit(z) ** 2),
            "For the sigmoid it is a(1 − a).",
            "{eq}`backprop-bp2-matrix`",
        ),
        Mistake(
            "w is not transposed",
            lambda w, delta, z: (w @ delta) * sigmoid_prime(z),
            "w[k, j] leads from j to k. Errors come back from k to j, so the sum runs over the first index.",
            "{eq}`backprop-bp2-matrix`",
        ),
        Mistake(
            "only the strongest path is kept",
            lambda w, delta, z: np.max(w * delta[:, None], axis=0) * sigmoid_prime(z),
            "A neuron reaches the cost through every neuron above it: the contributions add up.",
            "{eq}`backprop-path-sum`",
        ),
    ),
    hints=(
        "Two questions: how do the errors above depend on a of this layer, and how does a depend on z?",
        "The first is a sum over the neurons above: in w[k, j] the summed index stands first, so w is transposed.",
        "(wᵀ δ) ⊙ σ′(z), and σ′(z) = σ(z)(1 − σ(z)).",
    ),
    used="It is {eq}`backprop-bp2`; for a batch it becomes one matrix product, {eq}`backprop-minibatch`.",
    right=(bp2_vectorised, bp2_loops, bp2_einsum, bp2_compiled),
    others=(
        (lambda w, delta, z: (w @ delta) * z, "crashed"),
        (lambda w, delta, z: -chapter.bp2(w, delta, z), "every number has the opposite sign"),
        (
            lambda w, delta, z: chapter.bp2(w, delta, z) / len(delta),
            "every number is 1/K times what it should be",
        ),
        (lambda w, delta, z: chapter.bp2(w, delta, z)[None], "wrong type or shape"),
        (lambda w, delta, z: chapter.bp2(w, delta, z) * z, "wrong"),
    ),
)


# Break this line

BREAK = Choice(
    label="backprop-break",
    task="`bp2` has w[j, k] for w[k, j], the sizes are (4, 4, 4). Name the letters of all that become wrong.",
    right="ace",
    wrong={
        "b": "(b), δ³, comes from BP1, at the output, before BP2 is called for the first time.",
        "d": "(d), ∂C/∂w³, is BP4 with δ³ and a², and neither has met BP2.",
    },
    missing="What is computed from a wrong number is wrong too, although its own equation is right.",
    hints=(
        "Which quantity does `bp2` return in a network of three layers?",
        "It returns δ². Now look at which equations take δ² in.",
        "BP3 and BP4 of layer 2 take it; those of layer 3 take δ³, which comes from BP1.",
    ),
    used="This is why {eq}`backprop-bp2` is checked in every layer and with matrices that are not symmetric.",
)


# Another activation, by hand


def tanh_probes(rng):
    """One neuron in each layer; then layers of different sizes."""
    yield np.array([[2.0]]), np.array([0.5]), np.array([0.5]), np.array([1.0])
    for _ in range(4):
        j, k = sizes(rng, 2)
        yield (
            rng.normal(size=(k, j)),
            np.tanh(rng.normal(size=j)),
            np.tanh(rng.normal(size=k)),
            rng.normal(size=k),
        )


def tanh_deltas(w3, a2, a3, y):
    d3 = (a3 - y) * (1 - a3**2)
    return (1 - a2**2) * (w3.T @ d3), d3


def tanh_by_cosh(w3, a2, a3, y):
    d3 = (a3 - y) / np.cosh(np.arctanh(a3)) ** 2
    return (w3.T @ d3) / np.cosh(np.arctanh(a2)) ** 2, d3


def tanh_loops(w3, a2, a3, y):
    d2, d3 = np.zeros(len(a2)), np.zeros(len(a3))
    for k in range(len(a3)):
        d3[k] = (a3[k] - y[k]) * (1 - a3[k] * a3[k])
        for j in range(len(a2)):
            d2[j] += w3[k, j] * d3[k] * (1 - a2[j] * a2[j])
    return d2, d3


@njit
def tanh_compiled(w3, a2, a3, y):
    d3 = (a3 - y) * (1 - a3) * (1 + a3)
    return (1 - a2) * (1 + a2) * np.dot(w3.T, d3), d3


def _with_slopes(slope2, slope3):
    """Return the two errors with other slopes in the hidden and the output layer."""

    def deltas(w3, a2, a3, y):
        d3 = (a3 - y) * slope3(a3)
        return slope2(a2) * (w3.T @ d3), d3

    return deltas


def _tanh_slope(a):
    return 1 - a**2


def _none(a):
    return np.ones_like(a)


TANH = Exercise(
    label="backprop-tanh",
    task="Write `tanh_deltas(w3, a2, a3, y)`, the pair (δ², δ³) for tanh and the quadratic cost, from activations.",
    reference=tanh_deltas,
    axes="(k j), (j), (k), (k) -> (j), (k)",
    probes=tanh_probes,
    mistakes=(
        Mistake(
            "the slope a(1 − a) is that of the sigmoid",
            _with_slopes(lambda a: a * (1 - a), lambda a: a * (1 - a)),
            "The derivative of tanh, written with its value a, is 1 − a².",
            "{eq}`backprop-bp1`",
        ),
        Mistake(
            "the slope is taken at the activation",
            _with_slopes(lambda a: 1 - np.tanh(a) ** 2, lambda a: 1 - np.tanh(a) ** 2),
            "a is tanh(z) already: 1 − a², without another tanh.",
            "{eq}`backprop-bp1`",
        ),
        Mistake(
            "the slope is missing at the output",
            _with_slopes(_tanh_slope, _none),
            "δ³ is a derivative with respect to z³, so BP1 has the factor 1 − a² too.",
            "{eq}`backprop-bp1`",
        ),
        Mistake(
            "the slope is missing in the hidden layer",
            _with_slopes(_none, _tanh_slope),
            "w³ᵀδ³ is ∂C/∂a²; the step to z² costs another factor 1 − a².",
            "{eq}`backprop-bp2`",
        ),
        Mistake(
            "a stands there without its square",
            _with_slopes(lambda a: 1 - a, lambda a: 1 - a),
            "1 − a² is (1 − a)(1 + a), and the second factor is missing.",
            "{eq}`backprop-bp1`",
        ),
        Mistake(
            "the derivative is 1 + a²",
            _with_slopes(lambda a: 1 + a**2, lambda a: 1 + a**2),
            "That is the derivative of tan. A slope above 1 cannot be that of tanh, which flattens.",
            "{eq}`backprop-bp1`",
        ),
    ),
    hints=(
        "Nothing in the derivation of BP1 and BP2 used that the activation is a sigmoid.",
        "Replace σ′(z) by tanh′(z) = 1 − tanh²(z), and tanh(z) by what it is called here.",
        "δ³ = (a³ − y)(1 − (a³)²) and δ² = (1 − (a²)²) ⊙ (w³ᵀ δ³).",
    ),
    used="Any activation enters {eq}`backprop-bp1` and {eq}`backprop-bp2` through its slope and nowhere else.",
    right=(tanh_by_cosh, tanh_loops, tanh_compiled),
    others=(
        (
            lambda *args: tuple(-d for d in tanh_deltas(*args)),
            "every number has the opposite sign",
        ),
        (lambda *args: tanh_deltas(*args)[::-1], "the results are returned in the reverse order"),
        (lambda *args: tanh_deltas(*args)[0], "wrong type or shape"),
        (lambda *args: tuple(d + 1 for d in tanh_deltas(*args)), "wrong"),
    ),
)


# A sigmoid output with cross-entropy, by hand


def binary_probes(rng):
    """One output; then several."""
    yield np.array([0.25]), np.array([1.0])
    for j in sizes(rng, 4, least=2, most=9):
        yield rng.uniform(0.05, 0.95, size=j), rng.integers(0, 2, size=j).astype(float)
    for j in sizes(rng, 2, least=2, most=9):
        yield rng.uniform(0.05, 0.95, size=j), rng.uniform(size=j)


def binary_delta(a, y):
    return a - y


def binary_product(a, y):
    return ((1 - y) / (1 - a) - y / a) * a * (1 - a)


def binary_step(a, y):
    def cost(z):
        return np.sum(np.log(1 + np.exp(-z)) + (1 - y) * z)

    return complex_step(cost, np.log(a / (1 - a)))


@njit
def binary_compiled(a, y):
    delta = np.empty_like(a)
    for j in range(len(a)):
        delta[j] = a[j] - y[j]
    return delta


BINARY = Exercise(
    label="backprop-binary",
    task="Write `binary_delta(a, y)`, the error at a sigmoid output with cross-entropy, as short as it gets.",
    reference=binary_delta,
    axes="(j), (j) -> (j)",
    probes=binary_probes,
    mistakes=(
        Mistake(
            "the slope a(1 − a) has not cancelled",
            lambda a, y: (a - y) * a * (1 - a),
            "That is BP1 for the quadratic cost; here ∂C/∂a has the same product in its denominator.",
            "{eq}`backprop-bp1`",
        ),
        Mistake(
            "this is ∂C/∂a, not ∂C/∂z",
            lambda a, y: (a - y) / (a * (1 - a)),
            "BP1 multiplies it by σ′(z) = a(1 − a).",
            "{eq}`backprop-bp1`",
        ),
        Mistake(
            "the term with 1 − y is left out",
            lambda a, y: -y * (1 - a),
            "Where y = 0 the cost is −log(1 − a), and it has a slope too.",
            "{eq}`backprop-cost-output`",
        ),
        Mistake(
            "the term with y is left out",
            lambda a, y: (1 - y) * a,
            "Where y = 1 the cost is −log a, and it has a slope too.",
            "{eq}`backprop-cost-output`",
        ),
        Mistake(
            "the derivative of log(1 − a) lacks its inner sign",
            lambda a, y: -y * (1 - a) - (1 - y) * a,
            "By the chain rule it is −1/(1 − a).",
            "{eq}`backprop-cost-output`",
        ),
        Mistake(
            "this is the cost itself",
            lambda a, y: -(y * np.log(a) + (1 - y) * np.log(1 - a)),
            "Differentiate it with respect to a, then to z.",
            "{eq}`backprop-delta`",
        ),
    ),
    hints=(
        "Differentiate one term of the sum by a_j and bring it over one denominator.",
        "∂C/∂a_j = (a_j − y_j) / (a_j (1 − a_j)). What does BP1 multiply it by?",
        "σ′(z_j) = a_j (1 − a_j) cancels the denominator: what remains is a_j − y_j.",
    ),
    used="The softmax with cross-entropy cancels in the same way: {eq}`backprop-softmax-output-delta`.",
    right=(binary_product, binary_step, binary_compiled),
    others=(
        (lambda a, y: y - a, "every number has the opposite sign"),
        (lambda a, y: (a - y) / len(a), "every number is 1/J times what it should be"),
        (lambda a, y: np.sum(a - y), "wrong type or shape"),
        (lambda a, y: np.abs(a - y), "wrong"),
        (lambda a, y: 2 * (a - y), "every number is 2 times what it should be"),
    ),
)


# A penalty on the weights


def penalty_probes(rng):
    """One weight; then layers of different sizes."""
    yield np.array([[2.0]]), np.array([0.5]), np.array([1.0]), 0.1
    for _ in range(4):
        j, k = sizes(rng, 2)
        yield (
            rng.normal(size=(j, k)),
            rng.normal(size=k),
            rng.normal(size=j),
            float(rng.uniform(0.1, 1)),
        )


def penalised(w, a, delta, lam):
    return np.outer(delta, a) + lam * w


def penalised_loops(w, a, delta, lam):
    dw = np.zeros_like(w)
    for j in range(w.shape[0]):
        for k in range(w.shape[1]):
            dw[j, k] = a[k] * delta[j] + lam * w[j, k]
    return dw


def penalised_kernel(w, a, delta, lam):
    return chapter.bp4(a, delta) + lam * w


@njit
def penalised_compiled(w, a, delta, lam):
    return chapter.bp4_matrix(a, delta) + lam * w


PENALTY = Exercise(
    label="backprop-penalty",
    task="Write `penalised(w, a, delta, lam)`, the gradient by w with the penalty ½ λ Σ w² added to the cost.",
    reference=penalised,
    axes="(j k), (k), (j), () -> (j k)",
    probes=penalty_probes,
    mistakes=(
        Mistake(
            "the half of the penalty has stayed in its derivative",
            lambda w, a, delta, lam: np.outer(delta, a) + lam / 2 * w,
            "The derivative of ½ w² is w: the 2 from the square cancels the half.",
            "{eq}`backprop-bp4`",
        ),
        Mistake(
            "the penalty's derivative is twice too large",
            lambda w, a, delta, lam: np.outer(delta, a) + 2 * lam * w,
            "That belongs to the penalty λ Σ w²; here it comes with a half.",
            "{eq}`backprop-bp4`",
        ),
        Mistake(
            "the penalty itself is added, not its derivative",
            lambda w, a, delta, lam: np.outer(delta, a) + lam / 2 * np.sum(w**2),
            "Differentiate it by w_jk: of the whole sum one term remains.",
            "{eq}`backprop-bp4`",
        ),
        Mistake(
            "the penalty is missing",
            lambda w, a, delta, lam: np.outer(delta, a),
            "This is BP4 alone. The cost has a second term that depends on w.",
            "{eq}`backprop-bp4`",
        ),
        Mistake(
            "the penalty has the wrong sign",
            lambda w, a, delta, lam: np.outer(delta, a) - lam * w,
            "Descent subtracts the gradient, and that makes weights shrink; the gradient itself has a plus.",
            "{eq}`backprop-bp4`",
        ),
        Mistake(
            "the penalty is that of absolute values",
            lambda w, a, delta, lam: np.outer(delta, a) + lam * np.sign(w),
            "λ sign(w) is the derivative of λ |w|.",
            "{eq}`backprop-bp4`",
        ),
    ),
    hints=(
        "Does the penalty pass through the network? Then which of the four equations can change?",
        "No δ changes. ∂C/∂w gains the derivative of the penalty by that same weight.",
        "∂C/∂w_jk = a_k δ_j + λ w_jk.",
    ),
    used="The first term is {eq}`backprop-bp4-matrix`; the second makes each step shrink the weights by ηλ.",
    right=(penalised_loops, penalised_kernel, penalised_compiled),
    others=(
        (lambda *args: penalised(*args).T, "the result is transposed"),
        (lambda *args: -penalised(*args), "every number has the opposite sign"),
        (lambda *args: penalised(*args).ravel(), "wrong type or shape"),
        (lambda w, a, delta, lam: penalised(w, a, delta, 0.1), "wrong"),
        (
            lambda w, a, delta, lam: (np.outer(delta, a) + 2 * lam * w).T,
            "the penalty's derivative is twice too large; and the result is transposed",
        ),
    ),
)


# A shortcut


def shortcut_probes(rng):
    """One neuron; then square layers."""
    yield np.array([[2.0]]), np.array([0.0]), np.array([1.0])
    for n in sizes(rng, 4, least=2, most=9):
        yield rng.normal(size=(n, n)), rng.normal(size=n), rng.normal(size=n)


def step_back(w, z, g):
    return w.T @ (g * sigmoid_prime(z)) + g


def step_back_loops(w, z, g):
    back = g.copy()
    for k in range(len(g)):
        for j in range(len(g)):
            back[k] += w[j, k] * g[j] * sigmoid_prime(z)[j]
    return back


def step_back_jacobian(w, z, g):
    return (np.diag(sigmoid_prime(z)) @ w + np.eye(len(g))).T @ g


@njit
def step_back_compiled(w, z, g):
    return np.dot(w.T, g * sigmoid_prime(z)) + g


SHORTCUT = Exercise(
    label="backprop-shortcut",
    task="Write `step_back(w, z, g)`, which takes g = ∂C/∂a of a layer with shortcut to ∂C/∂a of the layer before.",
    reference=step_back,
    axes="(n n), (n), (n) -> (n)",
    probes=shortcut_probes,
    mistakes=(
        Mistake(
            "the shortcut is missing",
            lambda w, z, g: w.T @ (g * sigmoid_prime(z)),
            "There are two routes from a^(l−1) onwards, and their contributions add up.",
            "{eq}`backprop-path-sum`",
        ),
        Mistake(
            "w is not transposed",
            lambda w, z, g: w @ (g * sigmoid_prime(z)) + g,
            "The sum runs over the neurons above, the first index of w; square layers hide the mistake.",
            "{eq}`backprop-bp2-matrix`",
        ),
        Mistake(
            "the slope is multiplied after wᵀ instead of before",
            lambda w, z, g: (w.T @ g) * sigmoid_prime(z) + g,
            "z_j belongs to the neurons of this layer, over which the sum runs: g ⊙ σ′(z) comes first.",
            "{eq}`backprop-bp2-matrix`",
        ),
        Mistake(
            "the shortcut meets the slope too",
            lambda w, z, g: w.T @ (g * sigmoid_prime(z)) + g * sigmoid_prime(z),
            "The shortcut goes around the activation: its derivative is one.",
            "{eq}`backprop-path-sum`",
        ),
        Mistake(
            "the slope σ′(z) is missing",
            lambda w, z, g: w.T @ g + g,
            "g is a derivative with respect to a; on the route through w it has to pass σ first.",
            "{eq}`backprop-bp1-matrix`",
        ),
        Mistake(
            "one is added instead of g",
            lambda w, z, g: w.T @ (g * sigmoid_prime(z)) + 1,
            "The shortcut has the derivative one, times what arrives: one times g.",
            "{eq}`backprop-path-sum`",
        ),
        Mistake(
            "the shortcut passes through w",
            lambda w, z, g: w.T @ (g * sigmoid_prime(z) + g),
            "a^(l−1) is added behind the weights, so the second route does not meet them.",
            "{eq}`backprop-path-sum`",
        ),
    ),
    hints=(
        "Draw the layer: a^(l−1) reaches a^l through z^l, and once more directly.",
        "The derivative is the sum over both routes. What is the derivative along the direct one?",
        "g^(l−1) = wᵀ(g ⊙ σ′(z)) + g.",
    ),
    used="It is {eq}`backprop-path-sum` with one more path; the second term needs no weight and meets no slope.",
    right=(step_back_loops, step_back_jacobian, step_back_compiled),
    others=(
        (lambda w, z, g: -step_back(w, z, g), "every number has the opposite sign"),
        (lambda w, z, g: np.outer(step_back(w, z, g), g), "wrong type or shape"),
        (lambda w, z, g: step_back(w, z, g) + g, "wrong"),
        (lambda w, z, g: np.roll(step_back(w, z, g), 1), "the numbers are shifted by one place"),
    ),
)


# Curvature for the price of a gradient


def hessian_probes(rng):
    """The cost w³, whose curvature is 6w; then costs of several variables, and a network."""

    def cubic(w):
        return 3 * w**2

    yield cubic, np.array([2.0]), np.array([0.5])
    for p in sizes(rng, 3, least=2, most=9):
        A = rng.normal(size=(p, p))

        def coupled(w, A=A + A.T):
            return A @ w + np.exp(w) * 0.5

        yield coupled, rng.normal(size=p), rng.normal(size=p)
    layers = tuple(sizes(rng, 3, most=4))
    x, y = rng.normal(size=layers[0]), rng.uniform(size=layers[-1])
    flat = chapter.init(layers, rng).flat

    def network(w):
        return chapter.backprop(chapter.as_params(w, layers), x, y).flat

    yield network, flat, rng.normal(size=flat.size)


def hessian_times(gradient, w, v, eps=1e-30):
    return gradient(w + 1j * eps * v).imag / eps


def hessian_first(gradient, w, v):
    return complex_step(gradient, w) @ v


def hessian_columns(gradient, w, v):
    total = np.zeros(len(w))
    for p in range(len(w)):
        nudged = w.astype(complex)
        nudged[p] += 1e-20j
        total += v[p] * gradient(nudged).imag / 1e-20
    return total


def hessian_quotient(gradient, w, v):
    return np.real((gradient(w + 1e-25j * v) - gradient(w)) / 1e-25j)


HESSIAN = Exercise(
    label="backprop-hessian",
    task="Write `hessian_times(gradient, w, v)`, the Hessian at w times v, by one call of the gradient.",
    reference=hessian_times,
    axes="(gradient), (p), (p) -> (p)",
    probes=hessian_probes,
    mistakes=(
        Mistake(
            "the step is not small",
            lambda gradient, w, v: gradient(w + 1j * v).imag,
            "With ε = 1 the terms of third order count too. There is no cancellation: take ε = 1e-30.",
            "{eq}`verification-complex-step`",
        ),
        Mistake(
            "the step goes along w instead of v",
            lambda gradient, w, v: hessian_times(gradient, w, w),
            "This is the Hessian times w: put v beside ε.",
            "{ref}`ex-backprop-hessian`",
        ),
        Mistake(
            "every entry moves alike, and v comes in afterwards",
            lambda gradient, w, v: v * hessian_times(gradient, w, np.ones(len(w))),
            "That multiplies v by the row sums of the Hessian, as if it were diagonal.",
            "{ref}`ex-backprop-hessian`",
        ),
        Mistake(
            "only the diagonal of the Hessian is used",
            lambda gradient, w, v: np.diag(complex_step(gradient, w)) * v,
            "Weights bend the cost together: move all of them at once, along v.",
            "{ref}`ex-backprop-hessian`",
        ),
        Mistake(
            "this is the gradient at w",
            lambda gradient, w, v: gradient(w),
            "The real part of g(w + iεv) is the gradient; the curvature is in the imaginary part.",
            "{eq}`verification-complex-step`",
        ),
        Mistake(
            "this is the change of the gradient over the whole of v",
            lambda gradient, w, v: gradient(w + v) - gradient(w),
            "The two agree for a quadratic cost only: the step has to be small.",
            "{eq}`verification-complex-step`",
        ),
    ),
    hints=(
        "g(w + iεv) is a complex step of the gradient. Along which direction, and of what is that the derivative?",
        "The derivative of the gradient along v is the Hessian times v; it stands in the imaginary part.",
        "gradient(w + 1j * eps * v).imag / eps, with eps = 1e-30.",
    ),
    used="It rests on {eq}`verification-complex-step`, which goes through the kernels of {eq}`backprop-bp2` too.",
    right=(hessian_first, hessian_columns, hessian_quotient),
    others=(
        (
            lambda gradient, w, v: gradient(w + 1e-30j * v).imag,
            "every number is 1e-30 times what it should be",
        ),
        (lambda gradient, w, v: (gradient(w + 1e-4 * v) - gradient(w)) / 1e-4, "wrong"),
        (lambda gradient, w, v: gradient(w + 1e-30j * v) / 1e-30, "wrong type or shape"),
        (lambda gradient, w, v: v @ hessian_times(gradient, w, v), "wrong type or shape"),
    ),
)

EXERCISES = (BP2, BREAK, TANH, BINARY, PENALTY, SHORTCUT, HESSIAN)
