"""Hold a model against what it promises: in one call, with a report that a person can read."""

from typing import Any, NamedTuple

import numpy as np

from dlbook.tools import shapes
from dlbook.tools.flat import like, named

__all__ = ["Report", "check_model"]

TOLERANCE = 1e-6  # of the largest number of a gradient; central differences in float64 give 1e-9
STEP = 1e-5


class Report(NamedTuple):
    """What `check_model` found."""

    passed: bool
    error: float  # largest difference between gradient and differences, by the largest gradient
    lines: tuple[str, ...]  # one for each array of parameters, and one for each fault

    def __str__(self):
        return "\n".join(self.lines)


def check_model(
    model: Any, data: tuple, *, count: int = 20, seed: int = 0, raises: bool = True
) -> Report:
    """Check that a model's gradient is that of its loss, and that it keeps its promises.

    Every array of the gradient is filled with NaN first, so that one that is not overwritten
    shows; a second step on the same memory, after one with another batch, must give the same bits;
    neither parameters nor data may change; and `count` numbers of each array are held against
    central differences of the loss, all of them where there are fewer. Weights are drawn near those
    of `init`, so that nothing that begins at zero hides a fault.

    Parameters
    ----------
    model : Model
        With ``dtype="float64"``: differences of float32 numbers say little.
    data : tuple
        A few examples, as for `fit`.
    count : int
        Numbers of each array that are tried.
    seed : int
        Of the weights, and of what the model draws in a step.
    raises : bool
        Whether a fault is raised, or only reported.

    Returns
    -------
    Report

    Raises
    ------
    TypeError, ValueError
        If the model lacks a method, or its parameters are not float64.
    AssertionError
        If a promise is broken; the message is the report.
    """
    for part in ("init", "start", "check", "workspace", "loss_and_grad", "loss"):
        if not callable(getattr(model, part, None)):
            raise TypeError(f"model is {shapes.shown(model)}, which has no {part}")
    shapes.count("count", count)
    rng = np.random.default_rng(seed)
    params = model.init(rng)
    arrays = named(params)  # refuses what is no NamedTuple of views of one vector
    if params.flat.dtype != np.float64:
        raise ValueError(
            f"the parameters are {params.flat.dtype}, in which differences say little; make the "
            'model with dtype="float64"'
        )
    params.flat[:] += 0.1 * rng.standard_normal(params.flat.size)
    batch = tuple(model.check(params, data))
    trial = _Trial(model, batch, model.start(), seed)

    faults, work, grads = [], model.workspace(len(batch[0])), like(params)
    before = params.flat.copy(), [np.copy(x) for x in batch]
    grads.flat[:] = np.nan
    loss = trial.loss(params, grads, work)
    if not np.array_equal(before[0], params.flat):
        faults.append("✗ the step changes the parameters")
    for i, (x, old) in enumerate(zip(batch, before[1], strict=True)):
        if not np.array_equal(x, old):
            faults.append(f"✗ the step writes over the reader's data[{i}]")
    if not np.isfinite(loss):
        faults.append(f"✗ the loss is {loss}")
    missing = [key for key, x in named(grads, "grads").items() if np.isnan(x).any()]
    faults += [f"✗ the gradient of {key} is not overwritten, or NaN" for key in missing]
    faults += trial.again(params, grads, loss, work)
    error, lines = (
        (np.inf, ()) if missing else _differences(trial, params, grads, arrays, count, rng)
    )
    faults += [line for line in lines if line.startswith("✗")]
    kept = [line for line in lines if line.startswith("✓")]
    report = Report(not faults, float(error), (*kept, *faults))
    if faults and raises:
        raise AssertionError(f"{type(model).__name__} breaks a promise:\n{report}")
    return report


class _Trial(NamedTuple):
    """A batch, and all that must be the same each time its loss is computed."""

    model: Any
    batch: tuple
    state: Any
    seed: int

    def loss(self, params, grads, work, batch=None):
        """Take a step with fresh statistics and draws."""
        state = None if self.state is None else like(self.state, self.state.flat.copy())
        rng = np.random.default_rng(self.seed)
        batch = self.batch if batch is None else batch
        return float(self.model.loss_and_grad(params, state, batch, grads, work, rng))

    def again(self, params, grads, loss, work):
        """Yield what differs when the step is taken once more, after one with fewer examples."""
        other, least = like(params), getattr(self.model, "smallest_batch", 1)
        if len(self.batch[0]) > least:
            self.loss(params, other, work, tuple(x[: len(x) - 1] for x in self.batch))
        other.flat[:] = 7.0
        second = self.loss(params, other, work)
        if not (second == loss or (np.isnan(second) and np.isnan(loss))):
            yield f"✗ the same step gives the loss {loss!r}, then {second!r}"
        for key, x in named(grads, "grads").items():
            if not np.array_equal(x, named(other, "grads")[key], equal_nan=True):
                yield f"✗ the same step gives another gradient of {key} the second time"


def _differences(trial, params, grads, arrays, count, rng):
    """Hold some numbers of each array against central differences of the loss."""
    flat, lines, worst = params.flat, [], 0.0
    other, work = like(params), trial.model.workspace(len(trial.batch[0]))
    moved = like(params, flat.copy())
    size = max(np.abs(grads.flat).max(initial=0), 1e-12)
    for key, x in arrays.items():
        gradient, there = named(grads, "grads")[key], named(moved)[key]
        places = rng.permutation(x.size)[:count]
        errors = []
        for at in places:
            place = np.unravel_index(at, x.shape)
            step, losses = STEP * max(1.0, abs(x[place])), []
            for sign in (1, -1):
                there[place] = x[place] + sign * step
                losses.append(trial.loss(moved, other, work))
            there[place] = x[place]
            slope = (losses[0] - losses[1]) / (2 * step)
            errors.append((abs(slope - gradient[place]) / size, place, gradient[place], slope))
        error, place, found, slope = max(errors)
        worst = max(worst, error)
        tried = f"{len(places)} of {x.size}" if len(places) < x.size else f"{x.size}"
        if error <= TOLERANCE:
            lines.append(f"✓ {key}: {tried} numbers, largest error {error:.0e}")
        else:
            where = ", ".join(map(str, map(int, place)))
            lines.append(
                f"✗ the gradient of {key}[{where}] is {found:.6g}, differences give {slope:.6g}"
            )
    return worst, lines
