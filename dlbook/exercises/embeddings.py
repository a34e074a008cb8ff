"""Exercises of the chapter on embeddings.

Page: ``book/embeddings.md``. Axes: t places of a text, v words, c contexts, d dimensions, k negatives.
"""

import numpy as np

from dlbook.exercises.forms import Choice, Exercise, Mistake, sizes
from dlbook.tools.jit import njit

__all__ = ["EXERCISES"]


# Counts in a window


def counts_probes(rng):
    """Three words in a row; then texts in which words stand beside themselves."""
    yield np.array([0, 1, 0, 2]), 3, 1
    for k in range(5):
        v, t = sorted(sizes(rng, 2, least=3, most=12))
        ids = rng.integers(v, size=t)
        ids[1] = ids[0]
        yield ids, v, 1 + k % 3 if k else 2


def counts(ids, V, window):
    X = np.zeros((V, V))
    for away in range(1, window + 1):
        if away < len(ids):
            np.add.at(X, (ids[away:], ids[:-away]), 1)
            np.add.at(X, (ids[:-away], ids[away:]), 1)
    return X


def counts_loops(ids, V, window):
    X = np.zeros((V, V))
    for t in range(len(ids)):
        for u in range(max(0, t - window), min(len(ids), t + window + 1)):
            if u != t:
                X[ids[t], ids[u]] += 1
    return X


def counts_product(ids, V, window):
    H, place = np.eye(V)[ids], np.arange(len(ids))
    away = np.abs(place[:, None] - place)
    return H.T @ ((away >= 1) & (away <= window)).astype(float) @ H


@njit(whole="ids")
def counts_compiled(ids, V, window):
    X = np.zeros((V, V))
    for t in range(len(ids)):
        for u in range(t):
            if t - u <= window:
                X[ids[t], ids[u]] += 1
                X[ids[u], ids[t]] += 1
    return X


def _counts(weight):
    """Return counts in which a pair at a signed distance has a weight."""

    def made(ids, V, window):
        H, place = np.eye(V)[ids], np.arange(len(ids))
        return H.T @ weight(place[None, :] - place[:, None], window) @ H

    return made


COUNTS = Exercise(
    label="embeddings-counts",
    task="Write `counts(ids, V, window)`, how often word c stands at most `window` places from word v, on either side.",
    reference=counts,
    axes="(t), (), () -> (v c)",
    probes=counts_probes,
    mistakes=(
        Mistake(
            "each place is counted as its own neighbour",
            _counts(lambda a, w: 1.0 * (np.abs(a) <= w)),
            "A word is no company to itself: the place in the middle of the window is left out, and it alone.",
            "{eq}`embeddings-co-occurrence`",
        ),
        Mistake(
            "words beside themselves are left out",
            lambda ids, V, window: counts(ids, V, window) * (1 - np.eye(V)),
            "The place in the middle is left out, not the word: it may stand again in its own window.",
            "{eq}`embeddings-co-occurrence`",
        ),
        Mistake(
            "only what stands before the word is counted",
            _counts(lambda a, w: 1.0 * ((a < 0) & (a >= -w))),
            "The window reaches to both sides, which makes the table symmetric.",
            "{eq}`embeddings-co-occurrence`",
        ),
        Mistake(
            "the window ends one place too early",
            _counts(lambda a, w: 1.0 * ((a != 0) & (np.abs(a) < w))),
            "The distance may be as large as the window: range(t − window, t + window + 1).",
            "{eq}`embeddings-co-occurrence`",
        ),
        Mistake(
            "the window ends one place too late",
            _counts(lambda a, w: 1.0 * ((a != 0) & (np.abs(a) <= w + 1))),
            "The distance is at most the window.",
            "{eq}`embeddings-co-occurrence`",
        ),
        Mistake(
            "a pair weighs less the farther it is apart",
            _counts(lambda a, w: (np.abs(a) <= w) * (a != 0) / np.maximum(np.abs(a), 1)),
            "That is what GloVe counts. Here each pair within the window counts one.",
            "{eq}`embeddings-co-occurrence`",
        ),
    ),
    hints=(
        "For one distance a, which places form pairs? ids[a:] and ids[:-a].",
        "Each such pair is counted twice, once as (v, c) and once as (c, v).",
        "np.add.at(X, (ids[a:], ids[:-a]), 1) and the same the other way round, for a = 1 … window.",
    ),
    used="Every method of the page begins with {eq}`embeddings-co-occurrence`, counted or drawn.",
    right=(counts_loops, counts_product, counts_compiled),
    others=((lambda *a: counts(*a)[:1], "wrong type or shape"),),
)


