"""Optimizers step by step: closed forms, unrolled sums, invariances, bits, and bad input."""

import copy
import dataclasses
import inspect
import itertools
import math
import os
import pickle
import subprocess
import sys
import textwrap

import numba
import numpy as np
import pytest
from compiled import compiled_only, same_bits

from dlbook import optimization as opt
from dlbook.optimization import (
    SGD,
    AdaDelta,
    AdaGrad,
    Adam,
    AdamW,
    InverseDecay,
    Momentum,
    Nesterov,
    RMSprop,
    StepDecay,
    WarmupCosine,
    trajectory,
)

KERNELS = [
    (
        opt.lookahead,
        lambda r: (r.normal(size=5), r.normal(size=5), r.normal(size=5), 0.1, 0.9),
    ),
    (opt.corrected, lambda r: (r.normal(size=5), 0.9, 3)),
    (opt.minibatch_gradient, lambda r: (r.normal(size=(6, 3)), np.array([0, 4, 4, 2]))),
    (opt.minibatch_variance, lambda r: (r.normal(size=(6, 3)), 4, False)),
    (opt.minibatch_variance, lambda r: (r.normal(size=(6, 3)), 4, True)),
    (opt.noise_floor, lambda r: (2.0, 0.3, 1.5, 4)),
    (opt.batch_factor, lambda r: (0.2, 4, 10)),
    (opt.quadratic_rate, lambda r: (r.random(5), 0.7)),
    (opt.best_rate, lambda r: (0.5, 10.0)),
    (opt.momentum_radius, lambda r: (2.0, 0.1, 0.8)),
    (opt.momentum_radius, lambda r: (30.0, 0.1, 0.2)),
    (opt.momentum_optimum, lambda r: (0.5, 10.0)),
    (opt.momentum_path, lambda r: (1.5, 2.0, 0.1, 0.8, 7)),
    (opt.warmup_cosine, lambda r: (3, 0.1, 5, 20, 0.01)),
    (opt.warmup_cosine, lambda r: (13, 0.1, 5, 20, 0.01)),
    (opt.step_decay, lambda r: (13, 0.1, 5, 0.5)),
    (opt.inverse_decay, lambda r: (13, 0.1, 0.5)),
]

T, P = 40, 7  # steps and parameters of the journeys below


# References: the journey from the gradients before, without stepping where that is possible


def average(beta, values):
    """Return all moving averages (1 − β) Σ β^age at once."""
    age = np.subtract.outer(range(T), range(T))
    return (1 - beta) * np.where(age >= 0, beta ** np.abs(age), 0) @ values


def total(mu, values, first=1.0):
    """Return all velocities Σ μ^age values, the first one weighted."""
    age = np.subtract.outer(range(T), range(T))
    weights = np.where(age >= 0, float(mu) ** np.abs(age), 0)
    weights[:, 0] *= first
    return weights @ values


def rates(rate, factor=1.0):
    return factor * np.array([[rate(t) if callable(rate) else rate] for t in range(1, T + 1)])


def steps_of(o, G):
    """Return what is subtracted from theta in each step, for gradients without weight decay."""
    eta, t = rates(o.rate), np.arange(1, T + 1)[:, None]
    match o:
        case SGD():
            return eta * G
        case Momentum(form="torch"):
            first = 1 if o.dampening == 1 else 1 / (1 - o.dampening)
            share = np.zeros((T, 1)) if o.dampening == 1 else np.full((T, 1), 1 - o.dampening)
            share[0] = 1 if o.dampening == 1 else share[0]
            return eta * total(o.mu, share * G, first)
        case Momentum():
            return total(o.mu, eta * (1 - o.dampening) * G)
        case Nesterov(form="torch"):
            return eta * (G + o.mu * total(o.mu, G))
        case Nesterov():
            return eta * G + o.mu * total(o.mu, eta * G)
        case AdaGrad():
            s = o.initial + np.cumsum(G**2, axis=0)
            return eta / (1 + (t - 1) * o.rate_decay) * G / (np.sqrt(s) + o.eps)
        case RMSprop():
            v = average(o.rho, G**2) - (average(o.rho, G) ** 2 if o.centered else 0)
            return eta * total(o.mu, G / (np.sqrt(np.maximum(v, 0)) + o.eps))
        case AdaDelta():
            v = average(o.rho, G**2) + o.eps
            a = np.cumprod(o.rho + (1 - o.rho) * G**2 / v, axis=0)
            w = o.eps * a * (1 + (1 - o.rho) * np.cumsum(1 / a, axis=0))
            old = np.vstack((np.full((1, G.shape[1]), o.eps), w[:-1]))
            return eta * np.sqrt(old / v) * G
        case Adam():
            v = average(o.beta2, G**2)
            v = np.maximum.accumulate(v, axis=0) if o.amsgrad else v
            m = average(o.beta1, G) / (1 - o.beta1**t)
            return eta * m / (np.sqrt(v / (1 - o.beta2**t)) + o.eps)
    raise AssertionError(o)


def unrolled(o, start, G):
    """Return the whole journey, shape (T + 1, P); AdamW's decay is a product of factors."""
    if not isinstance(o, AdamW):
        return np.vstack((start, start - np.cumsum(steps_of(o, G), axis=0)))
    keep = np.cumprod(1 - rates(o.rate) * o.weight_decay, axis=0)
    return np.vstack((start, keep * (start - np.cumsum(steps_of(o, G) / keep, axis=0))))


