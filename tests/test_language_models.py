"""Counts against dictionaries, smoothed tables by their sums, a window against one-hot products."""

from collections import Counter
from itertools import product

import numpy as np
import pytest
from compiled import compiled_only
from scipy import optimize, special

from dlbook import language_models as lm
from dlbook import transformer
from dlbook.fast import grams
from dlbook.fast.cutting import likeliest
from dlbook.linear_classification import entropy
from dlbook.tools.text import Alphabet
from dlbook.verification import central_differences, relative_error

V, T = 4, 30


def table(rng, contexts=V):
    """Return counts that have zeros, ones and twos among them."""
    c = rng.integers(0, 5, size=(contexts, V)).astype(float)
    c[0, 0], c[0, 1] = 1, 2
    return c


def text(rng, length=T, symbols=V):
    return rng.integers(symbols, size=length)


def network(rng):
    """Return windows, and C, W, b, U and d."""
    x, E, J = rng.integers(V, size=(6, 3)), 2, 5
    sizes = (V, E), (J, 3, E), (J,), (V, J), (V,)
    return x, *(rng.normal(size=s) for s in sizes)


def gradient_of(rng):
    x, C, W, b, U, d = network(rng)
    a = lm.window(x, C, W, b, U, d)[0]
    return x, rng.normal(size=(6, V)), a, C, W, U


KERNELS = [
    (lm.log_probability, lambda rng: (rng.dirichlet(np.ones(V), size=5), text(rng, 5))),
    (lm.gram_counts, lambda rng: (text(rng), 3, V)),
    (lm.ngram, lambda rng: (table(rng) + 0.5,)),
    (lm.laplace, lambda rng: (table(rng), 0.5)),
    (lm.interpolated, lambda rng: (rng.dirichlet(np.ones(3)), rng.dirichlet(np.ones(V), size=3))),
    (lm.good_turing, lambda rng: (table(rng),)),
    (lm.discount, lambda rng: (table(rng),)),
    (lm.discounted, lambda rng: (table(rng, 16), 0.6, rng.dirichlet(np.ones(V), size=4))),
    (lm.continuation, lambda rng: (table(rng, 16),)),
    (lm.kneser_ney, lambda rng: (table(rng, 16), np.array([0.4, 0.9, 0.5]))),
    (lm.bits, lambda rng: (rng.uniform(0.1, 1, size=7),)),
    (lm.perplexity, lambda rng: (rng.uniform(0.1, 1, size=7),)),
    (lm.per_word, lambda rng: (2.5, 60.0, 11.0)),
    (lm.mixture_bits, lambda rng: (rng.dirichlet(np.ones(3)), rng.uniform(0.1, 1, size=(3, 7)))),
    (lm.mixture_step, lambda rng: (rng.dirichlet(np.ones(3)), rng.uniform(0.1, 1, size=(3, 7)))),
    (lm.window, network),
    (lm.window_gradient, gradient_of),
    (lm.window_size, lambda rng: (7, 3, 2, 5)),
    (lm.temper, lambda rng: (rng.normal(size=V), 0.7)),
    (lm.entropy_slope, lambda rng: (rng.normal(size=V), 0.7)),
]


# Counts


def grams_of(ids, n):
    return Counter(tuple(map(int, ids[t : t + n])) for t in range(len(ids) - n + 1))


@pytest.mark.parametrize("n", [1, 2, 3, 4])
@pytest.mark.parametrize("length", [4, 5, 30, 200])
def test_levels_hold_what_a_dictionary_counts(n, length, rng):
    """Counts, contexts and numbers of neighbours, of every order."""
    ids = text(rng, length, 3)
    model = lm.NGram(n, "none").fit(ids, V)
    for k, level in enumerate(model.levels, 1):
        seen = grams_of(ids, k)
        assert sorted(level.raw) == sorted(seen.values())
        assert level.totals.sum() == len(ids) - k + 1
        kinds = level.kinds.sum(axis=0)
        assert sorted(kinds[kinds > 0]) == sorted(Counter(gram[:-1] for gram in seen).values())
        assert level.kinds[1].sum() == sum(count == 2 for count in seen.values())
    assert model.stored == len(grams_of(ids, n))
    assert lm.NGram(n).fit(ids, V).stored == sum(len(grams_of(ids, k)) for k in range(1, n + 1))


