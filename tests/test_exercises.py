"""Exercises: right answers are recognised, wrong ones named, strange ones met; files and progress."""

import contextlib
import csv
import functools
import inspect
import io
import itertools
import json
import os
import re
import signal
import statistics
import subprocess
import sys
import textwrap
import time
from collections import Counter

import numba
import numpy as np
import pytest
from compiled import compiled_only
from pages import ROOT, cells, labels, pages, text_of
from test_extension import Small

from dlbook import __main__ as command
from dlbook import exercises
from dlbook.exercises import forms, grading, probes, shown, store, words
from dlbook.exercises.engine import judge
from dlbook.exercises.forms import Choice, Exercise, Mistake, is_value
from dlbook.exercises.probes import cases
from dlbook.tools import built, files
from dlbook.tools.tex import readable as tex_in_words

ALL = [e for chapter in exercises.CHAPTERS for e in exercises.exercises(chapter).values()]
COMPUTED = [e for e in ALL if not isinstance(e, Choice)]
CHOICES = [e for e in ALL if isinstance(e, Choice)]
by_label = {"ids": lambda e: e.label}
EXAMPLE = exercises.find("backprop-binary")  # (j), (j) -> (j)
MATRIX = exercises.find("backprop-penalty")  # (j k), (k), (j), () -> (j k)


def given(exercise, variant):
    """Return a variant as a reader gives it: a function, or what it returns."""
    return variant() if is_value(exercise) else variant


def in_single(function):
    """Return a function that computes in float32."""

    def single(x):
        if isinstance(x, np.ndarray) and x.dtype == np.float64:
            return x.astype(np.float32)
        if isinstance(x, (tuple, list)):
            return type(x)(map(single, x))
        return x

    def wrapped(*args):
        args = [list(a) if hasattr(a, "__next__") else a for a in args]
        value = function(*map(single, args))
        parts = value if isinstance(value, tuple) else (value,)
        parts = tuple(np.asarray(part, dtype=np.float32) for part in parts)
        return parts if isinstance(value, tuple) else parts[0]

    with contextlib.suppress(ValueError):  # an old NumPy's ufuncs have no signature
        wrapped.__signature__ = inspect.signature(getattr(function, "py_func", function))
    return wrapped


def rounded(function):
    """Return a function whose result is rounded to float32."""

    def wrapped(*args):
        value = function(*args)
        if isinstance(value, tuple):
            return tuple(np.float32(part) for part in value)
        return np.float32(value)

    with contextlib.suppress(ValueError):  # an old NumPy's ufuncs have no signature
        wrapped.__signature__ = inspect.signature(getattr(function, "py_func", function))
    return wrapped


# The data of every exercise


@pytest.mark.parametrize("chapter", exercises.CHAPTERS)
def test_each_chapter_has_enough(chapter):
    known = exercises.exercises(chapter)
    code = [e for e in known.values() if not isinstance(e, Choice) and not is_value(e)]
    assert len(known) >= 5 and len(code) >= 3
    assert any(isinstance(e, Choice) for e in known.values()), "no line to break"
    assert all(label.startswith(f"{chapter}-") for label in known)
    assert list(known) == exercises.labels(chapter)
    assert len(known) == len(exercises.import_module(f"dlbook.exercises.{chapter}").EXERCISES)


@pytest.mark.parametrize("exercise", ALL, **by_label)
def test_words(exercise):
    """Each text fits a line, each reference resolves, and there are three different hints."""
    known = {
        "doc": pages(),
        "eq": [name for name, _ in labels()],
        "ref": [f"ex-{e.label}" for e in ALL],
    }
    assert len(set(exercise.hints)) == 3
    texts = [exercise.task, exercise.used, *exercise.hints]
    if isinstance(exercise, Choice):
        texts += [*exercise.wrong.values(), exercise.missing]
    else:
        names = [m.name for m in exercise.mistakes]
        assert len(set(names)) == len(names)
        texts += [text for m in exercise.mistakes for text in (m.name, m.message, m.read)]
        assert all(m.message and not m.name.endswith(".") for m in exercise.mistakes)
    for text in texts:
        assert len(text) <= 230 and "\n" not in text
        for kind, name in built.ROLE.findall(text):
            assert name in known[kind], f"{name} in {text!r}"
        rest = built.ROLE.sub("", text)
        assert not re.search(r"\$|\\|\{\w+\}`", rest), f"{rest!r} is not plain text"
    assert built.ROLE.search(exercise.used), "the book uses it: where?"


@pytest.mark.parametrize("exercise", COMPUTED, **by_label)
def test_probes(exercise):
    """Smallest first, held-out ones of other sizes, axes as stated, the same in every process."""
    found = cases(exercise)
    if is_value(exercise):
        assert len(found) == 1 and not found[0].held_out
        return
    public = [case for case in found if not case.held_out]
    hidden = [case for case in found if case.held_out]
    assert len(public) >= 3 and len(hidden) >= 3
    assert [c.count for c in public] == sorted(c.count for c in public)
    assert public[0].count <= 12 and max(c.count for c in found) <= 1000
    shape = lambda case: [np.shape(part) for part in probes.flat(case.args)]
    assert any(shape(case) not in [shape(c) for c in public] for case in hidden)
    axes, result = exercise.axes.split("->")
    for case in found:
        groups = probes.groups(axes)
        assert len(groups) == len(case.args)
        for letters, value in zip(groups, case.args, strict=True):
            if isinstance(value, np.ndarray):
                sizes = [case.sizes[letter] for letter in letters.split()]
                assert list(value.shape) == sizes, f"{exercise.axes}: {value.shape}"
        for letters, part in zip(probes.groups(result), case.expected, strict=True):
            assert part.ndim == len(letters.split()) and np.isfinite(part).all()
    seeds = [np.random.default_rng(7), np.random.default_rng(7)]
    first, second = (list(exercise.probes(rng)) for rng in seeds)
    for a, b in zip(first, second, strict=True):
        assert all(map(np.array_equal, probes.flat(a), probes.flat(b)))


# Recognised right, recognised wrong, named: all of them


@pytest.mark.parametrize("exercise", COMPUTED, **by_label)
def test_right_answers_are_recognised(exercise):
    assert len(exercise.right) >= 3
    for variant in (exercise.reference, *exercise.right):
        result = judge(exercise, given(exercise, variant))
        assert result.correct, (variant, result)
        result = judge(exercise, given(exercise, rounded(variant)))
        assert result.correct and "in float32" in result.lines[0]


@pytest.mark.parametrize(
    "exercise", [e for e in COMPUTED if not is_value(e) and "(blocks)" not in e.axes], **by_label
)
def test_an_answer_may_compute_in_float32(exercise):
    variant = next(
        v
        for v in (*exercise.right, exercise.reference)
        if not isinstance(v, numba.core.dispatcher.Dispatcher)
    )
    result = judge(exercise, in_single(variant))
    assert result.correct, result


@pytest.mark.parametrize("exercise", COMPUTED, **by_label)
def test_wrong_answers_are_named(exercise):
    assert len(exercise.mistakes) + len(exercise.others) >= 5
    for mistake in exercise.mistakes:
        for form in (mistake.wrong, rounded(mistake.wrong)):
            result = judge(exercise, given(exercise, form))
            assert (result.status, result.name) == (forms.MISTAKE, mistake.name), result
    for variant, said in exercise.others:
        result = judge(exercise, given(exercise, variant))
        assert said in (result.status, result.name), result


@pytest.mark.parametrize("exercise", COMPUTED, **by_label)
def test_a_mistake_with_a_wrong_sign_is_both_or_neither(exercise):
    """Two mistakes at once are named as two, or, where another explanation is as good, not at all."""
    named = 0
    for mistake in exercise.mistakes:
        wrong = mistake.wrong

        def both(*args, wrong=wrong):
            value = wrong(*args)
            return tuple(-v for v in value) if isinstance(value, tuple) else -value

        both.__signature__ = inspect.signature(exercise.reference)
        result = judge(exercise, both() if is_value(exercise) else both)
        assert not result.correct
        if result.name:
            assert result.name.startswith((mistake.name, "every number"))
        named += result.name.startswith(mistake.name)
    assert named >= len(exercise.mistakes) - 2


@pytest.mark.parametrize("exercise", [e for e in COMPUTED if not is_value(e)], **by_label)
def test_what_explains_only_a_part_is_not_named(exercise):
    """An answer that makes one mistake on small inputs and another on large ones is just wrong."""
    limit = statistics.median(case.count for case in cases(exercise))
    pairs = list(itertools.pairwise(exercise.mistakes))
    for one, other in pairs:

        def mixed(*args, one=one, other=other):
            args = tuple(list(a) if hasattr(a, "__next__") else a for a in args)
            small = sum(part.size for part in probes.flat(args)) <= limit
            return (one if small else other).wrong(*args)

        mixed.__signature__ = inspect.signature(exercise.reference)
        result = judge(exercise, mixed)
        assert not result.correct and result.name not in (one.name, other.name), result


