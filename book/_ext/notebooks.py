"""Write each page with code as a notebook for plain Jupyter, from the page as Sphinx resolved it.

So a notebook has Sphinx's numbers, references, citations and computed values. What has no form in
Markdown here is a located warning, which fails the build. The notebooks and `names.json` stand in
one folder of the site; `dlbook notebooks` copies them, and a wheel brings them along.
"""

import hashlib
import json
import pprint
import re
import textwrap
from html import escape
from pathlib import Path

from docutils import nodes
from maths import displayed
from pybtex.backends.markdown import Backend
from sphinx.util import logging

from dlbook import __version__
from dlbook.tools import built, files
from dlbook.tools.tex import written_out

log = logging.getLogger(__name__)
FOLDER = "notebooks"
EXERCISES = built.PACKAGE / "exercises"
TAGS = ([], ["hide-input"], ["hide-input", "checks"], ["hide-cell"])
SOLUTION = ["hide-cell", "solution"]  # the tags of a cell that solves an exercise
WELCOME = """# {title}

*{part} of* Deep Learning, Equation by Equation *(dlbook {version}), as a notebook. The line under a
check names its equation and says how far the code lies from an independent calculation.*

To run it, install the package: {install}. Then run the cells from
top to bottom, which takes at most a few minutes on two cores, and longer the first time, while
kernels are compiled. The next cell stops if the package is missing, and knows the numbers of the book.

Text CC BY 4.0, code BSD-3-Clause, © the dlbook authors."""
PRESENT = """from importlib.util import find_spec


class Missing(ImportError):
    def _render_traceback_(self):  # Jupyter shows the message alone
        return [str(self)]


if not {found}:
    raise Missing("dlbook {version} or newer is missing here: run `python -m pip install .` in "
                  "the folder of its source, then restart and run all cells")
from dlbook.tools import built

built.names().update(
{names}
)"""


def runs(app, docname):
    """Return whether a page becomes a notebook: it has cells, and reads no more than the package."""
    text = Path(app.env.doc2path(docname)).read_text(encoding="utf-8")
    tree = re.search(r"^from benchmarks\b", text, re.M)
    return text.startswith("---\njupytext:") and not tree


def filename(env, docname):
    """Return the name of a page's notebook, which begins with the number of the chapter."""
    number = env.toc_secnumbers.get(docname, {}).get("") or (0,)
    return f"{number[0]:02d}-{docname}.ipynb"


def dotted(number):
    """Return the number of a section, an equation or a figure."""
    return ".".join(map(str, number))


def names(env):
    """Return what each label of the book is called, and the title of each page."""
    found = {docname: title.astext() for docname, title in env.titles.items()}
    for label, (docname, _) in env.domains["math"].equations.items():
        numbers = env.toc_fignumbers.get(docname, {}).get("displaymath", {})
        if number := numbers.get(nodes.make_id(f"equation-{label}")):
            found[label] = f"({dotted(number)})"
    for label, (docname, ident) in env.domains["std"].anonlabels.items():
        for kind, numbers in env.toc_fignumbers.get(docname, {}).items():
            if ident in numbers and kind in env.config.numfig_format:
                found[label] = env.config.numfig_format[kind] % dotted(numbers[ident])
    return dict(sorted(found.items()))


# Markdown


