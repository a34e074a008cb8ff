"""Batch and layer normalization in place, fused with scale and shift.

The literal forms stand in `training`. What may be one array under two names is copied first where
it is not: a loop that writes what it reads under another name is not turned into vectors.
"""

import numpy as np

from dlbook.tools.jit import njit_fast
from dlbook.tools.lanes import WIDE, lanes, load, store

__all__ = [
    "affine_rows",
    "fused_batchnorm",
    "fused_batchnorm_backward",
    "fused_layernorm",
    "fused_layernorm_backward",
    "update_running",
]


UNSIGNED = np.uintp


@njit_fast(forceinline=True)
def _moments_at(x, share, j, like, mean, variance):
    """Mean and variance of some neighbouring columns of x, which lies flat, from column j on."""
    total = square = like
    for n in range(j, x.size, mean.size):
        total = total + load(x, UNSIGNED(n), like)
    middle = share * total
    for n in range(j, x.size, mean.size):
        apart = load(x, UNSIGNED(n), like) - middle
        square = square + apart * apart
    store(mean, UNSIGNED(j), middle)
    store(variance, UNSIGNED(j), share * square)


@njit_fast
def fused_batchnorm(x, gamma, beta, eps, mean, root, y):
    """`batchnorm`; mean and root = √(v + ε) are kept for the way back
    (n j), (j), (j), () -> (j), (j), (n j)
    """
    (N, J), flat = x.shape, x.reshape(-1)
    share, small, zero = x.dtype.type(1 / N), x.dtype.type(eps), x.dtype.type(0)
    whole = J - J % WIDE
    for j in range(0, whole, WIDE):
        _moments_at(flat, share, j, lanes(zero, WIDE), mean, root)
    for j in range(whole, J):
        _moments_at(flat, share, j, lanes(zero, 1), mean, root)
    for j in range(J):
        root[j] = np.sqrt(root[j] + small)
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


@njit_fast(forceinline=True)
def _slopes_at(dy, x, mean, scale, gamma, share, j, like, dx, dgamma, dbeta):
    """`fused_batchnorm_backward` for some neighbouring columns, from column j on; x lies flat."""
    J, at = mean.size, UNSIGNED(j)
    middle, unit = load(mean, at, like), load(scale, at, like)
    total = along = like
    for n in range(j, x.size, J):
        d = load(dy, UNSIGNED(n), like)
        total = total + d
        along = along + d * (load(x, UNSIGNED(n), like) - middle)
    store(dbeta, at, total)
    store(dgamma, at, along * unit)
    common, slope = share * total, share * (along * unit * unit)
    factor = load(gamma, at, like) * unit
    for n in range(j, x.size, J):
        apart = load(x, UNSIGNED(n), like) - middle
        d = load(dy, UNSIGNED(n), like) - common - apart * slope
        store(dx, UNSIGNED(n), factor * d)


@njit_fast
def fused_batchnorm_backward(dy, x, gamma, mean, root, dx, dgamma, dbeta):
    """`batchnorm_backward`, from what `fused_batchnorm` kept; dx may be dy
    (n j), (n j), (j), (j), (j) -> (n j), (j), (j)
    """
    N, J = x.shape
    share, zero = x.dtype.type(1 / N), x.dtype.type(0)
    dy, x, dx, scale = dy.reshape(-1), x.reshape(-1), dx.reshape(-1), x.dtype.type(1) / root
    whole = J - J % WIDE
    for j in range(0, whole, WIDE):
        _slopes_at(dy, x, mean, scale, gamma, share, j, lanes(zero, WIDE), dx, dgamma, dbeta)
    for j in range(whole, J):
        _slopes_at(dy, x, mean, scale, gamma, share, j, lanes(zero, 1), dx, dgamma, dbeta)


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
    if dx.ctypes.data != dy.ctypes.data:
        dx[:] = dy
    for n in range(x.shape[0]):
        row, d, middle, scale = x[n], dx[n], mean[n], x.dtype.type(1) / root[n]
        whole = along = x.dtype.type(0)
        for j in range(row.size):
            normed = (row[j] - middle) * scale
            dbeta[j] += d[j]
            dgamma[j] += d[j] * normed
        for j in range(row.size):
            g = d[j] * gamma[j]
            whole += g
            along += g * (row[j] - middle)
        whole, along = whole * share, along * share * scale * scale
        for j in range(row.size):
            d[j] = (d[j] * gamma[j] - whole - (row[j] - middle) * along) * scale


@njit_fast
def update_running(running, variance, mean, root, eps, N, rate):
    """`running_statistics` in place, from what `fused_batchnorm` kept
    (j), (j), (j), (j), (), (), () -> (j), (j)
    """
    for j in range(mean.shape[0]):
        running[j] += rate * (mean[j] - running[j])
        unbiased = (root[j] * root[j] - eps) * N / (N - 1)
        variance[j] += rate * (unbiased - variance[j])
