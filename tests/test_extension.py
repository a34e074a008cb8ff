"""The machine that verifies, tried on a small book of its own: what it sees and what it refuses."""

import base64
import json
import platform
import re
import shutil
import subprocess
import sys
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from types import SimpleNamespace

import numpy
import pytest
from pages import ROOT

HEADER = "\n".join(
    (ROOT / "book" / "verification.md").read_text(encoding="utf-8").splitlines()[:11]
)

DOUBLE = '''from dlbook.helper import times
from dlbook.tools.jit import njit

__all__ = ["double"]


@njit
def double(x):
    """(double-twice)  y_n = 2 x_n
    (n) -> (n)
    """
    return times(x, 2.0)
'''
HELPER = """from dlbook.tools.jit import njit


@njit
def times(x, factor):
    return x * factor
"""
SQUARE = '''__all__ = ["square"]


def square(x):
    """(square-power)  y_n = x_n²
    (n) -> (n)
    """
    return x * x
'''
PAGE = """{header}

# {title}

```{{math}}
:label: {label}
{tex}
```

```{{kernel}} {module}.{function}
```

```{{code-cell}} ipython3
import numpy as np
from dlbook.{module} import {function}
from dlbook.verification import claim, numbers, verify

x = np.array([1.0, 2.0, 4.0])
verify("{label}", {function}, x, {oracle}, by="NumPy")
claim("{module}-grows", "It makes four larger.", {function}(x)[2] > 4,
      f"it gives {{{function}(x)[2]:g}}", control=("one half", x[2] / 2 > 4))
numbers(largest={function}(x)[2])
```

It makes four
larger. The largest is {{number}}`largest:.1f`.

```{{equations}}
{label}: what it says
```
"""
PAGES = {
    "double": PAGE.format(
        header=HEADER,
        title="Double",
        label="double-twice",
        tex="y_n = 2 x_n",
        module="double",
        function="double",
        oracle="x + x",
    ),
    "square": PAGE.format(
        header=HEADER,
        title="Square",
        label="square-power",
        tex="y_n = x_n^2",
        module="square",
        function="square",
        oracle="x**2",
    ),
}
SAME = """[[equal]]
function = "double.double"
was = "return times(x, 2.0)"
now = "return times(2.0, x)"
because = "a product is commutative"
"""
WRONG = """[[equal]]
function = "square.square"
was = "return x * x"
now = "return x"
because = "one is its own square"
"""
INDEX = """# Book

```{toctree}
:numbered:
:caption: First part

double
```

```{toctree}
:numbered:
:caption: Second part

square
```

```{chapters}
double: Twice *as much*.
square: Times itself.
```

```{toctree}
api
```

```{equation-index}
```
"""
LISTED = """{equation-index}
```

```{pitfall-index}
```

```{bibliography}
```"""
BOOK = "@book{euclid1908, author = {Euclid}, title = {Elements}, publisher = {A}, year = {1908}}"
API = "# API\n\n```{eval-rst}\n.. automodule:: dlbook.double\n   :members:\n.. automodule:: dlbook.square\n   :members:\n```\n"


