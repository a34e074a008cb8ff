"""Melodies: a notation that can be typed, their symbols, and how they sound."""

import base64
import io
import re
import wave
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from dlbook.tools import shapes

__all__ = ["Note", "Notes", "melody", "notation", "play", "sound", "transposed", "wav"]

LETTERS = {"c": 0, "d": 2, "e": 4, "f": 5, "g": 7, "a": 9, "b": 11}
NOTE = re.compile(r"(?:([a-g])([#b]?)(\'*|,*)|(r))([1-9][0-9]?)?")
MIDDLE_C, REST = 60, -1


class Note(NamedTuple):
    """A tone or a rest."""

    pitch: int  # semitones, middle C being 60 and A above it 69; −1 is a rest
    eighths: int  # length


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
            letter, accidental, octave, _, duration = found.groups()
            pitch = REST
            if letter:
                pitch = MIDDLE_C + LETTERS[letter] + {"#": 1, "b": -1, "": 0}[accidental]
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
        accidental = "#" if LETTERS[letter] != step else ""
        mark = "'" * octave if octave > 0 else "," * -octave
        name = "r" if pitch == REST else f"{letter}{accidental}{mark}"
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


def sound(
    notes: Sequence[Note],
    frequency: Callable[[float], float],
    *,
    tempo: float = 132,
    rate: int = 8000,
) -> np.ndarray:
    """Return a melody as air pressure: each tone five partials that fade away.

    Parameters
    ----------
    notes : sequence of Note
        The melody.
    frequency : callable
        ``frequency(pitch)`` is the frequency of a pitch in Hz: the tuning, such as
        `dlbook.sequence_tasks.frequency`.
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
