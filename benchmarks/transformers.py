"""Runs of `transformer` that are too long for a page: one table of all language models, and a model.

A network learns until one thread has worked for so many seconds; its rate rises over the first
twentieth of them and falls along a cosine to zero.
"""

import importlib
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
from dlbook.optimization import AdamW
from dlbook.tools import sweeps
from dlbook.tools.flat import like
from dlbook.training import clip

__all__ = ["transformer_longer", "transformer_table"]

SEEDS, CHOOSING, LONG_SEEDS = range(5), 100, range(3)
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
    draw = generator(seed)
    params, work, used, step = net.init(draw), net.workspace(BATCH), 0.0, 0
    adam, grads = AdamW(rate, beta2=0.99), like(params)
    slots, given = adam.start(params.flat), batches(net, ids, draw)
    scratch = params.flat.copy(), slots.copy()
    net.loss_and_grad(params, None, next(given), grads, work)  # what is compiled is not counted
    adam.update(scratch[0], grads.flat, scratch[1], 1)
    numba.set_num_threads(1)
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
    """Return bits of counts, how many they are, and the seconds that counting took."""
    V, seen, text = parts(True)
    begin = process_time()
    model = NGram(order).fit(seen, V)
    used = process_time() - begin
    p = model.probabilities(text)[places(text)]
    return round(-float(np.mean(np.log2(p))), 4), model.stored, round(used, 3)


def best_rates(spread):
    """Return for each kind the rates that were tried, what they gave, and the best.

    As long as the best is the smallest or the largest, the next one beyond is tried.
    """
    found = {}
    for kind, rates in FIRST.items():
        tried, more = {}, [*rates]
        while more:
            jobs = [(kind, rate, CHOOSING, SECONDS, False) for rate in more]
            runs = spread(measured, *zip(*jobs, strict=True))
            tried |= {rate: run[0] for rate, run in zip(more, runs, strict=True)}
            best, known = min(tried, key=tried.get), sorted(tried)
            more = [best / 2] if best == known[0] else [best * 2] if best == known[-1] else []
        found[kind] = [[[rate, tried[rate]] for rate in known], best]
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
    tried = best_rates(spread)
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
