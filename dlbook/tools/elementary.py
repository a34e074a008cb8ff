"""The exponential and its kin, fast: exp, tanh, sigmoid, GELU and softmax over whole arrays.

The mathematics stands in `linear_classification` and `neurons`; this tool computes the same
functions so that a compiler can turn the loop into vectors: no branches, no calls into a library,
a polynomial where a library has a table. All of them rest on one identity,

    e^x = 2^n · e^r,   n = ⌊x / ln 2 + ½⌋,   r = x − n ln 2 between ±½ ln 2,

with a minimax polynomial for e^r − 1 (the method of W. J. Cody & W. Waite, *Software Manual for
the Elementary Functions*, 1980; the coefficients were computed for this book by Remez exchange,
relative errors 3·10⁻⁹ in float32 and 5·10⁻¹⁸ in float64).

Largest errors over all 2³² float32 numbers, in units in the last place of the result: exp 0.89,
sigmoid 2.4, tanh 2.5, GELU 3.4 for x ≥ −1; below that GELU errs by at most 5·10⁻⁸ times x, since
σ(2u) magnifies the rounding of u (``DLBOOK_ULP_STRIDE=1 pytest tests/test_elementary.py -s`` measures
them again). They hold where the result is a normal number. Smaller ones are rounded to subnormal
numbers by exp; the others may give zero.

NaN gives NaN; exp overflows to infinity and underflows through the subnormal numbers to zero;
tanh(±∞) = ±1, sigmoid(−∞) = 0, GELU(−∞) = −0. A row of softmax that holds NaN or +∞, or −∞ only,
is NaN throughout, as in the definition.

Array functions take float32 or float64 and an array `out` for the result, which may be the
argument itself. From 65,536 numbers on they use as many threads as Numba is set to. Inside
compiled code use the functions of one number: `exponential`, `logistic`, `hyperbolic_tangent`,
`gaussian_unit`.
"""

import numpy as np
from numba import prange, types
from numba.core.errors import NumbaTypeError
from numba.extending import overload

from dlbook.tools.jit import njit, njit_fast
from dlbook.tools.simd import largest
from dlbook.tools.threads import threads

__all__ = [
    "GELU",
    "SIGMOID",
    "TANH",
    "apply",
    "decay",
    "decay_minus_one",
    "exp",
    "exponential",
    "gaussian_unit",
    "gelu",
    "hyperbolic_tangent",
    "logistic",
    "sigmoid",
    "softmax",
    "tanh",
]

# Multiply-adds may be fused, nothing else: reordering would undo the subtractions below.
EXACT = {"error_model": "numpy", "fastmath": {"contract", "nsz"}, "forceinline": True}

# e^r = 1 + r (1 + r (Q[0] + Q[1] r + …)); ln 2 in two parts, n times the first of which is exact.
# Adding and subtracting ROUND rounds to whole numbers and leaves the number in the low bits.
single = np.float32
Q32 = tuple(map(single, (0.499999934478, 0.166665206317, 0.0416683880453)))
Q32 += tuple(map(single, (0.00836871687973, 0.00138145986467)))
LOG2E32, LN2_HIGH32, LN2_LOW32 = map(single, (1.44269504089, 0.693359375, -2.1219444005469057e-4))
ROUND32, ONE32 = single(1.5 * 2**23), single(1)
LOW32, HIGH32 = single(-104.5), single(89)  # beyond them e^x is 0 and ∞
NORMAL32 = single(-87.336544)  # below it e^x is no longer a normal number
Q64 = (0.50000000000000107655, 0.16666666666666497993, 0.041666666666525981748)
Q64 += (0.0083333333334447465079, 0.0013888888945393339524, 0.0001984126961003009203)
Q64 += (0.000024801490712745166141, 2.7557494441973471629e-6, 2.7631260706069370865e-7)
Q64 += (2.5029605930810602162e-8,)
LOG2E64, LN2_HIGH64, LN2_LOW64 = 1.4426950408889634, 0.693147180369123816490, 1.9082149292705877e-10
ROUND64 = 1.5 * 2.0**52
LOW64, HIGH64, NORMAL64 = -746.0, 710.0, -708.3964185322641


@njit(**EXACT)
def _split32(x):
    """Return r, Q(r) and n, where x = n ln 2 + r; n as the low bits of an integer."""
    shifted = x * LOG2E32 + ROUND32
    n = shifted - ROUND32
    r = (x - n * LN2_HIGH32) - n * LN2_LOW32
    q = (((Q32[4] * r + Q32[3]) * r + Q32[2]) * r + Q32[1]) * r + Q32[0]
    return r, q, single(shifted).view(np.int32)


