"""What the tests need to know of Numba."""

import contextlib

import numba
import numpy as np
import pytest
from numba.core.runtime import _nrt_python, rtsys

compiled_only = pytest.mark.compiled_only  # conftest.py skips it where nothing is compiled


def same_bits(compute):
    """Say whether a function returns arrays of the same bits on one to four threads and on all."""
    most, found = numba.get_num_threads(), []
    try:
        for count in sorted({*range(1, min(4, most) + 1), most}):
            numba.set_num_threads(count)
            found.append([np.asarray(part).tobytes() for part in compute()])
    finally:
        numba.set_num_threads(most)
    return all(parts == found[0] for parts in found)


@contextlib.contextmanager
def allocations():
    """Give a function that says how much Numba's runtime has allocated inside and not freed."""
    _nrt_python.memsys_enable_stats()
    before = rtsys.get_allocation_stats()

    def lost():
        now = rtsys.get_allocation_stats()
        arrays = now.mi_alloc - before.mi_alloc - (now.mi_free - before.mi_free)
        return max(arrays, now.alloc - before.alloc - (now.free - before.free))

    try:
        yield lost
    finally:
        _nrt_python.memsys_disable_stats()
