"""Gated layers against PyTorch: states, losses, every gradient, and the step on the page."""

import numpy as np
import pytest
import torch
from recurrent import LAYERS, agree, drawn
from shown import shown

from dlbook.nets import RecurrentNetwork
from dlbook.optimization import Adam
from dlbook.tools.flat import like
from dlbook.training import clip


def some(seed):
    rng = np.random.default_rng(seed)
    bidirectional, residual = (bool(rng.integers(2)) for _ in range(2))
    cell = str(rng.choice(list(LAYERS), p=[0.35, 0.35, 0.2, 0.1]))
    return drawn(rng, cell=cell, bidirectional=bidirectional, residual=residual)


@pytest.mark.parametrize("seed", range(200))
def test_outputs_states_and_every_gradient(seed):
    agree(*some(seed))


def test_what_is_drawn_covers_all_that_is_said():
    nets = [some(seed)[0] for seed in range(200)]
    for cell in ("lstm", "gru", "tanh"):
        those = [net for net in nets if net.cell == cell]
        for name in ("bidirectional", "residual", "checkpoint_every"):
            assert sum(bool(getattr(net, name)) for net in those) >= 5
        assert sum(net.depth == 3 for net in those) >= 5
        assert sum(net.reads == "last" for net in those) >= 5


def test_the_step_on_the_page(rng):
    """Ten pieces of a text with states and cells carried on, clipping and Adam."""
    V, J, N, steps = 12, 16, 4, 6
    names = {"V": V, "J": J}
    exec(compile(shown("gated"), "gated.md", "exec"), names)
    model, top = names["lstm"], names["top"]
    net = RecurrentNetwork(V, J, V, symbols=True, cell="lstm", depth=2, dtype="float64")
    params = net.init(rng)
    params.flat[:] *= 3
    pairs = [(top.weight, params.wy), (top.bias, params.by)]
    for layer in range(2):
        first, second = (getattr(model, f"bias_{of}_l{layer}") for of in ("ih", "hh"))
        assert (first[J : 2 * J] == net.forget_bias).all()
        second.requires_grad_(False)  # we have one bias
        pairs += [
            (getattr(model, f"weight_ih_l{layer}"), params.wx[layer]),
            (getattr(model, f"weight_hh_l{layer}"), params.wh[layer]),
            (first, params.b[layer]),
            (second, 0 * params.b[layer]),
        ]
    with torch.no_grad():
        for tensor, array in pairs:
            tensor.copy_(torch.from_numpy(array))
    grads, work = like(params), net.workspace(N)
    adam = Adam(names["optimizer"].param_groups[0]["lr"])
    slots, carried, theirs = adam.start(params.flat), [np.zeros((N, J))] * 4, None
    norms, losses = [], []
    for step in range(1, 11):
        x, y = rng.integers(V, size=(2, N, steps))
        loss, theirs = names["step"](torch.from_numpy(x), torch.from_numpy(y), theirs)
        batch = net.check(params, (x, y))
        mine, carried, _ = net.through_time(params, batch, carried, grads, work)
        norms.append(clip(grads.flat, 1.0))
        adam.update(params.flat, grads.flat, slots, step)
        losses.append((mine, float(loss.detach())))
        for layer in range(2):
            for m in range(2):  # (h, c) in turn, as ours stand
                expected = theirs[m][layer].numpy()
                np.testing.assert_allclose(carried[2 * layer + m], expected, rtol=0, atol=1e-5)
    np.testing.assert_allclose(*zip(*losses, strict=True), rtol=1e-5)  # they clip by ‖g‖ + 10⁻⁶
    assert max(norms) > 1 > min(norms)  # some were clipped, some were not
