"""Encoder and decoder of layers: against the equations, differences, wrong input."""

import numpy as np
import pytest
from compiled import compiled_only

from dlbook.attention import dot_product_attention
from dlbook.fast.sequences import arrange
from dlbook.gated import gru_states
from dlbook.nets import AttentiveDecoder, Dense, EncoderDecoder, check_model
from dlbook.nets.attention import LuongAttention
from dlbook.nets.containers import Sequential
from dlbook.nets.layer import new_step
from dlbook.nets.norms import BatchNorm
from dlbook.nets.recurrent import GRU, LSTM, RNN
from dlbook.nets.seq2seq import Seq2Seq
from dlbook.nets.tree import built
from dlbook.sequence_tasks import log_likelihood

KINDS = EncoderDecoder, AttentiveDecoder
K, V = 5, 6


def some_lines(rng, N, T=9, U=7):
    """Return lines of unequal length, the first of them empty."""
    lengths, ends = rng.integers(0, T + 1, N), rng.integers(1, U + 1, N)
    lengths[0] = 0
    x, y = rng.integers(K, size=(N, T)), rng.integers(2, V, size=(N, U))
    y[np.arange(N), ends - 1] = 1
    return x, y, lengths, ends


def stirred(net, rng):
    """Return parameters near the first ones, none of them zero."""
    params = net.init(rng)
    params.flat[:] += 0.2 * rng.normal(size=params.flat.size)
    return params


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_decoder_with_attention_computes_the_equations(rng, dtype):
    """Line by line; in the first nothing is read, and what is found there is zero."""
    net = AttentiveDecoder(K, 4, V, dtype=dtype)
    params = stirred(net, rng)
    batch, total = net.check(params, some_lines(rng, 6)), 0.0
    parts = [[part.wx[0], part.wh[0], part.b[0]] for part in (params.encoder, params.decoder)]
    encoder, decoder = ([w.astype(float) for w in part] for part in parts)
    for x, y, length, end in zip(*batch, strict=True):
        h, _ = gru_states(np.eye(K)[x[:length]], np.zeros(4), *encoder)
        d, _ = gru_states(np.eye(V)[np.append(0, y[: end - 1])], h[-1], *decoder)
        keys, seen = h[1:] @ params.more[0].astype(float).T, np.ones((end, length), bool)
        found, _ = dot_product_attention(d[1:], keys, h[1:], seen)
        o = np.hstack((d[1:], found)) @ params.wy.T.astype(float) + params.by
        total -= log_likelihood(o, y[:end])
    tolerance = 1e-12 if dtype == "float64" else 1e-6
    assert net.loss(params, None, batch) == pytest.approx(total / batch[3].sum(), rel=tolerance)


@pytest.mark.parametrize("kind", KINDS)
def test_a_seed_gives_the_weights_of_its_layers(kind):
    """After encoder and decoder a row of numbers is drawn that nobody uses."""
    net, rng = kind(K, 4, V, forget_bias=1.5), np.random.default_rng(2)
    params, alone = net.init(np.random.default_rng(2)), net.init(np.random.default_rng(3))
    for layer, part in zip(net.net.layers, net.by_layer(alone), strict=True):
        for array in part:
            array[:] = 0
        layer.draw(part, rng)
        if isinstance(layer, GRU):
            rng.standard_normal(4)
    assert np.array_equal(params.flat, alone.flat)
    assert (params.encoder.b[0][4:8] == 1.5).all()


@compiled_only
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("cell", ["gru", "lstm", "tanh"])
@pytest.mark.parametrize("N", [1, 5])
def test_gradients_are_those_of_the_loss(rng, kind, cell, N):
    """A single line here is an empty one."""
    net = kind(K, 4, V, cell=cell, dtype="float64")
    assert check_model(net, some_lines(rng, N)).error < 1e-8


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("cell", ["gru", "lstm", "tanh"])
def test_writing_step_by_step_gives_the_scores_of_training(rng, kind, cell):
    net = kind(K, 4, V, cell=cell, dtype="float64")
    params = stirred(net, rng)
    x, y, lengths, ends = net.check(params, some_lines(rng, 5))
    state, step = net.stepper(params, x, lengths)
    assert state.shape == (5, 8 if cell == "lstm" else 4)
    symbols, total = np.zeros(5, np.int64), 0.0
    for u in range(y.shape[1]):
        logs, state = step(state, symbols)
        symbols = y[:, u]
        total -= logs[np.arange(5), symbols][u < ends].sum()
    loss = net.loss(params, None, (x, y, lengths, ends))
    assert total / ends.sum() == pytest.approx(loss, rel=1e-12)


