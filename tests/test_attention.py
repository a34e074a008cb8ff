"""Attention: equations, the tiled kernels, several heads, positions, and a decoder that attends."""
# ruff: noqa: E741

import numpy as np
import pytest
from compiled import compiled_only, same_bits
from scipy import special

from dlbook import attention as att
from dlbook.fast import attend as attending
from dlbook.fast.memory import Memory
from dlbook.nets import AttentiveDecoder, MultiHeadAttention, fit, new_step
from dlbook.nets.tree import built
from dlbook.optimization import Adam
from dlbook.sequence_tasks import ISO, WRITTEN, dates, teacher_forcing
from dlbook.tools.flat import like
from dlbook.verification import central_differences, complex_step, relative_error

T, S, K, V = 4, 5, 3, 2


def one_head(rng):
    """Return q, k, v and what is seen: every query sees a key."""
    seen = rng.random((T, S)) < 0.6
    seen[:, 0] = True
    return rng.normal(size=(T, K)), rng.normal(size=(S, K)), rng.normal(size=(S, V)), seen


def some_weights(rng, rows=T, columns=S):
    return special.softmax(rng.normal(size=(rows, columns)), axis=1)


def some_additive(rng):
    sizes = (T, K), (S, 2), (6, K), (6, 2), (6,)
    return tuple(rng.normal(size=size) for size in sizes)


def some_heads(rng):
    """Return x, y, four matrices, two heads, and what is seen."""
    x, y = rng.normal(size=(T, 4)), rng.normal(size=(S, 4))
    return x, y, *rng.normal(size=(4, 4, 4)), 2, one_head(rng)[3]


def side_by_side(rng):
    """Return arguments of `concatenated_heads`."""
    x, y, wq, wk, wv, _, H, seen = some_heads(rng)
    return (x, y), wq, wk, wv, H, seen


def some_decoder(rng, J=3):
    """Return what is read and written, a first state, two GRUs, and two matrices with a bias."""
    reader, writer = (
        tuple(rng.normal(size=size) for size in ((3 * J, n), (3 * J, J), 4 * J)) for n in (2, 4)
    )
    sizes = (J, J), (5, 2 * J), 5
    return (
        rng.normal(size=(S, 2)),
        rng.normal(size=(T, 4)),
        rng.normal(size=J),
        reader,
        writer,
        *(rng.normal(size=size) for size in sizes),
    )


def some_lookup(rng):
    """Return ∂C/∂f, queries, values, the matrix of the keys, that of the scores, and weights."""
    sizes = (T, 2), (T, 3), (S, 3), (3, 3), (2, 6)
    return *(rng.normal(size=size) for size in sizes), some_weights(rng)


KERNELS = [
    (att.soft_lookup, lambda rng: (some_weights(rng), rng.normal(size=(S, V)))),
    (att.additive_scores, some_additive),
    (att.additive_backward, lambda rng: (rng.normal(size=(T, S)), *some_additive(rng))),
    (att.product_variance, lambda rng: (7, 2.0, 0.5)),
    (att.scaled_scores, lambda rng: one_head(rng)[:2]),
    (att.causal_mask, lambda rng: (T, S, 2)),
    (att.padding_mask, lambda rng: (3, T, S)),
    (att.masked_softmax, lambda rng: (rng.normal(size=(T, S)), one_head(rng)[3])),
    (att.dot_product_attention, one_head),
    (att.softmax_backward, lambda rng: (rng.normal(size=(T, S)), some_weights(rng))),
    (att.query_gradient, lambda rng: (rng.normal(size=(T, S)), rng.normal(size=(S, K)))),
    (att.key_gradient, lambda rng: (rng.normal(size=(T, S)), rng.normal(size=(T, K)))),
    (att.value_gradient, lambda rng: (some_weights(rng), rng.normal(size=(T, V)))),
    (
        att.dot_product_attention_backward,
        lambda rng: (rng.normal(size=(T, V)), *one_head(rng)[:3], some_weights(rng)),
    ),
    (att.attentive_decoder, some_decoder),
    (att.attentive_decoder_backward, some_lookup),
    (att.projected, lambda rng: (rng.normal(size=(T, K)), rng.normal(size=(6, K)))),
    (att.split, lambda rng: (rng.normal(size=(T, 6)), 1, 3)),
    (att.concatenated_heads, side_by_side),
    (att.multi_head, some_heads),
    (att.multi_head_backward, lambda rng: (rng.normal(size=(T, 4)), *some_heads(rng))),
    (att.permuted, lambda rng: (rng.normal(size=(T, K)), rng.permutation(T))),
    (att.positional_encoding, lambda rng: (7, 6)),
    (att.shift_matrix, lambda rng: (3, 6)),
    (att.rotary, lambda rng: (rng.normal(size=(T, 6)),)),
    (att.largest_and_sum, lambda rng: (rng.normal(size=9),)),
    (att.tiled, lambda rng: (*one_head(rng)[:3], 2)),
    (att.recomputed_weights, lambda rng: (rng.normal(size=(T, S)), rng.normal(size=T))),
    (att.row_dots, lambda rng: tuple(rng.normal(size=(2, T, V)))),
    (att.attention_cost, lambda rng: (7, 5)),
    (att.recurrence_cost, lambda rng: (7, 5)),
    (att.path_lengths, lambda rng: (9, 3)),
]


