"""Some hundred changed files, commands and pages for each of their readers, and planted faults.

`make fuzz` sends as many as one likes. A target that finds nothing proves nothing, so each meets a
reader with a planted fault, too.
"""

import json
import os
import random
import struct
import subprocess
import sys
from types import SimpleNamespace

import pytest
from fuzz import __main__ as lane
from fuzz import engine, interrupted, mutation
from fuzz.engine import Target, fuzz
from pages import ROOT

from dlbook import __main__ as command
from dlbook.exercises import running
from dlbook.exercises import store as progress
from dlbook.nets import checkpoint
from dlbook.tools import idx, store

CASES = {"checkpoint": 60, "pages": 60, "weights": 100}  # 200 of the others


@pytest.fixture(autouse=True)
def patient(monkeypatch):
    """Let a case take as long as it takes: what else runs here is not its fault."""
    for name in lane.TARGETS:
        monkeypatch.setattr(lane.target_of(name), "seconds", 3600.0)


@pytest.mark.parametrize("name", lane.TARGETS)
def test_changed_input_is_taken_rightly_or_refused(name):
    result = fuzz(lane.target_of(name), CASES.get(name, 200), seed=1)
    assert not result.failures, result.failures[0].where
    assert result.accepted >= 3 and result.refused >= 3
    assert result.lines > 10 or name == "formulas"


def skipped(*arguments):
    """Stand in for a check that was forgotten."""


PLANTED = {  # target: (what is replaced, by what, what is said)
    "weights": (store, "_finite", skipped, "is not finite"),
    "checkpoint": (checkpoint.Resumable, "faults", lambda *_: iter(()), "Error"),
    "idx": (idx, "TYPES", idx.TYPES | {0x0A: "uint8"}, "what is wrong was taken"),
    "notebooks": (
        running,
        "_cells",
        lambda data, *_: [(str(c["id"]), skipped) for c in json.loads(data)["cells"]],
        "Error",
    ),
    "scripts": (
        running,
        "_statements",
        lambda data, main: [("line 1", skipped)] * running.ast.parse(data).body[0].lineno,
        "IndexError",
    ),
    "progress": (progress, "_entries", lambda data: data["exercises"], "Error"),
    "commands": (command, "positive", float, "AssertionError"),
    "requests": (command.Site, "is_inside", lambda self: True, "outside of the site was sent"),
}


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_fault_is_found(name, monkeypatch):
    where, what, stand_in, said = PLANTED[name]
    monkeypatch.setattr(where, what, stand_in)
    result = fuzz(lane.target_of(name), 600, seed=1, tries=0, enough=1)
    assert any(said in failure.said for failure in result.failures)


def test_a_word_that_is_lost_on_the_way_to_a_notebook_is_found(monkeypatch):
    kind = lane.target_of("pages")
    monkeypatch.setattr(
        sys.modules["fuzz.pages"].notebooks, "escaped", lambda text, begins=False: text
    )
    failures = fuzz(kind, 60, seed=1, tries=0, enough=1).failures
    assert any("is not in" in failure.said for failure in failures)


# The engine, on a reader of its own

READER = '''
def read(data):
    """Return the numbers of a file, or raise ValueError."""
    if data[:1] != b"N":
        raise ValueError("no file of numbers")
    if data[1:2] != b"U":
        raise ValueError("another kind")
    if data[2:3] != b"M":
        raise ValueError("another version")
    count = data[3]  # which may not be there
    return list(data[4 : 4 + count])
'''


def reading(tmp_path, code=READER):
    """Return a target whose reader forgets to look where a file ends."""
    path = tmp_path / "reader.py"
    path.write_text(code)
    module = SimpleNamespace(__file__=str(path))
    exec(compile(code, str(path), "exec"), vars(module))

    class Reading(Target):
        name = "reading"
        traced = (module,)

        def seeds(self):
            return [b"\0" * 8]

        def changed(self, rng, case, other):
            at = rng.randrange(9)
            return (case[:at] + rng.randbytes(1) + case[at + 1 :])[: rng.choice((8, 8, 8, at))]

        def accepts(self, case):
            try:
                module.read(case)
            except ValueError:
                return False
            return True

    return Reading


def test_what_reaches_new_lines_leads_further(tmp_path):
    """Three bytes, one after the other, where all at once would take 16 million cases."""
    kind = reading(tmp_path)
    led = fuzz(kind, 20_000, seed=1)
    assert [failure.said for failure in led.failures] == ["IndexError: index out of range"]
    assert led.failures[0].case == b"NUM" and led.kept >= 3
    blind = fuzz(kind, 20_000, seed=1, guided=False)
    assert not blind.failures and blind.lines < led.lines


