"""Skip-gram with negative sampling: draws, steps and passes against literal forms."""

import numpy as np
import pytest
from compiled import compiled_only, same_bits

from dlbook import embeddings as emb
from dlbook.fast import skipgram
from dlbook.nets import train_skipgram
from dlbook.nets.embeddings import borders_of, in_32_bits
from dlbook.tools.text import Vocabulary, words

MASK, GOLDEN = 2**64 - 1, 0x9E3779B97F4A7C15


class SplitMix:
    """splitmix64 in Python's whole numbers."""

    def __init__(self, seed):
        self.z = seed

    def __call__(self):
        self.z = z = (self.z + GOLDEN) & MASK
        z = ((z ^ z >> 30) * 0xBF58476D1CE4E5B9) & MASK
        z = ((z ^ z >> 27) * 0x94D049BB133111EB) & MASK
        return z ^ z >> 31


def test_the_generator_of_the_test_is_splitmix():
    """The numbers that its author's program gives for the seed 1234567."""
    draw = SplitMix(1234567)
    assert [draw() for _ in range(3)] == [
        6457827717110365317,
        3203168211198807973,
        9817491932198370423,
    ]


@compiled_only
def test_mixed_is_splitmix():
    for seed in (0, 7, 2**63 + 5):
        counter = np.uint64((seed + GOLDEN) & MASK)
        assert int(skipgram.mixed(counter)) == SplitMix(seed)()


