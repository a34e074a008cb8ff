"""Shapes, data, figures and timing: what they accept, what they refuse and what they say."""

import base64
import hashlib
import io
import json
import os
import re
import subprocess
import sys
import threading
from unittest import mock

import matplotlib.pyplot as plt
import numba
import numpy as np
import pytest
from compiled import compiled_only

from dlbook.tools import data, drawing, listing, plotting, shapes, timing
from dlbook.tools.threads import by_threads, in_threads


@pytest.mark.parametrize(
    ("x", "error", "words"),
    [
        ([1.0, 2.0], ValueError, r"X has shape \(2,\), expected \(n, p\)"),
        (np.zeros((2, 3, 4)), ValueError, r"expected \(n, p\)"),
        (np.zeros((0, 3)), ValueError, "X is empty"),
        (np.zeros((3, 0)), ValueError, "X is empty"),
        ([[1.0, np.nan]], ValueError, r"X holds nan at index \(0, 1\)"),
        ([[1.0, -np.inf]], ValueError, "X holds -inf"),
        ([["a"]], TypeError, "X has dtype <U1"),
        ([[1j]], TypeError, "X has dtype complex128"),
        (np.zeros((1, 1), np.float16), TypeError, "float16"),
        ([[None]], TypeError, "object"),
        ([[1.0], [1.0, 2.0]], ValueError, "different lengths"),
        (np.ma.zeros((2, 2)), TypeError, "X is a masked array"),
        ([np.ma.zeros(2)], TypeError, "X is a masked array"),
    ],
)
def test_floats_are_checked(x, error, words):
    with pytest.raises(error, match=words):
        shapes.Axes().floats("X", x, "n p")


def test_axes_are_shared_between_arrays():
    axes = shapes.Axes()
    axes.floats("X", np.zeros((4, 3)), "n p")
    assert (axes["n"], axes["p"]) == (4, 3)
    with pytest.raises(ValueError, match=r"y has shape \(5,\), expected \(n,\) with n = 4 as in X"):
        axes.floats("y", np.zeros(5), "n")


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        (np.float32, np.float32),
        (np.float64, np.float64),
        (np.int64, np.float64),
        (bool, np.float64),
    ],
)
def test_dtypes(given, wanted):
    assert shapes.Axes().floats("x", np.ones(3, given), "n").dtype == wanted


def test_strided_input_becomes_contiguous_and_contiguous_input_stays():
    wide = np.zeros((4, 6))
    assert shapes.Axes().floats("x", wide[:, ::2], "n p").flags.c_contiguous
    assert shapes.Axes().floats("x", wide, "n p") is wide


@pytest.mark.parametrize(
    ("y", "error", "words"),
    [
        ([0, 1, 3], ValueError, r"label 3 at index \(2,\), expected 0 … 2"),
        ([0, -1], ValueError, "label -1"),
        ([0.0, 1.0], TypeError, r"use y.astype\(int\)"),
        ([0.5, 1.0], TypeError, "labels are integers"),
        ([np.nan], TypeError, "labels are integers"),
        ([True, False], TypeError, "bool"),
        ([], TypeError, "labels are integers"),
        (np.array([], int), ValueError, "y is empty"),
        ([[0]], ValueError, r"expected \(n,\)"),
        (np.array([2**64 - 1], np.uint64), ValueError, "label 18446744073709551615"),
    ],
)
def test_labels_are_checked(y, error, words):
    with pytest.raises(error, match=words):
        shapes.Axes().labels("y", y, "n", 3)


def test_labels_beyond_64_bits_are_refused():
    with pytest.raises(ValueError, match="label 9223372036854775808"):
        shapes.Axes().labels("y", np.full(2, 2**63, np.uint64), "n")


