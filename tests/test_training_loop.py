"""The training loop: what it computes, where it stops, what it refuses, and the same bits again."""

import itertools
import json
import os
import signal
import subprocess
import sys
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from compiled import compiled_only
from safetensors import safe_open

from dlbook import backprop, training
from dlbook.nets import Diverged, checkpoint, fit, loop
from dlbook.optimization import SGD, Adam, AdamW, Momentum, Nesterov, RMSprop, WarmupCosine
from dlbook.tools.errors import DataError
from dlbook.tools.flat import like
from dlbook.tools.store import save_params
from dlbook.training import clip, finite_copy


class Weights(NamedTuple):
    flat: np.ndarray
    w: tuple
    b: tuple


class Running(NamedTuple):
    flat: np.ndarray
    mean: tuple


class Hook:
    """Called with the name of each place the training comes to; does what a test wants there."""

    def __init__(self, place="", count=0, action=None):
        self.place, self.count, self.action, self.seen = place, count, action, 0

    def __call__(self, place):
        if place == self.place:
            self.seen += 1
            if self.seen == self.count:
                return self.action()
        return None


def stop():
    """Press Ctrl-C."""
    raise KeyboardInterrupt


@dataclass(frozen=True)
class Toy:
    """Regression by x → tanh → y, with dropout of hidden units and a running mean of them."""

    sizes: tuple = (3, 5, 2)
    drop: float = 0.3
    running: bool = True
    dtype: str = "float64"
    smallest_batch: int = 1
    hook: Any = field(default=Hook(), compare=False, repr=False)

    def init(self, rng):
        k, j, i = self.sizes
        flat = rng.normal(size=j * k + j + i * j + i).astype(self.dtype)
        cuts = np.split(flat, np.cumsum([j * k, j, i * j]))
        gap = (None, None)
        return Weights(
            flat, (*gap, cuts[0].reshape(j, k), cuts[2].reshape(i, j)), (*gap, cuts[1], cuts[3])
        )

    def start(self):
        flat = np.zeros(self.sizes[1], self.dtype)
        return Running(flat, (None, None, flat)) if self.running else None

    def check(self, params, data):
        x, y = data
        x, y = (np.asarray(a, dtype=params.flat.dtype) for a in (x, y))
        if x.ndim != 2 or x.shape[1] != self.sizes[0]:
            raise ValueError(f"x has shape {x.shape}")
        return x, y

    def workspace(self, batch):
        return np.empty((batch, self.sizes[1]), self.dtype)

    def loss_and_grad(self, params, state, batch, grads, work, rng):
        x, y = batch
        self.hook("begins")
        mask = work[: len(x)]
        mask[:] = (rng.random(mask.shape) >= self.drop) / (1 - self.drop)
        self.hook("random")
        h = np.tanh(x @ params.w[2].T + params.b[2])
        if state is not None:
            state.mean[2][:] += 0.1 * (h.mean(axis=0) - state.mean[2])
        self.hook("state")
        e = (h * mask) @ params.w[3].T + params.b[3] - y
        delta = e / len(x)
        grads.w[3][:], grads.b[3][:] = delta.T @ (h * mask), delta.sum(axis=0)
        below = delta @ params.w[3] * mask * (1 - h * h)
        grads.w[2][:], grads.b[2][:] = below.T @ x, below.sum(axis=0)
        self.hook("grads")
        loss = 0.5 * (e * e).sum() / len(x)
        return wrong if (wrong := self.spoil(params, state, grads)) is not None else loss

    def spoil(self, params, state, grads):
        """Return what a test wants instead of the loss."""
        spoiled = self.hook("ends")
        return spoiled(params, state, grads) if callable(spoiled) else spoiled

    def loss(self, params, state, batch):
        wrong = self.hook("validation")
        return wrong if wrong is not None else self.distance(params, batch)

    def distance(self, params, batch):
        e = self.predict(params, None, batch[0]) - batch[1]
        return 0.5 * (e * e).sum() / len(e)

    def predict(self, params, state, x):
        return np.tanh(x @ params.w[2].T + params.b[2]) @ params.w[3].T + params.b[3]


class Watched:
    """An optimizer that writes down the weights after each step, and stops at places."""

    def __init__(self, of, hook=None):
        self.of, self.hook, self.seen = of, hook or Hook(), {}

    rate = property(lambda self: self.of.rate)
    slots = property(lambda self: self.of.slots)

    def start(self, flat):
        return self.of.start(flat)

    def update(self, flat, grads, slots, step, factor=1.0):
        self.hook("before update")
        before = flat.copy()
        self.of.update(flat, grads, slots, step, factor)
        after = flat.copy()
        flat[::2] = before[::2]  # half done
        self.hook("half an update")
        flat[:] = after
        self.seen[step] = after
        self.hook("after update")


