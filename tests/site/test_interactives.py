"""Interactives in a real browser: whatever is set, they show what the book's own kernels give."""

import base64
import functools
import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from test_site import ROOT, SITE, mine, node

sys.path.insert(0, str(ROOT / "book" / "_ext"))

import live

from dlbook.nets import Transformer
from dlbook.tools import data
from dlbook.tools.flat import like
from dlbook.tools.sweeps import stored

FIGURE = re.compile(
    r'<figure class="interactive" style="[^"]*" data-name="([^"]*)" data-page="[^"]*"'
    r'(?: data-learned="([^"]*)")?(?: data-(weight)=)?'
)
EVERY = {
    page.name: names
    for page in sorted(SITE.glob("*.html"))
    if (names := FIGURE.findall(page.read_text(encoding="utf-8")))
}
FOUND = {page: EVERY[page] for page in mine([*EVERY]) if page in EVERY}
FIGURES = [(page, name) for page, names in FOUND.items() for name, _, _ in names]
each = pytest.mark.parametrize(("page", "name"), FIGURES)


@functools.cache
def browsed():
    """Send a browser through the pages; return whether and what it complained, once for all tests."""
    out = SITE.parent / "interactive.json"
    command = [node(), Path(__file__).with_name("interactive.mjs"), SITE, ",".join(FOUND), out]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=1800, check=False)
    except subprocess.TimeoutExpired as error:
        return str(error), {}
    if done.returncode:
        return done.stderr[-2000:], {}
    return "", json.loads(out.read_text(encoding="utf-8"))


def report():
    """Return what the browser saw."""
    complaint, seen = browsed()
    assert not complaint, complaint
    return seen


@functools.cache
def learned(page, name):
    """Return what the page has handed to a picture, arrays as it does."""
    file = next(file for one, file, _ in EVERY[page] if one == name)
    if not file:
        return {}
    path = SITE / "live" / file
    text = path.read_text(encoding="utf-8")
    values = json.loads(text[text.index("{", text.index("learned =")) : text.rindex(";")])
    return {
        key: np.frombuffer(base64.b64decode(value["numbers"]), value["dtype"]).reshape(
            value["shape"]
        )
        for key, value in values.items()
        if isinstance(value, dict) and "numbers" in value
    }


def states(page, name):
    return report()[page]["figures"][name]


def given(value, kind, known):
    """Return what a page handed to a kernel, as Python has it."""
    if isinstance(kind, dict) and "tuple" in kind:
        return tuple(
            given(part, one, known) for part, one in zip(value, kind["tuple"], strict=True)
        )
    if isinstance(kind, dict):
        if not isinstance(value, dict):
            return np.array(value, kind["array"]).reshape(
                np.shape(value) or (0,) * len(kind["axes"])
            )
        flat = (
            known[value["learned"]].ravel()[value["start"] :]
            if "learned" in value
            else value["data"]
        )
        size = int(np.prod(value["shape"]))
        return np.array(flat[:size], kind["array"]).reshape(value["shape"])
    return value if kind in ("bool", "none") else np.dtype(kind).type(value)


def numbers(value):
    """Return the numbers in results, with what is no number in JSON as NaN."""
    parts = value if isinstance(value, (tuple, list)) else [value]
    if isinstance(value, np.ndarray) or not isinstance(value, (tuple, list)):
        return np.atleast_1d(np.array(value, float)).ravel()
    return np.concatenate([numbers(part) for part in parts]) if parts else np.zeros(0)


def test_every_part_has_some():
    text = (ROOT / "book" / "index.md").read_text(encoding="utf-8")
    parts = re.findall(r"```\{chapters\}\n(.*?)```", text, re.S)
    counts = [
        sum(len(EVERY.get(f"{p}.html", ())) for p in re.findall(r"^(\w+): ", part, re.M))
        for part in parts
    ]
    assert len(counts) == 7 and min(counts) >= 1 and sum(counts) >= 15


@each
def test_it_shows_what_the_kernels_give(page, name):
    """Each call that was made for a picture is made again here; of very many the first and the last."""
    text = (SITE / "live" / page.replace(".html", ".js")).read_text(encoding="utf-8")
    table = json.loads(text[text.index("{", text.index("live =")) : text.rindex(";")])["table"]
    assert all(state["calls"] for state in states(page, name))
    known = learned(page, name)
    for state in states(page, name):
        for call in state["calls"]:
            kernel = live.found_kernel(f"dlbook.{call['name']}")
            kinds = table[call["name"]]["args"].values()
            args = [given(*pair, known) for pair in zip(call["given"], kinds, strict=True)]
            here = numbers(kernel(*args))
            there = numbers(call["result"])
            here = np.where(np.isfinite(here), here, np.nan)  # JSON has no other words
            size = np.nanmax(np.abs(here), initial=0, where=np.isfinite(here))
            np.testing.assert_allclose(
                there, here, rtol=1e-11, atol=1e-12 * size, err_msg=call["name"]
            )


@each
def test_controls_change_it_and_words_say_so(page, name):
    first, *others = states(page, name)
    assert len(others) >= 2 and len(first["words"]) > 40
    assert len({state["words"] for state in [first, *others]}) >= 3
    for state in [first, *others]:
        assert state["words"].strip() and set(state["titles"]) == {state["words"]}
        assert "undefined" not in state["words"] and "NaN" not in state["words"]
        assert all(state["drawn"]) and state["wild"] == 0, state["values"]


@each
def test_its_place_was_kept(page, name):
    """What is drawn without being asked for moves nothing, and leaves no hole."""
    asked = {one for one, _, weight in EVERY[page] if weight}
    heights = report()[page]["heights"]
    assert heights.keys() | asked == {one for one, _, _ in EVERY[page]}
    for width, (kept, needed) in heights.get(name, {}).items():
        assert needed <= kept <= needed + 40, width


@pytest.mark.parametrize("page", [page for page in FOUND if page == "transformer.html"])
def test_the_prompted_decoder_is_the_stored_one(page):
    """What kernels make of the stored numbers, with keys and values kept, is what the network gives."""
    kept = data.writer()
    net = Transformer(len(kept.symbols), **stored("transformer-text")["settings"])
    params = like(net.init(np.random.default_rng(0)), kept.numbers)
    for state in states(page, "prompt"):
        ids, scores = state["numbers"]["ids"], state["numbers"]["scores"]
        if len(ids) > net.length:  # it has begun anew, with the last ones
            continue
        found = net.outputs(params, None, np.array([ids]))[0, -1]
        np.testing.assert_allclose(scores, found, atol=1e-4 * np.abs(found).max())
    assert len(states(page, "prompt")[0]["numbers"]["ids"]) > 70


@pytest.mark.parametrize("page", FOUND)
def test_nothing_leaves_the_page_and_nothing_complains(page):
    assert report()[page]["outside"] == []
    assert report()[page]["noise"] == []
    assert not [what for some in report()[page]["axe"].values() for what in some]
