"""A network as a table: what each layer gives, what it costs, how far it sees. Nothing is allocated.

Equations: `architectures` (parameters, multiply-adds, receptive field).
"""

from math import inf, prod
from typing import NamedTuple

from dlbook.nets.blocks import Tied
from dlbook.nets.containers import Container, Parallel, Residual, Sequential, in_parts
from dlbook.nets.conv import Conv2d, ConvTranspose2d
from dlbook.nets.images import AvgPool2d, GlobalPool, MaxPool2d, Shift, Upsample
from dlbook.nets.layer import Layer
from dlbook.nets.layers import Activation, Dense, Dropout, Embedding, Noise, Reshape
from dlbook.nets.network import Composition
from dlbook.nets.norms import BatchNorm, LayerNorm
from dlbook.nets.penalties import Sparse
from dlbook.nets.reuse import Frozen, Repeat
from dlbook.nets.tree import sizes
from dlbook.tools import shapes

__all__ = ["Row", "Table", "table", "words"]

WIDTH = 76  # columns of a printed table
HEAD = "layer", "what it is", "gives", "parameters", "multiply-adds", "sees"
FREE = BatchNorm, LayerNorm, Embedding  # their parameters are no weights of sums
SAME = BatchNorm, LayerNorm, Activation, Dense, Dropout, Noise, Sparse, Shift, Reshape  # no window


class Row(NamedTuple):
    """One layer of a table, or a block that is not looked into.

    Running statistics are no parameters. A multiply-add is a product of a weight and a number,
    added to a sum; biases, normalization, activations and pooling are not counted. None stands
    where there is no rule, or no image.
    """

    name: str  # its place, such as "2.0": names or numbers of the parts that lead there
    kind: str  # what it is, in words
    shape: tuple  # what it gives for one example, images with their channels first
    parameters: int
    multiply_adds: int | None
    sees: tuple | None  # receptive field on the input, down and across; infinite where it is all


class Table(NamedTuple):
    """The rows of a network, and what they come to; `print` shows them."""

    rows: list
    parameters: int
    multiply_adds: int | None
    depth: int  # layers with weights on the longest way through

    def __str__(self):
        lines = [HEAD, *map(_cells, self.rows)]
        total = f"{self.depth} deep", f"{self.parameters:,}", _number(self.multiply_adds)
        lines.append(("total", total[0], "", *total[1:], ""))
        most = [max(map(len, column)) for column in zip(*lines, strict=True)]
        gap = "  " if sum(most) + 2 * (len(most) - 1) <= WIDTH else " "
        over = max(0, sum(most) + len(gap) * (len(most) - 1) - WIDTH)
        most[1] = max(8, most[1] - over)
        return "\n".join(_line(line, most, gap) for line in lines)


class _At(NamedTuple):
    """What comes out of a layer: its shape, how far a number of it sees, from where to where."""

    shape: tuple
    field: tuple | None
    jump: tuple | None


def table(
    net: Layer | Composition, example: int | tuple | None = None, *, depth: int | None = None
) -> Table:
    """Return what each layer of a network gives, costs and sees.

    Parameters
    ----------
    net : Layer or Network
        A network, or layers alone: a `Sequential`, `Residual`, `Parallel` or any other.
    example : int or tuple of int, optional
        Shape of an example, as `Network` has it: (channels, height, width) of an image. Only for
        layers alone.
    depth : int, optional
        Blocks that stand deeper than so many containers have one row; by default all layers have.

    Raises
    ------
    TypeError, ValueError
        If one of them is not what is described here, or the layers do not fit each other.

    Examples
    --------
    >>> layers = Sequential(Conv2d(6, 5), Activation("relu"), MaxPool2d(2))
    >>> found = table(layers, (1, 32, 32))
    >>> found.parameters, found.rows[-1].shape, found.rows[-1].sees
    (156, (6, 14, 14), (6, 6))
    """
    if isinstance(net, Composition):
        if example is not None:
            raise ValueError(f"example is {example!r}, and the network has its own: {net.input}")
        net, example = net.net, net.input
    elif not isinstance(net, Layer):
        raise TypeError(f"net is {shapes.shown(net)}, expected a layer or a network")
    elif example is None:
        raise ValueError("example is missing: layers alone need a shape, such as (3, 224, 224)")
    sides = example if isinstance(example, (tuple, list)) else (example,)
    sides = tuple(shapes.count(f"example[{i}]", n) for i, n in enumerate(sides))
    most = inf if depth is None else shapes.count("depth", depth, least=0)
    image = len(sides) == 3
    at = _At((*sides[1:], sides[0]), (1, 1), (1, 1)) if image else _At(sides, None, None)
    net.shape(at.shape)  # says what does not fit, and where
    rows = []
    total = _visit(net, "", at, most, rows)[1]
    return Table(rows, *total)


