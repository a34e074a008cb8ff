"""Convolution by 3 × 3 filters with fewer multiplications, after S. Winograd.

Four outputs of a filter of three need twelve multiplications, or six: as polynomials through six
points, 0, 1, −1, 2, −2 and ∞, both are multiplied point by point. In two dimensions 36 products
stand for 144. Each of the five matrices below is applied along one axis, to whole rows of
numbers: x and y lie flat, their operands from place p or q on and s or t numbers apart.
"""
# ruff: noqa: E741

import numpy as np

from dlbook.matmul import multiply
from dlbook.tools.jit import njit_fast
from dlbook.tools.lanes import NARROW, WIDE, lanes, load, store
from dlbook.tools.simd import any_layout

__all__ = [
    "UNSIGNED",
    "error_values",
    "filter_values",
    "filter_values_backward",
    "input_values",
    "output_values",
    "pack_values",
    "unpack_values",
    "winograd_lines",
    "winograd_lines_dw",
]

UNSIGNED = np.uintp
ZERO, TWO, FOUR, FIVE, EIGHT = (np.float32(n) for n in (0, 2, 4, 5, 8))
HALF, FOURTH, SIXTH = (np.float32(1 / n) for n in (2, 4, 6))


@njit_fast
def _at(first, i, step, n):
    """Where number n of operand i lies. Unsigned: Numba need not ask if it counts from the end."""
    return UNSIGNED(first) + UNSIGNED(i) * UNSIGNED(step) + n


@njit_fast(forceinline=True)
def input_at(x, p, s, y, q, t, n, like):
    """y = Bᵀ x: six inputs, at six points."""
    a, b, c = (
        load(x, _at(p, 0, s, n), like),
        load(x, _at(p, 1, s, n), like),
        load(x, _at(p, 2, s, n), like),
    )
    d, e, f = (
        load(x, _at(p, 3, s, n), like),
        load(x, _at(p, 4, s, n), like),
        load(x, _at(p, 5, s, n), like),
    )
    even, odd, half, twice = e - FOUR * c, d - FOUR * b, e - c, TWO * (d - b)
    store(y, _at(q, 0, t, n), FOUR * a - FIVE * c + e)
    store(y, _at(q, 1, t, n), even + odd)
    store(y, _at(q, 2, t, n), even - odd)
    store(y, _at(q, 3, t, n), half + twice)
    store(y, _at(q, 4, t, n), half - twice)
    store(y, _at(q, 5, t, n), FOUR * b - FIVE * d + f)


@njit_fast
def input_values(x, p, s, y, q, t, size):
    """The same for rows of `size` numbers; they overlap nowhere."""
    whole, most = size - size % WIDE, size - size % NARROW
    for n in range(0, whole, WIDE):
        input_at(x, p, s, y, q, t, UNSIGNED(n), lanes(ZERO, WIDE))
    for n in range(whole, most, NARROW):
        input_at(x, p, s, y, q, t, UNSIGNED(n), lanes(ZERO, NARROW))
    for n in range(most, size):
        input_at(x, p, s, y, q, t, UNSIGNED(n), lanes(ZERO, 1))


@njit_fast(forceinline=True)
def output_at(y, p, s, z, q, t, extra, n, like):
    """z = Aᵀ y: four outputs from the products at six points; `extra` is added to the second."""
    a, b, c = (
        load(y, _at(p, 0, s, n), like),
        load(y, _at(p, 1, s, n), like) + load(extra, n, like),
        load(y, _at(p, 2, s, n), like),
    )
    d, e, f = (
        load(y, _at(p, 3, s, n), like),
        load(y, _at(p, 4, s, n), like),
        load(y, _at(p, 5, s, n), like),
    )
    near, far, slope, steep = b + c, d + e, b - c, d - e
    store(z, _at(q, 0, t, n), a + near + far)
    store(z, _at(q, 1, t, n), slope + TWO * steep)
    store(z, _at(q, 2, t, n), near + FOUR * far)
    store(z, _at(q, 3, t, n), slope + EIGHT * steep + f)


