"""Recurrent networks: one set of weights, used again at every step of a sequence.

Page: ``book/rnn.md``. Builds on `linear_classification` (softmax) and `training` (initial weights,
clipping). `dlbook.nets` has the layer, `RNN`, and what is made of it, `RecurrentNetwork`.

Sources: Elman, Cognitive Science 14 (1990); Werbos, Proc. IEEE 78 (1990), for backpropagation
through time; Hochreiter (1991) and Bengio, Simard & Frasconi, IEEE Trans. Neural Networks 5 (1994),
for gradients that vanish; Pascanu, Mikolov & Bengio, ICML (2013), for the bound and for clipping;
Williams & Peng, Neural Computation 2 (1990), for truncation; Le, Jaitly & Hinton, arXiv:1504.00941
(2015), for the identity as first weights; Griewank, Optim. Methods Softw. 1 (1992), for checkpoints.

Axes: n sequences of a batch; t steps from 1 to T (index t of the states, whose index 0 is the state
before the first step; index t − 1 of inputs, scores and errors); k inputs; j units of the hidden
state, i the same a step earlier; v outputs; r rows, one for each step of each sequence.

Names: x inputs, h hidden states, wx, wh and wy the weights from input to state, from state to state
and from state to scores, b and by biases, o scores, y targets, delta = ∂C/∂z with z = wh h + wx x + b.
"""

import numpy as np
from numpy.typing import ArrayLike

from dlbook.tools import shapes
from dlbook.tools.jit import check_indices, njit

__all__ = [
    "adding_problem",
    "bptt",
    "clipped_step",
    "deltas",
    "gradient",
    "irnn_jacobian",
    "jacobian_product",
    "orthogonal",
    "output_deltas",
    "outputs",
    "perplexity",
    "sample_symbol",
    "spectral_bound",
    "state",
    "states",
    "stored_states",
    "total_loss",
    "tracks",
    "truncated_deltas",
]

# The network, one sequence at a time


@njit
def state(x, before, wx, wh, b):
    """(rnn-state)  h_j = tanh(Σ_i wh_ji before_i + Σ_k wx_jk x_k + b_j)
    (k), (j), (j k), (j j), (j) -> (j)
    """
    after = b.copy()
    for j in range(b.shape[0]):
        for i in range(before.shape[0]):
            after[j] += wh[j, i] * before[i]
        for k in range(x.shape[0]):
            after[j] += wx[j, k] * x[k]
        after[j] = np.tanh(after[j])
    return after


@njit
def states(x, start, wx, wh, b):
    """h_0 = start,   h_t = state(x_t, h_{t−1})   for t = 1 … T
    (t k), (j), (j k), (j j), (j) -> (t+1 j)
    """
    h = np.empty((x.shape[0] + 1, b.shape[0]), b.dtype)
    h[0] = start
    for t in range(x.shape[0]):
        h[t + 1] = state(x[t], h[t], wx, wh, b)
    return h


@njit
def outputs(h, wy, by):
    """(rnn-output)  o_tv = Σ_j wy_vj h_tj + by_v
    (t j), (v j), (v) -> (t v)
    """
    o = np.empty((h.shape[0], by.shape[0]), wy.dtype)
    for t in range(h.shape[0]):
        for v in range(by.shape[0]):
            o[t, v] = by[v]
            for j in range(h.shape[1]):
                o[t, v] += wy[v, j] * h[t, j]
    return o


@njit(whole="y")
def total_loss(o, y):
    """(rnn-total-loss)  C = Σ_t C_t,   C_t = log Σ_v exp(o_tv) − o_t,y_t
    (t v), (t) -> ()
    """
    check_indices(y, o.shape[1])
    total = o.dtype.type(0)
    for t in range(o.shape[0]):
        most, parts = o[t].real.max(), o.dtype.type(0)
        for v in range(o.shape[1]):
            parts += np.exp(o[t, v] - most)
        total += most + np.log(parts) - o[t, y[t]]
    return total


# The way back


@njit(whole="y")
def output_deltas(o, y):
    """∂C/∂o_tv = softmax(o_t)_v − [y_t = v]
    (t v), (t) -> (t v)
    """
    check_indices(y, o.shape[1])
    delta = np.empty_like(o)
    for t in range(o.shape[0]):
        most, parts = o[t].max(), o.dtype.type(0)
        for v in range(o.shape[1]):
            delta[t, v] = np.exp(o[t, v] - most)
            parts += delta[t, v]
        for v in range(o.shape[1]):
            delta[t, v] /= parts
        delta[t, y[t]] -= 1
    return delta


