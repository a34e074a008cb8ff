"""Exercises of the chapter on training.

Page: ``book/training.md``. Axes: n examples, j features, k inputs of a layer, as in the chapter.
"""

import numpy as np

from dlbook import training as chapter
from dlbook.exercises.forms import Choice, Exercise, Mistake, sizes
from dlbook.tools.jit import njit
from dlbook.verification import complex_step

__all__ = ["EXERCISES"]


# Batch normalization that has vanished into the layer before it


def fold_probes(rng):
    """One neuron with one input; then layers of different sizes."""
    one = np.ones(1)
    yield np.array([[2.0]]), one, 3 * one, one / 2, 4 * one, 15 * one, 1.0
    for _ in range(4):
        j, k = sizes(rng, 2)
        b, gamma, beta, mean = rng.normal(size=(4, j))
        yield rng.normal(size=(j, k)), b, gamma, beta, mean, rng.uniform(0.5, 3, j), 0.01


def folded(w, b, gamma, beta, mean, variance, eps):
    scale = gamma / np.sqrt(variance + eps)
    return w * scale[:, None], scale * (b - mean) + beta


def folded_by_probing(w, b, gamma, beta, mean, variance, eps):
    def whole(x):
        return chapter.scale_shift(
            chapter.normalize(x @ w.T + b, mean, variance, eps), gamma, beta
        )[0]

    shift = whole(np.zeros((1, w.shape[1])))
    columns = [whole(row[None]) - shift for row in np.eye(w.shape[1])]
    return np.array(columns).T, shift


def folded_loops(w, b, gamma, beta, mean, variance, eps):
    new_w, new_b = np.zeros_like(w), np.zeros_like(b)
    for j in range(w.shape[0]):
        root = np.sqrt(variance[j] + eps)
        for k in range(w.shape[1]):
            new_w[j, k] = gamma[j] * w[j, k] / root
        new_b[j] = gamma[j] * (b[j] - mean[j]) / root + beta[j]
    return new_w, new_b


@njit
def folded_compiled(w, b, gamma, beta, mean, variance, eps):
    scale = gamma / np.sqrt(variance + eps)
    new_w = np.empty_like(w)
    for j in range(w.shape[0]):
        new_w[j] = w[j] * scale[j]
    return new_w, scale * b - scale * mean + beta


FOLD = Exercise(
    label="training-fold",
    task="Write `fold(w, b, gamma, beta, mean, variance, eps)`: weights and biases that do without batch norm.",
    reference=folded,
    axes="(j k), (j), (j), (j), (j), (j), () -> (j k), (j)",
    probes=fold_probes,
    mistakes=(
        Mistake(
            "the bias is not scaled",
            lambda w, b, gamma, beta, mean, variance, eps: (
                folded(w, b, gamma, beta, mean, variance, eps)[0],
                b + beta - mean * gamma / np.sqrt(variance + eps),
            ),
            "b is a part of what is normalized, so it is divided by the root and multiplied by γ too.",
            "{eq}`training-batchnorm`",
        ),
        Mistake(
            "the running mean is not subtracted",
            lambda w, b, gamma, beta, mean, variance, eps: (
                folded(w, b, gamma, beta, mean, variance, eps)[0],
                b * gamma / np.sqrt(variance + eps) + beta,
            ),
            "The mean is subtracted from w·x + b before anything is scaled.",
            "{eq}`training-standardize`",
        ),
        Mistake(
            "the running mean is subtracted after the scaling",
            lambda w, b, gamma, beta, mean, variance, eps: (
                folded(w, b, gamma, beta, mean, variance, eps)[0],
                b * gamma / np.sqrt(variance + eps) - mean + beta,
            ),
            "x̂ is (z − μ) divided by the root: μ is scaled like z.",
            "{eq}`training-standardize`",
        ),
        Mistake(
            "the division is by the variance, not by its root",
            lambda w, b, gamma, beta, mean, variance, eps: folded(
                w, b, gamma, beta, mean, (variance + eps) ** 2 - eps, eps
            ),
            "A variance has the square of the units of z; its root is what z is measured in.",
            "{eq}`training-standardize`",
        ),
        Mistake(
            "ε stands outside the root",
            lambda w, b, gamma, beta, mean, variance, eps: folded(
                w, b, gamma, beta, mean, (np.sqrt(variance) + eps) ** 2 - eps, eps
            ),
            "The layer was trained with √(v + ε); another root is another network.",
            "{eq}`training-batchnorm`",
        ),
        Mistake(
            "the scale γ is missing",
            lambda w, b, gamma, beta, mean, variance, eps: folded(
                w, b, np.ones_like(gamma), beta, mean, variance, eps
            ),
            "Without γ every neuron comes out with variance one, whatever it has learned.",
            "{eq}`training-batchnorm`",
        ),
    ),
    hints=(
        "In inference μ and v are constants. What kind of function of z is batch norm then, and of x?",
        "γ (w·x + b − μ)/√(v + ε) + β: collect what multiplies x, and what does not.",
        "With s_j = γ_j/√(v_j + ε): row j of w times s_j, and s_j (b_j − μ_j) + β_j.",
    ),
    used="{eq}`training-running-statistics` is what makes it possible: in inference the layer is one affine map, "
    "as in {eq}`neurons-linear-collapse`.",
    right=(folded_by_probing, folded_loops, folded_compiled),
    others=(
        (lambda *args: folded(*args)[::-1], "the results are returned in the reverse order"),
        (lambda *args: folded(*args)[0], "wrong type or shape"),
        (lambda *args: tuple(part + 0.1 for part in folded(*args)), "wrong"),
    ),
)


