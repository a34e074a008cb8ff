"""Convolution as a matrix product: the patches that a filter meets, one in each row.

Images lie as (n, h, w, c); the frame of zeros is never stored; the filters are packed in panels for
the register tile, once in a call; the batch is cut into a fixed number of parts, each with memory
of its own, so that any number of threads gives the same bits. A line is one row of one image. `how`
is (U, V, S, T, P, Q, D, E): the size of the filter, strides, padding, dilations.
"""
# ruff: noqa: E741

from dlbook.matmul import multiply, pack
from dlbook.tools.jit import njit_fast
from dlbook.tools.simd import any_layout

__all__ = [
    "POINTWISE",
    "adjoint_lines_backward",
    "bias_gradient_into",
    "conv_lines",
    "conv_lines_backward",
    "conv_lines_input",
    "gather_patches",
    "pack_filters",
    "scatter_patches",
]

POINTWISE = (1, 1, 1, 1, 0, 0, 1, 1)  # a 1 × 1 filter on every pixel


@njit_fast
def _reach(size, start, step, count):
    """Which of j = 0 … count − 1 have 0 ≤ start + j · step < size: from the first to the second."""
    first = min(count, max(0, -(start // step)))
    return first, max(first, min(count, (size - 1 - start) // step + 1))


@njit_fast
def bias_gradient_into(dz, db):
    """`conv_db`
    (n k) -> (k)
    """
    db[:] = 0
    for n in range(dz.shape[0]):
        row = dz[n]
        for k in range(db.size):
            db[k] += row[k]


@njit_fast(apart=True)
def gather_patches(x, channel, line, how, J, p):
    """Rows (m, j) of `patches` for the lines m from `line` on, of channels from `channel` on
    (n h w c), (), (), (8), () -> (mj uvc)
    """
    (U, V, S, T, P, Q, D, E), (_, H, W, _) = how, x.shape
    I, C = (H + 2 * P - D * (U - 1) - 1) // S + 1, p.shape[1] // (U * V)
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


@njit_fast(apart=True)
def scatter_patches(dp, channel, line, how, J, dx):
    """The way back of `gather_patches`: each number is added where it was read
    (mj uvc), (), (), (8), () -> (n h w c)
    """
    (U, V, S, T, P, Q, D, E), (_, H, W, _) = how, dx.shape
    I, C = (H + 2 * P - D * (U - 1) - 1) // S + 1, dp.shape[1] // (U * V)
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


@njit_fast(apart=True)
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


@njit_fast(apart=True)
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
def conv_lines_input(dz, back, b, how, m, M, p, dx):
    """`conv_dx` alone, for part m of M, on top of b
    (n i j k), (g q k/g w), (c), (8), (), (), (r uvc) -> (n h w c)
    """
    (N, I, J, K), G, C = dz.shape, back.shape[0], dx.shape[3]
    first, last, most = m * N // M * I, (m + 1) * N // M * I, p.shape[0] // J
    pixels = dx[m * N // M : (m + 1) * N // M].reshape(-1, C)
    for r in range(pixels.shape[0]):
        pixels[r] = b
    for line in range(first, last, most):
        R = min(most, last - line) * J
        for g in range(G):
            some = dz.reshape(-1, K)[line * J : line * J + R, g * K // G : (g + 1) * K // G]
            multiply(any_layout(some), back[g], any_layout(p[:R]), False)
            scatter_patches(p[:R], g * p.shape[1] // (how[0] * how[1]), line, how, J, dx)


@njit_fast
def adjoint_lines_backward(dz, x, forth, how, m, M, p, packed, dx, dw):
    """Both gradients of what `conv_lines_input` computes from x, for part m of M
    (n h w c), (n i j k), (g q uvc w), (8), (), (), (r uvc), (qrw) -> (n i j k), (g uvc k/g)
    """
    (N, I, J, K), (G, panels, _, width) = x.shape, forth.shape
    first, last, most = m * N // M * I, (m + 1) * N // M * I, p.shape[0] // J
    dw[:] = 0
    for line in range(first, last, most):
        R = min(most, last - line) * J
        some = packed[: panels * R * width].reshape(panels, R, width)
        for g in range(G):
            of = slice(g * K // G, (g + 1) * K // G)
            errors = _matrix(dz, g, line, R // J, how, J, p)
            here = dx.reshape(-1, K)[line * J : line * J + R, of]
            multiply(any_layout(errors), forth[g], any_layout(here), False)
            pack(any_layout(x.reshape(-1, K)[line * J : line * J + R, of]), some)
            multiply(any_layout(errors.T), some, any_layout(dw[g]), True)
