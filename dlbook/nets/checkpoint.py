"""Checkpoints: moments of a training from which it can go on with the same bits."""

import json
import warnings
import zlib
from copy import deepcopy
from dataclasses import fields, is_dataclass
from functools import cached_property
from math import isfinite
from typing import NamedTuple

import numpy as np

from dlbook.tools import shapes, store
from dlbook.tools.errors import DataError
from dlbook.tools.flat import like, named

__all__ = ["Best", "Checkpoint", "Resumable", "can_be"]

FACTS = ("step", "rng", "order", "rows", "at", "losses", "norms", "seconds")  # beside the vectors


class Best(NamedTuple):
    """The best epoch so far."""

    value: float  # validation loss, or minus the score
    epoch: int
    params: np.ndarray
    state: np.ndarray | None = None


class Checkpoint(NamedTuple):
    """A moment between two steps: all that the steps to come depend on. Vectors are copies."""

    params: np.ndarray  # (parameters,)
    slots: np.ndarray  # (slots, parameters), what the optimizer remembers
    state: np.ndarray | None  # running statistics
    step: int  # steps taken
    rng: dict  # of the generator, now
    order: dict  # of the generator, before it drew the order of this epoch
    best: Best | None = None  # where there is patience
    rows: tuple = ()  # one row of `History` for each finished epoch
    at: int = 0  # examples of this epoch that have been used
    losses: float = 0.0  # sum over them
    norms: float = 0.0  # sum over the steps of this epoch
    seconds: float = 0.0  # since it began


def _settings(name, thing):
    """Return what a model, an optimizer or an array is, as names and plain values."""
    if isinstance(thing, np.generic):
        thing = thing.item()
    if isinstance(thing, (tuple, list)):
        parts = {f"{name}[{i}]": part for i, part in enumerate(thing)}
    elif is_dataclass(thing) and not isinstance(thing, type):
        parts = {f"{name}.{f.name}": getattr(thing, f.name) for f in fields(thing)}
    elif isinstance(thing, np.ndarray):
        crc = zlib.crc32(np.ascontiguousarray(thing).reshape(-1).view(np.uint8))
        return {name: f"{thing.dtype} of shape {thing.shape}, checksum {crc:08x}"}
    elif thing is None or isinstance(thing, (bool, int, float, str)):
        return {name: thing}
    else:  # functions, and what else has no fields to look at
        return {name: getattr(thing, "__qualname__", type(thing).__qualname__)}
    found = {name: type(thing).__qualname__}
    for key, part in parts.items():
        found |= _settings(key, part)
    return found


