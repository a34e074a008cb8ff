"""Exercises of the chapter on linear regression.

Page: ``book/linear_regression.md``. Axes: n examples, p columns, as in the chapter.
"""

import numpy as np

from dlbook import linear_regression as chapter
from dlbook.exercises.forms import Choice, Exercise, Mistake, Stream, sizes
from dlbook.tools.jit import njit

__all__ = ["EXERCISES"]


def design(rng):
    """Return a design matrix with an intercept, and responses."""
    p, n = sorted(sizes(rng, 2, least=2, most=7))
    X = rng.normal(size=(n + 2, p))
    X[:, 0] = 1
    return X, rng.normal(size=n + 2)


# Weights by hand


def weights_probes(rng):
    """One column of ones, where the answer is a weighted mean; then random designs."""
    yield np.ones((2, 1)), np.array([1.0, 2.0]), np.array([1.0, 3.0])
    for _ in range(4):
        X, y = design(rng)
        yield X, y, rng.uniform(0.1, 3, size=len(y))


def weighted(X, y, w):
    root = np.sqrt(w)
    return chapter.least_squares(X * root[:, None], y * root).beta


def weighted_formula(X, y, w):
    return np.linalg.solve(X.T @ np.diag(w) @ X, X.T @ (w * y))


def weighted_loops(X, y, w):
    N, P = X.shape
    A, b = np.zeros((P, P)), np.zeros(P)
    for n in range(N):
        for p in range(P):
            b[p] += w[n] * X[n, p] * y[n]
            for q in range(P):
                A[p, q] += w[n] * X[n, p] * X[n, q]
    return np.linalg.solve(A, b)


@njit
def weighted_compiled(X, y, w):
    root = np.sqrt(w)
    scaled = np.empty_like(X)
    for n in range(len(w)):
        scaled[n] = root[n] * X[n]
    return chapter.normal_equations(scaled, root * y)


def root_forgotten(X, y, w):
    return weighted(X, y, w**2)


def weighted_responses(X, y, w):
    return chapter.normal_equations(X, np.sqrt(w) * y)


def weighted_right_side(X, y, w):
    return np.linalg.solve(X.T @ X, X.T @ (w * y))


WEIGHTS = Exercise(
    label="linear_regression-weights",
    task="Write `weighted(X, y, w)`, the coefficients that minimise Σ_n w_n (y_n − Σ_p X_np β_p)².",
    reference=weighted,
    axes="(n p), (n), (n) -> (p)",
    probes=weights_probes,
    mistakes=(
        Mistake(
            "each row is multiplied by w instead of √w",
            root_forgotten,
            "The cost squares what you scale, so each example counts w² times.",
            "{eq}`linear_regression-rss`",
        ),
        Mistake(
            "the weights are not used",
            lambda X, y, w: chapter.normal_equations(X, y),
            "This is the unweighted solution; with weights that are all equal nobody would notice.",
            "{eq}`linear_regression-normal`",
        ),
        Mistake(
            "only the responses are scaled",
            weighted_responses,
            "The residual y − Xβ is what carries √w: scale the rows of X too.",
            "{eq}`linear_regression-rss`",
        ),
        Mistake(
            "only the rows of X are scaled",
            lambda X, y, w: chapter.least_squares(X * np.sqrt(w)[:, None], y).beta,
            "The residual y − Xβ is what carries √w: scale the responses too.",
            "{eq}`linear_regression-rss`",
        ),
        Mistake(
            "the weights are missing in XᵀX",
            weighted_right_side,
            "Setting the derivative to zero gives XᵀWX β = XᵀW y, with W on both sides.",
            "{eq}`linear_regression-normal`",
        ),
        Mistake(
            "the rows are divided by the weights' roots",
            lambda X, y, w: weighted(X, y, 1 / w),
            "A large weight means that the example is reliable; a large variance means the opposite.",
            "{eq}`linear_regression-rss`",
        ),
    ),
    hints=(
        "Differentiate by one β_p, as for the plain sum of squares; the weight stays in front of each term.",
        "A term w_n e_n² is the square of √w_n e_n, and e_n is linear in row n of X and in y_n.",
        "Multiply each row of X and each y_n by √w_n, and solve the unweighted problem.",
    ),
    used="With all weights equal it is {eq}`linear_regression-normal`. Newton's method for logistic regression "
    "solves one such problem in each step: {doc}`linear_classification`.",
    right=(weighted_formula, weighted_loops, weighted_compiled),
    others=(
        (lambda X, y, w: -weighted(X, y, w), "every number has the opposite sign"),
        (lambda X, y, w: weighted(X, y, w)[::-1], "the numbers stand in reverse order"),
        (lambda X, y, w: weighted(X, y, w)[:, None], "wrong type or shape"),
        (lambda X, y, w: weighted(X, y, w) + 0.01, "wrong"),
        (
            lambda X, y, w: -root_forgotten(X, y, w),
            "each row is multiplied by w instead of √w; and every number has the opposite sign",
        ),
    ),
)


