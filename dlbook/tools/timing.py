"""Time code beside other pages that are being built, without disturbing each other."""

import contextlib
import os
import statistics
import tempfile
import time

__all__ = ["alone", "median_seconds"]


@contextlib.contextmanager
def alone():
    """Hold a lock between the processes of one user, so that only one of them times something.

    Where the system has no such lock (Windows), it does nothing.
    """
    try:
        import fcntl
    except ImportError:
        yield
        return
    path = os.path.join(tempfile.gettempdir(), f"dlbook-timing-{os.getuid()}.lock")
    with open(os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


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
    """
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