def problem(seed=0, examples=23, sizes=(3, 5, 2)):
    """Return data that a Toy can learn."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(examples, sizes[0]))
    y = np.sin(x[:, :1] + np.arange(sizes[-1])) + 0.1 * rng.normal(size=(examples, sizes[-1]))
    return x, y


TOY, DATA, HELD = Toy(), problem(0), problem(1, 9)
START = TOY.init(np.random.default_rng(5))


def run(model=TOY, optimizer=None, seed=3, start=START, data=DATA, **options):
    """Train a little."""
    options = {"epochs": 4, "batch": 5} | options
    return fit(model, start, data, optimizer or Adam(0.01), np.random.default_rng(seed), **options)


def same(a, b):
    """Hold two results against each other to the bit, but for the seconds."""
    assert a.params.flat.tobytes() == b.params.flat.tobytes()
    assert (a.state is None) == (b.state is None)
    assert a.state is None or a.state.flat.tobytes() == b.state.flat.tobytes()
    assert (a.steps, a.best) == (b.steps, b.best)
    for name in ("loss", "validation", "score", "rate", "norm"):
        x, y = getattr(a.history, name), getattr(b.history, name)
        assert (x is None) == (y is None)
        assert x is None or x.tobytes() == y.tobytes(), name


@pytest.fixture
def path(tmp_path):
    """Return the path of a checkpoint that is not there yet."""
    return tmp_path / "run.safetensors"


# The kernels


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("size", [1, 7, 1000])
def test_clip(dtype, size, rng):
    g = rng.normal(size=size).astype(dtype)
    norm = np.linalg.norm(g.astype(np.float64))
    rtol = 1e-14 if dtype is np.float64 else 1e-6
    for limit in (0.3 * norm, norm / 2, 2 * norm, np.inf):
        mine = g.copy()
        assert clip(mine, limit) == pytest.approx(norm, rel=1e-14)
        np.testing.assert_allclose(mine, g * min(1, limit / norm), rtol=rtol)
        assert np.linalg.norm(mine.astype(np.float64)) <= limit * (1 + rtol)
    np.testing.assert_array_equal(mine, g)  # a short one is not touched at all


def test_clip_by_hand():
    g = np.array([3.0, 0.0, 4.0])
    assert clip(g, 1.0) == 5.0
    np.testing.assert_allclose(g, [0.6, 0.0, 0.8], rtol=1e-15)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_clip_tells_what_is_not_finite_and_leaves_it(bad):
    g = np.array([1.0, bad, 2.0])
    assert not np.isfinite(clip(g, 1.0))
    np.testing.assert_array_equal(g, [1.0, bad, 2.0])


def test_clip_of_zeros_and_of_large_single_precision_numbers():
    assert clip(np.zeros(4), 1.0) == 0
    g = np.array([3e30, 4e30], np.float32)
    assert clip(g, 5.0) == pytest.approx(5e30)
    np.testing.assert_allclose(g, [3, 4], rtol=1e-6)


@pytest.mark.parametrize("scale", [1e-320, 1e-300, 1e-170, 1e-140, 1.0, 1e150, 1e160, 1e307])
def test_clip_where_squares_overflow_or_vanish(scale):
    g = scale * np.array([3.0, 0.0, -4.0])
    rtol = 1e-15 if scale > 1e-300 else 2e-3  # numbers as small as that have few digits
    wanted = g / 5
    assert clip(g, scale) == pytest.approx(5 * scale, rel=rtol)
    np.testing.assert_allclose(g, wanted, rtol=rtol)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_the_norm_of_what_is_not_finite_is_not(bad):
    for g in ([bad, 1e-200], [1e200, bad, 1e200], [bad, bad], [0.0, bad, 0.0]):
        assert str(abs(training.scaled_norm(np.array(g)))) == str(bad)
    assert np.isnan(training.scaled_norm(np.array([np.inf, np.nan, np.inf])))


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_finite_copy(dtype, rng):
    theta, out = rng.normal(size=67).astype(dtype), np.zeros(67, dtype)
    theta[5] = np.finfo(dtype).max
    theta[6] = np.finfo(dtype).max  # their sum is not finite, they are
    assert finite_copy(theta, out)
    np.testing.assert_array_equal(out, theta)
    for p, bad in itertools.product(range(67), (np.nan, np.inf, -np.inf)):
        spoiled = theta.copy()
        spoiled[p] = bad
        assert not finite_copy(spoiled, out)


@compiled_only
def test_kernels_are_compiled_and_equal_their_source(rng):
    g = rng.normal(size=33)
    mine, theirs = g.copy(), g.copy()
    assert clip(mine, 0.5) == pytest.approx(clip.py_func(theirs, 0.5), rel=1e-14)
    np.testing.assert_allclose(mine, theirs, rtol=1e-14)
    out = np.empty(33)
    assert finite_copy(g, out) and finite_copy.py_func(g, out)
    assert clip.nopython_signatures and finite_copy.nopython_signatures


# What it computes


def by_hand(model, start, data, optimizer, seed, epochs, batch, limit=np.inf):
    """Train in the plainest way: new arrays for each batch, nothing kept."""
    rng, params = np.random.default_rng(seed), like(start, start.flat.copy())
    grads, state = like(start), model.start()
    slots, step, losses = optimizer.start(params.flat), 0, []
    for _ in range(epochs):
        order, total = rng.permutation(len(data[0])), 0.0
        for at in range(0, len(order), batch):
            some = order[at : at + batch]
            part = tuple(a[some] for a in data)
            work = model.workspace(len(some))
            loss = model.loss_and_grad(params, state, part, grads, work, rng)
            norm = np.sqrt(sum(g * g for g in grads.flat))
            grads.flat[:] *= min(1, limit / norm)
            step += 1
            optimizer.update(params.flat, grads.flat, slots, step)
            total += loss * len(some)
        losses.append(total / len(order))
    return params, state, losses, step


@pytest.mark.parametrize("optimizer", [SGD(0.05), Momentum(0.05), AdamW(0.01)])
@pytest.mark.parametrize(
    ("batch", "limit"), [(1, None), (5, None), (5, 0.4), (22, 0.1), (23, None)]
)
def test_is_the_plain_loop(optimizer, batch, limit):
    found = run(optimizer=optimizer, batch=batch, clip=limit)
    params, state, losses, steps = by_hand(
        TOY, START, DATA, optimizer, 3, 4, batch, np.inf if limit is None else limit
    )
    np.testing.assert_allclose(found.params.flat, params.flat, rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(found.state.flat, state.flat, rtol=1e-12)
    np.testing.assert_allclose(found.history.loss, losses, rtol=1e-12)
    assert (found.steps, found.why, found.best) == (steps, "finished", None)


def test_the_gradient_of_the_toy():
    """What the tests stand on: its gradient is that of its loss."""
    model = Toy(drop=0.0, running=False)
    grads, work = like(START), model.workspace(23)
    model.loss_and_grad(START, None, DATA, grads, work, np.random.default_rng(0))
    for p in range(START.flat.size):
        up, down = (like(START, START.flat.copy()) for _ in range(2))
        up.flat[p] += 1e-6
        down.flat[p] -= 1e-6
        slope = (model.distance(up, DATA) - model.distance(down, DATA)) / 2e-6
        assert slope == pytest.approx(grads.flat[p], abs=1e-8)


def test_history():
    schedule = WarmupCosine(0.02, 5, 20)
    found = run(
        optimizer=Adam(schedule), validation=HELD, score=lambda p, s: -TOY.distance(p, DATA)
    )
    history = found.history
    assert all(len(column) == 4 for column in history)
    assert history.validation[-1] == TOY.distance(found.params, HELD)
    assert history.score[-1] == -TOY.distance(found.params, DATA)
    np.testing.assert_allclose(history.rate, [schedule(5 * e) for e in (1, 2, 3, 4)], rtol=1e-15)
    assert (history.seconds > 0).all() and (history.norm > 0).all()
    bare = run().history
    assert bare.validation is None and bare.score is None
    assert run(clip=1e-3).history.norm[0] > 1e-3  # measured before it is clipped


def test_the_norm_in_the_history_is_that_of_the_gradient():
    norms = []

    class Noted(Watched):
        def update(self, flat, grads, slots, step, factor=1.0):
            norms.append(np.linalg.norm(grads))
            self.of.update(flat, grads, slots, step, factor)

    found = run(optimizer=Noted(SGD(0.01)), batch=9)
    np.testing.assert_allclose(found.history.norm, np.reshape(norms, (4, 3)).mean(axis=1))


def test_it_learns():
    found = run(epochs=200, validation=DATA, optimizer=Adam(0.02), model=Toy(drop=0.0))
    assert found.history.validation[-1] < 0.1 * found.history.validation[0]


def test_same_seed_same_bits_and_another_seed_others():
    same(run(), run())
    assert not np.array_equal(run().params.flat, run(seed=4).params.flat)


def test_leaves_what_it_is_given():
    before, data = START.flat.copy(), tuple(a.copy() for a in DATA)
    found = run(data=data)
    np.testing.assert_array_equal(START.flat, before)
    for a, b in zip(data, DATA, strict=True):
        np.testing.assert_array_equal(a, b)
    assert not np.shares_memory(found.params.flat, START.flat)


def test_every_epoch_has_every_example_once_in_a_new_order():
    seen = []

    class Noted(Toy):
        def loss_and_grad(self, params, state, batch, grads, work, rng):
            seen.append(batch[0][:, 0].copy())
            return super().loss_and_grad(params, state, batch, grads, work, rng)

    run(Noted())
    epochs = np.concatenate(seen).reshape(4, 23)
    assert [len(part) for part in seen[:5]] == [5, 5, 5, 5, 3]
    for epoch in epochs:
        np.testing.assert_array_equal(np.sort(epoch), np.sort(DATA[0][:, 0]))
    assert not any(np.array_equal(a, b) for a, b in itertools.combinations(epochs, 2))


def test_a_remainder_too_small_for_the_model_waits():
    sizes = []

    class Pairs(Toy):
        def loss_and_grad(self, params, state, batch, grads, work, rng):
            sizes.append(len(batch[0]))
            return super().loss_and_grad(params, state, batch, grads, work, rng)

    run(Pairs(smallest_batch=4), epochs=1)
    assert sizes == [5, 5, 5, 5]
    run(Pairs(smallest_batch=3), epochs=1)
    assert sizes[4:] == [5, 5, 5, 5, 3]
    with pytest.raises(ValueError, match=r"batch is 5, .* the model needs 6 at once"):
        run(Toy(smallest_batch=6))


def test_one_example():
    found = run(data=problem(2, 1), batch=1)
    assert found.steps == 4 and len(found.history.loss) == 4


def test_data_of_any_number_and_shape():
    class Images(Toy):
        def check(self, params, data):
            return data

        def loss_and_grad(self, params, state, batch, grads, work, rng):
            x, y, ids = batch
            np.testing.assert_array_equal(x[:, 1, 1, 0], y)
            np.testing.assert_array_equal(ids, y.astype(np.int32))
            grads.flat[:] = 1
            return float(y.mean())

    y = np.arange(7.0)
    x = np.broadcast_to(y[:, None, None, None], (7, 2, 3, 1)).copy()
    found = run(Images(), data=(x, y, y.astype(np.int32)), batch=3, optimizer=SGD(0.1))
    np.testing.assert_allclose(found.history.loss, 3.0)
    np.testing.assert_allclose(found.params.flat, START.flat - 12 * 0.1)


def test_single_precision():
    model = Toy(dtype="float32")
    start = model.init(np.random.default_rng(5))
    found = run(model, start=start, clip=1.0)
    assert found.params.flat.dtype == found.state.flat.dtype == np.float32
    assert found.history.loss.dtype == np.float64


class Classifier:
    """The network of the chapter on backpropagation, as the loop wants it."""

    def __init__(self, sizes):
        self.sizes = sizes

    start = staticmethod(lambda: None)
    loss_and_grad = staticmethod(backprop.loss_and_grad)

    def check(self, params, data):
        return data

    def workspace(self, batch):
        return backprop.workspace(self.sizes, batch)

    def loss(self, params, state, batch):
        return backprop.loss_and_grad(params, None, batch, like(params))


def test_trains_the_network_of_backprop_as_its_own_loop_does(rng):
    x, y = rng.normal(size=(50, 4)), rng.integers(3, size=50)
    net = backprop.init((4, 6, 3), rng)
    mine = fit(
        Classifier((4, 6, 3)), net, (x, y), SGD(0.3), np.random.default_rng(1), epochs=5, batch=8
    )
    theirs = backprop.train(net, x, y, np.random.default_rng(1), rate=0.3, epochs=5, batch=8)
    np.testing.assert_allclose(mine.params.flat, theirs.params.flat, rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(mine.history.loss, theirs.losses, rtol=1e-12)


# Early stopping


def losses(values):
    """Return a model with these validation losses, epoch by epoch, and what was seen of it."""
    todo, seen = iter(values), []

    class Told(Toy):
        def loss(self, params, state, batch):
            seen.append((params.flat.copy(), state.flat.copy()))
            return next(todo)

    return Told(), seen


@pytest.mark.parametrize(
    ("values", "patience", "ran", "best"),
    [
        ([3, 2, 1, 2, 1, 1.5, 9], 2, 5, 3),  # an equal loss is not a better one
        ([3, 2, 1, 2, 0.5, 4, 4, 4], 2, 7, 5),
        ([3, 4, 0, 0], 1, 2, 1),
        ([1, 2, 3, 4, 5, 6, 0, 9], 6, 8, 7),
    ],
)
def test_early_stopping_restores_the_best(values, patience, ran, best):
    model, seen = losses(values)
    found = run(model, epochs=len(values), validation=HELD, patience=patience)
    assert len(found.history.loss) == ran and found.best == best
    assert found.why == ("stopped early" if ran < len(values) else "finished")
    assert found.params.flat.tobytes() == seen[best - 1][0].tobytes()
    assert found.state.flat.tobytes() == seen[best - 1][1].tobytes()
    assert found.history.validation.tolist() == values[:ran]
    assert not np.array_equal(found.state.flat, seen[-1][1])


def test_early_stopping_by_score():
    """Larger is better, and the validation loss has no say."""
    scores, seen = iter([0.1, 0.5, 0.4, 0.5, 0.9]), []

    def score(params, state):
        seen.append(params.flat.copy())
        return next(scores)

    model, _ = losses([5, 4, 3, 2, 1])
    found = run(model, epochs=5, validation=HELD, score=score, patience=2)
    assert (found.why, found.best, len(found.history.loss)) == ("stopped early", 2, 4)
    np.testing.assert_array_equal(found.params.flat, seen[1])


def test_without_patience_the_last_weights_count():
    model, seen = losses([1, 2, 3, 4])
    found = run(model, validation=HELD)
    assert (found.why, found.best) == ("finished", None)
    np.testing.assert_array_equal(found.params.flat, seen[-1][0])


# Training that diverges


@pytest.fixture(scope="module")
def truth():
    """Return weights and running statistics after each step of the run the tests disturb."""
    notes, states = Watched(Adam(0.01)), {}

    class Noted(Toy):
        def loss_and_grad(self, params, state, batch, grads, work, rng):
            states[len(notes.seen)] = state.flat.copy()
            return super().loss_and_grad(params, state, batch, grads, work, rng)

    found = run(Noted(), notes)
    return {0: START.flat.copy()} | notes.seen, states | {found.steps: found.state.flat}


def set_nan(where, value=np.nan):
    """Return what spoils one array of the gradient (or of the statistics) and the loss."""

    def spoil(params, state, grads):
        {"w[2]": grads.w[2], "b[2]": grads.b[2], "w[3]": grads.w[3], "state.mean[2]": state.flat}[
            where
        ].flat[-1] = value
        return 1.0

    return lambda: spoil


def set_all(value):
    """Return what makes a long vector of the gradient, with a loss of one."""

    def spoil(params, state, grads):
        grads.flat[:] = value
        return 1.0

    return lambda: spoil


@pytest.mark.parametrize(
    ("action", "layer", "words"),
    [
        (lambda: np.nan, "loss", "the loss is nan; try a rate below 0.01"),
        (lambda: np.inf, "loss", "the loss is inf"),
        (set_nan("w[2]"), "w[2]", r"the loss is 1 and the gradient of w\[2\] is not finite"),
        (set_nan("b[2]"), "b[2]", r"gradient of b\[2\]"),
        (set_nan("w[3]", -np.inf), "w[3]", r"gradient of w\[3\]"),
        (set_all(1.7e308), "gradient", "the loss is 1 and the norm of the gradient inf"),
        (set_nan("state.mean[2]"), "state.mean[2]", r"leaves state\.mean\[2\] with NaN"),
    ],
)
def test_divergence_is_named(action, layer, words, truth):
    with pytest.raises(Diverged, match=f"epoch 2, step 7: .*{words}") as caught:
        run(Toy(hook=Hook("ends", 7, action)))
    error, (weights, states) = caught.value, truth
    assert isinstance(error, FloatingPointError)
    assert (error.step, error.epoch, error.layer) == (7, 2, layer)
    np.testing.assert_array_equal(error.params.flat, weights[6])
    np.testing.assert_array_equal(error.state.flat, states[6])
    assert type(error.params) is Weights and error.params.w[3].shape == (2, 5)


def test_a_gradient_whose_squares_overflow_is_clipped():
    """The one step that would have ended the run is as long as any other."""
    found = run(Toy(hook=Hook("ends", 7, set_all(1e200))), SGD(0.1), clip=0.5)
    assert found.why == "finished" and np.abs(found.params.flat).max() < 10
    assert found.history.norm[1] > 1e199


def test_weights_that_overflow_are_named(truth):
    class Wild(Watched):
        def update(self, flat, grads, slots, step, factor=1.0):
            self.of.update(flat, grads, slots, step, factor)
            if step == 7:
                flat[-3:] = np.inf  # one weight of w[3] and b[3]

    with pytest.raises(
        Diverged, match=r"step 7: the update leaves w\[3\] with NaN or inf"
    ) as caught:
        run(optimizer=Wild(Adam(0.01)))
    assert (caught.value.layer, caught.value.step) == ("w[3]", 7)
    np.testing.assert_array_equal(caught.value.params.flat, truth[0][6])


@pytest.mark.parametrize(("place", "words"), [("validation", "the validation is nan")])
def test_validation_that_is_not_finite(place, words, truth):
    with pytest.raises(Diverged, match=words) as caught:
        run(Toy(hook=Hook(place, 2, lambda: np.nan)), validation=HELD)
    assert (caught.value.step, caught.value.epoch, caught.value.layer) == (10, 2, "validation")
    np.testing.assert_array_equal(caught.value.params.flat, truth[0][10])
    with pytest.raises(Diverged, match="the score is inf"):
        run(score=lambda p, s: np.inf)


def test_slots_that_overflow_are_named():
    class Wild(Watched):
        def update(self, flat, grads, slots, step, factor=1.0):
            self.of.update(flat, grads, slots, step, factor)
            slots[1, 0] = np.inf

    with pytest.raises(Diverged, match=r"the optimizer's \w+ of w\[2\] is not finite"):
        run(optimizer=Wild(Adam(0.01)))


def test_a_rate_that_is_too_high():
    with (
        np.errstate(all="ignore"),
        warnings.catch_warnings(action="ignore"),
        pytest.raises(Diverged, match="try a rate below 1e\\+06") as caught,
    ):
        run(Toy(drop=0.0), SGD(1e6), epochs=1000)
    assert np.isfinite(caught.value.params.flat).all()


def test_diverged_can_be_sent_between_processes():
    import pickle

    error = pickle.loads(pickle.dumps(Diverged("words", 3, 1, "w[2]")))
    assert (str(error), error.step, error.epoch, error.layer) == ("words", 3, 1, "w[2]")


# Ctrl-C

PLACES = [
    ("model", "begins"),
    ("model", "random"),
    ("model", "state"),
    ("model", "grads"),
    ("model", "ends"),
    ("optimizer", "before update"),
    ("optimizer", "half an update"),
    ("optimizer", "after update"),
]


def interrupted(who, place, count, **options):
    """Train until Ctrl-C is pressed at a place."""
    hook = Hook(place, count, stop)
    model = Toy(hook=hook) if who == "model" else TOY
    optimizer = Watched(Adam(0.01), hook if who == "optimizer" else None)
    found = run(model, optimizer, **options)
    assert hook.seen == count
    return found


@pytest.mark.parametrize("count", [1, 2, 5, 6, 13, 20])
@pytest.mark.parametrize(("who", "place"), PLACES)
def test_interrupted_anywhere_it_returns_the_last_whole_step(who, place, count, truth):
    found = interrupted(who, place, count)
    assert found.why == "interrupted" and found.steps == count - 1
    np.testing.assert_array_equal(found.params.flat, truth[0][count - 1])
    np.testing.assert_array_equal(found.state.flat, truth[1][count - 1])
    assert len(found.history.loss) == (count - 1) // 5


@pytest.mark.parametrize("pause", [0.0, 1e9], ids=["every step", "every epoch"])
@pytest.mark.parametrize("count", [1, 3, 6, 10, 13])
@pytest.mark.parametrize(("who", "place"), PLACES)
def test_interrupted_anywhere_it_resumes_to_the_same_bits(
    who, place, count, pause, path, monkeypatch
):
    """With dropout, running statistics and a schedule; from the step before or from the epoch's."""
    monkeypatch.setattr(loop, "PAUSE", pause)
    options = {"validation": HELD, "patience": 9}
    interrupted(who, place, count, checkpoint=path, **options)
    moment = json.loads(_remarks(path)["moment"])
    assert moment["step"] == (count - 1 if pause == 0 else (count - 1) // 5 * 5)
    again = run(optimizer=Watched(Adam(0.01)), seed=99, resume=path, **options)
    same(again, run(optimizer=Watched(Adam(0.01)), **options))


def _remarks(path):
    """Return the metadata of a file."""

    with safe_open(path, framework="np") as file:
        return file.metadata()


class Tracer:
    """Press Ctrl-C at the n-th line of the loop that is executed once training has begun."""

    NAMES = ("fit", "epoch", "keep", "judge", "copies", "write", "arrays")

    def __init__(self, line):
        self.left, self.begun, self.where = line, False, None

    def __call__(self, frame, event, _):
        code = frame.f_code
        if (
            code.co_filename not in (loop.__file__, checkpoint.__file__)
            or code.co_name not in self.NAMES
        ):
            return None
        self.begun |= code.co_name == "epoch"
        return self.line

    def line(self, frame, event, _):
        if event == "line" and self.begun and self.where is None:
            self.left -= 1
            if self.left < 0:
                self.where = frame.f_code.co_name, frame.f_lineno
                raise KeyboardInterrupt
        return self.line


def traced(line, **options):
    """Train with Ctrl-C at one line; return what came of it, None if that came too late."""
    tracer, before = Tracer(line), sys.gettrace()
    sys.settrace(tracer)
    try:
        return run(optimizer=Watched(Adam(0.01)), **options), tracer.where
    except KeyboardInterrupt:
        return None, tracer.where
    finally:
        sys.settrace(before)


def test_interrupted_at_any_line_of_the_loop(path, monkeypatch):
    """Line by line through two epochs: the weights are those of a whole step, and the file
    leads to the same bits.
    """
    monkeypatch.setattr(loop, "PAUSE", 0.0)
    options = {"epochs": 2, "batch": 12, "validation": HELD, "patience": 5}
    notes = Watched(Adam(0.01))
    whole = run(optimizer=notes, **options)
    weights, places, late = {0: START.flat} | notes.seen, set(), 0
    for line in itertools.count():
        found, where = traced(line, **options, checkpoint=path)
        if where is None:
            break
        if found is None:  # on the way out of fit
            late += 1
            assert where[0] == "fit"
        else:
            assert found.why == "interrupted", where
            last = weights[found.steps if found.best is None else 2 * found.best]
            assert found.params.flat.tobytes() == last.tobytes(), where
        same(run(optimizer=Watched(Adam(0.01)), **options, resume=path), whole)
        path.unlink()
        places.add(where)
    same(found, whole)
    assert len(places) > 60 and {name for name, _ in places} == set(Tracer.NAMES)
    assert late <= 2


SIGINT = """
import signal
import sys
sys.path[:0] = sys.argv[2:]
signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background ignores it
import test_training_loop as t

def ready():
    print("ready", flush=True)

t.loop.PAUSE = 0.0
notes = t.Watched(t.Adam(0.01))
found = t.run(t.Toy(hook=t.Hook("begins", 30, ready)), notes, epochs=10**6, checkpoint=sys.argv[1])
assert found.why == "interrupted", found.why
assert found.params.flat.tobytes() == notes.seen[found.steps].tobytes()
print(found.steps, len(found.history.loss))
"""


def test_a_real_ctrl_c(path):
    """A process that gets SIGINT in mid-training returns, saves and ends like any other."""
    here = Path(__file__).resolve().parent
    process = subprocess.Popen(
        [sys.executable, "-c", SIGINT, str(path), str(here), str(here.parent)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 0, err
    steps, epochs = map(int, out.split())
    moment = json.loads(_remarks(path)["moment"])
    assert steps >= 29 and moment["step"] in (steps, steps - 1)
    assert len(moment["rows"]) == epochs and epochs in (steps // 5, (steps - 1) // 5)
    more = {"epochs": epochs + 2}
    again = run(optimizer=Watched(Adam(0.01)), resume=path, **more)
    same(again, run(optimizer=Watched(Adam(0.01)), **more))


# Checkpoints

OPTIMIZERS = [
    SGD(0.05),
    Nesterov(0.02),
    RMSprop(0.01),
    Adam(WarmupCosine(0.02, 5, 40), amsgrad=True),
    AdamW(lambda step: 0.01 / step),
]
GENERATORS = ["PCG64", "PCG64DXSM", "MT19937", "Philox", "SFC64"]


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=lambda o: type(o).__name__)
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_resumes_after_an_epoch_to_the_same_bits(optimizer, dtype, path):
    model = Toy(dtype=dtype)
    start = model.init(np.random.default_rng(5))
    options = {"optimizer": optimizer, "start": start, "clip": 0.5, "validation": HELD}
    whole = run(model, **options, epochs=6)
    first = run(model, **options, epochs=2, checkpoint=path)
    assert first.steps == 10 and whole.steps == 30
    same(run(model, **options, epochs=6, seed=0, resume=path), whole)


@pytest.mark.parametrize("name", GENERATORS)
def test_resumes_with_every_generator(name, path):
    kind = getattr(np.random, name)

    def train(seed, **options):
        rng = np.random.Generator(kind(seed))
        rng.integers(3, dtype=np.uint32)  # half of a draw may be left over
        return fit(TOY, START, DATA, Adam(0.01), rng, batch=5, **options), rng

    train(1, epochs=2, checkpoint=path)
    (again, rng), (whole, other) = train(2, epochs=4, resume=path), train(1, epochs=4)
    same(again, whole)
    assert rng.random() == other.random()


def test_resumes_a_model_without_running_statistics(path):
    model = Toy(running=False)
    run(model, epochs=1, checkpoint=path)
    same(run(model, resume=path), run(model))


def test_a_checkpoint_takes_part_in_early_stopping(path):
    """The best weights of before are not forgotten, and neither is how long it has waited."""
    values = [3, 1, 2, 2, 2, 2, 2]
    options = {"validation": HELD, "patience": 4, "epochs": 7}
    whole = run(losses(values)[0], **options)
    run(losses(values)[0], **options | {"epochs": 4}, checkpoint=path)
    again = run(losses(values[4:])[0], **options, resume=path)
    same(again, whole)
    assert (again.why, again.best) == ("stopped early", 2)


def test_a_finished_run_resumes_to_itself(path):
    whole = run(checkpoint=path)
    same(run(resume=path), whole)
    with pytest.raises(ValueError, match=r"epochs is 3, .* has done 4"):
        run(resume=path, epochs=3)


def test_checkpoints_every_so_often(path, monkeypatch):
    written = []
    monkeypatch.setattr(
        checkpoint.store, "save", lambda p, a, m: written.append(json.loads(m["moment"])["step"])
    )
    run(epochs=7, checkpoint=path, every=3)
    assert written == [15, 30, 35]
    written.clear()
    run(epochs=6, checkpoint=path, every=3)
    assert written == [15, 30]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"optimizer": Adam(0.02)}, "optimizer.rate was 0.01, here it is 0.02"),
        ({"optimizer": Adam(0.01, beta1=0.8)}, "optimizer.beta1 was 0.9, here it is 0.8"),
        ({"optimizer": AdamW(0.01)}, "optimizer was 'Adam', here it is 'AdamW'"),
        ({"optimizer": Adam(WarmupCosine(0.01, 1, 9))}, "optimizer.rate was 0.01"),
        ({"optimizer": SGD(0.01)}, "has, too, 'slots."),
        ({"optimizer": Adam(0.01, amsgrad=True)}, "lacks 'slots."),
        ({"model": Toy(drop=0.2)}, "model.drop was 0.3, here it is 0.2"),
        ({"model": Toy(running=False)}, "has, too, 'best.state.mean"),
        ({"batch": 6}, "batch was 5, here it is 6"),
        ({"clip": 1.0}, "clip was inf, here it is 1.0"),
        ({"patience": 2}, "patience was 3, here it is 2"),
        ({"patience": None}, "has, too, 'best.params"),
        ({"score": lambda p, s: 0.0}, "score was False, here it is True"),
        (
            {"validation": problem(3, 9)},
            r"validation\[0\] was 'float64 of shape \(9, 3\), checksum",
        ),
        ({"data": problem(0, 22)}, r"data\[0\] was .*\(23, 3\).* here it is .*\(22, 3\)"),
        ({"data": (DATA[0], -DATA[1])}, r"data\[1\] was"),
    ],
)
def test_refuses_the_checkpoint_of_another_run(change, words, path):
    given = {"validation": HELD, "patience": 3}
    run(**given, checkpoint=path)
    with pytest.raises(DataError, match=words):
        run(**given | change, resume=path)


