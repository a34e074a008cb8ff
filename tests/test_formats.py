"""The book for a reader, on paper and in archives: made from a site of two chapters, and from the whole."""

import hashlib
import json
import re
import sys
import zipfile
from collections import Counter
from urllib.parse import urldefrag

import pytest
from building import OUT
from lxml import etree
from pages import ROOT, chapters

sys.path.insert(0, str(ROOT))
sys.path.insert(0, str(ROOT / "book" / "_ext"))

import archives
import epub
import pdf
import release
import tiny
import volume

from benchmarks import machine, report

HTML = "{http://www.w3.org/1999/xhtml}"
MATHML = "{http://www.w3.org/1998/Math/MathML}"
SVG = "{http://www.w3.org/2000/svg}"


class Made:
    """An EPUB as it was read: its bytes by name, its pages as trees in the order of the book."""

    def __init__(self, file):
        self.bytes = file.read_bytes()
        with zipfile.ZipFile(file) as book:
            self.names = book.namelist()
            self.stored = book.getinfo("mimetype").compress_type == zipfile.ZIP_STORED
            self.dates = {entry.date_time for entry in book.infolist()}
            self.content = {name: book.read(name) for name in self.names}
        self.package = etree.fromstring(self.content["book/book.opf"])
        self.items = {item.get("id"): item for item in self.package.iter("{*}item")}
        self.order = [item.get("idref") for item in self.package.iter("{*}itemref")]
        self.pages = {
            name: etree.fromstring(self.content[f"book/{self.items[name].get('href')}"])
            for name in self.order
        }

    def text(self, name):
        return " ".join("".join(self.pages[name].itertext()).split())

    def links(self):
        """Return (page, target) of each link."""
        return [
            (name, link.get("href"))
            for name, page in self.pages.items()
            for link in page.iter(f"{HTML}a")
        ]

    def faults(self):
        """Return links that lead nowhere and ids that are there twice."""
        found = []
        idents = {name: Counter(page.xpath("//@id")) for name, page in self.pages.items()}
        for name, there in idents.items():
            found += [f"{name}: {ident} twice" for ident, count in there.items() if count > 1]
        for name, target in self.links():
            if re.match("https?:", target):
                continue
            file, ident = urldefrag(target)
            to = file.removesuffix(".xhtml")
            if to not in idents or (ident and ident not in idents[to]):
                found.append(f"{name}: {target}")
        return found


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    return tiny.made(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def made(site, tmp_path_factory):
    file = tmp_path_factory.mktemp("epub") / "book.epub"
    epub.epub(site[0], file, site[1])
    return Made(file)


def test_pages_stand_in_the_order_of_the_book(made):
    """The front, each part before its chapters, and of the reference what makes sense without a site."""
    chapters = ["part-networks", "backprop", "training"]
    assert made.order == ["title", "contents", "preface", *chapters, "part-reference", "equations"]
    shown = [urldefrag(link.get("href"))[0] for link in made.pages["contents"].iter(f"{HTML}a")]
    assert list(dict.fromkeys(shown)) == [f"{name}.xhtml" for name in made.order if name not in ("title", "contents")]  # fmt: skip
    part = made.pages["contents"].find(f".//{HTML}a[@href='part-networks.xhtml']").getparent()
    below = [link.get("href") for link in part.iter(f"{HTML}a")]
    assert below[1:4] == ["backprop.xhtml", "backprop.xhtml#chain", "backprop.xhtml#exercises"]


def test_the_book_is_an_epub(made):
    """What tells it from any other archive, and what its list says of each page."""
    assert made.names[0] == "mimetype" and made.stored and made.dates == {(1980, 1, 1, 0, 0, 0)}
    assert {f"book/{item.get('href')}" for item in made.items.values()} == {
        name for name in made.names if name.endswith((".xhtml", ".css", ".svg"))
    }
    for name, page in made.pages.items():
        said = set(made.items[name].get("properties", "").split()) - {"nav"}
        kinds = {"mathml": MATHML, "svg": SVG}
        assert said == {kind for kind, space in kinds.items() if page.find(f".//{space}*") is not None}  # fmt: skip


def test_every_link_leads_somewhere_and_every_id_is_one(made):
    assert made.faults() == []
    links = [target for name, target in made.links() if name == "backprop"]
    assert {"training.xhtml#loop", "training.xhtml", "https://example.org/"} <= {*links}
    assert not [link for link in links if "api" in link or "nowhere" in link]
    assert "a function, nothing and another host" in made.text("backprop")


def test_nothing_moves(made):
    """No script and nothing that waits for one, nothing folded, nothing of a site's own."""
    gone = {"script", "button", "input", "details", "summary", "audio", "label", "nav"}
    for name, page in made.pages.items():
        tags = {etree.QName(element).localname for element in page.iter(etree.Element)}
        assert not tags & (gone - {"nav"} if name == "contents" else gone), name
        source = made.content[f"book/{name}.xhtml"].decode()
        for word in (
            "var(",
            "currentColor",
            " hidden",
            "data-name",
            "headerlink",
            "Read elsewhere",
        ):
            assert word not in source, (name, word)
    assert "folded = 1" not in made.text("backprop") and "shown = 2" in made.text("backprop")
    assert "Symbols of this page" in made.text("backprop")
    assert "♪ two notes" in made.text("backprop")
    assert "Not attempted" not in made.text("backprop")


def test_formulas_are_mathml(made):
    """With their TeX as a text, and with as many children as an element of MathML may have."""
    formulas = list(made.pages["backprop"].iter(f"{MATHML}math"))
    assert formulas and not list(made.pages["backprop"].iter(f"{MATHML}annotation"))
    assert all(len(formula) == 1 and formula.get("alttext") for formula in formulas)
    below = made.pages["backprop"].find(f".//{MATHML}msub")
    assert [child.text for child in below] == ["λ", "max"]
    assert "katex-html" not in made.content["book/backprop.xhtml"].decode()


def test_an_equation_has_its_number_and_its_mark(made):
    place = made.pages["backprop"].find(".//*[@id='equation-backprop-a']")
    mark = place.find(".//*[@class='mark']")
    assert mark.tag == f"{HTML}span" and "".join(mark.itertext()) == "✓ 2e-16"
    assert place.find(".//*[@class='number']").text == "(1.1)"


def test_a_figure_shows_what_its_slider_shows_first(made):
    (figure,) = made.pages["backprop"].iter(f"{HTML}figure")
    (frame,) = figure.iterfind(".//*[@role='img']")
    assert frame.get("aria-label") == "picture 1"
    (drawing,) = frame.iter(f"{SVG}svg")
    assert drawing.get("viewBox") and drawing.find(f"{SVG}clipPath") is not None
    source = etree.tostring(drawing).decode()
    assert all(ink in source for ink in ("#1b1b1f", "#c8c8cd", "#ffffff"))
    assert "units: 7. One of 3 pictures" in made.text("backprop")


def test_solutions_stand_at_the_end_of_a_chapter(made):
    """Behind the hints, with links to and fro."""
    page = made.pages["backprop"]
    exercise = page.find(".//*[@id='ex-backprop-bp2']")
    assert exercise.find(f".//{HTML}a").get("href") == "backprop.xhtml#solution-ex-backprop-bp2"
    solution = page.find(".//*[@id='solution-ex-backprop-bp2']")
    assert solution.find(f".//{HTML}a").get("href") == "backprop.xhtml#ex-backprop-bp2"
    assert len(solution.findall(f"./{HTML}ol/{HTML}li")) == 3
    words = "".join(solution.itertext())
    for said in ("It is one product.", "solved = w.T @ delta", "✓ Correct."):
        assert said in words and said not in "".join(exercise.itertext())
    assert page.find(f"{HTML}body")[0][-1].get("id") == "solutions"


def test_the_same_site_gives_the_same_bytes(site, made, tmp_path):
    epub.epub(site[0], tmp_path / "again.epub", site[1])
    assert (tmp_path / "again.epub").read_bytes() == made.bytes
    for k in "ab":
        archives.archives(site[0], tmp_path / f"{k}.zip", tmp_path / f"{k}n.zip", site[1])
    for name in ("{}.zip", "{}n.zip"):
        a, b = ((tmp_path / name.format(k)).read_bytes() for k in "ab")
        assert a == b


def test_archives_hold_what_a_reader_needs(site, tmp_path):
    whole, notebooks = tmp_path / "site.zip", tmp_path / "notebooks.zip"
    counts = archives.archives(site[0], whole, notebooks, site[1])
    with zipfile.ZipFile(whole) as archive:
        names = archive.namelist()
    assert {"dlbook-site/index.html", "dlbook-site/_static/katex/katex.min.css"} <= {*names}
    assert not [name for name in names if "/." in name]
    with zipfile.ZipFile(notebooks) as archive:
        assert archive.namelist() == ["dlbook-notebooks/01-backprop.ipynb"]
    assert counts == [len(names), 1]


@pytest.mark.parametrize(
    "make", [epub.epub, pdf.pdf, lambda s, f, b: archives.archives(s, f, f, b)]
)
def test_another_site_is_refused(make, tmp_path):
    """One that is missing, and one whose pages have changed since; nothing is written."""
    with pytest.raises(FileNotFoundError, match=r"no site in .*: run `make book`"):
        make(tmp_path, tmp_path / "book", tmp_path)
    site, book = tiny.made(tmp_path)
    (book / "training.md").write_text("# Another\n", encoding="utf-8")
    before = sorted(tmp_path.iterdir())
    with pytest.raises(ValueError, match=r"was not built from .* as it is now: run `make book`"):
        make(site, tmp_path / "made", book)
    assert sorted(tmp_path.iterdir()) == before


def test_a_missing_browser_is_named(site, tmp_path, monkeypatch):
    monkeypatch.setenv("CHROMIUM", str(tmp_path / "chromium"))
    with pytest.raises(FileNotFoundError, match=r"no browser at .*chromium: install Chromium"):
        pdf.pdf(site[0], tmp_path / "book.pdf", site[1])
    assert not list(tmp_path.iterdir())


# Releases


@pytest.fixture
def tree(tmp_path, monkeypatch):
    """Return a tree with one commit, and results that were measured at it."""
    monkeypatch.setattr(machine, "ROOT", tmp_path)
    for name in ("dlbook/x.py", "dlbook/fast/a.py", "benchmarks/row.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x = 1\n", encoding="utf-8")
    machine.git("init", "-q")
    machine.git("add", ".")
    machine.git("-c", "user.name=x", "-c", "user.email=x@x", "commit", "-qm", "x")
    commit = machine.git("rev-parse", "--short=10", "HEAD")
    said = {"commit": commit, "changed": False, "code": machine.code()}
    return {"machine": said, "rows": [{"name": "a", "threads": 1, "error": ""}]}


def test_a_clean_tree_with_its_results_may_be_released(tree):
    assert [*release.uncommitted(), *release.outdated(tree, {("a", 1)})] == []


def test_what_is_not_committed_is_not_released(tree):
    (machine.ROOT / "dlbook" / "x.py").write_text("x = 2\n", encoding="utf-8")
    assert [*release.uncommitted()] == ["1 changes are not committed: dlbook/x.py"]


def test_a_tree_without_history_is_not_released(tmp_path, monkeypatch):
    monkeypatch.setattr(machine, "ROOT", tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert "has no history" in next(release.uncommitted())


@pytest.mark.parametrize(
    ("said", "declared", "reason"),
    [
        ({}, {("a", 1), ("b", 1)}, r"lack 1 of 2 rows \(b\)"),
        ({"commit": "0123456789"}, {("a", 1)}, "unknown commit"),
        ({"commit": ""}, {("a", 1)}, "unknown commit"),
        ({"changed": True}, {("a", 1)}, "another state"),
        ({"code": "0123456789"}, {("a", 1)}, "another state"),
    ],
)
def test_results_that_are_stale_are_not_released(said, declared, reason, tree):
    tree["machine"] |= said
    (found,) = release.outdated(tree, declared)
    assert re.search(reason, found)


def test_a_release_without_results_is_none(monkeypatch):
    def none():
        raise FileNotFoundError("no results")

    monkeypatch.setattr(report, "newest", none)
    assert "no results" in release.reasons()


def test_sums_are_as_other_programs_read_them(tmp_path):
    (tmp_path / "b.txt").write_bytes(b"b")
    (tmp_path / "a.txt").write_bytes(b"a")
    for _ in range(2):  # the sums do not sum themselves
        assert release.summed(tmp_path) == ["a.txt", "b.txt"]
    first, second = (tmp_path / "SHA256SUMS").read_text().splitlines()
    assert first == f"{hashlib.sha256(b'a').hexdigest()}  a.txt" and second.endswith("  b.txt")


# The whole book


@pytest.fixture(scope="module")
def whole(build, tmp_path_factory):
    file = tmp_path_factory.mktemp("whole") / "book.epub"
    epub.epub(OUT, file)
    return Made(file)


def test_the_whole_book_is_there_and_its_links_lead_somewhere(whole):
    assert [name for name in whole.order if name in chapters()] == chapters()
    assert {*volume.REFERENCE, "preface", "paths", "notation", "primer"} <= {*whole.order}
    assert whole.faults() == []


def test_every_equation_of_the_whole_book_has_its_mark(build, whole):
    """In its place, and with as good a word as the site has."""
    for label, row in build.equations.items():
        page = whole.pages[row["page"]]
        place = page.xpath("//*[@id=$ident]", ident=f"equation-{label}".replace("_", "-"))
        assert place, label
        mark = "".join(place[0].xpath(".//*[@class='mark']//text()"))
        assert mark.startswith("✓ ") == row["passed"], label


def test_every_exercise_of_the_whole_book_has_hints_and_a_solution(whole):
    names = json.loads((OUT / "notebooks" / "names.json").read_text("utf-8"))["names"]
    wanted = [name for name in names if name.startswith("ex-")]
    solutions = [
        solution
        for page in whole.pages.values()
        for solution in page.xpath("//*[starts-with(@id, 'solution-ex-')]")
    ]
    assert len(solutions) == len(wanted)
    assert all(len(solution.findall(f"./{HTML}ol/{HTML}li")) == 3 for solution in solutions)
    assert all(len(solution) > 2 for solution in solutions)


def test_nothing_of_the_whole_book_moves(whole):
    for name, source in whole.content.items():
        for word in (
            b"<script",
            b"<button",
            b"<details",
            b"var(--",
            b"currentColor",
            b"katex-html",
        ):
            assert word not in source, (name, word)
