"""Offer each page with code as a notebook and as its MyST source, linked from its head.

The files are written after the pages, all of them in every build: the numbers in one notebook come
from other pages too, and a conversion takes milliseconds. A page that cannot be converted is a
located warning, which fails the build.
"""

from html import escape
from pathlib import Path

from sphinx.util import logging

from dlbook.tools import notebooks
from dlbook.tools.myst import Book, PageError

log = logging.getLogger(__name__)


def read(app):
    """Read which pages are notebooks."""
    app.notebooks, app.book = {}, None
    try:
        app.book = Book(app.srcdir)
        app.notebooks = {c.stem: c for c in app.book.chapters if c.runs}
    except PageError as error:
        warn(app, error)


def warn(app, error):
    """Report a page that cannot be converted, where it stands."""
    where = (Path(app.srcdir, error.page), error.line)
    log.warning("%s", error.reason, location="{}:{}".format(*where), type="downloads")


def linked(app, pagename, templatename, context, doctree):
    """Put the links below the title of a page."""
    if doctree is None or pagename not in app.notebooks:
        return
    chapter, to = app.notebooks[pagename], context["pathto"]
    module = f"dlbook.{pagename}"
    links = [
        (to(f"_sources/{pagename}.ipynb", 1), chapter.filename, "Jupyter notebook"),
        (to(f"_sources/{pagename}.md", 1), chapter.page, "page source"),
    ]
    if getattr(app.env, "_viewcode_modules", {}).get(module):
        links.append((to(f"_modules/{module.replace('.', '/')}"), None, "module source"))
    shown = " · ".join(
        f'<a href="{escape(uri)}"' + (f' download="{name}">' if name else ">") + f"{text}</a>"
        for uri, name, text in links
    )
    line = f'</h1>\n<p class="downloads">Read elsewhere: {shown}</p>'
    context["body"] = context["body"].replace("</h1>", line, 1)


def written(app, exception):
    """Write the notebooks and the sources into _sources, and remove those of pages that went."""
    if exception or app.builder.format != "html" or app.book is None:
        return
    folder, wanted = Path(app.outdir, "_sources"), {}
    for stem, chapter in app.notebooks.items():
        try:
            wanted[f"{stem}.ipynb"] = notebooks.encode(notebooks.notebook(app.book, chapter))
        except PageError as error:
            warn(app, error)
        wanted[f"{stem}.md"] = chapter.text.encode()
    notebooks.save_all(wanted, folder, overwrite=True)
    for path in [*folder.glob("*.ipynb"), *folder.glob("*.md")]:
        if path.name not in wanted:
            path.unlink()


def setup(app):
    """Connect the hooks."""
    app.connect("builder-inited", read)
    app.connect("html-page-context", linked)
    app.connect("build-finished", written)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
