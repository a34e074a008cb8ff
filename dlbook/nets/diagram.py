"""Block diagrams, drawn from the same layers that are trained: data go from above down."""

from typing import Any, NamedTuple

from matplotlib.textpath import TextPath

from dlbook.nets.containers import Parallel, Residual, Sequential, in_parts
from dlbook.nets.layer import Layer
from dlbook.nets.layers import Activation, Dropout
from dlbook.nets.norms import BatchNorm, LayerNorm
from dlbook.nets.table import table, words
from dlbook.tools import drawing, shapes
from dlbook.tools.plotting import INK

__all__ = ["diagram", "told"]

LINE, EDGE, GAP, BETWEEN, STUB = 0.17, 0.1, 0.22, 0.14, 0.16  # inches
WIDE, NARROW, RADIUS, SIZE = 1.38, 0.7, 0.14, 8.5
UNIT = 65  # points: what margins of a small figure leave of an inch
AFTER = BatchNorm, LayerNorm, Activation, Dropout  # written into the box of what they follow


class _Box(NamedTuple):
    """A layer, and what is written into its box."""

    lines: tuple
    left: float
    right: float
    height: float

    def draw(self, ax, x, top):
        """Draw it below a place; return the place below it."""
        drawing.box(ax, x, top - self.height / 2, "", self.left + self.right, self.height)
        for i, line in enumerate(self.lines):
            y = top - EDGE / 2 - LINE * (i + 0.5)
            ax.text(x, y, line, ha="center", va="center", fontsize=SIZE)
        return top - self.height


class _Column(NamedTuple):
    """Parts one below the other, with arrows."""

    parts: list
    left: float  # how far it reaches from the line along which data go
    right: float
    height: float

    def draw(self, ax, x, top):
        for i, part in enumerate(self.parts):
            if i:
                _down(ax, (x, top), (x, top - GAP), part)
                top -= GAP
            top = part.draw(ax, x, top)
        return top


class _Sum(NamedTuple):
    """Parts whose outcome is added to what goes in, or to what the way around makes of it."""

    body: _Column
    around: _Column | None
    left: float
    right: float
    height: float

    def draw(self, ax, x, top):
        plus = top - self.height + RADIUS
        _way(ax, (x, top), (x, top - STUB))
        _down(ax, (x, top - STUB), (x, top - STUB - GAP), self.body.parts[0])
        low = self.body.draw(ax, x, top - STUB - GAP)
        drawing.arrow(ax, (x, low), (x, plus + RADIUS))
        drawing.circle(ax, x, plus, "+", RADIUS)
        side = x + self.body.right + BETWEEN
        at = top - STUB
        if self.around is not None:
            side += self.around.left
            start = (at - GAP + plus + self.around.height) / 2
            _way(ax, (x, at), (side, at))
            _down(ax, (side, at), (side, start), self.around.parts[0])
            at = self.around.draw(ax, side, start)
            _way(ax, (side, at), (side, plus))
        else:
            _way(ax, (x, at), (side, at), (side, plus))
        drawing.arrow(ax, (side, plus), (x + RADIUS, plus))
        return top - self.height


class _Beside(NamedTuple):
    """Columns that read the same input, and the box where they meet."""

    columns: list
    join: str
    left: float
    right: float
    height: float

    def draw(self, ax, x, top):
        box = top - self.height + LINE + EDGE
        left, at = x - self.left, top - STUB
        _way(ax, (x, top), (x, at))
        middles = []
        for column in self.columns:
            middles.append(left + column.left)
            left += column.left + column.right + BETWEEN
        _way(ax, (middles[0], at), (middles[-1], at))
        for column, middle in zip(self.columns, middles, strict=True):
            _down(ax, (middle, at), (middle, at - GAP), column.parts[0])
            low = column.draw(ax, middle, at - GAP)
            drawing.arrow(ax, (middle, low), (middle, box))
        return _Box((self.join,), self.left, self.right, LINE + EDGE).draw(ax, x, box)


def diagram(*layers: Layer, titles=None, example: int | tuple | None = None) -> tuple[Any, Any]:
    """Draw layers as a block diagram; several stand side by side.

    What follows a layer number by number, such as an activation, is written into its box.

    Parameters
    ----------
    *layers : Layer
        What is drawn.
    titles : sequence of str, optional
        A line above each of them.
    example : int or tuple of int, optional
        Shape of an example, (channels, height, width); then shapes are written at both ends.

    Returns
    -------
    figure, axes

    Raises
    ------
    TypeError, ValueError
        If one of them is not what is described here, or the layers do not fit each other.
    """
    if not layers:
        raise ValueError("diagram has no layers to draw")
    for i, layer in enumerate(layers):
        if not isinstance(layer, Layer):
            raise TypeError(f"layers[{i}] is {shapes.shown(layer)}, expected a layer")
    if titles is not None and len(titles) != len(layers):
        raise ValueError(f"titles has {len(titles)} lines, expected {len(layers)}")
    given = None if example is None else [_ends(layer, example) for layer in layers]
    pieces = [_column(layer) for layer in layers]
    space, above = 0.5, 0.3 if titles is not None else 0.08
    ends = 0.42 if given else GAP
    sides = [(max(piece.left, 0.6), max(piece.right, 0.6)) for piece in pieces]
    width = sum(map(sum, sides)) + space * (len(pieces) - 1) + 0.2
    height = max(piece.height for piece in pieces) + above + 2 * ends + 0.08
    fig, ax = drawing.canvas(max(width, 2.4), height)
    left = 0.1 + (max(width, 2.4) - width) / 2
    for i, piece in enumerate(pieces):
        x, top = left + sides[i][0], height - above
        if titles is not None:
            ax.text(x, height - 0.13, titles[i], ha="center", va="center", fontsize=9.5)
        low = piece.draw(ax, x, _end(ax, x, top, ends, given and given[i][0], piece.parts[0]))
        _end(ax, x, low, ends, given and given[i][1], None)
        left += sum(sides[i]) + space
    return fig, ax


