"""Exercises of the chapter on autoencoders.

Page: ``book/autoencoders.md``. Axes: n examples, k pixels, j code numbers, as in the chapter.
"""

import numpy as np
from scipy import special

from dlbook import autoencoders as chapter
from dlbook.exercises.forms import Choice, Exercise, Mistake, sizes
from dlbook.linear_classification import sigmoid, sigmoid_prime
from dlbook.neurons import affine
from dlbook.tools.jit import njit
from dlbook.verification import complex_step

__all__ = ["EXERCISES"]


# The best linear denoiser, by hand


def shrink_probes(rng):
    """One direction with the variance of the noise; then several data sets."""
    yield np.array([[1.0], [-1.0]]), 1.0
    for _ in range(4):
        n, k = sizes(rng, 2, least=3, most=8)
        x = rng.normal(size=(n + 6, k)) * rng.uniform(0.4, 2.5, size=k)
        yield x, float(rng.uniform(0.3, 1.5))


def shrink(x, sigma):
    S = x.T @ x / len(x)
    return S @ np.linalg.inv(S + sigma**2 * np.eye(len(S)))


def shrink_directions(x, sigma):
    _, s, v = np.linalg.svd(x, full_matrices=True)
    lam = np.zeros(x.shape[1])
    lam[: len(s)] = s**2 / len(x)
    return v.T * (lam / (lam + sigma**2)) @ v


def shrink_ridge(x, sigma):
    k = x.shape[1]
    rows = np.vstack([x, sigma * np.sqrt(len(x)) * np.eye(k)])
    wanted = np.vstack([x, np.zeros((k, k))])
    return np.linalg.lstsq(rows, wanted, rcond=None)[0].T


@njit
def shrink_compiled(x, sigma):
    S = x.T @ x / x.shape[0]
    M = S + sigma * sigma * np.eye(S.shape[0])
    return np.linalg.solve(M, S).T


def _shrink_with(x, add, power=1.0, N=None):
    S = x.T @ x / (len(x) if N is None else N)
    lam, v = np.linalg.eigh(S)
    return v * (lam / (lam + add)) ** power @ v.T


SHRINK = Exercise(
    label="autoencoders-shrink",
    task="Write `shrink(x, sigma)`, the w (k k) with the smallest E C for noise of standard deviation sigma.",
    reference=shrink,
    axes="(n k), () -> (k k)",
    probes=shrink_probes,
    mistakes=(
        Mistake(
            "the noise enters with its standard deviation, not its variance",
            lambda x, sigma: _shrink_with(x, sigma),
            "λ is a variance, and only a variance can be added to it: λ + s².",
            "{eq}`autoencoders-denoising-linear`",
        ),
        Mistake(
            "the sum over examples is not divided by N",
            lambda x, sigma: _shrink_with(x, sigma**2, N=1),
            "The first term of the cost is a mean over examples; the second does not grow with N.",
            "{eq}`autoencoders-denoising-linear`",
        ),
        Mistake(
            "the inverse is not multiplied by S",
            lambda x, sigma: np.linalg.inv(x.T @ x / len(x) + sigma**2 * np.eye(x.shape[1])),
            "The gradient is w(S + s² I) − S. What remains on the right is S, not the identity.",
            "{eq}`autoencoders-denoising-linear`",
        ),
        Mistake(
            "the shrinking is applied twice",
            lambda x, sigma: _shrink_with(x, sigma**2, power=2.0),
            "Each direction is multiplied once by λ/(λ + s²).",
            "{eq}`autoencoders-denoising-linear`",
        ),
        Mistake(
            "this is the part that is removed",
            lambda x, sigma: (
                sigma**2 * np.linalg.inv(x.T @ x / len(x) + sigma**2 * np.eye(x.shape[1]))
            ),
            "s²/(λ + s²) is the share of the noise; what is kept is λ/(λ + s²).",
            "{eq}`autoencoders-denoising-linear`",
        ),
    ),
    hints=(
        "Write the first term of E C with S = Σ x xᵀ / N, and differentiate with respect to w.",
        "½ tr((w − I) S (w − I)ᵀ) + s²/2 tr(w wᵀ) has the gradient (w − I) S + s² w.",
        "w (S + s² I) = S.",
    ),
    used="It is the linear denoiser of the page, without the mean: {eq}`autoencoders-denoising-linear` says what it "
    "costs.",
    right=(shrink_directions, shrink_ridge, shrink_compiled),
    others=(
        (lambda *args: -shrink(*args), "every number has the opposite sign"),
        (lambda *args: np.diag(shrink(*args)), "wrong type or shape"),
        (lambda *args: shrink(*args) + 0.01, "wrong"),
    ),
)


