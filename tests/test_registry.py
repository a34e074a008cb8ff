"""The contract of every fast kernel and public name: one row each in the registry, generic suites."""

import gc
import importlib

import numba
import numpy as np
import pytest
import registry
from compiled import compiled_only
from numba.core.runtime import rtsys
from registry import Draw, arguments, sizes_of

ROWS = registry.load()
EACH = [(name, dtype) for name, row in ROWS.items() for dtype in row.dtypes]


def leaves(value):
    """Return the parts of what a kernel returned."""
    return list(value) if isinstance(value, tuple) else [value]


def close(what, found, expected, rtol):
    """Hold arrays against each other, relative to the largest finite number; None is not held."""
    found, expected = leaves(found), leaves(expected)
    assert len(found) == len(expected), what
    for one, other in zip(found, expected, strict=True):
        if other is None:
            continue
        one, other = np.asarray(one, float), np.asarray(other, float)
        assert one.shape == other.shape, (what, one.shape, other.shape)
        sizes = np.abs(other[np.isfinite(other)])
        atol = rtol * max(1.0, sizes.max(initial=0.0))
        np.testing.assert_allclose(one, other, rtol=0, atol=atol, err_msg=what)


def called(name, dtype, sizes, seed=0, poisoned=-1):
    """Call the kernel of a row; return what is held, by name: what was found and what is expected."""
    row, d = ROWS[name], Draw([seed, *(n % 2**32 for n in sizes.values())], dtype, poisoned)
    args, expected = row.case(d, **sizes)
    named = dict(zip(arguments(row), args, strict=False))
    alone = {
        key: (x, x.copy())
        for key, x in named.items()
        if isinstance(x, np.ndarray) and key not in expected and key not in row.scratch
    }
    named["returned"] = row.call(*args)
    assert d.intact(), f"{name} wrote before or behind an array"
    for key, (x, before) in alone.items():
        np.testing.assert_array_equal(x, before, err_msg=f"{name} changed {key}")
    return {key: (named[key], value) for key, value in expected.items()}, d.drawn


@pytest.mark.parametrize(("name", "dtype"), EACH)
def test_literal_is_fast(name, dtype):
    """Whatever the shape, each kernel gives what its literal twin gives, and writes nothing else.

    Arrays to be written, and memory, hold NaN before: what is not overwritten shows.
    """
    for seed, sizes in enumerate(sizes_of(name, 12)):
        held, _ = called(name, dtype, sizes, seed)
        for key, (found, expected) in held.items():
            close(f"{name} {key} {sizes}", found, expected, ROWS[name].rtol[dtype])
