"""Read the pages of the book: the blocks of a page, and the numbers the site gives them.

A page is MyST: Markdown with directives, of which the book uses a few. The numbers of equations,
figures, exercises and sections are counted here as Sphinx counts them.
"""

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from dlbook.tools.listing import PACKAGE

__all__ = ["CAPTION", "Block", "Book", "Chapter", "PageError", "blocks", "folder", "read_page"]

FENCE = re.compile(r"(`{3,}|:{3,})(.*)")
DIRECTIVE = re.compile(r"(\{[\w-]+\}) *(.*?) *")
HEADING = re.compile(r"(#{1,6}) +(.*?) *")
FORMULA = re.compile(r"\$\$((?:(?!\$\$|\n\n).)+)\$\$ *(?:\n|$)", re.S)
BEGINS = re.compile(r"`{3}|:{3}|\$\$|#{1,6} ")  # another block than a paragraph
SHOWN = re.compile(r"^plotting\.(?:show|slider)\(.*(?:\n[ )\]].*)*", re.M)
CAPTION = re.compile(r"\bcaption=\(?\s*\w*[\"']")
NESTING = {"{exercise}", "{fold}", "{note}", "{tip}", "{warning}"}


class PageError(ValueError):
    """A page cannot be converted. `page` and `line` say where, `reason` why."""

    def __init__(self, page, line, reason):
        super().__init__(f"{page}:{line}: {reason}")
        self.page, self.line, self.reason = page, line, reason


@dataclass
class Block:
    """A piece of a page: a paragraph, a heading, listed code, a formula, a directive."""

    kind: str  # "text", "heading", "listing", or a directive's name in braces; $$ is "{math}"
    line: int
    lines: list  # the content without fences and options, which begins in line `first`
    first: int
    argument: str = ""  # what follows a directive's name; the marks of a heading
    options: dict = field(default_factory=dict)
    inside: list = field(default_factory=list)  # the blocks that a directive holds
    number: str = ""
    figures: list = field(default_factory=list)  # those that a code cell draws


# A page as blocks


def blocks(lines, page, first=1):
    """Return the blocks of some lines of a page, the first of which is line `first`."""
    found, i = [], 0
    while i < len(lines):
        line, at, end = lines[i], first + i, i + 1
        if fence := FENCE.fullmatch(line):
            end = closing(lines, i, fence[1], PageError(page, at, f"{line} is never closed"))
            found.append(fenced(fence, lines[i + 1 : end - 1], page, at))
        elif heading := HEADING.fullmatch(line):
            found.append(Block("heading", at, [heading[2]], at, heading[1]))
        elif line.startswith("$$"):
            formula = FORMULA.match("\n".join(lines[i:]))
            if not formula:
                raise PageError(page, at, "this formula does not end with $$ at the end of a line")
            found.append(Block("{math}", at, formula[1].split("\n"), at))
            end = i + len(found[-1].lines)
        elif line.strip():
            while end < len(lines) and lines[end].strip() and not BEGINS.match(lines[end]):
                end += 1
            found.append(Block("text", at, lines[i:end], at))
        i = end
    return found


def closing(lines, i, marks, error):
    """Return the index after the line that closes the fence opened in line i."""
    for k in range(i + 1, len(lines)):
        if lines[k].startswith(marks) and not lines[k].strip(marks[0] + " "):
            return k + 1
    raise error


def fenced(fence, body, page, at):
    """Return the block of a fence: listed code, or a directive with its options."""
    marks, info = fence.groups()
    directive = DIRECTIVE.fullmatch(info)
    if not directive:
        if marks[0] == ":" or "{" in info:
            raise PageError(page, at, f"{marks}{info} is not a directive")
        return Block("listing", at, [marks + info, *body, marks], at)
    kind, argument = directive.groups()
    options, used = read_options(body)
    block = Block(kind, at, body[used:], at + 1 + used, argument, options)
    if kind in NESTING:
        block.inside = blocks(block.lines, page, block.first)
    elif kind == "{code-cell}":
        block.figures = figures(block, page)
    return block


def read_options(body):
    """Return a directive's options, `:key: text` or between dashes, and how many lines they take."""
    used = 0
    if body and body[0] == "---" and "---" in body[1:]:
        used = body.index("---", 1) + 1
    else:
        while used < len(body) and re.match(r":[\w-]+:", body[used]):
            used += 1
    rows = [re.match(r":?([\w-]+):(.*)", row) for row in body[:used]]
    return {row[1]: row[2].strip() for row in rows if row}, used


def walk(some):
    """Yield blocks and what they hold in the order of the page."""
    for block in some:
        yield block
        yield from walk(block.inside)