# One matrix, used twice


def tied_probes(rng):
    """One pixel and one code number; then matrices of different sizes."""
    yield np.array([[2.0]]), np.array([[2.0]])
    for _ in range(4):
        n, k, j = sizes(rng, 3)
        yield rng.normal(size=(n, k)), rng.normal(size=(j, k))


def tied_gradient(x, w):
    h = x @ w.T
    r = h @ w - x
    return (h.T @ r + (r @ w.T).T @ x) / len(x)


def tied_by_chapter(x, w):
    dw1, dw2 = chapter.linear_gradient(x, w, w.T.copy())
    return dw1 + dw2.T


def tied_step(x, w):
    def cost(v):
        r = x @ v.T @ v - x
        return np.sum(r * r) / (2 * len(x))

    return complex_step(cost, w)


@njit
def tied_compiled(x, w):
    S = x.T @ x / x.shape[0]
    P = w.T @ w
    E = (P - np.eye(P.shape[0])) @ S
    return w @ (E + E.T)


def _tied(x, w, first=1.0, second=1.0, N=None):
    dw1, dw2 = chapter.linear_gradient(x, w, w.T.copy())
    return (first * dw1 + second * dw2.T) * (1 if N is None else len(x) / N)


TIED = Exercise(
    label="autoencoders-tied",
    task="Write `tied_gradient(x, w)`, the gradient of 1/2N Σ ‖wᵀ w x_n − x_n‖² by w (j k).",
    reference=tied_gradient,
    axes="(n k), (j k) -> (j k)",
    probes=tied_probes,
    mistakes=(
        Mistake(
            "only the encoder's part is there",
            lambda x, w: _tied(x, w, second=0),
            "w stands in the formula twice: what it does as a decoder is missing.",
            "{eq}`autoencoders-linear-gradient`",
        ),
        Mistake(
            "only the decoder's part is there",
            lambda x, w: _tied(x, w, first=0),
            "w stands in the formula twice: what it does as an encoder is missing.",
            "{eq}`autoencoders-linear-gradient`",
        ),
        Mistake(
            "the two parts are subtracted",
            lambda x, w: _tied(x, w, second=-1),
            "Derivatives along all paths from w to the cost are added.",
            "{eq}`autoencoders-linear-gradient`",
        ),
        Mistake(
            "the two parts are averaged, and one counts double",
            lambda x, w: _tied(x, w, first=2.0),
            "Each use of w contributes once.",
            "{eq}`autoencoders-linear-gradient`",
        ),
        Mistake(
            "the error is taken without the minus x",
            lambda x, w: ((x @ w.T).T @ (x @ w.T @ w) + (x @ w.T @ w @ w.T).T @ x) / len(x),
            "r is what is wrong with the reconstruction: wᵀ w x − x.",
            "{eq}`autoencoders-reconstruction`",
        ),
    ),
    hints=(
        "Pretend that the two are different matrices. What are their gradients?",
        "With w_1 = w and w_2 = wᵀ: the gradient with respect to w is ∂C/∂w_1 plus the transposed ∂C/∂w_2.",
        "(Σ_n (w r_n) x_nᵀ + Σ_n h_n r_nᵀ) / N.",
    ),
    used="Tied weights halve the parameters of {eq}`autoencoders-linear-gradient`; a filter that is used at every place "
    "of an image adds up its gradients in the same way.",
    right=(tied_by_chapter, tied_step, tied_compiled),
    others=(
        (lambda *args: -tied_gradient(*args), "every number has the opposite sign"),
        (lambda *args: tied_gradient(*args).sum(axis=1), "wrong type or shape"),
        (lambda x, w: tied_gradient(x, w) + 0.01 * w, "wrong"),
    ),
)


# Sparsity, one step further down


def logit_probes(rng):
    """Two examples of one unit; then batches of several."""
    yield np.array([[0.0], [0.0]]), 0.25
    for _ in range(4):
        n, j = sizes(rng, 2, least=2, most=7)
        yield rng.normal(size=(n, j)), float(rng.uniform(0.05, 0.4))


def kl_delta(z, rho):
    h = 1 / (1 + np.exp(-z))
    q = h.mean(axis=0)
    return ((1 - rho) / (1 - q) - rho / q) * h * (1 - h) / len(z)


