"""Sweep of the page *Diffusion*: bits per dimension of held-out digits, of all models that have them."""

from itertools import pairwise, product

import numpy as np
from numpy.random import default_rng as generator
from scipy import stats

from benchmarks.diffusing import BATCH, CHOOSING, MODELS, SEEDS, SIZES, digits, rounded
from dlbook.diffusion import elbo_weights, heun_step
from dlbook.nets import VAE, Denoiser, Diverged, fit
from dlbook.optimization import Adam, WarmupCosine
from dlbook.variational import bits_per_dimension, gaussian_kl, iwae

__all__ = ["diffusion_bits"]

RATES = {
    "variational": (0.002, 0.004, 0.008),
    "diffusion": (0.008, 0.016, 0.032),
    "flow": (0.008, 0.016, 0.032, 0.064),
}
CODES, ROUNDS, WARM, DRAWS = (8, 16), 8, 50, 256
LEVELS, FEWER, TIMES = 2048, 256, 100
FINEST, COARSEST = 7.0, -9.0  # logarithm of the ratio of signal to noise, at the ends of the bound


def grained(x, rng):
    """Return digits with uniform noise between their levels, between 0 and 1."""
    return ((np.rint(16 * x) + rng.random(x.shape)) / 17).astype(np.float32)


def stream(count, rng, mixed=False):
    """Return so many training digits, drawn with replacement, each with noise of its own."""
    x = digits()[0]
    some = x[rng.integers(len(x), size=count)]
    return grained(shuffled(some, rng) if mixed else some, rng)


def shuffled(x, rng):
    """Return images whose pixels know nothing of one another: each is shuffled among the images."""
    return rng.permuted(x, axis=0)


def held(name, mixed=False):
    """Return digits that no model has learned from, with noise of a fixed seed."""
    rng, x = generator(17), digits(name)[0]
    return grained(shuffled(x, rng) if mixed else x, rng)


def bits(log_p):
    """Return the mean bits per dimension."""
    return float(bits_per_dimension(np.asarray(log_p, float), 64, 17).mean())


# A Gaussian


def gaussians(seed, mixed):
    """Return bits of a Gaussian with its covariance, and with variances alone."""
    x, unseen = stream(50_000, generator(seed), mixed).astype(float), held("test", mixed)
    cov = np.cov(x.T)
    return [
        bits(stats.multivariate_normal(x.mean(axis=0), some).logpdf(unseen))
        for some in (cov, np.diag(np.diag(cov)))
    ]


# A variational autoencoder


def coder(seed, rate, code, mixed=False):
    """Return a network and the deviation of each pixel's noise, by turns: one fixed, the other fitted."""
    rng, each = generator(seed), MODELS["variational"] // ROUNDS
    net = VAE((*SIZES[:-1], code), likelihood="gaussian")
    params, spread = net.init(rng), np.ones(64, np.float32)
    fitted = stream(5000, rng, mixed)
    tau = fitted.std(axis=0) / 2  # from above most codes would fall silent
    for _ in range(ROUNDS):
        scaled = spread / tau
        params.w[2][:] /= scaled
        params.w[-1][:] *= scaled[:, None]
        params.b[-1][:] *= scaled
        spread = tau
        adam = Adam(WarmupCosine(rate, WARM, each))
        x = stream(64 * each, rng, mixed) / tau
        params = fit(net, params, (x,), adam, rng, epochs=1, batch=64).params
        m, s = net.encode(params, fitted / tau)
        z = m + np.exp(s) * rng.standard_normal(m.shape)
        missed = net.decode(params, z) * tau - fitted
        tau = np.sqrt(np.mean(missed**2, axis=0))
    return net, params, spread


def coder_bits(model, x, draws=DRAWS):
    """Return bits by the bound of one draw, and by that of many."""
    net, params, tau = model
    log_w = net.log_weights(params, x / tau, generator(0), draws)
    fixed = np.sum(np.log(tau.astype(float))) + 32 * np.log(2 * np.pi)
    return bits(log_w.mean(axis=1) - fixed), bits(iwae(log_w) - fixed)


# Networks that denoise


def denoiser(kind, seed, rate, mixed=False):
    """Return a network as that of the table, which learns from digits between −1 and 1."""
    rng, steps = generator(seed), MODELS[kind]
    net = Denoiser(SIZES, target="velocity" if kind == "flow" else "v")
    x = 2 * stream(BATCH * steps, rng, mixed) - 1
    adam = Adam(WarmupCosine(rate, 100, steps), 0.9, 0.99)
    return net, fit(net, net.init(rng), (x,), adam, rng, epochs=1, batch=BATCH).params


def bound(model, x, levels=LEVELS):
    """Return bits by the bound of a chain whose log-ratios of signal to noise are even."""
    (net, params), x0, rng = model, 2.0 * x.astype(float) - 1, generator(0)
    angles = np.arctan(np.exp(-np.linspace(FINEST, COARSEST, levels) / 2))
    alpha, sigma = np.cos(angles), np.sin(angles)
    weights = [0.0, *elbo_weights(alpha, sigma)]
    cost = gaussian_kl(alpha[-1] * x0, np.full_like(x0, np.log(sigma[-1])))
    for a, s, phi, weight in zip(alpha, sigma, angles, weights, strict=True):
        eps = rng.standard_normal(x0.shape)
        image, noise = net.denoise(params, a * x0 + s * eps, 2 / np.pi * phi)
        cost += weight * np.sum((noise - eps) ** 2, axis=1)
        if not weight:  # the last step, a normal distribution around the predicted image
            off = (image - x0) / (s / a)
            cost += np.sum(off**2, axis=1) / 2 + 64 * np.log(2 * np.pi * (s / a) ** 2) / 2
    return bits(64 * np.log(2) - cost)


