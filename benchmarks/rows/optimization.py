"""One step of AdamW over a flat vector of parameters, small and large.

On every side: the same parameters and gradient, a rate of 0.1, weight decay of 0.01, float32, one
tensor that holds all parameters. Compared is what two steps changed.
"""

import numpy as np

from benchmarks.row import NOT_BEHIND, OURS, Row

RATE, DECAY = 0.1, 0.01  # so large that float32 shows what each of them does


def start(size):
    rng = np.random.default_rng(1)
    return [rng.standard_normal(size).astype(np.float32) for _ in range(2)]


def dlbook(size):
    from dlbook.optimization import AdamW

    (theta, g), step = start(size), 0
    first, optimizer = theta.copy(), AdamW(RATE, weight_decay=DECAY)
    slots = optimizer.start(theta)

    def call():
        nonlocal step
        step += 1
        optimizer.update(theta, g, slots, step)

    return call, lambda: [theta - first]


def in_numpy(size):
    """NumPy without temporaries: each operation writes into an array that exists."""
    (theta, g), step = start(size), 0
    first, one = theta.copy(), np.float32(1)
    m, v, a, b = (np.zeros_like(theta) for _ in range(4))

    def call():
        nonlocal step
        step += 1
        np.multiply(m, np.float32(0.9), m)
        np.multiply(g, np.float32(0.1), a)
        np.add(m, a, m)
        np.multiply(v, np.float32(0.999), v)
        np.multiply(g, g, a)
        np.multiply(a, np.float32(0.001), a)
        np.add(v, a, v)
        np.multiply(v, np.float32(1 / (1 - 0.999**step)), b)
        np.sqrt(b, b)
        np.add(b, np.float32(1e-8), b)
        np.divide(m, b, a)
        np.multiply(a, np.float32(RATE / (1 - 0.9**step)), a)
        np.multiply(theta, one - np.float32(RATE * DECAY), theta)
        np.subtract(theta, a, theta)

    return call, lambda: [theta - first]


def torch(size, **options):
    """PyTorch, with a setting of its optimizer: fused is its fastest."""
    import torch

    theta, g = map(torch.from_numpy, start(size))
    first, parameter = theta.clone(), torch.nn.Parameter(theta)
    parameter.grad = g
    optimizer = torch.optim.AdamW([parameter], lr=RATE, weight_decay=DECAY, **options)
    return optimizer.step, lambda: [(parameter.detach() - first).numpy()]


def torch_compiled(size):
    """The step of the optimizer, compiled."""
    import torch

    theta, g = map(torch.from_numpy, start(size))
    first, parameter = theta.clone(), torch.nn.Parameter(theta)
    parameter.grad = g
    rate = torch.tensor(RATE)  # a number would be compiled anew when it changes
    optimizer = torch.optim.AdamW([parameter], lr=rate, weight_decay=DECAY)
    return torch.compile(optimizer.step), lambda: [(parameter.detach() - first).numpy()]


def jax_jit(size):
    """JAX: the step under jit, its parameters and averages donated."""
    import jax

    theta, g = start(size)

    def whole(theta, m, v, t, g):
        m, v, t = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g, t + 1
        step = RATE * m / (1 - 0.9**t) / (jax.numpy.sqrt(v / (1 - 0.999**t)) + 1e-8)
        return (1 - RATE * DECAY) * theta - step, m, v, t

    compiled = jax.jit(whole, donate_argnums=(0, 1, 2, 3))
    g = jax.device_put(g)
    zero = np.zeros_like(theta)
    state = [*map(jax.device_put, (theta.copy(), zero, zero.copy(), np.float32(0)))]

    def call():
        state[:] = compiled(*state, g)
        state[0].block_until_ready()

    return call, lambda: [np.asarray(state[0]) - theta]


SIDES = {
    OURS: dlbook,
    "numpy": in_numpy,
    "torch": lambda size: torch(size, fused=True),
    "torch.foreach": lambda size: torch(size, foreach=True),
    "torch.compile": torch_compiled,
    "jax": jax_jit,
}

ROWS = [
    Row(
        f"adamw-{name}",
        f"AdamW step, {size:,} parameters",
        SIDES,
        {"size": size},
        rtol=1e-4,  # theta itself is rounded at every step
        threads=threads,
        work=4 * 7 * size,  # reads parameters, gradient and averages, writes all but the gradient
        unit="byte",
        target=target,
    )
    for name, size, threads, target in (
        ("10k", 10_000, (1,), {"torch": 6}),
        ("10m", 10_000_000, (1, 2), {"torch": NOT_BEHIND}),
    )
]