def test_labels_from_a_set():
    np.testing.assert_array_equal(shapes.Axes().labels("y", [1, -1], "n", values=(-1, 1)), [1, -1])
    with pytest.raises(ValueError, match=r"label 0 .* one of \(-1, 1\)"):
        shapes.Axes().labels("y", [1, 0], "n", values=(-1, 1))


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (
            lambda: shapes.number("rate", 0, above=0),
            ValueError,
            "rate is 0, expected a finite number > 0",
        ),
        (lambda: shapes.number("rate", np.nan, above=0), ValueError, "rate is nan"),
        (lambda: shapes.number("rate", np.inf), ValueError, "finite"),
        (lambda: shapes.number("p", 1, least=0, below=1), ValueError, "≥ 0 and < 1"),
        (lambda: shapes.number("rate", "1"), TypeError, "expected a number"),
        (lambda: shapes.number("rate", 10**400), ValueError, "finite number"),
        (lambda: shapes.number("rate", np.ones(3)), TypeError, r"an array of shape \(3,\)"),
        (
            lambda: shapes.number("rate", 1, above=1.5),
            ValueError,
            "rate is 1, expected a finite number > 1.5",
        ),
        (lambda: shapes.choice("cost", np.ones(2), ("a",)), ValueError, "an array of shape"),
        (lambda: shapes.number("rate", True), TypeError, "expected a number"),
        (lambda: shapes.number("rate", None), TypeError, "expected a number"),
        (lambda: shapes.count("steps", 2.0), TypeError, "expected a whole number"),
        (lambda: shapes.count("steps", True), TypeError, "expected a whole number"),
        (lambda: shapes.count("steps", 0), ValueError, "from 1"),
        (lambda: shapes.count("steps", 2**63), ValueError, "from 1 to 2147483647"),
        (lambda: shapes.choice("cost", "mse", ("quadratic",)), ValueError, "'quadratic'"),
        (lambda: shapes.generator("rng", 3), TypeError, "default_rng"),
        (lambda: shapes.generator("rng", np.random.RandomState(0)), TypeError, "default_rng"),
    ],
)
def test_values_are_checked(call, error, words):
    with pytest.raises(error, match=words):
        call()


def test_values_that_are_fine():
    assert shapes.number("rate", np.float32(0.5), above=0) == 0.5
    assert shapes.number("rate", 2, above=0.5) == 2.0
    assert shapes.count("steps", np.int32(7)) == 7
    assert shapes.choice("a", "b", ("b", "c")) == "b"


SPLITS = {
    "digits": lambda: data.digits(),
    "digits in float32": lambda: data.digits(np.float32),
    "breast_cancer": lambda: data.breast_cancer()[0],
}
LOADERS = SPLITS | {
    name: getattr(data, name)
    for name in ("breast_cancer", "diabetes", "names", "photographs", "pydocs", "source", "tunes")
}


@pytest.mark.parametrize("split", SPLITS.values(), ids=SPLITS)
def test_splits_are_stratified_and_hold_out_what_was_not_seen(split):
    split = split()
    parts = [
        (split.x_train, split.y_train),
        (split.x_val, split.y_val),
        (split.x_test, split.y_test),
    ]
    n, classes = sum(len(y) for _, y in parts), np.unique(split.y_train)
    for (x, y), share in zip(parts, (0.7, 0.1, 0.2), strict=True):
        assert len(x) == len(y)
        for k in classes:
            whole = sum(np.count_nonzero(other == k) for _, other in parts)
            assert abs(np.count_nonzero(y == k) - share * whole) <= 1
    rows = [row.tobytes() for x, _ in parts for row in x]
    assert len(rows) == n and len({*rows}) == sum(
        len({row.tobytes() for row in x}) for x, _ in parts
    )


def test_digits_have_pixels_from_0_to_1():
    split = data.digits()
    assert sum(map(len, (split.y_train, split.y_val, split.y_test))) == 1797
    assert split.x_train.shape[1] == 64
    assert (split.x_train.min(), split.x_train.max()) == (0, 1)
    assert data.digits(np.float32).x_test.dtype == data.digits("float32").x_test.dtype == np.float32


def parts_of(found):
    """Yield the arrays, dicts and plain values of a data set, in order."""
    if isinstance(found, dict):
        yield found
        found = [part for item in found.items() for part in item]
    if isinstance(found, (tuple, list)):
        for part in found:
            yield from parts_of(part)
    else:
        yield found


