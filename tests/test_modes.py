"""Points on a ring of eight modes, and how samples are counted."""

import numpy as np
import pytest

from dlbook.tools.modes import CENTRES, SPREAD, ring, ring_judged


def test_points_of_all_modes_reach_all_modes():
    x = ring(4000, np.random.default_rng(0))
    assert x.shape == (4000, 2)
    assert x.dtype == np.float32
    modes, good = ring_judged(x)
    assert modes == 8
    assert good == pytest.approx(1 - np.exp(-8), abs=1e-3)  # beyond four spreads, of a Rayleigh law
    near = np.linalg.norm(x[:, None] - CENTRES, axis=2).argmin(axis=1)
    assert np.std(x - CENTRES[near]) == pytest.approx(SPREAD, rel=0.03)


def test_modes_are_counted_by_nearest_centres_and_good_points_by_their_distance():
    x = np.repeat(CENTRES[[0, 3, 5]], (90, 8, 2), axis=0)
    assert ring_judged(x) == (3, 1.0)
    assert ring_judged(np.vstack([x, x[:1]])) == (2, 1.0)  # 2 of 101 are fewer than 2 %
    assert ring_judged(1.05 * CENTRES) == (8, 1.0)
    assert ring_judged(1.15 * CENTRES) == (8, 0.0)
    assert ring_judged([[2.0, 0.0]]) == (1, 1.0)


@pytest.mark.parametrize("x", [np.ones((3, 3)), np.ones(2), [[np.nan, 1.0]]])
def test_what_are_no_points_is_refused(x):
    with pytest.raises(ValueError, match="x"):
        ring_judged(x)
