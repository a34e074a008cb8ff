"""Render mathematics to HTML and MathML at build time with KaTeX; pages need no script for it.

KaTeX comes from its registry at set-up (`package.json`). A mistake in TeX is a located warning,
which fails the build.
"""

import json
import os
from html import escape
from pathlib import Path

from docutils import nodes
from py_mini_racer import MiniRacer
from sphinx.util import logging
from sphinx.util.fileutil import copy_asset
from sphinx.util.math import get_node_equation_number

KATEX = Path(__file__).resolve().parents[2] / "node_modules" / "katex" / "dist"
CALL = """(function(){try{return JSON.stringify({html:katex.renderToString(%s,%s)})}
catch(e){return JSON.stringify({error:String(e.message)})}})()"""
log = logging.getLogger(__name__)
_engines = {}


def engine():
    """Return this process's JavaScript engine with KaTeX loaded."""
    pid = os.getpid()       # parallel builds fork
    if pid not in _engines:
        _engines[pid] = MiniRacer()
        _engines[pid].eval((KATEX / "katex.min.js").read_text(encoding="utf-8"))
    return _engines[pid]


def render(node, tex, display, config):
    """Return KaTeX's HTML for one formula."""
    options = {"displayMode": display, "throwOnError": True, "strict": "ignore", "trust": False,
               "output": "htmlAndMathml", "macros": dict(config.katex_macros)}
    out = json.loads(engine().eval(CALL % (json.dumps(tex), json.dumps(options))))
    if "error" in out:
        log.warning("KaTeX: %s in %r", out["error"], tex, location=node, type="katex")
        return f"<code>{escape(tex)}</code>"
    return out["html"]


def inline(self, node):
    """Write inline mathematics."""
    self.body.append(self.starttag(node, "span", "", CLASS="math notranslate nohighlight"))
    self.body.append(render(node, node.astext(), False, self.config) + "</span>")
    raise nodes.SkipNode


def mark(mark):
    """Return the quiet sign beside a number: a tick and the error, the whole story one click away."""
    word = "verified" if mark["passed"] else "not verified"
    links = [f'<a href="{escape(mark[key])}">{text}</a>' for key, text in
             (("check_uri", "the check"), ("api_uri", f"<code>{escape(mark['function'])}</code>")) if key in mark]
    return (f'<details class="mark {"passed" if mark["passed"] else "failed"}"><summary title="{escape(mark["story"])}">'
            f'<span aria-hidden="true">{"✓" if mark["passed"] else "✗"}</span> {escape(mark["error"])}'
            f'<span class="visually-hidden"> equation {mark["number"]} {word}</span></summary>'
            f'<p class="story">{escape(mark["story"])} {" · ".join(links)}</p></details>')


def block(self, node):
    """Write displayed mathematics with its number and its mark."""
    tex = node.astext().strip()
    if not tex.startswith(r"\begin{") and r"\begin{" not in tex and ("&" in tex.replace(r"\&", "") or r"\\" in tex):
        tex = rf"\begin{{aligned}}{tex}\end{{aligned}}"
    self.body.append(self.starttag(node, "div", CLASS="math notranslate nohighlight"))
    # a wide formula scrolls on a phone, so it must take the focus
    self.body.append(render(node, tex, True, self.config).replace('class="katex-display"', 'class="katex-display" tabindex="0"', 1))
    if node.get("number"):
        self.body.append(f'<span class="eqno">({get_node_equation_number(self, node)})')
        self.add_permalink_ref(node, "Link to this equation")
        self.body.append(mark(node["mark"]) if "mark" in node else "")
        self.body.append("</span>")
    self.body.append("</div>\n")
    raise nodes.SkipNode


def copy_styles(app, exception):
    """Put KaTeX's style sheet and fonts beside the pages."""
    if exception is None and app.builder.format == "html":
        target = Path(app.outdir, "_static", "katex")
        (target / "fonts").mkdir(parents=True, exist_ok=True)
        copy_asset(KATEX / "katex.min.css", target)
        for font in sorted((KATEX / "fonts").glob("*.woff2")):
            copy_asset(font, target / "fonts")


def setup(app):
    """Register the renderer."""
    if not (KATEX / "katex.min.js").is_file():
        raise RuntimeError("KaTeX is missing: run `make setup`, which installs it from package.json")
    app.add_html_math_renderer("katex", (inline, None), (block, None))
    app.add_config_value("katex_macros", {}, "html")
    app.add_css_file("katex/katex.min.css")
    app.connect("build-finished", copy_styles)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
