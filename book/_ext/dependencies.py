"""Make a page depend on the modules it reaches and on the versions it runs with.

Sphinx reads a page again when one of those files changes, and all pages when a version changes.
The key of the execution cache changes with them, because a hidden last cell carries a digest. The
same cell ends the page with `finish()`, so a page with a failed check fails and is never cached.
"""

import hashlib
import platform
import re
from importlib.metadata import version
from pathlib import Path

from myst_nb.core.read import read_myst_markdown_notebook

from dlbook.tools.jit import PACKAGE, imported_names, package_files

STACK = " ".join(
    [f"python={platform.python_version()}"]
    + [
        f"{name}={version(name)}"
        for name in (
            "numpy",
            "numba",
            "llvmlite",
            "scipy",
            "scikit-learn",
            "matplotlib",
            "ipykernel",
            "myst-nb",
        )
    ]
)
ALWAYS = ("dlbook.tools.checks",)
LAST = "\n\n```{code-cell} ipython3\n:tags: [remove-cell]\n\n# %s\nfrom dlbook.tools import checks as _c\n_c.finish()\n```\n"
KERNEL = re.compile(r"^(?:`{3,}|:{3,})\{kernel\} *(\w+(?:\.\w+)*)\.\w+ *$", re.M)


def reached(text, config, docname):
    """Return the files of the package that a page reaches, and the data beside them."""
    cells = read_myst_markdown_notebook(text, config).cells  # as myst-nb reads them
    names = [*ALWAYS, *(f"dlbook.{module}" for module in KERNEL.findall(text))]
    for cell in cells:
        if cell.cell_type == "code":
            names += imported_names(re.sub(r"^\s*[%!].*$", "", cell.source, flags=re.M))
    if any(name.startswith("dlbook.exercises") for name in names):
        names.append(f"dlbook.exercises.{docname}")  # loaded by label, so no cell imports it
    files = package_files(names)
    return [*files, *(data for file in files if (data := file.with_suffix(".json")).is_file())]


def source_read(app, docname, content):
    """Append the digest cell to a page with a jupytext header."""
    text = content[0]
    if not text.startswith("---\njupytext:"):
        return
    try:
        files = reached(text, app.env.myst_config, docname)
    except SyntaxError:  # the cell itself will fail, with a better message
        files = sorted(PACKAGE.rglob("*.py"))
    if re.search(r"^from benchmarks\b", text, re.M):  # its cells show committed measurements
        benchmarks = PACKAGE.parent / "benchmarks"
        shown = ("*.py", "*.toml", "results/*.json")
        files = [*files, *sorted(path for some in shown for path in benchmarks.glob(some))]
    digest = hashlib.sha256(app.config.dlbook_stack.encode())
    for file in files:
        app.env.note_dependency(str(file))
        digest.update(file.read_bytes())
    content[0] = text.rstrip() + LAST % digest.hexdigest()


def setup(app):
    """Connect the hook."""
    app.add_config_value("dlbook_stack", STACK, "env")
    tools = (PACKAGE / "tools" / f"{name}.py" for name in ("built", "listing", "tex"))
    own = [*sorted(Path(__file__).parent.glob("*.py")), *tools]
    digest = hashlib.sha256(b"".join(file.read_bytes() for file in own)).hexdigest()
    app.add_config_value("dlbook_ext", digest, "env")  # pages are read again, not run again
    app.connect("source-read", source_read)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
