"""Pooling, unpooling, upsampling and shifts as layers of images. Inside a network the channels are last: (n, h, w, c).

Equations: `convolution`, `autoencoders` (upsampling), `vision` (unpooling).
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from dlbook.convolution import output_size
from dlbook.fast.images import place_images, upsample_backward_into, upsample_into
from dlbook.fast.pool import (
    average_backward_into,
    average_into,
    largest_backward,
    largest_of_all,
    pool_backward_into,
    pool_into,
    pooled_from,
)
from dlbook.nets.containers import Container, Sequential
from dlbook.nets.conv import Pair, pair
from dlbook.nets.layer import Layer, features
from dlbook.tools import shapes

__all__ = [
    "AvgPool2d",
    "GlobalPool",
    "MaxPool2d",
    "MaxUnpool2d",
    "Shift",
    "Upsample",
]


@dataclass(frozen=True)
class _Windows(Layer):
    """What the pooling layers share."""

    size: Pair = 2
    stride: Pair | None = None
    padding: Pair = 0

    def __post_init__(self):
        object.__setattr__(self, "size", pair("size", self.size, 1))
        stride = self.size if self.stride is None else self.stride
        object.__setattr__(self, "stride", pair("stride", stride, 1))
        object.__setattr__(self, "padding", pair("padding", self.padding, 0))
        if any(2 * p > f for p, f in zip(self.padding, self.size, strict=True)):
            raise ValueError(
                f"padding is {self.padding}, expected at most half of the window {self.size}"
            )

    def shape(self, s):
        s = features(self, s, 3)
        return (*map(output_size, s[:2], self.size, self.stride, self.padding), s[2])

    def _out(self, x, step):
        """Return the shape of what goes out."""
        if step.slot is None or step.slot[0] != x.shape:
            step.slot = x.shape, (len(x), *self.shape(x.shape[1:]))
        return step.slot[1]

    def _framed(self, x, step, value):
        """Return images with something around them; as they are where nothing is."""
        if not any(self.padding):
            return x
        (P, Q), (N, H, W, C) = self.padding, x.shape
        out = step.array("framed", N, H + 2 * P, W + 2 * Q, C)
        out[:] = value
        out[:, P : P + H, Q : Q + W] = x
        return out

    def _inside(self, d, step):
        """Return what belongs to the images of a gradient by framed ones."""
        if not any(self.padding):
            return d
        (P, Q), (N, H, W, C) = self.padding, d.shape
        dx = step.array("dx inside", N, H - 2 * P, W - 2 * Q, C)
        dx[:] = d[:, P : H - P, Q : W - Q]
        return dx


@dataclass(frozen=True)
class MaxPool2d(_Windows):
    """The largest number of each window, channel by channel.

    Where several are largest, the first of them, row by row, gets the whole gradient.

    Parameters
    ----------
    size : int or (int, int)
        Rows and columns of a window.
    stride : int or (int, int), optional
        From one window to the next; `size` where not given.
    padding : int or (int, int)
        Rows and columns of −∞ around, at most half a window.
    """

    def forward(self, p, x, step):
        framed = self._framed(x, step, -np.inf)
        y = step.array("y", *self._out(x, step))
        at = step.array("at", *y.shape, dtype=np.int32)
        pool_into(framed, self.size, self.stride, y, at)
        if any(self.padding) and step.all.training:
            # a window of −∞ only: its winner is one of its pixels, not of the frame
            down, right = (
                np.maximum(0, frame - stride * np.arange(count))
                for frame, stride, count in zip(
                    self.padding, self.stride, y.shape[1:3], strict=True
                )
            )
            first = (down[:, None] * self.size[1] + right)[..., None]
            np.copyto(at, first, where=y == -np.inf)
        return y, (framed.shape, at)

    def backward(self, p, dy, kept, grads, step):
        shape, at = kept
        d = step.array("dx", *shape)
        pool_backward_into(dy, at, self.size, self.stride, d)
        return self._inside(d, step)


@dataclass(frozen=True, init=False)
class MaxUnpool2d(Container):
    """Max pooling, layers at the smaller size, and unpooling by the places of that pooling.

    What the layers give goes back to where the largest number of each window stood, channel by
    channel; all else is zero.

    Parameters
    ----------
    *layers : Layer
        They keep rows, columns and channels of the pooled images.
    size : int or (int, int)
        Rows and columns of a window; windows lie side by side.
    """

    size: Pair

    def __init__(self, *layers: Layer, size: Pair = 2):
        super().__init__(Sequential(*layers))
        object.__setattr__(self, "size", pair("size", size, 1))

    def inputs(self, s):
        return [MaxPool2d(self.size).shape(s)]

    def shape(self, s):
        (pooled,) = self.inputs(s)
        if (found := self.layers[0].shape(pooled)) != pooled:
            raise ValueError(
                f"MaxUnpool2d pools to {pooled}, and its layers turn that into {found}: "
                "there would not be one number for each place"
            )
        return features(self, s, 3)

    def forward(self, p, x, step):
        y = step.array("y", len(x), *self.inputs(x.shape[1:])[0])
        at = step.array("at", *y.shape, dtype=np.int32)
        pool_into(x, self.size, self.size, y, at)
        z, kept = self.layers[0].forward(p[0], y, step.part(0, True, step.wants))
        up = step.array("up", *x.shape)
        pool_backward_into(z, at, self.size, self.size, up)
        return up, (at, kept)

    def backward(self, p, dy, kept, grads, step):
        at, kept = kept
        dz = step.array("dz", *at.shape)
        pooled_from(dy, at, self.size, self.size, dz)
        d = self.layers[0].backward(p[0], dz, kept, grads and grads[0], step.parts[0])
        if not step.wants:
            return None
        dx = step.array("dx", *dy.shape)
        pool_backward_into(d, at, self.size, self.size, dx)
        return dx


@dataclass(frozen=True)
class AvgPool2d(_Windows):
    """The mean of each window, channel by channel; padding counts as zeros.

    Parameters
    ----------
    size, stride, padding
        As of `MaxPool2d`.
    """

    def forward(self, p, x, step):
        framed = self._framed(x, step, 0)
        y = step.array("y", *self._out(x, step))
        average_into(framed, self.size, self.stride, y)
        return y, framed.shape

    def backward(self, p, dy, shape, grads, step):
        d = step.array("dx", *shape)
        average_backward_into(dy, self.size, self.stride, d)
        return self._inside(d, step)


@dataclass(frozen=True)
class GlobalPool(Layer):
    """One number for each channel.

    Parameters
    ----------
    kind : {"average", "max"}
        The mean over all pixels, or the largest number.
    """

    kind: str = "average"

    def __post_init__(self):
        shapes.choice("kind", self.kind, ("average", "max"))

    def shape(self, s):
        return features(self, s, 3)[2:]

    def forward(self, p, x, step):
        y = step.array("y", len(x), x.shape[3])
        if self.kind == "average":
            np.mean(x, axis=(1, 2), out=y)
            return y, (x.shape, None)
        at = step.array("at", *y.shape, dtype=np.int64)
        largest_of_all(x, y, at)
        return y, (x.shape, at)

    def backward(self, p, dy, kept, grads, step):
        shape, at = kept
        dx = step.array("dx", *shape)
        if self.kind == "average":
            dx[:] = dy[:, None, None] * dy.dtype.type(1 / (shape[1] * shape[2]))
        else:
            largest_backward(dy, at, dx)
        return dx


@dataclass(frozen=True)
class Upsample(Layer):
    """Every pixel becomes a square of equal ones.

    Parameters
    ----------
    factor : int
        Its side.
    """

    factor: int = 2

    def __post_init__(self):
        shapes.count("factor", self.factor)

    def shape(self, s):
        s = features(self, s, 3)
        return (s[0] * self.factor, s[1] * self.factor, s[2])

    def forward(self, p, x, step):
        y = step.array("y", len(x), *self.shape(x.shape[1:]))
        upsample_into(x, y)
        return y, x.shape

    def backward(self, p, dy, shape, grads, step):
        dx = step.array("dx", *shape)
        upsample_backward_into(dy, dx)
        return dx


@dataclass(frozen=True)
class Shift(Layer):
    """In training each image is moved down and across by some pixels, drawn anew; zeros follow.

    Parameters
    ----------
    max_shift : int
        Pixels, in each of the four directions.
    """

    passes: ClassVar[bool] = True
    max_shift: int

    def __post_init__(self):
        shapes.count("max_shift", self.max_shift, least=0)

    def shape(self, s):
        return features(self, s, 3)

    def forward(self, p, x, step):
        if not step.all.training or not self.max_shift:
            return x, None
        move = step.rng.integers(-self.max_shift, self.max_shift, size=(len(x), 2), endpoint=True)
        y = step.array("y", *x.shape)
        place_images(x, move, y)
        return y, move

    def backward(self, p, dy, move, grads, step):
        if move is None:
            return dy
        dx = step.array("dx", *dy.shape)
        place_images(dy, -move, dx)
        return dx