def test_the_same_seed_draws_the_same_cases(tmp_path):
    kind, seen = reading(tmp_path), []
    for seed in (1, 1, 2):
        drawn = []
        watched = type(
            "Watched", (kind,), {"accepts": lambda self, case, d=drawn: not d.append(case)}
        )
        fuzz(watched, 300, seed)
        seen.append(drawn)
    assert seen[0] == seen[1] != seen[2]


def test_a_slow_case_is_a_fault(tmp_path):
    kind = reading(tmp_path, "import time\n\n\ndef read(data):\n    time.sleep(0.02)\n")
    kind.seconds = 0.01
    assert "one case took" in fuzz(kind, 1).failures[0].said


def test_a_failure_is_written_down_with_what_repeats_it(tmp_path):
    failure = fuzz(reading(tmp_path), 20_000, seed=1).failures[0]
    said = failure.save(tmp_path / "saved")
    case, text = sorted((tmp_path / "saved").iterdir())
    assert case.read_bytes() == failure.case and said == f"make fuzz CASE={case}"
    assert text.read_text().startswith(f"{said}\n") and "count = data[3]" in text.read_text()


@pytest.mark.parametrize(("case", "status"), [(b"\0\0\x08\1\0\0\0\2ab", 0), (b"\0\0\x08", 0)])
def test_a_case_is_tried_again(tmp_path, case, status, capsys):
    path = tmp_path / "idx-0123456789ab"
    path.write_bytes(case)
    assert lane.again(path) == status
    assert capsys.readouterr().out == f"idx: {'accepted' if len(case) > 9 else 'refused'}\n"


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("os.kill(os.getpid(), signal.SIGSEGV)", "its process ended with status -11"),
        ("bytes(2**40)", "MemoryError"),
        ("time.sleep(999)", "its process ended with status -9"),
    ],
)
def test_a_case_that_takes_the_process_with_it_is_found(tmp_path, monkeypatch, fault, said):
    """Crashes, memory and silence, in the process of a target, at the fifth case of its reader."""
    code = f"""
import os, signal, sys, time
from fuzz import __main__ as lane, engine
from dlbook.tools import idx
engine.SAVED = engine.Path(sys.argv[1])
real, count = idx.read_idx, [0]
def read_idx(*arguments, **options):
    count[0] += 1
    if count[0] == 5:
        {fault}
    return real(*arguments, **options)
idx.read_idx = read_idx
lane.EVERY = 0
lane.child("idx", 8, 1)
"""
    monkeypatch.setattr(engine, "SAVED", tmp_path)
    monkeypatch.setattr(lane, "SILENCE", 15 if "sleep" in fault else 300)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
    result = lane.run("idx", 8, 1, [sys.executable, "-c", code, str(tmp_path)])
    (found,) = result.failures
    assert said in found[0]
    kept = [path for path in tmp_path.iterdir() if path.suffix != ".txt"]
    assert len(kept) == 1 and kept[0].read_bytes() == lane.target_of("idx")(tmp_path).seeds()[4]


def test_json_is_changed_and_can_hold_what_json_can_not():
    value, rng = mutation.read('{"a": [1, {"b": null}], "c": 2.5}'), random.Random(1)
    assert mutation.read(mutation.written(value)) == value
    made = [mutation.written(mutation.json_changed(rng, value)) for _ in range(500)]
    assert len(set(made)) > 250
    assert any(text.count('"a"') > 1 for text in made)  # a name that stands twice
    assert any("[" * 800 in text for text in made) and any("NaN" in text for text in made)
    assert mutation.written(value) == '{"a": [1, {"b": null}], "c": 2.5}'
    deep = "[" * 100 + "]" * 100
    assert mutation.read(deep) is mutation.read("{") is None


def test_a_checksum_is_made_right_again(tmp_path):
    """So that what a file says is tried, and not the checksum alone."""
    from fuzz import files

    case = files.Weights(tmp_path).seeds()[0]
    size = 8 + struct.unpack("<Q", case[:8])[0]
    other = case[:size] + struct.pack("<d", -3.0) + case[size + 8 :]
    assert files.sealed(other) != other and files.sealed(case) == files.sealed(files.sealed(case))
    target = files.Weights(tmp_path)
    assert not target.accepts(other) and target.accepts(files.sealed(other))


# Interrupted


@pytest.mark.parametrize("name", [n for n in interrupted.CHECKS if n != "killed-weights"])
def test_an_interrupted_save_leaves_the_old_file_or_the_new_one(name):
    """`test_store` kills saves of weights."""
    times = 1 if name == "cold-cache" else 15
    command = [sys.executable, "-m", "fuzz.interrupted", name, f"{times}", "1"]
    env = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])}
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    counts = json.loads(done.stdout)
    if name.startswith("killed"):
        assert counts["in the midst of writing"] and counts["after a new file"]
