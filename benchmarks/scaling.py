"""Runs of `scaling` that are too long for a page: larger batches at larger rates, and at their best.

All learn from the same digits, as many as a batch of each size divides. Losses are those of all of
these digits at once.
"""

from itertools import product

import numpy as np
from numpy.random import default_rng as generator

from dlbook.nets import MLP, Diverged, fit
from dlbook.optimization import SGD
from dlbook.tools import data
from dlbook.tools.flat import like

__all__ = ["scaling_batch", "scaling_rule"]

SEEDS, CHOOSING = range(5), (100, 101, 102)
DIGITS, SMALL, RATE = 1152, 8, 0.05
NETS = {
    "softmax regression": {"sizes": (64, 10), "initial": "zero"},
    "network": {"sizes": (64, 32, 10)},
}
FACTORS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 36, 48, 72, 144)
RATES = (RATE / 2, RATE, 2 * RATE)
EPOCHS, SEEN, WARM = 16, (2, 4, 8, 16), 4
BATCHES = (4, 8, 16, 32, 64, 128, 256, 512)
TARGETS = 0.3, 0.1  # training losses
MOST = 24_000  # examples that a run may take to them; it may take a sixtieth as many steps more


def digits():
    """Return the digits that all runs learn from."""
    d = data.digits(np.float32)
    return d.x_train[:DIGITS], d.y_train[:DIGITS]


def rate_of(rule, rate, factor):
    """Return the rate of a batch that is larger by a factor."""
    if rule == "warm-up":
        warm = WARM * DIGITS // (SMALL * factor)
        return lambda step: rate * (1 + (factor - 1) * min(1, step / warm))
    return rate * {"linear": factor, "root": factor**0.5, "same": 1}[rule]


def followed(kind, rule, rate, factor, seed):
    """Return the training loss after some of the epochs, None where a run ends in no number.

    All factors begin with the same weights and see the examples in the same order.
    """
    net, (x, y) = MLP(**NETS[kind]), digits()
    params, sgd = net.init(generator(seed)), SGD(rate_of(rule, rate, factor))
    how = {"epochs": EPOCHS, "batch": SMALL * factor, "validation": (x, y)}
    try:
        out = fit(net, params, (x, y), sgd, generator(1000 + seed), **how)
    except Diverged:
        return [None] * len(SEEN)
    return [round(float(out.history.validation[epoch - 1]), 4) for epoch in SEEN]


def scaling_rule(spread):
    """Scale the rate with the batch, or otherwise, from three rates."""
    ways = [("linear", rate) for rate in RATES]
    ways += [(rule, RATE) for rule in ("same", "root", "warm-up")]
    jobs = [
        (kind, *way, factor, seed)
        for kind in NETS
        for way in ways
        for factor in FACTORS
        for seed in SEEDS
    ]
    at = dict(zip(jobs, spread(followed, *zip(*jobs, strict=True)), strict=True))
    table = lambda kind, rule, rate: [
        [at[kind, rule, rate, factor, seed] for seed in SEEDS] for factor in FACTORS
    ]
    return {
        "digits": DIGITS,
        "batch": SMALL,
        "rate": RATE,
        "rates": RATES,
        "factors": FACTORS,
        "epochs": SEEN,
        "warm epochs": WARM,
        "seeds": [*SEEDS],
        "linear": {kind: [table(kind, "linear", rate) for rate in RATES] for kind in NETS},
        **{
            rule: {kind: table(kind, rule, RATE) for kind in NETS}
            for rule in ("same", "root", "warm-up")
        },
    }


def reached(kind, batch, rate, seed):
    """Return after how many steps the training loss is first at each target, infinity if it isn't.

    Examples are drawn with replacement. The loss is looked at after every step, or after every 32
    examples where that is more.
    """
    net, (x, y), draw = MLP(**NETS[kind]), digits(), generator(seed)
    params, work, targets = net.init(draw), net.workspace(batch), [*TARGETS]
    whole, grads, sgd, found = net.check(params, (x, y)), like(params), SGD(rate), []
    slots = sgd.start(params.flat)
    for step in range(1, MOST // batch + MOST // 60 + 1):
        some = draw.integers(DIGITS, size=batch)
        net.loss_and_grad(params, None, tuple(part[some] for part in whole), grads, work)
        sgd.update(params.flat, grads.flat, slots, step)
        if step % max(1, 32 // batch):
            continue
        loss = net.loss(params, None, whole)
        while targets and loss <= targets[0]:
            found.append(step)
            del targets[0]
        if not (targets and np.isfinite(loss)):
            break
    return found + [np.inf] * len(targets)


def chosen(kind, target, batch, guess, at, spread):
    """Return the best rate for a target and a batch, k of √2^k, and add what was tried to `at`.

    Rates on both sides of the best are tried, two each.
    """
    more = range(guess - 1, guess + 4)
    while more := [k for k in more if (kind, batch, k) not in at]:
        jobs = [(kind, batch, 2 ** (k / 2), seed) for k in more for seed in CHOOSING]
        runs = np.array([*spread(reached, *zip(*jobs, strict=True))])
        means = runs.reshape(len(more), len(CHOOSING), -1).mean(axis=1)
        at |= {(kind, batch, k): mean for k, mean in zip(more, means, strict=True)}
        known = {k: v[target] for (a, b, k), v in at.items() if (a, b) == (kind, batch)}
        best = min(known, key=known.get)
        more = range(best - 2, best + 3)
    known = {k: v[target] for (a, b, k), v in at.items() if (a, b) == (kind, batch)}
    return min(known, key=known.get)


def scaling_batch(spread):
    """Learn to two losses with batches of many sizes, each at its own best rate."""
    at, best, steps = {}, {}, {}
    for kind, target in product(NETS, range(len(TARGETS))):
        row, k = [], -4
        for batch in BATCHES:
            k = chosen(kind, target, batch, k, at, spread)
            row.append(k)
        jobs = [
            (kind, batch, 2 ** (k / 2), seed)
            for batch, k in zip(BATCHES, row, strict=True)
            for seed in SEEDS
        ]
        runs = np.array([*spread(reached, *zip(*jobs, strict=True))])[:, target]
        best.setdefault(kind, []).append([round(2 ** (k / 2), 4) for k in row])
        steps.setdefault(kind, []).append(runs.reshape(len(BATCHES), -1).tolist())
    tried = {
        kind: [
            [
                [
                    round(2 ** (k / 2), 4),
                    *(round(v, 1) if v < np.inf else None for v in at[a, b, k]),
                ]
                for a, b, k in sorted(at)
                if (a, b) == (kind, batch)
            ]
            for batch in BATCHES
        ]
        for kind in NETS
    }
    return {
        "digits": DIGITS,
        "batches": BATCHES,
        "targets": TARGETS,
        "seeds": [*SEEDS],
        "others": CHOOSING,
        "tried": tried,
        "best": best,
        "steps": steps,
    }
