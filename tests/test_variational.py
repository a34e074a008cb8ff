"""Bounds, their gradients and estimates, the linear Gaussian model, and the two-sample test."""

import itertools

import numpy as np
import pytest
from scipy import integrate, linalg, special, stats

from dlbook import autoencoders as ae
from dlbook import variational as va
from dlbook.verification import central_differences, complex_step, monte_carlo, relative_error


def some_code(rng, n=5, c=3):
    return rng.normal(size=(n, c)), 0.5 * rng.normal(size=(n, c))


def some_model(rng, n=4, d=5, c=3):
    """x, W, b, tau2"""
    return rng.normal(size=(n, d)), rng.normal(size=(d, c)), rng.normal(size=d), 0.3


def some_posterior(rng, n=4, c=3):
    half = rng.normal(size=(c, c))
    return *some_code(rng, n, c), rng.normal(size=(n, c)), np.eye(c) + half @ half.T


def some_spectrum(rng, d=6):
    vectors = np.linalg.qr(rng.normal(size=(d, d)))[0]
    return np.sort(rng.uniform(0.5, 3, d))[::-1].copy(), vectors, 2


KERNELS = [
    (va.evidence, some_model),
    (va.posterior, some_model),
    (va.gaussian_kl, some_code),
    (va.gaussian_kl_gradient, some_code),
    (va.linear_elbo, lambda rng: (*some_model(rng), *some_code(rng, 4))),
    (va.elbo_gap, some_posterior),
    (va.ppca_solution, some_spectrum),
    (va.beta_solution, lambda rng: (*some_spectrum(rng), 1.2)),
    (va.water_filling, lambda rng: (some_spectrum(rng)[0], 3, 1.2)),
    (va.reparameterize, lambda rng: (*some_code(rng), rng.normal(size=(5, 3)))),
    (va.reparameterize_gradient, lambda rng: (*some_code(rng), rng.normal(size=(5, 3)))),
    (
        va.score_function,
        lambda rng: (
            rng.normal(size=6),
            rng.normal(size=(6, 3)),
            rng.normal(size=3),
            0.5 * rng.normal(size=3),
            0.4,
        ),
    ),
    (va.score_variance, lambda rng: (0.7, 1.3, 0.2)),
    (va.elbo, lambda rng: (rng.normal(size=(5, 4)), rng.random((5, 4)), *some_code(rng), 0.7)),
    (
        va.vae_gradients,
        lambda rng: (rng.normal(size=(5, 3)), *some_code(rng), rng.normal(size=(5, 3)), 0.7),
    ),
    (
        va.log_weights,
        lambda rng: (
            rng.normal(size=(4, 5)),
            rng.normal(size=(4, 3)),
            rng.normal(size=(4, 5, 3)),
            rng.normal(size=(4, 5, 3)),
        ),
    ),
    (va.iwae, lambda rng: (rng.normal(size=(4, 5)),)),
    (va.bits_per_dimension, lambda rng: (rng.normal(size=5), 4, 17)),
    (va.mmd2, lambda rng: (rng.normal(size=(5, 3)), rng.normal(size=(4, 3)), 1.3)),
    (va.permutation_p, lambda rng: (0.4, rng.normal(size=9))),
]


# The linear Gaussian model


def test_evidence(rng):
    x, W, b, tau2 = some_model(rng)
    expected = stats.multivariate_normal(b, W @ W.T + tau2 * np.eye(5)).logpdf(x)
    assert relative_error(va.evidence(x, W, b, tau2), expected) < 1e-12


def test_posterior_by_conditioning_the_joint_distribution(rng):
    x, W, b, tau2 = some_model(rng)
    M = W @ W.T + tau2 * np.eye(5)
    mu, P = va.posterior(x, W, b, tau2)
    assert relative_error(mu, (x - b) @ linalg.solve(M, W)) < 1e-11
    assert relative_error(np.linalg.inv(P), np.eye(3) - W.T @ linalg.solve(M, W)) < 1e-11


def test_evidence_is_bound_plus_gap(rng):
    model = some_model(rng)
    m, s = some_code(rng, 4)
    gap = va.elbo_gap(m, s, *va.posterior(*model))
    assert (gap > 0).all()
    assert relative_error(va.linear_elbo(*model, m, s) + gap, va.evidence(*model)) < 1e-12