def fed(o, start, G):
    stream = iter(G)
    return trajectory(lambda _: next(stream), start, o, len(G))


def gap(a, b):
    return np.abs(a - b).max() / np.abs(b).max()


FALLING = StepDecay(0.1, 7, 0.5)
VARIANTS = [
    SGD(0.1),
    SGD(FALLING),
    Momentum(0.1),
    Momentum(0.1, 0.0),
    Momentum(0.05, 0.7, 0.3),
    Momentum(0.05, 0.7, 1.0),
    Momentum(FALLING, 0.8),
    Momentum(0.1, form="polyak"),
    Momentum(0.05, 0.7, 0.3, form="polyak"),
    Momentum(FALLING, 0.8, form="polyak"),
    Nesterov(0.1),
    Nesterov(FALLING, 0.7),
    Nesterov(0.1, form="ball"),
    Nesterov(FALLING, 0.7, form="ball"),
    AdaGrad(0.5),
    AdaGrad(0.5, 0.1, initial=0.3, eps=1e-3),
    RMSprop(0.1),
    RMSprop(0.1, 0.9, 1e-3),
    RMSprop(0.1, 0.9, mu=0.8),
    RMSprop(0.1, 0.9, centered=True),
    RMSprop(FALLING, 0.8, 1e-2, mu=0.5, centered=True),
    AdaDelta(),
    AdaDelta(0.5, 0.8, 1e-3),
    Adam(),
    Adam(0.1, 0.8, 0.9, 1e-3),
    Adam(0.1, 0.0, 0.0),
    Adam(FALLING, 0.5, 0.95),
    Adam(0.1, 0.8, 0.9, amsgrad=True),
    AdamW(0.1),
    AdamW(FALLING, 0.8, 0.9, 1e-3, 0.5),
    AdamW(0.1, 0.8, 0.9, weight_decay=0.5, amsgrad=True),
]
named = pytest.mark.parametrize("o", VARIANTS, ids=repr)


def data(rng):
    return rng.normal(size=P), rng.normal(size=(T, P)) * 10.0 ** rng.integers(-2, 3, P)


@named
def test_random_gradients(o, rng):
    """Each point of the journey is the sum over all gradients before it."""
    start, G = data(rng)
    assert gap(fed(o, start, G), unrolled(o, start, G)) < 1e-12


@named
def test_constant_gradients(o):
    G = np.tile([-3.0, 0.2, 1e-3, 40.0, -1.0, 1.0, 7.0], (T, 1))
    start = np.linspace(-1, 1, P)
    rtol = 1e-7 if getattr(o, "centered", False) else 1e-12  # a variance of zero is all rounding
    if o == RMSprop(0.1, 0.9, centered=True):
        return  # its steps divide by that rounding alone: see `test_centered_never_negative`
    assert gap(fed(o, start, G), unrolled(o, start, G)) < rtol


def with_decay(o, strength):
    return dataclasses.replace(o, weight_decay=strength)


@named
def test_weight_decay_is_a_gradient(o, rng):
    """All but AdamW add λθ to the gradient."""
    if isinstance(o, AdamW):
        return
    start, G = data(rng)
    path = fed(with_decay(o, 0.3), start, G)
    seen = G + 0.3 * path[:-1]
    assert gap(path, fed(o, start, seen)) < 1e-12


# Quadratics


LAM, EYE = np.array([0.5, 2.0, 10.0]), np.eye(3)


def bowl(rng):
    Q = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    return Q * LAM @ Q.T, Q, rng.normal(size=3)


def by_powers(step, start, steps):
    state = np.concatenate((0 * start, start))
    return np.array([np.linalg.matrix_power(step, t) @ state for t in range(steps + 1)])[:, 3:]


def test_descent_on_a_quadratic(rng):
    H, Q, start = bowl(rng)
    t = np.arange(101)[:, None]
    path = trajectory(lambda theta: H @ theta, start, SGD(0.15), 100)
    assert gap(path, ((1 - 0.15 * LAM) ** t * (Q.T @ start)) @ Q.T) < 1e-12
    path = trajectory(lambda theta: H @ theta, start, SGD(0.15, 0.3), 100)
    assert gap(path, ((1 - 0.15 * (LAM + 0.3)) ** t * (Q.T @ start)) @ Q.T) < 1e-12


@pytest.mark.parametrize(("rate", "mu"), [(0.1, 0.8), (0.3, 0.9), (0.02, 0.99), (0.05, 0.3)])
def test_momentum_on_a_quadratic(rate, mu, rng):
    H, _, start = bowl(rng)
    slope = lambda theta: H @ theta
    torch = np.block([[mu * EYE, H], [-rate * mu * EYE, EYE - rate * H]])
    polyak = np.block([[mu * EYE, -rate * H], [mu * EYE, EYE - rate * H]])
    for form, step in (("torch", torch), ("polyak", polyak)):
        path = trajectory(slope, start, Momentum(rate, mu, form=form), 100)
        assert gap(path, by_powers(step, start, 100)) < 1e-12


