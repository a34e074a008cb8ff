"""Transposed convolution, unpooling and the costs of pixels and boxes, against PyTorch."""
# ruff: noqa: E741

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from shown import shown

from dlbook import vision as vi

DTYPES = [(np.float64, 1e-10), (np.float32, 2e-5)]


def close(found, expected, rtol):
    expected = expected.detach().numpy()
    assert found.shape == expected.shape and found.dtype == expected.dtype
    scale = max(1.0, np.abs(expected).max(initial=0))
    np.testing.assert_allclose(found, expected, rtol=0, atol=rtol * scale)


def tensors(*arrays):
    return [torch.from_numpy(a.copy()).requires_grad_() for a in arrays]


def drawn(rng):
    """Draw a layer that leaves something of its map: rectangular filters, strides, paddings."""
    N, C, O, U, V = (int(n) for n in rng.integers(1, 6, size=5))
    S, P = int(rng.integers(1, 4)), int(rng.integers(0, 3))
    least = [max(1, -(-(2 * P + 1 - side) // S) + 1) for side in (U, V)]
    H, W = (side + int(rng.integers(0, 5)) for side in least)
    return ((N, C, H, W), (C, O, U, V), O), S, P


@pytest.mark.parametrize(("dtype", "rtol"), DTYPES)
def test_transposed_convolution(dtype, rtol):
    """200 layers, forward and in every gradient; the fast one and the equation."""
    for seed in range(200):
        rng = np.random.default_rng(seed)
        sizes, S, P = drawn(rng)
        y, w, b = (rng.normal(size=s).astype(dtype) for s in sizes)
        given = tensors(y, w, b)
        z = F.conv_transpose2d(*given, stride=S, padding=P)
        close(vi.conv_transpose2d(y, w, b, stride=S, padding=P), z, rtol)
        close(vi.transposed_conv(y, w, b, S, P), z, rtol)
        rows = vi.upsampled_size(y.shape[2], w.shape[2], S, P)
        assert rows == vi.transposed_size(y.shape[2], w.shape[2], S, P) == z.shape[2]
        dz = rng.normal(size=z.shape).astype(dtype)
        expected = torch.autograd.grad(z, given, torch.from_numpy(dz))
        for found, wanted in zip(
            vi.transposed_conv_backward(dz, y, w, S, P), expected, strict=True
        ):
            close(found, wanted, rtol)


def test_what_leaves_nothing_is_refused_by_both():
    y, w = np.ones((1, 1, 2, 3)), np.ones((1, 1, 3, 3))
    with pytest.raises(RuntimeError):
        F.conv_transpose2d(torch.from_numpy(y), torch.from_numpy(w), padding=2)
    with pytest.raises(ValueError, match=r"\(2 − 1\)·1 \+ 3 − 2·2 = 0"):
        vi.conv_transpose2d(y, w, padding=2)


@pytest.mark.parametrize(("dtype", "rtol"), DTYPES)
def test_unpooling(dtype, rtol):
    """Maxima, their places and the way back; equal numbers in every other map."""
    for seed in range(100):
        rng = np.random.default_rng(seed)
        N, C, I, J, U, V = (int(n) for n in rng.integers(1, 5, size=6))
        shape = N, C, I * U + int(rng.integers(0, U)), J * V + int(rng.integers(0, V))
        x = (rng.integers(0, 3, size=shape) if seed % 2 else rng.normal(size=shape)).astype(dtype)
        (given,) = tensors(x)
        largest, places = F.max_pool2d(given, (U, V), return_indices=True)
        y, where = vi.max_pool_where(x, (U, V))
        close(y, largest, rtol)
        assert np.array_equal(where, places.numpy())
        (top,) = tensors(y)
        back = F.max_unpool2d(top, places, (U, V), output_size=shape[2:])
        close(vi.max_unpool(y, where, *shape[2:]), back, rtol)
        dx = rng.normal(size=shape).astype(dtype)
        (expected,) = torch.autograd.grad(back, top, torch.from_numpy(dx))
        close(vi.max_unpool_backward(dx, where), expected, rtol)


@pytest.mark.parametrize(("dtype", "rtol"), DTYPES)
def test_cross_entropy_of_pixels(dtype, rtol):
    for seed in range(50):
        rng = np.random.default_rng(seed)
        N, K, H, W = (int(n) for n in rng.integers(1, 6, size=4))
        z = (4 * rng.normal(size=(N, K, H, W))).astype(dtype)
        t = rng.integers(K, size=(N, H, W))
        (given,) = tensors(z)
        cost = F.cross_entropy(given, torch.from_numpy(t))
        (slope,) = torch.autograd.grad(cost, given)
        assert vi.pixel_cross_entropy(z, t) == pytest.approx(cost.item(), rel=rtol, abs=rtol)
        close(vi.pixel_cross_entropy_backward(z, t), slope, rtol)


@pytest.mark.parametrize(("dtype", "rtol"), DTYPES)
def test_smooth_l1(rng, dtype, rtol):
    r = np.append(2 * rng.normal(size=50), [-1, 0, 1]).astype(dtype)
    (given,) = tensors(r)
    cost = F.smooth_l1_loss(given, torch.zeros_like(given), reduction="none")
    close(vi.smooth_l1(r), cost, rtol)
    (slope,) = torch.autograd.grad(cost.sum(), given)
    close(vi.smooth_l1_slope(r), slope, rtol)


@pytest.mark.parametrize("layer", ["frozen", "tuned"])
def test_transfer(rng, layer):
    """A head on features: autograd leaves a frozen layer alone and reaches a tuned one."""
    x, v, c, w, b = (rng.normal(size=s) for s in ((7, 3), (4, 3), 4, (5, 4), 5))
    t = rng.integers(5, size=7)
    body, head = tensors(v, c), tensors(w, b)
    for tensor in body:
        tensor.requires_grad_(layer == "tuned")
    a = torch.relu(F.linear(torch.from_numpy(x), *body))
    F.cross_entropy(F.linear(a, *head), torch.from_numpy(t)).backward()
    found = vi.frozen_grad(a.detach().numpy(), w, b, t)
    for mine, tensor in zip(found, head, strict=True):
        close(mine, tensor.grad, 1e-10)
    if layer == "frozen":
        assert all(tensor.grad is None for tensor in body)
        return
    for mine, tensor in zip(vi.fine_tune_grad(x, v, c, w, b, t), body, strict=True):
        close(mine, tensor.grad, 1e-10)


def test_the_code_on_the_page(rng):
    y, w, b = (rng.normal(size=s) for s in ((2, 3, 4, 5), (3, 2, 4, 4), 2))
    x, scores = rng.normal(size=(2, 3, 6, 7)), rng.normal(size=(2, 5, 3, 4))
    t = rng.integers(5, size=(2, 3, 4))
    found, wanted = 2 * rng.normal(size=(2, 9, 4))
    given = {"y": y, "w": w, "b": b, "x": x, "scores": scores, "t": t}
    given |= {"found": found, "wanted": wanted}
    names = {name: torch.from_numpy(array) for name, array in given.items()}
    exec(compile(shown("vision"), "vision.md", "exec"), names)
    close(vi.conv_transpose2d(y, w, b, stride=2, padding=1), names["z"], 1e-12)
    largest, where = vi.max_pool_where(x, (2, 2))
    close(largest, names["largest"], 0)
    assert np.array_equal(where, names["where"].numpy())
    close(vi.max_unpool(largest, where, 6, 7), names["back"], 0)
    assert vi.pixel_cross_entropy(scores, t) == pytest.approx(float(names["cost"]), rel=1e-12)
    r = found - wanted
    assert vi.smooth_l1(r).mean() == pytest.approx(float(names["miss"]), rel=1e-12)
    expected = 0.25 * vi.smooth_l1(r / 0.5).mean()
    assert expected == pytest.approx(float(names["huber"]), rel=1e-12)
