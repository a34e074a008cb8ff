"""Ridge, lasso, elastic net and their kin against closed forms, brute force and scikit-learn."""

import warnings

import numpy as np
import pytest
from compiled import compiled_only
from scipy.optimize import brentq, minimize
from sklearn.decomposition import PCA
from sklearn.linear_model import ElasticNet, LinearRegression, Ridge, RidgeCV, lasso_path
from sklearn.pipeline import make_pipeline

from dlbook import regularization as reg
from dlbook.fast import coordinate
from dlbook.tools import data, paths
from dlbook.verification import complex_step, relative_error

N, P = 9, 4


def table(rng, n=N, p=P):
    """Return X and y."""
    return rng.normal(size=(n, p)), rng.normal(size=n)


def directions(rng, n=N, p=P):
    """Return U, d, V and y."""
    X, y = table(rng, n, p)
    U, d, Vt = np.linalg.svd(X, full_matrices=False)
    return np.ascontiguousarray(U), d, np.ascontiguousarray(Vt.T), y


def sparse(rng, n=N, p=P):
    """Return X, y and weights with a zero among them."""
    w = rng.normal(size=p)
    w[1] = 0
    return *table(rng, n, p), w


KERNELS = [
    (reg.ridge_cost, lambda rng: (*sparse(rng), 0.7)),
    (reg.ridge_solution, lambda rng: (*table(rng), 0.7)),
    (reg.shrinkage, lambda rng: (directions(rng)[1], 0.7)),
    (reg.ridge_by_svd, lambda rng: (*directions(rng), 0.7)),
    (reg.squared_length, lambda rng: (directions(rng)[1], rng.normal(size=P), 0.7)),
    (reg.degrees_of_freedom, lambda rng: (directions(rng)[1], 0.7)),
    (reg.ridge_error, lambda rng: (directions(rng)[1], *rng.normal(size=(2, P)), 0.7, 0.3)),
    (reg.k_fold_error, lambda rng: (*table(rng), np.arange(N) % 3, 3, 0.7)),
    (reg.leave_one_out, lambda rng: (*directions(rng)[:2], directions(rng)[3], 0.7)),
    (reg.lasso_cost, lambda rng: (*sparse(rng), 0.7)),
    (reg.elastic_net_cost, lambda rng: (*sparse(rng), 0.7, 0.3)),
    (reg.soft_threshold, lambda rng: (rng.normal(size=P), 0.7)),
    (reg.coordinate_sweep, lambda rng: (*sparse(rng), 0.7, 0.3)),
    (reg.kkt_violation, lambda rng: (*sparse(rng), 0.7, 0.3)),
    (reg.duality_gap, lambda rng: (*sparse(rng), 0.7, 0.3)),
    (reg.safe_bound, lambda rng: (*sparse(rng), 0.7, 0.3)),
    (reg.zeroing_l1, table),
    (reg.proximal_step, lambda rng: (*sparse(rng), 0.7, 0.3, 20.0)),
    (reg.fista_step, lambda rng: (*sparse(rng), rng.normal(size=P), 2.5, 0.7, 0.3, 20.0)),
    (reg.ista_bound, lambda rng: (20.0, 2.0, 3)),
    (reg.fista_bound, lambda rng: (20.0, 2.0, 3)),
    (reg.sweep_matrix, lambda rng: (gram_plus(table(rng)[0], 0.3),)),
    (reg.pca_solution, lambda rng: (*directions(rng), 2)),
    (reg.stopping_factor, lambda rng: (directions(rng)[1], 0.02, 5)),
    (reg.matching_shrinkage, lambda rng: (directions(rng)[1], 0.02, 5)),
    (reg.noise_cost, lambda rng: (*sparse(rng), 0.7)),
    (reg.dropout_cost, lambda rng: (*sparse(rng), 0.3)),
]


def gram_plus(X, l2):
    return X.T @ X + l2 * np.eye(X.shape[1])


# Ridge regression


@pytest.mark.parametrize("l2", [1e-6, 0.3, 1e6])
@pytest.mark.parametrize("shape", [(1, 1), (9, 4), (4, 9)])
def test_the_kernels_of_ridge_agree(shape, l2, rng):
    X, y = table(rng, *shape)
    expected = np.linalg.solve(gram_plus(X, l2), X.T @ y)
    rtol = 1e-14 * (1 + np.linalg.norm(X) ** 2 / l2)
    assert relative_error(reg.ridge_solution(X, y, l2), expected) < rtol
    U, d, V, _ = *np.linalg.svd(X, full_matrices=False), None
    U, V = np.ascontiguousarray(U), np.ascontiguousarray(V.T)
    assert relative_error(reg.ridge_by_svd(U, d, V, y, l2), expected) < rtol
    assert abs(reg.squared_length(d, U.T @ y, l2) / (expected @ expected) - 1) < 2 * rtol
    hat = X @ np.linalg.solve(gram_plus(X, l2), X.T)
    assert abs(reg.degrees_of_freedom(d, l2) / np.trace(hat) - 1) < rtol


