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

import base64
import io
import re
import wave
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from html import escape
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
    "Note",
    "Notes",
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
