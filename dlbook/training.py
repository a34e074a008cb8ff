"""Training: what keeps a signal alive through depth.

Page: ``book/training.md``. Builds on `backprop` (the equations of a layer). The loop that trains
every model, `fit`, stands in `dlbook.nets`.

Sources: Glorot & Bengio, AISTATS (2010); He et al., ICCV (2015); Ioffe & Szegedy, ICML (2015); Ba,
Kiros & Hinton, arXiv:1607.06450 (2016); Srivastava et al., JMLR 15 (2014); Pascanu, Mikolov &
Bengio, ICML (2013), for clipping; Prechelt, in Neural Networks: Tricks of the Trade (1998), for
early stopping.

Axes: n examples of a batch; j features, or neurons of a layer; k neurons of the layer below;
l, m layers from 1 (the input) to L, as in `backprop`.

Names: z weighted inputs, a activations, gamma and beta the scale and shift after a normalization,
root = √(v + ε), dy = ∂C/∂y and so on for every other letter.
"""
# ruff: noqa: E741

from collections.abc import Sequence
from math import prod

import numpy as np
from numpy.typing import DTypeLike

from dlbook.tools import shapes
from dlbook.tools.jit import njit, njit_fast

__all__ = [
    "batchnorm",
    "batchnorm_backward",
    "clip",
    "dropout",
    "dropout_backward",
    "finite_copy",
    "he",
    "he_variance",
    "layernorm",
    "layernorm_backward",
    "leaky_relu_gradient",
    "moments",
    "normalize",
    "running_statistics",
    "scaled_norm",
    "scale_in_place",
    "scale_shift",
    "vanishing_bound",
    "weighted_input_variance",
    "xavier",
    "xavier_variance",
]

# The signal on its way: how much of it arrives


@njit
def vanishing_bound(norms, slope, top):
    """(training-vanishing)  B_L = ‖δ^L‖,   B_l = σ′_max ‖w^{l+1}‖ B_{l+1}
    (m), (), () -> (l)
    """
    bound = np.full(norms.shape[0] + 1, top, norms.dtype)
    for l in range(norms.shape[0] - 1, -1, -1):
        bound[l] = slope * norms[l] * bound[l + 1]
    return bound


@njit
def weighted_input_variance(w_variance, a):
    """(training-variance-propagation)  Var z = Var w Σ_k a_k²  (= n Var w · mean of a²)
    (), (k) -> ()
    """
    total = a.dtype.type(0)
    for k in range(a.shape[0]):
        total += a[k] ** 2
    return w_variance * total


@njit
def xavier_variance(fan_in, fan_out):
    """(training-xavier)  Var w = 2 / (n_in + n_out)
    (), () -> ()
    """
    return 2 / (fan_in + fan_out)


@njit
def he_variance(fan, slope):
    """(training-he)  Var w = 2 / ((1 + α²) n)
    (), () -> ()
    """
    return 2 / ((1 + slope * slope) * fan)


# One scale for all: standardized inputs, batch normalization, layer normalization


@njit
def moments(x):
    """μ_j = Σ_n x_nj / N,   v_j = Σ_n (x_nj − μ_j)² / N
    (n j) -> (j), (j)
    """
    N, J = x.shape
    mean, variance = np.zeros_like(x[0]), np.zeros_like(x[0])
    for n in range(N):
        for j in range(J):
            mean[j] += x[n, j] / N
    for n in range(N):
        for j in range(J):
            variance[j] += (x[n, j] - mean[j]) ** 2 / N
    return mean, variance


@njit
def normalize(x, mean, variance, eps):
    """(training-standardize)  x̂_nj = (x_nj − μ_j) / √(v_j + ε)
    (n j), (j), (j), () -> (n j)
    """
    normed = np.empty_like(x)
    for n in range(x.shape[0]):
        for j in range(x.shape[1]):
            normed[n, j] = (x[n, j] - mean[j]) / np.sqrt(variance[j] + eps)
    return normed


@njit
def scale_shift(normed, gamma, beta):
    """y_nj = γ_j x̂_nj + β_j
    (n j), (j), (j) -> (n j)
    """
    y = np.empty_like(normed)
    for n in range(normed.shape[0]):
        for j in range(normed.shape[1]):
            y[n, j] = gamma[j] * normed[n, j] + beta[j]
    return y


@njit
def batchnorm(x, gamma, beta, eps):
    """(training-batchnorm)  y_nj = γ_j (x_nj − μ_j) / √(v_j + ε) + β_j
    (n j), (j), (j), () -> (n j)
    """
    mean, variance = moments(x)
    return scale_shift(normalize(x, mean, variance, eps), gamma, beta)


