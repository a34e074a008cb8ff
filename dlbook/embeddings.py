"""Embeddings: words as vectors, from what stands beside them.

Page: ``book/embeddings.md``. Builds on `linear_classification` (softmax, logistic loss, sigmoid)
and `autoencoders` (truncated singular values).

Sources: Church and Hanks, Comput. Linguist. 16 (1990), for mutual information of words; Mikolov et
al., ICLR workshop (2013) and NIPS 26 (2013), for skip-gram, negative sampling, noise, subsampling
and analogies; Levy and Goldberg, NIPS 27 (2014), for the optimum of negative sampling; Walker, ACM
TOMS 3 (1977), and Vose, IEEE Trans. Softw. Eng. 17 (1991), for alias tables.

Axes: v words and c words as contexts, both of the same V words; d numbers of a vector; t places in
a text; p paragraphs; s distances; k words of noise.

Names: ids the numbers of the words of a text (t), starts where its paragraphs begin and where the
last one ends (p+1); n the counts of pairs (v c), m those of words (v); W the vectors of words (v d), C
those of contexts (v d); w the vector of one word (d), o the context that was seen, chosen this one
and the K drawn ones (1+k); q the distribution of the noise (c); share and other the two columns of
an alias table (v). ℓ is a loss, and dw is ∂ℓ/∂w.
"""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from dlbook.linear_classification import log_sum_exp, logistic_loss, sigmoid, softmax
from dlbook.tools import shapes
from dlbook.tools.jit import check_indices, njit

__all__ = [
    "Nearest",
    "alias_draw",
    "alias_shares",
    "alias_table",
    "analogy_scores",
    "cooccurrence",
    "cosines",
    "document_vectors",
    "idf",
    "keep_probability",
    "lookup",
    "lookup_gradient",
    "nearest",
    "negative_sampling",
    "negative_sampling_gradient",
    "noise",
    "pmi",
    "ppmi",
    "sgns_cost",
    "sgns_gradient",
    "sgns_optimum",
    "skip_gram",
    "skip_gram_gradient",
    "svd_scaled",
    "svd_vectors",
    "window_chance",
]


# A row of a matrix


@njit(whole="ids")
def lookup(ids, W):
    """(embeddings-one-hot)  h_td = Σ_v [v = ids_t] W_vd = W_{ids_t d}
    (t), (v d) -> (t d)
    """
    check_indices(ids, len(W))
    T, D = len(ids), W.shape[1]
    h = np.empty((T, D), W.dtype)
    for t in range(T):
        for d in range(D):
            h[t, d] = W[ids[t], d]
    return h


@njit(whole="ids V")
def lookup_gradient(ids, dh, V):
    """(embeddings-one-hot-gradient)  ∂ℓ/∂W_vd = Σ_t [v = ids_t] ∂ℓ/∂h_td
    (t), (t d), () -> (v d)
    """
    check_indices(ids, V)
    T, D = dh.shape
    dW = np.zeros((V, D), dh.dtype)
    for t in range(T):
        for d in range(D):
            dW[ids[t], d] += dh[t, d]
    return dW


# Counts


@njit(whole="ids starts V window")
def cooccurrence(ids, starts, V, window):
    """(embeddings-co-occurrence)
    n_vc = Σ_p Σ_{t, u in p} [0 < |t − u| ≤ L] [ids_t = v] [ids_u = c]
    (t), (p+1), (), () -> (v c)
    """
    check_indices(ids, V)
    check_indices(starts, len(ids) + 1)
    n = np.zeros((V, V))
    for p in range(len(starts) - 1):
        begin, end = starts[p], starts[p + 1]
        for t in range(begin, end):
            last = min(end, t + window + 1)
            for u in range(max(begin, t - window), last):
                if u != t:
                    n[ids[t], ids[u]] += 1
    return n


@njit(whole="L")
def window_chance(L):
    """(embeddings-window)  P(δ ≤ reach) = (L + 1 − δ) / L,  δ = 1 … L
    () -> (s)
    """
    chance = np.empty(L)
    for s in range(L):
        chance[s] = (L - s) / L
    return chance


@njit
def pmi(n):
    """(embeddings-pmi)  log (n_vc N / (n_v n_c)), −∞ where n_vc = 0
    (v c) -> (v c)
    """
    V, J = n.shape
    rows, columns, total = np.sum(n, axis=1), np.sum(n, axis=0), np.sum(n)
    x = np.full_like(n, -np.inf)
    for v in range(V):
        for c in range(J):
            if n[v, c] != 0:
                x[v, c] = np.log(n[v, c] * total / (rows[v] * columns[c]))
    return x


