"""Runs of `variational` that are too long for a page: more seeds, each network at its own rate."""

import importlib
from itertools import product

import numpy as np
from numpy.random import default_rng as generator

from dlbook.nets import VAE, fit
from dlbook.optimization import Adam, WarmupCosine
from dlbook.tools import data
from dlbook.tools.judges import judge

__all__ = ["variational_digits"]

SEEDS, CHOOSING = range(10), (100, 101)
RATES = (0.001, 0.002, 0.004, 0.008, 0.016, 0.032)
BETAS = (0.25, 0.5, 1, 2, 4)
DEEP, SHALLOW, BATCH, EPOCHS, SAMPLES = (
    (64, 128, 128, 8),
    ((64, 128, 2), (64, 128, 8)),
    64,
    150,
    500,
)
SOURCES = ("N(0, I)", "Gaussian", "mixture")  # of the codes that are decoded
MEASURES = ("agree", "recognised", "to train", "to held out", "mmd2", "p")


def learned(sizes, beta, rate, seed, epochs=EPOCHS):
    """Return a network, trained; without β an autoencoder with the same first weights."""
    d = data.digits(np.float32)
    net = VAE(sizes, beta=beta or 0.0)
    start = net.init(generator(seed))
    if beta is None:
        net, start = net.plain(start)
    adam = Adam(WarmupCosine(rate, 100, epochs * -(-len(d.x_train) // BATCH)))
    settings = {"epochs": epochs, "batch": BATCH}
    return net, fit(net, start, (d.x_train,), adam, generator([seed, 1]), **settings).params


def drawn(source, codes, rng):
    """Return codes like the given ones, by one of three distributions."""
    n, (_, width) = SAMPLES, codes.shape
    if source == "N(0, I)":
        return rng.standard_normal((n, width))
    if source == "Gaussian":
        return rng.multivariate_normal(codes.mean(axis=0), np.cov(codes.T), n)
    mixed = importlib.import_module("sklearn.mixture").GaussianMixture
    few = mixed(10, reg_covar=1e-4, max_iter=50, tol=1e-2, random_state=int(rng.integers(1000)))
    return few.fit(codes).sample(n)[0]


def measured(what, rate, seed):
    """Return the cost on the validation digits alone, or what is measured of held-out and drawn ones."""
    sizes, beta, sources = what
    net, params = learned(sizes, beta, rate, seed)
    d = data.digits(np.float32)
    if seed in CHOOSING:
        return [net.loss(params, None, net.check(params, (d.x_val,)))]
    if beta is None:
        codes = net.encode(params, d.x_train)
        found = [net.loss(params, None, net.check(params, (d.x_test,)))]
    else:
        codes, held = net.encode(params, d.x_train)[0], net.encode(params, d.x_test)[0]
        bound = net.elbo(params, d.x_test, generator(seed), 10)
        active = int(np.sum(held.var(axis=0) > 0.01))
        found = [float(bound.distortion.mean()), float(bound.rate.mean()), active]
    rows = []
    for source in sources:
        z = drawn(source, codes.astype(float), generator([seed, 2]))
        j = judge(net.decode(params, z), seed)
        rows.append([round(float(v), 4) for v in (*j[:4], *j.two_sample)])
    return [[round(v, 3) for v in found], rows]


def variational_digits(spread):
    """Train variational autoencoders with each β, plain ones beside them, and judge what they draw."""
    runs = {f"beta {beta:g}": (DEEP, beta, SOURCES[: 3 if beta == 0.5 else 1]) for beta in BETAS}
    runs["plain"] = (DEEP, None, SOURCES)
    for sizes in SHALLOW:
        runs[f"shallow {sizes[-1]}"] = (sizes, 1, SOURCES[:1])
        runs[f"shallow plain {sizes[-1]}"] = (sizes, None, SOURCES[1:2])
    jobs = [*product(runs.values(), RATES, CHOOSING)]
    tried = [found[0] for found in spread(measured, *zip(*jobs, strict=True))]
    scores = np.reshape(tried, (len(runs), len(RATES), len(CHOOSING))).mean(axis=2)
    best = [RATES[k] for k in scores.argmin(axis=1)]
    of = zip(runs.values(), best, strict=True)
    shown = [(what, rate, seed) for what, rate in of for seed in SEEDS]
    found = iter([*spread(measured, *zip(*shown, strict=True))])
    found = {name: [next(found) for _ in SEEDS] for name in runs}
    return {
        "rates": RATES,
        "others": CHOOSING,
        "seeds": [*SEEDS],
        "epochs": EPOCHS,
        "samples": SAMPLES,
        "betas": BETAS,
        "measures": MEASURES,
        "sources": {name: what[2] for name, what in runs.items()},
        "chosen by": {
            name: [round(float(v), 3) for v in row] for name, row in zip(runs, scores, strict=True)
        },
        "best": dict(zip(runs, best, strict=True)),
        "bound": {name: [run[0] for run in rows] for name, rows in found.items()},
        "judged": {name: [run[1] for run in rows] for name, rows in found.items()},
    }
