"""Runs of `vision` that are too long for a page: more seeds, each way of learning at its own rate."""

from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.random import default_rng as generator
from scipy.special import expit

from dlbook.nets import (
    Dense,
    Detection,
    Frozen,
    Network,
    Sequential,
    backbone,
    box_ap,
    detector,
    fit,
    named_ap,
    segmenter,
)
from dlbook.nets.costs import SoftmaxCrossEntropy
from dlbook.nets.tree import copied
from dlbook.optimization import Adam, WarmupCosine
from dlbook.tools.scenes import scenes
from dlbook.vision import box_iou, class_iou, match

__all__ = ["vision_boxes", "vision_dice", "vision_masks", "vision_transfer"]

SEEDS, CHOOSING = range(10), (100, 101, 102)
HEADS, BODIES = (0.01, 0.03, 0.1, 0.3, 1.0), (0.0003, 0.001, 0.003, 0.01, 0.03)  # rates
WAYS = {
    "random": HEADS,
    "frozen": HEADS,
    "own": HEADS,
    "tuned": BODIES,
    "head first": BODIES,
    "scratch": BODIES,
}
COUNTS, STEPS = (2, 5, 10, 20, 80), 150  # labelled scenes of each class
MASKS = {  # how maps are enlarged, skips, channels on the way up
    "fixed": ("fixed", False, 8),
    "learned": ("learned", False, 8),
    "unpooled": ("unpooled", False, 8),
    "wide": ("learned", False, 32),
    "fixed, skips": ("fixed", True, 8),
    "learned, skips": ("learned", True, 8),
    "unpooled, skips": ("unpooled", True, 8),
}
PICTURES, FINDING = (0.003, 0.01, 0.03, 0.1), (0.01, 0.02, 0.04)


