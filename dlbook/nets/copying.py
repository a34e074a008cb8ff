"""Networks that copy, of the page *The transformer*: what they read, and a control.

Equations: `transformer`.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from dlbook.linear_classification import softmax
from dlbook.nets.attention import PositionalEncoding, steps_of
from dlbook.nets.blocks import Scale
from dlbook.nets.containers import Sequential
from dlbook.nets.layer import Layer, new_step
from dlbook.nets.layers import Dense, Embedding
from dlbook.nets.norms import LayerNorm
from dlbook.nets.transformer import Transformer
from dlbook.nets.tree import Views
from dlbook.tools import shapes
from dlbook.training import layernorm

__all__ = ["SYMBOLS", "Before", "copier", "looked_at", "repeated", "weights"]

SYMBOLS, LENGTH, WIDTH = 16, 20, 32
SHORTEST, LONGEST = 4, 9


def repeated(count: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return strings that repeat a shorter one, and what follows each symbol.

    The shorter one has four to nine different symbols, drawn anew for each string, its length too.

    Parameters
    ----------
    count : int
        How many strings.
    rng : numpy.random.Generator
        Draws them.

    Returns
    -------
    x, y : arrays of int64, shape (count, 20)
        What follows can be known from where the shorter one has been read to its end; before, y
        is −1.
    """
    whole = np.empty((shapes.count("count", count), LENGTH + 1), np.int64)
    ends = shapes.generator("rng", rng).integers(SHORTEST, LONGEST + 1, size=count)
    for row, end in zip(whole, ends, strict=True):
        row[:] = np.resize(rng.permutation(SYMBOLS)[:end], LENGTH + 1)
    known = np.arange(LENGTH) >= ends[:, None]
    return whole[:, :-1].copy(), np.where(known, whole[:, 1:], -1)


@dataclass(frozen=True)
class Before(Layer):
    """Beside each step of a sequence stands the one before it: y_t = (x_t, x_{t−1}), x_{−1} = 0."""

    def shape(self, s):
        steps, width = steps_of(self, s)
        return steps, 2 * width

    def forward(self, p, x, step):
        M, y = x.shape[2], step.array("y", *x.shape[:2], 2 * x.shape[2])
        y[..., :M] = x
        y[:, 0, M:] = 0
        y[:, 1:, M:] = x[:, :-1]
        return y, None

    def backward(self, p, dy, kept, grads, step):
        M = dy.shape[2] // 2
        dx = step.array("dx", *dy.shape[:2], M)
        dx[:] = dy[..., :M]
        dx[:, :-1] += dy[:, 1:, M:]
        return dx


@dataclass(frozen=True)
class Given(Transformer):
    """A decoder in which half of the numbers of each first vector are of the symbol before."""

    def __post_init__(self):
        super().__post_init__()
        if self.width % 2:
            raise ValueError(f"width is {self.width}, expected an even number")

    @cached_property
    def net(self) -> Sequential:
        """The layers."""
        return Sequential(
            tokens=Embedding(self.symbols, self.width // 2, self.width**-0.5),
            before=Before(),
            scale=Scale(self.width**0.5),
            positions=PositionalEncoding(self.length),
            blocks=Sequential(*[self._block()] * self.blocks),
            norm=LayerNorm(),
            scores=Dense(self.symbols, bias=False, initial="xavier"),
        )

    def cache(self, n=1):
        """Refuse: what is kept would lack the symbol before."""
        raise NotImplementedError("Given does not read on with a cache")


def copier(blocks: int, before: bool = False) -> Transformer:
    """Return a decoder of blocks of attention alone, with two heads each, for `repeated` strings.

    Parameters
    ----------
    blocks : int
        How many.
    before : bool
        Whether each first vector also says which symbol stands before.
    """
    kind = Given if before else Transformer
    return kind(SYMBOLS, WIDTH, blocks, 2, LENGTH, hidden=0, tied=False, positions="sinusoid")


def weights(net: Transformer, params: Views, x: np.ndarray) -> np.ndarray:
    """Return how much each step of sequences looks at each other, by block and head.

    Parameters
    ----------
    net : Transformer
        With norms first, and without dropout.
    params : Views
        Its parameters.
    x : ndarray of int64, shape (n, t)
        Checked sequences.

    Returns
    -------
    ndarray, shape (blocks, heads, n, t, t)
        The last axis is what is looked at.
    """
    p, step, found = net.by_layer(params), new_step(net.dtype, training=False), []
    seen, blocks = np.tri(x.shape[1]) > 0, net.net.names.index("blocks")
    for i, layer in enumerate(net.net.layers[:blocks]):
        x, _ = layer.forward(p[i], x, step.part(i))
    for layer, part in zip(net.net.layers[blocks].layers, p[blocks], strict=True):
        n, a = layernorm(x.reshape(-1, x.shape[2]), *part.norm, 1e-5), part.attention
        split = (*x.shape[:2], net.heads, -1)
        q, k = ((n @ w.T + b).reshape(split) for w, b in ((a.wq, a.bq), (a.wk, a.bk)))
        scores = np.einsum("nthd,nshd->hnts", q, k) / np.sqrt(q.shape[3])
        found.append(softmax(np.where(seen, scores, -np.inf).reshape(-1, len(seen))))
        x, _ = layer.forward(part, x, new_step(net.dtype, training=False))
    return np.reshape(found, (net.blocks, net.heads, -1, *seen.shape))


def looked_at(net: Transformer, params: Views, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return by block and head how much weight lies one step back, and on what came next before.

    Parameters
    ----------
    net, params
        As for `weights`.
    x, y : ndarray
        As `repeated` returns them.

    Returns
    -------
    ndarray, shape (2, blocks, heads)
        First the weight of the step before, in the mean over the second symbol of each string to
        the first that is repeated. Then what all steps have together that stand behind an earlier
        occurrence of the symbol of the step that looks, in the mean over the steps whose next
        symbol is known.
    """
    a, known = weights(net, params, x), y >= 0
    period, at = known.argmax(axis=1)[:, None], np.arange(x.shape[1])
    n, t = np.nonzero((at > 0) & (at <= period))
    back = a[:, :, n, t, t - 1].mean(axis=2)
    behind = (x[:, None, :-1] == x[:, :, None]) & np.tri(len(at), len(at) - 1, -1, dtype=bool)
    together = np.sum(a[..., 1:] * behind, axis=-1)
    return np.stack([back, together[:, :, known].mean(axis=2)])
