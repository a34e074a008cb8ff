"""Attention in tiles: the weights are never all in memory, on the way up and back.

Arrays of a head are rows that lie `step` apart, from row `first` on: queries, keys and values may
stand as (n, h, t, k), where a head has its rows together, or as (n, t, h, k), as a projection
leaves them, where the heads of a step lie side by side.
"""
# ruff: noqa: E741

import numpy as np
from numba import get_num_threads, prange

from dlbook.matmul import PANEL_BYTES, multiply, pack
from dlbook.tools.elementary import decay
from dlbook.tools.jit import njit_fast
from dlbook.tools.simd import any_layout, largest
from dlbook.tools.threads import by_threads

__all__ = [
    "GROUP",
    "PARALLEL_FROM",
    "attend",
    "attend_backward",
    "attend_backward_heads",
    "attend_backward_parts",
    "attend_heads",
    "attend_parts",
    "rows_at",
    "weigh_backward_into",
    "weigh_into",
]

KEYS, STRIP, BLOCK = 64, 24, 64  # of a tile: keys, and queries on the way forth and back
GROUP = 16  # queries, and keys, that share a border where a tile lies on the diagonal
PARALLEL_FROM = 2_000_000  # multiply-adds


@njit_fast
def rows_at(x, first, step, i, count):
    """Return rows i to i + count of a head
    (rows k), (), (), (), () -> (count k)
    """
    return any_layout(x[first + i * step : first + (i + count) * step : step])


@njit_fast(forceinline=True)
def weigh_into(z, seen, slope, n, scale, most, sums, o, first, step):
    """Products of a strip become weights up to a factor; row r sees min(n, seen + slope r) keys
    (r s), (), (), (), (), (r), (r), (rows v), (), () -> ()

    `most` is the largest product of each row so far, `sums` the sum of weights relative to it, and
    both go on with this block; where the largest is new, what has been mixed in o is rescaled.
    """
    for r in range(most.shape[0]):
        row = z[r]
        for s in range(min(n, seen + slope * r), row.size):
            row[s] = -np.inf
        old, total = most[r], sums[r]
        m, new = old, total - total
        for s in range(row.size):
            m = largest(m, row[s])
        shift = m if m != -np.inf else new  # so far all scores are −∞: they weigh nothing
        for s in range(row.size):
            w = decay(scale * (row[s] - shift))
            row[s] = w
            new += w
        if m != old and old != -np.inf:  # before, nothing has been mixed
            c, mixed = decay(scale * (old - m)), o[first + r * step]
            for e in range(mixed.size):
                mixed[e] *= c
            total *= c
        most[r], sums[r] = m, total + new


