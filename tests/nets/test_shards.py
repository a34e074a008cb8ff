"""Steps cut into shards: the batch's gradient, the same bits whoever computes, and lost workers."""

import json
import multiprocessing
import os
import pickle
import re
import signal
import subprocess
import sys
import time
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import safetensors
from compiled import compiled_only
from test_training_loop import DATA, HELD, START, TOY, Hook, Toy, run, same, stop

from dlbook.nets import (
    LSTM,
    MLP,
    AttentiveDecoder,
    BatchNorm,
    Captioner,
    Dense,
    Diverged,
    Dropout,
    Embedding,
    Last,
    MeanSquare,
    Network,
    PaddedNetwork,
    SequenceNetwork,
    Sequential,
    ShardError,
    Transformer,
    fit,
    loop,
    shards,
)
from dlbook.nets.shards import Shards, compute
from dlbook.optimization import Adam
from dlbook.tools.errors import DataError
from dlbook.tools.flat import like

HERE = Path(__file__).resolve()
SPAWN = multiprocessing.get_context("spawn")


@pytest.fixture
def path(tmp_path):
    """Return the path of a checkpoint that is not there yet."""
    return tmp_path / "run.safetensors"


# What is computed


def models():
    """Return models with data of unequal lengths, none of which draws anything."""
    rng = np.random.default_rng(0)
    N, T = 13, 6
    lengths, ends = rng.integers(0, T + 1, N), rng.integers(1, T + 1, N)
    symbols, x = rng.integers(0, 5, (N, T)), rng.normal(size=(N, T, 3))
    layers = Sequential(Embedding(5, 4), LSTM(3), Dense(5))
    last = Sequential(Embedding(5, 4), LSTM(3), Last(), Dense(2))
    some = np.where(rng.random((N, T)) < 0.4, -1, symbols)
    closed = np.where(np.arange(T) == ends[:, None] - 1, 1, 2 + symbols % 3)
    wide = {"dtype": "float64"}
    return {
        "mlp": (MLP((3, 4, 2), **wide), (x[:, 0], symbols[:, 0] % 2)),
        "network": (Network(3, Dense(2), MeanSquare(), **wide), (x[:, 0], x[:, 1, :2])),
        "sequences": (SequenceNetwork((), layers, symbols=5, **wide), (symbols, symbols, lengths)),
        "pieces": (
            SequenceNetwork((), layers, symbols=5, truncate=2, **wide),
            (symbols, symbols, lengths),
        ),
        "last": (
            SequenceNetwork((), last, symbols=5, **wide),
            (symbols, symbols[:, 0] % 2, lengths),
        ),
        "padded": (
            PaddedNetwork((T, 3), Dense(2), MeanSquare(), **wide),
            (x, x[:, :, :2], lengths),
        ),
        "transformer": (Transformer(5, 4, 1, 1, T, **wide), (symbols, some)),
        "decoder": (AttentiveDecoder(5, 4, 5, **wide), (symbols, closed, lengths, ends)),
        "captions": (Captioner((3, 1, 3), 5, 4, 3, **wide), (x[:, :3, None], closed, ends)),
    }


MODELS = models()
EVEN = {"mlp", "network", "last"}  # one term for each example


@pytest.mark.parametrize("count", [1, 2, 3, 8])
@pytest.mark.parametrize("name", MODELS)
def test_the_mean_of_the_shards_is_the_gradient_of_the_batch(name, count, rng):
    model, data = MODELS[name]
    params, size = model.init(rng), len(data[0])
    batch, whole, grads = model.check(params, data), like(params), like(params)
    loss = model.loss_and_grad(params, None, batch, whole, model.workspace(size), rng)
    parts = Shards(model, None, count, size)
    mine = parts.loss_and_grad(params, None, batch, grads, rng, 0)
    assert mine == pytest.approx(loss, rel=1e-12)
    np.testing.assert_allclose(grads.flat, whole.flat, rtol=0, atol=1e-13)
    cut = parts.cut(batch)
    assert [sum(map(len, x)) for x in zip(*cut, strict=True)] == [size] * len(batch)
    assert max(len(x) for x, *_ in cut) - min(len(x) for x, *_ in cut) <= 1
    terms = parts.terms(batch)
    assert sum(map(parts.terms, cut)) == terms and (terms == size) == (name in EVEN)


