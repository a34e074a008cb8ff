"""Scenes: the same each time, parts that share nothing, and boxes and masks that fit the ink."""

import numpy as np
import pytest

from dlbook.tools import data
from dlbook.tools.scenes import INK, KINDS, PARTS, SHARED, _sources, scenes


@pytest.mark.parametrize("kind", KINDS)
def test_scenes_are_the_same_each_time_and_others_with_another_seed(kind):
    some, again, other = (
        scenes(kind, "train", 5),
        scenes(kind, "train", 5),
        scenes(kind, "train", 5, 1),
    )
    for a, b in zip(some, again, strict=True):
        np.testing.assert_array_equal(a, b)
    assert not np.array_equal(some.x, other.x)
    assert some.x.dtype == np.float32
    assert some.x.shape == (5, 1, KINDS[kind].side, KINDS[kind].side)
    assert some.x.min() >= 0 and some.x.max() <= 1


@pytest.mark.parametrize("part", PARTS)
def test_digits_are_those_of_the_part(part):
    some = scenes("transfer", part, 30, clutter=False, centred=True)
    split, seen = data.digits(np.float32), some.x[:, 0, 4:12, 4:12].reshape(30, 64)
    for own, label in zip(seen, some.labels[:, 0], strict=True):
        same = (getattr(split, f"x_{part}") == own).all(axis=1)
        assert same.any()
        assert label in getattr(split, f"y_{part}")[same]
        for other in PARTS.keys() - {part}:
            assert not (getattr(split, f"x_{other}") == own).all(axis=1).any()


def test_pieces_of_photographs_are_those_of_the_part():
    cuts = [_sources(part)[2] for part in ("train", "val", "test")]
    for k, photo in enumerate(data.photographs().values()):
        whole = np.hstack([cut[k] for cut in cuts])
        np.testing.assert_allclose(whole, photo.mean(axis=2) / 255)


def test_behind_the_ink_stands_a_dark_piece_of_a_photograph():
    some = scenes("transfer", "test", 6)
    for x, (top, left, bottom, end) in zip(some.x[:, 0], some.boxes[:, 0].astype(int), strict=True):
        around = np.ones_like(x, bool)
        around[max(0, top - 2) : bottom + 2, max(0, left - 6) : end + 6] = False
        assert x[around].max() <= KINDS["transfer"].light
        assert x[top:bottom, left:end].max() > 0.9


@pytest.mark.parametrize("kind", KINDS)
def test_boxes_and_masks_fit_the_ink(kind):
    some = scenes(kind, "val", 40, clutter=False)
    np.testing.assert_array_equal(
        some.masks > 0, some.x[:, 0] > INK
    ) if kind == "transfer" else None
    for mask, labels, boxes in zip(some.masks, some.labels, some.boxes, strict=True):
        covered = np.zeros_like(mask)
        for label, box in zip(labels, boxes.astype(int), strict=True):
            top, left, bottom, end = box
            assert (label >= 0) == (bottom > top) == (end > left)
            if label >= 0:
                inside = mask[top:bottom, left:end]
                covered[top:bottom, left:end] = 1
                for line in (inside[0], inside[-1], inside[:, 0], inside[:, -1]):
                    assert line.any()
        assert not mask[covered == 0].any()


def test_boxes_to_be_found_are_apart():
    some = scenes("detect", "train", 200)
    counts = (some.labels >= 0).sum(axis=1)
    assert set(counts) == {1, 2, 3}
    for boxes, labels in zip(some.boxes, some.labels, strict=True):
        own = boxes[labels >= 0]
        cells = {tuple(c) for c in ((own[:, :2] + own[:, 2:]) // 8).astype(int)}
        assert len(cells) == len(own)
        for k, a in enumerate(own):
            for b in own[:k]:
                down, right = np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2])
                assert max(0, down) * max(0, right) <= SHARED


def test_classes_occur_as_often_as_each_other():
    some = scenes("transfer", "train", 50, digits=(5, 7, 9, 6, 8))
    np.testing.assert_array_equal(np.bincount(some.labels[:, 0], minlength=10), [0] * 5 + [10] * 5)
    counts = np.bincount(scenes("segment", "test", 7).labels.ravel(), minlength=10)
    assert set(counts) == {1, 2}


@pytest.mark.parametrize(
    ("args", "how", "words"),
    [
        (("faces", "train", 3), {}, "kind is 'faces', expected one of"),
        (("detect", "all", 3), {}, "part is 'all', expected one of"),
        (("detect", "train", 0), {}, "count is 0"),
        (("detect", "train", 3, -1), {}, "seed is -1"),
        (("detect", "train", 3), {"digits": ()}, "digits is empty"),
        (("detect", "train", 3), {"digits": (10,)}, "a digit is 10"),
        (("detect", "train", 3), {"centred": True}, "centred is for one digit"),
    ],
)
def test_what_cannot_be_is_refused(args, how, words):
    with pytest.raises(ValueError, match=words):
        scenes(*args, **how)


def test_other_dtypes():
    assert scenes("detect", "train", 2, dtype=np.float64).x.dtype == np.float64
    with pytest.raises(TypeError):
        scenes("detect", "train", 2, dtype=np.int64)
