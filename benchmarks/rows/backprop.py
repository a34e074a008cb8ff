"""A training step of a small and of a large network, and how soon the first one is done.

On every side: sigmoid hidden units, softmax cross-entropy, one step of plain gradient descent,
inputs that stay in memory. Compared are the cost and the change of all parameters.
"""

import itertools

import numpy as np

from benchmarks.row import NOT_BEHIND, OURS, Row

RATE = 0.1


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


def torch_model(sizes, batch, dtype):
    """Return PyTorch's model and data, and a function that gives a side's result."""
    import torch
    from torch import nn

    x, y, layers = start(sizes, batch, dtype)
    linear = [nn.Linear(m, n, dtype=getattr(torch, dtype)) for m, n in itertools.pairwise(sizes)]
    with torch.no_grad():
        for module, (w, b) in zip(linear, layers, strict=True):
            module.weight.copy_(torch.from_numpy(w))
            module.bias.copy_(torch.from_numpy(b))
    model = nn.Sequential(*[part for one in linear for part in (one, nn.Sigmoid())][:-1])

    def result(loss):
        now = [(one.weight.detach().numpy(), one.bias.detach().numpy()) for one in linear]
        return change(loss, now, layers)

    return torch, model, torch.from_numpy(x), torch.from_numpy(y), result


def torch_eager(sizes, batch, dtype):
    """PyTorch as it is usually written, with its fused optimizer."""
    torch, model, x, y, result = torch_model(sizes, batch, dtype)
    optimizer = torch.optim.SGD(model.parameters(), lr=RATE, fused=True)
    last = [None]

    def step():
        optimizer.zero_grad(set_to_none=True)
        last[0] = torch.nn.functional.cross_entropy(model(x), y)
        last[0].backward()
        optimizer.step()

    return step, lambda: result(last[0].detach())


def torch_compiled(sizes, batch, dtype):
    """The whole step in functional form, compiled with the products tuned: faster than a compiled
    model with its optimizer."""
    torch, model, x, y, result = torch_model(sizes, batch, dtype)
    names, tensors = zip(*model.named_parameters(), strict=True)
    parameters, last = [p.detach() for p in tensors], [None]

    def cost(parameters):
        given = dict(zip(names, parameters, strict=True))
        return torch.nn.functional.cross_entropy(torch.func.functional_call(model, given, x), y)

    @torch.compile(mode="max-autotune-no-cudagraphs")
    def whole(parameters):
        grads, loss = torch.func.grad_and_value(cost)(parameters)
        for p, g in zip(parameters, grads, strict=True):
            p.sub_(g, alpha=RATE)
        return loss

    @torch.no_grad()
    def step():
        last[0] = whole(parameters)

    return step, lambda: result(last[0])


def jax_model(sizes, batch, dtype):
    """Return JAX, the layers to start from, and the cost as a function of layers."""
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

    return jax, layers, cost


def jax_jit(sizes, batch, dtype):
    """JAX: the step under jit, its parameters donated."""
    jax, layers, cost = jax_model(sizes, batch, dtype)

    def whole(params):
        loss, grads = jax.value_and_grad(cost)(params)
        return loss, jax.tree.map(lambda p, g: p - RATE * g, params, grads)

    compiled = jax.jit(whole, donate_argnums=0)
    state = [None, jax.device_put(layers)]

    def step():
        state[:] = compiled(state[1])
        state[0].block_until_ready()

    return step, lambda: change(state[0], jax.device_get(state[1]), layers)


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
