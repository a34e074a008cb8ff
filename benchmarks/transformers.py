"""Runs of `transformer` that are too long for a page: depth, copying, one table, and a stored model.

In the table a network learns until one thread has worked for so many seconds; its rate rises over
the first twentieth of them and falls along a cosine to zero. Elsewhere steps are counted.
"""

import importlib
import platform
from functools import cache
from time import process_time

import numba
import numpy as np
from numpy.random import default_rng as generator

from dlbook.language_models import NGram, windows
from dlbook.linear_classification import softmax
from dlbook.nets import (
    Activation,
    Dense,
    Embedding,
    Network,
    RecurrentNetwork,
    Reshape,
    Sequential,
    Transformer,
)
from dlbook.nets.copying import copier, looked_at, repeated
from dlbook.optimization import Adam, AdamW, WarmupCosine
from dlbook.tools import data, sweeps
from dlbook.tools.flat import like
from dlbook.training import clip

__all__ = [
    "transformer_copies",
    "transformer_depth",
    "transformer_longer",
    "transformer_table",
    "transformer_text",
]

SEEDS, CHOOSING, LONG_SEEDS = range(5), 100, range(5)
SECONDS, LONGER = 10.0, 40.0
LENGTH, BATCH, PLACES = 64, 8, 256
ORDERS = range(2, 10)
CELLS = {"RNN": ("tanh", 252), "LSTM": ("lstm", 118), "GRU": ("gru", 139)}
FIRST = {  # rates that are tried first, of all 0.001 · 2^k
    "window": (0.004, 0.008, 0.016),
    "RNN": (0.001, 0.002, 0.004),
    "LSTM": (0.004, 0.008, 0.016),
    "GRU": (0.004, 0.008, 0.016),
    "transformer": (0.002, 0.004, 0.008),
}


def network(kind, V):
    """Return a network of some 110,000 numbers."""
    if kind == "window":
        layers = Embedding(V, 24), Reshape(240), Dense(325), Activation("tanh"), Dense(V)
        return Network((10,), Sequential(*layers), symbols=V)
    if kind == "transformer":
        return Transformer(V, 64, blocks=2, heads=4, length=LENGTH)
    cell, hidden = CELLS[kind]
    return RecurrentNetwork(V, hidden, V, symbols=True, cell=cell)


def batches(net, ids, draw):
    """Yield batches of places that are drawn anew: contexts of a window, or lines of a text."""
    if isinstance(net, Network):
        x, y = windows(ids, 11)
        while True:
            at = draw.integers(len(y), size=PLACES)
            yield x[at], y[at]
    ends = () if isinstance(net, Transformer) else (np.full(BATCH, LENGTH),)
    lines = np.lib.stride_tricks.sliding_window_view(ids, LENGTH + 1)
    while True:
        some = lines[draw.integers(len(lines), size=BATCH)]
        yield some[:, :-1].copy(), some[:, 1:].copy(), *ends


def learned(net, ids, rate, seed, seconds):
    """Return the parameters after so many seconds of one thread, and the steps."""
    numba.set_num_threads(1)
    draw = generator(seed)
    params, work, used, step = net.init(draw), net.workspace(BATCH), 0.0, 0
    adam, grads = AdamW(rate, beta2=0.99), like(params)
    slots, given = adam.start(params.flat), batches(net, ids, draw)
    scratch = params.flat.copy(), slots.copy()
    net.loss_and_grad(params, None, next(given), grads, work)  # what is compiled is not counted
    adam.update(scratch[0], grads.flat, scratch[1], 1)
    while used < seconds:
        begin, step, share = process_time(), step + 1, used / seconds
        factor = min(1, share / 0.05 + 0.01) * (1 + np.cos(np.pi * share)) / 2
        net.loss_and_grad(params, None, next(given), grads, work)
        clip(grads.flat, 1.0)
        adam.update(params.flat, grads.flat, slots, step, factor)
        used += process_time() - begin
    return params, step


