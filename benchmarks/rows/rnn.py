"""A training step of a recurrent network, float32, with plain gradient descent; here of units of tanh.

Loss of every step, the gradient of all weights, and an update at the rate 0.1. Units of tanh and the
LSTM read a symbol by looking a column up; PyTorch's layer takes rows of numbers, which are one-hot
here or, as another setting, columns looked up by an embedding. The GRU reads features on all sides.
The errors do not go down to the inputs on any side, as there is nothing below to be trained.
"""

import numpy as np

from benchmarks import steps
from benchmarks.row import OURS, Row

BOOK = {"steps": 32, "batch": 16, "hidden": 64, "inputs": 64}
LARGE = {"steps": 128, "batch": 64, "hidden": 512, "inputs": 64}
CLASSES, RATE = 64, 0.1
GATES = {"tanh": 1, "lstm": 4, "gru": 3}


def some(cell, steps, batch, hidden, inputs):
    """Return a network with its parameters and a batch."""
    from dlbook.nets import RecurrentNetwork

    rng, symbols = np.random.default_rng(1), cell != "gru"
    net = RecurrentNetwork(inputs, hidden, CLASSES, cell=cell, symbols=symbols)
    x = rng.integers(inputs, size=(batch, steps))
    if not symbols:
        x = rng.standard_normal((batch, steps, inputs)).astype(np.float32)
    return net, net.init(rng), x, rng.integers(CLASSES, size=(batch, steps))


def ours(cell, **size):
    """Our model as the loop calls it."""
    net, params, x, y = some(cell, **size)
    G = GATES[cell] * net.hidden

    def result(loss):
        b = params.b[0]
        return [loss, params.wx[0], params.wh[0], b[:G], b[G:], params.wy, params.by]

    return steps.our_step(net, params, net.check(params, (x, y)), RATE, result)


def torch_step(cell, embed=False, mode=None, **size):
    """PyTorch's layers with our first weights."""
    import torch
    from torch import nn

    net, params, x, y = some(cell, **size)
    J, G = net.hidden, GATES[cell] * net.hidden
    x = torch.from_numpy(np.ascontiguousarray(np.swapaxes(x, 0, 1)))
    y = torch.from_numpy(y.T.copy()).reshape(-1)
    layer = {"tanh": nn.RNN, "lstm": nn.LSTM, "gru": nn.GRU}[cell](net.inputs, J)
    top = nn.Linear(J, CLASSES)
    own = 2 * G - len(params.b[0])  # of its two biases one is enough,
    second = np.zeros(G, np.float32)  # but for the last gate of a GRU
    second[own:] = params.b[0][G:]
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
    if cell == "gru":  # only the part of the second bias that is no double is trained

        def keep_last(gradient):
            return torch.cat((torch.zeros_like(gradient[:own]), gradient[own:]))

        layer.bias_hh_l0.register_hook(keep_last)
    else:
        layer.bias_hh_l0.requires_grad_(False)
    eye = torch.eye(net.inputs)

    def cost():
        rows = x
        if cell != "gru":
            one_hot = nn.functional.one_hot
            rows = nn.functional.embedding(x, eye) if embed else one_hot(x, net.inputs).float()
        return nn.functional.cross_entropy(top(layer(rows)[0]).reshape(-1, CLASSES), y)

    def result(loss):
        found = [layer.weight_ih_l0, layer.weight_hh_l0, layer.bias_ih_l0]
        found += [layer.bias_hh_l0[own:], top.weight, top.bias]
        return [float(loss), *(tensor.detach().numpy() for tensor in found)]

    trained = [p for p in (*layer.parameters(), *top.parameters()) if p.requires_grad]
    return steps.torch_step(trained, cost, RATE, result, mode=mode)


def jax_step(cell, **size):
    """JAX: a scan over the steps."""
    import jax
    from jax import numpy as jnp

    net, params, x, y = some(cell, **size)
    G = GATES[cell] * net.hidden
    x, y = jax.device_put(np.swapaxes(x, 0, 1).copy()), jax.device_put(y.T.copy())
    zero = jnp.zeros((size["batch"], net.hidden), np.float32)

    def tanh(h, z, wh, last_bias):
        h = jnp.tanh(z + h @ wh.T)
        return h, h

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

    one = {"tanh": tanh, "lstm": lstm, "gru": gru}[cell]

    def cost(weights):
        wx, wh, b, wy, by = weights
        z = (x @ wx.T if cell == "gru" else wx.T[x]) + b[:G]
        begin = (zero, zero) if cell == "lstm" else zero
        _, h = jax.lax.scan(lambda carried, row: one(carried, row, wh, b[G:]), begin, z)
        logp = jax.nn.log_softmax(h @ wy.T + by)
        return -jnp.take_along_axis(logp, y[..., None], axis=-1).mean()

    def result(loss, weights):
        wx, wh, b, wy, by = weights
        return [loss, wx, wh, b[:G], b[G:], wy, by]

    first = [params.wx[0], params.wh[0], params.b[0], params.wy, params.by]
    return steps.jax_step(jax, cost, [part.copy() for part in first], RATE, result)


def sides(cell, compiled):
    """Return the sides of a row."""
    found = {
        OURS: lambda **size: ours(cell, **size),
        "torch": lambda **size: torch_step(cell, **size),
        "jax": lambda **size: jax_step(cell, **size),
    }
    if cell != "gru":
        found["torch.embedding"] = lambda **size: torch_step(cell, embed=True, **size)
    if compiled:
        found["torch.compile"] = lambda **size: torch_step(cell, True, "default", **size)
    return found


def operations(cell, steps, batch, hidden, inputs):
    """Multiply-adds count twice; a symbol is looked up, so its product costs nothing."""
    gates = GATES[cell]
    read = 2 * gates * hidden * inputs if cell == "gru" else 0
    return 2 * steps * batch * (3 * gates * hidden * hidden + 3 * hidden * CLASSES + read)


def row(name, title, cell, size, least, **more):
    """Return a row."""
    several, work = sides(cell, size is BOOK), operations(cell, **size)
    return Row(name, title, several, size, work=work, target={"torch": least}, **more)


ROWS = [
    row(
        "rnn",
        "training step of a simple RNN, 32 steps, batch 16, 64 units, 64 symbols, float32",
        "tanh",
        BOOK,
        3,
        rtol=1e-4,
    ),
    row(
        "rnn-large",
        "the same with 128 steps, batch 64, 512 units",
        "tanh",
        LARGE,
        1.5,
        rtol=1e-3,
        memory=(OURS, "torch"),
    ),
]
