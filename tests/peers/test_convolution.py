"""Convolution and pooling, forward and in every gradient, against PyTorch."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from drawn import how, pool_how
from shown import shown

from dlbook import convolution as cv
from dlbook.nets import CNN
from dlbook.tools.flat import like

DTYPES = [(np.float64, 1e-10), (np.float32, 2e-5)]


def close(found, expected, rtol):
    expected = expected.detach().numpy()
    assert found.shape == expected.shape and found.dtype == expected.dtype
    scale = max(1.0, np.abs(expected).max())
    np.testing.assert_allclose(found, expected, rtol=0, atol=rtol * scale)


def tensors(*arrays):
    return [torch.from_numpy(a.copy()).requires_grad_() for a in arrays]


@pytest.mark.parametrize(("dtype", "rtol"), DTYPES)
def test_conv2d(dtype, rtol):
    """300 layers: rectangular filters, strides, paddings and dilations, groups."""
    for seed in range(300):
        rng = np.random.default_rng(seed)
        shape, filters, more = how(rng)
        x, w, b = (rng.normal(size=s).astype(dtype) for s in (shape, filters, filters[:1]))
        given = tensors(x, w, b)
        z = F.conv2d(*given, **more)
        close(cv.conv2d(x, w, b, **more), z, rtol)
        dz = rng.normal(size=z.shape).astype(dtype)
        expected = torch.autograd.grad(z, given, torch.from_numpy(dz))
        for found, wanted in zip(cv.conv2d_backward(dz, x, w, **more), expected, strict=True):
            close(found, wanted, rtol)


@pytest.mark.parametrize(("dtype", "rtol"), DTYPES)
@pytest.mark.parametrize("kind", ["max", "avg"])
def test_pooling(kind, dtype, rtol):
    """300 windows each, with equal numbers among those of a window in every other one."""
    theirs = F.max_pool2d if kind == "max" else F.avg_pool2d
    mine, back = getattr(cv, f"{kind}_pool2d"), getattr(cv, f"{kind}_pool2d_backward")
    for seed in range(300):
        rng = np.random.default_rng(seed)
        shape, size, stride, padding = pool_how(rng)
        draw = rng.integers(0, 4, size=shape) if seed % 2 else rng.normal(size=shape)
        x, more = draw.astype(dtype), {"stride": stride, "padding": padding}
        (given,) = tensors(x)
        y = theirs(given, size, **more)
        close(mine(x, size, **more), y, rtol)
        dy = rng.normal(size=y.shape).astype(dtype)
        (expected,) = torch.autograd.grad(y, given, torch.from_numpy(dy))
        close(back(dy, x, size, **more), expected, rtol)


def test_im2col(rng):
    for seed in range(50):
        shape, filters, more = how(np.random.default_rng(seed))
        x, _ = rng.normal(size=shape), more.pop("groups")
        expected = F.unfold(torch.from_numpy(x), filters[2:], **more).transpose(1, 2)
        close(cv.im2col(x, filters[2:], **more), expected.reshape(-1, expected.shape[2]), 1e-15)


def test_the_code_on_the_page(rng):
    """Its layer, its pooling, its patches; and its network from our weights, with every gradient."""
    x, w, b = (rng.normal(size=s) for s in ((2, 4, 9, 10), (6, 2, 3, 2), 6))
    names = {"x": torch.from_numpy(x), "w": torch.from_numpy(w), "b": torch.from_numpy(b)}
    exec(compile(shown("convolution"), "convolution.md", "exec"), names)
    z = cv.conv2d(x, w, b, stride=(2, 1), padding=1, dilation=(1, 2), groups=2)
    close(z, names["z"], 1e-12)
    close(cv.max_pool2d(z, 2), names["y"], 1e-12)
    expected = names["p"].transpose(1, 2).reshape(-1, names["p"].shape[1])
    close(cv.im2col(x, (3, 2)), expected, 1e-15)
    net, model = CNN(8, (32, 64), dtype="float64"), names["model"]
    params = net.init(rng)
    params.flat[:] += 0.1 * rng.normal(size=params.flat.size)
    top = params.top.reshape(10, 4, 4, 64).transpose(0, 3, 1, 2).reshape(10, -1)
    arrays = params.w[0], params.b[0], params.w[1], params.b[1], top, params.bias
    with torch.no_grad():
        for tensor, array in zip(model.parameters(), arrays, strict=True):
            tensor.copy_(torch.from_numpy(array))
    images, y = rng.normal(size=(7, 64)), rng.integers(10, size=7)
    cost = F.cross_entropy(model(torch.from_numpy(images.reshape(7, 1, 8, 8))), torch.from_numpy(y))
    cost.backward()
    grads = like(params)
    loss = net.loss_and_grad(params, None, (images, y), grads, net.workspace(9), None)
    assert loss == pytest.approx(float(cost.detach()), rel=1e-12)
    top = grads.top.reshape(10, 4, 4, 64).transpose(0, 3, 1, 2).reshape(10, -1)
    mine = grads.w[0], grads.b[0], grads.w[1], grads.b[1], top, grads.bias
    for found, tensor in zip(mine, model.parameters(), strict=True):
        close(found, tensor.grad, 1e-10)
