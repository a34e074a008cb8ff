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
import unicodedata
from html import escape
from pathlib import Path
from typing import NamedTuple

from dlbook import __version__
from dlbook.tools.listing import LABELS, PACKAGE, equation_functions, kernel_source

__all__ = [
    "MACROS",
    "Book",
    "Chapter",
    "PageError",
    "Saved",
    "encode",
    "folder",
    "kernel_source",
    "reading_order",
    "save",
    "save_all",
]

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
EXERCISE = ("directive", "exercise")
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


def _is_cell(block):
    """Tell whether a block is code that runs."""
    return block.kind == "directive" and block.name == "code-cell"


def _tags(block):
    """Return the tags of a code cell."""
    return re.findall(r"[\w-]+", re.sub(r"(?m)^ *- ", " ", block.options.get("tags", "")))


def _flat(lines, page, first=1, nested=False):
    """Yield (block, whether it is inside another) in the order of the page."""
    for block in blocks(lines, page, first):
        yield block, nested
        if block.kind == "quote" or (block.kind == "directive" and block.name in NESTING):
            yield from _flat(block.lines, page, block.first, nested=True)


def _formula(block):
    """Return TeX and label of a {math} directive."""
    tex = "\n".join([block.argument, *block.lines]).strip()
    return tex, block.options.get("label") or block.options.get("name")


# Figures: calls of plotting.show and plotting.slider in code cells


class Figure(NamedTuple):
    """A figure that a cell draws; the caption's ends are (line, column in bytes) in the cell."""

    name: str | None
    start: tuple
    end: tuple


REPEATS = (ast.For, ast.While, ast.FunctionDef, ast.Lambda, ast.ListComp, ast.GeneratorExp)


def _figures(block, page):
    """Return the figures of a code cell in the order of its lines."""
    source = "\n".join(block.lines)
    try:
        tree = ast.parse(re.sub(r"(?m)^[%!].*$", "", source))  # without Jupyter's own commands
    except SyntaxError as error:
        line = block.first + (error.lineno or 1) - 1
        raise PageError(page, line, f"the cell is not Python: {error.msg}") from None
    nodes = list(ast.walk(tree)) if "caption" in source else []
    calls = [node for node in nodes if _draws(node)]
    repeated = {id(n) for node in nodes if isinstance(node, REPEATS) for n in ast.walk(node)}
    found = []
    for call in sorted(calls, key=lambda call: (call.lineno, call.col_offset)):
        given = {keyword.arg: keyword.value for keyword in call.keywords}
        name, text = given.get("name", ast.Constant(None)), given["caption"]
        if id(call) in repeated or not isinstance(name, ast.Constant):
            line = block.first + call.lineno - 1
            reason = "a figure in a loop or a function, or without a literal name, has no number"
            raise PageError(page, line, reason)
        start, end = (text.lineno, text.col_offset), (text.end_lineno, text.end_col_offset)
        found.append(Figure(name.value, start, end))
    return found


def _draws(node):
    """Tell whether a piece of code is a call that shows a figure with a caption."""
    function = getattr(node, "func", None)
    return getattr(function, "attr", getattr(function, "id", "")) in ("show", "slider") and any(
        keyword.arg == "caption" for keyword in node.keywords
    )


# The book: what all pages together number


class Chapter(NamedTuple):
    """A page of the book; pages before and after the chapters have the number 0."""

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
    """Return the pages of index.md as (stem, chapter number or 0), and how deep it numbers."""
    lines = (Path(root) / "index.md").read_text(encoding="utf-8").splitlines()
    trees = [b for b in blocks(lines, "index.md") if b.name == "toctree"]
    numbered = [tree for tree in trees if "numbered" in tree.options]
    if len(numbered) != 1:
        line = numbered[1].line if numbered else 1
        raise PageError("index.md", line, f"expected one numbered toctree, found {len(numbered)}")
    pages = []
    for tree in trees:
        entries = (re.sub(r"^.*<(.+)>$", r"\1", line.strip()) for line in tree.lines)
        stems = [entry.removeprefix("/").removesuffix(".md") for entry in entries if entry]
        pages += [(stem, k * (tree in numbered)) for k, stem in enumerate(stems, 1)]
    return pages, int(numbered[0].options["numbered"] or 999)


