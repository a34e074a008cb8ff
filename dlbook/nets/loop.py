"""The one loop that trains every model.

Page: ``book/training.md``. Sources: Pascanu, Mikolov & Bengio, ICML (2013), for clipping; Prechelt,
in Neural Networks: Tricks of the Trade (1998), for early stopping.
"""

import warnings
from collections.abc import Callable
from concurrent.futures import Executor
from functools import partial
from math import isfinite
from os import PathLike
from time import perf_counter
from typing import Any

import numpy as np

from dlbook.nets.checkpoint import Best, Checkpoint, Resumable
from dlbook.nets.model import Diverged, Fitted, History, Model
from dlbook.nets.shards import ShardError, Shards
from dlbook.optimization import Optimizer
from dlbook.tools import files, shapes
from dlbook.tools.flat import fits, laid_out, like, named
from dlbook.tools.progress import bar
from dlbook.training import clip, finite_copy

__all__ = ["fit"]

PAUSE = 1.0  # seconds between two moments from which an interrupted run can go on


def fit(
    model: Model,
    params: Any,
    data: tuple,
    optimizer: Optimizer,
    rng: np.random.Generator,
    *,
    epochs: int,
    batch: int,
    validation: tuple | None = None,
    patience: int | None = None,
    score: Callable[[Any, Any], float] | None = None,
    clip: float | None = None,
    progress: bool | None = None,
    checkpoint: str | PathLike | None = None,
    every: int = 1,
    resume: str | PathLike | None = None,
    executor: Executor | None = None,
    shards: int | None = None,
) -> Fitted:
    """Train a model on shuffled mini-batches.

    Ctrl-C ends the training and returns what there is: the weights after the last whole step. The
    same seed gives the same bits, also where a run was interrupted and resumed.

    Parameters
    ----------
    model : Model
        Any model of the book, or one with the same methods.
    params : NamedTuple
        Where to start; left as it is.
    data : tuple of array_like
        What ``model.check`` accepts, usually (x, y); examples on the first axis.
    optimizer : Optimizer
        With its rate or schedule.
    rng : numpy.random.Generator
        Shuffles the examples and draws what the model drops.
    epochs : int
        Passes over the examples, at most. A resumed run counts those it has done.
    batch : int
        Examples per step. The last step of an epoch has those that are left over; where they are
        fewer than the model's smallest batch, they wait for another epoch.
    validation : tuple of array_like, optional
        Held-out data, whose loss is measured after each epoch.
    patience : int, optional
        Stop after so many epochs without a better validation loss (or score). However the training
        ends, it then returns weights and running statistics of the best epoch.
    score : callable, optional
        ``score(params, state)`` is measured after each epoch, larger is better; `patience` then
        goes by it.
    clip : float, optional
        Largest norm of the gradient; a longer one is shortened to it.
    progress : bool, optional
        Show a bar; where not given, on a terminal and in a notebook.
    checkpoint : path-like, optional
        A file to write after every `every` epochs and at the end. An interrupted run writes it,
        too, as of a whole step at most a second before. Where the disk is full, a warning says so
        and the training goes on.
    every : int
        Epochs between two checkpoints.
    resume : path-like, optional
        A checkpoint of the same run, to go on from there; `epochs` may have grown.
    executor : concurrent.futures.Executor, optional
        Who computes the gradient, in shards: a process pool of the standard library, or what Dask
        and mpi4py offer with the same methods. Each worker uses one thread.
    shards : int, optional
        Parts into which each batch is cut, 8 where an executor is given. They decide the bits of
        the result, the workers do not: it is the same on any number of them, on any executor, and
        without one. What concerns a batch as a whole, such as the statistics of batch norm, is
        computed of each shard.

    Returns
    -------
    Fitted

    Raises
    ------
    TypeError, ValueError
        If an argument is not what is described here, before any work.
    Diverged
        When a loss, a gradient or a weight stops being finite; it holds the last good weights.
    DataError
        If the checkpoint to resume is damaged or belongs to another run.
    ShardError
        When a worker is lost and the executor does not replace it. Where there is a checkpoint it
        is written before, and the training can go on from it to the same bits.
    OSError
        If it is not there, or if the one to write cannot be written: there is no such folder, a
        folder has that name, or it is forbidden.

    Notes
    -----
    In a process that was forked after kernels have run on several threads, they run on one; see
    `dlbook.tools.threads`.
    """
    epochs, every = shapes.count("epochs", epochs), shapes.count("every", every)
    how = validation, patience, score, clip, executor, shards
    run = _Run(model, params, data, optimizer, rng, batch, *how)
    moment = run.moment if resume is None else run.read(resume)
    if len(moment.rows) > epochs:
        raise ValueError(f"epochs is {epochs}, {resume} has done {len(moment.rows)}")
    if checkpoint is not None:
        _try_out("checkpoint", checkpoint)
    run.go_to(moment)
    why, written = "finished", None
    try:
        steps = {"total": epochs * run.steps, "initial": run.step, "unit": "step"}
        with bar(progress, "training", **steps) as shown:
            while (done := len(run.moment.rows)) < epochs:
                if run.moment.best and done - run.moment.best.epoch >= patience:
                    why = "stopped early"
                    break
                run.epoch(shown, checkpoint is not None)
                if checkpoint is not None and (done + 1) % every == 0:
                    run.write(checkpoint)
                    written = run.moment
    except KeyboardInterrupt:
        why = "interrupted"
    except ShardError as error:
        if checkpoint is not None:
            run.write(checkpoint)
            error.add_note(f"{checkpoint} is of step {run.moment.step}: resume from it")
        raise
    try:
        if checkpoint is not None and written is not run.moment:
            run.write(checkpoint)
            written = run.moment
    except KeyboardInterrupt:  # someone in a hurry, who gets the weights all the same
        why = "interrupted"
        if checkpoint is not None and written is not run.moment:
            warnings.warn(f"{checkpoint} was not written: interrupted", stacklevel=2)
    return run.result(why)


