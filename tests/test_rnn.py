"""Recurrent networks: states, the way back through time, layouts, truncation, checkpoints, text."""

from itertools import chain

import numpy as np
import pytest
from compiled import compiled_only, same_bits

from dlbook import rnn
from dlbook.backprop import Value, adjoints
from dlbook.fast.sequences import arrange
from dlbook.linear_classification import softmax
from dlbook.nets import Diverged, RecurrentNetwork, fit, fit_stream
from dlbook.nets.recurrent import Params
from dlbook.optimization import SGD, Adam
from dlbook.tools.flat import like
from dlbook.tools.text import Alphabet
from dlbook.verification import central_differences, complex_step, monte_carlo, relative_error

T, K, J, V = 5, 2, 4, 3


def some_weights(rng):
    """Return wx, wh, b, wy, by."""
    shapes = (J, K), (J, J), (J,), (V, J), (V,)
    return [0.7 * rng.normal(size=shape) for shape in shapes]


def some_sequence(rng):
    return rng.normal(size=(T, K)), rng.integers(V, size=T), rng.normal(size=J)


def some_states(rng):
    (x, _, start), (wx, wh, b, *_) = some_sequence(rng), some_weights(rng)
    return rnn.states(x, start, wx, wh, b), wh


def some_errors(rng):
    h, wh = some_states(rng)
    return rng.normal(size=(T, J)), h, wh


def everything(rng):
    x, y, start = some_sequence(rng)
    return x, y, start, *some_weights(rng)


KERNELS = [
    (rnn.state, lambda rng: (rng.normal(size=K), rng.normal(size=J), *some_weights(rng)[:3])),
    (rnn.states, lambda rng: (*some_sequence(rng)[::2], *some_weights(rng)[:3])),
    (rnn.outputs, lambda rng: (rng.normal(size=(T, J)), *some_weights(rng)[3:])),
    (rnn.total_loss, lambda rng: (rng.normal(size=(T, V)), rng.integers(V, size=T))),
    (rnn.output_deltas, lambda rng: (rng.normal(size=(T, V)), rng.integers(V, size=T))),
    (rnn.deltas, some_errors),
    (rnn.bptt, lambda rng: (some_errors(rng)[0], some_errors(rng)[1], rng.normal(size=(T, K)))),
    (rnn.gradient, everything),
    (rnn.truncated_deltas, lambda rng: (*some_errors(rng), 2)),
    (rnn.jacobian_product, some_states),
    (rnn.spectral_bound, lambda rng: (1.3, 0.5, 7)),
    (rnn.irnn_jacobian, lambda rng: (rng.normal(1, 1, size=(T, J)),)),
    (rnn.clipped_step, lambda rng: (*rng.normal(size=(2, 7)), 0.1, 0.5)),
    (rnn.stored_states, lambda rng: (100, 10)),
    (rnn.perplexity, lambda rng: (rng.uniform(0.1, 1, size=T),)),
    (rnn.sample_symbol, lambda rng: (rng.normal(size=V), 0.6, 0.8)),
]


# One sequence


def total(x, y, start, *weights):
    """Return the total loss, by NumPy alone, of any dtype."""
    wx, wh, b, wy, by = weights
    h, cost = start, 0.0
    for step, label in zip(x, y, strict=True):
        h = np.tanh(wh @ h + wx @ step + b)
        o = wy @ h + by
        cost = cost + np.log(np.sum(np.exp(o))) - o[label]
    return cost


def test_loss_against_numpy(rng):
    x, y, start, *weights = everything(rng)
    h = rnn.states(x, start, *weights[:3])
    found = rnn.total_loss(rnn.outputs(h[1:], *weights[3:]), y)
    assert found == pytest.approx(total(x, y, start, *weights), rel=1e-14)


@pytest.mark.parametrize("which", range(5))
def test_gradient_of_one_sequence(which, rng):
    x, y, start, *weights = everything(rng)
    found = rnn.gradient(x, y, start, *weights)[which]

    def cost(w):
        return total(x, y, start, *weights[:which], w, *weights[which + 1 :])

    assert relative_error(found, complex_step(cost, weights[which])) < 1e-13
    assert relative_error(found, central_differences(cost, weights[which])) < 1e-8


def test_gradient_by_reverse_mode(rng):
    """The scalar graph of backpropagation knows nothing of time."""
    x, y, start, *weights = everything(rng)
    nodes = [np.vectorize(Value, otypes=[object])(w) for w in weights]
    wx, wh, b, wy, by = nodes
    h, cost = [Value(v) for v in start], Value(0.0)
    for step, label in zip(x, y, strict=True):
        z = [sum(wh[j] * h) + sum(wx[j] * step) + b[j] for j in range(J)]
        h = np.array([tanh(v) for v in z], dtype=object)
        o = [sum(wy[v] * h) + by[v] for v in range(V)]
        cost = cost + sum((v.exp() for v in o), Value(0.0)).log() - o[label]
    bar = adjoints(cost)
    for found, part in zip(rnn.gradient(x, y, start, *weights), nodes, strict=True):
        expected = np.vectorize(lambda node: bar[node], otypes=[float])(part)
        assert relative_error(found, expected) < 1e-12


