"""How an answer is judged.

The engine runs an answer on all probes and says the first of these that is true: it is not there
yet, it cannot be run, it is right, it makes a mistake of the catalogue, it is right up to a
factor, a transposition or an order, it makes two such mistakes at once, it is wrong. A mistake is
named only if it explains every number and nothing else comes near.

This is not a sandbox: an answer runs with all the rights of the reader who wrote it.
"""

import copy
import inspect
import re
import traceback
from collections.abc import Iterable, Iterator
from decimal import Decimal
from functools import cache

import numpy as np

from dlbook.exercises.forms import (
    CHANGED,
    CORRECT,
    CRASHED,
    MISTAKE,
    TYPE,
    UNATTEMPTED,
    UNSTABLE,
    WRONG,
    Choice,
    Result,
    is_value,
)
from dlbook.exercises.probes import (
    Counter,
    argument_names,
    as_parts,
    cases,
    groups,
    handed,
    outcome,
    quietly,
    same,
    stopping,
)
from dlbook.exercises.recognise import EXACT, SINGLE, alike, gap, recognised
from dlbook.exercises.words import counterexample, cut, described, kind_of, said, size_of

__all__ = ["judge"]


class _VerdictError(Exception):
    """Something that ends the judging: a status and what to say."""

    def __init__(self, status, *lines, trace="", name=""):
        super().__init__(status)
        self.status, self.lines, self.trace, self.name = status, lines, trace, name


def judge(exercise, answer=...):
    """Return the `Result` of an answer."""
    try:
        if isinstance(exercise, Choice):
            return _judge_choice(exercise, answer)
        return _judge(exercise, answer)
    except _VerdictError as met:
        lines = tuple(filter(None, met.lines))
        return Result(exercise.label, met.status, lines, name=met.name, traceback=met.trace)


def _hint(exercise):
    return f'`hint("{exercise.label}")` helps.'


def _unattempted(exercise):
    return _VerdictError(UNATTEMPTED, "Not attempted yet.", exercise.task, _hint(exercise))


def _judge_choice(exercise, answer):
    """Judge letters: one that does not belong is named first, then whether some are missing."""
    letters = sorted([*exercise.right, *exercise.wrong])
    if answer is ... or answer is None:
        raise _unattempted(exercise)
    given = [answer] if isinstance(answer, str) else answer
    expected = (
        f'expected letters from {letters[0]} to {letters[-1]}, such as "{"".join(letters[:2])}"'
    )
    if not isinstance(given, Iterable) or not all(isinstance(g, str) for g in given):
        raise _VerdictError(TYPE, f"The answer is {kind_of(answer)}, {expected}.")
    words = re.sub(r"(?<=[^a-z])and(?=[^a-z])", " ", " ".join(given).lower())
    chosen = set(re.sub(r"[\s,;.:/&+|()\[\]{}'\"]+", "", words))
    if not chosen:
        raise _unattempted(exercise)
    if unknown := sorted(chosen - set(letters)):
        raise _VerdictError(TYPE, f"The answer holds {unknown[0]!r}, {expected}.")
    if astray := sorted(chosen - set(exercise.right)):
        why = exercise.wrong[astray[0]]
        lines = (f"Not right yet: ({astray[0]}) does not belong.", why, _hint(exercise))
        return Result(exercise.label, MISTAKE, lines, name=f"({astray[0]})")
    if chosen != set(exercise.right):
        lines = ("Right so far, and not complete.", exercise.missing, _hint(exercise))
        return Result(exercise.label, MISTAKE, lines, name="incomplete")
    return Result(exercise.label, CORRECT, ("Correct.", exercise.used))