class Small:
    """A small book in a folder of its own."""

    def __init__(self, folder):
        self.root, self.book = folder, folder / "book"
        ignore = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / "dlbook", folder / "dlbook", ignore=ignore)
        for name in ("_ext", "_static", "_templates"):
            shutil.copytree(ROOT / "book" / name, self.book / name, ignore=ignore)
        shutil.copy(ROOT / "conf.py", folder)
        (folder / "node_modules").symlink_to(ROOT / "node_modules")
        (self.book / "references.bib").write_text("")
        self.write("dlbook/double.py", DOUBLE)
        self.write("dlbook/helper.py", HELPER)
        self.write("dlbook/square.py", SQUARE)
        for page, text in {**PAGES, "index": INDEX, "api": API}.items():
            self.write(f"book/{page}.md", text)
        self.write("book/declared.toml", SAME)

    def write(self, path, text):
        (self.root / path).write_text(text, encoding="utf-8")

    def edit(self, path, old, new):
        text = (self.root / path).read_text(encoding="utf-8")
        assert old in text
        self.write(path, text.replace(old, new))

    def build(self, *options):
        """Build it; return exit status, the pages that ran, and the warnings."""
        command = [sys.executable, "-m", "sphinx", "-n", "-W", "--no-color", "-j", "1", *options]
        run = subprocess.run(
            [*command, "-c", ".", "book", "_build/html"],
            cwd=self.root,
            capture_output=True,
            text=True,
        )
        ran = re.findall(r"book/(\w+)\.md: Executed notebook", run.stdout)
        return run.returncode, sorted(ran), re.sub(r"\x1b\[[0-9;]*m", "", run.stderr)

    def results(self, name="equations"):
        return json.loads(
            (self.root / "_build" / "html" / f"{name}.json").read_text(encoding="utf-8")
        )

    def html(self, page):
        return (self.root / "_build" / "html" / f"{page}.html").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """Return a small book that was built once."""
    small = Small(tmp_path_factory.mktemp("small"))
    status, ran, warnings = small.build()
    assert status == 0, warnings
    assert ran == ["double", "square"]
    return small


@pytest.fixture
def small(built, tmp_path):
    """Return a copy of the built book, free to be broken."""
    shutil.copytree(built.root, tmp_path / "copy", symlinks=True)
    copy = object.__new__(Small)
    copy.root, copy.book = tmp_path / "copy", tmp_path / "copy" / "book"
    return copy


def test_results(built):
    row = built.results()["double-twice"]
    assert (row["number"], row["page"], row["function"]) == (
        "1.1",
        "double",
        "dlbook.double.double",
    )
    assert (row["oracle"], row["count"], row["error"], row["tolerance"], row["passed"]) == (
        "NumPy",
        3,
        0,
        1e-12,
        True,
    )
    assert built.results("claims")["square-grows"]["evidence"] == "it gives 16"


def test_page_shows_the_result_and_no_label(built):
    html = built.html("double")
    assert 'class="mark passed"' in html
    assert "3 numbers against NumPy" in html
    shown = re.sub(r"<[^>]*>", "", html[html.index("<article") :])
    kernel = shown[shown.index("def double") :][:120]
    assert "(1.1)" in kernel
    assert "double-twice" not in kernel


def test_equation_and_function_link_to_each_other(built):
    assert 'href="api.html#dlbook.double.double"' in built.html("double")
    assert 'href="double.html#equation-double-twice"' in built.html("api")


def test_nothing_changed_nothing_runs(small):
    assert small.build()[:2] == (0, [])


def test_only_pages_that_reach_an_edit_run_again(small):
    """`helper` is reached through another module; its edit is felt by one page."""
    small.edit("dlbook/helper.py", "return x * factor", "return factor * x")
    assert small.build()[:2] == (0, ["double"])
    small.edit("dlbook/square.py", "x * x", "x**2")
    assert small.build()[:2] == (0, ["square"])


def test_a_broken_kernel_fails_by_name_and_again(small):
    """The second build must not pass because nothing changed since the first."""
    small.edit("dlbook/helper.py", "x * factor", "-x * factor")
    for _ in range(2):
        status, _, warnings = small.build()
        assert status == 1
        assert (
            "book/double.md:15: WARNING: equation double-twice (1.1): largest error 2e+00"
            in warnings
        )
    small.edit("dlbook/helper.py", "-x * factor", "x * factor")
    assert small.build()[0] == 0


