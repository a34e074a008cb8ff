"""Exercises of the chapter on vision.

Page: ``book/vision.md``. Axes: c channels in, o channels out, h and w rows and columns, i and j
those of a larger map, u and v of a filter, m boxes, e the four numbers of a box, n pixels or
errors, as in the chapter.
"""
# ruff: noqa: E741

import numpy as np

from dlbook import vision as chapter
from dlbook.convolution import conv
from dlbook.exercises.forms import Choice, Exercise, Mistake, sizes
from dlbook.tools.jit import njit

__all__ = ["EXERCISES"]


# A transposed convolution as a convolution


def stuffed_probes(rng):
    """Two pixels and a filter of two by one; then channels, strides and margins of all kinds."""
    yield np.array([[[1.0], [2.0]]]), np.array([[[[3.0], [5.0], [7.0]]]]), 2, 0
    for stride, padding in ((1, 0), (2, 1), (2, 0), (3, 1), (2, 1)):
        c, o, h, w = sizes(rng, 4, most=5)
        u, v = sizes(rng, 2, least=3, most=5)
        yield rng.normal(size=(c, h, w)), rng.normal(size=(c, o, u, v)), stride, padding


def up(y, w, stride, padding):
    """Return one image's transposed convolution, from the literal kernel."""
    return chapter.transposed_conv(y[None], w, np.zeros(w.shape[1], y.dtype), stride, padding)[0]


def by_zeros(y, w, stride, padding):
    (C, H, W), (_, O, U, V) = y.shape, w.shape
    wide = np.zeros((C, (H - 1) * stride + 2 * U - 1, (W - 1) * stride + 2 * V - 1), y.dtype)
    wide[:, U - 1 : wide.shape[1] - U + 1 : stride, V - 1 : wide.shape[2] - V + 1 : stride] = y
    around = np.ascontiguousarray(w[:, :, ::-1, ::-1].transpose(1, 0, 2, 3))
    z = conv(wide[None], around, np.zeros(O, y.dtype), (1, 1), (1, 1), 1)[0]
    return z[:, padding : z.shape[1] - padding, padding : z.shape[2] - padding]


def by_copies(y, w, stride, padding):
    z = np.zeros(shape_up(y, w, stride, padding, 0))
    for h, x in np.ndindex(y.shape[1:]):
        copy = np.tensordot(y[:, h, x], w, (0, 0))
        z[:, h * stride : h * stride + w.shape[2], x * stride : x * stride + w.shape[3]] += copy
    return cut(z, padding)


def by_phases(y, w, stride, padding):
    z = np.zeros(shape_up(y, w, stride, padding, 0))
    for u, v in np.ndindex(w.shape[2:]):
        rows = slice(u, u + (y.shape[1] - 1) * stride + 1, stride)
        columns = slice(v, v + (y.shape[2] - 1) * stride + 1, stride)
        z[:, rows, columns] += np.einsum("co,chw->ohw", w[:, :, u, v], y)
    return cut(z, padding)


def shape_up(y, w, stride, padding, less=1):
    (_, H, W), (_, O, U, V) = y.shape, w.shape
    cutoff = 2 * padding * less
    return O, (H - 1) * stride + U - cutoff, (W - 1) * stride + V - cutoff


def cut(z, padding):
    return z[:, padding : z.shape[1] - padding, padding : z.shape[2] - padding]


@njit
def up_compiled(y, w, stride, padding):
    (C, H, W), (_, O, U, V) = y.shape, w.shape
    I, J = (H - 1) * stride + U - 2 * padding, (W - 1) * stride + V - 2 * padding
    z = np.zeros((O, I, J), y.dtype)
    for o in range(O):
        for i in range(I):
            for j in range(J):
                for h in range(H):
                    for x in range(W):
                        u, v = i + padding - h * stride, j + padding - x * stride
                        if 0 <= u < U and 0 <= v < V:
                            for c in range(C):
                                z[o, i, j] += w[c, o, u, v] * y[c, h, x]
    return z


def up_overwritten(y, w, stride, padding):
    z = np.zeros(shape_up(y, w, stride, padding, 0))
    for h, x in np.ndindex(y.shape[1:]):
        copy = np.tensordot(y[:, h, x], w, (0, 0))
        z[:, h * stride : h * stride + w.shape[2], x * stride : x * stride + w.shape[3]] = copy
    return cut(z, padding)


def up_averaged(y, w, stride, padding):
    often = up(np.ones((1, *y.shape[1:])), np.ones((1, *w.shape[1:])), stride, padding)
    return up(y, w, stride, padding) / np.maximum(often, 1)


