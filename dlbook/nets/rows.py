"""Sequences of unequal length: how their steps lie in rows, both directions, the last step.

The rows of a batch are the first step of all sequences, the longest first, then the second step of
those that have one, and so on (`dlbook.fast.sequences.arrange`); no row is padding. A layer that looks at one
step alone, such as `Dense`, need not know of it.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from dlbook.fast.sequences import Rows, reverse_into
from dlbook.nets.containers import Container
from dlbook.nets.layer import Layer, Step, features
from dlbook.tools import shapes

__all__ = ["Bidirectional", "Last", "by_row", "carry", "nodes", "piece_of", "rows_for", "steps_of"]


def rows_for(layer: Layer, x: np.ndarray, step: Step) -> Rows:
    """Return the layout of the sequences that lie in x."""
    rows = step.rows
    if rows is None:
        raise ValueError(
            f"step.rows is not set, which says to {layer} which row is which step of a sequence; "
            "dlbook.fast.sequences.arrange(lengths, steps) makes it"
        )
    if len(x) != len(rows.places):
        raise ValueError(f"{layer} gets {len(x)} rows, step.rows is of {len(rows.places)}")
    return rows


def by_row(x: np.ndarray, rows: Rows) -> np.ndarray:
    """Return the steps of sequences as rows."""
    return x.reshape(-1, *x.shape[2:]).take(rows.places, 0, mode="clip")


def steps_of(rows: Rows) -> np.ndarray:
    """Return the lengths of the sequences, as they are ordered."""
    return np.searchsorted(-rows.counts, -np.arange(len(rows.order)))


def piece_of(rows: Rows, first: int, stop: int) -> Rows:
    """Return the layout of the steps from `first` to before `stop`.

    The sequences are the same in the same order, and those that have ended have no step in it:
    lengths that are cut off and arranged again could lie otherwise.
    """
    counts, n = rows.counts[first:stop], len(rows.order)
    ahead = np.concatenate(([0], np.cumsum(counts)))
    steps, at = np.clip(steps_of(rows) - first, 0, stop - first), np.arange(n)
    last = np.where(steps > 0, n + ahead[steps - 1] + at, at)
    places = rows.places[rows.ahead[first] : rows.ahead[stop]]
    return Rows(rows.order, counts, places, last, ahead.tolist())


def nodes(step: Step) -> Iterator[Step]:
    """Yield the nodes of the layers that have left states behind, in the order of the network."""
    if step.last is not None:
        yield step
    for part in step.parts.values():
        yield from nodes(part)


def carry(step: Step) -> None:
    """Let every layer go on from where it stopped: the next rows are later steps."""
    for node in nodes(step):
        node.start = node.last


@dataclass(frozen=True, init=False)
class Bidirectional(Container):
    """Two layers whose states stand side by side; the second reads every sequence from its end.

    Parameters
    ----------
    forward, backward : Layer
        Mostly two recurrent layers of the same kind.
    """

    def __init__(self, forward: Layer, backward: Layer):
        super().__init__(forward=forward, backward=backward)

    def shape(self, s):
        found = [features(self, layer.shape(s), 1)[0] for layer in self.layers]
        return (sum(found),)

    def forward(self, p, x, step):
        turn = step.array("turn", len(x), dtype=np.int64)
        reverse_into(rows_for(self, x, step).counts, turn)
        forth, back = (step.part(d, False, step.wants) for d in (0, 1))
        turned = x.take(turn, 0, out=step.array("x", *x.shape, dtype=x.dtype), mode="clip")
        a, kept_a = self.layers[0].forward(p[0], x, forth)
        b, kept_b = self.layers[1].forward(p[1], turned, back)
        J = a.shape[1]
        y = step.array("y", len(x), J + b.shape[1])
        y[:, :J], y[:, J:] = a, b[turn]
        return y, (kept_a, kept_b, turn, J)

    def backward(self, p, dy, kept, grads, step):
        kept_a, kept_b, turn, J = kept
        (R, width), (forth, back) = dy.shape, (step.parts[d] for d in (0, 1))
        da, db = step.array("da", R, J), step.array("db", R, width - J)
        da[:], db[:] = dy[:, :J], dy[:, J:][turn]
        dx = self.layers[0].backward(p[0], da, kept_a, grads and grads[0], forth)
        turned = self.layers[1].backward(p[1], db, kept_b, grads and grads[1], back)
        if dx is not None:
            dx += turned[turn]
        return dx if step.wants else None


@dataclass(frozen=True)
class Last(Layer):
    """Many to one: of each sequence what stands at its last step.

    Rows are the sequences then, from long to short as in `step.rows.order`. For an empty sequence
    they are zeros, or what a caller has set as `step.start`, a list of one array (n, j) in the
    order of the batch; its gradient is found as `step.dstart`.

    Parameters
    ----------
    bidirectional : bool
        Whether the second half of the numbers was read from the end: of these the last state
        stands at the first step.
    """

    bidirectional: bool = False

    def __post_init__(self):
        if not isinstance(self.bidirectional, bool):
            given = shapes.shown(self.bidirectional)
            raise TypeError(f"bidirectional is {given}, expected True or False")

    def shape(self, s):
        if features(self, s, 1)[0] % 2 and self.bidirectional:
            raise ValueError(f"{self} wants two directions of one width and gets {s[0]} numbers")
        return s

    def _places(self, rows, J):
        """Yield pairs of rows, of the sequences and of their steps, and the columns they stand for."""
        n, half = len(rows.order), J // 2 if self.bidirectional else J
        some = np.flatnonzero(rows.last >= n)
        yield some, rows.last[some] - n, slice(0, half)
        yield some, some, slice(half, J)  # those that have a first step are the first rows

    def forward(self, p, x, step):
        rows = rows_for(self, x, step)
        y = step.array("y", len(rows.order), x.shape[1])
        y[:] = 0 if step.start is None else step.start[0].take(rows.order, 0)
        for some, at, columns in self._places(rows, x.shape[1]):
            y[some, columns] = x[at, columns]
        return y, x.shape

    def backward(self, p, dy, shape, grads, step):
        dx = step.array("dx", *shape)
        dx[:], rows = 0, step.rows
        for some, at, columns in self._places(rows, shape[1]):
            dx[at, columns] = dy[some, columns]
        if step.start is not None:
            step.dstart, empty = [np.zeros_like(dy)], rows.last < len(rows.order)
            step.dstart[0][rows.order[empty]] = dy[empty]
        return dx
