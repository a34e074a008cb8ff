"""Activations over whole arrays, in place: one table from a name to the way there and back.

The functions and their derivatives stand in `neurons`. Where the derivative can be had from the
activation itself (rectifier, sigmoid, tanh) nothing else is kept; GELU and SiLU keep their argument,
or, where a stack has room for it, their derivative.
"""

from collections.abc import Callable
from typing import NamedTuple

from dlbook.tools import elementary
from dlbook.tools.elementary import logistic
from dlbook.tools.jit import njit_fast

__all__ = [
    "ACTIVATIONS",
    "KINDS",
    "activate",
    "activate_backward",
    "gelu_backward",
    "gelu_with_slope",
    "Pair",
    "rectify",
    "rectify_backward",
    "sigmoid_backward",
    "silu",
    "silu_backward",
    "silu_with_slope",
    "tanh_backward",
]


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


@njit_fast
def gelu_backward(da, z):
    """∂C/∂a becomes ∂C/∂z, from a = z σ(2u), u = √(2/π) (z + 0.044715 z³), the tanh form
    (n j), (n j) -> ()
    """
    one, edge = z.dtype.type(1), z.dtype.type(40)
    for n in range(z.shape[0]):
        for j in range(z.shape[1]):
            v = z[n, j]
            v = edge if v > edge else (-edge if v < -edge else v)  # σ(2u) is 0 or 1 beyond
            cube = z.dtype.type(1.5957691216057308) * z.dtype.type(0.044715) * v * v
            twice = z.dtype.type(1.5957691216057308) * v + cube * v
            s = logistic(twice)
            slope = z.dtype.type(1.5957691216057308) + z.dtype.type(3) * cube
            da[n, j] *= s + v * s * (one - s) * slope


@njit_fast
def gelu_with_slope(z, slope):
    """z σ(2u) in place, and its derivative, as in `gelu_backward`; −∞ becomes −0
    (n j), (n j) -> ()
    """
    one, edge = z.dtype.type(1), z.dtype.type(40)
    for n in range(z.shape[0]):
        for j in range(z.shape[1]):
            v = -edge if z[n, j] < -edge else z[n, j]
            w = edge if v > edge else v
            cube = z.dtype.type(1.5957691216057308) * z.dtype.type(0.044715) * w * w
            s = logistic(z.dtype.type(1.5957691216057308) * w + cube * w)
            rise = z.dtype.type(1.5957691216057308) + z.dtype.type(3) * cube
            slope[n, j] = s + w * s * (one - s) * rise
            z[n, j] = v * s


@njit_fast
def silu(z):
    """z σ(z), in place; −∞ becomes −0
    (n j) -> ()
    """
    low = z.dtype.type(-100)  # σ is 0 beyond in float32, and z σ too small to count
    for n in range(z.shape[0]):
        for j in range(z.shape[1]):
            v = low if z[n, j] < low else z[n, j]
            z[n, j] = v * logistic(v)


@njit_fast
def silu_with_slope(z, slope):
    """z σ(z) in place, and its derivative σ(z) (1 + z (1 − σ(z)))
    (n j), (n j) -> ()
    """
    one, edge = z.dtype.type(1), z.dtype.type(100)
    for n in range(z.shape[0]):
        for j in range(z.shape[1]):
            v = -edge if z[n, j] < -edge else z[n, j]
            s, inside = logistic(v), edge if v > edge else v
            slope[n, j] = s * (one + inside * (one - s))
            z[n, j] = v * s


@njit_fast
def silu_backward(da, z):
    """∂C/∂a becomes ∂C/∂z, from a = z σ(z)
    (n j), (n j) -> ()
    """
    one, edge = z.dtype.type(1), z.dtype.type(100)
    for n in range(z.shape[0]):
        for j in range(z.shape[1]):
            v = z[n, j]
            v = edge if v > edge else (-edge if v < -edge else v)
            s = logistic(v)
            da[n, j] *= s * (one + v * (one - s))


KINDS = (
    "linear",
    "relu",
    "leaky-relu",
    "sigmoid",
    "tanh",
    "silu",
    "gelu",
)  # numbered by their place here


@njit_fast(apart=True)
def activate(z, kind, slope, rise):
    """Apply the activation of that number in place, on one thread
    (n j), (), (), (n j) -> (n j), (n j)

    Where `rise` is not empty, SiLU and GELU leave their derivative there, which the way back cannot
    have from what they give.
    """
    if kind == 1:
        rectify(z, 0.0)
    elif kind == 2:
        rectify(z, slope)
    elif kind == 3:
        elementary.apply(elementary.SIGMOID, z.reshape(-1), z.reshape(-1))
    elif kind == 4:
        elementary.apply(elementary.TANH, z.reshape(-1), z.reshape(-1))
    elif kind == 5 and rise.size:
        silu_with_slope(z, rise)
    elif kind == 5:
        silu(z)
    elif kind == 6 and rise.size:
        gelu_with_slope(z, rise)
    elif kind == 6:
        elementary.apply(elementary.GELU, z.reshape(-1), z.reshape(-1))


@njit_fast(apart=True)
def activate_backward(da, kind, slope, a, rise):
    """∂C/∂a becomes ∂C/∂z, from what `activate` gave and left
    (n j), (), (), (n j), (n j) -> ()
    """
    if kind == 1:
        rectify_backward(da, a, 0.0)
    elif kind == 2:
        rectify_backward(da, a, slope)
    elif kind == 3:
        sigmoid_backward(da, a)
    elif kind == 4:
        tanh_backward(da, a)
    elif kind == 5 or kind == 6:
        for n in range(da.shape[0]):
            for j in range(da.shape[1]):
                da[n, j] *= rise[n, j]


class Pair(NamedTuple):
    """An activation as layers use it."""

    forward: Callable  # (z, slope): in place
    backward: Callable  # (da, kept, slope): ∂C/∂a becomes ∂C/∂z
    keeps: str  # what `backward` looks at: the "output" or the "input"


ACTIVATIONS = {
    "relu": Pair(
        lambda z, slope: rectify(z, 0.0),
        lambda da, a, slope: rectify_backward(da, a, 0.0),
        "output",
    ),
    "leaky-relu": Pair(rectify, rectify_backward, "output"),
    "sigmoid": Pair(
        lambda z, slope: elementary.sigmoid(z, z),
        lambda da, a, slope: sigmoid_backward(da, a),
        "output",
    ),
    "tanh": Pair(
        lambda z, slope: elementary.tanh(z, z), lambda da, a, slope: tanh_backward(da, a), "output"
    ),
    "gelu": Pair(
        lambda z, slope: elementary.gelu(z, z), lambda da, z, slope: gelu_backward(da, z), "input"
    ),
    "silu": Pair(lambda z, slope: silu(z), lambda da, z, slope: silu_backward(da, z), "input"),
}
