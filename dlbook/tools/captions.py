"""Scenes with captions: coloured digits on pieces of photographs, and what is there in words.

A scene of 24 × 24 pixels in colour has one to three digits that do not overlap. One is "a red
three", two are "a red three above a blue one" or "… left of …", three are "a … and a … and a …"
from left to right. Nothing is downloaded: digits and photographs are those of `dlbook.tools.data`,
whose `CREDITS` name the photographers, and the parts are kept apart as in `dlbook.tools.scenes`.

Four of the forty pairs of a colour and a digit are held out: they occur in a scene only where it
is asked for.
"""

import re
from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from dlbook.tools import data, shapes
from dlbook.tools.scenes import PARTS

__all__ = [
    "BEGIN",
    "COLOURS",
    "END",
    "HELD",
    "NAMES",
    "PAIRS",
    "SIDE",
    "WORDS",
    "Captioned",
    "captioned",
    "fault",
    "written",
]

SEED = 20_260_207
SIDE, DIGIT = 24, 8  # pixels of a scene and of a digit
LIGHT = 0.35  # of a photograph, whose white is 1
CLEAR = 2  # pixels by which a position must differ for the caption to speak of it
COLOURS = ("red", "green", "blue", "yellow")
RGB = np.array([[1, 0.15, 0.15], [0.1, 0.9, 0.1], [0.25, 0.35, 1], [1, 0.95, 0.1]])
NAMES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
WORDS = ("<", ">", "a", "above", "left", "of", "and", *COLOURS, *NAMES)
BEGIN, END = 0, 1  # what is read first, and the word that ends a caption
HELD = (("red", "seven"), ("green", "four"), ("blue", "one"), ("yellow", "eight"))
PAIRS = ("seen", "held", "any")
PAIR = re.compile(f"a ({'|'.join(COLOURS)}) ({'|'.join(NAMES)})")
FORMS = {1: ([],), 2: (["above"], ["left", "of"]), 3: (["and", "and"],)}
NUMBER = {word: k for k, word in enumerate(WORDS)}
OUT = np.zeros((len(COLOURS), len(NAMES)), bool)
OUT[[COLOURS.index(c) for c, _ in HELD], [NAMES.index(n) for _, n in HELD]] = True


class Captioned(NamedTuple):
    """Scenes and their captions; digits stand in the order in which the caption names them."""

    x: np.ndarray  # (n, 3, side, side), from 0 to 1
    y: np.ndarray  # (n, u) numbers in `WORDS`; the end is the last word of each, and behind it
    ends: np.ndarray  # (n,) words of each caption, the end included
    counts: np.ndarray  # (n,) digits of each scene
    labels: np.ndarray  # (n, 3) which digits, −1 where there are fewer
    colours: np.ndarray  # (n, 3) numbers in `COLOURS`, −1 where there are fewer
    boxes: np.ndarray  # (n, 3, 4) y0, x0, y1, x1 of the digits' squares, half-open
    speaks: np.ndarray  # (n, u) of which of the digits a word speaks, −1 for all others

    @property
    def arrays(self) -> tuple[np.ndarray, ...]:
        """Return x, y and ends, as `dlbook.nets.Captioner` wants them."""
        return self.x, self.y, self.ends

    @property
    def texts(self) -> list[str]:
        """Return the captions as strings."""
        return [written(row) for row in self.y]


def written(row: ArrayLike) -> str:
    """Return a caption as a string, from its numbers up to the end.

    Parameters
    ----------
    row : array_like of int, shape (u,)
        Numbers in `WORDS`, as they stand in `Captioned.y` or come from a network.
    """
    row = shapes.Axes().labels("row", row, "u", len(WORDS), least=-1).tolist()
    return " ".join(WORDS[k] for k in row[: row.index(END) if END in row else None])


def fault(found: str, wanted: str) -> str:
    """Say what is wrong with a caption.

    Parameters
    ----------
    found, wanted : str
        The caption as it was written, and as it should be.

    Returns
    -------
    {"nothing", "count", "order", "name", "colour", "several"}
        "count" is another number of digits, or no caption at all; "order" is another order or
        position of the right digits in their colours; "name" and "colour" say that the names alone
        are wrong, or the colours alone.
    """
    if found == wanted:
        return "nothing"
    pairs = [PAIR.findall(text) for text in (found, wanted)]
    if len(pairs[0]) != len(pairs[1]) or PAIR.sub("", found).split() not in FORMS[len(pairs[1])]:
        return "count"
    if sorted(pairs[0]) == sorted(pairs[1]):
        return "order"
    (found_colours, found_names), (colours, names) = (zip(*some, strict=True) for some in pairs)
    if found_names != names and found_colours != colours:
        return "several"
    return "name" if found_names != names else "colour"


@cache
def _sources(part):
    """Return the digits of a part by class, and the columns of photographs that are its own."""
    first, last = PARTS[part]
    photos = [photo / 255 for photo in data.photographs().values()]
    cuts = [p[:, round(first * p.shape[1]) : round(last * p.shape[1])] for p in photos]
    split = data.digits(np.float32)
    images, labels = getattr(split, f"x_{part}"), getattr(split, f"y_{part}")
    return [images[labels == k].reshape(-1, DIGIT, DIGIT) for k in range(10)], cuts


