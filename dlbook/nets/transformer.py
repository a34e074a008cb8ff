"""Blocks of attention and dense layers, and the decoder that is made of them.

Sequences are (n, t, m): n examples of t steps of m numbers. Equations: `transformer`.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from math import prod
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike

from dlbook.fast.dense import dense_input_into, dense_into, rows_gradient_into
from dlbook.matmul import DEPTH
from dlbook.nets.attention import MultiHeadAttention, PositionalEncoding, steps_of
from dlbook.nets.cached import Cached
from dlbook.nets.containers import Container, Sequential
from dlbook.nets.costs import Cost, SoftmaxCrossEntropy
from dlbook.nets.layer import Layer, features, rows_of
from dlbook.nets.layers import Activation, Dense, Dropout, Embedding
from dlbook.nets.network import Composition
from dlbook.nets.norms import LayerNorm
from dlbook.nets.tree import Views, sizes
from dlbook.tools import shapes
from dlbook.tools.flat import belong, fits

__all__ = ["Places", "Scale", "Tied", "Transformer", "TransformerBlock"]

NORMS = ("pre", "post")
POSITIONS = ("learned", "sinusoid")
AT_ONCE = 1 << 14  # steps that go up together in inference


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
class Places(Layer):
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


@dataclass(frozen=True)
class Transformer(Cached, Composition):
    """A decoder: symbols and their places become vectors, blocks follow, and scores of what is next.

    Data are (x, y), whole numbers (n, t) with t up to `length`; y holds what follows each symbol
    of x, and −1 where that does not count. The cost is the mean over all that count.

    Parameters
    ----------
    symbols : int
        How many there are.
    width : int
        Numbers of a vector.
    blocks : int
        How many follow each other.
    heads : int
        Of each block; they divide the width.
    length : int
        The longest sequence, which is the context.
    hidden : int, optional
        Neurons of a block's dense layers; 4 · width where not given, none with 0.
    dropout : float
        In training, of the first vectors and of what attention and dense layers give.
    tied : bool
        Whether the scores are made with the vectors of the symbols, or with others.
    positions : {"learned", "sinusoid"}
        What is added to the vector of a symbol for its place; with sinusoids the vector is
        multiplied by √width before.
    norm : {"pre", "post"}
        Whether norms stand before attention and dense layers and once more behind the last block,
        or behind the sums.
    residual : bool
        Whether what goes into attention and dense layers is added to what they give.
    dtype : {"float32", "float64"}
        Of parameters and scores.

    Raises
    ------
    TypeError, ValueError
        If one of them is not what is described here.

    References
    ----------
    Vaswani et al., NeurIPS (2017); Radford et al., OpenAI (2019), for norms first in a decoder.

    Examples
    --------
    The smallest of the four GPT-2:

    >>> Transformer(50257, 768, blocks=12, heads=12, length=1024).size
    124439808
    """

    symbols: int = field()  # the base has a default
    width: int
    blocks: int
    heads: int
    length: int
    hidden: int | None = None
    dropout: float = 0.0
    tied: bool = True
    positions: str = "learned"
    norm: str = "pre"
    residual: bool = True
    dtype: str = "float32"

    def __post_init__(self):
        """Check all of them at once."""
        for name in ("symbols", "blocks", "length"):
            shapes.count(name, getattr(self, name))
        self._block()  # which checks what is its own
        truth("tied", self.tied)
        shapes.choice("positions", self.positions, POSITIONS)
        shapes.choice("dtype", self.dtype, ("float32", "float64"))

    def _block(self):
        """Return one block."""
        return TransformerBlock(
            self.width,
            self.heads,
            self.hidden,
            dropout=self.dropout,
            norm=self.norm,
            residual=self.residual,
        )

    @cached_property
    def input(self) -> tuple[int, ...]:
        """Shape of the longest example."""
        return (self.length,)

    @cached_property
    def net(self) -> Sequential:
        """The layers."""
        parts = {"tokens": Embedding(self.symbols, self.width, self.width**-0.5)}
        if self.positions == "learned":
            parts["places"] = Places(self.length, self.width**-0.5)
        else:
            parts["scale"] = Scale(self.width**0.5)
            parts["places"] = PositionalEncoding(self.length)
        if self.dropout:
            parts["dropout"] = Dropout(self.dropout)
        parts["blocks"] = Sequential(*[self._block()] * self.blocks)
        if self.norm == "pre":
            parts["norm"] = LayerNorm()
        if self.tied:
            return Tied(**parts)
        return Sequential(**parts, scores=Dense(self.symbols, bias=False, initial="xavier"))

    @cached_property
    def cost(self) -> Cost:
        """What is made small."""
        return SoftmaxCrossEntropy()

    @property
    def size(self) -> int:
        """How many parameters there are; none is made."""
        return sum(map(prod, sizes(self._shapes[0])))

    def init(self, rng: np.random.Generator) -> Views:
        """Draw the first parameters; what is added to the stream is shrunk by √(2 · blocks)."""
        params = super().init(rng)
        for p in params.net.blocks if self.residual else ():
            attention = p.attention[0] if self.dropout else p.attention
            for w in (attention.wo, *([p.feed[2].w] if self.hidden != 0 else [])):
                w *= (2 * self.blocks) ** -0.5
        return params

    def check(self, params: Any, data: tuple) -> tuple[np.ndarray, ...]:
        """Return symbols and what follows them, checked.

        Parameters
        ----------
        params : Views
            Held against the layout of this model.
        data : tuple (x, y)
            Whole numbers (n, t), 1 ≤ t ≤ `length`; y is −1 where it does not count.
        """
        if not isinstance(data, tuple) or len(data) != 2:
            raise TypeError("data is not a pair of symbols and what follows them, (x, y)")
        fits(params, self.layout)
        axes = shapes.Axes()
        x = self._examples(axes, data[0])
        y = shapes.array("y", data[1])
        off = y == -1 if y.dtype.kind in "iu" else np.zeros(y.shape, bool)
        if off.any():
            return x, axes.labels("y", np.where(off, 0, y), "n t", self.symbols) - off
        return x, axes.labels("y", y, "n t", self.symbols)

    def _examples(self, axes, x):
        """Return checked symbols, no longer than the context."""
        x = axes.labels("x", x, "n t", self.symbols)
        if not 1 <= x.shape[1] <= self.length:
            raise ValueError(
                f"x has {x.shape[1]} symbols in a row, expected 1 … {self.length}, the context"
            )
        return x

    def _cost_of(self, z, y):
        """Turn scores into ∂C/∂z, zero where nothing counts; return C."""
        z, y = rows_of(z), y.reshape(-1)
        counts = y >= 0
        if counts.all():
            return self.cost.into(z, y)
        rows = z[counts]
        loss = self.cost.into(rows, y[counts]) if len(rows) else 0.0
        z[:] = 0
        z[counts] = rows
        return loss

    def _pieces(self, *arrays) -> Iterator[tuple]:
        """Yield parts of arrays that go up together."""
        some = max(1, AT_ONCE // arrays[0].shape[1])
        for first in range(0, max(1, len(arrays[0])), some):
            yield tuple(x[first : first + some] for x in arrays)

    def outputs(self, params: Any, state: Any, x: np.ndarray) -> np.ndarray:
        """Return the scores of what is next after each symbol of checked sequences, in inference.

        Returns
        -------
        ndarray, shape (n, t, v)
        """
        belong(self, params, state)
        p = self._tree(params)
        return np.concatenate([self._up(p, (), part) for (part,) in self._pieces(x)])

    def loss(self, params: Any, state: Any, batch: tuple) -> float:
        """Return the mean cost of checked data, in inference."""
        belong(self, params, state)
        x, y = batch
        p, total = self._tree(params), 0.0
        for a, b in self._pieces(x, y):
            total += self._cost_of(self._up(p, (), a), b) * np.count_nonzero(b >= 0)
        return float(total / max(1, np.count_nonzero(y >= 0)))

    def predict(self, params: Any, state: Any, x: ArrayLike) -> np.ndarray:
        """Return the likeliest next symbol after each symbol of sequences.

        Parameters
        ----------
        params, state : Views
            The network.
        x : array_like of int, shape (n, t)
            Sequences, t up to `length`.

        Returns
        -------
        ndarray of int64, shape (n, t)
        """
        x = self._examples(shapes.Axes(), x)
        return self.cost.predict(self.outputs(params, state, x))
