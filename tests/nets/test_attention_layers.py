"""Layers of attention: against the kernels of the chapter, and differences."""

from dataclasses import dataclass

import numpy as np
import pytest
from compiled import compiled_only, same_bits

from dlbook import attention as att
from dlbook.fast.attend import PARALLEL_FROM
from dlbook.fast.sequences import arrange
from dlbook.nets.attention import LuongAttention, MultiHeadAttention, PositionalEncoding
from dlbook.nets.check import check_model
from dlbook.nets.containers import Container, Residual, Sequential
from dlbook.nets.costs import Gaussian
from dlbook.nets.layer import new_step
from dlbook.nets.layers import Activation, Dense
from dlbook.nets.network import Network
from dlbook.nets.norms import LayerNorm
from dlbook.nets.padded import PaddedNetwork
from dlbook.nets.tree import built
from dlbook.tools.flat import like
from dlbook.training import xavier

M, H = 8, 2
LONG, WIDE = (pytest.param(n, marks=compiled_only) for n in ((4, 70, 33), (3, 5, 130)))
HOW = [(False, False), (False, True), (True, False), (True, True)]  # (pair, causal)


def with_parameters(layer, s, rng, dtype="float64"):
    """Return parameters of a layer, none of them zero, and gradients that are NaN."""
    params = built(layer.parameters(s), dtype)
    layer.draw(params.net, rng)
    params.flat[:] += 0.3 * rng.standard_normal(params.flat.size)
    return params, like(params, np.full_like(params.flat, np.nan))


def there_and_back(layer, params, x, dz, grads, lengths=None, wants=True):
    """Return what a layer gives and ∂C/∂x, on the memory of one step."""
    step = new_step(params.flat.dtype, wants=wants)
    step.lengths = lengths
    z, kept = layer.forward(params.net, x, step)
    z = z.copy()
    return z, layer.backward(params.net, dz.copy(), kept, grads and grads.net, step)


def close(found, expected, rtol=1e-12):
    scale = max(1.0, np.abs(expected).max(initial=0))
    np.testing.assert_allclose(found, expected, rtol=0, atol=rtol * scale)


# Against the chapter


@pytest.mark.parametrize("heads", [1, 2, 8])
@pytest.mark.parametrize(("pair", "causal"), HOW)
def test_the_layer_computes_the_equations(rng, pair, causal, heads):
    N, T, S = 3, 6, 9 if pair else 6
    x = rng.normal(size=(N, T, M))
    y, dz = rng.normal(size=(N, S, M)) if pair else x, rng.normal(size=(N, T, M))
    lengths = np.array([S, 2, 0])
    layer = MultiHeadAttention(M, heads, causal, bias=False)
    params, grads = with_parameters(layer, (T, M), rng)
    z, dx = there_and_back(layer, params, (x, y) if pair else x, dz, grads, lengths)
    total = [np.zeros_like(w) for w in params.net]
    for n in range(N):
        seen = att.padding_mask(lengths[n], T, S)
        seen &= att.causal_mask(T, S, 0) if causal else True
        close(z[n], att.multi_head(x[n], y[n], *params.net, heads, seen))
        back = att.multi_head_backward(dz[n], x[n], y[n], *params.net, heads, seen)
        if pair:
            close(dx[0][n], back[0])
            close(dx[1][n], back[1])
        else:
            close(dx[n], back[0] + back[1])
        for w, part in zip(total, back[2:], strict=True):
            w += part
    for found, expected in zip(grads.net, total, strict=True):
        close(found, expected)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_first_weights_are_xaviers_and_biases_zero(dtype):
    params = built(MultiHeadAttention(M, H).parameters((5, M)), dtype)
    MultiHeadAttention(M, H).draw(params.net, np.random.default_rng(3))
    rng = np.random.default_rng(3)
    for w in params.net[:4]:
        assert np.array_equal(w, xavier((M, M), rng).astype(dtype))
    assert not params.flat[4 * M * M :].any()