@pytest.mark.parametrize("exercise", COMPUTED, **by_label)
def test_what_is_only_near_a_mistake_is_not_named(exercise):
    for mistake in exercise.mistakes:

        def near(*args, wrong=mistake.wrong):
            value = wrong(*args)
            move = lambda part: (
                part * (1 + 1e-7 * np.cos(np.arange(np.size(part)))).reshape(np.shape(part))
            )
            return tuple(map(move, value)) if isinstance(value, tuple) else move(value)

        near.__signature__ = inspect.signature(exercise.reference)
        result = judge(exercise, near() if is_value(exercise) else near)
        stops = any(mistake is other for other, _ in probes.stopping(exercise))
        assert result.status == (forms.CRASHED if stops else forms.WRONG), result
        assert not result.name, result


@pytest.mark.parametrize("exercise", CHOICES, **by_label)
def test_choices(exercise):
    """Of all sets of letters one is right; each other one is told why."""
    letters = sorted([*exercise.right, *exercise.wrong])
    assert len(letters) >= 4 and letters == list("abcdefgh"[: len(letters)])
    for size in range(1, len(letters) + 1):
        for chosen in itertools.combinations(letters, size):
            result = judge(exercise, "".join(chosen))
            assert result.correct == (set(chosen) == set(exercise.right))
            if not result.correct:
                astray = sorted(set(chosen) - set(exercise.right))
                assert result.status == forms.MISTAKE
                assert result.name == (f"({astray[0]})" if astray else "incomplete")
    right = exercise.right
    for form in (set(right), list(right), right.upper(), str(list(right)), " ".join(f"({c})" for c in right)):  # fmt: skip
        assert judge(exercise, form).correct
    for between in (", ", " and ", " AND ", ".", "/", "; ", " & ", " + ", "\n", ",and "):
        assert judge(exercise, between.join(right)).correct
    assert judge(exercise, "and").status in (forms.TYPE, forms.MISTAKE)
    for strange in (3, b"a", "xyz", [1], {"a": 1, 2: 3}, np.array(["a"])[:0]):
        assert judge(exercise, strange).status in (forms.TYPE, forms.UNATTEMPTED)


@pytest.mark.parametrize("exercise", ALL, **by_label)
def test_messages(exercise):
    """Four lines at the most, none too long, no traceback, the first one a sentence."""
    answers = [*wrong_answers(exercise), ..., "nonsense"]
    for answer in answers:
        result = judge(exercise, answer)
        text = str(shown.Shown(result.lines, result.status, result.label))
        lines = text.splitlines()
        assert 1 <= len(lines) <= 4 and "Traceback" not in text
        assert max(map(len, lines)) <= 190, text
        assert lines[0][0] in "✗○" and lines[0][1] == " "
        assert "{" not in text.replace("{eq}", "{"), text


def wrong_answers(exercise):
    """Return every wrong answer that an exercise ships."""
    if isinstance(exercise, Choice):
        return [*exercise.wrong, exercise.right[:1]]
    return [
        given(exercise, v)
        for v in [*(m.wrong for m in exercise.mistakes), *(other for other, _ in exercise.others)]
    ]


@compiled_only
@pytest.mark.parametrize("exercise", COMPUTED, **by_label)
def test_a_check_is_small(exercise):
    """Under 10,000 calls of Python functions in a warm process, right or wrong."""
    for variant in (exercise.reference, exercise.mistakes[-1].wrong):
        answer, calls = given(exercise, variant), Counter()
        judge(exercise, answer)
        before = sys.getprofile()
        sys.setprofile(lambda frame, event, _, calls=calls: calls.update([event]))
        try:
            judge(exercise, answer)
        finally:
            sys.setprofile(before)
        assert 0 < calls["call"] < 10_000


# The page and the notebook


@pytest.mark.parametrize("exercise", ALL, **by_label)
def test_the_page_has_it(exercise):
    """In this order: the exercise with its label, a cell to fill in, a cell that solves it."""
    chapter, label = exercise.label.split("-")[0], exercise.label
    text = text_of(chapter)
    start = text.index(f":name: ex-{label}\n")
    after = re.search(r"^:::\{exercise\}|^## ", text[start:], re.M)
    part = text[start : start + after.start()]
    assert "{fold} Solution" in part
    blank, solved = (
        cell
        for cell in cells(chapter)
        if re.search(rf'\bcheck\("{label}"', cell.code) and cell.code in part
    )
    assert "..." in blank.code and not blank.options
    assert "tags: [hide-cell, solution]" in solved.options
    if not isinstance(exercise, Choice) and not is_value(exercise):
        names = [re.search(r"^def (\w+)\((.*?)\)", c.code, re.M) for c in (blank, solved)]
        assert names[0][1] == names[1][1] and f"`{names[0][1]}(" in part
        ours = inspect.signature(getattr(exercise.reference, "py_func", exercise.reference))
        assert names[0][2].split(", ") == [n for n, p in ours.parameters.items() if p.default is p.empty]  # fmt: skip


@pytest.mark.parametrize("chapter", exercises.CHAPTERS)
def test_pages_check_what_exists(chapter):
    checked = re.findall(r'\bcheck\("([\w-]+)"', text_of(chapter))
    assert set(checked) == set(exercises.exercises(chapter))
    assert checked == [label for label in dict.fromkeys(checked) for _ in range(2)]


# Strange answers


def crash_deep(a, y):
    return (lambda: np.zeros(2)[5])()


def recursive(a, y):
    return recursive(a, y)


def mutates(a, y):
    a -= y
    return a


def mutates_quietly(a, y):
    result = a - y
    y[0] = 7.0
    return result


def counts(a, y, calls=[0]):  # noqa: B006
    calls[0] += 1
    return a - y + 1e-3 * calls[0]


def remembers(a, y, seen={}):  # noqa: B006
    return seen.setdefault("first", a - y)


def talkative(a, y):
    print("x" * 1_000_000)
    print("more", file=sys.stderr)
    return a - y


def raw(a, y):
    sys.stdout.buffer.write(b"bytes")
    sys.stdout.flush()
    sys.stdout.reconfigure(line_buffering=True)
    return a - y


class MuteError(Exception):
    def __str__(self):
        raise SystemExit


def raises_mute(a, y):
    raise MuteError


def exits(a, y):
    sys.exit("bye")


def yields(a, y):
    yield from a - y


def todo(a, y):
    raise NotImplementedError


def empty(a, y):
    """Say nothing."""


def forgot(a, y):
    a - y


def integers(a, y):
    out = np.zeros(len(a), dtype=int)
    out[:] = a - y
    return out


class Model:
    def __call__(self, a, y):
        return a - y

    def error(self, a, y):
        return a - y


@numba.njit
def untypable(a, y):
    return a - "y"


STRANGE = [
    # (answer, status, what the message says)
    (..., "not attempted", "Not attempted yet"),
    (None, "not attempted", ""),
    (lambda a, y: ..., "not attempted", ""),
    (todo, "not attempted", ""),
    (empty, "not attempted", ""),
    (forgot, "wrong type or shape", "is the `return` missing?"),
    (np.ones(3), "wrong type or shape", "an array of shape (3,), expected a function of (a, y)"),
    (3.5, "wrong type or shape", "a number, expected a function"),
    (lambda a: a, "wrong type or shape", "takes (a), expected (a, y)"),
    (lambda a, y, z: a, "wrong type or shape", "takes (a, y, z), expected (a, y)"),
    (yields, "wrong type or shape", "a generator"),
    (lambda a, y: map(float, a - y), "wrong type or shape", "type map"),
    (lambda a, y: "text", "wrong type or shape", "text"),
    (lambda a, y: {"delta": a - y}, "wrong type or shape", "a dictionary"),
    (lambda a, y: [[1, 2], [3]], "wrong type or shape", "different lengths"),
    (lambda a, y: np.array(["b"] * len(a)), "wrong type or shape", "<U1"),
    (lambda a, y: (a - y) + 0j, "wrong type or shape", "complex"),
    (integers, "wrong type or shape", "whole numbers (int64)"),
    (lambda a, y: (a - y)[:, None], "wrong type or shape", "has shape (1, 1), expected (j,) = (1,)"),
    (lambda a, y: a[0], "wrong type or shape", "has shape (), expected (j,)"),
    (lambda a, y: np.empty(0), "wrong type or shape", "has shape (0,)"),
    (lambda a, y: (a - y) * np.nan, "wrong", "NaN"),
    (lambda a, y: (a - y) / 0, "wrong", "NaN or infinite"),
    (lambda a, y: np.zeros_like(a), "wrong", "0 of 14 cases"),
    (lambda a, y: np.float32(a - y).astype(float), "wrong", "float32"),
    (lambda a, y: 1 / 0, "crashed", "ZeroDivisionError: division by zero"),
    (crash_deep, "crashed", "return (lambda: np.zeros(2)[5])()"),
    (recursive, "crashed", "RecursionError"),
    (exits, "crashed", "SystemExit: bye"),
    (mutates, "changed its input", "changed its input a."),
    (mutates_quietly, "changed its input", "changed its input y."),
    (lambda a, y: a - y + np.random.default_rng().normal(), "not deterministic", "two different"),
    (lambda a, y: a - y + np.random.rand(), "not deterministic", ""),  # noqa: NPY002
    (counts, "not deterministic", "earlier calls"),
    (remembers, "wrong type or shape", ""),
    (talkative, "correct", "printed 28,"),
    (raw, "correct", "printed 140 characters"),
    (raises_mute, "crashed", "stopped with MuteError"),
    (Model(), "correct", ""),
    (Model().error, "correct", ""),
    (functools.partial(lambda s, a, y: s * (a - y), 1), "correct", ""),
    (lambda a, y, mean=False: a - y, "correct", ""),
    (lambda *args: args[0] - args[1], "correct", ""),
    (np.subtract, "correct", ""),
    (lambda a, y: list(a - y), "correct", ""),
    (lambda a, y: tuple(a - y), "correct", ""),
    (lambda a, y: (a - y).astype(np.longdouble), "correct", ""),
]  # fmt: skip


