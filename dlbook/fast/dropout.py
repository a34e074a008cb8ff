"""Dropout of activations, and of their gradients."""

from dlbook.tools.jit import njit_fast

__all__ = ["dropout_into"]


@njit_fast
def dropout_into(a, uniform, p, y):
    """`dropout` of a, or of a gradient; y may be a"""
    keep, zero = a.dtype.type(1 / (1 - p)), a.dtype.type(0)
    if y.ctypes.data != a.ctypes.data:  # one name for what is read and written: then it is vectors
        y[:] = a
    for n in range(a.shape[0]):
        for j in range(a.shape[1]):
            y[n, j] = keep * y[n, j] if uniform[n, j] >= p else zero
