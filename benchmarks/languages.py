"""Runs of `language_models` that are too long for a page: windows of several sizes beside counts."""

import importlib
from functools import cache

import numpy as np
from numpy.random import default_rng as generator

from dlbook.language_models import NGram, best_mixture, mixture_bits, windows
from dlbook.linear_classification import softmax
from dlbook.nets import Activation, Dense, Embedding, Network, Reshape, Sequential
from dlbook.nets import SoftmaxCrossEntropy as CrossEntropy
from dlbook.optimization import Adam, WarmupCosine
from dlbook.tools.flat import like

__all__ = ["language_models_window"]

SEEDS, CHOOSING = range(5), 100
RATES = (0.005, 0.01, 0.02, 0.04, 0.08, 0.16)
SIZES = ((5, 6, 17), (7, 12, 86), (9, 16, 211), (11, 24, 319))  # order, vector, hidden units
BATCH, STEPS, LONGER = 256, 4000, 3
ORDERS = range(2, 9)  # of the counts that a window is mixed with
FIRST = max(ORDERS[-1], SIZES[-1][0]) - 1  # what is judged has as many symbols before it


def window_network(V, size):
    """Return a network whose window is `size`: the order, numbers of a vector, hidden units."""
    n, E, J = size
    layers = Embedding(V, E), Reshape((n - 1) * E), Dense(J), Activation("tanh"), Dense(V)
    return Network((n - 1,), Sequential(*layers), CrossEntropy(), symbols=V)


def learned(net, ids, rate, seed, steps=STEPS):
    """Return the parameters after so many steps, each with places drawn anew."""
    draw, (x, y) = generator(seed), windows(ids, net.input[0] + 1)
    params, work = net.init(draw), net.workspace(BATCH)
    adam, grads = Adam(WarmupCosine(rate, 100, steps)), like(params)
    slots = adam.start(params.flat)
    for step in range(1, steps + 1):
        at = draw.integers(len(y), size=BATCH)
        net.loss_and_grad(params, None, (x[at], y[at]), grads, work)
        adam.update(params.flat, grads.flat, slots, step)
    return params


def expected(net, params, ids):
    """Return the probability of each symbol of a text from FIRST on."""
    x, y = windows(ids[FIRST - net.input[0] :], net.input[0] + 1)
    return softmax(net.outputs(params, None, x).astype(float))[np.arange(len(y)), y]


@cache
def parts(last):
    """Return how many symbols there are, the text that is seen and the one that is judged.

    Either the first part and the second, or both and what is held out; and what counts of each
    order expect of the judged one.
    """
    alphabet, train, choose, held = importlib.import_module("benchmarks.sweeps").texts()
    seen, text = (np.append(train, choose), held) if last else (train, choose)
    V = len(alphabet)
    counts = [NGram(n).fit(seen, V).probabilities(text)[FIRST:] for n in ORDERS]
    return V, seen, text, counts


def measured(size, rate, seed, weights, steps=STEPS):
    """Return bits of a window, and mixed with counts of each order.

    Without weights they are found on the second part of the text, and returned in place of bits.
    """
    V, seen, text, counts = parts(weights is not None)
    net = window_network(V, size)
    p = expected(net, learned(net, seen, rate, seed, steps), text)
    if weights is None:
        found = [best_mixture(np.stack((p, q)), steps=60)[0] for q in counts]
    else:
        pairs = zip(weights, counts, strict=True)
        found = [mixture_bits(np.array([w, 1 - w]), np.stack((p, q))) for w, q in pairs]
    return [round(float(v), 4) for v in (-np.log2(p).mean(), *found)]


def language_models_window(spread):
    """Each window at each rate with one seed; at the best of them with all seeds, some for longer."""
    pairs = [(size, rate) for size in SIZES for rate in RATES]
    tried = [*spread(measured, *zip(*((*pair, CHOOSING, None) for pair in pairs), strict=True))]
    at = dict(zip(pairs, tried, strict=True))
    best = [min(RATES, key=lambda rate: at[size, rate][0]) for size in SIZES]
    weights = [at[pair][1:] for pair in zip(SIZES, best, strict=True)]
    given = [*zip(SIZES, best, weights, strict=True)]
    jobs = [(size, rate, seed, w, STEPS) for size, rate, w in given for seed in SEEDS]
    some = [(size, rate, seed, w, LONGER * STEPS) for size, rate, w in given[2:] for seed in (0, 1)]
    runs = [*spread(measured, *zip(*jobs, *some, strict=True))]
    by = [runs[k : k + len(SEEDS)] for k in range(0, len(jobs), len(SEEDS))]
    return {
        "sizes": SIZES,
        "rates": RATES,
        "seeds": [*SEEDS],
        "other": CHOOSING,
        "batch": BATCH,
        "steps": STEPS,
        "longer": LONGER,
        "orders": [*ORDERS],
        "chosen by": [[at[size, rate][0] for rate in RATES] for size in SIZES],
        "best": best,
        "weights": weights,
        "held out": [[run[0] for run in rows] for rows in by],
        "mixed": [[run[1:] for run in rows] for rows in by],
        "after longer": [[run[0] for run in runs[len(jobs) :][k : k + 2]] for k in (0, 2)],
    }
