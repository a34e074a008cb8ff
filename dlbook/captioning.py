"""Captioning: a network that looks at an image while it writes a sentence, and how one grades it.

Page: ``book/captioning.md``. Builds on `attention` (the look), `gated` (the cell), `sequence_tasks`
(likelihood, beam) and `convolution` (the map that is looked at). `dlbook.nets.Captioner` is the network.

Sources: Vinyals, Toshev, Bengio & Erhan, CVPR (2015), for an encoder of images and a decoder of
sentences; Xu et al., ICML (2015), for the look at places, the first state made of their mean, and the
penalty of coverage; Vaswani et al., NeurIPS (2017), for the score; Papineni, Roukos, Ward & Zhu, ACL
(2002), for BLEU; Post, WMT (2018), for how one reports it.

Axes: s places of an image, in a map at row i and column l, counted row by row; k channels of a
place; u words that are written, from 1, the end among them; v words that can be written; e numbers of
a word vector; j units of the state; n captions of a corpus; m references of one of them; g = 1 … G
sizes of n-grams.

Names: features φ of the encoder, positions ρ and values `v` of places, weights `a` of a look and its
result `o`, states `h` and cells `c` of the decoder, scores `f` of words; y words that are written,
`read` words that are read. `weights` are those of the decoder, in five parts: `start` (w, b) of the
first state, `table` of word vectors, `wq` of the query, `cell` (wx, wh, b) of the LSTM, `words` (w, b)
of the scores. d… is the derivative of the cost.
"""
# ruff: noqa: E741

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from dlbook.gated import lstm_states
from dlbook.sequence_tasks import log_likelihood
from dlbook.tools import shapes
from dlbook.tools.jit import check_indices, njit

__all__ = [
    "Bleu",
    "bleu",
    "bleu_score",
    "brevity_penalty",
    "caption_likelihood",
    "clipped_matches",
    "closest_length",
    "coverage",
    "coverage_bound",
    "coverage_gradient",
    "decoded",
    "decoder_step",
    "exact_match",
    "first_state",
    "look",
    "look_backward",
    "occurrences",
    "places",
    "places_gradient",
    "precisions",
    "step_backward",
    "times",
    "turning_power",
]

# The decoder: it starts from all places, and looks at some of them before each word


@njit
def times(w, x):
    """z_i = Σ_j w_ij x_j
    (i j), (j) -> (i)
    """
    z = np.zeros(w.shape[0], w.dtype)
    for i in range(w.shape[0]):
        for j in range(w.shape[1]):
            z[i] += w[i, j] * x[j]
    return z


@njit
def places(phi, rho):
    """(captioning-places)  v_sk = φ_k,il + ρ_sk,  s = i L + l
    (k i l), (s k) -> (s k)
    """
    v, L = rho.copy(), phi.shape[2]
    for k in range(phi.shape[0]):
        for i in range(phi.shape[1]):
            for l in range(L):
                v[i * L + l, k] += phi[k, i, l]
    return v


@njit
def first_state(v, w, b):
    """(captioning-start)  h_0j = tanh(Σ_k w_jk (1/S) Σ_s v_sk + b_j)
    (s k), (j k), (j) -> (j)
    """
    z = b.copy()
    for j in range(w.shape[0]):
        for s in range(v.shape[0]):
            for k in range(v.shape[1]):
                z[j] += w[j, k] * v[s, k] / v.shape[0]
    return np.tanh(z)


@njit
def look(h, v, wq):
    """(captioning-look)  q_k = Σ_j wq_kj h_j,  z_s = Σ_k q_k v_sk / √K,
    a_s = exp(z_s) / Σ_r exp(z_r),   o_k = Σ_s a_s v_sk
    (j), (s k), (k j) -> (k), (s)
    """
    z = times(v, times(wq, h)) / np.sqrt(v.shape[1])
    e = np.exp(z - np.max(z.real))
    a = e / np.sum(e)
    return times(v.T, a), a


@njit
def decoder_step(word, o, h, c, wx, wh, b):
    """(captioning-step)  (h_u, c_u) = lstm((E_y, o_u), h_{u−1}, c_{u−1})
    (e), (k), (j), (j), (4j e+k), (4j j), (4j) -> (j), (j), (4j)
    """
    x = np.expand_dims(np.concatenate((word, o)), 0)
    h_u, c_u, gates = lstm_states(x, h, c, wx, wh, b)
    return h_u[1], c_u[1], gates[0]


