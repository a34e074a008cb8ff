"""Try the cases of equations on altered versions of their kernels.

All runs in one child process in which Numba is off: the altered function and all that it calls are
plain Python, whose indices are checked. Each version takes the place of its function in the module,
the cases run until one fails, and the function is put back. Where a limit is reached (turns of
loops, seconds, memory) or the child dies, the outcome is an error and no rejection. What survives
is run beside the original on redrawn cases: it differs, and the cases are too weak, or it is the
same function.
"""

import contextlib
import inspect
import json
import os
import pickle
import re
import signal
import subprocess
import sys
from importlib import import_module
from typing import Any, NamedTuple

import numpy as np

from dlbook.tools import altering
from dlbook.tools.cases import leaves, named
from dlbook.tools.checks import judged
from dlbook.tools.listing import LABELS

__all__ = ["Job", "functions_of", "labels_of", "tried"]

SECONDS, MEMORY, REDRAWS = 20, 6 * 2**30, 60
QUIET = {"NUMBA_DISABLE_JIT": "1", "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}


class Job(NamedTuple):
    """A function of an equation, and the cases that have to see whatever is altered in it."""

    label: str
    module: str
    function: str
    cases: list  # as bytes
    where: dict  # by (was, now) of a version the condition under which it is the same function


def labels_of(function: Any) -> list[str]:
    """Return the labels of the equations that a function says it computes."""
    found = LABELS.match((function.__doc__ or "").strip())
    return re.split(", *", found[1]) if found else []


def functions_of(label: str, module: Any) -> list[str]:
    """Return the names of the functions that compute an equation, and of the helpers they call.

    A helper stands in the same module, has no equation of its own and checks no arguments.
    """
    functions = {n: inspect.unwrap(getattr(f, "py_func", f)) for n, f in vars(module).items()}
    functions = {
        n: f
        for n, f in functions.items()
        if inspect.isfunction(f) and f.__module__ == module.__name__ and f.__name__ == n
    }
    found = [n for n, f in functions.items() if label in labels_of(f)]
    for name in found:  # grows on the way
        for other in functions[name].__code__.co_names:
            f = functions.get(other)
            if (
                f
                and other not in found
                and not labels_of(f)
                and "shapes" not in f.__code__.co_names
            ):
                found.append(other)
    return found


def tried(jobs: list[Job]) -> list[dict]:
    """Return a row for the cases of each job, and one for each altered version.

    All have ``label``, ``function`` and ``kind``. That of the cases, "cases", has ``inputs``, what
    each gives the kernel, in words. The others have ``line``, ``was``, ``now``, ``outcome``
    ("rejected", "survives" or "error"), ``case`` (which one rejected it) and ``seen`` (what it saw).
    """
    rows, start = [], (0, 0)
    while start:
        found, ended = _from_child(jobs, start)
        rows += [row for row in found if "begin" not in row]
        begun = next((row for row in reversed(found) if "begin" in row), None)
        start = None
        if ended:
            if begun is None:
                raise RuntimeError(f"the child ended with {ended} before any version")
            number, version = begun.pop("begin")
            rows.append(begun | {"outcome": "error", "seen": f"the child ended with {ended}"})
            start = number, version + 1
    return rows


def _from_child(jobs, start):
    """Run a child from one version on; return what it wrote, and how it ended."""
    command = [sys.executable, "-W", "ignore", "-m", "dlbook.tools.trials"]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, env=os.environ | QUIET, **pipes) as child:
        with contextlib.suppress(BrokenPipeError):
            child.stdin.write(pickle.dumps(([tuple(job) for job in jobs], start)))
            child.stdin.close()
        found = [json.loads(line) for line in child.stdout]
        return found, child.wait()


# In the child


class Limit(BaseException):
    """A version took too many turns or seconds."""


class Turns:
    """Counts the turns of loops and stops at a limit."""

    def __init__(self):
        self.n, self.most = 0, 10**7

    def __call__(self):
        self.n += 1
        if self.n > self.most:
            raise Limit(f"more than {self.most} turns of its loops")


def _late(*_):
    raise Limit(f"more than {SECONDS} s")


def _alarm(seconds):
    """Ask for an interruption, where the system has one; turns of loops are counted everywhere."""
    if hasattr(signal, "setitimer"):
        signal.setitimer(signal.ITIMER_REAL, seconds)


def _spoilt(make):
    """Let memory that is not filled hold what cannot look right by chance."""

    def empty(*args, **kwargs):
        a = make(*args, **kwargs)
        a[...] = np.nan if a.dtype.kind in "fc" else 99
        return a

    return empty


def _outcome(blobs):
    """Return what the cases say: the first that fails rejects."""
    _alarm(SECONDS)
    try:
        for k, blob in enumerate(blobs):
            try:
                record = judged(pickle.loads(blob))
            except MemoryError:
                return {"outcome": "error", "seen": "more memory than allowed"}
            except Exception as error:
                seen = f"{type(error).__name__}: {error}".split("\n")[0][:120]
                return {"outcome": "rejected", "case": k, "seen": seen}
            if not record["passed"]:
                return {"outcome": "rejected", "case": k, "seen": record["detail"][:160]}
        return {"outcome": "survives"}
    except Limit as limit:
        return {"outcome": "error", "seen": str(limit)}
    finally:
        _alarm(0)