def told(layer: Layer) -> str:
    """Return in words what `diagram` draws, for those who do not see it.

    Parameters
    ----------
    layer : Layer
        Any layer.
    """
    if isinstance(layer, Sequential):
        last = [] if in_parts(layer) else [words(layer)]
        return ", then ".join([*map(told, layer.layers), *last])
    if isinstance(layer, Residual):
        body, *around = map(told, layer.layers)
        return f"[{body}] added to " + (f"[{around[0]}] of " if around else "") + "what came in"
    if isinstance(layer, Parallel):
        return "side by side " + "; ".join(f"[{told(part)}]" for part in layer.layers)
    return words(layer)


def _ends(layer, example):
    """Return the shapes before and after a layer, in words."""
    row = table(layer, example).rows[-1]
    sides = example if isinstance(example, (tuple, list)) else (example,)
    return ["×".join(map(str, shape)) for shape in (sides, row.shape)]


def _end(ax, x, y, length, text, part):
    """Draw the arrow at an end, with the shape there; return where it ends.

    At the beginning `part` is what it leads to, at the end it is None.
    """
    room = LINE if text else 0
    if text:
        at = y - LINE / 2 if part else y - length + LINE / 2
        ax.text(x, at, text, ha="center", va="center", fontsize=SIZE)
    start, stop = (y - room, y - length) if part else (y, y - length + room)
    _down(ax, (x, start), (x, stop), part)
    return y - length


def _down(ax, start, stop, part):
    """Draw an arrow down to a part; where the part begins with a fork, a line that goes on there."""
    if isinstance(part, (_Sum, _Beside)):
        _way(ax, start, stop)
    else:
        drawing.arrow(ax, start, stop)


def _way(ax, *places):
    """Draw a line without a head."""
    ax.plot(*zip(*places, strict=True), "-", color=INK, linewidth=1.2, solid_joinstyle="round")


def _flat(layer):
    """Return the layers of a chain, those of chains in it too; words for what it does beside them."""
    if isinstance(layer, Sequential):
        last = [] if in_parts(layer) else [words(layer)]  # it adds to what its parts do
        return [inner for part in layer.layers for inner in _flat(part)] + last
    return [layer]


def _column(layer):
    """Return a chain as a column of boxes and blocks."""
    parts, open_ = [], False
    for inner in _flat(layer):
        if isinstance(inner, AFTER) and open_:
            parts[-1].append(words(inner))
        elif isinstance(inner, (Residual, Parallel)):
            parts.append(_block(inner))
        else:
            parts.append([inner if isinstance(inner, str) else words(inner)])
        open_ = isinstance(parts[-1], list)
    parts = [_box(part) if isinstance(part, list) else part for part in parts]
    height = sum(part.height for part in parts) + GAP * (len(parts) - 1)
    left, right = (max(getattr(part, side) for part in parts) for side in ("left", "right"))
    return _Column(parts, left, right, height)


def _box(texts):
    """Return the box of a layer and of what follows it number by number."""
    lines = texts[:1] + ([", ".join(texts[1:])] if len(texts) > 1 else [])
    short = len(texts) == 1 and len(texts[0]) < 8
    written = max(TextPath((0, 0), line, size=SIZE).get_extents().width / UNIT for line in lines)
    half = max(NARROW if short else WIDE, written + EDGE) / 2
    return _Box(tuple(lines), half, half, LINE * len(lines) + EDGE)


def _block(layer):
    """Return a residual block or branches."""
    if isinstance(layer, Residual):
        body, *rest = map(_column, layer.layers)
        around = rest[0] if rest else None
        right = body.right + BETWEEN + (around.left + around.right if around else 0)
        height = STUB + GAP + body.height + GAP + 2 * RADIUS
        return _Sum(body, around, body.left, right, height)
    columns = [*map(_column, layer.layers)]
    width = sum(part.left + part.right for part in columns) + BETWEEN * (len(columns) - 1)
    height = STUB + 2 * GAP + max(column.height for column in columns) + LINE + EDGE
    join = words(layer) if layer.join == "tuple" else "concatenate"
    return _Beside(columns, join, width / 2, width / 2, height)