def kl_delta_by_chapter(z, rho):
    return chapter.kl_gradient(sigmoid(z), rho) * sigmoid_prime(z)


def kl_delta_step(z, rho):
    def cost(v):
        q = np.mean(1 / (1 + np.exp(-v)), axis=0)
        return np.sum(rho * np.log(rho / q) + (1 - rho) * np.log((1 - rho) / (1 - q)))

    return complex_step(cost, z)


@njit
def kl_delta_compiled(z, rho):
    h = 1 / (1 + np.exp(-z))
    out = np.empty_like(h)
    for j in range(z.shape[1]):
        q = np.mean(h[:, j])
        for n in range(z.shape[0]):
            out[n, j] = (q - rho) / (q * (1 - q)) * h[n, j] * (1 - h[n, j]) / z.shape[0]
    return out


def _kl_delta(z, rho, q=None, bend=True, N=None):
    h = 1 / (1 + np.exp(-z))
    q = h.mean(axis=0) if q is None else q(h)
    slope = ((1 - rho) / (1 - q) - rho / q) / (len(z) if N is None else N)
    return slope * (h * (1 - h) if bend else np.ones_like(h))


LOGIT = Exercise(
    label="autoencoders-kl-delta",
    task="Write `kl_delta(z, rho)`, ∂Ω/∂z_nj of the KL penalty, where h = σ(z).",
    reference=kl_delta,
    axes="(n j), () -> (n j)",
    probes=logit_probes,
    mistakes=(
        Mistake(
            "the slope of the sigmoid is missing",
            lambda z, rho: _kl_delta(z, rho, bend=False),
            "That is ∂Ω/∂h. From h to z there is one more factor, σ′(z).",
            "{eq}`autoencoders-kl-gradient`",
        ),
        Mistake(
            "the mean is taken over the units of an example",
            lambda z, rho: _kl_delta(z, rho, q=lambda h: h.mean(axis=1, keepdims=True)),
            "ϱ̂_j belongs to a unit and is a mean over examples.",
            "{eq}`autoencoders-rho-hat`",
        ),
        Mistake(
            "each activation stands in for its mean",
            lambda z, rho: _kl_delta(z, rho, q=lambda h: h),
            "The penalty sees the mean only, so all examples get the same ∂Ω/∂h of a unit.",
            "{eq}`autoencoders-kl-gradient`",
        ),
        Mistake(
            "the 1/N is missing",
            lambda z, rho: _kl_delta(z, rho, N=1),
            "Each activation moves ϱ̂_j by only 1/N.",
            "{eq}`autoencoders-rho-hat`",
        ),
        Mistake(
            "the divergence is turned round",
            lambda z, rho: (
                _kl_delta(z, rho) * 0
                + (
                    np.log(np.mean(1 / (1 + np.exp(-z)), axis=0) / rho)
                    - np.log((1 - np.mean(1 / (1 + np.exp(-z)), axis=0)) / (1 - rho))
                )
                / (1 + np.exp(-z))
                / (1 + np.exp(z))
                / len(z)
            ),
            "The distribution that is wanted comes first: ϱ log(ϱ/ϱ̂) and not ϱ̂ log(ϱ̂/ϱ).",
            "{eq}`autoencoders-kl-sparsity`",
        ),
    ),
    hints=(
        "Chain rule: ∂Ω/∂z_nj = ∂Ω/∂h_nj · σ′(z_nj).",
        "The first factor is on the page; it is the same for all n.",
        "((1 − ϱ)/(1 − ϱ̂_j) − ϱ/ϱ̂_j) h_nj (1 − h_nj) / N.",
    ),
    used="This is what is added to δ of the code when the sparse network of the page is trained; compare "
    "{eq}`autoencoders-kl-gradient`.",
    right=(kl_delta_by_chapter, kl_delta_step, kl_delta_compiled),
    others=(
        (lambda *args: -kl_delta(*args), "every number has the opposite sign"),
        (lambda *args: kl_delta(*args).sum(axis=0), "wrong type or shape"),
        (lambda *args: kl_delta(*args) + 1e-3, "wrong"),
    ),
)


# The contractive penalty with tanh


def tanh_probes(rng):
    """One unit at zero; then layers of different sizes."""
    yield np.array([[0.0]]), np.array([[3.0]]), np.zeros(1)
    for _ in range(4):
        n, k, j = sizes(rng, 3)
        yield rng.normal(size=(n, k)), rng.normal(size=(j, k)), rng.normal(size=j)