# Root mean square normalization, by hand


def rms_probes(rng):
    """One example with two features; then batches of different sizes."""
    yield np.array([[1.0, 0.0]]), np.array([[3.0, 4.0]]), np.ones(2), 0.0
    for _ in range(4):
        n, j = sizes(rng, 2, least=2, most=7)
        yield rng.normal(size=(n, j)), 1 + rng.normal(size=(n, j)), rng.normal(size=j), 0.01


def rms_backward(dy, x, gamma, eps):
    J = x.shape[1]
    q = np.sqrt(np.mean(x**2, axis=1, keepdims=True) + eps)
    g = gamma * dy
    return (g - x / q * np.sum(g * x / q, axis=1, keepdims=True) / J) / q


def rms_step(dy, x, gamma, eps):
    def cost(v):
        q = np.sqrt(np.sum(v * v, axis=1, keepdims=True) / v.shape[1] + eps)
        return np.sum(dy * gamma * v / q)

    return complex_step(cost, x)


def rms_loops(dy, x, gamma, eps):
    N, J = x.shape
    dx = np.zeros_like(x)
    for n in range(N):
        v = sum(x[n, j] ** 2 for j in range(J)) / J + eps
        along = sum(gamma[j] * dy[n, j] * x[n, j] for j in range(J))
        for j in range(J):
            dx[n, j] = gamma[j] * dy[n, j] / v**0.5 - x[n, j] * along / (J * v**1.5)
    return dx


@njit
def rms_compiled(dy, x, gamma, eps):
    dx = np.empty_like(x)
    for n in range(x.shape[0]):
        q = np.sqrt(np.mean(x[n] * x[n]) + eps)
        g, hat = gamma * dy[n], x[n] / q
        dx[n] = (g - hat * np.mean(g * hat)) / q
    return dx


def _rms(dy, x, gamma, eps, g, factor=1.0, power=1):
    """Return what a slip leaves: another g, another factor of the second term, another power."""
    q = np.sqrt(np.mean(x**2, axis=1, keepdims=True) + eps)
    along = np.mean(g * x / q, axis=1, keepdims=True)
    return (g - factor * x / q * along) / q**power


def _rms_late(dy, x, gamma, eps):
    return gamma * _rms(dy, x, gamma, eps, dy)


def _rms_sum(dy, x, gamma, eps):
    return _rms(dy, x, gamma, eps, gamma * dy, factor=x.shape[1])