# One head


def by_numpy(q, k, v, seen):
    """Return attention as NumPy writes it; complex numbers go through."""
    z = np.where(seen, q @ k.T / np.sqrt(q.shape[1]), -1e300)
    e = np.exp(z - z.real.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True) @ v


def test_look(rng):
    q, k, v, seen = one_head(rng)
    o, a = att.dot_product_attention(q, k, v, seen)
    assert relative_error(o, by_numpy(q, k, v, seen)) < 1e-14
    np.testing.assert_allclose(a.sum(axis=1), 1, rtol=1e-14)
    assert (a[~seen] == 0).all()


def test_the_way_back(rng):
    q, k, v, seen = one_head(rng)
    do = rng.normal(size=(T, V))
    o, a = att.dot_product_attention(q, k, v, seen)
    for n, found in enumerate(att.dot_product_attention_backward(do, q, k, v, a)):

        def cost(x, n=n):
            given = [q, k, v]
            given[n] = x
            return np.sum(do * by_numpy(*given, seen))

        assert relative_error(found, complex_step(cost, (q, k, v)[n])) < 1e-12
        assert relative_error(found, central_differences(cost, (q, k, v)[n])) < 1e-7
    dots = att.row_dots(do, o)
    np.testing.assert_allclose(dots, np.sum(a * (do @ v.T), axis=1), rtol=1e-12)


def test_additive_scores_and_their_gradient(rng):
    given = some_additive(rng)
    dz = rng.normal(size=(T, S))

    def cost(x, n):
        q, k, wq, wk, u = [x if m == n else part for m, part in enumerate(given)]
        return np.sum(dz * (np.tanh((q @ wq.T)[:, None] + (k @ wk.T)[None]) @ u))

    for n, found in enumerate(att.additive_backward(dz, *given)):
        assert relative_error(found, complex_step(lambda x, n=n: cost(x, n), given[n])) < 1e-12


def test_a_row_that_sees_nothing_is_zero(rng):
    seen = np.zeros((2, 3), bool)
    seen[1, 2] = True
    a = att.masked_softmax(rng.normal(size=(2, 3)), seen)
    np.testing.assert_array_equal(a, [[0, 0, 0], [0, 0, 1]])


@pytest.mark.parametrize("size", [1, 2, 17, 1000])
def test_softmax_in_one_pass(size, rng):
    z = 100 * rng.normal(size=size)
    m, l = att.largest_and_sum(z)
    assert m == z.max()
    assert m + np.log(l) == pytest.approx(special.logsumexp(z), rel=1e-12)
    np.testing.assert_allclose(np.exp(z - m) / l, special.softmax(z), rtol=1e-12, atol=1e-300)


@pytest.mark.parametrize("R", [1, 2, 5, 64])
def test_tiles_of_any_size_give_the_same(R, rng):
    q, k, v, _ = one_head(rng)
    o, L = att.tiled(q, k, v, R)
    z = q @ k.T / np.sqrt(K)
    assert relative_error(o, special.softmax(z, axis=1) @ v) < 1e-13
    assert relative_error(L, special.logsumexp(z, axis=1)) < 1e-13
    assert relative_error(att.recomputed_weights(z, L), special.softmax(z, axis=1)) < 1e-13


