"""Exercises of the chapter on training with many workers.

Page: ``book/scaling.md``. Axes: s shards of a batch, p parameters, k workers, c chunks of a gradient,
as many as there are workers, m their entries, n jobs or checkpoints, d delays.
"""

import numpy as np
from scipy import linalg, optimize, special

from dlbook.exercises.forms import Choice, Exercise, Mistake, sizes
from dlbook.tools.jit import njit

__all__ = ["EXERCISES"]


# The gradient of a batch, from shards of which some may be empty


def shards_probes(rng):
    """Two shards of four and two; then more, in some of which one has nothing."""
    yield np.array([[-3.0], [-6.0]]), np.array([4.0, 2.0])
    for empty in (False, True, False, True):
        s, p = sizes(rng, 2, least=3, most=7)
        g, n = rng.normal(size=(s, p)), rng.permutation(np.arange(1.0, s + 1))
        if empty:
            which = rng.integers(s)
            g[which], n[which] = 0, 0
        yield g, n


def batch_gradient(g, n):
    return n @ g / n.sum()


def batch_loops(g, n):
    total, count = np.zeros(g.shape[1]), 0
    for mean, size in zip(g, n, strict=True):
        total = total + size * mean
        count += size
    return total / count


def batch_average(g, n):
    return np.average(g, axis=0, weights=n)


def batch_running(g, n):
    """Move a mean towards each shard by its share of what has been seen."""
    mean, seen = np.zeros(g.shape[1]), 0
    for shard, size in zip(g, n, strict=True):
        if size:
            seen += size
            mean = mean + size / seen * (shard - mean)
    return mean


@njit
def batch_compiled(g, n):
    total = np.zeros(g.shape[1])
    for s in range(len(g)):
        total += n[s] * g[s]
    return total / np.sum(n)


def _weighed(weight, divisor):
    """Return a combination of shards with other weights."""

    def found(g, n):
        g, n = g[n > 0], n[n > 0]
        return weight(n) @ g / divisor(n)

    return found


SHARDS = Exercise(
    label="scaling-shards",
    task="Write `batch_gradient(g, n)`, the gradient of the whole batch from the mean gradients of its shards, some of which may be empty.",
    reference=batch_gradient,
    axes="(s p), (s) -> (p)",
    probes=shards_probes,
    mistakes=(
        Mistake(
            "the mean of the shards' means",
            lambda g, n: g.mean(axis=0),
            "A shard with few examples counts as much as a large one, and an empty one as well.",
            "{eq}`scaling-shard-gradient`",
        ),
        Mistake(
            "the mean of the means of those who have something",
            lambda g, n: g[n > 0].mean(axis=0),
            "The empty ones are left out as they should be. Of the others each counts by how many examples it has.",
            "{eq}`scaling-shard-gradient`",
        ),
        Mistake(
            "the gradients are taken for sums",
            _weighed(np.ones_like, np.sum),
            "Each row is already divided by the size of its shard. Multiply by it before adding up.",
            "{eq}`scaling-shard-gradient`",
        ),
        Mistake(
            "the result is the gradient of a sum",
            _weighed(lambda n: n, lambda n: 1),
            "The loss of a batch is a mean over its examples: divide by how many there are.",
            "{eq}`scaling-shard-gradient`",
        ),
        Mistake(
            "all shards are counted as full",
            lambda g, n: n @ g / (len(g) * n.max()),
            "Divided is by the number of examples that there are, not by how many there would be if all had as many as the largest.",
            "{eq}`scaling-shard-gradient`",
        ),
        Mistake(
            "small shards count more",
            _weighed(lambda n: 1 / n, lambda n: np.sum(1 / n)),
            "A mean of few examples is worth less than one of many: multiply by the size, do not divide.",
            "{eq}`scaling-shard-gradient`",
        ),
    ),
    hints=(
        "What would a single worker have found? Undo the division that each shard has made.",
        "n_s g_s is the sum over the examples of a shard. Add the sums, divide by the number of all examples.",
        "n @ g / n.sum(). With the weight zero an empty shard needs no thought.",
    ),
    used="All that follows in {doc}`scaling` adds up {eq}`scaling-shard-gradient`.",
    right=(batch_loops, batch_average, batch_running, batch_compiled),
    others=(
        (lambda g, n: -batch_gradient(g, n), "every number has the opposite sign"),
        (lambda g, n: n[:, None] * g, "wrong type or shape"),
        (_weighed(np.sqrt, lambda n: np.sqrt(n).sum()), "wrong"),
    ),
)


# A ring, stopped on the way


