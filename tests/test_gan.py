"""The game, its losses, critics and styles against SciPy, enumeration and small exact problems."""

import numpy as np
import pytest
from compiled import compiled_only
from scipy import linalg, optimize, special, stats
from scipy.spatial.distance import jensenshannon

from dlbook import gan
from dlbook.verification import central_differences, complex_step, relative_error

N, D, H, K = 5, 3, 4, 2


def two(rng, size=6):
    """Return two distributions."""
    return rng.dirichlet(np.ones(size)), rng.dirichlet(np.ones(size))


def critic(rng):
    """Return weights of a critic and its slope below zero."""
    return *(rng.normal(size=size) for size in ((H, D), H, (K, H), K, K)), 0.2


def scores(rng):
    return rng.normal(size=4), rng.normal(size=7)


def covariances(rng, size=3):
    """Return means, covariances, and the eigenvalues of the product."""
    S, R = (a @ a.T for a in rng.normal(size=(2, size, size + 2)))
    return *rng.normal(size=(2, size)), S, R, np.linalg.eigvals(S @ R).real


def maps(rng):
    return rng.normal(size=(3, 5))


def picture(rng):
    return rng.normal(size=(3, 4, 2))


KERNELS = [
    (gan.value, lambda rng: (*two(rng), rng.uniform(0.1, 0.9, size=6))),
    (gan.optimal_discriminator, two),
    (gan.jensen_shannon, two),
    (gan.value_at_optimum, two),
    (gan.non_saturating_at_optimum, two),
    (gan.discriminator_loss, scores),
    (gan.discriminator_gradient, scores),
    (gan.saturating, lambda rng: (rng.normal(size=7),)),
    (gan.non_saturating, lambda rng: (rng.normal(size=7),)),
    (gan.generator_slopes, lambda rng: (rng.normal(size=7),)),
    (gan.slope_ratio, lambda rng: (rng.normal(size=7),)),
    (gan.wasserstein_1d, lambda rng: tuple(rng.normal(size=(2, 7)))),
    (gan.dual_value, lambda rng: (*two(rng), rng.normal(size=6))),
    (gan.best_critic, lambda rng: (*two(rng), np.cumsum(rng.random(6)))),
    (gan.critic_loss, scores),
    (gan.score, lambda rng: (rng.normal(size=(N, D)), *critic(rng))),
    (gan.input_gradient, lambda rng: (rng.normal(size=(N, D)), *critic(rng))),
    (gan.interpolate, lambda rng: (*rng.normal(size=(2, N, D)), rng.random(N))),
    (gan.gradient_penalty, lambda rng: (rng.normal(size=(N, D)), 0.7)),
    (gan.gradient_penalty_slope, lambda rng: (rng.normal(size=(N, D)), 0.7)),
    (gan.r1, lambda rng: (rng.normal(size=(N, D)), 0.7)),
    (gan.r1_slope, lambda rng: (rng.normal(size=(N, D)), 0.7)),
    (
        gan.penalty_gradient,
        lambda rng: (rng.normal(size=(N, D)), *critic(rng), rng.normal(size=(N, D))),
    ),
    (gan.two_numbers, lambda rng: (0.4, -0.7, 0.5, 0.3)),
    (gan.circling, lambda rng: (0.5, 0.3)),
    (gan.weight_average, lambda rng: (*rng.normal(size=(2, 3, 2)), 0.3)),
    (gan.frechet, covariances),
    (gan.content_loss, lambda rng: (maps(rng), maps(rng))),
    (gan.gram, lambda rng: (maps(rng),)),
    (gan.style_loss, lambda rng: tuple(gan.gram(maps(rng)) for _ in range(2))),
    (gan.style_gradient, lambda rng: (maps(rng), gan.gram(maps(rng)))),
    (gan.total_variation, lambda rng: (picture(rng),)),
    (gan.total_variation_gradient, lambda rng: (picture(rng),)),
]


# The game


def test_no_answers_are_better_than_the_best(rng):
    p, q = two(rng)
    best = gan.value(p, q, gan.optimal_discriminator(p, q))
    for D in rng.uniform(0.01, 0.99, size=(50, 6)):
        assert gan.value(p, q, D) <= best
    assert np.isclose(best, gan.value_at_optimum(p, q))


def test_the_best_score_is_the_ratio_of_densities():
    x = np.linspace(-3, 3, 7)
    p, q = stats.norm.pdf(x), stats.norm.pdf(x, 1)
    scores = special.logit(gan.optimal_discriminator(p, q))
    np.testing.assert_allclose(scores, 0.5 - x)


