"""Exercises of the chapter on regularization.

Page: ``book/regularization.md``. Axes: n examples, p inputs, as in the chapter.
"""

import numpy as np
from sklearn.linear_model import Ridge

from dlbook import regularization as chapter
from dlbook.exercises.forms import Choice, Exercise, Mistake, sizes
from dlbook.tools.jit import njit

__all__ = ["EXERCISES"]


# A bias that costs nothing


def bias_probes(rng):
    """Two examples of one input, round numbers; then tables whose columns have means."""
    yield np.array([[1.0], [3.0]]), np.array([2.0, 6.0]), 2.0
    for _ in range(4):
        p, n = sorted(sizes(rng, 2, least=2, most=9))
        X = rng.normal(size=(n, p)) + rng.normal(size=p)
        yield X, rng.normal(size=n) + 2, float(rng.uniform(0.5, 2))


def solved(X, y, l2):
    return np.linalg.solve(X.T @ X + l2 * np.eye(X.shape[1]), X.T @ y)


def ridge_with_bias(X, y, l2):
    w = solved(X - X.mean(axis=0), y - y.mean(), l2)
    return w, y.mean() - X.mean(axis=0) @ w


def bias_extended(X, y, l2):
    n, p = X.shape
    below = np.hstack([np.sqrt(l2) * np.eye(p), np.zeros((p, 1))])
    rows = np.vstack([np.hstack([X, np.ones((n, 1))]), below])
    found = np.linalg.lstsq(rows, np.append(y, np.zeros(p)))[0]
    return found[:-1], found[-1]


def bias_peer(X, y, l2):
    fit = Ridge(l2, solver="svd").fit(X, y)
    return fit.coef_, fit.intercept_


@njit
def bias_compiled(X, y, l2):
    n, p = X.shape
    A, r = np.zeros((p + 1, p + 1)), np.zeros(p + 1)
    for k in range(n):
        row = np.ones(p + 1)
        row[:p] = X[k]
        A += row.reshape(-1, 1) * row
        r += y[k] * row
    for j in range(p):
        A[j, j] += l2
    found = np.linalg.solve(A, r)
    return found[:p], found[p]


def bias_shrunk(X, y, l2):
    found = solved(np.hstack([X, np.ones((len(X), 1))]), y, l2)
    return found[:-1], found[-1]


BIAS = Exercise(
    label="regularization-bias",
    task="Write `ridge_with_bias(X, y, l2)`, the weights and the bias of a ridge regression whose bias is free.",
    reference=ridge_with_bias,
    axes="(n p), (n), () -> (p), ()",
    probes=bias_probes,
    mistakes=(
        Mistake(
            "the bias is penalised like a weight",
            bias_shrunk,
            "A column of ones is shrunk as well, so that the fit depends on where zero lies on the scale of y.",
            "{eq}`regularization-ridge-cost`",
        ),
        Mistake(
            "the bias is the mean of y alone",
            lambda X, y, l2: (ridge_with_bias(X, y, l2)[0], y.mean()),
            "The weights were fitted to centred columns. Put the means back: b = mean y − w · mean x.",
            "{eq}`regularization-ridge`",
        ),
        Mistake(
            "only the responses are centred",
            lambda X, y, l2: (
                solved(X, y - y.mean(), l2),
                y.mean() - X.mean(axis=0) @ solved(X, y - y.mean(), l2),
            ),
            "The columns need their means taken off too, or the weights have to explain them.",
            "{eq}`regularization-ridge`",
        ),
        Mistake(
            "λ is multiplied by the number of examples",
            lambda X, y, l2: ridge_with_bias(X, y, l2 * len(y)),
            "That belongs to a cost with the mean of the squares. Here it is half their sum.",
            "{eq}`regularization-ridge-cost`",
        ),
        Mistake(
            "λ is squared on the diagonal",
            lambda X, y, l2: ridge_with_bias(X, y, l2 * l2),
            "The rows below the data hold √λ; their squares are λ.",
            "{eq}`regularization-ridge`",
        ),
        Mistake(
            "λ is halved on the diagonal",
            lambda X, y, l2: ridge_with_bias(X, y, l2 / 2),
            "Both parts of the cost have the half, so both lose it when they are differentiated.",
            "{eq}`regularization-ridge-cost`",
        ),
    ),
    hints=(
        "For given weights, which b is best? Set the derivative of the cost by b to zero.",
        "It is mean y − w · mean x. Put it into the cost: columns and responses appear without means.",
        "Centre both, solve (XᵀX + λI) w = Xᵀy, and return w and mean y − w · mean x.",
    ),
    used="All fits of the chapter find their bias in this way; {eq}`regularization-ridge` needs none.",
    right=(bias_extended, bias_peer, bias_compiled),
    others=(
        (lambda *a: ridge_with_bias(*a)[::-1], "the results are returned in the reverse order"),
        (lambda *a: ridge_with_bias(*a)[0], "wrong type or shape"),
        (lambda X, y, l2: (solved(X, y, l2), 0.0), "wrong"),
        (lambda X, y, l2: ridge_with_bias(X, y, 1.0), "wrong"),
    ),
)