class Markdown:
    """Writes nodes as Markdown; `write_…` with the name of its class writes a node."""

    def __init__(self, app, docname):
        self.env, self.docname = app.env, docname
        self.complete, self.in_table = True, False

    def write(self, node):
        """Return the Markdown of a node, or warn that there is none."""
        kind = node.__class__.__name__
        method = getattr(self, f"write_{kind}", None)
        return method(node) if method else self.refuse(node, f"{kind} has no form in a notebook")

    def refuse(self, node, reason):
        """Warn, where the page says it."""
        self.complete = False
        while node.parent is not None and not node.line:
            node = node.parent
        where = (self.docname, node.line)
        log.warning("%s", reason, location=where, type="notebooks")
        return ""

    def inline(self, node):
        """Return what is written within a line."""
        written = []
        for child in node.children:
            begins = not written or written[-1].endswith("\n")
            text = isinstance(child, nodes.Text)
            written.append(escaped(child.astext(), begins) if text else self.write(child))
        return "".join(written)

    def blocks(self, some):
        """Return blocks with empty lines between them."""
        return "\n\n".join(filter(None, map(self.write, some)))

    def write_interactive(self, node):
        return ""  # what it shows, the figures of the page show too

    # within a line

    def write_inline(self, node):
        return self.inline(node)

    def write_emphasis(self, node):
        return f"*{self.inline(node)}*"

    def write_strong(self, node):
        return f"**{self.inline(node)}**"

    def write_literal(self, node):
        text = node.astext()
        marks = "`" * (longest("`", text) + 1)
        space = " " if text.startswith("`") or text.endswith("`") else ""
        text = text.replace("|", r"\|") if self.in_table else text
        return f"{marks}{space}{text}{space}{marks}"

    def write_math(self, node):
        tex = " ".join(written_out(node.astext()).split())
        if self.in_table:
            tex = re.sub(r"\\\||\|", lambda m: r"\Vert " if len(m[0]) > 1 else r"\vert ", tex)
        # `maths` draws the stops that touch a formula into it
        lead, tail = (node.get(k, "")[6:-1] for k in ("lead", "tail"))
        return f"{escaped(lead)}${tex}${tail}"

    def write_reference(self, node):
        text, uri = self.inline(node), node.get("refuri", "")
        if node.get("internal") or not re.match(r"https?:", uri):
            return text
        return f"<{uri}>" if node.astext() == uri else f"[{text}]({uri})"

    write_number_reference = write_reference

    def write_target(self, node):
        return ""

    write_index = write_comment = write_target

    # blocks

    def write_title(self, node):
        section, level = node.parent, 0
        while isinstance(section, nodes.section):
            section, level = section.parent, level + 1
        section = node.parent
        numbers = self.env.toc_secnumbers.get(self.docname, {})
        number = numbers.get("" if level == 1 else f"#{section['ids'][0]}")
        before = f"{dotted(number)}. " if number else ""
        return f"{'#' * level} {before}{self.inline(node)}"

    def write_paragraph(self, node):
        text = self.inline(node).strip()
        return f"**{text}**" if "kernel-name" in node["classes"] else text

    write_compact_paragraph = write_paragraph

    def write_literal_block(self, node):
        language = node.get("language", "")
        return fenced(node.astext(), "" if language == "default" else language)

    def write_math_block(self, node):
        numbers = self.env.toc_fignumbers.get(self.docname, {}).get("displaymath", {})
        number = node.get("label") and numbers.get(node["ids"][0])
        tag = f" \\tag{{{dotted(number)}}}" if number else ""
        tex = "\n".join(filter(str.strip, displayed(node.astext().strip()).splitlines()))
        return f"$$\n{written_out(tex)}{tag}\n$$"

    def write_container(self, node):
        if node.get("nb_element") == "cell_code":
            return self.refuse(node, "a cell stands within another block")
        if isinstance(node.parent, nodes.TextElement):  # a computed value
            return self.inline(node)
        return self.blocks(node.children)

    def write_bullet_list(self, node):
        return self.items(node, lambda k: "- ")

    def write_enumerated_list(self, node):
        return self.items(node, lambda k: f"{node.get('start', 1) + k}. ")

    def items(self, node, mark):
        """Return a list; it is loose where one of its items has several blocks."""
        rows = [mark(k) + self.hung(item, mark(k)) for k, item in enumerate(node.children)]
        return ("\n\n" if any("\n\n" in row for row in rows) else "\n").join(rows)

    def hung(self, item, mark):
        """Return an item whose lines after the first are set in."""
        return textwrap.indent(self.blocks(item.children), " " * len(mark)).lstrip()

    def write_block_quote(self, node):
        return textwrap.indent(self.blocks(node.children), "> ", lambda line: True)

    def write_transition(self, node):
        return "---"

    def write_note(self, node):
        title = node.__class__.__name__.capitalize()
        return f"<blockquote>\n\n**{title}.**\n\n{self.blocks(node.children)}\n\n</blockquote>"

    write_tip = write_warning = write_important = write_note

    def write_fold(self, node):
        return folded(node["summary"], self.blocks(node.children))

    def write_exercise(self, node):
        return self.blocks(node.children)

    def write_exercise_title(self, node):
        return f"### {self.inline(node)}"

    def write_table(self, node):
        self.in_table = True
        rows = [[self.entry(e) for e in row.children] for row in node.findall(nodes.row)]
        self.in_table = False
        (group,) = node.findall(nodes.tgroup)
        rows.insert(1, ["---"] * group["cols"])
        return "\n".join(f"| {' | '.join(row)} |" for row in rows)

    def entry(self, node):
        """Return a field of a table, which is one line."""
        return " ".join(self.blocks(node.children).split())


