"""Build the book once; then each page, numbered equation and claim is a test of its own.

Labels are read from the pages at collection, so a check that vanished is a failure and not a
missing test.
"""

import ast
import base64
import html
import json
import re
from xml.etree import ElementTree

import pytest
from building import OUT
from compiled import compiled_only
from pages import ROOT, WIDEST, argument, calls, chapters, claims, compared, labels, pages

pytestmark = compiled_only  # the pages time their kernels
PROMISED = json.loads((ROOT / "tests" / "promised.json").read_text(encoding="utf-8"))
LOOSEST = {"float32": 1e-4, "standard errors": 5, "exact": 1e-5}


@pytest.mark.parametrize(("label", "where"), [pytest.param(*row, id=row[0]) for row in labels()])
def test_equation(build, label, where):
    """A check of this numbered equation ran and passed."""
    row = build.row("equations", label, where)
    assert row["passed"] and row["number"], (
        f"{where}: equation ({row['number']}) {label}: {row['detail'] or 'no check ran'}"
    )
    assert row["oracle"] and row["count"] > 0 and row["function"], (
        f"{where}: {label}: incomplete record {row}"
    )
    kind = "float32" if row["float32"] else row["unit"]
    loosest = LOOSEST.get(kind, LOOSEST["exact"])
    assert row["tolerance"] <= loosest, (
        f"{where}: {label}: a tolerance of {row['tolerance']:g} proves little"
    )


@pytest.mark.parametrize(("label", "where"), [pytest.param(*row, id=row[0]) for row in labels()])
def test_altered_kernels(build, label, where):
    """Every altered version of the kernel is rejected, or declared the same function."""
    row = build.row("equations", label, where)
    lives = [w for w in build.warnings.splitlines() if label in w and "[verified.survivor]" in w]
    assert not lives, "\n".join(lives)
    assert row["altered"] == row["rejected"] + row["declared_equal"] > 0, f"{where}: {label}: {row}"
    assert row["rejected"] > row["declared_equal"], f"{where}: {label}: hardly anything is rejected"


@pytest.mark.parametrize(("label", "where"), [pytest.param(*row, id=row[0]) for row in claims()])
def test_claim(build, label, where):
    """The measured claim holds."""
    row = build.row("claims", label, where)
    assert row["passed"], f"{where}: claim {label}: {row['evidence']}"


@pytest.mark.parametrize("page", pages())
def test_page(build, page):
    """The page ran, and Sphinx has no complaint beyond the equations reported above."""
    report = build.report(page)
    if report and "VerificationError" not in report:
        pytest.fail(f"book/{page}.md: {report}", pytrace=False)
    elsewhere = (
        "[verified.failed]",
        "[verified.unverified]",
        "[verified.survivor]",
        "[mystnb.exec]",
        "Executing notebook failed",
    )
    mine = [
        w
        for w in build.warnings.splitlines()
        if f"/{page}.md:" in w and not any(e in w for e in elsewhere)
    ]
    assert not mine, "\n".join(mine)
    assert (OUT / f"{page}.html").is_file()


@pytest.mark.parametrize("page", pages())
def test_outputs_are_meant_for_readers(build, page):
    """No cell leaves what Python calls an object that has no words, nor a figure without caption."""
    shown = (OUT / f"{page}.html").read_text(encoding="utf-8")
    assert not re.findall(r"&lt;[^&]*\b(?:at 0x|object of)|\[Text\(", shown)
    assert not re.findall(r"_images/[0-9a-f]{32,}\.png", shown)


@pytest.mark.parametrize("stem", chapters())
def test_promised_equations(build, stem):
    """Every equation that the syllabus promises for a chapter is on its page."""
    missing = [slug for slug in PROMISED[stem] if f"{stem}-{slug}" not in (build.equations or {})]
    assert not missing, f"book/{stem}.md lacks the equations {', '.join(missing)}"


@pytest.mark.parametrize("call", calls("verify", "refute"), ids=lambda call: call.where)
def test_oracle_is_independent(build, call):
    """The oracle of an equation does not call the kernel that it judges."""
    label = argument(call, 0, "label").value
    oracle = compared(call)[1]
    kernel = (build.equations or {}).get(label, {}).get("function") or ""
    names = {
        n.id for n in ast.walk(oracle) if isinstance(n, ast.Name)
    }  # special.softmax is SciPy's
    assert kernel.rsplit(".", 1)[-1] not in names, (
        f"{call.where}: the oracle of {label} calls {kernel}"
    )