# One step of coordinate descent


def update_probes(rng):
    """One input, round numbers; then several, with thresholds that bind and that do not."""
    yield np.array([[1.0], [2.0]]), np.array([2.0, 3.0]), np.array([1.0]), 0, 3.0, 1.0
    for k in range(8):
        p, n = sorted(sizes(rng, 2, least=3, most=9))
        X, y, w = rng.normal(size=(n, p)), rng.normal(size=n), rng.normal(size=p)
        q = int(rng.integers(p))
        l2, (z, square) = float(rng.uniform(0.3, 1.5)), asked(X, y, w, q)
        share = 1.5 if k == 3 else 0.4 if k % 2 else 0.3 / (square + l2)
        yield X, y, w, q, float(share * np.abs(z)), l2


def soft(z, l1):
    return np.sign(z) * np.maximum(np.abs(z) - l1, 0)


def asked(X, y, w, q):
    """Return what column q has to explain, and its square."""
    square = X[:, q] @ X[:, q]
    return X[:, q] @ (y - X @ w) + w[q] * square, square


def update(X, y, w, q, l1, l2):
    z, square = asked(X, y, w, q)
    return soft(z, l1) / (square + l2)


def update_without(X, y, w, q, l1, l2):
    rest = y - np.delete(X, q, axis=1) @ np.delete(w, q)
    z = X[:, q] @ rest
    return (z - np.clip(z, -l1, l1)) / (X[:, q] @ X[:, q] + l2)


@njit
def update_compiled(X, y, w, q, l1, l2):
    z, square = 0.0, 0.0
    for n in range(len(y)):
        e = y[n]
        for p in range(len(w)):
            if p != q:
                e -= X[n, p] * w[p]
        z += X[n, q] * e
        square += X[n, q] * X[n, q]
    if z > l1:
        return (z - l1) / (square + l2)
    if z < -l1:
        return (z + l1) / (square + l2)
    return 0.0


def update_kinds(X, y, w, q, l1, l2):
    z, square = asked(X, y, w, q)
    return (max(z - l1, 0) - max(-z - l1, 0)) / (square + l2)


def _update(step):
    """Return an update made of what is asked and the square in another way."""

    def made(X, y, w, q, l1, l2):
        return step(*asked(X, y, w, q), w[q], l1, l2)

    return made


