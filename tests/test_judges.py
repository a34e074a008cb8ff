"""The judges of generated digits: what they say of sets that nobody generated, and what they refuse."""

import numpy as np
import pytest
from scipy.spatial.distance import cdist, pdist

from dlbook.tools import judges
from dlbook.tools.data import digits
from dlbook.tools.judges import judge, readings, references

HELD = digits().x_test


@pytest.fixture(scope="module")
def known():
    return references(300)


def test_the_readers_read():
    named, confidence = readings(HELD)
    right = np.mean(named == digits().y_test[:, None], axis=0)
    assert np.all(right > 0.93)
    assert confidence.min() > 0.1
    assert confidence.max() <= 1 + 1e-12


def test_agreement_goes_from_digits_to_noise(known):
    real, gauss = known["real digits"], known["Gaussian in pixel space"]
    noise, copies = known["uniform noise"], known["copies of training digits"]
    assert copies.agree > 0.98
    assert real.agree > 0.93
    assert gauss.agree < real.agree - 0.2
    assert noise.agree < gauss.agree - 0.2
    for found in known.values():
        assert found.recognised <= found.agree


def test_copies_show_in_one_distance_alone(known):
    real, copies = known["real digits"], known["copies of training digits"]
    assert copies.to_train < 1e-5
    assert real.to_train > 0.9
    assert abs(copies.to_held_out - real.to_held_out) < 0.1


def test_the_two_sample_test_tells_a_gaussian_from_digits(known):
    assert known["real digits"].two_sample.p > 0.05
    assert known["copies of training digits"].two_sample.p > 0.05
    for name in ("Gaussian in pixel space", "uniform noise"):
        assert known[name].two_sample.p == 1 / judges.PERMUTATIONS


def test_distances_and_discrepancy_by_scipy(rng):
    x = np.clip(rng.normal(0.3, 0.4, (7, 64)), 0, 1)
    found = judge(x)
    assert found.to_train == pytest.approx(cdist(x, digits().x_train).min(axis=1).mean())
    assert found.to_held_out == pytest.approx(cdist(x, HELD).min(axis=1).mean())
    h = np.median(pdist(digits().x_train))

    def kernel(a, b):
        return np.exp(-cdist(a, b, "sqeuclidean") / (2 * h**2))

    among = [(kernel(a, a).sum() - len(a)) / (len(a) * (len(a) - 1)) for a in (x, HELD)]
    wanted = sum(among) - 2 * kernel(x, HELD).mean()
    assert found.two_sample.mmd2 == pytest.approx(wanted, abs=1e-12)


def test_the_two_sample_test_keeps_its_level(rng):
    x, p = np.concatenate((digits().x_val, HELD)), []
    for _ in range(60):
        order = rng.permutation(len(x))
        p.append(judges._two_sample(x[order[:90]], x[order[90:200]], rng).p)
    assert 0.35 < np.mean(p) < 0.65
    assert np.mean(np.array(p) <= 0.1) < 0.25


def test_shares_of_classes_and_seeds():
    first = judge(digits().x_val, 3)
    assert first.classes.shape == (10,)
    assert first.classes.sum() == pytest.approx(1)
    again = judge(digits().x_val.astype(np.float32), 3)
    assert again.two_sample.p == pytest.approx(first.two_sample.p, abs=0.02)
    assert judge(np.repeat(HELD[:1], 5, axis=0)).classes.max() == 1


@pytest.mark.parametrize(
    ("samples", "message"),
    [
        (np.zeros((3, 63)), "samples has shape"),
        (np.zeros(64), "samples has shape"),
        (np.zeros((1, 64)), "expected two at least"),
        (np.full((2, 64), np.nan), "samples"),
        (np.full((2, 64), 1.5), "outside of 0 … 1; clip=True"),
        (np.full((2, 64), -0.1), "outside of 0 … 1; clip=True"),
    ],
)
def test_what_is_refused(samples, message):
    with pytest.raises(ValueError, match=message):
        judge(samples)


def test_clipping_is_by_request():
    x = np.full((2, 64), 1.5)
    assert judge(x, clip=True).to_train == judge(np.ones((2, 64))).to_train
    with pytest.raises(ValueError, match="seed"):
        judge(HELD, -1)
    with pytest.raises(ValueError, match="n is 1"):
        references(1)
