"""Linear regression: kernels against independent forms, wrong variants rejected, bad input named."""

import numpy as np
import pytest
import scipy.linalg
import scipy.stats

from dlbook import linear_regression as lr
from dlbook.tools import data
from dlbook.verification import (
    central_differences,
    compare,
    complex_step,
    monte_carlo,
    relative_error,
)

SHAPES = [(1, 1), (2, 1), (7, 3), (23, 5), (9, 9)]


def problem(rng, n=11, p=4):
    X = np.column_stack([np.ones(n), rng.normal(size=(n, p - 1))])
    return X, rng.normal(size=n) + 2.0


def factors(rng, n=11, p=4):
    X, y = problem(rng, n, p)
    Q, R = np.linalg.qr(X)
    return X, y, Q, R, np.linalg.inv(R)


KERNELS = [
    (lr.predict, lambda rng: (problem(rng)[0], rng.normal(size=4))),
    (lr.residuals, lambda rng: (*problem(rng), rng.normal(size=4))),
    (lr.rss, lambda rng: (*problem(rng), rng.normal(size=4))),
    (lr.negative_log_likelihood, lambda rng: (*problem(rng), rng.normal(size=4), 1.7)),
    (lr.gradient, lambda rng: (*problem(rng), rng.normal(size=4))),
    (lr.gram, lambda rng: (problem(rng)[0],)),
    (lr.moments, problem),
    (lr.cholesky, lambda rng: (np.eye(4) + lr.gram(rng.normal(size=(6, 4))),)),
    (lr.solve_lower, lambda rng: (factors(rng)[3].T.copy(), rng.normal(size=4))),
    (lr.solve_upper, lambda rng: (factors(rng)[3], rng.normal(size=4))),
    (lr.normal_equations, problem),
    (lr.reflector, lambda rng: (rng.normal(size=5), 1)),
    (lr.reflect, lambda rng: (rng.normal(size=6), rng.normal(size=(6, 3)))),
    (lr.householder_qr, lambda rng: (problem(rng)[0],)),
    (lr.qr_solution, lambda rng: (*factors(rng)[2:4], rng.normal(size=11))),
    (lr.column_norms, lambda rng: (problem(rng)[0],)),
    (lr.hat_matrix, lambda rng: (factors(rng)[2],)),
    (lr.leverages, lambda rng: (factors(rng)[2],)),
    (lr.left_out_errors, lambda rng: (rng.normal(size=11), rng.uniform(0.1, 0.9, size=11))),
    (
        lr.minimum_norm,
        lambda rng: (
            factors(rng)[2],
            rng.uniform(1, 2, size=4),
            rng.normal(size=(6, 4)),
            rng.normal(size=11),
        ),
    ),
    (lr.inverse_upper, lambda rng: (factors(rng)[3],)),
    (lr.covariance, lambda rng: (rng.normal(size=(4, 3)), 1.7)),
    (lr.residual_variance, lambda rng: (rng.normal(size=11), 4)),
    (
        lr.estimate_residual_covariance,
        lambda rng: (rng.normal(size=(11, 3)), rng.normal(size=(4, 3))),
    ),
    (lr.standard_errors, lambda rng: (rng.normal(size=(4, 3)), 1.7)),
    (lr.t_statistics, lambda rng: (rng.normal(size=4), rng.normal(size=(4, 3)), 1.7)),
    (
        lr.intervals,
        lambda rng: (rng.normal(size=4), rng.uniform(1, 2, size=4), 2.5),
    ),
    (lr.f_statistic, lambda rng: (rng.uniform(3, 4), rng.uniform(1, 2), 2, 7)),
    (lr.gd_step, lambda rng: (*problem(rng), rng.normal(size=4), 0.1)),
    (lr.gd_path, lambda rng: (*problem(rng), rng.normal(size=4), 0.1, 5)),
    (
        lr.stochastic_step,
        lambda rng: (rng.normal(size=4), float(rng.normal()), rng.normal(size=4), 0.1),
    ),
    (lr.powers, lambda rng: (rng.normal(size=7), 3)),
    (lr.one_hot, lambda rng: (rng.integers(0, 4, size=9), 4)),
    (lr.column_products, lambda rng: (rng.normal(size=(7, 2)), rng.normal(size=(7, 3)))),
]