@compiled_only
def test_draws_follow_the_table():
    q = np.array([0.05, 0.4, 0.0, 0.25, 0.3])
    share, other = emb.alias_table(q)
    keep = in_32_bits(np.minimum(share, 1))
    N = 40_000
    draw = SplitMix(3)
    drawn = [skipgram.draw(np.uint64(draw()), keep, other) for _ in range(N)]
    found = np.bincount(drawn, minlength=5) / N
    assert (np.abs(found - q) <= 4 * np.sqrt(q * (1 - q) / N)).all()
    for v in range(5):  # the two ends of each column
        first = np.uint64(-(-(v << 64) // 5) >> 32 << 32)
        column = int(first >> np.uint64(32)) * 5 >> 32
        assert skipgram.draw(first, keep, other) == (column if share[column] > 0 else other[column])


def padded(a):
    """Return float32 rows of sixteen numbers."""
    return np.hstack([a, np.zeros((len(a), 16 - a.shape[1]))]).astype(np.float32)


@compiled_only
def test_a_step_is_the_gradient():
    rng = np.random.default_rng(0)
    W, C, chosen = rng.normal(size=(4, 5)), rng.normal(size=(6, 5)), np.array([2, 0, 5])
    dw, dC = emb.negative_sampling_gradient(W[1], C, chosen)
    W1, C1, g = padded(W), padded(C), np.empty(16, np.float32)
    skipgram.pair_step(W1, C1, 1, chosen, np.float32(0.1), g)
    W[1] -= 0.1 * dw
    np.testing.assert_allclose(W1, padded(W), atol=1e-6)
    np.testing.assert_allclose(C1, padded(C - 0.1 * dC), atol=1e-6)


def literally(ids, starts, stay, share, other, W, C, window, K, rates, seed):
    """Go once through a text by the kernels of the chapter; returns the pairs."""
    draw, V, pairs = SplitMix(seed), len(W), 0
    for p in range(len(starts) - 1):
        rate = rates[0] + (rates[1] - rates[0]) * starts[p] / len(ids)
        text = [v for v in ids[starts[p] : starts[p + 1]] if (draw() >> 32) < int(stay[v])]
        for t, v in enumerate(text):
            reach = 1 + ((draw() >> 32) * window >> 32)
            for u in range(max(0, t - reach), min(len(text), t + reach + 1)):
                if u == t:
                    continue
                u_n = [draw() for _ in range(K)]
                columns = [(z >> 32) * V >> 32 for z in u_n]
                low = [(z & 0xFFFFFFFF) / 2**32 for z in u_n]
                at = [(j + x) / V for j, x in zip(columns, low, strict=True)]
                chosen = np.array([text[u], *emb.alias_draw(share, other, np.array(at))])
                w = W[v].copy()
                for k, c in enumerate(chosen):  # contexts that are drawn twice move twice
                    x = W[v] @ C[c]
                    e = 1 / (1 + np.exp(-x)) - (k == 0)
                    w -= rate * e * C[c]
                    C[c] -= rate * e * W[v]
                W[v] = w
                pairs += 1
    return pairs


@compiled_only
@pytest.mark.parametrize(("window", "K"), [(1, 1), (3, 4)])
def test_a_pass_is_the_literal_one(window, K):
    rng = np.random.default_rng(window)
    V, T = 7, 60
    ids, starts = rng.integers(V, size=T), np.array([0, 20, 20, 21, T])
    n = np.bincount(ids, minlength=V).astype(float)
    share, other = emb.alias_table(emb.noise(n, 0.75))
    stay = in_32_bits(emb.keep_probability(n, 0.05))
    W, C = rng.normal(size=(V, 4)), rng.normal(size=(V, 4))
    W1, C1, rates = padded(W), padded(C), np.array([0.3, 0.1])
    found = skipgram.learn_part(
        ids, starts, 0, 4, stay, in_32_bits(np.minimum(share, 1)), other, W1, C1, window, K, rates,
        np.uint64(99),
    )  # fmt: skip
    pairs = literally(ids, starts, stay, share, other, W, C, window, K, rates, 99)
    assert found == pairs > 50
    np.testing.assert_allclose(W1, padded(W), atol=2e-5)
    np.testing.assert_allclose(C1, padded(C), atol=2e-5)


TEXT = np.random.default_rng(1).integers(30, size=600)
STARTS = np.arange(0, 601, 20)


@compiled_only
@pytest.mark.parametrize("chunks", [1, 2, 3])
def test_same_bits(chunks):
    def run(seed=5):
        return train_skipgram(
            TEXT, STARTS, rng=np.random.default_rng(seed), dimension=9, epochs=2, chunks=chunks
        )[:2]

    assert same_bits(run)
    assert not np.array_equal(run()[0], run(6)[0])


@compiled_only
def test_chunks_learn_what_one_part_learns():
    """Two topics of words: in both ways words of one topic end up near."""
    rng = np.random.default_rng(2)
    ids = np.concatenate([rng.integers(10, size=20) + 10 * (p % 2) for p in range(200)])
    starts = np.arange(0, 4001, 20)
    for chunks in (1, 2):
        found = train_skipgram(
            ids, starts, rng=np.random.default_rng(0), dimension=8, subsample=None, chunks=chunks
        )
        U = found.words / np.linalg.norm(found.words, axis=1, keepdims=True)
        near, far = (U[:10] @ U[:10].T).mean(), (U[:10] @ U[10:].T).mean()
        assert near > far + 0.5


def test_a_round_adds_what_its_parts_have_changed(rng):
    """Each part begins with the vectors as they were; one part alone changes them itself."""
    v, ids, starts = 5, rng.integers(5, size=40), np.array([0, 12, 20, 29, 40])
    share, other = emb.alias_table(np.full(v, 1 / v))
    table, stay = (in_32_bits(share), other), np.full(v, 2**32, np.uint64)
    before = [rng.normal(size=(v, 16)).astype(np.float32) for _ in range(2)]
    how = 2, 3, (0.2, 0.05)
    for borders in ([1, 3], [0, 1, 4], [0, 2, 3, 4]):
        M, alone, pairs = len(borders) - 1, [], 0
        seeds = [np.uint64(1000 * m + 7) for m in range(M)]
        with np.errstate(over="ignore"):  # as plain Python, products of the generator
            for m in range(M):
                alone.append([one.copy() for one in before])
                part = borders[m], borders[m + 1]
                pairs += skipgram.learn_part(
                    ids, starts, *part, stay, *table, *alone[m], *how, seeds[m]
                )
            room = [np.full((M, v, 16), np.nan, np.float32) for _ in range(2)]
            found = [one.copy() for one in before]
            said = skipgram.learn_round(
                ids, starts, borders, stay, table, *found, room, *how, seeds
            )
        assert said == pairs > 0
        for k in range(2):
            whole = before[k].astype(float) + sum(one[k].astype(float) - before[k] for one in alone)
            assert np.abs(whole - before[k]).max() > 0.01
            np.testing.assert_allclose(found[k], whole, rtol=0, atol=1e-5)


@compiled_only
def test_pairs():
    """Neighbours in a paragraph meet both ways, words of two paragraphs never do."""
    one = {"rng": np.random.default_rng(0), "window": 1, "epochs": 1, "subsample": None}
    assert train_skipgram([0, 1, 2, 1], [0, 4], **one).pairs == 6
    assert train_skipgram([0, 1, 2, 1], [0, 1, 2, 3, 4], **one).pairs == 0
    assert train_skipgram([0, 1, 2, 1], [0, 3, 3, 4], **one).pairs == 4
    alone = train_skipgram([0], [0, 1], size=3, **one)
    assert alone.words.shape == (3, 50) and not alone.contexts.any()


def test_borders():
    starts = np.array([0, 5, 10, 40, 45, 50])
    assert borders_of(starts, 1) == [0, 5]
    assert borders_of(starts, 2) == [0, 3, 5]
    assert borders_of(starts, 9)[0] == 0 and borders_of(starts, 9)[-1] == 5


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"ids": [0, -1]}, "ids holds the label -1"),
        ({"ids": [0, 3], "size": 3}, "ids holds the label 3"),
        ({"ids": []}, "ids"),
        ({"ids": [0.0, 1.0]}, "labels are integers"),
        ({"starts": [0, 1]}, "starts has to rise from 0 to 2"),
        ({"starts": [1, 2]}, "starts has to rise"),
        ({"starts": [0, 2, 1, 2]}, "starts has to rise"),
        ({"starts": [2]}, "starts has to rise"),
        ({"dimension": 0}, "dimension is 0"),
        ({"window": 1.5}, "window is 1.5"),
        ({"negatives": 0}, "negatives is 0"),
        ({"rate": 0}, "rate is 0"),
        ({"rate": np.nan}, "rate is nan"),
        ({"epochs": 0}, "epochs is 0"),
        ({"subsample": 0}, "subsample is 0"),
        ({"power": -1}, "power is -1"),
        ({"chunks": 0}, "chunks is 0"),
        ({"chunks": 65}, "chunks is 65"),
        ({"size": 0}, "size is 0"),
        ({"rng": 3}, "rng is 3"),
    ],
)
def test_what_is_refused(change, said):
    given = {"ids": [0, 1], "starts": [0, 2], "rng": np.random.default_rng(0)} | change
    with pytest.raises((TypeError, ValueError), match=said):
        train_skipgram(given.pop("ids"), given.pop("starts"), **given)


