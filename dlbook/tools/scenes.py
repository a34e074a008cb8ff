"""Small scenes: real digits on pieces of real photographs, with what is to be found in them.

Three kinds. In a scene of 16 × 16 pixels stands one digit, for *transfer*; in one of 24 × 24 stand
two digits that may overlap, to be told from the photograph pixel by pixel (*segment*), or one to
three of different sizes, to be found (*detect*). Nothing is downloaded: digits and photographs are
those of `dlbook.tools.data`, whose `CREDITS` name the photographers.

The parts are kept apart. Scenes to learn from have digits of the training part and pieces of the
left seven tenths of a photograph; those to choose and to measure by have the other digits, and
pieces from further right.
"""

from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import DTypeLike

from dlbook.tools import data, shapes

__all__ = ["INK", "KINDS", "PARTS", "Scenes", "scenes"]

SEED = 20_260_111
SHARED = 6  # pixels that two boxes may have in common
INK = 0.4  # from which a pixel of a digit counts as one of its own
PARTS = {"train": (0.0, 0.7), "val": (0.7, 0.8), "test": (0.8, 1.0)}  # of a photograph's width


class Kind(NamedTuple):
    """What the scenes of a kind are like."""

    side: int  # pixels
    most: int  # digits
    least: int
    sizes: tuple[int, int]  # of a digit's square, in pixels
    light: float  # of the photograph, whose white is 1
    cell: int | None  # no two centres lie in one cell of so many pixels, and boxes hardly overlap


KINDS = {
    "transfer": Kind(16, 1, 1, (8, 8), 0.5, None),
    "segment": Kind(24, 2, 2, (8, 8), 0.6, None),
    "detect": Kind(24, 3, 1, (8, 12), 0.5, 4),
}


class Scenes(NamedTuple):
    """Scenes, and what is in them; m is the largest number of digits in a scene."""

    x: np.ndarray  # (n, 1, side, side), from 0 to 1
    labels: np.ndarray  # (n, m) which digits, −1 where there are fewer
    boxes: np.ndarray  # (n, m, 4) y0, x0, y1, x1 around the ink, half-open; zeros where fewer
    masks: np.ndarray  # (n, side, side) 1 where there is ink, else 0


@cache
def _sources(part):
    """Return a part's digits, their labels, and the columns of photographs that are its own."""
    first, last = PARTS[part]
    greys = [photo.mean(axis=2) / 255 for photo in data.photographs().values()]
    cuts = [grey[:, round(first * grey.shape[1]) : round(last * grey.shape[1])] for grey in greys]
    split = data.digits(np.float32)
    images = getattr(split, f"x_{part}").reshape(-1, 8, 8)
    return images, getattr(split, f"y_{part}"), cuts


def scenes(
    kind: str,
    part: str,
    count: int,
    seed: int = 0,
    *,
    digits=range(10),
    clutter: bool = True,
    centred: bool = False,
    dtype: DTypeLike = np.float32,
) -> Scenes:
    """Return scenes of a kind; the same arguments give the same ones.

    Parameters
    ----------
    kind : {"transfer", "segment", "detect"}
        See `KINDS`.
    part : {"train", "val", "test"}
        Which digits, and which part of the photographs.
    count : int
        How many scenes.
    seed : int
        Other scenes of the same part.
    digits : iterable of int
        The classes that occur, as often as each other, give or take one.
    clutter : bool
        Whether a photograph is behind the digits; otherwise all is black.
    centred : bool
        Whether a digit stands in the middle; for "transfer" alone.
    dtype : numpy dtype
        float32 or float64, of the images.

    Returns
    -------
    Scenes

    Raises
    ------
    TypeError, ValueError
        If an argument is not what is described here.
    """
    how = KINDS[shapes.choice("kind", kind, tuple(KINDS))]
    shapes.choice("part", part, tuple(PARTS))
    count, seed = shapes.count("count", count), shapes.count("seed", seed, least=0)
    dtype = shapes.floating("dtype", dtype)
    classes = [shapes.count("a digit", k, least=0, most=9) for k in digits]
    if not classes:
        raise ValueError("digits is empty, expected at least one class from 0 to 9")
    if centred and how.most > 1:
        raise ValueError(f"centred is for one digit, and scenes of {kind!r} may have {how.most}")
    _, labels, cuts = _sources(part)
    pool = {k: np.flatnonzero(labels == k).tolist() for k in classes}
    rng = np.random.default_rng([SEED, *map(ord, kind + part), seed])
    held = rng.integers(how.least, how.most, size=count, endpoint=True)
    order = iter(rng.permutation(np.resize(classes, held.sum())).tolist())
    out = Scenes(
        np.zeros((count, 1, how.side, how.side), dtype),
        np.full((count, how.most), -1),
        np.zeros((count, how.most, 4), dtype),
        np.zeros((count, how.side, how.side), np.int64),
    )
    for n, digits_here in enumerate(held.tolist()):
        chosen = [next(order) for _ in range(digits_here)]
        which = [pool[k][int(len(pool[k]) * rng.random())] for k in chosen]
        if clutter:
            out.x[n, 0] = how.light * _piece(cuts, how.side, rng)
        out.labels[n, :digits_here] = chosen
        for m, (ink, y, x, box) in enumerate(_placed(how, part, which, centred, rng)):
            window = np.s_[y : y + len(ink), x : x + len(ink)]
            out.x[n, 0][window] += ink * (1 - out.x[n, 0][window])  # in front of what is there
            out.masks[n][window] |= ink > INK
            out.boxes[n, m] = box
    return out


def _piece(cuts, side, rng):
    """Return a piece of a photograph."""
    photo, down, right = rng.random(3).tolist()
    cut = cuts[int(len(cuts) * photo)]
    y, x = int((cut.shape[0] - side + 1) * down), int((cut.shape[1] - side + 1) * right)
    return cut[y : y + side, x : x + side]


@cache
def _enlarged(part, which, size):
    """Return a digit in this size, each pixel the nearest of the old ones, and the box of its ink."""
    at = np.arange(size) * 8 // size
    ink = _sources(part)[0][which][np.ix_(at, at)]
    rows, columns = (np.flatnonzero((ink > INK).any(axis=axis)).tolist() for axis in (1, 0))
    return ink, (rows[0], columns[0], rows[-1] + 1, columns[-1] + 1)


def _placed(how, part, which, centred, rng):
    """Return digits in their sizes, their corners and boxes, drawn until the boxes are apart."""
    least, most = how.sizes
    while True:
        found = []
        for k, (large, down, right) in zip(
            which, rng.random((len(which), 3)).tolist(), strict=True
        ):
            size = least + int((most - least + 1) * large)
            room = how.side - size
            y, x = int((room + 1) * down), int((room + 1) * right)
            if centred:
                y = x = room // 2
            ink, (top, left, bottom, end) = _enlarged(part, k, size)
            found.append((ink, y, x, (y + top, x + left, y + bottom, x + end)))
        if how.cell is None or _apart([box for *_, box in found], how.cell):
            return found


def _apart(boxes, cell):
    """Say whether no two boxes share more than six pixels, or the cell that their centre is in."""
    for a, (y, x, down, right) in enumerate(boxes):
        for top, left, bottom, end in boxes[:a]:
            rows, columns = min(down, bottom) - max(y, top), min(right, end) - max(x, left)
            if max(0, rows) * max(0, columns) > SHARED:
                return False
            mine, other = (y + down, x + right), (top + bottom, left + end)  # twice the centres
            if all(a // (2 * cell) == b // (2 * cell) for a, b in zip(mine, other, strict=True)):
                return False
    return True