def up_near_end(y, w, stride, padding):
    _, I, J = shape_up(y, w, stride, padding)
    return up(y, w, stride, 0)[:, :I, :J]


def up_repeated(y, w, stride, padding):
    wide = y.repeat(stride, 1).repeat(stride, 2)
    last = (stride - 1) or None
    return up(wide if last is None else wide[:, :-last, :-last], w, 1, padding)


STUFFED = Exercise(
    label="vision-stuffed",
    task="Write `stuffed(y, w, stride, padding)`: a transposed convolution of one image, by one call of `conv`.",
    reference=up,
    axes="(c h w), (c o u v), (), () -> (o i j)",
    probes=stuffed_probes,
    mistakes=(
        Mistake(
            "the filters are not turned round",
            lambda y, w, stride, padding: up(y, w[:, :, ::-1, ::-1], stride, padding),
            "A copy of the filter begins at its pixel; a convolution meets that pixel with its last weight first.",
            "{eq}`vision-transposed-conv`",
        ),
        Mistake(
            "the filters are turned from left to right only",
            lambda y, w, stride, padding: up(y, w[:, :, ::-1], stride, padding),
            "Rows have to be turned as well as columns.",
            "{eq}`vision-transposed-conv`",
        ),
        Mistake(
            "the filters are turned upside down only",
            lambda y, w, stride, padding: up(y, w[:, :, :, ::-1], stride, padding),
            "Columns have to be turned as well as rows.",
            "{eq}`vision-transposed-conv`",
        ),
        Mistake(
            "pixels are repeated where zeros belong",
            up_repeated,
            "That is an enlargement by copies, and then a convolution. Here only zeros stand between two pixels.",
            "{eq}`vision-transposed-conv`",
        ),
        Mistake(
            "where copies overlap the last one stays",
            up_overwritten,
            "Copies add up: `+=`, not `=`.",
            "{eq}`vision-transposed-conv`",
        ),
        Mistake(
            "where copies overlap their mean is taken",
            up_averaged,
            "Copies add up and are divided by nothing. That is where chequered patterns come from.",
            "{eq}`vision-transposed-conv`",
        ),
        Mistake(
            "the padding is cut off at the far ends only",
            up_near_end,
            "Padding P takes P rows and columns from either end.",
            "{eq}`vision-transposed-size`",
        ),
    ),
    hints=(
        "Which pixels of z does one pixel of y reach, and with which weights? Now ask it the other way round.",
        "Put S − 1 zeros between neighbours and a frame of U − 1 − P zeros around, and convolve with stride 1.",
        "Turn rows and columns of the filters round and exchange their first two axes: (o c u v).",
    ),
    used="It is {eq}`vision-transposed-conv` written as {eq}`convolution-conv`; with stride 1 it is the way back of "
    "{eq}`convolution-conv-dx`.",
    right=(by_zeros, by_copies, by_phases, up_compiled),
    others=(
        (lambda *a: -up(*a), "every number has the opposite sign"),
        (lambda *a: 2 * up(*a), "every number is 2 times what it should be"),
        (lambda *a: up(*a)[:, 1:], "wrong type or shape"),
        (lambda *a: up(*a) + 0.01, "wrong"),
    ),
)


# An overlap for boxes that do not meet


def some_boxes(rng, m):
    """Return boxes of whole and half numbers, of unequal sides."""
    corner, side = rng.integers(0, 12, (m, 2)) / 2, rng.integers(2, 10, (m, 2)) / 2
    return np.hstack([corner, corner + side])


def giou_probes(rng):
    """One pair by hand; then pairs that meet, that are apart, and one inside the other."""
    yield np.array([[0.0, 0.0, 2.0, 3.0]]), np.array([[1.0, 1.0, 3.0, 5.0]])
    apart = np.array([[0.0, 0.0, 2.0, 1.0], [1.0, 1.0, 2.0, 6.0], [0.0, 3.0, 4.0, 4.0]])
    yield apart, apart[::-1] + np.array([3.0, 2.0, 3.5, 2.5])
    for m in sizes(rng, 4, least=4, most=9):
        yield some_boxes(rng, m), some_boxes(rng, m)


def parts(a, b, least=0.0, one=0.0):
    """Return intersection, union and hull of pairs of boxes."""
    size = lambda low, high: np.prod(np.maximum(high - low + one, least), axis=1)
    both = size(np.maximum(a[:, :2], b[:, :2]), np.minimum(a[:, 2:], b[:, 2:]))
    hull = size(np.minimum(a[:, :2], b[:, :2]), np.maximum(a[:, 2:], b[:, 2:]))
    return both, size(a[:, :2], a[:, 2:]) + size(b[:, :2], b[:, 2:]) - both, hull


