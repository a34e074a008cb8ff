"""Attention: every step looks at all others and takes a weighted mean of what it finds.

Page: ``book/attention.md``. The public functions run the kernels of
`dlbook.fast.attend`; as layers: `dlbook.nets.MultiHeadAttention` and `LuongAttention`.

Sources: Bahdanau, Cho & Bengio, ICLR (2015), for attention and its additive score; Luong, Pham &
Manning, EMNLP (2015), for a context beside the state; Vaswani et al., NeurIPS (2017), for the scaled
product, several heads, and positions; Su et al., arXiv:2104.09864 (2021), for positions by turning;
Milakov & Gimelshein, arXiv:1805.02867 (2018), for softmax in
one pass; Rabe & Staats, arXiv:2112.05682 (2021), and Dao et al., NeurIPS (2022), for attention whose
memory does not grow with the square of the time, Dao et al. also for its way back.

Axes: n sequences of a batch; h heads; t steps that ask, s steps that are looked at; k numbers of a
query and of a key, v those of a value; m width of the model; j units of an additive score, and
symbols that a decoder may write; r keys of a tile. The capital is the count; W is how many steps the
kernel of a convolution covers.

Names: q queries, k keys, v values, z scores, a weights (a row of them sums to one), o results; do is
∂C/∂o and so on for every other letter. `mask` says which keys a query may look at. L is the
logarithm of the sum of a row's exponentials.
"""
# ruff: noqa: E741

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from dlbook.fast.attend import attend, attend_backward
from dlbook.fast.memory import Memory
from dlbook.gated import gru_states
from dlbook.rnn import outputs
from dlbook.tools import shapes
from dlbook.tools.jit import check_indices, njit

__all__ = [
    "Attended",
    "additive_backward",
    "additive_scores",
    "attention",
    "attention_backward",
    "attention_cost",
    "attentive_decoder",
    "attentive_decoder_backward",
    "causal_mask",
    "concatenated_heads",
    "dot_product_attention",
    "dot_product_attention_backward",
    "key_gradient",
    "largest_and_sum",
    "masked_softmax",
    "multi_head",
    "multi_head_backward",
    "padding_mask",
    "path_lengths",
    "permuted",
    "positional_encoding",
    "product_variance",
    "projected",
    "query_gradient",
    "recomputed_weights",
    "recurrence_cost",
    "rotary",
    "row_dots",
    "scaled_scores",
    "shift_matrix",
    "soft_lookup",
    "softmax_backward",
    "split",
    "tiled",
    "value_gradient",
]

# One head, written out. Rows are steps.


@njit
def soft_lookup(a, v):
    """(attention-soft-lookup)  o_tv = Σ_s a_ts v_sv
    (t s), (s v) -> (t v)
    """
    o = np.zeros((a.shape[0], v.shape[1]), a.dtype)
    for t in range(a.shape[0]):
        for s in range(v.shape[0]):
            for e in range(v.shape[1]):
                o[t, e] += a[t, s] * v[s, e]
    return o


@njit
def additive_scores(q, k, wq, wk, u):
    """(attention-additive)  z_ts = Σ_j u_j tanh(Σ_k wq_jk q_tk
    + Σ_l wk_jl k_sl)
    (t k), (s l), (j k), (j l), (j) -> (t s)
    """
    z = np.zeros((q.shape[0], k.shape[0]), u.dtype)
    for t in range(q.shape[0]):
        for s in range(k.shape[0]):
            for j in range(u.shape[0]):
                b = u.dtype.type(0)
                for i in range(q.shape[1]):
                    b += wq[j, i] * q[t, i]
                for i in range(k.shape[1]):
                    b += wk[j, i] * k[s, i]
                z[t, s] += u[j] * np.tanh(b)
    return z


