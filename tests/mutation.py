"""Say which alterations of the package its tests let live: ``make mutation`` runs it.

Each alteration is one slip at one place of one function (`dlbook.tools.altering`). Where a module has
kernels, all kernels run as plain Python; where it has none, they are compiled, and the tests are quick
enough for whole networks. For each module one process imports the tests and forks a child for every alteration;
the child gives the altered code to the function and runs the tests that reach it, until one fails.
Nothing is written into the tree but the results.

Which tests reach which functions is found once, by running each test file with a trace of calls.
A test that takes longer than `SLOW` there is left out, and so is what tests do in other processes.
"""

import argparse
import ast
import copy
import datetime
import gc
import hashlib
import json
import os
import random
import re
import select
import signal
import subprocess
import sys
import time
import tomllib
from contextlib import contextmanager, suppress
from functools import cache, partial
from importlib import import_module
from pathlib import Path
from types import FunctionType
from typing import NamedTuple

import pytest
from tqdm import tqdm

from dlbook.tools import altering

ROOT = Path(__file__).resolve().parents[1]
PACKAGE, WORK = ROOT / "dlbook", ROOT / "_build" / "mutation"
RESULTS = ROOT / "tests" / "mutation.json"
EQUIVALENT = ROOT / "tests" / "equivalent.toml"
MISTAKES = ROOT / "tests" / "mistakes.toml"
SLOW = 40  # seconds of one test, traced
BUDGET = 15  # seconds of tests for one alteration, the most particular ones first
MEMORY = 4 * 2**30  # bytes that an alteration may use above what the tests do
SHAPES = 6  # of each row of the registry
PATIENCE = 5  # seconds that an alteration may take above five times what its tests take
LEAST = 0.95  # share that has to be found
APART = {  # they build the book, start processes, or are about this lane
    "benchmarks", "book", "cards", "classes", "extension", "floors", "formats", "fuzz", "kernels_cold",
    "mutation", "notebooks", "pages", "site", "typing", "wasm",
}  # fmt: skip
OF_NUMBERS = "result doubled", "result negated"  # twice True is as true
FOLDERS = {"DLBOOK_CACHE_DIR": "kernels", "HOME": "home", "XDG_CACHE_HOME": "cache"}


# Files and digests


def modules():
    """Return the dotted names, without the package's, of the modules that are altered."""
    found = [*PACKAGE.glob("*.py"), *(p for f in ("fast", "nets", "tools") for p in (PACKAGE / f).glob("*.py"))]  # fmt: skip
    names = [".".join(p.relative_to(PACKAGE).with_suffix("").parts) for p in found]
    names = [name for name in names if not name.endswith("__")]
    groups = ["fast", "nets", "tools"]
    return sorted(names, key=lambda n: (groups.index(n.split(".")[0]) if "." in n else 1.5, n))


def path_of(module):
    return PACKAGE.joinpath(*module.split(".")).with_suffix(".py")


def has_kernels(module):
    """Return whether something in a module is compiled, so that altering it needs plain Python."""
    return bool(
        re.search(r"@njit|@overload|@intrinsic|llvmlite", path_of(module).read_text("utf-8"))
    )


def digest(*paths):
    """Return a short name for what some files say."""
    found = hashlib.sha256()
    for path in paths:
        found.update(str(path.relative_to(ROOT)).encode() + b"\0" + path.read_bytes())
    return found.hexdigest()[:16]


def test_files():
    """Return the test files whose tests may find an alteration."""
    files = sorted([*(ROOT / "tests").glob("test_*.py"), *(ROOT / "tests/nets").glob("test_*.py")])
    return [path for path in files if path.stem.removeprefix("test_") not in APART]


def helpers():
    """Return the Python files of the tests that hold no tests themselves."""
    found = sorted((ROOT / "tests").glob("*.py"))
    return [p for p in found if not p.name.startswith("test_") and p != Path(__file__)]


# Which tests reach what


