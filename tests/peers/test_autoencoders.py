"""Autoencoders against PyTorch: every cost and penalty, both networks, and the step on the page."""

import numpy as np
import pytest
import torch
from shown import shown
from torch import nn

from dlbook import autoencoders as ae
from dlbook.nets import Autoencoder, ConvAutoencoder
from dlbook.optimization import Adam
from dlbook.tools.flat import like
from dlbook.verification import relative_error

functional = nn.functional


def close(actual, expected, rtol=1e-11):
    expected = expected.detach().numpy() if isinstance(expected, torch.Tensor) else expected
    assert relative_error(np.asarray(actual), expected) < rtol


def leaf(array):
    return torch.from_numpy(np.array(array)).requires_grad_()


def pair(rng, shape=(5, 7)):
    return rng.normal(size=shape), rng.random(shape)


def test_gaussian(rng):
    a, x = pair(rng)
    tensor, variance = leaf(a), torch.full((5, 7), 0.3)
    cost = functional.gaussian_nll_loss(
        tensor, torch.from_numpy(x), variance, full=True, reduction="sum"
    )
    (slope,) = torch.autograd.grad(cost / 5, tensor)
    close(ae.gaussian_nll(a, x, 0.3), cost / 5)
    close(ae.gaussian_nll_gradient(a, x, 0.3), slope)


def test_bernoulli(rng):
    a, x = pair(rng)
    tensor = leaf(a)
    cost = functional.binary_cross_entropy_with_logits(tensor, torch.from_numpy(x), reduction="sum")
    (slope,) = torch.autograd.grad(cost / 5, tensor)
    close(ae.bernoulli_nll(a, x), cost / 5)
    close(ae.bernoulli_nll_gradient(a, x), slope)


def test_categorical(rng):
    a, x = rng.normal(size=(5, 7, 4)), rng.integers(4, size=(5, 7))
    tensor = leaf(a)
    cost = functional.cross_entropy(tensor.transpose(1, 2), torch.from_numpy(x), reduction="sum")
    (slope,) = torch.autograd.grad(cost / 5, tensor)
    close(ae.categorical_nll(a, x), cost / 5)
    close(ae.categorical_nll_gradient(a, x), slope)


def test_penalties(rng):
    h = rng.uniform(0.1, 0.9, size=(6, 4))
    tensor = leaf(h)
    (slope,) = torch.autograd.grad((tensor - 0.5).abs().sum() / 6, tensor)
    close(ae.l1_gradient(h - 0.5), slope)
    found = tensor.mean(dim=0)
    both = torch.stack((found, 1 - found), dim=1).log()
    cost = functional.kl_div(both, torch.tensor([0.2, 0.8]), reduction="sum")
    (slope,) = torch.autograd.grad(cost, tensor)
    close(ae.kl_penalty(ae.mean_activation(h), 0.2), cost)
    close(ae.kl_gradient(h, 0.2), slope)


def test_contraction(rng):
    x, w, b = rng.normal(size=(5, 4)), leaf(rng.normal(size=(3, 4))), leaf(rng.normal(size=3))
    encode = torch.func.jacrev(lambda row, w, b: torch.sigmoid(w @ row + b))
    jacobians = torch.func.vmap(encode, (0, None, None))(torch.from_numpy(x), w, b)
    cost = (jacobians**2).sum() / 5
    arrays = x, w.detach().numpy(), b.detach().numpy()
    close(ae.contractive(*arrays), cost)
    slopes = torch.autograd.grad(cost, (w, b))
    for found, expected in zip(ae.contractive_gradient(*arrays), slopes, strict=True):
        close(found, expected)


def test_upsampling(rng):
    x, dy = rng.normal(size=(2, 3, 4, 5)), rng.normal(size=(2, 3, 8, 10))
    tensor = leaf(x)
    y = nn.Upsample(scale_factor=2)(tensor)
    close(ae.upsample(x), y)
    (slope,) = torch.autograd.grad(y, tensor, torch.from_numpy(dy))
    close(ae.upsample_backward(dy), slope)


def copy_into(modules, params):
    """Give a list of dense modules the weights of ours."""
    with torch.no_grad():
        for module, w, b in zip(modules, params.w[2:], params.b[2:], strict=True):
            module.weight.copy_(torch.from_numpy(w))
            module.bias.copy_(torch.from_numpy(b))


BENDS = {"relu": nn.ReLU, "sigmoid": nn.Sigmoid, "tanh": nn.Tanh, "linear": nn.Identity}


