"""The transformer: equations."""

import numpy as np
import pytest

from dlbook import transformer as tr
from dlbook.verification import central_differences

T, M, J, H = 3, 4, 5, 2


def some_block(rng):
    """Return the parts of a block: a norm, heads, a norm, a small network."""
    return (
        (rng.normal(size=M), rng.normal(size=M)),
        tuple(rng.normal(size=(M, M)) for _ in range(4)),
        (rng.normal(size=M), rng.normal(size=M)),
        tuple(rng.normal(size=size) for size in ((J, M), J, (M, J), M)),
    )


def some_steps(rng):
    """Return steps, the parts of a block, heads, and what is seen."""
    return rng.normal(size=(T, M)), *some_block(rng), H, np.tri(T) > 0


def some_cache(rng):
    """Return a step, keys and values of two before it, the parts of a block, and heads."""
    sizes = (1, M), (2, M), (2, M)
    return *(rng.normal(size=size) for size in sizes), *some_block(rng), H


def some_decoder(rng):
    """Return symbols, both tables, two blocks, a norm, and heads."""
    E, P = rng.normal(size=(7, M)), rng.normal(size=(T + 2, M))
    blocks = some_block(rng), some_block(rng)
    return np.array([6, 0, 6]), E, P, blocks, some_block(rng)[0], H


def some_shares(rng):
    p = rng.random(7)
    return p / p.sum()


KERNELS = [
    (tr.feed_forward, lambda rng: (rng.normal(size=(T, M)), *some_block(rng)[3])),
    (
        tr.feed_forward_backward,
        lambda rng: (*rng.normal(size=(2, T, M)), *some_block(rng)[3][:3]),
    ),
    (tr.block, some_steps),
    (tr.block_backward, lambda rng: (rng.normal(size=(T, M)), *some_steps(rng))),
    (tr.post_norm, some_steps),
    (
        tr.stream,
        lambda rng: (
            rng.normal(size=(T, M)),
            (some_block(rng), some_block(rng)),
            H,
            np.tri(T) > 0,
        ),
    ),
    (tr.embedded, lambda rng: some_decoder(rng)[:3]),
    (tr.tied, lambda rng: (rng.normal(size=(T, M)), rng.normal(size=(7, M)))),
    (
        tr.tied_gradient,
        lambda rng: (
            np.array([6, 0, 6]),
            rng.normal(size=(T, M)),
            rng.normal(size=(T, 7)),
            rng.normal(size=(T, M)),
        ),
    ),
    (tr.decoder, some_decoder),
    (tr.parameters, lambda rng: (7, 6, 4, 5, 2)),
    (tr.multiply_adds, lambda rng: (3, 7, 4, 5, 2)),
    (tr.cached_block, some_cache),
    (tr.cache_work, lambda rng: (6, 7, 4, 5, 2)),
    (tr.top_k, lambda rng: (some_shares(rng), 3)),
    (tr.nucleus, lambda rng: (some_shares(rng), 0.6)),
    (tr.induction, lambda rng: (np.array([0, 3, 1, 3, 2, 0]), 4)),
    (tr.copying_weights, lambda rng: (3, 4, 50.0)),
    (tr.copying, lambda rng: (np.array([0, 3, 1, 3, 2, 0]), 4, 8, 50.0)),
]


# The block


def test_a_block_keeps_shape_and_one_step_is_enough(rng):
    x, *parts, heads, _ = some_steps(rng)
    one = tr.block(x[:1], *parts, heads, np.ones((1, 1), bool))
    whole = tr.block(x, *parts, heads, np.tri(T) > 0)
    assert whole.shape == x.shape
    np.testing.assert_allclose(one[0], whole[0], rtol=1e-12)