def digest(found):
    """Return what tells a data set from any other: shapes, dtypes and numbers, or text."""
    facts = [
        (x.shape, x.dtype.str, x.tobytes()) if isinstance(x, np.ndarray) else x
        for x in parts_of(found)
    ]
    return hashlib.sha256(repr(facts).encode()).hexdigest()


@pytest.mark.parametrize("loader", LOADERS.values(), ids=LOADERS)
def test_data_handed_out_are_the_readers_own(loader):
    """Whatever one caller does to them, the next one gets what the first one got."""
    found, before = loader(), digest(loader())
    for part in list(parts_of(found)):
        if isinstance(part, np.ndarray):
            assert part.dtype.isnative and part.flags.writeable and part.flags.c_contiguous
            part[...] = 7
        elif isinstance(part, dict):
            part.clear()
    assert digest(loader()) == before


def test_data_are_the_same_in_every_process():
    """Whatever order sets have there."""
    code = "from test_tools import *; print({name: digest(f()) for name, f in LOADERS.items()})"
    here = str({name: digest(loader()) for name, loader in LOADERS.items()})
    env = os.environ | {"PYTHONHASHSEED": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    there = subprocess.run(
        [sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True
    )
    assert there.stdout.strip() == here


def test_tables():
    table = data.diabetes()
    assert (table.x.shape, table.y.shape, len(table.names)) == ((442, 10), (442,), 10)
    assert table.x[:, 0].min() > 15  # years, not standardised
    split, names = data.breast_cancer()
    assert split.x_train.shape[1] == len(names) == 30
    assert set(split.y_test) == {0, 1}


def test_photographs():
    images = data.photographs()
    assert set(images) == set(data.CREDITS) == {"china", "flower"}
    assert all(
        image.shape == (427, 640, 3) and image.dtype == np.uint8 for image in images.values()
    )


def test_help_texts_hold_no_paragraph_twice():
    paragraphs = data.pydocs().strip().split("\n\n")
    assert len(paragraphs) == len(set(paragraphs)) > 1000


def test_source_is_labelled_by_character():
    for file in data.source(files=5):
        assert len(file.text) == len(file.kinds)
        comments = re.findall(r"^#[^\n]*", file.text, re.M)
        at = file.text.find("\nimport ")
        if at >= 0:
            kinds = file.kinds[at + 1 : at + 7]
            inside = data.KINDS.index("string")
            assert set(kinds) <= {data.KINDS.index("keyword"), inside}
        if comments:
            assert data.KINDS.index("comment") in file.kinds
    with pytest.raises(data.DataError, match="modules found"):
        data.source(files=10_000)


def test_lines_are_counted_as_the_tokenizer_counts_them():
    """A form feed, which some modules have between their parts, begins no line."""
    text = "x = 1\n\x0c\ndef f(): pass  # two\x1cwords\ny = 'a'\n"
    kinds = data._kinds(text)
    for word, kind in (
        ("x", "name"),
        ("1", "number"),
        ("def", "keyword"),
        ("# two\x1cwords", "comment"),
        ("y", "name"),
        ("'a'", "string"),
    ):
        at = re.search(rf"(?<!\w){re.escape(word)}(?!\w)", text).start()
        assert set(kinds[at : at + len(word)]) == {data.KINDS.index(kind)}


def test_names_look_like_what_they_are():
    names = data.names()
    assert set(names) == {"function", "class", "constant"}
    assert min(map(len, names.values())) > 100
    for kind, some in names.items():
        assert list(some) == sorted(set(some)) and all(map(str.isidentifier, some))
        assert all(word[0].islower() == (kind == "function") for word in some)
        assert all((word == word.upper()) == (kind == "constant") for word in some)


def test_tunes_say_what_they_are():
    tunes = data.tunes()
    assert len(tunes) == len({tune.name for tune in tunes}) >= 12
    assert all(tune.about and tune.notes and tune.eighths in (6, 8) for tune in tunes)


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(data.DataError, match="pip install scikit-learn"):
        data.photographs()
    monkeypatch.setitem(sys.modules, "pydoc_data.topics", None)
    data.pydocs.cache_clear()
    with pytest.raises(data.DataError, match="pydoc_data"):
        data.pydocs()
    data.pydocs.cache_clear()


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: data.stratified_split([0, 1], (0.5, 0.6)), ValueError, "add up to 1.1"),
        (lambda: data.stratified_split([0.5, 1], (1.0,)), TypeError, "labels are integers"),
        (lambda: data.stratified_split(np.array([], int), (1.0,)), ValueError, "empty"),
        (lambda: data.stratified_split([0, 1], (1.5, -0.5)), ValueError, "a fraction is 1.5"),
        (
            lambda: data.stratified_split([0, 1], 0.5),
            TypeError,
            "fractions is 0.5, expected one for",
        ),
        (lambda: data.stratified_split([0, 1], "10"), TypeError, "a fraction is '1'"),
        (lambda: data.stratified_split([0, 1], ()), ValueError, "add up to 0"),
        (lambda: data.stratified_split([0, 1], (np.nan, 1.0)), ValueError, "a fraction is nan"),
        (
            lambda: data.stratified_split([0, 0, 0], (0.9, 0.1)),
            ValueError,
            "without examples: y has 3",
        ),
        (lambda: data.stratified_split([0, -1], (0.5, 0.5)), ValueError, "label -1"),
        (lambda: data.stratified_split([0, 0], (0.5, 0.5), None), TypeError, "seed is None"),
        (lambda: data.stratified_split([0, 0], (0.5, 0.5), -1), ValueError, "seed is -1"),
        (lambda: data.stratified_split([0, 0], (0.5, 0.5), 1.0), TypeError, "seed is 1.0"),
        (
            lambda: data.stratified_split([0, 0], (0.5, 0.5), np.random.default_rng(1)),
            TypeError,
            "seed is Generator",
        ),
        (
            lambda: data.digits(int),
            TypeError,
            "dtype is <class 'int'>, expected float64 or float32",
        ),
        (lambda: data.digits(np.float16), TypeError, "dtype is <class 'numpy.float16'>"),
        (lambda: data.digits(None), TypeError, "dtype is None"),
        (lambda: data.digits(">f8"), TypeError, "dtype is '>f8'"),
        (lambda: data.digits("nonsense"), TypeError, "dtype is 'nonsense'"),
        (lambda: data.digits(np.zeros(3)), TypeError, r"dtype is an array of shape \(3,\)"),
        (lambda: data.source(files=0), ValueError, "files is 0"),
        (lambda: data.source(files=True), TypeError, "files is True"),
        (lambda: data.source(files=[1]), TypeError, r"files is \[1\], expected a whole number"),
        (lambda: data.source(files=40.0), TypeError, "files is 40.0"),
        (lambda: data.source(max_length=999), ValueError, "max_length is 999"),
    ],
)
def test_data_checks_its_arguments(call, error, words):
    with pytest.raises(error, match=words):
        call()


