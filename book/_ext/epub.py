"""The book for a reader: EPUB 3, with mathematics as MathML, drawings as SVG, and no script.

``python book/_ext/epub.py SITE FILE`` (``make epub``) reads a built site. The same site gives the
same bytes.
"""

import os
import sys
import uuid
from datetime import UTC, datetime
from html import escape
from pathlib import Path

from archives import packed
from volume import AUTHOR, BOOK, RIGHTS, TITLE, linked, read, written

from dlbook import __version__
from dlbook.tools import files

IDENTIFIER = uuid.uuid5(uuid.NAMESPACE_URL, f"dlbook {TITLE} {__version__}").urn
SINCE = 315_532_800  # the date of a book that is not told any: as that of the files in it
CONTAINER = """<?xml version="1.0" encoding="utf-8"?>
<container version="1.0" xmlns="urn:oasis:names:tc:opendocument:xmlns:container"><rootfiles>
<rootfile full-path="book/book.opf" media-type="application/oebps-package+xml"/>
</rootfiles></container>
"""
PAGE = """<?xml version="1.0" encoding="utf-8"?>
<!DOCTYPE html>
<html xmlns="http://www.w3.org/1999/xhtml" xmlns:epub="http://www.idpf.org/2007/ops" lang="en" xml:lang="en">
<head><title>{title}</title><link rel="stylesheet" type="text/css" href="book.css"/></head>
<body>{body}</body>
</html>
"""
PACKAGE = """<?xml version="1.0" encoding="utf-8"?>
<package xmlns="http://www.idpf.org/2007/opf" version="3.0" unique-identifier="id" xml:lang="en">
<metadata xmlns:dc="http://purl.org/dc/elements/1.1/">
<dc:identifier id="id">{identifier}</dc:identifier>
<dc:title>{title}</dc:title>
<dc:creator>{author}</dc:creator>
<dc:language>en</dc:language>
<dc:rights>{rights}</dc:rights>
<meta property="dcterms:modified">{modified}</meta>
<meta property="schema:accessMode">textual</meta>
<meta property="schema:accessMode">visual</meta>
<meta property="schema:accessModeSufficient">textual</meta>
<meta property="schema:accessibilityFeature">MathML</meta>
<meta property="schema:accessibilityFeature">alternativeText</meta>
<meta property="schema:accessibilityFeature">tableOfContents</meta>
<meta property="schema:accessibilityHazard">none</meta>
</metadata>
<manifest>
<item id="style" href="book.css" media-type="text/css"/>
<item id="cover" href="cover.svg" media-type="image/svg+xml" properties="cover-image"/>
<item id="contents" href="contents.xhtml" media-type="application/xhtml+xml" properties="nav"/>
{items}
</manifest>
<spine>
{order}
</spine>
</package>
"""
COVER = """<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 600 800" width="600" height="800">
<rect width="600" height="800" fill="#fefefc"/>
<rect x="60" y="420" width="480" height="6" fill="#0b5a8a"/>
<g font-family="serif" fill="#1b1b1f">
<text x="60" y="260" font-size="64">{first}</text>
<text x="60" y="350" font-size="46">{second}</text>
<text x="60" y="500" font-size="34" fill="#0b5a8a">✓</text>
<text x="60" y="720" font-size="26">{author}</text>
</g>
</svg>
"""


def contents(pages):
    """Return the pages as nested lists: parts, their chapters, their sections."""
    items, inside = [], False
    for page in pages[1:]:
        if inside and (page.opens or not page.part):
            items.append("</ol></li>")
            inside = False
        items.append(f'<li><a href="{page.name}.xhtml">{escape(page.title)}</a>')
        if page.opens:
            items.append("<ol>")
            inside = True
            continue
        sections = (
            f'<li><a href="{page.name}.xhtml#{ident}">{escape(title)}</a></li>'
            for ident, title in page.sections
        )
        listed = "".join(sections)
        items.append(f"<ol>{listed}</ol></li>" if listed else "</li>")
    items.append("</ol></li>" * inside)
    return f'<nav epub:type="toc"><h1>Contents</h1><ol>{"".join(items)}</ol></nav>'


def package(sources):
    """Return the list of what is in the book; `sources` holds its pages by name."""
    items = []
    for name, source in sources.items():
        held = [kind for kind, tag in (("mathml", "<math"), ("svg", "<svg")) if tag in source]
        more = f' properties="{" ".join(held)}"' if held else ""
        kind = "application/xhtml+xml"
        items.append(f'<item id="{name}" href="{name}.xhtml" media-type="{kind}"{more}/>')
    first, *rest = sources
    date = datetime.fromtimestamp(int(os.environ.get("SOURCE_DATE_EPOCH") or SINCE), UTC)
    return PACKAGE.format(
        identifier=IDENTIFIER,
        title=escape(TITLE),
        author=AUTHOR,
        rights=RIGHTS,
        modified=date.strftime("%Y-%m-%dT%H:%M:%SZ"),
        items="\n".join(items),
        order="\n".join(f'<itemref idref="{name}"/>' for name in (first, "contents", *rest)),
    )


def epub(site, file, book=BOOK):
    """Write the book; return how many pages it has.

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
    """
    pages = read(site, book)
    linked(pages, lambda name, ident: f"{name}.xhtml{'#' * bool(ident)}{ident}")
    sources = {p.name: PAGE.format(title=escape(p.title), body=written(p.body)) for p in pages}
    first, second = TITLE.split(", ", 1)
    made = {
        "mimetype": "application/epub+zip",
        "META-INF/container.xml": CONTAINER,
        "book/book.opf": package(sources),
        "book/contents.xhtml": PAGE.format(title="Contents", body=contents(pages)),
        "book/book.css": Path(__file__).with_name("epub.css").read_text("utf-8"),
        "book/cover.svg": COVER.format(first=first, second=second, author=AUTHOR),
    }
    made |= {f"book/{name}.xhtml": source for name, source in sources.items()}
    content = {name: source.encode() for name, source in made.items()}
    files.replace(file, packed(content, stored={"mimetype"}))
    return len(pages)


if __name__ == "__main__":
    site, file = sys.argv[1:]
    try:
        count = epub(site, file)
    except (OSError, ValueError) as error:
        sys.exit(f"{file}: {error}")
    print(f"{file}: {count} pages, {Path(file).stat().st_size / 1e6:.1f} MB")
