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
def look_into(v, q, a, o):
    """a_rs = softmax over s of q_r·v_rs / √c,   o_r = Σ_s a_rs v_rs
    (n s c), (r c) -> (r s), (r c)
    """
    scale, zero = q.dtype.type(1 / np.sqrt(q.shape[1])), q.dtype.type(0)
    for r in range(q.shape[0]):
        row, ask, found = a[r], q[r], o[r]
        most = -q.dtype.type(np.inf)
        for s in range(row.size):
            place, total = v[r, s], zero
            for c in range(ask.size):
                total += place[c] * ask[c]
            row[s] = total
            most = largest(most, total)
        total = zero
        for s in range(row.size):
            row[s] = decay(scale * (row[s] - most))
            total += row[s]
        found[:] = 0
        for s in range(row.size):
            row[s] /= total
            place, w = v[r, s], row[s]
            for c in range(found.size):
                found[c] += w * place[c]


@njit_fast
def look_backward_into(do, v, q, a, more, dq, dv):
    """dz_rs = a_rs (e_rs − Σ_t a_rt e_rt), e_rs = do_r·v_rs + more_rs,   dq_r = Σ_s dz_rs v_rs / √c
    (r c), (n s c), (r c), (r s), (n s) -> (r c), (n s c)

    What belongs to the places is added to dv.
    """
    scale, zero = q.dtype.type(1 / np.sqrt(q.shape[1])), q.dtype.type(0)
    e = np.empty(a.shape[1], a.dtype)
    for r in range(q.shape[0]):
        row, ask, back, down = a[r], q[r], do[r], dq[r]
        mean = zero
        for s in range(row.size):
            place, total = v[r, s], more[r, s]
            for c in range(back.size):
                total += place[c] * back[c]
            e[s] = total
            mean += row[s] * total
        down[:] = 0
        for s in range(row.size):
            w, dz = row[s], scale * row[s] * (e[s] - mean)
            place, into = v[r, s], dv[r, s]
            for c in range(down.size):
                down[c] += dz * place[c]
                into[c] += w * back[c] + dz * ask[c]


@njit_fast
def looking_into(z, h, c, tanh_c, counts, right, query, by_context, v, q, a, o):
    """States and cells of all steps; z holds wx e + b and becomes the gates
    (r 4j), (n+r j), (n+r j), (r j), (t), packed, packed, packed, (n s c) -> (r c), (r s), (r c)

    `right` is whᵀ, `query` turns states into what is asked for, `by_context` what was found into
    weighted inputs.
    """
    n, earlier, now = v.shape[0], 0, v.shape[0]
    for t in range(counts.shape[0]):
        m = counts[t]
        old, at, row = slice(earlier, earlier + m), slice(now, now + m), slice(now - n, now - n + m)
        multiply(h[old], query, q[row], False)
        look_into(v, q[row], a[row], o[row])
        multiply(o[row], by_context, z[row], True)
        multiply(h[old], right, z[row], True)
        lstm_cells(z[row], c[old], c[at], h[at], tanh_c[row])
        earlier, now = now, now + m


@njit_fast
def looking_backward_into(
    dh, do, z, c, tanh_c, counts, right, query, by_context, v, q, a, more, dstart, dc, dq, dv
):
    """Gates become δ; dh holds ∂C_t/∂h_t, do ∂C_t/∂o_t and becomes the whole gradient
    (r j), (r c), (r 4j), (n+r j), (r j), (t), packed, packed, packed, (n s c), (r c), (r s), (n s),
    (n j), (n j) -> (r c), (n s c)

    `dstart` and dc become the gradient of the first states and cells; dv is added to.
    """
    now, n = dh.shape[0], v.shape[0]
    for t in range(counts.shape[0] - 1, -1, -1):
        m = counts[t]
        now -= m
        earlier = now - (counts[t - 1] if t else 0)
        row, old = slice(now, now + m), slice(n + earlier, n + earlier + m) if t else slice(0, m)
        lstm_cells_backward(z[row], c[old], tanh_c[row], dh[row], dc[:m])
        multiply(z[row], by_context, do[row], True)
        look_backward_into(do[row], v, q[row], a[row], more, dq[row], dv)
        into = dh[earlier : earlier + m] if t else dstart[:m]
        if t == 0:
            into[:] = 0
        multiply(z[row], right, into, True)
        multiply(dq[row], query, into, True)


@njit_fast
def missed_into(a, counts, missed):
    """missed_ns = 1 − Σ_t a_tns; returns Σ_ns missed_ns²
    (r s), (t) -> (n s)
    """
    missed[:], r = 1, 0
    for t in range(counts.shape[0]):
        for m in range(counts[t]):
            for s in range(missed.shape[1]):
                missed[m, s] -= a[r, s]
            r += 1
    total = 0.0
    for m in range(missed.shape[0]):
        for s in range(missed.shape[1]):
            total += missed[m, s] * missed[m, s]
    return total
