"""Sweeps of the page *Generative adversarial networks*."""

from itertools import product

import numpy as np

from dlbook.gan import frechet_distance
from dlbook.nets import GAN, Diverged, play
from dlbook.optimization import Adam
from dlbook.tools import data
from dlbook.tools.judges import judge, pixel_gaussian
from dlbook.tools.modes import ring, ring_judged

SEEDS, OTHERS = range(10), (100, 101)
RING_RATES, COMMON = (0.0005, 0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064), 0.001
DIGIT_RATES = (0.0005, 0.001, 0.002, 0.004, 0.008, 0.016)
RINGS = {  # loss, penalty, its strength, the discriminator's rate over the generator's
    "minimax, balanced": ("saturating", None, 0.0, 1.0),
    "minimax, lagging": ("saturating", None, 0.0, 0.1),
    "non-saturating, balanced": ("non-saturating", None, 0.0, 1.0),
    "non-saturating, lagging": ("non-saturating", None, 0.0, 0.1),
    "lagging, R1 of 0.1": ("non-saturating", "r1", 0.1, 0.1),
    "lagging, R1 of 1": ("non-saturating", "r1", 1.0, 0.1),
    "lagging, gradient penalty": ("non-saturating", "gradient", 1.0, 0.1),
    "Wasserstein, slow critic": ("wasserstein", "gradient", 1.0, 0.1),
    "Wasserstein, fast critic": ("wasserstein", "gradient", 1.0, 4.0),
}
DIGITS = {"without": (None, 0.0), "R1": ("r1", 0.3)}


def ringed(kind, rate, seed, steps=2500):
    """Play on the ring; return modes reached and share of good points among 2,000."""
    loss, penalty, gamma, ratio = RINGS[kind]
    net = GAN((2, 64, 64, 2), (2, 64, 64, 1), loss, penalty, gamma, "linear")
    rng = np.random.default_rng(seed)
    adams = Adam(rate, 0.5, 0.9), Adam(rate * ratio, 0.5, 0.9)
    try:
        out = play(net, net.init(rng), ring(20_000, rng), adams, rng, steps=steps, batch=128)
    except Diverged:
        return 0, 0.0
    found, good = ring_judged(net.sample(out.players, 2000, rng))
    return found, round(good, 4)


def gan_ring(spread):
    """Nine games on the ring, at one rate of the generator and each at its best one."""
    pairs = [*product(RINGS, RING_RATES)]
    jobs = [(*pair, seed) for pair in pairs for seed in OTHERS]
    tried = iter([*spread(ringed, *zip(*jobs, strict=True))])
    both = lambda found: found[0] / 8 + found[1]
    score = {pair: float(np.mean([both(next(tried)) for _ in OTHERS])) for pair in pairs}
    best = {kind: max(RING_RATES, key=lambda r: score[kind, r]) for kind in RINGS}
    jobs = [(kind, best[kind], seed) for kind in RINGS for seed in SEEDS]
    runs = iter([*spread(ringed, *zip(*jobs, strict=True))])
    found = {kind: [next(runs) for _ in SEEDS] for kind in RINGS}
    jobs = [(kind, COMMON, seed) for kind in RINGS for seed in SEEDS]
    runs = iter([*spread(ringed, *zip(*jobs, strict=True))])
    same = {kind: [next(runs) for _ in SEEDS] for kind in RINGS}
    return {
        "rates": RING_RATES,
        "common": COMMON,
        "others": OTHERS,
        "seeds": [*SEEDS],
        "chosen by": {kind: [round(score[kind, r], 3) for r in RING_RATES] for kind in RINGS},
        "best": best,
        "modes": {kind: [run[0] for run in runs] for kind, runs in found.items()},
        "good": {kind: [run[1] for run in runs] for kind, runs in found.items()},
        "common modes": {kind: [run[0] for run in runs] for kind, runs in same.items()},
        "common good": {kind: [run[1] for run in runs] for kind, runs in same.items()},
    }


SLOW = {  # game, rate of the generator, steps
    "lagging": ("non-saturating, lagging", COMMON, 2500),
    "lagging, longer": ("non-saturating, lagging", COMMON, 10_000),
    "both slow": ("non-saturating, balanced", COMMON / 10, 2500),
    "both slow, longer": ("non-saturating, balanced", COMMON / 10, 10_000),
}


def gan_slow(spread):
    """Is a discriminator bad because it lags, or because it is slow?"""
    jobs = [(kind, rate, seed, steps) for kind, rate, steps in SLOW.values() for seed in SEEDS]
    runs = iter([*spread(ringed, *zip(*jobs, strict=True))])
    found = {name: [next(runs) for _ in SEEDS] for name in SLOW}
    return {
        "seeds": [*SEEDS],
        "games": SLOW,
        "modes": {name: [run[0] for run in runs] for name, runs in found.items()},
        "good": {name: [run[1] for run in runs] for name, runs in found.items()},
    }


LONE, LOSSES, EVERY, LONGEST = (0, 25, 50, 100), ("saturating", "non-saturating"), 20, 1000