def test_bound_by_quadrature():
    x, W, b, tau2 = np.array([[1.5]]), np.array([[0.8]]), np.array([0.1]), 0.4
    m, s = np.array([[0.3]]), np.array([[-0.6]])
    q = stats.norm(0.3, np.exp(-0.6))

    def inside(z):
        joint = stats.norm.logpdf(z) + stats.norm.logpdf(1.5, 0.8 * z + 0.1, np.sqrt(0.4))
        return q.pdf(z) * (joint - q.logpdf(z))

    expected = integrate.quad(inside, -8, 8)[0]
    assert va.linear_elbo(x, W, b, tau2, m, s)[0] == pytest.approx(expected, rel=1e-9)


def test_gap_vanishes_at_the_posterior_where_it_is_axis_aligned(rng):
    """Columns of W at right angles: a diagonal q is enough."""
    values, vectors, count = some_spectrum(rng)
    W, tau2 = va.ppca_solution(values, vectors, count)
    x = rng.normal(size=(4, 6))
    mu, P = va.posterior(x, W, np.zeros(6), tau2)
    s = np.tile(-np.log(np.diag(P)) / 2, (4, 1))
    assert np.abs(va.elbo_gap(mu, s, mu, P)).max() < 1e-12


def test_ppca_is_where_the_likelihood_is_largest(rng):
    x = rng.normal(size=(60, 5)) @ rng.normal(size=(5, 5))
    W, b, tau2 = va.ppca(x, 2)

    def total(flat):
        return np.mean(va.evidence(x, flat[:10].reshape(5, 2), flat[10:15], np.exp(flat[15])))

    best = np.concatenate((W.ravel(), b, [np.log(tau2)]))
    assert np.abs(central_differences(total, best)).max() < 1e-7
    for _ in range(20):
        assert total(best + 0.1 * rng.normal(size=16)) < total(best)


def test_ppca_in_single_precision(rng):
    x = rng.normal(size=(60, 5))
    single, double = va.ppca(x.astype(np.float32), 2), va.ppca(x, 2)
    assert single.W.dtype == single.b.dtype == np.float32
    assert relative_error(single.W @ single.W.T, double.W @ double.W.T) < 1e-4


def test_rate_and_error_are_those_of_the_best_code(rng):
    """At the weights of a level, with the posterior of that noise, over data of that covariance."""
    values, vectors, C = some_spectrum(rng)
    C, level = C + 1, values[1] * 0.9  # one of three numbers may collapse
    W = va.beta_solution(values, vectors, C, level)
    x = vectors * np.sqrt(values * len(values))  # columns: the covariance of these is exact
    x = np.ascontiguousarray(x.T)
    mu, P = va.posterior(x, W, np.zeros(len(values)), level)
    s = np.tile(-np.log(np.diag(P)) / 2, (len(x), 1))
    rate = va.gaussian_kl(mu, s).mean()
    error = np.sum((x - mu @ W.T) ** 2) / len(x) + np.sum(W**2 * np.exp(2 * s[0]))
    assert va.water_filling(values, C, level) == pytest.approx((rate, error), rel=1e-12)


# Noise, and gradients through it


def test_kl_by_quadrature(rng):
    m, s = some_code(rng, 3, 1)
    for n in range(3):
        q = stats.norm(m[n, 0], np.exp(s[n, 0]))
        expected = integrate.quad(
            lambda z, q=q: q.pdf(z) * (q.logpdf(z) - stats.norm.logpdf(z)), -12, 12
        )[0]
        assert va.gaussian_kl(m, s)[n] == pytest.approx(expected, rel=1e-8)


def test_kl_is_zero_at_the_prior_alone():
    m, s = np.zeros((1, 2)), np.zeros((1, 2))
    assert va.gaussian_kl(m, s)[0] == 0
    assert not any(part.any() for part in va.gaussian_kl_gradient(m, s))


def test_kl_gradient(rng):
    m, s = some_code(rng)
    dm, ds = va.gaussian_kl_gradient(m, s)
    assert relative_error(dm, complex_step(lambda m: va.gaussian_kl(m, s).sum(), m)) < 1e-12
    assert relative_error(ds, complex_step(lambda s: va.gaussian_kl(m, s).sum(), s)) < 1e-12


