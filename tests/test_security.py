"""What SECURITY.md says, looked up in the sources: who executes, who connects, what is pinned."""

import ast
import json
import re

import pytest
from pages import ROOT

MODULES = sorted((ROOT / "dlbook").rglob("*.py"))
CALLS = {"eval", "exec"}
LOADERS = {"dill", "joblib", "marshal", "pickle", "runpy", "shelve"}
NETWORK = {"ftplib", "http", "requests", "smtplib", "socket", "ssl", "urllib", "xmlrpc"}
EXECUTE = {
    "exercises/running.py": {"exec"},  # a learner's file, in a process of its own
    "nets/shards.py": {"pickle"},  # a model, between a run and its own workers
    "tools/checks.py": {"pickle"},  # a check, for the build that made it
    "tools/trials.py": {"eval", "exec", "pickle"},  # altered kernels, in a child of the build
    "tools/wasm.py": {"pickle"},  # between the build and its child
}


def uses(path):
    """Return what a module calls by name and the packages that it imports."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            found.add(node.module.partition(".")[0])
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            found.add(node.func.id)
        elif isinstance(node, ast.keyword) and node.arg == "allow_pickle":
            found.add("pickle")
    return found


@pytest.mark.parametrize(
    ("what", "where"), [(CALLS | LOADERS, EXECUTE), (NETWORK, {"__main__.py": {"http"}})]
)
def test_who_executes_and_who_connects(what, where):
    """These modules alone, none of which reads weights, checkpoints, IDX or progress."""
    names = {path: path.relative_to(ROOT / "dlbook").as_posix() for path in MODULES}
    found = {names[path]: used for path in MODULES if (used := uses(path) & what)}
    assert found == where


def test_what_is_downloaded_is_pinned():
    pins = (ROOT / "constraints.txt").read_text("utf-8").split("\n")
    assert not [
        pin for pin in pins if pin and not re.fullmatch(r"[\w.\[\]-]+==[\w.+!]+( ;.*)?", pin)
    ]
    packages = json.loads((ROOT / "package-lock.json").read_text("utf-8"))["packages"]
    packages.pop("")
    assert packages and all(p["integrity"].startswith("sha512-") for p in packages.values())
    makefile = (ROOT / "Makefile").read_text("utf-8")
    assert makefile.count("npm ci") == makefile.count("npm ci --ignore-scripts") > 0


def test_the_house_says_where_to_report():
    assert "[SECURITY.md](SECURITY.md)" in (ROOT / "CONTRIBUTING.md").read_text("utf-8")
    said = (ROOT / "SECURITY.md").read_text("utf-8")
    for name in re.findall(r"`((?:tests/|_?[a-z-]+\.)[\w./-]+)`", said):
        assert (ROOT / name).exists() or name.startswith("_build"), name
    for target in re.findall(r"`make ([a-z-]+)`", said):
        assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text("utf-8"), re.M), target