def test_a_new_version_runs_every_page(small):
    assert small.build("-D", "dlbook_stack=numpy=9")[:2] == (0, ["double", "square"])


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (
            'verify("double-twice", double, x, x + x, by="NumPy")\n',
            "",
            "equation double-twice (1.1): no check ran",
        ),
        (
            'verify("double-twice"',
            'verify("double-thrice"',
            "names equation double-thrice, which no page has",
        ),
        ("double(x)[2] > 4", "double(x)[2] > 9", "claim double-grows: it gives 8"),
        ('claim("double-grows"', 'claim("square-grows"', "claim square-grows is checked twice"),
        ("x = np.array", "1 / 0\nx = np.array", "the page stopped at line"),
        ("x = np.array", "1 / 0\nx = np.array", "ZeroDivisionError"),
        ("double-twice: what it says", "", "is missing in the page's table of equations"),
        ("y_n = 2 x_n", r"y_n = \nosuch x_n", "Undefined control sequence"),
        ("{kernel} double.double", "{kernel} double.triple", "no such function"),
        ("{equations}", "{nosuchpart}", "nosuchpart"),
        ("{number}`largest", "{number}`smallest", "no cell tells 'smallest'; told are largest"),
        ("`largest:.1f`", "`largest:.1d`", "largest: Unknown format code 'd'"),
        ("`largest:.1f`", "`largest:,`", "largest: 8.0 is a float, expected a format with its"),
        ("The largest is", "Of 359 the largest is", "numbers typed that no cell computed: line"),
        (
            "The largest is",
            "In later chapters it is",
            "promises of later chapters without {later}: line",
        ),
        ("The largest is", "It is {later}`so <square.cube>`,", "promises cube, which square does"),
        ("The largest is", "It is {later}`so <double.double>`,", "double is no later chapter"),
        ("The largest is", "It is {later}`so`,", "is no promise: write words <chapter.thing>"),
        ("It makes four\nlarger.", "It grows.", "lacks a sentence that its page has: “It makes"),
        (', control=("one half", x[2] / 2 > 4)', "", "missing 1 required keyword-only argument"),
        ("x[2] / 2 > 4", "x[2] * 2 > 4", "but the criterion holds for the control too: one half"),
        ("x = np.array([1.0", "x = np.random.rand() + np.array([1.0", "lacks five seeds"),
    ],
)
def test_a_page_that_breaks_a_promise_is_refused(small, old, new, words):
    small.edit("book/double.md", old, new)
    status, _, warnings = small.build()
    assert status == 1
    assert words in warnings


def test_an_equation_needs_a_kernel(small):
    small.edit("dlbook/double.py", "(double-twice)  y_n", "y_n")
    status, _, warnings = small.build()
    assert status == 1
    assert "no documented function names it in its docstring" in warnings


def test_a_mark_says_what_it_rejects(built):
    """Every altered version is rejected, and the page says so."""
    row = built.results()["double-twice"]
    assert row["altered"] - 1 == row["rejected"] > 3
    assert row["declared_equal"] == 1
    words = f"ejects {row['rejected']} of {row['rejected']} altered versions; 1 more is the same"
    assert words in built.html("double")
    assert words in built.html("index")


def test_each_number_counts_for_the_oracle_it_was_compared_with(small):
    """Of several checks the mark tells the worst, and for each oracle its own numbers."""
    page = small.book / "double.md"
    text = page.read_text(encoding="utf-8")
    first = re.search(r"^verify\(.*by=\"NumPy\".*\n", text, re.M)[0]
    other = first.replace('by="NumPy"', 'by="hand"')
    page.write_text(text.replace(first, first + other), encoding="utf-8")
    assert small.build()[0] == 0
    html = small.html("double")
    assert "3 numbers against NumPy: exactly equal; tolerance 1e-12." in html
    assert "In all 6 numbers in 2 checks: 3 against NumPy, 3 against hand." in html


def test_altered_versions_are_listed_for_whoever_asks(built):
    """With what was altered, the input that exposed it, and what the check saw."""
    text = (built.root / "_build" / "html" / "altered" / "double.js").read_text(encoding="utf-8")
    rows = json.loads(text.partition(".altered = ")[2].rstrip(";\n"))["double-twice"]
    assert len(rows) == built.results()["double-twice"]["altered"]
    row = next(row for row in rows if row[:2] == ["return times(x, 2.0)", "return times(x, 3.0)"])
    assert row[2] == "x = [1., 2., 4.]"
    assert "largest error 5e-01" in row[3]
    assert ["return times(x, 2.0)", "return times(2.0, x)", "", "a product is commutative"] in rows


