"""Gated layers against PyTorch: states, losses, every gradient, and the step on the page."""

import numpy as np
import pytest
import torch
from shown import shown
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from dlbook.gated import Gated
from dlbook.optimization import Adam
from dlbook.tools.flat import like
from dlbook.training import clip

RTOL = 1e-9
LAYERS = {"lstm": nn.LSTM, "gru": nn.GRU, "tanh": nn.RNN, "relu": nn.RNN}


def close(found, expected):
    if isinstance(expected, torch.Tensor):
        expected = expected.detach().numpy()
    scale = max(1.0, np.abs(expected).max(initial=0))
    np.testing.assert_allclose(found, expected, rtol=0, atol=RTOL * scale)


def twin(net, params):
    """Return PyTorch's layers with our weights, one after the other, and the scores on top."""
    layers, top = [], nn.Linear(net.width, net.outputs)
    pairs = [(top.weight, params.wy), (top.bias, params.by)]
    for layer in range(net.depth):
        more = {"nonlinearity": net.cell} if net.cell in ("tanh", "relu") else {}
        ins = net.width if layer else net.inputs
        one = LAYERS[net.cell](ins, net.hidden, batch_first=True, bidirectional=net.both, **more)
        layers.append(one)
        for way, end in enumerate(("", "_reverse")[: net.ways]):
            s, G = layer * net.ways + way, net.gates * net.hidden
            b, second = params.b[s], 0 * params.b[s][:G]
            if net.cell == "gru":
                second[2 * net.hidden :] = b[G:]
            pairs += [
                (getattr(one, f"weight_ih_l0{end}"), params.wx[s]),
                (getattr(one, f"weight_hh_l0{end}"), params.wh[s]),
                (getattr(one, f"bias_ih_l0{end}"), b[:G]),
                (getattr(one, f"bias_hh_l0{end}"), second),
            ]
    with torch.no_grad():
        for tensor, array in pairs:
            tensor.copy_(torch.from_numpy(array))
    return layers, top


def run(net, layers, features, lengths, first):
    """Run PyTorch's layers; returns what the last hands on and the last states, as ours stand."""
    total, final, below = features.shape[1], [], features
    for layer, one in enumerate(layers):
        begin = first[layer * net.ways * net.kept : (layer + 1) * net.ways * net.kept]
        given = [torch.stack(begin[m :: net.kept]) for m in range(net.kept)]
        given = tuple(given) if net.kept == 2 else given[0]
        packed = pack_padded_sequence(below, lengths, True, False)
        out, last = one(packed, given)
        out, _ = pad_packed_sequence(out, batch_first=True, total_length=total)
        last = last if net.kept == 2 else (last,)
        final += [last[m][way] for way in range(net.ways) for m in range(net.kept)]
        below = below + out if net.skip and layer else out
    return below, final


def drawn(rng):
    """Draw a network and a batch; lengths differ, one may be full."""
    N, T, K, J, V, L = (int(n) for n in rng.integers(1, [8, 12, 9, 40, 7, 4]))
    both = bool(rng.integers(2))
    net = Gated(
        K,
        J,
        V,
        symbols=bool(rng.integers(2)),
        reads=str(rng.choice(["each", "last"])),
        cost=str(rng.choice(["cross-entropy", "squares"])),
        cell=str(rng.choice(list(LAYERS), p=[0.35, 0.35, 0.2, 0.1])),
        both=both,
        skip=bool(rng.integers(2)),
        depth=L,
        keep=[None, int(rng.integers(1, 5))][0 if both else rng.integers(2)],
        dtype="float64",
    )
    params = net.init(rng)
    params.flat[:] += 0.1 * rng.normal(size=params.flat.size)
    lengths = rng.integers(1, T + 1, size=N)
    x = rng.integers(K, size=(N, T)) if net.symbols else rng.normal(size=(N, T, K))
    read = (N, T) if net.reads == "each" else (N,)
    classes = net.cost == "cross-entropy"
    y = rng.integers(V, size=read) if classes else rng.normal(size=(*read, V))
    start = [rng.normal(size=(N, J)) for _ in range(net.carried)]
    return net, params, (x, y, lengths), start