def test_without_a_term_there_is_no_gradient(rng):
    model, (symbols, *_) = MODELS["transformer"]
    params = model.init(rng)
    grads = like(params)
    batch = symbols, np.full_like(symbols, -1)
    assert Shards(model, None, 4, 13).loss_and_grad(params, None, batch, grads, rng, 0) == 0
    assert not grads.flat.any()


def test_batch_norm_sees_its_shard(rng):
    """Each shard is normalized by itself, and the running statistics are the mean of theirs."""
    net = Network(3, Sequential(Dense(4), BatchNorm(), Dense(2)), MeanSquare(), dtype="float64")
    x, y = rng.normal(size=(9, 3)), rng.normal(size=(9, 2))
    params, state = net.init(rng), net.start()
    found = []
    for part in ((x[:4], y[:4]), (x[4:], y[4:])):
        moved, grads = net.start(), like(params)
        loss = net.loss_and_grad(params, moved, part, grads, net.workspace(9), rng)
        found.append((len(part[0]) / 9, loss, grads.flat, moved.flat))
    mean = [sum(row[0] * row[i] for row in found) for i in (1, 2, 3)]
    parts = Shards(net, None, 2, 9)
    loss = parts.loss_and_grad(params, state, (x, y), grads, rng, 0)
    assert loss == pytest.approx(mean[0], rel=1e-13)
    np.testing.assert_allclose(grads.flat, mean[1], rtol=0, atol=1e-14)
    np.testing.assert_allclose(state.flat, mean[2], rtol=0, atol=1e-14)
    for size, count in ((9, 4), (3, 1), (2, 1)):  # two examples at least in each
        assert len(Shards(net, None, 4, 9).cut((x[:size], y[:size]))) == count


def test_each_shard_of_each_step_draws_its_own(rng):
    """Eight times the same example, of which dropout leaves something else each time."""
    net = Network(4, Sequential(Dense(40), Dropout(0.5)), MeanSquare(), dtype="float64")
    params, before = net.init(rng), rng.bit_generator.state
    batch = np.tile(rng.normal(size=(1, 4)), (8, 1)), np.zeros((8, 40))
    before, parts = rng.bit_generator.state, Shards(net, None, 8, 8)
    drawn = []
    for step in (0, 1, 1):
        drawn.append([])
        each = parts.each(
            [(params.flat, None, part, (7, step, s)) for s, part in enumerate(parts.cut(batch))]
        )
        drawn[-1] = [found.loss for found in each]
    assert rng.bit_generator.state == before
    assert drawn[1] == drawn[2] and len({*drawn[0], *drawn[1]}) == 16


# The same bits


def train(executor=None, shards=8, model=TOY, **options):
    """Train a Toy, with dropout and running statistics, in batches of eight and one of seven."""
    return run(model, batch=8, executor=executor, shards=shards, **options)


@pytest.fixture(scope="module")
def pool():
    """Return two processes that stay for several tests."""
    with ProcessPoolExecutor(2, SPAWN) as workers:
        yield workers


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_any_number_of_threads_finds_the_same_bits(workers):
    with ThreadPoolExecutor(workers) as executor:
        same(train(executor), train())


def test_processes_find_the_same_bits(pool):
    same(train(pool, validation=HELD, patience=2), train(validation=HELD, patience=2))


def test_another_number_of_processes_finds_the_same_bits():
    with ProcessPoolExecutor(3, SPAWN) as executor:
        same(train(executor), train())


def test_the_number_of_shards_is_part_of_the_result():
    bits = {train(shards=count).params.flat.tobytes() for count in (1, 2, 8)}
    assert len(bits) == 3


@dataclass(frozen=True)
class Calm(Toy):
    """A Toy that draws nothing."""

    def loss_and_grad(self, params, state, batch, grads, work, rng):
        return super().loss_and_grad(params, state, batch, grads, work, np.random.default_rng(0))


def test_what_draws_nothing_differs_by_rounding_alone():
    calm = Calm(drop=0.0, running=False)
    whole, parts = run(calm, batch=8), train(model=calm)
    np.testing.assert_allclose(parts.params.flat, whole.params.flat, rtol=0, atol=1e-12)
    assert parts.params.flat.tobytes() != whole.params.flat.tobytes()


