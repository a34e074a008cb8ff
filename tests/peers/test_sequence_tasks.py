"""Encoder and decoder against PyTorch: scores, losses, every gradient, and the step on the page."""

import numpy as np
import pytest
import torch
from shown import shown
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence

from dlbook.gated import gru_states
from dlbook.nets import EncoderDecoder
from dlbook.optimization import Adam
from dlbook.sequence_tasks import encoder_decoder, encoder_gradient
from dlbook.tools.flat import like
from dlbook.training import clip

RTOL = 1e-10


@pytest.fixture(autouse=True)
def _doubles():
    """Let PyTorch compute in float64."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(before)


def close(found, expected):
    if isinstance(expected, torch.Tensor):
        expected = expected.detach().numpy()
    scale = max(1.0, np.abs(expected).max())
    np.testing.assert_allclose(found, expected, rtol=0, atol=RTOL * scale)


def pairs_of(layer, part):
    """Return PyTorch's tensors beside our arrays; a GRU of ours has one bias for r and z."""
    wx, wh, b = part.wx[0], part.wh[0], part.b[0]
    G = len(wh)
    if len(b) > G:
        J = wh.shape[1]
        bx, bh = b[:G], np.concatenate((0 * b[: 2 * J], b[G:]))
    else:
        bx, bh = b, 0 * b
    return [
        (layer.weight_ih_l0, wx),
        (layer.weight_hh_l0, wh),
        (layer.bias_ih_l0, bx),
        (layer.bias_hh_l0, bh),
    ]


def twin(net, params):
    """Return PyTorch's encoder, decoder and scores with our weights."""
    kind = nn.GRU if net.cell == "gru" else nn.RNN
    encoder = kind(net.inputs, net.hidden, batch_first=True)
    decoder = kind(net.outputs, net.hidden, batch_first=True)
    top = nn.Linear(net.hidden, net.outputs)
    fill(encoder, decoder, top, params)
    return encoder, decoder, top


def fill(encoder, decoder, top, params):
    pairs = [*pairs_of(encoder, params.encoder), *pairs_of(decoder, params.decoder)]
    with torch.no_grad():
        for tensor, array in (*pairs, (top.weight, params.wy), (top.bias, params.by)):
            tensor.copy_(torch.from_numpy(array))


def some_lines(rng, net, N, T, U, least=1):
    """Return lines with ends, filled up with the end."""
    lengths, ends = rng.integers(least, T + 1, N), rng.integers(1, U + 1, N)
    x, y = rng.integers(net.inputs, size=(N, T)), rng.integers(2, net.outputs, size=(N, U))
    y[np.arange(U) >= ends[:, None] - 1] = net.end
    return net.check(net.init(rng), (x, y, lengths, ends))


def drawn(rng):
    N, T, U, K, J, V = (int(n) for n in rng.integers([1, 1, 1, 1, 1, 3], [8, 12, 9, 9, 40, 9]))
    cell = str(rng.choice(["gru", "gru", "tanh"]))
    net = EncoderDecoder(K, J, V, cell=cell, dtype="float64")
    params = net.init(rng)
    params.flat[:] += 0.2 * rng.normal(size=params.flat.size)
    return net, params, some_lines(rng, net, N, T, U)


def theirs(net, parts, batch):
    """Return PyTorch's loss, its scores, and the state that is handed over."""
    encoder, decoder, top = parts
    x, y, lengths, ends = (torch.from_numpy(part) for part in batch)
    rows = pack_padded_sequence(torch.eye(net.inputs)[x], lengths, True, False)
    _, last = encoder(rows)
    last.retain_grad()
    read = torch.cat([torch.full_like(y[:, :1], net.begin), y[:, :-1]], dim=1)
    scores = top(decoder(torch.eye(net.outputs)[read], last)[0])
    inside = torch.arange(y.shape[1]) < ends[:, None]
    return nn.functional.cross_entropy(scores[inside], y[inside]), scores, last


