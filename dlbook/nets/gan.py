"""Generative adversarial networks: two networks, and the game between them.

Equations: `gan`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from dlbook.backprop import Params, as_params, parameter_count
from dlbook.fast.activations import KINDS
from dlbook.fast.adversarial import LOSSES, PENALTIES, critic_into, maker_into
from dlbook.fast.dense import MANY
from dlbook.fast.memory import Memory
from dlbook.fast.stack import stack_backward, stack_forward
from dlbook.matmul import DEPTH
from dlbook.tools import shapes
from dlbook.training import he, xavier

__all__ = ["GAN", "Players"]


class Players(NamedTuple):
    """Parameters of a `GAN`, or their gradients; all are views of ``flat``."""

    flat: np.ndarray
    generator: Params
    discriminator: Params


@dataclass(frozen=True)
class GAN:
    """Two networks of dense layers, one that makes examples and one that scores them.

    Parameters
    ----------
    generator : sequence of int
        Sizes from the noise to an example. Hidden layers are rectifiers.
    discriminator : sequence of int
        Sizes from an example to 1, the score, which has no activation. Hidden layers are leaky
        rectifiers.
    loss : {"non-saturating", "saturating", "wasserstein"}
        Of the generator; with "wasserstein" the discriminator is a critic.
    penalty : {None, "r1", "gradient"}
        On the slope of the score: half its square at real examples, or the square of what its
        length lacks to 1, at points between real and generated ones.
    gamma : float
        Strength of the penalty.
    output : {"sigmoid", "linear"}
        Of the generator.
    leak : float
        Slope of the discriminator's rectifiers below zero.
    dtype : {"float32", "float64"}
        Of parameters and data.

    Raises
    ------
    TypeError, ValueError
        If one of them is not what is described here.

    Examples
    --------
    >>> net = GAN((2, 64, 64, 2), (2, 64, 64, 1), output="linear")
    >>> players = net.init(np.random.default_rng(0))
    >>> net.sample(players, 5, np.random.default_rng(1)).shape
    (5, 2)
    """

    generator: tuple[int, ...]
    discriminator: tuple[int, ...]
    loss: str = "non-saturating"
    penalty: str | None = None
    gamma: float = 0.0
    output: str = "sigmoid"
    leak: float = 0.2
    dtype: str = "float32"

    def __post_init__(self):
        """Check all of them at once."""
        for name in ("generator", "discriminator"):
            sizes = getattr(self, name)
            if not isinstance(sizes, (Sequence, np.ndarray)) or len(sizes) < 2:
                raise ValueError(f"{name} is {sizes!r}, expected two sizes or more: (2, 64, 2)")
            found = tuple(shapes.count(f"{name}[{i}]", n) for i, n in enumerate(sizes))
            object.__setattr__(self, name, found)
        if self.discriminator[0] != self.generator[-1] or self.discriminator[-1] != 1:
            raise ValueError(
                f"discriminator is {self.discriminator}, expected sizes from {self.generator[-1]}, "
                "an example of the generator, to 1"
            )
        shapes.choice("loss", self.loss, LOSSES)
        shapes.choice("output", self.output, ("sigmoid", "linear"))
        shapes.choice("dtype", self.dtype, ("float32", "float64"))
        shapes.number("leak", self.leak, least=0)
        strength = shapes.number("gamma", self.gamma, least=0)
        if self.penalty is not None:
            shapes.choice("penalty", self.penalty, PENALTIES)
        elif strength:
            raise ValueError(f"gamma is {self.gamma}, and no penalty is chosen")

    def init(self, rng: np.random.Generator) -> Players:
        """Draw the first parameters: weights of He below rectifiers, of Xavier below the ends."""
        shapes.generator("rng", rng)
        players = self._players(np.zeros(sum(self._counts), self.dtype))
        for part, slope in ((players.generator, 0.0), (players.discriminator, self.leak)):
            for w in part.w[2:-1]:
                w[:] = he(w.shape, rng, slope=slope, dtype=self.dtype)
            part.w[-1][:] = xavier(part.w[-1].shape, rng, dtype=self.dtype)
        return players

    @cached_property
    def _counts(self):
        """Numbers of both players."""
        return tuple(parameter_count(sizes) for sizes in (self.generator, self.discriminator))

    def _players(self, flat):
        """Return the views of a flat vector."""
        first = self._counts[0]
        return Players(
            flat,
            as_params(flat[:first], self.generator),
            as_params(flat[first:], self.discriminator),
        )

    def like(self, flat: np.ndarray | None = None) -> Players:
        """Return players over a flat vector, or over zeros, for gradients."""
        return self._players(np.zeros(sum(self._counts), self.dtype) if flat is None else flat)

    @cached_property
    def _tables(self):
        """Return for both networks what `dlbook.fast.stack` wants: a table, and slopes."""
        found = []
        ends = ((self.generator, "relu", self.output), (self.discriminator, "leaky-relu", "linear"))
        for sizes, inside, end in ends:
            rows, at = [], 0
            for k, j in pairwise(sizes):
                kind = end if len(rows) == len(sizes) - 2 else inside
                rows.append((j, k, at, KINDS.index(kind)))
                at += j * (k + 1)
            found.append((np.array(rows), np.full(len(rows), self.leak)))
        return found

    def workspace(self, batch: int) -> Memory:
        """Return the memory for steps of at most `batch` examples."""
        shapes.count("batch", batch)
        return Memory(self.dtype)

    def _rooms(self, n, work):
        """Return the arrays of a step of n examples: the generator's, the critic's, panels."""
        made, judged = sum(self.generator[1:]), sum(self.discriminator[1:])
        d, widest = self.generator[-1], max(self.discriminator)
        array = work.array
        mine = array("g a", n * made), array("g da", n * (made - d)), array("fake dx", n, d)
        memory = (
            array("a", n * judged),
            array("delta", n * judged),
            array("e", n * judged),
            array("ds", n),
            array("g", n, d),
            array("v", n, d),
            array("mixed", n * widest),
            array("between", n, d),
        )
        factors = tuple(
            factor
            for k, j in (*pairwise(self.generator), *pairwise(self.discriminator))
            for factor in ((k, j), (j, k), (min(n, max(MANY, DEPTH)), k))
        )
        return mine, memory, work.panels(*factors)

    def _made(self, generator, z, mine, panels):
        """Return examples for noise, in memory."""
        table, slopes = self._tables[0]
        stack_forward(generator.flat, table, slopes, z, mine[0], panels)
        return mine[0][-len(z) * self.generator[-1] :].reshape(len(z), -1)

    def discriminator_gradient(
        self, players: Players, real: np.ndarray, z: np.ndarray, tau: Any, grads: Players, work: Any
    ) -> tuple[float, float]:
        """Overwrite the gradients of the discriminator's loss and penalty.

        Parameters
        ----------
        players : Players
            Of this model.
        real : ndarray, shape (n, d)
            Real examples, contiguous and of the model's dtype; not checked.
        z : ndarray, shape (n, k)
            As much noise.
        tau : ndarray, shape (n,), or None
            Places of the points between, from 0, generated, to 1, real; for the gradient penalty.
        grads : Players
            Where the gradient is written; the generator's are left alone.
        work : Memory
            As `workspace` returns it.

        Returns
        -------
        tuple of float
            The loss, and the penalty.
        """
        mine, memory, panels = self._rooms(len(real), work)
        fake = self._made(players.generator, z, mine, panels)
        kind = -1 if self.penalty is None else PENALTIES.index(self.penalty)
        return critic_into(
            players.discriminator.flat,
            *self._tables[1],
            real,
            fake,
            memory[3] if tau is None else tau,
            LOSSES.index(self.loss),
            kind,
            float(self.gamma),
            memory,
            panels,
            grads.discriminator.flat,
        )

    def generator_gradient(
        self, players: Players, z: np.ndarray, grads: Players, work: Any
    ) -> float:
        """Overwrite the gradient of the generator's loss; return the loss.

        Parameters
        ----------
        players, z, grads, work
            As for `discriminator_gradient`, whose part of the gradients is left alone.
        """
        mine, memory, panels = self._rooms(len(z), work)
        fake, (table, slopes) = self._made(players.generator, z, mine, panels), self._tables[0]
        a, delta, _, ds, *_ = memory
        flat, dx = players.discriminator.flat, mine[2]
        loss = maker_into(
            flat, *self._tables[1], fake, LOSSES.index(self.loss), a, delta, ds, panels, dx
        )
        flat, into = players.generator.flat, grads.generator.flat
        none = dx[:0]
        stack_backward(flat, table, slopes, z, mine[0], dx, mine[1], panels, into, True, none)
        return loss

    def generate(self, players: Players | Params, z: ArrayLike) -> np.ndarray:
        """Return the examples (n, d) that the generator makes of noise (n, k).

        Parameters
        ----------
        players : Players or Params
            Both players, or a generator alone, such as an average.
        z : array_like, shape (n, k)
            Noise.
        """
        axes = shapes.Axes()
        axes.sizes["k"] = (self.generator[0], "the noise")
        z = axes.floats("z", z, "n k").astype(self.dtype, copy=False)
        generator = players.generator if isinstance(players, Players) else players
        if not isinstance(generator, Params) or generator.flat.shape != self._counts[:1]:
            raise ValueError("players are not those of this model, as init or play return them")
        mine, _, panels = self._rooms(len(z), Memory(self.dtype))
        return self._made(generator, np.ascontiguousarray(z), mine, panels).copy()

    def sample(self, players: Players | Params, n: int, rng: np.random.Generator) -> np.ndarray:
        """Return n examples (n, d), made of noise from N(0, I)."""
        shapes.count("n", n)
        shapes.generator("rng", rng)
        return self.generate(players, self._noise(n, rng))

    def _noise(self, n, rng):
        """Draw noise."""
        return rng.standard_normal((n, self.generator[0]), dtype=self.dtype)

    def score(self, players: Players, x: ArrayLike) -> np.ndarray:
        """Return the scores (n,) of examples (n, d); their sigmoids are the probabilities."""
        x = self._examples(players, x)
        _, memory, panels = self._rooms(len(x), Memory(self.dtype))
        stack_forward(players.discriminator.flat, *self._tables[1], x, memory[0], panels)
        return memory[0][-len(x) :].copy()

    def _examples(self, players, x):
        """Return checked examples."""
        if not isinstance(players, Players) or players.flat.shape != (sum(self._counts),):
            raise ValueError("players are not those of this model, as init or play return them")
        axes = shapes.Axes()
        axes.sizes["d"] = (self.generator[-1], "the generator")
        return np.ascontiguousarray(axes.floats("x", x, "n d").astype(self.dtype, copy=False))
