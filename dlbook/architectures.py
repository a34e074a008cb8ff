"""Architectures: blocks of convolutional layers, what they cost and how they pass errors back.

Page: ``book/architectures.md``. Builds on `convolution` (layers, sizes,
pooling) and `neurons` (rectified units). Whole networks
as tables, and drawn, are in `dlbook.nets.table` and `dlbook.nets.diagram`.

Sources: Lin, Chen & Yan, ICLR (2014), for filters of 1 × 1 and global averages; Simonyan &
Zisserman, ICLR (2015), for stacks of small filters; Szegedy et al., CVPR (2015) and (2016), for
branches and for filters in two factors; He et al., CVPR (2016) and ECCV (2016), for blocks that
add; Veit, Wilber & Belongie, NIPS (2016), for the paths.

Axes: n images; c channels of the input; k channels of the output, m of what lies between two
layers, or that a filter sees; h, w rows and columns of an image; u, v (and p, q) rows and columns of a filter; l layers or
blocks; d, e entries of a vector. The capital is the count.

Names: x input, w weights, b biases, y output of a block; dy = ∂C/∂y and so on for every other
letter; F the side of a filter, S a stride, G groups; J a Jacobian. Filters whose size is kept have
odd sides and a frame of zeros.
"""
# ruff: noqa: E741

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from dlbook.convolution import (
    conv,
    conv_db,
    conv_dw,
    conv_dx,
    output_size,
    pad,
    pool_max,
    pool_max_backward,
)
from dlbook.matmul import product
from dlbook.neurons import relu
from dlbook.tools import shapes
from dlbook.tools.jit import njit

__all__ = [
    "Costs",
    "asymmetric",
    "bottleneck_parameters",
    "global_average",
    "global_average_backward",
    "growth",
    "inception",
    "inception_backward",
    "layer_costs",
    "merged",
    "multiply_adds",
    "one_by_one",
    "parameters",
    "path_lengths",
    "plain_product",
    "receptive_field",
    "residual",
    "residual_backward",
    "residual_paths",
    "stack_filter",
    "stack_parameters",
]


# Counting


@njit
def parameters(U, V, M, K, biases):
    """(architectures-parameters)  K (U V M + β),  M = C / G,  β = 1 with biases, else 0
    (), (), (), (), () -> ()
    """
    return K * (U * V * M + biases)


@njit
def multiply_adds(U, V, M, K, I, J):
    """(architectures-multiply-adds)  I J K U V M,  M = C / G
    (), (), (), (), (), () -> ()
    """
    return I * J * K * U * V * M


@njit(whole="F S")
def receptive_field(F, S):
    """(architectures-receptive-field)  r = 1 + Σ_l (F_l − 1) Π_{m<l} S_m
    (l), (l) -> ()
    """
    r = 1
    for l in range(F.shape[0]):
        apart = 1
        for m in range(l):
            apart *= S[m]
        r += (F[l] - 1) * apart
    return r


@njit
def stack_parameters(F, C, L):
    """(architectures-stack-parameters)  L F² C²  against  (L (F − 1) + 1)² C²
    (), (), () -> (), ()
    """
    side = L * (F - 1) + 1
    return L * F * F * C * C, side * side * C * C


@njit
def bottleneck_parameters(F, C, M):
    """(architectures-bottleneck)  2 C M + F² M²  against  2 F² C²
    (), (), () -> (), ()
    """
    return 2 * C * M + F * F * M * M, 2 * F * F * C * C


# Filters after filters


@njit
def stack_filter(u, v):
    """(architectures-two-3x3)  w_kcuv = Σ_m Σ_{a+i=u, b+j=v} v_kmij u_mcab
    (m c a b), (k m i j) -> (k c u v), U = A + I − 1, V = B + J − 1
    """
    (M, C, A, B), (K, _, I, J) = u.shape, v.shape
    w = np.zeros((K, C, A + I - 1, B + J - 1), u.dtype)
    for k in range(K):
        for m, c in np.ndindex(M, C):
            for a, b in np.ndindex(A, B):
                for i in range(I):
                    for j in range(J):
                        at = v[k, m, i, j] * u[m, c, a, b]
                        w[k, c, a + i, b + j] += at
    return w


