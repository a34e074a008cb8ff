"""One picture in the style of another, by random filters on a pyramid.

Page: ``book/gan.md``. No network is trained for it, after Ustyuzhaninov et al., ICLR (2017); the
losses are those of Gatys, Ecker and Bethge, CVPR (2016). The pyramid halves a picture with the
binomial weights 1 3 3 1.
"""

from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import ArrayLike
from scipy import optimize

from dlbook.gan import total_variation, total_variation_gradient
from dlbook.tools import shapes

__all__ = ["Transferred", "random_filters", "shrunk", "style_gaps", "style_maps", "transfer"]

LEVELS = 4
LENGTH = 4.0  # of a filter, as a vector: of the size of the colours' part in the Gram matrix
SOBEL = np.array([1.0, 2.0, 1.0]), np.array([1.0, 0.0, -1.0])
GREY = np.array([0.3, 0.59, 0.11], np.float32)  # luminance of red, green and blue


class Transferred(NamedTuple):
    """A picture that was optimised."""

    picture: np.ndarray  # (height, width, 3), float32 from 0 to 1
    style: np.ndarray  # (iterations + 1,) mean style loss of all levels
    content: np.ndarray  # (iterations + 1,) squared difference of edges, over that to no edges
    evaluations: int


def shrunk(photograph: ArrayLike, height: int = 128, width: int = 192) -> np.ndarray:
    """Return the middle of a photograph, means of blocks of pixels, as float32 from 0 to 1.

    Parameters
    ----------
    photograph : array_like of uint8, shape (rows, columns, 3)
        At least of the wanted size.
    height, width : int
        Wanted size.
    """
    photograph = np.asarray(photograph)
    if photograph.ndim != 3 or photograph.shape[2] != 3 or photograph.dtype != np.uint8:
        raise ValueError("photograph is not (rows, columns, 3) of uint8")
    shapes.count("height", height)
    shapes.count("width", width)
    rows, columns, _ = photograph.shape
    block = min(rows // height, columns // width)
    if not block:
        raise ValueError(f"photograph has {rows} × {columns} pixels, fewer than {height} × {width}")
    top, left = (rows - block * height) // 2, (columns - block * width) // 2
    middle = photograph[top : top + block * height, left : left + block * width]
    blocks = middle.reshape(height, block, width, block, 3)
    return (blocks.mean(axis=(1, 3)) / 255).astype(np.float32)


def random_filters(
    rng: np.random.Generator, count: int = 32, side: int = 5, dtype: str = "float32"
) -> np.ndarray:
    """Return random colour filters (count, side, side, 3) of mean zero and one length."""
    shapes.generator("rng", rng)
    w = rng.standard_normal((shapes.count("count", count), 3 * shapes.count("side", side) ** 2))
    w -= w.mean(axis=1, keepdims=True)
    w *= LENGTH / np.linalg.norm(w, axis=1, keepdims=True)
    return w.reshape(count, side, side, 3).astype(dtype)


@cache
def _halving(n, dtype):
    """Return the matrix (n // 2, n) that halves an axis, reflecting at its ends."""
    matrix = np.zeros((n // 2, n), dtype)
    for i in range(n // 2):
        for offset, weight in zip(range(-1, 3), (1, 3, 3, 1), strict=True):
            at = abs(2 * i + offset)
            matrix[i, min(at, 2 * n - 2 - at)] += weight / 8
    return matrix


def _half(y):
    """Halve a picture."""
    (h, w, _), name = y.shape, y.dtype.name
    return np.einsum("ih,hjc->ijc", _halving(h, name), np.tensordot(
        y, _halving(w, name), axes=(1, 1)).transpose(0, 2, 1), optimize=True)


def _half_back(dy, h, w):
    """Carry a gradient back to the picture that was halved."""
    name = dy.dtype.name
    wide = np.tensordot(dy, _halving(w, name), axes=(1, 0)).transpose(0, 2, 1)
    return np.einsum("ih,ijc->hjc", _halving(h, name), wide, optimize=True)


def _features(y, w):
    """Return patches (places, side² 3) of a picture, and its maps (maps, places)."""
    side = w.shape[1]
    windows = sliding_window_view(y, (side, side), axis=(0, 1)).transpose(0, 1, 3, 4, 2)
    patches = windows.reshape(-1, side * side * 3)
    middle = patches.reshape(-1, side * side, 3)[:, side * side // 2]
    maps = np.empty((len(w) + 4, len(patches)), y.dtype)
    maps[0], maps[1:4] = 1, middle.T
    np.maximum(w.reshape(len(w), -1) @ patches.T, 0, out=maps[4:])
    return maps


def _features_back(dF, F, shape, w):
    """Carry a gradient by the maps back to the picture."""
    side, (h, width, _) = w.shape[1], shape
    dz = dF[4:] * (F[4:] > 0)
    dpatch = (dz.T @ w.reshape(len(w), -1)).reshape(-1, side * side, 3)
    dpatch[:, side * side // 2] += dF[1:4].T
    rows, columns = h - side + 1, width - side + 1
    dpatch, dy = dpatch.reshape(rows, columns, side, side, 3), np.zeros(shape, dF.dtype)
    for i in range(side):
        for j in range(side):
            dy[i : i + rows, j : j + columns] += dpatch[:, :, i, j]
    return dy


def _pyramid(y):
    """Return a picture and its halves."""
    found = [y]
    while len(found) < LEVELS:
        found.append(np.ascontiguousarray(_half(found[-1])))
    return found


def _picture(name, y):
    """Return a checked picture."""
    y = shapes.Axes().floats(name, y, "h w c")
    h, w, c = y.shape
    if c != 3 or h % 2 ** (LEVELS - 1) or w % 2 ** (LEVELS - 1):
        raise ValueError(f"{name} has shape {y.shape}, expected multiples of 8 and three colours")
    return y


def style_maps(y: ArrayLike, filters: np.ndarray) -> list[np.ndarray]:
    """Return the maps (maps, places) of a picture at each of four levels.

    A constant, the three colours, and what each filter gives, where it is above zero. The filters
    stay inside the picture.
    """
    return [_features(level, filters) for level in _pyramid(_picture("y", y))]


def _gram(F):
    """Return the Gram matrix, as `gan.gram` does, by a product of matrices."""
    return F @ F.T / F.shape[1]


def style_gaps(y: ArrayLike, target: ArrayLike, filters: np.ndarray) -> np.ndarray:
    """Return the style loss of a picture against another one at each of four levels."""
    both = zip(style_maps(y, filters), style_maps(target, filters), strict=True)
    grams = [(_gram(F), _gram(T)) for F, T in both]
    return np.array([float(np.sum((G - T) ** 2) / np.sum(T**2)) for G, T in grams])


def _edges(y):
    """Return the horizontal and vertical edges of the half-sized picture in grey."""
    grey = _half(y) @ GREY.astype(y.dtype)
    smooth, slope = (f.astype(y.dtype) for f in SOBEL)
    found = []
    for down, across in ((smooth, slope), (slope, smooth)):
        rows = sum(f * grey[i : len(grey) - 2 + i] for i, f in enumerate(down))
        found.append(sum(f * rows[:, j : rows.shape[1] - 2 + j] for j, f in enumerate(across)))
    return np.stack(found)


def _edges_back(d, shape):
    """Carry a gradient by the edges back to the picture."""
    (h, w, _), dtype = shape, d.dtype
    grey, (smooth, slope) = np.zeros((h // 2, w // 2), dtype), (f.astype(dtype) for f in SOBEL)
    for one, (down, across) in zip(d, ((smooth, slope), (slope, smooth)), strict=True):
        rows = np.zeros((h // 2 - 2, w // 2), dtype)
        for j, f in enumerate(across):
            rows[:, j : w // 2 - 2 + j] += f * one
        for i, f in enumerate(down):
            grey[i : h // 2 - 2 + i] += f * rows
    return _half_back(grey[:, :, None] * GREY.astype(dtype), h, w)


class _Objective:
    """What is made small, and its gradient."""

    def __init__(self, content, target, filters, edges, smooth):
        self.filters, self.weights = filters, (edges, smooth)
        self.wanted = [_gram(F) for F in style_maps(target, filters)]
        self.edges = _edges(content)
        self.scale = np.sum(self.edges**2)
        self.last = None

    def __call__(self, y):
        """Return the loss and its gradient."""
        levels, gap, carried = _pyramid(y), 0.0, None
        for level, T in zip(levels[::-1], self.wanted[::-1], strict=True):
            F = _features(level, self.filters)
            difference, square = _gram(F) - T, np.sum(T**2)
            gap += float(np.sum(difference**2) / square) / LEVELS
            factor = 4 / (LEVELS * F.shape[1] * square)
            dy = _features_back(factor * (difference @ F), F, level.shape, self.filters)
            if carried is not None:
                dy += _half_back(carried, *level.shape[:2])
            carried = dy
        off = _edges(y) - self.edges
        away = float(np.sum(off**2) / self.scale)
        self.last = gap, away
        edges, smooth = self.weights
        carried += edges * _edges_back(2 / self.scale * off, y.shape)
        carried += smooth / y.size * total_variation_gradient(y)
        loss = gap + edges * away + smooth / y.size * total_variation(y)
        outside = np.minimum(y, 0) + np.maximum(y - 1, 0)
        carried += 2 / y.size * outside
        return loss + np.sum(outside**2) / y.size, carried


def transfer(
    content: ArrayLike,
    style: ArrayLike,
    filters: np.ndarray,
    *,
    edges: float = 0.03,
    smooth: float = 2.0,
    steps: int = 60,
) -> Transferred:
    """Give a picture the style of another one, starting from the picture, by L-BFGS.

    A pixel outside of 0 … 1 costs the mean of the squares by which it is; at the end it is moved to
    the border.

    Parameters
    ----------
    content, style : array_like, shape (h, w, 3)
        Pictures from 0 to 1, height and width multiples of 8; float32 stays float32.
    filters : ndarray
        As `random_filters` draws them.
    edges : float
        Weight of the difference of edges from those of the content.
    smooth : float
        Weight of the mean total variation.
    steps : int
        Iterations, at most.

    Returns
    -------
    Transferred
    """
    content, style = _picture("content", content), _picture("style", style)
    shapes.number("edges", edges, least=0)
    shapes.number("smooth", smooth, least=0)
    shapes.count("steps", steps)
    of = _Objective(content, style.astype(content.dtype), filters, edges, smooth)
    of(content)
    path, calls = [of.last], 0

    def cost(flat):
        nonlocal calls
        calls += 1
        y = np.ascontiguousarray(flat.reshape(content.shape).astype(content.dtype))
        loss, slope = of(y)
        return float(loss), slope.reshape(-1).astype(np.float64)

    def kept(flat):
        path.append(of.last)

    found = optimize.minimize(
        cost,
        content.reshape(-1).astype(np.float64),
        jac=True,
        method="L-BFGS-B",
        callback=kept,
        options={"maxiter": steps, "maxcor": 20, "ftol": 0, "gtol": 0},
    )
    picture = np.clip(found.x, 0, 1).reshape(content.shape).astype(content.dtype)
    return Transferred(picture, *np.array(path).T, calls)
