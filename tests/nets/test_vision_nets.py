"""Networks for masks and boxes: gradients, what they begin as, and the way from boxes to cells and back."""

import numpy as np
import pytest
from compiled import compiled_only

from dlbook.nets import (
    Conv2d,
    ConvTranspose2d,
    Dense,
    Detection,
    Gaussian,
    MaxUnpool2d,
    Network,
    Sequential,
    backbone,
    box_ap,
    check_model,
    detector,
    fit,
    named_ap,
    segmenter,
)
from dlbook.optimization import Adam
from dlbook.tools.scenes import scenes
from dlbook.tools.shapes import Axes
from dlbook.vision import (
    decode_boxes,
    detection_cost,
    detection_cost_backward,
    iou,
    max_pool_where,
    max_unpool,
)

SMALL = {"side": 8, "channels": (3, 4, 5), "maps": 2}


@compiled_only
@pytest.mark.parametrize("skips", [False, True])
@pytest.mark.parametrize("kind", ["fixed", "learned", "unpooled"])
def test_gradients_of_segmenters(kind, skips, rng):
    net = segmenter(kind, skips=skips, classes=3, dtype="float64", **SMALL)
    check_model(net, (rng.normal(size=(3, 1, 8, 8)), rng.integers(0, 3, (3, 8, 8))))


@compiled_only
def test_gradients_of_a_backbone_and_its_head(rng):
    net = Sequential(body=backbone((3, 4, 4)), head=Dense(3))
    model = Network((1, 6, 6), net, dtype="float64")
    check_model(model, (rng.normal(size=(4, 1, 6, 6)), rng.integers(0, 3, 4)))


@compiled_only
def test_gradients_of_a_detector(rng):
    """One of the images is empty."""
    some = scenes("detect", "train", 4, dtype=np.float64)
    labels = some.labels.copy()
    labels[1] = -1
    cost = Detection(spread=0.3, weight=0.7)
    net = detector(cost, channels=(3, 4, 5, 5), dtype="float64")
    check_model(net, (some.x, cost.targets(labels, some.boxes, 24)))


def test_the_cost_is_that_of_the_equation(rng):
    cost = Detection(classes=3, weight=0.6)
    labels = [[2, -1], [0, 1], [-1, -1]]
    boxes = rng.uniform(0, 4, (3, 2, 4))
    boxes[..., 2:] += 4.5
    boxes[1, 1, ::2] += 8
    y = cost.check(Axes(n=3), cost.targets(labels, boxes, 16), (4, 4, 8), "float64")
    z = rng.normal(size=(3, 4, 4, 8))
    rows, (chi, t, code) = z.reshape(3, 16, 8), (part.reshape(3, 16, *part.shape[3:]) for part in y)
    given = rows[..., 0], rows[..., 1:4], rows[..., 4:], chi.astype(int), t, code, 0.6
    given = [part.copy() if isinstance(part, np.ndarray) else part for part in given]
    assert chi.sum() == 3
    dz = z.copy()
    assert cost.into(dz, y) == pytest.approx(detection_cost(*given))
    parts = detection_cost_backward(*given)
    slopes = np.concatenate([parts[0][..., None], *parts[1:]], axis=2).reshape(z.shape)
    np.testing.assert_allclose(dz, slopes, rtol=0, atol=1e-15)


def test_boxes_come_back_from_their_cells():
    some, cost = scenes("detect", "val", 30), Detection()
    occupied, classes, codes = cost.targets(some.labels, some.boxes, 24)
    z = np.zeros((30, 6, 6, cost.numbers))
    z[..., 0] = 9 * (2 * occupied - 1)
    for k in range(10):
        z[..., 1 + k] = 9 * (classes == k)
    z[..., 11:] = codes.transpose(0, 2, 3, 1)
    found = cost.predict(z)
    for f, labels, boxes in zip(found, some.labels, some.boxes, strict=True):
        own = labels >= 0
        share = iou(f.boxes, boxes[own])
        np.testing.assert_allclose(share.max(axis=1), 1, atol=1e-9)
        np.testing.assert_array_equal(labels[own][share.argmax(axis=1)], f.labels)
        assert (f.named < f.scores).all() and (np.diff(f.scores) <= 0).all()
    assert box_ap(found, some.labels, some.boxes, 0.99) == pytest.approx(1)
    assert named_ap(found, some.labels, some.boxes, 0.99) == pytest.approx(1)


