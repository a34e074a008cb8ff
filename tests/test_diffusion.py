"""Noise, scores, denoisers, steps back, straight paths and guidance."""

import numpy as np
import pytest
from scipy import special, stats

from dlbook import diffusion as di
from dlbook.attention import soft_lookup
from dlbook.verification import central_differences, complex_step, relative_error

ALPHA, SIGMA = 0.6, 0.8  # α² + σ² = 1


def some_levels(rng, n=5):
    """Return alpha and sigma of as many examples."""
    return di.cosine(rng.uniform(0.1, 0.9, n))


def some_pair(rng, n=5, d=3):
    return rng.normal(size=(n, d)), rng.normal(size=(n, d))


def some_set(rng, n=4, m=6, d=3):
    """Return x and points."""
    return rng.normal(size=(n, d)), rng.normal(size=(m, d))


KERNELS = [
    (di.noising_step, lambda rng: (*some_pair(rng), 0.3)),
    (di.signal, lambda rng: (rng.uniform(0.1, 0.6, 5),)),
    (di.forward, lambda rng: (*some_pair(rng), *some_levels(rng))),
    (di.cosine, lambda rng: (rng.uniform(0.1, 0.9, 5),)),
    (di.posterior, lambda rng: (*some_pair(rng), 0.3, ALPHA, SIGMA)),
    (di.v_target, lambda rng: (*some_pair(rng), *some_levels(rng))),
    (di.from_v, lambda rng: (*some_pair(rng), *some_levels(rng))),
    (di.from_noise, lambda rng: (*some_pair(rng), *some_levels(rng))),
    (di.from_image, lambda rng: (*some_pair(rng), *some_levels(rng))),
    (di.time_features, lambda rng: (rng.uniform(size=5), 3)),
    (di.loss, lambda rng: (*some_pair(rng), rng.uniform(size=5))),
    (di.loss_gradient, lambda rng: (*some_pair(rng), rng.uniform(size=5))),
    (di.elbo_weights, lambda rng: some_levels(rng)),
    (di.log_density, lambda rng: (*some_set(rng), ALPHA, SIGMA)),
    (di.lookup_weights, lambda rng: (*some_set(rng), ALPHA, SIGMA)),
    (di.score, lambda rng: (*some_set(rng), ALPHA, SIGMA)),
    (di.tweedie, lambda rng: (*some_pair(rng), ALPHA, SIGMA)),
    (di.ideal_denoiser, lambda rng: (*some_set(rng), ALPHA, SIGMA)),
    (
        di.denoising_matching,
        lambda rng: (*some_pair(rng), rng.uniform(0.2, 1, 5), rng.dirichlet(np.ones(5))),
    ),
    (
        di.ancestral_step,
        lambda rng: (*some_pair(rng), rng.normal(size=(5, 3)), ALPHA, SIGMA, 0.8, 0.6),
    ),
    (di.ddim_step, lambda rng: (*some_pair(rng), ALPHA, SIGMA, 0.8, 0.6)),
    (di.ode, lambda rng: (*some_pair(rng), ALPHA, SIGMA, -SIGMA, ALPHA)),
    (di.change_of_variables, lambda rng: (rng.normal(size=(4, 3, 3)),)),
    (di.euler_step, lambda rng: (*some_pair(rng), -0.3)),
    (di.heun_step, lambda rng: (*some_pair(rng), rng.normal(size=(5, 3)), -0.3)),
    (di.straight_path, lambda rng: (*some_pair(rng), rng.uniform(size=5))),
    (di.velocity, lambda rng: (*some_set(rng), 0.4)),
    (di.flow_loss, lambda rng: (*some_pair(rng), rng.normal(size=(5, 3)))),
    (di.guided, lambda rng: (*some_pair(rng), 1.7)),
]


# Noise is added