def test_without_biases_they_are_zero(rng):
    """Also in the second step, when the memory has been used."""
    x, dz = rng.normal(size=(2, 3, 5, M))
    with_, without = MultiHeadAttention(M, H), MultiHeadAttention(M, H, bias=False)
    params, grads = with_parameters(with_, (5, M), rng)
    params.flat[4 * M * M :] = 0
    fewer, fewer_grads = with_parameters(without, (5, M), rng)
    fewer.flat[:] = params.flat[: 4 * M * M]
    step = new_step("float64", wants=True)
    for _ in range(2):
        z, kept = without.forward(fewer.net, x, step)
        z = z.copy()
        dx = without.backward(fewer.net, dz.copy(), kept, fewer_grads.net, step)
    expected = there_and_back(with_, params, x, dz, grads)
    assert np.array_equal(z, expected[0])
    assert np.array_equal(dx, expected[1])
    assert np.array_equal(fewer_grads.flat, grads.flat[: 4 * M * M])


def test_what_is_not_wanted_changes_nothing_else(rng):
    x, dz, layer = rng.normal(size=(3, 5, M)), rng.normal(size=(3, 5, M)), MultiHeadAttention(M, H)
    params, grads = with_parameters(layer, (5, M), rng)
    _, dx = there_and_back(layer, params, x, dz, grads)
    _, alone = there_and_back(layer, params, x, dz, None)
    assert np.array_equal(dx, alone)
    again = like(params)
    _, none = there_and_back(layer, params, x, dz, again, wants=False)
    assert none is None
    assert np.array_equal(again.flat, grads.flat)


@compiled_only
@pytest.mark.parametrize("causal", [False, True])
def test_inference_gives_the_bits_of_training(rng, causal):
    x, layer = rng.normal(size=(3, 70, M)), MultiHeadAttention(M, H, causal)
    params, _ = with_parameters(layer, (70, M), rng)
    still = new_step("float64", training=False)
    z, _ = layer.forward(params.net, x, still)
    assert np.array_equal(z, layer.forward(params.net, x, new_step("float64"))[0])


def test_no_example_at_all(rng):
    layer = MultiHeadAttention(M, H)
    params, grads = with_parameters(layer, (5, M), rng)
    z, dx = there_and_back(layer, params, np.ones((0, 5, M)), np.ones((0, 5, M)), grads)
    assert z.shape == dx.shape == (0, 5, M)
    assert (grads.flat == 0).all()


@compiled_only
def test_the_same_bits_for_any_number_of_threads(rng):
    x, dz, layer = *rng.normal(size=(2, 4, 300, M)), MultiHeadAttention(M, H)
    params, grads = with_parameters(layer, (300, M), rng)
    assert 4 * 300 * 300 * 2 * M > 2 * PARALLEL_FROM
    assert same_bits(lambda: (*there_and_back(layer, params, x, dz, grads), grads.flat))


# Padding


@compiled_only
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("pair", [False, True])
def test_padding_changes_nothing_and_has_no_gradient(rng, pair, causal):
    N, T, S = 4, 70, 90 if pair else 70
    x, lengths = rng.normal(size=(N, T, M)), np.array([S, 66, 1, 0])
    y, dz = rng.normal(size=(N, S, M)) if pair else x, rng.normal(size=(N, T, M))
    counts = np.arange(S) < lengths[:, None]
    if not pair:
        dz[~counts] = 0  # nobody asks what stands in the padding
    layer = MultiHeadAttention(M, H, causal)
    params, grads = with_parameters(layer, (T, M), rng)
    z, dx = there_and_back(layer, params, (x, y) if pair else x, dz, grads, lengths)
    dy = dx[1] if pair else dx
    assert (dy[~counts] == 0).all()
    assert (np.abs(dy[counts]).max(1) > 0).mean() > 0.7  # causal: some keys nobody sees
    other, again = y.copy(), like(params)
    other[~counts] = 1e3 * rng.normal(size=(np.sum(~counts), M))
    z2, dx2 = there_and_back(layer, params, (x, other) if pair else other, dz, again, lengths)
    some = ... if pair else counts
    assert np.array_equal(z[some], z2[some])
    assert np.array_equal(grads.flat, again.flat)
    assert np.array_equal(dy, dx2[1] if pair else dx2)