# Kernels against independent forms


@pytest.mark.parametrize(("n", "p"), SHAPES)
def test_model_and_cost(rng, n, p):
    X, y = problem(rng, n, p)
    beta = rng.normal(size=p)
    assert relative_error(lr.predict(X, beta), X @ beta) <= 1e-13
    assert relative_error(lr.rss(X, y, beta), np.sum((y - X @ beta) ** 2)) <= 1e-13
    assert relative_error(lr.gram(X), X.T @ X) <= 1e-13
    assert relative_error(lr.moments(X, y), X.T @ y) <= 1e-13
    assert relative_error(lr.column_norms(X), np.linalg.norm(X, axis=0)) <= 1e-13


@pytest.mark.parametrize("variance", [0.3, 1.0, 2.5])
def test_the_likelihood_is_that_of_independent_gaussian_errors(rng, variance):
    X, y = problem(rng)
    beta = rng.normal(size=4)
    expected = -scipy.stats.norm.logpdf(y, X @ beta, np.sqrt(variance)).sum()
    assert relative_error(lr.negative_log_likelihood(X, y, beta, variance), expected) <= 1e-13


def test_the_most_likely_variance_is_the_mean_square_of_the_residuals(rng):
    X, y = problem(rng)
    fit = lr.least_squares(X, y)
    likely = fit.rss / len(y)
    slope = complex_step(lambda v: lr.negative_log_likelihood(X, y, fit.beta, v), likely)
    assert abs(slope) <= 1e-12 * len(y)
    assert (
        abs(complex_step(lambda v: lr.negative_log_likelihood(X, y, fit.beta, v), 2 * likely)) > 1
    )


@pytest.mark.parametrize(("n", "p"), SHAPES)
def test_gradient_meets_its_oracles(rng, n, p):
    X, y = problem(rng, n, p)
    beta = rng.normal(size=p)
    dbeta = lr.gradient(X, y, beta)
    assert relative_error(dbeta, complex_step(lambda b: lr.rss(X, y, b), beta)) <= 1e-12
    assert relative_error(dbeta, central_differences(lambda b: lr.rss(X, y, b), beta)) <= 1e-7
    assert relative_error(dbeta, 2 * (X.T @ X) @ beta - 2 * X.T @ y) <= 1e-12


def test_left_out_errors_are_those_of_fits_without_the_example(rng):
    X, y = problem(rng)
    fit = lr.least_squares(X, y)
    expected = []
    for n in range(len(y)):
        beta = scipy.linalg.lstsq(np.delete(X, n, axis=0), np.delete(y, n))[0]
        expected.append(y[n] - X[n] @ beta)
    assert relative_error(lr.left_out_errors(fit.residuals, fit.leverages), expected) <= 1e-11


@pytest.mark.parametrize(("n", "p"), SHAPES)
def test_factors(rng, n, p):
    X, y = problem(rng, n, p)
    A = X.T @ X
    if n >= p + 2 or p == 1:
        L = lr.cholesky(A)
        assert relative_error(L @ L.T, A) <= 1e-13
        assert relative_error(L, np.linalg.cholesky(A)) <= 1e-10
    Q, R = lr.householder_qr(X)
    assert relative_error(Q @ R, X) <= 1e-14
    assert relative_error(Q.T @ Q, np.eye(p)) <= 1e-14
    assert np.array_equal(R, np.triu(R))
    assert relative_error(np.abs(R), np.abs(np.linalg.qr(X)[1])) <= 1e-12
    assert relative_error(R @ lr.inverse_upper(R), np.eye(p)) <= 1e-12
    assert relative_error(lr.qr_solution(Q, R, y), scipy.linalg.lstsq(X, y)[0]) <= 1e-11


def test_triangular_solves(rng):
    L = np.tril(rng.normal(size=(6, 6))) + 4 * np.eye(6)
    b = rng.normal(size=6)
    assert (
        relative_error(lr.solve_lower(L, b), scipy.linalg.solve_triangular(L, b, lower=True))
        <= 1e-13
    )
    assert relative_error(lr.solve_upper(L.T, b), scipy.linalg.solve_triangular(L.T, b)) <= 1e-13


