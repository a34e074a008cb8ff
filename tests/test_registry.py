"""The contract of every fast kernel and public name: one row each in the registry, generic suites."""

import ast
import importlib
import itertools
import sys

import numba
import numpy as np
import pytest
import registry
import rows_nets
import rows_pairs
import rows_slopes
import tried
from census import EXCUSED, ROOMS, THROUGH, census
from compiled import allocations, compiled_only
from numba.core import config
from registry import Draw, arguments, sizes_of, uses_threads

from dlbook.nets import check_model

ROWS = registry.load()
PLAIN = config.DISABLE_JIT
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
    numbers = [seed, *(n % 2**32 for n in sizes.values()), *registry.ROUND]
    row, d = ROWS[name], Draw(numbers, dtype, poisoned)
    args, expected = row.case(d, **sizes)
    named = dict(zip(arguments(row), args, strict=False))
    if PLAIN and row.plain:
        pytest.skip(row.plain)
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
    for seed, sizes in enumerate(sizes_of(name, 3 if PLAIN else 12)):
        held, _ = called(name, dtype, sizes, seed)
        for key, (found, expected) in held.items():
            what = f"{name} {key} {sizes}, round {registry.ROUND}"
            close(what, found, expected, ROWS[name].rtol[dtype])
    tried.note(name, dtype, seed + 1)


# What threads share, in plain Python: constants of modules, so small that every kernel shares
SHARED = {
    "TILED": True,
    "PARALLEL_FROM": 1,
    "WORTH": 1,
    "WINOGRAD_PARTS": ((3, 1),),
    "OTHER_PARTS": ((3, 1),),
    "SOME": 12,
    "AT_ONCE": 16,
    "WIDE": 32,
    "threads": lambda: 3,
    "get_num_threads": lambda: 3,
    "by_threads": lambda part, together, parts: together(),
}


@pytest.mark.skipif(not PLAIN, reason="compiled kernels hold constants: see the number of threads")
@pytest.mark.parametrize("name", [name for name, row in ROWS.items() if uses_threads(row.kernel)])
def test_shared_among_threads(name, monkeypatch):
    """The parts make up the whole, where Python takes the way of three threads."""
    rooms = [module for path, module in sys.modules.items() if path.startswith("dlbook.")]
    for room, key in itertools.product(rooms, SHARED):
        if room.__name__ not in ("dlbook.tools", "dlbook.tools.threads") and hasattr(room, key):
            monkeypatch.setattr(room, key, SHARED[key])
    dtype = ROWS[name].dtypes[0]
    for seed, sizes in enumerate([*sizes_of(name, 9)][3:]):
        held, _ = called(name, dtype, sizes, seed)
        for key, (found, expected) in held.items():
            close(f"{name} {key} {sizes}", found, expected, ROWS[name].rtol[dtype])


@compiled_only
@pytest.mark.parametrize("name", [name for name, row in ROWS.items() if not row.nan])
def test_a_nan_goes_where_the_literal_lets_it_go(name):
    """One NaN, in each of the arrays that are read: it reaches the same numbers, and no others."""
    dtype, many = ROWS[name].dtypes[0], list(sizes_of(name, 3))
    for sizes in many[-3:]:
        _, drawn = called(name, dtype, sizes)
        for poisoned in range(drawn):
            with np.errstate(all="ignore"):
                held, _ = called(name, dtype, sizes, 0, poisoned)
            for key, (found, expected) in held.items():
                what = f"{name} {key} {sizes}, NaN in input {poisoned}"
                close(what, found, expected, ROWS[name].rtol[dtype])


THREADED = [name for name, row in ROWS.items() if isinstance(row.threads, dict) and row.threads]


def copied(value):
    """Return a copy of arrays, those in tuples too."""
    if isinstance(value, tuple):
        parts = map(copied, value)
        return type(value)(*parts) if hasattr(value, "_fields") else tuple(parts)
    return value.copy() if isinstance(value, np.ndarray) else value


@compiled_only
@pytest.mark.parametrize("name", THREADED)
def test_the_number_of_threads_changes_no_bit(name):
    """Twenty runs on one, two and four threads: a race shows in the bits, seldom in the numbers."""
    row = ROWS[name]
    d = Draw(0, row.dtypes[0])
    args, expected = row.case(d, **row.threads)
    names, found, most = arguments(row), set(), numba.get_num_threads()
    try:
        for count in {1, 2, 4} & {*range(1, most + 1)}:
            numba.set_num_threads(count)
            for _ in range(20):
                given = copied(args)
                returned = row.call(*given)
                written = dict(zip(names, given, strict=False)) | {"returned": returned}
                parts = [leaves(written[key]) for key in expected]
                found.add(b"".join(np.asarray(p).tobytes() for some in parts for p in some))
    finally:
        numba.set_num_threads(most)
    assert len(found) == 1


