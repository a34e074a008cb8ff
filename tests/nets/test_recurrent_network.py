"""The recurrent network put together from layers, held to the classes it replaces."""

from itertools import product

import numpy as np
import pytest

from dlbook.gated import Gated
from dlbook.nets import RecurrentNetwork, check_model
from dlbook.rnn import RNN
from dlbook.tools.flat import like

N, T, K, J, V = 6, 8, 4, 5, 4
LENGTHS = np.array([3, 0, 7, 8, 1, 4])
WORDS = {
    "forget_bias": "hold",
    "bidirectional": "both",
    "residual": "skip",
    "truncate": "cut",
    "checkpoint_every": "keep",
}
PIECES = ({}, {"truncate": 3}, {"checkpoint_every": 3})
GRID = [
    {"cell": cell, "depth": depth, "reads": reads, "symbols": symbols} | way
    for cell, depth, reads, symbols, way in product(
        ("tanh", "relu", "linear", "lstm", "gru"),
        (1, 3),
        ("each", "last"),
        (False, True),
        (
            {},
            {"residual": True},
            {"bidirectional": True},
            {"bidirectional": True, "residual": True},
        ),
    )
]
SOME = [
    {"cost": "squares"},
    {"cost": "squares", "reads": "last", "cell": "lstm", "dtype": "float64"},
    {"initial": "orthogonal", "scale": 0.5, "cell": "gru", "forget_bias": 2.0},
    {"initial": "identity", "cell": "relu", "depth": 2, "dtype": "float64"},
]


def pair(rng, **settings):
    """Return a network, the one it replaces, the parameters of both, a batch, and first states."""
    new = RecurrentNetwork(K, J, V, **settings)
    gated = settings.keys() & {"bidirectional", "residual", "forget_bias"}
    kind = Gated if gated or new.cell in ("lstm", "gru") else RNN
    old = kind(K, J, V, **{WORDS.get(name, name): value for name, value in settings.items()})
    params, before = (net.init(np.random.default_rng(3)) for net in (new, old))
    assert same(params, before)
    for part, twin in zip(arrays(params), arrays(before), strict=True):
        part += 0.2 * rng.normal(size=part.shape).astype(part.dtype)
        twin[:] = part
    x = rng.integers(K, size=(N, T)) if new.symbols else rng.normal(size=(N, T, K))
    read = (N, T) if new.reads == "each" else (N,)
    numbers = new.cost == "squares"
    y = rng.normal(size=(*read, V)) if numbers else rng.integers(V, size=read)
    batch = new.check(params, (x, y, LENGTHS))
    for a, b in zip(batch, old.check(before, (x, y, LENGTHS)), strict=True):
        np.testing.assert_array_equal(a, b, strict=True)
    start = [rng.normal(size=(N, J)).astype(new.dtype) for _ in range(new.carried)]
    return new, old, params, before, batch, start


def arrays(params):
    """Return the arrays of parameters, sets of cells in order."""
    return [*params.wx, *params.wh, *params.b, params.wy, params.by]


def same(one, other):
    """Return whether all arrays have the same bits."""
    pairs = zip(arrays(one), arrays(other), strict=True)
    return all(a.dtype == b.dtype and np.array_equal(a, b) for a, b in pairs)


def apart(found, wanted):
    """Return the largest difference, by the largest number."""
    pairs = list(zip(found, wanted, strict=True))
    return max(np.abs(a - b).max(initial=0) for a, b in pairs) / max(
        np.abs(b).max(initial=1e-12) for _, b in pairs
    )


@pytest.mark.parametrize("settings", GRID + SOME, ids=str)
def test_a_step_has_the_same_bits(settings, rng):
    """First weights, loss, gradients, last states, gradients of the first states."""
    new, old, params, before, batch, start = pair(rng, **settings)
    grads, wanted = like(params), like(before)
    for begin in (start, new._zeros(N)):
        found = new.through_time(params, batch, begin, grads, new.workspace(N))
        then = old.through_time(before, batch, begin, wanted, old.workspace(N))
        assert found[0] == then[0]
        assert same(grads, wanted)
        for a, b in zip((*found[1], *found[2]), (*then[1], *then[2]), strict=True):
            np.testing.assert_array_equal(a, b, strict=True)
    assert new.loss_and_grad(params, None, batch, grads, new.workspace(N)) == then[0]
    assert new.loss(params, None, batch) == old.loss(before, None, batch)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("pieces", PIECES[1:], ids=str)
