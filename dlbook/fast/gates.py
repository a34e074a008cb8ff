"""Gated cells over rows: LSTM and GRU, all steps on the way up, and back.

What a function does for the sequences `first` to `stop` it does for no others, so that threads can
share a batch.
"""

import numpy as np
from numba import get_num_threads

from dlbook.matmul import TILED, multiply
from dlbook.tools.elementary import hyperbolic_tangent, logistic
from dlbook.tools.jit import njit_fast
from dlbook.tools.threads import in_threads

__all__ = [
    "PARALLEL_FROM",
    "gru_backward_into",
    "gru_cells",
    "gru_cells_backward",
    "gru_into",
    "in_parts",
    "lstm_backward_into",
    "lstm_cells",
    "lstm_cells_backward",
    "lstm_into",
]

PARALLEL_FROM = 2**25  # multiply-adds of a layer; below, threads would cost more than they save


@njit_fast(forceinline=True)
def lstm_cells(z, before, c, h, tanh_c):
    """Weighted inputs become gates; cells, states and tanh(c) of some rows
    (r 4j), (r j) -> (r j), (r j), (r j)
    """
    J = c.shape[1]
    for r in range(c.shape[0]):
        zi, zf, zg, zo = z[r][:J], z[r][J : 2 * J], z[r][2 * J : 3 * J], z[r][3 * J :]
        old, new, up, u = before[r], c[r], h[r], tanh_c[r]
        for j in range(J):
            i, f = logistic(zi[j]), logistic(zf[j])
            g, o = hyperbolic_tangent(zg[j]), logistic(zo[j])
            cell = f * old[j] + i * g
            t = hyperbolic_tangent(cell)
            zi[j], zf[j], zg[j], zo[j] = i, f, g, o
            new[j], u[j], up[j] = cell, t, o * t


@njit_fast
def lstm_into(z, h, c, tanh_c, counts, right, first, stop):
    """States and cells of all steps; z holds wx x + b and becomes the gates, `right` is whᵀ
    (r 4j), (n+r j), (n+r j), (r j), (t), (q j w), (), () -> ()
    """
    earlier, now = 0, h.shape[0] - z.shape[0]
    n = now
    for t in range(counts.shape[0]):
        last = min(stop, counts[t])
        if first < last:
            at, old = slice(now + first, now + last), slice(earlier + first, earlier + last)
            row = slice(now - n + first, now - n + last)
            multiply(h[old], right, z[row], True)
            lstm_cells(z[row], c[old], c[at], h[at], tanh_c[row])
        earlier, now = now, now + counts[t]


@njit_fast(forceinline=True)
def lstm_cells_backward(z, before, tanh_c, dh, dc):
    """Gates become ∂C/∂(weighted inputs), and ∂C/∂c that of the cells before
    (r 4j), (r j), (r j), (r j), (r j) -> ()
    """
    one, J = z.dtype.type(1), dh.shape[1]
    for r in range(dh.shape[0]):
        zi, zf, zg, zo = z[r][:J], z[r][J : 2 * J], z[r][2 * J : 3 * J], z[r][3 * J :]
        old, u, e, d = before[r], tanh_c[r], dh[r], dc[r]
        for j in range(J):
            i, f, g, o, t = zi[j], zf[j], zg[j], zo[j], u[j]
            do = e[j] * t
            cell = d[j] + e[j] * o * (one - t * t)
            zi[j] = cell * g * i * (one - i)
            zf[j] = cell * old[j] * f * (one - f)
            zg[j] = cell * i * (one - g * g)
            zo[j] = do * o * (one - o)
            d[j] = cell * f


@njit_fast
def lstm_backward_into(dh, z, c, tanh_c, counts, right, after, dstart, dc, first, stop):
    """Gates become δ; dh holds ∂C_t/∂h_t, `right` is wh, dc what comes to the last cells
    (r j), (r 4j), (n+r j), (r j), (t), (q 4j w), (m j), (n j), (n j), (), () -> ()

    `after` comes from steps behind the last, for the first m of its sequences. `dstart` and dc
    become the gradient of the first states and cells.
    """
    now, n = dh.shape[0], c.shape[0] - dh.shape[0]
    for t in range(counts.shape[0] - 1, -1, -1):
        now -= counts[t]
        last, earlier = min(stop, counts[t]), now - (counts[t - 1] if t else 0)
        if first < last:
            row = slice(now + first, now + last)
            old = slice(n + earlier + first, n + earlier + last) if t else slice(first, last)
            if t == counts.shape[0] - 1:
                for m in range(first, min(last, after.shape[0])):
                    into, more = dh[now + m], after[m]
                    for j in range(into.size):
                        into[j] += more[j]
            lstm_cells_backward(z[row], c[old], tanh_c[row], dh[row], dc[first:last])
            if t:
                multiply(z[row], right, dh[earlier + first : earlier + last], True)
            else:
                multiply(z[row], right, dstart[first:last], False)


