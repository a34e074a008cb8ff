"""Sequence tasks: costs, taggers, encoder and decoder, beam search, dates."""

import itertools
from dataclasses import dataclass

import numpy as np
import pytest
from compiled import compiled_only
from scipy import special

from dlbook import sequence_tasks as tasks
from dlbook.fast.sequences import arrange
from dlbook.gated import gru_states
from dlbook.nets import EncoderDecoder, Layer, fit
from dlbook.optimization import Adam
from dlbook.sequence_tasks import ISO, WRITTEN, beam_search
from dlbook.tools.flat import like, named
from dlbook.verification import central_differences, complex_step, relative_error

T, U, K, L, J, V = 5, 4, 3, 2, 4, 6


def a_layer(rng, inputs, units=J):
    """Return wx, wh, b of a GRU."""
    return tuple(
        0.7 * rng.normal(size=s) for s in ((3 * units, inputs), (3 * units, units), 4 * units)
    )


def some_cells(rng, inputs):
    """Return wx, wh, b of plain cells."""
    return tuple(0.7 * rng.normal(size=s) for s in ((J, inputs), (J, J), J))


def a_tagger(rng):
    x, (first, last) = rng.normal(size=(T, K)), rng.normal(size=(2, J))
    top = rng.normal(size=(V, 2 * J)), rng.normal(size=V)
    return x, first, last, some_cells(rng, K), some_cells(rng, K), *top


def a_pair(rng):
    x, read = rng.normal(size=(T, K)), rng.normal(size=(U, L))
    top = rng.normal(size=(V, J)), rng.normal(size=V)
    return x, read, rng.normal(size=J), a_layer(rng, K), a_layer(rng, L), *top


def some_errors(rng):
    wx, wh, b = a_layer(rng, L)
    d, gates = gru_states(rng.normal(size=(U, L)), rng.normal(size=J), wx, wh, b)
    return rng.normal(size=(U, J)), gates, d, wh


KERNELS = [
    (
        tasks.summed_loss,
        lambda rng: (rng.normal(size=(3, T, V)), rng.integers(V, size=(3, T)), np.array([T, 0, 2])),
    ),
    (tasks.tagged, a_tagger),
    (tasks.encoder_decoder, a_pair),
    (tasks.log_likelihood, lambda rng: (rng.normal(size=(U, V)), rng.integers(V, size=U))),
    (tasks.encoder_gradient, some_errors),
    (tasks.teacher_forcing, lambda rng: (rng.integers(V, size=(3, U)), 1)),
    (tasks.beam_step, lambda rng: (rng.normal(size=3), rng.normal(size=(3, V)), 4)),
    (tasks.length_normalized, lambda rng: (-3.5, 4, 0.7)),
    (tasks.frequency, lambda rng: (64.0,)),
]


def gru(x, h, wx, wh, b):
    """Return the next state of a GRU, in NumPy, of any dtype."""
    J, p, q = len(wh) // 3, wx @ x + b[: len(wh)], wh @ h
    gates = special.expit((p + q)[: 2 * J])
    n = np.tanh(p[2 * J :] + gates[:J] * (q[2 * J :] + b[3 * J :]))
    return (1 - gates[J:]) * n + gates[J:] * h


# Kernels


def test_summed_loss(rng):
    o, y, lengths = KERNELS[0][1](rng)
    each = -np.take_along_axis(special.log_softmax(o, 2), y[..., None], 2)[..., 0]
    expected = each[np.arange(T) < lengths[:, None]].sum()
    assert tasks.summed_loss(o, y, lengths) == pytest.approx(expected, rel=1e-13)
    assert tasks.summed_loss(o, y, np.zeros(3, np.int64)) == 0
    o[0] = np.nan  # behind the end of an empty sequence
    assert np.isfinite(tasks.summed_loss(o, y, np.array([0, 1, 2])))