class Reach:
    """A plugin that keeps for each test its seconds and the functions it calls, by module."""

    def __init__(self):
        self.found, self.called = {}, set()

    def _call(self, frame, event, argument):
        self.called.add(frame.f_code)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item, nextitem):
        self.called, self.passed, begin = set(), False, time.perf_counter()
        signal.setitimer(signal.ITIMER_REAL, SLOW)
        sys.settrace(self._call)
        try:
            return (yield)
        finally:
            sys.settrace(None)
            signal.setitimer(signal.ITIMER_REAL, 0)
            reached = {}
            for code in self.called:
                with suppress(ValueError):
                    path = located(code.co_filename).relative_to(PACKAGE).with_suffix("")
                    name = code.co_qualname.split(".<locals>")[0]
                    reached.setdefault(".".join(path.parts), set()).add(name)
            if self.passed and reached:
                seconds = time.perf_counter() - begin
                functions = {module: sorted(names) for module, names in reached.items()}
                self.found[item.nodeid] = [round(seconds, 3), functions]

    def pytest_runtest_logreport(self, report):
        if report.when == "call":
            self.passed = report.passed


@cache
def located(name):
    return Path(os.path.realpath(name))


def late(*_):
    raise TimeoutError(f"more than {SLOW} s")


def reached_by(path):
    """Run one test file in this process; return what its tests reach."""
    signal.signal(signal.SIGALRM, late)
    plugin = Reach()
    with silent():
        pytest.main(arguments([path]), plugins=[plugin])
    return plugin.found


@contextmanager
def silent():
    """Let nothing that is written to standard output and error be seen."""
    kept, nowhere = [os.dup(1), os.dup(2)], os.open(os.devnull, os.O_WRONLY)
    sys.stdout.flush()
    try:
        os.dup2(nowhere, 1)
        os.dup2(nowhere, 2)
        yield
    finally:
        for stream, old in zip((1, 2), kept, strict=True):
            os.dup2(old, stream)
            os.close(old)
        os.close(nowhere)


def arguments(paths):
    """Return the arguments of pytest for some files."""
    how = ["-q", "-s", "-p", "no:cacheprovider", "--tb=no", f"--basetemp={WORK / 'tmp'}"]
    return [*how, f"--rootdir={ROOT}", f"--config-file={ROOT / 'pyproject.toml'}", *map(str, paths)]


def reach(files, interpreted):
    """Return what the tests of some files reach, by name; what is known is not run again."""
    known = WORK / ("reach.json" if interpreted else "reach-compiled.json")
    kept = json.loads(known.read_text()) if known.exists() else {}
    package = digest(*sorted(PACKAGE.rglob("*.py")), *helpers())
    found = {}
    with tqdm(files, desc="what tests reach", unit="file", leave=False, disable=None) as bar:
        for path in bar:
            name, state = str(path.relative_to(ROOT)), f"{package} {digest(path)} {SHAPES}"
            if kept.get(name, [""])[0] != state:
                bar.set_postfix_str(path.stem)
                kept[name] = [state, child("reach", name, interpreted=interpreted)[-1]]
                known.write_text(json.dumps(kept))
            found |= kept[name][1]
    return found


# Alterations


class Alteration(NamedTuple):
    """A function, and what takes its place."""

    function: str  # its qualified name
    kind: str
    line: int
    was: str
    now: str
    codes: list  # of (code object, the one that takes its place)


def definitions(tree, classes=()):
    """Yield each function of a module or class, and the classes it stands in; not those of protocols."""
    for node in tree.body:
        if isinstance(node, ast.FunctionDef):
            yield node, classes
        elif isinstance(node, ast.ClassDef) and "Protocol" not in map(ast.unparse, node.bases):
            yield from definitions(node, (*classes, node.name))


def does_something(body):
    """Return whether a function does more than refuse, without its words."""
    return any(
        not isinstance(node, ast.Raise | ast.Pass)
        and not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))
        for node in body
    )


