"""Convolution: one small set of weights, used at every position of an image.

Page: ``book/convolution.md``. Builds on `training` (initial weights). The public functions run the
kernels of `dlbook.fast`; `dlbook.nets` has the layers and the network, `CNN`.

Sources: Fukushima, Biol. Cybern. 36 (1980); LeCun et al., Neural Comput. 1 (1989) and Proc. IEEE
86 (1998); Chellapilla, Puri & Simard, IWFHR (2006), for the matrix of patches; Dumoulin & Visin,
arXiv:1603.07285 (2016), for the sizes.

Axes: n images; c channels of the input; h, w its rows and columns; k channels of the output, one
for each filter; i, j rows and columns of the output; u, v rows and columns of a filter, which has
c / G of the channels where these are in G groups. The capital is the count. S and T are the
strides down and across, D and E the dilations, both also called a pair: stride = (S, T).

Names: x input, w weights, b biases, z = w ∗ x + b; dz = ∂C/∂z and so on for every other letter.
Images are (n, c, h, w) where they come in and go out; fast kernels keep the channels last, as
(n, h, w, c), so that the numbers of one pixel lie side by side.
"""
# ruff: noqa: E741

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from dlbook.fast.conv import backward, forward, memory
from dlbook.fast.pool import average_backward_into, average_into, pool_backward_into, pool_into
from dlbook.tools import shapes
from dlbook.tools.jit import njit

__all__ = [
    "Gradients",
    "avg_pool2d",
    "avg_pool2d_backward",
    "circulant",
    "conv",
    "conv2d",
    "conv2d_backward",
    "conv_db",
    "conv_dw",
    "conv_dx",
    "conv_parameters",
    "convolve",
    "correlate",
    "dense_parameters",
    "flip",
    "gradient_of_copies",
    "im2col",
    "max_pool2d",
    "max_pool2d_backward",
    "multichannel",
    "output_size",
    "pad",
    "patches",
    "pool_average",
    "pool_average_backward",
    "pool_max",
    "pool_max_backward",
    "receptive_field",
    "receptive_fields",
    "shared_gradient",
    "shift_average",
    "size_after",
    "toeplitz",
    "translate",
]

Sizes = int | tuple[int, int]  # one number for both axes of an image, or one for each


# One axis: sums of products


@njit
def convolve(f, g):
    """(convolution-convolution)  (f ∗ g)_c = Σ_{a + b = c} f_a g_b
    (a), (b) -> (c), C = A + B − 1
    """
    both = np.zeros(f.shape[0] + g.shape[0] - 1, f.dtype)
    for a in range(f.shape[0]):
        for b in range(g.shape[0]):
            both[a + b] += f[a] * g[b]
    return both


@njit
def correlate(x, w):
    """(convolution-cross-correlation)  z_i = Σ_u w_u x_{i+u}
    (h), (u) -> (i), I = H − U + 1
    """
    z = np.zeros(x.shape[0] - w.shape[0] + 1, x.dtype)
    for u in range(w.shape[0]):
        for i in range(z.shape[0]):
            z[i] += w[u] * x[i + u]
    return z


@njit
def flip(w):
    """(convolution-flip)  w̃_u = w_{U−1−u}
    (u) -> (u)
    """
    turned = np.empty_like(w)
    for u in range(w.shape[0]):
        turned[u] = w[w.shape[0] - 1 - u]
    return turned


# Images: what goes around them, where they move


@njit
def pad(x, rows, columns, value):
    """x with `rows` and `columns` of a value around it
    (n c h w), (), (), () -> (n c h+2rows w+2columns)
    """
    N, C, H, W = x.shape
    padded = np.empty((N, C, H + 2 * rows, W + 2 * columns), x.dtype)
    padded[:] = value
    for n in range(N):
        for c in range(C):
            for h in range(H):
                for w in range(W):
                    padded[n, c, rows + h, columns + w] = x[n, c, h, w]
    return padded


@njit
def translate(x, down, right):
    """(convolution-equivariance)  (T x)_nchw = x_n,c,h−Δh,w−Δw, zero outside
    (n c h w), (), () -> (n c h w)
    """
    moved, (N, C, H, W) = np.zeros_like(x), x.shape
    for n in range(N):
        for c in range(C):
            for h in range(max(0, down), min(H, H + down)):
                for w in range(max(0, right), min(W, W + right)):
                    moved[n, c, h, w] = x[n, c, h - down, w - right]
    return moved


