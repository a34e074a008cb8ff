"""Diffusion against PyTorch: densities, scores, the lookup, and the code of the page."""

import itertools
import math

import numpy as np
import pytest
import torch
from shown import shown
from torch import distributions, nn

from dlbook import diffusion as di
from dlbook.verification import relative_error

ALPHA, SIGMA = 0.6, 0.8


def close(actual, expected, rtol=1e-11):
    expected = expected.detach().numpy() if isinstance(expected, torch.Tensor) else expected
    assert relative_error(np.asarray(actual), expected) < rtol


def some_set(rng, n=4, m=6, d=3):
    """Return x and points."""
    return rng.normal(size=(n, d)), rng.normal(size=(m, d))


def mixture(points):
    """Return the distribution of noisy training examples."""
    centres = torch.from_numpy(ALPHA * points)
    each = distributions.Independent(distributions.Normal(centres, SIGMA), 1)
    return distributions.MixtureSameFamily(
        distributions.Categorical(torch.ones(len(points), dtype=torch.float64)), each
    )


def test_density_and_score(rng):
    x, points = some_set(rng)
    there = torch.from_numpy(x).requires_grad_()
    log_p = mixture(points).log_prob(there)
    close(di.log_density(x, points, ALPHA, SIGMA), log_p)
    (slope,) = torch.autograd.grad(log_p.sum(), there)
    close(di.score(x, points, ALPHA, SIGMA), slope)


def test_ideal_denoiser_is_attention(rng):
    x, points = some_set(rng)
    keys = torch.from_numpy(points)[None]
    queries = torch.from_numpy(x * ALPHA / SIGMA**2)[None]
    mask = -(ALPHA**2) * keys.pow(2).sum(dim=2) / (2 * SIGMA**2)
    expected = nn.functional.scaled_dot_product_attention(
        queries, keys, keys, attn_mask=mask[:, None].expand(1, len(x), -1), scale=1.0
    )
    close(di.ideal_denoiser(x, points, ALPHA, SIGMA), expected[0])


def test_posterior_divergence(rng):
    """A term of the bound is the divergence of two normal distributions."""
    x0, eps, guess = rng.normal(size=(3, 1, 4))
    found = di.cosine_schedule(6)
    t = 3
    x = found.alpha[t] * x0 + found.sigma[t] * eps
    laws = []
    for clean in (x0, (x - found.sigma[t] * guess) / found.alpha[t]):
        mean, variance = di.posterior(
            x, clean, found.beta[t], found.alpha[t - 1], found.sigma[t - 1]
        )
        laws.append(distributions.Normal(torch.from_numpy(mean), math.sqrt(variance)))
    weight = di.elbo_weights(found.alpha, found.sigma)[t - 1]
    kl = distributions.kl_divergence(*laws).sum()
    close(weight * np.sum((eps - guess) ** 2), kl, 1e-9)


def test_rows_of_the_table(rng):
    x0, eps = rng.normal(size=(2, 5, 3))
    u, beta = rng.uniform(size=5), rng.uniform(0.1, 0.5, 6)
    a, b = torch.from_numpy(x0), torch.from_numpy(eps)
    close(di.straight_path(x0, eps, u), torch.lerp(a, b, torch.from_numpy(u)[:, None]))
    close(di.guided(x0, eps, 1.5), torch.lerp(b, a, 2.5))
    close(di.signal(beta), torch.cumprod(1 - torch.from_numpy(beta), 0).sqrt())
    close(di.loss(x0, eps, np.ones(5)) / 3, nn.functional.mse_loss(a, b))


def test_loss_gradient(rng):
    predicted, target = rng.normal(size=(2, 5, 3))
    weight = rng.uniform(size=5)
    there = torch.from_numpy(predicted).requires_grad_()
    cost = (torch.from_numpy(weight) * (there - torch.from_numpy(target)).pow(2).sum(1)).mean()
    close(di.loss(predicted, target, weight), cost)
    (slope,) = torch.autograd.grad(cost, there)
    close(di.loss_gradient(predicted, target, weight), slope)


@pytest.fixture
def page():
    torch.manual_seed(1)
    space = {}
    exec(shown("diffusion"), space)
    space["net"].double()
    return space


def classes(rng, n=7):
    return np.eye(10)[rng.integers(10, size=n)]


def test_the_loss_on_the_page(page, rng):
    x0, eps, u, y = *rng.normal(size=(2, 7, 64)), rng.uniform(size=7), classes(rng)
    cost = page["loss"](*map(torch.from_numpy, (x0, y, u, eps)))
    levels = di.cosine(u)
    x, v = di.forward(x0, eps, *levels), di.v_target(x0, eps, *levels)
    told = np.hstack((x, di.time_features(u, 4), y))
    guess = page["net"](torch.from_numpy(told)).detach().numpy()
    close(cost.detach(), di.loss(guess, v, np.ones(7)) / 64)


def test_the_step_on_the_page(page, rng):
    x0, y = torch.from_numpy(rng.normal(size=(32, 64))), torch.from_numpy(classes(rng, 32))
    losses = [float(page["step"](x0, y).detach()) for _ in range(60)]
    assert np.mean(losses[-10:]) < np.mean(losses[:10])


@pytest.mark.parametrize("w", [0.0, 1.5])
def test_the_sampler_on_the_page(page, rng, w):
    """Each of its turns is a step of ours."""
    x, y = rng.normal(size=(7, 64)), classes(rng)
    found = page["sample"](torch.from_numpy(x), torch.from_numpy(y), 3, w)
    angles = np.linspace(np.pi / 2, 0, 4)
    for a, b in itertools.pairwise(angles):
        waves = di.time_features(np.full(7, a * 2 / np.pi), 4)
        given, free = (
            page["net"](torch.from_numpy(np.hstack((x, waves, told)))).detach().numpy()
            for told in (y, 0 * y)
        )
        v = di.guided(given, free, w)
        levels = np.full(7, np.cos(a)), np.full(7, np.sin(a))
        x0, _ = di.from_v(x, v, *levels)
        x = di.ddim_step(x, x0, np.cos(a), np.sin(a), np.cos(b), np.sin(b))
    close(found, x)
