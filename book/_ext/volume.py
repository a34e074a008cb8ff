"""The pages of a built site as one book that stands still: what EPUB and PDF have in common.

A page is read from the site, so that it says what the build has verified. There is no script: a
picture with a slider shows its first frame, marks are text, folded code stays away. Solutions, and
the hints to them, stand at the end of a chapter. A link leads to a page of the book or to another
host; any other is text.
"""

import json
import re
from collections import defaultdict
from collections.abc import Callable
from html import escape
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from lxml import etree, html

from dlbook import __version__, exercises
from dlbook.tools import built

BOOK = Path(__file__).resolve().parents[1]
TITLE, AUTHOR = "Deep Learning, Equation by Equation", "the dlbook authors"
RIGHTS = "Text and figures CC BY 4.0, code BSD-3-Clause"
REFERENCE = ("equations", "pitfalls", "glossary", "bibliography")  # what makes sense without a site
INK = {"currentColor": "#1b1b1f", "var(--figure-grid)": "#c8c8cd", "var(--figure-paper)": "#ffffff"}
SVG = re.compile(r"<svg\b.*?</svg>", re.S)
CODE, MARKED = re.compile(r"`([^`]+)`"), r"<code>\1</code>"
GONE = (  # classes of what a script needs, of what only a site has, and of folded code
    *("slider", "sound", "mark", "interactive", "live", "copybtn", "hide"),
    *("headerlink", "downloads", "toctree-wrapper", "thumbnail"),
)
ABOUT = """
<section class="title"><h1>{title}</h1><p>{author}</p>
<p>Version {version}. {count} equations were verified when this book was built.</p>
<p>This is the book as it can be printed. On its site, which {site} makes, each tick tells its
story, most equations can be edited, pictures answer, and the code of the figures can be unfolded.
Here a picture with a slider shows what the slider shows first, and hints and solutions stand apart
from the exercises.</p>
<p>© {author}. {rights}.</p></section>
"""


class Page(NamedTuple):
    """One page of the book."""

    name: str  # "backprop", as the site calls it
    title: str  # "8. Backpropagation"
    part: str  # "Backpropagation"; empty before the first part
    body: html.HtmlElement

    @property
    def opens(self):
        """Return whether the page opens a part."""
        return self.name.startswith("part-")

    @property
    def sections(self):
        """Return (id, title) of the sections of a chapter."""
        found = self.body.xpath("./section[@id][h2]")
        return [(part.get("id"), text(part.find("h2"))) for part in found]


def text(element):
    """Return the words of an element, in one line; of a formula those of its MathML."""
    twice = "ancestor::span[@class='katex-html'] or ancestor::annotation"
    return " ".join("".join(element.xpath(f".//text()[not({twice})]")).split())


def fragment(markup):
    """Return one element of HTML."""
    return html.fragment_fromstring(" ".join(markup.split()))


def parsed(page, typeset):
    """Return the article of a page. Drawings are read as XML, since HTML forgets their capitals."""
    drawings = []
    source = page[page.index("<article") : page.rindex("</article>")] + "</article>"
    source = SVG.sub(lambda m: drawings.append(m[0]) or "<svg></svg>", source)
    article = html.fromstring(source.replace("<wbr>", "<wbr></wbr>"))
    for place, drawing in zip(list(article.iter("svg")), drawings, strict=True):
        for colour, ink in INK.items():
            drawing = drawing.replace(colour, ink)
        svg = etree.fromstring(drawing)
        for blank in svg.iterfind(".//{*}path[@id]"):  # a space is a glyph without a path
            blank.set("d", blank.get("d", "M 0 0"))
        svg.tail = place.tail
        place.getparent().replace(place, svg)
    for formula in () if typeset else article.xpath('.//span[@class="katex"]'):
        math = formula.find(".//math")
        meaning, tex = math[0]
        math.set("alttext", tex.text)
        math[:] = [meaning]
        formula[:] = [repaired(math)]
        formula.drop_tag()
    return article