def is_truth(text):
    """Return whether a text is one that returns True or False; a comparison alone may be one of arrays."""
    try:
        node = ast.parse(f"def f():\n    {text}").body[0].body[0]
    except SyntaxError:
        return False

    def truth(value, alone=True):
        if isinstance(value, ast.BoolOp):
            return all(truth(part, alone=False) for part in value.values)
        called = isinstance(value, ast.Call) and ast.unparse(value.func)
        return (
            (isinstance(value, ast.Compare) and not alone)
            or (isinstance(value, ast.UnaryOp) and isinstance(value.op, ast.Not))
            or (isinstance(value, ast.Constant) and isinstance(value.value, bool))
            or called in ("all", "any", "isinstance", "bool", "hasattr", "issubclass")
        )

    return isinstance(node, ast.Return) and truth(node.value)


def codes_of(definition, classes, path, free=()):
    """Return the code objects of a definition, each by its name and how many of it came before."""
    if free:  # so that the altered function has the cells of the original
        definition = copy.copy(definition)
        names = [ast.Expr(ast.Name(name, ast.Load())) for name in free]
        definition.body = [ast.If(ast.Constant(False), names, []), *definition.body]
    body = definition
    for name in reversed(classes):
        body = ast.ClassDef(name, [], [], [body], [], type_params=[])
    tree = ast.fix_missing_locations(ast.Module([body], []))
    found = {}

    def walk(code):
        for part in code.co_consts:
            if isinstance(part, type(code)):
                if part.co_name not in classes:
                    found[part.co_qualname, sum(k[0] == part.co_qualname for k in found)] = part
                walk(part)

    walk(compile(tree, str(path), "exec", dont_inherit=True))
    return found


def exchanged(old, new, classes, path):
    """Return pairs of code objects: those of a definition, and those of another in its place."""
    before = codes_of(old, classes, path)
    after = codes_of(new, classes, path)
    key = next(iter(before))
    if free := set(before[key].co_freevars) - set(after[key].co_freevars):
        after = codes_of(new, classes, path, sorted(free))
    return [
        (code, after[key])
        for key, code in before.items()
        if key in after and code.co_freevars == after[key].co_freevars
    ]


def plain(text):
    """Return a text without what changes nothing in Python: the kind of an index, how an array lies,
    which negative number means all.
    """
    text = re.sub(r"UNSIGNED\(([\w ]+)\)", r"\1", text)
    text = re.sub(r"any_layout\(((?:[^()]|\([^()]*\))*)\)", r"\1", text)
    return re.sub(r"reshape\(-\d", "reshape(-1", text)


def alterations(path):
    """Yield the alterations of a file, without code, each with a function that makes its code."""
    for node, classes in definitions(ast.parse(path.read_text(encoding="utf-8"))):
        bare, name = copy.copy(node), ".".join((*classes, node.name))
        if ast.get_docstring(node):
            bare.body = node.body[1:] or [ast.Pass()]
        if not does_something(bare.body):
            continue
        for kind, line, was, now, altered in altering.trees(ast.Module([bare], [])):
            if plain(was) == plain(now) or (kind in OF_NUMBERS and is_truth(was)):
                continue
            make = partial(exchanged, node, altered.body[0], classes, path)
            yield Alteration(name, kind, line, was, now, []), make


def mistake(path, was, now):
    """Return a catalogued mistake as an alteration.

    Raises
    ------
    ValueError
        If the text is not there once, or nothing changes in a function.
    """
    text = path.read_text(encoding="utf-8")
    if text.count(was) != 1:
        raise ValueError(f"{path.name} has {was!r} {text.count(was)} times, expected once")
    old, new = (list(definitions(ast.parse(t))) for t in (text, text.replace(was, now)))
    for (one, classes), (other, _) in zip(old, new, strict=True):
        if ast.unparse(one) != ast.unparse(other):
            line = text[: text.index(was)].count("\n") + 1
            codes = exchanged(one, other, classes, path)
            return Alteration(".".join((*classes, one.name)), "mistake", line, was, now, codes)
    raise ValueError(f"{path.name}: {now!r} changes no function")


def functions_of(path):
    """Return the function objects whose code a file has, by their qualified names."""
    found = {}
    for thing in gc.get_objects():
        if type(thing) is FunctionType and located(thing.__code__.co_filename) == path:
            found.setdefault(thing.__code__.co_qualname, []).append(thing)
    return found


