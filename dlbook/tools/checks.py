"""Checks: what a page finds out about its equations and its sentences, as records.

`verify` holds a kernel against an independent oracle, `claim` a sentence against an experiment,
`refute` a wrong form against the right one. Each shows its record; Jupyter shows a line, the build
of the book makes marks of it.
"""

import base64
import inspect
import os
import pickle
import sys
from html import escape

import numpy as np

from dlbook.tools import cases, shapes
from dlbook.tools.built import called

__all__ = [
    "MIME",
    "Record",
    "VerificationError",
    "claim",
    "compare",
    "finish",
    "judged",
    "numbers",
    "refute",
    "verify",
]

MIME = "application/vnd.dlbook.verification+json"
_failed = []


class VerificationError(AssertionError):
    """A check of the book does not hold."""


class Record(dict):
    """The result of one check. Jupyter shows it as one line; the book turns it into a mark."""

    def __or__(self, other):
        return Record({**self, **other})

    def __str__(self):
        return self.words() if self["kind"] == "numbers" else f"{self['label']}: {self.words()}"

    def words(self):
        """Return the result as a reader sees it: the equation's number, if it is known, no label."""
        tick = "✓" if self["passed"] else "✗"
        if self["kind"] == "claim":
            return f"{tick} {self['evidence']}"
        if self["kind"] == "numbers":
            return ", ".join(f"{name} = {value}" for name, value in self["values"].items())
        numbers = "1 number" if self["count"] == 1 else f"{self['count']} numbers"
        tick = f"{tick} {called(self['label'], '')}".rstrip()
        return f"{tick} {self['detail']}, {numbers} against {self['oracle']}"

    def _line(self):
        """Return what a notebook shows; a failed check whose number is not known has its label."""
        known = self["passed"] or called(self["label"])
        return self.words() if known else str(self)

    def _repr_mimebundle_(self, include=None, exclude=None):
        text = self._line()
        return {MIME: dict(self), "text/html": f"<p>{escape(text)}</p>", "text/plain": text}

    def _repr_pretty_(self, printer, cycle):
        """Be a sentence in IPython's terminal, which would print a dictionary."""
        printer.text(self._line() if called(self.get("label")) else str(self))


def _unusable(a, e, by, se, scale):
    """Say why two arrays cannot be compared, or return None."""
    if a.dtype.kind not in "biufc" or e.dtype.kind not in "biufc":
        return f"not numbers: dtypes {a.dtype} and {e.dtype}"
    if a.shape != e.shape:
        return f"shapes {a.shape} and {e.shape} differ"
    if a.size == 0:
        return "nothing to compare"
    if not (finite := np.isfinite(a) & np.isfinite(e)).all():
        at = tuple(int(i) for i in np.argwhere(~finite)[0])
        return f"not finite at {at}: got {a[at]}, {by} gives {e[at]}"
    if se is not None and not (np.isfinite(se).all() and np.all(np.asarray(se) > 0)):
        return "a standard error is not a positive number"
    if se is None and scale is None and not np.any(e) and np.any(a):
        return (
            f"the expected value is zero and no scale is given; got up to {np.max(np.abs(a)):.1e}"
        )
    return None