def repaired(math):
    """Mend what readers of EPUB do not take of KaTeX's MathML."""
    for sign in list(math.iter("mo")):
        if sign.text == "\N{FUNCTION APPLICATION}":
            if sign.getnext() is not None and sign.getnext().tag != "mo":
                sign.set("rspace", "0.17em")  # log x
        elif len(sign):
            sign.text, sign[:] = sign.text_content(), []
    for table in math.iterfind(".//mtable[@columnspacing='']"):
        del table.attrib["columnspacing"]
    return math


def current(site, book=BOOK):
    """Refuse a site that is missing, or that was not made of these pages.

    Parameters
    ----------
    site : path
        A built site.
    book : path
        The folder of its pages.

    Raises
    ------
    FileNotFoundError, ValueError
        The message says what to run.
    """
    site = Path(site)
    for name in ("index.html", "equations.json", "notebooks/names.json"):
        if not (site / name).is_file():
            raise FileNotFoundError(f"no site in {site}, {name} is missing: run `make book`")
    if not built.is_current(site / "notebooks", book):
        raise ValueError(f"{site} was not built from {book} as it is now: run `make book`")


def read(site, book=BOOK, typeset=False):
    """Return the pages of a book in their order: its title, the front, parts with their chapters.

    Parameters
    ----------
    site, book : path
        As for `current`.
    typeset : bool
        Leave formulas as KaTeX has set them, which needs its style sheet. Otherwise they are MathML.

    Raises
    ------
    FileNotFoundError, ValueError
        As `current`.
    """
    current(site, book)
    site = Path(site)
    index = (site / "index.html").read_text("utf-8")
    links = html.fromstring(index).xpath('//li[contains(@class, "toctree-l1")]/a/@href')
    order = [link.removesuffix(".html") for link in links]
    parts = {}
    for section in parsed(index, typeset).xpath('.//section[ul[@class="chapters"]]'):
        found = section.xpath('./ul[@class="chapters"]/li/p[1]/a/@href')
        parts[text(still(section).find("h2"))] = section, [a.removesuffix(".html") for a in found]
    chapters = [name for _, names in parts.values() for name in names]
    front = order[: order.index(chapters[0])] if chapters else []
    behind = [name for name in order if name in REFERENCE]

    verified = json.loads((site / "equations.json").read_text("utf-8")).values()
    told = {"count": sum(row["passed"] for row in verified), "site": "<code>make book</code>"}
    fixed = {"title": TITLE, "author": AUTHOR, "version": __version__, "rights": RIGHTS}
    pages = [Page("title", TITLE, "", fragment(ABOUT.format(**told, **fixed)))]
    pages += [chapter(site, name, typeset=typeset) for name in front]
    for title, (section, names) in parts.items():
        opening = Page(f"part-{section.get('id')}", title, title, section)
        section.find("h2").tag = "h1"
        pages += [opening, *(chapter(site, name, title, typeset) for name in names)]
    pages += listed("Reference", [chapter(site, name, "Reference", typeset) for name in behind])
    return pages


def listed(title, pages):
    """Return pages behind one that opens their part and lists them."""
    if not pages:
        return []
    links = (f'<li><p><a href="{p.name}.html">{escape(p.title)}</a></p></li>' for p in pages)
    body = f'<section><h1>{title}</h1><ul class="chapters">{"".join(links)}</ul></section>'
    return [Page(f"part-{title.lower()}", title, title, fragment(body)), *pages]


def chapter(site, name, part="", typeset=False):
    """Return one page of the site."""
    body = parsed((Path(site) / f"{name}.html").read_text("utf-8"), typeset).find("section")
    solutions = answers(body, called(site))
    still(body)
    if len(solutions) > 1:
        body.append(still(solutions))
    return Page(name, text(body.find("h1")), part, body)


def called(site):
    """Return the label of what a number names: {"Exercise 8.1": "ex-backprop-bp2"}."""
    names = json.loads((Path(site) / "notebooks" / "names.json").read_text("utf-8"))["names"]
    return {number: label for label, number in names.items()}


# What a page becomes


