"""Linear classification: scores and margins, the perceptron, the logistic and softmax losses.

Page: ``book/linear_classification.md``. Builds on the tools only.

Sources: Rosenblatt, Psychol. Rev. 65 (1958) for the perceptron; Novikoff (1962) for the bound on
its mistakes; Cox, J. R. Stat. Soc. B 20 (1958) for logistic regression; Bridle (1990) for the
name softmax; Good, J. R. Stat. Soc. B 14 (1952) for the logarithmic score.

Axes: n examples, p inputs, j and k classes, q bins; N, P, J, K and Q are their counts.

Names: X the inputs (n p); w and b weights (p) and bias of one score, W and b weights (j p) and
biases (j) of one score per class; z the scores; m the margins; p the probabilities; rate the step
size; l2 the strength λ of the penalty λ/2 ‖w‖², which spares the bias. Labels y are −1 and +1
where there is one score and 0 … J−1 where there are J.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from dlbook.tools import shapes, units
from dlbook.tools.jit import check_indices, njit

__all__ = [
    "Calibration",
    "Fit",
    "Perceptron",
    "accuracy",
    "binary_cross_entropy",
    "calibration",
    "cross_entropy",
    "entropy",
    "kl_divergence",
    "log_sum_exp",
    "logistic_cost",
    "logistic_gradient",
    "logistic_hessian",
    "logistic_loss",
    "logistic_regression",
    "logistic_slope",
    "margins",
    "mistake_bound",
    "one_vs_rest",
    "pair_probability",
    "perceptron",
    "perceptron_epoch",
    "perceptron_loss",
    "perceptron_update",
    "predict",
    "probabilities",
    "row_argmax",
    "row_shift",
    "score",
    "scores",
    "share_correct",
    "sigmoid",
    "sigmoid_prime",
    "sign",
    "softmax",
    "softmax_cost",
    "softmax_cross_entropy",
    "softmax_cross_entropy_gradient",
    "softmax_gradient",
    "softmax_jacobian",
    "softmax_regression",
    "squared_hinge",
    "squared_hinge_slope",
    "squared_margin",
    "standardize",
    "with_ones",
]

# What may be left of a gradient at the minimum, beside its parts, by Newton's method and by L-BFGS
TOLERANCE, LBFGS_TOLERANCE = 1e-10, 1e-6
EPS = np.finfo(np.float64).eps


# Scores and margins


@njit
def score(X, w, b):
    """(linear_classification-score)  z_n = Σ_p X_np w_p + b
    (n p), (p), () -> (n)
    """
    N, P = X.shape
    z = np.zeros(N, w.dtype) + b  # complex if either is
    for n in range(N):
        for p in range(P):
            z[n] += X[n, p] * w[p]
    return z


@njit
def scores(X, W, b):
    """(linear_classification-scores)  z_nj = Σ_p X_np W_jp + b_j
    (n p), (j p), (j) -> (n j)
    """
    N, P = X.shape
    z = np.zeros((N, len(W)), W.dtype) + b
    for n in range(N):
        for j in range(len(W)):
            for p in range(P):
                z[n, j] += X[n, p] * W[j, p]
    return z


@njit
def sign(z):
    """(linear_classification-sign)  +1 if z_n ≥ 0, −1 if z_n < 0
    (n) -> (n)
    """
    guess = z.copy()
    for n in range(len(z)):
        if z[n] >= 0:
            guess[n] = 1
        elif z[n] < 0:
            guess[n] = -1
    return guess


@njit(whole="y")
def margins(z, y):
    """(linear_classification-margin)  m_n = y_n z_n
    (n), (n) -> (n)
    """
    m = np.empty_like(z)
    for n in range(len(z)):
        m[n] = y[n] * z[n]
    return m


@njit(whole="guess y")
def share_correct(guess, y):
    """(linear_classification-accuracy)  1/N Σ_n [ŷ_n = y_n]
    (n), (n) -> ()
    """
    right = 0
    for n in range(len(y)):
        right += guess[n] == y[n]
    return right / len(y)


@njit
def row_argmax(z):
    """(linear_classification-ovr)  ŷ_n = argmax_j z_nj, the first of equals
    (n j) -> (n)
    """
    N, J = z.shape
    guess = np.zeros(N, np.int64)
    for n in range(N):
        for j in range(1, J):
            if z[n, j] > z[n, guess[n]]:
                guess[n] = j
    return guess


# Losses of one margin


@njit
def squared_margin(m):
    """(linear_classification-squared-margin)  (1 − m_n)²
    (n) -> (n)
    """
    return (1 - m) ** 2


@njit
def squared_hinge(m):
    """(linear_classification-squared-hinge)  (1 − m_n)² if m_n < 1, else 0
    (n) -> (n)
    """
    loss = np.zeros_like(m)
    for n in range(len(m)):
        if not m[n].real >= 1:  # so that NaN stays NaN
            loss[n] = (1 - m[n]) ** 2
    return loss


@njit
def squared_hinge_slope(m):
    """(linear_classification-squared-hinge-slope)  −2 (1 − m_n) if m_n < 1, else 0
    (n) -> (n)
    """
    slope = np.zeros_like(m)
    for n in range(len(m)):
        if not m[n].real >= 1:
            slope[n] = -2 * (1 - m[n])
    return slope


@njit
def perceptron_loss(m):
    """(linear_classification-perceptron-loss)  −m_n if m_n < 0, else 0
    (n) -> (n)
    """
    loss = np.zeros_like(m)
    for n in range(len(m)):
        if not m[n].real >= 0:
            loss[n] = -m[n]
    return loss


@njit
def logistic_loss(m):
    """(linear_classification-logistic-loss)  log(1 + e^(−m_n))
    (n) -> (n)
    """
    loss = np.empty_like(m)
    for n in range(len(m)):
        if m[n].real >= 0:
            loss[n] = np.log1p(np.exp(-m[n]))
        else:  # the same number, and e^(−m) cannot overflow
            loss[n] = np.log1p(np.exp(m[n])) - m[n]
    return loss


@njit
def logistic_slope(m):
    """(linear_classification-logistic-slope)  ∂ log(1 + e^(−m_n)) / ∂m_n = −σ(−m_n)
    (n) -> (n)
    """
    return -sigmoid(-m)


# The perceptron


@njit
def with_ones(X):
    """Append a column of ones, whose weight is the bias.
    (n p) -> (n p+1)
    """
    N, P = X.shape
    A = np.ones((N, P + 1), X.dtype)
    for n in range(N):
        for p in range(P):
            A[n, p] = X[n, p]
    return A


@njit
def perceptron_update(w, x, y, rate):
    """(linear_classification-perceptron-update)
    w_p + η y x_p if y Σ_q w_q x_q ≤ 0, else w_p
    (p), (p), (), () -> (p)
    """
    z = 0.0
    for q in range(len(w)):
        z += w[q] * x[q]
    new = w.copy()
    if y * z <= 0:
        for p in range(len(w)):
            new[p] += rate * y * x[p]
    return new


@njit(whole="y order")
def perceptron_epoch(w, X, y, rate, order):
    """Update with each example once, in the given order; count the updates.
    (p), (n p), (n), (), (n) -> (p), ()
    """
    check_indices(order, len(X))
    mistakes = 0
    for n in order:
        mistakes += y[n] * score(X[n : n + 1], w, 0)[0] <= 0
        w = perceptron_update(w, X[n], y[n], rate)
    return w, mistakes


@njit(whole="y")
def mistake_bound(X, y, u):
    """(linear_classification-mistake-bound)
    (R/γ)², R = max_n ‖x_n‖, γ = min_n y_n Σ_p u_p X_np / ‖u‖
    (n p), (n), (p) -> ()
    """
    N, P = X.shape
    m = margins(score(X, u, 0), y)
    size = 0.0
    for n in range(N):
        square = 0.0
        for p in range(P):
            square += X[n, p] * X[n, p]
        size = max(size, square)
    least = min(m)
    return size * np.sum(u * u) / (least * least) if least > 0 else np.inf


# From a score to a probability


@njit
def sigmoid(z):
    """(linear_classification-sigmoid)  σ(z) = 1 / (1 + e^(−z))
    (any shape) -> (the same shape)

    Takes numbers and arrays. For z < −709 the exponential overflows to infinity, and one over
    infinity is zero, which is right to rounding. A complex z needs a real part above −709.
    """
    return 1 / (1 + np.exp(-z))


@njit
def sigmoid_prime(z):
    """(linear_classification-sigmoid-prime)  σ′(z) = σ(z) (1 − σ(z)) = σ(z) σ(−z)
    (any shape) -> (the same shape)

    The last form keeps its digits for large z, where 1 − σ(z) cancels.
    """
    return sigmoid(z) * sigmoid(-z)


@njit
def row_shift(z):
    """c_n = max_j Re z_nj, or 0 where that is not finite
    (n j) -> (n)
    """
    N, J = z.shape
    c = np.zeros(N, z.real.dtype)
    for n in range(N):
        largest = z[n, 0].real
        for j in range(1, J):
            largest = max(largest, z[n, j].real)
        if np.isfinite(largest):
            c[n] = largest
    return c


@njit
def softmax(z):
    """(linear_classification-softmax, linear_classification-softmax-shift)
    p_nj = e^(z_nj − c_n) / Σ_k e^(z_nk − c_n)
    (n j) -> (n j)
    """
    N, J = z.shape
    c, p = row_shift(z), np.empty_like(z)
    total = np.zeros(N, z.dtype)
    for n in range(N):
        for j in range(J):
            p[n, j] = np.exp(z[n, j] - c[n])
            total[n] += p[n, j]
        for j in range(J):
            p[n, j] /= total[n]
    return p


@njit
def log_sum_exp(z):
    """(linear_classification-log-sum-exp)  c_n + log Σ_j e^(z_nj − c_n)
    (n j) -> (n)
    """
    N, J = z.shape
    c, total = row_shift(z), np.zeros(N, z.dtype)
    for n in range(N):
        for j in range(J):
            total[n] += np.exp(z[n, j] - c[n])
    return c + np.log(total)


@njit(whole="y")
def cross_entropy(p, y):
    """(linear_classification-cross-entropy)  −1/N Σ_n log p_{n y_n}
    (n j), (n) -> ()
    """
    check_indices(y, p.shape[1])
    total = 0.0
    for n in range(len(y)):
        total -= np.log(p[n, y[n]])
    return total / len(y)


@njit
def entropy(t):
    """(linear_classification-entropy)  −Σ_j t_j log t_j
    (j) -> ()

    A term whose factor is 0 is 0.
    """
    total = 0.0
    for j in range(len(t)):
        if t[j] != 0:
            total -= t[j] * np.log(t[j])
    return total


@njit
def kl_divergence(t, p):
    """(linear_classification-kl)  KL = Σ_j t_j (log t_j − log p_j)
    (j), (j) -> ()

    A term whose factor is 0 is 0; where only p_j is 0, KL is infinite.
    """
    total = 0.0
    for j in range(len(t)):
        if t[j] != 0:
            total += t[j] * (np.log(t[j]) - np.log(p[j]))
    return total


@njit(whole="y")
def softmax_cross_entropy(z, y):
    """(linear_classification-softmax-ce)  1/N Σ_n (log Σ_j e^(z_nj) − z_{n y_n})
    (n j), (n) -> ()
    """
    check_indices(y, z.shape[1])
    total = log_sum_exp(z)
    for n in range(len(y)):
        total[n] -= z[n, y[n]]
    return np.sum(total) / len(y)


@njit(whole="y")
def softmax_cross_entropy_gradient(z, y):
    """(linear_classification-softmax-ce-gradient)  dz_nj = (p_nj − [j = y_n]) / N
    (n j), (n) -> (n j)
    """
    check_indices(y, z.shape[1])
    dz = softmax(z)
    for n in range(len(y)):
        dz[n, y[n]] -= 1
    return dz / len(y)


@njit
def softmax_jacobian(p):
    """(linear_classification-softmax-jacobian)  ∂p_j/∂z_k = p_j ([j = k] − p_k)
    (j) -> (j j)
    """
    J = len(p)
    D = np.empty((J, J), p.dtype)
    for j in range(J):
        for k in range(J):
            D[j, k] = p[j] * ((j == k) - p[k])
    return D


@njit
def pair_probability(z):
    """(linear_classification-two-class)  p_n = σ(z_n1 − z_n0)
    (n 2) -> (n)
    """
    return sigmoid(z[:, 1] - z[:, 0])


@njit(whole="y")
def binary_cross_entropy(p, y):
    """(linear_classification-binary-ce)
    −1/N Σ_n (y_n log p_n + (1 − y_n) log(1 − p_n))
    (n), (n) -> ()

    A term whose factor is 0 is 0. Probabilities as labels are taken too.
    """
    total = 0.0
    for n in range(len(y)):
        if y[n] != 0:
            total -= y[n] * np.log(p[n])
        if y[n] != 1:
            total -= (1 - y[n]) * np.log(1 - p[n])
    return total / len(y)


# The cost of two classes


@njit(whole="y")
def logistic_cost(X, y, w, b, l2):
    """(linear_classification-logistic-cost)
    1/N Σ_n log(1 + e^(−y_n z_n)) + λ/2 Σ_p w_p²
    (n p), (n), (p), (), () -> ()
    """
    loss = logistic_loss(margins(score(X, w, b), y))
    return np.sum(loss) / len(y) + l2 / 2 * np.sum(w * w)


@njit(whole="y")
def logistic_gradient(X, y, w, b, l2):
    """(linear_classification-logistic-gradient)
    dw_p = Σ_n dz_n X_np + λ w_p,  db = Σ_n dz_n,  dz_n = −y_n σ(−m_n) / N
    (n p), (n), (p), (), () -> (p), ()
    """
    N, P = X.shape
    dz = margins(logistic_slope(margins(score(X, w, b), y)), y) / N
    dw = np.zeros(P, dz.dtype) + l2 * w
    for n in range(N):
        for p in range(P):
            dw[p] += dz[n] * X[n, p]
    return dw, np.sum(dz)


@njit
def logistic_hessian(X, w, b, l2):
    """(linear_classification-logistic-hessian)
    H_pq = 1/N Σ_n σ′(z_n) A_np A_nq + λ [p = q ≤ P],  A = (X, 1)
    (n p), (p), (), () -> (p+1 p+1)
    """
    N, P = X.shape
    A, curvature = with_ones(X), sigmoid_prime(score(X, w, b)) / N
    H = np.zeros((P + 1, P + 1), curvature.dtype)
    for p in range(P):
        H[p, p] = l2
    for n in range(N):
        for p in range(P + 1):
            for q in range(P + 1):
                H[p, q] += curvature[n] * (A[n, p] * A[n, q])
    return H


# The cost of many classes


@njit(whole="y")
def softmax_cost(X, y, W, b, l2):
    """(linear_classification-softmax-cost)
    1/N Σ_n (log Σ_j e^(z_nj) − z_{n y_n}) + λ/2 Σ_jp W_jp²
    (n p), (n), (j p), (j), () -> ()
    """
    z = scores(X, W, b)
    return softmax_cross_entropy(z, y) + l2 / 2 * np.sum(W * W)


@njit(whole="y")
def softmax_gradient(X, y, W, b, l2):
    """(linear_classification-softmax-gradient)
    dW_jp = Σ_n dz_nj X_np + λ W_jp,  db_j = Σ_n dz_nj
    (n p), (n), (j p), (j), () -> (j p), (j)
    """
    dz = softmax_cross_entropy_gradient(scores(X, W, b), y)
    dW = np.zeros(W.shape, dz.dtype) + l2 * W
    db = np.zeros(len(b), dz.dtype)
    for n in range(len(X)):
        for j in range(len(W)):
            db[j] += dz[n, j]
            for p in range(X.shape[1]):
                dW[j, p] += dz[n, j] * X[n, p]
    return dW, db


# Fitting


class Perceptron(NamedTuple):
    """A perceptron as it stands after its last epoch."""

    w: np.ndarray  # (p) weights
    b: float  # bias
    mistakes: np.ndarray  # updates in each epoch; the last is 0 if the classes were separated


class Fit(NamedTuple):
    """Weights and biases that minimise a cost."""

    w: np.ndarray  # (p) for two classes, (j p) for j classes
    b: np.ndarray  # () or (j)
    cost: float  # at the minimum, with its penalty
    slope: float  # largest entry of the gradient there
    steps: int  # iterations taken


def _both_signs(axes, y):
    """Return labels −1 and +1, of which each occurs."""
    y = axes.labels("y", y, "n", values=(-1, 1))
    if np.all(y == y[0]):
        raise ValueError(f"y holds one class only, {y[0]:+d}; two are needed to tell them apart")
    return y


def _all_classes(axes, y):
    """Return labels 0 … J−1, of which each occurs, and J."""
    y = axes.labels("y", y, "n")
    present = np.unique(y)
    if len(present) < 2:
        raise ValueError(f"y holds one class only, {y[0]}; two are needed to tell them apart")
    if present[-1] != len(present) - 1:
        missing = np.setdiff1d(np.arange(len(present)), present)[0]
        raise ValueError(f"y has labels up to {present[-1]} but no example of class {missing}")
    return y, len(present)


def _integers(axes, name, y):
    """Return whole-number labels of either kind, −1 and +1 or 0 … J−1."""
    return axes.labels(name, y, "n", least=-1)


def perceptron(
    X: ArrayLike,
    y: ArrayLike,
    rng: np.random.Generator,
    *,
    epochs: int = 100,
    rate: float = 1.0,
) -> Perceptron:
    """Train a perceptron until an epoch passes without a mistake (Rosenblatt 1958).

    Parameters
    ----------
    X : array_like, shape (n, p)
        Inputs. The bias is the weight of a constant input 1, which is added here.
    y : array_like of int, shape (n,)
        Labels −1 and +1.
    rng : numpy.random.Generator
        Draws the order of the examples, anew for each epoch.
    epochs : int
        Passes over the data at most; classes that no plane separates use all of them.
    rate : float
        Step size η. Starting from zero weights it scales the result and changes no guess.

    Raises
    ------
    TypeError, ValueError
        For inputs that are not finite or do not fit, labels other than −1 and +1, a single
        class, or a rate that is not positive.
    """
    axes = shapes.Axes()
    X, y = axes.floats("X", X, "n p"), _both_signs(axes, y)
    rng = shapes.generator("rng", rng)
    epochs, rate = shapes.count("epochs", epochs), shapes.number("rate", rate, above=0)
    A, w, mistakes = with_ones(X), np.zeros(axes["p"] + 1, X.dtype), []
    while len(mistakes) < epochs and mistakes[-1:] != [0]:
        w, wrong = perceptron_epoch(w, A, y, rate, rng.permutation(axes["n"]))
        mistakes.append(int(wrong))
    return Perceptron(w[:-1], w[-1], np.array(mistakes))


def logistic_regression(X: ArrayLike, y: ArrayLike, l2: float, *, steps: int = 100) -> Fit:
    """Minimise 1/N Σ_n log(1 + e^(−y_n z_n)) + λ/2 ‖w‖² by Newton's method.

    scikit-learn's ``LogisticRegression`` minimises the same with ``C = 1 / (N λ)``.

    Parameters
    ----------
    X : array_like, shape (n, p)
        Inputs, standardised or of similar size.
    y : array_like of int, shape (n,)
        Labels −1 and +1.
    l2 : float
        Strength λ of the penalty, positive; the bias is not penalised. Without it separable
        classes have no minimum.
    steps : int
        Newton steps at most; ten are usual.

    Raises
    ------
    TypeError, ValueError
        For inputs that are not finite or do not fit, labels other than −1 and +1, a single
        class, a strength that is not positive or one that vanishes beside X.
    RuntimeError
        If of the parts of some entry of the gradient, which cancel at the minimum, more than 1e-10
        was left, and more than rounding leaves.
    """
    axes = shapes.Axes()
    X, y = axes.floats("X", X, "n p").astype(np.float64), _both_signs(axes, y)
    l2, steps = shapes.number("l2", l2, above=0), shapes.count("steps", steps)
    A, penalty, unit = _in_units(X, l2)
    theta = np.zeros(axes["p"] + 1)
    cost = _logistic_cost(A, y, theta, penalty)
    for step in range(steps + 1):
        w, b = theta[:-1], theta[-1]
        g, H = np.append(*logistic_gradient(A, y, w, b, 0.0)), logistic_hessian(A, w, b, 0.0)
        g[:-1] += penalty * w
        H[np.diag_indices(len(w))] += penalty
        size = np.sqrt(np.diagonal(H))
        size = np.where(size > 0, size, 1)
        dz = np.abs(logistic_slope(margins(score(A, w, b), y))) / len(y)
        parts = np.append(np.abs(A.T) @ dz + penalty * np.abs(w), dz.sum())
        left = _left(g / size, parts / size, TOLERANCE, 100 * EPS)
        if left <= max(TOLERANCE, _rounding(A, w)):
            slope = np.max(np.abs(np.ldexp(g, np.append(unit, 0))))
            return Fit(np.ldexp(w, -unit), b, float(cost), float(slope), step)
        move = _solution(H / size / size[:, None], g / size) / size
        theta, cost = _downhill(A, y, theta, move, penalty, cost)
    raise RuntimeError(_unfinished(left, steps, "Newton steps"))


def _in_units(X, l2):
    """Return inputs near one, the penalty of each column's weight then, and the columns' units.

    They are powers of two: of a column's largest number, or of √λ where that is larger.
    """
    unit = np.maximum(units.powers(X, axis=0), np.frexp(np.sqrt(l2))[1])
    penalty = np.ldexp(l2, -2 * unit)
    if (gone := penalty < np.finfo(np.float64).tiny).any():
        raise ValueError(
            f"l2 is {l2:g}, which vanishes beside the square of column {np.flatnonzero(gone)[0]} "
            "of X: rescale X or raise l2"
        )
    return np.ldexp(X, -unit), penalty, unit


def _left(gradient, parts, tolerance, rounding):
    """Return the largest entry of a gradient, each beside the sum of the sizes of its parts.

    At the minimum the parts of each entry cancel. What is left of them has no unit, so that it is
    the same for inputs in metres and in millimetres. Within the tolerance is also what `rounding`
    says that a method cannot see beside the largest parts.
    """
    return np.max(np.abs(gradient) / (parts + rounding / tolerance * parts.max()))


def _rounding(X, W):
    """Return what rounding leaves of a gradient: scores are sums of terms that may cancel."""
    return 100 * EPS * np.max(np.abs(X) @ np.abs(W.T))


def _unfinished(left, steps, what):
    return (
        f"the gradient is still {left:.1e} of its parts after {steps} {what}; "
        "standardise X or raise l2 or steps"
    )


def _solution(H, g):
    """Return H⁻¹ g, or the shortest solution where curvature vanishes."""
    try:
        return np.linalg.solve(H, g)  # small entries keep their digits beside large ones
    except np.linalg.LinAlgError:
        return np.linalg.lstsq(H, g, rcond=None)[0]


def _logistic_cost(X, y, theta, penalty):
    """Return the cost where the weight of each column has a penalty of its own."""
    w, b = theta[:-1], theta[-1]
    return logistic_cost(X, y, w, b, 0.0) + np.sum(penalty * w * w) / 2


def _downhill(X, y, theta, move, penalty, cost):
    """Halve a Newton step until the cost does not rise."""
    for k in range(60):
        new = theta - move / 2**k
        new_cost = _logistic_cost(X, y, new, penalty)
        if new_cost <= cost * (1 + 1e-12):
            return new, new_cost
    return theta, cost


def _newton(X, parts, penalty, theta, grad):
    """Return H⁻¹ g of softmax regression by conjugate gradients, which ask for products alone."""
    from scipy.sparse.linalg import LinearOperator, cg

    p = softmax(scores(X, *parts(theta))) / len(X)

    def product(v):
        V, c = parts(v.ravel())
        s = X @ V.T + c
        s = p * (s - len(X) * np.sum(p * s, axis=1, keepdims=True))
        return np.concatenate(((s.T @ X + penalty * V).ravel(), s.sum(axis=0)))

    H = LinearOperator((len(theta),) * 2, matvec=product, dtype=np.float64)
    return cg(H, grad, rtol=1e-4, maxiter=1000)[0]


def softmax_regression(X: ArrayLike, y: ArrayLike, l2: float, *, steps: int = 5000) -> Fit:
    """Minimise 1/N Σ_n (log Σ_j e^(z_nj) − z_{n y_n}) + λ/2 Σ W² by L-BFGS from zero weights.

    Where its costs differ by rounding alone, Newton steps go on from the gradient. scikit-learn's
    ``LogisticRegression`` minimises the same with ``C = 1 / (N λ)``.

    Parameters
    ----------
    X : array_like, shape (n, p)
        Inputs, standardised or of similar size.
    y : array_like of int, shape (n,)
        Labels 0 … J−1, each of which occurs.
    l2 : float
        Strength λ of the penalty, positive; biases are not penalised.
    steps : int
        Iterations at most.

    Raises
    ------
    TypeError, ValueError
        For inputs that are not finite or do not fit, labels that are not 0 … J−1, a single
        class, a strength that is not positive or one that vanishes beside X.
    RuntimeError
        If of the parts of some entry of the gradient, which cancel at the minimum, more than 1e-6
        was left, and more than rounding leaves.
    """
    from scipy.optimize import minimize

    axes = shapes.Axes()
    X = axes.floats("X", X, "n p").astype(np.float64)
    y, J = _all_classes(axes, y)
    l2, steps = shapes.number("l2", l2, above=0), shapes.count("steps", steps)
    A, penalty, unit = _in_units(X, l2)
    parts = lambda theta: (theta[:-J].reshape(J, axes["p"]), theta[-J:])

    def cost_and_gradient(theta):
        W, b = parts(theta)
        dW, db = softmax_gradient(A, y, W, b, 0.0)
        cost = softmax_cost(A, y, W, b, 0.0) + np.sum(penalty * W * W) / 2
        return cost, np.concatenate(((dW + penalty * W).ravel(), db))

    def judged(theta):
        """Return the cost, its gradient, what is left of it, and how much may be left."""
        W, b = parts(theta)
        cost, grad = cost_and_gradient(theta)
        dz = np.abs(softmax_cross_entropy_gradient(scores(A, W, b), y))
        sizes = (dz.T @ np.abs(A) + penalty * np.abs(W)).ravel()
        sizes = np.concatenate((sizes, dz.sum(axis=0)))
        left = _left(grad, sizes, LBFGS_TOLERANCE, np.sqrt(EPS))  # L-BFGS compares costs
        return cost, grad, left, max(LBFGS_TOLERANCE, _rounding(A, W))

    theta, taken = np.zeros(J * (axes["p"] + 1)), 0
    for least in (1e-9, 1e-12, 1e-15):
        options = {"maxiter": steps - taken, "maxfun": 2 * steps, "ftol": 0, "maxcor": 20}
        found = minimize(
            cost_and_gradient, theta, jac=True, method="L-BFGS-B", options=options | {"gtol": least}
        )
        theta, taken = found.x, taken + int(found.nit)
        cost, grad, left, most = judged(theta)
        while left > most and taken < steps:
            new = theta - _newton(A, parts, penalty, theta, grad)
            there = judged(new)
            if not there[2] < left / 2:
                break
            theta, taken = new, taken + 1
            cost, grad, left, most = there
        if left <= most:
            (W, b), (dW, db) = parts(theta), parts(grad)
            slope = max(np.abs(np.ldexp(dW, unit)).max(), np.abs(db).max())
            return Fit(np.ldexp(W, -unit), b, float(cost), float(slope), taken)
        if taken >= steps:
            break
    raise RuntimeError(_unfinished(left, taken, "steps"))


def one_vs_rest(X: ArrayLike, y: ArrayLike, l2: float) -> Fit:
    """Fit one logistic regression per class, this class against all others.

    Parameters
    ----------
    X, y, l2
        As in `softmax_regression`.

    Returns
    -------
    Fit
        Weights (j p) and biases (j) for `predict`. `cost` adds the costs of the J fits, `slope`
        is their largest and `steps` their sum. The scores belong to J separate questions, so
        `probabilities` has no meaning for them.
    """
    axes = shapes.Axes()
    X = axes.floats("X", X, "n p")
    y, J = _all_classes(axes, y)
    fits = [logistic_regression(X, np.where(y == j, 1, -1), l2) for j in range(J)]
    w, b, cost, slope, steps = (np.array(part) for part in zip(*fits, strict=True))
    return Fit(w, b, float(cost.sum()), float(slope.max()), int(steps.sum()))


# Using a fit


def _scores(params, X):
    """Check inputs against fitted weights and return the scores, (n) or (n j)."""
    if not isinstance(params, (Perceptron, Fit)):
        raise TypeError(f"params is {shapes.shown(params)}, expected a fitted model")
    w, b = np.asarray(params.w), np.asarray(params.b)
    X = shapes.Axes(p=w.shape[-1]).floats("X", X, "n p")
    return score(X, w, b.item()) if w.ndim == 1 else scores(X, w, b)


def predict(params: Perceptron | Fit, X: ArrayLike) -> np.ndarray:
    """Return the label of each row: −1 or +1 from one score, 0 … J−1 from J scores.

    Parameters
    ----------
    params : Perceptron or Fit
        What a fit returned.
    X : array_like, shape (n, p)
        Inputs, treated as those of the fit were.
    """
    z = _scores(params, X)
    return sign(z).astype(np.int64) if z.ndim == 1 else row_argmax(z)


def probabilities(params: Fit, X: ArrayLike) -> np.ndarray:
    """Return the probability of the label +1, shape (n), or of each class, shape (n, j).

    Parameters
    ----------
    params : Fit
        From `logistic_regression` or `softmax_regression`.
    X : array_like, shape (n, p)
        Inputs, treated as those of the fit were.
    """
    z = _scores(params, X)
    return sigmoid(z) if z.ndim == 1 else softmax(z)


def accuracy(guess: ArrayLike, y: ArrayLike) -> float:
    """Return the share of guesses that equal the label.

    Parameters
    ----------
    guess, y : array_like of int, shape (n,)
        Guessed and true labels.

    Examples
    --------
    >>> accuracy([1, -1, 1, 1], [1, -1, -1, 1])
    0.75
    """
    axes = shapes.Axes()
    guess, y = (_integers(axes, name, v) for name, v in (("guess", guess), ("y", y)))
    return float(share_correct(guess, y))


def standardize(train: ArrayLike, *others: ArrayLike) -> tuple[np.ndarray, ...]:
    """Subtract the columns' means and divide by their spreads, both of the training part.

    Parameters
    ----------
    train : array_like, shape (n, p)
        The part that means and spreads are computed from.
    *others : array_like, shape (·, p)
        Parts that are treated with the same numbers: validation, test.

    Returns
    -------
    tuple of ndarray
        One array for each argument. A constant column becomes zero; one that is constant up to
        rounding is centred and not divided.
    """
    axes = shapes.Axes()
    train = axes.floats("train", train, "n p")
    others = [shapes.Axes(p=axes["p"]).floats("others", part, "m p") for part in others]
    first = train[0].astype(np.float64)
    with np.errstate(over="ignore"):  # differences, so that nothing is rounded that is constant
        away = [part - first for part in (train, *others)]
    if not np.isfinite(away[0]).all():
        raise ValueError("train holds numbers so large that their differences overflow: rescale it")
    unit = units.powers(away[0], axis=0)  # a power of two: squares do not vanish
    away = [np.ldexp(part, -unit) for part in away]
    mean = away[0].mean(axis=0)
    spread = np.sqrt(np.mean((away[0] - mean) ** 2, axis=0))
    rounding = np.ldexp(np.finfo(train.dtype).eps * np.abs(train).max(axis=0), -unit)
    spread = np.where(spread > rounding, spread, np.ldexp(1.0, -unit))
    return tuple(
        ((a - mean) / spread).astype(part.dtype)
        for a, part in zip(away, (train, *others), strict=True)
    )


class Calibration(NamedTuple):
    """Predicted probabilities and observed frequencies, by bins of the prediction."""

    predicted: np.ndarray  # (q) mean probability in each bin
    observed: np.ndarray  # (q) share of events in it
    count: np.ndarray  # (q) number of cases in it


def calibration(p: ArrayLike, event: ArrayLike, bins: int = 5) -> Calibration:
    """Sort the cases by predicted probability, cut them into bins of equal count and compare.

    Parameters
    ----------
    p : array_like, shape (n,)
        Promised probabilities, from 0 to 1.
    event : array_like of int, shape (n,)
        1 where the event happened, 0 where it did not.
    bins : int
        Number of bins, at most the number of cases.
    """
    axes = shapes.Axes()
    p, event = axes.floats("p", p, "n"), axes.labels("event", event, "n", 2)
    if p.min() < 0 or p.max() > 1:
        raise ValueError(f"p goes from {p.min():g} to {p.max():g}, expected 0 … 1")
    bins = shapes.count("bins", bins, most=axes["n"])
    parts = np.array_split(np.argsort(p, kind="stable"), bins)
    means = lambda v: np.array([v[part].mean() for part in parts])
    return Calibration(means(p), means(event), np.array([len(part) for part in parts]))
