"""Exercises of the chapter on language models.

Page: ``book/language_models.md``. Axes: t places of a text, v symbols, k models.
"""

from itertools import pairwise

import numpy as np

from dlbook.exercises.forms import Choice, Exercise, Mistake, sizes
from dlbook.language_models import discounted, gram_counts, mixture_step
from dlbook.tools.jit import njit

__all__ = ["EXERCISES"]


# Pairs of letters, with something added


def after_probes(rng):
    """Five letters of two kinds; then texts in which the last letter stands before, too."""
    yield np.array([0, 1, 0, 0, 1]), 3, 1.0
    for k in range(5):
        v, t = sorted(sizes(rng, 2, least=3, most=14))
        ids = rng.integers(v - 1, size=t + 6)
        ids[-1] = ids[1]
        yield ids, v, (0.5, 1.0, 0.25, 2.0, 1.5)[k]


def after(ids, V, alpha):
    c = np.zeros((V, V))
    np.add.at(c, (ids[:-1], ids[1:]), 1)
    return (c + alpha) / (c.sum(axis=1, keepdims=True) + alpha * V)


def after_loops(ids, V, alpha):
    p = np.empty((V, V))
    for h in range(V):
        came = [w for before, w in pairwise(ids) if before == h]
        for w in range(V):
            p[h, w] = (came.count(w) + alpha) / (len(came) + alpha * V)
    return p


def after_product(ids, V, alpha):
    H = np.eye(V)[ids]
    c = H[:-1].T @ H[1:] + alpha
    return c / c.sum(axis=1)[:, None]


@njit(whole="ids V")
def after_compiled(ids, V, alpha):
    c = np.full((V, V), 1.0 * alpha)
    for t in range(1, len(ids)):
        c[ids[t - 1], ids[t]] += 1
    for h in range(V):
        c[h] /= np.sum(c[h])
    return c


def _after(numerator, denominator):
    """Return a wrong table, made of counts, their rows and the text."""

    def made(ids, V, alpha):
        c = gram_counts(ids, 2, V)
        below = denominator(c, np.bincount(ids, minlength=V), V, alpha)
        return numerator(c, alpha) / np.reshape(below, (-1, 1))

    return made


AFTER = Exercise(
    label="language_models-after",
    task="Write `after(ids, V, alpha)`, the table of p(w | h) for pairs of letters, with alpha added to every count.",
    reference=after,
    axes="(t), (), () -> (v v)",
    probes=after_probes,
    mistakes=(
        Mistake(
            "rows are divided by how often the letter stands in the text",
            _after(lambda c, a: c + a, lambda c, n, V, a: n + a * V),
            "The last letter has no successor: the sum of a row counts the places that have one.",
            "{eq}`language_models-ngram`",
        ),
        Mistake(
            "V is how many different letters the text has",
            _after(lambda c, a: c + a, lambda c, n, V, a: c.sum(axis=1) + a * np.sum(n > 0)),
            "Something was added to the count of every letter of the alphabet, also of those that the text does not have.",
            "{eq}`language_models-laplace`",
        ),
        Mistake(
            "alpha is added once to the sum of a row",
            _after(lambda c, a: c + a, lambda c, n, V, a: c.sum(axis=1) + a),
            "Each of V counts has grown by alpha, so their sum has grown by V alpha.",
            "{eq}`language_models-laplace`",
        ),
        Mistake(
            "V is added to the sum, whatever alpha is",
            _after(lambda c, a: c + a, lambda c, n, V, a: c.sum(axis=1) + V),
            "With alpha added to each of V counts the sum grows by V alpha.",
            "{eq}`language_models-laplace`",
        ),
        Mistake(
            "the whole table adds up to one",
            lambda ids, V, alpha: (gram_counts(ids, 2, V) + alpha) / (len(ids) - 1 + alpha * V * V),
            "That is the probability of a pair. Given its first letter, the second has probabilities that add up to one.",
            "{eq}`language_models-ngram`",
        ),
        Mistake(
            "it predicts the letter before",
            lambda ids, V, alpha: after(ids[::-1], V, alpha),
            "A row belongs to the letter that stands first, and tells what comes after it.",
            "{eq}`language_models-count`",
        ),
    ),
    hints=(
        "np.add.at(c, (ids[:-1], ids[1:]), 1) counts all pairs.",
        "Add alpha to the table, and then divide each row by its own sum.",
        "The sum of a row is c.sum(axis=1) + alpha * V, with all V letters.",
    ),
    used="{eq}`language_models-laplace` on the page, with contexts of any length.",
    right=(after_loops, after_product, after_compiled),
    others=(
        (lambda ids, V, alpha: after(ids, V, alpha)[:-1], "wrong type or shape"),
        (lambda ids, V, alpha: after(ids, V, 0.0 * alpha + 1e-9), "wrong"),
    ),
)


