"""Blocks and decoders against PyTorch: results and every gradient; what is drawn, and a text."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from shown import shown
from torch import nn

from dlbook import transformer as tr
from dlbook.attention import causal_mask
from dlbook.language_models import generate
from dlbook.nets import Transformer, TransformerBlock, new_step
from dlbook.nets.tree import built
from dlbook.tools.flat import like

RTOL = 1e-10


def gelu(z):
    """The form that the layers compute."""
    return F.gelu(z, approximate="tanh")


def close(found, expected, rtol=RTOL):
    if isinstance(expected, torch.Tensor):
        expected = expected.detach().numpy()
    scale = max(1.0, np.abs(expected).max(initial=0))
    np.testing.assert_allclose(found, expected, rtol=0, atol=rtol * scale)


def gradient(tensor):
    return tensor.grad.numpy()


def parts(p, layer, of=lambda tensor: tensor):
    """Yield the arrays of a block of ours, and what PyTorch's layer has in their place."""
    attention, M = layer.self_attn, layer.norm1.weight.numel()
    for i, name in enumerate("qkv"):
        rows = slice(i * M, (i + 1) * M)
        yield getattr(p.attention, f"w{name}"), of(attention.in_proj_weight)[rows]
        yield getattr(p.attention, f"b{name}"), of(attention.in_proj_bias)[rows]
    yield p.attention.wo, of(attention.out_proj.weight)
    yield p.attention.bo, of(attention.out_proj.bias)
    for ours, theirs in ((p.norm, layer.norm1), (p.norm2, layer.norm2)):
        yield ours.gamma, of(theirs.weight)
        yield ours.beta, of(theirs.bias)
    for ours, theirs in ((p.feed[0], layer.linear1), (p.feed[2], layer.linear2)):
        yield ours.w, of(theirs.weight)
        yield ours.b, of(theirs.bias)


def copied(p, layer):
    """Give PyTorch's layer the parameters of ours."""
    with torch.no_grad():
        for ours, theirs in parts(p, layer):
            theirs.copy_(torch.from_numpy(ours))


def later(T):
    return torch.ones(T, T, dtype=torch.bool).triu(1)


def drawn(seed):
    """Draw sizes, where the norms stand, whether steps see the future, and ends of sequences."""
    rng = np.random.default_rng(seed)
    N, T, H, each, J = (int(n) for n in rng.integers(1, [5, 90, 5, 9, 40]))
    first, causal, padded = (bool(n) for n in rng.integers(2, size=3))
    lengths = rng.integers(1, T + 1, size=N) if padded else None
    return rng, (N, T, H, max(2, H * each), J), first, causal, lengths


def whole(H, M):
    """Return a number of heads that divides M."""
    return H if M % H == 0 else 1


@pytest.mark.parametrize("seed", range(100))
def test_a_block(seed):
    rng, (N, T, H, M, J), first, causal, lengths = drawn(seed)
    H = whole(H, M)
    block = TransformerBlock(M, H, J, causal, norm="pre" if first else "post")
    params = built(block.parameters((T, M)), "float64")
    block.draw(params.net, rng)
    params.flat[:] += 0.3 * rng.normal(size=params.flat.size)
    grads = like(params, np.full_like(params.flat, np.nan))
    x, dy = rng.normal(size=(2, N, T, M))
    step = new_step("float64", wants=True)
    step.lengths = lengths
    y, kept = block.forward(params.net, x, step)
    y = y.copy()
    dx = block.backward(params.net, dy.copy(), kept, grads.net, step)

    layer = nn.TransformerEncoderLayer(
        M, H, J, dropout=0.0, activation=gelu, norm_first=first, batch_first=True
    )
    copied(params.net, layer)
    entered = torch.from_numpy(x.copy()).requires_grad_()
    hidden = None if lengths is None else torch.arange(T) >= torch.from_numpy(lengths)[:, None]
    found = layer(entered, src_mask=later(T) if causal else None, src_key_padding_mask=hidden)
    found.backward(torch.from_numpy(dy))
    close(y, found)
    close(dx, entered.grad)
    for ours, theirs in parts(grads.net, layer, gradient):
        close(ours, theirs)