@pytest.mark.parametrize(("answer", "status", "said"), STRANGE)
def test_strange_answers_are_met(answer, status, said, capsys):
    result = judge(EXAMPLE, answer)
    assert result.status == status, result
    assert said in " ".join(result.lines)
    assert capsys.readouterr() == ("", "")
    assert len(result.lines) <= 4


@compiled_only
def test_what_numba_cannot_compile_is_a_crash():
    result = judge(EXAMPLE, untypable)
    assert result.status == "crashed"
    assert "TypingError" in result.lines[0]
    assert all(len(line) < 200 for line in result.lines)


def test_a_reader_s_interrupt_passes():
    def interrupted(a, y):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        judge(EXAMPLE, interrupted)


def test_a_crash_names_the_reader_s_line_and_keeps_the_rest():
    result = judge(EXAMPLE, crash_deep)
    line = inspect.getsourcelines(crash_deep)[1] + 1
    assert f"In your line {line}: `return (lambda" in result.lines[1]
    assert "IndexError" in result.traceback and "engine.py" not in result.traceback


def test_an_answer_cannot_spoil_the_probes():
    before = [part.tobytes() for case in cases(EXAMPLE) for part in probes.flat(case.args)]
    judge(EXAMPLE, mutates)
    assert before == [p.tobytes() for case in cases(EXAMPLE) for p in probes.flat(case.args)]
    stream = exercises.find("linear_regression-stream")

    def scales(blocks):
        total = []
        for X, y in blocks:
            X *= 2
            total.append((X / 2, y))
        return stream.reference(iter(total))

    assert judge(stream, scales).status == "changed its input"
    assert judge(stream, stream.reference).correct


def test_a_stream_can_be_read_once():
    stream = exercises.find("linear_regression-stream")

    def twice(blocks):
        rows = sum(len(y) for _, y in blocks)
        return stream.reference(blocks) / rows

    assert judge(stream, twice).status == "crashed"


def test_hard_coded_answers_fail():
    """What is right for the cases that are shown and for nothing else is found out, without a number."""
    table = {c.args[0].tobytes(): c.expected[0] for c in cases(EXAMPLE) if not c.held_out}
    result = judge(EXAMPLE, lambda a, y: table.get(a.tobytes(), a))
    assert result.status == "wrong"
    assert "Right for the first cases" in result.lines[0]
    assert not re.search(r"\d\.\d", result.lines[1])


def test_generic_mistakes_are_named():
    right = MATRIX.reference
    transposed = judge(MATRIX, lambda w, a, delta, lam: right(w, a, delta, lam).T)
    assert transposed.name == "the result is transposed"
    for factor, name in ((2, "2 times"), (-0.5, "-0.5 times"), (np.pi, "3.14159 times"), (-1, "opposite sign")):  # fmt: skip
        result = judge(MATRIX, lambda *args, f=factor: f * right(*args))
        assert name in result.name
    for factor, name in ((lambda w: w.shape[0], "J times"), (lambda w: 2 / w.shape[1], "2 times 1/K")):  # fmt: skip
        result = judge(MATRIX, lambda w, *args, f=factor: f(w) * right(w, *args))
        assert name in result.name
    flipped = judge(MATRIX, lambda *args: np.flip(right(*args), 1))
    assert flipped.name == "the right numbers stand in other places"
    both = judge(MATRIX, lambda *args: -2 * right(*args).T)
    assert both.name == "the result is transposed; and every number is -2 times what it should be"


def test_two_mistakes_that_cannot_be_told_apart_are_not_named():
    """A catalogue that says one thing under two names names neither."""
    twin = Mistake("another name", lambda a, y: (a - y) * a * (1 - a), "…")
    double = made_up(mistakes=(*EXAMPLE.mistakes, twin))
    assert judge(EXAMPLE, twin.wrong).name == EXAMPLE.mistakes[0].name
    result = judge(double, twin.wrong)
    assert (result.status, result.name) == ("wrong", "")


def made_up(**fields):
    """Return the example exercise with other fields."""
    kept = {f: getattr(EXAMPLE, f) for f in EXAMPLE.__dataclass_fields__}
    return Exercise(**kept | fields)


def test_a_size_that_never_changes_is_a_number():
    """Where an axis has one size, 3 times and N times are the same, and it is called 3 times."""

    def probes(rng):
        for _ in range(3):
            yield rng.normal(size=3), rng.normal(size=3)

    result = judge(made_up(probes=probes), lambda a, y: 3 * (a - y))
    assert result.name == "every number is 3 times what it should be"


def test_the_data_may_change_what_they_get():
    """References and mistakes work on copies too."""
    wrong = Mistake("it is doubled", lambda a, y: np.multiply(mutates(a, y), 2), "…")
    double = made_up(reference=mutates, mistakes=(wrong,))
    assert judge(double, wrong.wrong).status == "changed its input"
    assert judge(double, lambda a, y: 2 * (a - y)).name == "it is doubled"
    assert judge(double, lambda a, y: a - y).correct


def test_typed_numbers():
    """A number may be typed with three digits or more, rounded; two digits are too few."""
    exercise = exercises.find("linear_regression-interaction")
    value = float(exercise.reference())
    for kind in (float, np.float64, np.float32, np.longdouble, np.array):
        assert judge(exercise, kind(float(f"{value:.3g}"))).correct
        assert judge(exercise, kind(float(f"{value:.6g}"))).correct
        assert not judge(exercise, kind(float(f"{value:.2g}"))).correct
        assert not judge(exercise, kind(float(f"{value:.4g}") + 0.02)).correct
    assert judge(exercise, np.array(value)).correct
    for strange in (
        True,
        np.True_,
        10**400,
        -(10**400),
        np.inf,
        np.float16(np.inf),
        0,
        np.zeros(2),
    ):
        assert not judge(exercise, strange).correct
    assert "function" in judge(exercise, lambda: value).lines[0]
    assert f"{value:.3g}" not in " ".join(judge(exercise, 0.5).lines)


# What a reader calls


@pytest.fixture
def kept(tmp_path, monkeypatch):
    """Let progress be kept in a folder of this test."""
    monkeypatch.setenv("DLBOOK_DATA_DIR", str(tmp_path / "data"))
    exercises._store_in.cache_clear()
    yield tmp_path / "data" / "progress.json"
    exercises._store_in.cache_clear()


def entries(path):
    return json.loads(path.read_text("utf-8"))["exercises"]


def test_check_prints_and_remembers(kept, capsys):
    exercises.check("backprop-binary", lambda a, y: y - a)
    said = capsys.readouterr().out
    assert said.startswith(
        "✗ A known mistake: every number has the opposite sign.\n  Smallest case:"
    )
    assert len(said.splitlines()) == 4
    exercises.check("backprop-binary", lambda a, y: a - y)
    said = capsys.readouterr().out
    assert said.splitlines()[0] == "✓ Correct, exactly in 14 cases."
    assert re.search(r"equation \(\d+\.\d+\)", said) and "{eq}" not in said
    exercises.check("backprop-binary", lambda a, y: 1 / 0, traceback=True)
    assert "ZeroDivisionError" in capsys.readouterr().out
    assert entries(kept) == {"backprop-binary": {"status": "correct", "tries": 3}}
    exercises.check("backprop-break")
    assert "Not attempted yet" in capsys.readouterr().out
    assert "backprop-break" not in entries(kept)


