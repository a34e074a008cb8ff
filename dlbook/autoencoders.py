"""Autoencoders: a network learns to repeat its input through a narrow place, or against a handicap.

Page: ``book/autoencoders.md``. Builds on `training` (dense layers over given memory, the loop's form
of a model), `convolution` (layers with the channels last), `neurons`, `linear_classification`
(sigmoid, softmax) and `matmul` (distances).

Sources: Eckart & Young, Psychometrika 1 (1936); Bourlard & Kamp, Biol. Cybern. 59 (1988), and Baldi
& Hornik, Neural Networks 2 (1989), for the linear case; Hinton & Salakhutdinov, Science 313 (2006);
Vincent et al., ICML (2008), for noise; Rifai et al., ICML (2011), for contraction.

Axes: n examples; k inputs (pixels) and outputs; j numbers of the code; m grey levels; i code numbers
kept by PCA; c, h, w channels, rows and columns of an image.

Names: x input, h code, x_hat reconstruction, a what the last layer gives before its activation, u
uniform and eps normal random numbers; dx = ∂C/∂x and so on for every other letter. Costs are means
over the batch and sums over the numbers of an example.
"""
# ruff: noqa: E741

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from dlbook.linear_classification import log_sum_exp, sigmoid, softmax
from dlbook.matmul import squared_distances
from dlbook.neurons import affine
from dlbook.tools import shapes, units
from dlbook.tools.jit import check_indices, njit

__all__ = [
    "Principal",
    "auc",
    "bernoulli_nll",
    "bernoulli_nll_gradient",
    "categorical_nll",
    "categorical_nll_gradient",
    "contractive",
    "contractive_gradient",
    "corrupt",
    "denoising",
    "denoising_linear",
    "eckart_young",
    "gaussian_nll",
    "gaussian_nll_gradient",
    "kl_gradient",
    "kl_penalty",
    "l1_gradient",
    "l1_penalty",
    "linear_gradient",
    "mask",
    "mean_activation",
    "neighbours",
    "precision",
    "principal_angles",
    "principal_components",
    "principal_sines",
    "reconstruction",
    "upsample",
    "upsample_backward",
]

# What is asked of a reconstruction


@njit
def reconstruction(x_hat, x):
    """(autoencoders-reconstruction)  C = 1/2N Σ_nk (x̂_nk − x_nk)²
    (n k), (n k) -> ()
    """
    total = x_hat.dtype.type(0)
    for n in range(x.shape[0]):
        for k in range(x.shape[1]):
            total += (x_hat[n, k] - x[n, k]) ** 2
    return total / (2 * x.shape[0])


@njit
def linear_gradient(x, w1, w2):
    """(autoencoders-linear-gradient)  dw2_kj = Σ_n r_nk h_nj / N,
    dw1_jk = Σ_n (Σ_i r_ni w2_ij) x_nk / N,   h = x w1ᵀ,  r = h w2ᵀ − x
    (n k), (j k), (k j) -> (j k), (k j)
    """
    none_k, none_j = np.zeros_like(w2[:, 0]), np.zeros_like(w1[:, 0])
    h = affine(x, w1, none_j)
    r = affine(h, w2, none_k) - x
    back = affine(r, w2.T, none_j)
    dw1, dw2 = np.zeros_like(w1), np.zeros_like(w2)
    for n in range(x.shape[0]):
        for k in range(x.shape[1]):
            for j in range(w1.shape[0]):
                dw2[k, j] += r[n, k] * h[n, j] / x.shape[0]
                dw1[j, k] += back[n, j] * x[n, k] / x.shape[0]
    return dw1, dw2


@njit
def principal_sines(u, v):
    """(autoencoders-linear-pca)  sin θ_i = s_i(v − u uᵀ v), columns of u and v orthonormal
    (k i), (k j) -> (j)
    """
    rest = v.copy()
    for i in range(u.shape[1]):
        for j in range(v.shape[1]):
            along = v.dtype.type(0)
            for k in range(v.shape[0]):
                along += u[k, i] * v[k, j]
            for k in range(v.shape[0]):
                rest[k, j] -= u[k, i] * along
    return np.linalg.svd(rest)[1]