# Pointwise mutual information


def ppmi_probes(rng):
    """Two words and two contexts; then tables with zeros, and one with an empty row."""
    yield (np.array([[4.0, 0.0], [2.0, 2.0]]),)
    for k in range(4):
        v, c = sizes(rng, 2, least=3, most=7)
        X = rng.poisson(3.0, size=(v, c)).astype(float)
        X[0, 0], X[1, 1], X[2] = 0, 9, 0 if k == 2 else X[2]
        yield (X,)


def positive(X):
    expected = np.outer(X.sum(axis=1), X.sum(axis=0)) / X.sum()
    return np.log(np.maximum(X, expected) / np.where(expected > 0, expected, 1) + (expected == 0))


def ppmi_masked(X):
    out, total = np.zeros_like(X), X.sum()
    v, c = np.nonzero(X)
    out[v, c] = np.log(X[v, c] * total / (X.sum(axis=1)[v] * X.sum(axis=0)[c]))
    return np.maximum(out, 0)


def ppmi_logs(X):
    with np.errstate(divide="ignore", invalid="ignore"):
        P = X / X.sum()
        found = np.log(P) - np.log(P.sum(axis=1))[:, None] - np.log(P.sum(axis=0))
    return np.where(found > 0, found, 0)


@njit
def ppmi_compiled(X):
    V, C = X.shape
    out, total = np.zeros((V, C)), np.sum(X)
    for v in range(V):
        for c in range(C):
            if X[v, c] > 0:
                out[v, c] = max(0.0, np.log(X[v, c] * total / (np.sum(X[v]) * np.sum(X[:, c]))))
    return out


def _ratio(change):
    """Return the logarithm of a wrong ratio, where there is a count, and nothing below zero."""

    def made(X):
        rows, columns = X.sum(axis=1, keepdims=True), X.sum(axis=0, keepdims=True)
        one = np.maximum(change(X, rows, columns, X.sum()), 1e-300)
        return np.where(X > 0, np.maximum(np.log(one), 0), 0)

    return made


def pmi_alone(X):
    rows, columns = X.sum(axis=1, keepdims=True), X.sum(axis=0, keepdims=True)
    return np.where(X > 0, np.log(np.maximum(X, 1e-300) * X.sum() / np.maximum(rows * columns, 1)), 0)  # fmt: skip


PPMI = Exercise(
    label="embeddings-ppmi",
    task="Write `positive(X)`, the positive pointwise mutual information of a table of counts; zero where a count is zero.",
    reference=positive,
    axes="(v c) -> (v c)",
    probes=ppmi_probes,
    mistakes=(
        Mistake(
            "negative values are kept",
            pmi_alone,
            "That is the PMI. The P in front is for positive: what is below zero becomes zero.",
            "{eq}`embeddings-ppmi`",
        ),
        Mistake(
            "one is added to the counts",
            lambda X: positive(X + 1),
            "It avoids the logarithm of zero, and changes every other cell. Zero cells are simply zero here.",
            "{eq}`embeddings-ppmi`",
        ),
        Mistake(
            "only the words' own frequency is divided out",
            _ratio(lambda X, r, c, n: X / np.maximum(r, 1) * X.shape[1]),
            "A frequent context stands beside everything: divide by its share as well.",
            "{eq}`embeddings-pmi`",
        ),
        Mistake(
            "the ratio is weighted by its probability",
            lambda X: positive(X) * X / X.sum(),
            "That is a cell's term in the mutual information. PMI is the logarithm alone.",
            "{eq}`embeddings-pmi`",
        ),
        Mistake(
            "the logarithm is taken of one more than the ratio",
            _ratio(lambda X, r, c, n: 1 + X * n / np.maximum(r * c, 1)),
            "log(1 + ratio) is never zero where the two are independent; log(ratio) is.",
            "{eq}`embeddings-pmi`",
        ),
    ),
    hints=(
        "What count would you expect in a cell if words and contexts were independent?",
        "Row sum times column sum divided by the total. PMI is the logarithm of count over that.",
        "np.maximum(log(X · n / (rows · columns)), 0), and 0 where X is 0.",
    ),
    used="The singular vectors of this table are vectors of words: {eq}`embeddings-svd`.",
    right=(ppmi_masked, ppmi_logs, ppmi_compiled),
    others=((lambda X: positive(X)[:, :1], "wrong type or shape"),),
)


