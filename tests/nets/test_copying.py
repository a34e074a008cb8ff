"""Networks that copy: what they read, and the control."""

from dataclasses import replace

import numpy as np
import pytest

from dlbook.nets import check_model, copying
from dlbook.nets.copying import LENGTH, SYMBOLS, Before, copier, looked_at, repeated, weights
from dlbook.nets.layer import new_step
from dlbook.training import layernorm


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
    check_model(net, repeated(1, np.random.default_rng(0)), count=5)
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


def test_weights_are_those_that_the_layer_applies(rng):
    """What they make of the values is what the attention of each block adds to the stream."""
    for net in (replace(copier(2), dtype="float64"), replace(copier(1, True), dtype="float64")):
        params, x = net.init(rng), repeated(3, np.random.default_rng(2))[0]
        params.flat[:] += 0.2 * rng.standard_normal(params.flat.size)
        a, parts = weights(net, params, x), net.net.layers
        p, step = net.by_layer(params), new_step("float64", training=False)
        np.testing.assert_allclose(a.sum(axis=-1), 1)
        assert not np.triu(a, 1).any()
        at = net.net.names.index("blocks")
        for i in range(at):
            x, _ = parts[i].forward(p[i], x, step.part(i))
        for layer, part, some in zip(parts[at].layers, p[at], a, strict=True):
            n, w = layernorm(x.reshape(-1, 32), *part.norm, 1e-5), part.attention
            v = (n @ w.wv.T + w.bv).reshape(3, LENGTH, 2, 16)
            o = np.einsum("hnts,nshd->nthd", some, v).reshape(3, LENGTH, 32)
            y, _ = layer.forward(part, x, new_step("float64", training=False))
            np.testing.assert_allclose(y - x, o @ w.wo.T + w.bo, atol=1e-12)
            x = y


def test_what_is_looked_at(monkeypatch):
    x, y = repeated(5, np.random.default_rng(0))
    periods, T = (y >= 0).argmax(axis=1), LENGTH
    a = np.zeros((2, 2, 5, T, T))
    for n, period in enumerate(periods):
        for t in range(1, period + 1):
            a[0, 1, n, t, t - 1] = 0.25
        for t in range(period, T):
            places = [s for s in range(1, t + 1) if x[n, s - 1] == x[n, t]]
            assert places and all(x[n, s] == np.append(x[n], y[n, -1])[t + 1] for s in places)
            a[1, 0, n, t, places] = 0.5 / len(places)
    a[1, 1, :, range(T), range(T)] = 1
    monkeypatch.setattr(copying, "weights", lambda *given: a)
    found = looked_at(None, None, x, y)
    # a step that looks at itself does not look behind an earlier occurrence
    np.testing.assert_allclose(found, [[[0, 0.25], [0, 0]], [[0, 0], [0.5, 0]]], atol=1e-12)