def test_a_tag_depends_on_what_follows(rng):
    given = a_tagger(rng)
    other = given[0].copy()
    other[-1] += 1
    before, after = tasks.tagged(*given), tasks.tagged(other, *given[1:])
    assert np.abs(after - before)[0].max() > 1e-4
    wy = given[5].copy()
    wy[:, J:] = 0  # the scores see one direction only
    one = [tasks.tagged(x, *given[1:5], wy, given[6]) for x in (given[0], other)]
    np.testing.assert_array_equal(one[0][:-1], one[1][:-1])


def test_encoder_decoder_by_numpy(rng):
    x, read, start, encoder, decoder, wy, by = a_pair(rng)
    h, rows = start, []
    for step in x:
        h = gru(step, h, *encoder)
    for step in read:
        h = gru(step, h, *decoder)
        rows.append(wy @ h + by)
    found = tasks.encoder_decoder(x, read, start, encoder, decoder, wy, by)
    assert relative_error(found, np.array(rows)) < 1e-13


def test_the_probabilities_of_all_outputs(rng):
    x, _, start, encoder, decoder, wy, by = a_pair(rng)
    decoder, total = a_layer(rng, V), 0.0
    for u in range(1, 4):
        for y in itertools.product(range(V), repeat=u):
            if 0 in y[:-1] or (y[-1] != 0 and u < 3):
                continue
            read = np.eye(V)[[1, *y[:-1]]]
            o = tasks.encoder_decoder(x, read, start, encoder, decoder, wy, by)
            total += np.exp(tasks.log_likelihood(o, np.array(y)))
    assert total == pytest.approx(1, rel=1e-12)


def test_what_is_handed_back(rng):
    wx, wh, b = a_layer(rng, L)
    read, start, dd = rng.normal(size=(U, L)), rng.normal(size=J), rng.normal(size=(U, J))

    def cost(d):
        total = 0
        for u in range(U):
            d = gru_any(read[u], d, wx, wh, b)
            total = total + dd[u] @ d
        return total

    d, gates = gru_states(read, start, wx, wh, b)
    found = tasks.encoder_gradient(dd, gates, d, wh)
    assert relative_error(found, complex_step(cost, start)) < 1e-13
    wrong = tasks.encoder_gradient(dd, gates, d, -wh)
    assert relative_error(wrong, complex_step(cost, start)) > 1e-2


def gru_any(x, h, wx, wh, b):
    """Return the next state, complex or real: SciPy's expit knows no complex numbers."""
    J, p, q = len(wh) // 3, wx @ x + b[: len(wh)], wh @ h
    gates = 1 / (1 + np.exp(-(p + q)[: 2 * J]))
    n = np.tanh(p[2 * J :] + gates[:J] * (q[2 * J :] + b[3 * J :]))
    return (1 - gates[J:]) * n + gates[J:] * h


@pytest.mark.parametrize("width", [1, 2, 7, 18, 50])
def test_beam_step_is_a_sort(width, rng):
    sums, logs = rng.normal(size=3), rng.normal(size=(3, V))
    whose, which, best = tasks.beam_step(sums, logs, width)
    every = sums[:, None] + logs
    np.testing.assert_array_equal(best, np.sort(every.ravel())[::-1][:width])
    np.testing.assert_array_equal(every[whose, which], best)
    assert len({*zip(whose.tolist(), which.tolist(), strict=True)}) == min(width, 18)


def test_beam_step_takes_the_first_of_equals():
    whose, which, best = tasks.beam_step(np.zeros(2), np.zeros((2, 3)), 4)
    assert (whose.tolist(), which.tolist(), best.tolist()) == ([0, 0, 0, 1], [0, 1, 2, 0], [0] * 4)
    _, which, best = tasks.beam_step(np.zeros(1), np.array([[-np.inf, -1.0, -np.inf]]), 2)
    assert which[0] == 1 and best[1] == -np.inf


# Beams


