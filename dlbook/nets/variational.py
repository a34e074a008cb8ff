"""Variational autoencoders, put together from layers: a code that is drawn, and what it costs.

Equations: `variational`.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from dlbook.fast.latent import latent_backward, latent_forward
from dlbook.nets.autoencoders import KINDS, LIKELIHOODS, Autoencoder, DenseCoders
from dlbook.nets.containers import Sequential
from dlbook.nets.layer import Layer, features, new_step
from dlbook.nets.layers import Dense
from dlbook.tools import shapes
from dlbook.tools.flat import belong, fits
from dlbook.variational import gaussian_kl, log_weights, reparameterize

__all__ = ["VAE", "Bound", "Latent"]


class Bound(NamedTuple):
    """The lower bound on the log-likelihood of each example, and its two parts."""

    elbo: np.ndarray  # (n,) −distortion − rate
    distortion: np.ndarray  # (n,) −log p(x | z), mean over the draws
    rate: np.ndarray  # (n,) divergence of the code's distribution from the prior, exact


@dataclass(frozen=True)
class Latent(Layer):
    """A code is drawn: of 2C numbers the first C are means, the others logarithms of deviations.

    In training z = m + e^s ε with noise that is drawn anew for each batch, and the divergence of
    N(m, e^2s) from N(0, 1), times beta, is added to the cost as a mean over the examples. In
    inference z is m.

    Parameters
    ----------
    beta : float
        Weight of the divergence, β ≥ 0.
    """

    keeps_output: ClassVar[bool] = True
    beta: float = 1.0

    def __post_init__(self):
        shapes.number("beta", self.beta, least=0)

    def shape(self, s):
        (twice,) = features(self, s, 1)
        if twice % 2:
            raise ValueError(f"{self} wants means and deviations, 2C numbers, and gets {twice}")
        return (twice // 2,)

    def forward(self, p, x, step):
        count = x.shape[1] // 2
        if not step.all.training:
            return np.ascontiguousarray(x[:, :count]), None
        z, moved = step.array("z", len(x), count), step.array("moved", len(x), count)
        step.rng.standard_normal(out=moved, dtype=moved.dtype)
        latent_forward(x, moved, z)
        return z, (x, moved)

    def backward(self, p, dy, kept, grads, step):
        x, moved = kept
        dx = step.array("dx", *x.shape)
        step.all.cost += latent_backward(x, moved, dy, self.beta, dx)
        return dx


@dataclass(frozen=True)
class VAE(DenseCoders):
    """Dense layers to the distribution of a code, a draw from it, dense layers back.

    Parameters
    ----------
    encoder : sequence of int
        Sizes from the input to the code; the last layer gives two numbers for each of the code, a
        mean and the logarithm of a standard deviation.
    decoder : sequence of int, optional
        Sizes from the code to the output; where not given, those of the encoder backwards.
    activation : {"relu", "sigmoid", "tanh", "linear"}
        Of the hidden layers on both sides of the code.
    beta : float
        β ≥ 0, the weight of the divergence in the cost; with 1 the cost is the negative of the
        lower bound.
    likelihood : {"bernoulli", "gaussian"}
        Cross-entropy of a sigmoid output, for inputs between 0 and 1, or half the squared error of
        a linear one. Both are sums over the numbers of an example.
    dtype : {"float32", "float64"}
        Of parameters and data.

    Raises
    ------
    TypeError, ValueError
        If one of them is not what is described here.

    Examples
    --------
    >>> net = VAE((64, 128, 2), beta=0.5)
    >>> params = net.init(np.random.default_rng(0))
    >>> net.sample(params, 3, np.random.default_rng(1)).shape
    (3, 64)
    """

    encoder: tuple[int, ...]
    decoder: tuple[int, ...] | None = None
    activation: str = "relu"
    beta: float = 1.0
    likelihood: str = "bernoulli"
    dtype: str = "float32"

    def __post_init__(self):
        """Check all of them at once."""
        self._check_sizes()
        shapes.choice("activation", self.activation, KINDS)
        shapes.number("beta", self.beta, least=0)
        shapes.choice("likelihood", self.likelihood, tuple(LIKELIHOODS))
        shapes.choice("dtype", self.dtype, ("float32", "float64"))

    @cached_property
    def halves(self) -> tuple[Sequential, Sequential]:
        """The layers up to the draw, and those of the decoder."""
        first = [layer for n in self.encoder[1:-1] for layer in self._layer(n, self.activation)]
        first += [Dense(2 * self.encoder[-1], initial="xavier"), Latent(self.beta)]
        second = [layer for n in self.decoder[1:-1] for layer in self._layer(n, self.activation)]
        second += self._layer(self.decoder[-1], "linear")
        return Sequential(*first), Sequential(*second)

    def plain(self, params: Any) -> tuple[Autoencoder, Any]:
        """Return an autoencoder of the same layers without draws, and these weights for it.

        Its code has the weights of the means; those of the deviations have no place in it.
        """
        fits(params, self.layout)
        settings = {"likelihood": self.likelihood, "dtype": self.dtype}
        bare = Autoencoder(self.encoder, self.decoder, self.activation, **settings)
        found = bare.init(np.random.default_rng(0))
        for name in ("w", "b"):
            for into, x in zip(getattr(found, name)[2:], getattr(params, name)[2:], strict=True):
                into[:] = x[: len(into)]
        return bare, found

    def encode(self, params: Any, x: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
        """Return means and logarithms of the deviations of the codes, both (n, c)."""
        fits(params, self.layout)
        return self._distributions(params, self._examples(shapes.Axes(), x))

    def _distributions(self, params, x):
        """Return the same for checked examples."""
        step, p = self._still(), self._tree(params)
        net = Sequential(*self.halves[0].layers[:-1])
        h = net.forward(p[: len(net.layers)], x, step)[0]
        return tuple(np.ascontiguousarray(part) for part in np.split(h, 2, axis=1))

    def sample(self, params: Any, n: int, rng: np.random.Generator) -> np.ndarray:
        """Return what the decoder makes of n codes from N(0, I): means (n, k) of its output."""
        shapes.count("n", n)
        shapes.generator("rng", rng)
        return self.decode(params, rng.standard_normal((n, self.encoder[-1])).astype(self.dtype))

    def elbo(self, params: Any, x: ArrayLike, rng: np.random.Generator, draws: int = 1) -> Bound:
        """Return the lower bound of each example, whatever β it was trained with.

        Parameters
        ----------
        params : Coder
            The network.
        x : array_like, shape (n, k)
            Examples.
        rng : numpy.random.Generator
            Draws the codes.
        draws : int
            Codes for each example, over which the distortion is averaged.
        """
        fits(params, self.layout)
        shapes.generator("rng", rng)
        x = self.check(params, (x,))[0]
        return self._bound(params, x, rng, shapes.count("draws", draws))

    def _bound(self, params, x, rng, draws):
        """Return the same for checked examples."""
        m, s = (part.astype(np.float64) for part in self._distributions(params, x))
        distortion, rate = np.zeros(len(x)), gaussian_kl(m, s)
        for _ in range(draws):
            z = reparameterize(m, s, rng.standard_normal(m.shape))
            distortion += self._lost(params, x, z) / draws
        return Bound(-distortion - rate, distortion, rate)

    def _lost(self, params, x, z):
        """Return −log p(x | z) of each example, up to the constant of a Gaussian."""
        a = self._half(1, params, z.astype(self.dtype)).astype(np.float64)
        x = x.astype(np.float64)
        if self.likelihood == "gaussian":
            return np.sum((a - x) ** 2, axis=1) / 2
        return np.sum(np.logaddexp(0, a) - x * a, axis=1)

    def distortion(self, params: Any, x: ArrayLike, z: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
        """Return −log p(x | z) of examples and codes, (n,), and its gradient by the codes, (n, c).

        Parameters
        ----------
        params : Coder
            The network.
        x : array_like, shape (n, k)
            Examples.
        z : array_like, shape (n, c)
            A code for each.
        """
        x, axes = self.check(params, (x,))[0], shapes.Axes()
        axes.sizes.update(n=(len(x), "x"), c=(self.encoder[-1], "the code"))
        z = axes.floats("z", z, "n c").astype(self.dtype)
        step, p = new_step(self.dtype, wants=True), self._tree(params)
        half, p = self.halves[1], p[len(self.halves[0].layers) :]
        a, kept = half.forward(p, z, step)
        lost, da = self._lost(params, x, z), a.copy()
        self.cost.into(da, x)  # ∂/∂a of the mean
        da *= len(x)
        return lost, half.backward(p, da, kept, None, step).copy()

    def log_weights(
        self, params: Any, x: ArrayLike, rng: np.random.Generator, draws: int
    ) -> np.ndarray:
        """Return log p(x, z) − log q(z | x) for draws from q, (n, draws).

        Parameters
        ----------
        params, x, rng, draws
            As for `elbo`.
        """
        fits(params, self.layout)
        shapes.generator("rng", rng)
        x = self.check(params, (x,))[0]
        m, s = (part.astype(np.float64) for part in self._distributions(params, x))
        eps = rng.standard_normal((len(x), shapes.count("draws", draws), m.shape[1]))
        z = m[:, None] + np.exp(s)[:, None] * eps
        log_px = np.stack([-self._lost(params, x, z[:, k]) for k in range(draws)], axis=1)
        return log_weights(log_px, s, eps, z)

    def loss(self, params: Any, state: None, batch: tuple) -> float:
        """Return distortion + β rate of checked data, with one draw of a fixed seed."""
        belong(self, params, state)
        bound = self._bound(params, batch[-1], np.random.default_rng(0), 1)
        return float(np.mean(bound.distortion + self.beta * bound.rate))
