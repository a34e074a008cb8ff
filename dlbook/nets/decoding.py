"""How a network writes a sequence, one symbol at a time, greedily or with a beam.

Equations: `sequence_tasks`.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from dlbook.sequence_tasks import beam_search
from dlbook.tools import shapes
from dlbook.tools.flat import belong

__all__ = ["Decoding", "greedy", "of_so_many", "searched"]


def greedy(
    step: Callable, first: np.ndarray, begin: int, end: int, *, max_length: int
) -> np.ndarray:
    """Write the most probable symbol at each step, which is read at the next one.

    Parameters
    ----------
    step : callable
        ``step(state, symbols)`` takes states (n, …) and the last symbol of each of n sequences, and
        returns the logarithms of the probabilities of what comes next (n, v), and new states.
    first : ndarray, shape (n, …)
        States before the first step.
    begin, end : int
        The symbol read first, and the one that ends a sequence.
    max_length : int
        Longest sequence, the end included.

    Returns
    -------
    ndarray of int64, shape (n, u)
        What is written, with the end; −1 behind it.
    """
    shapes.count("max_length", max_length)
    state, symbols, out = first, np.full(len(first), begin), []
    done = np.zeros(len(first), bool)
    while len(out) < max_length and not done.all():
        logs, state = step(state, symbols)
        symbols = logs.argmax(axis=1)
        out.append(np.where(done, -1, symbols))
        done |= symbols == end
    return np.array(out).T


def of_so_many(step: Callable, count: int) -> Callable:
    """Return a step for at most `count` sequences, made of one for exactly so many."""

    def some(state, symbols):
        many = len(symbols)
        whole = np.zeros((count, *state.shape[1:]), state.dtype)
        whole[:many] = state
        logs, after = step(whole, np.resize(symbols, count))
        return logs[:many], after[:many]

    return some


def searched(
    model: Any, first: np.ndarray, step: Callable, width: int, length_penalty: float
) -> list[tuple[np.ndarray, float]]:
    """Search with a beam, from a state and a step for as many sequences as the beam is wide."""
    return beam_search(
        of_so_many(step, width),
        first[:1],
        model.begin,
        model.end,
        width=width,
        max_length=model.max_length,
        length_penalty=length_penalty,
    )


class Decoding:
    """What a model offers that has `stepper`: it reads a line and writes another.

    Attributes
    ----------
    inputs : int
        How many symbols there are to read.
    begin, end : int
        The symbol read first, and the one that ends what is written.
    max_length : int
        Symbols after which one gives up waiting for the end.
    """

    inputs: int
    begin: int
    end: int
    max_length: int

    def stepper(self, params: Any, x: ArrayLike, lengths: ArrayLike | None = None) -> tuple:
        """Return the state after reading lines, and a function that writes a step."""
        raise NotImplementedError(f"{type(self).__name__} has no stepper")

    def predict(
        self, params: Any, state: None, x: ArrayLike, lengths: ArrayLike | None = None
    ) -> np.ndarray:
        """Write the most probable symbol at each step, which is read at the next one.

        Parameters
        ----------
        params : NamedTuple
            The network.
        state : None
            There are no running statistics.
        x, lengths
            As in `stepper`.

        Returns
        -------
        ndarray of int64, shape (n, u)
            What is written, with the end; −1 behind it. u is at most `max_length`.
        """
        belong(self, params, state)
        first, step = self.stepper(params, x, lengths)
        return greedy(step, first, self.begin, self.end, max_length=self.max_length)

    def beam(
        self, params: Any, x: ArrayLike, width: int, length_penalty: float = 0.0
    ) -> list[tuple[np.ndarray, float]]:
        """Write one line with a beam; see `dlbook.sequence_tasks.beam_search`.

        Parameters
        ----------
        params : NamedTuple
            The network.
        x : array_like of int, shape (t,)
            The line to read.
        width : int
            Hypotheses kept.
        length_penalty : float
            See `beam_search`.
        """
        x = shapes.Axes().labels("x", x, "t", self.inputs)
        width = shapes.count("width", width)
        first, step = self.stepper(params, np.repeat(x[None], width, axis=0))
        return searched(self, first, step, width, length_penalty)
