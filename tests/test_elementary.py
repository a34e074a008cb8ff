"""The fast elementary functions over the whole range of float32, and where IEEE has its say.

Every 1,009th float32 is tried; ``DLBOOK_ULP_STRIDE=1`` tries all 2³² of them (some minutes).
"""

import os
import subprocess
import sys

import numba
import numpy as np
import pytest
from compiled import compiled_only, same_bits

from dlbook.linear_classification import sigmoid as literal_sigmoid
from dlbook.linear_classification import softmax as literal_softmax
from dlbook.neurons import gelu_tanh
from dlbook.tools import elementary
from dlbook.tools.jit import njit

STRIDE = int(os.environ.get("DLBOOK_ULP_STRIDE", "1009"))
SMALL = float(np.finfo(np.float32).tiny)


def apply(name, x):
    """Return what a function of whole arrays writes."""
    out = np.empty_like(x)
    assert (
        getattr(elementary, name)(x, out) is None
    )  # an array returned costs as much as 1,000 exps
    return out


def true_gelu(x):
    """Return x σ(2u) in float64."""
    return x / (1 + np.exp(-2 * np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))


def true_sigmoid(x):
    """Return σ(x) in float64, without cancellation in either tail."""
    e = np.exp(-np.abs(x))
    return np.where(x < 0, e, 1.0) / (1 + e)


# function, truth, largest error in ulp where the result is a normal number; GELU loses digits
# with |x| in its left tail, where σ(2u) magnifies the rounding of u
FUNCTIONS = [
    ("exp", np.exp, 1.0, -np.inf),
    ("tanh", np.tanh, 2.6, -np.inf),
    ("sigmoid", true_sigmoid, 2.5, -np.inf),
    ("gelu", true_gelu, 3.5, -1.0),
]


def ulps(found, truth):
    """Return the distance in units in the last place of the true value, rounded to float32."""
    with np.errstate(over="ignore", under="ignore"):
        rounded = truth.astype(np.float32)
    with np.errstate(invalid="ignore", over="ignore"):
        unit = np.spacing(np.abs(rounded)).astype(np.float64)
        error = np.abs(found.astype(np.float64) - truth) / unit
    return np.where(found == rounded, 0.0, error)  # infinities and zeros that agree


def floats(first, count):
    """Return some float32 numbers by their bits, without NaN."""
    bits = (np.arange(count, dtype=np.uint64) * STRIDE + first).astype(np.uint32)
    x = bits.view(np.float32)
    return x[~np.isnan(x)]