def ring_probes(rng):
    """Two workers, one round; then more of them, in the first half, at its end, later, and done."""
    yield np.array([[[1.0], [2.0]], [[10.0], [20.0]]]), 1
    for late in (-1, 0, 1, 2):
        k, m = sizes(rng, 2, least=3, most=6)
        rounds = 2 * (k - 1) if late == 2 else k - 1 + late
        yield rng.normal(size=(k, k, m)), rounds


def _ring(chunk=lambda k, r, K: k - r, way=1, adds=lambda r, K: r < K - 1):
    """Return a ring with another chunk, another direction, or another end of the adding."""

    def found(x, r):
        x, K = x.copy(), len(x)
        for t in range(r):
            mail = [(k, chunk(k, t, K) % K) for k in range(K)]
            sent = [x[k, c].copy() for k, c in mail]
            for (k, c), numbers in zip(mail, sent, strict=True):
                x[(k + way) % K, c] = numbers + (x[(k + way) % K, c] if adds(t, K) else 0)
        return x, r * x.shape[2]

    return found


after = _ring()


def after_loops(x, r):
    held, K, sent = x.tolist(), len(x), 0
    for t in range(r):
        for k in range(K):
            c, to = (k - t) % K, (k + 1) % K
            for m in range(x.shape[2]):
                before = held[to][c][m] if t < K - 1 else 0.0
                held[to][c][m] = before + held[k][c][m]
                sent += 1
    return np.array(held), sent / K


def after_rolled(x, r):
    """Look at the whole diagonal of chunks that travels in a round."""
    x, K = x.copy(), len(x)
    k = np.arange(K)
    for t in range(r):
        c = (k - t) % K
        moved = x[k, c]
        x[(k + 1) % K, c] = moved + (t < K - 1) * x[(k + 1) % K, c]
    return x, r * x[0, 0].size


def after_sums(x, r):
    """Chunk c has been to the r workers after worker c, or as far as complete."""
    out, K = x.copy(), len(x)
    for c in range(K):
        order = (c + np.arange(K)) % K
        partial = np.cumsum(x[order, c], axis=0)
        out[order[: r + 1], c] = partial[: r + 1]
        for t in range(K - 1, r):
            out[order[(t + 1) % K], c] = partial[-1]
    return out, r * x.shape[2]


@njit
def after_compiled(x, r):
    x, K = x.copy(), x.shape[0]
    for t in range(r):
        for k in range(K):
            c = (k - t) % K
            for m in range(x.shape[2]):
                if t < K - 1:
                    x[(k + 1) % K, c, m] += x[k, c, m]
                else:
                    x[(k + 1) % K, c, m] = x[k, c, m]
    return x, r * x.shape[2]


def after_everything(x, r):
    x = x.copy()
    for _ in range(r):
        x = x + np.roll(x, 1, axis=0)
    return x, r * x[0].size