@pytest.mark.parametrize("first", [3.0, -3.0, 0.0])
def test_reflector_sends_a_vector_to_the_first_axis(first):
    x = np.array([first, 1.0, 2.0])
    image = lr.reflect(lr.reflector(x, 0), x[:, None])[:, 0]
    sign = -1.0 if first >= 0 else 1.0
    np.testing.assert_allclose(image, [sign * np.linalg.norm(x), 0, 0], atol=1e-15)


def test_reflector_leaves_the_entries_above_alone(rng):
    x = rng.normal(size=5)
    v = lr.reflector(x, 2)
    image = lr.reflect(v, x[:, None])[:, 0]
    expected = [x[0], x[1], -np.sign(x[2]) * np.linalg.norm(x[2:]), 0, 0]
    np.testing.assert_allclose(image, expected, atol=1e-15)


def test_reflector_does_not_cancel():
    """With the other sign v₀ is a difference of nearly equal numbers: all digits of it are lost."""
    x = np.array([1.0, 1e-9])
    image = lr.reflect(lr.reflector(x, 0), x[:, None])[:, 0]
    np.testing.assert_allclose(image, [-1.0, 0.0], atol=1e-18)
    v = x - np.array([np.linalg.norm(x), 0.0])
    assert abs(lr.reflect(v, x[:, None])[1, 0]) > 1e-10


def test_a_zero_column_is_left_alone():
    A = np.arange(6.0).reshape(3, 2)
    assert np.array_equal(lr.reflect(np.zeros(3), A), A)
    assert np.array_equal(lr.reflector(np.zeros(3), 1), np.zeros(3))


def test_projection(rng):
    X, y, Q, R, S = factors(rng)
    H = X @ np.linalg.pinv(X)
    assert relative_error(lr.hat_matrix(Q), H) <= 1e-13
    assert relative_error(lr.leverages(Q), np.diag(H)) <= 1e-13
    hy = complex_step(lambda v: X @ lr.qr_solution(Q + 0j, R + 0j, v), y)
    assert relative_error(lr.hat_matrix(Q), hy) <= 1e-12
    assert relative_error(lr.covariance(S, 2.5), 2.5 * np.linalg.inv(X.T @ X)) <= 1e-12
    C = lr.estimate_residual_covariance(Q, S)
    assert C.shape == (4, 11)
    assert np.abs(C).max() <= 1e-14 * np.abs(S @ Q.T).max() * 10


def test_only_the_least_squares_estimate_is_uncorrelated_with_its_residual(rng):
    """For another unbiased estimator the same product is far from zero."""
    _, _, Q, _, S = factors(rng)
    assert np.abs(lr.estimate_residual_covariance(1.01 * Q, S)).max() > 1e-3
    assert np.abs(lr.estimate_residual_covariance(Q + 0.01, S)).max() > 1e-3


def test_complex_step_through_cholesky_gives_the_hat_matrix(rng):
    X, y = problem(rng)
    H = complex_step(lambda v: lr.predict(X + 0j, lr.normal_equations(X + 0j, v)), y)
    assert relative_error(H, X @ np.linalg.pinv(X)) <= 1e-12


# Public functions against SciPy


@pytest.mark.parametrize("method", lr.METHODS)
def test_diabetes_in_raw_units(method):
    table = data.diabetes()
    X = lr.design_matrix(table.x)
    fit = lr.least_squares(X, table.y, method)
    expected, _, rank, _ = scipy.linalg.lstsq(X, table.y)
    assert relative_error(fit.beta, expected) <= 1e-10
    assert fit.rank == rank == 11
    assert relative_error(fit.leverages.sum(), 11.0) <= 1e-11
    assert relative_error(fit.root @ fit.root.T, np.linalg.inv(X.T @ X)) <= 1e-8
    assert relative_error(fit.rss, np.sum((table.y - X @ expected) ** 2)) <= 1e-12
    np.testing.assert_array_equal(fit.residuals, table.y - fit.fitted)