def test_a_sequence_without_keys_finds_the_bias(rng):
    layer = MultiHeadAttention(M, H)
    params, grads = with_parameters(layer, (5, M), rng)
    x, dz = rng.normal(size=(2, 2, 5, M))
    z, dx = there_and_back(layer, params, x, dz, grads, np.array([0, 5]))
    assert np.array_equal(z[0], np.broadcast_to(params.net.bo, (5, M)))
    assert (dx[0] == 0).all()


def test_lengths_are_found_further_up_and_a_container_may_set_others(rng):
    layer = Sequential(MultiHeadAttention(M, H))
    params, _ = with_parameters(layer, (5, M), rng)
    x, step = rng.normal(size=(2, 5, M)), new_step("float64")
    whole = layer.forward(params.net, x, step)[0].copy()
    step.lengths = np.array([5, 2])
    short = layer.forward(params.net, x, step)[0].copy()
    assert np.array_equal(whole[0], short[0])
    assert not np.allclose(whole[1], short[1])
    step.part(0).lengths = np.array([5, 5])
    assert np.array_equal(layer.forward(params.net, x, step)[0], whole)


# Pieces


def carried(step):
    """Let every layer go on from where it stopped."""
    if step.last is not None:
        step.start = step.last
    for part in step.parts.values():
        carried(part)


def in_pieces(layer, p, x, step, pieces):
    """Return what a layer gives for pieces of a sequence, one after the other."""
    found, first = [], 0
    for many in pieces:
        piece = np.ascontiguousarray(x[:, first : first + many])
        found.append(layer.forward(p, piece, step)[0].copy())
        carried(step)
        first += many
    return np.concatenate(found, 1)


@compiled_only
@pytest.mark.parametrize("pieces", [[1] * 70, [7] * 10, [66, 1, 3], [70]])
@pytest.mark.parametrize("training", [False, True])
def test_pieces_with_carried_keys_are_the_whole(rng, pieces, training):
    block = Sequential(
        PositionalEncoding(100),
        Residual(LayerNorm(), MultiHeadAttention(M, H, causal=True)),
        Residual(LayerNorm(), MultiHeadAttention(M, H, causal=True)),
    )
    params, _ = with_parameters(block, (70, M), rng)
    x = rng.normal(size=(3, 70, M))
    whole = block.forward(params.net, x, new_step("float64", training=training))[0]
    step = new_step("float64", training=training)
    close(in_pieces(block, params.net, x, step, pieces), whole)


def test_pieces_of_padded_sequences_are_the_whole(rng):
    """Lengths count carried keys too."""
    layer, x = MultiHeadAttention(M, H, causal=True), rng.normal(size=(3, 20, M))
    params, _ = with_parameters(layer, (20, M), rng)
    lengths, whole, step = np.array([20, 3, 13]), new_step("float64"), new_step("float64")
    whole.lengths = lengths
    z, _ = layer.forward(params.net, x, whole)
    for first in range(0, 20, 5):
        step.lengths = np.minimum(lengths, first + 5)
        some, _ = layer.forward(params.net, x[:, first : first + 5].copy(), step)
        close(some, z[:, first : first + 5])
        step.start = step.last


