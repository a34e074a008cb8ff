"""Cases: a kernel, the arguments it is given, and what an independent oracle expects.

A case of a page is kept as bytes, so that altered versions of its kernel can be tried on it in
another process, and as plain data, for whoever wants to run it elsewhere.
"""

import hashlib
import io
from functools import reduce
from importlib import import_module
from typing import Any, NamedTuple

import numpy as np
from numpy.lib.array_utils import byte_bounds

__all__ = ["LIMIT", "digest", "encoded", "leaves", "named", "packed", "plain", "size", "tried"]

LIMIT = 200  # numbers in arguments and expected value of a case that is tried on altered kernels
BYTES = 80 * LIMIT  # and its bytes, since a graph of objects is more than its numbers


def named(module: str, name: str) -> Any:
    """Return what stands under a dotted name in a module; it may be an altered version by then."""
    return reduce(getattr, name.split("."), import_module(module))


class Place(NamedTuple):
    """Where an array lies in the flat vector it is a view of."""

    start: int  # in bytes
    shape: tuple
    strides: tuple


def _places(value, flat):
    """Replace each view of a flat vector by its place."""
    if isinstance(value, np.ndarray):
        start = byte_bounds(value)[0] - byte_bounds(flat)[0] if value.size else 0
        return Place(start, value.shape, value.strides)
    return _rebuilt(value, lambda part: _places(part, flat))


def _views(value, flat):
    """Replace each place by the view of a flat vector."""
    if isinstance(value, Place):
        return np.ndarray(value.shape, flat.dtype, flat, value.start, value.strides)
    return _rebuilt(value, lambda part: _views(part, flat))


def _rebuilt(value, change):
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*map(change, value))
    return type(value)(map(change, value)) if isinstance(value, (tuple, list)) else value


def _flat(value):
    """Return the flat vector of parameters, or None for anything else."""
    flat = getattr(value, "flat", None) if hasattr(value, "_fields") else None
    return flat if isinstance(flat, np.ndarray) else None


def packed(case: dict) -> bytes:
    """Return a case as bytes: kernels by name, functions of a page by value, parameters as views.

    Parameters
    ----------
    case : dict
        With ``kernel``, ``args`` and ``expected``.

    Raises
    ------
    TypeError, pickle.PicklingError
        If it holds what cannot be taken to another process.
    """
    from numba import cloudpickle  # only where a check is made
    from numba.core.dispatcher import Dispatcher

    class Pickler(cloudpickle.CloudPickler):
        def reducer_override(self, obj):
            if isinstance(obj, Dispatcher) and obj.__module__ != "__main__":
                return named, (obj.__module__, obj.py_func.__qualname__)
            if (flat := _flat(obj)) is not None:
                return _views, (_places(obj, flat), flat)
            return super().reducer_override(obj)

    Pickler(buffer := io.BytesIO(), protocol=5).dump(case)
    return buffer.getvalue()


def leaves(value: Any) -> list:
    """Return the arrays and numbers in nested tuples and lists; of parameters the flat vector."""
    if (flat := _flat(value)) is not None:
        return [flat]
    if isinstance(value, (tuple, list)):
        return [leaf for part in value for leaf in leaves(part)]
    number = isinstance(value, (np.ndarray, np.generic, bool, int, float, complex))
    return [np.asarray(value)] if number else []


def size(*values: Any) -> int:
    """Return how many numbers there are in nested tuples and lists."""
    return sum(leaf.size for leaf in leaves(values))


def tried(case: dict, blob: bytes) -> bool:
    """Say whether a case is small enough to be tried on altered versions of its kernel."""
    return len(blob) <= BYTES and size(case["args"], case["expected"]) <= LIMIT


def digest(array: np.ndarray) -> str:
    """Return a short name for the numbers of an array."""
    return hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()[:16]


def encoded(value: Any) -> Any:
    """Return a value as plain data for JSON, or raise TypeError.

    An array is ``{"float64": nested lists}`` with null for what is not finite, or, where it holds
    more than `LIMIT` numbers, ``{"float64": shape, "digest": …}``.
    """
    if isinstance(value, np.ndarray) and value.dtype.kind in "biuf":
        if value.size > LIMIT:
            return {value.dtype.name: list(value.shape), "digest": digest(value)}
        finite = value if value.dtype.kind != "f" else np.where(np.isfinite(value), value, None)
        return {value.dtype.name: finite.tolist()}
    if isinstance(value, (tuple, list)) and _flat(value) is None:
        return [encoded(part) for part in value]
    value = value.item() if isinstance(value, np.generic) else value
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        return value if np.isfinite(value) else None
    raise TypeError(f"{type(value).__name__} is no plain data")


def plain(case: dict) -> dict | None:
    """Return a case of a kernel of the package as plain data; None where that cannot be."""
    function = getattr(case["kernel"], "py_func", case["kernel"])
    module, name = getattr(function, "__module__", None), getattr(function, "__qualname__", "<")
    if not (module or "").startswith("dlbook.") or "<" in name:
        return None
    try:
        return {
            "kernel": f"{module}.{name}",
            "args": encoded(case["args"]),
            "expected": encoded(case["expected"]),
            "by": case["by"],
            **{k: encoded(v) for k, v in case["options"].items()},
        }
    except TypeError:  # parameters, a graph, a function, a generator
        return None