# What a context gives away


def lower_probes(rng):
    """Three letters, two of which came; then counts with zeros, and a context never seen."""
    yield np.array([3.0, 1.0, 0.0]), 0.5, np.array([0.25, 0.25, 0.5])
    for k in range(5):
        (v,) = sizes(rng, 1, least=4, most=9)
        c = rng.integers(1, 6, size=v).astype(float)
        c[: 1 + k % 2] = 0
        yield (0 * c if k == 3 else c), (0.75, 0.4, 0.9, 0.6, 0.3)[k], rng.dirichlet(np.ones(v))


def lower(c, D, q):
    total = c.sum()
    if total == 0:
        return q.copy()
    return (np.maximum(c - D, 0) + D * np.count_nonzero(c) * q) / total


def lower_loops(c, D, q):
    total, free = 0.0, 0.0
    for count in c:
        total += count
        free += D if count > 0 else 0.0
    if total == 0:
        return np.array(q)
    return np.array(
        [((x - D if x > 0 else 0.0) + free * y) / total for x, y in zip(c, q, strict=True)]
    )


def lower_kernel(c, D, q):
    return discounted(c[None], D, q[None])[0]


def lower_rest(c, D, q):
    if not c.any():
        return 1 * q
    kept = np.where(c > 0, c - D, 0) / c.sum()
    return kept + (1 - kept.sum()) * q


def _lower(change):
    """Return a wrong distribution; a context that was never seen has that of the shorter one."""

    def made(c, D, q):
        return change(c, D, q, np.sum(c > 0)) if c.any() else 1 * q

    return made


LOWER = Exercise(
    label="language_models-lower",
    task="Write `lower(c, D, q)`: the counts c of one context, D taken off each that is there, the rest given away like q.",
    reference=lower,
    axes="(v), (), (v) -> (v)",
    probes=lower_probes,
    mistakes=(
        Mistake(
            "D is given away once",
            _lower(lambda c, D, q, k: (np.maximum(c - D, 0) + D * q) / c.sum()),
            "D was taken from every count that is there, so there are as many D to give away as symbols that came.",
            "{eq}`language_models-discounting`",
        ),
        Mistake(
            "D is taken to be off all V counts",
            _lower(lambda c, D, q, k: (np.maximum(c - D, 0) + D * len(c) * q) / c.sum()),
            "From a count of zero nothing can be taken, and so nothing given away for it.",
            "{eq}`language_models-discounting`",
        ),
        Mistake(
            "D is taken off zeros, too",
            _lower(lambda c, D, q, k: (c - D + D * len(c) * q) / c.sum()),
            "That adds up to one, but a count of zero has become minus D. It stays zero: max(c − D, 0).",
            "{eq}`language_models-discounting`",
        ),
        Mistake(
            "what is kept is divided by what is kept",
            _lower(
                lambda c, D, q, k: np.maximum(c - D, 0) / (c.sum() - D * k) + D * k * q / c.sum()
            ),
            "Both parts have the same divisor, the sum of the counts before anything was taken off.",
            "{eq}`language_models-discounting`",
        ),
        Mistake(
            "only symbols that never came get something",
            _lower(lambda c, D, q, k: np.where(c > 0, c - D, D * k * q) / c.sum()),
            "Here every symbol gets its part of what was given away. If only the new ones do, q must be divided by its sum over them.",
            "{eq}`language_models-discounting`",
        ),
        Mistake(
            "it is given to all alike",
            _lower(lambda c, D, q, k: (np.maximum(c - D, 0) + D * k / len(c)) / c.sum()),
            "What is given away follows q, the distribution after the shorter context.",
            "{eq}`language_models-discounting`",
        ),
    ),
    hints=(
        "How much is taken off in all? D times the number of symbols that came.",
        "Everything is divided by the sum of the counts; a context without counts answers q.",
        "(np.maximum(c - D, 0) + D * np.count_nonzero(c) * q) / c.sum()",
    ),
    used="One step of {eq}`language_models-kneser-ney`, from a shorter context to a longer one.",
    right=(lower_loops, lower_kernel, lower_rest),
)


# Places and neighbours


def company_probes(rng):
    """The word banana; then texts in which some letter has a single neighbour."""
    yield np.array([1, 0, 2, 0, 2, 0]), 3
    for k in range(5):
        v, t = sorted(sizes(rng, 2, least=3, most=16))
        ids = rng.integers(v, size=t + 8)
        ids[2::4] = 0
        ids[3::4] = 1 + k % 2
        yield ids, v + k % 2