def giou(a, b):
    both, union, hull = parts(a, b)
    return both / union - (hull - union) / hull


def giou_by_iou(a, b):
    both = np.array([chapter.box_iou(a[m : m + 1], b[m : m + 1])[0, 0] for m in range(len(a))])
    area = lambda box: (box[:, 2] - box[:, 0]) * (box[:, 3] - box[:, 1])
    union = (area(a) + area(b)) / (1 + both)
    hull = np.hstack([np.minimum(a[:, :2], b[:, :2]), np.maximum(a[:, 2:], b[:, 2:])])
    return both + union / area(hull) - 1


@njit
def giou_compiled(a, b):
    found = np.zeros(len(a))
    for m in range(len(a)):
        both, hull, one, other = 1.0, 1.0, 1.0, 1.0
        for e in range(2):
            both *= max(0.0, min(a[m, e + 2], b[m, e + 2]) - max(a[m, e], b[m, e]))
            hull *= max(a[m, e + 2], b[m, e + 2]) - min(a[m, e], b[m, e])
            one *= a[m, e + 2] - a[m, e]
            other *= b[m, e + 2] - b[m, e]
        union = one + other - both
        found[m] = both / union + union / hull - 1
    return found


def giou_loops(a, b):
    found = []
    for (y0, x0, y1, x1), (q0, p0, q1, p1) in zip(a, b, strict=True):
        both = max(0, min(y1, q1) - max(y0, q0)) * max(0, min(x1, p1) - max(x0, p0))
        union = (y1 - y0) * (x1 - x0) + (q1 - q0) * (p1 - p0) - both
        hull = (max(y1, q1) - min(y0, q0)) * (max(x1, p1) - min(x0, p0))
        found.append(both / union - (hull - union) / hull)
    return np.array(found)


def _giou(formula, **how):
    """Return another formula of intersection, union and hull."""

    def made(a, b):
        return formula(*parts(a, b, **how))

    return made


def right_giou(both, union, hull):
    return both / union - (hull - union) / hull


GIOU = Exercise(
    label="vision-giou",
    task="Write `giou(a, b)`: for each pair of boxes the IoU minus the part of their hull that is in neither.",
    reference=giou,
    axes="(m e), (m e) -> (m)",
    probes=giou_probes,
    mistakes=(
        Mistake(
            "the empty part of the hull is not subtracted",
            _giou(lambda both, union, hull: both / union),
            "This is the IoU, which is zero for all boxes that do not meet, near or far.",
            "{eq}`vision-iou`",
        ),
        Mistake(
            "heights and widths of the intersection are not stopped at zero",
            _giou(right_giou, least=-np.inf),
            "Boxes apart both ways have two negative sides, and their product is positive: stop each side at 0.",
            "{eq}`vision-iou`",
        ),
        Mistake(
            "a pixel is added to each side",
            _giou(right_giou, one=1.0),
            "Ends here lie beyond the last pixel, so that a side is the end minus the beginning.",
            "{eq}`vision-iou`",
        ),
        Mistake(
            "the empty part is divided by the union",
            _giou(lambda both, union, hull: both / union - (hull - union) / union),
            "It is a share of the hull, and so never above 1.",
            "{ref}`ex-vision-giou`",
        ),
        Mistake(
            "the intersection is taken as a share of the hull",
            _giou(lambda both, union, hull: both / hull - (hull - union) / hull),
            "The first part is the plain IoU: intersection over union.",
            "{eq}`vision-iou`",
        ),
        Mistake(
            "the intersection is taken out of the hull, not the union",
            _giou(lambda both, union, hull: both / union - (hull - both) / hull),
            "What is in one of the boxes is not empty. Subtract the union from the hull.",
            "{ref}`ex-vision-giou`",
        ),
        Mistake(
            "the intersection is counted twice in the union",
            _giou(lambda both, union, hull: right_giou(both, union + both, hull)),
            "Both areas contain the intersection; take it off once.",
            "{eq}`vision-iou`",
        ),
        Mistake(
            "this is the cost, 1 minus what is asked",
            _giou(lambda both, union, hull: 1 - right_giou(both, union, hull)),
            "What is asked is large where boxes agree, and 1 where they are the same.",
            "{ref}`ex-vision-giou`",
        ),
    ),
    hints=(
        "The hull is the smallest box around both: the smaller of the beginnings, the larger of the ends.",
        "Its empty part is hull − union, taken as a share of the hull.",
        "both / union − (hull − union) / hull, with the sides of the intersection stopped at zero.",
    ),
    used="Where {eq}`vision-iou` is zero, this still falls as two boxes move apart.",
    right=(giou_by_iou, giou_compiled, giou_loops),
    others=(
        (lambda a, b: -giou(a, b), "every number has the opposite sign"),
        (lambda a, b: giou(a, b)[0], "wrong type or shape"),
        (lambda a, b: giou(a, b) ** 2, "wrong"),
    ),
)


