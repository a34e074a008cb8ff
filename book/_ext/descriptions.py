"""Describe each page to search engines, and to those to whom a link is sent."""

import re
from html import escape

from contents import prose

MOST = 200  # characters


def described(doctree):
    """Return the first sentences of a page, as many as have room, else the beginning of the first."""
    text = " ".join(next((p for p in prose(doctree) if len(p) > 40), "").split())
    if len(text) <= MOST:
        return text
    ends = [m.end() for m in re.finditer(r"[.?!](?= )", text[: MOST + 1])]
    return text[: ends[-1]] if ends else text[: text.rfind(" ", 0, MOST)] + " …"


def added(app, pagename, templatename, context, doctree):
    """Give a page its description; the theme already says how wide it is shown."""
    metatags = re.sub(r'<meta name="viewport"[^>]*>\s*', "", context.get("metatags", ""))
    title = re.sub(r"<[^>]*>", "", context.get("title", "")) or app.config.html_title
    text = described(doctree) if doctree else ""
    tags = {"og:title": title, "og:type": "article", "og:site_name": app.config.html_title}
    rows = [f'<meta property="{k}" content="{escape(v)}">' for k, v in tags.items()]
    if text:
        rows.append(f'<meta name="description" content="{escape(text)}">')
        rows.append(f'<meta property="og:description" content="{escape(text)}">')
    context["metatags"] = metatags + "\n".join(rows)


def setup(app):
    """Connect the hook."""
    app.connect("html-page-context", added)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