COORDINATE = Exercise(
    label="regularization-coordinate",
    task="Write `update(X, y, w, q, l1, l2)`, the weight w_q that minimises the elastic net while the others stay.",
    reference=update,
    axes="(n p), (n), (p), (), (), () -> ()",
    probes=update_probes,
    mistakes=(
        Mistake(
            "the column's own contribution is not put back",
            _update(lambda z, square, w, l1, l2: soft(z - square * w, l1) / (square + l2)),
            "The residuals already contain w_q. Without adding w_q Σ x² a weight that is right is thrown away.",
            "{eq}`regularization-coordinate`",
        ),
        Mistake(
            "the threshold is taken after the division",
            _update(lambda z, square, w, l1, l2: soft(z / (square + l2), l1)),
            "λ₁ is a slope of the cost, so it belongs beside z; divided, it is λ₁/(Σ x² + λ₂).",
            "{eq}`regularization-soft-threshold`",
        ),
        Mistake(
            "what passes the threshold is not shrunk",
            _update(lambda z, square, w, l1, l2: z * (np.abs(z) > l1) / (square + l2)),
            "That is a hard threshold. The slope λ₁ of the kink pulls large weights as well.",
            "{eq}`regularization-soft-threshold`",
        ),
        Mistake(
            "λ₂ is missing in the denominator",
            _update(lambda z, square, w, l1, l2: soft(z, l1) / square),
            "The square λ₂/2 w² adds λ₂ to the curvature.",
            "{eq}`regularization-elastic-net`",
        ),
        Mistake(
            "the threshold is missing",
            _update(lambda z, square, w, l1, l2: z / (square + l2)),
            "This is the update of a ridge regression; the kink of the absolute value subtracts λ₁.",
            "{eq}`regularization-lasso`",
        ),
        Mistake(
            "the sign is lost in the threshold",
            _update(lambda z, square, w, l1, l2: np.maximum(np.abs(z) - l1, 0) / (square + l2)),
            "Negative weights exist: sign(z) stands before the maximum.",
            "{eq}`regularization-soft-threshold`",
        ),
        Mistake(
            "negative values are never shrunk to negative weights",
            _update(lambda z, square, w, l1, l2: np.maximum(z - l1, 0) / (square + l2)),
            "max(z − λ₁, 0) is the update under the condition w ≥ 0. Below −λ₁ it is z + λ₁.",
            "{eq}`regularization-soft-threshold`",
        ),
    ),
    hints=(
        "Write the cost as a function of w_q alone; it is a parabola and a kink.",
        "The parabola has the curvature Σ x² + λ₂ and the slope −z at zero, with z = Σ x (e + x w_q).",
        "S(z, λ₁) / (Σ x² + λ₂), with S the soft threshold.",
    ),
    used="A sweep of {eq}`regularization-coordinate` is this for one weight after the other.",
    right=(update_without, update_compiled, update_kinds),
    others=(
        (lambda *a: -update(*a), "every number has the opposite sign"),
        (lambda *a: np.array([update(*a)] * 2), "wrong type or shape"),
        (lambda X, y, w, q, l1, l2: update(X, y, w, 0, l1, l2), "wrong"),
    ),
)


# A bound without the answer


def gap_probes(rng):
    """One input, round numbers; then several, where the residuals are allowed and where not."""
    yield np.array([[1.0], [2.0]]), np.array([2.0, 3.0]), np.array([0.5]), 2.0
    for k in range(6):
        p, n = sorted(sizes(rng, 2, least=2, most=9))
        X, y, w = rng.normal(size=(n, p)), rng.normal(size=n), rng.normal(size=p)
        largest = np.abs(X.T @ (y - X @ w)).max()
        yield X, y, w, float(largest * (1.4 if k % 2 else 0.6))


def gap(X, y, w, l1):
    e = y - X @ w
    theta = e * min(1, l1 / np.abs(X.T @ e).max())
    return e @ e / 2 + l1 * np.abs(w).sum() - theta @ y + theta @ theta / 2


def gap_parts(X, y, w, l1):
    e = y - X @ w
    theta = e * np.minimum(1, l1 / np.max(np.abs(e @ X)))
    return np.sum((e - theta) ** 2) / 2 + l1 * np.sum(np.abs(w)) - theta @ (y - e)


def gap_kernel(X, y, w, l1):
    return chapter.duality_gap(X, y, w, l1, 0.0)


@njit
def gap_compiled(X, y, w, l1):
    e, largest, s = y - X @ w, 0.0, 1.0
    for p in range(len(w)):
        largest = max(largest, abs(np.sum(X[:, p] * e)))
    if largest > l1:
        s = l1 / largest
    total = l1 * np.sum(np.abs(w))
    for n in range(len(y)):
        total += e[n] * e[n] / 2 - s * e[n] * y[n] + s * s * e[n] * e[n] / 2
    return total


