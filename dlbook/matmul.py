"""Matrix products and matrix derivatives: what a network spends its time on.

Page: ``book/matmul.md``. Builds on: nothing but tools; `neurons` has the layer whose derivative
is here.

Sources: Goto & van de Geijn, ACM Trans. Math. Softw. 34 (2008) for blocks, panels and register
tiles; Hong & Kung, STOC (1981) for the traffic of a blocked product; Williams, Waterman &
Patterson, Commun. ACM 52 (2009) for the roofline; Magnus & Neudecker, *Matrix Differential
Calculus* (1988) for derivatives.

Axes: i rows of a and of c; k columns of a and rows of b, the axis that is summed; j columns of b
and of c. In a layer n examples, k inputs, j outputs. The capital is the count.

Names: a, b factors and c their product; da, db, dc derivatives of a cost with respect to them; x,
w and delta = ∂C/∂z as in a layer. A *number* is one entry of an array, a *line* is what a cache
fetches at once, several numbers long.
"""
# ruff: noqa: E741

import numpy as np
from numba import prange
from numpy.typing import ArrayLike, DTypeLike

from dlbook.tools import shapes, simd
from dlbook.tools.jit import njit, njit_fast
from dlbook.tools.threads import threads

__all__ = [
    "LOOP_ORDERS",
    "add_four",
    "add_product",
    "arithmetic_intensity",
    "dense_backward",
    "differential",
    "distances",
    "elementwise_jacobian",
    "fetch",
    "fetched",
    "linear_jacobian",
    "lines_fetched",
    "log_det_gradient",
    "multiply",
    "multiply_add_rate",
    "multiply_blas",
    "multiply_parallel",
    "multiply_tiled",
    "pack",
    "pack_parallel",
    "packed_product",
    "panels",
    "peak_kernel",
    "product",
    "product_backward",
    "product_four",
    "product_ikj",
    "product_jki",
    "product_kij",
    "product_tiled",
    "quadratic_gradient",
    "read_through",
    "repeat_tile",
    "roofline",
    "squared_distances",
    "trace_gradient",
    "traffic",
]


# The product, in four orders of its three loops


@njit
def product(a, b):
    """(matmul-product)  c_ij = Σ_k a_ik b_kj
    (i k), (k j) -> (i j)
    """
    (I, K), J = a.shape, b.shape[1]
    c = np.zeros((I, J), a.dtype)
    for i in range(I):
        for j in range(J):
            for k in range(K):
                c[i, j] += a[i, k] * b[k, j]
    return c


@njit
def product_ikj(a, b):
    """(matmul-rows)  row i of c = Σ_k a_ik (row k of b)
    (i k), (k j) -> (i j)
    """
    (I, K), J = a.shape, b.shape[1]
    c = np.zeros((I, J), a.dtype)
    for i in range(I):
        for k in range(K):
            for j in range(J):
                c[i, j] += a[i, k] * b[k, j]
    return c


@njit
def product_jki(a, b):
    """(matmul-columns)  column j of c = Σ_k b_kj (column k of a)
    (i k), (k j) -> (i j)
    """
    (I, K), J = a.shape, b.shape[1]
    c = np.zeros((I, J), a.dtype)
    for j in range(J):
        for k in range(K):
            for i in range(I):
                c[i, j] += a[i, k] * b[k, j]
    return c


@njit
def product_kij(a, b):
    """(matmul-outer)  c = Σ_k (column k of a) (row k of b)
    (i k), (k j) -> (i j)
    """
    (I, K), J = a.shape, b.shape[1]
    c = np.zeros((I, J), a.dtype)
    for k in range(K):
        for i in range(I):
            for j in range(J):
                c[i, j] += a[i, k] * b[k, j]
    return c


LOOP_ORDERS = {
    "ijk": product,
    "ikj": product_ikj,
    "jki": product_jki,
    "kij": product_kij,
}


# Matrix derivatives


