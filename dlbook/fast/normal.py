"""Normal numbers in float32, many at once: a hash of a seed and a place, and two of them by Box & Muller.

A generator that draws one number after the other cannot be turned into vectors; a hash of the
place can. Sources: Box & Muller, Ann. Math. Stat. 29 (1958); the polynomials are those of Moshier's
Cephes library.
"""

import numpy as np

from dlbook.tools.jit import njit, njit_fast

__all__ = ["normal_into", "normals"]

whole, single = np.uint32, np.float32
INLINE = {"error_model": "numpy", "forceinline": True}
LOG = (7.0376836292e-2, -1.1514610310e-1, 1.1676998740e-1, -1.2420140846e-1, 1.4249322787e-1)
LOG += (-1.6668057665e-1, 2.0000714765e-1, -2.4999993993e-1, 3.3333331174e-1)
LOG = tuple(map(single, LOG))
SINE = tuple(map(single, (-1.9515295891e-4, 8.3321608736e-3, -1.6666654611e-1)))
BIT, OCTANT = single(2.0**-24), single(2.0**-24 * np.pi / 4)
COSINE = tuple(map(single, (2.443315711809948e-5, -1.388731625493765e-3, 4.166664568298827e-2)))


@njit(**INLINE)
def mixed(h):
    """Return 32 bits in which each depends on all bits of h."""
    h = whole(h ^ (h >> whole(16))) * whole(0x21F0AAAD)
    h = whole(h)
    h = whole(h ^ (h >> whole(15))) * whole(0xD35A2D97)
    h = whole(h)
    return whole(h ^ (h >> whole(15)))


@njit(**INLINE)
def minus_two_log(h):
    """Return −2 log of a number between 0 and 1 that 24 bits of h choose."""
    one = single(1)
    x = (single(whole(h >> whole(8))) + single(0.5)) * BIT
    bits = single(x).view(np.int32)
    shift = np.int32(bits - np.int32(0x3F3504F3)) >> np.int32(23)  # x = m 2^shift, m near 1
    m = np.int32(bits - np.int32(shift << np.int32(23))).view(np.float32) - one
    p = LOG[0]
    for c in LOG[1:]:
        p = p * m + c
    log = m + m * m * (m * p - single(0.5)) + single(shift) * single(0.69314718056)
    return single(-2) * log


@njit(**INLINE)
def point(h):
    """Return a point of the unit circle that the bits of h choose: an octant, and an angle in it."""
    one = single(1)
    t = (single(whole(h >> whole(8))) + single(0.5)) * OCTANT
    q = t * t
    s = ((SINE[0] * q + SINE[1]) * q + SINE[2]) * q * t + t
    c = ((COSINE[0] * q + COSINE[1]) * q + COSINE[2]) * q * q - single(0.5) * q + one
    turned = (h & whole(1)) != whole(0)
    s, c = (c if turned else s), (s if turned else c)
    s = -s if (h & whole(2)) != whole(0) else s
    c = -c if (h & whole(4)) != whole(0) else c
    return s, c


@njit_fast
def normal_into(first, second, out):
    """Fill `out` with independent numbers of the distribution N(0, 1), which two seeds choose
    (), (), (i) -> ()
    """
    half = (out.size + 1) // 2
    low, high = out[:half], out[half:]
    a, b = whole(first), whole(second)
    for i in range(high.size):
        h = mixed(whole(whole(i) * whole(0x9E3779B9)) + a)
        s, c = point(mixed(whole(h ^ b)))
        r = np.sqrt(minus_two_log(mixed(whole(h + b + whole(0x85EBCA6B)))))
        low[i], high[i] = r * c, r * s
    if half > high.size:
        h = mixed(whole(whole(half) * whole(0x9E3779B9)) + a)
        low[half - 1] = point(mixed(whole(h ^ b)))[1]
        low[half - 1] *= np.sqrt(minus_two_log(mixed(whole(h + b + whole(0x85EBCA6B)))))


def normals(rng: np.random.Generator, out: np.ndarray) -> None:
    """Fill a contiguous array with normal numbers, in float32 by way of two seeds from rng."""
    if out.dtype == np.float32:
        first, second = rng.integers(2**32, size=2, dtype=np.uint32)
        normal_into(first, second, out.reshape(-1))
    else:
        rng.standard_normal(out=out, dtype=out.dtype)
