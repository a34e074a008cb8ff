"""The memory of a step: one room for a name, as large as the largest that was asked for."""

import numpy as np
import pytest

from dlbook.fast.memory import Memory
from dlbook.matmul import PANEL_BYTES


@pytest.fixture
def memory():
    return Memory("float32")


def test_a_name_has_one_room(memory):
    first = memory.array("z", 4, 6)
    assert first.shape == (4, 6) and first.dtype == np.float32
    for shape in ((4, 6), (24,), (3, 5), (2, 12)):  # as large, or smaller
        assert np.shares_memory(memory.array("z", *shape), first), shape
    assert memory.array("z", 2, 12) is memory.array("z", 2, 12)
    assert not np.shares_memory(memory.array("y", 4, 6), first)
    assert memory.bytes == 2 * 24 * 4


def test_a_room_grows(memory):
    small = memory.array("z", 4, 6)
    large = memory.array("z", 5, 5)
    assert not np.shares_memory(small, large) and memory.bytes == 100
    assert np.shares_memory(memory.array("z", 25), large)


def test_an_array_may_have_a_dtype_of_its_own(memory):
    assert memory.array("at", 3, dtype=np.int64).dtype == np.int64
    assert memory.bytes == 24 and memory.panel_bytes == 0


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_packed_factor_has_whole_panels(dtype):
    memory, width = Memory(dtype), PANEL_BYTES // np.dtype(dtype).itemsize
    for columns, panels in ((1, 1), (width, 1), (width + 1, 2)):
        packed = memory.packed("w", 5, columns)
        assert packed.shape == (panels, 5, width)
        assert np.shares_memory(packed, memory.array(("panels", "w"), 1))  # no copy
    assert memory.bytes == memory.panel_bytes == 2 * 5 * PANEL_BYTES


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_products_share_their_panels(dtype):
    memory, width = Memory(dtype), PANEL_BYTES // np.dtype(dtype).itemsize
    first = memory.panels((3, width + 1), (7, 1))
    assert first.size == max(3 * 2 * width, 7 * width) and first.ndim == 1
    again = memory.panels((3, width + 1), (7, 1))
    assert again is first and memory.panel_bytes == first.nbytes
    fewer = memory.panels((2, 2))
    assert fewer.size == first.size and np.shares_memory(fewer, first)
    more = memory.panels((4, 2 * width), (1, 1))
    assert more.size == 8 * width and memory.panel_bytes == more.nbytes
    assert np.shares_memory(memory.panels((3, width + 1), (7, 1)), more)
