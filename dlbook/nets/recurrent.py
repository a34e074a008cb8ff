"""Recurrent layers: one set of weights, used again at every step of a sequence.

Sequences of a batch lie in rows, one for each step, and `step.rows` says which row is which step
(`dlbook.fast.sequences.Rows`). States that are carried from outside are not inputs: a caller may set
`step.start` before the way up and `step.dlast` before the way back, and finds `step.last` and
`step.dstart`, lists of (n, j) in the order of the batch: h, or h and c. Equations: `rnn`, `gated`.
"""

from dataclasses import dataclass, field
from typing import ClassVar, NamedTuple

import numpy as np

from dlbook.fast.dense import dense_input_into, dense_into, rows_gradient_into, rows_sum_into
from dlbook.fast.gates import gru_backward_into, gru_into, in_parts, lstm_backward_into, lstm_into
from dlbook.fast.recurrent import STATE_ACTIVATIONS, recur_backward_into, recur_into
from dlbook.fast.sequences import (
    earlier_into,
    ends_into,
    look_up_backward_into,
    look_up_into,
)
from dlbook.matmul import DEPTH, pack_parallel
from dlbook.nets.layer import Layer, features
from dlbook.nets.rows import rows_for
from dlbook.rnn import INITIAL, orthogonal
from dlbook.tools import shapes
from dlbook.training import xavier

__all__ = ["GRU", "LSTM", "RNN", "Outcome", "Params", "Recurrent"]