def test_refuses_the_checkpoint_of_another_network(path):
    run(checkpoint=path)
    model = Toy(sizes=(3, 6, 2))
    with pytest.raises(DataError, match=r"params\.w\[2\] has shape \(5, 3\), expected \(6, 3\)"):
        run(model, start=model.init(np.random.default_rng(0)), resume=path)
    model = Toy(dtype="float32")
    with pytest.raises(DataError, match=r"has dtype float64, expected float32"):
        run(model, start=model.init(np.random.default_rng(0)), resume=path)


def test_refuses_the_generator_of_another_kind(path):
    run(checkpoint=path)
    rng = np.random.Generator(np.random.MT19937(0))
    before = rng.bit_generator.state["state"]["key"].copy()
    with pytest.raises(DataError, match="rng was 'PCG64', here it is 'MT19937'"):
        fit(TOY, START, DATA, Adam(0.01), rng, epochs=4, batch=5, resume=path)
    np.testing.assert_array_equal(rng.bit_generator.state["state"]["key"], before)


def test_refuses_weights_as_a_checkpoint_and_damage(path):
    save_params(START, path, TOY.start())
    with pytest.raises(DataError, match="kind is 'weights'"):
        run(resume=path)
    run(checkpoint=path)
    content = path.read_bytes()
    path.write_bytes(content[:-1])
    with pytest.raises(DataError, match="damaged, cut short"):
        run(resume=path)
    path.write_bytes(content.replace(b'\\"step\\": 20', b'\\"step\\": 21'))
    assert path.read_bytes() != content
    with pytest.raises(DataError, match="checksum"):
        run(resume=path)
    path.unlink()
    with pytest.raises(FileNotFoundError):
        run(resume=path)