def _judge(exercise, answer):
    """Judge a function, a number or an array."""
    found, sink = cases(exercise), Counter()
    function = _as_function(exercise, answer)
    try:
        actual = _run(exercise, function, found, sink)
    except _VerdictError as met:
        raise _known_stop(exercise, function, found, sink, met) from None
    single = any(p.dtype in (np.float32, np.complex64) for parts in actual for p in parts)
    tolerance = max(SINGLE if single else EXACT, _rounding(answer))
    errors = [gap(a, case.expected) for a, case in zip(actual, found, strict=True)]
    if max(errors) <= tolerance:
        count = f" in {len(found)} cases" if len(found) > 1 else ""
        error = f"to {max(errors):.0e}" if max(errors) else "exactly"
        words = f"Correct, {error}{count}{', in float32' * single}."
        if sink.printed:
            words += f" It also printed {sink.printed:,} characters, which are not shown."
        return Result(exercise.label, CORRECT, (words, exercise.used))
    worst = next(i for i, error in enumerate(errors) if error > tolerance)
    shown = counterexample(exercise, found[worst], actual[worst])
    if mistake := recognised(exercise, found, actual, tolerance):
        further = f"Read {mistake.read}." if mistake.read else _hint(exercise)
        lines = (f"A known mistake: {mistake.name}.", shown, mistake.message, further)
        return Result(exercise.label, MISTAKE, tuple(filter(None, lines)), name=mistake.name)
    _refuse_shape(exercise, found[worst], actual[worst])
    good = sum(error <= tolerance for error in errors)
    title = (
        f"Not right, and no mistake of the list explains it. {good} of {len(found)} cases agree."
    )
    if len(found) == 1:
        title = "Not right, and no mistake of the list explains it."
    if all(case.held_out for case, error in zip(found, errors, strict=True) if error > tolerance):
        title = "Right for the first cases, and wrong for others of other sizes."
    size = size_of(max(errors)) if not is_value(exercise) else ""
    lines = (title, shown, size, _hint(exercise))
    return Result(exercise.label, WRONG, tuple(filter(None, lines)))


def _known_stop(exercise, function, found, sink, met):
    """Return what to say of an answer that stopped: a known mistake, if one stops in the same way."""
    if met.status == CRASHED and stopping(exercise):
        mine = [outcome(function, case, sink) for case in found]
        for mistake, theirs in stopping(exercise):
            if all(map(alike, mine, theirs)):
                lines = (f"A known mistake: {mistake.name}.", *met.lines[:2], mistake.message)
                return _VerdictError(MISTAKE, *lines, trace=met.trace, name=mistake.name)
    return met


def _rounding(answer):
    """Return how far a number with three to eight digits may lie from what is meant."""
    if isinstance(answer, np.ndarray) and answer.ndim == 0:
        answer = answer[()]
    if isinstance(answer, bool) or not isinstance(answer, (int, float, np.integer, np.floating)):
        return 0.0
    try:
        number = float(answer)
    except OverflowError:
        return 0.0
    if number == 0 or not np.isfinite(number):
        return 0.0
    short = isinstance(answer, (np.float16, np.float32))  # whose digits are fewer
    digits = Decimal(str(answer if short else number)).normalize().as_tuple()
    few = 3 <= len(digits.digits) <= 8
    return 0.501 * 10.0**digits.exponent / abs(number) if few else 0.0


# Running an answer


def _as_function(exercise, answer):
    """Return the answer as a function, or say what was expected."""
    if answer is ... or answer is None:
        raise _unattempted(exercise)
    wanted = _signature(exercise.reference)
    if is_value(exercise):
        if callable(answer):
            raise _VerdictError(
                TYPE, "The answer is a function, expected its value: a number or an array."
            )
        return lambda: answer
    if not callable(answer):
        raise _VerdictError(
            TYPE, f"The answer is {kind_of(answer)}, expected a function of {wanted}."
        )
    try:
        names = inspect.signature(getattr(answer, "py_func", answer))
    except (TypeError, ValueError):
        return answer
    try:
        names.bind(*cases(exercise)[0].args)
    except TypeError:
        raise _VerdictError(TYPE, f"The function takes {names}, expected {wanted}.") from None
    return answer


def _signature(function):
    """Return the arguments that must be given."""
    known = inspect.signature(getattr(function, "py_func", function)).parameters.items()
    return f"({', '.join(name for name, p in known if p.default is p.empty)})"


def _run(exercise, answer, found, sink):
    """Return the results for all cases, each computed twice, the second time in reverse order.

    What depends on earlier calls or on chance differs between the two.
    """
    first = [_called(exercise, answer, case, sink) for case in found]
    for k in range(len(found) - 1, -1, -1):
        again = _called(exercise, answer, found[k], sink)
        if gap(again, first[k]) > max(EXACT, _loose(again)):
            raise _VerdictError(
                UNSTABLE,
                "The same input gave two different results.",
                described(exercise, found[k]),
                "The result depends on chance, or on something outside that earlier calls changed.",
                "Use the arguments only, and draw nothing at random.",
            )
    return first


def _loose(parts):
    """Return how far sums in another order may differ."""
    return max((100 * np.finfo(p.dtype).eps for p in parts if p.dtype.kind in "fc"), default=0)


