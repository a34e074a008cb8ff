"""exp and its kin over arrays, and the softmax of rows."""

import numpy as np

from benchmarks.row import NOT_BEHIND, OURS, Row


def numbers(shape):
    return np.random.default_rng(1).normal(0, 3, shape).astype(np.float32)


def dlbook(name, shape):
    from dlbook.tools import elementary

    f, x = getattr(elementary, name), numbers(shape)
    out = np.empty_like(x)
    return lambda: f(x, out), lambda: [out]


def in_numpy(name, shape):
    """NumPy without temporaries: each operation writes into an array that exists."""
    x = numbers(shape)
    np.seterr(over="ignore")  # e^−x may be infinite on the way to a sigmoid of 0
    out, one = np.empty_like(x), np.float32(1)
    inner, cubic = np.float32(2 * np.sqrt(2 / np.pi)), np.float32(0.044715)

    def sigmoid(z):
        np.negative(z, out)
        np.exp(out, out)
        np.add(out, one, out)
        np.divide(one, out, out)

    def gelu():
        np.multiply(x, x, out)
        np.multiply(out, cubic, out)
        np.add(out, one, out)
        np.multiply(out, x, out)
        np.multiply(out, inner, out)
        sigmoid(out)
        np.multiply(out, x, out)

    call = {
        "exp": lambda: np.exp(x, out),
        "tanh": lambda: np.tanh(x, out),
        "sigmoid": lambda: sigmoid(x),
        "gelu": gelu,
    }[name]
    return call, lambda: [out]


def in_torch(name, shape):
    """PyTorch as it is usually called: it returns a new tensor."""
    import torch

    torch.set_grad_enabled(False)
    x, last = torch.from_numpy(numbers(shape)), [None]
    f = {
        "gelu": lambda x: torch.nn.functional.gelu(x, approximate="tanh"),
        "softmax": lambda x: torch.softmax(x, 1),
    }.get(name) or getattr(torch, name)

    def call():
        last[0] = f(x)

    return call, lambda: [last[0].numpy()]


def in_torch_out(name, shape):
    """PyTorch with its result written into a tensor that exists."""
    import torch

    torch.set_grad_enabled(False)
    x = torch.from_numpy(numbers(shape))
    out, f = torch.empty_like(x), getattr(torch, name, None)
    call = {
        "gelu": lambda: torch.ops.aten.gelu.out(x, approximate="tanh", out=out),
        "softmax": lambda: torch.softmax(x, 1, out=out),
    }.get(name) or (lambda: f(x, out=out))
    return call, lambda: [out.numpy()]


def in_jax(name, shape):
    import jax

    x, last = jax.device_put(numbers(shape)), [None]
    f = jax.jit(jax.nn.softmax)

    def call():
        last[0] = f(x).block_until_ready()

    return call, lambda: [np.asarray(last[0])]


TORCH = {"torch": in_torch, "torch.out": in_torch_out}
ROWS = [
    Row(
        f"{name}-{label}",
        f"{shown} of {count:,} numbers",
        {OURS: dlbook, "numpy": in_numpy, **TORCH},
        {"name": name, "shape": (count,)},
        threads=(1, 2) if count > 10_000 else (1,),
        work=8 * count,
        unit="byte",
        target={"torch": 1.4 if name == "sigmoid" else 4},
    )
    for name, shown in (("exp", "exp"), ("tanh", "tanh"), ("sigmoid", "sigmoid"), ("gelu", "GELU"))
    for label, count in (("1k", 1024), ("1M", 2**20))
] + [
    Row(
        f"softmax-{n}x{k}",
        f"softmax of {n:,} rows of {k:,}",
        {OURS: dlbook, **TORCH, "jax": in_jax},
        {"name": "softmax", "shape": (n, k)},
        work=8 * n * k,
        unit="byte",
        target={"torch": least},
    )
    for n, k, least in ((1024, 64, 1.5), (4096, 1024, NOT_BEHIND))
]
