"""Runs of `captioning` that are too long for a page: more seeds, each network at its own rate."""

from functools import lru_cache
from time import process_time

import numpy as np
from numpy.random import default_rng as generator

from dlbook.captioning import bleu, exact_match
from dlbook.nets import Captioner, fit, maps_of, taught, viewer
from dlbook.optimization import Adam, WarmupCosine
from dlbook.tools.captions import (
    COLOURS,
    END,
    HELD,
    NAMES,
    OUT,
    SIDE,
    WORDS,
    captioned,
    fault,
    written,
)
from dlbook.tools.sweeps import stored

__all__ = ["captioning_coverage", "captioning_fixed", "captioning_looks", "captioning_taught"]

SEEDS, CHOOSING = range(10), (100, 101)
FEW = range(5)
LESSONS, TAUGHT, TEACHING = 5000, 940, 0.01  # scenes of one digit, steps, rate
SCENES, BATCH = 8000, 32
WRITTEN, SINGLE, SEARCHED = 600, 400, 200  # scenes to judge by
FAULTS = ("nothing", "count", "order", "name", "colour", "several")
STEPS = {"attention": 2500, "uniform": 3000, "flat": 2750}  # which take about the same time
RATES = {
    "attention": (0.004, 0.008, 0.016),
    "uniform": (0.004, 0.008, 0.016, 0.032),
    "flat": (0.0005, 0.001, 0.002, 0.004),
}
FIXED_STEPS, FIXED_RATES = 2500, (0.004, 0.016, 0.064)
LARGER = 0.032  # a rate of attention beyond those of `RATES`
WHOLE, WHOLE_RATES = 1600, (0.005, 0.01, 0.02, 0.04)  # steps in which all is learned at once
BEAMS = ((1, 0.0), (3, 0.0), (3, 1.0), (8, 0.0))  # width, and power of the length
WEIGHTS = (0.03, 0.3)  # of coverage


