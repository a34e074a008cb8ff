"""The contract of every literal kernel, whatever its mathematics.

Each chapter's test file lists its kernels with arguments: ``KERNELS = [(kernel, make_args), …]``.
"""

import importlib
import re
from pathlib import Path

import numpy as np
import pytest
from compiled import allocations, compiled_only
from numba.core import config

import dlbook

FILES = sorted(Path(__file__).parent.glob("test_*.py"))
ROWS = [
    pytest.param(kernel, make_args, id=f"{path.stem.removeprefix('test_')}.{kernel.__name__}")
    for path in FILES
    if "\nKERNELS = " in path.read_text(encoding="utf-8")
    for kernel, make_args in importlib.import_module(path.stem).KERNELS
]


def leaves(value):
    """Return the arrays and numbers a kernel returned, however they are nested."""
    if isinstance(value, (tuple, list)):
        return [leaf for part in value for leaf in leaves(part)]
    return [] if value is None else [np.asarray(value)]


def equal(a, b, rtol):
    """Hold two results against each other, relative to the largest number of each array."""
    a, b = leaves(a), leaves(b)
    assert len(a) == len(b)
    for x, y in zip(a, b, strict=True):
        assert x.shape == y.shape
        if x.size:
            np.testing.assert_allclose(x, y, rtol=0, atol=rtol * max(1e-300, np.nanmax(np.abs(y))))


def changed(args, how):
    """Return arguments with a function applied to every array, those in tuples too."""
    return tuple(
        changed(a, how) if isinstance(a, tuple) else how(a) if isinstance(a, np.ndarray) else a
        for a in args
    )


def copies(args):
    return changed(args, np.copy)


@compiled_only
@pytest.mark.parametrize(("kernel", "make_args"), ROWS)
def test_compiled_equals_python(kernel, make_args, rng):
    """The compiled kernel computes what its Python source says."""
    args = make_args(rng)
    with np.errstate(all="ignore"):
        equal(kernel(*copies(args)), kernel.py_func(*copies(args)), 1e-13)


@compiled_only
@pytest.mark.parametrize(("kernel", "make_args"), ROWS)
def test_is_compiled(kernel, make_args, rng):
    """A kernel that lost its decorator would pass every other test."""
    kernel(*make_args(rng))
    assert kernel.nopython_signatures


@pytest.mark.parametrize(("kernel", "make_args"), ROWS)
def test_leaves_its_input_alone(kernel, make_args, rng):
    args = make_args(rng)
    kept = copies(args)
    kernel(*args)
    for given, before in zip(leaves(args), leaves(kept), strict=True):
        np.testing.assert_array_equal(given, before)


@pytest.mark.parametrize(("kernel", "make_args"), ROWS)
def test_takes_strided_arrays(kernel, make_args, rng):
    """Every second element of a larger array is as good as a contiguous one.

    As Python, so is one that may not be written to and lies by columns; compiled, that would be one
    more form of every kernel.
    """
    args = make_args(rng)

    def strided(a):
        if a.ndim == 0:
            return a
        wide = np.zeros((*a.shape[:-1], 2 * a.shape[-1]), dtype=a.dtype)
        wide[..., ::2] = a
        return wide[..., ::2]

    def locked(a):
        a = np.array(a, order="F")
        a.flags.writeable = False
        return a

    for way in (strided, locked) if config.DISABLE_JIT else (strided,):
        equal(kernel(*changed(args, way)), kernel(*args), 1e-13)


@compiled_only
@pytest.mark.parametrize(("kernel", "make_args"), ROWS)
def test_no_memory_is_lost(kernel, make_args, rng):
    """What Numba's runtime has allocated for a kernel it has also freed, when its result has gone."""
    args = make_args(rng)
    with allocations() as lost:
        for _ in range(3):
            kernel(*args)
        assert lost() == 0


