"""Gated networks: gates, the way back, layers joined, both directions, and what they learn."""

from dataclasses import replace
from itertools import chain

import numpy as np
import pytest
from compiled import compiled_only, same_bits

from dlbook import gated, rnn
from dlbook.backprop import Value, adjoints
from dlbook.fast import gates
from dlbook.fast.sequences import reverse_into
from dlbook.nets import RecurrentNetwork, fit
from dlbook.nets.recurrent import Params
from dlbook.optimization import Adam
from dlbook.tools.flat import like
from dlbook.verification import central_differences, complex_step, relative_error

T, K, J = 5, 2, 3


def sigma(z):
    return 1 / (1 + np.exp(-z))


def gate_weights(rng, gates=1):
    """Return wx, wh, b of so many gates."""
    return [0.8 * rng.normal(size=s) for s in ((gates * J, K), (gates * J, J), (gates * J,))]


def one_gate(rng):
    return rng.normal(size=K), rng.normal(size=J), *gate_weights(rng)


def some_lstm(rng):
    x, h, c = rng.normal(size=(T, K)), rng.normal(size=J), rng.normal(size=J)
    return x, h, c, *gate_weights(rng, 4)


def some_gru(rng):
    wx, wh, _ = gate_weights(rng, 3)
    return rng.normal(size=(T, K)), rng.normal(size=J), wx, wh, rng.normal(size=4 * J)


def lstm_errors(rng):
    given = some_lstm(rng)
    _, c, gates = gated.lstm_states(*given)
    return rng.normal(size=(T, J)), gates, c, given[4]


def gru_errors(rng):
    given = some_gru(rng)
    h, gates = gated.gru_states(*given)
    return rng.normal(size=(T, J)), gates, h, given[3]


def some_layers(rng):
    first, second = gate_weights(rng), gate_weights(rng)
    second[0] = rng.normal(size=(J, J))
    third = [part.copy() for part in second]
    return rng.normal(size=(T, K)), rng.normal(size=(3, J)), (*map(tuple, (first, second, third)),)


def both_ways(rng):
    starts = rng.normal(size=(2, J))
    ways = tuple(gate_weights(rng)), tuple(gate_weights(rng))
    return rng.normal(size=(T, K)), *starts, *ways


KERNELS = [
    (gated.weighted_input, one_gate),
    (gated.forget_gate, one_gate),
    (gated.input_gate, one_gate),
    (gated.candidate, one_gate),
    (gated.output_gate, one_gate),
    (gated.cell_state, lambda rng: tuple(rng.normal(size=(4, J)))),
    (gated.hidden_state, lambda rng: tuple(rng.normal(size=(2, J)))),
    (gated.lstm_states, some_lstm),
    (gated.cell_gradient, lambda rng: (rng.random((T, J)),)),
    (gated.lstm_deltas, lstm_errors),
    (
        gated.weights_gradient,
        lambda rng: (*rng.normal(size=(2, T, 7)), rng.normal(size=(T, K)), rng.normal(size=(6, J))),
    ),
    (gated.reset_gate, one_gate),
    (gated.update_gate, one_gate),
    (gated.recurrent_input, lambda rng: (rng.normal(size=J), *gate_weights(rng)[1:])),
    (
        gated.gru_candidate,
        lambda rng: (*one_gate(rng)[:2], rng.random(J), *gate_weights(rng), rng.normal(size=J)),
    ),
    (gated.gru_state, lambda rng: tuple(rng.random((3, J)))),
    (gated.gru_states, some_gru),
    (gated.gru_deltas, gru_errors),
    (gated.parameters, lambda rng: (4, 7, 5, 2)),
    (gated.bidirectional, both_ways),
    (gated.stacked, some_layers),
    (gated.residual_stack, some_layers),
]


# One sequence


def lstm_by_numpy(x, h, c, wx, wh, b, bump=None):
    """Return states and cells of all steps; `bump` is added to the weighted inputs."""
    found = []
    for t, step in enumerate(x):
        z = wx @ step + wh @ h + b
        z = z if bump is None else z + bump[t]
        i, f, g, o = sigma(z[:J]), sigma(z[J : 2 * J]), np.tanh(z[2 * J : 3 * J]), sigma(z[3 * J :])
        c = f * c + i * g
        h = o * np.tanh(c)
        found.append((h, c))
    return (np.array(part) for part in zip(*found, strict=True))