@njit_fast(forceinline=True)
def gru_cells(z, p, bh, before, h, q):
    """Weighted inputs become gates r, z, n; p is wh h_{t−1}, q its last third with its bias
    (r 3j), (r 3j), (j), (r j) -> (r j), (r j)
    """
    J = h.shape[1]
    for r in range(h.shape[0]):
        xr, xz, xn = z[r][:J], z[r][J : 2 * J], z[r][2 * J :]
        pr, pz, pn = p[r][:J], p[r][J : 2 * J], p[r][2 * J :]
        old, new, recalled = before[r], h[r], q[r]
        for j in range(J):
            reset, keep = logistic(xr[j] + pr[j]), logistic(xz[j] + pz[j])
            v = pn[j] + bh[j]
            n = hyperbolic_tangent(xn[j] + reset * v)
            xr[j], xz[j], xn[j], recalled[j] = reset, keep, n, v
            new[j] = n + keep * (old[j] - n)


@njit_fast
def gru_into(z, h, q, bh, counts, right, p, first, stop):
    """States of all steps; z holds wx x + b and becomes the gates, `right` is whᵀ, p memory
    (r 3j), (n+r j), (r j), (j), (t), (q j w), (n 3j), (), () -> ()
    """
    earlier, now = 0, h.shape[0] - z.shape[0]
    n = now
    for t in range(counts.shape[0]):
        last = min(stop, counts[t])
        if first < last:
            at, old = slice(now + first, now + last), slice(earlier + first, earlier + last)
            row = slice(now - n + first, now - n + last)
            multiply(h[old], right, p[first:last], False)
            gru_cells(z[row], p[first:last], bh, h[old], h[at], q[row])
        earlier, now = now, now + counts[t]


@njit_fast(forceinline=True)
def gru_cells_backward(z, q, before, dh, back):
    """Gates become (dr, dz, dn) and q becomes r dn; add to ∂C/∂h_{t−1} what goes past the gates
    (r 3j), (r j), (r j), (r j) -> (r j)
    """
    one, J = z.dtype.type(1), dh.shape[1]
    for r in range(dh.shape[0]):
        zr, zz, zn = z[r][:J], z[r][J : 2 * J], z[r][2 * J :]
        recalled, old, e, into = q[r], before[r], dh[r], back[r]
        for j in range(J):
            reset, keep, n = zr[j], zz[j], zn[j]
            dn = e[j] * (one - keep) * (one - n * n)
            zr[j] = dn * recalled[j] * reset * (one - reset)
            zz[j] = e[j] * (old[j] - n) * keep * (one - keep)
            zn[j] = dn
            recalled[j] = dn * reset
            into[j] += e[j] * keep


@njit_fast
def gru_backward_into(dh, z, q, h, counts, gates, last_gate, after, dstart, first, stop):
    """Gates become δx and q the last third of δh; dh holds ∂C_t/∂h_t, the weights are packed
    (r j), (r 3j), (r j), (n+r j), (t), (q 2j w), (q j w), (m j), (n j), (), () -> ()

    `after` and `dstart` (zeros) are as in `lstm_backward_into`.
    """
    now, n, J = dh.shape[0], h.shape[0] - dh.shape[0], dh.shape[1]
    for t in range(counts.shape[0] - 1, -1, -1):
        now -= counts[t]
        last, earlier = min(stop, counts[t]), now - (counts[t - 1] if t else 0)
        if first < last:
            row = slice(now + first, now + last)
            old = slice(n + earlier + first, n + earlier + last) if t else slice(first, last)
            if t == counts.shape[0] - 1:
                for m in range(first, min(last, after.shape[0])):
                    into, more = dh[now + m], after[m]
                    for j in range(into.size):
                        into[j] += more[j]
            back = dh[earlier + first : earlier + last] if t else dstart[first:last]
            gru_cells_backward(z[row], q[row], h[old], dh[row], back)
            multiply(z[row][:, : 2 * J], gates, back, True)
            multiply(q[row], last_gate, back, True)


def in_parts(kernel, counts, z):
    """Call kernel(first, stop) for all sequences at once, or for a part of them in each thread.

    Without a register tile it is all at once: how np.dot rounds depends on how many rows it gets.
    """
    N = int(counts[0]) if len(counts) else 0
    worth = TILED and z.size * z.shape[1] >= PARALLEL_FROM
    parts = min(get_num_threads(), N // 8) if worth else 1
    if parts < 2:
        kernel(0, N)
        return
    steps = np.cumsum((counts > np.arange(N)[:, None]).sum(axis=1))
    borders = np.searchsorted(steps, steps[-1] * np.arange(1, parts) / parts) + 1
    borders = [0, *borders.tolist(), N]
    in_threads(lambda m: kernel(borders[m], borders[m + 1]), parts)