RING = Exercise(
    label="scaling-ring",
    task="Write `after(x, r)`, what all workers of a ring hold after r rounds of both halves, and how many numbers each has sent.",
    reference=after,
    axes="(k c m), () -> (k c m), ()",
    probes=ring_probes,
    mistakes=(
        Mistake(
            "each message is counted as a whole gradient",
            lambda x, r: (after(x, r)[0], r * x[0].size),
            "A message is one chunk, a K-th of the gradient; and what is asked is what one worker sends, not all of them.",
            "{eq}`scaling-allreduce`",
        ),
        Mistake(
            "messages are counted, not numbers",
            lambda x, r: (after(x, r)[0], r),
            "There is one message in each round, with all the entries of a chunk.",
            "{eq}`scaling-allreduce`",
        ),
        Mistake(
            "the first half copies instead of adding",
            _ring(adds=lambda r, K: False),
            "In the end all hold the same, as they should, and it is nobody's sum: each chunk is that of a single worker.",
            "{eq}`scaling-reduce-scatter`",
        ),
        Mistake(
            "the second half goes on adding",
            _ring(adds=lambda r, K: True),
            "After K − 1 rounds a chunk is complete where it has come to. From then on it replaces what it meets.",
            "{eq}`scaling-all-gather`",
        ),
        Mistake(
            "each worker sends the chunk of its own number in every round",
            _ring(chunk=lambda k, r, K: k),
            "What a worker sends is the chunk that it has just added to, so that each chunk goes around: k − r.",
            "{eq}`scaling-reduce-scatter`",
        ),
        Mistake(
            "the chunk is k + r",
            _ring(chunk=lambda k, r, K: k + r),
            "A worker gets from its left, in round r, the chunk k − 1 − r, and sends on just that: the numbers fall.",
            "{eq}`scaling-reduce-scatter`",
        ),
        Mistake(
            "the ring runs the other way round",
            _ring(chunk=lambda k, r, K: k + r, way=-1),
            "It is as good a ring, and another one: here worker k sends to k + 1.",
            "{eq}`scaling-reduce-scatter`",
        ),
        Mistake(
            "the second half begins with the worker's own chunk",
            _ring(chunk=lambda k, r, K: k - r if r < K - 1 else k - (r - K + 1)),
            "Complete is the chunk that came last, k + 1, and that is what goes out first.",
            "{eq}`scaling-all-gather`",
        ),
        Mistake(
            "the adding ends a round too late",
            _ring(adds=lambda r, K: r < K),
            "A sum of K numbers needs K − 1 additions. In one round more the first worker's part is in it twice.",
            "{eq}`scaling-reduce-scatter`",
        ),
        Mistake(
            "all chunks travel in every round",
            after_everything,
            "Then the cable carries K times as much, and after two rounds some summands are counted twice.",
            "{eq}`scaling-reduce-scatter`",
        ),
    ),
    hints=(
        "Follow one chunk: it leaves the worker of its own number and goes to the next one in every round.",
        "In round r = 0, 1, … worker k sends chunk (k − r) mod K; the next one adds while r < K − 1, and then replaces.",
        "No chunk is sent and received by one worker in a round, so x[(k + 1) % K, c] += x[k, c] may be done in place. Each sends r times M.",
    ),
    used="Two halves of a ring, {eq}`scaling-reduce-scatter` and {eq}`scaling-all-gather`; at the end it is {eq}`scaling-allreduce`.",
    right=(after_loops, after_rolled, after_sums, after_compiled),
    others=(
        (lambda x, r: after(x, r)[0], "wrong type or shape"),
        (lambda x, r: (np.broadcast_to(x.sum(axis=0), x.shape), r * x.shape[2]), "wrong"),
        (lambda x, r: after(x, r)[::-1], "the results are returned in the reverse order"),
    ),
)


# Two laws and two shares


def laws_probes(rng):
    """One job in four hours on three workers; then several jobs."""
    yield np.array([0.25]), 3
    for n in sizes(rng, 4, least=2, most=9):
        yield rng.uniform(0.02, 0.6, size=n), int(rng.integers(3, 40))


def laws(f, K):
    time = f + (1 - f) / K
    return f / time, 1 / time


def laws_odds(f, K):
    odds = K * f / (1 - f)
    share = odds / (1 + odds)
    return share, share + (1 - share) * K


def laws_loops(f, K):
    shares, faster = [], []
    for serial in f:
        rest = (1 - serial) / K
        shares.append(serial / (serial + rest))
        faster.append(1 / (serial + rest))
    return np.array(shares), np.array(faster)


def laws_whole(f, K):
    """Count hours of a job of one hour for each worker and share."""
    alone, together = K * f, 1 - f
    return alone / (alone + together), K / (alone + together)


@njit
def laws_compiled(f, K):
    shares, faster = np.empty(len(f)), np.empty(len(f))
    for n in range(len(f)):
        faster[n] = K / (1 + (K - 1) * f[n])
        shares[n] = f[n] * faster[n]
    return shares, faster


