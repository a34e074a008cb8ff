"""Captioning: the decoder and its way back, coverage, BLEU, exact match, and what is refused."""

from collections import Counter
from dataclasses import dataclass

import numpy as np
import pytest
from scipy import special

from dlbook import captioning as cap
from dlbook.captioning import bleu, exact_match
from dlbook.sequence_tasks import beam_search
from dlbook.verification import complex_step, relative_error

S, C, J, E, V, U = 6, 3, 4, 2, 7, 5


def a_cell(rng):
    """Return wx, wh, b of the LSTM of a decoder."""
    return tuple(0.7 * rng.normal(size=s) for s in ((4 * J, E + C), (4 * J, J), 4 * J))


def some_weights(rng):
    n = rng.normal
    start, words = (n(size=(J, C)), n(size=J)), (n(size=(V, J + C)), n(size=V))
    return start, n(size=(V, E)), n(size=(C, J)), a_cell(rng), words


def a_step(rng):
    sizes = (E, C, J, J)
    return *(rng.normal(size=s) for s in sizes), *a_cell(rng)


def a_look_back(rng):
    h, v, wq = rng.normal(size=J), rng.normal(size=(S, C)), rng.normal(size=(C, J))
    return rng.normal(size=C), h, v, wq, cap.look(h, v, wq)[1]


def a_step_back(rng):
    word, o, h, c, *cell = a_step(rng)
    gates = cap.decoder_step(word, o, h, c, *cell)[2]
    return *rng.normal(size=(2, J)), c, gates, cell[0], cell[1]


def a_caption(rng):
    return rng.integers(V, size=U), 0, rng.normal(size=(S, C)), some_weights(rng)


def some_errors(rng):
    read, v, weights = rng.integers(V, size=U), rng.normal(size=(S, C)), some_weights(rng)
    return rng.normal(size=(U, V)), read, v, weights


def some_looks(rng):
    return special.softmax(rng.normal(size=(U, S)), axis=1), 0.7


def some_references(rng):
    return rng.integers(3, size=9), rng.integers(3, size=(2, 11)), np.array([11, 8]), 2


KERNELS = [
    (cap.times, lambda rng: (rng.normal(size=(3, 4)), rng.normal(size=4))),
    (cap.places, lambda rng: (rng.normal(size=(C, 2, 3)), rng.normal(size=(6, C)))),
    (
        cap.first_state,
        lambda rng: tuple(rng.normal(size=s) for s in ((S, C), (J, C), (J,))),
    ),
    (cap.look, lambda rng: tuple(rng.normal(size=s) for s in ((J,), (S, C), (C, J)))),
    (cap.decoder_step, a_step),
    (
        cap.decoded,
        lambda rng: (rng.integers(V, size=U), rng.normal(size=(S, C)), some_weights(rng)),
    ),
    (cap.caption_likelihood, a_caption),
    (cap.look_backward, a_look_back),
    (cap.step_backward, a_step_back),
    (cap.places_gradient, some_errors),
    (cap.coverage, some_looks),
    (cap.coverage_gradient, some_looks),
    (cap.coverage_bound, lambda rng: (8, 36, 0.7)),
    (cap.turning_power, lambda rng: (-1.6, 4.0, -2.1, 8.0)),
    (cap.occurrences, lambda rng: (rng.integers(2, size=2), rng.integers(2, size=9))),
    (cap.clipped_matches, some_references),
    (
        cap.precisions,
        lambda rng: (rng.integers(5, size=(4, 3)) * 1.0, rng.integers(6, 9, size=4) * 1.0),
    ),
    (cap.closest_length, lambda rng: (5, rng.integers(2, 9, size=4))),
    (cap.brevity_penalty, lambda rng: (5.0, 7.0)),
    (cap.bleu_score, lambda rng: (rng.random(4), 0.7)),
]


# The decoder


def sigma(z):
    return 1 / (1 + np.exp(-z))