def test_order_is_not_seen_without_positions(rng):
    x, order, all_ = rng.normal(size=(6, 4)), rng.permutation(6), np.ones((6, 6), bool)
    one, other = att.dot_product_attention(x, x, x, all_)[0], att.permuted(x, order)
    assert (
        relative_error(att.dot_product_attention(other, other, other, all_)[0], one[order]) < 1e-13
    )
    placed = x + att.positional_encoding(6, 4)
    other = att.permuted(x, order) + att.positional_encoding(6, 4)
    one = att.dot_product_attention(placed, placed, placed, all_)[0]
    assert (
        relative_error(att.dot_product_attention(other, other, other, all_)[0], one[order]) > 1e-2
    )


def test_positions_are_turned_by_a_shift():
    p = att.positional_encoding(50, 12)
    for shift in (0, 1, 7):
        moved = p @ att.shift_matrix(shift, 12).T
        np.testing.assert_allclose(moved[: 50 - shift], p[shift:], rtol=0, atol=1e-13)


@pytest.mark.parametrize("M", [1, 2, 5, 8])
def test_turned_scores_know_the_distance_alone(M, rng):
    """Also where a column is left over, which gives nothing."""
    q, k = rng.normal(size=(2, 9, M))
    z, P = att.rotary(q) @ att.rotary(k).T, M // 2 * 2
    hands = np.exp(1j * np.outer(np.arange(-8, 9), 1e4 ** (-np.arange(0, P, 2) / M)))
    for t, s in np.ndindex(9, 9):
        held = hands[8 + s - t] * (k[s, 1:P:2] + 1j * k[s, :P:2])
        asked = q[t, 1:P:2] - 1j * q[t, :P:2]
        np.testing.assert_allclose(z[t, s], (asked * held).sum().real, rtol=0, atol=1e-12)


def test_a_shift_of_an_odd_width_keeps_within_its_memory():
    for M in (1, 3, 7):
        matrix = att.shift_matrix(2, M)
        np.testing.assert_array_equal(matrix[-1], 0)
        np.testing.assert_array_equal(matrix[:, -1], 0)


def test_masks():
    np.testing.assert_array_equal(att.causal_mask(3, 3, 0), np.tri(3, dtype=bool))
    np.testing.assert_array_equal(att.causal_mask(2, 4, 2), np.tri(4, dtype=bool)[2:])
    np.testing.assert_array_equal(att.padding_mask(2, 1, 4), [[True, True, False, False]])


def test_costs_meet_where_the_sequence_is_as_long_as_the_width():
    mixing, projections = att.attention_cost(64, 64)
    assert mixing == att.recurrence_cost(64, 64) == projections / 2


@pytest.mark.parametrize(("steps", "covered"), [(2, 2), (7, 3), (8, 3), (9, 3), (30, 5)])
def test_paths_are_as_long_as_the_layers_that_join_first_and_last(steps, covered):
    back = np.subtract.outer(np.arange(steps), np.arange(steps))
    for layers, reads in zip(
        att.path_lengths(steps, covered),
        (back == 1, (back >= 0) & (back < covered), back >= 0),
        strict=True,
    ):
        met = [np.linalg.matrix_power(reads.astype(int), n)[-1, 0] > 0 for n in range(steps)]
        assert met.index(True) == layers


# The tiled kernels


def literal(q, k, v, causal, lengths, first, do):
    """Return o, L, dq, dk, dv by the literal kernels, head by head."""
    found = [np.zeros_like(x) for x in (do, do[..., 0], q, k, v)]
    (N, H, T_, _), S_ = q.shape, k.shape[2]
    for n in range(N):
        for h in range(H):
            seen = att.padding_mask(lengths[n], T_, S_)
            if causal:
                seen = seen & att.causal_mask(T_, S_, first)
            one = q[n, h], k[n, h], v[n, h]
            found[0][n, h], a = att.dot_product_attention(*one, seen)
            z = np.where(seen, att.scaled_scores(*one[:2]), -np.inf)
            found[1][n, h] = special.logsumexp(z, axis=1)
            for into, part in zip(
                found[2:], att.dot_product_attention_backward(do[n, h], *one, a), strict=True
            ):
                into[n, h] = part
    return found