@pytest.mark.parametrize("settings", [s for s in GRID if "bidirectional" not in s], ids=str)
def test_a_step_in_pieces_is_the_same_but_for_the_order_of_sums(settings, pieces, dtype, rng):
    new, old, params, before, batch, start = pair(rng, **settings, **pieces, dtype=dtype)
    grads, wanted, close = like(params), like(before), 16 * np.finfo(dtype).eps
    found = new.through_time(params, batch, start, grads, new.workspace(N))
    then = old.through_time(before, batch, start, wanted, old.workspace(N))
    assert found[0] == then[0]
    assert apart(arrays(grads), arrays(wanted)) < close
    for a, b in zip(found[1], then[1], strict=True):
        np.testing.assert_array_equal(a, b)
    if "truncate" in pieces:
        assert found[2] is None and then[2] is None
    else:
        assert apart(found[2], then[2]) < close


@pytest.mark.parametrize("settings", GRID + SOME, ids=str)
def test_a_run_has_the_same_bits(settings, rng):
    """States, scores, last states, predictions."""
    new, old, params, before, (x, _, lengths), start = pair(rng, **settings)
    for more in ((), (lengths,), (lengths, start)):
        found, then = new.run(params, x, *more), old.run(before, x, *more)
        for a, b in zip((*found[:2], *found.last), (*then[:2], *then.last), strict=True):
            np.testing.assert_array_equal(a, b, strict=True)
    for more in ((), (lengths,)):
        np.testing.assert_array_equal(
            new.predict(params, None, x, *more), old.predict(before, None, x, *more), strict=True
        )


@pytest.mark.parametrize(
    "settings", [s for s in GRID if s["symbols"] and "bidirectional" not in s], ids=str
)
def test_the_same_symbols_are_drawn(settings, rng):
    new, old, params, before, *_ = pair(rng, **settings)
    texts = [
        net.sample(p, [1, 0, 3], 40, np.random.default_rng(5), temperature=0.7)
        for net, p in ((new, params), (old, before))
    ]
    np.testing.assert_array_equal(*texts, strict=True)


@pytest.mark.parametrize("pieces", PIECES, ids=str)
@pytest.mark.parametrize("reads", ["each", "last"])
@pytest.mark.parametrize("cell", ["tanh", "lstm", "gru"])
def test_the_model_keeps_its_promises(cell, reads, pieces, rng):
    settings = {"cell": cell, "reads": reads, "depth": 2, "residual": True, "dtype": "float64"}
    new, *_, batch, _ = pair(rng, **settings, **pieces)
    if "truncate" not in pieces:  # whose gradient is not that of the loss
        check_model(new, batch)


def test_the_mean_square_is_over_all_numbers(rng):
    """Of three numbers at each step; a last bit may differ from the sum divided at once."""
    net = RecurrentNetwork(K, J, 3, cost="squares", dtype="float64")
    params, x, y = net.init(rng), rng.normal(size=(N, T, K)), rng.normal(size=(N, T, 3))
    batch = net.check(params, (x, y, LENGTHS))
    there = np.arange(T) < LENGTHS[:, None]
    wanted = np.mean((net.run(params, x, LENGTHS).scores - y)[there] ** 2)
    assert net.loss(params, None, batch) == pytest.approx(wanted, rel=1e-15)


def test_states_from_outside_are_of_one_call(rng):
    """The step after it, on the same memory, begins at zero; also where the call breaks off."""
    for reads in ("each", "last"):
        new, _, params, _, batch, start = pair(rng, cell="lstm", reads=reads)
        work, grads = new.workspace(N), like(params)
        fresh = new.loss_and_grad(params, None, batch, grads, new.workspace(N))
        assert new.through_time(params, batch, start, grads, work)[0] != fresh
        assert new.loss_and_grad(params, None, batch, grads, work) == fresh
        with pytest.raises(ValueError, match="start has arrays"):
            new.through_time(params, batch, [start[0][:, 1:]] * 2, grads, work)
        assert new.loss_and_grad(params, None, batch, grads, work) == fresh
