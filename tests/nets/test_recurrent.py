"""Recurrent layers, both directions, and networks of sequences of unequal length."""

from dataclasses import replace

import numpy as np
import pytest
from compiled import compiled_only, same_bits

from dlbook.fast.sequences import arrange
from dlbook.nets.check import check_model
from dlbook.nets.containers import Residual, Sequential
from dlbook.nets.costs import Bernoulli, Gaussian, MeanSquare
from dlbook.nets.layer import new_step
from dlbook.nets.layers import Activation, Dense, Dropout, Embedding
from dlbook.nets.loop import fit
from dlbook.nets.norms import BatchNorm, LayerNorm
from dlbook.nets.recurrent import GRU, LSTM, RNN
from dlbook.nets.reuse import Frozen, Repeat
from dlbook.nets.rows import Bidirectional, Last, carry, piece_of, steps_of
from dlbook.nets.sequences import SequenceNetwork
from dlbook.nets.tree import built
from dlbook.optimization import Adam
from dlbook.tools.flat import like

N, T, K, J, V = 6, 7, 3, 5, 4
LENGTHS = np.array([7, 3, 5, 0, 7, 1])
KINDS = {"tanh": RNN, "lstm": LSTM, "gru": GRU}
CLOSE = 3e-6  # float32, where sums are taken in another order


def sequences(rng, *, symbols=False, reads="each", numbers=False, dtype="float32"):
    """Draw a batch: x, y and the lengths."""
    x = rng.integers(0, K, (N, T)) if symbols else rng.normal(size=(N, T, K)).astype(dtype)
    y = rng.normal(size=(N, T, V)).astype(dtype) if numbers else rng.integers(0, V, (N, T))
    return x, y if reads == "each" else y[:, 0], LENGTHS


def stack(kind, depth, *, bidirectional=False, residual=False, symbols=None, reads="each"):
    """Return the layers that `Gated` has, put together."""
    layers = []
    for above in range(depth):
        of = {} if above else {"symbols": symbols}
        one = kind(J, **of)
        if bidirectional:
            one = Bidirectional(one, kind(J, **of))
        layers.append(Residual(one) if residual and above else one)
    if reads == "last":
        layers.append(Last(bidirectional))
    return Sequential(*layers, Dense(V, initial="xavier"))


def network(net, **settings):
    """Return a network of these layers for the sequences drawn above."""
    return SequenceNetwork(() if settings.get("symbols") else K, net, **settings)


def stepped(model, params, data):
    """Return loss and gradient of a step, into a gradient that begins as NaN."""
    batch, grads = model.check(params, data), like(params)
    grads.flat[:] = np.nan
    work, rng = model.workspace(len(batch[0])), np.random.default_rng(5)
    return model.loss_and_grad(params, model.start(), batch, grads, work, rng), grads


# The same bits as the classes of the chapters


@compiled_only
@pytest.mark.parametrize("kind", KINDS.values())
def test_the_number_of_threads_changes_no_bit(kind, rng):
    net = Sequential(Bidirectional(kind(96), kind(96)), Last(bidirectional=True), Dense(V))
    model = SequenceNetwork(K, net)
    params, x = model.init(rng), rng.normal(size=(64, 60, K)).astype("float32")
    data = x, rng.integers(0, V, 64), rng.integers(0, 61, 64)

    def compute():
        loss, grads = stepped(model, params, data)
        return [loss, grads.flat]

    assert same_bits(compute)


# Gradients