def test_what_is_drawn_covers_all_that_is_said():
    found = [drawn(seed) for seed in range(100)]
    for case in np.ndindex(2, 2, 2):
        hits = [
            (first, causal, lengths is not None) == tuple(map(bool, case))
            for *_, first, causal, lengths in found
        ]
        assert sum(hits) >= 5
    sizes = np.array([s for _, s, *_ in found])
    assert (sizes[:, 1] > 64).any() and (sizes[:, 2] == 1).any() and (sizes[:, 2] > 1).sum() > 40


def own(rng, M, J):
    """Draw the four parts of a literal block."""
    norm, late = (((1 + 0.3 * rng.normal(size=M)), rng.normal(size=M)) for _ in range(2))
    heads = tuple(rng.normal(size=(M, M)) / np.sqrt(M) for _ in range(4))
    net = rng.normal(size=(J, M)), rng.normal(size=J), rng.normal(size=(M, J)), rng.normal(size=M)
    return norm, heads, late, net


def literal(layer, norm, heads, late, net):
    """Give PyTorch's layer the parts of a literal block, whose projections have no biases."""
    M = len(norm[0])
    with torch.no_grad():
        layer.self_attn.in_proj_bias.zero_()
        layer.self_attn.out_proj.bias.zero_()
        given = (
            (layer.self_attn.in_proj_weight, np.vstack(heads[:3])),
            (layer.self_attn.out_proj.weight, heads[3]),
            *zip((layer.norm1.weight, layer.norm1.bias), norm, strict=True),
            *zip((layer.norm2.weight, layer.norm2.bias), late, strict=True),
            *zip((layer.linear1.weight, layer.linear1.bias), net[:2], strict=True),
            *zip((layer.linear2.weight, layer.linear2.bias), net[2:], strict=True),
        )
        for tensor, array in given:
            tensor.copy_(torch.from_numpy(array))
    return M


@pytest.mark.parametrize("seed", range(30))
def test_the_literal_block(seed):
    rng = np.random.default_rng(seed)
    T, H, each, J = (int(n) for n in rng.integers(1, [8, 4, 4, 9]))
    M, first = max(2, H * each), seed % 3 > 0
    H = whole(H, M)
    given = own(rng, M, J)
    x, dy = rng.normal(size=(2, T, M))
    mask = causal_mask(T, T, 0) if seed % 2 else np.ones((T, T), bool)
    layer = nn.TransformerEncoderLayer(
        M, H, J, dropout=0.0, activation=F.gelu, norm_first=first, batch_first=True
    )
    literal(layer, *given)
    entered = torch.from_numpy(x.copy()).requires_grad_()
    y = layer(entered[None], src_mask=torch.from_numpy(~mask))[0]
    if not first:
        close(tr.post_norm(x, *given, H, mask), y)
        return
    y.backward(torch.from_numpy(dy))
    close(tr.block(x, *given, H, mask), y)
    back = tr.block_backward(dy, x, *given, H, mask)
    weights = gradient(layer.self_attn.in_proj_weight)
    expected = (
        gradient(entered),
        gradient(layer.norm1.weight),
        gradient(layer.norm1.bias),
        *(weights[i * M : (i + 1) * M] for i in range(3)),
        gradient(layer.self_attn.out_proj.weight),
        gradient(layer.norm2.weight),
        gradient(layer.norm2.bias),
        gradient(layer.linear1.weight),
        gradient(layer.linear1.bias),
        gradient(layer.linear2.weight),
        gradient(layer.linear2.bias),
    )
    for ours, theirs in zip(back, expected, strict=True):
        close(ours, theirs)


def page(V, C, M, H, L):
    """Return what the page shows, for these sizes."""
    names = {"V": V, "C": C, "M": M, "H": H, "L": L}
    exec(compile(shown("transformer"), "transformer.md", "exec"), names)
    return names


def twin(names, model, params):
    """Return the page's decoder with the parameters and the GELU of one of ours."""
    names["layer"].activation = gelu
    theirs, p = names["Decoder"](), params.net
    with torch.no_grad():
        theirs.symbols.weight.copy_(torch.from_numpy(p.tokens.w))
        theirs.places.weight.copy_(torch.from_numpy(p.positions.w))
        theirs.norm.weight.copy_(torch.from_numpy(p.norm.gamma))
        theirs.norm.bias.copy_(torch.from_numpy(p.norm.beta))
    for ours, layer in zip(p.blocks, theirs.blocks, strict=True):
        copied(ours, layer)
    return theirs


