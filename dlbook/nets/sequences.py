"""A network that reads sequences of unequal length, as a model that `fit` can train."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from dlbook.fast.sequences import Rows, arrange
from dlbook.nets.containers import within
from dlbook.nets.network import Composition, Network
from dlbook.nets.norms import BatchNorm
from dlbook.nets.rows import Bidirectional, Last, by_row, carry, nodes, piece_of, steps_of
from dlbook.tools import shapes
from dlbook.tools.flat import belong, fits

__all__ = ["SequenceNetwork", "Sequences"]

AT_ONCE = 2**13  # steps that go up together in inference


class Piece(NamedTuple):
    """Some steps of a batch, and what is read in them."""

    rows: Rows
    x: np.ndarray
    y: np.ndarray
    ends: np.ndarray | None  # sequences, as ordered, that are read here; None where all rows are


class Sequences(Composition):
    """What a model needs that is made of layers over sequences of unequal length.

    Attributes
    ----------
    truncate, checkpoint_every : int or None
        As in `SequenceNetwork`; the other attributes are those of a `Composition`.
    """

    truncate: int | None = None
    checkpoint_every: int | None = None

    @property
    def vocabulary(self) -> int | None:
        """How many symbols there are where a step is one."""
        return self.symbols

    def _check_pieces(self):
        """Refuse pieces of time where they cannot be."""
        for name in ("truncate", "checkpoint_every"):
            if getattr(self, name) is not None:
                shapes.count(name, getattr(self, name))
                if any(isinstance(layer, Bidirectional) for layer in within(self.net)):
                    raise ValueError(f"{name} is given, but one direction begins at the end")
        if self.checkpoint_every is None:
            return
        if self.truncate is not None:
            raise ValueError("truncate is given, and makes checkpoint_every needless")
        if any(isinstance(layer, BatchNorm) for layer in within(self.net)):
            raise ValueError("checkpoint_every is given, but batch norm needs all steps at once")

    @cached_property
    def reads(self) -> str:
        """Whether "each" step has a target, or the "last" of a sequence alone."""
        return "last" if any(isinstance(layer, Last) for layer in within(self.net)) else "each"

    def check(self, params: Any, data: tuple) -> tuple[np.ndarray, ...]:
        """Return sequences, targets and lengths, checked and of the dtype of the parameters.

        Parameters
        ----------
        params : Views
            Held against the layout of this model.
        data : tuple (x, y) or (x, y, lengths)
            Features (n, t, k) or symbols (n, t); what the cost wants for each step (n, t, …) or
            each sequence (n, …); lengths (n,), without which every sequence has all t steps. What
            stands behind the end of a sequence is not looked at.
        """
        if not isinstance(data, tuple) or len(data) not in (2, 3):
            raise TypeError("data is not a tuple (x, y) or (x, y, lengths)")
        fits(params, self.layout)
        axes = shapes.Axes()
        x, lengths, beyond = self._sequences(axes, data[0], data[2] if len(data) == 3 else None)
        y, s = shapes.array("y", data[1]), self.output
        if self.reads == "each":
            if not lengths.any():
                raise ValueError("lengths are all 0: there is no step to learn from")
            y, s = cleared(y, beyond), (beyond.shape[1], *s)
        return x, self._cost.check(axes, y, s, self.dtype), lengths

    def _sequences(self, axes, x, lengths):
        """Return inputs with zeros behind the ends, the lengths, and what is behind them."""
        x, letters = shapes.array("x", x), "n t" if self.vocabulary is not None else "n t k"
        if x.ndim != len(letters.split()):
            raise ValueError(
                f"x has shape {x.shape}, expected ({', '.join(letters.split())})"
                + (" of symbols" if self.vocabulary is not None else "")
            )
        if x.size == 0:
            raise ValueError(f"x is empty: it has shape {x.shape}")
        N, T = x.shape[:2]
        axes.sizes["n"] = (N, "x")
        lengths = np.full(N, T) if lengths is None else lengths
        lengths = axes.labels("lengths", lengths, "n", T + 1)
        beyond = np.arange(T) >= lengths[:, None]
        x = cleared(x, beyond)
        if self.vocabulary is not None:
            return axes.labels("x", x, letters, self.vocabulary), lengths, beyond
        axes.sizes["k"] = (self.input[0], "the network's input")
        return axes.floats("x", x, letters).astype(self.dtype), lengths, beyond

    def terms(self, batch: tuple) -> int:
        """Return how many targets there are in a checked batch."""
        return int(batch[2].sum()) if self.reads == "each" else len(batch[2])

    # A step of training

    def _carriers(self, params, step):
        """Return the nodes of layers that carry states; an empty batch makes them where none are."""
        if next(nodes(step), None) is None:
            step.rows = arrange(np.zeros(0, np.int64), 0)
            dtype = self.dtype if self.vocabulary is None else np.int64
            self.net.forward(self.by_layer(params), np.zeros((0, *self.input), dtype), step)
        return list(nodes(step))

    def _entered(self, step, batch):
        """Return rows of inputs and targets of a checked batch, and set their layout."""
        x, y, lengths = batch
        rows = step.rows = arrange(lengths, x.shape[1])
        if self.reads == "each":
            return by_row(x, rows), by_row(y, rows)
        return by_row(x, rows), y.take(rows.order, 0)

    def _there_and_back(self, given, batch, work):
        """Return the mean cost of a batch and fill the gradient, in pieces where asked for."""
        x, y = self._entered(work, batch)
        whole, share = Piece(work.rows, x, y, None), 1 / max(1, len(y))
        every = self.truncate or self.checkpoint_every
        if every is None or len(work.rows.counts) <= every:
            return self._piece(given, whole, share, work)
        way = self._truncated if self.truncate else self._checkpointed
        flat, loss = given.grads.flat, 0.0
        total = work.memory.array(("sum", "grads"), flat.size)
        total[:] = 0
        try:
            for part in way(given, self._pieces(whole, every), share, work):
                loss += part
                total += flat
        finally:
            for node in nodes(work):
                node.start = node.dlast = None
        flat[:] = total
        return loss

    def _pieces(self, whole, every):
        """Return parts of a batch that are so many steps long."""
        rows, found = whole.rows, []
        T, lengths = len(rows.counts), steps_of(rows)
        for first in range(0, T, every):
            stop = min(T, first + every)
            part = slice(rows.ahead[first], rows.ahead[stop])
            if self.reads == "each":
                y, ends = whole.y[part], None
            else:
                ends = np.flatnonzero((lengths > (first or -1)) & (lengths <= stop))
                y = whole.y[ends]
            found.append(Piece(piece_of(rows, first, stop), whole.x[part], y, ends))
        return found

    def _truncated(self, given, pieces, share, work):
        """Yield the part of each piece in the cost, with its gradient; states are carried."""
        for piece in pieces:
            yield self._piece(given, piece, share, work)
            carry(work)

    def _checkpointed(self, given, pieces, share, work):
        """Yield the same from the last piece to the first, gradients of states carried back."""
        shared, starts, drawn = work.all, [], []
        for piece in pieces:
            starts.append([node.start for node in nodes(work)])
            drawn.append(shared.rng and shared.rng.bit_generator.state)
            work.rows = piece.rows
            self.net.forward(given.p, piece.x, work)
            carry(work)
        after, shared.cost = shared.rng and shared.rng.bit_generator.state, 0.0
        ends = [node.last for node in nodes(work)]
        for i in range(len(pieces) - 1, -1, -1):
            for m, node in enumerate(nodes(work)):
                node.start = starts[i][m] if starts[i] else None
                node.dlast = node.dstart if i < len(pieces) - 1 else None
            if shared.rng:
                shared.rng.bit_generator.state = drawn[i]
            yield self._piece(given, pieces[i], share, work)
        for node, last in zip(nodes(work), ends, strict=True):
            node.last = last
        if shared.rng:
            shared.rng.bit_generator.state = after

    def _piece(self, given, piece, share, work):
        """Return the part of a piece in the cost and overwrite the gradient with its own."""
        work.rows = piece.rows
        z, kept = self._forward(given.p, piece.x, work)
        if piece.ends is None:
            loss = self._cost.rows_into(z, piece.y, share)
        else:
            read = z[piece.ends]
            loss = self._cost.rows_into(read, piece.y, share)
            z[:] = 0
            z[piece.ends] = read
        self.net.backward(given.p, z, kept, given.g, work)
        return loss

    # Inference

    def _answers(self, params, state, x, lengths=None):
        """Return what the network gives for checked sequences; see `SequenceNetwork.outputs`."""
        belong(self, params, state)
        (N, T), V = x.shape[:2], self.output[0]
        lengths = np.full(N, T) if lengths is None else lengths
        found = np.zeros((N, T, V) if self.reads == "each" else (N, V), self.dtype)
        p, held = self._tree(params), self._held(state)
        for part in parts(x):
            step = self._still(held)
            rows = step.rows = arrange(lengths[part], T)
            z = self.net.forward(p, by_row(x[part], rows), step)[0]
            found[part].reshape(-1, V)[rows.places if self.reads == "each" else rows.order] = z
        return found

    def loss(self, params: Any, state: Any, batch: tuple) -> float:
        """Return the mean cost of checked data, in inference and without penalties."""
        belong(self, params, state)
        read = batch[2].sum() if self.reads == "each" else len(batch[2])
        share, loss = 1 / max(1, int(read)), 0.0
        p, held = self._tree(params), self._held(state)
        for part in parts(batch[0]):
            step = self._still(held)
            x, y = self._entered(step, tuple(array[part] for array in batch))
            loss += self._cost.rows_into(self.net.forward(p, x, step)[0], y, share)
        return float(loss)

    def predict(
        self, params: Any, state: Any, x: ArrayLike, lengths: ArrayLike | None = None
    ) -> np.ndarray:
        """Return what the network says of new sequences: classes, or numbers.

        Parameters
        ----------
        params, state : Views
            The network.
        x, lengths : array_like
            As in `check`.

        Returns
        -------
        ndarray, shape (n, t, …) or (n, …)
            Behind the end of a sequence classes are −1 and numbers 0.
        """
        x, lengths, beyond = self._sequences(shapes.Axes(), x, lengths)
        found = self._cost.predict(self._answers(params, state, x, lengths))
        if self.reads == "each":
            found[beyond] = -1 if found.dtype.kind == "i" else 0
        return found


@dataclass(frozen=True)
class SequenceNetwork(Sequences, Network):
    """Layers over sequences of unequal length, and a cost on top.

    Where a part of `net` is `Last`, there is one target for each sequence, else one for each step.
    The cost is the mean over all that is read in a batch, so that each step of a long sequence
    counts as much as one of a short one.

    Parameters
    ----------
    input : int or tuple of int
        Features of a step; () where a step is a symbol.
    net, cost, symbols, dtype
        As in `Network`.
    truncate : int, optional
        Every so many steps gradients are stopped on their way back, while states go on.
    checkpoint_every : int, optional
        Only what so many steps need is kept at once, and the states at the borders; the rest is
        computed again on the way back. The gradient is the same. With either of them dropout draws
        for each piece of so many steps, and a penalty inside the network is added for each.

    Raises
    ------
    TypeError, ValueError
        If one of them is not what is described here, or the layers do not fit each other.

    Examples
    --------
    A tagger of letters that reads both ways:

    >>> both = Bidirectional(LSTM(32), LSTM(32))
    >>> layers = Sequential(Embedding(27, 8), both, Dense(5))
    >>> net = SequenceNetwork((), layers, symbols=27)
    >>> net.reads
    'each'
    """

    truncate: int | None = field(default=None, kw_only=True)
    checkpoint_every: int | None = field(default=None, kw_only=True)

    def __post_init__(self):
        """Check all of them at once."""
        given = self.input if isinstance(self.input, (tuple, list)) else (self.input,)
        if len(given) != (self.symbols is None):
            wanted = "the features of a step" if self.symbols is None else "(), a step is a symbol"
            raise ValueError(f"input is {shapes.shown(self.input)}, expected {wanted}")
        super().__post_init__()
        if len(self.output) != 1 or not isinstance(self.output[0], int):
            raise ValueError(f"net gives {self.output} at a step, expected one row of numbers")
        for layer in within(self.net):
            read = getattr(layer, "symbols", None)
            if self.symbols is not None and read is not None and read < self.symbols:
                raise ValueError(f"symbols is {self.symbols}, and {layer} reads {read} of them")
        self._check_pieces()

    def outputs(
        self, params: Any, state: Any, x: np.ndarray, lengths: np.ndarray | None = None
    ) -> np.ndarray:
        """Return what the network gives for checked sequences, in inference.

        Returns
        -------
        ndarray, shape (n, t, v) or (n, v)
            Zeros behind the end of a sequence.
        """
        return self._answers(params, state, x, lengths)


def cleared(x: np.ndarray, beyond: np.ndarray) -> np.ndarray:
    """Return an array whose numbers behind the ends are 0; what has another shape is refused later."""
    if x.shape[:2] != beyond.shape or not beyond.any():
        return x
    x = x.copy()
    x[beyond] = 0
    return x


def parts(x: np.ndarray) -> Iterator[slice]:
    """Yield which sequences go up together."""
    some = max(1, AT_ONCE // x.shape[1])
    for first in range(0, len(x), some):
        yield slice(first, first + some)
