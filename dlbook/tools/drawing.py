"""Drawings as engineers make them on a whiteboard: circles, boxes, arrows, arrays of cells.

`canvas` opens an empty figure whose unit is the inch; `circle`, `box` and `cells` put shapes on it
and return them; `arrow` joins two of them from edge to edge. `plotting.show` then puts the figure
on the page, in light and dark. Colours are numbers of the four series, for marks and never for
text.
"""

from typing import Any

import numpy as np
from matplotlib.patches import Circle, FancyBboxPatch, Rectangle

from dlbook.tools import plotting, shapes
from dlbook.tools.plotting import INK, SERIES

__all__ = ["arrow", "box", "canvas", "cells", "circle"]

TINT = 0.18  # how much of a series' colour fills a shape


def canvas(width: float = 6.2, height: float = 2.0) -> tuple[Any, Any]:
    """Open an empty figure to draw on.

    Parameters
    ----------
    width, height : float
        Size in inches, at most 100, which are the units of the drawing: x runs from 0 to
        `width`, y from 0 to `height`.

    Returns
    -------
    figure, axes

    Raises
    ------
    TypeError, ValueError
        If a size is not what is described here.
    """
    fig, ax = plotting.figure(width, height)
    ax.set(xlim=(0, width), ylim=(0, height), aspect="equal")
    ax.axis("off")
    return fig, ax


def circle(ax, x, y, text="", radius=0.22, color=None, size=9.5):
    """Draw a circle with a text in it: a neuron, a node of a graph.

    Parameters
    ----------
    ax : axes
        Where to draw.
    x, y : float
        The centre, in inches.
    text : str
        What stands in it.
    radius : float
        In inches.
    color : int, optional
        Number of a series, 0 to 3, that tints it; else it is empty.
    size : float
        Of the text, in points.

    Returns
    -------
    patch
        For :func:`arrow`.

    Raises
    ------
    TypeError, ValueError
        If `radius` or `color` is not what is described here.
    """
    radius = shapes.number("radius", radius, above=0)
    return _put(ax, Circle((x, y), radius, **_ink(color)), (x, y), text, size)


def box(ax, x, y, text="", width=1.0, height=0.44, color=None, dashed=False, size=9.5):
    """Draw a box with round corners and a text in it: a layer, a step of a computation.

    Parameters
    ----------
    ax : axes
        Where to draw.
    x, y : float
        The centre, in inches.
    text : str
        What stands in it.
    width, height : float
        In inches.
    color : int, optional
        Number of a series, 0 to 3, that tints it; else it is empty.
    dashed : bool
        Whether its border is dashed, as of a box that holds others.
    size : float
        Of the text, in points.

    Returns
    -------
    patch
        For :func:`arrow`.

    Raises
    ------
    TypeError, ValueError
        If `width`, `height` or `color` is not what is described here.
    """
    width = shapes.number("width", width, above=0)
    height = shapes.number("height", height, above=0)
    corner = min(0.08, width / 4, height / 4)
    shape = FancyBboxPatch(
        (x - width / 2 + corner, y - height / 2 + corner),
        width - 2 * corner,
        height - 2 * corner,
        boxstyle=f"round,pad={corner}",
        linestyle="--" if dashed else "-",
        **_ink(color),
    )
    return _put(ax, shape, (x, y), text, size)


def arrow(ax, start, end, text="", bend=0.0, color=None, dashed=False, side=1, size=8.5):
    """Draw an arrow from one shape or point to another, from edge to edge.

    Parameters
    ----------
    ax : axes
        Where to draw.
    start, end : patch or (x, y)
        What :func:`circle` and :func:`box` return, or a point in inches.
    text : str
        What stands beside its middle.
    bend : float
        How far it bows to its right, as a part of its length; 0 is straight.
    color : int, optional
        Number of a series, 0 to 3; else it is drawn in ink.
    dashed : bool
        Whether its line is dashed.
    side : int
        Where the text stands: 1 to the left of the way from `start` to `end`, -1 to the right,
        0 on the line.
    size : float
        Of the text, in points.

    Raises
    ------
    TypeError, ValueError
        If `bend`, `color` or `side` is not what is described here.
    """
    bend = shapes.number("bend", bend)
    if side not in (-1, 0, 1):
        raise ValueError(f"side is {side}, expected -1, 0 or 1")
    (a, from_), (b, to) = _place(start), _place(end)
    ax.annotate(
        "",
        b,
        a,
        arrowprops={
            "arrowstyle": "-|>,head_width=0.18,head_length=0.35",
            "color": _color(color),
            "linewidth": 1.2,
            "linestyle": "--" if dashed else "-",
            "shrinkA": 2 if from_ else 0,
            "shrinkB": 2 if to else 0,
            "patchA": from_,
            "patchB": to,
            "connectionstyle": f"arc3,rad={bend}",
        },
    )
    if text:
        ax.text(
            *_beside(a, b, (from_, to), bend, side), text, ha="center", va="center", fontsize=size
        )


