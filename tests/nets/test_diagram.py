"""Block diagrams: what is drawn stands clear, says its words within its box, and hangs together."""

import itertools

import numpy as np
import pytest
from matplotlib.patches import Circle, FancyBboxPatch
from matplotlib.text import Annotation

from dlbook.nets import published
from dlbook.nets.containers import Parallel, Residual, Sequential
from dlbook.nets.conv import Conv2d
from dlbook.nets.diagram import diagram, told
from dlbook.nets.layers import Activation, Dense
from dlbook.nets.norms import BatchNorm

RELU = Activation("relu")
NEAR = 1e-6  # inches
PLAIN = Residual(Conv2d(4, 3, padding=1), BatchNorm(), RELU, Conv2d(4, 3, padding=1))
AROUND = Residual(Conv2d(4, 3, 2, 1), BatchNorm(), Conv2d(4, 3, padding=1), skip=Conv2d(4, 1, 2))
HEADS = Parallel(Sequential(Dense(3), RELU, Dense(2)), Dense(5), join="tuple")
DRAWN = {
    "a chain": {"layers": [Sequential(Dense(5), RELU, Dense(4))]},
    "one layer": {"layers": [RELU], "example": (3, 4, 4)},
    "a sum": {"layers": [Sequential(PLAIN, RELU, PLAIN)], "example": (4, 8, 8)},
    "a way around": {"layers": [Sequential(Conv2d(4, 1), AROUND, RELU)], "example": (3, 8, 8)},
    "a sum in a sum": {"layers": [Residual(PLAIN, skip=Sequential(Conv2d(4, 1), PLAIN))]},
    "branches": {"layers": [published.googlenet().net.layers[1]], "example": (192, 28, 28)},
    "branches in branches": {"layers": [published.inception_v3().net.layers[5].layers[0]]},
    "branches of sums": {"layers": [Parallel(PLAIN, Sequential(AROUND), HEADS)]},
    "long words": {
        "layers": [Sequential(Conv2d(1024, (1, 7), (1, 2), dilation=2), BatchNorm(), RELU)]
    },
    "two side by side": {"layers": [Sequential(PLAIN, RELU), HEADS], "titles": ("sum", "heads")},
}


class Drawn:
    """What is on the axes, in inches: shapes, texts, and strokes, those of arrows from start to tip."""

    def __init__(self, fig, ax):
        fig.set_dpi(720)  # so that letters are not moved to whole pixels
        fig.draw_without_rendering()
        back = ax.transData.inverted()
        paths = [(p, p.get_path().transformed(p.get_patch_transform())) for p in ax.patches]
        self.boxes = [q.get_extents() for p, q in paths if isinstance(p, FancyBboxPatch)]
        self.circles = [(np.array(p.center), p.radius) for p, _ in paths if isinstance(p, Circle)]
        written = [t for t in ax.texts if t.get_text()]
        self.texts = [(t.get_text(), t.get_window_extent().transformed(back)) for t in written]
        arrows = [t for t in ax.texts if isinstance(t, Annotation)]
        self.arrows = [(np.array(t.xyann), np.array(t.xy)) for t in arrows]
        lines = [line.get_xydata() for line in ax.lines]
        self.lines = [pair for points in lines for pair in itertools.pairwise(points)]
        self.width, self.height = ax.get_xlim()[1], ax.get_ylim()[1]

    @property
    def strokes(self):
        return self.lines + self.arrows

    def on_edge(self, place):
        """Return which shape has a place on its edge, or None."""
        for n, box in enumerate(self.boxes):
            level = min(abs(place[1] - box.y0), abs(place[1] - box.y1)) < NEAR
            if level and box.x0 - NEAR < place[0] < box.x1 + NEAR:
                return n
        for n, (middle, radius) in enumerate(self.circles):
            if abs(np.linalg.norm(place - middle) - radius) < NEAR:
                return len(self.boxes) + n
        return None


@pytest.fixture(params=DRAWN)
def drawn(request):
    given = dict(DRAWN[request.param])
    return Drawn(*diagram(*given.pop("layers"), **given))


def on(place, stroke):
    """Return whether a place is on a stroke."""
    a, b = stroke
    along = b - a
    share = np.clip((place - a) @ along / max(along @ along, NEAR), 0, 1)
    return np.linalg.norm(a + share * along - place) < NEAR