def test_cells_beside_the_middle_are_asked_too():
    """The nearest box counts in each cell, and none beyond the border."""
    labels, boxes = [[3, 1]], np.array([[[0, 0, 6, 6], [4, 8, 14, 14.0]]])
    occupied, classes, codes = Detection(near=1).targets(labels, boxes, 16)
    expected = np.array([[3, 3, -1, -1], [3, 3, 1, 1], [-1, 1, 1, 1], [-1, 1, 1, 1]])
    np.testing.assert_array_equal(occupied[0], expected >= 0)
    apart = [[1, 1, 1, 1], [1, 0, 1, 1], [1, 1, 1, 1], [1, 1, 1, 1]]  # (1, 1) is as near to both
    where = (expected >= 0) & np.array(apart, bool)
    np.testing.assert_array_equal(classes[0][where], expected[where])
    cost = Detection(near=1)
    box = decode_boxes(codes[0, :, 1, 0][None] * cost.spread, cost.anchors(4, 4)[4:5])
    np.testing.assert_allclose(box, boxes[0, :1])


def test_of_two_boxes_on_one_thing_the_surer_is_kept():
    cost = Detection(classes=1, cell=4, anchor=8.0, least=0.1, overlap=0.4)
    z = np.zeros((1, 2, 2, cost.numbers))
    z[..., 0] = [[[1.0, 3.0], [-9.0, -9.0]]]
    z[0, 0, 0, 3] = 0.5 / cost.spread  # half an anchor to the right: where its neighbour looks
    (found,) = cost.predict(z.astype(np.float32))
    np.testing.assert_allclose(found.boxes, [[-2, 2, 6, 10]])
    assert found.scores == pytest.approx(1 / (1 + np.exp(-3)))
    (both,) = Detection(classes=1, least=0.1, overlap=1.0).predict(z)
    assert len(both.boxes) == 2


def test_precision_of_names():
    some = scenes("detect", "val", 12)
    empty = Detection().predict(np.full((12, 6, 6, 15), -9.0))
    assert all(len(f.boxes) == 0 for f in empty)
    assert box_ap(empty, some.labels, some.boxes) == named_ap(empty, some.labels, some.boxes) == 0
    right = [
        f._replace(boxes=b[l >= 0], scores=(l[l >= 0] + 1) / 11, labels=l[l >= 0], named=l[l >= 0])
        for f, b, l in zip(empty, some.boxes, some.labels, strict=True)  # noqa: E741
    ]
    assert named_ap(right, some.labels, some.boxes) == pytest.approx(1)
    wrong = [f._replace(labels=(f.labels + 1) % 10) for f in right]
    assert box_ap(wrong, some.labels, some.boxes) == pytest.approx(1)
    assert named_ap(wrong, some.labels, some.boxes) < 0.1
    some.labels[some.labels == 4] = -1  # a class that does not occur
    assert named_ap(right, some.labels, some.boxes) == pytest.approx(1)


def test_what_does_not_fit_a_detector_is_refused():
    cost, some = Detection(), scenes("detect", "val", 3)
    net, at = detector(cost), cost.targets(some.labels, some.boxes, 24)
    params = net.init(np.random.default_rng(0))
    flat, outside = some.boxes.copy(), some.boxes.copy()
    flat[0, 0, 2] = flat[0, 0, 0]
    outside[0, 0] += 24
    for boxes, words in ((flat, "no rows or no columns"), (outside, "outside the image of 24")):
        with pytest.raises(ValueError, match=words):
            cost.targets(some.labels, boxes, 24)
    with pytest.raises(ValueError, match="side is 23, expected a multiple of the cell, 4"):
        cost.targets(some.labels, some.boxes, 23)
    with pytest.raises(ValueError, match=r"labels \+ 1 holds the label 11"):
        cost.targets(np.where(some.labels >= 0, 10, -1), some.boxes, 24)
    with pytest.raises(ValueError, match="3 numbers each"):
        cost.targets(some.labels, some.boxes[..., :3], 24)
    with pytest.raises(TypeError, match=r"expected \(occupied, classes, codes\)"):
        net.check(params, (some.x, at[0]))
    with pytest.raises(ValueError, match="occupied holds other numbers"):
        net.check(params, (some.x, (at[0] * 2, *at[1:])))
    with pytest.raises(ValueError, match="codes has shape"):
        net.check(params, (some.x, (*at[:2], at[2].transpose(0, 2, 3, 1))))
    narrow = Network((1, 24, 24), net.net, Detection(classes=3))
    with pytest.raises(ValueError, match="gives 15 numbers for a cell, expected 8"):
        narrow.check(params, (some.x, at))
    with pytest.raises(ValueError, match="side is 24 and cell 8"):
        detector(Detection(cell=8))
    for how in ({"spread": 0}, {"least": 1.5}, {"classes": 0}):
        with pytest.raises(ValueError, match=next(iter(how))):
            Detection(**how)


