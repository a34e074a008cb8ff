"""A training step of an autoencoder for the digits, dense and convolutional.

On every side: squared error of a linear output, inputs that stay in memory, float32. Compared are
the cost of the second step and what two steps changed.
"""

import itertools

import numpy as np

from benchmarks import steps
from benchmarks.row import OURS, Row
from benchmarks.rows.backprop import change, torch_linear

SIZES, BATCH, RATE = (64, 32, 16, 32, 64), 32, 0.01


def start():
    """Return inputs, and weights and biases of each layer."""
    rng = np.random.default_rng(1)
    x = rng.random((BATCH, SIZES[0])).astype(np.float32)
    pairs = itertools.pairwise(SIZES)
    layers = [(rng.standard_normal((n, m)) / np.sqrt(m), np.zeros(n)) for m, n in pairs]
    return x, [(w.astype(np.float32), b.astype(np.float32)) for w, b in layers]


def dlbook(adam):
    """Our model as the loop calls it."""
    from dlbook.nets import Autoencoder

    x, layers = start()
    net = Autoencoder(SIZES[:3])
    params = net.init(np.random.default_rng())
    params.flat[:] = np.concatenate([np.ravel(p) for layer in layers for p in layer])

    def result(loss):
        return change(loss, zip(params.w[2:], params.b[2:], strict=True), layers)

    return steps.our_step(net, params, (x,), RATE, result, adam)


def torch_model():
    """Return PyTorch's model, its cost, given what stands for it, and a function that gives the result."""
    import torch
    from torch import nn

    x, layers = start()
    x = torch.from_numpy(x)
    linear, result = torch_linear(layers)
    relu = nn.ReLU()
    model = nn.Sequential(linear[0], relu, linear[1], linear[2], relu, linear[3])

    def cost(model):
        return nn.functional.mse_loss(model(x), x, reduction="sum") / (2 * BATCH)

    return model, cost, result


def torch_eager(adam, mode=None):
    """PyTorch with its fused optimizer."""
    model, cost, result = torch_model()
    return steps.torch_step(model.parameters(), lambda: cost(model), RATE, result, adam, mode)


def torch_whole(adam):
    """The whole step in one compiled function."""
    model, cost, result = torch_model()
    return steps.torch_whole(model, cost, RATE, result, adam)


def jax_jit(adam):
    """JAX: the whole step under jit."""
    import jax

    x, layers = start()
    x = jax.device_put(x)

    def cost(params):
        a = x
        for layer, (w, b) in enumerate(params):
            a = a @ w.T + b
            if layer in (0, 2):
                a = jax.nn.relu(a)
        return ((a - x) ** 2).sum() / (2 * BATCH)

    def result(loss, now):
        return change(loss, now, layers)

    return steps.jax_step(jax, cost, layers, RATE, result, adam)


SIDES = {
    OURS: dlbook,
    "torch": torch_eager,
    "torch.compile": lambda adam: torch_eager(adam, steps.TUNED),
    "torch.compile whole": torch_whole,
    "jax": jax_jit,
}
PAIRS = [n * m for m, n in itertools.pairwise(SIZES)]
WORK = 2 * BATCH * (3 * sum(PAIRS) - PAIRS[0])

ROWS = [
    Row(
        f"autoencoder-{name}",
        f"{what} step of an autoencoder, 64-32-16-32-64, batch 32",
        SIDES,
        {"adam": name == "adam"},
        rtol=rtol,
        work=WORK,
        target={"torch": 5},
    )
    for name, what, rtol in (
        ("sgd", "SGD", 1e-4),
        ("adam", "Adam", 1e-3),  # its first step is ± the rate, whatever is left of a gradient
    )
]
