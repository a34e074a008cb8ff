"""A game of two networks: its gradients, its loop, and what is refused."""

import numpy as np
import pytest

from dlbook import gan
from dlbook.nets import GAN, Diverged, Players, play
from dlbook.optimization import SGD, Adam
from dlbook.verification import central_differences

KINDS = [
    (loss, *penalty)
    for loss in ("non-saturating", "saturating", "wasserstein")
    for penalty in ((None, 0.0), ("r1", 0.7), ("gradient", 1.3))
]
GENERATOR = {
    "wasserstein": lambda s: -np.mean(s),
    "saturating": gan.saturating,
    "non-saturating": gan.non_saturating,
}


def small(loss="non-saturating", penalty=None, gamma=0.0, **more):
    """Return a small model with two hidden layers on both sides."""
    return GAN((3, 5, 4, 6), (6, 7, 5, 1), loss, penalty, gamma, **more)


def spread_out(net, seed=0):
    """Return players whose biases are not zero, and data for them."""
    rng = np.random.default_rng(seed)
    players = net.init(rng)
    players.flat[:] += 0.1 * rng.normal(size=players.flat.size)
    x, z, tau = rng.random((9, 6)), rng.normal(size=(9, 3)), rng.random(9)
    return players, *(part.astype(net.dtype) for part in (x, z, tau))


def by_chapter(net, players, x, z, tau):
    """Return loss, penalty and the generator's loss by the literal kernels."""
    (_, w, b), fake = players.discriminator, net.generate(players, z)
    weights = w[2], b[2], w[3], b[3], w[4][0], net.leak
    real, made = (gan.score(some, *weights) + b[4][0] for some in (x, fake))
    judged = gan.critic_loss if net.loss == "wasserstein" else gan.discriminator_loss
    price = 0.0
    if net.penalty == "r1":
        price = gan.r1(gan.input_gradient(x, *weights), net.gamma)
    elif net.penalty == "gradient":
        between = gan.interpolate(x, fake, tau)
        price = gan.gradient_penalty(gan.input_gradient(between, *weights), net.gamma)
    return judged(real, made), price, GENERATOR[net.loss](made)


