"""Transfer, up-sampling, boxes and their measures: literal kernels, and what is refused."""

import itertools

import numpy as np
import pytest
from numpy.lib.stride_tricks import sliding_window_view
from scipy import special

from dlbook import vision as vi
from dlbook.convolution import conv, pad
from dlbook.verification import adjoint_gap, central_differences, complex_step, relative_error

# ruff: noqa: E741, RUF005


def numbers(rng, *shape):
    return rng.normal(size=shape)


def boxes(rng, count, side=9):
    """Boxes of whole pixels, some without area."""
    ends = np.sort(rng.integers(side, size=(count, 2, 2)), axis=1)
    return ends.reshape(count, 4).astype(float)


def head(rng):
    return numbers(rng, 5, 3), numbers(rng, 4, 3), numbers(rng, 4), rng.integers(4, size=5)


def tuned(rng):
    x, v, c = numbers(rng, 5, 2), numbers(rng, 3, 2), numbers(rng, 3)
    return x, v, c, *head(rng)[1:]


def pixels(rng):
    return numbers(rng, 2, 3, 2, 4), rng.integers(3, size=(2, 2, 4))


def labels(rng):
    return *rng.integers(3, size=(2, 2, 3, 4)), 5


def layer(rng, shape=(2, 3, 3, 2), filters=(3, 2, 3, 4), S=2, P=1):
    return numbers(rng, *shape), numbers(rng, *filters), numbers(rng, filters[1]), S, P


def adjoint_args(rng):
    y, w, b, S, P = layer(rng)
    return numbers(rng, *vi.transposed_conv(y, w, b, S, P).shape), y, w, S, P


def backward_args(rng):
    dz, y, w, S, P = adjoint_args(rng)
    return dz, y, w, S, P


def unpool_args(rng):
    return numbers(rng, 6, 1, 1, 2), rng.integers(6, size=(6, 1, 1, 2)), 2, 3


def detections(rng):
    return boxes(rng, 7), numbers(rng, 7), boxes(rng, 4), 0.3


def cells(rng):
    """Cells of two images, some with an object, some codes far off."""
    chi, t = np.array([[0, 1, 1], [1, 0, 0]]), rng.integers(4, size=(2, 3))
    return (
        numbers(rng, 2, 3),
        numbers(rng, 2, 3, 4),
        2 * numbers(rng, 2, 3, 4),
        chi,
        t,
        numbers(rng, 2, 3, 4),
        0.7,
    )


KERNELS = [
    (vi.frozen_grad, head),
    (vi.fine_tune_grad, tuned),
    (vi.pixel_cross_entropy, pixels),
    (vi.pixel_cross_entropy_backward, pixels),
    (vi.class_iou, labels),
    (vi.mean_iou, labels),
    (vi.max_pool_where, lambda rng: (numbers(rng, 2, 3, 5, 7), (2, 3))),
    (vi.max_unpool, unpool_args),
    (vi.max_unpool_backward, lambda rng: (numbers(rng, 6, 1, 2, 3), unpool_args(rng)[1])),
    (vi.transposed_size, lambda rng: (5, 4, 2, 1)),
    (vi.transposed_conv, layer),
    (vi.inner, lambda rng: (numbers(rng, 2, 3, 4), numbers(rng, 2, 3, 4))),
    (vi.adjoint_products, adjoint_args),
    (vi.transposed_conv_backward, backward_args),
    (vi.bilinear_kernel, lambda rng: (5,)),
    (vi.box_area, lambda rng: (boxes(rng, 1)[0],)),
    (vi.box_iou, lambda rng: (boxes(rng, 5), boxes(rng, 4))),
    (vi.encode_boxes, lambda rng: (boxes(rng, 4) + [0, 0, 1, 1], boxes(rng, 4) + [0, 0, 1, 2])),
    (vi.decode_boxes, lambda rng: (numbers(rng, 4, 4), boxes(rng, 4))),
    (vi.smooth_l1, lambda rng: (2 * numbers(rng, 3, 4),)),
    (vi.smooth_l1_slope, lambda rng: (2 * numbers(rng, 3, 4),)),
    (vi.detection_cost, cells),
    (vi.detection_cost_backward, cells),
    (vi.nms, lambda rng: (boxes(rng, 7), numbers(rng, 7), 0.3)),
    (vi.match, detections),
    (vi.precision_recall, lambda rng: ((rng.random(6) < 0.5) * 1.0, 5)),
    (vi.average_precision, lambda rng: ((rng.random(6) < 0.5) * 1.0, 5)),
]