class Backwards(Executor):
    """Computes what was submitted last first, each thing when it is asked for."""

    def __init__(self):
        self.waiting, self.most = [], 0

    def submit(self, call, *args):
        future = Future()
        self.waiting.append((future, call, args))
        self.most = max(self.most, len(self.waiting))
        future.result = lambda: self.do_all() or Future.result(future)
        return future

    def do_all(self):
        while self.waiting:
            future, call, args = self.waiting.pop()
            future.set_result(call(*args))


def test_the_order_in_which_shards_are_done_does_not_matter():
    same(train(executor := Backwards()), train())
    assert executor.most == 8


@compiled_only
def test_compiled_layers_find_the_same_bits(pool, rng):
    """With dropout and batch norm, in float32, on threads and in processes."""
    layers = Sequential(Dense(16), BatchNorm(), Dropout(0.2), Dense(3))
    net, x = Network(5, layers), rng.normal(size=(70, 5))
    params, y = net.init(rng), rng.integers(0, 3, 70)

    def trained(executor):
        return fit(
            net,
            params,
            (x, y),
            Adam(0.01),
            np.random.default_rng(2),
            epochs=3,
            batch=32,
            executor=executor,
            shards=5,
        )

    one = trained(None)
    with ThreadPoolExecutor(2) as threads:
        same(trained(threads), one)
    same(trained(pool), one)


def test_the_usual_number_of_shards():
    with ThreadPoolExecutor(2) as executor:
        same(train(executor, shards=None), train(shards=8))
        small = {"batch": 3, "data": tuple(x[:6] for x in DATA)}
        found = run(executor=executor, **small)
        same(found, run(shards=3, **small))


# What is lost, and what is not


@dataclass(frozen=True)
class Mortal(Toy):
    """A Toy whose worker dies of one example, once, when there is a file; the file goes with it."""

    flag: str = ""

    def loss_and_grad(self, params, state, batch, grads, work, rng):
        flag = Path(self.flag)
        if DATA[0][3, 0] in batch[0] and flag.exists() and flag.read_text() != str(os.getpid()):
            flag.unlink()
            os.kill(os.getpid(), signal.SIGKILL)
        return super().loss_and_grad(params, state, batch, grads, work, rng)


def after(flag, epochs):
    """Return a score that raises a flag after so many epochs, with the name of who does not die."""
    seen = []

    def score(params, state):
        seen.append(1)
        if len(seen) == epochs:
            flag.write_text(str(os.getpid()))
        return float(params.flat[0])

    return score


def test_a_killed_worker_ends_the_run_and_the_checkpoint_goes_on(pool, path, tmp_path):
    flag = tmp_path / "flag"
    options = {"model": Mortal(flag=str(flag)), "epochs": 4}
    with (
        ProcessPoolExecutor(2, SPAWN) as workers,
        pytest.raises(ShardError, match="of 8 was not computed: BrokenProcessPool") as caught,
    ):
        train(workers, **options, checkpoint=path, score=after(flag, 2))
    assert not flag.exists()  # which the worker took along
    (note,) = caught.value.__notes__
    assert re.fullmatch(r".*run\.safetensors is of step [678]: resume from it", note)
    score = after(flag, 99)
    again = train(pool, **options, resume=path, score=score, seed=99)
    same(again, train(**options, score=score))


COORDINATOR = """
import sys
sys.path[:0] = sys.argv[2:]
import test_shards as t

def told(params, state):
    print("epoch", flush=True)
    return 0.0

if __name__ == "__main__":
    with t.ProcessPoolExecutor(2, t.SPAWN) as workers:
        t.train(workers, checkpoint=sys.argv[1], epochs=10**6, score=told)
"""


