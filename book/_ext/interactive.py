"""{interactive} name: a picture that answers to what a reader sets, drawn by the kernels of its page.

What it shows is registered under its name in ``_static/interactive/<page>.js``; its kernels are those
of the page's live equations (`live`). The content of the directive is its caption. Without scripts
nothing is shown, so the page's own figures have to say the same.

The option ``height`` says how many pixels it takes on a wide page and on a phone, as measured by
``tests/site``: the place is kept, so that nothing moves when it is drawn. What is drawn when it is
asked for needs none.

Where a cell of the page hands over what it learned (`dlbook.tools.plotting.hand_over`), it goes into
``live/<page>-<name>.js``, which the page loads with the picture, or, where it is large, when the
reader asks for it. Two pictures may draw from the same: the option ``learned`` names the other one.
"""

import gzip
import json
from html import escape
from pathlib import Path
from typing import ClassVar

from docutils import nodes
from docutils.parsers.rst.directives import unchanged_required
from myst_nb.core.render import load_mime_renders
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective

STATIC = Path(__file__).resolve().parents[1] / "_static" / "interactive"
LEARNED = "application/vnd.dlbook.learned+json"
LARGE = 300_000  # bytes, compressed, from which a reader is asked
log = logging.getLogger(__name__)


class interactive(nodes.General, nodes.Element):
    """A figure whose caption is its content."""


class learned(nodes.Invisible, nodes.Element):
    """What a cell has handed over."""


class LearnedRenderer:
    """Keep what a cell hands over."""

    mime_priority_overrides = [("*", LEARNED, 1)]

    @staticmethod
    def handle_mime(renderer, data, inline):
        """Return a node that shows nothing."""
        if data.mime_type != LEARNED or inline:
            return None
        return [learned("", **data.content)]


def heights(argument):
    """Read two numbers of pixels."""
    wide, narrow = (int(part) for part in argument.split())
    return wide, narrow


class Interactive(SphinxDirective):
    """{interactive} name: see the module."""

    required_arguments = 1
    option_spec: ClassVar[dict] = {"learned": unchanged_required, "height": heights}
    has_content = True

    def run(self):
        self.assert_has_content()
        name = self.arguments[0]
        learned = self.options.get("learned", name)
        height = self.options.get("height")
        node = interactive("", name=name, page=self.env.docname, learned=learned, height=height)
        node += self.parse_content_to_nodes()
        self.set_source_info(node)
        script = STATIC / f"{self.env.docname}.js"
        self.env.note_dependency(str(script))  # also of what is refused, and may be mended
        if f'register("{node["name"]}"' not in (
            script.read_text("utf-8") if script.is_file() else ""
        ):
            raise self.error(f"{script.name} registers no interactive “{node['name']}”")
        return [node]


def visit(self, node):
    """Open the figure; a script draws it and shows it."""
    app, page, name = self.builder.app, node["page"], node["name"]
    if page not in getattr(app, "live", {}):
        raise nodes.SkipNode
    more = ""
    for found in self.document.findall(learned):
        if found["name"] != node["learned"]:
            continue
        values = json.dumps(found["values"], ensure_ascii=False)
        text = f"(window.dlbook ??= {{}}).learned = {values};\n"
        path = Path(app.outdir, "live", f"{page}-{found['name']}.js")
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
        size = len(gzip.compress(text.encode(), 6))
        log.info("live/%s: %d bytes compressed", path.name, size)
        more = f' data-learned="{path.name}"'
        more += f' data-weight="{size / 1e6:.1f} MB"' if size > LARGE else ""
    style = ""
    if node["height"]:
        style = ' style="--wide: {}px; --narrow: {}px"'.format(*node["height"])
    elif "data-weight" not in more:
        log.warning("the interactive %s needs its height", name, location=node, type="interactive")
    self.body.append(
        f'<figure class="interactive"{style} data-name="{escape(name)}" data-page="{escape(page)}"{more}>'
        '<div class="stage"></div><figcaption>'
    )


def depart(self, node):
    """Close it."""
    self.body.append("</figcaption></figure>\n")


def skipped(self, node):
    """Leave it out where nothing moves."""
    raise nodes.SkipNode


def setup(app):
    """Register the directive and what keeps learned numbers."""
    nothing = (skipped, None)
    if LearnedRenderer not in load_mime_renders():  # myst-nb keeps this list
        load_mime_renders().append(LearnedRenderer)
    app.add_node(interactive, html=(visit, depart), text=nothing, latex=nothing, epub=nothing)
    app.add_node(learned, html=nothing, text=nothing, latex=nothing, epub=nothing)
    app.add_directive("interactive", Interactive)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
