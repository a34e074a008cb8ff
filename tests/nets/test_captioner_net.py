"""The captioner of layers: against the equations, differences, wrong input."""

import numpy as np
import pytest
from compiled import compiled_only

from dlbook.captioning import caption_likelihood, coverage, decoded, places
from dlbook.nets import (
    Activation,
    BatchNorm,
    Captioner,
    Conv2d,
    Frozen,
    LookingLSTM,
    Network,
    Places,
    Sequential,
    check_model,
    fit,
    maps_of,
    taught,
    viewer,
)
from dlbook.nets.layer import new_step
from dlbook.nets.tree import built
from dlbook.optimization import Adam

LOOKS = "attention", "fixed", "uniform", "flat"
V, SHAPE = 7, (3, 4, 5)


def some(rng, N, U=6):
    """Return images and captions of unequal length, one of them the end alone."""
    ends = rng.integers(1, U + 1, N)
    ends[0] = 1
    y = rng.integers(2, V, (N, U))
    y[np.arange(N), ends - 1] = 1
    return rng.normal(size=(N, *SHAPE)), y, ends


def stirred(net, rng):
    """Return parameters near the first ones, none of them zero."""
    params = net.init(rng)
    params.flat[:] += 0.3 * rng.normal(size=params.flat.size)
    return params


def parts(params):
    """Return the decoder's parameters as the equations have them."""
    p = params.net
    d = p.decoder
    return (d.ws, d.bs), p.words.w, d.wq, (d.wx, d.wh, d.b), (p.scores.w, p.scores.b)


def test_the_network_computes_the_equations(rng):
    net = Captioner(SHAPE, V, 4, 3, dtype="float64")
    params = stirred(net, rng)
    x, y, ends = data = some(rng, 6)
    looks, total = net.looks(params, None, data), 0.0
    for image, words, end, looked in zip(x, y, ends, looks, strict=True):
        v = places(image, params.net.places.w)
        read = np.append(0, words[: end - 1])
        total -= caption_likelihood(words[:end], 0, v, parts(params))
        a = decoded(read, v, parts(params))[1]
        np.testing.assert_allclose(looked[:end], a, rtol=1e-12)
        assert not looked[end:].any()
    loss = net.loss(params, None, net.check(params, data))
    assert loss == pytest.approx(total / ends.sum(), rel=1e-12)


def test_coverage_is_added_to_what_is_made_small(rng):
    net = Captioner(SHAPE, V, 4, 3, dtype="float64")
    params = stirred(net, rng)
    data = some(rng, 5)
    batch = net.check(params, data)
    other = Captioner(SHAPE, V, 4, 3, coverage=0.5, dtype="float64")
    loss = other.loss_and_grad(params, None, batch, other.init(rng), other.workspace(5))
    pairs = zip(net.looks(params, None, data), data[2], strict=True)
    more = np.mean([coverage(a[:end], 0.5) for a, end in pairs])
    assert loss == pytest.approx(net.loss(params, None, batch) + more, rel=1e-12)


@compiled_only
@pytest.mark.parametrize("look", LOOKS)
@pytest.mark.parametrize("encoder", [False, True])
@pytest.mark.parametrize("N", [1, 5])
def test_gradients_are_those_of_the_loss(rng, look, encoder, N):
    """A single caption here is the end alone; an encoder learns with the rest."""
    layers = Sequential(Conv2d(2, 3, padding=1), Activation("tanh")) if encoder else None
    more = 0.4 if look == "attention" else 0.0
    net = Captioner(SHAPE, V, 4, 3, look, encoder=layers, coverage=more, dtype="float64")
    assert check_model(net, some(rng, N)).error < 1e-8


@compiled_only
def test_an_encoder_with_statistics_learns_with_the_rest(rng):
    layers = Sequential(Conv2d(2, 3, padding=1), BatchNorm(), Activation("tanh"))
    net = Captioner(SHAPE, V, 4, 3, encoder=layers, dtype="float64")
    assert check_model(net, some(rng, 4)).error < 1e-7


def test_a_frozen_encoder_gives_what_its_maps_give(rng):
    """The same captioner, over images and over the maps that the encoder makes of them."""
    body = viewer((2, 2, 3))
    seen = Network((3, 8, 8), body, dtype="float64")
    values, x = stirred(seen, rng), rng.normal(size=(4, 3, 8, 8))
    whole = Captioner((3, 8, 8), V, 4, 3, encoder=Frozen(body, values), dtype="float64")
    params, state = stirred(whole, rng), whole.start()
    maps = seen.outputs(values, seen.start(), np.ascontiguousarray(x.transpose(0, 2, 3, 1)))
    net = Captioner((3, 2, 2), V, 4, 3, dtype="float64")
    mine = net.init(rng)
    assert params.flat.size == mine.flat.size
    mine.flat[:] = params.flat
    found = net.predict(mine, None, maps.transpose(0, 3, 1, 2))
    np.testing.assert_array_equal(whole.predict(params, state, x), found)