@compiled_only
@pytest.mark.parametrize(("name", "truth", "most", "least"), FUNCTIONS, ids=lambda v: str(v)[:8])
def test_ulp_over_the_whole_range(name, truth, most, least):
    worst, tail, chunk = 0.0, 0.0, 1 << 22
    for first in range(0, 2**32, chunk * STRIDE):
        x = floats(first, min(chunk, -(-(2**32 - first) // STRIDE)))
        with np.errstate(all="ignore"):
            true = truth(x.astype(np.float64))
        found = apply(name, x)
        with np.errstate(over="ignore"):
            normal = np.abs(true) >= SMALL
        true = np.where(np.isnan(true), -0.0, true)  # GELU(−∞)
        error = ulps(found, true)
        inside = normal & (x >= least)
        worst = max(worst, error[inside].max(initial=0))
        # the left tail of GELU, in terms of |x| instead
        outside = normal & (x < least)
        if outside.any():
            tail = max(tail, np.max(np.abs(found - true)[outside] / np.abs(x[outside])))
        # where the true value is not a normal number: zero, or as close as such numbers are
        assert np.all(np.abs(found[~normal].astype(np.float64) - true[~normal]) <= SMALL)
    print(f"{name}: {worst:.2f} ulp, left tail {tail:.1e} |x|")
    assert worst <= most
    assert tail <= 6e-8


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_special_values(dtype):
    x = np.array([np.nan, np.inf, -np.inf, 0.0, -0.0, 1e-40, -1e-40, 3e4, -3e4], dtype)
    with np.errstate(all="ignore"):
        table = {name: apply(name, x) for name in ("exp", "tanh", "sigmoid", "gelu")}
    expected = {
        "exp": [np.nan, np.inf, 0, 1, 1, 1, 1, np.inf, 0],
        "tanh": [np.nan, 1, -1, 0, 0, x[5], x[6], 1, -1],
        "sigmoid": [np.nan, 1, 0, 0.5, 0.5, 0.5, 0.5, 1, 0],
        "gelu": [np.nan, np.inf, 0, 0, 0, x[5] / 2, x[6] / 2, 3e4, 0],
    }
    for name, values in expected.items():
        np.testing.assert_allclose(table[name], values, rtol=1e-6, atol=1e-44, err_msg=name)
    assert np.array_equal(np.signbit(table["tanh"]), np.signbit(x) & ~np.isnan(x))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_every_position_is_computed_alike(dtype, rng):
    """A vector's lanes and the remainder of the loop give the same bits."""
    x = np.float32([-1.7, 0.3, 5.0, -30.0]).astype(dtype)
    for name in ("exp", "tanh", "sigmoid", "gelu"):
        alone = [apply(name, v[None])[0] for v in x]
        many = np.tile(x, 25)[:-1]
        together = apply(name, many)
        np.testing.assert_allclose(together, np.tile(alone, 25)[:-1], rtol=3e-7, atol=0)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_equal_to_the_literal_kernels(dtype, rng):
    x = rng.normal(0, 4, (30, 17)).astype(dtype)
    tolerance = {np.float32: 1e-6, np.float64: 2e-15}[dtype]
    pairs = [
        ("sigmoid", literal_sigmoid),
        ("gelu", gelu_tanh),
        ("softmax", literal_softmax),
    ]
    for fast, literal in pairs:
        expected = literal(x.astype(np.float64))
        # the literal 1 + tanh u cancels where the fast σ(2u) does not: an absolute comparison
        np.testing.assert_allclose(apply(fast, x), expected, rtol=tolerance, atol=tolerance)
    x = x.astype(np.float64)
    for name, truth in (("exp", np.exp), ("tanh", np.tanh)):
        found = apply(name, x)
        np.testing.assert_allclose(found, truth(x), rtol=1e-15)


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ([np.nan, 1, 2], [np.nan] * 3),
        ([1, np.nan, 2], [np.nan] * 3),
        ([np.inf, 1, 2], [np.nan] * 3),
        ([-np.inf] * 3, [np.nan] * 3),
        ([-np.inf, 0, 0], [0, 0.5, 0.5]),
        ([1e4, -1e4, 0], [1, 0, 0]),
        ([-1e4], [1]),
    ],
)
@pytest.mark.parametrize("padding", [0, 61])
def test_softmax_of_special_rows(row, expected, padding):
    """NaN reaches the whole row although the largest number is found without regard to it."""
    x = np.full((3, len(row) + padding), -np.inf, np.float32)
    x[1, -len(row) :] = row
    x[0, 0] = x[2, 0] = 0
    with np.errstate(all="ignore"):
        p = apply("softmax", x)
    np.testing.assert_allclose(p[1, -len(row) :], expected)
    np.testing.assert_array_equal(p[[0, 2], 0], 1)  # neighbours are not touched


def test_softmax_rows_sum_to_one(rng):
    x = rng.normal(0, 20, (50, 33)).astype(np.float32)
    np.testing.assert_allclose(apply("softmax", x).sum(axis=1), 1, rtol=2e-6)
    apply("softmax", np.empty((0, 4)))


@compiled_only
@pytest.mark.parametrize("name", ["exp", "tanh", "sigmoid", "gelu", "softmax"])
def test_same_bits_for_any_number_of_threads(name, rng):
    x = rng.normal(0, 3, (300, 500)).astype(np.float32)
    assert same_bits(lambda: (apply(name, x),))


def test_in_place_and_over_any_shape(rng):
    x = rng.normal(size=(2, 3, 5))
    expected = np.exp(x)
    elementary.exp(x, x)
    np.testing.assert_allclose(x, expected, rtol=1e-15)


@pytest.mark.parametrize("name", ["exp", "tanh", "sigmoid", "gelu"])
@pytest.mark.parametrize("size", [0, 1, 1023, 1024, 1025, 2500])
def test_in_place_is_the_same(name, size, rng):
    for x in rng.normal(0, 3, (2, size)).astype(np.float32), rng.normal(0, 3, size):
        expected, held = apply(name, x), x.copy()
        getattr(elementary, name)(held, held)
        np.testing.assert_allclose(held, expected, rtol=2 * np.finfo(x.dtype).eps)


@pytest.mark.parametrize("name", ["exp", "tanh", "sigmoid", "gelu", "softmax"])
def test_shapes_that_differ_are_refused(name):
    with pytest.raises(ValueError, match="out must have the shape of x"):
        getattr(elementary, name)(np.zeros((2, 3)), np.zeros((2, 4)))


@compiled_only
def test_whole_numbers_are_refused():
    with pytest.raises(numba.errors.TypingError, match="takes floats, not int64"):
        elementary.exp(np.arange(3), np.arange(3))


def test_scalar_functions_in_compiled_code():
    @njit
    def all_of(x):
        return (
            elementary.exponential(x),
            elementary.decay(x),
            elementary.decay_minus_one(x),
            elementary.logistic(x),
            elementary.hyperbolic_tangent(x),
        )

    for number in (np.float32(-0.75), np.float64(-0.75)):
        expected = np.exp(-0.75), np.exp(-0.75), np.expm1(-0.75), 1 / (1 + np.exp(0.75))
        found = all_of(number)
        np.testing.assert_allclose(found[:4], expected, rtol=3 * np.finfo(number.dtype).eps)
        np.testing.assert_allclose(found[4], np.tanh(-0.75), rtol=3 * np.finfo(number.dtype).eps)


def test_tiny_numbers_keep_their_digits():
    """1 − e^x by subtraction would lose all of them."""
    x = np.float32(2.0) ** -np.arange(1, 120, dtype=np.float32)
    found = apply("tanh", x)
    np.testing.assert_allclose(found, np.tanh(x.astype(np.float64)), rtol=2e-7)


@compiled_only
def test_cached_kernels_load_in_a_new_process(tmp_path):
    code = (
        "import numpy as np; from dlbook.tools import elementary as e; "
        "x = np.ones(4, np.float32); e.exp(x, x); print(x[0], sum(e.exp.stats.cache_hits.values()))"
    )
    env = os.environ | {"DLBOOK_CACHE_DIR": str(tmp_path)}
    for hits in (0, 1):
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, env=env, check=True
        )
        assert done.stdout.split() == ["2.7182817", str(hits)]
        assert done.stderr == ""
