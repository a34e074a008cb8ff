"""Run files of answers, each in a process of its own under a time limit, and report.

A notebook is run cell by cell, a script statement by statement; what stops is noted, and the rest
still runs. Where an answer hangs or takes the whole process with it, the file is run again without
that cell. This is no sandbox: the files run with all the rights of whoever runs them.
"""

import ast
import contextlib
import csv
import json
import linecache
import multiprocessing
import multiprocessing.connection
import os
import re
import signal
import sys
import tempfile
import threading
import time
import types
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

from dlbook.exercises import CHAPTERS, shown
from dlbook.exercises.forms import CORRECT, STOPPED, UNATTEMPTED

__all__ = ["answer_files", "run", "text_report", "write_reports", "write_table"]

KINDS = (".ipynb", ".py")
ATTEMPTS = 5  # runs of one file, each without what stopped the one before
PATIENCE = 120  # seconds until a process must have started
LARGEST = 50_000_000  # bytes of a file

# Starting a process asks all others for their exit code, which can be read only once
_one_at_a_time = threading.Lock()


# Files


def answer_files(paths):
    """Return the notebooks and scripts that paths name or folders hold, as (path, shown name)."""
    found = []
    for path in map(Path, paths):
        if not path.is_dir():
            found.append((path, path.name))
            continue
        for inner in sorted(path.rglob("*")):
            name = inner.relative_to(path)
            if inner.suffix in KINDS and not any(part.startswith(".") for part in name.parts):
                found.append((inner, name.as_posix()))
    return found


def _steps(path):
    """Return [(name, code object or error)] of a file, or raise ValueError."""
    if path.stat().st_size > LARGEST:
        raise ValueError(f"the file is larger than {LARGEST:,} bytes")
    text = path.read_bytes().decode("utf-8")
    if path.suffix != ".ipynb":
        tree = ast.parse(text, str(path))
        return [
            (f"line {node.lineno}", compile(ast.Module([node], []), str(path), "exec"))
            for node in tree.body
        ]
    notebook = json.loads(text)
    if not isinstance(notebook, dict) or not isinstance(notebook.get("cells"), list):
        raise ValueError("this is no notebook of format 4")
    steps = []
    for cell in notebook["cells"]:
        if not isinstance(cell, dict) or cell.get("cell_type") != "code":
            continue
        source = cell.get("source", "")
        source = source if isinstance(source, str) else "".join(map(str, source))
        name = f"cell {len(steps) + 1}"
        source = re.sub(r"^([ \t]*)[%!].*$", r"\1pass", source, flags=re.M)  # magics need IPython
        linecache.cache[name] = (len(source), None, source.splitlines(keepends=True), name)
        try:
            steps.append((name, compile(source, name, "exec")))
        except (SyntaxError, ValueError) as error:
            steps.append((name, error))
    return steps


# In the process of one file


def _work(path, log, skip, ready):
    """Run a file and write what happens, line by line, so that nothing is lost when it dies."""
    with contextlib.suppress(AttributeError, OSError):
        os.setsid()  # so that what it starts can be ended with it
    nowhere = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nowhere, stream)
    os.environ.update(DLBOOK_DATA_DIR="", MPLBACKEND="Agg")
    os.chdir(path.parent)
    sys.path.insert(0, str(path.parent))
    sys.argv = [str(path)]
    main = sys.modules["__main__"] = types.ModuleType("__main__")
    main.__dict__.update(__file__=str(path), display=lambda *args, **options: None)
    with open(log, "a", encoding="utf-8") as file:

        def tell(kind, **fields):
            file.write(json.dumps({"kind": kind} | fields) + "\n")
            file.flush()

        def listen(event, what):
            if event == "begin":
                tell("begin", label=what)
            else:
                lines = [shown.plain(line) for line in what.lines]
                tell("result", label=what.label, status=what.status, name=what.name, lines=lines)

        shown.listeners[:] = [listen]
        ready.send(True)
        try:
            steps = _steps(path)
        except (OSError, ValueError, SyntaxError, RecursionError, MemoryError) as error:
            tell("problem", text=f"cannot be read: {_said(error)}")
            steps = []
        for number, (name, code) in enumerate(steps):
            if number in skip:
                continue
            tell("step", number=number, name=name)
            try:
                if isinstance(code, Exception):
                    raise code
                exec(code, main.__dict__)
            except BaseException as error:  # whatever a file does, the rest of it still runs
                tell("problem", text=f"{name}: {_said(error)}")
        tell("end")
    os._exit(0)  # threads that a file left behind cannot hold it up


def _said(error):
    """Return an exception in one line."""
    text = str(error).strip().splitlines()
    return f"{type(error).__name__}: {text[0][:150]}" if text else type(error).__name__


# In the process that reports


def run(files, seconds=60, jobs=None, progress=False):
    """Run (path, name) files and return one report for each, in their order.

    Parameters
    ----------
    files : sequence of (Path, str)
        From `answer_files`.
    seconds : float
        The limit for one run of a file.
    jobs : int, optional
        How many run side by side; otherwise as many as there are processors.
    progress : bool
        Show a progress bar.
    """
    for pool in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(pool, "1")
    server = "forkserver" in multiprocessing.get_all_start_methods()
    context = multiprocessing.get_context("forkserver" if server else "spawn")
    if server:  # what all files need is loaded once
        context.set_forkserver_preload([__name__, *(f"dlbook.exercises.{c}" for c in CHAPTERS)])
    stop = threading.Event()
    with (
        tempfile.TemporaryDirectory() as folder,
        ThreadPoolExecutor(jobs or os.cpu_count()) as pool,
    ):
        try:
            waiting = [
                pool.submit(_report, context, path, name, Path(folder, f"{k}.log"), seconds, stop)
                for k, (path, name) in enumerate(files)
            ]
            for _ in _shown(as_completed(waiting), len(waiting), progress):
                pass
            return [future.result() for future in waiting]
        finally:
            stop.set()
            pool.shutdown(cancel_futures=True)