# From a dense layer: what commutes with shifts


@njit
def circulant(w):
    """(convolution-shared-weights)  M_{(i,j),(i+u,j+v)} = w_uv, places counted round the edge
    (h w) -> (hw hw)
    """
    H, W = w.shape
    matrix = np.empty((H * W, H * W), w.dtype)
    for i, j in np.ndindex(H, W):
        for u in range(H):
            for v in range(W):
                at = (i + u) % H * W + (j + v) % W
                matrix[i * W + j, at] = w[u, v]
    return matrix


@njit
def shift_average(M, H, W):
    """(convolution-shift-average)  w_uv = 1/HW Σ_ij M_{(i,j),(i+u,j+v)}, round the edge
    (hw hw), (), () -> (h w)
    """
    w = np.zeros((H, W), M.dtype)
    for u in range(H):
        for v in range(W):
            for i, j in np.ndindex(H, W):
                at = (i + u) % H * W + (j + v) % W
                w[u, v] += M[i * W + j, at] / (H * W)
    return w


# Counting


@njit
def size_after(H, F, S, P, D):
    """(convolution-output-size)  I = ⌊(H + 2P − D(F − 1) − 1) / S⌋ + 1
    (), (), (), (), () -> ()
    """
    return (H + 2 * P - D * (F - 1) - 1) // S + 1


@njit
def conv_parameters(F, C, K):
    """(convolution-parameters)  (F · F · C + 1) · K
    (), (), () -> ()
    """
    return (F * F * C + 1) * K


@njit
def dense_parameters(n, m):
    """(convolution-dense-parameters)  (n + 1) · m
    (), () -> ()
    """
    return (n + 1) * m


@njit(whole="F S D")
def receptive_fields(F, S, D):
    """(convolution-receptive-field)  r_l = r_{l−1} + D_l (F_l − 1) s_{l−1},   s_l = S_l s_{l−1}
    (l), (l), (l) -> (l), (l)

    r is the receptive field after each layer, s how far apart the fields of two neighbours are.
    """
    L = F.shape[0]
    r, s = np.ones(L + 1, np.int64), np.ones(L + 1, np.int64)
    for m in range(L):
        r[m + 1] = r[m] + D[m] * (F[m] - 1) * s[m]
        s[m + 1] = s[m] * S[m]
    return r[1:], s[1:]


# The layer


@njit
def multichannel(x, w, b):
    """(convolution-multichannel)  z_nkij = b_k + Σ_cuv w_kcuv x_n,c,i+u,j+v
    (n c h w), (k c u v), (k) -> (n k i j)
    """
    (N, C, H, W), (K, _, U, V) = x.shape, w.shape
    z = np.empty((N, K, H - U + 1, W - V + 1), x.dtype)
    for n in range(N):
        for k in range(K):
            z[n, k] = b[k]
            for c, u, v in np.ndindex(C, U, V):
                for i in range(H - U + 1):
                    for j in range(W - V + 1):
                        at = x[n, c, i + u, j + v]
                        z[n, k, i, j] += w[k, c, u, v] * at
    return z


@njit
def conv(x, w, b, stride, dilation, G):
    """(convolution-conv)  z_nkij = b_k + Σ_cuv w_kcuv x_n,gC/G+c,iS+uD,jT+vE
    (n c h w), (k c/G u v), (k), (S T), (D E), () -> (n k i j)

    g = ⌊kG/K⌋ is the group of filter k.
    """
    (K, C, U, V), (S, T), (D, E) = w.shape, stride, dilation
    I = size_after(x.shape[2], U, S, 0, D)
    J = size_after(x.shape[3], V, T, 0, E)
    z = np.empty((x.shape[0], K, I, J), x.dtype)
    for n in range(x.shape[0]):
        for k in range(K):
            z[n, k] = b[k]
            first = k * G // K * C
            for c, u, v in np.ndindex(C, U, V):
                for i in range(I):
                    for j in range(J):
                        at = x[n, first + c, i * S + u * D, j * T + v * E]
                        z[n, k, i, j] += w[k, c, u, v] * at
    return z