def put(alteration, functions):
    """Let every function object of the altered code run what takes its place.

    Raises
    ------
    LookupError
        If there is none.
    """
    count = 0
    for old, new in alteration.codes:
        for function in functions.get(old.co_qualname, ()):
            if function.__code__ == old:
                function.__code__, count = new, count + 1
    if not count:
        raise LookupError(f"no function runs {alteration.function}")


# The process of a module


class Trials:
    """A plugin that tries alterations on the tests that were collected, and tells of each."""

    def __init__(self, tried, tests, tell):
        self.tried, self.tests, self.tell = tried, tests, tell
        self.failed, self.finds, self.seconds = None, {}, {}

    def pytest_collection_modifyitems(self, items):
        items[:] = [item for item in items if item.nodeid in self.tests]

    def pytest_collectreport(self, report):
        if report.failed:
            self.tell({"fault": f"{report.nodeid} cannot be collected"})

    def pytest_runtest_logreport(self, report):
        if report.failed:
            self.failed = self.failed or report.nodeid
        self.seconds[report.nodeid] = self.seconds.get(report.nodeid, 0) + report.duration

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session):
        self.functions = functions_of(path_of(self.module))
        said = self.forked(None, session.items, 60 + 10 * sum(self.tests[i.nodeid][0] for i in session.items))  # fmt: skip
        if not isinstance(said, dict):
            self.tell({"fault": f"the module as it is fails: {said or 'its tests took too long'}"})
            return True
        self.seconds = said
        for number, alteration in enumerate(self.tried):
            items = self.chosen(session.items, alteration.function)
            outcome, by = "survives", f"{len(items)} tests" if items else "no test runs it"
            if items:
                limit = PATIENCE + 5 * sum(self.seconds[item.nodeid] for item in items)
                said = self.forked(alteration, items, limit)
                if said is None or isinstance(said, str):
                    outcome, by = "found", said or "took too long"
                    self.finds[by] = self.finds.get(by, 0) + 1
            self.tell({"number": number, "outcome": outcome, "by": by})
        return True

    def chosen(self, items, function):
        """Return the tests of a function: what has found most first, then what does little else."""
        module = self.module
        mine = [i for i in items if function in self.tests[i.nodeid][1].get(module, ())]

        def order(item):
            seconds, reached = self.tests[item.nodeid]
            breadth = sum(map(len, reached.values()))
            return -self.finds.get(item.nodeid, 0), seconds * breadth

        spent, found = 0.0, []
        for item in sorted(mine, key=order):
            spent += self.seconds[item.nodeid]
            if spent <= BUDGET or not found:
                found.append(item)
        return found

    def forked(self, alteration, items, limit):
        """Run tests in a child; return the name of what failed, seconds by test, or None if killed."""
        out, into = os.pipe()
        pid = os.fork()
        if not pid:
            os.close(out)
            os.setpgid(0, 0)
            said = "ended"
            try:
                said = self.run(alteration, items)
            except BaseException as error:
                said = f"{type(error).__name__} beside the tests"
            finally:
                with suppress(OSError), os.fdopen(into, "w") as stream:
                    json.dump(said, stream)
                os._exit(0)
        os.close(into)
        text = self.read(out, limit)
        with suppress(OSError):
            os.killpg(pid, signal.SIGKILL)  # what it has started, too
        os.waitpid(pid, 0)
        if text is None:
            return None
        return json.loads(text) if text else "its process died"

    @staticmethod
    def read(out, limit):
        """Return what a child says, or None where it says nothing for too long.

        Waits are counted, not the clock read, so that a run that was stopped for a while can go on.
        """
        waits, text = 0, b""
        with os.fdopen(out, "rb", buffering=0) as stream:
            while waits < limit:
                if not select.select([stream], [], [], 1)[0]:
                    waits += 1
                elif part := stream.read(65536):
                    text += part
                else:
                    return text
        return None

    def run(self, alteration, items):
        import resource

        with suppress(OSError, ValueError):  # where the system can say what is used
            pages = int(Path("/proc/self/statm").read_text().split()[0])
            most = pages * resource.getpagesize() + MEMORY
            resource.setrlimit(resource.RLIMIT_AS, (most, most))
        self.failed, self.seconds = None, {}
        if alteration is not None:
            put(alteration, self.functions)
        for item, after in zip(items, [*items[1:], None], strict=True):
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=after)
            if self.failed:
                return self.failed
        return self.seconds