def _shown(done, total, progress):
    """Return what is done, with a progress bar where it is wanted."""
    if not progress:
        return done
    from tqdm import tqdm

    return tqdm(done, total=total, desc="files", unit="file")


def _report(context, path, name, log, seconds, stop):
    """Run one file, again without what stopped it, and return what is to say."""
    report = {"file": name, "correct": 0, "checked": 0, "exercises": {}, "problems": []}
    skip, results, problems = set(), {}, []

    def note(label, step, status, lines, name=""):
        """Keep what is said last of an exercise, in the order of the file."""
        if step >= results.get(label, (step,))[0]:
            results[label] = step, {"status": status, "name": name, "lines": lines}

    for _ in range(ATTEMPTS):
        log.unlink(missing_ok=True)
        try:
            how = _attempt(context, path.resolve(), log, frozenset(skip), seconds, stop)
            events = [json.loads(line) for line in log.read_text("utf-8").splitlines()]
        except (OSError, ValueError) as error:
            problems.append(f"cannot be run: {_said(error)}")
            break
        step, where = -1, ""
        for event in events:
            if event["kind"] == "step":
                step, where = event["number"], event["name"]
            elif event["kind"] == "problem":
                problems.append(event["text"])
            elif event["kind"] == "result":
                note(event["label"], step, event["status"], event["lines"], event["name"])
        last = events[-1] if events else {"kind": ""}
        if not how and last["kind"] == "end":
            break
        how = how or "its process ended"
        problems.append(f"{where}: {how}" if where else how)
        if step < 0 or stop.is_set():
            break
        skip.add(step)
        if last["kind"] == "begin":
            note(last["label"], step, STOPPED, [f"The answer was stopped: {how}."])
    report["problems"] = list(dict.fromkeys(problems))
    report["exercises"] = {label: results[label][1] for label in sorted(results)}
    report["correct"] = sum(r["status"] == CORRECT for r in report["exercises"].values())
    report["checked"] = len(results)
    return report


def _attempt(context, path, log, skip, seconds, stop):
    """Run a file once; return why it was stopped, or an empty string."""
    ready, told = context.Pipe(duplex=False)
    process = context.Process(target=_work, args=(path, log, skip, told))
    with _one_at_a_time:
        process.start()
    told.close()
    try:
        with contextlib.suppress(EOFError):
            if not ready.poll(PATIENCE):
                return f"it did not start within {PATIENCE} seconds"
            ready.recv()
        end = time.monotonic() + seconds
        while not multiprocessing.connection.wait([process.sentinel], 0.2):
            if stop.is_set():
                return "interrupted"
            if time.monotonic() >= end:
                return f"no end within {seconds:g} seconds"
        with _one_at_a_time:
            process.join()
        code = process.exitcode
        return "" if code == 0 else f"its process ended with {_cause(code)}"
    finally:
        with contextlib.suppress(AttributeError, OSError):  # and all that it started
            os.killpg(process.pid, signal.SIGKILL)
        with _one_at_a_time:
            process.kill()
            process.join()
            process.close()
        ready.close()


def _cause(code):
    """Return an exit code in words."""
    with contextlib.suppress(ValueError):
        return f"signal {signal.Signals(-code).name}" if code < 0 else f"status {code}"
    return f"status {code}"


# Reports


def text_report(report):
    """Return a report as plain text."""
    lines = [f"{report['file']}: {report['correct']} of {report['checked']} correct"]
    for label, result in report["exercises"].items():
        mark = shown.MARKS.get(result["status"], "✗")
        first, *rest = result["lines"]
        lines += [f"  {mark} {label}: {first}"]
        lines += [f"      {line}" for line in rest] if result["status"] != CORRECT else []
    lines += [f"  ! {problem}" for problem in report["problems"]]
    return "\n".join(lines) + "\n"


def write_reports(reports, folder):
    """Write each report as text and as JSON into a folder."""
    for report in reports:
        path = Path(folder, report["file"])
        path.parent.mkdir(parents=True, exist_ok=True)
        path.with_name(f"{path.name}.txt").write_text(text_report(report), encoding="utf-8")
        text = json.dumps(report, indent=1, ensure_ascii=False)
        path.with_name(f"{path.name}.json").write_text(f"{text}\n", encoding="utf-8")


def write_table(reports, path):
    """Write a row for each file: how many are correct, the status of each exercise, problems."""
    labels = sorted({label for report in reports for label in report["exercises"]})
    with open(path, "w", encoding="utf-8-sig", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["file", "correct", "checked", *labels, "problems"])
        for report in reports:
            known = report["exercises"]
            row = [known.get(label, {"status": UNATTEMPTED})["status"] for label in labels]
            cells = [report["file"], report["correct"], report["checked"], *row]
            writer.writerow(map(_cell, [*cells, "; ".join(report["problems"])]))


def _cell(value):
    """Return a value that no spreadsheet takes for a formula."""
    return f"'{value}" if isinstance(value, str) and value[:1] in ("=", "+", "-", "@") else value
