"""How a `Transformer` goes on with a text: a symbol at a time, with what it has read kept.

Equations: `transformer`.
"""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from dlbook.fast.cached import cached_step, read_into, scores_into
from dlbook.linear_classification import softmax
from dlbook.nets.attention import table
from dlbook.tools import shapes
from dlbook.tools.flat import fits

__all__ = ["Cache", "Cached", "Reader"]

EPS = 1e-5


class Cache:
    """Keys and values of all steps that were read, for each block.

    Attributes
    ----------
    keys, values : object
        Arrays (blocks, n, length, width) of n sequences; what stands behind the first `steps` of them means nothing.
    steps : int
        How many symbols of each sequence were read.
    """

    __slots__ = ("_held", "_parts", "_room", "keys", "steps", "values")

    def __init__(self, keys: np.ndarray, values: np.ndarray, room: np.ndarray):
        self.keys, self.values, self.steps = keys, values, 0
        self._room, self._held, self._parts = room, None, None


class Cached:
    """What a `Transformer` can do for texts that grow by a symbol at a time."""

    def cache(self, n: int = 1) -> Cache:
        """Return an empty cache.

        Parameters
        ----------
        n : int
            Sequences that are read side by side.
        """
        shape = self.blocks, shapes.count("n", n), self.length, self.width
        room = 4 * self.width + self.length + self._hidden
        return Cache(*np.zeros((2, *shape), self.dtype), np.zeros(room, self.dtype))

    @property
    def _hidden(self):
        """How many neurons a block's dense layers have."""
        return 4 * self.width if self.hidden is None else self.hidden

    def step(self, params: Any, symbols: ArrayLike, cache: Cache) -> np.ndarray:
        """Read one more symbol of each sequence, and return the scores of what is next.

        What `outputs` gives for the last step of the whole is found without going through the
        steps before it again.

        Parameters
        ----------
        params : Views
            The network; the same as in the steps before.
        symbols : array_like of int, shape (n,)
            One for each sequence.
        cache : Cache
            What was read before; the new keys and values are added.

        Returns
        -------
        ndarray, shape (n, v)

        Raises
        ------
        TypeError, ValueError
            If `cache` is of another model or has no place left, or `symbols` holds what is none.
        """
        if not isinstance(cache, Cache):
            raise TypeError(f"cache is {shapes.shown(cache)}, expected one that cache(n) has made")
        if params is None or cache._held is not params:
            fits(params, self.layout)
            wanted = (self.blocks, self.length, self.width, self.dtype)
            if (*np.delete(cache.keys.shape, 1).tolist(), cache.keys.dtype.name) != wanted:
                raise ValueError("cache is of another model: one that cache(n) has made is wanted")
            cache._held = params
            cache._parts = self._parts(params)
        n = cache.keys.shape[1]
        if not self._plain(symbols, n):
            axes = shapes.Axes()  # which says what is wrong
            axes.sizes["n"] = (n, "the cache")
            symbols = axes.labels("symbols", symbols, "n", self.symbols)
        return self._next(symbols, cache)

    def _plain(self, symbols, n):
        """Return whether these are n symbols as they should be, which most are."""
        if type(symbols) is not np.ndarray or symbols.dtype != np.int64 or symbols.shape != (n,):
            return False
        found = symbols.tolist()
        return min(found) >= 0 and max(found) < self.symbols

    def _parts(self, params):
        """Return the arrays that a step reads: tables, the numbers of all blocks, last norm, scores."""
        net, kind = params.net, params.flat.dtype
        first, size = net.blocks[0][0].gamma, sum(a.size for a in arrays(net.blocks[0]))
        at = (first.ctypes.data - params.flat.ctypes.data) // kind.itemsize
        learned = self.positions == "learned"
        places = net.positions.w if learned else table(self.length, self.width, kind)
        factor = 1.0 if learned else self.width**0.5
        last = (net.norm.gamma, net.norm.beta) if self.norm == "pre" else (first[:0], first[:0])
        blocks = params.flat[at : at + self.blocks * size], size
        return (
            (net.tokens.w, places, factor),
            blocks,
            last,
            (net.tokens if self.tied else net.scores).w,
        )

    def _next(self, symbols, cache):
        """Return the scores after one more checked symbol."""
        t = cache.steps
        if t >= self.length:
            raise ValueError(f"{t} symbols were read, the context has no place for another")
        read, blocks, last, top = cache._parts
        x, h = np.empty((2, len(symbols), self.width), top.dtype)
        f = np.empty((len(symbols), self.symbols), top.dtype)
        read_into(symbols, *read, t, x)
        cached_step(
            *blocks, x, cache.keys, cache.values, t, self.heads, self._hidden,
            self.norm == "pre", self.residual, EPS, cache._room, h,
        )  # fmt: skip
        scores_into(h, *last, EPS, top, f)
        cache.steps += 1
        return f

    def reader(self, params: Any, keep: int | None = None) -> "Reader":
        """Return a function of a text, for `dlbook.language_models.generate`.

        Parameters
        ----------
        params : Views
            The network.
        keep : int, optional
            A text that is longer than the context is refused; with this number, below `length`,
            its last part is read: whenever all places are taken, the last `keep` symbols are read
            once more, from the first place on.
        """
        return Reader(self, params, keep)


class Reader:
    """The probabilities of what follows a text, (t) -> (v); what was read of it is kept.

    Parameters
    ----------
    model : Transformer
        What reads.
    params : Views
        Its parameters, which must not change.
    keep : int, optional
        As for `Transformer.reader`.
    """

    def __init__(self, model: Any, params: Any, keep: int | None = None):
        fits(params, model.layout)
        if keep is not None:
            shapes.count("keep", keep, most=model.length - 1)
        self.model, self.params, self.keep = model, params, keep
        self._begin(0)

    def _begin(self, first):
        """Read from a place of the text on, with an empty cache."""
        self._first, self._read, self._cache = first, np.zeros(0, np.int64), self.model.cache()

    def __call__(self, text: ArrayLike) -> np.ndarray:
        """Return the probabilities of what follows.

        Parameters
        ----------
        text : array_like of int, shape (t,)
            At least one symbol.

        Returns
        -------
        ndarray of float64, shape (v,)

        Raises
        ------
        TypeError, ValueError
            If the text is empty, holds what is no symbol, or is longer than the context.
        """
        model = self.model
        text = shapes.Axes().labels("text", text, "t", model.symbols)
        first, over = 0, len(text) - model.length
        if over > 0:
            if self.keep is None:
                raise ValueError(
                    f"text has {len(text)} symbols, the context {model.length}; "
                    "reader(params, keep=…) goes on with the last of them"
                )
            first = -(-over // (model.length - self.keep)) * (model.length - self.keep)
        known = self._first + len(self._read)
        if (
            first != self._first
            or known >= len(text)
            or not np.array_equal(self._read, text[first:known])
        ):
            self._begin(first)
            known = first
        for at in range(known, len(text)):
            scores = model.step(self.params, text[at : at + 1], self._cache)
        self._read = text[first:].copy()
        return softmax(scores.astype(float))[0]


def arrays(tree):
    """Yield the arrays of a tree of parameters."""
    if isinstance(tree, np.ndarray):
        yield tree
    else:
        for part in tree:
            yield from arrays(part)
