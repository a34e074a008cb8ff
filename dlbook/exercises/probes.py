"""The probes of an exercise, and calling functions on them without leaving a trace."""

import contextlib
import copy
import inspect
import io
import re
import warnings
import zlib
from functools import cache
from typing import NamedTuple

import numpy as np

from dlbook.exercises.forms import Stream, is_value

__all__ = [
    "Case",
    "Counter",
    "argument_names",
    "as_parts",
    "cases",
    "catalogue",
    "flat",
    "fresh",
    "groups",
    "handed",
    "outcome",
    "quietly",
    "same",
    "stopping",
]


class Case(NamedTuple):
    """One probe and what the reference makes of it."""

    args: tuple
    expected: tuple  # of arrays
    held_out: bool  # of other sizes; its numbers are never shown
    sizes: dict  # {axis letter: size}
    count: int  # of numbers that go in


@cache
def cases(exercise):
    """Return the probes of an exercise, those that may be shown first, smaller ones before larger."""
    found = []
    for held_out in (False, True):
        rng = np.random.default_rng([zlib.crc32(exercise.label.encode()), held_out])
        for args in exercise.probes(rng):
            expected = as_parts(quietly(exercise.reference, fresh(args)))
            count = sum(part.size for part in flat(args))
            found.append(Case(args, expected, held_out, axis_sizes(exercise.axes, args), count))
        if is_value(exercise):
            break
    return tuple(sorted(found, key=lambda case: (case.held_out, case.count)))


@cache
def catalogue(exercise):
    """Return [(mistake, what it computes for each case)] of the mistakes that stop nowhere."""
    return [
        (mistake, outcomes)
        for mistake, outcomes in _catalogue(exercise)
        if not any(isinstance(outcome, Exception) for outcome in outcomes)
    ]


@cache
def stopping(exercise):
    """Return [(mistake, outcome for each case)] of those that stop somewhere: w @ delta for wᵀ."""
    known = catalogue(exercise)
    return [row for row in _catalogue(exercise) if all(row[0] is not m for m, _ in known)]


@cache
def _catalogue(exercise):
    return [
        (mistake, [outcome(mistake.wrong, case) for case in cases(exercise)])
        for mistake in exercise.mistakes
    ]


def outcome(function, case, sink=None):
    """Return the arrays that a function gives for a case, or the exception that it stops with."""
    try:
        return as_parts(quietly(function, fresh(case.args), sink))
    except Exception as error:
        return error


def flat(value):
    """Yield the arrays that an argument holds."""
    if isinstance(value, (tuple, list)):
        for item in value:
            yield from flat(item)
    elif isinstance(value, (np.ndarray, np.generic, int, float, complex)):
        yield np.asarray(value)


def axis_sizes(axes, args):
    """Return the sizes of the axes that the arguments have, by letter."""
    found = {}
    for letters, value in zip(groups(axes.split("->")[0]), args, strict=False):
        if isinstance(value, np.ndarray):
            found.update(zip(letters.split(), value.shape, strict=False))
    return found


def groups(axes):
    """Return the axes of each array: "(n p), (n)" -> ["n p", "n"]."""
    return re.findall(r"\(([^)]*)\)", axes)


def handed(args):
    """Return arguments as an answer gets them."""
    return tuple(iter(a.items) if isinstance(a, Stream) else a for a in args)


def fresh(args):
    """Return a copy of the arguments, so that nobody can change a probe."""
    return handed(copy.deepcopy(args))


def same(a, b):
    """Return whether two arguments hold the same bits."""
    if isinstance(a, np.ndarray):
        return a.shape == b.shape and a.tobytes() == b.tobytes()
    if isinstance(a, (tuple, list)):
        return len(a) == len(b) and all(map(same, a, b))
    return a is b or a == b


def as_parts(value):
    """Return the arrays of a result: one, or one for each member of a tuple."""
    if isinstance(value, tuple):
        return tuple(np.asarray(v) for v in value)
    return (np.asarray(value),)


class Counter(io.TextIOWrapper):
    """A stream that keeps nothing of what is printed, as text or as bytes, and counts it."""

    def __init__(self):
        super().__init__(Nowhere(), "utf-8", "backslashreplace", write_through=True)
        self.characters = 0

    def write(self, text):
        self.characters += len(text)
        return len(text)

    @property
    def printed(self):
        """The count of both."""
        return self.characters + self.buffer.bytes


class Nowhere(io.RawIOBase):
    """Takes bytes and counts them."""

    bytes = 0

    def writable(self):
        """Say that it takes what is written."""
        return True

    def write(self, data):
        self.bytes += len(data)
        return len(data)


def quietly(function, args, sink=None):
    """Call a function; what it prints goes nowhere, warnings are not shown."""
    sink = sink or Counter()
    with (
        contextlib.redirect_stdout(sink),
        contextlib.redirect_stderr(sink),
        warnings.catch_warnings(),
        np.errstate(all="ignore"),
    ):
        warnings.simplefilter("ignore")
        return function(*args)


def argument_names(exercise):
    reference = exercise.reference
    return list(inspect.signature(getattr(reference, "py_func", reference)).parameters)
