"""Scores, losses, perceptron, logistic and softmax regression against independent forms."""

import numpy as np
import pytest
from compiled import compiled_only
from scipy import special
from sklearn import metrics
from sklearn.linear_model import LogisticRegression

from dlbook import linear_classification as lc
from dlbook.tools import data
from dlbook.verification import central_differences, compare, complex_step, relative_error

N, P, J = 7, 4, 3


def two(rng):
    """Return X, y in −1 and +1, w, b, l2."""
    return rng.normal(size=(N, P)), rng.choice([-1, 1], N), rng.normal(size=P), 0.3, 0.07


def many(rng):
    """Return X, y in 0 … J−1, W, b, l2."""
    W, b = rng.normal(size=(J, P)), rng.normal(size=J)
    return rng.normal(size=(N, P)), rng.integers(0, J, N), W, b, 0.07


def logits(rng):
    return 2 * rng.normal(size=(N, J)), rng.integers(0, J, N)


def some_margins(rng):
    return (3 * rng.normal(size=11),)


KERNELS = [
    (lc.score, lambda rng: (two(rng)[0], *two(rng)[2:4])),
    (lc.scores, lambda rng: (many(rng)[0], *many(rng)[2:4])),
    (lc.sign, some_margins),
    (lc.margins, lambda rng: (rng.normal(size=N), rng.choice([-1, 1], N))),
    (lc.share_correct, lambda rng: (rng.integers(0, 2, N), rng.integers(0, 2, N))),
    (lc.row_argmax, lambda rng: (rng.normal(size=(N, J)),)),
    (lc.squared_margin, some_margins),
    (lc.squared_hinge, some_margins),
    (lc.squared_hinge_slope, some_margins),
    (lc.perceptron_loss, some_margins),
    (lc.logistic_loss, some_margins),
    (lc.logistic_slope, some_margins),
    (lc.with_ones, lambda rng: (rng.normal(size=(N, P)),)),
    (lc.perceptron_update, lambda rng: (rng.normal(size=P), rng.normal(size=P), -1, 0.5)),
    (
        lc.perceptron_epoch,
        lambda rng: (np.zeros(P), *two(rng)[:2], 0.5, rng.permutation(N)),
    ),
    (lc.mistake_bound, lambda rng: (np.abs(two(rng)[0]), np.ones(N, int), np.arange(1.0, P + 1))),
    (lc.sigmoid, lambda rng: (3 * rng.normal(size=(2, 3, 4)),)),
    (lc.sigmoid_prime, some_margins),
    (lc.row_shift, lambda rng: logits(rng)[:1]),
    (lc.softmax, lambda rng: logits(rng)[:1]),
    (lc.log_sum_exp, lambda rng: logits(rng)[:1]),
    (lc.softmax_jacobian, lambda rng: (rng.dirichlet(np.ones(J)),)),
    (lc.pair_probability, lambda rng: (rng.normal(size=(N, 2)),)),
    (lc.cross_entropy, lambda rng: (rng.dirichlet(np.ones(J), N), rng.integers(0, J, N))),
    (lc.entropy, lambda rng: (rng.dirichlet(np.ones(J)),)),
    (lc.kl_divergence, lambda rng: tuple(rng.dirichlet(np.ones(J), 2))),
    (lc.binary_cross_entropy, lambda rng: (rng.uniform(0.1, 0.9, N), rng.integers(0, 2, N))),
    (lc.softmax_cross_entropy, logits),
    (lc.softmax_cross_entropy_gradient, logits),
    (lc.logistic_cost, two),
    (lc.logistic_gradient, two),
    (lc.logistic_hessian, lambda rng: (two(rng)[0], *two(rng)[2:])),
    (lc.softmax_cost, many),
    (lc.softmax_gradient, many),
]


# Kernels against independent forms


@pytest.mark.parametrize("n", [1, 2, 9])
@pytest.mark.parametrize("p", [1, 5])
def test_scores(n, p, rng):
    X, W, b = rng.normal(size=(n, p)), rng.normal(size=(4, p)), rng.normal(size=4)
    assert relative_error(lc.scores(X, W, b), X @ W.T + b) < 1e-14
    assert relative_error(lc.score(X, W[0], b[0]), X @ W[0] + b[0]) < 1e-14


