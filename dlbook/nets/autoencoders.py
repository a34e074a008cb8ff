"""Autoencoders, put together from layers: an encoder to a code, a decoder back.

Equations: `autoencoders`.
"""
# ruff: noqa: E741

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from dlbook.autoencoders import check_noise
from dlbook.nets.containers import Sequential
from dlbook.nets.conv import Conv2d
from dlbook.nets.costs import Bernoulli, Cost, Gaussian
from dlbook.nets.images import Upsample
from dlbook.nets.layer import Step
from dlbook.nets.layers import Activation, Dense, Noise, Reshape
from dlbook.nets.network import Composition, joined, pieces
from dlbook.nets.penalties import Contractive, Sparse
from dlbook.tools import shapes
from dlbook.tools.flat import belong, fits
from dlbook.training import he, xavier

__all__ = ["Autoencoder", "Coder", "ConvAutoencoder", "ConvCoder"]


class Coder(NamedTuple):
    """Parameters of an `Autoencoder`, or their gradients; all are views of ``flat``."""

    flat: np.ndarray
    w: tuple  # w[l] has shape (n_l, n_{l−1}) for l = 2 … L; w[0] and w[1] are None
    b: tuple  # b[l] has shape (n_l,)


class ConvCoder(NamedTuple):
    """Parameters of a `ConvAutoencoder`, or their gradients; all are views of ``flat``."""

    flat: np.ndarray
    w: tuple  # filters of the convolutions, those of the encoder first, (c', c, 3, 3)
    b: tuple  # their biases
    code: np.ndarray  # (j, features)
    code_bias: np.ndarray
    open: np.ndarray  # (features, j)
    open_bias: np.ndarray


KINDS = ("relu", "sigmoid", "tanh", "linear")
LIKELIHOODS = {"gaussian": Gaussian(), "bernoulli": Bernoulli()}


class Coders(Composition):
    """What autoencoders share: rows of numbers come in and go out, by way of a code."""

    likelihood: str
    halves: tuple[Sequential, Sequential]

    @cached_property
    def net(self) -> Sequential:
        """The layers."""
        first, second = self.halves
        return Sequential(*first.layers, *second.layers)

    @cached_property
    def cost(self) -> Cost:
        """What is made small."""
        return LIKELIHOODS[self.likelihood]

    def check(self, params: Any, data: tuple) -> tuple[np.ndarray, ...]:
        """Return examples (n, k), checked and of the dtype of the parameters.

        `data` is (x,), or (given, x), where the network is to make x from something else.
        """
        if not isinstance(data, tuple) or len(data) not in (1, 2):
            raise TypeError("data is not a tuple of examples, (x,), or of inputs and targets")
        fits(params, self.layout)
        axes = shapes.Axes()
        names = ("x",) if len(data) == 1 else ("given", "x")
        found = tuple(self._rows(axes, *pair) for pair in zip(names, data, strict=True))
        if self.likelihood == "bernoulli" and (found[-1].min() < 0 or found[-1].max() > 1):
            raise ValueError("x has numbers outside of 0 … 1, which 'bernoulli' cannot express")
        return found

    def _rows(self, axes, name, x):
        """Return checked examples."""
        axes.sizes["k"] = (self.input[0], "the input")
        return axes.floats(name, x, "n k").astype(self.dtype, copy=False)

    def _examples(self, axes, x):
        """Return checked examples."""
        return self._rows(axes, "x", x)

    def _entered(self, step: Step, batch: tuple) -> tuple:
        """Return input and targets of a checked batch, which may be the same."""
        return batch[0], batch[-1]

    def encode(self, params: Any, x: ArrayLike) -> np.ndarray:
        """Return the codes (n, j) of examples (n, k)."""
        fits(params, self.layout)
        return self._half(0, params, self._examples(shapes.Axes(), x))

    def decode(self, params: Any, h: ArrayLike) -> np.ndarray:
        """Return the outputs (n, k) of codes (n, j): means, between 0 and 1 where Bernoulli."""
        fits(params, self.layout)
        axes = shapes.Axes()
        axes.sizes["j"] = (self.halves[0].shape(self.input)[0], "the code")
        h = axes.floats("h", h, "n j").astype(self.dtype, copy=False)
        return self.cost.predict(self._half(1, params, h))

    def _half(self, which, params, x):
        """Return what encoder or decoder gives, in inference."""
        half, border = self.halves[which], len(self.halves[0].layers)
        p = self._tree(params)
        p = p[border:] if which else p[:border]
        return joined([half.forward(p, part, self._still())[0] for part in pieces(x)])

    def loss(self, params: Any, state: None, batch: tuple) -> float:
        """Return the cost of checked data: reconstruction alone, without penalties and noise."""
        return float(self.cost.into(self.outputs(params, state, batch[0]), batch[-1]))


def drawn_before(activation):
    """Return which first weights go well with an activation."""
    return "he" if activation == "relu" else "xavier"


