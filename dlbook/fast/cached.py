"""One step of a decoder that keeps keys and values: what `dlbook.nets.cached` runs for each symbol."""
# ruff: noqa: E741

import numpy as np

from dlbook.tools import elementary
from dlbook.tools.elementary import decay
from dlbook.tools.jit import njit_fast

__all__ = ["cached_step", "read_into", "scores_into"]


@njit_fast(forceinline=True)
def product_into(w, x, b, y):
    """y_j = Σ_m w_jm x_m + b_j
    (j m), (m), (j) -> (j)
    """
    for j in range(w.shape[0]):
        row, total = w[j], x.dtype.type(0)
        for m in range(row.size):
            total += row[m] * x[m]
        y[j] = total + b[j]


@njit_fast(forceinline=True)
def norm_into(x, gamma, beta, eps, y):
    """y_m = γ_m (x_m − mean) / √(variance + ε) + β_m
    (m), (m), (m), () -> (m)
    """
    total = square = x.dtype.type(0)
    for m in range(x.size):
        total += x[m]
    mean = total / x.dtype.type(x.size)
    for m in range(x.size):
        square += (x[m] - mean) * (x[m] - mean)
    root = np.sqrt(square / x.dtype.type(x.size) + x.dtype.type(eps))
    for m in range(x.size):
        y[m] = gamma[m] * (x[m] - mean) / root + beta[m]


@njit_fast(forceinline=True)
def attend_into(q, k, v, heads, s, o):
    """o = heads side by side of softmax(q kᵀ / √d) v; s is room for the weights
    (m), (t m), (t m), (), (t) -> (m)
    """
    T, D = len(k), q.size // heads
    scale, zero = q.dtype.type(1 / np.sqrt(D)), q.dtype.type(0)
    for h in range(heads):
        first = h * D
        most = q.dtype.type(-np.inf)
        for t in range(T):
            row, total = k[t], zero
            for d in range(first, first + D):
                total += q[d] * row[d]
            s[t] = total * scale
            most = s[t] if s[t] > most else most
        whole = zero
        for t in range(T):
            s[t] = decay(s[t] - most)
            whole += s[t]
        for d in range(first, first + D):
            o[d] = zero
        for t in range(T):
            row, share = v[t], s[t] / whole
            for d in range(first, first + D):
                o[d] += share * row[d]


@njit_fast
def cached_step(flat, size, x, keys, values, t, heads, hidden, pre, residual, eps, room, y):
    """y = what blocks make of the vectors x of step t; keys and values of the step are kept
    (numbers), (), (n m), (l n s m), (l n s m), (), (), (), (), (), (), (numbers) -> (n m)

    A block has `size` numbers in `flat`, in the order of `TransformerBlock`.
    """
    (N, M), L, S = x.shape, len(keys), keys.shape[2]
    n, q, o, a = room[:M], room[M : 2 * M], room[2 * M : 3 * M], room[3 * M : 4 * M]
    s, u = room[4 * M : 4 * M + S], room[4 * M + S :]
    for i in range(N):
        y[i] = x[i]
        for l in range(L):
            p, at = flat[l * size : (l + 1) * size], 2 * M
            w = p[at : at + 4 * M * M].reshape(4, M, M)
            at += 4 * M * M
            b = p[at : at + 4 * M].reshape(4, M)
            at += 4 * M
            n[:] = y[i]
            if pre:
                norm_into(y[i], p[:M], p[M : 2 * M], eps, n)
            product_into(w[0], n, b[0], q)
            product_into(w[1], n, b[1], keys[l, i, t])
            product_into(w[2], n, b[2], values[l, i, t])
            attend_into(q, keys[l, i, : t + 1], values[l, i, : t + 1], heads, s, o)
            product_into(w[3], o, b[3], a)
            for m in range(M):
                y[i, m] = a[m] + y[i, m] if residual else a[m]
            if not pre:
                n[:] = y[i]
                norm_into(n, p[:M], p[M : 2 * M], eps, y[i])
            if hidden:
                gamma, beta = p[at : at + M], p[at + M : at + 2 * M]
                at += 2 * M
                w1 = p[at : at + hidden * M].reshape(hidden, M)
                at += hidden * M
                b1 = p[at : at + hidden]
                at += hidden
                w2 = p[at : at + hidden * M].reshape(M, hidden)
                at += hidden * M
                n[:] = y[i]
                if pre:
                    norm_into(y[i], gamma, beta, eps, n)
                product_into(w1, n, b1, u)
                elementary.gelu(u, u)
                product_into(w2, u, p[at : at + M], a)
                for m in range(M):
                    y[i, m] = a[m] + y[i, m] if residual else a[m]
                if not pre:
                    n[:] = y[i]
                    norm_into(n, gamma, beta, eps, y[i])


@njit_fast
def read_into(symbols, E, places, factor, t, x):
    """x_nm = factor · E_{symbols_n m} + places_tm
    (n), (v m), (s m), (), () -> (n m)
    """
    scale, place = x.dtype.type(factor), places[t]
    for n in range(x.shape[0]):
        row, found = E[symbols[n]], x[n]
        for m in range(found.size):
            found[m] = scale * row[m] + place[m]


@njit_fast
def scores_into(h, gamma, beta, eps, w, f):
    """f_nv = Σ_m w_vm h_nm, where h is normalized first if γ has any numbers
    (n m), (m), (m), (), (v m) -> (n v)
    """
    x, nothing = np.empty(h.shape[1], h.dtype), np.zeros(len(w), h.dtype)
    for n in range(h.shape[0]):
        x[:] = h[n]
        if gamma.size:
            norm_into(h[n], gamma, beta, eps, x)
        product_into(w, x, nothing, f[n])
