"""Sphinx configuration of the book; the pages are in `book/`."""

import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent
BUILD = ROOT / "_build"
sys.path[:0] = [str(ROOT), str(ROOT / "book" / "_ext")]

from dlbook.tools.tex import MACROS  # noqa: E402

# What the kernels of the pages inherit
os.environ["PYTHONPATH"] = os.pathsep.join(
    [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
)
os.environ["DLBOOK_VERIFY"] = (
    "collect"  # a failed check lets the page go on and fails it at its end
)
os.environ.setdefault("DLBOOK_CACHE_DIR", str(BUILD / "kernels"))
os.environ["DLBOOK_DATA_DIR"] = ""  # the exercises that a build solves are not the reader's
for pool in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(pool, "1")  # two pages are built side by side
os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # and idle threads must not spin beside them
os.environ["IPYTHONDIR"] = str(BUILD / "ipython")
profile = BUILD / "ipython" / "profile_default"
profile.mkdir(parents=True, exist_ok=True)
(profile / "ipython_kernel_config.py").write_text(
    "c = get_config()\nc.IPKernelApp.log_level = 40\n"
)  # no start-up warning

project = "Deep Learning, Equation by Equation"
author = "the dlbook authors"
copyright = "the dlbook authors. Text CC BY 4.0, code BSD-3-Clause"
extensions = [
    "myst_nb",
    "sharing",
    "dependencies",
    "parts",
    "contents",
    "descriptions",
    "imprint",
    "fonts",
    "verified",
    "live",
    "interactive",
    "answers",
    "tested",
    "maths",
    "notebooks",
    "downloads",
    "colours",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "sphinxcontrib.bibtex",
    "sphinx_copybutton",
]
exclude_patterns = ["_*", "**.ipynb_checkpoints"]
myst_enable_extensions = ["dollarmath", "colon_fence", "deflist", "attrs_inline", "smartquotes"]
numfig = True
numfig_secnum_depth = 1
math_eqref_format = "({number})"
bibtex_bibfiles = ["book/references.bib"]
bibtex_default_style = "plain"
bibtex_reference_style = "author_year"

nb_execution_mode = "cache"
nb_execution_cache_path = str(BUILD / "executed")
nb_execution_timeout = 120
nb_execution_show_tb = True
nb_merge_streams = True
nb_ipywidgets_js = {}  # the default loads scripts from other hosts

autodoc_member_order = "bysource"
autodoc_typehints = "none"
napoleon_google_docstring = False
napoleon_use_param = False  # types are words ("shape (n, p)"), not names to link
napoleon_use_rtype = False
# Exceptions and library names stand in docstrings; their documentation is on other hosts.
nitpick_ignore_regex = [
    (r"py:(exc|class)", r"\w+Error|\w+Warning|Exception"),
    (r"py:.*", r"(numpy|numba|matplotlib|NamedTuple|tuple|dict)\b.*"),
]

# Where the book is published; empty, no page leads to another host. The repository ("owner/name" at GitHub) brings
# Binder and Colab to the head of chapters, its branch with the site the notebooks that Colab opens, and the address
# of the site pictures for those to whom a link is sent.
book_repository, book_branch = "", "gh-pages"
html_baseurl = ""
html_context = {"book_repository": book_repository}

html_theme = "furo"
html_title = "Deep Learning, Equation by Equation"
html_static_path = ["book/_static"]
html_css_files = ["fonts.css", "book.css"]
html_js_files = [("book.js", {"defer": "defer"})]
html_favicon = "book/_static/favicon.svg"
html_math_renderer = "katex"
katex_macros = MACROS
html_copy_source = False  # the downloads extension offers the pages
html_show_sphinx = False
templates_path = ["book/_templates"]
LIGHT = {
    "scheme": "light",
    "color-sidebar-link-text--top-level": "#1b1b1f",
    "color-brand-primary": "#0b5a8a",
    "color-brand-content": "#0b5a8a",
    "color-brand-visited": "#0b5a8a",
    "color-foreground-primary": "#1b1b1f",
    "color-foreground-secondary": "#4c4d54",
    "color-foreground-muted": "#62636b",
    "color-foreground-border": "#85868e",
    "color-background-primary": "#fefefc",
    "color-background-secondary": "#f6f6f2",
    "color-background-hover": "#efefea",
    "color-background-border": "#dededa",
    "color-code-background": "#f5f5f1",
    "color-inline-code-background": "#f3f3ee",
    "color-link-underline": "#9fbdd0",
    "failed": "#a4161a",
    "figure-ink": "#1b1b1f",
    "figure-grid": "#d3d3d6",
    "figure-paper": "#fefefc",
    "figure-card": "#fefefc",
    "figure-card-edge": "0",
    "code-string": "#3a6620",
    "code-number": "#85480a",
}
DARK = {
    "scheme": "dark",
    "color-sidebar-link-text--top-level": "#dcdcd8",
    "color-brand-primary": "#7cc4f0",
    "color-brand-content": "#7cc4f0",
    "color-brand-visited": "#7cc4f0",
    "color-foreground-primary": "#dcdcd8",
    "color-foreground-secondary": "#b4b5b8",
    "color-foreground-muted": "#9b9ca2",
    "color-foreground-border": "#74757b",
    "color-background-primary": "#151619",
    "color-background-secondary": "#1c1d21",
    "color-background-hover": "#25262b",
    "color-background-border": "#35363c",
    "color-code-background": "#1e1f24",
    "color-inline-code-background": "#232429",
    "color-link-underline": "#42667c",
    "failed": "#ff9a93",
    "figure-ink": "#dcdcd8",
    "figure-grid": "#3c3d43",
    "figure-paper": "#151619",
    "figure-card": "#e6e6e0",
    "figure-card-edge": "0.5rem",
    "code-string": "#a6cb92",
    "code-number": "#e2b37f",
}
html_theme_options = {"light_css_variables": LIGHT, "dark_css_variables": DARK}
html_permalinks_icon = "#"
html_show_sourcelink = False
pygments_style = "a11y-high-contrast-light"
pygments_dark_style = "a11y-high-contrast-dark"
