"""Gated recurrent networks: cells that decide at each step what to keep, LSTM and GRU.

Page: ``book/gated.md``. Builds on `rnn` (layouts, the way through time in pieces, text; `Gated` is an
`RNN` of other cells), `linear_classification` (sigmoid), `matmul` (the packed product).

Sources: Hochreiter & Schmidhuber, Neural Computation 9 (1997), for the cell; Gers, Schmidhuber &
Cummins, Neural Computation 12 (2000), for the forget gate; Graves & Schmidhuber, Neural Networks 18
(2005), for the full gradient and both directions; Cho et al., EMNLP (2014), for the GRU; Schuster &
Paliwal, IEEE Trans. Signal Processing 45 (1997), for both directions; Jozefowicz, Zaremba &
Sutskever, ICML (2015), for the first bias of the forget gate; He et al., CVPR (2016), for shortcuts.

Axes: n sequences of a batch; t steps from 1 to T (index t of the states, whose index 0 is the state
before the first step; index t − 1 of inputs, gates and errors); k inputs; j units of the state, i the
same a step earlier; r rows, one for each step of each sequence. An axis 4j or 3j holds the units of
one gate after the other.

Names: x inputs, h hidden states, c cells, wx and wh the weights from input and from state, b biases.
An LSTM has the gates i, f, g, o (input, forget, candidate, output), a GRU r, z, n (reset, update,
candidate), in this order, which is PyTorch's. delta = ∂C/∂(weighted inputs of the gates).
"""
# ruff: noqa: E741

from dataclasses import dataclass

import numpy as np
from numba import get_num_threads

from dlbook.fast.dense import dense_input_into, rows_gradient_into, rows_sum_into
from dlbook.linear_classification import sigmoid
from dlbook.matmul import PANEL_BYTES, TILED, multiply, pack_parallel
from dlbook.rnn import BENDS, RNN, Params, earlier_into, state
from dlbook.tools import shapes
from dlbook.tools.elementary import hyperbolic_tangent, logistic
from dlbook.tools.jit import njit, njit_fast
from dlbook.tools.threads import in_threads

__all__ = [
    "Gated",
    "bidirectional",
    "candidate",
    "cell_gradient",
    "cell_state",
    "forget_gate",
    "gru_back_into",
    "gru_candidate",
    "gru_cells",
    "gru_cells_back",
    "gru_deltas",
    "gru_into",
    "gru_state",
    "gru_states",
    "hidden_state",
    "input_gate",
    "lstm_back_into",
    "lstm_cells",
    "lstm_cells_back",
    "lstm_deltas",
    "lstm_into",
    "lstm_states",
    "output_gate",
    "parameters",
    "recall",
    "reset_gate",
    "skipped",
    "stacked",
    "turn_into",
    "update_gate",
    "weighted",
    "weights_gradient",
]

# The LSTM, one sequence at a time


@njit
def weighted(x, before, wx, wh, b):
    """z_j = Σ_k wx_jk x_k + Σ_i wh_ji before_i + b_j
    (k), (i), (j k), (j i), (j) -> (j)
    """
    z = b.copy()
    for j in range(b.shape[0]):
        for k in range(x.shape[0]):
            z[j] += wx[j, k] * x[k]
        for i in range(before.shape[0]):
            z[j] += wh[j, i] * before[i]
    return z


@njit
def forget_gate(x, before, wx, wh, b):
    """(gated-forget)  f_j = σ(Σ_k wx_jk x_k + Σ_i wh_ji before_i + b_j)
    (k), (i), (j k), (j i), (j) -> (j)
    """
    return sigmoid(weighted(x, before, wx, wh, b))


@njit
def input_gate(x, before, wx, wh, b):
    """(gated-input)  i_j = σ(Σ_k wx_jk x_k + Σ_i wh_ji before_i + b_j)
    (k), (i), (j k), (j i), (j) -> (j)
    """
    return sigmoid(weighted(x, before, wx, wh, b))


@njit
def candidate(x, before, wx, wh, b):
    """(gated-candidate)  g_j = tanh(Σ_k wx_jk x_k + Σ_i wh_ji before_i + b_j)
    (k), (i), (j k), (j i), (j) -> (j)
    """
    return np.tanh(weighted(x, before, wx, wh, b))


@njit
def cell_state(f, before, i, g):
    """(gated-cell)  c_j = f_j before_j + i_j g_j
    (j), (j), (j), (j) -> (j)
    """
    c = np.empty_like(before)
    for j in range(c.shape[0]):
        c[j] = f[j] * before[j] + i[j] * g[j]
    return c