def decoders(seed):
    """Draw a decoder, its twin and a text with gaps."""
    rng = np.random.default_rng(seed)
    V, C, H, each, L, N = (int(n) for n in rng.integers([2, 1, 1, 2, 1, 1], [9, 70, 4, 6, 4, 5]))
    M = H * each
    model = Transformer(V, M, L, H, C, dtype="float64")
    params = model.init(rng)
    params.flat[:] += 0.3 * rng.normal(size=params.flat.size)
    theirs = twin(page(V, C, M, H, L), model, params)
    T = int(rng.integers(1, C + 1))
    x, y = rng.integers(V, size=(2, N, T))
    y[rng.random(y.shape) < 0.2] = -1
    y[0, 0] = 0
    return model, params, theirs, x, y


@pytest.mark.parametrize("seed", range(100))
def test_a_decoder_with_one_table(seed):
    model, params, theirs, x, y = decoders(seed)
    grads = like(params, np.full_like(params.flat, np.nan))
    batch = model.check(params, (x, y))
    loss = model.loss_and_grad(params, None, batch, grads, model.workspace(len(x)))
    f = theirs(torch.from_numpy(x))
    expected = F.cross_entropy(f.flatten(0, 1), torch.from_numpy(y).flatten(), ignore_index=-1)
    expected.backward()
    close(model.outputs(params, None, x), f)
    close(loss, expected)
    g = grads.net
    close(g.tokens.w, theirs.symbols.weight.grad)
    close(g.positions.w, theirs.places.weight.grad)
    close(g.norm.gamma, theirs.norm.weight.grad)
    close(g.norm.beta, theirs.norm.bias.grad)
    for ours, layer in zip(g.blocks, theirs.blocks, strict=True):
        for array, found in parts(ours, layer, gradient):
            close(array, found)


def test_the_literal_decoder():
    rng = np.random.default_rng(5)
    V, C, M, H, L, J, T = 7, 9, 6, 2, 3, 24, 5
    names = page(V, C, M, H, L)
    theirs = names["Decoder"]()
    blocks = tuple(own(rng, M, J) for _ in range(L))
    for layer, given in zip(theirs.blocks, blocks, strict=True):
        literal(layer, *given)
    E, P = theirs.symbols.weight.detach().numpy(), theirs.places.weight.detach().numpy()
    last = rng.normal(size=(2, M))
    with torch.no_grad():
        theirs.norm.weight.copy_(torch.from_numpy(last[0]))
        theirs.norm.bias.copy_(torch.from_numpy(last[1]))
    ids = rng.integers(V, size=T)
    found = tr.decoder(ids, E, P, blocks, (last[0], last[1]), H)
    close(found, theirs(torch.from_numpy(ids[None]))[0])


@pytest.mark.parametrize("seed", range(10))
def test_a_text_symbol_by_symbol(seed):
    """With a cache, all scores are those that PyTorch computes anew; so is the likeliest text."""
    model, params, theirs, x, _ = decoders(seed)
    with torch.no_grad():
        f = theirs(torch.from_numpy(x)).numpy()
    cache = model.cache(len(x))
    for t in range(x.shape[1]):
        close(model.step(params, x[:, t], cache), f[:, t])
    more = model.length - 1
    if not more:
        return
    names = page(model.symbols, model.length, model.width, model.heads, model.blocks)
    written = names["write"](theirs, torch.from_numpy(x[:1, :1]), more, 1e-9, 1.0)[0, 1:]
    draws = np.random.default_rng(0)
    ours = generate(model.reader(params), x[0, :1], more, draws, temperature=1e-4)
    np.testing.assert_array_equal(ours, written.numpy())


@pytest.mark.parametrize("seed", range(20))
def test_the_nucleus_on_the_page(seed):
    rng = np.random.default_rng(seed)
    names = page(5, 4, 4, 2, 1)
    p, mass = rng.dirichlet(np.full(int(rng.integers(1, 12)), 0.5), size=3), rng.random()
    found = names["nucleus"](torch.from_numpy(p), mass).numpy()
    for row, expected in zip(p, found, strict=True):
        close(tr.nucleus(row, mass), expected, 1e-14)


@pytest.mark.parametrize("seed", range(10))
def test_the_first_k(seed):
    rng = np.random.default_rng(seed)
    p = rng.dirichlet(np.ones(9))
    k = int(rng.integers(1, 10))
    kept, at = torch.from_numpy(p).topk(k)
    expected = torch.zeros(9).scatter(0, at, kept / kept.sum())
    close(tr.top_k(p, k), expected, 1e-14)
