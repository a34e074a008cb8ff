"""Exercises of the chapter on the transformer.

Page: ``book/transformer.md``. Axes: t and s steps, m numbers of a step, j hidden units, v symbols,
i cases.
"""

import numpy as np
from scipy import special

from dlbook.exercises.forms import Choice, Exercise, Mistake, sizes
from dlbook.tools.jit import njit
from dlbook.transformer import nucleus

__all__ = ["EXERCISES"]


# Both parts from one reading


def parallel_probes(rng):
    """One step of two numbers; then more, with weights that look back only."""
    yield np.array([[1.0, 3.0]]), np.ones((1, 1)), np.array([[2.0, 5.0]]), np.array([[1.0], [4.0]])
    for _ in range(4):
        t, m, j = sizes(rng, 3, least=2, most=7)
        z = np.where(np.tri(t) > 0, rng.normal(size=(t, t)), -np.inf)
        x = rng.normal(size=(t, m + 1)) * 2 + 1
        w = rng.normal(size=(j, m + 1)), rng.normal(size=(m + 1, j))
        yield x, special.softmax(z, axis=1), *w


def _normed(x):
    apart = x - x.mean(axis=-1, keepdims=True)
    return apart / apart.std(axis=-1, keepdims=True)


def _net(n, w1, w2):
    return np.maximum(n @ w1.T, 0) @ w2.T


def parallel(x, a, w1, w2):
    n = _normed(x)
    return x + a @ n + _net(n, w1, w2)


def parallel_loops(x, a, w1, w2):
    n = np.array([(row - row.mean()) / row.std() for row in x])
    y = x.copy()
    for t in range(len(x)):
        for s in range(len(x)):
            y[t] += a[t, s] * n[s]
        for j in range(len(w1)):
            y[t] += w2[:, j] * max(0.0, w1[j] @ n[t])
    return y


def parallel_einsum(x, a, w1, w2):
    n = (x - x.mean(1)[:, None]) / np.sqrt(x.var(1))[:, None]
    u = np.einsum("tm,jm->tj", n, w1)
    return x + np.einsum("ts,sm->tm", a, n) + np.einsum("tj,mj->tm", u * (u > 0), w2)


@njit
def parallel_compiled(x, a, w1, w2):
    (T, M), n, y = x.shape, np.empty_like(x), x.copy()
    for t in range(T):
        mean = np.sum(x[t]) / M
        n[t] = (x[t] - mean) / np.sqrt(np.sum((x[t] - mean) ** 2) / M)
    for t in range(T):
        for s in range(T):
            y[t] += a[t, s] * n[s]
        for j in range(w1.shape[0]):
            u = np.sum(w1[j] * n[t])
            if u > 0:
                y[t] += w2[:, j] * u
    return y


def _in_turn(x, a, w1, w2):
    y = x + a @ _normed(x)
    return y + _net(_normed(y), w1, w2)


def _normed_sums(x, a, w1, w2):
    y = _normed(x + a @ x)
    return _normed(y + _net(y, w1, w2))