@njit
def ppmi(n, k):
    """(embeddings-ppmi)  max(PMI_vc − log k, 0)
    (v c), () -> (v c)
    """
    V, J = n.shape
    x = pmi(n) - np.log(k)
    for v in range(V):
        for c in range(J):
            if x[v, c] < 0:
                x[v, c] = 0
    return x


@njit(whole="D")
def svd_scaled(U, s, D, power):
    """(embeddings-svd)  W_vd = U_vd s_d^α for the D largest s_d
    (v j), (j), (), () -> (v d)
    """
    V = len(U)
    W = np.empty((V, D), U.dtype)
    for v in range(V):
        for d in range(D):
            W[v, d] = U[v, d] * s[d] ** power
    return W


# Skip-gram


@njit(whole="o")
def skip_gram(w, C, o):
    """(embeddings-skip-gram)  −log p_o = log Σ_c exp(Σ_d C_cd w_d) − Σ_d C_od w_d
    (d), (v d), () -> ()
    """
    check_indices(np.array([o]), len(C))
    V, D = C.shape
    z = np.zeros(V, C.dtype)
    for c in range(V):
        for d in range(D):
            z[c] += C[c, d] * w[d]
    return log_sum_exp(z.reshape(1, V))[0] - z[o]


@njit(whole="o")
def skip_gram_gradient(w, C, o):
    """(embeddings-skip-gram-gradient)  with e_c = softmax(C w)_c − [c = o]:
    ∂ℓ/∂w_d = Σ_c e_c C_cd,  ∂ℓ/∂C_cd = e_c w_d
    (d), (v d), () -> (d), (v d)
    """
    check_indices(np.array([o]), len(C))
    V, D = C.shape
    z = np.zeros(V, C.dtype)
    for c in range(V):
        for d in range(D):
            z[c] += C[c, d] * w[d]
    e = softmax(z.reshape(1, V))[0]
    e[o] -= 1
    dw, dC = np.zeros_like(w), np.empty_like(C)
    for c in range(V):
        for d in range(D):
            dw[d] += e[c] * C[c, d]
            dC[c, d] = e[c] * w[d]
    return dw, dC


@njit(whole="chosen")
def negative_sampling(w, C, chosen):
    """(embeddings-negative-sampling)  with z_k = Σ_d C_{chosen_k d} w_d:
    −log σ(z_0) − Σ_{k≥1} log σ(−z_k)
    (d), (v d), (1+k) -> ()
    """
    check_indices(chosen, len(C))
    m = np.zeros(len(chosen), w.dtype)
    for k in range(len(chosen)):
        for d in range(len(w)):
            m[k] += C[chosen[k], d] * w[d]
        if k > 0:
            m[k] = -m[k]
    return np.sum(logistic_loss(m))


@njit(whole="chosen")
def negative_sampling_gradient(w, C, chosen):
    """(embeddings-negative-sampling-gradient)  with e_k = σ(z_k) − [k = 0]:
    ∂ℓ/∂w_d = Σ_k e_k C_{chosen_k d},  ∂ℓ/∂C_cd = Σ_k [chosen_k = c] e_k w_d
    (d), (v d), (1+k) -> (d), (v d)
    """
    check_indices(chosen, len(C))
    K, D = len(chosen), len(w)
    z = np.zeros(K, w.dtype)
    for k in range(K):
        for d in range(D):
            z[k] += C[chosen[k], d] * w[d]
    e = sigmoid(z)
    e[0] -= 1
    dw, dC = np.zeros_like(w), np.zeros_like(C)
    for k in range(K):
        for d in range(D):
            dw[d] += e[k] * C[chosen[k], d]
            dC[chosen[k], d] += e[k] * w[d]
    return dw, dC


# What negative sampling finds


@njit
def sgns_cost(n, q, k, W, C):
    """(embeddings-sgns-expected)  with x_vc = Σ_d W_vd C_cd and n_v = Σ_c n_vc:
    −Σ_vc (n_vc log σ(x_vc) + k n_v q_c log σ(−x_vc))
    (v c), (c), (), (v d), (c d) -> ()
    """
    total = 0.0
    for v in range(len(n)):
        x = np.empty(len(q), W.dtype)
        for c in range(len(q)):
            x[c] = np.sum(W[v] * C[c])
        total += np.sum(n[v] * logistic_loss(x))
        total += k * np.sum(n[v]) * np.sum(q * logistic_loss(-x))
    return total