# A table that does not fit into memory


def stream_probes(rng):
    """Few rows in two blocks; then more, in blocks of unequal length."""
    X, y = np.array([[1.0, 0.0], [1.0, 1.0], [1.0, 2.0]]), np.array([1.0, 1.0, 4.0])
    yield (Stream([(X[:2], y[:2]), (X[2:], y[2:])]),)
    for _ in range(4):
        p, *lengths = sizes(rng, 4, least=2, most=8)
        blocks = [(rng.normal(size=(n + p, p)), rng.normal(size=n + p)) for n in lengths]
        yield (Stream(blocks),)


def fit_blocks(blocks):
    A, b = 0.0, 0.0
    for X, y in blocks:
        A, b = A + X.T @ X, b + X.T @ y
    return np.linalg.solve(A, b)


def fit_kernels(blocks):
    A, b = 0.0, 0.0
    for X, y in blocks:
        A, b = A + chapter.gram(X), b + chapter.moments(X, y)
    L = chapter.cholesky(A)
    return chapter.solve_upper(L.T, chapter.solve_lower(L, b))


def fit_rows(blocks):
    A, b = None, None
    for X, y in blocks:
        for row, response in zip(X, y, strict=True):
            A = np.outer(row, row) if A is None else A + np.outer(row, row)
            b = row * response if b is None else b + row * response
    return np.linalg.inv(A) @ b


@njit
def _add(A, b, X, y):
    for n in range(X.shape[0]):
        for p in range(X.shape[1]):
            b[p] += X[n, p] * y[n]
            for q in range(X.shape[1]):
                A[p, q] += X[n, p] * X[n, q]


def fit_compiled(blocks):
    A = None
    for X, y in blocks:
        if A is None:
            A, b = np.zeros((X.shape[1], X.shape[1])), np.zeros(X.shape[1])
        _add(A, b, X, y)
    return np.linalg.solve(A, b)


def each_block(blocks):
    return [np.linalg.lstsq(X, y)[0] for X, y in blocks]


def weighted_average(blocks):
    blocks = list(blocks)
    fits, counts = each_block(blocks), [len(y) for _, y in blocks]
    return np.average(fits, axis=0, weights=counts)


def moments_of_the_last(blocks):
    A = 0.0
    for X, y in blocks:
        A, b = A + X.T @ X, X.T @ y
    return np.linalg.solve(A, b)


STREAM = Exercise(
    label="linear_regression-stream",
    task="Write `fit_blocks(blocks)`, the coefficients of all rows together; blocks yields pairs (X, y), once.",
    reference=fit_blocks,
    axes="(blocks) -> (p)",
    probes=stream_probes,
    mistakes=(
        Mistake(
            "the coefficients of the blocks are averaged",
            lambda blocks: np.mean(each_block(blocks), axis=0),
            "β̂ is not linear in X, so a mean of fits is not the fit of all; add up what is linear.",
            "{eq}`linear_regression-normal`",
        ),
        Mistake(
            "the coefficients are averaged by the length of the blocks",
            weighted_average,
            "Each block would have to be weighted by its XᵀX, a matrix, and not by its number of rows.",
            "{eq}`linear_regression-normal`",
        ),
        Mistake(
            "only the last block is fitted",
            lambda blocks: each_block(blocks)[-1],
            "What the earlier blocks said is overwritten in the loop: add to it.",
            "{eq}`linear_regression-normal`",
        ),
        Mistake(
            "only the first block is fitted",
            lambda blocks: each_block(blocks)[0],
            "The loop ends too early; a `return` stands inside it.",
            "{eq}`linear_regression-normal`",
        ),
        Mistake(
            "XᵀX is added up and Xᵀy is not",
            moments_of_the_last,
            "Both sides of the normal equations are sums over all examples.",
            "{eq}`linear_regression-normal`",
        ),
        Mistake(
            "the fits of the blocks are added",
            lambda blocks: np.sum(each_block(blocks), axis=0),
            "The inverse of a sum is not the sum of inverses: add first, solve once at the end.",
            "{eq}`linear_regression-normal`",
        ),
    ),
    hints=(
        "Which quantities in the normal equations are sums over examples?",
        "XᵀX and Xᵀy are; keep P² + P numbers, and add to them what a block brings.",
        "Start with A = 0 and b = 0; for each block A += XᵀX and b += Xᵀy; at the end solve A β = b.",
    ),
    used="The two sums are those of {eq}`linear_regression-normal`; {eq}`linear_regression-operations` counts "
    "their operations, and their memory does not grow with N.",
    right=(fit_kernels, fit_rows, fit_compiled),
    others=(
        (lambda blocks: [X.shape for X, _ in blocks] and None, "wrong type or shape"),
        (lambda blocks: fit_blocks(blocks) * 2, "every number is 2 times what it should be"),
        (lambda blocks: fit_blocks(blocks[:1]), "crashed"),
    ),
)