def test_sign_at_zero_and_nan():
    np.testing.assert_array_equal(
        lc.sign(np.array([-2.0, -0.0, 0.0, 1e-300, np.nan, np.inf, -np.inf])),
        [-1, 1, 1, 1, np.nan, 1, -1],
    )


def test_row_argmax_takes_the_first_of_equals():
    z = np.array([[1.0, 1.0, 0.0], [0.0, 2.0, 2.0], [-np.inf, -1.0, -2.0]])
    np.testing.assert_array_equal(lc.row_argmax(z), [0, 1, 1])


def test_sigmoid_far_out():
    z = np.array([-np.inf, -1e4, -700, -37.5, 0, 37.5, 1e4, np.inf, np.nan])
    np.testing.assert_allclose(lc.sigmoid(z), special.expit(z), rtol=4e-16)
    assert lc.sigmoid(-1e4) == 0 and lc.sigmoid(1e4) == 1 and lc.sigmoid(0.0) == 0.5
    assert lc.sigmoid(z.astype(np.float32)).dtype == np.float32


@pytest.mark.parametrize("z", [-300.0, -40.0, -1.0, 0.0, 1.0, 40.0, 300.0])
def test_sigmoid_prime_keeps_its_digits(z):
    expected = np.exp(-abs(z)) / (1 + np.exp(-abs(z))) ** 2
    assert abs(lc.sigmoid_prime(z) / expected - 1) < 1e-15


@pytest.mark.parametrize("scale", [1, 30, 1e4])
@pytest.mark.parametrize("shape", [(1, 1), (1, 4), (6, 1), (5, 3)])
def test_softmax_and_its_logarithm(scale, shape, rng):
    z = scale * rng.normal(size=shape)
    np.testing.assert_allclose(lc.softmax(z), special.softmax(z, axis=1), rtol=1e-13)
    np.testing.assert_allclose(lc.log_sum_exp(z), special.logsumexp(z, axis=1), rtol=1e-14)
    np.testing.assert_allclose(lc.softmax(z).sum(axis=1), 1, rtol=1e-15)
    y = rng.integers(0, shape[1], shape[0])
    expected = -special.log_softmax(z, axis=1)[np.arange(shape[0]), y].mean()
    assert abs(lc.softmax_cross_entropy(z, y) - expected) < 1e-14 * scale


def test_softmax_of_what_is_not_finite():
    inf, nan = np.inf, np.nan
    z = np.array([[inf, 0], [-inf, -inf], [-inf, 1], [nan, 1], [1, nan], [inf, nan]])
    np.testing.assert_array_equal(lc.log_sum_exp(z), [inf, -inf, 1, nan, nan, nan])
    p = lc.softmax(z)
    np.testing.assert_array_equal(p[2], [0, 1])
    assert np.isnan(p[[1, 3, 4, 5]]).all() and np.isnan(p[0]).any()


@pytest.mark.parametrize(
    ("kernel", "form"),
    [
        (lc.squared_margin, lambda m: (1 - m) ** 2),
        (lc.squared_hinge, lambda m: np.maximum(1 - m, 0) ** 2),
        (lc.squared_hinge_slope, lambda m: -2 * np.maximum(1 - m, 0)),
        (lc.perceptron_loss, lambda m: np.maximum(-m, 0)),
        (lc.logistic_loss, lambda m: -special.log_expit(m)),
        (lc.logistic_slope, lambda m: special.expit(m) - 1),
    ],
)
def test_losses(kernel, form, rng):
    """Random margins, both kinks, margins of a million and one NaN."""
    m = np.concatenate((5 * rng.normal(size=20), [0, 1, -1e6, 1e6, np.nan]))
    np.testing.assert_allclose(kernel(m), form(m), rtol=1e-14, atol=2e-16)


def test_logistic_loss_keeps_its_digits():
    m = np.array([30.0, 300.0, 700.0])
    np.testing.assert_allclose(lc.logistic_loss(m), np.exp(-m), rtol=1e-12)


@pytest.mark.parametrize("n", [1, 8])
def test_cross_entropies(n, rng):
    p, y = rng.dirichlet(np.ones(4), n), rng.integers(0, 4, n)
    expected = metrics.log_loss(y, p, labels=range(4))
    assert abs(lc.cross_entropy(p, y) / expected - 1) < 1e-14
    t = (y > 1).astype(int)
    expected = metrics.log_loss(t, p[:, 0], labels=[0, 1])
    assert abs(lc.binary_cross_entropy(p[:, 0], t) / expected - 1) < 1e-14


