"""Time code beside other pages that are being built, without disturbing each other."""

import contextlib
import os
import statistics
import tempfile
import threading
import time

from dlbook.tools import shapes

__all__ = ["alone", "median_seconds"]

_threads, _held = threading.RLock(), False


@contextlib.contextmanager
def alone():
    """Hold a lock between the processes of one user, so that only one of them times something.

    Who holds it may ask again. Where the system has no such lock (Windows), or nobody may write
    its file, the processes do not wait for each other.
    """
    global _held
    with _threads:
        if _held:
            yield
            return
        with _between_processes():
            _held = True
            try:
                yield
            finally:
                _held = False


def _between_processes():
    """Return an open file that is locked, or nothing to close."""
    try:
        import fcntl

        path = os.path.join(tempfile.gettempdir(), f"dlbook-timing-{os.getuid()}.lock")
        lock = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600), "w")
    except (ImportError, OSError):
        return contextlib.nullcontext()
    fcntl.flock(lock, fcntl.LOCK_EX)
    return lock


def median_seconds(*functions, rounds=7, least=0.002):
    """Return the median time of one call of each function, measured in alternating rounds.

    Parameters
    ----------
    *functions : callable
        Called without arguments; the first call of each (which may compile) is not counted.
    rounds : int
        How often the whole row is measured.
    least : float
        Seconds that one measurement lasts at least; short functions are called several times.

    Returns
    -------
    list of float
        Seconds per call.

    Raises
    ------
    TypeError, ValueError
        If an argument is not what is described here, before anything is called.
    """
    rounds, least = shapes.count("rounds", rounds), shapes.number("least", least, least=0)
    for i, f in enumerate(functions):
        if not callable(f):
            raise TypeError(f"functions[{i}] is {shapes.shown(f)}, expected a function")
    with alone():
        calls = []
        for f in functions:
            f()
            start = time.perf_counter()
            f()
            calls.append(max(1, int(least / max(time.perf_counter() - start, 1e-9))))
        times = [[] for _ in functions]
        for r in range(rounds):
            order = range(len(functions)) if r % 2 == 0 else range(len(functions) - 1, -1, -1)
            for i in order:
                start = time.perf_counter()
                for _ in range(calls[i]):
                    functions[i]()
                times[i].append((time.perf_counter() - start) / calls[i])
    return [statistics.median(t) for t in times]
