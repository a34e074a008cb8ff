"""Runs that are too long for a page: `make sweeps` repeats them, and pages show what is stored.

``python -m benchmarks.sweeps gated-text`` runs one and writes `dlbook/tools/sweeps.json`.
"""

import argparse
import json
from concurrent.futures import ProcessPoolExecutor
from itertools import cycle, product

import numpy as np

from benchmarks import machine
from benchmarks.adversarial import gan_averaged, gan_digits, gan_released, gan_ring, gan_slow
from benchmarks.captions import (
    captioning_coverage,
    captioning_fixed,
    captioning_looks,
    captioning_taught,
)
from benchmarks.codes import variational_digits
from benchmarks.diffusing import (
    diffusion_digits,
    diffusion_models,
    diffusion_others,
    diffusion_real,
)
from benchmarks.growth import transformer_growth
from benchmarks.languages import language_models_window
from benchmarks.likelihoods import diffusion_bits
from benchmarks.scaling import scaling_batch, scaling_rule
from benchmarks.scenes import vision_boxes, vision_dice, vision_masks, vision_transfer
from benchmarks.styles import gan_style
from benchmarks.transformers import (
    transformer_copies,
    transformer_depth,
    transformer_longer,
    transformer_table,
    transformer_text,
)
from benchmarks.workers import scaling_workers
from dlbook import embeddings
from dlbook.backprop import half_shifts, init, predict, train
from dlbook.nets import EncoderDecoder, RecurrentNetwork, fit, small
from dlbook.nets.embeddings import train_skipgram
from dlbook.optimization import Adam, WarmupCosine
from dlbook.rnn import adding_problem, tracks
from dlbook.sequence_tasks import ISO, WRITTEN, dates, dates_right
from dlbook.tools import data, sweeps
from dlbook.tools.flat import like
from dlbook.tools.text import Alphabet, Vocabulary
from dlbook.training import clip

RATES = (0.005, 0.01, 0.02, 0.04, 0.08)
CELLS = ("tanh", "gru", "lstm")
SEEDS = range(5)
BUDGETS = (5e8, 10e8, 20e8, 40e8)
UNITS, BATCH, PIECE = 32, 16, 25


def texts():
    """Return the alphabet and the symbols to learn from, to choose rates by, and held out."""
    text = data.pydocs()
    last = text.index("\n\n", int(0.9 * len(text)))
    border = text.index("\n\n", int(0.9 * last))
    alphabet = Alphabet.of(text[:last], min_count=20, unknown="\ufffd")
    parts = text[:border], text[border:last], text[last:]
    return alphabet, *map(alphabet.encode, parts)


def read(net, params, rate, train):
    """Learn piece by piece, states carried on; yield the multiplications so far."""
    adam, grads, work = Adam(rate), like(params), net.workspace(BATCH)
    slots, (x, y) = adam.start(params.flat), tracks(train, BATCH)
    each = 3 * BATCH * PIECE * sum(w.size for w in (*params.wh, params.wy))
    carried = [np.zeros((BATCH, UNITS), np.float32)] * net.carried
    starts = range(0, x.shape[1] - PIECE, PIECE)
    for step, m in enumerate(cycle(starts), 1):
        piece = x[:, m : m + PIECE], y[:, m : m + PIECE], np.full(BATCH, PIECE)
        carried = net.through_time(params, piece, carried, grads, work)[1]
        clip(grads.flat, 1.0)
        adam.update(params.flat, grads.flat, slots, step)
        yield step * each


def bits(cell, rate, seed, chosen):
    """Return bits per character after each budget, on the text that rates are chosen by or not."""
    alphabet, train, choose, held = texts()
    V = len(alphabet)
    net = RecurrentNetwork(V, UNITS, V, cell=cell, symbols=True, initial="orthogonal")
    params, found = net.init(np.random.default_rng(seed)), []
    train, test = (np.append(train, choose), held) if chosen else (train, choose)
    test, learning = net.check(params, tracks(test, 8)), read(net, params, rate, train)
    for budget in BUDGETS:
        next(used for used in learning if used >= budget)
        found.append(round(float(net.loss(params, None, test) / np.log(2)), 3))
    return found


