"""Exercises of the chapter on captioning.

Page: ``book/captioning.md``. Axes: n captions, u words, m references, g sizes of n-grams, s places,
v words that can be written, i pairs of captions.
"""

from collections import Counter

import numpy as np
from scipy import special

from dlbook.captioning import clipped_matches
from dlbook.exercises.forms import Choice, Exercise, Mistake, sizes
from dlbook.tools.jit import njit
from dlbook.verification import complex_step

__all__ = ["EXERCISES"]


# Clipped


def clipped_probes(rng):
    """The caption of the page, its reference a word shorter; then two or three references, of few words so that many repeat."""
    yield np.array([0, 1, 0, 1, 2]), np.array([[0, 1, 2, 3, 0, 4]]), 1
    for g in (1, 2, 1, 2, 3, 1):
        u, r = sizes(rng, 2, least=7, most=12)
        yield rng.integers(3, size=u), rng.integers(4, size=(3, r)), g


def _ngrams(text, g):
    text = [int(word) for word in text]
    return Counter(tuple(text[i : i + g]) for i in range(len(text) - g + 1))


def matches(y, refs, g):
    most = Counter()
    for ref in refs:
        most |= _ngrams(ref, g)
    return sum((_ngrams(y, g) & most).values())


def matches_loops(y, refs, g):
    total = 0
    for gram, count in _ngrams(y, g).items():
        most = max(
            sum(tuple(ref[i : i + g]) == gram for i in range(len(ref) - g + 1)) for ref in refs
        )
        total += min(count, most)
    return total


def matches_by_taking_away(y, refs, g):
    """Let each n-gram of the caption use one up in every reference that still has it."""
    left, total = [_ngrams(ref, g) for ref in refs], 0
    for gram in _ngrams(y, g).elements():
        total += any(some[gram] > 0 for some in left)
        for some in left:
            some[gram] -= 1
    return total


@njit(whole="y refs")
def matches_compiled(y, refs, g):
    return clipped_matches(y, refs, np.full(refs.shape[0], refs.shape[1]), g)


def _each(y, refs, g):
    return [_ngrams(ref, g) for ref in refs]


CLIPPED = Exercise(
    label="captioning-clipped",
    task="Write `matches(y, refs, g)`: the n-grams of g words in y that are found, each at most as often as in the best reference for it.",
    reference=matches,
    axes="(u), (m r), () -> ()",
    probes=clipped_probes,
    mistakes=(
        Mistake(
            "counts are not clipped",
            lambda y, refs, g: sum(
                count
                for gram, count in _ngrams(y, g).items()
                if any(gram in some for some in _each(y, refs, g))
            ),
            "A caption could earn by saying the same again. Each n-gram counts at most as often as a reference has it.",
            "{eq}`captioning-clipped`",
        ),
        Mistake(
            "the best single reference is taken for all n-grams",
            lambda y, refs, g: max(
                sum((_ngrams(y, g) & some).values()) for some in _each(y, refs, g)
            ),
            "The largest count is taken for each n-gram by itself: different ones may come from different references.",
            "{eq}`captioning-clipped`",
        ),
        Mistake(
            "the counts of all references are added",
            lambda y, refs, g: sum((_ngrams(y, g) & sum(_each(y, refs, g), Counter())).values()),
            "A reference that has a word once allows it once, however many references there are.",
            "{eq}`captioning-clipped`",
        ),
        Mistake(
            "each different n-gram counts once",
            lambda y, refs, g: sum(
                any(gram in some for some in _each(y, refs, g)) for gram in _ngrams(y, g)
            ),
            "What a reference has twice may be written twice, and counts twice.",
            "{eq}`captioning-clipped`",
        ),
        Mistake(
            "single words are counted whatever g is",
            lambda y, refs, g: matches(y, refs, 1),
            "An n-gram is g words in a row; take slices of g words.",
            "{eq}`captioning-clipped`",
        ),
    ),
    hints=(
        "How often does each n-gram stand in the caption, and how often in each reference?",
        "For each n-gram the largest count over references; then the smaller of that and the caption's own.",
        "With collections.Counter: most |= counts of each reference; sum((counts of y & most).values()).",
    ),
    used="{eq}`captioning-precision` adds what comes out of it over a corpus.",
    right=(matches_loops, matches_by_taking_away, matches_compiled),
    others=(
        (lambda *args: -matches(*args), "every number has the opposite sign"),
        (lambda *args: np.array([matches(*args)] * 2), "wrong type or shape"),
        (lambda *args: matches(*args) + 1, "wrong"),
    ),
)


