"""A decoder: blocks of attention and dense layers between symbols and scores.

Equations: `transformer`.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from math import prod
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from dlbook.nets.attention import PositionalEncoding
from dlbook.nets.blocks import Positions, Scale, Tied, TransformerBlock, truth
from dlbook.nets.cached import Cached
from dlbook.nets.containers import Sequential
from dlbook.nets.costs import Cost, SoftmaxCrossEntropy
from dlbook.nets.layer import rows_of
from dlbook.nets.layers import Dense, Dropout, Embedding
from dlbook.nets.network import Composition
from dlbook.nets.norms import LayerNorm
from dlbook.nets.tree import Views, sizes
from dlbook.tools import shapes
from dlbook.tools.flat import belong, fits

__all__ = ["Transformer"]

POSITIONS = ("learned", "sinusoid")
AT_ONCE = 1 << 14  # steps that go up together in inference


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
            parts["positions"] = Positions(self.length, self.width**-0.5)
        else:
            parts["scale"] = Scale(self.width**0.5)
            parts["positions"] = PositionalEncoding(self.length)
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

    def terms(self, batch: tuple) -> int:
        """Return how many symbols of a checked batch count."""
        return int(np.count_nonzero(batch[1] >= 0))

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