@pytest.mark.parametrize("cell", ["gru", "lstm", "tanh"])
def test_greedy_is_a_beam_of_one(rng, cell):
    net = AttentiveDecoder(K, 4, V, cell=cell, max_length=12)
    params = stirred(net, rng)
    x, _, lengths, _ = net.check(params, some_lines(rng, 5))
    found = net.predict(params, None, x, lengths)
    for n in np.flatnonzero(lengths):
        row = found[n][found[n] >= 0].tolist()
        for y, _ in net.beam(params, x[n, : lengths[n]], 1):
            assert y.tolist() == row


@pytest.mark.parametrize("kind", KINDS)
def test_layers_say_what_every_part_gives(rng, kind):
    net = kind(K, 4, V)
    params = net.init(rng)
    batch = net.check(params, some_lines(rng, 5))
    found = {name: part.shape for name, part in net.layers(params, None, batch)}
    S, R = (part.sum() for part in batch[2:])
    wanted = {"encoder": (S, 4), "decoder": (R, 4), "attention": (R, 8), "scores": (R, V)}
    if kind is EncoderDecoder:
        del wanted["attention"]
    assert list(found.items()) == list(wanted.items())


def test_parts_that_do_not_fit():
    with pytest.raises(TypeError, match="encoder is Dense"):
        Seq2Seq(Dense(4), GRU(4), Dense(6))
    for other in (GRU(5), LSTM(4)):
        with pytest.raises(ValueError, match=r"cannot begin with the states of GRU\(hidden=4"):
            Seq2Seq(GRU(4), other, Dense(6))
    net = Seq2Seq(GRU(4), GRU(4), Dense(6))
    assert net.shape(((3,), (2,))) == (6,)
    with pytest.raises(ValueError, match=r"wants two inputs and gets examples of shape \(3,\)"):
        net.shape((3,))


def test_a_step_without_the_two_layouts(rng):
    net = EncoderDecoder(K, 4, V)
    step, x = new_step("float32"), np.zeros(3, np.int64)
    with pytest.raises(ValueError, match=r"step\.rows is not the pair of layouts"):
        net.net.forward(net.by_layer(net.init(rng)), (x, x), step)


def test_a_part_of_features_gives_the_gradient_of_both_inputs(rng):
    """Rows of numbers, not of symbols; held against the gradient in a direction."""
    net = Seq2Seq(LSTM(4), LSTM(4), Dense(3), LuongAttention())
    params, step = built(net.parameters(((5,), (2,))), "float64"), new_step("float64", wants=True)
    net.draw(params.net, rng)
    step.rows = arrange(np.array([3, 0, 2]), 4), arrange(np.array([1, 2, 4]), 4)
    x, y, do = rng.normal(size=(5, 5)), rng.normal(size=(7, 2)), rng.normal(size=(7, 3))
    _, kept = net.forward(params.net, (x, y), step)
    dx, dy = net.backward(params.net, do.copy(), kept, None, step)
    for given, found in ((x, dx), (y, dy)):
        found, way, before = found.copy(), rng.normal(size=given.shape), given.copy()
        costs = []
        for e in (1e-6, -1e-6):
            given[:] = before + e * way
            costs.append(np.sum(do * net.forward(params.net, (x, y), step)[0]))
        given[:] = before
        assert (costs[0] - costs[1]) / 2e-6 == pytest.approx(np.sum(found * way), rel=1e-7)


def test_parts_may_have_running_statistics(rng):
    net = Seq2Seq(RNN(4), RNN(4), Sequential(BatchNorm(), Dense(3)))
    s, step = ((5,), (2,)), new_step("float64")
    params, state = built(net.parameters(s), "float64"), built(net.running(s), "float64")
    net.draw(params.net, rng)
    net.begin(state.net)
    step.set_state(state.net)
    step.rows = arrange(np.array([3, 2]), 3), arrange(np.array([1, 2]), 2)
    x = rng.normal(size=(5, 5)), rng.normal(size=(3, 2))
    assert net.forward(params.net, x, step)[0].shape == (3, 3)
    assert net.least(s) == 2
    assert state.net.scores[0].mean.all()


def test_outputs_must_be_given():
    with pytest.raises(TypeError, match="outputs"):
        EncoderDecoder(3, 4)


def test_symbols_that_are_not_there_are_refused_by_a_step(rng):
    net = EncoderDecoder(K, 4, V)
    state, step = net.stepper(net.init(rng), np.zeros((2, 3), int))
    for symbols, words in (
        ([0, V], "reaches from 0 to 6, symbols is 6"),
        ([0], "gets 1 rows"),
        ([0, 0.5], "float64, symbols are int64"),
    ):
        with pytest.raises((TypeError, ValueError), match=words):
            step(state, np.array(symbols))
    with pytest.raises(ValueError, match=r"start has arrays of shapes \[\(1, 4\)\]"):
        step(state[:1], np.zeros(2, int))