def _rms_centred(dy, x, gamma, eps):
    g = gamma * dy
    return _rms(dy, x, gamma, eps, g) - np.mean(g, axis=1, keepdims=True) / np.sqrt(
        np.mean(x**2, axis=1, keepdims=True) + eps
    )


RMS = Exercise(
    label="training-rms",
    task="Write `rms_backward(dy, x, gamma, eps)`: ∂C/∂x, where y_nj = γ_j x_nj / √(mean of x_n² + ε).",
    reference=rms_backward,
    axes="(n j), (n j), (j), () -> (n j)",
    probes=rms_probes,
    mistakes=(
        Mistake(
            "the root is treated as a constant",
            lambda dy, x, gamma, eps: _rms(dy, x, gamma, eps, gamma * dy, factor=0),
            "Every x_nj is in the root of its row, so it moves all the y of that row.",
            "{eq}`training-layernorm-backward`",
        ),
        Mistake(
            "γ is multiplied in after the projection",
            _rms_late,
            "Along a row each entry has its own γ_j: form g = γ dy before the sum.",
            "{eq}`training-layernorm-backward`",
        ),
        Mistake(
            "the sum over the row is not divided by J",
            _rms_sum,
            "The root holds the mean of the squares, and its derivative keeps the 1/J.",
            "{eq}`training-layernorm-backward`",
        ),
        Mistake(
            "the mean of the gradient is subtracted too",
            _rms_centred,
            "That is the way back through a mean. Here none was subtracted, so a common shift still changes y.",
            "{eq}`training-layernorm-backward`",
        ),
        Mistake(
            "the correction has the wrong sign",
            lambda dy, x, gamma, eps: _rms(dy, x, gamma, eps, gamma * dy, factor=-1),
            "A longer row makes the root larger and every y smaller: the part along x̂ is taken away.",
            "{eq}`training-layernorm-backward`",
        ),
        Mistake(
            "the division by the root is missing",
            lambda dy, x, gamma, eps: _rms(dy, x, gamma, eps, gamma * dy, power=0),
            "x̂ = x/q, so every derivative carries a factor 1/q in front.",
            "{eq}`training-layernorm-backward`",
        ),
    ),
    hints=(
        "It is layer normalization without the mean. Which of its two corrections goes?",
        "With q² = mean of x² + ε, ∂q/∂x_j = x_j/(J q) = x̂_j/J. Differentiate x̂_i = x_i/q.",
        "∂C/∂x_j = (g_j − x̂_j · mean of g x̂)/q with g = γ dy and x̂ = x/q.",
    ),
    used="It is the second half of {eq}`training-layernorm-backward`; without the mean there is one direction less "
    "in which moving the inputs changes nothing.",
    right=(rms_step, rms_loops, rms_compiled),
    others=(
        (lambda *args: -rms_backward(*args), "every number has the opposite sign"),
        (lambda *args: rms_backward(*args).sum(axis=0), "wrong type or shape"),
        (lambda *args: rms_backward(*args) + 1e-3, "wrong"),
    ),
)


# What dropout adds


def noise_probes(rng):
    """One activation; then vectors, and probabilities on both sides of one half."""
    yield np.array([2.0]), 0.2
    for j in sizes(rng, 3, least=2, most=9):
        yield rng.normal(size=j), float(rng.uniform(0.05, 0.45))
    for j in sizes(rng, 2, least=2, most=9):
        yield rng.normal(size=j), float(rng.uniform(0.55, 0.95))


def dropout_variance(a, p):
    return a**2 * p / (1 - p)


def dropout_moments(a, p):
    kept = a / (1 - p)
    return (1 - p) * kept**2 - ((1 - p) * kept) ** 2


def dropout_loop(a, p):
    return np.array([p * x**2 + (1 - p) * (x / (1 - p) - x) ** 2 for x in a])


@njit
def dropout_compiled(a, p):
    return a * a * (1 / (1 - p) - 1)


