"""Say in a line what was seen: an input, the smallest case that fails, what a value is."""

import inspect
import re

import numpy as np

from dlbook.exercises.forms import Stream, is_value
from dlbook.exercises.probes import argument_names
from dlbook.exercises.recognise import EXACT, gap

__all__ = ["counterexample", "cut", "described", "kind_of", "said", "size_of"]


def described(exercise, case):
    """Return the arguments of a case in words: their shapes, and their numbers where they are few."""
    if is_value(exercise):
        return ""
    pairs = list(zip(argument_names(exercise), case.args, strict=False))
    words = [_argument(name, value, not case.held_out) for name, value in pairs]
    if len(", ".join(words)) > 84:
        words = [_argument(name, value, False) for name, value in pairs]
    return f"Input: {', '.join(words)}"


def _argument(name, value, numbers):
    """Return one argument in words."""
    if isinstance(value, Stream):
        return f"{name} of {len(value.items)} items"
    if isinstance(value, np.ndarray):
        return f"{name} {value.shape}" + (f" = {digits(value)}" if numbers else "")
    if isinstance(value, (int, float, str)):
        return f"{name} = {value:.6g}" if isinstance(value, float) else f"{name} = {value!r}"
    return f"a function {name}" if callable(value) else name


def digits(value):
    """Return an array in one line, with few digits; what is only rounding becomes zero."""
    value = np.asarray(value)
    if value.dtype.kind in "fc":
        value = value + 0.0  # without the sign of zero
    if value.size and value.dtype.kind == "f" and np.isfinite(value).all():
        value = np.where(np.abs(value) < 1e-12 * np.max(np.abs(value)), 0, value)
    text = np.array2string(
        value,
        separator=", ",
        formatter={"float_kind": lambda x: f"{x:.6g}", "complex_kind": lambda x: f"{x:.6g}"},
        threshold=12,
    )
    return re.sub(r"\s+", " ", text)


def counterexample(exercise, case, actual):
    """Return a case, what came out and what should have."""
    given = described(exercise, case).removeprefix("Input: ")
    for k, (a, e) in enumerate(zip(actual, case.expected, strict=False)):
        if gap((a,), (e,)) > EXACT:
            part = f"result {k + 1}: " if len(case.expected) > 1 else ""
            break
    else:
        return f"Smallest case: {given}"
    if case.held_out:
        return f"Smallest case: {given}"
    if a.shape != e.shape:
        out = f"{part}shape {a.shape}, expected {e.shape}"
    elif e.size <= 3 and not is_value(exercise):
        out = f"{part}{digits(a)}, expected {digits(e)}"
    else:
        with np.errstate(all="ignore"):
            apart = np.abs(np.atleast_1d(a * 1.0 - e))
        at = np.unravel_index(np.argmax(np.nan_to_num(apart, nan=np.inf)), apart.shape)
        got, right = np.atleast_1d(a)[at] + 0.0, np.atleast_1d(e)[at] + 0.0
        where = f" at index {tuple(map(int, at))}" if a.ndim else ""
        if is_value(exercise):  # the number that is asked for stays a secret
            side = f", which is too {'large' if got > right else 'small'}" * bool(np.isfinite(got))
            return f"Your answer{where} is {got:.6g}{side}."
        out = f"{part}{got:.6g}{where}, expected {right:.6g}"
    return f"Smallest case: {given} gives {out}"


def cut(text, most=90):
    """Return a text that fits into a line, shortened between two words where it is too long."""
    if len(text) <= most:
        return text
    words = text[: most - 1].rpartition(" ")[0].rstrip()
    return f"{words} …" if len(words) > most // 2 else f"{text[: most - 1]}…"


def said(error, most=200):
    """Return an exception in one line."""
    try:
        first = str(error).strip().splitlines()[:1]
    except BaseException:  # the file may have made the exception
        first = []
    return ": ".join([type(error).__name__, *(cut(line, most) for line in first)])


def kind_of(value):
    """Return what a value is, as a sentence says it."""
    if isinstance(value, (np.ndarray, np.generic)):
        if value.dtype.kind not in "biufc":
            return f"an array of {value.dtype} entries"
        return f"an array of shape {value.shape}"
    known = {str: "text", dict: "a dictionary", set: "a set", list: "a list", tuple: "a tuple"}
    known |= {bool: "a truth value", int: "a number", float: "a number", complex: "a number"}
    if type(value) in known:
        return known[type(value)]
    if callable(value):
        return "a function"
    if inspect.isgenerator(value):
        return "a generator"
    return f"a value of type {type(value).__name__}"


def size_of(error):
    """Say what the size of an error tells."""
    if not np.isfinite(error):
        return "Some of the numbers are NaN or infinite where they should be finite."
    if error < 1e-5:
        return f"The largest error is {error:.0e}: float32 or a difference quotient on the way?"
    size = f"{error:.2g} times" if error >= 1 else f"{100 * error:.2g} % of"
    return f"The largest error is {size} the largest number."