def pipe(path):
    """Return something that is neither a file nor a folder."""
    os.mkfifo(path.with_name("pipe"))
    return path.with_name("pipe")


@pytest.mark.parametrize(
    ("target", "error", "words"),
    [
        (lambda path: path.parent / "not" / "there", FileNotFoundError, "there is no folder"),
        (lambda path: path.parent, IsADirectoryError, "is a folder"),
        (lambda path: "", ValueError, "'' is not the path of a file: it is empty"),
        (lambda path: "a\0b", ValueError, "holds a zero byte"),
        (lambda path: 3, TypeError, "not int"),
        (pipe, OSError, "is not a file"),
        (lambda path: path.with_name("x" * 250), OSError, "too long"),
    ],
)
def test_a_place_that_cannot_be_written_is_named_before_any_work(target, error, words, path):
    hook, rng, place = Hook("begins", 1, stop), np.random.default_rng(3), target(path)
    before = rng.bit_generator.state, list(path.parent.iterdir())
    with pytest.raises(error, match=words) as caught:
        fit(Toy(hook=hook), START, DATA, SGD(0.1), rng, epochs=1, batch=5, checkpoint=place)
    assert caught.value.__notes__ == ["This is about checkpoint."]
    assert hook.seen == 0 and (rng.bit_generator.state, list(path.parent.iterdir())) == before