# Figures: calls of plotting.show and plotting.slider in code cells


@dataclass
class Figure:
    """A figure that a cell draws, and the code that shows it."""

    name: str
    code: str
    line: int
    number: str = ""


def figures(block, page):
    """Return the figures of a code cell: calls at the left margin with a literal caption and name."""
    source, found = "\n".join(block.lines), []
    for call in SHOWN.finditer(source):
        line = block.first + source.count("\n", 0, call.start())
        name = re.search(r"\bname=[\"']([\w-]+)[\"']", call[0])
        if not name or not CAPTION.search(call[0]):
            raise PageError(page, line, "a figure has a literal name and a literal caption")
        found.append(Figure(name[1], call[0], line))
    if len(found) != source.count("caption="):
        raise PageError(page, block.line, "a figure is shown at the left margin of its cell")
    return found


# The book: what all pages together number


@dataclass
class Chapter:
    """A page of the book; pages before and after the chapters have the number 0."""

    stem: str
    number: int
    text: str

    def __post_init__(self):
        lines = self.text.splitlines()
        self.page, self.filename = f"{self.stem}.md", f"{self.number:02d}-{self.stem}.ipynb"
        if lines[:1] == ["---"] and "---" not in lines[1:]:
            raise PageError(self.page, 1, "the front matter is never closed by ---")
        skip = lines.index("---", 1) + 1 if lines[:1] == ["---"] else 0
        # It becomes a notebook, unless it reads what only the source tree has
        tree = re.search(r"^from benchmarks\b", self.text, re.M)
        self.runs = self.text.startswith("---\njupytext:") and not tree
        self.blocks = blocks(lines[skip:], self.page, skip + 1)


class Label(NamedTuple):
    """What a reference can point to."""

    kind: str  # equation, figure or exercise
    number: str


def folder():
    """Return the folder of the pages: in the installed package, or beside it in the tree."""
    places = PACKAGE / "_book", PACKAGE.parent / "book"
    for place in places:
        if (place / "index.md").is_file():
            return place
    raise FileNotFoundError("the pages of the book are neither in {} nor in {}".format(*places))


def read_page(path):
    """Return the text of a file of the book, or say in which line it stops being UTF-8."""
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise PageError(path.name, line, f"not UTF-8: {error.reason}") from None


def read_order(root):
    """Return the pages that index.md lists as (stem, chapter number or 0)."""
    index = read_page(root / "index.md").splitlines()
    trees = [block for block in blocks(index, "index.md") if block.kind == "{toctree}"]
    numbered = [tree for tree in trees if tree.options.get("numbered") == ""]
    if len(numbered) != 1:
        raise PageError("index.md", 1, f"expected one numbered toctree, found {len(numbered)}")
    return [
        (stem, number if tree in numbered else 0)
        for tree in trees
        for number, stem in enumerate(filter(None, tree.lines), 1)
    ]


class Book:
    """All pages in reading order, their blocks numbered, and what each label stands for."""

    def __init__(self, root=None):
        self.root = Path(root) if root else folder()
        self.chapters, self.labels, self.titles = [], {}, {}
        unnumbered = {}  # figures before and after the chapters are counted in one row
        for stem, number in read_order(self.root):
            path = self.root / f"{stem}.md"
            if not path.is_file():
                raise PageError("index.md", 1, f"the toctree names {stem}, which is not a page")
            chapter = Chapter(stem, number, read_page(path))
            self.chapters.append(chapter)
            self.number(chapter, {} if number else unnumbered)

    def number(self, chapter, count):
        """Number what a page holds; `count` says how many of each kind there were before."""
        section = []
        for block in walk(chapter.blocks):
            label = block.options.get("name")
            if block.kind == "heading":
                level = len(block.argument)
                self.titles.setdefault(chapter.stem, block.lines[0])
                section = [*section, *[0] * level][:level]
                section[-1] += 1
                if chapter.number:
                    block.number = ".".join(map(str, [chapter.number, *section[1:]]))
            elif block.kind == "{math}" and "label" in block.options:
                block.number = self.add(chapter, count, "equation", block.options["label"], block)
            elif block.kind == "{exercise}":
                block.number = self.add(chapter, count, "exercise", label, block)
            for figure in block.figures:
                figure.number = self.add(chapter, count, "figure", figure.name, figure)

    def add(self, chapter, count, kind, label, block):
        """Return the next number of a kind and note what has it."""
        count[kind] = count.get(kind, 0) + 1
        number = f"{chapter.number}.{count[kind]}" if chapter.number else str(count[kind])
        if label in self.labels:
            raise PageError(chapter.page, block.line, f"the label {label} is used twice")
        if label:
            self.labels[label] = Label(kind, number)
        return number