def test_value_lies_between_a_copy_and_no_overlap(rng):
    for _ in range(20):
        p, q = two(rng)
        assert -np.log(4) < gan.value_at_optimum(p, q) < 0
        assert np.isclose(gan.jensen_shannon(p, q), jensenshannon(p, q) ** 2)
    assert np.isclose(gan.value_at_optimum(p, p), -np.log(4))
    assert np.isclose(gan.jensen_shannon(np.array([1.0, 0]), np.array([0, 1.0])), np.log(2))


def test_answers_that_are_certain():
    """Zero times an infinite logarithm is zero, and a wrong certainty costs everything."""
    p, q = np.array([1.0, 0]), np.array([0.0, 1])
    assert gan.value(p, q, np.array([1.0, 0])) == 0
    with np.errstate(divide="ignore"):
        assert gan.value(p, q, np.array([0.0, 0])) == -np.inf


# Losses


def test_losses_and_their_gradients(rng):
    real, fake = scores(rng)
    loss = lambda s, t: -special.log_expit(s).mean() - special.log_expit(-t).mean()
    assert np.isclose(gan.discriminator_loss(real, fake), loss(real, fake))
    dreal, dfake = gan.discriminator_gradient(real, fake)
    assert relative_error(dreal, central_differences(lambda s: loss(s, fake), real)) < 1e-8
    assert relative_error(dfake, central_differences(lambda t: loss(real, t), fake)) < 1e-8
    strict, kind = gan.generator_slopes(fake)
    minimax = lambda t: special.log_expit(-t).mean()
    other = lambda t: -special.log_expit(t).mean()
    assert relative_error(strict, central_differences(minimax, fake)) < 1e-8
    assert relative_error(kind, central_differences(other, fake)) < 1e-8


@pytest.mark.parametrize("huge", [100.0, 1e4, 1e8])
def test_scores_that_are_huge(huge):
    s = np.array([huge])
    assert gan.discriminator_loss(s, -s) < 1e-40
    assert gan.discriminator_loss(-s, s) == 2 * huge
    assert gan.saturating(s) == -huge and -1e-40 < gan.saturating(-s) <= 0
    assert gan.non_saturating(-s) == huge and gan.non_saturating(s) < 1e-40
    with np.errstate(over="ignore"):
        slopes = (*gan.generator_slopes(s), *gan.generator_slopes(-s))
    np.testing.assert_allclose(np.ravel(slopes), [-1, 0, 0, -1], atol=1e-40)


# Moving earth


def test_sorting_is_the_best_of_all_plans(rng):
    x, y = rng.normal(size=(2, 6))
    rows, columns = optimize.linear_sum_assignment(np.abs(x[:, None] - y))
    assert np.isclose(gan.wasserstein_1d(x, y), np.abs(x[rows] - y[columns]).mean())
    assert np.isclose(gan.wasserstein_1d(x, x + 3), 3)
    assert gan.wasserstein_1d(x, x[::-1]) == 0


@pytest.mark.parametrize("size", [1, 2, 7])
def test_the_best_critic_reaches_the_distance(size, rng):
    at = np.cumsum(rng.random(size)) - 2
    p, q = two(rng, size)
    f = gan.best_critic(p, q, at)
    assert (np.abs(np.diff(f)) <= np.diff(at) + 1e-12).all()
    wanted = stats.wasserstein_distance(at, at, p, q)
    assert np.isclose(gan.dual_value(p, q, f), wanted, atol=1e-14)
    steep = np.cumsum(np.append(0, rng.uniform(-1, 1, size - 1) * np.diff(at)))
    assert gan.dual_value(p, q, steep) <= wanted + 1e-12


def test_a_loss_of_a_critic_does_not_see_a_shift(rng):
    real, fake = scores(rng)
    assert np.isclose(gan.critic_loss(real + 9, fake + 9), gan.critic_loss(real, fake))
    assert np.isclose(gan.critic_loss(real, fake), -gan.critic_loss(fake, real))


# Slopes


