"""Layers of attention: several heads, of a sequence to itself or to another; Luong's; positions.

Sequences are (n, t, m): n examples of t steps of m numbers; for Luong's attention they are rows, as
for recurrent layers. Equations: `attention`.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

import numpy as np

from dlbook.attention import positional_encoding
from dlbook.fast.attend import attend, attend_backward
from dlbook.fast.dense import dense_input_into, dense_into, rows_gradient_into, rows_sum_into
from dlbook.matmul import DEPTH
from dlbook.nets.layer import Layer, features, rows_of
from dlbook.tools import shapes
from dlbook.training import xavier

__all__ = ["LuongAttention", "MultiHeadAttention", "PositionalEncoding"]


def steps_of(layer, s, width=None):
    """Return a shape if it is that of a sequence, with steps of the wanted width."""
    numbers = isinstance(s, tuple) and len(s) == 2 and all(isinstance(n, int) for n in s)
    if not numbers or width not in (None, s[1]):
        wanted = f"(t, {'m' if width is None else width})"
        raise ValueError(f"{layer} wants sequences {wanted} and gets examples of shape {s}")
    return s


def pair_of(s):
    """Return the shape of what asks and of what is looked at: a pair, or one that is both."""
    return s if isinstance(s, tuple) and len(s) == 2 and isinstance(s[0], tuple) else (s, s)


def of_the_step(step, *arrays):
    """Refuse arrays whose dtype is not that of the step's memory."""
    for x in arrays:
        if x.dtype != step.all.dtype:
            raise TypeError(f"x is {x.dtype}, the memory of this step is {step.all.dtype}")


def seen_of(lengths, n, s):
    """Return how many of s keys each of n sequences has: all where no lengths are given."""
    if lengths is None:
        return np.full(n, s)
    found = np.asarray(lengths)
    if found.dtype.kind not in "iu" or found.shape != (n,):
        raise ValueError(f"lengths is {shapes.shown(lengths)}, expected {n} whole numbers")
    if found.min(initial=0) < 0 or found.max(initial=0) > s:
        raise ValueError(
            f"lengths reach from {found.min()} to {found.max()}, expected 0 … {s}, the keys given"
        )
    return found.astype(np.int64, copy=False)