def escaped(text, begins=False):
    """Return text in which nothing is taken for a mark of Markdown or for a formula.

    What `begins` a line must not begin a heading, a list or a quotation either.
    """
    text = re.sub(r"([\\`*$|]|(?<!\w)_|_(?!\w)|~(?=~))", r"\\\1", text)
    text = text.replace("&", "&amp;").replace("<", "&lt;")
    text = re.sub(r"\[(?=[^\]]*\][(\[:])", "&#91;", text)
    first = r"((?:^|\n) *)" if begins else r"(\n *)"
    mark = r"([#>+=-]|\d(?=\d*[.)] ))"
    return re.sub(first + mark, lambda m: f"{m[1]}&#{ord(m[2])};", text)


class Sources(Backend):
    """Writes the entries of the bibliography as Markdown."""

    def format_str(self, text):
        """Return text as text."""
        return escaped(text)


def longest(mark, text):
    """Return how often a mark follows itself in some text, at most."""
    return max(map(len, re.findall(f"{mark}+", text)), default=0)


def fenced(code, language):
    """Return code in its fence."""
    marks = "`" * max(3, longest("`", code) + 1)
    return f"{marks}{language}\n{code.rstrip()}\n{marks}"


def folded(summary, text):
    """Return folded text; the blank lines let Markdown work inside."""
    summary = escape(summary, quote=False)
    return f"<details>\n<summary>{summary}</summary>\n\n{text}\n\n</details>"


# Cells


class Notebook:
    """Writes one page as the cells of a notebook."""

    def __init__(self, app, docname):
        self.app, self.env, self.docname = app, app.env, docname
        self.markdown, self.ids = Markdown(app, docname), set()

    def made(self, doctree):
        """Return the notebook, a dictionary in nbformat 4.5."""
        kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
        language = {"file_extension": ".py", "name": "python"}
        return {
            "cells": self.cells(doctree),
            "metadata": {"kernelspec": kernel, "language_info": language},
            "nbformat": 4,
            "nbformat_minor": 5,
        }

    def cells(self, doctree):
        """Return all cells; a heading or an exercise begins a new one."""
        title, *rest = flat(doctree)
        code = [source(node) for node in rest if is_code(node)]
        cells, text = self.head(title, "\n".join(code)), []
        for node in [*rest, None]:
            tags = node["cell_metadata"].get("tags", []) if node and is_code(node) else None
            new = node is None or isinstance(node, (nodes.title, nodes.admonition))
            if text and (new or (tags is not None and tags != SOLUTION)):
                cells.append(self.cell("markdown", "\n\n".join(text)))
                text = []
            if tags == SOLUTION:
                text.append(folded("Solution in code", fenced(source(node), "python")))
            elif tags is not None:
                cells.append(self.code(node, tags))
            elif node and (block := self.markdown.write(node)):
                text.append(block)
        if cited := self.cited():
            cells.append(self.cell("markdown", f"## References\n\n{cited}"))
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

    def code(self, node, tags):
        """Return a code cell as the page has it, folded where the page folds it."""
        if tags not in TAGS:
            some = ", ".join(tags)
            known = "[hide-input], [hide-input, checks], [hide-cell] or [hide-cell, solution]"
            self.markdown.refuse(node, f"tags: [{some}], expected {known}")
        hidden = {"jupyter": {"source_hidden": True}, "tags": tags} if tags else {}
        return self.cell("code", source(node), **hidden)

    def head(self, title, code):
        """Return the first two cells: what this is, and the stop where the package is missing."""
        number = self.env.toc_secnumbers.get(self.docname, {}).get("")
        module, found = self.docname, 'find_spec("dlbook")'
        if (built.PACKAGE / f"{module}.py").is_file():
            found = f'({found} and find_spec("dlbook.{module}"))'
        welcome = WELCOME.format(
            title=self.markdown.write(title).removeprefix("# "),
            part=f"Chapter {number[0]}" if number else "A page",
            version=__version__,
            install=built.INSTALL,
        )
        known = pprint.pformat(self.mentioned(code), width=88, compact=True)
        present = PRESENT.format(
            found=found, version=__version__, names=textwrap.indent(known, "    ")
        )
        hidden = {"jupyter": {"source_hidden": True}, "tags": ["hide-input"]}
        return [self.cell("markdown", welcome), self.cell("code", present, **hidden)]

    def mentioned(self, code):
        """Return the names of the labels that the code mentions, or the exercises of the page."""
        data = EXERCISES / f"{self.docname}.py"
        text = code + (data.read_text(encoding="utf-8") if data.is_file() else "")
        known = set(re.findall(r"[\w-]+-[\w-]+", text)) | set(re.findall(r"\{doc\}`(\w+)", text))
        named = self.app.names.items()
        return {k: v for k, v in named if k in known or k.removeprefix("ex-") in known}

    def cited(self):
        """Return a list of the sources that the page cites, as the bibliography gives them."""
        if "cite" not in self.env.domains:
            return ""
        domain = self.env.domains["cite"]
        refs = [c for c in domain.citation_refs if c.docname == self.docname]
        keys = {target.key for ref in refs for target in ref.targets}
        rows = {c.key: c.formatted_entry for c in domain.citations if c.key in keys}
        entries = (" ".join(row.text.render(Sources()).split()) for row in rows.values())
        return "\n".join(f"- {entry}" for entry in entries)