# The gradient of negative sampling


def pull_probes(rng):
    """One dimension and one negative; then several."""
    yield np.array([0.5]), np.array([2.0]), np.array([[-1.0]])
    for _ in range(5):
        d, k = sizes(rng, 2, least=2, most=7)
        yield rng.normal(size=d), rng.normal(size=d), rng.normal(size=(k, d))


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def pull(w, c, N):
    return (sigmoid(w @ c) - 1) * c + sigmoid(N @ w) @ N


def pull_step(w, c, N):
    """Return the derivative of the cost by a complex step."""
    soft = lambda z: np.log(1 + np.exp(z))
    cost = lambda w: soft(-(w @ c)) + np.sum(soft(N @ w))
    turned = w + 1e-30j * np.eye(len(w))
    return np.array([cost(row).imag / 1e-30 for row in turned])


def pull_signs(w, c, N):
    rows, sign = np.vstack([-c, N]), np.ones(len(N) + 1)
    return (sign / (1 + np.exp(-rows @ w))) @ rows


@njit
def pull_compiled(w, c, N):
    found = np.zeros(w.size)
    s = 0.0
    for d in range(w.size):
        s += w[d] * c[d]
    for d in range(w.size):
        found[d] = -c[d] / (1 + np.exp(s))
    for k in range(N.shape[0]):
        s = 0.0
        for d in range(w.size):
            s += w[d] * N[k, d]
        for d in range(w.size):
            found[d] += N[k, d] / (1 + np.exp(-s))
    return found


PULL = Exercise(
    label="embeddings-pull",
    task="Write `pull(w, c, N)`, the gradient of the cost of a pair and its negatives (the rows of N) with respect to w.",
    reference=pull,
    axes="(d), (d), (k d) -> (d)",
    probes=pull_probes,
    mistakes=(
        Mistake(
            "the negatives pull as well",
            lambda w, c, N: (sigmoid(w @ c) - 1) * c + (sigmoid(N @ w) - 1) @ N,
            "For a negative the cost is −ln σ(−w·n), whose derivative with respect to w is +σ(w·n) n.",
            "{eq}`embeddings-negative-sampling-gradient`",
        ),
        Mistake(
            "the negatives are averaged",
            lambda w, c, N: (sigmoid(w @ c) - 1) * c + sigmoid(N @ w) @ N / len(N),
            "The cost has a sum over the negatives: more of them push harder.",
            "{eq}`embeddings-negative-sampling`",
        ),
        Mistake(
            "the pair itself is left out",
            lambda w, c, N: sigmoid(N @ w) @ N,
            "Without the pull of the pair all vectors only flee.",
            "{eq}`embeddings-negative-sampling`",
        ),
        Mistake(
            "the negatives are left out",
            lambda w, c, N: (sigmoid(w @ c) - 1) * c,
            "Without negatives every product grows for ever.",
            "{eq}`embeddings-negative-sampling`",
        ),
        Mistake(
            "the pair has the factor of a negative",
            lambda w, c, N: sigmoid(w @ c) * c + sigmoid(N @ w) @ N,
            "The derivative of −ln σ(s) with respect to s is σ(s) − 1: nothing is left to do once σ is one.",
            "{eq}`embeddings-negative-sampling-gradient`",
        ),
        Mistake(
            "the sigmoid is differentiated instead of its logarithm",
            lambda w, c, N: (
                (sigmoid(w @ c) - 1) * sigmoid(w @ c) * c
                + (sigmoid(N @ w) * (1 - sigmoid(N @ w))) @ N
            ),
            "σ' = σ(1 − σ), and the logarithm divides by σ: one factor cancels.",
            "{eq}`embeddings-negative-sampling-gradient`",
        ),
    ),
    hints=(
        "What is the derivative of −ln σ(s) with respect to s, and of −ln σ(−s)?",
        "σ(s) − 1, and σ(s). Then the chain rule: s = w·c has the derivative c.",
        "(σ(w·c) − 1) c + Σ_k σ(w·n_k) n_k.",
    ),
    used="Each step of the training is this, times the rate: {eq}`embeddings-negative-sampling-gradient`.",
    right=(pull_step, pull_signs, pull_compiled),
    others=(
        (lambda *a: -pull(*a), "every number has the opposite sign"),
        (lambda *a: pull(*a)[:1], "wrong type or shape"),
    ),
)