def nested(depth):
    """Return lists in lists, as text."""
    return "[" * depth + "]" * depth


FOREIGN = [  # what another version of the package, or a hand, may have written
    ("settings", None, "settings in its metadata is missing"),
    ("moment", None, "moment in its metadata is missing"),
    ("settings", "[]", "settings in its metadata is"),
    ("settings", "{", "settings in its metadata is"),
    ("settings", nested(100_000), "settings in its metadata is"),
    ("moment", nested(100_000), "moment in its metadata is"),
    ("moment", "3", "moment in its metadata is"),
    ("settings", '{"model": ' + nested(300) + "}", r"model was \[\["),
    ("norms", KeyError, "it has 'at', 'best', 'losses'"),
    ("more", 1, "it has 'at', 'best', 'losses', 'more'"),
    ("at", -5, "at is -5, in an epoch of 23 examples"),
    ("at", 7, "at is 7"),
    ("at", 24, "at is 24"),
    ("at", 10**9, "at is 1000000000"),
    ("at", 0.0, r"at is 0\.0"),
    ("at", True, "at is True"),
    ("at", None, "at is None"),
    ("step", -5, "step is -5, expected 13"),
    ("step", 14, "step is 14, expected 13"),
    ("step", 13.0, r"step is 13\.0"),
    ("step", "13", "step is '13'"),
    ("rows", None, "rows are not"),
    ("rows", {}, "rows are not"),
    ("rows", [[1, 2]], "rows are not"),
    ("rows", [3], "rows are not"),
    ("rows", [[1.0, None, None, 0.1, 1.0, 1.0]] * 2, "rows are not"),
    ("rows", [[1.0, 1.0, None, np.inf, 1.0, 1.0]] * 2, "rows are not"),
    ("rows", [[1.0, 1.0, None, 0.1, 1.0, 10**400]] * 2, "rows are not"),
    ("rows", [[1.0, 1.0, None, 0.1, 1.0, 1.0]] * 3, "step is 13, expected 18"),
    ("losses", None, "losses is None after 15 examples"),
    ("losses", np.nan, "losses is nan"),
    ("norms", "1", "norms is '1'"),
    ("seconds", 10**400, "seconds is 1000"),
    ("order", {}, "order is not a state of a PCG64"),
    ("order", None, "order is not a state"),
    ("rng", 7, "rng is not a state"),
    ("rng", {"bit_generator": "MT19937"}, "rng is not a state"),
    ("best", None, "best is missing"),
    ("best", [1.0], "best is .*, which no epoch was"),
    ("best", [1.0, 9], "which no epoch was"),
    ("best", [1.0, 1], "which no epoch was"),
    ("best", ["1", 1], "which no epoch was"),
    ("best", 3, "which no epoch was"),
]