@dataclass(frozen=True)
class Recurrent(Layer):
    """What RNN, LSTM and GRU share: input weights, carried states, gradients of the weights.

    Parameters
    ----------
    hidden : int
        Units of the state.
    initial : {"xavier", "orthogonal", "identity"}
        First weights from state to state; the others are Xavier's.
    scale : float
        Factor of the first weights from state to state.
    symbols : int, optional
        The layer reads whole numbers below this one, as if each were a row with a single 1.
    """

    learns: ClassVar[bool] = True
    keeps_output: ClassVar[bool] = True
    gates: ClassVar[int] = 1  # weighted inputs of a unit
    carried: ClassVar[int] = 1  # arrays that go from step to step
    inner: ClassVar[int] = 0  # further biases of a unit, which belong to the state

    hidden: int
    initial: str = field(default="xavier", kw_only=True)
    scale: float = field(default=1.0, kw_only=True)
    symbols: int | None = field(default=None, kw_only=True)

    def __post_init__(self):
        shapes.count("hidden", self.hidden)
        shapes.choice("initial", self.initial, INITIAL)
        shapes.number("scale", self.scale, least=0)
        if self.symbols is not None:
            shapes.count("symbols", self.symbols)

    def _inputs(self, s):
        """Return how many numbers a step has, a symbol as many as there are symbols."""
        if self.symbols is None:
            return features(self, s, 1)[0]
        if s != ():
            raise ValueError(f"{self} reads symbols, of shape (), and gets examples of shape {s}")
        return self.symbols

    def shape(self, s):
        self._inputs(s)
        return (self.hidden,)

    def parameters(self, s):
        J, G = self.hidden, self.gates * self.hidden
        return {"wx": (G, self._inputs(s)), "wh": (G, J), "b": (G + self.inner * J,)}

    def draw(self, p, rng):
        J = self.hidden
        for gate in range(self.gates):
            at = slice(gate * J, (gate + 1) * J)
            p.wx[at] = xavier((J, p.wx.shape[1]), rng)
            if self.initial == "xavier":
                p.wh[at] = xavier((J, J), rng)
            else:
                p.wh[at] = np.eye(J) if self.initial == "identity" else orthogonal(J, rng)
            p.wh[at] *= self.scale

    def forward(self, p, x, step):
        rows, J, R, x = rows_for(self, x, step), self.hidden, len(x), self._checked(x, step)
        n, G = len(rows.order), self.gates * J
        found = [step.array("hc"[m], n + R, J) for m in range(self.carried)]
        for part, first in zip(found, self._start(step, n), strict=True):
            part[:n] = 0 if first is None else first.take(rows.order, 0)
        z = found[0][n:] if self.gates == 1 else step.array("z", R, G)
        self._weigh(p, x, z, step)
        self.run(p, z, found, rows.counts, step)
        step.last = [np.empty((n, J), z.dtype) for _ in found]  # outlives the step
        for ends, part in zip(step.last, found, strict=True):
            ends_into(part, rows.last, rows.order, ends)
        return found[0][n:], (x, z, found)

    def backward(self, p, dh, kept, grads, step):
        (x, z, found), rows, J = kept, step.rows, self.hidden
        n, dlast = len(rows.order), step.dlast
        dstart = [step.array("d" + "hc"[m], n, J) for m in range(self.carried)]
        for m, part in enumerate(dstart):
            part[:] = 0 if m == 0 or dlast is None else dlast[m].take(rows.order, 0)
        if dlast is not None:
            ended = rows.last >= n  # the others have no step, and hand on what they began with
            dh[rows.last[ended] - n] += dlast[0][rows.order[ended]]
        dz, by_state = self.run_backward(p, dh, z, found, rows.counts, dstart, step)
        if dlast is not None:
            dstart[0][~ended] += dlast[0][rows.order[~ended]]
        step.dstart = [np.empty_like(part) for part in dstart]
        for into, part in zip(step.dstart, dstart, strict=True):
            into[rows.order] = part
        if grads is not None:
            self._weights(x, dz, by_state, found[0], rows.counts, grads, step)
        if not step.wants or self.symbols is not None:
            return None
        dx, (G, K) = step.array("dx", *x.shape), p.wx.shape
        dense_input_into(dz, p.wx, step.panels((G, K)), dx)
        return dx

    def _checked(self, x, step):
        """Return x if it is what the layer reads; a symbol out of range would be read anywhere."""
        if self.symbols is None:
            if x.dtype != step.all.dtype:
                raise TypeError(f"x is {x.dtype}, the memory of this step is {step.all.dtype}")
        elif x.dtype != np.int64:
            raise TypeError(f"x is {x.dtype}, symbols are int64")
        elif x.size and x.view(np.uint64).max() >= self.symbols:
            raise ValueError(f"x reaches from {x.min()} to {x.max()}, symbols is {self.symbols}")
        return x

    def _start(self, step, n):
        """Return the states before the first step, or None for zeros."""
        if step.start is None:
            return [None] * self.carried
        found, wanted = [part.shape for part in step.start], [(n, self.hidden)] * self.carried
        if found != wanted:
            raise ValueError(f"start has arrays of shapes {found}, {self} wants {wanted}")
        return step.start

    def _weigh(self, p, x, z, step):
        """Write wx x + b for all rows at once."""
        (G, K), b = p.wx.shape, p.b[: z.shape[1]]
        if self.symbols is not None:
            look_up_into(x, p.wx, b, step.all.memory.array("turned", K, G), z)
        else:
            dense_into(x, p.wx, b, step.panels((K, G)), z)

    def _weights(self, x, dz, by_state, h, counts, grads, step):
        """Overwrite the gradient; `by_state` is ∂C/∂(wh h), some gates at a time."""
        (G, K), J, R = grads.wx.shape, self.hidden, len(dz)
        panels = step.panels((min(R, DEPTH), max(J, K)))
        for part in grads:
            part[:] = 0
        before, at = h[:R], 0  # where no sequence ends before the others
        if R and counts[-1] < len(h) - R:
            before = step.all.memory.array("before", R, J)
            earlier_into(h, counts, before)
        for piece in by_state:
            rows_gradient_into(piece, before, panels, grads.wh[at : at + piece.shape[1]])
            at += piece.shape[1]
        if self.inner:
            rows_sum_into(by_state[-1], grads.b[G:])
        if self.symbols is not None:
            look_up_backward_into(dz, x, step.all.memory.array("turned", K, G), grads.wx)
        else:
            rows_gradient_into(dz, x, panels, grads.wx)
        rows_sum_into(dz, grads.b)

    def run(self, p, z, found, counts, step):
        """Turn z = wx x + b into states: those of all steps behind those before the first."""
        raise NotImplementedError(f"{type(self).__name__} has no run")

    def run_backward(self, p, dh, z, found, counts, dstart, step):
        """Return ∂C/∂z and, in parts, ∂C/∂(wh h); dstart becomes ∂C/∂start."""
        raise NotImplementedError(f"{type(self).__name__} has no run_backward")