LAWS = Exercise(
    label="scaling-laws",
    task="Write `laws(f, K)`, for jobs whose serial share on one worker is f: its share of the time of K workers, and how much faster they are.",
    reference=laws,
    axes="(n), () -> (n), (n)",
    probes=laws_probes,
    mistakes=(
        Mistake(
            "f is taken for what can be shared out",
            lambda f, K: laws(1 - f, K),
            "Both conventions are in print. Here f is the serial share, what one worker has to do alone.",
            "{eq}`scaling-amdahl`",
        ),
        Mistake(
            "the share of one worker is put into the law of many",
            lambda f, K: (laws(f, K)[0], f + (1 - f) * K),
            "Gustafson's share is of the time of K workers, which is the other number that you return: put that one in.",
            "{eq}`scaling-gustafson`",
        ),
        Mistake(
            "one share serves both laws",
            lambda f, K: (f, f + (1 - f) * K),
            "As all but the serial part gets shorter, the serial part becomes a larger share of what is left.",
            "{eq}`scaling-gustafson`",
        ),
        Mistake(
            "the share stays what it was",
            lambda f, K: (f, laws(f, K)[1]),
            "The time gets shorter and its serial part does not: f over f + (1 − f)/K.",
            "{eq}`scaling-gustafson`",
        ),
        Mistake(
            "the share is of the parallel part and not of all",
            lambda f, K: (K * f / (1 - f), laws(f, K)[1]),
            "That is serial over parallel time, which can be more than one. Divide by the sum of both.",
            "{eq}`scaling-gustafson`",
        ),
        Mistake(
            "the serial part is divided among the workers too",
            lambda f, K: (f, K + 0 * f),
            "Then everybody would be K times as fast. While one works alone the others wait.",
            "{eq}`scaling-amdahl`",
        ),
        Mistake(
            "the serial part takes no time",
            lambda f, K: (laws(f, K)[0], K / (1 - f)),
            "No work can be more than K times as fast on K workers: add f to the time.",
            "{eq}`scaling-amdahl`",
        ),
        Mistake(
            "the speed is its limit for many workers",
            lambda f, K: (laws(f, K)[0], 1 / f),
            "1/f is what no number of workers exceeds. With K of them the rest still takes (1 − f)/K.",
            "{eq}`scaling-amdahl`",
        ),
        Mistake(
            "times are returned in place of speeds",
            lambda f, K: (laws(f, K)[0], 1 / laws(f, K)[1]),
            "How many times faster is the time of one worker over that of K.",
            "{eq}`scaling-amdahl`",
        ),
        Mistake(
            "the share is counted in machines",
            lambda f, K: (f / K / (f + (1 - f) / K), laws(f, K)[1]),
            "The serial part takes all of f on the clock, however many others wait.",
            "{eq}`scaling-gustafson`",
        ),
    ),
    hints=(
        "Let one worker need an hour. How long do K need for the part that is serial, and for the other?",
        "f and (1 − f)/K; the time is their sum.",
        "time = f + (1 − f)/K; the share is f/time, and the speed 1/time.",
    ),
    used="With the first number {eq}`scaling-gustafson` gives the second one, which is {eq}`scaling-amdahl`.",
    right=(laws_odds, laws_loops, laws_whole, laws_compiled),
    others=(
        (lambda f, K: laws(f, K)[::-1], "the results are returned in the reverse order"),
        (lambda f, K: laws(f, K)[1], "wrong type or shape"),
    ),
)


# The noise scale, from what the workers have anyway


def noise_probes(rng):
    """Two shards and one parameter; then more, with a mean that stands out from its noise."""
    yield np.array([[1.0], [3.0]]), 4
    for _ in range(4):
        s, p = sizes(rng, 2, least=3, most=9)
        G = rng.choice([-1, 1], size=p) * rng.uniform(0.5, 1.5, size=p)
        yield G + 0.5 * rng.normal(size=(s, p)), int(rng.integers(5, 40))


def _squares(g):
    """Return the mean square of the shards' lengths, and the square of their mean's."""
    return np.mean(np.sum(g**2, axis=1)), np.sum(g.mean(axis=0) ** 2)


def noise_of(g, n):
    S = len(g)
    small, large = _squares(g)
    return n * S * (small - large) / (S * large - small)


def noise_variance(g, n):
    var = g.var(axis=0, ddof=1).sum()
    return n * var / (np.sum(g.mean(axis=0) ** 2) - var / len(g))


def noise_pairs(g, n):
    """Products of different shards have no noise in their mean."""
    S = len(g)
    products = g @ g.T
    across = (products.sum() - np.trace(products)) / (S * (S - 1))
    return n * (np.trace(products) / S - across) / across


def noise_solved(g, n):
    matrix = np.array([[1, 1 / n], [1, 1 / (n * len(g))]])
    length, trace = linalg.solve(matrix, np.array(_squares(g)))
    return trace / length


@njit
def noise_compiled(g, n):
    S, P = g.shape
    same, all_pairs = 0.0, 0.0
    for s in range(S):
        for t in range(S):
            for p in range(P):
                all_pairs += g[s, p] * g[t, p]
                if s == t:
                    same += g[s, p] ** 2
    across = (all_pairs - same) / (S * (S - 1))
    return n * (same / S / across - 1)


def _noise(trace, length, power=1):
    """Return a quotient of other estimates: of n, S, the two squares, and the shards."""
    return lambda g, n: (trace(n, len(g), *_squares(g)) / length(n, len(g), *_squares(g))) ** power


def trace_of(n, S, small, large):
    return n * S * (small - large) / (S - 1)


def length_of(n, S, small, large):
    return (S * large - small) / (S - 1)


def noise_each(g, n):
    var = g.var(axis=0, ddof=1)
    return np.mean(n * var / (g.mean(axis=0) ** 2 - var / len(g)))


