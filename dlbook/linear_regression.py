"""Linear regression: least squares, its geometry, its errors, and gradient descent.

Page: ``book/linear_regression.md``. Builds on the tools only.

Sources: Legendre (1805) and Gauss (1809) for least squares; Cholesky's method in Benoit (1924);
Householder, J. ACM 5 (1958) and Golub, Numer. Math. 7 (1965) for QR; Student, Biometrika 6
(1908); Fisher, J. R. Stat. Soc. 85 (1922); Penrose, Proc. Camb. Phil. Soc. 52 (1956).

Axes: n examples, p columns of the design matrix, k directions of its column space, so that
N, P and K are their counts. **P counts every column, the column of ones too**: books that do not
count the intercept write N − p − 1 where this one writes N − P.

Names: X the design matrix (n p), its first column ones where there is an intercept; y the
responses (n); beta the coefficients (p); e the residuals (n); L, Q and R the factors; S the root
with S Sᵀ = (XᵀX)⁺; rate the step size η; dbeta is ∂RSS/∂beta.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from dlbook.tools import shapes, units
from dlbook.tools.counting import counted
from dlbook.tools.jit import check_indices, njit

__all__ = [
    "METHODS",
    "Coefficients",
    "FTest",
    "Fit",
    "cholesky",
    "coefficient_table",
    "column_norms",
    "column_products",
    "covariance",
    "design_matrix",
    "dummy_coding",
    "eigen_path",
    "estimate_residual_covariance",
    "f_statistic",
    "f_test",
    "gd_path",
    "gd_step",
    "gradient",
    "gradient_descent",
    "gram",
    "hat_matrix",
    "householder_qr",
    "interactions",
    "intervals",
    "inverse_upper",
    "least_squares",
    "left_out_errors",
    "leverages",
    "minimum_norm",
    "moments",
    "multiplications",
    "negative_log_likelihood",
    "normal_equations",
    "one_hot",
    "operations",
    "polynomial",
    "powers",
    "predict",
    "qr_solution",
    "rate_limit",
    "reflect",
    "reflector",
    "residual_variance",
    "residuals",
    "rss",
    "solve_lower",
    "solve_upper",
    "standard_errors",
    "stochastic_step",
    "t_statistics",
]

METHODS = ("qr", "cholesky", "minimum-norm")


# The model and its cost


@njit
def predict(X, beta):
    """(linear_regression-model)  f_n = Σ_p X_np β_p
    (n p), (p) -> (n)
    """
    N, P = X.shape
    f = np.zeros(N, beta.dtype)
    for n in range(N):
        for p in range(P):
            f[n] += X[n, p] * beta[p]
    return f


@njit
def residuals(X, y, beta):
    """e_n = y_n − f_n
    (n p), (n), (p) -> (n)
    """
    return y - predict(X, beta)


@njit
def rss(X, y, beta):
    """(linear_regression-rss)  RSS = Σ_n (y_n − Σ_p X_np β_p)²
    (n p), (n), (p) -> ()
    """
    total = 0.0
    for e in residuals(X, y, beta):
        total += e * e
    return total


@njit
def negative_log_likelihood(X, y, beta, variance):
    """(linear_regression-likelihood)  −log p(y) = N/2 log 2πσ² + RSS / 2σ²
    (n p), (n), (p), () -> ()
    """
    constant = len(y) / 2 * np.log(2 * np.pi * variance)
    return constant + rss(X, y, beta) / (2 * variance)


@njit
def gradient(X, y, beta):
    """(linear_regression-gradient)  ∂RSS/∂β_p = −2 Σ_n X_np (y_n − f_n)
    (n p), (n), (p) -> (p)
    """
    N, P = X.shape
    e = residuals(X, y, beta)
    dbeta = np.zeros_like(beta)
    for n in range(N):
        for p in range(P):
            dbeta[p] -= 2 * X[n, p] * e[n]
    return dbeta


# The normal equations, by Cholesky's factors


@njit
def gram(X):
    """A_pq = Σ_n X_np X_nq, the lower half computed and mirrored
    (n p) -> (p p)
    """
    N, P = X.shape
    A = np.zeros((P, P), X.dtype)
    for n in range(N):
        for p in range(P):
            for q in range(p + 1):
                A[p, q] += X[n, p] * X[n, q]
    for p in range(P):
        for q in range(p):
            A[q, p] = A[p, q]
    return A


@njit
def moments(X, v):
    """(linear_regression-orthogonality)  m_p = Σ_n X_np v_n, zero for v = e
    (n p), (n) -> (p)
    """
    N, P = X.shape
    m = np.zeros(P, v.dtype)
    for n in range(N):
        for p in range(P):
            m[p] += X[n, p] * v[n]
    return m


@njit
def cholesky(A):
    """(linear_regression-cholesky)  A_ij = Σ_{k≤j} L_ik L_jk,  L_ij = 0 for j > i
    (p p) -> (p p)
    """
    P = A.shape[0]
    L = np.zeros_like(A)
    for i in range(P):
        for j in range(i + 1):
            s = A[i, j]
            for k in range(j):
                s -= L[i, k] * L[j, k]
            L[i, j] = np.sqrt(s) if i == j else s / L[j, j]
    return L


@njit
def solve_lower(L, b):
    """(linear_regression-forward)  z_i = (b_i − Σ_{k<i} L_ik z_k) / L_ii
    (p p), (p) -> (p)
    """
    z = np.empty_like(b)
    for i in range(len(b)):
        s = b[i]
        for k in range(i):
            s -= L[i, k] * z[k]
        z[i] = s / L[i, i]
    return z


@njit
def solve_upper(R, z):
    """(linear_regression-backward)  β_i = (z_i − Σ_{k>i} R_ik β_k) / R_ii
    (p p), (p) -> (p)
    """
    beta = np.empty_like(z)
    for i in range(len(z) - 1, -1, -1):
        s = z[i]
        for k in range(i + 1, len(z)):
            s -= R[i, k] * beta[k]
        beta[i] = s / R[i, i]
    return beta


@njit
def normal_equations(X, y):
    """(linear_regression-normal)  Σ_q (Σ_n X_np X_nq) β_q = Σ_n X_np y_n
    (n p), (n) -> (p)
    """
    L = cholesky(gram(X))
    return solve_upper(L.T, solve_lower(L, moments(X, y)))


# Orthogonal factors, by Householder's reflections


@njit
def reflector(x, p):
    """(linear_regression-reflector)  v = (0 … 0, x_p + sign(x_p) ‖x_{n≥p}‖, x_{p+1} … )
    (n), () -> (n)
    """
    v, square = np.zeros_like(x), 0.0
    for n in range(p, len(x)):
        square += x[n] * x[n]
        v[n] = x[n]
    v[p] += np.sqrt(square) if x[p] >= 0 else -np.sqrt(square)
    return v


@njit
def reflect(v, A):
    """(linear_regression-reflection)  A_np − 2 v_n (Σ_m v_m A_mp) / Σ_m v_m²
    (n), (n p) -> (n p)
    """
    N, P = A.shape
    B = A.copy()
    square = 0.0
    for m in range(N):
        square += v[m] * v[m]
    if square == 0:
        return B
    for p in range(P):
        dot = 0.0
        for m in range(N):
            dot += v[m] * A[m, p]
        for n in range(N):
            B[n, p] -= 2 * dot / square * v[n]
    return B


@njit
def householder_qr(X):
    """(linear_regression-qr)  X_np = Σ_k Q_nk R_kp,  Σ_n Q_nk Q_nl = δ_kl
    (n p) -> (n p), (p p)
    """
    N, P = X.shape
    A, V, Q = X.copy(), np.empty((P, N), X.dtype), np.zeros((N, P), X.dtype)
    for p in range(P):  # each reflection clears a column below the diagonal
        v = reflector(A[:, p], p)
        A = reflect(v, A)
        for n in range(N):
            V[p, n] = v[n]
        Q[p, p] = 1
    for p in range(P - 1, -1, -1):  # backwards, on unit vectors
        Q = reflect(V[p], Q)
    R = np.zeros((P, P), X.dtype)
    for k in range(P):
        for p in range(k, P):
            R[k, p] = A[k, p]
    return Q, R


@njit
def qr_solution(Q, R, y):
    """(linear_regression-qr-solution)  Σ_p R_kp β_p = Σ_n Q_nk y_n
    (n p), (p p), (n) -> (p)
    """
    return solve_upper(R, moments(Q, y))


@njit
def column_norms(X):
    """‖x_p‖ = √(Σ_n X_np²)
    (n p) -> (p)
    """
    N, P = X.shape
    norms = np.zeros(P, X.dtype)
    for n in range(N):
        for p in range(P):
            norms[p] += X[n, p] * X[n, p]
    return np.sqrt(norms)


# Projection


@njit
def hat_matrix(Q):
    """(linear_regression-hat)  H_nm = Σ_k Q_nk Q_mk
    (n k) -> (n n)
    """
    N, K = Q.shape
    H = np.zeros((N, N), Q.dtype)
    for n in range(N):
        for m in range(N):
            for k in range(K):
                H[n, m] += Q[n, k] * Q[m, k]
    return H


@njit
def leverages(Q):
    """(linear_regression-leverage)  h_n = H_nn = Σ_k Q_nk²
    (n k) -> (n)
    """
    N, K = Q.shape
    h = np.zeros(N, Q.dtype)
    for n in range(N):
        for k in range(K):
            h[n] += Q[n, k] * Q[n, k]
    return h


@njit
def left_out_errors(e, h):
    """(linear_regression-left-out)  y_n − ỹ_n = e_n / (1 − h_n)
    (n), (n) -> (n)
    """
    errors = np.empty_like(e)
    for n in range(len(e)):
        errors[n] = e[n] / (1 - h[n])
    return errors


@njit
def minimum_norm(U, d, V, y):
    """(linear_regression-pseudo-inverse)  β_p = Σ_k V_pk (Σ_n U_nk y_n) / d_k
    (n k), (k), (p k), (n) -> (p)
    """
    P, K = V.shape
    c = moments(U, y)
    beta = np.zeros(P, y.dtype)
    for p in range(P):
        for k in range(K):
            beta[p] += V[p, k] * c[k] / d[k]
    return beta


# How far the estimate may be wrong


@njit
def inverse_upper(R):
    """Σ_k R_ik S_kj = δ_ij
    (p p) -> (p p)
    """
    P = R.shape[0]
    S = np.zeros((P, P), R.dtype)
    for j in range(P):
        S[j, j] = 1 / R[j, j]
        for i in range(j - 1, -1, -1):
            for k in range(i + 1, j + 1):
                S[i, j] -= R[i, k] * S[k, j]
            S[i, j] /= R[i, i]
    return S


@njit
def covariance(S, variance):
    """(linear_regression-variance)  C_pq = σ² Σ_k S_pk S_qk
    (p k), () -> (p p)
    """
    P, K = S.shape
    C = np.zeros((P, P), S.dtype)
    for p in range(P):
        for q in range(P):
            for k in range(K):
                C[p, q] += variance * S[p, k] * S[q, k]
    return C


@njit
def residual_variance(e, rank):
    """(linear_regression-sigma-hat)  variance = Σ_n e_n² / (N − rank X)
    (n), () -> ()
    """
    total = 0.0
    for n in range(len(e)):
        total += e[n] * e[n]
    return total / (len(e) - rank)


@njit
def estimate_residual_covariance(Q, S):
    """(linear_regression-uncorrelated)  C_pn = Σ_m B_pm (δ_mn − H_mn),  B = S Qᵀ
    (n k), (p k) -> (p n)
    """
    N, (P, K) = Q.shape[0], S.shape
    H = hat_matrix(Q)
    B = np.zeros((P, N), S.dtype)
    for p in range(P):
        for n in range(N):
            for k in range(K):
                B[p, n] += S[p, k] * Q[n, k]
    C = B.copy()
    for p in range(P):
        for n in range(N):
            for m in range(N):
                C[p, n] -= B[p, m] * H[m, n]
    return C


@njit
def standard_errors(S, variance):
    """se_p = √(variance · Σ_k S_pk²)
    (p k), () -> (p)
    """
    P, K = S.shape
    se = np.zeros(P, S.dtype)
    for p in range(P):
        for k in range(K):
            se[p] += variance * S[p, k] * S[p, k]
    return np.sqrt(se)


@njit
def t_statistics(beta, S, variance):
    """(linear_regression-t-statistic)  t_p = β_p / √(variance · Σ_k S_pk²)
    (p), (p k), () -> (p)
    """
    return beta / standard_errors(S, variance)


@njit
def intervals(beta, se, quantile):
    """(linear_regression-interval)  β_p ± quantile · se_p
    (p), (p), () -> (p), (p)
    """
    low, high = np.empty_like(beta), np.empty_like(beta)
    for p in range(len(beta)):
        low[p] = beta[p] - quantile * se[p]
        high[p] = beta[p] + quantile * se[p]
    return low, high


@njit
def f_statistic(rss_small, rss_large, tested, free):
    """(linear_regression-f-test)  F = ((RSS₀ − RSS₁) / q) / (RSS₁ / (N − P))
    (), (), (), () -> ()
    """
    return (rss_small - rss_large) / tested / (rss_large / free)


# Gradient descent on the mean squared error


@njit
def gd_step(X, y, beta, rate):
    """(linear_regression-gd-step)  β_p ← β_p + (2η/N) Σ_n X_np (y_n − f_n)
    (n p), (n), (p), () -> (p)
    """
    dbeta = gradient(X, y, beta)
    new = np.empty_like(beta)
    for p in range(len(beta)):
        new[p] = beta[p] - rate / len(y) * dbeta[p]
    return new


@njit
def gd_path(X, y, beta, rate, steps):
    """path_0 = β,  path_{t+1} = gd_step(path_t)
    (n p), (n), (p), (), () -> (t p)
    """
    path, now = np.zeros((steps + 1, len(beta)), beta.dtype), beta.copy()
    for t in range(steps + 1):
        for p in range(len(beta)):
            path[t, p] = now[p]
        now = gd_step(X, y, now, rate)
    return path


@njit
def stochastic_step(x, y, beta, rate):
    """(linear_regression-stochastic-step)  β_p ← β_p + 2η x_p (y − Σ_q x_q β_q)
    (p), (), (p), () -> (p)
    """
    f = 0.0
    for q in range(len(x)):
        f += x[q] * beta[q]
    scale = 2 * rate * (y - f)
    new = np.empty_like(beta)
    for p in range(len(x)):
        new[p] = beta[p] + scale * x[p]
    return new


# Design matrices


@njit
def powers(x, degree):
    """(linear_regression-basis)  X_nj = x_n^j,  j = 0 … degree
    (n), () -> (n p)
    """
    N = len(x)
    X = np.ones((N, degree + 1), x.dtype)
    for n in range(N):
        for j in range(1, degree + 1):
            X[n, j] = X[n, j - 1] * x[n]
    return X


@njit(whole="labels")
def one_hot(labels, levels):
    """(linear_regression-dummy)  D_nk = 1 if g_n = k, else 0
    (n), () -> (n k)
    """
    check_indices(labels, levels)
    D = np.zeros((len(labels), levels))
    for n in range(len(labels)):
        D[n, labels[n]] = 1
    return D


@njit
def column_products(A, B):
    """(linear_regression-interaction)  Z_n,(ij) = A_ni B_nj
    (n i), (n j) -> (n ij)
    """
    N, nI, nJ = A.shape[0], A.shape[1], B.shape[1]
    Z = np.empty((N, nI * nJ), A.dtype)
    for n in range(N):
        for i in range(nI):
            for j in range(nJ):
                Z[n, i * nJ + j] = A[n, i] * B[n, j]
    return Z


# Public functions: design matrices


def polynomial(x: ArrayLike, degree: int) -> np.ndarray:
    """Return the powers x⁰ … x^degree as columns; the first is the intercept's.

    Parameters
    ----------
    x : array_like, shape (n,)
        The inputs.
    degree : int
        The highest power, 0 or more.

    Returns
    -------
    ndarray, shape (n, degree + 1)
    """
    x = shapes.Axes().floats("x", x, "n")
    return powers(x, shapes.count("degree", degree, least=0, most=1000))


def dummy_coding(labels: ArrayLike, levels: int, redundant: bool = False) -> np.ndarray:
    """Return a column of zeros and ones for each level of a category.

    Parameters
    ----------
    labels : array_like of int, shape (n,)
        The level of each example, 0 … levels − 1.
    levels : int
        How many levels there are, at least 2.
    redundant : bool
        Keep the column of level 0. Beside a column of ones the columns are then dependent.

    Returns
    -------
    ndarray, shape (n, levels − 1), or (n, levels) if redundant
        Without its own column, level 0 is the baseline that the others are compared with.
    """
    levels = shapes.count("levels", levels, least=2, most=10**6)
    labels = shapes.Axes().labels("labels", labels, "n", levels)
    return np.ascontiguousarray(one_hot(labels, levels)[:, 0 if redundant else 1 :])


def interactions(A: ArrayLike, B: ArrayLike) -> np.ndarray:
    """Return the products of each column of one block with each column of another.

    Parameters
    ----------
    A, B : array_like, shapes (n, i) and (n, j)
        Two blocks of columns.

    Returns
    -------
    ndarray, shape (n, i · j)
        Column (i, j) stands at i · J + j.
    """
    axes = shapes.Axes()
    A, B = axes.floats("A", A, "n i"), axes.floats("B", B, "n j")
    dtype = np.result_type(A, B)
    return column_products(A.astype(dtype), B.astype(dtype))


def design_matrix(*blocks: ArrayLike) -> np.ndarray:
    """Return a column of ones and, to the right of it, the given columns.

    Parameters
    ----------
    *blocks : array_like, each of shape (n,) or (n, i)
        Columns, singly or several side by side.

    Returns
    -------
    ndarray, shape (n, p)

    Examples
    --------
    >>> design_matrix([0.5, 2.0])
    array([[1. , 0.5],
           [1. , 2. ]])
    """
    if not blocks:
        raise ValueError("design_matrix needs at least one block of columns")
    axes, columns = shapes.Axes(), []
    for k, block in enumerate(blocks):
        name, letter = f"block {k}", chr(ord("a") + k % 13)
        block = shapes.array(name, block)
        flat = block.ndim == 1
        block = axes.floats(name, block, "n") if flat else _matrix(axes, name, block, letter)
        columns.append(block[:, None] if flat else block)
    return np.hstack([np.ones_like(columns[0][:, :1]), *columns])


def _matrix(axes, name, block, letter):
    """Return one block with its own column axis and the row axis of the others."""
    own = shapes.Axes(**({"n": axes["n"]} if "n" in axes.sizes else {}))
    block = own.floats(name, block, f"n {letter}")
    axes.sizes.setdefault("n", own.sizes["n"])
    return block


# Public functions: fitting


class Fit(NamedTuple):
    """A least squares fit."""

    beta: np.ndarray  # (p,) coefficients β̂
    fitted: np.ndarray  # (n,) fitted values ŷ = X β̂
    residuals: np.ndarray  # (n,) y − ŷ
    rss: float  # residual sum of squares
    rank: int  # rank of X
    leverages: np.ndarray  # (n,) diagonal of the hat matrix
    root: np.ndarray  # (p, rank) S, with S Sᵀ = (XᵀX)⁻¹, or its pseudo-inverse


def least_squares(X: ArrayLike, y: ArrayLike, method: str = "qr") -> Fit:
    """Return the coefficients with the smallest residual sum of squares, and what goes with them.

    Parameters
    ----------
    X : array_like, shape (n, p)
        Design matrix; its first column is ones if the model has an intercept.
    y : array_like, shape (n,)
        Responses.
    method : {"qr", "cholesky", "minimum-norm"}
        Householder's QR factors; Cholesky's factor of XᵀX (half the work, twice the digits
        lost); or, where columns are dependent or more than the rows, the solution with the
        smallest ‖β‖, by the singular values.

    Returns
    -------
    Fit
        In the dtype of X and y; everything is computed in float64.

    Raises
    ------
    ValueError
        For a wrong shape, NaN or infinity, numbers whose squares overflow or so small that the
        coefficients do, and, unless the method is "minimum-norm", for dependent columns; the
        message names the first one.

    Examples
    --------
    >>> least_squares(design_matrix([0, 1, 2]), [1, 1, 4]).beta.round(12)
    array([0.5, 1.5])
    """
    X, y, dtype = _data(X, y)
    shapes.choice("method", method, METHODS)
    # One unit for all columns where the shortest solution is asked for, or it would be another one
    columns, unit = units.powers(X, axis=None if method == "minimum-norm" else 0), units.powers(y)
    A, b = np.ldexp(X, -columns), np.ldexp(y, -unit)
    if method == "minimum-norm":
        U, d, V = _singular(A, dtype)
        beta, Q, S = minimum_norm(U, d, V, b), U, np.ascontiguousarray(V / d)
    elif method == "cholesky":
        _enough_rows(A)
        L = cholesky(gram(A))
        _independent(A, np.diagonal(L), 2, dtype)
        beta = solve_upper(L.T, solve_lower(L, moments(A, b)))
        S = inverse_upper(L.T)
        Q = np.ascontiguousarray(A @ S)
    else:
        _enough_rows(A)
        Q, R = householder_qr(A)
        _independent(A, np.diagonal(R), 1, dtype)
        beta, S = qr_solution(Q, R, b), inverse_upper(R)
    with np.errstate(over="ignore"):
        beta, S = np.ldexp(beta, unit - columns), np.ldexp(S.T, -columns).T
        arrays = predict(X, beta), residuals(X, y, beta), leverages(Q), S
        fitted, e, h, root = (part.astype(dtype, order="C") for part in arrays)
        found = beta.astype(dtype)
    if not np.isfinite(np.column_stack((found, root))).all():
        p = np.flatnonzero(~np.isfinite(np.column_stack((found, root))).all(axis=1))[0]
        raise ValueError(f"column {p} of X is so small that its coefficient overflows: rescale it")
    return Fit(found, fitted, e, float(rss(X, y, beta)), S.shape[1], h, root)


def _data(X, y):
    """Return X and y in float64 and the dtype they came in, or say what is too large to be squared."""
    axes = shapes.Axes()
    X, y = axes.floats("X", X, "n p"), axes.floats("y", y, "n")
    dtype = np.result_type(X, y)
    X, y = X.astype(np.float64), y.astype(np.float64)
    for name, norms in (("column {} of X", column_norms(X)), ("y", column_norms(y[:, None]))):
        if not np.isfinite(norms).all():
            what = name.format(np.flatnonzero(~np.isfinite(norms))[0])
            raise ValueError(f"{what} is so large that its squares overflow: rescale it")
    return X, y, dtype


def _enough_rows(X):
    """Refuse fewer rows than columns."""
    N, P = X.shape
    if N < P:
        raise ValueError(
            f"X has {N} rows and {P} columns: with fewer rows than columns the coefficients are "
            "not unique; method='minimum-norm' returns the shortest ones"
        )


def _rounding(N, P):
    """Return what rounding leaves in float64 of sums over N rows that should vanish.

    The errors of the terms partly cancel, so that they grow as √N.
    """
    return 10 * P * np.sqrt(N) * np.finfo(np.float64).eps


def _independent(X, pivots, power, dtype):
    """Refuse a column whose sine to the columns before it, |pivot| / ‖column‖, is rounding."""
    smallest = max(10 * np.finfo(dtype).eps, _rounding(*X.shape) ** (1 / power))
    bad = ~((np.abs(pivots) > 0) & (np.abs(pivots) > smallest * column_norms(X)))
    if bad.any():
        raise ValueError(
            f"column {np.flatnonzero(bad)[0]} of X (counted from 0) is zero or depends on the "
            "columns before it, so XᵀX is singular: drop it, or use method='minimum-norm'"
        )


def _singular(X, dtype):
    """Return U, d, V of the singular values that are not rounding, of X or of what became it."""
    U, d, Vt = np.linalg.svd(X, full_matrices=False)
    rounding = max(2 * np.finfo(dtype).eps, max(X.shape) * np.finfo(np.float64).eps)
    keep = d > rounding * d[0]
    return np.ascontiguousarray(U[:, keep]), d[keep], np.ascontiguousarray(Vt[keep].T)


class Coefficients(NamedTuple):
    """The coefficients of a fit with their uncertainty."""

    estimate: np.ndarray  # (p,) β̂
    se: np.ndarray  # (p,) standard errors
    t: np.ndarray  # (p,) estimate / se
    p: np.ndarray  # (p,) two-sided p-values for "this coefficient is zero"
    low: np.ndarray  # (p,) lower end of the interval
    high: np.ndarray  # (p,) upper end


def coefficient_table(fit: Fit, level: float = 0.95) -> Coefficients:
    """Return the coefficients with standard errors, t values, p values and intervals.

    Valid for Gaussian errors of one variance around a model that holds; approximately so for
    other errors when N is large.

    Parameters
    ----------
    fit : Fit
        From `least_squares`, with more examples than columns, all columns independent.
    level : float
        Share of the intervals that hold the true coefficient, between 0 and 1.

    Returns
    -------
    Coefficients

    Raises
    ------
    ValueError
        Where no variance can be estimated, since there are no more examples than columns or no
        residuals beside rounding, or where the coefficients are not unique.
    """
    from scipy import stats

    level = shapes.number("level", level, above=0, below=1)
    if not isinstance(fit, Fit):
        raise TypeError(f"fit is a {type(fit).__name__}, expected the Fit of least_squares")
    free = _degrees_of_freedom(len(fit.residuals), fit.rank)
    if fit.rank < len(fit.beta):
        raise ValueError(
            f"the columns of X are dependent (rank {fit.rank} of {len(fit.beta)}): single "
            "coefficients cannot be told from the data, so they have no interval"
        )
    if _perfect(fit):
        raise ValueError("the model leaves no residuals: there is nothing to tell the errors from")
    unit, rows = units.powers(fit.residuals), units.powers(fit.root, axis=1)
    variance = residual_variance(np.ldexp(fit.residuals, -unit), fit.rank)
    root = np.ldexp(fit.root, -rows[:, None])
    se = np.ldexp(standard_errors(root, variance), rows + unit)
    t = t_statistics(np.ldexp(fit.beta, -(rows + unit)), root, variance)
    p = 2 * stats.t.sf(np.abs(t), free)
    ends = intervals(fit.beta, se, float(stats.t.ppf((1 + level) / 2, free)))
    return Coefficients(fit.beta, se, t, p, *ends)


def _perfect(fit):
    """Return whether the residuals of a fit are no more than rounding beside its responses."""
    y = fit.fitted + fit.residuals
    rounding = max(10 * np.finfo(y.dtype).eps, _rounding(len(y), len(fit.beta)))
    return np.abs(fit.residuals).max() <= rounding * np.abs(y).max()


def _degrees_of_freedom(N, rank):
    """Return N − rank, or say that nothing is left to estimate the variance from."""
    if rank >= N:
        raise ValueError(
            f"{N} examples and {rank} independent columns leave N − P = {N - rank} degrees of "
            "freedom: the variance of the errors cannot be estimated"
        )
    return N - rank


class FTest(NamedTuple):
    """The test that a group of coefficients is zero."""

    f: float  # statistic
    tested: int  # number of coefficients tested
    free: int  # N − P
    p: float  # probability of a larger statistic if they are all zero


def f_test(X: ArrayLike, y: ArrayLike, group: Sequence[int]) -> FTest:
    """Test whether the coefficients of a group of columns are all zero.

    Parameters
    ----------
    X, y : array_like, shapes (n, p) and (n,)
        Design matrix of the larger model, and responses.
    group : sequence of int
        The columns of X that the smaller model lacks.

    Returns
    -------
    FTest

    Raises
    ------
    ValueError
        For a group that is empty, repeats a column or names one that X has not, for dependent
        columns, where N ≤ P, and where the smaller model leaves no residuals beside rounding.
    """
    from scipy import stats

    X, y, dtype = _data(X, y)
    N, P = X.shape
    group = shapes.Axes().labels("group", group, "k", P)
    if len(set(group.tolist())) < len(group):
        raise ValueError(f"group is {group.tolist()}: it names a column twice")
    free = _degrees_of_freedom(N, P)
    rest = np.setdiff1d(np.arange(P), group)
    X, y = X.astype(dtype), np.ldexp(y, -units.powers(y)).astype(dtype)
    large = least_squares(X, y).rss
    small = least_squares(X[:, rest], y) if len(rest) else None
    if _perfect(small) if small else not y.any():
        raise ValueError("the smaller model leaves no residuals: there is nothing to explain")
    f = float(f_statistic(small.rss if small else y @ y, large, len(group), free))
    return FTest(f, len(group), free, float(stats.f.sf(f, len(group), free)))


# Public functions: gradient descent


def gradient_descent(
    X: ArrayLike, y: ArrayLike, rate: float, steps: int, beta: ArrayLike | None = None
) -> np.ndarray:
    """Descend the mean squared error RSS/N and return the whole path.

    Parameters
    ----------
    X, y : array_like, shapes (n, p) and (n,)
        Design matrix and responses.
    rate : float
        Step size η > 0. It converges below `rate_limit`; above it the path grows without bound,
        and no error is raised.
    steps : int
        Number of steps.
    beta : array_like, shape (p,), optional
        Where to start; zeros otherwise.

    Returns
    -------
    ndarray, shape (steps + 1, p)
        The coefficients before the first step and after each step.
    """
    axes = shapes.Axes()
    X, y = axes.floats("X", X, "n p"), axes.floats("y", y, "n")
    start = axes.floats("beta", np.zeros(axes["p"]) if beta is None else beta, "p")
    rate, steps = shapes.number("rate", rate, above=0), shapes.count("steps", steps)
    dtype = np.result_type(X, y)
    return gd_path(X.astype(dtype), y.astype(dtype), start.astype(dtype), rate, steps)


def rate_limit(X: ArrayLike) -> float:
    """(linear_regression-gd-rate)  η* = 2 / λ_max(2 XᵀX / N) = N / d_max²
    (n p) -> ()

    Parameters
    ----------
    X : array_like, shape (n, p)
        Design matrix, not zero.

    Returns
    -------
    float
        Gradient descent on RSS/N converges from every start if and only if 0 < η < η*.

    Raises
    ------
    ValueError
        For an X that is zero, and for one so small or so large that the limit is no number.
    """
    X = shapes.Axes().floats("X", X, "n p").astype(np.float64)
    if not X.any():
        raise ValueError("X is zero: the cost is flat, no step moves beta")
    unit = units.powers(X)
    largest = np.linalg.norm(np.ldexp(X, -unit), 2)
    found = float((np.sqrt(len(X)) / largest) ** 2)
    with np.errstate(over="ignore", under="ignore"):
        limit = float(np.ldexp(found, -2 * unit))
    if not 0 < limit < np.inf:
        what = f"X is so {'small' if limit else 'large'}"
        raise ValueError(f"{what} that no number is the limit: rescale it")
    return limit


def eigen_path(
    X: ArrayLike,
    y: ArrayLike,
    beta: ArrayLike,
    rate: float,
    steps: int,
) -> np.ndarray:
    """(linear_regression-gd-path)  β^(t) = b + Σ_k v_k (1 − ηλ_k)^t v_kᵀ(β^(0) − b)
    (n p), (n), (p), (), () -> (p)

    The place of gradient descent after `steps` steps without taking them. λ_k and v_k are the
    eigenvalues and eigenvectors of 2XᵀX/N; b is any minimiser, here the shortest.

    Parameters
    ----------
    X, y : array_like, shapes (n, p) and (n,)
        Design matrix and responses.
    beta : array_like, shape (p,)
        The start β^(0).
    rate : float
        Step size η > 0.
    steps : int
        The number t of steps.

    Returns
    -------
    ndarray, shape (p,)
    """
    rate = shapes.number("rate", rate, above=0)
    steps = shapes.count("steps", steps, least=0)
    best = least_squares(X, y, method="minimum-norm").beta
    beta = shapes.Axes(p=len(best)).floats("beta", beta, "p")
    X = np.asarray(X, dtype=np.float64)
    lam, V = np.linalg.eigh(2 * X.T @ X / len(X))
    path = best + V @ ((1 - rate * lam) ** steps * (V.T @ (beta - best)))
    return path.astype(best.dtype)


# What it costs


def operations(N: int, P: int) -> int:
    """(linear_regression-operations)  N P(P + 3)/2 + P(P + 1)(P + 8)/6
    (), () -> ()

    Multiplications, divisions and roots of the normal equations solved by `cholesky`.

    Parameters
    ----------
    N, P : int
        Rows and columns of the design matrix.
    """
    N, P = shapes.count("N", N), shapes.count("P", P)
    return N * P * (P + 3) // 2 + P * (P + 1) * (P + 8) // 6


def multiplications(kernel, *args):
    """Run the Python source of a kernel on numbers that count, so that nothing is estimated.

    Parameters
    ----------
    kernel : kernel of this module
        One that calls no other kernel.
    *args : ndarray of float or number
        Its arguments.

    Returns
    -------
    result : ndarray of float64
        What the kernel returned.
    count : int
        Multiplications, divisions and roots on the way.
    """
    result, done = counted(kernel, *args)
    plain = np.frompyfunc(float, 1, 1)(result)
    return np.asarray(plain, dtype=np.float64), done.multiplications + done.functions
