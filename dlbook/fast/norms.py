"""Batch and layer normalization in place, fused with scale and shift.

The literal forms stand in `training`. What may be one array under two names is copied first where
it is not: a loop that writes what it reads under another name is not turned into vectors.
"""

import numpy as np

from dlbook.tools.jit import njit_fast

__all__ = [
    "affine_rows",
    "fused_batchnorm",
    "fused_batchnorm_backward",
    "fused_layernorm",
    "fused_layernorm_backward",
    "update_running",
]


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
    if dx.ctypes.data != dy.ctypes.data:
        dx[:] = dy
    for n in range(N):
        for j in range(J):
            dbeta[j] += dx[n, j]
            dgamma[j] += dx[n, j] * (x[n, j] - mean[j])
    scale, common, along = gamma / root, dbeta * share, dgamma / (root * root) * share
    for n in range(N):
        for j in range(J):
            dx[n, j] = scale[j] * (dx[n, j] - common[j] - (x[n, j] - mean[j]) * along[j])
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
