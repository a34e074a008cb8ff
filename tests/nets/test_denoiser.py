"""The denoiser: its gradient, what it is told, how it draws, and what it refuses."""

import numpy as np
import pytest
from compiled import compiled_only
from scipy import stats

from dlbook import diffusion
from dlbook.fast.normal import minus_two_log, normal_into, normals, point
from dlbook.nets import Denoiser, Diverged, check_model, fit
from dlbook.nets.layer import new_step
from dlbook.optimization import SGD, Adam
from dlbook.tools import data
from dlbook.tools.flat import like

TARGETS = ("v", "noise", "image", "velocity")


def some(n, d, classes=None, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.uniform(-1, 1, (n, d))
    return (x, rng.integers(classes, size=n)) if classes else (x,)


def moved(net, seed=0):
    """Return parameters away from those that begin near zero."""
    rng = np.random.default_rng(seed)
    params = net.init(rng)
    params.flat[:] += (0.3 * rng.standard_normal(params.flat.size)).astype(net.dtype)
    return params


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("classes", [None, 1, 3])
@pytest.mark.parametrize(
    ("sizes", "waves", "activation"),
    [((5, 7, 6, 5), 4, "silu"), ((3, 4, 3), 1, "tanh"), ((4, 4), 2, "relu")],
)
def test_the_gradient_is_that_of_the_loss_with_frozen_noise(
    target, classes, sizes, waves, activation
):
    net = Denoiser(sizes, classes, target, 0.4, waves, activation, "float64")
    for n in (6, 1):
        check_model(net, some(n, sizes[0], classes), seed=n)


def entered(net, batch, seed=3, training=True):
    """Return what the network gets and its target in a step of training, with times and noise."""
    step = new_step(net.dtype, training=training, rng=np.random.default_rng(seed))
    into, want = net._entered(step, batch)
    rng = np.random.default_rng(seed)
    u = rng.random(len(batch[0]), dtype=net.dtype)
    eps = np.empty(batch[0].shape, net.dtype)
    normals(rng, eps)
    return into, want, u, eps


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize(("dtype", "rtol"), [("float64", 1e-12), ("float32", 2e-5)])
def test_it_is_given_what_the_page_describes(target, dtype, rtol):
    net = Denoiser((5, 6, 5), 3, target, 0.5, 4, dtype=dtype)
    batch = net.check(net.init(np.random.default_rng(0)), some(40, 5, 3))
    into, want, u, eps = entered(net, batch)
    alpha, sigma = diffusion.cosine(u)
    x, y = batch
    straight = target == "velocity"
    noised = (
        diffusion.straight_path(x, eps, u) if straight else diffusion.forward(x, eps, alpha, sigma)
    )
    wanted = {"noise": eps, "image": x, "velocity": eps - x}.get(target)
    if target == "v":
        wanted = diffusion.v_target(x, eps, alpha, sigma)
    close = {"rtol": rtol, "atol": rtol}
    np.testing.assert_allclose(into[:, :5], noised, **close)
    np.testing.assert_allclose(want, wanted, **close)
    np.testing.assert_allclose(into[:, 5:13], diffusion.time_features(u, 4), **close)
    told = into[:, 13:]
    kept = told.sum(axis=1) == 1
    assert 5 < kept.sum() < 35
    np.testing.assert_array_equal(told[kept], np.eye(3)[y[kept]])
    assert not told[~kept].any()


def test_the_loss_is_the_mean_square_of_the_page():
    net = Denoiser((5, 6, 5), 3, dtype="float64")
    params = moved(net)
    batch = net.check(params, some(9, 5, 3))
    into, want, *_ = entered(net, batch, 4)
    found = net.loss_and_grad(
        params, None, batch, like(params), net.workspace(9), np.random.default_rng(4)
    )
    assert found == pytest.approx(
        diffusion.loss(net.outputs(params, None, into), want, np.full(9, 1 / 5)), rel=1e-10
    )
    held = net.loss(params, None, batch)
    assert held == net.loss(params, None, batch)
    never = Denoiser((5, 6, 5), 3, drop=1.0, dtype="float64")
    assert never.loss(params, None, batch) == held  # in inference the class is never left out


def test_training_draws_anew_and_wants_a_generator():
    net = Denoiser((5, 6, 5))
    params = net.init(np.random.default_rng(0))
    batch, work = net.check(params, some(8, 5)), net.workspace(8)
    rng = np.random.default_rng(1)
    first, second = (
        net.loss_and_grad(params, None, batch, like(params), work, rng) for _ in range(2)
    )
    assert first != second
    with pytest.raises(TypeError, match="rng"):
        net.loss_and_grad(params, None, batch, like(params), work, None)


@pytest.mark.parametrize("target", TARGETS)
def test_image_and_noise_from_each_target(target, rng):
    """A network that is right gives back the image and the noise that were put together."""
    net = Denoiser((5, 6, 5), target=target, dtype="float64")
    x0, eps = rng.normal(size=(2, 4, 5))
    a, s = net.path(0.3)
    x = a * x0 + s * eps
    right = {"v": a * eps - s * x0, "noise": eps, "image": x0, "velocity": eps - x0}[target]
    for found, expected in zip(net._both(right, x, 0.3), (x0, eps), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12)
    h = 1e-6
    (b, r), (c, q) = net.path(0.3 + h), net.path(0.3 - h)
    slope = ((b * x0 + r * eps) - (c * x0 + q * eps)) / (2 * h)
    np.testing.assert_allclose(net._slope(right, x, 0.3), slope, rtol=1e-8, atol=1e-8)


def test_what_is_predicted_by_the_layers():
    net = Denoiser((5, 6, 5), 3, waves=2, dtype="float64")
    params = moved(net)
    (x,) = some(4, 5)
    y = np.array([2, 0, 1, 1])
    waves = np.tile(diffusion.time_features(np.array([0.3]), 2), (4, 1))
    for classes, told in ((y, np.eye(3)[y]), (None, np.zeros((4, 3)))):
        a = np.hstack((x, waves, told)) @ params.w[2].T + params.b[2]
        expected = a / (1 + np.exp(-a)) @ params.w[3].T + params.b[3]
        found = net.predict(params, None, x, 0.3, classes)
        np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-12)
    with_class, without = (net.predict(params, None, x, 0.3, c) for c in (y, None))
    image, noise = net.denoise(params, x, 0.3, y, guidance=2.0)
    v = diffusion.guided(with_class, without, 2.0)
    both = diffusion.from_v(x, v, *(np.full(4, n) for n in net.path(0.3)))
    np.testing.assert_allclose((image, noise), both, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("method", ["ddim", "ancestral"])
@pytest.mark.parametrize("target", ["v", "noise", "image"])
def test_samples_are_steps_of_the_page(method, target):
    net = Denoiser((5, 6, 5), 3, target, dtype="float64")
    params, y = moved(net), np.array([2, 0, 1, 1])
    found = net.sample(params, 4, np.random.default_rng(7), 6, method, y, guidance=0.5, keep=True)
    draw = np.random.default_rng(7)
    x = draw.standard_normal((4, 5))
    times = np.linspace(0.99 if target == "noise" else 1, 0, 7)
    for k in range(6):
        np.testing.assert_allclose(found[k], x, rtol=1e-10, atol=1e-12)
        here, to = net.path(times[k]), net.path(times[k + 1])
        image, _ = net.denoise(params, x, times[k], y, 0.5)
        if method == "ddim":
            x = diffusion.ddim_step(x, image, *here, *to)
        else:
            fresh = draw.standard_normal((4, 5))
            x = diffusion.ancestral_step(x, image, fresh, *here, *to)
    np.testing.assert_allclose(found[-1], x, rtol=1e-9, atol=1e-9)
    assert found.shape == (7, 4, 5)


@compiled_only
@pytest.mark.parametrize(
    ("target", "method", "order"),
    [  # the image and the noise of a straight path are not mixed anew: there is no "ddim" there
        *(("v", "euler", 1), ("v", "ddim", 1), ("v", "heun", 2)),
        *(("velocity", "euler", 1), ("velocity", "heun", 2)),
    ],
)
def test_methods_have_their_order(target, method, order):
    net = Denoiser((5, 6, 5), target=target, dtype="float64")
    params = moved(net)

    def at(steps, method=method):
        return net.sample(params, 20, np.random.default_rng(1), steps, method)

    exact = at(3000, "heun")
    errors = [np.abs(at(n) - exact).mean() for n in (40, 80, 160)]
    rates = np.log2(np.divide(errors[:-1], errors[1:]))
    np.testing.assert_allclose(rates, order, atol=0.15)


def test_the_same_noise_for_all_methods_and_the_same_seed_the_same_samples():
    net = Denoiser((5, 6, 5))
    params = moved(net)
    starts = [
        net.sample(params, 3, np.random.default_rng(1), 2, how, keep=True)[0]
        for how in ("ddim", "ancestral", "euler", "heun")
    ]
    assert all(np.array_equal(starts[0], x) for x in starts)
    again = [net.sample(params, 300, np.random.default_rng(1), 2, "ancestral") for _ in range(2)]
    np.testing.assert_array_equal(*again)
    assert again[0].dtype == np.float32


def test_where_a_prediction_says_nothing():
    x = np.ones((2, 5))
    for target, u in (("noise", 1.0), ("image", 0.0)):
        net = Denoiser((5, 6, 5), target=target)
        params = moved(net)
        with pytest.raises(ValueError, match=f"u is {u:g}.*{target}"):
            net.denoise(params, x, u)
        for how in ("ddim", "heun", "euler", "ancestral"):
            assert np.isfinite(net.sample(params, 2, np.random.default_rng(0), 3, how)).all()


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"sizes": (64,)}, "sizes is"),
        ({"sizes": 64}, "sizes is"),
        ({"sizes": (64, 0, 64)}, r"sizes\[1\] is 0"),
        ({"sizes": (64, 32, 60)}, "the last is that of an example"),
        ({"classes": 0}, "classes is 0"),
        ({"target": "score"}, "target is 'score'"),
        ({"drop": 1.5}, "drop is 1.5"),
        ({"waves": 0}, "waves is 0"),
        ({"activation": "linear"}, "activation is 'linear'"),
        ({"dtype": "int64"}, "dtype is"),
    ],
)
def test_settings_are_refused(settings, words):
    with pytest.raises((TypeError, ValueError), match=words):
        Denoiser(**({"sizes": (64, 32, 64)} | settings))