def test_fixed_up_sampling_stays_and_learned_begins_as_the_same_function(rng):
    nets = {kind: segmenter(kind, skips=False, **SMALL) for kind in ("fixed", "learned")}
    nets["skips"] = segmenter("learned", **SMALL)
    start = {kind: net.init(np.random.default_rng(3)) for kind, net in nets.items()}
    sizes = {kind: params.flat.size for kind, params in start.items()}
    assert sizes["learned"] == sizes["fixed"] + 2 * 2 * 2 * 16  # two layers, 2 × 2 filters of 4 × 4
    assert sizes["skips"] == sizes["learned"] + (3 + 1) * 2 + (4 + 1) * 2
    x, y = rng.random((4, 1, 8, 8)), rng.integers(0, 2, (4, 8, 8))
    loss = {
        kind: net.loss(start[kind], net.start(), net.check(start[kind], (x, y)))
        for kind, net in nets.items()
    }
    assert loss["fixed"] == loss["learned"] != loss["skips"]
    net = nets["fixed"]
    out = fit(net, start["fixed"], (x, y), Adam(0.1), rng, epochs=2, batch=2)
    np.testing.assert_array_equal(out.state.flat, net.start().flat)


@pytest.mark.parametrize(("size", "shape"), [((2, 2), (3, 2, 5, 4)), ((3, 1), (1, 4, 3, 5))])
def test_unpooling_is_that_of_the_equations(size, shape, rng):
    x, double = rng.normal(size=shape), Conv2d(shape[1], 1, bias=False)
    net = Network(
        shape[1:], Sequential(MaxUnpool2d(double, size=size)), Gaussian(), dtype="float64"
    )
    params = net.init(rng)
    params.flat[:] = 2 * np.eye(shape[1]).ravel()
    y, where = max_pool_where(x, size)
    np.testing.assert_array_equal(
        net.predict(params, None, x), max_unpool(2 * y, where, *shape[2:])
    )


def test_an_unpooling_segmenter_begins_where_there_is_nothing_between(rng):
    """Its parts: filters on the way up that the others do not have, none of 4 × 4."""
    sizes = {
        kind: segmenter(kind, skips=False, **SMALL).init(rng).flat.size
        for kind in ("learned", "unpooled")
    }
    maps, (first, second, third) = SMALL["maps"], SMALL["channels"]
    up = sum(9 * c * maps + maps for c in (first, second))
    down = (third + 1) * second + (maps + 1) * first
    assert sizes["unpooled"] - up - down == sizes["learned"] - 2 * 16 * maps**2 - (third + 1) * maps


@pytest.mark.parametrize("groups", [1, 3])
def test_bilinear_filters_enlarge_each_channel_by_itself(groups, rng):
    layer = ConvTranspose2d(
        3, 4, stride=2, padding=1, groups=groups, bias=False, initial="bilinear"
    )
    net = Network((3, 5, 6), Sequential(layer), dtype="float64", cost=Gaussian())
    row, column, plane = np.arange(5.0)[:, None], np.arange(6.0), np.ones((5, 6))
    x = np.stack([row * plane, column * plane, 2 * plane])[None]
    z = net.predict(net.init(rng), None, x)[0, :, 1:-1, 1:-1]
    down, right = np.arange(1, 9)[:, None] / 2 - 0.25, np.arange(1, 11) / 2 - 0.25
    for found, wanted in zip(z, (down, right, 2), strict=True):
        np.testing.assert_allclose(found, wanted * np.ones((8, 10)))


def test_bilinear_filters_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match=r"size is \(4, 2\), expected a square"):
        ConvTranspose2d(3, (4, 2), initial="bilinear")
    with pytest.raises(ValueError, match="out is 3, expected the 2 channels"):
        Network((2, 5, 5), Sequential(ConvTranspose2d(3, 4, 2, 1, initial="bilinear")))
    with pytest.raises(ValueError, match="side is 10, expected a multiple of 4"):
        segmenter(side=10)
    with pytest.raises(ValueError, match="kind is 'none'"):
        segmenter("none")