PARALLEL = Exercise(
    label="transformer-parallel",
    task="Write `parallel(x, a, w1, w2)`: the stream plus what attention with the weights a and a rectified net make of the normed stream, side by side.",
    reference=parallel,
    axes="(t m), (t t), (j m), (m j) -> (t m)",
    probes=parallel_probes,
    mistakes=(
        Mistake(
            "the net reads what attention has written",
            _in_turn,
            "That is the block of the page, one part after the other. Here both read the same normed stream.",
            "{eq}`transformer-block`",
        ),
        Mistake(
            "the norms stand behind the sums",
            _normed_sums,
            "That is the block of 2017, in turn. Here the stream itself is never normed, only what is read from it.",
            "{eq}`transformer-post-norm`",
        ),
        Mistake(
            "the normed stream is carried on",
            lambda x, a, w1, w2: parallel(x, a, w1, w2) - x + _normed(x),
            "What is added is added to x itself, so that it goes through all blocks as it is.",
            "{eq}`transformer-stream`",
        ),
        Mistake(
            "the stream is added twice",
            lambda x, a, w1, w2: parallel(x, a, w1, w2) + x,
            "Two parts are added to one stream; each part by itself has no stream in it.",
            "{eq}`transformer-stream`",
        ),
        Mistake(
            "the stream is not added",
            lambda x, a, w1, w2: parallel(x, a, w1, w2) - x,
            "Without x there is no path around the parts, neither for the stream nor for its gradient.",
            "{eq}`transformer-stream`",
        ),
        Mistake(
            "attention reads the stream without a norm",
            lambda x, a, w1, w2: x + a @ x + _net(_normed(x), w1, w2),
            "Both parts read the normed stream.",
            "{eq}`transformer-block`",
        ),
        Mistake(
            "the net reads the stream without a norm",
            lambda x, a, w1, w2: x + a @ _normed(x) + _net(x, w1, w2),
            "Both parts read the normed stream.",
            "{eq}`transformer-block`",
        ),
        Mistake(
            "numbers are normed over the steps",
            lambda x, a, w1, w2: x + a @ _over_steps(x) + _net(_over_steps(x), w1, w2),
            "A step is normed by itself, over its own numbers: others may be in the future.",
            "{eq}`transformer-block`",
        ),
    ),
    hints=(
        "Norm once, and give the same n to both parts.",
        "n has mean 0 and standard deviation 1 in each row: axis −1, with keepdims.",
        "x + a @ n + np.maximum(n @ w1.T, 0) @ w2.T.",
    ),
    used="In {eq}`transformer-block` the net reads behind the first sum; both write to one stream, {eq}`transformer-stream`.",
    right=(parallel_loops, parallel_einsum, parallel_compiled),
    others=(
        (lambda *args: -parallel(*args), "every number has the opposite sign"),
        (lambda *args: parallel(*args)[0], "wrong type or shape"),
        (lambda *args: parallel(*args) + 0.01, "wrong"),
    ),
)


def _over_steps(x):
    """Return what a norm over the steps makes, where there are several."""
    apart = x - x.mean(axis=0)
    spread = apart.std(axis=0)
    return apart / np.where(spread > 0, spread, 1)


# Scores with weights of their own


def own_probes(rng):
    """Five symbols, three places, two numbers, one block; then several depths of other decoders."""
    yield 5, 3, 2, np.array([1.0])
    for i in sizes(rng, 4, least=2, most=12):
        V, C, M = (int(n) for n in rng.integers(7, 900, size=3))
        yield V, C, M, rng.permutation(np.arange(1.0, 13.0))[:i]


def with_own_scores(V, C, M, L):
    return 2 * V * M + C * M + L * (12 * M**2 + 13 * M) + 2 * M


def own_listed(V, C, M, L):
    norm, heads, net = 2 * M, 4 * (M * M + M), 4 * M * M + 4 * M + 4 * M * M + M
    return np.array([V * M + C * M + int(n) * (2 * norm + heads + net) + norm + V * M for n in L])


def own_arrays(V, C, M, L):
    block = [(M,)] * 4 + [(M, M)] * 4 + [(M,)] * 4 + [(4 * M, M), (4 * M,), (M, 4 * M), (M,)]
    each = sum(np.prod(shape) for shape in block)
    ends = sum(np.prod(shape) for shape in [(V, M), (C, M), (M,), (M,), (V, M)])
    return ends + L * each


@njit
def own_compiled(V, C, M, L):
    out = np.empty_like(L)
    for i in range(L.shape[0]):
        out[i] = M * (2 * V + C + 2 + L[i] * (12 * M + 13))
    return out


def _less(amount):
    """Return a wrong count, from what is missing (or, negative, too much)."""
    return lambda V, C, M, L: with_own_scores(V, C, M, L) - amount(V, C, M, L)


