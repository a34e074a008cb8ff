"""The data of a penalized fit: centred, weighted, by columns, in units near one."""

from typing import Any, NamedTuple

import numpy as np

from dlbook.fast import coordinate
from dlbook.tools import shapes, units
from dlbook.tools.jit import njit_fast

__all__ = ["Problem", "centre", "centred", "moments_of"]

EPS = np.finfo(np.float64).eps
SAFE = 1e-6  # of the largest eigenvalue: the least strength for which eigenvectors will do


@njit_fast
def centre(X, s, A, mean):
    """A_pn = √s_n (X_np − mean_p), with the mean under the weights s
    (n p), (n) -> (p n), (p)

    Distances to the first row are averaged, so that a constant column becomes exactly zero.
    """
    (N, P), total = X.shape, 0.0
    mean[:] = 0
    for n in range(N):
        total += s[n]
        for p in range(P):
            mean[p] += s[n] * (X[n, p] - X[0, p])
    for p in range(P):
        mean[p] /= total
    for first in range(0, N, 8):  # eight rows at a time: columns are written by cache lines
        last = min(N, first + 8)
        for p in range(P):
            for n in range(first, last):
                A[p, n] = np.sqrt(s[n]) * ((X[n, p] - X[0, p]) - mean[p])
    for p in range(P):
        mean[p] += X[0, p]


@njit_fast
def moments_of(A, y):
    """Σ_n A_pn² and Σ_n A_pn y_n, in one pass
    (p n), (n) -> (p), (p)
    """
    P = A.shape[0]
    squares, moments = np.empty(P), np.empty(P)
    for p in range(P):
        a, square, moment = A[p], 0.0, 0.0
        for n in range(a.size):
            square += a[n] * a[n]
            moment += a[n] * y[n]
        squares[p], moments[p] = square, moment
    return squares, moments


class Problem(NamedTuple):
    """Centred columns and responses in units near one."""

    A: np.ndarray  # (p n) √s_n (X_np − mean_p)
    y: np.ndarray  # (n)
    squares: np.ndarray  # (p)
    moments: np.ndarray  # (p)
    share: np.ndarray  # (n) the part of an example in the means; zero without a bias
    mean: np.ndarray  # (p)
    y_mean: float
    unit: int  # of the columns, and …
    y_unit: int  # … of the responses, as exponents of two
    dtype: Any

    def finished(self, w):
        """Return weights and biases in the units and the dtype of the data."""
        with np.errstate(over="ignore", invalid="ignore"):
            w = np.ldexp(w, self.y_unit - self.unit)
            b = self.y_mean - w @ self.mean
        if not (np.isfinite(w).all() and np.isfinite(b).all()):
            raise ValueError("X is so small beside y that the weights overflow: rescale it")
        return w.astype(self.dtype), np.asarray(b).astype(self.dtype)

    def measured(self, strength, power):
        """Return strengths that stand beside λ ‖w‖^power in the units of the problem."""
        return np.ldexp(strength, (power - 2) * self.y_unit - power * self.unit)

    def squared(self, *parts):
        """Return squares of responses, such as costs, in the units of the data."""
        with np.errstate(over="ignore"):
            return [np.ldexp(part, 2 * self.y_unit) for part in parts]

    def descended(self, l1, l2, tolerance, share, steps):
        """Return weights, costs, gaps and sweeps, and what part of l1 is violated if that is late.

        The strengths are those of `measured`; a negative share of y² asks for no gap.
        """
        size, W = self.y @ self.y, np.empty((len(l1), len(self.A)))
        rounding = 10 * EPS * np.sqrt(self.squares.max() * size)
        least = np.maximum(tolerance * l1, rounding)
        many = len(l1) >= 8 and len(self.A) <= len(self.y)  # products of columns pay
        descend = coordinate.path_by_products if many else coordinate.descend_path
        given = self.A, self.y, l1, l2, self.squares, self.moments
        cost, gaps, worst, done = descend(*given, share * size, least, steps, W)
        late = (worst > least) & (gaps > share * size)
        return W, cost, gaps, done, np.where(late, worst / l1, 0.0)

    def singular(self):
        """Return U, d and V, without the directions that are rounding."""
        U, d, Vt = np.linalg.svd(self.A.T, full_matrices=False)
        keep = d > max(self.A.shape) * EPS * d[0] if d[0] > 0 else d > 0
        return U[:, keep], d[keep], Vt[keep].T

    def directions(self, least):
        """Return U, d and V for strengths from `least` on, where that is safe by eigenvectors.

        The smaller of XᵀX and XXᵀ costs less to decompose than X and loses twice the digits.
        What is lost lies in directions that a strength above `SAFE` switches off.
        """
        P, N = self.A.shape
        lam, Q = np.linalg.eigh(self.A.T @ self.A if P > N else self.A @ self.A.T)
        if not least > SAFE * lam[-1] > 0:
            return self.singular()
        keep = lam > 4 * EPS * lam[-1]
        d, Q = np.sqrt(lam[keep]), Q[:, keep]
        return (Q, d, self.A @ Q / d) if P > N else (self.A.T @ Q / d, d, Q)