class Label(NamedTuple):
    """What a reference can point to, with the words that stand for it."""

    kind: str  # equation, figure, exercise or section
    number: str
    title: str = ""


class Book:
    """All pages, with their numbers.

    Parameters
    ----------
    root : path, optional
        Folder of the pages; the book's own by default.

    Attributes
    ----------
    chapters : list of Chapter
        All pages in reading order.
    labels : dict of Label
        Equations, figures, exercises and sections by the label that the pages use.
    """

    def __init__(self, root=None):
        self.root = Path(root) if root else folder()
        pages, self.depth = reading_order(self.root)
        self.chapters, self.labels, self.titles = [], {}, {}
        self.headings, self.figures = {}, {}  # numbers by (stem, line)
        unnumbered = {}  # figures before and after the chapters are counted in one row
        for stem, number in pages:
            text = self._read(stem)
            if text is None:
                raise PageError("index.md", 1, f"the toctree names {stem}, which is no page")
            self.chapters.append(Chapter(stem, number, text))
            self._label(self.chapters[-1], {} if number else unnumbered)
        bibliography = self.root / "references.bib"
        text = bibliography.read_text(encoding="utf-8") if bibliography.is_file() else ""
        self.sources = read_bibliography(text, bibliography.name)

    def _read(self, stem):
        path = self.root / f"{stem}.md"
        return path.read_text(encoding="utf-8") if path.is_file() else None

    def _label(self, chapter, count):
        """Number what a page defines, in the order of the page as Sphinx does."""
        targets, section = [], []
        prefix = f"{chapter.number}." if chapter.number else ""

        def add(kind, label, line, title=""):
            count[kind] = count.get(kind, 0) + 1
            if label in self.labels:
                raise PageError(chapter.page, line, f"the label {label} is used twice")
            number = f"{prefix}{count[kind]}"
            if label:
                self.labels[label] = Label(kind, number, title)
            return number

        for block, nested in _flat(*_body(chapter)):
            name, label = block.name, (block.options or {}).get("name")
            if block.kind == "target":
                targets.append(name)
                continue
            if block.kind == "heading":
                if nested:
                    raise PageError(chapter.page, block.line, "a heading inside a directive")
                section = [*section, *[0] * len(name)][: len(name)]
                section[-1] += 1
                numbered = chapter.number and len(name) <= self.depth
                number = ".".join(map(str, [chapter.number, *section[1:]])) if numbered else ""
                title = block.lines[0]
                self.headings[chapter.stem, block.line] = number
                self.titles.setdefault(chapter.stem, title)
                self.labels |= {target: Label("section", number, title) for target in targets}
            elif block.kind == "math" and name:
                add("equation", name, block.line)
            elif block.kind == "directive" and name == "math" and (label := _formula(block)[1]):
                add("equation", label, block.line)
            elif (block.kind, name) == EXERCISE:
                add("exercise", label, block.line, block.argument)
            elif _is_cell(block) and not UNSEEN.intersection(_tags(block)):
                self.figures[chapter.stem, block.line] = [
                    add("figure", figure.name, block.line)
                    for figure in _figures(block, chapter.page)
                ]
            targets = []

    def title(self, stem):
        """Return the title of any page of the book, or None."""
        if stem not in self.titles and (text := self._read(stem)) is not None:
            found = re.search(r"(?m)^# +(.*?) *$", text)
            self.titles[stem] = found[1] if found else stem
        return self.titles.get(stem)

    def notebook(self, chapter):
        """Return a chapter as a notebook, a dictionary in nbformat 4.5.

        Raises
        ------
        PageError
            If the page holds something that has no form in a notebook.
        """
        return {
            "cells": _Writer(self, chapter).cells(),
            "metadata": {
                "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
                "language_info": {"file_extension": ".py", "name": "python"},
            },
            "nbformat": 4,
            "nbformat_minor": 5,
        }

    def files(self):
        """Return {file name: content} of all chapters that are notebooks."""
        return {c.filename: encode(self.notebook(c)) for c in self.chapters if c.runs}


def _body(chapter):
    """Return the lines of a page below its header, its file name and the first line's number."""
    lines = chapter.text.splitlines()
    skip = 0
    if lines and lines[0] == "---":
        skip = next((k + 1 for k in range(1, len(lines)) if lines[k] == "---"), 0)
    return lines[skip:], chapter.page, skip + 1


