"""The functions of the mathematics library, written out: the same bits on every machine.

A processor adds, multiplies, divides and takes roots exactly as IEEE 754 says; exp and its kin come
from a library, and two libraries differ in the last bit. Kernels that run in a browser
(`dlbook.tools.wasm`) are bound to these functions instead. They consist of the exact operations in
the order that is written, no fused multiply-add among them, and therefore give the same bits
wherever they run, compiled or as Python.

The method is that of W. J. Cody & W. Waite, *Software Manual for the Elementary Functions*, 1980:
an argument is reduced to a small interval, there a polynomial is used, and what the reduction
rounds off is carried along as a second number. The coefficients were computed for this book by
Remez exchange in 60 digits; relative errors are below 5·10⁻¹⁸ (10⁻²³ for the logarithm, which
powers need to more than 64 bits). `e^r − 1 − r` takes the polynomial of `elementary`. Tables are
computed from the definition, by integers.

The largest errors found against more digits over random arguments of all sizes, in units in the
last place: 0.5 for the logarithms, 0.6 for exp and pow, 0.8 for sin, cos, sinh, tanh, expm1 and
hypot, and below 2 for the others. Results that are subnormal may be one unit further away.
Single precision goes through double and is rounded once.
"""

import math
from fractions import Fraction

import numpy as np

from dlbook.tools.elementary import Q64
from dlbook.tools.jit import njit

__all__ = ["FUNCTIONS"]

SPLIT = 2.0**27 + 1
INF, NAN = math.inf, math.nan


# Two numbers for one: the sum of both is what is meant, the second what the first rounds off


@njit
def _two_sum(a, b):
    """Return a + b as the rounded sum and what was lost."""
    s = a + b
    c = s - a
    return s, (a - (s - c)) + (b - c)


@njit
def _two_product(a, b):
    """Return a · b as the rounded product and what was lost, by halves of 26 bits."""
    p = a * b
    c = SPLIT * a
    a1 = c - (c - a)
    c = SPLIT * b
    b1 = c - (c - b)
    a2, b2 = a - a1, b - b1
    return p, ((a1 * b1 - p) + a1 * b2 + a2 * b1) + a2 * b2


@njit
def _bits(x):
    return np.float64(x).view(np.int64)


@njit
def _power_of_two(n):
    """Return 2^n for −1022 ≤ n ≤ 1023, by writing the bits of the exponent."""
    return np.int64((n + 1023) << 52).view(np.float64)


@njit
def _scaled(x, n):
    """Return x · 2^n for |n| ≤ 2044, in two halves, of which neither overflows by itself."""
    half = n >> 1
    return (x * _power_of_two(half)) * _power_of_two(n - half)


# Constants and tables, from series in whole numbers: a unit has WIDE of them

WIDE = 1 << 1300