def test_cases_are_data(built):
    """A case says what the kernel is given and what is expected."""
    text = (built.root / "_build" / "html" / "cases" / "double.json").read_text(encoding="utf-8")
    (case,) = json.loads(text)["double-twice"]
    assert case["kernel"] == "dlbook.double.double"
    assert case["args"] == [{"float64": [1, 2, 4]}]
    assert case["expected"] == {"float64": [2, 4, 8]}


def test_what_no_case_notices_is_refused(small):
    """The message names the kernel, the line and the alteration."""
    small.edit("book/square.md", "np.array([1.0, 2.0, 4.0])", "np.array([0.0, 1.0])")
    small.edit("book/square.md", "square(x)[2] > 4", "square(x)[1] > 0.5")
    small.edit("book/square.md", "x[2] / 2 > 4", "x[1] / 2 > 0.5")
    small.edit("book/square.md", "square(x)[2]:g", "square(x)[1]:g")
    small.edit("book/square.md", "square(x)[2])", "square(x)[1])")
    status, _, warnings = small.build()
    assert status == 1
    assert "book/square.md:15: WARNING: equation square-power (2.1): `square`, line 8" in warnings
    assert "left operand only, “return x * x” → “return x” is noticed by no case" in warnings
    assert "the cases are too weak: it differs on redraw 0" in warnings


def test_the_same_function_needs_a_reason(small):
    """A version that cannot be told apart is refused where nobody declares it."""
    small.write("book/declared.toml", "")
    status, _, warnings = small.build()
    assert status == 1
    words = "arguments exchanged, “return times(x, 2.0)” → “return times(2.0, x)” is noticed"
    assert f"{words} by no case (the same in 60 redraws)" in warnings


def test_what_is_declared_has_to_be_there(small):
    small.edit("book/declared.toml", "times(2.0, x)", "times(2.0, 2.0)")
    status, _, warnings = small.build()
    assert status == 1
    assert "declared.toml: `double.double`, “return times(x, 2.0)” → “return times(2.0" in warnings


def test_what_is_declared_has_to_be_the_same(small):
    """The reason does not help a version that computes something else."""
    small.edit("book/square.md", "np.array([1.0, 2.0, 4.0])", "np.array([0.0, 1.0, 1.0])")
    small.edit("book/square.md", "square(x)[2] > 4", "square(x)[2] > 0.5")
    small.write("book/declared.toml", SAME + WRONG)
    status, _, warnings = small.build()
    assert status == 1
    assert "declared the same function, but the cases are too weak" in warnings


def test_a_claim_is_told_whole(built):
    """Sentence, criterion, evidence and control stand in the results."""
    row = built.results("claims")["double-grows"]
    assert row["sentence"] == "It makes four larger."
    assert row["criterion"] == "double(x)[2] > 4"
    assert (row["evidence"], row["control"]) == ("it gives 8", "one half")


def test_a_number_in_the_prose_is_computed(built):
    assert 'The largest is <span class="number">8.0</span>.' in built.html("double")
    assert 'The largest is <span class="number">16.0</span>.' in built.html("square")


def test_a_promise_is_a_link(small):
    small.edit("book/double.md", "The largest is", "See {later}`the square <square.square>`: it is")
    status, _, warnings = small.build()
    assert status == 0, warnings
    assert re.search(r'<a [^>]*href="square.html"[^>]*>.*?the square.*?</a>', small.html("double"))


def test_a_form_printed_wrong_names_its_source(small):
    """The index of such forms links to the bibliography."""
    told = 'refute("double-twice", x, x + x, by="NumPy", form="x")\nnumbers(largest'
    small.edit("book/double.md", "import claim", "import refute, claim")
    small.edit("book/double.md", "numbers(largest", told)
    small.edit("book/index.md", "{equation-index}\n```", LISTED)
    small.write("book/references.bib", BOOK)
    status, _, warnings = small.build()
    assert status == 1
    assert "double-twice, wrong form “x”: no source is named" in warnings
    small.edit("book/double.md", 'form="x")', 'form="x", source="euclid1908, VII")')
    status, _, warnings = small.build()
    assert status == 0, warnings
    for page in ("double", "index"):
        told = small.html(page).split("fails as it should")[1]
        words = re.sub(r"<[^>]*>|\s+", " ", told)
        assert re.match(r".{,120}Euclid +\[ +1908 +, VII\]", words), words[:200]
    small.edit("book/double.md", "euclid1908, VII", "euclid1909")
    status, _, warnings = small.build()
    assert status == 1
    assert 'could not find bibtex key "euclid1909"' in warnings