# BLEU of a corpus


def bleu_probes(rng):
    """Two captions, pairs at the most; then more, too short and too long, some without a match."""
    yield (
        np.array([[4.0, 2], [3, 2]]),
        np.array([[5.0, 4], [3, 2]]),
        np.array([5.0, 3]),
        np.array([7.0, 3]),
    )
    for longer, blank in ((-2, 0), (3, 0), (-1, 1), (2, 1), (-3, 0)):
        n, g = sizes(rng, 2, least=3, most=6)
        lengths = rng.integers(9, 15, size=n).astype(float)
        there = lengths[:, None] - np.arange(g)
        found = np.floor(there * rng.uniform(0.2, 1, size=(n, g)))
        if blank:
            found[0, -1] = 0  # for this caption alone
        if blank and longer > 0:
            found[:, -1] = 0  # for all of them
        yield found, there, lengths, lengths - longer + rng.integers(2, size=n)


def corpus_bleu(found, there, lengths, nearest):
    share = found.sum(axis=0) / there.sum(axis=0)
    return min(1, np.exp(1 - nearest.sum() / lengths.sum())) * np.prod(share) ** (1 / share.size)


def corpus_bleu_logs(found, there, lengths, nearest):
    with np.errstate(divide="ignore"):
        logs = np.log(found.sum(axis=0)) - np.log(there.sum(axis=0))
    return np.exp(logs.mean() + min(0, 1 - nearest.sum() / lengths.sum()))


def corpus_bleu_loops(found, there, lengths, nearest):
    product = 1.0
    for g in range(found.shape[1]):
        product *= sum(found[:, g]) / sum(there[:, g])
    score = product ** (1 / found.shape[1])
    if sum(lengths) < sum(nearest):
        score *= np.exp(1 - sum(nearest) / sum(lengths))
    return score


@njit
def corpus_bleu_compiled(found, there, lengths, nearest):
    product = 1.0
    for g in range(found.shape[1]):
        product *= np.sum(found[:, g]) / np.sum(there[:, g])
    penalty = min(1.0, np.exp(1 - np.sum(nearest) / np.sum(lengths)))
    return penalty * product ** (1 / found.shape[1])


def _bleu(found, there, lengths, nearest, penalty=None, mean=None):
    """Return BLEU with another penalty of (ℓ, r) or another mean of the precisions."""
    share, length, r = found.sum(axis=0) / there.sum(axis=0), lengths.sum(), nearest.sum()
    beta = min(1, np.exp(1 - r / length)) if penalty is None else penalty(length, r)
    return beta * (np.prod(share) ** (1 / share.size) if mean is None else mean(share))


