"""Words as vectors against sums over one-hot rows, enumeration and small exact problems."""

import platform
import sys

import numpy as np
import pytest
from compiled import compiled_only
from pages import ROOT
from scipy import special
from scipy.optimize import brentq

sys.path.insert(0, str(ROOT))
from benchmarks.vectors import learned
from dlbook import embeddings as emb
from dlbook.tools import data
from dlbook.verification import central_differences, complex_step, relative_error

V, J, D = 5, 4, 3


def tables(rng):
    """Return one word's vector, and those of contexts."""
    return rng.normal(size=D), rng.normal(size=(V, D))


def counted(rng):
    """Return counts of pairs, all above zero, noise, and a number of draws."""
    return rng.integers(1, 9, size=(V, J)).astype(float), rng.dirichlet(np.ones(J)), 2.5


def factors(rng):
    """Return vectors of words and of contexts."""
    return rng.normal(size=(V, D)), rng.normal(size=(J, D))


def text(rng):
    """Return twelve words and where twelve paragraphs begin, most of which are empty."""
    return rng.integers(V, size=12), np.array([0, 5, 5, 6, *9 * [12]])


def table_of(rng):
    return emb.alias_table(rng.dirichlet(np.ones(V)))


KERNELS = [
    (emb.lookup, lambda rng: (rng.integers(V, size=7), tables(rng)[1])),
    (emb.lookup_gradient, lambda rng: (rng.integers(V, size=7), rng.normal(size=(7, D)), V)),
    (emb.cooccurrence, lambda rng: (*text(rng), V, 2)),
    (emb.window_chance, lambda rng: (5,)),
    (emb.pmi, lambda rng: counted(rng)[:1]),
    (emb.ppmi, lambda rng: (counted(rng)[0], 1.5)),
    (emb.svd_scaled, lambda rng: (rng.normal(size=(V, J)), np.arange(J, 0.0, -1), 2, 0.5)),
    (emb.skip_gram, lambda rng: (*tables(rng), 2)),
    (emb.skip_gram_gradient, lambda rng: (*tables(rng), 2)),
    (emb.negative_sampling, lambda rng: (*tables(rng), np.array([2, 4, 0, 4]))),
    (emb.negative_sampling_gradient, lambda rng: (*tables(rng), np.array([2, 4, 0, 4]))),
    (emb.sgns_cost, lambda rng: (*counted(rng), *factors(rng))),
    (emb.sgns_gradient, lambda rng: (*counted(rng), *factors(rng))),
    (emb.sgns_optimum, counted),
    (emb.noise, lambda rng: (rng.integers(1, 99, size=V).astype(float), 0.75)),
    (emb.keep_probability, lambda rng: (np.array([70.0, 30, 5, 1, 2]), 0.04)),
    (emb.alias_table, lambda rng: (np.array([9.0, 5, 3, 2, 1]),)),
    (emb.alias_shares, table_of),
    (emb.alias_draw, lambda rng: (*emb.alias_table(np.array([9.0, 5, 3, 2, 1])), rng.random(9))),
    (emb.cosines, tables),
    (emb.analogy_scores, lambda rng: (tables(rng)[1], 0, 3, 2)),
    (emb.idf, lambda rng: (*text(rng), V)),
    (emb.document_vectors, lambda rng: (*text(rng), rng.random(V), tables(rng)[1])),
]


# Rows and counts


def test_lookup_and_its_gradient_are_adjoint(rng):
    W, ids = rng.normal(size=(V, D)), rng.integers(V, size=9)
    dh = rng.normal(size=(9, D))
    forward, back = emb.lookup(ids, W), emb.lookup_gradient(ids, dh, V)
    assert np.isclose(np.vdot(forward, dh), np.vdot(W, back))
    assert not back[~np.isin(np.arange(V), ids)].any()


@pytest.mark.parametrize("call", [
    lambda: emb.lookup(np.array([-1]), np.ones((2, 3))),
    lambda: emb.lookup(np.array([2]), np.ones((2, 3))),
    lambda: emb.lookup_gradient(np.array([2]), np.ones((1, 3)), 2),
    lambda: emb.cooccurrence(np.array([0, 2]), np.array([0, 2]), 2, 1),
    lambda: emb.cooccurrence(np.array([0, 1]), np.array([0, 3]), 2, 1),
    lambda: emb.skip_gram(np.ones(2), np.ones((3, 2)), 3),
    lambda: emb.skip_gram_gradient(np.ones(2), np.ones((3, 2)), -1),
    lambda: emb.negative_sampling(np.ones(2), np.ones((3, 2)), np.array([0, 3])),
    lambda: emb.negative_sampling_gradient(np.ones(2), np.ones((3, 2)), np.array([-1, 0])),
    lambda: emb.alias_shares(np.ones(2), np.array([0, 2])),
    lambda: emb.alias_draw(np.ones(2), np.array([0, 1]), np.array([1.0])),
    lambda: emb.analogy_scores(np.eye(3), 0, 1, 3),
    lambda: emb.idf(np.array([0, 2]), np.array([0, 2]), 2),
    lambda: emb.document_vectors(np.array([0, 2]), np.array([0, 2]), np.ones(2), np.ones((2, 3))),
])  # fmt: skip
def test_a_number_that_is_no_word(call):
    with pytest.raises(ValueError, match="negative or too large"):
        call()


