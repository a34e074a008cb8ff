"""The book on paper: printed by Chromium part by part, and joined with an outline, links and tags.

``python book/_ext/pdf.py SITE FILE`` (``make pdf``) reads a built site. In one piece the book takes
Chromium minutes and gigabytes, because the time grows with the square of the pages. A link is
therefore printed as an address, ``book:NAME``, which becomes a place when the pieces are joined.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from html import escape
from itertools import groupby
from pathlib import Path

import pikepdf
from pikepdf import Array, Dictionary, Name, OutlineItem
from volume import AUTHOR, BOOK, TITLE, Page, classes, fragment, linked, read, written

from dlbook.tools import files

HERE = Path(__file__).parent
SCHEME = "book:"
FORMULA = "$"  # what the alternative text of a formula begins with, until the pieces are joined
DOCUMENT = """<!DOCTYPE html>
<html xmlns="http://www.w3.org/1999/xhtml" lang="en" style="counter-reset: page {before}">
<head><meta charset="utf-8"/><title>{title}</title>
<link rel="stylesheet" href="{site}/_static/katex/katex.min.css"/>
<style>{style}</style></head>
<body>{body}<div hidden="hidden">{targets}</div></body></html>
"""
HEAD = '@page {name} {{ @top-center {{ content: "{title}"; font: 9pt "Book Serif", serif; }} }}\n'


def anchor(name, ident=""):
    """Return what an id of a page is called where all pages are one."""
    return f"{name}--{ident}" if ident else name


def bound(pages):
    """Make one book of pages: ids that are one page's alone, and solutions in an appendix.

    Return the pages, the appendix among them.
    """
    linked(pages, lambda name, ident: SCHEME + anchor(name, ident))
    appendix = fragment("<section><h1>Hints and solutions</h1></section>")
    for page in pages:
        for element in page.body.xpath("descendant-or-self::*[@id][namespace-uri()='']"):
            element.set("id", anchor(page.name, element.get("id")))
        for section in page.body.xpath(f'./section[@id="{anchor(page.name, "solutions")}"]'):
            section[0].text = page.title
            appendix.append(section)
    behind = next((k for k, page in enumerate(pages) if page.part == "Reference"), len(pages))
    some = [Page("solutions", appendix[0].text, "", appendix)] * (len(appendix) > 1)
    return [*pages[:behind], *some, *pages[behind:]]


def contents(listed, numbers):
    """Return the table of contents, with the number of the paper page of each part, chapter and section."""

    def entry(ident, title):
        at = f'<span class="at">{numbers.get(ident, "")}</span>'
        return f'<a href="{SCHEME}{ident}"><span>{escape(title)}</span>{at}</a>'

    items = []
    for page, sections in listed:
        kind = "part" if page.opens else "chapter" if page.part else "front"
        items.append(f'<li class="{kind}">{entry(page.name, page.title)}')
        below = "".join(f"<li>{entry(*section)}</li>" for section in sections)
        items.append(f'<ol class="sections">{below}</ol></li>' if below else "</li>")
    return (
        '<div class="page" id="contents"><nav class="contents"><h1 class="level-1">Contents</h1>'
        f"<ol>{''.join(items)}</ol></nav></div>"
    )


def sheet(page):
    """Return a page as XML, and its running title. Formulas and drawings say what they are.

    The headings of a chapter stand below that of its part.
    """
    below = bool(page.part) and not page.opens
    for heading in page.body.xpath(".//h1 | .//h2 | .//h3 | .//h4"):
        heading.set("class", f"level-{heading.tag[1]}")
        heading.tag = f"h{int(heading.tag[1]) + below}"
    for formula in page.body.xpath('.//span[@class="katex"]'):
        tex = formula.findtext(".//annotation")
        formula[0].drop_tree()
        del formula[0].attrib["aria-hidden"]
        formula[0].set("role", "img")
        formula[0].set("aria-label", FORMULA + tex)
    for frame in classes(page.body)["frame"]:
        style, alt = frame[0].attrib.pop("style"), frame.attrib.pop("aria-label")
        del frame.attrib["role"]
        picture = fragment("<img/>")
        source = b64encode(written(frame[0]).encode()).decode()
        source = f"data:image/svg+xml;base64,{source}"
        picture.attrib.update({"style": style, "alt": alt, "src": source})
        frame[:] = [picture]
    plain = page.opens or page.name == "title"
    title = page.title.replace("\\", r"\\").replace('"', r"\"")
    return (
        f'<div class="page{" opens" * page.opens}" id="{page.name}" style="page: {page.name}">'
        f"{written(page.body)}</div>",
        "" if plain else HEAD.format(name=page.name, title=title),
    )


@contextmanager
def press() -> Iterator:
    """Yield a function that prints a document to a file.

    Raises
    ------
    FileNotFoundError
        If there is no Chromium, no Node or no Playwright.
    RuntimeError
        If Chromium stops, or if something is larger than the paper.
    """
    node = shutil.which("node") or shutil.which("node", path=str(Path(sys.executable).parent))
    playwright = BOOK.parent / "node_modules" / "playwright-core"
    chromium = os.environ.get("CHROMIUM", "/usr/bin/chromium")
    for there, what in (
        (node, "Node is missing: run `make setup`"),
        (playwright.is_dir(), "node_modules is missing: run `make setup`"),
        (shutil.which(chromium), f"no browser at {chromium}: install Chromium or set CHROMIUM"),
    ):
        if not there:
            raise FileNotFoundError(what)

    def printed(document, file):
        source = file.with_suffix(".xhtml")
        source.write_text(document, "utf-8")
        print(json.dumps({"source": str(source), "file": str(file)}), file=run.stdin, flush=True)
        if not (line := run.stdout.readline()):
            raise RuntimeError(f"Chromium stopped: {run.communicate()[1][-2000:]}")
        if beyond := json.loads(line):
            raise RuntimeError("larger than the paper:\n" + "\n".join(beyond))

    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    with subprocess.Popen([node, HERE / "pdf.mjs"], text=True, encoding="utf-8", **pipes) as run:
        yield printed
        run.stdin.close()


def pdf(site, file, book=BOOK):
    """Write the book; return how many pages of paper it has.

    Parameters
    ----------
    site : path
        A built site.
    file : path
        The file to write.
    book : path
        The folder of the pages that the site has to be built from.

    Raises
    ------
    FileNotFoundError, ValueError
        As `volume.current`.
    FileNotFoundError, RuntimeError
        As `press`.
    """
    pages = bound(read(site, book, typeset=True))
    listed = [(page, page.sections) for page in pages[1:]]
    aims = {
        link for p in pages for link in p.body.xpath(f'.//a[starts-with(@href, "{SCHEME}")]/@href')
    }
    aims |= {
        f"{SCHEME}{ident}" for page, sections in listed for ident in (page.name, *dict(sections))
    }
    base = Path(site).resolve().as_uri()
    style = (HERE / "pdf.css").read_text("utf-8").replace("SITE", base)
    groups = [[*some] for _, some in groupby(pages, key=lambda page: page.part or page.name)]

    with tempfile.TemporaryDirectory() as folder, press() as printed:

        def piece(name, body, heads, idents, before):
            """Print a piece that stands behind so many pages; return it opened."""
            targets = "".join(f'<a href="#{i}"/>' for i in idents if SCHEME + i in aims)
            document = DOCUMENT.format(
                before=before,
                title=TITLE,
                site=base,
                style=style + heads,
                body=body,
                targets=targets,
            )
            printed(document, Path(folder, f"{name}.pdf"))
            return pikepdf.open(Path(folder, f"{name}.pdf"))

        before, pieces, numbers = 0, [], {}
        for group in groups:
            idents = [i for page in group for i in (page.name, *page.body.xpath(".//@id"))]
            bodies, heads = zip(*map(sheet, group), strict=True)
            made = piece(group[0].name, "".join(bodies), "".join(heads), idents, before)
            places = {page.objgen: k for k, page in enumerate(made.pages, before + 1)}
            dests = made.Root.get("/Dests", {})
            numbers |= {name[1:]: places[place[0].objgen] for name, place in dests.items()}
            pieces.append(made)
            before += len(made.pages)
            if len(pieces) == 1:  # the contents stand behind the title
                before += len(piece("contents", contents(listed, {}), "", [], 1).pages)
        pieces.insert(1, piece("contents", contents(listed, numbers), "", [], 1))
        whole = joined(pieces)
        outlined(whole, listed)
        whole.save(made := Path(folder, "whole.pdf"), **COMPACT)
        files.replace(file, made.read_bytes())
    return len(whole.pages)


# From pieces to a book

COMPACT = {
    "object_stream_mode": pikepdf.ObjectStreamMode.generate,
    "compress_streams": True,
    "deterministic_id": True,
}


def joined(pieces):
    """Return pieces as one document: their pages, the places in them, and one tree of tags."""
    book = pikepdf.new()
    tree = book.make_indirect(Dictionary(Type=Name.StructTreeRoot))
    tree.ParentTree = book.make_indirect(Dictionary(Nums=Array()))
    whole = Dictionary(Type=Name.StructElem, S=Name.Document, P=tree, K=Array(), Lang="en")
    tree.K = whole = book.make_indirect(whole)
    dests, after = Dictionary(), 0
    for piece in pieces:
        root = piece.Root.StructTreeRoot
        for page in piece.pages:
            page.StructParents += after
            for note in page.get("/Annots", ()):
                if "/StructParent" in note:
                    note.StructParent += after
                address = str(note.get("/A", {}).get("/URI", ""))
                if address.startswith(SCHEME):
                    note.Dest = Name("/" + address.removeprefix(SCHEME))
                    del note.A
        for element in piece.objects:
            if isinstance(element, Dictionary) and element.get("/Type") == "/StructElem":
                tagged(element)
        if "/IDTree" in root:
            del root.IDTree
        for name, place in piece.Root.get("/Dests", {}).items():
            root[name] = place  # with the tags, so that it is copied with the pages that they mean
        for page in piece.pages:
            book.pages.append(page)
        copy = book.copy_foreign(root)
        for name in piece.Root.get("/Dests", {}):
            dests[name] = copy[name]
        copy.K.P, copy.K.S = whole, Name.Part
        whole.K.append(copy.K)
        numbered = copy.ParentTree.Nums
        for k in range(0, len(numbered), 2):
            tree.ParentTree.Nums.extend([numbered[k] + after, numbered[k + 1]])
        after += int(root.ParentTreeNextKey)
    tree.ParentTreeNextKey = after
    book.Root.StructTreeRoot, book.Root.Dests = tree, dests
    book.Root.MarkInfo, book.Root.Lang = Dictionary(Marked=True), "en"
    book.Root.ViewerPreferences = Dictionary(DisplayDocTitle=True)
    book.Root.PageMode = Name.UseOutlines
    book.docinfo["/Title"], book.docinfo["/Author"] = TITLE, AUTHOR
    return book


def tagged(element):
    """Name a formula in the tree of tags, and take out names that are those of one piece alone."""
    if str(element.get("/Alt", "")).startswith(FORMULA):
        element.S, element.Alt = Name.Formula, str(element.Alt).removeprefix(FORMULA)
    if "/ID" in element:
        del element.ID
    for attributes in element.get("/A", ()):
        if "/Headers" in attributes:
            del attributes.Headers


def outlined(book, listed):
    """Give a document its outline: parts, their chapters, their sections."""
    with book.open_outline() as outline:
        above = outline.root
        for page, sections in listed:
            item = OutlineItem(page.title, Name(f"/{page.name}"))
            item.children.extend(OutlineItem(title, Name(f"/{ident}")) for ident, title in sections)
            item.is_closed = True
            if page.opens or not page.part:
                outline.root.append(item)
                above = item.children
            else:
                above.append(item)


if __name__ == "__main__":
    site, file = sys.argv[1:]
    try:
        count = pdf(site, file)
    except (OSError, ValueError, RuntimeError) as error:
        sys.exit(f"{file}: {error}")
    print(f"{file}: {count} pages, {Path(file).stat().st_size / 1e6:.1f} MB")