def test_split_uses_each_example_once(rng):
    y = rng.integers(0, 3, 100)
    parts = data.stratified_split(y, (0.6, 0.4))
    np.testing.assert_array_equal(np.sort(np.concatenate(parts)), np.arange(100))


def a_figure():
    fig, ax = plotting.figure()
    ax.plot([0, 1], [0, 1])
    return fig


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"alt": "", "caption": "c"}, "alternative text"),
        ({"alt": "   ", "caption": "c"}, "alternative text"),
        ({"alt": None, "caption": "c"}, "alternative text"),
        ({"alt": "a", "caption": ""}, "caption"),
    ],
)
def test_a_figure_needs_words(options, words):
    with pytest.raises(ValueError, match=words):
        plotting.show(a_figure(), **options)


@pytest.fixture
def board():
    return drawing.canvas()[1]


def texts(ax):
    return {text.get_text(): text.get_position() for text in ax.texts if text.get_text()}


def test_the_unit_of_a_drawing_is_the_inch(board):
    assert board.get_xlim() == (0, 6.2) and board.get_ylim() == (0, 2.0)
    assert tuple(board.figure.get_size_inches()) == (6.2, 2.0)


def test_a_text_stands_beside_what_is_seen_of_an_arrow(board):
    large = drawing.box(board, 1.0, 1.0, width=1.6)
    small = drawing.circle(board, 4.0, 1.0, radius=0.2)
    drawing.arrow(board, large, small, "a")
    x, y = texts(board)["a"]
    assert x == pytest.approx((1.8 + 3.8) / 2, abs=0.02) and y == pytest.approx(1.13)