def _in_words(blob):
    """Return what a case gives its kernel, short enough for one line."""
    case, parts = pickle.loads(blob), []
    names = list(inspect.signature(inspect.unwrap(case["kernel"])).parameters)
    for name, arg in zip(names, case["args"], strict=False):
        if isinstance(arg, np.ndarray):
            shown = np.array2string(arg, precision=3, separator=", ", threshold=12)
        else:
            shown = repr(arg)
        shown = " ".join(shown.split())
        parts.append(f"{name} = {shown if len(shown) <= 60 else shown[:59] + '…'}")
    return ", ".join(parts)


def _redrawn(blob, seed):
    """Return a case with other numbers: normal ones, half of them rounded; whole ones moved."""
    case, rng = pickle.loads(blob), np.random.default_rng(seed)
    case["args"] = tuple(
        arg + int(rng.integers(-1, 2)) if type(arg) is int else arg for arg in case["args"]
    )
    for leaf in leaves(case["args"]):
        if leaf.dtype.kind == "f" and leaf.ndim:
            leaf[...] = np.round(rng.normal(size=leaf.shape) * 2, 0 if seed % 2 else 9)
    return case


def _values(case, names, where):
    """Return what a kernel gives for a case, or None where it cannot be asked."""
    try:
        if where and not eval(where, dict(zip(names, case["args"], strict=False))):
            return None
        with np.errstate(all="ignore"):
            result = case["kernel"](*case["args"])
        return [np.asarray(v, complex) for v in [*leaves(result), *leaves(case["args"])]]
    except (Exception, Limit):
        return None


def _differs(blobs, put, names, where):
    """Say on which redrawn case a version differs from the original, if it does."""
    for seed in range(REDRAWS):
        blob, found = blobs[seed % len(blobs)], []
        for original in (True, False):
            put(original)
            found.append(_values(_redrawn(blob, seed), names, where))
        right, mine = found
        if right is not None:
            same = mine is not None and len(mine) == len(right)
            same = same and all(
                a.shape == b.shape and np.allclose(a, b, 1e-9, 1e-9, equal_nan=True)
                for a, b in zip(mine, right, strict=True)
            )
            if not same:
                return f"the cases are too weak: it differs on redraw {seed}"
    return f"the same in {REDRAWS} redraws"


class Trial:
    """Tries the versions of one function and writes a row for each."""

    def __init__(self, job, write):
        self.job, self.write = job, write
        self.module = import_module(job.module)
        self.original = named(job.module, job.function)
        self.turns = self.module.__turn__ = Turns()
        self.about = {"label": job.label, "function": job.function}

    def put(self, code):
        """Let code define the function of this trial."""
        space = {}
        exec(code, vars(self.module), space)
        setattr(self.module, self.job.function, space[self.job.function])

    def run(self, number, first):
        """Try the unaltered function, then all versions from the first one on."""
        function = inspect.unwrap(self.original)
        unaltered = altering.compiled(altering.parsed(function)[0])
        try:
            self.put(unaltered)  # the way through the tree must be right itself
            right = {"outcome": "error", "seen": "no small case"}
            right = _outcome(self.job.cases) if self.job.cases else right
            if right["outcome"] != "survives":
                return self.write(self.about | {"kind": "unaltered"} | right | {"outcome": "error"})
            inputs = [_in_words(blob) for blob in self.job.cases]
            self.write(self.about | {"kind": "cases", "outcome": "", "inputs": inputs})
            self.turns.most = 200 * self.turns.n + 1000
            for v, version in enumerate(altering.versions(function)):
                if v >= first:
                    self.version(version, unaltered, [number, v])
        finally:
            setattr(self.module, self.job.function, self.original)

    def version(self, version, unaltered, place):
        """Try one version."""
        row = self.about | {k: getattr(version, k) for k in ("kind", "line", "was", "now")}
        self.write(row | {"begin": place})
        self.turns.n = 0
        self.put(version.code)
        row |= _outcome(self.job.cases)
        if row["outcome"] == "survives":
            self.turns.n, most, self.turns.most = 0, self.turns.most, 10**7
            row["seen"] = _differs(
                self.job.cases,
                lambda back: self.put(unaltered if back else version.code),
                list(inspect.signature(self.original).parameters),
                self.job.where.get((version.was, version.now)),
            )
            self.turns.most = most
        self.write(row)


def child() -> None:
    """Read jobs from standard input; write a row for each version to standard output."""
    rows = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # what kernels print
    with contextlib.suppress(ImportError):  # Windows has neither
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
        signal.signal(signal.SIGALRM, _late)
    np.empty, np.empty_like = _spoilt(np.empty), _spoilt(np.empty_like)
    jobs, start = pickle.load(sys.stdin.buffer)
    for number, job in list(enumerate(jobs))[start[0] :]:
        first = start[1] if number == start[0] else 0
        Trial(Job(*job), lambda row: print(json.dumps(row), file=rows)).run(number, first)


if __name__ == "__main__":
    child()