@njit(**EXACT)
def _split64(x):
    """Return r, Q(r) and n, where x = n ln 2 + r; n as the low bits of an integer."""
    shifted = x * LOG2E64 + ROUND64
    n = shifted - ROUND64
    r = (x - n * LN2_HIGH64) - n * LN2_LOW64
    q = ((Q64[9] * r + Q64[8]) * r + Q64[7]) * r + Q64[6]
    q = (((q * r + Q64[5]) * r + Q64[4]) * r + Q64[3]) * r + Q64[2]
    q = (q * r + Q64[1]) * r + Q64[0]
    return r, q, np.float64(shifted).view(np.int64)


@njit(**EXACT)
def _power32(n):
    """Return 2^n for −126 ≤ n ≤ 127, by writing the bits of the exponent."""
    return np.int32((n << np.int32(23)) + np.int32(127 << 23)).view(np.float32)


@njit(**EXACT)
def _power64(n):
    """Return 2^n for −1022 ≤ n ≤ 1023, by writing the bits of the exponent."""
    return np.int64((n << np.int64(52)) + np.int64(1023 << 52)).view(np.float64)


# One number


@njit(**EXACT)
def _exponential32(x):
    x = LOW32 if x < LOW32 else x  # as comparisons: NaN stays NaN
    x = HIGH32 if x > HIGH32 else x
    r, q, n = _split32(x)
    half = n >> np.int32(1)  # in two halves, of which neither overflows
    return ((q * r + ONE32) * r + ONE32) * _power32(half) * _power32(n - half)


@njit(**EXACT)
def _exponential64(x):
    x = LOW64 if x < LOW64 else x
    x = HIGH64 if x > HIGH64 else x
    r, q, n = _split64(x)
    half = n >> np.int64(1)
    return ((q * r + 1.0) * r + 1.0) * _power64(half) * _power64(n - half)


@njit(**EXACT)
def _decay32(x):
    r, q, n = _split32(x)
    return single(0) if x < NORMAL32 else ((q * r + ONE32) * r + ONE32) * _power32(n)


@njit(**EXACT)
def _decay64(x):
    r, q, n = _split64(x)
    return 0.0 if x < NORMAL64 else ((q * r + 1.0) * r + 1.0) * _power64(n)


@njit(**EXACT)
def _decay_minus_one32(x):
    r, q, n = _split32(x)
    scale = _power32(n)
    return scale * (q * (r * r) + r) + (scale - ONE32)


@njit(**EXACT)
def _decay_minus_one64(x):
    r, q, n = _split64(x)
    scale = _power64(n)
    return scale * (q * (r * r) + r) + (scale - 1.0)


def exponential(x):
    """Return e^x."""
    return _exponential32(x) if isinstance(x, single) else _exponential64(x)


def decay(x):
    """Return e^x for x ≤ 0; what is below the smallest normal number becomes 0."""
    return _decay32(x) if isinstance(x, single) else _decay64(x)


def decay_minus_one(x):
    """Return e^x − 1 for −80 ≤ x ≤ 0, without cancellation near zero."""
    return _decay_minus_one32(x) if isinstance(x, single) else _decay_minus_one64(x)


def _compiled(function, for_single, for_double):
    """Let compiled code choose by the type of x, with an error a reader can use."""

    def choose(x):
        if x not in (types.float32, types.float64):
            raise NumbaTypeError(f"{function.__name__} takes floats, not {x}")
        return for_single if x == types.float32 else for_double

    overload(function, jit_options=EXACT)(choose)


_compiled(exponential, lambda x: _exponential32(x), lambda x: _exponential64(x))
_compiled(decay, lambda x: _decay32(x), lambda x: _decay64(x))
_compiled(decay_minus_one, lambda x: _decay_minus_one32(x), lambda x: _decay_minus_one64(x))


@njit(**EXACT)
def logistic(x):
    """Return σ(x) = 1 / (1 + e^−x), accurate in both tails."""
    one = type(x)(1)
    e = decay(-abs(x))
    return (e if x < 0 else one) / (one + e)


@njit(**EXACT)
def hyperbolic_tangent(x):
    """Return tanh(x) = (1 − e^−2x) / (1 + e^−2x), accurate near zero."""
    size, most = abs(x), type(x)(20)  # beyond 20 it is 1, to the last bit of a float64
    size = most if size > most else size
    e = decay_minus_one(type(x)(-2) * size)
    return np.copysign(e / (e + type(x)(2)), x)


