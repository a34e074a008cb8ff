"""A training step of a simple recurrent network that reads symbols, float32, with plain gradient descent.

Loss of every step, the gradient of all weights, and an update at the rate 0.1: 32 steps, 16
sequences, 64 units, 64 symbols. We read a symbol by looking a column up; PyTorch's layer takes rows
of numbers, which are one-hot here or, as another setting, columns looked up by an embedding.
"""

import numpy as np

from benchmarks.row import OURS, Row

BOOK = {"steps": 32, "batch": 16, "hidden": 64, "symbols": 64}
LARGE = {"steps": 128, "batch": 64, "hidden": 512, "symbols": 64}
RATE = 0.1


def some(steps, batch, hidden, symbols):
    """Return a network with its parameters and a batch."""
    from dlbook.rnn import RNN

    rng = np.random.default_rng(1)
    net = RNN(symbols, hidden, symbols, symbols=True)
    params = net.init(rng)
    x, y = rng.integers(symbols, size=(2, batch, steps))
    return net, params, x, y


def ours(**size):
    """The gradient into one flat vector, then one pass over it."""
    from dlbook.optimization import SGD
    from dlbook.tools.flat import like

    net, params, x, y = some(**size)
    batch, sgd = net.check(params, (x, y)), SGD(RATE)
    grads, work, slots = like(params), net.workspace(len(x)), sgd.start(params.flat)
    last = [0.0, 0]

    def step():
        last[1] += 1
        last[0] = net.loss_and_grad(params, None, batch, grads, work)
        sgd.update(params.flat, grads.flat, slots, last[1])

    def result():
        return [last[0], params.wx[0], params.wh[0], params.b[0], params.wy, params.by]

    return step, result


def torch_model(steps, batch, hidden, symbols, embed):
    """Return PyTorch's layers with our first weights, as a function from symbols to the cost."""
    import torch
    from torch.nn import functional

    _, params, x, y = some(steps, batch, hidden, symbols)
    x, y = torch.from_numpy(x.T.copy()), torch.from_numpy(y.T.copy()).reshape(-1)
    rnn, top = torch.nn.RNN(symbols, hidden, bias=True), torch.nn.Linear(hidden, symbols)
    with torch.no_grad():
        for tensor, array in (
            (rnn.weight_ih_l0, params.wx[0]),
            (rnn.weight_hh_l0, params.wh[0]),
            (rnn.bias_ih_l0, params.b[0]),
            (top.weight, params.wy),
            (top.bias, params.by),
        ):
            tensor.copy_(torch.from_numpy(array))
        rnn.bias_hh_l0.zero_()
    rnn.bias_hh_l0.requires_grad_(False)  # we have one bias
    eye = torch.eye(symbols)

    def cost():
        rows = functional.embedding(x, eye) if embed else functional.one_hot(x, symbols).float()
        return functional.cross_entropy(top(rnn(rows)[0]).reshape(-1, symbols), y)

    def result(loss):
        found = (rnn.weight_ih_l0, rnn.weight_hh_l0, rnn.bias_ih_l0, top.weight, top.bias)
        return [float(loss), *(tensor.detach().numpy() for tensor in found)]

    trained = [p for p in (*rnn.parameters(), *top.parameters()) if p.requires_grad]
    return torch, cost, trained, result


def torch_step(embed=False, compiled=False, **size):
    """PyTorch with its fused optimizer."""
    torch, cost, trained, result = torch_model(embed=embed, **size)
    sgd, last = torch.optim.SGD(trained, lr=RATE, fused=True), [None]
    if compiled:
        cost = torch.compile(cost)

    def step():
        sgd.zero_grad(set_to_none=True)
        last[0] = cost()
        last[0].backward()
        sgd.step()

    return step, lambda: result(last[0].detach())


def jax_step(**size):
    """JAX: a scan over the steps, all of it under jit, the parameters donated."""
    import jax

    _, params, x, y = some(**size)
    x, y = jax.device_put(x.T.copy()), jax.device_put(y.T.copy())
    hidden, batch = size["hidden"], size["batch"]

    def cost(weights):
        wx, wh, b, wy, by = weights

        def one(h, symbols):
            h = jax.numpy.tanh(h @ wh.T + wx.T[symbols] + b)
            return h, h

        _, h = jax.lax.scan(one, jax.numpy.zeros((batch, hidden), np.float32), x)
        logp = jax.nn.log_softmax(h @ wy.T + by)
        return -jax.numpy.take_along_axis(logp, y[..., None], axis=-1).mean()

    def whole(weights):
        loss, grads = jax.value_and_grad(cost)(weights)
        return loss, [w - RATE * g for w, g in zip(weights, grads, strict=True)]

    compiled = jax.jit(whole, donate_argnums=0)
    first = [params.wx[0], params.wh[0], params.b[0], params.wy, params.by]
    state = [None, [jax.device_put(part.copy()) for part in first]]

    def step():
        state[:] = compiled(state[1])
        state[0].block_until_ready()

    return step, lambda: [float(state[0]), *map(np.asarray, state[1])]


SIDES = {
    OURS: ours,
    "torch": torch_step,
    "torch.embedding": lambda **size: torch_step(embed=True, **size),
    "torch.compile": lambda **size: torch_step(embed=True, compiled=True, **size),
    "jax": jax_step,
}


def operations(steps, batch, hidden, symbols):
    """Multiply-adds count twice; a symbol is looked up, so its product costs nothing."""
    return 2 * steps * batch * (3 * hidden * hidden + 3 * hidden * symbols)


ROWS = [
    Row(
        "rnn",
        "training step of a simple RNN, 32 steps, batch 16, 64 units, 64 symbols, float32",
        SIDES,
        BOOK,
        rtol=1e-4,
        work=operations(**BOOK),
        target={"torch": 3},
    ),
    Row(
        "rnn-large",
        "the same with 128 steps, batch 64, 512 units",
        {name: side for name, side in SIDES.items() if name != "torch.compile"},
        LARGE,
        rtol=1e-3,
        work=operations(**LARGE),
        target={"torch": 1.5},
        memory=(OURS, "torch"),
    ),
]