@njit
def sgns_gradient(n, q, k, W, C):
    """(embeddings-sgns-gradient)  with e_vc = k n_v q_c σ(x_vc) − n_vc σ(−x_vc):
    ∂ℓ/∂W_vd = Σ_c e_vc C_cd,  ∂ℓ/∂C_cd = Σ_v e_vc W_vd
    (v c), (c), (), (v d), (c d) -> (v d), (c d)
    """
    dW, dC = np.zeros_like(W), np.zeros_like(C)
    for v in range(len(n)):
        x = np.empty(len(q), W.dtype)
        for c in range(len(q)):
            x[c] = np.sum(W[v] * C[c])
        e = k * np.sum(n[v]) * q * sigmoid(x) - n[v] * sigmoid(-x)
        for c in range(len(q)):
            for d in range(W.shape[1]):
                dW[v, d] += e[c] * C[c, d]
                dC[c, d] += e[c] * W[v, d]
    return dW, dC


@njit
def sgns_optimum(n, q, k):
    """(embeddings-sgns-pmi)  x_vc = log (n_vc / (n_v q_c)) − log k
    (v c), (c), () -> (v c)
    """
    x = np.empty_like(n)
    for v in range(len(n)):
        row = np.sum(n[v])
        for c in range(len(q)):
            x[v, c] = np.log(n[v, c] / (row * q[c])) - np.log(k)
    return x


@njit
def noise(m, power):
    """(embeddings-noise)  q_v = m_v^β / Σ_v m_v^β
    (v), () -> (v)
    """
    q = m**power
    return q / np.sum(q)


@njit
def keep_probability(m, tau):
    """(embeddings-subsampling)  min(1, √(τ / f_v) + τ / f_v),  f_v = m_v / Σ_v m_v
    (v), () -> (v)
    """
    total, keep = np.sum(m), np.ones_like(m)
    for v in range(len(m)):
        r = tau * total / m[v]
        if not np.sqrt(r) + r >= 1:
            keep[v] = np.sqrt(r) + r
    return keep


# Drawing words


@njit
def alias_table(q):
    """(embeddings-alias-table)  b_v = V q_v / Σ_v q_v, a_v = v; then, each j once,
    a_j ← r, b_r ← b_r − (1 − b_j) where b_j < 1 ≤ b_r
    (v) -> (v), (v)
    """
    V = len(q)
    share, other = q / np.sum(q), np.arange(V)
    todo, low, high = np.empty(V, np.int64), 0, V
    for v in range(V):
        share[v] *= V
        if share[v] < 1:
            todo[low], low = v, low + 1
        else:
            todo[high - 1], high = v, high - 1
    for _ in range(V - 1):
        if low == 0 or high == V:
            break
        low, rich = low - 1, todo[high]
        other[todo[low]] = rich
        share[rich] -= 1 - share[todo[low]]
        if share[rich] < 1:
            todo[low], low, high = rich, low + 1, high + 1
    return share, other


@njit(whole="other")
def alias_shares(share, other):
    """(embeddings-alias)  q_v = (b_v + Σ_j [a_j = v] (1 − b_j)) / V,  b no more than 1
    (v), (v) -> (v)
    """
    V = len(share)
    check_indices(other, V)
    q = np.zeros_like(share)
    for v in range(V):
        low = min(share[v], 1)
        q[v] += low / V
        q[other[v]] += (1 - low) / V
    return q


@njit(whole="other")
def alias_draw(share, other, y):
    """(embeddings-alias-draw)  j if V y_n − j < b_j, else a_j,  with j = ⌊V y_n⌋
    (v), (v), (n) -> (n)
    """
    V = len(share)
    drawn = (V * y).astype(np.int64)
    check_indices(drawn, V)
    for n in range(len(y)):
        j = drawn[n]
        if not V * y[n] - j < share[j]:
            drawn[n] = other[j]
    return drawn


# Near, and far


@njit
def cosines(w, W):
    """(embeddings-cosine)  s_v = Σ_d w_d W_vd / (√Σ_d w_d² √Σ_d W_vd²)
    (d), (v d) -> (v)
    """
    V = len(W)
    s = np.empty(V, W.dtype)
    for v in range(V):
        lengths = np.sqrt(np.sum(w * w)) * np.sqrt(np.sum(W[v] * W[v]))
        s[v] = np.sum(w * W[v]) / lengths
    return s


