"""Live equations: what a page hands to the browser, and what the browser answers to an edited equation."""

import copy
import json
import sys
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
from compiled import compiled_only
from pages import ROOT

sys.path.insert(0, str(ROOT / "book" / "_ext"))

import live

from dlbook import backprop
from dlbook.tools import checks
from dlbook.verification import verify

pytestmark = compiled_only  # a module is compiled from Numba's types

BP2 = {
    "formula": "Σ_k w_kj * delta_k * σ′(z_j)",
    "wrong": [
        ["the slope is missing", "Σ_k w_kj * delta_k"],
        ["σ instead of its slope", "Σ_k w_kj * delta_k * σ(z_j)"],
    ],
}
BP4 = {"formula": "a_k * delta_j"}
COST = {"formula": "1/2 * Σ_j (y_j - a_j)^2"}


def slope(z):
    return 1 / (2 + np.exp(z) + np.exp(-z))


ENTRIES = {"backprop-bp2": BP2, "backprop-bp4": BP4, "backprop-quadratic-cost": COST}


@pytest.fixture(scope="module")
def app():
    """Return what stands for Sphinx after some equations were checked on a page."""
    rng, found = np.random.default_rng(0), {}

    def publish(record):
        found.setdefault(record["label"], []).append(record["case"])

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DLBOOK_VERIFY", "collect")  # as in a build
        patch.setattr(checks, "_publish", publish)
        for J, K in ((3, 2), (1, 4)):
            w, delta, z = rng.normal(size=(K, J)), rng.normal(size=K), rng.normal(size=J)
            expected = (w.T @ delta) * slope(z)
            verify("backprop-bp2", backprop.bp2, (w, delta, z), expected, by="matrices")
        a, delta = [1, 2], np.array([3.0, 4.0, 5.0])  # a list of whole numbers is an array here
        verify("backprop-bp4", backprop.bp4, (a, delta), np.outer(delta, a), by="NumPy")
        a, y = rng.normal(size=(2, 5))
        cost = (y - a) @ (y - a) / 2
        verify("backprop-quadratic-cost", backprop.quadratic_cost, (a, y), cost, by="NumPy")
        da, z = rng.normal(size=(2, 300))
        verify("backprop-bp1", backprop.bp1, (da, z), da * slope(z), by="NumPy")
        w, a = np.eye(2), np.ones(2)
        expected = a, 1 / (1 + np.exp(-a))
        verify("backprop-forward", backprop.layer_matrix, (w, 0 * a, a), expected, by="NumPy")
    rows = {label: {"page": "backprop"} for label in found}
    domain = SimpleNamespace(cases=lambda: found)
    env = SimpleNamespace(domains={"verified": domain})
    return SimpleNamespace(env=env, verified=[rows])


@pytest.fixture(scope="module")
def given(app):
    """Return the cases that the page can be handed."""
    return live.given(app)["backprop"]


@pytest.fixture(scope="module")
def page(given):
    """Return what the script of a page holds."""
    data = live.script([live.chosen(label, cases) for label, cases in given.items()])
    assert live.with_formulas(data, ENTRIES) == []
    assert live.faults(data) == []
    return data


@pytest.fixture(scope="module")
def judge(page):
    """Return what the browser says of a right-hand side."""
    with live.browser(page) as call:
        yield partial(call, "judge")


def test_what_a_page_hands_over(page):
    assert page.keys() == {"code", "table", "equations"}
    assert set(page["table"]) == {"backprop.bp2", "backprop.bp4", "backprop.quadratic_cost"}
    bp2 = page["equations"]["backprop-bp2"]
    assert (bp2["kernel"], bp2["left"], len(bp2["cases"])) == ("backprop.bp2", ["j"], 2)
    assert page["equations"]["backprop-bp4"]["left"] == ["j", "k"]
    assert page["equations"]["backprop-quadratic-cost"]["left"] == []
    assert json.loads(json.dumps(page, allow_nan=False)) == page


