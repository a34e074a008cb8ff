"""Layers that look: the places of a map, and an LSTM that looks at them before each of its steps.

Equations: `captioning`.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from dlbook.fast.dense import dense_input_into, dense_into, rows_gradient_into
from dlbook.fast.gates import lstm_backward_into, lstm_into
from dlbook.fast.looks import looking_backward_into, looking_into, missed_into
from dlbook.fast.sequences import earlier_into, ends_into
from dlbook.matmul import DEPTH
from dlbook.nets.layer import Layer, features
from dlbook.nets.recurrent import nothing, packed
from dlbook.nets.rows import rows_for
from dlbook.rnn import orthogonal
from dlbook.tools import shapes
from dlbook.training import xavier

__all__ = ["LOOKS", "LookingLSTM", "Places"]

LOOKS = ("attention", "fixed", "uniform", "flat")


@dataclass(frozen=True)
class Places(Layer):
    """The places of a map, row by row, each with a vector of its own added, which is learned.

    Parameters
    ----------
    scale : float
        Standard deviation of the first vectors.
    """

    learns: ClassVar[bool] = True
    scale: float = 0.1

    def __post_init__(self):
        shapes.number("scale", self.scale, least=0)

    def shape(self, s):
        rows, columns, width = features(self, s, 3)
        return rows * columns, width

    def parameters(self, s):
        return {"w": self.shape(s)}

    def draw(self, p, rng):
        p.w[:] = self.scale * rng.standard_normal(p.w.shape)

    def forward(self, p, x, step):
        y = step.array("y", len(x), *p.w.shape)
        return np.add(x.reshape(y.shape), p.w, out=y), x.shape

    def backward(self, p, dy, shape, grads, step):
        if grads is not None:
            dy.sum(axis=0, out=grads.w)
        return dy.reshape(shape) if step.wants else None


@dataclass(frozen=True)
class LookingLSTM(Layer):
    """An LSTM that reads at each step a word and what it finds among the places of an image.

    The input is the pair (e, v) of rows of word vectors, laid out by `step.rows`, and the places of
    each image, (n, s, c). Before a step the state h asks with q = wq h; a is the softmax of q·v_s / √c
    over the places, and o the mean of the places with these weights. The cell reads (e, o), and the
    output is the row (h, o) after it. The first state is tanh(ws m + bs) with the mean m of the
    places; the first cell is zero.

    Parameters
    ----------
    hidden : int
        Units of the state.
    look : {"attention", "fixed", "uniform", "flat"}
        With "fixed" the weights are the softmax of a table that is learned, (steps, s): they depend on
        how many words were written, and neither on the image nor on the state. With "uniform" all
        weights are 1/s. With "flat" there is no look: the first state is made of all places side by
        side, and the output is h.
    coverage : float
        λ: to the cost is added λ Σ_s (1 − Σ_u a_us)², in the mean over images.
    forget_bias : float
        First bias of the forget gate.
    steps : int
        Rows of the table of "fixed"; the last one serves for all later steps.

    References
    ----------
    Xu et al., ICML (2015), for the look before each step and for λ; Luong, Pham & Manning, EMNLP
    (2015), for the score.
    """

    learns: ClassVar[bool] = True
    carried: ClassVar[int] = 2
    hidden: int
    look: str = "attention"
    coverage: float = 0.0
    forget_bias: float = 1.0
    steps: int = 16

    def __post_init__(self):
        shapes.count("hidden", self.hidden)
        shapes.count("steps", self.steps)
        shapes.choice("look", self.look, LOOKS)
        shapes.number("coverage", self.coverage, least=0)
        shapes.number("forget_bias", self.forget_bias)
        if self.coverage and self.look != "attention":
            raise ValueError(
                f"coverage is {self.coverage}, and with look={self.look!r} it is not added"
            )

    def _pair(self, s):
        """Return numbers of a word, places, and numbers of a place."""
        if not isinstance(s, tuple) or len(s) != 2 or isinstance(s[0], int) or len(s[1]) != 2:
            raise ValueError(
                f"{self} wants two inputs, ((e,), (s, c)), and gets examples of shape {s}"
            )
        return features(self, s[0], 1)[0], *s[1]

    def shape(self, s):
        *_, C = self._pair(s)
        return (self.hidden + (C if self.look != "flat" else 0),)

    def parameters(self, s):
        (E, P, C), J = self._pair(s), self.hidden
        flat = self.look == "flat"
        first = {"ws": (J, P * C if flat else C), "bs": (J,)}
        query = {"attention": {"wq": (C, J)}, "fixed": {"table": (self.steps, P)}}.get(
            self.look, {}
        )
        return (
            first | query | {"wx": (4 * J, E if flat else E + C), "wh": (4 * J, J), "b": (4 * J,)}
        )

    def draw(self, p, rng):
        J = self.hidden
        p.ws[:] = xavier(p.ws.shape, rng)
        if self.look == "attention":
            p.wq[:] = xavier(p.wq.shape, rng)
        if self.look == "fixed":
            p.table[:] = 0
        for gate in range(4):
            at = slice(gate * J, (gate + 1) * J)
            p.wx[at], p.wh[at] = xavier((J, p.wx.shape[1]), rng), orthogonal(J, rng)
        p.b[J : 2 * J] = self.forget_bias

    def forward(self, p, x, step):
        e, v = x
        rows, J, R, N, E = rows_for(self, e, step), self.hidden, len(e), len(v), e.shape[1]
        v = v.take(rows.order, 0, out=step.array("v", *v.shape), mode="clip")
        whole = v.reshape(N, -1) if self.look == "flat" else v.mean(axis=1)
        h, c, z = step.array("h", N + R, J), step.array("c", N + R, J), step.array("z", R, 4 * J)
        if step.start is None:
            dense_into(whole, p.ws, p.bs, step.panels(p.ws.T.shape), h[:N])
            np.tanh(h[:N], out=h[:N])
            c[:N] = 0
        else:
            for part, first in zip((h, c), step.start[:2], strict=True):
                part[:N] = first.take(rows.order, 0)
        read = step.array("read", R, p.wx.shape[1])
        read[:, :E] = e
        of = z, h, c, step.array("tanh_c", R, J), rows.counts, packed(p.wh.T, step, "forth")
        if self.look == "attention":
            looked = self._looked(p, v, e, read, of, step)
        else:
            looked = None, None
            if self.look == "uniform":
                by_step(rows.counts, lambda u, m, row: np.copyto(read[row, E:], whole[:m]))
            if self.look == "fixed":
                looked = None, self._fixed(p, v, read[:, E:], step)
            dense_into(read, p.wx, p.b, step.panels(p.wx.T.shape), z)
            lstm_into(*of, 0, N)
        step.last = [np.empty((N, J), z.dtype) for _ in range(2)]  # outlives the step
        for ends, part in zip(step.last, (h, c), strict=True):
            ends_into(part, rows.last, rows.order, ends)
        y = step.array("y", R, J + read.shape[1] - E)
        y[:, :J], y[:, J:] = h[N:], read[:, E:]
        return y, (E, read, whole, v, h, c, z, of[3], *looked)

    def _looked(self, p, v, e, read, of, step):
        """Run all steps with looks; return queries and the weights of the places."""
        (N, P, C), (R, E), counts = v.shape, e.shape, of[4]
        words = np.ascontiguousarray(p.wx[:, :E])
        dense_into(e, words, p.b, step.panels(words.T.shape), of[0])
        context = packed(np.ascontiguousarray(p.wx[:, E:]).T, step, "found")
        q, a, o = (step.array(name, R, k) for name, k in (("q", C), ("a", P), ("o", C)))
        looking_into(*of, packed(p.wq.T, step, "ask"), context, v, q, a, o)
        read[:, E:] = o
        if self.coverage:
            missed = step.array("missed", N, P)
            step.all.cost += self.coverage / N * missed_into(a, counts, missed)
        return q, a

    def _fixed(self, p, v, o, step):
        """Write the means of places with the weights of each step; return these weights."""
        a, before = step.array("a", len(o), v.shape[1]), 0 if step.start is None else step.start[2]
        table = np.exp(p.table - p.table.max(axis=1, keepdims=True))
        table /= table.sum(axis=1, keepdims=True)

        def look(u, m, row):
            a[row] = table[min(before + u, self.steps - 1)]
            o[row] = a[row.start] @ v[:m]

        by_step(step.rows.counts, look)
        return a

    def _fixed_back(self, do, v, a, counts, dv, dtable):
        """Add what fixed looks send back to the places, and to their table."""

        def look(u, m, row):
            w = a[row.start]
            dv[:m] += w[:, None] * do[row, None]
            da = np.einsum("nsk,nk->s", v[:m], do[row])
            dtable[min(u, self.steps - 1)] += w * (da - w @ da)

        by_step(counts, look)

    def backward(self, p, dy, kept, grads, step):
        E, read, whole, v, h, c, z, tanh_c, q, a = kept
        rows, J, (N, P, C), R = step.rows, self.hidden, v.shape, len(z)
        dh, do = step.array("dh", R, J), step.array("do", R, dy.shape[1] - J)
        dh[:], do[:] = dy[:, :J], dy[:, J:]
        first, dc, dv = (
            step.array(f"d{name}", N, *s)
            for name, s in zip("hcv", ((J,), (J,), (P, C)), strict=True)
        )
        dc[:] = dv[:] = 0
        de, dwhole = step.array("de", R, E), step.array("dwhole", *whole.shape)
        of, dq = (z, c, tanh_c, rows.counts, packed(p.wh, step, "back")), None
        if self.look == "attention":
            dq, more = step.array("dq", R, C), step.array("more", N, P)
            more[:] = 0
            if self.coverage:
                np.multiply(step.array("missed", N, P), -2 * self.coverage / N, out=more)
            words, context = np.ascontiguousarray(p.wx[:, :E]), np.ascontiguousarray(p.wx[:, E:])
            back = packed(p.wq, step, "asked"), packed(context, step, "back to found")
            looking_backward_into(dh, do, *of, *back, v, q, a, more, first, dc, dq, dv)
            dense_input_into(z, words, step.panels(words.shape), de)
        else:
            lstm_backward_into(dh, *of, nothing(dh), first, dc, 0, N)
            dread = step.array("dread", *read.shape)
            dense_input_into(z, p.wx, step.panels(p.wx.shape), dread)
            de[:] = dread[:, :E]
            do += dread[:, E:]
        first *= 1 - h[:N] * h[:N]
        dense_input_into(first, p.ws, step.panels(p.ws.shape), dwhole)
        if self.look == "uniform":
            by_step(rows.counts, lambda u, m, row: np.add(dwhole[:m], do[row], out=dwhole[:m]))
        dv += dwhole.reshape(v.shape) if self.look == "flat" else (dwhole / P)[:, None]
        dtable = np.zeros_like(p.table) if self.look == "fixed" else None
        if dtable is not None:
            self._fixed_back(do, v, a, rows.counts, dv, dtable)
        if grads is not None:
            self._weights(grads, read, whole, h, z, first, dq, rows.counts, step)
            if dtable is not None:
                grads.table[:] = dtable
        back = step.array("dv in order", *v.shape)
        back[rows.order] = dv
        return de, back

    def _weights(self, grads, read, whole, h, z, first, dq, counts, step):
        """Overwrite the gradients of all weights."""
        J, R = self.hidden, len(z)
        before = step.array("before", R, J)
        earlier_into(h, counts, before)
        for part in grads:
            part[:] = 0
        products = [(first, whole, grads.ws), (z, read, grads.wx), (z, before, grads.wh)]
        if dq is not None:
            products.append((dq, before, grads.wq))
        for d, x, into in products:
            rows_gradient_into(d, x, step.panels((min(len(d), DEPTH), x.shape[1])), into)
        first.sum(axis=0, out=grads.bs)
        z.sum(axis=0, out=grads.b)


def by_step(counts, function):
    """Call function(u, m, row) for each step u, with the rows of its m sequences."""
    at = 0
    for u, m in enumerate(counts.tolist()):
        function(u, m, slice(at, at + m))
        at += m