@njit
def output_gate(x, before, wx, wh, b):
    """(gated-output-gate)  o_j = σ(Σ_k wx_jk x_k + Σ_i wh_ji before_i + b_j)
    (k), (i), (j k), (j i), (j) -> (j)
    """
    return sigmoid(weighted(x, before, wx, wh, b))


@njit
def hidden_state(o, c):
    """(gated-hidden)  h_j = o_j tanh(c_j)
    (j), (j) -> (j)
    """
    h = np.empty_like(c)
    for j in range(c.shape[0]):
        h[j] = o[j] * np.tanh(c[j])
    return h


@njit
def lstm_states(x, h_0, c_0, wx, wh, b):
    """h_t, c_t and the gates i, f, g, o for t = 1 … T
    (t k), (j), (j), (4j k), (4j j), (4j) -> (t+1 j), (t+1 j), (t 4j)
    """
    T, J = x.shape[0], h_0.shape[0]
    h, c = np.empty((T + 1, J), b.dtype), np.empty((T + 1, J), b.dtype)
    gates, h[0], c[0] = np.empty((T, 4 * J), b.dtype), h_0, c_0
    i, f = slice(0, J), slice(J, 2 * J)
    g, o = slice(2 * J, 3 * J), slice(3 * J, 4 * J)
    for t in range(T):
        gates[t, i] = input_gate(x[t], h[t], wx[i], wh[i], b[i])
        gates[t, f] = forget_gate(x[t], h[t], wx[f], wh[f], b[f])
        gates[t, g] = candidate(x[t], h[t], wx[g], wh[g], b[g])
        gates[t, o] = output_gate(x[t], h[t], wx[o], wh[o], b[o])
        c[t + 1] = cell_state(gates[t, f], c[t], gates[t, i], gates[t, g])
        h[t + 1] = hidden_state(gates[t, o], c[t + 1])
    return h, c, gates


# Its way back


@njit
def cell_gradient(f):
    """(gated-cell-gradient)  ∂c_Tj/∂c_0j = Π_t f_tj, gates held fixed
    (t j) -> (j)
    """
    product = np.ones_like(f[0])
    for t in range(f.shape[0]):
        for j in range(f.shape[1]):
            product[j] *= f[t, j]
    return product


@njit
def lstm_deltas(dh, gates, c, wh):
    """(gated-lstm-bptt)  δ_t = (dc g i(1−i), dc c_{t−1} f(1−f), dc i (1−g²),
    e tanh(c) o(1−o)),   e = ∂C_t/∂h_t + whᵀ δ_{t+1},
    dc = f_{t+1} dc_{t+1} + e o (1 − tanh² c)
    (t j), (t 4j), (t+1 j), (4j j) -> (t 4j)
    """
    T, J = dh.shape
    delta, dc = np.zeros_like(gates), np.zeros_like(c[0])
    for t in range(T - 1, -1, -1):
        later = delta[t + 1] if t + 1 < T else np.zeros_like(delta[t])
        for j in range(J):
            i, f = gates[t, j], gates[t, J + j]
            g, o = gates[t, 2 * J + j], gates[t, 3 * J + j]
            e, u = dh[t, j], np.tanh(c[t + 1, j])
            for m in range(4 * J):
                e += wh[m, j] * later[m]
            dc[j] += e * o * (1 - u**2)
            delta[t, j] = dc[j] * g * i * (1 - i)
            delta[t, J + j] = dc[j] * c[t, j] * f * (1 - f)
            delta[t, 2 * J + j] = dc[j] * i * (1 - g**2)
            delta[t, 3 * J + j] = e * u * o * (1 - o)
            dc[j] *= f
    return delta


@njit
def weights_gradient(delta_x, delta_h, x, h):
    """(gated-weights)  dwx_jk = Σ_t δx_tj x_tk,   dwh_ji = Σ_t δh_tj h_{t−1,i},
    dbx_j = Σ_t δx_tj,   dbh_j = Σ_t δh_tj
    (t j), (t j), (t k), (t+1 i) -> (j k), (j i), (j), (j)
    """
    (T, J), K, I = delta_x.shape, x.shape[1], h.shape[1]
    dwx, dwh = np.zeros((J, K), h.dtype), np.zeros((J, I), h.dtype)
    dbx, dbh = np.zeros(J, h.dtype), np.zeros(J, h.dtype)
    for t in range(T):
        for j in range(J):
            dbx[j] += delta_x[t, j]
            dbh[j] += delta_h[t, j]
            for k in range(K):
                dwx[j, k] += delta_x[t, j] * x[t, k]
            for i in range(I):
                dwh[j, i] += delta_h[t, j] * h[t, i]
    return dwx, dwh, dbx, dbh