@njit
def differential(gradient, change):
    """(matmul-differential)  df = Σ_ij (∂f/∂x_ij) dx_ij
    (i j), (i j) -> ()
    """
    total = 0.0
    for i in range(len(gradient)):
        for j in range(gradient.shape[1]):
            total += gradient[i, j] * change[i, j]
    return total


@njit
def trace_gradient(a):
    """(matmul-trace-gradient)  ∂tr(a x)/∂x_ji = a_ij
    (i j) -> (j i)
    """
    gradient = np.empty(a.shape[::-1], a.dtype)
    for i in range(len(a)):
        for j in range(a.shape[1]):
            gradient[j, i] = a[i, j]
    return gradient


@njit
def quadratic_gradient(a, x):
    """(matmul-quadratic-gradient)  ∂(xᵀ a x)/∂x_i = Σ_j (a_ij + a_ji) x_j
    (i i), (i) -> (i)
    """
    gradient = np.zeros_like(x)
    for i in range(len(x)):
        for j in range(len(x)):
            gradient[i] += (a[i, j] + a[j, i]) * x[j]
    return gradient


@njit
def log_det_gradient(x):
    """(matmul-log-det-gradient)  ∂log|det x|/∂x_ij = (x⁻¹)_ji
    (i i) -> (i i)
    """
    inverse = np.linalg.inv(x)
    gradient = np.empty_like(inverse)
    for i in range(len(x)):
        for j in range(len(x)):
            gradient[i, j] = inverse[j, i]
    return gradient


@njit
def elementwise_jacobian(slope):
    """(matmul-elementwise-jacobian)  ∂g(z_i)/∂z_j = g′(z_i) if i = j, else 0
    (i) -> (i i)
    """
    jacobian = np.zeros((len(slope), len(slope)), slope.dtype)
    for i in range(len(slope)):
        jacobian[i, i] = slope[i]
    return jacobian


@njit
def linear_jacobian(w, x):
    """(matmul-linear-jacobian)  z = w x:  ∂z_j/∂x_k = w_jk,  ∂z_j/∂w_ik = x_k [i = j]
    (j k), (k) -> (j k), (j j k)
    """
    J, K = w.shape
    by_x, by_w = np.empty((J, K), w.dtype), np.zeros((J, J, K), w.dtype)
    for j in range(J):
        for k in range(K):
            by_x[j, k] = w[j, k]
            by_w[j, j, k] = x[k]
    return by_x, by_w


@njit
def product_backward(dc, a, b):
    """(matmul-product-gradient)  da_ik = Σ_j dc_ij b_kj,  db_kj = Σ_i a_ik dc_ij
    (i j), (i k), (k j) -> (i k), (k j)
    """
    (I, K), J = a.shape, b.shape[1]
    da, db = np.zeros((I, K), dc.dtype), np.zeros((K, J), dc.dtype)
    for i in range(I):
        for k in range(K):
            for j in range(J):
                da[i, k] += dc[i, j] * b[k, j]
                db[k, j] += a[i, k] * dc[i, j]
    return da, db


@njit
def dense_backward(delta, x, w):
    """(matmul-dense-backward)  dx_nk = Σ_j δ_nj w_jk, dw_jk = Σ_n δ_nj x_nk, db_j = Σ_n δ_nj
    (n j), (n k), (j k) -> (n k), (j k), (j)
    """
    (N, K), J = x.shape, len(w)
    dx, dw = np.zeros((N, K), delta.dtype), np.zeros((J, K), delta.dtype)
    db = np.zeros(J, delta.dtype)
    for n in range(N):
        for j in range(J):
            db[j] += delta[n, j]
            for k in range(K):
                dx[n, k] += delta[n, j] * w[j, k]
                dw[j, k] += delta[n, j] * x[n, k]
    return dx, dw, db


# Blocks


