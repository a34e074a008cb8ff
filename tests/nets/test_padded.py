"""A network of padded sequences: what stands behind the end counts nowhere."""

from dataclasses import dataclass

import numpy as np
import pytest
from compiled import compiled_only
from scipy import special

from dlbook.nets.attention import MultiHeadAttention, PositionalEncoding
from dlbook.nets.check import check_model
from dlbook.nets.containers import Parallel, Residual, Sequential
from dlbook.nets.costs import Bernoulli, Gaussian
from dlbook.nets.layer import Layer
from dlbook.nets.layers import Activation, Dense, Dropout, Embedding
from dlbook.nets.loop import fit
from dlbook.nets.network import Network
from dlbook.nets.norms import LayerNorm
from dlbook.nets.padded import PaddedNetwork
from dlbook.optimization import Adam
from dlbook.tools.flat import like

T, K, M, C = 9, 3, 8, 4
LENGTHS = np.array([9, 4, 1, 0, 7])


@dataclass(frozen=True)
class First(Layer):
    """The first step of each sequence."""

    def shape(self, s):
        return s[1:]

    def forward(self, p, x, step):
        return x[:, 0].copy(), x.shape

    def backward(self, p, dy, shape, grads, step):
        dx = np.zeros(shape)
        dx[:, 0] = dy
        return dx


def body(*first, causal=False):
    """Return layers that look at other steps, so that padding could be seen."""
    return (
        *first,
        PositionalEncoding(T),
        Residual(LayerNorm(), MultiHeadAttention(M, 2, causal=causal)),
        Residual(LayerNorm(), Dense(M), Activation("gelu"), Dense(M)),
    )


def tagger(cost=None, *, dtype="float64", causal=False):
    """Return a network with a target for each step."""
    net = Sequential(*body(Dense(M), causal=causal), Dense(C))
    return PaddedNetwork((T, K), net, *([] if cost is None else [cost]), dtype=dtype)


def reader(dtype="float64"):
    """Return a network of symbols with one target for each sequence."""
    net = Sequential(*body(Embedding(5, M, scale=1.0)), First(), Dense(C))
    return PaddedNetwork((T,), net, symbols=5, dtype=dtype)


def some_data(rng):
    return rng.normal(size=(5, T, K)), rng.integers(0, C, (5, T)), LENGTHS


def padding_of(lengths):
    return np.arange(T) >= lengths[:, None]


def step(model, params, data):
    """Return loss and gradient of a step."""
    grads = like(params, np.full_like(params.flat, np.nan))
    batch = model.check(params, data)
    return model.loss_and_grad(params, None, batch, grads, model.workspace(5), None), grads.flat


def test_full_sequences_are_those_of_a_network(rng):
    model = tagger()
    x, y, _ = some_data(rng)
    params, full = model.init(rng), np.full(5, T)
    plain = Network((T, K), model.net, dtype="float64")
    loss, gradient = step(model, params, (x, y, full))
    expected = step(plain, params, (x, y))
    assert loss == expected[0]
    assert np.array_equal(gradient, expected[1])
    assert np.array_equal(model.predict(params, None, x), plain.predict(params, None, x))
    batch = model.check(params, (x, y, full))
    assert model.loss(params, None, batch) == plain.loss(params, None, batch[:2])


def test_the_loss_is_the_mean_over_the_steps_that_count(rng):
    """Each sequence by itself, cut where it ends, tells the same."""
    model, total, (x, y, lengths) = tagger(), 0.0, some_data(rng)
    params, gradient = model.init(rng), 0.0
    for n, length in enumerate(lengths):
        if length:
            cut = Network((int(length), K), model.net, dtype="float64")
            loss, own = step(cut, params, (x[n : n + 1, :length], y[n : n + 1, :length]))
            total, gradient = total + length * loss, gradient + length * own
    loss, found = step(model, params, (x, y, lengths))
    np.testing.assert_allclose(loss, total / lengths.sum(), rtol=1e-12)
    np.testing.assert_allclose(found, gradient / lengths.sum(), rtol=0, atol=1e-12)
    held = model.loss(params, None, model.check(params, (x, y, lengths)))
    np.testing.assert_allclose(held, loss, rtol=1e-12)


def test_what_stands_in_the_padding_is_not_looked_at(rng):
    """Neither in examples nor in targets, even where it is no number or no class."""
    model, (x, y, lengths) = tagger(), some_data(rng)
    params, hidden = model.init(rng), padding_of(lengths)
    loss, gradient = step(model, params, (x, y, lengths))
    said = model.predict(params, None, x, lengths)
    x, y = x.copy(), y.copy()
    x[hidden], y[hidden] = np.nan, -1
    before = x.copy(), y.copy()
    again, second = step(model, params, (x, y, lengths))
    assert again == loss
    assert np.array_equal(second, gradient)
    assert np.array_equal(model.predict(params, None, x, lengths), said)
    assert np.array_equal(x, before[0], equal_nan=True)  # the reader's data stay
    assert np.array_equal(y, before[1])


def test_lengths_are_seen_in_inference(rng):
    model, (x, _, lengths) = tagger(), some_data(rng)
    params = model.init(rng)
    x, _, lengths = model.check(params, (x, np.zeros((5, T), int), lengths))
    short, whole = model.outputs(params, None, x, lengths), model.outputs(params, None, x)
    assert np.array_equal(short[0], whole[0])
    assert not np.allclose(short[1, :4], whole[1, :4])
    named = dict(model.layers(params, None, (x, None, lengths)))
    assert np.array_equal(named["net[4]"], short)