@pytest.mark.parametrize("n", [1, 2, 3])
@pytest.mark.parametrize("rule", ["kneser-ney", "laplace", "none"])
def test_the_class_gives_what_the_tables_give(n, rule, rng):
    """After every context, those too that were never seen, and at every place of another text."""
    ids, other = text(rng, 40, 3), text(rng, 50)
    model = lm.NGram(n, rule, alpha=0.5).fit(ids, V)
    c = lm.gram_counts(ids, n, V)
    p = {
        "kneser-ney": lambda: lm.kneser_ney(c, [level.discounts[0] for level in model.levels]),
        "laplace": lambda: lm.laplace(c, 0.5),
        "none": lambda: lm.ngram(c),
    }[rule]()
    for row, h in zip(p, product(range(V), repeat=n - 1), strict=True):
        np.testing.assert_allclose(model.distribution(np.array(h, int)), row, rtol=1e-13)
    code = lambda t: sum(other[t - n + 1 + k] * V ** (n - 2 - k) for k in range(n - 1))
    wanted = [p[code(t), other[t]] for t in range(n - 1, len(other))]
    np.testing.assert_allclose(model.probabilities(other)[n - 1 :], wanted, rtol=1e-13)


def by_dictionaries(ids, n, rule, h):
    """Return the probabilities after h by the definition, with dictionaries of counts."""
    tables = [grams_of(ids, k) for k in range(1, n + 1)]
    if rule != "absolute":
        for k in range(n - 1, 0, -1):
            tables[k - 1] = Counter(gram[1:] for gram in tables[k])
    p = np.full(V, 1 / V)
    for k, count in enumerate(tables):
        times = Counter(count.values())
        y = times[1] / (times[1] + 2 * times[2]) if times[1] else 0.5
        off = dict.fromkeys((1, 2, 3), y)
        if rule == "modified-kneser-ney":
            three = {r: r - (r + 1) * y * times[r + 1] / max(times[r], 1) for r in off}
            if all(times[r] and 0 < three[r] < r for r in off):
                off = three
        after = {gram[-1]: c for gram, c in count.items() if gram[:-1] == h[len(h) - k :]}
        if after:
            p = p * sum(off[min(c, 3)] for c in after.values())
            for w, c in after.items():
                p[w] += c - off[min(c, 3)]
            p = p / sum(after.values())
    return p


@pytest.mark.parametrize("rule", ["kneser-ney", "modified-kneser-ney", "absolute"])
def test_discounts_by_the_definition(rule, rng):
    """Each rule for shorter orders and discounts, after contexts that were seen and not."""
    ids = np.minimum(rng.geometric(0.35, size=150) - 1, V - 1)
    model = lm.NGram(3, rule).fit(ids, V)
    for h in product(range(V), repeat=2):
        np.testing.assert_allclose(
            model.distribution(np.array(h)), by_dictionaries(ids, 3, rule, h), rtol=1e-12
        )
    several = [len({*level.discounts}) for level in model.levels]
    assert max(several) == (3 if rule == "modified-kneser-ney" else 1)


@pytest.mark.parametrize("order", [1, 2, 5, 9])
def test_probabilities_add_up_to_one(order, rng):
    ids = np.append(text(rng, 300, 3), [0, 0, 0])
    for rule in ("kneser-ney", "modified-kneser-ney", "absolute", "laplace"):
        model = lm.NGram(order, rule, alpha=0.1).fit(ids, 6)
        for length in (0, 1, 3, 20):
            p = model.distribution(text(rng, length, 6))
            assert p.shape == (6,) and p.min() > 0 and abs(p.sum() - 1) < 1e-12


def test_beginnings_have_what_stands_before_them(rng):
    """The first places of a text are guessed from fewer symbols."""
    ids, other = text(rng, 200), text(rng, 6)
    model = lm.NGram(4).fit(ids, V)
    p = model.probabilities(other)
    for t in range(6):
        assert np.isclose(p[t], model.distribution(other[:t])[other[t]], rtol=1e-13)


