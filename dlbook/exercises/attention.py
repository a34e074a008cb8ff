"""Exercises of the chapter on attention.

Page: ``book/attention.md``. Axes: t queries, s keys, m numbers of a step, v numbers of a value, i
sequences, or shifts.
"""

import numpy as np
from scipy import special

from dlbook.exercises.forms import Choice, Exercise, Mistake, sizes
from dlbook.tools.jit import njit
from dlbook.verification import complex_step

__all__ = ["EXERCISES"]


# A window


def window_probes(rng):
    """Two queries over three steps, which see two; then longer sequences, wider than the window."""
    yield np.log(np.array([[1.0, 3, 5], [2, 2, 6]])), 2
    for _ in range(4):
        t, more, width = sizes(rng, 3, least=2, most=6)
        yield rng.normal(size=(t + 2, t + 2 + more)), width


def _places(z):
    """Return the places of queries and keys; the queries are the last steps."""
    t, s = np.indices(z.shape)
    return t + z.shape[1] - z.shape[0], s


def _near(z, width):
    t, s = _places(z)
    return (s <= t) & (s > t - width)


def _weights(z, seen):
    return special.softmax(np.where(seen, z, -np.inf), axis=1)


def windowed(z, width):
    return _weights(z, _near(z, width))


def window_loops(z, width):
    a, before = np.zeros_like(z), z.shape[1] - z.shape[0]
    for t in range(len(z)):
        at = slice(max(0, before + t - width + 1), before + t + 1)
        some = np.exp(z[t, at])
        a[t, at] = some / some.sum()
    return a


def window_renormalised(z, width):
    a = special.softmax(z, axis=1) * _near(z, width)
    return a / a.sum(axis=1, keepdims=True)


@njit
def window_compiled(z, width):
    a = np.zeros_like(z)
    for t in range(z.shape[0]):
        last = z.shape[1] - z.shape[0] + t
        first = max(0, last - width + 1)
        most = z[t, first : last + 1].max()
        total = 0 * most
        for s in range(first, last + 1):
            a[t, s] = np.exp(z[t, s] - most)
            total += a[t, s]
        for s in range(first, last + 1):
            a[t, s] /= total
    return a


WINDOW = Exercise(
    label="attention-window",
    task="Write `windowed(z, width)`: weights where each of the last steps sees `width` steps, the last of which is its own.",
    reference=windowed,
    axes="(t s), () -> (t s)",
    probes=window_probes,
    mistakes=(
        Mistake(
            "the mask comes after the softmax",
            lambda z, width: special.softmax(z, axis=1) * _near(z, width),
            "What is hidden has taken its part of the sum, so the rows no longer sum to one.",
            "{eq}`attention-mask`",
        ),
        Mistake(
            "the window has one step too many",
            lambda z, width: windowed(z, width + 1),
            "A window of two steps at t holds t − 1 and t: s > t − width.",
            "{eq}`attention-causal`",
        ),
        Mistake(
            "the query does not see its own step",
            lambda z, width: _weights(z, _near(z, width + 1) & np.not_equal(*_places(z))),
            "Query t may look at its own step: it has been read already.",
            "{eq}`attention-causal`",
        ),
        Mistake(
            "it looks ahead as well",
            lambda z, width: _weights(z, np.abs(np.subtract(*_places(z))) < width),
            "Steps after t are the future, and what predicts them must not see them.",
            "{eq}`attention-causal`",
        ),
        Mistake(
            "there is no window",
            lambda z, width: _weights(z, _near(z, z.shape[1])),
            "Causal attention sees all earlier steps; here only the last few count.",
            "{eq}`attention-mask`",
        ),
        Mistake(
            "the first query is taken for the first step",
            lambda z, width: _weights(
                z, (lambda t, s: (s <= t) & (s > t - width))(*np.indices(z.shape))
            ),
            "The queries are the last of the steps: with S keys and T queries the first stands at S − T.",
            "{eq}`attention-causal`",
        ),
        Mistake(
            "hidden scores are set to zero",
            lambda z, width: special.softmax(np.where(_near(z, width), z, 0), axis=1),
            "A score of 0 has the weight e⁰ = 1 before the division. Hidden means −∞.",
            "{eq}`attention-mask`",
        ),
    ),
    hints=(
        "Say first which pairs are seen: two comparisons of s with t.",
        "Hide the others before the softmax, with −∞.",
        "t, s = np.indices(z.shape); t = t + z.shape[1] - z.shape[0]; seen = (s <= t) & (s > t - width).",
    ),
    used="It is {eq}`attention-mask` with another mask; the cost of each step no longer grows with the sequence.",
    right=(window_loops, window_renormalised, window_compiled),
    others=(
        (lambda z, width: windowed(z, width).sum(axis=1), "wrong type or shape"),
        (lambda z, width: windowed(z, width) + 0.01, "wrong"),
    ),
)


