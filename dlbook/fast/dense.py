"""Dense layers: products of packed matrices, for a batch or for very many rows."""

from dlbook.matmul import DEPTH, PANEL_BYTES, multiply_parallel, pack_parallel
from dlbook.tools.jit import njit_fast

__all__ = [
    "MANY",
    "dense_backward_into",
    "dense_input_into",
    "dense_into",
    "gradients_into",
    "rows_gradient_into",
    "rows_sum_into",
]


@njit_fast(apart=True)
def dense_into(a, w, b, panels, z):
    """z = a wᵀ + 1 bᵀ; `panels` is memory for the packed factor
    (n k), (j k), (j), (numbers) -> (n j)
    """
    J, K = w.shape
    W = PANEL_BYTES // a.itemsize
    right = panels[: -(-J // W) * W * K].reshape(-(-J // W), K, W)
    pack_parallel(w.T, right)
    multiply_parallel(a, right, z, False)
    for n in range(z.shape[0]):
        for j in range(J):
            z[n, j] += b[j]


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
def rows_gradient_into(delta, a, panels, dw):
    """dw_jk = dw_jk + Σ_r δ_rj a_rk, a few rows at a time, which stay in cache
    (r j), (r k), (numbers) -> (j k)
    """
    (R, K), W = a.shape, PANEL_BYTES // a.itemsize
    depth = DEPTH if delta.shape[1] > 512 else DEPTH // 4  # deep enough to be copied if far apart
    for first in range(0, R, depth):
        last = min(R, first + depth)
        right = panels[: -(-K // W) * W * (last - first)].reshape(-(-K // W), last - first, W)
        pack_parallel(a[first:last], right)
        multiply_parallel(delta[first:last].T, right, dw, True)


@njit_fast
def rows_sum_into(delta, db):
    """db_j = db_j + Σ_r δ_rj
    (r j) -> (j)
    """
    for r in range(delta.shape[0]):
        row = delta[r]
        for j in range(row.size):
            db[j] += row[j]


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
