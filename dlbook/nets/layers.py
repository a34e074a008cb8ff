"""Layers of numbers: dense, activation, dropout, embedding, reshape.

Every array has its examples first and its features last, and is contiguous; what stands between
(steps, rows and columns of an image) is treated alike. Equations: `backprop`, `training`.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from dlbook.autoencoders import check_noise, corrupt_into
from dlbook.fast.activations import ACTIVATIONS
from dlbook.fast.dense import MANY, dense_input_into, dense_into, gradients_into, scatter_rows
from dlbook.fast.dropout import dropout_into
from dlbook.matmul import DEPTH
from dlbook.nets.layer import Layer, features, rows_of
from dlbook.rnn import orthogonal
from dlbook.tools import shapes
from dlbook.training import he, xavier

__all__ = ["Activation", "Dense", "Dropout", "Embedding", "Noise", "Reshape"]

INITIAL = ("he", "xavier", "orthogonal", "small", "zero")


def drawn(initial, shape, rng, slope=0.0):
    """Draw first weights by the name of a rule: variance 2/n_in, 2/(n_in + n_out), …, 10⁻⁴, 0."""
    if initial == "he":
        return he(shape, rng, slope=slope)
    if initial == "xavier":
        return xavier(shape, rng)
    if initial == "orthogonal":
        size = max(shape[0], int(np.prod(shape[1:])))
        return orthogonal(size, rng)[: shape[0], : int(np.prod(shape[1:]))].reshape(shape)
    return 0.01 * rng.standard_normal(shape) if initial == "small" else np.zeros(shape)


@dataclass(frozen=True)
class Dense(Layer):
    """y = w x + b, of the last axis.

    Parameters
    ----------
    out : int
        Neurons.
    bias : bool
        Whether there is a b.
    initial : {"he", "xavier", "orthogonal", "small", "zero"}
        How the first weights are drawn; biases start at zero.
    slope : float
        α of the leaky rectifier that follows, for He's variance.
    """

    learns: ClassVar[bool] = True
    out: int
    bias: bool = True
    initial: str = "he"
    slope: float = 0.0

    def __post_init__(self):
        shapes.count("out", self.out)
        shapes.choice("initial", self.initial, INITIAL)
        shapes.number("slope", self.slope, least=0)

    def shape(self, s):
        return (*features(self, s)[:-1], self.out)

    def parameters(self, s):
        w = {"w": (self.out, features(self, s)[-1])}
        return w | {"b": (self.out,)} if self.bias else w

    def draw(self, p, rng):
        p.w[:] = drawn(self.initial, p.w.shape, rng, self.slope)

    def _slot(self, p, x, step):
        """Return views for this shape; to look them up at every call costs a third of a small step."""
        if x.dtype != step.all.dtype:
            raise TypeError(f"x is {x.dtype}, the memory of this step is {step.all.dtype}")
        (J, K), N = p.w.shape, x.size // x.shape[-1]
        panels = step.panels((K, J), (J, K), (min(N, max(MANY, DEPTH)), K))
        z = step.array("z", *x.shape[:-1], J)
        dx = step.array("dx", *x.shape) if step.wants and step.all.training else None
        b = None if self.bias else step.memory.array("no bias", J)
        slot = x.shape, x.dtype, z, rows_of(z), panels, dx, None if dx is None else rows_of(dx), b
        if step.all.training:
            step.slot = slot
        return slot

    def forward(self, p, x, step):
        slot = step.slot
        if slot is None or slot[0] != x.shape or slot[1] is not x.dtype:
            slot = self._slot(p, x, step)
        rows = x if x.ndim == 2 else rows_of(x)
        dense_into(rows, p.w, p.b if self.bias else slot[7], slot[4], slot[3])
        return slot[2], rows

    def backward(self, p, dz, rows, grads, step):
        _, _, _, _, panels, dx, into, none = step.slot
        if dz.ndim != 2:
            dz = rows_of(dz)
        if grads is not None:
            db = grads.b if self.bias else step.memory.array("db", none.size)
            gradients_into(dz, rows, panels, grads.w, db)
        if dx is not None:
            dense_input_into(dz, p.w, panels, into)
        return dx


@dataclass(frozen=True)
class Activation(Layer):
    """A function of each number.

    Parameters
    ----------
    kind : {"relu", "leaky-relu", "sigmoid", "tanh", "gelu", "silu"}
        Which one; GELU in its tanh form.
    slope : float
        α of "leaky-relu".
    """

    kind: str = "relu"
    slope: float = 0.01

    def __post_init__(self):
        shapes.choice("kind", self.kind, tuple(ACTIVATIONS))
        shapes.number("slope", self.slope, least=0)

    @property
    def keeps_output(self):
        return ACTIVATIONS[self.kind].keeps == "output"

    def shape(self, s):
        return features(self, s)

    def forward(self, p, x, step):
        pair, y = ACTIVATIONS[self.kind], x
        if not step.free or pair.keeps == "input":
            y = step.array("y", *x.shape)
            y[:] = x
        rows = y if y.ndim == 2 else rows_of(y)
        pair.forward(rows, self.slope)
        return y, rows if pair.keeps == "output" else rows_of(x)

    def backward(self, p, dy, kept, grads, step):
        ACTIVATIONS[self.kind].backward(dy if dy.ndim == 2 else rows_of(dy), kept, self.slope)
        return dy


@dataclass(frozen=True)
class Dropout(Layer):
    """In training each number is dropped with probability p, and the others are divided by 1 − p.

    Parameters
    ----------
    p : float
        0 ≤ p < 1.
    """

    passes: ClassVar[bool] = True
    p: float

    def __post_init__(self):
        shapes.number("p", self.p, least=0, below=1)

    def shape(self, s):
        return features(self, s)

    def forward(self, p, x, step):
        if not step.all.training or self.p == 0:
            return x, None
        uniform = step.array("uniform", *x.shape, dtype=np.float32)
        step.rng.random(out=uniform, dtype=np.float32)
        y, uniform = step.array("y", *x.shape), rows_of(uniform)
        dropout_into(rows_of(x), uniform, self.p, rows_of(y))
        return y, uniform

    def backward(self, p, dy, uniform, grads, step):
        if uniform is not None:
            d = rows_of(dy)
            dropout_into(d, uniform, self.p, d)
        return dy


@dataclass(frozen=True)
class Noise(Layer):
    """In training the input is spoilt, anew for each batch: for denoising.

    Parameters
    ----------
    kind : {"gaussian", "mask"}
        Normal numbers are added, or numbers are set to zero.
    level : float
        Standard deviation, or the probability of being set to zero.
    """

    passes: ClassVar[bool] = True
    kind: str
    level: float

    def __post_init__(self):
        check_noise("kind", self.kind, self.level)

    def shape(self, s):
        return features(self, s)

    def forward(self, p, x, step):
        if not step.all.training:
            return x, None
        y, draws = step.array("y", *x.shape), step.array("draws", *x.shape)
        corrupt_into(x, self.kind, self.level, step.rng, draws, y)
        return y, draws

    def backward(self, p, dy, draws, grads, step):
        if draws is not None and self.kind == "mask":
            dy *= draws >= self.level
        return dy


@dataclass(frozen=True)
class Embedding(Layer):
    """Symbols, whole numbers from 0 on, become vectors: row k of w stands for symbol k.

    Parameters
    ----------
    symbols : int
        How many there are; numbers are trusted to lie below.
    width : int
        Numbers of a vector.
    scale : float
        Standard deviation of the first vectors.
    """

    learns: ClassVar[bool] = True
    symbols: int
    width: int
    scale: float = 0.1

    def __post_init__(self):
        shapes.count("symbols", self.symbols)
        shapes.count("width", self.width)
        shapes.number("scale", self.scale, least=0)

    def shape(self, s):
        return (*s, self.width)

    def parameters(self, s):
        return {"w": (self.symbols, self.width)}

    def draw(self, p, rng):
        p.w[:] = self.scale * rng.standard_normal(p.w.shape)

    def forward(self, p, x, step):
        y = step.array("y", *x.shape, self.width)
        return p.w.take(x, 0, out=y, mode="clip"), x

    def backward(self, p, dy, x, grads, step):
        if grads is not None:
            grads.w[:] = 0
            scatter_rows(rows_of(dy), x.reshape(-1), grads.w)


@dataclass(frozen=True, init=False)
class Reshape(Layer):
    """The numbers of an example in another form: ``Reshape(-1)`` puts them in one row.

    Parameters
    ----------
    *to : int
        The shape wanted; −1 stands for what is left, once.
    """

    passes: ClassVar[bool] = True
    to: tuple[int, ...]

    def __init__(self, *to):
        object.__setattr__(self, "to", to)

    def shape(self, s):
        try:
            return np.broadcast_to(0.0, features(self, s)).reshape(self.to).shape
        except ValueError:
            raise ValueError(f"examples of shape {s} cannot have the shape {self.to}") from None

    def forward(self, p, x, step):
        to = self.to if len(x) else self.shape(x.shape[1:])  # nothing is left to find −1 from
        return x.reshape(len(x), *to), x.shape

    def backward(self, p, dy, shape, grads, step):
        return dy.reshape(shape)
