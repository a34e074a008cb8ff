"""Shapes, data, figures and timing: what they accept, what they refuse and what they say."""

import re
import sys
import threading

import numba
import numpy as np
import pytest
from compiled import compiled_only

from dlbook.tools import data, plotting, shapes, timing
from dlbook.tools.threads import in_threads


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


def test_digits_are_split_once_and_for_all():
    split = data.digits()
    sizes = [len(split.y_train), len(split.y_val), len(split.y_test)]
    assert sum(sizes) == 1797
    assert abs(sizes[2] - 360) < 6
    assert split.x_train.shape[1] == 64
    assert (split.x_train.min(), split.x_train.max()) == (0, 1)
    shares = [
        np.bincount(y, minlength=10) / len(y) for y in (split.y_train, split.y_val, split.y_test)
    ]
    assert np.abs(shares[0] - shares[2]).max() < 0.005
    rows = {row.tobytes() for row in split.x_train}
    assert sum(row.tobytes() in rows for row in split.x_test) == 0  # no image in two parts
    assert data.digits(np.float32).x_test.dtype == np.float32


def test_data_handed_out_is_the_readers_own():
    data.digits().x_train[:] = 7
    data.diabetes().x[:] = 7
    data.breast_cancer()[0].x_train[:] = 7
    assert data.digits().x_train.max() == 1
    assert data.diabetes().x[0, 0] != 7
    assert data.breast_cancer()[0].x_train[0, 0] != 7


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
        (lambda: data.source(files=0), ValueError, "files is 0"),
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


def test_slider_checks_its_start():
    with pytest.raises(ValueError, match="start is 3"):
        plotting.slider([("1", a_figure(), "alt")], variable="v", caption="c", start=3)


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
