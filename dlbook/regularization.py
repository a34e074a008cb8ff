"""Regularization: ridge, lasso, elastic net, noise, dropout, early stopping, and how to choose.

Page: ``book/regularization.md``. Builds on linear regression.

Sources: Hoerl and Kennard, Technometrics 12 (1970) for ridge regression; Tibshirani, J. R. Stat.
Soc. B 58 (1996) for the lasso; Zou and Hastie, J. R. Stat. Soc. B 67 (2005) for the elastic net;
Beck and Teboulle, SIAM J. Imaging Sci. 2 (2009) for FISTA; Friedman, Hastie and Tibshirani, J.
Stat. Softw. 33 (2010) for coordinate descent; Ndiaye et al., JMLR 18 (2017) for safe screening.

Axes: n examples, p and q inputs, k singular directions or strengths, f folds; N, P, K and F are
their counts.

Names: X the inputs (n p), without a column of ones; y the responses (n); w the weights (p) and b
the bias, which no penalty touches: kernels have none, since it is gone where columns and y have
mean zero. e the residuals (n); l1 and l2 the strengths λ₁ and λ₂ of λ₁ ‖w‖₁ + λ₂/2 ‖w‖², added to
half the sum of squares; U, d, V the singular values and vectors of X; L a bound of the curvature;
rate the step size η on half the sum of squares.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from dlbook.fast.columns import centred
from dlbook.linear_regression import (
    cholesky,
    gram,
    moments,
    residuals,
    rss,
    solve_lower,
    solve_upper,
)
from dlbook.tools import shapes
from dlbook.tools.jit import njit
from dlbook.tools.paths import Path, RidgePath, SparsePath

__all__ = [
    "Fit",
    "coordinate_sweep",
    "degrees_of_freedom",
    "dropout_cost",
    "duality_gap",
    "elastic_net",
    "elastic_net_cost",
    "elastic_net_path",
    "fista",
    "fista_bound",
    "fista_step",
    "ista",
    "ista_bound",
    "k_fold_error",
    "kkt_violation",
    "largest_l1",
    "lasso",
    "lasso_cost",
    "leave_one_out",
    "matching_shrinkage",
    "noise_cost",
    "pca_path",
    "pca_solution",
    "predict",
    "proximal_step",
    "ridge",
    "ridge_by_svd",
    "ridge_cost",
    "ridge_error",
    "ridge_path",
    "ridge_solution",
    "safe_bound",
    "shrinkage",
    "soft_threshold",
    "squared_length",
    "stopped_path",
    "stopping_factor",
    "sweep_matrix",
    "zeroing_l1",
]


# Ridge regression


@njit
def ridge_cost(X, y, w, l2):
    """(regularization-ridge-cost)  ½ Σ_n (y_n − Σ_p X_np w_p)² + λ/2 Σ_p w_p²
    (n p), (n), (p), () -> ()
    """
    return rss(X, y, w) / 2 + l2 / 2 * np.sum(w * w)


@njit
def ridge_solution(X, y, l2):
    """(regularization-ridge)  Σ_q (Σ_n X_np X_nq + λ [p = q]) w_q = Σ_n X_np y_n
    (n p), (n), () -> (p)
    """
    A = gram(X)
    for p in range(len(A)):
        A[p, p] += l2
    L = cholesky(A)
    return solve_upper(L.T, solve_lower(L, moments(X, y)))


@njit
def shrinkage(d, l2):
    """(regularization-ridge-shrinkage)  f_k = d_k² / (d_k² + λ)
    (k), () -> (k)
    """
    f = np.empty_like(d)
    for k in range(len(d)):
        f[k] = d[k] * d[k] / (d[k] * d[k] + l2)
    return f


@njit
def ridge_by_svd(U, d, V, y, l2):
    """(regularization-ridge-svd)  w_p = Σ_k V_pk f_k / d_k Σ_n U_nk y_n
    (n k), (k), (p k), (n), () -> (p)
    """
    P, K = V.shape
    c = moments(U, y)
    f = shrinkage(d, l2)
    w = np.zeros(P, y.dtype)
    for p in range(P):
        for k in range(K):
            w[p] += V[p, k] * f[k] / d[k] * c[k]
    return w


@njit
def squared_length(d, c, l2):
    """(regularization-ridge-constraint)  R(λ) = Σ_k (d_k c_k / (d_k² + λ))²
    (k), (k), () -> ()
    """
    total = 0.0
    for k in range(len(d)):
        total += (d[k] * c[k] / (d[k] * d[k] + l2)) ** 2
    return total


@njit
def degrees_of_freedom(d, l2):
    """(regularization-degrees-of-freedom)  df(λ) = Σ_k d_k² / (d_k² + λ)
    (k), () -> ()
    """
    total = 0.0
    for f in shrinkage(d, l2):
        total += f
    return total


@njit
def ridge_error(d, a, x, l2, variance):
    """(regularization-bias-variance)
    bias² = (Σ_k x_k a_k λ / (d_k² + λ))²,
    variance = σ² Σ_k (x_k d_k / (d_k² + λ))²
    (k), (k), (k), (), () -> (), ()
    """
    bias, spread = 0.0, 0.0
    for k in range(len(d)):
        bias += x[k] * a[k] * l2 / (d[k] * d[k] + l2)
        spread += variance * (x[k] * d[k] / (d[k] * d[k] + l2)) ** 2
    return bias * bias, spread


# Choosing the strength


@njit(whole="fold")
def k_fold_error(X, y, fold, F, l2):
    """(regularization-k-fold)  1/N Σ_f Σ_{n in f} (y_n − Σ_p X_np w_p^(not f))²
    (n p), (n), (n), (), () -> ()
    """
    total = 0.0
    for f in range(F):
        inside, rest = fold == f, fold != f
        w = ridge_solution(X[rest], y[rest], l2)
        total += rss(X[inside], y[inside], w)
    return total / len(y)


@njit
def leave_one_out(U, d, y, l2):
    """(regularization-leave-one-out)
    e_n / (1 − h_n),  e_n = y_n − Σ_k U_nk f_k c_k,  h_n = Σ_k U_nk² f_k
    (n k), (k), (n), () -> (n)
    """
    N, K = U.shape
    c, f, left = moments(U, y), shrinkage(d, l2), np.empty_like(y)
    for n in range(N):
        e, h = y[n], 0.0
        for k in range(K):
            e -= U[n, k] * f[k] * c[k]
            h += U[n, k] * U[n, k] * f[k]
        left[n] = e / (1 - h)
    return left


# The lasso and the elastic net


@njit
def lasso_cost(X, y, w, l1):
    """(regularization-lasso)  ½ Σ_n (y_n − Σ_p X_np w_p)² + λ Σ_p |w_p|
    (n p), (n), (p), () -> ()
    """
    return rss(X, y, w) / 2 + l1 * np.sum(np.abs(w))


@njit
def elastic_net_cost(X, y, w, l1, l2):
    """(regularization-elastic-net)
    ½ Σ_n (y_n − Σ_p X_np w_p)² + λ₁ Σ_p |w_p| + λ₂/2 Σ_p w_p²
    (n p), (n), (p), (), () -> ()
    """
    return lasso_cost(X, y, w, l1) + l2 / 2 * np.sum(w * w)


@njit
def soft_threshold(z, l1):
    """(regularization-soft-threshold)  S(z_p, λ) = sign(z_p) max(|z_p| − λ, 0)
    (p), () -> (p)
    """
    s = np.zeros_like(z)
    for p in range(len(z)):
        if z[p] > l1:
            s[p] = z[p] - l1
        elif z[p] < -l1:
            s[p] = z[p] + l1
    return s


@njit
def coordinate_sweep(X, y, w, l1, l2):
    """(regularization-coordinate)
    w_p ← S(Σ_n X_np e_n + w_p Σ_n X_np², λ₁) / (Σ_n X_np² + λ₂), p by p
    (n p), (n), (p), (), () -> (p)
    """
    N, P = X.shape
    w, e = w.copy(), residuals(X, y, w)
    for p in range(P):
        square = np.sum(X[:, p] * X[:, p])
        z = np.sum(X[:, p] * e) + square * w[p]
        new = np.sign(z) * max(abs(z) - l1, 0) / (square + l2)
        for n in range(N):
            e[n] -= X[n, p] * (new - w[p])
        w[p] = new
    return w


@njit
def kkt_violation(X, y, w, l1, l2):
    """(regularization-lasso-kkt)  |g_p − λ₁ sign(w_p)| where w_p ≠ 0, else
    max(|g_p| − λ₁, 0),  g_p = Σ_n X_np e_n − λ₂ w_p
    (n p), (n), (p), (), () -> (p)
    """
    g = moments(X, residuals(X, y, w)) - l2 * w
    off = np.empty_like(g)
    for p in range(len(w)):
        if w[p] > 0:
            off[p] = abs(g[p] - l1)
        elif w[p] < 0:
            off[p] = abs(g[p] + l1)
        else:
            off[p] = max(abs(g[p]) - l1, 0)
    return off


@njit
def duality_gap(X, y, w, l1, l2):
    """(regularization-duality-gap)  C(w) − s Σ_n y_n e_n + s²/2 (Σ_n e_n² + λ₂ Σ_p w_p²),
    s = min(1, λ₁ / max_p |g_p|),  g_p = Σ_n X_np e_n − λ₂ w_p
    (n p), (n), (p), (), () -> ()
    """
    e = residuals(X, y, w)
    largest = np.max(np.abs(moments(X, e) - l2 * w))
    s = l1 / largest if largest > l1 else 1.0
    size = np.sum(e * e) + l2 * np.sum(w * w)
    low = s * np.sum(y * e) - s * s / 2 * size
    return elastic_net_cost(X, y, w, l1, l2) - low


@njit
def safe_bound(X, y, w, l1, l2):
    """(regularization-gap-safe)  |g_p| ≤ s |g_p| + √(2 gap) √(Σ_n X_np² + λ₂) at w*,
    with s and g_p of the gap; where this is below λ₁, w*_p = 0
    (n p), (n), (p), (), () -> (p)
    """
    radius = np.sqrt(2 * max(duality_gap(X, y, w, l1, l2), 0))
    g = np.abs(moments(X, residuals(X, y, w)) - l2 * w)
    s = l1 / np.max(g) if np.max(g) > l1 else 1.0
    bound = s * g
    for p in range(len(w)):
        size = np.sqrt(np.sum(X[:, p] * X[:, p]) + l2)
        bound[p] += radius * size
    return bound


@njit
def zeroing_l1(X, y):
    """(regularization-largest-l1)  λ_max = max_p |Σ_n X_np y_n|
    (n p), (n) -> ()
    """
    return np.max(np.abs(moments(X, y)))


@njit
def proximal_step(X, y, w, l1, l2, L):
    """(regularization-ista)  w_p ← S(w_p + g_p / L, λ₁ / L),  g_p = Σ_n X_np e_n − λ₂ w_p
    (n p), (n), (p), (), (), () -> (p)
    """
    g = moments(X, residuals(X, y, w)) - l2 * w
    return soft_threshold(w + g / L, l1 / L)


@njit
def fista_step(X, y, w, before, t, l1, l2, L):
    """(regularization-fista)  u = (1 + √(1 + 4t²)) / 2,
    w_p ← the step from v_p = w_p + (t − 1)/u (w_p − before_p), and u
    (n p), (n), (p), (p), (), (), (), () -> (p), ()
    """
    u = (1 + np.sqrt(1 + 4 * t * t)) / 2
    v = w + (t - 1) / u * (w - before)
    return proximal_step(X, y, v, l1, l2, L), u


@njit
def ista_bound(L, square, steps):
    """(regularization-ista-rate)  C(w_t) − C(w*) ≤ L ‖w_0 − w*‖² / (4t)
    (), (), () -> ()
    """
    return L * square / (4 * steps)


@njit
def fista_bound(L, square, steps):
    """(regularization-fista-rate)  C(w_t) − C(w*) ≤ 2 L ‖w_0 − w*‖² / (t + 1)²
    (), (), () -> ()
    """
    return 2 * L * square / (steps + 1) ** 2


@njit
def sweep_matrix(A):
    """(regularization-coordinate-rate)  M_pq = [p = q] − (T⁻¹ A)_pq,  T_pq = A_pq [q ≤ p]
    (p p) -> (p p)
    """
    M = np.eye(len(A)).astype(A.dtype)
    for q in range(len(A)):
        x = solve_lower(A, A[:, q].copy())
        for p in range(len(A)):
            M[p, q] -= x[p]
    return M


# Fewer directions, fewer steps, noise


@njit
def pca_solution(U, d, V, y, K):
    """(regularization-pca-regression)  w_p = Σ_{k<K} V_pk / d_k Σ_n U_nk y_n
    (n k), (k), (p k), (n), () -> (p)
    """
    c, w = moments(U, y), np.zeros(len(V), y.dtype)
    for p in range(len(V)):
        for k in range(K):
            w[p] += V[p, k] / d[k] * c[k]
    return w


@njit
def stopping_factor(d, rate, t):
    """(regularization-early-stopping)  f_k = 1 − (1 − η d_k²)^t
    (k), (), () -> (k)
    """
    f = np.empty_like(d)
    for k in range(len(d)):
        f[k] = 1 - (1 - rate * d[k] * d[k]) ** t
    return f


@njit
def matching_shrinkage(d, rate, t):
    """(regularization-early-stopping-l2)  r_k = d_k² / (d_k² + 1/(ηt)),  r_k ≤ f_k ≤ 2 r_k
    (k), (), () -> (k)
    """
    return shrinkage(d, 1 / (rate * t))


@njit
def noise_cost(X, y, w, sigma):
    """(regularization-noise-as-l2)
    E Σ_n (y_n − Σ_p (X_np + σ ε_np) w_p)² = RSS + N σ² Σ_p w_p²
    (n p), (n), (p), () -> ()
    """
    return rss(X, y, w) + len(y) * sigma * sigma * np.sum(w * w)


@njit
def dropout_cost(X, y, w, drop):
    """(regularization-input-dropout)
    E Σ_n (y_n − Σ_p m_np X_np w_p / (1 − π))²
    = RSS + π/(1 − π) Σ_p w_p² Σ_n X_np²
    (n p), (n), (p), () -> ()
    """
    total = rss(X, y, w)
    for p in range(len(w)):
        total += drop / (1 - drop) * w[p] * w[p] * np.sum(X[:, p] * X[:, p])
    return total


# What comes in


class Fit(NamedTuple):
    """Weights and a bias."""

    w: np.ndarray  # (p) weights
    b: np.ndarray  # () bias
    cost: float  # half the weighted sum of squares, and the penalty
    gap: float  # what the cost is above its minimum at most; 0 where a formula gave the weights
    steps: int  # sweeps over weights; 0 where a formula gave them


def _strengths(name, values, least=0.0):
    """Return strengths above zero, one or several."""
    values = shapes.Axes().floats(name, np.atleast_1d(values), "k").astype(np.float64)
    if values.min() <= least:
        raise ValueError(f"{name} holds {values.min():g}, expected strengths > {least:g}")
    return values


# Ridge regression and principal components


def ridge(
    X: ArrayLike,
    y: ArrayLike,
    l2: float,
    *,
    weights: ArrayLike | None = None,
    intercept: bool = True,
) -> Fit:
    """Minimise ½ Σ_n s_n (y_n − w·x_n − b)² + λ/2 ‖w‖².

    scikit-learn's ``Ridge`` minimises the same with ``alpha = l2``.

    Parameters
    ----------
    X, y : array_like, shapes (n, p) and (n,)
        Inputs, without a column of ones, and responses.
    l2 : float
        Strength λ > 0.
    weights : array_like, shape (n,), optional
        How much each example counts, s_n ≥ 0; 1 otherwise.
    intercept : bool
        Whether there is a bias b; it is not penalised.

    Raises
    ------
    TypeError, ValueError
        For inputs that are not finite or do not fit, weights below zero, or l2 ≤ 0.
    """
    l2 = shapes.number("l2", l2, above=0)
    path = ridge_path(X, y, [l2], weights=weights, intercept=intercept)
    return Fit(path.w[0], path.b[0], float(path.cost[0]), 0.0, 0)


def ridge_path(
    X: ArrayLike,
    y: ArrayLike,
    l2: ArrayLike,
    *,
    weights: ArrayLike | None = None,
    intercept: bool = True,
) -> RidgePath:
    """Return ridge regressions for several strengths, from one decomposition of the columns.

    Parameters
    ----------
    X, y, weights, intercept
        As in `ridge`.
    l2 : array_like, shape (k,)
        Strengths, each above zero.

    Returns
    -------
    RidgePath
        With the effective number of weights, and the mean squared error (under the weights) on
        examples that are left out one at a time, by (regularization-leave-one-out).
    """
    l2 = _strengths("l2", l2)
    problem = centred(X, y, weights, intercept)
    scaled = problem.measured(l2, 2)
    U, d, V = problem.directions(scaled.min())
    c = U.T @ problem.y
    f = d**2 / (d**2 + scaled[:, None])
    w, b = problem.finished((f / d * c) @ V.T)
    h, e = f @ (U**2).T + problem.share, problem.y - (f * c) @ U.T
    cost = (np.sum(e**2, axis=1) + scaled * np.sum((f / d * c) ** 2, axis=1)) / 2
    with np.errstate(divide="ignore", invalid="ignore"):
        left_out = np.mean((e / (1 - h)) ** 2, axis=1)
    s = 1.0 if weights is None else np.mean(np.asarray(weights, np.float64))
    cost, left_out = problem.squared(cost, left_out / s)
    return RidgePath(l2, w, b, cost, f.sum(axis=1), left_out)


def pca_path(
    X: ArrayLike,
    y: ArrayLike,
    components: Sequence[int],
    *,
    weights: ArrayLike | None = None,
    intercept: bool = True,
) -> Path:
    """Return least squares on the first principal components, for several numbers of them.

    Parameters
    ----------
    X, y, weights, intercept
        As in `ridge`. Columns are centred and not scaled; without an intercept not centred.
    components : sequence of int
        Numbers K of components, each from 1 to the rank of the centred columns.
    """
    problem = centred(X, y, weights, intercept)
    U, d, V = problem.singular()
    counts = shapes.Axes().labels("components", components, "k", least=1)
    if counts.max() > len(d):
        raise ValueError(
            f"components holds {counts.max()}, but the centred columns of X have rank {len(d)}"
        )
    parts = V / d * (U.T @ problem.y)
    w, b = problem.finished(np.array([parts[:, :K].sum(axis=1) for K in counts]))
    return Path(counts, w, b)


def stopped_path(X: ArrayLike, y: ArrayLike, steps: Sequence[int]) -> Path:
    """Return the weights of gradient descent from zero after so many steps, by their closed form.

    The rate is 1/d₁², the inverse of the largest curvature of ½ Σ_n (y_n − w·x_n − b)².

    Parameters
    ----------
    X, y : array_like, shapes (n, p) and (n,)
        Inputs and responses; both are centred, so that the bias needs no steps.
    steps : sequence of int
        Numbers of steps, each 0 or more.
    """
    problem = centred(X, y, None, True)
    U, d, V = problem.singular()
    counts = shapes.Axes().labels("steps", steps, "k", least=0)
    top = d[0] if len(d) else 1.0
    f = 1 - (1 - (d / top) ** 2) ** counts[:, None]
    w, b = problem.finished((f / d * (U.T @ problem.y)) @ V.T)
    return Path(counts, w, b)


# The elastic net


def lasso(
    X: ArrayLike,
    y: ArrayLike,
    l1: float,
    *,
    weights: ArrayLike | None = None,
    intercept: bool = True,
    tolerance: float = 1e-10,
    gap: float | None = None,
    steps: int = 100_000,
) -> Fit:
    """Minimise ½ Σ_n s_n (y_n − w·x_n − b)² + λ ‖w‖₁ by coordinate descent.

    scikit-learn's ``Lasso`` minimises the same with ``alpha = l1 / Σ_n s_n``.

    Parameters
    ----------
    X, y, l1, weights, intercept, tolerance, gap, steps
        As in `elastic_net`.
    """
    given = {"weights": weights, "intercept": intercept, "tolerance": tolerance, "gap": gap}
    return elastic_net(X, y, l1, 0.0, **given, steps=steps)


def elastic_net(
    X: ArrayLike,
    y: ArrayLike,
    l1: float,
    l2: float,
    *,
    weights: ArrayLike | None = None,
    intercept: bool = True,
    tolerance: float = 1e-10,
    gap: float | None = None,
    steps: int = 100_000,
) -> Fit:
    """Minimise ½ Σ_n s_n (y_n − w·x_n − b)² + λ₁ ‖w‖₁ + λ₂/2 ‖w‖² by coordinate descent.

    scikit-learn's ``ElasticNet`` minimises the same with ``alpha = (l1 + l2) / Σ_n s_n`` and
    ``l1_ratio = l1 / (l1 + l2)``.

    Parameters
    ----------
    X, y, weights, intercept
        As in `ridge`. Inputs in Fortran order are not copied where there is no intercept.
    l1 : float
        Strength λ₁ > 0; from `largest_l1` on, all weights are zero.
    l2 : float
        Strength λ₂ ≥ 0.
    tolerance : float
        The descent ends where the optimality conditions (regularization-lasso-kkt) are violated
        by no more than this part of λ₁, or by rounding.
    gap : float, optional
        It also ends where the duality gap is at most this part of the sum of the squares of y.
    steps : int
        Sweeps at most.

    Raises
    ------
    TypeError, ValueError
        For inputs that are not finite or do not fit, or strengths out of range.
    RuntimeError
        If the sweeps do not suffice.
    """
    l1, l2 = shapes.number("l1", l1, above=0), shapes.number("l2", l2, least=0)
    strengths = np.array([l1]), np.array([l2])
    path = _descended(X, y, *strengths, weights, intercept, tolerance, gap, steps)
    return Fit(path.w[0], path.b[0], *(float(part[0]) for part in path[3:5]), int(path.steps[0]))


def elastic_net_path(
    X: ArrayLike,
    y: ArrayLike,
    l1: ArrayLike,
    l2: ArrayLike = 0.0,
    *,
    weights: ArrayLike | None = None,
    intercept: bool = True,
    tolerance: float = 1e-10,
    gap: float | None = None,
    steps: int = 100_000,
) -> SparsePath:
    """Return elastic nets for several strengths, each descent begun where the one before ended.

    Parameters
    ----------
    X, y, weights, intercept, tolerance, gap, steps
        As in `elastic_net`.
    l1 : array_like, shape (k,)
        Strengths λ₁ > 0, best from the largest down: `largest_l1` gives the first.
    l2 : float or array_like, shape (k,)
        Strengths λ₂ ≥ 0, one for all or one for each.
    """
    l1 = _strengths("l1", l1)
    l2 = shapes.Axes().floats("l2", l2, None).astype(np.float64)
    if l2.shape not in ((), l1.shape):
        raise ValueError(f"l2 has shape {l2.shape}, expected one number or {l1.shape} as in l1")
    l2 = np.broadcast_to(l2, l1.shape).copy()
    if l2.min() < 0:
        raise ValueError(f"l2 holds {l2.min():g}, expected strengths ≥ 0")
    return _descended(X, y, l1, l2, weights, intercept, tolerance, gap, steps)


def _descended(X, y, l1, l2, weights, intercept, tolerance, gap, steps):
    """Return the path for strengths (k) that are checked."""
    tolerance, steps = shapes.number("tolerance", tolerance, above=0), shapes.count("steps", steps)
    share = -1.0 if gap is None else shapes.number("gap", gap, above=0)
    problem = centred(X, y, weights, intercept)
    scaled = problem.measured(l1, 1), problem.measured(l2, 2)
    W, cost, gaps, done, late = problem.descended(*scaled, tolerance, share, steps)
    if late.any():
        k = np.flatnonzero(late)[0]
        raise RuntimeError(
            f"after {done[k]} sweeps the optimality conditions are still violated by "
            f"{late[k]:.0e} of l1 = {l1[k]:g}: raise steps, tolerance, l1 or l2"
        )
    w, b = problem.finished(W)
    return SparsePath(l1, w, b, *problem.squared(cost, np.maximum(gaps, 0)), done)


def ista(
    X: ArrayLike,
    y: ArrayLike,
    l1: float,
    l2: float = 0.0,
    *,
    weights: ArrayLike | None = None,
    intercept: bool = True,
    gap: float = 1e-6,
    steps: int = 100_000,
) -> Fit:
    """Minimise as `elastic_net` does, by proximal gradient steps (regularization-ista).

    Parameters
    ----------
    X, y, l1, l2, weights, intercept, gap, steps
        As in `elastic_net`, but the steps end at the gap alone; each passes over all columns.
    """
    return _by_steps(X, y, l1, l2, weights, intercept, gap, steps, ahead=False)


def fista(
    X: ArrayLike,
    y: ArrayLike,
    l1: float,
    l2: float = 0.0,
    *,
    weights: ArrayLike | None = None,
    intercept: bool = True,
    gap: float = 1e-6,
    steps: int = 100_000,
) -> Fit:
    """Minimise as `ista` does, by accelerated steps (regularization-fista).

    Parameters
    ----------
    X, y, l1, l2, weights, intercept, gap, steps
        As in `ista`.
    """
    return _by_steps(X, y, l1, l2, weights, intercept, gap, steps, ahead=True)


def _by_steps(X, y, l1, l2, weights, intercept, gap, steps, ahead):
    """Take proximal steps, from a point ahead or not, until the gap is small."""
    l1, l2 = shapes.number("l1", l1, above=0), shapes.number("l2", l2, least=0)
    gap, steps = shapes.number("gap", gap, above=0), shapes.count("steps", steps)
    problem = centred(X, y, weights, intercept)
    given = np.ascontiguousarray(problem.A.T), problem.y
    strengths = problem.measured(l1, 1), problem.measured(l2, 2)
    L = np.linalg.norm(given[0], 2) ** 2 + strengths[1]
    w, t, done = np.zeros(len(problem.A)), 0.0, 0
    before, left = w, duality_gap(*given, w, *strengths)
    while left > gap * (problem.y @ problem.y):
        if done == steps:
            raise RuntimeError(
                f"after {steps} steps the gap is still {left:.0e}: raise steps or gap"
            )
        before, (w, u) = w, fista_step(*given, w, before, t, *strengths, L)
        t, done, left = u if ahead else 1.0, done + 1, duality_gap(*given, w, *strengths)
    cost, left = problem.squared(elastic_net_cost(*given, w, *strengths), max(left, 0.0))
    return Fit(*problem.finished(w), float(cost), float(left), done)


def largest_l1(
    X: ArrayLike, y: ArrayLike, *, weights: ArrayLike | None = None, intercept: bool = True
) -> float:
    """Return the strength from which on all weights of the lasso are zero; arguments as in `ridge`."""
    problem = centred(X, y, weights, intercept)
    return float(np.ldexp(np.abs(problem.moments).max(), problem.unit + problem.y_unit))


# Using fits


def predict(fit: Fit, X: ArrayLike) -> np.ndarray:
    """Return w·x_n + b of each row.

    Parameters
    ----------
    fit : Fit
        From `ridge`, `lasso` or `elastic_net`.
    X : array_like, shape (n, p)
        Inputs, treated as those of the fit were.
    """
    if not isinstance(fit, Fit):
        raise TypeError(f"fit is {shapes.shown(fit)}, expected the Fit of this chapter")
    X = shapes.Axes(p=len(fit.w)).floats("X", X, "n p")
    return X @ fit.w + fit.b