@njit
def conv_dw(dz, x, U, V, stride, dilation, G):
    """(convolution-conv-dw)  dw_kcuv = Σ_nij dz_nkij x_n,gC/G+c,iS+uD,jT+vE
    (n k i j), (n c h w), (), (), (S T), (D E), () -> (k c/G u v)
    """
    (N, K, I, J), (S, T), (D, E) = dz.shape, stride, dilation
    C = x.shape[1] // G
    dw = np.zeros((K, C, U, V), x.dtype)
    for n in range(N):
        for k in range(K):
            first = k * G // K * C
            for c, u, v in np.ndindex(C, U, V):
                for i in range(I):
                    for j in range(J):
                        at = x[n, first + c, i * S + u * D, j * T + v * E]
                        dw[k, c, u, v] += dz[n, k, i, j] * at
    return dw


@njit
def conv_dx(dz, w, H, W, stride, dilation, G):
    """(convolution-conv-dx)  dx_n,gC/G+c,iS+uD,jT+vE += w_kcuv dz_nkij
    (n k i j), (k c/G u v), (), (), (S T), (D E), () -> (n c h w)
    """
    (N, K, I, J), (S, T), (D, E) = dz.shape, stride, dilation
    C, U, V = w.shape[1], w.shape[2], w.shape[3]
    dx = np.zeros((N, C * G, H, W), dz.dtype)
    for n in range(N):
        for k in range(K):
            first = k * G // K * C
            for c, u, v in np.ndindex(C, U, V):
                for i in range(I):
                    for j in range(J):
                        d = w[k, c, u, v] * dz[n, k, i, j]
                        dx[n, first + c, i * S + u * D, j * T + v * E] += d
    return dx


@njit
def conv_db(dz):
    """(convolution-conv-db)  db_k = Σ_nij dz_nkij
    (n k i j) -> (k)
    """
    db = np.zeros(dz.shape[1], dz.dtype)
    for n in range(dz.shape[0]):
        for k in range(dz.shape[1]):
            for i in range(dz.shape[2]):
                for j in range(dz.shape[3]):
                    db[k] += dz[n, k, i, j]
    return db


# The same, seen differently


@njit
def gradient_of_copies(dz, x, U, V):
    """∂C/∂w^ij_uv = dz_ij x_{i+u,j+v}, each place with a filter of its own
    (i j), (h w), (), () -> (i j u v)
    """
    I, J = dz.shape
    own = np.empty((I, J, U, V), x.dtype)
    for i in range(I):
        for j in range(J):
            for u in range(U):
                for v in range(V):
                    own[i, j, u, v] = dz[i, j] * x[i + u, j + v]
    return own


@njit
def shared_gradient(own):
    """(convolution-shared-gradient)  dw_uv = Σ_ij ∂C/∂w^ij_uv
    (i j u v) -> (u v)
    """
    dw = np.zeros(own.shape[2:], own.dtype)
    for i in range(own.shape[0]):
        for j in range(own.shape[1]):
            for u in range(own.shape[2]):
                for v in range(own.shape[3]):
                    dw[u, v] += own[i, j, u, v]
    return dw


@njit
def toeplitz(w, H, W):
    """(convolution-toeplitz)  M_{(i,j),(i+u,j+v)} = w_uv, zero elsewhere
    (u v), (), () -> (ij hw)
    """
    I, J = H - w.shape[0] + 1, W - w.shape[1] + 1
    matrix = np.zeros((I * J, H * W), w.dtype)
    for i in range(I):
        for j in range(J):
            for u in range(w.shape[0]):
                for v in range(w.shape[1]):
                    matrix[i * J + j, (i + u) * W + j + v] = w[u, v]
    return matrix


@njit
def patches(x, U, V, stride, dilation):
    """(convolution-im2col)  p_{(n,i,j),(c,u,v)} = x_n,c,iS+uD,jT+vE
    (n c h w), (), (), (S T), (D E) -> (nij cuv)
    """
    (N, C, H, W), (S, T), (D, E) = x.shape, stride, dilation
    I, J = size_after(H, U, S, 0, D), size_after(W, V, T, 0, E)
    p = np.empty((N * I * J, C * U * V), x.dtype)
    for n, i, j in np.ndindex(N, I, J):
        for c, u, v in np.ndindex(C, U, V):
            at = x[n, c, i * S + u * D, j * T + v * E]
            p[(n * I + i) * J + j, (c * U + u) * V + v] = at
    return p


