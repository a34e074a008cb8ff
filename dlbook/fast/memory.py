"""The memory of a step: arrays by name, made when first asked for, larger when they must be.

This is the only place that knows how much room a packed factor of a matrix product takes.
"""

from math import prod

import numpy as np

from dlbook.matmul import PANEL_BYTES
from dlbook.tools.simd import aligned

__all__ = ["Memory"]

SHARED = "panels", ""  # name of what all products share


class Memory:
    """Arrays by name. What one holds when it is asked for is what was left in it.

    Parameters
    ----------
    dtype : numpy dtype
        Of the arrays, unless they say otherwise.

    Examples
    --------
    >>> memory = Memory("float32")
    >>> z = memory.array("z", 32, 10)
    >>> z is memory.array("z", 32, 10)
    True
    """

    def __init__(self, dtype):
        self.dtype = np.dtype(dtype)
        self.held = []  # for `dlbook.tools.flat.step_fits`
        self._found, self._rooms, self._fit = {}, {}, set()

    def array(self, name, *shape, dtype=None) -> np.ndarray:
        """Return the array of that name, as a view of the right shape."""
        found = self._found.get(name)
        if found is None or found.shape != shape:
            size, room = prod(shape), self._rooms.get(name)
            if room is None or room.size < size:
                room = self._rooms[name] = aligned((size,), dtype or self.dtype)
            found = self._found[name] = room[:size].reshape(shape)
        return found

    def packed(self, name, rows, columns) -> np.ndarray:
        """Return an array for the right factor of a product, (rows, columns), in panels."""
        width = PANEL_BYTES // self.dtype.itemsize
        return self.array(("panels", name), -(-columns // width), rows, width)

    def panels(self, *factors) -> np.ndarray:
        """Return numbers enough for each of these factors, (rows, columns), one at a time.

        All products that pack for themselves share them.
        """
        if factors in self._fit:
            return self._found[SHARED]
        width = PANEL_BYTES // self.dtype.itemsize
        room = max(-(-columns // width) * width * rows for rows, columns in factors)
        self._fit.add(factors)
        held = self._rooms.get(SHARED)
        return self.array(SHARED, room if held is None else max(room, held.size))

    @property
    def bytes(self) -> int:
        """Return how large the arrays have grown together."""
        return sum(room.nbytes for room in self._rooms.values())

    @property
    def panel_bytes(self) -> int:
        """Return how much of it is for packed factors, which the width of vectors changes."""
        return sum(room.nbytes for name, room in self._rooms.items() if name[0] == "panels")