def encode(notebook):
    """Return a notebook as the bytes that Jupyter itself would write."""
    text = json.dumps(notebook, ensure_ascii=False, indent=1, sort_keys=True)
    return (text + "\n").encode()


# Sources: just enough BibTeX for references.bib


class Source(NamedTuple):
    """An entry of the bibliography; the fields are plain text."""

    kind: str
    fields: dict


ENTRY = re.compile(r"@(\w+)\s*\{\s*([^\s,{}]+)\s*,")
FIELD = re.compile(r"\s*,?\s*([\w-]+)\s*=\s*")
ACCENTS = dict(zip("`'^~\"=.uvHckr", "\u0300\u0301\u0302\u0303\u0308\u0304\u0307\u0306\u030c\u030b\u0327\u0328\u030a", strict=True))  # fmt: skip
LETTERS = {
    r"\o": "ø", r"\O": "Ø", r"\l": "ł", r"\L": "Ł", r"\ss": "ß", r"\ae": "æ", r"\AE": "Æ",
    r"\oe": "œ", r"\OE": "Œ", r"\aa": "å", r"\AA": "Å", r"\i": "ı", r"\j": "ȷ",
}  # fmt: skip
ACCENTED = re.compile(r"\\([`'^~\"=.]|[uvHckr](?=[\s{]))\s*(?:\{\\?(\w)\}|\\?(\w))")


def read_bibliography(text, page="references.bib"):
    """Return {key: Source} of a BibTeX file without macros."""
    found, at = {}, 0
    while m := ENTRY.search(text, at):
        line = text.count("\n", 0, m.start()) + 1
        fields, at = {}, m.end()
        while field := FIELD.match(text, at):
            value, at = _value(text, field.end(), page, line)
            fields[field[1].lower()] = value if field[1].lower() == "author" else plain(value)
        closed = re.match(r"\s*,?\s*\}", text[at:])
        if not closed:
            raise PageError(page, line, f"the entry {m[2]} cannot be read")
        at += closed.end()
        if m[2] in found:
            raise PageError(page, line, f"the entry {m[2]} stands twice")
        if not {"author", "title", "year"} <= fields.keys():
            raise PageError(page, line, f"the entry {m[2]} lacks author, title or year")
        found[m[2]] = Source(m[1].lower(), fields)
    return found


def _value(text, at, page, line):
    """Return the value of a field, which begins at `at`, and where it ends."""
    if bare := re.match(r"[\w-]+", text[at:]):
        return bare[0], at + bare.end()
    depth = 0
    for k in range(at, len(text)):
        if text[k - 1] != "\\" or text[k - 2 : k] == "\\\\":
            depth += {"{": 1, "}": -1}.get(text[k], 0)
        if depth == 0 and k > at and text[k] == {"{": "}", '"': '"'}.get(text[at]):
            return text[at + 1 : k], k + 1
    raise PageError(page, line, "a value is never closed")


def plain(text):
    """Return the text that a little TeX stands for: accents, dashes, braces."""

    def accent(m):
        letter = {"ı": "i"}.get(m[2] or m[3], m[2] or m[3])
        return unicodedata.normalize("NFC", letter + ACCENTS[m[1]])

    text = ACCENTED.sub(accent, text)
    for command, letter in LETTERS.items():
        text = re.sub(rf"{re.escape(command)}(?:\{{\}}|\s+|(?![A-Za-z]))", letter, text)
    text = re.sub(r"\\(?:emph|text\w\w|url)(?=\{)", "", text)
    text = re.sub(r"\\([&%$#_])", r"\1", text)
    text = re.sub(r"[{}]", "", text).replace("---", "—").replace("--", "–").replace("~", " ")
    return " ".join(text.split())


def _people(source):
    """Return the authors as (all names, last names)."""
    whole, last = [], []
    for name in re.split(r"\s+and\s+", source.fields["author"].strip()):
        if name.startswith("{") and name.endswith("}"):  # an institution
            family, given = plain(name), ""
        elif "," in name:
            parts = [plain(part) for part in name.split(",")]
            family, given = parts[0], parts[-1]
        else:
            words = plain(name).split()
            first = next((k for k, w in enumerate(words[:-1]) if w.islower()), len(words) - 1)
            family, given = " ".join(words[first:]), " ".join(words[:first])
        whole.append(f"{given} {family}".strip())
        last.append(family)
    return whole, last