# The optimum, by hand


def optimum_probes(rng):
    """Two words and two contexts; then tables without zeros, with one pair that is far from chance."""
    yield np.array([[4.0, 1.0], [1.0, 20.0]]), 2
    for _ in range(4):
        v, c = sizes(rng, 2, least=3, most=7)
        X = rng.integers(20, 60, size=(v, c)).astype(float)
        X[0], X[:, 0], X[0, 0] = 1, rng.integers(1, 3), 9
        yield X, int(rng.integers(2, 5))


def optimum(X, k):
    expected = np.outer(X.sum(axis=1), X.sum(axis=0)) / X.sum()
    return np.log(X / expected) - np.log(k)


def optimum_odds(X, k):
    """Return the log odds of a count against the negatives that are expected beside it."""
    negatives = k * X.sum(axis=1, keepdims=True) * X.sum(axis=0) / X.sum()
    share = X / (X + negatives)
    return np.log(share) - np.log1p(-share)


def optimum_logs(X, k):
    total = np.log(X.sum()) - np.log(k)
    return np.log(X) + total - np.log(X.sum(axis=1))[:, None] - np.log(X.sum(axis=0))[None]


@njit
def optimum_compiled(X, k):
    out, total = np.empty(X.shape), np.sum(X)
    for v in range(X.shape[0]):
        for c in range(X.shape[1]):
            out[v, c] = np.log(X[v, c] * total / (k * np.sum(X[v]) * np.sum(X[:, c])))
    return out


OPTIMUM = Exercise(
    label="embeddings-optimum",
    task="Write `optimum(X, k)`, the products that minimise the expected cost with k negatives drawn as contexts occur.",
    reference=optimum,
    axes="(v c), () -> (v c)",
    probes=optimum_probes,
    mistakes=(
        Mistake(
            "this is the PMI",
            lambda X, k: optimum(X, 1),
            "Each of the k negatives is a reason to be smaller: the PMI is shifted down by log k.",
            "{eq}`embeddings-sgns-pmi`",
        ),
        Mistake(
            "log k is added",
            lambda X, k: optimum(X, 1) + np.log(k),
            "More negatives push harder, so the products fall with k.",
            "{eq}`embeddings-sgns-pmi`",
        ),
        Mistake(
            "k itself is subtracted",
            lambda X, k: optimum(X, 1) - k,
            "The odds are divided by k; the logarithm of that is a difference with log k.",
            "{eq}`embeddings-sgns-pmi`",
        ),
        Mistake(
            "what is negative has become zero",
            lambda X, k: np.maximum(optimum(X, k), 0),
            "That is the shifted positive PMI, which one factorises because it is sparse. The optimum may be negative.",
            "{eq}`embeddings-sgns-pmi`",
        ),
        Mistake(
            "the noise is drawn by counts to the power ¾",
            lambda X, k: (
                optimum(X, k)
                + np.log(X.sum(axis=0) / X.sum())
                - np.log(X.sum(axis=0) ** 0.75 / np.sum(X.sum(axis=0) ** 0.75))
            ),
            "With such noise the optimum is another one. Here negatives are drawn as contexts occur.",
            "{eq}`embeddings-sgns-expected`",
        ),
        Mistake(
            "this is the probability that a pair is a real one",
            lambda X, k: sigmoid(optimum(X, k)),
            "The sigmoid of the product is that probability; asked is the product, its log odds.",
            "{eq}`embeddings-sgns-pmi`",
        ),
    ),
    hints=(
        "In the cost, one product x occurs as a pair X times and as a negative k · rows · columns / total times.",
        "Minimise −A ln σ(x) − B ln σ(−x): the derivative is A (σ(x) − 1) + B σ(x).",
        "It vanishes at σ(x) = A/(A + B), or x = ln(A/B) = PMI − ln k.",
    ),
    used="Vectors of full rank reach it: {eq}`embeddings-sgns-pmi`.",
    right=(optimum_odds, optimum_logs, optimum_compiled),
    others=((lambda X, k: optimum(X, k)[:, :1], "wrong type or shape"),),
)


