"""Saves that are killed or find no room, and processes that compile into one empty cache.

Whatever happens to a save, the file is the old one or the new one; a part that was left behind is
in nobody's way, and goes when it is old. `python -m fuzz.interrupted NAME TIMES SEED` runs one.
"""

import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path

import numpy as np
from tqdm import tqdm

from fuzz.engine import work_folder

__all__ = ["CHECKS", "run"]

PACKAGE = Path(__file__).resolve().parents[2] / "dlbook"
LONG_AGO = 7200  # seconds, after which a part is old
KERNELS = 8


class Weights:
    """Arrays full of the number of the save."""

    def __init__(self, folder):
        self.path = folder / "weights.safetensors"
        self.like = {"a": np.zeros((300, 300)), "b": np.zeros(100_000)}

    def save(self, n):
        """Save, or raise."""
        from dlbook.tools import store

        store.save(self.path, {k: np.full_like(x, n) for k, x in self.like.items()}, {"n": str(n)})

    def read(self):
        """Return the number of the save that the file is of, all of it."""
        from dlbook.tools import store

        arrays, remarks = store.load(self.path, self.like)
        assert all((x == int(remarks["n"])).all() for x in arrays.values()), remarks
        return int(remarks["n"])


class Checkpoint:
    """A moment whose vectors are full of it."""

    def __init__(self, folder):
        from test_training_loop import DATA, Adam, Toy, loop

        self.path = folder / "run"
        model, rng = Toy(sizes=(3, 20_000, 2)), np.random.default_rng(1)
        how = model, model.init(rng), DATA, Adam(0.01), rng, 5, None, None, None, None, None, None
        self.training = loop._Run(*how)

    def save(self, n):
        training = self.training
        for name in ("params", "slots", "state"):
            getattr(training.moment, name)[:] = n
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            training.write(self.path)
        if said:  # the training would go on
            raise OSError(str(said[0].message))

    def read(self):
        moment = self.training.read(self.path)
        vectors = (moment.params, moment.slots, moment.state)
        n = moment.params[0]
        assert all((x == n).all() for x in vectors), [np.unique(x) for x in vectors]
        return int(n)


class Progress:
    """Many exercises, one of them tried as often as was saved."""

    MANY = 1000

    def __init__(self, folder):
        self.path = folder / "progress.json"

    def save(self, n):
        from dlbook.exercises.store import Store

        kept = Store(self.path.parent)
        if n == 0:
            kept.entries = {f"a-{i}": {"tries": 1, "status": "wrong"} for i in range(self.MANY)}
            kept._write()
        kept.change("a-0", tries=n)
        if kept.notes:  # the reader would go on
            raise OSError(kept.notes[0])

    def read(self):
        from dlbook.exercises.store import Store

        kept = Store(self.path.parent)
        entries = kept.read()
        assert not kept.notes and len(entries) == self.MANY, (kept.notes, len(entries))
        return entries["a-0"]["tries"]


KINDS = {"weights": Weights, "checkpoint": Checkpoint, "progress": Progress}


def parts(folder):
    """Return what unfinished saves have left in a folder."""
    return [path for path in folder.iterdir() if path.name.endswith(".part")]


def killed(kind, times, seed, folder):
    """Kill a process that saves again and again, each time at another moment.

    It goes on beyond so many times until a save was cut and one was done, as long as there is hope.
    """
    subject, rng, cut, replaced = KINDS[kind](folder), random.Random(seed), 0, 0
    subject.save(0)
    begin = time.perf_counter()
    subject.save(0)
    took, last = time.perf_counter() - begin, 0
    flush, slow = os.fsync, 0.005  # seconds, as of a real disk: in memory it takes none

    def slowly(file):
        time.sleep(slow)
        flush(file)

    done, bar = 0, tqdm(total=times, desc=f"killed {kind}", leave=False)
    while done < times or (done < 20 * times and not (cut and replaced)):
        done, before = done + 1, len(parts(folder))
        bar.update()
        child = os.fork()
        if child == 0:
            n, os.fsync = last, slowly
            with contextlib.suppress(BaseException):
                while True:
                    n += 1
                    subject.save(n)
            os._exit(1)
        time.sleep(rng.random() * 3 * (took + 2 * slow))
        os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        assert os.WIFSIGNALED(status), "a save raised"
        n = subject.read()
        assert n >= last, f"save {last} is lost, there is {n}"
        cut, replaced, last = cut + (len(parts(folder)) > before), replaced + (n > last), n
    bar.close()
    left = parts(folder)
    for part in left:
        os.utime(part, (time.time() - LONG_AGO,) * 2)
    subject.save(last + 1)
    assert subject.read() == last + 1 and list(folder.iterdir()) == [subject.path]
    return {"killed": done, "in the midst of writing": cut, "after a new file": replaced}