@njit(apart=True)
def additive_backward(dz, q, k, wq, wk, u):
    """(attention-additive-backward)  δ_ts = dz_ts u (1 − tanh_ts²),
    du = Σ dz_ts tanh_ts,  dwq = Σ δ_ts q_tᵀ,  dq_t = Σ_s wqᵀ δ_ts,  …
    (t s), (t k), (s l), (j k), (j l), (j) -> as q, k, wq, wk, u
    """
    dq, dk, du = np.zeros_like(q), np.zeros_like(k), np.zeros_like(u)
    dwq, dwk = np.zeros_like(wq), np.zeros_like(wk)
    for t in range(dz.shape[0]):
        for s in range(dz.shape[1]):
            for j in range(u.shape[0]):
                b = np.tanh(np.sum(wq[j] * q[t]) + np.sum(wk[j] * k[s]))
                delta = dz[t, s] * u[j] * (1 - b**2)
                du[j] += dz[t, s] * b
                dq[t] += delta * wq[j]
                dk[s] += delta * wk[j]
                dwq[j] += delta * q[t]
                dwk[j] += delta * k[s]
    return dq, dk, dwq, dwk, du


@njit
def product_variance(K, q_variance, k_variance):
    """(attention-scale)  Var Σ_k q_k k_k = K Var q_k Var k_k
    (), (), () -> ()
    """
    return K * q_variance * k_variance


@njit
def scaled_scores(q, k):
    """(attention-scaled-dot)  z_ts = Σ_k q_tk k_sk / √K
    (t k), (s k) -> (t s)
    """
    z = np.zeros((q.shape[0], k.shape[0]), q.dtype)
    for t in range(q.shape[0]):
        for s in range(k.shape[0]):
            for i in range(q.shape[1]):
                z[t, s] += q[t, i] * k[s, i]
            z[t, s] /= np.sqrt(q.shape[1])
    return z


@njit
def causal_mask(T, S, first):
    """(attention-causal)  mask_ts = [s ≤ first + t], steps counted from 0
    (), (), () -> (t s)
    """
    mask = np.empty((T, S), np.bool_)
    for t in range(T):
        for s in range(S):
            mask[t, s] = s <= first + t
    return mask


@njit
def padding_mask(length, T, S):
    """(attention-padding)  mask_ts = [s < length], steps counted from 0
    (), (), () -> (t s)
    """
    mask = np.empty((T, S), np.bool_)
    for t in range(T):
        for s in range(S):
            mask[t, s] = s < length
    return mask


@njit(whole="mask")
def masked_softmax(z, mask):
    """(attention-mask)  a_ts = [mask_ts] exp(z_ts) / Σ_r [mask_tr] exp(z_tr)
    (t s), (t s) -> (t s)

    A row that sees nothing is zero throughout; one that sees scores of −∞ only is NaN.
    """
    a = np.zeros_like(z)
    for t in range(z.shape[0]):
        most, total = -np.inf, z.dtype.type(0)
        for s in range(z.shape[1]):
            if mask[t, s]:
                most = max(most, z[t, s].real)
        for s in range(z.shape[1]):
            if mask[t, s]:
                a[t, s] = np.exp(z[t, s] - most)
                total += a[t, s]
        if most > -np.inf:
            a[t] /= total
    return a


@njit(whole="mask", apart=True)
def dot_product_attention(q, k, v, mask):
    """o = softmax(q kᵀ / √K over what is seen) v; also the weights
    (t k), (s k), (s v), (t s) -> (t v), (t s)
    """
    a = masked_softmax(scaled_scores(q, k), mask)
    return soft_lookup(a, v), a


# Its way back


@njit
def softmax_backward(da, a):
    """(attention-softmax-backward)  dz_ts = a_ts (da_ts − Σ_r a_tr da_tr)
    (t s), (t s) -> (t s)
    """
    dz = np.empty_like(da)
    for t in range(a.shape[0]):
        mean = a.dtype.type(0)
        for s in range(a.shape[1]):
            mean += a[t, s] * da[t, s]
        for s in range(a.shape[1]):
            dz[t, s] = a[t, s] * (da[t, s] - mean)
    return dz


@njit
def query_gradient(dz, k):
    """(attention-dq)  dq_tk = Σ_s dz_ts k_sk / √K
    (t s), (s k) -> (t k)
    """
    found = np.zeros((dz.shape[0], k.shape[1]), dz.dtype)
    for t in range(dz.shape[0]):
        for s in range(dz.shape[1]):
            for i in range(k.shape[1]):
                found[t, i] += dz[t, s] * k[s, i] / np.sqrt(k.shape[1])
    return found


