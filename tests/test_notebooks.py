"""The chapters as notebooks: nothing lost, nothing raw, the site's numbers, and they run.

Jupytext reads the same pages, the site shows the same words and a wheel is what a reader has: the
three are asked instead of the extension that writes the notebooks.
"""

import ast
import json
import os
import re
import shutil
import subprocess
import sys
from html import unescape
from types import SimpleNamespace

import jupytext
import nbformat
import pytest
from bs4 import BeautifulSoup
from building import OUT
from compiled import compiled_only
from markdown_it import MarkdownIt
from pages import BOOK, ROOT, cells, chapters, text_of
from py_mini_racer import MiniRacer
from test_exercises import ALL, by_label, entries, kept

from dlbook import exercises
from dlbook.exercises import forms, grading, shown, solutions
from dlbook.exercises.engine import judge
from dlbook.tools import built, tex
from dlbook.tools.checks import MIME

sys.path.insert(0, str(BOOK / "_ext"))
import notebooks

pytestmark = compiled_only  # the build times its kernels
__all__ = ["kept"]
STEMS = [
    path.stem
    for path in sorted(BOOK.glob("*.md"))
    if path.read_text("utf-8").startswith("---\nju") and path.stem != "performance"
]
HEADER = text_of("verification").split("\n# ")[0] + "\n"
RAW = re.compile(r"\{[a-z][\w:+-]*\}`|:::|```\{|^\([\w-]+\)=$|^:\w+:|\{kernel\}", re.M)
SOLUTION = "[hide-cell, solution]"


# The real pages


@pytest.fixture(scope="session")
def made(build):
    """Return {stem: (file name, content)} of the notebooks that the build left."""
    files = sorted((OUT / "notebooks").glob("*.ipynb"))
    return {path.stem.split("-", 1)[1]: (path.name, path.read_bytes()) for path in files}


@pytest.fixture(params=STEMS, scope="module")
def page(request, made):
    """Return (stem, notebook as Jupyter reads it), one after the other."""
    assert request.param in made, f"the build wrote no notebook of {request.param}"
    return request.param, nbformat.reads(made[request.param][1].decode(), 4)


@pytest.fixture(scope="session")
def names(build):
    """Return what the build calls each label."""
    return json.loads((OUT / "notebooks" / built.NAMES).read_text("utf-8"))["names"]


def words(notebook, kind="markdown"):
    """Return the text of all cells of a kind."""
    return "\n\n".join(cell.source for cell in notebook.cells if cell.cell_type == kind)


def outside_code(text):
    """Return Markdown without its code."""
    text = re.sub(r"^([ >]*)(`{3,})[^`\n]*\n.*?^[ >]*\2$", "", text, flags=re.M | re.S)
    return re.sub(r"(`+)(?!`).+?(?<!`)\1(?!`)", "", text, flags=re.S)


def test_every_chapter_becomes_a_notebook(made):
    names = [name for name, _ in made.values()]
    numbered = [f"{k:02d}-{stem}.ipynb" for k, stem in enumerate(chapters(), 1)]
    assert [name for name in names if not name.startswith("00")] == numbered
    assert set(made) == set(STEMS)


def test_the_format_is_valid(page):
    _, notebook = page
    nbformat.validate(notebook, relax_add_props=False)
    assert (notebook.nbformat, notebook.nbformat_minor) == (4, 5)
    ids = [cell.id for cell in notebook.cells]
    assert len(set(ids)) == len(ids)
    assert notebook.metadata.kernelspec.name == "python3"


def test_jupyter_would_write_the_same_bytes(page, made):
    """Opening and saving a notebook changes nothing, so it still counts as untouched."""
    stem, notebook = page
    assert nbformat.writes(notebook) + "\n" == made[stem][1].decode()


def test_no_raw_myst(page):
    _, notebook = page
    for cell in notebook.cells:
        text = outside_code(cell.source) if cell.cell_type == "markdown" else ""
        found = RAW.search(re.sub(r"\$\$.*?\$\$", "", text, flags=re.S))
        assert not found, f"{found[0]!r} in {cell.source!r}"


def test_every_command_of_the_book_is_written_out(page):
    _, notebook = page
    assert not set(tex.MACROS) & set(re.findall(r"\\[A-Za-z]+", outside_code(words(notebook))))


def test_formulas_need_nothing_else(page):
    """Every formula is understood by a renderer that was told no command of the book's."""
    stem, notebook = page
    engine = MiniRacer()
    engine.eval((ROOT / "node_modules" / "katex" / "dist" / "katex.min.js").read_text("utf-8"))
    formulas = FORMULA.findall(outside_code(words(notebook)))
    assert formulas or "$" not in outside_code(text_of(stem))
    for display, inline in formulas:
        call = (display or inline, {"displayMode": bool(display), "strict": "ignore"})
        engine.eval("katex.renderToString({}, {})".format(*map(json.dumps, call)))


FORMULA = re.compile(r"\$\$(.+?)\$\$|(?<!\\)\$((?:\\.|[^$\\])+)\$", re.S)


