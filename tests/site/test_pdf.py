"""The book on paper, printed by a real browser from a site of two chapters.

Where there is no Chromium the printing says so, and these tests fail.
"""

import sys

import pikepdf
import pytest
from pages import ROOT
from pypdf import PdfReader

sys.path.insert(0, str(ROOT / "book" / "_ext"))

import pdf
import tiny

WIDE = 40  # terms of a formula, columns of a table: more than are as wide as the paper


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Return a printed book, opened."""
    folder = tmp_path_factory.mktemp("pdf")
    site, book = tiny.made(folder, WIDE)
    count = pdf.pdf(site, folder / "book.pdf", book)
    assert {path.name for path in folder.iterdir()} == {"site", "book", "book.pdf"}
    with pikepdf.open(folder / "book.pdf") as opened:
        assert len(opened.pages) == count
        yield opened


@pytest.fixture(scope="module")
def read(made):
    """Return the text of each page of paper, and the places at which pieces of it begin."""
    texts, places = [], []

    def visit(text, page, line, *rest):
        if text.strip():
            (a, b, c, d, e, f), (x, y) = page, line[4:]
            places.append((a * x + c * y + e, b * x + d * y + f))

    for page in PdfReader(made.filename).pages:
        texts.append(" ".join(page.extract_text(visitor_text=visit).split()))
    return texts, places


def elements(made, kind):
    """Return the elements of one kind in the tree of tags."""
    return [
        element
        for element in made.objects
        if isinstance(element, pikepdf.Dictionary)
        and element.get("/Type") == "/StructElem"
        and str(element.S) == f"/{kind}"
    ]


def place(made, name):
    """Return the index of the page of paper that a name leads to."""
    return [page.objgen for page in made.pages].index(made.Root.Dests[name][0].objgen)


def test_the_text_is_there(read):
    """All that is in the book, in its order, with running titles and numbers of pages."""
    whole = " ".join(read[0])
    said = (
        "Contents",
        "Why.",
        "They learn.",
        "1.1. A chain",
        "Symbols of this page",
        "2.1. The loop",
    )
    at = [whole.rindex(words) for words in said[1:]]
    assert at == sorted(at) and said[0] in read[0][1]
    assert "✓ 2e-16" in whole and "units: 7. One of 3 pictures" in whole
    assert whole.rindex("2.1. The loop") < whole.index("It is one product.")
    for k, text in enumerate(read[0][1:], 2):
        assert str(k) in text.split(), text


def test_contents_name_the_page(made, read):
    first = next(text for text in read[0] if "Contents" in text)
    for title, name in (("A chain", "/backprop--chain"), ("The loop", "/training--loop")):
        assert f"{title} {place(made, name) + 1}" in first


def test_links_lead_to_their_places(made, read):
    """Within a chapter, to another, to an exercise and back; other hosts are kept."""
    notes = [note for page in made.pages for note in page.get("/Annots", ())]
    aims = [str(note.Dest) for note in notes if "/Dest" in note]
    assert {"/training", "/training--loop", "/backprop--equation-backprop-a"} <= {*aims}
    assert {"/backprop--solution-ex-backprop-bp2", "/backprop--ex-backprop-bp2"} <= {*aims}
    assert {*aims} <= {*made.Root.Dests}
    assert [str(note.A.URI) for note in notes if "/A" in note] == ["https://example.org/"]
    assert "It is one product." in read[0][place(made, "/backprop--solution-ex-backprop-bp2")]
    assert "2.1. The loop" in read[0][place(made, "/training--loop")]


def test_nothing_is_clipped(read):
    """A formula, a table and code that are wider than the paper are there to their ends."""
    text = " ".join(read[0])
    assert f"column{WIDE - 1}" in text.replace(" ", "")
    assert text.replace(" ", "").count("+1") >= 4 * WIDE
    left, right, bottom, top = 70, 525, 25, 815  # the margins in points, and in them the titles
    assert all(left < x < right and bottom < y < top for x, y in read[1])


def test_what_cannot_be_made_to_fit_is_refused(tmp_path):
    site, book = tiny.made(tmp_path)
    page = site / "training.html"
    unbreakable = f"<p><span style='white-space: nowrap'>{'word ' * 60}</span></p>"
    page.write_text(page.read_text("utf-8").replace("<p>Back", f"{unbreakable}<p>Back"), "utf-8")
    with pytest.raises(
        RuntimeError, match=r"larger than the paper:\nall: .*\ntraining--loop: word word"
    ):
        pdf.pdf(site, tmp_path / "book.pdf", book)
    assert not (tmp_path / "book.pdf").exists()


def test_the_outline_has_parts_chapters_and_sections(made):
    with made.open_outline() as outline:
        top = [item.title for item in outline.root]
        part = outline.root[top.index("Networks")]
        assert top == ["Preface", "Networks", "Hints and solutions", "Reference"]
        assert [item.title for item in part.children] == ["1. Two neurons", "2. Training"]
        assert part.children[1].children[0].title == "2.1. The loop"
        assert str(part.children[1].children[0].destination) == "/training--loop"


def test_formulas_and_figures_say_what_they_are(made):
    """The tree of tags is one, holds all pages, and has texts for what is not text."""
    said = [str(element.Alt) for element in elements(made, "Formula")]
    assert tiny.LARGEST in said and not [tex for tex in said if tex.startswith("$")]
    pictures = [str(element.Alt) for element in elements(made, "Figure") if "/Alt" in element]
    assert sorted(pictures) == ["picture 0", "picture 1"]
    (whole,) = elements(made, "Document")
    assert whole.objgen == made.Root.StructTreeRoot.K.objgen
    keys = [*made.Root.StructTreeRoot.ParentTree.Nums][::2]
    assert keys == sorted({*keys}) and {page.StructParents for page in made.pages} <= {*keys}
    pages = {page.objgen for page in made.pages}
    assert all(e.Pg.objgen in pages for e in elements(made, "NonStruct") if "/Pg" in e)


def test_the_document_says_what_it_is(made):
    assert made.docinfo["/Title"] == pdf.TITLE and str(made.Root.Lang) == "en"
    assert made.Root.PageMode == "/UseOutlines" and made.Root.MarkInfo.Marked
