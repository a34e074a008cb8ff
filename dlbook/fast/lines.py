"""Convolution in steps of one without copies of its patches.

Images lie as (n, h, w, c). The V pixels that one row of a filter meets lie side by side, and those
of the next place one pixel further on: some framed lines of an image are an array (j, u, vc) whose
parts overlap, and the register tile can read it as it lies. So only the frame is copied, some lines
at a time. `how` is (U, V, P, Q, D): the size of the filter, the padding, and the dilation of its
rows. Sums are added in the order of `patches`: the bits are the same.
"""
# ruff: noqa: E741

from numpy.lib.stride_tricks import as_strided

from dlbook.matmul import THIRD, multiply_deep, pack
from dlbook.tools.jit import njit_fast

__all__ = [
    "direct_lines",
    "direct_lines_dw",
    "pack_rows",
    "turned",
]


@njit_fast
def pack_rows(w, around, forth):
    """Filters as a matrix of rows (u, v, c), in panels, or turned `around` with rows (u, v, k)
    (k c u v), () -> (q uvc w)
    """
    (K, C, U, V), width = w.shape, forth.shape[2]
    forth[:] = 0
    for k in range(K):
        for c in range(C):
            for u in range(U):
                for v in range(V):
                    if around:
                        row = ((U - 1 - u) * V + V - 1 - v) * K + k
                        forth[c // width, row, c % width] = w[k, c, u, v]
                    else:
                        row = (u * V + v) * C + c
                        forth[k // width, row, k % width] = w[k, c, u, v]


def turned(how):
    """Return how the errors are convolved with the filters turned round."""
    U, V, P, Q, D = how
    return (U, V, (U - 1) * D - P, V - 1 - Q, D)


@njit_fast
def _frame(image, first, Q, framed):
    """Lines of an image from `first` on, which may lie outside of it, with zeros on both sides
    (h w c), (), () -> (r wc)
    """
    H, W, C = image.shape
    for r in range(framed.shape[0]):
        line, h = framed[r], first + r
        if 0 <= h < H:
            pixels = image[h].reshape(-1)
            line[: Q * C] = 0
            for at in range(W * C):
                line[Q * C + at] = pixels[at]
            line[(Q + W) * C :] = 0
        else:
            line[:] = 0


@njit_fast(apart=True)
def direct_lines(x, filters, b, how, m, M, lines, framed, z):
    """`conv` for part m of M, `lines` lines of an image at a time
    (n h w c), (q uvc w), (k), (5), (), (), (), (r wc) -> (n i j k)
    """
    (N, I, J, K), (U, V, P, Q, D), C, size = z.shape, how, x.shape[3], x.itemsize
    strides = C * size, D * framed.shape[1] * size, size
    flat, whole, last = z.reshape(-1, K), -(-J // THIRD) * THIRD, (m + 1) * N // M * I - 1
    for n in range(m * N // M, (m + 1) * N // M):
        for start in range(0, I, lines):
            end = min(I, start + lines)
            _frame(x[n], start - P, Q, framed[: end - start + (U - 1) * D])
            for i in range(start, end):
                line = (
                    n * I + i
                )  # whole tiles are faster: the next line overwrites what is too much
                places = whole if line < last and whole < 2 * J else J
                sums = flat[line * J : line * J + places]
                for j in range(places):
                    sums[j] = b
                a = as_strided(framed[i - start], (places, U, V * C), strides)
                multiply_deep(a, filters, sums, True)


@njit_fast(apart=True)
def direct_lines_dw(dz, x, how, m, M, lines, framed, errors, dw):
    """`conv_dw` for part m of M
    (n i j k), (n h w c), (5), (), (), (), (r wc), (q ij w) -> (u vc k)
    """
    (N, I, J, K), (U, V, P, Q, D), C, size = dz.shape, how, x.shape[3], x.itemsize
    strides = size, framed.shape[1] * size, C * size
    dw[:] = 0
    for n in range(m * N // M, (m + 1) * N // M):
        for start in range(0, I, lines):
            end = min(I, start + lines)
            _frame(x[n], start - P, Q, framed[: end - start + (U - 1) * D])
            packed = errors[:, : (end - start) * J]
            pack(dz[n, start:end].reshape(-1, K), packed)
            for u in range(U):
                a = as_strided(framed[u * D], (V * C, end - start, J), strides)
                multiply_deep(a, packed, dw[u], True)