@pytest.mark.parametrize(("kernel", "make_args"), ROWS)
def test_float32(kernel, make_args, rng):
    """In single precision the result is right to single precision."""
    args = make_args(rng)
    single = changed(args, lambda a: a.astype(np.float32) if a.dtype == np.float64 else a)
    double = changed(single, lambda a: a.astype(np.float64) if a.dtype == np.float32 else a)
    equal(kernel(*single), kernel(*double), 2e-5)


def outcome(kernel, args):
    """Return what a kernel returns, or the kind of error it raises."""
    with np.errstate(all="ignore"):
        try:
            return leaves(kernel(*copies(args)))
        except (ArithmeticError, LookupError, TypeError, ValueError) as error:
            return type(error)


def replaced(args, i, how):
    """Return arguments with a function applied to the floating-point numbers of one of them."""
    if isinstance(args[i], float):
        new = how(np.asarray(args[i])).item()
    else:
        (new,) = changed(args[i : i + 1], lambda a: how(a) if a.dtype.kind == "f" else a)
    return (*args[:i], new, *args[i + 1 :])


def listed(value):
    """Return an array as a list, and a tuple of arrays as a list of them."""
    return list(value) if isinstance(value, tuple) else np.asarray(value).tolist()


def rounded(a):
    return np.rint(3 * a)


def in_whole_numbers(args, i):
    """Yield arguments of which one holds whole numbers: (floating, whole), of several kinds."""
    floats = replaced(args, i, rounded)
    yield floats, replaced(floats, i, lambda a: a.astype(int))
    if isinstance(args[i], float):
        return
    yield floats, (*floats[:i], listed(floats[i]), *floats[i + 1 :])
    for kind, how in ((np.uint8, np.abs), (bool, lambda a: 1.0 * (a > 0))):
        some = replaced(floats, i, how)
        yield some, replaced(some, i, lambda a, kind=kind: a.astype(kind))


@pytest.mark.parametrize(("kernel", "make_args"), ROWS)
def test_whole_numbers_give_the_floating_result(kernel, make_args, rng):
    """No argument may hold numbers that cut the result off, whatever the others hold."""
    args = make_args(rng)
    for i, given in enumerate(args):
        if not any(part.dtype.kind == "f" for part in leaves((given,))):
            continue
        for floats, whole in in_whole_numbers(args, i):
            expected, found = outcome(kernel, floats), outcome(kernel, whole)
            if isinstance(expected, type):
                assert found is expected
                continue
            assert [part.dtype for part in found] == [part.dtype for part in expected]
            for one, other in zip(found, expected, strict=True):
                np.testing.assert_allclose(one, other, rtol=1e-13)


def first_set(args, i, number):
    """Return arguments of which one, an array of whole numbers, begins with another number."""
    (array,) = copies(args[i : i + 1])
    array.flat[0] = number
    return (*args[:i], array, *args[i + 1 :])


@pytest.mark.parametrize(("kernel", "make_args"), ROWS)
def test_labels_that_no_class_has_are_refused(kernel, make_args, rng):
    """What a kernel indexes by is one of 0 … K − 1: beyond lies the memory of others."""
    args = make_args(rng)
    source = getattr(kernel, "py_func", kernel)
    sizes = {n for part in leaves(args) for n in (part.shape or (int(part),))}
    for i, given in enumerate(args):
        if not isinstance(given, np.ndarray) or given.dtype.kind != "i":
            continue
        found = {n: outcome(kernel, first_set(args, i, n)) for n in range(-100, 101)}
        taken = [n for n, result in found.items() if not isinstance(result, type)]
        if isinstance(outcome(source, first_set(args, i, 100)), type):
            assert taken == [*range(len(taken))]
            assert len(taken) in sizes
            assert all(found[n] is ValueError for n in found if n not in taken)
        else:  # a number to compare with or to count with
            assert taken == [*found]


def test_no_sum_begins_with_what_is_there():
    """A zero of the right type that is made of the first number is NaN where that is infinite."""
    for path in sorted(Path(dlbook.__file__).parent.glob("*.py")):
        found = re.findall(r"\b0 \* \w+\[.*", path.read_text(encoding="utf-8"))
        assert not found, (path.name, found)
