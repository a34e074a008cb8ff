"""What can be said of pages and modules without building them: the house is in order."""

import ast
import importlib
import re

import pytest
from pages import (
    BOOK,
    ROOT,
    WIDEST,
    argument,
    calls,
    cells,
    chapters,
    compared,
    decided,
    pages,
    text_of,
)

from dlbook import exercises
from dlbook.tools import listing
from dlbook.tools.jit import imported_names

CHAPTERS = chapters()
MODULES = sorted(p.stem for p in (ROOT / "dlbook").glob("[a-z]*.py"))


@pytest.mark.parametrize("stem", sorted({*CHAPTERS, *MODULES}))
def test_one_stem(stem):
    """A chapter is one page, one module, one test file and one API page, listed in the index."""
    parts = [f"dlbook/{stem}.py", f"book/{stem}.md", f"book/api/{stem}.md", f"tests/test_{stem}.py"]
    missing = [part for part in parts if not (ROOT / part).is_file()]
    assert not missing, f"chapter {stem} lacks {', '.join(missing)}"
    assert stem in CHAPTERS, f"book/index.md does not list {stem}"


# What each floor of the house may import, beside its own files; chapters only earlier ones
FLOORS = {
    "tools": (),
    "fast": ("tools", "matmul", "optimization"),
    "chapters": ("tools", "fast"),
    "nets": ("tools", "fast", "chapters"),
    "exercises": ("tools", "fast", "chapters", "nets"),
}
SIZES = {"fast": 350, "nets": 400, "chapters": 850}  # lines of a file
LARGER = {  # with the reason why
    "backprop": "until its fast networks stand in nets",
    "linear_classification": "what others stand on",
    "linear_regression": "what others stand on",
    "optimization": "what others stand on, with the kernels of every update",
}


def floor_of(path):
    """Return the floor of a file of the package, or None for what stands outside."""
    folder = path.parent.name
    if folder in FLOORS:
        return folder
    return "chapters" if path.stem in CHAPTERS else None


HOUSE = sorted(p for p in (ROOT / "dlbook").rglob("*.py") if floor_of(p))


@pytest.mark.parametrize("path", HOUSE, ids=lambda p: f"{p.parent.name}/{p.stem}")
def test_imports_point_down(path):
    """A file imports its own floor and those below; a chapter earlier chapters only."""
    floor = floor_of(path)
    package = ".".join(path.relative_to(ROOT).parent.parts)
    code = path.read_text(encoding="utf-8")
    used = {
        name.split(".")[1]
        for name in imported_names(code, package)
        if name.startswith("dlbook.") and len(name.split(".")) > 1
    }
    allowed = {floor, "__version__", *FLOORS[floor]}
    if "chapters" in allowed:
        allowed |= {*CHAPTERS} if floor != "chapters" else {*CHAPTERS[: CHAPTERS.index(path.stem)]}
    assert not used - allowed, f"{path.name} imports {', '.join(sorted(used - allowed))}"


@pytest.mark.parametrize("path", HOUSE, ids=lambda p: f"{p.parent.name}/{p.stem}")
def test_a_room_has_one_purpose(path):
    """No file is larger than its floor allows, unless there is a reason."""
    most = SIZES.get(floor_of(path))
    size = len(path.read_text(encoding="utf-8").splitlines())
    if most is None or (floor_of(path) == "chapters" and path.stem in LARGER):
        return
    assert size <= most, f"{path.name} has {size} lines, more than {most}"


def test_larger_rooms_are_larger():
    """No reason stands where none is needed."""
    for stem in LARGER:
        text = (ROOT / "dlbook" / f"{stem}.py").read_text(encoding="utf-8")
        assert len(text.splitlines()) > SIZES["chapters"], stem


@pytest.mark.parametrize("path", HOUSE, ids=lambda p: f"{p.parent.name}/{p.stem}")
def test_docstrings_have_no_roles_of_pages(path):
    """What the reference prints is reStructuredText: roles as pages write them would stay raw."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)):
            prose = re.sub(r"``.*?``+", "", ast.get_docstring(node) or "", flags=re.S)
            found = re.findall(r"\{[a-z:]+\}`", prose)
            assert not found, f"{path.name}: {found[0]} in the docstring of {node}"


@pytest.mark.parametrize("path", HOUSE, ids=lambda p: f"{p.parent.name}/{p.stem}")
def test_private_names_stay_in_their_file(path):
    """No name that begins with an underscore is imported."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("dlbook"):
            private = [n.name for n in node.names if n.name.startswith("_") and n.name[1] != "_"]
            assert not private, f"{path.name} imports {', '.join(private)}"