def test_entropy_and_divergence(rng):
    t, p = rng.dirichlet(np.ones(5), 2)
    assert abs(lc.entropy(t) / special.entr(t).sum() - 1) < 1e-14
    assert abs(lc.kl_divergence(t, p) / special.rel_entr(t, p).sum() - 1) < 1e-12
    assert abs(lc.kl_divergence(t, np.full(5, 0.2)) - (np.log(5) - lc.entropy(t))) < 1e-14
    assert lc.kl_divergence(t, p) > 0 == lc.kl_divergence(t, t)


def test_the_divergence_from_a_label_is_its_cross_entropy(rng):
    p, label = rng.dirichlet(np.ones(4)), np.array([0.0, 0.0, 1.0, 0.0])
    assert lc.entropy(label) == 0
    assert lc.kl_divergence(label, p) == lc.cross_entropy(p[None], np.array([2]))
    assert lc.kl_divergence(label, np.array([0.5, 0.5, 0.0, 0.0])) == np.inf
    assert np.isnan(lc.kl_divergence(np.array([np.nan, 1.0]), np.array([0.5, 0.5])))


def test_binary_cross_entropy_of_soft_labels(rng):
    """The formula holds for every y; 0 log 0 is 0."""
    p, y = rng.uniform(0.1, 0.9, 20), rng.random(20)
    expected = -np.mean(y * np.log(p) + (1 - y) * np.log(1 - p))
    assert abs(lc.binary_cross_entropy(p, y) / expected - 1) < 1e-14
    assert lc.binary_cross_entropy(np.array([0.0, 1.0]), np.array([0, 1])) == 0


def test_cross_entropy_of_the_impossible():
    p = np.array([[0.0, 1.0]])
    assert lc.cross_entropy(p, np.array([0])) == np.inf
    assert lc.cross_entropy(p, np.array([1])) == 0
    assert lc.softmax_cross_entropy(np.array([[0.0, 2000.0]]), np.array([0])) == 2000


def test_softmax_of_two_is_the_sigmoid(rng):
    z = 5 * rng.normal(size=(20, 2))
    assert relative_error(lc.pair_probability(z), special.softmax(z, axis=1)[:, 1]) < 1e-15


def test_jacobian_annihilates_shifts(rng):
    p = rng.dirichlet(np.ones(5))
    D = lc.softmax_jacobian(p)
    np.testing.assert_allclose(D @ np.ones(5), 0, atol=1e-15)
    np.testing.assert_allclose(D, np.diag(p) - np.outer(p, p), rtol=1e-15)


# Gradients: complex step, central differences, and a second form


def flat(kernel, X, y, l2, J=None):
    """Return a cost or gradient kernel as a function of one vector."""
    shape = (lambda t: (t[:-1], t[-1])) if J is None else None
    shape = shape or (lambda t: (t[:-J].reshape(J, -1), t[-J:]))
    return lambda t: kernel(X, y, *shape(t), l2)


def joined(parts):
    return np.concatenate([np.ravel(part) for part in parts])


@pytest.mark.parametrize("n", [1, 6])
@pytest.mark.parametrize("p", [1, 3])
def test_logistic_gradient(n, p, rng):
    X, y = rng.normal(size=(n, p)), rng.choice([-1, 1], n)
    theta, l2 = rng.normal(size=p + 1), 0.2
    cost = flat(lc.logistic_cost, X, y, l2)
    g = joined(flat(lc.logistic_gradient, X, y, l2)(theta))
    A, t = np.column_stack((X, np.ones(n))), (y + 1) / 2
    closed = A.T @ (special.expit(A @ theta) - t) / n + l2 * np.append(theta[:-1], 0)
    assert relative_error(g, complex_step(cost, theta)) < 1e-12
    assert relative_error(g, central_differences(cost, theta)) < 1e-7
    assert relative_error(g, closed) < 1e-12


def test_logistic_hessian(rng):
    X, y, w, b, l2 = two(rng)
    theta = np.append(w, b)
    slope = lambda t: joined(flat(lc.logistic_gradient, X, y, l2)(t))
    H = lc.logistic_hessian(X, w, b, l2)
    assert relative_error(H, complex_step(slope, theta)) < 1e-12
    assert np.linalg.eigvalsh(H).min() > 0
    np.testing.assert_array_equal(H, H.T)


