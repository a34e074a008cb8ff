"""Dense layers: products of packed matrices, for a batch or for very many rows.

Rows go through a layer a hundred or so at a time: what has just been multiplied is still in cache
when biases are added and a function is applied, and all weights are read seldom enough. Threads
share these blocks, or the columns of a gradient; which numbers are summed, and in which order,
depends on neither.
"""

import numpy as np
from numba import prange

from dlbook.fast.activations import activate, activate_backward
from dlbook.matmul import (
    PANEL_BYTES,
    PARALLEL_FROM,
    ROWS,
    TILED,
    copy_columns,
    multiply,
    multiply_parallel,
    pack,
    pack_parallel,
)
from dlbook.tools.jit import njit_fast
from dlbook.tools.simd import any_layout
from dlbook.tools.threads import threads

__all__ = [
    "MANY",
    "dense_backward_into",
    "dense_input_into",
    "dense_into",
    "gradients_into",
    "layer_input_into",
    "layer_into",
    "rows_gradient_into",
    "rows_sum_into",
    "scatter_rows",
]


SOME = 10 * ROWS if TILED else 1 << 30  # rows that go through a layer together
AT_ONCE = 128  # rows of which a gradient is summed together
WIDE = 512  # columns of a gradient that stay in cache together
LINES = 8 * ROWS  # rows of a gradient for which numbers are brought together


@njit_fast(apart=True)
def _some_rows(a, right, b, z, kind, slope, rise):
    """A few rows of a layer."""
    multiply(any_layout(a), right, any_layout(z), z.size < 0)  # no literal: compiled once
    for n in range(z.shape[0]):
        for j in range(b.size):
            z[n, j] += b[j]
    activate(z, kind, slope, rise)


