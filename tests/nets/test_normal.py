"""Normal numbers from hashes: the parts of Box & Muller's formula at the ends of what 24 bits choose."""

import numpy as np
import pytest

from dlbook.fast import normal

ENDS = (0, 1, 2, 3, 4095, 2**23 - 1, 2**23, 2**24 - 2, 2**24 - 1)


@pytest.mark.parametrize("octant", range(8))
@pytest.mark.parametrize("place", ENDS)
def test_points_of_the_circle(place, octant):
    """The smallest angle is half a step, so that no sine is zero, and each of eight octants is met."""
    s, c = normal.point(np.uint32(place << 8 | octant))
    angle = (place + 0.5) * 2.0**-24 * np.pi / 4
    expected = np.sin(angle), np.cos(angle)
    if octant & 1:
        expected = expected[::-1]
    signs = (-1 if octant & 2 else 1), (-1 if octant & 4 else 1)
    np.testing.assert_allclose((s, c), np.multiply(signs, expected), rtol=3e-7)


@pytest.mark.parametrize("place", ENDS)
def test_radii(place):
    """The least chance is half of 2⁻²⁴, so that no logarithm is infinite, and the largest below one."""
    found = normal.minus_two_log(np.uint32(place << 8 | 255))
    chance = (place + 0.5) * 2.0**-24
    np.testing.assert_allclose(found, -2 * np.log(chance), rtol=3e-6, atol=2e-7)