def test_slope_of_a_critic(rng):
    x, net = rng.normal(size=(N, D)), critic(rng)
    g = gan.input_gradient(x, *net)
    bent = lambda z: np.where(z > 0, z, 0.2 * z)
    A, a, B, b, u, _ = net
    np.testing.assert_allclose(gan.score(x, *net), bent(bent(x @ A.T + a) @ B.T + b) @ u)
    for n in range(N):
        slope = central_differences(lambda v: gan.score(v[None], *net)[0], x[n])
        assert relative_error(g[n], slope) < 1e-8
    straight = gan.input_gradient(x, *net[:-1], 1.0)  # without a bend all slopes are one
    np.testing.assert_allclose(straight, np.tile(A.T @ B.T @ u, (N, 1)))


@pytest.mark.parametrize("kind", ["gradient penalty", "R1"])
def test_gradient_of_a_penalty(kind, rng):
    """By the penalty as it is computed, and by a derivative of the backward pass along v."""
    x, net = rng.normal(size=(N, D)), critic(rng)
    cost, slope = {
        "gradient penalty": (gan.gradient_penalty, gan.gradient_penalty_slope),
        "R1": (gan.r1, gan.r1_slope),
    }[kind]
    v = slope(gan.input_gradient(x, *net), 0.7)
    found = gan.penalty_gradient(x, *net, v)
    for place, dw in zip((0, 2, 4), found, strict=True):
        changed = lambda w, place=place: (*net[:place], w, *net[place + 1 :])
        whole = lambda w, changed=changed: cost(gan.input_gradient(x, *changed(w)), 0.7)
        assert relative_error(dw, central_differences(whole, net[place])) < 1e-7
        complexes = lambda w, changed=changed: tuple(
            part + 0j if isinstance(part, np.ndarray) else part for part in changed(w)
        )
        inner = lambda w, c=complexes: np.sum(v * gan.input_gradient(x + 0j, *c(w)))
        assert relative_error(dw, complex_step(inner, net[place])) < 1e-13
    for place in (1, 3):  # biases move kinks and change no slope
        changed = lambda w, place=place: (*net[:place], w, *net[place + 1 :])
        whole = lambda w, changed=changed: cost(gan.input_gradient(x, *changed(w)), 0.7)
        assert not central_differences(whole, net[place]).any()


def test_a_slope_of_one_costs_nothing(rng):
    g = rng.normal(size=(N, D))
    unit = g / linalg.norm(g, axis=1, keepdims=True)
    assert gan.gradient_penalty(unit, 10.0) < 1e-30
    assert np.abs(gan.gradient_penalty_slope(unit, 10.0)).max() < 1e-14
    assert np.isclose(gan.gradient_penalty(3 * unit, 10.0), 40)
    assert np.isclose(gan.r1(3 * unit, 2.0), 9)
    assert not gan.gradient_penalty_slope(np.zeros((2, 3)), 1.0).any()


def test_points_between(rng):
    x, y = rng.normal(size=(2, N, D))
    np.testing.assert_array_equal(gan.interpolate(x, y, np.ones(N)), x)
    np.testing.assert_array_equal(gan.interpolate(x, y, np.zeros(N)), y)
    z = gan.interpolate(x, y, rng.random(N))
    apart = linalg.norm(z - x, axis=1) + linalg.norm(z - y, axis=1)
    np.testing.assert_allclose(apart, linalg.norm(x - y, axis=1))


@pytest.mark.parametrize(("gamma", "closer"), [(0.0, False), (0.1, False), (0.15, True)])
def test_rounds_grow_or_shrink(gamma, closer):
    """At a rate of one half the border lies at γ = 1/8."""
    w = (1e-6, 0.0)
    for _ in range(400):
        w = gan.two_numbers(*w, 0.5, gamma)
    assert (np.hypot(*w) < 1e-6) == closer == (gan.circling(0.5, gamma) < 1)


# Judging


def test_averages_forget(rng):
    w = rng.normal(size=(3, 2))
    mean = np.zeros((3, 2))
    for _ in range(400):
        mean = gan.weight_average(mean, w, 0.1)
    np.testing.assert_allclose(mean, w)


def test_frechet_distance(rng):
    mu, nu, S, R, e = covariances(rng)
    wanted = np.sum((mu - nu) ** 2) + np.trace(S + R - 2 * linalg.sqrtm(S @ R).real)
    assert np.isclose(gan.frechet(mu, nu, S, R, e), wanted)
    x = rng.normal(size=(40, 3)) @ rng.normal(size=(3, 3))
    assert abs(gan.frechet_distance(x, x)) < 1e-12
    assert np.isclose(gan.frechet_distance(x, x + np.array([3.0, 0, 4])), 25)
    turn = linalg.qr(rng.normal(size=(3, 3)))[0]
    y = rng.normal(size=(30, 3))
    assert np.isclose(gan.frechet_distance(x @ turn, y @ turn), gan.frechet_distance(x, y))
    assert np.isclose(gan.frechet_distance(x, y), gan.frechet_distance(y, x))
    a, b = x[:, :1], y[:, :1]
    spreads = (a.std(ddof=1) - b.std(ddof=1)) ** 2
    assert np.isclose(gan.frechet_distance(a, b), (a.mean() - b.mean()) ** 2 + spreads)