def crosses(stroke, box, least=0.01):
    """Return whether an upright or level stroke goes through the inside of a box."""
    (left, right), (low, high) = np.sort(np.transpose(stroke))
    x0, x1, y0, y1 = box.x0 + least, box.x1 - least, box.y0 + least, box.y1 - least
    return left < x1 and right > x0 and low < y1 and high > y0


def test_all_is_on_the_paper(drawn):
    places = [place for stroke in drawn.strokes for place in stroke]
    places += [corner for box in drawn.boxes for corner in (box.p0, box.p1)]
    places += [corner for _, box in drawn.texts for corner in (box.p0, box.p1)]
    places += [middle + sign * radius for middle, radius in drawn.circles for sign in (-1, 1)]
    low, high = np.min(places, axis=0), np.max(places, axis=0)
    assert (low > 0).all() and high[0] < drawn.width and high[1] < drawn.height
    assert min(low[0], drawn.width - high[0]) < 0.9 and low[1] < 0.3  # nor is there much more


def test_nothing_covers_anything(drawn):
    round_ = [(m - r, m + r) for m, r in drawn.circles]
    corners = [(box.p0, box.p1) for box in drawn.boxes] + round_
    for (a, b), (c, d) in itertools.combinations(corners, 2):
        assert (b < c + NEAR).any() or (d < a + NEAR).any()
    for stroke, box in itertools.product(drawn.strokes, drawn.boxes):
        assert not crosses(stroke, box)
    for (_, a), (_, b) in itertools.combinations(drawn.texts, 2):
        assert not a.overlaps(b)


def test_words_stand_in_boxes_or_beside_arrows(drawn):
    held = []
    for text, box in drawn.texts:
        inside = [
            n for n, b in enumerate(drawn.boxes) if b.contains(*box.p0) and b.contains(*box.p1)
        ]
        if text == "+":
            assert any(np.linalg.norm((box.p0 + box.p1) / 2 - m) < 0.03 for m, _ in drawn.circles)
        elif inside:
            held += inside
        else:  # at an end, or a title
            assert not any(box.overlaps(b) for b in drawn.boxes), text
            assert not any(crosses(stroke, box) for stroke in drawn.strokes), text
            assert "×" in text or text in ("sum", "heads")
    assert {*held} == {*range(len(drawn.boxes))}


def test_strokes_lead_from_the_top_to_the_bottom(drawn):
    """Each tip is at a shape or at the end, each beginning at a shape, on a stroke or at the top."""
    tops, ends = [], []
    for n, (start, stop) in enumerate(drawn.strokes):
        others = [s for m, s in enumerate(drawn.strokes) if m != n]
        if drawn.on_edge(start) is None and not any(on(start, s) for s in others):
            tops.append(start)
        if drawn.on_edge(stop) is None and not any(on(stop, s) for s in others):
            ends.append(stop)
    columns = len(ends)
    assert columns == len(tops) and columns in (1, 2)
    assert np.allclose(np.sort([t[0] for t in tops]), np.sort([e[0] for e in ends]))
    assert min(t[1] for t in tops) > max(box.y1 for box in drawn.boxes)
    for box in drawn.boxes:  # something comes in above, and goes out below
        tips = [tip for _, tip in drawn.strokes]
        assert any(box.x0 < t[0] < box.x1 and abs(t[1] - box.y1) < NEAR for t in tips)
        begins = [start for start, _ in drawn.strokes]
        assert any(box.x0 < b[0] < box.x1 and abs(b[1] - box.y0) < NEAR for b in begins)
    for middle, radius in drawn.circles:
        tips = [tip for _, tip in drawn.arrows if abs(np.linalg.norm(tip - middle) - radius) < NEAR]
        assert len(tips) == 2


def test_what_is_told_of_it():
    assert told(Sequential(Dense(5), RELU)) == "dense 5, then ReLU"
    assert told(Residual(Dense(5))) == "[dense 5] added to what came in"
    words = "[conv 3×3, 4 /2, then batch norm, then conv 3×3, 4] added to [conv 1×1, 4 /2] of what came in"
    assert told(AROUND) == words
    assert told(HEADS) == "side by side [dense 3, then ReLU, then dense 2]; [dense 5]"
