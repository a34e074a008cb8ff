"""The decoder and its parts: against the kernels of the chapter, differences, and what is kept."""

import itertools

import numpy as np
import pytest

from dlbook import attention as att
from dlbook import transformer as tr
from dlbook.language_models import generate
from dlbook.nets import (
    Dense,
    Dropout,
    Embedding,
    Gaussian,
    LayerNorm,
    Network,
    Positions,
    Scale,
    Sequential,
    Tied,
    Transformer,
    TransformerBlock,
    check_model,
)
from dlbook.nets.diagram import diagram, told
from dlbook.nets.layer import new_step
from dlbook.nets.rows import carry
from dlbook.nets.table import table
from dlbook.nets.tree import built
from dlbook.neurons import gelu_tanh
from dlbook.tools.flat import like
from dlbook.training import layernorm

V, M, L, H, C = 7, 4, 2, 2, 6


def small(**settings):
    """Return a small decoder in float64."""
    return Transformer(V, M, L, H, C, dtype="float64", **settings)


def drawn(net, rng):
    """Return parameters of which none is zero."""
    params = net.init(rng)
    params.flat[:] += 0.1 * rng.standard_normal(params.flat.size)
    return params


def block_of(x, p):
    """Return what a block with norms first gives, by the kernels of its parts; GELU in its tanh form."""
    n = layernorm(x, *p.norm, 1e-5)
    seen = att.causal_mask(len(x), len(x), 0)
    x = x + att.multi_head(n, n, *p.attention[:4], H, seen)
    z = layernorm(x, *p.norm2, 1e-5) @ p.feed[0].w.T + p.feed[0].b
    return x + gelu_tanh(z) @ p.feed[2].w.T + p.feed[2].b


def without_biases(params):
    """Let the projections of attention have none, like those of the chapter's kernels."""
    for p in params.net.blocks:
        for b in p.attention[4:]:
            b[:] = 0
    return params


# Against the chapter


def test_the_decoder_computes_the_equations(rng):
    net, ids = small(), rng.integers(V, size=(3, 5))
    params = without_biases(drawn(net, rng))
    for row, found in zip(ids, net.outputs(params, None, ids), strict=True):
        x = params.net.tokens.w[row] + params.net.positions.w[:5]
        for p in params.net.blocks:
            x = block_of(x, p)
        expected = layernorm(x, *params.net.norm, 1e-5) @ params.net.tokens.w.T
        np.testing.assert_allclose(found, expected, atol=1e-12)


def test_how_many_parameters_there_are():
    assert Transformer(50257, 768, 12, 12, 1024).size == 124_439_808
    for hidden in (None, 5):
        net = Transformer(V, M, L, H, C, hidden)
        counted = tr.parameters(V, C, M, hidden or 4 * M, L)
        assert net.size == counted == net.init(np.random.default_rng(0)).flat.size
    assert small(tied=False).size == small().size + V * M
    assert small(positions="sinusoid").size == small().size - C * M
    assert small(hidden=0).size == small().size - L * (8 * M * M + 7 * M)


@pytest.mark.parametrize("norm", ["pre", "post"])
@pytest.mark.parametrize("residual", [True, False])
def test_a_block_is_its_parts_one_after_the_other(rng, norm, residual):
    block = TransformerBlock(M, H, 5, norm=norm, residual=residual)
    params = built(block.parameters((3, M)), "float64")
    params.flat[:] = rng.normal(size=params.flat.size)
    x, step = rng.normal(size=(2, 3, M)), new_step("float64", wants=True)
    part = lambda i, x: block.layers[i].forward(params.net[i], x, new_step("float64"))[0].copy()
    y = x
    for i in (0, 2):
        inner = part(i + 1, part(i, y) if norm == "pre" else y) + (y if residual else 0)
        y = inner if norm == "pre" else part(i, inner)
    before = x.copy()
    assert np.array_equal(block.forward(params.net, x, step)[0], y)
    assert np.array_equal(x, before)


def test_scores_are_made_with_the_vectors_of_the_symbols(rng):
    net = Network((4,), Tied(Embedding(V, M), Dense(M)), symbols=V, dtype="float64")
    params, x = drawn(net, rng), rng.integers(V, size=(2, 4))
    E, (w, b) = params.net[0].w, params.net[1]
    np.testing.assert_allclose(net.outputs(params, None, x), (E[x] @ w.T + b) @ E.T, atol=1e-13)
    check_model(net, (x, rng.integers(V, size=(2, 4))))
    grads, batch = like(params), (x, x)
    net.loss_and_grad(params, None, batch, grads, net.workspace(2))
    flat, other = grads.flat.copy(), like(params)
    net.loss_and_grad(params, None, batch, other, net.workspace(2))
    assert np.array_equal(flat, other.flat)