NOISE = Exercise(
    label="scaling-noise",
    task="Derive an estimate of the noise scale from S shards of n examples each, and write it as `noise_of(g, n)`.",
    reference=noise_of,
    axes="(s p), () -> ()",
    probes=noise_probes,
    mistakes=(
        Mistake(
            "the noise is not taken off the length of the mean",
            _noise(trace_of, lambda n, S, small, large: large),
            "The mean of the shards is a batch as well, and its squared length is on average larger than that of G by the trace over Sn.",
            "{eq}`scaling-noise-scale`",
        ),
        Mistake(
            "the shards are treated as if they were all there is",
            _noise(
                lambda n, S, small, large: n * (small - large), lambda n, S, small, large: large
            ),
            "Around their own mean S gradients scatter too little, by (S − 1)/S, and the mean itself has noise.",
            "{eq}`scaling-noise-scale`",
        ),
        Mistake(
            "the scatter is divided by S and not by S − 1",
            _noise(lambda n, S, small, large: n * (small - large), length_of),
            "On average the mean square less the square of the mean is the trace times 1/n − 1/(Sn), not 1/n.",
            "{eq}`scaling-noise-scale`",
        ),
        Mistake(
            "the noise is that of a shard and not of an example",
            _noise(lambda *a: trace_of(1, *a[1:]), length_of),
            "A mean of n examples has an n-th of the variance of one: multiply by n.",
            "{eq}`optimization-minibatch-variance`",
        ),
        Mistake(
            "the noise of a shard is divided by n once more",
            _noise(lambda *a: trace_of(1 / a[0], *a[1:]), length_of),
            "The variance of one example is n times that of a shard's mean, not an n-th of it.",
            "{eq}`optimization-minibatch-variance`",
        ),
        Mistake(
            "the square of a shard's length is taken for the signal",
            _noise(trace_of, lambda n, S, small, large: small),
            "That is signal and noise together, and of the noisier kind. Take off the trace over n.",
            "{eq}`scaling-noise-scale`",
        ),
        Mistake(
            "the square of a shard's length is taken for its noise",
            _noise(lambda n, S, small, large: n * small, length_of),
            "Part of it is the mean gradient, which all shards have in common.",
            "{eq}`scaling-noise-scale`",
        ),
        Mistake(
            "signal over noise",
            _noise(trace_of, length_of, power=-1),
            "The noise scale is large where gradients disagree: the trace stands above.",
            "{eq}`scaling-noise-scale`",
        ),
        Mistake(
            "a root is taken",
            _noise(trace_of, length_of, power=0.5),
            "The noise scale is a number of examples, a variance over a square. Lengths alone would give its root.",
            "{eq}`scaling-noise-scale`",
        ),
        Mistake(
            "a quotient for each parameter, and then their mean",
            noise_each,
            "Sum over the parameters first, above and below: one that hardly has a gradient would rule the mean.",
            "{eq}`scaling-noise-scale`",
        ),
    ),
    hints=(
        "Two batch sizes give two equations: on average the squared length of a gradient is |G|² + tr Σ over the size.",
        "Mean of the squared lengths: |G|² + tr Σ/n. Squared length of the mean: |G|² + tr Σ/(Sn). Solve for both unknowns.",
        "With a₁ the first and a₂ the second: tr Σ = nS(a₁ − a₂)/(S − 1), and |G|² = (S a₂ − a₁)/(S − 1).",
    ),
    used="It estimates {eq}`scaling-noise-scale`, which says what a larger batch gains: {eq}`scaling-gain`.",
    right=(noise_variance, noise_pairs, noise_solved, noise_compiled),
    others=(
        (lambda g, n: 2 * noise_of(g, n), "every number is 2 times what it should be"),
        (lambda g, n: len(g) * noise_of(g, n), "every number is S times what it should be"),
        (lambda g, n: n * g.var(axis=0, ddof=1), "wrong type or shape"),
    ),
)


# How much larger a batch may get if gradients are late


def grow_probes(rng):
    """One eigenvalue, without delay and with one step; then more of both."""
    yield np.array([2.0]), 0.25, np.array([0.0, 1.0])
    for _ in range(4):
        p, d = sizes(rng, 2, least=2, most=7)
        delays = rng.permutation(12)[:d].astype(float)
        yield rng.uniform(0.2, 3, size=p), rng.uniform(0.005, 0.05), delays


def limit(tau):
    return 2 * np.sin(np.pi / (2 * (2 * tau + 1)))


def _grow(edge=limit, of=np.max, power=1):
    """Return a factor from another limit, another curvature, or another rule for the rate."""
    return lambda h, eta, tau: (edge(tau) / (eta * of(h))) ** power


def may_grow(h, eta, tau):
    return 2 * np.sin(np.pi / (4 * tau + 2)) / (eta * np.max(h))