def gru_by_numpy(x, h, wx, wh, b, bump=None):
    """Return the states of all steps; `bump` has 4 rows of units: r, z, n, and the state in n."""
    found = []
    for t, step in enumerate(x):
        e = np.zeros(4 * J) if bump is None else bump[t]
        u, v = wx @ step + b[: 3 * J] + e[: 3 * J], wh @ h
        r, z = sigma(u[:J] + v[:J]), sigma(u[J : 2 * J] + v[J : 2 * J])
        n = np.tanh(u[2 * J :] + r * (v[2 * J :] + b[3 * J :] + e[3 * J :]))
        h = (1 - z) * n + z * h
        found.append(h)
    return np.array(found)


def test_states_against_numpy(rng):
    given = some_lstm(rng)
    h, c, _ = gated.lstm_states(*given)
    for found, wanted in zip((h, c), lstm_by_numpy(*given), strict=True):
        assert relative_error(found[1:], wanted) < 1e-14
    given = some_gru(rng)
    assert relative_error(gated.gru_states(*given)[0][1:], gru_by_numpy(*given)) < 1e-14


def test_lstm_deltas_by_both_steps(rng):
    given, top = some_lstm(rng), rng.normal(size=(T, J))
    _, c, gates = gated.lstm_states(*given)
    found = gated.lstm_deltas(top, gates, c, given[4])

    def cost(bump):
        h, _ = lstm_by_numpy(*given, bump)
        return np.sum(np.tanh(h) * top)

    slope = 1 - np.tanh(gated.lstm_states(*given)[0][1:]) ** 2
    found = gated.lstm_deltas(top * slope, gates, c, given[4])
    assert relative_error(found, complex_step(cost, np.zeros((T, 4 * J)))) < 1e-13
    assert relative_error(found, central_differences(cost, np.zeros((T, 4 * J)))) < 1e-8


def test_gru_deltas_by_both_steps(rng):
    given, top = some_gru(rng), rng.normal(size=(T, J))
    h, gates = gated.gru_states(*given)
    by_x, by_h = gated.gru_deltas(top, gates, h, given[3])
    found = np.concatenate((by_x, by_h[:, 2 * J :]), axis=1)

    def cost(bump):
        return np.sum(gru_by_numpy(*given, bump) * top)

    np.testing.assert_array_equal(by_x[:, : 2 * J], by_h[:, : 2 * J])
    assert relative_error(found, complex_step(cost, np.zeros((T, 4 * J)))) < 1e-13
    assert relative_error(found, central_differences(cost, np.zeros((T, 4 * J)))) < 1e-8


def graph_sigma(z):
    return (((z * -1).exp() + 1).log() * -1).exp()


def graph_tanh(z):
    return graph_sigma(z * 2) * 2 - 1


def nodes(array):
    return np.vectorize(Value, otypes=[object])(array)


def each(function, values):
    return np.array([function(v) for v in values], dtype=object)


@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_weights_by_reverse_mode(cell, rng):
    """The scalar graph of backpropagation knows nothing of gates."""
    top = rng.normal(size=J)
    if cell == "lstm":
        x, h_0, c_0, *weights = some_lstm(rng)
        h, c, gates = gated.lstm_states(x, h_0, c_0, *weights)
    else:
        x, h_0, *weights = some_gru(rng)
        h, gates = gated.gru_states(x, h_0, *weights)
    dh = np.vstack((np.zeros((T - 1, J)), top))
    if cell == "lstm":
        delta = gated.lstm_deltas(dh, gates, c, weights[1])
        dwx, dwh, db, _ = gated.weights_gradient(delta, delta, x, h)
    else:
        deltas = gated.gru_deltas(dh, gates, h, weights[1])
        dwx, dwh, db, second = gated.weights_gradient(*deltas, x, h)
        db = np.concatenate((db, second[2 * J :]))
    wx, wh, b = map(nodes, weights)
    now, cell_now = nodes(h_0), nodes(c_0) if cell == "lstm" else None
    for step in x:
        u, v = (wx * step).sum(1) + b[: len(wx)], (wh * now).sum(1)
        if cell == "lstm":
            z = u + v
            i, f, o = (each(graph_sigma, z[m * J : (m + 1) * J]) for m in (0, 1, 3))
            cell_now = f * cell_now + i * each(graph_tanh, z[2 * J : 3 * J])
            now = o * each(graph_tanh, cell_now)
        else:
            r, z = (each(graph_sigma, (u + v)[m * J : (m + 1) * J]) for m in (0, 1))
            n = each(graph_tanh, u[2 * J :] + r * (v[2 * J :] + b[3 * J :]))
            now = n + z * (now - n)
    bar = adjoints((now * top).sum())
    for found, part in zip((dwx, dwh, db), (wx, wh, b), strict=True):
        expected = np.vectorize(lambda node: bar[node], otypes=[float])(part)
        assert relative_error(found, expected) < 1e-12


