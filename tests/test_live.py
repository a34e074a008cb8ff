"""Live equations: what a page hands to the browser, and what the browser answers to an edited equation."""

import json
import sys
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


@pytest.fixture(scope="module")
def given():
    """Return the cases of some equations as a page publishes them."""
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
        a, delta = np.array([1.0, 2.0]), np.array([3.0, 4.0, 5.0])
        verify("backprop-bp4", backprop.bp4, (a, delta), np.outer(delta, a), by="NumPy")
        a, y = rng.normal(size=(2, 5))
        cost = (y - a) @ (y - a) / 2
        verify("backprop-quadratic-cost", backprop.quadratic_cost, (a, y), cost, by="NumPy")
        da, z = rng.normal(size=(2, 300))
        verify("backprop-bp1", backprop.bp1, (da, z), da * slope(z), by="NumPy")
    return found


@pytest.fixture(scope="module")
def page(given):
    """Return what the script of a page holds."""
    entries = {"backprop-bp2": BP2, "backprop-bp4": BP4, "backprop-quadratic-cost": COST}
    lives = [live.chosen(label, entry, backprop, given[label]) for label, entry in entries.items()]
    return live.script(backprop, lives)


@pytest.fixture(scope="module")
def judge(page):
    """Return what the browser says of a right-hand side."""
    assert live.faults(page) == []
    engine = live.browser()

    def judged(label, text):
        said = f"JSON.stringify(page.judge({json.dumps(label)}, {json.dumps(text)}))"
        return json.loads(engine.eval(said))

    return judged


def test_what_a_page_hands_over(page):
    assert page.keys() == {"code", "table", "equations"}
    assert set(page["table"]) == {"bp2", "bp4", "quadratic_cost"}
    bp2 = page["equations"]["backprop-bp2"]
    assert (bp2["kernel"], bp2["left"], len(bp2["cases"])) == ("bp2", ["j"], 2)
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
    assert "the kernel's numbers in" in said["words"] and "checked by: " in said["words"]


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


def test_a_formula_that_is_not_its_kernel_is_a_fault(given):
    entry = BP2 | {"formula": "Σ_k w_kj * delta_k", "wrong": [["nothing at all", BP2["formula"]]]}
    data = live.script(
        backprop, [live.chosen("backprop-bp2", entry, backprop, given["backprop-bp2"])]
    )
    (first, words), (second, others) = live.faults(data)
    assert first == second == "backprop-bp2"
    assert words.startswith("its formula is not its kernel: at j = ")
    assert others.startswith("the wrong form “nothing at all” is not named: the kernel's numbers")


def test_a_script_is_written_once(given, tmp_path, monkeypatch):
    """The second build takes it from the first one's folder; another entry is another script."""
    verified = SimpleNamespace(cases=lambda: given)
    app = SimpleNamespace(
        env=SimpleNamespace(domains={"verified": verified}), outdir=tmp_path / "html"
    )
    first = live.written(app, "backprop", {"backprop-bp4": BP4})
    assert first.startswith("(window.dlbook ??= {}).live = {") and '"backprop-bp4"' in first
    other = live.written(app, "backprop", {"backprop-bp4": {"formula": "delta_j * a_k"}})
    assert other != first and len(list((tmp_path / "live").iterdir())) == 2
    monkeypatch.setattr(live, "script", None)  # nothing is made again
    assert live.written(app, "backprop", {"backprop-bp4": BP4}) == first


def test_cases_that_no_page_can_hold(given):
    with pytest.raises(ValueError, match="no case that a page can hold"):
        live.chosen("backprop-bp1", {"formula": "1"}, backprop, given["backprop-bp1"])
    with pytest.raises(ValueError, match="no case"):
        live.chosen("backprop-bp3", {"formula": "1"}, backprop, [])


def test_the_indices_on_the_left():
    assert live.axes(backprop.bp2) == ["j"]
    assert live.axes(backprop.quadratic_cost) == []
    assert live.axes(backprop.layer) is None  # two results


def test_kernels_that_are_refused_are_named():
    kinds = live.wasm.signature(backprop.layer_matrix, (np.eye(2), np.ones(2), np.ones(2)))
    with pytest.raises(ValueError, match="layer_matrix needs a product of BLAS"):
        live.script(
            backprop,
            [live.Live("backprop-forward", "layer_matrix", ["j"], "0", [], kinds, [])],
        )


def test_every_entry_is_an_equation_with_a_formula():
    entries = live.tomllib.loads((ROOT / "book" / "live.toml").read_text("utf-8"))
    for label, entry in entries.items():
        assert entry.keys() <= {"formula", "left", "wrong"}, label
        assert label.partition("-")[0] in {path.stem for path in (ROOT / "book").glob("*.md")}