def company(ids, V):
    c = np.zeros((V, V))
    c[ids[:-1], ids[1:]] = 1
    return c.sum(axis=0) / c.sum()


def company_sets(ids, V):
    pairs = {(int(u), int(w)) for u, w in pairwise(ids)}
    return np.array([sum(w == v for _, w in pairs) for v in range(V)]) / len(pairs)


def company_unique(ids, V):
    code = np.unique(ids[:-1] * V + ids[1:])
    return np.bincount(code % V, minlength=V) / len(code)


@njit(whole="ids V")
def company_compiled(ids, V):
    seen, count = np.zeros((V, V)), np.zeros(V)
    for t in range(1, len(ids)):
        if seen[ids[t - 1], ids[t]] == 0:
            seen[ids[t - 1], ids[t]] = 1
            count[ids[t]] += 1
    return count / np.sum(count)


def _company(change):
    return lambda ids, V: change(gram_counts(ids, 2, V), ids, V)


COMPANY = Exercise(
    label="language_models-company",
    task="Write `company(ids, V)`: how many different letters each letter came after, as shares of all different pairs.",
    reference=company,
    axes="(t), () -> (v)",
    probes=company_probes,
    mistakes=(
        Mistake(
            "places are counted",
            _company(lambda c, ids, V: c.sum(axis=0) / c.sum()),
            "A letter that comes often after one and the same letter has a single neighbour: each pair counts once.",
            "{eq}`language_models-continuation`",
        ),
        Mistake(
            "letters of the text are counted",
            _company(lambda c, ids, V: np.bincount(ids, minlength=V) / len(ids)),
            "That is how often each letter stands. Asked is after how many different letters.",
            "{eq}`language_models-continuation`",
        ),
        Mistake(
            "neighbours behind the letter are counted",
            _company(lambda c, ids, V: (c > 0).sum(axis=1) / (c > 0).sum()),
            "What comes after a letter says nothing of where that letter comes: count what stood before it.",
            "{eq}`language_models-continuation`",
        ),
        Mistake(
            "each number is divided by V",
            _company(lambda c, ids, V: (c > 0).sum(axis=0) / V),
            "These do not add up to one. The divisor is the number of different pairs.",
            "{eq}`language_models-continuation`",
        ),
        Mistake(
            "a letter beside itself is left out",
            _company(
                lambda c, ids, V: (
                    (c * (1 - np.eye(V)) > 0).sum(axis=0) / (c * (1 - np.eye(V)) > 0).sum()
                )
            ),
            "A letter may come after itself, and then it is one of its own neighbours.",
            "{eq}`language_models-continuation`",
        ),
    ),
    hints=(
        "Make a table of all pairs in which each entry is 0 or 1.",
        "Column w has a one for every letter that w came after.",
        "c[ids[:-1], ids[1:]] = 1, then the sums of the columns, divided by the sum of all.",
    ),
    used="The shortest context of {eq}`language_models-kneser-ney` counts so.",
    right=(company_sets, company_unique, company_compiled),
)


# A perplexity for words


def by_words_probes(rng):
    """Two words of two letters and one; then words of different lengths."""
    yield np.array([1 / 2, 1 / 4, 1 / 2]), np.array([0, 0, 1])
    for _ in range(5):
        w, t = sorted(sizes(rng, 2, least=2, most=12))
        word = np.sort(np.append(np.arange(w), rng.integers(w, size=t)))
        yield rng.uniform(0.05, 0.9, size=len(word)), word


def by_words(p, word):
    return 2.0 ** (-np.sum(np.log2(p)) / (word[-1] + 1))


def by_words_loops(p, word):
    total = 1.0
    for x in p:
        total /= x
    return total ** (1 / len(set(word.tolist())))


def by_words_logs(p, word):
    return np.exp(-np.mean(np.bincount(word, np.log(p))))


@njit(whole="word")
def by_words_compiled(p, word):
    total = 0.0
    for t in range(len(p)):
        total -= np.log(p[t])
    return np.exp(total / (word[-1] + 1))


