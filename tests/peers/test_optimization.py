"""Two hundred steps of every optimizer beside PyTorch's, training a small network."""

import dataclasses
import itertools

import numpy as np
import pytest
import torch
from shown import shown
from torch import optim

from dlbook.optimization import (
    SGD,
    AdaDelta,
    AdaGrad,
    Adam,
    AdamW,
    Momentum,
    Nesterov,
    RMSprop,
    StepDecay,
    WarmupCosine,
    trajectory,
)

STEPS, RTOL = 200, 1e-12
RNG = np.random.default_rng(20_260_101)
X, Y = RNG.normal(size=(STEPS, 4, 3)), RNG.normal(size=(STEPS, 4))
START = RNG.normal(scale=0.7, size=21)


def loss(theta, x, y):
    """The squared error of a network with four hidden units; theta holds its 21 numbers."""
    hidden = torch.tanh(x @ theta[:12].reshape(4, 3).T + theta[12:16])
    return ((hidden @ theta[16:20] + theta[20] - y) ** 2).mean()


def costs():
    """Return a cost that has new examples in every call.

    On a fixed cost the methods with a short memory come to rest and then rattle: g/√v is all
    rounding, and PyTorch itself, started one rounding error away, is somewhere else in the end.
    """
    batches = itertools.cycle(zip(torch.from_numpy(X), torch.from_numpy(Y), strict=True))
    return lambda theta: loss(theta, *next(batches))


def ours_of(optimizer):
    """Return every point that our optimizer visits."""
    cost = costs()

    def gradient(theta):
        leaf = torch.tensor(theta, requires_grad=True)
        cost(leaf).backward()
        return leaf.grad.numpy()

    return trajectory(gradient, START, optimizer, STEPS)


def journey(make, schedule=None, start=START):
    """Return every point that PyTorch's optimizer visits."""
    theta, cost = torch.tensor(start, requires_grad=True), costs()
    optimizer = make([theta])
    scheduler = schedule and schedule(optimizer)
    path = [start]
    for _ in range(STEPS):
        optimizer.zero_grad()
        cost(theta).backward()
        optimizer.step()
        if scheduler:
            scheduler.step()
        path.append(theta.detach().numpy().copy())
    return np.array(path)


def close(ours, theirs, rtol=RTOL):
    assert np.isfinite(theirs).all()
    assert np.abs(theirs[-1] - START).max() > 1e-3  # it went somewhere
    assert np.abs(ours - theirs).max() < rtol * np.abs(theirs).max()


