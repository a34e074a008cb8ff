"""The site's side of the exercises: what `check` said on a page, and the page of all messages.

`check` displays a record under a MIME type of its own, which becomes a node here. A page shows an
exercise with the cell to fill in and with its solution; a solution that is not found correct is a
located warning, which fails the build.
"""

import re
from importlib import import_module
from pathlib import Path

import numpy as np
from docutils import nodes
from myst_nb.core.render import load_mime_renders
from parts import fold
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective

from dlbook import exercises
from dlbook.exercises import engine, forms, shown
from dlbook.tools.jit import package_files

log = logging.getLogger(__name__)
PIECES = re.compile(r"(\{(?:eq|doc|ref)\}`[^`]+`|`[^`]+`)")


class answer(nodes.container):
    """What was said of one answer."""


def spoken(line, parse):
    """Return a line of a result as nodes; `parse` makes those of a reference."""
    for piece in PIECES.split(line):
        if piece.startswith("{ref}"):
            yield from parse(piece.replace("{ref}", "{numref}"))  # "Exercise 6.3"
        elif piece.startswith("{"):
            yield from [nodes.Text("equation ")] * piece.startswith("{eq}")
            yield from parse(piece)
        elif piece.startswith("`"):
            yield nodes.literal("", piece.strip("`"))
        elif piece:
            yield nodes.Text(piece)


def boxed(mark, lines, parse, **attributes):
    """Return the box of an answer: the mark and the first line, and below it the others."""
    first, *rest = lines
    box = answer("", classes=["answer"], **attributes)
    box += nodes.paragraph("", "", nodes.Text(f"{mark} "), *spoken(first, parse))
    box += [nodes.paragraph("", "", *spoken(line, parse)) for line in rest]
    return box


class AnswerRenderer:
    """Turn the record of a `check` into an `answer` node."""

    mime_priority_overrides = [("*", shown.MIME, 1)]

    @staticmethod
    def handle_mime(renderer, data, inline):
        """Show the mark and the lines."""
        if data.mime_type != shown.MIME or inline:
            return None
        md = renderer.renderer

        def parse(text):
            holder = nodes.container()
            with md.current_node_context(holder):
                md.nested_render_text(text, data.line or 0, inline=True)
            for child in holder.children:
                yield from child.children if isinstance(child, nodes.paragraph) else [child]

        mark, *lines = data.content["lines"]
        return [boxed(mark, lines, parse, record=data.content, line=data.line)]


class Spoken(SphinxDirective):
    """A directive that shows what exercises say."""

    def parse(self, text):
        return self.state.inline_text(text, self.lineno)[0]


class Messages(Spoken):
    """{messages}: what is said of every wrong answer that the exercises know."""

    def run(self):
        names = [f"dlbook.exercises.{chapter}" for chapter in exercises.CHAPTERS]
        pages = [self.env.doc2path(stem) for stem in ("index", *exercises.CHAPTERS)]
        for path in [*package_files(names), *pages]:  # the pages number the exercises
            self.env.note_dependency(str(path))
        order = {stem: n for n, stem in enumerate(self.env.found_docs)}
        toctrees = self.env.toctree_includes.get(self.config.root_doc, [])
        order |= {stem: n - len(toctrees) for n, stem in enumerate(toctrees)}
        chapters = sorted(exercises.CHAPTERS, key=lambda stem: order.get(stem, 0))
        return [self.chapter(stem) for stem in chapters]

    def chapter(self, stem):
        """Return the section of a chapter."""
        section = nodes.section("", ids=[f"messages-{stem}"])
        page = Path(self.env.doc2path(stem)).read_text(encoding="utf-8")
        section += nodes.title("", re.search(r"^# (.+)$", page, re.M)[1])
        for exercise in import_module(f"dlbook.exercises.{stem}").EXERCISES:
            line = f"{{ref}}`ex-{exercise.label}`. {exercise.task}"
            section += nodes.paragraph("", "", *spoken(line, self.parse))
            rows = self.variants(exercise)
            section += fold(
                "", rows, summary=f"{len(rows)} wrong answers, and what is said of each"
            )
        return section

    def variants(self, exercise):
        """Return a list: the first line of what is said, and below it the others."""
        rows = nodes.definition_list(classes=["messages"])
        for wrong in wrong_answers(exercise):
            first, *rest = engine.judge(exercise, wrong).lines
            definition = nodes.definition(
                "", *(nodes.paragraph("", "", *spoken(line, self.parse)) for line in rest)
            )
            term = nodes.term("", "", *spoken(first, self.parse))
            rows += nodes.definition_list_item("", term, definition)
        return rows


