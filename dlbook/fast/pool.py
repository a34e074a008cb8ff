"""Pooling of images with channels last."""
# ruff: noqa: E741

import numpy as np

from dlbook.tools.jit import njit_fast

__all__ = [
    "average_backward_into",
    "average_into",
    "largest_backward",
    "largest_of_all",
    "pool_backward_into",
    "pool_into",
    "pooled_from",
]


@njit_fast
def _larger(value, place, best, won):
    """The larger of two numbers and where it stands; NaN is larger than all
    (), (), (), () -> (), ()
    """
    more = (value > best) | (value != value)
    return (value if more else best), (place if more else won)


@njit_fast
def _places(size, width, channels):
    """How far each place of a window lies behind its first number, in rows of `width` pixels."""
    further = np.empty(size[0] * size[1], np.int64)
    for place in range(further.size):
        further[place] = (place // size[1] * width + place % size[1]) * channels
    return further


@njit_fast
def pool_into(x, size, stride, y, at):
    """`pool_max` with channels last; `at` keeps which place of the window won
    (n h w c), (U V), (S T) -> (n i j c), (n i j c)
    """
    (N, I, J, C), width = y.shape, x.shape[2]
    further, last = _places(size, width, C), size[0] * size[1] - 1
    for n in range(N):
        image = x[n].reshape(-1)
        for i in range(I):
            for j in range(J):
                best, won = y[n, i, j], at[n, i, j]
                window = image[(i * stride[0] * width + j * stride[1]) * C :]
                for c in range(C):
                    best[c], won[c] = window[c], 0
                for first in range(1, last + 1, 4):  # four at a time; the last stands in for more
                    k, l = np.int32(first), np.int32(min(first + 1, last))
                    p, q = np.int32(min(first + 2, last)), np.int32(min(first + 3, last))
                    a, b = window[further[k] :], window[further[l] :]
                    d, e = window[further[p] :], window[further[q] :]
                    for c in range(C):
                        value, place = _larger(a[c], k, best[c], won[c])
                        value, place = _larger(b[c], l, value, place)
                        value, place = _larger(d[c], p, value, place)
                        best[c], won[c] = _larger(e[c], q, value, place)


@njit_fast
def pool_backward_into(dy, at, size, stride, dx):
    """`pool_max_backward` from what `pool_into` kept
    (n i j c), (n i j c), (U V), (S T) -> (n h w c)
    """
    (N, I, J, C), (width, channels) = dy.shape, dx.shape[2:]
    further = _places(size, width, channels)
    dx[:] = 0
    for n in range(N):
        image = dx[n].reshape(-1)
        for i in range(I):
            for j in range(J):
                d, won = dy[n, i, j], at[n, i, j]
                first = (i * stride[0] * width + j * stride[1]) * channels
                for c in range(C):
                    image[first + further[won[c]] + c] += d[c]


@njit_fast
def pooled_from(x, at, size, stride, y):
    """What stands at the places that `pool_into` kept, in another map: `max_unpool_backward`
    (n h w c), (n i j c), (U V), (S T) -> (n i j c)
    """
    (N, I, J, C), (width, channels) = y.shape, x.shape[2:]
    further = _places(size, width, channels)
    for n in range(N):
        image = x[n].reshape(-1)
        for i in range(I):
            for j in range(J):
                out, won = y[n, i, j], at[n, i, j]
                first = (i * stride[0] * width + j * stride[1]) * channels
                for c in range(C):
                    out[c] = image[first + further[won[c]] + c]


@njit_fast
def average_into(x, size, stride, y):
    """`pool_average` with channels last
    (n h w c), (U V), (S T) -> (n i j c)
    """
    N, I, J, C = y.shape
    share = y.dtype.type(1 / (size[0] * size[1]))
    for n in range(N):
        for i in range(I):
            for j in range(J):
                mean = y[n, i, j]
                mean[:] = 0
                for u in range(size[0]):
                    for v in range(size[1]):
                        row = x[n, i * stride[0] + u, j * stride[1] + v]
                        for c in range(C):
                            mean[c] += row[c]
                for c in range(C):
                    mean[c] *= share


@njit_fast
def average_backward_into(dy, size, stride, dx):
    """`pool_average_backward` with channels last
    (n i j c), (U V), (S T) -> (n h w c)
    """
    N, I, J, C = dy.shape
    share = dx.dtype.type(1 / (size[0] * size[1]))
    dx[:] = 0
    for n in range(N):
        for i in range(I):
            for j in range(J):
                d = dy[n, i, j]
                for u in range(size[0]):
                    for v in range(size[1]):
                        row = dx[n, i * stride[0] + u, j * stride[1] + v]
                        for c in range(C):
                            row[c] += share * d[c]


@njit_fast
def largest_of_all(y, features, at):
    """Global max pooling: each channel's largest number, and where it stood
    (n h w c) -> (n c), (n c)
    """
    for n in range(y.shape[0]):
        best, won = features[n], at[n]
        for place in range(y.shape[1] * y.shape[2]):
            row = y[n, place // y.shape[2], place % y.shape[2]]
            for c in range(row.size):
                more = (place == 0) | (row[c] > best[c]) | (row[c] != row[c])
                best[c] = row[c] if more else best[c]
                won[c] = place if more else won[c]


@njit_fast
def largest_backward(slope, at, dy):
    """The way back of `largest_of_all`
    (n c), (n c) -> (n h w c)
    """
    dy[:] = 0
    for n in range(dy.shape[0]):
        for c in range(dy.shape[3]):
            dy[n, at[n, c] // dy.shape[2], at[n, c] % dy.shape[2], c] = slope[n, c]