def graded(ids):
    """Return the lines of a text whose last half is graded, and what follows their symbols.

    Before each symbol that is graded at least half a line is read.
    """
    lines = np.lib.stride_tricks.sliding_window_view(ids, LENGTH + 1)[:: LENGTH // 2]
    return lines[:, :-1].copy(), lines[:, 1:].copy()


def places(ids):
    """Return which symbols of a text are graded."""
    half = LENGTH // 2
    return slice(half + 1, half + 1 + half * len(graded(ids)[0]))


def bits(net, params, ids):
    """Return the bits that a network needs per symbol, and where it is recurrent those read on."""
    (x, y), half, at = graded(ids), LENGTH // 2, places(ids)
    if isinstance(net, Network):
        before, y = windows(ids, 11)
        chosen = slice(at.start - 10, at.stop - 10)
        p = softmax(net.outputs(params, None, before[chosen]).astype(float))
        return [-float(np.mean(np.log2(p[np.arange(len(p)), y[chosen]])))]
    z = net.outputs(params, None, x) if isinstance(net, Transformer) else net.run(params, x).scores
    found = [needed(z[:, half:], y[:, half:])]
    if not isinstance(net, Transformer):
        z = net.run(params, ids[None, :-1]).scores[0]
        found.append(needed(z[at.start - 1 : at.stop - 1], ids[at]))
    return found


def needed(z, y):
    """Return the mean bits of symbols by scores."""
    p = softmax(z.reshape(-1, z.shape[-1]).astype(float))
    return -float(np.mean(np.log2(p[np.arange(len(p)), y.reshape(-1)])))


@cache
def parts(last):
    """Return how many symbols there are, the text that is seen and the one that is judged."""
    alphabet, train, choose, held = importlib.import_module("benchmarks.sweeps").texts()
    return len(alphabet), *((np.append(train, choose), held) if last else (train, choose))


def measured(kind, rate, seed, seconds, last):
    """Return bits of a network and how many steps it took."""
    V, seen, text = parts(last)
    net = network(kind, V)
    params, steps = learned(net, seen, rate, seed, seconds)
    return [*(round(v, 4) for v in bits(net, params, text)), steps]


def counted(order):
    """Return bits of counts, how many they are, seconds that counting took, and bits to choose by."""
    found = []
    for last in (True, False):
        V, seen, text = parts(last)
        begin = process_time()
        model = NGram(order).fit(seen, V)
        used = process_time() - begin
        p = model.probabilities(text)[places(text)]
        found.append((round(-float(np.mean(np.log2(p))), 4), model.stored, round(used, 3)))
    return [*found[0], found[1][0]]


def best_rate(rates, tried_by):
    """Return the rates that were tried and what they gave, and the best: where that is least.

    As long as the best is the smallest or the largest, the next one beyond is tried.
    """
    tried, more = {}, [*rates]
    while more:
        tried |= dict(zip(more, tried_by(more), strict=True))
        best, known = min(tried, key=tried.get), sorted(tried)
        more = [best / 2] if best == known[0] else [best * 2] if best == known[-1] else []
    return [[rate, tried[rate]] for rate in known], best


def best_rates(firsts, run, spread, *more):
    """Return for each kind what `best_rate` finds by the first number that a run gives."""
    found = {}
    for kind, rates in firsts.items():

        def tried_by(some, kind=kind):
            jobs = [(kind, rate, CHOOSING, *more) for rate in some]
            return [got[0] for got in spread(run, *zip(*jobs, strict=True))]

        found[kind] = best_rate(rates, tried_by)
    return found


def runs_of(kinds, best, seeds, seconds, spread):
    """Return what each kind finds, seed by seed, and the kinds in turn at each seed."""
    jobs = [(kind, best[kind], seed, seconds, True) for seed in seeds for kind in kinds]
    found = [*spread(measured, *zip(*jobs, strict=True))]
    return {
        kind: [run for job, run in zip(jobs, found, strict=True) if job[0] == kind]
        for kind in kinds
    }


def told(runs):
    """Return bits, bits where the whole text is read on, and steps, by kind."""
    return {
        "held out": {kind: [run[0] for run in some] for kind, some in runs.items()},
        "read on": {
            kind: [run[1] for run in some] for kind, some in runs.items() if len(some[0]) == 3
        },
        "steps": {kind: [run[-1] for run in some] for kind, some in runs.items()},
    }


def transformer_table(spread):
    """Learn with each kind at each rate for a while; at the best of them with all seeds."""
    V = parts(True)[0]
    tried = best_rates(FIRST, measured, spread, SECONDS, False)
    best = {kind: rate for kind, (_, rate) in tried.items()}
    return {
        "symbols": V,
        "seconds": SECONDS,
        "seeds": [*SEEDS],
        "other": CHOOSING,
        "batch": [BATCH, LENGTH, PLACES],
        "sizes": {kind: network(kind, V).init(generator(0)).flat.size for kind in FIRST},
        "tried": {kind: rows for kind, (rows, _) in tried.items()},
        "best": best,
        "orders": [*ORDERS],
        "counts": [*spread(counted, ORDERS)],
        **told(runs_of([*FIRST], best, SEEDS, SECONDS, spread)),
    }


def transformer_longer(spread):
    """Learn for longer, at the rates of `transformer-table`."""
    best = sweeps.stored("transformer-table")["best"]
    runs = runs_of([*best], best, LONG_SEEDS, LONGER, spread)
    return {"seconds": LONGER, "seeds": [*LONG_SEEDS], **told(runs)}


DEPTHS, WAYS = (1, 2, 4, 8), ("pre", "post", "without")
DEEP_WIDTH, DEEP_STEPS = 32, 300
DEEP_FIRST = {"pre": (0.004, 0.008, 0.016), "post": (0.002, 0.004, 0.008)}
DEEP_FIRST["without"] = DEEP_FIRST["pre"]
RISES = (15, 100)  # steps over which a rate rises


def stacked(way, depth, V):
    """Return a decoder with so many blocks: norms first or last, or without residual paths."""
    how = {"residual": False} if way == "without" else {"norm": way}
    return Transformer(V, DEEP_WIDTH, depth, 4, LENGTH, **how)


def taught(net, params, steps, optimizer, given):
    """Return the parameters after so many steps, and the mean loss of the last twentieth of them."""
    numba.set_num_threads(1)
    grads, work, losses = like(params), net.workspace(BATCH), []
    slots = optimizer.start(params.flat)
    for step in range(1, steps + 1):
        losses.append(net.loss_and_grad(params, None, next(given), grads, work))
        clip(grads.flat, 1.0)
        optimizer.update(params.flat, grads.flat, slots, step)
    return params, float(np.mean(losses[-max(1, steps // 20) :]))


def deep(what, rate, seed, last):
    """Return bits of a decoder by way, depth and rise, and the bits of its last steps of training."""
    (way, depth, rise), (V, seen, text) = what, parts(last)
    net, draw = stacked(way, depth, V), generator(seed)
    adam = AdamW(WarmupCosine(rate, rise, DEEP_STEPS), beta2=0.99)
    params, loss = taught(net, net.init(draw), DEEP_STEPS, adam, batches(net, seen, draw))
    return [round(float(v), 4) for v in (*bits(net, params, text), loss / np.log(2))]


def transformer_depth(spread):
    """Learn with one to eight blocks, with residual paths and without, each at its own best rate.

    With the rate it is chosen over how many steps it rises.
    """
    kinds = [(way, depth, rise) for way in WAYS for depth in DEPTHS for rise in RISES]
    tried = best_rates({kind: DEEP_FIRST[kind[0]] for kind in kinds}, deep, spread, False)
    least = {kind: min(bits for _, bits in rows) for kind, (rows, _) in tried.items()}
    jobs = [(kind, tried[kind][1], seed, True) for kind in kinds for seed in SEEDS]
    runs = [*spread(deep, *zip(*jobs, strict=True))]
    by = {kind: runs[len(SEEDS) * k :][: len(SEEDS)] for k, kind in enumerate(kinds)}
    each = lambda way, depth: [(way, depth, rise) for rise in RISES]
    best = lambda way, depth: min(each(way, depth), key=least.get)
    table = lambda value: {way: [value(way, depth) for depth in DEPTHS] for way in WAYS}
    return {
        "depths": DEPTHS,
        "width": DEEP_WIDTH,
        "steps": DEEP_STEPS,
        "rises": RISES,
        "batch": [BATCH, LENGTH],
        "seeds": [*SEEDS],
        "other": CHOOSING,
        "tried": table(lambda *what: [tried[kind][0] for kind in each(*what)]),
        "best": table(lambda *what: tried[best(*what)][1]),
        "rising": table(lambda *what: best(*what)[2]),
        "held out": table(lambda *what: [run[0] for run in by[best(*what)]]),
        "training": table(lambda *what: [run[1] for run in by[best(*what)]]),
        "by rise": table(lambda *what: [[run[0] for run in by[kind]] for kind in each(*what)]),
    }


COPIERS = {"one": (1, False), "two": (2, False), "three": (3, False), "one, given": (1, True)}
COPY_STEPS, COPY_EVERY, COPY_BATCH = 300, 20, 32
COPY_FIRST = (0.006, 0.012, 0.024)


def copies(kind, rate, seed, steps=COPY_STEPS):
    """Return the share of symbols not foretold after the last step, shares foretold on the way, and
    where heads look at the end.
    """
    numba.set_num_threads(1)
    net, draw = copier(*COPIERS[kind]), generator(seed)
    params, work = net.init(draw), net.workspace(COPY_BATCH)
    adam, grads = Adam(WarmupCosine(rate, steps // 6, steps), beta2=0.98), like(params)
    slots, (x, y) = adam.start(params.flat), repeated(500, generator(1000 + seed))
    known, found = y >= 0, []
    for step in range(1, steps + 1):
        net.loss_and_grad(params, None, repeated(COPY_BATCH, draw), grads, work)
        adam.update(params.flat, grads.flat, slots, step)
        if step % COPY_EVERY == 0:
            right = net.predict(params, None, x) == y
            found.append(round(float(right[known].mean()), 4))
    looks = looked_at(net, params, x, y).round(4).tolist()
    return [round(1 - found[-1], 4), found, looks]


def transformer_copies(spread):
    """Learn to go on with strings that repeat, with one block to three and a control."""
    tried = best_rates(dict.fromkeys(COPIERS, COPY_FIRST), copies, spread)
    jobs = [(kind, tried[kind][1], seed) for kind in COPIERS for seed in range(10)]
    runs = [*spread(copies, *zip(*jobs, strict=True))]
    sizes = {kind: copier(*how).size for kind, how in COPIERS.items()}
    return {
        "steps": COPY_STEPS,
        "every": COPY_EVERY,
        "batch": COPY_BATCH,
        "seeds": [*range(10)],
        "other": CHOOSING,
        "sizes": sizes,
        "tried": {kind: rows for kind, (rows, _) in tried.items()},
        "best": {kind: rate for kind, (_, rate) in tried.items()},
        **{
            name: {
                kind: [run[k] for job, run in zip(jobs, runs, strict=True) if job[0] == kind]
                for kind in COPIERS
            }
            for name, k in (("right", 1), ("looks", 2))
        },
    }


WRITER = {"width": 128, "blocks": 3, "heads": 4, "length": 128, "dropout": 0.1}
WRITER_STEPS, WRITER_BATCH, WRITER_RATE, WRITER_PART = 3600, 16, 0.004, 300


def writer(V):
    """Return the decoder whose parameters are stored."""
    return Transformer(V, **WRITER)


def expected(net, params, ids):
    """Return the bits per symbol of a text, each with at least half a context before it."""
    half = net.length // 2
    lines = np.lib.stride_tricks.sliding_window_view(ids, net.length + 1)[::half]
    return needed(net.outputs(params, None, lines[:, :-1].copy())[:, half:], lines[:, half + 1 :])


def written(rate=WRITER_RATE, steps=WRITER_STEPS):
    """Return the alphabet, the decoder, its parameters, and by steps what it needs of the second part."""
    alphabet, train, choose, _ = importlib.import_module("benchmarks.sweeps").texts()
    net, draw = writer(len(alphabet)), generator(0)
    params, work = net.init(draw), net.workspace(WRITER_BATCH)
    adam, grads = (
        AdamW(WarmupCosine(rate, steps // 20, steps), beta2=0.99, weight_decay=0.1),
        like(params),
    )
    slots, seen = adam.start(params.flat), []
    lines = np.lib.stride_tricks.sliding_window_view(train, net.length + 1)
    for step in range(1, steps + 1):
        some = lines[draw.integers(len(lines), size=WRITER_BATCH)]
        batch = some[:, :-1].copy(), some[:, 1:].copy()
        net.loss_and_grad(params, None, batch, grads, work, draw)
        clip(grads.flat, 1.0)
        adam.update(params.flat, grads.flat, slots, step)
        if step % WRITER_PART == 0:
            seen.append(round(expected(net, params, choose), 4))
    return alphabet, net, params, seen


def in_half(params):
    """Return parameters rounded to 16 bits."""
    return like(params, params.flat.astype(np.float16).astype(np.float32))


def stored_writer():
    """Learn the decoder, write it, and return what it needs of each part of the text."""
    begin = process_time()
    alphabet, net, params, seen = written()
    used = process_time() - begin
    python = ".".join(platform.python_version_tuple()[:2])
    np.savez_compressed(
        data.WRITER,
        flat=params.flat.astype(np.float16),
        symbols=np.array(alphabet.symbols),
        unknown=np.array(alphabet.unknown),
        python=np.array(python),
    )
    _, train, choose, held = importlib.import_module("benchmarks.sweeps").texts()
    judged = {"seen": train[: len(held)], "chosen": choose, "held out": held}
    return {
        "settings": WRITER,
        "size": net.size,
        "steps": WRITER_STEPS,
        "batch": WRITER_BATCH,
        "rate": WRITER_RATE,
        "minutes": round(used / 60, 1),
        "every": WRITER_PART,
        "on the way": seen,
        "bits": {part: round(expected(net, params, ids), 4) for part, ids in judged.items()},
        "in half": round(expected(net, in_half(params), held), 4),
    }


def transformer_text(spread):
    """Learn the decoder that the page writes with, and store it."""
    return next(iter(spread(run, [stored_writer])))


def run(function):
    """Call a function, in a process of its own."""
    return function()