NOISE = Exercise(
    label="training-dropout-noise",
    task="Write `dropout_variance(a, p)`, the variance of y = a/(1 − p) with probability 1 − p, else 0.",
    reference=dropout_variance,
    axes="(j), () -> (j)",
    probes=noise_probes,
    mistakes=(
        Mistake(
            "the survivors are not divided by 1 − p",
            lambda a, p: a**2 * p * (1 - p),
            "That is the variance of a times a coin. Inverted dropout enlarges what survives.",
            "{eq}`training-dropout`",
        ),
        Mistake(
            "p is taken as the probability of keeping",
            lambda a, p: a**2 * (1 - p) / p,
            "Here p is the probability of being dropped: at p = 0 there is no noise.",
            "{eq}`training-dropout`",
        ),
        Mistake(
            "the square of the mean is not subtracted",
            lambda a, p: a**2 / (1 - p),
            "That is the mean of y². The variance is that minus a², the square of the mean.",
            "{eq}`training-dropout`",
        ),
        Mistake(
            "the division by 1 − p is squared in both moments",
            lambda a, p: a**2 * p / (1 - p) ** 2,
            "y² is a²/(1 − p)², but it occurs only with probability 1 − p.",
            "{eq}`training-dropout`",
        ),
        Mistake(
            "this is the standard deviation",
            lambda a, p: np.abs(a) * np.sqrt(p / (1 - p)),
            "Its square is asked for: variances are what add up in a sum over neurons.",
            "{eq}`training-variance-propagation`",
        ),
    ),
    hints=(
        "The variance is the mean of the square minus the square of the mean. The mean is on the page.",
        "y² is a²/(1 − p)² with probability 1 − p, and 0 otherwise.",
        "a²/(1 − p) − a², over one denominator.",
    ),
    used="{eq}`training-dropout` keeps the mean; this is what it adds to the mean square of "
    "{eq}`training-variance-propagation`: at p = ½ it doubles it.",
    right=(dropout_moments, dropout_loop, dropout_compiled),
    others=(
        (lambda a, p: -dropout_variance(a, p), "every number has the opposite sign"),
        (lambda a, p: np.sum(dropout_variance(a, p)), "wrong type or shape"),
        (lambda a, p: dropout_variance(a, p) + 0.01, "wrong"),
    ),
)


# An initialization for a bend of one's own


def bend_probes(rng):
    """The rectifier; then several pairs of slopes."""
    yield 8, np.array([0.0]), np.array([1.0])
    for j in sizes(rng, 5, least=2, most=9):
        yield int(rng.integers(3, 400)), rng.uniform(-1.5, 1.5, j), rng.uniform(0.3, 2, j)


def own_variance(n, alpha, beta):
    return 2 / (n * (alpha**2 + beta**2))


def own_by_integral(n, alpha, beta):
    z, weight = np.polynomial.hermite_e.hermegauss(40)
    a = np.where(z < 0, alpha[:, None] * z, beta[:, None] * z)
    return 1 / (n * (a**2 @ weight) / np.sum(weight))


def own_from_he(n, alpha, beta):
    return np.array(
        [chapter.he_variance(n, u / v) / v**2 for u, v in zip(alpha, beta, strict=True)]
    )


@njit
def own_compiled(n, alpha, beta):
    share = 0.5 * alpha * alpha + 0.5 * beta * beta
    return 1 / share / n