# Pooling


@njit
def pool_max(x, size, stride):
    """(convolution-max-pool)  y_ncij = max_uv x_nc,iS+u,jT+v
    (n c h w), (U V), (S T) -> (n c i j)
    """
    (N, C, H, W), (U, V), (S, T) = x.shape, size, stride
    I, J = size_after(H, U, S, 0, 1), size_after(W, V, T, 0, 1)
    y = np.empty((N, C, I, J), x.dtype)
    for n, c, i, j in np.ndindex(y.shape):
        y[n, c, i, j] = x[n, c, i * S, j * T]
        for u in range(U):
            for v in range(V):
                at = x[n, c, i * S + u, j * T + v]
                if at > y[n, c, i, j] or np.isnan(at):
                    y[n, c, i, j] = at
    return y


@njit
def pool_max_backward(dy, x, size, stride):
    """(convolution-max-pool-backward)  dx_nc,iS+u,jT+v += dy_ncij at the first maximum
    (n c i j), (n c h w), (U V), (S T) -> (n c h w)
    """
    dx, (U, V), (S, T) = np.zeros_like(x), size, stride
    for n, c, i, j in np.ndindex(dy.shape):
        h, w = i * S, j * T
        for u in range(U):
            for v in range(V):
                at = x[n, c, i * S + u, j * T + v]
                if at > x[n, c, h, w] or np.isnan(at):
                    h, w = i * S + u, j * T + v
        dx[n, c, h, w] += dy[n, c, i, j]
    return dx


@njit
def pool_average(x, size, stride):
    """(convolution-avg-pool)  y_ncij = Σ_uv x_nc,iS+u,jT+v / (U V)
    (n c h w), (U V), (S T) -> (n c i j)
    """
    (N, C, H, W), (U, V), (S, T) = x.shape, size, stride
    I, J = size_after(H, U, S, 0, 1), size_after(W, V, T, 0, 1)
    y = np.zeros((N, C, I, J), x.dtype)
    for n, c, i, j in np.ndindex(y.shape):
        for u in range(U):
            for v in range(V):
                y[n, c, i, j] += x[n, c, i * S + u, j * T + v] / (U * V)
    return y


@njit
def pool_average_backward(dy, H, W, size, stride):
    """(convolution-avg-pool-backward)  dx_nc,iS+u,jT+v += dy_ncij / (U V)
    (n c i j), (), (), (U V), (S T) -> (n c h w)
    """
    (N, C, I, J), (U, V), (S, T) = dy.shape, size, stride
    dx = np.zeros((N, C, H, W), dy.dtype)
    for n, c, i, j in np.ndindex(N, C, I, J):
        for u in range(U):
            for v in range(V):
                dx[n, c, i * S + u, j * T + v] += dy[n, c, i, j] / (U * V)
    return dx


# Public functions


class Gradients(NamedTuple):
    """Derivatives of a cost by what goes into a convolution."""

    dx: np.ndarray  # (n, c, h, w)
    dw: np.ndarray  # (k, c/G, u, v)
    db: np.ndarray  # (k,)


def _pair(name, value, least):
    """Return two whole numbers from one or two."""
    pair = value if isinstance(value, (tuple, list)) else (value, value)
    if len(pair) != 2:
        raise ValueError(f"{name} is {shapes.shown(value)}, expected a whole number or two of them")
    return tuple(shapes.count(name, p, least=least) for p in pair)


def output_size(
    size: int, window: int, stride: int = 1, padding: int = 0, dilation: int = 1
) -> int:
    """Return how many places a filter has along one axis.

    Parameters
    ----------
    size, window : int
        Pixels of the image and of the filter along this axis.
    stride : int
        Pixels from one place to the next.
    padding : int
        Pixels added at either end.
    dilation : int
        Pixels from one weight of the filter to the next.

    Returns
    -------
    int
        ⌊(W + 2P − D(F − 1) − 1) / S⌋ + 1.

    Raises
    ------
    ValueError
        If the filter does not fit; the message holds the formula with the numbers in it.
    """
    W, F = shapes.count("size", size), shapes.count("window", window)
    S, P = shapes.count("stride", stride), shapes.count("padding", padding, least=0)
    D = shapes.count("dilation", dilation)
    found = size_after(W, F, S, P, D)
    if found < 1:
        raise ValueError(
            f"the filter does not fit: ⌊(W + 2P − D(F − 1) − 1) / S⌋ + 1 = "
            f"⌊({W} + 2·{P} − {D}·({F} − 1) − 1) / {S}⌋ + 1 = {found}, expected 1 or more"
        )
    return int(found)