# Leave one out, without leaving one out


def leave_probes(rng):
    """A mean of two numbers, where the other one predicts; then random designs."""
    yield np.ones((2, 1)), np.array([1.0, 3.0])
    for _ in range(4):
        yield design(rng)


def left_out(X, y):
    fit = chapter.least_squares(X, y)
    return fit.residuals / (1 - fit.leverages)


def left_out_refits(X, y):
    errors = np.empty(len(y))
    for n in range(len(y)):
        rest = np.arange(len(y)) != n
        errors[n] = y[n] - X[n] @ np.linalg.lstsq(X[rest], y[rest])[0]
    return errors


def left_out_hat(X, y):
    H = X @ np.linalg.pinv(X)
    return (y - H @ y) / (1 - np.diag(H))


@njit
def left_out_compiled(X, y):
    Q, _ = chapter.householder_qr(X)
    h, m = chapter.leverages(Q), chapter.moments(Q, y)
    e = chapter.residuals(Q, y, m)
    out = np.empty_like(y)
    for n in range(len(y)):
        out[n] = e[n] / (1 - h[n])
    return out


def _fit(X, y):
    fit = chapter.least_squares(X, y)
    return fit.residuals, fit.leverages


def left_out_crossed(X, y):
    e, h = _fit(X, y)
    return e / (1 - np.mean(h))


LEAVE = Exercise(
    label="linear_regression-leave-one-out",
    task="Write `left_out(X, y)`, for each example the error of its prediction from a fit without it.",
    reference=left_out,
    axes="(n p), (n) -> (n)",
    probes=leave_probes,
    mistakes=(
        Mistake(
            "these are the plain residuals",
            lambda X, y: _fit(X, y)[0],
            "The example has helped to predict itself; its leverage says how much.",
            "{eq}`linear_regression-leverage`",
        ),
        Mistake(
            "the leverage is multiplied instead of divided by",
            lambda X, y: _fit(X, y)[0] * (1 - _fit(X, y)[1]),
            "An example that pulls the fit hides its error, so the honest error is larger, not smaller.",
            "{eq}`linear_regression-leverage`",
        ),
        Mistake(
            "the root of 1 − h is taken",
            lambda X, y: _fit(X, y)[0] / np.sqrt(1 - _fit(X, y)[1]),
            "This makes residuals of one variance; the prediction without the example needs 1 − h itself.",
            "{eq}`linear_regression-leverage`",
        ),
        Mistake(
            "every example gets the mean leverage",
            left_out_crossed,
            "This is the denominator of generalised cross-validation; each example has a leverage of its own.",
            "{eq}`linear_regression-leverage`",
        ),
        Mistake(
            "these are the predictions, not their errors",
            lambda X, y: y - left_out(X, y),
            "Subtract them from y.",
            "{ref}`ex-linear_regression-leave-one-out`",
        ),
        Mistake(
            "the errors are divided by h",
            lambda X, y: _fit(X, y)[0] / _fit(X, y)[1],
            "An example without leverage, h = 0, is predicted by the rest anyway: its error must stay e.",
            "{eq}`linear_regression-leverage`",
        ),
    ),
    hints=(
        "Put the prediction made without example n in the place of y_n. What does the full fit say now?",
        "The fit does not move, so ỹ_n = ŷ_n + h_n (ỹ_n − y_n), by the hat matrix.",
        "Solve for y_n − ỹ_n: it is e_n / (1 − h_n), with residual and leverage of the full fit.",
    ),
    used="This is {eq}`linear_regression-left-out`, by which the fit to diabetes is judged; the same 1 − h "
    "scales the residuals that are plotted.",
    right=(left_out_refits, left_out_hat, left_out_compiled),
    others=(
        (lambda X, y: -left_out(X, y), "every number has the opposite sign"),
        (lambda X, y: np.sort(left_out(X, y)), "the right numbers stand in other places"),
        (lambda X, y: np.mean(left_out(X, y) ** 2), "wrong type or shape"),
        (lambda X, y: left_out(X, y) / len(y), "every number is 1/N times what it should be"),
    ),
)