NETS = {
    "an RNN": lambda: stack(RNN, 1),
    "an RNN of rectifiers": lambda: Sequential(RNN(J, "relu"), Dense(V)),
    "an LSTM": lambda: stack(LSTM, 1),
    "a GRU": lambda: stack(GRU, 1),
    "a tagger": lambda: stack(LSTM, 2, bidirectional=True, residual=True),
    "three GRUs, the last state": lambda: stack(GRU, 3, residual=True, reads="last"),
    "both ways, the last states": lambda: stack(RNN, 2, bidirectional=True, reads="last"),
    "one layer twice": lambda: Sequential(LSTM(J), Repeat(Residual(LSTM(J)), 2), Dense(V)),
    "stacks both ways": lambda: Sequential(
        Bidirectional(Sequential(GRU(5), LSTM(3)), Sequential(Dense(4), RNN(7))), Dense(V)
    ),
    "nothing, twice": lambda: Sequential(LSTM(J), Repeat(Dropout(0.0), 2), Activation(), Dense(V)),
    "rows of numbers between": lambda: Sequential(
        Dense(7), BatchNorm(), LSTM(J), LayerNorm(), Dropout(0.3), GRU(J), Activation(), Dense(V)
    ),
}


@compiled_only
@pytest.mark.parametrize("name", NETS)
def test_the_gradient_is_that_of_the_loss(name, rng):
    net = NETS[name]()
    model = network(net, dtype="float64")
    report = check_model(model, sequences(rng, reads=model.reads, dtype="float64"))
    assert report.passed


@pytest.mark.parametrize("kind", KINDS.values())
def test_symbols_are_looked_up(kind, rng):
    """As the product with a row that has a single 1, in the network and on the way back."""
    by_symbol = network(stack(kind, 2, bidirectional=True, symbols=K), symbols=K)
    by_row = network(stack(kind, 2, bidirectional=True))
    params = by_symbol.init(rng)
    x, y, lengths = sequences(rng, symbols=True)
    one_hot = np.eye(K, dtype="float32")[x]
    a, b = (
        stepped(by_symbol, params, (x, y, lengths)),
        stepped(by_row, params, (one_hot, y, lengths)),
    )
    assert a[0] == pytest.approx(b[0], abs=CLOSE)
    assert np.allclose(a[1].flat, b[1].flat, atol=CLOSE)


@compiled_only
def test_the_gradient_of_an_embedding_below_both_directions(rng):
    net = Sequential(Embedding(K, 5), Bidirectional(LSTM(4), GRU(3)), Dense(V))
    model = network(net, symbols=K, dtype="float64")
    assert check_model(model, sequences(rng, symbols=True)).passed


@pytest.mark.parametrize("kind", KINDS.values())
def test_gradients_go_through_carried_states(kind, rng):
    """By the first states, by the inputs, and from the last states, also of an empty sequence."""
    layer, rows = kind(J), arrange(LENGTHS, T)
    p = built(layer.parameters((K,)), "float64").net
    layer.draw(p, rng)
    x, start = rng.normal(size=(len(rows.places), K)), rng.normal(size=(layer.carried, N, J))
    dh, dlast = rng.normal(size=(len(x), J)), rng.normal(size=start.shape)

    def run(x, start):
        step = new_step("float64", wants=True)
        step.rows, step.start = rows, list(start)
        h, kept = layer.forward(p, x, step)
        total = np.sum(dh * h) + sum(np.sum(a * b) for a, b in zip(dlast, step.last, strict=True))
        return total, step, kept

    _, step, kept = run(x, start)
    step.dlast = list(dlast)
    dx = layer.backward(p, dh.copy(), kept, None, step)
    for of, found in ((x, dx), (start, np.array(step.dstart))):
        aim = rng.normal(size=of.shape)
        moved = [(x + s * aim, start) if of is x else (x, start + s * aim) for s in (1e-5, -1e-5)]
        slope = (run(*moved[0])[0] - run(*moved[1])[0]) / 2e-5
        assert np.sum(aim * found) == pytest.approx(slope, rel=1e-7)