def _called(exercise, answer, case, sink):
    """Return the arrays that the answer gives for one case."""
    args = copy.deepcopy(case.args)
    try:
        value = quietly(answer, handed(args), sink)
        value = _arrays(exercise, case, value, answer)
    except _VerdictError:
        raise
    except NotImplementedError:
        raise _unattempted(exercise) from None
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # whatever it is, the reader meets one calm message
        raise _crash(exercise, case, answer, error) from None
    for name, now, then in zip(argument_names(exercise), args, case.args, strict=False):
        if not same(now, then):
            raise _VerdictError(
                CHANGED,
                f"The function changed its input {name}.",
                described(exercise, case),
                "Whoever calls it still needs the old values: work on a copy, or on new arrays.",
            )
    return value


def _arrays(exercise, case, value, answer):
    """Return what an answer returned as arrays, or say why it is not one."""
    if value is ... or (value is None and _empty(answer)):
        raise _unattempted(exercise)
    wanted = "a tuple of arrays" if len(case.expected) > 1 else "numbers"
    said = f"The {'answer is' if is_value(exercise) else 'function returned'} {kind_of(value)}"
    if value is None:
        raise _VerdictError(TYPE, "The function returned nothing: is the `return` missing?")
    if isinstance(value, Iterator):
        raise _VerdictError(
            TYPE,
            f"{said}, expected {wanted}.",
            "It computes nothing until somebody asks: collect what it yields into an array.",
        )
    if len(case.expected) > 1:
        if not isinstance(value, (tuple, list)) or len(value) != len(case.expected):
            raise _VerdictError(TYPE, f"{said}, expected {len(case.expected)} arrays.")
        value = tuple(value)
    elif isinstance(value, tuple):
        value = list(value)
    try:
        parts = as_parts(value)
    except ValueError:
        raise _VerdictError(TYPE, f"{said} whose rows have different lengths.") from None
    for part, right in zip(parts, case.expected, strict=True):
        if part.dtype.kind not in "biufc":
            raise _VerdictError(TYPE, f"{said}, expected {wanted}.")
        if part.dtype.kind == "c" != right.dtype.kind:
            raise _VerdictError(
                TYPE, "The result holds complex numbers, expected real ones: `.real`, `.imag`?"
            )
    return tuple(np.array(part) for part in parts)  # a copy: it may be a view of what changes


def _empty(answer):
    """Return whether a function has no body."""
    code = getattr(getattr(answer, "py_func", answer), "__code__", None)
    return code is not None and not code.co_names and len(code.co_code) <= len(_bare())


@cache
def _bare():
    def nothing():
        """Do nothing."""

    return nothing.__code__.co_code


def _crash(exercise, case, answer, error):
    """Return what to say of an exception: what it was, where, and for which input."""
    code = getattr(inspect.unwrap(getattr(answer, "py_func", answer)), "__code__", None)
    frames = traceback.extract_tb(error.__traceback__)
    mine = [f for f in frames if code is not None and f.filename == code.co_filename]
    what = said(error, 90)
    place = f"In your line {mine[-1].lineno}: `{cut(mine[-1].line or '')}`" if mine else ""
    trace = "".join(traceback.format_exception(error)[:1] + traceback.format_list(mine or frames))
    return _VerdictError(
        CRASHED,
        f"Your code stopped with {what}",
        place,
        described(exercise, case),
        "`check(…, traceback=True)` shows the whole message.",
        trace=trace + "".join(traceback.format_exception_only(error)).rstrip("\n"),
    )


def _refuse_shape(exercise, case, actual):
    """Say which axes the result should have, or that its numbers are of the wrong kind."""
    wanted = groups(exercise.axes.split("->")[1])
    for k, (a, e) in enumerate(zip(actual, case.expected, strict=True)):
        result = f"Result {k + 1}" if len(case.expected) > 1 else "The result"
        if a.shape != e.shape:
            letters = wanted[k].split() if k < len(wanted) else []
            named = f"({', '.join(letters)}{',' * (len(letters) == 1)}) = " if letters else ""
            raise _VerdictError(
                TYPE,
                f"{result} has shape {a.shape}, expected {named}{e.shape}.",
                described(exercise, case),
                _hint(exercise),
            )
        if a.dtype.kind not in "fc" and e.dtype.kind == "f":
            raise _VerdictError(
                TYPE,
                f"{result} holds whole numbers ({a.dtype}), expected numbers with a fraction.",
                described(exercise, case),
                "An array that was made of integers stays one: what is written into it is cut off.",
            )
