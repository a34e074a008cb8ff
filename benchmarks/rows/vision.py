"""Transposed convolutions, forward and backward, beside PyTorch, float32.

The output and the derivatives by input, filters and biases, stride 2, which doubles the sides.
Maps lie channels last on our side and in both layouts on PyTorch's; turning them round is not timed.
"""
# ruff: noqa: E741

import numpy as np

from benchmarks.row import OURS, Row


def arrays(N, C, O, H, U):
    """Return maps, filters, biases and errors of the output."""
    rng = np.random.default_rng(1)
    y, dz = (rng.standard_normal((N, c, s, s)).astype(np.float32) for c, s in ((C, H), (O, 2 * H)))
    w = 0.1 * rng.standard_normal((C, O, U, U)).astype(np.float32)
    return y, w, rng.standard_normal(O).astype(np.float32), dz


def ours(N, C, O, H, U):
    """The kernels of the convolution whose adjoint this is, with their memory at hand."""
    from dlbook.fast import conv

    y, w, b, dz = arrays(N, C, O, H, U)
    how = ((2, 2), (U // 2 - 1,) * 2, (1, 1), 1)
    maps, errors = (np.ascontiguousarray(a.transpose(0, 2, 3, 1)) for a in (y, dz))
    z, dy, dw, db = map(np.empty_like, (errors, maps, w, b))
    mem = conv.memory(errors.shape, w.shape, maps.shape, how, np.float32)

    def call():
        conv.adjoint(maps, w, b, how, mem, z)
        conv.adjoint_backward(errors, maps, w, how, mem, dy, dw, db)

    return call, lambda: [z.transpose(0, 3, 1, 2), dy.transpose(0, 3, 1, 2), dw, db]


def theirs(N, C, O, H, U, last=False):
    """PyTorch's function and autograd, in either layout."""
    import torch

    y, w, b, dz = map(torch.from_numpy, arrays(N, C, O, H, U))
    if last:
        y, w, dz = (t.contiguous(memory_format=torch.channels_last) for t in (y, w, dz))
    for tensor in (y, w, b):
        tensor.requires_grad_()
    kept = [None]

    def call():
        y.grad = w.grad = b.grad = None
        kept[0] = torch.nn.functional.conv_transpose2d(y, w, b, stride=2, padding=U // 2 - 1)
        kept[0].backward(dz)

    return call, lambda: [t.numpy() for t in (kept[0].detach(), y.grad, w.grad, b.grad)]


SIDES = {
    OURS: ours,
    "torch": theirs,
    "torch.channels_last": lambda **size: theirs(**size, last=True),
}

ROWS = [
    Row(
        name,
        f"{U}×{U} transposed convolution, stride 2, {N} maps, {C} → {O} channels, "
        f"{H} × {H} to {2 * H} × {2 * H}, both directions",
        SIDES,
        {"N": N, "C": C, "O": O, "H": H, "U": U},
        rtol=1e-4,
        threads=threads,
        work=6 * N * H * H * C * O * U * U,
        target={"torch": least},
    )
    for name, N, C, O, H, U, threads, least in (
        ("transposed-small", 32, 16, 8, 4, 4, (1,), 1.8),
        ("transposed-large", 16, 64, 64, 28, 4, (1, 2), 1.2),
        ("transposed-2x2", 16, 64, 64, 28, 2, (1, 2), 1.1),
    )
]
