"""Runs of `vision` that are too long for a page: more seeds, each way of learning at its own rate."""

from functools import cache
from itertools import product

from numpy.random import default_rng as generator

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
from dlbook.nets.tree import copied
from dlbook.optimization import Adam, WarmupCosine
from dlbook.tools.scenes import scenes
from dlbook.vision import class_iou

__all__ = ["vision_boxes", "vision_masks", "vision_transfer"]

SEEDS, CHOOSING = range(10), (100, 101)
WAYS = ("random", "frozen", "tuned", "scratch")
COUNTS = (2, 5, 10, 20, 80)  # labelled scenes of each class
HEADS, BODIES = (0.03, 0.1, 0.3), (0.003, 0.01, 0.03)  # rates
MASKS, PICTURES = ("fixed", "learned", "skips"), (0.003, 0.01, 0.03)
FINDING = (0.005, 0.01, 0.02)


def learned(net, start, data, rate, steps, rng, batch=32):
    """Return a network after so many steps, and those that fill the last epoch."""
    batch = min(batch, len(data[0]))
    each = -(-len(data[0]) // batch)
    epochs = -(-steps // each)
    adam = Adam(WarmupCosine(rate, 10, epochs * each + 1))
    return fit(net, start, data, adam, rng, epochs=epochs, batch=batch)


@cache
def before(seed, **how):
    """Return a network that has learned to read the digits 0 to 4 in scenes."""
    net = Network((1, 16, 16), Sequential(body=backbone(), head=Dense(5)))
    some, rng = scenes("transfer", "train", 2560, seed, digits=range(5), **how), generator(seed)
    return learned(net, net.init(rng), (some.x, some.labels[:, 0]), 0.01, 320, rng).params


def read(way, count, rate, seed, part, **how):
    """Return the share of digits 5 to 9 read right, after so many labels of each."""
    body, rng = backbone(), generator([seed, count])
    net = Network((1, 16, 16), Sequential(body=body, head=Dense(5)))
    start = net.init(rng)
    if way in ("frozen", "tuned"):
        copied(start.net.body, before(seed, **how).net.body)
    if way in ("random", "frozen"):
        kept = Frozen(body, start.net.body)
        net = Network((1, 16, 16), Sequential(body=kept, head=Dense(5)))
        start = net.init(rng)
    some = scenes("transfer", "train", 5 * count, 1000 + seed, digits=range(5, 10), **how)
    out = learned(net, start, (some.x, some.labels[:, 0] - 5), rate, 150, rng)
    test = scenes("transfer", part, 500, 0, digits=range(5, 10), **how)
    right = net.predict(out.params, out.state, test.x) == test.labels[:, 0] - 5
    return round(float(right.mean()), 4)


def plainly(*job):
    """Do the same for digits in the middle of nothing."""
    return read(*job, clutter=False, centred=True)


def curves(spread, reading, counts):
    """Return the best rates, and the shares read at them: by way, count and seed."""
    pairs = [*product(WAYS, counts)]
    rates = {way: HEADS if way in ("random", "frozen") else BODIES for way in WAYS}
    jobs = [(way, m, rate, s, "val") for way, m in pairs for rate in rates[way] for s in CHOOSING]
    found, score = [*spread(reading, *zip(*jobs, strict=True))], {}
    for (way, m, rate, *_), right in zip(jobs, found, strict=True):
        score[way, m, rate] = score.get((way, m, rate), 0) + right / len(CHOOSING)
    best = {pair: max(rates[pair[0]], key=lambda r: score[*pair, r]) for pair in pairs}
    jobs = [(*pair, best[pair], seed, "test") for pair in pairs for seed in SEEDS]
    runs = iter(spread(reading, *zip(*jobs, strict=True)))
    return {
        "best": {way: [best[way, m] for m in counts] for way in WAYS},
        "right": {way: [[next(runs) for _ in SEEDS] for _ in counts] for way in WAYS},
    }


def vision_transfer(spread):
    """Read new digits with few labels: in cluttered scenes, and in the middle of nothing."""
    return {
        "seeds": [*SEEDS],
        "counts": COUNTS,
        "rates": {"head": HEADS, "whole": BODIES},
        "scenes": curves(spread, read, COUNTS),
        "centred": curves(spread, plainly, (5,)),
    }


def mask(kind, rate, seed, steps, part):
    """Return the IoU of paper and of ink of a network that learned masks."""
    some, rng = scenes("segment", "train", 8 * steps, seed), generator(seed)
    net = segmenter(kind)
    out = learned(net, net.init(rng), (some.x, some.masks), rate, 2 * len(some.x) // 16, rng, 16)
    test = scenes("segment", part, 300)
    found = net.predict(out.params, out.state, test.x)
    return [round(float(share), 4) for share in class_iou(test.masks, found, 2)]


def vision_masks(spread):
    """Learn masks with up-sampling that is fixed, learned, or joined by skips; briefly and longer."""
    pairs, steps = [*product(MASKS, PICTURES)], (200, 600)
    tried = spread(mask, *zip(*((*pair, 100, 200, "val") for pair in pairs), strict=True))
    ink = {pair: shares[1] for pair, shares in zip(pairs, tried, strict=True)}
    best = {kind: max(PICTURES, key=lambda r: ink[kind, r]) for kind in MASKS}
    few = range(5)
    jobs = [(k, best[k], s, steps[0], "test") for k in MASKS for s in SEEDS]
    more = [(k, best[k], s, steps[1], "test") for k in MASKS for s in few]
    runs = iter(spread(mask, *zip(*jobs, *more, strict=True)))
    return {
        "steps": steps,
        "rates": PICTURES,
        "best": best,
        "seeds": [*SEEDS],
        "iou": {kind: [next(runs) for _ in SEEDS] for kind in MASKS},
        "seeds of longer": [*few],
        "longer": {kind: [next(runs) for _ in few] for kind in MASKS},
    }


def boxes(rate, seed, steps, part):
    """Return AP at .5 and .75, without suppression, and of named boxes, after so many steps."""
    some, rng = scenes("detect", "train", 8 * steps, seed), generator(seed)
    cost = Detection()
    net, data = detector(cost), (some.x, cost.targets(some.labels, some.boxes, 24))
    out = learned(net, net.init(rng), data, rate, steps, rng, 16)
    test = scenes("detect", part, 300)
    there = test.labels, test.boxes
    found = net.predict(out.params, out.state, test.x)
    all_of_them = detector(Detection(overlap=1.0)).predict(out.params, out.state, test.x)
    shares = (
        *(box_ap(found, *there, threshold) for threshold in (0.5, 0.75)),
        box_ap(all_of_them, *there),
        named_ap(found, *there),
    )
    return [round(share, 4) for share in shares]


def vision_boxes(spread):
    """Learn to find digits: as briefly as on the page, and with three times the steps and scenes."""
    steps, few = (600, 1800), range(5)
    tried = [*spread(boxes, *zip(*((r, 100, steps[0], "val") for r in FINDING), strict=True))]
    best = max(FINDING, key=lambda rate: tried[FINDING.index(rate)][0])
    jobs = [(best, seed, steps[0], "test") for seed in SEEDS]
    more = [(best, seed, steps[1], "test") for seed in few]
    runs = [*spread(boxes, *zip(*jobs, *more, strict=True))]
    return {
        "measures": ["AP50", "AP75", "AP50 without suppression", "AP50 of named"],
        "steps": steps,
        "rates": FINDING,
        "best": best,
        "seeds": [*SEEDS],
        "found": runs[: len(SEEDS)],
        "seeds of longer": [*few],
        "longer": runs[len(SEEDS) :],
    }