@pytest.mark.parametrize("pair", [False, True])
def test_gradients_of_pieces_are_that_of_the_whole(rng, pair):
    """The gradient by carried keys goes back to the piece that made them."""
    layer = MultiHeadAttention(M, H, causal=True)
    params, grads = with_parameters(layer, (12, M), rng)
    x, y, dz = rng.normal(size=(3, 2, 12, M))
    whole, back = there_and_back(layer, params, (x, y) if pair else x, dz, grads)
    total, steps, start = like(params), [], None
    parts = [slice(0, 5), slice(5, 6), slice(6, 12)]
    for at in parts:
        step = new_step("float64", wants=True)
        step.start = start
        some = (x[:, at].copy(), y[:, at].copy()) if pair else x[:, at].copy()
        z, kept = layer.forward(params.net, some, step)
        close(z, whole[:, at])
        steps.append((step, kept))
        start = step.last
    dlast = None
    for at, (step, kept) in list(zip(parts, steps, strict=True))[::-1]:
        own = like(params)
        step.dlast = dlast
        d = layer.backward(params.net, dz[:, at].copy(), kept, own.net, step)
        dlast, total.flat[:] = step.dstart, total.flat + own.flat
        for one, all_ in zip(d if pair else (d,), back if pair else (back,), strict=True):
            close(one, all_[:, at])
    assert dlast is None  # the first piece began with nothing
    close(total.flat, grads.flat)


def test_what_is_left_outlives_the_step(rng):
    layer, step = MultiHeadAttention(M, H, causal=True), new_step("float64")
    params, _ = with_parameters(layer, (5, M), rng)
    layer.forward(params.net, rng.normal(size=(3, 5, M)), step)
    left = step.last
    before = [a.copy() for a in left]
    layer.forward(params.net, rng.normal(size=(3, 5, M)), step)
    assert all(np.array_equal(a, b) for a, b in zip(left, before, strict=True))


# Blocks, and an encoder with a decoder


def block(width=M, heads=H, **how):
    """Return one block of a transformer, its norms in front."""
    return Sequential(
        Residual(LayerNorm(), MultiHeadAttention(width, heads, **how)),
        Residual(LayerNorm(), Dense(2 * width), Activation("gelu"), Dense(width)),
    )


@compiled_only
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("causal", [False, True])
def test_the_gradient_of_a_block_with_padded_keys(rng, causal, bias):
    net = Sequential(Dense(M), PositionalEncoding(70), block(causal=causal, bias=bias))
    model = PaddedNetwork((70, 3), net, Gaussian(), dtype="float64")
    x, y = rng.normal(size=(4, 70, 3)), rng.normal(size=(4, 70, M))
    assert check_model(model, (x, y, np.array([70, 3, 65, 1])), count=8).error < 1e-7


@dataclass(frozen=True, init=False)
class DecoderBlock(Container):
    """x + self(x), then + cross(x, y): the pair (x, y) goes in, so does it come out."""

    def __init__(self):
        super().__init__(MultiHeadAttention(M, H, causal=True), MultiHeadAttention(M, H))

    def inputs(self, s):
        return [s[0], s]

    def forward(self, p, xy, step):
        x, y = xy
        own, cross = step.part(0), step.part(1)
        own.lengths = np.full(len(x), x.shape[1])
        a, first = self.layers[0].forward(p[0], x, own)
        x = x + a
        b, second = self.layers[1].forward(p[1], (x, y), cross)
        return (x + b, y), (first, second)

    def backward(self, p, dxy, kept, grads, step):
        dx, dy = dxy
        d, e = self.layers[1].backward(p[1], dx.copy(), kept[1], grads[1], step.parts[1])
        dx = dx + d
        d = self.layers[0].backward(p[0], dx.copy(), kept[0], grads[0], step.parts[0])
        return dx + d, dy + e


