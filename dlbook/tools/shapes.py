"""Checks of what comes in, in words: which array, the shape it has, the shape expected.

Axes are named by one letter, as in the chapters: ``"n p"`` is a matrix with n rows and p columns.
One `Axes` object serves one call, so that an axis which two arrays share must have one size.
"""

import math
import numbers
import operator

import numpy as np

__all__ = ["Axes", "array", "choice", "count", "floating", "generator", "number", "shown"]


def _letters(axes):
    return f"({', '.join(axes)}{',' if len(axes) == 1 else ''})"


class Axes:
    """The sizes of the named axes that the arrays of one call share.

    Examples
    --------
    >>> axes = Axes()
    >>> X = axes.floats("X", [[1, 2, 3], [4, 5, 6]], "n p")
    >>> y = axes.floats("y", [1.0, 2.0, 3.0], "n")
    Traceback (most recent call last):
    ValueError: y has shape (3,), expected (n,) with n = 2 as in X
    """

    def __init__(self, **sizes):
        self.sizes = {axis: (size, None) for axis, size in sizes.items()}

    def __getitem__(self, axis):
        return self.sizes[axis][0]

    def _shape(self, name, x, axes):
        """Hold one array against the axes known so far, then learn from it."""
        axes = axes.split()
        known = [(a, *self.sizes[a]) for a in axes if a in self.sizes]
        where = ", ".join(
            f"{a} = {size}" + (f" as in {source}" if source else "") for a, size, source in known
        )
        expected = f"{name} has shape {x.shape}, expected {_letters(axes)}" + (
            f" with {where}" if where else ""
        )
        if x.ndim != len(axes) or any(x.shape[axes.index(a)] != size for a, size, _ in known):
            raise ValueError(expected)
        for axis, size in zip(axes, x.shape, strict=True):
            self.sizes.setdefault(axis, (size, name))

    def floats(self, name, x, axes, *, finite=True, empty=False):
        """Return `x` as a contiguous floating-point array with the named axes.

        Parameters
        ----------
        name : str
            What the caller calls it.
        x : array_like
            float32 and float64 are kept, integers and booleans become float64.
        axes : str
            One letter per axis, separated by blanks; "" for a scalar, None for any shape.
        finite : bool
            Refuse NaN and infinities.
        empty : bool
            Accept an axis of size 0.

        Raises
        ------
        TypeError
            For strings, objects, complex and half-precision numbers.
        ValueError
            For a wrong shape, an empty array, NaN or infinity.
        """
        x = array(name, x)
        if x.dtype.kind in "biu":
            x = x.astype(np.float64)
        if x.dtype not in (np.float32, np.float64):
            raise TypeError(f"{name} has dtype {x.dtype}, expected float64 or float32")
        if axes is not None:
            self._shape(name, x, axes)
        if not empty and x.size == 0:
            raise ValueError(f"{name} is empty: it has shape {x.shape}")
        if finite and not np.isfinite(x).all():
            at = tuple(int(i) for i in np.argwhere(~np.isfinite(x))[0])
            raise ValueError(
                f"{name} holds {x[at]} at index {at}; only finite numbers can be used here"
            )
        return np.ascontiguousarray(x) if x.ndim else x

    def labels(self, name, y, axes, classes=None, *, least=0, values=None):
        """Return `y` as int64 labels least … classes−1, or as one of the given values.

        Raises
        ------
        TypeError
            Where labels are not whole numbers.
        ValueError
            For a wrong shape, an empty array or a label out of range.
        """
        y = array(name, y)
        if y.dtype.kind == "f" and y.size and np.isfinite(y).all() and (y == np.floor(y)).all():
            raise TypeError(
                f"{name} has dtype {y.dtype}; labels are integers, use {name}.astype(int)"
            )
        if y.dtype.kind not in "iu":
            raise TypeError(f"{name} has dtype {y.dtype}; labels are integers")
        self._shape(name, y, axes)
        if y.size == 0:
            raise ValueError(f"{name} is empty: it has shape {y.shape}")
        if values is not None:
            wrong, allowed = ~np.isin(y, values), f"one of {tuple(values)}"
        else:
            most = classes - 1 if classes else 2**63 - 1
            wrong = (y < least) | (y > most)
            allowed = f"{least} … {most}" if classes else f"{least} or more"
        if wrong.any():
            at = tuple(int(i) for i in np.argwhere(wrong)[0])
            raise ValueError(f"{name} holds the label {y[at]} at index {at}, expected {allowed}")
        return np.ascontiguousarray(y, dtype=np.int64)