@njit
def batchnorm_backward(dy, x, gamma, eps):
    """(training-batchnorm-backward)  dβ_j = Σ_n dy_nj,   dγ_j = Σ_n dy_nj x̂_nj,
    dx_nj = γ_j / √(v_j + ε) (dy_nj − dβ_j / N − x̂_nj dγ_j / N)
    (n j), (n j), (j), () -> (n j), (j), (j)
    """
    mean, variance = moments(x)
    normed, N = normalize(x, mean, variance, eps), x.shape[0]
    dx = np.empty_like(x)
    dgamma, dbeta = np.zeros_like(gamma), np.zeros_like(gamma)
    for n in range(N):
        for j in range(x.shape[1]):
            dbeta[j] += dy[n, j]
            dgamma[j] += dy[n, j] * normed[n, j]
    for n in range(N):
        for j in range(x.shape[1]):
            rest = dy[n, j] - (dbeta[j] + normed[n, j] * dgamma[j]) / N
            dx[n, j] = gamma[j] / np.sqrt(variance[j] + eps) * rest
    return dx, dgamma, dbeta


@njit
def running_statistics(r, s, batch_mean, batch_variance, N, rate):
    """(training-running-statistics)  r_j ← (1 − ρ) r_j + ρ μ_j,
    s_j ← (1 − ρ) s_j + ρ N/(N−1) v_j
    (j), (j), (j), (j), (), () -> (j), (j)
    """
    mean, variance = np.empty_like(r), np.empty_like(s)
    for j in range(r.shape[0]):
        unbiased = batch_variance[j] * N / (N - 1)
        mean[j] = (1 - rate) * r[j] + rate * batch_mean[j]
        variance[j] = (1 - rate) * s[j] + rate * unbiased
    return mean, variance


@njit(apart=True)
def layernorm(x, gamma, beta, eps):
    """(training-layernorm)  y_nj = γ_j (x_nj − μ_n) / √(v_n + ε) + β_j
    (n j), (j), (j), () -> (n j)
    """
    y, J = np.empty_like(x), x.shape[1]
    for n in range(x.shape[0]):
        mean, variance = x.dtype.type(0), x.dtype.type(0)
        for j in range(J):
            mean += x[n, j] / J
        for j in range(J):
            variance += (x[n, j] - mean) ** 2 / J
        for j in range(J):
            normed = (x[n, j] - mean) / np.sqrt(variance + eps)
            y[n, j] = gamma[j] * normed + beta[j]
    return y


@njit(apart=True)
def layernorm_backward(dy, x, gamma, eps):
    """(training-layernorm-backward)  dβ_j = Σ_n dy_nj,   dγ_j = Σ_n dy_nj x̂_nj,
    dx_nj = (g_nj − Σ_i g_ni / J − x̂_nj Σ_i g_ni x̂_ni / J) / √(v_n + ε),
    with g_nj = γ_j dy_nj
    (n j), (n j), (j), () -> (n j), (j), (j)
    """
    mean, variance = moments(x.T)
    normed, J = normalize(x.T, mean, variance, eps).T, x.shape[1]
    dx = np.empty_like(x)
    dgamma, dbeta = np.zeros_like(gamma), np.zeros_like(gamma)
    for n in range(x.shape[0]):
        whole, along = x.dtype.type(0), x.dtype.type(0)
        for j in range(J):
            dbeta[j] += dy[n, j]
            dgamma[j] += dy[n, j] * normed[n, j]
            whole += gamma[j] * dy[n, j] / J
            along += gamma[j] * dy[n, j] * normed[n, j] / J
        for j in range(J):
            rest = gamma[j] * dy[n, j] - whole - normed[n, j] * along
            dx[n, j] = rest / np.sqrt(variance[n] + eps)
    return dx, dgamma, dbeta


# Dropout, and the slope that lets a dead unit return


@njit
def dropout(a, uniform, p):
    """(training-dropout)  y_nj = a_nj / (1 − p) where u_nj ≥ p, else 0
    (n j), (n j), () -> (n j)

    p is the probability that an activation is dropped; u is uniform on [0, 1).
    """
    y = np.zeros_like(a)
    for n in range(a.shape[0]):
        for j in range(a.shape[1]):
            if uniform[n, j] >= p:
                y[n, j] = a[n, j] / (1 - p)
    return y


@njit
def dropout_backward(dy, uniform, p):
    """(training-dropout-backward)  da_nj = dy_nj / (1 − p) where u_nj ≥ p, else 0
    (n j), (n j), () -> (n j)
    """
    da = np.zeros_like(dy)
    for n in range(dy.shape[0]):
        for j in range(dy.shape[1]):
            if uniform[n, j] >= p:
                da[n, j] = dy[n, j] / (1 - p)
    return da


@njit
def leaky_relu_gradient(da, z, slope):
    """(training-leaky-relu-gradient)  δ_nj = da_nj where z_nj > 0, else α da_nj
    (n j), (n j), () -> (n j)
    """
    delta = np.empty_like(da)
    for n in range(z.shape[0]):
        for j in range(z.shape[1]):
            delta[n, j] = da[n, j] if z[n, j] > 0 else slope * da[n, j]
    return delta


