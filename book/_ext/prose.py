"""Hold the prose to what the cells computed: numbers, promises of later chapters, claims.

``{number}`name:format` `` puts a number into a sentence that a cell told by `numbers`, so that it
cannot go stale. ``{later}`words <chapter.thing>` `` promises what a later chapter has; a chapter
that has no such thing is a fault. So is what a page types or promises bare, and a claim without its
sentence on the page, seeds or control.
"""

import ast
import re
from pathlib import Path

from docutils import nodes
from sphinx.util import logging
from sphinx.util.docutils import SphinxRole
from sphinx.util.nodes import make_refnode

log = logging.getLogger(__name__)


class told(nodes.Invisible, nodes.Element):
    """Numbers that a cell tells the prose."""


class number(nodes.Inline, nodes.TextElement):
    """A number in the prose, filled in when its page was read."""


class later(nodes.Inline, nodes.TextElement):
    """A promise of a later chapter."""


class NumberRole(SphinxRole):
    """{number}`name:format`, as in an f-string."""

    def run(self):
        name, _, form = self.text.partition(":")
        node = number("", "", name=name.strip(), format=form)
        self.set_source_info(node)
        return [node], []


class LaterRole(SphinxRole):
    """{later}`words <chapter.thing>`."""

    def run(self):
        found = re.fullmatch(r"(.+?)\s*<(\w+)\.(.+)>", self.text, re.S)
        if not found:
            message = self.inliner.reporter.error(
                f"{self.text!r} is no promise: write words <chapter.thing>", line=self.lineno
            )
            return [self.inliner.problematic(self.rawtext, self.rawtext, message)], [message]
        node = later("", found[1], chapter=found[2], thing=found[3])
        self.set_source_info(node)
        return [node], []


def formatted(value, form):
    """Return a number as a sentence has it; how many digits a fraction has is said."""
    if isinstance(value, float) and not re.search(r"\.\d|g$", form):
        raise ValueError(f"{value!r} is a float, expected a format with its digits, such as .1f")
    return format(value, form)


def filled(document):
    """Fill in the numbers of a page."""
    values = {}
    for node in list(document.findall(told)):
        values |= node["values"]
        node.parent.remove(node)
    for node in document.findall(number):
        try:
            text = formatted(values[node["name"]], node["format"])
        except KeyError:
            text, known = "?", ", ".join(sorted(values)) or "none"
            log.warning("no cell tells %r; told are %s", node["name"], known, location=node)
        except ValueError as error:
            text = "?"
            log.warning("%s: %s", node["name"], error, location=node)
        node += nodes.Text(text)


# What is typed or promised bare

EXEMPT = re.compile(
    r"\bCC BY \d\.\d"  # a licence
    r"|\b[^\W\d_]\w*(?:-\w+)*|\b\d+(?:d|[snrt][tdh])\b"  # names: float32, AVX-512, 2d
    r"|\d+(?:\s?[×-]\s?\d+)+"  # sizes: 3 × 3, 64-30-10
    r"|\b(?:1[6-9]|20)\d\d\b"  # years
    r"|\b(?:68|90|95|99)\s?%"  # standard levels
    r"|(?<![\d.,])(?:\d|1[0-2])(?![\d%]|[.,]\d|e[-\d]|\s?%)"  # small counts
)
NUMERAL = re.compile(r"\d+(?:,\d{3})*(?:\.\d+)?(?:e[+-]?\d+)?")
PROMISE = re.compile(
    r"\b(?:later|next|following|coming) chapters?\b|\bchapters? to come\b"
    r"|\bevery (?:model|network|kernel) of this book\b",
    re.I,
)
APART = (
    nodes.literal,
    nodes.literal_block,
    nodes.math,
    nodes.math_block,
    nodes.figure,
    nodes.raw,
    nodes.comment,
    nodes.reference,
    number,
    later,
)


def numerals(text):
    """Return the numbers in running text that are neither names nor small counts."""
    return NUMERAL.findall(EXEMPT.sub(" ", text))


def running(node):
    """Yield the pieces of text that an author typed."""
    if isinstance(node, nodes.Text):
        yield node
    elif not isinstance(node, APART) and not node.tagname.startswith("pending_xref"):
        box = isinstance(node, nodes.container) and "cell" in node["classes"]
        if not (box or node.tagname in ("listing", "check", "index", "target")):
            for child in node.children:
                yield from running(child)


def line_of(node):
    while node is not None and not getattr(node, "line", None):
        node = node.parent
    return node.line if node is not None else 1


