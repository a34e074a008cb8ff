"""Style transfer: one picture with the texture of another, by features that nobody trained.

Page: ``book/gan.md``. Filters are drawn at random, with mean zero; what they answer to at several
sizes, and which of them answer together, is taken for the style of a picture. L-BFGS changes the
pixels. Pictures are arrays (height, width, 3) of numbers from 0 to 1; inside, the colours stand
first.

The losses are those of the chapter; Gram matrices and the way back through the filters go by
products of matrices, and tests hold the whole gradient to differences of the cost.
"""

from typing import NamedTuple

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import ArrayLike

from dlbook.gan import content_loss, style_loss, total_variation, total_variation_gradient
from dlbook.tools import shapes

__all__ = ["Styled", "Transfer", "random_filters", "reduced", "style_distances"]

BINOMIAL = np.array([1.0, 3, 3, 1]) / 8
LUMINANCE = np.array([0.3, 0.59, 0.11])
SOBEL = np.array([[[1.0, 0, -1], [2, 0, -2], [1, 0, -1]], [[1, 2, 1], [0, 0, 0], [-1, -2, -1]]])


def random_filters(rng: np.random.Generator, count: int = 32, size: int = 5) -> np.ndarray:
    """Return filters with normal entries, moved to mean zero and scaled to length four.

    Parameters
    ----------
    rng : Generator
        Where they come from.
    count, size : int
        How many, and how many pixels a side; an odd number.

    Returns
    -------
    array of shape (count, 3, size, size)

    Raises
    ------
    TypeError, ValueError
        For an even size, or none.
    """
    count, size = shapes.count("count", count), shapes.count("size", size)
    if size % 2 == 0:
        raise ValueError(f"size is {size}, expected an odd number")
    w = shapes.generator("rng", rng).normal(size=(count, 3, size, size))
    w -= w.mean(axis=(1, 2, 3), keepdims=True)
    return 4 * w / np.sqrt((w**2).sum(axis=(1, 2, 3), keepdims=True))