# The whole gradient

SMALL = 1e-280  # a sum of squares below it may have lost some of them


@njit
def scaled_norm(g):
    """‖g‖ = m √Σ_p (g_p / m)², with m the largest size: no square is too large or too small
    (parameters) -> ()
    """
    most, total = 0.0, 0.0
    for p in range(g.size):
        size = abs(np.float64(g[p]))
        most = size if size > most or size != size else most
    if not 0 < most < np.inf:
        return most
    for p in range(g.size):
        share = np.float64(g[p]) / most
        total += share * share
    return most * np.sqrt(total)


@njit
def scale_in_place(g, factor):
    """g ← c g, in place; no product of it with another factor, which might overflow
    (parameters), () -> ()
    """
    for p in range(g.size):
        g[p] *= factor


@njit_fast
def clip(g, limit):
    """(training-clip)  g ← g · min(1, τ / ‖g‖), in place; returns ‖g‖ as it was
    (parameters), () -> ()
    """
    total = 0.0
    for p in range(g.size):
        total += np.float64(g[p]) * np.float64(g[p])
    norm = np.sqrt(total)
    if not SMALL < total < np.inf:
        norm = scaled_norm(g)
    if limit < norm < np.inf:
        scale_in_place(g, g.dtype.type(limit / norm))
    return norm


@njit_fast
def finite_copy(theta, out):
    """Copy a vector, and say whether all of it is finite
    (parameters), (parameters) -> ()
    """
    finite = True
    for p in range(theta.size):
        out[p] = theta[p]
        finite &= np.isfinite(theta[p])
    return finite


# Initial weights


def _fans(shape):
    """Return how many numbers feed one output, and how many outputs one number feeds."""
    if not isinstance(shape, Sequence) or len(shape) < 2:
        raise ValueError(f"shape is {shape!r}, expected (out, in) or (out, in, height, width)")
    shape = tuple(shapes.count(f"shape[{i}]", n) for i, n in enumerate(shape))
    return shape, shape[1] * prod(shape[2:]), shape[0] * prod(shape[2:])


def _draw(shape, variance, rng, uniform, dtype):
    """Return numbers of mean zero and the given variance."""
    shapes.generator("rng", rng)
    dtype = np.dtype(shapes.choice("dtype", np.dtype(dtype).name, ("float64", "float32")))
    if uniform:
        edge = np.sqrt(3 * variance)  # a uniform number on [−e, e] has the variance e²/3
        return rng.uniform(-edge, edge, shape).astype(dtype)
    return (np.sqrt(variance) * rng.standard_normal(shape)).astype(dtype)


def xavier(
    shape: Sequence[int],
    rng: np.random.Generator,
    *,
    uniform: bool = False,
    dtype: DTypeLike = np.float64,
) -> np.ndarray:
    """Draw weights of variance 2 / (n_in + n_out).

    Parameters
    ----------
    shape : sequence of int
        (out, in), or (out, in, height, width) for a convolution, whose fans count its positions.
    rng : numpy.random.Generator
        Source of the weights.
    uniform : bool
        Uniform instead of normal numbers, of the same variance.
    dtype : numpy dtype
        float64 or float32.

    Returns
    -------
    ndarray

    Raises
    ------
    TypeError, ValueError
        If the shape has fewer than two axes, or an axis is not a whole number of at least 1.

    References
    ----------
    Glorot & Bengio, AISTATS (2010), equations 12 and 16.
    """
    shape, fan_in, fan_out = _fans(shape)
    return _draw(shape, xavier_variance(fan_in, fan_out), rng, uniform, dtype)


def he(
    shape: Sequence[int],
    rng: np.random.Generator,
    *,
    slope: float = 0.0,
    fan: str = "in",
    uniform: bool = False,
    dtype: DTypeLike = np.float64,
) -> np.ndarray:
    """Draw weights of variance 2 / ((1 + α²) n).

    Parameters
    ----------
    shape, rng, uniform, dtype
        As in `xavier`.
    slope : float
        α, the slope of the rectifier below zero.
    fan : {"in", "out"}
        Whether n counts the inputs (the signal keeps its size on the way up) or the outputs (the
        gradient keeps it on the way down).

    Returns
    -------
    ndarray

    Raises
    ------
    TypeError, ValueError
        As in `xavier`.

    References
    ----------
    He, Zhang, Ren & Sun, ICCV (2015), equations 10 and 14.
    """
    shape, fan_in, fan_out = _fans(shape)
    slope = shapes.number("slope", slope, least=0)
    shapes.choice("fan", fan, ("in", "out"))
    return _draw(shape, he_variance(fan_in if fan == "in" else fan_out, slope), rng, uniform, dtype)
