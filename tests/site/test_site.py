"""The built site in a real browser: every page, light and dark, at three widths.

`read.mjs` visits each page once and notes what it finds; the tests say what is right. A missing
browser, a missing Node or a missing site fails them.
"""

import functools
import gzip
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from shares import chosen

ROOT = Path(__file__).resolve().parents[2]
SITE = Path(os.environ.get("DLBOOK_SITE", ROOT / "_build" / "html"))
LIMIT = 450_000  # bytes of a page and its kernels as they are sent
MINUTES = 60  # a limit for a busy machine; a quiet one needs a few


def all_pages():
    """Return the pages of the site; of the listings of source code two stand for all."""
    pages = sorted(str(path.relative_to(SITE)) for path in SITE.rglob("*.html"))
    listings = [page for page in pages if page.startswith("_modules")]
    return [page for page in pages if page not in listings] + listings[:2] or ["index.html"]


def mine(pages):
    """Return those pages that are in the share of ``DLBOOK_PAGES``, and some that every share reads."""
    some = {*chosen(pages, os.environ.get("DLBOOK_PAGES")), "index.html", "backprop.html"}
    return [page for page in pages if page in some]


PAGES = mine(all_pages())
CHAPTERS = [
    page
    for page in PAGES
    if (SITE / page).is_file() and 'class="cell ' in (SITE / page).read_text()
]


def node():
    """Return Node: the one on the path, or the one that came into the environment."""
    return shutil.which("node") or shutil.which("node", path=str(Path(sys.executable).parent))


@functools.cache
def reading():
    """Return what the browser found on all pages, and what kept it from reading."""
    chromium = os.environ.get("CHROMIUM", "/usr/bin/chromium")
    for there, what in (
        ((SITE / "index.html").is_file(), f"no site in {SITE}: run `make book`"),
        (node(), "Node is missing: run `make setup`"),
        (
            (ROOT / "node_modules" / "playwright-core").is_dir(),
            "node_modules is missing: run `make setup`",
        ),
        (shutil.which(chromium), f"no browser at {chromium}: install Chromium or set CHROMIUM"),
    ):
        if not there:
            return {}, what
    out = SITE.parent / "site.json"
    out.unlink(missing_ok=True)
    command = [
        node(),
        Path(__file__).with_name("read.mjs"),
        SITE,
        out,
        ",".join(CHAPTERS),
        ",".join(PAGES),
    ]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=60 * MINUTES, check=False
    )
    if done.returncode or not out.is_file():
        return {}, f"the browser stopped: {done.stderr[-2000:]}"
    return json.loads(out.read_text(encoding="utf-8")), None


def found(page):
    """Return what was found on one page."""
    report, problem = reading()
    assert problem is None, problem
    assert "failed" not in report[page], report[page].get("failed")
    return report[page]


def everywhere(page, what):
    """Return the non-empty findings of one kind, by theme and width."""
    return {where: look[what] for where, look in found(page)["looks"].items() if look[what]}


each_page = pytest.mark.parametrize("page", PAGES)
each_chapter = pytest.mark.parametrize("page", CHAPTERS)


def test_there_are_chapters():
    """A site without executed pages would pass everything below."""
    assert found("index.html")
    assert CHAPTERS, "no page of the site has a cell"


@each_page
def test_no_request_leaves(page):
    """Nothing is asked of another host, over http or from a folder, and nothing is missing."""
    assert not found(page)["outside"]
    assert not found(page)["missing"]


@each_page
def test_the_console_is_silent(page):
    """No error and no warning, with scripts and without, over http and from a folder."""
    assert not found(page)["noise"]


@each_page
def test_axe_finds_nothing(page):
    """No rule of WCAG 2.0 to 2.2 AA and no best practice is violated, and none is switched off.

    The dark page consists of and shows the same as the light one, so that only the rules about
    colours are asked again.
    """
    assert found(page)["same"]
    seen = found(page)["axe"]
    assert len(seen) == (6 if page in CHAPTERS else 4)
    assert not {where: rules for where, rules in seen.items() if rules}