def compare(
    label,
    actual,
    expected,
    by,
    rtol=1e-12,
    *,
    relation="==",
    scale=None,
    se=None,
    sharp=None,
    nan=False,
    name=None,
):
    """Return the `Record` of one comparison, without raising.

    Takes the arguments of `verify`.
    """
    a, e = shapes.array("actual", actual), shapes.array("expected", expected)
    if nan and a.shape == e.shape and (np.isnan(a) == np.isnan(e)).all():
        a, e = (np.where(np.isnan(v), 0, v) for v in (a, e))
    unit = "relative" if se is None else "standard errors"
    record = Record(
        kind="equation",
        label=label,
        oracle=by,
        name=name,
        count=int(a.size),
        tolerance=float(rtol),
        unit=unit,
        relation=relation,
        float32=a.dtype == np.float32,
        error=None,
        elementwise=None,
        sharp=None,
        passed=False,
    )
    if problem := _unusable(a, e, by, se, scale):
        return record | {"detail": problem}
    a, e = np.atleast_1d(a * 1.0), np.atleast_1d(e * 1.0)
    gap = {"==": np.abs(a - e), "<=": np.maximum(a - e, 0), ">=": np.maximum(e - a, 0)}[relation]
    size = np.max(np.abs(e)) if scale is None else scale
    score = gap / (np.broadcast_to(se, a.shape) if se is not None else size or 1.0)
    at = np.unravel_index(np.argmax(score), a.shape)
    error = float(score[at])
    with np.errstate(divide="ignore", invalid="ignore"):
        elementwise = float(np.max(np.where(gap == 0, 0.0, gap / np.abs(e))))
    detail = _in_words(error, unit, relation)
    if error > rtol:
        if se is None and relation == "==":
            detail += " of the largest number" if scale is None else f" of {scale:g}"
        detail += f" > {rtol:g} at {tuple(map(int, at))}: got {a[at]:.9g}, {by} gives {e[at]:.9g}"
    reached = None if sharp is None else _reached(a, e, relation)
    if sharp is not None and error <= rtol:
        detail += f" and is reached up to {reached:.3g}"
        detail += f", which is below {sharp:g}" if reached < sharp else ""
    return record | {
        "error": error,
        "elementwise": elementwise if np.isfinite(elementwise) else None,
        "sharp": reached,
        "passed": error <= rtol and (sharp is None or reached >= sharp),
        "detail": detail,
    }


def _reached(a, e, relation):
    """Return how much of a bound is reached where it is reached best; 1 is all of it."""
    small, large = (a, e) if relation == "<=" else (e, a)
    shares = small[large != 0] / large[large != 0]
    return float(max(shares, default=1.0 if np.array_equal(small, large) else 0.0))


def _in_words(error, unit, relation):
    """Return the measured error as part of a sentence."""
    if unit == "standard errors":
        return f"at most {error:.1f} standard errors away"
    if relation != "==":
        return f"the bound is passed by {error:.0e}" if error else "the bound holds everywhere"
    return f"largest error {error:.0e}" if error else "exactly equal"


def _cell_line():
    """Return the line, within its cell, that asked for the check."""
    frame = sys._getframe(2)
    while frame and frame.f_globals.get("__name__") != "__main__":
        frame = frame.f_back
    return frame.f_lineno if frame else None


def _publish(record):
    """Show the record first and raise afterwards, so that the failing line can be read."""
    record["cell_line"] = _cell_line()
    try:
        from IPython import get_ipython
        from IPython.display import display

        shell = get_ipython()
    except ImportError:
        shell = None
    if shell:
        display(record)
    else:
        print(record)
    if not record["passed"]:
        _failed.append(record)
        if not _collecting():  # the build of the book goes on to the next check
            raise VerificationError(str(record))


def _collecting():
    """Say whether the book is being built, which collects what its pages check."""
    return os.environ.get("DLBOOK_VERIFY") == "collect"


def judged(case):
    """Return the `Record` of a case: the kernel is called, and what it gives compared.

    Parameters
    ----------
    case : dict
        With ``label``, ``kernel``, ``args``, ``expected``, ``by`` and ``options``, as `verify`
        makes it. What the kernel writes to is filled before it is called.
    """
    args, options = case["args"], dict(case["options"])
    written, reject = options.pop("out", ()), options.pop("reject", None)
    for leaf in cases.leaves(tuple(args[at] for at in written)):  # what is forgotten must be seen
        leaf[...] = np.nan if leaf.dtype.kind in "fc" else np.iinfo(leaf.dtype).max // 3
    read = cases.leaves(tuple(arg for at, arg in enumerate(args) if at not in written))
    before = [leaf.tobytes() for leaf in read]
    with np.errstate(all="ignore"):
        found = case["kernel"](*args)
    if written:
        found = tuple(args[at] for at in written) if len(written) > 1 else args[written[0]]
    record = _parts_compared(case, found, options)
    if reject is not None and record["passed"]:
        wrong = compare(case["label"], reject, case["expected"], case["by"], **options)
        record |= _rejected(record, wrong)
    if [leaf.tobytes() for leaf in read] != before:
        record |= {"passed": False, "detail": "the kernel changed an argument it should only read"}
    return record


