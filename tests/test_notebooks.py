"""The chapters as notebooks: nothing lost, nothing raw, the site's numbers, and they run.

Jupytext reads the same pages, Sphinx numbers the same labels and a wheel is what a reader has: the
three are asked instead of the converter itself.
"""

import ast
import io
import json
import os
import re
import subprocess
import sys
import textwrap
import tokenize

import jupytext
import nbformat
import pytest
from docutils.nodes import make_id
from markdown_it import MarkdownIt
from pages import BOOK, ROOT, chapters, text_of
from py_mini_racer import MiniRacer

from dlbook.tools import notebooks
from dlbook.tools.listing import equation_functions
from dlbook.tools.myst import Book, PageError, walk

STEMS = [
    path.stem for path in sorted(BOOK.glob("*.md")) if path.read_text("utf-8").startswith("---\nju")
]
HEADER = text_of("verification").split("\n# ")[0] + "\n"
RAW = re.compile(
    r"\{(eq|numref|ref|doc|cite|cite:\w+|math)\}|:::|```\{|^\([\w-]+\)=$|^:\w+:|\{kernel\}", re.M
)


# The real pages


@pytest.fixture(scope="session")
def book():
    """Return the book of the tree."""
    return Book(BOOK)


@pytest.fixture(params=STEMS, scope="module")
def page(request, book):
    """Return (chapter, notebook as Jupyter reads it), one after the other."""
    chapter = next((c for c in book.chapters if c.stem == request.param), None)
    assert chapter, f"book/index.md does not list {request.param}"
    return chapter, nbformat.reads(notebooks.encode(notebooks.notebook(book, chapter)).decode(), 4)


def words(notebook, kind="markdown"):
    """Return the text of all cells of a kind."""
    return "\n\n".join(cell.source for cell in notebook.cells if cell.cell_type == kind)


def outside_code(text):
    """Return Markdown without its code."""
    text = re.sub(r"^([ >]*)(`{3,})[^`\n]*\n.*?^[ >]*\2$", "", text, flags=re.M | re.S)
    return re.sub(r"(`+)(?!`).+?(?<!`)\1(?!`)", "", text, flags=re.S)


def test_every_chapter_becomes_a_notebook(book):
    made = list(notebooks.files(book))
    assert [name.split("-", 1)[1] for name in made if not name.startswith("00")] == [
        f"{stem}.ipynb" for stem in chapters()
    ]
    assert sorted(made) == made


def test_the_format_is_valid(page):
    _, notebook = page
    nbformat.validate(notebook, relax_add_props=False)
    assert (notebook.nbformat, notebook.nbformat_minor) == (4, 5)
    ids = [cell.id for cell in notebook.cells]
    assert len(set(ids)) == len(ids)
    assert notebook.metadata.kernelspec.name == "python3"


def test_jupyter_would_write_the_same_bytes(page, book):
    """Opening and saving a notebook changes nothing, so it still counts as untouched."""
    chapter, notebook = page
    assert (
        nbformat.writes(notebook) + "\n"
        == notebooks.encode(notebooks.notebook(book, chapter)).decode()
    )


def test_no_raw_myst(page):
    _, notebook = page
    for cell in notebook.cells:
        text = outside_code(cell.source) if cell.cell_type == "markdown" else cell.source
        found = RAW.search(re.sub(r"\$\$.*?\$\$", "", text, flags=re.S))
        assert not found, f"{found[0]!r} in {cell.source!r}"


def test_every_command_of_the_book_is_written_out(page):
    _, notebook = page
    assert not set(notebooks.MACROS) & set(
        re.findall(r"\\[A-Za-z]+", outside_code(words(notebook)))
    )


def test_formulas_need_nothing_else(page):
    """Every formula is understood by a renderer that was told no command of the book's."""
    _, notebook = page
    engine = MiniRacer()
    engine.eval((ROOT / "node_modules" / "katex" / "dist" / "katex.min.js").read_text("utf-8"))
    formulas = re.findall(
        r"\$\$(.+?)\$\$|\$((?:\\.|[^$\\])+)\$", outside_code(words(notebook)), re.S
    )
    assert formulas or notebook.cells[0].source.startswith("# Preface")
    for display, inline in formulas:
        call = (display or inline, {"displayMode": bool(display), "strict": "ignore"})
        engine.eval("katex.renderToString({}, {})".format(*map(json.dumps, call)))


def without_captions(code):
    """Return the tree of a cell as text, the captions of its figures left out."""
    tree = ast.parse(code)
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            node.keywords = [k for k in node.keywords if k.arg != "caption"]
    return ast.dump(tree)