@pytest.mark.parametrize(
    ("label", "said"),
    [
        ("backprop-bp9", "did you mean 'backprop-bp2'?"),
        ("bakprop-bp2", "did you mean 'backprop'?"),
        ("nothing", "there are "),
        ("bp2", "did you mean 'backprop-bp2'?"),
        ("bp", "did you mean 'backprop-bp2'?"),
        ("break", "-break', or that of another chapter?"),
        ("weight", "did you mean 'linear_regression-weights'?"),
        ("engine-x", "no chapter 'engine'"),
        ("", "no chapter ''"),
        (3, "label is 3"),
        (None, "label is None"),
    ],
)
def test_unknown_labels(label, said):
    for call in (exercises.check, exercises.hint, exercises.solution):
        with pytest.raises(ValueError, match=re.escape(said)) as met:
            call(label)
        assert met.value._render_traceback_() == [str(met.value)]


def test_hints_go_one_step_further(kept, capsys):
    for level in (1, 2, 3, 3):
        exercises.hint("backprop-bp2")
        said = capsys.readouterr().out
        assert said.startswith(f"· Hint {level} of 3.\n")
        assert built.plain(exercises.find("backprop-bp2").hints[level - 1]) in said
    assert 'solution("backprop-bp2")' in said
    exercises.hint("backprop-bp2", level=1)
    assert "Hint 1 of 3" in capsys.readouterr().out
    assert entries(kept)["backprop-bp2"]["hints"] == 3
    with pytest.raises(ValueError, match="level is 4, expected 1 to 3"):
        exercises.hint("backprop-bp2", level=4)


@pytest.mark.parametrize(
    ("tex", "said"),
    [
        (r"\delta^l_j = \bigl(1 - (a^l_j)^2\bigr)\sum_k w^{l+1}_{kj}\delta^{l+1}_k", "δˡⱼ = (1 − (aˡⱼ)²)∑ₖ wˡ⁺¹ₖⱼδˡ⁺¹ₖ"),
        (r"\hat\beta = (X^{\mathsf T} W X)^{-1}X^{\mathsf T} W y", "β̂ = (Xᵀ W X)⁻¹Xᵀ W y"),
        (r"w^T + D_{i-1,j}", "w^T + D_(i−1,j)"),
        (r"\tfrac12\log\frac{f}{1-f} \le \sqrt{u|f|}", "(1/2)log (f/(1−f)) ≤ √(u|f|)"),
        (r"\begin{aligned} a &= b \\ c &= d \end{aligned} \tag{2.3}", "a = b\nc = d (2.3)"),
    ],
)  # fmt: skip
def test_formulas_become_plain_characters(tex, said):
    assert tex_in_words(tex) == said


def test_progress_and_reset(kept, capsys):
    exercises.check("backprop-break", "ace")
    exercises.check("backprop-bp2", np.add)
    capsys.readouterr()
    exercises.progress()
    said = capsys.readouterr().out
    count = len(exercises.exercises("backprop"))
    assert f"backprop: 1 of {count} solved; begun: backprop-bp2" in said
    assert str(kept) in said
    exercises.progress("backprop")
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == count + 2
    assert "  ✓ backprop-break: correct, 1 try" in lines
    assert "  ○ backprop-tanh: not attempted" in lines
    with pytest.raises(ValueError, match="did you mean 'backprop'"):
        exercises.progress("backprob")
    exercises.reset("backprop-bp2")
    assert list(entries(kept)) == ["backprop-break"]
    exercises.reset()
    assert entries(kept) == {}
    assert "Progress on 1 exercise is forgotten." in capsys.readouterr().out


@pytest.mark.parametrize("coding", ["ascii", "cp1252", "utf-8", "utf-16"])
def test_any_terminal_can_show_a_result(coding, monkeypatch):
    seen = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(seen, coding, write_through=True))
    exercises.check("backprop-break", "ace")
    text = seen.getvalue().decode(coding)
    assert text.startswith(("✓" if "utf" in coding else "?") + " Correct.\n")


def test_a_notebook_shows_a_box():
    """Words and a mark carry the meaning; what a reader wrote is escaped."""
    result = judge(EXAMPLE, lambda a, y: int("<b>&"))
    box = shown.Shown(result.lines, result.status, result.label)._repr_mimebundle_()
    html = box["text/html"]
    assert html.startswith('<div role="status" style="border-left:4px solid #d55e00')
    assert "<strong>✗ " in html and "&lt;b&gt;&amp;" in html and "<b>" not in html
    assert "<code>" in html and html.count("<p ") == len(result.lines)
    assert "background" not in html and not re.search(r"(?<!solid )#\w{6}|;color:", html)
    assert box["text/plain"].startswith("✗ ")
    assert box[shown.MIME]["label"] == "backprop-binary"


