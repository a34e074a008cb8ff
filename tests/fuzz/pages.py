"""Pages for the converter that makes notebooks of them, and formulas that a reader types."""

import io
import json
import re
import sys
import traceback
from pathlib import Path
from unittest import mock

import nbformat
import numpy as np
from bs4 import BeautifulSoup
from docutils import nodes
from pages import BOOK
from sphinx.application import Sphinx
from test_formula import ANY, CASES, KINDS, SAME, SCRIPT, SHIM, MiniRacer, answers, fuzzed
from test_notebooks import BAD, BIB, CELLS, CONF, HEADER, ONE, SECOND, notebooks, spoken, typeset

from dlbook.tools import tex
from fuzz import mutation
from fuzz.engine import Target, untraced

EXTENSIONS = str(BOOK / "_ext")
sys.path.insert(0, EXTENSIONS)
import maths  # noqa: E402

__all__ = ["Formulas", "Pages"]


class Pages(Target):
    """Pages in MyST. Sphinx reads one, and what it made of it becomes a notebook or a warning."""

    name = "pages"
    traced = (notebooks, maths, tex)
    seconds = 10.0
    memory = 2**29
    PIECES = [
        b"\n", b"\n\n", b" ", b"#", b"*", b"_", b"`", b"```", b":::", b"$", b"$$", b"|", b"- ",
        b"1. ", b"> ", b"<b>", b"&amp;", b"[a](b)", b"![a](b)", b"{eq}`two-first`", b"{ref}`x`",
        b"{doc}`two`", b"\\", b"~~", b"{cite:t}`squire1998`", b"{numref}`fig-far`",
        b"```{math}\nx\n```\n", b"```{code-cell} ipython3\nx = 1\n```\n", b"```{fold} A\n",
        b":::{exercise} A\n", b":tags: [hide-input]\n", b":label: a-b\n", b"\\begin{aligned}",
        b"\\T", b"<details>", b"</details>", b"% a\n", b"(a)=\n", b"---\n", b"\t",
        "\u2028 σ\u0302".encode(), b"\x0c", b"\\|", b"<http://a.b>", b"http://a.b/_c_",
        b"| a |\n|---|\n| b |\n", b"[^1]", b"{.a}", b"\xc2\xa0",
    ]  # fmt: skip

    def seeds(self):
        pages = [f"# A\n\n{text}\n" for text, _ in ONE] + [f"# B\n\n{text}\n" for text, *_ in BAD]
        pages += [
            f"# C\n{CELLS}",
            f"# D\n{SECOND}".replace("two-", "page-").replace("-far", "-here"),
        ]
        return [text.replace("{page}", "page").encode() for text in pages]

    def within(self, stack):
        """Build a book of two pages, of which the second is then another each time."""
        stack.enter_context(mock.patch.object(sys, "path", [EXTENSIONS, *sys.path]))
        source = self.folder / "book"
        source.mkdir()
        pages = {"two": f"{HEADER}\n# The two\n{SECOND}", "page": f"{HEADER}\n# A\n"}
        pages["index"] = (
            "# Book\n\n```{toctree}\n:numbered:\ntwo\npage\n```\n\n```{bibliography}\n```\n"
        )
        for stem, text in pages.items():
            (source / f"{stem}.md").write_text(text, "utf-8")
        (source / "references.bib").write_text(BIB, "utf-8")
        (source / "conf.py").write_text(CONF.format(ext=EXTENSIONS), "utf-8")
        self.said, (out, trees) = io.StringIO(), (self.folder / "out", self.folder / "trees")
        how = {"status": None, "warning": self.said, "freshenv": True}
        self.app = Sphinx(source, source, out, trees, "html", **how)
        self.app.build()
        self.page = source / "page.md"
        # A page that is read alone has no number yet
        self.made = out / "notebooks" / "00-page.ipynb"

    def changed(self, rng, case, other):
        return mutation.bytes_changed(rng, case, other, self.PIECES)

    def accepts(self, case):
        page = HEADER.encode() + b"\n" + case
        self.page.write_bytes(page)
        self.made.unlink(missing_ok=True)
        env = self.app.env
        begun = self.said.tell()
        try:
            with untraced():
                self.app.emit("env-purge-doc", env, "page")
                env.clear_doc("page")
                self.app.builder.read_doc("page")
                env._pickled_doctree_cache.pop("page", None)  # which a build reads but once
                tree = env.get_doctree("page")
        except Exception as error:  # Sphinx, or what reads MyST for it, did not come to an end
            if traceback.extract_tb(error.__traceback__)[-1].filename.startswith(EXTENSIONS):
                raise
            return False
        if not list(tree.findall(nodes.title)):
            return False  # the book's own pages are read for their titles before
        env.resolve_references(tree, "page", self.app.builder)
        assert self.page.read_bytes() == page
        if not self.made.exists():
            warned = self.said.getvalue()[begun:]
            assert re.search(r"page\.md(:\d+)?: WARNING: ", warned), warned
            return False
        text = self.made.read_text("utf-8")
        notebook = nbformat.reads(text, 4)
        nbformat.validate(notebook, relax_add_props=False)
        assert nbformat.writes(notebook) + "\n" == text
        self.holds(notebook, tree)
        return True

    def holds(self, notebook, tree):
        """Find every line of code, and every plain word of a page, in its notebook."""
        cells = [cell.source for cell in notebook.cells if cell.cell_type == "code"][1:]
        written = [cell.source for cell in notebook.cells if cell.cell_type == "markdown"]
        whole = "\n\n".join(written)
        for node in filter(notebooks.is_code, tree.findall(nodes.container)):
            code = notebooks.source(node)
            assert code in cells or code.rstrip() in whole, f"{code!r} is lost"
        shown = spoken(BeautifulSoup(typeset(whole), "html.parser"))
        for paragraph in tree.findall(nodes.paragraph):
            if all(isinstance(part, nodes.Text) for part in paragraph):
                words = re.sub(r"\s+", "", paragraph.astext())
                assert words in shown, f"{words!r} is not in {shown!r}"


class Formulas(Target):
    """Right-hand sides of equations, as they are typed; V8 says nothing of the lines it runs."""

    name = "formulas"
    ARRAYS = {"w": (3, 4), "delta": (3,), "z": (4,), "a": (4,), "rho_hat": (4,), "rate": ()}

    def seeds(self):
        texts = [text for row in SAME for text in row] + [case.text for case in CASES]
        return [text.encode() for text in texts]

    def within(self, stack):
        rng = np.random.default_rng(1)
        self.arrays = {name: rng.standard_normal(shape) for name, shape in self.ARRAYS.items()}
        self.engine = MiniRacer()
        self.engine.eval(Path(SCRIPT).read_text("utf-8") + SHIM)

    def changed(self, rng, case, other):
        if rng.random() < 0.5:
            return fuzzed(rng).encode("utf-8", "surrogatepass")
        return mutation.bytes_changed(rng, case, other, [piece.encode() for piece in ANY])[:4000]

    def accepts(self, case):
        text = case.decode("utf-8", "replace")
        (found,) = answers(self.engine, [text], "j", [4], timeout=3, **self.arrays)
        if isinstance(found, np.ndarray):
            assert found.shape == (4,)
            return True
        assert found["kind"] in KINDS
        assert 0 <= found["start"] <= found["end"] <= len(text.encode("utf-16-le")) // 2, found
        assert found["words"], found
        for word in ("undefined", "[object", "function (", "NaN"):
            assert word not in found["words"] or word in text, found
        json.dumps(found)
        return False
