"""A step of training cut into shards, which any executor of `concurrent.futures` may compute.

Page: ``book/scaling.md``. Source: Li et al., Proc. VLDB Endow. 13 (2020), for the same on many
machines.

A batch is cut into a fixed number of shards, whoever computes them, and their gradients are added
in the order of the shards. So the sum is rounded in the same way with one worker or a hundred.
"""

import pickle
from collections.abc import Iterator
from concurrent.futures import Executor
from contextlib import nullcontext
from copy import deepcopy
from functools import lru_cache
from itertools import pairwise
from threading import Lock, get_ident
from typing import Any, NamedTuple

import numpy as np
from numba import get_num_threads, set_num_threads, threading_layer
from numba.core import config

from dlbook import __version__
from dlbook.nets.model import Model
from dlbook.tools import shapes
from dlbook.tools.flat import like

__all__ = ["ShardError", "Shards", "compute"]

USUAL = 8  # shards of a batch, where an executor is given and their number is not
TURN = Lock()


class ShardError(RuntimeError):
    """A shard was not computed: a worker is gone, or what it ran raised an error."""


class Found(NamedTuple):
    """What a shard comes to."""

    loss: float
    grads: np.ndarray  # (parameters,)
    state: np.ndarray | None


class Place:
    """A model with the memory of its steps, at the place where shards are computed."""

    def __init__(self, model):
        self.model = model
        self.params = model.init(np.random.default_rng(0))
        self.grads, self.state = like(self.params), model.start()
        self.work, self.room = None, 0

    def compute(self, params, state, batch, seed) -> Found:
        """Return what a shard comes to; its arrays are written again by the next one."""
        size = len(batch[0])
        if size > self.room:
            self.work, self.room = self.model.workspace(size), size
        self.params.flat[:] = params
        if state is not None:
            self.state.flat[:] = state
        given = self.params, self.state, batch, self.grads, self.work
        loss = float(self.model.loss_and_grad(*given, np.random.default_rng(seed)))
        return Found(loss, self.grads.flat, None if state is None else self.state.flat)


@lru_cache(maxsize=16)
def _place(thread, model):
    """Return the place of one thread for one model, which stays as long as it is used."""
    return Place(pickle.loads(model))


def compute(model: bytes, version: str, *shard: Any) -> Found:
    """Return what a shard comes to, computed on one thread by a worker.

    Parameters
    ----------
    model : bytes
        A model, pickled; one that came before is known.
    version : str
        Of the package that asks.
    shard : params, state, batch, seed
        Vectors of parameters and of running statistics (or None), examples, and what to draw by.

    Raises
    ------
    RuntimeError
        If the worker has another version of the package, which might compute other bits.
    """
    if version != __version__:
        raise RuntimeError(f"the worker has dlbook {__version__}, who asks has {version}")
    if config.DISABLE_JIT:
        return _copied(_place(get_ident(), model).compute(*shard))
    threads = get_num_threads()
    set_num_threads(1)
    try:  # Numba's own pool of threads ends a process in which two threads call it at a time
        with TURN if threading_layer() == "workqueue" else nullcontext():
            return _copied(_place(get_ident(), model).compute(*shard))
    finally:
        set_num_threads(threads)


def _copied(found):
    """Return what was found in arrays of its own."""
    return Found(*(x.copy() if isinstance(x, np.ndarray) else x for x in found))


class Shards:
    """Steps of training whose batches are cut into shards.

    Parameters
    ----------
    model : Model
        Where an executor is given, one that can be pickled.
    executor : concurrent.futures.Executor or None
        Who computes the shards; without one they are computed here, one after the other.
    count : int or None
        Shards of a batch, 8 where an executor is given.
    batch : int
        Examples of a step.

    Raises
    ------
    TypeError, ValueError
        If one of them is not what is described here, or a batch is too small for so many shards.
    """

    def __init__(self, model: Model, executor: Executor | None, count: int | None, batch: int):
        if executor is not None and not hasattr(executor, "submit"):
            raise TypeError(f"executor is {shapes.shown(executor)}, which has no submit")
        self.count = shapes.count("shards", USUAL if count is None else count)
        self.least, self.executor = getattr(model, "smallest_batch", 1), executor
        if self.count * self.least > batch:
            needs = f", each with {self.least} at least" if self.least > 1 else ""
            raise ValueError(f"shards is {self.count}, batch has {batch} examples{needs}")
        self.terms = getattr(model, "terms", lambda part: len(part[0]))
        if executor is None:
            self.place = Place(model)
            return
        try:
            self.model = pickle.dumps(model)
            pickle.loads(self.model)
        except (pickle.PickleError, TypeError, AttributeError) as error:
            raise TypeError(f"model cannot be sent to a worker: {error}") from error

    def cut(self, batch: tuple) -> list[tuple]:
        """Return the shards of a batch, of equal size but for one example."""
        size = len(batch[0])
        shards = min(self.count, size // self.least)
        ends = [s * size // shards for s in range(shards + 1)]
        return [tuple(x[i:j] for x in batch) for i, j in pairwise(ends)]

    def loss_and_grad(
        self, params: Any, state: Any, batch: tuple, grads: Any, rng: np.random.Generator, step: int
    ) -> float:
        """Return the mean loss of a batch, fill `grads`, move the running statistics.

        What a model computes of a batch as a whole, such as the mean and variance of batch norm,
        it computes of each shard; the running statistics become the mean of what the shards make
        of them. Shards count as much as they have terms of the loss, and what else is a mean in
        the cost counts so, too. Each draws by a seed of its own, made of the generator, which does
        not move, of the step and of the shard.

        Raises
        ------
        ShardError
            If a shard was not computed.
        """
        parts, drawn = self.cut(batch), int(deepcopy(rng).integers(2**63))
        weights = np.array([self.terms(part) for part in parts], dtype=float)
        if not weights.any():  # nothing to learn from but penalties
            weights[:] = [len(part[0]) for part in parts]
        weights /= weights.sum()
        held = None if state is None else state.flat.copy()
        shards = [(params.flat, held, part, (drawn, step, s)) for s, part in enumerate(parts)]
        loss, room = 0.0, np.empty_like(grads.flat)
        grads.flat[:] = 0
        if state is not None:
            state.flat[:] = 0
        for weight, found in zip(weights, self.each(shards), strict=True):
            loss += weight * found.loss
            grads.flat[:] += np.multiply(found.grads, weight, out=room)
            if state is not None:
                state.flat[:] += weight.astype(state.flat.dtype) * found.state
        return float(loss)

    def each(self, shards: list[tuple]) -> Iterator[Found]:
        """Yield what each shard comes to, in their order."""
        if self.executor is None:
            yield from (self.place.compute(*shard) for shard in shards)
            return
        asked, s = [], 0
        try:
            for shard in shards:
                asked.append(self.executor.submit(compute, self.model, __version__, *shard))
            for s, future in enumerate(asked):  # noqa: B007
                yield future.result()
        except Exception as error:
            raise ShardError(
                f"shard {s + 1} of {len(shards)} was not computed: {type(error).__name__}: {error}"
            ) from error
        finally:
            for future in asked:
                future.cancel()
