"""A fit in other units is the same fit: every factor comes out as the mathematics says."""

import numpy as np
import pytest

from dlbook import autoencoders as ae
from dlbook import linear_classification as lc
from dlbook import linear_regression as lr
from dlbook import neurons

N, P = 40, 3
EVERY = [1e-9, 1e-3, 1e3, 1e9]
EXTREME = [1e-150, 1e150]


def problem(dtype):
    """Return inputs, responses, two classes and three of them, on which no fit is perfect."""
    rng = np.random.default_rng(11)
    X, noise = rng.normal(1, 1, (N, P)), rng.normal(0, 1, N)
    y = X @ [1.0, -2.0, 0.5] + noise
    signs = np.where(X[:, 0] + noise > 1, 1, -1)
    return X.astype(dtype), y.astype(dtype), signs, np.digitize(X[:, 1] + noise, [0.5, 1.5])


# Each fit returns its parts, with the powers of s and t that they have: X is multiplied by s, y by t


def regression(method):
    def fit(X, y, signs, classes, s, t):
        f = lr.least_squares(X, y, method)
        of_y = [(f.fitted, 0, 1), (f.residuals, 0, 1), (f.rss, 0, 2)]
        return [(f.beta, -1, 1), *of_y, (f.leverages, 0, 0), (f.root, -1, 0)]

    return fit


def table(X, y, signs, classes, s, t):
    c = lr.coefficient_table(lr.least_squares(X, y))
    of_both = [(part, -1, 1) for part in (c.estimate, c.se, c.low, c.high)]
    return [*of_both, (c.t, 0, 0), (c.p, 0, 0)]


def compared(X, y, signs, classes, s, t):
    found = lr.f_test(X, y, [1, 2])
    return [(found.f, 0, 0), (found.p, 0, 0)]


def limit(X, y, signs, classes, s, t):
    return [(lr.rate_limit(X), -2, 0)]


def descended(X, y, signs, classes, s, t):
    return [(lr.gradient_descent(X, y, 0.05 / s**2, 9), -1, 1)]


def flowed(X, y, signs, classes, s, t):
    return [(lr.eigen_path(X, y, np.zeros(P, X.dtype), 0.05 / s**2, 9), -1, 1)]


def logistic(X, y, signs, classes, s, t):
    f = lc.logistic_regression(X, signs, 1e-3 * s**2)
    return [(f.w, -1, 0), (f.b, 0, 0), (f.cost, 0, 0), (f.steps, 0, 0)]


def softmax(X, y, signs, classes, s, t):
    f = lc.softmax_regression(X, classes, 1e-3 * s**2)
    return [(f.w, -1, 0), (f.b, 0, 0), (f.cost, 0, 0)]


def rest(X, y, signs, classes, s, t):
    f = lc.one_vs_rest(X, classes, 1e-3 * s**2)
    return [(f.w, -1, 0), (f.b, 0, 0), (f.cost, 0, 0)]


def standardized(X, y, signs, classes, s, t):
    train, test = lc.standardize(X[:30], X[30:])
    return [(train, 0, 0), (test, 0, 0)]


def components(X, y, signs, classes, s, t):
    found = ae.principal_components(X)
    return [(found.mean, 1, 0), (found.components, 0, 0), (found.s, 1, 0)]


def angles(X, y, signs, classes, s, t):
    return [(ae.principal_angles(X[:, :2], X[:, 1:]), 0, 0)]


def nearest(X, y, signs, classes, s, t):
    return [(ae.neighbours(X[:9], X[9:], 5), 0, 0)]


def separated(X, y, signs, classes, s, t):
    found = neurons.separating_perceptron(X, (X[:, 0] > X[:, 1]).astype(int))
    return [(found[0], -1, 0), (found[1], 0, 0)]


FITS = {method: regression(method) for method in lr.METHODS} | {
    f.__name__: f
    for f in (
        table,
        compared,
        limit,
        descended,
        flowed,
        logistic,
        softmax,
        rest,
        standardized,
        components,
        angles,
        nearest,
        separated,
    )
}
CASES = [(np.float32, s) for s in EVERY] + [(np.float64, s) for s in EVERY + EXTREME]


@pytest.mark.parametrize(("dtype", "factor"), CASES)
@pytest.mark.parametrize("name", FITS)
@pytest.mark.parametrize("what", ["X", "y"])
def test_other_units_give_the_same_fit(name, what, dtype, factor):
    X, y, *labels = problem(dtype)
    s, t = (factor, 1.0) if what == "X" else (1.0, factor)
    expected = FITS[name](X, y, *labels, 1.0, 1.0)
    found = FITS[name]((s * X).astype(dtype), (t * y).astype(dtype), *labels, s, t)
    # the factors are rounded to dtype in each number, and L-BFGS ends within 1e-6
    rtol = 1e-4 if dtype == np.float32 else 1e-5 if name == "softmax" else 1e-7
    for (one, a, b), (other, *_) in zip(found, expected, strict=True):
        right = np.asarray(other, np.float64) * s**a * t**b
        np.testing.assert_allclose(one, right, rtol=0, atol=rtol * np.abs(right).max())


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("factor", [*EVERY, 1e-30, 1e30])
@pytest.mark.parametrize("method", ["qr", "cholesky"])
def test_one_column_in_other_units(method, factor, dtype):
    """Its coefficient takes the unit, and nothing else changes."""
    X, y, *_ = problem(dtype)
    units = np.array([1, factor, 1])
    expected = lr.least_squares(X, y, method)
    found = lr.least_squares((X * units).astype(dtype), y, method)
    rtol = 1e-4 if dtype == np.float32 else 1e-9
    np.testing.assert_allclose(found.beta * units, expected.beta, rtol=rtol)
    np.testing.assert_allclose(found.fitted, expected.fitted, rtol=0, atol=10 * rtol)