def test_steps_are_one_step(rng):
    """Mean and variance carried through T steps."""
    beta = rng.uniform(0.05, 0.4, 7)
    mean, variance = 1.0, 0.0
    for b in beta:
        mean = di.noising_step(np.array([[mean]]), np.zeros((1, 1)), b)[0, 0]
        pushed = di.noising_step(np.zeros((1, 1)), np.ones((1, 1)), b)[0, 0]
        variance = (1 - b) * variance + pushed**2
    assert di.signal(beta)[-1] == pytest.approx(mean, rel=1e-12)
    assert 1 - di.signal(beta)[-1] ** 2 == pytest.approx(variance, rel=1e-12)


def test_forward_mixes(rng):
    (x0, eps), (alpha, sigma) = some_pair(rng), some_levels(rng)
    expected = np.diag(alpha) @ x0 + np.diag(sigma) @ eps
    assert relative_error(di.forward(x0, eps, alpha, sigma), expected) < 1e-14


def test_cosine_is_on_the_circle(rng):
    u = rng.uniform(size=9)
    alpha, sigma = di.cosine(u)
    assert relative_error(alpha + 1j * sigma, 1j**u) < 1e-14


@pytest.mark.parametrize("beta", [0.02, 0.5, 0.97])
def test_posterior_by_bayes_on_a_grid(beta):
    alpha, sigma, x, x0 = 0.7, np.sqrt(0.51), 0.9, -0.4
    grid = np.linspace(-9, 9, 20_001)
    p = stats.norm.pdf(grid, alpha * x0, sigma)
    p *= stats.norm.pdf(x, np.sqrt(1 - beta) * grid, np.sqrt(beta))
    p /= p.sum()
    mean, variance = di.posterior(np.array([[x]]), np.array([[x0]]), beta, alpha, sigma)
    assert mean[0, 0] == pytest.approx(p @ grid, rel=1e-9)
    assert variance == pytest.approx(p @ (grid - p @ grid) ** 2, rel=1e-9)


def test_schedule_is_consistent():
    found = di.schedule([0.9, 0.5, 0.02])
    assert relative_error(di.signal(found.beta), found.alpha) < 1e-14
    assert relative_error(found.alpha**2 + found.sigma**2, np.ones(3)) < 1e-14


@pytest.mark.parametrize("T", [3, 10, 1000])
def test_cosine_schedule(T):
    found = di.cosine_schedule(T)
    angles = np.pi / 2 * np.arange(1, T) / T
    below = 1 - (np.cos(angles[-1]) / np.cos(angles[-1] - np.pi / 2 / T)) ** 2 < 0.999
    if below:
        assert relative_error(found.alpha[:-1], np.cos(angles)) < 1e-10
    assert found.beta.max() == pytest.approx(0.999) and found.alpha[-1] < 0.05


# Targets and the loss


def test_targets_from_each_other(rng):
    (x0, eps), (alpha, sigma) = some_pair(rng), some_levels(rng)
    x, v = di.forward(x0, eps, alpha, sigma), di.v_target(x0, eps, alpha, sigma)
    for found, expected in (
        (di.from_v(x, v, alpha, sigma), (x0, eps)),
        (di.from_noise(x, eps, alpha, sigma), (x0, v)),
        (di.from_image(x, x0, alpha, sigma), (eps, v)),
    ):
        for ours, true in zip(found, expected, strict=True):
            assert relative_error(ours, true) < 1e-12


def test_v_is_how_fast_x_turns(rng):
    x0, eps = some_pair(rng)
    u = rng.uniform(size=5)  # angles

    def turned(angle):
        return di.forward(x0, eps, np.cos(angle), np.sin(angle))

    h = 1e-6
    found = (turned(u + h) - turned(u - h)) / (2 * h)
    assert relative_error(di.v_target(x0, eps, np.cos(u), np.sin(u)), found) < 1e-8


