"""Turn the chapters into notebooks that make sense in plain Jupyter.

The numbers, references, citations and shown kernels of a page are filled in by the site's build.
A notebook has no build, so everything is filled in here, with the numbers the site shows. What is
not known here raises a `PageError` with page and line, so no raw MyST gets through. Standard
library only, because it runs where the reader is, without Sphinx and without Jupyter.
"""

import hashlib
import json
import os
import re
from html import escape
from pathlib import Path

from dlbook import __version__
from dlbook.tools.bibliography import cited, listed_sources, read_bibliography
from dlbook.tools.files import clear
from dlbook.tools.files import replace as save
from dlbook.tools.listing import LABELS_IN_CODE, PACKAGE, equation_functions, kernel_source
from dlbook.tools.myst import CAPTION, NESTING, PageError

__all__ = ["INSTALL", "MACROS", "encode", "files", "kernel_source", "notebook", "save_all"]

# The book's own TeX commands: the site hands them to KaTeX, a notebook gets them written out.
OPERATORS = ("E", "Var", "Cov", "sign", "softmax", "tr", "diag", "rank")
MACROS = {rf"\{name}": rf"\operatorname{{{name}}}" for name in OPERATORS} | {
    r"\T": r"^{\mathsf T}",
    r"\R": r"\mathbb{R}",
    r"\argmin": r"\operatorname*{arg\,min}",
    r"\argmax": r"\operatorname*{arg\,max}",
}
# What may stand in a chapter or a directive; the method of this name writes it.
SOLUTION = "[hide-cell, solution]"  # the tags of a cell that solves an exercise
KINDS = {"text", "listing", "{math}", "{kernel}", "{equations}", *NESTING}
UNKNOWN = (  # MyST that has no form here, and Markdown that would not reach the reader
    r"^[ >*+\d.-]*(?:`{3}|:{3}|~{3})",  # a fence away from the left margin
    r"^ +\#{1,6}\s|^(?:=+|-+)\s*$",  # headings that are indented or underlined
    r"^%|^\+{3}|^:\s|^\([^()\s]+\)=$",  # remarks, breaks, definitions, targets
    r"\{[A-Za-z][\w:.+-]*\}`|(?<=[\])`])\{[.#]|\[\^\w*\]?",  # broken roles, attributes, footnotes
    r"!\[|\]\((?!https?:)|\$\$",  # pictures, links to files, formulas within a line
)
TOKEN = re.compile(  # what running text holds besides plain words; what is escaped or code stays
    r"\\[^\w\s]"
    r"|\{(?P<role>[a-z:]+)\}`(?P<content>[^`]+)`"
    rf"|(?P<unknown>{'|'.join(UNKNOWN)})"
    r"|(?<!`)(?P<run>`+)(?!`).+?(?<!`)(?P=run)(?!`)"
    r"|\$(?P<math>(?:\\.|[^$\\])+)\$",
    re.S | re.M,
)
IN_CODE = re.compile(r"\{{1,2}([a-z:]+)\}{1,2}`([^`]+)`")
# There is no release yet; README and preface say the same
INSTALL = (
    "`python -m pip install .` in the folder of its source, "
    "or `python -m pip install FILE` for a wheel that was built from it"
)
WELCOME = """{title}

*{part} of* Deep Learning, Equation by Equation *(dlbook {version}), as a notebook. The line under a
check says how far an equation's code lies from an independent calculation.*

To run it, install the package: {install}. Then run the cells from
top to bottom. The next cell stops if the package is missing.

Text CC BY 4.0, code BSD-3-Clause, © the dlbook authors."""
PRESENT = """from importlib.util import find_spec


class Missing(ImportError):
    def _render_traceback_(self):  # Jupyter shows the message alone
        return [str(self)]


if not {found}:
    raise Missing("dlbook {version} or newer is missing here: run `python -m pip install .` in "
                  "the folder of its source, then restart and run all cells")"""


