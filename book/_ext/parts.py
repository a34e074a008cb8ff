"""The parts a page is built of: shown kernels, figures, exercises and folded text."""

import json
import re
from html import escape

from docutils import nodes
from docutils.parsers.rst import directives
from myst_nb.core.render import load_mime_renders
from sphinx.util.docutils import SphinxDirective
from sphinx.util.nodes import make_refnode, nested_parse_with_titles

from dlbook.tools.listing import kernel_source

FIGURE = "application/vnd.dlbook.figure+json"


class Kernel(SphinxDirective):
    """{kernel} module.function: show a kernel from its source, linked to the API reference."""

    required_arguments = 1

    def run(self):
        name = self.arguments[0]
        try:
            path, text = kernel_source(name)
        except (LookupError, OSError) as error:
            raise self.error(str(error)) from error
        self.env.note_dependency(str(path))
        block = nodes.literal_block(text, text, language="python", classes=["kernel"])
        self.set_source_info(block)
        title = nodes.paragraph("", "", classes=["kernel-name"])
        title += kernel_link("", name=name)
        return [nodes.container("", title, block, classes=["kernel-box"])]


class kernel_link(nodes.Inline, nodes.TextElement):
    """A link to a function's API entry, resolved when all pages are read."""


class exercise(nodes.admonition):
    """The statement of an exercise, which Sphinx numbers as it numbers figures."""


class Exercise(SphinxDirective):
    """{exercise} title: a statement; the number comes from the chapter."""

    required_arguments, optional_arguments, final_argument_whitespace, has_content = (
        1,
        0,
        True,
        True,
    )
    option_spec = {"name": directives.unchanged}

    def run(self):
        box = exercise("", classes=["exercise"])
        inline, messages = self.state.inline_text(self.arguments[0], self.lineno)
        box += exercise_title("", "", *inline)
        self.set_source_info(box)
        self.add_name(box)
        nested_parse_with_titles(self.state, self.content, box, self.content_offset)
        return [box, *messages]


class exercise_title(nodes.title):
    """Numbered when the chapter's number is known."""


class fold(nodes.General, nodes.Element):
    """Text behind a summary: a solution, a longer derivation."""


class Fold(SphinxDirective):
    """{fold} summary: folded text."""

    required_arguments, optional_arguments, final_argument_whitespace, has_content = (
        1,
        0,
        True,
        True,
    )

    def run(self):
        node = fold("", summary=self.arguments[0])
        self.set_source_info(node)
        nested_parse_with_titles(self.state, self.content, node, self.content_offset)
        return [node]


def visit_fold(self, node):
    self.body.append(f'<details class="fold"><summary>{escape(node["summary"])}</summary>\n<div>')


def depart_fold(self, node):
    self.body.append("</div></details>\n")


class drawing(nodes.General, nodes.Element):
    """The SVG frames of a figure."""


class FigureRenderer:
    """Turn the record of `dlbook.tools.plotting` into a figure."""

    mime_priority_overrides = [("*", FIGURE, 1)]

    @staticmethod
    def handle_mime(renderer, data, inline):
        if data.mime_type != FIGURE or inline:
            return None
        record, md = data.content, renderer.renderer
        caption = nodes.caption("", "", *_inline(md, record["caption"], data.line or 0))
        art = drawing(
            "",
            frames=record["frames"],
            variable=record["variable"],
            start=record["start"],
            name=record["name"] or "",
        )
        figure = nodes.figure("", art, caption, classes=["drawn"])
        if record["name"]:
            figure["names"].append(nodes.fully_normalize_name(record["name"]))
            md.document.note_explicit_target(figure, figure)
        return [figure]


def _inline(md, text, line):
    """Parse one line of MyST and return its inline nodes."""
    holder = nodes.container()
    with md.current_node_context(holder):
        md.nested_render_text(text, line, inline=True)
    blocks = [c for c in holder.children if isinstance(c, nodes.paragraph)]
    return [child for block in blocks or [holder] for child in block.children]


INK = (
    ("#1b1b1f", "currentColor"),
    ("#c8c8cd", "var(--figure-grid)"),
    ("#fefefc", "var(--figure-paper)"),
)
STYLE = re.compile(
    r"<style\b.*?</style>", re.S
)  # would reach the whole page; book.css says the same
SIZE = re.compile(r'<svg(?: style="[^"]*")?(.*?viewBox="0 0 ([\d.]+) )', re.S)
REM = 6.2 / 72  # a figure of 6.2 inches is as wide as a code box
LEAST = 9 / 8 / 16  # so small that text of 8 points is 9 pixels high; narrower, the frame scrolls


def themed(svg):
    """Return a drawing that follows the theme: its ink, its grid, its paper and its size."""
    for drawn, variable in INK:
        svg = svg.replace(drawn, variable)
    return SIZE.sub(
        lambda m: (
            f'<svg style="width:{float(m[2]) * REM:.2f}rem;--least:{float(m[2]) * LEAST:.2f}rem" '
            f'aria-hidden="true"{m[1]}'
        ),
        STYLE.sub("", svg),
        count=1,
    )