# Transfer


def head_cost(x, v, c, w, b, t):
    u = x @ v.T + c
    z = np.where(u.real > 0, u, 0) @ w.T + b
    return np.mean(np.log(np.exp(z).sum(axis=1)) - z[np.arange(len(t)), t])


def test_gradients_of_a_head_and_of_what_is_below(rng):
    x, v, c, w, b, t = tuned(rng)
    a = np.maximum(x @ v.T + c, 0)
    found = (*vi.fine_tune_grad(x, v, c, w, b, t), *vi.frozen_grad(a, w, b, t))
    for k, grad in enumerate(found):
        given = [x, v, c, w, b]

        def cost(part, k=k, given=given):
            return head_cost(*given[: k + 1], part, *given[k + 2 :], t)

        assert relative_error(grad, complex_step(cost, given[k + 1])) < 1e-12


def test_a_feature_at_zero_has_no_slope():
    """The convention of the rectifier: nothing goes down where it begins."""
    dv, dc = vi.fine_tune_grad(np.ones((1, 1)), np.zeros((1, 1)), [0.0], np.eye(2)[:, :1], [0.0, 0], [0])  # fmt: skip
    assert not dv.any() and not dc.any()


# A class for every pixel


def test_pixels_are_examples(rng):
    from dlbook.linear_classification import softmax_cross_entropy, softmax_cross_entropy_gradient

    z, t = pixels(rng)
    rows = np.moveaxis(z, 1, 3).reshape(-1, 3)
    expected = softmax_cross_entropy(rows, t.ravel())
    assert vi.pixel_cross_entropy(z, t) == pytest.approx(expected, rel=1e-13)
    dz = softmax_cross_entropy_gradient(rows, t.ravel()).reshape(2, 2, 4, 3).transpose(0, 3, 1, 2)
    assert relative_error(vi.pixel_cross_entropy_backward(z, t), dz) < 1e-13
    slopes = complex_step(lambda q: vi.pixel_cross_entropy(q, t), z)
    assert relative_error(vi.pixel_cross_entropy_backward(z, t), slopes) < 1e-12


def test_huge_scores(rng):
    z, t = pixels(rng)
    assert np.isfinite(vi.pixel_cross_entropy(1e300 * z, t))
    assert np.isfinite(vi.pixel_cross_entropy_backward(1e300 * z, t)).all()


@pytest.mark.parametrize("seed", range(20))
def test_shares_of_classes(seed):
    """By sets of places; a class that is nowhere is left out of the mean."""
    rng = np.random.default_rng(seed)
    K, used = int(rng.integers(1, 7)), int(rng.integers(1, 5))
    t, u = rng.integers(min(K, used), size=(2, 2, 3, 4))
    found = vi.segment_iou(t, u, K)
    for k in range(K):
        a, b = ({*zip(*np.nonzero(m == k), strict=True)} for m in (t, u))
        assert np.isnan(found[k]) if not a | b else found[k] == len(a & b) / len(a | b)
    assert vi.mean_iou(t, u, K) == pytest.approx(np.nanmean(found), rel=1e-14)


def test_a_class_that_is_only_said_counts():
    t, u = np.zeros((1, 2, 2), int), np.zeros((1, 2, 2), int)
    u[0, 0, 0] = 1
    np.testing.assert_array_equal(vi.segment_iou(t, u, 3), [0.75, 0, np.nan])
    assert vi.mean_iou(t, u, 3) == 0.375
    assert vi.mean_iou(t, t, 3) == 1


# A detector's cost