def gated_text(spread):
    """Each cell at each rate with the first seed; at the best of them with all seeds."""
    pairs = [*product(CELLS, RATES)]
    tried = [*spread(bits, *zip(*((*pair, 0, False) for pair in pairs), strict=True))]
    at = dict(zip(pairs, tried, strict=True))
    best = {cell: min(RATES, key=lambda r: at[cell, r][-1]) for cell in CELLS}
    jobs = [(cell, best[cell], seed, True) for cell in CELLS for seed in SEEDS]
    runs = [*spread(bits, *zip(*jobs, strict=True))]
    return {
        "symbols": len(texts()[0]),
        "units": UNITS,
        "budgets": BUDGETS,
        "rates": RATES,
        "seeds": [*SEEDS],
        "best": best,
        "chosen by": {cell: [at[cell, rate] for rate in RATES] for cell in CELLS},
        "held out": {
            cell: [run for job, run in zip(jobs, runs, strict=True) if job[0] == cell]
            for cell in CELLS
        },
    }


def added(seed, rate=0.002, lag=50, most=20_000):
    """Return after how many batches units of tanh solve the adding problem, and the last error."""
    net = RecurrentNetwork(2, 16, 1, reads="last", cost="squares", initial="orthogonal")
    draw = np.random.default_rng(seed)
    params, adam = net.init(draw), Adam(rate)
    test = net.check(params, adding_problem(500, lag, draw))
    grads, slots, work = like(params), adam.start(params.flat), net.workspace(32)
    for step in range(1, most + 1):
        batch = net.check(params, adding_problem(32, lag, draw))
        net.loss_and_grad(params, None, batch, grads, work)
        clip(grads.flat, 1.0)
        adam.update(params.flat, grads.flat, slots, step)
        if step % 50 == 0 and (error := net.loss(params, None, test)) < 0.01:
            break
    return step, round(float(error), 6)


def gated_patience(spread):
    """Give units of tanh a small rate, and many batches of the adding problem of `gated`."""
    return {"rate": 0.002, "most": 20_000, "seeds": [*SEEDS], "found": [*spread(added, SEEDS)]}


PEAKS, LAST = (0.005, 0.01, 0.02, 0.04, 0.08), 0.0002
STEPS = (1_280, 5_120, 15_360)


def converted(steps, peak, seed, other):
    """Learn dates as `sequence_tasks` does; return the share of right ones in lines of 1 to 6."""
    draw = np.random.default_rng(seed)
    lines = dates(8 * steps, draw)
    net = EncoderDecoder(len(WRITTEN), 64, len(ISO), max_length=60, forget_bias=2.0)
    adam = Adam(WarmupCosine(peak, 20, steps, LAST))
    out = fit(net, net.init(draw), lines.arrays, adam, draw, epochs=4, batch=32, clip=1.0)
    draw, right = np.random.default_rng(other), []
    for k in range(1, 7):
        some = dates(100, draw, min_dates=k, max_dates=k)
        found = net.predict(out.params, None, some.x, some.lengths)
        right.append(round(float(dates_right(found, some)[1].mean()), 4))
    return right


def sequence_tasks_budget(spread):
    """Give an encoder and a decoder more steps, and more lines with them, each at its own rate."""
    pairs = [*product(STEPS, PEAKS)]
    tried = [*spread(converted, *zip(*((*pair, 5, 11) for pair in pairs), strict=True))]
    score = {pair: sum(right) for pair, right in zip(pairs, tried, strict=True)}
    best = [max(PEAKS, key=lambda peak: score[steps, peak]) for steps in STEPS]
    jobs = [(*pair, seed, 2026) for pair in zip(STEPS, best, strict=True) for seed in SEEDS]
    runs = iter(spread(converted, *zip(*jobs, strict=True)))
    return {
        "steps": STEPS,
        "peaks": PEAKS,
        "last": LAST,
        "seeds": [*SEEDS],
        "chosen by": [[score[steps, peak] / 6 for peak in PEAKS] for steps in STEPS],
        "best": best,
        "right": [[next(runs) for _ in SEEDS] for _ in STEPS],
    }


HIDDEN, SPEEDS = (32, 64, 128), (0.3, 1.0, 3.0)