# Differences


KINDS = [
    {},
    {"tied": False},
    {"positions": "sinusoid"},
    {"norm": "post"},
    {"residual": False},
    {"hidden": 0},
    {"hidden": 5, "tied": False, "positions": "sinusoid", "norm": "post"},
    {"dropout": 0.3},
    {"dropout": 0.3, "hidden": 0, "norm": "post"},
]


@pytest.mark.parametrize("settings", KINDS, ids=str)
def test_gradients_are_those_of_the_loss(rng, settings):
    """What follows in one text counts, in the other only what follows its last two symbols."""
    x, y = rng.integers(V, size=(2, 2, 4))
    y[1, :2] = -1
    check_model(small(**settings), (x, y), count=6)


@pytest.mark.parametrize("causal", [True, False])
def test_blocks_of_numbers(rng, causal):
    block = TransformerBlock(M, 1, causal=causal)
    net = Network((3, M), Sequential(Positions(3), Scale(-0.5), block), Gaussian(), dtype="float64")
    check_model(net, (rng.normal(size=(2, 3, M)), rng.normal(size=(2, 3, M))), count=6)


def test_what_does_not_count_changes_nothing(rng):
    net, x = small(), rng.integers(V, size=(2, 4))
    params, y = drawn(net, rng), rng.integers(V, size=x.shape)
    one = np.where(np.arange(4) == 2, y, -1)
    z = net.outputs(params, None, x)[:, 2]
    expected = np.mean(np.log(np.exp(z).sum(axis=1)) - z[[0, 1], y[:, 2]])
    assert np.isclose(net.loss(params, None, net.check(params, (x, one))), expected)
    grads = like(params)
    batch = net.check(params, (x, one))
    assert np.isclose(net.loss_and_grad(params, None, batch, grads, net.workspace(2)), expected)
    none = net.check(params, (x, np.full_like(x, -1)))
    assert net.loss(params, None, none) == 0
    assert net.loss_and_grad(params, None, none, grads, net.workspace(2)) == 0
    assert not grads.flat.any()


def test_a_long_batch_goes_up_in_parts(rng, monkeypatch):
    from dlbook.nets import transformer

    net, x = small(), rng.integers(V, size=(5, 4))
    params, y = drawn(net, rng), rng.integers(V, size=x.shape)
    batch = net.check(params, (x, y))
    whole = (
        net.outputs(params, None, x),
        net.loss(params, None, batch),
        net.predict(params, None, x),
    )
    monkeypatch.setattr(transformer, "AT_ONCE", 8)
    np.testing.assert_allclose(net.outputs(params, None, x), whole[0], atol=1e-14)
    assert np.isclose(net.loss(params, None, batch), whole[1], rtol=1e-13)
    assert np.array_equal(net.predict(params, None, x), whole[2])
    assert np.array_equal(whole[2], whole[0].argmax(axis=-1))


def test_first_weights_of_what_is_added_shrink_with_depth():
    draw = lambda **settings: Transformer(V, 64, **settings).init(np.random.default_rng(0)).net
    shallow, deep = draw(blocks=1, heads=2, length=4), draw(blocks=16, heads=2, length=4)
    for part in (lambda p: p.blocks[0].attention.wo, lambda p: p.blocks[0].feed[2].w):
        assert np.allclose(part(shallow).std(), 4 * part(deep).std(), rtol=0.05)
    alone = draw(blocks=16, heads=2, length=4, residual=False)
    assert np.isclose(alone.blocks[0].attention.wo.std(), 64**-0.5, rtol=0.05)
    dropped = draw(blocks=16, heads=2, length=4, dropout=0.1)
    assert np.isclose(dropped.blocks[0].attention[0].wo.std(), 64**-0.5 / 32**0.5, rtol=0.05)


def test_places_go_on_from_where_they_stopped(rng):
    layer, step = Positions(5), new_step("float64")
    params = built(layer.parameters((5, M)), "float64")
    layer.draw(params.net, rng)
    found = []
    for steps in (2, 3):
        found.append(layer.forward(params.net, np.zeros((2, steps, M)), step)[0].copy())
        carry(step)
    assert np.array_equal(np.concatenate(found, 1), np.broadcast_to(params.net.w, (2, 5, M)))
    with pytest.raises(ValueError, match="has 5 places and gets step 6"):
        layer.forward(params.net, np.zeros((2, 1, M)), step)


# What is kept


WAYS = [*itertools.product(("learned", "sinusoid"), ("pre", "post"), (True, False), (None, 0))]


