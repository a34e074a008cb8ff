"""A fit in other units is the same fit: every factor comes out as the mathematics says."""

import numpy as np
import pytest
from compiled import compiled_only

from dlbook import autoencoders as ae
from dlbook import linear_classification as lc
from dlbook import linear_regression as lr
from dlbook import neurons
from dlbook import optimization as opt
from dlbook import regularization as reg
from dlbook import verification as ver

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


def drawn(X, y, signs, classes, s, t):
    """Fit the outputs of a random layer whose inputs keep their unit."""
    rng = np.random.default_rng(5)
    f = neurons.fit_random_layer(X / X.dtype.type(s), y[:, None], 4, rng)
    return [(f.w1, 0, 0), (f.b1, 0, 0), (f.w2, 0, 1), (f.b2, 0, 1)]


def steps(X, y, signs, classes, s, t):
    f = neurons.bump_network(lambda c: t * np.cos(c), 5, 9.0)
    return [(f.w1, 0, 0), (f.w2, 0, 1), (f.b2, 0, 1)]


def walked(X, y, signs, classes, s, t):
    """Descend a cost in another unit at the rate that makes up for it."""
    cost = lambda theta: theta.dtype.type(t) * theta
    kinds = (opt.SGD, opt.Momentum, opt.Nesterov)
    return [(opt.trajectory(cost, X[0] / X.dtype.type(s), k(0.1 / t), 9), 0, 0) for k in kinds]


def estimated(X, y, signs, classes, s, t):
    found = ver.monte_carlo(X)
    return [(found.mean, 1, 0), (found.se, 1, 0)]


def shrunk(X, y, signs, classes, s, t):
    f = reg.ridge(X, y, 3.0 * s**2)
    return [(f.w, -1, 1), (f.b, 0, 1), (f.cost, 0, 2)]


def left_out(X, y, signs, classes, s, t):
    path = reg.ridge_path(X, y, s**2 * np.array([0.1, 10.0]))
    return [(path.w, -1, 1), (path.freedom, 0, 0), (path.left_out, 0, 2)]


def thresholded(X, y, signs, classes, s, t):
    f = reg.elastic_net(X, y, 9.0 * s * t, 3.0 * s**2)
    return [(f.w, -1, 1), (f.b, 0, 1), (f.cost, 0, 2), (reg.largest_l1(X, y), 1, 1)]


def reduced(X, y, signs, classes, s, t):
    paths = reg.pca_path(X, y, [2]), reg.stopped_path(X, y, [3])
    return [(part, a, 1) for path in paths for part, a in ((path.w, -1), (path.b, 0))]


