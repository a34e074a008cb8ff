"""The parts a page is built of: shown kernels, figures, exercises and folded text."""

import ast
from html import escape

from docutils import nodes
from docutils.parsers.rst import directives
from myst_nb.core.render import load_mime_renders
from sphinx.util.docutils import SphinxDirective
from sphinx.util.nodes import make_refnode, nested_parse_with_titles

from dlbook.tools.jit import PACKAGE

FIGURE = "application/vnd.dlbook.figure+json"


def kernel_source(name):
    """Return the file and source of "module.function", its docstring cut to the first line."""
    module, _, function = name.rpartition(".")
    path = PACKAGE.joinpath(*module.split(".")).with_suffix(".py")
    text = path.read_text(encoding="utf-8")
    found = [n for n in ast.parse(text).body if isinstance(n, (ast.FunctionDef, ast.ClassDef)) and n.name == function]
    if not found:
        raise LookupError(f"{name}: no such function in {path.name}")
    node, lines = found[0], text.splitlines()
    first = min([node.lineno, *(d.lineno for d in node.decorator_list)]) - 1
    shown = lines[first : node.end_lineno]
    doc = node.body[0]
    if isinstance(doc, ast.Expr) and isinstance(doc.value, ast.Constant) and doc.end_lineno > doc.lineno:
        head = lines[doc.lineno - 1].rstrip() + '"""'
        shown = lines[first : doc.lineno - 1] + [head] + lines[doc.end_lineno : node.end_lineno]
    return path, "\n".join(shown) + "\n"


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


class Exercise(SphinxDirective):
    """{exercise} title: a statement; the number comes from the chapter."""

    required_arguments, optional_arguments, final_argument_whitespace, has_content = 1, 0, True, True
    option_spec = {"name": directives.unchanged}

    def run(self):
        box = nodes.admonition("", classes=["exercise"])
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

    required_arguments, optional_arguments, final_argument_whitespace, has_content = 1, 0, True, True

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
        art = drawing("", frames=record["frames"], variable=record["variable"], start=record["start"], name=record["name"] or "")
        figure = nodes.figure("", art, caption, classes=["drawn"])
        if record["name"]:
            figure["names"].append(nodes.fully_normalize_name(record["name"]))
            md.document.note_explicit_target(figure, figure)
        return [figure]


def _inline(md, text, line):
    """Parse one line of MyST and return its inline nodes."""
    return [child for block in md.nested_render_text and _rendered(md, text, line) for child in block.children]


def _rendered(md, text, line):
    holder = nodes.container()
    with md.current_node_context(holder):
        md.nested_render_text(text, line, inline=True)
    return holder.children if any(isinstance(c, nodes.paragraph) for c in holder.children) else [holder]


INK = (("#1b1b1f", "currentColor"), ("#c8c8cd", "var(--figure-grid)"), ("#fefefc", "var(--figure-paper)"))


def visit_drawing(self, node):
    """Write the frames inline, so that ink and grid follow the theme; all but one are hidden."""
    single = len(node["frames"]) == 1
    self.body.append('<div class="art">')
    for k, frame in enumerate(node["frames"]):
        svg = frame["svg"]
        for drawn, themed in INK:
            svg = svg.replace(drawn, themed)
        hidden = "" if k == node["start"] else " hidden"
        self.body.append(f'<div class="frame" role="img" aria-label="{escape(frame["alt"])}"{hidden}>{svg}</div>\n')
    if not single:
        labels = escape("|".join(f["label"] for f in node["frames"]))
        ident = f"slider-{node['name']}"
        self.body.append(
            f'<div class="slider" hidden><label for="{ident}">{escape(node["variable"])}</label>'
            f'<input id="{ident}" type="range" min="0" max="{len(node["frames"]) - 1}" step="1" value="{node["start"]}" '
            f'data-labels="{labels}" aria-valuetext="{escape(node["frames"][node["start"]]["label"])}">'
            f'<output for="{ident}">{escape(node["frames"][node["start"]]["label"])}</output></div>')
    self.body.append("</div>\n")
    raise nodes.SkipNode


def resolved(app, doctree, docname):
    """Number the exercises and link the kernels."""
    chapter = app.env.toc_secnumbers.get(docname, {}).get("", ())
    for k, node in enumerate(doctree.findall(exercise_title)):
        number = ".".join(map(str, (*chapter, k + 1)))
        node.insert(0, nodes.inline("", f"Exercise {number}", classes=["exercise-number"]))
        node.insert(1, nodes.Text(" · "))
    objects = app.env.domains.python_domain.objects
    for node in list(doctree.findall(kernel_link)):
        entry = objects.get(f"dlbook.{node['name']}")
        text = nodes.literal("", f"dlbook.{node['name']}")
        node.replace_self(make_refnode(app.builder, docname, entry.docname, entry.node_id, text) if entry else text)


def setup(app):
    """Register directives, nodes and the figure plugin."""
    if FigureRenderer not in load_mime_renders():       # myst-nb keeps this list, so the addition stays
        load_mime_renders().append(FigureRenderer)
    app.add_directive("kernel", Kernel)
    app.add_directive("exercise", Exercise)
    app.add_directive("fold", Fold)
    app.add_node(fold, html=(visit_fold, depart_fold))
    app.add_node(drawing, html=(visit_drawing, None))
    app.add_node(kernel_link)
    app.add_node(exercise_title, html=(lambda self, node: self.visit_title(node), lambda self, node: self.depart_title(node)))
    app.connect("doctree-resolved", resolved, priority=850)
    return {"version": "1", "env_version": 1, "parallel_read_safe": True, "parallel_write_safe": True}
