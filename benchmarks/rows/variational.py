"""A training step of a variational autoencoder for the digits, with the draws of its codes.

On every side: Bernoulli output, a rate with the weight one half, inputs that stay in memory,
float32, and noise that is drawn anew in each step. Libraries draw different noise. So that sides
can be compared, the deviations begin at e⁻³⁰: their noise is drawn, multiplied and added, and
changes nothing. Compared are the cost of the second step and what two steps changed.
"""

import itertools

import numpy as np

from benchmarks import steps
from benchmarks.row import OURS, Row
from benchmarks.rows.backprop import change, torch_linear

UP, DOWN, CODE, BATCH = (64, 128, 128, 16), (8, 128, 128, 64), 8, 64
RATE, BETA, LOW = 0.002, 0.5, -30
PAIRS = [*itertools.pairwise(UP), *itertools.pairwise(DOWN)]


def start():
    """Return inputs, and weights and biases of each layer."""
    rng = np.random.default_rng(1)
    x = rng.random((BATCH, UP[0])).astype(np.float32)
    layers = [(rng.standard_normal((n, m)) / np.sqrt(m), np.zeros(n)) for m, n in PAIRS]
    w, b = layers[2]
    w[CODE:], b[CODE:] = 0, LOW
    return x, [(w.astype(np.float32), b.astype(np.float32)) for w, b in layers]


def dlbook(adam):
    """Our model as the loop calls it."""
    from dlbook.nets import VAE

    x, layers = start()
    net = VAE((*UP[:-1], CODE), beta=BETA)
    params = net.init(np.random.default_rng())
    params.flat[:] = np.concatenate([np.ravel(p) for layer in layers for p in layer])

    def result(loss):
        return change(loss, zip(params.w[2:], params.b[2:], strict=True), layers)

    rng = np.random.Generator(np.random.SFC64(0))
    return steps.our_step(net, params, (x,), RATE, result, adam, rng)


def torch_model():
    """Return PyTorch's model, its cost, given what stands for it, and a function that gives the result."""
    import torch
    from torch import nn

    x, layers = start()
    x = torch.from_numpy(x)
    linear, result = torch_linear(layers)

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            relu = nn.ReLU()
            self.encoder = nn.Sequential(linear[0], relu, linear[1], relu, linear[2])
            self.decoder = nn.Sequential(linear[3], relu, linear[4], relu, linear[5])

        def forward(self, x):
            m, s = self.encoder(x).chunk(2, dim=1)
            return self.decoder(m + s.exp() * torch.randn_like(s)), m, s

    def cost(model):
        a, m, s = model(x)
        lost = nn.functional.binary_cross_entropy_with_logits(a, x, reduction="sum")
        rate = (m * m + (2 * s).exp() - 1 - 2 * s).sum() / 2
        return (lost + BETA * rate) / BATCH

    return Model(), cost, result


def torch_eager(adam, mode=None):
    """PyTorch with its fused optimizer."""
    model, cost, result = torch_model()
    return steps.torch_step(model.parameters(), lambda: cost(model), RATE, result, adam, mode)


def torch_whole(adam):
    """The whole step in one compiled function."""
    model, cost, result = torch_model()
    return steps.torch_whole(model, cost, RATE, result, adam)


def jax_jit(adam):
    """JAX: the whole step under jit; the bits of a bias, which every step changes, seed the noise."""
    import jax

    x, layers = start()
    x = jax.device_put(x)

    def dense(a, layers):
        for k, (w, b) in enumerate(layers):
            a = a @ w.T + b
            if k < len(layers) - 1:
                a = jax.nn.relu(a)
        return a

    def cost(params):
        h = dense(x, params[:3])
        m, s = h[:, :CODE], h[:, CODE:]
        bits = jax.lax.bitcast_convert_type(params[-1][1][0], np.uint32)
        eps = jax.random.normal(jax.random.key(bits), s.shape)
        a = dense(m + jax.numpy.exp(s) * eps, params[3:])
        lost = (jax.numpy.logaddexp(0, a) - x * a).sum()
        rate = (m * m + jax.numpy.exp(2 * s) - 1 - 2 * s).sum() / 2
        return (lost + BETA * rate) / BATCH

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
COUNTS = [n * m for m, n in PAIRS]
WORK = 2 * BATCH * (3 * sum(COUNTS) - COUNTS[0])

ROWS = [
    Row(
        "vae-adam",
        "Adam step of a variational autoencoder, 64-128-128-8-128-128-64, batch 64",
        SIDES,
        {"adam": True},
        rtol=1e-3,
        work=WORK,
        target={"torch": 5},
    )
]