PAIRS = [
    (SGD(0.01), lambda p: optim.SGD(p, 0.01)),
    (SGD(0.02, 0.3), lambda p: optim.SGD(p, 0.02, weight_decay=0.3)),
    (Momentum(0.01, 0.9), lambda p: optim.SGD(p, 0.01, 0.9)),
    (Momentum(0.02, 0.5, 0.3), lambda p: optim.SGD(p, 0.02, 0.5, dampening=0.3)),
    (Momentum(0.02, 0.7, 1.0), lambda p: optim.SGD(p, 0.02, 0.7, dampening=1.0)),
    (
        Momentum(0.01, 0.8, 0.1, 0.2),
        lambda p: optim.SGD(p, 0.01, 0.8, dampening=0.1, weight_decay=0.2),
    ),
    (Nesterov(0.01, 0.9), lambda p: optim.SGD(p, 0.01, 0.9, nesterov=True)),
    (Nesterov(0.02, 0.6, 0.3), lambda p: optim.SGD(p, 0.02, 0.6, weight_decay=0.3, nesterov=True)),
    (AdaGrad(0.1), lambda p: optim.Adagrad(p, 0.1)),
    (
        AdaGrad(0.2, 0.01, 0.1, 0.5, 1e-4),
        lambda p: optim.Adagrad(p, 0.2, 0.01, 0.1, 0.5, 1e-4),
    ),
    (RMSprop(0.01), lambda p: optim.RMSprop(p, 0.01)),
    (RMSprop(0.005, 0.9, 1e-4, 0.1), lambda p: optim.RMSprop(p, 0.005, 0.9, 1e-4, 0.1)),
    (RMSprop(0.002, 0.95, mu=0.8), lambda p: optim.RMSprop(p, 0.002, 0.95, momentum=0.8)),
    (
        RMSprop(0.002, 0.9, 1e-3, centered=True),
        lambda p: optim.RMSprop(p, 0.002, 0.9, 1e-3, centered=True),
    ),
    (
        RMSprop(0.001, 0.9, 1e-2, 0.1, 0.5, True),
        lambda p: optim.RMSprop(p, 0.001, 0.9, 1e-2, 0.1, 0.5, True),
    ),
    (AdaDelta(), lambda p: optim.Adadelta(p, 1.0)),
    (AdaDelta(0.5, 0.8, 1e-4, 0.1), lambda p: optim.Adadelta(p, 0.5, 0.8, 1e-4, 0.1)),
    (Adam(0.01), lambda p: optim.Adam(p, 0.01)),
    (Adam(0.02, 0.7, 0.95, 1e-4, 0.2), lambda p: optim.Adam(p, 0.02, (0.7, 0.95), 1e-4, 0.2)),
    (Adam(0.02, 0.0, 0.9), lambda p: optim.Adam(p, 0.02, (0.0, 0.9))),
    (Adam(0.01, amsgrad=True), lambda p: optim.Adam(p, 0.01, amsgrad=True)),
    (
        Adam(0.02, 0.8, 0.9, 1e-6, 0.1, True),
        lambda p: optim.Adam(p, 0.02, (0.8, 0.9), 1e-6, 0.1, True),
    ),
    (AdamW(0.01), lambda p: optim.AdamW(p, 0.01)),
    (AdamW(0.02, 0.7, 0.95, 1e-4, 0.5), lambda p: optim.AdamW(p, 0.02, (0.7, 0.95), 1e-4, 0.5)),
    (
        AdamW(0.02, 0.8, 0.9, 1e-6, 0.3, True),
        lambda p: optim.AdamW(p, 0.02, (0.8, 0.9), 1e-6, 0.3, True),
    ),
]
SETTINGS = pytest.mark.parametrize(("ours", "theirs"), PAIRS, ids=[repr(o) for o, _ in PAIRS])


@SETTINGS
def test_every_point_of_the_journey(ours, theirs):
    close(ours_of(ours), journey(theirs))


@SETTINGS
def test_wrong_settings_are_noticed(ours, theirs):
    """The comparison sees a rate that is wrong by a millionth."""
    wrong = dataclasses.replace(ours, rate=ours.rate * (1 + 1e-6))
    path = ours_of(wrong)
    assert np.abs(path - journey(theirs)).max() > RTOL * np.abs(path).max()


@SETTINGS
def test_the_comparison_is_well_conditioned(ours, theirs):
    """PyTorch from a start that is off by some rounding ends where it ended before."""
    near = journey(theirs, start=START * (1 + 4e-16))
    assert np.abs(near - journey(theirs)).max() < 1e-11