@pytest.mark.parametrize("n", [1, 6])
@pytest.mark.parametrize("j", [2, 5])
def test_softmax_gradient(n, j, rng):
    X, y, l2 = rng.normal(size=(n, 3)), rng.integers(0, j, n), 0.2
    theta = rng.normal(size=4 * j)
    cost = flat(lc.softmax_cost, X, y, l2, j)
    g = joined(flat(lc.softmax_gradient, X, y, l2, j)(theta))
    W, b = theta[:-j].reshape(j, 3), theta[-j:]
    dz = (special.softmax(X @ W.T + b, axis=1) - np.eye(j)[y]) / n
    closed = joined((dz.T @ X + l2 * W, dz.sum(axis=0)))
    assert relative_error(g, complex_step(cost, theta)) < 1e-12
    assert relative_error(g, central_differences(cost, theta)) < 1e-7
    assert relative_error(g, closed) < 1e-12


@pytest.mark.parametrize("shape", [(1, 2), (1, 5), (4, 3), (6, 2)])
def test_cross_entropy_gradient(shape, rng):
    z, y = 2 * rng.normal(size=shape), rng.integers(0, shape[1], shape[0])
    cost = lambda z: lc.softmax_cross_entropy(z, y)
    g = lc.softmax_cross_entropy_gradient(z, y)
    p = special.softmax(z, axis=1)
    two_steps = [
        (-np.eye(shape[1])[y[n]] / p[n] / shape[0]) @ (np.diag(p[n]) - np.outer(p[n], p[n]))
        for n in range(shape[0])
    ]
    assert relative_error(g, complex_step(cost, z)) < 1e-12
    assert relative_error(g, central_differences(cost, z)) < 1e-7
    assert relative_error(g, np.array(two_steps)) < 1e-12


def test_cross_entropy_gradient_saturated():
    """Confidently wrong: the gradient is full, and nothing overflows."""
    g = lc.softmax_cross_entropy_gradient(np.array([[1e4, -1e4, 0.0]]), np.array([1]))
    np.testing.assert_array_equal(g, [[1, -1, 0]])


@pytest.mark.parametrize(
    ("kernel", "slope"),
    [
        (lc.squared_hinge, lc.squared_hinge_slope),
        (lc.logistic_loss, lc.logistic_slope),
        (lc.sigmoid, lc.sigmoid_prime),
    ],
)
def test_slopes(kernel, slope, rng):
    m = 3 * rng.normal(size=15)
    assert relative_error(slope(m), np.diag(complex_step(kernel, m))) < 1e-12
    assert relative_error(slope(m), np.diag(central_differences(kernel, m))) < 1e-7


def test_slope_at_the_kink():
    np.testing.assert_array_equal(lc.squared_hinge_slope(np.array([1.0])), [0])


# The same checks refuse what is wrong