def by_numpy(read, v, weights):
    """Return scores and looks of a caption, in any dtype."""
    (w0, b0), table, wq, (wx, wh, b), (w, bias) = weights
    h, c, rows, looks = np.tanh(w0 @ v.mean(axis=0) + b0), 0 * b0, [], []
    for word in read:
        z = np.exp(v @ (wq @ h) / np.sqrt(C))
        o = z @ v / z.sum()
        x = wx @ np.concatenate((table[word], o)) + wh @ h + b
        c = sigma(x[J : 2 * J]) * c + sigma(x[:J]) * np.tanh(x[2 * J : 3 * J])
        h = sigma(x[3 * J :]) * np.tanh(c)
        rows.append(w @ np.concatenate((h, o)) + bias)
        looks.append(z / z.sum())
    return np.array(rows), np.array(looks)


def test_decoder_against_numpy(rng):
    y, begin, v, weights = a_caption(rng)
    read = np.append(begin, y[:-1])
    f, a = by_numpy(read, v, weights)
    found = cap.decoded(read, v, weights)
    assert relative_error(found[0], f) < 1e-14
    assert relative_error(found[1], a) < 1e-14
    wanted = special.log_softmax(f, axis=1)[range(U), y].sum()
    assert relative_error(cap.caption_likelihood(y, begin, v, weights), wanted) < 1e-14


def test_gradient_of_the_places(rng):
    y, begin, v, weights = a_caption(rng)
    read = np.append(begin, y[:-1])

    def unlikely(v):
        f = by_numpy(read, v, weights)[0]
        return np.sum(np.log(np.exp(f).sum(axis=1)) - f[range(U), y])

    df = special.softmax(by_numpy(read, v, weights)[0], axis=1) - np.eye(V)[y]
    found = cap.places_gradient(df, read, v, weights)
    assert relative_error(found, complex_step(unlikely, v)) < 1e-12


def test_one_place_and_one_word(rng):
    """With a single place there is nothing to choose: all looks find it."""
    y, begin, v, weights = a_caption(rng)
    _, a, o, *_ = cap.decoded(y, v[:1], weights)
    assert (a == 1).all()
    assert relative_error(o, np.repeat(v[:1], U, axis=0)) < 1e-15
    assert cap.caption_likelihood(y[:1], begin, v[:1], weights) < 0


def test_nan_in_a_place_reaches_all_scores(rng):
    y, _, v, weights = a_caption(rng)
    v[2, 1] = np.nan
    assert np.isnan(cap.decoded(y, v, weights)[0]).all()


def test_a_word_that_is_not_there_is_refused(rng):
    y, _, v, weights = a_caption(rng)
    y[1] = V
    with pytest.raises(ValueError, match="negative or too large"):
        cap.decoded(y, v, weights)


# BLEU


def by_counters(candidates, references, order):
    """Return BLEU by Python's Counter and sorted lists."""
    matches, there, length, wanted = np.zeros(order), np.zeros(order), 0, 0
    for y, refs in zip(candidates, references, strict=True):
        length += len(y)
        wanted += sorted(map(len, refs), key=lambda r: (abs(r - len(y)), r))[0]
        for g in range(1, order + 1):
            own, *others = (
                Counter(tuple(text[i : i + g]) for i in range(len(text) - g + 1))
                for text in (y, *refs)
            )
            most = Counter()
            for other in others:
                most |= other
            matches[g - 1] += sum((own & most).values())
            there[g - 1] += max(len(y) - g + 1, 0)
    share = np.divide(matches, there, out=np.zeros(order), where=there > 0)
    beta = min(1, np.exp(1 - wanted / length)) if length else 0
    return beta * np.prod(share) ** (1 / order)


@pytest.mark.parametrize("seed", range(30))
def test_bleu_against_counters(seed):
    rng = np.random.default_rng(seed)
    words, count, order = rng.integers(2, 6), rng.integers(1, 6), int(rng.integers(1, 6))
    candidates = [rng.integers(words, size=rng.integers(0, 12)).tolist() for _ in range(count)]
    references = [
        [rng.integers(words, size=rng.integers(1, 12)).tolist() for _ in range(rng.integers(1, 4))]
        for _ in range(count)
    ]
    found = bleu(candidates, references, order)
    assert found.score == pytest.approx(by_counters(candidates, references, order), abs=1e-14)
    assert 0 <= found.score <= 1
    assert found.length == sum(map(len, candidates))