def tanh(z):
    """Return tanh of a node by what the graph knows: 1 − 2 / (1 + e^2z)."""
    return 1 + (((z * 2).exp() + 1).log() * -1).exp() * -2


WRONG = {
    "the gradient is stopped at h_{t−1}": lambda dh, h, wh: dh * (1 - h[1:] ** 2),
    "the weights are not transposed": lambda dh, h, wh: rnn.deltas(dh, h, wh.T.copy()),
    "the slope of the state before": lambda dh, h, wh: rnn.deltas(dh, np.roll(h, 1, 0), wh),
    "only the last step counts": lambda dh, h, wh: rnn.deltas(
        dh * (np.arange(T) == T - 1)[:, None], h, wh
    ),
}


@pytest.mark.parametrize("why", WRONG)
def test_wrong_errors_are_rejected(why, rng):
    """What these give for the bias is far from the right gradient."""
    given = some_errors(rng)
    right = rnn.deltas(*given).sum(0)
    assert relative_error(WRONG[why](*given).sum(0), right) > 1e-3


def test_jacobian_by_complex_step(rng):
    (x, _, start), weights = some_sequence(rng), some_weights(rng)[:3]

    def last(h):
        return rnn.states(x.astype(h.dtype), h, *(w.astype(h.dtype) for w in weights))[-1]

    found = rnn.jacobian_product(rnn.states(x, start, *weights), weights[1])
    assert relative_error(found, complex_step(last, start)) < 1e-12


def test_the_bound_holds_and_can_be_met(rng):
    for _ in range(20):
        h, wh = some_states(rng)
        size = np.linalg.norm(rnn.jacobian_product(h, wh), 2)
        assert size <= rnn.spectral_bound(np.linalg.norm(wh, 2), 1.0, T) * (1 + 1e-12)
    h = np.zeros((T + 1, J))
    wh = 1.5 * rnn.orthogonal(J, rng)
    size = np.linalg.norm(rnn.jacobian_product(h, wh), 2)
    assert size == pytest.approx(rnn.spectral_bound(1.5, 1.0, T), rel=1e-12)


def test_truncation_by_hand(rng):
    dh, h, wh = some_errors(rng)
    found = rnn.truncated_deltas(dh, h, wh, 2)
    for piece in (slice(0, 2), slice(2, 4), slice(4, 5)):
        expected = rnn.deltas(dh[piece], h[piece.start : piece.stop + 1], wh)
        np.testing.assert_array_equal(found[piece], expected)
    np.testing.assert_array_equal(rnn.truncated_deltas(dh, h, wh, T), rnn.deltas(dh, h, wh))
    assert relative_error(rnn.truncated_deltas(dh, h, wh, 1), dh * (1 - h[1:] ** 2)) < 1e-15


def test_identity_keeps_what_stays_positive(rng):
    x, start = rng.normal(size=(T, J)), rng.uniform(1, 2, size=J)
    h = [start]
    for step in x:
        h.append(np.maximum(h[-1] + step, 0))
    h = np.array(h)
    expected = np.eye(J)
    for after in h[1:]:
        expected = np.diag((after > 0).astype(float)) @ expected
    np.testing.assert_array_equal(rnn.irnn_jacobian(h), expected)


@pytest.mark.parametrize("limit", [1e-3, 1.0, 1e3])
def test_a_clipped_step_is_no_longer_than_it_may_be(limit, rng):
    theta, g = rng.normal(size=(2, 9))
    step = rnn.clipped_step(theta, g, 0.1, limit) - theta
    assert np.linalg.norm(step) <= 0.1 * min(limit, np.linalg.norm(g)) * (1 + 1e-12)
    assert step @ g == pytest.approx(-np.linalg.norm(step) * np.linalg.norm(g), rel=1e-12)


@pytest.mark.parametrize("steps", [1, 2, 7, 64, 100])
def test_checkpoints_need_about_twice_the_root(steps):
    least = min(rnn.stored_states(steps, c) for c in range(1, steps + 1))
    assert 2 * np.sqrt(steps) <= least + 1 and least <= 2 * np.sqrt(steps) + 1
    assert rnn.stored_states(steps, steps) == steps + 1
    for c in (1, 3, 10, 200):  # borders, and the steps of a piece
        expected = len(range(0, steps, c)) + len(range(steps)[:c])
        assert rnn.stored_states(steps, c) == expected