def words(layer: Layer) -> str:
    """Return what a layer is in a few words: ``conv 3×3, 64 /2``, with the stride after the slash.

    Parameters
    ----------
    layer : Layer
        Any layer.
    """
    if isinstance(layer, (Conv2d, ConvTranspose2d)):
        name = "conv" if isinstance(layer, Conv2d) else "transposed"
        more = "" if layer.dilation == (1, 1) else f", dilation {_by(layer.dilation, '×')}"
        more += "" if layer.groups == 1 else f", {layer.groups} groups"
        size = _by(layer.size, "×", True)
        return f"{name} {size}, {layer.out}{_stride(layer.stride)}{more}"
    if isinstance(layer, (MaxPool2d, AvgPool2d)):
        name = "max" if isinstance(layer, MaxPool2d) else "mean"
        return f"{name} {_by(layer.size, '×', True)}{_stride(layer.stride)}"
    if isinstance(layer, GlobalPool):
        return "global " + {"average": "mean"}.get(layer.kind, layer.kind)
    if isinstance(layer, Activation):
        return {"relu": "ReLU", "leaky-relu": "leaky ReLU", "gelu": "GELU"}.get(
            layer.kind, layer.kind
        )
    if isinstance(layer, Dense):
        return f"dense {layer.out}"
    if isinstance(layer, Dropout):
        return f"dropout {layer.p:g}"
    if isinstance(layer, Reshape):
        return "flatten" if layer.to == (-1,) else "reshape"
    if isinstance(layer, Repeat):
        return f"{layer.times} times {words(layer.layer)}"
    if isinstance(layer, Frozen):
        return f"frozen {words(layer.layer)}"
    names = {
        BatchNorm: "batch norm",
        LayerNorm: "layer norm",
        Residual: "residual block",
        Parallel: "side by side",
        Tied: "scores, tied",
        Sequential: f"{len(layer.layers)} layers" if isinstance(layer, Container) else "",
    }
    return names.get(type(layer), type(layer).__name__)


def _by(pair, sign, both=False):
    """Return two numbers, or one where they are equal."""
    return str(pair[0]) if pair[0] == pair[1] and not both else f"{pair[0]}{sign}{pair[1]}"


def _stride(pair):
    """Return a stride behind a slash, unless it is 1."""
    return "" if pair == (1, 1) else f" /{_by(pair, '×')}"


# The way through


def _visit(layer, name, at, most, rows):
    """Return what comes out of a layer, and its (parameters, multiply-adds, depth); add its rows.

    `most` is how many containers more are looked into.
    """
    if isinstance(layer, Container) and most >= 1:
        return _inside(layer, name, at, most - 1, rows)
    if isinstance(layer, Container):
        after, total = _inside(layer, name, at, inf, [])
    else:
        after, total = _after(layer, at), _costs(layer, at.shape)
    rows.append(Row(name, words(layer), _first(after.shape), *total[:2], after.field))
    return after, total


def _inside(layer, name, at, most, rows):
    """Return the same for a container that is looked into."""
    names = layer.names or [*map(str, range(len(layer.layers)))]
    if isinstance(layer, Residual):
        return _added(layer, name, at, most, rows)
    found, totals = [], []
    for part, label in zip(layer.layers, names, strict=True):
        before = found[-1] if found and isinstance(layer, Sequential) else at
        after, total = _visit(part, _path(name, label), before, most, rows)
        found.append(after)
        totals.append(total)
    if isinstance(layer, Sequential) and not in_parts(layer):  # it adds to what its parts do
        after = _At(layer.shape(at.shape), None, None)
        rows.append(Row(_path(name, "&"), words(layer), _first(after.shape), 0, None, None))
        return after, _summed([*totals, (0, None, 0)], sum)
    if not isinstance(layer, Parallel):
        return found[-1], _summed(totals, sum)
    after = _widest(layer.shape(at.shape), found)
    joined = "concatenate" if layer.join == "concatenate" else "several"
    rows.append(Row(_path(name, "&"), joined, _first(after.shape), 0, 0, after.field))
    return after, _summed(totals, max)