class DenseCoders(Coders):
    """What those of dense layers share: sizes on both sides of the code, and names for weights."""

    encoder: tuple[int, ...]
    decoder: tuple[int, ...] | None

    def _check_sizes(self):
        """Check the sizes, and fill in those of the decoder where they were not given."""
        if self.decoder is None and isinstance(self.encoder, (Sequence, np.ndarray)):
            object.__setattr__(self, "decoder", tuple(self.encoder)[::-1])
        for name in ("encoder", "decoder"):
            sizes = getattr(self, name)
            if not isinstance(sizes, (Sequence, np.ndarray)) or len(sizes) < 2:
                raise ValueError(f"{name} is {sizes!r}, expected at least two sizes: (64, 2)")
            found = tuple(shapes.count(f"{name}[{i}]", n) for i, n in enumerate(sizes))
            object.__setattr__(self, name, found)
        if self.decoder[0] != self.encoder[-1] or self.decoder[-1] != self.encoder[0]:
            raise ValueError(
                f"decoder is {self.decoder}, expected sizes from {self.encoder[-1]}, the code, "
                f"to {self.encoder[0]}, the input"
            )

    @property
    def sizes(self) -> tuple[int, ...]:
        """Neurons of each layer, the input first."""
        return self.encoder + self.decoder[1:]

    @property
    def input(self) -> tuple[int, ...]:
        """Shape of an example."""
        return self.encoder[:1]

    def _layer(self, n, activation):
        """Return a dense layer and its activation."""
        dense = Dense(n, initial=drawn_before(activation))
        return [dense] if activation == "linear" else [dense, Activation(activation)]

    def _params(self):
        """Return parameters that are all zero."""
        flat, net = super()._params()
        dense = [part for part in net if part]
        return Coder(flat, *((None, None, *parts) for parts in zip(*dense, strict=True)))

    def layers(self, params: Any, state: Any, batch: tuple) -> Iterator[tuple[str, np.ndarray]]:
        """Yield the name of each layer's weights and what the layer gives, in inference."""
        belong(self, params, state)
        step, p = self._still(), self._tree(params)
        x, l, seen = batch[0], 1, False
        for i, layer in enumerate(self.net.layers):
            if isinstance(layer, Dense):
                if seen:
                    yield f"w[{l}]", x
                l, seen = l + 1, True
            x, _ = layer.forward(p[i], x, step.part(i))
        yield f"w[{l}]", x


@dataclass(frozen=True)
class Autoencoder(DenseCoders):
    """Dense layers to a code and back.

    Parameters
    ----------
    encoder : sequence of int
        Sizes from the input to the code.
    decoder : sequence of int, optional
        Sizes from the code to the output; where not given, those of the encoder backwards.
    activation : {"relu", "sigmoid", "tanh", "linear"}
        Of the hidden layers on both sides of the code.
    code_activation : {"linear", "relu", "sigmoid", "tanh"}
        Activation of the code.
    likelihood : {"gaussian", "bernoulli"}
        Half the squared error of a linear output, or the cross-entropy of a sigmoid one, for inputs
        between 0 and 1. Both are sums over the numbers of an example.
    l1, kl, contractive : float
        Weights of the penalties on the code: Σ|h|; the divergence of its mean activation from
        `rho`, for a sigmoid code; the squared derivatives of the code by the input, for a sigmoid
        code right after the input.
    rho : float
        Mean activation that is wanted, 0 < ρ < 1.
    noise : {None, "gaussian", "mask"}
        What spoils the input in training, drawn anew for each batch.
    level : float
        Standard deviation of the noise, or the probability of a zero.
    dtype : {"float32", "float64"}
        Of parameters and data.

    Raises
    ------
    TypeError, ValueError
        If one of them is not what is described here.
    """

    encoder: tuple[int, ...]
    decoder: tuple[int, ...] | None = None
    activation: str = "relu"
    code_activation: str = "linear"
    likelihood: str = "gaussian"
    l1: float = 0.0
    kl: float = 0.0
    contractive: float = 0.0
    rho: float = 0.05
    noise: str | None = None
    level: float = 0.0
    dtype: str = "float32"

    def __post_init__(self):
        """Check all of them at once."""
        self._check_sizes()
        shapes.choice("activation", self.activation, KINDS)
        shapes.choice("code_activation", self.code_activation, KINDS)
        shapes.choice("likelihood", self.likelihood, tuple(LIKELIHOODS))
        shapes.choice("dtype", self.dtype, ("float32", "float64"))
        for name in ("l1", "kl", "contractive"):
            shapes.number(name, getattr(self, name), least=0)
        shapes.number("rho", self.rho, above=0, below=1)
        if self.noise is not None:
            check_noise("noise", self.noise, self.level)
        elif shapes.number("level", self.level, least=0):
            raise ValueError(f"level is {self.level}, and no noise is chosen")
        if (self.kl or self.contractive) and self.code_activation != "sigmoid":
            raise ValueError(
                f"code_activation is {self.code_activation!r}; kl and contractive need 'sigmoid'"
            )
        if self.contractive and len(self.encoder) > 2:
            raise ValueError(f"encoder is {self.encoder}; contractive needs one layer: (64, 32)")

    @cached_property
    def halves(self) -> tuple[Sequential, Sequential]:
        """The layers of the encoder, and those of the decoder."""
        first = [Noise(self.noise, self.level)] if self.noise else []
        for n in self.encoder[1:-1]:
            first += self._layer(n, self.activation)
        first += self._code()
        second = [layer for n in self.decoder[1:-1] for layer in self._layer(n, self.activation)]
        second += self._layer(self.decoder[-1], "linear")
        return Sequential(*first), Sequential(*second)

    def _code(self):
        """Return the layer of the code, with its penalties."""
        n, sparse = self.encoder[-1], [Sparse(self.l1, self.kl, self.rho)]
        if self.contractive:
            layers = [Contractive(n, initial="xavier", scale=self.contractive)]
        else:
            layers = self._layer(n, self.code_activation)
        return layers + sparse if self.l1 or self.kl else layers


