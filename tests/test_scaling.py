"""Gradients from many workers, their sums, speed, batches, waiting: against NumPy, SciPy, events."""

import numpy as np
import pytest
from scipy import integrate, optimize

from dlbook import scaling
from dlbook.verification import complex_step, relative_error

K, M, P = 5, 3, 4


def chunks(rng):
    return (rng.normal(size=(K, K, M)),)


def gradients(rng, rows=6):
    return rng.normal(size=(rows, P)) + 1


def curved(rng, factor=3):
    """Return Hessians and gradients of several batches."""
    H = rng.normal(size=(factor, P, P))
    return H + H.transpose(0, 2, 1), rng.normal(size=(factor, P))


KERNELS = [
    (scaling.shard_gradient, lambda rng: (gradients(rng, 3), np.array([4.0, 1, 2]))),
    (scaling.reduce_scatter, chunks),
    (scaling.all_gather, chunks),
    (scaling.allreduce_volume, lambda rng: (35.0, K)),
    (scaling.ring_time, lambda rng: (35.0, K, 0.3, 0.2)),
    (scaling.tree_time, lambda rng: (35.0, K, 0.3, 0.2)),
    (scaling.amdahl, lambda rng: (0.3, K)),
    (scaling.gustafson, lambda rng: (0.3, K)),
    (scaling.noise_scale, lambda rng: (gradients(rng),)),
    (scaling.gain, lambda rng: (8.0, 3.0)),
    (scaling.steps_examples, lambda rng: (8.0, 3.0)),
    (scaling.scaled_step, lambda rng: (rng.normal(size=P), gradients(rng, 3), 0.3)),
    (scaling.scaling_gap, lambda rng: (*curved(rng), 0.3)),
    (scaling.largest_factor, lambda rng: (rng.uniform(1, 3, size=P), 0.3)),
    (scaling.slowest, lambda rng: (0.7, K)),
    (scaling.backup_time, lambda rng: (0.7, K, 2)),
    (scaling.stale_limit, lambda rng: (3,)),
    (scaling.wall_time, lambda rng: (3.0, 1.0, 2.0, 9.0)),
    (scaling.lost_share, lambda rng: (3.0, 1.0, 9.0)),
    (scaling.best_interval, lambda rng: (1.0, 9.0)),
    (scaling.training_flops, lambda rng: (np.array([3.0, 5, 2, 4]), 7)),
    (scaling.compute_optimal, lambda rng: (600.0, 4.0, 0.5, 3.0, 0.25)),
]


# One gradient


def test_shards_give_the_gradient_of_the_batch(rng):
    """Of a logistic cost, whose gradient comes by complex step of the cost of all examples."""
    X, y, w = rng.normal(size=(7, P)), rng.integers(2, size=7), rng.normal(size=P)
    cost = lambda w, X=X, y=y: np.mean(np.log(1 + np.exp(-(2 * y - 1) * (X @ w))))
    parts = np.split(np.arange(7), [4, 5])
    g = np.array([complex_step(lambda w, i=i: cost(w, X[i], y[i]), w) for i in parts])
    n = np.array([len(i) for i in parts])
    assert relative_error(scaling.shard_gradient(g, n), complex_step(cost, w)) < 1e-14
    assert relative_error(g.mean(axis=0), complex_step(cost, w)) > 1e-3


def test_one_shard_is_the_batch(rng):
    g = gradients(rng, 1)
    np.testing.assert_allclose(scaling.shard_gradient(g, np.array([5.0])), g[0])


# The ring


@pytest.mark.parametrize("workers", [1, 2, 3, 7])
def test_the_ring_adds(workers, rng):
    x = rng.normal(size=(workers, workers, M))
    half = scaling.reduce_scatter(x)
    for k in range(workers):
        c = (k + 1) % workers
        np.testing.assert_allclose(half[k, c], x[:, c].sum(axis=0))
    whole = scaling.all_gather(half)
    for row in whole:
        np.testing.assert_array_equal(row, whole[0])  # the same bits everywhere
    np.testing.assert_allclose(whole[0], x.sum(axis=0))


def test_all_gather_only_copies(rng):
    (x,) = chunks(rng)
    found = scaling.all_gather(x)
    own = np.array([x[(c - 1) % K, c] for c in range(K)])
    np.testing.assert_array_equal(found, np.broadcast_to(own, x.shape))


def test_times_of_one_worker_and_of_two():
    assert scaling.ring_time(100, 1, 1, 1) == scaling.tree_time(100, 1, 1, 1) == 0
    assert scaling.ring_time(100, 2, 3, 1) == 2 * (3 + 50)
    assert scaling.tree_time(100, 2, 3, 1) == 2 * (3 + 100)
    assert scaling.allreduce_volume(100, 1) == 0
    assert scaling.allreduce_volume(100, 2) == 100


@pytest.mark.parametrize(
    ("workers", "rounds"), [(1, 0), (2, 1), (3, 2), (4, 2), (5, 3), (1024, 10), (1025, 11)]
)
def test_rounds_of_a_tree(workers, rounds):
    assert scaling.tree_time(0, workers, 1, 1) == 2 * rounds


@pytest.mark.parametrize("power", range(1, 31))
def test_doublings_are_counted_exactly(power):
    assert scaling.tree_time(0, 2**power, 1, 1) == 2 * power
    assert scaling.tree_time(0, 2**power + 1, 1, 1) == 2 * power + 2


# Speed


