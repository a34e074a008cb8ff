"""What a row of the benchmark is: data, and one function for each side that sets it up."""

import importlib
import pkgutil
from collections.abc import Callable
from typing import NamedTuple

__all__ = ["NOT_BEHIND", "OURS", "PEAK", "Row", "all_rows", "chosen", "library"]

OURS, PEAK = "dlbook", "tile peak"
NOT_BEHIND = 0.95  # two programs of one speed differ by less in a run


class Row(NamedTuple):
    """One comparison.

    ``sides[name](**size)`` sets a side up, from a seed, and returns two functions: the first is
    timed, the second returns what it computed as a list of arrays, which must agree with dlbook's
    after two calls. A side's name begins with its library: "torch", "torch.compile", "jax". It
    imports that library inside the function, so that a missing one is missed there only.
    The side `PEAK` returns a function and the number of operations it makes; it is no rival.
    """

    name: str
    what: str  # in words, with the sizes
    sides: dict[str, Callable]
    size: dict = {}
    rtol: float = 1e-5  # largest |difference| accepted, relative to the largest number of the array
    kind: str = (
        "time"  # or of a new process: "warm", "cold" (no compiled kernels), "compile" (once)
    )
    threads: tuple = (1,)
    work: float = 0  # per call, in …
    unit: str = "flop"  # … or "byte"
    target: dict = {}  # {"torch": 12}: so many times faster than the best setting of a library
    share: float = 0  # of the tile's peak to be reached with one thread
    limit: float = 0  # seconds that dlbook may take at most
    memory: tuple = ()  # sides whose peak memory is measured too


def library(side):
    """Return the library of a side: "torch.compile" is one setting of "torch"."""
    return side.split(".")[0]


def all_rows():
    """Return {chapter or tool: its rows}, from the modules in `benchmarks.rows`."""
    package = importlib.import_module("benchmarks.rows")
    names = sorted(module.name for module in pkgutil.iter_modules(package.__path__))
    return {name: importlib.import_module(f"benchmarks.rows.{name}").ROWS for name in names}


def chosen(rows, only):
    """Return [(module, row)] for names of rows or of modules, comma-separated; all for ""."""
    pairs = [(module, row) for module, some in rows.items() for row in some]
    names = [name.strip() for name in only.split(",") if name.strip()]
    known = {*rows, *(row.name for _, row in pairs)}
    if unknown := sorted({*names} - known):
        listed = "\n  ".join(f"{m}: {', '.join(row.name for row in rows[m])}" for m in rows)
        raise LookupError(f"no benchmark is called {', '.join(unknown)}; there are\n  {listed}")
    return [(m, row) for m, row in pairs if not names or m in names or row.name in names]