# Heads


def heads_probes(rng):
    """One query, two keys and two heads of one number; then more of all."""
    yield np.array([[1.0, 0]]), np.array([[np.log(3), 0], [0, 0]]), np.array([[4.0, 2], [8, 6]]), 2
    for _ in range(4):
        t, s, d, H = sizes(rng, 4, least=2, most=6)
        yield *(rng.normal(size=(n, H * d)) for n in (t, s, s)), H


def _split(x, H):
    """Return the columns of each head: (head, step, number)."""
    return x.reshape(len(x), H, -1).swapaxes(0, 1)


def _merge(o):
    return o.swapaxes(0, 1).reshape(o.shape[1], -1)


def _dealt(x, H):
    """Return the columns as if they were dealt out to the heads in turn."""
    return x.reshape(len(x), -1, H).transpose(2, 0, 1)


def _cut(x, H):
    """Return what reshaping alone makes of the steps."""
    return x.reshape(H, len(x), -1)


def _attended(q, k, v, width):
    return special.softmax(q @ k.swapaxes(-1, -2) / np.sqrt(width), axis=-1) @ v


def side_by_side(q, k, v, H):
    q, k, v = (_split(x, H) for x in (q, k, v))
    return _merge(_attended(q, k, v, q.shape[2]))


def heads_loops(q, k, v, H):
    o, d = np.empty((len(q), v.shape[1])), q.shape[1] // H
    for h in range(H):
        at = slice(h * d, (h + 1) * d)
        e = np.exp(q[:, at] @ k[:, at].T / d**0.5)
        o[:, at] = (e / e.sum(axis=1, keepdims=True)) @ v[:, at]
    return o


def heads_einsum(q, k, v, H):
    q, k, v = (x.reshape(len(x), H, -1) for x in (q, k, v))
    a = special.softmax(np.einsum("thd,shd->hts", q, k) / np.sqrt(q.shape[2]), axis=2)
    return np.einsum("hts,shd->thd", a, v).reshape(len(q), -1)


@njit
def heads_compiled(q, k, v, H):
    o, d = np.zeros_like(q), q.shape[1] // H
    for t in range(q.shape[0]):
        for h in range(H):
            z = np.zeros_like(k[:, 0])
            for s in range(k.shape[0]):
                for i in range(h * d, (h + 1) * d):
                    z[s] += q[t, i] * k[s, i]
            a = np.exp((z - z.max()) / np.sqrt(d))
            a /= a.sum()
            for i in range(h * d, (h + 1) * d):
                o[t, i] = np.sum(a * v[:, i])
    return o


