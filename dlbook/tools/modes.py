"""Eight modes on a ring, and how to count those that samples reach."""

import numpy as np
from numpy.typing import ArrayLike

from dlbook.tools import shapes

__all__ = ["CENTRES", "SPREAD", "ring", "ring_judged"]

ANGLES = np.arange(8) * np.pi / 4
CENTRES = 2 * np.stack([np.cos(ANGLES), np.sin(ANGLES)], axis=1)  # a circle of radius 2
SPREAD = 0.05  # standard deviation of each mode, in both directions


def ring(n: int, rng: np.random.Generator) -> np.ndarray:
    """Return n points, (n, 2), each of a mode drawn with equal chances, as float32."""
    shapes.count("n", n)
    shapes.generator("rng", rng)
    at = CENTRES[rng.integers(len(CENTRES), size=n)]
    return (at + SPREAD * rng.standard_normal((n, 2))).astype(np.float32)


def ring_judged(x: ArrayLike) -> tuple[int, float]:
    """Return how many modes points reach, and which share of the points is good.

    Parameters
    ----------
    x : array_like, shape (n, 2)
        Samples.

    Returns
    -------
    tuple of int and float
        Centres that are the nearest one to 2 % of the points or more; points less than four
        standard deviations from one.
    """
    x = shapes.Axes().floats("x", x, "n 2") if np.ndim(x) == 2 else shapes.array("x", x)
    if x.ndim != 2 or x.shape[1] != 2:
        raise ValueError(f"x has shape {x.shape}, expected (n, 2)")
    away = np.linalg.norm(x[:, None].astype(float) - CENTRES, axis=2)
    counts = np.bincount(away.argmin(axis=1), minlength=len(CENTRES))
    return int(np.sum(counts >= 0.02 * len(x))), float(np.mean(away.min(axis=1) < 4 * SPREAD))
