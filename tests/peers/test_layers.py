"""Each layer against PyTorch's: what it gives, and every gradient, in double precision."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from drawn import how, pool_how

from dlbook.nets.containers import Parallel, Residual, Sequential
from dlbook.nets.conv import Conv2d, ConvTranspose2d
from dlbook.nets.costs import Bernoulli, Gaussian, SoftmaxCrossEntropy
from dlbook.nets.images import AvgPool2d, GlobalPool, MaxPool2d, MaxUnpool2d, Upsample
from dlbook.nets.layer import new_step
from dlbook.nets.layers import Activation, Dense, Embedding, Reshape
from dlbook.nets.norms import BatchNorm, LayerNorm
from dlbook.nets.tree import built

SEEDS = range(200)


class Run:
    """A layer forward and backward, with random parameters."""

    def __init__(self, layer, x, rng, state=None):
        inside = x.transpose(0, 2, 3, 1).copy() if x.ndim == 4 else x
        self.p = built(layer.parameters(inside.shape[1:]), "float64")
        self.p.flat[:] = rng.normal(size=self.p.flat.size)
        self.state = built(layer.running(inside.shape[1:]), "float64")
        layer.begin(self.state.net)
        step = new_step("float64", state=self.state.net, wants=x.dtype.kind == "f")
        y, kept = layer.forward(self.p.net, inside, step)
        self.y = outside(y)
        self.dy = rng.normal(size=self.y.shape)
        dy = (self.dy.transpose(0, 2, 3, 1) if y.ndim == 4 else self.dy).copy()
        self.grads = built(layer.parameters(inside.shape[1:]), "float64")
        self.grads.flat[:] = np.nan
        dx = layer.backward(self.p.net, dy, kept, self.grads.net, step)
        self.dx = None if dx is None else outside(dx)


def outside(x):
    """Return images with their channels behind the examples, anything else as it is."""
    return x.transpose(0, 3, 1, 2).copy() if x.ndim == 4 else x.copy()


def tensors(*arrays):
    return [torch.from_numpy(np.array(a)).requires_grad_(a.dtype.kind == "f") for a in arrays]


def close(found, expected):
    expected = expected.detach().numpy()
    assert found.shape == expected.shape
    scale = max(1.0, np.abs(expected).max(initial=0))
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-10 * scale)


def agree(run, x, parameters, function):
    """Hold a run against a function of tensors (x, *parameters)."""
    given = tensors(x, *parameters)
    y = function(*given)
    close(run.y, y)
    wanted = [t for t in given if t.requires_grad]
    found = ([] if run.dx is None else [run.dx]) + list(leaves(run.grads.net))
    expected = torch.autograd.grad(y, wanted, torch.from_numpy(run.dy))
    for mine, theirs in zip(found, expected, strict=True):
        close(mine, theirs)


def leaves(tree):
    for part in tree:
        if isinstance(part, np.ndarray):
            yield part
        else:
            yield from leaves(part)


def rows(rng, most):
    """One axis, or as many as `most`, before the features."""
    return rng.normal(size=(*rng.integers(1, 6, rng.integers(1, most + 1)), 7))


@pytest.mark.parametrize("bias", [True, False])
def test_dense(bias):
    for seed in SEEDS:
        rng = np.random.default_rng(seed)
        x = rows(rng, 2)
        run = Run(Dense(int(rng.integers(1, 9)), bias), x, rng)
        agree(run, x, run.p.net, F.linear)


@pytest.mark.parametrize(
    ("kind", "theirs"),
    [
        ("relu", F.relu),
        ("leaky-relu", lambda x: F.leaky_relu(x, 0.2)),
        ("sigmoid", torch.sigmoid),
        ("tanh", torch.tanh),
        ("gelu", lambda x: F.gelu(x, approximate="tanh")),
        ("silu", F.silu),
    ],
)
def test_activations(kind, theirs):
    for seed in SEEDS:
        rng = np.random.default_rng(seed)
        x = 3 * rows(rng, 3)
        agree(Run(Activation(kind, 0.2), x, rng), x, (), theirs)


def test_batch_norm():
    """Also the running statistics, and inference from them."""
    for seed in SEEDS:
        rng = np.random.default_rng(seed)
        x = rng.normal(size=(rng.integers(2, 6), 5, *rng.integers(1, 4, 2 * (seed % 2))))
        layer = BatchNorm(rate=0.3)
        run, mean, variance = Run(layer, x, rng), torch.zeros(5), torch.ones(5)
        norm = lambda x, g, b: F.batch_norm(x, mean, variance, g, b, True, 0.3)  # noqa: B023
        agree(run, x, run.p.net, norm)
        close(run.state.net.mean, mean)
        close(run.state.net.variance, variance)
        still = new_step("float64", training=False, state=run.state.net)
        inside = x.transpose(0, 2, 3, 1).copy() if x.ndim == 4 else x
        y, _ = layer.forward(run.p.net, inside, still)
        g, b = tensors(*run.p.net)
        close(outside(y), F.batch_norm(torch.from_numpy(x), mean, variance, g, b))


def test_layer_norm():
    for seed in SEEDS:
        rng = np.random.default_rng(seed)
        x = rng.normal(size=(rng.integers(1, 6), *rng.integers(1, 4, seed % 2), 5))
        run = Run(LayerNorm(), x, rng)
        agree(run, x, run.p.net, lambda x, g, b: F.layer_norm(x, (5,), g, b))


def test_embedding():
    for seed in SEEDS:
        rng = np.random.default_rng(seed)
        x = rng.integers(0, 6, rng.integers(1, 7, 1 + seed % 3))
        run = Run(Embedding(6, 4), x, rng) if x.ndim < 3 else Run(Embedding(6, 4), x[:, 0], rng)
        agree(run, x if x.ndim < 3 else x[:, 0], run.p.net, F.embedding)


@pytest.mark.parametrize("bias", [True, False])
def test_convolution(bias):
    for seed in SEEDS:
        rng = np.random.default_rng(seed)
        shape, (K, _, U, V), more = how(rng)
        x = rng.normal(size=shape)
        run = Run(Conv2d(K, (U, V), bias=bias, **more), x, rng)
        agree(run, x, run.p.net, lambda *of: F.conv2d(*of, **more))  # noqa: B023


@pytest.mark.parametrize("bias", [True, False])
def test_transposed_convolution(bias):
    """Strides and dilations, frames that are cut off, groups, and rows more than necessary."""
    tried = 0
    for seed in range(400):
        rng = np.random.default_rng(seed)
        (N, C, H, W), (K, _, U, V), more = how(rng)
        stride = np.broadcast_to(more["stride"], 2)
        extra = tuple(int(rng.integers(0, s)) for s in stride)
        layer = ConvTranspose2d(K, (U, V), bias=bias, output_padding=extra, **more)
        x = rng.normal(size=(N, C, H, W))
        try:
            layer.shape((H, W, C))
        except ValueError:
            continue
        run = Run(layer, x, rng)
        more["output_padding"] = extra
        groups = more.pop("groups")
        dilation = more.pop("dilation")

        def theirs(x, w, b=None):
            return F.conv_transpose2d(x, w, b, groups=groups, dilation=dilation, **more)  # noqa: B023

        agree(run, x, run.p.net, theirs)
        tried += 1
    assert tried > 200


@pytest.mark.parametrize("kind", ["max", "avg"])
def test_pooling(kind):
    theirs, mine = (F.max_pool2d, MaxPool2d) if kind == "max" else (F.avg_pool2d, AvgPool2d)
    for seed in SEEDS:
        rng = np.random.default_rng(seed)
        shape, size, stride, padding = pool_how(rng)
        x = rng.integers(0, 4, size=shape) / 2 if seed % 2 else rng.normal(size=shape)
        run = Run(mine(size, stride, padding), x, rng)
        agree(run, x, (), lambda x: theirs(x, size, stride=stride, padding=padding))  # noqa: B023


def test_unpooling():
    """Windows side by side, rows that fill none, equal numbers; a layer between down and up."""
    for seed in SEEDS:
        rng = np.random.default_rng(seed)
        size = tuple(int(n) for n in rng.integers(1, 4, 2))
        H, W = (n * int(rng.integers(1, 4)) + int(rng.integers(0, n)) for n in size)
        N, C = (int(n) for n in rng.integers(1, 4, 2))
        x = rng.normal(size=(N, C, H, W))
        if seed % 2:
            x = np.round(x)
        run = Run(MaxUnpool2d(Conv2d(C, 3, padding=1), size=size), x, rng)

        def theirs(x, w, b):
            y, places = F.max_pool2d(x, size, return_indices=True)  # noqa: B023
            z = F.conv2d(y, w, b, padding=1)
            return F.max_unpool2d(z, places, size, output_size=x.shape[2:])  # noqa: B023

        agree(run, x, list(leaves(run.p.net)), theirs)


@pytest.mark.parametrize(
    ("layer", "theirs"),
    [
        (GlobalPool(), lambda x: x.mean((2, 3))),
        (GlobalPool("max"), lambda x: x.amax((2, 3))),
        (Upsample(2), lambda x: F.interpolate(x, scale_factor=2, mode="nearest")),
        (Upsample(3), lambda x: F.interpolate(x, scale_factor=3, mode="nearest")),
        (Reshape(-1), lambda x: x.permute(0, 2, 3, 1).flatten(1)),
    ],
)
def test_layers_without_parameters(layer, theirs):
    for seed in SEEDS:
        rng = np.random.default_rng(seed)
        x = rng.normal(size=rng.integers(1, 6, 4))
        agree(Run(layer, x, rng), x, (), theirs)


def test_blocks():
    """A residual block with a projection, and branches side by side."""
    for seed in SEEDS:
        rng = np.random.default_rng(seed)
        x = rng.normal(size=(rng.integers(1, 4), 3, *rng.integers(2, 7, 2)))
        block = Residual(
            Conv2d(4, 3, stride=2, padding=1),
            Activation("tanh"),
            Parallel(Conv2d(3, 1), Sequential(MaxPool2d(3, 1, 1), Conv2d(2, 1, bias=False))),
            skip=Conv2d(5, 1, stride=2),
        )
        run = Run(block, x, rng)

        def theirs(x, w, b, v, c, u, s, d):
            h = torch.tanh(F.conv2d(x, w, b, 2, 1))
            sides = F.conv2d(h, v, c), F.conv2d(F.max_pool2d(h, 3, 1, 1), u)
            return torch.cat(sides, 1) + F.conv2d(x, s, d, 2)

        agree(run, x, list(leaves(run.p.net)), theirs)


@pytest.mark.parametrize(
    ("cost", "theirs"),
    [
        (Gaussian(), lambda z, y: 0.5 * ((z - y) ** 2).sum() / len(z)),
        (
            Bernoulli(),
            lambda z, y: F.binary_cross_entropy_with_logits(z, y, reduction="sum") / len(z),
        ),
        (SoftmaxCrossEntropy(), F.cross_entropy),
    ],
)
def test_costs(cost, theirs):
    for seed in SEEDS:
        rng = np.random.default_rng(seed)
        z = 3 * rng.normal(size=rng.integers(1, 9, 2))
        labels = isinstance(cost, SoftmaxCrossEntropy)
        y = rng.integers(0, z.shape[1], len(z)) if labels else rng.random(z.shape)
        (given,) = tensors(z)
        expected = theirs(given, torch.from_numpy(y))
        assert cost.into(z, y) == pytest.approx(float(expected.detach()), rel=1e-12)
        close(z, torch.autograd.grad(expected, given)[0])