OWN = Exercise(
    label="transformer-own-scores",
    task="Write `with_own_scores(V, C, M, L)`: the parameters of decoders of L_i blocks, 4 M hidden units, whose scores have a matrix of their own.",
    reference=with_own_scores,
    axes="(), (), (), (i) -> (i)",
    probes=own_probes,
    mistakes=(
        Mistake(
            "the table of symbols serves twice",
            _less(lambda V, C, M, L: V * M),
            "That is the tied decoder. Here the scores have V M numbers of their own.",
            "{eq}`transformer-parameters`",
        ),
        Mistake(
            "positions are left out",
            _less(lambda V, C, M, L: C * M),
            "Learned positions are a table too: a row of M numbers for each of C places.",
            "{eq}`transformer-embedding`",
        ),
        Mistake(
            "the norm behind the last block is left out",
            _less(lambda V, C, M, L: 2 * M),
            "With norms first the stream is never normed by a block, so one more stands before the scores.",
            "{eq}`transformer-decoder`",
        ),
        Mistake(
            "the biases of the dense layers are left out",
            _less(lambda V, C, M, L: 9 * M * L),
            "Four projections and the second dense layer have M biases each, the first dense layer 4 M.",
            "{eq}`transformer-parameters`",
        ),
        Mistake(
            "the biases of the projections are left out",
            _less(lambda V, C, M, L: 4 * M * L),
            "In this count the projections have biases: four times M in each block.",
            "{eq}`transformer-parameters`",
        ),
        Mistake(
            "a block has one norm",
            _less(lambda V, C, M, L: 2 * M * L),
            "A block has two norms, one in front of each part, with M scales and M shifts each.",
            "{eq}`transformer-block`",
        ),
        Mistake(
            "attention has three projections",
            _less(lambda V, C, M, L: (M**2 + M) * L),
            "Queries, keys, values, and what the heads have found is projected once more.",
            "{eq}`transformer-block`",
        ),
        Mistake(
            "the hidden units are as many as the numbers of a step",
            _less(lambda V, C, M, L: (6 * M**2 + 3 * M) * L),
            "The net of a block has 4 M hidden units: 8 M² weights and 5 M biases.",
            "{eq}`transformer-feed-forward`",
        ),
        Mistake(
            "the scores have biases",
            _less(lambda V, C, M, L: -V),
            "The scores are products with the rows of a matrix; nothing is added to them.",
            "{eq}`transformer-tied`",
        ),
    ),
    hints=(
        "Count arrays: two tables in front, the blocks, a norm and a matrix behind.",
        "A block has 12 M² weights: four projections of M², and two layers of 4 M². Then count what has M numbers, or 4 M.",
        "A block has 12 M² + 13 M; around the blocks stand 2 V M + C M + 2 M.",
    ),
    used="{eq}`transformer-parameters` has one V M less: there the scores are made with the table of the symbols.",
    right=(own_listed, own_arrays, own_compiled),
    others=(
        (lambda *args: -with_own_scores(*args), "every number has the opposite sign"),
        (lambda *args: with_own_scores(*args)[:, None, None], "wrong type or shape"),
        (lambda *args: with_own_scores(*args) + 0.5, "wrong"),
    ),
)


# A table that is read with a factor


def root_probes(rng):
    """Two readings of one symbol, four numbers each; then texts with symbols that return."""
    yield np.array([0, 0]), *np.array([[[1.0], [2.0]], [[3.0], [0.0]], [[4.0], [5.0]]])
    for _ in range(4):
        v, t, m = sizes(rng, 3, least=2, most=6)
        ids = rng.integers(v, size=t + 4)
        ids[-1] = ids[0]
        yield ids, *(rng.normal(size=(t + 4, n)) for n in (m, v, m))


def _read(ids, dx, V):
    E = np.zeros((V, dx.shape[1]))
    np.add.at(E, ids, dx)
    return E


def with_root(ids, dx, df, h):
    dE = df.T @ h
    np.add.at(dE, ids, np.sqrt(dx.shape[1]) * dx)
    return dE


def root_one_hot(ids, dx, df, h):
    seen = np.eye(df.shape[1])[ids]
    return dx.shape[1] ** 0.5 * seen.T @ dx + np.einsum("tv,tm->vm", df, h)


def root_loops(ids, dx, df, h):
    dE = np.zeros((df.shape[1], dx.shape[1]))
    for t in range(len(ids)):
        dE[ids[t]] += np.sqrt(dx.shape[1]) * dx[t]
        dE += np.outer(df[t], h[t])
    return dE