def grow_loops(h, eta, tau):
    steepest = max(h)
    return np.array([limit(t) / eta / steepest for t in tau])


def grow_least(h, eta, tau):
    """Ask each eigenvalue, and take the least that is said."""
    return np.min(limit(tau)[:, None] / (eta * h), axis=1)


def grow_chord(h, eta, tau):
    u = np.pi / (2 * tau + 1)
    return np.abs(np.exp(1j * u) - 1) / (eta * np.max(h))


def grow_roots(h, eta, tau):
    """Search for where the longest root of the recurrence leaves the circle."""

    def longest(delay, rate):
        return np.abs(np.roots([1, -1] + [0] * (delay - 1) + [rate])).max() if delay else rate - 1

    edges = [
        optimize.brentq(
            lambda e, t=int(t): longest(t, e) - 1,
            2 / (2 * t + 1) - 1e-3,
            4 / (2 * t + 1),
            xtol=1e-14,
        )
        for t in tau
    ]
    return np.array(edges) / (eta * np.max(h))


@njit
def grow_compiled(h, eta, tau):
    out = np.empty(len(tau))
    for d in range(len(tau)):
        out[d] = 2 * np.sin(np.pi / (2 * (2 * tau[d] + 1))) / (eta * np.max(h))
    return out


GROW = Exercise(
    label="scaling-grow",
    task="Write `may_grow(h, eta, tau)`, the largest factor of batch and rate for each of the delays tau.",
    reference=may_grow,
    axes="(p), (), (d) -> (d)",
    probes=grow_probes,
    mistakes=(
        Mistake(
            "the limit is divided by the delay",
            _grow(lambda tau: 2 / tau),
            "The proportion is nearly right for long delays, the number is not, and without a delay it is infinite.",
            "{eq}`scaling-stale`",
        ),
        Mistake(
            "the limit is divided by the delay and one",
            _grow(lambda tau: 2 / (tau + 1)),
            "It fits no delay and one step. For more of them the limit is lower: π/(2τ) in the long run, not 2/τ.",
            "{eq}`scaling-stale`",
        ),
        Mistake(
            "the delay is left out",
            _grow(lambda tau: 2 + 0 * tau),
            "That is the limit without delay. A late gradient says too long that the way is down.",
            "{eq}`scaling-stale`",
        ),
        Mistake(
            "the limit is that of long delays",
            _grow(lambda tau: np.pi / (2 * tau)),
            "π/(2τ) is what the sine comes to for large τ. The formula itself holds for every delay.",
            "{eq}`scaling-stale`",
        ),
        Mistake(
            "the sine is replaced by its angle",
            _grow(lambda tau: np.pi / (2 * tau + 1)),
            "Near for long delays; without one the limit would be π and not two.",
            "{eq}`scaling-stale`",
        ),
        Mistake(
            "the sine has the whole angle",
            _grow(lambda tau: 2 * np.sin(np.pi / (2 * tau + 1))),
            "The chord from 1 to a point of the circle at the angle u is twice the sine of half of u.",
            "{eq}`scaling-stale`",
        ),
        Mistake(
            "the rate grows with the root of the factor",
            _grow(power=2),
            "Under the linear rule the rate is κη. With √κ for κ the bound on κ comes out squared.",
            "{eq}`scaling-linear-scaling`",
        ),
        Mistake(
            "the curvature is the mean of the eigenvalues",
            _grow(of=np.mean),
            "The steepest direction is the first to diverge, and one is enough.",
            "{eq}`scaling-largest-factor`",
        ),
        Mistake(
            "the flattest direction decides",
            _grow(of=np.min),
            "Along it the step may be long. Along the steepest one it diverges first.",
            "{eq}`scaling-largest-factor`",
        ),
        Mistake(
            "the largest rate is returned, not the factor",
            lambda h, eta, tau: limit(tau) / np.max(h),
            "κη is that rate: divide it by the rate of the small batches.",
            "{eq}`scaling-largest-factor`",
        ),
    ),
    hints=(
        "Which product of rate and eigenvalue may not be exceeded, with a delay? And which rate has a batch that is κ times as large?",
        "κ η h ≤ 2 sin(π/(2(2τ + 1))) for all eigenvalues h. Which of them is the strictest?",
        "2 * np.sin(np.pi / (2 * (2 * tau + 1))) / (eta * h.max()).",
    ),
    used="Without delay it is {eq}`scaling-largest-factor`, with the factor one it is {eq}`scaling-stale`.",
    right=(grow_loops, grow_least, grow_chord, grow_roots, grow_compiled),
    others=(
        (lambda h, eta, tau: limit(tau)[:, None] / (eta * h), "wrong type or shape"),
        (
            lambda h, eta, tau: may_grow(h, eta, tau) / 2,
            "every number is 0.5 times what it should be",
        ),
    ),
)