FITS = {method: regression(method) for method in lr.METHODS} | {
    f.__name__: f
    for f in (
        table,
        compared,
        limit,
        shrunk,
        left_out,
        thresholded,
        reduced,
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
        drawn,
        steps,
        walked,
        estimated,
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
    with pytest.raises(ValueError, match=f"so {what} that no number is the limit"):
        lr.rate_limit(s * problem(np.float64)[0])


CLASSIFIERS = [lc.logistic_regression, lc.softmax_regression]


@pytest.mark.parametrize("fit", CLASSIFIERS)
@pytest.mark.parametrize("s", [1e200, 1e300])
@pytest.mark.parametrize("columns", [[0, 1, 2], [2]])
def test_a_penalty_that_vanishes_is_named(columns, s, fit):
    X, _, signs, classes = problem(np.float64)
    X[:, columns] *= s
    with pytest.raises(
        ValueError, match=r"l2 is 0\.001, which vanishes beside the square of column"
    ):
        fit(X, signs if fit is lc.logistic_regression else classes, 1e-3)


@pytest.mark.parametrize("fit", CLASSIFIERS)
@pytest.mark.parametrize("s", [1e-200, 1e-300])
@pytest.mark.parametrize("columns", [[0, 1, 2], [2]])
def test_inputs_whose_squares_vanish_do_not_count(columns, s, fit):
    """Under a penalty that is not as small, they are as good as zeros."""
    X, _, signs, classes = problem(np.float64)
    y = signs if fit is lc.logistic_regression else classes
    tiny, none = X.copy(), X.copy()
    tiny[:, columns] *= s
    none[:, columns] = 0
    found, expected = fit(tiny, y, 1e-3), fit(none, y, 1e-3)
    np.testing.assert_allclose(
        lc.probabilities(found, tiny), lc.probabilities(expected, none), rtol=1e-5
    )


def test_a_weight_keeps_its_digits_however_small_it_is():
    """Of small inputs the weights are −1/λ times the gradient at the bias alone."""
    X, _, signs, _ = problem(np.float64)
    for s in (1e-9, 1e-20, 1e-150):
        f = lc.logistic_regression(s * X, signs, 1e-3)
        dw, _ = lc.logistic_gradient(s * X, signs, np.zeros(P), f.b, 0.0)
        np.testing.assert_allclose(f.w, -dw / 1e-3, rtol=1e-9)


def test_principal_components_of_the_largest_numbers():
    found = ae.principal_components(np.array([[1.7e308, 0], [1.7e308, 0], [1.4e308, 0]]))
    np.testing.assert_allclose(found.mean, [1.6e308, 0])
    np.testing.assert_allclose(found.s, [np.sqrt(6) * 1e307, 0])


def test_activations_that_are_no_numbers_are_named():
    X, y, *_ = problem(np.float64)
    nothing = lambda z: np.full_like(z, np.nan)
    with pytest.raises(ValueError, match="hidden layer"):
        neurons.fit_random_layer(X, y[:, None], 4, np.random.default_rng(5), nothing)


# Rank does not depend on the number of rows

MILLION = pytest.param(1_000_000, marks=compiled_only)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("method", lr.METHODS)
@pytest.mark.parametrize("rows", [20, 10_000, MILLION])
def test_years_beside_an_intercept(rows, method, dtype):
    """The sine between the columns is 0.003, with twenty rows as with a million."""
    year = np.resize(np.arange(2000, 2020), rows).astype(dtype)
    X, y = lr.design_matrix(year), (year - 2000) / 2
    found = lr.least_squares(X, y.astype(dtype), method).beta
    np.testing.assert_allclose(found, [-1000, 0.5], rtol=1e-5)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("rows", [20, 2000, pytest.param(200_000, marks=compiled_only)])
def test_what_depends_up_to_rounding_is_refused(rows, dtype, rng):
    """The third column is a sum of the others, rounded in its own dtype."""
    a, b = rng.normal(size=(2, rows)).astype(dtype)
    X = np.column_stack((a, b, dtype(0.1) * a + dtype(0.7) * b))
    for method in ("qr", "cholesky"):
        with pytest.raises(ValueError, match="column 2 of X"):
            lr.least_squares(X, a, method)
    assert lr.least_squares(X, a, "minimum-norm").rank == 2


# Nothing to tell the errors from


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("value", [0.0, 0.1, 3.3, -7.7, 1e6 + 0.1, 1e-30, 1e30])
def test_a_perfect_fit_has_no_errors_to_estimate(value, dtype):
    """Rounding is none: a constant response leaves zeros here and 1e-17 of it there."""
    for rows in (4, 30, 1000):
        X, y = lr.design_matrix(np.arange(rows, dtype=dtype)), np.full(rows, value, dtype)
        with pytest.raises(ValueError, match="the smaller model leaves no residuals"):
            lr.f_test(X, y, [1])
        with pytest.raises(ValueError, match="the model leaves no residuals"):
            lr.coefficient_table(lr.least_squares(X, y))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_errors_above_rounding_are_estimated(dtype, rng):
    """A thousand times the rounding of the responses is an error like any other."""
    x = np.arange(50, dtype=dtype)
    noise = (1000 * np.finfo(dtype).eps * rng.normal(size=50)).astype(dtype)
    table = lr.coefficient_table(lr.least_squares(lr.design_matrix(x), 1 + noise))
    assert 0 < table.se[0] < 1e-3


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


@pytest.mark.parametrize("factor", [1e-200, 1e-9, 1.0, 1e200])
def test_a_column_that_is_constant_up_to_rounding_is_not_divided(factor):
    """0.1 + 0.2 is 0.3 and a bit; the least that is divided are some units in the last place."""
    x = factor * np.array([[0.3], [0.1 + 0.2], [0.3], [0.3]])
    train, other = lc.standardize(x, x + 0.1 * factor)
    assert np.abs(train).max() < 1e-16 * factor
    np.testing.assert_allclose(other, 0.1 * factor)
    (apart,) = lc.standardize(factor * (1 + 1e-15 * np.arange(4.0)[:, None]))
    np.testing.assert_allclose(apart.std(), 1)


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