@njit
def asymmetric(row, column):
    """(architectures-1xn-nx1)  w_kcuv = Σ_m column_kmu row_mcv
    (m c v), (k m u) -> (k c u v)
    """
    (M, C, V), (K, _, U) = row.shape, column.shape
    w = np.zeros((K, C, U, V), row.dtype)
    for k, c in np.ndindex(K, C):
        for m in range(M):
            for u in range(U):
                for v in range(V):
                    w[k, c, u, v] += column[k, m, u] * row[m, c, v]
    return w


@njit
def one_by_one(x, w, b):
    """(architectures-one-by-one)  z_nkij = b_k + Σ_c w_kc x_ncij
    (n c i j), (k c), (k) -> (n k i j)
    """
    (N, C, I, J), K = x.shape, w.shape[0]
    z = np.empty((N, K, I, J), x.dtype)
    for n, k in np.ndindex(N, K):
        z[n, k] = b[k]
        for c in range(C):
            for i in range(I):
                for j in range(J):
                    z[n, k, i, j] += w[k, c] * x[n, c, i, j]
    return z


@njit
def global_average(x):
    """(architectures-global-average)  y_nc = Σ_ij x_ncij / (I J)
    (n c i j) -> (n c)
    """
    N, C, I, J = x.shape
    y = np.zeros((N, C), x.dtype)
    for n, c in np.ndindex(N, C):
        for i in range(I):
            for j in range(J):
                y[n, c] += x[n, c, i, j] / (I * J)
    return y


@njit
def global_average_backward(dy, I, J):
    """(architectures-global-average-backward)  dx_ncij = dy_nc / (I J)
    (n c), (), () -> (n c i j)
    """
    dx = np.empty((*dy.shape, I, J), dy.dtype)
    for n, c in np.ndindex(dy.shape):
        for i in range(I):
            for j in range(J):
                dx[n, c, i, j] = dy[n, c] / (I * J)
    return dx


# A block with branches