@dataclass(frozen=True, init=False)
class Translator(Container):
    """The first steps are read by an encoder; the others ask what it made of them."""

    read: int
    ends: tuple

    def __init__(self, read, ends):
        encoder = Sequential(Dense(M), Residual(LayerNorm(), MultiHeadAttention(M, H)))
        super().__init__(encoder, Dense(M), Sequential(DecoderBlock(), DecoderBlock()))
        object.__setattr__(self, "read", read)
        object.__setattr__(self, "ends", ends)

    def inputs(self, s):
        t, k = s
        return [(self.read, k), (t - self.read, k), ((t - self.read, M), (self.read, M))]

    def shape(self, s):
        for layer, part in zip(self.layers, self.inputs(s), strict=True):
            layer.shape(part)
        return s[0] - self.read, M

    def forward(self, p, x, step):
        step.lengths = np.array(self.ends)[: len(x)]
        source, target = (np.ascontiguousarray(a) for a in np.split(x, [self.read], axis=1))
        h, a = self.layers[0].forward(p[0], source, step.part(0, False, False))
        e, b = self.layers[1].forward(p[1], target, step.part(1, False, False))
        (z, _), c = self.layers[2].forward(p[2], (e, h), step.part(2))
        return z, (a, b, c, h.shape)

    def backward(self, p, dz, kept, grads, step):
        a, b, c, shape = kept
        dx, dh = self.layers[2].backward(p[2], (dz, np.zeros(shape)), c, grads[2], step.parts[2])
        self.layers[1].backward(p[1], dx, b, grads[1], step.parts[1])
        self.layers[0].backward(p[0], dh, a, grads[0], step.parts[0])


@compiled_only
def test_the_gradient_of_an_encoder_and_a_decoder(rng):
    """Two blocks of causal attention to themselves, and of attention to a padded source."""
    net = Translator(70, (70, 3, 65, 1))
    model = Network((75, 3), net, Gaussian(), dtype="float64")
    data = rng.normal(size=(4, 75, 3)), rng.normal(size=(4, 5, M))
    assert check_model(model, data, count=6).error < 1e-7


# Luong's attention, of rows

LENGTHS, ENDS = np.array([4, 70, 1, 0, 65]), np.array([3, 2, 80, 4, 0])


def some_rows(rng, J=6, K=5):
    """Return states of a decoder and of an encoder by sequence, and as rows with their layouts."""
    pair = [rng.normal(size=(5, t, j)) for t, j in ((90, J), (75, K))]
    layouts = tuple(arrange(n, x.shape[1]) for n, x in zip((ENDS, LENGTHS), pair, strict=True))
    rows = tuple(x.reshape(-1, x.shape[2])[r.places] for x, r in zip(pair, layouts, strict=True))
    return pair, rows, layouts


@pytest.mark.parametrize("training", [False, True])
def test_luongs_attention_computes_the_equations(rng, training):
    """By sequence: one without anything to look at, and one that asks nothing."""
    layer, (pair, x, layouts) = LuongAttention(), some_rows(rng)
    params, grads = with_parameters(layer, ((6,), (5,)), rng)
    step, dy, w = new_step("float64", wants=True), rng.normal(size=(len(x[0]), 11)), params.net.w
    step.all.training, step.rows = training, layouts
    y, kept = layer.forward(params.net, x, step)
    wide = np.full((2, 5, 90, 11), np.nan)
    for found, rows in zip(wide, (y, dy), strict=True):
        found.reshape(-1, 11)[layouts[0].places] = rows
    dd, dh = layer.backward(params.net, dy.copy(), kept, grads.net, step)
    back = [np.full(a.shape, np.nan) for a in pair]
    for found, rows, layout in zip(back, (dd, dh), layouts, strict=True):
        found.reshape(-1, found.shape[2])[layout.places] = rows
    total = np.zeros_like(w)
    for n, (end, length) in enumerate(zip(ENDS, LENGTHS, strict=True)):
        d, h, (y, dy) = pair[0][n, :end], pair[1][n, :length], wide[:, n, :end]
        o, a = att.dot_product_attention(d, h @ w.T, h, np.ones((end, length), bool))
        close(y, np.hstack((d, o)))
        dq, dk, dv = att.dot_product_attention_backward(dy[:, 6:].copy(), d, h @ w.T, h, a)
        close(back[0][n, :end], dy[:, :6] + dq)
        close(back[1][n, :length], dv + dk @ w)
        total += dk.T @ h
    close(grads.net.w, total)