def test_counts_stay_within_paragraphs(rng):
    """Cutting a text changes no count but those across the cut."""
    ids = rng.integers(V, size=20)
    n = emb.cooccurrence(ids, np.array([0, 20]), V, 3)
    parts = [emb.cooccurrence(ids[a:b], np.array([0, b - a]), V, 3) for a, b in ((0, 8), (8, 20))]
    cut = emb.cooccurrence(ids, np.array([0, 8, 20]), V, 3)
    np.testing.assert_array_equal(cut, sum(parts))
    across = sum((t < 8) and (8 <= u <= t + 3) for t in range(20) for u in range(20))
    assert n.sum() - cut.sum() == 2 * across
    np.testing.assert_array_equal(n, n.T)


def test_a_window_with_random_reach_counts_by_its_chances(rng):
    """The mean of counts over every reach is the sum over distances, each with its chance."""
    ids, starts, L = rng.integers(V, size=15), np.array([0, 15]), 4
    wide = [np.zeros((V, V))] + [emb.cooccurrence(ids, starts, V, s) for s in range(1, L + 1)]
    mean = sum(wide[1:]) / L
    by_distance = zip(np.diff(wide, axis=0), emb.window_chance(L), strict=True)
    np.testing.assert_allclose(mean, sum(n * chance for n, chance in by_distance))


def test_pmi_of_independent_counts_is_zero():
    n = np.outer([1.0, 2, 3], [2.0, 1, 5, 4])
    np.testing.assert_allclose(emb.pmi(n), 0, atol=1e-15)
    np.testing.assert_allclose(emb.ppmi(n, 0.5), np.log(2))


def test_pmi_in_other_units(rng):
    n = counted(rng)[0]
    np.testing.assert_allclose(emb.pmi(1000 * n), emb.pmi(n))
    n[2, 1] = np.nan
    assert np.isnan(emb.ppmi(n, 1.0)).any()


# Losses and gradients


def test_gradients_of_skip_gram(rng):
    w, C = tables(rng)
    dw, dC = emb.skip_gram_gradient(w, C, 3)
    loss = lambda w, C: special.logsumexp(C @ w) - C[3] @ w
    assert relative_error(dw, central_differences(lambda v: loss(v, C), w)) < 1e-8
    assert relative_error(dC, central_differences(lambda v: loss(w, v), C)) < 1e-8
    assert np.abs(dC.sum(axis=0)).max() < 1e-15  # probabilities add up to one


def test_scores_that_are_huge(rng):
    w, C = 1e3 * np.ones(2), np.array([[1.0, 1], [-1, -1]])
    assert emb.skip_gram(w, C, 0) == 0
    assert emb.skip_gram(w, C, 1) == 4000
    assert emb.negative_sampling(w, C, np.array([0, 1])) == 0
    assert emb.negative_sampling(w, C, np.array([1, 0])) == 4000
    assert np.isfinite(emb.negative_sampling_gradient(w, C, np.array([1, 0]))[0]).all()


def test_gradients_of_negative_sampling(rng):
    w, C = tables(rng)
    chosen = np.array([1, 4, 1, 4, 0])
    dw, dC = emb.negative_sampling_gradient(w, C, chosen)
    signs = np.array([1, -1, -1, -1, -1])
    loss = lambda w, C: -special.log_expit(signs * (C[chosen] @ w)).sum()
    assert relative_error(dw, central_differences(lambda v: loss(v, C), w)) < 1e-8
    assert relative_error(dC, central_differences(lambda v: loss(w, v), C)) < 1e-8
    assert not dC[[2, 3]].any()


def test_without_noise_only_the_pair_counts(rng):
    w, C = tables(rng)
    loss = emb.negative_sampling(w, C, np.array([2]))
    assert np.isclose(loss, -special.log_expit(C[2] @ w))


