"""Check that all sides of a row computed the same, then time them in alternating order.

With one thread all sides live in one process and are judged by its CPU time; with more, each side
has a process of its own, because threads that spin would disturb the others, and wall time counts.
What concerns a new process is measured from its start to its end, by the one that starts it.
"""

import gc
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from ctypes import CDLL
from multiprocessing import Pipe
from pathlib import Path

import numpy as np

from benchmarks.row import OURS, PEAK, library

ROOT = Path(__file__).resolve().parents[1]
BUILD = ROOT / "_build" / "bench"
LEAST = 0.02  # seconds of one measurement; short functions are called several times
PATIENCE = 300  # seconds until a side that does not answer is given up
ROUNDS = {"warm": 7, "cold": 2, "compile": 1}  # new processes take their time
FOLDERS = {  # of each library, for what it compiled
    "DLBOOK_CACHE_DIR": "kernels",
    "TORCHINDUCTOR_CACHE_DIR": "inductor",
    "JAX_COMPILATION_CACHE_DIR": "jax",
}


class SideError(Exception):
    """A side that cannot be measured; the message says why."""


def reason(error, side):
    """Return in a few words why a side cannot be measured."""
    if (
        isinstance(error, ModuleNotFoundError)
        and side != OURS
        and error.name.split(".")[0] == (library(side).replace("scikit", "sk"))
    ):
        return "not installed"
    first = (str(error).strip() or "no message").splitlines()[0]
    return f"failed: {type(error).__name__}: {first}"[:200]


class Bench:
    """The sides of a row in the process that runs them."""

    def __init__(self, row, least=LEAST):
        self.row, self.least, self.calls = row, least, {}

    def setup(self, side):
        """Set a side up, call it twice and return its arrays; for the peak its work instead."""
        call, result = self.row.sides[side](**self.row.size)
        call()
        call()
        answer = result if side == PEAK else [np.array(a) for a in result()]
        if self.row.kind == "time" and side != PEAK and not any(a.size for a in answer):
            raise ValueError("there is nothing to compare: its result holds no number")
        self.calls[side] = call, 1
        self.calls[side] = call, self.repeats(side)
        return answer

    def repeats(self, side):
        """Return how often a side is called in one measurement."""
        wall = self.measure(side)[0]
        if wall < self.least:
            wall = min(wall, *(self.measure(side)[0] for _ in range(4)))
        return max(1, round(self.least / max(wall, 1e-7)))

    def measure(self, side):
        """Return the seconds of one call: by the clock, and of the processors."""
        call, repeats = self.calls[side]
        wall, cpu = time.perf_counter(), time.process_time()
        for _ in range(repeats):
            call()
        return (time.perf_counter() - wall) / repeats, (time.process_time() - cpu) / repeats

    def memory(self, side):
        """Return the bytes that data, workspaces and two calls add to what the library holds."""
        self.setup(side)  # the library is loaded and everything compiled
        self.calls.clear()
        gc.collect()
        CDLL(None).malloc_trim(0)
        Path("/proc/self/clear_refs").write_text("5")  # the highest mark starts anew
        before = status("VmRSS")
        call, _ = self.row.sides[side](**self.row.size)
        call()
        call()
        return status("VmHWM") - before


def status(field):
    """Return a number of bytes the kernel keeps about this process (Linux)."""
    text = Path("/proc/self/status").read_text()
    return 1024 * int(text.split(f"{field}:")[1].split()[0])


