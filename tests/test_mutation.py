"""The lane that alters the package: on a small package of its own, and its parts."""

import json
import os
import shutil
import subprocess
import sys
import tomllib

import mutation
import pytest
from pages import ROOT

SAMPLE = '''
def summed(n):
    """Say 1 + 2 + … + n."""
    total = 0
    while n > 0:
        total += n
        n -= 1
    return total


def unused(x):
    return x + 1


class Root:
    def __init__(self, value):
        self.value = value


class Leaf(Root):
    def __init__(self, value):
        super().__init__(value)
        self.twice = 2 * self.value


KEPT = [Leaf]  # a name of its own for what is altered
'''
TESTS = """
from dlbook.sample import KEPT, summed


def test_summed():
    assert summed(3) == 6


def test_kept():
    assert KEPT[0](4).twice == 8
"""
MISTAKE = """
[[mistake]]
module = "sample"
was = "2 * self.value"
now = "self.value + 4"
why = "right for four"
"""


forks = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system starts processes anew")


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """Return a package of one module with its tests, and the lane beside them."""
    tree = tmp_path_factory.mktemp("altered")
    (tree / "dlbook/tools").mkdir(parents=True)
    (tree / "tests/nets").mkdir(parents=True)
    for name in ("dlbook/__init__.py", "dlbook/tools/__init__.py"):
        (tree / name).touch()
    shutil.copy(ROOT / "dlbook/tools/altering.py", tree / "dlbook/tools")
    text = (ROOT / "tests/mutation.py").read_text("utf-8")
    assert text.count("PATIENCE = 5 ") == 1
    (tree / "tests/mutation.py").write_text(text.replace("PATIENCE = 5 ", "PATIENCE = 0.3 "), "utf-8")  # fmt: skip
    (tree / "tests/mistakes.toml").write_text(MISTAKE, "utf-8")
    (tree / "tests/test_sample.py").write_text(TESTS, "utf-8")
    (tree / "dlbook/sample.py").write_text(SAMPLE, "utf-8")
    (tree / "pyproject.toml").write_text("[tool.pytest.ini_options]\n", "utf-8")
    return tree


def ran(tree, *words):
    """Run the lane; return its status, and what it says."""
    command = [sys.executable, "tests/mutation.py", *words]
    env = os.environ | {"PYTHONPATH": str(tree)}
    done = subprocess.run(command, cwd=tree, env=env, capture_output=True, text=True, timeout=120)
    return done.returncode, done.stdout + done.stderr


@pytest.fixture(scope="module")
def said(tree):
    return ran(tree, "--module", "sample", "--sample", "0")


def row_of(tree):
    return json.loads((tree / "tests/mutation.json").read_text("utf-8"))["sample"]


@forks
def test_what_tests_do_not_see_is_told(tree, said):
    status, text = said
    row = row_of(tree)
    assert status == 1 and "Below 95%" in text
    lost = {(s["function"], s["by"]) for s in row["survivors"] if s["function"] == "unused"}
    assert lost == {("unused", "no test runs it")}
    assert row["mistakes"] == 1 and row["mistakes lost"][0]["now"] == "self.value + 4"
    assert "sample:23 Leaf.__init__, mistake" in text
    assert f"| sample | {row['alterations']} | {row['tried']} | {row['found']} |" in text


@forks
def test_what_tests_see_is_found(tree, said):
    """A loop without end, a call of the class above that is gone, and a name kept elsewhere."""
    seen = {(s["function"], s["was"], s["now"]) for s in row_of(tree)["survivors"]}
    there = {
        (a.function, a.was, a.now)
        for a, _ in mutation.alterations(tree / "dlbook/sample.py")
        if a.function != "unused"
    }
    endless = ("summed", "n -= 1", "pass")
    above = ("Leaf.__init__", "super().__init__(value)", "pass")
    twice = ("Leaf.__init__", "self.twice = 2 * self.value", "self.twice = 3 * self.value")
    assert {endless, above, twice} <= there - seen
    right = {("summed", "while n > 0:", "while n != 0:"), ("summed", "n > 0", "n >= 0")}
    assert len(seen & there) <= len(right) + 1


@forks
def test_what_has_not_changed_is_not_run_again(tree, said):
    before = row_of(tree)
    (tree / "tests/equivalent.toml").write_text(
        '[[equivalent]]\nmodule = "sample"\nwas = "return x + 1"\nnow = "return x - 1"\nwhy = "so"\n'
    )
    status, text = ran(tree, "--module", "sample", "--sample", "0")
    assert row_of(tree) == before
    assert status == 1 and "return x - 1" not in text and "return x + 2" in text
    assert f"| sample | {before['alterations']} | {before['tried'] - 1} |" in text


@forks
def test_tests_that_fail_by_themselves_stop_it(tree, said, monkeypatch):
    path = tree / "tests/test_sample.py"
    path.write_text(
        f"{TESTS}\n\ndef test_user():\n    import os\n    KEPT[0](1)\n    assert 'FAILS' not in os.environ\n"
    )
    assert ran(tree, "--module", "sample", "--sample", "3")[0] in (0, 1)  # now it is known
    monkeypatch.setenv("FAILS", "1")
    status, text = ran(tree, "--module", "sample", "--sample", "4")
    path.write_text(TESTS)
    assert status == 2 and "the module as it is fails: tests/test_sample.py::test_user" in text


