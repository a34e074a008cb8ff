"""Counting n-grams: a hash table that numbers keys in the order in which they first come.

A key is the number of an n-gram's context, times the number of symbols, plus its last symbol, so
that keys stay small however long the n-grams are.
"""

import numpy as np

from dlbook.tools.jit import njit_fast

__all__ = ["find", "number", "room"]

MIX = np.uint64(0x9E3779B97F4A7C15)  # 2⁶⁴ divided by the golden ratio
HALF = np.uint64(32)


def room(most: int) -> int:
    """Return how many slots a table for so many keys has: a power of two, half of it free."""
    return 1 << max(4, int(2 * most - 1).bit_length())


@njit_fast(forceinline=True)
def slot_of(key, slots, known):
    """The slot that holds a key, or the free one where it would stand
    (), (s), (k) -> ()
    """
    mask = slots.size - 1
    mixed = np.uint64(key) * MIX
    s = np.int64((mixed ^ (mixed >> HALF)) & np.uint64(mask))
    while slots[s] >= 0 and known[slots[s]] != key:
        s = (s + 1) & mask
    return s


@njit_fast
def number(keys, slots, known, out):
    """Number each key by the order in which it first comes; returns how many there are
    (t), (s), (k), (t) -> ()

    `slots` is filled with −1 and has more slots than there are different keys; `known` takes them.
    """
    count = 0
    for t in range(keys.size):
        s = slot_of(keys[t], slots, known)
        if slots[s] < 0:
            slots[s], known[count] = count, keys[t]
            count += 1
        out[t] = slots[s]
    return count


@njit_fast
def find(contexts, ids, V, slots, known, out):
    """The number of the key context · V + id, −1 where it has none or its context is −1
    (t), (t), (), (s), (k) -> (t)
    """
    for t in range(ids.size):
        out[t] = -1
        if contexts[t] >= 0:
            out[t] = slots[slot_of(contexts[t] * V + ids[t], slots, known)]
