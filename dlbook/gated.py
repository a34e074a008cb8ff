"""Gated recurrent networks: cells that decide at each step what to keep, LSTM and GRU.

Page: ``book/gated.md``. Builds on `rnn` (the layer, the way through time) and
`linear_classification` (sigmoid). `dlbook.nets` has the layers, `LSTM` and `GRU`.

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

import numpy as np

from dlbook.linear_classification import sigmoid
from dlbook.rnn import state
from dlbook.tools.jit import njit

__all__ = [
    "bidirectional",
    "candidate",
    "cell_gradient",
    "cell_state",
    "forget_gate",
    "gru_candidate",
    "gru_deltas",
    "gru_state",
    "gru_states",
    "hidden_state",
    "input_gate",
    "lstm_deltas",
    "lstm_states",
    "output_gate",
    "parameters",
    "recurrent_input",
    "reset_gate",
    "residual_stack",
    "stacked",
    "update_gate",
    "weighted_input",
    "weights_gradient",
]

# The LSTM, one sequence at a time


@njit
def weighted_input(x, before, wx, wh, b):
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
    return sigmoid(weighted_input(x, before, wx, wh, b))


@njit
def input_gate(x, before, wx, wh, b):
    """(gated-input)  i_j = σ(Σ_k wx_jk x_k + Σ_i wh_ji before_i + b_j)
    (k), (i), (j k), (j i), (j) -> (j)
    """
    return sigmoid(weighted_input(x, before, wx, wh, b))


@njit
def candidate(x, before, wx, wh, b):
    """(gated-candidate)  g_j = tanh(Σ_k wx_jk x_k + Σ_i wh_ji before_i + b_j)
    (k), (i), (j k), (j i), (j) -> (j)
    """
    return np.tanh(weighted_input(x, before, wx, wh, b))


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
    return sigmoid(weighted_input(x, before, wx, wh, b))


@njit
def hidden_state(o, c):
    """(gated-hidden)  h_j = o_j tanh(c_j)
    (j), (j) -> (j)
    """
    h = np.empty_like(c)
    for j in range(c.shape[0]):
        h[j] = o[j] * np.tanh(c[j])
    return h


@njit(apart=True)
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
    delta, dc = np.empty_like(gates), np.zeros_like(c[0])
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
    return sigmoid(weighted_input(x, before, wx, wh, b))


@njit
def update_gate(x, before, wx, wh, b):
    """(gated-gru-update)  z_j = σ(Σ_k wx_jk x_k + Σ_i wh_ji before_i + b_j)
    (k), (i), (j k), (j i), (j) -> (j)
    """
    return sigmoid(weighted_input(x, before, wx, wh, b))


@njit
def recurrent_input(before, wh, bh):
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
    n, q = bx.copy(), recurrent_input(before, wh, bh)
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


@njit(apart=True)
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
        gates[t, q] = recurrent_input(h[t], wh[n], b[q])
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
    by_x = np.empty((T, 3 * J), h.dtype)
    by_h = np.empty_like(by_x)
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
def bidirectional(x, forward_0, backward_0, forward, backward):
    """(gated-bidirectional)  a_t = (h→_t, h←_t),
    h→_t = cell→(x_t, h→_{t−1}),   h←_t = cell←(x_t, h←_{t+1})
    (t k), (j), (j), layer, layer -> (t 2j)
    """
    T, J = x.shape[0], forward_0.shape[0]
    a, h = np.empty((T, 2 * J), forward_0.dtype), forward_0
    for t in range(T):
        h = state(x[t], h, forward[0], forward[1], forward[2])
        a[t, :J] = h
    h = backward_0
    for t in range(T - 1, -1, -1):
        h = state(x[t], h, backward[0], backward[1], backward[2])
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
def residual_stack(x, start, layers):
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