@njit(whole="ids")
def root_compiled(ids, dx, df, h):
    dE = np.zeros((df.shape[1], dx.shape[1]))
    for t in range(ids.shape[0]):
        for m in range(dx.shape[1]):
            dE[ids[t], m] += np.sqrt(dx.shape[1]) * dx[t, m]
            for v in range(df.shape[1]):
                dE[v, m] += df[t, v] * h[t, m]
    return dE


def _root_once(ids, dx, df, h):
    dE = df.T @ h
    dE[ids] += np.sqrt(dx.shape[1]) * dx
    return dE


ROOT = Exercise(
    label="transformer-root",
    task="Write `with_root(ids, dx, df, h)`: the gradient of a table E that is read as x_t = √M E[ids_t] and writes the scores f_t = E h_t.",
    reference=with_root,
    axes="(t), (t m), (t v), (t m) -> (v m)",
    probes=root_probes,
    mistakes=(
        Mistake(
            "the root is forgotten",
            lambda ids, dx, df, h: _read(ids, dx, df.shape[1]) + df.T @ h,
            "The vector that enters is √M times the row, so ∂x/∂E brings the factor √M.",
            "{eq}`transformer-tied-gradient`",
        ),
        Mistake(
            "the scores have the root as well",
            lambda ids, dx, df, h: np.sqrt(dx.shape[1]) * (_read(ids, dx, df.shape[1]) + df.T @ h),
            "The factor stands where the table is read. The scores are products with the rows as they are.",
            "{eq}`transformer-tied`",
        ),
        Mistake(
            "only what is read counts",
            lambda ids, dx, df, h: np.sqrt(dx.shape[1]) * _read(ids, dx, df.shape[1]),
            "The table writes, too: every row of it makes a score at every step.",
            "{eq}`transformer-tied-gradient`",
        ),
        Mistake(
            "only what is written counts",
            lambda ids, dx, df, h: df.T @ h,
            "The table is read as well, at the rows of the symbols that came.",
            "{eq}`transformer-tied-gradient`",
        ),
        Mistake(
            "a symbol that comes several times counts once",
            _root_once,
            "dE[ids] += … with an index twice in ids adds only once. np.add.at adds each time.",
            "{eq}`embeddings-one-hot-gradient`",
        ),
        Mistake(
            "the root is divided by",
            lambda ids, dx, df, h: _read(ids, dx, df.shape[1]) / np.sqrt(dx.shape[1]) + df.T @ h,
            "x = √M E: a small change of E changes x √M times as much.",
            "{eq}`transformer-tied-gradient`",
        ),
        Mistake(
            "the factor is M",
            lambda ids, dx, df, h: dx.shape[1] * _read(ids, dx, df.shape[1]) + df.T @ h,
            "The factor is √M, which comes once from the chain rule.",
            "{eq}`transformer-tied-gradient`",
        ),
        Mistake(
            "states are taken for what entered",
            lambda ids, dx, df, h: np.sqrt(dx.shape[1]) * _read(ids, h, df.shape[1]) + df.T @ h,
            "What is added up at the rows that were read is ∂C/∂x, which came back through the blocks.",
            "{eq}`transformer-tied-gradient`",
        ),
    ),
    hints=(
        "The table is used twice: write the derivative of each use, and add.",
        "The scores give df.T @ h. A step that has read row w adds √M dx_t to row w.",
        "dE = df.T @ h; np.add.at(dE, ids, np.sqrt(M) * dx).",
    ),
    used="{eq}`transformer-tied-gradient`, for the table of 2017, which is multiplied by √M where it is read.",
    right=(root_one_hot, root_loops, root_compiled),
    others=(
        (lambda *args: -with_root(*args), "every number has the opposite sign"),
        (lambda *args: with_root(*args) + 0.01, "wrong"),
        (lambda *args: with_root(*args)[0], "wrong type or shape"),
    ),
)


# What a cache saves


def cache_probes(rng):
    """Two steps of one number; then several lengths at several widths."""
    yield np.array([2.0]), 1.0
    for i in sizes(rng, 4, least=2, most=12):
        yield np.floor(np.exp(rng.uniform(1.2, 9, size=i))), float(rng.integers(8, 900))