def test_ridge_is_the_minimum(rng):
    X, y = table(rng)
    w = reg.ridge_solution(X, y, 0.7)
    cost = lambda w: reg.ridge_cost(X, y, w, 0.7)
    assert np.abs(complex_step(cost, w)).max() < 1e-13
    assert relative_error(w, minimize(cost, np.zeros(P), tol=1e-12).x) < 1e-6


def test_ridge_is_the_best_within_its_length(rng):
    """The same weights minimise the sum of squares among those that are not longer."""
    X, y = table(rng)
    U, d, _ = np.linalg.svd(X, full_matrices=False)
    w = reg.ridge_solution(X, y, 2.0)
    longer = lambda l2: reg.squared_length(d, U.T @ y, l2) - w @ w
    assert abs(brentq(longer, 1e-3, 1e3, xtol=1e-13) - 2.0) < 1e-10
    rss = lambda w: np.sum((y - X @ w) ** 2)
    for _ in range(200):
        other = rng.normal(size=P)
        other *= np.sqrt(w @ w) * rng.random() / np.linalg.norm(other)
        assert rss(other) > rss(w)


def test_the_error_of_ridge_by_simulation(rng):
    X, x, truth = rng.normal(size=(6, 3)), rng.normal(size=3), rng.normal(size=3)
    _, d, Vt = np.linalg.svd(X, full_matrices=False)
    y = X @ truth + 0.5 * rng.normal(size=(40_000, 6))
    guess = y @ X @ np.linalg.inv(gram_plus(X, 1.5)) @ x
    square, spread = reg.ridge_error(d, Vt @ truth, Vt @ x, 1.5, 0.25)
    error = (guess - x @ truth) ** 2
    assert abs(error.mean() - square - spread) < 5 * error.std() / 200
    assert abs(guess.var() / spread - 1) < 0.05


@pytest.mark.parametrize("seed", range(20))
def test_some_price_lowers_the_error(seed):
    """The bias begins with slope zero, the variance does not."""
    rng = np.random.default_rng(seed)
    d, a, x = rng.uniform(0.1, 3, 5), *rng.normal(size=(2, 5))
    least, small = (sum(reg.ridge_error(d, a, x, l2, 0.04)) for l2 in (0.0, 1e-6))
    assert small < least


@pytest.mark.parametrize("shape", [(9, 4), (5, 8)])
def test_leaving_one_out_is_fitting_without_it(shape, rng):
    X, y = table(rng, *shape)
    U, d, _ = np.linalg.svd(X, full_matrices=False)
    left = reg.leave_one_out(np.ascontiguousarray(U), d, y, 0.7)
    for n in range(len(y)):
        rest = np.arange(len(y)) != n
        w = np.linalg.solve(gram_plus(X[rest], 0.7), X[rest].T @ y[rest])
        assert abs(left[n] - (y[n] - X[n] @ w)) < 1e-12
    squares = reg.k_fold_error(X, y, np.arange(len(y)), len(y), 0.7)
    assert abs(squares / np.mean(left**2) - 1) < 1e-12


@pytest.mark.parametrize("weighted", [False, True])
def test_a_path_leaves_out_as_refitting_does(weighted, rng):
    X, y = table(rng, 12, 3)
    s = rng.uniform(0.5, 2, 12) if weighted else None
    path = reg.ridge_path(X, y, [0.1, 3.0], weights=s)
    for k, l2 in enumerate(path.strength):
        left = []
        for n in range(12):
            rest = np.arange(12) != n
            some = None if s is None else s[rest]
            fit = reg.ridge(X[rest], y[rest], l2, weights=some)
            left.append(y[n] - reg.predict(fit, X[n : n + 1])[0])
        assert abs(path.left_out[k] / np.average(np.square(left), weights=s) - 1) < 1e-11


@pytest.mark.parametrize("shape", [(20, 6), (6, 20)])
def test_a_path_with_a_tiny_strength_is_the_same_path(shape, rng):
    """A tiny strength asks for singular values, others for eigenvectors."""
    X, y = table(rng, *shape)
    one, two = reg.ridge_path(X, y, [0.1, 5.0]), reg.ridge_path(X, y, [0.1, 5.0, 1e-9])
    for a, b in zip(one, two, strict=True):
        assert relative_error(a, b[:2]) < 1e-11