def chosen_of(module, sample, seed=1):
    """Return how many alterations a module has, and those of a sample; all where it is 0."""
    found, few = list(alterations(path_of(module))), []
    some = found
    if sample and sample < len(found):
        some = random.Random(f"{module} {seed}").sample(found, sample)
    for alteration, make in some:
        with suppress(SyntaxError, ValueError, TypeError):  # it says what Python cannot run
            few.append(alteration._replace(codes=make()))
    return len(found), few


def tests_of(module, functions, tests):
    """Return the tests that reach functions of a module, the most particular ones of each."""
    kept = {}
    for function in functions:
        mine = [(t[0] * sum(map(len, t[1].values())), n) for n, t in tests.items() if function in t[1].get(module, ())]  # fmt: skip
        spent = 0.0
        for _, name in sorted(mine):
            spent += tests[name][0]
            if spent <= BUDGET or name == min(mine)[1]:
                kept[name] = tests[name]
    return kept


def try_module(module, sample, tests, tell):
    """Try alterations of a module and its mistakes, and tell of each."""
    count, tried = chosen_of(module, sample)
    tried += [mistake(path_of(module), row["was"], row["now"]) for row in mistakes(module)]
    tell({"alterations": count, "tried": [t._replace(codes=[]) for t in tried]})
    mine = tests_of(module, {t.function for t in tried}, tests)
    plugin = Trials(tried, mine, tell)
    plugin.module = module
    if not mine:
        for number in range(len(tried)):
            tell({"number": number, "outcome": "survives", "by": "no test runs it"})
        return
    files = sorted({ROOT / name.split("::")[0] for name in mine})
    with silent():
        pytest.main(arguments(files), plugins=[plugin])


# The process that reports


def mistakes(module):
    """Return the catalogued mistakes of a module."""
    rows = tomllib.loads(MISTAKES.read_text(encoding="utf-8")) if MISTAKES.exists() else {}
    return [row for row in rows.get("mistake", ()) if row["module"] == module]


def child(*words, interpreted, shown=None):
    """Run this file with other words in a process of its own, kernels as plain Python or compiled; return the lines of
    JSON it says.

    Raises
    ------
    RuntimeError
        If it fails.
    """
    env = os.environ | {"PYTHONHASHSEED": "0", "MPLBACKEND": "agg"}
    env["NUMBA_DISABLE_JIT"] = str(int(interpreted))
    env["DLBOOK_SHAPES"] = str(SHAPES)
    env |= {name: str(WORK / folder) for name, folder in FOLDERS.items()}
    env["PYTHONPATH"] = os.pathsep.join(map(str, (ROOT, ROOT / "tests", ROOT / "tests/nets")))
    for name in FOLDERS.values():
        (WORK / name).mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-W", "ignore", __file__, "--child", *words]
    found = []
    with subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        for line in process.stdout:
            found.append(json.loads(line))
            if shown:
                shown(found[-1])
            if "fault" in found[-1]:
                raise RuntimeError(found[-1]["fault"])
    if process.returncode:
        raise RuntimeError(f"{' '.join(words)} ended with {process.returncode}")
    return found


def interval(found, tried):
    """Return the 95 % interval of a share, after Wilson."""
    if not tried:
        return 0.0, 1.0
    z, share = 1.959964, found / tried
    middle = (share + z * z / (2 * tried)) / (1 + z * z / tried)
    width = z / (1 + z * z / tried) * (share * (1 - share) / tried + (z / (2 * tried)) ** 2) ** 0.5
    return max(0.0, middle - width), min(1.0, middle + width)


