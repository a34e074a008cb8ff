"""A recurrent network, put together from layers.

Equations: `rnn`, `gated`.
"""
# ruff: noqa: E741

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from dlbook.fast.recurrent import STATE_ACTIVATIONS
from dlbook.fast.sequences import arrange
from dlbook.nets.containers import Residual, Sequential
from dlbook.nets.costs import MeanSquare, SoftmaxCrossEntropy
from dlbook.nets.layers import Dense
from dlbook.nets.recurrent import GRU, LSTM, RNN, Outcome, Params, Recurrent
from dlbook.nets.rows import Bidirectional, Last, by_row
from dlbook.nets.sequences import Sequences
from dlbook.nets.symbols import Continues
from dlbook.rnn import INITIAL
from dlbook.tools import shapes
from dlbook.tools.flat import belong, fits

__all__ = ["RecurrentNetwork"]


COSTS = {"cross-entropy": SoftmaxCrossEntropy, "squares": MeanSquare}


@dataclass(frozen=True)
class RecurrentNetwork(Continues, Sequences):
    """Layers of a recurrent network with linear scores on top, read at each step or at the end.

    Parameters
    ----------
    inputs : int
        Features of a step, or how many symbols there are.
    hidden : int
        Units of the state of each layer, in each direction.
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
    cell : {"tanh", "relu", "linear", "lstm", "gru"}
        What bends the weighted inputs, or cells with gates. The biases of a GRU are 4 times
        `hidden` numbers: those of its gates r, z and n, and the second of n, which belongs to the
        state.
    depth : int
        Layers; each but the first reads what the one below hands on.
    initial : {"xavier", "orthogonal", "identity"}
        First weights from state to state; the others are Xavier's. Biases start at zero.
    scale : float
        Factor of the first weights from state to state.
    forget_bias : float
        First bias of the gate that keeps the memory: forget gate of an LSTM, update gate of a GRU.
    bidirectional : bool
        Whether every layer has a second set of cells that read the sequence from its end. What it
        hands on is then 2 × `hidden` numbers. Read at the end, the scores see the last state of
        each direction. A sequence must be whole for that, so that `truncate` and
        `checkpoint_every` are refused.
    residual : bool
        Whether a layer, from the second on, adds what it reads to what it hands on.
    truncate : int, optional
        Every so many steps errors are stopped on their way back, while states go on.
    checkpoint_every : int, optional
        Only the states of so many steps are kept at once, and those at the borders; the others are
        computed again on the way back. The gradient is the same.
    dtype : {"float32", "float64"}
        Of parameters and data.

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

    inputs: int
    hidden: int
    outputs: int = field()  # no default, although the class has a method of this name
    symbols: bool = False
    reads: str = "each"
    cost: str = "cross-entropy"
    cell: str = "tanh"
    depth: int = 1
    initial: str = "xavier"
    scale: float = 1.0
    forget_bias: float = 1.0
    bidirectional: bool = False
    residual: bool = False
    truncate: int | None = None
    checkpoint_every: int | None = None
    dtype: str = "float32"

    def __post_init__(self):
        """Check all of them at once."""
        for name in ("inputs", "hidden", "outputs", "depth"):
            shapes.count(name, getattr(self, name))
        for name in ("symbols", "bidirectional", "residual"):
            if not isinstance(getattr(self, name), bool):
                given = shapes.shown(getattr(self, name))
                raise TypeError(f"{name} is {given}, expected True or False")
        shapes.choice("reads", self.reads, ("each", "last"))
        shapes.choice("cost", self.cost, tuple(COSTS))
        shapes.choice("cell", self.cell, (*STATE_ACTIVATIONS, "lstm", "gru"))
        shapes.choice("initial", self.initial, INITIAL)
        shapes.choice("dtype", self.dtype, ("float32", "float64"))
        shapes.number("scale", self.scale, least=0)
        shapes.number("forget_bias", self.forget_bias)
        self._check_pieces()

    # What it is put together of

    @property
    def input(self) -> tuple[int, ...]:
        """Shape of a step."""
        return () if self.symbols else (self.inputs,)

    @property
    def vocabulary(self) -> int | None:
        """How many symbols there are where a step is one."""
        return self.inputs if self.symbols else None

    @cached_property
    def net(self) -> Sequential:
        """The layers."""
        top = [Last(self.bidirectional)] if self.reads == "last" else []
        layers = map(self._layer, range(self.depth))
        return Sequential(*layers, *top, Dense(self.outputs, initial="xavier"))

    def _layer(self, l):
        """Return layer l, of which the first reads the input."""
        layer = self._cells(None if l else self.vocabulary)
        if self.bidirectional:
            layer = Bidirectional(layer, layer)
        return Residual(layer) if self.residual and l else layer

    def _cells(self, symbols=None) -> Recurrent:
        """Return the cells of one direction."""
        of = {"initial": self.initial, "scale": self.scale, "symbols": symbols}
        if self.cell == "lstm":
            return LSTM(self.hidden, self.forget_bias, **of)
        if self.cell == "gru":
            return GRU(self.hidden, self.forget_bias, **of)
        return RNN(self.hidden, self.cell, **of)

    @cached_property
    def _cost(self):
        """What is made small."""
        return COSTS[self.cost]()

    @cached_property
    def gates(self) -> int:
        """How many weighted inputs a unit has."""
        return self._cells().gates

    @cached_property
    def kept(self) -> int:
        """How many arrays cells carry from step to step, h or h and c."""
        return self._cells().carried

    @property
    def directions(self) -> int:
        """In how many directions a layer reads."""
        return 2 if self.bidirectional else 1

    @property
    def width(self) -> int:
        """How many numbers a layer hands on at a step."""
        return self.directions * self.hidden

    @property
    def carried(self) -> int:
        """How many arrays of states go from a step to the next."""
        return self.depth * self.directions * self.kept

    def _params(self):
        """Return parameters that are all zero."""
        flat, net = super()._params()
        return Params(flat, *zip(*sets(net), strict=True), *net[-1])

    # States from outside

    def _zeros(self, n):
        """Return states that are zero."""
        return [np.zeros((n, self.hidden), self.dtype)] * self.carried

    def _checked(self, start, n):
        """Return states before the first step, if they are that."""
        if len(start) != self.carried:
            raise ValueError(f"start has {len(start)} arrays, expected {self.carried}")
        axes = shapes.Axes(n=n, j=self.hidden)
        return [
            axes.floats(f"start[{m}]", part, "n j").astype(self.dtype)
            for m, part in enumerate(start)
        ]

    def _begin(self, params, start, step):
        """Let all layers of a step begin with these states, and return their nodes."""
        nodes = self._carriers(params, step)
        for s, node in enumerate(nodes):
            node.start = start[s * self.kept : (s + 1) * self.kept]
        return nodes

    def _tops(self, d):
        """Return which of the carried arrays the scores see of a direction."""
        each = self.directions * self.kept
        return range(d * self.kept, self.carried, each)[0 if self.residual else -1 :]

    def _seen(self, states):
        """Return what the last layer hands on of states."""
        ways = [sum(states[m] for m in self._tops(d)) for d in range(self.directions)]
        return np.concatenate(ways, axis=1) if self.bidirectional else ways[0]

    def through_time(self, params, batch, start, grads, work):
        """Return the mean loss, the states after the last step, and ∂C/∂start; fill `grads`.

        Parameters
        ----------
        params, grads : Params
            The network, and where its gradient goes.
        batch : tuple (x, y, lengths)
            As `check` returns them; trusted.
        start : list of ndarray, shape (n, j), or None
            For each layer the states before the first step, trusted; zero where not given.
        work : Step
            Memory.

        Returns
        -------
        loss : float
        last, dstart : list of ndarray, shape (n, j)
            For each layer, the sequences in the order of the batch; dstart is None where errors
            were stopped on their way.
        """
        start = self._zeros(len(batch[2])) if start is None else start
        nodes, read = self._begin(params, start, work), work.parts[self.depth]
        if self.reads == "last":
            read.start = [self._seen(start)]  # what an empty sequence is read from
        try:
            loss = self.loss_and_grad(params, None, batch, grads, work)
            last, dstart = (
                [part for node in nodes for part in getattr(node, name)]
                for name in ("last", "dstart")
            )
            if self.truncate and batch[2].max() > self.truncate:
                return loss, last, None
            if self.reads == "last":
                for d in range(self.directions):
                    for m in self._tops(d):
                        dstart[m] += read.dstart[0][:, d * self.hidden : (d + 1) * self.hidden]
            return loss, last, dstart
        finally:
            for node in nodes:
                node.start = None
            if self.reads == "last":
                read.start = None

    # Inference

    def _climb(self, params, x, step):
        """Yield what each layer hands on at all steps, as rows."""
        p = self._tree(params)
        for l in range(self.depth):
            x, _ = self.net.layers[l].forward(p[l], x, step.part(l))
            yield x

    def _scores(self, params, top):
        """Return the scores of rows of what the last layer hands on."""
        return self.net.layers[-1].forward(self._tree(params)[-1], top, self._still())[0]

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
        start = self._zeros(len(x)) if start is None else self._checked(start, len(x))
        return self._run(params, x, lengths, start)

    def _run(self, params, x, lengths, start):
        """Return states and scores of checked sequences."""
        (N, T), step = x.shape[:2], self._still()
        nodes = self._begin(params, start, step)
        rows = step.rows = arrange(lengths, T)
        *_, seen = self._climb(params, by_row(x, rows), step)
        states, scores = (np.zeros((N * T, n), self.dtype) for n in (self.width, self.outputs))
        states[rows.places], scores[rows.places] = seen, self._scores(params, seen)
        last = tuple(part for node in nodes for part in node.last)
        return Outcome(states.reshape(N, T, -1), scores.reshape(N, T, -1), last)

    def layers(self, params, state, batch) -> Iterator[tuple[str, np.ndarray]]:
        """Yield the name of each layer's weights and what the layer gives."""
        belong(self, params, state)
        step = self._still()
        x, _ = self._entered(step, batch)
        for l, top in enumerate(self._climb(params, x, step)):
            parts = np.split(top, self.directions, axis=1)
            for d, part in enumerate(parts):
                yield f"wh[{l * self.directions + d}]", part
        yield "wy", self._scores(params, top)


def sets(tree: Any) -> Iterator[tuple]:
    """Yield the parameters of every set of cells in a network, in order."""
    if hasattr(tree, "wh"):
        yield tree
    elif not isinstance(tree, np.ndarray):
        for part in tree:
            yield from sets(part)
