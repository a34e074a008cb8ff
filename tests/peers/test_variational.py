"""Variational autoencoders against PyTorch: densities, divergences, gradients, and the page's step."""

import math

import numpy as np
import pytest
import torch
from shown import shown
from torch import distributions

from dlbook import variational as va
from dlbook.autoencoders import bernoulli_nll_gradient
from dlbook.neurons import affine, relu
from dlbook.verification import relative_error


def close(actual, expected, rtol=1e-11):
    expected = expected.detach().numpy() if isinstance(expected, torch.Tensor) else expected
    assert relative_error(np.asarray(actual), expected) < rtol


def leaf(array):
    return torch.from_numpy(np.array(array)).requires_grad_()


def code(rng, n=5, c=3):
    return rng.normal(size=(n, c)), 0.5 * rng.normal(size=(n, c))


def test_evidence_and_posterior(rng):
    x, W, b = rng.normal(size=(4, 5)), rng.normal(size=(5, 3)), rng.normal(size=5)
    tensors = [torch.from_numpy(part) for part in (b, W, np.full(5, 0.3))]
    expected = distributions.LowRankMultivariateNormal(*tensors).log_prob(torch.from_numpy(x))
    close(va.evidence(x, W, b, 0.3), expected)
    m, s = code(rng, 4)
    mu, P = va.posterior(x, W, b, 0.3)
    q = distributions.MultivariateNormal(
        torch.from_numpy(m), torch.diag_embed(torch.from_numpy(np.exp(2 * s)))
    )
    exact = distributions.MultivariateNormal(
        torch.from_numpy(mu), precision_matrix=torch.from_numpy(P)
    )
    close(va.elbo_gap(m, s, mu, P), distributions.kl_divergence(q, exact), 1e-10)


def test_rate_and_its_gradient(rng):
    m, s = map(leaf, code(rng))
    q = distributions.Normal(m, s.exp())
    kl = distributions.kl_divergence(q, distributions.Normal(0.0, 1.0)).sum(dim=1)
    arrays = m.detach().numpy(), s.detach().numpy()
    close(va.gaussian_kl(*arrays), kl)
    slopes = torch.autograd.grad(kl.sum(), (m, s))
    for found, expected in zip(va.gaussian_kl_gradient(*arrays), slopes, strict=True):
        close(found, expected)


def test_a_draw_and_its_gradient(rng):
    (m, s), eps = map(leaf, code(rng)), rng.normal(size=(5, 3))
    z = m + s.exp() * torch.from_numpy(eps)
    pull = rng.normal(size=(5, 3))
    slopes = torch.autograd.grad(z, (m, s), torch.from_numpy(pull))
    s = s.detach().numpy()
    close(va.reparameterize(m.detach().numpy(), s, eps), z)
    for found, expected in zip(va.reparameterize_gradient(pull, s, eps), slopes, strict=True):
        close(found, expected)


def test_score_function(rng):
    m, s = leaf(rng.normal(size=3)), leaf(0.5 * rng.normal(size=3))
    z, f = torch.from_numpy(rng.normal(size=(4, 3))), torch.from_numpy(rng.normal(size=4))
    found = va.score_function(f.numpy(), z.numpy(), m.detach().numpy(), s.detach().numpy(), 0.3)
    for k in range(4):
        cost = (f[k] - 0.3) * distributions.Normal(m, s.exp()).log_prob(z[k]).sum()
        for ours, expected in zip(found, torch.autograd.grad(cost, (m, s)), strict=True):
            close(ours[k], expected)


def test_importance_weights(rng):
    (m, s), eps = code(rng, 4), rng.normal(size=(4, 6, 3))
    log_px = rng.normal(size=(4, 6))
    z = m[:, None] + np.exp(s)[:, None] * eps
    there = torch.from_numpy(z)
    q = distributions.Normal(torch.from_numpy(m[:, None]), torch.from_numpy(np.exp(s)[:, None]))
    expected = torch.from_numpy(log_px) + distributions.Normal(0.0, 1.0).log_prob(there).sum(2)
    expected -= q.log_prob(there).sum(2)
    log_w = va.log_weights(log_px, s, eps, z)
    close(log_w, expected)
    close(va.iwae(log_w), torch.logsumexp(expected, dim=1) - math.log(6))


@pytest.fixture
def page():
    torch.manual_seed(1)
    space = {}
    exec(shown("variational"), space)
    for part in ("encoder", "decoder"):
        space[part].double()
    return space


def test_the_bound_on_the_page_and_its_gradients(page, rng):
    x, eps = rng.random((7, 64)), rng.normal(size=(7, 8))
    page["optimizer"].zero_grad()
    bound = page["bound"](torch.from_numpy(x), torch.from_numpy(eps), 0.5)
    (-bound).backward()
    into, narrow = page["encoder"][0], page["encoder"][2]
    out, last = page["decoder"][0], page["decoder"][2]
    w = {k: [p.detach().numpy() for p in layer.parameters()] for k, layer in
         {"into": into, "narrow": narrow, "out": out, "last": last}.items()}  # fmt: skip
    h = relu(affine(x, *w["into"]))
    both = affine(h, *w["narrow"])
    m, s = both[:, :8].copy(), both[:, 8:].copy()
    z = va.reparameterize(m, s, eps)
    g = relu(affine(z, *w["out"]))
    a = affine(g, *w["last"])
    close(va.elbo(a, x, m, s, 0.5), bound)
    da = bernoulli_nll_gradient(a, x)
    dg = (da @ w["last"][0]) * (g > 0)
    dm, ds = va.vae_gradients(dg @ w["out"][0], m, s, eps, 0.5)
    d_both = np.hstack((dm, ds))
    dh = (d_both @ w["narrow"][0]) * (h > 0)
    found = {last: da.T @ g, out: dg.T @ z, narrow: d_both.T @ h, into: dh.T @ x}
    for layer, slope in found.items():
        close(slope, layer.weight.grad, 1e-10)


def test_the_step_on_the_page(page, rng):
    x = torch.from_numpy(rng.random((32, 64)))
    losses = [float(page["step"](x, 0.5).detach()) for _ in range(60)]
    assert np.mean(losses[-10:]) < np.mean(losses[:10])