def contract_tanh(x, w, b):
    s = 1 - np.tanh(x @ w.T + b) ** 2
    return np.sum(s**2 @ np.sum(w**2, axis=1)) / len(x)


def contract_tanh_jacobians(x, w, b):
    steps = [complex_step(lambda v: np.tanh(w @ v + b), row) for row in x]
    return np.mean([np.sum(jacobian**2) for jacobian in steps])


def contract_tanh_trace(x, w, b):
    total = 0.0
    for row in x:
        J = (1 / np.cosh(w @ row + b) ** 2)[:, None] * w
        total += np.trace(J @ J.T)
    return total / len(x)


def contract_tanh_from_sigmoid(x, w, b):
    return 16 * chapter.contractive(x, 2 * w, 2 * b) / 4


@njit
def contract_tanh_compiled(x, w, b):
    h, total = np.tanh(affine(x, w, b)), 0.0
    for n in range(h.shape[0]):
        for j in range(h.shape[1]):
            total += ((1 - h[n, j]) * (1 + h[n, j])) ** 2 * np.sum(w[j] * w[j])
    return total / h.shape[0]


TANH = Exercise(
    label="autoencoders-contract-tanh",
    task="Write `contract_tanh(x, w, b)`, the mean of ‖∂h_n/∂x_n‖² for h = tanh(w x + b).",
    reference=contract_tanh,
    axes="(n k), (j k), (j) -> ()",
    probes=tanh_probes,
    mistakes=(
        Mistake(
            "the slope is that of the sigmoid",
            lambda x, w, b: (
                np.sum(
                    (np.tanh(x @ w.T + b) * (1 - np.tanh(x @ w.T + b))) ** 2 @ np.sum(w**2, axis=1)
                )
                / len(x)
            ),
            "h(1 − h) belongs to σ. For tanh the slope is 1 − h².",
            "{eq}`neurons-tanh`",
        ),
        Mistake(
            "the slope is not squared",
            lambda x, w, b: np.sum((1 - np.tanh(x @ w.T + b) ** 2) @ np.sum(w**2, axis=1)) / len(x),
            "An entry of the Jacobian is slope times weight, and the whole of it is squared.",
            "{eq}`autoencoders-contractive`",
        ),
        Mistake(
            "the weights are not squared",
            lambda x, w, b: (
                np.sum((1 - np.tanh(x @ w.T + b) ** 2) ** 2 @ np.sum(np.abs(w), axis=1)) / len(x)
            ),
            "The squared size of a matrix is the sum of the squares of its entries.",
            "{eq}`autoencoders-contractive`",
        ),
        Mistake(
            "the weights of a unit are added before they are squared",
            lambda x, w, b: (
                np.sum((1 - np.tanh(x @ w.T + b) ** 2) ** 2 @ np.sum(w, axis=1) ** 2) / len(x)
            ),
            "Every input is moved on its own: Σ_k w_jk², and not (Σ_k w_jk)².",
            "{eq}`autoencoders-contractive`",
        ),
        Mistake(
            "the biases are left out",
            lambda x, w, b: contract_tanh(x, w, 0 * b),
            "b is not a factor of the Jacobian, but it decides where on the tanh one stands.",
            "{eq}`autoencoders-contractive`",
        ),
    ),
    hints=(
        "What is ∂h_j/∂x_k, by the chain rule?",
        "(1 − h_j²) w_jk. Square it and sum over j and k.",
        "1/N Σ_nj (1 − h_nj²)² Σ_k w_jk².",
    ),
    used="{eq}`autoencoders-contractive` is the same for σ. Since tanh z = 2σ(2z) − 1, the two differ by a change "
    "of scale.",
    right=(
        contract_tanh_jacobians,
        contract_tanh_trace,
        contract_tanh_from_sigmoid,
        contract_tanh_compiled,
    ),
    others=(
        (lambda *args: -contract_tanh(*args), "every number has the opposite sign"),
        (
            lambda x, w, b: contract_tanh(x, w, b) * len(x),
            "every number is N times what it should be",
        ),
        (lambda x, w, b: contract_tanh(x, w, b) + 0.1, "wrong"),
        (lambda x, w, b: contract_tanh(x, w, b) * np.ones(len(x) + 1), "wrong type or shape"),
    ),
)


# The floor under the cross-entropy


def floor_probes(rng):
    """A pixel of one half; then images with grey, with paper and with ink."""
    yield (np.array([[0.5]]),)
    for _ in range(4):
        n, k = sizes(rng, 2)
        x = np.clip(rng.normal(0.5, 0.5, size=(n, k)), 0, 1)
        x[0, :2], x[-1, 0] = 0, 1
        yield (x,)