@pytest.fixture(scope="module")
def half_way(tmp_path_factory):
    """Return a checkpoint of the third step of the third epoch: arrays and remarks."""
    path = tmp_path_factory.mktemp("runs") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "PAUSE", 0.0)
        interrupted("model", "begins", 14, checkpoint=path, validation=HELD, patience=9)
    with safe_open(path, framework="np") as file:
        remarks = {key: file.metadata()[key] for key in ("kind", "settings", "moment")}
        return {key: file.get_tensor(key) for key in file.keys()}, remarks  # noqa: SIM118


def rewritten(path, half_way, fact, value):
    """Write a checkpoint whose checksum is right and whose content is another."""
    (arrays, remarks), facts = half_way, json.loads(half_way[1]["moment"])
    if fact in remarks:
        remarks = {key: text for key, text in remarks.items() if key != fact}
        remarks |= {} if value is None else {fact: value}
    elif value is KeyError:
        remarks = remarks | {"moment": json.dumps({k: v for k, v in facts.items() if k != fact})}
    else:
        remarks = remarks | {"moment": json.dumps(facts | {fact: value})}
    checkpoint.store.save(path, arrays, remarks)


def resumed(path, rng, model=TOY, **options):
    """Go on with the run that stopped half-way."""
    options = {"epochs": 4, "batch": 5, "validation": HELD, "patience": 9} | options
    return fit(model, START, DATA, Watched(Adam(0.01)), rng, resume=path, **options)


