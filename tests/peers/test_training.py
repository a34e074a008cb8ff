"""Norms, dropout, initial weights and whole steps of training against PyTorch."""

import numpy as np
import pytest
import torch
from shown import shown
from torch import nn

from dlbook import training
from dlbook.fast import norms
from dlbook.nets import MLP
from dlbook.optimization import Adam
from dlbook.tools.flat import like

SHAPES = [(2, 1), (2, 7), (5, 3), (32, 64), (9, 130)]


def close(found, expected, rtol=1e-10):
    expected = expected.detach().numpy()
    scale = max(1.0, np.abs(expected).max())
    np.testing.assert_allclose(found, expected, rtol=0, atol=rtol * scale)


def arrays(rng, shape):
    x, dy = 1 + 3 * rng.normal(size=shape), rng.normal(size=shape)
    return x, dy, *rng.normal(size=(2, shape[1]))


def forms(norm):
    """Return forward and backward of a norm, literal and fast, with one way of calling them."""

    def fast(dy, x, gamma, beta, eps):
        size = x.shape[1] if norm == "batch" else len(x)
        mean, root, y = np.empty(size), np.empty(size), np.empty_like(x)
        dx, dgamma, dbeta = np.empty_like(x), np.empty_like(gamma), np.empty_like(gamma)
        getattr(norms, f"fused_{norm}norm")(x, gamma, beta, eps, mean, root, y)
        back = getattr(norms, f"fused_{norm}norm_backward")
        back(dy, x, gamma, mean, root, dx, dgamma, dbeta)
        return y, dx, dgamma, dbeta

    def literal(dy, x, gamma, beta, eps):
        y = getattr(training, f"{norm}norm")(x, gamma, beta, eps)
        return y, *getattr(training, f"{norm}norm_backward")(dy, x, gamma, eps)

    return fast, literal


@pytest.mark.parametrize("eps", [1e-5, 0.3])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("norm", ["batch", "layer"])
def test_norms(norm, shape, eps, rng):
    x, dy, gamma, beta = arrays(rng, shape)
    if norm == "layer" and shape[1] == 1:
        x, dy = x.T.copy(), dy.T.copy()
        gamma, beta = rng.normal(size=(2, 2))
    tensors = [torch.from_numpy(a).requires_grad_() for a in (x, gamma, beta)]
    if norm == "batch":
        y = nn.functional.batch_norm(tensors[0], None, None, *tensors[1:], training=True, eps=eps)
    else:
        y = nn.functional.layer_norm(tensors[0], (x.shape[1],), *tensors[1:], eps=eps)
    expected = y, *torch.autograd.grad(y, tensors, torch.from_numpy(dy))
    for form in forms(norm):
        for found, wanted in zip(form(dy, x, gamma, beta, eps), expected, strict=True):
            close(found, wanted)


@pytest.mark.parametrize("momentum", [0.1, 0.7, 1.0])
def test_running_statistics(momentum, rng):
    """Ten batches of unequal size, then inference."""
    layer = nn.BatchNorm1d(4, eps=1e-3, momentum=momentum)
    mean, variance = np.zeros(4), np.ones(4)
    for n in (2, 3, 30, 7, 5, 2, 11, 8, 6, 4):
        x = rng.normal(2, 3, size=(n, 4))
        layer(torch.from_numpy(x))
        mean, variance = training.running_statistics(
            mean, variance, *training.moments(x), n, momentum
        )
    close(mean, layer.running_mean)
    close(variance, layer.running_var)
    layer.eval()
    close(training.normalize(x, mean, variance, 1e-3), layer(torch.from_numpy(x)))


@pytest.mark.parametrize("p", [0.0, 0.25, 0.9])
def test_dropout(p, rng):
    """The mask that PyTorch drew, taken from its own output, gives its output and gradient."""
    torch.manual_seed(3)
    a = torch.from_numpy(rng.uniform(1, 2, size=(40, 30))).requires_grad_()
    y = nn.functional.dropout(a, p)
    dy = rng.normal(size=(40, 30))
    (da,) = torch.autograd.grad(y, a, torch.from_numpy(dy))
    uniform = np.where(y.detach().numpy() == 0, 0.0, 0.999)
    close(training.dropout(a.detach().numpy(), uniform, p), y)
    close(training.dropout_backward(dy, uniform, p), da)


def test_dropout_drops_as_often(rng):
    a = np.ones((200, 500))
    found = np.mean(training.dropout(a, rng.random(a.shape), 0.3) == 0)
    torch.manual_seed(4)
    theirs = np.mean(nn.functional.dropout(torch.ones(200, 500), 0.3).numpy() == 0)
    assert abs(found - theirs) < 5 * np.sqrt(2 * 0.21 / a.size)