@njit
def add_product(a, b, c):
    """c_ij += Σ_k a_ik b_kj
    (i k), (k j), (i j) -> ()
    """
    for i in range(len(a)):
        for k in range(len(b)):
            for j in range(b.shape[1]):
                c[i, j] += a[i, k] * b[k, j]


@njit
def product_tiled(a, b, s):
    """(matmul-blocking)  block IJ of c = Σ_K (block IK of a) (block KJ of b)
    (i k), (k j), () -> (i j)

    Blocks are s × s; at the lower and right edge they are smaller where s does not divide.
    """
    (I, K), J = a.shape, b.shape[1]
    c = np.zeros((I, J), a.dtype)
    for i in range(0, I, s):
        for j in range(0, J, s):
            rows, columns = a[i : i + s], b[:, j : j + s]
            block = c[i : i + s, j : j + s]
            for k in range(0, K, s):
                add_product(rows[:, k : k + s], columns[k : k + s], block)
    return c


@njit_fast
def add_four(a, b, c):
    """c_ij += a_i1 b_1j + a_i2 b_2j + a_i3 b_3j + a_i4 b_4j
    (i 4), (4 j), (i j) -> ()
    """
    b1, b2, b3, b4 = b[0], b[1], b[2], b[3]
    for i in range(len(a)):
        a1, a2, a3, a4, row = a[i, 0], a[i, 1], a[i, 2], a[i, 3], c[i]
        for j in range(len(row)):
            row[j] += a1 * b1[j] + a2 * b2[j] + a3 * b3[j] + a4 * b4[j]


@njit_fast(whole="")
def product_four(a, b):
    """c = Σ_k (column k of a) (row k of b), four k at a time
    (i k), (k j) -> (i j)
    """
    (I, K), J = a.shape, b.shape[1]
    c = np.zeros((I, J), a.dtype)
    whole = K - K % 4
    for k in range(0, whole, 4):
        add_four(a[:, k : k + 4], b[k : k + 4], c)
    add_product(a[:, whole:], b[whole:], c)
    return c


# What it costs: bytes, operations per byte, sums on their way


@njit
def traffic(I, K, J, r, w):
    """(matmul-traffic)  Q = I K J (1/r + 1/w) + I J
    (), (), (), (), () -> ()

    Numbers fetched by a product whose c is computed in blocks of r rows and w columns.
    """
    return I * K * J / r + I * K * J / w + I * J


@njit
def arithmetic_intensity(I, K, J, size):
    """(matmul-arithmetic-intensity)  2 I K J / (size (I K + K J + I J))
    (), (), (), () -> ()

    Operations per byte, for numbers of `size` bytes that are moved once each.
    """
    return 2 * I * K * J / (size * (I * K + K * J + I * J))


@njit
def roofline(intensity, peak, bandwidth):
    """(matmul-roofline)  rate ≤ min(peak, intensity · bandwidth)
    (), (), () -> ()
    """
    return np.minimum(peak, intensity * bandwidth)


@njit
def multiply_add_rate(sums, latency, units):
    """(matmul-pipeline)  multiply-adds per cycle = min(units, sums / latency)
    (), (), () -> ()
    """
    return np.minimum(units, sums / latency)


# A cache, simulated


@njit(whole="cache")
def fetch(cache, line):
    """Look for a line in its set; if it is not there, it replaces the one used longest ago.
    (s w), () -> bool, whether it had to be fetched
    """
    ways = cache[line % len(cache)]
    at = 0
    while at < len(ways) - 1 and ways[at] != line:
        at += 1
    missing = ways[at] != line
    for w in range(at, 0, -1):
        ways[w] = ways[w - 1]
    ways[0] = line
    return missing


