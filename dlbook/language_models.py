"""Language models: n-grams and how they are smoothed, a window that learns, and how both are judged.

Page: ``book/language_models.md``. Builds on `linear_classification` (softmax, cross-entropy) and
`embeddings` (rows that stand for symbols).

Sources: Shannon, Bell Syst. Tech. J. 27 (1948) and 30 (1951); Jelinek and Mercer, Pattern
Recognition in Practice (1980), for interpolated orders; Good, Biometrika 40 (1953); Kneser and Ney,
ICASSP (1995); Ney, Essen and Kneser, Comput. Speech Lang. 8 (1994), for the discount; Chen and
Goodman, Comput. Speech Lang. 13 (1999); Bengio et al., JMLR 3 (2003), for the window.

Axes: t places of a text; v, w symbols; h contexts of n−1 symbols, g those one symbol shorter, both
numbered with their last symbol running fastest; k orders or models; m places of a window; e numbers
of a vector; j hidden units.

Names: ids a text as numbers of symbols (t); c counts (h v); P probabilities (k v) or (t v), p those
of what came (t). C vectors of symbols (v e), W and b the hidden layer (j m e), (j), U and d the
scores (v j), (v); a hidden activations (t j), z scores (t v). ℓ is a loss, and dz is ∂ℓ/∂z.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from dlbook.fast.cutting import likeliest
from dlbook.fast.grams import find, numbered
from dlbook.tools import shapes
from dlbook.tools.jit import check_indices, njit

__all__ = [
    "Level",
    "NGram",
    "best_mixture",
    "bits",
    "continuation",
    "discount",
    "discounted",
    "entropy_slope",
    "generate",
    "good_turing",
    "gram_counts",
    "interpolated",
    "kneser_ney",
    "laplace",
    "log_probability",
    "mixture_bits",
    "mixture_step",
    "ngram",
    "per_word",
    "perplexity",
    "temper",
    "unseen",
    "window",
    "window_gradient",
    "window_size",
    "windows",
]

DISCOUNTING = ("kneser-ney", "modified-kneser-ney", "absolute")  # over all orders
SMOOTHINGS = (*DISCOUNTING, "laplace", "none")


# A text and its counts


@njit(whole="ids")
def log_probability(P, ids):
    """(language_models-chain)  log p(x_1 … x_T) = Σ_t log P_{t x_t}
    (t v), (t) -> ()

    Row t holds the probabilities of the next symbol after x_1 … x_{t−1}.
    """
    check_indices(ids, P.shape[1])
    total = 0.0
    for t in range(len(ids)):
        total += np.log(P[t, ids[t]])
    return total


@njit(whole="ids n V")
def gram_counts(ids, n, V):
    """(language_models-count)  c_hw = Σ_t [x_{t−n+1} … x_{t−1} = h] [x_t = w]
    (t), (), () -> (h v)
    """
    check_indices(ids, V)
    c = np.zeros((V ** (n - 1), V))
    for t in range(n - 1, len(ids)):
        h = 0
        for s in range(t - n + 1, t):
            h = h * V + ids[s]
        c[h, ids[t]] += 1
    return c


@njit
def ngram(c):
    """(language_models-ngram)  p_hw = c_hw / Σ_v c_hv
    (h v) -> (h v)

    NaN after a context that was never seen.
    """
    p = np.empty_like(c)
    for h in range(len(c)):
        total = np.sum(c[h])
        for w in range(c.shape[1]):
            p[h, w] = c[h, w] / total
    return p


@njit
def laplace(c, alpha):
    """(language_models-laplace)  p_hw = (c_hw + α) / (Σ_v c_hv + α V)
    (h v), () -> (h v)
    """
    H, V = c.shape
    p = np.empty_like(c)
    for h in range(H):
        total = np.sum(c[h]) + alpha * V
        for w in range(V):
            p[h, w] = (c[h, w] + alpha) / total
    return p


@njit
def interpolated(weight, P):
    """(language_models-interpolation)  p_w = Σ_k λ_k P_kw
    (k), (k v) -> (v)
    """
    K, V = P.shape
    p = np.zeros(V, P.dtype)
    for k in range(K):
        for w in range(V):
            p[w] += weight[k] * P[k, w]
    return p


@njit
def good_turing(c):
    """(language_models-good-turing)  N_1 / N,  N_1 = Σ_hw [c_hw = 1],  N = Σ_hw c_hw
    (h v) -> ()
    """
    once, total = 0.0, 0.0
    for h in range(len(c)):
        for w in range(c.shape[1]):
            once += c[h, w] == 1
            total += c[h, w]
    return once / total


@njit
def discount(c):
    """(language_models-discount)  D = N_1 / (N_1 + 2 N_2),  N_r = Σ_hw [c_hw = r]
    (h v) -> ()
    """
    once, twice = 0.0, 0.0
    for h in range(len(c)):
        for w in range(c.shape[1]):
            once += c[h, w] == 1
            twice += c[h, w] == 2
    return once / (once + 2 * twice)


@njit
def discounted(c, D, q):
    """(language_models-discounting)
    p_hw = (max(c_hw − D, 0) + D Σ_v [c_hv > 0] q_gw) / Σ_v c_hv
    (h v), (), (g v) -> (h v)

    g is h without its first symbol. Where Σ_v c_hv is 0, p_hw = q_gw.
    """
    H, V = c.shape
    p = np.empty_like(c)
    for h in range(H):
        g = h % len(q)
        total, kinds = np.sum(c[h]), np.sum(c[h] > 0)
        for w in range(V):
            p[h, w] = q[g, w]
            if total != 0:
                kept = np.maximum(c[h, w] - D, 0)
                p[h, w] = (kept + D * kinds * q[g, w]) / total
    return p


@njit
def continuation(c):
    """(language_models-continuation)  c'_gw = Σ_u [c_{ug, w} > 0]
    (h v) -> (g v)

    u is the first symbol of a context, g the rest of it.
    """
    H, V = c.shape
    G = H // V
    found = np.zeros((G, V), c.dtype)
    for h in range(H):
        for w in range(V):
            found[h % G, w] += c[h, w] > 0
    return found


@njit
def kneser_ney(c, D):
    """(language_models-kneser-ney)  p = p^(n),  p^(k) = discounted(c^(k), D_k, p^(k−1)),
    c^(n) = c,  c^(k−1) = continuation(c^(k)),  p^(0)_w = 1/V
    (h v), (k) -> (h v)
    """
    n, V = len(D), c.shape[1]
    p = np.ones((1, V), c.dtype) / V
    for k in range(n):
        counts = c
        for _ in range(n - 1 - k):
            counts = continuation(counts)
        p = discounted(counts, D[k], p)
    return p


# How a model is judged


@njit
def bits(p):
    """(language_models-bits)  H = −1/T Σ_t log₂ p_t
    (t) -> ()
    """
    total = 0.0
    for t in range(len(p)):
        total -= np.log2(p[t])
    return total / len(p)


@njit
def perplexity(p):
    """(language_models-perplexity)  PP = exp(−1/T Σ_t log p_t) = 2^H
    (t) -> ()
    """
    total = 0.0
    for t in range(len(p)):
        total -= np.log(p[t])
    return np.exp(total / len(p))


@njit
def per_word(H, symbols, words):
    """(language_models-per-word)  PP_word = 2^(H T / T_words)
    (), (), () -> ()
    """
    return 2.0 ** (H * symbols / words)


# Two models, or more


@njit
def mixture_bits(weight, P):
    """(language_models-mixture)  H = −1/T Σ_t log₂ Σ_k λ_k P_kt
    (k), (k t) -> ()
    """
    K, T = P.shape
    total = 0.0
    for t in range(T):
        mixed = 0.0
        for k in range(K):
            mixed += weight[k] * P[k, t]
        total -= np.log2(mixed)
    return total / T


@njit
def mixture_step(weight, P):
    """(language_models-mixture-weight)  λ_k ← 1/T Σ_t λ_k P_kt / Σ_l λ_l P_lt
    (k), (k t) -> (k)
    """
    K, T = P.shape
    new = np.zeros_like(weight)
    for t in range(T):
        total = np.sum(weight * P[:, t])
        for k in range(K):
            new[k] += weight[k] * P[k, t] / (total * T)
    return new


# The window


@njit(whole="x")
def window(x, C, W, b, U, d):
    """(language_models-window)
    a_tj = tanh(b_j + Σ_me W_jme C_{x_tm e}),  z_tv = d_v + Σ_j U_vj a_tj
    (t m), (v e), (j m e), (j), (v j), (v) -> (t j), (t v)
    """
    check_indices(x, len(C))
    (T, M), (V, E), J = x.shape, C.shape, len(b)
    a, z = np.zeros((T, J), C.dtype), np.zeros((T, V), C.dtype)
    for t in range(T):
        for j in range(J):
            for m in range(M):
                for e in range(E):
                    a[t, j] += W[j, m, e] * C[x[t, m], e]
            a[t, j] = np.tanh(b[j] + a[t, j])
        for v in range(V):
            for j in range(J):
                z[t, v] += U[v, j] * a[t, j]
            z[t, v] += d[v]
    return a, z


@njit(whole="x")
def window_gradient(x, dz, a, C, W, U):
    """(language_models-window-gradient)  δ_tj = (1 − a_tj²) Σ_v dz_tv U_vj,
    dd_v = Σ_t dz_tv,  dU_vj = Σ_t dz_tv a_tj,  db_j = Σ_t δ_tj,
    dW_jme = Σ_t δ_tj C_{x_tm e},  dC_ve = Σ_tm [x_tm = v] Σ_j δ_tj W_jme
    (t m), (t v), (t j), (v e), (j m e), (v j)
    -> (v e), (j m e), (j), (v j), (v)
    """
    check_indices(x, len(C))
    (T, M), (V, J) = x.shape, U.shape
    dC, dW, dU = np.zeros_like(C), np.zeros_like(W), np.zeros_like(U)
    db, dd = np.zeros(J, U.dtype), np.zeros(V, U.dtype)
    for t in range(T):
        dd += dz[t]
        for v in range(V):
            dU[v] += dz[t, v] * a[t]
        for j in range(J):
            delta = (1 - a[t, j] ** 2) * np.sum(dz[t] * U[:, j])
            db[j] += delta
            for m in range(M):
                dW[j, m] += delta * C[x[t, m]]
                dC[x[t, m]] += delta * W[j, m]
    return dC, dW, db, dU, dd


@njit(whole="V n E J")
def window_size(V, n, E, J):
    """(language_models-window-size)  V E + ((n − 1) E + 1) J + (J + 1) V
    (), (), (), () -> ()
    """
    return V * E + ((n - 1) * E + 1) * J + (J + 1) * V


# Writing


@njit
def temper(z, tau):
    """(language_models-temperature)  p_v = exp(z_v/τ) / Σ_w exp(z_w/τ)
    (v), () -> (v)
    """
    V = len(z)
    p, top = np.empty_like(z), np.max(z)
    for v in range(V):
        p[v] = np.exp((z[v] - top) / tau)
    return p / np.sum(p)


@njit
def entropy_slope(z, tau):
    """(language_models-entropy-slope)  dH/dτ = (Σ_v p_v z_v² − (Σ_v p_v z_v)²) / τ³
    (v), () -> ()

    H = −Σ_v p_v log p_v with p of scores z at temperature τ.
    """
    p = temper(z, tau)
    mean, slope = np.sum(p * z), 0.0
    for v in range(len(z)):
        slope += p[v] * (z[v] - mean) ** 2
    return slope / tau**3


# Models


class Level(NamedTuple):
    """All n-grams of one order that a text has, numbered in the order in which they first come."""

    raw: np.ndarray  # (k) how often each of them was seen
    counts: np.ndarray  # (k) what the model divides: raw, or for how many first symbols
    totals: np.ndarray  # (h) sum of counts for each context
    kinds: np.ndarray  # (3, h) how many of them are one, two, and more
    discounts: np.ndarray  # (3) what is taken off each of those
    slots: np.ndarray  # a table by which an n-gram finds its number, and
    known: np.ndarray  # (k) the keys in it

    def find(self, contexts, ids, V):
        """Return the numbers of n-grams, each given by its context and its last symbol."""
        out = np.empty(len(ids), np.int64)
        find(contexts, ids, V, self.slots, self.known, out)
        return out


def _counted(ids, V, order):
    """Yield order by order the n-grams of a text: how often each is there, its number without its
    first symbol, how many contexts there are, the table, and the keys.
    """
    ends, contexts, shorter = np.zeros(len(ids) + 1, np.int64), 1, None
    for k in range(order):
        ends, slots, known, counts, begun = numbered(ends[:-1], ids[k:], V)
        within = np.zeros_like(begun) if shorter is None else shorter[1:][begun]
        yield counts.astype(float), within, contexts, slots, known
        contexts, shorter = len(known), ends


def _text(name, ids, V, order=1):
    """Return a text as numbers below V, at least as long as an n-gram."""
    x = shapes.Axes().labels(name, ids, "t", V)
    if len(x) < order:
        raise ValueError(f"{name} has {len(x)} symbols, fewer than the order {order}")
    return x


class NGram:
    """A model that counts what came after the last n − 1 symbols.

    Parameters
    ----------
    order : int
        The n of its n-grams: it looks at n − 1 symbols to predict the next.
    smoothing : {"kneser-ney", "modified-kneser-ney", "absolute", "laplace", "none"}
        Interpolated Kneser–Ney over all orders up to n, with a discount for each; the same with
        three of them, for counts of one, of two, and of more; with one, but places in place of
        neighbours in the shorter orders; α added to every count of order n; or the counts of order
        n alone.
    alpha : float
        The α of "laplace".

    Attributes
    ----------
    levels : tuple of Level
        The n-grams of orders 1 … n.
    V : int
        How many symbols there are.

    Notes
    -----
    A discount that the counts leave open, since no n-gram was seen once, is ½. Of three discounts D_r
    each is r − (r + 1) Y N_{r+1}/N_r with Y = N_1/(N_1 + 2N_2); where one of them does not lie between 0
    and r, since few n-grams were seen, all are Y.

    References
    ----------
    Chen & Goodman, Computer Speech & Language 13 (1999), for three discounts.
    """

    def __init__(self, order: int, smoothing: str = "kneser-ney", alpha: float = 1.0):
        self.order = shapes.count("order", order)
        self.smoothing = shapes.choice("smoothing", smoothing, SMOOTHINGS)
        self.alpha = shapes.number("alpha", alpha, above=0)
        self.levels, self.V = (), None

    def fit(self, ids: ArrayLike, V: int) -> "NGram":
        """Count a text.

        Parameters
        ----------
        ids : array_like of int, shape (t,)
            Its symbols, as numbers below `V`.
        V : int
            How many symbols there are, those too that the text does not have.

        Returns
        -------
        NGram
            Itself.

        Raises
        ------
        TypeError, ValueError
            If the text is empty or shorter than the order, or holds what is no symbol.
        """
        V = shapes.count("V", V)
        ids = _text("ids", ids, V, self.order)
        found = list(_counted(ids, V, self.order))
        counts = [raw for raw, *_ in found]
        if self.smoothing in DISCOUNTING[:2]:
            for k in range(self.order - 1, 0, -1):
                within = found[k][1][counts[k] > 0]
                counts[k - 1] = np.bincount(within, minlength=len(counts[k - 1])).astype(float)
        self.levels = tuple(
            self._level(raw, count, known // V, contexts, slots, known)
            for (raw, _, contexts, slots, known), count in zip(found, counts, strict=True)
        )
        self.V = V
        return self

    def _level(self, raw, counts, context, contexts, slots, known):
        """Return the sums that the model needs of one order."""
        totals = np.bincount(context, counts, contexts)
        kinds = np.stack(
            [
                np.bincount(context, some, contexts)
                for some in (counts == 1, counts == 2, counts > 2)
            ]
        )
        return Level(raw, counts, totals, kinds, self._discounts(counts), slots, known)

    def _discounts(self, counts):
        """Return what is taken off a count of one, of two, and of more."""
        once = discount(counts[None]) if (counts == 1).any() else 0.5
        if self.smoothing == "modified-kneser-ney":
            r, times = np.arange(1, 4), [np.sum(counts == n) for n in range(1, 5)]
            if all(times[:3]):
                found = r - (r + 1) * once * np.divide(times[1:], times[:3])
                if np.all((found > 0) & (found < r)):
                    return found
        return np.full(3, once)

    def _mixed(self, k, context, gram, p):
        """Return probabilities by order k + 1, given those of the order below."""
        level = self.levels[k]
        seen = context >= 0
        total = np.where(seen, level.totals[context], 0)
        count = np.where(gram >= 0, level.counts[gram], 0)
        if self.smoothing in DISCOUNTING:
            rest = level.discounts @ level.kinds[:, context] * p
            taken = level.discounts[np.clip(count, 1, 3).astype(int) - 1]
            kept = np.maximum(count - taken, 0) + rest
            return np.where(total > 0, kept / np.where(total > 0, total, 1), p)
        if k + 1 < self.order:
            return p
        if self.smoothing == "laplace":
            return (count + self.alpha) / (total + self.alpha * self.V)
        return np.where(total > 0, count / np.where(total > 0, total, 1), np.nan)

    def _climb(self, ids):
        """Yield for each order the numbers of the contexts and of the n-grams of a text."""
        gram = np.zeros(len(ids) + 1, np.int64)
        for level in self.levels:
            context = gram[:-1]
            gram = np.append(-1, level.find(context, ids, self.V))
            yield context, gram[1:]

    def _fitted(self):
        if not self.levels:
            raise ValueError("this NGram has counted nothing yet: call fit(ids, V) first")

    def probabilities(self, ids: ArrayLike) -> np.ndarray:
        """Return the probability of each symbol of a text after those before it.

        At the beginning, where fewer than n − 1 stand before, the model knows only those; without
        smoothing, and where a context was never seen, what it gives is NaN.

        Parameters
        ----------
        ids : array_like of int, shape (t,)
            The text.

        Returns
        -------
        array of shape (t,)
        """
        self._fitted()
        ids = _text("ids", ids, self.V)
        p = np.full(len(ids), 1 / self.V)
        for k, (context, gram) in enumerate(self._climb(ids)):
            p = self._mixed(k, context, gram, p)
        return p

    def distribution(self, context: ArrayLike) -> np.ndarray:
        """Return the probabilities of all symbols after a context.

        Parameters
        ----------
        context : array_like of int, shape (t,)
            What stands before, of which the last n − 1 symbols are looked at; it may be empty.

        Returns
        -------
        array of shape (v,)
        """
        self._fitted()
        last = [0]
        if np.size(context):
            x = _text("context", context, self.V)[max(0, np.size(context) - self.order + 1) :]
            last += [gram[-1] for _, gram in self._climb(x)] if len(x) else []
        last = [*last, *[-1] * self.order][: self.order]
        every, p = np.arange(self.V), np.full(self.V, 1 / self.V)
        for k, (level, one) in enumerate(zip(self.levels, last, strict=True)):
            context = np.full(self.V, one)
            p = self._mixed(k, context, level.find(context, every, self.V), p)
        return p

    @property
    def stored(self) -> int:
        """Number of counts that the model keeps, one for each n-gram of the orders that it uses."""
        used = self.levels if self.smoothing in DISCOUNTING else self.levels[-1:]
        return sum(len(level.known) for level in used)


def unseen(seen: ArrayLike, held: ArrayLike, V: int, order: int) -> np.ndarray:
    """Return for n = 1 … order which share of the n-grams of a text another one does not have.

    Parameters
    ----------
    seen, held : array_like of int, shape (t,), (u,)
        The text that was counted, and the one that is asked about.
    V : int
        How many symbols there are.
    order : int
        The longest n-grams.
    """
    model = NGram(order).fit(seen, V)
    held = _text("held", held, model.V, order)
    return np.array([np.mean(gram[k:] < 0) for k, (_, gram) in enumerate(model._climb(held))])


def windows(ids: ArrayLike, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Return each stretch of n − 1 symbols of a text that has a next one, and that next one.

    Parameters
    ----------
    ids : array_like of int, shape (t,)
        The text.
    n : int
        From 2 on, as of n-grams: a window of n − 1 symbols and the next.

    Returns
    -------
    contexts : array of int64, shape (t − n + 1, n − 1)
    targets : array of int64, shape (t − n + 1,)
    """
    n = shapes.count("n", n, least=2)
    ids = _text("ids", ids, None, n)
    every = np.lib.stride_tricks.sliding_window_view(ids, n)
    return every[:, :-1].copy(), every[:, -1].copy()


