"""The recurrent network put together from layers."""

from itertools import product

import numpy as np
import pytest
from compiled import compiled_only

from dlbook.nets import RecurrentNetwork, check_model
from dlbook.tools.flat import like

N, T, K, J, V = 6, 8, 4, 5, 4
LENGTHS = np.array([3, 0, 7, 8, 1, 4])
WAYS = ({}, {"bidirectional": True}, {"residual": True, "checkpoint_every": 3})
GRID = list(product(("tanh", "lstm", "gru"), (1, 3), ("each", "last"), (False, True), WAYS))


@compiled_only
@pytest.mark.parametrize(("cell", "depth", "reads", "symbols", "way"), GRID)
def test_the_model_keeps_its_promises(cell, depth, reads, symbols, way, rng):
    settings = {"cell": cell, "depth": depth, "reads": reads, "symbols": symbols} | way
    net = RecurrentNetwork(K, J, V, dtype="float64", **settings)
    x = rng.integers(K, size=(N, T)) if symbols else rng.normal(size=(N, T, K))
    y = rng.integers(V, size=(N, T) if reads == "each" else N)
    check_model(net, (x, y, LENGTHS), count=4)


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
        new = RecurrentNetwork(K, J, V, cell="lstm", reads=reads)
        params, y = new.init(rng), rng.integers(V, size=(N, T) if reads == "each" else N)
        batch = new.check(params, (rng.normal(size=(N, T, K)), y, LENGTHS))
        start = [rng.normal(size=(N, J)).astype("float32") for _ in range(new.carried)]
        work, grads = new.workspace(N), like(params)
        fresh = new.loss_and_grad(params, None, batch, grads, new.workspace(N))
        assert new.through_time(params, batch, start, grads, work)[0] != fresh
        assert new.loss_and_grad(params, None, batch, grads, work) == fresh
        with pytest.raises(ValueError, match="start has arrays"):
            new.through_time(params, batch, [start[0][:, 1:]] * 2, grads, work)
        assert new.loss_and_grad(params, None, batch, grads, work) == fresh