@njit
def deltas(dh, h, wh):
    """(rnn-delta)  δ_tj = (1 − h_tj²) (∂C_t/∂h_tj + Σ_i wh_ij δ_{t+1,i})
    (t j), (t+1 j), (j j) -> (t j)
    """
    T, J = dh.shape
    delta = np.empty_like(dh)
    for t in range(T - 1, -1, -1):
        for j in range(J):
            delta[t, j] = dh[t, j]
            if t + 1 < T:
                for i in range(J):
                    delta[t, j] += wh[i, j] * delta[t + 1, i]
            delta[t, j] *= 1 - h[t + 1, j] ** 2
    return delta


@njit
def bptt(delta, h, x):
    """(rnn-bptt)  dwx_jk = Σ_t δ_tj x_tk,   dwh_ji = Σ_t δ_tj h_{t−1,i},
    db_j = Σ_t δ_tj
    (t j), (t+1 j), (t k) -> (j k), (j j), (j)
    """
    (T, J), K = delta.shape, x.shape[1]
    dwx, dwh = np.zeros((J, K), h.dtype), np.zeros((J, J), h.dtype)
    db = np.zeros(J, h.dtype)
    for t in range(T):
        for j in range(J):
            db[j] += delta[t, j]
            for k in range(K):
                dwx[j, k] += delta[t, j] * x[t, k]
            for i in range(J):
                dwh[j, i] += delta[t, j] * h[t, i]
    return dwx, dwh, db


@njit(whole="y")
def gradient(x, y, start, wx, wh, b, wy, by):
    """All derivatives of the total loss of one sequence: dwx, dwh, db, dwy, dby
    (t k), (t), (j), (j k), (j j), (j), (v j), (v) -> (j k), (j j), (j), (v j), (v)
    """
    h = states(x, start, wx, wh, b)
    do = output_deltas(outputs(h[1:], wy, by), y)
    (T, V), J = do.shape, b.shape[0]
    dwy, dby = np.zeros_like(wy), np.zeros_like(by)
    dh = np.zeros((T, J), h.dtype)
    for t in range(T):
        for v in range(V):
            dby[v] += do[t, v]
            for j in range(J):
                dwy[v, j] += do[t, v] * h[t + 1, j]
                dh[t, j] += do[t, v] * wy[v, j]
    dwx, dwh, db = bptt(deltas(dh, h, wh), h, x)
    return dwx, dwh, db, dwy, dby


@njit
def truncated_deltas(dh, h, wh, truncate):
    """(rnn-truncated)  δ_tj = (1 − h_tj²) (∂C_t/∂h_tj
    + [truncate ∤ t] Σ_i wh_ij δ_{t+1,i})
    (t j), (t+1 j), (j j), () -> (t j)
    """
    delta = np.empty_like(dh)
    for first in range(0, dh.shape[0], truncate):
        stop = first + truncate
        delta[first:stop] = deltas(dh[first:stop], h[first : stop + 1], wh)
    return delta


# What is left of a change many steps later


@njit
def jacobian_product(h, wh):
    """(rnn-jacobian-product)  ∂h_T/∂h_0 = D_T wh · … · D_1 wh,
    D_t = diag(1 − h_t²)
    (t+1 j), (j j) -> (j j)
    """
    J = wh.shape[0]
    product = np.eye(J).astype(wh.dtype)
    for t in range(1, h.shape[0]):
        earlier, product = product, np.zeros_like(wh)
        for j in range(J):
            for i in range(J):
                for m in range(J):
                    product[j, m] += wh[j, i] * earlier[i, m]
            for m in range(J):
                product[j, m] *= 1 - h[t, j] ** 2
    return product


@njit
def spectral_bound(norm, slope, steps):
    """(rnn-spectral-bound)  ‖∂h_t/∂h_s‖ ≤ (max|g′| · ‖wh‖)^(t−s)
    (), (), () -> ()
    """
    return (slope * norm) ** steps


@njit
def irnn_jacobian(h):
    """(rnn-irnn)  wh = 1, g = relu:  ∂h_T,j/∂h_0,i = [i = j] Π_t [h_tj > 0]
    (t+1 j) -> (j j)
    """
    J = h.shape[1]
    jacobian = np.zeros((J, J), h.dtype)
    for j in range(J):
        jacobian[j, j] = 1
        for t in range(1, h.shape[0]):
            if h[t, j] <= 0:
                jacobian[j, j] = 0
    return jacobian