def test_vocabulary():
    assert words("A list_2 of 3 Tuples, 2nd.") == ["a", "list_2", "of", "tuples", "nd"]
    known = Vocabulary.of(["the cat", "the dog the", "a cat"], min_count=2)
    assert known.words == ("the", "cat") and len(known) == 2
    assert known["cat"] == 1 and "dog" not in known
    ids, starts = known.encode(["a cat", "dog", "The cat the"])
    assert ids.tolist() == [1, 0, 1, 0] and starts.tolist() == [0, 1, 1, 4]
    assert Vocabulary(["b", "a"]).words == ("b", "a")


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: words(3), "text is int"),
        (lambda: Vocabulary("abc"), "expected strings"),
        (lambda: Vocabulary([1]), "expected strings"),
        (lambda: Vocabulary([]), "words is empty"),
        (lambda: Vocabulary(["a", "a"]), "'a' twice"),
        (lambda: Vocabulary.of("the cat"), "one string"),
        (lambda: Vocabulary.of(["the cat"], 2), "no word occurs 2 times"),
        (lambda: Vocabulary.of(["the cat"], 0), "min_count"),
        (lambda: Vocabulary(["a"]).encode("a"), "one string"),
        (lambda: Vocabulary(["a"])["b"], "'b' is not one of the 1 words"),
    ],
)
def test_what_a_vocabulary_refuses(call, said):
    with pytest.raises((TypeError, ValueError, KeyError), match=said):
        call()