@pytest.mark.parametrize(("rate", "mu"), [(0.1, 0.8), (0.06, 0.9), (0.02, 0.99)])
def test_nesterov_on_a_quadratic(rate, mu, rng):
    H, _, start = bowl(rng)
    slope = lambda theta: H @ theta
    torch = np.block([[mu * EYE, H], [-rate * mu**2 * EYE, EYE - (1 + mu) * rate * H]])
    ball = np.block([[mu * EYE, -rate * H], [mu**2 * EYE, EYE - (1 + mu) * rate * H]])
    for form, step in (("torch", torch), ("ball", ball)):
        path = trajectory(slope, start, Nesterov(rate, mu, form=form), 100)
        assert gap(path, by_powers(step, start, 100)) < 1e-12


def test_momentum_path_is_the_journey(rng):
    for rate, mu in ((0.1, 0.8), (0.02, 0.95)):
        lam = np.array([0.5, 2.0, 10.0]) if rate == 0.1 else np.array([5.0, 20.0])
        path = trajectory(lambda theta, lam=lam: lam * theta, 0 * lam + 2, Momentum(rate, mu), 80)
        closed = [[opt.momentum_path(2.0, v, rate, mu, t) for v in lam] for t in range(81)]
        assert gap(closed, path) < 1e-12


def test_radius_is_the_largest_root():
    for lam, rate, mu in itertools.product((0.1, 1.0, 7.0, 40.0), (0.05, 0.3), (0.0, 0.2, 0.9)):
        A = np.array([[1 + mu - rate * lam, -mu], [1, 0]])
        if abs((1 + mu - rate * lam) ** 2 - 4 * mu) < 1e-6:
            continue
        found = opt.momentum_radius(lam, rate, mu)
        assert abs(found - np.abs(np.linalg.eigvals(A)).max()) < 1e-12


def test_without_momentum_the_radius_is_that_of_descent():
    for rate in (0.05, 0.15, 0.3):
        worst = max(opt.momentum_radius(v, rate, 0.0) for v in LAM)
        assert worst == pytest.approx(opt.quadratic_rate(LAM, rate), rel=1e-14)


@pytest.mark.parametrize(("least", "most"), [(1.0, 100.0), (0.5, 10.0), (3.0, 3.0), (1e-3, 50.0)])
def test_best_rates(least, most):
    rate, factor = opt.best_rate(least, most)
    ends = np.array([1 - rate * least, 1 - rate * most])
    assert np.abs(np.abs(ends) - factor).max() < 1e-14
    rate, mu, rho = opt.momentum_optimum(least, most)
    assert rho == pytest.approx((math.sqrt(most / least) - 1) / (math.sqrt(most / least) + 1))
    for lam in (least, most):  # both ends are double roots: the discriminant vanishes
        assert abs((1 + mu - rate * lam) ** 2 - 4 * mu) < 1e-13
    assert mu == pytest.approx(rho**2, rel=1e-14)


# Samples


def test_mean_and_variance_over_all_batches(rng):
    grads = rng.normal(size=(6, 2))
    mean = grads.mean(axis=0)
    for B in range(1, 7):
        every = itertools.combinations(range(6), B)
        found = np.array([opt.minibatch_gradient(grads, np.array(b)) for b in every])
        assert np.allclose(found.mean(axis=0), mean, rtol=1e-13)
        assert np.allclose(
            found.var(axis=0), opt.minibatch_variance(grads, B, False), rtol=1e-12, atol=1e-16
        )
    every = itertools.product(range(6), repeat=3)
    found = np.array([opt.minibatch_gradient(grads, np.array(b)) for b in every])
    assert np.allclose(found.var(axis=0), opt.minibatch_variance(grads, 3, True), rtol=1e-12)


def test_noise_floor_is_where_the_variance_rests():
    lam, rate, sigma, B = 2.0, 0.3, 1.5, 4
    V = opt.noise_floor(lam, rate, sigma, B)
    assert (1 - rate * lam) ** 2 * V + rate**2 * sigma**2 / B == pytest.approx(V, rel=1e-14)


def test_batch_factor_against_moments(rng):
    """E A² for normal inputs by quadrature: three points each are exact to the fifth power."""
    nodes, weights = np.array([-math.sqrt(3), 0, math.sqrt(3)]), np.array([1, 4, 1]) / 6
    dims, B, rate = 2, 2, 0.4
    e, expected = rng.normal(size=dims), 0.0
    for index in itertools.product(range(3), repeat=dims * B):
        X = nodes[list(index)].reshape(B, dims)
        after = e - rate * X.T @ (X @ e) / B
        expected += weights[list(index)].prod() * after @ after
    assert opt.batch_factor(rate, B, dims) == pytest.approx(expected / (e @ e), rel=1e-12)


# Schedules


def test_warmup_cosine():
    schedule = WarmupCosine(0.2, 4, 12, 0.02)
    values = [schedule(t) for t in range(1, 16)]
    assert values[:4] == pytest.approx([0.05, 0.1, 0.15, 0.2], rel=1e-15)
    assert values[7] == pytest.approx(0.11, rel=1e-15)  # half-way down
    assert values[11:] == pytest.approx([0.02] * 4, rel=1e-15)
    assert np.all(np.diff(values[3:12]) < 0)
    assert WarmupCosine(0.2, 0, 10)(10) == pytest.approx(0, abs=1e-17)
    assert WarmupCosine(0.2, 0, 10)(5) == pytest.approx(0.1, rel=1e-15)