def drawn(rng, T_, S_, K_, V_, N=2, H=2, dtype=np.float64):
    sizes = (N, H, T_, K_), (N, H, S_, K_), (N, H, S_, V_), (N, H, T_, V_)
    return [rng.normal(size=size).astype(dtype) for size in sizes]


@compiled_only
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize(
    ("T_", "S_", "K_", "V_"),
    [
        (1, 1, 1, 1),
        (5, 3, 2, 7),
        (24, 24, 16, 16),
        (64, 64, 16, 16),
        (65, 65, 33, 5),
        (130, 70, 8, 40),
        (70, 130, 8, 8),
        (200, 200, 64, 64),
    ],
)
@pytest.mark.parametrize("causal", [False, True])
def test_tiles_are_the_equations(T_, S_, K_, V_, causal, dtype, rng):
    q, k, v, do = drawn(rng, T_, S_, K_, V_, dtype=dtype)
    rtol = 1e-12 if dtype == np.float64 else 2e-5
    for lengths, first in (([S_, S_], 0), ([S_ // 2, S_], 0), ([0, 1], S_ // 3 if causal else 0)):
        how = {"causal": causal, "lengths": lengths, "first": first}
        found = att.attention(q, k, v, **how)
        back = att.attention_backward(do, q, k, v, found, **how)
        many = [np.float64(x) for x in (q, k, v)]
        expected = literal(*many, causal, lengths, first, np.float64(do))
        for ours, theirs in zip((*found, *back), expected, strict=True):
            assert ours.dtype == dtype
            inside = np.isfinite(theirs)
            np.testing.assert_array_equal(ours[~inside], theirs[~inside])
            most = max(1.0, np.abs(theirs[inside]).max(initial=0))
            np.testing.assert_allclose(ours[inside], theirs[inside], rtol=0, atol=rtol * most)


@compiled_only
def test_heads_side_by_side_are_the_same_heads(rng):
    q, k, v, do = drawn(rng, 70, 90, 8, 4, H=3)
    work, lengths, how = Memory(np.float64), np.array([90, 31]), (5, 1)
    apart = att.attention(q, k, v, causal=True, lengths=lengths, first=5)
    beside = [np.ascontiguousarray(x.swapaxes(1, 2)) for x in (q, k, v, do)]
    o, L = np.empty_like(beside[3]), np.empty((6, 70))
    attending.attend(*beside[:3], o, L, lengths, how, work, side=True)
    np.testing.assert_array_equal(o.swapaxes(1, 2), apart.o)
    np.testing.assert_array_equal(L.reshape(apart.L.shape), apart.L)
    into = [np.empty_like(x) for x in beside[:3]]
    attending.attend_backward(beside[3], *beside[:3], o, L, *into, lengths, how, work, side=True)
    back = att.attention_backward(do, q, k, v, apart, causal=True, lengths=lengths, first=5)
    for one, other in zip(into, back, strict=True):
        np.testing.assert_array_equal(one.swapaxes(1, 2), other)


@compiled_only
def test_queries_behind_an_end_are_left_out(rng):
    """They find nothing and nothing goes back from them; the others do not notice."""
    q, k, v, do = drawn(rng, 70, 40, 8, 4)
    work, lengths, asks = Memory(np.float64), np.array([40, 9]), np.array([0, 50])
    found, back = [], []
    for some in (None, asks):
        o, L, into = np.empty_like(do), np.empty((4, 70)), [*map(np.empty_like, (q, k, v))]
        attending.attend(q, k, v, o, L, lengths, (0, 0), work, query_lengths=some)
        above = do.copy()
        above[0], above[1, :, 50:] = 0, 0
        attending.attend_backward(
            above, q, k, v, o, L, *into, lengths, (0, 0), work, query_lengths=some
        )
        found.append(o)
        back.append(into)
    assert (found[1][0] == 0).all() and (found[1][1, :, 50:] == 0).all()
    np.testing.assert_array_equal(found[1][1, :, :50], found[0][1, :, :50])
    for one, other in zip(*back, strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-13)


@compiled_only
def test_the_same_bits_on_any_number_of_threads(rng):
    q, k, v, do = drawn(rng, 200, 200, 16, 16, N=3, H=3, dtype=np.float32)

    def both_ways():
        one = att.attention(q, k, v, causal=True)
        return *one, *att.attention_backward(do, q, k, v, one, causal=True)

    assert same_bits(both_ways)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_large_products(dtype, rng):
    """Logits of ±10⁴: the largest has all the weight, and nothing overflows."""
    q = np.full((1, 1, 2, 1), 100, dtype)
    k = np.array([-100, 100, 99], dtype).reshape(1, 1, 3, 1)
    v = np.array([1, 2, 4], dtype).reshape(1, 1, 3, 1)
    found = att.attention(q, k, v)
    np.testing.assert_array_equal(found.o, np.full((1, 1, 2, 1), 2))
    np.testing.assert_array_equal(found.L, np.full((1, 1, 2), 10_000))
    back = att.attention_backward(np.ones_like(found.o), q, k, v, found)
    np.testing.assert_allclose(back[2].reshape(-1), [0, 2, 0], rtol=0, atol=1e-40)  # e^−100
    assert all(np.isfinite(part).all() for part in back)


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize(("S", "shut"), [(5, 1), (5, 4), (5, 5), (64, 64), (70, 64), (140, 129)])
def test_scores_of_minus_infinity_weigh_nothing(S, shut, dtype, causal, rng):
    """The first so many keys, in the first tile or in all of it; where there are no others, NaN."""
    q, k, v = (
        rng.uniform(1, 2, (1, 1, S, 4)),
        rng.normal(size=(1, 1, S, 4)),
        rng.normal(size=(1, 1, S, 3)),
    )
    k[0, 0, :shut] = -np.inf
    seen = att.causal_mask(S, S, 0) if causal else np.ones((S, S), bool)
    with np.errstate(all="ignore"):
        expected = att.dot_product_attention(q[0, 0], k[0, 0], v[0, 0], seen)[0]
        found = att.attention(*(x.astype(dtype) for x in (q, k, v)), causal=causal).o[0, 0]
    some = np.arange(S) >= shut if causal else np.full(S, shut < S)
    assert np.isnan(expected[~some]).all() and np.isfinite(expected[some]).all()
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12 if dtype is np.float64 else 1e-5)


def test_what_is_not_seen_is_not_looked_at():
    z, seen = np.array([[np.nan, 0.0, 0.0], [-np.inf, 0.0, 0.0]]), np.array([[0, 1, 1], [1, 1, 1]])
    np.testing.assert_array_equal(att.masked_softmax(z, seen), [[0, 0.5, 0.5]] * 2)


def test_nan_and_infinity_reach_the_result(rng):
    q, k, v, _ = drawn(rng, 6, 6, 2, 2, N=1, H=1)
    for at, bad in ((3, np.nan), (3, np.inf), (5, -np.inf)):
        wrong = q.copy()
        wrong[0, 0, at] = bad
        with np.errstate(all="ignore"):
            o = att.attention(wrong, k, v, causal=True).o[0, 0]
        assert np.isnan(o[at]).all()
        assert np.isfinite(np.delete(o, at, axis=0)).all()


@compiled_only
def test_memory_does_not_grow_with_the_square(rng):
    work, grown = Memory(np.float32), []
    for T_ in (512, 1024, 2048):
        q, k, v, do = drawn(rng, T_, T_, 16, 16, N=1, H=1, dtype=np.float32)
        o, L, into = (
            np.empty_like(do),
            np.empty((1, T_), np.float32),
            [*map(np.empty_like, (q, k, v))],
        )
        attending.attend(q, k, v, o, L, np.array([T_]), (0, 1), work)
        attending.attend_backward(do, q, k, v, o, L, *into, np.array([T_]), (0, 1), work)
        grown.append(work.bytes)
    assert grown[2] - grown[1] == 4 * 1024  # one number for each query more
    assert grown[0] < 200_000


GOOD = {"q": np.ones((1, 2, 3, 4)), "k": np.ones((1, 2, 5, 4)), "v": np.ones((1, 2, 5, 3))}


@pytest.mark.parametrize(
    ("wrong", "error", "words"),
    [
        ({"q": np.ones((2, 3, 4))}, ValueError, "q has shape"),
        ({"k": np.ones((1, 2, 5, 3))}, ValueError, "k has shape"),
        ({"v": np.ones((1, 2, 4, 3))}, ValueError, "v has shape"),
        ({"v": np.ones((1, 2, 5, 3), np.float32)}, TypeError, "expected one dtype"),
        ({"q": np.ones((1, 2, 0, 4))}, ValueError, "q is empty"),
        ({"lengths": [6]}, ValueError, "lengths holds the label 6"),
        ({"lengths": [1, 1]}, ValueError, "lengths has shape"),
        ({"first": 1}, ValueError, "causal attention only"),
        ({"first": -1, "causal": True}, ValueError, "first is -1"),
        ({"causal": 1}, TypeError, "causal is 1"),
    ],
)
def test_what_does_not_fit_is_refused(wrong, error, words):
    with pytest.raises(error, match=words):
        att.attention(**GOOD | wrong)


def test_the_way_back_refuses_what_does_not_fit():
    found = att.attention(**GOOD)
    do = np.ones((1, 2, 3, 3))
    with pytest.raises(ValueError, match="do has shape"):
        att.attention_backward(do[..., :2], *GOOD.values(), found)
    with pytest.raises(TypeError, match="what attention returned"):
        att.attention_backward(do, *GOOD.values(), found.o)
    with pytest.raises(TypeError, match="do is float32"):
        att.attention_backward(do.astype(np.float32), *GOOD.values(), found)


# Several heads


@pytest.mark.parametrize("itself", [True, False])
def test_several_heads_are_the_equation(itself, rng):
    x = rng.normal(size=(2, T, 4))
    y = x if itself else rng.normal(size=(2, S, 4))
    lengths, dz = np.array([2, y.shape[1]]), rng.normal(size=(2, T, 4))
    layer, step = MultiHeadAttention(4, 2), new_step("float64", wants=True)
    both = built(layer.parameters((T, 4)), "float64")
    params, grads, step.lengths = both.net, like(both).net, lengths
    layer.draw(params, rng)
    params.bo[:] = rng.normal(size=4)
    z, kept = layer.forward(params, (x, y), step)
    z = z.copy()
    back = layer.backward(params, dz.copy(), kept, grads, step)
    sums = [np.zeros((4, 4)) for _ in range(4)]
    for n in range(2):
        given = x[n], y[n], *params[:4], 2, att.padding_mask(lengths[n], T, y.shape[1])
        assert relative_error(z[n], att.multi_head(*given) + params.bo) < 1e-12
        dx, dy, *dw = att.multi_head_backward(dz[n], *given)
        assert relative_error(back[0][n], dx) < 1e-12
        assert relative_error(back[1][n], dy) < 1e-12
        sums = [total + part for total, part in zip(sums, dw, strict=True)]
    for found, expected in zip(grads[:4], sums, strict=True):
        assert relative_error(found, expected) < 1e-12
    assert relative_error(grads.bo, dz.sum(axis=(0, 1))) < 1e-12


def test_gradient_of_several_heads_by_complex_steps(rng):
    given = some_heads(rng)
    dz = rng.normal(size=(T, 4))

    def cost(w, n):
        x, y, wq, wk, wv, wo, _, seen = [w if m == n else g for m, g in enumerate(given)]
        q, k, v = x @ wq.T, y @ wk.T, y @ wv.T
        o = [by_numpy(q[:, c], k[:, c], v[:, c], seen) for c in (slice(0, 2), slice(2, 4))]
        return np.sum(dz * (np.hstack(o) @ wo.T))

    for n, found in enumerate(att.multi_head_backward(dz, *given)):
        expected = complex_step(lambda w, n=n: cost(w, n), given[n])
        assert relative_error(found, expected) < 1e-12


# A decoder that attends


def test_the_model_is_the_equation(rng):
    """The scores of `AttentiveDecoder` are those of the literal kernel, line by line."""
    lines = dates(3, rng, max_dates=1)
    net = AttentiveDecoder(len(WRITTEN), 4, len(ISO), dtype="float64")
    params = net.init(rng)
    params.flat[:] = rng.normal(size=params.flat.size) / 2
    reader, writer = ((c.wx[0], c.wh[0], c.b[0]) for c in (params.encoder, params.decoder))
    read, total = teacher_forcing(lines.y, net.begin), 0.0
    for n in range(3):
        x = np.eye(len(WRITTEN))[lines.x[n, : lines.lengths[n]]]
        y = lines.y[n, : lines.ends[n]]
        f, a = att.attentive_decoder(
            x,
            np.eye(len(ISO))[read[n, : len(y)]],
            np.zeros(4),
            reader,
            writer,
            params.more[0],
            params.wy,
            params.by,
        )
        total -= special.log_softmax(f, axis=1)[np.arange(len(y)), y].sum()
        looked = net.alignment(params, lines.arrays)[n, : len(y), : len(x)]
        assert relative_error(looked, a) < 1e-12
    loss = net.loss(params, None, net.check(params, lines.arrays))
    assert loss == pytest.approx(total / lines.ends.sum(), rel=1e-12)


def test_what_comes_back_through_scores_and_lookup(rng):
    df, q, v, wk, wy, _ = some_lookup(rng)

    def cost(x, n):
        q_, v_, wk_ = [x if m == n else part for m, part in enumerate((q, v, wk))]
        e = np.exp(q_ @ wk_ @ v_.T / np.sqrt(3))
        o = e / e.sum(axis=1, keepdims=True) @ v_
        return np.sum(df * (np.concatenate((q_, o), axis=1) @ wy.T))

    a = special.softmax(q @ wk @ v.T / np.sqrt(3), axis=1)
    found = att.attentive_decoder_backward(df, q, v, wk, wy, a)
    for n, (ours, part) in enumerate(zip(found, (q, v, wk), strict=True)):
        assert relative_error(ours, complex_step(lambda x, n=n: cost(x, n), part)) < 1e-12


def test_gradient_of_the_decoder(rng):
    lines = dates(3, rng, max_dates=2)
    net = AttentiveDecoder(len(WRITTEN), 4, len(ISO), dtype="float64")
    params = net.init(rng)
    params.flat[:] *= 2
    batch, grads = net.check(params, lines.arrays), like(params)
    loss = net.loss_and_grad(params, None, batch, grads, net.workspace(3))
    assert loss == pytest.approx(net.loss(params, None, batch), rel=1e-13)
    matrix = params.flat.size - 1 - np.arange(16)  # from states to keys
    at = np.union1d(rng.choice(params.flat.size, 60, replace=False), matrix)

    def cost(values):
        flat = params.flat.copy()
        flat[at] = values
        return net.loss(like(params, flat), None, batch)

    expected = central_differences(cost, params.flat[at])
    np.testing.assert_allclose(grads.flat[at], expected, rtol=0, atol=1e-7 * np.abs(expected).max())
    assert np.abs(grads.more[0]).max() > 0


def test_alignment(rng):
    lines = dates(4, rng, max_dates=3)
    net = AttentiveDecoder(len(WRITTEN), 6, len(ISO), dtype="float64")
    params = net.init(rng)
    a = net.alignment(params, lines.arrays)
    assert a.shape == (4, lines.y.shape[1], lines.x.shape[1])
    for n in range(4):
        np.testing.assert_allclose(a[n, : lines.ends[n]].sum(axis=1), 1, rtol=1e-12)
        assert (a[n, lines.ends[n] :] == 0).all()
        assert (a[n, :, lines.lengths[n] :] == 0).all()


def test_what_is_decoded_does_not_depend_on_the_batch(rng):
    lines = dates(5, rng, max_dates=2)
    net = AttentiveDecoder(len(WRITTEN), 6, len(ISO), max_length=12, dtype="float64")
    params = net.init(rng)
    together = net.predict(params, None, lines.x, lines.lengths)
    for n in range(5):
        alone = net.predict(params, None, lines.x[n : n + 1, : lines.lengths[n]])[0]
        inside = together[n][together[n] >= 0]
        np.testing.assert_array_equal(alone[: len(inside)], inside)


@compiled_only
def test_the_decoder_learns(rng):
    lines = dates(320, rng, max_dates=1)
    net = AttentiveDecoder(len(WRITTEN), 16, len(ISO), forget_bias=2.0)
    params = net.init(rng)
    out = fit(net, params, lines.arrays, Adam(0.01), rng, epochs=8, batch=32, progress=False)
    assert out.history.loss[-1] < 0.7 * out.history.loss[0]