@njit_fast(apart=True)
def _attend_head(q, k, v, o, L, total, T, S, places, how, scale, kt, vp, z, sums):
    """Attention of one head: o and L of the first T of all queries, to S keys."""
    (fq, fk, step), (first, slope), W = places, how, kt.shape[2]
    L[:] = -np.inf
    sums[:T] = 0
    for t in range(total):
        o[fq + t * step][:] = 0
    for begin in range(0, S, KEYS):
        n, fresh, add = min(KEYS, S - begin), begin < 0, begin >= 0  # no literals: compiled once
        pack(rows_at(k, fk, step, begin, n).T, any_layout(kt[: -(-n // W)]))
        pack(rows_at(v, fk, step, begin, n), any_layout(vp[:, :n]))
        for t in range(max(0, begin - first) * slope, T, STRIP):
            R, seen = min(STRIP, T - t), (first + t + 1 - begin if slope else n)
            m = min(n, seen + slope * (R - 1))
            P = -(-m // W)
            products = z[: STRIP * P * W].reshape(STRIP, P * W)[:R]
            multiply(rows_at(q, fq, step, t, R), any_layout(kt[:P]), any_layout(products), fresh)
            most, so_far, at = L[t : t + R], sums[t : t + R], fq + t * step
            weigh_into(products, seen, slope, n, scale, most, so_far, o, at, step)
            mixed = rows_at(o, fq, step, t, R)
            multiply(any_layout(products[:, :m]), any_layout(vp[:, :m]), mixed, add)
    zero, one = o.dtype.type(0), o.dtype.type(1)
    for t in range(T):
        mixed = o[fq + t * step]
        if sums[t] > zero:  # a query that sees nothing finds nothing: its o is zero, its L is −∞
            share = one / sums[t]
            for e in range(mixed.size):
                mixed[e] *= share
        elif S > 0:  # scores that are all −∞ have no softmax
            mixed[:], L[t] = np.nan, np.nan
        L[t] = scale * L[t] + np.log(sums[t])


@njit_fast(apart=True)
def attend_heads(
    q, k, v, o, L, lengths, query_lengths, sizes, how, scale, begin, end, kt, vp, z, sums
):
    """Attention of heads `begin` to `end`, counted through all sequences
    (rows k), (rows k), (rows v), (rows v), (n·h t), (n), (n) -> ()

    `sizes` is (h, t, s, whether the heads of a step lie side by side), `how` (first, slope): query
    t sees the keys up to first + t with slope 1, and all with slope 0. The rest is memory.
    """
    H, T, S, side = sizes
    for m in range(begin, end):
        n, h = m // H, m % H
        step = H if side else 1
        places = n * H * T + h * (1 if side else T), n * H * S + h * (1 if side else S), step
        _attend_head(
            q, k, v, o, L[m], T, query_lengths[n], lengths[n], places, how, scale, kt, vp, z, sums
        )


@njit_fast(parallel=True)
def attend_parts(q, k, v, o, L, lengths, query_lengths, sizes, how, scale, kt, vp, z, sums):
    """`attend_heads` for all heads, by all threads; each has memory of its own."""
    parts, heads = len(sums), len(L)
    for m in prange(parts):
        begin, end = heads * m // parts, heads * (m + 1) // parts
        room = kt[m], vp[m], z[m], sums[m]
        given = q, k, v, o, L, lengths, query_lengths, sizes, how, scale
        attend_heads(*given, begin, end, *room)


@njit_fast(forceinline=True)
def weigh_backward_into(z, dz, wide, seen, slope, n, scale, L, dots):
    """Products become weights, and ∂C/∂weights becomes ∂C/∂products; as in `weigh_into`
    (r s), (r s), (), (), (), (), (), (r), (r) -> ()
    """
    zero = z.dtype.type(0)
    for r in range(L.shape[0]):
        row, back, whole, dot = z[r][:wide], dz[r][:wide], L[r], dots[r]
        for s in range(row.size):
            w = decay(scale * row[s] - whole)
            row[s] = w
            back[s] = scale * w * (back[s] - dot)
        row, back = z[r], dz[r]
        for s in range(min(n, seen + slope * r), n):
            row[s], back[s] = zero, zero


@njit_fast(apart=True)
def _attend_head_backward(do, q, k, v, o, L, dq, dk, dv, whole, T, S, places, how, scale, memory):
    """The way back of one head; `whole` says how many queries and keys there are with padding."""
    (fq, fk, step), (first, slope) = places, how
    kt, vt, kp, qp, dop, z, dz, dots = memory
    W = kt.shape[2]
    for t in range(T):
        mixed, back, dot = o[fq + t * step], do[fq + t * step], o.dtype.type(0)
        for e in range(mixed.size):
            dot += mixed[e] * back[e]
        dots[t] = dot
    for t in range(whole[0]):
        dq[fq + t * step][:] = 0
    for s in range(whole[1]):
        dk[fk + s * step][:] = 0
        dv[fk + s * step][:] = 0
    for begin in range(0, S, KEYS):
        n, fresh, add = min(KEYS, S - begin), begin < 0, begin >= 0  # no literals: compiled once
        P, keys = -(-n // W), rows_at(k, fk, step, begin, n)
        pack(keys.T, any_layout(kt[:P]))
        pack(rows_at(v, fk, step, begin, n).T, any_layout(vt[:P]))
        pack(keys, any_layout(kp[:, :n]))
        for t in range(max(0, begin - first) * slope, T, BLOCK):
            R, seen = min(BLOCK, T - t), (first + t + 1 - begin if slope else n)
            qs, dos = rows_at(q, fq, step, t, R), rows_at(do, fq, step, t, R)
            pack(qs, any_layout(qp[:, :R]))
            pack(dos, any_layout(dop[:, :R]))
            group = GROUP if seen < n else BLOCK  # on the diagonal, a few rows at a time
            for a in range(0, R, group):
                b = min(R, a + group)
                m = min(n, seen + slope * (b - 1))
                p = -(-m // W)
                multiply(qs[a:b], any_layout(kt[:p]), any_layout(z[a:b, : p * W]), fresh)
                multiply(dos[a:b], any_layout(vt[:p]), any_layout(dz[a:b, : p * W]), fresh)
                sees, at = seen + slope * a, slice(t + a, t + b)
                weigh_backward_into(z[a:b], dz[a:b], p * W, sees, slope, n, scale, L[at], dots[at])
                into = rows_at(dq, fq, step, t + a, b - a)
                multiply(any_layout(dz[a:b, :m]), any_layout(kp[:, :m]), into, add)
            for a in range(0, n, group):
                b = min(n, a + group)
                c = min(R, max(0, a + 1 - seen)) * slope // GROUP * GROUP
                into = rows_at(dv, fk, step, begin + a, b - a)
                multiply(any_layout(z[c:R, a:b].T), any_layout(dop[:, c:R]), into, add)
                into = rows_at(dk, fk, step, begin + a, b - a)
                multiply(any_layout(dz[c:R, a:b].T), any_layout(qp[:, c:R]), into, add)


@njit_fast(apart=True)
def attend_backward_heads(
    do, q, k, v, o, L, dq, dk, dv, lengths, query_lengths, sizes, how, scale, begin, end, memory
):
    """The way back of heads `begin` to `end`; arguments as in `attend_heads`."""
    H, T, S, side = sizes
    for m in range(begin, end):
        n, h = m // H, m % H
        step = H if side else 1
        places = n * H * T + h * (1 if side else T), n * H * S + h * (1 if side else S), step
        some = (T, S), query_lengths[n], lengths[n], places, how, scale, memory
        _attend_head_backward(do, q, k, v, o, L[m], dq, dk, dv, *some)


@njit_fast(parallel=True)
def attend_backward_parts(
    do, q, k, v, o, L, dq, dk, dv, lengths, query_lengths, sizes, how, scale, kt, vt, kp, qp, dop, z, dz, dots
):  # fmt: skip
    """`attend_backward_heads` for all heads, by all threads; each has memory of its own."""
    parts, heads = len(dots), len(L)
    for m in prange(parts):
        begin, end = heads * m // parts, heads * (m + 1) // parts
        room = kt[m], vt[m], kp[m], qp[m], dop[m], z[m], dz[m], dots[m]
        given = do, q, k, v, o, L, dq, dk, dv, lengths, query_lengths, sizes, how, scale
        attend_backward_heads(*given, begin, end, room)


def _arranged(q, k, v, how, side):
    """Return sizes of checked arrays, and among how many threads the heads are shared."""
    (N, T, H, K) = q.shape if side else (q.shape[0], *q.shape[2:0:-1], q.shape[3])
    S, V = k.shape[1 if side else 2], v.shape[3]
    todo = N * H * T * S * (K + V) // (1 + how[1])
    parts = max(1, min(get_num_threads(), N * H, todo // PARALLEL_FROM))
    return (N, H, T, S, K, V), parts, q.dtype.type(1 / np.sqrt(K)), PANEL_BYTES // q.itemsize


def attend(q, k, v, o, L, lengths, how, work, *, side=False, query_lengths=None):
    """Write the attention of arrays that were checked into o and L.

    Parameters
    ----------
    q, k, v, o : ndarray, shape (n, h, t, k), (n, h, s, k), (n, h, s, v), (n, h, t, v)
        Contiguous. With `side` (n, t, h, k) and so on: the heads of a step lie side by side.
    L : ndarray, shape (n·h, t)
        Logarithms of the sums.
    lengths : ndarray of int64, shape (n,)
        How many keys each sequence has, from 0 to S.
    how : (int, int)
        (first, 1) where query t sees the keys up to first + t only, (0, 0) where it sees all.
    work : dlbook.fast.memory.Memory
        Memory, of which each thread has a part of its own.
    side : bool
        See above.
    query_lengths : ndarray of int64, shape (n,), optional
        How many queries each sequence has, all T where not given. What the others find is zero.
    """
    (N, H, T, S, K, V), parts, scale, W = _arranged(q, k, v, how, side)
    query_lengths = np.full(N, T) if query_lengths is None else query_lengths
    kt = work.array(("panels", "kt"), parts, KEYS // W, K, W)
    vp = work.array(("panels", "vp"), parts, -(-V // W), KEYS, W)
    z, sums = work.array("z", parts, STRIP * KEYS), work.array("dots", parts, T)
    rows = q.reshape(-1, K), k.reshape(-1, K), v.reshape(-1, V), o.reshape(-1, V)
    given = *rows, L, lengths, query_lengths, (H, T, S, side), how, scale
    rooms = kt, vp, z, sums

    def part(m):
        span = N * H * m // parts, N * H * (m + 1) // parts
        attend_heads(*given, *span, *(room[m] for room in rooms))

    by_threads(part, lambda: attend_parts(*given, *rooms), parts)


def attend_backward(
    do, q, k, v, o, L, dq, dk, dv, lengths, how, work, *, side=False, query_lengths=None
):
    """Write ∂C/∂q, ∂C/∂k and ∂C/∂v from ∂C/∂o and what `attend` has written; as there."""
    (N, H, T, S, K, V), parts, scale, W = _arranged(q, k, v, how, side)
    query_lengths = np.full(N, T) if query_lengths is None else query_lengths
    kt = work.array(("panels", "kt"), parts, KEYS // W, K, W)
    vt = work.array(("panels", "vt"), parts, KEYS // W, V, W)
    kp = work.array(("panels", "kp"), parts, -(-K // W), KEYS, W)
    qp = work.array(("panels", "qp"), parts, -(-K // W), BLOCK, W)
    dop = work.array(("panels", "dop"), parts, -(-V // W), BLOCK, W)
    z, dz = (work.array(name, parts, BLOCK, KEYS) for name in ("products", "dz"))
    dots = work.array("dots", parts, T)
    rows = (x.reshape(-1, I) for x, I in ((do, V), (q, K), (k, K), (v, V), (o, V)))
    into = (x.reshape(-1, I) for x, I in ((dq, K), (dk, K), (dv, V)))
    given = *rows, L, *into, lengths, query_lengths, (H, T, S, side), how, scale
    rooms = kt, vt, kp, qp, dop, z, dz, dots

    def part(m):
        span = N * H * m // parts, N * H * (m + 1) // parts
        attend_backward_heads(*given, *span, tuple(room[m] for room in rooms))

    by_threads(part, lambda: attend_backward_parts(*given, *rooms), parts)
