"""A training step of a small and of a large network, and how soon the first one is done.

On every side: sigmoid hidden units, softmax cross-entropy, one step of plain gradient descent,
inputs that stay in memory. Compared are the cost and the change of all parameters.
"""

import itertools

import numpy as np

from benchmarks import steps
from benchmarks.row import NOT_BEHIND, OURS, Row

RATE, ADAM = 0.1, 0.01  # of plain descent, and of Adam in the rows of `training`


def start(sizes, batch, dtype):
    """Return inputs, labels, and weights and biases of each layer."""
    rng = np.random.default_rng(1)
    x = rng.standard_normal((batch, sizes[0])).astype(dtype)
    y = rng.integers(0, sizes[-1], batch)
    pairs = itertools.pairwise(sizes)
    layers = [(rng.standard_normal((n, m)) / np.sqrt(m), np.zeros(n)) for m, n in pairs]
    return x, y, [(w.astype(dtype), b.astype(dtype)) for w, b in layers]


def change(loss, now, layers):
    """Return what is compared: the cost before the last step, and now − then of all parameters."""
    now, then = ([np.ravel(p) for layer in some for p in layer] for some in (now, layers))
    return [np.array([float(loss)]), np.concatenate(now) - np.concatenate(then)]


def our_network(sizes, batch, dtype):
    """Return the module, parameters, data and workspace, and a function that gives the result."""
    from dlbook import backprop as bp

    x, y, layers = start(sizes, batch, dtype)
    params = bp.init(sizes, np.random.default_rng(), dtype)
    params.flat[:] = np.concatenate([np.ravel(p) for layer in layers for p in layer])

    def result(loss):
        return change(loss, zip(params.w[2:], params.b[2:], strict=True), layers)

    return bp, params, x, y, bp.workspace(sizes, batch, dtype), result


def dlbook(sizes, batch, dtype):
    """Our fused step, over one flat vector, called from Python once per step."""
    bp, params, x, y, work, result = our_network(sizes, batch, dtype)
    counts, last = np.array(sizes), [0.0]

    def step():
        last[0] = bp.fused_step(params.flat, counts, x, y, RATE, work)

    return step, lambda: result(last[0])


def dlbook_checked(sizes, batch, dtype):
    """The same behind the checks of its input."""
    bp, params, x, y, work, result = our_network(sizes, batch, dtype)
    last = [0.0]

    def step():
        last[0] = bp.sgd_step(params, (x, y), RATE, work)

    return step, lambda: result(last[0])


def torch_linear(layers):
    """Return PyTorch's layers with these weights, and a function that gives the result."""
    import torch

    linear = [torch.nn.Linear(*w.T.shape, dtype=getattr(torch, w.dtype.name)) for w, _ in layers]
    with torch.no_grad():
        for module, (w, b) in zip(linear, layers, strict=True):
            module.weight.copy_(torch.from_numpy(w))
            module.bias.copy_(torch.from_numpy(b))

    def result(loss):
        now = [(one.weight.detach().numpy(), one.bias.detach().numpy()) for one in linear]
        return change(loss, now, layers)

    return linear, result


def torch_model(sizes, batch, dtype):
    """Return PyTorch's model, its cost, given what stands for it, and a function that gives the result."""
    import torch
    from torch import nn

    x, y, layers = start(sizes, batch, dtype)
    x, y = torch.from_numpy(x), torch.from_numpy(y)
    linear, result = torch_linear(layers)
    model = nn.Sequential(*[part for one in linear for part in (one, nn.Sigmoid())][:-1])
    return model, lambda model: nn.functional.cross_entropy(model(x), y), result


def torch_eager(sizes, batch, dtype, adam=False, mode=None):
    """PyTorch as it is usually written, with its fused optimizer."""
    model, cost, result = torch_model(sizes, batch, dtype)
    rate = ADAM if adam else RATE
    return steps.torch_step(model.parameters(), lambda: cost(model), rate, result, adam, mode)


def torch_compiled(sizes, batch, dtype, adam=False):
    """The whole step compiled: faster than a compiled model with its optimizer."""
    model, cost, result = torch_model(sizes, batch, dtype)
    return steps.torch_whole(model, cost, ADAM if adam else RATE, result, adam)


def jax_jit(sizes, batch, dtype, adam=False):
    """JAX: the step under jit."""
    import jax

    jax.config.update("jax_enable_x64", dtype == "float64")
    x, y, layers = start(sizes, batch, dtype)
    x, y = jax.device_put(x), jax.device_put(y.astype(np.int32))

    def cost(params):
        a = x
        for w, b in params[:-1]:
            a = jax.nn.sigmoid(a @ w.T + b)
        w, b = params[-1]
        log_p = jax.nn.log_softmax(a @ w.T + b)
        return -log_p[jax.numpy.arange(batch), y].mean()

    def result(loss, now):
        return change(loss, now, layers)

    return steps.jax_step(jax, cost, layers, ADAM if adam else RATE, result, adam)


NETWORK = {
    OURS: dlbook,
    "torch": torch_eager,
    "torch.compile": torch_compiled,
    "jax": jax_jit,
}
DIGITS = {"sizes": (64, 32, 10), "batch": 32, "dtype": "float32"}
LARGE = {"sizes": (784, 1024, 1024, 10), "batch": 256}


def operations(sizes, batch, **_):
    """Multiplications and additions of the products: three per layer, but two for the first."""
    pairs = [n * m for m, n in itertools.pairwise(sizes)]
    return 2 * batch * (3 * sum(pairs) - pairs[0])


def imported(name):
    """Set up nothing but the import of a module."""

    def setup():
        __import__(name)
        return (lambda: None), list

    return setup


ROWS = [
    Row(
        "mlp-digits",
        "SGD step, 64-32-10, batch 32",
        {OURS: dlbook, f"{OURS}.checked": dlbook_checked} | NETWORK,
        DIGITS,
        rtol=1e-4,
        work=operations(**DIGITS),
        target={"torch": 12, "jax": 1},
    ),
    *(
        Row(
            f"mlp-large-{dtype}",
            f"SGD step, 784-1024-1024-10, batch 256, {dtype}",
            NETWORK,
            LARGE | {"dtype": dtype},
            rtol=rtol,
            threads=(1, 2),
            work=operations(**LARGE),
            target={"torch": least, "jax": NOT_BEHIND},
            memory=(OURS, "torch"),
        )
        for dtype, rtol, least in (("float32", 1e-3, 1.8), ("float64", 1e-10, NOT_BEHIND))
    ),
    Row(
        "import-backprop",
        "import in a new process",
        {OURS: imported("dlbook.backprop"), "torch": imported("torch"), "jax": imported("jax")},
        kind="warm",
        target={"torch": 1},
    ),
    Row(
        "first-step-warm",
        "new process to first step, 64-32-10, compiled before",
        {side: NETWORK[side] for side in NETWORK if side != "torch.compile"},
        DIGITS,
        rtol=1e-4,
        kind="warm",
        limit=1,
    ),
    Row(
        "first-step-cold",
        "new process to first step, 64-32-10, nothing compiled",
        NETWORK,
        DIGITS,
        rtol=1e-4,
        kind="cold",
        limit=15,
    ),
]
