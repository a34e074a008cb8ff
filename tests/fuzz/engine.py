"""Draw cases, keep those that reach new lines, and write down what should not have happened.

The engine is the book's own: `hypothesis` draws values and not files, and is not led by what was
reached; `atheris` is, but needs a compiled fuzzer that is not made for every Python and system, and
ends at the first fault. What is needed stands on this page and is the same everywhere: the same
seed draws the same cases.
"""

import contextlib
import hashlib
import io
import os
import random
import shutil
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from unittest import mock

from fuzz.mutation import bytes_changed

__all__ = ["Failure", "Result", "Target", "Tracer", "fuzz", "untraced", "work_folder"]

SAVED = Path(__file__).resolve().parents[2] / "_build" / "fuzz"
LARGEST = 400  # cases beside the seeds that are kept to be changed again


def work_folder():
    """Return a new folder, in memory where there is such a place."""
    memory = Path("/dev/shm")
    where = memory if memory.is_dir() and os.access(memory, os.W_OK) else None
    return Path(tempfile.mkdtemp(prefix="dlbook-fuzz-", dir=where))


class Target:
    """A way by which something from outside enters, here as bytes.

    A subclass says which sources read it (`traced`), begins with some good input (`seeds`), knows
    how such input is built (`changed`), and hands a case to the reader (`accepts`): True where it
    was taken and is right, False where it was refused as the documentation says. Anything else is
    raised. What the reader must not do in a test is replaced in `within`.
    """

    name = ""
    traced = ()  # modules whose lines are counted
    seconds = 3.0  # that one case may take
    memory = 2**28  # bytes beside what is in use when the cases begin

    def __init__(self, folder):
        self.folder = folder

    def seeds(self):
        """Return good input, as a list of bytes."""
        raise NotImplementedError

    def changed(self, rng, case, other):
        """Return a case made of two."""
        return bytes_changed(rng, case, other)

    def accepts(self, case):
        """Say whether a case was taken, or refused as documented; raise otherwise."""
        raise NotImplementedError

    def within(self, stack):
        """Enter what holds while cases run."""

    def put(self, case, name="case"):
        """Write a case to a file and return its path."""
        path = self.folder / name
        path.write_bytes(case)
        return path


class Tracer:
    """Which lines of some files were run, and in which order two followed each other."""

    def __init__(self, modules):
        self.files = {module.__file__ for module in modules}
        self.seen, self.new = set(), False

    def __call__(self, frame, event, _):
        code = frame.f_code
        if code.co_filename not in self.files:
            return None
        last = 0

        def line(frame, event, _):
            nonlocal last
            if event == "line":
                step = code.co_filename, last, frame.f_lineno
                last = frame.f_lineno
                if step not in self.seen:
                    self.seen.add(step)
                    self.new = True
            return line

        return line

    def lines(self):
        """Return how many lines were run."""
        return len({(file, line) for file, _, line in self.seen})

    @contextlib.contextmanager
    def watching(self):
        """Note what runs inside; the tracer that was there before, say of coverage, comes back."""
        before, self.new = sys.gettrace(), False
        sys.settrace(self if self.files else before)
        try:
            yield
        finally:
            sys.settrace(before)


@contextlib.contextmanager
def untraced():
    """Let what is somebody else's run at its own speed."""
    before = sys.gettrace()
    sys.settrace(None)
    try:
        yield
    finally:
        sys.settrace(before)


@dataclass
class Failure:
    """A case after which something was wrong."""

    target: str
    case: bytes
    said: str  # the error in a line
    where: str  # the whole traceback

    def save(self, folder=None):
        """Write the case and what came of it, and return the command that repeats it."""
        folder = folder or SAVED
        folder.mkdir(parents=True, exist_ok=True)
        stem = folder / f"{self.target}-{hashlib.sha256(self.case).hexdigest()[:12]}"
        stem.write_bytes(self.case)
        with contextlib.suppress(ValueError):  # a name that is shorter, where it is below here
            stem = stem.relative_to(Path.cwd())
        command = f"make fuzz CASE={stem}"
        Path(f"{stem}.txt").write_text(f"{command}\n\n{self.where}", "utf-8", "backslashreplace")
        return command


