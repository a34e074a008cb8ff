"""Training: what keeps a signal alive through depth, and the one loop that trains every model.

Page: ``book/training.md``. Builds on `backprop` (the equations of a layer), `linear_classification`
(softmax and cross-entropy), `matmul` (the packed product) and `optimization` (the update).

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

import itertools
import json
import sys
import warnings
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from copy import deepcopy
from dataclasses import dataclass, fields, is_dataclass
from functools import cached_property, partial
from math import isfinite, prod
from os import PathLike
from time import perf_counter
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from dlbook.matmul import PANEL_BYTES, multiply_parallel, pack_parallel
from dlbook.optimization import Optimizer
from dlbook.tools import elementary, files, shapes, store
from dlbook.tools.data import DataError
from dlbook.tools.elementary import decay
from dlbook.tools.flat import Layout, belong, fits, laid_out, like, named, step_fits
from dlbook.tools.jit import njit, njit_fast
from dlbook.tools.simd import aligned

__all__ = [
    "Checkpoint",
    "Diverged",
    "Fitted",
    "History",
    "Layers",
    "MLP",
    "Model",
    "Running",
    "Work",
    "affine_rows",
    "batchnorm",
    "batchnorm_backward",
    "clip",
    "cut_up",
    "dense_backward_into",
    "dense_input_into",
    "dense_into",
    "dropout",
    "dropout_backward",
    "dropout_into",
    "finite_copy",
    "fit",
    "follow",
    "fused_batchnorm",
    "fused_batchnorm_backward",
    "fused_layernorm",
    "fused_layernorm_backward",
    "he",
    "he_variance",
    "layernorm",
    "layernorm_backward",
    "leaky_relu_gradient",
    "moments",
    "normalize",
    "rectify",
    "running_statistics",
    "scaled_norm",
    "shorten",
    "scale_shift",
    "softmax_cross_entropy_into",
    "through",
    "vanishing_bound",
    "weighted_input_variance",
    "xavier",
    "xavier_variance",
]

# The signal on its way: how much of it arrives


@njit
def vanishing_bound(norms, slope, top):
    """(training-vanishing)  B_L = ‖δ^L‖,   B_l = s ‖w^{l+1}‖ B_{l+1}
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


@njit
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


@njit
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
def shorten(g, factor):
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
        shorten(g, g.dtype.type(limit / norm))
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


# The same, fast: results go where the caller says, and nothing is computed twice


@njit_fast
def fused_batchnorm(x, gamma, beta, eps, mean, root, y):
    """`batchnorm`; mean and root = √(v + ε) are kept for the way back
    (n j), (j), (j), () -> (j), (j), (n j)
    """
    N, J = x.shape
    share = x.dtype.type(1 / N)
    small = x.dtype.type(eps)
    mean[:], root[:] = 0, 0
    for n in range(N):
        for j in range(J):
            mean[j] += x[n, j]
    for j in range(J):
        mean[j] *= share
    for n in range(N):
        for j in range(J):
            apart = x[n, j] - mean[j]
            root[j] += apart * apart
    for j in range(J):
        root[j] = np.sqrt(root[j] * share + small)
    affine_rows(x, mean, root, gamma, beta, y)


@njit_fast
def affine_rows(x, mean, root, gamma, beta, y):
    """y_nj = γ_j (x_nj − μ_j) / root_j + β_j
    (n j), (j), (j), (j), (j) -> (n j)
    """
    scale = gamma / root
    for n in range(x.shape[0]):
        for j in range(x.shape[1]):
            y[n, j] = scale[j] * (x[n, j] - mean[j]) + beta[j]


@njit_fast
def fused_batchnorm_backward(dy, x, gamma, mean, root, dx, dgamma, dbeta):
    """`batchnorm_backward`, from what `fused_batchnorm` kept; dx may be dy
    (n j), (n j), (j), (j), (j) -> (n j), (j), (j)
    """
    N, J = x.shape
    share = x.dtype.type(1 / N)
    dgamma[:], dbeta[:] = 0, 0
    for n in range(N):
        for j in range(J):
            dbeta[j] += dy[n, j]
            dgamma[j] += dy[n, j] * (x[n, j] - mean[j])
    scale, common, along = gamma / root, dbeta * share, dgamma / (root * root) * share
    for n in range(N):
        for j in range(J):
            dx[n, j] = scale[j] * (dy[n, j] - common[j] - (x[n, j] - mean[j]) * along[j])
    for j in range(J):
        dgamma[j] /= root[j]


@njit_fast
def fused_layernorm(x, gamma, beta, eps, mean, root, y):
    """`layernorm`; mean and root = √(v + ε) of each example are kept for the way back
    (n j), (j), (j), () -> (n), (n), (n j)
    """
    share, small = x.dtype.type(1 / x.shape[1]), x.dtype.type(eps)
    for n in range(x.shape[0]):
        total = square = x.dtype.type(0)
        for j in range(x.shape[1]):
            total += x[n, j]
        middle = total * share
        for j in range(x.shape[1]):
            apart = x[n, j] - middle
            square += apart * apart
        mean[n], root[n] = middle, np.sqrt(square * share + small)
        scale = x.dtype.type(1) / root[n]
        for j in range(x.shape[1]):
            y[n, j] = (x[n, j] - middle) * scale * gamma[j] + beta[j]


@njit_fast
def fused_layernorm_backward(dy, x, gamma, mean, root, dx, dgamma, dbeta):
    """`layernorm_backward`, from what `fused_layernorm` kept; dx may be dy
    (n j), (n j), (j), (n), (n) -> (n j), (j), (j)
    """
    share = x.dtype.type(1 / x.shape[1])
    dgamma[:], dbeta[:] = 0, 0
    for n in range(x.shape[0]):
        middle, scale = mean[n], x.dtype.type(1) / root[n]
        whole = along = x.dtype.type(0)
        for j in range(x.shape[1]):
            normed = (x[n, j] - middle) * scale
            g = dy[n, j] * gamma[j]
            whole += g
            along += g * normed
            dbeta[j] += dy[n, j]
            dgamma[j] += dy[n, j] * normed
        whole, along = whole * share, along * share
        for j in range(x.shape[1]):
            normed = (x[n, j] - middle) * scale
            dx[n, j] = (dy[n, j] * gamma[j] - whole - normed * along) * scale