def test_a_ridge_path_chooses_as_scikit_learn_does(rng):
    X, y = table(rng, 40, 10)
    strengths = np.geomspace(1e-3, 1e3, 50)
    path, peer = reg.ridge_path(X, y, strengths), RidgeCV(strengths).fit(X, y)
    best = np.argmin(path.left_out)
    assert strengths[best] == peer.alpha_
    assert abs(path.left_out[best] + peer.best_score_) < 1e-11
    assert relative_error(path.w[best], peer.coef_) < 1e-10


# The lasso


def test_soft_threshold_is_the_minimum():
    z, l1 = np.array([-3.0, -0.7, -0.2, 0, 0.5, 0.7, 2.5]), 0.7
    grid = np.linspace(-4, 4, 8001)
    for value, s in zip(z, reg.soft_threshold(z, l1), strict=True):
        best = grid[np.argmin((value - grid) ** 2 / 2 + l1 * np.abs(grid))]
        assert abs(s - best) < 1e-3
    assert (reg.soft_threshold(z, l1)[1:6] == 0).all()


def test_a_sweep_minimises_over_each_weight(rng):
    X, y, w = sparse(rng)
    swept = reg.coordinate_sweep(X, y, w, 0.9, 0.4)
    grid = np.linspace(-3, 3, 60_001)
    for p in range(P):
        tried = np.repeat(w[None], len(grid), 0)
        tried[:, :p], tried[:, p] = swept[:p], grid
        cost = np.sum((y - tried @ X.T) ** 2, axis=1) / 2 + 0.9 * np.abs(tried).sum(axis=1)
        cost += 0.2 * np.sum(tried**2, axis=1)
        assert abs(grid[np.argmin(cost)] - swept[p]) < 2e-4


def test_the_conditions_hold_at_the_minimum_and_nowhere_near(rng):
    X, y = table(rng, 30, 5)
    w = reg.lasso(X, y, 4.0, intercept=False).w
    assert (w == 0).any() and (w != 0).any()
    assert reg.kkt_violation(X, y, w, 4.0, 0.0).max() < 1e-9
    for p in range(5):
        moved = w.copy()
        moved[p] += 1e-3
        assert reg.kkt_violation(X, y, moved, 4.0, 0.0).max() > 1e-4


