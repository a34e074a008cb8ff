"""Run files of answers, each in a process of its own under a time limit, and report.

Where an answer hangs or takes the whole process with it, the file is run again without that cell or
statement. Whatever a file does, and whatever it is called, the others get their result. This is not a
sandbox: the files run with all the rights of whoever runs them.
"""

import contextlib
import csv
import hashlib
import json
import multiprocessing
import multiprocessing.connection
import os
import re
import signal
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

from dlbook.exercises import CHAPTERS, shown
from dlbook.exercises.forms import CORRECT, STOPPED, UNATTEMPTED
from dlbook.exercises.running import KINDS, work
from dlbook.exercises.words import said

__all__ = ["answer_files", "run", "text_report", "write_report", "write_table"]

TREE = Path(__file__).resolve().parents[2]
ATTEMPTS = 5  # runs of one file, each without what stopped the one before
PATIENCE = 120  # seconds until a process must have started
PROBLEMS = 50  # of one file that are told
LONGEST = 240  # bytes of a file name, so that an ending fits behind it
FORMULA = "=+-@＝＋－＠"  # what a spreadsheet takes for the beginning of one
# What would move a terminal's cursor, turn its text round or cannot be written at all
UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")

# Starting a process asks all others for their exit code, which can be read only once
_one_at_a_time = threading.Lock()


# Files


def answer_files(paths):
    """Return the notebooks and scripts that paths name or folders hold, as (path, shown name).

    A name is the path below the folder that holds all of them, so that no two are alike.
    """
    paths = [Path(os.path.abspath(path)) for path in paths]
    found = {}
    for path in paths:
        for inner in sorted(path.rglob("*")) if path.is_dir() else [path]:
            hidden = any(part.startswith(".") for part in inner.relative_to(path).parts)
            if inner == path or (is_answer(inner) and not hidden):
                found[inner] = None
    try:
        top = os.path.commonpath([path if path.is_dir() else path.parent for path in paths])
        return [(path, path.relative_to(top).as_posix()) for path in found]
    except ValueError:  # on several drives, whose names then come first
        drives = [re.sub(r"\W+", "", path.drive) for path in found]
        return [
            (path, f"{drive}/{path.relative_to(path.anchor).as_posix()}")
            for path, drive in zip(found, drives, strict=True)
        ]


def is_answer(path):
    """Return whether a path is that of a notebook or a script, by its ending."""
    return path.suffix.lower() in KINDS and not path.is_dir()


# In the process that reports


def run(files, seconds=60, jobs=None, progress=False, finished=lambda report: None):
    """Run (path, name) files and return one report for each, in their order.

    Ctrl-C ends the run; what was not run by then says so in its report.

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
    finished : callable
        Gets each report as soon as it is there.
    """
    for pool in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(pool, "1")
    context = _context(any(path.suffix.lower() == ".ipynb" for path, _ in files))
    answers = frozenset(os.path.realpath(path) for path, _ in files)
    stop = threading.Event()

    def report(number):
        path, name = files[number]
        if stop.is_set():
            return _empty_report(name, "was not run: interrupted")
        log = Path(folder, f"{number}.log")
        try:
            return _report(context, path, name, answers, log, seconds, stop)
        except Exception as error:  # of the machine, not of the file: the others still run
            return _empty_report(name, f"cannot be run: {said(error)}")

    with (
        _started_apart(),
        tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder,
        ThreadPoolExecutor(jobs or os.cpu_count()) as pool,
    ):
        waiting = [pool.submit(report, number) for number in range(len(files))]
        try:
            for done in _shown(as_completed(waiting), len(waiting), progress):
                finished(done.result())
        except KeyboardInterrupt:
            pass
        finally:
            stop.set()
        return [done.result() for done in waiting]


def _context(notebooks):
    """Return how processes are started: from one that has loaded what all files need."""
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    loaded = [work.__module__, *(f"dlbook.exercises.{chapter}" for chapter in CHAPTERS)]
    context.set_forkserver_preload([*loaded, *["dlbook.exercises.shell"] * notebooks])
    return context


@contextlib.contextmanager
def _started_apart():
    """Let new processes find this package, and not what lies in the folder we are in.

    An answer that is called csv.py would otherwise stand in for Python's.
    """
    before = {name: os.environ.get(name) for name in ("PYTHONSAFEPATH", "PYTHONPATH")}
    os.environ["PYTHONSAFEPATH"] = "1"
    if TREE.name not in ("site-packages", "dist-packages"):
        known = filter(None, [before["PYTHONPATH"], str(TREE)])
        os.environ["PYTHONPATH"] = os.pathsep.join(known)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


def _shown(done, total, progress):
    """Return what is done, with a progress bar where it is wanted."""
    if not progress:
        return done
    from tqdm import tqdm

    return tqdm(done, total=total, desc="files", unit="file")


def _empty_report(name, *problems):
    """Return the report on a file of which nothing is known but its problems."""
    return {"file": name, "correct": 0, "checked": 0, "exercises": {}, "problems": [*problems]}