def test_gradient_of_the_expected_loss(rng):
    n, q, k = counted(rng)
    W, C = factors(rng)
    dW, dC = emb.sgns_gradient(n, q, k, W, C)
    assert relative_error(dW, complex_step(lambda v: emb.sgns_cost(n, q, k, v, C + 0j), W)) < 1e-13
    assert relative_error(dC, complex_step(lambda v: emb.sgns_cost(n, q, k, W + 0j, v), C)) < 1e-13
    x = W @ C.T
    e = k * np.outer(n.sum(1), q) * special.expit(x) - n * special.expit(-x)
    assert relative_error(dW, e @ C) < 1e-13
    assert relative_error(dC, e.T @ W) < 1e-13


@pytest.mark.parametrize("k", [0.5, 1.0, 5.0])
def test_at_the_optimum_nothing_pulls(k, rng):
    """Vectors of full length can be given whose products are the optimum."""
    n, q, _ = counted(rng)
    x = emb.sgns_optimum(n, q, k)
    dW, dC = emb.sgns_gradient(n, q, k, x, np.eye(J))
    assert max(np.abs(dW).max(), np.abs(dC).max()) < 1e-12 * n.sum()
    slope = lambda x: k * n[1].sum() * q[2] * special.expit(x) - n[1, 2] * special.expit(-x)
    assert np.isclose(x[1, 2], brentq(slope, -20, 20))
    like_contexts = n.sum(axis=0) / n.sum()
    np.testing.assert_allclose(emb.sgns_optimum(n, like_contexts, k), emb.pmi(n) - np.log(k))


# Drawing


def test_noise_between_all_alike_and_the_text(rng):
    n = np.array([1.0, 10, 100])
    np.testing.assert_allclose(emb.noise(n, 0.0), 1 / 3)
    np.testing.assert_allclose(emb.noise(n, 1.0), n / 111)
    assert (emb.noise(n, 0.75)[0], emb.noise(n, 0.75)[2]) > (1 / 111, 0)
    assert emb.noise(n, 0.75)[2] < 100 / 111


def test_rare_words_stay():
    n = np.array([900.0, 99, 1])
    keep = emb.keep_probability(n, 1e-3)
    assert keep[2] == 1 and (np.diff(keep) > 0).all()
    np.testing.assert_array_equal(emb.keep_probability(n, 10.0), 1)


@pytest.mark.parametrize("size", [1, 2, 3, 49, 257])
@pytest.mark.parametrize("power", [0.0, 0.75, 4.0])
def test_alias_tables_are_exact(size, power, rng):
    """Also where rounding leaves a column a little below one, and where words never come."""
    n = np.sort(rng.integers(0, 50, size=size) + (np.arange(size) == 0)).astype(float)
    q = emb.noise(n, power)
    share, other = emb.alias_table(n**power)
    np.testing.assert_allclose(emb.alias_shares(share, other), q, atol=1e-15)
    assert ((share >= -1e-12) & (share <= 1 + 1e-12)).all()
    drawn = emb.alias_draw(share, other, rng.random(2000))
    assert q[drawn].min() > 0


@compiled_only
def test_draws_follow_the_distribution(rng):
    q = np.array([0.45, 0.25, 0.15, 0.1, 0.05])
    share, other = emb.alias_table(q)
    grid = (np.arange(1_000_000) + 0.5) / 1_000_000
    found = np.bincount(emb.alias_draw(share, other, grid)) / 1_000_000
    np.testing.assert_allclose(found, q, atol=2e-6)


# Near, and documents


def test_cosines_do_not_depend_on_length(rng):
    w, W = tables(rng)
    scale = rng.uniform(0.1, 9, size=(V, 1))
    np.testing.assert_allclose(emb.cosines(3 * w, scale * W), emb.cosines(w, W))
    assert np.isclose(emb.cosines(W[2], W)[2], 1)


def test_an_analogy_that_holds():
    """Two pairs that differ by the same vector."""
    W = np.array([[1.0, 0, 0], [1, 1, 0], [0, 0, 1], [0, 1, 1], [-1, 0, 0]])
    unit = W / np.linalg.norm(W, axis=1, keepdims=True)
    s = emb.analogy_scores(W, 0, 1, 2)
    wanted = unit @ (unit[1] - unit[0] + unit[2])
    np.testing.assert_allclose(s, wanted / np.linalg.norm(unit[1] - unit[0] + unit[2]))
    s[[0, 1, 2]] = -1
    assert s.argmax() == 3


def test_nearest(rng):
    W = np.array([[1.0, 0], [2, 0.1], [0, 0], [0, 1], [-1, 0], [3, 0.15]])
    found = emb.nearest(W[0], W, 3, without=[0])
    assert found.ids.tolist() == [1, 5, 3]  # the first of two that are equally near
    assert len(emb.nearest([1.0, 0], W, 99).ids) == 5  # zeros point nowhere
    s = emb.cosines(W[0], W)
    np.testing.assert_allclose(found.cosines, s[found.ids])
    assert emb.nearest(W[0].astype(np.float32), W.astype(np.float32)).cosines.dtype == np.float32