@pytest.mark.parametrize(
    ("n", "p", "rank"), [(20, 6, 4), (5, 9, 5), (1, 3, 1), (6, 6, 2), (8, 3, 0)]
)
def test_minimum_norm(rng, n, p, rank):
    X = rng.normal(size=(n, rank)) @ rng.normal(size=(rank, p))
    y = rng.normal(size=n)
    fit = lr.least_squares(X, y, "minimum-norm")
    pinv = scipy.linalg.pinv(X) if rank else np.zeros((p, n))
    assert fit.rank == rank
    np.testing.assert_allclose(fit.beta, pinv @ y, atol=1e-11)
    np.testing.assert_allclose(fit.beta, scipy.linalg.lstsq(X, y, cond=1e-12)[0], atol=1e-11)
    np.testing.assert_allclose(fit.leverages, np.diag(X @ pinv), atol=1e-12)
    np.testing.assert_allclose(fit.root @ fit.root.T, pinv @ pinv.T, atol=1e-11)


def test_simple_regression_equals_linregress(rng):
    x = rng.normal(size=13)
    y = 1 + 0.5 * x + rng.normal(size=13)
    X = lr.design_matrix(x)
    peer = scipy.stats.linregress(x, y)
    table = lr.coefficient_table(lr.least_squares(X, y))
    np.testing.assert_allclose(table.estimate, [peer.intercept, peer.slope], rtol=1e-12)
    np.testing.assert_allclose(table.se, [peer.intercept_stderr, peer.stderr], rtol=1e-12)
    assert relative_error(table.p[1], peer.pvalue) <= 1e-10
    half = scipy.stats.t.ppf(0.975, 11) * peer.stderr
    np.testing.assert_allclose(
        [table.low[1], table.high[1]], [peer.slope - half, peer.slope + half], rtol=1e-12
    )
    wide = lr.coefficient_table(lr.least_squares(X, y), level=0.99)
    assert (wide.low < table.low).all()
    assert (wide.high > table.high).all()


def test_f_test_of_a_factor_is_analysis_of_variance(rng):
    labels = np.repeat([0, 1, 2], [4, 5, 7])
    y = rng.normal(size=16) + np.array([0.0, 0.4, 0.9])[labels]
    found = lr.f_test(lr.design_matrix(lr.dummy_coding(labels, 3)), y, [1, 2])
    peer = scipy.stats.f_oneway(*(y[labels == k] for k in range(3)))
    assert relative_error(found.f, peer.statistic) <= 1e-12
    assert relative_error(found.p, peer.pvalue) <= 1e-10
    assert (found.tested, found.free) == (2, 13)


def test_f_of_one_column_is_the_square_of_t(rng):
    X, y = problem(rng)
    table = lr.coefficient_table(lr.least_squares(X, y))
    for p in range(4):
        found = lr.f_test(X, y, [p])
        assert relative_error(found.f, table.t[p] ** 2) <= 1e-11
        assert relative_error(found.p, table.p[p]) <= 1e-10


def test_f_test_of_all_columns_compares_with_zero(rng):
    X, y = problem(rng, 11, 2)
    large = np.linalg.lstsq(X, y, rcond=None)[1][0]
    expected = ((y @ y - large) / 2) / (large / 9)
    assert relative_error(lr.f_test(X, y, [0, 1]).f, expected) <= 1e-12


@pytest.mark.parametrize("method", lr.METHODS)
def test_one_example_and_exact_fits(method):
    fit = lr.least_squares([[2.0]], [3.0], method)
    assert relative_error(fit.beta, [1.5]) <= 1e-15
    assert relative_error(fit.leverages, [1.0]) <= 1e-15
    with pytest.raises(ValueError, match="degrees of freedom"):
        lr.coefficient_table(fit)