def a_language(seed, V=4):
    """Return a step in which each symbol depends on the two before, and its table."""
    draw = np.random.default_rng(seed)
    table = special.log_softmax(2 * draw.normal(size=(V, V, V)), axis=2)
    return (lambda before, now: (table[before[:, 0], now], now[:, None])), table


def all_sums(table, most):
    """Return {sequence: sum of logarithms} of all that end with symbol 0 within so many steps."""
    found = {}
    for u in range(most):
        for y in itertools.product(range(1, len(table)), repeat=u):
            y = (*y, 0)
            found[y] = sum(table[a, b, c] for a, b, c in zip((0, 0, *y), (0, *y), y, strict=False))
    return found


@pytest.mark.parametrize("power", [0.0, 0.7, 1.0])
@pytest.mark.parametrize("seed", range(5))
def test_a_wide_beam_is_brute_force(seed, power):
    step, table = a_language(seed)
    scores = {y: s / len(y) ** power for y, s in all_sums(table, 5).items()}
    ended = beam_search(
        step, np.zeros((1, 1), int), 0, 0, width=400, max_length=5, length_penalty=power
    )
    assert len(ended) == len(scores) == 121
    for (y, score), expected in zip(ended, sorted(scores.values(), reverse=True), strict=True):
        assert score == pytest.approx(expected, rel=1e-12)
        assert score == pytest.approx(scores[tuple(y.tolist())], rel=1e-12)


@pytest.mark.parametrize("seed", range(5))
def test_a_narrow_beam_finds_what_exists(seed):
    step, table = a_language(seed)
    scores = all_sums(table, 5)
    for width in (1, 2, 3):
        for y, score in beam_search(step, np.zeros((1, 1), int), 0, 0, width=width, max_length=5):
            assert score == pytest.approx(scores[tuple(y.tolist())], rel=1e-12)
            assert score <= max(scores.values()) + 1e-12


def test_greedy_misses_what_two_find():
    """0.6 · 0.5 for the first choice, 0.4 · 0.9 for the other one."""
    table = np.log(np.full((4, 4), 1e-9))
    table[0, 1:3] = np.log([0.6, 0.4])
    table[1, 0], table[1, 3], table[2, 0], table[3, 0] = np.log([0.5, 0.5, 0.9, 1.0])

    def step(state, now):
        return table[now], state

    for width, expected in ((1, 0.3), (2, 0.36)):
        (y, score), *_ = beam_search(step, np.zeros((1, 1)), 0, 0, width=width, max_length=3)
        assert np.exp(score) == pytest.approx(expected)
    assert y.tolist() == [2, 0]


def test_a_beam_that_never_ends():
    def step(state, now):
        return np.log(np.array([[1e-300, 1.0]] * len(now)))[:, :], state

    assert beam_search(step, np.zeros((1, 1)), 1, 0, width=1, max_length=5) == []


# The model


def a_model(rng, cls=EncoderDecoder, **more):
    """Return a model, parameters and checked lines, one of which is empty."""
    net = cls(**({"inputs": K, "hidden": 5, "outputs": V, "dtype": "float64"} | more))
    params = net.init(rng)
    params.flat[:] += 0.2 * rng.normal(size=params.flat.size)
    lengths, ends = np.array([3, 0, 6, 6, 1]), np.array([2, 4, 1, 3, 7])
    x, y = rng.integers(K, size=(5, 6)), rng.integers(2, net.outputs, size=(5, 7))
    y[np.arange(5), ends - 1] = net.end
    return net, params, net.check(params, (x, y, lengths, ends))


def one_by_one(net, params, batch):
    """Return the mean loss by the literal kernels, line by line."""
    total, (x, y, lengths, ends) = 0.0, batch
    layers = [(part.wx[0], part.wh[0], part.b[0]) for part in (params.encoder, params.decoder)]
    for n in range(len(x)):
        steps = np.eye(net.inputs)[x[n, : lengths[n]]].reshape(-1, net.inputs)
        target = y[n, : ends[n]]
        read = np.eye(net.outputs)[tasks.teacher_forcing(target[None], net.begin)[0]]
        of = steps, read, np.zeros(net.hidden), *layers, params.wy, params.by
        total -= tasks.log_likelihood(tasks.encoder_decoder(*of), target)
    return total / ends.sum()