@each_page
def test_no_page_scrolls_sideways(page):
    """Wide things scroll in their own boxes, and the keys reach those boxes."""
    assert len(found(page)["looks"]) == 6
    assert not {
        where: look["overflow"]
        for where, look in found(page)["looks"].items()
        if look["overflow"] > 0
    }
    assert not everywhere(page, "stuck")


@each_chapter
def test_figures_are_legible_on_a_phone(page):
    """Text of 8 points, the smallest of a figure, is at least 9 pixels high at every width."""
    assert not everywhere(page, "small")


@each_chapter
def test_code_fits(page):
    """From 768 px on every line of code is seen whole."""
    clipped = everywhere(page, "clipped")
    assert not {where: lines for where, lines in clipped.items() if not where.endswith(" 390")}


@each_chapter
def test_formulas_fit(page):
    """On a desktop no formula is wider than its column, so that none loses its end."""
    cut = everywhere(page, "cut")
    assert not {where: lines for where, lines in cut.items() if where.endswith(" 1280")}


@each_page
def test_pictures_have_words(page):
    """Each image and each frame of a figure has an alternative text that is not a file's name."""
    assert not everywhere(page, "nameless")


@each_page
def test_nothing_is_left_raw(page):
    """No TeX, no role and no fence reaches the reader; all mathematics is set in its own fonts."""
    assert not everywhere(page, "broken")
    assert not everywhere(page, "raw")
    assert all(look["fonts"] for look in found(page)["looks"].values())


@each_page
def test_numbers_and_marks_stand_clear(page):
    """No formula runs under its number or its mark, and both are on the screen."""
    assert not everywhere(page, "overlapping")


@each_page
def test_weight(page):
    """A page with its kernels, compressed as it is sent, is light."""
    found(page)
    files = [SITE / page, SITE / "live" / Path(page).with_suffix(".js").name]
    size = sum(len(gzip.compress(file.read_bytes(), 6)) for file in files if file.exists())
    assert size <= LIMIT, f"{size:,} bytes"


@each_page
def test_without_scripts(page):
    """Text, mathematics and the first frame of every figure are there without scripts."""
    still = found(page)["still"]
    html = (SITE / page).read_text(encoding="utf-8")
    assert still["words"] >= 0.9 * found(page)["looks"]["light 390"]["words"]
    assert bool(still["formulas"]) == ('class="katex"' in html)
    assert all(frames == 1 for frames in still["figures"])
    assert len(still["figures"]) == html.count('<div class="art">')
    assert still["sliders"] == 0
    assert still["overflow"] <= 0


@each_page
def test_on_paper(page):
    """A printed page clips nothing and shows no furniture."""
    paper = found(page)["print"]
    assert paper == {"overflow": min(0, paper["overflow"]), "furniture": 0, "clipped": []}


@each_chapter
def test_the_keyboard_reaches_everything(page):
    """Tab comes to each mark, fold, slider, link, the search and the change of colours."""
    assert not found(page)["keys"]["unreached"]


@each_chapter
def test_marks_open(page):
    """A story opens, is on the screen whole, and moves nothing."""
    html = (SITE / page).read_text(encoding="utf-8")
    for width, marks in found(page)["keys"]["marks"].items():
        assert len(marks) == html.count('<details class="mark'), width
        for mark in marks:
            state = {k: mark[k] for k in ("open", "fits", "covered", "moved")}
            assert state == {"open": True, "fits": True, "covered": False, "moved": False}, (
                width,
                mark["words"],
            )
            assert len(mark["words"]) > 20


