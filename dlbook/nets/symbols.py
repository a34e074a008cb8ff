"""Networks that predict the next symbol: one long sequence to learn from, and its continuation."""

import numpy as np
from numpy.typing import ArrayLike

from dlbook.nets.rows import carry
from dlbook.rnn import Params, arrange, outputs, sample_symbol
from dlbook.tools import shapes
from dlbook.tools.flat import fits

__all__ = ["Continues"]


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