def test_code_is_the_page_s_code(page):
    """Jupytext finds the same cells with the same code, comments included; solutions are text."""
    chapter, notebook = page
    theirs = [c for c in jupytext.reads(chapter.text, fmt="md:myst").cells if c.cell_type == "code"]
    solved = [c for c in theirs if "solution" in c.metadata.get("tags", [])]
    assert all(f"```python\n{c.source}\n```" in words(notebook) for c in solved)
    theirs = [c for c in theirs if c not in solved]
    mine = [cell for cell in notebook.cells if cell.cell_type == "code"][1:]
    assert len(theirs) == len(mine)
    for a, b in zip(theirs, mine, strict=True):
        assert without_captions(a.source) == without_captions(b.source)
        assert comments(a.source) == comments(b.source)
        assert b.metadata.get("tags", []) == a.metadata.get("tags", [])
        hidden = {"hide-input", "hide-cell"} & set(a.metadata.get("tags", []))
        assert b.metadata.get("jupyter", {}).get("source_hidden", False) == bool(hidden)


def comments(code):
    """Return the comments of a cell."""
    tokens = tokenize.generate_tokens(io.StringIO(code).readline)
    return [token.string for token in tokens if token.type == tokenize.COMMENT]


def test_prose_is_the_page_s_prose(page):
    """Every line of running text without markup stands in the notebook as it is."""
    chapter, notebook = page
    text = re.sub(r"^[`~]{3,}.*?^[`~]{3,}$", "", chapter.text, flags=re.M | re.S)
    there = words(notebook)
    lost = [
        line
        for line in text.split("\n---\n", 1)[1].splitlines()
        if line.strip() and not re.search(r"[{}$:\[]|^#|^[|>`]", line) and line not in there
    ]
    assert not lost


def test_markdown_renders(page, book):
    """A plain Markdown reader sees each formula, kernel, exercise, solution and heading."""
    chapter, notebook = page
    text = chapter.text
    shown = MarkdownIt("commonmark").enable("table").render(words(notebook))
    plain = outside_code(words(notebook))
    labelled = [
        label.number
        for name, label in book.labels.items()
        if label.kind == "equation" and re.search(rf"(:label: +|\$\$ \(){name}\)?$", text, re.M)
    ]
    assert re.findall(r"\\tag\{([\d.]+)\}", plain) == labelled
    solved = text.count(f"tags: {notebooks.SOLUTION}")
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


def test_the_first_cells_say_what_to_do(page):
    chapter, notebook = page
    first, second = notebook.cells[:2]
    number = f"{chapter.number}. " if chapter.number else ""
    assert first.cell_type == "markdown"
    assert first.source.startswith(f"# {number}")
    for needed in (notebooks.INSTALL, "CC BY 4.0", "BSD-3-Clause"):
        assert needed in first.source
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


def test_it_is_said_at_one_place_how_to_install():
    """In the same words everywhere, and never by a name that anyone may take."""
    for page in ("README.md", "book/preface.md"):
        assert notebooks.INSTALL in (ROOT / page).read_text("utf-8")
    for path in (
        ROOT / "README.md",
        *(ROOT / "book").glob("*.md"),
        *(ROOT / "dlbook").rglob("*.py"),
    ):
        assert "install dlbook" not in path.read_text("utf-8"), path


def test_jupyter_shows_only_the_message(book):
    """The traceback that Jupyter prints where the package is missing is one line."""
    chapter = next(c for c in book.chapters if c.runs)
    source = notebooks.notebook(book, chapter)["cells"][1]["source"]
    names = {}
    exec("".join(source).split("\n\n\nif")[0], names)
    assert names["Missing"]("why")._render_traceback_() == ["why"]


def test_numbers_of_the_built_site(book):
    """What the site shows is what the notebooks say, wherever the site is built from these pages."""
    site = ROOT / "_build" / "html"
    known, functions = {k: v.number for k, v in book.labels.items()}, equation_functions()
    ids = {make_id(name): number for name, number in known.items()}
    numbered = r'<figure [^>]*id="([\w-]+)".*?<span class="caption-number">Fig\. ([\d.]+) </span>'
    for chapter in book.chapters:
        copy = site / "_sources" / chapter.page
        if not copy.is_file() or copy.read_text("utf-8") != chapter.text:
            continue
        html = (site / f"{chapter.stem}.html").read_text("utf-8")
        shown = dict(re.findall(numbered, html, re.S))  # those without a name have ids of Sphinx's
        assert shown == {name: ids.get(name, number) for name, number in shown.items()}
        assert sorted(shown.values()) == sorted(
            f.number for block in walk(chapter.blocks) for f in block.figures
        )
        if (site / "equations.json").is_file():
            rows = json.loads((site / "equations.json").read_text("utf-8"))
            for label, row in rows.items():
                if row["page"] == chapter.stem:
                    assert known[label] == row["number"]
                    assert row["function"].removeprefix("dlbook.") in functions[label]