def excuses(module):
    """Return why alterations change nothing, by the texts before and after."""
    rows = tomllib.loads(EQUIVALENT.read_text(encoding="utf-8")) if EQUIVALENT.exists() else {}
    mine = [row for row in rows.get("equivalent", ()) if row["module"] == module]
    return {(row["was"].strip(), row["now"].strip()): row["why"] for row in mine}


def judged(head, said):
    """Return the row of a module from what its process has said."""
    row = {"alterations": head["alterations"], "tried": 0, "found": 0, "mistakes": 0}
    row |= {"mistakes found": 0, "survivors": [], "mistakes lost": []}
    for one in said:
        function, kind, line, was, now, _ = head["tried"][one["number"]]
        about = {"function": function, "line": line, "kind": kind, "was": was, "now": now}
        names = ("tried", "found", "survivors")
        if kind == "mistake":
            names = ("mistakes", "mistakes found", "mistakes lost")
        row[names[0]] += 1
        if one["outcome"] == "found":
            row[names[1]] += 1
        else:
            row[names[2]].append(about | {"by": one["by"]})
    row["survivors"].sort(key=lambda survivor: survivor["line"])
    return row


def counted(module, row):
    """Return a row without the survivors that are excused, and how many these are."""
    why = excuses(module)
    left = [s for s in row["survivors"] if (s["was"].strip(), s["now"].strip()) not in why]
    same = len(row["survivors"]) - len(left)
    return row | {"tried": row["tried"] - same, "survivors": left, "equivalent": same}


def state_of(module, sample, tests):
    """Return a digest of all that decides what a module's row says."""
    files = {name.split("::")[0] for name, (_, r) in tests.items() if module in r}
    paths = [path_of(module), *(ROOT / name for name in sorted(files)), *helpers()]
    said = json.dumps([sample, SHAPES, mistakes(module), has_kernels(module)]).encode()
    known = digest(*dict.fromkeys([*paths, PACKAGE / "tools" / "altering.py"]))
    return f"{known} {hashlib.sha256(said).hexdigest()[:8]}"


def commit():
    said = subprocess.run(["git", "log", "-1", "--format=%h"], cwd=ROOT, capture_output=True, text=True)  # fmt: skip
    return said.stdout.strip()


def run(module, sample, tests):
    """Return the row of a module."""
    head, said, begin = {}, [], time.perf_counter()
    known = WORK / "tests.json"
    known.write_text(json.dumps({n: t for n, t in tests.items() if module in t[1]}))
    with tqdm(desc=module, unit="alteration", leave=False, disable=None) as bar:

        def shown(line):
            if "tried" in line:
                head.update(line)
                bar.reset(len(line["tried"]))
            elif "number" in line:
                said.append(line)
                bar.update()

        child("try", module, str(sample), interpreted=has_kernels(module), shown=shown)
    if len(said) != len(head["tried"]):
        raise RuntimeError("its tests ended before all was tried")
    seconds = round(time.perf_counter() - begin)
    about = {"date": datetime.date.today().isoformat(), "commit": commit(), "seconds": seconds}
    return about | judged(head, said)


def share_of(row):
    return row["found"] / row["tried"] if row["tried"] else 1.0


def table(results):
    """Return the results as the rows of a table in Markdown."""
    columns = ["module", "alterations", "tried", "found", "share", "95 %", "equivalent", "mistakes"]
    rows = [columns, ["---", *["---:"] * (len(columns) - 1)]]
    for module, row in results.items():
        low, high = interval(row["found"], row["tried"])
        numbers = [row["alterations"], row["tried"], row["found"], f"{share_of(row):.1%}"]
        numbers += [
            f"{100 * low:.0f}\u2060–\u2060{100 * high:.0f}\u00a0%",
            row["equivalent"],
        ]  # in one line
        rows.append([module, *numbers, f"{row['mistakes found']} of {row['mistakes']}"])
    return "\n".join(f"| {' | '.join(map(str, row))} |" for row in rows)


def stored():
    """Return the rows of the modules that were tried."""
    return json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {}


