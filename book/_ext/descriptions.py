"""Describe each page to search engines, and to those to whom a link is sent."""

import re
import textwrap
from html import escape
from pathlib import Path

from contents import prose
from matplotlib.figure import Figure

MOST = 200  # characters
INK, PAPER, BRAND = "#1b1b1f", "#fefefc", "#0b5a8a"


def described(doctree):
    """Return the first sentences of a page, as many as have room, else the beginning of the first."""
    text = " ".join(next((p for p in prose(doctree) if len(p) > 40), "").split())
    if len(text) <= MOST:
        return text
    ends = [m.end() for m in re.finditer(r"[.?!](?= )", text[: MOST + 1])]
    return text[: ends[-1]] if ends else text[: text.rfind(" ", 0, MOST)] + " …"


def drawn(path, title, book):
    """Draw what stands beside a link to a page, 1200 × 630 pixels: its title, the book's, and a tick."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fig = Figure((12, 6.3), dpi=100, facecolor=PAPER)
    lines = textwrap.wrap(title, 26)[:4]
    fig.text(0.07, 0.62, "\n".join(lines), size=52, color=INK, va="center", linespacing=1.25)
    fig.text(0.07, 0.12, "✓", size=40, color=BRAND, va="center", family="DejaVu Sans")
    fig.text(0.13, 0.12, book, size=26, color=BRAND, va="center")
    fig.savefig(path, metadata={"Software": None})


def added(app, pagename, templatename, context, doctree):
    """Give a page its description; the theme already says how wide it is shown."""
    metatags = re.sub(r'<meta name="viewport"[^>]*>\s*', "", context.get("metatags", ""))
    title = re.sub(r"<[^>]*>", "", context.get("title", "")) or app.config.html_title
    text = described(doctree) if doctree else ""
    tags = {"og:title": title, "og:type": "article", "og:site_name": app.config.html_title}
    if (site := app.config.html_baseurl) and doctree:
        name = f"_static/sent/{pagename.replace('/', '-')}.png"
        drawn(Path(app.outdir, name), title, app.config.html_title)
        address = f"{site.rstrip('/')}/{name}"
        tags |= {"og:image": address, "og:image:alt": title, "twitter:card": "summary_large_image"}
    rows = [f'<meta property="{k}" content="{escape(v)}">' for k, v in tags.items()]
    if text:
        rows.append(f'<meta name="description" content="{escape(text)}">')
        rows.append(f'<meta property="og:description" content="{escape(text)}">')
    context["metatags"] = metatags + "\n".join(rows)


def setup(app):
    """Connect the hook."""
    app.connect("html-page-context", added)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
