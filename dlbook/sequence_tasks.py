"""Sequence tasks: one or many in, one or many out; from a sequence to another one.

Page: ``book/sequence_tasks.md``. Builds on `gated` (cells, both directions), `rnn` (layouts, text),
`training` (the loop, initial weights).

Sources: Cho et al., EMNLP (2014), and Sutskever, Vinyals & Le, NeurIPS (2014), for an encoder and a
decoder; Williams & Zipser, Neural Computation 1 (1989), for teacher forcing; Graves, arXiv:1211.3711
(2012), for beam search with recurrent networks; Schuster & Paliwal, IEEE Trans. Signal Processing 45
(1997), for taggers that read both ways.

Axes: n sequences of a batch; t steps of what is read, u steps of what is written, both from 1; j
units of a state; v symbols that can be written; b hypotheses of a beam; r rows, one for each step of
each sequence, as in `rnn`.

Names: x what is read, y what is written, whose last symbol is the end; h states of the encoder, d of
the decoder; wy, by weights and biases of the scores o.
"""

import base64
import io
import re
import wave
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from html import escape
from math import prod
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from dlbook.gated import Gated, bidirectional, gru_deltas, gru_states
from dlbook.matmul import DEPTH, PANEL_BYTES
from dlbook.rnn import (
    Alphabet,
    Rows,
    Work,
    arrange,
    cross_entropy_rows,
    outputs,
    rows_gradient_into,
    rows_sum_into,
    total_loss,
)
from dlbook.rnn import Params as Cells
from dlbook.tools import shapes
from dlbook.tools.flat import Layout, belong, fits, laid_out, step_fits
from dlbook.tools.jit import njit
from dlbook.training import cut_up, dense_input_into, dense_into, xavier

__all__ = [
    "ISO",
    "WRITTEN",
    "EncoderDecoder",
    "Lines",
    "Memory",
    "Note",
    "Notes",
    "Pair",
    "Spans",
    "beam_search",
    "chunks",
    "dates",
    "dates_right",
    "encoder_decoder",
    "extend",
    "forced",
    "frequency",
    "handed_back",
    "log_likelihood",
    "melody",
    "notation",
    "padded",
    "per_length",
    "play",
    "sound",
    "summed_loss",
    "tagged",
    "transposed",
    "wav",
    "written_date",
]


# Many steps, one cost


@njit(whole="y lengths")
def summed_loss(o, y, lengths):
    """(sequence_tasks-summed-loss)  C = Σ_n Σ_{t ≤ T_n} −log softmax(o_nt)[y_nt]
    (n t v), (n t), (n) -> ()
    """
    total = o.dtype.type(0)
    for n in range(o.shape[0]):
        if lengths[n] > 0:
            total += total_loss(o[n, : lengths[n]], y[n, : lengths[n]])
    return total


@njit
def tagged(x, first, last, forth, back, wy, by):
    """(sequence_tasks-tagger)  o_t = wy (h→_t, h←_t) + by, which is made of all of x
    (t k), (j), (j), layer, layer, (v 2j), (v) -> (t v)
    """
    return outputs(bidirectional(x, first, last, forth, back), wy, by)


# From a sequence to a sequence


@njit
def encoder_decoder(x, read, start, encoder, decoder, wy, by):
    """(sequence_tasks-encoder-decoder)  h_t = gru(x_t, h_{t−1}),   d_0 = h_T,
    d_u = gru′(y_{u−1}, d_{u−1}),   o_u = wy d_u + by
    (t k), (u l), (j), layer, layer, (v j), (v) -> (u v)
    """
    h, _ = gru_states(x, start, encoder[0], encoder[1], encoder[2])
    d, _ = gru_states(read, h[-1], decoder[0], decoder[1], decoder[2])
    return outputs(d[1:], wy, by)


@njit(whole="y")
def log_likelihood(o, y):
    """(sequence_tasks-likelihood)  log p(y | x) = Σ_u log p(y_u | y_1 … y_{u−1}, x)
    (u v), (u) -> ()
    """
    return -total_loss(o, y)


