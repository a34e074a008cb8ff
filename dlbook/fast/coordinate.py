"""Coordinate descent for the elastic net: an active set, safe screening, a duality gap.

The inputs stand here by columns, (p n), so that a column is contiguous. A fit moves between a pass
over all columns that may still matter, which measures the gap, drops the columns that are proved
to be zero and chooses the active ones, and sweeps over the active ones alone. Where these sweeps
become many, they go on with the inner products of the active columns in place of the columns.
"""

import numpy as np

from dlbook.tools.jit import njit_fast

__all__ = ["descend", "descend_path", "path_by_products"]

SHARE = 0.2  # sweeps over the active columns end where their violation is this part of the last
CALM = 10  # sweeps over the active columns at most, before all are looked at again …
CALM_PRODUCTS = 200  # … and with their inner products, which makes a sweep cheap
ROUNDING = 1e-14  # of the squares of y: a smaller gap proves nothing, it is rounding
WORTH = 8  # sweeps that cost as much as the inner products of so many active columns


@njit_fast(forceinline=True)
def dot(a, b):
    """Σ_n a_n b_n
    (n), (n) -> ()
    """
    total = a.dtype.type(0)
    for n in range(a.size):
        total += a[n] * b[n]
    return total


@njit_fast(forceinline=True)
def add(scale, a, b):
    """b_n becomes b_n + scale · a_n
    (), (n), (n) -> (n)
    """
    for n in range(a.size):
        b[n] += scale * a[n]


@njit_fast(forceinline=True)
def shrunk(z, l1):
    """sign(z) max(|z| − λ₁, 0)
    (), () -> ()
    """
    return z - l1 if z > l1 else z + l1 if z < -l1 else 0.0


@njit_fast
def slopes(A, w, e, l2, kept, K, slope):
    """slope_p = Σ_n A_pn e_n − λ₂ w_p of the kept columns
    (p n), (p), (n), (), (p), () -> (p)
    """
    for k in range(K):
        p = kept[k]
        slope[p] = dot(A[p], e) - l2 * w[p]


@njit_fast
def violation(w, slope, l1, kept, K):
    """The largest slope, and the largest violation of the optimality conditions
    (p), (p), (), (p), () -> (), ()
    """
    largest = worst = 0.0
    for k in range(K):
        p = kept[k]
        c = slope[p]
        largest = max(largest, abs(c))
        off = abs(c - l1) if w[p] > 0 else abs(c + l1) if w[p] < 0 else abs(c) - l1
        worst = max(worst, off)
    return largest, worst


@njit_fast
def gap_of(w, e, y, l1, l2, largest):
    """P(w), P(w) − D(s ẽ) and s = min(1, λ₁ / largest)
    (p), (n), (n), (), (), () -> (), (), ()
    """
    rest, align = dot(e, e) + l2 * dot(w, w), dot(e, y)
    s = min(1.0, l1 / largest) if largest > 0 else 1.0
    total = 0.0
    for p in range(w.size):
        total += abs(w[p])
    return rest / 2 + l1 * total, (1 + s * s) / 2 * rest + l1 * total - s * align, s


@njit_fast
def sweep(A, w, e, l1, l2, squares, active, J):
    """Minimise over each of the active weights in turn; returns the largest violation met
    (p n), (p), (n), (), (), (p), (p), () -> (p), (n), ()
    """
    worst = 0.0
    for j in range(J):
        p = active[j]
        curve, old = squares[p] + l2, w[p]
        new = shrunk(dot(A[p], e) + squares[p] * old, l1) / curve
        if new != old:
            add(old - new, A[p], e)
            w[p] = new
            worst = max(worst, abs(new - old) * curve)
    return worst


