"""Recurrent layers against PyTorch: states, losses, every gradient, and the step on the page."""

import numpy as np
import pytest
import torch
from recurrent import agree, close, drawn, twin
from shown import shown
from torch import nn

from dlbook import rnn
from dlbook.nets import RecurrentNetwork
from dlbook.optimization import SGD
from dlbook.tools.flat import like
from dlbook.training import clip


@pytest.mark.parametrize("seed", range(200))
def test_outputs_states_and_every_gradient(seed):
    rng = np.random.default_rng(seed)
    agree(*drawn(rng, cell=str(rng.choice(["tanh", "relu"]))))


@pytest.mark.parametrize("cut", [1, 3, 8])
def test_truncation_is_detaching(cut, rng):
    """PyTorch's way: the states of a piece are detached before the next one reads them."""
    net = RecurrentNetwork(5, 9, 4, symbols=True, depth=2, truncate=cut, dtype="float64")
    params, grads = net.init(rng), like(net.init(rng))
    x, y = rng.integers(5, size=(3, 8)), rng.integers(4, size=(3, 8))
    net.loss_and_grad(params, None, net.check(params, (x, y)), grads, net.workspace(3))
    (below, above), top = twin(net, params)
    states, cost = [torch.zeros(1, 3, 9)] * 2, 0.0
    for t in range(0, 8, cut):
        out = torch.from_numpy(np.eye(5)[x[:, t : t + cut]])
        for layer, one in enumerate((below, above)):
            out, states[layer] = one(out, states[layer].detach())
        targets = torch.from_numpy(y[:, t : t + cut]).reshape(-1)
        cost = cost + nn.functional.cross_entropy(top(out).reshape(-1, 4), targets, reduction="sum")
    (cost / 24).backward()
    close(grads.wh[0], below.weight_hh_l0.grad)
    close(grads.wx[1], above.weight_ih_l0.grad)
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
    net = RecurrentNetwork(V, J, V, symbols=True, dtype="float64")
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