@njit(whole="read", apart=True)
def decoded(read, v, weights):
    """(captioning-decoder)  (o_u, a_u) = look(h_{u−1}, v),
    (h_u, c_u) = lstm((E_y, o_u), h_{u−1}, c_{u−1}),  y = y_{u−1} as read,
    f_u = w (h_u, o_u) + b
    (u), (s k), weights -> (u v), (u s), (u k), (u+1 j), (u+1 j), (u 4j)
    """
    start, table, wq, (wx, wh, b), words = weights
    check_indices(read, len(table))
    U, J, V = len(read), wq.shape[1], len(table)
    f, o = np.empty((U, V), b.dtype), np.empty((U, v.shape[1]), b.dtype)
    a, gates = np.empty((U, len(v)), b.dtype), np.empty((U, 4 * J), b.dtype)
    h, c = np.empty((U + 1, J), b.dtype), np.zeros((U + 1, J), b.dtype)
    h[0] = first_state(v, start[0], start[1])
    for u in range(U):
        o[u], a[u] = look(h[u], v, wq)
        step = decoder_step(table[read[u]], o[u], h[u], c[u], wx, wh, b)
        h[u + 1], c[u + 1], gates[u] = step
        f[u] = times(words[0], np.concatenate((h[u + 1], o[u]))) + words[1]
    return f, a, o, h, c, gates


@njit(whole="y")
def caption_likelihood(y, begin, v, weights):
    """(captioning-likelihood)  log p(y | x) = Σ_u log softmax(f_u)[y_u],
    where f_u has read begin, y_1 … y_{u−1}
    (u), (), (s k), weights -> ()
    """
    read = np.empty_like(y)
    read[0] = begin
    for u in range(1, len(y)):
        read[u] = y[u - 1]
    return log_likelihood(decoded(read, v, weights)[0], y)


# Its way back


@njit(apart=True)
def look_backward(do, h, v, wq, a):
    """(captioning-look-backward)  dz_s = a_s (do v_s − do o),
    dq = Σ_s dz_s v_s / √K,  dv_s = a_s do + dz_s q / √K,
    dh = wqᵀ dq,  dwq = dq hᵀ
    (k), (j), (s k), (k j), (s) -> (j), (s k), (k j)
    """
    q, da = times(wq, h), times(v, do)
    dz = a * (da - np.sum(a * da)) / v.dtype.type(np.sqrt(v.shape[1]))
    dq, dv = times(v.T, dz), np.outer(a, do) + np.outer(dz, q)
    return times(wq.T, dq), dv, np.outer(dq, h)


@njit(apart=True)
def step_backward(dh, dc, before, gates, wx, wh):
    """(captioning-step-backward)  γ = dc + dh o (1 − tanh² c),
    δ = (γ g i(1−i), γ c_{u−1} f(1−f), γ i (1−g²), dh tanh(c) o(1−o)),
    (dE_y, do_u) = wxᵀ δ,   dh_{u−1} = whᵀ δ,   dc_{u−1} = γ f
    (j), (j), (j), (4j), (4j e+k), (4j j) -> (4j), (e+k), (j), (j)
    """
    delta, gamma, J = np.empty_like(gates), dc.copy(), len(dc)
    for j in range(J):
        i, f = gates[j], gates[J + j]
        g, o = gates[2 * J + j], gates[3 * J + j]
        t = np.tanh(f * before[j] + i * g)
        gamma[j] += dh[j] * o * (1 - t**2)
        delta[j] = gamma[j] * g * i * (1 - i)
        delta[J + j] = gamma[j] * before[j] * f * (1 - f)
        delta[2 * J + j] = gamma[j] * i * (1 - g**2)
        delta[3 * J + j] = dh[j] * t * o * (1 - o)
        gamma[j] *= f
    return delta, times(wx.T, delta), times(wh.T, delta), gamma