# Who survives


def surviving_probes(rng):
    """Two boxes; then chains in which each meets the next, scores in any order, and exact halves."""
    yield np.array([[0.0, 0.0, 2.0, 2.0], [0.0, 0.0, 2.0, 1.0]]), np.array([0.6, 0.8]), 0.5
    chain = np.array([0.0, 2.0, 4.0, 6.0, 9.0])
    rows = np.stack([chain, 0 * chain, chain + 6, 0 * chain + 5], axis=1)
    yield rows, np.array([0.7, 0.9, 0.8, 0.4, 0.5]), 0.4
    for m in sizes(rng, 5, least=6, most=16):
        start = np.cumsum(rng.integers(1, 4, m)).astype(float)
        small, score = rng.uniform(0, 0.5, m), rng.uniform(0.1, 0.9, m)
        boxes = np.stack([start, small, start + rng.integers(4, 7, m), small + 3], axis=1)
        yield (
            np.vstack([boxes, [[80, 0, 82, 2], [80, 0, 82, 1]]]),
            np.append(score, [0.5, 0.6]),
            0.5,
        )


def thinned(boxes, scores, threshold, order=None, share=None, kept=None, above=np.greater):
    """Return the scores of the boxes that stay, by default those of the literal kernel."""
    order = np.argsort(-scores) if order is None else order(scores)
    share = chapter.box_iou(boxes, boxes) if share is None else share(boxes)
    stay = []
    for place, m in enumerate(order):
        asked = stay if kept is None else kept(order[:place], stay)
        if not any(above(share[m, k], threshold) for k in asked):
            stay.append(m)
    found = np.zeros_like(scores)
    found[stay] = scores[stay]
    return found


def surviving(boxes, scores, threshold):
    kept, found = chapter.nms(boxes, scores, threshold), np.zeros_like(scores)
    found[kept] = scores[kept]
    return found


def surviving_by_removal(boxes, scores, threshold):
    left, found = list(range(len(boxes))), np.zeros(len(boxes))
    while left:
        best = max(left, key=lambda m: scores[m])
        found[best] = scores[best]
        share = chapter.box_iou(boxes[best : best + 1], boxes)[0]
        left = [m for m in left if m != best and share[m] <= threshold]
    return found


def surviving_by_masks(boxes, scores, threshold):
    alive, order = np.ones(len(scores), bool), np.argsort(-scores)
    meets = chapter.box_iou(boxes, boxes)[order][:, order] > threshold
    for m in range(len(order)):
        if alive[m]:
            alive[m + 1 :] &= ~meets[m, m + 1 :]
    found = np.zeros_like(scores)
    found[order[alive]] = scores[order[alive]]
    return found


@njit
def surviving_compiled(boxes, scores, threshold):
    found, left = np.zeros(len(scores)), scores.copy()
    for _ in range(len(scores)):
        best = np.argmax(left)
        if left[best] < 0:
            break
        found[best] = scores[best]
        for m in range(len(scores)):
            h = min(boxes[m, 2], boxes[best, 2]) - max(boxes[m, 0], boxes[best, 0])
            w = min(boxes[m, 3], boxes[best, 3]) - max(boxes[m, 1], boxes[best, 1])
            both = max(h, 0.0) * max(w, 0.0)
            one = (boxes[m, 2] - boxes[m, 0]) * (boxes[m, 3] - boxes[m, 1])
            other = (boxes[best, 2] - boxes[best, 0]) * (boxes[best, 3] - boxes[best, 1])
            if both / (one + other - both) > threshold:
                left[m] = -1.0
        left[best] = -1.0
    return found


def of_own_area(boxes):
    share = chapter.box_iou(boxes, boxes)
    area = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    both = share / (1 + share) * (area[:, None] + area)
    return both / np.minimum(area[:, None], area)


def _thinned(**how):
    """Return the scores that stay if the boxes are gone through in another way."""

    def made(boxes, scores, threshold):
        return thinned(boxes, scores, threshold, **how)

    return made


