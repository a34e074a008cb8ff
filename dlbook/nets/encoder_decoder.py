"""An encoder and a decoder, with or without attention, put together from layers.

Sequences of symbols lie in rows, one for each step (`dlbook.fast.sequences.Rows`), with one layout
for what is read and another for what is written. Equations: `sequence_tasks`, `attention`.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from dlbook.attention import masked_softmax, padding_mask, scaled_scores
from dlbook.fast.sequences import arrange
from dlbook.nets.attention import LuongAttention
from dlbook.nets.costs import SoftmaxCrossEntropy
from dlbook.nets.decoding import Decoding
from dlbook.nets.layer import Layer
from dlbook.nets.layers import Dense
from dlbook.nets.network import Composition
from dlbook.nets.recurrent import GRU, LSTM, RNN, Recurrent
from dlbook.nets.seq2seq import Seq2Seq
from dlbook.nets.sequences import cleared
from dlbook.sequence_tasks import teacher_forcing
from dlbook.tools import shapes
from dlbook.tools.flat import belong, fits
from dlbook.training import xavier

__all__ = ["AttentiveDecoder", "Cells", "EncoderDecoder", "Pair"]


CELLS = {"gru": GRU, "lstm": LSTM, "tanh": RNN}


class Cells(NamedTuple):
    """Parameters of the encoder or of the decoder."""

    flat: np.ndarray
    wx: tuple  # of one array, as all of them
    wh: tuple
    b: tuple


class Pair(NamedTuple):
    """Parameters of an `EncoderDecoder`, or their gradients; all are views of ``flat``."""

    flat: np.ndarray
    encoder: Cells
    decoder: Cells
    wy: np.ndarray  # (v, s), s numbers of which scores are made
    by: np.ndarray  # (v,)
    more: tuple  # those of the attention


@dataclass(frozen=True)
class EncoderDecoder(Decoding, Composition):
    """One network reads a sequence; its last state is the first state of another, which writes one.

    Parameters
    ----------
    inputs : int
        How many symbols there are to read.
    hidden : int
        Units of the state of the encoder and of the decoder.
    outputs : int
        How many symbols there are to write, the following two among them.
    begin, end : int
        What the decoder reads at its first step, and the symbol with which it says that it is done.
    cell : {"gru", "lstm", "tanh"}
        Of both networks.
    max_length : int
        Symbols after which `predict` and `beam` give up waiting for the end.
    forget_bias : float
        First bias of the gate that keeps the memory: forget gate of an LSTM, update gate of a GRU.
    initial : {"orthogonal", "xavier", "identity"}
        First weights from state to state.
    dtype : {"float32", "float64"}
        Of parameters and states.

    Raises
    ------
    TypeError, ValueError
        If one of them is not what is described here.

    Notes
    -----
    In training the decoder reads the symbols it should have written, so that all of its states can
    be had at once. A subclass that looks at the encoder's states again overrides `attention`.
    """

    inputs: int
    hidden: int
    outputs: int = field()  # not the method of other compositions
    begin: int = 0
    end: int = 1
    cell: str = "gru"
    max_length: int = 100
    forget_bias: float = 1.0
    initial: str = "orthogonal"
    dtype: str = "float32"

    def __post_init__(self):
        """Check all of them at once."""
        shapes.count("inputs", self.inputs)
        shapes.count("outputs", self.outputs, least=3)
        for name in ("begin", "end"):
            shapes.count(name, getattr(self, name), least=0, most=self.outputs - 1)
        if self.begin == self.end:
            raise ValueError(f"begin and end are both {self.end}, expected two symbols")
        shapes.choice("cell", self.cell, tuple(CELLS))
        shapes.count("max_length", self.max_length)
        shapes.number("forget_bias", self.forget_bias)
        shapes.choice("dtype", self.dtype, ("float32", "float64"))
        _ = self.output  # the layers check the rest

    # What it is made of

    input = ((), ())  # a symbol that is read, and one that was written

    @cached_property
    def attention(self) -> Layer | None:
        """What looks at the encoder's states, or None."""
        return None

    @cached_property
    def net(self) -> Seq2Seq:
        """The layers."""
        scores = Dense(self.outputs, initial="xavier")
        return Seq2Seq(*map(self._cells, (self.inputs, self.outputs)), scores, self.attention)

    def _cells(self, symbols):
        """Return a layer of cells that reads symbols."""
        bias = () if self.cell == "tanh" else (self.forget_bias,)
        return CELLS[self.cell](self.hidden, *bias, initial=self.initial, symbols=symbols)

    @cached_property
    def cost(self) -> SoftmaxCrossEntropy:
        """What is made small."""
        return SoftmaxCrossEntropy()

    def _params(self):
        """Return parameters that are all zero."""
        (flat, net), cells, at = super()._params(), [], 0
        for wx, wh, b in (net.encoder, net.decoder):
            size = wx.size + wh.size + b.size
            cells.append(Cells(flat[at : at + size], (wx,), (wh,), (b,)))
            at += size
        return Pair(flat, *cells, *net.scores, tuple(net[3]) if len(net) > 3 else ())

    def init(self, rng: np.random.Generator) -> Pair:
        """Draw the first parameters."""
        shapes.generator("rng", rng)
        params = self._params()
        for layer, part in zip(self.net.layers, self._tree(params), strict=True):
            layer.draw(part, rng)
            if isinstance(layer, Recurrent):
                xavier((1, self.hidden), rng)  # not used: a seed gives the weights it always gave
        return params

    # Data

    def check(self, params: Pair, data: tuple) -> tuple[np.ndarray, ...]:
        """Return what is read, what is to be written, and their lengths, checked.

        Parameters
        ----------
        params : Pair
            The network.
        data : tuple (x, y, lengths, ends)
            Symbols read (n, t) and written (n, u), and how many of each there are, (n,). The last
            symbol of each y is the end. What stands behind it, or behind the last of x, is not
            looked at. A line to be read may be empty.
        """
        if not isinstance(data, tuple) or len(data) != 4:
            raise TypeError("data is not a tuple (x, y, lengths, ends)")
        fits(params, self.layout)
        axes = shapes.Axes()
        x, lengths = self._lines(axes, data[0], data[2])
        y = shapes.array("y", data[1])
        if y.ndim != 2 or y.size == 0:
            raise ValueError(f"y has shape {y.shape}, expected (n, u)")
        ends = axes.labels("ends", data[3], "n", y.shape[1] + 1, least=1)
        beyond = np.arange(y.shape[1]) >= ends[:, None]
        if y.shape == beyond.shape:
            y = y.copy()
            y[beyond] = self.end
        y = axes.labels("y", y, "n u", self.outputs)
        wrong = y[np.arange(len(y)), ends - 1] != self.end
        if wrong.any():
            n = int(np.argmax(wrong))
            raise ValueError(
                f"y ends with {y[n, ends[n] - 1]} at index {n}, expected the end, {self.end}"
            )
        return x, y, lengths, ends

    def _lines(self, axes, x, lengths):
        """Return what is read with zeros behind the ends, and the lengths."""
        x = shapes.array("x", x)
        if x.ndim != 2:
            raise ValueError(f"x has shape {x.shape}, expected (n, t) of symbols")
        if x.size == 0:
            raise ValueError(f"x is empty: it has shape {x.shape}")
        N, T = x.shape
        axes.sizes["n"] = (N, "x")
        lengths = axes.labels("lengths", np.full(N, T) if lengths is None else lengths, "n", T + 1)
        x = cleared(x, np.arange(T) >= lengths[:, None])
        return axes.labels("x", x, "n t", self.inputs), lengths

    def loss_and_grad(self, params, state, batch, grads, work, rng=None) -> float:
        """Return the mean loss of a symbol to be written and fill `grads`; for batches see `check`."""
        return super().loss_and_grad(params, state, batch, grads, work, rng)

    def terms(self, batch: tuple) -> int:
        """Return how many symbols of a checked batch are to be written."""
        return int(batch[3].sum())

    def _entered(self, step, batch):
        """Return what encoder and decoder read, and targets, as rows; set their layouts."""
        x, y, lengths, ends = batch
        step.rows = source, target = arrange(lengths, x.shape[1]), arrange(ends, y.shape[1])
        given = (x, source), (teacher_forcing(y, self.begin), target), (y, target)
        *read, y = (a.reshape(-1).take(rows.places, mode="clip") for a, rows in given)
        return tuple(read), y

    def _cost_of(self, z, y):
        """Turn scores into ∂C/∂z; return the mean loss of a symbol."""
        return self.cost.rows_into(z, y, 1 / len(y))

    # Inference

    def _run(self, params, state, batch):
        """Return what every part gives for a checked batch and keeps, and the targets."""
        belong(self, params, state)
        step = self._still()
        x, y = self._entered(step, batch)
        return self.net.run(self._tree(params), x, step), y

    def loss(self, params: Pair, state: None, batch: tuple) -> float:
        """Return the mean loss of checked data."""
        found, y = self._run(params, state, batch)
        return float(self._cost_of(found["scores"][0], y))

    def layers(self, params: Pair, state: None, batch: tuple) -> Iterator[tuple[str, np.ndarray]]:
        """Yield the name of each part and what it gives, as rows."""
        for name, (y, _) in self._run(params, state, batch)[0].items():
            yield name, y

    def stepper(
        self, params: Pair, x: ArrayLike, lengths: ArrayLike | None = None
    ) -> tuple[np.ndarray, Callable]:
        """Return the state after reading lines, and a function that writes a step.

        Parameters
        ----------
        params : Pair
            The network.
        x : array_like of int, shape (n, t)
            Lines to read.
        lengths : array_like of int, shape (n,), optional
            Symbols of each; all t where not given.

        Returns
        -------
        first : ndarray, shape (n, j)
            State of the decoder before its first step; that of an LSTM is (n, 2j), with its cells.
        step : callable
            ``step(state, symbols)`` returns the logarithms of the probabilities of the next
            symbols (n, v), in float64, and the new state.
        """
        fits(params, self.layout)
        x, lengths = self._lines(shapes.Axes(), x, lengths)
        N, net, p, node = len(x), self.net, self._tree(params), self._still()
        source, target = arrange(lengths, x.shape[1]), arrange(np.ones(N, np.int64), 1)
        node.rows = source, target
        h, _ = net.encode(p, x.reshape(-1).take(source.places, mode="clip"), node)
        first, J = net.node("encoder", node).last, self.hidden

        def step(state, symbols):
            start = [state[:, m * J : (m + 1) * J] for m in range(net.layers[1].carried)]
            found = net.decode(p, np.asarray(symbols), h, start, node)
            o = found["scores"][0].astype(float)
            o -= o.max(axis=1, keepdims=True)
            o -= np.log(np.exp(o).sum(axis=1, keepdims=True))
            return o, together(net.node("decoder", node).last)

        return together(first), step