def _report(context, path, name, answers, log, seconds, stop):
    """Run one file, again without what stopped it, and return what is to say."""
    skip, results, problems = set(), {}, {}

    def note(label, step, status, lines, name=""):
        """Keep what is said last of an exercise, in the order of the file."""
        if step >= results.get(label, (step,))[0]:
            results[label] = step, {"status": status, "name": name, "lines": lines}

    for _ in range(ATTEMPTS):
        log.unlink(missing_ok=True)
        how = _attempt(context, path, answers, log, frozenset(skip), seconds, stop)
        step, last, names = -1, {"kind": ""}, []
        for event in _events(log):
            last, kind = event, event["kind"]
            if kind == "steps":
                names = event["names"]
            elif kind == "step":
                step = event["number"]
            elif kind == "problem":
                problems[event["text"]] = None
            elif kind == "result":
                note(event["label"], step, event["status"], event["lines"], event["name"])
        if not how and last["kind"] == "end":
            break
        how = how or "its process ended"
        problems[f"{names[step]}: {how}" if step >= 0 else how] = None
        if step < 0 or stop.is_set():
            break
        skip.add(step)
        if last["kind"] == "begin":
            note(last["label"], step, STOPPED, [f"The answer was stopped: {how}."])
    else:
        if left := names[step + 1 :]:
            rest = left[0] if len(left) == 1 else f"{left[0]} to {left[-1]}"
            why = f"{rest}: left out, because {ATTEMPTS} runs before were stopped"
            problems = {why: None} | problems
    report = _empty_report(name, *list(problems)[:PROBLEMS])
    if len(problems) > PROBLEMS:
        report["problems"].append(f"and {len(problems) - PROBLEMS:,} more problems")
    report["exercises"] = {label: results[label][1] for label in sorted(results)}
    report["correct"] = sum(r["status"] == CORRECT for r in report["exercises"].values())
    report["checked"] = len(results)
    return report


def _events(log):
    """Yield what the process of a file wrote down; a line that it could not end is left out."""
    if log.exists():
        with open(log, encoding="utf-8", errors="replace") as file:
            for line in file:
                with contextlib.suppress(ValueError):
                    yield json.loads(line)


def _attempt(context, path, answers, log, skip, seconds, stop):
    """Run a file once; return why it was stopped, or an empty string."""
    ready, told = context.Pipe(duplex=False)
    path = Path(os.path.realpath(path))
    process = context.Process(target=work, args=(path, answers, log, skip, told))
    with _one_at_a_time:
        process.start()
    told.close()
    try:
        end = time.monotonic() + PATIENCE
        while not ready.poll(0.2):
            if stop.is_set():
                return "interrupted"
            if time.monotonic() >= end:
                return f"it did not start within {PATIENCE} seconds"
        with contextlib.suppress(EOFError):
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
    """Return a report as plain text, which any terminal shows as it is."""
    lines = [f"{report['file']}: {report['correct']} of {report['checked']} correct"]
    for label, result in report["exercises"].items():
        mark = shown.MARKS.get(result["status"], "✗")
        first, *rest = result["lines"]
        lines += [f"  {mark} {label}: {first}"]
        lines += [f"      {line}" for line in rest] if result["status"] != CORRECT else []
    lines += [f"  ! {problem}" for problem in report["problems"]]
    return "".join(f"{printable(line)}\n" for line in lines)


def printable(line):
    """Return a line whose control characters and broken characters are written as escapes."""
    return UNPRINTABLE.sub(lambda m: m[0].encode("unicode_escape").decode(), line)


def write_report(report, folder):
    """Write a report as text and as JSON into a folder."""
    path = Path(folder, *map(_fitting, report["file"].split("/")))
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(report, indent=1, ensure_ascii=False)
    for ending, content in ((".txt", text_report(report)), (".json", f"{text}\n")):
        with open(f"{path}{ending}", "w", encoding="utf-8", errors="backslashreplace") as file:
            file.write(content)


def _fitting(part):
    """Return a part of a path to which an ending can be added: cut, if it is long, and marked."""
    data = os.fsencode(part)
    if len(data) <= LONGEST:
        return part
    mark = hashlib.sha256(data).hexdigest()[:8]
    return f"{data[: LONGEST - 10].decode(errors='ignore')}~{mark}"


def write_table(reports, path):
    """Write a row for each file: how many are correct, the status of each exercise, problems."""
    labels = sorted({label for report in reports for label in report["exercises"]})
    with open(path, "w", encoding="utf-8-sig", errors="backslashreplace", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["file", "correct", "checked", *labels, "problems"])
        for report in reports:
            known = report["exercises"]
            row = [known.get(label, {"status": UNATTEMPTED})["status"] for label in labels]
            cells = [report["file"], report["correct"], report["checked"], *row]
            writer.writerow(map(_cell, [*cells, "; ".join(report["problems"])]))


def _cell(value):
    """Return a value that no spreadsheet takes for a formula."""
    if not isinstance(value, str):
        return value
    risky = value[:1] in ("\t", "\r", "\n") or value.lstrip()[:1] in tuple(FORMULA)
    return f"'{value}" if risky else value