@pytest.mark.parametrize("method", lr.METHODS)
def test_single_precision_stays_single(rng, method):
    X, y = (a.astype(np.float32) for a in problem(rng, 30, 4))
    fit = lr.least_squares(X, y, method)
    assert fit.beta.dtype == fit.leverages.dtype == fit.root.dtype == np.float32
    assert (
        relative_error(fit.beta, np.linalg.lstsq(X.astype(float), y.astype(float), rcond=None)[0])
        <= 1e-5
    )
    assert lr.coefficient_table(fit).low.dtype == np.float32
    assert lr.gradient_descent(X, y, 0.1, 3).dtype == np.float32


@pytest.mark.parametrize("scale", [1e-120, 1e120])
@pytest.mark.parametrize("method", lr.METHODS)
def test_extreme_units(rng, method, scale):
    """Units far from one change the coefficients by their ratio and nothing else."""
    X, y = problem(rng)
    expected = scipy.linalg.lstsq(X, y)[0] / scale
    assert relative_error(lr.least_squares(X * scale, y, method).beta, expected) <= 1e-12


def test_nan_stays_nan():
    X, y, beta = np.ones((3, 2)), np.array([1.0, np.nan, 2.0]), np.ones(2)
    assert np.isnan(lr.rss(X, y, beta))
    assert np.isnan(lr.gradient(X, y, beta)).all()
    assert list(np.isnan(lr.residuals(X, y, beta))) == [False, True, False]
    with np.errstate(invalid="ignore"):  # NumPy warns where compiled code does not
        assert np.isnan(lr.cholesky(np.array([[1.0, 2.0], [2.0, 1.0]]))[1, 1])


# Gradient descent


def test_steps_by_hand():
    """X = (1, 1)ᵀ, y = (1, 3): the cost is (β − 2)² + 1, its slope at 0 is −4."""
    X, y = np.ones((2, 1)), np.array([1.0, 3.0])
    assert lr.gd_step(X, y, np.zeros(1), 0.25)[0] == 1.0
    assert lr.gradient_descent(X, y, 0.25, 3)[:, 0].tolist() == [0, 1, 1.5, 1.75]
    assert lr.stochastic_step(X[1], 3.0, np.zeros(1), 0.25)[0] == 1.5
    assert relative_error(lr.rate_limit(X), 1.0) <= 1e-15


def test_path_equals_its_closed_form(rng):
    X, y = problem(rng)
    start = rng.normal(size=4)
    for share in (0.3, 0.9, 1.1):
        rate = share * lr.rate_limit(X)
        path = lr.gradient_descent(X, y, rate, 40, start)
        for t in (0, 1, 2, 40):
            assert relative_error(lr.eigen_path(X, y, start, rate, t), path[t]) <= 1e-11


def test_descent_converges_below_the_limit_only(rng):
    X, y = problem(rng)
    best, limit = scipy.linalg.lstsq(X, y)[0], lr.rate_limit(X)
    inside = lr.gradient_descent(X, y, 0.99 * limit, 4000)[-1]
    outside = lr.gradient_descent(X, y, 1.01 * limit, 4000)[-1]
    assert relative_error(inside, best) <= 1e-12
    assert np.abs(outside - best).max() > 1e6
    lam = np.linalg.eigvalsh(2 * X.T @ X / len(X))
    assert relative_error(limit, 2 / lam[-1]) <= 1e-13


def test_descent_from_zero_finds_the_shortest_solution(rng):
    X, y = rng.normal(size=(5, 8)), rng.normal(size=5)
    path = lr.gradient_descent(X, y, 0.9 * lr.rate_limit(X), 20_000)
    assert relative_error(path[-1], scipy.linalg.pinv(X) @ y) <= 1e-9


def test_stochastic_steps_average_to_the_full_step(rng):
    X, y = problem(rng)
    beta = rng.normal(size=4)
    steps = [lr.stochastic_step(x, t, beta, 0.1) for x, t in zip(X, y, strict=True)]
    assert relative_error(np.mean(steps, axis=0), lr.gd_step(X, y, beta, 0.1)) <= 1e-13


# Design matrices and cost


