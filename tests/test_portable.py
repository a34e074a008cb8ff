"""The book's functions of the mathematics library, against more digits and at the edges."""

import decimal
import math

import numpy as np
import pytest

from dlbook.tools import portable
from dlbook.tools.portable import FUNCTIONS

MANY, ULPS = 1500, 2
LONG = np.finfo(np.longdouble).nmant >= 63  # numbers with more digits than a double
LONG_NAMES = {
    "acos": "arccos",
    "asin": "arcsin",
    "atan": "arctan",
    "atan2": "arctan2",
    "pow": "power",
}


def anywhere(rng, low=-1020, high=1020):
    """Return numbers of both signs whose exponents are anywhere."""
    return rng.choice([-1.0, 1.0], MANY) * 2.0 ** rng.uniform(low, high, MANY)


def near_one(rng):
    return 1 + anywhere(rng, -50, -1)


DRAWN = {
    "exp": [lambda r: r.uniform(-708, 709.7, MANY), lambda r: anywhere(r, -60, 1)],
    "expm1": [lambda r: r.uniform(-60, 709, MANY), lambda r: anywhere(r, -70, 2)],
    "sinh": [lambda r: r.uniform(-710, 710, MANY), lambda r: anywhere(r, -70, 4)],
    "cosh": [lambda r: r.uniform(-710, 710, MANY), lambda r: anywhere(r, -60, 4)],
    "tanh": [lambda r: r.uniform(-22, 22, MANY), lambda r: anywhere(r, -70, 2)],
    "log": [lambda r: abs(anywhere(r)), near_one],
    "log2": [lambda r: abs(anywhere(r)), near_one],
    "log10": [lambda r: abs(anywhere(r)), near_one],
    "log1p": [lambda r: abs(anywhere(r)), lambda r: anywhere(r, -70, -0.01)],
    "sin": [anywhere, lambda r: r.uniform(-100, 100, MANY), lambda r: anywhere(r, -40, 22)],
    "cos": [anywhere, lambda r: r.uniform(-100, 100, MANY), lambda r: np.arange(MANY) * np.pi / 2],
    "tan": [anywhere, lambda r: r.uniform(-100, 100, MANY), lambda r: anywhere(r, -40, 22)],
    "atan": [anywhere, lambda r: r.normal(size=MANY)],
    "asin": [lambda r: r.uniform(-1, 1, MANY), lambda r: anywhere(r, -60, 0)],
    "acos": [lambda r: r.uniform(-1, 1, MANY), lambda r: 1 - abs(anywhere(r, -50, 1))],
    "atan2": [lambda r: r.normal(size=(2, MANY)), lambda r: (anywhere(r), anywhere(r))],
    "hypot": [lambda r: r.normal(size=(2, MANY)), lambda r: (anywhere(r), anywhere(r))],
    "pow": [
        lambda r: (r.uniform(0, 3, MANY), r.uniform(-50, 50, MANY)),
        lambda r: (abs(anywhere(r)), r.uniform(-0.9, 0.9, MANY)),
        lambda r: (near_one(r), anywhere(r, -3, 40)),
    ],
    "fmod": [
        lambda r: r.uniform(-9, 9, (2, MANY)),
        lambda r: (anywhere(r, -9, 50), anywhere(r, -9, 9)),
    ],
}


def called(name, values):
    """Return a function of many numbers, or of pairs of them."""
    function, count = FUNCTIONS[name]
    rows = zip(*np.reshape(values, (count, -1)).tolist(), strict=True)
    return np.array([function(*row) for row in rows])


@pytest.mark.skipif(not LONG, reason="long double has no more digits than double here")
@pytest.mark.parametrize("name", DRAWN)
def test_errors_in_units_in_the_last_place(name):
    rng = np.random.default_rng(0)
    exact = getattr(np, LONG_NAMES.get(name, name))
    for draw in DRAWN[name]:
        values = np.reshape(draw(rng), (FUNCTIONS[name][1], -1))
        found = called(name, values)
        with np.errstate(all="ignore"):
            expected = exact(*values.astype(np.longdouble))
            unit = np.spacing(np.abs(expected.astype(float)))
        usual = np.isfinite(unit) & (unit > 0)
        assert usual.mean() > (0.3 if name == "pow" else 0.9)
        error = np.abs(found[usual] - expected[usual]) / unit[usual]
        assert error.max() <= ULPS, (values[:, usual][:, error.argmax()], error.max())