def test_code_is_the_page_s_code(page):
    """Jupytext finds the same cells with the same code; solutions are text."""
    stem, notebook = page
    theirs = jupytext.reads(text_of(stem), fmt="md:myst").cells
    theirs = [cell for cell in theirs if cell.cell_type == "code"]
    solved = [c for c in theirs if "solution" in c.metadata.get("tags", [])]
    assert all(f"```python\n{c.source}\n```" in words(notebook) for c in solved)
    theirs = [c for c in theirs if c not in solved]
    mine = [cell for cell in notebook.cells if cell.cell_type == "code"][1:]
    assert [cell.source for cell in mine] == [cell.source for cell in theirs]
    for a, b in zip(theirs, mine, strict=True):
        assert b.metadata.get("tags", []) == a.metadata.get("tags", [])
        hidden = {"hide-input", "hide-cell"} & set(a.metadata.get("tags", []))
        assert b.metadata.get("jupyter", {}).get("source_hidden", False) == bool(hidden)


def typeset(markdown):
    """Return Markdown as HTML, its formulas taken out first, as Jupyter does."""
    markdown = re.sub(r"^(`{3,}).*?^\1$", "", markdown, flags=re.M | re.S)
    spans = re.compile(rf"(?<![\\`])(`+)(?!`).+?(?<!`)\1(?!`)|{FORMULA.pattern}", re.S)
    text = spans.sub(lambda m: m[0] if m[1] else "ƒ", markdown)
    return MarkdownIt("commonmark").enable("table").render(text)


def spoken(soup):
    """Return the words of a piece of HTML; formulas are ƒ."""
    return re.sub(r"\s+", "", soup.get_text()).replace("ƒ", "")


def both(stem, notebook):
    """Return what the notebook says beside its code and formulas, and what the site says.

    The site draws the stops beside a formula as a part of it.
    """
    site = BeautifulSoup((OUT / f"{stem}.html").read_text("utf-8"), "html.parser")
    article = site.find("article", {"id": "furo-main-content"})
    cells = [c.source for c in notebook.cells if c.cell_type == "markdown"]
    cells[0] = cells[0].split("\n\n")[0]
    text = "\n\n".join(text for text in cells if not text.startswith("## References"))
    text = re.sub(r"<details>\n<summary>Solution in code.*?</details>", "", text, flags=re.S)
    mine = BeautifulSoup(typeset(text), "html.parser")
    for formula in article.select(".math"):
        drawn = formula.find("annotation").get_text() if formula.name == "span" else ""
        formula.replace_with(*re.findall(r"^\\text\{[(\[]+\}|\\text\{[,.;:!?)\]-]+\}$", drawn))
    for found in article.select(".cell, .downloads, .headerlink, .interactive, pre"):
        found.decompose()
    return spoken(mine), re.sub(r"\\text\{(.+?)\}", r"\1", spoken(article))


def test_prose_is_the_page_s_prose(page):
    """The notebook says every word that the site says, in the same order, and no other, but for
    pictures that answer, which are the site's alone."""
    mine, theirs = both(*page)
    assert mine == theirs


def test_markdown_renders(page, build):
    """A plain Markdown reader sees each formula, kernel, exercise, solution and heading."""
    stem, notebook = page
    text = text_of(stem)
    shown = MarkdownIt("commonmark").enable("table").render(words(notebook))
    plain = outside_code(words(notebook))
    rows = sorted((r["line"], r["number"]) for r in build.equations.values() if r["page"] == stem)
    assert re.findall(r"\\tag\{([\d.]+)\}", plain) == [number for _, number in rows]
    solved = text.count(f"tags: {SOLUTION}")
    assert shown.count("<details>") == shown.count("</details>") == text.count("{fold}") + solved
    assert "&lt;details" not in shown
    exercises = re.findall(r"<h3>Exercise ([\d.]+) · ", shown)
    assert len(exercises) == text.count("{exercise}")
    assert shown.count('<pre><code class="language-python">') == solved + len(
        re.findall(r"^`{3,}(?:python|\{kernel\}.*)$", text, re.M)
    )
    assert len(re.findall("<h[1-6]>", shown)) - len(exercises) - (
        "## References" in words(notebook)
    ) == len(re.findall(r"^#{1,6} ", re.sub(r"(?ms)^```.*?^```$", "", text), re.M))


def test_sources_are_those_of_the_page(page):
    """Each once, as the bibliography of the site gives them; what is cited is listed."""
    stem, notebook = page
    text = text_of(stem)
    keys = set(re.findall(r"[\w-]+", ",".join(re.findall(r"\{cite:[pt]\}`([^`]+)`", text))))
    known = re.findall(r"^@\w+\{(\w+),", (BOOK / "references.bib").read_text("utf-8"), re.M)
    refuted = "".join(cell.code for cell in cells(stem) if "refute(" in cell.code)
    keys |= {key for key in re.findall(r'"(\w+)[",]', refuted) if key in known}
    listed = words(notebook).partition("## References\n\n")[2].splitlines()
    assert len(listed) == len(set(listed)) == len(keys)
    site = BeautifulSoup((OUT / "bibliography.html").read_text("utf-8"), "html.parser")
    known = {spoken(p) for p in site.select(".citation p")}
    for line in listed:
        assert spoken(BeautifulSoup(typeset(line), "html.parser")) in known