Z = np.array([[0.3, -1.2, 0.8], [1.5, 0.2, -0.4], [0.1, 0.9, -2.0], [0.7, 0.0, 0.4]])
Y = np.array([2, 1, 1, 0])
SOFT, HOT = special.softmax(Z, axis=1), np.eye(3)[Y]


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ((HOT - SOFT) / 4, "sign"),
        (SOFT - HOT, "sum for mean"),
        ((SOFT - HOT) / 3, "divided by the classes, or by n − 1"),
        (SOFT / 4, "no one-hot"),
        ((SOFT - HOT) * SOFT * (1 - SOFT) / 4, "times σ′ as for the squared error"),
        ((special.softmax(Z, axis=0) - HOT) / 4, "softmax over the batch"),
        (np.roll(SOFT - HOT, 1, axis=1) / 4, "classes counted from one"),
        (1.001 * (SOFT - HOT) / 4, "0.1 %"),
    ],
)
def test_wrong_cross_entropy_gradients_are_rejected(wrong, why):
    oracle = complex_step(lambda z: lc.softmax_cross_entropy(z, Y), Z)
    right = lc.softmax_cross_entropy_gradient(Z, Y)
    assert compare("a-b", right, oracle, "complex step")["passed"]
    assert not compare("a-b", wrong, oracle, "complex step", 1e-7)["passed"], why


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        (lambda p: np.diag(p) + np.outer(p, p), "sign"),
        (lambda p: np.diag(p * (1 - p)), "diagonal only"),
        (lambda p: np.eye(3) - np.outer(p, p), "identity for diag(p)"),
        (lambda p: np.eye(3) - p, "without the factor p_j: of log p"),
        (lambda p: (np.eye(3) - p) * p, "factor on the wrong index"),
    ],
)
def test_wrong_jacobians_are_rejected(wrong, why):
    oracle = complex_step(lambda z: lc.softmax(z[None])[0], Z[0])
    assert compare("a-b", lc.softmax_jacobian(SOFT[0]), oracle, "complex step")["passed"]
    assert not compare("a-b", wrong(SOFT[0]), oracle, "complex step", 1e-7)["passed"], why


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        (lambda g, X, w, l2: -g, "sign"),
        (lambda g, X, w, l2: g * len(X), "sum for mean"),
        (lambda g, X, w, l2: g * len(X) / (len(X) - 1), "1/(n − 1)"),
        (lambda g, X, w, l2: g - l2 * np.append(w, 0), "no penalty"),
        (lambda g, X, w, l2: g + l2 * np.append(w, 0), "2λw, as if the cost had λ‖w‖²"),
        (lambda g, X, w, l2: g + l2 * np.append(0 * w, 0.3), "bias penalised"),
        (lambda g, X, w, l2: np.append(g[:-1], 0), "bias forgotten"),
    ],
)
def test_wrong_logistic_gradients_are_rejected(wrong, why, rng):
    X, y, w, b, l2 = two(rng)
    oracle = complex_step(flat(lc.logistic_cost, X, y, l2), np.append(w, b))
    right = joined(lc.logistic_gradient(X, y, w, b, l2))
    assert compare("a-b", right, oracle, "complex step")["passed"]
    assert not compare("a-b", wrong(right, X, w, l2), oracle, "differences", 1e-7)["passed"], why


# The perceptron


def test_perceptron_update_by_hand():
    w, x = np.array([1.0, -2.0]), np.array([3.0, 1.0])  # score 1
    np.testing.assert_array_equal(lc.perceptron_update(w, x, 1, 0.5), w)
    np.testing.assert_array_equal(lc.perceptron_update(w, x, -1, 0.5), [-0.5, -2.5])
    np.testing.assert_array_equal(lc.perceptron_update(0 * w, x, 1, 0.5), [1.5, 0.5])


def test_perceptron_epoch_is_its_updates_in_order(rng):
    X, y, order = rng.normal(size=(20, 3)), rng.choice([-1, 1], 20), rng.permutation(20)
    w, mistakes = np.zeros(3), 0
    for n in order:
        if y[n] * (X[n] @ w) <= 0:
            w, mistakes = w + 0.5 * y[n] * X[n], mistakes + 1
    got, counted = lc.perceptron_epoch(np.zeros(3), X, y, 0.5, order)
    np.testing.assert_allclose(got, w, rtol=1e-14)
    assert counted == mistakes > 0


def test_a_mistake_with_a_zero_input_is_counted():
    """An all-zero input has score 0 whatever the weights: counted, though nothing moves."""
    w, mistakes = lc.perceptron_epoch(
        np.array([1.0]), np.array([[0.0]]), np.array([1]), 1.0, np.array([0])
    )
    assert mistakes == 1 and w[0] == 1


@pytest.mark.parametrize("seed", range(20))
def test_novikoff(seed):
    """Separable by construction: mistakes never pass the bound, and the end is reached."""
    rng = np.random.default_rng(seed)
    X, u = rng.normal(size=(60, 3)), rng.normal(size=3)
    z = X @ u
    keep = np.abs(z) > 0.3 * np.linalg.norm(u)
    X, y = X[keep], np.sign(z[keep]).astype(int)
    found = lc.perceptron(X, y, rng, epochs=10_000)
    A, u = np.column_stack((X, np.ones(len(X)))), np.append(u, 0)
    bound = lc.mistake_bound(A, y, u)
    gap = (y * (A @ u)).min() / np.linalg.norm(u)
    assert abs(bound / (np.linalg.norm(A, axis=1).max() / gap) ** 2 - 1) < 1e-13
    assert found.mistakes[-1] == 0
    assert found.mistakes.sum() <= bound
    assert lc.accuracy(lc.predict(found, X), y) == 1


def test_no_bound_without_separation():
    X, y = np.array([[1.0], [2.0]]), np.array([1, -1])
    assert lc.mistake_bound(X, y, np.array([1.0])) == np.inf


