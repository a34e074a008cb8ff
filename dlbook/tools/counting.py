"""Count what a kernel does: it runs as plain Python on numbers that keep a tally."""

import operator
from collections import Counter
from inspect import unwrap
from types import FunctionType
from typing import Any, NamedTuple

import numpy as np

__all__ = ["Operations", "counted", "operations"]

FUNCTIONS = ("cos", "exp", "expm1", "log", "log1p", "sin", "sqrt", "tanh")


class Operations(NamedTuple):
    """How often a function did what with its numbers."""

    multiplications: int  # of two numbers, divisions too
    additions: int  # subtractions too
    functions: int  # calls of exp, log, tanh and their kin


class _Number:
    """A number that counts what is done with it; a sign and a comparison cost nothing."""

    def __init__(self, value, tally):
        self.value, self.tally = value, tally

    def _with(self, kind, value):
        self.tally[kind] += 1
        return _Number(value, self.tally)

    def __float__(self):
        return float(self.value)

    def __neg__(self):
        return _Number(-self.value, self.tally)

    def __abs__(self):
        return _Number(abs(self.value), self.tally)

    def conjugate(self):
        return self

    @property
    def real(self):
        return self


def _value(other):
    return other.value if isinstance(other, _Number) else other


def _operator(name, kind, compute):
    def forward(self, other):
        return self._with(kind, compute(self.value, _value(other)))

    def backward(self, other):
        return self._with(kind, compute(_value(other), self.value))

    setattr(_Number, f"__{name}__", forward)
    setattr(_Number, f"__r{name}__", backward)


def _comparison(name):
    compare = getattr(operator, name)
    setattr(_Number, f"__{name}__", lambda self, other: compare(self.value, _value(other)))


def _method(name):
    compute = getattr(np, name)
    setattr(_Number, name, lambda self: self._with("functions", compute(self.value)))


for _name, _kind, _compute in (
    ("add", "additions", operator.add),
    ("sub", "additions", operator.sub),
    ("mul", "multiplications", operator.mul),
    ("truediv", "multiplications", operator.truediv),
    ("pow", "multiplications", operator.pow),
):
    _operator(_name, _kind, _compute)
for _name in ("lt", "le", "gt", "ge", "eq", "ne"):
    _comparison(_name)
for _name in FUNCTIONS:
    _method(_name)


def _plain(function):
    """Return a kernel as plain Python, and so the kernels that it calls."""
    function = unwrap(getattr(function, "py_func", function))
    if not isinstance(function, FunctionType):
        return function
    code, space = function.__code__, function.__globals__
    kernels = {n: _plain(space[n]) for n in code.co_names if hasattr(space.get(n), "py_func")}
    return FunctionType(code, space | kernels, None, function.__defaults__, function.__closure__)


def _floating(value):
    return isinstance(value, float) or (isinstance(value, np.ndarray) and value.dtype.kind == "f")


def counted(function: Any, *args: Any) -> tuple[Any, Operations]:
    """Return what a function gives, its numbers still counting, and its `operations`."""
    tally = Counter()
    number = np.frompyfunc(lambda value: _Number(value, tally), 1, 1)
    result = _plain(function)(*(number(a) if _floating(a) else a for a in args))
    return result, Operations(*(tally[field] for field in Operations._fields))


def operations(function: Any, *args: Any) -> Operations:
    """Return what a function does with the floating-point numbers it is given.

    Parameters
    ----------
    function : callable
        A kernel, which runs as plain Python here, as do the kernels that it calls, or any
        function. What it makes of an array has to take the dtype of that array, or the numbers
        stop counting.
    *args
        Its arguments; floating-point numbers and arrays of them count, whole numbers do not.

    Returns
    -------
    Operations

    Examples
    --------
    >>> operations(np.dot, np.ones(3), np.ones(3))
    Operations(multiplications=3, additions=2, functions=0)
    """
    return counted(function, *args)[1]