def test_the_side_of_a_text_is_seen_along_the_arrow(board):
    drawing.arrow(board, (1, 1), (1, 2), "left")
    drawing.arrow(board, (1, 1), (1, 2), "right", side=-1)
    assert texts(board)["left"][0] < 1 < texts(board)["right"][0]


def test_an_arrow_bows_to_its_right(board):
    drawing.arrow(board, (1, 1), (3, 1), "on", bend=0.4, side=0)
    assert texts(board)["on"] == pytest.approx((2, 1 - 0.4))


def test_cells_stand_as_the_array_does(board):
    drawing.cells(board, 1, 2, [[1, -2], [np.nan, 4]], size=0.5)
    found = texts(board)
    assert list(found) == ["1", "−2", "4"]
    assert found["−2"] == pytest.approx((1.75, 1.75)) and found["4"] == pytest.approx((1.75, 1.25))


def test_marked_cells_are_tinted(board):
    drawing.cells(board, 1, 2, [["a", "b"]], marked=[[False, True]], color=1)
    assert [patch.get_facecolor()[3] for patch in board.patches[:2]] == [0, drawing.TINT]


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda ax: drawing.canvas(0), ValueError, "width is 0"),
        (lambda ax: drawing.circle(ax, 1, 1, radius=0), ValueError, "radius is 0"),
        (lambda ax: drawing.circle(ax, 1, 1, color=4), ValueError, "color is 4"),
        (lambda ax: drawing.box(ax, 1, 1, width=-1), ValueError, "width is -1"),
        (lambda ax: drawing.box(ax, 1, 1, height="a"), TypeError, "height is 'a'"),
        (lambda ax: drawing.arrow(ax, (0, 0), (1, 1), side=2), ValueError, "side is 2"),
        (lambda ax: drawing.cells(ax, 0, 1, [1, 2]), ValueError, r"values has shape \(2,\)"),
        (
            lambda ax: drawing.cells(ax, 0, 1, [[1, 2]], marked=[True]),
            ValueError,
            r"marked has shape \(1,\), expected \(1, 2\)",
        ),
    ],
)
def test_a_drawing_refuses_what_it_cannot_draw(board, call, error, words):
    before = len(board.patches) + len(board.texts)
    with pytest.raises(error, match=words):
        call(board)
    assert len(board.patches) + len(board.texts) == before


def test_text_is_ink():
    """Series have a contrast of 3 : 1 only, enough for marks."""
    for color in plotting.SERIES:
        fig = a_figure()
        fig.axes[0].text(0, 0, "slope 2", color=color)
        with pytest.raises(ValueError, match="the text 'slope 2' has the colour of a series"):
            plotting.show(fig, alt="a", caption="c")