def _object(path, remarks, key):
    """Return a remark of a checkpoint as names and values."""
    try:
        found = json.loads(remarks[key])
    except (KeyError, ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise DataError(
            f"{path} holds no moment of this run: {key} in its metadata is missing or not readable"
        )
    return found


def _finite(value):
    """Say whether a value read from a file is a floating-point number and finite."""
    return isinstance(value, float) and isfinite(value)


def can_be(generator, state):
    """Say whether a value read from a file is a state of such a bit generator."""
    twin, most = deepcopy(generator), {"pos": 624, "buffer_pos": 4, "has_uint32": 1}
    try:
        twin.state = state
    except (LookupError, TypeError, ValueError, OverflowError, AttributeError):
        return False
    if json.loads(json.dumps(twin.state, default=np.ndarray.tolist)) != state:
        return False
    places = state | (state["state"] if isinstance(state["state"], dict) else {})
    return all(0 <= places.get(name, 0) <= limit for name, limit in most.items())


class Resumable:
    """What a run does to write a moment into a file, and to take one up again."""

    @cached_property
    def settings(self):
        """Return what another run must share with this one to go on where it stopped."""
        found = _settings("model", self.model) | _settings("optimizer", self.optimizer)
        found |= _settings("data", self.data) | _settings("validation", self.held)
        found |= {"batch": self.batch, "patience": self.patience, "clip": self.limit}
        return found | {
            "shards": self.shards and self.shards.count,
            "score": self.score is not None,
            "rng": type(self.rng.bit_generator).__qualname__,
        }

    def arrays(self, moment):
        """Return the vectors of a moment as named arrays."""
        best = moment.best or Best(0.0, 0, moment.params, moment.state)
        parts = [("params", self.params, moment.params), ("state", self.state, moment.state)]
        for name, slot in zip(self.optimizer.slots, moment.slots, strict=True):
            parts.append((f"slots.{name}", self.params, slot))
        if self.patience is not None:
            parts.append(("best.params", self.params, best.params))
            parts.append(("best.state", self.state, best.state))
        return {
            f"{part}.{name}": x
            for part, views, flat in parts
            if flat is not None
            for name, x in named(like(views, flat)).items()
        }

    def write(self, path):
        """Save the last moment, with all that must agree when it is resumed."""
        moment = self.moment
        facts = {name: getattr(moment, name) for name in FACTS}
        facts["best"] = moment.best and moment.best[:2]
        remarks = {"kind": "checkpoint"}
        for name, value in (("settings", self.settings), ("moment", facts)):
            remarks[name] = json.dumps(value, default=np.ndarray.tolist)
        try:
            store.save(path, self.arrays(moment), remarks)
        except OSError as error:  # what was learned is worth more than the file
            warnings.warn(f"the checkpoint could not be written: {error}", stacklevel=3)

    def read(self, path):
        """Return the moment a file holds, if it is one of this run; nothing is changed."""
        arrays, remarks = store.load(path, self.arrays(self.moment), {"kind": "checkpoint"})
        there, facts = (_object(path, remarks, key) for key in ("settings", "moment"))
        here = json.loads(json.dumps(self.settings))
        for key in [*here, *there]:
            if here.get(key) != there.get(key):
                raise DataError(
                    f"{path} is a checkpoint of another run: {key} was "
                    f"{shapes.shown(there.get(key))}, here it is {shapes.shown(here.get(key))}"
                )
        if wrong := next(self.faults(facts), None):
            raise DataError(f"{path} holds no moment of this run: {wrong}")
        if facts["best"] is None:  # then the file holds the vectors of now in the place of the best
            for name, x in arrays.items():
                if x.tobytes() != arrays[now := name.removeprefix("best.")].tobytes():
                    raise DataError(
                        f"{path} holds no moment of this run: {name} is not {now}, "
                        "and no epoch was the best"
                    )
        else:
            facts["best"] = Best(*facts["best"], *(views.flat.copy() for views in self.moving))
        moment = self.moment._replace(**facts | {"rows": tuple(map(tuple, facts["rows"]))})
        for name, x in self.arrays(moment).items():
            x[...] = arrays[name]
        return moment

    def faults(self, facts):
        """Yield, in words, which facts of a checkpoint no moment of this run can have."""
        if facts.keys() != {*FACTS, "best"}:
            yield f"it has {', '.join(map(shapes.shown, sorted(facts)))}"
            return
        rows, best, at, now = facts["rows"], facts["best"], facts["at"], self.rng.bit_generator
        if not isinstance(rows, list) or not all(map(self.measured, rows)):
            yield "rows are not what is measured in an epoch"
            return
        if type(at) is not int or not 0 <= at <= self.used or (at % self.batch and at < self.used):
            yield f"at is {shapes.shown(at)}, in an epoch of {self.used} examples"
            return
        steps = len(rows) * self.steps - (-at // self.batch)
        if type(facts["step"]) is not int or facts["step"] != steps:
            yield f"step is {shapes.shown(facts['step'])}, expected {steps}"
        for name in ("losses", "norms", "seconds"):
            if not _finite(facts[name]) or (at == 0 and facts[name] != 0):
                yield f"{name} is {shapes.shown(facts[name])} after {at} examples"
        for name in ("rng", "order"):
            if not can_be(now, facts[name]):
                yield f"{name} is not a state of a {type(now).__name__}"
        if best is None and self.patience is not None and rows:
            yield "best is missing"
        if best is not None and (self.patience is None or not self.was_best(best, rows)):
            yield f"best is {shapes.shown(best)}, which no epoch was"

    def measured(self, row):
        """Say whether a value read from a file can be a row of the history."""
        kinds = [True, self.held is not None, self.score is not None, True, True, True]
        return (
            isinstance(row, list)
            and len(row) == len(kinds)
            and all(_finite(x) if kind else x is None for x, kind in zip(row, kinds, strict=True))
        )

    def was_best(self, best, rows):
        """Say whether a value read from a file can be the best epoch and its value."""
        if not isinstance(best, list) or len(best) != 2 or type(best[1]) is not int:
            return False
        value, epoch = best
        if not 1 <= epoch <= len(rows):
            return False
        _, held, score, *_ = rows[epoch - 1]
        return value == (held if self.score is None else -score)
