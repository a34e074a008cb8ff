"""The game of two networks, played: turns, averages, and what to do when it diverges.

Equations: `gan`.
"""

from collections.abc import Callable
from math import isfinite
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from dlbook.backprop import Params, as_params
from dlbook.nets.gan import GAN, Players
from dlbook.nets.model import Diverged
from dlbook.optimization import Optimizer
from dlbook.tools import shapes
from dlbook.training import finite_copy

__all__ = ["Played", "Scores", "play"]


class Scores(NamedTuple):
    """What was measured at each step of a game."""

    discriminator: np.ndarray  # (steps,) its loss, without the penalty
    generator: np.ndarray  # (steps,)
    penalty: np.ndarray  # (steps,) zero where there is none


class Played(NamedTuple):
    """What a game gives back."""

    players: Players
    average: Params | None  # of the generator, where it was asked for
    history: Scores
    steps: int


def play(
    net: GAN,
    players: Players,
    x: ArrayLike,
    optimizers: tuple[Optimizer, Optimizer],
    rng: np.random.Generator,
    *,
    steps: int,
    batch: int,
    critic_steps: int = 1,
    average: float | None = None,
    watch: Callable[[int, Players], Any] | None = None,
    every: int = 1,
) -> Played:
    """Let both players learn in turns: the discriminator first, on a batch drawn with replacement.

    Parameters
    ----------
    net : GAN
        Who plays.
    players : Players
        Where to start; left as they are.
    x : array_like, shape (n, d)
        Real examples.
    optimizers : pair of Optimizer
        The generator's, and the discriminator's.
    rng : numpy.random.Generator
        Draws examples and noise.
    steps : int
        Steps of the generator.
    batch : int
        Examples of each kind in a step.
    critic_steps : int
        Steps of the discriminator before each one of the generator.
    average : float, optional
        Rate at which an average of the generator's weights follows them.
    watch : callable, optional
        ``watch(step, players)`` is called before the first step and after every `every` steps; the
        players are moving, so keep copies.
    every : int
        Steps between two calls.

    Returns
    -------
    Played

    Raises
    ------
    TypeError, ValueError
        If an argument is not what is described here, before any work.
    Diverged
        When a loss or a weight stops being finite; its ``params`` are the players after the step
        before, and ``layer`` says whose it was.
    """
    if not isinstance(net, GAN):
        raise TypeError(f"net is {shapes.shown(net)}, expected a GAN")
    x = net._examples(players, x)
    if not isinstance(optimizers, (tuple, list)) or len(optimizers) != 2:
        raise TypeError("optimizers is no pair: that of the generator, that of the discriminator")
    for i, optimizer in enumerate(optimizers):
        if not isinstance(optimizer, Optimizer):
            raise TypeError(f"optimizers[{i}] is {shapes.shown(optimizer)}, expected an Optimizer")
    shapes.generator("rng", rng)
    for name, number in (("steps", steps), ("batch", batch), ("critic_steps", critic_steps)):
        shapes.count(name, number)
    shapes.count("every", every)
    if average is not None:
        shapes.number("average", average, above=0, most=1)
    players, grads, work = net.like(players.flat.copy()), net.like(), net.workspace(batch)
    mean = players.generator.flat.copy()
    slots = [opt.start(part.flat) for opt, part in zip(optimizers, players[1:], strict=True)]
    good, history, done = players.flat.copy(), np.zeros((3, steps)), 0
    of = np.empty((batch, x.shape[1]), x.dtype)
    tau, mixed = None, net.penalty == "gradient"
    if watch is not None:
        watch(0, players)
    for t in range(1, steps + 1):
        for _ in range(critic_steps):
            done += 1
            np.take(x, rng.integers(len(x), size=batch), axis=0, out=of, mode="clip")
            if mixed:
                tau = rng.random(batch, dtype=net.dtype)
            z = net._noise(batch, rng)
            judged, price = net.discriminator_gradient(players, of, z, tau, grads, work)
            part, into = players.discriminator.flat, grads.discriminator.flat
            optimizers[1].update(part, into, slots[1], done)
        made = net.generator_gradient(players, net._noise(batch, rng), grads, work)
        optimizers[0].update(players.generator.flat, grads.generator.flat, slots[0], t)
        history[:, t - 1] = judged, made, price
        _sound(net, t, (judged, price, made), players, good)
        finite_copy(players.flat, good)
        if average is not None:
            mean += mean.dtype.type(average) * (players.generator.flat - mean)
        if watch is not None and t % every == 0:
            watch(t, players)
    kept = as_params(mean, net.generator) if average is not None else None
    return Played(players, kept, Scores(*history), steps)


def _sound(net, t, losses, players, good):
    """Stop with the last good players where a loss or a weight is not finite."""
    who = None
    for name, value in zip(("discriminator", "penalty", "generator"), losses, strict=True):
        if not isfinite(value):
            who, what = name, f"the loss of the {name} is {value:g}"
            if name == "penalty":
                what = f"the penalty is {value:g}"
            break
    if who is None and not isfinite(float(np.sum(players.flat, dtype=np.float64))):
        for name, part in (("generator", players[1]), ("discriminator", players[2])):
            if not np.isfinite(part.flat).all():
                who, what = name, f"the update leaves the {name} with NaN or infinity"
    if who is not None:
        raise Diverged(
            f"the game diverged in step {t}: {what}; try a smaller rate or a penalty. The players "
            f"after step {t - 1} are the params of this error",
            t,
            0,
            who,
            net.like(good.copy()),
        )