# Where numbers end


def test_a_coefficient_that_no_number_holds_is_named():
    X = lr.design_matrix(np.array([0.0, 1, 2]) * 1e-310)
    for method in lr.METHODS:
        with pytest.raises(ValueError, match="so small that its coefficient overflows"):
            lr.least_squares(1e-310 * X if method == "minimum-norm" else X, [1, 2, 3.0], method)


@pytest.mark.parametrize(("s", "what"), [(1e-170, "small"), (1e170, "large")])
def test_a_rate_that_no_number_holds_is_named(s, what):
    with pytest.raises(ValueError, match=f"so {what} that no floating-point number is the limit"):
        lr.rate_limit(s * problem(np.float64)[0])


# Rank does not depend on the number of rows


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("method", lr.METHODS)
def test_years_beside_an_intercept(method, dtype):
    """The sine between the columns is 0.003, with twenty rows as with a million."""
    for repeats in (1, 500, 50_000):
        year = np.tile(np.arange(2000, 2020), repeats).astype(dtype)
        X, y = lr.design_matrix(year), (year - 2000) / 2
        found = lr.least_squares(X, y.astype(dtype), method).beta
        np.testing.assert_allclose(found, [-1000, 0.5], rtol=1e-5)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("rows", [20, 2000, 200_000])
def test_what_depends_up_to_rounding_is_refused(rows, dtype, rng):
    """The third column is a sum of the others, rounded in its own dtype."""
    a, b = rng.normal(size=(2, rows)).astype(dtype)
    X = np.column_stack((a, b, dtype(0.1) * a + dtype(0.7) * b))
    for method in ("qr", "cholesky"):
        with pytest.raises(ValueError, match="column 2 of X"):
            lr.least_squares(X, a, method)
    assert lr.least_squares(X, a, "minimum-norm").rank == 2


# Nothing to tell the errors from


def test_a_perfect_fit_has_no_errors_to_estimate():
    X = lr.design_matrix([0.0, 1, 2, 3])
    with pytest.raises(ValueError, match="the smaller model leaves no residuals"):
        lr.f_test(X, np.zeros(4), [1])
    with pytest.raises(ValueError, match="the model leaves no residuals"):
        lr.coefficient_table(lr.least_squares(X, np.zeros(4)))


# Standardizing


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("value", [0.1, 1.1, 3.3, 1e6 + 0.1, -7.7, 1e-30, 0.0])
def test_a_constant_column_becomes_zero(value, dtype):
    """And what differs from it in another part keeps its distance."""
    for rows in (1, 2, 10, 30, 1000):
        train, other = lc.standardize(
            np.full((rows, 1), value, dtype), np.array([[value], [value + 1]], dtype)
        )
        assert not train.any()
        assert train.dtype == other.dtype == dtype
        np.testing.assert_allclose(other, [[0], [dtype(value + 1) - dtype(value)]], rtol=1e-6)


@pytest.mark.parametrize("factor", [1e-30, 1e-20, 1.0, 1e18])
def test_long_columns_of_float32_have_mean_zero(factor, rng):
    """A million numbers around 100, in units in which squares vanish in float32."""
    x = (factor * rng.normal(100, 1, (1_000_000, 1))).astype(np.float32)
    (found,) = lc.standardize(x)
    assert abs(found.mean(dtype=np.float64)) < 1e-6
    assert abs(found.std(dtype=np.float64) - 1) < 1e-6


# Stopping


@pytest.mark.parametrize(("l2", "minimum"), [(1e-12, 315.94), (1e-14, 399.0), (1e-20, 652.2)])
def test_a_small_penalty_is_minimised_too(l2, minimum):
    """Separable classes, whose gradient is small long before the minimum (by bisection)."""
    X = np.linspace(-1, 1, 20)[:, None]
    fit = lc.logistic_regression(X, np.where(X[:, 0] > 0, 1, -1), l2)
    assert fit.w[0] == pytest.approx(minimum, rel=1e-3)


def test_curvature_that_vanishes_is_no_error_of_linear_algebra():
    fit = lc.logistic_regression([[2e6, 1.2e6], [2e6, -0.7e6]], [1, -1], 1e-6)
    assert lc.predict(fit, [[2e6, 1.2e6], [2e6, -0.7e6]]).tolist() == [1, -1]