def test_the_direct_path_is_the_product_of_forget_gates(rng):
    f, i, g, c_0 = rng.random((T, J)), rng.random((T, J)), rng.normal(size=(T, J)), rng.random(J)

    def last(c):
        for t in range(T):
            c = gated.cell_state(f[t].astype(c.dtype), c, i[t] + 0 * c, g[t] + 0 * c)
        return c

    assert relative_error(np.diag(gated.cell_gradient(f)), complex_step(last, c_0)) < 1e-13


def test_a_cell_keeps_its_content(rng):
    """Forget gates at one and input gates at zero, to the last bit."""
    c = rng.normal(size=(1, J))
    for _ in range(1000):
        c = gated.cell_state(np.ones(J), c[0], np.zeros(J), rng.normal(size=J))[None]
    wx, wh, b = gate_weights(rng, 4)
    b[:J], b[J : 2 * J] = -1e3, 1e3
    given = rng.normal(size=(1000, K)), rng.normal(size=J), c[0], wx, wh, b
    found = gated.lstm_states(*given)[1]
    np.testing.assert_array_equal(found, np.repeat(c, 1001, axis=0))


def layer_by_numpy(x, h, wx, wh, b):
    out = []
    for step in x:
        h = np.tanh(wx @ step + wh @ h + b)
        out.append(h)
    return np.array(out)


def test_joined_layers_against_numpy(rng):
    x, forth_0, back_0, forth, back = given = both_ways(rng)
    expected = layer_by_numpy(x, forth_0, *forth), layer_by_numpy(x[::-1], back_0, *back)[::-1]
    assert relative_error(gated.bidirectional(*given), np.hstack(expected)) < 1e-14
    x, start, layers = given = some_layers(rng)
    plain = added = x
    for number, layer in enumerate(layers):
        plain = layer_by_numpy(plain, start[number], *layer)
        above = layer_by_numpy(added, start[number], *layer)
        added = above + added if number else above
    assert relative_error(gated.stacked(*given), plain) < 1e-14
    assert relative_error(gated.residual_stack(*given), added) < 1e-14


@pytest.mark.parametrize("cell", ["lstm", "gru"])
@pytest.mark.parametrize("hidden", [1, 6])
def test_counts_of_parameters(cell, hidden):
    net = RecurrentNetwork(3, hidden, 2, cell=cell)
    params, gates = net.init(np.random.default_rng(1)), {"lstm": 4, "gru": 3}[cell]
    found = sum(part[0].size for part in (params.wx, params.wh, params.b))
    more = hidden if cell == "gru" else 0
    assert found == gated.parameters(gates, 3, hidden, 1) + more
    assert found + hidden * gates - more == gated.parameters(gates, 3, hidden, 2)
    assert 3 * gated.parameters(4, 3, hidden, 2) == 4 * gated.parameters(3, 3, hidden, 2)


# A batch


def some_net(rng, **more):
    """Return a network, parameters, a batch with an empty sequence, and first states."""
    net = RecurrentNetwork(4, J, 4, **({"cell": "lstm", "dtype": "float64"} | more))
    params = net.init(rng)
    params.flat[:] += 0.3 * rng.normal(size=params.flat.size)
    lengths, steps = np.array([3, 0, 7, 7, 1, 4]), 8
    n = len(lengths)
    x = rng.integers(4, size=(n, steps)) if net.symbols else rng.normal(size=(n, steps, 4))
    y = rng.integers(4, size=(n, steps) if net.reads == "each" else n)
    start = [rng.normal(size=(n, J)) for _ in range(net.carried)]
    return net, params, net.check(params, (x, y, lengths)), start


