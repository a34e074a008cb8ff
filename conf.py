"""Sphinx configuration of the book; the pages are in `book/`."""

import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent
BUILD = ROOT / "_build"
sys.path[:0] = [str(ROOT), str(ROOT / "book" / "_ext")]

# What the kernels of the pages inherit
os.environ["PYTHONPATH"] = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
os.environ["DLBOOK_VERIFY"] = "collect"         # a failed check lets the page go on and fails it at its end
os.environ.setdefault("DLBOOK_CACHE_DIR", str(BUILD / "kernels"))
for pool in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(pool, "1")            # two pages are built side by side
os.environ["IPYTHONDIR"] = str(BUILD / "ipython")
profile = BUILD / "ipython" / "profile_default"
profile.mkdir(parents=True, exist_ok=True)
(profile / "ipython_kernel_config.py").write_text("c = get_config()\nc.IPKernelApp.log_level = 40\n")   # no start-up warning

project = "Deep Learning, Equation by Equation"
author = "the dlbook authors"
copyright = "the dlbook authors. Text CC BY 4.0, code BSD-3-Clause"
extensions = [
    "myst_nb", "dependencies", "parts", "verified", "maths", "downloads",
    "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode", "sphinxcontrib.bibtex", "sphinx_copybutton",
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
nb_ipywidgets_js = {}                           # the default loads scripts from other hosts

autodoc_member_order = "bysource"
autodoc_typehints = "none"
napoleon_google_docstring = False
napoleon_use_param = False                      # types are words ("shape (n, p)"), not names to link
napoleon_use_rtype = False
# Exceptions and library names stand in docstrings; their documentation is on other hosts.
nitpick_ignore_regex = [(r"py:(exc|class)", r"\w+Error|\w+Warning|Exception"), (r"py:.*", r"(numpy|numba|matplotlib|NamedTuple|tuple|dict)\b.*")]

html_theme = "furo"
html_title = "Deep Learning, Equation by Equation"
html_static_path = ["book/_static"]
html_css_files = ["book.css"]
html_js_files = [("book.js", {"defer": "defer"})]
html_favicon = "book/_static/favicon.svg"
html_math_renderer = "katex"
katex_macros = {r"\T": r"^{\mathsf T}", r"\E": r"\operatorname{E}", r"\Var": r"\operatorname{Var}", r"\Cov": r"\operatorname{Cov}",
                r"\R": r"\mathbb{R}", r"\sign": r"\operatorname{sign}", r"\softmax": r"\operatorname{softmax}", r"\tr": r"\operatorname{tr}",
                r"\diag": r"\operatorname{diag}", r"\rank": r"\operatorname{rank}", r"\argmin": r"\operatorname*{arg\,min}", r"\argmax": r"\operatorname*{arg\,max}"}
html_copy_source = False                        # the downloads extension offers the pages
html_show_sphinx = False
templates_path = ["book/_templates"]
html_theme_options = {
    "light_css_variables": {"color-brand-primary": "#0b5a8a", "color-brand-content": "#0b5a8a"},
    "dark_css_variables": {"color-brand-primary": "#7cc4f0", "color-brand-content": "#7cc4f0"},
}
pygments_style = "a11y-high-contrast-light"
pygments_dark_style = "a11y-high-contrast-dark"