@njit_fast
def output_values(y, p, s, z, q, t, size, extra):
    """The same for rows of `size` numbers; they overlap nowhere."""
    whole, most = size - size % WIDE, size - size % NARROW
    for n in range(0, whole, WIDE):
        output_at(y, p, s, z, q, t, extra, UNSIGNED(n), lanes(ZERO, WIDE))
    for n in range(whole, most, NARROW):
        output_at(y, p, s, z, q, t, extra, UNSIGNED(n), lanes(ZERO, NARROW))
    for n in range(most, size):
        output_at(y, p, s, z, q, t, extra, UNSIGNED(n), lanes(ZERO, 1))


@njit_fast(forceinline=True)
def error_at(dz, p, s, y, q, t, n, like):
    """y = A dz: the way back of `output_values`."""
    a, b = load(dz, _at(p, 0, s, n), like), load(dz, _at(p, 1, s, n), like)
    c, d = load(dz, _at(p, 2, s, n), like), load(dz, _at(p, 3, s, n), like)
    even, odd, far, steep = a + c, b + d, a + FOUR * c, TWO * b + EIGHT * d
    store(y, _at(q, 0, t, n), a)
    store(y, _at(q, 1, t, n), even + odd)
    store(y, _at(q, 2, t, n), even - odd)
    store(y, _at(q, 3, t, n), far + steep)
    store(y, _at(q, 4, t, n), far - steep)
    store(y, _at(q, 5, t, n), d)


@njit_fast
def error_values(dz, p, s, y, q, t, size):
    """The same for rows of `size` numbers; they overlap nowhere."""
    whole, most = size - size % WIDE, size - size % NARROW
    for n in range(0, whole, WIDE):
        error_at(dz, p, s, y, q, t, UNSIGNED(n), lanes(ZERO, WIDE))
    for n in range(whole, most, NARROW):
        error_at(dz, p, s, y, q, t, UNSIGNED(n), lanes(ZERO, NARROW))
    for n in range(most, size):
        error_at(dz, p, s, y, q, t, UNSIGNED(n), lanes(ZERO, 1))


@njit_fast(forceinline=True)
def filter_at(w, p, s, y, q, t, n, like):
    """y = G w: three weights, at six points."""
    a, b, c = (
        load(w, _at(p, 0, s, n), like),
        load(w, _at(p, 1, s, n), like),
        load(w, _at(p, 2, s, n), like),
    )
    near, far = -SIXTH * (a + c), FOURTH * SIXTH * a + SIXTH * c
    store(y, _at(q, 0, t, n), FOURTH * a)
    store(y, _at(q, 1, t, n), near - SIXTH * b)
    store(y, _at(q, 2, t, n), near + SIXTH * b)
    store(y, _at(q, 3, t, n), far + HALF * SIXTH * b)
    store(y, _at(q, 4, t, n), far - HALF * SIXTH * b)
    store(y, _at(q, 5, t, n), c)


@njit_fast
def filter_values(w, p, s, y, q, t, size):
    """The same for rows of `size` numbers; they overlap nowhere."""
    whole, most = size - size % WIDE, size - size % NARROW
    for n in range(0, whole, WIDE):
        filter_at(w, p, s, y, q, t, UNSIGNED(n), lanes(ZERO, WIDE))
    for n in range(whole, most, NARROW):
        filter_at(w, p, s, y, q, t, UNSIGNED(n), lanes(ZERO, NARROW))
    for n in range(most, size):
        filter_at(w, p, s, y, q, t, UNSIGNED(n), lanes(ZERO, 1))


@njit_fast(forceinline=True)
def filter_backward_at(dy, p, s, dw, q, t, n, like):
    """dw = Gᵀ dy: the way back of `filter_values`."""
    a, b, c = (
        load(dy, _at(p, 0, s, n), like),
        load(dy, _at(p, 1, s, n), like),
        load(dy, _at(p, 2, s, n), like),
    )
    d, e, f = (
        load(dy, _at(p, 3, s, n), like),
        load(dy, _at(p, 4, s, n), like),
        load(dy, _at(p, 5, s, n), like),
    )
    near, far = b + c, d + e
    store(dw, _at(q, 0, t, n), FOURTH * a - SIXTH * near + FOURTH * SIXTH * far)
    store(dw, _at(q, 1, t, n), SIXTH * (c - b) + HALF * SIXTH * (d - e))
    store(dw, _at(q, 2, t, n), SIXTH * (far - near) + f)