# When to save, exactly


def save_probes(rng):
    """One checkpoint; then several, from a fiftieth of the time between failures to half of it."""
    yield np.array([0.5]), 4.0
    for n in sizes(rng, 4, least=2, most=8):
        between = rng.uniform(1, 20)
        yield between * rng.uniform(0.02, 0.5, size=n), between


def save_every(delta, between):
    return between * (1 + special.lambertw(-np.exp(-1 - delta / between)).real)


def save_search(delta, between):
    slope = lambda u, d: (1 - u) * np.exp(u + d) - 1
    roots = [optimize.brentq(slope, 1e-12, 1, args=(d / between,), xtol=1e-15) for d in delta]
    return between * np.array(roots)


def save_newton(delta, between):
    """Newton's method from Young's interval, for all at once."""
    d = delta / between
    u = np.sqrt(2 * d) / (1 + np.sqrt(d))
    for _ in range(30):
        u = u - ((1 - u) - np.exp(-u - d)) / (np.exp(-u - d) - 1)
    return between * u


def save_fixed(delta, between):
    """Repeat u = 1 − e^(−u − d), which moves towards the root from one."""
    u = np.ones(len(delta))
    for _ in range(400):
        u = 1 - np.exp(-u - delta / between)
    return between * u


@njit
def save_compiled(delta, between):
    out = np.empty(len(delta))
    for n in range(len(delta)):
        low, high = 0.0, 1.0
        for _ in range(60):
            u = (low + high) / 2
            if (1 - u) * np.exp(u + delta[n] / between) > 1:
                low = u
            else:
                high = u
        out[n] = between * low
    return out


def higher(delta, between):
    """Return the higher-order formula that is printed with the exact time."""
    x = delta / (2 * between)
    return np.sqrt(2 * delta * between) * (1 + np.sqrt(x) / 3 + x / 9) - delta


SAVE = Exercise(
    label="scaling-save",
    task="Write `save_every(delta, between)`, the interval at which the exact time with failures is least, for each of the times delta.",
    reference=save_every,
    axes="(n), () -> (n)",
    probes=save_probes,
    mistakes=(
        Mistake(
            "the interval of first order",
            lambda delta, between: np.sqrt(2 * delta * between),
            "It is a good one for short checkpoints. Asked is where the exact time is least, whose slope has exponentials.",
            "{eq}`scaling-wall-time`",
        ),
        Mistake(
            "the two is forgotten",
            lambda delta, between: np.sqrt(delta * between),
            "A failure comes half-way through an interval on average, so the loss is I/(2F) and the two goes under the root.",
            "{eq}`scaling-interval`",
        ),
        Mistake(
            "the time of the checkpoint is taken off",
            lambda delta, between: np.sqrt(2 * delta * between) - delta,
            "Between two checkpoints lies the interval; its own time comes on top. And it is exact to first order only.",
            "{eq}`scaling-interval`",
        ),
        Mistake(
            "the time of the checkpoint is counted in",
            lambda delta, between: save_every(delta, between) + delta,
            "That is from the beginning of an interval to the end of its checkpoint. I is the work alone.",
            "{eq}`scaling-wall-time`",
        ),
        Mistake(
            "a series is taken for the root",
            higher,
            "That has two orders more than the root of 2δF, and is not exact. Search for where the slope vanishes.",
            "{eq}`scaling-wall-time`",
        ),
        Mistake(
            "the one that is subtracted is left out",
            lambda delta, between: between + 0 * delta,
            "Then the best interval is F, whatever a checkpoint takes. It is e to the (I + δ)/F, less one, that is divided by I.",
            "{eq}`scaling-wall-time`",
        ),
        Mistake(
            "the exponential is cut off after its square",
            lambda delta, between: np.sqrt(2 * delta * between + delta**2),
            "That makes the interval longer than the first order says, and it is shorter: the cube matters more than what the square adds.",
            "{eq}`scaling-wall-time`",
        ),
    ),
    hints=(
        "Which factors of the exact time contain I? Differentiate their product and leave the others alone.",
        "(e^((I + δ)/F) − 1)/I has slope zero where (1 − I/F) e^((I + δ)/F) = 1, for one I between zero and F.",
        "optimize.brentq for u = I/F between zero and one; or F (1 + W(−e^(−1 − δ/F))) with Lambert's W.",
    ),
    used="{eq}`scaling-interval` is what becomes of it where a checkpoint is short against the time between failures.",
    right=(save_search, save_newton, save_fixed, save_compiled),
    others=(
        (lambda delta, between: -save_every(delta, between), "every number has the opposite sign"),
        (lambda delta, between: save_every(delta, between)[0], "wrong type or shape"),
    ),
)