BEND = Exercise(
    label="training-own-init",
    task="Write `own_variance(n, alpha, beta)`, Var w for activations with slopes α_j below and β_j above zero.",
    reference=own_variance,
    axes="(), (j), (j) -> (j)",
    probes=bend_probes,
    mistakes=(
        Mistake(
            "the slopes are not squared",
            lambda n, alpha, beta: 2 / (n * (np.abs(alpha) + beta)),
            "The mean square of α z is α² times that of z.",
            "{eq}`training-he`",
        ),
        Mistake(
            "both halves are counted whole",
            lambda n, alpha, beta: 1 / (n * (alpha**2 + beta**2)),
            "Each side gets half of the mean square of z: ½ α² + ½ β².",
            "{eq}`training-he`",
        ),
        Mistake(
            "the slope above zero is taken as 1",
            lambda n, alpha, beta: 2 / (n * (1 + alpha**2)),
            "That is He's formula for a leaky rectifier; here the upper side has a slope of its own.",
            "{eq}`training-he`",
        ),
        Mistake(
            "the slope below zero is left out",
            lambda n, alpha, beta: 2 / (n * beta**2),
            "What is passed on below zero counts too, with α².",
            "{eq}`training-he`",
        ),
        Mistake(
            "this is the standard deviation",
            lambda n, alpha, beta: np.sqrt(2 / (n * (alpha**2 + beta**2))),
            "The variance is asked for; the numbers that are drawn are multiplied by its root.",
            "{eq}`training-variance-propagation`",
        ),
        Mistake(
            "the slopes are added before they are squared",
            lambda n, alpha, beta: 2 / (n * (alpha + beta) ** 2),
            "A z is on one side or on the other, never on both: no product αβ arises.",
            "{eq}`training-he`",
        ),
    ),
    hints=(
        "z is symmetric around zero. Which share of its mean square lies below?",
        "E a² = ½ α² Var z + ½ β² Var z, and the next layer multiplies by n Var w.",
        "n Var w (α² + β²)/2 = 1.",
    ),
    used="α = 0 and β = 1 give {eq}`training-he`; α = −1 is |z|, and α = β the linear layer, where nothing is lost.",
    right=(own_by_integral, own_from_he, own_compiled),
    others=(
        (lambda n, alpha, beta: own_variance(1, alpha, beta), "wrong"),
        (lambda n, alpha, beta: np.sum(own_variance(n, alpha, beta)), "wrong type or shape"),
        (
            lambda n, alpha, beta: 2 * own_variance(n, alpha, beta),
            "every number is 2 times what it should be",
        ),
    ),
)


# The scale that does not matter


def norm_probes(rng):
    """Numbers for a triangle by hand; then several weight vectors."""
    yield np.array([3.0]), np.array([8.0]), 0.5
    for j in sizes(rng, 5, least=2, most=9):
        yield *rng.uniform(0.2, 3, size=(2, j)), float(rng.uniform(0.2, 3))


def next_norm(norm, slope, rate):
    return np.sqrt(norm**2 + rate**2 * slope**2)


def next_by_vectors(norm, slope, rate):
    w = np.stack((norm, np.zeros(len(norm))))
    g = np.stack((np.zeros(len(norm)), slope))
    return np.linalg.norm(w - rate * g, axis=0)


def next_by_hypot(norm, slope, rate):
    return np.array([np.hypot(a, rate * b) for a, b in zip(norm, slope, strict=True)])


@njit
def next_compiled(norm, slope, rate):
    return norm * np.sqrt(1 + (rate * slope / norm) ** 2)


