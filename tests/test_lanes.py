"""Neighbours of an array as one value: the same as NumPy's, with any number of lanes."""

import numpy as np
import pytest
from compiled import compiled_only
from numba import TypingError

from dlbook.tools.jit import njit_fast
from dlbook.tools.lanes import NARROW, WIDE, lanes, load, store


@njit_fast
def _computed_at(x, y, n, like, c, out):
    v, w = load(x, n, like), load(y, n, like)
    store(out, n, (v + w) * (v - w) + c * v - w)


@njit_fast
def computed(x, y, c, out):
    """out = (x + y)(x − y) + c x − y, by lanes of every count."""
    zero, size = x.dtype.type(0), x.size
    whole, most = size - size % WIDE, size - size % NARROW
    for n in range(0, whole, WIDE):
        _computed_at(x, y, np.uintp(n), lanes(zero, WIDE), c, out)
    for n in range(whole, most, NARROW):
        _computed_at(x, y, np.uintp(n), lanes(zero, NARROW), c, out)
    for n in range(most, size):
        _computed_at(x, y, np.uintp(n), lanes(zero, 1), c, out)


@njit_fast
def spread(number, out):
    store(out, np.uintp(1), lanes(number, WIDE))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("size", [0, 1, 3, 4, 7, 15, 16, 17, 33, 64, 71])
def test_computed(dtype, size):
    rng = np.random.default_rng(size)
    x, y = rng.standard_normal((2, size)).astype(dtype)
    out, c = np.full(size + 1, 7, dtype), dtype(1.5)
    computed(x, y, c, out[:size])
    expected = (x + y) * (x - y) + c * x - y
    assert out[:size].dtype == dtype and out[size] == 7
    np.testing.assert_allclose(out[:size], expected, rtol=0, atol=20 * np.finfo(dtype).eps)


def test_numbers_that_are_none_stay_where_they_are():
    x = np.ones(WIDE + 2)
    x[3], x[-1], out = np.nan, np.inf, np.empty(WIDE + 2)
    computed(x, np.zeros_like(x), 0.0, out)
    assert np.isnan(out[[3, -1]]).tolist() == [True, True]  # ∞ times 0 is none either
    assert (np.delete(out, [3, WIDE + 1]) == 1).all()


def test_one_number_in_every_lane():
    out = np.zeros(WIDE + 2, np.float32)
    spread(np.float32(2.5), out)
    assert (out[1:-1] == 2.5).all() and out[0] == out[-1] == 0


@compiled_only
def test_other_dtypes_are_refused():
    """A vector of four-byte numbers is not read from numbers of eight."""
    with pytest.raises(TypingError, match="can be read"):
        computed(np.zeros(5, np.float32), np.zeros(5), np.float32(1), np.zeros(5, np.float32))