def authors(source):
    """Return the authors as a sentence names them: "Squire & Trapp", "Rumelhart et al."."""
    last = _people(source)[1]
    if len(last) > 2 or last[-1] == "others":
        return f"{last[0]} et al."
    return " & ".join(last)


def described(source):
    """Return the line of a source in the list of sources."""
    whole, fields = _people(source)[0], source.fields
    names = ["et al." if name == "others" else name for name in whole]
    listed = " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))
    places = ("journal", "booktitle", "publisher", "school", "institution", "howpublished")
    place = next((fields[name] for name in places if name in fields), "")
    if "volume" in fields:
        place += f" {fields['volume']}" + (f"({fields['number']})" if "number" in fields else "")
    if "edition" in fields:
        place += f", edition {fields['edition']}"
    if "pages" in fields:
        place += f", {fields['pages']}"
    parts = [f"{listed} ({fields['year']}).", f"*{fields['title'].rstrip('.')}*."]
    if place:
        parts.append(f"{place}.")
    if "doi" in fields:
        parts.append(f"[doi:{fields['doi']}](https://doi.org/{fields['doi']})")
    elif "eprint" in fields:
        parts.append(f"[arXiv:{fields['eprint']}](https://arxiv.org/abs/{fields['eprint']})")
    elif "url" in fields:
        parts.append(f"<{fields['url']}>")
    return " ".join(parts)


# Mathematics


def written_out(tex):
    """Return TeX with the book's own commands written out, so that any renderer knows it."""

    def command(m):
        meaning = MACROS.get(m[0]) or KATEX_ONLY.get(m[0])
        if not meaning:
            return m[0]
        script = tex[: m.start()].rstrip().endswith(("^", "_")) and not meaning.startswith("^")
        return f"{{{meaning}}}" if script else meaning

    return re.sub(r"\\(?:[A-Za-z]+|.)", command, tex, flags=re.S)


def _displayed(tex, number, one_line):
    """Return a displayed formula with its number."""
    tex = re.sub(r"(?<!\\)%.*", "", tex)
    tex = "\n".join(line.strip() for line in tex.splitlines() if line.strip())
    tex = re.sub(r"\\(begin|end)\{equation\*?\}\s*", "", tex).strip()
    tex = re.sub(r"\\(begin|end)\{align\*?\}", r"\\\1{aligned}", tex)
    tex = re.sub(r"\\(begin|end)\{gather\*?\}", r"\\\1{gathered}", tex)
    if r"\begin{" not in tex and ("&" in tex.replace(r"\&", "") or r"\\" in tex):  # as on the site
        tex = f"\\begin{{aligned}}\n{tex}\n\\end{{aligned}}"
    tex = written_out(tex) + (f" \\tag{{{number}}}" if number else "")
    return f"$$ {' '.join(tex.split())} $$" if one_line else f"$$\n{tex}\n$$"


# One chapter as cells


TOKEN = re.compile(
    r"(?P<escape>\\[^\w\s])"
    r"|\{(?P<role>[A-Za-z][\w:.+-]*)\}(?P<ticks>`+)(?P<content>.+?)(?<!`)(?P=ticks)(?!`)"
    r"|(?P<code>(?<!`)(?P<run>`+)(?!`).+?(?<!`)(?P=run)(?!`))"
    r"|\$\$(?P<display>.+?)\$\$"
    r"|\$(?P<math>(?:\\.|[^$\\])+)\$"
    r"|(?P<bang>!?)\[(?P<words>(?:\\.|`[^`]*`|\$[^$]*\$|[^\[\]\\`$])*)\]"
    r"\((?P<uri>[^()\s]*)(?P<title>\s+\"[^\"]*\")?\)"
    r"|(?P<attributes>(?<=[\])`])\{[.#][^{}]*\})"
    r"|(?P<unknown>\{[A-Za-z][\w:-]*\}`|\[\^[^\]\s]+\])",
    re.S,
)
LEAK = re.compile(r"(?m)\{[a-z][\w:]*\}`|^[ >*+\d.-]*(?::{3,}|`{3,}\{)|^\([\w-]+\)=$")
IN_CODE = re.compile(r'(?<=""")' + LABELS.pattern.removeprefix("^"))
IN_CAPTION = re.compile(r"\{{1,2}([a-z]+(?::[a-z]+)?)\}{1,2}`([^`]+)`")
WELCOME = """# {title}

*{part} of* Deep Learning, Equation by Equation *(dlbook {version}), as a notebook. The line under a
check says how far an equation's code lies from an independent calculation.*

To run it, install the package with `pip install dlbook`, or with `python -m pip install .` in the
folder of its source, and run the cells from top to bottom. The next cell stops if that is missing.

Text CC BY 4.0, code BSD-3-Clause, © the dlbook authors."""
PRESENT = """from importlib.util import find_spec


class Missing(ImportError):
    def _render_traceback_(self):  # Jupyter shows the message alone
        return [str(self)]


if not {found}:
    raise Missing("dlbook {version} or newer is missing here: run `%pip install --upgrade "
                  "dlbook` in a new cell, then restart and run all cells")"""