def problems(seed):
    """Return X, y, weights and a word for what is odd about them."""
    rng = np.random.default_rng(seed)
    kind = ("plain", "collinear", "constant", "small", "large")[seed % 5]
    n, p = [(30, 8), (12, 25), (40, 3), (9, 9)][seed // 5 % 4]
    X = rng.normal(size=(n, p)) + rng.normal(size=p)
    if kind == "collinear":
        X[:, 1] = X[:, 0]
        X[:, 2] = X[:, 0] + 1e-3 * X[:, 2]
    elif kind == "constant":
        X[:, 0] = 0.1
    elif kind != "plain":
        X *= 10.0 ** (rng.choice([-6, 0, 6], p) if kind == "large" else -6)
    y = X[:, :3] @ rng.normal(size=3) / np.abs(X).max() + rng.normal(size=n)
    return X, y, rng.uniform(0.2, 3, n) if seed % 2 else None, rng.uniform(0.05, 0.6)


def centred(X, y, weights):
    """Return columns and responses without their means, times the roots of the weights."""
    s = np.ones(len(y)) if weights is None else weights
    root = np.sqrt(s)[:, None]
    return root * (X - np.average(X, 0, s)), root[:, 0] * (y - np.average(y, 0, s))


@pytest.mark.parametrize("seed", range(200))
def test_fits_meet_their_conditions(seed):
    """Gradients vanish, or stay within λ₁ at zero weights, to 1e-8 of their parts."""
    X, y, weights, share = problems(seed)
    A, b = centred(X, y, weights)
    top = reg.largest_l1(X, y, weights=weights)
    assert abs(top / np.abs(A.T @ b).max() - 1) < 1e-9
    l1, l2 = share * top, 0.3 * share * np.sum(A * A) / A.shape[1]
    for second in (0.0, l2):
        fit = reg.elastic_net(X, y, l1, second, weights=weights)
        assert reg.kkt_violation(A, b, fit.w, l1, second).max() <= 1e-8 * l1
        assert fit.gap <= 1e-8 * (b @ b)
        assert abs(fit.cost / reg.elastic_net_cost(A, b, fit.w, l1, second) - 1) < 1e-9
    fit = reg.ridge(X, y, l2, weights=weights)
    e = b - A @ fit.w
    parts = np.abs(A).T @ np.abs(e) + l2 * np.abs(fit.w)
    assert np.all(np.abs(A.T @ e - l2 * fit.w) <= 1e-8 * parts.max())


@pytest.mark.parametrize("seed", range(200))
def test_fits_are_scikit_learns(seed):
    """Ridge regression, lasso and elastic net; of the lasso with equal columns the predictions.

    How equal columns share their weight the lasso leaves open.
    """
    X, y, weights, share = problems(seed)
    A, b = centred(X, y, weights)
    total = len(y) if weights is None else weights.sum()
    l1 = share * reg.largest_l1(X, y, weights=weights)
    l2 = 0.3 * share * np.sum(A * A) / A.shape[1]
    size = np.abs(X).max(axis=0)
    for second in (0.0, l2):
        fit = reg.elastic_net(X, y, l1, second, weights=weights)
        alpha, ratio = (l1 + second) / total, l1 / (l1 + second)
        peer = ElasticNet(alpha, l1_ratio=ratio, tol=1e-14, max_iter=10**5)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it asks for a gap that rounding does not give
            peer.fit(X, y, sample_weight=weights)
        assert np.linalg.norm(A @ (fit.w - peer.coef_)) < 1e-9 * np.linalg.norm(b)
        assert abs(fit.b - peer.intercept_) < 1e-8 * np.abs(y).max()
        if second or seed % 5 != 1:
            assert np.abs((fit.w - peer.coef_) * size).max() < 1e-8 * np.abs(y).max()
    peer = Ridge(l2, solver="svd").fit(X, y, sample_weight=weights)
    fit = reg.ridge(X, y, l2, weights=weights)
    assert np.abs((fit.w - peer.coef_) * size).max() < 1e-9 * np.abs(y).max()
    assert abs(fit.b - peer.intercept_) < 1e-9 * np.abs(y).max()


@pytest.mark.parametrize("seed", range(200))
def test_components_are_those_of_scikit_learn(seed):
    """Up to the directions that its `LinearRegression` drops, below 1e-6 of the largest."""
    X, y, _, _ = problems(seed)
    d = np.linalg.svd(X - X.mean(axis=0), compute_uv=False)
    K = 1 + seed % np.count_nonzero(d > 1e-5 * d[0])
    (w,), (b,) = reg.pca_path(X, y, [K])[1:]
    peer = make_pipeline(PCA(K, svd_solver="full"), LinearRegression()).fit(X, y)
    assert np.abs(X @ w + b - peer.predict(X)).max() < 1e-9 * np.abs(y).max()


@pytest.mark.parametrize("seed", range(30))
def test_the_gap_bounds_the_true_error(seed):
    X, y, weights, share = problems(5 * seed)
    X, y = centred(X, y, weights)
    l1, l2 = share * np.abs(X.T @ y).max(), 0.2 * seed
    best = reg.elastic_net(X, y, l1, l2, intercept=False).cost
    w, gaps = np.zeros(X.shape[1]), []
    for _ in range(12):
        w = reg.coordinate_sweep(X, y, w, l1, l2)
        above = reg.elastic_net_cost(X, y, w, l1, l2) - best
        gaps.append(reg.duality_gap(X, y, w, l1, l2))
        assert gaps[-1] >= above - 1e-12 * best
    assert gaps[-1] < gaps[0] or gaps[0] < 1e-12 * best


@pytest.mark.parametrize("seed", range(20))
def test_what_is_screened_is_zero(seed):
    X, y, weights, share = problems(5 * seed)
    X, y = centred(X, y, weights)
    l1 = share * np.abs(X.T @ y).max()
    best = reg.lasso(X, y, l1, intercept=False).w
    for away in (1, 0.1, 1e-2, 1e-3, 1e-4):
        zero = reg.safe_bound(X, y, (1 + away) * best, l1, 0.0) < l1
        assert (best[zero] == 0).all()
    assert zero.any() or (best != 0).all()


def test_the_fast_descent_is_the_literal_one(rng):
    X, y = table(rng, 25, 12)
    w = np.zeros(12)
    for _ in range(2000):
        w = reg.coordinate_sweep(X, y, w, 3.0, 0.5)
    fit = reg.elastic_net(X, y, 3.0, 0.5, intercept=False)
    assert relative_error(fit.w, w) < 1e-9
    many = rng.normal(size=(20, 80))  # so many sweeps that inner products take over
    fit = reg.lasso(many, many[:, 0] + 0.1 * rng.normal(size=20), 0.01, intercept=False)
    assert fit.steps > 50 and fit.gap < 1e-12


def test_inputs_in_either_order_give_the_same(rng):
    X, y = table(rng, 30, 6)
    for intercept in (True, False):
        a, b = (
            reg.lasso(order(X), y, 2.0, intercept=intercept)
            for order in (np.array, np.asfortranarray)
        )
        np.testing.assert_array_equal(a.w, b.w)


def test_weights_count_examples(rng):
    """A weight of two is an example that is there twice; one of zero is one that is not."""
    X, y = table(rng, 10, 3)
    s = np.array([2, 1, 0, 1, 3, 1, 1, 0, 1, 1])
    again = np.repeat(np.arange(10), s)
    for fit in (lambda *d, **k: reg.ridge(*d, 0.7, **k), lambda *d, **k: reg.lasso(*d, 0.7, **k)):
        a, b = fit(X, y, weights=s), fit(X[again], y[again])
        assert relative_error(a.w, b.w) < 1e-9 and abs(a.cost / b.cost - 1) < 1e-12


def test_a_path_is_its_fits(rng):
    X, y = table(rng, 30, 6)
    l1 = reg.largest_l1(X, y) * np.array([1.0, 0.5, 0.1])
    path = reg.elastic_net_path(X, y, l1, 0.2)
    assert (path.w[0] == 0).all() and path.steps[0] == 0
    for k in range(3):
        fit = reg.elastic_net(X, y, l1[k], 0.2)
        assert relative_error(path.w[k], fit.w, scale=1) < 1e-9 and abs(path.b[k] - fit.b) < 1e-9
    expected = lasso_path(X - X.mean(0), y - y.mean(), alphas=l1 / 30, tol=1e-12)[1].T
    assert relative_error(reg.elastic_net_path(X, y, l1).w, expected) < 1e-6


@pytest.mark.parametrize("seed", range(20))
def test_a_long_path_goes_by_the_products_of_columns(seed):
    """Its weights, costs and gaps are those of single fits."""
    X, y, weights, _ = problems(seed)
    l1 = reg.largest_l1(X, y, weights=weights) * np.geomspace(0.9, 0.05, 9)
    path = reg.elastic_net_path(X, y, l1, 0.1, weights=weights)
    size = np.abs(X).max(axis=0)
    for k in (0, 4, 8):
        fit = reg.elastic_net(X, y, l1[k], 0.1, weights=weights)
        assert np.abs((path.w[k] - fit.w) * size).max() < 1e-7 * np.abs(y).max()
        assert abs(path.cost[k] / fit.cost - 1) < 1e-9
    A, b = centred(X, y, weights)
    for k in range(9):
        assert reg.kkt_violation(A, b, path.w[k], l1[k], 0.1).max() <= 1e-8 * l1[k]


def test_a_warm_start_saves_sweeps(rng):
    X, y = table(rng, 60, 40)
    l1 = reg.largest_l1(X, y) * np.geomspace(1, 0.1, 60)
    warm = reg.elastic_net_path(X, y, l1, gap=1e-3).steps.sum()
    cold = sum(reg.lasso(X, y, strength, gap=1e-3).steps for strength in l1)
    assert warm < 0.7 * cold


def test_a_path_is_drawn_in_one_call(rng):
    X, y = table(rng, 30, 6)
    _, ax = paths.plot_path(reg.ridge_path(X, y, np.geomspace(0.1, 100, 9)), list("abcdef"), 2)
    assert len(ax.lines) == 6 and len(ax.texts) == 2
    assert {text.get_text() for text in ax.texts} <= set("abcdef")
    with pytest.raises(ValueError, match="names has 2 names for 6 columns"):
        paths.plot_path(reg.ridge_path(X, y, [1.0]), ["a", "b"])


# Rates


def gaps_of(step, X, y, l1, l2, steps):
    """Return what the cost is above its minimum after each of so many steps, and the start's w*."""
    best = reg.elastic_net(X, y, l1, l2, intercept=False)
    costs = [reg.elastic_net_cost(X, y, w, l1, l2) for w in step(X, y, l1, l2, steps)]
    return np.array(costs) - best.cost, best.w


def ista(X, y, l1, l2, steps):
    L, w = np.linalg.norm(X, 2) ** 2 + l2, np.zeros(X.shape[1])
    for _ in range(steps):
        w = reg.proximal_step(X, y, w, l1, l2, L)
        yield w


def fista(X, y, l1, l2, steps):
    L, w, t = np.linalg.norm(X, 2) ** 2 + l2, np.zeros(X.shape[1]), 0.0
    before = w
    for _ in range(steps):
        (new, t), before = reg.fista_step(X, y, w, before, t, l1, l2, L), w
        w = new
        yield w


@pytest.mark.parametrize(("step", "bound"), [(ista, reg.ista_bound), (fista, reg.fista_bound)])
@pytest.mark.parametrize("seed", range(5))
def test_proximal_steps_keep_their_bounds(step, bound, seed):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(20, 30)) * np.geomspace(1, 0.03, 30)
    y = X @ rng.normal(size=30) + 0.1 * rng.normal(size=20)
    above, w = gaps_of(step, X, y, 0.02, 0.0, 300)
    L, t = np.linalg.norm(X, 2) ** 2, np.arange(1, 301)
    assert np.all(above <= bound(L, w @ w, t) + 1e-12)


