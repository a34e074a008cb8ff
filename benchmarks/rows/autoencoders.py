"""A training step of an autoencoder for the digits, dense and convolutional.

On every side: squared error of a linear output, inputs that stay in memory, float32. Compared are
the cost of the second step and what two steps changed.
"""

import itertools

import numpy as np

from benchmarks.row import OURS, Row
from benchmarks.rows.backprop import change
from benchmarks.rows.training import RATE, jax_whole

SIZES, BATCH = (64, 32, 16, 32, 64), 32


def start():
    """Return inputs, and weights and biases of each layer."""
    rng = np.random.default_rng(1)
    x = rng.random((BATCH, SIZES[0])).astype(np.float32)
    pairs = itertools.pairwise(SIZES)
    layers = [(rng.standard_normal((n, m)) / np.sqrt(m), np.zeros(n)) for m, n in pairs]
    return x, [(w.astype(np.float32), b.astype(np.float32)) for w, b in layers]


def dlbook(adam):
    """Our model as the loop calls it: a fused gradient, then one pass of the optimizer."""
    from dlbook import optimization
    from dlbook.autoencoders import Autoencoder
    from dlbook.tools.flat import like

    x, layers = start()
    net = Autoencoder(SIZES[:3])
    params = net.init(np.random.default_rng())
    params.flat[:] = np.concatenate([np.ravel(p) for layer in layers for p in layer])
    grads, work = like(params), net.workspace(BATCH)
    optimizer = optimization.Adam(RATE) if adam else optimization.SGD(RATE)
    slots, last = optimizer.start(params.flat), [0.0, 0]

    def step():
        last[1] += 1
        last[0] = net.loss_and_grad(params, None, (x,), grads, work, None)
        optimizer.update(params.flat, grads.flat, slots, last[1])

    def result():
        return change(last[0], zip(params.w[2:], params.b[2:], strict=True), layers)

    return step, result


def torch_model():
    """Return PyTorch's model and data, and a function that gives a side's result."""
    import torch
    from torch import nn

    x, layers = start()
    linear = [nn.Linear(m, n) for m, n in itertools.pairwise(SIZES)]
    with torch.no_grad():
        for module, (w, b) in zip(linear, layers, strict=True):
            module.weight.copy_(torch.from_numpy(w))
            module.bias.copy_(torch.from_numpy(b))
    relu = nn.ReLU()
    model = nn.Sequential(linear[0], relu, linear[1], linear[2], relu, linear[3])

    def result(loss):
        now = [(one.weight.detach().numpy(), one.bias.detach().numpy()) for one in linear]
        return change(loss, now, layers)

    return torch, model, torch.from_numpy(x), result


def cost_of(torch, model, x):
    return torch.nn.functional.mse_loss(model(x), x, reduction="sum") / (2 * BATCH)


def torch_eager(adam, compiled=False):
    """PyTorch with its fused optimizer; where compiled, model and cost are one function."""
    torch, model, x, result = torch_model()
    kind = torch.optim.Adam if adam else torch.optim.SGD
    optimizer, last = kind(model.parameters(), lr=RATE, fused=True), [None]

    def cost():
        return cost_of(torch, model, x)

    if compiled:
        cost = torch.compile(cost, mode="max-autotune-no-cudagraphs")

    def step():
        optimizer.zero_grad(set_to_none=True)
        last[0] = cost()
        last[0].backward()
        optimizer.step()

    return step, lambda: result(last[0].detach())


def torch_whole(adam):
    """The whole step in functional form, with the optimizer written out, in one function."""
    torch, model, x, result = torch_model()
    names, tensors = zip(*model.named_parameters(), strict=True)
    parameters = [p.detach() for p in tensors]
    m, v = ([torch.zeros_like(p) for p in parameters] for _ in range(2))
    last, t = [None], torch.zeros(())

    def cost(parameters):
        given = dict(zip(names, parameters, strict=True))
        out = torch.func.functional_call(model, given, x)
        return torch.nn.functional.mse_loss(out, x, reduction="sum") / (2 * BATCH)

    @torch.compile(mode="max-autotune-no-cudagraphs")
    def whole(parameters, m, v, t):
        grads, loss = torch.func.grad_and_value(cost)(parameters)
        t.add_(1)
        for p, g, a, b in zip(parameters, grads, m, v, strict=True):
            if not adam:
                p.sub_(g, alpha=RATE)
                continue
            a.mul_(0.9).add_(g, alpha=0.1)
            b.mul_(0.999).addcmul_(g, g, value=0.001)
            root = (b / (1 - 0.999**t)).sqrt() + 1e-8
            p.sub_(RATE / (1 - 0.9**t) * a / root)
        return loss

    @torch.no_grad()
    def step():
        last[0] = whole(parameters, m, v, t)

    return step, lambda: result(last[0])


def jax_jit(adam):
    """JAX: the whole step under jit, its state donated."""
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

    return jax_whole(jax, layers, cost, adam)


SIDES = {
    OURS: dlbook,
    "torch": torch_eager,
    "torch.compile": lambda adam: torch_eager(adam, compiled=True),
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
