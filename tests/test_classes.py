"""A class: what Binder reads fits the package, the commands of the page are commands, a cache that is
copied into another home is used there, and a report says what the page shows."""

import csv
import os
import re
import shlex
import subprocess
import sys
import tomllib

import numpy as np
import pytest
from compiled import compiled_only
from pages import ROOT, WIDEST, chapters, labels, text_of

from benchmarks.classroom import CACHE, HANDED_IN, copied, hand_in, in_home
from dlbook.__main__ import parser
from dlbook.exercises import grading
from dlbook.tools import built, jit

BINDER = ROOT / ".binder"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
LINUX = pytest.mark.skipif(sys.platform != "linux", reason="as on a hub, whose homes are Linux's")
CALL = """
from dlbook.backprop import bp3
bp3(np.ones(3))
"""


def blocks(kind="bash"):
    """Return what the page shows in blocks of a kind."""
    return re.findall(rf"^```{kind}\n(.*?)^```", text_of("classes"), re.M | re.S)


def block(begin):
    """Return the block of text that begins so."""
    return next(text for text in blocks("text") if text.startswith(begin))


# Binder


def test_binder_installs_what_there_is():
    """The package with extras of its own, pinned, by the path that pip takes from the tree's root."""
    lines = (BINDER / "requirements.txt").read_text("utf-8").splitlines()
    editable = next(line for line in lines if line.startswith("-e "))
    extras = re.fullmatch(r"-e \.\[([\w,]+)\]", editable)[1].split(",")
    assert set(extras) <= set(PROJECT["optional-dependencies"])
    pins = next(line for line in lines if line.startswith("-c "))
    assert (BINDER / pins.removeprefix("-c ")).resolve() == ROOT / "constraints.txt"


def test_binder_s_python_is_one_that_is_tested():
    found = re.fullmatch(r"python-(3\.\d+)\n", (BINDER / "runtime.txt").read_text("utf-8"))[1]
    tested = (ROOT / ".github" / "workflows" / "ci.yml").read_text("utf-8")
    assert f'"{found}"' in re.search(r"python: \[(.*)\]", tested)[1]


def test_nothing_else_decides_what_binder_builds():
    """A Dockerfile or an environment.yml would be read instead, and a second folder is refused."""
    names = {path.name for path in BINDER.iterdir()}
    assert names == {"runtime.txt", "requirements.txt", "postBuild", "start"}
    assert not (ROOT / "binder").exists()


@pytest.mark.parametrize("name", ["postBuild", "start"])
def test_binder_s_scripts_are_scripts(name):
    path = BINDER / name
    assert path.read_text("utf-8").startswith("#!/bin/bash\n")
    if os.name == "posix":
        assert os.access(path, os.X_OK)
        subprocess.run(["bash", "-n", path], check=True)


@LINUX
def test_binder_starts_what_it_is_told_to():
    done = subprocess.run(
        [BINDER / "start", "printenv", "NUMBA_NUM_THREADS"], capture_output=True, text=True
    )
    assert (done.returncode, done.stdout) == (0, "1\n")


