"""Networks that say what stands in an image, where its pixels are, and where its boxes are.

All are compositions of layers. Equations: `vision`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from dlbook.fast.losses import bernoulli_into, cross_entropy_rows
from dlbook.nets.containers import Residual, Sequential
from dlbook.nets.conv import Conv2d, ConvTranspose2d
from dlbook.nets.costs import AXES, Cost
from dlbook.nets.images import GlobalPool, MaxPool2d, MaxUnpool2d
from dlbook.nets.layer import features
from dlbook.nets.layers import Activation
from dlbook.nets.network import Network
from dlbook.nets.norms import BatchNorm
from dlbook.nets.reuse import Frozen
from dlbook.nets.tree import built
from dlbook.tools import elementary, shapes
from dlbook.vision import (
    decode_boxes,
    detection_ap,
    encode_boxes,
    nms,
    smooth_l1,
    smooth_l1_slope,
)

__all__ = ["Detection", "Found", "backbone", "box_ap", "detector", "named_ap", "segmenter"]

LARGEST = 3.0  # logarithm of a ratio of sides: a box is at most twenty times its anchor
KINDS = ("fixed", "learned", "unpooled")


def _seen(filters):
    """Return a layer of 3 × 3 filters that keeps the size, and its rectifier."""
    return [Conv2d(filters, 3, padding=1), Activation("relu")]


def backbone(channels: Sequence[int] = (16, 32, 32)) -> Sequential:
    """Return layers that turn an image into features: the largest number of each last channel.

    Parameters
    ----------
    channels : sequence of int
        Filters of 3 × 3; a 2 × 2 pooling stands behind the first layer of them.
    """
    first, *rest = channels
    more = [layer for filters in rest for layer in _seen(filters)]
    return Sequential(*_seen(first), MaxPool2d(2), *more, GlobalPool("max"))


def segmenter(
    kind: str = "learned",
    *,
    skips: bool = True,
    side: int = 24,
    channels: tuple[int, int, int] = (16, 32, 32),
    maps: int = 8,
    classes: int = 2,
    dtype: str = "float32",
) -> Network:
    """Return a network that gives each pixel of a square image a class.

    On the way down there are three layers of 3 × 3 filters and two 2 × 2 poolings. On the way up
    rows and columns are doubled twice; then 1 × 1 filters make a score for each class.

    Parameters
    ----------
    kind : {"fixed", "learned", "unpooled"}
        How they are doubled: by transposed convolutions of 4 × 4 filters, which stay bilinear, or
        begin bilinear and learn; or by unpooling, with a layer of 3 × 3 filters behind it.
    skips : bool
        Whether what stood on the way down in the same size is added, through 1 × 1 filters.
    side : int
        Rows and columns, a multiple of four.
    channels : (int, int, int)
        Filters on the way down.
    maps : int
        Channels on the way up. For unpooling 1 × 1 filters bring them to those of the pooled map.
    classes : int
        Of a pixel.
    dtype : {"float32", "float64"}
        Of parameters and data.
    """
    shapes.choice("kind", kind, KINDS)
    if shapes.count("side", side) % 4:
        raise ValueError(f"side is {side}, expected a multiple of 4: it is halved twice")
    (first, second, third), relu = channels, Activation("relu")

    def up(size):
        layer = ConvTranspose2d(maps, 4, stride=2, padding=1, bias=False, initial="bilinear")
        if kind != "fixed":
            return layer
        values = built(layer.parameters((size, size, maps)), dtype)
        layer.draw(values.net, None)
        return Frozen(layer, values)

    def lower(layers, size, pooled):
        """Run layers at half the size, and go up again."""
        if kind == "unpooled":
            inner = MaxUnpool2d(*layers, Conv2d(pooled, 1), relu)
            layers = inner, Conv2d(maps, 3, padding=1)
        else:
            layers = MaxPool2d(2), *layers, up(size)
        return (Residual(*layers, skip=Conv2d(maps, 1)),) if skips else layers

    bottom = _seen(third) if kind == "unpooled" else [*_seen(third), Conv2d(maps, 1), relu]
    middle = [*_seen(second), *lower(bottom, side // 4, second), relu]
    net = Sequential(*_seen(first), *lower(middle, side // 2, first), relu, Conv2d(classes, 1))
    return Network((1, side, side), net, dtype=dtype)


def _far(step):
    """Return how far a step of rows and columns goes, for sorting."""
    return step[0] ** 2 + step[1] ** 2


class Found(NamedTuple):
    """What a detector finds in an image, the surest first."""

    boxes: np.ndarray  # (m, 4) corners y0, x0, y1, x1
    scores: np.ndarray  # (m,) probability that something is there
    labels: np.ndarray  # (m,) the most probable class
    named: np.ndarray  # (m,) probability of that class there: the score times that of the class


@dataclass(frozen=True)
class Detection(Cost):
    """Each cell of a grid predicts whether the middle of a box lies in it, of which class, and where.

    The network gives 1 + classes + 4 numbers for each cell. The first is the logit of the
    probability that there is a box (cost: binary cross-entropy, over all cells); then come scores
    of the classes (cross-entropy) and the code of the box by the cell's anchor, divided by
    `spread` (smooth L1), both for cells with a box alone. All are summed over the cells of an
    image; the mean over images is taken.

    Parameters
    ----------
    classes : int
        Of boxes.
    cell : int
        Rows and columns of a cell, in pixels.
    anchor : float
        Side of the square around the middle of a cell by which boxes are coded.
    spread : float
        What the codes are divided by, so that they vary by about one.
    weight : float
        Of the smooth L1, beside that of the others, which is 1.
    least : float
        Score from which a box counts as found.
    overlap : float
        IoU with a surer box above which a box is suppressed, whatever its class.
    near : int
        How many cells away from that of the middle are to predict the box, too, down and across.
    """

    classes: int = 10
    cell: int = 4
    anchor: float = 8.0
    spread: float = 0.1
    weight: float = 1.0
    least: float = 0.02
    overlap: float = 0.4
    near: int = 0

    def __post_init__(self):
        shapes.count("classes", self.classes)
        shapes.count("cell", self.cell)
        shapes.count("near", self.near, least=0)
        for name in ("anchor", "spread", "weight"):
            shapes.number(name, getattr(self, name), above=0)
        for name in ("least", "overlap"):
            shapes.number(name, getattr(self, name), least=0, most=1)

    @property
    def numbers(self) -> int:
        """How many numbers the network gives for a cell."""
        return 1 + self.classes + 4

    def anchors(self, rows: int, columns: int) -> np.ndarray:
        """Return the anchors of a grid of cells, row by row, (rows · columns, 4)."""
        at = np.indices((rows, columns)).reshape(2, -1).T
        middle = (at + 0.5) * self.cell
        return np.hstack([middle - self.anchor / 2, middle + self.anchor / 2])

    def targets(self, labels: ArrayLike, boxes: ArrayLike, side: int) -> tuple:
        """Return what the cost wants of square images with these boxes.

        Parameters
        ----------
        labels : array_like of int, shape (n, m)
            Classes, −1 where there is no box.
        boxes : array_like, shape (n, m, 4)
            Corners y0, x0, y1, x1, with their middles inside the image.
        side : int
            Rows and columns of the images, a multiple of `cell`.

        Returns
        -------
        occupied : ndarray, shape (n, g, g)
            1 for a cell with the middle of a box, or near to it, else 0. Of two boxes in one cell
            the nearer counts; of two with their middles in it, the later.
        classes : ndarray of int, shape (n, g, g)
            0 where there is no box.
        codes : ndarray, shape (n, 4, g, g)
            Divided by `spread`; zero where there is no box.
        """
        axes = shapes.Axes()
        boxes = axes.floats("boxes", boxes, "n m b", empty=True)
        labels = axes.labels("labels + 1", np.asarray(labels) + 1, "n m", self.classes + 1) - 1
        G, rest = divmod(shapes.count("side", side), self.cell)
        if rest or not G:
            raise ValueError(f"side is {side}, expected a multiple of the cell, {self.cell}")
        if axes["b"] != 4:
            raise ValueError(f"boxes has {axes['b']} numbers each, expected y0, x0, y1, x1")
        occupied = np.zeros((len(boxes), G, G))
        classes, codes = np.zeros(occupied.shape, np.int64), np.zeros((*occupied.shape, 4))
        n, m = np.nonzero(labels >= 0)
        own = boxes[n, m].astype(float)
        if len(own) and (own[:, 2:] <= own[:, :2]).any():
            raise ValueError("a box has no rows or no columns, and its ratio to the anchor is 0")
        at = ((own[:, :2] + own[:, 2:]) / 2 // self.cell).astype(int).T
        if len(own) and (at.min() < 0 or at.max() >= G):
            raise ValueError(f"the middle of a box lies outside the image of {side} pixels")
        steps = sorted(product(range(-self.near, self.near + 1), repeat=2), key=_far, reverse=True)
        for down, right in steps:
            i, j = at[0] + down, at[1] + right
            inside = (i >= 0) & (i < G) & (j >= 0) & (j < G)
            cells = n[inside], i[inside], j[inside]
            occupied[cells], classes[cells] = 1, labels[n, m][inside]
            anchors = self.anchors(G, G)[cells[1] * G + cells[2]]
            codes[cells] = encode_boxes(own[inside], anchors) / self.spread
        return occupied, classes, codes.transpose(0, 3, 1, 2).copy()

    def check(self, axes, y, s, dtype):
        rows, columns, numbers = features(self, s, 3)
        if numbers != self.numbers:
            raise ValueError(
                f"the network gives {numbers} numbers for a cell, expected {self.numbers}: "
                f"1 + {self.classes} classes + 4"
            )
        if not isinstance(y, tuple) or len(y) != 3:
            raise TypeError(f"y is {shapes.shown(y)}, expected (occupied, classes, codes)")
        for axis, n in zip(AXES[1:3], (rows, columns), strict=True):
            axes.sizes[axis] = (n, "what the network gives")
        occupied = axes.floats("occupied", y[0], "n a b")
        if not np.isin(occupied, (0, 1)).all():
            raise ValueError("occupied holds other numbers than 0 and 1")
        classes = axes.labels("classes", y[1], "n a b", self.classes)
        axes.sizes["c"] = (4, "a box has four numbers")
        codes = axes.floats("codes", y[2], "n c a b").transpose(0, 2, 3, 1)
        return occupied.astype(dtype), classes, np.ascontiguousarray(codes, dtype)

    def into(self, z, y):
        (occupied, classes, codes), N = y, len(z)
        here, K = occupied > 0, self.classes + 1
        there = z[..., 0].copy().reshape(N, -1)
        loss = bernoulli_into(there, occupied.reshape(N, -1))
        scores, apart = z[here][:, 1:K].copy(), z[here][:, K:] - codes[here]
        loss += cross_entropy_rows(scores, classes[here], 1 / N)
        loss += self.weight / N * float(smooth_l1(apart).sum())
        z[...] = 0
        z[..., 0] = there.reshape(here.shape)
        z[here, 1:K], z[here, K:] = scores, self.weight / N * smooth_l1_slope(apart)
        return loss

    def predict(self, z):
        z = z.astype(np.float64)
        anchors, K = self.anchors(*z.shape[1:3]), self.classes + 1
        found = []
        for image in z.reshape(len(z), -1, self.numbers):
            scores = np.empty(len(image))
            elementary.sigmoid(image[:, 0].copy(), scores)
            at = scores >= self.least
            codes = image[at, K:] * self.spread
            codes[:, 2:] = codes[:, 2:].clip(-LARGEST, LARGEST)
            boxes, scores = decode_boxes(codes, anchors[at]), scores[at]
            odds = np.exp(image[at, 1:K] - image[at, 1:K].max(axis=1, keepdims=True))
            kept = nms(boxes, scores, self.overlap)
            odds = odds[kept]
            sure = odds.max(axis=1) / odds.sum(axis=1)
            labels = odds.argmax(axis=1)
            found.append(Found(boxes[kept], scores[kept], labels, scores[kept] * sure))
        return found


def detector(
    cost: Detection | None = None,
    *,
    side: int = 24,
    channels: tuple[int, int, int, int] = (16, 32, 48, 48),
    dtype: str = "float32",
) -> Network:
    """Return a network that finds boxes: two poolings make cells of 4 × 4 pixels.

    Parameters
    ----------
    cost : Detection, optional
        With cells of four pixels; `Detection()` where not given.
    side : int
        Rows and columns of the square images, a multiple of four.
    channels : (int, int, int, int)
        Filters of 3 × 3, each layer followed by batch normalization and a rectifier, the first two
        by 2 × 2 pooling.
    dtype : {"float32", "float64"}
        Of parameters and data.
    """
    cost = Detection() if cost is None else cost
    if cost.cell != 4 or shapes.count("side", side) % 4:
        raise ValueError(f"side is {side} and cell {cost.cell}, expected a multiple of 4, and 4")
    net = []
    for depth, filters in enumerate(channels):
        net += [Conv2d(filters, 3, padding=1, bias=False), BatchNorm(), Activation("relu")]
        net += [MaxPool2d(2)] if depth < 2 else []
    head = Conv2d(cost.numbers, 1, initial="small")
    return Network((1, side, side), Sequential(*net, head), cost, dtype=dtype)


def box_ap(found: Sequence[Found], labels: ArrayLike, boxes: ArrayLike, threshold=0.5) -> float:
    """Return the average precision of boxes, ignoring classes.

    Parameters
    ----------
    found : sequence of Found
        One for each image.
    labels, boxes : array_like, shapes (n, m) and (n, m, 4)
        What is there; labels are −1 where there is no box.
    threshold : float
        IoU from which a box is right.

    Raises
    ------
    TypeError, ValueError
        If labels are not whole numbers, boxes not numbers, or there are not as many as were found.
    """
    labels, boxes = _truth(found, labels, boxes)
    truth = [box[label >= 0] for label, box in zip(labels, boxes, strict=True)]
    return detection_ap([f.boxes for f in found], [f.scores for f in found], truth, threshold)


def named_ap(found: Sequence[Found], labels: ArrayLike, boxes: ArrayLike, threshold=0.5) -> float:
    """Return the mean, over the classes that occur, of the average precision of each class.

    A box counts for the class that is most probable in it, and is ranked by the product of its
    score and of the probability of that class.

    Parameters
    ----------
    found, labels, boxes, threshold
        As of `box_ap`. A class that does not occur is left out, and the boxes of that class.

    Raises
    ------
    TypeError, ValueError
        As of `box_ap`, and where no class occurs.
    """
    labels, boxes = _truth(found, labels, boxes)
    each, occurring = [], np.unique(labels[labels >= 0])
    if not len(occurring):
        raise ValueError("labels are all −1: no class occurs that could be found")
    for k in occurring:
        mine = [f.labels == k for f in found]
        truth = [box[label == k] for label, box in zip(labels, boxes, strict=True)]
        boxes_k = [f.boxes[m] for f, m in zip(found, mine, strict=True)]
        scores = [f.named[m] for f, m in zip(found, mine, strict=True)]
        each.append(detection_ap(boxes_k, scores, truth, threshold))
    return float(np.mean(each))


def _truth(found, labels, boxes):
    """Return checked labels and boxes of as many images as something was found in."""
    axes = shapes.Axes(n=len(found), c=4)
    labels = axes.labels("labels", labels, "n m", least=-1)
    return labels, axes.floats("boxes", boxes, "n m c", finite=False)