@njit(whole="nest start stop layout cache fetched")
def lines_fetched(nest, start, stop, layout, per_line, cache, fetched):
    """Run c_ij += a_ik b_kj with the loops nested as told; count what is fetched of a, b and c.
    (3), (3), (3), (3 4), (), (s w), (3) -> ()

    The axes i, k, j are numbered 0, 1, 2: `nest` lists them from the outermost loop inwards, and
    they run from `start` to `stop`. Each row of `layout` belongs to a matrix: where it begins,
    and how many numbers further on the next i, k and j are.
    """
    p, q, r = nest[0], nest[1], nest[2]
    at = np.zeros(3, np.int64)
    for outer in range(start[p], stop[p]):
        for middle in range(start[q], stop[q]):
            for inner in range(start[r], stop[r]):
                at[p], at[q], at[r] = outer, middle, inner
                for m in range(3):
                    place = layout[m, 0]
                    for axis in range(3):
                        place += at[axis] * layout[m, 1 + axis]
                    fetched[m] += fetch(cache, place // per_line)


# All pairs of rows


@njit
def distances(x, y):
    """(matmul-distances)  d_ij = Σ_k (x_ik − y_jk)²
    (i k), (j k) -> (i j)
    """
    d = np.zeros((len(x), len(y)), x.dtype)
    for i in range(len(x)):
        for j in range(len(y)):
            for k in range(x.shape[1]):
                d[i, j] += (x[i, k] - y[j, k]) ** 2
    return d


# The machine, measured


@njit_fast
def read_through(x):
    """Σ_i x_i, which needs every number once
    (i) -> ()
    """
    total = x.dtype.type(0)
    for i in range(len(x)):
        total += x[i]
    return total


@njit_fast
def repeat_tile(rows, a, panel, c, times):
    """Run a register tile of all, two thirds or one third of the rows, or of one, again and again
    (), (i k), (k w), (i w), () -> ()
    """
    for _ in range(times):
        if rows == ROWS:
            simd.tile(ROWS, VECTORS, a, 0, panel, c, 0, c.shape[1], False)
        elif rows == TWO_THIRDS:
            simd.tile(TWO_THIRDS, VECTORS, a, 0, panel, c, 0, c.shape[1], False)
        elif rows == THIRD:
            simd.tile(THIRD, VECTORS, a, 0, panel, c, 0, c.shape[1], False)
        else:
            simd.tile(1, VECTORS, a, 0, panel, c, 0, c.shape[1], False)


# The fast product

PANEL_BYTES = simd.SHAPE.vectors * simd.SHAPE.bytes  # bytes in a row of a panel
ROWS, VECTORS = simd.SHAPE.rows, simd.SHAPE.vectors
TWO_THIRDS, THIRD = 2 * ROWS // 3, ROWS // 3  # what is left below a whole tile
BLOCK = 20 * ROWS  # rows of a that stay in the second cache
DEPTH = 512  # depth of a block that is copied
BESIDE = 4  # panels that are filled together
FAR = 1024  # bytes between the columns of a transposed matrix from which on they are copied


def panels(K: int, N: int, dtype: DTypeLike = np.float32) -> np.ndarray:
    """Return the workspace that holds a matrix of K rows and N columns in packed form.

    Parameters
    ----------
    K, N : int
        Rows and columns of the right factor.
    dtype : numpy dtype
        float32 or float64.

    Returns
    -------
    ndarray, shape (Q, K, W)
        Q = ⌈N/W⌉ panels of W columns, as wide as the register tile; zeros.
    """
    K, N = shapes.count("K", K), shapes.count("N", N)
    dtype = np.dtype(shapes.choice("dtype", np.dtype(dtype).name, ("float32", "float64")))
    width = PANEL_BYTES // dtype.itemsize
    return simd.aligned((-(-N // width), K, width), dtype)


@njit_fast(apart=True)
def _pack_columns(b, out):
    """`pack` where columns are contiguous, in squares that are turned in registers."""
    W, S, (K, J) = PANEL_BYTES // b.itemsize, simd.SQUARE, b.shape
    for q in range(out.shape[0]):
        place, first, columns = out[q], q * W, min(W, J - q * W)
        deep, wide = K // S * S, columns // S * S
        if columns < W:
            place[:] = 0
        for k in range(0, deep, S):
            for w in range(0, wide, S):
                simd.turn(b, k, first + w, place, k, w)
        for w in range(wide, columns):
            for k in range(deep):
                place[k, w] = b[k, first + w]
        for k in range(deep, K):
            for w in range(columns):
                place[k, w] = b[k, first + w]


@njit_fast(apart=True)
def _pack_rows(b, out):
    """`pack` where rows are contiguous, vector by vector; of a row so much at once as one fetches."""
    W, J = PANEL_BYTES // b.itemsize, b.shape[1]  # W: known when compiling
    S, whole = W // VECTORS, min(len(out), J // W)
    for first in range(0, whole, BESIDE):
        for k in range(b.shape[0]):
            for q in range(first, min(whole, first + BESIDE)):
                for v in range(0, W, S):
                    simd.move(b, k, q * W + v, out[q], k, v)
    if whole < len(out):
        place, first = out[whole], whole * W
        some = (J - first) // S * S
        for k in range(b.shape[0]):
            for v in range(0, some, S):
                simd.move(b, k, first + v, place, k, v)
            for w in range(some, J - first):
                place[k, w] = b[k, first + w]
            for w in range(J - first, W):
                place[k, w] = 0


@njit_fast(apart=True)
def pack(b, out):
    """Copy b into panels: P_qkw = b_k,(qW+w), zero beyond the last column
    (k j) -> (q k w)
    """
    if b.strides[0] == b.itemsize:
        _pack_columns(simd.any_layout(b), out)
    elif b.strides[1] == b.itemsize:
        _pack_rows(simd.any_layout(b), out)
    else:
        _pack_rows(simd.any_layout(np.ascontiguousarray(b)), out)


@njit_fast(apart=True)
def _wide_strip(a, first, last, panel, c, j, columns, more):
    """`_strip` by tiles of all vectors."""
    i = first
    while i < last:
        left = last - i
        if left >= ROWS + TWO_THIRDS or ROWS <= left < ROWS + THIRD:
            simd.tile(ROWS, VECTORS, a, i, panel, c, j, columns, more)
            i += ROWS
        elif left >= TWO_THIRDS:
            simd.tile(TWO_THIRDS, VECTORS, a, i, panel, c, j, columns, more)
            i += TWO_THIRDS
        elif left >= THIRD:
            simd.tile(THIRD, VECTORS, a, i, panel, c, j, columns, more)
            i += THIRD
        else:
            simd.tile(1, VECTORS, a, i, panel, c, j, columns, more)
            i += 1


@njit_fast(apart=True)
def _narrow_strip(a, first, last, panel, c, j, columns, more):
    """`_strip` by tiles of one vector."""
    i = first
    while i < last:
        left = last - i
        if left >= ROWS + TWO_THIRDS or ROWS <= left < ROWS + THIRD:
            simd.tile(ROWS, 1, a, i, panel, c, j, columns, more)
            i += ROWS
        elif left >= TWO_THIRDS:
            simd.tile(TWO_THIRDS, 1, a, i, panel, c, j, columns, more)
            i += TWO_THIRDS
        elif left >= THIRD:
            simd.tile(THIRD, 1, a, i, panel, c, j, columns, more)
            i += THIRD
        else:
            simd.tile(1, 1, a, i, panel, c, j, columns, more)
            i += 1


@njit_fast
def _strip(a, first, last, panel, c, j, columns, more):
    """Let the tile run down rows `first` to `last` of one panel; a narrow one for few columns."""
    if VECTORS * columns <= panel.shape[1]:
        _narrow_strip(a, first, last, panel, c, j, columns, more)
    else:
        _wide_strip(a, first, last, panel, c, j, columns, more)


@njit_fast(apart=True)
def multiply_tiled(a, packed, c, more):
    """c_ij = Σ_k a_ik b_kj, or added to c_ij if `more`; b in panels
    (i k), (q k w), (i j) -> (i j)
    """
    deep = 4 * a.shape[1] > DEPTH
    far = 8 * a.shape[1] > DEPTH and a.strides[1] > FAR
    if a.strides[0] < a.strides[1] and (deep or far):
        _multiply_turned(a, packed, c, more)
        return
    W, J = packed.shape[2], c.shape[1]
    a_any, c_any = simd.any_layout(a), simd.any_layout(c)
    for i in range(0, a.shape[0], BLOCK):
        for q in range(packed.shape[0]):
            last, columns = min(i + BLOCK, a.shape[0]), min(W, J - q * W)
            panel = simd.any_layout(packed[q])
            _strip(a_any, i, last, panel, c_any, q * W, columns, more)


@njit_fast(apart=True)
def _multiply_turned(a, packed, c, more):
    """The same where a is a transposed matrix: far-apart lines are brought together first."""
    W, J, some = packed.shape[2], c.shape[1], 4 * ROWS
    copied = np.empty((min(DEPTH, a.shape[1]), some), a.dtype)
    for k in range(0, a.shape[1], DEPTH):
        lines = a[:, k : k + DEPTH].T
        for i in range(0, a.shape[0], some):
            count, rows = min(some, a.shape[0] - i), simd.any_layout(c[i : i + some])
            copy_columns(simd.any_layout(lines), i, count, copied)
            block = simd.any_layout(copied[: lines.shape[0], :count].T)
            for q in range(packed.shape[0]):
                panel, columns = packed[q, k : k + DEPTH], min(W, J - q * W)
                panel_any = simd.any_layout(panel)
                _strip(block, 0, count, panel_any, rows, q * W, columns, more or k > 0)


@njit_fast(apart=True)
def copy_columns(lines, first, count, out):
    """Copy columns `first` to first + count, vector by vector where they are contiguous."""
    S = PANEL_BYTES // (VECTORS * lines.itemsize)
    whole = count // S * S if lines.strides[1] == lines.itemsize else 0
    for n in range(lines.shape[0]):
        for m in range(0, whole, S):
            simd.move(lines, n, first + m, out, n, m)
        for m in range(whole, count):
            out[n, m] = lines[n, first + m]


@njit_fast(apart=True)
def multiply_deep_tiled(a, packed, c, more):
    """The same where the columns of a are two axes of an array, such as one of overlapping views
    (i k l), (q kl w), (i j) -> (i j)
    """
    W, J, a_any, c_any = packed.shape[2], c.shape[1], simd.any_layout(a), simd.any_layout(c)
    for q in range(packed.shape[0]):
        columns = min(W, J - q * W)
        _strip(a_any, 0, a.shape[0], simd.any_layout(packed[q]), c_any, q * W, columns, more)


@njit
def multiply_blas(a, packed, c, more):
    """The same by ``np.dot``, panel for panel: for processors without a register tile
    (i k), (q k w), (i j) -> (i j)
    """
    W, J, a = packed.shape[2], c.shape[1], np.ascontiguousarray(a)
    for q in range(packed.shape[0]):
        part = np.dot(a, np.ascontiguousarray(packed[q]))  # packed may be a part of panels
        for i in range(a.shape[0]):
            for w in range(min(W, J - q * W)):
                if not more:
                    c[i, q * W + w] = 0
                c[i, q * W + w] += part[i, w]


@njit
def multiply_deep_blas(a, packed, c, more):
    """`multiply_deep_tiled` by ``np.dot``
    (i k l), (q kl w), (i j) -> (i j)
    """
    L = a.shape[2]
    for k in range(a.shape[1]):
        multiply_blas(a[:, k], packed[:, k * L : (k + 1) * L], c, more or k > 0)


TILED = simd.TILE is not None
multiply = multiply_tiled if TILED else multiply_blas
multiply_deep = multiply_deep_tiled if TILED else multiply_deep_blas
PARALLEL_FROM = 1_000_000  # multiply-adds; some ten microseconds of work


@njit_fast(apart=True, parallel=True)
def _pack_parallel(b, out):
    """Give each thread some panels at a time."""
    W = out.shape[2]
    for m in prange(-(-len(out) // BESIDE)):
        i, j = m * BESIDE, (m + 1) * BESIDE
        pack(b[:, i * W : j * W], out[i:j])


@njit_fast(apart=True, parallel=True)
def _multiply_parallel(a, packed, c, more, parts):
    """Give each thread some rows of a, and with them of c."""
    I, step = a.shape[0], -(-a.shape[0] // (parts * ROWS)) * ROWS
    for t in prange(parts):
        first, last = min(I, t * step), min(I, (t + 1) * step)
        multiply(a[first:last], packed, c[first:last], more)


@njit_fast(apart=True)
def pack_parallel(b, out):
    """`pack`, by all threads where b is large
    (k j) -> (q k w)
    """
    if TILED and 4 * b.size >= PARALLEL_FROM and threads() > 1:
        _pack_parallel(simd.any_layout(b), out)
    else:
        pack(b, out)


@njit_fast(apart=True)
def multiply_parallel(a, packed, c, more):
    """`multiply`, by all threads where there is much to do; the same bits
    (i k), (q k w), (i j) -> (i j)
    """
    a_any, c_any, add = simd.any_layout(a), simd.any_layout(c), bool(more)
    if TILED and a.size * c.shape[1] >= PARALLEL_FROM and threads() > 1:
        _multiply_parallel(a_any, packed, c_any, add, threads())
    else:
        multiply(a_any, packed, c_any, add)


@njit_fast
def _complete_squares(lengths_x, lengths_y, d):
    """x·y becomes x·x + y·y − 2 x·y, or zero where rounding has made that negative."""
    two, zero = d.dtype.type(2), d.dtype.type(0)
    for i in range(d.shape[0]):
        for j in range(d.shape[1]):
            square = lengths_x[i] + lengths_y[j] - two * d[i, j]
            d[i, j] = zero if square < zero else square  # NaN stays NaN


@njit_fast
def peak_kernel(a_strip, panel, c_tile, times):
    """Run the register tile `times` times on operands that stay in the nearest cache
    (i k), (k w), (i w), () -> ()
    """
    for _ in range(times):
        simd.tile(ROWS, VECTORS, a_strip, 0, panel, c_tile, 0, c_tile.shape[1], False)


# Public functions


def packed_product(a: ArrayLike, b: ArrayLike) -> np.ndarray:
    """Return a b by packed panels and the register tile, on all threads where that pays.

    Parameters
    ----------
    a : array_like, shape (i, k)
        float32 or float64; NaN and infinities pass through.
    b : array_like, shape (k, j)
        Of the same dtype.

    Returns
    -------
    ndarray, shape (i, j)

    Raises
    ------
    TypeError, ValueError
        If they are not matrices of floating-point numbers of one dtype, or do not fit together.
    """
    axes = shapes.Axes()
    a, b = axes.floats("a", a, "i k", finite=False), axes.floats("b", b, "k j", finite=False)
    if a.dtype != b.dtype:
        raise TypeError(f"a is {a.dtype} and b is {b.dtype}, expected the same dtype")
    packed, c = panels(*b.shape, b.dtype), np.empty((a.shape[0], b.shape[1]), a.dtype)
    pack_parallel(b, packed)
    multiply_parallel(a, packed, c, False)
    return c


def squared_distances(x: ArrayLike, y: ArrayLike) -> np.ndarray:
    """(matmul-distances)  d_ij = Σ_k x_ik² + Σ_k y_jk² − 2 Σ_k x_ik y_jk
    (i k), (j k) -> (i j)

    Of two nearly equal rows all but a few digits cancel: the error is of the order of the rounding
    unit times the squared lengths, however small the distance. Results below zero are set to 0.

    Parameters
    ----------
    x : array_like, shape (i, k)
        Points, one per row; float32 or float64.
    y : array_like, shape (j, k)
        Of the same dtype.

    Returns
    -------
    ndarray, shape (i, j)

    Raises
    ------
    TypeError, ValueError
        If they are not matrices of floating-point numbers of one dtype, or do not fit together.
    """
    axes = shapes.Axes()
    x, y = axes.floats("x", x, "i k", finite=False), axes.floats("y", y, "j k", finite=False)
    if x.dtype != y.dtype:
        raise TypeError(f"x is {x.dtype} and y is {y.dtype}, expected the same dtype")
    lengths_x, lengths_y = np.einsum("ik,ik->i", x, x), np.einsum("jk,jk->j", y, y)
    d = packed_product(x, y.T)
    _complete_squares(lengths_x, lengths_y, d)
    return d


def fetched(
    order: str,
    counts: tuple[int, int, int],
    *,
    block: tuple[int, int, int] | None = None,
    row: int | None = None,
    transposed: str = "",
    per_line: int = 16,
    sets: int = 64,
    ways: int = 8,
) -> np.ndarray:
    """Count the lines that the loops of a matrix product fetch into a simulated cache.

    The cache has `sets` sets of `ways` lines. A line belongs to one set, given by its address; a
    new line drives out the one of its set that was used longest ago. Nothing is fetched ahead of
    its use, and the cache is empty at the start.

    Parameters
    ----------
    order : str
        Loops from the outermost inwards, a permutation of "ijk".
    counts : (int, int, int)
        How far i, k and j run.
    block : (int, int, int), optional
        Sizes of blocks along i, k and j. Blocks of c are taken row by row, and for each of them
        the blocks of the sum over k, with the loops of `order` inside.
    row : int, optional
        Numbers from one row of a matrix to the next; the largest count where not given.
    transposed : {"", "a", "b", "ab"}
        Which factors are stored as their transposes.
    per_line : int
        Numbers in a line: 16 of float32 in the usual 64 bytes.
    sets, ways : int
        Shape of the cache. The default, with lines of 64 bytes, holds 32 KiB.

    Returns
    -------
    ndarray of int64, shape (3,)
        Lines fetched of a, of b and of c.

    Raises
    ------
    ValueError, TypeError
        If the order is not a permutation, the factor another one, or a count not positive.
    """
    if not isinstance(order, str) or sorted(order) != ["i", "j", "k"]:
        raise ValueError(f"order is {shapes.shown(order)}, expected a permutation of 'ijk'")
    counts = _three("counts", counts)
    block = counts if block is None else _three("block", block)
    row = shapes.count("row", max(counts) if row is None else row, least=max(counts))
    turned = shapes.choice("transposed", transposed, ("", "a", "b", "ab"))
    layout = np.array([[0, row, 1, 0], [row * row, 0, row, 1], [2 * row * row, row, 0, 1]])
    for m, factor in enumerate("ab"):
        if factor in turned:
            layout[m, 1 + m], layout[m, 2 + m] = 1, row
    per_line = shapes.count("per_line", per_line)
    cache = np.full((shapes.count("sets", sets), shapes.count("ways", ways)), -1)
    nest = np.array(["ikj".index(axis) for axis in order])
    total = np.zeros(3, np.int64)
    i, k, j = (range(0, n, step) for n, step in zip(counts, block, strict=True))
    for start in ((p, r, q) for p in i for q in j for r in k):
        stop = np.minimum(np.add(start, block), counts)
        lines_fetched(nest, np.array(start), stop, layout, per_line, cache, total)
    return total


def _three(name, values):
    """Return three whole numbers."""
    if not isinstance(values, tuple) or len(values) != 3:
        raise TypeError(f"{name} is {shapes.shown(values)}, expected three whole numbers")
    return tuple(shapes.count(f"{name}[{k}]", v) for k, v in enumerate(values))
