"""Offer each page with code as a notebook and as its MyST source, linked from its head.

`notebooks` writes the notebooks; the sources are copied here. Where conf.py says in which repository
the book is published, a chapter can also be opened at Binder and at Colab.
"""

from html import escape
from pathlib import Path

from notebooks import FOLDER, filename, runs

from dlbook.tools import files


def linked(app, pagename, templatename, context, doctree):
    """Put the links below the title of a page."""
    if doctree is None or not runs(app, pagename):
        return
    to, module, notebook = context["pathto"], f"dlbook.{pagename}", filename(app.env, pagename)
    links = [
        (to(f"{FOLDER}/{notebook}", 1), notebook, "Jupyter notebook"),
        (to(f"_sources/{pagename}.md", 1), f"{pagename}.md", "page source"),
    ]
    if getattr(app.env, "_viewcode_modules", {}).get(module):
        links.append((to(f"_modules/{module.replace('.', '/')}"), None, "module source"))
    if repository := app.config.book_repository:
        binder = (
            f"https://mybinder.org/v2/gh/{repository}/HEAD?urlpath=lab/tree/notebooks/{notebook}"
        )
        colab = "https://colab.research.google.com/github/"
        colab += f"{repository}/blob/{app.config.book_branch}/{FOLDER}/{notebook}"
        links += [(binder, None, "Binder"), (colab, None, "Colab")]
    shown = " · ".join(
        f'<a href="{escape(uri)}"' + (f' download="{name}">' if name else ">") + f"{text}</a>"
        for uri, name, text in links
    )
    line = f'</h1>\n<p class="downloads">Read elsewhere: {shown}</p>'
    context["body"] = context["body"].replace("</h1>", line, 1)


def written(app, exception):
    """Write the sources into _sources, and remove those of pages that went."""
    if exception or app.builder.format != "html":
        return
    folder, pages = Path(app.outdir, "_sources"), [d for d in app.env.found_docs if runs(app, d)]
    wanted = {f"{d}.md": Path(app.env.doc2path(d)).read_bytes() for d in sorted(pages)}
    files.save_all(wanted, folder, overwrite=True)
    for path in folder.glob("*.*"):
        if path.name not in wanted:
            path.unlink()


def setup(app):
    """Connect the hooks."""
    app.add_config_value("book_repository", "", "html", str)  # "owner/name" at GitHub
    app.add_config_value("book_branch", "gh-pages", "html", str)  # where its site is
    app.connect("html-page-context", linked)
    app.connect("build-finished", written)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