def times_more(T, M):
    return (T + 1) * (6 * M + (2 * T + 1) / 3) / (12 * M + T + 1)


def cache_sums(T, M):
    out = []
    for last in T:
        t = np.arange(1, int(last) + 1)
        out.append(np.sum(12 * M**2 * t + 2 * M * t**2) / np.sum(12 * M**2 + 2 * M * t))
    return np.array(out)


def cache_other(T, M):
    pairs, squares = T * (T + 1) / 2, T * (T + 1) * (2 * T + 1) / 6
    return (6 * M * pairs + squares) / (6 * M * T + pairs)


@njit
def cache_compiled(T, M):
    out = np.empty_like(T)
    for i in range(T.shape[0]):
        n = T[i]
        out[i] = (18 * M * (n + 1) + (n + 1) * (2 * n + 1)) / (36 * M + 3 * (n + 1))
    return out


CACHE = Exercise(
    label="transformer-cache",
    task="Write `times_more(T, M)`: how many times more multiply-adds one block of width M takes for T_i steps, one after the other, without a cache.",
    reference=times_more,
    axes="(i), () -> (i)",
    probes=cache_probes,
    mistakes=(
        Mistake(
            "products of pairs of steps are left out",
            lambda T, M: (T + 1) / 2,
            "Scores and the mixing of values take 2 M multiply-adds for each pair. That is the limit of a large M only.",
            "{eq}`transformer-cache-work`",
        ),
        Mistake(
            "dense layers are left out",
            lambda T, M: (2 * T + 1) / 3,
            "Each step takes 12 M² multiply-adds in projections and net. That is the limit of a long text only.",
            "{eq}`transformer-cache-work`",
        ),
        Mistake(
            "the net is left out",
            lambda T, M: times_more(T, M / 3),
            "Beside the projections, 4 M², the two layers of the net take 8 M² for each step.",
            "{eq}`transformer-feed-forward`",
        ),
        Mistake(
            "every step is as long as the last",
            lambda T, M: T * (12 * M + 2 * T) / (12 * M + T + 1),
            "Step t has t symbols to read again, not T.",
            "{eq}`transformer-cache-work`",
        ),
        Mistake(
            "it is the last step's ratio",
            lambda T, M: T,
            "At the last step all of T are computed instead of one. Asked is the sum over all steps, most of which are shorter.",
            "{eq}`transformer-cache-work`",
        ),
        Mistake(
            "a step that is read again looks back only",
            lambda T, M: (T + 1) * (6 * M + (T + 2) / 3) / (12 * M + T + 1),
            "The count of the page takes whole squares of t² pairs, also those that the mask hides.",
            "{eq}`transformer-cache-work`",
        ),
        Mistake(
            "attention with a cache looks at one key",
            lambda T, M: (T + 1) * (6 * M + (2 * T + 1) / 3) / (12 * M + 2),
            "With a cache too the new query is held against all t keys.",
            "{eq}`transformer-cached`",
        ),
    ),
    hints=(
        "Step t takes 12 M² + 2 M t with a cache, and 12 M² t + 2 M t² without.",
        "Sum both over t = 1 … T: T (T + 1) / 2 and T (T + 1) (2 T + 1) / 6.",
        "(T + 1) (6 M + (2 T + 1) / 3) / (12 M + T + 1).",
    ),
    used="It is the quotient of both sums of {eq}`transformer-cache-work`, for one block and without the scores of the symbols.",
    right=(cache_sums, cache_other, cache_compiled),
    others=(
        (lambda T, M: 1 / times_more(T, M), "wrong"),
        (lambda T, M: -times_more(T, M), "every number has the opposite sign"),
        (lambda T, M: times_more(T, M)[:, None, None], "wrong type or shape"),
    ),
)


# A temperature, then a nucleus


