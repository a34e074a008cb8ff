"""A convolutional network, put together from layers.

Equations: `convolution`.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from dlbook.nets.containers import Sequential
from dlbook.nets.conv import Conv2d
from dlbook.nets.costs import SoftmaxCrossEntropy
from dlbook.nets.images import GlobalPool, MaxPool2d, Shift
from dlbook.nets.layers import Activation, Dense, Reshape
from dlbook.nets.network import Composition
from dlbook.tools import shapes
from dlbook.tools.flat import belong, fits

__all__ = ["CNN", "Filters"]


class Filters(NamedTuple):
    """Parameters of a `CNN`, or their gradients; all are views of ``flat``."""

    flat: np.ndarray
    w: tuple  # w[l], filters of block l = 0, 1, …, of shape (k, c, u, v)
    b: tuple  # b[l], of shape (k,)
    top: np.ndarray  # weights of the output layer, (classes, features)
    bias: np.ndarray  # (classes,)


@dataclass(frozen=True)
class CNN(Composition):
    """Blocks of 3 × 3 convolution, rectifier and 2 × 2 max pooling, then one dense layer.

    Parameters
    ----------
    side : int
        Rows and columns of the square images, which come in as rows of side² numbers.
    channels : sequence of int
        Filters of each block. A frame of zeros keeps the size through the convolution.
    pools : sequence of bool
        Whether a block ends with pooling.
    head : {"flat", "max"}
        What the dense layer gets: all numbers of the last block, or the largest of each channel.
    classes : int
        Outputs.
    shift : int
        In training each image is moved by up to so many pixels, drawn anew for each axis.
    dtype : {"float32", "float64"}
        Of parameters and data.

    Raises
    ------
    TypeError, ValueError
        If one of them is not what is described here.
    """

    side: int = 8
    channels: tuple[int, ...] = (32, 64)
    pools: tuple[bool, ...] = (True, False)
    head: str = "flat"
    classes: int = 10
    shift: int = 0
    dtype: str = "float32"

    def __post_init__(self):
        """Check all of them at once."""
        shapes.count("side", self.side)
        shapes.count("classes", self.classes, least=2)
        shapes.count("shift", self.shift, least=0, most=self.side)
        shapes.choice("head", self.head, ("flat", "max"))
        shapes.choice("dtype", self.dtype, ("float32", "float64"))
        if not isinstance(self.channels, Sequence) or not len(self.channels):
            raise ValueError(
                f"channels is {self.channels!r}, expected one number or more: (32, 64)"
            )
        found = tuple(shapes.count(f"channels[{i}]", k) for i, k in enumerate(self.channels))
        object.__setattr__(self, "channels", found)
        if not isinstance(self.pools, Sequence) or len(self.pools) != len(found):
            raise ValueError(f"pools is {self.pools!r}, expected one truth value for each block")
        object.__setattr__(self, "pools", tuple(map(bool, self.pools)))
        if self.sides[-1] < 1:
            raise ValueError(
                f"pools has {sum(self.pools)} true values, too many for {self.side} pixels"
            )

    @property
    def sides(self) -> tuple[int, ...]:
        """Rows and columns of what goes into each block, and of what leaves the last."""
        found = [self.side]
        for pooled in self.pools:
            found.append(found[-1] // 2 if pooled else found[-1])
        return tuple(found)

    @property
    def input(self) -> tuple[int, ...]:
        """Shape of an example."""
        return (self.side**2,)

    @cached_property
    def net(self) -> Sequential:
        """The layers."""
        layers = [Reshape(self.side, self.side, 1)]
        if self.shift:
            layers.append(Shift(self.shift))
        for filters, pooled in zip(self.channels, self.pools, strict=True):
            layers += [Conv2d(filters, 3, padding=1), Activation("relu")]
            if pooled:
                layers.append(MaxPool2d(2))
        layers.append(Reshape(-1) if self.head == "flat" else GlobalPool("max"))
        return Sequential(*layers, Dense(self.classes))

    @cached_property
    def cost(self) -> SoftmaxCrossEntropy:
        """What is made small."""
        return SoftmaxCrossEntropy()

    def _params(self):
        """Return parameters that are all zero."""
        flat, net = super()._params()
        blocks = [part for layer, part in zip(self.net.layers, net, strict=True) if layer.learns]
        *blocks, top = blocks
        return Filters(flat, *zip(*blocks, strict=True), *top)

    def _examples(self, axes, x):
        """Return checked images."""
        axes.sizes["p"] = (self.side**2, "side²")
        return axes.floats("x", x, "n p").astype(self.dtype)

    def maps(self, params: Filters, x: ArrayLike) -> list[np.ndarray]:
        """Return what each block sees in images: its feature maps before pooling.

        Parameters
        ----------
        params : Filters
            The network.
        x : array_like, shape (n, side²)
            Images.

        Returns
        -------
        list of ndarray, shape (n, k, h, w)
        """
        fits(params, self.layout)
        found = self._each(params, self._examples(shapes.Axes(), x))[:-1]
        return [np.ascontiguousarray(a.transpose(0, 3, 1, 2)) for a in found]

    def _each(self, params, x):
        """Return what every block gives before pooling, and the scores."""
        step, p, found = self._still(), self._tree(params), []
        for i, layer in enumerate(self.net.layers):
            x, _ = layer.forward(p[i], x, step.part(i))
            if isinstance(layer, (Activation, Dense)):
                found.append(x)
        return found

    def scores(self, params: Filters, x: np.ndarray) -> np.ndarray:
        """Return the scores (n, classes) of checked images."""
        return self.outputs(params, None, x)

    def layers(self, params: Any, state: Any, batch: tuple) -> Iterator[tuple[str, np.ndarray]]:
        """Yield the name of each layer's weights and what the layer gives, in inference."""
        belong(self, params, state)
        names = [f"w[{l}]" for l in range(len(self.channels))]  # noqa: E741
        yield from zip([*names, "top"], self._each(params, batch[0]), strict=True)
