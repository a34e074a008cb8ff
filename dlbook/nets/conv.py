"""Convolution and its adjoint as layers. Inside a network the channels are last: (n, h, w, c).

Equations: `convolution`.
"""

from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np

from dlbook import convolution
from dlbook.convolution import output_size
from dlbook.fast.conv import adjoint, adjoint_backward
from dlbook.nets.layer import Layer, features
from dlbook.nets.layers import INITIAL, drawn
from dlbook.tools import shapes
from dlbook.vision import bilinear_kernel

__all__ = ["Conv2d", "ConvTranspose2d"]

Pair = int | tuple[int, int]


def pair(name, value, least):
    """Return two whole numbers from one or two."""
    found = value if isinstance(value, (tuple, list)) else (value, value)
    if len(found) != 2:
        raise ValueError(f"{name} is {value!r}, expected a whole number or two")
    return tuple(shapes.count(name, n, least=least) for n in found)


class _Slot(NamedTuple):
    """What a layer finds again at its next call."""

    shape: tuple  # of the batch
    dtype: np.dtype
    out: tuple
    z: np.ndarray | None  # None in inference
    dx: np.ndarray | None  # None where nobody asks for it
    b: np.ndarray
    room: Any  # memory of the kernels
    serves: int  # examples at most


@dataclass(frozen=True)
class _Filters(Layer):
    """What convolution and its transpose share."""

    learns: ClassVar[bool] = True
    rules: ClassVar[tuple] = INITIAL
    out: int
    size: Pair = 3
    stride: Pair = 1
    padding: Pair = 0
    dilation: Pair = 1
    groups: int = 1
    bias: bool = True
    initial: str = "he"

    def __post_init__(self):
        shapes.count("out", self.out)
        shapes.count("groups", self.groups)
        shapes.choice("initial", self.initial, self.rules)
        for name, least in (("size", 1), ("stride", 1), ("padding", 0), ("dilation", 1)):
            object.__setattr__(self, name, pair(name, getattr(self, name), least))
        if self.out % self.groups:
            raise ValueError(f"groups is {self.groups}, expected a divisor of out, {self.out}")

    @property
    def how(self):
        """Stride, padding, dilation and groups, as the kernels want them."""
        return self.stride, self.padding, self.dilation, self.groups

    def _channels(self, s):
        """Return the channels of the input."""
        C = features(self, s, 3)[2]
        if C % self.groups:
            raise ValueError(f"groups is {self.groups}, expected a divisor of {C} input channels")
        return C

    def draw(self, p, rng):
        p.w[:] = drawn(self.initial, p.w.shape, rng)

    def _ready(self, p, x, step):
        """Return the slot for this shape of batch, and the array for what goes out."""
        slot = step.slot
        if slot is None or slot.shape != x.shape or slot.dtype is not x.dtype:
            slot = self._slot(p, x, step)
        z = slot.z if step.all.training else None
        return slot, np.empty(slot.out, x.dtype) if z is None else z

    def _slot(self, p, x, step):
        """Make what the layer needs for this shape of batch, and return it."""
        if x.dtype != step.all.dtype:
            raise TypeError(f"x is {x.dtype}, the memory of this step is {step.all.dtype}")
        out, training = (len(x), *self.shape(x.shape[1:])), step.all.training
        z = step.array("z", *out) if training else None  # which is fresh at every call
        dx = step.array("dx", *x.shape) if step.wants and training else None
        b = p.b if self.bias else step.memory.array("no bias", self.out)
        held = step.slot
        if held is None or held.shape[1:] != x.shape[1:] or held.serves < len(x):
            room = self._room(x.shape, p.w.shape, out, x.dtype)
            step.slot = _Slot(x.shape, x.dtype, out, z, dx, b, room, len(x))
        else:
            step.slot = held._replace(shape=x.shape, out=out, z=z, dx=dx, b=b)
        return step.slot