SCALE = Exercise(
    label="training-scale",
    task="Write `next_norm(norm, slope, rate)`: ‖w_j‖ of neurons j after a plain step, from ‖w_j‖, ‖∇C_j‖ and η.",
    reference=next_norm,
    axes="(j), (j), () -> (j)",
    probes=norm_probes,
    mistakes=(
        Mistake(
            "the step is added to the norm",
            lambda norm, slope, rate: norm + rate * slope,
            "That would be a step along w. The gradient is orthogonal to w: use Pythagoras.",
            "{ref}`ex-training-scale`",
        ),
        Mistake(
            "the step is subtracted from the norm",
            lambda norm, slope, rate: np.abs(norm - rate * slope),
            "w − η∇C is a difference of vectors at a right angle, and longer than w.",
            "{ref}`ex-training-scale`",
        ),
        Mistake(
            "the squares are subtracted",
            lambda norm, slope, rate: np.sqrt(np.abs(norm**2 - (rate * slope) ** 2)),
            "The step is a leg of the triangle, not its longest side.",
            "{ref}`ex-training-scale`",
        ),
        Mistake(
            "the rate is not squared",
            lambda norm, slope, rate: np.sqrt(norm**2 + rate * slope**2),
            "The leg is η‖∇C‖, so its square has η².",
            "{ref}`ex-training-scale`",
        ),
        Mistake(
            "this is the square of the norm",
            lambda norm, slope, rate: norm**2 + rate**2 * slope**2,
            "The root is missing.",
            "{ref}`ex-training-scale`",
        ),
    ),
    hints=(
        "Differentiate C(c w) = C(w) with respect to c at c = 1. What does it say about w and ∇C?",
        "w · ∇C(w) = 0: the step is at a right angle to w.",
        "By Pythagoras ‖w − η∇C‖² = ‖w‖² + η²‖∇C‖².",
    ),
    used="Weights in front of {eq}`training-batchnorm` grow with every plain step, and their steps shrink relative to "
    "them; that is the odd cell of the ablation.",
    right=(next_by_vectors, next_by_hypot, next_compiled),
    others=(
        (
            lambda norm, slope, rate: -next_norm(norm, slope, rate),
            "every number has the opposite sign",
        ),
        (lambda norm, slope, rate: np.sum(next_norm(norm, slope, rate)), "wrong type or shape"),
        (lambda norm, slope, rate: next_norm(norm, slope, rate) + 0.01, "wrong"),
    ),
)


# A layer of one's own


def swish_probes(rng):
    """One example with one feature; then batches of different sizes."""
    yield np.array([[1.0]]), np.array([[2.0]]), np.array([1.0])
    for _ in range(4):
        n, j = sizes(rng, 2, least=2, most=6)
        yield rng.normal(size=(n, j)), rng.normal(size=(n, j)), rng.uniform(0.5, 2, j)


def sigma(z):
    return 1 / (1 + np.exp(-z))


def swish_backward(dy, x, beta):
    s = sigma(beta * x)
    slope = s * (1 - s)
    return dy * (s + beta * x * slope), np.sum(dy * x**2 * slope, axis=0)


def swish_step(dy, x, beta):
    return (
        complex_step(lambda v: np.sum(dy * v * sigma(beta * v)), x),
        complex_step(lambda b: np.sum(dy * x * sigma(b * x)), beta),
    )


def swish_loops(dy, x, beta):
    dx, dbeta = np.zeros_like(x), np.zeros_like(beta)
    for n in range(x.shape[0]):
        for j in range(x.shape[1]):
            s = 1 / (1 + np.exp(-beta[j] * x[n, j]))
            dx[n, j] = dy[n, j] * (s + beta[j] * x[n, j] * s * (1 - s))
            dbeta[j] += dy[n, j] * x[n, j] ** 2 * s * (1 - s)
    return dx, dbeta


@njit
def swish_compiled(dy, x, beta):
    dx, dbeta = np.empty_like(x), np.zeros_like(beta)
    for n in range(x.shape[0]):
        y = x[n] / (1 + np.exp(-beta * x[n]))
        s = 1 / (1 + np.exp(-beta * x[n]))
        dx[n] = dy[n] * (beta * y + s * (1 - beta * y))
        dbeta += dy[n] * (x[n] - y) * y
    return dx, dbeta


def _swish(dy, x, beta, first=1.0, second=None, by_beta=None):
    """Return what a slip leaves: other terms of the derivative with respect to x, or another one with respect to β."""
    s = sigma(beta * x)
    second = beta * x * s * (1 - s) if second is None else second
    right = np.sum(dy * x**2 * s * (1 - s), axis=0)
    return dy * (first * s + second), right if by_beta is None else by_beta