@pytest.mark.parametrize("fit", [reg.ista, reg.fista])
@pytest.mark.parametrize("seed", range(10))
def test_proximal_steps_end_at_the_minimum(fit, seed):
    """Within the gap they were told, for weighted examples and biases too."""
    rng = np.random.default_rng(seed)
    X, y = table(rng, 30, 6)
    s = rng.uniform(0.2, 3, 30) if seed % 2 else None
    found = fit(1e-3 * X, y, 3e-3, 1e-6, weights=s, gap=1e-9)
    best = reg.elastic_net(1e-3 * X, y, 3e-3, 1e-6, weights=s)
    assert found.cost / best.cost - 1 > -1e-12 and found.cost - best.cost <= found.gap
    assert found.gap <= 1e-9 * np.sum((1 if s is None else s) * y**2)
    assert relative_error(found.w, best.w) < 1e-3 and abs(found.b - best.b) < 1e-3


def test_a_kink_alone_meets_the_bound_of_proximal_steps():
    """Without inputs the cost is a kink, and no cost is slower after ten steps."""
    X, y, L, steps = np.zeros((1, 1)), np.zeros(1), 2.0, 10
    l1, w = L / (2 * steps), np.ones(1)
    for _ in range(steps):
        w = reg.proximal_step(X, y, w, l1, 0.0, L)
    assert abs(reg.lasso_cost(X, y, w, l1) / reg.ista_bound(L, 1.0, steps) - 1) < 1e-12