CORPUS = Exercise(
    label="captioning-bleu",
    task="Write `corpus_bleu(found, there, lengths, nearest)`: BLEU of all captions together from their counts.",
    reference=corpus_bleu,
    axes="(n g), (n g), (n), (n) -> ()",
    probes=bleu_probes,
    mistakes=(
        Mistake(
            "the mean of the captions' scores is taken",
            lambda found, there, lengths, nearest: np.mean(
                [
                    corpus_bleu(found[n : n + 1], there[n : n + 1], lengths[n], nearest[n])
                    for n in range(len(found))
                ]
            ),
            "Counts and lengths are added over the corpus first, and only then does one divide.",
            "{eq}`captioning-precision`",
        ),
        Mistake(
            "precisions of zero are left out",
            lambda *args: _bleu(*args, mean=lambda p: np.prod(p[p > 0]) ** (1 / p.size)),
            "A geometric mean with a zero in it is zero; without it a caption with no right triple would gain.",
            "{eq}`captioning-bleu`",
        ),
        Mistake(
            "the ratio of the lengths is turned round",
            lambda *args: _bleu(*args, penalty=lambda U, r: np.exp(1 - U / r) if r > U else 1.0),
            "It is e^(1 − r/ℓ): below 1 where the captions are shorter than the references.",
            "{eq}`captioning-brevity`",
        ),
        Mistake(
            "there is no brevity penalty",
            lambda *args: _bleu(*args, penalty=lambda U, r: 1.0),
            "Precision alone is largest for a caption that says only what is sure.",
            "{eq}`captioning-brevity`",
        ),
        Mistake(
            "captions that are long enough are rewarded",
            lambda *args: _bleu(*args, penalty=lambda U, r: np.exp(1 - r / U)),
            "The penalty is at most 1: take the smaller of the two.",
            "{eq}`captioning-brevity`",
        ),
        Mistake(
            "the arithmetic mean of the precisions is taken",
            lambda *args: _bleu(*args, mean=np.mean),
            "The mean is geometric: the precisions are multiplied, and the root is taken.",
            "{eq}`captioning-bleu`",
        ),
        Mistake(
            "precisions are averaged over captions",
            lambda found, there, lengths, nearest: corpus_bleu(
                (found / there).mean(axis=0)[None], np.ones((1, found.shape[1])), lengths, nearest
            ),
            "A long caption has more n-grams and counts more: add the counts, then divide.",
            "{eq}`captioning-precision`",
        ),
        Mistake(
            "no root is taken",
            lambda *args: _bleu(*args, mean=np.prod),
            "The geometric mean of G numbers is the G-th root of their product.",
            "{eq}`captioning-bleu`",
        ),
    ),
    hints=(
        "What is summed over the captions before anything is divided?",
        "G precisions, one ratio of lengths. A geometric mean, and a factor that is at most 1.",
        "min(1, exp(1 − Σ nearest / Σ lengths)) · (product of the G quotients) ** (1 / G).",
    ),
    used="The public function `bleu` ends with it, see {eq}`captioning-bleu`.",
    right=(corpus_bleu_logs, corpus_bleu_loops, corpus_bleu_compiled),
    others=(
        (lambda *args: -corpus_bleu(*args), "every number has the opposite sign"),
        (lambda *args: 100 * corpus_bleu(*args), "every number is 100 times what it should be"),
        (lambda *args: np.array([corpus_bleu(*args)] * 2), "wrong type or shape"),
        (lambda *args: corpus_bleu(*args) + 0.01, "wrong"),
    ),
)


# The nearest length


def closest_probes(rng):
    """A tie, and one reference that is too short; then more, of few lengths so that many tie."""
    yield np.array([5.0, 4.0]), np.array([[6.0, 4.0], [1.0, 5.0]])
    for _ in range(5):
        n, m = sizes(rng, 2, least=3, most=8)
        n, m = 4 * n, min(m, 4)
        yield (
            rng.integers(4, 10, size=n).astype(float),
            rng.integers(1, 14, size=(n, m)).astype(float),
        )


def nearest(lengths, refs):
    refs = np.sort(refs, axis=1)
    which = np.abs(refs - lengths[:, None]).argmin(axis=1)
    return np.take_along_axis(refs, which[:, None], axis=1)[:, 0]


def nearest_by_key(lengths, refs):
    return np.array(
        [min(row, key=lambda r, U=U: (abs(r - U), r)) for U, row in zip(lengths, refs, strict=True)]
    )


def nearest_by_cost(lengths, refs):
    """Add less than half a word to the distance of what is longer, and look for the smallest."""
    cost = np.abs(refs - lengths[:, None]) + 0.25 * (refs > lengths[:, None])
    return refs[np.arange(len(refs)), cost.argmin(axis=1)]


@njit
def nearest_compiled(lengths, refs):
    found = refs[:, 0].copy()
    for n in range(refs.shape[0]):
        for m in range(1, refs.shape[1]):
            new, old = abs(refs[n, m] - lengths[n]), abs(found[n] - lengths[n])
            if new < old or (new == old and refs[n, m] < found[n]):
                found[n] = refs[n, m]
    return found