# The GRU, with the reset gate after the product, as in PyTorch


@njit
def reset_gate(x, before, wx, wh, b):
    """(gated-gru-reset)  r_j = σ(Σ_k wx_jk x_k + Σ_i wh_ji before_i + b_j)
    (k), (i), (j k), (j i), (j) -> (j)
    """
    return sigmoid(weighted(x, before, wx, wh, b))


@njit
def update_gate(x, before, wx, wh, b):
    """(gated-gru-update)  z_j = σ(Σ_k wx_jk x_k + Σ_i wh_ji before_i + b_j)
    (k), (i), (j k), (j i), (j) -> (j)
    """
    return sigmoid(weighted(x, before, wx, wh, b))


@njit
def recall(before, wh, bh):
    """q_j = Σ_i wh_ji before_i + bh_j
    (i), (j i), (j) -> (j)
    """
    q = bh.copy()
    for j in range(bh.shape[0]):
        for i in range(before.shape[0]):
            q[j] += wh[j, i] * before[i]
    return q


@njit
def gru_candidate(x, before, r, wx, wh, bx, bh):
    """(gated-gru-candidate)  n_j = tanh(Σ_k wx_jk x_k + bx_j
    + r_j (Σ_i wh_ji before_i + bh_j))
    (k), (i), (j), (j k), (j i), (j), (j) -> (j)
    """
    n, q = bx.copy(), recall(before, wh, bh)
    for j in range(bx.shape[0]):
        for k in range(x.shape[0]):
            n[j] += wx[j, k] * x[k]
        n[j] = np.tanh(n[j] + r[j] * q[j])
    return n


@njit
def gru_state(z, n, before):
    """(gated-gru-state)  h_j = (1 − z_j) n_j + z_j before_j
    (j), (j), (j) -> (j)
    """
    h = np.empty_like(before)
    for j in range(h.shape[0]):
        h[j] = (1 - z[j]) * n[j] + z[j] * before[j]
    return h


@njit
def gru_states(x, start, wx, wh, b):
    """h_t and r, z, n, q for t = 1 … T; b holds r, z, n and the second of n
    (t k), (j), (3j k), (3j j), (4j) -> (t+1 j), (t 4j)
    """
    T, J = x.shape[0], start.shape[0]
    h, gates = np.empty((T + 1, J), b.dtype), np.empty((T, 4 * J), b.dtype)
    h[0], r, z = start, slice(0, J), slice(J, 2 * J)
    n, q = slice(2 * J, 3 * J), slice(3 * J, 4 * J)
    for t in range(T):
        gates[t, r] = reset_gate(x[t], h[t], wx[r], wh[r], b[r])
        gates[t, z] = update_gate(x[t], h[t], wx[z], wh[z], b[z])
        of = wx[n], wh[n], b[n], b[q]
        gates[t, n] = gru_candidate(x[t], h[t], gates[t, r], *of)
        gates[t, q] = recall(h[t], wh[n], b[q])
        h[t + 1] = gru_state(gates[t, z], gates[t, n], h[t])
    return h, gates


@njit
def gru_deltas(dh, gates, h, wh):
    """(gated-gru-bptt)  δx_t = (dr, dz, dn),  δh_t = (dr, dz, r dn),
    dn = e (1−z)(1−n²),  dz = e (h_{t−1} − n) z(1−z),  dr = dn q r(1−r),
    e = ∂C_t/∂h_t + z_{t+1} e_{t+1} + whᵀ δh_{t+1}
    (t j), (t 4j), (t+1 j), (3j j) -> (t 3j), (t 3j)
    """
    (T, J), e = dh.shape, np.zeros_like(h[0])
    by_x = np.zeros((T, 3 * J), h.dtype)
    by_h = by_x.copy()
    for t in range(T - 1, -1, -1):
        for j in range(J):
            r, z = gates[t, j], gates[t, J + j]
            n, q = gates[t, 2 * J + j], gates[t, 3 * J + j]
            e[j] += dh[t, j]
            dn, dz = e[j] * (1 - z) * (1 - n**2), e[j] * z * (1 - z)
            by_x[t, j] = by_h[t, j] = dn * q * r * (1 - r)
            by_x[t, J + j] = by_h[t, J + j] = dz * (h[t, j] - n)
            by_x[t, 2 * J + j], by_h[t, 2 * J + j] = dn, r * dn
            e[j] *= z
        for m in range(3 * J):
            for j in range(J):
                e[j] += wh[m, j] * by_h[t, m]
    return by_x, by_h