@njit_fast(apart=True, parallel=True)
def _all_rows(a, right, b, z, kind, slope, rise):
    """All rows of a layer, a few at a time, by all threads."""
    for m in prange(-(-len(z) // SOME)):
        i, j = m * SOME, (m + 1) * SOME
        _some_rows(a[i:j], right, b, z[i:j], kind, slope, rise[i:j])


@njit_fast(apart=True)
def layer_into(a, w, b, panels, z, kind, slope, rise):
    """z = g(a wᵀ + 1 bᵀ), and g′ where `rise` has room; `kind` says what g is, as in a stack
    (n k), (j k), (j), (numbers), (n j), (), (), (n j) -> (n j), (n j)

    `panels` is memory for the packed factor.
    """
    J, K = w.shape
    W = PANEL_BYTES // a.itemsize
    right = panels[: -(-J // W) * W * K].reshape(-(-J // W), K, W)
    pack_parallel(w.T, right)
    if a.size * J < PARALLEL_FROM:
        _some_rows(any_layout(a), any_layout(right), b, z, kind, slope, rise)
    elif TILED and threads() > 1:
        _all_rows(any_layout(a), any_layout(right), b, z, kind, slope, rise)
    else:
        for i in range(0, len(z), SOME):
            j = i + SOME
            some = any_layout(a[i:j]), any_layout(right), b, z[i:j], kind, slope, rise[i:j]
            _some_rows(*some)


@njit_fast
def dense_into(a, w, b, panels, z):
    """z = a wᵀ + 1 bᵀ; `panels` is memory for the packed factor
    (n k), (j k), (j), (numbers) -> (n j)
    """
    layer_into(a, w, b, panels, z, 0, 0.0, z[:0])


@njit_fast(apart=True)
def dense_backward_into(delta, a, panels, dw, db):
    """dw = δᵀ a,   db_j = Σ_n δ_nj
    (n j), (n k), (numbers) -> (j k), (j)
    """
    N, K = a.shape
    W = PANEL_BYTES // a.itemsize
    right = panels[: -(-K // W) * W * N].reshape(-(-K // W), N, W)
    pack_parallel(a, right)
    multiply_parallel(delta.T, right, dw, False)
    db[:] = 0
    for n in range(N):
        for j in range(db.shape[0]):
            db[j] += delta[n, j]


@njit_fast(apart=True)
def dense_input_into(delta, w, panels, da, more=False):
    """da = δ w, or added to da if `more`
    (n j), (j k), (numbers) -> (n k)
    """
    J, K = w.shape
    W = PANEL_BYTES // w.itemsize
    right = panels[: -(-K // W) * W * J].reshape(-(-K // W), J, W)
    pack_parallel(w, right)
    multiply_parallel(delta, right, da, more)


@njit_fast(apart=True)
def _some_rows_back(delta, right, da, kind, slope, out, rise):
    """A few rows of a layer, on the way back."""
    multiply(any_layout(delta), right, any_layout(da), da.size < 0)
    activate_backward(da, kind, slope, out, rise)


@njit_fast(apart=True, parallel=True)
def _all_rows_back(delta, right, da, kind, slope, out, rise):
    """All rows of a layer, on the way back, by all threads."""
    for m in prange(-(-len(da) // SOME)):
        i, j = m * SOME, (m + 1) * SOME
        _some_rows_back(delta[i:j], right, da[i:j], kind, slope, out[i:j], rise[i:j])


@njit_fast(apart=True)
def layer_input_into(delta, w, panels, da, kind, slope, out, rise):
    """da = δ w ⊙ g′, with the g of the layer below, from what it gave or from g′ itself
    (n j), (j k), (numbers), (n k), (), (), (n k), (n k) -> (n k)
    """
    J, K = w.shape
    W = PANEL_BYTES // w.itemsize
    right = panels[: -(-K // W) * W * J].reshape(-(-K // W), J, W)
    pack_parallel(w, right)
    if delta.size * K < PARALLEL_FROM:
        _some_rows_back(any_layout(delta), any_layout(right), da, kind, slope, out, rise)
    elif TILED and threads() > 1:
        _all_rows_back(any_layout(delta), any_layout(right), da, kind, slope, out, rise)
    else:
        for i in range(0, len(da), SOME):
            j = i + SOME
            of = any_layout(delta[i:j]), any_layout(right), da[i:j], kind, slope
            _some_rows_back(*of, out[i:j], rise[i:j])


@njit_fast(apart=True)
def _some_sums(delta, a, panels, dw):
    """Some rows and columns of `rows_gradient_into`; both factors are copied, a few rows at a time."""
    (R, J), K, W = delta.shape, a.shape[1], PANEL_BYTES // a.itemsize
    Q, deep = -(-K // W), min(R, AT_ONCE)
    right, turned = panels[: Q * deep * W].reshape(Q, deep, W), np.empty((deep, LINES), a.dtype)
    for r in range(0, R, AT_ONCE):
        m = min(R - r, AT_ONCE)
        packed, lines = any_layout(right[:, :m]), any_layout(delta[r : r + m])
        pack(any_layout(a[r : r + m]), packed)
        for i in range(0, J, LINES):
            n = min(LINES, J - i)
            copy_columns(lines, i, n, turned)
            multiply(any_layout(turned[:m, :n].T), packed, any_layout(dw[i : i + n]), R > 0)


@njit_fast(apart=True, parallel=True)
def _all_sums(delta, a, panels, dw, rows, columns, room):
    """All of `rows_gradient_into`, so many rows and columns each, by all threads."""
    (J, K), across = dw.shape, -(-dw.shape[1] // columns)
    for m in prange(-(-J // rows) * across):
        i, k = m // across * rows, m % across * columns
        j, n = min(J, i + rows), min(K, k + columns)
        own = panels[m * room : (m + 1) * room]
        _some_sums(delta[:, i:j], a[:, k:n], own, dw[i:j, k:n])


@njit_fast(apart=True)
def rows_gradient_into(delta, a, panels, dw):
    """dw_jk = dw_jk + Σ_r δ_rj a_rk, a few rows at a time, which stay in cache
    (r j), (r k), (numbers) -> (j k)
    """
    (R, J), K, W, T = delta.shape, a.shape[1], PANEL_BYTES // a.itemsize, threads()
    line = min(R, AT_ONCE) * W  # numbers of a panel
    if TILED and delta.size * K >= PARALLEL_FROM and T > 1:
        rows, columns = J, min(WIDE, -(-K // (T * W)) * W)
        if J > K and T * -(-K // W) * line <= panels.size:  # each copies all of the smaller factor
            rows, columns = -(-J // (T * ROWS)) * ROWS, K
        room = -(-columns // W) * line
        _all_sums(any_layout(delta), any_layout(a), panels, any_layout(dw), rows, columns, room)
    else:
        for k in range(0, K, WIDE):
            n = k + WIDE
            some = any_layout(a[:, k:n]), panels, any_layout(dw[:, k:n])
            _some_sums(any_layout(delta), *some)


@njit_fast
def _columns_sum(delta, db, first, last):
    """Columns `first` to `last` of `rows_sum_into`."""
    into = db[first:last]
    for r in range(delta.shape[0]):
        row = delta[r][first:last]
        for j in range(into.size):
            into[j] += row[j]


@njit_fast(apart=True, parallel=True)
def _all_columns_sum(delta, db, each):
    """`rows_sum_into` by all threads."""
    J = delta.shape[1]
    for m in prange(-(-J // each)):
        _columns_sum(delta, db, m * each, min(J, (m + 1) * each))


@njit_fast
def rows_sum_into(delta, db):
    """db_j = db_j + Σ_r δ_rj; db may be longer
    (r j) -> (j)
    """
    J = delta.shape[1]
    if 4 * delta.size >= PARALLEL_FROM and threads() > 1:
        _all_columns_sum(delta, db, -(-J // threads()))
    else:
        _columns_sum(delta, db, 0, J)


MANY = 512  # rows from which on a gradient is summed in blocks that stay in cache


@njit_fast(apart=True)
def gradients_into(delta, a, panels, dw, db):
    """dw = δᵀ a,   db_j = Σ_n δ_nj,   the same for a few rows or many
    (n j), (n k), (numbers) -> (j k), (j)
    """
    if len(a) < MANY:
        dense_backward_into(delta, a, panels, dw, db)
    else:
        dw[:], db[:] = 0, 0
        rows_gradient_into(delta, a, panels, dw)
        rows_sum_into(delta, db)


@njit_fast
def scatter_rows(dy, x, dw):
    """dw_k = dw_k + Σ_r [x_r = k] dy_r
    (r j), (r) -> (k j)
    """
    for r in range(x.size):
        into, row = dw[x[r]], dy[r]
        for j in range(row.size):
            into[j] += row[j]