@njit
def handed_back(dd, gates, d, wh):
    """(sequence_tasks-handed-back)  ∂C/∂h_T = ∂C/∂d_0 = z_1 e_1 + whᵀ δh_1,
    e_u = ∂C_u/∂d_u + z_{u+1} e_{u+1} + whᵀ δh_{u+1}
    (u j), (u 4j), (u+1 j), (3j j) -> (j)
    """
    _, by_h = gru_deltas(dd, gates, d, wh)
    (U, J), back = dd.shape, np.zeros_like(d[0])
    for u in range(U - 1, -1, -1):
        for j in range(J):
            back[j] = (dd[u, j] + back[j]) * gates[u, J + j]
        for m in range(3 * J):
            for j in range(J):
                back[j] += wh[m, j] * by_h[u, m]
    return back


@njit(whole="y")
def forced(y, begin):
    """(sequence_tasks-teacher-forcing)  what is read at step u is y_{u−1}, and y_0 = begin
    (n u), () -> (n u)
    """
    read = np.empty_like(y)
    for n in range(y.shape[0]):
        read[n, 0] = begin
        for u in range(1, y.shape[1]):
            read[n, u] = y[n, u - 1]
    return read


@njit
def extend(sums, logs, width):
    """(sequence_tasks-beam-search)  the `width` largest of s_b + log p(v | b)
    (b), (b v), () -> (w), (w), (w): b, v, sum, the largest first
    """
    (B, V), W, kept = logs.shape, min(width, logs.size), 0
    whose, which = np.empty(W, np.int64), np.empty(W, np.int64)
    best = np.empty(W, logs.dtype)
    for b in range(B):
        for v in range(V):
            total, at = sums[b] + logs[b, v], kept
            while at > 0 and best[at - 1] < total:
                at -= 1
            if at < W:
                kept = min(kept + 1, W)
                for k in range(kept - 1, at, -1):
                    best[k], whose[k] = best[k - 1], whose[k - 1]
                    which[k] = which[k - 1]
                best[at], whose[at], which[at] = total, b, v
    return whose, which, best


@njit
def per_length(total, length, power):
    """(sequence_tasks-length)  s = log p(y | x) / U^a
    (), (), () -> ()
    """
    return total / length**power


class Pair(NamedTuple):
    """Parameters of an `EncoderDecoder`, or their gradients; all are views of ``flat``."""

    flat: np.ndarray
    encoder: Cells  # without scores: its wy and by are empty
    decoder: Cells  # likewise
    wy: np.ndarray  # (v, s), s numbers of which scores are made
    by: np.ndarray  # (v,)
    more: tuple  # what a subclass has beside these; see `EncoderDecoder._more`


class Spans(NamedTuple):
    """Where the steps of a batch lie: row r of the states is step ``places[r]`` of (n, t)."""

    source: Rows
    target: Rows
    shape: tuple  # (n, t, u) of the padded arrays


class Memory(NamedTuple):
    """The memory of a step; layers of encoder and decoder use the same names."""

    encoder: Work
    decoder: Work

    @property
    def bytes(self) -> int:
        """Return how large both have grown together."""
        return self.encoder.bytes + self.decoder.bytes


