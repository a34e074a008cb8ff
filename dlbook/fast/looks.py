"""An LSTM that looks at the places of an image before each of its steps, over rows.

Images are in the order of the rows: those of the longest captions first.
"""

import numpy as np

from dlbook.fast.gates import lstm_cells, lstm_cells_backward
from dlbook.matmul import multiply
from dlbook.tools.elementary import decay
from dlbook.tools.jit import njit_fast
from dlbook.tools.simd import largest

__all__ = [
    "look_backward_into",
    "look_into",
    "looking_backward_into",
    "looking_into",
    "missed_into",
]


@njit_fast
def look_into(a, q, weights, g):
    """w_rp = softmax over p of a_rp·q_r / √c,   g_r = Σ_p w_rp a_rp
    (n p c), (r c) -> (r p), (r c)
    """
    scale = q.dtype.type(1 / np.sqrt(q.shape[1]))
    for r in range(q.shape[0]):
        row, ask, found = weights[r], q[r], g[r]
        most = row[0] - row[0] - row.dtype.type(np.inf)
        for p in range(row.size):
            place, total = a[r, p], ask[0] - ask[0]
            for c in range(ask.size):
                total += place[c] * ask[c]
            row[p] = total
            most = largest(most, total)
        total = ask[0] - ask[0]
        for p in range(row.size):
            row[p] = decay(scale * (row[p] - most))
            total += row[p]
        found[:] = 0
        for p in range(row.size):
            row[p] /= total
            place, w = a[r, p], row[p]
            for c in range(found.size):
                found[c] += w * place[c]


@njit_fast
def look_backward_into(dg, a, q, weights, more, dq, da):
    """dz_rp = w_rp (e_rp − Σ w_rp e_rp) with e_rp = dg_r·a_rp + more_rp,   dq_r = Σ_p dz_rp a_rp / √c
    (r c), (n p c), (r c), (r p), (n p) -> (r c), (n p c)

    What belongs to the places is added to da.
    """
    scale = q.dtype.type(1 / np.sqrt(q.shape[1]))
    e = np.empty(weights.shape[1], weights.dtype)
    for r in range(q.shape[0]):
        row, ask, back, down = weights[r], q[r], dg[r], dq[r]
        mean = ask[0] - ask[0]
        for p in range(row.size):
            place, total = a[r, p], more[r, p]
            for c in range(back.size):
                total += place[c] * back[c]
            e[p] = total
            mean += row[p] * total
        down[:] = 0
        for p in range(row.size):
            w, dz = row[p], scale * row[p] * (e[p] - mean)
            place, into = a[r, p], da[r, p]
            for c in range(down.size):
                down[c] += dz * place[c]
                into[c] += w * back[c] + dz * ask[c]


@njit_fast
def looking_into(z, h, c, tanh_c, counts, right, query, by_context, a, q, weights, g):
    """States and cells of all steps; z holds wx e + b and becomes the gates
    (r 4j), (n+r j), (n+r j), (r j), (t), packed, packed, packed, (n p c) -> (r c), (r p), (r c)

    `right` is whᵀ, `query` turns states into what is asked for, `by_context` what was found into
    weighted inputs.
    """
    n, earlier, now = a.shape[0], 0, a.shape[0]
    for t in range(counts.shape[0]):
        m = counts[t]
        old, at, row = slice(earlier, earlier + m), slice(now, now + m), slice(now - n, now - n + m)
        multiply(h[old], query, q[row], False)
        look_into(a, q[row], weights[row], g[row])
        multiply(g[row], by_context, z[row], True)
        multiply(h[old], right, z[row], True)
        lstm_cells(z[row], c[old], c[at], h[at], tanh_c[row])
        earlier, now = now, now + m


@njit_fast
def looking_backward_into(
    dh, dg, z, c, tanh_c, counts, right, query, by_context, a, q, weights, more, dstart, dc, dq, da
):
    """Gates become δ; dh holds ∂C_t/∂h_t, dg ∂C_t/∂g_t and becomes the whole gradient
    (r j), (r c), (r 4j), (n+r j), (r j), (t), packed, packed, packed, (n p c), (r c), (r p), (n p),
    (n j), (n j) -> (r c), (n p c)

    `dstart` and dc become the gradient of the first states and cells; da is added to.
    """
    now, n = dh.shape[0], a.shape[0]
    for t in range(counts.shape[0] - 1, -1, -1):
        m = counts[t]
        now -= m
        earlier = now - (counts[t - 1] if t else 0)
        row, old = slice(now, now + m), slice(n + earlier, n + earlier + m) if t else slice(0, m)
        lstm_cells_backward(z[row], c[old], tanh_c[row], dh[row], dc[:m])
        multiply(z[row], by_context, dg[row], True)
        look_backward_into(dg[row], a, q[row], weights[row], more, dq[row], da)
        into = dh[earlier : earlier + m] if t else dstart[:m]
        if t == 0:
            into[:] = 0
        multiply(z[row], right, into, True)
        multiply(dq[row], query, into, True)


@njit_fast
def missed_into(weights, counts, missed):
    """missed_np = 1 − Σ_t w_tnp; returns Σ_np missed_np²
    (r p), (t) -> (n p)
    """
    missed[:], r = 1, 0
    for t in range(counts.shape[0]):
        for m in range(counts[t]):
            for p in range(missed.shape[1]):
                missed[m, p] -= weights[r, p]
            r += 1
    total = 0.0
    for m in range(missed.shape[0]):
        for p in range(missed.shape[1]):
            total += missed[m, p] * missed[m, p]
    return total