def test_design_matrices(rng):
    x = rng.normal(size=6)
    assert relative_error(lr.polynomial(x, 4), np.vander(x, 5, increasing=True)) <= 1e-13
    assert lr.polynomial(x, 0).tolist() == [[1.0]] * 6
    assert lr.dummy_coding([2, 0, 1], 3).tolist() == [[0, 1], [0, 0], [1, 0]]
    assert lr.dummy_coding([2, 0, 1], 3, redundant=True).tolist() == np.eye(3)[[2, 0, 1]].tolist()
    A, B = rng.normal(size=(6, 2)), rng.normal(size=(6, 3))
    expected = (A[:, :, None] * B[:, None, :]).reshape(6, 6)
    np.testing.assert_array_equal(lr.interactions(A, B), expected)
    X = lr.design_matrix(x, A, B, [0, 1, 2, 3, 4, 5])
    np.testing.assert_array_equal(X, np.column_stack([np.ones(6), x, A, B, np.arange(6)]))


@pytest.mark.parametrize(("n", "p"), [(1, 1), (5, 2), (12, 7)])
def test_operations_are_what_the_kernels_do(rng, n, p):
    X, y = rng.normal(size=(n, p)), rng.normal(size=n)
    _, products = lr.multiplications(lr.gram, X)
    _, right = lr.multiplications(lr.moments, X, y)
    L, root = lr.multiplications(lr.cholesky, X.T @ X + np.eye(p))
    z, down = lr.multiplications(lr.solve_lower, L, X.T @ y)
    beta, up = lr.multiplications(lr.solve_upper, L.T, z)
    assert products + right + root + down + up == lr.operations(n, p)
    np.testing.assert_allclose(beta, np.linalg.solve(X.T @ X + np.eye(p), X.T @ y), rtol=1e-9)
    _, step = lr.multiplications(lr.stochastic_step, X[0], float(y[0]), np.zeros(p), 0.1)
    assert step == 2 * p + 2


# Statistics by simulation


def test_variance_estimate_is_unbiased(rng):
    X, _ = problem(rng, 8, 3)
    Q, R = lr.householder_qr(X)
    draws = []
    for e in 1.5 * rng.normal(size=(4000, 8)):
        left = lr.residuals(X, e, lr.qr_solution(Q, R, e))
        draws.append((lr.residual_variance(left, 3), lr.residual_variance(left, 0)))
    right, wrong = np.transpose(draws)
    estimate = monte_carlo(right)
    assert abs(estimate.mean - 2.25) <= 4 * estimate.se
    assert abs(monte_carlo(wrong).mean - 2.25) > 10 * estimate.se


def test_group_test_rejects_as_often_as_it_says(rng):
    X, _ = problem(rng, 9, 4)
    p = np.array([lr.f_test(X, 1 + rng.normal(size=9), [2, 3]).p for _ in range(1500)])
    hits = monte_carlo(p < 0.1)
    assert abs(hits.mean - 0.1) <= 4 * hits.se


# A catalogue of wrong variants, which the checks above must reject


@pytest.mark.parametrize(
    "wrong",
    [
        lambda X, y, b: X.T @ (y - X @ b),
        lambda X, y, b: 2 * X.T @ (y - X @ b),
        lambda X, y, b: -X.T @ (y - X @ b),
        lambda X, y, b: -2 * X.T @ (y - X @ b) / len(y),
        lambda X, y, b: -2 * X.T @ y,
        lambda X, y, b: -2 * X.T @ (y - X @ b) * (1 + 1e-6),
        lambda X, y, b: -2 * X.T @ (y - X @ b) + 2e-4 * b,
        lambda X, y, b: (-2 * X.T @ (y - X @ b))[::-1],
    ],
)
def test_wrong_gradients_are_rejected(rng, wrong):
    X, y = problem(rng)
    beta = rng.normal(size=4)
    oracle = central_differences(lambda b: lr.rss(X, y, b), beta)
    assert not compare("gradient", wrong(X, y, beta), oracle, "central differences", 1e-7)["passed"]