@njit
def key_gradient(dz, q):
    """(attention-dk)  dk_sk = Σ_t dz_ts q_tk / √K
    (t s), (t k) -> (s k)
    """
    found = np.zeros((dz.shape[1], q.shape[1]), dz.dtype)
    for t in range(dz.shape[0]):
        for s in range(dz.shape[1]):
            for i in range(q.shape[1]):
                found[s, i] += dz[t, s] * q[t, i] / np.sqrt(q.shape[1])
    return found


@njit
def value_gradient(a, do):
    """(attention-dv)  dv_sv = Σ_t a_ts do_tv
    (t s), (t v) -> (s v)
    """
    found = np.zeros((a.shape[1], do.shape[1]), a.dtype)
    for t in range(a.shape[0]):
        for s in range(a.shape[1]):
            for e in range(do.shape[1]):
                found[s, e] += a[t, s] * do[t, e]
    return found


@njit(apart=True)
def dot_product_attention_backward(do, q, k, v, a):
    """From ∂C/∂o to ∂C/∂q, ∂C/∂k, ∂C/∂v, where da_ts = Σ_v do_tv v_sv
    (t v), (t k), (s k), (s v), (t s) -> (t k), (s k), (s v)
    """
    dz = softmax_backward(projected(do, v), a)
    return query_gradient(dz, k), key_gradient(dz, q), value_gradient(a, do)


# A decoder that looks back: its states ask, those of the encoder are looked at.


@njit(apart=True)
def attentive_decoder(x, read, start, encoder, decoder, wk, wy, by):
    """(attention-decoder)  v_s = gru(x_s, v_{s−1}),  q_0 = v_S,
    q_t = gru′(y_{t−1}, q_{t−1}),  k_s = wk v_s,
    o_t = attention(q_t, k, v),  f_t = wy (q_t, o_t) + by
    (s e), (t l), (k), layer, layer, (k k), (j 2k), (j) -> (t j), (t s)
    """
    v, _ = gru_states(x, start, encoder[0], encoder[1], encoder[2])
    q, _ = gru_states(read, v[-1], decoder[0], decoder[1], decoder[2])
    q, v = q[1:], v[1:]
    seen = np.ones((q.shape[0], v.shape[0]), np.bool_)
    o, a = dot_product_attention(q, projected(v, wk), v, seen)
    return outputs(np.hstack((q, o)), wy, by), a


@njit
def attentive_decoder_backward(df, q, v, wk, wy, a):
    """(attention-decoder-backward)  (g_t, do_t) = wyᵀ df_t,
    dq_t = g_t + Σ_s dz_ts k_s / √K,  dv_s = Σ_t a_ts do_t + wkᵀ dk_s,
    dwk = Σ_s dk_s v_sᵀ
    (t j), (t k), (s k), (k k), (j 2k), (t s) -> (t k), (s k), (k k)
    """
    both, K = soft_lookup(df, wy), q.shape[1]
    g, do = both[:, :K], both[:, K:]
    back = dot_product_attention_backward(do, q, projected(v, wk), v, a)
    dq, dk, dv = back
    return g + dq, dv + soft_lookup(dk, wk), projected(dk.T, v.T)


# Several heads. A head has some columns of the projections for its own.


@njit
def projected(x, w):
    """z_ti = Σ_m w_im x_tm
    (t m), (i m) -> (t i)
    """
    z = np.zeros((x.shape[0], w.shape[0]), w.dtype)
    for t in range(x.shape[0]):
        for i in range(w.shape[0]):
            for m in range(x.shape[1]):
                z[t, i] += w[i, m] * x[t, m]
    return z


@njit
def split(x, h, H):
    """x^h_ti = x_t,(h I + i): the columns of head h of H
    (t m), (), () -> (t i)
    """
    I = x.shape[1] // H
    return x[:, h * I : (h + 1) * I].copy()