def test_a_long_context_is_cut(rng):
    model, before = lm.NGram(3).fit(text(rng, 99), V), text(rng, 50)
    np.testing.assert_array_equal(model.distribution(before), model.distribution(before[-2:]))
    same = lambda prompt: lm.generate(model, prompt, 20, np.random.default_rng(3))
    np.testing.assert_array_equal(same(before), same(before[-2:]))


def test_orders_beyond_what_a_key_could_hold():
    """Contexts are numbered, so that keys stay small: 100⁴⁰ has no place in 64 bits."""
    ids = np.arange(400) % 100
    model = lm.NGram(40).fit(ids, 100)
    assert model.probabilities(ids)[60:].min() > 0.7


def test_one_symbol_is_sure():
    assert lm.NGram(3).fit(np.zeros(9, int), 1).distribution([0, 0]) == [1]


def test_a_discount_that_nothing_decides_is_one_half():
    model = lm.NGram(1).fit([0, 0, 0, 1, 1, 1], 3)
    assert model.levels[0].discounts.tolist() == [0.5] * 3
    np.testing.assert_allclose(model.distribution([]), [2.5 / 6 + 1 / 18] * 2 + [1 / 18])


def test_the_discount_leaves_the_counts_of_symbols_alone(rng):
    """Kneser and Ney's condition, for bigrams with nothing taken off single symbols."""
    c = table(rng)
    p = lm.kneser_ney(c, [0.0, 0.7])
    np.testing.assert_allclose(c.sum(axis=1) @ p, c.sum(axis=0))
    with_places = lm.discounted(c, 0.7, c.sum(axis=0, keepdims=True) / c.sum())
    assert np.abs(c.sum(axis=1) @ with_places - c.sum(axis=0)).max() > 0.05


def test_unseen(rng):
    seen, held = text(rng, 40), text(rng, 30)
    found = lm.unseen(seen, held, V, 4)
    for n, share in enumerate(found, 1):
        known = grams_of(seen, n)
        new = [tuple(map(int, held[t : t + n])) not in known for t in range(30 - n + 1)]
        assert np.isclose(share, np.mean(new))


def test_good_turing_is_leaving_one_out(rng):
    ids = text(rng, 60, 3)
    many = grams_of(ids, 3)
    alone = sum(count for count in many.values() if count == 1) / (len(ids) - 2)
    assert np.isclose(lm.good_turing(lm.gram_counts(ids, 3, V)), alone)


# The hash table