@pytest.mark.parametrize("seed", range(200))
def test_outputs_states_and_every_gradient(seed):
    net, params, (x, y, lengths), start = drawn(np.random.default_rng(seed))
    grads = like(params)
    batch = net.check(params, (x, y, lengths))
    loss, last, dstart = net.through_time(params, batch, start, grads, net.workspace(len(x)))
    found = net.run(params, x, lengths, start)

    layers, top = twin(net, params)
    first = [torch.from_numpy(part.copy()).requires_grad_() for part in start]
    features = torch.from_numpy(np.eye(net.inputs)[x] if net.symbols else x)
    states, final = run(net, layers, features, torch.from_numpy(lengths), first)
    beyond = torch.arange(x.shape[1]) >= torch.from_numpy(lengths)[:, None]
    states = states.masked_fill(beyond[..., None], 0)
    scores = top(states).masked_fill(beyond[..., None], 0)
    targets = torch.from_numpy(y)
    if net.reads == "each":
        read, targets = scores[~beyond], targets[~beyond]
    else:
        seen = [[final[m] for m in net._tops(way)] for way in range(net.ways)]
        read = top(torch.cat([sum(parts) for parts in seen], dim=1))
    cost = nn.functional.cross_entropy if net.cost == "cross-entropy" else nn.functional.mse_loss
    cost = cost(read, targets)
    cost.backward()

    assert loss == pytest.approx(float(cost.detach()), rel=RTOL)
    close(found.states, states)
    close(found.scores, scores)
    for m in range(net.carried):
        close(last[m], final[m])
        close(found.last[m], final[m])
        expected = first[m].grad
        close(dstart[m], torch.zeros_like(first[m]) if expected is None else expected)
    for layer, one in enumerate(layers):
        for way, end in enumerate(("", "_reverse")[: net.ways]):
            s, G = layer * net.ways + way, net.gates * net.hidden
            grad = lambda name, one=one, end=end: getattr(one, f"{name}_l0{end}").grad
            close(grads.wx[s], grad("weight_ih"))
            close(grads.wh[s], grad("weight_hh"))
            close(grads.b[s][:G], grad("bias_ih"))
            if net.cell == "gru":
                close(grads.b[s][G:], grad("bias_hh")[2 * net.hidden :])
            else:
                close(grads.b[s], grad("bias_hh"))
    close(grads.wy, top.weight.grad)
    close(grads.by, top.bias.grad)


def test_what_is_drawn_covers_all_that_is_said():
    nets = [drawn(np.random.default_rng(seed))[0] for seed in range(200)]
    for cell in ("lstm", "gru", "tanh"):
        for name, value in (("both", True), ("skip", True), ("depth", 3), ("reads", "last")):
            assert sum(n.cell == cell and getattr(n, name) == value for n in nets) >= 5
        assert sum(n.cell == cell and n.keep is not None for n in nets) >= 5


def test_the_step_on_the_page(rng):
    """Ten pieces of a text with states and cells carried on, clipping and Adam."""
    V, J, N, steps = 12, 16, 4, 6
    names = {"V": V, "J": J}
    exec(compile(shown("gated"), "gated.md", "exec"), names)
    model, top = names["lstm"], names["top"]
    net = Gated(V, J, V, symbols=True, depth=2, dtype="float64")
    params = net.init(rng)
    params.flat[:] *= 3
    pairs = [(top.weight, params.wy), (top.bias, params.by)]
    for layer in range(2):
        first, second = (getattr(model, f"bias_{of}_l{layer}") for of in ("ih", "hh"))
        assert (first[J : 2 * J] == net.hold).all()
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