@compiled_only
def test_a_frozen_layer_learns_nothing_and_lets_gradients_through(rng):
    layer = Bidirectional(LSTM(3), LSTM(3))
    values = built(layer.parameters((5,)), "float64")
    layer.draw(values.net, rng)
    model = network(Sequential(Dense(5), Frozen(layer, values), Dense(V)), dtype="float64")
    assert model.init(rng).flat.size == 5 * K + 5 + V * 6 + V
    assert check_model(model, sequences(rng, dtype="float64")).passed


# Both directions


def test_a_layer_of_two_directions_is_two_layers(rng):
    """The second gets each sequence turned around, and what it gives is turned back."""
    layer, rows = Bidirectional(LSTM(4), GRU(3)), arrange(LENGTHS, T)
    p = built(layer.parameters((K,)), "float64").net
    layer.draw(p, rng)
    x = rng.normal(size=(N, T, K))

    def run(layer, p, x):
        step = new_step("float64", training=False)
        step.rows = rows
        found = np.zeros((N * T, *layer.shape((K,))))
        found[rows.places] = layer.forward(p, x.reshape(N * T, K)[rows.places], step)[0]
        return found.reshape(N, T, -1)

    def turned(x):
        found = x.copy()
        for n, length in enumerate(LENGTHS):
            found[n, :length] = x[n, :length][::-1]
        return found

    assert p._fields == ("forward", "backward")
    y = run(layer, p, x)
    assert np.array_equal(y[..., :4], run(layer.layers[0], p.forward, x))
    assert np.array_equal(y[..., 4:], turned(run(layer.layers[1], p.backward, turned(x))))


def test_the_last_step_of_the_second_direction_is_the_first(rng):
    rows, x = arrange(LENGTHS, T), rng.normal(size=(N, T, 6))
    at = x.reshape(N * T, 6)[rows.places]
    for bidirectional in (False, True):
        step = new_step("float64")
        step.rows = rows
        y, _ = Last(bidirectional).forward((), at, step)
        for row, n in zip(y, rows.order, strict=True):
            wanted = np.zeros(6)
            if LENGTHS[n]:
                wanted = x[n, LENGTHS[n] - 1].copy()
                wanted[3:] = x[n, 0, 3:] if bidirectional else wanted[3:]
            assert np.array_equal(row, wanted)


def test_an_empty_sequence_may_have_something_to_be_read(rng):
    """What a caller sets stands in its row, and its gradient comes back in the order of the batch."""
    rows, seen, dy = arrange(LENGTHS, T), rng.normal(size=(N, J)), rng.normal(size=(N, J))
    x, step = rng.normal(size=(len(rows.places), J)), new_step("float64")
    step.rows, step.start = rows, [seen]
    y, kept = Last().forward((), x, step)
    Last().backward((), dy, kept, None, step)
    for row, n in enumerate(rows.order):
        assert np.array_equal(y[row], seen[n]) == (not LENGTHS[n])
        assert np.array_equal(step.dstart[0][n], np.zeros(J) if LENGTHS[n] else dy[row])


# Pieces of time


@pytest.mark.parametrize("reads", ["each", "last"])
@pytest.mark.parametrize("kind", KINDS.values())
def test_states_computed_again_give_the_same_gradient(kind, reads, rng):
    net = stack(kind, 2, residual=True, reads=reads)
    data = sequences(rng, reads=reads, dtype="float64")
    whole = network(net, dtype="float64")
    params = whole.init(rng)
    loss, grads = stepped(whole, params, data)
    for every in (1, 3, 4, 7, 20):
        again = stepped(replace(whole, checkpoint_every=every), params, data)
        assert again[0] == pytest.approx(loss, rel=1e-13)
        assert np.allclose(again[1].flat, grads.flat, rtol=0, atol=1e-14)


