"""Vectors of words, learned by skip-gram with negative sampling.

Equations: `embeddings`.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from dlbook.embeddings import alias_table, keep_probability, noise
from dlbook.fast.skipgram import LANES, learn_round
from dlbook.tools import shapes

__all__ = ["Vectors", "train_skipgram"]

ROUNDS = 20  # an epoch has so many rounds where it is learned in chunks


class Vectors(NamedTuple):
    """What `train_skipgram` has learned."""

    words: np.ndarray  # (v, d), the vectors that are used
    contexts: np.ndarray  # (v, d), the vectors of words as contexts
    pairs: int  # pairs of word and context that were met, each with its negatives


def train_skipgram(
    ids: ArrayLike,
    starts: ArrayLike,
    size: int | None = None,
    *,
    rng: np.random.Generator,
    dimension: int = 50,
    window: int = 5,
    negatives: int = 5,
    rate: float = 0.05,
    epochs: int = 20,
    subsample: float | None = 1e-3,
    power: float = 0.75,
    chunks: int = 1,
) -> Vectors:
    """Learn vectors of words by skip-gram with negative sampling.

    Each word that is kept meets the words up to a distance which is drawn from 1 … `window`, within
    its paragraph, and each pair makes one step with noise of its own. The rate falls linearly to
    zero. With one chunk all steps are taken one after the other. With more of them the paragraphs
    of a round are cut into so many parts of about equal length, which learn side by side from the
    same vectors, and what they change is added; the result depends on the seed and on the number
    of chunks, not on that of threads.

    Parameters
    ----------
    ids : array_like of shape (t,)
        Numbers of words, one paragraph after the other (`dlbook.tools.text.Vocabulary.encode`).
    starts : array_like of shape (p + 1,)
        Where paragraphs begin, and where the last one ends.
    size : int, optional
        How many words there are; the largest number and one by default.
    rng : numpy.random.Generator
        Draws the first vectors, and a seed for each part of each round.
    dimension, window, negatives, epochs : int
        Numbers of a vector, largest distance, drawn words per pair, times to read the text.
    rate : float
        Learning rate at the beginning.
    subsample : float, optional
        The share of the text from which on a word is left out at times; None keeps all.
    power : float
        The noise is drawn in proportion to counts to this power.
    chunks : int
        Parts that learn side by side.

    Returns
    -------
    Vectors
        In float32.

    Raises
    ------
    TypeError, ValueError
        For numbers that are no words, starts that do not fit, settings out of range.

    References
    ----------
    Mikolov et al., NIPS 26 (2013), for negative sampling.
    """
    axes = shapes.Axes()
    ids = axes.labels("ids", ids, "t", None if size is None else shapes.count("size", size))
    V = int(ids.max()) + 1 if size is None else size
    starts = axes.labels("starts", starts, "p", len(ids) + 1)
    if len(starts) < 2 or starts[0] != 0 or starts[-1] != len(ids) or (np.diff(starts) < 0).any():
        raise ValueError(f"starts has to rise from 0 to {len(ids)}, the length of ids")
    shapes.generator("rng", rng)
    D, window = shapes.count("dimension", dimension), shapes.count("window", window)
    K, chunks = shapes.count("negatives", negatives), shapes.count("chunks", chunks, most=64)
    epochs, power = shapes.count("epochs", epochs), shapes.number("power", power, least=0)
    rate = shapes.number("rate", rate, above=0)

    counts = np.bincount(ids, minlength=V).astype(np.float64)
    stay, q, there = np.ones(V), np.zeros(V), counts > 0
    if subsample is not None:
        limit = shapes.number("subsample", subsample, above=0)
        stay[there] = keep_probability(counts[there], limit)
    q[there] = noise(counts[there], power)
    share, other = alias_table(q)
    table = in_32_bits(np.minimum(share, 1)), other
    width = -(-D // LANES) * LANES
    W, C = np.zeros((2, V, width), np.float32)
    W[:, :D] = (rng.random((V, D)) - 0.5) / D
    room = np.empty((2, chunks if chunks > 1 else 0, V, width), np.float32)
    rounds = epochs * (ROUNDS if chunks > 1 else 1)
    parts = borders_of(starts, chunks * rounds // epochs)
    falling, pairs = rate * (1 - np.arange(rounds + 1) / rounds), 0
    for r in range(rounds):
        at = r % (rounds // epochs) * chunks
        seeds = rng.integers(2**64, size=chunks, dtype=np.uint64)
        pairs += learn_round(
            ids, starts, parts[at : at + chunks + 1], in_32_bits(stay), table, W, C, room,
            window, K, falling[r : r + 2], seeds,
        )  # fmt: skip
    return Vectors(W[:, :D].copy(), C[:, :D].copy(), pairs)


def in_32_bits(probability):
    """Return 2³² times a probability as whole numbers."""
    return np.rint(np.asarray(probability) * 2.0**32).astype(np.uint64)


def borders_of(starts, parts):
    """Return the paragraphs at which so many parts of about equal length begin and end."""
    wanted = starts[-1] * np.arange(1, parts) / parts
    return [0, *np.searchsorted(starts, wanted).tolist(), len(starts) - 1]