def _parts_compared(case, found, options):
    """Compare each part of a result with the part expected; None leaves one alone."""
    expected = case["expected"]
    if not isinstance(expected, tuple):
        found, expected = (found,), (expected,)
    if not isinstance(found, (tuple, list)) or len(found) != len(expected):
        found = expected = ([],)  # nothing to compare
    records = [
        compare(case["label"], mine, right, case["by"], **options)
        for mine, right in zip(found, expected, strict=True)
        if right is not None
    ]
    worst = max(records, key=lambda r: (not r["passed"], r["error"] or 0))
    return worst | {"count": sum(r["count"] for r in records)}


def _rejected(record, wrong):
    """Say how far away a wrong form is, which the same check must refuse."""
    if wrong["error"] is None or wrong["passed"]:
        detail = f"{record['detail']}, but the wrong form is accepted too: {wrong['detail']}"
        return {"passed": False, "detail": detail}
    far = f"{wrong['error']:.0f}" if wrong["unit"] == "standard errors" else f"{wrong['error']:.0e}"
    return {"detail": f"{record['detail']}; a wrong form lies {far} away"}


def _case(label, kernel, args, expected, by, options):
    """Return the record of a case, with the case itself for the build of the book."""
    if expected is None:
        raise TypeError(f"{label}: expected is missing; a case is verify(label, kernel, args, …)")
    if "out" in options:  # as places, since an altered version may exchange its parameters
        names = list(inspect.signature(getattr(kernel, "py_func", kernel)).parameters)
        options["out"] = tuple(names.index(name) for name in options["out"])
    args = args if type(args) is tuple else (args,)
    expected = np.array(expected) if isinstance(expected, list) else expected
    case = {
        "label": label,
        "kernel": kernel,
        "args": args,
        "expected": expected,
        "by": by,
        "options": options,
    }
    blob = cases.packed(case)
    record = judged(pickle.loads(blob))  # on copies, so that nothing of the page is changed
    small = cases.tried(case, blob)
    if _collecting():
        record["case"] = {
            "blob": base64.b64encode(blob).decode() if small else None,
            "plain": cases.plain(case),
        }
    return record | {"numbers": cases.size(args, expected), "tried": small}


def verify(
    label,
    kernel,
    args=None,
    expected=None,
    by=None,
    rtol=1e-12,
    *,
    relation="==",
    scale=None,
    se=None,
    reject=None,
    sharp=None,
    out=(),
    nan=False,
    name=None,
):
    """Check a numbered equation against an independent oracle and show the measured error.

    ``verify(label, kernel, args, expected, by=…)`` calls the kernel on copies of its arguments.
    While the book is built, altered versions of the kernel are called too, and must be rejected.
    ``verify(label, actual, expected, by=…)`` compares two arrays, for an identity beside a case.
    The error is max|actual − expected| / max|expected|: one number against one tolerance.

    Parameters
    ----------
    label : str
        Label of the equation, "<chapter>-<slug>".
    kernel : callable
        The function that computes it, or one that calls it.
    args : tuple or object
        Its arguments, or the only one.
    expected : array_like, or tuple of array_like
        What the oracle gives; for a kernel with several results a tuple, in which None leaves one
        of them alone.
    by : str
        The oracle in words, as a reader will see it: "central differences".
    rtol : float
        Largest error accepted; with `se`, the number of standard errors.
    relation : {"==", "<=", ">="}
        "<=" checks a bound, actual ≤ expected.
    scale : float, optional
        Natural size of the numbers, where the expected value is zero.
    se : array_like, optional
        Standard errors of a Monte Carlo estimate; then `reject` must be given.
    reject : array_like, optional
        The value of a wrong form, which the same test must refuse.
    sharp : float, optional
        The share of a bound that must be reached, 1 where it is an equation somewhere.
    out : tuple of str
        The parameters that the kernel writes to: they are compared instead of its result. All
        others must be as they were.
    nan : bool
        Whether NaN is expected where `expected` has it.
    name : str, optional
        What is compared, if one label has several checks: "weights", "biases".

    Raises
    ------
    VerificationError
        If the check fails. While the book is built it is raised at the end of the page.
    TypeError, ValueError
        If the oracle is not named, or a Monte Carlo check has no wrong form to refuse.
    """
    if by is None:
        raise TypeError(f"{label}: by is missing; it names the oracle in words")
    given = {"scale": scale, "se": se, "sharp": sharp, "nan": nan or None, "name": name}
    options = {"rtol": rtol, "relation": relation}
    options |= {key: value for key, value in given.items() if value is not None}
    if callable(kernel):
        options |= {"reject": reject} if reject is not None else {}
        options |= {"out": out} if out else {}
        record = _case(label, kernel, args, expected, by, options)
    else:
        expected = args if expected is None else expected
        record = compare(label, kernel, expected, by, **options)
        if reject is not None and record["passed"]:
            record |= _rejected(record, compare(label, reject, expected, by, **options))
    if se is not None and record["passed"] and reject is None:
        raise ValueError(
            f"{label}: a Monte Carlo check needs reject=, a wrong form that it must refuse"
        )
    _publish(record)