def of_any(params, flat):
    """Return the same views of a vector that may be complex."""
    at, parts = 0, []
    for part in (*chain(*zip(*params[1:4], strict=True)), params.wy, params.by):
        parts.append(flat[at : at + part.size].reshape(part.shape))
        at += part.size
    *layers, wy, by = parts
    return Params(flat, *(tuple(layers[m::3]) for m in range(3)), wy, by)


def strand(net, x, begin, wx, wh, b):
    """Return the states of one set of cells over one sequence, those of `begin` first."""
    h = begin[0][None]
    if len(x):
        if net.cell == "lstm":
            found, _ = lstm_by_numpy(x, *begin, wx, wh, b)
        elif net.cell == "gru":
            found = gru_by_numpy(x, *begin, wx, wh, b)
        else:
            found = layer_by_numpy(x, *begin, wx, wh, b)
        h = np.vstack((h, found))
    return h


def by_numpy(net, params, flat, batch, start):
    """Return the mean loss, sequence by sequence and layer by layer."""
    p, costs, (x, y, lengths) = of_any(params, flat), [], batch
    for n, length in enumerate(lengths):
        below = np.eye(4)[x[n, :length]] if net.symbols else x[n, :length]
        last = 0
        for layer in range(net.depth):
            ways = []
            for way in range(net.directions):
                s = layer * net.directions + way
                begin = [part[n] for part in start[s * net.kept : (s + 1) * net.kept]]
                read = below[::-1] if way else below
                ways.append(strand(net, read, begin, p.wx[s], p.wh[s], p.b[s]))
            now = np.concatenate([h[-1] for h in ways])
            last = last + now if net.residual else now
            out = np.hstack([h[1:][::-1] if way else h[1:] for way, h in enumerate(ways)])
            below = out + below if net.residual and layer else out
        for a, label in zip(
            below if net.reads == "each" else [last],
            y[n, :length] if net.reads == "each" else [y[n]],
            strict=True,
        ):
            o = p.wy @ a + p.by
            costs.append(np.log(np.sum(np.exp(o))) - o[label])
    return np.mean(costs)


CASES = [
    {},
    {"cell": "gru"},
    {"cell": "gru", "symbols": True, "reads": "last", "depth": 2},
    {"symbols": True, "depth": 3, "residual": True, "checkpoint_every": 2},
    {"bidirectional": True, "depth": 2, "reads": "last"},
    {"bidirectional": True, "depth": 2, "cell": "gru", "residual": True},
    {"bidirectional": True, "depth": 3, "residual": True, "reads": "last", "symbols": True},
    {"cell": "tanh", "bidirectional": True, "depth": 2},
    {"cell": "tanh", "residual": True, "depth": 3, "checkpoint_every": 3, "reads": "last"},
    {"cell": "gru", "checkpoint_every": 3, "reads": "last", "depth": 2},
]


@pytest.mark.parametrize("more", CASES, ids=str)
def test_batch_gradient(more, rng):
    """Loss, the gradient of all parameters and of the first states, with lengths that differ."""
    net, params, batch, start = some_net(rng, **more)
    grads = like(params)
    loss, _, dstart = net.through_time(params, batch, start, grads, net.workspace(6))
    assert loss == pytest.approx(by_numpy(net, params, params.flat, batch, start), rel=1e-13)
    assert net.loss_and_grad(params, None, batch, like(params), net.workspace(6)) == pytest.approx(
        net.loss(params, None, batch), rel=1e-13
    )
    expected = complex_step(lambda flat: by_numpy(net, params, flat, batch, start), params.flat)
    assert relative_error(grads.flat, expected) < 1e-12
    for m in range(net.carried):

        def cost(part, m=m):
            given = [*start[:m], part, *start[m + 1 :]]
            return by_numpy(net, params, params.flat.astype(part.dtype), batch, given)

        expected = complex_step(cost, start[m])
        scale = max(1e-3, np.abs(expected).max())
        assert relative_error(dstart[m], expected, scale=scale) < 1e-12


