"""How long all literal kernels of a chapter take to compile, in a new process with no cache.

The kernels and arguments are those of the chapter's tests, so a new chapter has its row at once.
"""

import importlib
import sys
from pathlib import Path

import numpy as np

from benchmarks.row import OURS, Row

TESTS = Path(__file__).resolve().parents[2] / "tests"


def every_kernel(chapter):
    """Call each kernel of a chapter once."""
    sys.path.insert(0, str(TESTS))
    kernels = importlib.import_module(f"test_{chapter}").KERNELS
    rng = np.random.default_rng(1)

    def call():
        for kernel, make_args in kernels:
            kernel(*make_args(rng))

    return call, list


ROWS = [
    Row(
        f"compile-{chapter}",
        f"new process to every kernel of {chapter}",
        {OURS: every_kernel},
        {"chapter": chapter},
        kind="compile",
        limit=15,
    )
    for chapter in sorted(
        path.stem.removeprefix("test_")
        for path in TESTS.glob("test_*.py")
        if "\nKERNELS = " in path.read_text(encoding="utf-8")
    )
]