def together(states):
    """Return what an LSTM carries side by side; of other cells it is one array."""
    return states[0] if len(states) == 1 else np.concatenate(states, axis=1)


@dataclass(frozen=True)
class AttentiveDecoder(EncoderDecoder):
    """An `EncoderDecoder` whose decoder asks at each step what it should look at.

    The state of the decoder is the query; the states of the encoder are the values and, after one
    matrix, the keys. Scores are made of the state and of the context that was found. All else, the
    way states come about included, is as in the network without attention.

    References
    ----------
    Luong, Pham & Manning, EMNLP (2015), the score they call *general*.
    """

    @cached_property
    def attention(self) -> LuongAttention:
        """What looks at the encoder's states."""
        return LuongAttention()

    def alignment(self, params: Pair, data: tuple) -> np.ndarray:
        """Return what each step of the decoder looked at.

        Parameters
        ----------
        params : Pair
            The network.
        data : tuple (x, y, lengths, ends)
            As for `check`; the decoder reads y, as in training.

        Returns
        -------
        ndarray, shape (n, u, t)
            Weights; a row sums to one up to the end of y, behind it is zero.
        """
        x, y, lengths, ends = batch = self.check(params, data)
        _, (_, (q, k, *_), *_) = self._run(params, None, batch)[0]["attention"]
        found = np.zeros((*y.shape, x.shape[1]))
        for n, (u, t) in enumerate(zip(ends, lengths, strict=True)):
            z = scaled_scores(q[n, 0, :u].astype(float), k[n, 0, :t].astype(float))
            found[n, :u, :t] = masked_softmax(z, padding_mask(t, u, t))
        return found