@pytest.mark.parametrize(("dtype", "rtol"), [("float64", 1e-13), ("float32", 2e-5)])
@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_fast_equals_literal(cell, dtype, rtol, rng):
    """States and the gradient of one sequence, in both precisions."""
    net = RecurrentNetwork(6, 17, 7, cell=cell, dtype=dtype)
    params, y = net.init(np.random.default_rng(1)), rng.integers(7, size=(1, 9))
    batch, grads = net.check(params, (rng.normal(size=(1, 9, 6)), y)), like(params)
    net.loss_and_grad(params, None, batch, grads, net.workspace(1))
    x, zero = batch[0][0].astype(float), np.zeros(17)
    wx, wh, b, wy, by = (
        part.astype(float) for part in (*params.wx, *params.wh, *params.b, params.wy, params.by)
    )
    if cell == "lstm":
        h, c, gates = gated.lstm_states(x, zero, zero, wx, wh, b)
    else:
        h, gates = gated.gru_states(x, zero, wx, wh, b)
    dh = rnn.output_deltas(rnn.outputs(h[1:], wy, by), y[0]) @ wy
    if cell == "lstm":
        delta = gated.lstm_deltas(dh, gates, c, wh)
        dwx, dwh, db, _ = gated.weights_gradient(delta, delta, x, h)
    else:
        dwx, dwh, db, second = gated.weights_gradient(*gated.gru_deltas(dh, gates, h, wh), x, h)
        db = np.concatenate((db, second[-17:]))
    for found, wanted in zip((*grads.wx, *grads.wh, *grads.b), (dwx, dwh, db), strict=True):
        assert found.dtype == dtype
        assert relative_error(9 * found, wanted) < rtol
    assert relative_error(net.run(params, batch[0]).states[0], h[1:]) < rtol


@pytest.mark.parametrize("cell", ["lstm", "gru"])
@pytest.mark.parametrize("cut", [1, 3, 8])
def test_truncated_gradient(cell, cut, rng):
    """States and cells go on, errors do not: each piece by itself."""
    net, params, (x, y, _), start = some_net(rng, cell=cell, truncate=cut, depth=2)
    whole, lengths = some_net(rng, cell=cell, depth=2)[0], np.full(6, 8)
    grads, expected, now = like(params), 0, start
    net.through_time(params, (x, y, lengths), start, grads, net.workspace(6))
    for t in range(0, 8, cut):
        g, steps = like(params), min(cut, 8 - t)
        piece = x[:, t : t + cut], y[:, t : t + cut], np.full(6, steps)
        _, now, _ = whole.through_time(params, piece, now, g, whole.workspace(6))
        expected = expected + g.flat * steps / 8
    assert relative_error(grads.flat, expected) < 1e-12