@pytest.mark.parametrize(
    "wrong",
    [
        lambda X, S, s2: s2 * S.T @ S,
        lambda X, S, s2: np.sqrt(s2) * S @ S.T,
        lambda X, S, s2: S @ S.T,
        lambda X, S, s2: s2 * X.T @ X,
        lambda X, S, s2: s2 * S @ S.T / len(X),
        lambda X, S, s2: s2 * S @ S,
    ],
)
def test_wrong_covariances_are_rejected(rng, wrong):
    X, *_, S = factors(rng)
    oracle = 2.5 * np.linalg.inv(X.T @ X)
    assert not compare("variance", wrong(X, S, 2.5), oracle, "NumPy's inverse", 1e-7)["passed"]


@pytest.mark.parametrize(
    "wrong",
    [
        lambda small, large, q, d: (small - large) / (large / d),
        lambda small, large, q, d: ((small - large) / q) / large,
        lambda small, large, q, d: ((small - large) / q) / (small / (d + q)),
        lambda small, large, q, d: ((small - large) / q) / (large / (d + 1)),
        lambda small, large, q, d: (small / q) / (large / d),
    ],
)
def test_wrong_f_statistics_are_rejected(rng, wrong):
    labels = np.repeat([0, 1, 2], [4, 5, 7])
    y = rng.normal(size=16)
    groups = [y[labels == k] for k in range(3)]
    small, large = np.sum((y - y.mean()) ** 2), sum(np.sum((g - g.mean()) ** 2) for g in groups)
    peer = scipy.stats.f_oneway(*groups).statistic
    assert relative_error(lr.f_statistic(small, large, 2, 13), peer) <= 1e-12
    assert relative_error(wrong(small, large, 2, 13), peer) > 1e-3


# Bad input, each with the word its message must hold

ONES = np.ones((4, 2))
LINE = np.column_stack([np.ones(4), np.arange(4.0)])
Y = np.array([1.0, 2.0, 2.0, 4.0])
TWICE = np.column_stack([LINE, 2 * LINE[:, 1] + 1])
FIT = (np.ones(2), Y, Y, 1.0, 2, Y, np.eye(2))