# What an alias table draws


def drawn_probes(rng):
    """Two columns; then several, in which some have no other word."""
    yield np.array([0.5, 1.0]), np.array([1, 1])
    for _ in range(4):
        (v,) = sizes(rng, 1, least=3, most=9)
        share = rng.uniform(size=v)
        share[rng.integers(v)] = 1.0
        yield share, rng.integers(v, size=v)


def drawn(share, other):
    return (share + np.bincount(other, 1 - share, len(share))) / len(share)


def drawn_loops(share, other):
    p = [s / len(share) for s in share]
    for v, u in enumerate(other):
        p[u] += (1 - share[v]) / len(share)
    return np.array(p)


def drawn_matrix(share, other):
    return share / len(share) + np.eye(len(share))[other].T @ (1 - share) / len(share)


@njit(whole="other")
def drawn_compiled(share, other):
    p = np.zeros(share.size)
    for v in range(share.size):
        p[v] += share[v] / share.size
        p[other[v]] += (1 - share[v]) / share.size
    return p


DRAWN = Exercise(
    label="embeddings-drawn",
    task="Write `drawn(share, other)`, the probability with which an alias table draws each word.",
    reference=drawn,
    axes="(v), (v) -> (v)",
    probes=drawn_probes,
    mistakes=(
        Mistake(
            "a column's own word is left out",
            lambda share, other: np.bincount(other, 1 - share, len(share)) / len(share),
            "Below its share a column gives its own word.",
            "{eq}`embeddings-alias`",
        ),
        Mistake(
            "the other words are left out",
            lambda share, other: share / len(share),
            "Above its share a column gives the other word; without it the probabilities do not add up to one.",
            "{eq}`embeddings-alias`",
        ),
        Mistake(
            "the two parts of a column are exchanged",
            lambda share, other: (1 - share + np.bincount(other, share, len(share))) / len(share),
            "The share is the part that belongs to the column's own word.",
            "{eq}`embeddings-alias`",
        ),
        Mistake(
            "the other word gets the share as well",
            lambda share, other: (share + np.bincount(other, share, len(share))) / len(share),
            "What is left of a column is 1 − share.",
            "{eq}`embeddings-alias`",
        ),
        Mistake(
            "each column gives what is left to itself",
            lambda share, other: (share + (1 - share)[other]) / len(share),
            "Column v gives its rest to the word other[v], not the other way round: sum over columns.",
            "{eq}`embeddings-alias`",
        ),
    ),
    hints=(
        "A column is drawn with probability 1/V. Which two words can come of it?",
        "Word v comes from its own column, and from every column u whose other word is v.",
        "(share_v + Σ_u [other_u = v] (1 − share_u)) / V: np.bincount adds them up.",
    ),
    used="The checks of {eq}`embeddings-alias` enumerate a table in this way.",
    right=(drawn_loops, drawn_matrix, drawn_compiled),
    others=(
        (lambda *a: drawn(*a) * len(a[0]), "every number is V times what it should be"),
        (lambda *a: drawn(*a)[:1], "wrong type or shape"),
    ),
)


# Arithmetic with words


def compared_probes(rng):
    """Three words in the plane; then more, of unequal length."""
    yield np.array([[1.0, 0.0], [0.0, 2.0], [3.0, 4.0]]), 0, 1, 2
    for _ in range(4):
        d, v = sorted(sizes(rng, 2, least=3, most=8))
        W = rng.normal(size=(v, d)) * rng.uniform(0.3, 3, size=(v, 1))
        yield W, *(int(i) for i in rng.choice(v, 3, replace=False))


def unit(W):
    return W / np.linalg.norm(W, axis=-1, keepdims=True)


def compared(W, a, b, c):
    U = unit(W)
    return U @ unit(U[b] - U[a] + U[c])