@pytest.mark.parametrize("more", CASES, ids=str)
def test_order_and_padding_change_nothing(more, rng):
    """Sequences in another order, with other numbers behind their ends, padded further."""
    net, params, (x, y, lengths), start = some_net(rng, **more)
    results = []
    for order, padding in ((np.arange(6), 0), (rng.permutation(6), 3)):
        more_steps = [(0, 0), (0, padding), (0, 0)]
        wide = np.pad(x, more_steps[: x.ndim])
        beyond = np.arange(wide.shape[1]) >= lengths[:, None]
        wide[beyond] = 2 if net.symbols else np.nan
        labels = y
        if net.reads == "each":
            labels = np.where(beyond, 99, np.pad(y, more_steps[:2]))
        batch = net.check(params, (wide[order], labels[order], lengths[order]))
        grads, given = like(params), [part[order] for part in start]
        loss, last, dstart = net.through_time(params, batch, given, grads, net.workspace(6))
        back = np.argsort(order)
        results.append((loss, grads.flat, *(part[back] for part in (*last, *dstart))))
    for a, b in zip(*results, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("more", CASES, ids=str)
def test_batches_of_empty_sequences(more, rng):
    """Read at the end, an empty sequence is read from its first states; there is nothing else."""
    net, params, (x, _, lengths), start = some_net(rng, **more)
    last_net = replace(net, reads="last")
    y, grads = np.zeros(6, int), like(params)
    batch = x, y, 0 * lengths
    loss, last, _ = last_net.through_time(params, batch, start, grads, last_net.workspace(6))
    assert loss == pytest.approx(by_numpy(last_net, params, params.flat, batch, start), rel=1e-13)
    for found, wanted in zip(last, start, strict=True):
        np.testing.assert_array_equal(found, wanted)
    assert grads.wy.any() and not any(part.any() for part in (*grads.wx, *grads.wh, *grads.b))


def test_turned_rows():
    """Sequences of 3, 2 and 1 steps: rows are a1 b1 c1 a2 b2 a3."""
    turn = np.empty(6, np.int64)
    reverse_into(np.array([3, 2, 1]), turn)
    assert turn.tolist() == [5, 4, 2, 3, 1, 0]
    reverse_into(np.zeros(0, np.int64), turn[:0])


@compiled_only
@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_same_bits_for_any_number_of_threads(cell, rng):
    net = RecurrentNetwork(40, 160, 40, cell=cell, symbols=True, depth=2)
    params, work = net.init(rng), net.workspace(32)
    x, y = rng.integers(40, size=(2, 32, 30))
    batch = net.check(params, (x, y, rng.integers(1, 31, size=32)))
    rows = int(batch[2].sum())
    assert rows * (net.gates * 160) ** 2 >= gates.PARALLEL_FROM

    def gradient():
        grads = like(params)
        return net.loss_and_grad(params, None, batch, grads, work), grads.flat

    assert same_bits(gradient)


def test_parts_of_a_batch(monkeypatch):
    """Every sequence belongs to one part, and the parts have about as many steps."""
    monkeypatch.setattr(gates, "PARALLEL_FROM", 0)
    monkeypatch.setattr(gates, "TILED", True)
    for threads in (1, 2, 3, 7):
        monkeypatch.setattr(gates, "get_num_threads", lambda count=threads: count)
        for counts in ([40] * 9, list(range(64, 0, -1)), [5, 1], [], [64, 1, 1, 1, 1, 1, 1, 1]):
            counts, calls = np.array(counts, np.int64), []
            gates.in_parts(lambda *part, to=calls: to.append(part), counts, np.zeros((1, 1)))
            N = counts[0] if len(counts) else 0
            assert sorted(n for part in calls for n in range(*part)) == list(range(N))
            assert len(calls) == max(1, min(threads, N // 8))


def test_without_a_tile_a_batch_stays_whole(monkeypatch):
    """What np.dot makes of a row may depend on how many there are, and so on the threads."""
    monkeypatch.setattr(gates, "PARALLEL_FROM", 0)
    monkeypatch.setattr(gates, "TILED", False)
    monkeypatch.setattr(gates, "get_num_threads", lambda: 4)
    calls = []
    gates.in_parts(lambda *part: calls.append(part), np.full(9, 64), np.zeros((1, 1)))
    assert calls == [(0, 64)]


def test_workspaces_do_not_leak_between_steps(rng):
    for more in CASES:
        net, params, (x, y, lengths), _ = some_net(rng, **more)
        work, results = net.workspace(6), []
        for place in (work, net.workspace(6)):
            if place is work:
                net.loss_and_grad(params, None, (x, y, lengths), like(params), work)
            grads = like(params)
            net.loss_and_grad(params, None, (x[:3], y[:3], lengths[:3]), grads, place)
            results.append(grads.flat)
        np.testing.assert_array_equal(*results)


@pytest.mark.parametrize(("cell", "a_step"), [("lstm", 8), ("gru", 6)])
def test_memory_of_checkpoints(cell, a_step):
    """With all states memory grows with the steps, with checkpoints with their root.

    At each step an LSTM keeps h, c, four gates and a tanh, a GRU h, three gates and a product;
    both need the gradient of h and the scores.
    """
    used, a_step = {}, 2 * (a_step * 5 + 3) * 4  # 2 sequences, 5 units, 3 symbols, float32
    for steps in (16, 64, 256):
        for name, every in (("all", None), ("root", int(np.sqrt(steps)))):
            net = RecurrentNetwork(3, 5, 3, cell=cell, symbols=True, checkpoint_every=every)
            params, work = net.init(np.random.default_rng(1)), net.workspace(2)
            x = np.zeros((2, steps), int)
            net.loss_and_grad(params, None, net.check(params, (x, x)), like(params), work)
            used[name, steps] = work.bytes - work.panel_bytes
    for first, last in ((16, 64), (64, 256)):
        more = {name: (used[name, last] - used[name, first]) / a_step for name in ("all", "root")}
        assert more == {"all": last - first, "root": np.sqrt(last) - np.sqrt(first)}


def test_one_symbol_has_nothing_to_say(rng):
    for cell in ("lstm", "gru"):
        net = RecurrentNetwork(1, 3, 1, cell=cell, symbols=True)
        params = net.init(rng)
        grads, x = like(params), np.zeros((2, 4), int)
        batch = net.check(params, (x, x))
        assert net.loss_and_grad(params, None, batch, grads, net.workspace(2)) == 0
        assert not grads.flat.any()
        assert net.sample(params, [0], 5, rng).tolist() == [0] * 5


def test_sampling_carries_cells(rng):
    how = {"cell": "lstm", "depth": 2, "residual": True, "dtype": "float64"}
    net = RecurrentNetwork(5, 7, 5, symbols=True, **how)
    params = net.init(rng)
    params.flat[:] *= 2
    found = net.sample(params, [3, 1], 12, np.random.default_rng(4), temperature=0.7)
    read, uniform = [3, 1], np.random.default_rng(4).random(12)
    for u, symbol in zip(uniform, found, strict=True):
        o = net.run(params, np.array([read])).scores[0, -1]
        assert symbol == rnn.sample_symbol(o, u, 0.7)
        read.append(symbol)


# Learning, first weights, refusals


@compiled_only
@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_a_network_learns_to_add(cell):
    rng = np.random.default_rng(1)
    net = RecurrentNetwork(2, 16, 1, cell=cell, reads="last", cost="squares")
    x, y = rnn.adding_problem(2000, 10, rng)
    out = fit(net, net.init(rng), (x, y), Adam(0.01), rng, epochs=12, batch=32, clip=1.0)
    x, y = rnn.adding_problem(500, 10, rng)
    assert np.mean((net.predict(out.params, None, x) - y) ** 2) < 1 / 60


@compiled_only
def test_both_ways_see_what_comes_later(rng):
    """The label of a step is the symbol two steps later: one direction cannot know it."""
    x = rng.integers(3, size=(300, 12))
    y = np.where(np.arange(12) < 10, np.roll(x, -2, axis=1), 0)
    losses = {}
    for both in (False, True):
        net = RecurrentNetwork(3, 12, 3, cell="gru", symbols=True, bidirectional=both)
        draw = np.random.default_rng(1)
        out = fit(net, net.init(draw), (x, y), Adam(0.02), draw, epochs=8, batch=30, clip=1.0)
        losses[both] = net.loss(out.params, None, net.check(out.params, (x, y)))
    assert losses[True] < 0.1 < 0.8 < losses[False]


@pytest.mark.parametrize("cell", ["lstm", "gru", "tanh"])
def test_first_weights(cell, rng):
    net = RecurrentNetwork(3, 50, 2, cell=cell, forget_bias=2.0, bidirectional=True, depth=2)
    params = net.init(rng)
    for b in params.b:
        held = b[50:100]
        assert (held == 2).all() if cell != "tanh" else not held.size
        assert not np.delete(b, np.s_[50:100]).any() if cell != "tanh" else not b.any()
    for wh in params.wh:
        assert np.mean(wh**2) == pytest.approx(1 / 50, rel=0.1)
    assert [wx.shape[1] for wx in params.wx] == [3, 3, 100, 100]


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: RecurrentNetwork(1, 1, 1, cell="gate"), "cell"),
        (lambda: RecurrentNetwork(1, 1, 1, bidirectional=1), "bidirectional"),
        (lambda: RecurrentNetwork(1, 1, 1, residual="yes"), "residual"),
        (lambda: RecurrentNetwork(1, 1, 1, forget_bias=np.nan), "forget_bias"),
        (
            lambda: RecurrentNetwork(1, 1, 1, bidirectional=True, checkpoint_every=3),
            "one direction",
        ),
        (lambda: RecurrentNetwork(1, 1, 1, bidirectional=True, truncate=3), "truncate is given"),
        (lambda: RecurrentNetwork(1, 0, 1), "hidden"),
    ],
)
def test_refusals(call, words):
    with pytest.raises((TypeError, ValueError), match=words):
        call()


def test_runs_are_checked(rng):
    net = RecurrentNetwork(4, 3, 4, symbols=True, cell="lstm")
    params, x = net.init(rng), np.zeros((2, 3), int)
    turned = RecurrentNetwork(4, 3, 4, symbols=True, bidirectional=True)
    for call, words in (
        (lambda: net.run(params, x, start=[np.zeros((2, 3))]), "start has 1 arrays, expected 2"),
        (lambda: net.run(params, x, start=[np.zeros((2, 4))] * 2), "start"),
        (lambda: net.run(params, x + 4), "x holds the label 4"),
        (lambda: net.sample(params, [4], 3, rng), "prompt"),
        (lambda: turned.sample(turned.init(rng), [0], 3, rng), "bidirectional"),
    ):
        with pytest.raises((TypeError, ValueError), match=words):
            call()