def test_block_backward_by_differences(rng):
    """Every gradient of a block against differences of the kernel itself."""
    x, *parts, heads, mask = some_steps(rng)
    flat = [x, *(array for group in parts for array in group)]
    dy = rng.normal(size=x.shape)

    def cost(array, at):
        some = [*flat[:at], array, *flat[at + 1 :]]
        groups = some[1:3], some[3:7], some[7:9], some[9:13]
        return np.sum(dy * tr.block(some[0], *(tuple(g) for g in groups), heads, mask))

    found = tr.block_backward(dy, x, *parts, heads, mask)
    for at in range(13):
        expected = central_differences(lambda a, at=at: cost(a, at), flat[at])
        np.testing.assert_allclose(found[at], expected, rtol=1e-6, atol=1e-7)


def test_a_block_does_not_see_the_future(rng):
    x, *rest = some_steps(rng)
    other = x.copy()
    other[2] = rng.normal(size=M)
    one, two = tr.block(x, *rest), tr.block(other, *rest)
    np.testing.assert_array_equal(one[:2], two[:2])
    assert not np.allclose(one[2], two[2])


# The whole decoder


def test_the_cache_is_the_last_row_of_the_whole(rng):
    """Two blocks, step by step with what was kept, against the whole sequence."""
    blocks = some_block(rng), some_block(rng)
    x, kept = rng.normal(size=(9, M)), [np.zeros((2, 0, M)) for _ in range(2)]
    whole, _ = tr.stream(x, blocks, H, np.tri(9) > 0)
    for t in range(9):
        row = x[t : t + 1]
        for number, parts in enumerate(blocks):
            row, k, v = tr.cached_block(row, *kept[number], *parts, H)
            kept[number] = k, v
        np.testing.assert_allclose(row[0], whole[t], rtol=1e-12, atol=1e-12)


def test_the_decoder_is_its_parts(rng):
    ids, E, P, blocks, last, heads = some_decoder(rng)
    x, added = tr.stream(tr.embedded(ids, E, P), blocks, heads, np.tri(3) > 0)
    np.testing.assert_allclose(added.sum(axis=0) + tr.embedded(ids, E, P), x, rtol=1e-12)
    h = tr.layernorm(x, *last, tr.EPS)
    np.testing.assert_allclose(tr.decoder(ids, E, P, blocks, last, heads), h @ E.T, rtol=1e-12)


@pytest.mark.parametrize("wrong", [-1, 7])
def test_unknown_symbols_are_refused(rng, wrong):
    ids, *rest = some_decoder(rng)
    ids[1] = wrong
    with pytest.raises((IndexError, ValueError)):
        tr.decoder(ids, *rest)


# Sampling


def by_sorting(p, cut):
    """Return the distribution over the symbols that a rule keeps of the sorted ones."""
    order = sorted(range(len(p)), key=lambda w: (-p[w], w))
    kept = cut([(w, p[w]) for w in order])
    q = np.zeros_like(p)
    q[kept] = p[kept]
    return q / q.sum()


def test_sampling_by_enumeration(rng):
    for _ in range(50):
        p = np.round(some_shares(rng), 1) + 0.01  # with ties
        p /= p.sum()
        for K in range(1, 9):
            expected = by_sorting(p, lambda some, K=K: [w for w, _ in some[:K]])
            np.testing.assert_allclose(tr.top_k(p, K), expected, rtol=1e-13)
        for mass in (0.05, 0.4, 0.77, 0.999):
            n = 1 + np.argmax(np.cumsum(np.sort(p)[::-1]) >= mass)
            expected = by_sorting(p, lambda some, n=n: [w for w, _ in some[:n]])
            np.testing.assert_allclose(tr.nucleus(p, mass), expected, rtol=1e-13)


# Copying


def test_two_layers_with_written_weights_copy(rng):
    for _ in range(10):
        ids = np.append(0, rng.integers(1, 6, 30))  # nothing before the first symbol
        np.testing.assert_allclose(
            tr.copying(ids, 6, 16, 100.0)[0], tr.induction(ids, 6), rtol=0, atol=1e-12
        )


def test_a_repeated_string_is_continued(rng):
    some = rng.permutation(8)
    p = tr.induction(np.tile(some, 3), 8)
    np.testing.assert_array_equal(p[8:].argmax(axis=1)[:-1], np.tile(some, 3)[9:])
    np.testing.assert_allclose(p[8:].max(axis=1), 1)