def slopes(params, into):
    """Return what two hidden layers of SiLU and a last one give, and the trace of its Jacobian.

    The Jacobian is W₄ S₃ W₃ S₂ W₂ with diagonal S, and its trace Σ_ij s₃_i W₃_ij s₂_j (W₂ W₄)_ji,
    where W₂ are the columns of the pixels.
    """
    (w2, w3, w4), b = (w.astype(float) for w in params.w[2:]), params.b[2:]
    h, slope = into, []
    for w, bias in zip((w2, w3), b, strict=False):
        z = h @ w.T + bias
        gate = 1 / (1 + np.exp(-z))
        h = z * gate
        slope.append(gate * (1 + z * (1 - gate)))
    both = w3 * (w2[:, :64] @ w4).T
    return h @ w4.T + b[-1], np.sum(slope[1] @ both * slope[0], axis=1)


def along(model, x, times=TIMES):
    """Return bits by the change of variables along the flow, in Heun's steps from data to noise."""
    net, params = model
    at, change = 2.0 * x.astype(float) - 1, np.zeros(len(x))
    factor = 1.0 if net.target == "velocity" else np.pi / 2
    clock = np.linspace(0, 1, times + 1)

    def asked(x, u):
        angles = np.pi / 2 * u * 2.0 ** np.arange(net.waves)
        waves = np.broadcast_to(np.hstack((np.sin(angles), np.cos(angles))), (len(x), 8))
        slope, trace = slopes(params, np.hstack((x, waves)))
        return factor * np.hstack((slope, -trace[:, None]))

    state = np.hstack((at, change[:, None]))
    for u, to in pairwise(clock):
        here = asked(state[:, :64], u)
        there = asked(state[:, :64] + (to - u) * here[:, :64], to)
        state = heun_step(state, here, there, to - u)
    log_p = stats.norm.logpdf(state[:, :64]).sum(axis=1) - state[:, 64]
    return bits(64 * np.log(2) + log_p)


# All of them


def scored(kind, rate, code, seed):
    """Return validation bits that a setting is chosen by, or those of the held-out digits."""
    choosing, unseen = seed in CHOOSING, held("val" if seed in CHOOSING else "test")
    try:
        if kind == "variational":
            found = coder_bits(coder(seed, rate, code), unseen)
            return found[1] if choosing else list(found)
        model = denoiser(kind, seed, rate)
    except Diverged:
        if choosing:
            return 99.0
        raise
    if kind == "flow":
        times = (TIMES,) if choosing else (TIMES, 2 * TIMES)
        found = [along(model, unseen, n) for n in times]
    elif choosing:
        found = [bound(model, unseen, FEWER)]
    else:
        counts, times = (LEVELS // 4, LEVELS), (TIMES, 2 * TIMES)
        found = [bound(model, unseen, n) for n in counts] + [along(model, unseen, n) for n in times]
    return min(found[0], 99.0) if choosing else found  # a path may leave all bounds


def diffusion_bits(spread):
    """Bits per dimension of the same held-out digits, with noise between their levels."""
    kinds = {"variational": CODES, "diffusion": (0,), "flow": (0,)}
    grid = [(kind, *one) for kind in kinds for one in product(RATES[kind], kinds[kind])]
    jobs = [(*one, seed) for one in grid for seed in CHOOSING]
    tried = np.reshape([*spread(scored, *zip(*jobs, strict=True))], (len(grid), -1)).mean(axis=1)
    best = {
        kind: min(zip(tried, grid, strict=True), key=lambda k: (k[1][0] != kind, k[0]))[1]
        for kind in kinds
    }
    jobs = [(*best[kind], seed) for seed in SEEDS for kind in kinds]
    runs = iter([*spread(scored, *zip(*jobs, strict=True))])
    found = {kind: [] for kind in kinds}
    for _ in SEEDS:
        for kind in kinds:
            found[kind].append(rounded(next(runs)))
    plain = [[*spread(gaussians, SEEDS, [mixed] * len(SEEDS))] for mixed in (False, True)]
    return {
        "seeds": [*SEEDS],
        "others": CHOOSING,
        "rates": RATES,
        "codes": CODES,
        "draws": DRAWS,
        "rounds": ROUNDS,
        "steps": {kind: MODELS[kind] for kind in kinds},
        "levels": [LEVELS // 4, LEVELS],
        "times": [TIMES, 2 * TIMES],
        "ratios": [FINEST, COARSEST],
        "chosen by": [[*one, round(float(v), 4)] for one, v in zip(grid, tried, strict=True)],
        "best": {kind: list(one[1:]) for kind, one in best.items()},
        "bits": found | {"Gaussian in pixels": rounded(plain[0])},
        "shuffled": rounded(plain[1]),
    }
