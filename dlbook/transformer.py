"""The transformer: blocks of attention and of a small network, both added to one stream.

Page: ``book/transformer.md``. As layers and as a model: `dlbook.nets.TransformerBlock` and
`Transformer`.

Sources: Vaswani et al., NeurIPS (2017), for the transformer; Ba, Kiros & Hinton, arXiv:1607.06450
(2016), for layer normalization; Xiong et al., ICML (2020), for where it stands; Radford et al.,
OpenAI (2019), for GPT-2, whose numbers are counted here; Press & Wolf, EACL (2017), for one table
that is read and written with; Fan, Lewis & Dauphin, ACL (2018), for top-k sampling; Holtzman et
al., ICLR (2020), for nucleus sampling; Elhage et al. (2021) and Olsson et al. (2022), for the
residual stream and for induction heads.

Builds on: `attention`, `training` (layer normalization), `neurons` (GELU), `embeddings` (rows of a
table).

Axes: t steps, s steps that are looked at; m numbers of a step; h heads; j hidden units of the small
network; l blocks; w symbols, V of them; d numbers of a position. Otherwise the capital is the
count; C is the longest context.

Names: x is the stream, a row for each step; `norm` and `late` hold γ and β of the two normalizations
of a block, `heads` its wq, wk, wv and wo, `net` its w1, b1, w2 and b2; E is the table of symbols, P
that of positions, f the scores of what comes next. `mask` says which keys a query may look at.
"""
# ruff: noqa: E741

import numpy as np

from dlbook.attention import (
    causal_mask,
    concatenated_heads,
    dot_product_attention,
    multi_head,
    multi_head_backward,
    positional_encoding,
    projected,
    shift_matrix,
    soft_lookup,
    split,
)
from dlbook.embeddings import lookup, lookup_gradient
from dlbook.neurons import gelu, gelu_prime
from dlbook.tools.jit import check_indices, njit
from dlbook.training import layernorm, layernorm_backward

__all__ = [
    "EPS",
    "block",
    "block_backward",
    "cache_work",
    "cached_block",
    "copying",
    "copying_weights",
    "decoder",
    "embedded",
    "feed_forward",
    "feed_forward_backward",
    "induction",
    "multiply_adds",
    "nucleus",
    "parameters",
    "post_norm",
    "stream",
    "tied",
    "tied_gradient",
    "top_k",
]

EPS = 1e-5  # under the root of every layer normalization

# The small network of a block: the same for each step


@njit(apart=True)
def feed_forward(x, w1, b1, w2, b2):
    """(transformer-feed-forward)  y_tm = Σ_j w2_mj gelu(z_tj) + b2_m,
    z_tj = Σ_m w1_jm x_tm + b1_j
    (t m), (j m), (j), (m j), (m) -> (t m)
    """
    z = projected(x, w1) + b1
    return projected(gelu(z), w2) + b2


@njit(apart=True)
def feed_forward_backward(dy, x, w1, b1, w2):
    """(transformer-feed-forward-backward)  dz_tj = gelu′(z_tj) Σ_m w2_mj dy_tm,
    dx = dz w1,  dw1 = dzᵀ x,  db1 = Σ_t dz_t,  dw2 = dyᵀ gelu(z),
    db2 = Σ_t dy_t
    (t m), (t m), (j m), (j), (m j) -> as x, w1, b1, w2, (m)
    """
    z = projected(x, w1) + b1
    dz = soft_lookup(dy, w2) * gelu_prime(z)
    dw1, db1 = projected(dz.T, x.T), np.sum(dz, axis=0)
    dw2, db2 = projected(dy.T, gelu(z).T), np.sum(dy, axis=0)
    return soft_lookup(dz, w1), dw1, db1, dw2, db2


# The block


@njit(whole="mask", apart=True)
def block(x, norm, heads, late, net, H, mask):
    """(transformer-block)  x′ = x + heads(LN(x)),  y = x′ + net(LN′(x′))
    (t m), 2 of (m), 4 of (m m), 2 of (m), net, (), (t t) -> (t m)
    """
    n = layernorm(x, norm[0], norm[1], EPS)
    wq, wk, wv, wo = heads
    x = x + multi_head(n, n, wq, wk, wv, wo, H, mask)
    n = layernorm(x, late[0], late[1], EPS)
    return x + feed_forward(n, net[0], net[1], net[2], net[3])