def test_reparameterized_gradient_with_frozen_noise(rng):
    (m, s), eps = some_code(rng), rng.normal(size=(5, 3))
    pull = rng.normal(size=(5, 3))

    def cost(m, s):
        z = va.reparameterize(m, s, eps)
        return np.sum(np.sin(z) * pull)

    dz = np.cos(va.reparameterize(m, s, eps)) * pull
    dm, ds = va.reparameterize_gradient(dz, s, eps)
    assert relative_error(dm, complex_step(lambda m: cost(m, s), m)) < 1e-12
    assert relative_error(ds, complex_step(lambda s: cost(m, s), s)) < 1e-12


def test_both_estimates_have_the_right_mean(rng):
    """d/dm and d/ds of E z² = m² + e^2s."""
    K, m, s = 200_000, 0.7, -0.3
    eps = rng.normal(size=(K, 1))
    means, logs = np.full((K, 1), m), np.full((K, 1), s)
    z = va.reparameterize(means, logs, eps)
    estimates = (
        va.reparameterize_gradient(2 * z, logs, eps),
        va.score_function(z[:, 0] ** 2, z, means[0], logs[0], 0.5),
    )
    for pair in estimates:
        for draws, expected in zip(pair, (2 * m, 2 * np.exp(2 * s)), strict=True):
            mean, error = monte_carlo(draws[:, 0])[:2]
            assert abs(mean - expected) < 4 * error


@pytest.mark.parametrize("baseline", [0.0, 1.0, -2.5])
def test_score_variance(baseline):
    """Gauss–Hermite quadrature is exact for polynomials."""
    m, sigma = 0.7, 1.3
    u, w = special.roots_hermitenorm(20)
    w = w / w.sum()
    g = ((m + sigma * u) ** 2 - baseline) * u / sigma
    assert w @ g == pytest.approx(2 * m)
    expected = w @ g**2 - (w @ g) ** 2
    assert va.score_variance(m, sigma, baseline) == pytest.approx(expected, rel=1e-12)


def test_gradients_of_a_network(rng):
    """Both linear layers of an encoder, a linear decoder, and the noise kept."""
    x, eps = rng.random((6, 4)), rng.normal(size=(6, 2))
    shapes = (2, 4), (2, 4), (4, 2)
    weights = [rng.normal(size=size) for size in shapes]

    def cost(w, v, u):
        m, s = x @ w.T, x @ v.T
        return -va.elbo(va.reparameterize(m, s, eps) @ u.T, x, m, s, 0.6)

    w, v, u = weights
    m, s = x @ w.T, x @ v.T
    z = va.reparameterize(m, s, eps)
    da = ae.bernoulli_nll_gradient(z @ u.T, x)
    dm, ds = va.vae_gradients(da @ u, m, s, eps, 0.6)
    for i, found in enumerate((dm.T @ x, ds.T @ x, da.T @ z)):

        def moved(part, i=i):
            return cost(*weights[:i], part, *weights[i + 1 :])

        assert relative_error(found, complex_step(moved, weights[i])) < 1e-12


# More draws


def test_log_weights_of_the_exact_posterior_are_the_evidence(rng):
    x, W, b, tau2 = np.array([[0.4, -1.1]]), np.array([[0.9], [0.0]]), np.zeros(2), 0.7
    mu, P = va.posterior(x, W, b, tau2)
    s, eps = np.full((1, 1), -np.log(P[0, 0]) / 2), rng.normal(size=(1, 6, 1))
    z = mu[:, None] + np.exp(s) * eps
    log_px = stats.norm.logpdf(x[:, None], z @ W.T + b, np.sqrt(tau2)).sum(axis=2)
    log_w = va.log_weights(log_px, s, eps, z)
    assert relative_error(log_w, np.full((1, 6), va.evidence(x, W, b, tau2)[0])) < 1e-12


def test_iwae_is_stable_and_ordered(rng):
    log_w = rng.normal(size=(3, 8)) * 3
    assert relative_error(va.iwae(log_w), np.log(np.mean(np.exp(log_w), axis=1))) < 1e-12
    assert relative_error(va.iwae(log_w - 5000), va.iwae(log_w) - 5000) < 1e-12
    assert (va.iwae(log_w) > log_w.mean(axis=1)).all()
    np.testing.assert_array_equal(va.iwae(log_w[:, :1]), log_w[:, 0])