class _Writer:
    """Writes one chapter as the cells of a notebook."""

    def __init__(self, book, chapter):
        self.book, self.chapter = book, chapter
        self.cited, self.exercises, self.quotes, self.ids = {}, 0, 0, set()

    def fail(self, line, reason):
        raise PageError(self.chapter.page, line, reason)

    # cells

    def cells(self):
        """Return the cells of the notebook."""
        cells, text = [], []

        def flush():
            if text:
                cells.append(self.cell("markdown", "\n\n".join(text)))
                text.clear()

        for block in blocks(*_body(self.chapter)):
            if _is_cell(block):
                flush()
                cells.append(self.code_cell(block))
                continue
            if block.kind in ("heading", "break") or (block.kind, block.name) == EXERCISE:
                flush()
            if block.kind == "heading" and len(block.name) == 1:
                if cells:
                    self.fail(block.line, "a page has one title, at its top")
                cells += self.head(block)
                continue
            if written := self.block(block):
                text.append(written)
        flush()
        if self.cited:
            cells.append(self.cell("markdown", self.bibliography()))
        return cells

    def cell(self, kind, source, **metadata):
        """Return a cell; its id follows from its content, so it survives edits elsewhere."""
        name, n = "", 0
        while not name or name in self.ids:
            name = hashlib.sha256(f"{kind}{n}{source}".encode()).hexdigest()[:12]
            n += 1
        self.ids.add(name)
        cell = {
            "cell_type": kind,
            "id": name,
            "metadata": metadata,
            "source": source.splitlines(keepends=True),
        }
        return cell | ({"execution_count": None, "outputs": []} if kind == "code" else {})

    def head(self, block):
        """Return the first two cells: what this is, and the stop where the package is missing."""
        stem = self.chapter.stem
        found = 'find_spec("dlbook")'
        if (PACKAGE / f"{stem}.py").is_file():
            found = f'({found} and find_spec("dlbook.{stem}"))'
        welcome = WELCOME.format(
            title=self.titled(block),
            part=f"Chapter {self.chapter.number}" if self.chapter.number else "A page",
            version=__version__,
        )
        present = PRESENT.format(found=found, version=__version__)
        hidden = {"jupyter": {"source_hidden": True}, "tags": ["hide-input"]}
        return [self.cell("markdown", welcome), self.cell("code", present, **hidden)]

    def code_cell(self, block):
        """Return a code cell; its figures' captions carry their numbers."""
        if block.indent:
            self.fail(block.line, "a code cell stands at the left margin")
        lines = "\n".join(block.lines).strip("\n").encode().split(b"\n")
        skipped = len(block.lines) - len("\n".join(block.lines).lstrip("\n").split("\n"))
        shown = block._replace(first=block.first + skipped, lines=[line.decode() for line in lines])
        tags = _tags(block)
        if not UNSEEN.intersection(tags):
            numbers = self.book.figures[self.chapter.stem, block.line]
            figures = zip(_figures(shown, self.chapter.page), numbers, strict=True)
            for figure, number in reversed(list(figures)):
                self.number_caption(lines, figure, number, shown.first)
        metadata = {"jupyter": {"source_hidden": True}} if FOLDED.intersection(tags) else {}
        metadata |= {"tags": tags} if tags else {}
        return self.cell("code", b"\n".join(lines).decode(), **metadata)

    def number_caption(self, lines, figure, number, first):
        """Put the number of a figure, and those its caption refers to, into its caption."""
        (top, left), (bottom, right) = figure.start, figure.end
        rows = lines[top - 1 : bottom]
        tail = rows[-1][right:]
        rows[-1] = rows[-1][:right]
        head, rows[0] = rows[0][:left], rows[0][left:]
        text = b"\n".join(rows).decode()
        text = IN_CAPTION.sub(lambda m: self.role(m[1], m[2], first + top - 1), text)
        text = re.sub(r"(\\\\?)([A-Za-z]+)", lambda m: self.command(m[1], m[2]), text)
        words = f"Figure {number}. "
        quoted = re.match(r"[A-Za-z]{0,2}(\"\"\"|\'\'\'|\"|\')", text)
        if quoted:
            text = text[: quoted.end()] + words + text[quoted.end() :]
        else:
            text = f'"{words}" + {text}'
        lines[top - 1 : bottom] = (head + text.encode() + tail).split(b"\n")

    def command(self, slash, name):
        """Write out a TeX command inside a Python string."""
        written = written_out(f"\\{name}")
        return slash + name if written == f"\\{name}" else written.replace("\\", slash)

    def bibliography(self):
        """Return the list of the sources cited."""
        sources = [self.book.sources[key] for key in self.cited]
        sources.sort(key=lambda source: (_people(source)[1], source.fields["year"]))
        return "## References\n\n" + "\n".join(f"- {described(source)}" for source in sources)

    # blocks

    def markdown(self, block):
        """Return the Markdown of all that a block contains."""
        inside = blocks(block.lines, self.chapter.page, block.first)
        return "\n\n".join(filter(None, map(self.block, inside)))

    def quoted(self, block, title=None):
        """Return a block quote."""
        self.quotes += 1
        text = (f"**{title}.** " if title else "") + self.markdown(block)
        self.quotes -= 1
        return "\n".join(f"> {line}".rstrip() for line in text.split("\n"))

    def block(self, block):
        """Return the Markdown of one block."""
        written = self.unindented(block)
        if block.kind != "code" and block.name != "kernel":
            bare = re.sub(
                r"(?ms)^([ >]*)(`{3,})[^{`\n]*$.*?^[ >]*\2$|(`+)(?!`).+?(?<!`)\3(?!`)", "", written
            )
            if LEAK.search(bare):
                self.fail(block.line, f"cannot convert {LEAK.search(bare)[0].strip()!r}")
        if block.indent:
            written = "\n".join(block.indent + row if row else "" for row in written.split("\n"))
        return written

    def unindented(self, block):
        """Return the Markdown of one block at the left margin."""
        if block.kind == "heading":
            return f"{block.name} {self.titled(block)}"
        if block.kind == "math":
            return self.formula("\n".join(block.lines), block.name)
        if block.kind == "code":
            return _listing("\n".join(block.lines), block.name)
        if block.kind == "quote":
            return self.quoted(block)
        if block.kind == "text":
            return self.text("\n".join(block.lines), block.line)
        if block.kind != "directive":
            return ""
        if block.name in NOTES:
            lines = [block.argument, *block.lines] if block.argument else block.lines
            first = block.line if block.argument else block.first
            return self.quoted(block._replace(lines=lines, first=first), NOTES[block.name])
        if block.name not in self.DIRECTIVES:
            self.fail(block.line, f"the directive {{{block.name}}} has no form in a notebook")
        return self.DIRECTIVES[block.name](self, block)

    def titled(self, block):
        """Return a heading's number and words."""
        number = self.book.headings[self.chapter.stem, block.line]
        return (f"{number}. " if number else "") + self.inline(block.lines[0], block.line)

    def formula(self, tex, label):
        """Return a displayed formula."""
        number = self.book.labels[label].number if label else None
        return _displayed(tex, number, one_line=self.quotes > 0)

    def math(self, block):
        """{math}: a formula, numbered if it has a label."""
        return self.formula(*_formula(block))

    def listing(self, block):
        """{code-block} language: code that is not run."""
        return _listing("\n".join(block.lines), block.argument)

    def kernel(self, block):
        """{kernel} module.function: its name and its source."""
        try:
            _, text = kernel_source(block.argument)
        except (LookupError, OSError) as error:
            self.fail(block.line, f"no kernel {block.argument}: {error}")
        text = IN_CODE.sub(lambda m: self.numbers(m[1]), text)
        return f"**`dlbook.{block.argument}`**\n\n" + _listing(text.rstrip("\n"), "python")

    def numbers(self, labels):
        """Return the numbers of the labels in a docstring."""
        known = self.book.labels
        return ", ".join(
            f"({known[label].number})" if label in known else label
            for label in re.split(", *", labels)
        )

    def exercise(self, block):
        """{exercise} title: a numbered heading and the text."""
        self.exercises += 1
        number = ".".join(filter(None, [str(self.chapter.number or ""), str(self.exercises)]))
        title = self.inline(block.argument, block.line)
        return f"### Exercise {number} · {title}\n\n{self.markdown(block)}"

    def fold(self, block):
        """{fold} summary: folded text; the blank lines let Markdown work inside."""
        summary = escape(block.argument, quote=False)
        return f"<details>\n<summary>{summary}</summary>\n\n{self.markdown(block)}\n\n</details>"

    def admonition(self, block):
        """{admonition} title."""
        return self.quoted(block, self.inline(block.argument, block.line))

    def equations(self, block):
        """{equations}: the table at the end of a chapter."""
        rows = []
        for k, line in enumerate(block.lines):
            label, colon, name = (part.strip() for part in line.partition(":"))
            if not line.strip():
                continue
            known = self.book.labels.get(label)
            if not colon or not known or known.kind != "equation":
                self.fail(block.first + k, f"{label} is not an equation's label")
            functions = equation_functions().get(label, [])
            name = re.sub(r"([\\`*_$|<])", r"\\\1", name)
            order = [int(n) for n in known.number.split(".")]
            code = ", ".join(f"`dlbook.{function}`" for function in functions) or "–"
            rows.append((order, f"| ({known.number}) | {name} | {code} |"))
        table = ["| Equation | What it says | Function |", "|---|---|---|"]
        return "\n".join([*table, *(row for _, row in sorted(rows))])

    def nothing(self, block):
        """Return nothing: the notebook has its own."""
        return ""

    DIRECTIVES = {
        "math": math,
        "code-block": listing,
        "code": listing,
        "kernel": kernel,
        "exercise": exercise,
        "fold": fold,
        "admonition": admonition,
        "equations": equations,
        "bibliography": nothing,
    }

    # words

    def text(self, text, line):
        """Return a paragraph, a list or a table; a list of definitions becomes a plain list."""
        rows = self.inline(text, line).split("\n")
        if not any(row.startswith(": ") for row in rows):
            return "\n".join(rows)
        if rows[0].startswith(": "):
            self.fail(line, "a definition needs its term on the line above")
        listed = []
        for row, after in zip(rows, [*rows[1:], ""], strict=True):
            if after.startswith(": "):
                listed.append(f"- **{row.strip()}**:")
            else:
                listed.append("  " + row.removeprefix(": ").strip())
        return "\n".join(listed)

    def inline(self, text, line):
        """Return text with roles, references and mathematics made plain."""

        def token(m):
            return self.token(m, line + text.count("\n", 0, m.start()))

        return TOKEN.sub(token, text)

    def token(self, m, line):
        """Return what one token of running text becomes."""
        if m["role"]:
            return self.role(m["role"], m["content"], line)
        if m["math"]:
            return f"${written_out(m['math'].replace(chr(10), ' '))}$"
        if m["display"]:
            return f"$${written_out(m['display'].replace(chr(10), ' '))}$$"
        if m["uri"] is not None:
            return self.link(m, line)
        if m["attributes"]:
            return ""
        if m["unknown"]:
            self.fail(line, f"cannot convert {m['unknown']!r}")
        return m[0]

    def link(self, m, line):
        """Return a link; what points into the book becomes words, since the notebook stands alone."""
        uri, words = m["uri"], self.inline(m["words"], line)
        if re.match(r"(?:https?|mailto):", uri):
            return f"{m['bang']}[{words}]({uri}{m['title'] or ''})"
        page, _, label = uri.partition("#")
        if m["bang"] or (page and not page.endswith(".md")):
            self.fail(line, f"a notebook has no file {uri}")
        if words:
            return words
        return self.referred(label, line) if label else self.titled_page(page[:-3], line)

    def role(self, name, content, line):
        """Return what a role stands for."""
        content = " ".join(content.split())
        named = re.fullmatch(r"(.*?) ?<([^<>]+)>", content)
        words, target = (named[1], named[2]) if named else ("", content)
        short = name.rpartition(":")[2]
        if name == "eq":
            return f"({self.known(target, line, 'equation').number})"
        if name == "numref":
            return self.numref(words, self.known(target, line, "figure", "section"))
        if name == "ref":
            known = self.referred(target, line)
            return words or known
        if name == "doc":
            title = self.titled_page(target.removeprefix("/"), line)
            return words or title
        if name == "cite" or name.startswith("cite:"):
            return self.cite(name.removeprefix("cite").removeprefix(":"), content, line)
        if name == "math":
            return f"${written_out(content)}$"
        if name in ("sub", "sup"):
            return f"<{name}>{content}</{name}>"
        if short in CODE_ROLES and (":" not in name or name.startswith("py:")):
            return f"`{words or target.removeprefix('~')}`"
        return self.fail(line, f"the role {{{name}}} has no form in a notebook")

    def known(self, label, line, *kinds):
        """Return what a label stands for."""
        found = self.book.labels.get(label)
        if not found or found.kind not in kinds:
            self.fail(line, f"no {' or '.join(kinds)} has the label {label}")
        return found

    def numref(self, words, label):
        """Return "Figure 2.1", or the words with the number put in."""
        if words:
            words = words.replace("%s", label.number).replace("{number}", label.number)
            return words.replace("{name}", label.title)
        return f"{label.kind.capitalize()} {label.number}"

    def referred(self, label, line):
        """Return the words for a label: a section's title, or kind and number."""
        found = self.known(label, line, "section", "figure", "exercise", "equation")
        if found.kind == "section":
            return self.inline(found.title, line)
        if found.kind == "equation":
            return f"({found.number})"
        return f"{found.kind.capitalize()} {found.number}"

    def titled_page(self, stem, line):
        """Return the title of a page."""
        title = self.book.title(stem)
        if title is None:
            self.fail(line, f"the book has no page {stem}")
        return self.inline(title, line)

    def cite(self, form, keys, line):
        """Return a citation in words and note its sources for the list."""
        found = []
        for key in re.split(r"\s*,\s*", keys):
            if key not in self.book.sources:
                self.fail(line, f"references.bib has no entry {key}")
            self.cited[key] = True
            source = self.book.sources[key]
            found.append((authors(source), source.fields["year"]))
        if form == "t":
            return ", ".join(f"{who} ({year})" for who, year in found)
        if form in ("", "p"):
            return f"({'; '.join(f'{who} {year}' for who, year in found)})"
        if form in ("author", "year"):
            return ", ".join(pair[form == "year"] for pair in found)
        return self.fail(line, f"the role {{cite:{form}}} has no form in a notebook")


def _listing(text, language):
    """Return code in a fence that it cannot close."""
    longest = max(map(len, re.findall(r"`{3,}", text)), default=2)
    fence = "`" * (longest + 1)
    return f"{fence}{language}\n{text}\n{fence}"


# Files


class Saved(NamedTuple):
    """Names of files: new or replaced, already there and the same, there and different."""

    written: list
    same: list
    kept: list


def save(path, data):
    """Write a file whole or not at all."""
    part = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with open(part, "xb") as file:
            file.write(data)
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def save_all(files, folder, overwrite=False):
    """Write files into a folder; what is there and differs is kept unless `overwrite` is set.

    Parameters
    ----------
    files : dict of bytes
        Content by file name.
    folder : path
        It is created where it is missing.
    overwrite : bool
        Replace files that differ.

    Returns
    -------
    Saved

    Raises
    ------
    OSError
        Where a file cannot be read or written; every file is then either whole or untouched.
    """
    folder, result = Path(folder), Saved([], [], [])
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        path = folder / name
        there = os.path.lexists(path)
        if there and path.is_file() and path.read_bytes() == data:
            result.same.append(name)
        elif there and not overwrite:
            result.kept.append(name)
        else:
            save(path, data)
            result.written.append(name)
    return result
