"""Causal attention, forth and back, float32: results, and the gradients of queries, keys and values.

Sixteen sequences of 64 steps with four heads of 16 numbers, as in a small model; one of 2,048 steps
with eight heads of 64. PyTorch runs `scaled_dot_product_attention` on arrays of the same layout,
which chooses its tiled kernel for the processor by itself, and its way back; as a second setting the
same under `torch.compile`. All products of both kernels together make seven, of which causal
attention needs one half.
"""

import numpy as np

from benchmarks.row import OURS, Row

BOOK = {"batch": 16, "heads": 4, "steps": 64, "width": 16}
LARGE = {"batch": 1, "heads": 8, "steps": 2048, "width": 64}


def some(batch, heads, steps, width):
    """Return queries, keys, values, and what comes from above."""
    rng = np.random.default_rng(1)
    return rng.standard_normal((4, batch, heads, steps, width), np.float32)


def ours(**size):
    """Tiles forth and back, into arrays that are there."""
    from dlbook.fast.attend import attend, attend_backward
    from dlbook.fast.memory import Memory

    q, k, v, do = some(**size)
    o, dq, dk, dv = (np.empty_like(q) for _ in range(4))
    L, work = np.empty((size["batch"] * size["heads"], size["steps"]), np.float32), Memory(q.dtype)
    lengths = np.full(size["batch"], size["steps"])

    def step():
        attend(q, k, v, o, L, lengths, (0, 1), work)
        attend_backward(do, q, k, v, o, L, dq, dk, dv, lengths, (0, 1), work)

    return step, lambda: [o, dq, dk, dv]


def torch_step(compiled=False, **size):
    """PyTorch's own kernel."""
    import torch
    from torch.nn.functional import scaled_dot_product_attention

    q, k, v, do = (torch.from_numpy(part.copy()) for part in some(**size))
    for part in (q, k, v):
        part.requires_grad_()
    last = [None]

    def look(q, k, v):
        return scaled_dot_product_attention(q, k, v, is_causal=True)

    if compiled:
        look = torch.compile(look)

    def step():
        q.grad = k.grad = v.grad = None
        last[0] = look(q, k, v)
        last[0].backward(do)

    def result():
        return [last[0].detach().numpy(), *(part.grad.numpy() for part in (q, k, v))]

    return step, result


def jax_step(**size):
    """JAX's `dot_product_attention` and its way back under jit; it wants (n, t, h, k)."""
    import jax

    q, k, v, do = (jax.device_put(np.ascontiguousarray(x.swapaxes(1, 2))) for x in some(**size))

    def look(q, k, v):
        return jax.nn.dot_product_attention(q, k, v, is_causal=True)

    def both(q, k, v, do):
        o, back = jax.vjp(look, q, k, v)
        return o, *back(do)

    compiled, last = jax.jit(both), [None]

    def step():
        last[0] = compiled(q, k, v, do)
        last[0][0].block_until_ready()

    return step, lambda: [np.asarray(x).swapaxes(1, 2) for x in last[0]]


SIDES = {
    OURS: ours,
    "torch": torch_step,
    "torch.compile": lambda **size: torch_step(compiled=True, **size),
    "jax": jax_step,
}


def operations(batch, heads, steps, width):
    """Seven products of steps² · width multiply-adds, half of which are seen."""
    return 7 * batch * heads * steps**2 * width


ROWS = [
    Row(
        "attention",
        "causal attention forth and back, 16 × 4 heads, 64 steps, 16 numbers, float32",
        SIDES,
        BOOK,
        rtol=1e-5,
        threads=(1, 2),
        work=operations(**BOOK),
        target={"torch": 1.9},
    ),
    Row(
        "attention-large",
        "the same with 8 heads, 2,048 steps, 64 numbers",
        {name: side for name, side in SIDES.items() if name != "torch.compile"},
        LARGE,
        rtol=1e-4,
        threads=(1, 2),
        work=operations(**LARGE),
        target={"torch": 2.5},
        memory=(OURS, "torch"),
    ),
]
