"""Text: symbols and their numbers."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from dlbook.tools import shapes

__all__ = ["Alphabet"]


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