@dataclass(frozen=True)
class EncoderDecoder:
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
    cell : {"gru", "tanh"}
        Of both networks.
    most : int
        Symbols after which `predict` and `beam` give up waiting for the end.
    hold : float
        First bias of the update gate of a GRU.
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
    be had at once. A subclass that looks at the encoder's states again overrides `width`, `_more`,
    `_seen` and `_seen_back`, and nothing else.
    """

    inputs: int
    hidden: int
    outputs: int
    begin: int = 0
    end: int = 1
    cell: str = "gru"
    most: int = 100
    hold: float = 1.0
    initial: str = "orthogonal"
    dtype: str = "float32"

    def __post_init__(self):
        """Check all of them at once."""
        shapes.count("outputs", self.outputs, least=3)
        for name in ("begin", "end"):
            shapes.count(name, getattr(self, name), least=0, most=self.outputs - 1)
        if self.begin == self.end:
            raise ValueError(f"begin and end are both {self.end}, expected two symbols")
        shapes.choice("cell", self.cell, ("gru", "tanh"))
        shapes.count("most", self.most)
        _ = self.reader, self.writer  # they check the rest

    @cached_property
    def reader(self) -> Gated:
        """Return the layer of the encoder; nothing is made of its scores."""
        return self._layer(self.inputs)

    @cached_property
    def writer(self) -> Gated:
        """Return the layer of the decoder."""
        return self._layer(self.outputs)

    def _layer(self, symbols):
        """Return a layer of cells that reads symbols."""
        how = {"cell": self.cell, "hold": self.hold, "initial": self.initial, "dtype": self.dtype}
        return Gated(symbols, self.hidden, 1, symbols=True, **how)

    # What a network that looks back at what it has read has instead

    @property
    def width(self) -> int:
        """Return how many numbers the scores of a step are made of."""
        return self.hidden

    def _more(self) -> list[tuple[int, ...]]:
        """Return the shapes of further weights, which are drawn as Xavier's; a vector is zero."""
        return []

    def _seen(self, params, d, h, spans, work):
        """Return what scores are made of, as rows (r s) in the layout ``spans.target``.

        d are rows (r j) of the decoder's states in that layout, h those of the encoder in the
        layout ``spans.source``; memory that lives until `_seen_back` is had from `work`, a `Work`.
        """
        return d

    def _seen_back(self, params, dseen, d, h, spans, grads, work):
        """Return ∂C/∂d and ∂C/∂h, or None where h was not looked at; add to the gradient of more.

        What is returned may be overwritten afterwards.
        """
        return dseen, None

    # Parameters, data, memory

    @cached_property
    def layout(self) -> Layout:
        """What the parameters of this model are like."""
        return laid_out(self._params())

    def _params(self):
        """Return parameters that are all zero."""
        layers = []
        for net in (self.reader, self.writer):
            zero = net._params()
            layers.append([part.shape for group in (zero.wx, zero.wh, zero.b) for part in group])
        sizes = [(self.outputs, self.width), (self.outputs,), *self._more()]
        flat = np.zeros(sum(prod(s) for part in (*layers, sizes) for s in part), self.dtype)
        found, begin = [], 0
        for shapes_ in layers:
            stop = begin + sum(map(prod, shapes_))
            part = flat[begin:stop]
            wx, wh, b = cut_up(part, shapes_)
            none = flat[stop:stop]
            found.append(Cells(part, (wx,), (wh,), (b,), none.reshape(0, self.hidden), none))
            begin = stop
        wy, by, *more = cut_up(flat[begin:], sizes)
        return Pair(flat, *found, wy, by, tuple(more))

    def init(self, rng: np.random.Generator) -> Pair:
        """Draw the first parameters."""
        shapes.generator("rng", rng)
        params = self._params()
        for net, part in ((self.reader, params.encoder), (self.writer, params.decoder)):
            drawn = net.init(rng)
            for into, some in zip(part[1:4], drawn[1:4], strict=True):
                into[0][:] = some[0]
        for w in (params.wy, *params.more):
            if w.ndim > 1:
                w[:] = xavier(w.shape, rng)
        return params

    def start(self) -> None:
        """Return running statistics, of which there are none."""

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
        x, lengths, _ = self.reader._sequences(axes, data[0], data[2])
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

    def workspace(self, batch: int) -> Memory:
        """Return the memory for steps, which grows with the first of them."""
        shapes.count("batch", batch)
        return Memory(Work(self.dtype), Work(self.dtype))

    # Up and down

    def _read(self, params, x, lengths, work):
        """Return the layout, symbols as rows and states of the encoder, and the last of each line."""
        (N, T), rows = x.shape, arrange(lengths, x.shape[1])
        symbols = x.reshape(N * T).take(rows.places, mode="clip")
        first = [np.zeros((N, self.hidden), self.dtype)]
        h = self.reader._up(params.encoder, symbols, rows.counts, first, work)
        last = np.empty((N, self.hidden), self.dtype)
        last[rows.order] = h[0][rows.last]
        return rows, symbols, h, last

    def _write(self, params, symbols, rows, first, work):
        """Return states of the decoder as rows, the first ones before them."""
        return self.writer._up(params.decoder, symbols, rows.counts, [first[rows.order]], work)

    def _score(self, params, seen, work):
        """Return the scores of rows."""
        o = work.array("o", len(seen), self.outputs)
        dense_into(seen, params.wy, params.by, self._panels(work, len(seen)), o)
        return o

    def _panels(self, work, count):
        """Return memory for packed factors of scores of so many rows."""
        wide, panel = max(self.width, self.outputs), PANEL_BYTES // work.dtype.itemsize
        deep = max(wide, min(count, DEPTH))
        return work.panels("scores", wide * (wide + deep) + panel * deep)

    def _forced(self, y, ends):
        """Return the layout of what is written, what the decoder reads, and targets, as rows."""
        rows = arrange(ends, y.shape[1])
        read = forced(y, self.begin).reshape(-1).take(rows.places, mode="clip")
        return rows, read, y.reshape(-1).take(rows.places, mode="clip")

    def _up(self, params, batch, work):
        """Return all that the way back needs."""
        x, y, lengths, ends = batch
        source, symbols, h, last = self._read(params, x, lengths, work.encoder)
        target, read, y = self._forced(y, ends)
        d = self._write(params, read, target, last, work.decoder)
        spans, N = Spans(source, target, (*x.shape, batch[1].shape[1])), len(x)
        seen = self._seen(params, d[0][N:], h[0][N:], spans, work.decoder)
        return spans, (symbols, h), (read, d), seen, y

    def loss_and_grad(self, params, state, batch, grads, work, rng=None) -> float:
        """Return the mean loss of a symbol to be written and fill `grads`; for batches see `check`."""
        step_fits(self, params, state, grads, work.encoder.held)
        spans, (symbols, h), (read, d), seen, y = self._up(params, batch, work)
        N, R, mine = len(batch[0]), len(y), work.decoder
        o, panels = self._score(params, seen, mine), self._panels(mine, R)
        grads.flat[:] = 0
        loss = cross_entropy_rows(o, y, 1 / R)
        rows_gradient_into(o, seen, panels, grads.wy)
        rows_sum_into(o, grads.by)
        dseen = mine.array("dseen", R, self.width)
        dense_input_into(o, params.wy, panels, dseen)
        dd, dh = self._seen_back(params, dseen, d[0][N:], h[0][N:], spans, grads, mine)
        none = [np.zeros((0, self.hidden), self.dtype)]
        counts = spans.target.counts
        (dfirst,) = self.writer._down(
            params.decoder, read, d, counts, dd, none, grads.decoder, mine
        )
        if dh is None:
            dh = work.encoder.array("dh", len(symbols), self.hidden)
            dh[:] = 0
        last, dlast = spans.source.last, np.empty_like(dfirst)
        dlast[spans.target.order] = dfirst
        reads = last >= N  # where a line is empty, its last state is its first
        dh[last[reads] - N] += dlast[spans.source.order[reads]]
        counts = spans.source.counts
        self.reader._down(params.encoder, symbols, h, counts, dh, none, grads.encoder, work.encoder)
        return loss

    def loss(self, params: Pair, state: None, batch: tuple) -> float:
        """Return the mean loss of checked data."""
        belong(self, params, state)
        work = self.workspace(1)
        *_, seen, y = self._up(params, batch, work)
        return float(cross_entropy_rows(self._score(params, seen, work.decoder), y, 1 / len(y)))

    # Writing

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
            State of the decoder before its first step.
        step : callable
            ``step(state, symbols)`` returns the logarithms of the probabilities of the next
            symbols (n, v), in float64, and the new state (n, j).
        """
        fits(params, self.layout)
        x, lengths, _ = self.reader._sequences(shapes.Axes(), x, lengths)
        work = self.workspace(len(x))
        source, _, h, first = self._read(params, x, lengths, work.encoder)
        N = len(x)
        spans = Spans(source, arrange(np.ones(N, np.int64), 1), (*x.shape, 1))

        def step(state, symbols):
            d = self._write(params, symbols, spans.target, state, work.decoder)[0][N:]
            seen = self._seen(params, d, h[0][N:], spans, work.decoder)
            o = self._score(params, seen, work.decoder).astype(float)
            o -= o.max(axis=1, keepdims=True)
            return o - np.log(np.exp(o).sum(axis=1, keepdims=True)), d.copy()

        return first, step

    def predict(
        self, params: Pair, state: None, x: ArrayLike, lengths: ArrayLike | None = None
    ) -> np.ndarray:
        """Write the most probable symbol at each step, which is read at the next one.

        Parameters
        ----------
        params : Pair
            The network.
        state : None
            There are no running statistics.
        x, lengths
            As in `stepper`.

        Returns
        -------
        ndarray of int64, shape (n, u)
            What is written, with the end; −1 behind it. u is at most `most`.
        """
        belong(self, params, state)
        now, step = self.stepper(params, x, lengths)
        symbols, out = np.full(len(now), self.begin), []
        done = np.zeros(len(now), bool)
        while len(out) < self.most and not done.all():
            logs, now = step(now, symbols)
            symbols = logs.argmax(axis=1)
            out.append(np.where(done, -1, symbols))
            done |= symbols == self.end
        return np.array(out).T

    def beam(
        self, params: Pair, x: ArrayLike, width: int, power: float = 0.0
    ) -> list[tuple[np.ndarray, float]]:
        """Write one line with a beam; see `beam_search`.

        Parameters
        ----------
        params : Pair
            The network.
        x : array_like of int, shape (t,)
            The line to read.
        width : int
            Hypotheses kept.
        power : float
            See `beam_search`.
        """
        x = shapes.Axes().labels("x", x, "t", self.inputs)
        width = shapes.count("width", width)
        first, step = self.stepper(params, np.repeat(x[None], width, axis=0))

        def some(state, symbols):  # the step wants as many as there are lines
            count = len(symbols)
            whole = np.zeros((width, self.hidden), self.dtype)
            whole[:count] = state
            logs, after = step(whole, np.resize(symbols, width))
            return logs[:count], after[:count]

        return beam_search(
            some,
            first[:1],
            self.begin,
            self.end,
            width=width,
            max_length=self.most,
            length_penalty=power,
        )


def beam_search(
    step: Callable,
    first: np.ndarray,
    begin: int,
    end: int,
    *,
    width: int,
    max_length: int,
    length_penalty: float = 0.0,
) -> list[tuple[np.ndarray, float]]:
    """Look for the most probable sequence, keeping the best few beginnings at each step.

    Parameters
    ----------
    step : callable
        ``step(state, symbols)`` takes states (b, …) and the last symbol of each of b beginnings,
        and returns the logarithms of the probabilities of what comes next (b, v), and new states.
    first : ndarray, shape (1, …)
        State before the first step.
    begin, end : int
        The symbol read first, and the one that ends a sequence.
    width : int
        Beginnings kept. With one this is the greedy choice.
    max_length : int
        Longest sequence, the end included; what has not ended by then is dropped.
    length_penalty : float
        Sequences that have ended are compared by their sum of logarithms divided by their length
        to this power. With 0 the sums themselves are compared, to which every symbol adds
        something negative, so that short sequences are ahead.

    Returns
    -------
    list of (ndarray of int64, float)
        At most `width` sequences that have ended, the best first, each with what it is compared by.
    """
    width, most = shapes.count("width", width), shapes.count("max_length", max_length)
    power = shapes.number("length_penalty", length_penalty, least=0)
    state, sums = shapes.array("first", first), np.zeros(1)
    symbols, written, ended = np.array([begin]), np.empty((1, 0), np.int64), []
    for length in range(1, most + 1):
        logs, state = step(state, symbols)
        whose, symbols, sums = extend(sums, np.ascontiguousarray(logs, float), width)
        written = np.column_stack((written[whose], symbols))
        done = symbols == end
        ended += [
            (written[b], float(per_length(sums[b], length, power))) for b in np.flatnonzero(done)
        ]
        ended = sorted(ended, key=lambda pair: -pair[1])[:width]
        going = ~done & (sums > -np.inf)
        state, symbols, sums = state[whose[going]], symbols[going], sums[going]
        written = written[going]
        best = per_length(sums.max(initial=-np.inf), most, power)  # no continuation can do better
        if not going.any() or (len(ended) == width and best <= ended[-1][1]):
            break
    return ended


# Dates

MONTHS = (
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
)
WRITTEN = Alphabet("".join(sorted({*"".join(MONTHS), *"0123456789 ,;"})))
ISO = Alphabet("<>0123456789 ")  # the first two are begin and end
FIRST_DAY, LAST_DAY = date(1950, 1, 1).toordinal(), date(2049, 12, 31).toordinal()


def written_date(day: date, form: int) -> str:
    """Return a date as it is written: 3 March 1987, March 3, 1987, 3 Mar 1987 or Mar 3, 1987."""
    month = MONTHS[day.month - 1][: 3 if form >= 2 else None]
    return f"{month} {day.day}, {day.year}" if form % 2 else f"{day.day} {month} {day.year}"


class Lines(NamedTuple):
    """Lines of dates as they are written, and the same dates in the basic format of ISO 8601."""

    written: list[str]  # "3 Mar 1987; July 14, 2003"
    iso: list[str]  # "19870303 20030714"
    counts: np.ndarray  # (n,) dates of each line
    x: np.ndarray  # (n, t) numbers in `WRITTEN`, 0 behind the end of a line
    y: np.ndarray  # (n, u) numbers in `ISO`, the last of each line its end, 0 behind it
    lengths: np.ndarray  # (n,)
    ends: np.ndarray  # (n,)

    @property
    def arrays(self) -> tuple[np.ndarray, ...]:
        """Return x, y, lengths and ends, as `dlbook.nets.EncoderDecoder` wants them."""
        return self.x, self.y, self.lengths, self.ends


def dates(count: int, rng: np.random.Generator, *, least: int = 1, most: int = 6) -> Lines:
    """Draw lines of dates, each of them written in one of four forms.

    Parameters
    ----------
    count : int
        Lines.
    rng : numpy.random.Generator
        Draws them. All days from 1950 to 2049 are equally likely, and so are all forms.
    least, most : int
        Fewest and most dates of a line; k of them with a probability proportional to 1/k, so that
        there are as many dates in short lines as in long ones.

    Returns
    -------
    Lines
    """
    count, least = shapes.count("count", count), shapes.count("least", least)
    sizes = np.arange(least, shapes.count("most", most, least=least) + 1)
    counts = shapes.generator("rng", rng).choice(sizes, count, p=1 / sizes / (1 / sizes).sum())
    days = rng.integers(FIRST_DAY, LAST_DAY + 1, counts.sum()).tolist()
    forms = rng.integers(4, size=counts.sum()).tolist()
    written, iso, begin = [], [], 0
    for stop in np.cumsum(counts):
        line = [date.fromordinal(day) for day in days[begin:stop]]
        written.append("; ".join(map(written_date, line, forms[begin:stop])))
        iso.append(" ".join(f"{d.year}{d.month:02}{d.day:02}" for d in line))
        begin = stop
    x, lengths = padded([WRITTEN.encode(line) for line in written])
    y, ends = padded([ISO.encode(line + ">") for line in iso])
    return Lines(written, iso, counts, x, y, lengths, ends)


def dates_right(found: ArrayLike, lines: Lines) -> tuple[np.ndarray, np.ndarray]:
    """Compare what was written with what should have been.

    Parameters
    ----------
    found : array_like of int, shape (n, u)
        What `dlbook.nets.EncoderDecoder.predict` returns.
    lines : Lines
        The same n lines.

    Returns
    -------
    whole : ndarray of bool, shape (n,)
        Whether the whole line is right, its end included.
    share : ndarray, shape (n,)
        The part of its dates that are right and in their place.
    """
    axes = shapes.Axes(n=len(lines.iso))
    found = axes.labels("found", found, "n u", len(ISO), least=-1)
    whole, share = [], []
    for row, iso in zip(found, lines.iso, strict=True):
        text = ISO.decode(row[row >= 0])
        wanted, given = iso.split(), text.rstrip(">").split(" ")
        whole.append(text == iso + ">")
        share.append(np.mean([m < len(given) and given[m] == d for m, d in enumerate(wanted)]))
    return np.array(whole), np.array(share)


def padded(sequences: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Return sequences of numbers as one array, zeros behind their ends, and their lengths."""
    sequences = [shapes.array(f"sequences[{n}]", s) for n, s in enumerate(sequences)]
    for n, s in enumerate(sequences):
        if s.size and s.dtype.kind not in "iu":
            raise TypeError(f"sequences[{n}] has dtype {s.dtype}, expected whole numbers")
    lengths = np.array([len(s) for s in sequences])
    out = np.zeros((len(sequences), lengths.max(initial=1)), np.int64)
    for row, s in zip(out, sequences, strict=True):
        row[: len(s)] = s
    return out, lengths