@pytest.mark.parametrize(
    ("fact", "value", "words"), FOREIGN, ids=[f"{i}-{row[0]}" for i, row in enumerate(FOREIGN)]
)
def test_refuses_a_checkpoint_with_the_right_checksum_and_another_content(
    fact, value, words, half_way, path
):
    """Before anything moves: not a step is taken, and the generator stands where it stood."""
    rewritten(path, half_way, fact, value)
    hook, rng = Hook("begins", 1, stop), np.random.default_rng(1)
    before = rng.bit_generator.state
    with pytest.raises(DataError, match=words):
        resumed(path, rng, Toy(hook=hook))
    assert hook.seen == 0 and rng.bit_generator.state == before


def test_a_checkpoint_that_says_the_same_is_taken(half_way, path):
    """What was written again as it was: so the others are refused for what they say."""
    rewritten(path, half_way, "step", 13)
    found = resumed(path, np.random.default_rng(1))
    same(found, run(optimizer=Watched(Adam(0.01)), validation=HELD, patience=9))


@pytest.mark.parametrize("part", ["params", "state"])
def test_refuses_a_best_that_no_epoch_was(part, path):
    """It would stand in the place of the weights of now."""
    given = {"validation": HELD, "patience": 9, "checkpoint": path}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "PAUSE", 0.0)
        interrupted("model", "begins", 3, **given)
    with safe_open(path, framework="np") as file:
        remarks = {key: file.metadata()[key] for key in ("kind", "settings", "moment")}
        arrays = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    assert json.loads(remarks["moment"])["best"] is None
    name = next(name for name in arrays if name.startswith(f"best.{part}"))
    arrays[name][0] += 1
    checkpoint.store.save(path, arrays, remarks)
    with pytest.raises(
        DataError, match=f"best.{part}.* is not {part}.*, and no epoch was the best"
    ):
        resumed(path, np.random.default_rng(1))


def test_a_longer_run_than_asked_for_leaves_the_generator(half_way, path):
    rewritten(path, half_way, "step", 13)
    rng = np.random.default_rng(1)
    before = rng.bit_generator.state
    for options, words in (({"epochs": 1}, "has done 2"), ({"checkpoint": ""}, "is empty")):
        with pytest.raises(ValueError, match=words):
            resumed(path, rng, **options)
        assert rng.bit_generator.state == before


