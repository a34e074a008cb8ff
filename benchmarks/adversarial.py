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
RING_RATES, COMMON = (0.0005, 0.001, 0.002, 0.004), 0.001
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
    score = {pair: float(np.mean([sum(next(tried)) for _ in OTHERS])) for pair in pairs}
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


def digits_drawn(kind, rate, seed, steps=2000):
    """Play on digits, rates falling in the second half; judge 500 samples of the average."""
    penalty, gamma = DIGITS[kind]
    net = GAN((16, 128, 128, 64), (64, 128, 128, 1), penalty=penalty, gamma=gamma)
    rng, x = np.random.default_rng(seed), data.digits(np.float32).x_train
    adam = Adam(lambda step: rate * min(1.0, 2.0 - 2.0 * step / (steps + 1)), 0.5, 0.9)
    out = play(
        net, net.init(rng), x, (adam, adam), rng, steps=steps, batch=64, average=0.005
    )  # fmt: skip
    return measured(net.sample(out.average, 500, rng))


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