@pytest.mark.parametrize("seed", range(100))
def test_loss_and_every_gradient(seed):
    net, params, batch = drawn(np.random.default_rng(seed))
    grads, parts = like(params), twin(net, params)
    loss = net.loss_and_grad(params, None, batch, grads, net.workspace(len(batch[0])))
    cost, _, _ = theirs(net, parts, batch)
    cost.backward()
    assert loss == pytest.approx(float(cost.detach()), rel=RTOL)
    for layer, part in zip(parts[:2], (grads.encoder, grads.decoder), strict=True):
        close(part.wx[0], layer.weight_ih_l0.grad)
        close(part.wh[0], layer.weight_hh_l0.grad)
        bias = layer.bias_ih_l0.grad
        if net.cell == "gru":
            bias = torch.cat([bias, layer.bias_hh_l0.grad[2 * net.hidden :]])
        close(part.b[0], bias)
    close(grads.wy, parts[2].weight.grad)
    close(grads.by, parts[2].bias.grad)


@pytest.mark.parametrize("seed", range(10))
def test_literal_kernels(seed):
    """Scores of a line, and the gradient of the state between the two."""
    rng = np.random.default_rng(seed)
    net = EncoderDecoder(4, 6, 5, dtype="float64")
    params = net.init(rng)
    batch = some_lines(rng, net, 1, 7, 6)
    x, y, lengths, ends = (part[0] for part in batch)
    parts = twin(net, params)
    cost, scores, last = theirs(net, parts, batch)
    (cost * int(ends)).backward()
    layers = [(p.wx[0], p.wh[0], p.b[0]) for p in (params.encoder, params.decoder)]
    read = np.eye(5)[np.concatenate(([0], y[: ends - 1]))]
    o = encoder_decoder(np.eye(4)[x[:lengths]], read, np.zeros(6), *layers, params.wy, params.by)
    close(o, scores[0, :ends])
    p = np.exp(o - o.max(1, keepdims=True))
    do = p / p.sum(1, keepdims=True) - np.eye(5)[y[:ends]]
    d, gates = gru_states(read, last.detach().numpy()[0, 0], *layers[1])
    close(encoder_gradient(do @ params.wy, gates, d, layers[1][1]), last.grad[0, 0])


@pytest.mark.parametrize("seed", range(5))
def test_greedy_writing(seed):
    """PyTorch, one step at a time, reading what it wrote."""
    rng = np.random.default_rng(seed)
    net = EncoderDecoder(4, 12, 6, max_length=9, dtype="float64")
    params = net.init(rng)
    params.flat[:] *= 2
    x, _, lengths, _ = some_lines(rng, net, 6, 5, 3)
    encoder, decoder, top = twin(net, params)
    found = net.predict(params, None, x, lengths)
    for n in range(6):
        _, state = encoder(torch.eye(4)[torch.from_numpy(x[n : n + 1, : lengths[n]])])
        symbol, written = net.begin, []
        while len(written) < 9 and symbol != net.end:
            out, state = decoder(torch.eye(6)[torch.tensor([[symbol]])], state)
            symbol = int(top(out).argmax())
            written.append(symbol)
        assert found[n][found[n] >= 0].tolist() == written


def test_the_step_on_the_page(rng):
    """Ten steps with clipping and Adam; PyTorch's second biases of r and z are held at zero."""
    K, J, V = 5, 16, 7
    names = {"K": K, "J": J, "V": V}
    exec(compile(shown("sequence_tasks"), "sequence_tasks.md", "exec"), names)
    net = EncoderDecoder(K, J, V, dtype="float64")
    params = net.init(rng)
    params.flat[:] *= 1.5
    params.wy[:] *= 8
    parts = names["encoder"], names["decoder"], names["top"]
    fill(*parts, params)
    mask = torch.cat([torch.zeros(2 * J), torch.ones(J)])
    for layer in parts[:2]:
        layer.bias_hh_l0.register_hook(lambda g: g * mask)
    grads, work = like(params), net.workspace(4)
    adam = Adam(names["optimizer"].param_groups[0]["lr"])
    slots, norms = adam.start(params.flat), []
    for step in range(1, 11):
        batch = some_lines(rng, net, 4, 6, 5)
        loss = names["step"](*(torch.from_numpy(part) for part in batch))
        mine = net.loss_and_grad(params, None, batch, grads, work)
        norms.append(clip(grads.flat, 1.0))
        adam.update(params.flat, grads.flat, slots, step)
        assert mine == pytest.approx(float(loss.detach()), rel=1e-5)  # they clip by ‖g‖ + 10⁻⁶
    assert max(norms) > 1  # some were clipped
    np.testing.assert_allclose(params.wy, names["top"].weight.detach().numpy(), rtol=0, atol=1e-5)
