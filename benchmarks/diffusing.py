"""Sweeps of the page *Diffusion*: steps, guidance and copies; five models at equal time of training."""

from functools import cache
from itertools import product
from time import thread_time

import numpy as np
from numpy.random import default_rng as generator

from benchmarks.adversarial import digits_played
from dlbook.gan import frechet_distance
from dlbook.nets import VAE, Denoiser, Diverged, fit
from dlbook.optimization import Adam, WarmupCosine
from dlbook.tools import data
from dlbook.tools.judges import judge, nearest, pixel_gaussian, readings

__all__ = ["diffusion_digits", "diffusion_models", "diffusion_others", "diffusion_real"]

SEEDS, CHOOSING, SAMPLES, CALLS = range(10), (100, 101), 500, 50
ASKED = np.repeat(np.arange(10), SAMPLES // 10)
SIZES, STEPS, BATCH, RATE = (64, 128, 128, 64), 2000, 128, 0.002


def digits(name="train"):
    """Return some of the digits, as float32, and their classes."""
    d = data.digits(np.float32)
    return getattr(d, f"x_{name}"), getattr(d, f"y_{name}")


def pixels(x):
    """Return digits between −1 and 1 as pixels between 0 and 1, cut off there."""
    return np.clip((x + 1) / 2, 0, 1)


def nearer(x, known):
    """Return the share of x that lies nearer to known digits than to as many held-out ones."""
    held = digits("test")[0]
    n, rng = min(len(known), len(held)), generator(0)
    a, b = (some[rng.permutation(len(some))[:n]] for some in (known, held))
    return float(np.mean(nearest(x, a) < nearest(x, b)))


def asked(x):
    """Return the share in which all three readers name the class that was asked for."""
    return float(np.mean(np.all(readings(x)[0] == ASKED[:, None], axis=1)))


def apart(x):
    """Return the Fréchet distance of samples to the held-out digits."""
    return float(frechet_distance(digits("test")[0], x))


def denoiser(seed, x, y=None, target="v", rate=RATE, steps=STEPS):
    """Return a network and its parameters after about so many steps."""
    net, rng = Denoiser(SIZES, None if y is None else 10, target), generator(seed)
    batch = min(BATCH, len(x))
    each = -(-len(x) // batch)
    epochs = -(-steps // each)
    given = (2 * x - 1,) if y is None else (2 * x - 1, y)
    adam = Adam(WarmupCosine(rate, 100, epochs * each), 0.9, 0.99)
    return net, fit(net, net.init(rng), given, adam, rng, epochs=epochs, batch=batch).params


# Steps, guidance, copies

METHODS, BUDGETS = ("ddim", "ancestral", "euler", "heun"), (4, 10, 20, 50, 100)  # calls
ORDERS, FEW = (4, 8, 16, 32, 64), 100
GUIDANCE, SETS = (0.0, 0.5, 1.0, 3.0), (50, 200, None)


def spread_of(x):
    """Return the variance within a class, summed over the pixels, mean over the classes."""
    return float(np.mean([x[k == ASKED].var(axis=0).sum() for k in range(10)]))


def studied(seed):
    """Train one network; return what steps, guidance and small sets of digits come to."""
    x, y = digits()
    net, params = denoiser(seed, x, y)

    def draw(steps=CALLS, method="ddim", classes=ASKED, w=0.0):
        return net.sample(params, len(classes), generator([seed, 1]), steps, method, classes, w)

    some = ASKED[:: SAMPLES // FEW]
    exact = draw(1024, "heun", some)
    errors = {
        how: [float(np.sqrt(np.mean((draw(n, how, some) - exact) ** 2))) for n in ORDERS]
        for how in METHODS
        if how != "ancestral"
    }
    budgets = {}
    for how in METHODS:
        found = [pixels(draw(n // 2 if how == "heun" else n, how)) for n in BUDGETS]
        budgets[how] = [[apart(some), asked(some)] for some in found]
    guided, plain = [], None
    for w in GUIDANCE:
        raw = draw(w=w)
        made = pixels(raw)
        plain = made if plain is None else plain
        confident = judge(made, seed).recognised
        guided.append([asked(made), confident, apart(made), spread_of(raw / 2)])
    copies = []
    for n in SETS:
        order = generator([seed, 2]).permutation(len(x))[:n]
        made = plain
        if n is not None:
            small, found = denoiser(seed, x[order], y[order])
            rng = generator([seed, 1])
            made = pixels(small.sample(found, SAMPLES, rng, CALLS, classes=ASKED))
        close = nearest(made, x[order])
        copies.append([nearer(made, x[order]), float(close.mean()), float(np.mean(close < 0.5))])
    return errors, budgets, guided, copies


def rounded(value, places=5):
    """Return the same lists and dictionaries with rounded numbers."""
    if isinstance(value, dict):
        return {key: rounded(part, places) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [rounded(part, places) for part in value]
    return round(float(value), places)


def diffusion_digits(spread):
    """Ten denoisers: errors by steps, samples by method and calls, guidance, small training sets."""
    errors, budgets, guided, copies = zip(*spread(studied, SEEDS), strict=True)
    return {
        "seeds": [*SEEDS],
        "steps": STEPS,
        "samples": SAMPLES,
        "orders": ORDERS,
        "errors": {how: rounded([run[how] for run in errors], 7) for how in errors[0]},
        "calls": BUDGETS,
        "budgets": {how: rounded([run[how] for run in budgets]) for how in METHODS},
        "guidance": GUIDANCE,
        "guided": rounded(guided),
        "sets": [n or len(digits()[0]) for n in SETS],
        "copies": rounded(copies),
        "real": rounded([apart(digits("val")[0]), nearer(digits("val")[0], digits()[0])]),
    }


# Models

RATES = (0.002, 0.004, 0.008, 0.016, 0.032)
DENOISERS = {  # steps that take about two seconds of one core, as those of the others
    "diffusion": 4000,
    "flow": 4000,
    "diffusion, told": 3800,
    "flow, told": 3800,
}
OTHERS = {"autoencoder": 2600, "variational": 2800, "adversarial": 1650}
MODELS = OTHERS | DENOISERS
MEASURES = ("agree", "recognised", "to train", "to held out", "mmd2", "p", "Fréchet", "nearer")


def coder(kind, rate, seed, steps):
    """Train an autoencoder, variational or not; return what draws digits, and whose codes it has."""
    x, y = digits()
    net, rng, each = VAE((64, 128, 128, 8), beta=0.5), generator(seed), -(-len(x) // 64)
    start, epochs = net.init(rng), -(-steps // each)
    if kind == "autoencoder":
        net, start = net.plain(start)
    adam = Adam(WarmupCosine(rate, 100, epochs * each))
    params = fit(net, start, (x,), adam, rng, epochs=epochs, batch=64).params
    if kind == "variational":
        return {kind: lambda rng: net.sample(params, SAMPLES, rng)}
    codes = net.encode(params, x).astype(float)

    def drawn(some, n, rng):
        z = rng.multivariate_normal(some.mean(axis=0), np.cov(some.T), n)
        return net.decode(params, z)

    def of_each(rng):
        return np.concatenate([drawn(codes[y == k], SAMPLES // 10, rng) for k in range(10)])

    return {kind: lambda rng: drawn(codes, SAMPLES, rng), f"{kind}, told": of_each}


def game(rate, seed, steps):
    """Play as on the page on such games, with R1; return what draws digits."""
    net, out, _ = digits_played("R1", rate, seed, steps)
    return {"adversarial": lambda rng: net.sample(out.average, SAMPLES, rng)}


def trained(kind, rate, seed, steps):
    """Return what draws digits, by name, and the time of training."""
    digits()
    begin = thread_time()
    if kind == "adversarial":
        draws = game(rate, seed, steps)
    elif not kind.startswith(("diffusion", "flow")):
        draws = coder(kind, rate, seed, steps)
    else:
        x, y = digits()
        told, flow = kind.endswith("told"), kind.startswith("flow")
        net, params = denoiser(
            seed, x, y if told else None, "velocity" if flow else "v", rate, steps
        )  # fmt: skip
        how = CALLS, "euler" if flow else "ddim", ASKED if told else None

        def draw(rng, w=0.0):
            return pixels(net.sample(params, SAMPLES, rng, *how, w))

        draws = {kind: draw}
        if kind == "diffusion, told":
            draws["diffusion, guided"] = lambda rng: draw(rng, 1.0)
    return draws, thread_time() - begin


@cache
def real():
    """Return what is measured of digits that no model has seen, and of a Gaussian in pixels."""
    gaussian = [np.clip(pixel_gaussian(SAMPLES, generator(seed)), 0, 1) for seed in SEEDS]
    return measured(digits("val")[0], 0), [measured(x, k) for k, x in enumerate(gaussian)]


def measured(x, seed):
    """Return what is measured of samples."""
    j = judge(x, seed)
    return rounded([*j[:4], *j.two_sample, apart(x), nearer(x, digits()[0])])


def compared(kind, rate, seed):
    """Return the distance that rates are chosen by, or the measures of each way to draw, and seconds."""
    try:
        draws, seconds = trained(kind, rate, seed, MODELS[kind])
    except Diverged:
        if seed in CHOOSING:
            return 1e3
        raise
    rng = generator([seed, 1])
    if seed in CHOOSING:
        return float(frechet_distance(digits("val")[0], draws[kind](rng)))
    return {name: measured(draw(rng), seed) for name, draw in draws.items()}, round(seconds, 2)


def at_best(models, rates, spread):
    """Choose a rate for each model by other seeds, and measure it with all seeds."""
    jobs = [*product(models, rates, CHOOSING)]
    tried = np.reshape([*spread(compared, *zip(*jobs, strict=True))], (len(models), len(rates), -1))
    scores = dict(zip(models, tried.mean(axis=2), strict=True))
    best = {kind: rates[int(scores[kind].argmin())] for kind in models}
    jobs = [(kind, best[kind], seed) for seed in SEEDS for kind in models]  # side by side
    runs = [*spread(compared, *zip(*jobs, strict=True))]
    judged, seconds = {}, {}
    for (kind, _, _), (found, took) in zip(jobs, runs, strict=True):
        seconds.setdefault(kind, []).append(took)
        for name, values in found.items():
            judged.setdefault(name, []).append(values)
    return {
        "seeds": [*SEEDS],
        "others": CHOOSING,
        "rates": rates,
        "samples": SAMPLES,
        "steps": models,
        "seconds": seconds,
        "chosen by": {kind: rounded(list(row), 3) for kind, row in scores.items()},
        "best": best,
        "measures": MEASURES,
        "judged": judged,
    }


def diffusion_models(spread):
    """Denoisers on both paths, told the class or not."""
    return at_best(DENOISERS, RATES, spread) | {"calls": CALLS}


def diffusion_others(spread):
    """Three other models at the same seconds of training, a Gaussian, and real digits."""
    found, (held, gaussian) = at_best(OTHERS, (*RATES, 0.064), spread), real()
    found["judged"] |= {"Gaussian in pixels": gaussian}
    return found | {"real": held}


# What no network has made


def divided(seed):
    """Measure real digits: as many as samples, all that are unseen, and small sets to learn from."""
    (x, _), rng = digits(), generator(seed)
    some = x[rng.permutation(len(x))[:SAMPLES]]
    unseen = rng.permutation(np.concatenate((digits("val")[0], digits("test")[0])))
    held = len(digits("test")[0])
    close = nearest(unseen[held:], rng.permutation(x)[:held])
    share = np.mean(close < nearest(unseen[held:], unseen[:held]))
    small = [x[generator([seed, 2]).permutation(len(x))[:n]] for n in SETS]
    found = judge(some, seed)
    return rounded([apart(some), *found.two_sample, found.to_held_out, share]), rounded(
        [nearer(digits("val")[0], few) for few in small]
    )


def diffusion_real(spread):
    """Real digits in the place of samples: 500 that models have learned from, and those that none has."""
    unseen = np.concatenate((digits("val")[0], digits("test")[0]))
    runs, copies = zip(*spread(divided, SEEDS), strict=True)
    return {
        "seeds": [*SEEDS],
        "samples": SAMPLES,
        "unseen": len(unseen),
        "judged": rounded(judge(unseen)[:2]),
        "measures": ("Fréchet", "mmd2", "p", "to held out", "nearer"),
        "divided": runs,
        "copies": copies,
    }