def test_three_losses_are_one_with_weights(rng):
    (x0, eps), (alpha, sigma) = some_pair(rng), some_levels(rng)
    x, v = di.forward(x0, eps, alpha, sigma), di.v_target(x0, eps, alpha, sigma)
    guess = v + rng.normal(size=v.shape)
    image, noise = di.from_v(x, guess, alpha, sigma)
    plain = di.loss(guess, v, np.ones(5))
    assert di.loss(image, x0, sigma**-2) == pytest.approx(plain, rel=1e-12)
    assert di.loss(noise, eps, alpha**-2) == pytest.approx(plain, rel=1e-12)


def test_loss_gradient_through_a_network(rng):
    """Noise frozen: weights by complex steps and by reverse mode."""
    (x0, eps), (alpha, sigma) = some_pair(rng), some_levels(rng)
    x, weight = di.forward(x0, eps, alpha, sigma), rng.uniform(0.5, 2, 5)
    W, V = rng.normal(size=(4, 3)), rng.normal(size=(3, 4))

    def cost(W):
        return di.loss(np.tanh(x @ W.T) @ V.T, eps.astype(W.dtype), weight)

    h = np.tanh(x @ W.T)
    slope = di.loss_gradient(h @ V.T, eps, weight)
    found = ((slope @ V) * (1 - h**2)).T @ x
    assert relative_error(found, complex_step(cost, W)) < 1e-12
    assert relative_error(found, central_differences(cost, W)) < 1e-7


def test_time_features():
    u = np.array([0.0, 0.5, 1.0])
    found = di.time_features(u, 2)
    half = np.sqrt(0.5)
    expected = [[0, 0, 1, 1], [half, 1, half, 0], [1, 0, 0, -1]]
    assert np.abs(found - expected).max() < 1e-15


def test_weights_of_the_bound_are_divergences(rng):
    found = di.cosine_schedule(6)
    x0, eps, guess = rng.normal(size=(3, 1, 4))
    weights = di.elbo_weights(found.alpha, found.sigma)
    for t in range(1, 6):
        alpha, sigma = found.alpha[t], found.sigma[t]
        x = alpha * x0 + sigma * eps
        means = [
            di.posterior(x, clean, found.beta[t], found.alpha[t - 1], found.sigma[t - 1])
            for clean in (x0, (x - sigma * guess) / alpha)
        ]
        kl = np.sum((means[0][0] - means[1][0]) ** 2) / (2 * means[0][1])
        assert weights[t - 1] * np.sum((eps - guess) ** 2) == pytest.approx(kl, rel=1e-8)


# Scores and denoisers


def test_density_by_scipy(rng):
    x, points = some_set(rng)
    logs = [stats.multivariate_normal(ALPHA * p, SIGMA**2 * np.eye(3)).logpdf(x) for p in points]
    expected = special.logsumexp(logs, axis=0) - np.log(len(points))
    assert relative_error(di.log_density(x, points, ALPHA, SIGMA), expected) < 1e-12


def test_score_is_the_slope_of_the_log_density(rng):
    x, points = some_set(rng)
    expected = complex_step(lambda x: di.log_density(x, points, ALPHA, SIGMA).sum(), x)
    assert relative_error(di.score(x, points, ALPHA, SIGMA), expected) < 1e-12


def test_tweedie_is_the_lookup(rng):
    x, points = some_set(rng)
    s = complex_step(lambda x: di.log_density(x, points, ALPHA, SIGMA).sum(), x)
    found = di.ideal_denoiser(x, points, ALPHA, SIGMA)
    assert relative_error(di.tweedie(x, s, ALPHA, SIGMA), found) < 1e-12
    weights = di.lookup_weights(x, points, ALPHA, SIGMA)
    assert relative_error(weights.sum(axis=1), np.ones(4)) < 1e-14
    assert np.array_equal(found, soft_lookup(weights, points))
    assert np.array_equal(found, di.denoise_ideally(x, points, ALPHA, SIGMA))