@njit(whole="mask", apart=True)
def block_backward(dy, x, norm, heads, late, net, H, mask):
    """(transformer-block-backward)  dx′ = dy + (∂net(LN′(x′))/∂x′)ᵀ dy,
    dx = dx′ + (∂heads(LN(x))/∂x)ᵀ dx′
    (t m), (t m), as block -> dx, its parts' gradients one after the other
    """
    n = layernorm(x, norm[0], norm[1], EPS)
    wq, wk, wv, wo = heads
    x1 = x + multi_head(n, n, wq, wk, wv, wo, H, mask)
    n1 = layernorm(x1, late[0], late[1], EPS)
    dn1, dw1, db1, dw2, db2 = feed_forward_backward(dy, n1, *net[:3])
    dx1, dgamma1, dbeta1 = layernorm_backward(dn1, x1, late[0], EPS)
    dx1 = dx1 + dy
    back = multi_head_backward(dx1, n, n, wq, wk, wv, wo, H, mask)
    ask, seen, dq, dk, dv, do = back
    dx, dgamma, dbeta = layernorm_backward(ask + seen, x, norm[0], EPS)
    first = dx + dx1, dgamma, dbeta, dq, dk, dv, do
    return (*first, dgamma1, dbeta1, dw1, db1, dw2, db2)


@njit(whole="mask")
def post_norm(x, norm, heads, late, net, H, mask):
    """(transformer-post-norm)  x′ = LN(x + heads(x)),  y = LN′(x′ + net(x′))
    (t m), 2 of (m), 4 of (m m), 2 of (m), net, (), (t t) -> (t m)
    """
    wq, wk, wv, wo = heads
    x = x + multi_head(x, x, wq, wk, wv, wo, H, mask)
    x = layernorm(x, norm[0], norm[1], EPS)
    x = x + feed_forward(x, net[0], net[1], net[2], net[3])
    return layernorm(x, late[0], late[1], EPS)


@njit(whole="mask")
def stream(x, blocks, H, mask):
    """(transformer-stream)  x^L = x^0 + Σ_l r^l,  r^l = block_l(x^(l−1)) − x^(l−1)
    (t m), blocks, (), (t t) -> (t m), (l t m)

    What comes out, and what each block has added.
    """
    added = np.empty((len(blocks), x.shape[0], x.shape[1]), x.dtype)
    out = x.copy()
    for l, (norm, heads, late, net) in enumerate(blocks):
        added[l] = block(out, norm, heads, late, net, H, mask) - out
        out += added[l]
    return out, added


# From symbols to scores


@njit(whole="ids")
def embedded(ids, E, P):
    """(transformer-embedding)  x_tm = E_{ids_t m} + P_tm
    (t), (w m), (c m) -> (t m)
    """
    return lookup(ids, E) + P[: len(ids)]


@njit
def tied(h, E):
    """(transformer-tied)  f_tw = Σ_m E_wm h_tm
    (t m), (w m) -> (t w)
    """
    f = np.zeros((h.shape[0], E.shape[0]), h.dtype)
    for t in range(h.shape[0]):
        for w in range(E.shape[0]):
            for m in range(h.shape[1]):
                f[t, w] += E[w, m] * h[t, m]
    return f


@njit(whole="ids")
def tied_gradient(ids, dx, df, h):
    """(transformer-tied-gradient)  dE_wm = Σ_t [ids_t = w] dx_tm + Σ_t df_tw h_tm
    (t), (t m), (t w), (t m) -> (w m)
    """
    read = lookup_gradient(ids, dx, df.shape[1])
    written = np.zeros_like(read)
    for t in range(h.shape[0]):
        for w in range(df.shape[1]):
            for m in range(h.shape[1]):
                written[w, m] += df[t, w] * h[t, m]
    return read + written


@njit(whole="ids", apart=True)
def decoder(ids, E, P, blocks, last, H):
    """(transformer-decoder)  x^0 = E_ids + P,  x^l = block_l(x^(l−1)),
    f = LN(x^L) Eᵀ
    (t), (w m), (c m), blocks, 2 of (m), () -> (t w)
    """
    mask = causal_mask(len(ids), len(ids), 0)
    x = embedded(ids, E, P)
    for norm, heads, late, net in blocks:
        x = block(x, norm, heads, late, net, H, mask)
    return tied(layernorm(x, last[0], last[1], EPS), E)


# What it holds and what it costs


@njit
def parameters(V, C, M, J, L):
    """(transformer-parameters)  V M + C M + L (4 M² + 2 M J + 9 M + J) + 2 M
    (), (), (), (), () -> ()
    """
    each = 4 * M**2 + 2 * M * J + 9 * M + J
    return V * M + C * M + L * each + 2 * M


@njit
def multiply_adds(S, V, M, J, L):
    """(transformer-multiply-adds)  L (4 M² + 2 M J + 2 M S) + V M
    (), (), (), (), () -> ()

    Of one step that looks at S keys, its own among them, forward.
    """
    return L * (4 * M**2 + 2 * M * J + 2 * M * S) + V * M


# Writing


