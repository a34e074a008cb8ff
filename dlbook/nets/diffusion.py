"""A network that takes noise away, and what it makes out of nothing but noise.

Equations: `diffusion`.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from dlbook.backprop import as_params
from dlbook.fast.noising import TARGETS, noise_into
from dlbook.fast.normal import normals
from dlbook.nets.containers import Sequential
from dlbook.nets.costs import Cost, MeanSquare
from dlbook.nets.layers import Activation, Dense
from dlbook.nets.network import Composition, joined, pieces
from dlbook.tools import shapes
from dlbook.tools.flat import belong, fits

__all__ = ["Denoiser"]

METHODS = ("ddim", "ancestral", "euler", "heun")
KINDS = ("silu", "relu", "tanh", "sigmoid", "gelu")
NEAR = 0.99  # where the prediction of noise begins: at u = 1 it says nothing of the image


@dataclass(frozen=True)
class Denoiser(Composition):
    """Dense layers that see an example with noise in it, how much there is, and of which class it is.

    In training a time u between 0 and 1 and noise are drawn anew for each example of each batch.
    The network gets the noised example, sines and cosines of the angle φ = πu/2, and a 1 at the
    place of the class, which is left out with the probability `drop`.

    Parameters
    ----------
    sizes : sequence of int
        Numbers of an example, neurons of the hidden layers, numbers of an example.
    classes : int, optional
        How many classes there are; where not given, examples have none.
    target : {"v", "noise", "image", "velocity"}
        What is predicted. The first three are for x_u = cos φ x_0 + sin φ ε; with "velocity" the
        path is straight, x_u = (1 − u) x_0 + u ε, and the target ε − x_0.
    drop : float
        Probability with which the class is left out in training, so that the network learns to do
        without.
    waves : int
        Sines, and as many cosines, of φ, 2φ, 4φ, …
    activation : {"silu", "relu", "tanh", "sigmoid", "gelu"}
        Of the hidden layers.
    dtype : {"float32", "float64"}
        Of parameters and data.

    Raises
    ------
    TypeError, ValueError
        If one of them is not what is described here.

    Examples
    --------
    >>> net = Denoiser((64, 128, 128, 64), classes=10)
    >>> params = net.init(np.random.default_rng(0))
    >>> net.sample(params, 3, np.random.default_rng(1), classes=[4, 0, 4]).shape
    (3, 64)
    """

    sizes: tuple[int, ...]
    classes: int | None = None
    target: str = "v"
    drop: float = 0.15
    waves: int = 4
    activation: str = "silu"
    dtype: str = "float32"

    def __post_init__(self):
        """Check all of them at once."""
        if not isinstance(self.sizes, (Sequence, np.ndarray)) or len(self.sizes) < 2:
            raise ValueError(f"sizes is {self.sizes!r}, expected two or more: (64, 128, 64)")
        found = tuple(shapes.count(f"sizes[{i}]", n) for i, n in enumerate(self.sizes))
        object.__setattr__(self, "sizes", found)
        if found[0] != found[-1]:
            raise ValueError(f"sizes is {found}; the last is that of an example, like the first")
        if self.classes is not None:
            shapes.count("classes", self.classes)
        shapes.choice("target", self.target, TARGETS)
        shapes.number("drop", self.drop, least=0, most=1)
        shapes.count("waves", self.waves)
        shapes.choice("activation", self.activation, KINDS)
        shapes.choice("dtype", self.dtype, ("float32", "float64"))

    @cached_property
    def input(self) -> tuple[int, ...]:
        """Shape of what the first layer gets, an example with waves and classes."""
        return (self.sizes[0] + 2 * self.waves + (self.classes or 0),)

    @cached_property
    def net(self) -> Sequential:
        """The layers."""
        hidden = ((Dense(n), Activation(self.activation)) for n in self.sizes[1:-1])
        return Sequential(
            *(x for pair in hidden for x in pair), Dense(self.sizes[-1], initial="small")
        )

    @cached_property
    def cost(self) -> Cost:
        """What is made small."""
        return MeanSquare()

    def _params(self):
        """Return parameters that are all zero."""
        return as_params(super()._params().flat, (*self.input, *self.sizes[1:]))

    def check(self, params: Any, data: tuple) -> tuple[np.ndarray, ...]:
        """Return examples (n, d), checked and of the dtype of the parameters, and their classes (n,).

        `data` is (x, y), or (x,) where there are no classes.
        """
        wanted = "examples and classes, (x, y)" if self.classes else "examples, (x,)"
        if not isinstance(data, tuple) or len(data) != 1 + bool(self.classes):
            raise TypeError(f"data is not a tuple of {wanted}")
        fits(params, self.layout)
        axes = shapes.Axes()
        x = self._rows(axes, data[0])
        return (x, axes.labels("y", data[1], "n", self.classes)) if self.classes else (x,)

    def _rows(self, axes, x):
        """Return checked examples, with noise or without."""
        axes.sizes["d"] = (self.sizes[0], "the network's examples")
        return axes.floats("x", x, "n d").astype(self.dtype, copy=False)

    def _entered(self, step, batch):
        """Draw times, noise, and whose class is left out; return what the network gets, and the target."""
        x, y = batch[0], batch[-1]
        training = step.all.training
        rng = step.rng if training else np.random.default_rng(0)
        u = rng.random(len(x), dtype=x.dtype)
        want, into = step.array("want", *x.shape), step.array("into", len(x), *self.input)
        normals(rng, want)
        kept = np.zeros(len(x), np.bool_)
        if self.classes:
            kept = rng.random(len(x), dtype=x.dtype) >= self.drop * training
        else:
            y = kept
        noise_into(x, y, u, kept, self.waves, TARGETS.index(self.target), want, into)
        return into, want

    def loss(self, params: Any, state: None, batch: tuple) -> float:
        """Return the mean square of checked data, with times and noise of a fixed seed, classes given."""
        belong(self, params, state)
        into, want = self._entered(self._still(), batch)
        return float(self.cost.into(self.outputs(params, state, into), want))

    def predict(
        self, params: Any, state: None, x: ArrayLike, u: float, classes: ArrayLike | None = None
    ) -> np.ndarray:
        """Return what the network predicts, (n, d): its target, for noised examples.

        Parameters
        ----------
        params, state : Params, None
            The network.
        x : array_like, shape (n, d)
            Examples with the noise of time u in them.
        u : float
            Time, 0 ≤ u ≤ 1, the same for all.
        classes : array_like of int, shape (n,), optional
            Their classes; where not given, the network is told none.
        """
        belong(self, params, state)
        axes = shapes.Axes()
        x = self._rows(axes, x)
        u = shapes.number("u", u, least=0, most=1)
        return self._ask(self._tree(params), self._filled(axes, x, classes), x, u)

    def _filled(self, axes, x, classes):
        """Return what the network gets for each of these, its classes filled in, the rest not yet."""
        into = np.zeros((len(x), *self.input), self.dtype)
        if classes is not None:
            if not self.classes:
                raise ValueError("classes are given, and the network knows none")
            axes.sizes.setdefault("n", (len(x), "n"))
            y = axes.labels("classes", classes, "n", self.classes)
            into[np.arange(len(x)), self.input[0] - self.classes + y] = 1
        return into

    def _ask(self, p, into, x, u):
        """Return what the network says of x at time u."""
        D, K = self.sizes[0], self.waves
        angles = np.pi / 2 * u * 2.0 ** np.arange(K)
        into[:, :D] = x
        into[:, D : D + K], into[:, D + K : D + 2 * K] = np.sin(angles), np.cos(angles)
        step = self._still()
        return joined([self.net.forward(p, part, step)[0] for part in pieces(into)])

    def denoise(
        self,
        params: Any,
        x: ArrayLike,
        u: float,
        classes: ArrayLike | None = None,
        guidance: float = 0.0,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the image and the noise, both (n, d), that the network sees in noised examples.

        Parameters
        ----------
        params : Params
            The network.
        x : array_like, shape (n, d)
            Examples with the noise of time u in them.
        u : float
            Time: 0 < u < 1, and its ends where the target allows them.
        classes : array_like of int, shape (n,), optional
            Their classes.
        guidance : float
            Strength w: 1 + w times what is predicted with the class, less w times what without.
        """
        fits(params, self.layout)
        axes = shapes.Axes()
        x = self._rows(axes, x)
        u = shapes.number("u", u, least=0, most=1)
        seen = self._guided(params, axes, x, classes, guidance)
        return self._both(seen(x, u), x, u)

    def _guided(self, params, axes, x, classes, guidance):
        """Return the function of x and u that gives what the network predicts under guidance."""
        w = shapes.number("guidance", guidance, least=0)
        p, into = self._tree(params), self._filled(axes, x, classes)
        if not w:
            return lambda x, u: self._ask(p, into, x, u)
        if classes is None:
            raise ValueError(f"guidance is {guidance}, and no classes are given to guide to")
        bare = self._filled(axes, x, None)

        def seen(x, u):
            with_class, without = self._ask(p, into, x, u), self._ask(p, bare, x, u)
            return (1 + w) * with_class - w * without

        return seen

    def path(self, u: float) -> tuple[float, float]:
        """Return signal and noise level at time u."""
        if self.target == "velocity":
            return 1 - u, u
        return float(np.cos(np.pi / 2 * u)) if u < 1 else 0.0, float(np.sin(np.pi / 2 * u))

    def _both(self, seen, x, u):
        """Return image and noise from what the network predicts."""
        a, s = self.path(u)
        if (self.target == "noise" and a == 0) or (self.target == "image" and s == 0):
            raise ValueError(
                f"u is {u}: what the network predicts of {self.target!r} says nothing there"
            )
        if self.target == "noise":
            return (x - s * seen) / a, seen
        if self.target == "image":
            return seen, (x - a * seen) / s
        if self.target == "velocity":
            return x - u * seen, x + (1 - u) * seen
        return a * x - s * seen, s * x + a * seen

    def _slope(self, seen, x, u):
        """Return dx/du along the path of the probability flow."""
        if self.target == "velocity":
            return seen
        (a, s), quarter = self.path(u), np.pi / 2
        if self.target == "v":
            return quarter * seen
        image, noise = self._both(seen, x, u)
        return quarter * (a * noise - s * image)

    def sample(
        self,
        params: Any,
        n: int,
        rng: np.random.Generator,
        steps: int = 20,
        method: str = "ddim",
        classes: ArrayLike | None = None,
        guidance: float = 0.0,
        keep: bool = False,
    ) -> np.ndarray:
        """Return n examples made out of noise, (n, d).

        Parameters
        ----------
        params : Params
            The network.
        n : int
            How many.
        rng : numpy.random.Generator
            Draws the noise at the beginning, the same for all methods, and that on the way.
        steps : int
            From u = 1 to u = 0, all of the same length; from 0.99 where noise is predicted.
        method : {"ddim", "ancestral", "euler", "heun"}
            The step. Along a straight path there are only the last two. Heun's method asks the
            network twice in a step; where images are predicted its last step is one of Euler's.
        classes : array_like of int, shape (n,), optional
            What is asked for.
        guidance : float
            Strength w: 1 + w times what is predicted with the class, less w times what without.
        keep : bool
            Return all states, from the noise on, (steps + 1, n, d).

        Raises
        ------
        TypeError, ValueError
            If an argument is not what is described here.
        FloatingPointError
            If what comes out is not finite.
        """
        fits(params, self.layout)
        n, steps = shapes.count("n", n), shapes.count("steps", steps)
        shapes.generator("rng", rng)
        shapes.choice("method", method, METHODS[2:] if self.target == "velocity" else METHODS)
        states = [rng.standard_normal((n, self.sizes[0]), dtype=self.dtype)]
        seen = self._guided(params, shapes.Axes(), states[0], classes, guidance)
        times = np.linspace(NEAR if self.target == "noise" else 1.0, 0.0, steps + 1).tolist()
        step = getattr(self, f"_{method}")
        for u, to in pairwise(times):
            states.append(step(seen, states[-1], u, to, rng).astype(self.dtype, copy=False))
        if not np.isfinite(states[-1]).all():
            raise FloatingPointError("samples are not finite; are the parameters?")
        return np.stack(states) if keep else states[-1]

    def _ddim(self, seen, x, u, to, rng):
        """Put image and noise together anew, with less noise."""
        image, noise = self._both(seen(x, u), x, u)
        a, s = self.path(to)
        return a * image + s * noise

    def _ancestral(self, seen, x, u, to, rng):
        """Draw from the posterior, with the predicted image in place of the true one."""
        image, noise = self._both(seen(x, u), x, u)
        (a, s), (b, r) = self.path(to), self.path(u)
        fresh = (s / r) * np.sqrt(max(0.0, 1 - (b / a) ** 2))
        drawn = rng.standard_normal(x.shape, dtype=self.dtype)
        return a * image + np.sqrt(max(0.0, s * s - fresh * fresh)) * noise + fresh * drawn

    def _euler(self, seen, x, u, to, rng):
        """Go along the slope here."""
        return x + (to - u) * self._slope(seen(x, u), x, u)

    def _heun(self, seen, x, u, to, rng):
        """Go along the mean of the slopes here and where Euler's step leads."""
        here = self._slope(seen(x, u), x, u)
        there = x + (to - u) * here
        if to == 0 and self.target == "image":
            return there
        return x + (to - u) / 2 * (here + self._slope(seen(there, to), there, to))

    def layers(self, params: Any, state: Any, batch: tuple) -> Iterator[tuple[str, np.ndarray]]:
        """Yield the name of each layer's weights and what the layer gives, in inference."""
        belong(self, params, state)
        step, p = self._still(), self._tree(params)
        x, _ = self._entered(step, batch)
        for i, layer in enumerate(self.net.layers):
            x, _ = layer.forward(p[i], x, step.part(i))
            yield f"w[{i // 2 + 2}]", x