def test_the_cost_of_cells_and_its_derivatives(rng):
    """Against the cost written with arrays, and its differences; a cell of its own at a time."""
    eta, z, s, chi, t, code, weight = cells(rng)

    def cost(eta, z, s):
        total = np.logaddexp(0, eta).sum() - eta[chi > 0].sum()
        total += (special.logsumexp(z, axis=2) - np.take_along_axis(z, t[..., None], 2)[..., 0])[
            chi > 0
        ].sum()
        return (total + weight * special.huber(1, s - code)[chi > 0].sum()) / 2

    assert vi.detection_cost(eta, z, s, chi, t, code, weight) == pytest.approx(
        cost(eta, z, s), rel=1e-13
    )
    found = vi.detection_cost_backward(eta, z, s, chi, t, code, weight)
    given = [eta, z, s]
    for k, slopes in enumerate(found):
        expected = central_differences(
            lambda part, k=k: cost(*given[:k], part, *given[k + 1 :]), given[k]
        )
        assert relative_error(slopes, expected) < 1e-7
    assert not found[1][chi == 0].any() and not found[2][chi == 0].any()


def test_huge_numbers_in_cells():
    sure = 1e4 * np.array([[1.0, -1]])
    none = np.zeros((1, 2, 3)), np.zeros((1, 2, 4)), np.zeros((1, 2), int), np.zeros((1, 2, 4))
    z, s, t, code = none
    assert vi.detection_cost(sure, z, s, [[1, 0]], t, code, 1.0) == pytest.approx(np.log(3))
    assert vi.detection_cost(-sure, z, s, [[1, 0]], t, code, 1.0) == pytest.approx(2e4 + np.log(3))


# Up again


@pytest.mark.parametrize("seed", range(30))
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_unpooling(dtype, seed):
    rng = np.random.default_rng(seed)
    (N, C, U, V), (H, W) = rng.integers(1, 4, size=4), rng.integers(3, 8, size=2)
    x = rng.integers(5, size=(N, C, H, W)).astype(dtype)  # with ties
    y, where = vi.max_pool_where(x, (int(U), int(V)))
    windows = sliding_window_view(x, (U, V), axis=(2, 3))[:, :, ::U, ::V]
    np.testing.assert_array_equal(y, windows.max(axis=(4, 5)))
    np.testing.assert_array_equal(y.ravel(), np.take_along_axis(
        x.reshape(N, C, -1), where.reshape(N, C, -1), 2).ravel())  # fmt: skip
    back = vi.max_unpool(y, where, H, W)
    assert back.dtype == dtype
    np.testing.assert_array_equal(np.sort(back[back != 0]), np.sort(y[y != 0]))
    assert np.all((back == 0) | (back == x))
    dx = rng.normal(size=x.shape)
    gap = adjoint_gap(
        lambda v: vi.max_unpool_backward(v, where),
        lambda v: vi.max_unpool(v, where, H, W),
        dx,
        rng.normal(size=y.shape),
    )
    assert gap < 1e-14


def test_nan_is_the_largest():
    x = np.array([[[[1.0, np.nan], [3.0, 2.0]]]])
    y, where = vi.max_pool_where(x, (2, 2))
    assert np.isnan(y).all() and where.item() == 1


def configurations():
    """Two hundred layers: sizes of one, strides beyond the filter, padding up to the filter."""
    rng = np.random.default_rng(12)
    while True:
        N, C, O, H, W, U, V = (int(n) for n in rng.integers(1, 6, size=7))
        S, P = int(rng.integers(1, 5)), int(rng.integers(0, 4))
        if min((H - 1) * S + U, (W - 1) * S + V) > 2 * P:
            yield (N, C, H, W), (C, O, U, V), S, P


LAYERS = [*itertools.islice(configurations(), 200)]


@pytest.mark.parametrize(("shape", "filters", "S", "P"), LAYERS)
def test_transposed_convolution_is_the_adjoint(shape, filters, S, P):
    """By products, against the convolution; the fast form is the literal one."""
    rng = np.random.default_rng(1)
    y, w, b, _, _ = layer(rng, shape, filters)
    C, O = filters[:2]
    none = np.zeros(O)
    z = vi.transposed_conv(y, w, none, S, P)
    sizes = [vi.upsampled_size(n, f, S, P) for n, f in zip(shape[2:], filters[2:], strict=True)]
    assert z.shape == (shape[0], O, *sizes)

    def down(x):
        return conv(pad(x, P, P, 0.0), w, np.zeros(C), (S, S), (1, 1), 1)

    x = numbers(rng, *z.shape)
    assert down(x).shape == y.shape
    size = max(np.linalg.norm(z) * np.linalg.norm(x), 1e-3)
    assert abs(np.vdot(down(x), y) - np.vdot(x, z)) / size < 1e-12
    one, other = vi.adjoint_products(x, y, w, S, P)
    assert abs(one - other) / size < 1e-12
    for dtype, rtol in ((np.float64, 1e-13), (np.float32, 1e-5)):
        given = [a.astype(dtype) for a in (y, w, b)]
        fast = vi.conv_transpose2d(*given, stride=S, padding=P)
        assert fast.dtype == dtype
        assert relative_error(fast, z + b[:, None, None], scale=1 + np.abs(z).max()) < rtol