def test_bleu_by_hand():
    texts = "a red a red three", "a red three above a blue seven"
    found = bleu(*([text.split()] for text in texts), 3)
    np.testing.assert_allclose(found.precisions, [4 / 5, 2 / 4, 1 / 3], rtol=1e-15)
    assert found.penalty == pytest.approx(np.exp(1 - 7 / 5), rel=1e-15)
    assert (found.length, found.reference) == (5, 7)
    assert found.score == pytest.approx((4 / 30) ** (1 / 3) * np.exp(-0.4), rel=1e-14)


def test_bleu_of_right_captions_is_one():
    texts = [text.split() for text in ("a red three", "a red three above a blue seven")]
    assert bleu(texts, texts).score == 1
    assert bleu(texts[:1], texts[:1]).score == 0  # it has no run of four words
    assert bleu(texts[:1], texts[:1], 3).score == 1


def test_empty_captions():
    """Nothing was written: no precision, no length, and the score is 0, not NaN."""
    found = bleu([[], []], [["a"], ["a", "red"]])
    assert found.score == found.penalty == 0
    assert (found.precisions == 0).all()


def test_words_may_be_whole_numbers():
    rows = np.array([[3, 1, 4], [1, 5, 9]])
    assert bleu(rows, rows, 2).score == 1
    assert bleu(rows, [[row, row[:1]] for row in rows], 2).score == 1
    assert (exact_match(rows, rows) == [True, True]).all()


def test_exact_match():
    found = exact_match([["a"], ["a", "red"], [], ["b"]], [["a"], ["a"], ["a"], [["a"], ["b"]]])
    assert found.tolist() == [True, False, False, True]


@dataclass
class Refused:
    """A call that is refused, and what is said."""

    args: tuple
    kind: type
    words: str


REFUSED = [
    Refused(([], []), ValueError, "candidates is empty"),
    Refused(([["a"]], []), ValueError, "references holds 0 entries, expected one for each"),
    Refused(([["a"]], [[]]), ValueError, r"references\[0\] has no words"),
    Refused(([["a"]], [[["a"], []]]), ValueError, r"references\[0\]\[1\] has no words"),
    Refused((["a red three"], [["a"]]), TypeError, r"candidates\[0\] is the text 'a red three'"),
    Refused(([["a"]], ["a"]), TypeError, r"references\[0\] is the text 'a'.*text.split"),
    Refused(([["a"]], [["a"], ["b"]]), ValueError, "references holds 2 entries"),
    Refused(([[1.5]], [[1]]), TypeError, r"candidates\[0\] is \[1.5\], expected words or whole"),
    Refused(([[["a"]]], [["a"]]), TypeError, "expected words or whole numbers"),
]


@pytest.mark.parametrize("case", REFUSED, ids=lambda case: case.words[:30])
@pytest.mark.parametrize("function", [bleu, exact_match])
def test_what_is_refused(function, case):
    with pytest.raises(case.kind, match=case.words):
        function(*case.args)


@pytest.mark.parametrize(("order", "kind"), [(0, ValueError), (2.0, TypeError), (True, TypeError)])
def test_order_is_a_count(order, kind):
    with pytest.raises(kind, match="order is"):
        bleu([["a"]], [["a"]], order)


# A beam in which nothing ends


def test_a_beam_that_never_ends_is_empty():
    logs = np.log(np.array([[0.5, 1e-300, 0.5]]))

    def step(state, symbols):
        return np.repeat(logs, len(symbols), axis=0), state

    assert beam_search(step, np.zeros((1, 1)), 0, 1, width=2, max_length=3) == []


# Coverage


def test_coverage_is_least_for_even_looks(rng):
    a, weight = some_looks(rng)
    even = np.full_like(a, 1 / S)
    least = cap.coverage_bound(U, S, weight)
    assert cap.coverage(even, weight) == pytest.approx(least, rel=1e-12)
    assert cap.coverage(a, weight) > least
    z = np.zeros_like(a)
    slope = complex_step(lambda z: cap.coverage(np.exp(z) / np.exp(z).sum(1)[:, None], weight), z)
    assert np.abs(slope).max() < 1e-13