@dataclass(frozen=True)
class MultiHeadAttention(Layer):
    """Attention of several heads between two projections, of a sequence to itself or to another.

    The input is x, or a pair (x, y) in which x asks and y is looked at; of a pair `backward`
    returns the pair (∂C/∂x, ∂C/∂y). Where `step.lengths` says so, only the first steps of y are
    seen: the others are padding.

    A causal layer leaves its keys and values in `step.last`. Where it finds such in `step.start`,
    they stand in front of its own, and lengths count them: so a sequence may come piece by piece.

    Parameters
    ----------
    width : int
        Numbers of a step, of x and of y.
    heads : int
        It divides the width: each head has width / heads columns of the projections.
    causal : bool
        Whether a step sees itself and what is before it only.
    bias : bool
        Whether the projections have biases.

    References
    ----------
    Vaswani et al., NeurIPS (2017).
    """

    learns: ClassVar[bool] = True
    width: int
    heads: int
    causal: bool = False
    bias: bool = True

    def __post_init__(self):
        shapes.count("width", self.width)
        shapes.count("heads", self.heads)
        if self.width % self.heads:
            raise ValueError(f"heads is {self.heads}, which does not divide the width {self.width}")
        for name in ("causal", "bias"):
            if not isinstance(getattr(self, name), bool):
                given = shapes.shown(getattr(self, name))
                raise TypeError(f"{name} is {given}, expected True or False")

    def shape(self, s):
        x, y = pair_of(s)
        steps_of(self, y, self.width)
        return steps_of(self, x, self.width)

    def parameters(self, s):
        M = self.width
        w = dict.fromkeys(("wq", "wk", "wv", "wo"), (M, M))
        return w | dict.fromkeys(("bq", "bk", "bv", "bo"), (M,)) if self.bias else w

    def draw(self, p, rng):
        for w in p[:4]:
            w[:] = xavier(w.shape, rng)

    def forward(self, p, x, step):
        pair = isinstance(x, tuple)
        x, y = x if pair else (x, x)
        of_the_step(step, x, y)
        if x.shape[::2] != y.shape[::2] or x.shape[2:] != (self.width,):
            raise ValueError(
                f"{self} gets arrays of shape {x.shape} and {y.shape}, "
                f"expected (n, t, {self.width}) and (n, s, {self.width})"
            )
        (N, T, M), S, H = x.shape, y.shape[1], self.heads
        queries, looked, panels = rows_of(x), rows_of(y), self._panels(step)
        bq, bk, bv, bo = self._biases(p, step, "no bias")
        q, k, v = (
            step.array(name, N, steps, H, M // H) for name, steps in (("q", T), ("k", S), ("v", S))
        )
        dense_into(queries, p.wq, bq, panels, q.reshape(-1, M))
        dense_into(looked, p.wk, bk, panels, k.reshape(-1, M))
        dense_into(looked, p.wv, bv, panels, v.reshape(-1, M))
        how = (0, 0)
        if self.causal:
            k, v = self._carried(k, v, step)
            how = (k.shape[1] - S, 1)
        o, L, z = (
            step.array(name, *s) for name, s in (("o", q.shape), ("L", (N * H, T)), ("z", x.shape))
        )
        lengths = seen_of(step.lengths, N, k.shape[1])
        attend(q, k, v, o, L, lengths, how, step.all.memory, side=True)
        dense_into(o.reshape(-1, M), p.wo, bo, panels, rows_of(z))
        return z, ((queries, looked, q, k, v, o, L, lengths, how), pair)

    def backward(self, p, dz, kept, grads, step):
        (x, y, q, k, v, o, L, lengths, how), pair = kept
        M, memory, panels = self.width, step.all.memory, self._panels(step)
        dz, do = rows_of(dz), memory.array("do", *o.shape)
        dq, dk, dv = (memory.array(name, *a.shape) for name, a in (("dq", q), ("dk", k), ("dv", v)))
        dense_input_into(dz, p.wo, panels, do.reshape(-1, M))
        attend_backward(do, q, k, v, o, L, dq, dk, dv, lengths, how, memory, side=True)
        if self.causal:
            dk, dv = self._carried_back(dk, dv, how[0], step)
        dq, dk, dv = (d.reshape(-1, M) for d in (dq, dk, dv))
        if grads is not None:
            grown = (dq, x), (dk, y), (dv, y), (dz, o.reshape(-1, M))
            biases = self._biases(grads, step, "db")
            for (d, rows), dw, db in zip(grown, grads[:4], biases, strict=True):
                dw[:], db[:] = 0, 0
                rows_gradient_into(d, rows, panels, dw)
                rows_sum_into(d, db)
        if not step.wants:
            return None
        dx = step.array("dx", *q.shape[:2], M)
        dy = step.array("dy", len(k), k.shape[1] - how[0], M) if pair else dx
        for d, w, into, more in (
            (dq, p.wq, dx, False),
            (dk, p.wk, dy, not pair),
            (dv, p.wv, dy, True),
        ):
            dense_input_into(d, w, panels, rows_of(into), more)
        return (dx, dy) if pair else dx

    def _panels(self, step):
        """Return memory for a packed factor."""
        return step.panels((self.width, self.width), (DEPTH, self.width))

    def _biases(self, p, step, name):
        """Return biases or their gradients; where there are none, an array of that name for all."""
        return p[4:] if self.bias else (step.memory.array(name, self.width),) * 4

    def _carried(self, k, v, step):
        """Return keys and values behind those that are carried; leave all of them."""
        if step.start is not None:
            N, _, H, K = k.shape
            before = [np.shape(a) for a in step.start]
            S = before[0][1] if len(before[0]) == 4 else 0
            if before != [(N, S, H, K)] * 2:
                raise ValueError(
                    f"start has the shapes {before}, expected keys and values ({N}, s, {H}, {K})"
                )
            k, v = (np.concatenate(two, 1) for two in zip(step.start, (k, v), strict=True))
        fresh = step.start is not None or not step.all.training
        step.last = [k, v] if fresh else [k.copy(), v.copy()]
        return k, v

    def _carried_back(self, dk, dv, first, step):
        """Return ∂C/∂k and ∂C/∂v of this layer's own steps; leave those of what was carried."""
        if step.dlast is not None:
            dk += step.dlast[0]
            dv += step.dlast[1]
        step.dstart = None if step.start is None else [d[:, :first].copy() for d in (dk, dv)]
        return np.ascontiguousarray(dk[:, first:]), np.ascontiguousarray(dv[:, first:])


def placed(rows):
    """Return where rows stand in an array (n, t) with room for the longest, t, and all lengths."""
    counts, T = rows.counts, len(rows.counts)
    step = np.repeat(np.arange(T), counts)
    n = rows.order[np.arange(step.size) - np.repeat(np.cumsum(counts) - counts, counts)]
    return n * T + step, T, np.bincount(n, minlength=len(rows.order))


@dataclass(frozen=True)
class LuongAttention(Layer):
    """Beside each state of a decoder what it finds among those of an encoder: y_r = (d_r, c_r).

    The input is the pair (d, h) of rows of ragged sequences, and `step.rows` the pair of their
    layouts. A step with the state d weighs those with the states h by the softmax of dᵀ w h / √j,
    where j is the width of d; c is the mean of the h.

    References
    ----------
    Luong, Pham & Manning, EMNLP (2015), the score they call *general*.
    """

    learns: ClassVar[bool] = True

    def shape(self, s):
        j, k = (features(self, part, 1)[0] for part in self._pair(s))
        return (j + k,)

    def _pair(self, s):
        if len(s) != 2 or isinstance(s[0], int):
            raise ValueError(
                f"{self} wants two inputs, ((j,), (k,)), and gets examples of shape {s}"
            )
        return s

    def parameters(self, s):
        (j,), (k,) = self._pair(s)
        return {"w": (j, k)}

    def draw(self, p, rng):
        p.w[:] = xavier(p.w.shape, rng)

    def forward(self, p, x, step):
        d, h = x
        (J, K), panels = p.w.shape, self._panels(p, step)
        of_the_step(step, d, h)
        if not isinstance(step.rows, tuple) or len(step.rows) != 2:
            raise ValueError(f"step.rows is not the pair of layouts that {self} wants")
        (target, u, query_lengths), (source, t, lengths) = (placed(rows) for rows in step.rows)
        if (len(d), len(h)) != (len(target), len(source)) or len(query_lengths) != len(lengths):
            raise ValueError(
                f"{self} gets {len(d)} and {len(h)} rows, step.rows is of {len(target)} and "
                f"{len(source)}, of {len(query_lengths)} and {len(lengths)} sequences"
            )
        keys, n = step.array("key rows", len(h), J), len(query_lengths)
        dense_into(h, p.w, step.memory.array("no bias", J), panels, keys)
        q, k, v, o = (
            step.array(name, n, 1, *s)
            for name, s in (("q", (u, J)), ("k", (t, J)), ("v", (t, K)), ("o", (u, K)))
        )
        for a, rows, at in ((q, d, target), (k, keys, source), (v, h, source)):
            rows_of(a)[at] = rows
        L, y = step.array("L", n, u), step.array("y", len(d), J + K)
        attend(q, k, v, o, L, lengths, (0, 0), step.all.memory, query_lengths=query_lengths)
        y[:, :J], y[:, J:] = d, rows_of(o)[target]
        return y, (h, (q, k, v, o, L), (target, source), lengths, query_lengths)

    def backward(self, p, dy, kept, grads, step):
        (h, found, (target, source), lengths, query_lengths), J = kept, p.w.shape[0]
        memory, panels = step.all.memory, self._panels(p, step)
        do, dq, dk, dv = (
            memory.array(name, *a.shape)
            for name, a in zip(("do", "dq", "dk", "dv"), (found[3], *found[:3]), strict=True)
        )
        rows_of(do)[target] = dy[:, J:]
        attend_backward(
            do, *found, dq, dk, dv, lengths, (0, 0), memory, query_lengths=query_lengths
        )
        dkeys = rows_of(dk)[source]
        if grads is not None:
            grads.w[:] = 0
            rows_gradient_into(dkeys, h, panels, grads.w)
        if not step.wants:
            return None
        dh = step.array("dh", *h.shape)
        dense_input_into(dkeys, p.w, panels, dh)
        dh += rows_of(dv)[source]
        return np.add(dy[:, :J], rows_of(dq)[target], out=step.array("dd", len(dy), J)), dh

    def _panels(self, p, step):
        """Return memory for a packed factor."""
        J, K = p.w.shape
        return step.panels((K, J), (J, K), (DEPTH, K))


@lru_cache(maxsize=32)
def table(steps, width, dtype):
    """Return the positions of all steps, which nobody may change."""
    found = positional_encoding(steps, width).astype(dtype)
    found.flags.writeable = False
    return found


@dataclass(frozen=True)
class PositionalEncoding(Layer):
    """y_tm = x_tm + p_tm, where p holds sines and cosines of the step's place.

    Steps are counted from 0, or from what `step.start` says; what comes next stands in `step.last`.

    Parameters
    ----------
    max_length : int
        Places there are; a longer sequence is refused.

    References
    ----------
    Vaswani et al., NeurIPS (2017), section 3.5.
    """

    max_length: int

    def __post_init__(self):
        shapes.count("max_length", self.max_length)

    def shape(self, s):
        steps, _ = steps_of(self, s)
        if steps > self.max_length:
            raise ValueError(f"{self} has {self.max_length} places and gets {steps} steps")
        return s

    def forward(self, p, x, step):
        first = 0 if step.start is None else int(step.start[0])
        last = first + x.shape[1]
        if last > self.max_length:
            raise ValueError(f"{self} has {self.max_length} places and gets step {last}")
        y = x if step.free else step.array("y", *x.shape)
        np.add(x, table(self.max_length, x.shape[2], x.dtype)[first:last], out=y)
        step.last = [np.array(last)]
        return y, None

    def backward(self, p, dy, kept, grads, step):
        return dy