def visit_drawing(self, node):
    """Write the frames inline; all but one are hidden until a script reveals the slider."""
    frames, start = node["frames"], node["start"]
    self.body.append('<div class="art">')
    for k, frame in enumerate(frames):
        kind = "frame pixels" if "<image" in frame["svg"] else "frame"
        self.body.append(
            f'<div class="{kind}" role="img" aria-label="{escape(frame["alt"])}"'
            f"{'' if k == start else ' hidden'}>{themed(frame['svg'])}</div>\n"
        )
    if len(frames) > 1:
        self.sliders = getattr(self, "sliders", 0) + 1
        ident = f"slider-{self.sliders}"
        labels = [frame["label"] for frame in frames]
        self.body.append(
            f'<div class="slider" hidden><label for="{ident}">{escape(node["variable"])}</label>'
            f'<input id="{ident}" type="range" min="0" max="{len(frames) - 1}" step="1" '
            f'value="{start}" autocomplete="off" aria-valuetext="{escape(labels[start])}" '
            f'data-labels="{escape(json.dumps(labels, ensure_ascii=False))}">'
            f'<span class="value" aria-hidden="true">{escape(labels[start])}</span></div>'
        )
    self.body.append("</div>\n")
    raise nodes.SkipNode


def framed(app, doctree, docname):
    """Wrap generated tables as the theme wraps written ones, so that a wide one scrolls in its box."""
    for table in list(doctree.findall(nodes.table)):
        if "table-wrapper" not in table.parent["classes"]:
            box = nodes.container(classes=["table-wrapper"])
            table.replace_self(box)
            box += table


LONG_NAME = re.compile(r'(?<=<span class="pre">)[\w.]{20,}(?=</span></code>(?:</a>)?</p></td>)')


def repaired(app, pagename, templatename, context, doctree):
    """Mend markup of other hands that misleads a screen reader, and let long names in tables break."""
    body = context.get("body", "")
    body = body.replace('<summary aria-label="Toggle hidden content">', "<summary>")  # it has words
    body = body.replace('<div role="list" class="citation-list">', '<div class="citation-list">')
    body = body.replace(' role="doc-biblioentry"', "")
    body = body.replace(
        ' role="heading"', ' role="heading" aria-level="2"'
    )  # captions of a toctree
    context["body"] = LONG_NAME.sub(lambda m: re.sub(r"([._])", r"\1<wbr>", m[0]), body)


def resolved(app, doctree, docname):
    """Number the exercises and link the kernels."""
    numbers = app.env.toc_fignumbers.get(docname, {}).get("exercise", {})
    for node in doctree.findall(exercise_title):
        number = ".".join(map(str, numbers.get(node.parent["ids"][0], ())))
        node.insert(0, nodes.inline("", f"Exercise {number}", classes=["exercise-number"]))
        node.insert(1, nodes.Text(" · "))
    objects = app.env.domains.python_domain.objects
    for node in list(doctree.findall(kernel_link)):
        entry = objects.get(f"dlbook.{node['name']}")
        text = nodes.literal("", f"dlbook.{node['name']}")
        node.replace_self(
            make_refnode(app.builder, docname, entry.docname, entry.node_id, text)
            if entry
            else text
        )


def counted(app, config):
    """Say what a numbered exercise is called."""
    config.numfig_format.setdefault("exercise", "Exercise %s")


def setup(app):
    """Register directives, nodes and the figure plugin."""
    if FigureRenderer not in load_mime_renders():  # myst-nb keeps this list, so the addition stays
        load_mime_renders().append(FigureRenderer)
    app.add_directive("kernel", Kernel)
    app.add_directive("exercise", Exercise)
    app.add_directive("fold", Fold)
    app.add_node(fold, html=(visit_fold, depart_fold))
    app.add_node(drawing, html=(visit_drawing, None))
    app.add_node(kernel_link)
    app.add_enumerable_node(
        exercise,
        "exercise",
        html=(
            lambda self, node: self.visit_admonition(node),
            lambda self, node: self.depart_admonition(node),
        ),
    )
    app.connect("config-inited", counted, priority=900)
    app.add_node(
        exercise_title,
        html=(
            lambda self, node: self.body.append(
                self.starttag(node, "p", "", CLASS="admonition-title")
            ),
            lambda self, node: self.body.append("</p>\n"),
        ),
    )
    app.connect("doctree-resolved", resolved, priority=850)
    app.connect("doctree-resolved", framed, priority=950)  # after the tables are generated
    app.connect("html-page-context", repaired)
    return {
        "version": "1",
        "env_version": 1,
        "parallel_read_safe": True,
        "parallel_write_safe": True,
    }
