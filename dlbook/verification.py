"""Verification: how every later page is checked.

Page: ``book/verification.md``. Builds on nothing.

Sources: Squire & Trapp, SIAM Review 40 (1998) for the complex step; Claerbout, *Earth Soundings
Analysis* (1992) for the dot-product test.

Axes: the functions here take arrays of any shape. Names: x the point, f the function, eps the
step, u and v random directions, se a standard error.
"""

from typing import NamedTuple

import numpy as np

from dlbook.tools import shapes
from dlbook.tools.checks import (
    Record,
    VerificationError,
    claim,
    compare,
    numbers,
    refute,
    verify,
)

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
    "numbers",
    "refute",
    "relative_error",
    "verify",
]

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
    """(verification-error)  max |a_i − t_i| / max |t_i|
    (shape), (shape) -> ()

    `scale` replaces ``max |t_i|`` where the expected value is zero.
    """
    largest = np.max(np.abs(expected)) if scale is None else scale
    return float(np.max(np.abs(actual - expected)) / (largest or 1.0))


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