def test_fista_is_faster():
    rng = np.random.default_rng(1)
    X = rng.normal(size=(20, 30)) * np.geomspace(1, 0.03, 30)
    y = X @ rng.normal(size=30)
    plain, fast = (gaps_of(step, X, y, 0.02, 0.0, 200)[0][-1] for step in (ista, fista))
    assert fast < 0.2 * plain


def test_the_sweep_matrix_is_what_a_sweep_does(rng):
    """Where no weight crosses zero, a sweep multiplies the error by the matrix."""
    X, y = table(rng, 12, 4)
    best = reg.elastic_net(X, y, 0.01, 0.3, intercept=False, tolerance=1e-14).w
    M = reg.sweep_matrix(gram_plus(X, 0.3))
    error = 1e-4 * np.abs(best).min() * rng.normal(size=4)
    swept = reg.coordinate_sweep(X, y, best + error, 0.01, 0.3) - best
    np.testing.assert_allclose(swept, M @ error, atol=1e-7 * np.abs(error).max())


# Fewer directions, fewer steps, noise


@pytest.mark.parametrize("seed", range(20))
def test_all_components_are_least_squares(seed):
    """Whatever the units of the columns, and of all of them no direction is lost."""
    X, y, _, _ = problems(5 * seed + 4)
    C = X - X.mean(axis=0)
    (w,), (b,) = reg.pca_path(X, y, [np.linalg.matrix_rank(C)])[1:]
    scale = np.abs(C).max(axis=0)
    left = C / scale @ np.linalg.lstsq(C / scale, y - y.mean())[0] + y.mean()
    assert np.abs(X @ w + b - left).max() < 1e-3 * np.abs(y).max()


def test_weighted_components_are_those_of_repeated_examples(rng):
    X, y = table(rng, 10, 3)
    s = np.array([2, 1, 1, 1, 3, 1, 1, 2, 1, 1])
    again = np.repeat(np.arange(10), s)
    a, b = reg.pca_path(X, y, [2], weights=s), reg.pca_path(X[again], y[again], [2])
    assert relative_error(a.w, b.w) < 1e-12 and abs(a.b[0] - b.b[0]) < 1e-12