def test_other_schedules():
    assert [StepDecay(1.0, 2, 0.5)(t) for t in range(1, 8)] == [1, 1, 0.5, 0.5, 0.25, 0.25, 0.125]
    assert [InverseDecay(1.0, 0.5)(t) for t in (1, 3, 5)] == [1, 0.5, 1 / 3]


def test_schedule_and_factor(rng):
    start, G = data(rng)
    o, theta = SGD(WarmupCosine(0.5, 3, 10)), start.copy()
    slots = o.start(theta)
    for t in range(1, 11):
        before = theta.copy()
        o.update(theta, G[t], slots, t, factor=0.5)
        assert np.array_equal(theta, before - 0.5 * o.rate(t) * G[t])
        assert o.rate_at(t, 0.5) == 0.5 * o.rate(t)


# Invariances


def same(a, b, rng):
    start, G = data(rng)
    return np.array_equal(fed(a, start, G), fed(b, start, G))


def test_what_is_the_same_to_the_last_bit(rng):
    assert same(Momentum(0.1, 0.0), SGD(0.1), rng)
    assert same(Nesterov(0.1, 0.0), SGD(0.1), rng)
    assert same(Momentum(0.1, 0.0, form="polyak"), SGD(0.1), rng)
    assert same(AdamW(0.1, weight_decay=0.0), Adam(0.1), rng)
    assert same(AdamW(0.1, weight_decay=0, amsgrad=True), Adam(0.1, amsgrad=True), rng)
    assert not same(Nesterov(0.1), Momentum(0.1), rng)
    assert not same(AdamW(0.1), Adam(0.1, weight_decay=0.01), rng)


def test_forms_agree_at_a_constant_rate_only(rng):
    start, G = data(rng)
    for cls, other in ((Momentum, "polyak"), (Nesterov, "ball")):
        a, b = (fed(cls(0.1, 0.8, form=form), start, G) for form in ("torch", other))
        assert gap(a, b) < 1e-13
        a, b = (fed(cls(FALLING, 0.8, form=form), start, G) for form in ("torch", other))
        assert gap(a, b) > 1e-2


def test_nesterov_is_the_gradient_ahead():
    """The points of the second form are θ + μ v of the first, whatever the cost and the rates."""
    slope = lambda x: np.array([x[0] - np.cos(3 * x[1]), x[1] ** 3 + x[0] * x[1]])
    schedule, mu = StepDecay(0.1, 3, 0.7), 0.8
    theta, v, ahead = np.array([1.0, -0.5]), np.zeros(2), []
    for t in range(1, 31):
        ahead.append(theta + mu * v)
        theta, v = opt.lookahead(theta, v, slope(theta + mu * v), schedule(t), mu)
    path = trajectory(slope, [1.0, -0.5], Nesterov(schedule, mu, form="ball"), 29)
    assert gap(path, np.array(ahead)) < 1e-12


def test_first_step_of_adam(rng):
    start, G = data(rng)
    for o in (Adam(0.1, eps=1e-3), AdamW(0.1, eps=1e-3, weight_decay=0.0)):
        first = start - 0.1 * G[0] / (np.abs(G[0]) + 1e-3)
        assert gap(fed(o, start, G[:1])[1], first) < 1e-15


def test_units_of_the_cost_do_not_matter(rng):
    start, G = data(rng)
    for make in (AdaGrad, RMSprop, Adam):
        one, thousand = (fed(make(0.1, eps=1e-14), start, k * G) for k in (1, 1000))
        assert gap(one, thousand) < 1e-9
    assert gap(fed(SGD(0.1), start, G), fed(SGD(1e-4), start, 1000 * G)) < 1e-12


def test_adam_walks_uphill_and_amsgrad_does_not():
    """Reddi et al. (2018): 3, −1, −1 again and again; the sum is positive, down is left."""
    G = np.tile([[3.0], [-1.0], [-1.0]], (20, 1))
    assert fed(Adam(0.01, 0.0, 0.1), [0.0], G)[-1, 0] > 0.05
    assert fed(Adam(0.01, 0.0, 0.1, amsgrad=True), [0.0], G)[-1, 0] < -0.05


def test_bias_correction():
    m = np.array([0.0, 0.0])
    for t in range(1, 8):
        m = 0.9 * m + 0.1 * np.array([2.0, -3.0])
        assert opt.corrected(m, 0.9, t) == pytest.approx([2, -3], rel=1e-14)


def test_centered_never_negative():
    """For a constant gradient the variance is zero and rounding may take it below."""
    path = fed(RMSprop(0.01, 0.5, centered=True), [0.0], np.full((300, 1), 0.1))
    assert np.isfinite(path).all()


# The kernels, broken: every mistake must be seen by the unrolled sums