def _try_out(name, path):
    """Find out whether a file can be written, before it is needed."""
    try:
        files.try_out(path)
    except (TypeError, ValueError, OSError) as error:
        error.add_note(f"This is about {name}.")
        raise


def _has(name, thing, *parts):
    """Refuse what lacks a method."""
    for part in parts:
        if not hasattr(thing, part):
            raise TypeError(f"{name} is {shapes.shown(thing)}, which has no {part}")


def _examples(name, model, params, data):
    """Return data as the model wants it, the same number of examples in each array."""
    if not isinstance(data, tuple):
        raise TypeError(f"{name} is {type(data).__name__}, expected a tuple of arrays: (x, y)")
    try:
        arrays = model.check(params, data)
    except (TypeError, ValueError) as error:
        error.add_note(f"This is about {name}.")
        raise
    sizes = [len(x) for x in arrays]
    if not sizes or sizes[0] == 0:
        raise ValueError(f"{name} is empty")
    for i, size in enumerate(sizes):
        if size != sizes[0]:
            raise ValueError(f"{name}[{i}] has {size} examples, {name}[0] has {sizes[0]}")
    return arrays


def _first(views):
    """Return the name of the first array that is not finite, or None."""
    return next((name for name, x in named(views).items() if not np.isfinite(x).all()), None)