@pytest.mark.parametrize("look", LOOKS)
def test_writing_word_by_word_gives_the_scores_of_training(rng, look):
    net = Captioner(SHAPE, V, 4, 3, look, dtype="float64")
    params = stirred(net, rng)
    x, y, ends = data = some(rng, 5)
    state, step = net.stepper(params, None, x)
    assert state.shape == (5, 9)
    words, total = np.zeros(5, np.int64), 0.0
    for u in range(y.shape[1]):
        logs, state = step(state, words)
        words = np.where(u < ends, y[:, u], 1)
        total -= logs[np.arange(5), words][u < ends].sum()
    loss = net.loss(params, None, net.check(params, data))
    assert total / ends.sum() == pytest.approx(loss, rel=1e-12)


def test_fixed_looks_depend_on_the_number_of_the_word_alone(rng):
    """Behind the last row of the table the last weights serve; images do not matter."""
    net = Captioner(SHAPE, V, 4, 3, "fixed", max_length=4, dtype="float64")
    params, (x, y, ends) = stirred(net, rng), some(rng, 5)
    table = np.exp(params.net.decoder.table)
    table /= table.sum(axis=1, keepdims=True)
    for found, end in zip(net.looks(params, None, (x, y, ends)), ends, strict=True):
        np.testing.assert_allclose(found[:end], table[[0, 1, 2, 3, 3, 3]][:end], rtol=1e-12)


@pytest.mark.parametrize("look", LOOKS)
def test_greedy_is_a_beam_of_one(rng, look):
    net = Captioner(SHAPE, V, 4, 3, look, max_length=12)
    params = stirred(net, rng)
    x = some(rng, 5)[0]
    found = net.predict(params, None, x)
    for image, row in zip(x, found, strict=True):
        for y, _ in net.beam(params, None, image, 1):
            assert y.tolist() == row[row >= 0].tolist()


def test_a_beam_is_empty_where_no_caption_ends_in_time(rng):
    net = Captioner(SHAPE, V, 4, 3, max_length=1)
    params = net.init(rng)
    params.net.scores.b[1] = -100
    x = some(rng, 2)[0]
    assert net.beam(params, None, x[0], 1) == []
    assert (net.predict(params, None, x) != 1).all()
    with pytest.raises(ValueError, match="width is 0"):
        net.beam(params, None, x[0], 0)


def test_many_images_are_written_for_in_parts(rng):
    net = Captioner(SHAPE, V, 4, 3)
    params, (x, y, ends) = stirred(net, rng), some(rng, 300)
    found, alone = net.predict(params, None, x), net.predict(params, None, x[290:])
    np.testing.assert_array_equal(found[290:, : alone.shape[1]], alone)
    looks = net.looks(params, None, (x, y, ends))
    alone = net.looks(params, None, (x[290:], y[290:], ends[290:]))
    np.testing.assert_allclose(looks[290:], alone, rtol=1e-5)
    part = [
        net.loss(params, None, net.check(params, (x[a], y[a], ends[a])))
        for a in np.arange(300)[:, None]
    ]
    loss = net.loss(params, None, net.check(params, (x, y, ends)))
    assert loss == pytest.approx(np.dot(part, ends) / ends.sum(), rel=1e-5)


def test_layers_say_what_every_part_gives(rng):
    net = Captioner(SHAPE, V, 4, 3, encoder=Sequential(Conv2d(2, 3, padding=1)))
    params = net.init(rng)
    batch = net.check(params, some(rng, 5))
    found = {name: part.shape for name, part in net.layers(params, None, batch)}
    R = batch[2].sum()
    wanted = {"encoder": (5, 4, 5, 2), "places": (5, 20, 2), "words": (R, 3)}
    assert list(found.items()) == list((wanted | {"decoder": (R, 6), "scores": (R, V)}).items())
    assert net.outputs(params, None, batch).shape == (R, V)