def candidate_probes(rng):
    """Three symbols with 1/8, 3/8 and 1/2; then more, at several temperatures."""
    yield np.log(np.array([1.0, 3, 4])), 1.0, 0.8
    for k, v in enumerate(sizes(rng, 5, least=4, most=11)):
        yield 1.5 * rng.normal(size=v), (0.7, 1.6, 0.5, 1.3, 2.0)[k], (0.6, 0.75, 0.9, 0.5, 0.8)[k]


def candidates(f, tau, mass):
    return nucleus(special.softmax(f / tau), mass)


def candidates_sorted(f, tau, mass):
    p = special.softmax(f / tau)
    order = np.argsort(-p)
    count = np.searchsorted(np.cumsum(p[order]), mass) + 1
    q = np.zeros_like(p)
    q[order[:count]] = p[order[:count]] / p[order[:count]].sum()
    return q


def candidates_drawn(f, tau, mass):
    p = special.softmax(f / tau)
    before = np.array([p[p > some].sum() for some in p])
    q = p * (before < mass)
    return q / q.sum()


@njit
def candidates_compiled(f, tau, mass):
    p = np.exp((f - f.max()) / tau)
    p /= np.sum(p)
    q, left, total = np.zeros_like(p), p.copy(), 0.0
    while total < mass:
        w = np.argmax(left)
        q[w], left[w] = p[w], -1.0
        total += p[w]
    return q / total


def _cut(keep, temperature=lambda tau: tau):
    """Return a wrong distribution, from which places of the order are kept."""

    def made(f, tau, mass):
        p = special.softmax(f / temperature(tau))
        order = np.argsort(-p)
        kept = order[keep(p[order], mass)]
        q = np.zeros_like(p)
        q[kept] = p[kept]
        return q / q.sum()

    return made


def _crossed(p, mass):
    return np.cumsum(p) - p < mass


CANDIDATES = Exercise(
    label="transformer-candidates",
    task="Write `candidates(f, tau, mass)`: the probabilities from scores f at temperature tau, cut to the nucleus of that mass.",
    reference=candidates,
    axes="(v), (), () -> (v)",
    probes=candidate_probes,
    mistakes=(
        Mistake(
            "the symbol that crosses the mass is left out",
            _cut(lambda p, mass: (np.cumsum(p) <= mass) | (np.arange(p.size) == 0)),
            "The nucleus has at least the mass asked for: the symbol with which the sum reaches it belongs to it.",
            "{eq}`transformer-nucleus`",
        ),
        Mistake(
            "what is left is not divided by its sum",
            lambda f, tau, mass: special.softmax(f / tau) * (candidates(f, tau, mass) > 0),
            "What is drawn from adds up to one: divide what is kept by its sum.",
            "{eq}`transformer-nucleus`",
        ),
        Mistake(
            "the cut comes before the temperature",
            lambda f, tau, mass: special.softmax(
                np.where(nucleus(special.softmax(f), mass) > 0, f / tau, -np.inf)
            ),
            "The nucleus is one of the distribution that is drawn from, so the temperature comes first.",
            "{eq}`transformer-nucleus`",
        ),
        Mistake(
            "scores are multiplied by the temperature",
            _cut(_crossed, lambda tau: 1 / tau),
            "A high temperature makes the scores more alike: they are divided by it.",
            "{doc}`rnn`",
        ),
        Mistake(
            "there is no temperature",
            _cut(_crossed, lambda tau: 1.0),
            "Scores are divided by tau before the softmax.",
            "{doc}`rnn`",
        ),
        Mistake(
            "the probabilities are given in order of size",
            lambda f, tau, mass: np.sort(candidates(f, tau, mass))[::-1],
            "Place w belongs to symbol w. Sort to find out who is kept, and put them back.",
            "{eq}`transformer-nucleus`",
        ),
        Mistake(
            "the least probable are kept",
            _cut(lambda p, mass: np.cumsum(p[::-1])[::-1] - p < mass),
            "The sum begins with the most probable symbol.",
            "{eq}`transformer-nucleus`",
        ),
        Mistake(
            "the tail is cut where a probability is below 1 − mass",
            _cut(lambda p, mass: (p >= 1 - mass) | (np.arange(p.size) == 0)),
            "Asked is the sum of what is kept, not how small a single probability may be.",
            "{eq}`transformer-nucleus`",
        ),
    ),
    hints=(
        "Softmax of f / tau first. Then sort, from the largest on.",
        "A symbol is kept if those before it do not reach the mass yet: cumsum − p < mass.",
        "order = np.argsort(-p); keep order[np.cumsum(p[order]) - p[order] < mass]; divide by the sum of what is kept.",
    ),
    used="`generate` draws like that where it is given `temperature` and `top_p`, with {eq}`transformer-nucleus`.",
    right=(candidates_sorted, candidates_drawn, candidates_compiled),
    others=(
        (lambda *args: -candidates(*args), "every number has the opposite sign"),
        (lambda *args: candidates(*args)[:1], "wrong type or shape"),
        (lambda *args: candidates(*args) + 0.01, "wrong"),
    ),
)