WORDS = Exercise(
    label="language_models-words",
    task="Write `by_words(p, word)`, the perplexity of a word: p belongs to letters, word[t] is the number of the word that letter t is in.",
    reference=by_words,
    axes="(t), (t) -> ()",
    probes=by_words_probes,
    mistakes=(
        Mistake(
            "it is the perplexity of a letter",
            lambda p, word: 2.0 ** (-np.mean(np.log2(p))),
            "The bits of all letters of a word belong to it: divide by the number of words.",
            "{eq}`language_models-per-word`",
        ),
        Mistake(
            "bits stand in the exponent of e",
            lambda p, word: np.exp(-np.sum(np.log2(p)) / (word[-1] + 1)),
            "Logarithms to base 2 go with powers of 2, natural ones with powers of e.",
            "{eq}`language_models-perplexity`",
        ),
        Mistake(
            "natural logarithms stand in the exponent of 2",
            lambda p, word: 2.0 ** (-np.sum(np.log(p)) / (word[-1] + 1)),
            "Natural logarithms go with powers of e.",
            "{eq}`language_models-perplexity`",
        ),
        Mistake(
            "the perplexity of a letter, times the letters of a word",
            lambda p, word: 2.0 ** (-np.mean(np.log2(p))) * len(p) / (word[-1] + 1),
            "Probabilities of letters multiply, so the perplexity of a letter is raised to a power.",
            "{eq}`language_models-per-word`",
        ),
        Mistake(
            "perplexities of words are averaged",
            lambda p, word: np.mean(np.exp(-np.bincount(word, np.log(p)))),
            "The mean is taken of the logarithms, before the exponential.",
            "{eq}`language_models-perplexity`",
        ),
        Mistake(
            "the mean of 1/p, without logarithms",
            lambda p, word: np.mean(1 / p) ** (len(p) / (word[-1] + 1)),
            "The mean is taken of the logarithms, before the exponential.",
            "{eq}`language_models-perplexity`",
        ),
    ),
    hints=(
        "What is the probability of the whole text?",
        "Its logarithm is the sum over all letters; there are word[-1] + 1 words.",
        "2 ** (−np.sum(np.log2(p)) / (word[-1] + 1))",
    ),
    used="{eq}`language_models-per-word`, and wherever models with different tokens are compared.",
    right=(by_words_loops, by_words_logs, by_words_compiled),
)


# A step of EM


def shares_probes(rng):
    """Two models at two places; then several."""
    yield np.array([0.5, 0.5]), np.array([[0.6, 0.1], [0.2, 0.3]])
    for _ in range(5):
        k, t = sizes(rng, 2, least=2, most=8)
        yield rng.dirichlet(np.ones(k)), rng.uniform(0.02, 0.9, size=(k, t))


def shares(weight, P):
    joint = weight[:, None] * P
    return np.mean(joint / joint.sum(axis=0), axis=1)


def shares_loops(weight, P):
    K, T = P.shape
    new = np.zeros(K)
    for t in range(T):
        total = sum(weight[k] * P[k, t] for k in range(K))
        for k in range(K):
            new[k] += weight[k] * P[k, t] / total / T
    return new


def shares_slope(weight, P):
    return weight * (P @ (1 / (weight @ P))) / P.shape[1]


SHARES = Exercise(
    label="language_models-shares",
    task="Write `shares(weight, P)`, one step of EM for the weights of models: P[k, t] is what model k gave to what came at place t.",
    reference=mixture_step,
    axes="(k), (k t) -> (k)",
    probes=shares_probes,
    mistakes=(
        Mistake(
            "the old weights are left out",
            lambda weight, P: np.mean(P / P.sum(axis=0), axis=1),
            "A model's share in what was said is its weight times its probability.",
            "{eq}`language_models-mixture-weight`",
        ),
        Mistake(
            "shares are taken of the whole text, not at each place",
            lambda weight, P: weight * P.sum(axis=1) / np.sum(weight[:, None] * P),
            "At every place the shares add up to one; divide there, and then take the mean.",
            "{eq}`language_models-mixture-weight`",
        ),
        Mistake(
            "each place goes to the model with the largest share",
            lambda weight, P: (
                np.bincount(np.argmax(weight[:, None] * P, axis=0), minlength=len(P)) / P.shape[1]
            ),
            "A place counts for every model, in parts: by its share and not by who is first.",
            "{eq}`language_models-mixture-weight`",
        ),
        Mistake(
            "the geometric mean is taken over places",
            lambda weight, P: (lambda g: g / g.sum())(weight * np.exp(np.mean(np.log(P), axis=1))),
            "That asks how probable the whole text is by each model, as if one of them had written all of it.",
            "{eq}`language_models-mixture`",
        ),
        Mistake(
            "shares are added up over places",
            lambda weight, P: P.shape[1] * shares(weight, P),
            "The weights have to add up to one: take the mean over places.",
            "{eq}`language_models-mixture-weight`",
        ),
    ),
    hints=(
        "What part of the mixture's probability for the letter at place t came from model k?",
        "weight[k] * P[k, t], divided by the sum of that over the models.",
        "The mean of these shares over the places is the new weight.",
    ),
    used="{eq}`language_models-mixture-weight` joins the counts and the window.",
    right=(shares, shares_loops, shares_slope),
)