def test_the_gradient_of_the_images(rng):
    """Held against differences in a direction, through positions and encoder."""
    net = Captioner(SHAPE, V, 4, 3, encoder=Conv2d(2, 3, padding=1), dtype="float64")
    params = stirred(net, rng)
    x, y, ends = net.check(params, some(rng, 3))
    step = new_step("float64", wants=True)
    entered, targets = net._entered(step, (x, y, ends))
    z, kept = net.net.forward(params.net, entered, step)
    net._cost_of(z, targets)
    dx, _ = net.net.backward(params.net, z, kept, None, step)
    way = rng.normal(size=x.shape)
    ahead, back = (net.loss(params, None, (x + e * way, y, ends)) for e in (1e-6, -1e-6))
    assert (ahead - back) / 2e-6 == pytest.approx(np.sum(dx * way), rel=1e-6)


def test_a_viewer_is_taught(rng):
    """It learns what is there and of which colour, in a few steps on easy images."""
    net = taught(8, (2, 2), channels=(4, 4, 4))
    kind, colour = rng.integers(2, size=(2, 64))
    x = np.zeros((64, 3, 8, 8), np.float32)
    for n in range(64):
        x[n, colour[n], 2:6, 2:6] = [[0.1] * 4, [1.0] * 4][kind[n]]
    out = fit(net, net.init(rng), (x, (kind, colour)), Adam(0.01), rng, epochs=20, batch=16)
    found = net.predict(out.params, out.state, x)
    assert [np.mean(a == b) for a, b in zip(found, (kind, colour), strict=True)] == [1, 1]
    maps = maps_of(net, out.params, out.state, x)
    assert maps.shape == (64, 4, 2, 2)
    heads, most = out.params.net.heads, maps.max(axis=(2, 3))
    for answer, head in zip(found, heads, strict=True):
        assert ((most @ head.w.T + head.b).argmax(axis=1) == answer).all()
    with pytest.raises(TypeError, match="state is None"):
        maps_of(net, out.params, None, x)


def test_layers_by_themselves(rng):
    assert Places().shape((6, 6, 32)) == (36, 32)
    for layer, width in zip(map(LookingLSTM, [4] * 4, LOOKS), (6, 6, 6, 4), strict=True):
        assert layer.shape(((3,), (20, 2))) == (width,)
        params = built(layer.parameters(((3,), (20, 2))), "float32")
        layer.draw(params.net, rng)
        assert (params.net.b[4:8] == 1).all()
    with pytest.raises(ValueError, match=r"wants two inputs, \(\(e,\), \(s, c\)\)"):
        LookingLSTM(4).shape((3,))
    with pytest.raises(ValueError, match=r"coverage is 0\.1, and with look='flat'"):
        LookingLSTM(4, "flat", 0.1)
    with pytest.raises(ValueError, match="look is 'nowhere'"):
        LookingLSTM(4, "nowhere")


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ({"input": (3, 4)}, "input is"),
        ({"words": 2}, "words is 2"),
        ({"begin": 1}, "begin and end are both 1"),
        ({"end": V}, "end is 7"),
        ({"look": "there"}, "look is 'there'"),
        ({"hidden": 0}, "hidden is 0"),
        ({"width": 0}, "width is 0"),
        ({"coverage": -1.0}, "coverage is -1"),
        ({"max_length": 0}, "max_length is 0"),
        ({"dtype": "float16"}, "dtype is 'float16'"),
        ({"encoder": "cnn"}, "encoder is 'cnn'"),
    ],
)
def test_wrong_settings(how, words):
    with pytest.raises((TypeError, ValueError), match=words):
        Captioner(**({"input": SHAPE, "words": V, "hidden": 4, "width": 3} | how))


def test_wrong_data(rng):
    net = Captioner(SHAPE, V, 4, 3)
    params, (x, y, ends) = net.init(rng), some(rng, 4)
    for given, words in (
        ((x, y), r"not a tuple \(x, y, ends\)"),
        ((x[:, :2], y, ends), "the network's input"),
        ((x, y[0], ends), r"y has shape \(6,\)"),
        ((x, y[:, :0], ends), r"y has shape \(4, 0\)"),
        ((x, y, ends * 0), "ends"),
        ((x, y + V, ends), "y"),
        ((x, np.full_like(y, 2), ends), "expected the end, 1"),
        ((x[:3], y, ends), "n"),
    ):
        with pytest.raises((TypeError, ValueError), match=words):
            net.check(params, given)
    y[0, 1:] = -5  # behind the end nothing is looked at
    assert net.check(params, (x, y, ends))[1][0, 1:].tolist() == [1] * 5
    flat = Captioner(SHAPE, V, 4, 3, "uniform")
    with pytest.raises(ValueError, match="does not learn where to look"):
        flat.looks(flat.init(rng), None, (x, y, ends))
