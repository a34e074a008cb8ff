"""Recurrent networks: one set of weights, used again at every step of a sequence.

Page: ``book/rnn.md``. Builds on `linear_classification` (softmax), `training` (initial weights, the
dense layer, clipping; `RNN` is trained by its loop), `matmul` (the packed product).

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
# ruff: noqa: E741

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import ClassVar, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from dlbook.fast.dense import dense_input_into, dense_into, rows_gradient_into, rows_sum_into
from dlbook.fast.losses import cross_entropy_rows, square_rows
from dlbook.matmul import DEPTH, PANEL_BYTES, multiply, pack
from dlbook.tools import shapes
from dlbook.tools.elementary import hyperbolic_tangent
from dlbook.tools.flat import Layout, belong, fits, laid_out, step_fits
from dlbook.tools.jit import check_indices, njit, njit_fast
from dlbook.tools.simd import aligned
from dlbook.training import cut_up, xavier

__all__ = [
    "RNN",
    "Alphabet",
    "Outcome",
    "Params",
    "Rows",
    "Work",
    "adding",
    "arrange",
    "arrange_into",
    "bend_backward_into",
    "bend_into",
    "bptt",
    "clipped_step",
    "deltas",
    "earlier_into",
    "gradient",
    "irnn_jacobian",
    "jacobian_product",
    "look_up_backward_into",
    "look_up_into",
    "orthogonal",
    "output_deltas",
    "outputs",
    "recur_backward_into",
    "recur_into",
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
    delta = np.zeros_like(dh)
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
def truncated_deltas(dh, h, wh, cut):
    """(rnn-truncated)  δ_tj = (1 − h_tj²) (∂C_t/∂h_tj
    + [cut ∤ t] Σ_i wh_ij δ_{t+1,i})
    (t j), (t+1 j), (j j), () -> (t j)
    """
    delta = np.zeros_like(dh)
    for first in range(0, dh.shape[0], cut):
        piece = slice(first, first + cut)
        delta[piece] = deltas(dh[piece], h[first : first + cut + 1], wh)
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


# The same, fast. A batch is laid out in rows: the first step of all sequences, the longest first,
# then the second step of those that have one, and so on. No row is padding, the sequences that are
# still running are the first rows of the step before, and what does not depend on the order of time
# is one product over all rows.

BENDS = {"tanh": 0, "relu": 1, "linear": 2}


@njit_fast
def arrange_into(lengths, steps, order, counts, places, last):
    """Sort sequences by length, and say where each row comes from and each sequence ends
    (n), () -> (n), (t), (r), (n)

    `counts` says how many sequences have a step t, `places` that row r is step t of sequence n as
    n · steps + t, `last` which row of the states is the last of each sequence, as they are ordered:
    states have n rows for the beginning in front of those of the steps.
    """
    N = lengths.shape[0]
    counts[:] = 0
    for n in range(N):
        for t in range(lengths[n]):
            counts[t] += 1
    j = 0
    for length in range(steps, -1, -1):  # from long to short, equal ones as they come
        if (counts[length - 1] if length else N) > j:
            for n in range(N):
                if lengths[n] == length:
                    order[j] = n
                    last[j] = j
                    j += 1
    r = 0
    for t in range(steps):
        for j in range(counts[t]):
            places[r] = order[j] * steps + t
            last[j] = N + r
            r += 1


@njit_fast
def bend_into(flat, kind):
    """tanh (0), relu (1) or nothing (2), in place
    (numbers) -> ()
    """
    zero = flat.dtype.type(0)
    if kind == 0:
        for p in range(flat.size):
            flat[p] = hyperbolic_tangent(flat[p])
    elif kind == 1:
        for p in range(flat.size):
            flat[p] = zero if flat[p] < zero else flat[p]


@njit_fast
def recur_into(h, counts, wh, kind, panels):
    """h_t = g(h_t + h_{t−1} whᵀ) in place, where h_t holds wx x_t + b; the first rows are h_0
    (n+r j), (t), (j j), (), (numbers) -> ()
    """
    J = wh.shape[0]
    W = PANEL_BYTES // h.itemsize
    right = panels[: -(-J // W) * W * J].reshape(-(-J // W), J, W)
    pack(wh.T, right)
    flat = h.reshape(-1)
    earlier, now = 0, h.shape[0] - counts.sum()
    for t in range(counts.shape[0]):
        count = counts[t]
        multiply(h[earlier : earlier + count], right, h[now : now + count], True)
        bend_into(flat[now * J : (now + count) * J], kind)
        earlier, now = now, now + count


@njit_fast
def bend_backward_into(delta, h, kind):
    """∂C/∂h becomes ∂C/∂z, from h = g(z)
    (numbers), (numbers) -> ()
    """
    one, zero = h.dtype.type(1), h.dtype.type(0)
    if kind == 0:
        for p in range(h.size):
            delta[p] *= one - h[p] * h[p]
    elif kind == 1:
        for p in range(h.size):
            delta[p] = delta[p] if h[p] > zero else zero


@njit_fast
def recur_backward_into(delta, h, counts, wh, kind, panels, after, dstart):
    """δ_t = g′ (∂C_t/∂h_t + whᵀ δ_{t+1}) in place, where delta holds ∂C_t/∂h_t
    (r j), (n+r j), (t), (j j), (), (numbers), (m j), (n j) -> ()

    `after` is what comes back from steps beyond the last, for the first m of its sequences;
    `dstart` becomes ∂C/∂h_0.
    """
    J = wh.shape[0]
    W = PANEL_BYTES // h.itemsize
    right = panels[: -(-J // W) * W * J].reshape(-(-J // W), J, W)
    pack(wh, right)
    flat, later, R = h.reshape(-1), delta.reshape(-1), delta.shape[0]
    if R == 0:
        dstart[:] = 0
        return
    begin = (h.shape[0] - R) * J
    now = R - counts[-1]
    for m in range(after.shape[0]):
        for j in range(J):
            delta[now + m, j] += after[m, j]
    for t in range(counts.shape[0] - 1, -1, -1):
        first, stop = now * J, (now + counts[t]) * J
        bend_backward_into(later[first:stop], flat[begin + first : begin + stop], kind)
        rows, earlier = delta[now : now + counts[t]], now - (counts[t - 1] if t else 0)
        if t > 0:
            multiply(rows, right, delta[earlier : earlier + counts[t]], True)
        else:
            dstart[:] = 0
            multiply(rows, right, dstart[: counts[0]], False)
        now = earlier


@njit_fast
def earlier_into(h, counts, before):
    """Copy for each row the state a step earlier
    (n+r j), (t) -> (r j)
    """
    r, earlier, now = 0, 0, h.shape[0] - counts.sum()
    for t in range(counts.shape[0]):
        for m in range(counts[t]):
            before[r] = h[earlier + m]
            r += 1
        earlier, now = now, now + counts[t]


@njit_fast
def look_up_into(x, wx, b, turned, z):
    """z_rj = wx_j,x_r + b_j: the product with a one-hot row is a column
    (r), (j k), (j), (k j) -> (r j)
    """
    for k in range(turned.shape[0]):
        for j in range(b.shape[0]):
            turned[k, j] = wx[j, k] + b[j]
    for r in range(x.shape[0]):
        row, found = z[r], turned[x[r]]
        for j in range(row.size):
            row[j] = found[j]


@njit_fast
def look_up_backward_into(delta, x, turned, dwx):
    """dwx_jk = dwx_jk + Σ_r δ_rj [x_r = k]
    (r j), (r), (k j) -> (j k)
    """
    turned[:] = 0
    for r in range(x.shape[0]):
        row, sums = delta[r], turned[x[r]]
        for j in range(row.size):
            sums[j] += row[j]
    for j in range(dwx.shape[0]):
        for k in range(dwx.shape[1]):
            dwx[j, k] += turned[k, j]


# Rows and memory


class Rows(NamedTuple):
    """How the steps of a batch lie in memory; see `arrange_into`."""

    order: np.ndarray  # (n,) sequences from long to short
    counts: np.ndarray  # (t,) sequences that have a step t, up to the longest
    places: np.ndarray  # (r,) n · steps + t
    last: np.ndarray  # (n,) rows of the states
    ahead: list  # (t+1) rows of the steps before t


def arrange(lengths: np.ndarray, steps: int) -> Rows:
    """Return the layout of a batch of sequences of the given lengths.

    Parameters
    ----------
    lengths : ndarray of int64, shape (n,)
        From 0 to `steps`; trusted.
    steps : int
        Steps of the arrays, padding included.

    Returns
    -------
    Rows
    """
    longest = int(lengths.max(initial=0))
    order, last = np.empty((2, lengths.size), np.int64)
    counts, places = np.empty(steps, np.int64), np.empty(int(lengths.sum()), np.int64)
    arrange_into(lengths, steps, order, counts, places, last)
    return Rows(order, counts[:longest], places, last, [0, *np.cumsum(counts[:longest]).tolist()])


class Work:
    """The memory of a step: arrays by name, made when first asked for, larger when they must be.

    Parameters
    ----------
    dtype : numpy dtype
        Of the arrays, unless they say otherwise.
    """

    def __init__(self, dtype):
        self.dtype = np.dtype(dtype)
        self.held = []  # for `step_fits`
        self._found, self._rooms = {}, {}

    def array(self, name, *shape) -> np.ndarray:
        """Return an array of that name and shape; what it holds is what was left in it."""
        found = self._found.get(name)
        if found is None or found.shape != shape:
            size, room = prod(shape), self._rooms.get(name)
            if room is None or room.size < size:
                room = self._rooms[name] = aligned((size,), self.dtype)
            found = self._found[name] = room[:size].reshape(shape)
        return found

    def panels(self, name, *shape) -> np.ndarray:
        """Return an array for a packed factor of a product; how large it is, the processor says."""
        return self.array(("panels", name), *shape)

    @property
    def bytes(self) -> int:
        """Return how large they have grown together."""
        return sum(room.nbytes for room in self._rooms.values())

    @property
    def panel_bytes(self) -> int:
        """Return how much of it is for packed factors."""
        return sum(room.nbytes for name, room in self._rooms.items() if name[0] == "panels")


# The model


class Params(NamedTuple):
    """Parameters of an `RNN`, or their gradients; all are views of ``flat``. Layers count from 0."""

    flat: np.ndarray
    wx: tuple  # wx[l] has shape (j, k), for l > 0 (j, j)
    wh: tuple  # (j, j)
    b: tuple  # (j,)
    wy: np.ndarray  # (v, j)
    by: np.ndarray  # (v,)


class Outcome(NamedTuple):
    """What a network makes of sequences; beyond the end of a sequence there are zeros."""

    states: np.ndarray  # (n, t, j) of the last layer
    scores: np.ndarray  # (n, t, v)
    last: tuple  # for each layer the states (n, j) after the last step of each sequence


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


@dataclass(frozen=True)
class RNN:
    """Layers of a recurrent network with linear scores on top, read at each step or at the end.

    Parameters
    ----------
    inputs : int
        Features of a step, or how many symbols there are.
    hidden : int
        Units of the state of each layer.
    outputs : int
        Scores.
    symbols : bool
        Whether inputs are symbols, numbers from 0 to `inputs` − 1, instead of features.
    reads : {"each", "last"}
        Whether there is a target for each step, or one for the whole sequence, read from the state
        after its last step. An empty sequence is then read from the state before the first.
    cost : {"cross-entropy", "squares"}
        Targets are classes, or numbers whose mean squared error counts. The mean is over all that
        is read in a batch, so that each step of a long sequence counts as one of a short one.
    cell : {"tanh", "relu", "linear"}
        What bends the weighted inputs.
    depth : int
        Layers; each but the first reads the states of the one below.
    initial : {"xavier", "orthogonal", "identity"}
        First weights from state to state; the others are Xavier's. Biases start at zero.
    scale : float
        Factor of the first weights from state to state.
    cut : int, optional
        Truncation: every so many steps errors are stopped on their way back, while states go on.
    keep : int, optional
        Checkpoints: only the states of so many steps are kept at once, and those at the borders;
        the others are computed again on the way back. The gradient is the same.
    dtype : {"float32", "float64"}
        Of parameters and data.

    Raises
    ------
    TypeError, ValueError
        If one of them is not what is described here.
    """

    inputs: int
    hidden: int
    outputs: int
    symbols: bool = False
    reads: str = "each"
    cost: str = "cross-entropy"
    cell: str = "tanh"
    depth: int = 1
    initial: str = "xavier"
    scale: float = 1.0
    cut: int | None = None
    keep: int | None = None
    dtype: str = "float32"

    gates: ClassVar[int] = 1  # weighted inputs of a unit
    ways: ClassVar[int] = 1  # directions in which a layer reads
    cells: ClassVar[tuple[str, ...]] = tuple(BENDS)

    def __post_init__(self):
        """Check all of them at once."""
        for name in ("inputs", "hidden", "outputs", "depth"):
            shapes.count(name, getattr(self, name))
        if not isinstance(self.symbols, bool):
            raise TypeError(f"symbols is {shapes.shown(self.symbols)}, expected True or False")
        shapes.choice("reads", self.reads, ("each", "last"))
        shapes.choice("cost", self.cost, ("cross-entropy", "squares"))
        shapes.choice("cell", self.cell, self.cells)
        shapes.choice("initial", self.initial, INITIAL)
        shapes.choice("dtype", self.dtype, ("float32", "float64"))
        shapes.number("scale", self.scale, least=0)
        for name in ("cut", "keep"):
            if getattr(self, name) is not None:
                shapes.count(name, getattr(self, name))
        if self.cut is not None and self.keep is not None:
            raise ValueError("cut and keep are both given; a gradient that is cut needs no keeping")

    # What a network of other cells, or of layers joined otherwise, has instead

    @property
    def width(self) -> int:
        """Return how many numbers the scores are made of."""
        return self.hidden

    @property
    def biases(self) -> int:
        """Return the biases of a set of cells."""
        return self.gates * self.hidden

    @property
    def carried(self) -> int:
        """Return how many arrays of states go from a step to the next."""
        return self.depth

    def _seen(self, h, n, counts, work):
        """Return what the scores of all steps are made of, as rows; the states have n rows more."""
        return h[-1][n:]

    def _seen_at(self, h, at):
        """Return what scores are made of in some rows of the states."""
        return h[-1][at]

    def _seen_back(self, part, at, n, counts, dh, work):
        """Write the gradient of `_seen_at` into rows of zeros, those of the first states left out."""
        dh[:], ends = 0, at >= n
        dh[at[ends] - n] = part[ends]

    def _start_back(self, part, at, dstart):
        """Add the part of that gradient that belongs to the first states."""
        dstart[-1][at] += part

    # Parameters, data, memory

    @cached_property
    def layout(self) -> Layout:
        """What the parameters of this model are like."""
        return laid_out(self._params())

    def _params(self):
        """Return parameters that are all zero."""
        K, J, V, G = self.inputs, self.hidden, self.outputs, self.gates * self.hidden
        below = [self.width if l else K for l in range(self.depth) for _ in range(self.ways)]
        B, S = self.biases, len(below)
        sizes = [(G, k) for k in below] + [(G, J)] * S + [(B,)] * S + [(V, self.width), (V,)]
        flat = np.zeros(sum(map(prod, sizes)), self.dtype)
        cut = cut_up(flat, sizes)
        layers = (tuple(cut[i * S : (i + 1) * S]) for i in range(3))
        return Params(flat, *layers, *cut[3 * S :])

    def init(self, rng: np.random.Generator) -> Params:
        """Draw the first parameters."""
        shapes.generator("rng", rng)
        params, J = self._params(), self.hidden
        for wx, wh in zip(params.wx, params.wh, strict=True):
            for gate in range(self.gates):
                square = wh[gate * J : (gate + 1) * J]
                wx[gate * J : (gate + 1) * J] = xavier((J, wx.shape[1]), rng)
                if self.initial == "xavier":
                    square[:] = xavier((J, J), rng)
                else:
                    square[:] = np.eye(J) if self.initial == "identity" else orthogonal(J, rng)
                square *= self.scale
        params.wy[:] = xavier(params.wy.shape, rng)
        return params

    def start(self) -> None:
        """Return running statistics, of which there are none."""

    def check(self, params: Params, data: tuple) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return inputs, targets and lengths, checked and of the dtype of the parameters.

        Parameters
        ----------
        params : Params
            The network.
        data : tuple (x, y) or (x, y, lengths)
            Symbols (n, t) or features (n, t, k); targets (n, t) or (n,) for classes, with a last
            axis v for numbers; lengths (n,), without which every sequence has all t steps. What
            stands behind the end of a sequence is not looked at.
        """
        if not isinstance(data, tuple) or len(data) not in (2, 3):
            raise TypeError("data is not a tuple (x, y) or (x, y, lengths)")
        fits(params, self.layout)
        axes = shapes.Axes()
        x, lengths, beyond = self._sequences(axes, data[0], data[2] if len(data) == 3 else None)
        y = shapes.array("y", data[1])
        if self.reads == "each":
            if not lengths.any():
                raise ValueError("lengths are all 0: there is no step to learn from")
            if y.shape[:2] == beyond.shape:
                y = y.copy()
                y[beyond] = 0
        letters = "n t" if self.reads == "each" else "n"
        if self.cost == "cross-entropy":
            y = axes.labels("y", y, letters, self.outputs)
        else:
            axes.sizes["v"] = (self.outputs, "outputs")
            y = axes.floats("y", y, f"{letters} v").astype(self.dtype)
        return x, y, lengths

    def _sequences(self, axes, x, lengths):
        """Return inputs with zeros behind the ends, the lengths, and what is behind them."""
        x, letters = shapes.array("x", x), "n t" if self.symbols else "n t k"
        if x.ndim != len(letters.split()):
            raise ValueError(
                f"x has shape {x.shape}, expected ({', '.join(letters.split())})"
                + (" of symbols" if self.symbols else "")
            )
        if x.size == 0:
            raise ValueError(f"x is empty: it has shape {x.shape}")
        (N, T), axes.sizes["k"] = x.shape[:2], (self.inputs, "inputs")
        if lengths is None:
            lengths = np.full(N, T)
        axes.sizes["n"] = (N, "x")
        lengths = axes.labels("lengths", lengths, "n", T + 1)
        beyond = np.arange(T) >= lengths[:, None]
        if beyond.any():
            x = x.copy()
            x[beyond] = 0
        if self.symbols:
            return axes.labels("x", x, letters, self.inputs), lengths, beyond
        return axes.floats("x", x, letters).astype(self.dtype), lengths, beyond

    def workspace(self, batch: int) -> Work:
        """Return the memory for steps, which grows with the first of them."""
        shapes.count("batch", batch)
        return Work(self.dtype)

    # One layer; a network of other cells overrides these two

    def _layer_up(self, l, params, x, counts, start, work):
        """Return the states of layer l as rows, those of `start` first; x are rows of inputs."""
        n = len(start)
        h = work.array(("h", l), n + len(x), self.hidden)
        h[:n] = start
        self._weigh(l, params, x, h[n:], work)
        panels = self._panels(work, len(x))
        recur_into(h, counts, params.wh[l], BENDS[self.cell], panels)
        return h

    def _layer_down(self, l, params, h, counts, dh, after, grads, work):
        """Return ∂C/∂z of layer l as rows, and ∂C/∂start; add to the gradient of wh.

        dh are rows of ∂C/∂h without what comes from later steps, and may be overwritten; `after`
        is what comes from the steps behind this piece.
        """
        R, panels = len(dh), self._panels(work, len(dh))
        n = len(h) - R
        dstart = work.array(("dstart", l), n, self.hidden)
        of = params.wh[l], BENDS[self.cell], panels
        recur_backward_into(dh, h, counts, *of, after, dstart)
        before = h[:R]  # where no sequence ends before the others; otherwise rows do not lie alike
        if R and counts[-1] < n:
            before = work.array("before", R, self.hidden)
            earlier_into(h, counts, before)
        rows_gradient_into(dh, before, panels, grads.wh[l])
        return dh, dstart

    def _weigh(self, l, params, x, z, work):
        """Write wx x + b for all rows at once."""
        b = params.b[l][: z.shape[1]]  # a cell may have more biases than weighted inputs
        if x.ndim == 1:
            turned = work.array("turned", self.inputs, z.shape[1])
            look_up_into(x, params.wx[l], b, turned, z)
        else:
            dense_into(x, params.wx[l], b, self._panels(work, len(x)), z)

    def _weigh_back(self, l, x, delta, grads, work):
        """Add to the gradient of wx and b."""
        if x.ndim == 1:
            turned = work.array("turned", self.inputs, delta.shape[1])
            look_up_backward_into(delta, x, turned, grads.wx[l])
        else:
            rows_gradient_into(delta, x, self._panels(work, len(x)), grads.wx[l])
        rows_sum_into(delta, grads.b[l])

    def _panels(self, work, count):
        """Return memory for a packed factor of so many rows."""
        widest = max(self.width, self.outputs, 0 if self.symbols else self.inputs)
        panel = PANEL_BYTES // work.dtype.itemsize
        tall, deep = max(widest, self.gates * self.hidden), max(widest, min(count, DEPTH))
        return work.panels("rows", tall * (widest + deep) + panel * max(tall, deep))

    # A piece of the time axis: the whole of it, or what lies between two cuts or two checkpoints

    def _up(self, params, x, counts, start, work):
        """Return the states of all layers as rows."""
        h = []
        for l in range(self.depth):
            h.append(self._layer_up(l, params, x, counts, start[l], work))
            x = h[-1][len(start[l]) :]
        return h

    def _down(self, params, x, h, counts, dh, after, grads, work):
        """Carry ∂C/∂h of the last layer to the weights of all; returns ∂C/∂start of each."""
        dstart, n = [None] * self.depth, len(h[0]) - len(x)
        for l in range(self.depth - 1, -1, -1):
            below = x if l == 0 else h[l - 1][n:]
            delta, dstart[l] = self._layer_down(l, params, h[l], counts, dh, after[l], grads, work)
            self._weigh_back(l, below, delta, grads, work)
            if l:
                dh = work.array(("dh", l - 1), len(x), self.hidden)
                dense_input_into(delta, params.wx[l], self._panels(work, len(x)), dh)
        return dstart

    def _piece(self, params, x, y, rows, span, start, after, share, grads, work):
        """Go up and down the steps of a piece and add to the gradient.

        x are rows, y all that is to be read. Returns the part of the loss, the states of the piece
        and ∂C/∂start.
        """
        (first, stop), n = span, len(start[0])
        counts, ahead = rows.counts[first:stop], rows.ahead[first]
        R = rows.ahead[stop] - ahead
        x = x[ahead : ahead + R]
        h = self._up(params, x, counts, start, work)
        dh = work.array(("dh", self.depth - 1), R, self.width)
        if self.reads == "each":
            top, y = self._seen(h, n, counts, work), y[ahead : ahead + R]
            loss = self._read(params, top, y, dh, share, grads, work)
            return loss, h, self._down(params, x, h, counts, dh, after, grads, work)
        begin = len(rows.order) + ahead if first else 0  # in the states of the whole
        picked = (rows.last >= begin) & (rows.last < len(rows.order) + ahead + R)
        y, picked = y[picked], rows.last[picked] - (begin - n if first else 0)
        part, empty = work.array("part", len(y), self.width), picked < n
        loss = self._read(params, self._seen_at(h, picked), y, part, share, grads, work)
        self._seen_back(part, picked, n, counts, dh, work)
        dstart = self._down(params, x, h, counts, dh, after, grads, work)
        self._start_back(part[empty], picked[empty], dstart)
        return loss, h, dstart

    def _read(self, params, top, y, dtop, share, grads, work):
        """Write ∂C/∂top into dtop, add to the gradient, and return the part of the loss."""
        panels, o = self._panels(work, len(top)), work.array("o", len(top), self.outputs)
        dense_into(top, params.wy, params.by, panels, o)
        loss = (cross_entropy_rows if self.cost == "cross-entropy" else square_rows)(o, y, share)
        rows_gradient_into(o, top, panels, grads.wy)
        rows_sum_into(o, grads.by)
        dense_input_into(o, params.wy, panels, dtop)
        return loss

    def _arranged(self, batch, rows):
        """Return inputs and targets as rows, and the share of each in the mean."""
        x, y, _ = batch
        x = x.reshape(-1, *x.shape[2:]).take(rows.places, 0, mode="clip")
        if self.reads == "each":
            y = y.reshape(-1, *y.shape[2:]).take(rows.places, 0, mode="clip")
        else:
            y = y.take(rows.order, 0, mode="clip")
        numbers = len(y) * (1 if self.cost == "cross-entropy" else self.outputs)
        return x, y, 1 / max(1, numbers)

    def _zeros(self, n):
        """Return, for each layer, states that are zero."""
        return [np.zeros((n, self.hidden), self.dtype)] * self.carried

    def loss_and_grad(self, params, state, batch, grads, work, rng=None) -> float:
        """Return the mean loss of a batch and fill `grads`; see `check` for the batch."""
        fits(state, None, "state")
        start = self._zeros(len(batch[2]))
        return self.through_time(params, batch, start, grads, work)[0]

    def through_time(self, params, batch, start, grads, work):
        """Return the mean loss, the states after the last step, and ∂C/∂start; fill `grads`.

        Parameters
        ----------
        params, grads : Params
            The network, and where its gradient goes.
        batch : tuple (x, y, lengths)
            As `check` returns them; trusted.
        start : list of ndarray, shape (n, j)
            For each layer the states before the first step.
        work : Work
            Memory.

        Returns
        -------
        loss : float
        last, dstart : list of ndarray, shape (n, j)
            For each layer, the sequences in the order of the batch; dstart is None where errors
            were cut on their way.
        """
        step_fits(self, params, None, grads, work.held)
        rows = arrange(batch[2], batch[0].shape[1])
        x, y, share = self._arranged(batch, rows)
        T, order = len(rows.counts), rows.order
        step, after, loss = self.cut or self.keep or max(T, 1), self._zeros(0), 0.0
        spans = [(t, min(T, t + step)) for t in range(0, T, step)] or [(0, 0)]
        starts, last = [[part[order] for part in start]], [np.empty_like(part) for part in start]
        grads.flat[:] = 0
        if self.keep is not None:
            for first, stop in spans:
                some = x[rows.ahead[first] : rows.ahead[stop]]
                h = self._up(params, some, rows.counts[first:stop], starts[-1], work)
                starts.append(self._ends(h, rows, (first, stop), last))
            for span in spans[::-1]:
                starts.pop()
                part, _, after = self._piece(
                    params, x, y, rows, span, starts[-1], after, share, grads, work
                )
                loss, after = loss + part, [back.copy() for back in after]
        else:
            for span in spans:
                part, h, back = self._piece(
                    params, x, y, rows, span, starts[-1], after, share, grads, work
                )
                loss, starts = loss + part, [self._ends(h, rows, span, last)]
            after = back
        if len(spans) > 1 and self.keep is None:
            return loss, last, None
        dstart = [np.empty_like(part) for part in start]
        for part, found in zip(dstart, after, strict=True):
            part[order] = found
        return loss, last, dstart

    def _ends(self, h, rows, span, last):
        """Note the states of sequences that end in a piece; return those of the others, to go on."""
        (first, stop), N = span, len(rows.order)
        if stop - first == len(rows.counts):  # all steps at once
            for part, found in zip(last, h, strict=True):
                part[rows.order] = found[rows.last]
            return [part[:0] for part in h]
        begin = N + rows.ahead[first] if first else 0  # in the states of the whole
        here = (rows.last >= begin) & (rows.last < N + rows.ahead[stop])
        shift = len(h[0]) - (rows.ahead[stop] - rows.ahead[first]) - begin if first else 0
        on = rows.counts[stop] if stop < len(rows.counts) else 0
        for part, found in zip(last, h, strict=True):
            part[rows.order[here]] = found[rows.last[here] + shift]
        width = rows.counts[stop - 1] if on else 0
        return [part[len(part) - width :][:on].copy() for part in h]

    # Inference

    def run(
        self,
        params: Params,
        x: ArrayLike,
        lengths: ArrayLike | None = None,
        start: Sequence[np.ndarray] | None = None,
    ) -> Outcome:
        """Return states and scores of sequences.

        Parameters
        ----------
        params : Params
            The network.
        x : array_like, shape (n, t) or (n, t, k)
            Symbols or features.
        lengths : array_like of int, shape (n,), optional
            Steps of each sequence, from 0 on; all t where not given.
        start : sequence of ndarray, shape (n, j), optional
            For each layer the states before the first step; zero where not given.

        Returns
        -------
        Outcome
        """
        fits(params, self.layout)
        x, lengths, _ = self._sequences(shapes.Axes(), x, lengths)
        if start is None:
            start = self._zeros(len(x))
        elif len(start) != self.carried:
            raise ValueError(f"start has {len(start)} arrays, expected {self.carried}")
        axes = shapes.Axes(n=len(x), j=self.hidden)
        start = [
            axes.floats(f"start[{l}]", part, "n j").astype(self.dtype)
            for l, part in enumerate(start)
        ]
        return self._run(params, x, lengths, start, Work(self.dtype))

    def _run(self, params, x, lengths, start, work):
        """Return states and scores of checked sequences."""
        (N, T), rows = x.shape[:2], arrange(lengths, x.shape[1])
        x = x.reshape(N * T, *x.shape[2:])[rows.places]
        h = self._up(params, x, rows.counts, [part[rows.order] for part in start], work)
        states_ = np.zeros((N * T, self.width), self.dtype)
        states_[rows.places] = seen = self._seen(h, N, rows.counts, work)
        last = [np.empty_like(part) for part in start]
        for part, found in zip(last, h, strict=True):
            part[rows.order] = found[rows.last]
        scores = np.zeros((N * T, self.outputs), self.dtype)
        scores[rows.places] = self._scores(params, seen, work)
        split = (N, T, -1)
        return Outcome(states_.reshape(split), scores.reshape(split), tuple(last))

    def _scores(self, params, top, work):
        """Return the scores of rows of states."""
        o = np.empty((len(top), self.outputs), self.dtype)
        dense_into(top, params.wy, params.by, self._panels(work, len(top)), o)
        return o

    def _read_out(self, params, batch):
        """Return the scores of all that is read, the longest sequence first, and their targets."""
        x, _, lengths = batch
        rows, work = arrange(lengths, x.shape[1]), Work(self.dtype)
        x, y, share = self._arranged(batch, rows)
        h, N = self._up(params, x, rows.counts, self._zeros(len(lengths)), work), len(lengths)
        each = self.reads == "each"
        top = self._seen(h, N, rows.counts, work) if each else self._seen_at(h, rows.last)
        return self._scores(params, top, work), y, share

    def layers(self, params, state, batch) -> Iterator[tuple[str, np.ndarray]]:
        """Yield the name of each layer's weights and what the layer gives."""
        belong(self, params, state)
        x, _, lengths = batch
        rows, work = arrange(lengths, x.shape[1]), Work(self.dtype)
        x = self._arranged(batch, rows)[0]
        h = self._up(params, x, rows.counts, self._zeros(len(lengths)), work)
        for l, part in enumerate(h[:: len(h) // len(params.wh)]):
            yield f"wh[{l}]", part
        yield "wy", self._scores(params, self._seen_at(h, slice(None)), work)

    def loss(self, params: Params, state: None, batch: tuple) -> float:
        """Return the mean loss of checked data."""
        belong(self, params, state)
        o, y, share = self._read_out(params, batch)
        kernel = cross_entropy_rows if self.cost == "cross-entropy" else square_rows
        return float(kernel(o, y, share))

    def predict(
        self, params: Params, state: None, x: ArrayLike, lengths: ArrayLike | None = None
    ) -> np.ndarray:
        """Return the most probable class, or the scores where they are numbers to be predicted.

        Parameters
        ----------
        params : Params
            The network.
        state : None
            There are no running statistics.
        x, lengths
            As in `run`.

        Returns
        -------
        ndarray, shape (n, t) or (n,) of int64, or (n, t, v) or (n, v)
            Behind the end of a sequence classes are −1 and numbers 0.
        """
        belong(self, params, state)
        found, x = self.run(params, x, lengths), shapes.array("x", x)
        if self.reads == "last":
            top = self._seen_at(found.last, slice(None))
            scores = self._scores(params, top, Work(self.dtype))
            return scores if self.cost == "squares" else np.argmax(scores, axis=-1)
        if self.cost == "squares":
            return found.scores
        steps = np.full(len(x), x.shape[1]) if lengths is None else np.asarray(lengths)
        beyond = np.arange(x.shape[1]) >= steps[:, None]
        return np.where(beyond, -1, np.argmax(found.scores, axis=-1))

    def sample(
        self,
        params: Params,
        prompt: ArrayLike,
        length: int,
        rng: np.random.Generator,
        *,
        temperature: float = 1.0,
    ) -> np.ndarray:
        """Let the network continue a sequence of symbols: each one drawn becomes the next input.

        Parameters
        ----------
        params : Params
            A network whose outputs are the symbols it reads.
        prompt : array_like of int, shape (t,)
            What it reads first; at least one symbol.
        length : int
            How many symbols to draw.
        rng : numpy.random.Generator
            Draws them.
        temperature : float
            Scores are divided by it: below 1 the likely becomes likelier.

        Returns
        -------
        ndarray of int64, shape (length,)

        Raises
        ------
        TypeError, ValueError
            If the network does not read and predict the same symbols, the prompt is empty or has
            unknown symbols, or the temperature is not above 0.
        """
        if not self.symbols or self.inputs != self.outputs or self.cost != "cross-entropy":
            raise ValueError("sampling needs a network that reads and predicts the same symbols")
        fits(params, self.layout)
        prompt = shapes.Axes().labels("prompt", prompt, "t", self.inputs)
        length = shapes.count("length", length, least=0)
        temperature = shapes.number("temperature", temperature, above=0)
        uniform = shapes.generator("rng", rng).random(length)
        last, drawn = self._run_rows(params, prompt), np.empty(length, np.int64)
        for t in range(length):
            top = self._seen_at(last, slice(None))
            o = outputs(np.ascontiguousarray(top, float), *self._readout(params))
            drawn[t] = sample_symbol(o[0], uniform[t], temperature)
            last = self._run_rows(params, drawn[t : t + 1], last)
        return drawn

    def _readout(self, params):
        """Return the weights of the scores in float64, for sums of probabilities."""
        return params.wy.astype(float), params.by.astype(float)

    def _run_rows(self, params, x, start=None):
        """Return, for each layer, the state after one sequence of symbols."""
        counts = np.ones(len(x), np.int64)
        h = self._up(params, x, counts, start or self._zeros(1), Work(self.dtype))
        return [part[-1:].copy() for part in h]


# Text


@dataclass(frozen=True)
class Alphabet:
    """Symbols and their numbers.

    Parameters
    ----------
    symbols : str
        Each once; its place is its number.
    unknown : str, optional
        The one of them that stands for every character that is not among them.

    Raises
    ------
    ValueError
        If there is none, one occurs twice, or the unknown is not one of them.
    """

    symbols: str
    unknown: str | None = None

    def __post_init__(self):
        """Check them."""
        if not isinstance(self.symbols, str) or not self.symbols:
            raise ValueError(f"symbols is {shapes.shown(self.symbols)}, expected at least one")
        if len(set(self.symbols)) != len(self.symbols):
            twice = next(c for c in self.symbols if self.symbols.count(c) > 1)
            raise ValueError(f"symbols hold {twice!r} twice")
        if self.unknown is not None and self.unknown not in tuple(self.symbols):
            raise ValueError(
                f"unknown is {shapes.shown(self.unknown)}, which is not one of the symbols"
            )

    @classmethod
    def of(cls, text: str, least: int = 1, unknown: str | None = None) -> "Alphabet":
        """Return the characters that occur in a text at least so often, sorted.

        Parameters
        ----------
        text : str
            Usually the part of the text that a model is trained on.
        least : int
            Occurrences.
        unknown : str, optional
            A character to stand for all others; it is added.

        Raises
        ------
        TypeError, ValueError
            If `text` is not a string, `least` is not a whole number from 1 on, or `unknown` is not
            one character.
        """
        if not isinstance(text, str):
            raise TypeError(f"text is {type(text).__name__}, expected str")
        least, counts = shapes.count("least", least), {}
        for character in text:
            counts[character] = counts.get(character, 0) + 1
        kept = {c for c, count in counts.items() if count >= least}
        if unknown is not None and not (isinstance(unknown, str) and len(unknown) == 1):
            raise ValueError(f"unknown is {shapes.shown(unknown)}, expected one character")
        return cls("".join(sorted(kept | ({unknown} if unknown else set()))), unknown)

    def __len__(self):
        return len(self.symbols)

    def encode(self, text: str) -> np.ndarray:
        """Return the numbers of the characters of a text.

        Raises
        ------
        ValueError
            For a character that is not among the symbols, where none stands for the unknown.
        """
        number = {c: k for k, c in enumerate(self.symbols)}
        other = number.get(self.unknown)
        found = [number.get(c, other) for c in text]
        if None in found:
            at = found.index(None)
            raise ValueError(
                f"text holds {text[at]!r} at place {at}, which is not one of the {len(self)} symbols"
            )
        return np.array(found, np.int64)

    def decode(self, numbers: ArrayLike) -> str:
        """Return the text of numbers.

        Raises
        ------
        ValueError
            For a number that no symbol has.
        """
        numbers = shapes.array("numbers", numbers)
        if numbers.size:
            numbers = shapes.Axes().labels("numbers", numbers, "t", len(self))
        return "".join(self.symbols[k] for k in numbers)


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


def adding(count: int, steps: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
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