def test_a_guess_among_equals_has_their_number_as_perplexity():
    assert rnn.perplexity(np.full(9, 1 / 6)) == pytest.approx(6, rel=1e-14)


def test_perplexity_is_the_exponential_of_the_mean_loss(rng):
    o, y = rng.normal(size=(T, V)), rng.integers(V, size=T)
    given = softmax(o)[np.arange(T), y]
    expected = np.exp(rnn.total_loss(o, y) / T)
    assert rnn.perplexity(given) == pytest.approx(expected, rel=1e-13)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_samples_come_as_often_as_they_should(temperature, rng):
    o = rng.normal(size=4)
    drawn = [rnn.sample_symbol(o, u, temperature) for u in rng.random(20_000)]
    share = monte_carlo(np.eye(4)[drawn])
    expected = softmax(o[None] / temperature)[0]
    assert np.all(np.abs(share.mean - expected) < 4.5 * share.se)


def test_samples_at_the_ends():
    """The largest u that a generator gives, and scores of which only one can be drawn."""
    assert rnn.sample_symbol(np.zeros(3), 0.0, 1.0) == 0
    assert rnn.sample_symbol(np.zeros(3), np.nextafter(1, 0), 1.0) == 2
    assert rnn.sample_symbol(np.array([-1e4, 0.0, -1e4]), 0.0, 1.0) == 1
    assert rnn.sample_symbol(np.array([-np.inf, 0.0, -np.inf]), 0.5, 1.0) == 1
    assert rnn.sample_symbol(np.array([0.0, -1e4]), np.nextafter(1, 0), 1.0) == 0


# A batch


def some_net(rng, **more):
    """Return a network, parameters, a batch with an empty sequence, and first states."""
    net = RecurrentNetwork(3, 5, 4, **({"dtype": "float64"} | more))
    params = net.init(rng)
    params.flat[:] += 0.2 * rng.normal(size=params.flat.size)
    lengths, steps = np.array([3, 0, 7, 7, 1, 4]), 8
    n = len(lengths)
    x = rng.integers(3, size=(n, steps)) if net.symbols else rng.normal(size=(n, steps, 3))
    read = (n, steps) if net.reads == "each" else (n,)
    classes = net.cost == "cross-entropy"
    y = rng.integers(4, size=read) if classes else rng.normal(size=(*read, 4))
    start = [rng.normal(size=(n, 5)) for _ in range(net.depth)]
    return net, params, net.check(params, (x, y, lengths)), start


BENDS = {
    "tanh": np.tanh,
    "relu": lambda z: z * (z.real > 0),
    "linear": lambda z: z,
}


def by_numpy(net, params, flat, batch, start):
    """Return the mean loss, sequence by sequence and step by step."""
    p, costs, (x, y, lengths) = like_any(params, flat), [], batch
    for n, length in enumerate(lengths):
        h = [part[n].astype(flat.dtype) for part in start]
        for t in range(length):
            below = np.eye(net.inputs)[x[n, t]] if net.symbols else x[n, t]
            for layer in range(net.depth):
                z = p.wh[layer] @ h[layer] + p.wx[layer] @ below + p.b[layer]
                below = h[layer] = BENDS[net.cell](z)
            if net.reads == "each":
                costs.append(read(net, p, below, y[n, t]))
        if net.reads == "last":
            costs.append(read(net, p, h[-1], y[n]))
    return np.mean(costs)


def read(net, p, h, y):
    o = p.wy @ h + p.by
    if net.cost == "squares":
        return np.mean((o - y) ** 2)
    return np.log(np.sum(np.exp(o))) - o[y]


def like_any(params, flat):
    """Return the same views of a vector that may be complex."""
    at, parts = 0, []
    for part in (*chain(*zip(*params[1:4], strict=True)), params.wy, params.by):
        parts.append(flat[at : at + part.size].reshape(part.shape))
        at += part.size
    *layers, wy, by = parts
    return Params(flat, *(tuple(layers[i::3]) for i in range(3)), wy, by)


CASES = [
    {},
    {"symbols": True},
    {"cell": "relu", "depth": 2},
    {"cell": "linear", "reads": "last"},
    {"reads": "last", "depth": 2, "symbols": True},
    {"cost": "squares"},
    {"cost": "squares", "reads": "last", "checkpoint_every": 3},
    {"checkpoint_every": 2, "depth": 3, "symbols": True},
    {"checkpoint_every": 3, "reads": "last", "depth": 2},
    {"checkpoint_every": 100},
]