@pytest.mark.parametrize("name", GENERATORS)
def test_refuses_a_generator_that_would_read_beyond_its_memory(name, path):
    """Each number of its state in turn below zero, too large, or no number."""
    generator = getattr(np.random, name)
    state = json.loads(json.dumps(generator(1).state, default=np.ndarray.tolist))
    assert checkpoint.can_be(generator(2), state)

    def variants(value):
        if isinstance(value, dict):
            for key, part in value.items():
                yield {k: v for k, v in value.items() if k != key}
                yield from (value | {key: other} for other in variants(part))
        elif isinstance(value, list):
            yield from (value[:-1], [*value, 1], None, [*value[:-1], -1], [*value[:-1], "1"])
        elif isinstance(value, int):
            yield from (-1, 2**130, None, [1])
        else:
            yield from ("PCG32", 3)

    for other in variants(state):
        assert not checkpoint.can_be(generator(2), other), other
    for place, most in (("pos", 624), ("buffer_pos", 4), ("has_uint32", 1)):
        for part in (state, state["state"]):
            if isinstance(part, dict) and place in part:
                part[place] = most + 1
                assert not checkpoint.can_be(generator(2), state)
                part[place] = most
                assert checkpoint.can_be(generator(2), state)


@pytest.mark.parametrize("first", [True, False], ids=["two", "one"])
@pytest.mark.parametrize("every", [1, 3, 1000])
def test_ctrl_c_while_the_last_checkpoint_is_written(first, every, path, monkeypatch):
    """Once, or a second time after the training was stopped: the weights come back."""

    def pressed(_):
        raise KeyboardInterrupt

    monkeypatch.setattr(loop.files.os, "fsync", pressed)
    notes = Watched(Adam(0.01))
    model = Toy(hook=Hook("begins", 14, stop)) if first else TOY
    with pytest.warns(UserWarning, match="was not written: interrupted"):
        found = run(model, notes, checkpoint=path, every=every)
    assert found.why == "interrupted" and not list(path.parent.iterdir())
    np.testing.assert_array_equal(found.params.flat, notes.seen[found.steps])
    assert found.steps == (5 if every == 1 else 13 if first else 15 if every == 3 else 20)


def test_a_full_disk_does_not_cost_what_was_learned(path, monkeypatch):
    def full(*_):
        raise OSError("No space left on device")

    monkeypatch.setattr(checkpoint.store, "save", full)
    with pytest.warns(UserWarning, match="could not be written: No space left on device"):
        found = run(checkpoint=path)
    same(found, run())


def test_divergence_leaves_the_last_checkpoint(path):
    with pytest.raises(Diverged):
        run(Toy(hook=Hook("ends", 12, lambda: np.nan)), checkpoint=path)
    same(run(resume=path), run())


# Progress


def test_progress_is_shown_where_asked_for_and_leaves_nothing(capsys):
    same(run(progress=True), run(progress=False))
    shown = capsys.readouterr()
    assert "training" in shown.err and "/20" in shown.err and not shown.out
    assert shown.err.split("\r")[-2].strip() == ""  # the line is wiped
    run()
    assert capsys.readouterr().err == ""  # no terminal, no bar


def test_progress_on_a_terminal(monkeypatch):
    import io

    class Terminal(io.StringIO):
        def isatty(self):
            return True

    monkeypatch.setattr(sys, "stderr", Terminal())
    run()
    assert "20" in sys.stderr.getvalue()


def test_a_resumed_run_shows_what_is_left(path, capsys):
    run(epochs=2, checkpoint=path)
    run(epochs=4, resume=path, progress=True)
    assert "10/20" in capsys.readouterr().err


# Bad input


class NoStart:
    check = workspace = loss_and_grad = loss = None


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"epochs": 0}, ValueError, "epochs is 0, expected a whole number from 1"),
        ({"epochs": 2.0}, TypeError, "epochs is 2.0, expected a whole number"),
        ({"batch": 0}, ValueError, "batch is 0, expected a whole number from 1"),
        ({"batch": 24}, ValueError, "batch is 24, data has 23 examples"),
        ({"batch": None}, TypeError, "batch is None"),
        ({"every": 0}, ValueError, "every is 0"),
        ({"clip": 0}, ValueError, "clip is 0, expected a finite number > 0"),
        ({"clip": np.inf}, ValueError, "clip is inf"),
        ({"clip": "1"}, TypeError, "clip is '1'"),
        ({"patience": 2}, ValueError, "patience is given, but neither validation nor score"),
        ({"patience": 0, "validation": HELD}, ValueError, "patience is 0"),
        ({"score": 0.9}, TypeError, "score is 0.9, expected a function"),
        ({"data": DATA[0]}, TypeError, r"data is ndarray, expected a tuple of arrays: \(x, y\)"),
        ({"data": list(DATA)}, TypeError, "data is list"),
        ({"validation": DATA[0]}, TypeError, "validation is ndarray"),
        ({"data": (DATA[0][:0], DATA[1][:0])}, ValueError, "data is empty"),
        ({"validation": (DATA[0][:0], DATA[1][:0])}, ValueError, "validation is empty"),
        (
            {"data": (DATA[0], DATA[1][:9])},
            ValueError,
            r"data\[1\] has 9 examples, data\[0\] has 23",
        ),
        ({"validation": (HELD[0], DATA[1])}, ValueError, r"validation\[1\] has 23 examples"),
        ({"start": START.flat}, TypeError, "params is ndarray, expected a NamedTuple"),
        ({"optimizer": 0.1}, TypeError, "optimizer is 0.1, which has no start"),
        ({"model": NoStart()}, TypeError, "model is .*NoStart.* has no start"),
    ],
)
def test_bad_input_is_named(change, error, words):
    hook = Hook("begins", 1, stop)
    with pytest.raises(error, match=words):
        run(**{"model": Toy(hook=hook)} | change)
    assert hook.seen == 0


def test_weights_that_are_not_finite_from_the_start():
    start = like(START, START.flat.copy())
    start.w[3][1, 2] = np.nan
    with pytest.raises(ValueError, match=r"params\.w\[3\] holds nan at index \(1, 2\)"):
        run(start=start)


@pytest.mark.parametrize("rng", [None, 3, np.random.RandomState(0), np.random])
def test_no_generator(rng):
    with pytest.raises(TypeError, match=r"expected a generator: numpy\.random\.default_rng"):
        fit(TOY, START, DATA, Adam(0.01), rng, epochs=1, batch=5)


def test_what_the_model_says_of_its_data_names_which():
    with pytest.raises(ValueError, match="x has shape") as caught:
        run(validation=(HELD[0][:, :2], HELD[1]))
    assert caught.value.__notes__ == ["This is about validation."]


@pytest.mark.parametrize("rate", [0, -1, np.nan, np.inf])
def test_a_rate_that_is_none(rate):
    with pytest.raises(ValueError, match="rate is"):
        run(optimizer=SGD(rate))


def test_import_is_light():
    code = (
        "import sys, dlbook.training\n"
        "assert not {'matplotlib', 'scipy.linalg', 'sklearn', 'tqdm'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
