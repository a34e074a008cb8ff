"""Convolution: one small set of weights, used at every position of an image.

Page: ``book/convolution.md``. Builds on `training` (initial weights, the loop's form of a model,
softmax with cross-entropy) and `matmul` (the packed product).

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

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import prod
from typing import NamedTuple

import numpy as np
from numba import prange
from numpy.lib.stride_tricks import as_strided
from numpy.typing import ArrayLike

from dlbook.matmul import PANEL_BYTES, TILED, multiply, pack
from dlbook.tools import shapes
from dlbook.tools.jit import njit, njit_fast
from dlbook.tools.simd import aligned
from dlbook.tools.threads import threads
from dlbook.training import (
    cut_up,
    dense_backward_into,
    dense_input_into,
    dense_into,
    he,
    softmax_cross_entropy_into,
)

__all__ = [
    "Block",
    "CNN",
    "Filters",
    "Gradients",
    "Memory",
    "Work",
    "average_back_into",
    "average_into",
    "avg_pool2d",
    "avg_pool2d_backward",
    "backward",
    "conv",
    "conv2d",
    "conv2d_backward",
    "conv_db",
    "conv_dw",
    "conv_dw_into",
    "conv_dx",
    "conv_dx_into",
    "conv_image",
    "conv_image_dw",
    "conv_image_dx",
    "conv_into",
    "conv_parameters",
    "convolve",
    "correlate",
    "db_into",
    "dense_parameters",
    "field_of",
    "flip",
    "forward",
    "frame_into",
    "gather_patches",
    "gradient_of_copies",
    "im2col",
    "largest_back",
    "largest_of_all",
    "max_pool2d",
    "max_pool2d_backward",
    "memory",
    "multichannel",
    "output_size",
    "pack_filters",
    "pack_filters_back",
    "pad",
    "patches",
    "place_images",
    "pool_average",
    "pool_average_backward",
    "pool_back_into",
    "pool_into",
    "pool_max",
    "pool_max_backward",
    "receptive_field",
    "rectify_all",
    "rectify_back",
    "scatter_patches",
    "shared_gradient",
    "size_after",
    "toeplitz",
    "translate",
]

PARALLEL_FROM = 1_000_000  # multiply-adds, as in `matmul`
ONE = (1, 1)
PARTS = 8  # of a large batch, for the sum over images

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
    """(convolution-equivariance)  (T x)_nchw = x_n,c,h−s,w−t, zero where that is outside
    (n c h w), (), () -> (n c h w)
    """
    moved, (N, C, H, W) = np.zeros_like(x), x.shape
    for n in range(N):
        for c in range(C):
            for h in range(max(0, down), min(H, H + down)):
                for w in range(max(0, right), min(W, W + right)):
                    moved[n, c, h, w] = x[n, c, h - down, w - right]
    return moved


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


@njit
def field_of(F, S, D):
    """(convolution-receptive-field)  r_l = r_{l−1} + D_l (F_l − 1) s_{l−1},   s_l = S_l s_{l−1}
    (l), (l), (l) -> (l), (l)

    r is the receptive field after each layer, s how far apart the fields of two neighbours are.
    """
    r, s = np.ones(F.shape[0] + 1, np.int64), np.ones(F.shape[0] + 1, np.int64)
    for m in range(F.shape[0]):
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
                        z[n, k, i, j] += w[k, c, u, v] * x[n, c, i + u, j + v]
    return z


@njit
def conv(x, w, b, stride, dilation, G):
    """(convolution-conv)  z_nkij = b_k + Σ_cuv w_kcuv x_n,gC+c,iS+uD,jT+vE,   g = ⌊k G / K⌋
    (n c h w), (k c/G u v), (k), (S T), (D E), () -> (n k i j)
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
    """(convolution-conv-dw)  dw_kcuv = Σ_nij dz_nkij x_n,gC+c,iS+uD,jT+vE
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
    """(convolution-conv-dx)  dx_n,gC+c,iS+uD,jT+vE += w_kcuv dz_nkij
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
    """∂C/∂w^ij_uv = dz_ij x_{i+u,j+v}, if each position had weights of its own
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


# The layer, fast: channels last, and every sum a product of matrices that lie in the image as it is
#
# A row of filters, taken at the J places of one row of the output, reads J stretches of the image,
# each T pixels further on. That is a matrix whose rows overlap in memory, so nothing is copied:
# the packed product runs over it as over any other.


@njit_fast
def _matrix(x, rows, columns, down, across):
    """A view: entry r, c lies r · down + c · across numbers after the first of x."""
    size = x.itemsize
    return as_strided(x, (rows, columns), (down * size, across * size))


@njit_fast
def frame_into(x, top, left, framed):
    """Copy images into the middle of larger ones that are zero elsewhere
    (n h w c), (), () -> (n h w c)
    """
    H, W = x.shape[1], x.shape[2]
    for n in range(x.shape[0]):
        image = framed[n]
        image[:] = 0
        for h in range(H):
            image[top + h, left : left + W] = x[n, h]


@njit_fast
def pack_filters(w, G, packed):
    """Filters in panels, for `conv_image`: rows (v, c), columns k
    (k c u v), () -> (g u q vc w)
    """
    K, C, U, V = w.shape
    share = K // G
    width = packed.shape[4]
    for g in range(G):
        for u in range(U):
            for v in range(V):
                for c in range(C):
                    for k in range(packed.shape[2] * width):
                        here = w[g * share + k, c, u, v] if k < share else w.dtype.type(0)
                        packed[g, u, k // width, v * C + c, k % width] = here


@njit_fast
def pack_filters_back(w, G, packed):
    """Filters in panels, for `conv_image_dx`: rows k, columns c
    (k c u v), () -> (g u v q k w)
    """
    K, _, U, V = w.shape
    share = K // G
    for g in range(G):
        for u in range(U):
            for v in range(V):
                pack(w[g * share : (g + 1) * share, :, u, v], packed[g, u, v])


@njit_fast
def conv_image(x, packed, b, stride, dilation, z):
    """`conv` of one image
    (h w c), (g u q vc w), (k), (S T), (D E) -> (i j k)
    """
    (G, U, _, R, _), (I, J, K) = packed.shape, z.shape
    C, share = x.shape[2] // G, K // G
    depth = R if G == 1 and dilation[1] == 1 else C  # of the stretch that lies side by side
    down = stride[1] * x.shape[2]
    for i in range(I):
        for j in range(J):
            z[i, j] = b
        for g in range(G):
            some = z[i][:, g * share : (g + 1) * share]
            for u in range(U):
                row = x[i * stride[0] + u * dilation[0]]
                for v in range(R // depth):
                    a = _matrix(row[v * dilation[1] :, g * C :], J, depth, down, 1)
                    multiply(a, packed[g, u, :, v * depth : (v + 1) * depth], some, True)


@njit_fast
def conv_image_dx(dz, packed, stride, dilation, dx):
    """`conv_dx` of one image
    (i j k), (g u v q k w), (S T), (D E) -> (h w c)
    """
    (G, U, V, _, share, _), (I, J, _) = packed.shape, dz.shape
    C, down = dx.shape[2] // G, stride[1] * dx.shape[2]
    dx[:] = 0
    for i in range(I):
        for g in range(G):
            some = dz[i][:, g * share : (g + 1) * share]
            for u in range(U):
                row = dx[i * stride[0] + u * dilation[0]]
                for v in range(V):
                    c = _matrix(row[v * dilation[1] :, g * C :], J, C, down, 1)
                    multiply(some, packed[g, u, v], c, True)


@njit_fast
def _pack_errors(dz, G, length, packed):
    """Errors of one image in panels: rows (i, j), each row of the image `length` long."""
    I, J, K = dz.shape
    share, width = K // G, packed.shape[3]
    for g in range(G):
        for q in range(packed.shape[1]):
            first, last = g * share + q * width, min((g + 1) * share, g * share + (q + 1) * width)
            panel = packed[g, q]
            for i in range(I):
                for j in range(length):
                    place = panel[i * length + j]
                    if j < J:
                        here = dz[i, j][first:last]
                        for t in range(here.size):
                            place[t] = here[t]
                        place[here.size :] = 0
                    else:
                        place[:] = 0


@njit_fast
def conv_image_dw(dz, x, packed, stride, dilation, dw):
    """`conv_dw` of one image, added to dw
    (i j k), (h w c), (g q ij w), (S T), (D E) -> (g u vc k)
    """
    (I, J, _), (G, U, R, _) = dz.shape, dw.shape
    C, wide, down = x.shape[2] // G, x.shape[1], stride[1] * x.shape[2]
    depth = R if G == 1 and dilation[1] == 1 else C
    whole = stride[0] == 1 and stride[1] == 1  # all rows of the image are one long row
    length = wide if whole else J
    _pack_errors(dz, G, length, packed)
    rows, run = (1, (I - 1) * length + J) if whole else (I, J)
    for g in range(G):
        for i in range(rows):
            errors = packed[g, :, i * length : i * length + run]
            for u in range(U):
                row = x[i * stride[0] + u * dilation[0]]
                for v in range(R // depth):
                    a = _matrix(row[v * dilation[1] :, g * C :], depth, run, 1, down)
                    multiply(a, errors, dw[g, u, v * depth : (v + 1) * depth], True)


@njit_fast
def gather_patches(x, U, V, stride, dilation, p):
    """`patches` of images with channels last
    (n h w c), (), (), (S T), (D E) -> (n i j uvc)
    """
    (N, I, J, _), C = p.shape, x.shape[3]
    for n in range(N):
        for i in range(I):
            for j in range(J):
                place, r = p[n, i, j], 0
                for u in range(U):
                    row = x[n, i * stride[0] + u * dilation[0]]
                    for v in range(V):
                        pixel = row[j * stride[1] + v * dilation[1]]
                        for c in range(C):
                            place[r] = pixel[c]
                            r += 1


@njit_fast
def scatter_patches(dp, U, V, stride, dilation, dx):
    """The way back of `gather_patches`: each number is added where it was read
    (n i j uvc), (), (), (S T), (D E) -> (n h w c)
    """
    (N, I, J, _), C = dp.shape, dx.shape[3]
    dx[:] = 0
    for n in range(N):
        for i in range(I):
            for j in range(J):
                place, r = dp[n, i, j], 0
                for u in range(U):
                    row = dx[n, i * stride[0] + u * dilation[0]]
                    for v in range(V):
                        pixel = row[j * stride[1] + v * dilation[1]]
                        for c in range(C):
                            pixel[c] += place[r]
                            r += 1


@njit_fast(parallel=True)
def _images_parallel(x, packed, b, stride, dilation, z):
    """`conv_image` of each image, in threads."""
    for n in prange(x.shape[0]):
        conv_image(x[n], packed, b, stride, dilation, z[n])


@njit_fast
def conv_into(x, packed, b, stride, dilation, z):
    """`conv` of framed images, by all threads where there is much to do
    (n h w c), (g u q vc w), (k), (S T), (D E) -> (n i j k)
    """
    if TILED and z.size * packed.shape[1] * packed.shape[3] >= PARALLEL_FROM and threads() > 1:
        _images_parallel(x, packed, b, stride, dilation, z)
    else:
        for n in range(x.shape[0]):
            conv_image(x[n], packed, b, stride, dilation, z[n])


@njit_fast(parallel=True)
def _images_dx_parallel(dz, packed, stride, dilation, dx):
    """`conv_image_dx` of each image, in threads."""
    for n in prange(dz.shape[0]):
        conv_image_dx(dz[n], packed, stride, dilation, dx[n])


@njit_fast
def conv_dx_into(dz, packed, stride, dilation, dx):
    """`conv_dx` of framed images
    (n i j k), (g u v q k w), (S T), (D E) -> (n h w c)
    """
    _, U, V, _, K, _ = packed.shape
    if TILED and dx.size * U * V * K >= PARALLEL_FROM and threads() > 1:
        _images_dx_parallel(dz, packed, stride, dilation, dx)
    else:
        for n in range(dz.shape[0]):
            conv_image_dx(dz[n], packed, stride, dilation, dx[n])


@njit_fast
def _part_dw(dz, x, packed, stride, dilation, dw):
    """The sum over some of the images."""
    dw[:] = 0
    for n in range(dz.shape[0]):
        conv_image_dw(dz[n], x[n], packed, stride, dilation, dw)


@njit_fast(parallel=True)
def _parts_dw_parallel(dz, x, packed, stride, dilation, parts):
    """The sums over each part of the images, in threads."""
    N, M = dz.shape[0], parts.shape[0]
    for m in prange(M):
        first, last = m * N // M, (m + 1) * N // M
        _part_dw(dz[first:last], x[first:last], packed[m], stride, dilation, parts[m])


@njit_fast
def conv_dw_into(dz, x, packed, stride, dilation, parts, dw):
    """`conv_dw` of framed images; the sums of `parts` of the images are added in a fixed order
    (n i j k), (n h w c), (m g q ij w), (S T), (D E), (m g u vc k) -> (k c u v)
    """
    N, M = dz.shape[0], parts.shape[0]
    if TILED and M > 1 and threads() > 1:
        _parts_dw_parallel(dz, x, packed, stride, dilation, parts)
    else:
        for m in range(M):
            first, last = m * N // M, (m + 1) * N // M
            _part_dw(dz[first:last], x[first:last], packed[m], stride, dilation, parts[m])
    K, C, U, V = dw.shape
    share = parts.shape[4]
    for m in range(1, M):
        parts[0] += parts[m]
    for k in range(K):
        for c in range(C):
            for u in range(U):
                for v in range(V):
                    dw[k, c, u, v] = parts[0, k // share, u, v * C + c, k % share]


@njit_fast
def db_into(dz, db):
    """`conv_db`
    (n k) -> (k)
    """
    db[:] = 0
    for n in range(dz.shape[0]):
        for k in range(db.shape[0]):
            db[k] += dz[n, k]


@njit_fast
def pool_into(x, size, stride, y, at):
    """`pool_max` with channels last; `at` keeps which place of the window won
    (n h w c), (U V), (S T) -> (n i j c), (n i j c)
    """
    N, I, J, C = y.shape
    for n in range(N):
        for i in range(I):
            for j in range(J):
                best, won = y[n, i, j], at[n, i, j]
                first = x[n, i * stride[0], j * stride[1]]
                for c in range(C):
                    best[c], won[c] = first[c], 0
                for place in range(1, size[0] * size[1]):
                    u, v = place // size[1], place % size[1]
                    row = x[n, i * stride[0] + u, j * stride[1] + v]
                    for c in range(C):
                        more = (row[c] > best[c]) | (row[c] != row[c])
                        best[c] = row[c] if more else best[c]
                        won[c] = place if more else won[c]


@njit_fast
def pool_back_into(dy, at, size, stride, dx):
    """`pool_max_backward` from what `pool_into` kept
    (n i j c), (n i j c), (U V), (S T) -> (n h w c)
    """
    N, I, J, C = dy.shape
    apart = stride[0] >= size[0] and stride[1] >= size[1]
    zero = dx.dtype.type(0)
    if not apart or stride != size or I * size[0] < dx.shape[1] or J * size[1] < dx.shape[2]:
        dx[:] = 0
    for n in range(N):
        for i in range(I):
            for j in range(J):
                d, won = dy[n, i, j], at[n, i, j]
                for place in range(size[0] * size[1]):
                    u, v = place // size[1], place % size[1]
                    row = dx[n, i * stride[0] + u, j * stride[1] + v]
                    if apart:
                        for c in range(C):
                            row[c] = d[c] if won[c] == place else zero
                    else:
                        for c in range(C):
                            row[c] += d[c] if won[c] == place else zero


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
def average_back_into(dy, size, stride, dx):
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


# Public functions


class Gradients(NamedTuple):
    """Derivatives of a cost by what goes into a convolution."""

    dx: np.ndarray  # (n, c, h, w)
    dw: np.ndarray  # (k, c/G, u, v)
    db: np.ndarray  # (k,)


class Memory(NamedTuple):
    """Memory of the fast kernels for one shape of layer."""

    forth: np.ndarray  # filters in panels
    back: np.ndarray  # for the way back
    errors: np.ndarray  # errors in panels
    parts: np.ndarray  # sums over parts of the batch
    p: np.ndarray | None  # patches, where a row of a filter is short
    dp: np.ndarray | None


SHORT = 16  # numbers in a row of a filter; with fewer, patches are copied after all
TOGETHER = 4096  # places up to which the patches of all images make one matrix


def _heap(N, places):
    """Return how many matrices the patches make, and how many rows each has."""
    return (1, N * places) if N * places <= TOGETHER else (N, places)


def memory(framed: tuple, filters: tuple, out: tuple, groups: int, dtype) -> Memory:
    """Return the memory for a layer: shapes (n, h, w, c), (k, c/G, u, v) and (n, i, j, k)."""
    (N, _, wide, _), (K, C, U, V), (_, I, J, _) = framed, filters, out
    width, share = PANEL_BYTES // np.dtype(dtype).itemsize, K // groups
    parts = min(N, PARTS) if prod(out) * C * U * V >= PARALLEL_FROM else 1
    p = [None, None]
    if groups == 1 and V * C < SHORT:
        p = [aligned((N, I, J, U * V * C), dtype) for _ in "pd"]
        parts = min(parts, _heap(N, I * J)[0])
        J = min(N * I * J, max(I * J, TOGETHER))  # a smaller batch may go together where all do not
        C, U, V, I, wide = U * V * C, 1, 1, 1, 0
    q, back = -(-share // width), -(-C // width)
    return Memory(
        aligned((groups, U, q, V * C, width), dtype),
        aligned((groups, U, V, back, share, width), dtype),
        aligned((parts, groups, q, I * max(J, wide), width), dtype),
        aligned((parts, groups, U, V * C, share), dtype),
        *p,
    )


def forward(x, w, b, how, mem, z):
    """Apply a layer to framed images, channels last; `how` is (stride, dilation, groups)."""
    stride, dilation, G = how
    if mem.p is None:
        pack_filters(w, G, mem.forth)
        conv_into(x, mem.forth, b, stride, dilation, z)
        return
    (K, C, U, V), N = w.shape, len(x)
    p = mem.p[:N]
    gather_patches(x, U, V, stride, dilation, p)
    pack_filters(w.transpose(0, 2, 3, 1).reshape(K, U * V * C, 1, 1), G, mem.forth)
    heaps, rows = _heap(N, p.shape[1] * p.shape[2])
    flat, out = p.reshape(heaps, 1, rows, -1), z.reshape(heaps, 1, rows, K)
    conv_into(flat, mem.forth, b, ONE, ONE, out)


def backward(dz, x, w, how, mem, dx, dw, db):
    """Carry a gradient back through `forward`; where dx is None it is not computed."""
    (stride, dilation, G), (K, C, U, V), N = how, w.shape, len(x)
    db_into(dz.reshape(-1, K), db)
    if mem.p is None:
        conv_dw_into(dz, x, mem.errors, stride, dilation, mem.parts, dw)
        if dx is not None:
            pack_filters_back(w, G, mem.back)
            conv_dx_into(dz, mem.back, stride, dilation, dx)
        return
    p, turned = mem.p[:N], np.empty((K, U * V * C, 1, 1), w.dtype)
    heaps, rows = _heap(N, p.shape[1] * p.shape[2])
    errors, flat = dz.reshape(heaps, 1, rows, K), p.reshape(heaps, 1, rows, -1)
    gather_patches(x, U, V, stride, dilation, p)
    conv_dw_into(errors, flat, mem.errors, ONE, ONE, mem.parts, turned)
    dw[:] = turned.reshape(K, U, V, C).transpose(0, 3, 1, 2)
    if dx is not None:
        pack_filters_back(w.transpose(0, 2, 3, 1).reshape(turned.shape), G, mem.back)
        dp = mem.dp[:N]
        conv_dx_into(errors, mem.back, ONE, ONE, dp.reshape(flat.shape))
        scatter_patches(dp, U, V, stride, dilation, dx)


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
    return field_of(*lists.values())[0]


class _Plan(NamedTuple):
    """A layer's input after all checks, with channels last."""

    x: np.ndarray  # framed
    w: np.ndarray
    stride: tuple
    padding: tuple
    dilation: tuple
    groups: int
    out: tuple  # (n, i, j, k)

    @property
    def how(self):
        """Stride, dilation and groups, for `forward` and `backward`."""
        return self.stride, self.dilation, self.groups


