"""Layers and what is made of them: gradients, bits, ownership, shapes."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest
from compiled import compiled_only

from dlbook.nets.check import check_model
from dlbook.nets.containers import Parallel, Residual, Sequential
from dlbook.nets.conv import Conv2d, ConvTranspose2d
from dlbook.nets.costs import Bernoulli, Gaussian, MeanSquare, SoftmaxCrossEntropy, Together
from dlbook.nets.images import AvgPool2d, GlobalPool, MaxPool2d, MaxUnpool2d, Shift, Upsample
from dlbook.nets.layer import Layer, new_step
from dlbook.nets.layers import Activation, Dense, Dropout, Embedding, Reshape
from dlbook.nets.loop import fit
from dlbook.nets.network import Network
from dlbook.nets.norms import BatchNorm, LayerNorm
from dlbook.nets.penalties import Contractive, Sparse
from dlbook.nets.reuse import Frozen, Repeat
from dlbook.optimization import Adam
from dlbook.tools.flat import like

RELU = Activation("relu")


def inception(out):
    """1 × 1, 3 × 3 behind 1 × 1, and pooling, side by side."""
    return Parallel(
        Conv2d(out, 1),
        Sequential(Conv2d(2, 1), RELU, Conv2d(out, 3, padding=1)),
        Sequential(MaxPool2d(3, stride=1, padding=1), Conv2d(out, 1)),
    )


ROWS = {
    "dense": Sequential(Dense(5), Activation("tanh"), Dense(4)),
    "no bias": Sequential(Dense(5, bias=False), Activation("sigmoid"), Dense(4, bias=False)),
    "leaky": Sequential(Dense(5, slope=0.1), Activation("leaky-relu", 0.1), Dense(4)),
    "gelu": Sequential(Dense(5), Activation("gelu"), Activation("gelu"), Dense(4)),
    "silu": Sequential(Dense(5), Activation("silu"), Activation("silu"), Dense(4)),
    "silu within": Sequential(Dense(5), Activation("silu"), Dense(3), Activation("tanh"), Dense(4)),
    "silu last": Sequential(Dense(5), Activation("relu"), Dense(4), Activation("silu")),
    "activation first": Sequential(Activation("tanh"), Activation("relu"), Dense(4)),
    "batch norm": Sequential(Dense(5), BatchNorm(), Activation("tanh"), Dense(4)),
    "layer norm": Sequential(LayerNorm(), Dense(5), LayerNorm(), RELU, Dense(4)),
    "dropout": Sequential(Dropout(0.2), Dense(6), Dropout(0.3), Activation("tanh"), Dense(4)),
    "residual": Sequential(Dense(5), Residual(Activation("tanh"), Dense(5)), Dense(4)),
    "projected": Residual(Dense(5), Activation("tanh"), Dense(4), skip=Dense(4)),
    "parallel": Sequential(Parallel(Dense(3), Sequential(Dense(2), Activation("tanh"))), Dense(4)),
    "repeated": Sequential(Dense(5), Repeat(Residual(Activation("tanh"), Dense(5)), 3), Dense(4)),
    "sparse": Sequential(Dense(5), Activation("sigmoid"), Sparse(0.1, 0.2), Dense(4)),
    "contractive": Sequential(Contractive(5, scale=0.3), Dense(4)),
    "named": Sequential(body=Sequential(Dense(5), RELU), head=Dense(4)),
}
IMAGES = {
    "conv": Sequential(Conv2d(3, 3, padding=1), RELU, MaxPool2d(2), Reshape(-1), Dense(4)),
    "every option": Sequential(
        Conv2d(4, (3, 2), stride=(2, 1), padding=(1, 2), dilation=(1, 2), groups=2, bias=False),
        Activation("tanh"),
        AvgPool2d((2, 3), stride=1, padding=(1, 0)),
        Reshape(-1),
        Dense(4),
    ),
    "transposed": Sequential(
        ConvTranspose2d(4, 3, stride=2, padding=1, groups=2, output_padding=1),
        Activation("tanh"),
        ConvTranspose2d(3, (2, 3), dilation=2, bias=False),
        GlobalPool(),
        Dense(4),
    ),
    "upsampled": Sequential(Upsample(3), Conv2d(2, 3), GlobalPool("max"), Dense(4)),
    "shifted": Sequential(Shift(2), Conv2d(3), Shift(1), RELU, GlobalPool(), Dense(4)),
    "pooled with a frame": Sequential(MaxPool2d(3, 2, 1), AvgPool2d(2, 1), Reshape(-1), Dense(4)),
    "unpooled": Sequential(
        Conv2d(3, 3, padding=1),
        MaxUnpool2d(Conv2d(5, 3, padding=1), RELU, Conv2d(3, 1), size=(2, 3)),
        MaxUnpool2d(Activation("tanh")),
        Conv2d(2, (3, 2)),
        Reshape(-1),
        Dense(4),
    ),
    "unpooled first": Sequential(MaxUnpool2d(Conv2d(2, 1)), GlobalPool(), Dense(4)),
    "residual": Sequential(
        Conv2d(4, 3, padding=1, bias=False),
        BatchNorm(),
        RELU,
        Residual(
            Conv2d(6, 3, stride=2, padding=1, bias=False),
            BatchNorm(),
            RELU,
            Conv2d(6, 3, padding=1, bias=False),
            BatchNorm(),
            skip=Conv2d(6, 1, stride=2),
        ),
        RELU,
        GlobalPool(),
        Dense(4),
    ),
    "inception": Sequential(inception(2), Activation("tanh"), GlobalPool(), Dense(4)),
}


@pytest.mark.parametrize("name", ROWS)
def test_gradients_of_rows(name, rng):
    x, y = rng.normal(size=(6, 7)), rng.integers(0, 4, 6)
    check_model(Network(7, ROWS[name], dtype="float64"), (x, y))


@compiled_only
@pytest.mark.parametrize("name", IMAGES)
def test_gradients_of_images(name, rng):
    x, y = rng.normal(size=(4, 2, 6, 7)), rng.integers(0, 4, 4)
    check_model(Network((2, 6, 7), IMAGES[name], dtype="float64"), (x, y))


@pytest.mark.parametrize("cost", [Gaussian(), Bernoulli(), MeanSquare()])
def test_gradients_of_costs_of_numbers(cost, rng):
    x = rng.random((5, 2, 4, 4))
    net = Sequential(Conv2d(3), Activation("tanh"), ConvTranspose2d(2))
    check_model(Network((2, 4, 4), net, cost, dtype="float64"), (x, x))


def test_gradients_of_two_heads(rng):
    """A class and the input itself, from one body."""
    net = Sequential(
        body=Sequential(Dense(6), Activation("tanh")),
        heads=Parallel(Dense(3), Dense(5), join="tuple"),
    )
    model = Network(5, net, Together(SoftmaxCrossEntropy(), Gaussian()), dtype="float64")
    x = rng.normal(size=(6, 5))
    check_model(model, (x, (rng.integers(0, 3, 6), x)))
    labels, numbers = model.predict(model.init(rng), None, x)
    assert labels.shape == (6,)
    assert numbers.shape == (6, 5)


def test_gradients_of_symbols(rng):
    net = Sequential(Embedding(9, 3), Activation("tanh"), Reshape(-1), Dense(4))
    model = Network(5, net, symbols=9, dtype="float64")
    check_model(model, (rng.integers(0, 9, (6, 5)), rng.integers(0, 4, 6)), count=40)
    assert model.init(rng).net[0].w.shape == (9, 3)


def test_gradients_of_a_frozen_body(rng):
    """The frozen part is not among the parameters, and what stands on it learns."""
    body = Sequential(Dense(5), BatchNorm(), Activation("tanh"))
    values = Network(7, body, Gaussian(), dtype="float64").init(rng)
    model = Network(7, Sequential(Frozen(body, values), Dense(4)), dtype="float64")
    x, y = rng.normal(size=(12, 7)), rng.integers(0, 4, 12)
    check_model(model, (x, y))
    done = fit(model, model.init(rng), (x, y), Adam(0.01), rng, epochs=20, batch=6)
    assert done.params.flat.size == 4 * 5 + 4
    assert np.array_equal(done.state.net[0][1][0].w, values.net[0].w)
    assert done.history.loss[-1] < done.history.loss[0]


# check_model refuses what is wrong


@dataclass(frozen=True)
class Wrong(Dense):
    """A dense layer with one fault."""

    fault: str = ""

    def backward(self, p, dz, rows, grads, step):
        if self.fault == "adds":
            old = grads.w.copy()
            dx = super().backward(p, dz, rows, grads, step)
            grads.w[:] += np.nan_to_num(old)
            return dx
        dx = super().backward(p, dz, rows, grads, step)
        if self.fault == "forgets":
            grads.b[:] = np.nan
        if self.fault == "sign":
            grads.w[:] *= -1
        if self.fault == "input":
            dx[:] *= 1.001
        if self.fault == "one number":
            grads.w[0, 0] += 0.01
        if self.fault == "data":
            rows[0] = 7
        if self.fault == "parameters":
            p.w[:] *= 1.1
        if self.fault == "noise":
            grads.w[:] += 1e-12 * np.random.default_rng().normal(size=grads.w.shape)
        return dx


FAULTS = {
    "adds": "another gradient",
    "forgets": "is not overwritten",
    "sign": "differences give",
    "input": "differences give",
    "one number": "differences give",
    "data": "the reader's data",
    "parameters": "changes the parameters",
    "noise": "another gradient",
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_wrong_layer_is_named(fault, rng):
    first = fault in ("data", "forgets")
    layers = [Dense(5), Activation("tanh"), Dense(3)]
    layers[0 if first else 2] = Wrong(5 if first else 3, fault=fault)
    x, y = rng.normal(size=(6, 7)), rng.integers(0, 3, 6)
    model = Network(7, Sequential(*layers), dtype="float64")
    with pytest.raises(AssertionError, match=FAULTS[fault]):
        check_model(model, (x, y), count=40)
    assert not check_model(model, (x, y), count=40, raises=False).passed


def test_float32_is_refused_by_the_check(rng):
    with pytest.raises(ValueError, match="float32, in which differences say little"):
        check_model(Network(7, Dense(3)), (rng.normal(size=(6, 7)), rng.integers(0, 3, 6)))
    with pytest.raises(TypeError, match="which has no init"):
        check_model(Dense(3), ())


# Shapes and settings


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Network((2, 6, 7), Sequential(Conv2d(3), Dense(4), Conv2d(3, 9))), "does not fit"),
        (
            lambda: Network(7, Conv2d(3)),
            r"wants images \(h, w, c\) and gets examples of shape \(7,\)",
        ),
        (lambda: Network((2, 6, 7), GlobalPool().__class__("most")), "kind is 'most'"),
        (lambda: Network(7, Residual(Dense(5))), "skip is the layer"),
        (lambda: Network(7, Sequential(Dense(5), Reshape(2, 3))), "cannot have the shape"),
        (lambda: Network(7, Repeat(Dense(5), 2)), "is repeated and turns"),
        (lambda: Network((3, 4, 4), Conv2d(4, groups=2)), "divisor of 3 input channels"),
        (lambda: Network((2, 4, 4), Parallel(Conv2d(2, 1), Conv2d(2, 3))), "along the last axis"),
        (lambda: Sequential(Dense(5), relu=RELU), "parts with names and parts without"),
        (lambda: Sequential(Dense(5), "relu"), "part 1 of Sequential is 'relu', expected a layer"),
        (lambda: Sequential(), "no parts"),
        (lambda: Dense(0), "out is 0"),
        (lambda: Dense(3.0), "out is 3.0, expected a whole number"),
        (lambda: Activation("swish"), "kind is 'swish'"),
        (lambda: Dropout(1.0), "p is 1.0"),
        (lambda: ConvTranspose2d(3, stride=2, output_padding=2), "less than the stride"),
        (lambda: MaxPool2d(2, padding=2), "half of the window"),
        (lambda: Network((2, 4, 4), MaxUnpool2d(Conv2d(3, 1))), "one number for each place"),
        (lambda: Network(7, MaxUnpool2d(RELU)), "wants images"),
        (lambda: MaxUnpool2d(RELU, size=0), "size"),
        (lambda: MaxUnpool2d(), "no parts"),
        (lambda: Network(7, Dense), "net is"),
        (lambda: Network(7, Dense(3), "squares"), "cost is 'squares', expected a Cost"),
        (lambda: Network(0, Dense(3)), r"input\[0\] is 0"),
    ],
)
def test_what_does_not_fit_is_said_before_any_work(make, words):
    with pytest.raises((TypeError, ValueError), match=words):
        make()


def test_the_part_that_does_not_fit_is_named():
    with pytest.raises(ValueError, match="does not fit") as caught:
        Network((1, 4, 4), Sequential(body=Conv2d(3), head=Sequential(RELU, Conv2d(3, 5))))
    assert caught.value.__notes__ == ["This is about part 1.", "This is about part head."]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_data_and_parameters_are_held_against_the_network(dtype, rng):
    model = Network((2, 3, 3), Sequential(Conv2d(4), GlobalPool(), Dense(3)), dtype=dtype)
    params, x = model.init(rng), rng.normal(size=(5, 2, 3, 3))
    checked, y = model.check(params, (x.tolist(), [0, 1, 2, 0, 1]))
    assert checked.dtype == dtype
    assert checked.shape == (5, 3, 3, 2)
    with pytest.raises(ValueError, match="x has shape"):
        model.check(params, (x[:, :1], y))
    with pytest.raises(ValueError, match="label 3"):
        model.check(params, (x, [0, 1, 2, 3, 0]))
    with pytest.raises(ValueError, match="nan"):
        model.check(params, (np.where(x > 2, np.nan, x) * np.nan, y))
    other = Network((2, 3, 3), Sequential(Conv2d(5), GlobalPool(), Dense(3)), dtype=dtype)
    for work in (
        lambda: model.check(other.init(rng), (x, y)),
        lambda: model.predict(other.init(rng), None, x),
        lambda: model.loss(other.init(rng), None, (checked, y)),
    ):
        with pytest.raises(ValueError, match="has net"):
            work()


def test_data_of_another_dtype_are_refused_by_a_layer_alone(rng):
    """Panels of float32 read as float64 would give finite numbers that are wrong."""
    for layer, shape in ((Dense(3), (7,)), (Conv2d(3), (5, 5, 2))):
        p, step = Network(7, Dense(3)).init(rng).net, new_step("float32")
        if len(shape) == 3:
            p = Network((2, 5, 5), layer).init(rng).net
        layer.forward(p, rng.normal(size=(4, *shape)).astype("float32"), step)
        with pytest.raises(TypeError, match="x is float64, the memory of this step is float32"):
            layer.forward(p, rng.normal(size=(4, *shape)), step)


def test_batch_norm_needs_two_rows_to_have_a_variance(rng):
    assert Network(7, Sequential(Dense(5), BatchNorm(), Dense(3))).smallest_batch == 2
    assert Network((1, 4, 4), Sequential(Conv2d(2), BatchNorm(), GlobalPool())).smallest_batch == 1
    one = Network((1, 3, 3), Sequential(Conv2d(2), BatchNorm(), GlobalPool()))
    assert one.smallest_batch == 2


# Memory and order


@compiled_only
@pytest.mark.parametrize("name", ["conv", "residual", "inception"])
def test_inference_in_pieces_is_inference_at_once(name, rng):
    """Examples go up in parts; each is on its own, in inference."""
    model = Network((2, 6, 7), IMAGES[name])
    params, state = model.init(rng), model.start()
    x = rng.normal(size=(300, 2, 6, 7)).astype("float32")
    whole = model.predict(params, state, x)
    parts = [model.predict(params, state, x[i : i + 7]) for i in range(0, 300, 7)]
    assert np.array_equal(whole, np.concatenate(parts))


def test_inference_does_not_write_over_the_readers_data(rng):
    for net in (Sequential(Dropout(0.5), Activation("tanh")), Sequential(Sparse(1.0), RELU), RELU):
        model = Network(7, net, Gaussian(), dtype="float64")
        x = rng.normal(size=(6, 7))
        before = x.copy()
        params = model.init(rng)
        y = model.outputs(params, None, x)
        model.loss(params, None, (x, x))
        assert np.array_equal(before, x)
        y[:] = 3
        assert np.array_equal(before, x)


def test_training_is_the_same_for_any_size_of_batch_before(rng):
    """A smaller last batch leaves nothing behind that changes the next step."""
    model = Network((2, 6, 7), IMAGES["residual"])
    params, grads = model.init(rng), model.init(rng)
    x, y = rng.normal(size=(8, 6, 7, 2)).astype("float32"), rng.integers(0, 4, 8)
    work, found = model.workspace(8), []
    for size in (8, 3, 5, 8):
        loss = model.loss_and_grad(params, model.start(), (x[:size], y[:size]), grads, work, rng)
        found.append((loss, grads.flat.copy()))
    assert found[0][0] == found[3][0]
    assert np.array_equal(found[0][1], found[3][1])


@pytest.mark.parametrize("cost", [SoftmaxCrossEntropy(), Gaussian(), Bernoulli(), MeanSquare()])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_dense_layers_have_the_same_bits_one_by_one_and_at_once(cost, dtype, rng):
    """At once, as part of a container, and each a container of its own."""
    for act in ("relu", "leaky-relu", "sigmoid", "tanh"):
        for out in (1, 3, 8, 10, 33):
            parts = Dense(7), Activation(act), Dense(6), Dense(out)
            one_by_one = Sequential(*map(Sequential, parts))
            models = [
                Network(5, net, cost, dtype=dtype)
                for net in (Sequential(*parts), Sequential(Sequential(*parts)), one_by_one)
            ]
            works = [(model, model.init(rng), model.workspace(33)) for model in models]
            for n in (33, 7, 33):
                x, y = rng.normal(size=(n, 5)), rng.integers(0, out, n)
                if not isinstance(cost, SoftmaxCrossEntropy):
                    y = rng.random((n, out))
                found = [step_of(*each, works[0][1].flat, (x, y)) for each in works]
                for loss, grad in found[1:]:
                    assert loss == found[0][0]
                    assert np.array_equal(grad, found[0][1])


def step_of(model, params, work, flat, data):
    """Return the loss and the gradient of one step with these numbers as parameters."""
    params.flat[:], grads = flat, like(params)
    return model.loss_and_grad(params, None, model.check(params, data), grads, work), grads.flat


def test_nothing_is_computed_for_an_input_that_nobody_learns_from(rng):
    @dataclass(frozen=True)
    class Asked(Layer):
        """Notes what is wanted of it."""

        seen: ClassVar[list] = []

        def forward(self, p, x, step):
            self.seen.append(step.wants)
            return x, None

        def backward(self, p, dy, kept, grads, step):
            assert step.wants
            return dy

    model = Network(7, Sequential(Asked(), Dense(5), Asked(), Dense(3)))
    params = model.init(rng)
    batch = rng.normal(size=(4, 7)).astype("float32"), rng.integers(0, 3, 4)
    model.loss_and_grad(params, None, batch, model.init(rng), model.workspace(4), None)
    assert Asked.seen == [False, True]


def test_layers_name_what_they_give(rng):
    net = Sequential(body=Sequential(Dense(5), RELU), head=Dense(4))
    model, batch = Network(7, net), (np.zeros((3, 7), np.float32), np.zeros(3, np.int64))
    params = model.init(rng)
    assert params.net.body[0].w.shape == (5, 7)
    names = dict(model.layers(params, None, batch))
    assert list(names) == ["net.body", "net.head"]
    assert names["net.head"].shape == (3, 4)


@compiled_only
@pytest.mark.parametrize("name", ["inception", "residual"])
def test_networks_learn(name, rng):
    """Which third of an image is bright."""
    x = rng.normal(size=(60, 2, 6, 7)) * 0.3
    y = np.arange(60) % 3
    for n in range(60):
        x[n, :, 2 * y[n] : 2 * y[n] + 2] += 1
    net = IMAGES[name]
    net = Sequential(*net.layers[:-2], Reshape(-1), Dense(3))
    model = Network((2, 6, 7), net)
    done = fit(model, model.init(rng), (x, y), Adam(0.01), rng, epochs=20, batch=10)
    assert np.mean(model.predict(done.params, done.state, x) == y) > 0.95


def test_signals_are_what_layers_give_and_their_gradients(rng):
    """A change of what a layer gives changes the loss as its gradient says."""
    net = Sequential(Dense(5), Activation("tanh"), Dense(4))
    model = Network(7, net, dtype="float64")
    params = model.init(rng)
    batch = rng.normal(size=(6, 7)), rng.integers(0, 4, 6)
    seen = model.signals(params, None, batch, None)
    assert [s.name for s in seen] == ["net[0]", "net[1]", "net[2]"]
    np.testing.assert_allclose(seen[1].y, np.tanh(seen[0].y), rtol=1e-14)
    top, move = Network(5, Sequential(Dense(4)), dtype="float64"), 1e-6 * rng.normal(size=(6, 5))
    above = top.init(rng)
    above.flat[:] = params.flat[-above.flat.size :]
    losses = [top.loss(above, None, (seen[1].y + s * move, batch[1])) for s in (1, -1)]
    assert losses[0] - losses[1] == pytest.approx(2 * np.sum(move * seen[1].dy), rel=1e-6)
    slope = seen[1].dy * (1 - seen[1].y ** 2)
    np.testing.assert_allclose(seen[0].dy, slope, rtol=1e-12)