def heads_dealt(q, k, v, H):
    o = _attended(*(_dealt(x, H) for x in (q, k, v)), q.shape[1] // H)
    return o.transpose(1, 2, 0).reshape(len(q), -1)


def heads_one_for_all(q, k, v, H):
    q, k, v = (_split(x, H) for x in (q, k, v))
    a = special.softmax(q @ k.swapaxes(1, 2) / np.sqrt(q.shape[2]), axis=2)
    return _merge(a[:1] @ v)


HEADS = Exercise(
    label="attention-heads",
    task="Write `side_by_side(q, k, v, H)`: the results of H heads side by side, each of its own columns of q, k and v.",
    reference=side_by_side,
    axes="(t m), (s m), (s m), () -> (t m)",
    probes=heads_probes,
    mistakes=(
        Mistake(
            "the steps are reshaped without exchanging axes",
            lambda q, k, v, H: _merge(_attended(*(_cut(x, H) for x in (q, k, v)), q.shape[1] // H)),
            "reshape(H, t, d) cuts the rows into heads and mixes steps. Make it (t, H, d), then exchange the first two axes.",
            "{eq}`attention-multi-head`",
        ),
        Mistake(
            "the heads are merged without exchanging axes",
            lambda q, k, v, H: _attended(
                *(_split(x, H) for x in (q, k, v)), q.shape[1] // H
            ).reshape(len(q), -1),
            "What the heads gave is (H, t, d). Reshaped at once, steps of one head stand where its neighbours belong.",
            "{eq}`attention-multi-head`",
        ),
        Mistake(
            "scores are divided by the root of all columns",
            lambda q, k, v, H: _merge(_attended(*(_split(x, H) for x in (q, k, v)), q.shape[1])),
            "A head adds d = M / H products, so their variance is d and not M.",
            "{eq}`attention-scale`",
        ),
        Mistake(
            "scores are not divided",
            lambda q, k, v, H: _merge(_attended(*(_split(x, H) for x in (q, k, v)), 1)),
            "Each head has scaled scores, z = q k / √d with its own d.",
            "{eq}`attention-scaled-dot`",
        ),
        Mistake(
            "there is one head",
            lambda q, k, v, H: _attended(q, k, v, q.shape[1]),
            "Each head has weights of its own, made of its own columns.",
            "{eq}`attention-multi-head`",
        ),
        Mistake(
            "columns are dealt out to the heads in turn",
            heads_dealt,
            "Head h has the columns h d to (h + 1) d − 1, which lie side by side.",
            "{eq}`attention-multi-head`",
        ),
        Mistake(
            "the first head's weights serve all heads",
            heads_one_for_all,
            "Then the other heads' queries and keys would be for nothing.",
            "{eq}`attention-multi-head`",
        ),
    ),
    hints=(
        "Reshape (t, M) to (t, H, d) first: which axis is then the head?",
        "With axes (H, t, d) the product q @ k.swapaxes(1, 2) is one product for each head.",
        "q, k, v = (x.reshape(len(x), H, -1).swapaxes(0, 1) for x in (q, k, v)); at the end exchange the axes once more.",
    ),
    used="It is {eq}`attention-multi-head` between the projections.",
    right=(heads_loops, heads_einsum, heads_compiled),
    others=(
        (lambda *args: -side_by_side(*args), "every number has the opposite sign"),
        (lambda *args: side_by_side(*args)[:, 0], "wrong type or shape"),
        (lambda *args: side_by_side(*args) + 0.01, "wrong"),
    ),
)


# Positions


def nearness_probes(rng):
    """A shift by nothing and by half a turn of the only hand; then several shifts and widths."""
    yield np.array([0.0, np.pi]), 2
    for i in sizes(rng, 5, least=3, most=12):
        yield rng.uniform(-20, 20, size=i), 2 * int(rng.integers(2, 9))


def _frequencies(M):
    return 10000.0 ** (-2 * np.arange(M // 2) / M)


def nearness(tau, M):
    return np.cos(np.multiply.outer(tau, _frequencies(M))).sum(axis=-1)


def nearness_complex(tau, M):
    return np.exp(1j * tau[:, None] * _frequencies(M)).real.sum(axis=1)


def nearness_of_encodings(tau, M):
    def encoded(t):
        angle = np.multiply.outer(t, _frequencies(M))
        return np.concatenate((np.sin(angle), np.cos(angle)), axis=-1)

    return np.sum(encoded(3 + tau) * encoded(3.0), axis=1)


@njit
def nearness_compiled(tau, M):
    out = np.zeros_like(tau)
    for i in range(tau.shape[0]):
        for m in range(0, M, 2):
            out[i] += np.cos(tau[i] * 10000.0 ** (-m / M))
    return out


POSITIONS = Exercise(
    label="attention-positions",
    task="Write `nearness(tau, M)`: the product of the encodings of two positions that are τ_i apart, of width M.",
    reference=nearness,
    axes="(i), () -> (i)",
    probes=nearness_probes,
    mistakes=(
        Mistake(
            "the sine of the shift is taken",
            lambda tau, M: np.sin(np.multiply.outer(tau, _frequencies(M))).sum(axis=-1),
            "sin a sin b + cos a cos b is the cosine of a − b.",
            "{eq}`attention-shift`",
        ),
        Mistake(
            "each column has a frequency of its own",
            lambda tau, M: np.cos(np.multiply.outer(tau, 10000.0 ** (-np.arange(M) / M))).sum(
                axis=-1
            ),
            "A sine and a cosine share each frequency: there are M / 2 of them.",
            "{eq}`attention-positional`",
        ),
        Mistake(
            "frequencies fall half as fast",
            lambda tau, M: np.cos(np.multiply.outer(tau, 10000.0 ** (-np.arange(M // 2) / M))).sum(
                axis=-1
            ),
            "The exponent is −2i/M, where i counts pairs.",
            "{eq}`attention-positional`",
        ),
        Mistake(
            "frequencies rise",
            lambda tau, M: np.cos(np.multiply.outer(tau, 1 / _frequencies(M))).sum(axis=-1),
            "The first hand turns by one a step, all others are slower.",
            "{eq}`attention-positional`",
        ),
        Mistake(
            "the product is divided by the lengths",
            lambda tau, M: nearness(tau, M) / (M / 2),
            "That is the cosine of the angle between the two vectors. Asked is their product, as in a score.",
            "{eq}`attention-scaled-dot`",
        ),
        Mistake(
            "all hands turn like the first",
            lambda tau, M: M / 2 * np.cos(tau),
            "Only the first pair has the frequency 1.",
            "{eq}`attention-positional`",
        ),
    ),
    hints=(
        "Multiply the two vectors pair by pair: a sine by a sine, a cosine by a cosine.",
        "sin a sin b + cos a cos b = cos(a − b), and the difference of the angles is τ ω_i.",
        "Sum cos(τ ω_i) over the M / 2 frequencies.",
    ),
    used="With {eq}`attention-shift` it is p_t R_τ p_t: what a score sees of positions before anything is learned.",
    right=(nearness_complex, nearness_of_encodings, nearness_compiled),
    others=(
        (lambda tau, M: -nearness(tau, M), "every number has the opposite sign"),
        (lambda tau, M: nearness(tau, M)[:, None, None], "wrong type or shape"),
        (lambda tau, M: nearness(tau, M) + 0.01, "wrong"),
    ),
)


# Two halves


def merge_probes(rng):
    """Two halves of one key each; then more, some with sums that overflow."""
    yield np.array([[10.0]]), np.array([0.0]), np.array([[40.0]]), np.array([np.log(3.0)])
    for shift in (0.0, 3.0, 2000.0, -2000.0):
        t, v = sizes(rng, 2, least=2, most=7)
        L1, L2 = rng.normal(size=(2, t)) + shift
        yield rng.normal(size=(t, v)), L1, rng.normal(size=(t, v)), L2


def merged(o1, L1, o2, L2):
    share = special.expit(L1 - L2)[:, None]
    return share * o1 + (1 - share) * o2


def merge_by_largest(o1, L1, o2, L2):
    most = np.maximum(L1, L2)
    p1, p2 = np.exp(L1 - most)[:, None], np.exp(L2 - most)[:, None]
    return (p1 * o1 + p2 * o2) / (p1 + p2)


def merge_by_sum(o1, L1, o2, L2):
    whole = np.logaddexp(L1, L2)
    return np.exp(L1 - whole)[:, None] * o1 + np.exp(L2 - whole)[:, None] * o2


@njit
def merge_compiled(o1, L1, o2, L2):
    o = np.empty_like(o1)
    for t in range(o.shape[0]):
        most = max(L1[t], L2[t])
        p1, p2 = np.exp(L1[t] - most), np.exp(L2[t] - most)
        for e in range(o.shape[1]):
            o[t, e] = (p1 * o1[t, e] + p2 * o2[t, e]) / (p1 + p2)
    return o


def merge_overflowing(o1, L1, o2, L2):
    with np.errstate(all="ignore"):
        p1, p2 = np.exp(L1)[:, None], np.exp(L2)[:, None]
        return (p1 * o1 + p2 * o2) / (p1 + p2)


MERGE = Exercise(
    label="attention-merge",
    task="Write `merged(o1, L1, o2, L2)`: attention over all keys, from its results and logarithms L over two halves of them.",
    reference=merged,
    axes="(t v), (t), (t v), (t) -> (t v)",
    probes=merge_probes,
    mistakes=(
        Mistake(
            "both halves count the same",
            lambda o1, L1, o2, L2: (o1 + o2) / 2,
            "A half whose keys fit better has more of the weight. Its share is its sum of exponentials.",
            "{eq}`attention-tiled`",
        ),
        Mistake(
            "the shares are exchanged",
            lambda o1, L1, o2, L2: merged(o1, L2, o2, L1),
            "The half with the larger L has the larger part.",
            "{eq}`attention-recompute`",
        ),
        Mistake(
            "the logarithms are taken for the sums",
            lambda o1, L1, o2, L2: (L1[:, None] * o1 + L2[:, None] * o2) / (L1 + L2)[:, None],
            "L is the logarithm of a sum of exponentials; shares are made of e^L.",
            "{eq}`attention-recompute`",
        ),
        Mistake(
            "the sums overflow",
            merge_overflowing,
            "e^2000 is infinite and e^−2000 is zero, and both give 0/0 or ∞/∞. Subtract something from both L first.",
            "{eq}`attention-online-softmax`",
        ),
        Mistake(
            "the second half keeps all of its weight",
            lambda o1, L1, o2, L2: special.expit(L1 - L2)[:, None] * o1 + o2,
            "What the first half gets the second loses: the two shares sum to one.",
            "{eq}`attention-soft-lookup`",
        ),
        Mistake(
            "the larger half takes all",
            lambda o1, L1, o2, L2: np.where((L1 > L2)[:, None], o1, o2),
            "That is the limit of halves that differ much. In between both have a part.",
            "{eq}`attention-tiled`",
        ),
    ),
    hints=(
        "Undo the division of each half: o1 times its sum of exponentials is the sum of weighted values.",
        "The sums are e^L1 and e^L2. Large L overflow, so divide both by something first.",
        "The share of the first half is e^L1 / (e^L1 + e^L2), a sigmoid of L1 − L2.",
    ),
    used="{eq}`attention-tiled` does it block by block; several machines can each hold a part of the keys.",
    right=(merge_by_largest, merge_by_sum, merge_compiled),
    others=(
        (
            lambda o1, L1, o2, L2: o1 + o2,
            "both halves count the same; and every number is 2 times what it should be",
        ),
        (lambda *args: -merged(*args), "every number has the opposite sign"),
        (lambda *args: merged(*args)[0], "wrong type or shape"),
        (lambda *args: merged(*args) + 0.01, "wrong"),
    ),
)


# Where the square takes over


def share_probes(rng):
    """As many steps as numbers; then several lengths at several widths."""
    yield np.array([4.0]), 4.0
    for i in sizes(rng, 4, least=2, most=7):
        yield np.exp(rng.uniform(2, 10, size=i)), float(rng.integers(8, 1000))


def square_share(T, M):
    return T / (T + 2 * M)


def share_counted(T, M):
    return 2 * T**2 * M / (2 * T**2 * M + 4 * T * M**2)


def share_other(T, M):
    return 1 - 4 * T * M**2 / (2 * T * M * (T + 2 * M))


@njit
def share_compiled(T, M):
    out = np.empty_like(T)
    for i in range(T.shape[0]):
        out[i] = 1 / (1 + 2 * M / T[i])
    return out


SHARE = Exercise(
    label="attention-share",
    task="Write `square_share(T, M)`: the part of a layer's multiply-adds that grows with the square of T_i steps.",
    reference=square_share,
    axes="(i), () -> (i)",
    probes=share_probes,
    mistakes=(
        Mistake(
            "the projections are left out of the whole",
            lambda T, M: T / (2 * M),
            "That is the square's part divided by the rest. The whole holds both.",
            "{eq}`attention-cost`",
        ),
        Mistake(
            "one projection is counted instead of four",
            lambda T, M: 2 * T / (2 * T + M),
            "Queries, keys and values are projected, and what the heads have found.",
            "{eq}`attention-multi-head`",
        ),
        Mistake(
            "three projections are counted",
            lambda T, M: 2 * T / (2 * T + 3 * M),
            "The results of the heads are projected too.",
            "{eq}`attention-multi-head`",
        ),
        Mistake(
            "only the scores are counted",
            lambda T, M: T / (T + 4 * M),
            "The mixing of the values takes as many multiply-adds as the scores.",
            "{eq}`attention-cost`",
        ),
        Mistake(
            "it is the part of the projections",
            lambda T, M: 2 * M / (T + 2 * M),
            "The projections grow with T, the rest with its square.",
            "{eq}`attention-cost`",
        ),
    ),
    hints=(
        "Two products of T × T pairs, four dense layers. How many multiply-adds has each?",
        "2 T² M against 4 T M². Divide by what both have.",
        "T / (T + 2 M).",
    ),
    used="{eq}`attention-cost`; at T = 2 M both parts are equal, which few who fear the square expect.",
    right=(share_counted, share_other, share_compiled),
    others=(
        (lambda T, M: -square_share(T, M), "every number has the opposite sign"),
        (lambda T, M: square_share(T, M).sum() * np.ones((1, 1, 1)), "wrong type or shape"),
        (lambda T, M: square_share(T, M) + 0.01, "wrong"),
    ),
)


# Sharper


def sharp_probes(rng):
    """Two scores with equal weights; then several values at several sharpnesses."""
    yield np.array([1.0, 3.0]), np.array([[10.0], [20.0]]), 0.0
    for _ in range(4):
        s, v = sizes(rng, 2, least=3, most=8)
        yield rng.normal(size=s), rng.normal(size=(s, v)), float(rng.uniform(0.3, 2))


def by_sharpness(z, v, beta):
    a = special.softmax(beta * z)
    return (a * (z - a @ z)) @ v


def sharp_covariance(z, v, beta):
    a = special.softmax(beta * z)
    return (a * z) @ v - (a @ z) * (a @ v)


def sharp_step(z, v, beta):
    def mean(b):
        e = np.exp(b[0] * (z - z.max()))
        return e / e.sum() @ v

    return np.array(
        [complex_step(lambda b, e=e: mean(b)[e], np.array([beta]))[0] for e in range(v.shape[1])]
    )


@njit
def sharp_compiled(z, v, beta):
    a = np.exp(beta * (z - z.max()))
    a /= a.sum()
    mean = np.sum(a * z)
    out = np.zeros(v.shape[1], v.dtype)
    for s in range(z.shape[0]):
        for e in range(v.shape[1]):
            out[e] += a[s] * (z[s] - mean) * v[s, e]
    return out


SHARP = Exercise(
    label="attention-sharpness",
    task="Write `by_sharpness(z, v, beta)`: the derivative of Σ_s a_s v_s by β, where a = softmax(β z).",
    reference=by_sharpness,
    axes="(s), (s v), () -> (v)",
    probes=sharp_probes,
    mistakes=(
        Mistake(
            "the mean score is not subtracted",
            lambda z, v, beta: (special.softmax(beta * z) * z) @ v,
            "The denominator of the softmax depends on β as well.",
            "{eq}`attention-softmax-backward`",
        ),
        Mistake(
            "the plain mean of the scores is subtracted",
            lambda z, v, beta: (special.softmax(beta * z) * (z - z.mean())) @ v,
            "The mean that comes out of the denominator is taken with the weights a.",
            "{eq}`attention-softmax-backward`",
        ),
        Mistake(
            "the sharpness is multiplied once more",
            lambda z, v, beta: beta * by_sharpness(z, v, beta),
            "∂(β z)/∂β is z. The factor β would come with a derivative by z.",
            "{eq}`attention-softmax-backward`",
        ),
        Mistake(
            "weights are those without the sharpness",
            lambda z, v, beta: by_sharpness(z, v, 1.0),
            "The weights at which the derivative is taken are softmax(β z).",
            "{eq}`attention-soft-lookup`",
        ),
        Mistake(
            "weights are squared",
            lambda z, v, beta: (
                (special.softmax(beta * z) * (1 - special.softmax(beta * z)) * z) @ v
            ),
            "a(1 − a) is only the diagonal of the Jacobian. Each weight also depends on the other scores.",
            "{eq}`attention-softmax-backward`",
        ),
    ),
    hints=(
        "β acts on the scores: ∂(β z_s)/∂β = z_s. Now carry it through the softmax.",
        "∂a_s/∂β = a_s (z_s − Σ_r a_r z_r).",
        "Weight the values with it: Σ_s a_s (z_s − mean) v_s, a covariance under the weights.",
    ),
    used="The root in {eq}`attention-scaled-dot` is such a β: it sets how sharp a lookup is at first.",
    right=(sharp_covariance, sharp_step, sharp_compiled),
    others=(
        (lambda *args: -by_sharpness(*args), "every number has the opposite sign"),
        (lambda *args: by_sharpness(*args).sum(), "wrong type or shape"),
        (lambda *args: by_sharpness(*args) + 0.01, "wrong"),
    ),
)


# Break this line


BREAK = Choice(
    label="attention-break",
    task="In `softmax_backward` the mean is not subtracted. Name the letters of all that fail.",
    right="acd",
    wrong={
        "b": "(b) needs the weights and what comes from above, and never goes through the softmax.",
        "e": "(e) is a sum of products that `row_dots` computes by itself; the mean is what it is good for.",
        "f": "(f) is trained by the tiled kernels, which have a backward pass of their own.",
    },
    missing="Something else is made of the derivatives by the scores that `softmax_backward` returns.",
    hints=(
        "Search the module and the page for `softmax_backward`. Who calls it, directly or through `dot_product_attention_backward`?",
        "The values are read behind the softmax, queries and keys before it.",
        "A gradient of several heads goes through the softmax of each of them.",
    ),
    used="{eq}`attention-softmax-backward` stands between the weights and everything that made them.",
)


EXERCISES = (WINDOW, HEADS, POSITIONS, MERGE, SHARE, SHARP, BREAK)
