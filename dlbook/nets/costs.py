"""Costs: what stands on top of a network.

A cost turns what the network gives into its own gradient, in place, and returns the mean over the
examples; for sequences, over all steps. Equations: `linear_classification`, `autoencoders`.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from dlbook.fast.losses import (
    bernoulli_into,
    cross_entropy_rows,
    gaussian_into,
    softmax_cross_entropy_into,
    square_rows,
)
from dlbook.nets.layer import Shape, features, rows_of
from dlbook.tools import elementary, shapes

__all__ = ["Bernoulli", "Cost", "Gaussian", "MeanSquare", "SoftmaxCrossEntropy", "Together"]

AXES = "nabcdefg"  # of examples and what they consist of


@dataclass(frozen=True)
class Cost:
    """What all costs offer."""

    def check(self, axes: shapes.Axes, y: Any, s: Shape, dtype: str) -> np.ndarray:
        """Return checked targets for a network that gives examples of shape s."""
        raise NotImplementedError

    def into(self, z: Any, y: Any) -> float:
        """Turn z into ∂C/∂z; return C."""
        raise NotImplementedError

    def rows_into(self, z: np.ndarray, y: np.ndarray, share: float) -> float:
        """Do the same for some of all rows, each of which counts `share`; there may be none."""
        if not len(z):
            return 0.0
        loss = self.into(z, y)
        z *= share * len(z)
        return loss * share * len(z)

    def predict(self, z: Any) -> np.ndarray:
        """Return what the network's answer z means; z may be lost."""
        return z


@dataclass(frozen=True)
class SoftmaxCrossEntropy(Cost):
    """−log of the probability of the right class; the network gives scores of the classes."""

    def check(self, axes, y, s, dtype):
        *inner, classes = features(self, s)
        for axis, n in zip(AXES[1:], inner, strict=False):
            axes.sizes[axis] = (n, "what the network gives")
        return axes.labels("y", y, " ".join(AXES[: len(s)]), classes)

    def into(self, z, y):
        return softmax_cross_entropy_into(rows_of(z), y if y.ndim == 1 else y.reshape(-1))

    def rows_into(self, z, y, share):
        return cross_entropy_rows(z, y, share)

    def predict(self, z):
        return np.argmax(z, axis=-1)


@dataclass(frozen=True)
class _OfNumbers(Cost):
    """A cost whose targets have the form of what the network gives."""

    def check(self, axes, y, s, dtype):
        return targets(axes, y, features(self, s), dtype)

    def _rows(self, z, y):
        return (z, y) if z.ndim == 2 else (z.reshape(len(z), -1), y.reshape(len(y), -1))


def targets(axes, y, s, dtype):
    """Return checked targets of the shape s, images with their channels moved to the end."""
    outside = s if len(s) != 3 else (s[2], s[0], s[1])
    for axis, n in zip(AXES[1:], outside, strict=False):
        axes.sizes[f"{axis}"] = (n, "what the network gives")
    y = axes.floats("y", y, " ".join(AXES[: len(s) + 1])).astype(dtype)
    return y if len(s) != 3 else np.ascontiguousarray(y.transpose(0, 2, 3, 1))


@dataclass(frozen=True)
class Gaussian(_OfNumbers):
    """½ Σ (z − y)², the negative log-likelihood of normal numbers of variance 1, up to a constant."""

    def into(self, z, y):
        return gaussian_into(*self._rows(z, y))

    def rows_into(self, z, y, share):
        return square_rows(z, y, share / 2)


@dataclass(frozen=True)
class MeanSquare(_OfNumbers):
    """(z − y)², of which the mean over all numbers is taken, and not only over the examples."""

    def into(self, z, y):
        z, y = self._rows(z, y)
        return self.rows_into(z, y, 1 / len(z))

    def rows_into(self, z, y, share):
        return square_rows(z, y, share / z.shape[1])


@dataclass(frozen=True)
class Bernoulli(_OfNumbers):
    """−Σ (y log σ(z) + (1 − y) log(1 − σ(z))); targets lie in [0, 1], z are logits."""

    def check(self, axes, y, s, dtype):
        y = super().check(axes, y, s, dtype)
        if y.min() < 0 or y.max() > 1:
            raise ValueError(f"y reaches from {y.min():g} to {y.max():g}, expected 0 … 1")
        return y

    def into(self, z, y):
        return bernoulli_into(*self._rows(z, y))

    def predict(self, z):
        elementary.sigmoid(z, z)
        return z


@dataclass(frozen=True, init=False)
class Together(Cost):
    """The sum of several costs, one for each head of a network; targets are a tuple.

    Parameters
    ----------
    *costs : Cost
        In the order of the heads.
    """

    costs: tuple[Cost, ...]

    def __init__(self, *costs: Cost):
        object.__setattr__(self, "costs", costs)

    def check(self, axes, y, s, dtype):
        if not isinstance(y, tuple) or len(y) != len(self.costs):
            raise TypeError(f"y is {shapes.shown(y)}, expected a tuple of {len(self.costs)}")
        n = axes.sizes.get("n")
        found = []
        for cost, part, shape in zip(self.costs, y, s, strict=True):
            own = shapes.Axes()
            own.sizes["n"] = n
            found.append(cost.check(own, part, shape, dtype))
        return tuple(found)

    def into(self, z, y):
        return sum(cost.into(a, b) for cost, a, b in zip(self.costs, z, y, strict=True))

    def predict(self, z):
        return tuple(cost.predict(a) for cost, a in zip(self.costs, z, strict=True))