@pytest.mark.parametrize("more", CASES, ids=str)
def test_batch_gradient(more, rng):
    """Loss, the gradient of all parameters and of the first states, with lengths that differ."""
    net, params, batch, start = some_net(rng, **more)
    grads = like(params)
    loss, _, dstart = net.through_time(params, batch, start, grads, net.workspace(6))
    assert loss == pytest.approx(by_numpy(net, params, params.flat, batch, start), rel=1e-13)
    expected = complex_step(lambda flat: by_numpy(net, params, flat, batch, start), params.flat)
    assert relative_error(grads.flat, expected) < 1e-12
    for layer in range(net.depth):

        def cost(h, layer=layer):
            given = [*start[:layer], h, *start[layer + 1 :]]
            return by_numpy(net, params, params.flat.astype(h.dtype), batch, given)

        expected = complex_step(cost, start[layer])
        scale = max(1e-3, np.abs(expected).max())
        assert relative_error(dstart[layer], expected, scale=scale) < 1e-12


@pytest.mark.parametrize("more", CASES, ids=str)
def test_states_of_a_run(more, rng):
    """Against the literal kernel, layer by layer; behind the end there are zeros."""
    net, params, (x, _, lengths), start = some_net(rng, **more)
    found = net.run(params, x, lengths, start)
    for n, length in enumerate(lengths):
        below = np.eye(3)[x[n]] if net.symbols else x[n]
        for layer in range(net.depth):
            h = [start[layer][n]]
            for t in range(length):
                z = params.wh[layer] @ h[-1] + params.wx[layer] @ below[t] + params.b[layer]
                h.append(BENDS[net.cell](z))
            below = np.array(h[1:])
            np.testing.assert_allclose(found.last[layer][n], h[-1], rtol=1e-12, atol=1e-13)
        assert not found.states[n, length:].any() and not found.scores[n, length:].any()
        if length:
            np.testing.assert_allclose(found.states[n, :length], below, rtol=1e-12, atol=1e-13)
            scores = rnn.outputs(below, params.wy, params.by)
            np.testing.assert_allclose(found.scores[n, :length], scores, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("more", CASES, ids=str)
def test_inference_has_the_loss_of_training(more, rng):
    net, params, batch, _ = some_net(rng, **more)
    found = net.loss_and_grad(params, None, batch, like(params), net.workspace(6))
    assert net.loss(params, None, batch) == pytest.approx(found, rel=1e-13)


@pytest.mark.parametrize(("dtype", "rtol"), [("float64", 1e-13), ("float32", 2e-5)])
def test_fast_equals_literal(dtype, rtol, rng):
    """The gradient of one sequence, in both precisions."""
    net = RecurrentNetwork(6, 17, 7, dtype=dtype)
    params, y = net.init(np.random.default_rng(1)), rng.integers(7, size=(1, 9))
    batch, grads = net.check(params, (rng.normal(size=(1, 9, 6)), y)), like(params)
    net.loss_and_grad(params, None, batch, grads, net.workspace(1))
    parts = lambda p: (p.wx[0], p.wh[0], p.b[0], p.wy, p.by)
    weights = [part.astype(float) for part in parts(params)]
    expected = rnn.gradient(batch[0][0].astype(float), y[0], np.zeros(17), *weights)
    for found, wanted in zip(parts(grads), expected, strict=True):
        assert found.dtype == dtype
        assert relative_error(9 * found, wanted) < rtol


@pytest.mark.parametrize("cut", [1, 2, 3, 7, 8, 20])
@pytest.mark.parametrize("reads", ["each", "last"])
def test_truncated_gradient(cut, reads, rng):
    """States go on, errors do not: each piece by itself, from the states the one before left."""
    net, params, batch, start = some_net(rng, truncate=cut, reads=reads, depth=2)
    whole = RecurrentNetwork(3, 5, 4, reads=reads, depth=2, dtype="float64")
    grads, expected, (x, y, lengths) = like(params), np.zeros_like(params.flat), batch
    loss, last, _ = net.through_time(params, batch, start, grads, net.workspace(6))
    again = whole.run(params, x, lengths, start)
    assert loss == pytest.approx(by_numpy(net, params, params.flat, batch, start), rel=1e-13)
    for found, wanted in zip(last, again.last, strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-13, atol=1e-14)
    states_, count = start, lengths.sum() if reads == "each" else len(lengths)
    for t in range(0, 8, cut):
        here = np.clip(lengths - t, 0, cut)
        piece = x[:, t : t + cut], y[:, t : t + cut] if reads == "each" else y, here
        if reads == "last":
            ends = ((lengths > t) & (lengths <= t + cut)) | ((lengths == 0) & (t == 0))
            piece = tuple(part[ends] for part in piece)
            begin = [part[ends] for part in states_]
        else:
            begin = states_
        if piece[2].sum() or (reads == "last" and len(piece[2])):
            g = like(params)
            whole.through_time(params, piece, begin, g, whole.workspace(6))
            expected += g.flat * (piece[2].sum() if reads == "each" else len(piece[2])) / count
        if here.any():
            states_ = list(whole.run(params, x[:, t : t + cut], here, states_).last)
    assert relative_error(grads.flat, expected) < 1e-12


def test_order_and_padding_change_nothing(rng):
    """Sequences in another order, with other numbers behind their ends, padded further."""
    net, params, (x, y, lengths), start = some_net(rng, depth=2)
    results = []
    for order, padding in ((np.arange(6), 0), (rng.permutation(6), 3)):
        wide = np.pad(x, ((0, 0), (0, padding), (0, 0)), constant_values=7.0)
        beyond = np.arange(wide.shape[1]) >= lengths[:, None]
        wide[beyond] = np.nan if padding else 5.0
        labels = np.where(beyond, 99, np.pad(y, ((0, 0), (0, padding))))
        batch = net.check(params, (wide[order], labels[order], lengths[order]))
        grads = like(params)
        given = [part[order] for part in start]
        loss, last, dstart = net.through_time(params, batch, given, grads, net.workspace(6))
        back = np.argsort(order)
        results.append((loss, grads.flat, *(part[back] for part in (*last, *dstart))))
    for a, b in zip(*results, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-13)


def test_layout():
    """Three sequences of 1, 3 and 2 steps in arrays of 4."""
    rows = arrange(np.array([1, 3, 2]), 4)
    assert rows.order.tolist() == [1, 2, 0]
    assert rows.counts.tolist() == [3, 2, 1]
    assert rows.places.tolist() == [4, 8, 0, 5, 9, 6]
    assert rows.last.tolist() == [3 + 5, 3 + 4, 3 + 2]
    assert rows.ahead == [0, 3, 5, 6]


@pytest.mark.parametrize("lengths", [[0, 0], [0], [4, 0, 4, 2, 0], [4] * 3])
def test_layout_lists_every_step_once(lengths):
    rows = arrange(np.array(lengths), 4)
    expected = [n * 4 + t for n, length in enumerate(lengths) for t in range(length)]
    assert sorted(rows.places.tolist()) == expected
    assert sorted(rows.order.tolist()) == list(range(len(lengths)))
    assert np.array(lengths)[rows.order].tolist() == sorted(lengths, reverse=True)
    for row, n in zip(rows.last, rows.order, strict=True):
        if lengths[n]:
            assert rows.places[row - len(lengths)] == n * 4 + lengths[n] - 1
        else:
            assert rows.order[row] == n


@pytest.mark.parametrize("symbols", [False, True])
def test_batches_of_empty_sequences(symbols, rng):
    """Read at the end, an empty sequence is read from its first state; there is nothing else."""
    net, params, (x, y, lengths), start = some_net(rng, reads="last", symbols=symbols)
    batch, grads = (x, y, 0 * lengths), like(params)
    loss, last, dstart = net.through_time(params, batch, start, grads, net.workspace(6))
    assert loss == pytest.approx(by_numpy(net, params, params.flat, batch, start), rel=1e-13)
    np.testing.assert_array_equal(last[0], start[0])
    assert not any(part.any() for part in (grads.wx[0], grads.wh[0], grads.b[0]))
    assert grads.wy.any() and dstart[0].any()
    net, params, batch, start = some_net(rng, symbols=symbols)
    batch = (*batch[:2], 0 * batch[2])
    assert net.through_time(params, batch, start, grads, net.workspace(6))[0] == 0
    assert not grads.flat.any()


def test_one_symbol_has_nothing_to_say(rng):
    net = RecurrentNetwork(1, 3, 1, symbols=True)
    params = net.init(rng)
    grads = like(params)
    batch = net.check(params, (np.zeros((2, 4), int), np.zeros((2, 4), int)))
    assert net.loss_and_grad(params, None, batch, grads, net.workspace(2)) == 0
    assert not grads.flat.any()
    assert net.sample(params, [0], 5, rng).tolist() == [0] * 5


def test_memory_of_the_three_ways():
    """All states, checkpoints, truncation: what grows with T, with its root, and not at all.

    Panels of the products are counted apart: they are as wide as the processor's vectors, and as
    long as the rows that are read, up to a bound.
    """
    used, panels = {}, {}
    for steps in (16, 64, 256):
        root = int(np.sqrt(steps))
        ways = {"all": {}, "root": {"checkpoint_every": root}, "pieces": {"truncate": 8}}
        for name, way in ways.items():
            net = RecurrentNetwork(3, 5, 3, symbols=True, **way)
            params, work = net.init(np.random.default_rng(1)), net.workspace(8)
            batch = net.check(params, (np.zeros((8, steps), int), np.zeros((8, steps), int)))
            net.loss_and_grad(params, None, batch, like(params), work)
            used[name, steps] = work.bytes - work.panel_bytes
            panels[name, steps] = work.panel_bytes
    a_step = 8 * (5 + 5 + 3) * 4  # states, their gradient, scores: of 8 sequences, in float32
    for first, last in ((16, 64), (64, 256)):
        more = {name: (used[name, last] - used[name, first]) / a_step for name in ways}
        assert more == {"all": last - first, "root": np.sqrt(last) - np.sqrt(first), "pieces": 0}
    assert 0 < panels["all", 64] == panels["all", 256]  # bounded
    assert panels["pieces", 16] == panels["pieces", 256]


@compiled_only
def test_same_bits_for_any_number_of_threads(rng):
    net = RecurrentNetwork(40, 160, 40, symbols=True, depth=2)
    params, work = net.init(rng), net.workspace(32)
    x, y = rng.integers(40, size=(2, 32, 20))
    batch = net.check(params, (x, y, rng.integers(1, 21, size=32)))

    def gradient():
        grads = like(params)
        return net.loss_and_grad(params, None, batch, grads, work), grads.flat

    assert same_bits(gradient)


def test_workspaces_do_not_leak_between_steps(rng):
    net, params, (x, y, lengths), _ = some_net(rng, depth=2, reads="last")
    work, results = net.workspace(6), []
    for place in (work, net.workspace(6)):
        if place is work:
            net.loss_and_grad(params, None, (x, y, lengths), like(params), work)
        grads = like(params)
        net.loss_and_grad(params, None, (x[:2], y[:2], lengths[:2]), grads, place)
        results.append(grads.flat)
    np.testing.assert_array_equal(*results)


def test_nan_goes_through(rng):
    """One NaN among the features spoils the later states of its sequence, and no other."""
    net, params, (x, _, lengths), start = some_net(rng)
    x[2, 3, 1] = np.nan
    found = net._run(params, x, lengths, start).states
    bad = np.isnan(found).any(axis=-1)
    expected = np.zeros_like(bad)
    expected[2, 3:7] = True
    np.testing.assert_array_equal(bad, expected)


# Learning


def test_adding():
    x, y = rnn.adding_problem(200, 12, np.random.default_rng(0))
    assert x.shape == (200, 12, 2) and y.shape == (200, 1)
    marks = x[..., 1]
    np.testing.assert_array_equal(marks[:, :6].sum(1), 1)
    np.testing.assert_array_equal(marks[:, 6:].sum(1), 1)
    for sequence, wanted in zip(x, y[:, 0], strict=True):
        assert wanted == pytest.approx(sequence[sequence[:, 1] == 1, 0].sum(), rel=1e-15)


@compiled_only
def test_a_network_learns_to_add():
    rng = np.random.default_rng(1)
    how = {"reads": "last", "cost": "squares"}
    net = RecurrentNetwork(2, 16, 1, cell="relu", initial="identity", scale=0.9, **how)
    x, y = rnn.adding_problem(2000, 8, rng)
    out = fit(net, net.init(rng), (x, y), Adam(0.005), rng, epochs=10, batch=32, clip=1.0)
    x, y = rnn.adding_problem(500, 8, rng)
    assert np.mean((net.predict(out.params, None, x) - y) ** 2) < 1 / 60


def test_fit_names_the_layer_that_overflows(rng):
    net = RecurrentNetwork(1, 4, 1, cell="linear", scale=1e4, cost="squares", reads="last")
    params, (x, y) = net.init(rng), rnn.adding_problem(8, 20, rng)
    with pytest.raises(Diverged, match=r"what the layer of wh\[0\] gives"):
        fit(net, params, (x[..., :1], y), SGD(0.1), rng, epochs=1, batch=4)


def test_reading_on_is_truncation(rng):
    """One pass over four tracks in pieces of five, against the truncated gradient of the whole."""
    symbols = rng.integers(3, size=4 * 20 + 1)
    net = RecurrentNetwork(3, 6, 3, symbols=True, dtype="float64")
    params = net.init(rng)
    x, y = rnn.tracks(symbols, 4)
    np.testing.assert_array_equal(x[:, 1:], y[:, :-1])
    np.testing.assert_array_equal(x.reshape(-1), symbols[:-1])
    _, losses = fit_stream(net, params, symbols, SGD(1e-300), batch=4, steps=5)
    cut = RecurrentNetwork(3, 6, 3, symbols=True, dtype="float64", truncate=5)
    whole = cut.loss_and_grad(
        params, None, cut.check(params, (x, y)), like(params), cut.workspace(4)
    )
    assert len(losses) == 4
    assert losses.mean() == pytest.approx(whole, rel=1e-13)


def test_reading_on_learns_and_says_when_it_fails(rng):
    net = RecurrentNetwork(4, 16, 4, symbols=True)
    symbols, seen = np.arange(4000) % 4, []
    first = net.init(rng)
    kept = first.flat.copy()
    params, losses = fit_stream(
        net, first, symbols, Adam(0.01), batch=4, steps=10, epochs=2, clip=1.0, callback=seen.append
    )
    assert losses[0] > 1 and losses[-1] < 0.05 and len(seen) == 2
    np.testing.assert_array_equal(first.flat, kept)
    text = net.sample(params, [0, 1], 8, rng, temperature=0.5)
    assert text.tolist() == [2, 3, 0, 1, 2, 3, 0, 1]
    wild = RecurrentNetwork(4, 16, 4, symbols=True, cell="linear", scale=1e8)
    with pytest.raises(FloatingPointError, match="piece 1"):
        fit_stream(wild, wild.init(rng), symbols, SGD(0.1), batch=4, steps=100)


def test_sampling_reads_what_it_wrote(rng):
    """The same draw, step by step with the literal kernels."""
    net = RecurrentNetwork(5, 7, 5, symbols=True, dtype="float64", depth=2)
    params = net.init(rng)
    params.flat[:] *= 2
    found = net.sample(params, [3, 1], 20, np.random.default_rng(4), temperature=0.7)
    h, eye = [np.zeros(7), np.zeros(7)], np.eye(5)

    def advance(symbol):
        below = eye[symbol]
        for layer in range(2):
            weights = params.wx[layer], params.wh[layer], params.b[layer]
            below = h[layer] = rnn.state(below, h[layer], *weights)

    advance(3)
    advance(1)
    for u, symbol in zip(np.random.default_rng(4).random(20), found, strict=True):
        o = params.wy @ h[-1] + params.by
        assert symbol == np.searchsorted(np.cumsum(softmax(o[None] / 0.7)[0]), u, side="right")
        advance(symbol)


def test_predictions(rng):
    net, params, (x, _, lengths), _ = some_net(rng)
    found, scores = net.predict(params, None, x, lengths), net.run(params, x, lengths).scores
    for n, length in enumerate(lengths):
        np.testing.assert_array_equal(found[n, :length], scores[n, :length].argmax(-1))
        assert (found[n, length:] == -1).all()
    net, params, (x, _, lengths), _ = some_net(rng, reads="last")
    for n in range(len(lengths)):
        o = params.wy @ net.run(params, x, lengths).last[0][n] + params.by
        assert net.predict(params, None, x, lengths)[n] == o.argmax()


# Weights, symbols, refusals


def test_orthogonal(rng):
    q = rnn.orthogonal(30, rng)
    assert relative_error(q @ q.T, np.eye(30)) < 1e-14
    signs = [np.sign(rnn.orthogonal(3, rng)[0, 0]) for _ in range(400)]
    assert abs(np.mean(signs)) < 0.2


@pytest.mark.parametrize("initial", rnn.INITIAL)
def test_first_weights(initial, rng):
    net = RecurrentNetwork(3, 50, 2, initial=initial, scale=0.5, depth=2, dtype="float64")
    params = net.init(rng)
    assert not any(b.any() for b in (*params.b, params.by))
    for wh in params.wh:
        if initial == "identity":
            np.testing.assert_array_equal(wh, 0.5 * np.eye(50))
        elif initial == "orthogonal":
            assert relative_error(wh @ wh.T, 0.25 * np.eye(50)) < 1e-13
        else:
            assert np.mean(wh**2) == pytest.approx(0.25 / 50, rel=0.1)


def test_alphabet():
    text = "to be or not to be"
    some = Alphabet.of(text)
    assert some.symbols == " benort" and len(some) == 7
    assert some.decode(some.encode(text)) == text
    assert some.encode("").size == 0 and some.decode([]) == ""
    with pytest.raises(ValueError, match="'q' at place 3, which is not one of the 7"):
        some.encode("be q")
    few = Alphabet.of("abracadabra", min_count=2, unknown="?")
    assert few.symbols == "?abr"
    assert few.decode(few.encode("bird")) == "b?r?"
    with pytest.raises(ValueError, match="numbers"):
        some.decode([7])
    one = Alphabet.of("aaa")
    assert one.encode("aa").tolist() == [0, 0]


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: Alphabet(""), "at least one"),
        (lambda: Alphabet("aba"), "'a' twice"),
        (lambda: Alphabet("ab", "c"), "unknown is 'c', which is not one of the symbols"),
        (lambda: Alphabet("abc", ""), "unknown is '', which is not one of the symbols"),
        (lambda: Alphabet("abc", "ab"), "unknown is 'ab', which is not one of the symbols"),
        (lambda: Alphabet("<unk>", "<unk>"), "unknown is '<unk>'"),
        (lambda: Alphabet("abc", 0), "unknown is 0"),
        (lambda: Alphabet("abc", ["a"]), "unknown is"),
        (lambda: Alphabet.of("abc", unknown="<unk>"), "unknown is '<unk>', expected one character"),
        (lambda: Alphabet.of("abc", unknown=""), "unknown is '', expected one character"),
        (lambda: Alphabet.of("abc", unknown=7), "unknown is 7, expected one character"),
        (lambda: Alphabet.of(7), "text"),
        (lambda: Alphabet.of("ab", min_count=0), "min_count"),
        (lambda: Alphabet.of("ab", min_count=2), "at least one"),
        (lambda: RecurrentNetwork(0, 1, 1), "inputs"),
        (lambda: RecurrentNetwork(1, 1.5, 1), "hidden"),
        (lambda: RecurrentNetwork(1, 1, 1, depth=0), "depth"),
        (lambda: RecurrentNetwork(1, 1, 1, symbols=1), "symbols"),
        (lambda: RecurrentNetwork(1, 1, 1, reads="all"), "reads"),
        (lambda: RecurrentNetwork(1, 1, 1, cost="hinge"), "cost"),
        (lambda: RecurrentNetwork(1, 1, 1, cell="gate"), "cell"),
        (lambda: RecurrentNetwork(1, 1, 1, initial="he"), "initial"),
        (lambda: RecurrentNetwork(1, 1, 1, scale=-1.0), "scale"),
        (lambda: RecurrentNetwork(1, 1, 1, truncate=0), "truncate"),
        (lambda: RecurrentNetwork(1, 1, 1, checkpoint_every=0), "checkpoint_every"),
        (lambda: RecurrentNetwork(1, 1, 1, checkpoint_every=2, truncate=2), "checkpoint_every"),
        (lambda: RecurrentNetwork(1, 1, 1, dtype="float16"), "dtype"),
        (lambda: RecurrentNetwork(1, 1, 1).init(3), "rng"),
        (lambda: rnn.tracks([1, 2], 2), "too few"),
        (lambda: rnn.tracks([0.5, 2], 1), "symbols"),
        (lambda: rnn.adding_problem(3, 1, np.random.default_rng()), "steps"),
        (lambda: rnn.adding_problem(3, 4, 5), "rng"),
    ],
)
def test_refusals(call, words):
    with pytest.raises((TypeError, ValueError), match=words):
        call()