BREAKS = [
    ("sgd", "-= eta", "+= eta"),
    ("sgd", "g[p] + lam", "g[p] - lam"),
    ("momentum", "-= eta", "+= eta"),
    ("momentum", "keep * v[p] + share", "keep * v[p] - share"),
    ("momentum", "1.0 - dampening", "1.0 + dampening"),
    ("momentum", "t > 1", "t > 0"),
    ("momentum", "g[p] + lam", "g[p] - lam"),
    ("heavy_ball", "- eta", "+ eta"),
    ("heavy_ball", "theta[p] += v", "theta[p] -= v"),
    ("heavy_ball", "1 - dampening", "1"),
    ("heavy_ball", "g[p] + lam", "g[p] - lam"),
    ("nesterov", "-= eta", "+= eta"),
    ("nesterov", "d + keep", "d - keep"),
    ("nesterov", "keep * v[p] + d", "keep * v[p] - d"),
    ("nesterov", "(d + keep * v[p])", "v[p]"),
    ("nesterov", "g[p] + lam", "g[p] - lam"),
    ("nesterov_ball", "theta[p] += keep * v[p] - push", "theta[p] += keep * v[p] + push"),
    ("nesterov_ball", "theta[p] += keep * v[p] - push", "theta[p] += v[p]"),
    ("nesterov_ball", "g[p] + lam", "g[p] - lam"),
    ("adagrad", "s[p] += d * d", "s[p] += d"),
    ("adagrad", "theta[p] -=", "theta[p] +="),
    ("adagrad", "np.sqrt(s[p]) + e", "np.sqrt(s[p] + e)"),
    ("adagrad", "(t - 1)", "t"),
    ("adagrad", "g[p] + lam", "g[p] - lam"),
    ("rmsprop", "theta[p] -=", "theta[p] +="),
    ("rmsprop", "kind(1 - rho)", "kind(1)"),
    ("rmsprop", "np.sqrt(v[p]) + e", "np.sqrt(v[p] + e)"),
    ("rmsprop", "g[p] + lam", "g[p] - lam"),
    ("rmsprop_momentum", "v[p] - c", "v[p] + c"),
    ("rmsprop_momentum", "push * b[p] + d", "push * b[p] - d"),
    ("rmsprop_momentum", "np.sqrt(spread) + e", "np.sqrt(spread + e)"),
    ("rmsprop_momentum", "theta[p] -=", "theta[p] +="),
    ("rmsprop_momentum", "keep * m[p] +", "m[p] +"),
    ("rmsprop_momentum", "g[p] + lam", "g[p] - lam"),
    ("adadelta", "np.sqrt(u[p] + e) / np.sqrt(v[p] + e)", "np.sqrt(v[p] + e) / np.sqrt(u[p] + e)"),
    ("adadelta", "np.sqrt(u[p] + e)", "(np.sqrt(u[p]) + e)"),
    ("adadelta", "(step * step)", "(d * d)"),
    ("adadelta", "theta[p] -=", "theta[p] +="),
    ("adadelta", "g[p] + lam", "g[p] - lam"),
    ("adam", "theta[p] -=", "theta[p] +="),
    ("adam", "kind(1 / (1 - beta1**t))", "kind(1)"),
    ("adam", "kind(1 / (1 - beta2**t))", "kind(1)"),
    ("adam", "beta2**t", "beta1**t"),
    ("adam", "np.sqrt(grow2 * v[p]) + e", "np.sqrt(grow2 * v[p] + e)"),
    ("adam", "np.sqrt(grow2 * v[p]) + e", "grow2 * v[p] + e"),
    ("adam", "c2 * (d * d)", "c2 * d"),
    ("adam", "b1 * m[p] + c1", "b1 * m[p] - c1"),
    ("adam", "g[p] + lam", "g[p] - lam"),
    ("adamw", "keep * theta[p] - step", "keep * theta[p] + step"),
    ("adamw", "1 - rate * decay", "1 + rate * decay"),
    ("adamw", "1 - rate * decay", "1 - decay"),
    ("adamw", "kind(1 / (1 - beta1**t))", "kind(1)"),
    ("adamw", "kind(1 / (1 - beta2**t))", "kind(1)"),
    ("adamw", "np.sqrt(grow2 * v[p]) + e", "np.sqrt(grow2 * v[p] + e)"),
    ("amsgrad", "most[p] if most[p] >= v[p] else v[p]", "v[p]"),
    ("amsgrad", "most[p] >= v[p]", "most[p] <= v[p]"),
    ("amsgrad", "keep * theta[p] - step", "keep * theta[p] + step"),
    ("amsgrad", "1 - rate * decoupled", "1 + rate * decoupled"),
    ("amsgrad", "kind(1 / (1 - beta2**t))", "kind(1)"),
    ("amsgrad", "g[p] + lam", "g[p] - lam"),
]


def survives(kernel, name):
    """Whether a step passes for the named kernel: every variant that uses it, with weight decay."""
    rng = np.random.default_rng(1)
    for o in VARIANTS:
        if o._step()[0] is not getattr(opt, name):
            continue
        for decay in (0.0, 0.3):
            o = with_decay(o, decay)
            theta, G = data(rng)
            slots, start, path, seen = o.start(theta), theta.copy(), [theta.copy()], []
            for t, g in enumerate(G, 1):
                l2 = 0.0 if isinstance(o, AdamW) else decay
                seen.append(g + l2 * theta)
                with np.errstate(all="ignore"):
                    kernel(theta, g, slots, t, o.rate_at(t), *o._step()[1])
                path.append(theta.copy())
            with np.errstate(all="ignore"):
                if not gap(np.array(path), unrolled(o, start, np.array(seen))) < 1e-12:
                    return False
    return True


def source(name):
    function = getattr(opt, name)
    text = inspect.getsource(getattr(function, "py_func", function))
    return textwrap.dedent(text).replace("@njit\n", "")


