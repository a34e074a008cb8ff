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
def number(keys, slots, known, out, t, count):
    """Number keys from place t on, by the order in which they first come, while there is room
    (t), (s), (k), (t), (), () -> (), ()

    Returns the place where it stopped, and how many different keys there are.
    """
    while t < keys.size:
        s = slot_of(keys[t], slots, known)
        if slots[s] < 0:
            if count == known.size:
                break
            slots[s], known[count] = count, keys[t]
            count += 1
        out[t] = slots[s]
        t += 1
    return t, count


@njit_fast
def settle(slots, known, count):
    """Put numbered keys into a table that is empty
    (s), (k), () -> (s)
    """
    for k in range(count):
        slots[slot_of(known[k], slots, known)] = k


def numbered(keys: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the number of each key, the table, and the keys by their numbers.

    The table is made larger when half of it is full, so that it stays as small as its keys allow.
    """
    size, t, count, known = FIRST, 0, 0, np.empty(0, np.int64)
    out = np.empty(len(keys), np.int64)
    while True:
        slots, larger = np.full(size, -1, np.int32), np.empty(size // 2, np.int64)
        larger[:count] = known
        settle(slots, larger, count)
        t, count = number(keys, slots, larger, out, t, count)
        known = larger[:count]
        if t == len(keys):
            return out, slots, known.copy()
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