@pytest.mark.parametrize("reads", ["each", "last"])
@pytest.mark.parametrize("cost", [Gaussian(), Bernoulli(), MeanSquare()])
def test_every_cost_can_be_had_in_pieces(cost, reads, rng):
    """Also where a piece has nothing that is read: all sequences end before it or behind it."""
    net = stack(GRU, 1, reads=reads)
    x, y, _ = sequences(rng, numbers=True, reads=reads, dtype="float64")
    data = x, 1 / (1 + np.exp(-y)), np.where(LENGTHS > 4, T, 1)
    whole = network(net, cost=cost, dtype="float64")
    params = whole.init(rng)
    loss, grads = stepped(whole, params, data)
    again = stepped(replace(whole, checkpoint_every=3), params, data)
    assert again[0] == pytest.approx(loss, rel=1e-13)
    assert np.allclose(again[1].flat, grads.flat, rtol=0, atol=1e-14)
    assert whole.loss(params, None, whole.check(params, data)) == pytest.approx(loss, rel=1e-13)


@compiled_only
def test_states_computed_again_take_less_memory(rng):
    whole = SequenceNetwork(K, Sequential(LSTM(32), LSTM(32), Dense(V)))
    params, x = whole.init(rng), rng.normal(size=(4, 256, K)).astype("float32")
    batch, taken = whole.check(params, (x, rng.integers(0, V, (4, 256)))), []
    for model in (whole, replace(whole, checkpoint_every=16)):
        work = model.workspace(4)
        model.loss_and_grad(params, None, batch, like(params), work, rng)
        taken.append(sum(node.memory.bytes for node in tree(work)))
    assert taken[1] < taken[0] / 4


def tree(step):
    """Yield all nodes below a node, and the node."""
    yield step
    for part in step.parts.values():
        yield from tree(part)


@compiled_only
@pytest.mark.parametrize("reads", ["each", "last"])
def test_what_is_drawn_is_drawn_again_for_states_computed_again(reads, rng):
    """The gradient is that of the loss, and the generator goes on as after one way up."""
    end = [Last()] if reads == "last" else []
    net = Sequential(LSTM(J), Dropout(0.5), GRU(J), *end, Dense(V))
    model = network(net, checkpoint_every=3, dtype="float64")
    data = sequences(rng, reads=reads, dtype="float64")
    assert check_model(model, data).passed
    params, after = model.init(rng), []
    for every in ("checkpoint_every", "truncate"):
        model = replace(model, checkpoint_every=None, truncate=None)
        model, drawing = replace(model, **{every: 3}), np.random.default_rng(1)
        batch, work = model.check(params, data), model.workspace(N)
        model.loss_and_grad(params, None, batch, like(params), work, drawing)
        after.append(drawing.random())
    assert after[0] == after[1]


def test_a_batch_begins_anew_after_one_in_pieces(rng):
    """States are carried within a batch only, also where a step was broken off."""
    model = network(stack(LSTM, 2), truncate=3)
    params, data = model.init(rng), sequences(rng)
    loss, grads = stepped(model, params, data)
    batch, work, again = model.check(params, data), model.workspace(N), like(params)

    class Stopping(Gaussian):
        def rows_into(self, z, y, share):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        replace(model, cost=Stopping()).loss_and_grad(params, None, batch, again, work, rng)
    for _ in range(2):
        assert model.loss_and_grad(params, None, batch, again, work, rng) == loss
        assert np.array_equal(again.flat, grads.flat)


@pytest.mark.parametrize(("first", "stop"), [(0, 7), (0, 3), (3, 6), (5, 7), (6, 7)])
def test_a_piece_has_the_steps_of_the_same_sequences(first, stop):
    rows = arrange(LENGTHS, T)
    assert np.array_equal(steps_of(rows), LENGTHS[rows.order])
    piece = piece_of(rows, first, stop)
    wanted = np.clip(LENGTHS - first, 0, stop - first)
    assert np.array_equal(piece.order, rows.order)
    assert np.array_equal(steps_of(piece), wanted[rows.order])
    assert piece.ahead[-1] == len(piece.places) == wanted.sum()
    n, t = np.divmod(piece.places, T)
    assert t.min() == first
    assert t.max() == stop - 1
    for j, (sequence, row) in enumerate(zip(piece.order, piece.last, strict=True)):
        if wanted[sequence]:
            at = row - N
            assert (n[at], t[at]) == (sequence, min(LENGTHS[sequence], stop) - 1)
        else:
            assert row == j


