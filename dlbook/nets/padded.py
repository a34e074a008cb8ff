"""A network of padded sequences: of each only the first steps count."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from dlbook.nets.network import Network, joined, pieces
from dlbook.nets.sequences import cleared
from dlbook.tools import shapes
from dlbook.tools.flat import belong, fits

__all__ = ["PaddedNetwork"]


def counted(lengths, steps):
    """Return which steps of each sequence count, (n, t)."""
    return np.arange(steps) < lengths[:, None]


@dataclass(frozen=True)
class PaddedNetwork(Network):
    """A `Network` of sequences of unequal length, which all have room for the longest.

    Data are (x, y, lengths): x is (n, t, m), or (n, t) where it is symbols, and what stands in x
    behind the first ``lengths`` steps is not looked at. Layers find the lengths in
    `Step.lengths`; those that know none treat padding, which is zero, like other steps.

    A network that gives (t, j) has targets for each step; padding has none, and the cost is the
    mean over all steps that count. One that gives (j,) has a target for each sequence.

    Parameters
    ----------
    input : tuple of int
        (t, m), or (t,) with `symbols`.
    net, cost, symbols, dtype
        As for `Network`.
    """

    def __post_init__(self):
        super().__post_init__()
        wanted = 1 if self.symbols else 2
        if len(self.input) != wanted:
            form = "(t,), steps that are symbols" if self.symbols else "(t, m)"
            raise ValueError(f"input is {self.input}, expected {form}")
        each = len(self.output) == 2 and self.output[0] == self.input[0]
        if not (each or len(self.output) == 1) or not isinstance(self.output[0], int):
            raise ValueError(
                f"the network gives {self.output}, expected ({self.input[0]}, j) for each step "
                "or (j,) for each sequence"
            )

    @property
    def each(self) -> bool:
        """Whether each step has a target."""
        return len(self.output) == 2

    def check(self, params: Any, data: tuple) -> tuple[np.ndarray, ...]:
        """Return examples, targets and lengths, checked, with zeros in the padding.

        Parameters
        ----------
        params : Views
            Held against the layout of this model.
        data : tuple (x, y, lengths)
            Lengths reach from 0 to t.
        """
        if not isinstance(data, tuple) or len(data) != 3:
            raise TypeError("data is not (x, y, lengths): examples, targets and lengths")
        fits(params, self.layout)
        axes = shapes.Axes()
        x, lengths = self._sequences(axes, data[0], data[2])
        y = data[1]
        if self.each:
            y = cleared(shapes.array("y", y), ~counted(lengths, self.input[0]))
        return x, self.cost.check(axes, y, self.output, self.dtype), lengths

    def _sequences(self, axes, x, lengths):
        """Return checked examples and lengths; all steps count where no lengths are given."""
        x, steps = shapes.array("x", x), self.input[0]
        if lengths is None:
            lengths = np.full(x.shape[:1], steps)
        lengths = axes.labels("lengths", lengths, "n", steps + 1)
        return self._examples(axes, cleared(x, ~counted(lengths, steps))), lengths

    def terms(self, batch: tuple) -> int:
        """Return how many targets there are in a checked batch."""
        return int(batch[2].sum()) if self.each else len(batch[2])

    def _entered(self, step, batch):
        """Return input and targets of a checked batch; set the lengths in the step."""
        x, y, step.lengths = batch
        return x, (y, step.lengths)

    def _cost_of(self, z, target):
        """Turn what the network gives into ∂C/∂z, zero in the padding; return C."""
        y, lengths = target
        if not self.each:
            return self.cost.into(z, y)
        counts = counted(lengths, z.shape[1])
        rows = z[counts]
        loss = self.cost.into(rows, y[counts]) if len(rows) else 0.0
        z[:] = 0
        z[counts] = rows
        return loss

    def outputs(
        self, params: Any, state: Any, x: np.ndarray, lengths: np.ndarray | None = None
    ) -> np.ndarray:
        """Return what the network gives for checked examples, in inference.

        Parameters
        ----------
        params, state : Views
            The network.
        x : ndarray, shape (n, t, …)
            Examples.
        lengths : ndarray of int64, shape (n,), optional
            How many steps of each count; all where not given.

        Returns
        -------
        ndarray, shape (n, t, j) or (n, j)
            What stands in the padding means nothing.
        """
        belong(self, params, state)
        p, held, found = self._tree(params), self._held(state), []
        lengths = np.full(len(x), self.input[0]) if lengths is None else lengths
        for part, ends in zip(pieces(x), pieces(lengths), strict=True):
            step = self._still(held)
            step.lengths = ends
            found.append(self.net.forward(p, part, step)[0])
        return joined(found)

    def loss(self, params: Any, state: Any, batch: tuple) -> float:
        """Return the mean cost of checked data, in inference and without penalties."""
        x, y, lengths = batch
        return float(self._cost_of(self.outputs(params, state, x, lengths), (y, lengths)))

    def predict(
        self, params: Any, state: Any, x: ArrayLike, lengths: ArrayLike | None = None
    ) -> np.ndarray:
        """Return what the network says of new sequences, or of each of their steps.

        Parameters
        ----------
        params, state : Views
            The network.
        x : array_like, shape (n, t, …)
            Sequences.
        lengths : array_like of int, shape (n,), optional
            How many steps of each count; all where not given. What is said of others means nothing.
        """
        x, lengths = self._sequences(shapes.Axes(), x, lengths)
        return self.cost.predict(self.outputs(params, state, x, lengths))