def best_mixture(P: ArrayLike, steps: int = 200) -> np.ndarray:
    """Return the weights with which models together need the fewest bits for a text.

    Parameters
    ----------
    P : array_like, shape (k, t)
        The probability that each model gave to what came at each place.
    steps : int
        How often `mixture_step` is applied, from equal weights.

    Returns
    -------
    array of shape (k,)

    Raises
    ------
    ValueError
        If a probability is not between 0 and 1, or all models give 0 to what came somewhere.
    """
    P = shapes.Axes().floats("P", P, "k t")
    if P.min() < 0 or P.max() > 1:
        raise ValueError("P holds a number that is no probability")
    if (P.max(axis=0) == 0).any():
        raise ValueError("P is 0 for all models at a place: no mixture can expect what came there")
    weight = np.full(len(P), 1 / len(P), P.dtype)
    for _ in range(shapes.count("steps", steps)):
        weight = mixture_step(weight, P)
    return weight


def generate(
    model: NGram | Callable[[np.ndarray], np.ndarray],
    prompt: ArrayLike,
    count: int,
    rng: np.random.Generator,
    temperature: float = 1.0,
    *,
    top_k: int | None = None,
    top_p: float | None = None,
) -> np.ndarray:
    """Let a model continue a text: each symbol that is drawn becomes part of what it looks at.

    Parameters
    ----------
    model : NGram or callable
        A function takes all that stands there, (t), and returns the probabilities of the next, (v).
    prompt : array_like of int, shape (t,)
        What stands there at first, longer than the model's context or shorter; it may be empty.
    count : int
        How many symbols to draw.
    rng : numpy.random.Generator
        Draws them.
    temperature : float
        Logarithms of probabilities are divided by it: below 1 the likely becomes likelier.
    top_k : int, optional
        One of so many of the likeliest is drawn. Of equally likely ones the first are kept.
    top_p : float, optional
        One of the fewest likeliest is drawn that together have at least this probability, counted
        after the temperature and `top_k`; 1 keeps all.

    Returns
    -------
    array of int64, shape (count,)

    Raises
    ------
    TypeError, ValueError
        If the prompt holds what is no symbol, the temperature is not above 0, `top_k` is not a
        whole number from 1 on or `top_p` not in (0, 1], or what the model returns is no
        distribution.
    """
    after = model.distribution if isinstance(model, NGram) else model
    if not callable(after):
        raise TypeError(f"model is {shapes.shown(model)}, expected an NGram or a function")
    count = shapes.count("count", count, least=0)
    tau = shapes.number("temperature", temperature, above=0)
    if top_k is not None:
        shapes.count("top_k", top_k)
    if top_p is not None:
        top_p = shapes.number("top_p", top_p, above=0, most=1)
    uniform = shapes.generator("rng", rng).random(count)
    before = shapes.Axes().labels("prompt", prompt, "t") if np.size(prompt) else []
    text = np.append(np.asarray(before, np.int64), np.zeros(count, np.int64))
    for t in range(count):
        here = len(before) + t
        p = shapes.Axes().floats("what the model returns", after(text[:here]), "v")
        if p.min() < 0 or not np.isclose(p.sum(), 1, atol=1e-4):
            raise ValueError("what the model returns is no distribution")
        with np.errstate(divide="ignore"):
            p = temper(np.log(p.astype(float)), tau)
        if top_k is not None or top_p is not None:
            likeliest(p, top_k or len(p), top_p or 1.0)
        steps = np.cumsum(p)
        text[here] = np.searchsorted(steps, uniform[t] * steps[-1], side="right")
    return text[len(before) :]