def test_lookup_survives_tiny_noise(rng):
    points = rng.normal(size=(6, 3))
    found = di.ideal_denoiser(points + 1e-6, points, 1.0, 1e-4)
    assert relative_error(found, points) < 1e-12


def test_matchings_differ_by_a_constant():
    """Over all of a line: a sum over two training points and a fine grid."""
    grid, points = np.linspace(-9, 9, 4001), np.array([[-1.0], [0.5]])
    x = np.tile(grid, 2)[:, None]
    own = np.repeat(points[:, 0], len(grid))[:, None]
    eps = (x - ALPHA * own) / SIGMA
    p = stats.norm.pdf(eps[:, 0]) / SIGMA * (grid[1] - grid[0]) / 2
    true, sigma = di.score(x, points, ALPHA, SIGMA), np.full(len(x), SIGMA)
    gaps = []
    for a, b in ((0.0, 0.0), (0.3, -1.0), (-2.0, 0.7)):
        s = a * x + np.sin(b * x)
        explicit = np.sum(p[:, None] * (s - true) ** 2) / 2
        gaps.append(di.denoising_matching(s, eps, sigma, p) - explicit)
    assert np.ptp(gaps) < 1e-12 and gaps[0] > 0.01


# The way back


def test_one_training_point_is_found_in_one_step(rng):
    (x0, eps), to = some_pair(rng), (0.96, 0.28)
    x = ALPHA * x0 + SIGMA * eps
    expected = to[0] * x0 + to[1] * eps
    assert relative_error(di.ddim_step(x, x0, ALPHA, SIGMA, *to), expected) < 1e-12


def test_ancestral_is_the_posterior(rng):
    (x, x0), eps, to = some_pair(rng), rng.normal(size=(5, 3)), (0.96, 0.28)
    mean, variance = di.posterior(x, x0, 1 - (ALPHA / to[0]) ** 2, *to)
    found = di.ancestral_step(x, x0, eps, ALPHA, SIGMA, *to)
    assert relative_error(found, mean + np.sqrt(variance) * eps) < 1e-12


def test_ddim_is_an_euler_step_in_the_ratio(rng):
    (x, eps), to = some_pair(rng), (0.96, 0.28)
    x0 = (x - SIGMA * eps) / ALPHA
    moved = di.euler_step(x / ALPHA, eps, to[1] / to[0] - SIGMA / ALPHA)
    assert relative_error(di.ddim_step(x, x0, ALPHA, SIGMA, *to), to[0] * moved) < 1e-12


def gaussian_flow(c):
    """Return slope and exact path for data N(0, c²): x stretches with its standard deviation."""

    def spread(angle):
        return np.sqrt((c * np.cos(angle)) ** 2 + np.sin(angle) ** 2)

    def slope(x, angle):
        alpha, sigma = np.cos(angle), np.sin(angle)
        x0 = alpha * c**2 / spread(angle) ** 2 * x
        return di.ode(x, x0, alpha, sigma, -sigma, alpha)

    return slope, spread


@pytest.mark.parametrize(("method", "order"), [("euler", 1), ("heun", 2)])
def test_orders(method, order):
    slope, spread = gaussian_flow(0.3)
    start, stop, x = np.pi / 2, 0.2, np.array([[1.3]])
    errors = []
    for n in (100, 200):
        path = di.integrate(slope, x, np.linspace(start, stop, n + 1), method)
        errors.append(abs(path[-1, 0, 0] - 1.3 * spread(stop) / spread(start)))
    assert np.log2(errors[0] / errors[1]) == pytest.approx(order, abs=0.05)


def test_velocity_carries_the_density(rng):
    """The continuity equation on a line: ∂p/∂u = −∂(v p)/∂x."""
    points, u, h = rng.normal(size=(3, 1)), 0.6, 1e-5
    x = rng.normal(size=(5, 1))

    def density(x, u):
        return np.exp(di.log_density(x, points, 1 - u, u))

    def carried(x):
        return di.velocity(x, points, u)[:, 0] * density(x, u)

    grows = (density(x, u + h) - density(x, u - h)) / (2 * h)
    leaves = (carried(x + h) - carried(x - h)) / (2 * h)
    assert relative_error(grows, -leaves) < 1e-7