SURVIVING = Exercise(
    label="vision-surviving",
    task="Write `surviving(boxes, scores, threshold)`: the scores of the boxes that NMS keeps, and 0 for the others.",
    reference=surviving,
    axes="(m e), (m), () -> (m)",
    probes=surviving_probes,
    mistakes=(
        Mistake(
            "a box that has gone still removes others",
            _thinned(kept=lambda before, stay: before),
            "Only boxes that are kept may remove: in a chain the third stays when the second has gone.",
            "{eq}`vision-nms`",
        ),
        Mistake(
            "a box is held against the last kept one only",
            _thinned(kept=lambda before, stay: stay[-1:]),
            "Neighbours in the order of scores need not be neighbours in the image: ask all that are kept.",
            "{eq}`vision-nms`",
        ),
        Mistake(
            "the boxes are taken in the order in which they are given",
            _thinned(order=lambda scores: np.arange(len(scores))),
            "The surest goes first. Sort by score.",
            "{eq}`vision-nms`",
        ),
        Mistake(
            "the lowest score goes first",
            _thinned(order=np.argsort),
            "`np.argsort` sorts upwards: sort the negative scores.",
            "{eq}`vision-nms`",
        ),
        Mistake(
            "an overlap equal to the threshold removes",
            _thinned(above=np.greater_equal),
            "A box goes if its overlap is more than the threshold, and stays if it is the same.",
            "{eq}`vision-nms`",
        ),
        Mistake(
            "the overlap is taken as a share of the smaller box",
            _thinned(share=of_own_area),
            "The overlap is intersection over union.",
            "{eq}`vision-iou`",
        ),
        Mistake(
            "these are the boxes that went",
            lambda boxes, scores, threshold: scores - surviving(boxes, scores, threshold),
            "The scores of those that stay are asked for.",
            "{eq}`vision-nms`",
        ),
    ),
    hints=(
        "Go through the boxes from the surest to the least sure. Whom does each have to be held against?",
        "Against every box that has been kept so far, and no other.",
        "If none of their overlaps is above the threshold, keep it: write its score where it came from.",
    ),
    used="It is {eq}`vision-nms`, with the answer in the order in which the boxes came.",
    right=(surviving_by_removal, surviving_by_masks, surviving_compiled),
    others=(
        (lambda *a: -surviving(*a), "every number has the opposite sign"),
        (lambda *a: surviving(*a)[surviving(*a) > 0][:1], "wrong type or shape"),
        (lambda boxes, scores, threshold: scores, "wrong"),
    ),
)


# The area under an envelope


def interpolated_probes(rng):
    """Three boxes by hand; then lists with misses between the hits and objects never found."""
    yield np.array([1.0, 0.0, 1.0]), 4
    yield np.array([0.0, 1.0, 0.0, 1.0, 1.0]), 4
    for m in sizes(rng, 5, least=6, most=15):
        hits = (rng.random(m) < 0.6).astype(float)
        hits[:4] = 0, 1, 0, 1
        hits[int(rng.integers(4, m))] = 1
        yield hits, int(hits.sum() + rng.integers(1, 4))


def steps(hits, count):
    """Return the precision at each box and how much recall it adds."""
    return np.cumsum(hits) / np.arange(1, len(hits) + 1), hits / count


def envelope(precision):
    return np.maximum.accumulate(precision[::-1])[::-1]


def interpolated(hits, count):
    precision, added = steps(hits, count)
    return envelope(precision) @ added


def interpolated_loops(hits, count):
    total, right = 0.0, 0
    for m in range(len(hits)):
        if hits[m]:
            best, n = 0.0, right
            for k in range(m, len(hits)):
                n += hits[k]
                best = max(best, n / (k + 1))
            total, right = total + best / count, right + 1
    return total


def interpolated_by_levels(hits, count):
    """Add up, over the objects found, the best precision at which as many or more are found."""
    right = np.cumsum(hits)
    precision = right / np.arange(1, len(hits) + 1)
    return sum(max(precision[right >= g]) for g in range(1, int(right[-1]) + 1)) / count


@njit
def interpolated_compiled(hits, count):
    right, total, best = np.sum(hits), 0.0, 0.0
    for m in range(len(hits) - 1, -1, -1):
        best = max(best, right / (m + 1))
        if hits[m] > 0:
            total += best
            right -= 1
    return total / count