def test_data_are_refused():
    net, bare = Denoiser((5, 6, 5), 3), Denoiser((5, 6, 5))
    params = net.init(np.random.default_rng(0))
    x, y = some(4, 5, 3)
    wrong = [((x,), "classes, \\(x, y\\)"), ((x, y + 3), "y"), ((x[:, :4], y), "x has shape")]
    wrong += [((np.full_like(x, np.nan), y), "x"), (x, "data is not a tuple")]
    for given, words in wrong:
        with pytest.raises((TypeError, ValueError), match=words):
            net.check(params, given)
    with pytest.raises(TypeError, match="examples, \\(x,\\)"):
        bare.check(bare.init(np.random.default_rng(0)), (x, y))


def test_wishes_are_refused():
    net, rng = Denoiser((5, 6, 5), 3), np.random.default_rng(0)
    params = net.init(rng)
    for wish, words in (
        ({"method": "leap"}, "method is 'leap'"),
        ({"steps": 0}, "steps is 0"),
        ({"n": 0}, "n is 0"),
        ({"classes": [0, 1]}, "classes has shape"),
        ({"classes": [0, 1, 3]}, "classes"),
        ({"guidance": 1.0}, "no classes are given to guide to"),
        ({"guidance": -1.0, "classes": [0, 1, 2]}, "guidance is -1"),
        ({"rng": 7}, "rng"),
    ):
        with pytest.raises((TypeError, ValueError), match=words):
            net.sample(params, **({"n": 3, "rng": rng} | wish))
    straight = Denoiser((5, 6, 5), target="velocity")
    with pytest.raises(ValueError, match="method is 'ddim'"):
        straight.sample(straight.init(rng), 3, rng, method="ddim")
    bare = Denoiser((5, 6, 5))
    with pytest.raises(ValueError, match="the network knows none"):
        bare.sample(bare.init(rng), 3, rng, classes=[0, 0, 0])
    params.flat[:] = np.inf
    with pytest.raises(FloatingPointError, match="not finite"), np.errstate(all="ignore"):
        net.sample(params, 3, rng)


