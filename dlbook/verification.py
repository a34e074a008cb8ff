"""Verification: how every later page is checked.

Page: ``book/verification.md``. Builds on nothing.

Sources: Squire & Trapp, SIAM Review 40 (1998) for the complex step; Claerbout, *Earth Soundings
Analysis* (1992) for the dot-product test.

Axes: the functions here take arrays of any shape. Names: x the point, f the function, eps the
step, u and v random directions, se a standard error.
"""

import os
import sys
from html import escape
from typing import NamedTuple

import numpy as np

from dlbook.tools import shapes
from dlbook.tools.built import called

__all__ = [
    "Estimate",
    "Record",
    "VerificationError",
    "adjoint_gap",
    "best_step",
    "central_differences",
    "central_error",
    "check_gradient",
    "claim",
    "compare",
    "complex_step",
    "forward_differences",
    "monte_carlo",
    "refute",
    "relative_error",
    "verify",
]

MIME = "application/vnd.dlbook.verification+json"
_failed = []


# Oracles: derivatives without differentiating


def _point(x, eps):
    """Return the point as a float64 array; a step must be positive."""
    shapes.number("eps", eps, above=0)
    return shapes.Axes().floats("x", x, None).astype(np.float64)


def _each_entry(difference, x):
    """Fill an array of shape (shape of f) + (shape of x), one entry of x at a time."""
    columns = [np.asarray(difference(at)) for at in np.ndindex(x.shape)]
    return np.moveaxis(np.array(columns), 0, -1).reshape(columns[0].shape + x.shape)


def _nudged(x, at, step):
    """Return a copy of x with one entry moved."""
    moved = np.array(x, dtype=np.result_type(np.float64, type(step)))
    moved[at] += step
    return moved


def forward_differences(f, x, eps=1e-8):
    """(verification-forward)  ∂f/∂x_i ≈ (f(x + ε e_i) − f(x)) / ε
    (shape) -> (shape of f, shape)

    Parameters
    ----------
    f : callable
        Takes an array of the shape of `x`, returns a number or an array.
    x : ndarray of float64
        The point.
    eps : float
        The step ε.
    """
    x = _point(x, eps)
    fx = f(x)
    return _each_entry(lambda at: (f(_nudged(x, at, eps)) - fx) / eps, x)


def central_differences(f, x, eps=1e-5):
    """(verification-central)  ∂f/∂x_i ≈ (f(x + ε e_i) − f(x − ε e_i)) / 2ε
    (shape) -> (shape of f, shape)

    Parameters
    ----------
    f : callable
        Takes an array of the shape of `x`, returns a number or an array.
    x : ndarray of float64
        The point.
    eps : float
        The step ε. Its best value lies near (3u)^(1/3) ≈ 7e-6 for functions of order one.
    """
    x = _point(x, eps)
    up, down = (lambda at, h=h: f(_nudged(x, at, h)) for h in (eps, -eps))
    return _each_entry(lambda at: (up(at) - down(at)) / (2 * eps), x)


def complex_step(f, x, eps=1e-30):
    """(verification-complex-step)  ∂f/∂x_i ≈ Im f(x + iε e_i) / ε
    (shape) -> (shape of f, shape)

    Exact to rounding for an analytic f: there is no difference, so nothing cancels.

    Parameters
    ----------
    f : callable
        Takes a complex array of the shape of `x`. It must be analytic: no ``abs``, ``max``,
        conjugate or comparison on its way from `x` to the result.
    x : ndarray of float64
        The point.
    eps : float
        The step ε, as small as you like.

    Raises
    ------
    TypeError
        If f returns real numbers, because the imaginary part was lost on the way.
    """

    x = _point(x, eps)

    def difference(at):
        value = np.asarray(f(_nudged(x, at, eps * 1j)))
        if value.dtype.kind != "c":
            raise TypeError("f dropped the imaginary part: not analytic")
        return value.imag / eps

    return _each_entry(difference, x)


