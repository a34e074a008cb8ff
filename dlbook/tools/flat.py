"""Parameters as one flat vector and, at the same time, as named arrays.

Parameters, gradients and running statistics are NamedTuples. Their field ``flat`` holds every
number once; the others are views of it: arrays, None, or tuples and NamedTuples of these. Here
such views are listed by name and built again over another vector, whatever the model.
"""

from typing import Any, TypeVar

import numpy as np
from numpy.lib.array_utils import byte_bounds

__all__ = ["like", "named"]

Views = TypeVar("Views")


def _arrays(name, value):
    """Yield each array below a value with its name: ``w[2]``, ``blocks[0].w``."""
    if isinstance(value, np.ndarray):
        yield name, value
    elif hasattr(value, "_fields"):
        for field in value._fields:
            if field != "flat":
                yield from _arrays(f"{name}.{field}" if name else field, getattr(value, field))
    elif isinstance(value, (tuple, list)):
        for i, part in enumerate(value):
            yield from _arrays(f"{name}[{i}]", part)


def named(params: Any, name: str = "params") -> dict[str, np.ndarray]:
    """Return the arrays of parameters by name, in the order of the flat vector.

    Parameters
    ----------
    params : NamedTuple
        With a field ``flat``, of which all arrays in it are views. An array that stands in two
        places (tied weights) is listed once.
    name : str
        What the caller calls it.

    Returns
    -------
    dict of str to ndarray
        Views, such as ``{"w[2]": …, "b[2]": …}``.

    Raises
    ------
    TypeError
        If it is not such a tuple, or if its arrays are not exactly the numbers of ``flat``.
    """
    flat = getattr(params, "flat", None)
    if not hasattr(params, "_fields") or not isinstance(flat, np.ndarray):
        raise TypeError(
            f"{name} is {type(params).__name__}, expected a NamedTuple with a flat array"
        )
    if flat.ndim != 1 or flat.dtype.kind != "f" or not flat.flags.c_contiguous:
        raise TypeError(f"{name}.flat is not a contiguous vector of floating-point numbers")
    first, last = byte_bounds(flat)
    found = {}
    for key, array in _arrays("", params):
        low, high = byte_bounds(array)
        if array.size and (low < first or high > last or array.dtype != flat.dtype):
            raise TypeError(f"{name}.{key} is not a view of {name}.flat")
        if array.size:
            found.setdefault((low, high), (key, array))
    numbers = sum(array.size for _, array in found.values())
    if numbers != flat.size:
        raise TypeError(f"{name}.flat holds {flat.size} numbers, the arrays of {name} {numbers}")
    return dict(found[place] for place in sorted(found))


def like(params: Views, flat: np.ndarray | None = None) -> Views:
    """Return the same views of another flat vector, of zeros where none is given.

    Parameters
    ----------
    params : NamedTuple
        As for `named`.
    flat : ndarray, optional
        A vector of the same length and dtype; it becomes the ``flat`` of the result.

    Raises
    ------
    TypeError, ValueError
        If the vector is not of that kind.
    """
    flat = np.zeros_like(params.flat) if flat is None else flat
    if flat.dtype != params.flat.dtype or not flat.flags.c_contiguous:
        raise TypeError(f"flat is not a contiguous vector of {params.flat.dtype} numbers")
    if flat.shape != params.flat.shape:
        raise ValueError(f"flat has shape {flat.shape}, expected {params.flat.shape}")
    return _again(params, params.flat, flat)


def _again(value, old, new):
    """Build what stands on the old vector once more on the new one."""
    if value is old:
        return new
    if isinstance(value, np.ndarray):
        start = byte_bounds(value)[0] - byte_bounds(old)[0] if value.size else 0
        return np.ndarray(value.shape, value.dtype, new, start, value.strides)
    if hasattr(value, "_fields"):
        return type(value)(*(_again(part, old, new) for part in value))
    if isinstance(value, (tuple, list)):
        return type(value)(_again(part, old, new) for part in value)
    return value