def released(loss, lone, seed, rate=0.001, batch=64):
    """Teach the discriminator alone, then let both play.

    Returns how far the generator's weights went in its first 20 steps, in units of the rate and for
    each weight; and the Fréchet distance of 500 samples to training digits, every 20 steps.
    """
    net = GAN((16, 128, 128, 64), (64, 128, 128, 1), loss)
    rng, x = np.random.default_rng(seed), data.digits(np.float32).x_train
    players, adam = net.init(rng), Adam(rate, 0.5, 0.9)
    grads, work, slots = net.like(), net.workspace(batch), adam.start(players.discriminator.flat)
    for t in range(lone):
        some, z = x[rng.integers(len(x), size=batch)], net._noise(batch, rng)
        net.discriminator_gradient(players, some, z, None, grads, work)
        adam.update(players.discriminator.flat, grads.discriminator.flat, slots, t + 1)
    first, z, found, moved = players.generator.flat.copy(), net._noise(500, rng), [], []

    def look(step, at):
        found.append(round(frechet_distance(x, net.generate(at, z)), 3))
        if step == EVERY:
            moved.append(float(np.sqrt(np.mean((at.generator.flat - first) ** 2))) / rate)

    play(
        net, players, x, (adam, adam), rng, steps=LONGEST, batch=batch, watch=look, every=EVERY
    )  # fmt: skip
    return round(moved[0], 3), found


def gan_released(spread):
    """Both losses, released after some steps of the discriminator alone."""
    jobs = [*product(LOSSES, LONE, SEEDS)]
    runs = iter([*spread(released, *zip(*jobs, strict=True))])
    found = {loss: {str(lone): [next(runs) for _ in SEEDS] for lone in LONE} for loss in LOSSES}
    pick = lambda i: {
        loss: {lone: [run[i] for run in rows] for lone, rows in of.items()}
        for loss, of in found.items()
    }
    return {"seeds": [*SEEDS], "lone": LONE, "every": EVERY, "moved": pick(0), "Fréchet": pick(1)}


def digits_played(kind, rate, seed, steps=2000):
    """Play on digits, rates falling in the second half; return net, outcome and generator."""
    penalty, gamma = DIGITS[kind]
    net = GAN((16, 128, 128, 64), (64, 128, 128, 1), penalty=penalty, gamma=gamma)
    rng, x = np.random.default_rng(seed), data.digits(np.float32).x_train
    adam = Adam(lambda step: rate * min(1.0, 2.0 - 2.0 * step / (steps + 1)), 0.5, 0.9)
    out = play(
        net, net.init(rng), x, (adam, adam), rng, steps=steps, batch=64, average=0.005
    )  # fmt: skip
    return net, out, rng


def digits_drawn(kind, rate, seed):
    """Judge 500 samples of the average."""
    net, out, rng = digits_played(kind, rate, seed)
    return measured(net.sample(out.average, 500, rng))


def digits_both(rate, seed):
    """Judge 500 samples of the average and, by the same noise, of the generator as it ended."""
    net, out, rng = digits_played("R1", rate, seed)
    z = rng.standard_normal((500, 16), dtype=np.float32)
    return [measured(net.generate(some, z)) for some in (out.average, out.players)]


def gan_averaged(spread, rate=0.008):
    """Digits with a penalty at real ones, drawn with the average of the weights and without."""
    runs = [*spread(digits_both, [rate] * len(SEEDS), SEEDS)]
    return {
        "seeds": [*SEEDS],
        "rate": rate,
        "runs": {
            kind: {name: [run[k][i] for run in runs] for i, name in enumerate(NAMES)}
            for k, kind in enumerate(("average", "last"))
        },
    }


NAMES = "agree", "recognised", "to train", "to held out", "mmd2", "classes", "Fréchet"


def measured(samples):
    """Return what is measured of samples; classes as the exponential of their entropy."""
    found, real = judge(samples), data.digits(np.float32).x_train
    share = found.classes[found.classes > 0] / found.classes.sum()
    classes = np.exp(-np.sum(share * np.log(share)))
    values = found.agree, found.recognised, found.to_train, found.to_held_out
    values = *values, found.two_sample[0], classes, frechet_distance(real, samples)
    return [round(float(v), 4) for v in values]


def gaussian_drawn(seed):
    """Judge 500 samples of a Gaussian in the space of pixels, cut off at 0 and 1."""
    return measured(np.clip(pixel_gaussian(500, np.random.default_rng(seed)), 0, 1))


def gan_digits(spread):
    """Digits with and without a penalty at real ones, each at the rate that is recognised most."""
    pairs = [*product(DIGITS, DIGIT_RATES)]
    jobs = [(*pair, seed) for pair in pairs for seed in OTHERS]
    tried = iter([*spread(digits_drawn, *zip(*jobs, strict=True))])
    score = {pair: float(np.mean([next(tried)[1] for _ in OTHERS])) for pair in pairs}
    best = {kind: max(DIGIT_RATES, key=lambda r: score[kind, r]) for kind in DIGITS}
    jobs = [(kind, best[kind], seed) for kind in DIGITS for seed in SEEDS]
    runs = iter([*spread(digits_drawn, *zip(*jobs, strict=True))])
    found = {kind: [next(runs) for _ in SEEDS] for kind in DIGITS}
    found["Gaussian"] = [*spread(gaussian_drawn, SEEDS)]
    return {
        "rates": DIGIT_RATES,
        "others": OTHERS,
        "seeds": [*SEEDS],
        "chosen by": {kind: [round(score[kind, r], 4) for r in DIGIT_RATES] for kind in DIGITS},
        "best": best,
        "runs": {
            kind: {name: [run[i] for run in runs] for i, name in enumerate(NAMES)}
            for kind, runs in found.items()
        },
    }