def test_rate_changes_no_guess(rng):
    X, y = rng.normal(size=(30, 2)), rng.choice([-1, 1], 30)
    one, two = (
        lc.perceptron(X, y, np.random.default_rng(1), epochs=9, rate=r) for r in (1.0, 0.25)
    )
    np.testing.assert_array_equal(one.mistakes, two.mistakes)
    np.testing.assert_allclose(one.w, 4 * two.w, rtol=1e-13)


# Fits


@pytest.fixture(scope="module")
def tumours():
    split, _ = data.breast_cancer()
    parts = lc.standardize(split.x_train, split.x_val, split.x_test)
    return parts, [1 - 2 * y for y in (split.y_train, split.y_val, split.y_test)]


@pytest.mark.parametrize("l2", [1e-4, 1e-2, 1.0])
def test_logistic_regression_is_scikit_learns(l2, tumours):
    (X, _, X_test), (y, *_) = tumours
    fit = lc.logistic_regression(X, y, l2)
    peer = LogisticRegression(C=1 / (l2 * len(y)), solver="newton-cholesky", tol=1e-12)
    peer.fit(X, y)
    np.testing.assert_allclose(fit.w, peer.coef_[0], rtol=0, atol=1e-7 * np.abs(fit.w).max())
    assert abs(fit.b - peer.intercept_[0]) < 1e-7
    stated = lc.probabilities(fit, X_test)
    np.testing.assert_allclose(stated, peer.predict_proba(X_test)[:, 1], atol=1e-8)
    assert fit.slope <= lc.TOLERANCE and fit.steps < 20


@compiled_only  # minutes otherwise
def test_softmax_regression_is_scikit_learns():
    D = data.digits()
    fit = lc.softmax_regression(D.x_train, D.y_train, 1e-3)
    peer = LogisticRegression(
        C=1e3 / len(D.y_train), solver="newton-cholesky", tol=1e-12, max_iter=100
    ).fit(D.x_train, D.y_train)
    np.testing.assert_allclose(fit.w, peer.coef_, rtol=0, atol=1e-5)
    stated = lc.probabilities(fit, D.x_test)
    np.testing.assert_allclose(stated, peer.predict_proba(D.x_test), atol=1e-5)
    assert fit.slope < 1e-8
    np.testing.assert_allclose(fit.w.sum(axis=0), 0, atol=1e-6)