@pytest.mark.parametrize("kind", KINDS.values())
def test_one_step_after_the_other_is_the_whole(kind, rng):
    """Every layer goes on from where it stopped; sums of one step are taken in another order."""
    model = network(Sequential(kind(J), Residual(kind(J)), Dense(V)))
    params, x = model.init(rng), rng.normal(size=(N, T, K)).astype("float32")
    whole = model.outputs(params, None, x)
    step = new_step("float32", training=False)
    step.rows = arrange(np.ones(N, np.int64), 1)
    for t in range(T):
        o, _ = model.net.forward(params.net, np.ascontiguousarray(x[:, t]), step)
        assert np.allclose(o, whole[:, t], atol=CLOSE)
        carry(step)


# The model


@compiled_only
def test_a_network_of_sequences_learns(rng):
    """Whether the first symbol and the last are the same: both ends must be remembered."""
    x, lengths = rng.integers(0, 3, (400, 8)), rng.integers(1, 9, 400)
    y = (x[:, 0] == x[np.arange(400), lengths - 1]).astype(int)
    net = Sequential(Embedding(3, 4), LSTM(16), Last(), Dense(2))
    model = SequenceNetwork((), net, symbols=3)
    data = x, y, lengths
    done = fit(model, model.init(rng), data, Adam(0.02), rng, epochs=30, batch=20)
    assert np.mean(model.predict(done.params, None, x, lengths) == y) > 0.95


def test_what_stands_behind_the_end_is_not_looked_at(rng):
    model = network(stack(LSTM, 2, bidirectional=True))
    params, (x, y, lengths) = model.init(rng), sequences(rng)
    loss, grads = stepped(model, params, (x, y, lengths))
    beyond = np.arange(T) >= lengths[:, None]
    x, y = x.copy(), y.copy()
    x[beyond], y[beyond] = np.nan, -7
    again = stepped(model, params, (x, y, lengths))
    assert again[0] == loss
    assert np.array_equal(again[1].flat, grads.flat)


def test_answers_are_padded():
    """Behind the end of a sequence classes are −1 and numbers 0; those before do not depend on it."""
    rng, beyond = np.random.default_rng(0), np.arange(T) >= LENGTHS[:, None]
    for cost in (None, Gaussian(), Bernoulli()):
        model = network(stack(GRU, 1), **({} if cost is None else {"cost": cost}))
        params, x = model.init(rng), rng.normal(size=(N, T, K)).astype("float32")
        found = model.predict(params, None, x, LENGTHS)
        assert found.shape == ((N, T) if cost is None else (N, T, V))
        assert np.all(found[beyond] == (-1 if cost is None else 0))
        whole = model.predict(params, None, x)
        assert np.all(whole[beyond] != -1)
        if isinstance(cost, Bernoulli):
            assert np.all((whole > 0) & (whole < 1))
        close = {"rtol": 0, "atol": 0 if cost is None else CLOSE}
        assert np.allclose(whole[~beyond], found[~beyond], **close)


@pytest.mark.parametrize("reads", ["each", "last"])
def test_many_sequences_go_up_in_parts(reads, rng, monkeypatch):
    model = network(stack(LSTM, 1, reads=reads))
    params, data = model.init(rng), sequences(rng, reads=reads)
    batch = model.check(params, data)
    found = [(model.loss(params, None, batch), model.outputs(params, None, batch[0], batch[2]))]
    monkeypatch.setattr("dlbook.nets.sequences.AT_ONCE", 3 * T)
    found.append((model.loss(params, None, batch), model.outputs(params, None, batch[0], batch[2])))
    assert found[0][0] == pytest.approx(found[1][0], abs=CLOSE)
    assert np.allclose(found[0][1], found[1][1], atol=CLOSE)