@pytest.mark.parametrize("many", [1, 2, 511, 512, 513, 3000])
def test_numbers_are_given_in_the_order_of_first_coming(many, rng):
    """Also where the table has to grow, and where keys fall into one slot."""
    keys = rng.integers(0, 2**60, size=many)[rng.integers(many, size=9000)]
    out, slots, known, counts, begun = grams.numbered(keys // 7, keys % 7, 7)
    listed = keys.tolist()
    often = Counter(listed)
    np.testing.assert_array_equal(known, list(often))
    np.testing.assert_array_equal(known[out], keys)
    np.testing.assert_array_equal(counts, list(often.values()))
    np.testing.assert_array_equal(begun, [listed.index(key) for key in often])
    assert len(slots) >= 4 * len(known) and np.sum(slots >= 0) == len(known)
    contexts, last = np.append(keys[:9] // 7, [-1, 2**58]), np.append(keys[:9] % 7, [0, 5])
    asked = np.empty(11, np.int64)
    grams.find(contexts, last, 7, slots, known, asked)
    np.testing.assert_array_equal(asked, np.append(out[:9], [-1, -1]))


# Judging and mixing


def test_bits_and_perplexity(rng):
    p = rng.uniform(0.01, 1, size=50)
    assert np.isclose(lm.perplexity(p), 2 ** lm.bits(p))
    assert lm.bits(np.append(p, 0)) == np.inf
    assert np.isclose(lm.bits(np.full(9, 1 / 7)), np.log2(7))


def test_the_best_mixture(rng):
    P = rng.uniform(0.02, 1, size=(3, 40))
    weight = lm.best_mixture(P, steps=5000)
    shares = lambda free: special.softmax(np.append(free, 0))
    found = optimize.minimize(lambda free: lm.mixture_bits(shares(free), P), np.zeros(2), tol=1e-12)
    assert lm.mixture_bits(weight, P) <= found.fun + 1e-9
    assert np.isclose(weight.sum(), 1)
    np.testing.assert_allclose(lm.best_mixture(np.vstack([P[0], P[0] / 2]), 900), [1, 0], atol=1e-9)


# The window


def test_gradient_of_the_window(rng):
    x, C, W, b, U, d = network(rng)
    y = text(rng, 6)

    def cost(C, W, b, U, d):
        z = lm.window(x, C, W, b, U, d)[1]
        return np.sum(special.logsumexp(z, axis=1) - z[np.arange(6), y])

    a, z = lm.window(x, C, W, b, U, d)
    dz = special.softmax(z, axis=1) - np.eye(V)[y]
    given = [C, W, b, U, d]
    for i, found in enumerate(lm.window_gradient(x, dz, a, C, W, U)):
        by = central_differences(lambda v, i=i: cost(*given[:i], v, *given[i + 1 :]), given[i])
        assert relative_error(found, by) < 1e-8


def test_windows():
    contexts, targets = lm.windows([0, 1, 2, 3, 4], 3)
    np.testing.assert_array_equal(contexts, [[0, 1], [1, 2], [2, 3]])
    np.testing.assert_array_equal(targets, [2, 3, 4])


# Writing


@pytest.mark.parametrize("tau", [0.2, 1.0, 3.0])
def test_entropy_grows_with_the_temperature(tau, rng):
    z = rng.normal(size=6)
    slope = lm.entropy_slope(z, tau)
    by = central_differences(lambda t: entropy(special.softmax(z / t)), np.array(tau))
    assert np.isclose(slope, by, rtol=1e-7) and slope > 0
    assert lm.entropy_slope(np.full(3, 0.5), tau) == 0


@compiled_only
def test_what_is_drawn_follows_the_temperature():
    p = np.array([0.5, 0.3, 0.2, 0.0])
    for tau in (0.5, 1.0, 2.0):
        drawn = lm.generate(lambda before: p, [], 4000, np.random.default_rng(1), temperature=tau)
        shares, wanted = np.bincount(drawn, minlength=4) / 4000, p ** (1 / tau)
        assert np.abs(shares - wanted / wanted.sum()).max() < 0.04
        assert 3 not in drawn


def test_a_cold_model_says_what_is_likeliest():
    model = lm.NGram(3).fit(np.tile([0, 1, 2, 3], 20), V)
    out = lm.generate(model, [0, 1], 8, np.random.default_rng(0), temperature=0.01)
    np.testing.assert_array_equal(out, [2, 3, 0, 1, 2, 3, 0, 1])
    assert lm.generate(model, [], 0, np.random.default_rng(0)).shape == (0,)


# What does not fit


FIT = lm.NGram(2).fit([0, 1, 0, 2], 3)
RNG = np.random.default_rng(0)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: lm.NGram(2).fit([], 3), "ids has dtype|ids is empty"),
        (lambda: lm.NGram(2).fit(np.zeros(0, int), 3), "ids is empty"),
        (lambda: lm.NGram(3).fit([0, 1], 3), "ids has 2 symbols, fewer than the order 3"),
        (lambda: lm.NGram(2).fit([0, 3], 3), "ids holds the label 3 at index"),
        (lambda: lm.NGram(2).fit([0, -1], 3), "ids holds the label -1"),
        (lambda: lm.NGram(0), "order is 0"),
        (lambda: lm.NGram(2, "good"), "smoothing is 'good'"),
        (lambda: lm.NGram(2, "laplace", alpha=0), "alpha is 0"),
        (lambda: lm.NGram(2).probabilities([0]), "call fit"),
        (lambda: lm.NGram(2).distribution([0]), "call fit"),
        (lambda: FIT.probabilities([0, 3]), "ids holds the label 3"),
        (lambda: FIT.distribution([5]), "context holds the label 5"),
        (lambda: lm.unseen([0, 1], [0], 2, 2), "held has 1 symbols"),
        (lambda: lm.windows([0, 1, 2], 1), "n is 1"),
        (lambda: lm.windows([0, 1, 2], 4), "ids has 3 symbols"),
        (lambda: lm.best_mixture([[0.5, 1.5]]), "no probability"),
        (lambda: lm.best_mixture([[0.5, 0.0], [0.2, 0.0]]), "0 for all models"),
        (lambda: lm.generate(FIT, [0], 3, RNG, temperature=0), "temperature is 0"),
        (lambda: lm.generate(FIT, [0], 3, RNG, temperature=-1.0), "temperature is -1.0"),
        (lambda: lm.generate(FIT, [7], 3, RNG), "context holds the label 7"),
        (lambda: lm.generate(FIT, [0], -1, RNG), "count is -1"),
        (lambda: lm.generate(lambda b: np.ones(3), [0], 1, RNG), "no distribution"),
        (lambda: lm.generate(lambda b: np.array([1.5, -0.5]), [0], 1, RNG), "no distribution"),
        (lambda: Alphabet("ab").encode("abc"), "'c' at place 2"),
    ],
)
def test_what_does_not_fit_is_said(call, words):
    with pytest.raises((ValueError, TypeError), match=words):
        call()


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: lm.generate("abc", [0], 3, RNG), "model is 'abc', expected an NGram"),
        (lambda: lm.generate(FIT, [0], 3, 1), "rng is 1, expected a generator"),
        (lambda: lm.generate(FIT, [0], 3, RNG, temperature="warm"), "temperature is 'warm'"),
        (lambda: FIT.probabilities([0.0, 1.0]), "labels are integers"),
        (lambda: lm.NGram(2).fit("banana", 3), "ids has dtype"),
    ],
)
def test_what_is_of_another_kind_is_said(call, words):
    with pytest.raises(TypeError, match=words):
        call()