def _framed(x, padding, value=0):
    """Return images with channels last and something around them."""
    rows, columns = padding
    around = ((0, 0), (rows, rows), (columns, columns), (0, 0))
    return np.ascontiguousarray(np.pad(x.transpose(0, 2, 3, 1), around, constant_values=value))


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
    return _Plan(_framed(x, padding), w, stride, padding, dilation, G, (N, I, J, K))


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

    Raises
    ------
    TypeError, ValueError
        If an argument is not what is described here, or the filter does not fit.
    """
    axes = shapes.Axes()
    plan = _plan(x, w, stride, padding, dilation, groups, axes)
    b = np.zeros(len(plan.w)) if b is None else axes.floats("b", b, "k", finite=False)
    mem = memory(plan.x.shape, plan.w.shape, plan.out, plan.groups, plan.x.dtype)
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
    dz = np.ascontiguousarray(dz.transpose(0, 2, 3, 1))
    mem = memory(plan.x.shape, plan.w.shape, plan.out, plan.groups, plan.x.dtype)
    dx, dw, db = np.empty_like(plan.x), np.empty_like(plan.w), np.empty(K, dz.dtype)
    backward(dz, plan.x, plan.w, plan.how, mem, dx, dw, db)
    return Gradients(_first(_inside(dx, plan.padding)), dw, db)


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


def max_pool2d(x, size, *, stride=None, padding=0) -> np.ndarray:
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


def max_pool2d_backward(dy, x, size, *, stride=None, padding=0) -> np.ndarray:
    """Return the derivative of a cost by the input of `max_pool2d`.

    Where several numbers of a window are largest, the first of them, row by row, gets it all.

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
    pool_back_into(_errors(dy, out, x.dtype, axes), at, size, stride, dx)
    return _first(_inside(dx, padding))