def test_an_equation_is_shown_on_another_page(small):
    """It has its formula, its number as a link home, and its mark."""
    small.edit("book/index.md", "{equation-index}\n```", "{sample} double-twice\n```")
    status, _, warnings = small.build()
    assert status == 0, warnings
    for page, uri in (("index", "double.html#equation-double-twice"), ("double", "#equation")):
        shown = small.html(page).split('<div class="formula">')[1].split("Where it is checked")[0]
        assert "y_n = 2 x_n" in shown and "✓</span> exact" in shown
        assert re.search(f'href="{uri}[^>]*>\\(1.1\\)</a>', shown)
    small.edit("book/index.md", "{sample} double-twice", "{sample} double-thrice")
    status, _, warnings = small.build()
    assert status == 1 and "no equation double-thrice to show" in warnings


def test_chapters_are_numbered_on_through_the_parts(built):
    """The list of chapters has their numbers too, and how much they hold."""
    rows = built.results()
    assert (rows["double-twice"]["number"], rows["square-power"]["number"]) == ("1.1", "2.1")
    listed = built.html("index").split('<ul class="chapters')[1].split("</ul>")[0]
    words = re.sub(r"<[^>]*>|\s+", " ", listed)
    assert re.search("1 Double .*Twice +as much .*5 min · 1 equation ", words), words
    assert re.search("2 Square .*Times itself", words)
    assert 'href="square.html"' in listed


def test_where_it_is_published_is_one_setting(built, small):
    """Without it no chapter leads to another host; with it to Binder, Colab and a picture."""
    assert not re.search(r"mybinder|colab|og:image", built.html("double"))
    small.edit(
        "conf.py", 'book_repository, book_branch = ""', 'book_repository, book_branch = "a/b"'
    )
    small.edit("conf.py", 'html_baseurl = ""', 'html_baseurl = "https://book.example/"')
    status, _, warnings = small.build()
    assert status == 0, warnings
    [notebook] = (small.root / "_build/html/notebooks").glob("*-double.ipynb")
    line = re.search(r'<p class="downloads">(.*?)</p>', small.html("double"))[1]
    for uri in (
        f"https://mybinder.org/v2/gh/a/b/HEAD?urlpath=lab/tree/notebooks/{notebook.name}",
        f"https://colab.research.google.com/github/a/b/blob/gh-pages/notebooks/{notebook.name}",
    ):
        assert f'href="{uri}"' in line
    assert 'href="https://github.com/a/b"' in small.html("index")
    place = re.search(r'"og:image" content="https://book.example/([^"]+)"', small.html("double"))[1]
    head = (small.root / "_build/html" / place).read_bytes()[:24]
    assert (head[1:4], int.from_bytes(head[16:20]), int.from_bytes(head[20:])) == (
        b"PNG",
        1200,
        630,
    )


def test_the_index_of_equations_is_by_chapter(built):
    parts = built.html("index").split('<section id="equations-')[1:]
    assert [part.split('"')[0] for part in parts] == ["double", "square"]
    for part, formula in zip(parts, ("y_n = 2 x_n", "y_n = x_n²"), strict=True):
        assert formula in re.sub(r"<[^>]*>", "", part)


def test_the_faces_are_there(built):
    """In a style sheet that every page has, with their licence, under names of their own."""
    folder = built.root / "_build/html/_static"
    text = (folder / "fonts.css").read_text("utf-8")
    faces = re.findall(r"url\(\"data:font/woff2;base64,([^\"]+)\"\)", text)
    assert len(faces) == 5 and all(base64.b64decode(face)[:4] == b"wOF2" for face in faces)
    assert {*re.findall(r'font-family: "([^"]+)"', text)} == {"Book Serif", "Book Sans"}
    assert (
        "OPEN FONT LICENSE" in (folder / "fonts-licence.txt").read_text("utf-8", "replace").upper()
    )
    for page in ("index", "double", "search"):
        assert re.search(r'href="_static/fonts.css\?v=\w+"', built.html(page))