def test_defaults_are_theirs():
    """Names differ; values that a reader leaves out do not, but for the rate of momentum."""
    leaf = [torch.zeros(1, requires_grad=True)]
    for ours, theirs, names in (
        (Adam(), optim.Adam(leaf), {"rate": "lr", "eps": "eps", "weight_decay": "weight_decay"}),
        (AdamW(), optim.AdamW(leaf), {"rate": "lr", "eps": "eps", "weight_decay": "weight_decay"}),
        (AdaDelta(), optim.Adadelta(leaf), {"rate": "lr", "rho": "rho", "eps": "eps"}),
        (AdaGrad(), optim.Adagrad(leaf), {"rate": "lr", "rate_decay": "lr_decay", "eps": "eps"}),
        (RMSprop(), optim.RMSprop(leaf), {"rate": "lr", "rho": "alpha", "eps": "eps"}),
    ):
        for mine, name in names.items():
            assert getattr(ours, mine) == theirs.defaults[name], (ours, mine)
        if isinstance(ours, Adam):
            assert (ours.beta1, ours.beta2) == theirs.defaults["betas"]


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (AdamW(0.02, weight_decay=0.1), lambda p, **k: optim.AdamW(p, 0.02, weight_decay=0.1, **k)),
        (Adam(0.02, weight_decay=0.1), lambda p, **k: optim.Adam(p, 0.02, weight_decay=0.1, **k)),
        (Momentum(0.01), lambda p, **k: optim.SGD(p, 0.01, 0.9, **k)),
        (AdaGrad(0.1), lambda p, **k: optim.Adagrad(p, 0.1, **k)),
    ],
)
@pytest.mark.parametrize("setting", ["fused", "foreach"])
def test_their_fast_settings(ours, theirs, setting):
    close(
        ours_of(ours),
        journey(lambda p: theirs(p, **{setting: True})),
    )


def test_schedules():
    """PyTorch counts from 0: the rate of step t is that of its epoch t − 1."""
    ours = ours_of(Momentum(StepDecay(0.01, 30, 0.5)))
    theirs = journey(
        lambda p: optim.SGD(p, 0.01, 0.9), lambda o: optim.lr_scheduler.StepLR(o, 30, 0.5)
    )
    close(ours, theirs)

    def warm(o):
        rise = optim.lr_scheduler.LinearLR(o, 1 / 20, 1.0, 19)
        fall = optim.lr_scheduler.CosineAnnealingLR(o, 150, 0.001)
        return optim.lr_scheduler.SequentialLR(o, [rise, fall], [19])

    ours = [WarmupCosine(0.01, 20, 170, 0.001)(t) for t in range(1, 171)]
    optimizer = optim.SGD([torch.zeros(1, requires_grad=True)], 0.01)
    scheduler, theirs = warm(optimizer), []
    for _ in range(170):
        theirs.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    np.testing.assert_allclose(ours, theirs, rtol=1e-12)


def test_where_definitions_differ():
    """The other momentum and the other Nesterov part from PyTorch's when the rate changes."""
    rate = StepDecay(0.01, 30, 0.5)
    for ours, nesterov in ((Momentum, False), (Nesterov, True)):
        theirs = journey(
            lambda p, n=nesterov: optim.SGD(p, 0.01, 0.9, nesterov=n),
            lambda o: optim.lr_scheduler.StepLR(o, 30, 0.5),
        )
        close(ours_of(ours(rate)), theirs)
        other = "ball" if nesterov else "polyak"
        apart = np.abs(ours_of(ours(rate, form=other)) - theirs).max()
        assert apart > 1e-3


OURS = {
    "sgd": SGD(0.01, 0.1),
    "momentum": Momentum(0.01, 0.9, 0.2),
    "nesterov": Nesterov(0.01, 0.9),
    "adagrad": AdaGrad(0.1, 0.01),
    "rmsprop": RMSprop(0.01, 0.9, centered=True),
    "adadelta": AdaDelta(1.0, 0.9),
    "adam": Adam(0.01, 0.8, 0.99, amsgrad=True),
    "adamw": AdamW(0.01, weight_decay=0.1),
}


def test_the_code_on_the_page():
    scope = {"start": torch.tensor(START), "cost": costs()}  # starts anew after 200 calls
    exec(compile(shown("optimization"), "optimization.md", "exec"), scope)
    assert scope["ends"].keys() == OURS.keys()
    for name, end in scope["ends"].items():
        path = ours_of(OURS[name])
        assert np.abs(path[-1] - end.numpy()).max() < RTOL * np.abs(path).max(), name