@njit_fast
def dense_into(a, w, b, panels, z):
    """z = a wᵀ + 1 bᵀ; `panels` is memory for the packed factor
    (n k), (j k), (j), (numbers) -> (n j)
    """
    J, K = w.shape
    W = PANEL_BYTES // a.itemsize
    right = panels[: -(-J // W) * W * K].reshape(-(-J // W), K, W)
    pack_parallel(w.T, right)
    multiply_parallel(a, right, z, False)
    for n in range(z.shape[0]):
        for j in range(J):
            z[n, j] += b[j]


@njit_fast
def dense_backward_into(delta, a, panels, dw, db):
    """dw = δᵀ a,   db_j = Σ_n δ_nj
    (n j), (n k), (numbers) -> (j k), (j)
    """
    N, K = a.shape
    W = PANEL_BYTES // a.itemsize
    right = panels[: -(-K // W) * W * N].reshape(-(-K // W), N, W)
    pack_parallel(a, right)
    multiply_parallel(delta.T, right, dw, False)
    db[:] = 0
    for n in range(N):
        for j in range(db.shape[0]):
            db[j] += delta[n, j]


@njit_fast
def dense_input_into(delta, w, panels, da):
    """da = δ w
    (n j), (j k), (numbers) -> (n k)
    """
    J, K = w.shape
    W = PANEL_BYTES // w.itemsize
    right = panels[: -(-K // W) * W * J].reshape(-(-K // W), J, W)
    pack_parallel(w, right)
    multiply_parallel(delta, right, da, False)


@njit_fast
def softmax_cross_entropy_into(z, y):
    """z_nj becomes δ_nj = (softmax(z_n)_j − [y_n = j]) / N; returns the mean cost
    (n j), (n) -> ()
    """
    N, J = z.shape
    share, loss = z.dtype.type(1) / z.dtype.type(N), 0.0
    for n in range(N):
        most, total = z[n, 0], z.dtype.type(0)
        for j in range(1, J):
            most = z[n, j] if z[n, j] > most else most
        loss += most - z[n, y[n]]
        for j in range(J):
            z[n, j] = decay(z[n, j] - most)
            total += z[n, j]
        loss += np.log(total)
        for j in range(J):
            z[n, j] *= share / total
        z[n, y[n]] -= share
    return loss / N


@njit_fast
def follow(running, variance, mean, root, eps, N, rate):
    """`running_statistics` in place, from what `fused_batchnorm` kept
    (j), (j), (j), (j), (), (), () -> (j), (j)
    """
    for j in range(mean.shape[0]):
        running[j] += rate * (mean[j] - running[j])
        unbiased = (root[j] * root[j] - eps) * N / (N - 1)
        variance[j] += rate * (unbiased - variance[j])


@njit_fast
def rectify(z, slope):
    """z where z > 0, else α z, in place; α = 0 keeps −∞ from becoming NaN"""
    less, zero = z.dtype.type(slope), z.dtype.type(0)
    for n in range(z.shape[0]):
        for j in range(z.shape[1]):
            below = less * z[n, j] if slope > 0 else zero
            z[n, j] = below if z[n, j] < zero else z[n, j]


@njit_fast
def through(da, a, kind, slope):
    """da becomes ∂C/∂z, from a = g(z): rectifier (0), sigmoid (1), tanh (2)"""
    less, one = a.dtype.type(slope), a.dtype.type(1)
    for n in range(a.shape[0]):
        for j in range(a.shape[1]):
            if kind == 0:
                da[n, j] *= one if a[n, j] > 0 else less
            elif kind == 1:
                da[n, j] *= a[n, j] - a[n, j] * a[n, j]
            else:
                da[n, j] *= one - a[n, j] * a[n, j]


@njit_fast
def dropout_into(a, uniform, p, y):
    """`dropout` of a, or of a gradient; y may be a"""
    keep, zero = a.dtype.type(1 / (1 - p)), a.dtype.type(0)
    for n in range(a.shape[0]):
        for j in range(a.shape[1]):
            y[n, j] = keep * a[n, j] if uniform[n, j] >= p else zero


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


def cut_up(flat, sizes):
    """Return views of a flat vector, one after the other, in the given shapes."""
    ends = itertools.accumulate(map(prod, sizes))
    return [flat[end - prod(s) : end].reshape(s) for s, end in zip(sizes, ends, strict=True)]


# A network to train: dense layers, with normalization and dropout between them


class Layers(NamedTuple):
    """Parameters of an `MLP`, or their gradients; all are views of ``flat``."""

    flat: np.ndarray
    w: tuple  # w[l] has shape (n_l, n_{l−1}) for l = 2 … L; w[0] and w[1] are None
    b: tuple  # b[l] has shape (n_l,)
    gamma: tuple  # gamma[l] and beta[l] have shape (n_l,) for hidden layers with a norm, else None
    beta: tuple


class Running(NamedTuple):
    """Running statistics of batch normalization; views of ``flat``."""

    flat: np.ndarray
    mean: tuple  # mean[l] and variance[l] have shape (n_l,) for hidden layers, else None
    variance: tuple


class Work(NamedTuple):
    """The memory of a step; the lists have one array per layer, for the largest batch."""

    panels: np.ndarray  # a packed factor of a product
    z: list  # weighted inputs: of the last layer, and of hidden ones that have a norm
    y: list  # after the norm and the activation
    a: list  # after dropout, which is y where there is none
    da: list  # gradients on the way down
    uniform: list  # what decides about dropping
    mean: list  # of the norm
    root: list
    held: list  # for `step_fits`


RULES = ("he", "xavier", "small", "zero")
NORMS = ("batch", "layer")
KINDS = {"relu": 0, "leaky-relu": 0, "sigmoid": 1, "tanh": 2}


@dataclass(frozen=True)
class MLP:
    """Dense layers with softmax at the end; in each hidden layer a norm, a bend and dropout.

    Parameters
    ----------
    sizes : sequence of int
        Neurons of each layer, the input first.
    activation : {"relu", "leaky-relu", "sigmoid", "tanh"}
        Of the hidden layers.
    initial : {"he", "xavier", "small", "zero"}
        Variance of the first weights: 2/n_in, 2/(n_in + n_out), 10⁻⁴, 0. Biases start at zero.
    norm : {None, "batch", "layer"}
        What stands between the weighted inputs and the activation.
    dropout : float
        Probability that a hidden activation is dropped in training, 0 ≤ p < 1.
    slope : float
        α of "leaky-relu".
    eps : float
        ε under the root of a norm.
    rate : float
        ρ of the running statistics.
    dtype : {"float32", "float64"}
        Of parameters and data.

    Raises
    ------
    TypeError, ValueError
        If one of them is not what is described here.
    """

    sizes: tuple[int, ...]
    activation: str = "relu"
    initial: str = "he"
    norm: str | None = None
    dropout: float = 0.0
    slope: float = 0.01
    eps: float = 1e-5
    rate: float = 0.1
    dtype: str = "float32"

    def __post_init__(self):
        """Check all of them at once."""
        if not isinstance(self.sizes, (Sequence, np.ndarray)) or len(self.sizes) < 2:
            raise ValueError(f"sizes is {self.sizes!r}, expected at least two layers: (64, 30, 10)")
        sizes = tuple(shapes.count(f"sizes[{i}]", n) for i, n in enumerate(self.sizes))
        object.__setattr__(self, "sizes", sizes)
        shapes.choice("activation", self.activation, tuple(KINDS))
        shapes.choice("initial", self.initial, RULES)
        if self.norm is not None:
            shapes.choice("norm", self.norm, NORMS)
        shapes.choice("dtype", self.dtype, ("float32", "float64"))
        shapes.number("dropout", self.dropout, least=0, below=1)
        shapes.number("slope", self.slope, least=0)
        shapes.number("eps", self.eps, above=0)
        shapes.number("rate", self.rate, above=0, most=1)

    @property
    def smallest_batch(self) -> int:
        """Batch normalization needs two examples to have a variance."""
        return 2 if self.norm == "batch" else 1

    @cached_property
    def layout(self) -> Layout:
        """What the parameters of this model are like."""
        return laid_out(self._layers())

    def _layers(self):
        """Return parameters that are all zero."""
        pairs = list(itertools.pairwise(self.sizes))
        normed = self.sizes[1:-1] if self.norm else ()
        sizes = [s for m, n in pairs for s in ((n, m), (n,))] + [(n,) for n in normed for _ in "gb"]
        flat = np.zeros(sum(map(prod, sizes)), self.dtype)
        cut = cut_up(flat, sizes)
        dense, norms, no = cut[: 2 * len(pairs)], cut[2 * len(pairs) :], (None, None)
        return Layers(
            flat, *((*no, *dense[i::2]) for i in (0, 1)), *((*no, *norms[i::2]) for i in (0, 1))
        )

    def init(self, rng: np.random.Generator) -> Layers:
        """Draw the first parameters."""
        shapes.generator("rng", rng)
        params = self._layers()
        for w in params.w[2:]:
            if self.initial == "small":
                w[:] = 0.01 * rng.standard_normal(w.shape)
            elif self.initial != "zero":
                draw = {"he": partial(he, slope=self._slope), "xavier": xavier}[self.initial]
                w[:] = draw(w.shape, rng)
        for gamma in params.gamma:
            if gamma is not None:
                gamma[:] = 1
        return params

    def start(self) -> Running | None:
        """Return fresh running statistics: mean 0, variance 1; None without batch norm."""
        if self.norm != "batch":
            return None
        flat = np.zeros(2 * sum(self.sizes[1:-1]), self.dtype)
        cut = cut_up(flat, [(n,) for n in self.sizes[1:-1] for _ in "mv"])
        for variance in cut[1::2]:
            variance[:] = 1
        return Running(flat, (None, None, *cut[::2]), (None, None, *cut[1::2]))

    def check(self, params: Layers, data: tuple) -> tuple[np.ndarray, np.ndarray]:
        """Return examples (n, i) and labels (n,), checked and of the dtype of the parameters."""
        if not isinstance(data, tuple) or len(data) != 2:
            raise TypeError("data is not a pair of examples and labels, (x, y)")
        fits(params, self.layout)
        axes = shapes.Axes()
        return self._examples(axes, data[0]), axes.labels("y", data[1], "n", self.sizes[-1])

    def _examples(self, axes, x):
        """Return checked examples."""
        axes.sizes["i"] = (self.sizes[0], "layer 1")
        return axes.floats("x", x, "n i").astype(self.dtype)

    def workspace(self, batch: int) -> Work:
        """Return the memory for steps of at most `batch` examples."""
        batch, dtype = shapes.count("batch", batch), np.dtype(self.dtype)
        width, widest = PANEL_BYTES // dtype.itemsize, max(self.sizes)
        panels = aligned(((widest + width) * max(widest, batch),), dtype)

        def matrices(dtype=dtype, wanted=True):
            return [aligned((batch, n), dtype) if wanted else None for n in (1, 1, *self.sizes[1:])]

        y, size = matrices(), {"batch": self.sizes, "layer": (batch,) * len(self.sizes)}
        pairs = [[np.empty(n, dtype) for n in (1, *size.get(self.norm, ()))] for _ in range(2)]
        a = matrices() if self.dropout else y
        uniform = matrices(np.float32, self.dropout > 0)
        return Work(panels, matrices() if self.norm else y, y, a, matrices(), uniform, *pairs, [])

    def loss_and_grad(self, params, state, batch, grads, work, rng) -> float:
        """Return the mean cross-entropy of a batch, fill `grads`, move the running statistics.

        Parameters
        ----------
        params, grads : Layers
            The network, and where its gradient goes.
        state : Running or None
            Of batch normalization; changed in place.
        batch : tuple (x, y)
            As `check` returns them; trusted.
        work : Work
            For at least as many examples.
        rng : numpy.random.Generator or None
            Draws what dropout drops.
        """
        x, y = batch
        step_fits(self, params, state, grads, work.held)
        if len(x) < self.smallest_batch:
            raise ValueError("batch has one example, batch norm needs two to have a variance")
        below, L = [None, x], len(self.sizes)
        for l in range(2, L):
            below.append(self._up(l, params, state, below[-1], work, rng))
        top = work.z[L][: len(x)]
        dense_into(below[-1], params.w[L], params.b[L], work.panels, top)
        loss, delta = softmax_cross_entropy_into(top, y), top
        for l in range(L, 1, -1):
            dense_backward_into(delta, below[l - 1], work.panels, grads.w[l], grads.b[l])
            if l > 2:
                delta = self._down(l - 1, delta, params, grads, work)
        return loss

    def _up(self, l, params, state, a, work, rng):
        """Apply hidden layer l to a batch in training; returns its activations."""
        N = len(a)
        z, y = work.z[l][:N], work.y[l][:N]
        dense_into(a, params.w[l], params.b[l], work.panels, z)
        if self.norm:
            of, into = (params.gamma[l], params.beta[l], self.eps), self._norm(l, work, N)
            (fused_batchnorm if self.norm == "batch" else fused_layernorm)(z, *of, *into, y)
        if self.norm == "batch":
            follow(
                state.mean[l], state.variance[l], *self._norm(l, work, N), self.eps, N, self.rate
            )
        self._bend(y)
        if not self.dropout:
            return y
        rng.random(out=work.uniform[l][:N], dtype=np.float32)
        dropout_into(y, work.uniform[l][:N], self.dropout, work.a[l][:N])
        return work.a[l][:N]

    def _down(self, l, delta, params, grads, work):
        """Carry the gradient from layer l + 1 through hidden layer l; returns ∂C/∂z of l."""
        N = len(delta)
        da = work.da[l][:N]
        dense_input_into(delta, params.w[l + 1], work.panels, da)
        if self.dropout:
            dropout_into(da, work.uniform[l][:N], self.dropout, da)
        through(da, work.y[l][:N], KINDS[self.activation], self._slope)
        if self.norm:
            back = fused_batchnorm_backward if self.norm == "batch" else fused_layernorm_backward
            of, into = (params.gamma[l], *self._norm(l, work, N)), (grads.gamma[l], grads.beta[l])
            back(da, work.z[l][:N], *of, da, *into)
        return da

    def _norm(self, l, work, N):
        """Return where the norm of layer l keeps its mean and root."""
        size = self.sizes[l - 1] if self.norm == "batch" else N
        return work.mean[l][:size], work.root[l][:size]

    def _bend(self, y):
        """Apply the activation in place."""
        if KINDS[self.activation] == 0:
            rectify(y, self._slope)
        else:
            (elementary.sigmoid if self.activation == "sigmoid" else elementary.tanh)(y, y)

    @property
    def _slope(self):
        """Return the slope of the rectifier below zero."""
        return self.slope if self.activation == "leaky-relu" else 0.0

    def scores(self, params: Layers, state: Running | None, x: np.ndarray) -> list[np.ndarray]:
        """Return what each layer gives in inference: the hidden activations, then the scores.

        Parameters
        ----------
        params : Layers
            The network.
        state : Running or None
            Its running statistics, which stand in for those of a batch.
        x : ndarray, shape (n, i)
            Examples as `check` returns them.

        Returns
        -------
        list of ndarray
            Indexed by layer as `params`; entry 1 is x itself.
        """
        belong(self, params, state)
        panels, L = self.workspace(1).panels, len(self.sizes)
        a = [None, x]
        for l in range(2, L + 1):
            y = np.empty((len(x), self.sizes[l - 1]), x.dtype)
            dense_into(a[-1], params.w[l], params.b[l], panels, y)
            if l < L and self.norm == "batch":
                of = state.mean[l], np.sqrt(state.variance[l] + x.dtype.type(self.eps))
                affine_rows(y, *of, params.gamma[l], params.beta[l], y)
            elif l < L and self.norm == "layer":
                of, kept = (params.gamma[l], params.beta[l]), np.empty((2, len(x)), x.dtype)
                fused_layernorm(y, *of, self.eps, *kept, y)
            if l < L:
                self._bend(y)
            a.append(y)
        return a

    def layers(self, params, state, batch) -> Iterator[tuple[str, np.ndarray]]:
        """Yield the name of each layer's weights and what the layer gives, in inference."""
        for l, a in enumerate(self.scores(params, state, batch[0])[2:], start=2):
            yield f"w[{l}]", a

    def loss(self, params: Layers, state: Running | None, batch: tuple) -> float:
        """Return the mean cross-entropy of checked data, in inference."""
        return float(softmax_cross_entropy_into(self.scores(params, state, batch[0])[-1], batch[1]))

    def predict(self, params: Layers, state: Running | None, x: ArrayLike) -> np.ndarray:
        """Return the most probable class of each example, in inference.

        Parameters
        ----------
        params : Layers
            The network.
        state : Running or None
            Its running statistics.
        x : array_like, shape (n, i)
            The examples.

        Returns
        -------
        ndarray of int64, shape (n,)
        """
        return np.argmax(self.scores(params, state, self._examples(shapes.Axes(), x))[-1], axis=1)


# What the loop asks of a model


class Model(Protocol):
    """A model as the loop sees it. It remembers nothing: what changes is handed to it.

    Parameters, gradients and running statistics are NamedTuples of views of a field ``flat``.
    Where a model has an attribute ``smallest_batch``, no step has fewer examples than that. Where
    it has an attribute ``layout`` (see `dlbook.tools.flat.laid_out`), parameters are held against
    it, otherwise against those that `init` draws. Where it has a method ``layers(params, state, batch)``, which yields a name and an array for each
    layer, a run that diverges names the first layer that gives something infinite.
    """

    def init(self, rng: np.random.Generator) -> Any:
        """Draw the first parameters."""

    def start(self) -> Any:
        """Return fresh running statistics, or None."""

    def check(self, params: Any, data: tuple) -> tuple[np.ndarray, ...]:
        """Return the data checked and converted, with examples on the first axis."""

    def workspace(self, batch: int) -> Any:
        """Return the memory for steps of at most `batch` examples."""

    def loss_and_grad(self, params, state, batch, grads, work, rng) -> float:
        """Return the mean loss of a batch, fill `grads`, move the running statistics."""

    def loss(self, params, state, batch) -> float:
        """Return the mean loss of checked data in inference."""

    def predict(self, params, state, x) -> np.ndarray:
        """Return what the model says of new examples."""


PAUSE = 1.0  # seconds between two moments from which an interrupted run can go on
FACTS = ("step", "rng", "order", "rows", "at", "losses", "norms", "seconds")  # beside the vectors


# What training gives back


class History(NamedTuple):
    """What was measured in each finished epoch; None stands for what was not asked for."""

    loss: np.ndarray  # (epochs,) mean loss of the examples while the weights moved
    validation: np.ndarray | None  # (epochs,) loss on the validation data after the epoch
    score: np.ndarray | None  # (epochs,) score after the epoch
    rate: np.ndarray  # (epochs,) learning rate of the last step
    norm: np.ndarray  # (epochs,) mean norm of the gradient, before clipping
    seconds: np.ndarray  # (epochs,)


class Fitted(NamedTuple):
    """What training gives back."""

    params: Any
    state: Any  # running statistics that belong to params, or None
    history: History
    why: str  # training ended: "finished", "stopped early" or "interrupted"
    steps: int
    best: int | None  # the epoch, from 1, whose weights these are; None for those of the last step


class Diverged(FloatingPointError):  # noqa: N818
    """A loss, a gradient or a weight is no longer a finite number.

    Attributes
    ----------
    step, epoch : int
        Where, both counted from 1.
    layer : str
        The first layer whose output is not finite, where the model shows them; otherwise the first
        array, in the order of the flat vector, whose gradient or values are not: ``"w[3]"``;
        ``"loss"``, ``"validation"`` or ``"score"`` where only that number is not.
    params, state : NamedTuple
        The last good weights and running statistics: those after the step before.
    """

    def __init__(self, message, step=0, epoch=0, layer="", params=None, state=None):
        super().__init__(message)
        self.step, self.epoch, self.layer = step, epoch, layer
        self.params, self.state = params, state


class _Best(NamedTuple):
    """The best epoch so far."""

    value: float  # validation loss, or minus the score
    epoch: int
    params: np.ndarray
    state: np.ndarray | None = None


class Checkpoint(NamedTuple):
    """A moment between two steps: all that the steps to come depend on. Vectors are copies."""

    params: np.ndarray  # (parameters,)
    slots: np.ndarray  # (slots, parameters), what the optimizer remembers
    state: np.ndarray | None  # running statistics
    step: int  # steps taken
    rng: dict  # of the generator, now
    order: dict  # of the generator, before it drew the order of this epoch
    best: _Best | None = None  # where there is patience
    rows: tuple = ()  # one row of `History` for each finished epoch
    at: int = 0  # examples of this epoch that have been used
    losses: float = 0.0  # sum over them
    norms: float = 0.0  # sum over the steps of this epoch
    seconds: float = 0.0  # since it began


# The loop


def fit(
    model: Model,
    params: Any,
    data: tuple,
    optimizer: Optimizer,
    rng: np.random.Generator,
    *,
    epochs: int,
    batch: int,
    validation: tuple | None = None,
    patience: int | None = None,
    score: Callable[[Any, Any], float] | None = None,
    clip: float | None = None,
    progress: bool | None = None,
    checkpoint: str | PathLike | None = None,
    every: int = 1,
    resume: str | PathLike | None = None,
) -> Fitted:
    """Train a model on shuffled mini-batches.

    Ctrl-C ends the training and returns what there is: the weights after the last whole step. The
    same seed gives the same bits, also where a run was interrupted and resumed.

    Parameters
    ----------
    model : Model
        Any model of the book, or one with the same methods.
    params : NamedTuple
        Where to start; left as it is.
    data : tuple of array_like
        What ``model.check`` accepts, usually (x, y); examples on the first axis.
    optimizer : Optimizer
        With its rate or schedule.
    rng : numpy.random.Generator
        Shuffles the examples and draws what the model drops.
    epochs : int
        Passes over the examples, at most. A resumed run counts those it has done.
    batch : int
        Examples per step. The last step of an epoch has those that are left over; where they are
        fewer than the model's smallest batch, they wait for another epoch.
    validation : tuple of array_like, optional
        Held-out data, whose loss is measured after each epoch.
    patience : int, optional
        Stop after so many epochs without a better validation loss (or score). However the training
        ends, it then returns weights and running statistics of the best epoch.
    score : callable, optional
        ``score(params, state)`` is measured after each epoch, larger is better; `patience` then
        goes by it.
    clip : float, optional
        Largest norm of the gradient; a longer one is shortened to it.
    progress : bool, optional
        Show a bar; where not given, on a terminal only.
    checkpoint : path-like, optional
        A file to write after every `every` epochs and at the end. An interrupted run writes it,
        too, as of a whole step at most a second before. Where the disk is full, a warning says so
        and the training goes on.
    every : int
        Epochs between two checkpoints.
    resume : path-like, optional
        A checkpoint of the same run, to go on from there; `epochs` may have grown.

    Returns
    -------
    Fitted

    Raises
    ------
    TypeError, ValueError
        If an argument is not what is described here, before any work.
    Diverged
        When a loss, a gradient or a weight stops being finite; it holds the last good weights.
    DataError
        If the checkpoint to resume is damaged or belongs to another run.
    OSError
        If it is not there, or if the one to write cannot be written: there is no such folder, a
        folder has that name, or it is forbidden.

    Notes
    -----
    In a process that was forked after kernels have run on several threads, they run on one; see
    `dlbook.tools.threads`.
    """
    epochs, every = shapes.count("epochs", epochs), shapes.count("every", every)
    run = _Run(model, params, data, optimizer, rng, batch, validation, patience, score, clip)
    moment = run.moment if resume is None else run.read(resume)
    if len(moment.rows) > epochs:
        raise ValueError(f"epochs is {epochs}, {resume} has done {len(moment.rows)}")
    if checkpoint is not None:
        _try_out("checkpoint", checkpoint)
    run.go_to(moment)
    why, written = "finished", None
    try:
        with _bar(progress, epochs * run.steps, run.step) as bar:
            while (done := len(run.moment.rows)) < epochs:
                if run.moment.best and done - run.moment.best.epoch >= patience:
                    why = "stopped early"
                    break
                run.epoch(bar, checkpoint is not None)
                if checkpoint is not None and (done + 1) % every == 0:
                    run.write(checkpoint)
                    written = run.moment
    except KeyboardInterrupt:
        why = "interrupted"
    try:
        if checkpoint is not None and written is not run.moment:
            run.write(checkpoint)
            written = run.moment
    except KeyboardInterrupt:  # someone in a hurry, who gets the weights all the same
        why = "interrupted"
        if checkpoint is not None and written is not run.moment:
            warnings.warn(f"{checkpoint} was not written: interrupted", stacklevel=2)
    return run.result(why)


def _try_out(name, path):
    """Find out whether a file can be written, before it is needed."""
    try:
        files.try_out(path)
    except (TypeError, ValueError, OSError) as error:
        error.add_note(f"This is about {name}.")
        raise


def _bar(progress, steps, done):
    """Return a progress bar over all steps, or nothing."""
    terminal = sys.stderr is not None and sys.stderr.isatty()
    if not (terminal if progress is None else progress):
        return nullcontext()
    from tqdm.auto import tqdm

    return tqdm(total=steps, initial=done, desc="training", unit="step", leave=False)


def _has(name, thing, *parts):
    """Refuse what lacks a method."""
    for part in parts:
        if not hasattr(thing, part):
            raise TypeError(f"{name} is {shapes.shown(thing)}, which has no {part}")


def _examples(name, model, params, data):
    """Return data as the model wants it, the same number of examples in each array."""
    if not isinstance(data, tuple):
        raise TypeError(f"{name} is {type(data).__name__}, expected a tuple of arrays: (x, y)")
    try:
        arrays = model.check(params, data)
    except (TypeError, ValueError) as error:
        error.add_note(f"This is about {name}.")
        raise
    sizes = [len(x) for x in arrays]
    if not sizes or sizes[0] == 0:
        raise ValueError(f"{name} is empty")
    for i, size in enumerate(sizes):
        if size != sizes[0]:
            raise ValueError(f"{name}[{i}] has {size} examples, {name}[0] has {sizes[0]}")
    return arrays


def _settings(name, thing):
    """Return what a model, an optimizer or an array is, as names and plain values."""
    if isinstance(thing, np.generic):
        thing = thing.item()
    if isinstance(thing, (tuple, list)):
        parts = {f"{name}[{i}]": part for i, part in enumerate(thing)}
    elif is_dataclass(thing) and not isinstance(thing, type):
        parts = {f"{name}.{f.name}": getattr(thing, f.name) for f in fields(thing)}
    elif isinstance(thing, np.ndarray):
        crc = zlib.crc32(np.ascontiguousarray(thing).reshape(-1).view(np.uint8))
        return {name: f"{thing.dtype} of shape {thing.shape}, checksum {crc:08x}"}
    elif thing is None or isinstance(thing, (bool, int, float, str)):
        return {name: thing}
    else:  # functions, and what else has no fields to look at
        return {name: getattr(thing, "__qualname__", type(thing).__qualname__)}
    found = {name: type(thing).__qualname__}
    for key, part in parts.items():
        found |= _settings(key, part)
    return found


def _first(views):
    """Return the name of the first array that is not finite, or None."""
    return next((name for name, x in named(views).items() if not np.isfinite(x).all()), None)


def _object(path, remarks, key):
    """Return a remark of a checkpoint as names and values."""
    try:
        found = json.loads(remarks[key])
    except (KeyError, ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise DataError(
            f"{path} holds no moment of this run: {key} in its metadata is missing or not readable"
        )
    return found


def _finite(value):
    """Say whether a value read from a file is a floating-point number and finite."""
    return isinstance(value, float) and isfinite(value)


def _can_be(generator, state):
    """Say whether a value read from a file is a state of such a bit generator."""
    twin, most = deepcopy(generator), {"pos": 624, "buffer_pos": 4, "has_uint32": 1}
    try:
        twin.state = state
    except (LookupError, TypeError, ValueError, OverflowError, AttributeError):
        return False
    if json.loads(json.dumps(twin.state, default=np.ndarray.tolist)) != state:
        return False
    places = state | (state["state"] if isinstance(state["state"], dict) else {})
    return all(0 <= places.get(name, 0) <= limit for name, limit in most.items())


class _Run:
    """The memory of one training, and what is done with it."""

    def __init__(
        self, model, params, data, optimizer, rng, batch, validation, patience, score, clip
    ):
        """Check everything, then make all arrays."""
        _has("model", model, "start", "check", "workspace", "loss_and_grad", "loss")
        _has("optimizer", optimizer, "start", "update", "slots", "rate")
        if hasattr(model, "layout"):
            fits(params, model.layout)
        elif hasattr(model, "init"):
            fits(params, laid_out(model.init(np.random.default_rng(0))))
        for name, x in named(params).items():
            shapes.Axes().floats(f"params.{name}", x, None)
        self.model, self.optimizer = model, optimizer
        self.rng = shapes.generator("rng", rng)
        self.data = _examples("data", model, params, data)
        self.held = None
        if validation is not None:
            self.held = _examples("validation", model, params, validation)
        self.size, least = len(self.data[0]), getattr(model, "smallest_batch", 1)
        self.batch = shapes.count("batch", batch)
        if not least <= batch <= self.size:
            needs = f", of which the model needs {least} at once" if least > 1 else ""
            raise ValueError(f"batch is {batch}, data has {self.size} examples{needs}")
        if score is not None and not callable(score):
            raise TypeError(f"score is {shapes.shown(score)}, expected a function (params, state)")
        if patience is not None and validation is None and score is None:
            raise ValueError("patience is given, but neither validation nor score to go by")
        self.score = score
        self.patience = None if patience is None else shapes.count("patience", patience)
        self.limit = np.inf if clip is None else shapes.number("clip", clip, above=0)

        rest = self.size % batch
        self.used = self.size - (rest if rest < least else 0)  # examples of an epoch
        self.steps = -(-self.used // batch)
        whole = [np.empty((batch, *x.shape[1:]), x.dtype) for x in self.data]
        self.parts = {n: tuple(x[:n] for x in whole) for n in (batch, rest)}
        self.params, self.grads = like(params, params.flat.copy()), like(params)
        self.slots = optimizer.start(self.params.flat)
        self.state, self.work = model.start(), model.workspace(batch)
        self.moving = [self.params]
        if self.state is not None:
            named(self.state, "state")
            self.moving.append(self.state)
        # Copies after the last even and the last odd step; self.step says which of them counts.
        self.good = [[views.flat.copy() for views in self.moving] for _ in range(2)]
        self.step = 0
        self.moment = Checkpoint(**self.copies(), order=rng.bit_generator.state)

    def copies(self):
        """Return copies of what a step changes."""
        return {
            "params": self.params.flat.copy(),
            "slots": self.slots.copy(),
            "state": None if self.state is None else self.state.flat.copy(),
            "step": self.step,
            "rng": self.rng.bit_generator.state,
        }

    def epoch(self, bar, remember):
        """Take the steps of an epoch, or of what is left of it, and measure what it came to."""
        model, params, grads, state = self.model, self.params, self.grads, self.state
        data, parts, work, rng, batch = self.data, self.parts, self.work, self.rng, self.batch
        update, slots, limit = self.optimizer.update, self.slots, self.limit
        moment = self.moment
        rng.bit_generator.state = moment.order
        order = rng.permutation(self.size)
        if moment.at:
            rng.bit_generator.state = moment.rng
        losses, norms, begin = moment.losses, moment.norms, perf_counter() - moment.seconds
        due = perf_counter() + PAUSE
        for at in range(moment.at, self.used, batch):
            some = order[at : at + batch]
            part = parts[some.size]
            for x, out in zip(data, part, strict=True):
                x.take(some, 0, out, "clip")
            loss = float(model.loss_and_grad(params, state, part, grads, work, rng))
            norm = clip(grads.flat, limit)
            if not (isfinite(loss) and isfinite(norm)):
                self.diverge_before(loss, norm, part)
            update(params.flat, grads.flat, slots, self.step + 1)
            self.keep()
            losses, norms = losses + loss * some.size, norms + norm
            if bar is not None:
                bar.update()
            if remember and perf_counter() >= due:
                sums = {"losses": losses, "norms": norms, "seconds": perf_counter() - begin}
                self.moment = moment._replace(**self.copies(), at=at + some.size, **sums)
                due = perf_counter() + PAUSE
        self.judge(losses / self.used, norms / self.steps, begin)

    def keep(self):
        """Copy weights that are finite; from then on the step counts as taken."""
        step = self.step + 1
        for views, good in zip(self.moving, self.good[step % 2], strict=True):
            if not finite_copy(views.flat, good):
                layer = ("" if views is self.params else "state.") + _first(views)
                self.diverge(step, layer, f"the update leaves {layer} with NaN or infinity")
        self.step = step

    def judge(self, loss, norm, begin):
        """Measure what the epoch came to; from then on it counts as finished."""
        held = score = None
        if self.held is not None:
            held = float(self.model.loss(self.params, self.state, self.held))
        if self.score is not None:
            score = float(self.score(self.params, self.state))
        for name, value in (("validation", held), ("score", score)):
            if value is not None and not isfinite(value):
                self.diverge(self.step, name, f"afterwards the {name} is {value:g}")
        for name, slot in zip(self.optimizer.slots, self.slots, strict=True):
            if not np.isfinite(slot).all():
                layer = _first(like(self.params, slot))
                self.diverge(self.step, layer, f"the optimizer's {name} of {layer} is not finite")
        best, epoch = self.moment.best, len(self.moment.rows) + 1
        value = held if score is None else -score
        if self.patience is not None and (best is None or value < best.value):
            best = _Best(value, epoch, *(views.flat.copy() for views in self.moving))
        rate = self.optimizer.rate
        rate = float(rate(self.step) if callable(rate) else rate)
        rows = (*self.moment.rows, (loss, held, score, rate, norm, perf_counter() - begin))
        order = self.rng.bit_generator.state
        self.moment = Checkpoint(**self.copies(), order=order, best=best, rows=rows)

    def diverge_before(self, loss, norm, part):
        """Stop before an update: the loss or the gradient is not finite."""
        layer, what = None, f"the loss is {loss:g}"
        if hasattr(self.model, "layers"):  # a NaN in the loss is a NaN in every gradient
            pairs = self.model.layers(self.params, self.state, part)
            layer = next((name for name, out in pairs if not np.isfinite(out).all()), None)
        if layer:
            what += f" and what the layer of {layer} gives is not finite"
        elif layer := _first(self.grads):
            what += f" and the gradient of {layer} is not finite"
        elif isfinite(loss):
            layer, what = "gradient", f"{what} and the norm of the gradient {norm:g}"
        self.diverge(self.step + 1, layer or "loss", what)

    def diverge(self, step, layer, what):
        """Stop with the last good weights."""
        epoch, rate = len(self.moment.rows) + 1, self.optimizer.rate
        raise Diverged(
            f"training diverged in epoch {epoch}, step {step}: {what}; try a rate below "
            f"{rate(step) if callable(rate) else rate:g} or clip the gradient. "
            f"The weights after step {self.step} are the params of this error",
            step,
            epoch,
            layer,
            *self.views(self.good[self.step % 2]),
        )

    def views(self, vectors):
        """Return parameters and running statistics over other vectors."""
        pair = [like(views, flat) for views, flat in zip(self.moving, vectors, strict=True)]
        return pair if self.state is not None else [*pair, None]

    def result(self, why):
        """Return the best weights where they were asked for, otherwise the last ones."""
        best, vectors = self.moment.best, self.good[self.step % 2]
        if best is not None:
            vectors = [x for x in (best.params, best.state) if x is not None]
        rows = np.array(self.moment.rows, dtype=float).reshape(-1, len(History._fields))
        history = History(*rows.T.copy())
        if self.held is None:
            history = history._replace(validation=None)
        if self.score is None:
            history = history._replace(score=None)
        return Fitted(*self.views(vectors), history, why, self.step, best and best.epoch)

    # Checkpoints

    @cached_property
    def settings(self):
        """Return what another run must share with this one to go on where it stopped."""
        found = _settings("model", self.model) | _settings("optimizer", self.optimizer)
        found |= _settings("data", self.data) | _settings("validation", self.held)
        found |= {"batch": self.batch, "patience": self.patience, "clip": self.limit}
        return found | {
            "score": self.score is not None,
            "rng": type(self.rng.bit_generator).__qualname__,
        }

    def arrays(self, moment):
        """Return the vectors of a moment as named arrays."""
        best = moment.best or _Best(0.0, 0, moment.params, moment.state)
        parts = [("params", self.params, moment.params), ("state", self.state, moment.state)]
        for name, slot in zip(self.optimizer.slots, moment.slots, strict=True):
            parts.append((f"slots.{name}", self.params, slot))
        if self.patience is not None:
            parts.append(("best.params", self.params, best.params))
            parts.append(("best.state", self.state, best.state))
        return {
            f"{part}.{name}": x
            for part, views, flat in parts
            if flat is not None
            for name, x in named(like(views, flat)).items()
        }

    def write(self, path):
        """Save the last moment, with all that must agree when it is resumed."""
        moment = self.moment
        facts = {name: getattr(moment, name) for name in FACTS}
        facts["best"] = moment.best and moment.best[:2]
        remarks = {"kind": "checkpoint"}
        for name, value in (("settings", self.settings), ("moment", facts)):
            remarks[name] = json.dumps(value, default=np.ndarray.tolist)
        try:
            store.save(path, self.arrays(moment), remarks)
        except OSError as error:  # what was learned is worth more than the file
            warnings.warn(f"the checkpoint could not be written: {error}", stacklevel=3)

    def read(self, path):
        """Return the moment a file holds, if it is one of this run; nothing is changed."""
        arrays, remarks = store.load(path, self.arrays(self.moment), {"kind": "checkpoint"})
        there, facts = (_object(path, remarks, key) for key in ("settings", "moment"))
        here = json.loads(json.dumps(self.settings))
        for key in [*here, *there]:
            if here.get(key) != there.get(key):
                raise DataError(
                    f"{path} is a checkpoint of another run: {key} was "
                    f"{shapes.shown(there.get(key))}, here it is {shapes.shown(here.get(key))}"
                )
        if wrong := next(self.faults(facts), None):
            raise DataError(f"{path} holds no moment of this run: {wrong}")
        if facts["best"]:
            facts["best"] = _Best(*facts["best"], *(views.flat.copy() for views in self.moving))
        moment = self.moment._replace(**facts | {"rows": tuple(map(tuple, facts["rows"]))})
        for name, x in self.arrays(moment).items():
            x[...] = arrays[name]
        return moment

    def faults(self, facts):
        """Yield, in words, which facts of a checkpoint no moment of this run can have."""
        if facts.keys() != {*FACTS, "best"}:
            yield f"it has {', '.join(map(shapes.shown, sorted(facts)))}"
            return
        rows, best, at, now = facts["rows"], facts["best"], facts["at"], self.rng.bit_generator
        if not isinstance(rows, list) or not all(map(self.measured, rows)):
            yield "rows are not what is measured in an epoch"
            return
        if type(at) is not int or not 0 <= at <= self.used or (at % self.batch and at < self.used):
            yield f"at is {shapes.shown(at)}, in an epoch of {self.used} examples"
            return
        steps = len(rows) * self.steps - (-at // self.batch)
        if type(facts["step"]) is not int or facts["step"] != steps:
            yield f"step is {shapes.shown(facts['step'])}, expected {steps}"
        for name in ("losses", "norms", "seconds"):
            if not _finite(facts[name]) or (at == 0 and facts[name] != 0):
                yield f"{name} is {shapes.shown(facts[name])} after {at} examples"
        for name in ("rng", "order"):
            if not _can_be(now, facts[name]):
                yield f"{name} is not a state of a {type(now).__name__}"
        if best is None and self.patience is not None and rows:
            yield "best is missing"
        if best is not None and (self.patience is None or not self.was_best(best, rows)):
            yield f"best is {shapes.shown(best)}, which no epoch was"

    def measured(self, row):
        """Say whether a value read from a file can be a row of the history."""
        kinds = [True, self.held is not None, self.score is not None, True, True, True]
        return (
            isinstance(row, list)
            and len(row) == len(kinds)
            and all(_finite(x) if kind else x is None for x, kind in zip(row, kinds, strict=True))
        )

    def was_best(self, best, rows):
        """Say whether a value read from a file can be the best epoch and its value."""
        if not isinstance(best, list) or len(best) != 2 or type(best[1]) is not int:
            return False
        value, epoch = best
        if not 1 <= epoch <= len(rows):
            return False
        _, held, score, *_ = rows[epoch - 1]
        return value == (held if self.score is None else -score)

    def go_to(self, moment):
        """Take up the training where it was."""
        self.rng.bit_generator.state = moment.rng
        self.params.flat[:], self.slots[:] = moment.params, moment.slots
        if self.state is not None:
            self.state.flat[:] = moment.state
        self.moment, self.step = moment, moment.step
        for good in self.good:
            for views, copy in zip(self.moving, good, strict=True):
                copy[:] = views.flat