PICTURE = """

```{interactive} twice
:height: 300 400

Twice *as much*.
```

```{code-cell} ipython3
from dlbook.tools import plotting
fig, ax = plotting.figure(2, 2)
plotting.show(fig, alt="nothing", caption="Nothing.", name="fig-nothing")
plotting.hand_over("twice", x=x, name="a")
```
"""


def test_a_picture_that_answers(small):
    """Its figure says what it is drawn from, which stands beside the page; its caption is set."""
    small.edit("book/double.md", "\n```{equations}", PICTURE + "\n```{equations}")
    status, _, warnings = small.build()
    assert status != 0 and "double.js registers no interactive “twice”" in warnings
    script = small.root / "book/_static/interactive/double.js"
    script.write_text('interactives.register("twice", () => {});', encoding="utf-8")
    small.edit("book/index.md", "{chapters}\n", "{chapters}\n:picture: fig-nothing\n\n")
    status, _, warnings = small.build()
    assert status == 0, warnings
    figure = re.search(r'<figure class="interactive" .*?</figure>', small.html("double"), re.S)[0]
    assert 'data-name="twice" data-page="double" data-learned="double-twice.js"' in figure
    assert "<em>as much</em>" in figure and "data-weight" not in figure
    assert 'style="--wide: 300px; --narrow: 400px"' in figure
    text = (small.root / "_build/html/live/double-twice.js").read_text("utf-8")
    values = json.loads(text[text.index("{", text.index("learned =")) : text.rindex(";")])
    assert values["name"] == "a" and values["x"]["shape"] == [3]
    assert '<div class="thumbnail" aria-hidden="true"><svg' in small.html("index")
    small.edit("book/index.md", "fig-nothing", "fig-none")
    status, _, warnings = small.build()
    assert status == 1 and "no figure fig-none in the chapters listed" in warnings
    small.edit("book/double.md", ":height: 300 400\n\n", "")
    status, _, warnings = small.build()
    assert status != 0 and "the interactive twice needs its height" in warnings


def test_a_bound_needs_a_sharp_case(small):
    """A case that only holds does not show that the bound is near."""
    small.edit("book/double.md", "verify(", 'verify("double-twice", double, x, x, by="NumPy",')
    small.edit(
        "book/double.md",
        'by="NumPy","double-twice"',
        'by="NumPy", relation=">=")\nverify("double-twice"',
    )
    status, _, warnings = small.build()
    assert status == 1
    assert "is a bound, and no check with sharp= reaches 90% of it" in warnings


def test_long_pages_are_handed_out_one_by_one(tmp_path, monkeypatch):
    """The longest first; short ones in stretches; what is written is cut as Sphinx cuts it."""
    monkeypatch.syspath_prepend(str(ROOT / "book" / "_ext"))
    import sharing
    from sphinx import builders
    from sphinx.util.parallel import make_chunks

    sizes = {"a": 40_000, "b": 1_000, "c": 90_000, **{f"p{i}": i for i in range(20)}}
    for name, size in sizes.items():
        (tmp_path / name).write_bytes(b" " * size)
    env = SimpleNamespace(doc2path=lambda name: tmp_path / name)
    sharing.before_read(None, env, [])
    names = sorted(sizes)
    found = builders.make_chunks(names, 2)
    assert found[:2] == [["c"], ["a"]]
    assert sorted(name for chunk in found for name in chunk) == names
    assert found[2:] == make_chunks([name for name in names if sizes[name] < 20_000], 2)
    assert builders.make_chunks(names, 2) == make_chunks(names, 2)