@njit_fast
def filter_values_backward(dy, p, s, dw, q, t, size):
    """The same for rows of `size` numbers; they overlap nowhere."""
    whole, most = size - size % WIDE, size - size % NARROW
    for n in range(0, whole, WIDE):
        filter_backward_at(dy, p, s, dw, q, t, UNSIGNED(n), lanes(ZERO, WIDE))
    for n in range(whole, most, NARROW):
        filter_backward_at(dy, p, s, dw, q, t, UNSIGNED(n), lanes(ZERO, NARROW))
    for n in range(most, size):
        filter_backward_at(dy, p, s, dw, q, t, UNSIGNED(n), lanes(ZERO, 1))


@njit_fast
def _zeros_into(y, q, size):
    """Write zeros from place q on."""
    for n in range(UNSIGNED(size)):
        y[UNSIGNED(q) + n] = ZERO


@njit_fast(apart=True)
def _rows_into(x, n, first, count, margin, strip):
    """Copy rows of an image into a strip, zero where there is none and to the left and right."""
    _, H, W, C = x.shape
    wide, flat, left, size = strip.size // count, x.reshape(-1), margin * C, W * C
    for r in range(count):
        q, h = r * wide, first + r
        if 0 <= h < H:
            _zeros_into(strip, q, left)
            for m in range(UNSIGNED(size)):
                strip[UNSIGNED(q + left) + m] = flat[UNSIGNED((n * H + h) * size) + m]
            _zeros_into(strip, q + left + size, wide - left - size)
        else:
            _zeros_into(strip, q, wide)


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


@njit_fast(apart=True)
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


@njit_fast(apart=True)
def _output_line(sums, m, TH, TW, T, at, b, none, lines, strip, z):
    """Outputs of line m of tiles."""
    _, I, J, K = z.shape
    wide, n, row = 4 * TW * K, m // TH, 4 * (m % TH)
    for t in range(TW):
        for i in range(6):
            place = i * wide + 4 * t * K
            bias = b if i == 1 else none  # the second point is 1: it reaches all four
            output_values(sums, (6 * i * T + at + t) * K, T * K, lines, place, K, K, bias)
    flat, place, size = z.reshape(-1), (n * I + row) * J * K, J * K
    if row + 4 <= I:
        output_values(lines, 0, wide, flat, place, size, size, none)
        return
    output_values(lines, 0, wide, strip, 0, size, size, none)
    for m in range(UNSIGNED((I - row) * size)):
        flat[UNSIGNED(place) + m] = strip[m]


@njit_fast(apart=True)
def _error_line(dz, m, TH, TW, T, at, strip, lines, width, values):
    """Errors of line m of tiles at 36 points, in panels."""
    _, I, J, K = dz.shape
    wide, panels, n, row = 4 * TW * K, -(-K // width), m // TH, 4 * (m % TH)
    if row + 4 <= I and J == 4 * TW:
        error_values(dz.reshape(-1), (n * I + row) * wide, wide, lines, 0, wide, wide)
    else:
        _rows_into(dz, n, row, 4, 0, strip[: 4 * wide])
        error_values(strip, 0, wide, lines, 0, wide, wide)
    for t in range(TW):
        for i in range(6):
            for q in range(panels):
                place = ((6 * i * panels + q) * T + at + t) * width
                some, size = i * wide + 4 * t * K + q * width, min(width, K - q * width)
                error_values(lines, some, K, values, place, panels * T * width, size)


@njit_fast(apart=True)
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


@njit_fast(apart=True)
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
        filter_values_backward(flat, 6 * i * size, size, some, 3 * i * size, size, size)
    filter_values_backward(some, 0, 3 * size, nine, 0, 3 * size, 3 * size)
    for k in range(K):
        for c in range(C):
            for u in range(3):
                for v in range(3):
                    dw[k, c, u, v] = nine[(3 * u + v) * size + c * K + k]