def array(name, x):
    """Return an array in the machine's byte order.

    Raises
    ------
    TypeError
        For masked arrays, also in a list: what is masked would count like the rest.
    ValueError
        For a list whose rows have different lengths.
    """
    parts = x if isinstance(x, (list, tuple)) else [x]
    if any(isinstance(part, np.ma.MaskedArray) for part in parts):
        raise TypeError(
            f"{name} is a masked array, which cannot be used here; leave out what is masked, "
            f"or fill it: {name}.filled(0)"
        )
    try:
        x = np.asarray(x)
    except ValueError:
        raise ValueError(f"{name} is a list whose rows have different lengths") from None
    return x.astype(x.dtype.newbyteorder("="), copy=False)


def shown(value):
    """Return a value as an error message shows it: arrays by their shape, the rest cut short."""
    if isinstance(value, np.ndarray):
        return f"an array of shape {value.shape}"
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}…"


def number(name, value, *, above=None, least=None, below=None, most=None):
    """Return `value` as a float within the bounds given.

    Raises
    ------
    TypeError
        Where it is not a real number.
    ValueError
        Where it is NaN, infinite or out of bounds.
    """
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, numbers.Real):
        raise TypeError(f"{name} is {shown(value)}, expected a number")
    limits = {">": (operator.gt, above), "≥": (operator.ge, least)}
    limits |= {"<": (operator.lt, below), "≤": (operator.le, most)}
    limits = {sign: limit for sign, limit in limits.items() if limit[1] is not None}
    try:
        held = math.isfinite(value) and all(holds(value, bound) for holds, bound in limits.values())
    except OverflowError:  # a whole number beyond the largest float
        held = False
    if not held:
        wanted = " and ".join(f"{sign} {bound}" for sign, (_, bound) in limits.items())
        raise ValueError(f"{name} is {shown(value)}, expected a finite number {wanted}".rstrip())
    return float(value)


def count(name, value, *, least=1, most=2**31 - 1):
    """Return `value` as an int from `least` to `most`.

    Raises
    ------
    TypeError
        Where it is not a whole number.
    ValueError
        Where it is out of range; the largest count also keeps products of two of them in 64 bits.
    """
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, numbers.Integral):
        raise TypeError(f"{name} is {shown(value)}, expected a whole number")
    if not least <= value <= most:
        raise ValueError(f"{name} is {value}, expected a whole number from {least} to {most}")
    return int(value)


def choice(name, value, allowed):
    """Return `value` if it is one of the allowed words."""
    if not isinstance(value, str) or value not in allowed:
        raise ValueError(
            f"{name} is {shown(value)}, expected one of {', '.join(map(repr, allowed))}"
        )
    return value


def generator(name, rng):
    """Return `rng` if it is a numpy Generator; say how to make one otherwise."""
    if not isinstance(rng, np.random.Generator):
        raise TypeError(
            f"{name} is {shown(rng)}, expected a generator: numpy.random.default_rng(seed)"
        )
    return rng


def floating(name, dtype):
    """Return `dtype` as a numpy dtype if it is float64 or float32, in the machine's byte order."""
    try:
        found = np.dtype(dtype) if dtype is not None else None
    except (TypeError, ValueError):
        found = None
    if found not in (np.float64, np.float32):
        raise TypeError(f"{name} is {shown(dtype)}, expected float64 or float32")
    return found