# The likeliest alone


def of_four(before):
    """Return probabilities of four symbols, with a tie."""
    return np.array([0.2, 0.4, 0.1, 0.3]) if len(before) % 2 else np.array([0.25] * 4)


@pytest.mark.parametrize(
    ("cut", "left"),
    [
        ({"top_k": 1}, {1}),
        ({"top_k": 3}, {0, 1, 3}),
        ({"top_k": 9}, {0, 1, 2, 3}),
        ({"top_p": 1e-9}, {1}),
        ({"top_p": 0.4}, {1}),
        ({"top_p": 0.41}, {1, 3}),
        ({"top_p": 1.0}, {0, 1, 2, 3}),
        ({"top_k": 2, "top_p": 0.5}, {1}),
        ({"top_p": 0.41, "temperature": 0.5}, {1}),
    ],
)
def test_one_of_the_likeliest_is_drawn(cut, left):
    found = {
        int(lm.generate(of_four, [0], 1, np.random.default_rng(s), **cut)[0]) for s in range(99)
    }
    assert found == left


def test_the_cut_is_that_of_the_equations():
    """Also with ties, zeros and one symbol; here the kernels of a later chapter."""
    ties = np.array([0.125, 0.25, 0.0625, 0.125, 0.25, 0.125, 0.0625])
    for p in (ties, ties[::-1].copy(), np.array([0.125, 0, 0.875]), np.ones(1)):
        for K, rho in product((1, 2, 3, 5, 9), (1e-9, 0.1, 0.5, 0.6, 0.75, 0.9, 1.0)):
            found = p.copy()
            likeliest(found, K, rho)
            expected = transformer.nucleus(transformer.top_k(p, K), rho)
            np.testing.assert_allclose(found, expected, atol=1e-15)


def test_what_is_left_keeps_its_proportions():
    drawn = [
        lm.generate(of_four, [0], 1, np.random.default_rng(s), top_k=2)[0] for s in range(4000)
    ]
    assert np.isclose(np.mean(np.equal(drawn, 1)), 4 / 7, atol=0.03)


@pytest.mark.parametrize(
    ("cut", "error"),
    [
        ({"top_k": 0}, ValueError),
        ({"top_k": 1.5}, TypeError),
        ({"top_p": 0.0}, ValueError),
        ({"top_p": 1.1}, ValueError),
        ({"top_p": np.nan}, ValueError),
    ],
)
def test_likeliest_that_cannot_be(cut, error):
    with pytest.raises(error, match=next(iter(cut))):
        lm.generate(of_four, [0], 1, np.random.default_rng(0), **cut)