# Measures


def test_bits_of_a_uniform_density():
    """Density 1 on the unit cube: log2 G bits a pixel."""
    np.testing.assert_allclose(va.bits_per_dimension(np.zeros(2), 7, 17), np.log2(17))


def test_mmd_by_enumeration(rng):
    x, y, h = rng.normal(size=(4, 3)), rng.normal(size=(5, 3)), 1.3

    def kernel(u, v):
        return np.exp(-((u - v) ** 2).sum() / (2 * h * h))

    expected = np.mean([kernel(u, v) for u, v in itertools.permutations(x, 2)])
    expected += np.mean([kernel(u, v) for u, v in itertools.permutations(y, 2)])
    expected -= 2 * np.mean([kernel(u, v) for u, v in itertools.product(x, y)])
    assert va.mmd2(x, y, h) == pytest.approx(expected, rel=1e-12)


def test_two_sample_is_its_kernels(rng):
    x, y = rng.normal(size=(9, 3)), rng.normal(size=(7, 3)) + 0.5
    found = va.two_sample(x, y, np.random.default_rng(1), 99)
    both = np.concatenate((x, y))
    far = [np.linalg.norm(u - v) for u, v in itertools.combinations(both, 2)]
    assert found.bandwidth == pytest.approx(np.median(far))
    assert found.mmd2 == pytest.approx(va.mmd2(x, y, found.bandwidth), rel=1e-10)
    draw, permuted = np.random.default_rng(1), []
    for _ in range(99):
        order = draw.permutation(16)
        rest = np.setdiff1d(np.arange(16), order[:9])
        permuted.append(va.mmd2(both[order[:9]], both[rest], found.bandwidth))
    assert found.p == va.permutation_p(found.mmd2, np.array(permuted))


def test_two_sample_holds_its_level_and_has_power(rng):
    """p is uniform where nothing differs, and small where the means do."""
    same = [va.two_sample(*rng.normal(size=(2, 20, 2)), rng, 39).p for _ in range(200)]
    assert 0.01 < np.mean(np.array(same) <= 0.1) < 0.2
    assert va.two_sample(rng.normal(size=(40, 2)), 1 + rng.normal(size=(40, 2)), rng).p < 0.02


def test_two_sample_is_the_same_either_way(rng):
    x, y = rng.normal(size=(8, 3)), rng.normal(size=(6, 3))
    a, b = va.two_sample(x, y, np.random.default_rng(1)), va.two_sample(y, x, rng)
    assert a.mmd2 == pytest.approx(b.mmd2, rel=1e-12) and a.bandwidth == pytest.approx(b.bandwidth)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda x: va.two_sample(x, x[:, :1], np.random.default_rng(1)), "y has shape"),
        (lambda x: va.two_sample(x[:1], x, np.random.default_rng(1)), "x has one point"),
        (lambda x: va.two_sample(x, x[:1], np.random.default_rng(1)), "y has one point"),
        (lambda x: va.two_sample(x, np.nan * x, np.random.default_rng(1)), "y holds nan"),
        (lambda x: va.two_sample(0 * x, 0 * x, np.random.default_rng(1)), "coincide"),
        (lambda x: va.two_sample(x, x, 1), "rng"),
        (lambda x: va.two_sample(x, x, np.random.default_rng(1), 0), "permutations"),
        (lambda x: va.ppca(x, 0), "count"),
        (lambda x: va.ppca(x, 3), "count"),
        (lambda x: va.ppca(x[0], 1), "x has shape"),
        (lambda x: va.ppca(np.outer(x[:, 0], x[0]), 1), "noise would vanish"),
        (lambda x: va.ppca(x[:1], 1), "noise would vanish"),
    ],
)
def test_refuses(call, words, rng):
    with pytest.raises((TypeError, ValueError), match=words):
        call(rng.normal(size=(6, 3)))


def test_nan_comes_out_where_nan_goes_in(rng):
    m, s = some_code(rng)
    m[1, 2] = np.nan
    assert np.isnan(va.gaussian_kl(m, s)).tolist() == [False, True, False, False, False]
    log_w = rng.normal(size=(2, 3))
    log_w[0, 1] = np.nan
    assert np.isnan(va.iwae(log_w)).tolist() == [True, False]
