"""Skip-gram with negative sampling: a pass over a text, with a generator of its own.

Vectors are rows that are padded with zeros to whole registers, which products and steps leave zero.
The random numbers are those of splitmix64 (Steele, Lea & Flood, OOPSLA 2014): each is a function of
a counter, so that a part of the text begins where it likes, and the same seed gives the same draws
everywhere.
"""

import numpy as np

from dlbook.tools.elementary import logistic
from dlbook.tools.jit import njit_fast
from dlbook.tools.threads import in_threads

__all__ = ["LANES", "draw", "learn_part", "learn_round", "mixed", "pair_step"]

LANES = 16  # float32 numbers to which a vector is padded
GOLDEN = np.uint64(0x9E3779B97F4A7C15)  # 2⁶⁴ divided by the golden ratio
FIRST, SECOND = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
LOW, HALF = np.uint64(0xFFFFFFFF), np.uint64(32)


@njit_fast(forceinline=True)
def mixed(z):
    """What splitmix64 makes of a counter
    () -> ()
    """
    z = (z ^ (z >> np.uint64(30))) * FIRST
    z = (z ^ (z >> np.uint64(27))) * SECOND
    return z ^ (z >> np.uint64(31))


@njit_fast(forceinline=True)
def draw(z, keep, other):
    """A word of the alias table: 32 bits choose the column, 32 bits its lower or upper part
    (), (v), (v) -> ()
    """
    v = ((z >> HALF) * np.uint64(keep.size)) >> HALF
    return np.int64(v) if (z & LOW) < keep[v] else np.int64(other[v])


@njit_fast(forceinline=True)
def pair_step(W, C, w, chosen, rate, g):
    """One step of gradient descent on −ln σ(W_w·C_c) − Σ_k ln σ(−W_w·C_k), with c the first chosen
    (v d), (v d), (), (1+k), (), (d) -> (v d), (v d), (d)

    A context that is chosen twice moves twice, the second time from where the first has left it.
    """
    D, row = W.shape[1], W[w]
    for d in range(D):
        g[d] = 0
    for k in range(chosen.size):
        context, s = C[chosen[k]], np.float32(0)
        for d in range(D):
            s += row[d] * context[d]
        e = rate * logistic(-s) if k == 0 else -rate * logistic(s)
        for d in range(D):
            g[d] += e * context[d]
            context[d] += e * row[d]
    for d in range(D):
        row[d] += g[d]


@njit_fast(nogil=True)
def learn_part(ids, starts, first, last, stay, keep, other, W, C, window, negatives, rates, seed):
    """Go once through the paragraphs from `first` to `last` and take a step for every pair
    (t), (p+1), (), (), (v), (v), (v), (v d), (v d), (), (), (2), () -> (v d), (v d), ()

    `stay` is 2³² times the probability that a word is not left out, `rates` the rate at the
    beginning and at the end. Returns the number of pairs.
    """
    z, pairs = seed, 0
    begin, end = starts[first], starts[last]
    longest = 0
    for p in range(first, last):
        longest = max(longest, starts[p + 1] - starts[p])
    text = np.empty(longest, np.int64)
    chosen, g = np.empty(negatives + 1, np.int64), np.empty(W.shape[1], np.float32)
    for p in range(first, last):
        done = (starts[p] - begin) / max(1, end - begin)
        rate = np.float32(rates[0] + (rates[1] - rates[0]) * done)
        T = 0
        for t in range(starts[p], starts[p + 1]):
            z += GOLDEN
            if (mixed(z) >> HALF) < stay[ids[t]]:
                text[T] = ids[t]
                T += 1
        for t in range(T):
            z += GOLDEN
            reach = 1 + np.int64(((mixed(z) >> HALF) * np.uint64(window)) >> HALF)
            for u in range(max(0, t - reach), min(T, t + reach + 1)):
                if u != t:
                    chosen[0] = text[u]
                    for k in range(negatives):
                        z += GOLDEN
                        chosen[k + 1] = draw(mixed(z), keep, other)
                    pair_step(W, C, text[t], chosen, rate, g)
                    pairs += 1
    return pairs


@njit_fast
def gather(W, parts, old):
    """W becomes its old values and, in order, what each part has changed
    (v d), (m v d), (v d) -> (v d)
    """
    for v in range(W.shape[0]):
        for d in range(W.shape[1]):
            W[v, d] = old[v, d]
            for m in range(parts.shape[0]):
                W[v, d] += parts[m, v, d] - old[v, d]


def learn_round(ids, starts, borders, stay, table, W, C, room, window, negatives, rates, seeds):
    """Learn the parts of a round, each from the vectors at its beginning, and add what they change.

    Part m goes from paragraph ``borders[m]`` to the next border with a generator of its own. One
    part changes the vectors themselves; more of them have copies in `room`, (m v d) twice, and run
    side by side where there are threads for it, with the same result where there are none.
    """
    if len(seeds) == 1:
        return learn_part(ids, starts, borders[0], borders[1], stay, *table, W, C, window, negatives, rates, seeds[0])  # fmt: skip
    Ws, Cs = room
    Ws[:], Cs[:] = W, C
    pairs = [0] * len(seeds)

    def part(m):
        pairs[m] = learn_part(ids, starts, borders[m], borders[m + 1], stay, *table, Ws[m], Cs[m], window, negatives, rates, seeds[m])  # fmt: skip

    in_threads(part, len(seeds))
    gather(W, Ws, W.copy())
    gather(C, Cs, C.copy())
    return sum(pairs)