def receptive_field(
    filters: Sequence[int], strides: Sequence[int], dilations: Sequence[int] | None = None
) -> np.ndarray:
    """Return how many pixels, along one axis, a unit of each layer sees.

    Parameters
    ----------
    filters, strides, dilations : sequence of int
        Of each layer from below, pooling included; dilations are 1 where not given.

    Returns
    -------
    ndarray of int64, shape (layers,)

    Raises
    ------
    TypeError, ValueError
        If a number is not whole and positive, or the lengths differ.
    """
    dilations = [1] * len(filters) if dilations is None else dilations
    lists = {"filters": filters, "strides": strides, "dilations": dilations}
    for name, values in lists.items():
        if len(values) != len(filters) or not len(values):
            raise ValueError(f"{name} has {len(values)} numbers, expected {max(1, len(filters))}")
        lists[name] = np.array([shapes.count(f"{name}[{i}]", n) for i, n in enumerate(values)])
    return receptive_fields(*lists.values())[0]


class _Plan(NamedTuple):
    """A layer's input after all checks, with channels last."""

    x: np.ndarray
    w: np.ndarray
    how: tuple  # stride, padding, dilation, groups
    out: tuple  # (n, i, j, k)


def _framed(x, padding, value=0):
    """Return images with channels last and something around them."""
    rows, columns = padding
    around = ((0, 0), (rows, rows), (columns, columns), (0, 0))
    return np.ascontiguousarray(np.pad(x.transpose(0, 2, 3, 1), around, constant_values=value))


def _last(x):
    """Return an array with its second axis, the channels, moved to the end."""
    return np.ascontiguousarray(x.transpose(0, 2, 3, 1))


def _first(x):
    """Return an array with its last axis, the channels, moved behind the first."""
    return np.ascontiguousarray(x.transpose(0, 3, 1, 2))


def _plan(x, w, stride, padding, dilation, groups, axes):
    """Check what comes into a layer."""
    x = axes.floats("x", x, "n c h w", finite=False)
    w = axes.floats("w", w, "k m u v", finite=False)
    if x.dtype != w.dtype:
        raise TypeError(f"x is {x.dtype} and w is {w.dtype}, expected the same dtype")
    stride, dilation = _pair("stride", stride, 1), _pair("dilation", dilation, 1)
    padding, G = _pair("padding", padding, 0), shapes.count("groups", groups)
    (N, C, *area), (K, M, *filters) = x.shape, w.shape
    if C % G or K % G:
        raise ValueError(f"groups is {G}, expected a divisor of {C} input and {K} output channels")
    if C // G != M:
        raise ValueError(
            f"w has {M} channels, expected {C // G}: the {C} of x in {G} group{'s' * (G > 1)}"
        )
    I, J = map(output_size, area, filters, stride, padding, dilation)
    return _Plan(_last(x), w, (stride, padding, dilation, G), (N, I, J, K))