@njit(apart=True)
def cached_block(x, k, v, norm, heads, late, net, H):
    """(transformer-cached)  n = LN(x),  k ← (k; wk n),  v ← (v; wv n),
    x′ = x + wo attention(wq n, k, v),  y = x′ + net(LN′(x′))
    (1 m), (s m), (s m), as block -> (1 m), (s+1 m), (s+1 m)
    """
    n, I = layernorm(x, norm[0], norm[1], EPS), k.shape[1] // H
    q, seen = projected(n, heads[0]), np.ones((1, len(k) + 1), np.bool_)
    k = np.concatenate((k, projected(n, heads[1])))
    v = np.concatenate((v, projected(n, heads[2])))
    o = np.empty_like(q)
    for h in range(H):
        some = split(q, h, H), split(k, h, H), split(v, h, H)
        found, _ = dot_product_attention(some[0], some[1], some[2], seen)
        o[:, h * I : (h + 1) * I] = found
    x = x + projected(o, heads[3])
    n = layernorm(x, late[0], late[1], EPS)
    return x + feed_forward(n, net[0], net[1], net[2], net[3]), k, v


@njit
def cache_work(T, V, M, J, L):
    """(transformer-cache-work)  Σ_t L (4 M² + 2 M J + 2 M t) + V M,
    and  Σ_t L (4 M² t + 2 M J t + 2 M t²) + V M
    (), (), (), (), () -> (), ()

    Multiply-adds of T steps, one after the other, with a cache and without.
    """
    kept, again = 0, 0
    for t in range(1, T + 1):
        kept += L * (4 * M**2 + 2 * M * J + 2 * M * t) + V * M
        again += L * (4 * M**2 * t + 2 * M * J * t + 2 * M * t**2) + V * M
    return kept, again


@njit(whole="K")
def top_k(p, K):
    """(transformer-top-k)  q_w = [r_w < K] p_w / Σ_u [r_u < K] p_u,
    r_w = number of u before w: p_u > p_w, or p_u = p_w and u < w
    (w), () -> (w)
    """
    q = np.zeros_like(p)
    for r, w in enumerate(np.argsort(-p, kind="mergesort")):
        if r < K:
            q[w] = p[w]
    return q / np.sum(q)


@njit
def nucleus(p, mass):
    """(transformer-nucleus)  q_w = [b_w < mass] p_w / Σ_u [b_u < mass] p_u,
    b_w = Σ p_u over u before w: p_u > p_w, or p_u = p_w and u < w
    (w), () -> (w)
    """
    q, before = np.zeros_like(p), 0.0
    for w in np.argsort(-p, kind="mergesort"):
        if before < mass:
            q[w] = p[w]
        before += p[w]
    return q / np.sum(q)


# Copying


@njit(whole="ids V")
def induction(ids, V):
    """(transformer-induction)  p_tw = Σ_s c_ts [ids_s = w] / Σ_s c_ts,
    c_ts = [0 < s ≤ t] [ids_{s−1} = ids_t], or [s ≤ t] where none is 1
    (t), () -> (t w)
    """
    check_indices(ids, V)
    T = len(ids)
    p = np.zeros((T, V))
    for t in range(T):
        for s in range(1, t + 1):
            if ids[s - 1] == ids[t]:
                p[t, ids[s]] += 1
        if np.sum(p[t]) == 0:
            for s in range(t + 1):
                p[t, ids[s]] += 1
        p[t] /= np.sum(p[t])
    return p


@njit(whole="V D")
def copying_weights(V, D, kappa):
    """q = κ √M R_{−1} p,  k = p,  v = symbol, to where that before is;
    q = κ √M symbol,  k = symbol before,  v = symbol, to where the copy is
    (), (), () -> (4 m m), (4 m m)

    wq, wk, wv and wo of two layers whose stream is (symbol, symbol before, copy, position), of V, V,
    V and D numbers.
    """
    M = 3 * V + D
    first, second = np.zeros((4, M, M)), np.zeros((4, M, M))
    sharp = kappa * np.sqrt(M)
    first[0, 3 * V :, 3 * V :] = sharp * shift_matrix(-1, D)
    first[1, 3 * V :, 3 * V :] = np.eye(D)
    for w in range(V):
        first[2, w, w] = first[3, V + w, w] = 1
        second[0, w, w] = sharp
        second[1, w, V + w] = 1
        second[2, w, w] = second[3, 2 * V + w, w] = 1
    return first, second


@njit(whole="ids V D")
def copying(ids, V, D, kappa):
    """(transformer-copying)  x′ = x + heads(x),  p = copy of x′ + heads′(x′),
    with the weights of copying_weights; also what both layers look at
    (t), (), (), () -> (t w), (2 t t)
    """
    check_indices(ids, V)
    T = len(ids)
    x, mask = np.zeros((T, 3 * V + D)), causal_mask(T, T, 0)
    x[:, 3 * V :], a = positional_encoding(T, D), np.empty((2, T, T))
    for t in range(T):
        x[t, ids[t]] = 1
    for l, (wq, wk, wv, wo) in enumerate(copying_weights(V, D, kappa)):
        o, looks = concatenated_heads((x, x), wq, wk, wv, 1, mask)
        x += projected(o, wo)
        a[l] = looks[0]
    return x[:, 2 * V : 3 * V].copy(), a