def eleven(hits, count):
    precision, added = steps(hits, count)
    recall = np.cumsum(added)
    found = [max(precision[recall >= r - 1e-12], default=0.0) for r in np.linspace(0, 1, 11)]
    return np.mean(found)


def trapezia(hits, count):
    precision, added = steps(hits, count)
    before = np.append(precision[:1], precision[:-1])
    return ((before + precision) / 2) @ added


INTERPOLATED = Exercise(
    label="vision-interpolated",
    task="Write `interpolated(hits, count)`: average precision with the best precision at this or a larger recall.",
    reference=interpolated,
    axes="(m), () -> ()",
    probes=interpolated_probes,
    mistakes=(
        Mistake(
            "the precision is not raised to its envelope",
            lambda hits, count: steps(hits, count)[0] @ steps(hits, count)[1],
            "This is the area under the stairs themselves. Replace each precision by the best from there on.",
            "{eq}`vision-average-precision`",
        ),
        Mistake(
            "the best precision so far is taken",
            lambda hits, count: (
                np.maximum.accumulate(steps(hits, count)[0]) @ steps(hits, count)[1]
            ),
            "The envelope looks to larger recall, that is, further down the list: accumulate from its end.",
            "{eq}`vision-precision-recall`",
        ),
        Mistake(
            "eleven levels of recall are averaged",
            eleven,
            "That is the measure of an older competition. Here every hit adds its own step of recall.",
            "{eq}`vision-average-precision`",
        ),
        Mistake(
            "objects that were never found are left out",
            lambda hits, count: interpolated(hits, hits.sum()),
            "Recall is a share of all objects, also of those that no box hits: divide by their count.",
            "{eq}`vision-precision-recall`",
        ),
        Mistake(
            "the mean over all boxes is taken",
            lambda hits, count: np.mean(envelope(steps(hits, count)[0])),
            "A box that hits nothing adds no recall. Sum over the hits and divide by the count of objects.",
            "{eq}`vision-average-precision`",
        ),
        Mistake(
            "points are joined by straight lines",
            trapezia,
            "Between two points there is no detector: the area is of stairs, not of trapezia.",
            "{eq}`vision-average-precision`",
        ),
        Mistake(
            "the boxes are counted from 0",
            lambda hits, count: (
                envelope(np.cumsum(hits) / np.maximum(np.arange(len(hits)), 1)) @ hits / count
            ),
            "After the first box one has been shown: precision divides by m + 1 where m counts from 0.",
            "{eq}`vision-precision-recall`",
        ),
    ),
    hints=(
        "Compute precision and recall after each box. Where does recall move?",
        "From the end of the list, carry the largest precision seen so far: that is the envelope.",
        "`np.maximum.accumulate(precision[::-1])[::-1]`, summed over the hits, divided by the count.",
    ),
    used="It is never below {eq}`vision-average-precision`; which of the two is meant has to be said.",
    right=(interpolated_loops, interpolated_by_levels, interpolated_compiled),
    others=(
        (lambda *a: -interpolated(*a), "every number has the opposite sign"),
        (lambda *a: np.array([interpolated(*a)] * 2), "wrong type or shape"),
        (lambda *a: interpolated(*a) ** 2, "wrong"),
    ),
)


# Where the bend is


def smooth_probes(rng):
    """Three errors by hand; then several, with the bend below and above 1, and errors on it."""
    yield np.array([1.0, -3.0, 2.0]), 2.0
    for n, beta in zip(sizes(rng, 5, least=5, most=12), (0.5, 3.0, 1.0, 0.25, 1.75), strict=True):
        r = rng.normal(size=n) * 1.5 * beta
        r[:4] = 0.3 * beta, -0.6 * beta, 2.5 * beta, -beta
        yield r, beta


def smooth(r, beta):
    small = np.abs(r) < beta
    cost = np.where(small, r * r / (2 * beta), np.abs(r) - beta / 2)
    return cost, np.where(small, r / beta, np.sign(r))


def smooth_scaled(r, beta):
    return beta * chapter.smooth_l1(r / beta), chapter.smooth_l1_slope(r / beta)


def smooth_by_clipping(r, beta):
    slope = np.clip(r / beta, -1, 1)
    return r * slope - beta * slope**2 / 2, slope


@njit
def smooth_compiled(r, beta):
    cost, slope = np.zeros(len(r)), np.zeros(len(r))
    for n in range(len(r)):
        slope[n] = max(-1.0, min(1.0, r[n] / beta))
        if abs(slope[n]) < 1:
            cost[n] = slope[n] * r[n] / 2
        else:
            cost[n] = abs(r[n]) - beta / 2
    return cost, slope


