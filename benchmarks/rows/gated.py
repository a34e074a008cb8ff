"""A training step of an LSTM that reads symbols, and the way up and down a GRU over features, float32.

LSTM: loss of every step, the gradient of all weights, and an update at the rate 0.1. We read a symbol
by looking a column up; PyTorch's layer takes rows of numbers, which are one-hot here or, as another
setting, columns looked up by an embedding. GRU: the same with features for inputs on all sides. The
errors do not go down to the inputs on any side, as there is nothing below to be trained.
"""

import numpy as np

from benchmarks.row import OURS, Row

BOOK = {"steps": 32, "batch": 16, "hidden": 64, "inputs": 64}
LARGE = {"steps": 128, "batch": 64, "hidden": 512, "inputs": 64}
LARGE_GRU = LARGE | {"inputs": 512}
RATE = 0.1


def some(cell, steps, batch, hidden, inputs):
    """Return a network with its parameters and a batch; an LSTM reads symbols, a GRU features."""
    from dlbook.gated import Gated

    rng, symbols = np.random.default_rng(1), cell == "lstm"
    net = Gated(inputs, hidden, 64, cell=cell, symbols=symbols)
    params = net.init(rng)
    x = rng.integers(inputs, size=(batch, steps))
    if not symbols:
        x = rng.standard_normal((batch, steps, inputs)).astype(np.float32)
    return net, params, x, rng.integers(64, size=(batch, steps))


def ours(cell, **size):
    """The gradient into one flat vector, then one pass over it."""
    from dlbook.optimization import SGD
    from dlbook.tools.flat import like

    net, params, x, y = some(cell, **size)
    batch, sgd = net.check(params, (x, y)), SGD(RATE)
    grads, work, slots = like(params), net.workspace(len(x)), sgd.start(params.flat)
    last = [0.0, 0]

    def step():
        last[1] += 1
        last[0] = net.loss_and_grad(params, None, batch, grads, work)
        sgd.update(params.flat, grads.flat, slots, last[1])

    def result():
        b, rest = params.b[0], (params.wy, params.by)
        if cell == "gru":
            G = 3 * net.hidden
            rest = (b[G:], *rest)
            b = b[:G]
        return [last[0], params.wx[0], params.wh[0], b, *rest]

    return step, result


def torch_model(cell, embed, **size):
    """Return PyTorch's layers with our first weights, as a function from inputs to the cost."""
    import torch
    from torch.nn import functional

    net, params, x, y = some(cell, **size)
    J, G = net.hidden, net.gates * net.hidden
    x = torch.from_numpy(np.ascontiguousarray(np.swapaxes(x, 0, 1)))
    y = torch.from_numpy(y.T.copy()).reshape(-1)
    layer = {"lstm": torch.nn.LSTM, "gru": torch.nn.GRU}[cell](net.inputs, J)
    top = torch.nn.Linear(J, net.outputs)
    second = np.zeros(G, np.float32)
    if cell == "gru":
        second[2 * J :] = params.b[0][G:]
    with torch.no_grad():
        for tensor, array in (
            (layer.weight_ih_l0, params.wx[0]),
            (layer.weight_hh_l0, params.wh[0]),
            (layer.bias_ih_l0, params.b[0][:G]),
            (layer.bias_hh_l0, second),
            (top.weight, params.wy),
            (top.bias, params.by),
        ):
            tensor.copy_(torch.from_numpy(array))
    if cell == "lstm":
        layer.bias_hh_l0.requires_grad_(False)  # we have one bias
    else:  # and of the two of a GRU only the part that is no double is trained

        def keep_last(gradient):
            return torch.cat((torch.zeros_like(gradient[: 2 * J]), gradient[2 * J :]))

        layer.bias_hh_l0.register_hook(keep_last)
    eye = torch.eye(net.inputs)

    def cost():
        rows = x
        if cell == "lstm":
            inputs = net.inputs
            rows = functional.embedding(x, eye) if embed else functional.one_hot(x, inputs).float()
        return functional.cross_entropy(top(layer(rows)[0]).reshape(-1, net.outputs), y)

    def result(loss):
        found = [layer.weight_ih_l0, layer.weight_hh_l0, layer.bias_ih_l0]
        found += [layer.bias_hh_l0[2 * J :]] if cell == "gru" else []
        found += [top.weight, top.bias]
        return [float(loss), *(tensor.detach().numpy() for tensor in found)]

    trained = [p for p in (*layer.parameters(), *top.parameters()) if p.requires_grad]
    return torch, cost, trained, result


