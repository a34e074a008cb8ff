"""Norms forward and backward, and a training step with Adam.

Norms: float32, the gradient by the inputs, the scale and the shift. Steps: the networks of the
rows of `backprop` with Adam in place of plain gradient descent; compared is the cost of the second
step and what two steps changed.
"""

import numpy as np

from benchmarks import steps
from benchmarks.row import OURS, Row
from benchmarks.rows import backprop

EPS = 1e-5


def arrays(size):
    rng = np.random.default_rng(1)
    x, dy = rng.standard_normal((2, *size)).astype(np.float32)
    gamma, beta = rng.standard_normal((2, size[1])).astype(np.float32)
    return x, dy, gamma, beta


def our_norm(norm, size):
    """Both directions into arrays that exist."""
    from dlbook.fast import norms

    x, dy, gamma, beta = arrays(size)
    forward = getattr(norms, f"fused_{norm}norm")
    backward = getattr(norms, f"fused_{norm}norm_backward")
    y, dx, dgamma, dbeta = map(np.empty_like, (x, x, gamma, beta))
    mean, root = np.empty((2, size[norm == "batch"]), np.float32)

    def call():
        forward(x, gamma, beta, EPS, mean, root, y)
        backward(dy, x, gamma, mean, root, dx, dgamma, dbeta)

    return call, lambda: [y, dx, dgamma, dbeta]


def torch_norm(norm, size, compiled=False):
    """PyTorch's layer in training, and autograd."""
    import torch

    x, dy, gamma, beta = map(torch.from_numpy, arrays(size))
    J = size[1]
    layer = torch.nn.BatchNorm1d(J, EPS) if norm == "batch" else torch.nn.LayerNorm(J, EPS)
    with torch.no_grad():
        layer.weight.copy_(gamma)
        layer.bias.copy_(beta)
    x.requires_grad_()
    apply, last = torch.compile(layer) if compiled else layer, [None]

    def call():
        x.grad = layer.weight.grad = layer.bias.grad = None
        last[0] = apply(x)
        last[0].backward(dy)

    def result():
        found = last[0].detach(), x.grad, layer.weight.grad, layer.bias.grad
        return [tensor.numpy() for tensor in found]

    return call, result


def jax_norm(norm, size):
    """JAX: both directions under jit."""
    import jax

    x, dy, gamma, beta = map(jax.device_put, arrays(size))
    axis = 0 if norm == "batch" else 1

    def forward(x, gamma, beta):
        mean, variance = (f(x, axis=axis, keepdims=True) for f in (jax.numpy.mean, jax.numpy.var))
        return gamma * (x - mean) / jax.numpy.sqrt(variance + EPS) + beta

    def whole(x, gamma, beta, dy):
        y, back = jax.vjp(forward, x, gamma, beta)
        return y, *back(dy)

    compiled, last = jax.jit(whole), [None]

    def call():
        last[0] = jax.block_until_ready(compiled(x, gamma, beta, dy))

    return call, lambda: [np.asarray(part) for part in last[0]]


NORM = {
    OURS: our_norm,
    "torch": torch_norm,
    "torch.compile": lambda norm, size: torch_norm(norm, size, compiled=True),
    "jax": jax_norm,
}


def our_step(sizes, batch, dtype):
    """The fused gradient into one flat vector, then one pass of Adam over it."""
    from dlbook.optimization import Adam

    bp, params, x, y, work, result = backprop.our_network(sizes, batch, dtype)
    grads, adam = np.empty_like(params.flat), Adam(backprop.ADAM, eps=steps.EPS)
    counts, slots, last = np.array(sizes), adam.start(params.flat), [0.0, 0]

    def step():
        last[1] += 1
        last[0] = bp.fused_gradient(params.flat, counts, x, y, grads, work)
        adam.update(params.flat, grads, slots, last[1])

    return step, lambda: result(last[0])


STEP = {
    OURS: our_step,
    "torch": lambda **size: backprop.torch_eager(**size, adam=True),
    "torch.compile": lambda **size: backprop.torch_eager(**size, adam=True, mode=steps.TUNED),
    "torch.compile whole": lambda **size: backprop.torch_compiled(**size, adam=True),
    "jax": lambda **size: backprop.jax_jit(**size, adam=True),
}

ROWS = [
    *(
        Row(
            f"{norm}norm",
            f"{norm} norm of 1,024 × 64, forward and backward",
            NORM,
            {"norm": norm, "size": (1024, 64)},
            rtol=1e-4,
            work=4 * 1024 * 64 * 5,
            unit="byte",
            target={"torch": least},
        )
        for norm, least in (("batch", 2.5), ("layer", 2))
    ),
    Row(
        "adam-digits",
        "Adam step, 64-32-10, batch 32",
        STEP,
        backprop.DIGITS,
        rtol=1e-3,  # the first step of Adam is ± the rate, whatever is left of a small gradient
        work=backprop.operations(**backprop.DIGITS),
        target={"torch": 15},
    ),
    Row(
        "adam-large",
        "Adam step, 784-1024-1024-10, batch 256, float32",
        STEP,
        backprop.LARGE | {"dtype": "float32"},
        rtol=1e-2,  # as above
        threads=(1, 2),
        work=backprop.operations(**backprop.LARGE),
        target={"torch": 1.8},
        memory=(OURS, "torch"),
    ),
]