@pytest.mark.parametrize("stem", MODULES)
def test_all_is_complete(stem):
    """What a module says it has is there, once."""
    module = importlib.import_module(f"dlbook.{stem}")
    assert all(hasattr(module, name) for name in module.__all__)
    assert len(set(module.__all__)) == len(module.__all__)


@pytest.mark.parametrize("stem", CHAPTERS)
def test_order_of_a_page(stem):
    """The fixed parts stand at the end of the page, in one order."""
    headings = re.findall(r"^## (.+)$", text_of(stem), re.M)
    ends = [
        "Often printed wrong",
        "Exercises",
        "The same in PyTorch",
        "All equations of this chapter",
        "What you have now, and where it goes next",
        "Sources",
    ]
    found = [h for h in headings if h in ends]
    wanted = [e for e in ends if e in found or stem != "verification"]
    assert found == wanted, f"book/{stem}.md has the parts {found}, expected {wanted}"


@pytest.mark.parametrize("stem", CHAPTERS)
def test_exercises(stem):
    """At least five exercises, each with a folded solution."""
    exercises = re.findall(r"^:::+\{exercise\}.*?^:::+$", text_of(stem), re.M | re.S)
    assert len(exercises) >= 5
    assert all("{fold} Solution" in exercise for exercise in exercises)


@pytest.mark.parametrize("stem", CHAPTERS)
def test_cells_are_short(stem):
    """Shown cells have at most 12 lines; no line is wider than the column."""
    for cell in cells(stem):
        lines = cell.code.strip("\n").splitlines()
        wide = [cell.line + i for i, line in enumerate(lines) if len(line) > WIDEST]
        assert not wide, f"book/{stem}.md:{wide[0]}: more than {WIDEST} columns"
        folded = "hide-input" in cell.options or "hide-cell" in cell.options
        assert folded or len(lines) <= 12, (
            f"book/{stem}.md:{cell.line}: a cell of {len(lines)} lines"
        )


@pytest.mark.parametrize("stem", CHAPTERS)
def test_evidence_is_not_folded(stem):
    """A cell that only sharpens the checks of equations shows one line; a claim's evidence is for readers."""
    hidden = [c.line for c in cells(stem) if "checks" in c.options and "claim(" in c.code]
    assert not hidden, f"book/{stem}.md:{hidden[0]}: a claim in a cell of checks"


@pytest.mark.parametrize("stem", CHAPTERS)
def test_shown_kernels_fit(stem):
    """A kernel on a page has at most 20 lines of code and fits the column."""
    for name in re.findall(r"\{kernel\} (\S+)", text_of(stem)):
        _, source = listing.kernel_source(name)
        lines = source.splitlines()
        wide = [
            line for line in lines if len(re.sub(r'(?<=""")\([^)]*\)', "(0.00)", line)) > WIDEST
        ]
        assert not wide, f"{name}: {wide[0]}"


@pytest.mark.parametrize("stem", CHAPTERS)
def test_page_uses_the_module(stem):
    """A page imports what its module has and never defines it again."""
    public = set(importlib.import_module(f"dlbook.{stem}").__all__)
    for cell in cells(stem):
        for node in ast.walk(ast.parse(cell.code)):
            if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
                assert node.name not in public, (
                    f"book/{stem}.md:{cell.line}: defines {node.name} again"
                )


def test_pages_have_only_known_parts():
    """Pages without cells need no header; pages with cells have the same one."""
    headers = {text_of(p).split("\n---\n")[0] for p in pages() if "{code-cell}" in text_of(p)}
    assert len(headers) == 1


# Time: it may be shown, and nothing may hang on it

CLOCKS = {"median_seconds", "monotonic", "perf_counter", "process_time", "thread_time"}
JUDGES = {"assert", "claim", "refute", "verify"}


