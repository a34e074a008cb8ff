"""Read the pages of the book without building them: cells, labels, calls."""

import ast
import re
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
BOOK = ROOT / "book"
WIDEST = (
    76  # characters of a line of code or of output that every screen from 768 px on shows whole
)
MATH = re.compile(
    r"^(?:`{3,}|:{3,})\{math\}[^\n]*\n(?::[^\n]*\n)*?:label:[ \t]*(\S+)|^\$\$[ \t]*\(([^)\s]+)\)[ \t]*$",
    re.M,
)
CELL = re.compile(r"^(`{3,})\{code-cell\}[^\n]*\n(.*?)^\1[ \t]*$", re.M | re.S)
OPTIONS = re.compile(r"\A(?:---\n.*?^---\n|(?::[^\n]*\n)+)", re.M | re.S)


class Cell(NamedTuple):
    """One code cell of a page."""

    page: str  # "backprop"
    line: int  # line of the page on which its code begins
    options: str  # its options as written
    code: str


class Call(NamedTuple):
    """One call in a cell."""

    where: str  # "book/backprop.md:120"
    node: ast.Call


def chapters():
    """Return the stems of the chapters in the order of the book."""
    text = (BOOK / "index.md").read_text(encoding="utf-8")
    trees = re.findall(r"^```\{toctree\}\n(.*?)^```", text, re.M | re.S)
    lines = [line.strip() for body in trees if ":numbered:" in body for line in body.splitlines()]
    return [line for line in lines if line and not line.startswith(":")]


def pages():
    """Return all pages, as paths below `book/` without ending."""
    return sorted(p.relative_to(BOOK).with_suffix("").as_posix() for p in BOOK.rglob("*.md"))


def text_of(page):
    return (BOOK / f"{page}.md").read_text(encoding="utf-8")


def labels():
    """Return [(label, "book/page.md:line")] of every numbered equation."""
    return [
        (m[m.lastindex], f"book/{page}.md:{text_of(page).count(chr(10), 0, m.start()) + 1}")
        for page in pages()
        for m in MATH.finditer(text_of(page))
    ]


def cells(page):
    """Return the code cells of a page."""
    text, found = text_of(page), []
    for m in CELL.finditer(text):
        options = OPTIONS.match(m[2])
        skip = options.end() if options else 0
        line = text.count("\n", 0, m.start(2) + skip) + 1
        found.append(Cell(page, line, m[2][:skip], m[2][skip:]))
    return found


def calls(*names):
    """Return every call of the named functions in all cells."""
    found = []
    for page in pages():
        for cell in cells(page):
            for node in ast.walk(ast.parse(cell.code)):
                if isinstance(node, ast.Call):
                    name = getattr(node.func, "id", getattr(node.func, "attr", None))
                    if name in names:
                        found.append(Call(f"book/{page}.md:{cell.line + node.lineno - 1}", node))
    return found


def argument(call, position, name):
    """Return an argument of a call, given by position (None where it has none) or by name."""
    if position is not None and len(call.node.args) > position:
        return call.node.args[position]
    return next((k.value for k in call.node.keywords if k.arg == name), None)


def compared(call):
    """Return what a check computes and what it is held against, as nodes.

    A case is (label, kernel, args, expected), an identity (label, actual, expected).
    """
    named = [k.arg for k in call.node.keywords if k.arg in ("args", "expected")]
    case = getattr(call.node.func, "id", "") == "verify" and len(call.node.args) + len(named) > 3
    return argument(call, 1, "kernel"), argument(call, 3 if case else 2, "expected")


def decided(call):
    """Return the criterion and the evidence of a claim, as nodes."""
    told = len(call.node.args) > 3 or any(k.arg == "evidence" for k in call.node.keywords)
    return argument(call, 1 + told, "holds"), argument(call, 2 + told, "evidence")


def claims():
    """Return [(label, where)] of every claim."""
    return [
        (call.node.args[0].value, call.where)
        for call in calls("claim")
        if isinstance(call.node.args[0], ast.Constant)
    ]