CLOSEST = Exercise(
    label="captioning-closest",
    task="Write `nearest(lengths, refs)`: of each caption the reference length that is nearest, of two as near the shorter.",
    reference=nearest,
    axes="(n), (n m) -> (n)",
    probes=closest_probes,
    mistakes=(
        Mistake(
            "the shortest reference is taken",
            lambda lengths, refs: refs.min(axis=1),
            "One very short reference would excuse every caption. Asked is the nearest.",
            "{eq}`captioning-closest`",
        ),
        Mistake(
            "the distance is returned, not the length",
            lambda lengths, refs: np.abs(refs - lengths[:, None]).min(axis=1),
            "The smallest distance says which reference; what is asked for is its length.",
            "{eq}`captioning-closest`",
        ),
        Mistake(
            "of two as near the longer is taken",
            lambda lengths, refs: -nearest(-lengths, -refs),
            "Ties are decided for the candidate: the shorter reference costs less.",
            "{eq}`captioning-closest`",
        ),
        Mistake(
            "of two as near the first is taken",
            lambda lengths, refs: refs[
                np.arange(len(refs)), np.abs(refs - lengths[:, None]).argmin(axis=1)
            ],
            "The order of the references must not matter; sort them first, or compare their lengths as well.",
            "{eq}`captioning-closest`",
        ),
        Mistake(
            "the mean of the references is taken",
            lambda lengths, refs: refs.mean(axis=1),
            "Some programs offer the mean as a setting. Here it is the nearest.",
            "{eq}`captioning-closest`",
        ),
    ),
    hints=(
        "Which reference has the smallest |length − reference|? And if two have it?",
        "Sort the references of each caption; the first of the smallest distances is then the shorter.",
        "refs = np.sort(refs, axis=1), then argmin of np.abs(refs − lengths[:, None]) along the second axis.",
    ),
    used="{eq}`captioning-brevity` adds these lengths over the corpus.",
    right=(nearest_by_key, nearest_by_cost, nearest_compiled),
    others=(
        (lambda *args: -nearest(*args), "every number has the opposite sign"),
        (lambda *args: nearest(*args).sum(), "wrong type or shape"),
        (lambda *args: nearest(*args) + 1, "wrong"),
    ),
)


# How probable is a caption?


def likelihood_probes(rng):
    """Two words, one caption that is padded; then more of everything."""
    yield (
        np.log(np.array([[0.25, 0.75], [0.5, 0.5]])),
        np.array([[1, 0, 1]]),
        np.array([2]),
        0,
    )
    for _ in range(5):
        n, u, v = sizes(rng, 3, least=4, most=9)
        y, ends = rng.integers(1, v, size=(n, u)), rng.integers(2, u, size=n)
        yield special.log_softmax(rng.normal(size=(v, v)), axis=1), y, ends, 0


def _read(y, begin):
    return np.hstack((np.full_like(y[:, :1], begin), y[:, :-1]))


def log_p(logs, y, ends, begin):
    there = np.arange(y.shape[1]) < ends[:, None]
    return np.sum(logs[_read(y, begin), y] * there, axis=1)


def log_p_loops(logs, y, ends, begin):
    found = []
    for words, end in zip(y, ends, strict=True):
        total, before = 0.0, begin
        for word in words[:end]:
            total, before = total + logs[before, word], word
        found.append(total)
    return np.array(found)


def log_p_by_counts(logs, y, ends, begin):
    """Count how often each pair of words occurs, and weight the table with it."""
    found = []
    for words, end in zip(y, ends, strict=True):
        pairs = np.zeros(logs.shape)
        np.add.at(pairs, ([begin, *words[: end - 1]], words[:end]), 1)
        found.append((pairs * logs).sum())
    return np.array(found)


@njit(whole="y ends")
def log_p_compiled(logs, y, ends, begin):
    found = np.zeros(y.shape[0], logs.dtype)
    for n in range(y.shape[0]):
        before = begin
        for u in range(ends[n]):
            found[n] += logs[before, y[n, u]]
            before = y[n, u]
    return found


