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

from collections.abc import Sequence
from math import prod
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from dlbook.matmul import PANEL_BYTES, multiply, pack
from dlbook.tools import shapes
from dlbook.tools.jit import njit, njit_fast
from dlbook.tools.simd import aligned, any_layout
from dlbook.tools.threads import in_threads

__all__ = [
    "Gradients",
    "Patches",
    "Winograd",
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
    "conv_dx",
    "conv_lines",
    "conv_lines_backward",
    "conv_parameters",
    "convolve",
    "correlate",
    "db_into",
    "dense_parameters",
    "error_values",
    "field_of",
    "filter_values",
    "filter_values_back",
    "flip",
    "forward",
    "gather_patches",
    "gradient_of_copies",
    "im2col",
    "input_values",
    "largest_back",
    "largest_of_all",
    "max_pool2d",
    "max_pool2d_backward",
    "memory",
    "multichannel",
    "output_size",
    "output_values",
    "pack_filters",
    "pack_values",
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
    "scatter_patches",
    "shared_gradient",
    "size_after",
    "toeplitz",
    "translate",
    "unpack_values",
    "winograd_lines",
    "winograd_lines_dw",
]

Sizes = int | tuple[int, int]  # one number for both axes of an image, or one for each

WORTH = 16_000_000  # multiply-adds for which it is worth to start another thread
ONE = (1, 1)
SAME = (ONE, ONE, ONE, 1)  # stride, padding and dilation of one, in one group
POINTWISE = (1, 1, 1, 1, 0, 0, 1, 1)  # a 1 × 1 filter on every pixel
PARTS = 4  # of a large batch, for the sum over images
ROWS_AT_ONCE, TILES = 128, 1800  # patches, and tiles of Winograd's times channels, for the cache
FEW = 8  # channels below which Winograd's form does not pay
UNSIGNED = np.uintp
TWO, FOUR, FIVE, EIGHT = (np.float32(n) for n in (2, 4, 5, 8))
HALF, FOURTH, SIXTH = (np.float32(1 / n) for n in (2, 4, 6))

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
def field_of(F, S, D):
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
    """(convolution-conv)  z_nkij = b_k + Σ_cuv w_kcuv x_n,gC+c,iS+uD,jT+vE, g = ⌊kG/K⌋
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


# The layer, fast: channels last, and every sum a product of matrices
#
# What all kernels here share: images lie as (n, h, w, c); the frame of zeros is never stored; the
# filters are packed in panels for the register tile, once in a call; the batch is cut into a fixed
# number of parts, each with workspace of its own, so that any number of threads gives the same
# bits. A line is one row of one image. `how` is (U, V, S, T, P, Q, D, E): the size of the filter,
# strides, padding, dilations.


@njit_fast
def _reach(size, start, step, count):
    """Which of j = 0 … count − 1 have 0 ≤ start + j · step < size: from the first to the second."""
    first = min(count, max(0, -(start // step)))
    return first, max(first, min(count, (size - 1 - start) // step + 1))


@njit_fast
def db_into(dz, db):
    """`conv_db`
    (n k) -> (k)
    """
    db[:] = 0
    for n in range(dz.shape[0]):
        row = dz[n]
        for k in range(db.size):
            db[k] += row[k]


@njit_fast
def gather_patches(x, channel, line, how, J, p):
    """Rows (m, j) of `patches` for the lines m from `line` on, of channels from `channel` on
    (n h w c), (), (), (8), () -> (mj uvc)
    """
    (U, V, S, T, P, Q, D, E), (_, H, W, _) = how, x.shape
    I, C = size_after(H, U, S, P, D), p.shape[1] // (U * V)
    for m in range(p.shape[0] // J):
        n, i = (line + m) // I, (line + m) % I
        rows = p[m * J : (m + 1) * J]
        for u in range(U):
            h = i * S + u * D - P
            for v in range(V):
                at, start = (u * V + v) * C, v * E - Q
                first, last = _reach(W if 0 <= h < H else 0, start, T, J)
                if first > 0 or last < J:
                    rows[:first, at : at + C] = 0
                    rows[last:, at : at + C] = 0
                if first == last:
                    continue
                image = x[n, h]
                if C == 1:
                    for j in range(first, last):
                        rows[j, at] = image[start + j * T, channel]
                else:
                    for j in range(first, last):
                        place = rows[j][at : at + C]
                        pixel = image[start + j * T][channel : channel + C]
                        for c in range(C):
                            place[c] = pixel[c]


@njit_fast
def scatter_patches(dp, channel, line, how, J, dx):
    """The way back of `gather_patches`: each number is added where it was read
    (mj uvc), (), (), (8), () -> (n h w c)
    """
    (U, V, S, T, P, Q, D, E), (_, H, W, _) = how, dx.shape
    I, C = size_after(H, U, S, P, D), dp.shape[1] // (U * V)
    for m in range(dp.shape[0] // J):
        n, i = (line + m) // I, (line + m) % I
        rows = dp[m * J : (m + 1) * J]
        for u in range(U):
            h = i * S + u * D - P
            for v in range(V):
                at, start = (u * V + v) * C, v * E - Q
                first, last = _reach(W if 0 <= h < H else 0, start, T, J)
                if first == last:
                    continue
                image = dx[n, h]
                if C == 1:
                    for j in range(first, last):
                        image[start + j * T, channel] += rows[j, at]
                else:
                    for j in range(first, last):
                        place = rows[j][at : at + C]
                        pixel = image[start + j * T][channel : channel + C]
                        for c in range(C):
                            pixel[c] += place[c]


@njit_fast
def pack_filters(w, forth, back):
    """Filters as a matrix of rows (u, v, c), in panels, and turned
    (k c u v) -> (g q uvc w), (g q k/g w)
    """
    (_, C, U, V), (G, _, share, width) = w.shape, back.shape
    forth[:], back[:] = 0, 0
    for g in range(G):
        for k in range(share):
            for u in range(U):
                for v in range(V):
                    for c in range(C):
                        here, r = w[g * share + k, c, u, v], (u * V + v) * C + c
                        forth[g, k // width, r, k % width] = here
                        back[g, r // width, k, r % width] = here


@njit_fast
def _matrix(x, g, line, lines, how, J, p):
    """The patches of some lines; of a 1 × 1 filter they are the image as it lies."""
    if how == POINTWISE and p.shape[1] == x.shape[3]:
        return x.reshape(-1, p.shape[1])[line * J : (line + lines) * J]
    gather_patches(x, g * p.shape[1] // (how[0] * how[1]), line, how, J, p[: lines * J])
    return p[: lines * J]


@njit_fast
def conv_lines(x, forth, b, how, m, M, p, z):
    """`conv` for part m of M: patches times filters
    (n h w c), (g q uvc w), (k), (8), (), (), (r uvc) -> (n i j k)
    """
    (N, I, J, K), G = z.shape, forth.shape[0]
    first, last, most = m * N // M * I, (m + 1) * N // M * I, p.shape[0] // J
    for line in range(first, last, most):
        lines = min(most, last - line)
        some = z.reshape(-1, K)[line * J : (line + lines) * J]
        for r in range(some.shape[0]):
            some[r] = b
        for g in range(G):
            a, c = _matrix(x, g, line, lines, how, J, p), some[:, g * K // G : (g + 1) * K // G]
            multiply(any_layout(a), forth[g], any_layout(c), True)


@njit_fast
def conv_lines_backward(dz, x, back, how, m, M, p, errors, dx, dw):
    """`conv_dw` and, if dx is not empty, `conv_dx` for part m of M
    (n i j k), (n h w c), (g q k/g w), (8), (), (), (r uvc), (qrw) -> (n h w c), (g uvc k/g)
    """
    (N, I, J, K), G, width = dz.shape, dw.shape[0], back.shape[3]
    first, last, most = m * N // M * I, (m + 1) * N // M * I, p.shape[0] // J
    panels, whole = -(-K // (G * width)), how == POINTWISE and G == 1
    dw[:] = 0
    if dx.size and not whole:
        dx[m * N // M : (m + 1) * N // M] = 0
    for line in range(first, last, most):
        R, g_width = min(most, last - line) * J, K // G
        packed = errors[: panels * R * width].reshape(panels, R, width)
        for g in range(G):
            some = dz.reshape(-1, K)[line * J : line * J + R, g * g_width : (g + 1) * g_width]
            a = _matrix(x, g, line, R // J, how, J, p)
            if G == 1:
                pack(dz.reshape(-1, K)[line * J : line * J + R], packed)  # whole rows: faster
            else:
                pack(any_layout(some), packed)
            multiply(any_layout(a.T), packed, any_layout(dw[g]), True)
            if whole and dx.size:
                dp = dx.reshape(-1, p.shape[1])[line * J : line * J + R]
                multiply(any_layout(some), back[g], any_layout(dp), False)
            elif dx.size:
                multiply(any_layout(some), back[g], any_layout(p[:R]), False)
                at = g * p.shape[1] // (how[0] * how[1])
                scatter_patches(p[:R], at, line, how, J, dx)


@njit_fast
def conv_lines_input(dz, back, how, m, M, p, dx):
    """`conv_dx` alone, for part m of M
    (n i j k), (g q k/g w), (8), (), (), (r uvc) -> (n h w c)
    """
    (N, I, J, K), G = dz.shape, back.shape[0]
    first, last, most = m * N // M * I, (m + 1) * N // M * I, p.shape[0] // J
    dx[m * N // M : (m + 1) * N // M] = 0
    for line in range(first, last, most):
        R = min(most, last - line) * J
        for g in range(G):
            some = dz.reshape(-1, K)[line * J : line * J + R, g * K // G : (g + 1) * K // G]
            multiply(any_layout(some), back[g], any_layout(p[:R]), False)
            scatter_patches(p[:R], g * p.shape[1] // (how[0] * how[1]), line, how, J, dx)


# 3 × 3 filters with fewer multiplications (Winograd, see the page)
#
# Four outputs of a filter of three need twelve multiplications, or six: as polynomials through six
# points, 0, 1, −1, 2, −2 and ∞, both are multiplied point by point. In two dimensions 36 products
# stand for 144. Each of the five matrices below is applied along one axis, to whole rows of
# numbers: x and y lie flat, their operands from place p or q on and s or t numbers apart.


@njit_fast
def _at(first, i, step, n):
    """Where number n of operand i lies. Unsigned: Numba need not ask if it counts from the end."""
    return UNSIGNED(first) + UNSIGNED(i) * UNSIGNED(step) + n


@njit_fast
def input_values(x, p, s, y, q, t, size):
    """y = Bᵀ x: six inputs, at six points."""
    for n in range(UNSIGNED(size)):
        a, b, c = x[_at(p, 0, s, n)], x[_at(p, 1, s, n)], x[_at(p, 2, s, n)]
        d, e, f = x[_at(p, 3, s, n)], x[_at(p, 4, s, n)], x[_at(p, 5, s, n)]
        even, odd, half, twice = e - FOUR * c, d - FOUR * b, e - c, TWO * (d - b)
        y[_at(q, 0, t, n)] = FOUR * a - FIVE * c + e
        y[_at(q, 1, t, n)] = even + odd
        y[_at(q, 2, t, n)] = even - odd
        y[_at(q, 3, t, n)] = half + twice
        y[_at(q, 4, t, n)] = half - twice
        y[_at(q, 5, t, n)] = FOUR * b - FIVE * d + f


@njit_fast
def output_values(y, p, s, z, q, t, size, extra):
    """z = Aᵀ y: four outputs from the products at six points; `extra` is added to the second."""
    for n in range(UNSIGNED(size)):
        a, b, c = y[_at(p, 0, s, n)], y[_at(p, 1, s, n)] + extra[n], y[_at(p, 2, s, n)]
        d, e, f = y[_at(p, 3, s, n)], y[_at(p, 4, s, n)], y[_at(p, 5, s, n)]
        near, far, slope, steep = b + c, d + e, b - c, d - e
        z[_at(q, 0, t, n)] = a + near + far
        z[_at(q, 1, t, n)] = slope + TWO * steep
        z[_at(q, 2, t, n)] = near + FOUR * far
        z[_at(q, 3, t, n)] = slope + EIGHT * steep + f


@njit_fast
def error_values(dz, p, s, y, q, t, size):
    """y = A dz: the way back of `output_values`."""
    for n in range(UNSIGNED(size)):
        a, b = dz[_at(p, 0, s, n)], dz[_at(p, 1, s, n)]
        c, d = dz[_at(p, 2, s, n)], dz[_at(p, 3, s, n)]
        even, odd, far, steep = a + c, b + d, a + FOUR * c, TWO * b + EIGHT * d
        y[_at(q, 0, t, n)] = a
        y[_at(q, 1, t, n)] = even + odd
        y[_at(q, 2, t, n)] = even - odd
        y[_at(q, 3, t, n)] = far + steep
        y[_at(q, 4, t, n)] = far - steep
        y[_at(q, 5, t, n)] = d


@njit_fast
def filter_values(w, p, s, y, q, t, size):
    """y = G w: three weights, at six points."""
    for n in range(UNSIGNED(size)):
        a, b, c = w[_at(p, 0, s, n)], w[_at(p, 1, s, n)], w[_at(p, 2, s, n)]
        near, far = -SIXTH * (a + c), FOURTH * SIXTH * a + SIXTH * c
        y[_at(q, 0, t, n)] = FOURTH * a
        y[_at(q, 1, t, n)] = near - SIXTH * b
        y[_at(q, 2, t, n)] = near + SIXTH * b
        y[_at(q, 3, t, n)] = far + HALF * SIXTH * b
        y[_at(q, 4, t, n)] = far - HALF * SIXTH * b
        y[_at(q, 5, t, n)] = c


@njit_fast
def filter_values_back(dy, p, s, dw, q, t, size):
    """dw = Gᵀ dy: the way back of `filter_values`."""
    for n in range(UNSIGNED(size)):
        a, b, c = dy[_at(p, 0, s, n)], dy[_at(p, 1, s, n)], dy[_at(p, 2, s, n)]
        d, e, f = dy[_at(p, 3, s, n)], dy[_at(p, 4, s, n)], dy[_at(p, 5, s, n)]
        near, far = b + c, d + e
        dw[_at(q, 0, t, n)] = FOURTH * a - SIXTH * near + FOURTH * SIXTH * far
        dw[_at(q, 1, t, n)] = SIXTH * (c - b) + HALF * SIXTH * (d - e)
        dw[_at(q, 2, t, n)] = SIXTH * (far - near) + f


@njit_fast
def _rows_into(x, n, first, count, margin, strip):
    """Copy rows of an image into a strip, zero where there is none and to the left and right."""
    _, H, W, C = x.shape
    wide, rows = strip.size // count, x.reshape(-1, W * C)
    for r in range(count):
        row, h = strip[r * wide : (r + 1) * wide], first + r
        if 0 <= h < H:
            row[: margin * C] = 0
            row[margin * C : (margin + W) * C] = rows[n * H + h]
            row[(margin + W) * C :] = 0
        else:
            row[:] = 0


@njit_fast
def pack_values(w, back, room, packed):
    """Filters at 36 points, in panels: rows c and columns k, or turned round and the other way
    (k c 3 3), (), (numbers) -> (36 q c w) or (36 q k w)
    """
    (K, C), (_, Q, R, width) = w.shape[:2], packed.shape
    size = Q * R * width
    nine, some, flat = room[: 9 * size], room[9 * size : 27 * size], packed.reshape(-1)
    nine[:] = 0
    for k in range(K):
        for c in range(C):
            row, column = (k, c) if back else (c, k)
            at = (column // width * R + row) * width + column % width
            for u in range(3):
                for v in range(3):
                    place = 8 - 3 * u - v if back else 3 * u + v
                    nine[place * size + at] = w[k, c, u, v]
    filter_values(nine, 0, 3 * size, some, 0, 3 * size, 3 * size)
    for i in range(6):
        filter_values(some, 3 * i * size, size, flat, 6 * i * size, size, size)


@njit_fast
def _input_line(x, m, P, Q, TH, TW, T, at, strip, lines, values):
    """Values of line m of tiles, the first of them to be tile `at` of T."""
    C = x.shape[3]
    wide = (4 * TW + 2) * C
    _rows_into(x, m // TH, 4 * (m % TH) - P, 6, Q, strip[: 6 * wide])
    input_values(strip, 0, wide, lines, 0, wide, wide)
    for t in range(TW):
        for i in range(6):
            place = (6 * i * T + at + t) * C
            input_values(lines, i * wide + 4 * t * C, C, values, place, T * C, C)


@njit_fast
def _output_line(sums, m, TH, TW, T, at, b, none, lines, strip, z):
    """Outputs of line m of tiles."""
    _, I, J, K = z.shape
    wide, n, row = 4 * TW * K, m // TH, 4 * (m % TH)
    for t in range(TW):
        for i in range(6):
            place = i * wide + 4 * t * K
            bias = b if i == 1 else none  # the second point is 1: it reaches all four
            output_values(sums, (6 * i * T + at + t) * K, T * K, lines, place, K, K, bias)
    rows = z.reshape(-1, J * K)[n * I + row : n * I + min(row + 4, I)]
    output_values(lines, 0, wide, strip, 0, J * K, J * K, none)
    for r in range(rows.shape[0]):
        rows[r] = strip[r * J * K : (r + 1) * J * K]


@njit_fast
def _error_line(dz, m, TH, TW, T, at, strip, lines, width, values):
    """Errors of line m of tiles at 36 points, in panels."""
    K = dz.shape[3]
    wide, panels = 4 * TW * K, -(-K // width)
    _rows_into(dz, m // TH, 4 * (m % TH), 4, 0, strip[: 4 * wide])
    error_values(strip, 0, wide, lines, 0, wide, wide)
    for t in range(TW):
        for i in range(6):
            for q in range(panels):
                place = ((6 * i * panels + q) * T + at + t) * width
                some, size = i * wide + 4 * t * K + q * width, min(width, K - q * width)
                error_values(lines, some, K, values, place, panels * T * width, size)


@njit_fast
def winograd_lines(x, filters, b, none, P, Q, m, M, most, strip, lines, values, sums, z):
    """`conv` of 3 × 3 filters for part m of M, `most` lines of tiles at a time
    (n h w c), (36 q c w), (k), … -> (n i j k)
    """
    C, (N, I, J, K) = x.shape[3], z.shape
    TH, TW = (I + 3) // 4, (J + 3) // 4
    last = (m + 1) * N // M * TH
    for line in range(m * N // M * TH, last, most):
        count = min(most, last - line)
        T = count * TW
        v, s = values[: 36 * T * C].reshape(36, T, C), sums[: 36 * T * K].reshape(36, T, K)
        for r in range(count):
            _input_line(x, line + r, P, Q, TH, TW, T, r * TW, strip, lines, values)
        for point in range(36):
            multiply(any_layout(v[point]), filters[point], any_layout(s[point]), False)
        for r in range(count):
            _output_line(sums, line + r, TH, TW, T, r * TW, b, none, lines, strip, z)


@njit_fast
def winograd_lines_dw(dz, x, P, Q, m, M, most, width, strip, lines, values, errors, dw):
    """`conv_dw` at 36 points for part m of M
    (n i j k), (n h w c), … -> (36 c k)
    """
    C, (N, I, J, K) = x.shape[3], dz.shape
    TH, TW, panels = (I + 3) // 4, (J + 3) // 4, -(-K // width)
    last = (m + 1) * N // M * TH
    dw[:] = 0
    for line in range(m * N // M * TH, last, most):
        count = min(most, last - line)
        T = count * TW
        v = values[: 36 * T * C].reshape(36, T, C)
        e = errors[: 36 * panels * T * width].reshape(36, panels, T, width)
        for r in range(count):
            _input_line(x, line + r, P, Q, TH, TW, T, r * TW, strip, lines, values)
            _error_line(dz, line + r, TH, TW, T, r * TW, strip, lines, width, errors)
        for point in range(36):
            multiply(any_layout(v[point].T), e[point], any_layout(dw[point]), True)


@njit_fast
def unpack_values(values, room, dw):
    """Gradients of filters from those at 36 points: the way back of `pack_values`
    (36 c k) -> (k c 3 3)
    """
    K, C = dw.shape[:2]
    size = C * K
    flat, some, nine = values.reshape(-1), room[: 18 * size], room[18 * size : 27 * size]
    for i in range(6):
        filter_values_back(flat, 6 * i * size, size, some, 3 * i * size, size, size)
    filter_values_back(some, 0, 3 * size, nine, 0, 3 * size, 3 * size)
    for k in range(K):
        for c in range(C):
            for u in range(3):
                for v in range(3):
                    dw[k, c, u, v] = nine[(3 * u + v) * size + c * K + k]


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


class Patches(NamedTuple):
    """Memory of the fast kernels for one layer, the batch in m parts."""

    forth: np.ndarray  # filters in panels, (g, q, uvc, w)
    back: np.ndarray  # turned, (g, q, k/g, w)
    p: np.ndarray  # patches, (m, r, uvc)
    errors: np.ndarray  # in panels, (m, qrw)
    sums: np.ndarray  # of each part, (m, g, uvc, k/g)


class Winograd(NamedTuple):
    """Memory of the fast kernels for one layer of 3 × 3 filters, the batch in m parts."""

    most: int  # lines of tiles at a time
    forth: np.ndarray  # filters at 36 points in panels, (36, q, c, w)
    back: np.ndarray  # turned round, (36, q, k, w)
    room: np.ndarray  # for filters on their way
    none: np.ndarray  # zeros
    strip: np.ndarray  # rows of an image, framed, (m, …)
    lines: np.ndarray  # the same at six points
    values: np.ndarray  # images at 36 points
    sums: np.ndarray  # outputs at 36 points
    errors: np.ndarray  # errors at 36 points in panels
    parts: np.ndarray  # gradients of each part, (m, 36, c, k)


def memory(images: tuple, filters: tuple, out: tuple, how: tuple, dtype) -> Patches | Winograd:
    """Return the memory for a layer.

    Parameters
    ----------
    images, filters, out : tuple of int
        Shapes (n, h, w, c), (k, c / groups, u, v) and (n, i, j, k), for the largest batch.
    how : tuple
        (stride, padding, dilation, groups), the first three pairs.
    dtype : numpy dtype
        Of all of it.

    Returns
    -------
    Patches or Winograd
        The latter where 3 × 3 filters have 8 channels or more on both sides and float32 numbers.
    """
    (N, H, W, C), (K, M, U, V), (_, I, J, _) = images, filters, out
    (stride, padding, dilation, G), dtype = how, np.dtype(dtype)
    width, share = PANEL_BYTES // dtype.itemsize, K // G
    m = max(1, min(N, PARTS, prod(out) * M * U * V // WORTH))
    once = stride == dilation == ONE and G == 1 and (U, V) == (3, 3) and max(padding) <= 2
    if once and min(C, K) >= FEW and dtype == np.float32:
        TW, most = -(-max(J, W) // 4), max(C, K)
        lines = max(1, min(TILES // (TW * most), -(-N // m) * -(-max(I, H) // 4)))
        strip, points = (m, 6 * (4 * TW + 2) * most), (m, 36 * lines * TW * most)
        sizes = {
            "forth": (36, -(-K // width), C, width),
            "back": (36, -(-C // width), K, width),
            "room": (27 * max(-(-K // width) * C, -(-C // width) * K) * width,),
            "none": (4 * TW * most,),
            "strip": strip,
            "lines": strip,
            "values": points,
            "sums": points,
            "errors": (m, 36 * lines * TW * -(-K // width) * width),
            "parts": (m, 36, C, K),
        }
        return Winograd(lines, **{name: aligned(s, dtype) for name, s in sizes.items()})
    R, rows = U * V * M, J * max(1, min(ROWS_AT_ONCE // J, I * N))
    sizes = {
        "forth": (G, -(-share // width), R, width),
        "back": (G, -(-R // width), share, width),
        "p": (m, rows, R),
        "errors": (m, -(-share // width) * rows * width),
        "sums": (m, G, R, share),
    }
    return Patches(**{name: aligned(s, dtype) for name, s in sizes.items()})


def forward(x, w, b, how, mem, z):
    """Apply a layer to images, channels last; `how` is (stride, padding, dilation, groups)."""
    if isinstance(mem, Patches):
        flat, M = (*w.shape[2:], *how[0], *how[1], *how[2]), len(mem.p)
        pack_filters(w, mem.forth, mem.back)
        in_threads(lambda m: conv_lines(x, mem.forth, b, flat, m, M, mem.p[m], z), M)
    else:
        pack_values(w, False, mem.room, mem.forth)
        _winograd(x, mem.forth, b, how[1], mem, z)


def _winograd(x, filters, b, padding, mem, z):
    """`winograd_lines` for all parts."""
    M, (strip, lines, values, sums) = len(mem.strip), mem[5:9]

    def part(m):
        room = mem.most, strip[m], lines[m], values[m], sums[m]
        winograd_lines(x, filters, b, mem.none, *padding, m, M, *room, z)

    in_threads(part, M)


def backward(dz, x, w, how, mem, dx, dw, db):
    """Carry a gradient back through `forward`; where dx is None it is not computed."""
    K, C, U, V = w.shape
    db_into(dz.reshape(-1, K), db)
    if isinstance(mem, Patches):
        into = np.empty((0, 0, 0, 0), dz.dtype) if dx is None else dx
        flat, M = (U, V, *how[0], *how[1], *how[2]), len(mem.p)
        pack_filters(w, mem.forth, mem.back)

        def part(m):
            room = mem.p[m], mem.errors[m]
            conv_lines_backward(dz, x, mem.back, flat, m, M, *room, into, mem.sums[m])

        total = _added(mem.sums, part).reshape(how[3], U, V, C, -1)
        dw[:] = total.transpose(0, 4, 3, 1, 2).reshape(dw.shape)
        return

    width, M, (P, Q) = mem.forth.shape[3], len(mem.strip), how[1]

    def winograd_part(m):
        room = mem.strip[m], mem.lines[m], mem.values[m], mem.errors[m]
        winograd_lines_dw(dz, x, P, Q, m, M, mem.most, width, *room, mem.parts[m])

    unpack_values(_added(mem.parts, winograd_part), mem.room, dw)
    if dx is not None:  # the filters turned round, over the errors
        pack_values(w, True, mem.room, mem.back)
        _winograd(dz, mem.back, mem.none[:C], (2 - P, 2 - Q), mem, dx)


def adjoint(dz, w, how, mem, dx):
    """Compute the dx of `backward` alone: a transposed convolution of dz."""
    _, C, U, V = w.shape
    if isinstance(mem, Patches):
        flat, M = (U, V, *how[0], *how[1], *how[2]), len(mem.p)
        pack_filters(w, mem.forth, mem.back)
        in_threads(lambda m: conv_lines_input(dz, mem.back, flat, m, M, mem.p[m], dx), M)
    else:
        (P, Q), _ = how[1], pack_values(w, True, mem.room, mem.back)
        _winograd(dz, mem.back, mem.none[:C], (2 - P, 2 - Q), mem, dx)


def _added(parts, part):
    """Let every part be computed and return their sum, added in order."""
    in_threads(part, len(parts))
    for more in parts[1:]:
        parts[0] += more
    return parts[0]


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
    pool_back_into(_errors(dy, out, x.dtype, axes), at, size, stride, dx)
    return _first(_inside(dx, padding))


def _errors(dy, out, dtype, axes):
    """Return the checked derivative by the output of a pooling layer, channels last."""
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
    average_back_into(_errors(dy, out, x.dtype, axes), size, stride, dx)
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


# Images moved, and one number for each channel


@njit_fast
def place_images(x, move, images):
    """Copy images, each moved down and right by some pixels; zero elsewhere
    (n h w c), (n 2) -> (n h w c)
    """
    H, W = images.shape[1:3]
    for n in range(x.shape[0]):
        images[n] = 0
        down, right = move[n, 0], move[n, 1]
        for h in range(max(0, -down), min(H, H - down)):
            for w in range(max(0, -right), min(W, W - right)):
                images[n, h + down, w + right] = x[n, h, w]


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