@dataclass(frozen=True)
class Conv2d(_Filters):
    """A convolutional layer.

    Parameters
    ----------
    out : int
        Filters, which are the channels of what goes out.
    size, stride, padding, dilation : int or (int, int)
        Down and across; `padding` puts zeros around.
    groups : int
        The input channels are cut into so many groups, and so are the filters.
    bias : bool
        Whether each filter has one.
    initial : {"he", "xavier", "orthogonal", "small", "zero"}
        How the first filters are drawn; biases start at zero.
    """

    def shape(self, s):
        self._channels(s)
        args = self.size, self.stride, self.padding, self.dilation
        return (*map(output_size, s[:2], *args), self.out)

    def parameters(self, s):
        w = {"w": (self.out, self._channels(s) // self.groups, *self.size)}
        return w | {"b": (self.out,)} if self.bias else w

    def _room(self, x, w, z, dtype):
        return convolution.memory(x, w, z, self.how, dtype)

    def forward(self, p, x, step):
        slot, z = self._ready(p, x, step)
        convolution.forward(x, p.w, p.b if self.bias else slot.b, self.how, slot.room, z)
        return z, x

    def backward(self, p, dz, x, grads, step):
        room, dx = step.slot.room, step.slot.dx
        if grads is None:
            if dx is not None:
                adjoint(dz, p.w, room.none[: x.shape[3]], self.how, room, dx)
            return dx
        db = grads.b if self.bias else step.memory.array("db", self.out)
        convolution.backward(dz, x, p.w, self.how, room, dx, grads.w, db)
        return dx


@dataclass(frozen=True)
class ConvTranspose2d(_Filters):
    """The adjoint of a convolution: what carries errors back there carries activations up here.

    Parameters
    ----------
    out, size, stride, padding, dilation, groups, bias, initial
        As of `Conv2d`. The filters have the shape (input channels, out / groups, height, width).
        There is one more rule for the first of them, "bilinear": each channel is enlarged by
        itself, as `dlbook.vision.bilinear_kernel` says.
    output_padding : int or (int, int)
        Rows and columns more than necessary, less than the stride: several sizes of image give the
        same size under a convolution with a stride.
    """

    rules: ClassVar[tuple] = (*INITIAL, "bilinear")
    output_padding: Pair = 0

    def __post_init__(self):
        super().__post_init__()
        if self.initial == "bilinear" and self.size[0] != self.size[1]:
            raise ValueError(f"size is {self.size}, expected a square for bilinear filters")
        object.__setattr__(self, "output_padding", pair("output_padding", self.output_padding, 0))
        if any(m >= s for m, s in zip(self.output_padding, self.stride, strict=True)):
            raise ValueError(
                f"output_padding is {self.output_padding}, "
                f"expected less than the stride {self.stride}"
            )

    def shape(self, s):
        if self._channels(s) != self.out and self.initial == "bilinear":
            raise ValueError(
                f"out is {self.out}, expected the {s[2]} channels of the input, each of which "
                "bilinear filters enlarge by itself"
            )
        sides = []
        more = self.output_padding
        for i, F, S, P, D, m in zip(
            s[:2], self.size, self.stride, self.padding, self.dilation, more, strict=True
        ):
            sides.append((i - 1) * S - 2 * P + D * (F - 1) + 1 + m)
            if sides[-1] < 1:
                raise ValueError(f"padding is {self.padding}, which leaves nothing of {i} pixels")
        return (*sides, self.out)

    def parameters(self, s):
        w = {"w": (self._channels(s), self.out // self.groups, *self.size)}
        return w | {"b": (self.out,)} if self.bias else w

    def draw(self, p, rng):
        if self.initial == "bilinear":
            each = np.arange(self.out)
            p.w[each, each % p.w.shape[1]] = bilinear_kernel(self.size[0])
            return
        K, C, U, V = p.w.shape  # what feeds one output are the inputs of its group
        turned = drawn(self.initial, (C * self.groups, K // self.groups, U, V), rng)
        parts = turned.reshape(self.groups, C, K // self.groups, U, V)
        p.w[:] = parts.transpose(0, 2, 1, 3, 4).reshape(p.w.shape)

    def _room(self, x, w, z, dtype):
        return convolution.memory(z, w, x, self.how, dtype)

    def forward(self, p, x, step):
        slot, z = self._ready(p, x, step)
        adjoint(x, p.w, p.b if self.bias else slot.b, self.how, slot.room, z)
        return z, x

    def backward(self, p, dz, x, grads, step):
        room, dx = step.slot.room, step.slot.dx
        if grads is not None:
            db = grads.b if self.bias else step.memory.array("db", self.out)
            adjoint_backward(dz, x, p.w, self.how, room, dx, grads.w, db)
        elif dx is not None:
            convolution.forward(dz, p.w, room.none[: x.shape[3]], self.how, room, dx)
        return dx