@compiled_only
def test_a_rate_too_large_is_named_with_the_last_good_weights():
    d = data.digits(np.float32)
    net = Denoiser((64, 16, 64), 10, "noise", activation="relu")
    rng = np.random.default_rng(0)
    start, given = net.init(rng), (2 * d.x_train - 1, d.y_train)
    with pytest.raises(Diverged) as stopped, np.errstate(all="ignore"):
        fit(net, start, given, SGD(1e6), rng, epochs=20, batch=128)
    assert np.isfinite(stopped.value.params.flat).all()
    assert "are the params of this error" in str(stopped.value)
    spoiled = like(start, start.flat.copy())
    spoiled.w[2][0, 0] = 1e38
    spoiled.w[3][0, 0] = 1e38
    with pytest.raises(Diverged, match=r"w\[") as stopped, np.errstate(all="ignore"):
        fit(net, spoiled, given, SGD(0.1), rng, epochs=1, batch=128)
    np.testing.assert_array_equal(stopped.value.params.flat, spoiled.flat)


@compiled_only
def test_it_learns_where_two_points_lie():
    """Samples of a network that has seen two points lie near them, each as often as the other."""
    x = np.repeat([[-0.8, 0.5], [0.6, -0.7]], 64, axis=0)
    for target, method in (("v", "ddim"), ("velocity", "heun")):
        net, rng = Denoiser((2, 64, 64, 2), target=target), np.random.default_rng(0)
        out = fit(net, net.init(rng), (x,), Adam(0.005), rng, epochs=700, batch=128)
        made = net.sample(out.params, 400, rng, 30, method)
        apart = np.linalg.norm(made[:, None] - x[[0, -1]], axis=2)
        assert np.mean(apart.min(axis=1) < 0.15) > 0.9
        assert 0.35 < np.mean(apart.argmin(axis=1)) < 0.65


