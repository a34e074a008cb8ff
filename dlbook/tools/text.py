"""Text: symbols or words and their numbers."""

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from dlbook.tools import shapes

__all__ = ["Alphabet", "Vocabulary", "words"]

WORD = re.compile(r"[a-z_]+[a-z0-9_]*")


@dataclass(frozen=True)
class Alphabet:
    """Symbols and their numbers.

    Parameters
    ----------
    symbols : str
        Each once; its place is its number.
    unknown : str, optional
        The one of them that stands for every character that is not among them.

    Raises
    ------
    ValueError
        If there is none, one occurs twice, or the unknown is not one of them.
    """

    symbols: str
    unknown: str | None = None

    def __post_init__(self):
        """Check them."""
        if not isinstance(self.symbols, str) or not self.symbols:
            raise ValueError(f"symbols is {shapes.shown(self.symbols)}, expected at least one")
        if len(set(self.symbols)) != len(self.symbols):
            twice = next(c for c in self.symbols if self.symbols.count(c) > 1)
            raise ValueError(f"symbols hold {twice!r} twice")
        if self.unknown is not None and self.unknown not in tuple(self.symbols):
            raise ValueError(
                f"unknown is {shapes.shown(self.unknown)}, which is not one of the symbols"
            )

    @classmethod
    def of(cls, text: str, min_count: int = 1, unknown: str | None = None) -> "Alphabet":
        """Return the characters that occur in a text at least so often, sorted.

        Parameters
        ----------
        text : str
            Usually the part of the text that a model is trained on.
        min_count : int
            Occurrences.
        unknown : str, optional
            A character to stand for all others; it is added.

        Raises
        ------
        TypeError, ValueError
            If `text` is not a string, `min_count` is not a whole number from 1 on, or `unknown` is not
            one character.
        """
        if not isinstance(text, str):
            raise TypeError(f"text is {type(text).__name__}, expected str")
        least, counts = shapes.count("min_count", min_count), {}
        for character in text:
            counts[character] = counts.get(character, 0) + 1
        kept = {c for c, count in counts.items() if count >= least}
        if unknown is not None and not (isinstance(unknown, str) and len(unknown) == 1):
            raise ValueError(f"unknown is {shapes.shown(unknown)}, expected one character")
        return cls("".join(sorted(kept | ({unknown} if unknown else set()))), unknown)

    def __len__(self):
        return len(self.symbols)

    def encode(self, text: str) -> np.ndarray:
        """Return the numbers of the characters of a text.

        Raises
        ------
        ValueError
            For a character that is not among the symbols, where none stands for the unknown.
        """
        number = {c: k for k, c in enumerate(self.symbols)}
        other = number.get(self.unknown)
        found = [number.get(c, other) for c in text]
        if None in found:
            at = found.index(None)
            raise ValueError(
                f"text holds {text[at]!r} at place {at}, which is not one of the {len(self)} symbols"
            )
        return np.array(found, np.int64)

    def decode(self, numbers: ArrayLike) -> str:
        """Return the text of numbers.

        Raises
        ------
        ValueError
            For a number that no symbol has.
        """
        numbers = shapes.array("numbers", numbers)
        if numbers.size:
            numbers = shapes.Axes().labels("numbers", numbers, "t", len(self))
        return "".join(self.symbols[k] for k in numbers)


def words(text: str) -> list[str]:
    """Return the words of a text in lower case: letters, digits and low lines, no digit in front.

    Raises
    ------
    TypeError
        If it is not a string.
    """
    if not isinstance(text, str):
        raise TypeError(f"text is {type(text).__name__}, expected str")
    return WORD.findall(text.lower())


@dataclass(frozen=True)
class Vocabulary:
    """Words and their numbers; `Vocabulary.of` makes one of paragraphs.

    Parameters
    ----------
    words : tuple of str
        Each once; its place is its number.

    Raises
    ------
    TypeError, ValueError
        If they are not strings, there is none, or one occurs twice.
    """

    words: tuple[str, ...]

    def __post_init__(self):
        """Check them."""
        if isinstance(self.words, str) or not all(isinstance(w, str) for w in self.words):
            raise TypeError(f"words is {shapes.shown(self.words)}, expected strings")
        object.__setattr__(self, "words", tuple(self.words))
        if not self.words:
            raise ValueError("words is empty, expected at least one")
        if len(set(self.words)) != len(self.words):
            twice = Counter(self.words).most_common(1)[0][0]
            raise ValueError(f"words hold {twice!r} twice")
        object.__setattr__(self, "_number", {w: v for v, w in enumerate(self.words)})

    @classmethod
    def of(cls, paragraphs: Iterable[str], min_count: int = 1) -> "Vocabulary":
        """Return the words that occur at least so often, the frequent ones first.

        Words that occur equally often stand in the order in which they first occur.

        Raises
        ------
        TypeError, ValueError
            If a paragraph is not a string, `min_count` is not a whole number from 1 on, or no word
            occurs so often.
        """
        least, counts = shapes.count("min_count", min_count), Counter()
        if isinstance(paragraphs, str):
            raise TypeError("paragraphs is one string, expected several")
        for paragraph in paragraphs:
            counts.update(words(paragraph))
        kept = tuple(w for w, count in counts.most_common() if count >= least)
        if not kept:
            raise ValueError(f"no word occurs {least} times or more")
        return cls(kept)

    def __len__(self):
        return len(self.words)

    def __contains__(self, word):
        return word in self._number

    def __getitem__(self, word):
        """Return the number of a word."""
        if word not in self._number:
            raise KeyError(f"{word!r} is not one of the {len(self)} words")
        return self._number[word]

    def encode(self, paragraphs: Iterable[str]) -> tuple[np.ndarray, np.ndarray]:
        """Return the numbers of all words that are known, and where each paragraph begins.

        Returns
        -------
        ids : array of shape (t,)
            One paragraph after the other; words that are not known are left out.
        starts : array of shape (p + 1,)
            Paragraph m is ``ids[starts[m] : starts[m + 1]]``.
        """
        if isinstance(paragraphs, str):
            raise TypeError("paragraphs is one string, expected several")
        ids, starts = [], [0]
        for paragraph in paragraphs:
            ids += [self._number[w] for w in words(paragraph) if w in self._number]
            starts.append(len(ids))
        return np.array(ids, np.int64), np.array(starts, np.int64)
