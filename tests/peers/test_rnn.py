"""Recurrent layers against PyTorch: states, losses, every gradient, and the step on the page."""

import numpy as np
import pytest
import torch
from shown import shown
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from dlbook import rnn
from dlbook.optimization import SGD
from dlbook.rnn import RNN
from dlbook.tools.flat import like
from dlbook.training import clip

RTOL = 1e-9


def close(found, expected):
    if isinstance(expected, torch.Tensor):
        expected = expected.detach().numpy()
    scale = max(1.0, np.abs(expected).max())
    np.testing.assert_allclose(found, expected, rtol=0, atol=RTOL * scale)


def twin(net, params):
    """Return PyTorch's layers with our weights."""
    layers = nn.RNN(net.inputs, net.hidden, net.depth, nonlinearity=net.cell, batch_first=True)
    top = nn.Linear(net.hidden, net.outputs)
    pairs = [(top.weight, params.wy), (top.bias, params.by)]
    for layer in range(net.depth):
        for name, array in (
            ("weight_ih", params.wx[layer]),
            ("weight_hh", params.wh[layer]),
            ("bias_ih", params.b[layer]),
            ("bias_hh", 0 * params.b[layer]),
        ):
            pairs.append((getattr(layers, f"{name}_l{layer}"), array))
    with torch.no_grad():
        for tensor, array in pairs:
            tensor.copy_(torch.from_numpy(array))
    return layers, top


def drawn(rng):
    """Draw a network and a batch; lengths differ, one may be full."""
    N, T, K, J, V, L = (int(n) for n in rng.integers(1, [8, 12, 9, 40, 7, 4]))
    net = RNN(
        K,
        J,
        V,
        symbols=bool(rng.integers(2)),
        reads=str(rng.choice(["each", "last"])),
        cost=str(rng.choice(["cross-entropy", "squares"])),
        cell=str(rng.choice(["tanh", "relu"])),
        depth=L,
        keep=[None, int(rng.integers(1, 5))][rng.integers(2)],
        dtype="float64",
    )
    params = net.init(rng)
    params.flat[:] += 0.1 * rng.normal(size=params.flat.size)
    lengths = rng.integers(1, T + 1, size=N)
    x = rng.integers(K, size=(N, T)) if net.symbols else rng.normal(size=(N, T, K))
    read = (N, T) if net.reads == "each" else (N,)
    classes = net.cost == "cross-entropy"
    y = rng.integers(V, size=read) if classes else rng.normal(size=(*read, V))
    start = [rng.normal(size=(N, J)) for _ in range(L)]
    return net, params, (x, y, lengths), start


@pytest.mark.parametrize("seed", range(200))
def test_outputs_states_and_every_gradient(seed):
    net, params, (x, y, lengths), start = drawn(np.random.default_rng(seed))
    grads = like(params)
    batch = net.check(params, (x, y, lengths))
    loss, last, dstart = net.through_time(params, batch, start, grads, net.workspace(len(x)))
    found = net.run(params, x, lengths, start)

    layers, top = twin(net, params)
    first = torch.from_numpy(np.array(start)).requires_grad_()
    features = torch.from_numpy(np.eye(net.inputs)[x] if net.symbols else x)
    packed = pack_padded_sequence(features, torch.from_numpy(lengths), True, False)
    out, final = layers(packed, first)
    states, _ = pad_packed_sequence(out, batch_first=True, total_length=x.shape[1])
    beyond = torch.arange(x.shape[1]) >= torch.from_numpy(lengths)[:, None]
    scores = top(states).masked_fill(beyond[..., None], 0)
    targets = torch.from_numpy(y)
    if net.reads == "each":
        read, targets = scores[~beyond], targets[~beyond]
    else:
        read = top(final[-1])
    cost = nn.functional.cross_entropy if net.cost == "cross-entropy" else nn.functional.mse_loss
    cost = cost(read, targets)
    cost.backward()

    assert loss == pytest.approx(float(cost.detach()), rel=RTOL)
    close(found.states, states)
    close(found.scores, scores)
    for layer in range(net.depth):
        close(last[layer], final[layer])
        close(found.last[layer], final[layer])
        close(dstart[layer], first.grad[layer])
        close(grads.wx[layer], getattr(layers, f"weight_ih_l{layer}").grad)
        close(grads.wh[layer], getattr(layers, f"weight_hh_l{layer}").grad)
        for name in ("bias_ih", "bias_hh"):
            close(grads.b[layer], getattr(layers, f"{name}_l{layer}").grad)
    close(grads.wy, top.weight.grad)
    close(grads.by, top.bias.grad)