class Said(Spoken):
    """{said} label: an answer to an exercise, a function, and what is said of it."""

    required_arguments = 1
    has_content = True

    def run(self):
        code = "\n".join(self.content)
        exercise, names = exercises.find(self.arguments[0]), {"np": np}
        for path in package_files([f"dlbook.exercises.{exercise.label.partition('-')[0]}"]):
            self.env.note_dependency(str(path))
        exec(compile(code, "answer", "exec"), names)
        result = engine.judge(exercise, list(names.values())[-1])
        mark = shown.Shown(result.lines, result.status).mark
        box = boxed(mark, result.lines, self.parse, record={"label": None})
        return [nodes.literal_block(code, code, language="python"), box]


def wrong_answers(exercise):
    """Return the wrong answers of an exercise: its catalogue and the others, or each wrong letter."""
    if isinstance(exercise, forms.Choice):
        return [*(exercise.right + letter for letter in exercise.wrong), exercise.right[:1]]
    wrong = [*(m.wrong for m in exercise.mistakes), *(other for other, _ in exercise.others)]
    return [w() for w in wrong] if forms.is_value(exercise) else wrong


def collected(app, doctree):
    """Keep what was said on a page: for each exercise the line and the statuses in their order."""
    found = {}
    for node in doctree.findall(answer):
        if node["record"]["label"]:
            entry = found.setdefault(node["record"]["label"], (node["line"], []))
            entry[1].append(node["record"]["status"])
    kept(app.env)[app.env.docname] = found


def kept(env):
    if not hasattr(env, "dlbook_answers"):
        env.dlbook_answers = {}
    return env.dlbook_answers


def purged(app, env, docname):
    kept(env).pop(docname, None)


def merged(app, env, docnames, other):
    kept(env).update({d: a for d, a in kept(other).items() if d in docnames})


def faults(env):
    """Yield (page, line, what is wrong)."""
    for docname, found in kept(env).items():
        for label, (line, statuses) in found.items():
            if statuses != [forms.UNATTEMPTED, forms.CORRECT]:
                said = ", then ".join(statuses)
                yield docname, line, f"{label}: a cell to fill in, then its solution; found {said}"


def consistent(app, env):
    """Warn of exercises without a cell to fill in or without a solution that is right."""
    for docname, line, text in faults(env):
        log.warning("exercise %s", text, location=(docname, line), type="answers")


def outdated(app, env, added, changed, removed):
    """Read pages with faults again, so that a second build does not pass in silence."""
    return {docname for docname, _, _ in faults(env)} & env.found_docs


def setup(app):
    """Register the renderer, the directive and what collects."""
    if AnswerRenderer not in load_mime_renders():  # myst-nb keeps this list
        load_mime_renders().append(AnswerRenderer)
    app.add_directive("messages", Messages)
    app.add_directive("said", Said)
    app.add_node(
        answer,
        html=(
            lambda self, node: self.visit_container(node),
            lambda self, node: self.depart_container(node),
        ),
    )
    app.connect("doctree-read", collected)
    app.connect("env-purge-doc", purged)
    app.connect("env-merge-info", merged)
    app.connect("env-check-consistency", consistent)
    app.connect("env-get-outdated", outdated)
    return {
        "version": "1",
        "env_version": 1,
        "parallel_read_safe": True,
        "parallel_write_safe": True,
    }
