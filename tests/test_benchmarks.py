"""The benchmark's machinery on rows made up here: what it checks, in which order, what it reports.

Nothing here is timed in earnest, and no rival needs to be installed.
"""

import ast
import json
import re
import signal
import sys
import tomllib
from types import SimpleNamespace

import numpy as np
import pytest
from pages import BOOK, ROOT, text_of

sys.path.insert(0, str(ROOT))
from benchmarks import __main__ as command
from benchmarks import machine, report, run, store
from benchmarks.row import OURS, PEAK, Row, all_rows, chosen, library

PEERS = sorted((ROOT / "tests" / "peers").glob("*.py"))
VALUES = np.array([[1.0, 2.0], [3.0, 4.0]])


def side(values, log=None, name=""):
    """Return a setup whose function notes that it was called."""

    def setup():
        call = (lambda: log.append(name)) if log is not None else (lambda: None)
        return call, lambda: [np.asarray(values)]

    return setup


def extra(name):
    """Return the packages of an optional group of requirements."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    return [re.match(r"[\w-]+", one)[0] for one in project["optional-dependencies"][name]]


def imported(file):
    """Return the packages that a file imports, anywhere in it."""
    for node in ast.walk(ast.parse(file.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield (node.module or "").split(".")[0]


def absent():
    import torch_that_nobody_has  # noqa: F401


def broken():
    raise RuntimeError("no compiler\nmore")


def row(**sides):
    return Row("made-up", "a row", {OURS: side(VALUES), **sides}, rtol=1e-6)


def bench(some):
    """Return a host in this process that calls once per measurement, as `run` expects it."""
    here = run.Bench(some, least=0)
    return lambda side: here


def record(threads=1, kind="time", **fields):
    """Return a row of results with made-up seconds: cpu for one thread, wall for two."""
    sides = {
        OURS: {"status": "ok", "cpu": [2.0, 1.0, 4.0], "wall": [20.0, 10.0, 40.0]},
        "torch": {"status": "ok", "cpu": [8.0, 6.0, 9.0], "wall": [30.0, 30.0, 30.0]},
        "torch.compile": {"status": "ok", "cpu": [7.0, 6.5, 9.0], "wall": [50.0, 50.0, 50.0]},
        "jax": {"status": "not installed"},
    }
    if threads > 1:  # and both cores most of the time
        for one in sides.values():
            one |= {"cpu": [1.8 * t for t in one["wall"]]} if "wall" in one else {}
    given = {"name": "r", "what": "a row", "work": 4e9, "unit": "flop", "rtol": 1e-6, "error": ""}
    given |= {"target": {}, "share": 0, "limit": 0, "kind": kind, "threads": threads}
    return given | {"module": "m", "sides": sides} | fields


# Checking before timing


@pytest.mark.parametrize(
    "wrong", [VALUES + 1e-4, VALUES[:, :1], VALUES * np.nan, VALUES * [1, np.inf]]
)
def test_what_differs_is_an_error_and_is_not_timed(wrong, monkeypatch):
    some = row(torch=side(wrong), numpy=side(VALUES + 1e-8))
    sides = run.checked(some, some.sides, host := bench(some))
    run.timed(sides, 3, host)
    assert sides["torch"]["status"].startswith("differs by")
    assert "wall" not in sides["torch"]
    assert [len(sides[name]["cpu"]) for name in (OURS, "numpy")] == [3, 3]
    monkeypatch.setattr(run, "time_row", lambda *_: sides)
    assert "torch differs by" in run.measure("m", some, 1, 3)["error"]


@pytest.mark.parametrize("shape", [(0,), (3, 0), ()])
def test_arrays_of_any_size_are_compared(shape):
    """An LSTM has no bias of its own for the last gate: that array is empty on every side."""
    assert run.difference([np.zeros(shape)], [np.zeros(shape)]) == 0
    assert run.difference([VALUES, np.zeros(shape)], [VALUES, np.zeros(shape)]) == 0
    assert run.difference([VALUES + 1, np.zeros(shape)], [VALUES, np.zeros(shape)]) > 0.1
    assert run.difference([np.zeros(shape)], [np.zeros((2, 0))]) == np.inf


@pytest.mark.parametrize("nothing", [[], [np.empty(0)], [np.empty(0), np.empty((3, 0))]])
def test_a_row_that_compares_no_number_is_an_error(nothing):
    some = row(**{OURS: lambda: ((lambda: None), lambda: nothing)}, torch=side(VALUES))
    assert "no number" in run.checked(some, some.sides, bench(some))[OURS]["status"]


def test_without_our_side_nothing_is_timed(monkeypatch):
    some = row(**{OURS: broken, "numpy": side(VALUES)})
    sides = run.checked(some, some.sides, host := bench(some))
    run.timed(sides, 3, host)
    assert not any("wall" in one for one in sides.values())
    monkeypatch.setattr(run, "time_row", lambda *_: sides)
    assert run.measure("m", some, 1, 3)["error"] == "dlbook failed: RuntimeError: no compiler"


def test_rivals_that_are_missing_or_fail_are_reported_and_the_rest_goes_on(monkeypatch):
    some = row(torch_that_nobody_has=absent, torch=broken, jax=absent, numpy=side(VALUES))
    sides = run.checked(some, some.sides, host := bench(some))
    run.timed(sides, 2, host)
    assert sides["torch_that_nobody_has"]["status"] == "not installed"
    assert sides["torch"]["status"] == "failed: RuntimeError: no compiler"
    assert sides["jax"]["status"].startswith("failed: ModuleNotFoundError")  # not jax itself
    assert len(sides["numpy"]["wall"]) == 2
    monkeypatch.setattr(run, "time_row", lambda *_: sides)
    assert run.measure("m", some, 1, 2)["error"] == ""


def test_the_peak_is_timed_and_not_compared():
    some = row(**{PEAK: lambda: ((lambda: None), 123.0)})
    sides = run.checked(some, some.sides, bench(some))
    assert sides[PEAK] == {"status": "ok", "work": 123.0}


def test_the_order_alternates():
    log = []
    names = [OURS, "numpy", "torch"]
    some = row(**{name: side(VALUES, log, name) for name in names})
    sides = run.checked(some, some.sides, host := bench(some))
    log.clear()
    run.timed(sides, 4, host)
    assert log == [*names, *names[::-1], *names, *names[::-1]]


def test_a_side_that_fails_later_has_no_time():
    def late():
        calls = iter(range(9))
        return (lambda: 1 / (next(calls) < 5) and None), lambda: [VALUES]

    class Dying(run.Bench):
        def measure(self, side):
            try:
                return super().measure(side)
            except ZeroDivisionError:
                raise run.SideError("failed: its process ended") from None

    here = Dying(some := row(torch=late), least=0)
    sides = run.checked(some, some.sides, lambda side: here)
    run.timed(sides, 5, lambda side: here)
    assert sides["torch"]["status"] == "failed: its process ended"
    assert len(sides[OURS]["wall"]) == 5
    one = record() | {"sides": sides}
    assert report.times(one, "torch") is None


# Processes


def test_a_process_answers_and_fails_in_words():
    """One real row, our side alone, in a process of its own."""
    _, some = chosen(all_rows(), "exp-1k")[0]
    with run.Remote("benchmarks.rows.elementary", some, 1) as remote:
        (found,) = remote.setup(OURS)
        assert len(remote.measure(OURS)) == 2
        with pytest.raises(run.SideError, match="KeyError: 'nobody'"):
            remote.setup("nobody")
    assert remote.process.returncode == 0
    expected = np.exp(np.random.default_rng(1).normal(0, 3, 1024).astype(np.float32))
    np.testing.assert_allclose(found, expected, rtol=1e-6)


@pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="processes cannot be stopped here")
def test_a_process_stands_still_while_others_are_measured():
    """It neither spins nor answers; a while later it does, and it ends as any other."""
    _, some = chosen(all_rows(), "exp-1k")[0]
    with run.Remote("benchmarks.rows.elementary", some, 2) as remote:
        remote.setup(OURS)
        with remote.awake():
            assert len(remote.measure(OURS)) == 2
        remote.connection.send(("measure", OURS))
        assert not remote.connection.poll(0.3)
        with remote.awake():
            assert remote.connection.poll(30) and len(remote.connection.recv()) == 2
    assert remote.process.returncode == 0


def test_a_process_that_dies_is_a_failure():
    _, some = chosen(all_rows(), "exp-1k")[0]
    remote = run.Remote("benchmarks.rows.nowhere", some, 1)
    with remote, pytest.raises(run.SideError, match="its process ended"):
        remote.setup(OURS)


@pytest.mark.parametrize("kind", ["time", "warm", "compile"])
def test_what_no_side_is_to_blame_for_is_the_error_of_the_row(kind, monkeypatch):
    """Processes that cannot be started, say: the record of the row has its reason and no side."""

    def fails(*_, **__):
        raise OSError("no more processes\nat all")

    monkeypatch.setattr(run.subprocess, "Popen", fails)
    monkeypatch.setattr(run, "Remote", fails)
    found = run.measure("benchmarks.rows.elementary", row()._replace(kind=kind), 1, 2)
    assert found["error"].endswith("failed: OSError: no more processes")
    assert "ERROR" in report.table({"rows": [found]})
    for table in (report.aims, report.starts, report.products, report.memories, report.unmeasured):
        table({"rows": [found]})


def test_a_process_that_does_not_end_is_a_failure(monkeypatch):
    _, some = chosen(all_rows(), "exp-1k")[0]
    monkeypatch.setattr(run, "PATIENCE", 0.01)
    with pytest.raises(run.SideError, match="no end in"):
        run.started("benchmarks.rows.elementary", some, OURS, run.BUILD)


def test_threads_are_set_by_the_environment():
    env = run.environment(2)
    assert (env["NUMBA_NUM_THREADS"], env["OMP_NUM_THREADS"], env["OPENBLAS_NUM_THREADS"]) == (
        ("2", "2", "1")
    )
    assert run.environment(2, ours=False)["OPENBLAS_NUM_THREADS"] == "2"


def test_what_each_library_compiles_is_kept_below_one_folder(tmp_path):
    """So a second run compiles nothing, and one that begins cold finds nothing."""
    env = run.environment(1, caches=tmp_path)
    assert {name: env[name] for name in run.FOLDERS} == {
        "DLBOOK_CACHE_DIR": str(tmp_path / "kernels"),
        "TORCHINDUCTOR_CACHE_DIR": str(tmp_path / "inductor"),
        "JAX_COMPILATION_CACHE_DIR": str(tmp_path / "jax"),
    }


# Statistics and tables


def test_ratios_are_to_the_best_setting():
    """Medians 2 and 7 (compile, 8 eager), minima 1 and 6.5: CPU time with one thread."""
    assert report.ratios(record()) == ("torch.compile", 3.5, 6.5)
    assert report.ratios(record(threads=2)) == ("torch", 1.5, 3.0)  # wall time with two
    assert report.ratios(record(kind="warm")) == ("torch", 1.5, 3.0)
    assert report.ratios(record(), "jax") is None


def test_a_ratio_is_that_of_a_round():
    """A machine that is twice as slow for a while is so for all sides: medians would say 1.5."""
    one = record()
    one["sides"] = {
        OURS: {"status": "ok", "cpu": [2.0, 2.0, 4.0, 4.0, 4.0], "wall": [1.0] * 5},
        "torch": {"status": "ok", "cpu": [6.0, 6.0, 6.0, 12.0, 12.0], "wall": [1.0] * 5},
    }
    assert report.ratios(one) == ("torch", 3.0, 3.0)


def test_rounds_with_one_core_say_nothing_about_two():
    """Some side had both cores in the first and the third round; what nobody had is left out."""
    one = record(threads=2)
    one["sides"][OURS]["cpu"] = [36.0, 10.0, 40.0]
    one["sides"]["torch"]["cpu"] = [30.0, 31.0, 59.0]
    one["sides"]["torch.compile"]["cpu"] = [50.0, 51.0, 50.0]
    assert report.counted(one) == ([0, 2], 3)
    assert report.times(one, OURS) == (30.0, 20.0)
    assert report.ratios(one) == ("torch", (1.5 + 0.75) / 2, 1.5)
    assert report.left_out({"rows": [one, record()]}) == (1, 3)
    for side in ("torch", OURS):
        one["sides"][side]["cpu"] = [1.0, 1.0, 1.0]
    assert report.ratios(one) is None  # then it was not measured


def test_where_we_stand_is_said_in_two_sentences():
    """0.94 is behind, 0.95 level, 1.05 ahead; the worst is named first."""
    rows = []
    for number, ratio in enumerate((1.05, 0.95, 0.94, 0.5)):
        rows.append(record(name=f"r{number}"))
        rows[-1]["sides"] = {
            OURS: {"status": "ok", "cpu": [1.0, 1.0], "wall": [1.0, 1.0]},
            "torch": {"status": "ok", "cpu": [ratio, ratio], "wall": [1.0, 1.0]},
        }
    said = report.standing({"rows": rows})
    assert "ahead in 1 of 4 measurements" in said and "level in 1 and behind in 2." in said
    assert said.endswith("in `r3` (0.50), `r2` (0.94).")
    assert report.standing({"rows": rows[:2]}).endswith("behind in 0.")


def test_what_misses_has_its_reason_beside_it():
    """Behind, or short of an aim: with what is known of it."""
    behind, short, good = record(name="a"), record(name="b", target={"torch": 9}), record(name="c")
    behind["sides"][OURS]["cpu"] = [9.0, 9.0, 9.0]
    head, rows = report.short_of({"rows": [behind, short, good]}, {"a": "memory", "b": "calls"})
    assert [row[-1] for row in rows] == ["memory", "calls"]
    assert all(len(row) == len(head) for row in rows)


def test_machines_stand_side_by_side():
    """What two of them have; the newest first."""
    one = {
        "machine": {"processor": "X", "date": "2026-01-01T"},
        "rows": [record(), record(name="s")],
    }
    two = {"machine": {"processor": "Y", "date": "2026-02-01T"}, "rows": [record()]}
    head, rows = report.beside({"x": one, "y": two})
    assert head[2:] == ("Y, 2026-02-01", "X, 2026-01-01")
    assert rows == [("r", 1, "3.50", "3.50")]


def test_what_is_compared_stands_by_falling_ratio():
    slow, fast = record(), record()
    slow["what"], fast["what"] = "slow", "fast"
    slow["sides"][OURS]["cpu"] = [4.0, 2.0, 8.0]
    head, rows = report.compared({"rows": [slow, record(threads=2), fast]}, 1)
    assert [row[1] for row in rows] == ["fast", "slow"]
    assert [row[5] for row in rows] == ["3.50", "1.75"] and len(head) == len(rows[0])


def test_the_worse_statistic_decides():
    (a, b, c) = report.verdicts(record(target={"torch": 3.5, "jax": 1}, limit=1.5))
    assert a == ("≥ 3.5× torch", "3.50×", True)
    assert report.verdicts(record(target={"torch": 3.6}))[0][2] is False
    assert b == ("≥ 1× jax", "not measured", None)
    assert c == ("≤ 1.5 s", "2.00 s", False)


def test_share_of_the_peak():
    """4e9 operations in 2 s, at best 1 s; the peak makes 8e9 in 2 s, always."""
    some = record(share=0.5)
    some["sides"][PEAK] = {"status": "ok", "work": 8e9, "cpu": [2.0], "wall": [2.0]}
    assert report.share(some) == 0.5
    assert report.verdicts(some) == [("≥ 50% of the peak", "50%", True)]
    assert report.ratios(some)[0] == "torch.compile"
    assert "50% of peak" in report.table({"rows": [some]})


def test_results_survive_the_file(tmp_path):
    head = machine.header()
    results = {"machine": head, "rows": [record(target={"torch": 3}), record(threads=2)]}
    for name, date in (("new", "2026-02-01T00:00"), ("old", "2026-01-01T00:00")):
        dated = results | {"machine": head | {"date": date}}
        store.write(tmp_path / f"{name}.json", dated)
    assert set(report.read(tmp_path)) == {"new", "old"}
    again = report.newest(tmp_path)
    assert again["machine"]["date"].startswith("2026-02")
    text = report.table(again)
    assert text == report.table(results)
    for words in ("CPU time", "wall time", "3.50×", "not installed", "reached", "2.0 GF/s"):
        assert words in text
    for table in (report.aims, report.starts, report.products, report.memories, report.unmeasured):
        cells, rows = table(again)
        assert all(len(line) == len(cells) for line in rows)
    with pytest.raises(FileNotFoundError, match="make bench"):
        report.newest(tmp_path / "empty")


# One file, row by row


HEAD = {"date": "2026-01-01", "load": [0.1], "commit": "abc", "versions": {"numpy": "2"}}


@pytest.fixture
def runs(tmp_path, monkeypatch):
    """Return a function that runs the command on three made-up rows, and the file it writes.

    `fate` says what becomes of a row that is measured: its error, or an exception. The function
    returns the exit status and the names of the rows that were measured.
    """
    rows = [row()._replace(name=name) for name in ("first", "second", "third")]
    rows[1] = rows[1]._replace(threads=(1, 2))
    monkeypatch.setattr(command, "all_rows", lambda: {"made_up": rows})
    out = tmp_path / "deep" / "results.json"

    def start(*arguments, fate=(), head=HEAD):
        measured, fate = [], dict(fate)

        def measure(module, row, threads, rounds):
            measured.append((row.name, threads))
            outcome = fate.get(row.name, "")
            if not isinstance(outcome, str):
                raise outcome
            return record(threads, name=row.name, error=outcome, took=len(measured))

        monkeypatch.setattr(machine, "header", lambda: json.loads(json.dumps(head)))
        monkeypatch.setattr(run, "measure", measure)
        status = command.main(["--out", str(out), *arguments])
        return status, measured

    return start, out


ALL = [("first", 1), ("second", 1), ("second", 2), ("third", 1)]


def names_in(out):
    return [store.name(row) for row in json.loads(out.read_text("utf-8"))["rows"]]


def test_a_run_that_is_stopped_goes_on_where_it_was(runs, capsys):
    start, out = runs
    assert start(fate={"third": KeyboardInterrupt()}) == (130, ALL)
    assert names_in(out) == ALL[:3]
    assert "the next run goes on" in capsys.readouterr().err
    assert start() == (0, ALL[3:])
    assert names_in(out) == ALL
    said = capsys.readouterr()
    assert "going on with the results of 2026-01-01" in said.err
    assert "3 of 4" in said.err
    assert said.out.count("a row") == 4  # the table shows those of both runs
    assert start() == (0, [])
    assert start("--only", "second", "--threads", "2", "--again") == (0, [("second", 2)])
    assert names_in(out) == ALL


def test_rows_of_earlier_code_are_kept_where_that_is_asked_for(runs, capsys):
    """Each says of which commit it is; it is measured anew where it is asked for, or without being."""
    start, out = runs
    start()
    later = HEAD | {"commit": "def", "code": "2"}
    assert start("--keep", "--threads", "2", head=later) == (0, [("second", 2)])
    results = json.loads(out.read_text("utf-8"))
    assert "keeping rows of earlier code" in capsys.readouterr().err
    assert names_in(out) == ALL and results["machine"]["commit"] == "def"
    assert [row.get("commit") for row in results["rows"]] == ["abc", "abc", None, "abc"]
    assert report.earlier(results) == "3 of abc"
    assert store.done(results) == {("second", 2)}
    assert start(head=later) == (0, [ALL[0], ALL[1], ALL[3]])
    assert report.earlier(json.loads(out.read_text("utf-8"))) == "none"
    assert start("--keep", head=later | {"versions": {}}) == (
        0,
        ALL,
    )  # other versions are another run


def test_what_was_measured_is_there_whatever_ends_the_run(runs):
    start, out = runs
    with pytest.raises(MemoryError):
        start(fate={"second": MemoryError()})
    assert names_in(out) == ALL[:1]
    assert [path.name for path in out.parent.iterdir()] == [out.name]


def test_an_error_is_one_rows_and_is_tried_again(runs, capsys):
    start, out = runs
    assert start(fate={"second": "torch differs"}) == (1, ALL)
    assert capsys.readouterr().out.count("ERROR torch differs") == 2
    assert start(fate={"second": "torch differs"}) == (1, ALL[1:3])
    assert start() == (0, ALL[1:3])
    assert names_in(out) == ALL
    assert not any(row["error"] for row in json.loads(out.read_text("utf-8"))["rows"])


@pytest.mark.parametrize(
    ("arguments", "head", "differs"),
    [
        ([], {"commit": "def"}, "commit"),
        ([], {"versions": {"numpy": "3"}, "code": "1"}, "code, versions"),
        (["--rounds", "7"], {}, "rounds"),
    ],
)
def test_another_state_starts_anew_and_says_so(arguments, head, differs, runs, capsys):
    """The earlier results are moved aside, not lost."""
    start, out = runs
    start()
    before = out.read_text("utf-8")
    assert start(*arguments, "--only", "third", head=HEAD | head) == (0, ALL[3:])
    assert f"starting anew (no longer the same: {differs})" in capsys.readouterr().err
    assert names_in(out) == ALL[3:]
    assert out.with_name("results.old.json").read_text("utf-8") == before


@pytest.mark.parametrize("content", ["", "{", "[]", '{"machine": {}}'])
def test_a_file_that_cannot_be_read_is_moved_aside(content, runs, capsys):
    start, out = runs
    out.parent.mkdir()
    out.write_text(content, "utf-8")
    assert start() == (0, ALL)
    assert "could not be read" in capsys.readouterr().err
    assert out.with_name("results.old.json").read_text("utf-8") == content


def test_another_date_and_load_do_not_matter(runs):
    start, out = runs
    start("--only", "first")
    assert start(head=HEAD | {"date": "2026-01-02", "load": [0.5]}) == (0, ALL[1:])
    found = json.loads(out.read_text("utf-8"))["machine"]
    assert (found["date"], found["load"][0], found["load"][2]) == ("2026-01-01", 0.1, 0.5)
    assert len(found["load"]) == 4


def test_code_is_told_apart_by_its_files(tmp_path, monkeypatch):
    monkeypatch.setattr(machine, "ROOT", tmp_path)
    (tmp_path / "dlbook").mkdir()
    (path := tmp_path / "dlbook" / "x.py").write_text("x = 1", "utf-8")
    before = machine.code()
    assert machine.code() == before
    path.write_text("x = 2", "utf-8")
    assert machine.code() != before


def test_an_error_is_shown():
    assert "ERROR torch differs" in report.table({"rows": [record(error="torch differs")]})


@pytest.mark.parametrize(
    ("value", "shown"), [(2.5, "2.5 s"), (0.0123, "12.3 ms"), (4.5e-6, "4.5 µs"), (7e-10, "0.7 ns")]
)
def test_seconds(value, shown):
    assert report.seconds(value) == shown


# The machine


def test_the_header_has_its_fields():
    head = machine.header()
    assert set(head) == {
        *("processor", "features", "cores", "memory", "system", "variables", "libraries"),
        *("versions", "date", "commit", "changed", "code", "load"),
    }
    assert head["libraries"]["blas"]
    assert head["libraries"]["numba_threads"]
    assert {"python", "numpy", "numba", "torch", "jax"} <= set(head["versions"])
    assert re.fullmatch(r"[a-z0-9-]+", machine.slug(head))


def test_what_sweeps_write_is_no_change_of_the_code(tmp_path, monkeypatch):
    """Of several in one call each has a clean stamp; a kernel that was touched is seen."""
    monkeypatch.setattr(machine, "ROOT", tmp_path)
    kernel, stored = tmp_path / "dlbook" / "x.py", tmp_path / "dlbook" / "tools" / "sweeps.json"
    stored.parent.mkdir(parents=True)
    kernel.write_text("x = 1\n", "utf-8")
    stored.write_text("{}\n", "utf-8")
    machine.git("init", "-q")
    machine.git("add", ".")
    machine.git("-c", "user.name=x", "-c", "user.email=x@x", "commit", "-qm", "x")
    assert machine.header()["commit"] and not machine.header()["changed"]
    stored.write_text('{"a": 1}\n', "utf-8")
    assert not machine.header()["changed"]
    kernel.write_text("x = 2\n", "utf-8")
    assert machine.header()["changed"]


def test_the_lane_of_peers_installs_every_rival_it_needs():
    """A library that is here by chance is missing in a clean clone: `make` asks for it, and installs it."""
    make = (ROOT / "Makefile").read_text("utf-8")
    lane = re.search(r"^test-peers:.*\n((?:\t.*\n)+)", make, re.M)[1]
    asked = set(re.findall(r'"(\w+)"', re.search(r"map\(find_spec, \(([^)]*)\)", lane)[1]))
    needed = {library(side) for row in all_rows().values() for r in row for side in r.sides}
    needed |= {module for file in PEERS for module in imported(file)}
    rivals = {name.replace("-", "_") for name in extra("bench")} - {"jax", "threadpoolctl"}
    assert asked == needed & rivals == {"gensim", "sacrebleu", "torch"}
    for name in asked:
        assert re.search(rf"pip install .*\b{name}\b", lane), name


@pytest.mark.parametrize("turn", [1, -1])
def test_libraries_are_named_in_one_order(turn, monkeypatch):
    """They are found in any, and a run goes on only where the last one found the same."""
    pools = [
        {"user_api": "blas", "filepath": f"/x/{name}.libs/b.so"} for name in ("numpy", "scipy")
    ]
    monkeypatch.setattr("threadpoolctl.threadpool_info", lambda: pools[::turn])
    assert [pool["of"] for pool in machine.libraries()["blas"]] == ["numpy", "scipy"]


def test_the_header_names_no_folder(monkeypatch):
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(ROOT))
    monkeypatch.setenv("OPENBLAS_CORETYPE", "Haswell")
    head = machine.header()
    assert str(ROOT) not in json.dumps(head)
    assert head["variables"]["OPENBLAS_CORETYPE"] == "Haswell"


# The command, and the rows there are


def test_an_unknown_name_is_an_error_that_lists_the_names(capsys):
    assert command.main(["--only", "nothing"]) == 2
    said = capsys.readouterr().err
    assert "no benchmark is called nothing" in said
    assert "mlp-digits" in said


def test_rows_are_chosen_by_name_and_by_module():
    rows = all_rows()
    assert [r.name for _, r in chosen(rows, "exp-1k, mlp-digits")] == ["mlp-digits", "exp-1k"]
    assert {m for m, _ in chosen(rows, "matmul")} == {"matmul"}
    assert len(chosen(rows, "")) == sum(map(len, rows.values()))


def test_rows_are_in_order():
    names = [r.name for _, r in chosen(all_rows(), "")]
    assert len(set(names)) == len(names)
    for _, some in chosen(all_rows(), ""):
        assert OURS in some.sides
        assert some.kind in ("time", "warm", "cold", "compile")
        assert set(some.target) <= {name.split(".")[0] for name in some.sides}


def test_only_complete_results_are_published(tmp_path):
    out, head = tmp_path / "results.json", machine.header()
    out.write_text(json.dumps({"machine": head, "rounds": 7, "rows": [record()]}), "utf-8")
    with pytest.raises(LookupError, match=r"lacks other \(2\)"):
        command.publish(out, {("r", 1), ("other", 2)}, tmp_path)
    path = command.publish(out, {("r", 1)}, tmp_path)
    assert path.name == f"{machine.slug(head)}.json"
    assert path.read_text("utf-8") == out.read_text("utf-8")


def test_few_rounds_are_marked_and_not_published(runs, capsys):
    start, out = runs
    assert start("--rounds", "6") == (0, ALL)
    assert "rounds: 6, not to be published" in capsys.readouterr().out
    with pytest.raises(LookupError, match="holds 6 rounds, expected 7 or more"):
        command.publish(out, set(ALL), out.parent)
    start("--rounds", "7")
    assert "not to be published" not in capsys.readouterr().out


def test_the_page_is_read_in_the_tree_only():
    """Its numbers are not part of the package, so it is not a notebook; its results are there."""
    sys.path.insert(0, str(BOOK / "_ext"))
    import notebooks

    app = SimpleNamespace(env=SimpleNamespace(doc2path=lambda stem: BOOK / f"{stem}.md"))
    assert notebooks.runs(app, "neurons") and not notebooks.runs(app, "performance")
    assert report.newest()["rows"]


def test_the_page_depends_on_the_results():
    """New results are new numbers: the page is run again, its cached execution not used."""
    sys.path.insert(0, str(BOOK / "_ext"))
    import dependencies
    from myst_parser.config.main import MdParserConfig

    noted = []
    env = SimpleNamespace(myst_config=MdParserConfig(), note_dependency=noted.append)
    app = SimpleNamespace(env=env, config=SimpleNamespace(dlbook_stack=""))
    dependencies.source_read(app, "performance", [text_of("performance")])
    shown = {*report.RESULTS.glob("*.json"), report.WHY}
    assert {str(path) for path in shown} <= set(noted)


def test_what_is_behind_has_a_reason():
    """In the newest results, and in words of their own; no reason is left behind."""
    why, results = report.whys(), report.newest()
    missed = {
        row["name"] if row["kind"] != "compile" else "compile" for row in report.short(results)
    }
    assert missed <= why.keys(), f"benchmarks/behind.toml lacks {sorted(missed - why.keys())}"
    assert why.keys() <= missed, f"benchmarks/behind.toml has {sorted(why.keys() - missed)}"
    assert all(len(words) > 40 and words.endswith(".") for words in why.values())


def test_committed_results_name_no_folder():
    """What is published carries no path of the machine."""
    for path in report.RESULTS.glob("*.json"):
        assert not re.search(r"/(?:home|root|tmp|work|Users)/", path.read_text("utf-8")), path.name