def folds(hidden, rate, epochs=20, parts=5):
    """Learn moved digits as `backprop` does, one part held out; return the shares read of each."""
    d, found = data.digits(), []
    x, y = np.vstack([d.x_train, d.x_val]), np.concatenate([d.y_train, d.y_val])
    held = np.random.default_rng(0).permutation(len(x)) % parts
    for part in range(parts):
        rest, draw = held != part, np.random.default_rng(part)
        start, moved = init((64, hidden, 10), draw), half_shifts(x[rest], 8)
        net = train(start, moved, np.tile(y[rest], 5), draw, rate=rate, epochs=epochs, batch=10)
        right = predict(net.params, None, x[~rest]) == y[~rest]
        found.append(round(float(right.mean()), 4))
    return found


def backprop_digits(spread):
    """Read digits with more and fewer hidden neurons, at larger and smaller rates."""
    pairs = [*product(HIDDEN, SPEEDS)]
    found = [*spread(folds, *zip(*pairs, strict=True))]
    return {
        "hidden": HIDDEN,
        "rates": SPEEDS,
        "held out": [found[k : k + len(SPEEDS)] for k in range(0, len(found), len(SPEEDS))],
    }


DEPTHS = {  # layers, and the rates that are tried
    2: (0.004, 0.008, 0.016, 0.032, 0.064),
    4: (0.002, 0.004, 0.008, 0.016, 0.032),
    8: (0.001, 0.002, 0.004, 0.008, 0.016),
    16: (0.0005, 0.001, 0.002, 0.004, 0.008),
    32: (0.0005, 0.001, 0.002, 0.004, 0.008),
}
BLOCKS = {  # residual, batch norm, last filters of a block zero
    "plain": (False, False, False),
    "residual": (True, False, False),
    "residual, zero": (True, False, True),
    "plain, batch norm": (False, True, False),
    "residual, batch norm": (True, True, False),
}
OTHERS = (100, 101)  # seeds that rates are chosen by


def best_of(runs, spread, run, rates, better, seeds):
    """Return for each of `runs` what all rates give, the best, and what that gives with all seeds."""
    jobs = [(k, rate, seed) for k, key in enumerate(runs) for rate in rates[key] for seed in OTHERS]
    tried = spread(run, *zip(*((runs[k], rate, seed) for k, rate, seed in jobs), strict=True))
    at = {}
    for (k, rate, _), found in zip(jobs, tried, strict=True):
        at.setdefault((k, rate), []).append(better(found))
    scores = [[float(np.mean(at[k, rate])) for rate in rates[key]] for k, key in enumerate(runs)]
    best = [rates[key][int(np.argmin(row))] for key, row in zip(runs, scores, strict=True)]
    shown = [(key, rate, seed) for key, rate in zip(runs, best, strict=True) for seed in seeds]
    found = iter([*spread(run, *zip(*shown, strict=True))])
    return scores, best, [[next(found) for _ in seeds] for _ in runs]


def fallen(what, rate, seed):
    """Return the training loss after each of seven epochs, and at the end on all digits at once."""
    (residual, norm, zero), layers = BLOCKS[what[0]], what[1]
    net, d = small.deep(layers, residual=residual, norm=norm, zero=zero), data.digits(np.float32)
    pair = small.images(d.x_train), d.y_train
    out = small.learned(net, pair, rate, seed)
    last = small.training_loss(net, out, pair)
    return [round(float(v), 4) for v in (*out.history.loss, last)]


def architectures_depth(spread):
    """Train plain and residual networks of 2 to 32 layers, each kind and depth at its best rate."""
    runs = [*product(BLOCKS, DEPTHS)]
    rates = {key: DEPTHS[key[1]] for key in runs}
    scores, best, found = best_of(runs, spread, fallen, rates, lambda v: v[-1], SEEDS)
    each = len(DEPTHS)
    rows = range(0, len(runs), each)
    return {
        "layers": [*DEPTHS],
        "rates": [*DEPTHS.values()],
        "others": OTHERS,
        "seeds": [*SEEDS],
        "chosen by": {key: scores[k : k + each] for key, k in zip(BLOCKS, rows, strict=True)},
        "best": {key: best[k : k + each] for key, k in zip(BLOCKS, rows, strict=True)},
        "last": {
            key: [[run[-1] for run in runs_] for runs_ in found[k : k + each]]
            for key, k in zip(BLOCKS, rows, strict=True)
        },
        "epochs": {
            key: [[run[:-1] for run in runs_] for runs_ in found[k : k + each]]
            for key, k in zip(BLOCKS, rows, strict=True)
        },
    }


