"""Activations over whole arrays, in place: one table from a name to the way there and back.

The functions and their derivatives stand in `neurons`. Where the derivative can be had from the
activation itself (rectifier, sigmoid, tanh) nothing else is kept; GELU keeps its argument.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from dlbook.tools import elementary
from dlbook.tools.elementary import decay, logistic
from dlbook.tools.jit import njit_fast

__all__ = ["ACTIVATIONS", "Pair", "rectify", "rectify_backward", "unit_backward"]


@njit_fast
def rectify(z, slope):
    """z where z > 0, else α z, in place; α = 0 keeps −∞ from becoming NaN
    (n j), () -> ()
    """
    less, zero = z.dtype.type(slope), z.dtype.type(0)
    for n in range(z.shape[0]):
        for j in range(z.shape[1]):
            below = less * z[n, j] if slope > 0 else zero
            z[n, j] = below if z[n, j] < zero else z[n, j]


@njit_fast
def rectify_backward(da, a, slope):
    """∂C/∂a becomes ∂C/∂z, from a = rectify(z)
    (n j), (n j), () -> ()
    """
    less, one = a.dtype.type(slope), a.dtype.type(1)
    for n in range(a.shape[0]):
        for j in range(a.shape[1]):
            da[n, j] *= one if a[n, j] > 0 else less


@njit_fast
def sigmoid_backward(da, a):
    """∂C/∂a becomes ∂C/∂z, from a = σ(z)
    (n j), (n j) -> ()
    """
    for n in range(a.shape[0]):
        for j in range(a.shape[1]):
            da[n, j] *= a[n, j] - a[n, j] * a[n, j]


@njit_fast
def tanh_backward(da, a):
    """∂C/∂a becomes ∂C/∂z, from a = tanh(z)
    (n j), (n j) -> ()
    """
    one = a.dtype.type(1)
    for n in range(a.shape[0]):
        for j in range(a.shape[1]):
            da[n, j] *= one - a[n, j] * a[n, j]