def centred(X, y, weights, intercept):
    """Check the data of a fit; return it centred, weighted and by columns."""
    axes, X = shapes.Axes(), shapes.array("X", X)
    if X.ndim == 2 and X.flags.f_contiguous:
        X = axes.floats("X", X.T, "p n", finite=False).T  # nothing is copied
    else:
        X = axes.floats("X", X, "n p", finite=False)
    y = axes.floats("y", y, "n")
    dtype, N, P = np.result_type(X, y), axes["n"], axes["p"]
    s = _row_weights(axes, weights)
    if not isinstance(intercept, (bool, np.bool_)):
        raise TypeError(f"intercept is {shapes.shown(intercept)}, expected True or False")
    mean, y_mean, share = np.zeros(P), 0.0, np.zeros(N)
    rows, b = X.astype(np.float64, copy=False), y.astype(np.float64)
    if intercept:
        A, share = np.empty((P, N)), s / s.sum()
        centre(np.ascontiguousarray(rows), s, A, mean)
        y_mean = float(b[0] + share @ (b - b[0]))
    elif weights is not None:
        A = np.ascontiguousarray(rows.T) * np.sqrt(s)
    else:
        A = np.ascontiguousarray(rows.T)
    b = np.sqrt(s) * (b - y_mean)
    return _in_units(X, A, b, share, mean, y_mean, dtype)


def _row_weights(axes, weights):
    """Return the weights of the examples as float64; 1 for each where none are given."""
    if weights is None:
        return np.ones(axes["n"])
    s = axes.floats("weights", weights, "n").astype(np.float64)
    if s.min() < 0 or not s.any():
        raise ValueError(
            f"weights go from {s.min():g} to {s.max():g}, expected 0 or more, not all 0"
        )
    return s


def _in_units(X, A, y, share, mean, y_mean, dtype):
    """Return the problem with other units where squares would overflow or vanish."""
    squares, moments = moments_of(A, y)
    unit = y_unit = 0
    with np.errstate(over="ignore", invalid="ignore"):
        sizes = squares.max(), y @ y
    if not all(size == 0 or 1e-100 < size < 1e100 for size in sizes):
        shapes.Axes().floats("X", X, "n p")  # says where a NaN is
        if not (np.isfinite(A).all() and np.isfinite(y).all()):
            raise ValueError("X or y is so large that differences overflow: rescale it")
        unit, y_unit = int(units.powers(A)), int(units.powers(y))
        A, y = np.ldexp(A, -unit), np.ldexp(y, -y_unit)
        squares, moments = moments_of(A, y)
    return Problem(A, y, squares, moments, share, mean, y_mean, unit, y_unit, dtype)