def _scored(logs, y, ends, read, first=0, less=0):
    """Return the sum over words first … ends − less, with other words read."""
    steps = np.arange(y.shape[1])
    there = (steps >= first) & (steps < ends[:, None] - less)
    return np.sum(logs[read, y] * there, axis=1)


LIKELIHOOD = Exercise(
    label="captioning-likelihood",
    task="Write `log_p(logs, y, ends, begin)`: the log-probability of the first `ends` words of each caption.",
    reference=log_p,
    axes="(v w), (n u), (n), () -> (n)",
    probes=likelihood_probes,
    mistakes=(
        Mistake(
            "the word to be written is read",
            lambda logs, y, ends, begin: _scored(logs, y, ends, y),
            "The decoder would only have to copy. At step u it reads the word before, at the first step begin.",
            "{eq}`captioning-likelihood`",
        ),
        Mistake(
            "the end is not counted",
            lambda logs, y, ends, begin: _scored(logs, y, ends, _read(y, begin), less=1),
            "The end is a word to be written like the others; without it a network never learns to stop.",
            "{eq}`captioning-likelihood`",
        ),
        Mistake(
            "the first word is not counted",
            lambda logs, y, ends, begin: _scored(logs, y, ends, _read(y, begin), first=1),
            "The first word is written behind begin, and has a probability like all others.",
            "{eq}`captioning-likelihood`",
        ),
        Mistake(
            "padding is counted",
            lambda logs, y, ends, begin: _scored(
                logs, y, np.full_like(ends, y.shape[1]), _read(y, begin)
            ),
            "What stands behind the end fills the array up, and says nothing.",
            "{eq}`captioning-likelihood`",
        ),
        Mistake(
            "begin is read at every step",
            lambda logs, y, ends, begin: _scored(logs, y, ends, np.full_like(y, begin)),
            "Only the first word is written behind begin.",
            "{eq}`captioning-likelihood`",
        ),
        Mistake(
            "the mean of a word is returned",
            lambda logs, y, ends, begin: log_p(logs, y, ends, begin) / ends,
            "That is a score of {eq}`sequence_tasks-length` with the power 1. Asked is the log-probability, a sum.",
            "{eq}`captioning-likelihood`",
        ),
    ),
    hints=(
        "Which word is read at the first step? And at the second?",
        "read = begin, y_1, y_2, …: the captions moved by one. Then logs[read, y].",
        "Sum logs[read, y] over the steps u < ends, by a mask np.arange(U) < ends[:, None].",
    ),
    used="Its negative mean is what {eq}`captioning-likelihood` makes small in training.",
    right=(log_p_loops, log_p_by_counts, log_p_compiled),
    others=(
        (lambda *args: -log_p(*args), "every number has the opposite sign"),
        (lambda *args: log_p(*args).sum(), "wrong type or shape"),
        (lambda *args: log_p(*args) + 0.01, "wrong"),
    ),
)


# Coverage, felt by the scores


def coverage_probes(rng):
    """Two words and three places, one look not even; then more of both."""
    yield np.array([[0.0, 0.0, 0.0], [np.log(2.0), 0.0, 0.0]]), 1.0
    for _ in range(4):
        u, s = sizes(rng, 2, least=3, most=8)
        yield rng.normal(size=(u, s)), float(rng.uniform(0.3, 2))


def by_scores(z, weight):
    a = special.softmax(z, axis=1)
    lack = 1 - a.sum(axis=0)
    return -2 * weight * a * (lack - (a @ lack)[:, None])


def by_scores_jacobian(z, weight):
    a = special.softmax(z, axis=1)
    da = -2 * weight * (1 - a.sum(axis=0))
    return np.array([(np.diag(row) - np.outer(row, row)) @ da for row in a])


def by_scores_step(z, weight):
    def cost(z):
        e = np.exp(z - z.real.max(axis=1, keepdims=True))
        return weight * np.sum((1 - (e / e.sum(axis=1, keepdims=True)).sum(axis=0)) ** 2)

    return complex_step(cost, z)