@njit(whole="read")
def places_gradient(df, read, v, weights):
    """(captioning-places-gradient)  dv_s = Σ_u dv_s(u) + w_0ᵀ δ_0 / S,
    do = (wᵀ df + wxᵀ δ)_o,  dh_{u−1} = whᵀ δ + wqᵀ dq + (wᵀ df_{u−1})_h
    (u v), (u), (s k), weights -> (s k)
    """
    start, _, wq, (wx, wh, _), words = weights
    _, a, _, h, c, gates = decoded(read, v, weights)
    J, dv = h.shape[1], np.zeros_like(v)
    dh, dc = np.zeros_like(h[0]), np.zeros_like(h[0])
    for u in range(len(df) - 1, -1, -1):
        back = times(words[0].T, df[u])
        dh = dh + back[:J]
        _, dx, before, dc = step_backward(dh, dc, c[u], gates[u], wx, wh)
        do = back[J:] + dx[len(dx) - v.shape[1] :]
        dh, more, _ = look_backward(do, h[u], v, wq, a[u])
        dh, dv = dh + before, dv + more
    delta = dh * (v.dtype.type(1) - h[0] * h[0])
    return dv + times(start[0].T, delta) / v.dtype.type(len(v))


# Where it has looked


@njit
def coverage(a, weight):
    """(captioning-coverage)  D = λ Σ_s (1 − Σ_u a_us)²
    (u s), () -> ()
    """
    total = a.dtype.type(0)
    for s in range(a.shape[1]):
        left = a.dtype.type(1)
        for u in range(a.shape[0]):
            left -= a[u, s]
        total += left**2
    return weight * total


@njit
def coverage_gradient(a, weight):
    """(captioning-coverage-gradient)  ∂D/∂a_us = −2 λ (1 − Σ_t a_ts)
    (u s), () -> (u s)
    """
    da = np.empty_like(a)
    for s in range(a.shape[1]):
        left = a.dtype.type(1)
        for t in range(a.shape[0]):
            left -= a[t, s]
        for u in range(a.shape[0]):
            da[u, s] = -2 * weight * left
    return da


@njit
def coverage_bound(U, S, weight):
    """(captioning-coverage-bound)  D ≥ λ (S − U)² / S
    (), (), () -> ()
    """
    return weight * (S - U) ** 2 / S


# A beam compares captions of different lengths


@njit
def turning_power(short, shorter, long, longer):
    """(captioning-turning)  log p / U^α is equal for both captions at
    α = log(log p_long / log p_short) / log(U_long / U_short)
    (), (), (), () -> (): each caption's log p, and its length
    """
    return np.log(long / short) / np.log(longer / shorter)


# BLEU. Words are whole numbers; what stands behind the length of a caption is not looked at.


@njit(whole="text gram")
def occurrences(gram, text):
    """How often an n-gram stands in a text
    (g), (u) -> ()
    """
    count = 0.0
    for u in range(len(text) - len(gram) + 1):
        count += np.all(text[u : u + len(gram)] == gram)
    return count


@njit(whole="y refs lengths")
def clipped_matches(y, refs, lengths, g):
    """(captioning-clipped)  Σ_w min(count_y(w), max_m count_m(w)),
    over the different n-grams w of y, those of g words
    (u), (m v), (m), () -> ()
    """
    total = 0.0
    for u in range(len(y) - g + 1):
        gram, most = y[u : u + g], 0.0
        if occurrences(gram, y[: u + g]) == 1:
            for m in range(len(lengths)):
                most = max(most, occurrences(gram, refs[m, : lengths[m]]))
            total += min(occurrences(gram, y), most)
    return total


@njit
def precisions(matches, lengths):
    """(captioning-precision)  P_g = Σ_n matches_ng / Σ_n max(ℓ_n − g + 1, 0),
    and 0 where no caption has so many words
    (n g), (n) -> (g)
    """
    N, G = matches.shape
    found = np.zeros(G)
    for g in range(G):
        there = 0.0
        for n in range(N):
            found[g] += matches[n, g]
            there += max(lengths[n] - g, 0)
        found[g] /= max(there, 1)
    return found


@njit(whole="lengths")
def closest_length(length, lengths):
    """(captioning-closest)  r = argmin_m |ℓ − R_m|, of two as near the shorter
    (), (m) -> ()
    """
    r, old = length, np.inf
    for R in lengths:
        new = abs(R - length)
        if new < old:
            r, old = R, new
        elif new == old:
            r = min(r, R)
    return r


@njit
def brevity_penalty(length, reference):
    """(captioning-brevity)  β = min(1, exp(1 − r / ℓ)), and 0 for ℓ = 0
    (), () -> ()
    """
    if length == 0:
        return 0.0
    return min(1.0, np.exp(1 - reference / length))


