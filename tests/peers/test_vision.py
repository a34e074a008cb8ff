"""Transposed convolution, unpooling and the costs of pixels and boxes, against PyTorch."""
# ruff: noqa: E741

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from shown import shown
from torch import nn

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


class Reader(nn.Module):
    """A body with batch norm, and a head of three classes."""

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(6, 4), nn.BatchNorm1d(4), nn.ReLU())
        self.head = nn.Linear(4, 3)

    def forward(self, x):
        return self.head(self.body(x))


def values(module):
    """Return copies of all that a module stores: parameters and averages."""
    return {name: value.clone() for name, value in module.state_dict().items()}


@pytest.mark.parametrize("evaluated", [True, False])
def test_frozen_is_without_gradient_and_in_evaluation(rng, evaluated):
    """Without `eval()` the averages of batch norm move on, though no weight does."""
    net = Reader().double()
    net.body.requires_grad_(False).train(not evaluated)
    before = values(net.body)
    x, t = torch.from_numpy(rng.normal(size=(8, 6))), torch.from_numpy(rng.integers(3, size=8))
    F.cross_entropy(net(x), t).backward()
    assert all(p.grad is None for p in net.body.parameters())
    moved = {name for name, value in values(net.body).items() if not value.equal(before[name])}
    stored = {"1.running_mean", "1.running_var", "1.num_batches_tracked"}
    assert moved == (set() if evaluated else stored)
    w, b = (p.detach().numpy() for p in net.head.parameters())
    if evaluated:
        found = vi.frozen_grad(net.body(x).numpy(), w, b, t.numpy())
        for mine, theirs in zip(found, net.head.parameters(), strict=True):
            close(mine, theirs.grad, 1e-12)


def test_the_cost_of_a_detector(rng):
    """Three costs of PyTorch, each a sum, added, and divided by the number of images."""
    for N, Q, K in ((2, 9, 4), (3, 1, 2), (1, 6, 3)):
        chi, t = rng.integers(2, size=(N, Q)), rng.integers(K, size=(N, Q))
        chi[0, 0] = 1
        arrays = rng.normal(size=(N, Q)), rng.normal(size=(N, Q, K)), 2 * rng.normal(size=(N, Q, 4))
        code = rng.normal(size=(N, Q, 4))
        eta, z, s = given = tensors(*arrays)
        held = torch.from_numpy(chi > 0)
        cost = F.binary_cross_entropy_with_logits(
            eta, torch.from_numpy(chi).double(), reduction="sum"
        )
        cost = cost + F.cross_entropy(z[held], torch.from_numpy(t)[held], reduction="sum")
        wanted = torch.from_numpy(code)[held]
        cost = (cost + 0.6 * F.smooth_l1_loss(s[held], wanted, reduction="sum")) / N
        args = *arrays, chi, t, code, 0.6
        assert vi.detection_cost(*args) == pytest.approx(cost.item(), rel=1e-12)
        slopes = torch.autograd.grad(cost, given)
        for mine, theirs in zip(vi.detection_cost_backward(*args), slopes, strict=True):
            close(mine, theirs, 1e-12)


def test_the_code_on_the_page(rng):
    y, w, b = (rng.normal(size=s) for s in ((2, 3, 4, 5), (3, 2, 4, 4), 2))
    x, scores = rng.normal(size=(2, 3, 6, 7)), rng.normal(size=(2, 5, 3, 4))
    t = rng.integers(5, size=(2, 3, 4))
    found, wanted = 2 * rng.normal(size=(2, 9, 4))
    given = {"y": y, "w": w, "b": b, "x": x, "scores": scores, "t": t}
    given |= {"found": found, "wanted": wanted}
    names = {name: torch.from_numpy(array) for name, array in given.items()}
    net = Reader()
    body, images = values(net.body), torch.from_numpy(rng.normal(size=(20, 6)))
    labels = torch.from_numpy(rng.integers(5, size=20))
    names |= {"net": net, "images": images, "labels": labels}
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
    assert net.head.out_features == 5
    assert F.cross_entropy(net(images), labels).item() < np.log(5)
    moved = {name for name, value in values(net.body).items() if not value.equal(body[name])}
    assert moved == {"0.weight", "0.bias", "1.weight", "1.bias"}  # no average of batch norm