def central_error(eps, f, f3, u=2.0**-53):
    """(verification-central-error)  error ≤ ε² M₃/6 + u M₀/ε,  M = max on [x−ε, x+ε]"""
    return eps**2 * np.abs(f3) / 6 + u * np.abs(f) / eps


def best_step(f, f3, u=2.0**-53):
    """(verification-best-step)  ε* = (3 u M₀ / M₃)^(1/3), where the bound is smallest"""
    return (3 * u * np.abs(f) / np.abs(f3)) ** (1 / 3)


def adjoint_gap(forward, adjoint, x, y):
    """(verification-adjoint)  |⟨A x, y⟩ − ⟨x, Aᵀ y⟩| / (‖A x‖ ‖y‖)
    (x shape), (y shape) -> ()

    Parameters
    ----------
    forward, adjoint : callable
        The linear map x ↦ A x and the map y ↦ Aᵀ y that claims to be its adjoint.
    x, y : ndarray
        Random arrays in the domain and in the range.
    """
    image, back = forward(x), adjoint(y)
    size = np.linalg.norm(image) * np.linalg.norm(y)
    return abs(np.vdot(image, y) - np.vdot(x, back)) / size


class Estimate(NamedTuple):
    """A Monte Carlo estimate with its standard error."""

    mean: np.ndarray  # average over the draws
    se: np.ndarray  # standard error of that average
    n: int  # number of draws


def monte_carlo(draws):
    """(verification-monte-carlo)  mean = Σ_r z_r / R,  se = √(Σ_r (z_r − mean)² / (R (R−1)))
    (r …) -> (…)

    Parameters
    ----------
    draws : ndarray, shape (r, …)
        Independent draws of the quantity whose expectation is wanted, one per row.
    """
    axes = shapes.Axes()
    draws = axes.floats("draws", draws, None, finite=False, empty=True)
    if draws.ndim == 0 or len(draws) < 2:
        raise ValueError(f"draws is {draws.shape}, expected 2 rows or more")
    draws, R = draws.astype(np.float64), len(draws)
    se = draws.std(axis=0, ddof=1) / np.sqrt(R)
    return Estimate(draws.mean(axis=0), se, R)


def relative_error(actual, expected, scale=None):
    """(verification-error)  max |a_i − e_i| / max |e_i|
    (shape), (shape) -> ()

    `scale` replaces ``max |e_i|`` where the expected value is zero.
    """
    largest = np.max(np.abs(expected)) if scale is None else scale
    return float(np.max(np.abs(actual - expected)) / (largest or 1.0))


# Records: what a check found


class VerificationError(AssertionError):
    """A check of the book does not hold."""


class Record(dict):
    """The result of one check. Jupyter shows it as one line; the book turns it into a mark."""

    def __or__(self, other):
        return Record({**self, **other})

    def __str__(self):
        return f"{self['label']}: {self.words()}"

    def words(self):
        """Return the result as a reader sees it: the equation's number, if it is known, no label."""
        tick = "✓" if self["passed"] else "✗"
        if self["kind"] == "claim":
            return f"{tick} {self['evidence']}"
        numbers = "1 number" if self["count"] == 1 else f"{self['count']} numbers"
        tick = f"{tick} {called(self['label'], '')}".rstrip()
        return f"{tick} {self['detail']}, {numbers} against {self['oracle']}"

    def _line(self):
        """Return what a notebook shows; a failed check whose number is not known has its label."""
        return self.words() if self["passed"] or called(self["label"]) else str(self)

    def _repr_mimebundle_(self, include=None, exclude=None):
        text = self._line()
        return {MIME: dict(self), "text/html": f"<p>{escape(text)}</p>", "text/plain": text}

    def _repr_pretty_(self, printer, cycle):
        """Be a sentence in IPython's terminal, which would print a dictionary."""
        printer.text(self._line() if called(self["label"]) else str(self))


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
    label, actual, expected, by, rtol=1e-12, *, relation="==", scale=None, se=None, name=None
):
    """Return the `Record` of one comparison, without raising.

    Takes the arguments of `verify`.
    """
    a, e = shapes.array("actual", actual), shapes.array("expected", expected)
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
        detail += f" > {rtol:g} at {tuple(map(int, at))}: got {a[at]:.9g}, {by} gives {e[at]:.9g}"
    return record | {
        "error": error,
        "elementwise": elementwise if np.isfinite(elementwise) else None,
        "passed": error <= rtol,
        "detail": detail,
    }


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
        if (
            os.environ.get("DLBOOK_VERIFY") != "collect"
        ):  # the build of the book goes on to the next check
            raise VerificationError(str(record))