def test_a_killed_coordinator_is_resumed_to_the_same_bits(pool, path, tmp_path):
    script = tmp_path / "coordinator.py"
    script.write_text(COORDINATOR)
    places = map(str, (HERE.parent, *HERE.parents[1:3]))
    process = subprocess.Popen(
        [sys.executable, str(script), str(path), *places],
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        assert [process.stdout.readline() for _ in range(5)] == ["epoch\n"] * 5
    finally:
        process.kill()  # SIGKILL, without a word
        process.wait()
        process.stdout.close()
        os.killpg(process.pid, signal.SIGKILL)  # its workers, who do not notice that it is gone
    done = len(json.loads(remarks(path)["moment"])["rows"])
    assert done >= 4
    options = {"epochs": done + 2, "score": lambda params, state: 0.0}
    same(train(pool, **options, resume=path, seed=99), train(**options))


def remarks(path):
    """Return the metadata of a file."""
    with safetensors.safe_open(path, framework="np") as file:
        return file.metadata()


@dataclass(frozen=True)
class Wrong(Toy):
    """A Toy that finds fault with its third shard of a training."""

    def loss_and_grad(self, params, state, batch, grads, work, rng):
        if DATA[0][3, 0] in batch[0]:
            raise ValueError("this example again")
        return super().loss_and_grad(params, state, batch, grads, work, rng)


def test_an_error_of_a_shard_is_told(path):
    with (
        ThreadPoolExecutor(2) as executor,
        pytest.raises(ShardError, match="not computed: ValueError: this example again") as caught,
    ):
        train(executor, model=Wrong(), checkpoint=path)
    assert isinstance(caught.value.__cause__, ValueError) and path.exists()
    with pytest.raises(ValueError, match="this example again"):  # here it is no worker's
        train(model=Wrong())


def test_an_executor_that_is_closed():
    executor = ThreadPoolExecutor(1)
    executor.shutdown()
    with pytest.raises(ShardError, match="RuntimeError: cannot schedule new futures"):
        train(executor)


def test_a_checkpoint_says_how_many_shards(path):
    whole = train(epochs=4)
    train(epochs=2, checkpoint=path)
    with ThreadPoolExecutor(2) as executor:
        same(train(executor, epochs=4, resume=path, seed=99), whole)
    for other in ({"shards": 4}, {"shards": None}):
        with pytest.raises(DataError, match="another run: shards was 8, here it is"):
            train(epochs=4, resume=path, **other)


@pytest.mark.parametrize("pause", [0.0, 1e9])
@pytest.mark.parametrize("count", [1, 9, 30, 52])
def test_ctrl_c_among_shards(count, pause, path, monkeypatch):
    """The weights are those of a whole step, and the file leads to the same bits."""
    monkeypatch.setattr(loop, "PAUSE", pause)
    model = Toy(hook=Hook("grads", count, stop))
    found = train(model=model, checkpoint=path)
    assert found.why == "interrupted" and found.steps == (count - 1) // 8
    assert np.isfinite(found.params.flat).all()
    same(train(resume=path, seed=99), train())


def no_number():
    return float("nan")


def test_a_run_that_diverges_says_so_with_shards(pool):
    for executor in (None, pool):
        model = Toy(hook=Hook("ends", 12, no_number))
        with pytest.raises(Diverged, match="the loss is nan; try a rate below") as caught:
            train(executor, model=model)
        assert np.isfinite(caught.value.params.flat).all()


# What is refused


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"executor": 2}, TypeError, "executor is 2, which has no submit"),
        ({"shards": 0}, ValueError, "shards is 0"),
        ({"shards": 2.0}, TypeError, "shards is"),
        ({"shards": 9}, ValueError, "shards is 9, batch has 8 examples"),
        (
            {"shards": 5, "model": Toy(smallest_batch=2)},
            ValueError,
            "batch has 8 examples, each with 2 at least",
        ),
    ],
)
def test_refuses(options, error, words):
    with pytest.raises(error, match=re.escape(words)):
        train(**options)


def test_refuses_a_model_that_cannot_be_sent():
    @dataclass(frozen=True)
    class Local(Toy):
        pass

    with ThreadPoolExecutor(1) as executor, pytest.raises(TypeError, match="cannot be sent"):
        train(executor, model=Local())
    train(model=Local())


def test_a_worker_of_another_version_refuses(rng):
    with pytest.raises(RuntimeError, match=r"who asks has 0\.0"):
        compute(pickle.dumps(TOY), "0.0", START.flat, None, DATA, 0)


@compiled_only
def test_where_threads_must_take_turns(monkeypatch):
    """Numba's own pool ends a process in which two threads call it at a time."""
    monkeypatch.setattr(shards, "threading_layer", lambda: "workqueue")
    inside, most = [], []

    def counted(self, *shard, of=shards.Place.compute):
        inside.append(1)
        most.append(len(inside))
        time.sleep(0.002)
        found = of(self, *shard)
        inside.pop()
        return found

    monkeypatch.setattr(shards.Place, "compute", counted)
    with ThreadPoolExecutor(3) as executor:
        train(executor, epochs=1)
    assert max(most) == 1