# Break this line

BREAK = Choice(
    label="linear_regression-break",
    task="`residual_variance` divides by len(e) − 1. Name the letters of all that become wrong.",
    right="bd",
    wrong={
        "a": "(a) speaks of the true σ², which nobody estimates there; only its estimate has changed.",
        "c": "(c) has a denominator of its own, RSS₁/(N − P), and does not call `residual_variance`.",
        "e": "(e) needs no variance: the fitted values are a projection, whatever the noise.",
    },
    missing="Something else is built on the estimated variance too; follow it through the table of coefficients.",
    hints=(
        "Who calls `residual_variance`? Search the module for its name.",
        "The standard errors are √(variance · Σ_k S_pk²), with the estimate in the place of σ².",
        "The estimate itself is biased now, and so is every t and every interval made from it; F and Var β̂ are not.",
    ),
    used="{eq}`linear_regression-sigma-hat` feeds {eq}`linear_regression-t-statistic` and "
    "{eq}`linear_regression-interval`.",
)


# One coefficient, two tests: what a column is worth


def growth_probes(rng):
    """One column of ones; then random designs and each time another column."""
    yield np.ones((2, 1)), np.array([1.0, 3.0]), 0
    for _ in range(5):
        X, y = design(rng)
        yield X, y, int(rng.integers(X.shape[1]))


def growth(X, y, p):
    beta = chapter.normal_equations(X, y)
    return beta[p] ** 2 / np.linalg.inv(X.T @ X)[p, p]


def growth_refit(X, y, p):
    def cost(A):
        return np.sum((y - A @ np.linalg.lstsq(A, y)[0]) ** 2) if A.shape[1] else y @ y

    return cost(np.delete(X, p, axis=1)) - cost(X)


def growth_root(X, y, p):
    fit = chapter.least_squares(X, y)
    return fit.beta[p] ** 2 / np.sum(fit.root[p] ** 2)


@njit
def growth_compiled(X, y, p):
    Q, R = chapter.householder_qr(X)
    S = chapter.inverse_upper(R)
    beta = chapter.qr_solution(Q, R, y)
    c = 0.0
    for k in range(S.shape[1]):
        c += S[p, k] * S[p, k]
    return beta[p] * beta[p] / c


def growth_alone(X, y, p):
    beta = chapter.normal_equations(X, y)
    return beta[p] ** 2 * (X.T @ X)[p, p]


def t_squared(X, y, p):
    fit = chapter.least_squares(X, y)
    return growth(X, y, p) / (fit.rss / (len(y) - X.shape[1]))


GROWTH = Exercise(
    label="linear_regression-t-squared",
    task="Write `growth(X, y, p)`, by how much RSS grows when column p is dropped, from the full fit alone.",
    reference=growth,
    axes="(n p), (n), () -> ()",
    probes=growth_probes,
    mistakes=(
        Mistake(
            "the square of the coefficient is missing",
            lambda X, y, p: chapter.normal_equations(X, y)[p] / np.linalg.inv(X.T @ X)[p, p],
            "RSS is a quadratic form around β̂, so its growth is quadratic in what is taken away.",
            "{eq}`linear_regression-rss`",
        ),
        Mistake(
            "the other coefficients are held where they are",
            growth_alone,
            "Then RSS grows by β̂_p² (XᵀX)_pp; without column p the others are fitted again and take over a part.",
            "{eq}`linear_regression-f-test`",
        ),
        Mistake(
            "it is multiplied by ((XᵀX)⁻¹)_pp",
            lambda X, y, p: chapter.normal_equations(X, y)[p] ** 2 * np.linalg.inv(X.T @ X)[p, p],
            "A coefficient that is known badly costs little to drop: divide.",
            "{eq}`linear_regression-variance`",
        ),
        Mistake(
            "this is t², the growth divided by the estimated variance",
            t_squared,
            "Right for the test; the question here is for RSS itself, before the division.",
            "{eq}`linear_regression-f-test`",
        ),
        Mistake(
            "the column before is dropped",
            lambda X, y, p: growth(X, y, p - 1),
            "Columns are counted from 0, so `p` is the column itself.",
            "{eq}`linear_regression-model`",
        ),
        Mistake(
            "this is the RSS without the column, not its growth",
            lambda X, y, p: growth(X, y, p) + chapter.rss(X, y, chapter.normal_equations(X, y)),
            "Subtract the RSS of the full model.",
            "{eq}`linear_regression-f-test`",
        ),
    ),
    hints=(
        "Around its minimum RSS is RSS(β̂) + (β − β̂)ᵀ XᵀX (β − β̂). Where is it lowest on the plane β_p = 0?",
        "Minimise dᵀ A d under d_p = −β̂_p, with A = XᵀX: a Lagrange multiplier gives d = −β̂_p A⁻¹ e_p / (A⁻¹)_pp.",
        "The minimum is β̂_p² / (A⁻¹)_pp, from β̂ and (XᵀX)⁻¹ alone.",
    ),
    used="Divided by σ̂² it is t², and for one column also F: {eq}`linear_regression-t-statistic` and "
    "{eq}`linear_regression-f-test` are one test.",
    right=(growth_refit, growth_root, growth_compiled),
    others=(
        (lambda X, y, p: -growth(X, y, p), "every number has the opposite sign"),
        (lambda X, y, p: growth(X, y, p) / len(y), "every number is 1/N times what it should be"),
        (lambda X, y, p: growth(X, y, 0), "wrong"),
        (lambda X, y, p: np.array([growth(X, y, p)]), "wrong type or shape"),
    ),
)