@njit
def parameters(gates, K, J, biases):
    """(gated-parameters)  gates · J (K + J + biases)
    (), (), (), () -> ()
    """
    return gates * J * (K + J + biases)


# Layers joined. Any cell will do; these are written with that of `rnn`, and a layer is (wx, wh, b).


@njit
def bidirectional(x, forth_0, back_0, forth, back):
    """(gated-bidirectional)  a_t = (h→_t, h←_t),
    h→_t = cell→(x_t, h→_{t−1}),   h←_t = cell←(x_t, h←_{t+1})
    (t k), (j), (j), layer, layer -> (t 2j)
    """
    T, J = x.shape[0], forth_0.shape[0]
    a, h = np.empty((T, 2 * J), forth_0.dtype), forth_0
    for t in range(T):
        h = state(x[t], h, forth[0], forth[1], forth[2])
        a[t, :J] = h
    h = back_0
    for t in range(T - 1, -1, -1):
        h = state(x[t], h, back[0], back[1], back[2])
        a[t, J:] = h
    return a


@njit
def stacked(x, start, layers):
    """(gated-stacked)  h^l_t = cell^l(h^{l−1}_t, h^l_{t−1}),   h^0_t = x_t
    (t k), (l j), l layers -> (t j)
    """
    h, (T, J) = start.copy(), (x.shape[0], start.shape[1])
    out = np.empty((T, J), start.dtype)
    for t in range(T):
        below, l = x[t], 0
        for wx, wh, b in layers:
            h[l] = state(below, h[l], wx, wh, b)
            below, l = h[l], l + 1
        out[t] = below
    return out


@njit
def skipped(x, start, layers):
    """(gated-skip)  a^l_t = a^{l−1}_t + cell^l(a^{l−1}_t, h^l_{t−1}) for l > 1
    (t k), (l j), l layers -> (t j)
    """
    h, (T, J) = start.copy(), (x.shape[0], start.shape[1])
    out = np.zeros((T, J), start.dtype)
    for t in range(T):
        below, l = x[t], 0
        for wx, wh, b in layers:
            h[l] = state(below, h[l], wx, wh, b)
            out[t] += h[l]
            below, l = out[t], l + 1
    return out


# The same, fast, for a batch laid out in rows as in `rnn`. What a function does for the sequences
# `first` to `stop` it does for no others, so that threads can share a batch.


@njit_fast(forceinline=True)
def lstm_cells(z, before, c, h, bent):
    """Weighted inputs become gates; cells, states and tanh(c) of some rows
    (r 4j), (r j) -> (r j), (r j), (r j)
    """
    J = c.shape[1]
    for r in range(c.shape[0]):
        zi, zf, zg, zo = z[r][:J], z[r][J : 2 * J], z[r][2 * J : 3 * J], z[r][3 * J :]
        old, new, up, u = before[r], c[r], h[r], bent[r]
        for j in range(J):
            i, f = logistic(zi[j]), logistic(zf[j])
            g, o = hyperbolic_tangent(zg[j]), logistic(zo[j])
            cell = f * old[j] + i * g
            t = hyperbolic_tangent(cell)
            zi[j], zf[j], zg[j], zo[j] = i, f, g, o
            new[j], u[j], up[j] = cell, t, o * t


@njit_fast
def lstm_into(z, h, c, bent, counts, right, first, stop):
    """States and cells of all steps; z holds wx x + b and becomes the gates, `right` is whᵀ
    (r 4j), (n+r j), (n+r j), (r j), (t), (q j w), (), () -> ()
    """
    earlier, now = 0, h.shape[0] - z.shape[0]
    n = now
    for t in range(counts.shape[0]):
        last = min(stop, counts[t])
        if first < last:
            at, old = slice(now + first, now + last), slice(earlier + first, earlier + last)
            row = slice(now - n + first, now - n + last)
            multiply(h[old], right, z[row], True)
            lstm_cells(z[row], c[old], c[at], h[at], bent[row])
        earlier, now = now, now + counts[t]