@njit
def framed(x, w, b):
    """w ∗ x + b of the size of x, with a frame of zeros for filters of odd sides
    (n c h w), (k c u v), (k) -> (n k h w)
    """
    around = pad(x, w.shape[2] // 2, w.shape[3] // 2, 0)
    return conv(around, w, b, (1, 1), (1, 1), 1)


@njit
def framed_backward(dz, x, w):
    """dx, dw and db of (w ∗ x + b)
    (n k h w), (n c h w), (k c u v) -> (n c h w), (k c u v), (k)
    """
    (_, _, H, W), (U, V) = x.shape, w.shape[2:]
    P, Q = U // 2, V // 2
    around = pad(x, P, Q, 0)
    dw = conv_dw(dz, around, U, V, (1, 1), (1, 1), 1)
    wide = conv_dx(dz, w, *around.shape[2:], (1, 1), (1, 1), 1)
    return wide[:, :, P : P + H, Q : Q + W].copy(), dw, conv_db(dz)


@njit(apart=True)
def rectified(x, w, b):
    """max(0, w ∗ x + b), of the size of x
    (n c h w), (k c u v), (k) -> (n k h w)
    """
    return relu(framed(x, w, b))


@njit
def opened(da, z):
    """dz of max(0, z): da where z > 0, else 0
    (n k h w), (n k h w) -> (n k h w)
    """
    dz, (N, K, H, W) = np.zeros_like(z), z.shape
    for n, k in np.ndindex(N, K):
        for h in range(H):
            for w in range(W):
                if z[n, k, h, w].real > 0:
                    dz[n, k, h, w] = da[n, k, h, w]
    return dz


@njit(apart=True)
def rectified_backward(dy, first, x, w, b):
    """dx, dw, db of max(0, w ∗ x + b), which is y from channel `first` on
    (n k h w), (), (n c h w), (m c u v), (m) -> (n c h w), (m c u v), (m)
    """
    z = framed(x, w, b)
    da = dy[:, first : first + z.shape[1]]
    return framed_backward(opened(da, z), x, w)


@njit
def pooled(x):
    """The largest number of each window of 3 × 3, of the size of x
    (n c h w) -> (n c h w)
    """
    return pool_max(pad(x, 1, 1, -np.inf), (3, 3), (1, 1))


@njit
def pooled_backward(dy, x):
    """dx of the largest number of each window of 3 × 3
    (n c h w), (n c h w) -> (n c h w)
    """
    wide = pad(x, 1, 1, -np.inf)
    dx = pool_max_backward(dy, wide, (3, 3), (1, 1))
    return dx[:, :, 1:-1, 1:-1]


@njit
def inception(x, w, b):
    """(architectures-inception)  y = (f₀(x), f₂(f₁(x)), f₄(f₃(x)), f₅(pool(x))),
    f_l(x) = max(0, w_l ∗ x + b_l)
    (n c h w), six (k m u v), six (k) -> (n k h w)
    """
    one = rectified(x, w[0], b[0])
    three = rectified(rectified(x, w[1], b[1]), w[2], b[2])
    five = rectified(rectified(x, w[3], b[3]), w[4], b[4])
    best = rectified(pooled(x), w[5], b[5])
    return np.concatenate((one, three, five, best), axis=1)


@njit
def inception_backward(dy, x, w, b):
    """(architectures-inception-backward)  dx = Σ_j (∂y_j/∂x)ᵀ dy_j,  j = 0 … 3
    (n k h w), (n c h w), six (k m u v), six (k) -> dx, six dw, six db
    """
    narrow, small = rectified(x, w[1], b[1]), rectified(x, w[3], b[3])
    best, K = pooled(x), len(b[0]) + len(b[2])
    d0, dw0, db0 = rectified_backward(dy, 0, x, w[0], b[0])
    da, dw2, db2 = rectified_backward(dy, len(b[0]), narrow, w[2], b[2])
    d1, dw1, db1 = rectified_backward(da, 0, x, w[1], b[1])
    da, dw4, db4 = rectified_backward(dy, K, small, w[4], b[4])
    d3, dw3, db3 = rectified_backward(da, 0, x, w[3], b[3])
    da, dw5, db5 = rectified_backward(dy, K + len(b[4]), best, w[5], b[5])
    dx = d0 + d1 + d3 + pooled_backward(da, x)
    dw, db = (dw0, dw1, dw2, dw3, dw4, dw5), (db0, db1, db2, db3, db4, db5)
    return (dx,) + dw + db  # noqa: RUF005


# A block that adds


@njit
def residual(x, w, b, v, c):
    """(architectures-residual)  y = x + F(x),  F(x) = v ∗ max(0, w ∗ x + b) + c
    (n c h w), (k c u v), (k), (c k p q), (c) -> (n c h w)
    """
    y = framed(rectified(x, w, b), v, c)
    for i, at in enumerate(x.flat):
        y.flat[i] += at
    return y


@njit
def residual_backward(dy, x, w, b, v):
    """(architectures-residual-gradient)  dx = dy + (∂F/∂x)ᵀ dy,  and dw, db, dv, dc
    (n c h w), (n c h w), (k c u v), (k), (c k p q) -> (n c h w), …
    """
    z = framed(x, w, b)
    da, dv, dc = framed_backward(dy, relu(z), v)
    dx, dw, db = framed_backward(opened(da, z), x, w)
    for i, at in enumerate(dy.flat):
        dx.flat[i] += at
    return dx, dw, db, dv, dc


@njit
def growth(q, g):
    """(architectures-growth)  q Π_l g_l,  q Π_l (1 + g_l),  q (1 + Σ_l g_l)
    (), (l) -> (), (), ()
    """
    plain, added, normed = q, q, q
    for l in range(len(g)):
        plain *= g[l]
        added *= 1 + g[l]
        normed += q * g[l]
    return plain, added, normed


@njit
def plain_product(J):
    """(architectures-plain-product)  ∂x_L/∂x_0 = J_{L−1} ⋯ J_1 J_0
    (l d d) -> (d d)
    """
    both = np.eye(len(J[0])).astype(J.dtype)
    for slope in J:
        both = product(slope, both)
    return both


@njit
def residual_paths(J):
    """(architectures-paths)  Π_l (I + J_l) = Σ_A Π_{l ∈ A} J_l,  A ⊆ {0, …, L−1}
    (l d d) -> (d d)
    """
    total = np.zeros(J.shape[1:], J.dtype)
    for A in range(2 ** len(J)):
        path = np.eye(len(J[0])).astype(J.dtype)
        for l, slope in enumerate(J):
            if A >> l & 1:
                path = product(slope, path)
        total += path
    return total


@njit
def path_lengths(s):
    """(architectures-path-lengths)  e_k = Σ_{|A| = k} Π_{l ∈ A} s_l
    (l) -> (k), K = L + 1
    """
    e = np.zeros(len(s) + 1, s.dtype)
    e[0] = 1
    for l in range(len(s)):
        for k in range(l + 1, 0, -1):
            e[k] += s[l] * e[k - 1]
    return e


# Public functions


class Costs(NamedTuple):
    """What a convolutional layer gives, and what it costs."""

    shape: tuple  # (k, i, j) of one example
    parameters: int
    multiply_adds: int  # for one example


def _two(name, value, least=1):
    """Return two whole numbers from one or two."""
    pair = value if isinstance(value, (tuple, list)) else (value, value)
    if len(pair) != 2:
        raise ValueError(f"{name} is {shapes.shown(value)}, expected a whole number or two of them")
    return tuple(shapes.count(name, p, least=least) for p in pair)


def layer_costs(
    image: Sequence[int],
    filters: int,
    size: int | tuple[int, int],
    *,
    stride: int | tuple[int, int] = 1,
    padding: int | tuple[int, int] = 0,
    groups: int = 1,
    biases: bool = True,
) -> Costs:
    """Return the shape, the parameters and the multiply-adds of a convolutional layer.

    Parameters
    ----------
    image : (int, int, int)
        Channels, rows and columns of what comes in.
    filters : int
        How many there are.
    size, stride, padding : int or (int, int)
        Rows and columns of a filter, pixels from one place to the next, zeros added at either end.
    groups : int
        A divisor of the channels and of the filters.
    biases : bool
        Whether each filter has a bias.

    Returns
    -------
    Costs

    Raises
    ------
    TypeError, ValueError
        If an argument is not what is described here, or the filter does not fit; the message then
        holds the formula with the numbers in it.

    Examples
    --------
    >>> layer_costs((3, 224, 224), 64, 7, stride=2, padding=3, biases=False)
    Costs(shape=(64, 112, 112), parameters=9408, multiply_adds=118013952)
    """
    if not isinstance(image, (tuple, list)) or len(image) != 3:
        raise ValueError(f"image is {shapes.shown(image)}, expected (channels, rows, columns)")
    C, *area = (shapes.count("image", n) for n in image)
    K, G = shapes.count("filters", filters), shapes.count("groups", groups)
    if C % G or K % G:
        raise ValueError(f"groups is {G}, expected a divisor of {C} channels and {K} filters")
    if not isinstance(biases, (bool, np.bool_)):
        raise TypeError(f"biases is {shapes.shown(biases)}, expected True or False")
    sides = _two("size", size)
    I, J = map(output_size, area, sides, _two("stride", stride), _two("padding", padding, 0))
    numbers = parameters(*sides, C // G, K, int(biases))
    return Costs((K, I, J), int(numbers), int(multiply_adds(*sides, C // G, K, I, J)))


def merged(first: ArrayLike, second: ArrayLike) -> np.ndarray:
    """Return the one set of filters that two layers without anything in between come to.

    Both without padding, stride or dilation; `conv2d` with it gives what `conv2d` with `first` and
    then with `second` gives, to rounding.

    Parameters
    ----------
    first : array_like, shape (m, c, a, b)
        Filters of the lower layer.
    second : array_like, shape (k, m, i, j)
        Filters of the upper layer.

    Returns
    -------
    ndarray, shape (k, c, a + i − 1, b + j − 1)

    Raises
    ------
    TypeError, ValueError
        If they are not what is described here, or `second` does not take what `first` gives.
    """
    axes = shapes.Axes()
    u = axes.floats("first", first, "m c a b")
    v = axes.floats("second", second, "k m i j")
    if u.dtype != v.dtype:
        raise TypeError(f"first is {u.dtype} and second is {v.dtype}, expected the same dtype")
    return stack_filter(u, v)