@njit
def eckart_young(s, I, N):
    """(autoencoders-eckart-young)  bound = 1/2N Σ_{i > I} s_i²
    (i), (), () -> ()
    """
    total = s.dtype.type(0)
    for i in range(I, s.shape[0]):
        total += s[i] ** 2
    return total / (2 * N)


# Sparse codes


@njit
def l1_penalty(h):
    """(autoencoders-l1-sparsity)  Ω = 1/N Σ_nj |h_nj|
    (n j) -> ()
    """
    total = h.dtype.type(0)
    for n in range(h.shape[0]):
        for j in range(h.shape[1]):
            total += abs(h[n, j])
    return total / h.shape[0]


@njit
def l1_gradient(h):
    """(autoencoders-l1-sparsity)  ∂Ω/∂h_nj = sign(h_nj) / N, zero at zero
    (n j) -> (n j)
    """
    dh = np.empty_like(h)
    for n in range(h.shape[0]):
        for j in range(h.shape[1]):
            dh[n, j] = np.sign(h[n, j]) / h.shape[0]
    return dh


@njit
def mean_activation(h):
    """(autoencoders-rho-hat)  ρ̂_j = 1/N Σ_n h_nj
    (n j) -> (j)
    """
    rho_hat = np.zeros_like(h[0])
    for n in range(h.shape[0]):
        for j in range(h.shape[1]):
            rho_hat[j] += h[n, j] / h.shape[0]
    return rho_hat


@njit
def kl_penalty(rho_hat, rho):
    """(autoencoders-kl-sparsity)
    Ω = Σ_j (ρ log(ρ / ρ̂_j) + (1 − ρ) log((1 − ρ) / (1 − ρ̂_j)))
    (j), () -> ()
    """
    total = rho_hat.dtype.type(0)
    for j in range(rho_hat.shape[0]):
        total += rho * np.log(rho / rho_hat[j])
        total += (1 - rho) * np.log((1 - rho) / (1 - rho_hat[j]))
    return total


@njit
def kl_gradient(h, rho):
    """(autoencoders-kl-gradient)  ∂Ω/∂h_nj = ((1 − ρ)/(1 − ρ̂_j) − ρ/ρ̂_j) / N
    (n j), () -> (n j)
    """
    rho_hat, dh = mean_activation(h), np.empty_like(h)
    for n in range(h.shape[0]):
        for j in range(h.shape[1]):
            slope = (1 - rho) / (1 - rho_hat[j]) - rho / rho_hat[j]
            dh[n, j] = slope / h.shape[0]
    return dh


# Handicaps: noise, and a code that must not move


@njit
def denoising(x, eps, sigma, w1, b1, w2, b2):
    """(autoencoders-denoising)  C = 1/2N Σ_n ‖w2 σ(w1 x̃_n + b1) + b2 − x_n‖²,
    x̃_n = x_n + s ε_n
    (n k), (n k), (), (j k), (j), (k j), (k) -> ()
    """
    noisy = x + sigma * eps
    h = sigmoid(affine(noisy, w1, b1))
    return reconstruction(affine(h, w2, b2), x)


@njit
def denoising_linear(x, w, sigma):
    """(autoencoders-denoising-linear)
    E C = 1/2N Σ_n ‖w x_n − x_n‖² + s²/2 Σ_ik w_ik²
    (n k), (k k), () -> ()
    """
    clean = reconstruction(affine(x, w, np.zeros_like(x[0])), x)
    square = w.dtype.type(0)
    for i in range(w.shape[0]):
        for k in range(w.shape[1]):
            square += w[i, k] ** 2
    return clean + sigma * sigma / 2 * square


