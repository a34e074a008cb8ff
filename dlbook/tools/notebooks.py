r"""Turn the chapters into notebooks that make sense in plain Jupyter.

A page is MyST: its numbers, references, citations and shown kernels are filled in by the site's
build. A notebook has no build, so everything is filled in here, with the numbers the site shows:

=====================================  =======================================================
``{math}`` with a label                ``$$ … \tag{2.3} $$``, macros written out
``{eq}``, ``{numref}``, ``{ref}``      "(2.3)", "Figure 2.1", "Exercise 2.4", a section's title
``{cite:t}``, ``{cite:p}``             "Squire & Trapp (1998)", and the list of sources at the end
``{kernel}``                           the kernel's source under its dotted name
``{exercise}``, ``{fold}``, notes      a numbered heading, ``<details>``, a block quote
``{equations}``                        a table of number, name and function
=====================================  =======================================================

Whatever is not known here raises a `PageError` with page and line; no raw MyST gets through.
Standard library only, because it runs where the reader is, without Sphinx and without Jupyter.
"""

import ast
import hashlib
import json
import os
import re
import tempfile
import unicodedata
from html import escape
from pathlib import Path
from typing import NamedTuple

from dlbook import __version__
from dlbook.tools.listing import LABELS, PACKAGE, equation_functions, kernel_source

__all__ = ["MACROS", "Book", "Chapter", "PageError", "folder", "reading_order", "save", "save_all"]

# The book's own TeX commands: the site hands them to KaTeX, a notebook gets them written out.
MACROS = {
    r"\T": r"^{\mathsf T}",
    r"\E": r"\operatorname{E}",
    r"\Var": r"\operatorname{Var}",
    r"\Cov": r"\operatorname{Cov}",
    r"\R": r"\mathbb{R}",
    r"\sign": r"\operatorname{sign}",
    r"\softmax": r"\operatorname{softmax}",
    r"\tr": r"\operatorname{tr}",
    r"\diag": r"\operatorname{diag}",
    r"\rank": r"\operatorname{rank}",
    r"\argmin": r"\operatorname*{arg\,min}",
    r"\argmax": r"\operatorname*{arg\,max}",
}
# What KaTeX knows and the MathJax of Jupyter does not
KATEX_ONLY = {
    r"\N": r"\mathbb{N}",
    r"\Z": r"\mathbb{Z}",
    r"\bm": r"\boldsymbol",
    r"\coloneqq": r"\mathrel{:=}",
}
NOTES = {
    "note": "Note",
    "tip": "Tip",
    "hint": "Hint",
    "important": "Important",
    "warning": "Warning",
    "caution": "Caution",
    "attention": "Attention",
    "danger": "Danger",
    "error": "Error",
    "seealso": "See also",
}
NESTING = {"exercise", "fold", "admonition", *NOTES}
CODE_ROLES = {"code", "literal", "kbd", "file", "samp", "func", "class", "meth", "mod", "data"}
FOLDED = {"hide-input", "hide-cell", "remove-input", "remove-cell"}
UNSEEN = {"remove-cell", "remove-output"}  # the site draws nothing of such a cell


class PageError(ValueError):
    """A page cannot be converted. `page` and `line` say where, `reason` why."""

    def __init__(self, page, line, reason):
        super().__init__(f"{page}:{line}: {reason}")
        self.page, self.line, self.reason = page, line, reason


# The blocks of a page


class Block(NamedTuple):
    """A piece of a page; `lines` are its content, the first of which is line `first`."""

    kind: str  # text, heading, math, code, directive, quote, target or break
    line: int
    first: int
    lines: list
    indent: str = ""
    name: str = ""  # of a directive or a target, the label of a formula, the marks of a heading
    argument: str = ""
    options: dict | None = None