# Normal numbers


@compiled_only
def test_normal_numbers_are_normal_and_independent():
    out = np.empty(400_001, np.float32)
    normals(np.random.default_rng(0), out)
    z, root = out.astype(float), np.sqrt(out.size)
    assert stats.kstest(z, "norm").pvalue > 0.001
    assert abs(z.mean()) * root < 4
    assert abs(stats.skew(z)) * root < 4 * np.sqrt(6)
    assert abs(stats.kurtosis(z)) * root < 4 * np.sqrt(24)
    for lag in (1, 2, 64, 200_000, 200_001):
        a, b = z[:-lag], z[lag:]
        for f in (lambda v: v, np.square, np.abs):
            assert abs(np.corrcoef(f(a), f(b))[0, 1]) * np.sqrt(a.size) < 5


@compiled_only
def test_seeds_in_a_row_are_independent():
    out, found = np.empty(33, np.float32), []
    for k in range(4000):
        normal_into(np.uint32(k), np.uint32(k // 7), out)
        found.append(out.copy())
    r = np.corrcoef(np.array(found).T)[np.triu_indices(33, 1)] * np.sqrt(4000)
    assert np.abs(r).max() < 5
    assert r.std() == pytest.approx(1, abs=0.15)


@pytest.mark.parametrize("h", [0, 1 << 8, 12_345 << 8, 1 << 31, 0xFFFFFE00, 0xFFFFFFFF])
def test_logarithm_and_circle(h):
    """Against NumPy: the bits that choose a number, and an angle in one of eight octants."""
    x = np.float32((h >> 8) + 0.5) * 2.0**-24
    assert minus_two_log(np.uint32(h)) == pytest.approx(-2 * np.log(x), rel=1e-6, abs=1e-7)
    angle, found = x * np.pi / 4, set()
    for low in range(8):
        s, c = point(np.uint32((h & ~0xFF) | low))
        pair = (np.cos(angle), np.sin(angle)) if low & 1 else (np.sin(angle), np.cos(angle))
        assert abs(s) == pytest.approx(pair[0], abs=2e-7)
        assert abs(c) == pytest.approx(pair[1], abs=2e-7)
        found.add((s > 0, c > 0, low & 1))
    assert len(found) == 8


def test_seeds_choose_and_other_dtypes_are_numpys():
    out = [np.empty((3, 5), np.float32) for _ in range(3)]
    for seed, x in zip((1, 1, 2), out, strict=True):
        normals(np.random.default_rng(seed), x)
    np.testing.assert_array_equal(out[0], out[1])
    assert not np.array_equal(out[0], out[2])
    wide = np.empty((3, 5))
    normals(np.random.default_rng(1), wide)
    np.testing.assert_array_equal(wide, np.random.default_rng(1).standard_normal((3, 5)))
    for size in (0, 1):
        normals(np.random.default_rng(1), small := np.full(size, np.nan, np.float32))
        assert np.isfinite(small).all()