def test_loss_is_the_literal_one(rng):
    net, params, batch = a_model(rng)
    assert net.loss(params, None, batch) == pytest.approx(one_by_one(net, params, batch), rel=1e-12)


@pytest.mark.parametrize("cell", ["gru", "lstm", "tanh"])
def test_every_gradient(cell, rng):
    net, params, batch = a_model(rng, cell=cell)
    grads = like(params)
    loss = net.loss_and_grad(params, None, batch, grads, net.workspace(5))
    assert loss == pytest.approx(net.loss(params, None, batch), rel=1e-12)

    def cost(flat):
        return net.loss(like(params, flat), None, batch)

    assert relative_error(grads.flat, central_differences(cost, params.flat)) < 1e-8
    for name, part in named(grads).items():
        assert np.abs(part).max() > 0, name


def test_memory_is_used_again(rng):
    """A second step on other lines, in the same memory, gives what fresh memory gives."""
    net, params, batch = a_model(rng)
    work, grads, fresh = net.workspace(5), like(params), like(params)
    net.loss_and_grad(params, None, batch, grads, work)
    some = net.check(params, tuple(part[:3] for part in batch))
    net.loss_and_grad(params, None, some, grads, work)
    net.loss_and_grad(params, None, some, fresh, net.workspace(3))
    np.testing.assert_array_equal(grads.flat, fresh.flat)
    assert work.all.memory.bytes > 0


def test_what_stands_behind_the_end_does_not_matter(rng):
    net, params, (x, y, lengths, ends) = a_model(rng)
    x2 = np.where(np.arange(6) < lengths[:, None], x, 99)
    y2 = np.where(np.arange(7) < ends[:, None], y, -5)
    for ours, theirs in zip(net.check(params, (x2, y2, lengths, ends)), (x, y), strict=False):
        inside = theirs != 0 if ours is None else ours
        assert inside.shape == theirs.shape
    found = net.loss(params, None, net.check(params, (x2, y2, lengths, ends)))
    assert found == net.loss(params, None, net.check(params, (x, y, lengths, ends)))


def test_greedy_is_a_beam_of_one(rng):
    net, params, (x, _, lengths, _) = a_model(rng, max_length=12)
    found = net.predict(params, None, x, lengths)
    for n in np.flatnonzero(lengths):
        ended = net.beam(params, x[n, : lengths[n]], 1)
        row = found[n][found[n] >= 0]
        if ended:
            assert ended[0][0].tolist() == row.tolist()
        else:
            assert len(row) == 12 and net.end not in row


def test_a_beam_over_a_network_is_brute_force(rng):
    net, params, (x, _, lengths, _) = a_model(rng, max_length=4, outputs=4)
    line = x[0, : lengths[0]]
    sums = {}
    for u in range(4):
        for y in itertools.product((0, 2, 3), repeat=u):
            y = np.array([[*y, 1]])
            batch = net.check(params, (line[None], y, lengths[:1], np.array([u + 1])))
            sums[tuple(y[0].tolist())] = -net.loss(params, None, batch) * (u + 1)
    best = max(sums, key=sums.get)
    ended = net.beam(params, line, 300)
    assert tuple(ended[0][0].tolist()) == best and len(ended) == len(sums)
    assert ended[0][1] == pytest.approx(sums[best], rel=1e-9)


