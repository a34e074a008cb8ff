"""Networks that predict the next symbol: one long sequence to learn from, and its continuation."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from dlbook import training
from dlbook.fast.sequences import arrange
from dlbook.nets.recurrent import Params
from dlbook.nets.rows import carry
from dlbook.optimization import Optimizer
from dlbook.rnn import outputs, sample_symbol, tracks
from dlbook.tools import shapes
from dlbook.tools.flat import fits, like

__all__ = ["Continues", "fit_stream"]


class Continues:
    """What a `RecurrentNetwork` can do that reads and predicts the same symbols."""

    def sample(
        self,
        params: Params,
        prompt: ArrayLike,
        length: int,
        rng: np.random.Generator,
        *,
        temperature: float = 1.0,
    ) -> np.ndarray:
        """Let the network continue a sequence of symbols: each one drawn becomes the next input.

        Parameters
        ----------
        params : Params
            A network whose outputs are the symbols it reads.
        prompt : array_like of int, shape (t,)
            What it reads first; at least one symbol.
        length : int
            How many symbols to draw.
        rng : numpy.random.Generator
            Draws them.
        temperature : float
            Scores are divided by it: below 1 the likely becomes likelier.

        Returns
        -------
        ndarray of int64, shape (length,)

        Raises
        ------
        TypeError, ValueError
            If the network does not read and predict the same symbols, or reads both ways, the
            prompt is empty or has unknown symbols, or the temperature is not above 0.
        """
        if self.bidirectional:
            raise ValueError("bidirectional is given: half of the cells read what is to be drawn")
        if not self.symbols or self.inputs != self.outputs or self.cost != "cross-entropy":
            raise ValueError("sampling needs a network that reads and predicts the same symbols")
        fits(params, self.layout)
        x = shapes.Axes().labels("prompt", prompt, "t", self.inputs)
        length = shapes.count("length", length, least=0)
        temperature = shapes.number("temperature", temperature, above=0)
        uniform = shapes.generator("rng", rng).random(length)
        top = params.wy.astype(float), params.by.astype(float)
        step, drawn = self._still(), np.empty(length, np.int64)
        for t in range(length):
            step.rows = arrange(np.array([len(x)]), len(x))
            *_, seen = self._climb(params, x, step)
            carry(step)
            drawn[t] = sample_symbol(
                outputs(seen[-1:].astype(float), *top)[0], uniform[t], temperature
            )
            x = drawn[t : t + 1]
        return drawn


def fit_stream(
    model: "Continues",
    params: Params,
    symbols: ArrayLike,
    optimizer: Optimizer,
    *,
    batch: int,
    steps: int,
    epochs: int = 1,
    clip: float = np.inf,
    callback: Callable[[Params], Any] | None = None,
) -> tuple[Params, np.ndarray]:
    """Train on one long sequence, read from beginning to end in pieces whose states are carried on.

    Parameters
    ----------
    model : RecurrentNetwork
        Reads symbols and predicts the next at each step.
    params : Params
        Where to start; left as it is.
    symbols : array_like of int, shape (r,)
        The sequence.
    optimizer : Optimizer
        With its rate or schedule.
    batch : int
        Tracks read side by side; see `tracks`.
    steps : int
        Length of a piece. Errors do not travel back beyond its beginning, states do.
    epochs : int
        How often the whole sequence is read.
    clip : float
        Largest norm of the gradient.
    callback : callable, optional
        Called with the parameters after each pass.

    Returns
    -------
    params : Params
        Those after the last step.
    losses : ndarray
        Mean loss of each piece, before its step.

    Raises
    ------
    FloatingPointError
        If a loss is no longer finite.
    """
    if not model.symbols or model.reads != "each":
        raise ValueError("reading on needs a network that reads symbols and is read at each step")
    shapes.count("epochs", epochs)
    x, y = tracks(symbols, batch)
    x, y, _ = model.check(params, (x, y))
    steps = min(shapes.count("steps", steps), x.shape[1])
    params, grads, work = like(params, params.flat.copy()), like(params), model.workspace(batch)
    slots, losses = optimizer.start(params.flat), []
    for _ in range(epochs):
        states = None
        for t in range(0, x.shape[1] - steps + 1, steps):
            piece = x[:, t : t + steps], y[:, t : t + steps], np.full(batch, steps)
            loss, states, _ = model.through_time(params, piece, states, grads, work)
            if not np.isfinite(loss):
                raise FloatingPointError(f"the loss of piece {len(losses) + 1} is {loss:g}")
            losses.append(loss)
            training.clip(grads.flat, clip)
            optimizer.update(params.flat, grads.flat, slots, len(losses))
        if callback is not None:
            callback(params)
    return params, np.array(losses)