def _gap(scale=lambda largest, l1: min(1, l1 / largest), dual=None, cost=None):
    """Return a gap with another scale, another lower bound or another cost."""

    def made(X, y, w, l1):
        e = y - X @ w
        theta = e * scale(np.abs(X.T @ e).max(), l1)
        low = theta @ y - theta @ theta / 2 if dual is None else dual(theta, y)
        high = e @ e / 2 + l1 * np.abs(w).sum() if cost is None else cost(e, w, l1)
        return high - low

    return made


GAP = Exercise(
    label="regularization-gap",
    task="Write `gap(X, y, w, l1)`, the duality gap of a lasso at any weights.",
    reference=gap,
    axes="(n p), (n), (p), () -> ()",
    probes=gap_probes,
    mistakes=(
        Mistake(
            "the residuals are not scaled",
            _gap(scale=lambda largest, l1: 1.0),
            "Where a column has a larger product with the residuals than λ, they are not allowed, and nothing is bounded.",
            "{eq}`regularization-duality-gap`",
        ),
        Mistake(
            "the residuals are scaled up as well",
            _gap(scale=lambda largest, l1: l1 / largest),
            "Where all products are below λ the residuals are allowed as they are: the scale is at most 1.",
            "{eq}`regularization-duality-gap`",
        ),
        Mistake(
            "the half is missing in the lower bound",
            _gap(dual=lambda theta, y: theta @ y - theta @ theta),
            "½‖e‖² ≥ θ·e − ½‖θ‖² is what the bound is made of.",
            "{eq}`regularization-duality-gap`",
        ),
        Mistake(
            "the half is missing in the cost",
            _gap(cost=lambda e, w, l1: e @ e + l1 * np.abs(w).sum()),
            "The lasso of this chapter has half the sum of squares.",
            "{eq}`regularization-lasso`",
        ),
        Mistake(
            "the penalty is left out of the cost",
            _gap(cost=lambda e, w, l1: e @ e / 2),
            "What is bounded is the whole cost, with λ ‖w‖₁.",
            "{eq}`regularization-lasso`",
        ),
        Mistake(
            "this is the lower bound itself",
            lambda X, y, w, l1: X.dtype.type(0) - _gap(cost=lambda e, w, l1: 0.0)(X, y, w, l1),
            "The gap is the cost minus this.",
            "{eq}`regularization-duality-gap`",
        ),
    ),
    hints=(
        "θ is the residuals times a number s. How large may s be, so that |Σ x θ| ≤ λ for every column?",
        "s = min(1, λ / max |Xᵀe|); the lower bound is θ·y − ½ θ·θ.",
        "½ e·e + λ Σ|w| − (θ·y − ½ θ·θ).",
    ),
    used="The fits of the chapter stop by it: {eq}`regularization-duality-gap`.",
    right=(gap_parts, gap_kernel, gap_compiled),
    others=(
        (lambda *a: -gap(*a), "every number has the opposite sign"),
        (lambda *a: np.array([gap(*a)] * 2), "wrong type or shape"),
        (lambda X, y, w, l1: gap(X, y, w, l1) ** 2, "wrong"),
    ),
)


# Leaving out one at a time


def left_probes(rng):
    """Two examples of one input; then tables, one of them with more columns than rows."""
    yield np.array([[1.0], [2.0]]), np.array([2.0, 3.0]), 3.0
    for k in range(4):
        p, n = sorted(sizes(rng, 2, least=3, most=9))
        if k == 2:
            p, n = n, p
        yield rng.normal(size=(n, p)), rng.normal(size=n), float(rng.uniform(0.5, 2))


def residuals_and_hat(X, y, l2):
    H = X @ np.linalg.solve(X.T @ X + l2 * np.eye(X.shape[1]), X.T)
    return y - H @ y, np.diag(H)


def left_out(X, y, l2):
    e, h = residuals_and_hat(X, y, l2)
    return np.mean((e / (1 - h)) ** 2)


def left_refitted(X, y, l2):
    errors = []
    for n in range(len(y)):
        rest = np.arange(len(y)) != n
        errors.append(y[n] - X[n] @ solved(X[rest], y[rest], l2))
    return np.mean(np.square(errors))


def left_kernel(X, y, l2):
    U, d, _ = np.linalg.svd(X, full_matrices=False)
    return np.mean(chapter.leave_one_out(U, d, y, l2) ** 2)