@pytest.mark.parametrize("cut", [1, 3, 8])
def test_truncation_is_detaching(cut, rng):
    """PyTorch's way: the states of a piece are detached before the next one reads them."""
    net = RNN(5, 9, 4, symbols=True, depth=2, cut=cut, dtype="float64")
    params, grads = net.init(rng), like(net.init(rng))
    x, y = rng.integers(5, size=(3, 8)), rng.integers(4, size=(3, 8))
    net.loss_and_grad(params, None, net.check(params, (x, y)), grads, net.workspace(3))
    layers, top = twin(net, params)
    state, cost = torch.zeros(2, 3, 9), 0.0
    for t in range(0, 8, cut):
        piece = torch.from_numpy(np.eye(5)[x[:, t : t + cut]])
        out, state = layers(piece, state.detach())
        targets = torch.from_numpy(y[:, t : t + cut]).reshape(-1)
        cost = cost + nn.functional.cross_entropy(top(out).reshape(-1, 4), targets, reduction="sum")
    (cost / 24).backward()
    close(grads.wh[0], layers.weight_hh_l0.grad)
    close(grads.wx[1], layers.weight_ih_l1.grad)
    close(grads.wy, top.weight.grad)


def test_jacobian(rng):
    wx, wh, b = rng.normal(size=(6, 3)), rng.normal(size=(6, 6)), rng.normal(size=6)
    x, start = rng.normal(size=(5, 3)), rng.normal(size=6)

    def last(h):
        for step in torch.from_numpy(x):
            h = torch.tanh(
                torch.from_numpy(wh) @ h + torch.from_numpy(wx) @ step + torch.from_numpy(b)
            )
        return h

    expected = torch.autograd.functional.jacobian(last, torch.from_numpy(start))
    close(rnn.jacobian_product(rnn.states(x, start, wx, wh, b), wh), expected)


def test_the_step_on_the_page(rng):
    """Ten pieces of a text with states carried on, clipping and plain gradient descent."""
    V, J, N, steps = 12, 16, 4, 6
    names = {"V": V, "J": J}
    exec(compile(shown("rnn"), "rnn.md", "exec"), names)
    model, top = names["rnn"], names["top"]
    net = RNN(V, J, V, symbols=True, dtype="float64")
    params = net.init(rng)
    params.flat[:] *= 1.5
    with torch.no_grad():
        for tensor, array in (
            (model.weight_ih_l0, params.wx[0]),
            (model.weight_hh_l0, params.wh[0]),
            (model.bias_ih_l0, params.b[0] / 2),
            (model.bias_hh_l0, params.b[0] / 2),
            (top.weight, params.wy),
            (top.bias, params.by),
        ):
            tensor.copy_(torch.from_numpy(array))
    model.bias_hh_l0.requires_grad_(False)  # we have one bias
    grads, work, sgd = like(params), net.workspace(N), SGD(names["optimizer"].param_groups[0]["lr"])
    slots, carried, theirs = sgd.start(params.flat), [np.zeros((N, J))], torch.zeros(1, N, J)
    norms = []
    for step in range(1, 11):
        x, y = rng.integers(V, size=(2, N, steps))
        loss, theirs = names["step"](torch.from_numpy(x), torch.from_numpy(y), theirs)
        batch = net.check(params, (x, y))
        mine, carried, _ = net.through_time(params, batch, carried, grads, work)
        norms.append(clip(grads.flat, 1.0))
        sgd.update(params.flat, grads.flat, slots, step)
        assert mine == pytest.approx(float(loss.detach()), rel=1e-5)  # they clip by ‖g‖ + 10⁻⁶
        np.testing.assert_allclose(carried[0], theirs.detach().numpy()[0], rtol=0, atol=1e-5)
    assert max(norms) > 1  # some were clipped