def test_the_foot_says_what_a_page_is_made_from_and_with(built, tmp_path, monkeypatch):
    """Versions always; the commit where the tree has a history of its own."""
    foot = re.search(r'<p class="imprint">(.*?)</p>', built.html("double"), re.S)[1]
    made = f"Made with Python {platform.python_version()}, NumPy {numpy.__version__}, Numba "
    assert made in foot and "commit" not in foot

    monkeypatch.syspath_prepend(str(ROOT / "book" / "_ext"))
    import imprint

    def git(*arguments):
        return imprint.git(tmp_path, "-c", "user.name=x", "-c", "user.email=x@x", *arguments)

    (tmp_path / "inside").mkdir()
    (tmp_path / "inside" / "page.md").write_text("one")
    git("init", "-q")
    assert imprint.commit(tmp_path) == ""
    git("add", ".")
    monkeypatch.setenv("GIT_COMMITTER_DATE", "2026-03-01T12:00:00Z")
    git("commit", "-qm", "x")
    short = git("rev-parse", "--short", "HEAD")
    assert imprint.commit(tmp_path) == f"commit {short} of 1 March 2026"
    assert imprint.made(tmp_path).startswith(f"Made from commit {short} of 1 March 2026, with Py")
    assert imprint.commit(tmp_path / "inside") == ""  # a history around it is not its own
    (tmp_path / "inside" / "page.md").write_text("two")
    assert imprint.commit(tmp_path).endswith("2026, with changes that are not committed")


def test_what_holds_a_name_is_shown_as_the_tests_say_it(monkeypatch):
    """How many by kind, how many shapes, and name by name with reasons; data is no name to be held."""
    monkeypatch.syspath_prepend(str(ROOT / "book" / "_ext"))
    import tested

    def name(name, kind, held, excuse="", shapes=0):
        known = {"module": "fast.dense", "name": name, "kind": kind}
        return known | {"held": held, "excuse": excuse, "shapes": shapes}

    names = [
        name("dense", "kernel", {"literal": "✓", "threads": "small", "own": "✓"}, shapes=14),
        name("helper", "kernel", {"literal": "by dense"}),
        name("plan", "function", {"own": "✓"}, excuse="counts"),
        name("SIZES", "data", {}, excuse="data"),
    ]
    _, head, _, kernels, functions, *_ = tested.kinds(names)
    assert all(
        head.strip("| ").split(" | ")
    )  # a column without a head says nothing when read aloud
    assert kernels == "| kernels | 2 |  |  | 2 |  | 1 |  |  |  | 1 |  |"
    assert functions.endswith("| 1 | 1 |")
    tried = {"rounds": 2, "date": "2026-03-01", "commit": "abc", "shapes": {"a": 400, "b": 30}}
    (said,) = tested.shapes(names, tried)
    assert "tries 14 shapes of 1 kernels" in said
    assert "2 rounds of others have been tried" in said and "430 shapes, at least 30" in said
    assert "round" not in tested.shapes(names, tried | {"rounds": 0})[0]
    lines = tested.by_name(names)
    assert lines[0] == "::::{fold} fast.dense (3)"
    assert "| `dense` | literal (14 shapes), threads (small), own |" in lines
    assert "| `helper` | literal (by dense) |" in lines
    assert "| `plan` | own. No generic suite: counts |" in lines


def test_a_test_program_that_fails_is_named(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "book" / "_ext"))
    import tested

    (tmp_path / "broken.py").write_text("raise ValueError('no rows')")
    with pytest.raises(RuntimeError, match=r"broken.py: ValueError: no rows"):
        tested.told(tmp_path, "broken.py")


def test_altered_versions_face_the_cases_in_one_order():
    """Not in that of a set, which changes from process to process; what exposes one is told on the page."""
    spec = spec_from_file_location("_altered", ROOT / "book" / "_ext" / "altered.py")
    spec.loader.exec_module(altered := module_from_spec(spec))
    module, declared = import_module("dlbook.scaling"), SimpleNamespace(where=lambda name: {})
    blobs = [f"{k:02}".encode() for k in range(40)]
    for given in (blobs, blobs[::-1]):
        (job,) = altered.jobs_of(
            "scaling-amdahl", module, {"scaling-amdahl": [*given, b"1"]}, declared
        )
        assert job.cases == [b"1", *blobs]