def full(kind, times, seed, folder):
    """Save where no file may grow beyond a size: what is written is refused, as on a full disk."""
    import resource

    subject, rng = KINDS[kind](folder), random.Random(seed)
    subject.save(0)
    size, before = subject.path.stat().st_size, subject.path.read_bytes()
    limits = [0, 1, size - 1, *(rng.randrange(size) for _ in range(times - 3))]
    for limit in tqdm(limits, f"no room for {kind}", leave=False):
        child = os.fork()
        if child == 0:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
            try:
                subject.save(1)
            except OSError:
                os._exit(7)
            except BaseException:
                os._exit(8)
            os._exit(9)
        _, status = os.waitpid(child, 0)
        assert os.waitstatus_to_exitcode(status) == 7, f"limit {limit}: {status}"
        assert subject.path.read_bytes() == before and subject.read() == 0
        assert list(folder.iterdir()) == [subject.path], "something was left behind"
    subject.save(1)
    assert subject.read() == 1
    return {"refused": len(limits)}


# One cache of compiled kernels

CALL = f"""
from dlbook import many
kernels = [getattr(many, f"k{{i}}") for i in range({KERNELS})]
print([kernel(10) for kernel in kernels], sum(sum(k.stats.cache_hits.values()) for k in kernels))
"""


def copied(folder):
    """Make a small package with some kernels that call each other, and return what runs them."""
    home = folder / "dlbook"
    (home / "tools").mkdir(parents=True)
    for name in ("__init__.py", "tools/__init__.py", "tools/jit.py"):
        shutil.copy(PACKAGE / name, home / name)
    code = ["from dlbook.tools.jit import njit", "@njit\ndef k0(x):\n    return x"]
    code += [f"@njit\ndef k{i}(x):\n    return k{i - 1}(x) + {i}" for i in range(1, KERNELS)]
    (home / "many.py").write_text("\n\n\n".join(code) + "\n")
    env = os.environ | {"PYTHONPATH": str(folder), "DLBOOK_CACHE_DIR": str(folder / "cache")}
    how = {"cwd": folder, "env": env, "text": True}
    how |= {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    command = [sys.executable, "-c", CALL]
    return lambda: subprocess.Popen(command, **how)


def answer(process):
    """Return how many kernels came from the disk, and hold what was computed."""
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err[-2000:]
    numbers, hits = out.strip().rsplit(" ", 1)
    assert json.loads(numbers) == [10 + i * (i + 1) // 2 for i in range(KERNELS)], out
    return int(hits)


def cache(kind, times, seed, folder):
    """Let two processes compile into one empty cache; let one of them be killed on the way."""
    start, rng, killed = copied(folder), random.Random(seed), 0
    for number in tqdm(range(times), "one empty cache", leave=False):
        shutil.rmtree(folder / "cache", ignore_errors=True)
        first, second = start(), start()
        if number % 2:
            time.sleep(rng.random() * 2)
            first.kill()
            first.communicate()
            killed += first.returncode == -signal.SIGKILL
        else:
            answer(first)
        answer(second)
        assert answer(start()) == KERNELS, "a later process compiles again"
    return {"two at once": times, "one of them killed": killed}


CHECKS = {  # what is done, to what, how often
    **{f"killed-{kind}": (killed, kind, 200) for kind in KINDS},
    **{f"full-{kind}": (full, kind, 100) for kind in KINDS},
    "cold-cache": (cache, "", 20),
}


def run(name, seed=1, times=None):
    """Run a check in a process of its own; return what it says and its faults."""
    times = times or CHECKS[name][2]
    command = [sys.executable, "-m", "fuzz.interrupted", name, str(times), str(seed)]
    errors = None if sys.stderr.isatty() else subprocess.PIPE  # a terminal shows how far it is
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=errors, text=True)
    if done.returncode:
        return "not held", [f"{name}: {(done.stderr or '').strip()[-2000:]}"]
    counts = json.loads(done.stdout)
    return ", ".join(f"{key} {value}" for key, value in counts.items()), []


if __name__ == "__main__":
    check, kind, _ = CHECKS[sys.argv[1]]
    place = work_folder()
    try:
        print(json.dumps(check(kind, int(sys.argv[2]), int(sys.argv[3]), place)))
    finally:
        shutil.rmtree(place, ignore_errors=True)