def test_luongs_attention_twice_and_where_nobody_wants(rng):
    layer, (_, x, layouts) = LuongAttention(), some_rows(rng)
    params, grads = with_parameters(layer, ((6,), (5,)), rng)
    dy, step, found = rng.normal(size=(len(x[0]), 11)), new_step("float64"), []
    before, step.rows = [a.copy() for a in x], layouts
    for wants in (True, True, False):
        step.wants = wants
        y, kept = layer.forward(params.net, x, step)
        dx = layer.backward(params.net, dy.copy(), kept, grads.net, step)
        assert (dx is not None) == wants
        found.append([a.copy() for a in (y, grads.flat, *(dx or ()))])
    assert all(map(np.array_equal, found[0], found[1]))
    assert all(map(np.array_equal, found[0], found[2]))
    step.wants, again = True, layer.forward(params.net, x, step)[1]
    assert all(map(np.array_equal, layer.backward(params.net, dy, again, None, step), found[0][2:]))
    assert all(map(np.array_equal, x, before))


def test_rows_that_do_not_fit_luongs_attention(rng):
    layer, (_, x, layouts) = LuongAttention(), some_rows(rng)
    assert layer.shape(((6,), (5,))) == (11,)
    for s in ((6,), ((6,),), (6, 5), ((6,), (5,), (4,))):
        with pytest.raises(
            ValueError, match=r"LuongAttention\(\) wants two inputs, \(\(j,\), \(k,\)\)"
        ):
            layer.shape(s)
    with pytest.raises(ValueError, match=r"wants rows \(k,\) and gets examples of shape \(3, 6\)"):
        layer.shape(((3, 6), (5,)))
    params, _ = with_parameters(layer, ((6,), (5,)), rng)
    step = new_step("float64")
    step.rows = layouts[::-1]
    with pytest.raises(ValueError, match=r"gets 89 and 140 rows, step\.rows is of 140 and 89"):
        layer.forward(params.net, x, step)
    for rows in (None, layouts[0]):
        step.rows = rows
        with pytest.raises(ValueError, match=r"step\.rows is not the pair of layouts"):
            layer.forward(params.net, x, step)
    with pytest.raises(TypeError, match="x is float32, the memory of this step is float64"):
        layer.forward(params.net, [a.astype("float32") for a in x], step)


# Positions


def test_positions_are_added(rng):
    x, layer = rng.normal(size=(3, 7, 6)).astype("float32"), PositionalEncoding(9)
    before, step = x.copy(), new_step("float32", wants=True)
    y, kept = layer.forward((), x, step)
    assert np.array_equal(x, before)
    assert np.array_equal(y, x + att.positional_encoding(7, 6).astype("float32"))
    assert y.dtype == np.float32
    assert np.array_equal(layer.backward((), before, kept, None, step), x)
    step.free = True
    assert layer.forward((), x, step)[0] is x  # nobody else looks at it
    assert np.array_equal(x, y)


def test_positions_go_on_from_where_they_stopped(rng):
    x, layer = np.zeros((2, 9, 4)), PositionalEncoding(9)
    found = in_pieces(layer, (), x, new_step("float64"), [4, 1, 4])
    assert np.array_equal(found, np.broadcast_to(att.positional_encoding(9, 4), (2, 9, 4)))
    step = new_step("float64")
    step.start = [np.array(8)]
    with pytest.raises(ValueError, match=r"has 9 places and gets step 10"):
        layer.forward((), x[:, :2].copy(), step)


# What does not fit


@pytest.mark.parametrize(
    ("settings", "error", "words"),
    [
        ((0, 1), ValueError, "width is 0"),
        ((8.0, 1), TypeError, "width is 8.0, expected a whole number"),
        ((8, 0), ValueError, "heads is 0"),
        ((8, 3), ValueError, "heads is 3, which does not divide the width 8"),
        ((8, 2, 1), TypeError, "causal is 1, expected True or False"),
        ((8, 2, True, None), TypeError, "bias is None, expected True or False"),
    ],
)
def test_settings_that_do_not_fit(settings, error, words):
    with pytest.raises(error, match=words):
        MultiHeadAttention(*settings)


