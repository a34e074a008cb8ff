"""Convolutions and max pooling forward and backward, and a training step of the network.

All in float32. Layers: the output and the derivatives by input, filters and biases. Images lie
channels last on our side and in both layouts on PyTorch's; turning them round is not timed.
"""

import numpy as np

from benchmarks import steps
from benchmarks.row import OURS, Row
from dlbook.fast.pool import pool_backward_into, pool_into

RATE = 0.01


def arrays(N, C, K, H, F):
    rng = np.random.default_rng(1)
    x, dz = (rng.standard_normal((N, c, H, H)).astype(np.float32) for c in (C, K))
    w = 0.1 * rng.standard_normal((K, C, F, F)).astype(np.float32)
    return x, w, np.zeros(K, np.float32), dz


def our_layer(N, C, K, H, F):
    """The fast kernels with their memory at hand."""
    from dlbook.fast import conv

    x, w, b, dz = arrays(N, C, K, H, F)
    how = ((1, 1), (F // 2, F // 2), (1, 1), 1)
    images, errors = (np.ascontiguousarray(a.transpose(0, 2, 3, 1)) for a in (x, dz))
    z, dx, dw, db = map(np.empty_like, (errors, images, w, b))
    mem = conv.memory(images.shape, w.shape, z.shape, how, np.float32)

    def call():
        conv.forward(images, w, b, how, mem, z)
        conv.backward(errors, images, w, how, mem, dx, dw, db)

    return call, lambda: [z.transpose(0, 3, 1, 2), dx.transpose(0, 3, 1, 2), dw, db]


def torch_layer(N, C, K, H, F, last=False):
    """PyTorch's layer and autograd, in either layout."""
    import torch

    x, w, b, dz = map(torch.from_numpy, arrays(N, C, K, H, F))
    if last:
        x, w, dz = (t.contiguous(memory_format=torch.channels_last) for t in (x, w, dz))
    for tensor in (x, w, b):
        tensor.requires_grad_()
    kept = [None]

    def call():
        x.grad = w.grad = b.grad = None
        kept[0] = torch.nn.functional.conv2d(x, w, b, padding=F // 2)
        kept[0].backward(dz)

    return call, lambda: [t.numpy() for t in (kept[0].detach(), x.grad, w.grad, b.grad)]


def our_pool(N, C, H):

    x, _, _, dy = pool_arrays(N, C, H)
    x, dy = (np.ascontiguousarray(a.transpose(0, 2, 3, 1)) for a in (x, dy))
    y, at, dx, two = np.empty_like(dy), np.empty(dy.shape, np.int32), np.empty_like(x), (2, 2)

    def call():
        pool_into(x, two, two, y, at)
        pool_backward_into(dy, at, two, two, dx)

    return call, lambda: [a.transpose(0, 3, 1, 2) for a in (y, dx)]


def pool_arrays(N, C, H):
    x, w, b, _ = arrays(N, C, 1, H, 1)
    return x, w, b, np.random.default_rng(2).standard_normal((N, C, H // 2, H // 2), np.float32)


def torch_pool(N, C, H, last=False):
    import torch

    x, _, _, dy = map(torch.from_numpy, pool_arrays(N, C, H))
    if last:
        x, dy = (t.contiguous(memory_format=torch.channels_last) for t in (x, dy))
    x.requires_grad_()
    kept = [None]

    def call():
        x.grad = None
        kept[0] = torch.nn.functional.max_pool2d(x, 2)
        kept[0].backward(dy)

    return call, lambda: [kept[0].detach().numpy(), x.grad.numpy()]


def network():
    """The same first weights and batch for both sides."""
    from dlbook.nets import CNN

    net, rng = CNN(8, (32, 64)), np.random.default_rng(1)
    params = net.init(rng)
    x = rng.random((64, 64), np.float32)
    return net, params, x, rng.integers(10, size=64)


def our_step():
    """Our model as the loop calls it."""
    net, params, x, y = network()
    return steps.our_step(net, params, (x, y), RATE, lambda loss: [np.array([loss])], adam=True)


def torch_step(last_axis=False, mode=None):
    """PyTorch's layers with our first weights and its fused Adam."""
    import torch
    from torch import nn

    _, params, x, y = network()
    model = nn.Sequential(
        nn.Conv2d(1, 32, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(32, 64, 3, padding=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(1024, 10),
    )
    top = params.top.reshape(10, 4, 4, 64).transpose(0, 3, 1, 2).reshape(10, -1)
    given = params.w[0], params.b[0], params.w[1], params.b[1], top, params.bias
    with torch.no_grad():
        for tensor, array in zip(model.parameters(), given, strict=True):
            tensor.copy_(torch.from_numpy(array.copy()))
    x, y = torch.from_numpy(x).reshape(-1, 1, 8, 8), torch.from_numpy(y)
    if last_axis:
        model = model.to(memory_format=torch.channels_last)

    def cost():
        return nn.functional.cross_entropy(model(x), y)

    def result(loss):
        return [np.array([float(loss)])]

    return steps.torch_step(model.parameters(), cost, RATE, result, True, mode)


LAYER = {
    OURS: our_layer,
    "torch": torch_layer,
    "torch.channels_last": lambda **size: torch_layer(**size, last=True),
}
POOL = {
    OURS: our_pool,
    "torch": torch_pool,
    "torch.channels_last": lambda **size: torch_pool(**size, last=True),
}
STEP = {
    OURS: our_step,
    "torch": torch_step,
    "torch.channels_last": lambda: torch_step(last_axis=True),
    "torch.compile": lambda: torch_step(mode=steps.TUNED),
}

ROWS = [
    *(
        Row(
            name,
            f"{F}×{F} convolution, {N} images, {C} → {K} channels, {H} × {H}, both directions",
            LAYER,
            {"N": N, "C": C, "K": K, "H": H, "F": F},
            rtol=1e-4,
            threads=threads,
            work=6 * N * H * H * C * K * F * F,
            target={"torch": least},
        )
        for name, N, C, K, H, F, threads, least in (
            ("conv-first", 32, 1, 8, 8, 3, (1,), 8),
            ("conv-small", 32, 8, 16, 8, 3, (1,), 1.8),
            ("conv-large", 16, 64, 64, 56, 3, (1, 2), 1.8),
            ("conv-1x1", 16, 64, 64, 56, 1, (1, 2), 1.1),
        )
    ),
    *(
        Row(
            name,
            f"2×2 max pooling, {N} × {C} × {H} × {H}, both directions",
            POOL,
            {"N": N, "C": C, "H": H},
            work=4 * N * C * H * H * 3,
            unit="byte",
            target={"torch": least},
        )
        for name, N, C, H, least in (
            ("pool-small", 32, 8, 8, 1.7),
            ("pool-large", 16, 64, 56, 6),
        )
    ),
    Row(
        "cnn-step",
        "Adam step of the convolutional network on digits, batch 64",
        STEP,
        rtol=1e-3,
        threads=(1, 2),
        work=6 * 64 * (64 * 9 * 32 + 16 * 9 * 32 * 64 + 1024 * 10),
        target={"torch": 2},
    ),
]