def test_the_first_cells_say_what_to_do(page):
    stem, notebook = page
    first, second = notebook.cells[:2]
    number = f"{chapters().index(stem) + 1}. " if stem in chapters() else ""
    assert first.cell_type == "markdown"
    assert first.source.startswith(f"# {number}")
    for needed in (built.INSTALL, "CC BY 4.0", "BSD-3-Clause"):
        assert needed in first.source
    assert "takes at most a few minutes on two cores" in " ".join(first.source.split())
    assert second.cell_type == "code"
    missing = subprocess.run(  # isolated and without site-packages: the package is not there
        [sys.executable, "-I", "-S", "-c", second.source], capture_output=True, text=True
    )
    assert missing.returncode == 1
    assert "run `python -m pip install .` in the folder" in missing.stderr.splitlines()[-1]
    present = subprocess.run(
        [sys.executable, "-c", second.source],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    assert (present.returncode, present.stderr) == (0, "")


def test_a_notebook_knows_what_its_cells_name(page, names):
    """Its second cell tells the package the number of every equation it checks, every figure."""
    stem, notebook = page
    told = ast.literal_eval(re.search(r"update\(\n(.*)\n\)", notebook.cells[1].source, re.S)[1])
    code = "".join(c.source for c in notebook.cells if c.cell_type == "code")
    mentioned = re.findall(r"\b(?:verify|refute)\(\s*\"([\w-]+)\"|name=\"(fig-[\w-]+)\"", code)
    wanted = {label or figure for label, figure in mentioned}
    assert wanted - {"fig-"} <= told.keys()
    assert told.items() <= names.items()
    for exercise in exercises.exercises(stem).values() if stem in exercises.CHAPTERS else ():
        assert told[f"ex-{exercise.label}"].startswith("Exercise ")
        for kind, name in built.ROLE.findall(exercise.used):
            assert name in told, (kind, name)


def test_it_is_said_at_one_place_how_to_install():
    """In the same words everywhere, and never by a name that anyone may take."""
    for page in ("README.md", "book/preface.md"):
        assert built.INSTALL in (ROOT / page).read_text("utf-8")
    for path in (
        ROOT / "README.md",
        *(ROOT / "book").glob("*.md"),
        *(ROOT / "book" / "_ext").glob("*.py"),
        *(ROOT / "dlbook").rglob("*.py"),
    ):
        assert "install dlbook" not in path.read_text("utf-8"), path


def test_jupyter_shows_only_the_message(made):
    """The traceback that Jupyter prints where the package is missing is one line."""
    source = json.loads(made["verification"][1])["cells"][1]["source"]
    known = {}
    exec("".join(source).split("\n\n\nif")[0], known)
    assert known["Missing"]("why")._render_traceback_() == ["why"]


def test_numbers_are_those_of_the_site(build, names):
    """Each equation, figure and exercise is called as the site calls it."""
    for label, row in build.equations.items():
        assert names[label] == f"({row['number']})"
    figure = r'<figure [^>]*id="([\w-]+)".*?<span class="caption-number">(Fig\. [\d.]+) </span>'
    exercise = r'id="(ex-[\w-]+)">\s*<p class="admonition-title"><span class="exercise-number">(Exercise [\d.]+)<'
    for stem in chapters():
        shown = (OUT / f"{stem}.html").read_text("utf-8")
        ids = {nodes_id(name): called for name, called in names.items()}
        found = re.findall(figure, shown, re.S) + re.findall(exercise, shown)
        assert found
        assert {k: v for k, v in found if not k.startswith("id")} == {
            k: ids[k] for k, _ in found if not k.startswith("id")
        }
        assert len(re.findall(exercise, shown)) == text_of(stem).count("{exercise}")


def nodes_id(name):
    """Return the anchor of a label."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower())


# Exercises in notebooks


@pytest.mark.parametrize("chapter", exercises.CHAPTERS)
def test_a_notebook_does_not_solve_itself(made, chapter, tmp_path):
    """Its cells to fill in run as they are, its solutions are text, and nothing counts as solved."""
    cells = json.loads(made[chapter][1])["cells"]
    sources = [(c["cell_type"], "".join(c["source"])) for c in cells]
    blank = [s for kind, s in sources if kind == "code" and re.search(r"^check\(", s, re.M)]
    assert len(blank) == len(exercises.exercises(chapter))
    folded = "".join(s for kind, s in sources if kind == "markdown")
    assert folded.count("<summary>Solution in code</summary>\n\n```python\n") == len(blank)
    path = tmp_path / "mine.py"
    path.write_text("from dlbook.exercises import check\n\n" + "\n\n".join(blank), "utf-8")
    (report,) = grading.run([(path, "mine.py")])
    assert report["problems"] == []
    statuses = {label: r["status"] for label, r in report["exercises"].items()}
    assert statuses == dict.fromkeys(exercises.exercises(chapter), forms.UNATTEMPTED)


@pytest.fixture
def called(names, monkeypatch):
    """Let the package read the build that was made."""
    monkeypatch.setattr(built, "names", lambda: names)
    monkeypatch.setattr(built, "folder", lambda: OUT / "notebooks")


def test_the_readme_shows_what_is_said(called):
    text = (ROOT / "README.md").read_text("utf-8")
    block = re.search(r"^```\n(✗ .*?)\n  …\n```$", text, re.M | re.S)[1]
    exercise = exercises.find("backprop-bp2")
    name = re.match(r"✗ A known mistake: (.*)\.\n", block)[1]
    wrong = next(m.wrong for m in exercise.mistakes if m.name == name)
    result = judge(exercise, wrong)
    assert str(shown.Shown(result.lines, result.status)).startswith(f"{block}\n")


@pytest.mark.parametrize("exercise", ALL, **by_label)
def test_solutions_are_those_of_the_page(called, exercise, capsys):
    """In words that a terminal can show, and in code that needs nothing else."""
    text = solutions.solution_text(exercise.label)
    assert f'check("{exercise.label}"' in text and text.count("```python\n") == 1
    words, code, _ = re.split("```(?:python\n)?", text)
    assert len(words) > 40
    assert not re.search(r"\{(eq|cite:t|ref|doc)\}", text)
    assert solutions._missing(ast.parse(code).body, set()) == set()
    exercises.solution(exercise.label)
    said = capsys.readouterr().out
    assert "```" not in said and said.rstrip().endswith(code.rstrip())
    assert not re.search(r"[$\\{}]|\^[{a-z]{2}", re.sub("`[^`]*`", "", said[: said.index(code)]))


@pytest.mark.parametrize("chapter", exercises.CHAPTERS)
def test_a_solution_runs_alone(called, chapter, kept):
    """The first of each chapter is run as it is shown, and found correct."""
    label = exercises.labels(chapter)[0]
    code = re.search("```python\n(.*?)```", solutions.solution_text(label), re.S)[1]
    exec(compile(code, label, "exec"), {})
    assert entries(kept)[label]["status"] == "correct"


# A small book

BIB = r"""
@article{squire1998,
  author = {Squire, William and Trapp, George},
  title = {Using {Complex} Variables},
  journal = {SIAM Review},
  volume = {40},
  number = {1},
  pages = {110--112},
  year = {1998},
  doi = {10.1137/x}
}

@inproceedings{he2015,
  author = {He, Kaiming and Zhang, Xiangyu and Ren, Shaoqing and Sun, Jian},
  title = {Delving Deep},
  booktitle = {ICCV},
  year = {2015}
}
"""
SECOND = """
## There

```{math}
:label: two-first
b
```

:::{exercise} Far
:name: ex-far
Text.
:::

```{code-cell} ipython3
from dlbook.tools import plotting
plotting.show(plotting.figure(1, 1)[0], alt="a", caption="c", name="fig-far")
```
"""
ONE = [
    # (MyST, Markdown)
    ("plain *text* with `{eq}` and **`x`**", "plain *text* with `{eq}` and **`x`**"),
    ("```{math}\n:label: {page}-b\nx = 1\n```", "$$\nx = 1 \\tag{N.1}\n$$"),
    ("```{math}\nx\n```\n\n```{math}\n:label: {page}-b\ny\n```", "$$\nx\n$$\n\n$$\ny \\tag{N.1}\n$$"),
    ("$$ x $$", "$$\nx\n$$"),
    (
        "```{math}\n:label: {page}-b\na &= b \\\\\nc &= d\n```",
        "$$\n\\begin{aligned}\na &= b \\\\\nc &= d\n\\end{aligned} \\tag{N.1}\n$$",
    ),
    (
        ":::{math}\n:label: {page}-b\n\nx\n\n+ 1\n:::\nSee {eq}`{page}-b`.",
        "$$\nx\n+ 1 \\tag{N.1}\n$$\n\nSee (N.1).",
    ),
    (r"$X\T y$, ($\E[x]$), $x_\R$, $\R^n$", r"$X^{\mathsf T} y$, ($\operatorname{E}[x]$), $x_{\mathbb{R}}$, $\mathbb{R}^n$"),
    (r"$a \\T \Theta \Trace$ and `\T`", r"$a \\T \Theta \Trace$ and `\T`"),
    ("a $x\n/ y$ b", "a $x / y$ b"),
    ("see {eq}`two-first`", "see (2.1)"),
    ("see {numref}`fig-far`", "see Fig. 2.1"),
    ("see {numref}`ex-far` and {ref}`that <ex-far>`", "see Exercise 2.1 and that"),
    ("see {doc}`two` and {doc}`that one <two>`", "see The two and that one"),
    ("[out](https://example.org/a) <https://example.org>", "[out](https://example.org/a) <https://example.org>"),
    ("| a | b |\n|---|---|\n| {eq}`two-first` | $x\\T$ |", "| a | b |\n| --- | --- |\n| (2.1) | $x^{\\mathsf T}$ |"),
    (r"| `a \| b` | \| |" + "\n|---|---|\n| $\\|x\\| \\| y\\|$ | - |", "| `a \\| b` | \\| |\n| --- | --- |\n| $\\vert x\\vert \\vert y\\vert $ | &#45; |"),
    ("- one\n- two {eq}`two-first`\n\n  more", "- one\n\n- two (2.1)\n\n  more"),
    ("1. one\n2. two\n   - three", "1. one\n\n2. two\n\n   - three"),
    ("- one\n\n  ```{math}\n  x\n  ```", "- one\n\n  $$\n  x\n  $$"),
    ("## A\n\n### B\n\n## C", "## N.1. A\n\n### N.1.1. B\n\n## N.2. C"),
    (":::{note}\nMind {eq}`two-first`.\n\nAnd $x\n/ 1$.\n:::", "<blockquote>\n\n**Note.**\n\nMind (2.1).\n\nAnd $x / 1$.\n\n</blockquote>"),
    ("```{tip}\nTry.\n```", "<blockquote>\n\n**Tip.**\n\nTry.\n\n</blockquote>"),
    ("> quoted {eq}`two-first` $x\n> / 1$", "> quoted (2.1) $x / 1$"),
    ("```{fold} More <of> it\nText $x$.\n```", "<details>\n<summary>More &lt;of&gt; it</summary>\n\nText $x$.\n\n</details>"),
    (
        ":::{exercise} A sign\n:name: ex-{page}\n\nSay why.\n\n```{fold} Solution\nBecause.\n```\n:::\n\nAs in {numref}`ex-{page}`.",
        "### Exercise N.1 · A sign\n\nSay why.\n\n<details>\n<summary>Solution</summary>\n\nBecause.\n\n</details>\n\nAs in Exercise N.1.",
    ),
    ("::::{exercise} A\n:::{note}\nN.\n:::\n::::", "### Exercise N.1 · A\n\n<blockquote>\n\n**Note.**\n\nN.\n\n</blockquote>"),
    ("```python\nx = {eq}  # :::\n```", "```python\nx = {eq}  # :::\n```"),
    ("````md\n```{math}\n````", "````md\n```{math}\n````"),
    ("```\na command\n```", "```\na command\n```"),
    ("{cite:t}`squire1998` and {cite:p}`squire1998,he2015`", "Squire and Trapp [1998] and [He *et al.*, 2015, Squire and Trapp, 1998]"),
    ("(sec-a)=\n## Part\n\n% a remark\n\ntext", "## N.1. Part\n\ntext"),
    ("2 \\* 3 \\_ 4, 5 \\$, a_b, \\<b>, &amp;lt; and \\`", "2 \\* 3 \\_ 4, 5 \\$, a_b, &lt;b>, &amp;lt; and \\`"),
    ("\\# no heading\n\\- no list\n1\\. none\n-1 is", "&#35; no heading\n&#45; no list\n&#49;. none\n&#45;1 is"),
    ("\\[a](https://example.org) and f(x)[0]", "&#91;a](https://example.org) and f(x)[0]"),
    ("a\n\n---\n\nb", "a\n\n---\n\nb"),
]  # fmt: skip
BAD = [
    # (MyST, line below the title, words)
    ("A footnote.[^1]\n\n[^1]: Here.", 1, "footnote_reference has no form"),
    ("a\n\nTerm\n: what it is", 3, "definition_list has no form"),
    ("![a](https://example.org/picture.png)", 1, "image has no form"),
    (":::{note}\ntext\n\n```{code-cell} ipython3\nx\n```\n:::", 4, "Found an unexpected `code-cell`"),
    ("```{code-cell} ipython3\n:tags: [remove-output]\nx = 1\n```", 4, "tags: [remove-output], expected"),
    (":::{exercise} A\ntext\n\n```{tabs}\n```\n:::", 4, "Unknown directive type: 'tabs'"),
]  # fmt: skip
FRONT = """
```{math}
:label: front-a
a
```

```{code-cell} ipython3
from dlbook.tools import plotting
plotting.show(plotting.figure(1, 1)[0], alt="a", caption="c", name="fig-front")
```
"""
CELLS = """
```{code-cell} ipython3
:tags: [hide-input]

from myst_nb import glue
a = (7
     % 2)
glue("share", f"{a / 8:.1%}", display=False)
```

```{code-cell} ipython3
---
tags: [hide-cell]
mystnb:
  code_prompt_show: "Show: it"
---
b = 2
```

A share of {glue:text}`share`, $x$.

```{code-cell} ipython3
c = 3
```

After it.
"""
CONF = """
import sys
sys.path.insert(0, {ext!r})
extensions = ["myst_nb", "parts", "notebooks", "downloads", "sphinx.ext.autodoc",
              "sphinx.ext.napoleon", "sphinx.ext.viewcode", "sphinxcontrib.bibtex"]
myst_enable_extensions = ["dollarmath", "colon_fence", "deflist"]
numfig, numfig_secnum_depth, math_eqref_format = True, 1, "({{number}})"
bibtex_bibfiles, bibtex_reference_style = ["references.bib"], "author_year"
nb_execution_mode, html_copy_source = "off", False
"""
RUN = HEADER.replace("kernelspec:", "mystnb:\n  execution_mode: force\nkernelspec:")


@pytest.fixture(scope="session")
def small(tmp_path_factory):
    """Build a small book, each case a page; return its site and what Sphinx said."""
    work = tmp_path_factory.mktemp("small")
    source, out = work / "book", work / "out"
    source.mkdir()
    for folder in ("notebooks", "_sources"):
        (out / folder).mkdir(parents=True)
    for gone in ("notebooks/09-gone.ipynb", "_sources/gone.md"):
        (out / gone).write_text("of a page that is no longer there")
    pages = {"one": RUN + "\n# The one\n\nOne.", "two": RUN + f"\n# The two\n{SECOND}"}
    pages |= {
        "cells": RUN + f"\n# Cells\n{CELLS}",
        "verification": HEADER + "\n# The verification\n",
    }
    for kind, cases in (("case", [c[0] for c in ONE]), ("bad", [c[0] for c in BAD])):
        for k, text in enumerate(cases):
            pages[f"{kind}{k}"] = f"{HEADER}\n# Case\n\n" + text.replace("{page}", f"{kind}{k}")
    tree = "```{toctree}\n%s\n\n%s\n```\n\n"
    index = (
        "# Book\n\n" + tree % (":caption: Front", "front") + tree % (":numbered:", "\n".join(pages))
    )
    pages["front"] = f"{RUN}\n# The front\n{FRONT}"
    pages["index"] = index + "```{toctree}\napi\n```\n"
    pages["api"] = (
        "# API\n\n```{eval-rst}\n.. automodule:: dlbook.verification\n   :members:\n```\n\n```{bibliography}\n```\n"
    )
    for stem, text in pages.items():
        (source / f"{stem}.md").write_text(text.rstrip() + "\n", "utf-8")
    (source / "references.bib").write_text(BIB, "utf-8")
    (source / "conf.py").write_text(CONF.format(ext=str(BOOK / "_ext")), "utf-8")
    run = subprocess.run(
        [sys.executable, "-m", "sphinx", "-q", "--no-color", "-j", "2", str(source), str(out)],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT), "IPYTHONDIR": str(work / "ipython")},
    )
    assert run.returncode == 0, run.stderr
    return out, run.stderr, pages


def small_cells(small, stem):
    """Return the cells of a small page without those that every notebook has."""
    (path,) = (small[0] / "notebooks").glob(f"[0-9][0-9]-{stem}.ipynb")
    return path, json.loads(path.read_text("utf-8"))["cells"][2:]


@pytest.mark.parametrize("k", range(len(ONE)))
def test_each_part_becomes_plain_markdown(small, k):
    path, cells = small_cells(small, f"case{k}")
    text = "\n\n".join("".join(cell["source"]) for cell in cells)
    number = str(int(path.name[:2]))
    assert text.split("\n\n## References")[0] == re.sub(r"\bN(?=\.\d)", number, ONE[k][1])


def test_sources_are_listed_once_in_order(small):
    k = next(k for k, (text, _) in enumerate(ONE) if "cite" in text)
    _, cells = small_cells(small, f"case{k}")
    first, second = "".join(cells[-1]["source"]).removeprefix("## References\n\n").splitlines()
    assert first.startswith("- Kaiming He, Xiangyu Zhang, Shaoqing Ren, and Jian Sun.")
    assert second.startswith("- William Squire and George Trapp.")
    assert "(https://doi.org/10.1137/x)" in second


def test_a_kernel_is_shown_with_numbers(made):
    cells = json.loads(made["verification"][1])["cells"]
    text = next(
        s for s in ("".join(c["source"]) for c in cells) if "verification.relative_error" in s
    )
    _, listing = text.split("**`dlbook.verification.relative_error`**\n\n```python\n")
    code = listing.partition("\n```")[0]
    assert re.search(r'"""\(1\.\d+\)  max', code)
    assert "verification-error" not in code
    assert ast.parse(code).body[0].name == "relative_error"


def test_cells_keep_their_tags_and_values_are_printed(small):
    _, cells = small_cells(small, "cells")
    assert [("".join(c["source"]), c["metadata"]) for c in cells] == [
        (
            'from myst_nb import glue\na = (7\n     % 2)\nglue("share", f"{a / 8:.1%}", display=False)',
            {"jupyter": {"source_hidden": True}, "tags": ["hide-input"]},
        ),
        ("b = 2", {"jupyter": {"source_hidden": True}, "tags": ["hide-cell"]}),
        ("A share of 12.5%, $x$.", {}),
        ("c = 3", {}),
        ("After it.", {}),
    ]


def test_ids_follow_the_content():
    """An edit changes the ids of what was edited and of nothing else."""

    def ids(*sources):
        writer = notebooks.Notebook(SimpleNamespace(env=None), "one")
        return [writer.cell("markdown", source)["id"] for source in sources]

    before, after = ids("A", "1", "2", "2"), ids("B", "1", "2", "2")
    assert len(set(before)) == 4
    assert [a == b for a, b in zip(before, after, strict=True)] == [0, 1, 1, 1]


@pytest.mark.parametrize("k", range(len(BAD)))
def test_what_is_not_known_is_a_warning_with_its_line(small, k):
    """With page and line, which fails the build of the book; the notebook is not written."""
    out, said, _ = small
    _, line, reason = BAD[k]
    line += HEADER.count("\n") + 2
    assert re.search(rf"bad{k}\.md:{line}: WARNING: {re.escape(reason)}", said), said
    ours = "has no form" in reason or "tags" in reason
    assert len(list((out / "notebooks").glob(f"*-bad{k}.ipynb"))) == (not ours)


def test_only_what_is_bad_is_warned_about(small):
    assert {re.search(r"(\w+)\.md:\d+", line)[1] for line in small[1].splitlines() if ": WARNING: " in line} == {
        f"bad{k}" for k in range(len(BAD))
    }  # fmt: skip


def test_the_site_offers_each_page(small):
    """Below its title each page links to files that are there, and no other page does."""
    out, _, pages = small
    assert not (out / "notebooks" / "09-gone.ipynb").exists()
    assert not (out / "_sources" / "gone.md").exists()
    for stem in ("front", "one", "two", "verification", "case0"):
        shown = (out / f"{stem}.html").read_text("utf-8")
        line = re.search(r"<h1>.*?</h1>\s*<p class=\"downloads\">(.*?)</p>", shown, re.S)[1]
        links = dict(re.findall(r'<a href="([^"]+)"(?: download="([^"]+)")?>', line))
        (path,) = (out / "notebooks").glob(f"*-{stem}.ipynb")
        wanted = {f"notebooks/{path.name}": path.name, f"_sources/{stem}.md": f"{stem}.md"}
        if stem == "verification":
            wanted["_modules/dlbook/verification.html"] = ""
        assert links == wanted
        assert (out / "_sources" / f"{stem}.md").read_text("utf-8") == pages[stem].rstrip() + "\n"
        assert all((out / uri).is_file() for uri in links)
    assert (out / "notebooks" / "00-front.ipynb").is_file()
    for name in ("index", "api", "genindex"):
        assert "downloads" not in (out / f"{name}.html").read_text("utf-8")


# What a reader has: a wheel, a folder, Jupyter

PIP = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]


