"""Counting n-grams: a hash table that numbers keys in the order in which they first come.

A key is the number of an n-gram's context, times the number of symbols, plus its last symbol, so
that keys stay small however long the n-grams are.
"""

import numpy as np

from dlbook.tools.jit import njit_fast

__all__ = ["find", "number", "numbered", "settle"]

FIRST = 1024  # slots of a table at first
MIX = 0x9E3779B1  # 2³² divided by the golden ratio
LOW, HALF = 0x7FFFFFFF, 31  # products of 31 and 32 bits fit into a whole number


@njit_fast(forceinline=True)
def slot_of(key, slots, known):
    """The slot that holds a key, or the free one where it would stand
    (), (s), (k) -> ()
    """
    mask = slots.size - 1
    mixed = ((key ^ (key >> HALF)) & LOW) * MIX
    s = (mixed ^ (mixed >> HALF)) & mask
    while slots[s] >= 0 and known[slots[s]] != key:
        s = (s + 1) & mask
    return s


@njit_fast
def number(contexts, ids, V, slots, known, counts, begun, out, t, count):
    """Number keys from place t on, by the order in which they first come, while there is room
    (t), (t), (), (s), (k), (k), (k), (t), (), () -> (), ()

    How often each came is added up in `counts`, where it first came stands in `begun`. Returns the
    place where it stopped, and how many different keys there are.
    """
    while t < ids.size:
        key = contexts[t] * V + ids[t]
        s = slot_of(key, slots, known)
        n = slots[s]
        if n < 0:
            if count == known.size:
                break
            n = count
            slots[s], known[n], counts[n], begun[n] = n, key, 0, t
            count += 1
        counts[n] += 1
        out[t] = n
        t += 1
    return t, count


@njit_fast
def settle(slots, known, count):
    """Put numbered keys into a table that is empty
    (s), (k), () -> (s)
    """
    for k in range(count):
        slots[slot_of(known[k], slots, known)] = k


def numbered(contexts: np.ndarray, ids: np.ndarray, V: int) -> tuple[np.ndarray, ...]:
    """Return the number of each key context · V + id, the table, and by numbers the keys, how often
    each came, and where it first did.

    The table is made larger when a quarter of it is full, so that most keys stand where they belong.
    """
    size, t, count, found = FIRST, 0, 0, np.empty((3, 0), np.int64)
    out = np.empty(len(ids), np.int64)
    while True:
        slots, larger = np.full(size, -1, np.int32), np.empty((3, size // 4), np.int64)
        larger[:, :count] = found
        settle(slots, larger[0], count)
        t, count = number(contexts, ids, V, slots, *larger, out, t, count)
        found = larger[:, :count]
        if t == len(ids):
            return out, slots, *(one.copy() for one in found)
        size *= 4


@njit_fast
def find(contexts, ids, V, slots, known, out):
    """The number of the key context · V + id, −1 where it has none or its context is −1
    (t), (t), (), (s), (k) -> (t)
    """
    for t in range(ids.size):
        out[t] = -1
        if contexts[t] >= 0:
            out[t] = slots[slot_of(contexts[t] * V + ids[t], slots, known)]