def _errors(dy, out, dtype, axes):
    """Return the checked derivative by the output of a pooling layer, channels last."""
    axes.sizes["i"], axes.sizes["j"] = (out[1], "the pooled x"), (out[2], "the pooled x")
    dy = axes.floats("dy", dy, "n c i j", finite=False).astype(dtype)
    return np.ascontiguousarray(dy.transpose(0, 2, 3, 1))


def avg_pool2d(x, size, *, stride=None, padding=0) -> np.ndarray:
    """Return the mean of each window, channel by channel; padding counts as zeros.

    Parameters, results and errors are those of `max_pool2d`.
    """
    x, size, stride, _, out = _windows(x, size, stride, padding, 0, shapes.Axes())
    y = np.empty(out, x.dtype)
    average_into(x, size, stride, y)
    return _first(y)


def avg_pool2d_backward(dy, x, size, *, stride=None, padding=0) -> np.ndarray:
    """Return the derivative of a cost by the input of `avg_pool2d`.

    Parameters, results and errors are those of `max_pool2d_backward`.
    """
    axes = shapes.Axes()
    x, size, stride, padding, out = _windows(x, size, stride, padding, 0, axes)
    dx = np.empty_like(x)
    average_back_into(_errors(dy, out, x.dtype, axes), size, stride, dx)
    return _first(_inside(dx, padding))