@dataclass(frozen=True)
class Mean(Layer):
    """Beside each state of the decoder the mean of the encoder's, with a weight for each number."""

    learns = True

    def shape(self, s):
        return (s[0][0] + s[1][0],)

    def parameters(self, s):
        return {"w": s[1]}

    def forward(self, p, x, step):
        (d, h), (target, source) = x, step.rows
        lines = [
            rows.order[np.concatenate([np.arange(c) for c in rows.counts])]
            for rows in (target, source)
        ]
        n = len(source.order)
        mean = (lines[1] == np.arange(n)[:, None]) / np.maximum(
            np.bincount(lines[1], minlength=n), 1
        )[:, None]
        return np.hstack((d, (mean @ h * (1 + p.w))[lines[0]])), (
            d.shape[1],
            mean,
            mean @ h,
            lines[0],
        )

    def backward(self, p, dy, kept, grads, step):
        J, mean, found, lines = kept
        back = np.zeros_like(found)
        np.add.at(back, lines, dy[:, J:])
        grads.w[:] = np.sum(back * found, axis=0)
        return dy[:, :J].copy(), mean.T @ (back * (1 + p.w))


@dataclass(frozen=True)
class Looking(EncoderDecoder):
    """Scores are made of the decoder's state and of the mean of the encoder's."""

    attention = Mean()


def test_a_subclass_that_looks_at_the_encoder(rng):
    net, params, batch = a_model(rng, Looking)
    assert params.wy.shape == (V, 10)
    assert params.more[0].shape == (5,)
    grads = like(params)
    net.loss_and_grad(params, None, batch, grads, net.workspace(5))

    def cost(flat):
        return net.loss(like(params, flat), None, batch)

    assert relative_error(grads.flat, central_differences(cost, params.flat)) < 1e-8
    found = net.predict(params, None, batch[0], batch[2])
    assert found.shape[0] == 5


@compiled_only
def test_it_learns_to_copy(rng):
    """Three symbols are read and written again; the network is trained by the loop of the book."""
    x = rng.integers(4, size=(600, 3))
    y = np.column_stack((x + 2, np.ones(600, int)))
    three, four = np.full(600, 3), np.full(600, 4)
    net = EncoderDecoder(4, 32, 6, max_length=6)
    out = fit(
        net,
        net.init(rng),
        (x, y, three, four),
        Adam(0.02),
        rng,
        epochs=25,
        batch=30,
        clip=1.0,
        progress=False,
    )
    assert out.history.loss[-1] < 0.1 < out.history.loss[0]
    found = net.predict(out.params, None, x[:100])
    assert np.mean(found[:, :4] == y[:100]) > 0.97


@pytest.mark.parametrize(
    ("settings", "error", "words"),
    [
        ({"begin": 1}, ValueError, "begin and end are both 1"),
        ({"end": 6}, ValueError, "end is 6"),
        ({"outputs": 2}, ValueError, "outputs is 2"),
        ({"cell": "relu"}, ValueError, "cell is 'relu'"),
        ({"hidden": 0}, ValueError, "hidden is 0"),
        ({"max_length": 0}, ValueError, "max_length is 0"),
        ({"dtype": "int64"}, ValueError, "dtype is 'int64'"),
        ({"inputs": 1.5}, TypeError, "inputs is 1.5"),
    ],
)
def test_settings_are_checked(settings, error, words):
    with pytest.raises(error, match=words):
        EncoderDecoder(**({"inputs": 3, "hidden": 4, "outputs": 6} | settings))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda x, y, a, b: (x, y), "not a tuple"),
        (lambda x, y, a, b: (x + 9, y, a, b), "x holds the label"),
        (lambda x, y, a, b: (x, y + 9, a, b), "y holds the label"),
        (lambda x, y, a, b: (x, y[0], a, b), "y has shape"),
        (lambda x, y, a, b: (x, y[:2], a, b), "y has shape"),
        (lambda x, y, a, b: (x, y, a + 9, b), "lengths holds the label"),
        (lambda x, y, a, b: (x, y, a, 0 * b), "ends holds the label 0"),
        (lambda x, y, a, b: (x, 0 * y + 3, a, b), "expected the end, 1"),
    ],
)
def test_lines_are_checked(change, words, rng):
    net, params, batch = a_model(rng)
    with pytest.raises((TypeError, ValueError), match=words):
        net.check(params, change(*batch))


