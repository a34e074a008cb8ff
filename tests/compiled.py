"""What the tests need to know of Numba."""

import numba
import numpy as np
import pytest

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