def im2col(x, size, *, stride=1, padding=0, dilation=1) -> np.ndarray:
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


# A network to train


class Filters(NamedTuple):
    """Parameters of a `CNN`, or their gradients; all are views of ``flat``."""

    flat: np.ndarray
    w: tuple  # w[l], filters of block l = 0, 1, …, of shape (k, c, u, v)
    b: tuple  # b[l], of shape (k,)
    top: np.ndarray  # weights of the output layer, (classes, features)
    bias: np.ndarray  # (classes,)


class Block(NamedTuple):
    """The memory of one block, channels last, for the largest batch."""

    x: np.ndarray  # what comes in, framed with zeros
    a: np.ndarray  # after the rectifier
    y: np.ndarray | None  # after pooling, where there is any
    at: np.ndarray | None  # which place of each window won
    da: np.ndarray
    dx: np.ndarray  # framed
    dy: np.ndarray | None
    step: Memory


class Work(NamedTuple):
    """The memory of a step."""

    blocks: list  # of Block
    features: np.ndarray  # what the output layer gets
    at: np.ndarray  # where a feature was largest
    slope: np.ndarray  # derivative by the features
    z: np.ndarray  # scores
    panels: np.ndarray


@njit_fast
def place_images(x, side, move, framed):
    """Copy flat images into the middle of framed ones, each moved by some pixels; zero elsewhere
    (n hw), (), (n 2) -> (n h+2p w+2p 1)
    """
    H, rim = x.shape[1] // side, (framed.shape[2] - side) // 2
    for n in range(x.shape[0]):
        framed[n] = 0
        down, right = move[n, 0], move[n, 1]
        for h in range(max(0, -down), min(H, H - down)):
            for w in range(max(0, -right), min(side, side - right)):
                framed[n, rim + h + down, rim + w + right, 0] = x[n, h * side + w]