WAYS = {
    "naive": (small.branched, 64, None),
    "reduced": (small.branched, 64, 8),
    "narrow": (small.branched, 28, None),
    "flat": (small.headed, "flat"),
    "mean": (small.headed, "mean"),
}
STACKS = {
    kind: (small.stacked, kind) for kind in ("large", "same maps", "same weights", "straight")
}
PEAK_RATES = (0.003, 0.006, 0.012, 0.024, 0.048)


def misread(what, peak, seed, epochs=8):
    """Return the shares that are misread: of digits to choose by, of held-out ones, and of these, moved."""
    build, *how = (WAYS | STACKS)[what]
    net, d = build(*how), data.digits(np.float32)
    steps = epochs * -(-len(d.x_train) // 64)
    rate = WarmupCosine(peak, 20, steps)
    out = small.learned(net, (small.images(d.x_train), d.y_train), rate, seed, epochs)
    held = small.images(d.x_test)
    parts = [(small.images(d.x_val), d.y_val), (held, d.y_test)]
    parts += [(moved, d.y_test) for moved in small.neighbours(held)]
    wrong = [float(np.mean(net.predict(out.params, out.state, x) != y)) for x, y in parts]
    return [round(float(v), 4) for v in (wrong[0], wrong[1], np.mean(wrong[2:]))]


def read_by(kinds, spread):
    """Return what `misread` finds for each kind, at its own best rate and with ten seeds."""
    rates = dict.fromkeys(kinds, PEAK_RATES)
    scores, best, found = best_of([*kinds], spread, misread, rates, lambda v: v[0], range(10))
    return {
        "rates": PEAK_RATES,
        "others": OTHERS,
        "seeds": [*range(10)],
        "chosen by": dict(zip(kinds, scores, strict=True)),
        "best": dict(zip(kinds, best, strict=True)),
        "wrong": {key: [run[1] for run in runs] for key, runs in zip(kinds, found, strict=True)},
        "moved": {key: [run[2] for run in runs] for key, runs in zip(kinds, found, strict=True)},
    }


def architectures_ways(spread):
    """Read digits with Inception blocks of three kinds, and with heads of two."""
    return read_by(WAYS, spread)


def architectures_stacks(spread):
    """Read digits with units of one 5 × 5 convolution, or of two of 3 × 3."""
    return read_by(STACKS, spread)


def cut(kind, rate, seed):
    """Return the share of held-out digits misread by 16 layers, and without each of their blocks.

    Of residual networks also, by block, what the branch does with 20 held-out digits, and what
    share of the gradient comes by paths through how many branches, both in the mean.
    """
    residual, norm, zero = BLOCKS[kind]
    net, d = small.deep(16, residual=residual, norm=norm, zero=zero), data.digits(np.float32)
    out = small.learned(net, (small.images(d.x_train), d.y_train), rate, seed)
    x, nets = small.images(d.x_test), [(net, out.params, out.state)]
    nets += [small.lesioned(net, out, block) for block in range(7)]
    wrong = [round(float(np.mean(n.predict(*p, x) != d.y_test)), 4) for n, *p in nets]
    if not residual:
        return [wrong]
    found = small.paths(net, out, (x[:20], d.y_test[:20]))
    sizes = np.linalg.norm(found.carried, axis=2)
    means = (found.lengthens, found.adds, sizes / sizes.sum(axis=0))
    return [wrong, *(np.round(part.mean(axis=1), 4).tolist() for part in means)]


def architectures_lesions(spread):
    """Train 16 layers at the rates of `architectures-depth`, and take out one block at a time."""
    chosen = sweeps.stored("architectures-depth")
    at = chosen["layers"].index(16)
    jobs = [(kind, chosen["best"][kind][at], seed) for kind in BLOCKS for seed in SEEDS]
    found = iter([*spread(cut, *zip(*jobs, strict=True))])
    runs = {kind: [next(found) for _ in SEEDS] for kind in BLOCKS}
    sums = [kind for kind, (residual, *_) in BLOCKS.items() if residual]
    part = lambda k: {kind: [run[k] for run in runs[kind]] for kind in sums}
    return {
        "seeds": [*SEEDS],
        "whole": {kind: [run[0][0] for run in each] for kind, each in runs.items()},
        "without": {kind: [run[0][1:] for run in each] for kind, each in runs.items()},
        "lengthens": part(1),
        "adds": part(2),
        "carried": part(3),
    }


LONG, LONGER = ("plain", "plain, batch norm"), 28  # kinds that are trained on, and their epochs


def unseen(what, rate, seed, epochs=7):
    """Return the share of held-out digits that is misread, and the training loss by epoch and at the end."""
    (residual, norm, zero), layers = BLOCKS[what[0]], what[1]
    net, d = small.deep(layers, residual=residual, norm=norm, zero=zero), data.digits(np.float32)
    pair = small.images(d.x_train), d.y_train
    out = small.learned(net, pair, rate, seed, epochs)
    wrong = np.mean(net.predict(out.params, out.state, small.images(d.x_test)) != d.y_test)
    last = small.training_loss(net, out, pair)
    return [round(float(v), 4) for v in (wrong, *out.history.loss, last)]


def architectures_unseen(spread):
    """Judge the networks of `architectures-depth` by digits held out, and train 32 layers on."""
    chosen = sweeps.stored("architectures-depth")
    best = {
        (kind, n): rate
        for kind in BLOCKS
        for n, rate in zip(chosen["layers"], chosen["best"][kind], strict=True)
    }
    jobs = [(*key, seed, 7) for key in best for seed in SEEDS]
    jobs += [(kind, 32, seed, LONGER) for kind in LONG for seed in SEEDS]
    runs = spread(
        unseen,
        *zip(*(((k, n), best[k, n], seed, epochs) for k, n, seed, epochs in jobs), strict=True),
    )
    at = dict(zip(jobs, runs, strict=True))
    return {
        "layers": chosen["layers"],
        "seeds": [*SEEDS],
        "wrong": {
            kind: [[at[kind, n, seed, 7][0] for seed in SEEDS] for n in chosen["layers"]]
            for kind in BLOCKS
        },
        "longer": LONGER,
        "wrong of longer": {
            kind: [at[kind, 32, seed, LONGER][0] for seed in SEEDS] for kind in LONG
        },
        "loss of longer": {
            kind: [at[kind, 32, seed, LONGER][1:] for seed in SEEDS] for kind in LONG
        },
    }


FEW, LEARNED = (
    (2, 5, 10, 20),
    {"rate": 0.1, "dimension": 50, "window": 5, "negatives": 5, "epochs": 10},
)
TURNED = {
    "rate": (0.025, 0.05, 0.1, 0.2, 0.4),
    "dimension": (10, 25, 50, 100, 200),
    "window": (1, 2, 5, 10, 20),
    "negatives": (1, 2, 5, 10, 20),
    "epochs": (5, 10, 20, 40),
}
COUNTED = [*product((1.0, 2.0, 5.0), (0.0, 0.5, 1.0))]  # shift and power of PPMI


def sorted_paragraphs(kind, setting, seed):
    """Return balanced accuracies with few labels: learn from the second half of the text, judge by the first."""
    paragraphs = data.pydocs().split("\n\n")
    vocabulary, labelled = Vocabulary.of(paragraphs, min_count=5), data.pydocs_groups()
    ids, starts = vocabulary.encode(paragraphs[1::2])
    size, draw = len(vocabulary), np.random.default_rng(seed)
    if kind == "learned":
        W = train_skipgram(ids, starts, size, rng=draw, **setting).words
    else:
        n = embeddings.cooccurrence(ids, starts, size, 5)
        W = embeddings.svd_vectors(embeddings.ppmi(n, setting[0]), 50, power=setting[1])
    unit = lambda x: x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12)
    weight = embeddings.idf(ids, starts, size)
    x = unit(embeddings.document_vectors(*vocabulary.encode(labelled.texts), weight, unit(W)))
    place = {p.rstrip(): k for k, p in enumerate(paragraphs)}
    second = np.array([place[text] % 2 for text in labelled.texts]) == 1
    groups, found = range(len(labelled.names)), []
    for labels in FEW:
        draw = np.random.default_rng(seed)
        given = [draw.permutation(np.flatnonzero(second & (labelled.groups == k))) for k in groups]
        mean = unit(np.array([x[some[:labels]].mean(axis=0) for some in given]))
        right = (x @ mean.T).argmax(axis=1) == labelled.groups
        shares = [right[~second & (labelled.groups == k)].mean() for k in groups]
        found.append(round(float(np.mean(shares)), 4))
    return found