@pytest.mark.parametrize("reads", ["each", "last"])
def test_sequences_without_a_step_have_no_gradient_of_recurrent_weights(reads, rng):
    """A batch of a larger set may consist of such."""
    for options in ({}, {"truncate": 3}, {"checkpoint_every": 3}):
        model = network(stack(LSTM, 1, reads=reads), **options)
        params, (x, y, _) = model.init(rng), sequences(rng, reads=reads)
        x, y, lengths = model.check(params, (x, y))
        grads = like(params)
        batch = x, y, 0 * lengths
        loss = model.loss_and_grad(params, None, batch, grads, model.workspace(N), rng)
        assert loss == (0 if reads == "each" else pytest.approx(np.log(V), rel=1e-6))
        assert not grads.net[0].wx.any()
        assert np.any(grads.net[-1].b) == (reads == "last")


def test_names_of_layers_and_what_they_give(rng):
    model = network(stack(LSTM, 2))
    params = model.init(rng)
    batch = model.check(params, sequences(rng))
    found = {name: y.shape for name, y in model.layers(params, None, batch)}
    R = LENGTHS.sum()
    assert found == {"net[0]": (R, J), "net[1]": (R, J), "net[2]": (R, V)}


@compiled_only
def test_a_network_may_end_in_states(rng):
    """The cost writes over what the last layer needs on its way back, unless it gets a copy."""
    for net in (RNN(V), Sequential(LSTM(J), GRU(V), Dropout(0.0))):
        model = network(net, cost=Gaussian(), dtype="float64")
        assert check_model(model, sequences(rng, numbers=True, dtype="float64")).passed


# What is refused


@pytest.mark.parametrize("layer", [RNN(3), LSTM(3), GRU(3), Last(), Bidirectional(RNN(3), RNN(3))])
def test_rows_without_a_layout_are_refused(layer):
    p = built(layer.parameters((K,)), "float64").net
    with pytest.raises(ValueError, match=r"step\.rows is not set, .*arrange\(lengths"):
        layer.forward(p, np.ones((5, K)), new_step("float64"))


@pytest.mark.parametrize("layer", [RNN(3), LSTM(3), GRU(3), Last(), Bidirectional(RNN(3), RNN(3))])
def test_rows_of_another_layout_are_refused(layer):
    p, step = built(layer.parameters((K,)), "float64").net, new_step("float64")
    step.rows = arrange(LENGTHS, T)
    with pytest.raises(ValueError, match=r"gets 5 rows, step\.rows is of 23"):
        layer.forward(p, np.ones((5, K)), step)


def test_a_layer_above_the_last_step_cannot_go_through_time(rng):
    model = network(Sequential(LSTM(J), Last(), LSTM(J), Dense(V)))
    with pytest.raises(ValueError, match=r"gets 6 rows, step\.rows is of 23"):
        stepped(model, model.init(rng), sequences(rng, reads="last"))


def test_inputs_of_another_kind_are_refused():
    step = new_step("float64")
    step.rows = arrange(np.array([2]), 2)
    for layer, x, error, message in (
        (LSTM(3), np.ones((2, K), "float32"), TypeError, "x is float32"),
        (LSTM(3, symbols=K), np.ones(2), TypeError, "x is float64, symbols are int64"),
        (LSTM(3, symbols=K), np.array([0, K]), ValueError, "x reaches from 0 to 3, symbols is 3"),
        (LSTM(3, symbols=K), np.array([0, -1]), ValueError, "x reaches from -1 to 0"),
    ):
        p = built(layer.parameters(() if layer.symbols else (K,)), "float64").net
        with pytest.raises(error, match=message):
            layer.forward(p, x, step)
    layer, step.start = LSTM(3), [np.zeros((1, 3))]
    p = built(layer.parameters((K,)), "float64").net
    with pytest.raises(ValueError, match=r"start has arrays of shapes \[\(1, 3\)\], LSTM"):
        layer.forward(p, np.ones((2, K)), step)