def floor(x):
    return np.sum(special.entr(x) + special.entr(1 - x)) / len(x)


def floor_where(x):
    grey = (x > 0) & (x < 1)
    p = np.where(grey, x, 0.5)
    bits = -p * np.log(p) - (1 - p) * np.log(1 - p)
    return np.sum(bits * grey) / len(x)


def floor_loop(x):
    total = 0.0
    for v in x.flat:
        for p in (v, 1 - v):
            total -= p * np.log(p) if p > 0 else 0.0
    return total / len(x)


@njit
def floor_compiled(x):
    total = 0.0
    for n in range(x.shape[0]):
        for k in range(x.shape[1]):
            for p in (x[n, k], 1 - x[n, k]):
                if p > 0:
                    total -= p * np.log(p)
    return total / x.shape[0]


FLOOR = Exercise(
    label="autoencoders-floor",
    task="Write `floor(x)`, the least Bernoulli cost that any output can reach on x; pixels may be 0 and 1.",
    reference=floor,
    axes="(n k) -> ()",
    probes=floor_probes,
    mistakes=(
        Mistake(
            "only the ink is counted",
            lambda x: np.sum(special.entr(x)) / len(x),
            "A pixel that is 0.9 dark is 0.1 light, and the coin pays for that too.",
            "{eq}`autoencoders-bernoulli-nll`",
        ),
        Mistake(
            "the two sides of the coin are not added",
            lambda x: np.sum(special.entr(1 - x)) / len(x),
            "Ink and paper both have a probability, and both terms count.",
            "{eq}`autoencoders-bernoulli-nll`",
        ),
        Mistake(
            "a squared error stands in for the cross-entropy",
            lambda x: np.sum(np.minimum(x, 1 - x) ** 2) / len(x),
            "The cost is made of logarithms; at p = x it is not zero and not a square.",
            "{eq}`autoencoders-bernoulli-nll`",
        ),
        Mistake(
            "grey pixels are rounded to black and white",
            lambda x: np.sum(-np.log(np.maximum(x, 1 - x))) / len(x),
            "−log max(x, 1 − x) is the cost of the likelier side alone; both are weighted by x and 1 − x.",
            "{eq}`autoencoders-bernoulli-nll`",
        ),
        Mistake(
            "this is the variance of the coins",
            lambda x: np.sum(x * (1 - x)) / len(x),
            "x(1 − x) is a coin's variance; the cost at p = x is its entropy.",
            "{eq}`autoencoders-bernoulli-nll`",
        ),
    ),
    hints=(
        "For one pixel: which p makes −x log p − (1 − x) log(1 − p) smallest?",
        "Its derivative with respect to p vanishes at p = x. Put that in.",
        "Σ (−x log x − (1 − x) log(1 − x)) / N, where 0 log 0 = 0.",
    ),
    used="Subtract it from {eq}`autoencoders-bernoulli-nll` and what remains is a divergence, zero for a perfect "
    "reconstruction.",
    right=(floor_where, floor_loop, floor_compiled),
    others=(
        (lambda x: -floor(x), "every number has the opposite sign"),
        (lambda x: np.sum(special.entr(x) + special.entr(1 - x), axis=1), "wrong type or shape"),
        (lambda x: floor(x) + 0.01, "wrong"),
        (lambda x: floor(x) * len(x), "every number is N times what it should be"),
    ),
)


# Break this line


BREAK = Choice(
    label="autoencoders-break",
    task="In `reconstruction`, `2 * x.shape[0]` becomes `x.shape[0]`. Name the letters of all equations whose checks fail.",
    right="acd",
    wrong={
        "b": "(b) is a sum of squared singular values over 2N, and does not call `reconstruction`.",
        "e": "(e) has its own loop and its own factor, 1/(2 N v).",
    },
    missing="Some kernels of this chapter are built on `reconstruction`; the ½ goes missing in all of them.",
    hints=(
        "Search the module for `reconstruction(`: which kernels call it?",
        "The expected cost of a linear denoiser has two terms. Which kernel computes the first?",
        "`denoising` ends with it, and `denoising_linear` begins with it.",
    ),
    used="{eq}`autoencoders-reconstruction` is the first term of {eq}`autoencoders-denoising-linear`; its factor has to "
    "agree with the s²/2 of the second.",
)


EXERCISES = (SHRINK, TIED, LOGIT, TANH, FLOOR, BREAK)