@njit(**EXACT)
def gaussian_unit(x):
    """Return GELU in its tanh form, x (1 + tanh u) / 2 = x σ(2u), u = √(2/π) (x + 0.044715 x³)."""
    low = type(x)(-40)  # σ(2u) is 0 beyond
    x = low if x < low else x
    return x * logistic(type(x)(1.5957691216057308) * (x + type(x)(0.044715) * (x * x * x)))


# Whole arrays

EXP, TANH, SIGMOID, GELU = range(4)
PARALLEL_FROM, CHUNK = 65_536, 16_384  # numbers; a launch of threads costs as much as some 10,000
PIECE = 1024  # numbers that are read before any of them is overwritten


@njit_fast(apart=True)
def _apply_apart(which, x, out):
    """Compute one of the four functions over a vector that shares no memory with the result."""
    if which == EXP:
        for i in range(x.size):
            out[i] = exponential(x[i])
    elif which == TANH:
        for i in range(x.size):
            out[i] = hyperbolic_tangent(x[i])
    elif which == SIGMOID:
        for i in range(x.size):
            out[i] = logistic(x[i])
    else:
        for i in range(x.size):
            out[i] = gaussian_unit(x[i])


@njit_fast
def apply(which, x, out):
    """The same over a vector that may be the result: then from copies of a few numbers.

    A loop over one array under two names is not turned into vectors and takes seven times as long.
    """
    if x.ctypes.data != out.ctypes.data:
        _apply_apart(which, x, out)
        return
    held = np.empty(min(PIECE, x.size), x.dtype)
    for first in range(0, x.size, PIECE):
        part = out[first : first + PIECE]
        copy = held[: part.size]
        copy[:] = part
        _apply_apart(which, copy, part)


@njit_fast(apart=True, parallel=True)
def _apply_parallel(which, x, out):
    """Compute one of the four functions over a vector, in chunks, by all threads."""
    for c in prange((x.size + CHUNK - 1) // CHUNK):
        apply(which, x[c * CHUNK : (c + 1) * CHUNK], out[c * CHUNK : (c + 1) * CHUNK])


@njit_fast
def _whole(which, x, out):
    """Compute one of the four functions over a contiguous array."""
    if x.shape != out.shape:
        raise ValueError("out must have the shape of x")
    if x.size >= PARALLEL_FROM and threads() > 1:
        _apply_parallel(which, x.reshape(-1), out.reshape(-1))
    else:
        apply(which, x.reshape(-1), out.reshape(-1))


@njit_fast
def exp(x, out):
    """Write e^x into `out`; both contiguous, of one shape and dtype."""
    _whole(EXP, x, out)


@njit_fast
def tanh(x, out):
    """Write tanh(x) into `out`; both contiguous, of one shape and dtype."""
    _whole(TANH, x, out)


@njit_fast
def sigmoid(x, out):
    """Write σ(x) into `out`; both contiguous, of one shape and dtype."""
    _whole(SIGMOID, x, out)


@njit_fast
def gelu(x, out):
    """Write GELU(x), tanh form, into `out`; both contiguous, of one shape and dtype."""
    _whole(GELU, x, out)


@njit_fast(apart=True)
def _softmax_rows(x, out):
    """Compute softmax along the last axis of a matrix: three passes over a row in cache."""
    for n in range(x.shape[0]):
        z, p = x[n], out[n]
        most = z[0]
        for k in range(z.size):
            most = largest(most, z[k])
        total = type(most)(0)
        for k in range(z.size):
            e = decay(z[k] - most)
            p[k] = e
            total += e
        share = type(most)(1) / total
        for k in range(z.size):
            p[k] *= share


@njit_fast(apart=True, parallel=True)
def _softmax_parallel(x, out, rows):
    """Compute softmax along the last axis of a matrix, by all threads, `rows` rows at a time."""
    for c in prange((x.shape[0] + rows - 1) // rows):
        _softmax_rows(x[c * rows : (c + 1) * rows], out[c * rows : (c + 1) * rows])


@njit_fast
def softmax(x, out):
    """Write the softmax of each row of x (n, k) into `out` (n, k)."""
    if x.shape != out.shape:
        raise ValueError("out must have the shape of x")
    if x.size >= PARALLEL_FROM and threads() > 1:
        _softmax_parallel(x, out, max(1, CHUNK // x.shape[1]))
    elif x.size > 0:
        _softmax_rows(x, out)