def conv2d(
    x: ArrayLike,
    w: ArrayLike,
    b: ArrayLike | None = None,
    *,
    stride: int | tuple[int, int] = 1,
    padding: int | tuple[int, int] = 0,
    dilation: int | tuple[int, int] = 1,
    groups: int = 1,
) -> np.ndarray:
    """Return the outputs of a convolutional layer.

    Parameters
    ----------
    x : array_like, shape (n, c, h, w)
        Images.
    w : array_like, shape (k, c / groups, u, v)
        Filters.
    b : array_like, shape (k,), optional
        Biases; zero where not given.
    stride, padding, dilation : int or (int, int)
        Down and across.
    groups : int
        The input channels are cut into so many groups, and so are the filters; each filter sees
        the channels of its group.

    Returns
    -------
    ndarray, shape (n, k, i, j)
        Of the dtype of `x`.

    Notes
    -----
    3 × 3 filters that move by one pixel, with 8 channels or more on both sides, in float32, take
    Winograd's way: rounding is then up to 5e-6 of the largest ``Σ |w x|``, which is more than the
    result where terms cancel, and a NaN or an infinity spreads to all outputs of its tiles of
    4 × 4.

    Raises
    ------
    TypeError, ValueError
        If an argument is not what is described here, or the filter does not fit.
    """
    axes = shapes.Axes()
    plan = _plan(x, w, stride, padding, dilation, groups, axes)
    b = np.zeros(len(plan.w)) if b is None else axes.floats("b", b, "k", finite=False)
    mem = memory(plan.x.shape, plan.w.shape, plan.out, plan.how, plan.x.dtype)
    z = np.empty(plan.out, plan.x.dtype)
    forward(plan.x, plan.w, b.astype(z.dtype), plan.how, mem, z)
    return _first(z)


def conv2d_backward(
    dz: ArrayLike,
    x: ArrayLike,
    w: ArrayLike,
    *,
    stride: int | tuple[int, int] = 1,
    padding: int | tuple[int, int] = 0,
    dilation: int | tuple[int, int] = 1,
    groups: int = 1,
) -> Gradients:
    """Return the derivatives of a cost by the inputs, filters and biases of a layer.

    Parameters
    ----------
    dz : array_like, shape (n, k, i, j)
        Derivative of the cost by what `conv2d` returned.
    x, w, stride, padding, dilation, groups
        As they were given to `conv2d`.

    Returns
    -------
    Gradients

    Raises
    ------
    TypeError, ValueError
        As `conv2d`.
    """
    axes = shapes.Axes()
    plan = _plan(x, w, stride, padding, dilation, groups, axes)
    _, I, J, K = plan.out
    axes.sizes["i"], axes.sizes["j"] = (I, "conv2d(x, w)"), (J, "conv2d(x, w)")
    dz = axes.floats("dz", dz, "n k i j", finite=False).astype(plan.x.dtype)
    dz = _last(dz)
    mem = memory(plan.x.shape, plan.w.shape, plan.out, plan.how, plan.x.dtype)
    dx, dw, db = np.empty_like(plan.x), np.empty_like(plan.w), np.empty(K, dz.dtype)
    backward(dz, plan.x, plan.w, plan.how, mem, dx, dw, db)
    return Gradients(_first(dx), dw, db)


def _inside(x, padding):
    """Return images, channels last, without what is around them."""
    (P, Q), (_, H, W, _) = padding, x.shape
    return x[:, P : H - P, Q : W - Q]


def _windows(x, size, stride, padding, value, axes):
    """Check what comes into a pooling layer; return it with the sizes of what goes out."""
    x = axes.floats("x", x, "n c h w", finite=False)
    size = _pair("size", size, 1)
    stride = size if stride is None else _pair("stride", stride, 1)
    padding = _pair("padding", padding, 0)
    if any(2 * p > f for p, f in zip(padding, size, strict=True)):
        raise ValueError(f"padding is {padding}, expected at most half of the window {size}")
    I, J = map(output_size, x.shape[2:], size, stride, padding)
    return _framed(x, padding, value), size, stride, padding, (len(x), I, J, x.shape[1])


def max_pool2d(
    x: ArrayLike, size: Sizes, *, stride: Sizes | None = None, padding: Sizes = 0
) -> np.ndarray:
    """Return the largest number of each window, channel by channel.

    Parameters
    ----------
    x : array_like, shape (n, c, h, w)
        Images. A NaN in a window makes a NaN.
    size : int or (int, int)
        Rows and columns of a window.
    stride : int or (int, int), optional
        From one window to the next; `size` where not given.
    padding : int or (int, int)
        Rows and columns of −∞ around the image, at most half a window.

    Returns
    -------
    ndarray, shape (n, c, i, j)

    Raises
    ------
    TypeError, ValueError
        If an argument is not what is described here, or the window does not fit.
    """
    x, size, stride, _, out = _windows(x, size, stride, padding, -np.inf, shapes.Axes())
    y, at = np.empty(out, x.dtype), np.empty(out, np.int32)
    pool_into(x, size, stride, y, at)
    return _first(y)