FRAMES = [("1", None, "alt")]


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: plotting.figure(0), ValueError, "width is 0"),
        (lambda: plotting.figure(np.nan), ValueError, "width is nan"),
        (lambda: plotting.figure(6.2, -1), ValueError, "height is -1"),
        (lambda: plotting.figure(6.2, 1e6), ValueError, "height is 1000000.0, .* ≤ 100"),
        (lambda: plotting.figure("6"), TypeError, "width is '6'"),
        (lambda: plotting.figure(rows=0), ValueError, "rows is 0"),
        (lambda: plotting.figure(rows=10**9), ValueError, "rows is 1000000000"),
        (lambda: plotting.figure(columns=2.0), TypeError, "columns is 2.0"),
        (lambda: plotting.image_grid(np.zeros((2, 3, 3)), 0), ValueError, "columns is 0"),
        (lambda: plotting.image_grid(np.zeros((2, 3, 3)), 2, size=0), ValueError, "size is 0"),
        (
            lambda: plotting.image_grid(np.zeros((2, 3)), 2),
            ValueError,
            r"images has shape \(2, 3\)",
        ),
        (lambda: plotting.image_grid(np.zeros((0, 3, 3)), 2), ValueError, r"shape \(0, 3, 3\)"),
        (
            lambda: plotting.image_grid(np.zeros((1, 3, 3, 2)), 2),
            ValueError,
            r"shape \(1, 3, 3, 2\)",
        ),
        (lambda: plotting.image_grid([["a"]], 2), TypeError, "images has dtype <U1"),
        (lambda: plotting.image_grid(np.zeros((1, 3, 3), complex), 2), TypeError, "complex128"),
        (
            lambda: plotting.image_grid(np.zeros((2, 3, 3)), 2, ["a"]),
            ValueError,
            "titles has 1 lines",
        ),
        (lambda: plotting.show(3, alt="a", caption="c"), TypeError, "3 is not a figure"),
        (
            lambda: plotting.slider(FRAMES, variable="v", caption="c"),
            TypeError,
            "None is not a fig",
        ),
        (lambda: plotting.slider([], variable="v", caption="c"), ValueError, "frames is empty"),
        (lambda: plotting.slider([3], variable="v", caption="c"), TypeError, r"frames\[0\] is 3"),
    ],
)
def test_figures_check_their_arguments_before_one_is_opened(call, error, words):
    before = plotting.plt.get_fignums()
    with pytest.raises(error, match=words):
        call()
    assert plotting.plt.get_fignums() == before


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"start": 1.0}, TypeError, "start is 1.0, expected a whole number"),
        ({"start": -1}, ValueError, "start is -1"),
        ({"start": 2}, ValueError, "start is 2, expected a whole number from 0 to 1"),
        ({"caption": None}, ValueError, "needs its caption"),
        ({"variable": " "}, ValueError, "needs its variable"),
        ({"name": 'fig-"x'}, ValueError, "name is 'fig-\"x', expected letters"),
        ({"name": r"\g<9>"}, ValueError, "name is"),
        ({"name": 3}, ValueError, "name is 3"),
    ],
)
def test_a_slider_that_is_refused_leaves_its_figures_open(options, error, words):
    figures = [plotting.plt.figure(), plotting.plt.figure()]  # a reader's own
    frames = [("1", figures[0], "alt"), ("2", figures[1], "alt")]
    with pytest.raises(error, match=words):
        plotting.slider(frames, **{"variable": "v", "caption": "c", **options})
    assert all(plotting.plt.fignum_exists(fig.number) for fig in figures)
    for fig in figures:
        plotting.plt.close(fig)


def test_a_figure_is_shown_when_it_is_finished(capsys):
    """Jupyter draws what is open at the end of a cell; a figure may take two cells to make."""
    before = plotting.plt.get_fignums()
    fig, ax = plotting.figure()
    assert plotting.plt.get_fignums() == before
    ax.plot([0, 1], [0, 1])
    plotting.show(fig, alt="a line", caption="A line.")
    assert "a line" in capsys.readouterr().out


def handed(**values):
    """Return what IPython is asked to display."""
    with (
        mock.patch("IPython.get_ipython", return_value=True),
        mock.patch("IPython.display.display") as display,
    ):
        plotting.hand_over("picture", **values)
    [call] = display.call_args_list
    return call.args[0]["application/vnd.dlbook.learned+json"]


def test_what_is_handed_to_a_picture(rng):
    """Bytes of float16 or float32, and plain data; nothing where nobody looks."""
    w, half = rng.normal(size=(3, 2)), np.array([0.5, -65504], np.float16)
    found = handed(w=w.T, half=half, labels=np.array([3, 1]), symbols="aβ", sizes={"w": [2, 3]})
    assert found["name"] == "picture"
    values = json.loads(json.dumps(found["values"]))
    assert values["symbols"] == "aβ" and values["sizes"] == {"w": [2, 3]}
    for name, array in (("w", w.T.astype("f4")), ("half", half), ("labels", np.float32([3, 1]))):
        back = np.frombuffer(base64.b64decode(values[name]["numbers"]), values[name]["dtype"])
        np.testing.assert_array_equal(back.reshape(values[name]["shape"]), array)
    assert plotting.hand_over("picture", w=w) is None


def test_what_is_handed_comes_back_from_a_notebook_as_it_was():
    """A stored notebook has its keys sorted: a picture that looked at their order would fail later."""
    values = handed(w=np.ones(2), sizes={"w": [2, 3], "b": 3}, blocks=2)["values"]
    assert json.dumps(values) == json.dumps(values, sort_keys=True)