@njit(whole="mask", apart=True)
def concatenated_heads(x, wq, wk, wv, H, mask):
    """o^h = attention(q^h, k^h, v^h), q = x_0 wqᵀ, k = x_1 wkᵀ, v = x_1 wvᵀ
    2 of (t m), (i m), (i m), (i m), (), (t s) -> (t i), (h t s)
    """
    q, k, v = projected(x[0], wq), projected(x[1], wk), projected(x[1], wv)
    I = v.shape[1] // H
    o, a = np.empty_like(q), np.empty((H, q.shape[0], k.shape[0]), q.dtype)
    for h in range(H):
        some = split(q, h, H), split(k, h, H), split(v, h, H)
        found = dot_product_attention(some[0], some[1], some[2], mask)
        o[:, h * I : (h + 1) * I], a[h] = found
    return o, a


@njit(whole="mask", apart=True)
def multi_head(x, y, wq, wk, wv, wo, H, mask):
    """(attention-multi-head)  g_tm = Σ_h Σ_i wo_m,(hI+i) o^h_ti,
    o^h = attention(x wqᵀ, y wkᵀ, y wvᵀ restricted to the columns of head h)
    (t m), (s m), (i m), (i m), (i m), (m i), (), (t s) -> (t m)
    """
    o, _ = concatenated_heads((x, y), wq, wk, wv, H, mask)
    return projected(o, wo)


@njit(whole="mask", apart=True)
def multi_head_backward(dg, x, y, wq, wk, wv, wo, H, mask):
    """(attention-multi-head-backward)  dwo = dgᵀ o,  dwq = dqᵀ x,
    dwk = dkᵀ y,  dwv = dvᵀ y,  dx = dq wq,  dy = dk wk + dv wv
    (t m), (t m), (s m), 3 of (i m), (m i), (), (t s) -> as x, y, weights
    """
    o, a = concatenated_heads((x, y), wq, wk, wv, H, mask)
    do, I = soft_lookup(dg, wo), o.shape[1] // H
    q, k, v = projected(x, wq), projected(y, wk), projected(y, wv)
    dq, dk, dv = np.empty_like(q), np.empty_like(k), np.empty_like(v)
    for h in range(H):
        at = slice(h * I, (h + 1) * I)
        some = split(q, h, H), split(k, h, H), split(v, h, H)
        dq[:, at], dk[:, at], dv[:, at] = dot_product_attention_backward(
            split(do, h, H), some[0], some[1], some[2], a[h]
        )
    dy = soft_lookup(dk, wk) + soft_lookup(dv, wv)
    dwq, dwk = projected(dq.T, x.T), projected(dk.T, y.T)
    dwv, dwo = projected(dv.T, y.T), projected(dg.T, o.T)
    return soft_lookup(dq, wq), dy, dwq, dwk, dwv, dwo


# Order


@njit(whole="order")
def permuted(x, order):
    """(attention-permutation)  (P x)_tm = x_(order_t) m
    (t m), (t) -> (t m)
    """
    check_indices(order, x.shape[0])
    out = np.empty_like(x)
    for t in range(x.shape[0]):
        out[t] = x[order[t]]
    return out


@njit
def positional_encoding(T, M):
    """(attention-positional)  p_t,2i = sin(t ω_i),  p_t,2i+1 = cos(t ω_i),
    ω_i = 10000^(−2i/M)
    (), () -> (t m)
    """
    p = np.empty((T, M))
    for t in range(T):
        for m in range(M):
            angle = t * 10000.0 ** (-(m - m % 2) / M)
            p[t, m] = np.cos(angle) if m % 2 else np.sin(angle)
    return p