OWN = Exercise(
    label="training-own-layer",
    task="Write `swish_backward(dy, x, beta)`: the derivatives with respect to x and β of y = x σ(βx).",
    reference=swish_backward,
    axes="(n j), (n j), (j) -> (n j), (j)",
    probes=swish_probes,
    mistakes=(
        Mistake(
            "the sigmoid is taken for a constant",
            lambda dy, x, beta: _swish(dy, x, beta, second=0.0),
            "x stands twice in x σ(βx): the product rule has two terms.",
            "{eq}`neurons-sigmoid`",
        ),
        Mistake(
            "the derivative with respect to x lacks the inner factor β",
            lambda dy, x, beta: _swish(
                dy, x, beta, second=x * sigma(beta * x) * (1 - sigma(beta * x))
            ),
            "The sigmoid is of βx: the chain rule multiplies its slope by β.",
            "{eq}`neurons-sigmoid`",
        ),
        Mistake(
            "the factor x before the slope is missing",
            lambda dy, x, beta: _swish(
                dy, x, beta, second=beta * sigma(beta * x) * (1 - sigma(beta * x))
            ),
            "In the second term of the product rule the x that stands in front is left as it is.",
            "{eq}`neurons-sigmoid`",
        ),
        Mistake(
            "the derivative with respect to β has one factor x instead of two",
            lambda dy, x, beta: _swish(
                dy,
                x,
                beta,
                by_beta=np.sum(dy * x * sigma(beta * x) * (1 - sigma(beta * x)), axis=0),
            ),
            "One x stands in front of the sigmoid, another comes out of it as the inner derivative.",
            "{eq}`training-leaky-relu-gradient`",
        ),
        Mistake(
            "the derivative with respect to β is the mean over the batch",
            lambda dy, x, beta: _swish(
                dy, x, beta, by_beta=swish_backward(dy, x, beta)[1] / x.shape[0]
            ),
            "dy holds the derivative of the cost, in which a mean over the batch, if there is one, is contained.",
            "{eq}`training-batchnorm-backward`",
        ),
        Mistake(
            "the derivative with respect to β is not multiplied by dy",
            lambda dy, x, beta: _swish(
                dy, x, beta, by_beta=swish_backward(np.ones_like(dy), x, beta)[1]
            ),
            "The chain rule goes through the cost: every example counts with its own ∂C/∂y.",
            "{eq}`training-batchnorm-backward`",
        ),
    ),
    hints=(
        "y is a product, and its second factor is a function of βx. Product rule, then chain rule.",
        "∂y/∂x = s + βx s(1 − s) and ∂y/∂β = x² s(1 − s), with s = σ(βx).",
        "One β_j serves all examples: dβ_j is the sum over n of dy_nj x_nj² s_nj (1 − s_nj).",
    ),
    used="Two derivatives make a layer, which `check_model` judges. At β = 1.7 it is all but the GELU of "
    "{eq}`neurons-gelu`.",
    right=(swish_step, swish_loops, swish_compiled),
    others=(
        (
            lambda *args: swish_backward(*args)[::-1],
            "the results are returned in the reverse order",
        ),
        (lambda *args: swish_backward(*args)[0], "wrong type or shape"),
        (lambda *args: tuple(part + 0.1 for part in swish_backward(*args)), "wrong"),
    ),
)


# Break this line


BREAK = Choice(
    label="training-break",
    task="In `moments` the variance is divided by N − 1. Name the letters of all equations whose checks fail.",
    right="abd",
    wrong={
        "c": "(c) is handed a variance and never computes one; its own factor N/(N − 1) is untouched.",
        "e": "(e) computes mean and variance in its own loop and does not call `moments`.",
    },
    missing="Something else takes its statistics from `moments`; the way back through layer norm calls it on the "
    "transposed matrix.",
    hints=(
        "Which kernels call `moments`? Search the module for its name.",
        "A backward kernel assumes the variance that its own forward form has; the oracle differentiates that form.",
        "`normalize` after `moments`, `batchnorm`, `batchnorm_backward` and `layernorm_backward` use it; the running "
        "statistics and `layernorm` do not.",
    ),
    used="{eq}`training-batchnorm` divides by N and {eq}`training-running-statistics` corrects by N/(N − 1): each has "
    "its reason.",
)


EXERCISES = (FOLD, RMS, NOISE, BEND, SCALE, OWN, BREAK)