@pytest.mark.parametrize(
    ("value", "error"),
    [(np.array([1, np.nan]), ValueError), (np.array(["a"]), ValueError), ({1, 2}, TypeError)],
)
def test_what_no_picture_can_be_handed(value, error):
    with pytest.raises(error):
        plotting.hand_over("picture", w=value)
    with pytest.raises(ValueError, match="name is"):
        plotting.hand_over("a name", w=1)


def test_a_figure_without_alternative_text_is_no_call():
    with pytest.raises(TypeError, match="alt"):
        plotting.show(a_figure(), caption="c")


def test_drawings_are_the_same_in_every_build_and_stand_beside_others():
    first, again, other = (plotting._svg(a_figure(), prefix) for prefix in ("a", "a", "b"))
    assert first == again
    ids = [set(re.findall(r' id="([^"]+)"', svg)) for svg in (first, other)]
    assert ids[0]
    assert not ids[0] & ids[1]
    assert plotting.INK in first
    assert "<metadata>" not in first


def test_many_points_become_pixels():
    fig, ax = plotting.figure()
    ax.scatter(*np.random.default_rng(0).random((2, 5000)))
    assert "<image" in plotting._svg(fig, "x")


def test_a_photograph_is_kept_as_one(rng):
    """In the SVG it is JPEG where that is shorter and nothing shines through; it looks the same."""
    smooth = np.cumsum(np.cumsum(rng.normal(size=(90, 120, 3)), 0), 1)
    smooth = (smooth - smooth.min()) / np.ptp(smooth)

    def kept(alpha):
        fig, ax = plotting.figure(2, 1.5)
        ax.imshow(smooth, alpha=alpha)
        svg = plotting._svg(fig, "x")
        return re.search(r"data:image/(\w+);base64,([^\"]+)", svg).groups()

    (kind, text), (clear, _) = kept(1), kept(0.5)
    assert (kind, clear) == ("jpeg", "png")
    seen = plt.imread(io.BytesIO(base64.b64decode(text)), format="jpeg")[::-1] / 255
    rows, columns = (np.arange(n) * m // n for n, m in zip(seen.shape, (90, 120), strict=False))
    assert np.abs(seen - smooth[np.ix_(rows, columns)]).mean() < 0.02


def test_image_grid_has_a_cell_for_each_image(rng):
    fig = plotting.image_grid(rng.random((5, 8, 8)), 3, titles=list("abcde"))
    assert sum(bool(ax.images) for ax in fig.axes) == 5


def test_timing_returns_seconds_per_call(monkeypatch):
    """By a clock that only the functions move; the third round of one is disturbed."""
    now, calls = [0.0], []

    def long():
        calls.append(1)
        now[0] += 0.5 if len(calls) == 5 else 0.003  # two calls come before the rounds

    def short():
        now[0] += 0.0005

    monkeypatch.setattr(timing.time, "perf_counter", lambda: now[0])
    seconds = timing.median_seconds(long, short, rounds=3)
    assert seconds == pytest.approx([0.003, 0.0005])
    assert len(calls) == 5


def test_timing_checks_its_arguments_before_anything_is_called():
    called = []
    for options, error, words in (
        ({"rounds": 0}, ValueError, "rounds is 0"),
        ({"rounds": -1}, ValueError, "rounds is -1"),
        ({"rounds": 1.5}, TypeError, "rounds is 1.5"),
        ({"least": np.nan}, ValueError, "least is nan"),
        ({"least": -1}, ValueError, "least is -1"),
        ({"least": "1"}, TypeError, "least is '1'"),
    ):
        with pytest.raises(error, match=words):
            timing.median_seconds(lambda: called.append(1), **options)
    with pytest.raises(TypeError, match=r"functions\[1\] is 3, expected a function"):
        timing.median_seconds(lambda: called.append(1), 3)
    assert not called


def test_who_holds_the_lock_may_ask_again(tmp_path, monkeypatch):
    """Another thread has to wait until it is given back."""
    monkeypatch.setattr(timing.tempfile, "gettempdir", lambda: str(tmp_path))
    called = []
    with timing.alone():
        assert timing.median_seconds(lambda: None, rounds=1)[0] >= 0
        other = threading.Thread(
            target=timing.median_seconds, args=(lambda: called.append(1),), kwargs={"rounds": 1}
        )
        other.start()
        other.join(0.05)
        assert not called
    other.join()
    assert called and [path.name.endswith(".lock") for path in tmp_path.iterdir()] == [True]


def test_a_lock_that_cannot_be_opened_is_none(tmp_path, monkeypatch):
    """Somebody else made its file, or the folder is gone."""
    monkeypatch.setattr(timing.tempfile, "gettempdir", lambda: str(tmp_path / "none"))
    with timing.alone():
        pass


# The source of the kernels


@pytest.mark.parametrize(
    "name", ["", "relu", "none.relu", "neurons.", ".relu", "neurons.none", "../tests/conftest.rng"]
)
def test_a_kernel_that_is_not_there(name):
    with pytest.raises(LookupError, match=f"^{re.escape(name)}: no such "):
        listing.kernel_source(name)


# Threads


@compiled_only
@pytest.mark.parametrize("count", [1, 2])
def test_parts_in_threads(count):
    before, called = numba.get_num_threads(), []
    try:
        numba.set_num_threads(min(count, before))
        in_threads(called.append, 7)
        assert sorted(called) == list(range(7))
        in_threads(called.append, 0)
        assert len(called) == 7
        with pytest.raises(ZeroDivisionError):
            in_threads(lambda m: 1 // (2 - m), 4)
    finally:
        numba.set_num_threads(before)


@compiled_only
def test_parts_in_threads_run_side_by_side():
    """As many as there are threads wait for each other, which one after the other could not."""
    count = numba.get_num_threads()
    meeting = threading.Barrier(count)
    in_threads(lambda _: meeting.wait(timeout=60), count)


@compiled_only
def test_a_part_has_one_thread():
    """What it calls does not start threads in turn; afterwards all are there again."""
    count, seen = numba.get_num_threads(), []

    def part(m):
        in_threads(lambda k: seen.append((m, k, numba.get_num_threads())), 2)

    in_threads(part, 3)
    assert sorted(seen) == [(m, k, 1 if count > 1 else count) for m in range(3) for k in range(2)]
    assert numba.get_num_threads() == count


@compiled_only
@pytest.mark.parametrize("parts", [1, 3])
def test_a_parallel_kernel_is_called_where_there_are_threads(parts):
    count, called = numba.get_num_threads(), []
    by_threads(called.append, lambda: called.append("together"), parts)
    assert called == (["together"] if min(count, parts) > 1 else list(range(parts)))


FORKED = """
import multiprocessing
import matplotlib.pyplot as plt
import numba
import numpy as np
from dlbook.optimization import Adam
from dlbook.nets import fit, MLP

def train(seed):
    rng, net = np.random.default_rng(seed), MLP((128, 256, 10))  # enough to use threads
    data = rng.normal(size=(512, 128)), rng.integers(0, 10, 512)
    found = fit(net, net.init(rng), data, Adam(0.01), rng, epochs=1, batch=512)
    return found.params.flat.tobytes()

if __name__ == "__main__":
    whole = [train(seed) for seed in (1, 2)]
    assert numba.get_num_threads() == 2
    print(numba.threading_layer())
    context = multiprocessing.get_context("fork")
    with context.Pool(2) as pool:
        assert pool.map(train, [1, 2]) == whole
    assert [train(seed) for seed in (1, 2)] == whole and numba.get_num_threads() == 2
"""


@compiled_only
@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system starts processes anew")
@pytest.mark.parametrize("layer", ["default", "workqueue"])
def test_a_process_forked_after_training_trains_to_the_same_bits(layer):
    """Its threads are gone; OpenMP would end it and leave the pool waiting for ever."""
    done = subprocess.run(
        [sys.executable, "-c", FORKED],
        env=os.environ | {"NUMBA_NUM_THREADS": "2", "NUMBA_THREADING_LAYER": layer},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert "fork" not in done.stderr