def captioned(
    part: str,
    count: int,
    seed: int = 0,
    *,
    digits=(1, 2, 3),
    pairs: str = "seen",
    dtype: DTypeLike = np.float32,
) -> Captioned:
    """Return scenes with captions; the same arguments give the same ones.

    Parameters
    ----------
    part : {"train", "val", "test"}
        Which images of digits, and which part of the photographs.
    count : int
        How many scenes.
    seed : int
        Other scenes of the same part.
    digits : iterable of int
        How many digits a scene may have, each number as often as the others, give or take one.
    pairs : {"seen", "held", "any"}
        "seen" are scenes without the pairs of `HELD`; in each scene of "held" there is at least
        one of them; for "any" it does not matter.
    dtype : numpy dtype
        float32 or float64, of the images.

    Returns
    -------
    Captioned

    Raises
    ------
    TypeError, ValueError
        If an argument is not what is described here.
    """
    shapes.choice("part", part, tuple(PARTS))
    shapes.choice("pairs", pairs, PAIRS)
    count, seed = shapes.count("count", count), shapes.count("seed", seed, least=0)
    dtype = shapes.floating("dtype", dtype)
    sizes = [shapes.count("a number of digits", m, most=3) for m in digits]
    if not sizes:
        raise ValueError("digits is empty, expected at least one number from 1 to 3")
    rng = np.random.default_rng([SEED, *map(ord, part + pairs), seed])
    counts = rng.permutation(np.resize(sizes, count))
    labels, colours = np.full((2, count, 3), -1)
    boxes, between = np.zeros((count, 3, 4), np.int64), np.zeros(count, np.int64)
    for m in np.unique(counts).tolist():
        mine = np.flatnonzero(counts == m)
        labels[mine, :m], colours[mine, :m] = _pairs(rng, len(mine), m, pairs)
        corners, between[mine] = _places(rng, len(mine), m)
        boxes[mine, :m] = np.concatenate((corners, corners + DIGIT), axis=2)
    x = np.array([_picture(part, rng, *one) for one in zip(labels, colours, boxes, strict=True)])
    y, ends, speaks = _captions(counts, labels, colours, between)
    x = np.ascontiguousarray(x.transpose(0, 3, 1, 2), dtype)
    return Captioned(x, y, ends, counts, labels, colours, boxes, speaks)


def _drawn(count, draw):
    """Return so many of the draws that are right: `draw(n)` gives arrays and which rows are."""
    found, have = [], 0
    while have < count:
        *arrays, right = draw(max(64, 2 * (count - have)))
        found.append([a[right] for a in arrays])
        have += int(right.sum())
    return [np.concatenate(parts)[:count] for parts in zip(*found, strict=True)]


def _pairs(rng, count, m, pairs):
    """Return digits and colours (n, m), all forty pairs as likely as those that may occur allow."""

    def draw(n):
        labels, colours = rng.integers(10, size=(n, m)), rng.integers(4, size=(n, m))
        held = OUT[colours, labels].any(axis=1)
        return labels, colours, held == (pairs == "held") if pairs != "any" else held | True

    return _drawn(count, draw)


def _places(rng, count, m):
    """Return corners (n, m, 2) in the order of the caption, and of two how they lie, else 0.

    Of two digits the first is above (1) or left of (2) the other, by the larger difference; of
    three the first is the leftmost.
    """

    def draw(n):
        at, each = rng.integers(SIDE - DIGIT + 1, size=(n, m, 2)), np.arange(n)
        how, right = np.zeros(n, np.int64), np.ones(n, bool)
        for a in range(m):
            for b in range(a):
                right &= (np.abs(at[:, a] - at[:, b]) >= DIGIT).any(axis=1)
        if m == 2:
            apart = np.abs(at[:, 1] - at[:, 0])
            how = 1 + apart.argmax(axis=1)
            right &= np.abs(apart[:, 0] - apart[:, 1]) >= CLEAR
        along = at[each, :, np.where(how == 1, 0, 1)]
        order = along.argsort(axis=1, kind="stable")
        at, along = at[each[:, None], order], along[each[:, None], order]
        right &= (np.diff(along, axis=1) >= CLEAR).all(axis=1)
        return at, how, right

    return _drawn(count, draw)


def _picture(part, rng, labels, colours, boxes):
    """Return an image (side, side, 3)."""
    pools, cuts = _sources(part)
    photo, down, right, *which = rng.random(6).tolist()
    cut = cuts[int(len(cuts) * photo)]
    y, x = int((cut.shape[0] - SIDE + 1) * down), int((cut.shape[1] - SIDE + 1) * right)
    image = LIGHT * cut[y : y + SIDE, x : x + SIDE]
    for label, colour, (top, left, bottom, end), one in zip(
        labels.tolist(), colours.tolist(), boxes.tolist(), which, strict=True
    ):
        if label >= 0:
            ink = pools[label][int(len(pools[label]) * one), :, :, None]
            under = image[top:bottom, left:end]
            under[:] = under * (1 - ink) + ink * RGB[colour]
    return image


def _captions(counts, labels, colours, between):
    """Return the numbers of the words, how many there are, and of which digit each speaks."""
    joins = ["and"], ["above"], ["left", "of"]
    y = np.full((len(counts), 12), END)
    speaks = np.full(y.shape, -1)
    ends = np.empty(len(counts), np.int64)
    rows = zip(counts.tolist(), labels.tolist(), colours.tolist(), between.tolist(), strict=True)
    for n, (m, names, inks, how) in enumerate(rows):
        words, of = [], []
        for k in range(m):
            if k:
                words += joins[how]
                of += [-1] * len(joins[how])
            words += ["a", COLOURS[inks[k]], NAMES[names[k]]]
            of += [k] * 3
        y[n, : len(words)] = [NUMBER[word] for word in words]
        speaks[n, : len(of)] = of
        ends[n] = len(words) + 1
    longest = int(ends.max())
    return y[:, :longest].copy(), ends, speaks[:, :longest].copy()