def still(body):
    """Take from a part of a page what moves, and open what is folded; return it."""
    found = classes(body)
    for slider in found["slider"]:
        name, value = text(slider.find("label")), text(slider.find("span"))
        count = int(slider.find("input").get("max")) + 1
        words = f"{escape(name)}: {escape(value)}. One of {count} pictures; the site shows all."
        slider.addnext(fragment(f'<p class="one-of">{words}</p>'))
    for sound in found["sound"]:
        words = sound.find(".//audio").get("aria-label")
        sound.addnext(fragment(f'<p class="sound">♪ {escape(words)}</p>'))
    for mark in found["mark"]:
        tick = mark.find("summary")
        tick.find("span[@class]").drop_tree()  # the same, for those who cannot see it
        mark.addnext(fragment(f'<span class="mark">{escape(text(tick))}</span>'))
    gone = [element for name in GONE for element in found[name]]
    gone += [answer for answer in found["answer"] if text(answer).startswith("○")]  # not attempted
    tags = "self::button or self::script or self::noscript or self::input"
    for element in [*gone, *body.xpath(f".//*[@hidden or {tags}]")]:
        if element.getparent() is not None:
            element.drop_tree()
    for cell in found["cell_output"] + found["cell"]:
        if cell.getparent() is not None and not any(map(len, cell)) and not text(cell):
            cell.drop_tree()
    for fold in found["fold"]:
        fold.tag, fold.find("summary").tag = "div", "p"
    for frame in found["frame"]:
        width = float(frame[0].get("viewBox").split()[2]) / 12
        frame[0].set("style", f"width: {width:.2f}em; max-width: 100%; height: auto")
    for element in body.xpath('.//*[@title or @tabindex or @*[starts-with(name(), "data-")]]'):
        for key in dict(element.attrib):
            if key in ("title", "tabindex") or key.startswith("data-"):
                del element.attrib[key]
    return body


def classes(body):
    """Return the elements of each class; of spans there are many, and none is asked for."""
    found = defaultdict(list)
    for element in body.xpath(".//*[@class and not(self::span)]"):
        for name in element.get("class").split():
            found[name].append(element)
    return found


def answers(body, labels):
    """Take the solutions of a chapter out of it; return them as a section, behind their hints."""
    section = fragment('<section id="solutions"><h2>Hints and solutions</h2></section>')
    for box in classes(body)["exercise"]:
        ident = box.get("id")
        number, title = text(box[0]).split(" · ", 1)
        found = exercises.find(labels[number].removeprefix("ex-")).hints
        hints = (CODE.sub(MARKED, escape(hint, quote=False)) for hint in found)
        one = fragment(
            f'<section id="solution-{ident}"><h3><a href="#{ident}">{escape(number)}</a> · '
            f"{escape(title)}</h3><ol><li>{'</li><li>'.join(hints)}</li></ol></section>"
        )
        for fold in box.findall("details"):
            one.extend(fold.find("div"))
            fold.drop_tree()
        for cell in solved(box):
            one.extend(cell.find("details")[1:])
            cell.drop_tree()
        link = f'<a href="#solution-{ident}">Hints and solution</a>'
        box.append(fragment(f'<p class="answered">{link}</p>'))
        section.append(one)
    return section


def solved(box):
    """Return the cells that solve an exercise: behind it, and before the next."""
    found = []
    for element in box.itersiblings():
        kinds = element.get("class", "").split()
        if "exercise" in kinds or element.tag == "section":
            break
        if "tag_solution" in kinds:
            found.append(element)
    return found


def linked(pages, address: Callable):
    """Set every link of the pages by ``address(name, ident)``, and leave the text of those that lead nowhere.

    ``ident`` is empty where a link leads to a page as a whole.
    """
    known = {page.name: {*page.body.xpath("descendant-or-self::*/@id")} for page in pages}
    for page in pages:
        for link in page.body.xpath(".//a[@href]"):
            to = urlsplit(link.get("href"))
            name = to.path.removesuffix(".html") or page.name
            if name in known and (not to.fragment or to.fragment in known[name]):
                link.set("href", address(name, to.fragment))
            elif not to.scheme:
                link.drop_tag()


def written(element):
    """Return an element as XML."""
    tail, element.tail = element.tail, None
    source = etree.tostring(element, encoding="unicode")
    element.tail = tail
    return source