def erfc_in_digits(x):
    """Return 1 − 2/√π Σ (−1)^n x^(2n+1) / (n! (2n+1)) with 500 digits."""
    with decimal.localcontext(prec=500):
        x = decimal.Decimal(x)
        square, term, total, n = -x * x, x, x, 0
        while abs(term) > decimal.Decimal(10) ** -450:
            n += 1
            term *= square / n
            total += term / (2 * n + 1)
        return 1 - 2 * total / PI.sqrt()


def pi_in_digits():
    """Return π by Machin's formula, with 500 digits."""
    with decimal.localcontext(prec=520):

        def arctangent(n):
            term = total = decimal.Decimal(1) / n
            for k in range(3, 800, 2):
                term /= -n * n
                total += term / k
            return total

        return 16 * arctangent(5) - 4 * arctangent(239)


PI = pi_in_digits()


@pytest.mark.parametrize("name", ["erf", "erfc"])
def test_the_error_function(name):
    rng = np.random.default_rng(0)
    for x in (*rng.uniform(-6, 6, 60), *rng.uniform(6, 12, 10), 0.5, 2**-30, -(2**-60)):
        found = called(name, [x])[0]
        exact = erfc_in_digits(float(x))
        with decimal.localcontext(prec=500):
            exact = exact if name == "erfc" else 1 - exact
            error = abs(decimal.Decimal(float(found)) - exact)
            assert error <= ULPS * decimal.Decimal(float(np.spacing(abs(found)))), x


SPECIAL = (0.0, -0.0, 1.0, -1.0, 0.5, -0.5, 2.0, -2.0, 3.0, -3.0, 709.78, 710.0, -745.13, -746.0)
SPECIAL += (1e22, 1e300, -1e300, 1e-300, 5e-324, -5e-324, 1e-310, math.inf, -math.inf, math.nan)


def by_the_library(name, *values):
    """Return what Python's library gives, with NaN and infinities where it raises an error."""
    try:
        return {"fmod": math.fmod}.get(name, getattr(math, name))(*values)
    except ValueError:
        pole = name == "pow" or (
            name.startswith("log") and values[0] == (-1 if name == "log1p" else 0)
        )
        if pole and not (name == "pow" and values[0] != 0):
            return by_poles(name, *values)
        return math.nan
    except OverflowError:
        odd = name == "sinh" or (name == "pow" and values[1] % 2 == 1)
        return math.copysign(math.inf, values[0]) if odd else math.inf


def by_poles(name, *values):
    if name != "pow":
        return -math.inf
    return math.copysign(math.inf, values[0]) if values[1] % 2 == 1 else math.inf


@pytest.mark.parametrize("name", FUNCTIONS)
def test_zeros_infinities_and_what_is_no_number(name):
    count = FUNCTIONS[name][1]
    for x in SPECIAL:
        for y in SPECIAL if count == 2 else [None]:
            values = (x,) if y is None else (x, y)
            found, expected = float(FUNCTIONS[name][0](*values)), by_the_library(name, *values)
            if math.isnan(expected) or math.isinf(expected):
                assert found == expected or (math.isnan(found) and math.isnan(expected)), values
                continue
            assert math.copysign(1, found) == math.copysign(1, expected), values
            assert abs(found - expected) <= 4 * math.ulp(expected), values


def test_subnormal_results_are_near():
    for x in np.linspace(-745, -708.5, 200):
        assert abs(portable.exp(x) - math.exp(x)) <= 2 * math.ulp(math.exp(x))


def test_powers_of_complex_numbers():
    rng = np.random.default_rng(1)
    for _ in range(100):
        x, y = rng.normal(size=(2, 2)) @ (1, 1j)
        np.testing.assert_allclose(portable.power_of_complex(x, y), x**y, rtol=1e-14)
    assert portable.power_of_complex(0j, 2 + 0j) == 0
    assert portable.power_of_complex(0j, 0j) == 1
