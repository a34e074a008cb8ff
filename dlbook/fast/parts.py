"""The parts of a batch of images, by all threads: parallel kernels around those of one part.

Each part has memory of its own, and which numbers are summed does not depend on the threads.
"""

from numba import prange

from dlbook.fast.lines import direct_lines, direct_lines_dw
from dlbook.fast.patches import conv_lines, conv_lines_backward
from dlbook.fast.winograd import winograd_lines, winograd_lines_dw
from dlbook.tools.jit import njit_fast

__all__ = [
    "conv_parts",
    "conv_parts_backward",
    "direct_parts",
    "direct_parts_dw",
    "winograd_parts",
    "winograd_parts_dw",
]


@njit_fast(parallel=True)
def conv_parts(x, forth, b, how, p, z):
    """`conv_lines` for all parts."""
    M = len(p)
    for m in prange(M):
        conv_lines(x, forth, b, how, m, M, p[m], z)


@njit_fast(parallel=True)
def conv_parts_backward(dz, x, back, how, p, errors, dx, dw):
    """`conv_lines_backward` for all parts."""
    M = len(p)
    for m in prange(M):
        conv_lines_backward(dz, x, back, how, m, M, p[m], errors[m], dx, dw[m])


@njit_fast(parallel=True)
def direct_parts(x, filters, b, how, lines, framed, z):
    """`direct_lines` for all parts."""
    M = len(framed)
    for m in prange(M):
        direct_lines(x, filters, b, how, m, M, lines, framed[m], z)


@njit_fast(parallel=True)
def direct_parts_dw(dz, x, how, lines, framed, errors, dw):
    """`direct_lines_dw` for all parts."""
    M = len(framed)
    for m in prange(M):
        direct_lines_dw(dz, x, how, m, M, lines, framed[m], errors[m], dw[m])


@njit_fast(parallel=True)
def winograd_parts(x, filters, b, none, P, Q, most, strip, lines, values, sums, z):
    """`winograd_lines` for all parts."""
    M = len(strip)
    for m in prange(M):
        own = strip[m], lines[m], values[m], sums[m]
        winograd_lines(x, filters, b, none, P, Q, m, M, most, *own, z)


@njit_fast(parallel=True)
def winograd_parts_dw(dz, x, P, Q, most, width, strip, lines, values, errors, dw):
    """`winograd_lines_dw` for all parts."""
    M = len(strip)
    for m in prange(M):
        own = strip[m], lines[m], values[m], errors[m]
        winograd_lines_dw(dz, x, P, Q, m, M, most, width, *own, dw[m])