def test_imports_are_cheap():
    """`import dlbook.exercises` loads NumPy and nothing else that is large, and no chapter."""
    code = (
        "import sys, dlbook.exercises;"
        "print(*sorted(n for n in sys.modules if n.startswith('dlbook') or '.' not in n))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    names = done.stdout.split()
    heavy = {"numba", "scipy", "matplotlib", "sklearn", "IPython", "tqdm", "llvmlite"}
    assert not heavy & set(names)
    ours = {n for n in names if n.startswith("dlbook.")}
    assert all(n.startswith(("dlbook.exercises", "dlbook.tools")) for n in ours)
    assert not ours & {f"dlbook.exercises.{chapter}" for chapter in exercises.CHAPTERS}


# Progress on disk


def test_progress_is_kept_by_processes_at_once(tmp_path):
    """Four of them, and what a killed one of the same number left lies in the way of none."""
    code = (
        "import os, sys; from pathlib import Path; from dlbook.exercises.store import Store;"
        "folder = Path(sys.argv[1]); store = Store(folder);"
        "(folder / f'.progress.json.{os.getpid()}').write_text('left behind');"
        "[store.change(f'{sys.argv[2]}-{i}', tries=1) for i in range(300)];"
        "assert not store.notes, store.notes"
    )
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    started = [
        subprocess.Popen([sys.executable, "-c", code, str(tmp_path), who], env=env)
        for who in "abcd"
    ]
    assert [process.wait(100) for process in started] == [0] * 4
    assert len(store.Store(tmp_path).read()) == 1200


@pytest.mark.parametrize("damaged", [False, True])
def test_a_linked_progress_file_stays_a_link(tmp_path, damaged):
    (tmp_path / "here").mkdir()
    (tmp_path / "there").mkdir()
    link, target = tmp_path / "here" / "progress.json", tmp_path / "there" / "mine.json"
    link.symlink_to(target)
    target.write_text("{" if damaged else '{"version": 1, "exercises": {}}')
    kept = store.Store(tmp_path / "here")
    kept.change("a-b", tries=1)
    assert link.is_symlink() and entries(target) == {"a-b": {"tries": 1}}
    assert len(list((tmp_path / "there").iterdir())) == 1 + damaged


def test_a_lock_that_is_never_given_back_only_delays(tmp_path, monkeypatch):
    monkeypatch.setattr(store, "PATIENCE", 0.05)
    with store._lock_in(tmp_path) as lock:
        assert store._taken(lock)
        kept = store.Store(tmp_path)
        kept.change("a-b", tries=1)
        assert not kept.notes and entries(tmp_path / "progress.json") == {"a-b": {"tries": 1}}


def test_progress_survives_and_is_shared(tmp_path):
    one, other = store.Store(tmp_path), store.Store(tmp_path)
    one.change("a-b", tries=1)
    other.change("c-d", tries=2)
    one.change("a-b", status="wrong")
    assert store.Store(tmp_path).read() == {"a-b": {"tries": 1, "status": "wrong"}, "c-d": {"tries": 2}}  # fmt: skip
    assert [path.name for path in tmp_path.iterdir()] == ["progress.json"]
    assert one.notes == other.notes == []


@pytest.mark.parametrize(
    "damage",
    [b"", b"{", b"[]", b"null", b"\xff\xfe", b"{}", b'{"version": 1}', b'{"version": 2, "exercises": {}}',
     b'{"version": 1, "exercises": []}', b'{"version": 1, "exercises": {"a": 1}}',
     b'{"version": 1, "exercises": {"a": {"tries": "x"}}}', b'{"version": 1, "exercises": {"a": {"tries": -1}}}',
     b'{"version": 1, "exercises": {"a": {"status": 1}}}', b'{"version": 1, "exercises": {"a": {"tries": %d}}}' % 10**4000,
     b'{"version": 1, "exercises": {"a": {"more": [%s]}}}' % (b"0," * 4 * 10**6 + b"0"), b"[" * 100_000, b" " * (store.LARGEST + 1)],
    ids=lambda b: repr(b[:50]),
)  # fmt: skip
def test_a_damaged_file_is_set_aside(tmp_path, damage):
    (tmp_path / "progress.json").write_bytes(damage)
    kept = store.Store(tmp_path)
    assert kept.read() == {}
    kept.change("a-b", tries=1)
    assert (tmp_path / "progress-damaged-1.json").read_bytes() == damage
    assert "was damaged; it is now progress-damaged-1.json" in kept.notes[0]
    assert store.Store(tmp_path).read() == {"a-b": {"tries": 1}}
    (tmp_path / "progress.json").write_bytes(b"again")
    store.Store(tmp_path).read()
    assert (tmp_path / "progress-damaged-2.json").read_bytes() == b"again"


def test_damage_is_reported_once(kept, capsys):
    kept.parent.mkdir()
    kept.write_text("not json")
    exercises.check("backprop-break", "ace")
    assert "was damaged" in capsys.readouterr().out
    exercises.check("backprop-break", "ace")
    assert "was damaged" not in capsys.readouterr().out


def test_without_a_writable_place_it_works_in_memory(tmp_path, monkeypatch, capsys):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("DLBOOK_DATA_DIR", str(tmp_path / "file" / "below"))
    exercises._store_in.cache_clear()
    for _ in range(2):
        exercises.check("backprop-break", "ace")
    capsys.readouterr()
    exercises.progress()
    said = capsys.readouterr().out
    assert "backprop: 1 of " in said and "progress is kept until Python ends" in said
    assert (tmp_path / "file").read_text() == "in the way"
    exercises._store_in.cache_clear()


@pytest.mark.parametrize("fails", ["write", "replace"])
def test_a_full_disk_leaves_the_old_file(tmp_path, monkeypatch, fails):
    store.Store(tmp_path).change("a-b", tries=1)
    before = (tmp_path / "progress.json").read_bytes()

    def full(*args, **options):
        raise OSError(28, "No space left on device")

    if fails == "write":
        monkeypatch.setattr(files, "open", full, raising=False)
    else:
        monkeypatch.setattr(files.os, "replace", full)
    kept = store.Store(tmp_path)
    kept.change("c-d", tries=1)
    assert kept.read()["c-d"] == {"tries": 1}
    assert "No space left" in kept.notes[0]
    assert (tmp_path / "progress.json").read_bytes() == before
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("platform", ["linux", "darwin", "win32"])
def test_the_data_directory_is_the_platform_s(monkeypatch, platform, tmp_path):
    monkeypatch.delenv("DLBOOK_DATA_DIR")
    for name in ("XDG_DATA_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.setenv("HOME", str(tmp_path))
    inner = {"linux": ".local/share", "darwin": "Library/Application Support", "win32": "AppData/Local"}  # fmt: skip
    assert store.data_directory() == tmp_path / inner[platform] / "dlbook"


# Files of answers

GOOD = """\
import numpy as np
from dlbook.exercises import check


def binary_delta(a, y):
    return a - y


check("backprop-binary", binary_delta)
check("backprop-break", "ace")
"""
HEAD = "from dlbook.exercises import check\n"


def as_notebook(source):
    """Return a script as a notebook: one cell for each part between blank lines."""
    parts = re.split(r"\n{3,}", source)
    made = [{"cell_type": "code", "source": part.splitlines(True)} for part in parts]
    return json.dumps({"cells": made, "metadata": {}, "nbformat": 4, "nbformat_minor": 5})


BROKEN = {  # file: (content, what the report says, exercises that are still right)
    "hangs.py": (GOOD + "while True:\n    pass\n", "line 11: no end within", 2),
    "hangs-inside.py": (
        HEAD + "def f(a, y):\n    while True:\n        pass\n\ncheck('backprop-binary', f)\ncheck('backprop-break', 'ace')\n",
        "no end within",
        1,
    ),
    "dies.py": (GOOD + "import os\nos._exit(3)\n", "its process ended with status 3", 2),
    "segfault.py": (GOOD + "import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)\n", "SIGSEGV", 2),
    "exits.py": ("import sys\nsys.exit(1)\n" + GOOD, "SystemExit", 2),
    "syntax.py": (GOOD + "def f(:\n", "cannot be read: SyntaxError", 0),
    "bytes.py": (b"\xff\xfe\x00", "cannot be read: SyntaxError", 0),
    "bytes.ipynb": (b"\xff\xfe\x00", "cannot be read: UnicodeDecodeError", 0),
    "not-json.ipynb": ("{", "cannot be read: JSONDecodeError", 0),
    "not-a-notebook.ipynb": ('{"worksheets": []}', "not a notebook of format 4", 0),
    "bad-cell.ipynb": (as_notebook(GOOD + "\n\n\n1 +\n\n\n\n1 / 0\n"), "SyntaxError", 2),
}  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Write 190 good copies and 11 broken ones and check them all once."""
    folder = tmp_path_factory.mktemp("class")
    for k in range(190):
        name = folder / f"group-{k % 4}" / f"student-{k:03d}"
        name.parent.mkdir(exist_ok=True)
        text = GOOD if k % 2 else as_notebook(GOOD)
        name.with_suffix(".py" if k % 2 else ".ipynb").write_text(text, "utf-8")
    for name, (content, _, _) in BROKEN.items():
        data = content if isinstance(content, bytes) else content.encode()
        (folder / name).write_bytes(data)
    (folder / ".ipynb_checkpoints").mkdir()
    (folder / ".ipynb_checkpoints" / "old.ipynb").write_text("{")
    (folder / "readme.txt").write_text("nothing to run")
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "dlbook",
            "check",
            ".",
            "--csv",
            "grades.csv",
            "--report",
            "out",
            "--seconds",
            "8",
        ],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=500,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    return folder, done


def test_a_folder_of_200_is_checked(folder):
    """All are reported, the broken ones by name, and what they have that is right still counts."""
    path, done = folder
    assert done.returncode == 1
    assert "Traceback" not in done.stderr and "201/201" in done.stderr
    with open(path / "grades.csv", encoding="utf-8-sig", newline="") as file:
        rows = {row["file"]: row for row in csv.DictReader(file)}
    assert len(rows) == 201
    good = [row for name, row in rows.items() if name.startswith("group-")]
    assert len(good) == 190
    fine = ("2", "2", "")
    assert not [r for r in good if (r["correct"], r["checked"], r["problems"]) != fine]
    assert {row["backprop-binary"] for row in good} == {"correct"}
    for name, (_, said, right) in BROKEN.items():
        assert said in rows[name]["problems"], rows[name]
        assert rows[name]["correct"] == str(right), rows[name]
        assert f"{name}: {right} of " in done.stdout
    assert rows["hangs-inside.py"]["backprop-binary"] == "stopped"


def test_how_a_process_ended_is_read_once(tmp_path):
    """With many processes that end while others start, no exit code is lost."""
    path = tmp_path / "short.py"
    path.write_text("x = 1\n", "utf-8")
    reports = grading.run([(path, f"copy {k}") for k in range(400)], jobs=6)
    assert [report["problems"] for report in reports] == [[]] * 400


def test_reports_are_text_and_json(folder):
    path, _ = folder
    assert len(list((path / "out").rglob("*.json"))) == len(list((path / "out").rglob("*.txt"))) == 201  # fmt: skip
    report = json.loads((path / "out" / "dies.py.json").read_text("utf-8"))
    assert report["exercises"]["backprop-break"]["status"] == "correct"
    text = (path / "out" / "dies.py.txt").read_text("utf-8")
    assert text.startswith("dies.py: 2 of 2 correct\n  ✓ backprop-binary: Correct")
    assert "  ! line 12: its process ended with status 3" in text


def run_text(tmp_path, text, name="mine.py", **options):
    """Check one file and return its report."""
    path = tmp_path / name
    path.write_text(textwrap.dedent(text), "utf-8")
    return grading.run([(path, name)], **options)[0]


def test_a_file_s_last_word_counts(tmp_path):
    report = run_text(
        tmp_path,
        """
        import numpy as np
        from dlbook.exercises import check
        check("backprop-binary", lambda a, y: y - a)
        check("backprop-binary", lambda a, y: a - y)
        check("backprop-break", "ace")
        check("backprop-break", "b")
        check("backprop-nothing", 3)
        1 / 0
        check("backprop-penalty", lambda w, a, delta, lam: np.outer(a, delta) + lam * w.T)
        """,
    )
    found = {label: (r["status"], r["name"]) for label, r in report["exercises"].items()}
    assert found == {
        "backprop-binary": ("correct", ""),
        "backprop-break": ("known mistake", "(b)"),
        "backprop-penalty": ("known mistake", "the result is transposed"),
    }
    assert report["correct"] == 1 and report["checked"] == 3
    assert [p.split(": ")[:2] for p in report["problems"]] == [
        ["line 8", "UnknownExerciseError"],
        ["line 9", "ZeroDivisionError"],
    ]


def test_what_hangs_first_and_is_right_later_is_right(tmp_path):
    report = run_text(
        tmp_path,
        HEAD
        + "def f(a, y):\n    while True: pass\n\ncheck('backprop-binary', f)\n"
        + "def f(a, y):\n    return a - y\n\ncheck('backprop-binary', f)\n",
        seconds=2,
    )
    assert report["exercises"]["backprop-binary"]["status"] == "correct"
    assert "no end within 2 seconds" in report["problems"][0]


def test_what_is_right_first_and_hangs_later_is_stopped(tmp_path):
    report = run_text(
        tmp_path,
        HEAD
        + "check('backprop-binary', lambda a, y: a - y)\n"
        + "def f(a, y):\n    while True: pass\n\ncheck('backprop-binary', f)\n",
        seconds=2,
    )
    assert report["exercises"]["backprop-binary"]["status"] == "stopped"


@compiled_only
def test_a_compiled_loop_is_stopped_too(tmp_path):
    report = run_text(
        tmp_path,
        HEAD
        + "import numba\n\n@numba.njit\ndef f(a, y):\n    n = 0\n    while n >= 0:\n        n = (n + 1) % 7\n"
        + "    return a - y\n\ncheck('backprop-binary', f)\ncheck('backprop-break', 'ace')\n",
        seconds=6,
    )
    assert report["exercises"]["backprop-binary"]["status"] == "stopped"
    assert report["exercises"]["backprop-break"]["status"] == "correct"


def test_a_file_can_print_without_end(tmp_path):
    before = {path.name for path in tmp_path.iterdir()}
    report = run_text(
        tmp_path,
        HEAD + "while True:\n    print('x' * 10000)\n\ncheck('backprop-break', 'ace')\n",
        seconds=2,
    )
    assert report["correct"] == 1
    assert {path.name for path in tmp_path.iterdir()} == before | {"mine.py"}


def notebook(*sources):
    """Return a notebook of these cells."""
    made = [{"cell_type": "code", "source": source} for source in sources]
    return json.dumps({"cells": made, "metadata": {}, "nbformat": 4, "nbformat_minor": 5})


FUTURE = "from __future__ import annotations\n"
ANNOTATED = GOOD.replace("(a, y)", "(a: Array, y: Array)")
READ = {  # what Python or Jupyter reads without complaint
    "bom.py": b"\xef\xbb\xbf" + GOOD.encode(),
    "bom.ipynb": b"\xef\xbb\xbf" + notebook(GOOD).encode(),
    "utf16.ipynb": notebook(GOOD).encode("utf-16"),
    "cookie.py": b"# -*- coding: latin-1 -*-\nassert '\xe9' == chr(233)\n" + GOOD.encode(),
    "lines.py": GOOD.replace("\n", "\r\n").encode(),
    "future.py": FUTURE + ANNOTATED,
    "future.ipynb": notebook(FUTURE, ANNOTATED),
    "exit.py": GOOD + "import sys\nsys.exit(0)\n",
    "exit.ipynb": notebook("exit", GOOD, "quit()", "raise SystemExit"),
    "modulo.ipynb": notebook(GOOD, "n = 3\ntext = (\n    '%d of 3'\n    % n\n)\nassert text == '3 of 3'"),
    "string.ipynb": notebook(GOOD, 't = """\n% a TeX remark\n! and more\n"""\nassert "% a" in t'),
    "lines.ipynb": notebook(GOOD.splitlines(keepends=True)),
    "timed.ipynb": notebook("%%time\n" + GOOD, "%time x = 3\nassert x == 3", "%timeit -n1 -r1 x"),
    "shell.ipynb": notebook(GOOD, "%%bash\nls -la", "files = !ls\nassert files == []", "!ls", "np.dot?"),
    "install.ipynb": notebook("%pip install nothing-of-this-name\n!pip install it", GOOD),
    "plots.ipynb": notebook(
        "%matplotlib inline\n%config InlineBackend.figure_format = 'svg'", "%matplotlib tk",
        "import matplotlib.pyplot as plt\nplt.plot([1])\nplt.show()", GOOD, "display(3)",
    ),
    "await.ipynb": notebook(GOOD, "import asyncio\nawait asyncio.sleep(0)"),
    "shown.ipynb": notebook(GOOD, "1 + 1", "assert _ == 2 and Out[2] == 2", "get_ipython().user_ns"),
    "html.ipynb": notebook("%%html\n<b>", "%%javascript\nx", "%%capture out\nprint(3)", GOOD),
    "pool.ipynb": notebook(
        "import multiprocessing\ndef square(x):\n    return x * x",
        "with multiprocessing.Pool(2) as pool:\n    assert pool.map(square, [2, 3]) == [4, 9]", GOOD,
    ),
    "pool.py": "import multiprocessing\ndef square(x):\n    return x * x\n"
    "pool = multiprocessing.Pool(2)\nassert pool.map(square, [2, 3]) == [4, 9]\n" + GOOD,
    "main.py": "if __name__ == '__main__':\n" + textwrap.indent(GOOD, "    "),
    "UPPER.PY": GOOD,
    "MiXed.IPYNB": notebook(GOOD),
    "folder.py/inner.py": GOOD,
    "=1+1.py": GOOD,
    "-dash.py": GOOD,
    "two\nlines.py": GOOD,
    "\x1b[2Jclear.py": GOOD,
    f"{'x' * 247}.py": GOOD,
    f"{'y' * 200}/{'é' * 122}.py": GOOD,
    os.fsdecode(b"M\xfcller.py"): GOOD,
    "uses.py": "import helper, statistics, csv\nassert statistics.mean([1, 3]) == 2\n"
    "csv.writer\n" + GOOD.replace('"ace"', "helper.answer"),
}  # fmt: skip
ODD = {  # name: (what it holds, what is said, how many are right)
    "helper.py": ("answer = 'ace'\n", "", 0),
    "empty.py": ("", "", 0),
    **{f"{name}.py": (f"1 / 0\n{GOOD}", "line 1: ZeroDivisionError", 2) for name in ("statistics", "csv", "random", "json", "argparse", "numpy", "IPython")},
    "cheats.py": ("from uses import binary_delta\n" + GOOD, "uses is another answer of this", 2),
    "below/cheats.py": ("import sys\nsys.path.append('..')\nimport uses\n" + GOOD, "another answer", 2),
    "surrogate.py": ("raise ValueError('\\ud800\\x1b[2J')\n" + GOOD, r"ValueError: \ud800", 2),
    "mute.py": ("class E(Exception):\n    def __str__(self): raise SystemExit\nraise E\n" + GOOD, "line 3: E", 2),
    "number.py": ("class E(Exception):\n    def __str__(self): return 3\nraise E\n" + GOOD, "line 3: E", 2),
    "wordy.py": ("raise ValueError('word ' * 10**6)\n" + GOOD, "word word …", 2),
    "shallow.py": ("import sys\nsys.setrecursionlimit(60)\n1 / 0\n" + GOOD, "line 3: ZeroDivisionError", 2),
    "deep.py": ("import sys\nsys.setrecursionlimit(10**4)\ndef f(n): return f(n + 1)\nf(0)\n" + GOOD, "line 4: RecursionError", 2),
    "files.py": ("import os\nos.closerange(0, 100)\n" + GOOD, "line 2: its process ended", 2),
    "silent.py": ("import sys\nsys.stdout = sys.stderr = None\n" + GOOD, "", 2),
    "thread.py": ("import threading, time\nthreading.Thread(target=time.sleep, args=(99,)).start()\n" + GOOD, "", 2),
    "spin.py": ("import threading\ndef f():\n    while True: pass\nthreading.Thread(target=f).start()\n" + GOOD, "", 2),
    "child.py": (GOOD + "import os, time\nif os.fork() == 0: time.sleep(99)\n", "", 2),
    "last.py": ("import atexit, time\natexit.register(time.sleep, 99)\n" + GOOD, "", 2),
    "killed.py": (GOOD + "import os\nos.kill(os.getpid(), 9)\n", "signal SIGKILL", 2),
    "alarm.py": ("import signal, time\nsignal.alarm(1)\ntime.sleep(3)\n" + GOOD, "signal SIGALRM", 2),
    "memory.py": ("x = [0] * 10**14\n" + GOOD, "line 1: MemoryError", 2),
    "input.py": ("input()\n" + GOOD, "line 1: EOFError", 2),
    "interrupt.py": ("raise KeyboardInterrupt\n" + GOOD, "line 1: KeyboardInterrupt", 2),
    "many.py": ("1 / 0\n" * 1000 + GOOD, "and 950 more problems", 2),
    "loud.ipynb": (notebook("print('x' * 10**8)", GOOD), "", 2),
    "patched.py": ("import json\njson.dumps = None\n" + GOOD, "line 2: its process ended", 2),
    "magics.ipynb": (notebook("%nosuch", "%%time\n1 / 0", "%%nosuch\nx", "%run no.py", GOOD), "cell 2: ZeroDivisionError", 2),
    "repr.ipynb": (notebook("class R:\n    def __repr__(self): raise ValueError\nR()", GOOD), "cell 1: ValueError", 2),
    "zero.py": ("x = 1\0\n", "cannot be read: SyntaxError", 0),
    "latin.py": (b"x = '\xe9'\n", "cannot be read: SyntaxError", 0),
    "nonsense.py": (b"# coding: nonsense\n", "unknown encoding: nonsense", 0),
    "return.py": (GOOD + "return\n", "'return' outside function", 0),
    "nested.py": ("x = " + "(" * 5000, "cannot be read: ", 0),
    "deep.ipynb": ("[" * 100_000, "cannot be read: RecursionError", 0),
    "deeper.ipynb": ('{"cells":' + "[" * 10**5 + "]" * 10**5 + "}", "cannot be read: RecursionError", 0),
    "cut.ipynb": (notebook(GOOD)[:-10], "cannot be read: JSONDecodeError", 0),
    "digits.ipynb": ('{"cells": [], "x": ' + "9" * 5000 + "}", "cannot be read: ValueError", 0),
    **{f"cells-{k}.ipynb": (json.dumps({"cells": cells_}), "not a notebook of format 4", 0)
       for k, cells_ in enumerate([None, 3, {}, "x"])},
    **{f"source-{k}.ipynb": (json.dumps({"cells": [None, [], {"cell_type": "code"} | more, *json.loads(notebook(GOOD))["cells"]]}), said, 2)
       for k, (more, said) in enumerate([
           ({}, "cell 1: ValueError: the cell has no source"), ({"source": None}, "has no source"),
           ({"source": [1, 2]}, "has no source"), ({"source": {"a": 1}}, "has no source"),
           ({"cell_type": ["code"]}, ""), ({"source": "\ud800"}, "UnicodeEncodeError"),
           ({"source": "a\0b"}, "null bytes"), ({"source": "(" * 3000}, "SyntaxError"),
           ({"source": ["x = 1\n", "y ="]}, "cell 1, line 2"),
       ])},
}  # fmt: skip


@pytest.fixture(scope="module")
def odd(tmp_path_factory):
    """Check a folder of odd files and names from within, and return it with what was said."""
    folder = tmp_path_factory.mktemp("odd")
    files = READ | {name: content for name, (content, _, _) in ODD.items()}
    for name, content in files.items():
        path = folder / "all" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    (folder / "all" / "gone.py").symlink_to("nowhere")
    (folder / "all" / "loop.py").symlink_to("loop.py")
    os.mkfifo(folder / "all" / "pipe.py")
    done = subprocess.run(
        [sys.executable, "-m", "dlbook", "check", ".", "--seconds", "60",
         "--csv", "../grades.csv", "--report", "../out"],
        cwd=folder / "all",
        capture_output=True,
        timeout=500,
        env=os.environ | {"PYTHONPATH": str(ROOT), "HOME": str(folder), "PYTHONIOENCODING": "ascii"},
    )  # fmt: skip
    return folder, done


def test_files_are_read_as_python_and_jupyter_read_them(odd):
    """Whatever they hold and whatever they are called: two of two, and nothing to complain of."""
    folder, done = odd
    assert done.returncode == 1 and b"Traceback" not in done.stderr
    with open(folder / "grades.csv", encoding="utf-8-sig", newline="") as file:
        rows = {row["file"]: (row["correct"], row["problems"]) for row in csv.DictReader(file)}
    shown_as = {
        name: grading._cell(name.encode(errors="backslashreplace").decode()) for name in READ
    }
    found = {name: rows.pop(shown_as[name]) for name in READ}
    assert {name: row for name, row in found.items() if row != ("2", "")} == {}
    for name, (_, said, right) in ODD.items():
        correct, problems = rows.pop(name)
        assert correct == str(right) and said in problems, (name, correct, problems)
        assert said or not problems, (name, problems)
    assert {name: problems[:14] for name, (_, problems) in rows.items()} == dict.fromkeys(
        ("gone.py", "loop.py", "pipe.py"), "cannot be read"
    )
    assert not list(folder.glob(".ipython")) and not list((folder / "all").glob(".*"))


def test_each_odd_file_has_its_report(odd):
    """In a file of its own, and in a line that moves no cursor."""
    folder, done = odd
    count = len(READ) + len(ODD) + 3
    reports = [json.loads(path.read_text("utf-8")) for path in (folder / "out").rglob("*.json")]
    assert len(reports) == len(list((folder / "out").rglob("*.txt"))) == count
    assert {report["file"] for report in reports} >= {*READ, *ODD}
    lines = done.stdout.decode("ascii").splitlines()
    assert len(lines) == count and not re.search("[\0-\x1f\x7f]", "".join(lines))


def test_a_limit_on_what_hangs_says_what_it_left_out(tmp_path):
    text = notebook(GOOD, *["while True: pass"] * 6, "x = 1")
    report = run_text(tmp_path, text, "mine.ipynb", seconds=3)
    assert report["correct"] == 2
    assert report["problems"] == [
        "cell 7 to cell 8: left out, because 5 runs before were stopped",
        *(f"cell {number}: no end within 3 seconds" for number in range(2, 7)),
    ]


def test_answers_are_named_below_their_common_folder(tmp_path):
    for name in ("monday/anna.py", "tuesday/anna.py", "tuesday/x.py/b.ipynb", "other/.hidden/c.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("")
    names = lambda *given: [name for _, name in grading.answer_files(tmp_path / g for g in given)]
    assert names("monday", "tuesday") == [
        "monday/anna.py",
        "tuesday/anna.py",
        "tuesday/x.py/b.ipynb",
    ]
    assert names("tuesday/anna.py", "monday/anna.py") == ["tuesday/anna.py", "monday/anna.py"]
    assert names("monday/anna.py") == ["anna.py"]
    assert names("tuesday", "tuesday/anna.py", "monday/../tuesday") == ["anna.py", "x.py/b.ipynb"]
    assert names("other") == [] and names("other/.hidden") == ["c.py"]


def test_without_ipython_it_is_said_what_is_missing(tmp_path):
    """Cells of Python are run all the same."""
    (tmp_path / "IPython").mkdir()
    (tmp_path / "IPython" / "__init__.py").write_text("raise ImportError")
    (tmp_path / "mine.ipynb").write_text(
        notebook(FUTURE, "%time x = 1", ANNOTATED, "display(1 / 0)")
    )
    done = subprocess.run(
        [sys.executable, "-m", "dlbook", "check", str(tmp_path / "mine.ipynb")],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"},
    )
    first, *_, magic, crash = done.stdout.splitlines()
    assert first == "mine.ipynb: 2 of 2 correct"
    assert (
        magic.startswith("  ! cell 2: SyntaxError: ") and "python -m pip install ipython" in magic
    )
    assert crash == "  ! cell 4: ZeroDivisionError: division by zero"


def test_a_file_that_cannot_be_run_costs_no_other(tmp_path, monkeypatch):
    """Whatever fails on the way to a report is said in the report."""
    really = grading._report

    def failing(context, path, name, *more):
        if name == "bad":
            raise EOFError("\ud800")
        return really(context, path, name, *more)

    monkeypatch.setattr(grading, "_report", failing)
    (tmp_path / "mine.py").write_text(GOOD)
    reports = grading.run([(tmp_path / "mine.py", name) for name in ("one", "bad", "two")])
    assert [report["correct"] for report in reports] == [2, 0, 2]
    assert reports[1]["problems"] == ["cannot be run: EOFError: \ud800"]


@pytest.mark.parametrize("fails", ["write_report", "write_table", "text"])
def test_what_was_graded_is_never_lost(tmp_path, monkeypatch, capsys, fails):
    """Where one of table, reports and screen cannot be written, the others are."""

    def full(*arguments, **options):
        raise OSError(28, "No space left on device")

    (tmp_path / "mine.py").write_text(GOOD)
    if fails == "text":
        monkeypatch.setattr(command, "print", full, raising=False)
    else:
        monkeypatch.setattr(grading, fails, full)
    csv_file, folder = tmp_path / "grades.csv", tmp_path / "out"
    arguments = [
        "check",
        str(tmp_path / "mine.py"),
        "--csv",
        str(csv_file),
        "--report",
        str(folder),
    ]
    if fails == "text":
        with pytest.raises(OSError, match="No space"):  # the complaint cannot be printed either
            command.main(arguments)
    else:
        assert command.main(arguments) == 2
        said = capsys.readouterr()
        assert "mine.py: 2 of 2 correct" in said.out
        assert "not all could be written: No space left" in said.err
    assert (folder / "mine.py.json").exists() == (fails != "write_report")
    assert csv_file.exists() == (fails != "write_table")


def test_ctrl_c_keeps_what_is_done(tmp_path):
    (tmp_path / "a.py").write_text(GOOD)
    for name in "bc":
        (tmp_path / f"{name}.py").write_text("while True: pass\n")
    process = subprocess.Popen(
        [sys.executable, "-m", "dlbook", "check", "a.py", "b.py", "c.py", "--jobs", "1",
         "--csv", "grades.csv", "--report", "out"],
        cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip
    end = time.monotonic() + 60
    while not (tmp_path / "out" / "a.py.json").exists() and time.monotonic() < end:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 1 and "Traceback" not in errors
    first, second, third = output.splitlines()
    assert first == "a.py: 2 of 2 correct"
    assert second.startswith("b.py: 0 of 0 correct; ") and second.endswith("interrupted")
    assert third == "c.py: 0 of 0 correct; was not run: interrupted"
    assert len((tmp_path / "grades.csv").read_text("utf-8-sig").splitlines()) == 4


def test_a_torn_record_is_left_out(tmp_path):
    log = tmp_path / "log"
    assert list(grading._events(log)) == []
    log.write_bytes(b'{"kind": "a"}\n\xff\n{"kind": "b"}\n{"kind": ')
    assert [event["kind"] for event in grading._events(log)] == ["a", "b"]


def test_messages_are_cut_between_words():
    assert words.cut("a b", 3) == "a b"
    assert words.cut("one two three four", 15) == "one two three …"
    assert words.cut("x" * 20, 10) == f"{'x' * 9}…"
    for text in ("word " * 50, "x" * 300, "some words and " + "x" * 300):
        for most in (20, 90, 200):
            assert len(words.cut(text, most)) <= most + 1
    assert words.said(KeyError("x" * 500), 50).startswith("KeyError: 'xxx")


def test_a_file_sees_its_folder_and_leaves_progress_alone(tmp_path, kept):
    (tmp_path / "helper.py").write_text("answer = 'ace'\n")
    text = HEAD + "import helper\nassert open('data.txt').read() == 'x'\ncheck('backprop-break', helper.answer)\n"  # fmt: skip
    (tmp_path / "data.txt").write_text("x")
    report = run_text(tmp_path, text)
    assert report["problems"] == [] and report["correct"] == 1
    assert not kept.exists()


def test_a_crash_in_a_notebook_shows_its_line(tmp_path):
    text = as_notebook(HEAD + "\n\ndef f(a, y):\n    b = 1 / 0\n    return b\n\n\n\ncheck('backprop-binary', f)")  # fmt: skip
    report = run_text(tmp_path, text, "mine.ipynb")
    assert "In your line 2: `b = 1 / 0`" in report["exercises"]["backprop-binary"]["lines"]


@pytest.mark.parametrize("before", ["", "\t", "\n", "\r", " ", " \t"])
def test_no_cell_is_a_formula(before):
    """Nor does one begin with what a spreadsheet leaves out before it reads a formula."""
    for sign in "=+-@＝":
        assert grading._cell(f"{before}{sign}cmd()") == f"'{before}{sign}cmd()"
    assert grading._cell("a=b") == "a=b" and grading._cell("\tx") == "'\tx"
    assert grading._cell(3) == 3


def test_one_file_is_reported_in_full(tmp_path, capsys):
    (tmp_path / "mine.py").write_text(GOOD.replace("a - y", "y - a"))
    assert command.main(["check", str(tmp_path / "mine.py")]) == 1
    said = capsys.readouterr().out
    assert said.startswith(
        "mine.py: 1 of 2 correct\n  ✗ backprop-binary: A known mistake: every number"
    )
    assert "      Smallest case: a (1,)" in said
    (tmp_path / "mine.py").write_text(GOOD)
    assert command.main(["check", str(tmp_path / "mine.py")]) == 0
    (tmp_path / "mine.py").write_text("x = 1\n")
    assert command.main(["check", str(tmp_path / "mine.py")]) == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nothing.py"], "there is no nothing.py"),
        (["."], "there is neither a notebook nor a script"),
        (["notes.txt"], "is neither a notebook nor a script (.ipynb or .py)"),
        (["pipe.py"], "is neither a notebook nor a script (.ipynb or .py)"),
        (
            ["mine.py", "--csv", "missing/grades.csv"],
            "cannot write --csv missing/grades.csv: No such",
        ),
        (["mine.py", "--csv", "folder"], "cannot write --csv folder: Is a directory"),
        (["mine.py", "--csv", "mine.py"], "--csv mine.py is one of the files to check"),
        (["mine.py", "--report", "mine.py"], "cannot write --report mine.py: File exists"),
        (
            ["mine.py", "--report", "mine.py/reports"],
            "cannot write --report mine.py/reports: Not a",
        ),
        (["mine.py", "--report", "/proc/reports"], "cannot write --report /proc/reports: "),
    ],
)
def test_the_command_refuses(arguments, said, tmp_path, monkeypatch, capsys):
    """Nothing is run, and nothing is left behind."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(grading, "run", lambda *args: pytest.fail("a file was run"))
    if arguments[0] == "mine.py":
        (tmp_path / "mine.py").write_text(GOOD)
    if arguments[0] != ".":
        (tmp_path / "folder").mkdir()
        (tmp_path / "notes.txt").write_text("x")
        os.mkfifo(tmp_path / "pipe.py")
    before = sorted(tmp_path.rglob("*"))
    assert command.main(["check", *arguments]) == 2
    assert said in capsys.readouterr().err
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    "wrong", [["--seconds", "0"], ["--seconds", "x"], ["--jobs", "0"], [], ["--csv", ""], [""]]
)
def test_a_wrong_command_line_is_refused(wrong, capsys):
    with pytest.raises(SystemExit) as met:
        command.main(["check", *wrong, *([] if not wrong else ["x.py"])])
    assert met.value.code == 2
    assert "usage" in capsys.readouterr().err


# On the site

DATA = """from dlbook.exercises.forms import Exercise


def probes(rng):
    for n in range(1, 4):
        yield (rng.normal(size=n),)


EXERCISES = (
    Exercise(
        label="double-twice",
        task="Write `twice(x)`.",
        reference=lambda x: 2 * x,
        axes="(n) -> (n)",
        probes=probes,
        mistakes=(),
        hints=("a", "b", "c"),
        used="It is {eq}`double-twice`.",
    ),
)
"""
PAGE = """
:::{exercise} Twice
:name: ex-double-twice

Write `twice(x)`.

```{fold} Solution
Add it to itself.
```
:::

```{code-cell} ipython3
from dlbook.exercises import check

def twice(x):
    return ...

check("double-twice", twice)
```

```{code-cell} ipython3
---
tags: [hide-cell, solution]
---
check("double-twice", lambda x: x + x)
```
"""


def test_a_build_holds_a_page_to_its_exercises(tmp_path):
    """It shows what was said; another reference runs the page again, and its solution then fails."""
    small = Small(tmp_path / "book-of-one")
    small.write("dlbook/exercises/double.py", DATA)
    page = (small.book / "double.md").read_text("utf-8")
    small.write("book/double.md", page + PAGE)
    status, _, warnings = small.build()
    assert status == 0, warnings
    boxes = re.findall(r'<div class="answer.*?</div>', small.html("double"), re.S)
    plain = [re.sub(r"<[^>]+>|\s+", " ", box).split() for box in boxes]
    assert " ".join(plain[0]).startswith("○ Not attempted yet. Write twice(x) .")
    assert " ".join(plain[1]) == "✓ Correct, exactly in 6 cases. It is equation (1.1) ."
    assert 'href="#equation-double-twice"' in boxes[1]
    small.edit("dlbook/exercises/double.py", "2 * x", "2 * x + 3")
    for _ in range(2):  # the second time in vain too
        status, _, warnings = small.build()
        assert status != 0
        assert re.search(
            r"book/double\.md:\d+: WARNING: exercise double-twice: .* found not attempted, then wrong",
            warnings,
        ), warnings


def test_an_answer_that_stops_is_held_against_the_mistakes():
    """Without its transpose w fits only square layers: the reader is told what is wrong, and where."""
    exercise = exercises.find("backprop-bp2")

    def answer(w, delta, z):
        return (w @ delta) * z_slope(z)

    def z_slope(z):
        return 1 / (4 * np.cosh(z / 2) ** 2)

    result = judge(exercise, answer)
    assert (result.status, result.name) == (forms.MISTAKE, "w is not transposed")
    assert any("ValueError" in line for line in result.lines) and len(result.lines) <= 4
    assert "matmul" in result.traceback
    stops_too = judge(exercise, lambda w, delta, z: (w @ delta) * np.exp(z))
    assert stops_too.status == forms.CRASHED