@pytest.mark.parametrize(
    ("args", "options", "error", "words"),
    [
        (([0.0, 0], np.eye(2)), {}, ValueError, "w is zero"),
        (([1.0, 0, 0], np.eye(2)), {}, ValueError, "W has shape"),
        (([1.0, np.nan], np.eye(2)), {}, ValueError, "w holds nan"),
        (([1.0, 0], np.eye(2), 0), {}, ValueError, "count is 0"),
        (([1.0, 0], np.eye(2), 1.5), {}, TypeError, "count is 1.5"),
        (([1.0, 0], np.eye(2)), {"without": [2]}, ValueError, "without is 2"),
        (([1.0, 0], np.eye(2)), {"without": ["a"]}, TypeError, "without is 'a'"),
    ],
)
def test_nearest_refuses(args, options, error, words):
    with pytest.raises(error, match=words):
        emb.nearest(*args, **options)


def test_vectors_by_svd(rng):
    M = rng.normal(size=(7, 4))
    lam, T = np.linalg.eigh(M @ M.T)
    for power in (0.5, 1.0):
        W = emb.svd_vectors(M, 2, power=power)
        wanted = T[:, -2:] * lam[-2:] ** power @ T[:, -2:].T
        np.testing.assert_allclose(W @ W.T, wanted, atol=1e-12)
        assert (W[np.abs(W).argmax(axis=0), [0, 1]] > 0).all()
    assert emb.svd_vectors(M.astype(np.float32), 3).dtype == np.float32
    np.testing.assert_allclose(emb.svd_vectors(-M, 4), emb.svd_vectors(M, 4), atol=1e-12)


@pytest.mark.parametrize(
    ("args", "options", "error", "words"),
    [
        ((np.ones(3), 1), {}, ValueError, "M has shape"),
        ((np.ones((3, 2)), 3), {}, ValueError, "dimension is 3"),
        ((np.full((2, 2), -np.inf), 1), {}, ValueError, "M holds -inf"),
        ((np.ones((3, 2)), 1), {"power": -1.0}, ValueError, "power is -1.0"),
    ],
)
def test_svd_refuses(args, options, error, words):
    with pytest.raises(error, match=words):
        emb.svd_vectors(*args, **options)


def test_documents(rng):
    ids, starts = text(rng)
    W, weight = rng.normal(size=(V, D)), rng.random(V)
    x = emb.document_vectors(ids, starts, weight, W)
    for p in (0, 2, 3):
        part = ids[starts[p] : starts[p + 1]]
        np.testing.assert_allclose(x[p], np.average(W[part], axis=0, weights=weight[part]))
    assert not x[1].any()
    one = emb.document_vectors(ids, starts, np.ones(V), W)
    np.testing.assert_allclose(one[3], W[ids[6:]].mean(axis=0))


def test_a_word_of_every_document_has_no_weight():
    ids, starts = np.array([0, 1, 0, 0, 2, 2]), np.array([0, 2, 3, 6])
    np.testing.assert_allclose(emb.idf(ids, starts, 4), [0, np.log(3), np.log(3), 0])


# The stored vectors


def neighbours(W, v, count=5):
    return set(emb.nearest(W[v], W, count, without=[v]).ids.tolist())


def test_stored_vectors_have_a_word_each():
    stored = data.word_vectors()
    assert len(stored.words) == len(set(stored.words)) == len(stored.vectors) > 1000
    assert stored.vectors.shape[1] == 50 and np.isfinite(stored.vectors).all()
    assert stored.vectors.any(axis=1).all() and data.VECTORS.stat().st_size < 500_000


@compiled_only
def test_stored_vectors_are_those_that_the_page_learns():
    """Other processors round otherwise, so that a neighbour may change places with the next."""
    stored, (vocabulary, words) = data.word_vectors(), learned()
    if stored.python != ".".join(platform.python_version_tuple()[:2]):
        pytest.skip("the help texts of another Python")
    assert stored.words == vocabulary.words
    asked = [vocabulary[word] for word in ("tuple", "true", "left", "import", "debugger")]
    shared = [len(neighbours(words, v) & neighbours(stored.vectors, v)) for v in asked]
    assert min(shared) >= 3 and np.mean(shared) >= 4


@compiled_only
def test_half_precision_changes_no_neighbour_that_the_page_prints():
    vocabulary, exact = learned()
    kept = exact.astype(np.float16).astype(np.float32)
    for word in ("tuple", "true", "left", "import", "debugger", "exception", "float"):
        v = vocabulary[word]
        found = [emb.nearest(W[v], W, 5, without=[v]).ids.tolist() for W in (exact, kept)]
        assert found[0] == found[1]