def notebook(book, chapter):
    """Return a chapter as a notebook, a dictionary in nbformat 4.5, or raise PageError."""
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    language = {"file_extension": ".py", "name": "python"}
    return {
        "cells": Writer(book, chapter).cells(),
        "metadata": {"kernelspec": kernel, "language_info": language},
        "nbformat": 4,
        "nbformat_minor": 5,
    }


def encode(notebook):
    """Return a notebook as the bytes that Jupyter itself would write."""
    text = json.dumps(notebook, ensure_ascii=False, indent=1, sort_keys=True)
    return (text + "\n").encode()


def files(book):
    """Return {file name: content} of all chapters that are notebooks."""
    return {c.filename: encode(notebook(book, c)) for c in book.chapters if c.runs}


def written_out(tex):
    """Return TeX with the book's own commands written out, so that any renderer knows it."""

    def command(m):
        script, meaning = m[1] or "", MACROS.get(m[2], m[2])
        braced = script and meaning != m[2] and not meaning.startswith("^")
        return script + (f"{{{meaning}}}" if braced else meaning)

    return re.sub(r"([\^_]\s*)?(\\(?:[A-Za-z]+|.))", command, tex, flags=re.S)


class Writer:
    """Writes one chapter as the cells of a notebook."""

    def __init__(self, book, chapter):
        self.book, self.chapter = book, chapter
        self.sources = read_bibliography(book.root / "references.bib")
        self.cited, self.ids = set(), set()

    def fail(self, line, reason):
        """Refuse the page."""
        raise PageError(self.chapter.page, line, reason)

    # cells

    def cells(self):
        """Return the cells of the notebook; a heading or an exercise begins a new one."""
        if not self.chapter.blocks:
            self.fail(1, "the page is empty")
        title, *rest = self.chapter.blocks
        cells, text = self.head(title), []
        for block in [*rest, None]:
            solved = block and block.options.get("tags") == SOLUTION
            begins = block and not solved and block.kind in ("heading", "{code-cell}", "{exercise}")
            if text and (begins or not block):
                cells.append(self.cell("markdown", "\n\n".join(text)))
                text = []
            if solved:
                text.append(self.solution(block))
            elif block and block.kind == "{code-cell}":
                cells.append(self.code_cell(block))
            elif block:
                text.append(self.heading(block) if block.kind == "heading" else self.block(block))
        if self.cited:
            listed = listed_sources(self.sources[key] for key in self.cited)
            cells.append(self.cell("markdown", "## References\n\n" + listed))
        return cells

    def cell(self, kind, source, **metadata):
        """Return a cell; its id follows from its content, so it survives edits elsewhere."""
        name, n = "", 0
        while not name or name in self.ids:
            name = hashlib.sha256(f"{kind}{n}{source}".encode()).hexdigest()[:12]
            n += 1
        self.ids.add(name)
        lines = source.splitlines(keepends=True)
        cell = {"cell_type": kind, "id": name, "metadata": metadata, "source": lines}
        return cell | ({"execution_count": None, "outputs": []} if kind == "code" else {})

    def head(self, block):
        """Return the first two cells: what this is, and the stop where the package is missing."""
        stem, found = self.chapter.stem, 'find_spec("dlbook")'
        if (PACKAGE / f"{stem}.py").is_file():
            found = f'({found} and find_spec("dlbook.{stem}"))'
        part = f"Chapter {self.chapter.number}" if self.chapter.number else "A page"
        welcome = WELCOME.format(
            title=self.heading(block, title=True), part=part, version=__version__, install=INSTALL
        )
        present = PRESENT.format(found=found, version=__version__)
        hidden = {"jupyter": {"source_hidden": True}, "tags": ["hide-input"]}
        return [self.cell("markdown", welcome), self.cell("code", present, **hidden)]

    def solution(self, block):
        """Return the code of a solution as folded text: run, it would take the reader's place."""
        source = "\n".join(block.lines).strip("\n")
        listing = f"```python\n{source}\n```"
        return f"<details>\n<summary>Solution in code</summary>\n\n{listing}\n\n</details>"

    def code_cell(self, block):
        """Return a code cell; its figures' captions carry their numbers."""
        source = "\n".join(block.lines).strip("\n")
        for figure in block.figures:
            source = source.replace(figure.code, self.numbered(figure))
        tags = block.options.get("tags", "[]")
        if tags not in ("[]", "[hide-input]", "[hide-input, checks]", "[hide-cell]"):
            self.fail(block.line, f"tags: {tags}, expected [hide-input], [hide-cell] or {SOLUTION}")
        tags = tags[1:-1].split(", ") if tags != "[]" else []
        hidden = {"jupyter": {"source_hidden": True}, "tags": tags} if tags else {}
        return self.cell("code", source, **hidden)

    def numbered(self, figure):
        """Return the code of a figure with its number, and those it refers to, in its caption."""
        code = IN_CODE.sub(lambda m: self.role(m[1], m[2], figure.line), figure.code)
        code = CAPTION.sub(lambda m: f"{m[0]}Figure {figure.number}. ", code)
        return re.sub(  # in a raw string a command has one backslash, otherwise two
            r"(\\\\?)([A-Za-z]+)", lambda m: written_out("\\" + m[2]).replace("\\", m[1]), code
        )

    # blocks

    def block(self, block):
        """Return the Markdown of one block."""
        if block.kind not in KINDS:
            self.fail(block.line, f"{block.kind} has no form in a notebook here")
        return getattr(self, block.kind.strip("{}"))(block)

    def inside(self, block):
        """Return the Markdown of what a directive holds."""
        return "\n\n".join(map(self.block, block.inside))

    def heading(self, block, title=False):
        """Return a heading with its number."""
        if (block.argument == "#") != title:
            self.fail(block.line, "a page has one title, at its top")
        number = f"{block.number}. " if block.number else ""
        return f"{block.argument} {number}{self.inline(block.lines[0], block.line)}"

    def text(self, block):
        """A paragraph, a list or a table."""
        return self.inline("\n".join(block.lines), block.line)

    def listing(self, block):
        """Code that is not run, in its fence."""
        return "\n".join(block.lines)

    def math(self, block):
        """{math} or $$: a formula, numbered if it has a label."""
        lines = (line.strip() for line in [block.argument, *block.lines])
        tex = "\n".join(filter(None, lines))
        if re.search(r"(?<!\\)%|\\begin\{(equation|align|gather)\*?\}", tex):
            self.fail(block.line, "a formula has no remarks; for align write aligned")
        if r"\begin{" not in tex and ("&" in tex.replace(r"\&", "") or r"\\" in tex):
            tex = f"\\begin{{aligned}}\n{tex}\n\\end{{aligned}}"  # as on the site
        tag = f" \\tag{{{block.number}}}" if block.number else ""
        return f"$$\n{written_out(tex)}{tag}\n$$"

    def kernel(self, block):
        """{kernel} module.function: its name and its source."""
        try:
            _, code = kernel_source(block.argument)
        except (LookupError, OSError) as error:
            self.fail(block.line, f"no kernel {block.argument}: {error}")
        numbers = {label: f"({known.number})" for label, known in self.book.labels.items()}

        def numbered(m):
            return re.sub(r"[\w-]+", lambda label: numbers.get(label[0], label[0]), m[1])

        code = LABELS_IN_CODE.sub(numbered, code)
        return f"**`dlbook.{block.argument}`**\n\n```python\n{code}```"

    def exercise(self, block):
        """{exercise} title: a numbered heading and the text."""
        title = self.inline(block.argument, block.line)
        return f"### Exercise {block.number} · {title}\n\n{self.inside(block)}"

    def fold(self, block):
        """{fold} summary: folded text; the blank lines let Markdown work inside."""
        summary = escape(block.argument, quote=False)
        return f"<details>\n<summary>{summary}</summary>\n\n{self.inside(block)}\n\n</details>"

    def note(self, block):
        """{note}, {tip}, {warning}: set in, under the word."""
        if block.argument:
            self.fail(block.line, f"the text of a {block.kind} begins on the next line")
        title = block.kind.strip("{}").capitalize()
        return f"<blockquote>\n\n**{title}.**\n\n{self.inside(block)}\n\n</blockquote>"

    tip = warning = note

    def equations(self, block):
        """{equations}: the table at the end of a chapter."""
        rows = []
        for line, row in enumerate(block.lines, block.first):
            if not row.strip():
                continue
            label, _, name = row.partition(": ")
            number = self.labelled("equation", label, line)
            functions = equation_functions().get(label, [])
            name = re.sub(r"([\\`*_$|<])", r"\\\1", name.strip())
            code = ", ".join(f"`dlbook.{function}`" for function in functions) or "–"
            rows.append(([int(n) for n in number.split(".")], f"| ({number}) | {name} | {code} |"))
        table = ["| Equation | What it says | Function |", "|---|---|---|"]
        return "\n".join([*table, *(row for _, row in sorted(rows))])

    # words

    def inline(self, text, line):
        """Return running text with roles and mathematics made plain."""

        def token(m):
            at = line + text.count("\n", 0, m.start())
            if m["unknown"]:
                self.fail(at, f"cannot convert {m['unknown']!r}")
            if m["role"]:
                return self.role(m["role"], m["content"], at)
            if m["math"]:
                return written_out(re.sub(r"\n(?:> ?)?", " ", m[0]))
            return m[0]

        return TOKEN.sub(token, text)

    def role(self, name, content, line):
        """Return what a role stands for."""
        content = " ".join(content.split())
        if name == "eq":
            return f"({self.labelled('equation', content, line)})"
        if name == "numref":
            return f"Figure {self.labelled('figure', content, line)}"
        if name in ("cite:t", "cite:p"):
            return self.cite(name, content.split(","), line)
        named = re.fullmatch(r"(.*?) ?<([^<>]+)>", content)
        words, target = named.groups() if named else ("", content)
        if name == "ref":
            known = f"Exercise {self.labelled('exercise', target, line)}"
            return words or known
        if name == "doc":
            if target not in self.book.titles:
                self.fail(line, f"the book has no page {target}")
            return words or self.inline(self.book.titles[target], line)
        return self.fail(line, f"the role {{{name}}} has no form in a notebook")

    def labelled(self, kind, label, line):
        """Return the number of what has a label."""
        found = self.book.labels.get(label)
        if not found or found.kind != kind:
            self.fail(line, f"no {kind} has the label {label}")
        return found.number

    def cite(self, name, keys, line):
        """Return a citation in words and note its sources for the list."""
        found = []
        for key in map(str.strip, keys):
            if key not in self.sources:
                self.fail(line, f"references.bib has no entry {key}")
            self.cited.add(key)
            found.append((cited(self.sources[key]), self.sources[key]["year"]))
        if name == "cite:t":
            return ", ".join(f"{who} ({year})" for who, year in found)
        return f"({'; '.join(f'{who} {year}' for who, year in found)})"


# Files


def save_all(files, folder, overwrite=False):
    """Write {name: bytes} into a folder; return the names that were written, same and kept.

    A file that is already there and differs is kept unless `overwrite` is set.
    """
    folder, saved = Path(folder), {"written": [], "same": [], "kept": []}
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        path = folder / name
        clear(path)
        if path.is_file() and path.read_bytes() == data:
            saved["same"].append(name)
        elif os.path.lexists(path) and not overwrite:
            saved["kept"].append(name)
        else:
            save(path, data)
            saved["written"].append(name)
    return saved