# Dates


def test_dates_are_what_they_say(rng):
    lines = tasks.dates(300, rng)
    assert set(lines.counts.tolist()) == {1, 2, 3, 4, 5, 6}
    for n, (written, iso) in enumerate(zip(lines.written, lines.iso, strict=True)):
        assert WRITTEN.decode(lines.x[n, : lines.lengths[n]]) == written
        assert ISO.decode(lines.y[n, : lines.ends[n]]) == iso + ">"
        pairs = list(zip(written.split("; "), iso.split(" "), strict=True))
        assert len(pairs) == lines.counts[n]
        for text, number in pairs:
            words = text.replace(",", "").split()
            month, day = sorted(words[:2], key=str.isdigit)
            names = [name[: len(month)] for name in tasks.MONTHS]
            assert (int(words[2]), names.index(month) + 1, int(day)) == (
                int(number[:4]),
                int(number[4:6]),
                int(number[6:]),
            )


@pytest.mark.parametrize(
    ("moved", "to", "day"),
    [("FIRST_DAY", "LAST_DAY", "20491231"), ("LAST_DAY", "FIRST_DAY", "19500101")],
)
def test_dates_go_from_the_first_day_to_the_last(moved, to, day, rng, monkeypatch):
    """Where the two are one day, every date is that day."""
    monkeypatch.setattr(tasks, moved, getattr(tasks, to))
    assert {*" ".join(tasks.dates(40, rng).iso).split()} == {day}


def test_four_forms():
    day = tasks.date(1987, 3, 3)
    assert [tasks.written_date(day, form) for form in range(4)] == [
        "3 March 1987",
        "March 3, 1987",
        "3 Mar 1987",
        "Mar 3, 1987",
    ]


def test_short_lines_are_more_frequent(rng):
    counts = tasks.dates(6000, rng).counts
    share = np.bincount(counts, minlength=7)[1:] / 6000
    expected = (1 / np.arange(1, 7)) / (1 / np.arange(1, 7)).sum()
    assert np.all(np.abs(share - expected) < 4.5 * np.sqrt(expected / 6000))


def test_dates_are_counted(rng):
    lines = tasks.dates(4, rng, min_dates=3, max_dates=3)
    found = lines.y.copy()
    found[np.arange(lines.y.shape[1]) >= lines.ends[:, None]] = -1
    whole, share = tasks.dates_right(found, lines)
    assert whole.all() and (share == 1).all()
    found[0, 12] = 2 + (found[0, 12] - 1) % 10  # another digit of the second date
    found[1, :9], found[1, 9:18] = lines.y[1, 9:18], lines.y[1, :9]  # exchanged
    found[2, lines.ends[2] - 1 :] = -1  # no end
    whole, share = tasks.dates_right(found, lines)
    assert whole.tolist() == [False, False, False, True]
    np.testing.assert_allclose(share, [2 / 3, 1 / 3, 1, 1])
    with pytest.raises(ValueError, match="found has shape"):
        tasks.dates_right(found[:2], lines)


def test_chunks(rng):
    x, y, lengths = tasks.chunks(
        [(np.arange(7), np.arange(7) % 2), (np.arange(2), np.zeros(2, int))], 3
    )
    assert x.tolist() == [[0, 1, 2], [3, 4, 5], [6, 0, 0], [0, 1, 0]]
    assert y.tolist() == [[0, 1, 0], [1, 0, 1], [0, 0, 0], [0, 0, 0]]
    assert lengths.tolist() == [3, 3, 1, 2]
    assert arrange(lengths, 3).counts.tolist() == [4, 3, 2]
    with pytest.raises(ValueError, match="no sequence"):
        tasks.chunks([], 3)
    with pytest.raises(ValueError, match="y of sequence 0"):
        tasks.chunks([(np.arange(4), np.arange(3))], 3)