@compiled_only
def test_more_sequences_than_go_up_together(rng):
    model, lengths = tagger(), rng.integers(0, T + 1, 300)
    x, params = rng.normal(size=(300, T, K)), model.init(rng)
    whole = model.outputs(params, None, x, lengths)
    for some in (slice(0, 7), slice(250, 260), slice(290, 300)):
        part = model.outputs(params, None, x[some], lengths[some])
        np.testing.assert_allclose(whole[some], part, rtol=0, atol=1e-12)


@compiled_only
@pytest.mark.parametrize("cost", [None, Gaussian(), Bernoulli()])
@pytest.mark.parametrize("causal", [False, True])
def test_the_gradient_of_targets_for_each_step(rng, cost, causal):
    x, y, lengths = some_data(rng)
    y = y if cost is None else rng.random((5, T, C))
    assert check_model(tagger(cost, causal=causal), (x, y, lengths), count=6).error < 1e-7


@compiled_only
def test_the_gradient_of_a_target_for_each_sequence(rng):
    data = rng.integers(0, 5, (5, T)), rng.integers(0, C, 5), LENGTHS
    assert check_model(reader(), data, count=6).error < 1e-7


def test_a_cost_of_numbers_is_the_mean_over_steps_too(rng):
    model, (x, _, lengths) = tagger(Gaussian()), some_data(rng)
    params, y = model.init(rng), rng.normal(size=(5, T, C))
    z, counts = model.outputs(params, None, x, lengths), ~padding_of(lengths)
    loss, _ = step(model, params, (x, y, lengths))
    np.testing.assert_allclose(loss, 0.5 * ((z - y)[counts] ** 2).sum() / counts.sum(), rtol=1e-12)


def test_a_batch_without_any_step_costs_nothing(rng):
    model, (x, y, _) = tagger(), some_data(rng)
    loss, gradient = step(model, model.init(rng), (x, y, np.zeros(5, int)))
    assert loss == 0
    assert (gradient == 0).all()


@compiled_only
def test_a_network_learns_which_symbol_came_first():
    """The answer at each step stands at the first one; what is in the padding would mislead."""
    rng = np.random.default_rng(5)
    x, lengths = rng.integers(0, C, (200, T)), rng.integers(1, T + 1, 200)
    y = np.repeat(x[:, :1], T, 1)
    y[padding_of(lengths)] = 0
    net = Sequential(*body(Embedding(C, M, scale=1.0)), Dropout(0.05), Dense(C))
    model, train, test = PaddedNetwork((T,), net, symbols=C), slice(0, 160), slice(160, 200)
    done = fit(
        model,
        model.init(rng),
        (x[train], y[train], lengths[train]),
        Adam(0.02),
        rng,
        epochs=40,
        batch=20,
        validation=(x[test], y[test], lengths[test]),
    )
    found = model.predict(done.params, done.state, x[test], lengths[test])
    assert (found == y[test])[~padding_of(lengths[test])].mean() > 0.97
    assert done.history.validation[-1] < 0.3 * done.history.validation[0]


def test_probabilities_of_the_right_class_by_hand(rng):
    model, (x, y, lengths) = tagger(), some_data(rng)
    params = model.init(rng)
    p = special.log_softmax(model.outputs(params, None, x, lengths), axis=2)
    right = np.take_along_axis(p, y[:, :, None], 2)[~padding_of(lengths)]
    np.testing.assert_allclose(step(model, params, (x, y, lengths))[0], -right.mean(), rtol=1e-12)


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        (lambda x, y, n: (x, y), TypeError, r"data is not \(x, y, lengths\)"),
        (lambda x, y, n: (x, y, n[:4]), ValueError, r"x has shape \(5, 9, 3\), expected"),
        (lambda x, y, n: (x, y, n + 1), ValueError, r"lengths holds the label 10 at index \(0,\)"),
        (lambda x, y, n: (x, y, n - 1), ValueError, r"lengths holds the label -1 at index \(3,\)"),
        (lambda x, y, n: (x, y, n * 1.0), TypeError, "lengths has dtype float64"),
        (lambda x, y, n: (x[:, 1:], y, n), ValueError, r"x has shape \(5, 8, 3\)"),
        (lambda x, y, n: (x[:, :, 1:], y, n), ValueError, r"x has shape \(5, 9, 2\)"),
        (lambda x, y, n: (x, y[:, 1:], n), ValueError, r"y has shape \(5, 8\)"),
        (lambda x, y, n: (x, y[1:], n), ValueError, r"y has shape \(4, 9\)"),
        (lambda x, y, n: (x, y[:, 0], n), ValueError, r"y has shape \(5,\)"),
        (lambda x, y, n: (x, y + 4, n), ValueError, "y holds the label"),
        (lambda x, y, n: (x * np.nan, y, n), ValueError, "x holds nan"),
    ],
)
def test_data_that_do_not_fit(rng, change, error, words):
    model = tagger()
    with pytest.raises(error, match=words):
        model.check(model.init(rng), change(*some_data(rng)))


def test_networks_that_do_not_fit():
    with pytest.raises(ValueError, match=r"input is \(3,\), expected \(t, m\)"):
        PaddedNetwork(3, Dense(4))
    with pytest.raises(ValueError, match=r"input is \(9, 3\), expected \(t,\), steps"):
        PaddedNetwork((9, 3), Embedding(5, 4), symbols=5)
    with pytest.raises(ValueError, match=r"the network gives \(9, 4, 4\), expected \(9, j\)"):
        PaddedNetwork((9, 5), Sequential(Dense(4), Embedding(3, 4)))
    with pytest.raises(ValueError, match=r"the network gives \(\(9, 4\), \(9, 4\)\)"):
        PaddedNetwork((9, 5), Parallel(Dense(4), Dense(4), join="tuple"))