def by_the_clock(code):
    """Return the lines on which something is asserted that a clock has a part in.

    Names are followed through assignments, loops and functions, in the order in which they stand.
    """
    timed, found = set(CLOCKS), []

    def has_time(node):
        own = set()  # names of its own: arguments, and what comprehensions run over
        for inner in ast.walk(node):
            if isinstance(inner, ast.comprehension):
                own |= {n.id for n in ast.walk(inner.target) if isinstance(n, ast.Name)}
            elif isinstance(inner, ast.arg):
                own.add(inner.arg)
        names = (getattr(n, "id", getattr(n, "attr", None)) for n in ast.walk(node))
        return any(name in timed - own for name in names)

    def mark(target, is_timed):
        for node in ast.walk(target):
            if isinstance(node, ast.Name) and is_timed:
                timed.add(node.id)
            elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                timed.discard(node.id)

    def read(node):
        if isinstance(node, (ast.Assign, ast.AnnAssign)):
            for target in getattr(node, "targets", None) or [node.target]:
                mark(target, has_time(node.value))
        elif isinstance(node, ast.AugAssign):
            mark(node.target, has_time(node))
        elif isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            mark(ast.Name(node.name, ast.Store()), has_time(node))
        elif isinstance(node, (ast.For, ast.While, ast.With, ast.If)):
            if isinstance(node, ast.For):
                mark(node.target, has_time(node.iter))
            for _ in range(2):  # what the last round has set, the next one may read
                for part in (*node.body, *getattr(node, "orelse", ())):
                    read(part)
        for inner in ast.walk(node):
            name = getattr(getattr(inner, "func", None), "id", None)
            if isinstance(inner, ast.Assert):
                name = "assert"
            if name in JUDGES and has_time(inner):
                found.append(inner.lineno)

    for statement in ast.parse(code).body:
        read(statement)
    return sorted(set(found))


@pytest.mark.parametrize(
    ("code", "lines"),
    [
        ("t = perf_counter()\nd = perf_counter() - t\nclaim('a', d < 3, f'{n}')", [3]),
        ("a, b = median_seconds(f, g)\nassert a < b\na = 3\nassert a < 4\nassert b", [2, 5]),
        ("s = {}\nfor k in (1, 2):\n    s[k] = thread_time()\nverify('a', s[1], 2, by='b')", [4]),
        (
            "def f():\n    return time.process_time()\nx = [f() for _ in y]\nclaim('a', k, f'{x}')",
            [4],
        ),
        ("(t,) = median_seconds(f)\nprint(t)\nclaim('a', n < 3, f'{n}')", []),
    ],
)
def test_a_clock_is_followed(code, lines):
    assert by_the_clock(code) == lines


@pytest.mark.parametrize("page", [page for page in pages() if cells(page)])
def test_nothing_hangs_on_the_clock(page):
    """Where operations and bytes can be counted they are; a time is shown and not asserted."""
    lines = text_of(page).count("\n") * [""]
    for cell in cells(page):
        code = cell.code.splitlines()
        lines[cell.line - 1 : cell.line - 1 + len(code)] = code
    found = by_the_clock("\n".join(lines))
    assert not found, ", ".join(f"book/{page}.md:{line}" for line in found) + " asserts a time"


@pytest.mark.parametrize("call", calls("verify", "claim", "refute"), ids=lambda call: call.where)
def test_check_is_honest(call):
    """Labels are literal; a claim is decided by a comparison, an equation by another computation."""
    label = argument(call, 0, "label")
    assert isinstance(label, ast.Constant), f"{call.where}: the label must be a literal string"
    if getattr(call.node.func, "id", None) == "claim":
        holds, evidence = decided(call)
        assert not isinstance(holds, ast.Constant), f"{call.where}: the result is written down"
        control = argument(call, None, "control")
        written = isinstance(control, ast.Tuple) and isinstance(control.elts[1], ast.Constant)
        assert not written, f"{call.where}: what the control gives is written down"
        measured = any(isinstance(n, (ast.FormattedValue, ast.Name)) for n in ast.walk(evidence))
        assert measured, f"{call.where}: evidence without a measured number"
    else:
        actual, expected = compared(call)
        assert expected is not None, f"{call.where}: nothing to compare with"
        assert ast.dump(actual) != ast.dump(expected), f"{call.where}: compares a value with itself"