# Characters with a label each


def chunks(
    sequences: Iterable[tuple[ArrayLike, ArrayLike]], steps: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Cut labelled sequences into pieces of equal length, the last of each being shorter.

    Parameters
    ----------
    sequences : iterable of (x, y)
        Symbols (t,) and a label for each, (t,).
    steps : int
        Length of a piece.

    Returns
    -------
    x, y : ndarray of int64, shape (n, t)
        Zeros behind the end of a piece.
    lengths : ndarray of int64, shape (n,)
    """
    steps, x, y = shapes.count("steps", steps), [], []
    for k, (symbols, labels) in enumerate(sequences):
        axes = shapes.Axes()
        symbols = axes.labels(f"x of sequence {k}", symbols, "t")
        labels = axes.labels(f"y of sequence {k}", labels, "t")
        for first in range(0, len(symbols), steps):
            x.append(symbols[first : first + steps])
            y.append(labels[first : first + steps])
    if not x:
        raise ValueError("there is no sequence to cut")
    x, lengths = padded(x)
    return x, padded(y)[0], lengths


# Melodies

LETTERS = {"c": 0, "d": 2, "e": 4, "f": 5, "g": 7, "a": 9, "b": 11}
NOTE = re.compile(r"(?:([a-g])([#b]?)(\'*|,*)|(r))([1-9][0-9]?)?")
MIDDLE_C, REST = 60, -1


class Note(NamedTuple):
    """A tone or a rest."""

    pitch: int  # semitones, middle C being 60 and A above it 69; −1 is a rest
    eighths: int  # length


@njit
def frequency(pitch):
    """(sequence_tasks-pitch)  f = 440 · 2^((m − 69) / 12) Hz
    () -> ()
    """
    return 440.0 * 2.0 ** ((pitch - 69) / 12)


def melody(text: str, eighths: int | None = None) -> list[Note]:
    """Read a melody from the notation of this book.

    A note is a letter from c to b, which stands for a pitch of the octave from middle C; then #
    or b, which change it by a semitone up or down; then any number of ' or of , for octaves up or
    down; then its length in eighths, 2 if there is none. r is a rest. Notes are separated by
    blanks, bars by an upright stroke. For example, ``c g1 bb1 | c'4``.

    Parameters
    ----------
    text : str
        The melody.
    eighths : int, optional
        Length of a bar. Where given, every bar must have it, but the first may be an upbeat and
        the last may be short.

    Returns
    -------
    list of Note

    Raises
    ------
    ValueError
        With the bar and the note that cannot be read, or the bar that is too long or too short.
    """
    if not isinstance(text, str) or not text.strip():
        raise ValueError(f"text is {shapes.shown(text)}, expected notes")
    notes, bars = [], text.split("|")
    for k, bar in enumerate(bars, 1):
        length = 0
        for word in bar.split():
            found = NOTE.fullmatch(word)
            if found is None:
                raise ValueError(
                    f"bar {k} holds {word!r}, expected a letter from a to g with #, b, ' or , and "
                    "a length, such as f#'3, or a rest, r4"
                )
            letter, bend, octave, _, duration = found.groups()
            pitch = REST
            if letter:
                pitch = MIDDLE_C + LETTERS[letter] + {"#": 1, "b": -1, "": 0}[bend]
                pitch += 12 * (len(octave) if octave.startswith("'") else -len(octave))
            notes.append(Note(pitch, int(duration or 2)))
            length += notes[-1].eighths
        if not length:
            raise ValueError(f"bar {k} is empty")
        if eighths is not None:
            whole = length == shapes.count("eighths", eighths)
            if not whole and (k not in (1, len(bars)) or length > eighths):
                raise ValueError(f"bar {k} has {length} eighths, expected {eighths}")
    return notes


def notation(notes: Sequence[Note]) -> str:
    """Return notes as `melody` reads them, without bars and with sharps only."""
    words = []
    for pitch, eighths in notes:
        octave, step = divmod(pitch - MIDDLE_C, 12)
        letter = next(c for c, at in reversed(LETTERS.items()) if at <= step)
        bend = "#" if LETTERS[letter] != step else ""
        mark = "'" * octave if octave > 0 else "," * -octave
        name = "r" if pitch == REST else f"{letter}{bend}{mark}"
        words.append(name + ("" if eighths == 2 else str(eighths)))
    return " ".join(words)


def transposed(notes: Sequence[Note], semitones: int) -> list[Note]:
    """Return the same melody so many semitones higher; rests stay rests."""
    semitones = shapes.count("semitones", semitones, least=-60, most=60)
    return [Note(m if m == REST else m + semitones, length) for m, length in notes]


@dataclass(frozen=True)
class Notes:
    """The symbols of melodies: 0 for the end, then pitches, then lengths.

    A note is two symbols, so that what is learned about a pitch holds for all of its lengths.

    Parameters
    ----------
    lowest, highest : int
        Pitches that have a symbol.
    longest : int
        Length in eighths up to which there are symbols.
    """

    lowest: int = 45
    highest: int = 84
    longest: int = 8

    def __len__(self):
        return 2 + self.highest - self.lowest + 1 + self.longest

    @property
    def _lengths(self):
        return 2 + self.highest - self.lowest

    def encode(self, notes: Sequence[Note]) -> np.ndarray:
        """Return the symbols of notes, an end in front and behind.

        Raises
        ------
        ValueError
            For a note that has none.
        """
        symbols = [0]
        for k, (pitch, eighths) in enumerate(notes):
            if pitch != REST and not self.lowest <= pitch <= self.highest:
                raise ValueError(
                    f"note {k} has the pitch {pitch}, expected {self.lowest} … {self.highest}"
                )
            if not 1 <= eighths <= self.longest:
                raise ValueError(f"note {k} has {eighths} eighths, expected 1 … {self.longest}")
            symbols.append(1 if pitch == REST else 2 + pitch - self.lowest)
            symbols.append(self._lengths + eighths)
        return np.array([*symbols, 0])

    def decode(self, symbols: ArrayLike) -> list[Note]:
        """Return the notes up to the end; a pitch without a length, or the reverse, is left out."""
        notes, pitch = [], None
        for symbol in shapes.Axes().labels("symbols", symbols, "t", len(self)).tolist():
            if symbol == 0 and notes:
                break
            if symbol > self._lengths and pitch is not None:
                notes.append(Note(pitch, symbol - self._lengths))
                pitch = None
            elif 0 < symbol <= self._lengths:
                pitch = REST if symbol == 1 else symbol - 2 + self.lowest
        return notes


def sound(notes: Sequence[Note], *, tempo: float = 132, rate: int = 8000) -> np.ndarray:
    """Return a melody as air pressure: each tone five partials that fade away.

    Parameters
    ----------
    notes : sequence of Note
        The melody.
    tempo : float
        Beats of two eighths per minute.
    rate : int
        Samples per second.

    Returns
    -------
    ndarray, shape (s,)
        Between −1 and 1.
    """
    tempo, rate = shapes.number("tempo", tempo, above=0), shapes.count("rate", rate)
    parts = [np.zeros(rate // 20)]
    for pitch, eighths in notes:
        s = np.arange(round(eighths * 30 / tempo * rate)) / rate
        tone = np.zeros(s.size)
        for partial in range(1, 6):
            f = partial * frequency(float(pitch))
            if pitch != REST and f < 0.45 * rate:  # higher ones would come back as lower ones
                tone += np.sin(2 * np.pi * f * s) * np.exp(-2.5 * partial**0.5 * s) / partial**1.5
        ends = np.minimum(1, np.minimum(s, s[::-1]) / 0.01)  # no clicks
        parts.append(tone * ends)
    whole = np.concatenate(parts)
    return 0.8 * whole / max(np.abs(whole).max(), 1e-9)


def wav(samples: ArrayLike, rate: int = 8000) -> bytes:
    """Return samples between −1 and 1 as a WAV file with one channel of 16 bits."""
    samples = shapes.Axes().floats("samples", samples, "s")
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(shapes.count("rate", rate))
        file.writeframes(np.rint(np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes())
    return out.getvalue()


def play(samples: ArrayLike, *, alt: str, title: str, rate: int = 8000) -> None:
    """Put a sound on the page.

    Parameters
    ----------
    samples : array_like, shape (s,)
        Between −1 and 1.
    alt : str
        What is heard, for those who do not hear it.
    title : str
        A line under it.
    rate : int
        Samples per second.
    """
    for name, words in (("alt", alt), ("title", title)):
        if not isinstance(words, str) or not words.strip():
            raise ValueError(f"{name} is {shapes.shown(words)}, expected a sentence")
    data = base64.b64encode(wav(samples, rate)).decode()
    html = (
        f'<figure class="sound"><audio controls preload="metadata" aria-label="{escape(alt)}" '
        f'src="data:audio/wav;base64,{data}">{escape(alt)}</audio>'
        f"<figcaption><p>{escape(title)}</p></figcaption></figure>"
    )
    try:
        from IPython import get_ipython
        from IPython.display import display
    except ImportError:
        get_ipython = None
    if not (get_ipython and get_ipython()):
        print(f"sound: {alt}")
        return
    display({"text/html": html, "text/plain": f"sound: {alt}"}, raw=True)