@njit
def mask(x, u, p):
    """x̃_nk = x_nk where u_nk ≥ p, else 0
    (n k), (n k), () -> (n k)
    """
    kept = np.zeros_like(x)
    for n in range(x.shape[0]):
        for k in range(x.shape[1]):
            if u[n, k] >= p:
                kept[n, k] = x[n, k]
    return kept


@njit
def contractive(x, w, b):
    """(autoencoders-contractive)  Ω = 1/N Σ_n ‖∂h_n/∂x_n‖²
    = 1/N Σ_nj (h_nj (1 − h_nj))² Σ_k w_jk²,   h = σ(x wᵀ + b)
    (n k), (j k), (j) -> ()
    """
    h = sigmoid(affine(x, w, b))
    total = h.dtype.type(0)
    for j in range(w.shape[0]):
        square = w.dtype.type(0)
        for k in range(w.shape[1]):
            square += w[j, k] ** 2
        for n in range(x.shape[0]):
            total += (h[n, j] * (1 - h[n, j])) ** 2 * square
    return total / x.shape[0]


@njit
def contractive_gradient(x, w, b):
    """(autoencoders-contractive-gradient)  db_j = 2/N Σ_n ζ_nj,
    dw_jk = 2/N Σ_n (κ_nj² w_jk + ζ_nj x_nk),
    κ = h(1 − h),   ζ_nj = κ_nj² (1 − 2 h_nj) Σ_k w_jk²
    (n k), (j k), (j) -> (j k), (j)
    """
    h, N = sigmoid(affine(x, w, b)), x.shape[0]
    dw, db = np.zeros_like(w), np.zeros_like(b)
    for j in range(w.shape[0]):
        square = np.sum(w[j] * w[j])
        for n in range(N):
            kappa2 = (h[n, j] * (1 - h[n, j])) ** 2
            zeta = kappa2 * (1 - 2 * h[n, j]) * square
            db[j] += 2 * zeta / N
            for k in range(w.shape[1]):
                dw[j, k] += 2 * (kappa2 * w[j, k] + zeta * x[n, k]) / N
    return dw, db


# Outputs as distributions


@njit
def gaussian_nll(x_hat, x, variance):
    """(autoencoders-gaussian-nll)
    1/N Σ_nk ((x_nk − x̂_nk)² / 2τ² + ½ log 2πτ²)
    (n k), (n k), () -> ()
    """
    total, (N, K) = x_hat.dtype.type(0), x.shape
    for n in range(N):
        for k in range(K):
            total += (x[n, k] - x_hat[n, k]) ** 2
    return total / (2 * N * variance) + K / 2 * np.log(2 * np.pi * variance)


@njit
def gaussian_nll_gradient(x_hat, x, variance):
    """(autoencoders-gaussian-nll)  dx̂_nk = (x̂_nk − x_nk) / (N τ²)
    (n k), (n k), () -> (n k)
    """
    dx_hat = np.empty_like(x_hat)
    for n in range(x.shape[0]):
        for k in range(x.shape[1]):
            dx_hat[n, k] = (x_hat[n, k] - x[n, k]) / (x.shape[0] * variance)
    return dx_hat


@njit
def bernoulli_nll(a, x):
    """(autoencoders-bernoulli-nll)  −1/N Σ_nk (x_nk log p_nk + (1 − x_nk) log(1 − p_nk))
    = 1/N Σ_nk (log(1 + e^a_nk) − x_nk a_nk),   p = σ(a)
    (n k), (n k) -> ()
    """
    total = a.dtype.type(0)
    for n in range(x.shape[0]):
        for k in range(x.shape[1]):
            v = a[n, k]
            if v.real > 0:  # log(1 + e^v) = v + log(1 + e^−v)
                total += v - x[n, k] * v + np.log(1 + np.exp(-v))
            else:
                total += np.log(1 + np.exp(v)) - x[n, k] * v
    return total / x.shape[0]


@njit
def bernoulli_nll_gradient(a, x):
    """(autoencoders-bernoulli-nll)  da_nk = (σ(a_nk) − x_nk) / N
    (n k), (n k) -> (n k)
    """
    da, p = np.empty_like(a), sigmoid(a)
    for n in range(x.shape[0]):
        for k in range(x.shape[1]):
            da[n, k] = (p[n, k] - x[n, k]) / x.shape[0]
    return da


