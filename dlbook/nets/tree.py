"""Parameters of a network: a tree of the form of the network, all of it views of one flat vector.

A layer says the shapes of its parameters as ``{"w": (j, k), "b": (j,)}``; a container has a list,
or a dictionary where its parts have names. `built` makes the vector and its views: NamedTuples for
dictionaries, tuples for lists, so that parameters read ``params.net[0].w`` or
``params.net.body[0].w``.
"""

from collections import namedtuple
from collections.abc import Callable, Iterator
from functools import cache
from itertools import accumulate
from math import prod
from typing import Any, NamedTuple

import numpy as np

__all__ = ["Views", "added", "built", "copied", "mapped", "sizes", "viewed"]


class Views(NamedTuple):
    """Parameters of a network, their gradients, or running statistics."""

    flat: np.ndarray
    net: Any  # views of ``flat``


@cache
def _record(names):
    """Return the class of a layer's parameters."""
    return namedtuple("Parameters", names)


def sizes(shapes: dict | list | tuple) -> Iterator[tuple]:
    """Yield the shapes of a tree, in order."""
    if isinstance(shapes, tuple):
        yield shapes
    else:
        for part in shapes.values() if isinstance(shapes, dict) else shapes:
            yield from sizes(part)


def _views(shapes, arrays):
    """Return a tree of the next arrays."""
    if isinstance(shapes, tuple):
        return next(arrays)
    if isinstance(shapes, dict):
        parts = [_views(part, arrays) for part in shapes.values()]
        return _record(tuple(shapes))(*parts) if parts else ()
    return tuple(_views(part, arrays) for part in shapes)


def viewed(shapes: dict | list, flat: np.ndarray) -> Any:
    """Return a vector as a tree of views, one after the other, in these shapes."""
    wanted = list(sizes(shapes))
    ends = accumulate(map(prod, wanted))
    cut = (flat[end - prod(s) : end].reshape(s) for s, end in zip(wanted, ends, strict=True))
    return _views(shapes, cut)


def built(shapes: dict | list, dtype) -> Views:
    """Return zeros of these shapes, as one vector and as a tree of views.

    Parameters
    ----------
    shapes : dict or list
        Tuples of whole numbers, in dictionaries and lists as deep as the network is.
    dtype : numpy dtype
        Of the vector.
    """
    flat = np.zeros(sum(map(prod, sizes(shapes))), dtype)
    return Views(flat, viewed(shapes, flat))


def mapped(tree: Any, function: Callable, path: tuple = ()) -> Any:
    """Return the same tree of what a function (path, array) makes of each array."""
    if isinstance(tree, np.ndarray):
        return function(path, tree)
    parts = [mapped(part, function, (*path, i)) for i, part in enumerate(tree)]
    return type(tree)(*parts) if hasattr(tree, "_fields") else tuple(parts)


def added(into: Any, more: Any) -> None:
    """Add the arrays of one tree to those of another."""
    for a, b in zip(into, more, strict=True):
        if isinstance(a, np.ndarray):
            a += b
        else:
            added(a, b)


def copied(into: Any, values: Any) -> None:
    """Write the arrays of one tree into those of another."""
    for a, b in zip(into, values, strict=True):
        if isinstance(a, np.ndarray):
            a[...] = b
        else:
            copied(a, b)
