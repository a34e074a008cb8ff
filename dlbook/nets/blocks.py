"""Parts of a transformer: blocks of attention and dense layers, places, scores by the vectors read.

Sequences are (n, t, m): n examples of t steps of m numbers. Equations: `transformer`.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from dlbook.fast.dense import dense_input_into, dense_into, rows_gradient_into
from dlbook.matmul import DEPTH
from dlbook.nets.attention import MultiHeadAttention, steps_of
from dlbook.nets.containers import Container, Sequential
from dlbook.nets.layer import Layer, features, rows_of
from dlbook.nets.layers import Activation, Dense, Dropout, Embedding
from dlbook.nets.norms import LayerNorm
from dlbook.tools import shapes

__all__ = ["Positions", "Scale", "Tied", "TransformerBlock"]

NORMS = ("pre", "post")


def truth(name, value):
    """Refuse what is neither True nor False."""
    if not isinstance(value, bool):
        raise TypeError(f"{name} is {shapes.shown(value)}, expected True or False")


@dataclass(frozen=True)
class Scale(Layer):
    """y = f x with a fixed f.

    Parameters
    ----------
    factor : float
        f.
    """

    factor: float

    def __post_init__(self):
        shapes.number("factor", self.factor)

    def shape(self, s):
        return features(self, s)

    def forward(self, p, x, step):
        y = x if step.free else step.array("y", *x.shape)
        return np.multiply(x, x.dtype.type(self.factor), out=y), None

    def backward(self, p, dy, kept, grads, step):
        dy *= dy.dtype.type(self.factor)
        return dy


@dataclass(frozen=True)
class Positions(Layer):
    """y_tm = x_tm + p_tm, where p is learned: row t stands for the step t of a sequence.

    Steps are counted from 0, or from what `step.start` says; what comes next stands in `step.last`.

    Parameters
    ----------
    length : int
        Places there are; a longer sequence is refused.
    scale : float
        Standard deviation of the first p.
    """

    learns: ClassVar[bool] = True
    length: int
    scale: float = 0.1

    def __post_init__(self):
        shapes.count("length", self.length)
        shapes.number("scale", self.scale, least=0)

    def shape(self, s):
        steps, _ = steps_of(self, s)
        if steps > self.length:
            raise ValueError(f"{self} has {self.length} places and gets {steps} steps")
        return s

    def parameters(self, s):
        return {"w": (self.length, s[1])}

    def draw(self, p, rng):
        p.w[:] = self.scale * rng.standard_normal(p.w.shape)

    def forward(self, p, x, step):
        first = 0 if step.start is None else int(step.start[0])
        last = first + x.shape[1]
        if last > self.length:
            raise ValueError(f"{self} has {self.length} places and gets step {last}")
        y = x if step.free else step.array("y", *x.shape)
        np.add(x, p.w[first:last], out=y)
        step.last = [np.array(last)]
        return y, (first, last)

    def backward(self, p, dy, kept, grads, step):
        if grads is not None:
            first, last = kept
            grads.w[:] = 0
            np.sum(dy, axis=0, out=grads.w[first:last])
        return dy


class TransformerBlock(Container):
    """Attention of a sequence to itself, then two dense layers at each step, each around a norm.

    With norms first, x' = x + A(N(x)) and y = x' + F(N'(x')); with norms after the sums, as it was
    published, x' = N(x + A(x)) and y = N'(x' + F(x')). F is dense, GELU, dense.

    Parameters
    ----------
    width : int
        Numbers of a step.
    heads : int
        It divides the width.
    hidden : int, optional
        Neurons of F, 4 · width where not given; with 0 there is no F, and the block is attention
        alone.
    causal : bool
        Whether a step sees itself and what is before it only.
    dropout : float
        What A and F give is dropped with this probability in training.
    norm : {"pre", "post"}
        Where the norms stand.
    residual : bool
        Whether the sums are there; without them x' = A(N(x)) and y = F(N'(x')).

    References
    ----------
    Vaswani et al., NeurIPS (2017); Xiong et al., ICML (2020), for where the norms stand.
    """

    def __init__(
        self,
        width: int,
        heads: int,
        hidden: int | None = None,
        causal: bool = True,
        dropout: float = 0.0,
        *,
        norm: str = "pre",
        residual: bool = True,
    ):
        shapes.count("width", width)
        hidden = 4 * width if hidden is None else shapes.count("hidden", hidden, least=0)
        shapes.number("dropout", dropout, least=0, below=1)
        shapes.choice("norm", norm, NORMS)
        truth("residual", residual)
        attention = MultiHeadAttention(width, heads, causal)
        drop = [Dropout(dropout)] if dropout else []
        parts = {"norm": LayerNorm()}
        parts["attention"] = Sequential(attention, *drop) if drop else attention
        if hidden:
            up, down = Dense(hidden), Dense(width, initial="xavier")
            parts["norm2"] = LayerNorm()
            parts["feed"] = Sequential(up, Activation("gelu"), down, *drop)
        super().__init__(**parts)
        object.__setattr__(self, "settings", (width, heads, hidden, causal, dropout))
        object.__setattr__(self, "norm", norm)
        object.__setattr__(self, "residual", residual)

    def __eq__(self, other):
        mine = self.settings, self.norm, self.residual
        return type(other) is type(self) and mine == (other.settings, other.norm, other.residual)

    def __hash__(self):
        return hash((self.settings, self.norm, self.residual))

    def __repr__(self):
        width, heads, hidden, causal, dropout = self.settings
        return (
            f"TransformerBlock({width}, {heads}, hidden={hidden}, causal={causal}, "
            f"dropout={dropout}, norm={self.norm!r}, residual={self.residual})"
        )

    def shape(self, s):
        steps_of(self, s, self.settings[0])
        return s

    def inputs(self, s):
        return [self.shape(s)] * len(self.layers)

    def _part(self, i, p, x, step):
        """Return what a part gives and keeps; what is below is looked at again."""
        return self.layers[i].forward(p[i], x, step.part(i, False, step.wants or i % 2 == 1))

    def _back(self, i, p, dy, kept, grads, step):
        return self.layers[i].backward(p[i], dy, kept, grads and grads[i], step.parts[i])

    def forward(self, p, x, step):
        kept = []
        for i in range(0, len(self.layers), 2):  # attention, then dense layers
            if self.norm == "pre":
                a, norm = self._part(i, p, x, step)
                y, inner = self._part(i + 1, p, a, step)
                if self.residual:
                    y += x
            else:
                y, inner = self.layers[i + 1].forward(p[i + 1], x, step.part(i + 1))
                if self.residual:
                    y += x
                y, norm = self.layers[i].forward(p[i], y, step.part(i))
            kept.append((norm, inner))
            x = y
        return x, kept

    def backward(self, p, dy, kept, grads, step):
        for i in range(len(self.layers) - 2, -1, -2):
            norm, inner = kept[i // 2]
            if self.norm == "post":
                dy = self._back(i, p, dy, norm, grads, step)
            d = dy
            if self.residual:  # two owners, two arrays
                d = step.array(("d", i), *dy.shape)
                d[:] = dy
            d = self._back(i + 1, p, d, inner, grads, step)
            if self.norm == "pre":
                d = self._back(i, p, d, norm, grads, step)
            if self.residual:
                dy += d
            else:
                dy = d
        return dy


class Tied(Sequential):
    """Layers between an `Embedding` and scores that are made with the same vectors: z = h Eᵀ.

    The first part is the `Embedding`; the last gives vectors h of its width.

    References
    ----------
    Press & Wolf, EACL (2017); Inan et al., ICLR (2017).
    """

    def __init__(self, *layers: Layer, **named: Layer):
        super().__init__(*layers, **named)
        if not isinstance(self.layers[0], Embedding):
            raise TypeError(f"Tied begins with {self.layers[0]}, expected an Embedding")

    keeps_output = passes = False

    def shape(self, s):
        found, first = super().shape(s), self.layers[0]
        if found[-1] != first.width:
            raise ValueError(
                f"Tied compares vectors of {first.width} numbers and gets examples of shape {found}"
            )
        return (*found[:-1], first.symbols)

    def _panels(self, p, step):
        """Return memory for a packed factor."""
        V, M = p[0].w.shape
        return step.panels((M, V), (V, M), (DEPTH, M))

    def forward(self, p, x, step):
        h, kept = super().forward(p, x, step)
        E = p[0].w
        z = step.array("z", *h.shape[:-1], len(E))
        nothing = step.memory.array("no bias", len(E))
        nothing[:] = 0
        dense_into(rows_of(h), E, nothing, self._panels(p, step), rows_of(z))
        return z, (kept, h)

    def backward(self, p, dz, kept, grads, step):
        (kept, h), dz, panels = kept, rows_of(dz), self._panels(p, step)
        dh = step.array("dh", *h.shape)
        dense_input_into(dz, p[0].w, panels, rows_of(dh))
        dx = super().backward(p, dh, kept, grads, step)
        if grads is not None:  # beside what the layers below have found
            rows_gradient_into(dz, rows_of(h), panels, grads[0].w)
        return dx

    def whole(self, p, grads, step, cost):
        return None