FENCE = re.compile(r"^(?P<indent> *)(?P<marks>`{3,}|~{3,}|:{3,})(?P<info>.*)$")
DIRECTIVE = re.compile(r"^\{([\w:+.-]+)\} *(.*?) *$")
HEADING = re.compile(r"^ {0,3}(#{1,6})\s+(.*?)(?:\s+#+)?\s*$")
TARGET = re.compile(r"^\(([^()\s]+)\)=\s*$")
DISPLAY = re.compile(r"^( *)\$\$(.*?)\$\$[ ]*(?:\(([^()\s]+)\))?[ ]*$", re.S)
SPECIAL = re.compile(r"^(?: *(?:`{3,}[^`]*$|~{3,}|:{3,}|\$\$|>)| {0,3}#{1,6}\s|%|\+\+\+)")


def blocks(lines, page, first=1):
    """Yield the blocks of some lines of a page, the first of which is line `first`."""
    i = 0
    while i < len(lines):
        line, at = lines[i], first + i
        if not line.strip() or line.startswith("%"):
            i += 1
        elif (m := FENCE.match(line)) and not (m["marks"][0] == "`" and "`" in m["info"]):
            end = _closing(lines, i, m["marks"], page, at)
            yield _fenced(m, lines[i + 1 : end], page, at)
            i = end + 1
        elif m := HEADING.match(line):
            yield Block("heading", at, at, [m[2]], name=m[1])
            i += 1
        elif m := TARGET.match(line):
            yield Block("target", at, at, [], name=m[1])
            i += 1
        elif line.startswith("+++"):
            yield Block("break", at, at, [])
            i += 1
        elif line.lstrip().startswith("$$") and (found := _display(lines, i)):
            end, m = found
            yield Block("math", at, at, m[2].split("\n"), indent=m[1], name=m[3] or "")
            i = end + 1
        elif line.lstrip().startswith(">"):
            end = _while(lines, i, lambda line: line.lstrip().startswith(">"))
            indent = line[: len(line) - len(line.lstrip())]
            yield Block(
                "quote", at, at, [re.sub(r"^ *> ?", "", q) for q in lines[i:end]], indent=indent
            )
            i = end
        else:
            end = _while(lines, i + 1, _continues)
            if end > i + 1 and re.fullmatch(r" {0,3}(=+|-+) *", lines[end - 1]):
                raise PageError(page, at, "headings are written with #, not underlined")
            yield Block("text", at, at, lines[i:end])
            i = end


def _while(lines, i, holds):
    """Return the index of the first line from i on for which `holds` does not."""
    while i < len(lines) and holds(lines[i]):
        i += 1
    return i


def _continues(line):
    """Tell whether a line belongs to the paragraph before it."""
    return bool(line.strip()) and not SPECIAL.match(line) and not TARGET.match(line)


def _closing(lines, i, marks, page, at):
    """Return the index of the line that closes the fence opened in line i."""
    closes = re.compile(rf" *{re.escape(marks[0])}{{{len(marks)},}}\s*")
    for k in range(i + 1, len(lines)):
        if closes.fullmatch(lines[k]):
            return k
    raise PageError(page, at, f"{lines[i].strip()} is never closed")


def _display(lines, i):
    """Return (last line, match) of the displayed formula that begins in line i."""
    for k in range(i, len(lines)):
        if not lines[k].strip():
            return None
        text = "\n".join(lines[i : k + 1])
        if text.count("$$") > 1:
            m = DISPLAY.match(text)
            return m and (k, m)
    return None


def _fenced(m, body, page, at):
    """Return the block of a fence: listed code, or a directive with its options."""
    indent, info = m["indent"], m["info"].strip()
    body = [line[min(len(indent), len(line) - len(line.lstrip(" "))) :] for line in body]
    if not (directive := DIRECTIVE.match(info)):
        if m["marks"][0] == ":" or info.startswith("{"):
            raise PageError(page, at, f"{m['marks']}{info} is not a directive")
        return Block("code", at, at + 1, body, indent, info)
    options, used = _options(body)
    used += used < len(body) and not body[used].strip()
    return Block(
        "directive", at, at + 1 + used, body[used:], indent, directive[1], directive[2], options
    )