@njit_fast
def rectify_all(a):
    """max(0, a), in place; NaN stays NaN"""
    zero = a.dtype.type(0)
    for n in range(a.shape[0]):
        for i in range(a.shape[1]):
            for j in range(a.shape[2]):
                row = a[n, i, j]
                for k in range(row.size):
                    row[k] = zero if row[k] < zero else row[k]


@njit_fast
def rectify_back(a, da):
    """da becomes ∂C/∂z: zero where the rectifier was shut"""
    zero = a.dtype.type(0)
    for n in range(a.shape[0]):
        for i in range(a.shape[1]):
            for j in range(a.shape[2]):
                row, d = a[n, i, j], da[n, i, j]
                for k in range(row.size):
                    d[k] = d[k] if row[k] > zero else zero


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
def largest_back(slope, at, dy):
    """The way back of `largest_of_all`
    (n c), (n c) -> (n h w c)
    """
    dy[:] = 0
    for n in range(dy.shape[0]):
        for c in range(dy.shape[3]):
            dy[n, at[n, c] // dy.shape[2], at[n, c] % dy.shape[2], c] = slope[n, c]


@dataclass(frozen=True)
class CNN:
    """Blocks of 3 × 3 convolution, rectifier and 2 × 2 max pooling, then one dense layer.

    Parameters
    ----------
    side : int
        Rows and columns of the square images, which come in as rows of side² numbers.
    channels : sequence of int
        Filters of each block. A frame of zeros keeps the size through the convolution.
    pools : sequence of bool
        Whether a block ends with pooling.
    head : {"flat", "max"}
        What the dense layer gets: all numbers of the last block, or the largest of each channel.
    classes : int
        Outputs.
    shift : int
        In training each image is moved by up to so many pixels, drawn anew for each axis.
    dtype : {"float32", "float64"}
        Of parameters and data.

    Raises
    ------
    TypeError, ValueError
        If one of them is not what is described here.
    """

    side: int = 8
    channels: tuple[int, ...] = (32, 64)
    pools: tuple[bool, ...] = (True, False)
    head: str = "flat"
    classes: int = 10
    shift: int = 0
    dtype: str = "float32"

    def __post_init__(self):
        """Check all of them at once."""
        shapes.count("side", self.side)
        shapes.count("classes", self.classes, least=2)
        shapes.count("shift", self.shift, least=0, most=self.side)
        shapes.choice("head", self.head, ("flat", "max"))
        shapes.choice("dtype", self.dtype, ("float32", "float64"))
        if not isinstance(self.channels, Sequence) or not len(self.channels):
            raise ValueError(
                f"channels is {self.channels!r}, expected one number or more: (32, 64)"
            )
        found = tuple(shapes.count(f"channels[{i}]", k) for i, k in enumerate(self.channels))
        object.__setattr__(self, "channels", found)
        if not isinstance(self.pools, Sequence) or len(self.pools) != len(found):
            raise ValueError(f"pools is {self.pools!r}, expected one truth value for each block")
        object.__setattr__(self, "pools", tuple(map(bool, self.pools)))
        if self.sides[-1] < 1:
            raise ValueError(
                f"pools has {sum(self.pools)} true values, too many for {self.side} pixels"
            )

    @property
    def sides(self) -> tuple[int, ...]:
        """Rows and columns of what goes into each block, and of what leaves the last."""
        found = [self.side]
        for pooled in self.pools:
            found.append(found[-1] // 2 if pooled else found[-1])
        return tuple(found)

    def _filters(self):
        """Return parameters that are all zero."""
        places = self.sides[-1] ** 2 if self.head == "flat" else 1
        features, blocks = self.channels[-1] * places, itertools.pairwise((1, *self.channels))
        sizes = [s for c, k in blocks for s in ((k, c, 3, 3), (k,))]
        sizes += [(self.classes, features), (self.classes,)]
        flat = np.zeros(sum(map(prod, sizes)), self.dtype)
        *cut, top, bias = cut_up(flat, sizes)
        return Filters(flat, tuple(cut[::2]), tuple(cut[1::2]), top, bias)

    def init(self, rng: np.random.Generator) -> Filters:
        """Draw the first parameters: He's variance, biases zero."""
        shapes.generator("rng", rng)
        params = self._filters()
        for w in (*params.w, params.top):
            w[:] = he(w.shape, rng)
        return params

    def start(self) -> None:
        """Return None: there are no running statistics."""

    def check(self, params: Filters, data: tuple) -> tuple[np.ndarray, np.ndarray]:
        """Return images (n, side²) and labels (n,), checked and of the dtype of the parameters."""
        if not isinstance(data, tuple) or len(data) != 2:
            raise TypeError("data is not a pair of images and labels, (x, y)")
        axes = shapes.Axes()
        return self._images(axes, data[0]), axes.labels("y", data[1], "n", self.classes)

    def _images(self, axes, x):
        """Return checked images."""
        axes.sizes["p"] = (self.side**2, "side²")
        return axes.floats("x", x, "n p").astype(self.dtype)

    def workspace(self, batch: int) -> Work:
        """Return the memory for steps of at most `batch` images."""
        N, dtype = shapes.count("batch", batch), np.dtype(self.dtype)
        blocks, C = [], 1
        for K, pooled, H, I in zip(
            self.channels, self.pools, self.sides, self.sides[1:], strict=False
        ):
            framed, inner, out = (N, H + 2, H + 2, C), (N, H, H, K), (N, I, I, K)
            pool = [aligned(out, t) if pooled else None for t in (dtype, np.int32, dtype)]
            blocks.append(
                Block(
                    *(aligned(size, dtype) for size in (framed, inner)),
                    *pool[:2],
                    *(aligned(size, dtype) for size in (inner, framed)),
                    pool[2],
                    memory(framed, (K, C, 3, 3), inner, 1, dtype),
                )
            )
            C = K
        features = C * (I * I if self.head == "flat" else 1)
        width = PANEL_BYTES // dtype.itemsize
        most = max(features, self.classes)
        panels = aligned(((most + width) * max(most, N),), dtype)
        pair = (aligned((N, features), dtype) for _ in range(2))
        kept, scores = aligned((N, features), np.int64), aligned((N, self.classes), dtype)
        return Work(blocks, next(pair), kept, next(pair), scores, panels)

    def _up(self, params, x, work, move):
        """Fill the workspace from below; returns the scores."""
        N = len(x)
        place_images(x, self.side, move, work.blocks[0].x[:N])
        for l, (w, b, block) in enumerate(zip(params.w, params.b, work.blocks, strict=True)):
            a = block.a[:N]
            forward(block.x[:N], w, b, (ONE, ONE, 1), block.step, a)
            rectify_all(a)
            y = a
            if block.y is not None:
                y = block.y[:N]
                pool_into(a, (2, 2), (2, 2), y, block.at[:N])
            if l + 1 < len(work.blocks):
                frame_into(y, 1, 1, work.blocks[l + 1].x[:N])
        features, z = work.features[:N], work.z[:N]
        if self.head == "max":
            largest_of_all(y, features, work.at[:N])
        else:
            features[:] = y.reshape(N, -1)
        dense_into(features, params.top, params.bias, work.panels, z)
        return z

    def loss_and_grad(self, params, state, batch, grads, work, rng) -> float:
        """Return the mean cross-entropy of a batch and fill `grads`.

        Parameters
        ----------
        params, grads : Filters
            The network, and where its gradient goes.
        state : None
            There is none.
        batch : tuple (x, y)
            As `check` returns them; trusted.
        work : Work
            For at least as many images.
        rng : numpy.random.Generator or None
            Draws how far each image is moved.
        """
        x, y = batch
        N = len(x)
        move = np.zeros((N, 2), np.int64)
        if self.shift:
            move = rng.integers(-self.shift, self.shift, size=(N, 2), endpoint=True)
        delta = self._up(params, x, work, move)
        loss = softmax_cross_entropy_into(delta, y)
        slope = work.slope[:N]
        dense_backward_into(delta, work.features[:N], work.panels, grads.top, grads.bias)
        dense_input_into(delta, params.top, work.panels, slope)
        last = work.blocks[-1]
        d = (last.da if last.dy is None else last.dy)[:N]
        if self.head == "max":
            largest_back(slope, work.at[:N], d)
        else:
            d[:] = slope.reshape(d.shape)
        for l in range(len(work.blocks) - 1, -1, -1):
            d = self._down(l, d, params, grads, work, N)
        return loss

    def _down(self, l, d, params, grads, work, N):
        """Carry the gradient from the output of block l to that of the block below."""
        block = work.blocks[l]
        a, da, x = block.a[:N], block.da[:N], block.x[:N]
        if block.dy is not None:
            pool_back_into(d, block.at[:N], (2, 2), (2, 2), da)
        rectify_back(a, da)
        dx = block.dx[:N] if l else None
        backward(da, x, params.w[l], (ONE, ONE, 1), block.step, dx, grads.w[l], grads.b[l])
        if l == 0:
            return None
        below = work.blocks[l - 1]
        into = (below.da if below.dy is None else below.dy)[:N]
        into[:] = dx[:, 1:-1, 1:-1]
        return into

    def maps(self, params: Filters, x: ArrayLike) -> list[np.ndarray]:
        """Return what each block sees in images: its feature maps before pooling.

        Parameters
        ----------
        params : Filters
            The network.
        x : array_like, shape (n, side²)
            Images.

        Returns
        -------
        list of ndarray, shape (n, k, h, w)
        """
        x = self._images(shapes.Axes(), x)
        work = self.workspace(len(x))
        self._up(params, x, work, np.zeros((len(x), 2), np.int64))
        return [_first(block.a) for block in work.blocks]

    def scores(self, params: Filters, x: np.ndarray) -> np.ndarray:
        """Return the scores (n, classes) of checked images."""
        some, found = 256, []
        work, still = self.workspace(min(len(x), some)), np.zeros((some, 2), np.int64)
        for first in range(0, len(x), some):
            part = x[first : first + some]
            found.append(self._up(params, part, work, still[: len(part)]).copy())
        return np.concatenate(found)

    def layers(self, params, state, batch) -> Iterator[tuple[str, np.ndarray]]:
        """Yield the name of each layer's weights and what the layer gives, in inference."""
        for l, a in enumerate(self.maps(params, batch[0])):
            yield f"w[{l}]", a
        yield "top", self.scores(params, batch[0])

    def loss(self, params: Filters, state: None, batch: tuple) -> float:
        """Return the mean cross-entropy of checked data, in inference."""
        return float(softmax_cross_entropy_into(self.scores(params, batch[0]), batch[1]))

    def predict(self, params: Filters, state: None, x: ArrayLike) -> np.ndarray:
        """Return the most probable class of each image, in inference.

        Parameters
        ----------
        params : Filters
            The network.
        state : None
            There is none.
        x : array_like, shape (n, side²)
            Images.

        Returns
        -------
        ndarray of int64, shape (n,)
        """
        return np.argmax(self.scores(params, self._images(shapes.Axes(), x)), axis=1)