def test_a_stopped_path_is_gradient_descent(rng):
    X, y = table(rng, 15, 4)
    A, b = centred(X, y, None)
    rate, w = 1 / np.linalg.norm(A, 2) ** 2, np.zeros(4)
    path = reg.stopped_path(X, y, [0, 1, 7])
    for t in range(8):
        if t in path.strength:
            assert relative_error(path.w[list(path.strength).index(t)], w, scale=1) < 1e-13
        w = w + rate * A.T @ (b - A @ w)


@pytest.mark.parametrize("t", [1, 2, 10, 1000])
def test_stopping_lies_between_ridge_and_twice_ridge(t):
    d = np.sqrt(np.linspace(1e-6, 1, 2001))
    f, r = reg.stopping_factor(d, 1.0, t), reg.matching_shrinkage(d, 1.0, t)
    assert np.all(r <= f * (1 + 1e-10)) and np.all(f <= 2 * r * (1 + 1e-10))


def test_noise_and_dropout_by_simulation(rng):
    X, y, w = sparse(rng)
    for kernel, strength, change in (
        (reg.noise_cost, 0.6, lambda: X + 0.6 * rng.normal(size=(20_000, N, P))),
        (reg.dropout_cost, 0.3, lambda: X * (rng.random((20_000, N, P)) >= 0.3) / 0.7),
    ):
        costs = np.sum((y - change() @ w) ** 2, axis=1)
        assert abs(costs.mean() - kernel(X, y, w, strength)) < 5 * costs.std() / np.sqrt(20_000)


# Folds


def test_folds_are_even(rng):
    counts = np.bincount(paths.k_folds(23, 5, rng))
    assert counts.max() - counts.min() <= 1 and len(counts) == 5 and counts.sum() == 23


def test_cross_validation_fits_what_it_does_not_judge(rng):
    X, y = table(rng, 23, 3)
    fold = paths.k_folds(23, 4, rng)
    found = paths.cross_validate(lambda X, y: reg.ridge_path(X, y, [0.1, 5.0]), X, y, fold)
    for k, l2 in enumerate((0.1, 5.0)):
        errors = np.empty(23)
        for f in range(4):
            peer = Ridge(l2).fit(X[fold != f], y[fold != f])
            errors[fold == f] = y[fold == f] - peer.predict(X[fold == f])
        assert abs(found[k] / np.mean(errors**2) - 1) < 1e-12


# What comes in


X, Y = np.random.default_rng(0).normal(size=(8, 3)), np.arange(8.0)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: reg.ridge(X, Y, 0), "l2 is 0, expected a finite number > 0"),
        (lambda: reg.ridge(X, Y, -1.0), "l2 is -1.0"),
        (lambda: reg.ridge(X, Y, np.nan), "l2 is nan"),
        (lambda: reg.ridge_path(X, Y, [1.0, 0.0]), "l2 holds 0, expected strengths > 0"),
        (lambda: reg.ridge_path(X, Y, []), "l2 is empty"),
        (lambda: reg.lasso(X, Y, 0), "l1 is 0, expected a finite number > 0"),
        (lambda: reg.elastic_net(X, Y, 1.0, -0.1), "l2 is -0.1, expected a finite number ≥ 0"),
        (lambda: reg.elastic_net_path(X, Y, [1.0], -1.0), "l2 holds -1, expected strengths ≥ 0"),
        (lambda: reg.elastic_net_path(X, Y, [1.0], [1.0, 2.0]), r"l2 has shape \(2,\)"),
        (lambda: reg.lasso(X, Y, 1.0, tolerance=0), "tolerance is 0"),
        (lambda: reg.lasso(X, Y, 1.0, gap=-1.0), "gap is -1.0"),
        (lambda: reg.lasso(X, Y[:5], 1.0), r"y has shape \(5,\), expected \(n,\) with n = 8"),
        (lambda: reg.lasso(X[0], Y, 1.0), r"X has shape \(3,\), expected \(n, p\)"),
        (lambda: reg.lasso(np.where(X > 2, X, np.nan), Y, 1.0), "X holds nan at index"),
        (lambda: reg.ridge(X, np.where(Y > 5, np.inf, Y), 1.0), "y holds inf at index"),
        (lambda: reg.ridge(X, Y, 1.0, weights=Y - 1), "weights go from -1 to 6"),
        (lambda: reg.ridge(X, Y, 1.0, weights=0 * Y), "weights go from 0 to 0"),
        (lambda: reg.ridge(X, Y, 1.0, weights=Y[:3]), r"weights has shape \(3,\)"),
        (lambda: paths.k_folds(5, 6, np.random.default_rng(0)), "folds is 6, expected .* 2 to 5"),
        (lambda: paths.k_folds(5, 1, np.random.default_rng(0)), "folds is 1"),
        (lambda: paths.cross_validate(None, X, Y, np.zeros(8, int)), "fold holds 0 only"),
        (lambda: reg.pca_path(X, Y, [4]), "components holds 4, but .* rank 3"),
        (lambda: reg.pca_path(X, Y, [0]), "components holds the label 0"),
        (lambda: reg.stopped_path(X, Y, [-1]), "steps holds the label -1"),
        (lambda: reg.predict(reg.ridge(X, Y, 1.0), X[:, :2]), r"X has shape \(8, 2\)"),
        (lambda: reg.lasso(X * 1e-300, Y * 1e300, 1.0), "overflow|vanish"),
    ],
)
def test_what_does_not_fit_is_said(call, words):
    with pytest.raises(ValueError, match=words):
        call()


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: reg.ridge(X, Y, "1"), "l2 is '1', expected a number"),
        (lambda: reg.ridge(X, Y, 1.0, intercept=2), "intercept is 2, expected True or False"),
        (lambda: reg.ridge(X.astype(complex), Y, 1.0), "X has dtype complex128"),
        (lambda: paths.k_folds(5, 2, 0), "rng is 0, expected a generator"),
        (lambda: reg.predict(Y, X), "fit is an array"),
        (lambda: paths.plot_path(Y), "path is an array"),
    ],
)
def test_what_is_of_another_kind_is_said(call, words):
    with pytest.raises(TypeError, match=words):
        call()


