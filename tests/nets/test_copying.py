"""Networks that copy: what they read, and the control."""

from dataclasses import replace

import numpy as np
import pytest

from dlbook.nets import check_model
from dlbook.nets.copying import LENGTH, SYMBOLS, Before, copier, repeated
from dlbook.nets.layer import new_step


def test_strings_repeat_a_shorter_one():
    x, y = repeated(200, np.random.default_rng(0))
    assert x.shape == y.shape == (200, LENGTH)
    periods = (y >= 0).argmax(axis=1)
    assert set(periods) == set(range(4, 10))
    for row, after, period in zip(x, y, periods, strict=True):
        assert len(set(row[:period])) == period and row.max() < SYMBOLS
        assert np.array_equal(row[period:], row[:-period])
        assert (after[:period] == -1).all()
        assert np.array_equal(after[period:-1], row[period + 1 :])
        assert after[-1] == row[LENGTH - period]
    with pytest.raises(ValueError, match="count is 0"):
        repeated(0, np.random.default_rng(0))


def test_beside_each_step_stands_the_one_before(rng):
    x, step, layer = rng.normal(size=(2, 3, 2)), new_step("float64"), Before()
    y, _ = layer.forward((), x, step)
    assert layer.shape((3, 2)) == (3, 4)
    assert np.array_equal(y[..., :2], x)
    assert np.array_equal(y[:, 1:, 2:], x[:, :-1]) and not y[:, 0, 2:].any()
    dy = rng.normal(size=y.shape)
    assert np.isclose(np.sum(layer.backward((), dy, None, None, step) * x), np.sum(dy * y))


@pytest.mark.parametrize("before", [True, False])
def test_copiers_pass_the_check_of_a_model(before):
    net = replace(copier(1, before), dtype="float64")
    check_model(net, repeated(3, np.random.default_rng(0)), count=5)
    assert net.hidden == 0


def test_the_symbol_before_is_seen_by_the_control(rng):
    """With one block that has to look at itself alone, x_{t−1} still changes what is said at t."""
    nets = copier(1, True), copier(1)
    x = repeated(1, np.random.default_rng(1))[0]
    for net in nets:
        assert net.outputs(net.init(rng), None, x).shape == (1, LENGTH, SYMBOLS)
    with pytest.raises(NotImplementedError, match="does not read on"):
        nets[0].reader(nets[0].init(rng))
    with pytest.raises(ValueError, match="width is 3, expected an even number"):
        replace(nets[0], width=3, heads=1)