@njit_fast(forceinline=True)
def lstm_cells_back(z, before, bent, dh, dc):
    """Gates become ∂C/∂(weighted inputs), and ∂C/∂c that of the cells before
    (r 4j), (r j), (r j), (r j), (r j) -> ()
    """
    one, J = z.dtype.type(1), dh.shape[1]
    for r in range(dh.shape[0]):
        zi, zf, zg, zo = z[r][:J], z[r][J : 2 * J], z[r][2 * J : 3 * J], z[r][3 * J :]
        old, u, e, d = before[r], bent[r], dh[r], dc[r]
        for j in range(J):
            i, f, g, o, t = zi[j], zf[j], zg[j], zo[j], u[j]
            do = e[j] * t
            cell = d[j] + e[j] * o * (one - t * t)
            zi[j] = cell * g * i * (one - i)
            zf[j] = cell * old[j] * f * (one - f)
            zg[j] = cell * i * (one - g * g)
            zo[j] = do * o * (one - o)
            d[j] = cell * f


@njit_fast
def lstm_back_into(dh, z, c, bent, counts, right, after, dstart, dc, first, stop):
    """Gates become δ; dh holds ∂C_t/∂h_t, `right` is wh, dc what comes to the last cells
    (r j), (r 4j), (n+r j), (r j), (t), (q 4j w), (m j), (n j), (n j), (), () -> ()

    `after` comes from steps behind the last, for the first m of its sequences. `dstart` and dc
    become the gradient of the first states and cells.
    """
    now, n = dh.shape[0], c.shape[0] - dh.shape[0]
    for t in range(counts.shape[0] - 1, -1, -1):
        now -= counts[t]
        last, earlier = min(stop, counts[t]), now - (counts[t - 1] if t else 0)
        if first < last:
            row = slice(now + first, now + last)
            old = slice(n + earlier + first, n + earlier + last) if t else slice(first, last)
            if t == counts.shape[0] - 1:
                for m in range(first, min(last, after.shape[0])):
                    into, more = dh[now + m], after[m]
                    for j in range(into.size):
                        into[j] += more[j]
            lstm_cells_back(z[row], c[old], bent[row], dh[row], dc[first:last])
            if t:
                multiply(z[row], right, dh[earlier + first : earlier + last], True)
            else:
                multiply(z[row], right, dstart[first:last], False)


@njit_fast(forceinline=True)
def gru_cells(z, p, bh, before, h, q):
    """Weighted inputs become gates r, z, n; p is wh h_{t−1}, q its last third with its bias
    (r 3j), (r 3j), (j), (r j) -> (r j), (r j)
    """
    J = h.shape[1]
    for r in range(h.shape[0]):
        xr, xz, xn = z[r][:J], z[r][J : 2 * J], z[r][2 * J :]
        pr, pz, pn = p[r][:J], p[r][J : 2 * J], p[r][2 * J :]
        old, new, recalled = before[r], h[r], q[r]
        for j in range(J):
            reset, keep = logistic(xr[j] + pr[j]), logistic(xz[j] + pz[j])
            v = pn[j] + bh[j]
            n = hyperbolic_tangent(xn[j] + reset * v)
            xr[j], xz[j], xn[j], recalled[j] = reset, keep, n, v
            new[j] = n + keep * (old[j] - n)


@njit_fast
def gru_into(z, h, q, bh, counts, right, p, first, stop):
    """States of all steps; z holds wx x + b and becomes the gates, `right` is whᵀ, p memory
    (r 3j), (n+r j), (r j), (j), (t), (q j w), (n 3j), (), () -> ()
    """
    earlier, now = 0, h.shape[0] - z.shape[0]
    n = now
    for t in range(counts.shape[0]):
        last = min(stop, counts[t])
        if first < last:
            at, old = slice(now + first, now + last), slice(earlier + first, earlier + last)
            row = slice(now - n + first, now - n + last)
            multiply(h[old], right, p[first:last], False)
            gru_cells(z[row], p[first:last], bh, h[old], h[at], q[row])
        earlier, now = now, now + counts[t]


@njit_fast(forceinline=True)
def gru_cells_back(z, q, before, dh, back):
    """Gates become (dr, dz, dn) and q becomes r dn; add to ∂C/∂h_{t−1} what goes past the gates
    (r 3j), (r j), (r j), (r j) -> (r j)
    """
    one, J = z.dtype.type(1), dh.shape[1]
    for r in range(dh.shape[0]):
        zr, zz, zn = z[r][:J], z[r][J : 2 * J], z[r][2 * J :]
        recalled, old, e, into = q[r], before[r], dh[r], back[r]
        for j in range(J):
            reset, keep, n = zr[j], zz[j], zn[j]
            dn = e[j] * (one - keep) * (one - n * n)
            zr[j] = dn * recalled[j] * reset * (one - reset)
            zz[j] = e[j] * (old[j] - n) * keep * (one - keep)
            zn[j] = dn
            recalled[j] = dn * reset
            into[j] += e[j] * keep