def flat(node):
    """Yield the blocks of a page in their order, sections opened."""
    for child in node.children:
        if isinstance(child, nodes.section):
            yield from flat(child)
        else:
            yield child


def is_code(node):
    """Return whether a node is a code cell."""
    return isinstance(node, nodes.container) and node.get("nb_element") == "cell_code"


def source(node):
    """Return the code of a cell."""
    (shown,) = node.findall(
        lambda n: (
            n.get("nb_element") == "cell_code_source" if isinstance(n, nodes.Element) else False
        )
    )
    return shown.astext().strip("\n")


def encoded(notebook):
    """Return a notebook as the bytes that Jupyter itself would write."""
    text = json.dumps(notebook, ensure_ascii=False, indent=1, sort_keys=True)
    return (text + "\n").encode()


# Hooks


def updated(app, env):
    """Return the pages whose notebooks are missing, or all where a label is called otherwise."""
    app.names = names(env)
    pages = {docname for docname in env.found_docs if runs(app, docname)}
    if getattr(env, "dlbook_names", None) != app.names:
        env.dlbook_names = app.names
        return pages
    return {d for d in pages if not Path(app.outdir, FOLDER, filename(env, d)).is_file()}


def resolved(app, doctree, docname):
    """Write the notebook of a page; one that lacks something is not left behind."""
    if app.builder.format != "html" or not runs(app, docname):
        return
    notebook = Notebook(app, docname)
    path = Path(app.outdir, FOLDER, filename(app.env, docname))
    content = encoded(notebook.made(doctree))
    if notebook.markdown.complete:
        files.save_all({path.name: content}, path.parent, overwrite=True)
    else:
        path.unlink(missing_ok=True)


def finished(app, exception):
    """Write what labels are called, and remove the notebooks of pages that went."""
    if exception or app.builder.format != "html":
        return
    folder, env = Path(app.outdir, FOLDER), app.env
    wanted = {filename(env, docname) for docname in env.found_docs if runs(app, docname)}
    for path in folder.glob("*.ipynb"):
        if path.name not in wanted:
            path.unlink()
    data = {"names": names(env), "pages": built.digest(app.srcdir)}
    text = json.dumps(data, ensure_ascii=False, indent=1) + "\n"
    files.save_all({built.NAMES: text.encode()}, folder, overwrite=True)


def setup(app):
    """Connect the hooks; a page is written when all else has been put in its place."""
    app.connect("env-get-updated", updated, priority=950)
    app.connect("doctree-resolved", resolved, priority=990)
    app.connect("build-finished", finished)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
