"""Render mathematics to HTML and MathML at build time with KaTeX; pages need no script for it.

KaTeX comes from its registry at set-up (`package.json`). A mistake in TeX is a located warning,
which fails the build.
"""

import json
import os
import re
from html import escape
from pathlib import Path
from xml.etree import ElementTree

from docutils import nodes
from py_mini_racer import MiniRacer
from sphinx.util import logging
from sphinx.util.fileutil import copy_asset
from sphinx.util.math import get_node_equation_number

KATEX = Path(__file__).resolve().parents[2] / "node_modules" / "katex" / "dist"
CALL = """(function(){try{return JSON.stringify({html:katex.renderToString(%s,%s)})}
catch(e){return JSON.stringify({error:String(e.message)})}})()"""
MATHML = "http://www.w3.org/1998/Math/MathML"
FIXED = {"mfrac", "msub", "msup", "msubsup", "munder", "mover", "munderover", "mroot"}
APPLIED = "\N{FUNCTION APPLICATION}"
log = logging.getLogger(__name__)
_engines = {}


def engine():
    """Return this process's JavaScript engine with KaTeX loaded."""
    pid = os.getpid()  # parallel builds fork
    if pid not in _engines:
        _engines[pid] = MiniRacer()
        _engines[pid].eval((KATEX / "katex.min.js").read_text(encoding="utf-8"))
    return _engines[pid]


def render(node, tex, display, config):
    """Return KaTeX's HTML for one formula."""
    options = {
        "displayMode": display,
        "throwOnError": True,
        "strict": "ignore",
        "trust": False,
        "output": "htmlAndMathml",
        "macros": dict(config.katex_macros),
    }
    out = json.loads(engine().eval(CALL % (json.dumps(tex), json.dumps(options))))
    if "error" in out:
        log.warning("KaTeX: %s in %r", out["error"], tex, location=node, type="katex")
        return f"<code>{escape(tex)}</code>"
    return repaired(out["html"])


def repaired(html):
    """Take a sign out of MathML that KaTeX sets behind names and that is a child too many there."""
    start, stop = html.index("<math"), html.index("</math>") + len("</math>")
    if APPLIED not in html[start:stop]:
        return html
    ElementTree.register_namespace("", MATHML)
    math = ElementTree.fromstring(html[start:stop])
    surplus = [
        (parent, child)
        for parent in math.iter()
        for child in parent
        if parent.tag.removeprefix(f"{{{MATHML}}}") in FIXED and child.text == APPLIED
    ]
    for parent, child in surplus:
        parent.remove(child)
    text = ElementTree.tostring(math, encoding="unicode", short_empty_elements=False)
    return html[:start] + text + html[stop:] if surplus else html


def inline(self, node):
    """Write inline mathematics."""
    tex = node.get("lead", "") + node.astext() + node.get("tail", "")
    self.body.append(self.starttag(node, "span", "", CLASS="math notranslate nohighlight"))
    self.body.append(render(node, tex, False, self.config) + "</span>")
    raise nodes.SkipNode


def glued(app, doctree, docname):
    """Draw brackets and stops that touch a formula into it: a line may break at its edges."""
    for node in doctree.findall(nodes.math):
        at, around = node.parent.index(node), node.parent
        for key, pattern, k in (("lead", r"[(\[]+$", at - 1), ("tail", r"^[,.;:!?)\]-]+", at + 1)):
            text = around[k] if 0 <= k < len(around) else None
            if isinstance(text, nodes.Text) and (found := re.search(pattern, text)):
                node[key] = rf"\text{{{found[0]}}}"
                around[k] = nodes.Text(re.sub(pattern, "", text))


def mark(mark):
    """Return the quiet sign under a number: a tick and the error, the whole story one click away."""
    word = "verified" if mark["passed"] else "not verified"
    links = " ".join(
        f'<a href="{escape(mark[key])}">{text}</a>'
        for key, text in (
            ("check_uri", "Where it is checked"),
            ("api_uri", f"<code>{escape(mark['function'])}</code>"),
        )
        if key in mark
    )
    return (
        f'<details class="mark {"passed" if mark["passed"] else "failed"}"><summary>'
        f'<span aria-hidden="true">{"✓" if mark["passed"] else "✗"}</span> {escape(mark["error"])}'
        f'<span class="visually-hidden">, equation {mark["number"]} is {word}</span></summary>'
        f'<div class="story"><p>{escape(mark["story"])}</p>{versions(mark)}{answering(mark)}'
        f"{f'<p>{links}</p>' if links else ''}</div></details>"
    )


def versions(mark):
    """Return what a mark says of altered versions; the script lists them when it is opened."""
    if not mark["trials"]:
        return ""
    words = mark["trials"][0].upper() + mark["trials"][1:]
    return (
        f'<details class="altered" data-label="{escape(mark["label"])}" '
        f'data-script="{escape(mark["script"])}"><summary>{escape(words)}</summary></details>'
    )


def answering(mark):
    """Return the button of an equation that answers; a script shows it."""
    if not mark["live"]:
        return ""
    words = "Edit this equation" if mark["live"]["edit"] else "Try other numbers"
    given = {"label": mark["label"], "number": mark["number"], "script": mark["live"]["script"]}
    given |= {"open": mark["open"]} if mark["open"] else {}
    data = " ".join(f'data-{name}="{escape(value)}"' for name, value in given.items())
    return f'<button type="button" class="answers" hidden {data}>{words}</button>'


def displayed(tex):
    """Return the TeX of a display: lines that are broken or aligned need an environment."""
    lines = "&" in tex.replace(r"\&", "") or r"\\" in tex
    return (
        f"\\begin{{aligned}}\n{tex}\n\\end{{aligned}}" if lines and r"\begin{" not in tex else tex
    )


def block(self, node):
    """Write displayed mathematics; its number, which is its permanent link; and its mark."""
    tex = displayed(node.astext().strip())
    wrapped = node["ids"] == node.parent["ids"]  # the theme wraps it in a box that bears the id
    own = "" if wrapped else "".join(f'<span id="{ident}"></span>' for ident in node["ids"])
    self.body.append(f'<div class="math notranslate nohighlight">{own}')
    self.body.append(f'<div class="formula">{render(node, tex, True, self.config)}</div>')
    if node.get("number"):
        here = "uri" not in node  # else it is shown once more, away from its page
        number = get_node_equation_number(self, node) if here else node["mark"]["number"]
        uri = f"#{node['ids'][0]}" if here else node["uri"]
        self.body.append(
            f'<div class="eqno"><a class="number" href="{escape(uri)}" title="Link to this equation">({number})</a>'
            f"{mark(node['mark']) if 'mark' in node else ''}</div>"
        )
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
        raise RuntimeError(
            "KaTeX is missing: run `make setup`, which installs it from package.json"
        )
    app.add_html_math_renderer("katex", (inline, None), (block, None))
    app.add_config_value("katex_macros", {}, "html")
    app.add_css_file("katex/katex.min.css")
    app.connect("doctree-resolved", glued)
    app.connect("build-finished", copy_styles)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
