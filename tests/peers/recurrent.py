"""Recurrent networks against PyTorch: layers with our weights, draws, and all that must agree."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from dlbook.nets import RecurrentNetwork
from dlbook.tools.flat import like

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
        one = LAYERS[net.cell](
            ins, net.hidden, batch_first=True, bidirectional=net.directions == 2, **more
        )
        layers.append(one)
        for way, end in enumerate(("", "_reverse")[: net.directions]):
            s, G = layer * net.directions + way, net.gates * net.hidden
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
        begin = first[layer * net.directions * net.kept : (layer + 1) * net.directions * net.kept]
        given = [torch.stack(begin[m :: net.kept]) for m in range(net.kept)]
        given = tuple(given) if net.kept == 2 else given[0]
        packed = pack_padded_sequence(below, lengths, True, False)
        out, last = one(packed, given)
        out, _ = pad_packed_sequence(out, batch_first=True, total_length=total)
        last = last if net.kept == 2 else (last,)
        final += [last[m][way] for way in range(net.directions) for m in range(net.kept)]
        below = below + out if net.residual and layer else out
    return below, final


def drawn(rng, **more):
    """Draw a network and a batch; lengths differ, one may be full."""
    N, T, K, J, V, L = (int(n) for n in rng.integers(1, [8, 12, 9, 40, 7, 4]))
    every = [None, int(rng.integers(1, 5))]
    net = RecurrentNetwork(
        K,
        J,
        V,
        symbols=bool(rng.integers(2)),
        reads=str(rng.choice(["each", "last"])),
        cost=str(rng.choice(["cross-entropy", "squares"])),
        depth=L,
        checkpoint_every=every[0 if more.get("bidirectional") else rng.integers(2)],
        dtype="float64",
        **more,
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


def agree(net, params, batch, start):
    """Assert that outputs, states and every gradient agree."""
    x, y, lengths = batch
    grads = like(params)
    batch = net.check(params, batch)
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
        step = net.directions * net.kept
        first_seen = 0 if net.residual else net.carried - step
        seen = [final[first_seen + way * net.kept :: step] for way in range(net.directions)]
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
        for way, end in enumerate(("", "_reverse")[: net.directions]):
            s, G = layer * net.directions + way, net.gates * net.hidden
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