def test_a_refuted_form_is_a_mistake_of_its_exercise():
    """Where an exercise asks for the equation, it names the form that is printed wrong."""
    known, met = {}, 0
    for chapter in exercises.CHAPTERS:
        known |= exercises.exercises(chapter)
    for call in calls("refute"):
        exercise = known.get(call.node.args[0].value)
        named = {k.arg: k.value for k in call.node.keywords}.get("mistake")
        if exercise is None:
            assert named is None, f"{call.where}: there is no exercise of this label"
        else:
            met += 1
            names = [mistake.name for mistake in exercise.mistakes]
            assert named is not None and named.value in names, f"{call.where}: one of {names}"
    assert met


@pytest.mark.parametrize("call", calls("show", "slider"), ids=lambda call: call.where)
def test_alternative_text_is_computed(call):
    """The words for a figure carry numbers of the cell, so they cannot go stale."""
    if getattr(call.node.func, "attr", None) != "show":
        return
    alt = {k.arg: k.value for k in call.node.keywords}.get("alt")
    assert alt is not None, f"{call.where}: a figure without alternative text"
    assert not isinstance(alt, ast.Constant), (
        f"{call.where}: the alternative text holds no computed number"
    )


def test_api_pages_are_listed():
    text = (BOOK / "api" / "index.md").read_text(encoding="utf-8")
    listed = re.findall(r"^([a-z_]+)$", text.split(":maxdepth:")[1], re.M)
    chapters_listed = [name for name in listed if name in CHAPTERS]
    assert chapters_listed == CHAPTERS


@pytest.mark.parametrize("stem", CHAPTERS)
def test_shown_blocks_fit(stem):
    """Code that is shown and not run keeps to the column too."""
    for block in re.findall(r"^```python\n(.*?)^```", text_of(stem), re.M | re.S):
        wide = [line for line in block.splitlines() if len(line) > WIDEST]
        assert not wide, f"book/{stem}.md: {wide[0]}"


# The glossary


def glossary():
    """Return [(names of a term, what is said of it)] in the order of the page."""
    body = re.search(r"^```\{glossary\}\n(.*?)^```$", text_of("glossary"), re.M | re.S)[1]
    entries = [entry.splitlines() for entry in body.strip("\n").split("\n\n")]
    return [
        (
            [line for line in lines if not line.startswith(" ")],
            " ".join(line.strip() for line in lines if line.startswith(" ")),
        )
        for lines in entries
    ]


def prose_of(page):
    """Return the text of a page without its cells."""
    return re.sub(r"^(`{3,})\{code-cell\}.*?^\1[ \t]*$", "", text_of(page), flags=re.M | re.S)


def uses(text, word):
    """Return whether a text has a word, in the singular or the plural, with hyphens or without."""
    spaced = r"[\s-]+".join(map(re.escape, re.split(r"[\s-]+", word)))
    return bool(re.search(rf"(?<!\w){spaced}(?:s|es)?(?!\w)", text, re.I))


def test_the_glossary_is_in_order():
    """Its terms stand in the order of the alphabet, each once."""
    first = [names[0].lower() for names, _ in glossary()]
    every = [name.lower() for names, _ in glossary() for name in names]
    assert first == sorted(first)
    assert len(set(every)) == len(every)


@pytest.mark.parametrize("entry", glossary(), ids=lambda entry: entry[0][0])
def test_a_term_stands_on_the_page_it_links(entry):
    """Each page and each equation that the glossary names for a word has to do with the word."""
    names, said = entry
    linked = re.findall(r"\{doc\}`(\w+)`", said)
    assert linked, f"{names[0]} links no page"
    for page in linked:
        assert any(uses(prose_of(page), name) for name in names), f"book/{page}.md: no {names}"
    for label in re.findall(r"\{eq\}`([\w-]+)`", said):
        assert label.split("-")[0] in linked, f"{names[0]}: {label} is of no page that is linked"


def test_the_map_has_what_the_chapters_need():
    """The arrows of *Ways through the book* are what stands at the head of each chapter."""
    code = next(cell.code for cell in cells("paths") if "needs = {" in cell.code)
    drawn = ast.literal_eval(code[code.index("needs = ") + len("needs = ") :])
    need = re.compile(r"^\*{1,2}You need\*{1,2}(.*?)\*{1,2}You will", re.M | re.S)
    said = {
        stem: set(re.findall(r"\{doc\}`(\w+)`", need.search(text_of(stem))[1])) for stem in CHAPTERS
    }
    assert {stem: set(wanted) for stem, wanted in drawn.items()} == said