def left_rows(X, y, l2):
    inverse = np.linalg.inv(X @ X.T + l2 * np.eye(len(y)))
    return np.mean((inverse @ y / np.diag(inverse)) ** 2)


def _left(change):
    """Return the mean square of what is made of residuals and hat values."""
    return lambda X, y, l2: np.mean(change(*residuals_and_hat(X, y, l2)))


LEFT = Exercise(
    label="regularization-left-out",
    task="Write `left_out(X, y, l2)`, the mean squared error of a ridge regression without bias on examples left out one at a time.",
    reference=left_out,
    axes="(n p), (n), () -> ()",
    probes=left_probes,
    mistakes=(
        Mistake(
            "the residuals are not divided by 1 − h",
            _left(lambda e, h: e**2),
            "This is the training error: each example has pulled the fit towards itself.",
            "{eq}`regularization-leave-one-out`",
        ),
        Mistake(
            "1 − h is not squared with the residual",
            _left(lambda e, h: e**2 / (1 - h)),
            "The quotient e/(1 − h) is the error; square it as a whole.",
            "{eq}`regularization-leave-one-out`",
        ),
        Mistake(
            "all examples have the mean of h",
            _left(lambda e, h: (e / (1 - h.mean())) ** 2),
            "That is generalized cross-validation, an approximation. Each example has its own h.",
            "{eq}`regularization-leave-one-out`",
        ),
        Mistake(
            "the residuals are divided by 1 + h",
            _left(lambda e, h: (e / (1 + h)) ** 2),
            "Left out, an example is predicted worse than before, not better.",
            "{eq}`regularization-leave-one-out`",
        ),
        Mistake(
            "the residuals are multiplied by 1 − h",
            _left(lambda e, h: (e * (1 - h)) ** 2),
            "Left out, an example is predicted worse than before, not better.",
            "{eq}`regularization-leave-one-out`",
        ),
        Mistake(
            "the errors are averaged without their squares",
            _left(lambda e, h: np.abs(e / (1 - h))),
            "This is the mean absolute error.",
            "{eq}`regularization-k-fold`",
        ),
    ),
    hints=(
        "Predictions are linear in y: ŷ = H y. What is H for a ridge regression?",
        "H = X (XᵀX + λI)⁻¹ Xᵀ, and the error of example n without it is e_n / (1 − H_nn).",
        "The mean of (e / (1 − diag H))².",
    ),
    used="`ridge_path` returns it for every strength: {eq}`regularization-leave-one-out`.",
    right=(left_refitted, left_kernel, left_rows),
    others=(
        (lambda *a: left_out(*a) * len(a[1]), "every number is N times what it should be"),
        (lambda *a: np.array([left_out(*a)] * 2), "wrong type or shape"),
        (lambda X, y, l2: left_out(X, y, 1.0), "wrong"),
    ),
)


# Break this line

BREAK = Choice(
    label="regularization-break",
    task="In `duality_gap` the scale becomes `s = l1 / largest` in every case. Name the letters of all checks that no longer pass.",
    right="bd",
    wrong={
        "a": "(a) has a column whose product with the residuals is above λ₁: there the line computes what it did.",
        "c": "(c) stands at zero weights with λ₁ below the largest product, so the scale is the same.",
        "e": "(e), the conditions, know nothing of a gap.",
        "f": "(f): `lasso` measures its gap in a kernel of its own.",
    },
    missing="Where are all products of the columns with the residuals below λ₁? And what else is built on the gap?",
    hints=(
        "The two lines differ only where the largest |g_p| is below λ₁.",
        "With λ₁ = 9 it is. Which two equations are checked there?",
        "The gap itself and the bound that contains its root.",
    ),
    used="A scale above 1 leaves θ allowed, but the bound is looser here, and not {eq}`regularization-duality-gap`.",
)


# What dropout solves


def dropout_probes(rng):
    """One input, round numbers; then columns of unequal size."""
    yield np.array([[1.0], [2.0]]), np.array([2.0, 3.0]), 0.2
    for _ in range(4):
        p, n = sorted(sizes(rng, 2, least=2, most=9))
        X = rng.normal(size=(n, p)) * rng.uniform(0.5, 2, p)
        yield X, rng.normal(size=n), float(rng.uniform(0.15, 0.4))