@njit(whole="a b c")
def analogy_scores(W, a, b, c):
    """(embeddings-analogy)  cos(W_v, Ŵ_b − Ŵ_a + Ŵ_c),  Ŵ_vd = W_vd / √Σ_d W_vd²
    (v d), (), (), () -> (v)
    """
    check_indices(np.array([a, b, c]), len(W))
    unit = W.copy()
    for v in range(len(W)):
        unit[v] /= np.sqrt(np.sum(W[v] * W[v]))
    return cosines(unit[b] - unit[a] + unit[c], W)


# Documents


@njit(whole="ids starts V")
def idf(ids, starts, V):
    """(embeddings-idf)  log (P / Σ_p [v in p]), zero for a word that is in none
    (t), (p+1), () -> (v)
    """
    check_indices(ids, V)
    check_indices(starts, len(ids) + 1)
    P = len(starts) - 1
    found, last = np.zeros(V), np.full(V, -1)
    for p in range(P):
        for t in range(starts[p], starts[p + 1]):
            if last[ids[t]] != p:
                found[ids[t]] += 1
                last[ids[t]] = p
    return np.log(P / np.where(found > 0, found, P))


@njit(whole="ids starts")
def document_vectors(ids, starts, weight, W):
    """(embeddings-document)
    x_pd = Σ_{t in p} weight_{ids_t} W_{ids_t d} / Σ_{t in p} weight_{ids_t}
    (t), (p+1), (v), (v d) -> (p d)
    """
    check_indices(ids, len(W))
    check_indices(starts, len(ids) + 1)
    P, D = len(starts) - 1, W.shape[1]
    x = np.zeros((P, D), W.dtype)
    for p in range(P):
        total = 0.0
        for t in range(starts[p], starts[p + 1]):
            total += weight[ids[t]]
            x[p] += weight[ids[t]] * W[ids[t]]
        if total != 0:
            x[p] /= total
    return x


# What a reader calls


class Nearest(NamedTuple):
    """What `nearest` has found, the nearest first."""

    ids: np.ndarray  # (n,)
    cosines: np.ndarray  # (n,)


def nearest(w: ArrayLike, W: ArrayLike, count: int = 10, *, without: Iterable[int] = ()) -> Nearest:
    """Return the rows of a matrix that point most nearly where a vector points.

    Parameters
    ----------
    w : array_like of shape (d,)
        A vector that is not zero.
    W : array_like of shape (v, d)
        The vectors of words. A row of zeros points nowhere, and is never found.
    count : int
        How many are wanted; where there are fewer, there are fewer.
    without : iterable of int
        Rows that are left out: those of the words that were asked with.

    Returns
    -------
    Nearest
        Numbers of rows and their cosines. Of two that are equally near, the one with the smaller
        number stands first.

    Raises
    ------
    TypeError, ValueError
        For wrong shapes, NaN, a vector of zeros, a row that is not there.
    """
    axes = shapes.Axes()
    w, W = axes.floats("w", w, "d"), axes.floats("W", W, "v d")
    count = shapes.count("count", count)
    if not w.any():
        raise ValueError("w is zero, and points nowhere")
    kept = np.any(W, axis=1)
    for v in without:
        kept[shapes.count("without", v, least=0, most=len(W) - 1)] = False
    rows = np.flatnonzero(kept)
    found = cosines(w, W[rows])
    order = np.argsort(-found, kind="stable")[:count]
    return Nearest(rows[order], found[order])


def svd_vectors(M: ArrayLike, dimension: int, *, power: float = 0.5) -> np.ndarray:
    """Return vectors of words by a truncated singular value decomposition.

    Parameters
    ----------
    M : array_like of shape (v, c)
        What is known of words and contexts, such as their `ppmi`.
    dimension : int
        Numbers of a vector, at most the smaller of v and c.
    power : float
        The singular values are taken to this power: 1 for the principal components, 0 for all
        directions alike, ½ for a share between words and contexts.

    Returns
    -------
    array of shape (v, d)
        The columns with the largest singular values first. Of each column and its opposite the one
        is returned whose largest entry is positive.

    Raises
    ------
    TypeError, ValueError
        For a wrong shape, infinities (as of PMI where a pair was never seen), a dimension that is
        too large, a negative power.

    References
    ----------
    Levy & Goldberg, NIPS 27 (2014).
    """
    M = shapes.Axes().floats("M", M, "v c")
    D = shapes.count("dimension", dimension, most=min(M.shape))
    power = shapes.number("power", power, least=0)
    U, s, _ = np.linalg.svd(M, full_matrices=False)
    W = svd_scaled(U, s, D, power)
    top = np.abs(W).argmax(axis=0)
    return W * np.where(W[top, np.arange(D)] < 0, -1, 1).astype(W.dtype)