def verify(
    label,
    actual,
    expected,
    by,
    rtol=1e-12,
    *,
    relation="==",
    scale=None,
    se=None,
    reject=None,
    name=None,
):
    """Check a numbered equation against an independent oracle and show the measured error.

    The error is max|actual − expected| / max|expected|: one number against one tolerance.

    Parameters
    ----------
    label : str
        Label of the equation, "<chapter>-<slug>".
    actual, expected : array_like of one shape
        What the kernel gives, and what the oracle gives.
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
    name : str, optional
        What is compared, if one label has several checks: "weights", "biases".

    Raises
    ------
    VerificationError
        If the check fails. While the book is built it is raised at the end of the page.
    """
    record = compare(
        label, actual, expected, by, rtol, relation=relation, scale=scale, se=se, name=name
    )
    if se is not None and record["passed"]:
        if reject is None:
            raise ValueError(
                f"{label}: a Monte Carlo check needs reject=, a wrong form that it must refuse"
            )
        wrong = compare(label, reject, expected, by, rtol, se=se)
        if wrong["error"] is None or wrong["passed"]:
            record.update(
                passed=False,
                detail=f"{record['detail']}, but the wrong form is accepted too: {wrong['detail']}",
            )
        else:
            record["detail"] += f"; a wrong form lies {wrong['error']:.0f} away"
    _publish(record)


def claim(label, holds, evidence):
    """Check a sentence of the prose by an experiment.

    Parameters
    ----------
    label : str
        Label of the claim, "<chapter>-<slug>".
    holds : bool
        The comparison that decides.
    evidence : str
        What was measured, in words and numbers.
    """
    _publish(Record(kind="claim", label=label, passed=bool(holds), evidence=str(evidence)))


def refute(label, wrong, expected, by, rtol=1e-7, *, form):
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
    """
    found = compare(label, wrong, expected, by, rtol)
    _publish(
        found
        | {
            "kind": "pitfall",
            "form": form,
            "passed": not found["passed"],
            "detail": f"fails as it should, {found['detail']}"
            if not found["passed"]
            else f"the wrong form passes: {found['detail']}",
        }
    )


def check_gradient(f, gradient, x, rtol=1e-7, eps=1e-5):
    """Compare a gradient with central differences and return the largest error.

    Parameters
    ----------
    f : callable
        The function; takes an array, returns a number.
    gradient : callable or ndarray
        Its gradient at `x`, or the function that computes it.
    x : array_like
        The point; converted to float64.
    rtol : float
        Largest relative error accepted.
    eps : float
        Step of the central differences.

    Returns
    -------
    float
        max|gradient − differences| / max|differences|.

    Raises
    ------
    VerificationError
        If the error is above `rtol`; the message names the worst entry.

    Examples
    --------
    >>> x = np.array([1.0, 2.0])
    >>> check_gradient(lambda x: (x**3).sum(), lambda x: 3 * x**2, x) < 1e-9
    True
    """
    shapes.number("rtol", rtol, above=0)
    x = _point(x, eps)
    given = gradient(x) if callable(gradient) else gradient
    record = compare("gradient", given, central_differences(f, x, eps), "central differences", rtol)
    if not record["passed"]:
        raise VerificationError(str(record))
    return record["error"]


def finish():
    """Raise once for all failed checks of a page; the build runs it after the last cell."""
    if _failed:
        raise VerificationError(
            f"{len(_failed)} failed: " + "; ".join(record["label"] for record in _failed)
        )