@pytest.mark.parametrize(
    ("label", "text"),
    [
        ("bp2", BP2["formula"]),
        ("bp2", "sum(k, delta[k] * w[k,j]) * σ(z_j) * (1 - σ(z_j))"),
        ("bp2", "exp(-z_j) / (1 + exp(-z_j))^2 * sum(k, w[k, j]·δ_k)"),
        ("bp4", "delta_j * a_k"),
        ("quadratic-cost", "sum(i, (a_i - y_i) * (a_i - y_i)) / 2"),
    ],
)
def test_what_is_right_is_right(judge, label, text):
    said = judge(f"backprop-{label}", text)
    assert said["right"], said
    assert "agrees with the kernel in" in said["words"] and "checked by: " in said["words"]


@pytest.mark.parametrize(
    ("label", "text", "words"),
    [
        ("bp2", "Σ_k w_kj * delta_k", "the slope is missing: at j = "),
        ("bp2", "σ(z_j) * sum(k, w[k,j] * delta[k])", "σ instead of its slope: at j = "),
        ("bp2", "2 * Σ_k w_kj * delta_k * σ′(z_j)", "at j = "),
        ("bp4", "a_k + delta_j", "at j = 2, k = 1: yours 7, the kernel 10"),
        ("quadratic-cost", "Σ_j (y_j - a_j)^2", "yours "),
    ],
)
def test_what_is_wrong_is_shown_where_it_is_worst(judge, label, text, words):
    said = judge(f"backprop-{label}", text)
    assert not said["right"] and said["words"].startswith(words), said


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("", "empty"),
        ("Σ_k w_jk * delta_k", "size"),
        ("w_kj * delta_k", "index"),
        ("Σ_k w_kj * dleta_k", "name"),
        ("(z_j", "bracket"),
        ("z[j,j]", "rank"),
    ],
)
def test_what_cannot_be_read_is_said_in_words_with_its_place(judge, text, kind):
    said = judge("backprop-bp2", text)
    assert not said["right"] and said["kind"] == kind and said["words"]
    assert 0 <= said["start"] <= said["end"] <= len(text)


def test_a_formula_that_is_not_its_kernel_is_a_fault(page):
    data = copy.deepcopy(page)
    entry = BP2 | {"formula": "Σ_k w_kj * delta_k", "wrong": [["nothing at all", BP2["formula"]]]}
    assert live.with_formulas(data, {"backprop-bp2": entry}) == []
    (first, words), (second, others) = live.faults(data)
    assert first == second == "backprop-bp2"
    assert words.startswith("its formula is not its kernel: at j = ")
    assert others.startswith("the wrong form “nothing at all” is not named: agrees with the kernel")


def test_wrong_forms_that_cannot_be_read_or_told_apart_are_faults(page):
    twice = [["two", "a_k"], ["the same", "1 * a_k"], ["unreadable", "w_jk"]]
    data = copy.deepcopy(page)
    live.with_formulas(data, {"backprop-bp4": BP4 | {"wrong": twice}})
    words = [w for _, w in live.faults(data)]
    assert len(words) == 2 and "“the same” is not named: two:" in words[0] and "w" in words[1]


@pytest.mark.parametrize(
    ("label", "entry", "words"),
    [
        ("backprop-bp1", {"formula": "1"}, "has no case that a page can hold"),
        ("backprop-nothing", {"formula": "1"}, "has no case that a page can hold"),
        ("backprop-forward", {"formula": "1"}, "needs a product of BLAS"),
    ],
)
def test_entries_without_a_kernel_in_the_page_are_faults(page, label, entry, words):
    ((found, why),) = live.with_formulas(copy.deepcopy(page), {label: entry})
    assert found == label and words in why


def test_indices_that_nothing_tells_have_to_be_said(page):
    data = copy.deepcopy(page)
    data["equations"]["backprop-bp4"]["left"] = None
    ((_, why),) = live.with_formulas(data, {"backprop-bp4": BP4})
    assert "say left" in why
    said = BP4 | {"left": ["j", "k"]}
    assert live.with_formulas(data, {"backprop-bp4": said}) == [] == live.faults(data)


def test_a_script_is_made_once(given, tmp_path, monkeypatch):
    """The second build takes it from the first one's folder; other cases are another script."""
    some = {"backprop-bp4": given["backprop-bp4"]}
    first = live.written(tmp_path, some, [])
    other = [given["backprop-bp4"][0] | {"by": "somebody else"}]
    assert live.written(tmp_path, {"backprop-bp4": other}, []) != first
    assert len(list(tmp_path.iterdir())) == 2
    monkeypatch.setattr(live, "script", None)  # nothing is made again
    assert live.written(tmp_path, some, []) == first


