"""``dlbook new``: what it writes runs and passes its own tests, and nothing of the reader's is touched."""

import json
import os
import subprocess
import sys

import nbformat
import pytest
from pages import ROOT

from dlbook import __main__ as command
from dlbook.tools import starting

WRITTEN = [
    "README.md",
    "checklist.md",
    "equations.py",
    "model.py",
    "project.ipynb",
    "test_project.py",
]
ENV = os.environ | {"PYTHONPATH": str(ROOT), "MPLBACKEND": "agg"}


def python(folder, *arguments):
    """Run Python in a folder, as a reader does."""
    how = {"cwd": folder, "env": ENV, "capture_output": True, "text": True, "timeout": 900}
    return subprocess.run([sys.executable, *arguments], **how)


@pytest.fixture(scope="module")
def begun(tmp_path_factory):
    """A project that was just begun."""
    target = tmp_path_factory.mktemp("begun") / "my project"
    assert command.main(["new", str(target)]) == 0
    return target


def test_it_writes_a_project(begun):
    assert sorted(path.name for path in begun.iterdir()) == WRITTEN
    assert begun.joinpath("README.md").read_text(encoding="utf-8").startswith("# my project\n")


def test_its_tests_pass(begun):
    done = python(begun, "-m", "pytest", "-q", "-p", "no:cacheprovider")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "passed" in done.stdout
    assert "skipped" not in done.stdout


def test_its_report_runs(begun):
    cells = json.loads(begun.joinpath("project.ipynb").read_text(encoding="utf-8"))["cells"]
    code = "\n".join("".join(c["source"]) for c in cells if c["cell_type"] == "code")
    done = python(begun, "-W", "error", "-c", code)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("seed ") == 5
    assert "ahead by 0." in done.stdout


def test_its_report_is_a_notebook(begun):
    nbformat.validate(nbformat.read(begun / "project.ipynb", as_version=4))


def test_its_tests_see_a_mistake(begun, tmp_path):
    """A project whose equation has lost a square fails, and says in which test."""
    for name, content in starting.project("x").items():
        (tmp_path / name).write_bytes(content)
    path = tmp_path / "equations.py"
    whole = path.read_text(encoding="utf-8")
    path.write_text(whole.replace("z**2 / (4 * count**2)", "z**2 / (4 * count)"), encoding="utf-8")
    done = python(tmp_path, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", "equation")
    assert done.returncode == 1
    assert "test_equation" in done.stdout


@pytest.mark.parametrize("there", ["file", "folder", "link"])
def test_nothing_of_the_reader_s_is_touched(tmp_path, capsys, there):
    target = tmp_path / "mine"
    if there == "file":
        target.write_text("mine")
    elif there == "folder":
        target.mkdir()
        (target / "README.md").write_text("mine")
    else:
        target.symlink_to(tmp_path / "gone")
    assert command.main(["new", str(target)]) == 2
    assert "is already there; nothing was written" in capsys.readouterr().err
    assert not (tmp_path / "gone").exists()
    if there == "folder":
        assert [path.name for path in target.iterdir()] == ["README.md"]
        assert (target / "README.md").read_text() == "mine"


def test_a_name_that_is_no_text_will_do(tmp_path):
    """As another system's archive may have left it."""
    target = os.fsdecode(os.fsencode(tmp_path) + b"/\xe9t\xe9")
    assert command.main(["new", target]) == 0
    with open(f"{target}/README.md", encoding="utf-8") as file:
        assert file.readline() == "# \N{REPLACEMENT CHARACTER}t\N{REPLACEMENT CHARACTER}\n"


def test_an_empty_folder_will_do(tmp_path):
    assert command.main(["new", str(tmp_path)]) == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == WRITTEN


def test_what_cannot_be_written_is_said(tmp_path, capsys):
    (tmp_path / "file").write_text("mine")
    assert command.main(["new", str(tmp_path / "file" / "below")]) == 2
    assert "cannot write" in capsys.readouterr().err
