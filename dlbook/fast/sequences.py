"""Sequences of unequal length: how their steps lie in rows, and symbols that are looked up.

A batch is laid out in rows: the first step of all sequences, the longest first, then the second step
of those that have one, and so on. No row is padding, the sequences that are still running are the
first rows of the step before, and what does not depend on the order of time is one product over all
rows.
"""

from itertools import accumulate
from typing import NamedTuple

import numpy as np

from dlbook.tools.jit import njit_fast

__all__ = [
    "arrange",
    "arrange_into",
    "earlier_into",
    "ends_into",
    "look_up_backward_into",
    "look_up_into",
    "Rows",
    "reverse_into",
]


@njit_fast
def arrange_into(lengths, steps, order, counts, places, last):
    """Sort sequences by length, and say where each row comes from and each sequence ends
    (n), () -> (n), (t), (r), (n)

    `counts` says how many sequences have a step t, `places` that row r is step t of sequence n as
    n · steps + t, `last` which row of the states is the last of each sequence, as they are ordered:
    states have n rows for the beginning in front of those of the steps.
    """
    N = lengths.shape[0]
    counts[:] = 0
    for n in range(N):
        for t in range(lengths[n]):
            counts[t] += 1
    j = 0
    for length in range(steps, -1, -1):  # from long to short, equal ones as they come
        if (counts[length - 1] if length else N) > j:
            for n in range(N):
                if lengths[n] == length:
                    order[j] = n
                    last[j] = j
                    j += 1
    r = 0
    for t in range(steps):
        for j in range(counts[t]):
            places[r] = order[j] * steps + t
            last[j] = N + r
            r += 1


@njit_fast
def earlier_into(h, counts, before):
    """Copy for each row the state a step earlier
    (n+r j), (t) -> (r j)
    """
    r, earlier, now = 0, 0, h.shape[0] - counts.sum()
    for t in range(counts.shape[0]):
        for m in range(counts[t]):
            before[r] = h[earlier + m]
            r += 1
        earlier, now = now, now + counts[t]


@njit_fast
def ends_into(h, last, order, ends):
    """Copy the last state of each sequence to its place in the batch
    (n+r j), (n), (n) -> (n j)
    """
    for n in range(order.size):
        row, end = h[last[n]], ends[order[n]]
        for j in range(row.size):
            end[j] = row[j]


@njit_fast
def look_up_into(x, wx, b, turned, z):
    """z_rj = wx_j,x_r + b_j: the product with a one-hot row is a column
    (r), (j k), (j), (k j) -> (r j)
    """
    for k in range(turned.shape[0]):
        for j in range(b.shape[0]):
            turned[k, j] = wx[j, k] + b[j]
    for r in range(x.shape[0]):
        row, found = z[r], turned[x[r]]
        for j in range(row.size):
            row[j] = found[j]


@njit_fast
def look_up_backward_into(delta, x, turned, dwx):
    """dwx_jk = dwx_jk + Σ_r δ_rj [x_r = k]
    (r j), (r), (k j) -> (j k)
    """
    turned[:] = 0
    for r in range(x.shape[0]):
        row, sums = delta[r], turned[x[r]]
        for j in range(row.size):
            sums[j] += row[j]
    for j in range(dwx.shape[0]):
        for k in range(dwx.shape[1]):
            dwx[j, k] += turned[k, j]


class Rows(NamedTuple):
    """How the steps of a batch lie in memory; see `arrange_into`."""

    order: np.ndarray  # (n,) sequences from long to short
    counts: np.ndarray  # (t,) sequences that have a step t, up to the longest
    places: np.ndarray  # (r,) n · steps + t
    last: np.ndarray  # (n,) rows of the states
    ahead: list  # (t+1) rows of the steps before t


def arrange(lengths: np.ndarray, steps: int) -> Rows:
    """Return the layout of a batch of sequences of the given lengths.

    Parameters
    ----------
    lengths : ndarray of int64, shape (n,)
        From 0 to `steps`; trusted.
    steps : int
        Steps of the arrays, padding included.

    Returns
    -------
    Rows
    """
    longest = int(lengths.max(initial=0))
    order, last = np.empty((2, lengths.size), np.int64)
    counts, places = np.empty(steps, np.int64), np.empty(int(lengths.sum()), np.int64)
    arrange_into(lengths, steps, order, counts, places, last)
    counts = counts[:longest]
    return Rows(order, counts, places, last, list(accumulate(counts.tolist(), initial=0)))


@njit_fast
def reverse_into(counts, turn):
    """Say for each row which row it is when every sequence is read from its end
    (t) -> (r)
    """
    steps = counts.shape[0]
    begin = np.zeros(steps + 1, np.int64)
    for t in range(steps):
        begin[t + 1] = begin[t] + counts[t]
    length = steps
    for j in range(counts[0] if steps else 0):
        while counts[length - 1] <= j:
            length -= 1
        for t in range(length):
            turn[begin[t] + j] = begin[length - 1 - t] + j