def _smooth(inner, outer, bend=lambda beta: beta):
    """Return a cost of other pieces, and the slope of each piece as it was made."""

    def made(r, beta):
        small = np.abs(r) < bend(beta)
        pairs = zip(inner(r, beta), outer(np.abs(r), np.sign(r), beta), strict=True)
        return tuple(np.where(small, a, b) for a, b in pairs)

    return made


def parabola(r, beta):
    return r * r / (2 * beta), r / beta


def line(size, sign, beta):
    return size - beta / 2, sign


SMOOTH = Exercise(
    label="vision-smooth",
    task="Write `smooth(r, beta)`: cost and slope, a parabola up to |r| = beta, then lines of slope ±1, joined.",
    reference=smooth,
    axes="(n), () -> (n), (n)",
    probes=smooth_probes,
    mistakes=(
        Mistake(
            "the bend stays at 1",
            lambda r, beta: (chapter.smooth_l1(r), chapter.smooth_l1_slope(r)),
            "The parabola ends at |r| = beta.",
            "{eq}`vision-smooth-l1`",
        ),
        Mistake(
            "everything is multiplied by beta",
            lambda r, beta: tuple(beta * part for part in smooth(r, beta)),
            "That is Huber's form, whose lines have slope ±beta. Here their slope is ±1.",
            "{eq}`vision-smooth-l1-slope`",
        ),
        Mistake(
            "the parabola is not divided by beta",
            _smooth(lambda r, beta: (r * r / 2, r), line),
            "At the bend its slope would be beta, and that of the line is 1.",
            "{eq}`vision-smooth-l1-slope`",
        ),
        Mistake(
            "the line is not lowered",
            _smooth(parabola, lambda size, sign, beta: (size, sign)),
            "At the bend the parabola has the value beta/2 and the line beta: the cost would jump.",
            "{eq}`vision-smooth-l1`",
        ),
        Mistake(
            "the line is lowered by a half whatever beta is",
            _smooth(parabola, lambda size, sign, beta: (size - 0.5, sign)),
            "A half is right for beta = 1. The value at the bend is beta/2.",
            "{eq}`vision-smooth-l1`",
        ),
        Mistake(
            "the half is missing in the parabola",
            _smooth(lambda r, beta: (r * r / beta, 2 * r / beta), line),
            "At the bend the slope would be 2, and the value beta where the line has beta/2.",
            "{eq}`vision-smooth-l1`",
        ),
        Mistake(
            "the slope loses its sign in the lines",
            _smooth(parabola, lambda size, sign, beta: (size - beta / 2, np.abs(sign))),
            "Left of −beta the cost falls: the slope is −1 there.",
            "{eq}`vision-smooth-l1-slope`",
        ),
    ),
    hints=(
        "A parabola a r² has the slope 2 a r. Which a gives the slope 1 at r = beta?",
        "a = 1/(2 beta). Its value at the bend is beta/2; which line of slope 1 passes through there?",
        "r²/(2 beta) and r/beta inside; |r| − beta/2 and the sign of r outside.",
    ),
    used="For beta = 1 these are {eq}`vision-smooth-l1` and {eq}`vision-smooth-l1-slope`.",
    right=(smooth_scaled, smooth_by_clipping, smooth_compiled),
    others=(
        (lambda r, beta: smooth(r, beta)[::-1], "the results are returned in the reverse order"),
        (lambda r, beta: smooth(r, beta)[0], "wrong type or shape"),
        (lambda r, beta: tuple(part**2 for part in smooth(r, beta)), "wrong"),
    ),
)


# A cost that counts the overlap


def dice_probes(rng):
    """Two pixels by hand; then several, with few pixels of the object and with many."""
    yield np.array([0.5, 0.25]), np.array([1.0, 0.0])
    for n, share in zip(sizes(rng, 5, least=4, most=12), (0.2, 0.7, 0.4, 0.5, 0.3), strict=True):
        t = (rng.random(n) < share).astype(float)
        t[:3] = 1, 0, 1
        yield rng.uniform(0.05, 0.95, n), t


def dice_slope(p, t):
    both, total = p @ t, p.sum() + t.sum()
    return 2 * (both - t * total) / total**2


def dice_quotient(p, t):
    total = np.sum(p) + np.sum(t)
    return -2 * t / total + 2 * np.sum(p * t) / total**2


def dice_by_complex_step(p, t):
    slope = np.empty(len(p))
    for n in range(len(p)):
        z = p.astype(complex)
        z[n] += 1e-30j
        slope[n] = np.imag(1 - 2 * (z @ t) / (z.sum() + t.sum())) / 1e-30
    return slope