def _added(layer, name, at, most, rows):
    """Return the same for a residual block: its layers, its projection, and the sum."""
    found, totals = [at], []
    for part, label in zip(layer.layers, ("F", "skip"), strict=False):
        parts = part.layers if label == "F" else (part,)
        after, sums = at, []
        for i, inner in enumerate(parts):
            path = _path(name, str(i) if label == "F" else label)
            after, total = _visit(inner, path, after, most, rows)
            sums.append(total)
        found.append(after)
        totals.append(_summed(sums, sum))
    after = _widest(layer.shape(at.shape), found[1:] if len(totals) > 1 else found)
    rows.append(Row(_path(name, "+"), "sum", _first(after.shape), 0, 0, after.field))
    return after, _summed(totals, max)


def _widest(shape, found):
    """Return what comes out where several ways meet, which sees what the widest of them sees."""
    fields = [at.field for at in found]
    if None in fields or len({at.jump for at in found}) > 1:
        return _At(shape, None, None)
    return _At(shape, tuple(map(max, zip(*fields, strict=True))), found[0].jump)


def _after(layer, at):
    """Return what comes out of a layer that holds no others, or one."""
    shape, (field, jump) = layer.shape(at.shape), at[1:]
    if isinstance(layer, (Repeat, Frozen)):
        for _ in range(getattr(layer, "times", 1)):
            at = _visit(layer.layer, "", at, 0, [])[0]
        return at
    if field is None or isinstance(layer, (ConvTranspose2d, Upsample)):
        return _At(shape, None, None)
    if isinstance(layer, (Conv2d, MaxPool2d, AvgPool2d)):
        dilation = getattr(layer, "dilation", (1, 1))
        each = zip(field, dilation, layer.size, jump, strict=True)
        field = tuple(r + D * (F - 1) * s for r, D, F, s in each)
        return _At(shape, field, tuple(s * S for s, S in zip(jump, layer.stride, strict=True)))
    if isinstance(layer, GlobalPool) or (isinstance(layer, Dense) and len(shape) == 1):
        return _At(shape, (inf, inf), jump)
    return _At(shape, field, jump) if isinstance(layer, SAME) else _At(shape, None, None)


def _costs(layer, s):
    """Return parameters, multiply-adds and depth of a layer that holds no others, or one."""
    if isinstance(layer, (Repeat, Frozen)):
        times = getattr(layer, "times", 1)
        parameters, products, depth = _visit(layer.layer, "", _At(s, None, None), 0, [])[1]
        learned = parameters if isinstance(layer, Repeat) else 0
        return learned, None if products is None else times * products, times * depth
    found = [prod(shape) for shape in sizes(layer.parameters(s))]
    if not found or isinstance(layer, FREE):
        return sum(found), 0, 0
    places = {Conv2d: layer.shape(s)[:2], ConvTranspose2d: s[:2], Dense: s[:-1]}.get(type(layer))
    return sum(found), None if places is None else prod(places) * found[0], 1


def _summed(totals, deepest):
    """Return what several parts come to; `deepest` is sum for one after the other."""
    parameters, products, depths = zip(*totals, strict=True)
    known = None if None in products else sum(products)
    return sum(parameters), known, deepest(depths)


# What is printed


def _path(*names):
    """Return the names of parts that lead to a place, with points between them."""
    return ".".join(filter(None, names))


def _first(s):
    """Return a shape with the channels first; several shapes one by one."""
    if any(not isinstance(n, int) for n in s):
        return tuple(map(_first, s))
    return (s[2], *s[:2]) if len(s) == 3 else s


def _number(n):
    """Return a count with its commas, or a stroke where there is none."""
    return "–" if n is None else f"{n:,}"


def _cells(row):
    """Return what stands in a line of a table."""
    sees = "–" if row.sees is None else "all" if inf in row.sees else _by(row.sees, "×")
    shape = row.shape if all(isinstance(n, int) for n in row.shape) else ("several",)
    shown = "×".join(map(str, shape))
    return row.name, row.kind, shown, f"{row.parameters:,}", _number(row.multiply_adds), sees


def _line(cells, most, gap):
    """Return a line: words to the left, numbers to the right."""
    parts = []
    for i, (cell, width) in enumerate(zip(cells, most, strict=True)):
        cut = cell if len(cell) <= width else cell[: width - 1] + "…"
        parts.append(cut.ljust(width) if i < 2 else cut.rjust(width))
    return gap.join(parts).rstrip()