def wheel(tree, work):
    """Build the wheel of a tree, install it alone into an empty folder, and return that folder."""
    subprocess.run([*PIP, "wheel", "--no-deps", "--wheel-dir", work, tree], check=True)
    (file,) = work.glob("dlbook-*.whl")
    target = work / "site"
    subprocess.run([*PIP, "install", "--no-deps", "--target", target, file], check=True)
    return target


@pytest.fixture(scope="session")
def installed(build, tmp_path_factory):
    """Install the wheel of this tree, whose book is built."""
    return wheel(ROOT, tmp_path_factory.mktemp("wheel"))


@pytest.fixture
def tree(tmp_path):
    """Return a clone of this tree in which nothing is built."""
    tree = tmp_path / "tree"
    tree.mkdir()
    for name in ("dlbook", "book"):
        shutil.copytree(ROOT / name, tree / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in (
        "conf.py",
        "hatch_build.py",
        "pyproject.toml",
        "README.md",
        "LICENSE",
        "LICENSE-book",
    ):
        shutil.copy(ROOT / name, tree)
    return tree


def ran(folder, *command, cwd):
    """Run Python with what is installed in a folder."""
    env = os.environ | {"PYTHONPATH": str(folder), "IPYTHONDIR": str(cwd / "ipython")}
    return subprocess.run(
        [sys.executable, *command], cwd=cwd, env=env, capture_output=True, text=True
    )


def test_a_wheel_of_a_tree_that_is_not_built(tree, tmp_path):
    """It works, and says where notebooks come from; so does one whose pages changed since."""
    done = ran(tree, "-m", "dlbook", "notebooks", "new", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert "the book is not built; `make book` writes its notebooks" in done.stderr
    folder = tree / "_build" / "html" / "notebooks"
    shutil.copytree(OUT / "notebooks", folder)
    (tree / "book" / "neurons.md").write_text("# Changed\n")
    site = wheel(tree, tmp_path)
    done = ran(site, "-m", "dlbook", "notebooks", "new", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert "run `make book` there and install it again" in done.stderr
    assert not (tmp_path / "new").exists()
    done = ran(site, "-c", "from dlbook.exercises import hint; hint('backprop-bp2')", cwd=tmp_path)
    assert done.returncode == 0 and "Hint 1 of 3." in done.stdout


def test_an_installation_that_can_be_edited(tree, tmp_path):
    """Nothing has to be built for it."""
    command = [*PIP, "install", "--no-deps", "--target", tmp_path / "site", "--editable", tree]
    subprocess.run(command, check=True)
    assert str(tree) in "".join(p.read_text() for p in (tmp_path / "site").glob("*.pth"))


def test_the_wheel_has_every_file_of_the_package(installed):
    """Modules, `py.typed` and data alike."""
    files = [p for p in (ROOT / "dlbook").rglob("*") if p.is_file() and p.suffix != ".pyc"]
    assert {".py", ".txt", ".typed"} <= {p.suffix for p in files}
    for path in files:
        copy = installed / path.relative_to(ROOT)
        assert copy.is_file() and copy.read_bytes() == path.read_bytes(), path.name


EXECUTE = """
import sys, nbformat
from nbclient import NotebookClient
notebook = nbformat.read(sys.argv[1], 4)
where = nbformat.v4.new_code_cell("import dlbook; print(dlbook.__file__)")
notebook.cells.append(where)
NotebookClient(notebook, timeout=100).execute()
nbformat.write(notebook, sys.argv[2])
"""


@pytest.fixture(scope="session")
def written(installed, tmp_path_factory):
    """`python -m dlbook notebooks` of the installed package."""
    folder = tmp_path_factory.mktemp("reader")
    done = ran(installed, "-m", "dlbook", "notebooks", "chapters", cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder / "chapters"


def test_it_writes_what_the_build_left(written, made):
    assert {p.name: p.read_bytes() for p in written.iterdir()} == dict(made.values())


@pytest.mark.parametrize("stem", ["verification", "backprop"])
def test_a_chapter_runs_from_the_wheel(written, installed, build, names, tmp_path, stem):
    """Every cell, top to bottom; checks name their equations, figures bear their numbers."""
    (path,) = written.glob(f"*-{stem}.ipynb")
    done = ran(installed, "-c", EXECUTE, path, "executed.ipynb", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    notebook = nbformat.read(tmp_path / "executed.ipynb", 4)
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    outputs = [output for cell in cells for output in cell.outputs]
    assert outputs[-1].text.startswith(str(installed))
    data = [o.data for o in outputs if "data" in o]
    lines = [d for d in data if MIME in d]
    records = [d[MIME] for d in lines]
    for record, line in zip(records, lines, strict=True):
        said = unescape(line["text/html"]).removeprefix("<p>").removesuffix("</p>")
        if record["kind"] == "numbers":
            told = {f"{name} = {value}" for name, value in record["values"].items()}
            assert set(said.split(", ")) == told
        elif record["kind"] == "claim":
            assert said == f"✓ {record['evidence']}"
        else:
            assert said.startswith(f"✓ ({build.equations[record['label']]['number']}) ")
            assert line["text/plain"] == said
    assert {r["label"] for r in records} >= {
        k for k, r in build.equations.items() if r["page"] == stem
    }
    shown = [d["text/html"] for d in data if "text/html" in d and "<figure" in d["text/html"]]
    captions = [re.search(r"<figcaption>(Fig\. [\d.]+)\. ", found)[1] for found in shown]
    figures = re.findall(r"name=\"(fig-[\w-]+)\"", text_of(stem))
    assert captions == [names[name] for name in figures]
    assert not RAW.search("".join(re.findall(r"<figcaption>.*?</figcaption>", "".join(shown))))
    sliders = [found for found in shown if 'type="range"' in found]
    assert len(sliders) == text_of(stem).count("plotting.slider(")
    assert all("run this cell to move through them" in found for found in sliders)
    assert not [
        o for o in outputs if o.output_type == "stream" and o.name == "stderr" and o.text.strip()
    ]


LONG = """
import time
from dlbook.tools.progress import bar
for step in bar(None, "training", iterable=range(3)):
    time.sleep(0.6)
"""


@pytest.mark.parametrize(
    ("code", "collecting", "shown"),
    [(LONG, "", True), (LONG.replace("0.6", "0"), "", False), (LONG, "collect", False)],
)
def test_progress_shows_in_jupyter(tmp_path, monkeypatch, code, collecting, shown):
    """After a second, in one line that is wiped at the end; a page that is built shows none."""
    monkeypatch.setenv("DLBOOK_VERIFY", collecting)
    cell = nbformat.v4.new_code_cell(code)
    nbformat.write(nbformat.v4.new_notebook(cells=[cell]), tmp_path / "long.ipynb")
    done = ran(ROOT, "-c", EXECUTE, "long.ipynb", "executed.ipynb", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    outputs = nbformat.read(tmp_path / "executed.ipynb", 4).cells[0].outputs
    said = "".join(output.text for output in outputs)
    assert {output.name for output in outputs} == ({"stderr"} if shown else set())
    assert ("training" in said and "2/3" in said) == shown
    assert not said or said.split("\r")[-2].strip() == ""


def test_the_wheel_brings_a_command(installed, tmp_path):
    """It offers what an installation has, and says what it has not."""
    env = os.environ | {"PYTHONPATH": str(installed)}

    def run(*arguments):
        command = [sys.executable, installed / "bin" / "dlbook", *arguments]
        return subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True)

    done = run("notebooks", "chapters")
    assert (done.returncode, done.stderr) == (0, "")
    done = run("serve")
    assert done.returncode == 2
    assert done.stderr.startswith("dlbook: an installed dlbook has no built site")
    assert "`dlbook notebooks DIR` writes" in done.stderr
    (tmp_path / "mine.py").write_text("from dlbook.exercises import check\ncheck('backprop-bp2')\n")
    done = run("check", "mine.py")
    assert done.stdout.startswith("mine.py: 0 of 1 correct\n  ○ backprop-bp2: Not attempted yet.")