def compiled_from(text, name):
    scope = {"np": np, "math": math, "prange": range}
    exec(text, scope)
    return scope[name]


@pytest.mark.parametrize("name", sorted({name for name, *_ in BREAKS}))
def test_the_kernel_itself_passes(name):
    assert survives(compiled_from(source(name), name), name)


@pytest.mark.parametrize(("name", "old", "new"), BREAKS)
def test_a_broken_kernel_is_noticed(name, old, new):
    text = source(name)
    body = text.index('"""', text.index('"""') + 3)
    assert old in text[body:], f"{name} has no {old!r}: correct this test"
    broken = text[:body] + text[body:].replace(old, new)
    assert not survives(compiled_from(broken, name), name)


# Bits


@compiled_only
@named
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_compiled_equals_python_to_the_last_bit(o, dtype, rng):
    start, G = data(rng)
    one, G = start.astype(dtype), G.astype(dtype)
    two, (kernel, settings) = one.copy(), o._step()
    a, b = o.start(one), o.start(two)
    for t in range(1, 4):
        kernel(one, G[t], a, t, o.rate_at(t), *settings)
        kernel.py_func(two, G[t], b, t, o.rate_at(t), *settings)
    assert one.dtype == two.dtype == a.dtype == dtype
    assert np.array_equal(one, two)
    assert np.array_equal(a, b)
    assert kernel.nopython_signatures


@named
def test_single_precision_is_right_to_single_precision(o, rng):
    start, G = data(rng)
    start, G = start.astype(np.float32), G.astype(np.float32)
    path = fed(o, start, G)
    assert path.dtype == np.float32
    exact = fed(o, start.astype(np.float64), G.astype(np.float64))
    loose = 1e-3 if getattr(o, "centered", False) else 2e-5  # a difference of squares
    assert gap(path, exact) < loose


@pytest.mark.parametrize("o", [make() for make in opt.OPTIMIZERS], ids=repr)
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_bits_do_not_depend_on_how_the_vector_is_cut(o, dtype, rng):
    theta, g = rng.normal(size=(2, 10_007)).astype(dtype)
    whole, slots = theta.copy(), o.start(theta)
    for t in (1, 2):
        o.update(whole, g, slots, t)
    parts = []
    for part in np.split(np.arange(10_007), [1, 13, 4099]):
        some, own = theta[part], o.start(theta[part])
        for t in (1, 2):
            o.update(some, g[part], own, t)
        parts.append(np.vstack((some, own)))
    assert np.array_equal(np.hstack(parts), np.vstack((whole, slots)))


@compiled_only
@pytest.mark.parametrize(
    "o", {o._step()[0]: o for o in VARIANTS}.values(), ids=lambda o: o._step()[0].__name__
)
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_same_bits_on_any_number_of_threads(o, dtype, rng):
    size = opt.PARALLEL_FROM // np.dtype(dtype).itemsize + 13
    theta, g = rng.normal(size=(2, size)).astype(dtype)

    def two_steps():
        mine, slots = theta.copy(), o.start(theta)
        for t in (1, 2):
            o.update(mine, g, slots, t)
        return mine, slots

    assert same_bits(two_steps)
    if numba.get_num_threads() > 1:
        assert opt._spread(o._step()[0]).nopython_signatures


