"""A training step of a denoiser for the digits, which predicts v and is told time and class.

On every side: times, noise and left-out classes drawn anew in each step, sines and cosines of the time,
SiLU, mean square, Adam, examples that stay in memory, float32. Libraries draw other numbers. So that
sides can be compared, those of our first two steps are handed to the others, which draw for themselves
from the third on; compiled ones draw in every step and choose, which they do in the same pass. Compared
are the cost of the second step and what two steps changed.
"""

import itertools

import numpy as np

from benchmarks import steps
from benchmarks.row import OURS, Row
from benchmarks.rows.backprop import change, torch_linear

SIZES, CLASSES, WAVES = (64, 128, 128, 64), 10, 4
RATE, DROP, GIVEN = 0.002, 0.15, 2
INTO = SIZES[0] + 2 * WAVES + CLASSES
PAIRS = [*itertools.pairwise((INTO, *SIZES[1:]))]
FREQUENCIES = np.float32(np.pi / 2) * 2 ** np.arange(WAVES, dtype=np.float32)


def start(batch):
    """Return examples and classes, and weights and biases of each layer."""
    rng = np.random.default_rng(1)
    x = rng.uniform(-1, 1, (batch, SIZES[0])).astype(np.float32)
    y = rng.integers(0, CLASSES, batch)
    layers = [(rng.standard_normal((n, m)) / np.sqrt(m), np.zeros(n)) for m, n in PAIRS]
    return x, y, [(w.astype(np.float32), b.astype(np.float32)) for w, b in layers]


def generator():
    """Return the generator that our side draws with."""
    return np.random.Generator(np.random.SFC64(0))


def given(batch):
    """Return times, noise, and whose class is kept, as our first steps draw them."""
    from dlbook.fast.normal import normals

    rng, drawn = generator(), []
    for _ in range(GIVEN):
        u, eps = rng.random(batch, np.float32), np.empty((batch, SIZES[0]), np.float32)
        normals(rng, eps)
        kept = rng.random(batch, np.float32) >= DROP
        drawn.append((u, eps, kept.astype(np.float32)))
    return [np.stack(parts) for parts in zip(*drawn, strict=True)]


def dlbook(adam, batch):
    """Our model as the loop calls it."""
    from dlbook.nets import Denoiser

    x, y, layers = start(batch)
    net = Denoiser(SIZES, classes=CLASSES, drop=DROP, waves=WAVES)
    params = net.init(np.random.default_rng())
    params.flat[:] = np.concatenate([np.ravel(p) for layer in layers for p in layer])

    def result(loss):
        return change(loss, zip(params.w[2:], params.b[2:], strict=True), layers)

    return steps.our_step(net, params, net.check(params, (x, y)), RATE, result, adam, generator())


def torch_model(batch):
    """Return PyTorch's model, what it costs for times, noise and classes kept, and three helpers.

    These are: draws, the draws that are given, and a function that gives the result.
    """
    import torch
    from torch import nn

    x, y, layers = start(batch)
    x, onehot = torch.from_numpy(x), nn.functional.one_hot(torch.from_numpy(y), CLASSES).float()
    linear, result = torch_linear(layers)
    frequencies = torch.from_numpy(FREQUENCIES)
    model = nn.Sequential(linear[0], nn.SiLU(), linear[1], nn.SiLU(), linear[2])

    def cost(model, u, eps, kept):
        angles = u[:, None] * frequencies
        sines, cosines = angles.sin(), angles.cos()
        alpha, sigma = cosines[:, :1], sines[:, :1]
        seen = torch.cat((alpha * x + sigma * eps, sines, cosines, kept[:, None] * onehot), 1)
        return nn.functional.mse_loss(model(seen), alpha * eps - sigma * x)

    def draw():
        kept = (torch.rand(batch) >= DROP).float()
        return torch.rand(batch), torch.randn_like(x), kept

    return model, cost, draw, [torch.from_numpy(part) for part in given(batch)], result


def torch_eager(adam, batch):
    """PyTorch with its fused optimizer."""
    model, cost, draw, first, result = torch_model(batch)
    count = itertools.count()

    def drawn():
        k = next(count)
        return cost(model, *((part[k] for part in first) if k < GIVEN else draw()))

    return steps.torch_step(model.parameters(), drawn, RATE, result, adam)


def chosen_of(draw, first):
    """Return a function of the number of steps done: what is given, or what is drawn."""
    import torch

    def chosen(t):
        k, early = t.clamp(max=GIVEN - 1).long(), t < GIVEN
        return [torch.where(early, a[k], b) for a, b in zip(first, draw(), strict=True)]

    return chosen


def torch_compiled(adam, batch):
    """Cost and gradient compiled, with the draws, the optimizer fused."""
    import torch

    model, cost, draw, first, result = torch_model(batch)
    chosen, t = chosen_of(draw, first), torch.zeros(())
    whole = torch.compile(lambda t: cost(model, *chosen(t)), mode=steps.TUNED)

    def counted():
        loss = whole(t)
        t.add_(1)
        return loss

    return steps.torch_step(model.parameters(), counted, RATE, result, adam)


def torch_whole(adam, batch):
    """The whole step in one compiled function."""
    model, cost, draw, first, result = torch_model(batch)
    chosen = chosen_of(draw, first)
    counted = lambda model, t: cost(model, *chosen(t))
    return steps.torch_whole(model, counted, RATE, result, adam, counted=True)


def jax_jit(adam, batch):
    """JAX: the whole step under jit; the number of steps seeds its noise."""
    import jax

    x, y, layers = start(batch)
    x, onehot = jax.device_put(x), jax.nn.one_hot(y, CLASSES)
    first = [jax.device_put(part) for part in given(batch)]

    def cost(params, t):
        k = t.astype(np.int32)
        keys = jax.random.split(jax.random.key(k), 3)
        drawn = (
            jax.random.uniform(keys[0], (batch,)),
            jax.random.normal(keys[1], x.shape),
            (jax.random.uniform(keys[2], (batch,)) >= DROP).astype(np.float32),
        )
        at = jax.numpy.minimum(k, GIVEN - 1)
        u, eps, kept = (
            jax.numpy.where(k < GIVEN, a[at], b) for a, b in zip(first, drawn, strict=True)
        )
        angles = u[:, None] * FREQUENCIES
        sines, cosines = jax.numpy.sin(angles), jax.numpy.cos(angles)
        alpha, sigma = cosines[:, :1], sines[:, :1]
        parts = (alpha * x + sigma * eps, sines, cosines, kept[:, None] * onehot)
        a = jax.numpy.concatenate(parts, axis=1)
        for w, b in params[:-1]:
            a = jax.nn.silu(a @ w.T + b)
        w, b = params[-1]
        return ((a @ w.T + b - (alpha * eps - sigma * x)) ** 2).mean()

    def result(loss, now):
        return change(loss, now, layers)

    return steps.jax_step(jax, cost, layers, RATE, result, adam, counted=True)


SIDES = {
    OURS: dlbook,
    "torch": torch_eager,
    "torch.compile": torch_compiled,
    "torch.compile whole": torch_whole,
    "jax": jax_jit,
}
COUNTS = [n * m for m, n in PAIRS]

ROWS = [
    Row(
        f"denoiser-adam-{batch}",
        f"Adam step of a denoiser with v, time and class, 82-128-128-64, batch {batch}",
        SIDES,
        {"adam": True, "batch": batch},
        rtol=1e-3,
        work=2 * batch * (3 * sum(COUNTS) - COUNTS[0]),
        target={"torch": 5},
    )
    for batch in (64, 128)
]
