"""Attention against PyTorch: results and every gradient."""
# ruff: noqa: E741

import numpy as np
import pytest
import torch
from shown import shown
from torch.nn.functional import scaled_dot_product_attention

from dlbook import attention as att
from dlbook.fast.attend import BLOCK
from dlbook.nets import MultiHeadAttention, new_step
from dlbook.nets.tree import built

RTOL = 1e-10


def close(found, expected, rtol=RTOL):
    if isinstance(expected, torch.Tensor):
        expected = expected.detach().numpy()
    scale = max(1.0, np.abs(expected).max(initial=0))
    np.testing.assert_allclose(found, expected, rtol=0, atol=rtol * scale)


def tensors(*arrays):
    return [torch.from_numpy(x.copy()).requires_grad_() for x in arrays]


def drawn(rng):
    """Draw sizes, arrays, and how queries see: all, causally, up to an end, or both."""
    N, H, T, S, K, V = (int(n) for n in rng.integers(1, [5, 5, 150, 150, 40, 40]))
    if rng.integers(2):
        S = T
    causal = bool(rng.integers(2))
    first = int(rng.integers(0, S)) if causal and rng.integers(2) else 0
    lengths = rng.integers(1, S + 1, size=N) if rng.integers(2) else None
    sizes = ((N, H, T, K), (N, H, S, K), (N, H, S, V), (N, H, T, V))
    return [rng.normal(size=size) for size in sizes], causal, first, lengths


def mask(shape, causal, first, lengths):
    """Return what is seen, as PyTorch wants it: (n, 1, t, s)."""
    N, _, T, S = shape
    s = torch.arange(S)
    seen = torch.ones(N, 1, T, S, dtype=torch.bool)
    if causal:
        seen &= s <= first + torch.arange(T)[:, None]
    if lengths is not None:
        seen &= s < torch.from_numpy(lengths)[:, None, None, None]
    return seen


@pytest.mark.parametrize("seed", range(200))
def test_attention_forward_and_backward(seed):
    (q, k, v, do), causal, first, lengths = drawn(np.random.default_rng(seed))
    how = {"causal": causal, "first": first, "lengths": lengths}
    found = att.attention(q, k, v, **how)
    back = att.attention_backward(do, q, k, v, found, **how)

    theirs = tensors(q, k, v)
    seen = mask((*q.shape[:3], k.shape[2]), causal, first, lengths)
    if causal and not first and lengths is None:
        o = scaled_dot_product_attention(*theirs, is_causal=True)
    else:
        o = scaled_dot_product_attention(*theirs, attn_mask=seen)
    o.backward(torch.from_numpy(do))
    close(found.o, o)
    z = (theirs[0] @ theirs[1].mT / np.sqrt(q.shape[-1])).masked_fill(~seen, -np.inf)
    close(found.L, z.logsumexp(-1))
    for ours, tensor in zip(back, theirs, strict=True):
        close(ours, tensor.grad)


def test_what_is_drawn_covers_all_that_is_said():
    found = [drawn(np.random.default_rng(seed)) for seed in range(200)]
    both = [(causal, first > 0, lengths is not None) for _, causal, first, lengths in found]
    for case in ((0, 0, 0), (0, 0, 1), (1, 0, 0), (1, 0, 1), (1, 1, 0), (1, 1, 1)):
        assert both.count(tuple(map(bool, case))) >= 10
    crossed = [arrays[0].shape[2] != arrays[1].shape[2] for arrays, *_ in found]
    assert 40 < sum(crossed) < 160
    assert sum(arrays[0].shape[2] > BLOCK for arrays, *_ in found) > 50


@pytest.mark.parametrize("seed", range(200))
def test_additive_scores(seed):
    rng = np.random.default_rng(seed)
    T, S, I, K, J = (int(n) for n in rng.integers(1, [7, 7, 6, 6, 6]))
    sizes = ((T, I), (S, K), (J, I), (J, K), (J,))
    arrays = [rng.normal(size=size) for size in sizes]
    dz = rng.normal(size=(T, S))
    q, k, wq, wk, u = tensors(*arrays)
    z = torch.tanh((q @ wq.T)[:, None] + (k @ wk.T)[None]) @ u
    z.backward(torch.from_numpy(dz))
    close(att.additive_scores(*arrays), z)
    for ours, tensor in zip(att.additive_backward(dz, *arrays), (q, k, wq, wk, u), strict=True):
        close(ours, tensor.grad)


def test_a_row_that_sees_nothing():
    """PyTorch's answer is zero too, in the version that these tests run with."""
    q, k, v = np.ones((3, 2, 1, 4, 5))
    found = att.attention(q, k, v, lengths=[0, 3])
    seen = mask((2, 1, 4, 4), False, 0, np.array([0, 3]))
    theirs = scaled_dot_product_attention(*tensors(q, k, v), attn_mask=seen)
    close(found.o, theirs)
    assert (found.o[0] == 0).all()
    assert (found.L[0] == -np.inf).all()


def test_the_layer_on_the_page(rng):
    names = {"M": 6, "H": 2}
    exec(compile(shown("attention"), "attention.md", "exec"), names)
    x, lengths = rng.normal(size=(3, 7, 6)), np.array([7, 1, 4])
    theirs, layer = names["layer"], MultiHeadAttention(6, 2, causal=True)
    params = built(layer.parameters((7, 6)), "float64").net
    layer.draw(params, rng)
    with torch.no_grad():
        theirs.in_proj_weight.copy_(torch.from_numpy(np.vstack(params[:3])))
        theirs.in_proj_bias.copy_(torch.from_numpy(np.concatenate(params[4:7])))
        theirs.out_proj.weight.copy_(torch.from_numpy(params.wo))
        theirs.out_proj.bias.copy_(torch.from_numpy(params.bo))
    step = new_step("float64", training=False)
    step.lengths = lengths
    z, _ = layer.forward(params, x, step)
    close(z, names["itself"](torch.from_numpy(x), torch.from_numpy(lengths)))
    q, k, v = rng.normal(size=(3, 2, 4, 9, 3))
    close(att.attention(q, k, v, causal=True).o, names["heads"](*tensors(q, k, v)))