def max_pool2d_backward(
    dy: ArrayLike, x: ArrayLike, size: Sizes, *, stride: Sizes | None = None, padding: Sizes = 0
) -> np.ndarray:
    """Return the derivative of a cost by the input of `max_pool2d`.

    Where several numbers of a window are largest, the first of them, row by row, gets it all. What
    is around the image gets nothing, also where all numbers of a window are −∞.

    Parameters
    ----------
    dy : array_like, shape (n, c, i, j)
        Derivative by what `max_pool2d` returned.
    x, size, stride, padding
        As they were given to `max_pool2d`.

    Returns
    -------
    ndarray, shape (n, c, h, w)

    Raises
    ------
    TypeError, ValueError
        As `max_pool2d`.
    """
    axes = shapes.Axes()
    x, size, stride, padding, out = _windows(x, size, stride, padding, -np.inf, axes)
    y, at, dx = np.empty(out, x.dtype), np.empty(out, np.int32), np.empty_like(x)
    pool_into(x, size, stride, y, at)
    down, right = (
        np.maximum(0, frame - step * np.arange(count))  # of the first pixel in each window
        for frame, step, count in zip(padding, stride, out[1:3], strict=True)
    )
    np.copyto(at, (down[:, None] * size[1] + right)[..., None], where=y == -np.inf)
    pool_backward_into(_errors(dy, out, x.dtype, axes), at, size, stride, dx)
    return _first(_inside(dx, padding))


def _errors(dy, out, dtype, axes):
    """Return the checked derivative with respect to the output of a pooling layer, channels last."""
    axes.sizes["i"], axes.sizes["j"] = (out[1], "the pooled x"), (out[2], "the pooled x")
    dy = axes.floats("dy", dy, "n c i j", finite=False).astype(dtype)
    return np.ascontiguousarray(dy.transpose(0, 2, 3, 1))


def avg_pool2d(
    x: ArrayLike, size: Sizes, *, stride: Sizes | None = None, padding: Sizes = 0
) -> np.ndarray:
    """Return the mean of each window, channel by channel; padding counts as zeros.

    Parameters, results and errors are those of `max_pool2d`.
    """
    x, size, stride, _, out = _windows(x, size, stride, padding, 0, shapes.Axes())
    y = np.empty(out, x.dtype)
    average_into(x, size, stride, y)
    return _first(y)


def avg_pool2d_backward(
    dy: ArrayLike, x: ArrayLike, size: Sizes, *, stride: Sizes | None = None, padding: Sizes = 0
) -> np.ndarray:
    """Return the derivative of a cost by the input of `avg_pool2d`.

    Parameters, results and errors are those of `max_pool2d_backward`.
    """
    axes = shapes.Axes()
    x, size, stride, padding, out = _windows(x, size, stride, padding, 0, axes)
    dx = np.empty_like(x)
    average_backward_into(_errors(dy, out, x.dtype, axes), size, stride, dx)
    return _first(_inside(dx, padding))


def im2col(
    x: ArrayLike, size: Sizes, *, stride: Sizes = 1, padding: Sizes = 0, dilation: Sizes = 1
) -> np.ndarray:
    """Return the patches that a filter meets, one in each row.

    Parameters
    ----------
    x : array_like, shape (n, c, h, w)
        Images.
    size : int or (int, int)
        Rows and columns of the filter.
    stride, padding, dilation : int or (int, int)
        As in `conv2d`.

    Returns
    -------
    ndarray, shape (n · i · j, c · u · v)
        Multiplied by the filters as a matrix of shape (c · u · v, k) it gives the convolution.

    Raises
    ------
    TypeError, ValueError
        If an argument is not what is described here, or the filter does not fit.
    """
    x = shapes.Axes().floats("x", x, "n c h w", finite=False)
    U, V = _pair("size", size, 1)
    stride, dilation = _pair("stride", stride, 1), _pair("dilation", dilation, 1)
    P, Q = _pair("padding", padding, 0)
    for args in zip(x.shape[2:], (U, V), stride, (P, Q), dilation, strict=True):
        output_size(*args)
    return patches(pad(x, P, Q, 0), U, V, stride, dilation)
