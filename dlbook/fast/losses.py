"""Costs that turn what a network gives into their own gradient, in place."""

import numpy as np

from dlbook.tools.elementary import decay
from dlbook.tools.jit import njit_fast
from dlbook.tools.simd import largest

__all__ = [
    "bernoulli_into",
    "cross_entropy_rows",
    "gaussian_into",
    "softmax_cross_entropy_into",
    "square_rows",
]


@njit_fast
def softmax_cross_entropy_into(z, y):
    """z_nj becomes δ_nj = (softmax(z_n)_j − [y_n = j]) / N; returns the mean cost
    (n j), (n) -> ()
    """
    N = z.shape[0]
    share, loss = z.dtype.type(1) / z.dtype.type(N), 0.0
    for n in range(N):
        row = z[n]
        most, total = row[0], z.dtype.type(0)
        for j in range(1, row.size):
            most = largest(most, row[j])
        loss += most - row[y[n]]
        for j in range(row.size):
            e = decay(row[j] - most)
            row[j] = e
            total += e
        loss += np.log(total)
        scale = share / total
        for j in range(row.size):
            row[j] *= scale
        row[y[n]] -= share
    return loss / N


@njit_fast
def cross_entropy_rows(o, y, share):
    """o_rv becomes share · (softmax(o_r)_v − [y_r = v]); returns share · Σ_r C_r
    (r v), (r), () -> ()
    """
    part, loss, zero = o.dtype.type(share), 0.0, o.dtype.type(0)
    for r in range(o.shape[0]):
        row = o[r]
        most, total = row[0], zero
        for v in range(row.size):
            most = largest(most, row[v])
        loss += most - row[y[r]]
        for v in range(row.size):
            e = decay(row[v] - most)
            row[v] = e
            total += e
        loss += np.log(total)
        scale = part / total
        for v in range(row.size):
            row[v] *= scale
        row[y[r]] -= part
    return loss * share


@njit_fast
def square_rows(o, y, share):
    """o_rv becomes 2 share · (o_rv − y_rv); returns share · Σ_rv (o_rv − y_rv)²
    (r v), (r v), () -> ()
    """
    loss, twice = 0.0, o.dtype.type(2 * share)
    for r in range(o.shape[0]):
        for v in range(o.shape[1]):
            apart = o[r, v] - y[r, v]
            loss += apart * apart
            o[r, v] = twice * apart
    return loss * share


@njit_fast
def gaussian_into(a, x):
    """a_nk becomes δ_nk = (a_nk − x_nk) / N; returns the cost 1/2N Σ (a − x)²
    (n k), (n k) -> ()
    """
    N, share, loss = a.shape[0], a.dtype.type(1 / a.shape[0]), 0.0
    for n in range(N):
        total = a.dtype.type(0)
        for k in range(a.shape[1]):
            apart = a[n, k] - x[n, k]
            total += apart * apart
            a[n, k] = apart * share
        loss += total
    return loss / (2 * N)


@njit_fast
def bernoulli_into(a, x):
    """a_nk becomes δ_nk = (σ(a_nk) − x_nk) / N; returns the cost
    (n k), (n k) -> ()

    log(1 + e^a) = max(a, 0) + log(1 + e^−|a|). The factors 1 + e^−|a| lie between 1 and 2, so
    that 512 of them are multiplied before one logarithm is taken.
    """
    (N, K), one, zero = a.shape, a.dtype.type(1), a.dtype.type(0)
    share, loss = a.dtype.type(1 / N), 0.0
    for n in range(N):
        for first in range(0, K, 512):
            row, want = a[n, first : first + 512], x[n, first : first + 512]
            total, product = zero, 1.0
            for k in range(row.size):
                e = decay(-abs(row[k]))
                up = row[k] > zero
                total += (row[k] if up else zero) - want[k] * row[k]
                product *= np.float64(one + e)
                p = (one if up else e) / (one + e)
                row[k] = (p - want[k]) * share
            loss += total + np.log(product)
    return loss / N