@pytest.mark.parametrize(("positions", "norm", "residual", "hidden"), WAYS)
def test_a_step_gives_what_the_whole_gives(rng, positions, norm, residual, hidden):
    how = {"positions": positions, "norm": norm, "residual": residual, "hidden": hidden}
    net, ids = small(tied=hidden is None, **how), rng.integers(V, size=(3, C))
    params, cache = drawn(net, rng), None
    whole, cache = net.outputs(params, None, ids), net.cache(3)
    for t in range(C):
        np.testing.assert_allclose(net.step(params, ids[:, t], cache), whole[:, t], atol=1e-12)
    assert cache.steps == C
    with pytest.raises(ValueError, match="6 symbols were read, the context has no place"):
        net.step(params, ids[:, 0], cache)


def test_keys_and_values_are_those_of_the_kernel(rng):
    net, ids = small(), rng.integers(V, size=C)
    params, cache = without_biases(drawn(net, rng)), net.cache()
    p, nothing = params.net.blocks[0], np.zeros((0, M))
    x = params.net.tokens.w[ids] + params.net.positions.w
    feed, k, v = (p.feed[0].w, p.feed[0].b, p.feed[2].w, p.feed[2].b), nothing, nothing
    for t in range(C):
        net.step(params, ids[t : t + 1], cache)
        parts = tuple(p.norm), tuple(p.attention[:4]), tuple(p.norm2), feed
        _, k, v = tr.cached_block(x[t : t + 1], k, v, *parts, H)
    np.testing.assert_allclose(cache.keys[0, 0], k, atol=1e-13)
    np.testing.assert_allclose(cache.values[0, 0], v, atol=1e-13)


def test_a_reader_says_what_the_whole_says(rng):
    net, ids = small(), rng.integers(V, size=C)
    params = drawn(net, rng)
    read = net.reader(params)

    def afresh(text):
        z = net.outputs(params, None, np.asarray(text)[None])[0, -1]
        return np.exp(z) / np.exp(z).sum()

    for text in (ids[:2], ids[:5], ids, ids, ids[:3], ids[::-1], [*ids[:3], (ids[3] + 1) % V]):
        np.testing.assert_allclose(read(text), afresh(text), atol=1e-12)