class Remote:
    """A `Bench` in a process of its own; closing it ends the process."""

    def __init__(self, module, row, threads, ours=True):
        self.connection, theirs = Pipe()
        command = [sys.executable, "-m", "benchmarks.worker", module, row.name]
        with quiet() as where:
            self.process = subprocess.Popen(
                [*command, str(theirs.fileno()), ",".join(map(str, cores(threads)))],
                env=environment(threads, ours),
                pass_fds=[theirs.fileno()],
                **where,
            )
        theirs.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.signal("SIGCONT")
        self.connection.close()
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def signal(self, name):
        """Send a signal to the process, where there are such signals and it still runs."""
        if hasattr(signal, name) and self.process.poll() is None:
            self.process.send_signal(getattr(signal, name))

    @contextmanager
    def awake(self):
        """Let the process run for a while; before and after it stands still.

        Idle threads of OpenBLAS and OpenMP spin for tens of milliseconds on a core that another
        process is to be measured on.
        """
        self.signal("SIGCONT")
        try:
            yield
        finally:
            self.signal("SIGSTOP")

    def __getattr__(self, method):
        def ask(*arguments):
            try:
                self.connection.send((method, *arguments))
                if not self.connection.poll(PATIENCE):
                    self.process.kill()
                    raise SideError(f"failed: no answer in {PATIENCE} s")
                answer = self.connection.recv()
            except (EOFError, OSError):
                raise SideError("failed: its process ended") from None
            if isinstance(answer, SideError):
                raise answer
            return answer

        return ask


@contextmanager
def quiet():
    """Say where another process runs, and that its complaints go to a file."""
    BUILD.mkdir(parents=True, exist_ok=True)
    with (BUILD / "log.txt").open("a") as log:
        yield {"cwd": ROOT, "stdout": subprocess.DEVNULL, "stderr": log}


def environment(threads, ours=True, caches=BUILD):
    """Return the environment of a process: threads, and where compiled code is kept."""
    pools = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"), threads)
    pools["OPENBLAS_NUM_THREADS"] = 1 if ours else threads  # our threads do not call BLAS in turn
    return os.environ | {
        **{name: str(n) for name, n in pools.items()},
        **{name: str(Path(caches, folder)) for name, folder in FOLDERS.items()},
        "JAX_PLATFORMS": "cpu",
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",  # it keeps all
    }


def cores(count):
    """Return processors for so many threads, one on each core if there are enough."""
    try:
        allowed = sorted(os.sched_getaffinity(0))
    except AttributeError:  # not Linux
        return []
    topology = "/sys/devices/system/cpu/cpu{}/topology/thread_siblings_list"
    siblings = {}
    for cpu in allowed:
        path = Path(topology.format(cpu))
        siblings.setdefault(path.read_text() if path.exists() else cpu, cpu)
    first = list(siblings.values())
    return (first + [cpu for cpu in allowed if cpu not in first])[-count:] if count else []


# One row


def difference(actual, expected):
    """Return the largest deviation of any array, relative to the largest expected number."""
    if [a.shape for a in actual] != [e.shape for e in expected]:
        return float("inf")
    worst = 0.0
    for a, e in zip(actual, expected, strict=True):
        a, e = np.asarray(a, np.float64), np.asarray(e, np.float64)
        with np.errstate(all="ignore"):  # an empty array differs by nothing
            error = np.abs(a - e).max(initial=0) / np.abs(e).max(initial=1e-300)
        worst = max(worst, error if np.isfinite(error) else float("inf"))
    return worst


def checked(row, names, host):
    """Set the sides up and return {side: record}, with the reason for each that is not timed."""
    sides, ours = {}, None
    for side in sorted(names, key=lambda side: side != OURS):  # ours first
        record = sides[side] = {"status": "ok"}
        try:
            answer = host(side).setup(side)
        except Exception as error:
            record["status"] = str(error) if isinstance(error, SideError) else reason(error, side)
            continue
        if side == PEAK:
            record["work"] = answer
        elif side == OURS:
            ours = answer
        elif ours is not None:
            record["error"] = difference(ours, answer)
            if not record["error"] <= row.rtol:
                record["status"] = f"differs by {record['error']:.1e}, allowed {row.rtol:.0e}"
    return sides


