"""`make fuzz`: run the targets, each in a process with limits, and print what came of them.

`make fuzz N=100000 SEED=3 ONLY=weights` sends more, others, to one target; `make fuzz CASE=FILE`
repeats a case that was written down.
"""

import argparse
import contextlib
import dataclasses
import json
import os
import queue
import subprocess
import sys
import threading
import time
from importlib import import_module
from pathlib import Path

from tqdm import tqdm

from fuzz import engine, interrupted

TARGETS = {  # each in a file of its own, whose imports only its process needs
    "weights": "files.Weights",
    "checkpoint": "files.Checkpoints",
    "idx": "files.Idx",
    "notebooks": "commands.Notebooks",
    "scripts": "commands.Scripts",
    "progress": "commands.Progress",
    "commands": "commands.CommandLines",
    "requests": "commands.Requests",
    "pages": "pages.Pages",
    "formulas": "pages.Formulas",
}
SILENCE = 120  # seconds without a word after which a process hangs
EVERY = 0.3  # seconds between two words


def target_of(name):
    """Return the class of a target."""
    module, kind = TARGETS[name].split(".")
    return getattr(import_module(f"fuzz.{module}"), kind)


def limit_memory(more):
    """Let this process use some bytes more than it does, where the system can say what that is."""
    import resource

    with contextlib.suppress(OSError, ValueError):
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        limit = pages * resource.getpagesize() + more
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


# The process of a target


def child(name, cases, seed):
    """Run the cases of one target and tell how far it is, a line of JSON each time."""
    out, last = os.fdopen(os.dup(1), "w"), 0.0
    kind = target_of(name)
    begun = engine.SAVED / f"{name}.begun"
    engine.SAVED.mkdir(parents=True, exist_ok=True)

    def shown(result):
        nonlocal last
        if result.cases == 1:  # the first case has loaded what is loaded late
            limit_memory(kind.memory)
        if time.monotonic() - last > EVERY:
            last = time.monotonic()
            print(json.dumps({"cases": result.cases}), file=out, flush=True)

    print(json.dumps({"cases": 0}), file=out, flush=True)
    result = engine.fuzz(kind, cases, seed, begun=begun, shown=shown)
    failures = [(failure.said, failure.save()) for failure in result.failures]
    begun.unlink(missing_ok=True)
    found = dataclasses.asdict(dataclasses.replace(result, failures=failures))
    print(json.dumps(found), file=out, flush=True)


def again(path):
    """Run one case that was written down; an error ends in its traceback."""
    name = path.name.partition("-")[0].removesuffix(".begun")
    folder = engine.work_folder()
    target = target_of(name)(folder)
    with engine.inside(target):
        target.seeds()
        accepted, failure = engine.failure_of(target, path.read_bytes())
    print(failure.where if failure else f"{name}: {'accepted' if accepted else 'refused'}")
    return int(failure is not None)


# The process that reports


def lines_of(process):
    """Yield the lines that a process writes; stop it where it is silent for long."""
    found = queue.Queue()

    def pump():
        for line in process.stdout:
            found.put(line)
        found.put(None)

    threading.Thread(target=pump, daemon=True).start()
    while True:
        try:
            line = found.get(timeout=SILENCE)
        except queue.Empty:
            process.kill()
            return
        if line is None:
            return
        yield line


def run(name, cases, seed, command=None):
    """Run a target in a process of its own, by another command where one is given."""
    options = ["--child", name, "--cases", str(cases), "--seed", str(seed)]
    command = command or [sys.executable, "-m", "fuzz", *options]
    how = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    begin, found, done = time.perf_counter(), {}, 0
    bar = tqdm(total=cases, desc=name, unit="case", leave=False)
    with bar, subprocess.Popen(command, **how) as process:
        errors = []
        reader = threading.Thread(target=lambda: errors.append(process.stderr.read()), daemon=True)
        reader.start()
        for line in lines_of(process):
            found = json.loads(line)
            done = found["cases"]
            bar.update(done - bar.n)
        reader.join(5)
    if "failures" in found:
        return engine.Result(**found)
    begun, seconds = engine.SAVED / f"{name}.begun", time.perf_counter() - begin
    said = f"its process ended with status {process.returncode}"
    case = begun.read_bytes() if begun.exists() else b""
    failure = engine.Failure(name, case, said, "".join(errors))
    begun.unlink(missing_ok=True)
    return engine.Result(name, seed, done, seconds=seconds, failures=[(said, failure.save())])


def table(results):
    """Return the results as the rows of a table in Markdown."""
    counted = ["cases", "accepted", "refused", "kept", "lines"]
    columns = ["target", *counted, "slowest, ms", "seconds", "faults"]
    rows = [columns, ["---", *["---:"] * (len(columns) - 1)]]
    for r in results:
        counts = [f"{getattr(r, name):,}" for name in counted]
        times = [f"{1e3 * r.slowest:.0f}", f"{r.seconds:.0f}"]
        rows.append([r.target, *counts, *times, str(len(r.failures))])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def main():
    """Run what was asked for; the exit status is 1 where something was found."""
    reader = argparse.ArgumentParser(prog="make fuzz", description=__doc__)
    reader.add_argument("--cases", type=int, default=10_000, help="for each target")
    reader.add_argument("--seed", type=int, default=1)
    reader.add_argument("--only", default="", help="targets, by name, separated by commas")
    reader.add_argument("--case", type=Path, help="a file below _build/fuzz to try again")
    reader.add_argument("--child", help=argparse.SUPPRESS)
    options = reader.parse_args()
    if options.case:
        return again(options.case)
    if options.child:
        child(options.child, options.cases, options.seed)
        return 0
    known = [*TARGETS, *interrupted.CHECKS]
    names = [name for name in options.only.split(",") if name] or known
    if unknown := [name for name in names if name not in known]:
        reader.error(f"there is no {', '.join(unknown)}; there are {', '.join(known)}")
    results = [run(name, options.cases, options.seed) for name in names if name in TARGETS]
    if results:
        print(table(results))
    failed = [failure for result in results for failure in result.failures]
    for name in names:
        if name in interrupted.CHECKS:
            said, faults = interrupted.run(name, options.seed)
            print(f"{name}: {said}")
            failed += [(fault, f"make fuzz ONLY={name} SEED={options.seed}") for fault in faults]
    for said, command in failed:
        print(f"\n{said}\n  again: {command}")
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())