@compiled_only
def test_both_forms_of_a_step_have_a_place_in_the_cache(tmp_path):
    """Under one name the second would load what was compiled for the first."""
    code = (
        "import numpy as np\n"
        "from dlbook import optimization as opt\n"
        "for size in (3, opt.PARALLEL_FROM // 8):\n"
        "    opt.SGD().update(np.ones(size), np.ones(size), np.ones((0, size)), 1)\n"
        "twin = opt._spread(opt.sgd)\n"
        "print(sum(twin.stats.cache_hits.values()), len(twin.nopython_signatures))"
    )
    for hits in (0, 1):
        done = subprocess.run(
            [sys.executable, "-c", code],
            env=os.environ | {"DLBOOK_CACHE_DIR": str(tmp_path), "NUMBA_NUM_THREADS": "2"},
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout.split() == [str(hits), "1"]


@named
def test_nan_goes_through(o, rng):
    """One NaN in the gradient: one NaN in the parameters, at its place, and no other number."""
    start, G = data(rng)
    good = fed(o, start, G[:3])
    G[0, 2] = np.nan
    bad = fed(o, start, G[:3])
    assert np.isnan(bad[1:, 2]).all()
    others = np.arange(P) != 2
    assert np.array_equal(bad[:, others], good[:, others])


@named
def test_one_and_no_parameters(o):
    assert fed(o, [1.0], np.ones((2, 1))).shape == (3, 1)
    empty = np.zeros(0)
    o.update(empty, empty, np.zeros((len(o.slots), 0)), 1)


# The objects


@named
def test_slots(o):
    slots = o.start(np.ones(3, np.float32))
    assert slots.shape == (len(o.slots), 3)
    assert slots.dtype == np.float32
    assert np.all(slots == getattr(o, "initial", 0))
    assert slots.flags.carray


def test_names_of_slots():
    assert SGD().slots == ()
    assert Adam().slots == ("m", "v")
    assert AdamW(amsgrad=True).slots == ("m", "v", "most")
    assert RMSprop().slots == ("v",)
    assert RMSprop(mu=0.1).slots == RMSprop(centered=True).slots == ("v", "m", "b")


@named
def test_objects_are_values(o, rng):
    start, G = data(rng)
    fed(o, start, G)
    for twin in (pickle.loads(pickle.dumps(o)), copy.deepcopy(o), dataclasses.replace(o)):
        assert twin == o
        assert np.array_equal(fed(twin, start, G), fed(o, start, G))
    with pytest.raises(dataclasses.FrozenInstanceError):
        o.rate = 1.0
    assert hash(o) == hash(copy.deepcopy(o))


def test_settings_become_floats():
    """Whole numbers would have every kernel compiled anew."""
    o = Adam(1, 0, 0, 1, 1)
    assert all(type(v) is float for v in (o.rate, o.beta1, o.beta2, o.eps, o.weight_decay))


def test_trajectory_leaves_its_input_alone(rng):
    start, G = data(rng)
    kept = start.copy(), G.copy()
    path = fed(Adam(), start, G)
    assert np.array_equal(start, kept[0])
    assert np.array_equal(G, kept[1])
    assert np.array_equal(path[0], start)
    assert trajectory(lambda t: t, [1.0, 2.0], SGD(), 0).shape == (1, 2)
    held = []
    trajectory(lambda theta: held.append(theta) or theta, [1.0], SGD(0.5), 3)
    assert [float(v[0]) for v in held] == [1, 0.5, 0.25]  # each call has an array of its own


def test_minibatches():
    stream = opt.minibatches(10, 4, np.random.default_rng(1))
    epochs = [[next(stream) for _ in range(3)] for _ in range(3)]
    for epoch in epochs:
        assert [len(part) for part in epoch] == [4, 4, 2]
        assert sorted(np.concatenate(epoch)) == list(range(10))
    orders = [np.concatenate(epoch).tolist() for epoch in epochs]
    assert orders[0] != orders[1] != orders[2]
    again = opt.minibatches(10, 4, np.random.default_rng(1))
    assert np.array_equal(next(again), epochs[0][0])


# Bad input


BAD_SETTINGS = [
    *((make, {"rate": 0}, ValueError, "rate is 0") for make in opt.OPTIMIZERS),
    *((make, {"rate": -0.1}, ValueError, "rate is -0.1") for make in opt.OPTIMIZERS),
    *((make, {"rate": np.nan}, ValueError, "rate is nan") for make in opt.OPTIMIZERS),
    *((make, {"rate": np.inf}, ValueError, "rate is inf") for make in opt.OPTIMIZERS),
    *((make, {"rate": "0.1"}, TypeError, "rate is '0.1'") for make in opt.OPTIMIZERS),
    *((make, {"weight_decay": -1}, ValueError, "weight_decay is -1") for make in opt.OPTIMIZERS),
    (Momentum, {"mu": 1}, ValueError, "mu is 1"),
    (Momentum, {"mu": -0.1}, ValueError, "mu is -0.1"),
    (Momentum, {"dampening": 1.1}, ValueError, "dampening is 1.1"),
    (Momentum, {"form": "heavy"}, ValueError, "form is 'heavy'"),
    (Nesterov, {"mu": 1.0}, ValueError, "mu is 1.0"),
    (Nesterov, {"form": "polyak"}, ValueError, "form is 'polyak'"),
    (AdaGrad, {"initial": -1}, ValueError, "initial is -1"),
    (AdaGrad, {"rate_decay": -1}, ValueError, "rate_decay is -1"),
    (AdaGrad, {"eps": 0}, ValueError, "eps is 0"),
    (RMSprop, {"rho": 1}, ValueError, "rho is 1"),
    (RMSprop, {"eps": 0.0}, ValueError, "eps is 0.0"),
    (RMSprop, {"mu": 1}, ValueError, "mu is 1"),
    (RMSprop, {"centered": 1}, TypeError, "centered is 1"),
    (AdaDelta, {"rho": 1.5}, ValueError, "rho is 1.5"),
    (AdaDelta, {"eps": 0}, ValueError, "eps is 0"),
    (Adam, {"beta1": 1}, ValueError, "beta1 is 1"),
    (Adam, {"beta2": 1.0}, ValueError, "beta2 is 1.0"),
    (Adam, {"beta2": -0.5}, ValueError, "beta2 is -0.5"),
    (Adam, {"beta1": None}, TypeError, "beta1 is None"),
    (Adam, {"eps": -1e-8}, ValueError, "eps is -1e-08"),
    (Adam, {"amsgrad": "yes"}, TypeError, "amsgrad is 'yes'"),
    (AdamW, {"beta1": 1}, ValueError, "beta1 is 1"),
    (AdamW, {"amsgrad": None}, TypeError, "amsgrad is None"),
    (WarmupCosine, {"rate": 0, "warmup": 1, "total": 3}, ValueError, "rate is 0"),
    (WarmupCosine, {"rate": 1, "warmup": -1, "total": 3}, ValueError, "warmup is -1"),
    (WarmupCosine, {"rate": 1, "warmup": 3, "total": 3}, ValueError, "total is 3"),
    (WarmupCosine, {"rate": 1, "warmup": 1.5, "total": 3}, TypeError, "warmup is 1.5"),
    (WarmupCosine, {"rate": 1, "warmup": 1, "total": 3, "floor": 2}, ValueError, "floor is 2"),
    (StepDecay, {"rate": 1, "every": 0}, ValueError, "every is 0"),
    (StepDecay, {"rate": 1, "every": 5, "factor": 1.1}, ValueError, "factor is 1.1"),
    (InverseDecay, {"rate": 1, "decay": 0}, ValueError, "decay is 0"),
]


@pytest.mark.parametrize(("make", "settings", "error", "words"), BAD_SETTINGS)
def test_bad_settings_are_named(make, settings, error, words):
    with pytest.raises(error, match=words):
        make(**settings)


ONE, TWO = np.ones(5), np.ones((2, 5))
BAD_STEPS = [
    ((ONE[None], ONE[None], TWO, 1), ValueError, "flat_params has shape"),
    ((ONE, ONE[:4].copy(), TWO, 1), ValueError, "flat_grads has shape"),
    ((ONE, ONE, TWO[:1].copy(), 1), ValueError, "slots has shape .*m, v"),
    ((ONE, ONE, np.ones((2, 4)), 1), ValueError, "slots has shape"),
    ((ONE, ONE.astype("f4"), TWO, 1), TypeError, "flat_grads has dtype float32"),
    ((ONE, ONE, TWO.astype("f4"), 1), TypeError, "slots has dtype float32"),
    ((np.ones(5, int), ONE, TWO, 1), TypeError, "flat_params has dtype int64"),
    ((ONE.astype("f2"), ONE.astype("f2"), TWO.astype("f2"), 1), TypeError, "dtype float16"),
    ((ONE + 0j, ONE + 0j, TWO + 0j, 1), TypeError, "dtype complex128"),
    (([1.0] * 5, ONE, TWO, 1), TypeError, "flat_params is"),
    ((ONE, None, TWO, 1), TypeError, "flat_grads is None"),
    ((np.ones(10)[::2], ONE, TWO, 1), ValueError, "flat_params is not contiguous"),
    ((ONE, np.ones(10)[::2], TWO, 1), ValueError, "flat_grads is not contiguous"),
    ((ONE, ONE, np.ones((5, 2)).T, 1), ValueError, "slots is not contiguous"),
    (
        (ONE.astype(">f8"), ONE.astype(">f8"), TWO.astype(">f8"), 1),
        TypeError,
        "flat_params has dtype >f8",
    ),
    ((ONE, ONE, TWO, 0), ValueError, "step is 0"),
    ((ONE, ONE, TWO, -3), ValueError, "step is -3"),
    ((ONE, ONE, TWO, 1.0), TypeError, "float"),
    ((ONE, ONE, TWO, 1, -1.0), ValueError, "rate of step 1"),
    ((ONE, ONE, TWO, 1, np.nan), ValueError, "rate of step 1"),
]


@pytest.mark.parametrize(("args", "error", "words"), BAD_STEPS)
def test_bad_steps_are_named_and_change_nothing(args, error, words):
    kept = [np.array(a, copy=True) for a in args[:3]]
    with pytest.raises(error, match=words):
        Adam().update(*args)
    for given, before in zip(args[:3], kept, strict=True):
        assert np.array_equal(np.asarray(given), before)


def test_arrays_that_cannot_be_written():
    locked = ONE.copy()
    locked.flags.writeable = False
    with pytest.raises(ValueError, match="flat_params cannot be written"):
        Adam().update(locked, ONE, TWO, 1)
    theta, slots = ONE.copy(), TWO.copy()
    Adam().update(theta, locked, slots, 1)  # a gradient is only read
    assert np.all(theta < 1)


@pytest.mark.parametrize("value", [-1.0, np.nan, np.inf])
def test_a_bad_schedule_is_named(value):
    theta = ONE.copy()
    with pytest.raises(ValueError, match="the rate of step 3"):
        SGD(lambda step: value).update(theta, ONE, np.zeros((0, 5)), 3)
    assert np.array_equal(theta, ONE)


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: trajectory(None, [1.0], SGD(), 1), TypeError, "gradient is None"),
        (lambda: trajectory(np.sin, [1.0], "adam", 1), TypeError, "optimizer is 'adam'"),
        (lambda: trajectory(np.sin, [np.nan], SGD(), 1), ValueError, "start holds nan"),
        (lambda: trajectory(np.sin, [], SGD(), 1), ValueError, "start is empty"),
        (lambda: trajectory(np.sin, [1.0], SGD(), -1), ValueError, "steps is -1"),
        (lambda: trajectory(lambda t: t[:1], [1.0, 2.0], SGD(), 1), ValueError, "gradient"),
        (lambda: opt.minibatches(0, 1, np.random.default_rng()), ValueError, "n is 0"),
        (lambda: opt.minibatches(5, 6, np.random.default_rng()), ValueError, "batch is 6"),
        (lambda: opt.minibatches(5, 2, 7), TypeError, "rng is 7"),
        (lambda: Adam().start(np.ones((2, 2))), ValueError, "flat has shape"),
        (lambda: Adam().start([1j]), TypeError, "flat has dtype"),
        (lambda: WarmupCosine(0.1, 1, 2)(0), ValueError, "step is 0"),
        (lambda: opt.Optimizer(0.1), TypeError, "abstract"),
    ],
)
def test_bad_calls_are_named(call, error, words):
    with pytest.raises(error, match=words):
        call()