@njit_fast
def products(A, members, first, J, G):
    """G_ij = Σ_n A_in A_jn of the members from `first` on with all before them
    (p n), (p), (), () -> (j j)
    """
    N = A.shape[1]
    for i in range(first, J):
        a = A[members[i]]
        for j in range(0, i + 1, 4):  # four columns at a time share what is read of the first
            b, c = A[members[j]], A[members[min(j + 1, i)]]
            d, f = A[members[min(j + 2, i)]], A[members[min(j + 3, i)]]
            s = t = u = v = 0.0
            for n in range(N):
                s += a[n] * b[n]
                t += a[n] * c[n]
                u += a[n] * d[n]
                v += a[n] * f[n]
            G[i, j] = G[j, i] = s
            G[i, min(j + 1, i)] = G[min(j + 1, i), i] = t
            G[i, min(j + 2, i)] = G[min(j + 2, i), i] = u
            G[i, min(j + 3, i)] = G[min(j + 3, i), i] = v


@njit_fast
def sweeps_by_products(A, w, e, l1, l2, members, J, G, goal):
    """Sweep over the weights of the members by their inner products; returns how often
    (p n), (p), (n), (), (), (p), (), (j j), () -> (p), (n), ()
    """
    slope, moved = np.empty(J), np.zeros(J)
    for j in range(J):
        slope[j] = dot(A[members[j]], e)
    done, worst = 0, np.inf
    while done < CALM_PRODUCTS and worst > goal:
        done, worst = done + 1, 0.0
        for j in range(J):
            curve, old = G[j, j] + l2, w[members[j]]
            new = shrunk(slope[j] + G[j, j] * old, l1) / curve
            if new != old:
                add(old - new, G[j, :J], slope)
                w[members[j]] = new
                moved[j] += new - old
                worst = max(worst, abs(new - old) * curve)
    for j in range(J):
        if moved[j] != 0:
            add(-moved[j], A[members[j]], e)
    return done


@njit_fast
def joined(active, J, members, M, inside):
    """Append to the members the active columns that are not among them; returns their number
    (p), (), (p), (), (p) -> (p), (p), ()
    """
    for j in range(J):
        if not inside[active[j]]:
            inside[active[j]] = True
            members[M] = active[j]
            M += 1
    return M


@njit_fast
def screen(A, w, e, l1, l2, squares, slope, s, radius, kept, K, active):
    """Drop the columns whose weight is proved to be zero and list the active ones of the rest
    (p n), (p), (n), (), (), (p), (p), (), (), (p), (), (p) -> (p), (n), (p), (p), (), ()
    """
    left = J = 0
    for k in range(K):
        p = kept[k]
        if s * abs(slope[p]) + np.sqrt(squares[p] + l2) * radius < l1:
            if w[p] != 0:
                add(w[p], A[p], e)
                w[p] = 0.0
        else:
            kept[left] = p
            left += 1
            if w[p] != 0 or abs(slope[p]) > l1:
                active[J] = p
                J += 1
    return left, J