def test_a_reader_of_long_texts_begins_anew_with_their_end(rng):
    net, ids = small(), rng.integers(V, size=4 * C)
    params = drawn(net, rng)
    read, other = net.reader(params, keep=2), net.reader(params)
    for t in range(1, len(ids) + 1):
        first = max(0, -(-(t - C) // 4) * 4)
        assert first + 2 < t <= first + C or t <= C
        np.testing.assert_allclose(read(ids[:t]), other(ids[first:t]), atol=1e-13)
    assert np.array_equal(net.reader(params, keep=2)(ids), read(ids))
    drawn_by = generate(net.reader(params, keep=2), ids[:3], 20, np.random.default_rng(0))
    assert drawn_by.shape == (20,)


# What does not fit


def test_texts_that_do_not_fit(rng):
    net = small()
    params = net.init(rng)
    read = net.reader(params)
    for text, words in (
        (np.zeros(0, int), "text is empty"),
        ([0] * (C + 1), "text has 7 symbols, the context 6"),
        ([0, V], r"text"),
        ([0, -1], r"text"),
    ):
        with pytest.raises(ValueError, match=words):
            read(text)
    with pytest.raises(TypeError):
        read([0.5])
    with pytest.raises(ValueError, match="the context 6"):
        generate(read, [0] * C, 2, rng)
    for keep in (0, C, -1):
        with pytest.raises(ValueError, match="keep"):
            net.reader(params, keep)
    for x, words in (
        (np.zeros((2, 0), int), "x is empty"),
        (np.zeros((2, C + 1), int), "7 symbols in a row"),
        (np.full((2, 3), V), "x"),
        (np.zeros(3, int), "x"),
    ):
        with pytest.raises(ValueError, match=words):
            net.predict(params, None, x)
    x = np.zeros((2, 3), int)
    for y in (np.full((2, 3), -2), np.full((2, 3), V), np.zeros((2, 4), int), x[0]):
        with pytest.raises(ValueError, match="y"):
            net.check(params, (x, y))
    with pytest.raises(TypeError, match="y"):
        net.check(params, (x, x - 1.0))
    with pytest.raises(TypeError, match="data is not a pair"):
        net.check(params, (x,))


def test_one_step_is_enough(rng):
    net, x = Transformer(V, M, L, H, 1, dtype="float64"), rng.integers(V, size=(3, 1))
    check_model(net, (x, (x + 1) % V), count=5)
    params = net.init(rng)
    assert net.predict(params, None, x).shape == (3, 1)
    assert np.isclose(net.reader(params)([0]).sum(), 1)


def test_caches_that_do_not_fit(rng):
    net = small()
    params = net.init(rng)
    for cache in (None, Transformer(V, M, 3, H, C, dtype="float64").cache(), net.cache(2)):
        with pytest.raises((TypeError, ValueError), match=r"cache"):
            net.step(params, [0], cache)
    for symbols in ([V], [-1]):
        with pytest.raises(ValueError, match="symbols"):
            net.step(params, symbols, net.cache())
    with pytest.raises(ValueError, match="n is 0"):
        net.cache(0)


@pytest.mark.parametrize(
    ("settings", "error", "words"),
    [
        ({"symbols": 0}, ValueError, "symbols is 0"),
        ({"width": 0}, ValueError, "width is 0"),
        ({"blocks": 0}, ValueError, "blocks is 0"),
        ({"heads": 3}, ValueError, "heads is 3, which does not divide the width 4"),
        ({"length": 0}, ValueError, "length is 0"),
        ({"hidden": -1}, ValueError, "hidden is -1"),
        ({"dropout": 1.0}, ValueError, "dropout is 1"),
        ({"tied": 1}, TypeError, "tied is 1, expected True or False"),
        ({"residual": 0}, TypeError, "residual is 0, expected True or False"),
        ({"positions": "none"}, ValueError, "positions is 'none'"),
        ({"norm": "batch"}, ValueError, "norm is 'batch'"),
        ({"dtype": "int64"}, ValueError, "dtype is 'int64'"),
    ],
)
def test_settings_that_do_not_fit(settings, error, words):
    given = {"symbols": V, "width": M, "blocks": L, "heads": H, "length": C}
    with pytest.raises(error, match=words):
        Transformer(**given | settings)


def test_parts_that_do_not_fit():
    with pytest.raises(TypeError, match="Tied begins with Dense"):
        Tied(Dense(3))
    with pytest.raises(ValueError, match="compares vectors of 4 numbers and gets"):
        Tied(Embedding(V, 4), Dense(3)).shape((2,))
    with pytest.raises(ValueError, match=r"wants sequences \(t, 4\)"):
        TransformerBlock(4, 2).shape((3, 5))
    with pytest.raises(ValueError, match="has 4 places and gets 5 steps"):
        Positions(4).shape((5, 3))
    for words, wrong in (
        ("length is 0", lambda: Positions(0)),
        ("scale is -1", lambda: Positions(3, -1.0)),
        ("factor is nan", lambda: Scale(np.nan)),
    ):
        with pytest.raises(ValueError, match=words):
            wrong()


def test_blocks_are_equal_where_their_settings_are():
    assert TransformerBlock(4, 2) == TransformerBlock(4, 2, 16)
    assert hash(TransformerBlock(4, 2)) == hash(TransformerBlock(4, 2, 16))
    for other in (TransformerBlock(4, 2, norm="post"), TransformerBlock(4, 1), LayerNorm()):
        assert TransformerBlock(4, 2) != other
    assert TransformerBlock(4, 2) != TransformerBlock(4, 2, residual=False)
    assert repr(TransformerBlock(4, 2)).startswith("TransformerBlock(4, 2, hidden=16, causal=True")


def test_dropout_drops_in_training_alone(rng):
    net, x = small(dropout=0.5), rng.integers(V, size=(2, 4))
    params = drawn(net, rng)
    assert net.size == small().size and isinstance(net.net.layers[2], Dropout)
    batch, grads = net.check(params, (x, x)), like(params)
    losses = {
        net.loss_and_grad(params, None, batch, grads, net.workspace(2), np.random.default_rng(s))
        for s in range(3)
    }
    assert len(losses) == 3
    assert net.loss(params, None, batch) == net.loss(params, None, batch)


def test_what_ties_its_scores_is_looked_at_as_a_whole(rng):
    """The parts of `Tied` do not give its scores; those of a decoder with a matrix of its own do."""
    x = rng.integers(5, size=(2, 3))
    for tied, last in ((True, "net"), (False, "net.scores")):
        net = Transformer(5, 4, 1, 2, 6, tied=tied)
        params = net.init(rng)
        name, scores = [*net.layers(params, None, (x, x))][-1]
        assert name == last
        row, ending = table(net.net, (3,)).rows[-1], "scores, tied" if tied else "dense 5"
        assert (row.shape, row.kind) == ((3, 5), ending)
        assert told(net.net).endswith(f", then {ending}")
        assert ending in [text.get_text() for text in diagram(net.net)[1].texts]
        np.testing.assert_allclose(scores, net.outputs(params, None, x), rtol=1e-5, atol=1e-6)