def shown_so_far():
    """Return what is known, in Markdown: how much was tried, when, and a table of modules."""
    rows, all_of_them = {m: counted(m, row) for m, row in stored().items()}, modules()
    if not rows:
        return "No module was altered yet: `make mutation`."
    dates = sorted({row["date"] for row in rows.values()})
    when = dates[0] if len(dates) == 1 else f"from {dates[0]} to {dates[-1]}"
    tried, found = (sum(row[key] for row in rows.values()) for key in ("tried", "found"))
    low, high = interval(found, tried)
    said = f"{len(rows)} of {len(all_of_them)} modules were altered, {when}, at {tried:,} places: {found / tried:.1%} of these "
    said += (
        f"alterations were found (95 % interval of the share: {low:.1%} to {high:.1%}), as were "
    )
    said += f"{sum(r['mistakes found'] for r in rows.values())} of {sum(r['mistakes'] for r in rows.values())} catalogued mistakes."
    return f"{said}\n\n{table(rows)}"


def told(module, row):
    """Return a line for each survivor."""
    some = [*row["survivors"], *row["mistakes lost"]]
    gap = "\n" + 4 * " "
    return [
        f"{module}:{s['line']} {s['function']}, {s['kind']}:{gap}{s['was'].replace(chr(10), gap)}"
        f"{gap}→ {s['now'].replace(chr(10), gap)}"
        for s in some
    ]


def main(words=None):
    """Run what was asked for; the exit status is 1 where a module is below the least share."""
    reader = argparse.ArgumentParser(prog="make mutation", description=__doc__.split("\n")[0])
    reader.add_argument("--module", default="", help="some modules, like fast.norms,nets.layer")
    reader.add_argument("--sample", type=int, default=60, help="of each module; 0 for all")
    reader.add_argument("--tests", default="", help="only these test files, by name")
    reader.add_argument("--show", action="store_true", help="what is known so far, as a table")
    reader.add_argument("--child", nargs="+", help=argparse.SUPPRESS)
    options = reader.parse_args(words)
    if options.child:
        return in_child(*options.child)
    if options.show:
        print(shown_so_far())
        return 0
    WORK.mkdir(parents=True, exist_ok=True)
    wanted = options.module.split(",") if options.module else modules()
    if unknown := set(wanted) - set(modules()):
        reader.error(f"there is no module {', '.join(sorted(unknown))}")
    only = options.tests.split(",") if options.tests else ()
    files = [p for p in test_files() if not only or p.stem.removeprefix("test_") in only]
    reached = {way: reach(files, way) for way in {*map(has_kernels, wanted)}}
    kept, failed = stored(), []
    for module in wanted:
        tests = reached[has_kernels(module)]
        state = state_of(module, options.sample, tests)
        if kept.get(module, {}).get("state") != state:
            try:
                kept[module] = {"state": state} | run(module, options.sample, tests)
            except RuntimeError as error:
                print(f"{module}: {error}", file=sys.stderr)
                failed.append(module)
                continue
            kept = {name: kept[name] for name in modules() if name in kept}
            RESULTS.write_text(json.dumps(kept, indent=1, ensure_ascii=False) + "\n", "utf-8")
        for line in told(module, counted(module, kept[module])):
            print(line)
    mine = {module: counted(module, kept[module]) for module in wanted if module not in failed}
    print(table(mine))
    low = [m for m, row in mine.items() if share_of(row) < LEAST or row["mistakes lost"]]
    if low:
        print(f"Below {LEAST:.0%}, or with a mistake that is not found: {', '.join(low)}")
    if failed:
        print(f"Could not be tried: {', '.join(failed)}", file=sys.stderr)
    return 2 if failed else int(bool(low))


def in_child(task, name, sample="0"):
    """Do one task and say what came of it, a line of JSON each time."""
    out = os.fdopen(os.dup(1), "w")

    def tell(line):
        print(json.dumps(line), file=out, flush=True)

    if task == "reach":
        tell(reached_by(ROOT / name))
    else:
        import_module(f"dlbook.{name}")
        try_module(name, int(sample), json.loads((WORK / "tests.json").read_text()), tell)
    return 0


if __name__ == "__main__":
    sys.exit(main())