@njit_fast
def gru_back_into(dh, z, q, h, counts, gates, last_gate, after, dstart, first, stop):
    """Gates become δx and q the last third of δh; dh holds ∂C_t/∂h_t, the weights are packed
    (r j), (r 3j), (r j), (n+r j), (t), (q 2j w), (q j w), (m j), (n j), (), () -> ()

    `after` and `dstart` (zeros) are as in `lstm_back_into`.
    """
    now, n, J = dh.shape[0], h.shape[0] - dh.shape[0], dh.shape[1]
    for t in range(counts.shape[0] - 1, -1, -1):
        now -= counts[t]
        last, earlier = min(stop, counts[t]), now - (counts[t - 1] if t else 0)
        if first < last:
            row = slice(now + first, now + last)
            old = slice(n + earlier + first, n + earlier + last) if t else slice(first, last)
            if t == counts.shape[0] - 1:
                for m in range(first, min(last, after.shape[0])):
                    into, more = dh[now + m], after[m]
                    for j in range(into.size):
                        into[j] += more[j]
            back = dh[earlier + first : earlier + last] if t else dstart[first:last]
            gru_cells_back(z[row], q[row], h[old], dh[row], back)
            multiply(z[row][:, : 2 * J], gates, back, True)
            multiply(q[row], last_gate, back, True)


@njit_fast
def turn_into(counts, turn):
    """Say for each row which row it is when every sequence is read from its end
    (t) -> (r)
    """
    steps = counts.shape[0]
    begin = np.zeros(steps + 1, np.int64)
    for t in range(steps):
        begin[t + 1] = begin[t] + counts[t]
    length = steps
    for j in range(counts[0] if steps else 0):
        while counts[length - 1] <= j:
            length -= 1
        for t in range(length):
            turn[begin[t] + j] = begin[length - 1 - t] + j


# The model

CELLS = {"lstm": 4, "gru": 3}  # gates
PARALLEL_FROM = 2**25  # multiply-adds of a layer; below, threads would cost more than they save