@dataclass(frozen=True)
class ConvAutoencoder(Coders):
    """Convolutions of stride 2 down to a code; upsampling and convolutions back.

    On the way down each layer is a 3 × 3 convolution that moves by two pixels, with a rectifier. A
    dense layer makes the code from what is left, and another opens it again. On the way up each
    layer repeats every pixel four times and convolves; the last one gives the image.

    Parameters
    ----------
    side : int
        Rows and columns of the square images, which come in as rows of side² numbers; a multiple of
        2 to the power of the number of layers.
    channels : sequence of int
        Filters of each layer on the way down; the same backwards on the way up.
    code : int
        Numbers of the code, which has no activation.
    likelihood : {"gaussian", "bernoulli"}
        As in `Autoencoder`.
    dtype : {"float32", "float64"}
        Of parameters and data.

    Raises
    ------
    TypeError, ValueError
        If one of them is not what is described here.
    """

    side: int = 8
    channels: tuple[int, ...] = (16, 32)
    code: int = 8
    likelihood: str = "gaussian"
    dtype: str = "float32"

    def __post_init__(self):
        """Check all of them at once."""
        shapes.count("side", self.side)
        shapes.count("code", self.code)
        shapes.choice("likelihood", self.likelihood, tuple(LIKELIHOODS))
        shapes.choice("dtype", self.dtype, ("float32", "float64"))
        if not isinstance(self.channels, Sequence) or not len(self.channels):
            raise ValueError(f"channels is {self.channels!r}, expected one number or more: (8, 16)")
        found = tuple(shapes.count(f"channels[{i}]", c) for i, c in enumerate(self.channels))
        object.__setattr__(self, "channels", found)
        if self.side % 2 ** len(found):
            raise ValueError(
                f"side is {self.side}, expected a multiple of {2 ** len(found)} for "
                f"{len(found)} layers that halve it"
            )

    @property
    def input(self) -> tuple[int, ...]:
        """Shape of an example."""
        return (self.side**2,)

    @property
    def features(self) -> int:
        """Numbers of an image before the code."""
        return self.channels[-1] * (self.side // 2 ** len(self.channels)) ** 2

    @cached_property
    def halves(self) -> tuple[Sequential, Sequential]:
        """The layers of the encoder, and those of the decoder."""
        low, wide = self.side // 2 ** len(self.channels), (1, *self.channels)
        down = [Reshape(self.side, self.side, 1)]
        for c in self.channels:
            down += [Conv2d(c, 3, stride=2, padding=1), Activation("relu")]
        down += [Reshape(-1), Dense(self.code, initial="xavier")]
        up = [Dense(self.features), Activation("relu"), Reshape(low, low, self.channels[-1])]
        for c in wide[-2:0:-1]:
            up += [Upsample(2), Conv2d(c, 3, padding=1), Activation("relu")]
        up += [Upsample(2), Conv2d(1, 3, padding=1, initial="xavier"), Reshape(-1)]
        return Sequential(*down), Sequential(*up)

    def init(self, rng: np.random.Generator) -> ConvCoder:
        """Draw the first parameters: He's variance, Xavier's for code and output; biases zero."""
        shapes.generator("rng", rng)
        params = self._params()
        for w in (*params.w[:-1], params.open):
            w[:] = he(w.shape, rng)
        for w in (params.w[-1], params.code):
            w[:] = xavier(w.shape, rng)
        return params

    def _params(self):
        """Return parameters that are all zero."""
        flat, net = super()._params()
        depth, parts = len(self.channels), [part for part in net if part]
        down, (code, first), up = parts[:depth], parts[depth : depth + 2], parts[depth + 2 :]
        return ConvCoder(flat, *zip(*down, *up, strict=True), *code, *first)
