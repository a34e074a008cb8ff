"""The layer of several heads against `nn.MultiheadAttention`: results and every gradient."""

import numpy as np
import pytest
import torch
from torch import nn

from dlbook.nets.attention import MultiHeadAttention
from dlbook.nets.containers import Residual, Sequential
from dlbook.nets.layer import new_step
from dlbook.nets.layers import Activation, Dense
from dlbook.nets.norms import LayerNorm
from dlbook.nets.tree import built
from dlbook.tools.flat import like

RTOL = 1e-10
SEEDS = range(50)


def close(found, expected):
    expected = expected.detach().numpy()
    scale = max(1.0, np.abs(expected).max(initial=0))
    np.testing.assert_allclose(found, expected, rtol=0, atol=RTOL * scale)


def tensors(*arrays):
    return [torch.from_numpy(x.copy()).requires_grad_() for x in arrays]


def drawn(seed):
    """Draw sizes, whether x looks at itself, causally, with biases, and how many keys there are."""
    rng = np.random.default_rng(seed)
    N, H, T, S, each = (int(n) for n in rng.integers(1, [5, 5, 100, 100, 9]))
    itself, causal, bias, padded = (bool(n) for n in rng.integers(2, size=4))
    S = T if itself else S
    lengths = rng.integers(1, S + 1, N) if padded else None
    return rng, (N, T, S, H, H * each), itself, causal, bias, lengths


def copied(theirs, p):
    """Give PyTorch's layer the parameters of ours."""
    with torch.no_grad():
        theirs.in_proj_weight.copy_(torch.from_numpy(np.vstack((p.wq, p.wk, p.wv))))
        theirs.out_proj.weight.copy_(torch.from_numpy(p.wo))
        if theirs.in_proj_bias is not None:
            theirs.in_proj_bias.copy_(torch.from_numpy(np.concatenate((p.bq, p.bk, p.bv))))
            theirs.out_proj.bias.copy_(torch.from_numpy(p.bo))


def gradients_are_close(g, theirs):
    close(np.vstack((g.wq, g.wk, g.wv)), theirs.in_proj_weight.grad)
    close(g.wo, theirs.out_proj.weight.grad)
    if theirs.in_proj_bias is not None:
        close(np.concatenate((g.bq, g.bk, g.bv)), theirs.in_proj_bias.grad)
        close(g.bo, theirs.out_proj.bias.grad)


def masks(T, S, causal, lengths):
    """Return what PyTorch's layer is told that it must not see."""
    later = torch.triu(torch.ones(T, S, dtype=torch.bool), 1) if causal else None
    hidden = None if lengths is None else torch.arange(S) >= torch.from_numpy(lengths)[:, None]
    return {"attn_mask": later, "key_padding_mask": hidden, "need_weights": False}


@pytest.mark.parametrize("seed", SEEDS)
def test_several_heads(seed):
    rng, (N, T, S, H, M), itself, causal, bias, lengths = drawn(seed)
    layer = MultiHeadAttention(M, H, causal, bias)
    params = built(layer.parameters((T, M)), "float64")
    layer.draw(params.net, rng)
    params.flat[:] += 0.3 * rng.normal(size=params.flat.size)
    grads = like(params, np.full_like(params.flat, np.nan))
    x, y = rng.normal(size=(N, T, M)), rng.normal(size=(N, S, M))
    dz, step = rng.normal(size=(N, T, M)), new_step("float64", wants=True)
    step.lengths = lengths
    z, kept = layer.forward(params.net, x if itself else (x, y), step)
    z = z.copy()
    back = layer.backward(params.net, dz.copy(), kept, grads.net, step)

    theirs = nn.MultiheadAttention(M, H, bias=bias, batch_first=True)
    copied(theirs, params.net)
    tx, ty = tensors(x, y)
    looked = tx if itself else ty
    expected, _ = theirs(tx, looked, looked, **masks(T, S, causal, lengths))
    expected.backward(torch.from_numpy(dz))
    close(z, expected)
    for found, tensor in zip((back,) if itself else back, (tx, ty), strict=False):
        close(found, tensor.grad)
    gradients_are_close(grads.net, theirs)


def test_what_is_drawn_covers_all_that_is_said():
    found = [drawn(seed)[1:] for seed in SEEDS]
    for kind in range(4):
        said = [bool(f[1 + kind] is not None and f[1 + kind] is not False) for f in found]
        assert 15 <= sum(said) <= 35
    assert sum(f[0][2] > 64 for f in found) >= 10  # keys of more than a tile


@pytest.mark.parametrize("seed", range(10))
def test_a_block_of_a_transformer(seed):
    """Norms in front, residuals around: `nn.TransformerEncoderLayer` with norm_first."""
    rng, (N, T, _, H, M), _, causal, _, _ = drawn(seed)
    net = Sequential(
        Residual(LayerNorm(), MultiHeadAttention(M, H, causal)),
        Residual(LayerNorm(), Dense(2 * M), Activation("relu"), Dense(M)),
    )
    params = built(net.parameters((T, M)), "float64")
    net.draw(params.net, rng)
    params.flat[:] += 0.3 * rng.normal(size=params.flat.size)
    grads = like(params, np.full_like(params.flat, np.nan))
    lengths, step = rng.integers(1, T + 1, N), new_step("float64", wants=True)
    step.lengths = lengths
    x, dz = rng.normal(size=(2, N, T, M))
    dz[np.arange(T) >= lengths[:, None]] = 0
    z, kept = net.forward(params.net, x, step)
    z = z.copy()
    dx = net.backward(params.net, dz.copy(), kept, grads.net, step)

    theirs = nn.TransformerEncoderLayer(M, H, 2 * M, 0.0, batch_first=True, norm_first=True)
    ((norm1, heads),), ((norm2, one, _, two),) = params.net
    with torch.no_grad():
        for layer, p in ((theirs.norm1, norm1), (theirs.norm2, norm2)):
            layer.weight.copy_(torch.from_numpy(p.gamma))
            layer.bias.copy_(torch.from_numpy(p.beta))
        for layer, p in ((theirs.linear1, one), (theirs.linear2, two)):
            layer.weight.copy_(torch.from_numpy(p.w))
            layer.bias.copy_(torch.from_numpy(p.b))
    copied(theirs.self_attn, heads)
    (tx,), how = tensors(x), masks(T, T, causal, lengths)
    expected = theirs(tx, src_mask=how["attn_mask"], src_key_padding_mask=how["key_padding_mask"])
    expected.backward(torch.from_numpy(dz))
    close(z, expected)
    close(dx, tx.grad)
    ((norm1, heads),), ((norm2, one, _, two),) = grads.net
    gradients_are_close(heads, theirs.self_attn)
    close(norm1.gamma, theirs.norm1.weight.grad)
    close(norm2.beta, theirs.norm2.bias.grad)
    close(one.w, theirs.linear1.weight.grad)
    close(two.b, theirs.linear2.bias.grad)