@njit_fast
def descend(A, y, l1, l2, squares, stop, least, most, w, e, slope, kept, active):
    """Descend from w, its residuals e and slopes, until the gap is at most `stop` or the violation
    at most `least`; returns cost, gap, violation and the sweeps over active columns
    (p n), (n), (), (), (p), (), (), () -> (p), (n), (p), (), (), (), ()
    """
    K = done = M = 0
    floor = ROUNDING * dot(y, y)
    members, inside, G = np.empty(w.size, np.int64), np.zeros(w.size, np.bool_), np.empty((0, 0))
    for p in range(w.size):
        if squares[p] > 0:
            kept[K] = p
            K += 1
    while True:
        largest, worst = violation(w, slope, l1, kept, K)
        cost, gap, s = gap_of(w, e, y, l1, l2, largest)
        if gap <= stop or worst <= least or done >= most:
            return cost, gap, worst, done
        radius, goal = np.sqrt(2 * max(gap, floor)), max(SHARE * worst, 0.5 * least)
        K, J = screen(A, w, e, l1, l2, squares, slope, s, radius, kept, K, active)
        if WORTH * done < J:
            for _ in range(CALM):
                done += 1
                if sweep(A, w, e, l1, l2, squares, active, J) <= goal:
                    break
        else:
            known, M = M, joined(active, J, members, M, inside)
            if G.shape[0] < M:
                wider = np.empty((M + M // 4, M + M // 4))
                wider[:known, :known] = G[:known, :known]
                G = wider
            products(A, members, known, M, G)
            done += sweeps_by_products(A, w, e, l1, l2, members, M, G, 0.01 * goal)
        slopes(A, w, e, l2, kept, K, slope)


@njit_fast
def descend_path(A, y, l1, l2, squares, moments, stop, least, most, W):
    """Descend for each pair of strengths, from the weights of the pair before
    (p n), (n), (k), (k), (p), (p), (), (k), () -> (k p), (k), (k), (k), (k)
    """
    P, K = len(A), len(l1)
    cost, gap, worst, done = np.empty(K), np.empty(K), np.empty(K), np.empty(K, np.int64)
    w, e, slope = np.zeros(P), y.copy(), moments.copy()
    kept, active, every = np.empty(P, np.int64), np.empty(P, np.int64), np.arange(P)
    for k in range(K):
        cost[k], gap[k], worst[k], done[k] = descend(
            A, y, l1[k], l2[k], squares, stop, least[k], most, w, e, slope, kept, active
        )
        W[k] = w
        if k + 1 < K:
            e[:] = y  # anew, so that rounding does not add up along the path
            for p in range(P):
                if w[p] != 0:
                    add(-w[p], A[p], e)
            slopes(A, w, e, l2[k + 1], every, P, slope)
    return cost, gap, worst, done


@njit_fast
def survey(w, slope, moments, square, l1, l2):
    """Cost, gap and violation from inner products alone
    (p), (p), (p), (), (), () -> (), (), ()
    """
    largest = worst = total = length = fitted = with_y = 0.0
    for p in range(w.size):
        c = slope[p] - l2 * w[p]
        largest = max(largest, abs(c))
        off = abs(c - l1) if w[p] > 0 else abs(c + l1) if w[p] < 0 else abs(c) - l1
        worst = max(worst, off)
        total += abs(w[p])
        length += w[p] * w[p]
        with_y += w[p] * moments[p]
        fitted += w[p] * (moments[p] + slope[p])
    rest, s = square - fitted + l2 * length, min(1.0, l1 / largest) if largest > 0 else 1.0
    gap = (1 + s * s) / 2 * rest + l1 * total - s * (square - with_y)
    return rest / 2 + l1 * total, gap, worst


@njit_fast
def path_by_products(A, y, l1, l2, squares, moments, stop, least, most, W):
    """As `descend_path`, by the inner products of all columns, which pays for many strengths
    (p n), (n), (k), (k), (p), (p), (), (k), () -> (k p), (k), (k), (k), (k)
    """
    P, K = len(A), len(l1)
    cost, gap, worst, done = np.empty(K), np.empty(K), np.empty(K), np.zeros(K, np.int64)
    w, slope, G, active = np.zeros(P), np.empty(P), np.empty((P, P)), np.empty(P, np.int64)
    products(A, np.arange(P), 0, P, G)
    for k in range(K):
        slope[:] = moments  # anew, so that rounding does not add up along the path
        for p in range(P):
            if w[p] != 0:
                add(-w[p], G[p], slope)
        while True:
            cost[k], gap[k], worst[k] = survey(w, slope, moments, dot(y, y), l1[k], l2[k])
            if gap[k] <= stop or worst[k] <= least[k] or done[k] >= most:
                break
            goal, J = max(SHARE * worst[k], 0.5 * least[k]), 0
            for p in range(P):
                if squares[p] > 0 and (w[p] != 0 or abs(slope[p]) > l1[k]):
                    active[J] = p
                    J += 1
            for _ in range(CALM_PRODUCTS):
                met = 0.0
                done[k] += 1
                for j in range(J):
                    p = active[j]
                    curve, old = squares[p] + l2[k], w[p]
                    new = shrunk(slope[p] + squares[p] * old, l1[k]) / curve
                    if new != old:
                        add(old - new, G[p], slope)
                        w[p] = new
                        met = max(met, abs(new - old) * curve)
                if met <= goal:
                    break
        W[k] = w
    return cost, gap, worst, done