# Two symbols that match


def pair_probes(rng):
    """Two pairs that return; then longer texts of few symbols."""
    yield np.array([0, 1, 1, 0, 1]), 2
    for v in (2, 3, 4, 3):
        ids = rng.integers(v, size=int(rng.integers(9, 22)))
        ids[-3:] = ids[1:4]
        yield ids, v


def _shared(ids, V, match, taken):
    """Return the shares of the symbols at `taken` of each place before t that matches."""
    p = np.zeros((len(ids), V))
    for t in range(len(ids)):
        for s in range(t + 1):
            at = taken(s, t)
            if 0 <= at <= t and match(s, t):
                p[t, ids[at]] += 1
    return p / np.maximum(p.sum(axis=1, keepdims=True), 1)


def after_pair(ids, V):
    pair = lambda s, t: s > 1 and t > 0 and ids[s - 2] == ids[t - 1] and ids[s - 1] == ids[t]
    return _shared(ids, V, pair, lambda s, t: s)


def pair_counts(ids, V):
    c, p = {}, np.zeros((len(ids), V))
    for t in range(1, len(ids)):
        if t > 1:
            c.setdefault((ids[t - 2], ids[t - 1]), np.zeros(V))[ids[t]] += 1
        n = c.get((ids[t - 1], ids[t]))
        if n is not None:
            p[t] = n / n.sum()
    return p


def pair_masks(ids, V):
    code = np.concatenate([[-1], ids[:-1] * V + ids[1:]])
    same = (code[:, None] == np.concatenate([[-2], code[:-1]])) & (np.tri(len(ids)) > 0)
    same[:, :2] = False
    c = same @ np.eye(V)[ids]
    return np.divide(
        c, c.sum(axis=1, keepdims=True), out=np.zeros_like(c), where=c.any(axis=1)[:, None]
    )


@njit(whole="ids V")
def pair_compiled(ids, V):
    p = np.zeros((len(ids), V))
    for t in range(1, len(ids)):
        for s in range(2, t + 1):
            if ids[s - 2] == ids[t - 1] and ids[s - 1] == ids[t]:
                p[t, ids[s]] += 1
        if np.sum(p[t]) > 0:
            p[t] /= np.sum(p[t])
    return p


def _pair_at(move):
    """Return a wrong rule that takes a symbol `move` places from the right one."""

    def made(ids, V):
        pair = lambda s, t: s > 1 and t > 0 and ids[s - 2] == ids[t - 1] and ids[s - 1] == ids[t]
        return _shared(ids, V, pair, lambda s, t: s + move)

    return made


def _pair_latest(ids, V):
    p = np.zeros((len(ids), V))
    for t in range(1, len(ids)):
        for s in range(2, t + 1):
            if ids[s - 2] == ids[t - 1] and ids[s - 1] == ids[t]:
                p[t] = np.eye(V)[ids[s]]
    return p


def _pair_ahead(ids, V):
    p = np.zeros((len(ids), V))
    for t in range(1, len(ids)):
        for s in range(2, len(ids)):
            if ids[s - 2] == ids[t - 1] and ids[s - 1] == ids[t]:
                p[t, ids[s]] += 1
    return p / np.maximum(p.sum(axis=1, keepdims=True), 1)