@dataclass(frozen=True)
class Gated(RNN):
    """Layers of gated cells, or of those of `RNN`, one way or both ways, with or without shortcuts.

    Parameters
    ----------
    inputs, hidden, outputs, symbols, reads, cost, depth, initial, scale, cut, keep, dtype
        As in `RNN`.
    cell : {"lstm", "gru", "tanh", "relu", "linear"}
        The biases of a GRU are 4 times `hidden` numbers: those of its gates r, z and n, and the
        second of n, which belongs to the state.
    both : bool
        Whether every layer has a second set of cells that read the sequence from its end. What it
        hands on is then 2 × `hidden` numbers. Read at the end, the scores see the last state of
        each direction. A sequence must be whole for that, so that `cut` and `keep` are refused.
    skip : bool
        Whether a layer, from the second on, adds what it reads to what it hands on.
    hold : float
        First bias of the gate that keeps the memory: forget gate of an LSTM, update gate of a GRU.

    Raises
    ------
    TypeError, ValueError
        If one of them is not what is described here.

    Notes
    -----
    Where states are given or returned, there are for each layer and, within it, each direction
    the hidden states (n, j) and, for an LSTM, behind them the cells (n, j). The weights of the
    layers stand in that order too: with both directions ``wh[0]`` and ``wh[1]`` are of layer one.
    """

    cell: str = "lstm"
    both: bool = False
    skip: bool = False
    hold: float = 1.0

    cells = (*CELLS, *BENDS)

    def __post_init__(self):
        """Check all of them at once."""
        super().__post_init__()
        for name in ("both", "skip"):
            if not isinstance(getattr(self, name), bool):
                given = shapes.shown(getattr(self, name))
                raise TypeError(f"{name} is {given}, expected True or False")
        shapes.number("hold", self.hold)
        if self.both and (self.cut is not None or self.keep is not None):
            raise ValueError(
                "both is given with cut or keep, but half of the cells begin at the end"
            )

    @property
    def gates(self) -> int:
        """Return the weighted inputs of a unit."""
        return CELLS.get(self.cell, 1)

    @property
    def kept(self) -> int:
        """Return the arrays that a cell carries from step to step."""
        return 2 if self.cell == "lstm" else 1

    @property
    def ways(self) -> int:
        """Return in how many directions a layer reads."""
        return 2 if self.both else 1

    @property
    def width(self) -> int:
        """Return how many numbers a layer hands on at a step."""
        return self.ways * self.hidden

    @property
    def carried(self) -> int:
        """Return how many arrays of states go from a step to the next."""
        return self.depth * self.ways * self.kept

    @property
    def biases(self) -> int:
        """Return the biases of a set of cells, of which a GRU has more, inside its reset gate."""
        return self.gates * self.hidden + (self.hidden if self.cell == "gru" else 0)

    def init(self, rng: np.random.Generator) -> Params:
        """Draw the first parameters."""
        params, J = super().init(rng), self.hidden
        if self.cell in CELLS:  # the gate that keeps is the second of both cells
            for b in params.b:
                b[J : 2 * J] = self.hold
        return params

    # One set of cells

    def _layer_up(self, s, params, x, counts, start, work):
        """Return states, and cells if there are any, as rows; x are rows of inputs."""
        if self.cell in BENDS:
            return [super()._layer_up(s, params, x, counts, start[0], work)]
        (n, J), R, G = start[0].shape, len(x), self.gates * self.hidden
        found = [work.array(("hc"[m], s), n + R, J) for m in range(self.kept)]
        for part, first in zip(found, start, strict=True):
            part[:n] = first
        z, kept = work.array(("z", s), R, G), work.array(("kept", s), R, J)
        self._weigh(s, params, x, z, work)
        right = self._packed(params.wh[s].T, work, "up")
        if self.cell == "lstm":
            in_parts(lambda *part: lstm_into(z, *found, kept, counts, right, *part), counts, z)
        else:
            bh, p = params.b[s][G:], work.array("p", n, G)
            in_parts(
                lambda *part: gru_into(z, *found, kept, bh, counts, right, p, *part), counts, z
            )
        return found

    def _layer_down(self, s, params, h, counts, dh, after, grads, work):
        """Return ∂C/∂(weighted inputs) as rows, and ∂C/∂start; add to the gradient of wh."""
        if self.cell in BENDS:
            delta, back = super()._layer_down(s, params, h[0], counts, dh, after[0], grads, work)
            return delta, [back]
        R, J, wh = len(dh), self.hidden, params.wh[s]
        n = len(h[0]) - R
        dstart = [work.array(("first " + "hc"[m], s), n, J) for m in range(self.kept)]
        z, kept = work.array(("z", s), R, self.gates * J), work.array(("kept", s), R, J)
        for part in dstart:
            part[:] = 0
        if self.cell == "lstm":
            dstart[1][: len(after[1])] = after[1]
            right = self._packed(wh, work, "down")
            of = dh, z, h[1], kept, counts, right, after[0], *dstart
            in_parts(lambda *part: lstm_back_into(*of, *part), counts, z)
        else:
            gates = self._packed(wh[: 2 * J], work, "down")
            of = gates, self._packed(wh[2 * J :], work, "last"), after[0], *dstart
            in_parts(lambda *part: gru_back_into(dh, z, kept, h[0], counts, *of, *part), counts, z)
        before = h[0][:R]  # where no sequence ends before the others
        if R and counts[-1] < n:
            before = work.array("before", R, J)
            earlier_into(h[0], counts, before)
        panels = self._panels(work, R)
        if self.cell == "lstm":
            rows_gradient_into(z, before, panels, grads.wh[s])
        else:
            rows_gradient_into(z[:, : 2 * J], before, panels, grads.wh[s][: 2 * J])
            rows_gradient_into(kept, before, panels, grads.wh[s][2 * J :])
            rows_sum_into(kept, grads.b[s][3 * J :])
        return z, dstart

    def _packed(self, w, work, name):
        """Return a matrix (k, j) in panels."""
        (K, J), W = w.shape, PANEL_BYTES // w.itemsize
        right = work.panels(name, -(-J // W), K, W)
        pack_parallel(w, right)
        return right

    # Layers, joined

    def _of(self, s):
        """Return which of the carried arrays belong to a set of cells."""
        return slice(s * self.kept, (s + 1) * self.kept)

    def _turn(self, counts, work):
        """Return the rows in the order of the other direction."""
        if not self.both:
            return None
        turn = np.empty(int(counts.sum()), np.int64)
        turn_into(counts, turn)
        return turn

    def _turned(self, name, rows, turn, work):
        """Return rows in the order of the other direction."""
        if rows.ndim == 1:
            return rows[turn]
        return rows.take(turn, 0, out=work.array(name, *rows.shape), mode="clip")

    def _hand_on(self, l, h, below, n, turn, work):
        """Return what layer l hands on, as rows."""
        a, J = self._handed(l, h, n, work), self.hidden
        if self.both or (self.skip and l):
            a[:, :J] = h[l * self.ways * self.kept][n:]
            if self.both:
                a[:, J:] = h[(2 * l + 1) * self.kept][n:][turn]
            if self.skip and l:
                a += below
        return a

    def _handed(self, l, h, n, work):
        """Return where that is: the states of the layer, or memory of its own."""
        if self.both or (self.skip and l):
            return work.array(("a", l), len(h[0]) - n, self.width)
        return h[l * self.kept][n:]

    def _up(self, params, x, counts, start, work):
        """Return the states of all layers as rows."""
        h, n, turn = [], len(start[0]), self._turn(counts, work)
        for l in range(self.depth):
            for d in range(self.ways):
                s, rows = l * self.ways + d, self._turned("x", x, turn, work) if d else x
                h += self._layer_up(s, params, rows, counts, start[self._of(s)], work)
            x = self._hand_on(l, h, x, n, turn, work)
        return h

    def _down(self, params, x, h, counts, dh, after, grads, work):
        """Carry ∂C/∂(what the last layer hands on) to all weights; returns ∂C/∂start."""
        dstart, (R, J, n) = [None] * len(h), (len(x), self.hidden, len(h[0]) - len(x))
        turn = self._turn(counts, work)
        for l in range(self.depth - 1, -1, -1):
            below = self._handed(l - 1, h, n, work) if l else x
            dbelow = work.array(("da", l), R, self.width) if l else None
            for d in range(self.ways):
                s, part = l * self.ways + d, dh
                if self.both or (self.skip and l):  # rows of their own, which may be overwritten
                    part = work.array("part of da", R, J)
                    part[:] = dh[:, J:][turn] if d else dh[:, :J]
                delta, dstart[self._of(s)] = self._layer_down(
                    s, params, h[self._of(s)], counts, part, after[self._of(s)], grads, work
                )
                rows = self._turned("x", below, turn, work) if d else below
                self._weigh_back(s, rows, delta, grads, work)
                if l:
                    into = work.array("dx", R, self.width) if d else dbelow
                    dense_input_into(delta, params.wx[s], self._panels(work, R), into)
                    if d:
                        dbelow += into[turn]
            if self.skip and l:
                dbelow += dh
            dh = dbelow
        return dstart

    # What the scores see

    def _tops(self, d):
        """Return which states the scores see of a direction."""
        first = d * self.kept
        step = self.ways * self.kept
        return range(first, self.carried, step) if self.skip else [self.carried - step + first]

    def _seen(self, h, n, counts, work):
        """Return what the scores of all steps are made of."""
        return self._handed(self.depth - 1, h, n, work)

    def _seen_at(self, h, at):
        """Return what scores are made of in some rows of the states."""
        ways = [sum(h[m][at] for m in self._tops(d)) for d in range(self.ways)]
        return np.concatenate(ways, axis=1) if self.both else ways[0]

    def _seen_back(self, part, at, n, counts, dh, work):
        """Write the gradient of `_seen_at` into rows of zeros."""
        dh[:], ends, J = 0, at >= n, self.hidden
        dh[at[ends] - n, :J] = part[ends, :J]
        if self.both:
            dh[self._turn(counts, work)[at[ends] - n], J:] = part[ends, J:]

    def _start_back(self, part, at, dstart):
        """Add the part of that gradient that belongs to the first states."""
        for d in range(self.ways):
            for m in self._tops(d):
                dstart[m][at] += part[:, d * self.hidden : (d + 1) * self.hidden]

    def sample(self, params, prompt, length, rng, *, temperature=1.0):
        """Let the network continue a sequence of symbols; see `RNN.sample`."""
        if self.both:
            raise ValueError("both is given: half of the cells read what is still to be drawn")
        return super().sample(params, prompt, length, rng, temperature=temperature)


def in_parts(kernel, counts, z):
    """Call kernel(first, stop) for all sequences at once, or for a part of them in each thread.

    Without a register tile it is all at once: how np.dot rounds depends on how many rows it gets.
    """
    N = int(counts[0]) if len(counts) else 0
    worth = TILED and z.size * z.shape[1] >= PARALLEL_FROM
    parts = min(get_num_threads(), N // 8) if worth else 1
    if parts < 2:
        kernel(0, N)
        return
    steps = np.cumsum((counts > np.arange(N)[:, None]).sum(axis=1))
    borders = np.searchsorted(steps, steps[-1] * np.arange(1, parts) / parts) + 1
    borders = [0, *borders.tolist(), N]
    in_threads(lambda m: kernel(borders[m], borders[m + 1]), parts)