def timed(sides, rounds, host, awake=nullcontext):
    """Measure the sides that are in order once a round, in turned order every other round.

    `awake` returns a context in which a side runs; the others may stand still.
    """
    ready = [side for side, record in sides.items() if record["status"] == "ok"]
    if OURS not in ready:
        return
    for r in range(rounds):
        for side in ready if r % 2 == 0 else ready[::-1]:
            with awake(side):
                note(sides[side], host(side).measure, side)


def note(record, measure, *arguments):
    """Add one measurement to a record; a side that fails is not asked again."""
    if record["status"] != "ok":
        return
    try:
        wall, cpu = measure(*arguments)
    except SideError as error:
        record["status"] = str(error)
    else:
        record.setdefault("wall", []).append(float(f"{wall:.5g}"))
        record.setdefault("cpu", []).append(float(f"{cpu:.5g}"))


def time_row(module, row, threads, rounds):
    """Return {side: record} of a row that times calls."""
    names = [side for side in row.sides if threads == 1 or side != PEAK]
    with ExitStack() as stack:
        hosts = {}

        def host(side):
            key = side if threads > 1 else "all"
            if key not in hosts:
                remote = Remote(module, row, threads, side == OURS or threads == 1)
                hosts[key] = stack.enter_context(remote)
            return hosts[key]

        sides = checked(row, names, host)
        if threads == 1:
            timed(sides, rounds, host)
        else:
            for one in hosts.values():
                one.signal("SIGSTOP")
            timed(sides, rounds, host, lambda side: host(side).awake())
    for side in row.memory if threads == 1 else ():
        if sides[side]["status"] == "ok":
            with Remote(module, row, 1) as remote, suppress(SideError):  # no /proc, no number
                sides[side]["memory"] = remote.memory(side)
    return sides


def start_row(module, row, rounds):
    """Return {side: record} of a row that times new processes, from start to end."""
    with ExitStack() as stack:
        hosts = {side: stack.enter_context(Remote(module, row, 1)) for side in row.sides}
        names = row.sides if row.kind != "compile" else ()
        sides = checked(row, names, hosts.get) or {OURS: {"status": "ok"}}
    ready = [side for side, record in sides.items() if record["status"] == "ok"]
    for r in range(min(rounds, ROUNDS[row.kind])):
        for side in ready if r % 2 == 0 else ready[::-1]:
            with tempfile.TemporaryDirectory(dir=BUILD) as empty:
                caches = BUILD if row.kind == "warm" else empty
                note(sides[side], started, module, row, side, caches)
    return sides


def started(module, row, side, caches):
    """Return the seconds of a new process that sets one side up and calls it once."""
    command = [sys.executable, "-m", "benchmarks.worker", module, row.name, side]
    used, begin = children(), time.perf_counter()
    with quiet() as where:
        env = environment(1, caches=caches)
        try:
            subprocess.run(command, env=env, timeout=PATIENCE, check=True, **where)
        except subprocess.TimeoutExpired:
            raise SideError(f"failed: no end in {PATIENCE} s") from None
        except subprocess.CalledProcessError:
            raise SideError("failed: its process ended") from None
    return time.perf_counter() - begin, children() - used


def children():
    """Return the CPU seconds of all processes that were started and have ended."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def measure(module, row, threads, rounds):
    """Return the record of a row, as it stands in the file of results; what fails is its error."""
    begin = time.monotonic()
    try:
        if row.kind == "time":
            sides = time_row(module, row, threads, rounds)
        else:
            sides = start_row(module, row, rounds)
    except Exception as error:
        sides, wrong = {}, [reason(error, OURS)]
    else:
        wrong = [
            f"{side} {record['status']}"
            for side, record in sides.items()
            if "differs" in record["status"] or (side == OURS and record["status"] != "ok")
        ]
    kept = ("name", "what", "kind", "work", "unit", "target", "share", "limit", "rtol")
    return {key: getattr(row, key) for key in kept} | {
        "module": module.rpartition(".")[2],
        "threads": threads,
        "error": "; ".join(wrong),
        "took": round(time.monotonic() - begin, 1),
        "sides": sides,
    }