@dataclass
class Result:
    """What came of a target."""

    target: str
    seed: int
    cases: int = 0
    accepted: int = 0
    refused: int = 0
    kept: int = 0  # cases that reached something new
    lines: int = 0
    seconds: float = 0.0
    slowest: float = 0.0  # seconds of one case
    failures: list = field(default_factory=list)


def failure_of(target, case):
    """Run one case; return (whether it was accepted, None) or (False, Failure)."""
    begin = time.perf_counter()
    try:
        accepted = target.accepts(case)
        if (took := time.perf_counter() - begin) > target.seconds:
            raise TimeoutError(f"one case took {took:.1f} s")
    except Exception as error:
        lines = traceback.format_exception(error)
        said = f"{type(error).__name__}: {error}".splitlines()[0][:300]
        return False, Failure(target.name, case, said, "".join(lines))
    return accepted, None


def kind_of(failure):
    """Return what two failures of one cause share: the error and where it came from."""
    places = [line for line in failure.where.splitlines() if line.startswith("  File")]
    return failure.said.partition(":")[0], places[-1] if places else ""


def shortened(target, failure, tries):
    """Return a failure of the same kind whose case is shorter, if some tries find one."""
    piece, wanted = len(failure.case) // 2, kind_of(failure)
    while piece and tries:
        at = 0
        while at < len(failure.case) and tries:
            tries -= 1
            _, found = failure_of(target, failure.case[:at] + failure.case[at + piece :])
            if found and kind_of(found) == wanted:
                failure = found
            else:
                at += piece
        piece //= 2
    return failure


def inside(target):
    """Return a context in which cases can run: what a target replaces, no output, no warnings."""
    stack = contextlib.ExitStack()
    stack.enter_context(mock.patch.dict(os.environ))
    stack.enter_context(contextlib.redirect_stdout(io.StringIO()))
    stack.enter_context(contextlib.redirect_stderr(io.StringIO()))
    stack.enter_context(warnings.catch_warnings())
    warnings.simplefilter("ignore")
    stack.callback(os.chdir, os.getcwd())
    target.within(stack)
    return stack


def fuzz(
    kind, cases, seed=1, *, begun=None, shown=lambda result: None, guided=True, tries=200, enough=10
):
    """Send cases to a target and return a `Result`.

    Parameters
    ----------
    kind : type
        A subclass of `Target`.
    cases : int
        How many, the seeds included.
    seed : int
        Of what is drawn.
    begun : Path, optional
        A file that holds the case that runs, for who survives this process.
    shown : callable
        Gets the result as it grows.
    guided : bool
        Whether cases that reach new lines are changed again.
    tries : int
        How often a case that failed is tried in a shorter form.
    enough : int
        Kinds of faults after which a target is given up.
    """
    folder, rng, begin = work_folder(), random.Random(f"{kind.name} {seed}"), time.perf_counter()
    result, kinds = Result(kind.name, seed), Counter()
    try:
        target = kind(folder)
        with inside(target):
            seeds, kept, tracer = target.seeds(), [], Tracer(kind.traced)
            while result.cases < cases and len(kinds) < enough:
                if result.cases < len(seeds):
                    case = seeds[result.cases]
                else:
                    # what was found last led furthest, as a rule
                    found = kept[-20:] if rng.random() < 0.3 else kept
                    case = rng.choice(found if found and rng.random() < 0.6 else seeds)
                    case = target.changed(rng, case, rng.choice([*seeds, *kept]))
                if begun:
                    begun.write_bytes(case)
                once = time.perf_counter()
                with tracer.watching():
                    accepted, failure = failure_of(target, case)
                result.slowest = max(result.slowest, time.perf_counter() - once)
                result.cases += 1
                if failure:
                    kinds[kind_of(failure)] += 1
                    if kinds[kind_of(failure)] == 1:
                        result.failures.append(shortened(target, failure, tries))
                result.accepted += accepted
                result.refused += not accepted and not failure
                if tracer.new and guided and result.cases > len(seeds):
                    result.kept += 1
                    kept = [*kept, case][-LARGEST:]
                result.lines = tracer.lines()
                result.seconds = time.perf_counter() - begin
                shown(result)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return result