X = np.zeros((2, 3), int)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (7, "data"),
        ((X,), "data"),
        ((X[0], X[0]), "x has shape"),
        ((X[:, :0], X[:, :0]), "x is empty"),
        ((X[:0], X[:0]), "x is empty"),
        ((X + 4, X), "x holds the label 4"),
        ((X - 1, X), "x holds the label -1"),
        ((X + 0.5, X), "x has dtype"),
        ((X, X + 5), "y holds the label 5"),
        ((X, X[:, 1:]), "y has shape"),
        ((X, X, [3]), "lengths"),
        ((X, X, [3, 4]), "lengths holds the label 4"),
        ((X, X, [3, -1]), "lengths"),
        ((X, X, [0.5, 1]), "lengths"),
        ((X, X, [0, 0]), "nothing|no step"),
    ],
)
def test_data_is_checked(data, words):
    net = RecurrentNetwork(4, 3, 5, symbols=True)
    with pytest.raises((TypeError, ValueError), match=words):
        net.check(net.init(np.random.default_rng(1)), data)


def test_runs_and_samples_are_checked(rng):
    net, numbers = RecurrentNetwork(4, 3, 4, symbols=True), RecurrentNetwork(4, 3, 4)
    params = net.init(rng)
    for call, words in (
        (lambda: net.run(params, X, start=[]), "start"),
        (lambda: net.run(params, X, start=[np.zeros((2, 4))]), "start"),
        (lambda: net.sample(params, [], 3, rng), "prompt"),
        (lambda: net.sample(params, [4], 3, rng), "prompt"),
        (lambda: net.sample(params, [0], -1, rng), "length"),
        (lambda: net.sample(params, [0], 3, rng, temperature=0.0), "temperature"),
        (lambda: net.sample(params, [0], 3, 7), "rng"),
        (lambda: numbers.sample(params, [0], 3, rng), "symbols"),
        (lambda: fit_stream(numbers, params, X[0], SGD(0.1), batch=1, steps=1), "symbols"),
    ):
        with pytest.raises((TypeError, ValueError), match=words):
            call()