# Warmer


def warmer_probes(rng):
    """Two scores; then several, at temperatures that are not one."""
    yield np.array([1.0, 0.0]), 2.0
    for tau in (0.5, 0.8, 1.7, 3.0):
        (v,) = sizes(rng, 1, least=3, most=8)
        yield rng.normal(size=v), tau


def softened(z, tau):
    p = np.exp((z - z.max()) / tau)
    return p / p.sum()


def warmer(z, tau):
    p = softened(z, tau)
    return p * (p @ z - z) / tau**2


def warmer_loops(z, tau):
    p = softened(z, tau)
    out = np.empty(len(z))
    for v in range(len(z)):
        out[v] = p[v] * sum(p[w] * (z[w] - z[v]) for w in range(len(z))) / tau**2
    return out


def warmer_jacobian(z, tau):
    p = softened(z, tau)
    return (np.diag(p) - np.outer(p, p)) @ (-z / tau**2)


@njit
def warmer_compiled(z, tau):
    p = np.exp((z - np.max(z)) / tau)
    p /= np.sum(p)
    mean = np.sum(p * z)
    for v in range(len(z)):
        p[v] *= (mean - z[v]) / tau**2
    return p


WARMER = Exercise(
    label="language_models-warmer",
    task="Write `warmer(z, tau)`, the derivative of the probabilities softmax(z/τ) by the temperature τ.",
    reference=warmer,
    axes="(v), () -> (v)",
    probes=warmer_probes,
    mistakes=(
        Mistake(
            "the probabilities are those at temperature one",
            lambda z, tau: softened(z, 1.0) * (softened(z, 1.0) @ z - z) / tau**2,
            "The derivative is taken at τ, so p is the softmax of z/τ.",
            "{eq}`language_models-temperature`",
        ),
        Mistake(
            "the scores are compared with zero",
            lambda z, tau: -softened(z, tau) * z / tau**2,
            "The sum in the denominator moves, too: what counts is how far a score is from the mean score.",
            "{eq}`language_models-temperature`",
        ),
        Mistake(
            "the scores are compared with their plain mean",
            lambda z, tau: softened(z, tau) * (z.mean() - z) / tau**2,
            "The mean of the scores is taken under p.",
            "{eq}`language_models-entropy-slope`",
        ),
        Mistake(
            "it is the derivative by 1/τ",
            lambda z, tau: softened(z, tau) * (z - softened(z, tau) @ z),
            "The derivative of 1/τ by τ is −1/τ²: it has to stand there as a factor.",
            "{eq}`language_models-temperature`",
        ),
        Mistake(
            "the power of τ is one too small",
            lambda z, tau: softened(z, tau) * (softened(z, tau) @ z - z) / tau,
            "The derivative of z/τ by τ is −z/τ².",
            "{eq}`language_models-temperature`",
        ),
        Mistake(
            "it is the derivative of log p",
            lambda z, tau: (softened(z, tau) @ z - z) / tau**2,
            "The derivative of p is p times that of log p.",
            "{eq}`language_models-temperature`",
        ),
    ),
    hints=(
        "Begin with log p: a score divided by τ, less the logarithm of a sum.",
        "The derivative of that sum's logarithm is a mean of the scores under p, times −1/τ².",
        "p_v (Σ_w p_w z_w − z_v) / τ²",
    ),
    used="Summed with −log p it gives {eq}`language_models-entropy-slope`.",
    right=(warmer_loops, warmer_jacobian, warmer_compiled),
)


BREAK = Choice(
    label="language_models-break",
    task="In a trigram model the shorter contexts count places and not neighbours. Name the letters of all that changes.",
    right="bdf",
    wrong={
        "a": "(a) still holds: whatever the shorter context answers, if it adds up to one, the longer one does.",
        "c": "(c): the longest contexts always count places, and their discount comes from these counts.",
        "e": "(e): how much a longest context gives away depends on its own counts and its own discount alone.",
    },
    missing="Which counts feed the discounts of the lower orders? And who receives what is given away?",
    hints=(
        "The counts of the longest contexts are the same as before.",
        "Everything that is computed from the counts of shorter contexts changes.",
        "Two of the changes are quantities, and one is a condition that held exactly for bigrams.",
    ),
    used="It is the difference between absolute discounting and {eq}`language_models-kneser-ney`.",
)

EXERCISES = (AFTER, LOWER, COMPANY, WORDS, SHARES, WARMER, BREAK)