@pytest.mark.parametrize("s", [(8,), (5, 7), (2, 5, 8), ((5, 8), (5, 7)), ((5, 8),), ((5, 8),) * 3])
def test_shapes_that_do_not_fit(s):
    with pytest.raises(ValueError, match=r"wants sequences \(t, 8\) and gets examples of shape"):
        MultiHeadAttention(8, 2).shape(s)


def test_the_shape_is_that_of_what_asks():
    layer = MultiHeadAttention(8, 2)
    assert layer.shape((5, 8)) == (5, 8)
    assert layer.shape(((5, 8), (70, 8))) == (5, 8)
    assert PositionalEncoding(5).shape((5, 8)) == (5, 8)


def test_positions_that_do_not_fit():
    with pytest.raises(ValueError, match="has 4 places and gets 5 steps"):
        PositionalEncoding(4).shape((5, 8))
    with pytest.raises(ValueError, match=r"wants sequences \(t, m\) and gets examples of shape"):
        PositionalEncoding(4).shape((8,))
    with pytest.raises(ValueError, match="max_length is 0"):
        PositionalEncoding(0)


@pytest.mark.parametrize(
    ("lengths", "words"),
    [
        ([6, 1], "reach from 1 to 6, expected 0 … 5"),
        ([5, -1], "reach from -1 to 5"),
        ([5], "expected 2 whole numbers"),
        ([5.0, 1.0], "expected 2 whole numbers"),
    ],
)
def test_lengths_that_do_not_fit(rng, lengths, words):
    layer, step = MultiHeadAttention(M, H), new_step("float64")
    params, _ = with_parameters(layer, (5, M), rng)
    step.lengths = np.array(lengths)
    with pytest.raises(ValueError, match=words):
        layer.forward(params.net, rng.normal(size=(2, 5, M)), step)


def test_arrays_that_do_not_fit(rng):
    """They are refused before a kernel sees them."""
    layer, step = MultiHeadAttention(M, H), new_step("float64")
    params, _ = with_parameters(layer, (5, M), rng)
    x = rng.normal(size=(2, 5, M))
    for wrong in (x[:, 0], x[..., 1:], (x, x[:1]), (x, x[..., 1:]), (x[..., 1:], x[..., 1:])):
        with pytest.raises(ValueError, match=r"expected \(n, t, 8\) and \(n, s, 8\)"):
            layer.forward(params.net, wrong, step)
    for wrong in (x.astype("float32"), (x, x.astype("float32"))):
        with pytest.raises(TypeError, match="x is float32, the memory of this step is float64"):
            layer.forward(params.net, wrong, step)


def test_what_is_carried_must_fit(rng):
    layer, step = MultiHeadAttention(M, H, causal=True), new_step("float64")
    params, _ = with_parameters(layer, (5, M), rng)
    x = rng.normal(size=(2, 5, M))
    for start in (
        [np.zeros((3, 4, 2, 4))] * 2,
        [np.zeros((2, 4, M))] * 2,
        [np.zeros((2, 4, 2, 4))],
    ):
        step.start = start
        with pytest.raises(ValueError, match=r"start has the shapes .*\(2, s, 2, 4\)"):
            layer.forward(params.net, x, step)
    with pytest.raises(TypeError, match="x is float32, the memory of this step is float64"):
        layer.forward(params.net, x.astype("float32"), step)


def test_a_network_says_which_part_does_not_fit():
    with pytest.raises(ValueError, match=r"wants sequences \(t, 8\)") as error:
        Network((5, 7), Sequential(Dense(9), MultiHeadAttention(8, 2)))
    assert error.value.__notes__ == ["This is about part 1."]
