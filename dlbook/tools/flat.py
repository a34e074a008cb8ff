"""Parameters as one flat vector and, at the same time, as named arrays.

Parameters, gradients and running statistics are NamedTuples. Their field ``flat`` holds every
number once; the others are views of it: arrays, None, or tuples and NamedTuples of these. Here
such views are listed by name, built again over another vector, and held against the layout that a
model says is its own, whatever the model.
"""

from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.lib.array_utils import byte_bounds

from dlbook.tools.shapes import shown

__all__ = ["Layout", "belong", "fits", "laid_out", "like", "named", "step_fits"]

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


# Whose they are


class Layout(NamedTuple):
    """What parameters are like: all that a kernel relies on, and none of their numbers."""

    kind: str  # name of the NamedTuple
    fields: tuple
    dtype: np.dtype
    arrays: dict  # by name the shape, the strides and the first byte in the flat vector


def laid_out(params: Any, name: str = "params") -> Layout | None:
    """Return the layout of parameters, gradients or running statistics; None where there are none.

    Parameters
    ----------
    params : NamedTuple or None
        As for `named`.
    name : str
        What the caller calls it.

    Raises
    ------
    TypeError
        As `named`.
    """
    if params is None:
        return None
    arrays = named(params, name)
    first = byte_bounds(params.flat)[0]
    arrays = {key: (x.shape, x.strides, byte_bounds(x)[0] - first) for key, x in arrays.items()}
    return Layout(type(params).__name__, params._fields, params.flat.dtype, arrays)


def fits(params: Any, layout: Layout | None, name: str = "params") -> None:
    """Hold parameters, gradients or running statistics against the layout they should have.

    Parameters
    ----------
    params : NamedTuple or None
        What was handed in.
    layout : Layout or None
        What is wanted; None where there should be none.
    name : str
        What the caller calls it.

    Raises
    ------
    TypeError
        If it is not such a tuple, that of another kind of model, missing or not wanted, or has
        another dtype.
    ValueError
        If it lacks arrays or has more, or if one has another shape or another place.
    """
    if layout is None and params is not None:
        raise TypeError(f"{name} is {shown(params)}, expected None: the model has no {name}")
    if layout is None:
        return
    if params is None:
        raise TypeError(f"{name} is None, and the model has some: {layout.kind}")
    found = laid_out(params, name)
    if found.fields != layout.fields:
        raise TypeError(f"{name} is {found.kind}, those of this model are {layout.kind}")
    if found.dtype != layout.dtype:
        raise TypeError(f"{name} has dtype {found.dtype}, that of the model is {layout.dtype}")
    if found.arrays != layout.arrays:
        raise ValueError(f"{name} {_difference(name, found.arrays, layout.arrays)}")


def _difference(name, found, wanted):
    """Say in which array two layouts differ first."""
    missing, more = wanted.keys() - found.keys(), found.keys() - wanted.keys()
    if missing or more:
        first = ", ".join(sorted(missing or more)[:3])
        return (
            f"lacks {first}, which the model has" if missing else f"has {first}, the model has not"
        )
    key = next(key for key in wanted if found[key] != wanted[key])
    if found[key][0] != wanted[key][0]:
        return f"has {key} of shape {found[key][0]}, that of the model has {wanted[key][0]}"
    return f"has {key} at another place of {name}.flat than the model's, or in another order"


def belong(model: Any, params: Any, state: Any = None) -> None:
    """Hold parameters and running statistics against the model's own layout.

    Parameters
    ----------
    model : Model
        Its attribute ``layout`` says what its parameters are like, and ``start()`` what its
        running statistics are.
    params, state : NamedTuple
        What was handed in; state is None for a model without running statistics.

    Raises
    ------
    TypeError, ValueError
        As `fits`.
    """
    fits(params, model.layout)
    fits(state, laid_out(model.start(), "state"), "state")


def step_fits(model: Any, params: Any, state: Any, grads: Any, held: list) -> None:
    """Hold what a step is given against the model, when it is given for the first time.

    Parameters
    ----------
    model, params, state
        As for `belong`.
    grads : NamedTuple
        Laid out as params.
    held : list
        In the memory of the step: what was held against the model last, so that a loop pays once.

    Raises
    ------
    TypeError, ValueError
        As `fits`.
    """
    if held and held[0] is params and held[1] is grads and held[2] is state and held[3] is model:
        return
    belong(model, params, state)
    fits(grads, model.layout, "grads")
    held[:] = params, grads, state, model