def _options(body):
    """Return a directive's options as {key: text} and how many lines they take."""
    if body and body[0].startswith("---"):
        end = next((k for k in range(1, len(body)) if body[k].startswith("---")), len(body))
        rows, used = body[1:end], end + 1
    else:
        used = _while(body, 0, lambda line: re.match(r"^ *:(?!::)", line))
        rows = [line.lstrip()[1:] for line in body[:used]]
    options, key = {}, None
    for row in rows:
        if m := re.match(r"^([\w-]+):(.*)$", row):
            key = m[1]
            options[key] = m[2].strip()
        elif key:  # a list or a mapping below its key
            options[key] += f"\n{row}"
    return options, min(used, len(body))


def _tags(block):
    """Return the tags of a code cell."""
    return re.findall(r"[\w-]+", re.sub(r"(?m)^ *- ", " ", block.options.get("tags", "")))


def _flat(lines, page, first=1):
    """Yield all blocks in the order of the page, those inside others too."""
    for block in blocks(lines, page, first):
        yield block
        if block.kind == "quote" or (block.kind == "directive" and block.name in NESTING):
            yield from _flat(block.lines, page, block.first)


def _formula(block):
    """Return TeX and label of a {math} directive."""
    tex = "\n".join([block.argument, *block.lines]).strip()
    return tex, block.options.get("label") or block.options.get("name")


# Figures: named calls of plotting.show and plotting.slider in code cells


class Figure(NamedTuple):
    """A figure that a cell draws; positions are (line, column in bytes) in the cell."""

    name: str
    start: tuple | None  # of the caption
    end: tuple | None


def _figures(block, page):
    """Return the named figures of a code cell in the order of its lines."""
    source = re.sub(r"(?m)^(\s*)[%!].*$", r"\1pass", "\n".join(block.lines))
    try:
        tree = ast.parse(source)
    except SyntaxError as error:
        line = block.first + (error.lineno or 1) - 1
        raise PageError(page, line, f"the cell is not Python: {error.msg}") from None
    found = []
    for call in ast.walk(tree):
        function = getattr(call, "func", None)
        if getattr(function, "attr", getattr(function, "id", "")) not in ("show", "slider"):
            continue
        given = {keyword.arg: keyword.value for keyword in call.keywords}
        if "name" not in given or "caption" not in given:
            continue
        if not isinstance(given["name"], ast.Constant):
            line = block.first + call.lineno - 1
            raise PageError(page, line, "a figure's name must be written out to be numbered")
        text = given["caption"]
        span = (text.lineno, text.col_offset), (text.end_lineno, text.end_col_offset)
        found.append(((call.lineno, call.col_offset), Figure(given["name"].value, *span)))
    return [figure for _, figure in sorted(found) if figure.name]


# The book: what all pages together number


class Chapter(NamedTuple):
    """A page of the numbered toctree."""

    stem: str
    number: int
    text: str

    @property
    def page(self):
        """Name of the page's file."""
        return f"{self.stem}.md"

    @property
    def runs(self):
        """Whether the page is a notebook: it has jupytext's header."""
        return self.text.startswith("---\njupytext:")

    @property
    def filename(self):
        """Name of the notebook, which sorts in reading order."""
        return f"{self.number:02d}-{self.stem}.ipynb"


def folder():
    """Return the folder of the pages: in the installed package, or beside it in the tree."""
    for place in (PACKAGE / "_book", PACKAGE.parent / "book"):
        if (place / "index.md").is_file():
            return place
    raise FileNotFoundError(
        f"the pages of the book are neither in {PACKAGE / '_book'} nor in {PACKAGE.parent / 'book'}"
    )


def reading_order(root):
    """Return the stems in the one numbered toctree of index.md, and its depth of numbering."""
    text = (Path(root) / "index.md").read_text(encoding="utf-8")
    trees = [
        block
        for block in blocks(*_body(text), "index.md")
        if block.kind == "directive" and block.name == "toctree" and "numbered" in block.options
    ] if False else _toctrees(text)
    if len(trees) != 1:
        line = trees[1].line if trees else 1
        raise PageError("index.md", line, f"expected one numbered toctree, found {len(trees)}")
    stems = []
    for line in trees[0].lines:
        entry = re.sub(r"^.*<(.+)>$", r"\1", line.strip())
        if entry:
            stems.append(entry.removeprefix("/").removesuffix(".md"))
    return stems, int(trees[0].options["numbered"] or 999)