@each_chapter
def test_marks_open_by_key(page):
    """The first marks open, let the focus in and close by key; one opens under the pointer too."""
    for width, marks in found(page)["keys"]["marks"].items():
        for mark in marks[:3]:
            assert mark["opened"] and mark["entered"] and mark["closed"], (width, mark["words"])
        for mark in marks[:1]:
            assert mark["hovered"] and mark["dismissed"], width
            assert width != "390" or mark["axe"] == []


@each_chapter
def test_sliders_change_the_frame(page):
    """Each slider has a label and says its value; arrow, home and end change the frame shown."""
    html = (SITE / page).read_text(encoding="utf-8")
    sliders = found(page)["keys"]["sliders"]
    assert len(sliders) == html.count('<div class="slider"')
    for slider in sliders:
        steps = [slider[k] for k in ("first", "second", "last")]
        assert all(step["label"].strip() and step["text"].strip() for step in steps)
        assert [step["shown"] for step in steps] == [0, 1, slider["frames"] - 1]
        assert steps[0]["text"] != steps[1]["text"]


@pytest.mark.parametrize("kind", ["http", "file"])
def test_search(kind):
    """Words are found over http, with excerpts, and from a folder, without."""
    search = found("furniture")["search"]
    assert search[kind]["results"] > 0
    assert (search[kind]["excerpts"] > 0) == (kind == "http")
    assert not search[kind]["axe"]
    assert search["typed"]


def asked(query):
    """Return what the search answered."""
    return found("furniture")["search"]["asked"][query]


@pytest.mark.parametrize(
    ("query", "page"), [("softmax", "linear_classification"), ("LSTM", "gated")]
)
def test_chapters_are_found_before_functions(query, page):
    pages = [link.partition(".html")[0] for link in asked(query)["pages"]]
    functions = [n for n, name in enumerate(pages) if name.startswith("api/")]
    assert page in pages[: min(functions)]
    assert functions == list(range(min(functions), min(functions) + len(functions)))


def test_equations_are_found_by_number():
    """And nothing else is, since no page has the number as a word."""
    answer = asked("8.9")
    assert len(answer["equations"]) == 1 and answer["equations"][0].startswith("(8.9) ")
    assert not answer["pages"] and not answer["meant"]


def test_a_small_sigma_is_not_a_large_one():
    small, large = asked("σ′")["equations"], asked("Σ")["equations"]
    assert small and large
    assert all("σ′" in text.replace("'", "′") for text in small)
    assert all("Σ" in text for text in large)


def test_a_misspelt_word_is_told():
    assert asked("backpropogation")["meant"] == ["Did you mean backpropagation?"]
    assert not any(asked(query)["meant"] for query in ("softmax", "LSTM", "overflow"))


def test_excerpts_have_no_markup():
    texts = [text for query in ("softmax", "overflow") for text in asked(query)["excerpts"]]
    assert texts
    assert not [text for text in texts if "\\" in text]


@each_page
def test_pages_are_described(page):
    """For search engines, and for those to whom a link is sent: once, in a sentence or two."""
    html = (SITE / page).read_text(encoding="utf-8")
    assert html.count('<meta name="viewport"') == 1
    assert html.count('<meta property="og:title"') == 1
    if page in CHAPTERS:
        (words,) = re.findall(r'<meta name="description" content="([^"]*)"', html)
        assert 40 < len(words) <= 260 and "\\" not in words


@pytest.mark.parametrize("drawer", ["chapters", "contents"])
def test_drawers(drawer):
    """On a phone the chapters and the contents open, take the focus and close by key."""
    state = found("furniture")["drawers"][drawer]
    assert state == {"before": False, "opened": True, "entered": True, "axe": [], "closed": True}


def test_colours_change():
    """The button goes through automatic, dark and light, and the paper follows."""
    themes = [state.split(" ", 1) for state in found("furniture")["themes"]]
    assert [theme for theme, _ in themes] == ["auto", "dark", "light"]
    assert themes[0][1] == themes[2][1] != themes[1][1]