@njit
def bleu_score(found, beta):
    """(captioning-bleu)  BLEU = β exp((1/G) Σ_g log P_g)
    (g), () -> ()
    """
    product = 1.0
    for g in range(len(found)):
        product *= found[g]
    return beta * product ** (1 / len(found))


class Bleu(NamedTuple):
    """What `bleu` finds."""

    score: float  # from 0 to 1; sacrebleu's is a hundred times as large
    precisions: np.ndarray  # (g,) of n-grams of 1 … G words
    penalty: float  # for brevity, from 0 to 1
    length: int  # of all candidates together
    reference: int  # of the references that are closest in length


def bleu(candidates: Sequence, references: Sequence, order: int = 4) -> Bleu:
    """Grade captions by the n-grams that they share with references: BLEU of a corpus.

    Parameters
    ----------
    candidates : sequence of captions
        Each a sequence of words, strings or whole numbers, without begin and end. A candidate may
        be empty.
    references : sequence
        For each candidate a caption that it should be, or a list of several.
    order : int
        Size of the largest n-grams, G.

    Returns
    -------
    Bleu
        Nothing is smoothed: where no n-gram of some size is found the score is 0.

    Raises
    ------
    TypeError
        Where a caption is a text that is not split into words.
    ValueError
        Where there is no candidate, another number of references, or a reference without words.

    References
    ----------
    Papineni, Roukos, Ward & Zhu, ACL (2002); of two references as near in length the shorter one
    counts, as in Post, WMT (2018).
    """
    order, known = shapes.count("order", order), {}
    candidates, references = _corpus(candidates, references, known)
    matches, wanted = np.zeros((len(candidates), order)), 0
    for n, (y, refs) in enumerate(zip(candidates, references, strict=True)):
        lengths = np.array([len(ref) for ref in refs])
        padded = np.zeros((len(refs), lengths.max()), np.int64)
        for row, ref in zip(padded, refs, strict=True):
            row[: len(ref)] = ref
        matches[n] = [clipped_matches(y, padded, lengths, g) for g in range(1, order + 1)]
        wanted += int(closest_length(len(y), lengths))
    lengths = np.array([float(len(y)) for y in candidates])
    found, total = precisions(matches, lengths), int(lengths.sum())
    beta = float(brevity_penalty(total, wanted))
    return Bleu(float(bleu_score(found, beta)), found, beta, total, wanted)


def _corpus(candidates, references, known):
    """Return captions as arrays of whole numbers, of each candidate a list of references."""
    if not len(candidates):
        raise ValueError("candidates is empty: there is no caption to grade")
    if len(candidates) != len(references):
        raise ValueError(
            f"references holds {len(references)} entries, expected one for each of the "
            f"{len(candidates)} candidates"
        )
    found, wanted = [], []
    for n, (y, refs) in enumerate(zip(candidates, references, strict=True)):
        found.append(_numbered(f"candidates[{n}]", y, known))
        name = f"references[{n}]"
        if isinstance(refs, str) or all(isinstance(w, (str, int, np.integer)) for w in refs):
            several = [_numbered(name, refs, known)]
        else:
            several = [_numbered(f"{name}[{m}]", ref, known) for m, ref in enumerate(refs)]
        for m, ref in enumerate(several):
            if not len(ref):
                which = name if len(several) == 1 else f"{name}[{m}]"
                raise ValueError(f"{which} has no words; a reference needs one at least")
        wanted.append(several)
    return found, wanted


def _numbered(name, caption, known):
    """Return the words of a caption as whole numbers, new words with the next that is free."""
    if isinstance(caption, str):
        text = shapes.shown(caption)
        raise TypeError(f"{name} is the text {text}, expected its words: text.split()")
    caption = shapes.array(name, caption)
    words = caption.tolist()
    if caption.ndim != 1 or not all(isinstance(word, (str, int)) for word in words):
        raise TypeError(f"{name} is {shapes.shown(words)}, expected words or whole numbers")
    return np.array([known.setdefault(word, len(known)) for word in words], np.int64)


def exact_match(found: Sequence, wanted: Sequence) -> np.ndarray:
    """Say which captions are right word for word.

    Parameters
    ----------
    found, wanted : sequences of captions
        As for `bleu`, with one reference for each candidate.

    Returns
    -------
    ndarray of bool, shape (n,)
    """
    found, wanted = _corpus(found, wanted, {})
    return np.array(
        [any(np.array_equal(y, r) for r in refs) for y, refs in zip(found, wanted, strict=True)]
    )