def _series(x, sign):
    """Return Σ ±x^n / n over odd n, for a fraction 0 < x < 1: atanh x, or atan x with sign −1."""
    total, term, n = 0, x.numerator * WIDE // x.denominator, 1
    while term:
        total += sign ** (n // 2) * (term // n)
        term, n = term * x.numerator**2 // x.denominator**2, n + 2
    return total


def _logarithm(x):
    """Return log x = 2 atanh((x − 1)/(x + 1)), for a fraction."""
    if x <= 1:
        return -_logarithm(1 / x) if x < 1 else 0
    return 2 * _series((x - 1) / (x + 1), 1)


def _parts(units, *places):
    """Return a multiple of 2^−p for each of some p, and what is left."""
    found = []
    for p in places:
        step = WIDE >> p
        found.append(float(Fraction(units // step, 1 << p)))
        units %= step
    return (*found, float(Fraction(units, WIDE)))


def _leading(units):
    """Return the nearest number, and the nearest to what is left."""
    first = float(Fraction(units, WIDE))
    return first, float(Fraction(units, WIDE) - Fraction(first))


_LN2, _LN10 = _logarithm(Fraction(2)), 3 * _logarithm(Fraction(2)) + _logarithm(Fraction(5, 4))
_PI = 16 * _series(Fraction(1, 5), -1) - 4 * _series(Fraction(1, 239), -1)  # Machin, 1706

LN2_HIGH, LN2_LOW = _parts(_LN2, 42)  # n times the first is exact
LOG2E, LOG2E_LOW = _leading(WIDE * WIDE // _LN2)
LOG10E, LOG10E_LOW = _leading(WIDE * WIDE // _LN10)
TWO_OVER_PI = _leading(2 * WIDE * WIDE // _PI)[0]
PIO2_1, PIO2_2, PIO2_3, PIO2_4 = _parts(_PI // 2, 31, 63, 95)  # 32 bits each
PI, PI_LOW = _leading(_PI)
PIO2, PIO2_LOW = _leading(_PI // 2)
TWO_OVER_ROOT_PI = 1.1283791670955126
TWO_OVER_ROOT_PI_LOW = 1.533545961316588e-17

CELLS = 32  # log: the centres c/32 between √½ and √2
_logs = [_parts(_logarithm(Fraction(max(c, 22), CELLS)), 42) for c in range(47)]
LOG_HIGH, LOG_LOW = (np.array(part) for part in zip(*_logs, strict=True))
_angles = [(0.0, 0.0), *(_leading(_series(Fraction(c, 16), -1)) for c in range(1, 16))]
_angles += [_leading(_PI // 4)]
ANGLE, ANGLE_LOW = (np.array(part) for part in zip(*_angles, strict=True))

_words = [(2 * WIDE * WIDE // _PI * 2 ** (32 * i + 32) // WIDE) % 2**32 for i in range(40)]
TWO_OVER_PI_WORDS = np.array(_words, np.uint64)


# exp and its kin


@njit
def _exponential(x, low):
    """Return n, h and t with e^(x + low) = 2^n (h + t), t small, for |x| < 800."""
    n = np.floor(x * LOG2E + 0.5)
    begin, rest = x - n * LN2_HIGH, n * LN2_LOW
    r = begin - rest
    c = ((begin - r) - rest) + low
    q = ((Q64[9] * r + Q64[8]) * r + Q64[7]) * r + Q64[6]
    q = (((q * r + Q64[5]) * r + Q64[4]) * r + Q64[3]) * r + Q64[2]
    q = (q * r + Q64[1]) * r + Q64[0]
    q *= r * r
    h = 1.0 + r
    return np.int64(n), h, (r - (h - 1.0)) + (q + c * (h + q))


@njit
def exp(x):
    """Return e^x."""
    if not abs(x) < 746.0:
        return x if x != x else (INF if x > 0 else 0.0)
    n, h, t = _exponential(x, 0.0)
    return _scaled(h + t, n)


@njit
def _minus_one(x):
    """Return e^x − 1 as two numbers, for |x| ≤ 60."""
    n, h, t = _exponential(x, 0.0)
    scale = _power_of_two(n)
    s, lost = _two_sum(scale * h, -1.0)
    return _two_sum(s, lost + scale * t)


@njit
def _share(e, low, more):
    """Return E / (E + more) as two numbers, for E = e + low."""
    whole, rest = _two_sum(e, more)
    q = e / whole
    p, lost = _two_product(q, whole)
    return q, (((e - p) - lost) + (low - q * (rest + low))) / whole


@njit
def expm1(x):
    """Return e^x − 1, accurate near zero."""
    if abs(x) < 2.0**-54 or x != x:
        return x
    if abs(x) > 60.0:
        return exp(x) if x > 0 else -1.0
    return _minus_one(x)[0]


@njit
def tanh(x):
    """Return (e^2x − 1) / (e^2x + 1)."""
    a = abs(x)
    if a < 2.0**-28 or x != x:
        return x
    if a > 20.0:
        return math.copysign(1.0, x)
    e, low = _minus_one(2.0 * a)
    q, rest = _share(e, low, 2.0)
    return math.copysign(q + rest, x)


@njit
def sinh(x):
    """Return (e^x − e^−x) / 2."""
    a = abs(x)
    if a < 2.0**-28 or not a < 712.0:
        return x if a < 1 or x != x else x * INF
    if a > 22.0:
        n, h, t = _exponential(a, 0.0)
        return math.copysign(_scaled(h + t, n - 1), x)
    e, low = _minus_one(a)
    q, rest = _share(e, low, 1.0)
    s, lost = _two_sum(e, q)
    return math.copysign(0.5 * (s + (lost + (low + rest))), x)


@njit
def cosh(x):
    """Return (e^x + e^−x) / 2."""
    a = abs(x)
    if not a < 712.0:
        return a * INF
    n, h, t = _exponential(a, 0.0)
    if a < 22.0:
        e = _scaled(h + t, n)
        return 0.5 * e + 0.5 / e
    return _scaled(h + t, n - 1)


# The logarithm and powers

L = (0.6666666666666666, 0.4, 0.2857142857145441, 0.22222221661616312, 0.1818678255795851)
ROOT_HALF_BITS = int(np.float64(0.7071067811865476).view(np.int64))


@njit
def _logarithm_of(x, low):
    """Return log(x + low) as two numbers, for a normal x > 0; low is below a unit of it.

    x = 2^k m, c the centre nearest to m, s = (m − c)/(m + c): log m = log c + 2 atanh s.
    """
    k = (_bits(x) - ROOT_HALF_BITS) >> 52
    m = np.int64(_bits(x) - (k << 52)).view(np.float64)
    if low != 0.0:
        low = _scaled(low, -k)
    cell = np.int64(m * CELLS + 0.5)
    c = cell / CELLS
    near = m - c
    u = near + low
    v, v_low = _two_sum(m, c)
    s = u / v
    p, p_low = _two_product(s, v)
    s_low = (((u - p) - p_low) + (low - (u - near)) - s * (v_low + low)) / v
    z = s * s
    cube = z * s
    poly = cube * ((((L[4] * z + L[3]) * z + L[2]) * z + L[1]) * z + L[0])
    a = k * LN2_HIGH + LOG_HIGH[cell]
    h = a + 2.0 * s
    lost = 2.0 * s - (h - a)
    return h, lost + ((poly + 2.0 * s_low) + (k * LN2_LOW + LOG_LOW[cell]))


@njit
def _outside(x):
    """Return what the logarithm is of a number that is not finite and positive."""
    if x == 0:
        return -INF
    return x if x > 0 or x != x else NAN


@njit
def _logarithm_any(x):
    """Return log x as two numbers, for x finite and positive."""
    if x >= 2.0**-1022:
        return _logarithm_of(x, 0.0)
    h, low = _logarithm_of(x * 2.0**54, 0.0)
    h, lost = _two_sum(h, -54 * LN2_HIGH)
    return h, lost + (low - 54 * LN2_LOW)


@njit
def log(x):
    """Return the natural logarithm."""
    if not 0 < x < INF:
        return _outside(x)
    h, low = _logarithm_any(x)
    return h + low


@njit
def _to_base(x, by, by_low):
    h, low = _logarithm_any(x)
    p, lost = _two_product(h, by)
    return p + (lost + (h * by_low + low * by))


@njit
def log2(x):
    """Return the logarithm to the base 2."""
    return _to_base(x, LOG2E, LOG2E_LOW) if 0 < x < INF else _outside(x)


@njit
def log10(x):
    """Return the logarithm to the base 10."""
    return _to_base(x, LOG10E, LOG10E_LOW) if 0 < x < INF else _outside(x)


@njit
def log1p(x):
    """Return log(1 + x), accurate near zero."""
    if not -1 < x < INF:
        return _outside(1.0 + x)
    if abs(x) < 2.0**-54:
        return x
    w, low = _two_sum(1.0, x)
    h, rest = _logarithm_of(w, low)
    return h + rest


@njit
def _power_outside(x, y):
    """Return x^y where one of them is zero or not finite."""
    if y == 0 or x == 1:
        return 1.0
    if x != x or y != y:
        return NAN
    a = abs(x)
    if abs(y) == INF:
        return 1.0 if a == 1 else (INF if (a > 1) == (y > 0) else 0.0)
    found = a if y > 0 else (INF if a == 0 else 0.0)  # of 0 or ∞
    odd = abs(y) < 2.0**53 and y == np.floor(y) and np.int64(y) & 1
    return math.copysign(found, x) if odd else found


@njit
def pow(x, y):
    """Return x^y, with the special cases of C."""
    if y == 0 or x == 1 or x == 0 or not abs(x) < INF or not abs(y) < INF:
        return _power_outside(x, y)
    a, sign = abs(x), 1.0
    if x < 0:
        if y != np.floor(y):
            return NAN
        if abs(y) < 2.0**53 and np.int64(y) & 1:
            sign = -1.0
    if a == 1:
        return sign
    if abs(y) > 2.0**66:  # |log x| is at least 2^−53
        return sign * (INF if (a > 1) == (y > 0) else 0.0)
    h, low = _logarithm_any(a)
    p, lost = _two_product(y, h)
    if not abs(p) < 746.0:
        return sign * (INF if p > 0 else 0.0)
    p, lost = _two_sum(p, lost + y * low)
    n, e, t = _exponential(p, lost)
    return sign * _scaled(e + t, n)


# Angles

S = (-0.16666666666666632, 0.008333333333322573, -0.00019841269829914284)
S += (2.7557313724105344e-06, -2.505076262530576e-08, 1.5897033987251142e-10)
C = (0.041666666666666616, -0.001388888888887615, 2.480158729058669e-05)
C += (-2.7557314637559045e-07, 2.0875758516263813e-09, -1.136132759915675e-11)
A = (-0.3333333333333333, 0.19999999999997012, -0.14285714272204333)
A += (0.111110846697705, -0.09067510204622016)


@njit
def _reduced(x):
    """Return x as a quarter turn's number (0 to 3), and the angle beyond it in two numbers."""
    if abs(x) <= PIO2 / 2:
        return 0, x, 0.0
    if abs(x) > 2.0**20:
        return _reduced_large(x)
    n = np.floor(x * TWO_OVER_PI + 0.5)
    a, first = _two_sum(x - n * PIO2_1, -(n * PIO2_2))
    b, second = _two_sum(a, -(n * PIO2_3))
    r, third = _two_sum(b, (first + second) - n * PIO2_4)
    return np.int64(n) & 3, r, third


@njit(whole="words")
def _word(words, bit):
    """Return the 32 bits that begin at some place of a long number."""
    at = bit >> 5
    pair = words[at] | words[at + 1] << np.uint64(32)
    return (pair >> np.uint64(bit & 31)) & np.uint64(0xFFFFFFFF)


@njit
def _reduced_large(x):
    """Return the same for a large x = m 2^e, whose product with 2/π is computed in whole numbers.

    Words of 2/π that contribute whole turns only are left out, and ten words are taken: 320 bits.
    """
    word = np.uint64(0xFFFFFFFF)
    bits = _bits(abs(x))
    e = (bits >> 52) - 1075
    mantissa = np.uint64((bits & ((np.int64(1) << 52) - 1)) | (np.int64(1) << 52))
    low, high = mantissa & word, mantissa >> np.uint64(32)
    first = max(0, (e - 2) // 32)
    e -= 32 * first
    product = np.zeros(13, np.uint64)  # words, the least one first
    for i in range(10):
        w = TWO_OVER_PI_WORDS[first + 9 - i]
        carry = product[i] + low * w
        product[i] = carry & word
        carry = product[i + 1] + high * w + (carry >> np.uint64(32))
        product[i + 1] = carry & word
        product[i + 2] += carry >> np.uint64(32)
    point = 320 - e  # the bit that counts whole quarters
    quarter = np.int64(_word(product, point) & np.uint64(3))
    top = _word(product, point - 32) >= np.uint64(0x80000000)  # then from the next quarter back
    f = f_low = 0.0
    for i in range(1, 7):  # 192 bits behind the point
        w = _word(product, point - 32 * i)
        part = np.float64(word - w if top else w) * _power_of_two(-32 * i)
        f, lost = _two_sum(f, part)
        f_low += lost
    if top:
        quarter += 1
        f, f_low = -f, -f_low
    f, f_low = _two_sum(f, f_low)
    r, lost = _two_product(f, PIO2)
    lost += f * PIO2_LOW + f_low * PIO2
    if x < 0:
        quarter, r, lost = -quarter, -r, -lost
    return quarter & 3, r, lost


@njit
def _sine(r, low):
    """Return sin(r + low) between ±π/4."""
    z = r * r
    p = ((((S[5] * z + S[4]) * z + S[3]) * z + S[2]) * z + S[1]) * z + S[0]
    return r + (z * r * p + low * (1.0 - 0.5 * z))


@njit
def _cosine(r, low):
    """Return cos(r + low) between ±π/4."""
    z = r * r
    p = ((((C[5] * z + C[4]) * z + C[3]) * z + C[2]) * z + C[1]) * z + C[0]
    half = 0.5 * z
    w = 1.0 - half
    return w + (((1.0 - w) - half) + (z * z * p - r * low))


@njit
def sin(x):
    """Return the sine of an angle."""
    if not abs(x) < INF:
        return NAN
    if abs(x) < 2.0**-27:
        return x
    quarter, r, low = _reduced(x)
    found = _cosine(r, low) if quarter & 1 else _sine(r, low)
    return -found if quarter & 2 else found


@njit
def cos(x):
    """Return the cosine of an angle."""
    if not abs(x) < INF:
        return NAN
    quarter, r, low = _reduced(x)
    found = _sine(r, low) if quarter & 1 else _cosine(r, low)
    return -found if (quarter + 1) & 2 else found


@njit
def tan(x):
    """Return the tangent of an angle."""
    if not abs(x) < INF:
        return NAN
    if abs(x) < 2.0**-27:
        return x
    quarter, r, low = _reduced(x)
    s, c = _sine(r, low), _cosine(r, low)
    return -c / s if quarter & 1 else s / c


@njit
def atan2(y, x):
    """Return the angle of the point (x, y), from −π to π."""
    if x != x or y != y:
        return NAN
    a, b = abs(x), abs(y)
    most, least = max(a, b), min(a, b)
    if most == 0 or least == INF:
        angle, low = (0.0, 0.0) if most == 0 else (PIO2 / 2, PIO2_LOW / 2)
    else:
        if most == INF:
            most, least = 1.0, 0.0
        scale = 2.0**-60 if most > 2.0**900 else (2.0**120 if most < 2.0**-900 else 1.0)
        most, least = most * scale, least * scale
        cell = np.int64(16.0 * (least / most) + 0.5)
        c = cell / 16
        t = (least - c * most) / (most + c * least)
        z = t * t
        p = (((A[4] * z + A[3]) * z + A[2]) * z + A[1]) * z + A[0]
        angle, low = ANGLE[cell], (t * z) * p + ANGLE_LOW[cell]
        angle, lost = _two_sum(angle, t)
        low += lost
    if b > a:
        angle, lost = _two_sum(PIO2, -angle)
        low = lost + (PIO2_LOW - low)
    if math.copysign(1.0, x) < 0:
        angle, lost = _two_sum(PI, -angle)
        low = lost + (PI_LOW - low)
    return math.copysign(angle + low, y)


@njit
def atan(x):
    """Return the arc tangent."""
    return atan2(x, 1.0)


@njit
def _other_side(x):
    """Return √(1 − x²) for |x| ≤ 1, from (1 − x)(1 + x) with what is lost."""
    u, u_low = _two_sum(1.0, -x)
    v, v_low = _two_sum(1.0, x)
    p, lost = _two_product(u, v)
    r = math.sqrt(p)
    if r == 0:
        return r
    square, less = _two_product(r, r)
    return r + 0.5 * (((p - square) - less) + (lost + (u * v_low + v * u_low))) / r


@njit
def asin(x):
    """Return the arc sine."""
    return atan2(x, _other_side(x)) if abs(x) <= 1 else NAN


@njit
def acos(x):
    """Return the arc cosine."""
    return atan2(_other_side(x), x) if abs(x) <= 1 else NAN


@njit
def hypot(x, y):
    """Return √(x² + y²) without overflow on the way."""
    a, b = abs(x), abs(y)
    if a == INF or b == INF:
        return INF
    most, least = max(a, b), min(a, b)
    if x != x or y != y or least <= most * 2.0**-54:
        return a + b
    scale = 2.0**-600 if most > 2.0**500 else (2.0**600 if least < 2.0**-400 else 1.0)
    most, least = most * scale, least * scale
    p, lost = _two_product(most, most)
    return math.sqrt(p + (least * least + lost)) / scale


@njit
def fmod(x, y):
    """Return what is left of x after whole multiples of y, with the sign of x; it is exact."""
    a, b = abs(x), abs(y)
    if not a < INF or not b > 0:
        return NAN
    while a >= b:
        part = b
        n = ((_bits(a) >> 52) - (_bits(b) >> 52)) - 1
        if b >= 2.0**-1022 and n > 0:
            part = _scaled(b, n)
        while part <= 0.5 * a:
            part *= 2.0
        a -= part
    return math.copysign(a, x)


@njit
def power_of_complex(x, y):
    """Return x^y of complex numbers, e^(y log x)."""
    if y == 0:
        return 1.0 + 0.0j
    if x == 0:
        return 0.0 + 0.0j
    size, angle = hypot(x.real, x.imag), atan2(x.imag, x.real)
    r, phase = pow(size, y.real), angle * y.real
    if y.imag != 0:
        r *= exp(-angle * y.imag)
        phase += y.imag * log(size)
    return complex(r * cos(phase), r * sin(phase))


# The error function

E = (-0.37612638903183576, 0.11283791670931484, -0.026866170634445727, 0.005223977393549961)
E += (-0.0008548299268357814, 0.00012053398204599398, -1.4847233467630362e-05)
E += (1.4738297824933762e-06,)
# (1 + 2x) e^x² erfc x = a polynomial in t = (x − 4)/(x + 4), for 1/2 ≤ x ≤ 28
X = (1.2329951186255526, -0.1396211168405625, 0.015379652102619856, 0.06809705425468873)
X += (-0.1010390660363112, 0.09373283499852295, -0.06633036581205225, 0.03716751553399804)
X += (-0.016197734059885338, 0.0050319700165726445, -0.000757773273044906)
X += (-0.00019925695382391447, 0.00015062160436983115, -2.4398100485866887e-05)
X += (-1.1221827121191904e-05, 5.706594990992871e-06, 2.9346380344394533e-07)
X += (-8.196512399679453e-07, 7.497173738677728e-08, 1.033702905649246e-07)
X += (-1.8087286946575604e-08, -9.690949227570098e-09, 1.869933571267436e-09)
X = np.array(X)


@njit
def _small_erf(x):
    z = x * x
    p = E[7] * z + E[6]
    p = (((p * z + E[5]) * z + E[4]) * z + E[3]) * z + E[2]
    p = (p * z + E[1]) * z + E[0]
    return x * TWO_OVER_ROOT_PI + (x * TWO_OVER_ROOT_PI_LOW + (x * z) * p)


@njit
def _tail(x):
    """Return erfc x for x ≥ 1/2."""
    if x > 27.3:
        return 0.0
    t = (x - 4.0) / (x + 4.0)
    p = X[22]
    for i in range(21, -1, -1):
        p = p * t + X[i]
    square, lost = _two_product(x, x)
    n, h, e = _exponential(-square, -lost)
    v, v_low = _two_sum(1.0, 2.0 * x)
    quotient = p / v
    product, lost = _two_product(quotient, v)
    rest = (((p - product) - lost) - quotient * v_low) / v
    product, lost = _two_product(quotient, h)
    return _scaled(product + (lost + (quotient * e + rest * h)), n)


@njit
def erf(x):
    """Return 2/√π times the integral of e^−t² from 0 to x."""
    if x != x:
        return x
    a = abs(x)
    if a < 0.5:
        return math.copysign(_small_erf(a), x)
    return math.copysign(1.0 - _tail(a), x)


@njit
def erfc(x):
    """Return 1 − erf x, accurate where that is small."""
    if x != x:
        return x
    if abs(x) < 0.5:
        return 1.0 - _small_erf(x)
    return _tail(x) if x > 0 else 2.0 - _tail(-x)


_one = (exp, expm1, sinh, cosh, tanh, log, log2, log10, log1p, sin, cos, tan, atan, asin, acos)
FUNCTIONS = {f.__name__: (f, 1) for f in (*_one, erf, erfc)}
FUNCTIONS |= {f.__name__: (f, 2) for f in (pow, atan2, hypot, fmod)}