@pytest.mark.parametrize(("loss", "penalty", "gamma"), KINDS)
def test_losses_and_gradients_are_those_of_the_chapter(loss, penalty, gamma):
    net = small(loss, penalty, gamma, dtype="float64")
    players, x, z, tau = spread_out(net)
    grads, work = net.like(), net.workspace(9)
    found = *net.discriminator_gradient(players, x, z, tau, grads, work), 0
    found = *found[:2], net.generator_gradient(players, z, grads, work)
    np.testing.assert_allclose(found, by_chapter(net, players, x, z, tau), rtol=1e-12, atol=1e-14)
    cut = players.generator.flat.size

    def costs(part, flat):
        whole = players.flat.copy()
        whole[part] = flat
        judged, price, made = by_chapter(net, net.like(whole), x, z, tau)
        return judged + price if part.start else made

    for part in (slice(0, cut), slice(cut, None)):
        wanted = central_differences(lambda flat, part=part: costs(part, flat), players.flat[part])
        np.testing.assert_allclose(grads.flat[part], wanted, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize(("loss", "penalty", "gamma"), KINDS)
def test_float32_agrees_with_float64_and_memory_is_reused(loss, penalty, gamma):
    nets = [small(loss, penalty, gamma, dtype=dtype) for dtype in ("float32", "float64")]
    players, *batch = spread_out(nets[0])
    found = []
    for net in nets:
        here = net.like(players.flat.astype(net.dtype))
        x, z, tau = (part.astype(net.dtype) for part in batch)
        grads, work = net.like(), net.workspace(9)
        for n in (9, 4, 1, 9):
            net.discriminator_gradient(here, x[:n], z[:n], tau[:n], grads, work)
            net.generator_gradient(here, z[:n], grads, work)
        found.append(grads.flat)
    np.testing.assert_allclose(found[0], found[1], rtol=2e-4, atol=2e-5)


def test_the_losses_are_finite_for_huge_scores():
    net = small(dtype="float64")
    players, x, z, _ = spread_out(net)
    players.discriminator.b[4][:] = -1e4
    grads, work = net.like(), net.workspace(9)
    assert net.generator_gradient(players, z, grads, work) == pytest.approx(1e4, rel=0.01)
    loss, _ = net.discriminator_gradient(players, x, z, None, grads, work)
    assert loss == pytest.approx(1e4, rel=0.01)
    assert np.isfinite(grads.flat).all()


def test_a_game_is_the_same_each_time_and_its_pieces_fit():
    net, x = small("wasserstein", "gradient", 1.0), np.random.default_rng(3).random((20, 6))
    seen = []
    runs = [
        play(
            net,
            net.init(np.random.default_rng(0)),
            x,
            (Adam(0.01), Adam(0.02)),
            np.random.default_rng(1),
            steps=7,
            batch=5,
            critic_steps=2,
            average=0.5,
            watch=lambda step, players: seen.append((step, players.flat.copy())),
            every=3,
        )
        for _ in range(2)
    ]
    assert np.array_equal(runs[0].players.flat, runs[1].players.flat)
    assert [step for step, _ in seen[:3]] == [0, 3, 6]
    assert np.array_equal(seen[0][1], net.init(np.random.default_rng(0)).flat)
    assert runs[0].history.penalty.shape == (7,)
    assert np.all(runs[0].history.penalty > 0)
    assert net.sample(runs[0].average, 4, np.random.default_rng(0)).shape == (4, 6)
    assert not np.array_equal(runs[0].average.flat, runs[0].players.generator.flat)


def test_one_step_by_hand_with_an_average():
    net, rng = small(), np.random.default_rng(0)
    start, x = net.init(rng), np.random.default_rng(3).random((20, 6), np.float32)
    out = play(
        net,
        start,
        x,
        (SGD(0.1), SGD(0.3)),
        np.random.default_rng(1),
        steps=1,
        batch=5,
        average=0.25,
    )
    draw, players, grads = np.random.default_rng(1), net.like(start.flat.copy()), net.like()
    work = net.workspace(5)
    some = np.ascontiguousarray(x[draw.integers(20, size=5)])
    z = draw.standard_normal((5, 3), dtype=np.float32)
    net.discriminator_gradient(players, some, z, None, grads, work)
    players.discriminator.flat[:] -= np.float32(0.3) * grads.discriminator.flat
    net.generator_gradient(players, draw.standard_normal((5, 3), dtype=np.float32), grads, work)
    players.generator.flat[:] -= np.float32(0.1) * grads.generator.flat
    np.testing.assert_allclose(out.players.flat, players.flat, rtol=1e-5, atol=1e-7)
    mean = 0.75 * start.generator.flat + 0.25 * out.players.generator.flat
    np.testing.assert_allclose(out.average.flat, mean, rtol=1e-5, atol=1e-7)


def test_a_game_that_diverges_gives_the_last_good_players():
    net = small("wasserstein", dtype="float64", output="linear")
    x, rng = np.random.default_rng(3).random((20, 6)), np.random.default_rng(0)
    with pytest.raises(Diverged, match=r"diverged in step .*smaller rate or a penalty") as caught:
        play(net, net.init(rng), x, (SGD(1e6), SGD(1e6)), rng, steps=500, batch=5)
    error = caught.value
    assert error.layer in ("generator", "discriminator")
    assert isinstance(error.params, Players)
    assert np.isfinite(error.params.flat).all()
    assert error.step > 1


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"generator": (3,)}, "generator"),
        ({"generator": 3}, "generator"),
        ({"discriminator": (6, 4, 2)}, "discriminator"),
        ({"discriminator": (5, 4, 1)}, "discriminator"),
        ({"loss": "hinge"}, "loss"),
        ({"penalty": "r2"}, "penalty"),
        ({"gamma": 1.0}, "no penalty"),
        ({"gamma": -1.0, "penalty": "r1"}, "gamma"),
        ({"output": "tanh"}, "output"),
        ({"dtype": "float16"}, "dtype"),
        ({"leak": -0.1}, "leak"),
    ],
)
def test_wrong_settings_are_refused(more, words):
    with pytest.raises((TypeError, ValueError), match=words):
        GAN(**({"generator": (3, 4, 6), "discriminator": (6, 4, 1)} | more))


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"x": np.ones((4, 5))}, "x"),
        ({"x": np.full((4, 6), np.nan)}, "x"),
        ({"optimizers": Adam(0.1)}, "optimizers"),
        ({"optimizers": (Adam(0.1), 0.1)}, r"optimizers\[1\]"),
        ({"rng": 3}, "rng"),
        ({"steps": 0}, "steps"),
        ({"batch": 0}, "batch"),
        ({"critic_steps": 0}, "critic_steps"),
        ({"average": 0.0}, "average"),
        ({"every": 0}, "every"),
        ({"net": 3}, "net"),
        ({"players": None}, "players"),
    ],
)
def test_wrong_arguments_of_a_game_are_refused(more, words):
    net, rng = small(), np.random.default_rng(0)
    given = {"net": net, "players": net.init(rng), "x": np.ones((4, 6)), "rng": rng}
    given |= {"optimizers": (Adam(0.1), Adam(0.1)), "steps": 1, "batch": 2} | more
    with pytest.raises((TypeError, ValueError), match=words):
        play(**given)


def test_scores_and_examples_are_checked():
    net = small()
    players = net.init(np.random.default_rng(0))
    with pytest.raises(ValueError, match="z"):
        net.generate(players, np.ones((2, 4)))
    with pytest.raises(ValueError, match="x"):
        net.score(players, np.ones((2, 4)))
    with pytest.raises(ValueError, match="players"):
        net.generate(None, np.ones((2, 3)))
    s = net.score(players, np.ones((3, 6)))
    assert s.shape == (3,)
    assert np.all(s == s[0])