@compiled_only
@pytest.mark.parametrize("name", ROWS)
def test_no_memory_is_lost(name):
    """What Numba's runtime has allocated for a kernel it has also freed."""
    dtype, sizes = ROWS[name].dtypes[0], list(sizes_of(name, 1))[-1]
    called(name, dtype, sizes)
    with allocations() as lost:
        for _ in range(3):
            called(name, dtype, sizes)
        assert lost() == 0


@compiled_only
@pytest.mark.parametrize("name", rows_pairs.LINEAR)
def test_the_way_back_of_a_linear_map_is_its_transpose(name, rng):
    """⟨A x, y⟩ = ⟨x, Aᵀ y⟩, and A (x − x′) = A x − A x′: without any other form of either."""
    x, there, back = rows_pairs.LINEAR[name](rng)
    other, dy = rng.normal(size=x.shape), rng.normal(size=there(x).shape)
    size = np.linalg.norm(there(x)) * np.linalg.norm(dy)
    assert np.vdot(there(x), dy) == pytest.approx(np.vdot(x, back(x, dy)), rel=0, abs=1e-13 * size)
    np.testing.assert_allclose(there(x - other), there(x) - there(other), rtol=0, atol=1e-12)


@compiled_only
@pytest.mark.parametrize("name", rows_pairs.CURVED)
def test_the_way_back_is_the_slope_of_the_way_there(name, rng):
    """By central differences of the fast form alone, in five random directions."""
    x, there, back = rows_pairs.CURVED[name](rng)
    dy = rng.normal(size=there(x).shape)
    slopes = back(x, dy)
    for _ in range(5):
        along, step = rng.normal(size=x.shape), 1e-5
        up, down = (np.vdot(dy, there(x + sign * step * along)) for sign in (1, -1))
        found = (up - down) / (2 * step)
        size = np.linalg.norm(slopes) * np.linalg.norm(along)
        assert np.vdot(slopes, along) == pytest.approx(found, rel=0, abs=1e-8 * size)


@compiled_only
@pytest.mark.parametrize("name", rows_slopes.SLOPES)
def test_second_derivatives_by_the_complex_step_of_the_gradient(name, rng):
    """uᵀ H v = vᵀ H u, and central differences say the same; the gradient itself is that of the cost."""
    cost, gradient, at = rows_slopes.SLOPES[name]
    u, v, tiny, step = *rng.normal(size=(2, *at.shape)), 1e-30, 1e-5
    slope = cost(at + 1j * tiny * u).imag / tiny
    assert np.vdot(gradient(at), u) == pytest.approx(slope, rel=1e-12)
    curve_u, curve_v = (gradient(at + 1j * tiny * along).imag / tiny for along in (u, v))
    size = np.linalg.norm(curve_u) * np.linalg.norm(v)
    assert np.vdot(curve_u, v) == pytest.approx(np.vdot(curve_v, u), rel=0, abs=1e-12 * size)
    found = (gradient(at + step * u) - gradient(at - step * u)) / (2 * step)
    np.testing.assert_allclose(curve_u, found, rtol=0, atol=1e-7 * np.abs(found).max())


@compiled_only
@pytest.mark.parametrize("name", rows_nets.MODELS)
def test_gradients_are_those_of_the_loss(name):
    model, data = rows_nets.MODELS[name]
    check_model(model, data, count=5)


@pytest.fixture(scope="module")
def names():
    """Return the census."""
    return census()


@compiled_only
def test_every_public_name_has_a_row(names):
    """A kernel in its chapter's KERNELS or in tests/rows_*.py, a function that takes arrays in the
    CALLS of test_inputs.py, a layer in a network of tests/rows_nets.py; or words in census.py."""
    generic = {"contract", "literal", "arrays", "gradient"}
    without = [
        f"{one.module}.{one.name}" for one in names if not (one.held.keys() & generic or one.excuse)
    ]
    assert not without, f"{test_every_public_name_has_a_row.__doc__}: {without}"


@compiled_only
def test_no_excuse_is_left_behind(names):
    """What is excused exists, and would have no row otherwise."""
    known = {f"{one.module}.{one.name}": one for one in names}
    for key in EXCUSED:
        if key in ROOMS:
            continue
        assert key in known, f"{key} is excused and not there"
        assert known[key].excuse, f"{key} is excused and has a row"
    for module, through in THROUGH.items():
        for name in through:
            assert f"{module}.{name}" in known, (
                f"{module}.{name} goes through another and is not there"
            )


@compiled_only
def test_kernels_that_others_call_are_public():
    """So that the census has them: nothing that is imported from `fast` stands outside of `__all__`."""
    found = []
    for path in registry.ROOT.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("dlbook.fast."):
                public = importlib.import_module(node.module).__all__
                found += [f"{node.module}.{a.name}" for a in node.names if a.name not in public]
    assert not found


@compiled_only
def test_what_uses_threads_has_sizes_for_which_it_does():
    """Found by source: what reaches prange or `in_threads` is run on one thread and on several."""
    for name, row in ROWS.items():
        assert row.threads or not uses_threads(row.kernel), f"{name} wants threads={{…}}, or words"