def learned(net, start, data, rate, steps, rng, batch=32):
    """Return a network after so many steps, and those that fill the last epoch."""
    batch = min(batch, len(data[0]))
    each = -(-len(data[0]) // batch)
    epochs = -(-steps // each)
    adam = Adam(WarmupCosine(rate, 10, epochs * each + 1))
    return fit(net, start, data, adam, rng, epochs=epochs, batch=batch)


def chosen(spread, run, kinds, seeds, choosing=CHOOSING):
    """Return for each of `kinds`, with its rates, the best rate and what that gives with `seeds`.

    A job is run(*kind, rate, seed, part): rates are chosen on the validation part, by the mean of
    what comes first there, and tried on the test part.
    """
    jobs = [(*k, rate, s, "val") for k, rates in kinds.items() for rate in rates for s in choosing]
    found = iter([*spread(run, *zip(*jobs, strict=True))])
    score = {
        kind: [sum(next(found)[0] for _ in choosing) / len(choosing) for _ in rates]
        for kind, rates in kinds.items()
    }
    best = {kind: rates[score[kind].index(max(score[kind]))] for kind, rates in kinds.items()}
    jobs = [(*kind, best[kind], seed, "test") for kind in kinds for seed in seeds]
    found = iter([*spread(run, *zip(*jobs, strict=True))])
    return best, {kind: [next(found) for _ in seeds] for kind in kinds}


def before(seed, first, clutter, centred):
    """Return all parameters of a network that has learned to read five digits, 0 to 4 or 5 to 9."""
    net = Network((1, 16, 16), Sequential(body=backbone(), head=Dense(5)))
    how = {"digits": range(first, first + 5), "clutter": clutter, "centred": centred}
    some, rng = scenes("transfer", "train", 2560, seed, **how), generator(seed)
    data = some.x, some.labels[:, 0] - first
    return learned(net, net.init(rng), data, 0.01, 320, rng).params.flat


def read(bodies, way, count, steps, clutter, centred, rate, seed, part):
    """Return the share of digits 5 to 9 read right, after so many labels of each."""
    how = {"clutter": clutter, "centred": centred}
    body, rng = backbone(), generator([seed, count])
    net = Network((1, 16, 16), Sequential(body=body, head=Dense(5)))
    start = net.init(rng)
    if way not in ("random", "scratch"):
        learned_before = net.init(rng)
        learned_before.flat[:] = bodies[seed, way == "own"]
        copied(start.net.body, learned_before.net.body)
    some = scenes("transfer", "train", 5 * count, 1000 + seed, digits=range(5, 10), **how)
    data, test = (some.x, some.labels[:, 0] - 5), net
    if way in ("random", "frozen", "own", "head first"):
        kept = Network((1, 16, 16), Sequential(body=Frozen(body, start.net.body), head=Dense(5)))
        if way == "head first":
            head = learned(kept, kept.init(rng), data, 0.1, steps // 3, rng)
            copied(start.net.head, head.params.net.head)
            steps -= steps // 3
        else:
            test, start = kept, kept.init(rng)
    out = learned(test, start, data, rate, steps, rng)
    asked = scenes("transfer", part, 500, 0, digits=range(5, 10), **how)
    right = test.predict(out.params, out.state, asked.x) == asked.labels[:, 0] - 5
    return [round(float(right.mean()), 4)]


def curves(spread, ways, counts, steps=STEPS, clutter=True, centred=False):
    """Return the best rates, and the shares read at them: by way, count and seed."""
    kinds = {(w, m, steps, clutter, centred): WAYS[w] for w in ways for m in counts}
    which = [(seed, own) for own in {w == "own" for w in ways} for seed in (*CHOOSING, *SEEDS)]
    given = [(seed, 5 * own, clutter, centred) for seed, own in which]
    bodies = dict(zip(which, spread(before, *zip(*given, strict=True)), strict=True))
    best, right = chosen(spread, partial(read, bodies), kinds, SEEDS)
    at = {w: [(w, m, steps, clutter, centred) for m in counts] for w in ways}
    return {
        "best": {way: [best[kind] for kind in at[way]] for way in ways},
        "right": {way: [[run[0] for run in right[kind]] for kind in at[way]] for way in ways},
    }


def vision_transfer(spread):
    """Read new digits with few labels; longer; and in scenes that lack clutter, or move nothing."""
    fixed, whole = ("random", "frozen"), ("tuned", "head first", "scratch")
    return {
        "seeds": [*SEEDS],
        "counts": COUNTS,
        "steps": STEPS,
        "rates": {"head": HEADS, "whole": BODIES},
        "scenes": curves(spread, WAYS, COUNTS),
        "longer": curves(spread, whole, (20,), 3 * STEPS),
        "centred": curves(spread, fixed, (5,), clutter=False, centred=True),
        "centred in clutter": curves(spread, fixed, (5,), centred=True),
        "anywhere on black": curves(spread, fixed, (5,), clutter=False),
    }


def mask(name, steps, rate, seed, part):
    """Return the IoU of ink of a network that learned masks, and how many parameters it learns."""
    kind, skips, maps = MASKS[name]
    some, rng = scenes("segment", "train", 8 * steps, seed), generator(seed)
    net = segmenter(kind, skips=skips, maps=maps)
    out = learned(net, net.init(rng), (some.x, some.masks), rate, steps, rng, 16)
    test = scenes("segment", part, 300)
    found = net.predict(out.params, out.state, test.x)
    return [round(float(class_iou(test.masks, found, 2)[1]), 4), out.params.flat.size]


def vision_masks(spread):
    """Learn masks with maps enlarged in several ways, with skips and without."""
    steps, seeds = 300, SEEDS
    kinds = {(k, steps): PICTURES[:3] if MASKS[k][1] else PICTURES[1:] for k in MASKS}
    best, runs = chosen(spread, mask, kinds, seeds, (100, 101))
    return {
        "steps": steps,
        "batch": 16,
        "rates": {kind[0]: rates for kind, rates in kinds.items()},
        "best": {kind[0]: rate for kind, rate in best.items()},
        "parameters": {kind[0]: found[0][1] for kind, found in runs.items()},
        "seeds": [*seeds],
        "iou": {kind[0]: [run[0] for run in found] for kind, found in runs.items()},
    }


@dataclass(frozen=True)
class Dice(SoftmaxCrossEntropy):
    """1 − 2 Σ p t / (Σ p + Σ t) over all pixels of a batch, for classes 0 and 1."""

    def into(self, z, y):
        p, t = expit(z[..., 1].astype(float) - z[..., 0]), y == 1
        both, total = p[t].sum(), p.sum() + t.sum()
        slope = 2 * (both - t * total) / total**2 * p * (1 - p)
        z[..., 0], z[..., 1] = -slope, slope
        return float(1 - 2 * both / total)


def overlap(cost, steps, rate, seed):
    """Return the IoU of ink of a network whose filters learn, without skips, with one of two costs."""
    some, rng = scenes("segment", "train", 8 * steps, seed), generator(seed)
    net = segmenter("learned", skips=False)
    if cost == "dice":
        net = Network(net.input, net.net, Dice())
    out = learned(net, net.init(rng), (some.x, some.masks), rate, steps, rng, 16)
    test = scenes("segment", "test", 300)
    found = net.predict(out.params, out.state, test.x)
    return round(float(class_iou(test.masks, found, 2)[1]), 4)


def vision_dice(spread):
    """Learn masks with the cross-entropy and with the cost of the overlap, at each rate."""
    steps, costs, rates = 200, ("entropy", "dice"), PICTURES[1:]
    jobs = [(cost, steps, rate, seed) for cost in costs for rate in rates for seed in SEEDS]
    found = iter([*spread(overlap, *zip(*jobs, strict=True))])
    return {
        "steps": steps,
        "batch": 16,
        "rates": rates,
        "seeds": [*SEEDS],
        "iou": {cost: [[next(found) for _ in SEEDS] for _ in rates] for cost in costs},
    }


def boxes(steps, images, near, rate, seed, part):
    """Return AP at .5, at .75, without suppression, by class; and what scores above one half.

    Three of these are per object: boxes above one half that are right, all of them, and all
    without suppression. The last is the share of those that are right which have the class of
    the object that they overlap most.
    """
    some, rng = scenes("detect", "train", images, seed), generator(seed)
    cost = Detection(near=near)
    net, data = detector(cost), (some.x, cost.targets(some.labels, some.boxes, 24))
    out = learned(net, net.init(rng), data, rate, steps, rng, 16)
    test = scenes("detect", part, 300)
    there = test.labels, test.boxes
    found = net.predict(out.params, out.state, test.x)
    every = detector(Detection(overlap=1.0)).predict(out.params, out.state, test.x)
    truth = [box[label >= 0] for label, box in zip(*there, strict=True)]
    names = [label[label >= 0] for label in test.labels]
    sure = [f.scores > 0.5 for f in found]
    hits, named = 0, 0
    for f, s, t, k in zip(found, sure, truth, names, strict=True):
        right = match(f.boxes[s], f.scores[s], t, 0.5)
        hits += right.sum()
        if right.any():
            named += np.sum(f.labels[s][right] == k[box_iou(f.boxes[s][right], t).argmax(axis=1)])
    G = sum(map(len, truth))
    shares = (
        *(box_ap(found, *there, threshold) for threshold in (0.5, 0.75)),
        box_ap(every, *there),
        named_ap(found, *there),
        hits / G,
        sum(map(np.sum, sure)) / G,
        sum((f.scores > 0.5).sum() for f in every) / G,
        named / max(1, hits),
    )
    return [round(float(share), 4) for share in shares]


def vision_boxes(spread):
    """Learn to find digits: briefly; twice as long; with several cells for each digit."""
    steps, few = (600, 1200), range(5)
    kinds = {
        "found": (steps[0], 4800, 0),
        "longer": (steps[1], 4800, 0),
        "near": (steps[0], 4800, 1),
    }
    parts = {
        name: chosen(spread, boxes, {kind: FINDING}, SEEDS if name == "found" else few, (100, 101))
        for name, kind in kinds.items()
    }
    return {
        "measures": [
            "AP50",
            "AP75",
            "AP50 without suppression",
            "AP50 of classes",
            "hits above one half",
            "boxes above one half",
            "boxes above one half without suppression",
            "right class of the hits above one half",
        ],
        "steps": steps,
        "batch": 16,
        "rates": FINDING,
        "best": {name: next(iter(best.values())) for name, (best, _) in parts.items()},
        "seeds": [*SEEDS],
        "seeds of longer": [*few],
    } | {name: next(iter(runs.values())) for name, (_, runs) in parts.items()}