@LINUX
def test_binder_warms_the_cache_that_its_readers_use(monkeypatch, tmp_path):
    """Kernels go where a reader with this home looks, and the book where its notebooks are found."""
    text = (BINDER / "postBuild").read_text("utf-8")
    assert text.splitlines()[3] == "set -e"
    line = re.search(r"^export (DLBOOK_CACHE_DIR=.*)$", text, re.M)[1]
    told = ["bash", "-c", f'{line}; printf %s "$DLBOOK_CACHE_DIR"']
    where = subprocess.run(told, env={"HOME": str(tmp_path)}, capture_output=True, text=True).stdout
    for name in ("DLBOOK_CACHE_DIR", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert where == str(jit.cache_root()) == str(tmp_path / CACHE)
    site = re.search(r"^python -m sphinx .* -c \. book (\S+)$", text, re.M)[1]
    monkeypatch.setattr(built, "PACKAGE", tmp_path / "dlbook")
    (tmp_path / site / "notebooks").mkdir(parents=True)
    (tmp_path / site / "notebooks" / built.NAMES).write_text("{}")
    assert built.folder() == tmp_path / site / "notebooks"
    command = re.search(r"^python -m dlbook (.*)$", text, re.M)[1]
    assert parser().parse_args(shlex.split(command)).folder.name == "notebooks"


# The page


def commands():
    """Return the words of every `dlbook …` that the page shows or names."""
    shown = re.findall(r"(?<![\w/.~-])dlbook ([^\n;|&'\"`)]+)", "\n".join(blocks()))
    named = re.findall(r"`dlbook ([^`]+)`", text_of("classes"))
    return [text.strip() for text in (*shown, *named)]


@pytest.mark.parametrize("command", sorted(set(commands())))
def test_each_command_is_one(command):
    words = shlex.split(command)
    if len(words) == 1:  # named in a sentence, without what it is done to
        words.append("folder")
    assert callable(parser().parse_args(words).run)


def test_the_page_shows_commands():
    shown = " ".join(commands())
    assert len(commands()) >= 4 and "notebooks" in shown and "check" in shown


def test_blocks_fit():
    """What is typed and what is printed keeps to the column."""
    for text in (*blocks(), *blocks("text")):
        wide = [line for line in text.splitlines() if len(line) > WIDEST]
        assert not wide, wide


def test_readme_and_ways_lead_to_the_page():
    assert "`book/classes.md`" in (ROOT / "README.md").read_text("utf-8")
    assert "{doc}`classes`" in text_of("paths").split("## If you teach")[1]
    reference = text_of("index").split(":caption: Reference")[1]
    assert "classes" in reference.split()


# A cache in another home


@pytest.fixture(scope="module")
def warm(tmp_path_factory):
    """Return a home in which one kernel was compiled."""
    home = tmp_path_factory.mktemp("warm")
    assert in_home(home, "import numpy as np\n" + CALL)["compiled"] == 1
    return home


@LINUX
@compiled_only
def test_a_copied_cache_serves_another_home(warm, tmp_path):
    """Nothing is compiled there, and nothing is where the processor is another or the copy is open."""
    code = "import numpy as np\n" + CALL
    copied(warm, tmp_path)
    found = in_home(tmp_path, code)
    assert (found["compiled"], found["loaded"]) == (0, 1)
    assert in_home(tmp_path, code, NUMBA_CPU_NAME="generic")["compiled"] == 1
    for folder in (path for path in (tmp_path / CACHE).rglob("*") if path.is_dir()):
        folder.chmod(0o770)
    assert in_home(tmp_path, code)["compiled"] == 1


@LINUX
@compiled_only
@pytest.mark.skipif(not hasattr(os, "getuid") or os.getuid() != 0, reason="gives files away")
def test_a_cache_of_somebody_else_does_not(warm, tmp_path):
    """A copy made by root has to be given to whose home it is in, as `useradd` does."""
    copied(warm, tmp_path)
    for path in (tmp_path / CACHE).rglob("*"):
        os.chown(path, 12345, 12345)
    assert in_home(tmp_path, "import numpy as np\n" + CALL)["compiled"] == 1


@compiled_only
def test_a_kernel_of_another_processor_has_another_name(monkeypatch):
    from dlbook.backprop import bp3

    here = jit.digest(bp3)
    monkeypatch.setattr(jit, "get_host_cpu_name", lambda: "another")
    assert jit.digest(bp3) != here


# A folder of hand-ins


@pytest.fixture(scope="module")
def checked(tmp_path_factory):
    """Return the folder in which four hand-ins were checked, and what was printed."""
    folder = tmp_path_factory.mktemp("class")
    hand_in(folder / "hand-in", {name: name for name in HANDED_IN})
    command = next(text for text in commands() if text.startswith("check hand-in"))
    done = subprocess.run(
        [sys.executable, "-m", "dlbook", *shlex.split(command), "--seconds", "30"],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 1, done.stderr
    return folder, done.stdout


def test_the_page_shows_what_is_printed(checked):
    assert block("ada/") == checked[1].replace("within 30 seconds", "within 20 seconds")


def test_the_page_shows_the_table(checked):
    with open(checked[0] / "grades.csv", encoding="utf-8-sig", newline="") as file:
        rows = [row[:-1] for row in csv.reader(file)]  # problems are in what is printed
    assert [line.split(",") for line in block("file,").splitlines()] == rows


def test_the_page_shows_a_report(checked):
    """Line by line, but for the breaks of long ones and the number of an equation to read."""
    text = (checked[0] / "reports" / "ben" / "08-backprop.ipynb.txt").read_text("utf-8")
    place = [label for label, where in labels() if "/backprop.md:" in where].index("backprop-bp2")
    number = f"({chapters().index('backprop') + 1}.{place + 1})"
    read = re.compile(r"Read (?:equation )?\S+\.$", re.M)
    assert f"Read equation {number}." in block("ben/")
    assert read.sub("", block("ben/")).split() == read.sub("", text).split()


def test_the_notebook_has_its_number():
    assert f"{chapters().index('backprop') + 1:02d}-backprop.ipynb" in text_of("classes")


def test_what_a_check_does_not_hinder(tmp_path):
    """It says of itself that it is no sandbox. What the page says of answers that cheat is so."""
    other = tmp_path / "other.txt"
    other.write_text("mine", "utf-8")
    path = tmp_path / "mine.py"
    path.write_text(
        "from pathlib import Path\nfrom dlbook.backprop import bp2\n"
        "from dlbook.exercises import check, shown\nfrom types import SimpleNamespace\n"
        'check("backprop-bp2", bp2)\n'
        'said = dict(label="backprop-hessian", status="correct", name="", lines=["Correct."])\n'
        'shown.listeners[0]("result", SimpleNamespace(**said))\n'
        'Path("other.txt").write_text(Path("other.txt").read_text() + " and yours")\n',
        "utf-8",
    )
    report = grading.run([(path, "mine.py")])[0]
    assert (report["correct"], report["checked"], report["problems"]) == (2, 2, [])
    assert other.read_text("utf-8") == "mine and yours"


def test_hand_ins_are_what_they_are_called():
    """The right answers of the class are right, also where the rest of the file is not."""
    known = {}
    exec(HANDED_IN["ada"][0].split("\n\ncheck")[0], {"np": np}, known)
    w, delta, z = np.array([[2.0]]), np.array([0.5]), np.array([0.0])
    assert known["my_bp2"](w, delta, z) == 0.25