@pytest.mark.parametrize("shape", [(300, 200), (40, 30, 3, 5)])
@pytest.mark.parametrize("slope", [0.0, 0.3])
@pytest.mark.parametrize("fan", ["in", "out"])
def test_he_has_their_variance(shape, slope, fan, rng):
    torch.manual_seed(5)
    for uniform, theirs in ((False, nn.init.kaiming_normal_), (True, nn.init.kaiming_uniform_)):
        tensor = theirs(torch.empty(shape), a=slope, mode=f"fan_{fan}")
        mine = training.he(shape, rng, slope=slope, fan=fan, uniform=uniform)
        assert np.std(mine) == pytest.approx(float(tensor.std()), rel=0.03)


@pytest.mark.parametrize("shape", [(300, 200), (40, 30, 3, 5)])
def test_xavier_has_their_variance(shape, rng):
    torch.manual_seed(6)
    for uniform, theirs in ((False, nn.init.xavier_normal_), (True, nn.init.xavier_uniform_)):
        mine = training.xavier(shape, rng, uniform=uniform)
        assert np.std(mine) == pytest.approx(float(theirs(torch.empty(shape)).std()), rel=0.03)


@pytest.mark.parametrize("limit", [0.1, 5.0, 1e3])
def test_clipping(limit, rng):
    """PyTorch divides by ‖g‖ + 10⁻⁶, which is a difference of at most that size."""
    g = rng.normal(size=500)
    tensor = torch.zeros(500, requires_grad=True)
    tensor.grad = torch.from_numpy(g.copy())
    norm = nn.utils.clip_grad_norm_([tensor], limit)
    assert training.clip(g, limit) == pytest.approx(float(norm), rel=1e-12)
    close(g, tensor.grad, 1e-6)


BENDS = {"relu": nn.ReLU, "leaky-relu": nn.LeakyReLU, "sigmoid": nn.Sigmoid, "tanh": nn.Tanh}


@pytest.mark.parametrize("norm", [None, "batch", "layer"])
@pytest.mark.parametrize("bend", BENDS)
def test_network(bend, norm, rng):
    """Loss and every gradient, three batches, then inference."""
    net = MLP((6, 9, 8, 4), activation=bend, norm=norm, dtype="float64")
    params, state = net.init(rng), net.start()
    params.flat[:] += 0.1 * rng.normal(size=params.flat.size)
    modules, places = [], []
    for layer in (2, 3, 4):
        linear = nn.Linear(net.sizes[layer - 2], net.sizes[layer - 1])
        modules.append(linear)
        places += [(linear.weight, params.w[layer]), (linear.bias, params.b[layer])]
        if layer < 4 and norm:
            kind = nn.BatchNorm1d if norm == "batch" else nn.LayerNorm
            modules.append(kind(net.sizes[layer - 1]))
            places += [
                (modules[-1].weight, params.gamma[layer]),
                (modules[-1].bias, params.beta[layer]),
            ]
        if layer < 4:
            modules.append(BENDS[bend]())
    with torch.no_grad():
        for tensor, array in places:
            tensor.copy_(torch.from_numpy(array))
    model, grads = nn.Sequential(*modules), like(params)
    for _ in range(3):
        x, y = rng.normal(size=(7, 6)), rng.integers(4, size=7)
        loss = net.loss_and_grad(params, state, (x, y), grads, net.workspace(7), None)
        cost = nn.functional.cross_entropy(model(torch.from_numpy(x)), torch.from_numpy(y))
        assert loss == pytest.approx(float(cost.detach()), rel=1e-12)
    expected = torch.autograd.grad(cost, [tensor for tensor, _ in places])
    arrays_of = {id(p): g for p, g in zip(flatten(params), flatten(grads), strict=True)}
    for (_, array), wanted in zip(places, expected, strict=True):
        close(arrays_of[id(array)], wanted)
    model.eval()
    close(net.scores(params, state, x)[-1], model(torch.from_numpy(x)))


def flatten(params):
    return [a for part in params[1:] for a in part if a is not None]


def test_the_step_on_the_page(rng):
    """Twenty steps of the shown code and of ours, with clipping and Adam, from the same weights."""
    names = {"p": 0.0}
    exec(compile(shown("training"), "training.md", "exec"), names)
    model = names["model"]
    net = MLP((64, 32, 10), norm="batch", dtype="float64")
    params, state, adam = net.init(rng), net.start(), Adam(0.01)
    with torch.no_grad():
        for module, layer in ((model[0], 2), (model[4], 3)):
            module.weight.copy_(torch.from_numpy(params.w[layer]))
            module.bias.copy_(torch.from_numpy(params.b[layer]))
    grads, slots, work = like(params), adam.start(params.flat), net.workspace(16)
    for step in range(1, 21):
        x, y = rng.normal(size=(16, 64)), rng.integers(10, size=16)
        loss, norm = names["step"](torch.from_numpy(x), torch.from_numpy(y))
        mine = net.loss_and_grad(params, state, (x, y), grads, work, None)
        assert mine == pytest.approx(float(loss.detach()), rel=1e-6)
        assert training.clip(grads.flat, 5.0) == pytest.approx(float(norm), rel=1e-5)
        adam.update(params.flat, grads.flat, slots, step)
    scores = net.scores(params, state, x)[-1]
    model.eval()
    close(scores, model(torch.from_numpy(x)), 1e-4)