def test_both_laws_say_the_same_of_one_run():
    for workers in (1, 3, 64):
        for late in (0.0, 0.2, 1.0):
            alone = late / (late + (1 - late) * workers)
            found = scaling.amdahl(alone, workers)
            assert found == pytest.approx(scaling.gustafson(late, workers))


# Larger batches


def test_noise_scale(rng):
    g = gradients(rng)
    wanted = np.trace(np.cov(g.T, bias=True)) / np.sum(g.mean(axis=0) ** 2)
    assert scaling.noise_scale(g) == pytest.approx(wanted)
    assert scaling.noise_scale(3 * g) == pytest.approx(wanted)
    assert scaling.noise_scale(np.ones((4, 2))) == 0


def test_gain_and_its_hyperbola():
    assert scaling.gain(7.0, 7.0) == 0.5
    for B in (1.0, 10.0, 1000.0):
        steps, examples = scaling.steps_examples(B, 40.0)
        assert (steps - 1) * (examples - 1) == pytest.approx(1)
        assert examples / steps == pytest.approx(B / 40)
        assert 1 / steps == pytest.approx(scaling.gain(B, 40.0))


def test_a_scaled_step_is_all_steps_where_the_gradient_stays(rng):
    w, g = rng.normal(size=P), gradients(rng, 3)
    one = w.copy()
    for row in g:
        one -= 0.2 * row
    np.testing.assert_allclose(scaling.scaled_step(w, g, 0.2), one)


@pytest.mark.parametrize("factor", [1, 2, 4])
def test_gap_is_the_second_order(factor, rng):
    H, g = curved(rng, factor)
    w = np.zeros(P)

    def small(eta):
        v = w.astype(complex)
        for j in range(factor):
            v = v - eta * (g[j] + H[j] @ (v - w))
        return v

    circle = 0.1 * np.exp(2j * np.pi * np.arange(8) / 8)
    values = np.array([small(eta) / eta**2 for eta in circle])
    second = values.mean(axis=0).real
    found = scaling.scaling_gap(H, g, 1.0)
    np.testing.assert_allclose(found, second, atol=1e-12)
    np.testing.assert_allclose(scaling.scaling_gap(H, g, 0.5), second / 4, atol=1e-12)


def test_steps_at_the_largest_factor(rng):
    h = rng.uniform(0.5, 3, size=P)
    factor = scaling.largest_factor(h, 0.1)
    assert np.abs(1 - factor * 0.1 * h).max() == pytest.approx(1)


# Waiting


@pytest.mark.parametrize("workers", [1, 2, 9])
@pytest.mark.parametrize("spare", [0, 1, 4])
def test_order_statistics(workers, spare):
    """The mean is the integral of the chance that fewer than K are done."""
    from scipy.stats import binom

    late = lambda t: binom.cdf(workers - 1, workers + spare, -np.expm1(-t / 0.7))
    wanted = integrate.quad(late, 0, np.inf)[0]
    assert scaling.backup_time(0.7, workers, spare) == pytest.approx(wanted)
    if not spare:
        assert scaling.slowest(0.7, workers) == pytest.approx(wanted)


@pytest.mark.parametrize("tau", [0, 1, 2, 9])
def test_the_limit_of_a_delay(tau):
    limit = scaling.stale_limit(tau)
    longest = lambda a: np.abs(np.roots([1, -1, *[0] * (tau - 1), a] if tau else [1, a - 1])).max()
    assert longest(0.999 * limit) < 1 < longest(1.001 * limit)


# Failures


def test_wall_time_of_a_restarting_run(rng):
    """By the sum over the number of failures, with the mean time until one that comes in time."""
    interval, delta, restart, between = 3.0, 0.5, 0.7, 4.0

    def expected(length):
        ok = np.exp(-length / between)
        early = integrate.quad(lambda t: t * np.exp(-t / between) / between, 0, length)[0]
        return ok, early / (1 - ok)

    ok, early = expected(interval + delta)
    begin, lost = expected(restart)
    again = restart + (1 / begin - 1) * lost  # a restart can fail, too
    wanted = interval + delta + (1 / ok - 1) * (early + again)
    found = interval * scaling.wall_time(interval, delta, restart, between)
    assert found == pytest.approx(wanted)


def test_the_best_interval():
    best = scaling.best_interval(0.1, 50.0)
    found = optimize.minimize_scalar(lambda i: scaling.lost_share(i, 0.1, 50.0), bracket=(1, 9))
    assert best == pytest.approx(found.x, rel=1e-6)
    exact = optimize.minimize_scalar(lambda i: scaling.wall_time(i, 0.1, 0, 50.0), bracket=(1, 9))
    assert abs(best / exact.x - 1) < 0.05


# How much to compute


def test_operations_of_one_layer_and_of_two():
    assert scaling.training_flops(np.array([3.0, 2.0]), 5) == 2 * 5 * 2 * 6
    assert scaling.training_flops(np.array([3.0, 2.0, 4.0]), 1) == 2 * (2 * 6 + 3 * 8)


def test_the_best_size():
    C, A, a, D, d = 1e4, 4.0, 0.4, 3.0, 0.25
    P, N = scaling.compute_optimal(C, A, a, D, d)
    assert pytest.approx(C) == 6 * P * N
    loss = lambda u: A * np.exp(-a * u) + D * (6 * np.exp(u) / C) ** d
    best = optimize.minimize_scalar(loss, bracket=(0, 9))
    assert pytest.approx(np.exp(best.x), rel=1e-6) == P