PAIR = Exercise(
    label="transformer-pair",
    task="Write `after_pair(ids, V)`: at each step t the shares of the symbols that followed earlier occurrences of the pair ids[t−1], ids[t]; zeros where there is none.",
    reference=after_pair,
    axes="(t), () -> (t v)",
    probes=pair_probes,
    mistakes=(
        Mistake(
            "one symbol is compared instead of two",
            lambda ids, V: _shared(
                ids, V, lambda s, t: s > 0 and ids[s - 1] == ids[t], lambda s, t: s
            ),
            "That is the rule of the page. Here the symbol before has to agree as well.",
            "{eq}`transformer-induction`",
        ),
        Mistake(
            "the matching symbol itself is copied",
            _pair_at(-1),
            "What is wanted stands one place behind the pair that matches.",
            "{eq}`transformer-induction`",
        ),
        Mistake(
            "the symbol after next is copied",
            _pair_at(1),
            "What is wanted stands one place behind the pair that matches.",
            "{eq}`transformer-induction`",
        ),
        Mistake(
            "only the last occurrence counts",
            _pair_latest,
            "Shares are wanted: each earlier occurrence counts alike.",
            "{eq}`transformer-induction`",
        ),
        Mistake(
            "occurrences in the future count",
            _pair_ahead,
            "At step t only what has been read is known: s ≤ t.",
            "{eq}`attention-causal`",
        ),
        Mistake(
            "counts are not divided",
            lambda ids, V: after_pair(ids, V) * _found(ids),
            "Shares add up to one wherever the pair has come before.",
            "{eq}`transformer-induction`",
        ),
        Mistake(
            "the pair may come in either order",
            lambda ids, V: _shared(
                ids,
                V,
                lambda s, t: (
                    s > 1
                    and t > 0
                    and sorted((ids[s - 2], ids[s - 1])) == sorted((ids[t - 1], ids[t]))
                ),
                lambda s, t: s,
            ),
            "The first of the pair has to be the first, and the second the second.",
            "{eq}`transformer-induction`",
        ),
    ),
    hints=(
        "Let s be the place of the symbol that is copied. Which two places before it have to agree with which two?",
        "ids[s−2] = ids[t−1] and ids[s−1] = ids[t], for 2 ≤ s ≤ t.",
        "Count p[t, ids[s]] over those s, and divide each row by its sum where there is one.",
    ),
    used="{eq}`transformer-induction` compares one symbol; with two the rule is a table of trigrams that is made of what has just been read.",
    right=(pair_counts, pair_masks, pair_compiled),
    others=(
        (lambda ids, V: -after_pair(ids, V), "every number has the opposite sign"),
        (lambda ids, V: after_pair(ids, V)[0], "wrong type or shape"),
        (lambda ids, V: after_pair(ids, V) + 0.01, "wrong"),
    ),
)


def _found(ids):
    """Return how often each pair has come before, as a column; 1 where never."""
    pair = lambda s, t: ids[s - 2] == ids[t - 1] and ids[s - 1] == ids[t]
    steps = range(len(ids))
    return np.array([[max(1, sum(pair(s, t) for s in range(2, t + 1)))] for t in steps])


# Break this line


BREAK = Choice(
    label="transformer-break",
    task="In `block_backward` the line that adds what comes from above to dx1 is left out. Name the letters of all that fail.",
    right="ce",
    wrong={
        "a": "(a) is computed on the way up, where nothing of `block_backward` is called.",
        "b": "(b) is known before the line: it needs dy and what the net has read.",
        "d": "(d) is known before the line: it needs dy and the hidden units.",
        "f": "(f) is trained by layers, whose backward pass is written separately.",
    },
    missing="Something else lies below the first sum, and gets its gradient through dx1.",
    hints=(
        "Which gradients of `block_backward` are made before that line, and which of dx1?",
        "The net and the second norm stand above the sum x′ = x + heads, attention and the first norm below it.",
        "What is below loses the path around the net, and keeps the path through it.",
    ),
    used="The line is the 1 in {eq}`transformer-block-backward`: the gradient of the stream passes the net by.",
)


EXERCISES = (PARALLEL, OWN, ROOT, CACHE, CANDIDATES, PAIR, BREAK)