def test_kernels_that_only_a_picture_calls(given, tmp_path, monkeypatch):
    """They are compiled with the types of their own page's cases; what nobody knows is told."""
    folder = tmp_path / "interactive"
    folder.mkdir()
    words = 'stage.call("backprop.bp4", a, d); stage.call(\n"backprop.bp2"); stage.call("gan.none")'
    (folder / "convolution.js").write_text(words, encoding="utf-8")
    monkeypatch.setattr(live, "STATIC", tmp_path)
    own = {"backprop-bp2": given["backprop-bp2"]}
    pages = {"convolution": own, "backprop": given}
    said = []
    monkeypatch.setattr(live.log, "warning", lambda words, *given, **_: said.append(words % given))
    found = live.borrowed("convolution", pages)
    assert said == ["interactive/convolution.js calls gan.none, of which no case is known"]
    assert [plain["kernel"] for plain in found] == ["dlbook.backprop.bp4"]
    lives = [live.chosen(label, cases) for label, cases in own.items()]
    assert set(live.script(lives, found)["table"]) == {"backprop.bp2", "backprop.bp4"}
    assert live.borrowed("backprop", pages) == []


def test_cases_that_no_page_can_hold(app, given):
    """Of the equations that were checked all but the one whose only case has 300 numbers."""
    assert app.verified[0].keys() - given.keys() == {"backprop-bp1"}
    assert given["backprop-bp4"][0]["args"] == [
        {"float64": [1.0, 2.0]},
        {"float64": [3.0, 4.0, 5.0]},
    ]
    plain = given["backprop-bp4"][0]
    for args in (
        [{"float64": [None]}],
        [{"float64": [3], "digest": "…"}],
        [{"float64": []}],
        ["a"],
    ):
        assert live.taken(plain | {"args": args}) is None
    assert live.taken(plain | {"kernel": "dlbook.backprop.CLOSE"}) is None
    assert live.taken(None) is None


def test_the_indices_on_the_left():
    assert live.axes(backprop.bp2) == ["j"]
    assert live.axes(backprop.quadratic_cost) == []
    assert live.axes(backprop.layer) is None  # two results
    assert live.axes(backprop.bp1_matrix) is None  # any shape


def test_every_entry_has_what_it_may_have():
    files = sorted((ROOT / "book" / "live").glob("*.toml"))
    assert len(files) >= 20
    for file in files:
        for label, entry in live.entries(file.stem, ROOT / "book").items():
            assert label.startswith(f"{file.stem}-"), label
            assert "formula" in entry and entry.keys() <= {"formula", "left", "part", "wrong"}, (
                label
            )
            forms = [text for _, text in entry.get("wrong", [])]
            assert len({entry["formula"], *forms}) == 1 + len(forms), label


def test_letters_of_axes_stand_for_their_sizes(judge):
    said = judge("backprop-bp2", "1/K * Σ_k K * w_kj * delta_k * σ′(z_j) + J - Σ_i z_i^0")
    assert said["right"], said


def test_zero_but_for_rounding_is_zero(page):
    """Where every number expected is zero, an error is a share of what was given."""
    data = copy.deepcopy(page)
    data["equations"]["backprop-quadratic-cost"]["cases"] = [
        {"args": [{"float64": [0.1 + 0.2, 1.0]}, {"float64": [0.3, 1.0]}], "by": "NumPy"}
    ]
    with live.browser(data) as call:
        assert call("judge", "backprop-quadratic-cost", "0")["right"]
        assert not call("judge", "backprop-quadratic-cost", "1e-8")["right"]


def test_a_kernel_that_does_not_run_is_a_fault(page):
    data = copy.deepcopy(page)
    data["equations"]["backprop-bp4"]["cases"] = [{"args": [{"float64": [1.0]}], "by": "NumPy"}]
    ((label, words),) = live.faults(data)
    assert label == "backprop-bp4" and "its kernel does not run: " in words
    assert "bp4 takes a, delta" in words