class _Run(Resumable):
    """The memory of one training, and what is done with it."""

    def __init__(self, model, params, data, optimizer, rng, batch, *how):
        """Check everything, then make all arrays."""
        validation, patience, score, clip, executor, shards = how
        _has("model", model, "start", "check", "workspace", "loss_and_grad", "loss")
        _has("optimizer", optimizer, "start", "update", "slots", "rate")
        if hasattr(model, "layout"):
            fits(params, model.layout)
        elif hasattr(model, "init"):
            fits(params, laid_out(model.init(np.random.default_rng(0))))
        for name, x in named(params).items():
            shapes.Axes().floats(f"params.{name}", x, None)
        self.model, self.optimizer = model, optimizer
        self.rng = shapes.generator("rng", rng)
        self.data = _examples("data", model, params, data)
        self.held = None
        if validation is not None:
            self.held = _examples("validation", model, params, validation)
        self.size, least = len(self.data[0]), getattr(model, "smallest_batch", 1)
        self.batch = shapes.count("batch", batch)
        if not least <= batch <= self.size:
            needs = f", of which the model needs {least} at once" if least > 1 else ""
            raise ValueError(f"batch is {batch}, data has {self.size} examples{needs}")
        if score is not None and not callable(score):
            raise TypeError(f"score is {shapes.shown(score)}, expected a function (params, state)")
        if patience is not None and validation is None and score is None:
            raise ValueError("patience is given, but neither validation nor score to go by")
        self.score = score
        self.patience = None if patience is None else shapes.count("patience", patience)
        self.limit = np.inf if clip is None else shapes.number("clip", clip, above=0)

        rest = self.size % batch
        self.used = self.size - (rest if rest < least else 0)  # examples of an epoch
        self.steps = -(-self.used // batch)
        whole = [np.empty((batch, *x.shape[1:]), x.dtype) for x in self.data]
        self.parts = {n: tuple(x[:n] for x in whole) for n in (batch, rest)}
        self.params, self.grads = like(params, params.flat.copy()), like(params)
        self.slots = optimizer.start(self.params.flat)
        of = self.params.flat, self.grads.flat, self.slots
        bound = getattr(optimizer, "bound", None)
        self.update = bound(*of) if bound else partial(optimizer.update, *of)
        self.shards = None
        if executor is not None or shards is not None:
            self.shards = Shards(model, executor, shards, batch)
        self.state, self.work = model.start(), None if self.shards else model.workspace(batch)
        self.moving = [self.params]
        if self.state is not None:
            named(self.state, "state")
            self.moving.append(self.state)
        # Copies after the last even and the last odd step; self.step says which of them counts.
        self.good = [[views.flat.copy() for views in self.moving] for _ in range(2)]
        self.step = 0
        self.moment = Checkpoint(**self.copies(), order=rng.bit_generator.state)

    def copies(self):
        """Return copies of what a step changes."""
        return {
            "params": self.params.flat.copy(),
            "slots": self.slots.copy(),
            "state": None if self.state is None else self.state.flat.copy(),
            "step": self.step,
            "rng": self.rng.bit_generator.state,
        }

    def epoch(self, bar, remember):
        """Take the steps of an epoch, or of what is left of it, and measure what it came to."""
        model, params, grads, state = self.model, self.params, self.grads, self.state
        data, parts, work, rng, batch = self.data, self.parts, self.work, self.rng, self.batch
        update, limit, slope = self.update, self.limit, grads.flat
        moment = self.moment
        rng.bit_generator.state = moment.order
        order = rng.permutation(self.size)
        if moment.at:
            rng.bit_generator.state = moment.rng
        losses, norms, begin = moment.losses, moment.norms, perf_counter() - moment.seconds
        due = perf_counter() + PAUSE
        for at in range(moment.at, self.used, batch):
            some = order[at : at + batch]
            part = parts[some.size]
            for x, out in zip(data, part, strict=True):
                x.take(some, 0, out, "clip")
            if self.shards:
                loss = self.shards.loss_and_grad(params, state, part, grads, rng, self.step)
            else:
                loss = float(model.loss_and_grad(params, state, part, grads, work, rng))
            norm = clip(slope, limit)
            if not (isfinite(loss) and isfinite(norm)):
                self.diverge_before(loss, norm, part)
            update(self.step + 1)
            self.keep()
            losses, norms = losses + loss * some.size, norms + norm
            bar.update()
            if remember and perf_counter() >= due:
                sums = {"losses": losses, "norms": norms, "seconds": perf_counter() - begin}
                self.moment = moment._replace(**self.copies(), at=at + some.size, **sums)
                due = perf_counter() + PAUSE
        self.judge(losses / self.used, norms / self.steps, begin)

    def keep(self):
        """Copy weights that are finite; from then on the step counts as taken."""
        step = self.step + 1
        for views, good in zip(self.moving, self.good[step % 2], strict=True):
            if not finite_copy(views.flat, good):
                layer = ("" if views is self.params else "state.") + _first(views)
                self.diverge(step, layer, f"the update leaves {layer} with NaN or infinity")
        self.step = step

    def judge(self, loss, norm, begin):
        """Measure what the epoch came to; from then on it counts as finished."""
        held = score = None
        if self.held is not None:
            held = float(self.model.loss(self.params, self.state, self.held))
        if self.score is not None:
            score = float(self.score(self.params, self.state))
        for name, value in (("validation", held), ("score", score)):
            if value is not None and not isfinite(value):
                self.diverge(self.step, name, f"afterwards the {name} is {value:g}")
        for name, slot in zip(self.optimizer.slots, self.slots, strict=True):
            if not np.isfinite(slot).all():
                layer = _first(like(self.params, slot))
                self.diverge(self.step, layer, f"the optimizer's {name} of {layer} is not finite")
        best, epoch = self.moment.best, len(self.moment.rows) + 1
        value = held if score is None else -score
        if self.patience is not None and (best is None or value < best.value):
            best = Best(value, epoch, *(views.flat.copy() for views in self.moving))
        rate = self.optimizer.rate
        rate = float(rate(self.step) if callable(rate) else rate)
        rows = (*self.moment.rows, (loss, held, score, rate, norm, perf_counter() - begin))
        order = self.rng.bit_generator.state
        self.moment = Checkpoint(**self.copies(), order=order, best=best, rows=rows)

    def diverge_before(self, loss, norm, part):
        """Stop before an update: the loss or the gradient is not finite."""
        layer, what = None, f"the loss is {loss:g}"
        if hasattr(self.model, "layers"):  # a NaN in the loss is a NaN in every gradient
            pairs = self.model.layers(self.params, self.state, part)
            layer = next((name for name, out in pairs if not np.isfinite(out).all()), None)
        if layer:
            what += f" and what the layer of {layer} gives is not finite"
        elif layer := _first(self.grads):
            what += f" and the gradient of {layer} is not finite"
        elif isfinite(loss):
            layer, what = "gradient", f"{what} and the norm of the gradient {norm:g}"
        self.diverge(self.step + 1, layer or "loss", what)

    def diverge(self, step, layer, what):
        """Stop with the last good weights."""
        epoch, rate = len(self.moment.rows) + 1, self.optimizer.rate
        raise Diverged(
            f"training diverged in epoch {epoch}, step {step}: {what}; try a rate below "
            f"{rate(step) if callable(rate) else rate:g} or clip the gradient. "
            f"The weights after step {self.step} are the params of this error",
            step,
            epoch,
            layer,
            *self.views(self.good[self.step % 2]),
        )

    def views(self, vectors):
        """Return parameters and running statistics over other vectors."""
        pair = [like(views, flat) for views, flat in zip(self.moving, vectors, strict=True)]
        return pair if self.state is not None else [*pair, None]

    def result(self, why):
        """Return the best weights where they were asked for, otherwise the last ones."""
        best, vectors = self.moment.best, self.good[self.step % 2]
        if best is not None:
            vectors = [x for x in (best.params, best.state) if x is not None]
        rows = np.array(self.moment.rows, dtype=float).reshape(-1, len(History._fields))
        history = History(*rows.T.copy())
        if self.held is None:
            history = history._replace(validation=None)
        if self.score is None:
            history = history._replace(score=None)
        return Fitted(*self.views(vectors), history, why, self.step, best and best.epoch)

    def go_to(self, moment):
        """Take up the training where it was."""
        self.rng.bit_generator.state = moment.rng
        self.params.flat[:], self.slots[:] = moment.params, moment.slots
        if self.state is not None:
            self.state.flat[:] = moment.state
        self.moment, self.step = moment, moment.step
        for good in self.good:
            for views, copy in zip(self.moving, good, strict=True):
                copy[:] = views.flat