def packed(w, step, name):
    """Return a matrix in panels, for products that are taken at once."""
    right = step.all.memory.packed(name, *w.shape)
    pack_parallel(w, right)
    return right


def nothing(dh):
    """Return what comes from steps behind the last: here it comes by `step.dlast`."""
    return np.zeros((0, dh.shape[1]), dh.dtype)


@dataclass(frozen=True)
class RNN(Recurrent):
    """h_t = g(wx x_t + wh h_{t−1} + b).

    Parameters
    ----------
    hidden : int
        Units of the state.
    activation : {"tanh", "relu", "linear"}
        g.
    initial, scale, symbols
        As in `Recurrent`.
    """

    activation: str = "tanh"

    def __post_init__(self):
        super().__post_init__()
        shapes.choice("activation", self.activation, tuple(STATE_ACTIVATIONS))

    def run(self, p, z, found, counts, step):
        J = self.hidden
        recur_into(found[0], counts, p.wh, STATE_ACTIVATIONS[self.activation], step.panels((J, J)))

    def run_backward(self, p, dh, z, found, counts, dstart, step):
        J, of = self.hidden, (p.wh, STATE_ACTIVATIONS[self.activation])
        recur_backward_into(dh, found[0], counts, *of, step.panels((J, J)), nothing(dh), dstart[0])
        return dh, [dh]


@dataclass(frozen=True)
class LSTM(Recurrent):
    """A cell with input, forget and output gate; weights in the order i, f, g, o.

    Parameters
    ----------
    hidden : int
        Units of the state.
    forget_bias : float
        First bias of the forget gate; the others start at zero.
    initial, scale, symbols
        As in `Recurrent`.
    """

    gates: ClassVar[int] = 4
    carried: ClassVar[int] = 2

    forget_bias: float = 1.0

    def __post_init__(self):
        super().__post_init__()
        shapes.number("forget_bias", self.forget_bias)

    def draw(self, p, rng):
        super().draw(p, rng)
        p.b[self.hidden : 2 * self.hidden] = self.forget_bias

    def run(self, p, z, found, counts, step):
        tanh_c, right = step.array("tanh_c", len(z), self.hidden), packed(p.wh.T, step, "forth")
        in_parts(lambda *part: lstm_into(z, *found, tanh_c, counts, right, *part), counts, z)

    def run_backward(self, p, dh, z, found, counts, dstart, step):
        tanh_c, right = step.array("tanh_c", len(z), self.hidden), packed(p.wh, step, "back")
        of = dh, z, found[1], tanh_c, counts, right, nothing(dh), *dstart
        in_parts(lambda *part: lstm_backward_into(*of, *part), counts, z)
        return z, [z]


@dataclass(frozen=True)
class GRU(Recurrent):
    """A cell with reset and update gate; weights in the order r, z, n.

    It has 4 `hidden` biases: those of r, z and n, and the second of n, which is added to wh h
    inside the reset gate.

    Parameters
    ----------
    hidden : int
        Units of the state.
    update_bias : float
        First bias of the update gate, which keeps the state; the others start at zero.
    initial, scale, symbols
        As in `Recurrent`.
    """

    gates: ClassVar[int] = 3
    inner: ClassVar[int] = 1

    update_bias: float = 1.0

    def __post_init__(self):
        super().__post_init__()
        shapes.number("update_bias", self.update_bias)

    def draw(self, p, rng):
        super().draw(p, rng)
        p.b[self.hidden : 2 * self.hidden] = self.update_bias

    def run(self, p, z, found, counts, step):
        (R, G), n = z.shape, len(found[0]) - len(z)
        q, of = step.array("q", R, self.hidden), step.all.memory.array("of state", n, G)
        right, bh = packed(p.wh.T, step, "forth"), p.b[G:]
        in_parts(lambda *part: gru_into(z, *found, q, bh, counts, right, of, *part), counts, z)

    def run_backward(self, p, dh, z, found, counts, dstart, step):
        J, q = self.hidden, step.array("q", len(z), self.hidden)
        right = packed(p.wh[: 2 * J], step, "back"), packed(p.wh[2 * J :], step, "back of n")
        of = dh, z, q, found[0], counts, *right, nothing(dh), *dstart
        in_parts(lambda *part: gru_backward_into(*of, *part), counts, z)
        return z, [z[:, : 2 * J], q]


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
