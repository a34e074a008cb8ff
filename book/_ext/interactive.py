"""{interactive} name: a picture that answers to what a reader sets, drawn by the kernels of its page.

What it shows is registered under its name in ``_static/interactive/<page>.js``; its kernels are those
of the page's live equations (`live`). The content of the directive is its caption. Without scripts
nothing is shown, so the page's own figures have to say the same.
"""

from html import escape
from pathlib import Path

from docutils import nodes
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective

STATIC = Path(__file__).resolve().parents[1] / "_static" / "interactive"
log = logging.getLogger(__name__)


class interactive(nodes.General, nodes.Element):
    """A figure whose caption is its content."""


class Interactive(SphinxDirective):
    """{interactive} name: see the module."""

    required_arguments = 1
    has_content = True

    def run(self):
        self.assert_has_content()
        node = interactive("", name=self.arguments[0], page=self.env.docname)
        node += self.parse_content_to_nodes()
        self.set_source_info(node)
        script = STATIC / f"{self.env.docname}.js"
        if f'register("{node["name"]}"' not in (
            script.read_text("utf-8") if script.is_file() else ""
        ):
            raise self.error(f"{script.name} registers no interactive “{node['name']}”")
        self.env.note_dependency(str(script))
        return [node]


def visit(self, node):
    """Open the figure; a script draws it and shows it."""
    if node["page"] not in getattr(self.builder.app, "live", {}):
        raise nodes.SkipNode
    self.body.append(
        f'<figure class="interactive" hidden data-name="{escape(node["name"])}" '
        f'data-page="{escape(node["page"])}"><div class="stage"></div><figcaption>'
    )


def depart(self, node):
    """Close it."""
    self.body.append("</figcaption></figure>\n")


def skipped(self, node):
    """Leave it out where nothing moves."""
    raise nodes.SkipNode


def setup(app):
    """Register the directive."""
    nothing = (skipped, None)
    app.add_node(interactive, html=(visit, depart), text=nothing, latex=nothing, epub=nothing)
    app.add_directive("interactive", Interactive)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