@njit
def clipped_step(theta, g, rate, limit):
    """(rnn-clip)  θ_p ← θ_p − η g_p min(1, τ / ‖g‖)
    (p), (p), (), () -> (p)
    """
    square = g.dtype.type(0)
    for p in range(g.shape[0]):
        square += g[p] ** 2
    norm, new = np.sqrt(square), theta.copy()
    for p in range(g.shape[0]):
        new[p] -= rate * g[p] * (limit / norm if norm > limit else 1)
    return new


@njit
def stored_states(T, c):
    """(rnn-checkpoint)  states kept = ⌈T/c⌉ + min(c, T)
    (), () -> ()
    """
    return -(-T // c) + min(c, T)


def orthogonal(size: int, rng: np.random.Generator) -> np.ndarray:
    """Draw an orthogonal matrix, all of them being equally likely.

    Parameters
    ----------
    size : int
        Rows and columns.
    rng : numpy.random.Generator
        Source of the matrix.

    Returns
    -------
    ndarray, shape (j, j)
        Its singular values are 1, and so are the absolute values of its eigenvalues.
    """
    q, r = np.linalg.qr(shapes.generator("rng", rng).standard_normal((size, size)))
    return q * np.sign(np.diagonal(r))


INITIAL = ("xavier", "orthogonal", "identity")


# Text


@njit
def perplexity(p):
    """(rnn-perplexity)  PP = exp(−(1/T) Σ_t log p_t)
    (t) -> ()
    """
    total = p.dtype.type(0)
    for t in range(p.shape[0]):
        total -= np.log(p[t])
    return np.exp(total / p.shape[0])


@njit
def sample_symbol(o, u, temperature):
    """(rnn-sample)  the first v with Σ_{w ≤ v} exp(o_w / τ) > u Σ_w exp(o_w / τ)
    (v), (), () -> ()
    """
    most, total, below = o.max(), o.dtype.type(0), o.dtype.type(0)
    for v in range(o.shape[0]):
        total += np.exp((o[v] - most) / temperature)
    for v in range(o.shape[0]):
        below += np.exp((o[v] - most) / temperature)
        if below > u * total:
            return v
    return o.shape[0] - 1


def tracks(symbols: ArrayLike, batch: int) -> tuple[np.ndarray, np.ndarray]:
    """Cut one long sequence into tracks that are read side by side, each predicting its next symbol.

    Parameters
    ----------
    symbols : array_like of int, shape (r,)
        The sequence.
    batch : int
        How many tracks, n. What is left over at the end is not used.

    Returns
    -------
    x, y : ndarray of int64, shape (n, t)
        Inputs, and what follows each of them.
    """
    symbols = shapes.Axes().labels("symbols", symbols, "r")
    batch = shapes.count("batch", batch)
    if len(symbols) <= batch:
        raise ValueError(f"symbols has {len(symbols)}, too few for {batch} tracks")
    each = (len(symbols) - 1) // batch
    x = symbols[: batch * each].reshape(batch, each)
    return x.copy(), symbols[1 : batch * each + 1].reshape(batch, each).copy()


# A task that is all memory


def adding_problem(
    count: int, steps: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Return sequences of random numbers of which two are marked, and the sum of these two.

    Parameters
    ----------
    count : int
        Sequences.
    steps : int
        Their length, at least 2: one mark stands in the first half, the other in the second.
    rng : numpy.random.Generator
        Draws them.

    Returns
    -------
    x : ndarray, shape (n, t, 2)
        A number uniform on [0, 1), and 1 where it is marked, 0 elsewhere.
    y : ndarray, shape (n, 1)
        The sum. Who always answers 1 has a mean squared error of 1/6.

    References
    ----------
    Hochreiter & Schmidhuber, Neural Computation 9 (1997), experiment 4.
    """
    count, steps = shapes.count("count", count), shapes.count("steps", steps, least=2)
    shapes.generator("rng", rng)
    x = np.zeros((count, steps, 2))
    x[..., 0] = rng.random((count, steps))
    for begin, stop in ((0, steps // 2), (steps // 2, steps)):
        x[np.arange(count), rng.integers(begin, stop, count), 1] = 1
    return x, np.sum(x[..., 0] * x[..., 1], axis=1, keepdims=True)