@pytest.mark.parametrize(("shape", "filters", "S", "P"), LAYERS[::20])
def test_gradients_of_transposed_convolution(shape, filters, S, P):
    rng = np.random.default_rng(2)
    shape = (1, 2, *shape[2:])
    y, w, b, _, _ = layer(rng, shape, (2, 2, *filters[2:]))
    dz = numbers(rng, *vi.transposed_conv(y, w, b, S, P).shape)

    def cost(**one):
        (part,) = one.values()
        given = {"y": y, "w": w, "b": b} | one
        return np.sum(dz * vi.transposed_conv(*(a.astype(part.dtype) for a in given.values()), S, P))  # fmt: skip

    found = vi.transposed_conv_backward(dz, y, w, S, P)
    for name, grad, at in zip("ywb", found, (y, w, b), strict=True):
        expected = complex_step(lambda a, name=name: cost(**{name: a}), at)
        assert relative_error(grad, expected, scale=1 + np.abs(expected).max()) < 1e-12


def test_bilinear_filters_keep_what_is_constant():
    for U in range(1, 9):
        S = -(-U // 2)
        w, ones = vi.bilinear_kernel(U)[None, None], np.ones((1, 1, 7, 7))
        z = vi.conv_transpose2d(ones, w, stride=S)[0, 0]
        inside = z[U : (7 - 1) * S, U : (7 - 1) * S]
        if U % 2 == 1 or S > 1:
            assert relative_error(inside, np.ones(inside.shape)) < 1e-14


def test_nan_stays_under_its_copy(rng):
    y, w = np.ones((1, 1, 3, 3)), np.ones((1, 1, 2, 2))
    y[0, 0, 1, 1] = np.nan
    expected = np.zeros((6, 6), bool)
    expected[2:4, 2:4] = True
    for found in (
        vi.transposed_conv(y, w, np.zeros(1), 2, 0),
        vi.conv_transpose2d(y, w, stride=2),
    ):
        np.testing.assert_array_equal(np.isnan(found[0, 0]), expected)


# Boxes


def counted(a, b, side=9):
    """Intersection over union by painting pixels."""
    grid = np.arange(side)

    def paint(box):
        rows, columns = (grid >= box[0]) & (grid < box[2]), (grid >= box[1]) & (grid < box[3])
        return rows[:, None] & columns

    found = np.zeros((len(a), len(b)))
    for m, g in np.ndindex(found.shape):
        p, q = paint(a[m]), paint(b[g])
        found[m, g] = np.sum(p & q) / max(np.sum(p | q), 1)
    return found


@pytest.mark.parametrize("seed", range(30))
def test_overlap_by_pixels(seed):
    rng = np.random.default_rng(seed)
    a, b = boxes(rng, int(rng.integers(1, 8))), boxes(rng, int(rng.integers(1, 8)))
    np.testing.assert_allclose(vi.iou(a, b), counted(a, b), rtol=0, atol=1e-15)
    np.testing.assert_allclose(vi.iou(a / 9, b / 9), counted(a, b), rtol=0, atol=1e-14)
    np.testing.assert_array_equal(vi.iou(a, b), vi.iou(b, a).T)


def test_boxes_without_area():
    point = [[2, 2, 2, 2]]
    assert vi.iou(point, point) == vi.iou(point, [[0, 0, 4, 4]]) == 0
    assert vi.iou([], point).shape == (0, 1) and vi.iou(point, np.empty((0, 4))).shape == (1, 0)


def test_nan_of_a_box_reaches_its_overlaps():
    a = np.array([[0, 0, 2, 2.0], [0, np.nan, 2, 2]])
    np.testing.assert_array_equal(np.isnan(vi.box_iou(a, a)), [[False, True], [True, True]])


@pytest.mark.parametrize("seed", range(20))
def test_codes_go_round(seed):
    rng = np.random.default_rng(seed)
    box, anchor = (boxes(rng, 6) + [0, 0, *rng.random(2) + 0.1] for _ in range(2))
    code = vi.encode_boxes(box, anchor)
    assert relative_error(vi.decode_boxes(code, anchor), box) < 1e-13
    assert relative_error(vi.encode_boxes(3 * box - 1, 3 * anchor - 1), code) < 1e-12
    np.testing.assert_array_equal(vi.encode_boxes(anchor, anchor), np.zeros((6, 4)))


def test_smooth_absolute_value(rng):
    r = 2 * numbers(rng, 5, 4)
    assert relative_error(vi.smooth_l1(r), special.huber(1, r)) < 1e-14
    r = r[np.abs(np.abs(r) - 1) > 1e-3]
    slopes = central_differences(lambda q: np.sum(special.huber(1, q)), r)
    assert relative_error(vi.smooth_l1_slope(r), slopes) < 1e-7
    assert np.isnan(vi.smooth_l1([np.nan])).all() and np.isnan(vi.smooth_l1_slope([np.nan])).all()


@pytest.mark.parametrize("seed", range(30))
def test_suppression_by_all_sets(seed):
    """The one set of boxes in which a box is missing exactly if one that is kept rules it out."""
    rng = np.random.default_rng(seed)
    some, scores = boxes(rng, 6, 6), rng.integers(1, 4, size=6) / 4  # with ties
    threshold = float(rng.choice([0, 0.2, 0.5, 1]))
    order = sorted(range(6), key=lambda m: -scores[m])
    clash = counted(some, some) > threshold

    def right(kept):
        return all(
            (m in kept) != any(clash[m, l] for l in order[:n] if l in kept)
            for n, m in enumerate(order)
        )

    sets = [
        [m for m, bit in zip(order, bits, strict=True) if bit]
        for bits in itertools.product((0, 1), repeat=6)
    ]
    (expected,) = [kept for kept in sets if right(kept)]
    np.testing.assert_array_equal(vi.suppress(some, scores, threshold), expected)


def test_nothing_to_suppress():
    assert vi.suppress([], [], 0.5).shape == (0,)


# Average precision


def area(hits, count):
    """Average precision: each object that is found brings the precision where it is found."""
    places = [m for m, hit in enumerate(hits) if hit]
    return sum(sum(hits[: m + 1]) / (m + 1) for m in places) / count


@pytest.mark.parametrize("seed", range(30))
def test_average_precision_by_a_list(seed):
    rng = np.random.default_rng(seed)
    found, scores, truth, expected, G = [], [], [], [], 0
    for _ in range(4):  # images
        found.append(boxes(rng, int(rng.integers(0, 5)), 5))
        scores.append(rng.permutation(100)[: len(found[-1])] + rng.random())
        truth.append(boxes(rng, int(rng.integers(0, 4)), 5) + [0, 0, 1, 1])
        left, G = [*truth[-1]], G + len(truth[-1])
        for m in np.argsort(-scores[-1]):
            shares = counted(found[-1][m : m + 1], np.reshape(left, (-1, 4)))[0]
            best = max(range(len(left)), key=lambda g, shares=shares: shares[g], default=None)
            hit = best is not None and shares[best] >= 0.25
            expected.append((scores[-1][m], hit))
            if hit:
                left.pop(best)
    hits = [hit for _, hit in sorted(expected, reverse=True)]
    result = vi.detection_ap(found, scores, truth, 0.25)
    assert np.isnan(result) if not G else result == pytest.approx(area(hits, G), abs=1e-14)


def test_all_found_and_none():
    box = [[0, 0, 2, 2], [0, 4, 2, 6]]
    assert vi.detection_ap([box], [[0.2, 0.9]], [box]) == 1
    assert vi.detection_ap([[]], [[]], [box]) == 0
    assert vi.detection_ap([box], [[0.2, 0.9]], [[box[1]]]) == 1  # what is unsure costs nothing
    assert vi.detection_ap([box], [[0.9, 0.2]], [[box[1]]]) == 0.5
    assert np.isnan(vi.detection_ap([box], [[0.2, 0.9]], [[]]))  # a class that is absent


def test_a_second_box_on_an_object_is_wrong():
    twice = [[0, 0, 4, 4], [0, 0, 4, 3]]
    assert vi.detection_ap([twice], [[0.5, 0.6]], [twice[:1]]) == 1
    np.testing.assert_array_equal(vi.match(twice, [0.5, 0.6], twice[:1], 0.5), [False, True])


def test_arguments_are_left_alone(rng):
    a, s = boxes(rng, 5), numbers(rng, 5)
    before = a.copy(), s.copy()
    vi.suppress(a, s), vi.iou(a, a), vi.detection_ap([a], [s], [a])
    np.testing.assert_array_equal(a, before[0])
    np.testing.assert_array_equal(s, before[1])


# What is refused

Y, F, B = np.ones((2, 3, 4, 4)), np.ones((3, 2, 3, 3)), np.array([[0, 0, 2, 3.0]])
T = np.zeros((1, 2, 2), int)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: vi.upsampled_size(1, 2, 2, 1), r"\(H − 1\)·S \+ U − 2P = \(1 − 1\)·2 \+ 2 − 2·1 = 0"),
        (lambda: vi.upsampled_size(0, 2), "size"),
        (lambda: vi.upsampled_size(3, 2, 0), "stride"),
        (lambda: vi.upsampled_size(3, 2, 1, -1), "padding"),
        (lambda: vi.conv_transpose2d(Y[0], F), "y has shape"),
        (lambda: vi.conv_transpose2d(Y, F[0]), "w has shape"),
        (lambda: vi.conv_transpose2d(Y, F[:2]), "c = 3 as in y"),
        (lambda: vi.conv_transpose2d(Y, F, np.ones(3)), "b has shape"),
        (lambda: vi.conv_transpose2d(Y[:0], F), "y is empty"),
        (lambda: vi.conv_transpose2d(Y, F, stride=1.5), "stride"),
        (lambda: vi.conv_transpose2d(Y, F, stride=(2, 2)), "stride"),
        (lambda: vi.conv_transpose2d(Y[:, :, :1], F, padding=2), "nothing is left"),
        (lambda: vi.conv_transpose2d(Y.astype(complex), F), "y has dtype"),
        (lambda: vi.segment_iou(T, T + 2, 2), "u holds the label 2"),
        (lambda: vi.segment_iou(T - 1, T, 2), "t holds the label -1"),
        (lambda: vi.segment_iou(T * 1.0, T, 2), "labels are integers"),
        (lambda: vi.segment_iou(T, T[:, :1], 2), "u has shape"),
        (lambda: vi.segment_iou(T, T, 0), "classes"),
        (lambda: vi.iou(B[0], B), "a has shape"),
        (lambda: vi.iou(B, [[0, 0, 2]]), "b has shape"),
        (lambda: vi.iou(B, [[0, 3, 2, 1]]), "ends before it begins"),
        (lambda: vi.iou(B, B * np.nan), "b holds nan"),
        (lambda: vi.iou("x", B), "a has shape"),
        (lambda: vi.suppress(B, [1, 2]), "scores has shape"),
        (lambda: vi.suppress(B, [np.nan]), "scores holds nan"),
        (lambda: vi.suppress(B, [1], 1.5), "threshold"),
        (lambda: vi.suppress(B, [1], -0.5), "threshold"),
        (lambda: vi.detection_ap([B], [[1]], [B], 0), "threshold"),
        (lambda: vi.detection_ap([B], [[1]], []), "of 1, 1 and 0 images"),
        (lambda: vi.detection_ap([B], [[]], [B]), r"scores\[0\] has shape"),
        (lambda: vi.detection_ap([B], [[1]], [B[:, ::-1]]), r"truth\[0\] holds the box"),
    ],
)  # fmt: skip
def test_refuses(call, words):
    with pytest.raises((TypeError, ValueError), match=words):
        call()