ARITY = {"msubsup": 3, "munderover": 3} | dict.fromkeys(
    ("mfrac", "msub", "msup", "munder", "mover", "mroot"), 2
)


@pytest.mark.parametrize("page", pages())
def test_formulas_can_be_read_aloud(build, page):
    """An element of MathML has as many parts as it takes; with others a reader says anything."""
    built = (OUT / f"{page}.html").read_text(encoding="utf-8")
    for text in re.findall(r"<math .*?</math>", built, re.S):
        for part in ElementTree.fromstring(text).iter():
            name = part.tag.rpartition("}")[2]
            assert len(part) == ARITY.get(name, len(part)), f"book/{page}.md: {text}"


@pytest.mark.parametrize("page", pages())
def test_lines_fit(build, page):
    """Neither code nor what a cell printed is wider than the column."""
    built = (OUT / f"{page}.html").read_text(encoding="utf-8")
    blocks = re.findall(r"<pre\b[^>]*>(.*?)</pre>", built, re.S)
    lines = html.unescape(re.sub(r"<[^>]+>", "", "\n".join(blocks))).splitlines()
    wide = [line for line in lines if len(line) > WIDEST]
    assert not wide, f"book/{page}.md: more than {WIDEST} columns: {wide[0]}"


def test_readme_counts_the_equations(build):
    """The table of chapters in the README says how many equations each has verified."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    told = re.findall(r"^\| (\d+) [^|]+ \| `(\w+)` \| (\d+) \|$", readme, re.M)
    passed = [row["page"] for row in (build.equations or {}).values() if row["passed"]]
    counted = [(str(k + 1), stem, str(passed.count(stem))) for k, stem in enumerate(chapters())]
    assert told == counted, f"README.md says {told}, the build says {counted}"


def test_figures_have_words(build):
    """No picture on any page is without an alternative text."""
    for page in pages():
        built = (OUT / f"{page}.html").read_text(encoding="utf-8")
        for tag in re.findall(r"<img\b[^>]*>", built):
            alt = re.search(r'alt="([^"]*)"', tag)
            assert alt and alt[1].strip() and not alt[1].startswith("_images/"), (
                f"book/{page}.md: {tag}"
            )


def test_build(build):
    """The whole build passes with warnings as errors."""
    kept = [
        w
        for w in build.warnings.splitlines()
        if ("WARNING" in w or "ERROR" in w) and "[verified." not in w
    ]
    assert build.status == 0, "\n".join(kept) or "see the equations and claims above"


def test_no_file_says_where_it_was_built(build):
    """Neither as text nor in what is packed for the browser, so that two folders build the same."""
    here, packed = str(ROOT).encode(), 0
    files = [p for p in OUT.rglob("*") if p.is_file() and ".doctrees" not in p.parts]
    for path in files:
        content = path.read_bytes()
        assert here not in content, path.relative_to(OUT)
        if path.parent == OUT / "live":
            for text in re.findall(rb"[A-Za-z0-9+/]{400,}={0,2}", content):
                code = base64.b64decode(text + b"=" * (-len(text) % 4))
                assert here not in code, path.relative_to(OUT)
                packed += code.startswith(b"\0asm")
    assert len(files) > 400 and packed > 20


def test_equations_are_listed_in_one_order(build):
    """And not in that in which processes were done with their pages."""
    for kind, begin in (("cases", ""), ("altered", "(window.dlbook ??= {}).altered = ")):
        found = sorted((OUT / kind).iterdir())
        assert len(found) > 20
        for path in found:
            text = path.read_text(encoding="utf-8").removeprefix(begin).rstrip(";\n")
            labels = [*json.loads(text)]
            assert labels == sorted(labels), path.name
    text = (OUT / "search-equations.js").read_text(encoding="utf-8")
    pages_ = [row[2] for row in json.loads(text.partition(".equations = ")[2].rstrip(";\n"))]
    assert pages_ == sorted(pages_) and len({*pages_}) > 20


def test_the_front_page_says_what_is_wrong_with_an_answer(build):
    """It shows an equation with its mark, and the exercise on it names a mistake."""
    page = (OUT / "index.html").read_text(encoding="utf-8")
    number = re.escape(build.row("equations", "backprop-bp2", "index")["number"])
    assert re.search(rf'href="backprop.html#equation-backprop-bp2"[^>]*>\({number}\)</a>', page)
    assert "✗ A known mistake: the slope" in page