def torch_step(cell, embed=False, compiled=False, **size):
    """PyTorch with its fused optimizer."""
    torch, cost, trained, result = torch_model(cell, embed, **size)
    sgd, last = torch.optim.SGD(trained, lr=RATE, fused=True), [None]
    if compiled:
        cost = torch.compile(cost)

    def step():
        sgd.zero_grad(set_to_none=True)
        last[0] = cost()
        last[0].backward()
        sgd.step()

    return step, lambda: result(last[0].detach())


def jax_step(cell, **size):
    """JAX: a scan over the steps, all of it under jit, the parameters donated."""
    import jax
    from jax import numpy as jnp

    net, params, x, y = some(cell, **size)
    J, G = net.hidden, net.gates * net.hidden
    x, y = jax.device_put(np.swapaxes(x, 0, 1).copy()), jax.device_put(y.T.copy())
    zero = jnp.zeros((len(params.b[0]) and size["batch"], J), np.float32)

    def lstm(carried, z, wh, last_bias):
        h, c = carried
        i, f, g, o = jnp.split(z + h @ wh.T, 4, axis=-1)
        c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
        h = jax.nn.sigmoid(o) * jnp.tanh(c)
        return (h, c), h

    def gru(h, z, wh, last_bias):
        xr, xz, xn = jnp.split(z, 3, axis=-1)
        hr, hz, hn = jnp.split(h @ wh.T, 3, axis=-1)
        r, keep = jax.nn.sigmoid(xr + hr), jax.nn.sigmoid(xz + hz)
        n = jnp.tanh(xn + r * (hn + last_bias))
        h = n + keep * (h - n)
        return h, h

    def cost(weights):
        wx, wh, b, wy, by = weights
        z = (wx.T[x] if cell == "lstm" else x @ wx.T) + b[:G]
        one, begin = (lstm, (zero, zero)) if cell == "lstm" else (gru, zero)
        _, h = jax.lax.scan(lambda carried, row: one(carried, row, wh, b[G:]), begin, z)
        logp = jax.nn.log_softmax(h @ wy.T + by)
        return -jnp.take_along_axis(logp, y[..., None], axis=-1).mean()

    def whole(weights):
        loss, grads = jax.value_and_grad(cost)(weights)
        return loss, [w - RATE * g for w, g in zip(weights, grads, strict=True)]

    compiled = jax.jit(whole, donate_argnums=0)
    first = [params.wx[0], params.wh[0], params.b[0], params.wy, params.by]
    state = [None, [jax.device_put(part.copy()) for part in first]]

    def step():
        state[:] = compiled(state[1])
        state[0].block_until_ready()

    def result():
        wx, wh, b, *rest = map(np.asarray, state[1])
        second = [b[G:]] if cell == "gru" else []
        return [float(state[0]), wx, wh, b[:G], *second, *rest]

    return step, result


def sides(cell, compiled):
    """Return the sides of a row."""
    found = {
        OURS: lambda **size: ours(cell, **size),
        "torch": lambda **size: torch_step(cell, **size),
        "jax": lambda **size: jax_step(cell, **size),
    }
    if cell == "lstm":
        found["torch.embedding"] = lambda **size: torch_step(cell, embed=True, **size)
    if compiled:
        found["torch.compile"] = lambda **size: torch_step(cell, True, True, **size)
    return found


def operations(cell, steps, batch, hidden, inputs):
    """Multiply-adds count twice; a symbol is looked up, so its product costs nothing."""
    gates = {"lstm": 4, "gru": 3}[cell]
    read = 0 if cell == "lstm" else 2 * gates * hidden * inputs
    return 2 * steps * batch * (3 * gates * hidden * hidden + 3 * hidden * 64 + read)


def row(name, title, cell, size, target, **more):
    """Return a row."""
    work = operations(cell, **size)
    several = sides(cell, size is BOOK)
    return Row(name, title, several, size, work=work, target={"torch": target}, **more)


ROWS = [
    row(
        "lstm",
        "training step of an LSTM, 32 steps, batch 16, 64 units, 64 symbols, float32",
        "lstm",
        BOOK,
        1.8,
        rtol=1e-4,
    ),
    row(
        "lstm-large",
        "the same with 128 steps, batch 64, 512 units",
        "lstm",
        LARGE,
        1.5,
        rtol=1e-3,
        memory=(OURS, "torch"),
    ),
    row(
        "gru",
        "training step of a GRU, 32 steps, batch 16, 64 units, 64 features, 64 classes, float32",
        "gru",
        BOOK,
        6,
        rtol=1e-4,
    ),
    row(
        "gru-large",
        "the same with 128 steps, batch 64, 512 units, 512 features",
        "gru",
        LARGE_GRU,
        2,
        rtol=1e-3,
        memory=(OURS, "torch"),
    ),
]