@njit
def shift_matrix(shift, M):
    """(attention-shift)  p_{t+τ} = R_τ p_t,
    R_τ of blocks [[cos τω, sin τω], [−sin τω, cos τω]]
    (), () -> (m m)

    A last column without a partner, where M is odd, has no such matrix; its row is zero.
    """
    matrix = np.zeros((M, M))
    for i in range(M // 2):
        m, angle = 2 * i, shift * 10000.0 ** (-2 * i / M)
        matrix[m, m] = matrix[m + 1, m + 1] = np.cos(angle)
        matrix[m, m + 1] = np.sin(angle)
        matrix[m + 1, m] = -np.sin(angle)
    return matrix


@njit
def rotary(x):
    """(attention-rotary)  y_t = R_t x_t
    (t m) -> (t m)

    A last column without a partner, where M is odd, becomes zero, as by `shift_matrix`.
    """
    T, M = x.shape
    y = np.zeros_like(x)
    for t in range(T):
        for i in range(M // 2):
            m, angle = 2 * i, t * 10000.0 ** (-2 * i / M)
            c, s = np.cos(angle), np.sin(angle)
            y[t, m] = c * x[t, m] + s * x[t, m + 1]
            y[t, m + 1] = c * x[t, m + 1] - s * x[t, m]
    return y


# In one pass, and in tiles


@njit
def largest_and_sum(z):
    """(attention-online-softmax)  m ← max(m, z_s),
    l ← l exp(m_old − m) + exp(z_s − m)
    (s) -> (), ()
    """
    m, l = -np.inf, 0.0
    for s in range(z.shape[0]):
        new = max(m, z[s])
        l = l * np.exp(m - new) + np.exp(z[s] - new)
        m = new
    return m, l


@njit
def tiled(q, k, v, R):
    """(attention-tiled)  m′ = max(m, max_s z_s),  w_s = exp(z_s − m′),
    l ← l exp(m − m′) + Σ_s w_s,  o ← o exp(m − m′) + Σ_s w_s v_s
    (t k), (s k), (s v), () -> (t v), (t)

    For each block of R keys; gives o / l, and L = m + log l.
    """
    o = np.zeros((q.shape[0], v.shape[1]), q.dtype)
    m, l = np.full(q.shape[0], -np.inf), np.zeros(q.shape[0], q.dtype)
    for s in range(0, k.shape[0], R):
        z = scaled_scores(q, k[s : s + R])
        for t in range(q.shape[0]):
            new = max(m[t], z[t].max())
            w, old = np.exp(z[t] - new), np.exp(m[t] - new)
            l[t] = l[t] * old + np.sum(w)
            for e in range(v.shape[1]):
                o[t, e] = o[t, e] * old + np.sum(w * v[s : s + R, e])
            m[t] = new
    return o / l[:, None], m + np.log(l)


@njit
def recomputed_weights(z, L):
    """(attention-recompute)  a_ts = exp(z_ts − L_t)
    (t s), (t) -> (t s)
    """
    a = np.empty_like(z)
    for t in range(z.shape[0]):
        for s in range(z.shape[1]):
            a[t, s] = np.exp(z[t, s] - L[t])
    return a


@njit
def row_dots(do, o):
    """(attention-row-dots)  Σ_s a_ts da_ts = Σ_v do_tv o_tv
    (t v), (t v) -> (t)
    """
    found = np.zeros(o.shape[0], o.dtype)
    for t in range(o.shape[0]):
        for e in range(o.shape[1]):
            found[t] += do[t, e] * o[t, e]
    return found


# What it costs


@njit
def attention_cost(T, M):
    """(attention-cost)  2 T² M, and 4 T M² for the projections
    (), () -> (), ()

    Multiply-adds of scores and mixing, and of four projections.
    """
    return 2 * T**2 * M, 4 * T * M**2


@njit
def recurrence_cost(T, M):
    """(attention-recurrence-cost)  2 T M²
    (), () -> ()

    Multiply-adds of a recurrent layer of M units that reads M numbers.
    """
    return 2 * T * M**2


@njit
def path_lengths(T, W):
    """(attention-path)  T − 1,  ⌈(T − 1) / (W − 1)⌉  and 1
    (), () -> (), (), ()

    Layers or steps on the way from step 1 to step T: of a recurrence, of convolutions whose
    kernels end with their own step and cover W, and of attention.
    """
    return T - 1, -(-(T - 1) // (W - 1)), 1


# Public functions


class Attended(NamedTuple):
    """What attention gives, and all that its way back needs besides."""

    o: np.ndarray  # (n, h, t, v)
    L: np.ndarray  # (n, h, t): logarithm of the sum of exponentials, −∞ where nothing is seen


def _checked(q, k, v, causal, lengths, first):
    """Return the three arrays in one dtype, lengths, and how queries see."""
    axes = shapes.Axes()
    q, k = (
        axes.floats("q", q, "n h t k", finite=False),
        axes.floats("k", k, "n h s k", finite=False),
    )
    v = axes.floats("v", v, "n h s v", finite=False)
    if not q.dtype == k.dtype == v.dtype:
        raise TypeError(f"q, k and v are {q.dtype}, {k.dtype} and {v.dtype}, expected one dtype")
    if not isinstance(causal, (bool, np.bool_)):
        raise TypeError(f"causal is {shapes.shown(causal)}, expected True or False")
    first = shapes.count("first", first, least=0)
    if first and not causal:
        raise ValueError(f"first is {first}, which has a meaning for causal attention only")
    S = axes["s"]
    lengths = np.full(len(q), S) if lengths is None else lengths
    lengths = axes.labels("lengths", lengths, "n", S + 1)
    return q, k, v, lengths, (first, 1) if causal else (0, 0), axes


def attention(
    q: ArrayLike,
    k: ArrayLike,
    v: ArrayLike,
    *,
    causal: bool = False,
    lengths: ArrayLike | None = None,
    first: int = 0,
) -> Attended:
    """Return softmax(q kᵀ / √K) v for all heads of all sequences, in tiles.

    The weights are never there all at once: memory grows with t and s, not with their product.

    Parameters
    ----------
    q : array_like, shape (n, h, t, k)
        Queries, float32 or float64; NaN and infinities pass through.
    k : array_like, shape (n, h, s, k)
        Keys, of the same dtype.
    v : array_like, shape (n, h, s, v)
        Values.
    causal : bool
        Whether query t sees the keys 0 to first + t only.
    lengths : array_like of int, shape (n,), optional
        How many keys a sequence has, from 0 on; all s where not given.
    first : int
        The place of the first query among the keys, for causal attention: where the keys of
        earlier steps were kept, and only the queries of the last steps are new.

    Returns
    -------
    Attended
        A query that sees no key at all finds zero; PyTorch's answer depends on its version. One
        that sees keys and has scores of −∞ only finds NaN.

    Raises
    ------
    TypeError, ValueError
        If shapes or dtypes do not fit, or a length is out of range.

    References
    ----------
    Vaswani et al., NeurIPS (2017), equation 1; Dao et al., NeurIPS (2022), algorithm 1.
    """
    q, k, v, lengths, how, axes = _checked(q, k, v, causal, lengths, first)
    (N, H, T, _), work = q.shape, Memory(q.dtype)
    o, L = np.empty((N, H, T, axes["v"]), q.dtype), np.empty((N, H, T), q.dtype)
    attend(q, k, v, o, L.reshape(-1, T), lengths, how, work)
    return Attended(o, L)


def attention_backward(
    do: ArrayLike,
    q: ArrayLike,
    k: ArrayLike,
    v: ArrayLike,
    found: Attended,
    *,
    causal: bool = False,
    lengths: ArrayLike | None = None,
    first: int = 0,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the derivatives of a cost with respect to queries, keys and values.

    Parameters
    ----------
    do : array_like, shape (n, h, t, v)
        ∂C/∂o.
    q, k, v, causal, lengths, first
        As they were given to `attention`.
    found : Attended
        What it returned.

    Returns
    -------
    dq, dk, dv : ndarray
        Shaped as q, k and v.

    Raises
    ------
    TypeError, ValueError
        As `attention` does, and if do or found do not fit.
    """
    q, k, v, lengths, how, axes = _checked(q, k, v, causal, lengths, first)
    if not isinstance(found, Attended):
        raise TypeError(f"found is {shapes.shown(found)}, expected what attention returned")
    do = axes.floats("do", do, "n h t v", finite=False)
    o, L = axes.floats("found.o", found.o, "n h t v", finite=False), found.L
    L = axes.floats("found.L", L, "n h t", finite=False).reshape(-1, axes["t"])
    if not do.dtype == o.dtype == L.dtype == q.dtype:
        raise TypeError(f"do is {do.dtype} and found is {o.dtype}, expected {q.dtype} as q")
    into = np.empty_like(q), np.empty_like(k), np.empty_like(v)
    attend_backward(do, q, k, v, o, L, *into, lengths, how, Memory(q.dtype))
    return into