@pytest.mark.parametrize(
    ("layer", "shape", "message"),
    [
        (LSTM(3), (4, 4, 2), "wants rows"),
        (LSTM(3), (), "wants rows"),
        (LSTM(3, symbols=6), (6,), "reads symbols"),
        (Last(bidirectional=True), (5,), "two directions of one width"),
        (Bidirectional(LSTM(3), Dense(2)), (2, 5), "wants rows"),
        (Residual(LSTM(3)), (4,), "skip is the layer"),
    ],
)
def test_shapes_that_do_not_fit_are_refused(layer, shape, message):
    with pytest.raises(ValueError, match=message):
        layer.shape(shape)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: RNN(0), ValueError, "hidden"),
        (lambda: RNN(3, "sigmoid"), ValueError, "activation"),
        (lambda: RNN(3, initial="he"), ValueError, "initial"),
        (lambda: LSTM(3, forget_bias="one"), TypeError, "forget_bias"),
        (lambda: GRU(3, update_bias=np.nan), ValueError, "update_bias"),
        (lambda: GRU(3, scale=-1), ValueError, "scale"),
        (lambda: LSTM(3, symbols=0), ValueError, "symbols"),
        (lambda: Last(1), TypeError, "bidirectional"),
        (lambda: Bidirectional(LSTM(3), 3), TypeError, "part 1"),
        (lambda: network(stack(RNN, 1), truncate=0), ValueError, "truncate"),
        (lambda: network(stack(RNN, 1), checkpoint_every=1.5), TypeError, "checkpoint_every"),
        (lambda: network(stack(RNN, 1), truncate=2, checkpoint_every=2), ValueError, "truncate"),
        (lambda: network(stack(RNN, 2, bidirectional=True), truncate=2), ValueError, "direction"),
        (
            lambda: network(Sequential(BatchNorm(), RNN(3)), checkpoint_every=2),
            ValueError,
            "batch norm",
        ),
        (lambda: SequenceNetwork((2, K), stack(RNN, 1)), ValueError, "input"),
        (lambda: SequenceNetwork(K, stack(RNN, 1, symbols=K), symbols=K), ValueError, "input"),
        (lambda: network(stack(RNN, 1, symbols=2), symbols=K), ValueError, "symbols is 3"),
        (lambda: network(Embedding(2, 2), symbols=K), ValueError, "symbols is 3"),
    ],
)
def test_settings_that_cannot_be_are_refused(make, error, message):
    with pytest.raises(error, match=message):
        make()


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda x, y, n: (x,), TypeError, r"\(x, y, lengths\)"),
        (lambda x, y, n: (x[:, :, 0], y, n), ValueError, "x has shape"),
        (lambda x, y, n: (x[..., :2], y, n), ValueError, "k = 3"),
        (lambda x, y, n: (x, y[:, :5], n), ValueError, "y has shape"),
        (lambda x, y, n: (x, y, n[:3]), ValueError, "lengths has shape"),
        (lambda x, y, n: (x, y, n + 1), ValueError, "lengths holds the label 8"),
        (lambda x, y, n: (x, y, 0 * n), ValueError, "lengths are all 0"),
        (lambda x, y, n: (x, y + V, n), ValueError, "y holds the label"),
        (lambda x, y, n: (x[:0], y[:0], n[:0]), ValueError, "x is empty"),
        (lambda x, y, n: (x * np.inf, y, n), ValueError, "x holds"),
    ],
)
def test_data_that_does_not_fit_is_refused(change, error, message, rng):
    model = network(stack(RNN, 1))
    with np.errstate(invalid="ignore"), pytest.raises(error, match=message):
        model.check(model.init(rng), change(*sequences(rng)))