@njit
def dice_compiled(p, t):
    both, total = 0.0, 0.0
    for n in range(len(p)):
        both += p[n] * t[n]
        total += p[n] + t[n]
    slope = np.empty(len(p))
    for n in range(len(p)):
        slope[n] = 2 * (both / total - t[n]) / total
    return slope


def _dice(formula):
    """Return a slope made of the overlap and both sums in another way."""

    def made(p, t):
        return formula(p, t, p @ t, p.sum() + t.sum())

    return made


DICE = Exercise(
    label="vision-dice",
    task="Write `dice_slope(p, t)`, the gradient by p of 1 − 2 Σ p t / (Σ p + Σ t).",
    reference=dice_slope,
    axes="(n), (n) -> (n)",
    probes=dice_probes,
    mistakes=(
        Mistake(
            "the denominator is held fixed",
            _dice(lambda p, t, both, total: -2 * t / total),
            "Each probability stands in the denominator too: the rule for quotients has a second part.",
            "{ref}`ex-vision-dice`",
        ),
        Mistake(
            "only the denominator is differentiated",
            _dice(lambda p, t, both, total: 2 * both / total**2 + 0 * t),
            "A probability stands in the sum above as well, where the pixel belongs to the object.",
            "{ref}`ex-vision-dice`",
        ),
        Mistake(
            "the sum below is not squared in the second part",
            _dice(lambda p, t, both, total: -2 * t / total + 2 * both / total),
            "The derivative of 1/s is −1/s².",
            "{ref}`ex-vision-dice`",
        ),
        Mistake(
            "the factor 2 is missing in the second part",
            _dice(lambda p, t, both, total: -2 * t / total + both / total**2),
            "The whole numerator, 2 Σ p t, stands in the second part.",
            "{ref}`ex-vision-dice`",
        ),
        Mistake(
            "the sum below is of squares",
            lambda p, t: 2 * (2 * p * (p @ t) - t * (p @ p + t @ t)) / (p @ p + t @ t) ** 2,
            "With squares below it is another cost, of the same minimum. Here the probabilities are added as they are.",
            "{ref}`ex-vision-dice`",
        ),
        Mistake(
            "this is the gradient of 1 − IoU",
            _dice(
                lambda p, t, both, total: (
                    (both * (1 - t) - t * (total - both)) / (total - both) ** 2
                )
            ),
            "IoU divides by the union, Σ p + Σ t − Σ p t. Here the overlap stays in the sum.",
            "{eq}`vision-mean-iou`",
        ),
    ),
    hints=(
        "Call the overlap I and the sum below s. Both contain p_n: I with the factor t_n, s with 1.",
        "∂(I/s) = t_n/s − I/s².",
        "−2 t_n/s + 2 I/s²: the same for all pixels of the object, and the same for all others.",
    ),
    used="It is a rival of {eq}`vision-pixel-ce`; a mean over pixels counts the object by its size, an overlap does not.",
    right=(dice_quotient, dice_by_complex_step, dice_compiled),
    others=(
        (lambda p, t: -dice_slope(p, t), "every number has the opposite sign"),
        (lambda p, t: dice_slope(p, t) / 2, "every number is 0.5 times what it should be"),
        (lambda p, t: dice_slope(p, t)[:1], "wrong type or shape"),
        (lambda p, t: dice_slope(p, t) + 0.01, "wrong"),
    ),
)


# Break this line

BREAK = Choice(
    label="vision-break",
    task="In `transposed_conv` the weight w[c, o, u, v] becomes w[c, o, U − 1 − u, V − 1 − v]. Name the letters of "
    "all checks that no longer pass.",
    right="abc",
    wrong={
        "d": "(d), the size, knows how large a filter is and not what stands in it.",
        "e": "(e): a bilinear filter is the same when it is turned round, so the enlarged image is the same.",
        "f": "(f): unpooling has no filter.",
    },
    missing="What is compared with the adjoint, and what is differentiated to judge a gradient?",
    hints=(
        "The broken line turns each filter round. For which filters does that change something?",
        "The adjoint of a convolution is this map with the filter as it is, so the two products differ.",
        "The gradients are right, but their oracle differentiates the broken map.",
    ),
    used="A test with a symmetric filter alone would pass the broken {eq}`vision-transposed-conv`.",
)

EXERCISES = (STUFFED, GIOU, SURVIVING, INTERPOLATED, SMOOTH, DICE, BREAK)