@njit
def by_scores_compiled(z, weight):
    a = np.empty_like(z)
    for u in range(z.shape[0]):
        a[u] = np.exp(z[u] - z[u].max())
        a[u] /= a[u].sum()
    lack = 1 - a.sum(axis=0)
    for u in range(z.shape[0]):
        mean = np.sum(a[u] * lack)
        for s in range(z.shape[1]):
            a[u, s] *= -2 * weight * (lack[s] - mean)
    return a


def _by(z, weight, lack=None, back=None):
    """Return the gradient with another lack of the places, or another way through the softmax."""
    a = special.softmax(z, axis=1)
    da = -2 * weight * (1 - a.sum(axis=0) if lack is None else lack(a))
    da = np.broadcast_to(da, a.shape)
    return a * (da - np.sum(a * da, axis=1, keepdims=True)) if back is None else back(a, da)


COVERAGE = Exercise(
    label="captioning-coverage-gradient",
    task="Write `by_scores(z, weight)`: the derivative of the coverage penalty with respect to the scores, before the softmax.",
    reference=by_scores,
    axes="(u s), () -> (u s)",
    probes=coverage_probes,
    mistakes=(
        Mistake(
            "the mean is not subtracted",
            lambda z, weight: _by(z, weight, back=lambda a, da: a * da),
            "A score changes all weights of its row: the mean of the derivatives, taken with the weights, goes off.",
            "{eq}`attention-softmax-backward`",
        ),
        Mistake(
            "only the diagonal of the softmax is used",
            lambda z, weight: _by(z, weight, back=lambda a, da: a * (1 - a) * da),
            "a(1 − a) is what a weight owes to its own score. The others depend on it as well.",
            "{eq}`attention-softmax-backward`",
        ),
        Mistake(
            "it is the derivative with respect to the weights",
            lambda z, weight: _by(z, weight, back=lambda a, da: np.array(da)),
            "Asked is the derivative with respect to the scores: carry it on through the softmax of each word.",
            "{eq}`captioning-coverage-gradient`",
        ),
        Mistake(
            "each word is held to the wish alone",
            lambda z, weight: _by(z, weight, lack=lambda a: 1 - a),
            "A place lacks what all words together leave of 1, not each word for itself.",
            "{eq}`captioning-coverage`",
        ),
        Mistake(
            "the weights of a word are summed, not those of a place",
            lambda z, weight: _by(z, weight, lack=lambda a: 1 - a.sum(axis=1, keepdims=True)),
            "A row sums to 1 in any case; the wish is about the columns.",
            "{eq}`captioning-coverage`",
        ),
        Mistake(
            "the softmax is taken over words",
            lambda z, weight: by_scores(z.T, weight).T,
            "Each word gives its weights to the places: rows sum to one.",
            "{eq}`captioning-look`",
        ),
    ),
    hints=(
        "First the derivative with respect to the weights; it is the same for all words.",
        "−2 λ m_s with m_s = 1 − Σ_t a_ts. Then through the softmax: a (da − Σ a da), row by row.",
        "−2 * weight * a * (m − (a @ m)[:, None]) with m = 1 − a.sum(axis=0).",
    ),
    used="It is what {eq}`captioning-coverage` adds to the scores' derivatives in {eq}`captioning-look-backward`.",
    right=(by_scores_jacobian, by_scores_step, by_scores_compiled),
    others=(
        (lambda *args: -by_scores(*args), "every number has the opposite sign"),
        (lambda *args: by_scores(*args) / 2, "every number is 0.5 times what it should be"),
        (lambda *args: by_scores(*args).sum(), "wrong type or shape"),
        (lambda *args: by_scores(*args) + 0.01, "wrong"),
    ),
)


# Another normalization


def turning_probes(rng):
    """The two captions of the page, as pairs of one; then several pairs."""
    yield np.log(np.array([0.25])), np.array([4.0]), np.log(np.array([0.125])), np.array([8.0])
    for i in sizes(rng, 4, least=2, most=9):
        short, more = -rng.uniform(0.5, 3, size=i), rng.uniform(0.1, 2, size=i)
        shorter = rng.integers(3, 9, size=i).astype(float)
        yield short, shorter, short - more, shorter + rng.integers(1, 9, size=i)