@pytest.mark.parametrize("likelihood", ["gaussian", "bernoulli"])
@pytest.mark.parametrize("code", BENDS)
@pytest.mark.parametrize("bend", BENDS)
def test_dense_network(bend, code, likelihood, rng):
    net = Autoencoder(
        (8, 6, 3), activation=bend, code=code, likelihood=likelihood, l1=0.3, dtype="float64"
    )
    params = net.init(rng)
    params.flat[:] += 0.1 * rng.normal(size=params.flat.size)
    dense = [nn.Linear(m, n) for m, n in ((8, 6), (6, 3), (3, 6), (6, 8))]
    copy_into(dense, params)
    encoder = nn.Sequential(dense[0], BENDS[bend](), dense[1], BENDS[code]())
    decoder = nn.Sequential(dense[2], BENDS[bend](), dense[3])
    x, grads = rng.random((7, 8)), like(params)
    loss = net.loss_and_grad(params, None, (x,), grads, net.workspace(7), None)
    h, target = encoder(torch.from_numpy(x)), torch.from_numpy(x)
    a = decoder(h)
    if likelihood == "gaussian":
        cost = functional.mse_loss(a, target, reduction="sum") / 14
    else:
        cost = functional.binary_cross_entropy_with_logits(a, target, reduction="sum") / 7
    whole = cost + 0.3 * h.abs().sum() / 7
    close(loss, whole)
    tensors = [t for one in dense for t in (one.weight, one.bias)]
    ours = [part for pair in zip(grads.w[2:], grads.b[2:], strict=True) for part in pair]
    for found, expected in zip(ours, torch.autograd.grad(whole, tensors), strict=True):
        close(found, expected)
    close(net.loss(params, None, (x,)), cost)


def test_convolutional_network(rng):
    net = ConvAutoencoder(8, (3, 5), 4, likelihood="bernoulli", dtype="float64")
    params = net.init(rng)
    params.flat[:] += 0.1 * rng.normal(size=params.flat.size)
    w, b = ([leaf(part) for part in some] for some in (params.w, params.b))
    code, code_bias = leaf(params.code), leaf(params.code_bias)
    opened, open_bias = leaf(params.open), leaf(params.open_bias)
    x, grads = rng.random((6, 64)), like(params)
    loss = net.loss_and_grad(params, None, (x,), grads, net.workspace(6), None)
    a = torch.from_numpy(x).reshape(6, 1, 8, 8)
    for layer in (0, 1):
        a = torch.relu(functional.conv2d(a, w[layer], b[layer], stride=2, padding=1))
    h = functional.linear(a.permute(0, 2, 3, 1).reshape(6, -1), code, code_bias)
    a = torch.relu(functional.linear(h, opened, open_bias)).reshape(6, 2, 2, 5)
    a = a.permute(0, 3, 1, 2)
    for layer in (2, 3):
        a = functional.conv2d(
            functional.interpolate(a, scale_factor=2), w[layer], b[layer], padding=1
        )
        a = torch.relu(a) if layer == 2 else a
    target = torch.from_numpy(x)
    cost = functional.binary_cross_entropy_with_logits(a.reshape(6, 64), target, reduction="sum")
    close(loss, cost / 6)
    tensors = (*w, *b, code, code_bias, opened, open_bias)
    ours = (*grads.w, *grads.b, grads.code, grads.code_bias, grads.open, grads.open_bias)
    for found, expected in zip(ours, torch.autograd.grad(cost / 6, tensors), strict=True):
        close(found, expected, 1e-10)


def test_the_step_on_the_page(rng):
    """Twenty steps of the shown code and of ours, with Adam, noise and the penalty."""
    names = {}
    exec(compile(shown("autoencoders"), "autoencoders.md", "exec"), names)
    net = Autoencoder(
        (64, 32, 16),
        code_activation="sigmoid",
        likelihood="bernoulli",
        kl=0.2,
        rho=0.1,
        dtype="float64",
    )
    params, adam = net.init(rng), Adam(0.003)
    dense = [names[part][at] for part in ("encoder", "decoder") for at in (0, 2)]
    copy_into(dense, params)
    grads, slots, work = like(params), adam.start(params.flat), net.workspace(32)
    for step in range(1, 21):
        x = rng.random((32, 64))
        noisy = ae.corrupt(x, "mask", 0.3, rng)
        loss = names["step"](torch.from_numpy(x), torch.from_numpy(noisy), 0.2, 0.1)
        mine = net.loss_and_grad(params, None, (noisy, x), grads, work, None)
        close(mine, loss, 1e-6)
        adam.update(params.flat, grads.flat, slots, step)
    with torch.no_grad():
        theirs = names["encoder"](torch.from_numpy(x))
    close(net.encode(params, x), theirs, 1e-4)
