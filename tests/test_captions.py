"""Scenes with captions: the same each time, words that say what is there, pairs that are held out."""

import numpy as np
import pytest

from dlbook.captioning import exact_match
from dlbook.tools import data
from dlbook.tools.captions import (
    CLEAR,
    COLOURS,
    DIGIT,
    HELD,
    LIGHT,
    NAMES,
    RGB,
    SIDE,
    WORDS,
    captioned,
    fault,
    written,
)
from dlbook.tools.scenes import PARTS

PLACES = {"above": 0, "left of": 1}


def spoken(text):
    """Return what a caption says: pairs of colour and name, and the word between two."""
    for between in (*PLACES, "and"):
        if f" {between} " in text:
            return [tuple(part.split()[1:]) for part in text.split(f" {between} ")], between
    return [tuple(text.split()[1:])], None


def test_scenes_are_the_same_each_time_and_others_with_another_seed():
    some, again, other = (captioned("train", 9, seed) for seed in (0, 0, 1))
    for a, b in zip(some, again, strict=True):
        np.testing.assert_array_equal(a, b)
    assert not np.array_equal(some.x, other.x)
    assert some.x.shape == (9, 3, SIDE, SIDE)
    assert some.x.dtype == np.float32
    assert captioned("train", 2, dtype=np.float64).x.dtype == np.float64
    assert some.x.min() >= 0 and some.x.max() <= 1


@pytest.mark.parametrize("pairs", ["seen", "held", "any"])
def test_captions_say_what_is_there(pairs):
    some = captioned("val", 60, pairs=pairs)
    assert np.bincount(some.counts).tolist() == [0, 20, 20, 20]
    held = []
    for n, text in enumerate(some.texts):
        m, boxes = some.counts[n], some.boxes[n].astype(int)
        said, between = spoken(text)
        kinds = zip(some.colours[n, :m], some.labels[n, :m], strict=True)
        assert said == [(COLOURS[c], NAMES[k]) for c, k in kinds]
        assert (some.labels[n, m:] == -1).all() and (some.colours[n, m:] == -1).all()
        if between in PLACES:
            apart = boxes[1, :2] - boxes[0, :2]
            along = PLACES[between]
            assert apart[along] >= abs(apart[1 - along]) + CLEAR
        elif between == "and":
            assert (np.diff(boxes[:3, 1]) >= CLEAR).all()
        assert (between == "and") == (m == 3)
        for a in range(m):
            assert boxes[a, 2:].tolist() == (boxes[a, :2] + DIGIT).tolist()
            for b in range(a):
                assert (np.abs(boxes[a] - boxes[b]) >= DIGIT).any()
        held.append(any(pair in HELD for pair in said))
    assert all(held) if pairs == "held" else any(held) == (pairs == "any")


def test_the_ink_is_where_the_boxes_are_and_of_the_colours_named():
    some = captioned("test", 40)
    ink = data.digits(np.float32).x_test.reshape(-1, DIGIT, DIGIT)
    for x, m, colours, boxes in zip(some.x, some.counts, some.colours, some.boxes, strict=True):
        outside = np.ones((SIDE, SIDE), bool)
        for (top, left, bottom, end), colour in zip(boxes[:m], colours[:m], strict=True):
            window = x[:, top:bottom, left:end]
            outside[top:bottom, left:end] = False
            full = window[:, (window - RGB[colour][:, None, None] == 0).all(axis=0)]
            nearest = np.abs(window - RGB[colour][:, None, None]).max(axis=0).min()
            assert nearest < 1e-6 and full.shape[0] == 3
            one = np.isclose(window.max(axis=0), RGB[colour].max(), atol=1e-6)
            assert any((one <= (digit == 1)).all() for digit in ink)
        assert x[:, outside].max() <= LIGHT


@pytest.mark.parametrize("part", PARTS)
def test_digits_are_those_of_the_part(part):
    """Where a digit is green and stands on black, its image can be read off."""
    some, split = captioned(part, 60, digits=(1,)), data.digits(np.float32)
    checked = 0
    for x, label, colour, box in zip(
        some.x, some.labels[:, 0], some.colours[:, 0], some.boxes[:, 0], strict=True
    ):
        if colour == COLOURS.index("blue"):
            window = x[2, box[0] : box[2], box[1] : box[3]].reshape(-1)
            for p in PARTS:
                digits, classes = getattr(split, f"x_{p}"), getattr(split, f"y_{p}")
                fits = (digits - 1e-6 <= window).all(axis=1)
                fits &= (window <= digits + LIGHT * (1 - digits) + 1e-6).all(axis=1)
                assert p != part or label in classes[fits]
            checked += 1
    assert checked


def test_words_end_where_they_say():
    some = captioned("train", 30)
    rows = np.arange(30)
    assert (some.y[rows, some.ends - 1] == WORDS.index(">")).all()
    for y, end, speaks, m, text in zip(
        some.y, some.ends, some.speaks, some.counts, some.texts, strict=True
    ):
        words = text.split()
        assert len(words) == end - 1
        assert text == written(y) == " ".join(WORDS[k] for k in y[: end - 1])
        assert (y[end:] == 1).all() and (speaks[end - 1 :] == -1).all()
        for k in range(m):
            mine = [WORDS[w] for w in y[speaks == k]]
            assert mine[0] == "a" and len(mine) == 3
    assert captioned("train", 3, digits=(1,)).y.shape == (3, 4)
    assert written([2, 7, 10]) == "a red yellow"
    assert written([1]) == ""
    assert exact_match(some.y, some.y).all()


def test_numbers_of_digits():
    assert captioned("val", 7, digits=(2,)).counts.tolist() == [2] * 7
    assert sorted(captioned("val", 5, digits=(1, 3)).counts) == [1, 1, 1, 3, 3]


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ({"part": "all"}, "part is 'all'"),
        ({"pairs": "none"}, "pairs is 'none'"),
        ({"count": 0}, "count is 0"),
        ({"seed": -1}, "seed is -1"),
        ({"digits": ()}, "digits is empty"),
        ({"digits": (4,)}, "a number of digits is 4"),
        ({"dtype": np.int64}, "dtype is"),
    ],
)
def test_wrong_arguments(how, words):
    with pytest.raises((TypeError, ValueError), match=words):
        captioned(**({"part": "train", "count": 3} | how))


def test_wrong_words():
    with pytest.raises(ValueError, match="row"):
        written([len(WORDS)])


@pytest.mark.parametrize(
    ("found", "wanted", "what"),
    [
        ("a red one", "a red one", "nothing"),
        ("a red one above", "a red one", "count"),
        ("a red one and a red two", "a red one", "count"),
        ("a red one and a red two", "a red one above a red two", "count"),
        ("", "a red one", "count"),
        ("a red two", "a red one", "name"),
        ("a blue one", "a red one", "colour"),
        ("a blue two", "a red one", "several"),
        ("a red one left of a red two", "a red one above a red two", "order"),
        ("a red two above a red one", "a red one above a red two", "order"),
        ("a red two above a red two", "a red one left of a red two", "name"),
        (
            "a red one and a blue six and a red six",
            "a red six and a blue six and a red one",
            "order",
        ),
    ],
)
def test_faults(found, wanted, what):
    assert fault(found, wanted) == what