BAD = [
    (lr.least_squares, (Y, Y), ValueError, r"X has shape \(4,\)"),
    (lr.least_squares, (LINE, Y[:3]), ValueError, r"y has shape \(3,\)"),
    (lr.least_squares, (LINE, Y[:, None]), ValueError, "y has shape"),
    (lr.least_squares, (LINE[:0], Y[:0]), ValueError, "empty"),
    (lr.least_squares, (LINE[:, :0], Y), ValueError, "empty"),
    (lr.least_squares, (LINE, [1, np.nan, 2, 3]), ValueError, "nan at index"),
    (lr.least_squares, (np.where(LINE == 2, np.inf, LINE), Y), ValueError, "X holds"),
    (lr.least_squares, (LINE.astype(complex), Y), TypeError, "complex"),
    (lr.least_squares, ([["a"]], [1.0]), TypeError, "dtype"),
    (lr.least_squares, (LINE, Y, "lu"), ValueError, "method is 'lu'"),
    (lr.least_squares, (ONES, Y), ValueError, r"column 1 of X.*minimum-norm"),
    (lr.least_squares, (ONES, Y, "cholesky"), ValueError, r"column 1 of X.*minimum-norm"),
    (lr.least_squares, (TWICE, Y), ValueError, "column 2 of X"),
    (lr.least_squares, (TWICE, Y, "cholesky"), ValueError, "column 2 of X"),
    (lr.least_squares, (LINE * [0, 1], Y), ValueError, "column 0 of X.*zero"),
    (lr.least_squares, (LINE * [0, 1], Y, "cholesky"), ValueError, "column 0 of X.*zero"),
    (lr.least_squares, (LINE[:1], Y[:1]), ValueError, "1 rows and 2 columns.*minimum-norm"),
    (lr.least_squares, (LINE[:1], Y[:1], "cholesky"), ValueError, "fewer rows"),
    (lr.least_squares, (LINE * [1, 1e200], Y), ValueError, "column 1 of X is so large"),
    (lr.least_squares, (LINE, Y * 1e200), ValueError, "y is so large"),
    (lr.coefficient_table, (lr.Fit(*FIT), 0.0), ValueError, "level"),
    (lr.coefficient_table, (lr.Fit(*FIT), 1), ValueError, "level"),
    (lr.coefficient_table, (lr.Fit(*FIT), "high"), TypeError, "level"),
    (lr.coefficient_table, (lr.Fit(*FIT)._replace(rank=1),), ValueError, "rank 1 of 2"),
    (lr.coefficient_table, (lr.Fit(*FIT)._replace(rank=4),), ValueError, "degrees of freedom"),
    (lr.coefficient_table, (FIT,), TypeError, "least_squares"),
    (lr.f_test, (LINE, Y, [2]), ValueError, "expected 0 … 1"),
    (lr.f_test, (LINE, Y, [-1]), ValueError, "group"),
    (lr.f_test, (LINE, Y, []), (ValueError, TypeError), "group"),
    (lr.f_test, (LINE, Y, [1, 1]), ValueError, "twice"),
    (lr.f_test, (LINE, Y, [0.5]), TypeError, "group"),
    (lr.f_test, (LINE[:2], Y[:2], [1]), ValueError, "degrees of freedom"),
    (lr.f_test, (TWICE, Y, [1]), ValueError, "column 2"),
    (lr.gradient_descent, (LINE, Y, 0, 3), ValueError, "rate"),
    (lr.gradient_descent, (LINE, Y, -0.1, 3), ValueError, "rate"),
    (lr.gradient_descent, (LINE, Y, np.nan, 3), ValueError, "rate"),
    (lr.gradient_descent, (LINE, Y, "0.1", 3), TypeError, "rate"),
    (lr.gradient_descent, (LINE, Y, 0.1, 0), ValueError, "steps"),
    (lr.gradient_descent, (LINE, Y, 0.1, 2.5), TypeError, "steps"),
    (lr.gradient_descent, (LINE, Y, 0.1, 2**40), ValueError, "steps"),
    (lr.gradient_descent, (LINE, Y, 0.1, 3, np.zeros(3)), ValueError, "beta has shape"),
    (lr.eigen_path, (LINE, Y, np.zeros(2), -1, 3), ValueError, "rate"),
    (lr.eigen_path, (LINE, Y, np.zeros(3), 0.1, 3), ValueError, "beta"),
    (lr.eigen_path, (LINE, Y, np.zeros(2), 0.1, -1), ValueError, "steps"),
    (lr.rate_limit, (0 * LINE,), ValueError, "zero"),
    (lr.rate_limit, (Y,), ValueError, "X has shape"),
    (lr.polynomial, (LINE, 2), ValueError, "x has shape"),
    (lr.polynomial, (Y, -1), ValueError, "degree"),
    (lr.polynomial, (Y, 1.5), TypeError, "degree"),
    (lr.polynomial, ([], 2), ValueError, "empty"),
    (lr.dummy_coding, ([0, 3], 3), ValueError, "label 3 at index"),
    (lr.dummy_coding, ([0, -1], 3), ValueError, "label -1"),
    (lr.dummy_coding, ([0.0, 1.0], 3), TypeError, "integers"),
    (lr.dummy_coding, ([0, 0], 1), ValueError, "levels"),
    (lr.interactions, (LINE, LINE[:3]), ValueError, "B has shape"),
    (lr.interactions, (Y, LINE), ValueError, "A has shape"),
    (lr.design_matrix, (), ValueError, "at least one"),
    (lr.design_matrix, (Y, LINE[:3]), ValueError, "block 1 has shape"),
    (lr.design_matrix, (LINE, Y[:3]), ValueError, "block 1 has shape"),
    (lr.design_matrix, ([1.0, np.nan],), ValueError, "block 0 holds"),
    (lr.design_matrix, ([[1], [1, 2]],), ValueError, "block 0 is a list whose rows"),
    (lr.operations, (0, 3), ValueError, "N"),
    (lr.operations, (3, 2.5), TypeError, "P"),
]


@pytest.mark.parametrize(
    ("function", "args", "error", "word"),
    BAD,
    ids=[f"{row[0].__name__}-{k}" for k, row in enumerate(BAD)],
)
def test_bad_input_is_named(function, args, error, word):
    with np.errstate(all="ignore"), pytest.raises(error, match=word):
        function(*args)