def cells(ax, x, y, values, size=0.3, form="{:g}", color=None, marked=None, font=8.5):
    """Draw an array as a grid of square cells: an image, a mask, a block of a matrix.

    Parameters
    ----------
    ax : axes
        Where to draw.
    x, y : float
        The upper left corner, in inches.
    values : array_like, shape (rows, columns)
        Numbers or texts that stand in the cells; NaN and "" leave a cell empty.
    size : float
        Width and height of a cell, in inches.
    form : str
        How a number is written.
    color : int, optional
        Number of a series, 0 to 3, that tints the marked cells; else that of the first.
    marked : array_like, bool, shape (rows, columns), optional
        Which cells are tinted; none by default.
    font : float
        Size of the numbers, in points.

    Returns
    -------
    patch
        The frame, for :func:`arrow`.

    Raises
    ------
    TypeError, ValueError
        If `values` has not two axes, `marked` another shape, or `size` or `color` is not what
        is described here.
    """
    size = shapes.number("size", size, above=0)
    values = np.asarray(values)
    if values.ndim != 2 or not values.size:
        raise ValueError(f"values has shape {values.shape}, expected (rows, columns)")
    marked = np.zeros(values.shape, bool) if marked is None else np.asarray(marked, bool)
    if marked.shape != values.shape:
        raise ValueError(f"marked has shape {marked.shape}, expected {values.shape} like values")
    plain, tinted = _ink(None, 0.6), _ink(0 if color is None else color, 0.6)
    for (r, c), value in np.ndenumerate(values):
        corner = x + c * size, y - (r + 1) * size
        ax.add_patch(Rectangle(corner, size, size, **(tinted if marked[r, c] else plain)))
        middle = corner[0] + size / 2, corner[1] + size / 2
        ax.text(*middle, _written(value, form), ha="center", va="center", fontsize=font)
    rows, columns = values.shape
    frame = Rectangle((x, y - rows * size), columns * size, rows * size, fill=False, ec=INK, lw=1.2)
    return ax.add_patch(frame)


def _color(color):
    """Return the colour of a series, or ink."""
    if color is None:
        return INK
    return SERIES[shapes.count("color", color, least=0, most=len(SERIES) - 1)]


def _ink(color, width=1.2):
    """Return how a shape is drawn: its border, and its tint if it has one."""
    face = "none" if color is None else (*plotting.mpl.colors.to_rgb(_color(color)), TINT)
    return {"edgecolor": _color(color), "facecolor": face, "linewidth": width}


def _put(ax, shape, middle, text, size):
    """Add a shape and the text in its middle."""
    ax.add_patch(shape)
    if text:
        ax.text(*middle, text, ha="center", va="center", fontsize=size)
    return shape


def _place(end):
    """Return the middle of a shape and the shape, or a point and None."""
    if hasattr(end, "get_path"):
        bounds = end.get_path().get_extents(end.get_patch_transform())
        return ((bounds.x0 + bounds.x1) / 2, (bounds.y0 + bounds.y1) / 2), end
    x, y = end
    return (float(x), float(y)), None


def _beside(a, b, ends, bend, side):
    """Return the place of a text: beside the middle of what is seen of an arrow."""
    t = np.linspace(0, 1, 101)[:, None]
    right = np.array([b[1] - a[1], a[0] - b[0]])
    way = a + t * np.subtract(b, a) + 2 * t * (1 - t) * bend * right
    seen = [p for p in way if not any(_inside(shape, p) for shape in ends)] or [way[50]]
    return seen[len(seen) // 2] - right / max(np.hypot(*right), 1e-9) * 0.13 * side


def _inside(shape, point):
    """Return whether a point lies in a shape, if there is one."""
    return shape is not None and shape.get_path().contains_point(point, shape.get_patch_transform())


def _written(value, form):
    """Return what stands in a cell."""
    if isinstance(value, str):
        return str(value)
    return "" if value != value else form.format(value).replace("-", "−")