def embeddings_settings(spread):
    """Turn one setting of the learned vectors at a time, and those of the counted ones together."""
    turned = [(name, value) for name, values in TURNED.items() for value in values]
    jobs = [
        ("learned", LEARNED | {name: value}, seed)
        for name, value in turned
        for seed in range(100, 105)
    ]
    jobs += [("counted", setting, seed) for setting in COUNTED for seed in range(100, 105)]
    runs = np.array([*spread(sorted_paragraphs, *zip(*jobs, strict=True))])
    mean = iter(runs.reshape(-1, 5, len(FEW)).mean(axis=1).round(4).tolist())
    return {
        "labels": FEW,
        "seeds": [*range(100, 105)],
        "usual": LEARNED,
        "learned": {name: [[value, next(mean)] for value in TURNED[name]] for name in TURNED},
        "counted": [[*setting, next(mean)] for setting in COUNTED],
    }


SWEEPS = {
    "architectures-depth": architectures_depth,
    "architectures-lesions": architectures_lesions,
    "architectures-stacks": architectures_stacks,
    "architectures-unseen": architectures_unseen,
    "architectures-ways": architectures_ways,
    "backprop-digits": backprop_digits,
    "diffusion-bits": diffusion_bits,
    "captioning-coverage": captioning_coverage,
    "captioning-fixed": captioning_fixed,
    "captioning-looks": captioning_looks,
    "captioning-taught": captioning_taught,
    "diffusion-digits": diffusion_digits,
    "diffusion-models": diffusion_models,
    "diffusion-others": diffusion_others,
    "diffusion-real": diffusion_real,
    "embeddings-settings": embeddings_settings,
    "gan-averaged": gan_averaged,
    "gan-digits": gan_digits,
    "gan-released": gan_released,
    "gan-ring": gan_ring,
    "gan-slow": gan_slow,
    "gan-style": gan_style,
    "gated-patience": gated_patience,
    "gated-text": gated_text,
    "language-models-window": language_models_window,
    "scaling-workers": scaling_workers,
    "scaling-batch": scaling_batch,
    "scaling-rule": scaling_rule,
    "sequence_tasks-budget": sequence_tasks_budget,
    "transformer-copies": transformer_copies,
    "transformer-depth": transformer_depth,
    "transformer-growth": transformer_growth,
    "transformer-longer": transformer_longer,
    "transformer-table": transformer_table,
    "transformer-text": transformer_text,
    "variational-digits": variational_digits,
    "vision-boxes": vision_boxes,
    "vision-dice": vision_dice,
    "vision-masks": vision_masks,
    "vision-transfer": vision_transfer,
}


def where():
    """Return the machine that a sweep ran on, and the state of the code."""
    head = machine.header()
    kept = {name: head[name] for name in ("processor", "cores", "date", "commit", "changed")}
    return kept | {"python": head["versions"]["python"]}


def main():
    """Run the sweeps that are named, all if none is, and store what they found."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.sweeps", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="name", help=", ".join(SWEEPS))
    parser.add_argument("--processes", type=int, default=None)
    given = parser.parse_args()
    for name in given.names or SWEEPS:
        if name not in SWEEPS:
            parser.error(f"{name} is no sweep, expected one of {', '.join(SWEEPS)}")
        here = where()  # the state of the code with which it begins
        with ProcessPoolExecutor(given.processes) as pool:
            found = SWEEPS[name](pool.map)
        stored = json.loads(sweeps.FILE.read_text()) if sweeps.FILE.is_file() else {}
        stored[name] = {"machine": here} | found
        sweeps.FILE.write_text(json.dumps(stored, indent=1) + "\n")


if __name__ == "__main__":
    main()