# A thousand times as many operations


def budget():
    a, d = 0.34, 0.28
    return 1000 ** (d / (a + d))


def budget_slopes():
    """The two falls stay in proportion: a A/P^a = d D/N^d, in logarithms."""
    shares = linalg.solve([[1, 1], [-0.34, 0.28]], [np.log(1000), 0])
    return np.exp(shares[0])


def budget_kernel():
    at = lambda C: (0.34 * 4 / (0.28 * 3)) ** (1 / 0.62) * (C / 6) ** (0.28 / 0.62)
    return at(6e5) / at(6e2)


def budget_search():
    def best(C):
        slope = lambda u: -0.34 * np.exp(-0.34 * u) + 0.28 * (6 * np.exp(u) / C) ** 0.28
        return optimize.brentq(slope, -60, 90, xtol=1e-13)

    return np.exp(best(1e9) - best(1e6))


BUDGET = Exercise(
    label="scaling-budget",
    task="With a = 0.34 and d = 0.28, how many times as many parameters does the best model have if the operations are a thousand times as many?",
    reference=budget,
    axes="-> ()",
    mistakes=(
        Mistake(
            "the exponents are exchanged",
            lambda: 1000 ** (0.34 / 0.62),
            "That is by how much the examples grow. The faster the loss falls with examples, the more goes into parameters: d stands above.",
            "{eq}`scaling-compute-optimal`",
        ),
        Mistake(
            "parameters and examples share alike",
            lambda: np.sqrt(1000),
            "So it would be for a = d. Here they differ.",
            "{eq}`scaling-compute-optimal`",
        ),
        Mistake(
            "all of it goes into parameters",
            lambda: 1000.0,
            "Then the examples stay as many, and their part of the loss does not fall at all.",
            "{eq}`scaling-compute-optimal`",
        ),
        Mistake(
            "the exponent is d alone",
            lambda: 1000**0.28,
            "That is a power of the loss. The exponents of parameters and examples have to add up to one.",
            "{eq}`scaling-compute-optimal`",
        ),
        Mistake(
            "the exponent is a alone",
            lambda: 1000**0.34,
            "That is a power of the loss. The exponents of parameters and examples have to add up to one.",
            "{eq}`scaling-compute-optimal`",
        ),
        Mistake(
            "the exponent is d over a",
            lambda: 1000 ** (0.28 / 0.34),
            "That is how parameters grow with examples, not with operations, of which both take a part.",
            "{eq}`scaling-compute-optimal`",
        ),
        Mistake(
            "the factor six is multiplied in",
            lambda: (1000 / 6) ** (0.28 / 0.62),
            "Six operations for each parameter and example, before as after: in the quotient it cancels.",
            "{eq}`scaling-training-flops`",
        ),
    ),
    hints=(
        "Which factor of the best number of parameters contains C?",
        "C to the power d/(a + d); all others cancel in the quotient.",
        "A thousand to the power 0.28/0.62.",
    ),
    used="The best size for given operations is {eq}`scaling-compute-optimal`.",
    right=(budget_slopes, budget_kernel, budget_search),
    others=((lambda: "many", "wrong type or shape"), (lambda: 25.0, "wrong")),
)


# Break this line

BREAK = Choice(
    label="scaling-break",
    task="In the first half of a ring `+=` becomes `=`. Name the letters of all that is no longer true, for several workers whose gradients differ.",
    right="ae",
    wrong={
        "b": "(b): how many numbers travel has nothing to do with what the receiver does with them.",
        "c": "(c): the second half copies each chunk from one worker to all, whatever it is. That they agree proves nothing.",
        "d": "(d): the time counts messages and their lengths, which are as before.",
        "f": "(f): a single worker sends nothing, so that the line never runs.",
    },
    missing="What is in chunk k + 1 of worker k after the first half, and what would have to be in it? And who divides it by K?",
    hints=(
        "Follow one chunk: who had it first, and what is added to it on its way?",
        "Nothing is added: chunk c arrives everywhere as worker c had it. What depends on the numbers, and what only on the messages?",
        "The sum of the first half is gone, and with it the gradient of the batch; messages, times, and that all agree, are as before.",
    ),
    used="The line is {eq}`scaling-reduce-scatter`; what it should lead to is {eq}`scaling-shard-gradient`.",
)

EXERCISES = (SHARDS, RING, LAWS, NOISE, GROW, SAVE, BUDGET, BREAK)