def read(document):
    """Return what a page types and promises: lists of (line, text), and the promises it names."""
    found = {"numerals": [], "promises": [], "later": []}
    if any("cell" in box["classes"] for box in document.findall(nodes.container)):
        for text in running(document):
            line = line_of(text.parent)
            found["numerals"] += [(line, numeral) for numeral in numerals(str(text))]
            found["promises"] += [(line, m[0]) for m in PROMISE.finditer(str(text))]
    found["later"] = [(line_of(n), n["chapter"], n["thing"]) for n in document.findall(later)]
    return found


# Claims


def _parsed(cell):
    """Return the tree of a cell without its magics; a cell that is no Python is empty."""
    try:
        return ast.parse(re.sub(r"^\s*[%!].*$", "", cell, flags=re.M))
    except SyntaxError:
        return ast.Module([], [])


def criterion(cell, label):
    """Return the source of the comparison that decides a claim, read from its cell."""
    for node in ast.walk(_parsed(cell)):
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "claim":
            known = node.args and isinstance(node.args[0], ast.Constant)
            if known and node.args[0].value == label:
                named = {k.arg: k.value for k in node.keywords}
                at = 2 if len(node.args) > 3 or "evidence" in named else 1
                holds = named.get("holds") or node.args[at]
                return " ".join(ast.unparse(holds).split())
    return None


DRAWN = re.compile(r"^(?:rng|seeds?|random\w*|default_rng|init|fit|normal|permutation|choice)$")


def _words(node):
    for part in ast.walk(node):
        yield getattr(part, "id", getattr(part, "attr", getattr(part, "arg", None)))


def drawn(cells):
    """Return the names that depend on a random draw, by the sources of a page's cells."""
    names = set()

    def tainted(node):
        return any(word and (word in names or DRAWN.match(word)) for word in _words(node))

    for cell in cells:
        for node in ast.walk(_parsed(cell)):
            if isinstance(node, (ast.Assign, ast.AugAssign, ast.AnnAssign)):
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                if node.value and tainted(node.value):
                    names |= {n.id for t in targets for n in ast.walk(t) if isinstance(n, ast.Name)}
            elif isinstance(node, ast.FunctionDef) and tainted(ast.Module(node.body, [])):
                names.add(node.name)
            elif isinstance(node, ast.For) and tainted(node.iter):
                names |= {n.id for n in ast.walk(node.target) if isinstance(n, ast.Name)}
    return names


def said(sentence, text):
    """Say whether a page has a sentence; an ellipsis stands for what a cell filled in."""
    parts = [re.escape(" ".join(part.split())) for part in sentence.split("…")]
    prose = re.sub(r"^(`{3,})\{code-cell\}.*?^\1\s*$", "", text, flags=re.M | re.S)
    return bool(re.search(".{0,80}?".join(parts), " ".join(prose.split())))


def lacks(c, text, names):
    """Return what a claim lacks, in words."""
    missing = []
    if not said(c["sentence"], text):
        missing.append(f"a sentence that its page has: “{c['sentence']}”")
    words = set(_words(ast.parse(c["criterion"]))) if c.get("criterion") else set()
    random = any(word and (word in names or DRAWN.match(word)) for word in words)
    seeds = c.get("seeds")
    if random and not isinstance(seeds, str) and len(seeds or ()) < 5:
        missing.append("five seeds")
    return missing


# Faults


WORDS = {
    "numerals": "numbers typed that no cell computed",
    "promises": "promises of later chapters without {later}",
    "claims": "claims that lack sentence, seeds or control",
}


def faults(app, pages):
    """Yield (page, line, kind, text) of what the prose of a page lacks."""
    order = {name: numbers.get("", ()) for name, numbers in app.env.toc_secnumbers.items()}
    for docname, page in pages.items():
        for kind, what in WORDS.items():
            if found := page["prose"].get(kind, []):
                shown = "; ".join(f"line {line}: {text}" for line, text in found[:40])
                yield docname, found[0][0], kind, f"{what}: {shown}"
        for line, chapter, thing in page["prose"].get("later", []):
            if order.get(chapter, ()) <= order.get(docname, ()):
                yield docname, line, "later", f"{chapter} is no later chapter"
            elif thing not in Path(app.srcdir, f"{chapter}.md").read_text(encoding="utf-8"):
                yield docname, line, "later", f"promises {thing}, which {chapter} does not have"


def linked(app, doctree, docname):
    """Link the promises."""
    for node in list(doctree.findall(later)):
        words = nodes.inline("", node.astext())
        known = node["chapter"] in app.env.found_docs
        link = make_refnode(app.builder, docname, node["chapter"], "", words) if known else words
        node.replace_self(link)
    for node in list(doctree.findall(number)):
        node.replace_self(nodes.inline("", node.astext(), classes=["number"]))


def setup(app):
    """Register the roles."""
    app.add_role("number", NumberRole())
    app.add_role("later", LaterRole())
    app.connect("doctree-resolved", linked, priority=100)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
