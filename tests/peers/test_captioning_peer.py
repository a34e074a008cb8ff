"""The decoder of captions against PyTorch, with every gradient, and BLEU against sacrebleu."""

import numpy as np
import pytest
import torch
from sacrebleu.metrics import BLEU
from shown import shown

from dlbook import captioning as cap


def close(found, expected, rtol=1e-10):
    if isinstance(expected, torch.Tensor):
        expected = expected.detach().numpy()
    scale = max(1.0, np.abs(expected).max(initial=0))
    np.testing.assert_allclose(found, expected, rtol=0, atol=rtol * scale)


def drawn(seed):
    """Return a decoder of the page, its weights as the kernels want them, places and captions."""
    rng = np.random.default_rng(seed)
    N, S, K, J, E, V, U = (int(n) for n in rng.integers(2, [4, 9, 6, 6, 5, 9, 8]))
    names = {}
    exec(compile(shown("captioning"), "captioning.md", "exec"), names)
    model = names["Decoder"](K, J, E, V)
    for p in model.parameters():
        p.data = torch.from_numpy(rng.normal(size=tuple(p.shape)))
    model.cell.bias_hh.data[:] = 0  # we have one bias
    part = lambda p: p.detach().numpy().copy()
    weights = (
        (part(model.start.weight), part(model.start.bias)),
        part(model.table.weight),
        part(model.query.weight),
        (part(model.cell.weight_ih), part(model.cell.weight_hh), part(model.cell.bias_ih)),
        (part(model.words.weight), part(model.words.bias)),
    )
    y, ends = rng.integers(V, size=(N, U)), rng.integers(1, U + 1, size=N)
    there = np.arange(U) < ends[:, None]
    return names, model, weights, rng.normal(size=(N, S, K)), np.where(there, y, 1), there, ends


@pytest.mark.parametrize("seed", range(40))
def test_likelihood_and_gradient_of_the_places(seed):
    names, model, weights, v, y, there, ends = drawn(seed)
    places = torch.from_numpy(v).requires_grad_()
    loss = names["loss"](model, places, torch.from_numpy(y), torch.from_numpy(there))
    loss.backward()
    logs, back = [], np.zeros_like(v)
    for n, end in enumerate(ends):
        words = y[n, :end]
        logs.append(cap.caption_likelihood(words, 0, v[n], weights))
        read = np.append(0, words[:-1])
        f = cap.decoded(read, v[n], weights)[0]
        p = np.exp(f - f.max(axis=1, keepdims=True))
        df = p / p.sum(axis=1, keepdims=True) - np.eye(f.shape[1])[words]
        back[n] = cap.places_gradient(df / ends.sum(), read, v[n], weights)
    close(-np.sum(logs) / ends.sum(), loss)
    close(back, places.grad)


@pytest.mark.parametrize("seed", range(40))
def test_one_step_and_its_gradients(seed):
    """A look and a step: all that comes back from random errors of state, cell and context."""
    _, model, weights, v, *_ = drawn(seed)
    rng, v = np.random.default_rng(seed + 1), v[0]
    _, table, wq, (wx, wh, b), _ = weights
    J = wh.shape[1]
    h, c, dh, dc = rng.normal(size=(4, J))
    theirs = [torch.from_numpy(part.copy()).requires_grad_() for part in (h, c, v)]
    asks = model.query(theirs[0])[None]
    o = torch.nn.functional.scaled_dot_product_attention(asks, theirs[2], theirs[2])[0]
    x = torch.cat((model.table.weight[2 % len(table)], o))
    after = model.cell(x[None], (theirs[0][None], theirs[1][None]))
    (after[0] @ torch.from_numpy(dh) + after[1] @ torch.from_numpy(dc)).sum().backward()

    found, a = cap.look(h, v, wq)
    close(found, o)
    h1, c1, gates = cap.decoder_step(table[2 % len(table)], found, h, c, wx, wh, b)
    close(h1, after[0][0])
    close(c1, after[1][0])
    delta, dx, before, cell = cap.step_backward(dh, dc, c, gates, wx, wh)
    by_query, dv, dwq = cap.look_backward(dx[table.shape[1] :], h, v, wq, a)
    close(before + by_query, theirs[0].grad)
    close(cell, theirs[1].grad)
    close(dv, theirs[2].grad)
    close(dwq, model.query.weight.grad)
    close(delta, model.cell.bias_ih.grad)
    close(np.outer(delta, np.append(table[2 % len(table)], found)), model.cell.weight_ih.grad)
    close(np.outer(delta, h), model.cell.weight_hh.grad)


def corpus(seed):
    """Return candidates and references of few words, so that all n-grams occur and some repeat."""
    rng = np.random.default_rng(seed)
    N, words = int(rng.integers(1, 9)), [f"w{k}" for k in range(rng.integers(1, 4))]
    text = lambda least: rng.choice(words, size=rng.integers(least, 15)).tolist()
    many = int(rng.integers(1, 4))
    return [text(1) for _ in range(N)], [[text(1) for _ in range(many)] for _ in range(N)]


@pytest.mark.parametrize("order", [1, 2, 4, 5])
@pytest.mark.parametrize("seed", range(50))
def test_bleu_is_that_of_sacrebleu(seed, order):
    candidates, references = corpus(seed)
    theirs = BLEU(tokenize="none", smooth_method="none", max_ngram_order=order)
    join = " ".join
    streams = [[join(refs[m]) for refs in references] for m in range(len(references[0]))]
    wanted = theirs.corpus_score([join(y) for y in candidates], streams)
    found = cap.bleu(candidates, references, order)
    assert 100 * found.score == pytest.approx(wanted.score, rel=1e-10, abs=1e-10)
    assert (found.length, found.reference) == (wanted.sys_len, wanted.ref_len)
    assert found.penalty == pytest.approx(wanted.bp, rel=1e-12)
    np.testing.assert_allclose(100 * found.precisions, wanted.precisions, rtol=1e-12)


def test_corpora_have_all_cases():
    """Of those drawn some score 0, some 1 at most, some are too short, some have several references."""
    found = [cap.bleu(*corpus(seed)) for seed in range(50)]
    assert sum(one.score == 0 for one in found) >= 2
    assert sum(0.05 < one.score < 0.95 for one in found) >= 10
    assert sum(one.penalty < 1 for one in found) >= 10
    assert sum(one.penalty == 1 for one in found) >= 10
