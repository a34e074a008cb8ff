"""The rows of the registry: for each fast kernel its literal twin and how to call it.

A row is a function that draws arguments and says what the kernel makes of them::

    @row(activations.rectify, n=ANY, j=ANY)
    def _(d, n, j):
        z = d.normal(n, j)
        return (z, 0.1), {"z": neurons.leaky_relu(wide(z), 0.1)}

It gets a `Draw` and one number for each axis, and returns the arguments and what is expected, by the
name of the argument that is written; what the kernel returns is named ``returned``. Where nothing is
promised of a part, None stands for it. The twin is called with the same numbers in float64, before
the kernel runs. `test_registry.py` has the suites.
"""

import importlib
import inspect
import os
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np

import dlbook
from dlbook.fast.memory import Memory
from dlbook.matmul import PANEL_BYTES
from dlbook.tools.simd import TILES, aligned

ROOT = Path(dlbook.__file__).parent
GUARD = 128  # bytes before and behind each array
SHAPES = int(os.environ.get("DLBOOK_SHAPES", "0"))  # to try in each row, where not as many as here
ROUND = [int(n) for n in os.environ.get("DLBOOK_ROUND", "").split()]  # another draws other shapes
EDGES = {n for tile in TILES.values() for n in (tile.rows, tile.vectors * tile.bytes // 8)}
NEAR = sorted({n + k for n in EDGES for k in (-1, 0, 1)})  # around the tile of every processor
ANY = (0, 1, 2, 3, 4, *NEAR, 31, 32, 33, 37)
SOME = ANY[1:]  # where there has to be one
FEW, NONE_OR_FEW = (1, 2, 3, 5), (0, 1, 2, 3, 5)


class Row(NamedTuple):
    """A kernel, how it is called, and with which sizes."""

    kernel: Callable
    call: Callable  # the kernel, or how it is called where that takes words
    case: Callable  # (draw, **sizes) -> arguments, expected
    sizes: dict  # axis -> what it may be
    dtypes: tuple
    scratch: tuple  # arguments whose contents nobody promises
    rtol: dict  # dtype -> largest error, by the largest number of an array
    nan: str  # why a NaN does not go the literal's way; empty where it does
    threads: dict | str  # sizes for which threads are used, or why none are given
    plain: str  # why the row says nothing as plain Python; empty where it does


ROWS: dict[str, Row] = {}
TOLERANCE = {"float32": 1e-5, "float64": 1e-12}


def name_of(kernel):
    """Return a kernel's name: its module's without the package, and its own."""
    home = getattr(kernel, "py_func", kernel)
    return f"{home.__module__.removeprefix('dlbook.')}.{home.__name__}"


def row(
    kernel, *, dtypes=("float32", "float64"), scratch="", rtol=None, nan="", threads=None, plain="",
    of="", call=None, **sizes,
):  # fmt: skip
    """Enter a case into the registry; `of` names one of several cases of a kernel."""

    def enter(case):
        name = name_of(kernel) + (f":{of}" if of else "")
        assert name not in ROWS, name
        ROWS[name] = Row(
            kernel, call or kernel, case, sizes, dtypes, tuple(scratch.split()), TOLERANCE | (rtol or {}), nan,
            threads or {}, plain,
        )  # fmt: skip
        return case

    return enter


class Draw:
    """Arrays for one case, each between guards to which nobody may write.

    Before and behind each array all bits are set: what is read there is NaN, or −1.

    Parameters
    ----------
    seed : int or list of int
    dtype : {"float32", "float64"}
        Of the arrays, where they do not say otherwise.
    poisoned : int
        Which of the arrays of inputs gets a NaN; −1 for none.
    """

    def __init__(self, seed, dtype, poisoned=-1):
        self.rng, self.dtype, self.poisoned = np.random.default_rng(seed), np.dtype(dtype), poisoned
        self.drawn, self._rooms = 0, []

    def array(self, values, dtype=None):
        """Return values as an array between guards."""
        values = np.asarray(values, dtype or self.dtype)
        room = aligned((2 * GUARD + values.nbytes,), np.uint8)
        room[:] = 0xFF
        self._rooms.append((room, values.nbytes))
        array = room[GUARD : GUARD + values.nbytes].view(values.dtype).reshape(values.shape)
        array[...] = values
        return array

    def _input(self, values):
        """Return numbers that the kernel reads."""
        if self.drawn == self.poisoned and values.size:
            values.flat[self.rng.integers(values.size)] = np.nan
        self.drawn += 1
        return self.array(values)

    def normal(self, *shape):
        return self._input(self.rng.normal(size=shape))

    def uniform(self, *shape):
        return self._input(self.rng.uniform(0.05, 0.95, size=shape))

    def positive(self, *shape):
        return self._input(self.rng.uniform(0.5, 2, size=shape))

    def few(self, *shape):
        """Numbers of which many are equal."""
        return self._input(self.rng.integers(-2, 3, size=shape).astype(float))

    def of(self, values):
        """Numbers that follow from others."""
        return self._input(np.array(values, float))

    def whole(self, high, *shape):
        return self.array(self.rng.integers(high, size=shape), np.int64)

    def pick(self, *choices):
        return choices[self.rng.integers(len(choices))]

    def empty(self, *shape, dtype=None):
        """Return an array to be written: NaN, or a number that nobody means."""
        dtype = np.dtype(dtype or self.dtype)
        return self.array(np.full(shape, np.nan if dtype.kind == "f" else 77), dtype)

    def zeros(self, *shape, dtype=None):
        return self.array(np.zeros(shape), dtype)

    @property
    def width(self):
        """Columns of a panel."""
        return PANEL_BYTES // self.dtype.itemsize

    def packed(self, rows, columns):
        """Return room for a factor in panels."""
        return self.empty(-(-columns // self.width), rows, self.width)

    def panels(self, *factors):
        """Return room for the largest of some factors, (rows, columns)."""
        return self.empty(max(-(-j // self.width) * self.width * k for k, j in factors))

    def in_panels(self, b):
        """Return a factor in panels, as `pack` leaves it."""
        (K, J), W = b.shape, self.width
        Q = -(-J // W)
        padded = np.zeros((K, Q * W))
        padded[:, :J] = b
        return self.array(padded.reshape(K, Q, W).transpose(1, 0, 2))

    def lengths(self, n, steps):
        """Return lengths of sequences, the longest first, and how many have a step t."""
        lengths = np.sort(self.rng.integers(0, steps + 1, n))[::-1]
        counts = (lengths[:, None] > np.arange(max(lengths, default=0))).sum(axis=0)
        return lengths, self.array(counts, np.int64)

    def memory(self):
        """Return memory that holds NaN when it is asked for."""
        draw = self

        class Foul(Memory):
            def array(self, name, *shape, dtype=None):
                return draw.empty(*shape, dtype=dtype or self.dtype)

        return Foul(self.dtype)

    def intact(self):
        """Say whether nobody has written to a guard."""
        return all(
            (room[:GUARD] == 0xFF).all() and (room[GUARD + size :] == 0xFF).all()
            for room, size in self._rooms
        )


def wide(x):
    """Return numbers in float64, or a tuple of such."""
    if isinstance(x, tuple):
        return tuple(map(wide, x))
    return x.astype(np.float64) if isinstance(x, np.ndarray) and x.dtype.kind == "f" else x


def sizes_of(name, count):
    """Yield sizes of a row: its smallest ones, then random ones, the same each time."""
    sizes, rng = ROWS[name].sizes, np.random.default_rng([*name.encode(), *ROUND])
    for least in (False, True) if sizes else ():
        yield {axis: min(some) if least else max(1, min(some)) for axis, some in sizes.items()}
    for axis, some in sizes.items():  # each as small as it can be, beside others that are not
        if min(some) == 0:
            yield {a: int(rng.choice(some)) for a, some in sizes.items()} | {axis: 0}
    for number in range(SHAPES or count):  # in every second one nothing is empty
        least = (number + 1) % 2
        yield {a: int(rng.choice([n for n in some if n >= least])) for a, some in sizes.items()}


def arguments(row):
    """Return the names of a kernel's arguments."""
    return list(inspect.signature(getattr(row.call, "py_func", row.call)).parameters)


@cache
def uses_threads(kernel):
    """Say whether a function of the package reaches threads, itself or by what it calls."""
    source = getattr(kernel, "py_func", kernel)
    if not inspect.isfunction(source) or not source.__module__.startswith("dlbook."):
        return False
    if source.__module__ == "dlbook.tools.threads":
        return True
    names = {name for code in codes(source.__code__) for name in code.co_names}
    called = (source.__globals__.get(name) for name in names)
    return "prange" in names or any(
        uses_threads(thing) for thing in called if thing is not kernel and callable(thing)
    )


def codes(code):
    """Yield the code of a function and of those inside it."""
    yield code
    for part in code.co_consts:
        if inspect.iscode(part):
            yield from codes(part)


def load():
    """Enter all rows."""
    for module in ("rows_layers", "rows_sequences", "rows_images", "rows_fits"):
        importlib.import_module(module)
    return ROWS
