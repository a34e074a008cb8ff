"""Recurrent layers in stacks against PyTorch's: states, and every gradient, in double precision.

PyTorch reads packed sequences of unequal length from first states; the gradient comes by what the
last layer gives and by all last states.
"""

from collections import Counter
from functools import cache
from typing import NamedTuple

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from dlbook.fast.sequences import arrange
from dlbook.nets.containers import Sequential
from dlbook.nets.layer import new_step
from dlbook.nets.recurrent import GRU, LSTM, RNN
from dlbook.nets.recurrent_network import sets
from dlbook.nets.rows import Bidirectional, by_row, nodes
from dlbook.nets.tree import built

RTOL = 1e-10
SEEDS = range(200)
KINDS = ("rnn", "lstm", "gru", "bidirectional")
THEIRS = {RNN: nn.RNN, LSTM: nn.LSTM, GRU: nn.GRU}


class Drawn(NamedTuple):
    """A stack of layers and what it is given."""

    net: Sequential
    of: type  # of the cells
    more: dict  # their settings
    sizes: tuple  # inputs, units, layers, directions
    symbols: bool
    x: np.ndarray  # (n, t) or (n, t, k)
    lengths: np.ndarray  # (n,)


@cache
def drawn(kind, seed):
    """Draw sizes, cells, whether steps are symbols, and lengths, of which one may be full."""
    rng = np.random.default_rng(seed)
    N, T, K, J, L = (int(n) for n in rng.integers(1, [8, 12, 9, 40, 4]))
    of = {"rnn": RNN, "lstm": LSTM, "gru": GRU}.get(kind) or list(THEIRS)[rng.integers(3)]
    more = {"activation": str(rng.choice(["tanh", "relu"]))} if of is RNN else {}
    symbols, both = bool(rng.integers(4) == 0), kind == "bidirectional"
    layers = []
    for below in range(L):
        one = of(J, symbols=K if symbols and not below else None, **more)
        layers.append(Bidirectional(one, one) if both else one)
    x = rng.integers(K, size=(N, T)) if symbols else rng.normal(size=(N, T, K))
    sizes = K, J, L, 2 if both else 1
    return Drawn(Sequential(*layers), of, more, sizes, symbols, x, rng.integers(1, T + 1, N))


def twin(given, params):
    """Return PyTorch's layers with our weights."""
    (K, J, L, D), of = given.sizes, given.of
    more = {"nonlinearity": given.more["activation"]} if of is RNN else {}
    theirs = THEIRS[of](K, J, L, batch_first=True, bidirectional=D == 2, **more)
    with torch.no_grad():
        for p, named in zip(sets(params), tensors_of(theirs, L, D), strict=True):
            wx, wh, bx, bh = named
            wx.copy_(torch.from_numpy(p.wx))
            wh.copy_(torch.from_numpy(p.wh))
            bx.copy_(torch.from_numpy(p.b[: len(bx)]))
            bh.zero_()
            if of is GRU:
                bh[2 * J :] = torch.from_numpy(p.b[3 * J :])
    return theirs


def tensors_of(theirs, layers, directions):
    """Yield weights and biases of each set of cells, in our order."""
    for layer in range(layers):
        for end in ("", "_reverse")[:directions]:
            names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
            yield [getattr(theirs, f"{name}_l{layer}{end}") for name in names]


def close(found, expected):
    expected = expected.detach().numpy()
    assert found.shape == expected.shape
    scale = max(1.0, np.abs(expected).max(initial=0))
    np.testing.assert_allclose(found, expected, rtol=0, atol=RTOL * scale)


def run(given, params, grads, start, dy, dlast):
    """Go through our layers and back; returns states by sequence, last states, dx and dstart."""
    (N, T), step = given.x.shape[:2], new_step("float64", wants=True)
    step.rows = arrange(np.zeros(0, np.int64), T)
    given.net.forward(params, given.x.reshape(N * T, *given.x.shape[2:])[:0], step)
    rows = step.rows = arrange(given.lengths, T)
    for node, first, change in zip(nodes(step), start, dlast, strict=True):
        node.start, node.dlast = first, change
    y, kept = given.net.forward(params, by_row(given.x, rows), step)
    states, dx = np.zeros((N * T, y.shape[1])), None
    states[rows.places] = y
    last = [node.last for node in nodes(step)]
    back = given.net.backward(params, by_row(dy, rows), kept, grads, step)
    if back is not None:
        dx = np.zeros((N * T, back.shape[1]))
        dx[rows.places] = back
        dx = dx.reshape(N, T, -1)
    return states.reshape(N, T, -1), last, dx, [node.dstart for node in nodes(step)]


@pytest.mark.parametrize("kind", KINDS)
def test_states_and_every_gradient(kind):
    for seed in SEEDS:
        given, rng = drawn(kind, seed), np.random.default_rng(seed + 1000)
        (K, J, L, D), (N, T), lstm = given.sizes, given.x.shape[:2], given.of is LSTM
        shapes = given.net.parameters(() if given.symbols else (K,))
        params, grads = built(shapes, "float64"), built(shapes, "float64")
        given.net.draw(params.net, rng)
        params.flat[:] += 0.3 * rng.normal(size=params.flat.size)
        grads.flat[:] = np.nan
        start, dlast = rng.normal(size=(2, L * D, 1 + lstm, N, J))
        dy = rng.normal(size=(N, T, D * J))
        found, last, dx, dstart = run(
            given, params.net, grads.net, start=list(map(list, start)), dy=dy, dlast=dlast
        )

        theirs = twin(given, params.net)
        x = torch.tensor(np.eye(K)[given.x] if given.symbols else given.x, requires_grad=True)
        first = [torch.tensor(start[:, m], requires_grad=True) for m in range(1 + lstm)]
        packed = pack_padded_sequence(x, torch.from_numpy(given.lengths), True, False)
        out, ends = theirs(packed, tuple(first) if lstm else first[0])
        out, _ = pad_packed_sequence(out, batch_first=True, total_length=T)
        ends = ends if lstm else (ends,)
        ways = [torch.from_numpy(dlast[:, m].copy()) for m in range(1 + lstm)]
        torch.autograd.backward([out, *ends], [torch.from_numpy(dy), *ways])

        close(found, out)
        for m in range(1 + lstm):
            close(np.stack([parts[m] for parts in last]), ends[m])
            close(np.stack([parts[m] for parts in dstart]), first[m].grad)
        assert (dx is None) == given.symbols
        if dx is not None:
            close(dx, x.grad)
        for g, (wx, wh, bx, bh) in zip(sets(grads.net), tensors_of(theirs, L, D), strict=True):
            close(g.wx, wx.grad)
            close(g.wh, wh.grad)
            close(g.b[: len(bx)], bx.grad)
            close(g.b[len(bx) :] if given.of is GRU else g.b, bh.grad[2 * J * (given.of is GRU) :])


def test_what_is_drawn_covers_all_that_is_said():
    for kind in KINDS:
        some = [drawn(kind, seed) for seed in SEEDS]
        depths = Counter(given.sizes[2] for given in some)
        assert min(depths[depth] for depth in (1, 2, 3)) >= 40
        assert sum(given.symbols for given in some) >= 30
        assert sum(len(set(given.lengths)) > 1 for given in some) >= 100
    cells = Counter(given.of for given in map(drawn, ["bidirectional"] * len(SEEDS), SEEDS))
    assert min(cells[of] for of in THEIRS) >= 40