def test_two_classes_either_way(tumours):
    """Softmax of two with half the penalty on each half of the weight is logistic regression."""
    (X, *_), (y, *_) = tumours
    one = lc.logistic_regression(X, y, 0.05)
    both = lc.softmax_regression(X, (y + 1) // 2, 0.1)
    np.testing.assert_allclose(both.w[1] - both.w[0], one.w, atol=1e-6)
    assert abs(both.cost - one.cost) < 1e-12


def test_a_fit_is_a_minimum(tumours, rng):
    (X, *_), (y, *_) = tumours
    fit = lc.logistic_regression(X, y, 0.01)
    for _ in range(20):
        away = 1e-3 * rng.normal(size=31)
        assert lc.logistic_cost(X, y, fit.w + away[:-1], fit.b + away[-1], 0.01) > fit.cost


def test_a_long_jump_is_halved():
    """Full Newton steps raise the cost of these eight examples from 0.1 to 1.8 and never arrive."""
    X = [
        [-1.7, -11.5, 3.6], [6.4, 10.9, 10.5], [10.6, 8.8, -4.8], [-1.0, 25.0, 23.5],
        [-3.5, -0.1, 2.4], [4.2, -243.7, 29.6], [10.4, -4.3, 2.2], [49.1, -126.5, -0.1],
    ]  # fmt: skip
    fit = lc.logistic_regression(X, [1, -1, -1, 1, 1, 1, 1, 1], 1e-6)
    assert fit.slope <= lc.TOLERANCE
    assert fit.cost < 0.1


@compiled_only  # minutes otherwise
def test_held_out_accuracies(tumours):
    (X, _, X_test), (y, _, y_test) = tumours
    fit = lc.logistic_regression(X, y, 1e-2)
    assert lc.accuracy(lc.predict(fit, X_test), y_test) > 0.94
    D = data.digits()
    rest = lc.one_vs_rest(D.x_train, D.y_train, 1e-3)
    assert lc.accuracy(lc.predict(rest, D.x_test), D.y_test) > 0.94
    for j in (0, 7):
        alone = lc.logistic_regression(D.x_train, np.where(D.y_train == j, 1, -1), 1e-3)
        np.testing.assert_array_equal(rest.w[j], alone.w)


def test_same_seed_same_bits(tumours):
    (X, *_), (y, *_) = tumours
    one, two = (lc.perceptron(X, y, np.random.default_rng(3), epochs=5) for _ in range(2))
    np.testing.assert_array_equal(one.w, two.w)


def test_probabilities_match_the_events_on_average(tumours):
    """Where the bias is free, the mean statement equals the share of events."""
    (X, *_), (y, *_) = tumours
    fit = lc.logistic_regression(X, y, 0.1)
    assert abs(lc.probabilities(fit, X).mean() - (y == 1).mean()) < 1e-9


def test_standardize(rng):
    train, other = 5 + 3 * rng.normal(size=(50, 3)), rng.normal(size=(4, 3))
    train[:, 1] = 7
    a, b = lc.standardize(train, other)
    np.testing.assert_allclose(a.mean(axis=0), 0, atol=1e-14)
    np.testing.assert_allclose(a.std(axis=0), [1, 0, 1], rtol=1e-13)
    np.testing.assert_allclose(b[:, 0], (other[:, 0] - train[:, 0].mean()) / train[:, 0].std())
    np.testing.assert_allclose(b[:, 1], other[:, 1] - 7)


def test_calibration_by_hand():
    found = lc.calibration([0.9, 0.1, 0.2, 0.7, 0.6], [1, 0, 1, 1, 0], bins=2)
    np.testing.assert_allclose(found.predicted, [0.3, 0.8])
    np.testing.assert_allclose(found.observed, [1 / 3, 1])
    np.testing.assert_array_equal(found.count, [3, 2])


# Bad input


X0, Y0, C0 = np.eye(3), np.array([-1, 1, 1]), np.array([0, 1, 2])
RNG = np.random.default_rng(0)
FIT = lc.Fit(np.ones(3), np.array(0.0), 0.0, 0.0, 1)
HOLED = np.array([[0.0, np.nan, 1.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])


@pytest.mark.parametrize(
    ("function", "arguments", "error", "words"),
    [
        (lc.perceptron, (X0[0], Y0, RNG), ValueError, r"X has shape \(3,\)"),
        (lc.perceptron, (X0, Y0[:2], RNG), ValueError, "y has shape"),
        (lc.perceptron, (X0[:0], Y0[:0], RNG), ValueError, "empty"),
        (lc.perceptron, (HOLED, Y0, RNG), ValueError, r"X holds nan at index \(0, 1\)"),
        (lc.perceptron, (X0, [0, 1, 1], RNG), ValueError, r"label 0 .*one of \(-1, 1\)"),
        (lc.perceptron, (X0, [-1.0, 1.0, 1.0], RNG), TypeError, "labels are integers"),
        (lc.perceptron, (X0, [-1, 0.5, 1], RNG), TypeError, "labels are integers"),
        (lc.perceptron, (X0, [1, 1, 1], RNG), ValueError, "one class only"),
        (lc.perceptron, (X0, Y0, 0), TypeError, "generator"),
        (lc.perceptron, (X0.astype(complex), Y0, RNG), TypeError, "X has dtype complex"),
        (lc.logistic_regression, (X0, [0, 1, 1], 1.0), ValueError, r"one of \(-1, 1\)"),
        (lc.logistic_regression, (X0, [-1, -1, -1], 1.0), ValueError, "one class only"),
        (lc.logistic_regression, (X0, Y0, 0.0), ValueError, "l2 is 0"),
        (lc.logistic_regression, (X0, Y0, -1.0), ValueError, "l2 is -1"),
        (lc.logistic_regression, (X0, Y0, np.nan), ValueError, "l2 is nan"),
        (lc.logistic_regression, (X0, Y0, "1"), TypeError, "l2"),
        (lc.logistic_regression, (X0 + np.inf, Y0, 1.0), ValueError, "X holds inf"),
        (lc.logistic_regression, (HOLED, Y0, 1.0), ValueError, "X holds nan"),
        (lc.softmax_regression, (X0, [0, 1, -1], 1.0), ValueError, "label -1"),
        (lc.softmax_regression, (X0, [0, 1, 3], 1.0), ValueError, "no example of class 2"),
        (lc.softmax_regression, (X0, [1, 2, 3], 1.0), ValueError, "no example of class 0"),
        (lc.softmax_regression, (X0, [0, 0, 0], 1.0), ValueError, "one class only"),
        (lc.softmax_regression, (X0, [0.0, 1.0, 2.0], 1.0), TypeError, "labels are integers"),
        (lc.softmax_regression, (X0, C0, 0), ValueError, "l2 is 0"),
        (lc.softmax_regression, (X0, C0[:2], 1.0), ValueError, "y has shape"),
        (lc.softmax_regression, (X0[:0], C0[:0], 1.0), ValueError, "empty"),
        (lc.softmax_regression, (HOLED, C0, 1.0), ValueError, "X holds nan"),
        (lc.one_vs_rest, (X0, [0, 2, 2], 1.0), ValueError, "no example of class 1"),
        (lc.one_vs_rest, (X0, C0, -2.0), ValueError, "l2 is -2"),
        (lc.predict, (FIT, X0[:, :2]), ValueError, "X has shape"),
        (lc.predict, (FIT, HOLED), ValueError, "X holds nan"),
        (lc.probabilities, (FIT, X0[0]), ValueError, "X has shape"),
        (lc.predict, (None, X0), TypeError, "params is None, expected a fitted model"),
        (lc.probabilities, ((1, 2), X0), TypeError, "params is"),
        (lc.accuracy, ([[1], [1, 2]], [1, 1]), ValueError, "guess is a list whose rows"),
        (lc.accuracy, (np.full(2, 2**63, np.uint64), [1, 1]), ValueError, "guess holds the label"),
        (lc.standardize, ([[1.5e308], [-1.5e308]],), ValueError, "train holds numbers so large"),
        (lc.accuracy, ([1, 1], [1, 1, -1]), ValueError, "y has shape"),
        (lc.accuracy, ([], []), TypeError, "labels are integers"),
        (lc.accuracy, ([0.5, 1.0], [0, 1]), TypeError, "guess has dtype"),
        (lc.accuracy, ([-2, 1], [0, 1]), ValueError, "label -2"),
        (lc.standardize, (HOLED,), ValueError, "train holds nan"),
        (lc.standardize, (X0, X0[:, :2]), ValueError, "others has shape"),
        (lc.calibration, ([0.5, 1.5], [0, 1], 1), ValueError, "expected 0 … 1"),
        (lc.calibration, ([0.5, 0.5], [0, 2], 1), ValueError, "label 2"),
        (lc.calibration, ([0.5, 0.5], [0, 1], 3), ValueError, "bins is 3"),
        (lc.calibration, ([0.5, np.nan], [0, 1], 1), ValueError, "p holds nan"),
    ],
)
def test_bad_input_is_named(function, arguments, error, words):
    with pytest.raises(error, match=words):
        function(*arguments)


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"rate": 0}, ValueError, "rate is 0"),
        ({"rate": -0.1}, ValueError, "rate"),
        ({"rate": np.inf}, ValueError, "rate is inf"),
        ({"epochs": 0}, ValueError, "epochs is 0"),
        ({"epochs": 2**40}, ValueError, "epochs"),
        ({"epochs": 1.5}, TypeError, "epochs"),
    ],
)
def test_bad_options_are_named(options, error, words):
    with pytest.raises(error, match=words):
        lc.perceptron(X0, Y0, RNG, **options)


def test_giving_up_says_so(tumours):
    (X, *_), (y, *_) = tumours
    with pytest.raises(RuntimeError, match="after 2 Newton steps"):
        lc.logistic_regression(X, y, 1e-3, steps=2)
    with pytest.raises(RuntimeError, match="the gradient is still"):
        lc.softmax_regression(X, (y + 1) // 2, 1e-3, steps=2)


def test_inputs_stay_as_they_were(tumours):
    (X, *_), (y, *_) = tumours
    kept = X.copy(), y.copy()
    lc.logistic_regression(X, y, 0.1)
    lc.softmax_regression(X, (y + 1) // 2, 0.1)
    lc.perceptron(X, y, np.random.default_rng(0), epochs=2)
    lc.standardize(X)
    np.testing.assert_array_equal(X, kept[0])
    np.testing.assert_array_equal(y, kept[1])