def reduced(photo: ArrayLike, height: int = 128, width: int = 192) -> np.ndarray:
    """Return the middle of a photograph in fewer pixels, from 0 to 1.

    The largest multiple of `height` by `width` that fits is cut out of the middle, and squares of
    pixels are averaged.

    Parameters
    ----------
    photo : array_like of shape (rows, columns, 3)
        Bytes, from 0 to 255.
    height, width : int
        What is wanted.

    Raises
    ------
    TypeError, ValueError
        For another shape, or a photograph that is too small.
    """
    photo = shapes.Axes().floats("photo", photo, None)
    if photo.ndim != 3 or photo.shape[2] != 3:
        raise ValueError(f"photo has shape {photo.shape}, expected (rows, columns, 3)")
    height, width = shapes.count("height", height), shapes.count("width", width)
    by = min(photo.shape[0] // height, photo.shape[1] // width)
    if by < 1:
        raise ValueError(f"photo has {photo.shape[:2]} pixels, expected {height} by {width}")
    top, left = (photo.shape[0] - by * height) // 2, (photo.shape[1] - by * width) // 2
    cut = photo[top : top + by * height, left : left + by * width] / 255
    return cut.reshape(height, by, width, by, 3).mean(axis=(1, 3))


# Linear maps of pictures (colours, rows, columns), and their adjoints


def _padded(x, k):
    return np.pad(x, ((0, 0), (k, k), (k, k)), mode="reflect")


def _folded(d, k):
    """Return the adjoint of `_padded`."""
    if k == 0:
        return d
    for axis in (1, 2):
        d = np.moveaxis(d, axis, 0)
        inner = d[k:-k].copy()
        inner[1 : k + 1] += d[:k][::-1]
        inner[-k - 1 : -1] += d[-k:][::-1]
        d = np.moveaxis(inner, 0, axis)
    return d


def _halved(x):
    """Blur by the binomial filter and keep every second pixel."""
    x, (_, rows, columns) = _padded(x, 1), x.shape
    x = sum(b * x[:, k : k + rows - 1 : 2] for k, b in enumerate(BINOMIAL.astype(x.dtype)))
    return sum(b * x[:, :, k : k + columns - 1 : 2] for k, b in enumerate(BINOMIAL.astype(x.dtype)))


def _doubled(d):
    """Return the adjoint of `_halved`."""
    weights, (colours, rows, columns) = BINOMIAL.astype(d.dtype), d.shape
    wide = np.zeros((colours, rows, 2 * columns + 2), d.dtype)
    for k, b in enumerate(weights):
        wide[:, :, k : k + 2 * columns - 1 : 2] += b * d
    whole = np.zeros((colours, 2 * rows + 2, 2 * columns + 2), d.dtype)
    for k, b in enumerate(weights):
        whole[:, k : k + 2 * rows - 1 : 2] += b * wide
    return _folded(whole, 1)


def _columns(x, size):
    """Return the window around every pixel, (colour · row · column of a window, pixel)."""
    windows = sliding_window_view(_padded(x, size // 2), (size, size), axis=(1, 2))
    return windows.transpose(0, 3, 4, 1, 2).reshape(len(x) * size**2, -1)


def _gathered(d, shape, size):
    """Return the adjoint of `_columns`."""
    (colours, rows, columns), k = shape, size // 2
    d = d.reshape(colours, size, size, rows, columns)
    whole = np.zeros((colours, rows + 2 * k, columns + 2 * k), d.dtype)
    for i in range(size):
        for j in range(size):
            whole[:, i : i + rows, j : j + columns] += d[:, i, j]
    return _folded(whole, k)


def _edges(x):
    """Return differences of brightness across and down, in the picture of half the size."""
    grey = np.tensordot(LUMINANCE.astype(x.dtype), _halved(x), axes=1)
    return SOBEL.reshape(2, 9).astype(x.dtype) @ _columns(grey[None], 3)


def _edges_back(d, shape):
    """Return the adjoint of `_edges`."""
    half = (1, shape[1] // 2, shape[2] // 2)
    grey = _gathered(SOBEL.reshape(2, 9).T.astype(d.dtype) @ d, half, 3)
    return _doubled(LUMINANCE.astype(d.dtype)[:, None, None] * grey)


# Features


def _features(x, filters):
    """Return colours, what the filters answer above zero, and a row of ones: (i, t)."""
    size = filters.shape[-1]
    answers = filters.reshape(len(filters), -1) @ _columns(x, size)
    flat = x.reshape(len(x), -1)
    return np.vstack([flat, np.maximum(answers, 0), np.ones_like(flat[:1])])


def _features_back(dF, F, shape, filters):
    """Return the gradient by the picture."""
    size, colours = filters.shape[-1], shape[0]
    d = dF[colours:-1] * (F[colours:-1] > 0)
    dx = _gathered(filters.reshape(len(filters), -1).T @ d, shape, size)
    return dx + dF[:colours].reshape(shape)


def _gram(F):
    return F @ F.T / F.shape[1]


def _levels(x, levels):
    """Yield a picture, and the ones of half and quarter the size and so on."""
    for level in range(levels):
        x = _halved(x) if level else x
        yield x


def style_distances(x: ArrayLike, y: ArrayLike, filters: np.ndarray, levels: int = 4) -> np.ndarray:
    """Return how far two pictures are apart in style, at every level, by what filters answer.

    The three colours and the constant, maps that every set of filters comes with, are left out, so
    that fresh filters share no map with those that a picture was made by.

    Parameters
    ----------
    x, y : array_like of shape (height, width, 3)
        Pictures; `y` is the one whose Gram matrices are the unit.
    filters : array of shape (filters, 3, size, size)
        As of `random_filters`.
    levels : int
        How many sizes are looked at, each half the one before.

    Returns
    -------
    array of shape (levels,)
        The length of the difference of the two Gram matrices, over that of the second.
    """
    pairs = zip(
        *(_levels(_inside(name, a), levels) for name, a in (("x", x), ("y", y))), strict=True
    )
    found = [
        [np.ascontiguousarray(_gram(_features(a, filters))[3:-1, 3:-1]) for a in pair]
        for pair in pairs
    ]
    return np.sqrt([style_loss(G, T) for G, T in found])


def _inside(name, picture, dtype=np.float64):
    """Return a picture with its colours first."""
    picture = shapes.Axes().floats(name, picture, "r s c").astype(dtype)
    if picture.shape[2] != 3:
        raise ValueError(f"{name} has shape {picture.shape}, expected (height, width, 3)")
    return np.ascontiguousarray(np.moveaxis(picture, 2, 0))


class Styled(NamedTuple):
    """What `Transfer.run` has found."""

    picture: np.ndarray  # (height, width, 3), from 0 to 1
    style: np.ndarray  # the style loss at each step
    content: np.ndarray  # the content loss at each step, relative to the edges of the picture


class Transfer:
    """A picture that keeps its edges and takes the style of another one.

    The cost is the mean of the style losses of all levels, plus `edges` times the content loss on
    differences of brightness (over the squared length of those of `content`), plus `smooth` times
    the total variation per pixel and colour, plus ten times the mean square of what lies outside of 0 and 1.

    Parameters
    ----------
    content, style : array_like of shape (height, width, 3)
        The two pictures, from 0 to 1. They may differ in size; sides have to be multiples of
        2**(levels − 1).
    filters : array of shape (filters, 3, size, size)
        As of `random_filters`.
    levels : int
        How many sizes are looked at, each half the one before.
    edges, smooth : float
        What edges and smoothness count.

    Raises
    ------
    TypeError, ValueError
        For pictures of another shape, or that cannot be halved so often.
    """

    def __init__(self, content, style, filters, levels=4, edges=0.05, smooth=0.5, dtype="float32"):
        self.levels, self.dtype = shapes.count("levels", levels), np.dtype(dtype)
        self.weights = [
            shapes.number(n, w, least=0) for n, w in (("edges", edges), ("smooth", smooth))
        ]
        self.start, wanted = (
            _inside(n, a, self.dtype) for n, a in (("content", content), ("style", style))
        )
        for name, x in (("content", self.start), ("style", wanted)):
            if any(side % 2 ** max(1, self.levels - 1) for side in x.shape[1:]):
                raise ValueError(
                    f"{name} has sides {x.shape[1:]}, not halved {self.levels - 1} times"
                )
        self.filters = np.asarray(filters, self.dtype)
        self.wanted = [_gram(_features(x, self.filters)) for x in _levels(wanted, self.levels)]
        self.outline = _edges(self.start)

    def cost(self, x):
        """Return cost, its gradient, style loss and content loss of a picture with colours first."""
        style, dx, pictures = 0.0, 0.0, list(_levels(x, self.levels))
        for k in range(self.levels)[::-1]:
            F, T = _features(pictures[k], self.filters), self.wanted[k]
            G = _gram(F)
            style += style_loss(G, T) / self.levels
            dF = 4 / (F.shape[1] * np.sum(T**2) * self.levels) * (G - T) @ F
            dx = _features_back(dF, F, pictures[k].shape, self.filters) + dx
            dx = _doubled(dx) if k else dx
        lines, size = _edges(x), np.sum(self.outline**2)
        content = 2 * content_loss(lines, self.outline) / size
        dx += 2 * self.weights[0] / size * _edges_back(lines - self.outline, x.shape)
        rough = self.weights[1] / x.size
        last = np.ascontiguousarray(np.moveaxis(x, 0, 2))
        dx += rough * np.moveaxis(total_variation_gradient(last), 2, 0)
        outside = x - np.clip(x, 0, 1)
        dx += 20 / x.size * outside
        total = style + self.weights[0] * content + rough * total_variation(last)
        total += 10 * np.sum(outside**2) / x.size
        return total, dx, style, content

    def run(self, steps: int = 60) -> Styled:
        """Start from the first picture and take steps of L-BFGS."""
        steps, shape = shapes.count("steps", steps), self.start.shape
        last, kept = None, [self.cost(self.start)[2:]]

        def cost(flat):
            nonlocal last
            total, dx, *last = self.cost(flat.reshape(shape).astype(self.dtype))
            return float(total), dx.ravel().astype(np.float64)

        from scipy.optimize import minimize  # only here: it takes long to import

        found = minimize(
            cost,
            self.start.ravel().astype(np.float64),
            jac=True,
            method="L-BFGS-B",
            callback=lambda _: kept.append(last),
            options={"maxiter": steps, "maxcor": 20, "ftol": 0, "gtol": 0},
        )
        picture = np.clip(np.moveaxis(found.x.reshape(shape), 0, 2), 0, 1)
        return Styled(picture, *np.array(kept).T)