# Does body mass matter equally for both sexes?


def _interaction(group, blocks):
    """Return the F statistic of columns added to the model of `diabetes`."""
    from dlbook.tools import data

    table = data.diabetes()
    sex = chapter.dummy_coding(table.x[:, 1].astype(int) - 1, 2)
    added = [
        chapter.interactions(sex if b == "dummy" else table.x[:, [1]], c(table.x))
        for b, c in blocks
    ]
    D = np.column_stack([chapter.design_matrix(table.x), *added])
    return chapter.f_test(D, table.y, group).f


def both(x):
    return x[:, 2:4]


def interaction():
    return _interaction([11, 12], [("dummy", both)])


def pressure_shifted(x):
    return x[:, 3:5]


INTERACTION = Exercise(
    label="linear_regression-interaction",
    task="Give the F statistic of the interactions of sex with body mass and with blood pressure, on diabetes.",
    reference=interaction,
    axes="-> ()",
    mistakes=(
        Mistake(
            "only one of the two columns is tested",
            lambda: _interaction([11], [("dummy", both)]),
            "The question is about a group: give `f_test` both numbers, [11, 12].",
            "{eq}`linear_regression-f-test`",
        ),
        Mistake(
            "the last of the two columns alone is tested",
            lambda: _interaction([12], [("dummy", both)]),
            "The question is about a group: give `f_test` both numbers, [11, 12].",
            "{eq}`linear_regression-f-test`",
        ),
        Mistake(
            "the main effects are tested",
            lambda: _interaction([2, 3], [("dummy", both)]),
            "Columns 2 and 3 are sex and body mass of the old model; the new columns stand at the end.",
            "{eq}`linear_regression-f-test`",
        ),
        Mistake(
            "the columns of the table are counted wrongly",
            lambda: _interaction([11, 12], [("dummy", pressure_shifted)]),
            "In `table.x` age is 0, sex 1, body mass 2, blood pressure 3; in D each stands one place later.",
            "{eq}`linear_regression-interaction`",
        ),
        Mistake(
            "all columns from sex on are tested",
            lambda: _interaction([2, 11, 12], [("dummy", both)]),
            "The dummy of sex belongs to both models; the smaller one lacks the products alone.",
            "{eq}`linear_regression-f-test`",
        ),
    ),
    hints=(
        "Make the dummy of sex first; the table codes it as 1 and 2, `dummy_coding` wants 0 and 1.",
        "`interactions(sex, table.x[:, 2:4])` gives two columns; put them to the right of D.",
        "They are columns 11 and 12 of the wider matrix: `f_test(both, progress, [11, 12]).f`.",
    ),
    used="The columns come from {eq}`linear_regression-interaction`, the test is "
    "{eq}`linear_regression-f-test`.",
    right=(
        lambda: _interaction([12, 11], [("dummy", both)]),
        lambda: _interaction([11, 12], [("raw", both)]),
        lambda: np.float32(interaction()),
    ),
    others=(
        (lambda: -interaction(), "every number has the opposite sign"),
        (lambda: 0.05, "wrong"),
        (lambda: np.array([interaction()]), "wrong type or shape"),
    ),
)

EXERCISES = (WEIGHTS, STREAM, LEAVE, BREAK, GROWTH, INTERACTION)