# Small pages


def made_up(folder, bib="", before=(), **texts):
    """Write a book of small chapters and return it."""
    tree = "```{toctree}\n%s\n\n%s\n```\n\n"
    (folder / "index.md").write_text(
        "# Book\n\n"
        + (tree % (":caption: Front", "\n".join(before)) if before else "")
        + tree % (":numbered:\n:maxdepth: 2", "\n".join(s for s in texts if s not in before)),
        "utf-8",
    )
    for stem, text in texts.items():
        text = textwrap.dedent(text).strip() + "\n"
        (folder / f"{stem}.md").write_text(f"{HEADER}\n# The {stem}\n\n{text}", "utf-8")
    (folder / "references.bib").write_text(bib, "utf-8")
    return Book(folder)


def converted(book, stem="one"):
    """Return the Markdown and the code of a made-up page without what every notebook has."""
    chapter = next(c for c in book.chapters if c.stem == stem)
    cells = notebooks.notebook(book, chapter)["cells"]
    text = "\n\n".join("".join(c["source"]) for c in cells[2:] if c["cell_type"] == "markdown")
    return text, ["".join(c["source"]) for c in cells[2:] if c["cell_type"] == "code"]


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

@book{schoelkopf,
  author = {Sch{\"o}lkopf, Bernhard and Smola, Alexander J.},
  title = {Learning with Kernels},
  publisher = {MIT Press},
  year = {2001},
}

@misc{team,
  author = {{The Team \& Co}},
  title = {A tool},
  year = {2020},
  url = {https://example.org/a_b}
}

@article{vdm,
  author = {van der Maaten, Laurens and {\L}ukasz, Andr\'e and {\v{C}}ech, \'{E}va},
  title = {T},
  year = {2008}
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
"""
ONE = [
    # (MyST, Markdown)
    ("plain *text* with `{eq}` and `x`", "plain *text* with `{eq}` and `x`"),
    ("```{math}\n:label: a-b\nx = 1\n```", "$$\nx = 1 \\tag{1.1}\n$$"),
    ("```{math}\nx\n```\n\n```{math}\n:label: a-b\ny\n```", "$$\nx\n$$\n\n$$\ny \\tag{1.1}\n$$"),
    ("$$ x $$", "$$\nx\n$$"),
    (
        "```{math}\n:label: a-b\na &= b \\\\\nc &= d\n```",
        "$$\n\\begin{aligned}\na &= b \\\\\nc &= d\n\\end{aligned} \\tag{1.1}\n$$",
    ),
    (
        ":::{math}\n:label: a-b\n\nx\n\n+ 1\n:::\nSee {eq}`a-b`.",
        "$$\nx\n+ 1 \\tag{1.1}\n$$\n\nSee (1.1).",
    ),
    (r"$X\T y$, $\E[x]$, $x_\R$, $\R^n$", r"$X^{\mathsf T} y$, $\operatorname{E}[x]$, $x_{\mathbb{R}}$, $\mathbb{R}^n$"),
    (r"$a \\T \Theta \Trace$ and `\T`", r"$a \\T \Theta \Trace$ and `\T`"),
    ("a $x\n+ y$ b", "a $x + y$ b"),
    ("see {eq}`two-first`", "see (2.1)"),
    ("see {numref}`fig-far`", "see Figure 2.1"),
    ("see {ref}`ex-far` and {ref}`that <ex-far>`", "see Exercise 2.1 and that"),
    ("see {doc}`two` and {doc}`that one <two>`", "see The two and that one"),
    ("[out](https://example.org/a) <https://example.org>", "[out](https://example.org/a) <https://example.org>"),
    ("| a | b |\n|---|---|\n| {eq}`two-first` | $x\\T$ |", "| a | b |\n|---|---|\n| (2.1) | $x^{\\mathsf T}$ |"),
    ("- one\n- two {eq}`two-first`\n\n  more", "- one\n- two (2.1)\n\n  more"),
    ("## A\n\n### B\n\n## C", "## 1.1. A\n\n### 1.1.1. B\n\n## 1.2. C"),
    (":::{note}\nMind {eq}`two-first`.\n\nAnd $x\n+ 1$.\n:::", "<blockquote>\n\n**Note.**\n\nMind (2.1).\n\nAnd $x + 1$.\n\n</blockquote>"),
    ("```{tip}\nTry.\n```", "<blockquote>\n\n**Tip.**\n\nTry.\n\n</blockquote>"),
    ("> quoted {eq}`two-first` $x\n> + 1$\n> - a", "> quoted (2.1) $x + 1$\n> - a"),
    ("```{fold} More <of> it\nText $x$.\n```", "<details>\n<summary>More &lt;of&gt; it</summary>\n\nText $x$.\n\n</details>"),
    (
        ":::{exercise} A sign\n:name: ex-a\n\nSay why.\n\n```{fold} Solution\nBecause.\n```\n:::\n\nAs in {ref}`ex-a`.",
        "### Exercise 1.1 · A sign\n\nSay why.\n\n<details>\n<summary>Solution</summary>\n\nBecause.\n\n</details>\n\nAs in Exercise 1.1.",
    ),
    ("::::{exercise} A\n:::{note}\nN.\n:::\n::::", "### Exercise 1.1 · A\n\n<blockquote>\n\n**Note.**\n\nN.\n\n</blockquote>"),
    ("```python\nx = {eq}  # :::\n```", "```python\nx = {eq}  # :::\n```"),
    ("````\n```{math}\n````", "````\n```{math}\n````"),
    ("{cite:t}`squire1998` and {cite:p}`squire1998,he2015`", "Squire & Trapp (1998) and (Squire & Trapp 1998; He et al. 2015)"),
    ("{cite:t}`vdm`", "van der Maaten et al. (2008)"),
]  # fmt: skip
FIGURE = """
```{code-cell} ipython3
plotting.show(fig, alt="a", caption="c", name="fig-far")
```
"""


@pytest.mark.parametrize(("myst", "markdown"), ONE)
def test_each_part_becomes_plain_markdown(tmp_path, myst, markdown):
    text, _ = converted(made_up(tmp_path, bib=BIB, one=myst, two=SECOND + FIGURE))
    assert text.split("\n\n## References")[0] == markdown


def test_sources_are_listed_once_in_order(tmp_path):
    text, _ = converted(
        made_up(tmp_path, bib=BIB, one="{cite:t}`vdm`, {cite:t}`team`, {cite:t}`squire1998,squire1998`, {cite:p}`schoelkopf`, {cite:p}`he2015`")
    )  # fmt: skip
    assert text.split("## References\n\n")[1].splitlines() == [
        "- Kaiming He, Xiangyu Zhang, Shaoqing Ren and Jian Sun (2015). *Delving Deep*. ICCV.",
        "- Bernhard Schölkopf and Alexander J. Smola (2001). *Learning with Kernels*. MIT Press.",
        "- William Squire and George Trapp (1998). *Using Complex Variables*. SIAM Review 40(1), "
        "110–112. [doi:10.1137/x](https://doi.org/10.1137/x)",
        "- The Team & Co (2020). *A tool*. <https://example.org/a_b>",
        "- Laurens van der Maaten, André Łukasz and Éva Čech (2008). *T*.",
    ]


def test_a_kernel_is_shown_with_numbers(tmp_path):
    book = made_up(
        tmp_path, one="```{math}\n:label: verification-error\nx\n```\n\n```{kernel} verification.relative_error\n```"
    )  # fmt: skip
    text, _ = converted(book)
    name, listing = text.split("$$\n\n")[1].split("\n\n", 1)
    assert name == "**`dlbook.verification.relative_error`**"
    code = listing.removeprefix("```python\n").removesuffix("\n```")
    assert '"""(1.1)  max' in code
    assert "verification-error" not in code
    assert ast.parse(code).body[0].name == "relative_error"


def test_the_table_of_equations(tmp_path):
    text, _ = converted(
        made_up(
            tmp_path,
            one="""
            ```{math}
            :label: verification-error
            x
            ```

            ```{math}
            :label: one-new
            y
            ```

            ```{equations}
            one-new: a | b
            verification-error: the error
            ```
            """,
        )
    )
    assert text.splitlines()[-4:] == [
        "| Equation | What it says | Function |",
        "|---|---|---|",
        "| (1.1) | the error | `dlbook.verification.relative_error` |",
        r"| (1.2) | a \| b | – |",
    ]


CAPTIONS = [
    ('caption="A line $X\\\\T$ of {eq}`two-first`."', 'caption="Figure 1.1. A line $X^{\\\\mathsf T}$ of (2.1)."'),
    ('caption=r"$X\\T$"', 'caption=r"Figure 1.1. $X^{\\mathsf T}$"'),
    ("caption=f'é {n} {{numref}}`fig-far`'", "caption=f'Figure 1.1. é {n} Figure 2.1'"),
    ('caption=("a "\n    "b")', 'caption=("Figure 1.1. a "\n    "b")'),
    ('caption="by {cite:t}`team`"', 'caption="Figure 1.1. by The Team & Co (2020)"'),
]  # fmt: skip


@pytest.mark.parametrize(("given", "numbered"), CAPTIONS)
@pytest.mark.parametrize(
    "call", ["plotting.show(fig, alt='ä', ", "plotting.slider(f, variable='n', "]
)
def test_captions_carry_their_numbers(tmp_path, given, numbered, call):
    cell = "```{{code-cell}} ipython3\n{}{}, name='fig-a')\nx = 1\n```\n"
    book = made_up(tmp_path, bib=BIB, one=cell.format(call, given), two=SECOND + FIGURE)
    _, (code,) = converted(book)
    assert code == f"{call}{numbered}, name='fig-a')\nx = 1"


def test_cells_keep_their_tags(tmp_path):
    book = made_up(
        tmp_path,
        one="""
        ```{code-cell} ipython3
        :tags: [hide-input]

        a = (7
             % 2)
        ```

        ```{code-cell} ipython3
        ---
        tags: [hide-cell]
        mystnb:
          code_prompt_show: "Show: it"
        ---
        b = 2
        ```

        ```{code-cell} ipython3
        c = 3
        ```
        """,
    )
    cells = notebooks.notebook(book, book.chapters[0])["cells"][2:]
    assert [cell["metadata"] for cell in cells] == [
        {"jupyter": {"source_hidden": True}, "tags": ["hide-input"]},
        {"jupyter": {"source_hidden": True}, "tags": ["hide-cell"]},
        {},
    ]
    assert ["".join(c["source"]) for c in cells] == [
        "a = (7\n     % 2)",
        "b = 2",
        "c = 3",
    ]


def test_ids_follow_the_content(tmp_path):
    """An edit changes the ids of what was edited and of nothing else."""

    def ids(text):
        book = made_up(tmp_path, one=text)
        return [cell["id"] for cell in notebooks.notebook(book, book.chapters[0])["cells"]]

    cells = "\n\n".join(f"```{{code-cell}} ipython3\n{k}\n```" for k in (1, 2, 2))
    before, after = ids(f"A\n\n{cells}"), ids(f"A\n\nB\n\n{cells}")
    assert len(set(before)) == 6
    assert [a == b for a, b in zip(before, after, strict=True)] == [1, 1, 0, 1, 1, 1]


BAD = [
    # (MyST, line below the title, words)
    ("a\n\n```{plot} x\n```", 3, "{plot} has no form"),
    (":::{exercise} A\n\ntext\n\n```{tabs}\n```\n:::", 5, "{tabs} has no form"),
    (":::{note}\n```{code-cell} ipython3\nx\n```\n:::", 2, "{code-cell} has no form"),
    ("- a\n\n  ```{code-cell} ipython3\n  x\n  ```", 3, "cannot convert"),
    ("a\nb {eq}`nowhere` c", 2, "equation has the label nowhere"),
    ("{ref}`nowhere`", 1, "nowhere"),
    ("{doc}`nowhere`", 1, "no page nowhere"),
    ("{cite:t}`nowhere`", 1, "no entry nowhere"),
    ("{cite:q}`squire1998`", 1, "cite:q"),
    ("{cite}`squire1998`", 1, "role {cite}"),
    ("{Term}`x`", 1, "cannot convert"),
    ("{term}`x`", 1, "role {term}"),
    ("a {eq}`unclosed", 1, "cannot convert"),
    ("a[^1]", 1, "cannot convert"),
    ("![a](picture.png)", 1, "cannot convert"),
    ("a\n[a](script.py)", 2, "cannot convert"),
    ("a [b]{.small}", 1, "cannot convert"),
    ("a $$x$$ b", 1, "cannot convert"),
    ("a\n% a remark", 2, "cannot convert"),
    ("a\n\n+++", 3, "cannot convert"),
    ("(sec-a)=\n## Part", 1, "cannot convert"),
    ("Term\n: what it is", 2, "cannot convert"),
    ("- one\n\n  ```{math}\n  x\n  ```", 3, "cannot convert"),
    ("$$\nx\n$$ (a-b)", 1, "does not end"),
    ("$$\nx\n\ny\n$$", 1, "does not end"),
    ("```{math}\nx % why\n```", 1, "no remarks"),
    (":::{note} Words\n:::", 1, "next line"),
    ("```{kernel} verification.nothing\n```", 1, "verification.nothing"),
    ("```{kernel} nothing.nothing\n```", 1, "nothing.nothing"),
    ("```{math}\nx", 1, "never closed"),
    (":::{note}\ntext", 1, "never closed"),
    ("::: note\n:::", 1, "not a directive"),
    ("```{equations}\n\nnowhere: x\n```", 3, "nowhere"),
    ("# Another title", 1, "one title"),
    ("Underlined\n---", 2, "cannot convert"),
    (":::{note}\n## Part\n:::", 2, "heading has no form"),
    ("```{math}\n:label: a\nx\n```\n\n```{math}\n:label: a\nx\n```", 6, "used twice"),
    ("```{code-cell} ipython3\nfor n in 'ab':\n    plotting.show(f, caption='', name='n')\n```", 1, "left margin"),
    ("```{code-cell} ipython3\nx = plotting.show(f, caption='', name='n')\n```", 1, "left margin"),
    ("```{code-cell} ipython3\n\nplotting.show(f, caption='n', name=n)\n```", 3, "literal name"),
    ("```{code-cell} ipython3\n\nplotting.show(f, caption='n')\n```", 3, "literal name"),
    ("```{code-cell} ipython3\n\nplotting.show(f, caption=n, name='n')\n```", 3, "literal caption"),
    ("```{code-cell} ipython3\n:tags: [remove-output]\nx\n```", 1, "tags: [remove-output]"),
    ("```{code-cell} ipython3\nplotting.show(f, caption='by {plot}`x`', name='n')\n```", 2, "role {plot}"),
    ("```{code-cell} ipython3\n\nplotting.show(f,\n  caption='{eq}`nowhere`', name='n')\n```", 3, "nowhere"),
    ("- ```{math}\n  x\n  ```\n- ```{math}\n  x\n  ```", 1, "cannot convert"),
]  # fmt: skip


@pytest.mark.parametrize(("myst", "line", "said"), BAD)
def test_what_is_not_known_is_refused_with_its_line(tmp_path, myst, line, said):
    with pytest.raises(PageError, match=re.escape(said)) as caught:
        converted(made_up(tmp_path, bib=BIB, one=myst, two=SECOND))
    offset = HEADER.count("\n") + 3
    assert (caught.value.page, caught.value.line) == ("one.md", offset + line)


@pytest.mark.parametrize(
    ("data", "line", "said"),
    [
        (b"---\njupytext:\n# A\n", 1, "the front matter is never closed"),
        (b"# A\n\ncaf\xe9\n", 3, "not UTF-8: "),
    ],
)
def test_a_damaged_page_is_refused_with_its_line(tmp_path, data, line, said):
    made_up(tmp_path, one="Text.")
    for name in ("one.md", "index.md", "references.bib")[: 3 if line == 3 else 1]:
        (tmp_path / name).write_bytes(data)
        with pytest.raises(PageError, match=said) as caught:
            converted(Book(tmp_path))
        assert (caught.value.page, caught.value.line) == (name, line)
        made_up(tmp_path, one="Text.")


ENTRY = "@book{a,\n  author = {A},\n  title = {T},\n  year = {2000}\n}\n"


@pytest.mark.parametrize(
    ("bib", "line", "said"),
    [
        ("@book{a,\n  author = {A},\n  title = {T}\n}", 4, "lacks year"),
        (ENTRY + "\n" + ENTRY, 7, "twice"),
        ("@book{a, author = {A}}", 1, "cannot read @book"),
        (ENTRY.replace("{A}", '"A"'), 2, "cannot read   author"),
        (ENTRY.replace("{A}", "{A B}"), 2, "cannot read A B"),
        (ENTRY.replace("{T}", r"{\emph{T}}"), 3, "cannot read"),
    ],
)
def test_a_bad_bibliography_is_refused(tmp_path, bib, line, said):
    with pytest.raises(PageError, match=said) as caught:
        converted(made_up(tmp_path, bib=bib, one="Text."))
    assert (caught.value.page, caught.value.line) == ("references.bib", line)


@pytest.mark.parametrize(
    ("index", "said"),
    [
        ("# B\n", "found 0"),
        ("```{toctree}\n:numbered:\n\na\n```\n\n```{toctree}\n:numbered:\n\nb\n```\n", "found 2"),
        ("```{toctree}\n:numbered:\n\nmissing\n```\n", "missing"),
    ],
)
def test_the_order_must_be_one_list(tmp_path, index, said):
    (tmp_path / "index.md").write_text(index, "utf-8")
    with pytest.raises(PageError, match=said):
        Book(tmp_path)


# The numbers are those of Sphinx

NUMBERED = """
Text {eq}`one-b` {numref}`fig-b` {numref}`fig-front`.

## Part

```{math}
not counted
```

```{math}
:label: one-a
a
```

### Deeper

```{math}
:label: one-b
b
```

$$
not counted
$$

## Other part

:::{exercise} First
:name: ex-first

````{fold} Solution
```{math}
:label: one-c
c
```
````
:::

````{exercise} Second
:name: ex-second

:::{note}
```{math}
:label: one-d
d
```
:::
````

```{code-cell} ipython3
from dlbook.tools import plotting
plotting.show(plotting.figure(1, 1)[0], alt="a", caption="first", name="fig-first")
```

```{code-cell} ipython3
:tags: [hide-input]
plotting.slider([("1", plotting.figure(1, 1)[0], "a")], variable="v", caption="s", name="fig-a")
plotting.show(plotting.figure(1, 1)[0], alt="a", caption="b", name="fig-b")
```

```{code-cell} ipython3
plotting.show(plotting.figure(1, 1)[0], alt="a", caption="c", name="fig-c")
```
"""
PLAIN = """
## Part

```{math}
:label: two-a
a
```
"""
FRONT = """
```{code-cell} ipython3
from dlbook.tools import plotting
plotting.show(plotting.figure(1, 1)[0], alt="a", caption="c", name="fig-front")
```
"""
CONF = """
import sys
sys.path.insert(0, {ext!r})
extensions = ["myst_nb", "parts", "downloads", "sphinx.ext.autodoc", "sphinx.ext.viewcode"]
myst_enable_extensions = ["dollarmath", "colon_fence"]
numfig, numfig_secnum_depth, math_eqref_format = True, 1, "({{number}})"
nb_execution_mode, html_copy_source = "force", False
"""


@pytest.fixture(scope="session")
def small_site(tmp_path_factory):
    """Build a small book with Sphinx; return it, its site and what Sphinx said.

    It has every trap: unlabelled things, nested ones, a slider, pages without
    a number, and a page that Sphinx takes and a notebook does not.
    """
    work = tmp_path_factory.mktemp("small")
    source, out = work / "book", work / "out"
    source.mkdir()
    (out / "_sources").mkdir(parents=True)
    (out / "_sources" / "gone.ipynb").write_text("of a page that is no longer there")
    book = made_up(
        source,
        before=["front", "more"],
        front=PLAIN.replace("two", "front") + FRONT,
        more=FRONT.replace("front", "more"),
        one=NUMBERED,
        verification=PLAIN,
        bad="A footnote.[^1]\n\n[^1]: Here.",
    )
    (source / "conf.py").write_text(CONF.format(ext=str(ROOT / "book" / "_ext")), "utf-8")
    (source / "api.md").write_text(
        "# API\n\n```{eval-rst}\n.. automodule:: dlbook.verification\n   :members:\n```\n"
    )
    run = subprocess.run(
        [sys.executable, "-m", "sphinx", "-q", "--no-color", "-j", "2", str(source), str(out)],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT), "IPYTHONDIR": str(work / "ipython")},
    )
    assert run.returncode == 0, run.stderr
    return book, out, run.stderr


def test_numbers_are_those_of_sphinx(small_site):
    book, out, _ = small_site
    stems = ("front", "more", "one", "verification")
    html = {stem: (out / f"{stem}.html").read_text("utf-8") for stem in stems}
    whole = "".join(html.values())

    def known(kind):
        return {k: v.number for k, v in book.labels.items() if v.kind == kind}

    found = re.findall(r'<span class="eqno">\(([\d.]+)\).*?href="#equation-([\w-]+)"', whole)
    assert {label: number for number, label in found} == known("equation")
    assert len(found) == 6
    figures = re.findall(
        r'<figure [^>]*id="([\w-]+)".*?caption-number">Fig\. ([\d.]+)', whole, re.S
    )
    assert dict(figures) == known("figure")
    captions = re.findall(r'caption="Figure ([\d.]+)\. ', "".join(converted(book)[1]))
    assert captions == [number for name, number in figures if number.startswith("1.")]
    exercises = re.findall(r'exercise-number">Exercise ([\d.]+)<', html["one"])
    assert exercises == list(known("exercise").values())
    sections = re.findall(r'<h\d><span class="section-number">([\d.]+) </span>(.*?)<a', html["one"])
    markdown = converted(book)[0]
    assert [f"{n} {t}" for n, t in sections][1:] == re.findall(r"^##+ (\d.*)$", markdown, re.M)
    site = re.search(r"<p>Text (.*?)\.</p>", html["one"], re.S)[1]
    said = re.sub("<[^>]+>", "", site).replace("Fig.", "Figure")
    assert markdown.startswith(f"Text {said}.")


def test_the_site_offers_each_page(small_site):
    """Below its title each page links to files that are there, and no other page does."""
    book, out, _ = small_site
    assert not (out / "_sources" / "gone.ipynb").exists()
    for chapter in book.chapters:
        html = (out / f"{chapter.stem}.html").read_text("utf-8")
        title, line = re.search(
            r"<h1>(.*?)</h1>\s*<p class=\"downloads\">(.*?)</p>", html, re.S
        ).groups()
        assert f"The {chapter.stem}" in title
        links = dict(re.findall(r'<a href="([^"]+)"(?: download="([^"]+)")?>', line))
        wanted = {
            f"_sources/{chapter.stem}.ipynb": chapter.filename,
            f"_sources/{chapter.stem}.md": chapter.page,
        }
        if chapter.stem == "verification":
            wanted["_modules/dlbook/verification.html"] = ""
        assert links == wanted
        assert (out / "_sources" / chapter.page).read_text("utf-8") == chapter.text
        if chapter.stem != "bad":
            assert all((out / uri).is_file() for uri in links)
            written = (out / "_sources" / f"{chapter.stem}.ipynb").read_bytes()
            assert written == notebooks.encode(notebooks.notebook(book, chapter))
    for name in ("index", "api", "genindex"):
        assert "downloads" not in (out / f"{name}.html").read_text("utf-8")


def test_the_build_names_what_it_cannot_convert(small_site):
    """A warning with page and line, which fails the build of the book."""
    _, out, said = small_site
    line = HEADER.count("\n") + 4
    assert f"bad.md:{line}: WARNING: cannot convert '[^1]'" in said
    assert not (out / "_sources" / "bad.ipynb").exists()


# What a reader has: a wheel, a folder, Jupyter


@pytest.fixture(scope="session")
def installed(tmp_path_factory):
    """Build the wheel, install it alone into an empty folder, and return that folder."""
    work = tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "wheel", "--no-deps", "--wheel-dir", work, ROOT], check=True)
    (wheel,) = work.glob("dlbook-*.whl")
    target = work / "site"
    subprocess.run([*pip, "install", "--no-deps", "--target", target, wheel], check=True)
    return target


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


def test_a_chapter_runs_from_the_wheel(installed, tmp_path, book):
    """`python -m dlbook notebooks` of the installed package; then every cell, top to bottom."""
    env = os.environ | {"PYTHONPATH": str(installed), "IPYTHONDIR": str(tmp_path / "ipython")}

    def run(*command):
        done = subprocess.run(
            [sys.executable, *command], cwd=tmp_path, env=env, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        return done

    run("-m", "dlbook", "notebooks", "chapters")
    written = {path.name: path.read_bytes() for path in (tmp_path / "chapters").iterdir()}
    assert written == notebooks.files(book)
    first = next(name for name in sorted(written) if name.startswith("01"))
    run("-c", EXECUTE, f"chapters/{first}", "executed.ipynb")
    notebook = nbformat.read(tmp_path / "executed.ipynb", 4)
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    outputs = [output for cell in cells for output in cell.outputs]
    assert outputs[-1].text.startswith(str(installed))
    shown = [o.data["text/html"] for o in outputs if "text/html" in o.get("data", {})]
    captions = [re.search(r"<figcaption>(Figure [\d.]+)\. ", html) for html in shown]
    chapter = next(c for c in book.chapters if c.filename == first)
    numbers = [f.number for block in walk(chapter.blocks) for f in block.figures]
    assert [m[1] for m in captions if m] == [f"Figure {number}" for number in numbers]
    assert not RAW.search("".join(re.findall(r"<figcaption>.*?</figcaption>", "".join(shown))))


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