def claim(label, sentence, holds, evidence, *, seeds=None, control):
    """Check a sentence of the prose by an experiment.

    Parameters
    ----------
    label : str
        Label of the claim, "<chapter>-<slug>".
    sentence : str
        The sentence as the page says it, with "…" where a number is filled in.
    holds : bool
        The criterion: the comparison that decides.
    evidence : str
        What was measured, in words and numbers.
    seeds : sequence of int or str
        The seeds of the random draws, five or more; or why one draw is enough.
    control : tuple of (str, bool)
        The control or the alternative, in words, and whether the criterion holds for it. It must
        not.

    Raises
    ------
    VerificationError
        If the criterion does not hold, or holds for the control too. While the book is built it
        is raised at the end of the page.
    """
    words, too = control
    if too:
        evidence = f"{evidence}; but the criterion holds for the control too: {words}"
    _publish(
        Record(
            kind="claim",
            label=label,
            sentence=sentence,
            passed=bool(holds) and not too,
            evidence=str(evidence),
            seeds=seeds if seeds is None or isinstance(seeds, str) else [int(s) for s in seeds],
            control=words,
        )
    )


def numbers(**values):
    """Tell the prose of a page numbers by name; ``{number}`` with a name and a format shows one.

    Parameters
    ----------
    **values : float, int or str
        What a cell computed.
    """
    plain = {
        name: value.item() if isinstance(value, (np.generic, np.ndarray)) else value
        for name, value in values.items()
    }
    for name, value in plain.items():
        if not isinstance(value, (int, float, str)):
            raise TypeError(f"{name} is {type(value).__name__}, expected a number or a string")
    _publish(Record(kind="numbers", label="numbers", passed=True, values=plain))


def refute(label, wrong, expected, by, rtol=1e-7, *, form, mistake=None, source=None):
    """Show that a form which is often printed fails the check which the right form passes.

    Parameters
    ----------
    label : str
        Label of the equation whose wrong form this is.
    wrong, expected : array_like
        What the wrong form gives, and what the oracle gives.
    by, rtol
        As in `verify`.
    form : str
        The wrong form in words.
    mistake : str, optional
        What the exercise on this equation calls the mistake, where there is one.
    source : str, optional
        Where one can read it, or the right form: a work that the page cites, by its key in the
        bibliography, and the place in it after a comma. The book asks for it.
    """
    found = compare(label, wrong, expected, by, rtol)
    compared = found["error"] is not None  # else it fails for another reason than its numbers
    said = "fails as it should, " if compared else "the wrong form was not compared: "
    _publish(
        found
        | {
            "kind": "pitfall",
            "form": form,
            "mistake": mistake,
            "source": source,
            "passed": compared and not found["passed"],
            "detail": f"{'the wrong form passes: ' if found['passed'] else said}{found['detail']}",
        }
    )


def finish():
    """Raise once for all failed checks of a page; the build runs it after the last cell."""
    if _failed:
        raise VerificationError(
            f"{len(_failed)} failed: " + "; ".join(record["label"] for record in _failed)
        )