def test_too_few_sweeps_are_an_error():
    with pytest.raises(RuntimeError, match="sweeps the optimality conditions"):
        reg.lasso(*data.diabetes()[:2], 1e-6, steps=1)
    with pytest.raises(RuntimeError, match="after 1 steps the gap is still"):
        reg.ista(*data.diabetes()[:2], 1.0, steps=1)


def test_a_constant_column_gets_no_weight(rng):
    X, y = table(rng, 20, 3)
    X[:, 1] = 0.1
    for fit in (reg.ridge(X, y, 0.5), reg.lasso(X, y, 0.5)):
        assert fit.w[1] == 0
        assert relative_error(np.delete(fit.w, 1), reg.ridge(np.delete(X, 1, 1), y, 0.5).w) < 1


def test_nothing_but_constant_columns_gives_the_mean():
    for fit in (
        reg.ridge(np.ones((4, 2)), [1, 2, 3, 6], 1.0),
        reg.lasso(np.ones((4, 2)), [1, 2, 3, 6], 1),
    ):
        assert (fit.w == 0).all() and fit.b == 3


def test_one_example_has_its_own_response_as_bias():
    for fit in (reg.ridge([[2.0, 1.0]], [3.0], 1.0), reg.lasso([[2.0, 1.0]], [3.0], 1.0)):
        assert (fit.w == 0).all() and fit.b == 3 and fit.cost == 0


@compiled_only
def test_single_precision_comes_back(rng):
    X, y = table(rng, 30, 4)
    fit = reg.lasso(X.astype(np.float32), y.astype(np.float32), 1.0)
    assert fit.w.dtype == np.float32
    assert relative_error(fit.w, reg.lasso(X, y, 1.0).w) < 1e-5


@pytest.mark.parametrize("l1", [0.05, 0.7, 1e3])
@pytest.mark.parametrize("l2", [0.0, 0.4])
def test_a_gap_is_cost_less_dual(l1, l2, rng):
    """Against the regression without l2 that has √l2 I as further examples; the dual point is ẽ, cut to fit."""
    A, y, w = rng.normal(size=(3, 8)), 2 * rng.normal(size=8), np.array([0.3, 0.0, -0.8])
    further, aim = np.hstack([A, np.sqrt(l2) * np.eye(3)]), np.append(y, np.zeros(3))
    left = aim - w @ further
    slopes = further @ left
    s = min(1.0, l1 / abs(slopes).max())
    assert (s == 1) == (l1 == 1e3)
    cost = left @ left / 2 + l1 * abs(w).sum()
    gap = cost - (aim @ aim - (aim - s * left) @ (aim - s * left)) / 2
    away = [abs(slopes[0] - l1), abs(slopes[1]) - l1, abs(slopes[2] + l1)]
    e = y - w @ A
    found = coordinate.gap_of(w, e, y, l1, l2, abs(slopes).max())
    np.testing.assert_allclose(found, [cost, gap, s], rtol=1e-12)
    found = coordinate.survey(w, A @ e, A @ y, y @ y, l1, l2)
    np.testing.assert_allclose(found, [cost, gap, max(0.0, *away)], rtol=1e-12, atol=1e-12)
