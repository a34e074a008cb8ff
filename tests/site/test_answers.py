"""Live equations in a real browser, from a folder: what is typed, and what the book's kernels answer."""

import functools
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from test_site import ROOT, SITE, node

sys.path.insert(0, str(ROOT / "book" / "_ext"))

import live

CHOSEN = {  # ten equations of five chapters
    "linear_regression": ("rss", "gradient"),
    "linear_classification": ("softmax", "softmax-ce-gradient"),
    "backprop": ("bp2", "bp4"),
    "gated": ("forget", "gru-state"),
    "attention": ("scaled-dot", "dq"),
}
EDITS = [(stem, f"{stem}-{name}") for stem, names in CHOSEN.items() for name in names]
NONSENSE = {
    "": "there is nothing here yet",
    "(1 + 2": "“(” is not closed",
    "nobody": "nobody is not known here",
    "1 2": "an operator is missing before “2”",
    "1 / Σ_q": "the text ends where a value is expected",
}


def entry(label):
    return live.entries(label.partition("-")[0], ROOT / "book")[label]


def typed(label):
    """Return what is typed for an equation: the book's form, the wrong ones, nonsense."""
    return [entry(label)["formula"], *(text for _, text in entry(label)["wrong"]), *NONSENSE]


@functools.cache
def answers():
    """Return what the browser saw."""
    edits, out = SITE.parent / "edits.json", SITE.parent / "answers.json"
    rows = [{"page": f"{s}.html", "label": label, "texts": typed(label)} for s, label in EDITS]
    edits.write_text(json.dumps(rows), encoding="utf-8")
    command = [node(), Path(__file__).with_name("answers.mjs"), SITE, edits, out]
    done = subprocess.run(command, capture_output=True, text=True, timeout=1800, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(out.read_text(encoding="utf-8"))


@pytest.mark.parametrize("label", [label for _, label in EDITS])
def test_edited_equations_are_judged(label):
    """The book's own form is right, a known wrong one is named, nonsense is told in words."""
    (said,) = (edit["said"] for edit in answers()["edits"] if edit["label"] == label)
    opened, right, *others = said
    wrong = entry(label)["wrong"]
    assert opened == right and right.startswith("✓ agrees with the kernel in ")
    assert ". The kernel was checked by: " in right
    assert len(wrong) >= 2
    for (name, _), words in zip(wrong, others[: len(wrong)], strict=True):
        assert words.startswith(f"✗ {name}: ") and "yours " in words, words
    for expected, words in zip(NONSENSE.values(), others[len(wrong) :], strict=True):
        assert words.startswith(f"✗ {expected}"), words


@pytest.mark.parametrize("stem", CHOSEN)
def test_kernels_give_in_the_page_what_they_give_here(stem):
    """Bit for bit, but for what the mathematics library of this processor rounds otherwise."""
    rows = answers()["kernels"][f"{stem}.html"]
    assert len(rows) >= 10
    for row in rows:
        kernel = live.found_kernel(f"dlbook.{row['kernel']}")
        for case in row["cases"]:
            args = tuple(map(live.decoded, case["args"]))
            expected = [np.asarray(part, float).ravel() for part in leaves(kernel(*args))]
            given = [np.array(part["data"], float) for part in flat(case["result"])]
            for there, here in zip(given, expected, strict=True):
                if row["maths"]:
                    np.testing.assert_allclose(there, here, rtol=1e-12, atol=1e-12 * size(here))
                else:
                    np.testing.assert_array_equal(there, here, row["kernel"])


def size(numbers):
    return np.nanmax(np.abs(numbers), initial=0, where=np.isfinite(numbers))


def leaves(value):
    return [p for part in value for p in leaves(part)] if isinstance(value, tuple) else [value]


def flat(value):
    return [p for part in value for p in flat(part)] if isinstance(value, list) else [value]


def test_nothing_leaves_the_page():
    """From a folder no request goes anywhere else, and the console is silent."""
    assert answers()["outside"] == []
    assert answers()["noise"] == []


def test_the_keyboard_is_enough():
    keys = answers()["keys"]
    assert keys["entered"] and keys["closed"]
    assert keys["typed"].startswith("✗ at j = ") and keys["yours"] > 0


def test_numbers_can_be_changed():
    """The kernel answers to other numbers; what is not a number, or does not fit, is said in words."""
    before, zero, verdict, word, many, again = answers()["numbers"]
    assert set(zero.split()) == {"0"} != set(before.split())
    assert verdict.startswith("✓") and " and with your numbers" in verdict
    assert word == "✗ delta: “one” is not a number"
    assert many.startswith("✗ delta has 9 along k, w has ")
    assert again == before


def test_forms_are_one_click_away():
    (own, right), *wrong = answers()["forms"]
    assert own == "as the book has it" and right.startswith("✓")
    assert [name for name, _ in wrong] == [name for name, _ in entry("backprop-bp2")["wrong"]]
    assert all(words.startswith(f"✗ {name}: ") for name, words in wrong)


def test_open_panels_are_accessible():
    found = answers()["axe"]
    assert all(found[where] <= 0 for where in found if where.endswith("overflow"))
    assert not [
        what for where, some in found.items() if not where.endswith("overflow") for what in some
    ]