def compared_sums(W, a, b, c):
    G = unit(W) @ unit(W).T
    length = np.sqrt(3 - 2 * G[a, b] - 2 * G[a, c] + 2 * G[b, c])
    return (G[b] - G[a] + G[c]) / length


def compared_loops(W, a, b, c):
    U = np.array([row / np.sqrt(np.sum(row**2)) for row in W])
    target = U[b] - U[a] + U[c]
    return np.array([np.sum(u * target) / np.sqrt(np.sum(target**2)) for u in U])


@njit
def compared_compiled(W, a, b, c):
    U = np.empty(W.shape)
    for v in range(W.shape[0]):
        U[v] = W[v] / np.sqrt(np.sum(W[v] ** 2))
    target = U[b] - U[a] + U[c]
    target /= np.sqrt(np.sum(target**2))
    return np.array([np.sum(U[v] * target) for v in range(W.shape[0])])


COMPARED = Exercise(
    label="embeddings-compared",
    task="Write `compared(W, a, b, c)`, the cosine of every word with what a is to b, applied to c.",
    reference=compared,
    axes="(v d), (), (), () -> (v)",
    probes=compared_probes,
    mistakes=(
        Mistake(
            "vectors are added before they have length one",
            lambda W, a, b, c: unit(W) @ unit(W[b] - W[a] + W[c]),
            "A long vector then decides the sum. Lengths follow how frequent a word is, not what it means.",
            "{eq}`embeddings-analogy`",
        ),
        Mistake(
            "a and b are exchanged",
            lambda W, a, b, c: compared(W, b, a, c),
            "From a to b leads b − a.",
            "{eq}`embeddings-analogy`",
        ),
        Mistake(
            "the difference stands alone",
            lambda W, a, b, c: unit(W) @ unit(unit(W)[b] - unit(W)[a]),
            "The difference is a direction. It begins at c: add its vector.",
            "{eq}`embeddings-analogy`",
        ),
        Mistake(
            "the sum does not have length one",
            lambda W, a, b, c: unit(W) @ (unit(W)[b] - unit(W)[a] + unit(W)[c]),
            "The order of the words is right, but a cosine divides by the length of both vectors.",
            "{eq}`embeddings-cosine`",
        ),
        Mistake(
            "the product is taken with vectors of any length",
            lambda W, a, b, c: W @ unit(unit(W)[b] - unit(W)[a] + unit(W)[c]),
            "A cosine divides by the length of both vectors, or long ones win.",
            "{eq}`embeddings-cosine`",
        ),
        Mistake(
            "nothing has been moved: these are the cosines with c",
            lambda W, a, b, c: unit(W) @ unit(W)[c],
            "That is the answer without arithmetic, and often not a bad one. Add b − a.",
            "{eq}`embeddings-analogy`",
        ),
    ),
    hints=(
        "First give every vector length one.",
        "Where do you arrive from c if you go the way that leads from a to b?",
        "U = rows of length one; cosines of U with U[b] − U[a] + U[c], divided by its length.",
    ),
    used="The plurals of the page are sought in this way: {eq}`embeddings-analogy`.",
    right=(compared_sums, compared_loops, compared_compiled),
    others=((lambda *a: compared(*a)[:1], "wrong type or shape"),),
)


# Break this line

BREAK = Choice(
    label="embeddings-break",
    task="The line `noise(counts, 0.75)` becomes `noise(counts, 1.0)`. Name the letters of all that is computed otherwise.",
    right="bd",
    wrong={
        "a": "(a) is the cost of one pair and negatives that are given. Where they come from is not in it.",
        "c": "(c): the gradient is that of a pair and given negatives. Where they come from is not in it.",
        "e": "(e): counts in a window are made before anything is drawn.",
        "f": "(f): which words of the text are left out depends on their share, and not on the noise.",
    },
    missing="Where is the mean over the noise taken? And what is the minimum of that?",
    hints=(
        "Which equations contain q, the distribution of the negatives?",
        "A pair with given negatives does not. The mean over the negatives does.",
        "The expected cost, and where it is least.",
    ),
    used="With counts the optimum is {eq}`embeddings-sgns-pmi`; with the power it is not.",
)

EXERCISES = (COUNTS, PPMI, PULL, OPTIMUM, DRAWN, COMPARED, BREAK)
