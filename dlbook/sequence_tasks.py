"""Sequence tasks: one or many in, one or many out; from a sequence to another one.

Page: ``book/sequence_tasks.md``. Builds on `gated` (cells, both directions) and `rnn` (scores, their
cost, text). `dlbook.nets.EncoderDecoder` is the network.

Sources: Cho et al., EMNLP (2014), and Sutskever, Vinyals & Le, NeurIPS (2014), for an encoder and a
decoder; Williams & Zipser, Neural Computation 1 (1989), for teacher forcing; Graves, arXiv:1211.3711
(2012), for beam search with recurrent networks; Schuster & Paliwal, IEEE Trans. Signal Processing 45
(1997), for taggers that read both ways.

Axes: n sequences of a batch; t steps of what is read, u steps of what is written, both from 1; j
units of a state; v symbols that can be written; b hypotheses of a beam.

Names: x what is read, y what is written, whose last symbol is the end; h states of the encoder, d of
the decoder; wy, by weights and biases of the scores o.
"""

from collections.abc import Callable, Iterable, Sequence
from datetime import date
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from dlbook.gated import bidirectional, gru_deltas, gru_states
from dlbook.rnn import outputs, total_loss
from dlbook.tools import shapes
from dlbook.tools.jit import njit
from dlbook.tools.text import Alphabet

__all__ = [
    "ISO",
    "WRITTEN",
    "Lines",
    "beam_search",
    "beam_step",
    "chunks",
    "dates",
    "dates_right",
    "encoder_decoder",
    "encoder_gradient",
    "frequency",
    "length_normalized",
    "log_likelihood",
    "padded",
    "summed_loss",
    "tagged",
    "teacher_forcing",
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
        total += total_loss(o[n, : lengths[n]], y[n, : lengths[n]])
    return total


@njit
def tagged(x, first, last, forward, backward, wy, by):
    """(sequence_tasks-tagger)  o_t = wy (h→_t, h←_t) + by, which is made of all of x
    (t k), (j), (j), layer, layer, (v 2j), (v) -> (t v)
    """
    return outputs(bidirectional(x, first, last, forward, backward), wy, by)


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
def encoder_gradient(dd, gates, d, wh):
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
def teacher_forcing(y, begin):
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
def beam_step(sums, logs, width):
    """(sequence_tasks-beam-search)  the `width` largest of s_b + log p(v | b)
    (b), (b v), () -> (w), (w), (w): b, v, sum, largest first, ties in order
    """
    V, totals = logs.shape[1], (sums[:, None] + logs).ravel()
    order = np.argsort(-totals, kind="mergesort")[:width]
    return order // V, order % V, totals[order]


@njit
def length_normalized(total, length, power):
    """(sequence_tasks-length)  s = log p(y | x) / U^a
    (), (), () -> ()
    """
    return total / length**power


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
    width, longest = shapes.count("width", width), shapes.count("max_length", max_length)
    power = shapes.number("length_penalty", length_penalty, least=0)
    state, sums = shapes.array("first", first), np.zeros(1)
    symbols, written, ended = np.array([begin]), np.empty((1, 0), np.int64), []
    for length in range(1, longest + 1):
        logs, state = step(state, symbols)
        whose, symbols, sums = beam_step(sums, np.ascontiguousarray(logs, float), width)
        written = np.column_stack((written[whose], symbols))
        done = symbols == end
        for b in np.flatnonzero(done):
            ended.append((written[b], float(length_normalized(sums[b], length, power))))
        ended = sorted(ended, key=lambda pair: -pair[1])[:width]
        going = ~done & (sums > -np.inf)
        state, symbols, sums = state[whose[going]], symbols[going], sums[going]
        written = written[going]
        # no continuation can do better than
        best = length_normalized(sums.max(initial=-np.inf), longest, power)
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


def dates(count: int, rng: np.random.Generator, *, min_dates: int = 1, max_dates: int = 6) -> Lines:
    """Draw lines of dates, each of them written in one of four forms.

    Parameters
    ----------
    count : int
        Lines.
    rng : numpy.random.Generator
        Draws them. All days from 1950 to 2049 are equally likely, and so are all forms.
    min_dates, max_dates : int
        Fewest and most dates of a line; k of them with a probability proportional to 1/k, so that
        there are as many dates in short lines as in long ones.

    Returns
    -------
    Lines
    """
    count, least = shapes.count("count", count), shapes.count("min_dates", min_dates)
    sizes = np.arange(least, shapes.count("max_dates", max_dates, least=least) + 1)
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


# Tones


@njit
def frequency(pitch):
    """(sequence_tasks-pitch)  f = 440 · 2^((m − 69) / 12) Hz
    () -> ()
    """
    return 440.0 * 2.0 ** ((pitch - 69) / 12)
