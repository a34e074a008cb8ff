"""Powers of two as units: numbers of any size are computed with as numbers near one.

A product or quotient with a power of two keeps all digits. A fit that begins by dividing each
column of its data by one, and ends by multiplying its answer, gives the same digits as without,
and goes on doing so where squares would vanish or overflow.
"""

import numpy as np

__all__ = ["powers"]


def powers(x: np.ndarray, axis: int | None = None) -> np.ndarray:
    """Return the powers of two that bring the largest entries of an array to between ½ and 1.

    Parameters
    ----------
    x : ndarray
        Finite numbers.
    axis : int, optional
        The axis along which entries share a unit; all of them do where it is not given.

    Returns
    -------
    ndarray of int
        Exponents e, for ``np.ldexp(x, -e)``; 0 where all entries are zero.
    """
    return np.frexp(np.abs(x).max(axis=axis))[1]