def test_velocity_is_the_ode_of_the_straight_path(rng):
    x, points = some_set(rng)
    x0 = di.ideal_denoiser(x, points, 0.6, 0.4)
    assert relative_error(di.velocity(x, points, 0.4), di.ode(x, x0, 0.6, 0.4, -1, 1)) < 1e-12


def test_straight_path_and_its_loss(rng):
    x0, eps = some_pair(rng)
    u = rng.uniform(size=5)
    assert relative_error(di.straight_path(x0, eps, u), di.forward(x0, eps, 1 - u, u)) < 1e-14
    assert di.flow_loss(eps - x0, x0, eps) == 0
    assert di.flow_loss(0 * x0, x0, eps) == pytest.approx(np.sum((eps - x0) ** 2) / 5)


def test_guidance_of_gaussians():
    """p(x) = N(0, 1), p(y | x) = N(y; x, 1): all products are normal."""
    x, y, w = np.linspace(-2, 2, 5)[:, None], 0.7, 1.5
    given, free = -2 * (x - y / 2), -x
    variance = 1 / (1 + (1 + w))
    expected = -(x - variance * (1 + w) * y) / variance
    assert relative_error(di.guided(given, free, w), expected) < 1e-12


# What is refused


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: di.schedule([0.9, 0.5]), "does not end in noise"),
        (lambda: di.schedule([0.9, 0.95, 0.01]), "does not fall from step 1"),
        (lambda: di.schedule([0.9, 0.9, 0.01]), "does not fall from step 1"),
        (lambda: di.schedule([1.0, 0.5, 0.01]), "alpha is 1 at step 1"),
        (lambda: di.schedule([0.5, 0.0]), "alpha is 0 at step 2"),
        (lambda: di.schedule([0.5, np.nan]), "alpha holds nan"),
        (lambda: di.schedule([]), "alpha"),
        (lambda: di.schedule([0.5, 0.1], ends=0), "ends"),
        (lambda: di.cosine_schedule(2), "T is 2"),
        (lambda: di.cosine_schedule(5, most=1.0), "most"),
        (lambda: di.denoise_ideally(np.zeros((2, 3)), np.zeros((4, 2)), 0.6, 0.8), "points"),
        (lambda: di.denoise_ideally(np.zeros((2, 3)), np.zeros((4, 3)), 0.6, 0), "sigma"),
        (lambda: di.integrate(lambda x, t: x, np.zeros((2, 1)), [0.0]), "times"),
        (lambda: di.integrate(lambda x, t: x, np.zeros((2, 1)), [0, 1, 0.5]), "times"),
        (lambda: di.integrate(lambda x, t: x[0], np.zeros((2, 1)), [0, 1]), "slope gave"),
        (lambda: di.integrate(lambda x, t: x / 0 * 0, np.ones((2, 1)), [0, 1]), "slope gave"),
        (lambda: di.integrate(lambda x, t: x, np.zeros((2, 1)), [0, 1], "rk4"), "method"),
    ],
)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_refuses(call, words):
    with pytest.raises((TypeError, ValueError), match=words):
        call()


def test_integrate_keeps_the_dtype():
    path = di.integrate(lambda x, t: -x, np.ones((2, 1), np.float32), [0, 0.5, 1])
    assert path.dtype == np.float32 and path.shape == (3, 2, 1)


def test_nan_comes_out_where_nan_goes_in(rng):
    x, points = some_set(rng)
    x[1, 2] = np.nan
    rows = np.isnan(di.ideal_denoiser(x, points, ALPHA, SIGMA)).any(axis=1)
    assert rows.tolist() == [False, True, False, False]
