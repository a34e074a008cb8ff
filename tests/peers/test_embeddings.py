"""What the page shows in PyTorch gives what the kernels give."""

import numpy as np
import torch
from shown import shown

from dlbook import embeddings as emb


def test_the_same_in_pytorch():
    rng = np.random.default_rng(7)
    W, C = rng.normal(size=(9, 4)), rng.normal(size=(9, 4))
    v, o = rng.integers(9, size=6), rng.integers(9, size=6)
    drawn = rng.integers(9, size=(6, 3))
    counts = np.array([50.0, 20, 9, 5, 4, 3, 2, 2, 1])
    names = {
        "W": torch.tensor(W, requires_grad=True),
        "C": torch.tensor(C, requires_grad=True),
        "v": torch.tensor(v),
        "o": torch.tensor(o),
        "drawn": torch.tensor(drawn),
        "counts": torch.tensor(counts),
    }
    torch.manual_seed(0)
    exec(shown("embeddings"), names)
    theirs = lambda name: names[name].detach().numpy()
    close = lambda ours, other: np.testing.assert_allclose(ours, other, rtol=1e-12, atol=1e-13)

    close(emb.lookup(v, W), theirs("h"))
    close(np.mean([emb.skip_gram(W[a], C, b) for a, b in zip(v, o, strict=True)]), theirs("every"))
    chosen = np.column_stack([o, drawn])
    pairs = [(W[a], C, row) for a, row in zip(v, chosen, strict=True)]
    close(sum(emb.negative_sampling(*pair) for pair in pairs), theirs("loss"))
    dw, dC = zip(*(emb.negative_sampling_gradient(*pair) for pair in pairs), strict=True)
    close(emb.lookup_gradient(v, np.array(dw), 9), names["W"].grad.numpy())
    close(np.sum(dC, axis=0), names["C"].grad.numpy())
    close(emb.noise(counts, 0.75), theirs("q"))
    close(emb.cosines(W[0], W), theirs("near"))
    found = np.bincount(theirs("more"), minlength=9) / 1000
    assert np.abs(found - theirs("q")).max() < 0.08  # five standard errors


def test_document_vectors_are_bags_with_weights():
    rng = np.random.default_rng(8)
    W, weight = rng.normal(size=(7, 3)), rng.uniform(0.1, 2, size=7)
    ids, starts = rng.integers(7, size=10), np.array([0, 4, 5, 10])
    bag = torch.nn.functional.embedding_bag(
        torch.tensor(ids),
        torch.tensor(W),
        torch.tensor(starts[:-1]),
        mode="sum",
        per_sample_weights=torch.tensor(weight[ids]),
    ).numpy()
    total = np.add.reduceat(weight[ids], starts[:-1])[:, None]
    np.testing.assert_allclose(emb.document_vectors(ids, starts, weight, W), bag / total)


def test_a_vector_of_zeros():
    W = np.zeros((2, 3))
    W[1] = 1, 2, 2
    theirs = torch.nn.functional.cosine_similarity(torch.tensor(W[1:]), torch.tensor(W), dim=1)
    np.testing.assert_allclose(theirs.numpy(), [0, 1])
    np.testing.assert_allclose(emb.cosines(W[1], W), [np.nan, 1])