def test_frechet_distance_where_pixels_never_change(rng):
    x, y = rng.normal(size=(9, 4)), rng.normal(size=(5, 4))
    x[:, 1] = y[:, 1] = 0
    assert np.isclose(gan.frechet_distance(x, y), gan.frechet_distance(*(
        a[:, [0, 2, 3]] for a in (x, y))))  # fmt: skip


@pytest.mark.parametrize(
    ("args", "error", "words"),
    [
        ((np.ones((3, 2)), np.ones((3, 3))), ValueError, "y has shape"),
        ((np.ones(3), np.ones(3)), ValueError, "x has shape"),
        ((np.ones((1, 2)), np.ones((3, 2))), ValueError, "x has one example"),
        ((np.ones((3, 2)), np.ones((1, 2))), ValueError, "y has one example"),
        ((np.full((2, 2), np.nan), np.ones((3, 2))), ValueError, "x holds nan"),
        (([["a"]], np.ones((3, 2))), TypeError, "x "),
    ],
)
def test_frechet_distance_refuses(args, error, words):
    with pytest.raises(error, match=words):
        gan.frechet_distance(*args)


# Style


def test_style_does_not_know_places(rng):
    F = maps(rng)
    np.testing.assert_allclose(gan.gram(F[:, rng.permutation(5)]), gan.gram(F))
    np.testing.assert_allclose(gan.gram(np.hstack([F, F])), gan.gram(F))


def test_gradients_of_styles(rng):
    F, T = maps(rng), gan.gram(maps(rng))
    cost = lambda F: np.sum((F @ F.T / 5 - T) ** 2) / np.sum(T**2)
    assert np.isclose(gan.style_loss(gan.gram(F), T), cost(F))
    assert relative_error(gan.style_gradient(F, T), central_differences(cost, F)) < 1e-8
    assert not gan.style_gradient(F, gan.gram(F)).any()


def test_the_second_loss_measures_a_divergence_less_another(rng):
    """Its slope by q with D* held, for logits of q."""
    p, q = two(rng)
    held = np.log(gan.optimal_discriminator(p, q))
    soft = lambda t: np.exp(t) / np.exp(t).sum()
    expected = complex_step(lambda t: -soft(t) @ held, np.log(q))
    found = complex_step(lambda t: gan.non_saturating_at_optimum(p, soft(t)), np.log(q))
    np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-13)
    kl = special.rel_entr(q, p).sum()
    expected = kl - 2 * jensenshannon(p, q) ** 2
    assert gan.non_saturating_at_optimum(p, q) == pytest.approx(expected)


@pytest.mark.parametrize("shape", [(3, 4, 2), (1, 3, 1), (4, 1, 2), (1, 1, 3)])
def test_total_variation(shape, rng):
    y = rng.normal(size=shape)
    cost = lambda y: sum(np.sum(np.diff(y, axis=axis) ** 2) for axis in (0, 1))
    assert np.isclose(gan.total_variation(y), cost(y))
    slopes = central_differences(cost, y)
    np.testing.assert_allclose(gan.total_variation_gradient(y), slopes, atol=1e-8)
    assert gan.total_variation(np.ones(shape)) == 0


@compiled_only
def test_a_discriminator_learns_the_ratio(rng):
    """Descent on the loss of scores, one for each place, ends at the logarithm of p/q."""
    p, q = two(rng, 4)
    counts = np.rint(100 * np.array([p, q])).astype(int) + 1
    real, fake = (np.repeat(np.arange(4), row) for row in counts)

    def cost(s):
        dreal, dfake = gan.discriminator_gradient(s[real], s[fake])
        slope = np.bincount(real, dreal, 4) + np.bincount(fake, dfake, 4)
        return gan.discriminator_loss(s[real], s[fake]), slope

    found = optimize.minimize(cost, np.zeros(4), jac=True, tol=1e-12).x
    shares = counts / counts.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(found, np.log(shares[0] / shares[1]), atol=1e-4)