def turning(short, shorter, long, longer):
    return np.log(long / short) / np.log((5 + longer) / (5 + shorter))


def turning_logs(short, shorter, long, longer):
    up = np.log(-long) - np.log(-short)
    return up / (np.log(longer + 5) - np.log(shorter + 5))


def turning_by_base(short, shorter, long, longer):
    ratio = ((5 + longer) / 6) / ((5 + shorter) / 6)
    return np.log2(long / short) / np.log2(ratio)


@njit
def turning_compiled(short, shorter, long, longer):
    out = np.empty_like(short)
    for i in range(short.shape[0]):
        out[i] = np.log(long[i] / short[i]) / np.log((5 + longer[i]) / (5 + shorter[i]))
    return out


TURNING = Exercise(
    label="captioning-turning",
    task="Write `turning(short, shorter, long, longer)`: the power at which both captions have the same log p / ((5 + U)/6)^α.",
    reference=turning,
    axes="(i), (i), (i), (i) -> (i)",
    probes=turning_probes,
    mistakes=(
        Mistake(
            "the five is left out",
            lambda short, shorter, long, longer: np.log(long / short) / np.log(longer / shorter),
            "That is the power for U^α. Here it is 5 + U that is raised to it.",
            "{eq}`captioning-turning`",
        ),
        Mistake(
            "one is added, not five",
            lambda short, shorter, long, longer: (
                np.log(long / short) / np.log((1 + longer) / (1 + shorter))
            ),
            "It is 5 + U.",
            "{ref}`ex-captioning-turning`",
        ),
        Mistake(
            "logarithms of probabilities are subtracted",
            lambda short, shorter, long, longer: (
                (short - long) / np.log((5 + longer) / (5 + shorter))
            ),
            "Both sides are divided by powers, so it is the quotient of the two sums whose logarithm is taken.",
            "{eq}`captioning-turning`",
        ),
        Mistake(
            "the logarithm of the lengths is missing",
            lambda short, shorter, long, longer: (
                np.log(long / short) / ((5 + longer) / (5 + shorter))
            ),
            "The power stands in the exponent: take the logarithm of both sides.",
            "{eq}`captioning-turning`",
        ),
        Mistake(
            "the fraction stands on its head",
            lambda *args: 1 / turning(*args),
            "α log of the lengths = log of the sums: divide by the logarithm of the lengths.",
            "{eq}`captioning-turning`",
        ),
    ),
    hints=(
        "Set both scores equal, and bring the powers to one side.",
        "((5 + longer)/(5 + shorter))^α = long/short; the sixes cancel. Now logarithms.",
        "np.log(long / short) / np.log((5 + longer) / (5 + shorter)).",
    ),
    used="{eq}`captioning-turning` has it for the normalization that the beam of this book uses.",
    right=(turning_logs, turning_by_base, turning_compiled),
    others=(
        (lambda *args: -turning(*args), "every number has the opposite sign"),
        (lambda *args: turning(*args).sum() * np.ones((1, 1, 1)), "wrong type or shape"),
        (lambda *args: turning(*args) + 0.01, "wrong"),
    ),
)


# Break this line


BREAK = Choice(
    label="captioning-break",
    task="In `look_backward` the places are told as values, but not as keys. Name the letters of all that fail.",
    right="ac",
    wrong={
        "b": "(b) hands the error on to the context, and knows nothing of places.",
        "d": "(d) is the way forward, in which nothing was changed.",
        "e": "(e) is a derivative with respect to weights, and calls no look.",
        "f": "(f) is trained by a layer of `nets`, which has a backward pass of its own.",
    },
    missing="Something else is made of what each look returns for the places.",
    hints=(
        "Search the module and the page for `look_backward`. Who calls it?",
        "The gradient of all places adds what the looks of all words return.",
        "One check is that of the function itself, one that of its caller.",
    ),
    used="{eq}`captioning-look-backward`: a place is key and value at once, and its derivative has two parts.",
)


EXERCISES = (CLIPPED, CORPUS, CLOSEST, LIKELIHOOD, COVERAGE, TURNING, BREAK)