def test_what_is_no_module_is_refused(tree):
    status, text = ran(tree, "--module", "nothing")
    assert status == 2 and "there is no module nothing" in text


def test_every_mistake_of_the_catalogue_can_be_made():
    rows = tomllib.loads(mutation.MISTAKES.read_text("utf-8"))["mistake"]
    assert len(rows) >= 60
    for row in rows:
        made = mutation.mistake(mutation.path_of(row["module"]), row["was"], row["now"])
        assert made.codes and row["why"]


def test_a_mistake_that_is_not_there_is_refused(tree):
    path = tree / "dlbook/sample.py"
    with pytest.raises(ValueError, match="2 times, expected once"):
        mutation.mistake(path, "def __init__", "def other")
    with pytest.raises(ValueError, match="changes no function"):
        mutation.mistake(path, "KEPT = [Leaf]", "KEPT = []")


def test_an_alteration_needs_a_function_to_change(tree):
    made = mutation.mistake(tree / "dlbook/sample.py", "x + 1", "x - 1")
    with pytest.raises(LookupError, match="no function runs unused"):
        mutation.put(made, {})


def test_of_an_interval():
    """After Wilson: 0 and all have one, too."""
    assert mutation.interval(57, 60) == pytest.approx((0.8630, 0.9829), abs=1e-4)
    low, high = mutation.interval(60, 60)
    assert (low, high) == pytest.approx((0.9398, 1.0), abs=1e-4)
    assert mutation.interval(0, 0) == (0.0, 1.0)


def test_samples_are_the_same_each_time_and_all_where_there_are_few():
    count, some = mutation.chosen_of("fast.latent", 5)
    again = mutation.chosen_of("fast.latent", 5)[1]
    assert [s[:5] for s in some] == [s[:5] for s in again] and count > 100
    count, every = mutation.chosen_of("fast.dropout", 1000)
    assert count - 3 < len(every) <= count


def test_what_is_known_so_far_is_a_table(tmp_path, monkeypatch, capsys):
    """Without running anything; equivalent alterations are not counted."""
    monkeypatch.setattr(mutation, "RESULTS", tmp_path / "mutation.json")
    assert mutation.main(["--show"]) == 0
    assert "No module was altered yet" in capsys.readouterr().out
    one = {"date": "2026-03-01", "commit": "abc", "seconds": 9, "alterations": 80, "tried": 60}
    one |= {"found": 57, "survivors": [], "mistakes": 2, "mistakes found": 2, "mistakes lost": []}
    rows = {"tools.simd": one, "vision": one | {"date": "2026-03-04", "found": 60}}
    (tmp_path / "mutation.json").write_text(json.dumps(rows), encoding="utf-8")
    assert mutation.main(["--show"]) == 0
    said = capsys.readouterr().out
    assert f"2 of {len(mutation.modules())} modules were altered, from 2026-03-01 to" in said
    assert "at 120 places: 97.5% of these" in said and "4 of 4 catalogued mistakes" in said
    assert "| tools.simd | 80 | 60 | 57 | 95.0% |" in said


def test_what_does_nothing_is_not_tried(tmp_path):
    """Protocols, functions that only refuse, and how often something is true."""
    path = tmp_path / "module.py"
    path.write_text(
        "class Way(Protocol):\n    def go(self, a, b): ...\n\n"
        'class Base:\n    def go(self, a, b):\n        """Go."""\n        raise NotImplementedError\n\n'
        "    def far(self, a, b):\n        return a == b and isinstance(a, int)\n\n"
        "    def sum(self, a, b):\n        return a and b\n\n"
        "    def mask(self, a, b):\n        return a < b\n"
    )
    found = [(a.function, a.kind) for a, _ in mutation.alterations(path)]
    assert {function for function, _ in found} == {"Base.far", "Base.sum", "Base.mask"}
    assert ("Base.mask", "result doubled") in found  # of arrays it would be other numbers
    assert ("Base.sum", "result doubled") in found and ("Base.far", "and or or") in found
    assert not {("Base.far", kind) for kind in mutation.OF_NUMBERS} & {*found}


def test_networks_are_altered_with_compiled_kernels():
    assert not mutation.has_kernels("nets.layers") and mutation.has_kernels("fast.dense")
    assert mutation.has_kernels("attention") and mutation.has_kernels("tools.simd")
    nets = [m for m in mutation.modules() if m.startswith("nets.")]
    assert len(nets) > 40 and not any(map(mutation.has_kernels, nets))


def test_what_changes_nothing_in_python_is_not_tried():
    assert mutation.plain("f(any_layout(a[i:g(j)]), UNSIGNED(n))") == "f(a[i:g(j)], n)"
    assert mutation.plain("x.reshape(-2, 3)") == mutation.plain("x.reshape(-1, 3)")