def dropout_weights(X, y, drop):
    A = X.T @ X
    return np.linalg.solve(A + drop / (1 - drop) * np.diag(np.diag(A)), X.T @ y)


def dropout_scaled(X, y, drop):
    size = np.linalg.norm(X, axis=0)
    return solved(X / size, y, drop / (1 - drop)) / size


def dropout_rows(X, y, drop):
    below = np.diag(np.sqrt(drop / (1 - drop)) * np.linalg.norm(X, axis=0))
    rows = np.vstack([X, below])
    return np.linalg.lstsq(rows, np.append(y, np.zeros(X.shape[1])))[0]


@njit
def dropout_compiled(X, y, drop):
    A = np.zeros((X.shape[1], X.shape[1]))
    for n in range(len(X)):
        for p in range(X.shape[1]):
            for q in range(X.shape[1]):
                A[p, q] += X[n, p] * X[n, q]
    for p in range(X.shape[1]):
        A[p, p] /= 1 - drop
    return np.linalg.solve(A, X.T @ y)


def _dropout(price):
    """Return weights with another diagonal added."""

    def made(X, y, drop):
        A = X.T @ X
        return np.linalg.solve(A + np.diag(price(np.diag(A), drop, len(y))), X.T @ y)

    return made


DROPOUT = Exercise(
    label="regularization-dropout",
    task="Write `dropout_weights(X, y, drop)`, the weights that minimise the mean cost under dropout on the inputs.",
    reference=dropout_weights,
    axes="(n p), (n), () -> (p)",
    probes=dropout_probes,
    mistakes=(
        Mistake(
            "the probability is taken as the one to keep",
            _dropout(lambda a, drop, n: (1 - drop) / drop * a),
            "`drop` is the probability that an input becomes zero; the price is drop/(1 − drop).",
            "{eq}`regularization-input-dropout`",
        ),
        Mistake(
            "all weights have one price",
            _dropout(lambda a, drop, n: drop / (1 - drop) + 0 * a),
            "The variance that dropout adds is proportional to the square of the input, so a column's size counts.",
            "{eq}`regularization-input-dropout`",
        ),
        Mistake(
            "the price is the probability itself",
            _dropout(lambda a, drop, n: drop * a),
            "What is kept is divided by 1 − drop, and its variance with it: drop/(1 − drop).",
            "{eq}`regularization-input-dropout`",
        ),
        Mistake(
            "the price is the variance of the mask, drop (1 − drop)",
            _dropout(lambda a, drop, n: drop * (1 - drop) * a),
            "The mask is divided by 1 − drop, so its variance is divided by the square of that.",
            "{eq}`regularization-input-dropout`",
        ),
        Mistake(
            "the price is averaged over the examples",
            _dropout(lambda a, drop, n: drop / (1 - drop) * a / n),
            "Sums of squares of the columns stand on both sides of the cost: there is no 1/N.",
            "{eq}`regularization-input-dropout`",
        ),
        Mistake(
            "the weights are scaled for test time",
            lambda X, y, drop: (1 - drop) * dropout_weights(X, y, drop),
            "Training has already divided by 1 − drop. At test time nothing is left to be scaled.",
            "{eq}`regularization-input-dropout`",
        ),
    ),
    hints=(
        "Take the mean cost over the masks and set its gradient to zero.",
        "Its second part, drop/(1 − drop) Σ_p w_p² Σ_n x_np², is a ridge with a price for each weight.",
        "(XᵀX + drop/(1 − drop) diag(XᵀX)) w = Xᵀy.",
    ),
    used="These weights are where {eq}`regularization-input-dropout` is least; fifty copies of the inputs approach them.",
    right=(dropout_scaled, dropout_rows, dropout_compiled),
    others=(
        (lambda *a: -dropout_weights(*a), "every number has the opposite sign"),
        (lambda *a: dropout_weights(*a)[:1], "wrong type or shape"),
        (lambda X, y, drop: dropout_weights(X, y, 0.2), "wrong"),
    ),
)

EXERCISES = (BIAS, COORDINATE, GAP, LEFT, BREAK, DROPOUT)