@njit(whole="x")
def categorical_nll(a, x):
    """(autoencoders-categorical-nll)
    1/N Σ_nk (log Σ_m e^a_nkm − a_nk,x_nk)
    (n k m), (n k) -> ()
    """
    N, K, M = a.shape
    check_indices(x, M)
    total = a.dtype.type(0)
    for n in range(N):
        whole = log_sum_exp(a[n])
        for k in range(K):
            total += whole[k] - a[n, k, x[n, k]]
    return total / N


@njit(whole="x")
def categorical_nll_gradient(a, x):
    """(autoencoders-categorical-nll)  da_nkm = (softmax(a_nk)_m − [m = x_nk]) / N
    (n k m), (n k) -> (n k m)
    """
    check_indices(x, a.shape[2])
    da = np.empty_like(a)
    for n in range(a.shape[0]):
        da[n] = softmax(a[n])
        for k in range(a.shape[1]):
            da[n, k, x[n, k]] -= 1
    return da / a.shape[0]


# Larger images from smaller ones


@njit
def upsample(x):
    """(autoencoders-upsample)  y_nchw = x_n,c,⌊h/2⌋,⌊w/2⌋
    (n c h w) -> (n c 2h 2w)
    """
    N, C, H, W = x.shape
    y = np.empty((N, C, 2 * H, 2 * W), x.dtype)
    for n, c, h, w in np.ndindex(y.shape):
        y[n, c, h, w] = x[n, c, h // 2, w // 2]
    return y


@njit
def upsample_backward(dy):
    """(autoencoders-upsample)  dx_n,c,⌊h/2⌋,⌊w/2⌋ += dy_nchw
    (n c 2h 2w) -> (n c h w)
    """
    N, C, H, W = dy.shape
    dx = np.zeros((N, C, H // 2, W // 2), dy.dtype)
    for n, c, h, w in np.ndindex(dy.shape):
        dx[n, c, h // 2, w // 2] += dy[n, c, h, w]
    return dx


# Retrieval


@njit(whole="found y")
def precision(found, y):
    """(autoencoders-precision)  P@k = 1/(N k) Σ_n Σ_{i ≤ k} [found_ni = y_n]
    (n i), (n) -> ()
    """
    right = 0
    for n in range(found.shape[0]):
        for i in range(found.shape[1]):
            right += found[n, i] == y[n]
    return right / found.size


# Telling the unusual apart


@njit
def auc(odd, usual):
    """(autoencoders-auc)  AUC = 1/NM Σ_nm ([e_n > f_m] + ½ [e_n = f_m])
    (n), (m) -> ()
    """
    above = 0.0
    for n in range(odd.shape[0]):
        for m in range(usual.shape[0]):
            above += (odd[n] > usual[m]) + 0.5 * (odd[n] == usual[m])
    return above / (odd.shape[0] * usual.shape[0])


# Public functions


class Principal(NamedTuple):
    """The principal components of data."""

    mean: np.ndarray  # (k,)
    components: np.ndarray  # (i, k), orthonormal rows, the strongest first
    s: np.ndarray  # (i,), singular values of the centred data


def principal_components(x: ArrayLike) -> Principal:
    """Return mean, principal directions and singular values of data.

    Parameters
    ----------
    x : array_like, shape (n, k)
        Examples.

    Returns
    -------
    Principal
        With i = min(n, k) directions. The first I of them give the best reconstruction of the data
        from I numbers by linear maps.

    References
    ----------
    Eckart & Young, Psychometrika 1 (1936).
    """
    x = shapes.Axes().floats("x", x, "n k")
    unit = units.powers(x)  # a power of two: sums do not overflow
    x = np.ldexp(x, -unit)
    mean = x.mean(axis=0, dtype=np.float64)  # sums of many float32 lose digits in float32
    centred = (x - mean).astype(x.dtype)
    _, s, components = np.linalg.svd(centred, full_matrices=False)
    return Principal(np.ldexp(mean.astype(x.dtype), unit), components, np.ldexp(s, unit))


def principal_angles(a: ArrayLike, b: ArrayLike) -> np.ndarray:
    """Return the angles between the spaces that the columns of two matrices span.

    Parameters
    ----------
    a, b : array_like, shapes (k, i) and (k, j)
        With i ≥ j; of full column rank.

    Returns
    -------
    ndarray, shape (j,)
        In radians, the largest first; exact for small angles, and to 1e-8 near a right one.

    Raises
    ------
    TypeError, ValueError
        If the shapes do not fit, or columns depend on each other.
    """
    axes = shapes.Axes()
    a, b = axes.floats("a", a, "k i"), axes.floats("b", b, "k j")
    if a.shape[1] < b.shape[1]:
        raise ValueError(f"a has {a.shape[1]} columns, fewer than b, which has {b.shape[1]}")
    bases = []
    for name, part in (("a", a), ("b", b)):
        columns = np.ldexp(part.astype(np.float64), -units.powers(part, axis=0))
        rounding = max(2 * np.finfo(part.dtype).eps, max(part.shape) * np.finfo(np.float64).eps)
        if np.linalg.matrix_rank(columns, rtol=rounding) < part.shape[1]:
            raise ValueError(f"the columns of {name} depend on each other")
        bases.append(np.linalg.qr(columns)[0])
    return np.arcsin(np.minimum(principal_sines(*bases), 1)).astype(np.result_type(a, b))


KINDS_OF_NOISE = ("gaussian", "mask")


def corrupt(x: ArrayLike, noise: str, level: float, rng: np.random.Generator) -> np.ndarray:
    """Return data with fresh noise.

    Parameters
    ----------
    x : array_like, shape (n, k)
        Examples.
    noise : {"gaussian", "mask"}
        Normal numbers are added, or numbers are set to zero.
    level : float
        Standard deviation, or the probability of being set to zero.
    rng : numpy.random.Generator
        Source of the noise.

    Returns
    -------
    ndarray, shape (n, k), of the dtype of x
    """
    x = shapes.Axes().floats("x", x, "n k")
    check_noise("noise", noise, level)
    shapes.generator("rng", rng)
    given, draws = np.empty_like(x), np.empty_like(x)
    corrupt_into(x, noise, level, rng, draws, given)
    return given


def check_noise(name, noise, level):
    """Check what spoils the input, and how much."""
    shapes.choice(name, noise, KINDS_OF_NOISE)
    shapes.number("level", level, above=0, **({"below": 1} if noise == "mask" else {}))


def corrupt_into(x, noise, level, rng, draws, given):
    """Draw noise and write the spoilt input."""
    if noise == "gaussian":
        rng.standard_normal(out=draws, dtype=draws.dtype)
        np.multiply(draws, draws.dtype.type(level), given)
        given += x
    else:
        rng.random(out=draws, dtype=draws.dtype)
        np.multiply(x, draws >= level, given)


def neighbours(queries: ArrayLike, base: ArrayLike, count: int) -> np.ndarray:
    """Return for each query which rows of `base` are nearest to it, the nearest first.

    Parameters
    ----------
    queries : array_like, shape (n, j)
        Codes, or images.
    base : array_like, shape (m, j)
        What is searched.
    count : int
        How many are wanted, at most m.

    Returns
    -------
    ndarray of int64, shape (n, count)
    """
    axes = shapes.Axes()
    queries, base = axes.floats("queries", queries, "n j"), axes.floats("base", base, "m j")
    count = shapes.count("count", count, most=len(base))
    unit = max(
        units.powers(queries), units.powers(base)
    )  # so that squares neither vanish nor overflow
    d = squared_distances(np.ldexp(queries, -unit), np.ldexp(base, -unit))
    return np.argsort(d, axis=1, kind="stable")[:, :count]