def learned(net, data, rate, steps, seed, clip=None):
    """Return what so many steps, and those that fill the last epoch, make of a network, and the time."""
    rng, each = generator(seed), -(-len(data[0]) // BATCH)
    epochs = -(-steps // each)
    adam, start = Adam(WarmupCosine(rate, 30, epochs * each + 1)), net.init(rng)
    before = process_time()
    out = fit(net, start, data, adam, rng, epochs=epochs, batch=BATCH, clip=clip, progress=False)
    return out, process_time() - before


@lru_cache(maxsize=2)
def lessons(seed):
    """Return a network that was taught to read one digit, what it has learned, and the time."""
    some, net = captioned("train", LESSONS, seed, digits=(1,)), taught()
    data = some.x, (some.labels[:, 0], some.colours[:, 0])
    return net, *learned(net, data, TEACHING, TAUGHT, seed)


@lru_cache(maxsize=8)
def seen(seed, part, count, pairs="seen", digits=(1, 2, 3)):
    """Return scenes, those to learn from drawn by the seed, and the maps that one who was taught makes."""
    some = captioned(part, count, seed if part == "train" else 0, pairs=pairs, digits=digits)
    net, out, _ = lessons(seed)
    return some._replace(x=maps_of(net, out.params, out.state, some.x))


def sentences(rows):
    """Return captions as lists of words."""
    return [written(row).split() for row in rows]


def graded(found, some):
    """Return the share of captions that are right, in all and by the number of digits, and BLEU."""
    found, wanted = sentences(found), sentences(some.y)
    right = exact_match(found, wanted)
    by_count = [right[some.counts == m].mean() for m in (1, 2, 3)]
    return [round(float(v), 4) for v in (right.mean(), *by_count, bleu(found, wanted).score)]


def where(net, out, some):
    """Return where the heaviest place lies as a digit's name is written, and the weight there.

    Shares of the names in scenes of two and three digits: in the square of the digit that is named,
    in that of another one; then the mean weight of both; then the mean share of places in both.
    """
    looks, found = net.looks(out.params, out.state, some.arrays), []
    side = SIDE // net.input[1]
    middles = (np.indices(net.input[1:]).reshape(2, -1).T + 0.5) * side
    inside = (middles >= some.boxes[:, :, None, :2]) & (middles < some.boxes[:, :, None, 2:])
    inside = inside.all(axis=3)  # (n, digits, places)
    names = some.y >= WORDS.index(NAMES[0])
    for n, u in zip(*np.nonzero(names & (some.counts > 1)[:, None]), strict=True):
        mine = inside[n, some.speaks[n, u]]
        others = inside[n].any(axis=0) & ~mine
        a = looks[n, u]
        found.append([*(f[a.argmax()] for f in (mine, others)), *(a @ f for f in (mine, others))])
        found[-1] += [mine.mean(), others.mean()]
    return np.mean(found, axis=0).round(4).tolist()


def named(net, out, some):
    """Return what is said of single digits: shares in which both words are right, one, or none.

    First both, the name alone, the colour alone, none. Then the share of names that are right when
    the network is made to read the right colour before them, and when it is made to read another.
    """
    found = sentences(net.predict(out.params, None, some.x))
    right = np.array(
        [
            [a in words for a in wanted[1:]]
            for words, wanted in zip(found, sentences(some.y), strict=True)
        ]
    )
    kinds = np.bincount(3 - right @ [1, 2], minlength=4) / len(right)  # name and colour, name, …
    colours, labels = some.colours[:, 0], some.labels[:, 0]
    other = (colours + 1) % 4
    other[OUT[other, labels]] = (colours + 2)[OUT[other, labels]] % 4
    state, step = net.stepper(out.params, None, some.x)
    for word in ("<", "a"):
        _, state = step(state, np.full(len(labels), WORDS.index(word)))
    first = [WORDS.index(group[0]) for group in (COLOURS, NAMES)]
    said = [
        step(state, first[0] + read)[0][:, first[1] :].argmax(axis=1) for read in (colours, other)
    ]
    return [round(float(v), 4) for v in (*kinds, *((s == labels).mean() for s in said))]


def others(count):
    """Return scenes with one digit, of those that `HELD` names, in colours that are not held out."""
    some = captioned("test", 4 * count, 0, digits=(1,))
    names = [NAMES.index(name) for _, name in HELD]
    kept = np.flatnonzero(np.isin(some.labels[:, 0], names))[:count]
    return type(some)(*(part[kept] for part in some))


def read_as(seed):
    """Return how often one who was taught gives each name to the digits of each pair in `HELD`."""
    net, out, _ = lessons(seed)
    some = captioned("test", SINGLE, 0, pairs="held", digits=(1,))
    name = net.predict(out.params, out.state, some.x)[0]
    mine = [some.labels[:, 0] == NAMES.index(one) for _, one in HELD]
    return [np.bincount(name[m], minlength=len(NAMES)).tolist() for m in mine]


def read(seed, pairs):
    """Return how often one who was taught reads single digits right: both, name, colour."""
    net, out, _ = lessons(seed)
    some = (
        others(SINGLE)
        if pairs == "others"
        else captioned("test", SINGLE, 0, pairs=pairs, digits=(1,))
    )
    name, colour = net.predict(out.params, out.state, some.x)
    name, colour = name == some.labels[:, 0], colour == some.colours[:, 0]
    return [round(float(v.mean()), 4) for v in (name & colour, name, colour)]


def searched(net, out, some):
    """Return for each beam what `graded` says, words of a caption, and the mean log p of a caption."""
    rows = []
    for width, power in BEAMS:
        found, sums = [], []
        for x in some.x:
            best = net.beam(out.params, None, x, width, power)
            y, score = best[0] if best else (np.array([END]), np.nan)
            found.append(y)
            sums.append(score * len(y) ** power)
        words = np.mean([len(y) for y in found])
        rows.append(
            [*graded(found, some), round(float(words), 4), round(float(np.nanmean(sums)), 4)]
        )
    return rows


def trained(look, rate, seed, coverage=0.0):
    """Return a captioner over the maps of one who was taught, what it has learned, and the time."""
    some = seen(seed, "train", SCENES)
    net = Captioner(some.x.shape[1:], len(WORDS), look=look, coverage=coverage)
    steps = STEPS.get(look, FIXED_STEPS)
    return net, *learned(net, some.arrays, rate, steps, seed, clip=1.0)


def chosen(look, rate, seed):
    """Return what is right on the validation part."""
    net, out, _ = trained(look, rate, seed)
    some = seen(seed, "val", WRITTEN)
    return graded(net.predict(out.params, None, some.x), some)[0]


def judged(look, rate, seed):
    """Return all that is said about a network on the test part."""
    net, out, seconds = trained(look, rate, seed)
    some, held = (seen(seed, "test", WRITTEN, pairs) for pairs in ("seen", "held"))
    found = net.predict(out.params, None, some.x)
    all_ = {
        "graded": graded(found, some),
        "held": graded(net.predict(out.params, None, held.x), held),
        "seconds": round(seconds, 2),
        "parameters": out.params.flat.size,
    }
    pairs = zip(map(written, found), some.texts, strict=True)
    kinds = [fault(*pair) for pair in pairs]
    all_["faults"] = [kinds.count(kind) for kind in FAULTS]
    if look == "attention":
        single = [seen(seed, "test", SINGLE, pairs, (1,)) for pairs in ("seen", "held")]
        all_["where"] = where(net, out, some)
        all_["single"] = [named(net, out, part) for part in single]
        all_["read"] = [read(seed, pairs) for pairs in ("seen", "held")]
        all_["beams"] = searched(net, out, seen(seed, "test", SEARCHED))
    if look == "attention" and seed == 0:
        n = int(np.flatnonzero(some.counts == 2)[0])
        one = some.x[n : n + 1], found[n : n + 1], np.array([(found[n] >= 0).sum()])
        all_["open"] = {
            "scene": n,
            "caption": written(found[n]),
            "looks": net.looks(out.params, None, one)[0, : one[2][0]]
            .astype(float)
            .round(3)
            .tolist(),
        }
        wrong = [n for n, kind in enumerate(kinds) if kind != "nothing"][:12]
        all_["wrong"] = [[n, written(found[n])] for n in wrong]
    return all_


def captioning_looks(spread):
    """Write captions with attention, with uniform weights and from a flat map, ten seeds each."""
    jobs = [(look, rate, seed) for seed in CHOOSING for look in STEPS for rate in RATES[look]]
    right = dict(zip(jobs, spread(chosen, *zip(*jobs, strict=True)), strict=True))
    scores = {
        look: [
            round(sum(right[look, rate, s] for s in CHOOSING) / len(CHOOSING), 4)
            for rate in RATES[look]
        ]
        for look in STEPS
    }
    best = {look: RATES[look][scores[look].index(max(scores[look]))] for look in STEPS}
    jobs = [(look, best[look], seed) for seed in SEEDS for look in STEPS]
    runs = dict(zip(jobs, spread(judged, *zip(*jobs, strict=True)), strict=True))
    each = {look: [runs[look, best[look], seed] for seed in SEEDS] for look in STEPS}
    part = lambda key: {look: [run[key] for run in each[look]] for look in STEPS}
    seeing = each["attention"]
    return {
        "seeds": [*SEEDS],
        "steps": STEPS,
        "rates": RATES,
        "chosen by": scores,
        "best": best,
        "seconds": part("seconds"),
        "parameters": {look: each[look][0]["parameters"] for look in STEPS},
        "measures": ["exact", "exact of one", "exact of two", "exact of three", "BLEU"],
        "test": part("graded"),
        "held": part("held"),
        "kinds of faults": FAULTS,
        "faults": part("faults"),
        "where": [run["where"] for run in seeing],
        "single": [run["single"] for run in seeing],
        "read": [run["read"] for run in seeing],
        "beams": BEAMS,
        "searched": [run["beams"] for run in seeing],
        "open": seeing[0]["open"],
        "wrong": seeing[0]["wrong"],
    }


def fixed(rate, seed):
    """Return what is said of a network with fixed looks, and of its encoder on single digits."""
    net, out, seconds = trained("fixed", rate, seed)
    some, few = seen(seed, "test", WRITTEN), seen(seed, "train", SCENES)
    few = type(few)(*(part[:WRITTEN] for part in few))
    found = net.predict(out.params, None, some.x)
    kinds = [fault(*pair) for pair in zip(map(written, found), some.texts, strict=True)]
    return {
        "test": graded(found, some),
        "learned from": graded(net.predict(out.params, None, few.x), few),
        "faults": [kinds.count(kind) for kind in FAULTS],
        "where": where(net, out, some),
        "seconds": round(seconds, 2),
        "parameters": out.params.flat.size,
        "read others": read(seed, "others"),
        "read as": read_as(seed),
    }


def captioning_fixed(spread):
    """Look at places that depend on the number of the word alone; try one more rate of attention."""
    jobs = [("fixed", rate, seed) for seed in CHOOSING for rate in FIXED_RATES]
    jobs += [("attention", LARGER, seed) for seed in CHOOSING]
    found = dict(zip(jobs, spread(chosen, *zip(*jobs, strict=True)), strict=True))
    mean = lambda *job: round(sum(found[*job, s] for s in CHOOSING) / len(CHOOSING), 4)
    scores = [mean("fixed", rate) for rate in FIXED_RATES]
    best = FIXED_RATES[scores.index(max(scores))]
    runs = [*spread(fixed, [best] * len(SEEDS), SEEDS)]
    part = lambda key: [run[key] for run in runs]
    return {
        "seeds": [*SEEDS],
        "steps": FIXED_STEPS,
        "rates": FIXED_RATES,
        "chosen by": scores,
        "best": best,
        "attention at a larger rate": [LARGER, mean("attention", LARGER)],
        "held": HELD,
        "parameters": runs[0]["parameters"],
    } | {key: part(key) for key in runs[0] if key != "parameters"}


def covered(weight, rate, seed):
    """Return what a penalty of coverage comes to."""
    net, out, _ = trained("attention", rate, seed, weight)
    some = seen(seed, "test", WRITTEN)
    a = net.looks(out.params, None, some.arrays)
    missed = ((1 - a.sum(axis=1)) ** 2).sum(axis=1).mean()
    right = graded(net.predict(out.params, None, some.x), some)[0]
    return [right, round(float(missed), 3), where(net, out, some)[0]]


def captioning_coverage(spread):
    """Ask that every place be looked at, with the rate of `captioning-looks`."""
    rate = stored("captioning-looks")["best"]["attention"]
    jobs = [(weight, rate, seed) for seed in FEW for weight in WEIGHTS]
    runs = dict(zip(jobs, spread(covered, *zip(*jobs, strict=True)), strict=True))
    return {
        "seeds": [*FEW],
        "weights": WEIGHTS,
        "rate": rate,
        "measures": ["exact", "Σ (1 − Σ a)²", "heaviest place in the digit that is named"],
        "test": [[runs[weight, rate, seed] for seed in FEW] for weight in WEIGHTS],
    }


def at_once(rate, seed, part):
    """Return what is right when encoder and decoder learn together, from the captions alone."""
    some, more = captioned("train", SCENES, seed), captioned("train", LESSONS, seed, digits=(1,))
    y = np.full((LESSONS, some.y.shape[1]), END)
    y[:, : more.y.shape[1]] = more.y
    pairs = (some.x, more.x), (some.y, y), (some.ends, more.ends)
    net = Captioner(some.x.shape[1:], len(WORDS), encoder=viewer())
    out, seconds = learned(net, tuple(map(np.concatenate, pairs)), rate, WHOLE, seed, clip=1.0)
    right = []
    for pairs in ("seen", "held"):
        some = captioned(part, WRITTEN, pairs=pairs)
        right.append(graded(net.predict(out.params, out.state, some.x), some))
    return [*right[0], right[1][0], round(seconds, 2)]


def lesson_time(seed):
    """Return the time that it takes to teach an encoder."""
    return round(lessons(seed)[2], 2)


def captioning_taught(spread):
    """Let all learn at once, beside the networks of `captioning-looks`, whose encoder was taught first."""
    jobs = [(rate, seed, "val") for rate in WHOLE_RATES for seed in CHOOSING]
    found = iter([run[0] for run in spread(at_once, *zip(*jobs, strict=True))])
    scores = [round(sum(next(found) for _ in CHOOSING) / len(CHOOSING), 4) for _ in WHOLE_RATES]
    best = WHOLE_RATES[scores.index(max(scores))]
    looks = stored("captioning-looks")
    jobs = [(best, seed, "test") for seed in SEEDS]
    runs = [*spread(at_once, *zip(*jobs, strict=True))]
    parts = zip(looks["test"]["attention"], looks["held"]["attention"], strict=True)
    return {
        "seeds": [*SEEDS],
        "steps": {"taught": [TAUGHT, STEPS["attention"]], "at once": WHOLE},
        "rates": WHOLE_RATES,
        "chosen by": scores,
        "best": {"taught": [TEACHING, looks["best"]["attention"]], "at once": best},
        "measures": [*looks["measures"], "exact of held-out pairs"],
        "taught": [[*test, held[0]] for test, held in parts],
        "at once": [run[:-1] for run in runs],
        "seconds": {
            "lessons": [*spread(lesson_time, FEW)],
            "taught": looks["seconds"]["attention"],
            "at once": [run[-1] for run in runs],
        },
    }
