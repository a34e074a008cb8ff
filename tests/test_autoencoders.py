"""Costs, penalties and distributions of autoencoders, and the two networks made of them."""

import itertools

import numpy as np
import pytest
from compiled import compiled_only
from scipy import linalg, special, stats
from sklearn.decomposition import PCA
from sklearn.neighbors import NearestNeighbors

from dlbook import autoencoders as ae
from dlbook.convolution import conv
from dlbook.fast import losses
from dlbook.fast.images import upsample_backward_into, upsample_into
from dlbook.linear_classification import sigmoid
from dlbook.nets import Autoencoder, ConvAutoencoder, Diverged, fit
from dlbook.neurons import affine, relu, tanh
from dlbook.optimization import SGD, Adam, Nesterov
from dlbook.tools import data
from dlbook.tools.flat import like
from dlbook.verification import adjoint_gap, central_differences, complex_step, relative_error


def some_pair(rng, shape=(5, 4)):
    return rng.normal(size=shape), rng.random(shape)


def some_network(rng, k=4, j=3):
    """x, w1, b1, w2, b2"""
    return (
        rng.random((5, k)),
        rng.normal(size=(j, k)),
        rng.normal(size=j),
        rng.normal(size=(k, j)),
        rng.normal(size=k),
    )


def bases(rng, k=6):
    return tuple(np.linalg.qr(rng.normal(size=(k, j)))[0] for j in (4, 3))


def some_levels(rng):
    return rng.normal(size=(4, 3, 5)), rng.integers(5, size=(4, 3))


KERNELS = [
    (ae.reconstruction, some_pair),
    (
        ae.linear_gradient,
        lambda rng: (rng.normal(size=(6, 4)), rng.normal(size=(2, 4)), rng.normal(size=(4, 2))),
    ),
    (ae.principal_sines, bases),
    (ae.eckart_young, lambda rng: (np.sort(rng.random(6))[::-1], 2, 9)),
    (ae.l1_penalty, lambda rng: some_pair(rng)[:1]),
    (ae.l1_gradient, lambda rng: some_pair(rng)[:1]),
    (ae.mean_activation, lambda rng: some_pair(rng)[:1]),
    (ae.kl_penalty, lambda rng: (rng.uniform(0.1, 0.9, 4), 0.2)),
    (ae.kl_gradient, lambda rng: (rng.uniform(0.1, 0.9, (5, 4)), 0.2)),
    (
        ae.denoising,
        lambda rng: (some_network(rng)[0], rng.normal(size=(5, 4)), 0.3, *some_network(rng)[1:]),
    ),
    (ae.denoising_linear, lambda rng: (rng.random((5, 4)), rng.normal(size=(4, 4)), 0.3)),
    (ae.mask, lambda rng: (rng.normal(size=(5, 4)), rng.random((5, 4)), 0.4)),
    (ae.contractive, lambda rng: some_network(rng)[:3]),
    (ae.contractive_gradient, lambda rng: some_network(rng)[:3]),
    (ae.gaussian_nll, lambda rng: (*some_pair(rng), 0.7)),
    (ae.gaussian_nll_gradient, lambda rng: (*some_pair(rng), 0.7)),
    (ae.bernoulli_nll, some_pair),
    (ae.bernoulli_nll_gradient, some_pair),
    (ae.categorical_nll, some_levels),
    (ae.categorical_nll_gradient, some_levels),
    (ae.upsample, lambda rng: (rng.normal(size=(2, 3, 4, 5)),)),
    (ae.upsample_backward, lambda rng: (rng.normal(size=(2, 3, 4, 6)),)),
    (ae.auc, lambda rng: (rng.normal(size=4), rng.normal(size=6))),
    (ae.precision, lambda rng: (rng.integers(3, size=(6, 4)), rng.integers(3, size=6))),
]


# The linear case


def test_linear_gradient(rng):
    x, w1, w2 = rng.normal(size=(7, 4)), rng.normal(size=(2, 4)), rng.normal(size=(4, 2))

    def cost(w1, w2):
        return np.sum((x @ w1.T @ w2.T - x) ** 2) / 14

    dw1, dw2 = ae.linear_gradient(x, w1, w2)
    assert relative_error(dw1, complex_step(lambda w: cost(w, w2), w1)) < 1e-12
    assert relative_error(dw2, complex_step(lambda w: cost(w1, w), w2)) < 1e-12


@pytest.mark.parametrize(("k", "i", "j"), [(5, 2, 2), (9, 4, 1), (30, 7, 7), (6, 5, 3)])
def test_principal_angles_against_scipy(k, i, j, rng):
    a, b = rng.normal(size=(k, i)), rng.normal(size=(k, j))
    b[:, :1] += 10 * a[:, :1]
    np.testing.assert_allclose(
        ae.principal_angles(a, b), linalg.subspace_angles(a, b), rtol=0, atol=3e-8
    )


def test_principal_angles_that_are_small(rng):
    """The cosine of 1e-9 is 1; the sine is what is needed."""
    a = np.eye(5)[:, :2]
    b = a.copy()
    b[4, 1] = 1e-9
    assert ae.principal_angles(a, b)[0] == pytest.approx(1e-9, rel=1e-6)
    assert ae.principal_angles(a, a @ rng.normal(size=(2, 2))).max() < 1e-14


@pytest.mark.parametrize(
    ("a", "b", "words"),
    [
        (np.ones((4, 1)), np.eye(4)[:, :2], "fewer"),
        (np.ones((4, 2)), np.eye(4)[:, :2], "columns of a"),
        (np.eye(4)[:, :2], np.eye(5)[:, :2], "b"),
        (np.full((4, 2), np.nan), np.eye(4)[:, :2], "a"),
    ],
)
def test_principal_angles_refuse(a, b, words):
    with pytest.raises(ValueError, match=words):
        ae.principal_angles(a, b)


def test_principal_components_against_sklearn(rng):
    x = rng.normal(size=(40, 6)) @ rng.normal(size=(6, 6)) + 3
    found, peer = ae.principal_components(x), PCA().fit(x)
    np.testing.assert_allclose(found.s, peer.singular_values_, rtol=1e-12)
    np.testing.assert_allclose(np.abs(np.diag(found.components @ peer.components_.T)), 1)
    for i in range(1, 6):
        kept = PCA(i).fit(x)
        error = np.sum((kept.inverse_transform(kept.transform(x)) - x) ** 2) / 80
        assert ae.eckart_young(found.s, i, 40) == pytest.approx(error, rel=1e-12)


@compiled_only  # minutes otherwise
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("j", [2, 4, 8])
def test_linear_network_finds_the_subspace(j, seed):
    """The largest angle to PCA's subspace is below a thousandth, and no epoch beats the bound."""
    x = data.digits().x_train
    pc, x = ae.principal_components(x), x - x.mean(axis=0)
    bound = ae.eckart_young(pc.s, j, len(x))
    net, rng = Autoencoder((64, j), dtype="float64"), np.random.default_rng(seed)
    first = fit(net, net.init(rng), (x,), Adam(0.01), rng, epochs=20, batch=64, progress=False)
    run = fit(
        net, first.params, (x,), Nesterov(0.2, 0.95), rng, epochs=300, batch=len(x), progress=False
    )
    assert ae.principal_angles(run.params.w[3], pc.components[:j].T)[0] < 1e-3
    assert min(run.history.loss.min(), net.loss(run.params, None, (x,))) >= bound * (1 - 1e-12)
    assert net.loss(run.params, None, (x,)) < bound * (1 + 1e-3)


# Penalties


def test_l1_gradient_at_zero():
    h = np.array([[0.0, -0.0, 2.0, -3.0]])
    np.testing.assert_array_equal(ae.l1_gradient(h), [[0, 0, 1, -1]])
    assert ae.l1_penalty(h) == 5


def test_kl_against_scipy(rng):
    rho_hat = rng.uniform(0.01, 0.99, 7)
    wanted = sum(stats.entropy([0.05, 0.95], [q, 1 - q]) for q in rho_hat)
    assert ae.kl_penalty(rho_hat, 0.05) == pytest.approx(wanted, rel=1e-13)
    assert ae.kl_penalty(np.full(3, 0.05), 0.05) == pytest.approx(0, abs=1e-15)


def test_kl_gradient(rng):
    h = rng.uniform(0.05, 0.95, (6, 4))
    expected = complex_step(lambda v: ae.kl_penalty(np.mean(v, axis=0), 0.1), h)
    assert relative_error(ae.kl_gradient(h, 0.1), expected) < 1e-12


def test_contractive_is_the_jacobian(rng):
    x, w, b, *_ = some_network(rng)
    squares = [np.sum(complex_step(lambda v: 1 / (1 + np.exp(-w @ v - b)), row) ** 2) for row in x]
    assert ae.contractive(x, w, b) == pytest.approx(np.mean(squares), rel=1e-12)


def test_contractive_gradient(rng):
    x, w, b, *_ = some_network(rng)
    dw, db = ae.contractive_gradient(x, w, b)
    assert relative_error(dw, complex_step(lambda v: ae.contractive(x, v, b), w)) < 1e-12
    assert relative_error(db, complex_step(lambda v: ae.contractive(x, w + 0j, v), b)) < 1e-12
    assert relative_error(dw, central_differences(lambda v: ae.contractive(x, v, b), w)) < 1e-7


def test_denoising_is_reconstruction_of_something_else(rng):
    x, w1, b1, w2, b2 = some_network(rng)
    eps = rng.normal(size=x.shape)
    out = special.expit((x + 0.3 * eps) @ w1.T + b1) @ w2.T + b2
    found = ae.denoising(x, eps, 0.3, w1, b1, w2, b2)
    assert found == pytest.approx(np.sum((out - x) ** 2) / (2 * len(x)), rel=1e-13)


def test_best_linear_denoiser(rng):
    """Where its gradient vanishes, the expected cost is that of ridge-shrunk projections."""
    x = rng.normal(size=(50, 4)) @ rng.normal(size=(4, 4))
    s = x.T @ x / 50
    best = s @ np.linalg.inv(s + 0.25 * np.eye(4))
    slope = complex_step(lambda w: ae.denoising_linear(x, w, 0.5), best)
    assert np.abs(slope).max() < 1e-14 * np.abs(s).max() * 100


# Distributions


def test_gaussian_against_scipy(rng):
    x_hat, x = some_pair(rng)
    expected = [
        -stats.multivariate_normal(m, 0.7 * np.eye(4)).logpdf(v)
        for m, v in zip(x_hat, x, strict=True)
    ]
    assert ae.gaussian_nll(x_hat, x, 0.7) == pytest.approx(np.mean(expected), rel=1e-13)


def test_bernoulli_against_scipy(rng):
    a, x = rng.normal(size=(5, 4)), rng.integers(2, size=(5, 4)).astype(float)
    expected = -np.sum(stats.bernoulli.logpmf(x.astype(int), special.expit(a))) / 5
    assert ae.bernoulli_nll(a, x) == pytest.approx(expected, rel=1e-12)


def test_bernoulli_far_out():
    a = np.array([[800.0, -800.0, 800.0, -800.0]])
    x = np.array([[1.0, 0.0, 0.0, 1.0]])
    assert ae.bernoulli_nll(a, x) == 1600
    np.testing.assert_array_equal(ae.bernoulli_nll_gradient(a, x), [[0, 0, 1, -1]])
    for dtype in (np.float32, np.float64):
        found = a.astype(dtype)
        assert losses.bernoulli_into(found, x.astype(dtype)) == 1600
        np.testing.assert_array_equal(found, [[0, 0, 1, -1]])


def test_categorical_against_scipy(rng):
    a, x = some_levels(rng)
    expected = -np.take_along_axis(special.log_softmax(a, axis=-1), x[..., None], -1).sum() / 4
    assert ae.categorical_nll(a, x) == pytest.approx(expected, rel=1e-13)


@pytest.mark.parametrize("kind", ["gaussian", "bernoulli", "categorical"])
def test_likelihood_gradients(kind, rng):
    a, x = some_levels(rng) if kind == "categorical" else some_pair(rng)
    more = (0.7,) if kind == "gaussian" else ()
    cost, slope = getattr(ae, f"{kind}_nll"), getattr(ae, f"{kind}_nll_gradient")
    found = slope(a, x, *more)
    assert relative_error(found, complex_step(lambda v: cost(v, x, *more), a)) < 1e-12
    assert relative_error(found, central_differences(lambda v: cost(v, x, *more), a)) < 1e-7


@pytest.mark.parametrize(("dtype", "rtol"), [(np.float64, 1e-13), (np.float32, 2e-6)])
@pytest.mark.parametrize("shape", [(1, 1), (3, 7), (32, 64), (2, 1500)])
def test_fused_costs_equal_literal(shape, dtype, rtol, rng):
    a, x = (part.astype(dtype) for part in some_pair(rng, shape))
    a *= 4
    double = a.astype(float), x.astype(float)
    for into, cost, slope, more in (
        (losses.gaussian_into, ae.reconstruction, ae.gaussian_nll_gradient, (1.0,)),
        (losses.bernoulli_into, ae.bernoulli_nll, ae.bernoulli_nll_gradient, ()),
    ):
        found = a.copy()
        assert into(found, x) == pytest.approx(cost(*double), rel=rtol)
        assert found.dtype == dtype
        assert relative_error(found, slope(*double, *more)) < rtol


@pytest.mark.parametrize("into", [losses.gaussian_into, losses.bernoulli_into])
def test_fused_costs_let_nan_through(into):
    a, x = np.zeros((2, 3)), np.full((2, 3), 0.5)
    a[1, 2] = np.nan
    assert np.isnan(into(a, x))
    assert np.isnan(a).sum() == 1


# Noise and retrieval


def test_corruption(rng):
    x = np.full((400, 50), 2.0)
    noisy, blank = (ae.corrupt(x, kind, 0.3, rng) for kind in ("gaussian", "mask"))
    assert np.std(noisy) == pytest.approx(0.3, rel=0.03)
    assert np.mean(noisy) == pytest.approx(2, abs=0.01)
    assert np.mean(blank == 0) == pytest.approx(0.3, abs=0.02)
    assert set(np.unique(blank)) == {0, 2}
    u = np.random.default_rng(4).random(x.shape)
    np.testing.assert_array_equal(
        ae.corrupt(x, "mask", 0.3, np.random.default_rng(4)), ae.mask(x, u, 0.3)
    )


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda rng: ae.corrupt(np.ones((2, 2)), "salt", 0.3, rng), "noise"),
        (lambda rng: ae.corrupt(np.ones((2, 2)), "mask", 1.0, rng), "level"),
        (lambda rng: ae.corrupt(np.ones((2, 2)), "gaussian", 0.0, rng), "level"),
        (lambda rng: ae.corrupt(np.ones(2), "mask", 0.3, rng), "x"),
        (lambda rng: ae.corrupt(np.ones((2, 2)), "mask", 0.3, 1), "rng"),
        (lambda rng: ae.neighbours(np.ones((2, 2)), np.ones((3, 2)), 4), "count"),
        (lambda rng: ae.neighbours(np.ones((2, 2)), np.ones((3, 1)), 2), "base"),
        (lambda rng: ae.principal_components(np.ones(3)), "x"),
    ],
)
def test_public_functions_refuse(call, words, rng):
    with pytest.raises((TypeError, ValueError), match=words):
        call(rng)


def test_neighbours_against_sklearn(rng):
    base, queries = rng.normal(size=(60, 3)), rng.normal(size=(20, 3))
    expected = NearestNeighbors(n_neighbors=5).fit(base).kneighbors(queries)[1]
    np.testing.assert_array_equal(ae.neighbours(queries, base, 5), expected)


def test_auc_against_scipy(rng):
    odd, usual = np.round(3 * rng.normal(size=20)), np.round(3 * rng.normal(size=31))
    shares = stats.mannwhitneyu(odd, usual).statistic / (20 * 31)
    np.testing.assert_allclose(ae.auc(odd, usual), shares, rtol=1e-14)


def test_auc_of_what_lies_apart():
    low, high = np.arange(3.0), np.arange(3.0, 7)
    assert (ae.auc(high, low), ae.auc(low, high), ae.auc(low, low)) == (1, 0, 0.5)


def test_precision_by_hand():
    assert ae.precision(np.array([[1, 1, 2], [0, 3, 0]]), np.array([1, 3])) == 0.5


# The dense network

KINDS = list(itertools.product(("relu", "sigmoid", "tanh"), ("gaussian", "bernoulli")))
HANDICAPS = {
    "plain": {},
    "l1": {"code_activation": "relu", "l1": 0.3},
    "l1, signed": {"code_activation": "tanh", "l1": 0.3},
    "kl": {"code_activation": "sigmoid", "kl": 0.4, "rho": 0.2},
    "mask": {"noise": "mask", "level": 0.4},
    "gaussian": {"noise": "gaussian", "level": 0.3},
    "contractive": {"encoder": (6, 3), "code_activation": "sigmoid", "contractive": 0.7, "kl": 0.2},
    "wide": {"encoder": (6, 9), "code_activation": "sigmoid", "contractive": 0.7},
}


def small(seed=1, **more):
    settings = {"encoder": (6, 5, 3), "dtype": "float64"} | more
    net = Autoencoder(**settings)
    params = net.init(np.random.default_rng(seed))
    params.flat[:] += 0.1 * np.random.default_rng(2).standard_normal(params.flat.size)
    return net, params, (np.random.default_rng(3).random((7, 6)),)


@pytest.mark.parametrize("how", HANDICAPS)
@pytest.mark.parametrize(("bend", "likelihood"), KINDS)
def test_gradient_against_differences(bend, likelihood, how):
    """All parameters at once, the noise held fixed, in a workspace larger than the batch."""
    net, params, batch = small(activation=bend, likelihood=likelihood, **HANDICAPS[how])
    work = net.workspace(10)

    def cost(flat):
        given, grads = like(params, flat), like(params)
        return net.loss_and_grad(given, None, batch, grads, work, np.random.default_rng(5)), grads

    expected = central_differences(lambda flat: cost(flat)[0], params.flat)
    assert relative_error(cost(params.flat)[1].flat, expected) < 1e-7


BENDS = {"relu": relu, "sigmoid": sigmoid, "tanh": tanh, "linear": lambda z: z}


@pytest.mark.parametrize("how", HANDICAPS)
@pytest.mark.parametrize(("bend", "likelihood"), KINDS)
def test_training_is_its_literal_kernels(bend, likelihood, how):
    net, params, (x,) = small(activation=bend, likelihood=likelihood, **HANDICAPS[how])
    given = x
    if net.noise:
        given = ae.corrupt(x, net.noise, net.level, np.random.default_rng(5))
    a, depth, extra = given, len(net.sizes), 0.0
    for layer in range(2, depth + 1):
        a = affine(a, params.w[layer], params.b[layer])
        if layer == len(net.encoder):
            a = BENDS[net.code_activation](a)
            extra += net.l1 * ae.l1_penalty(a)
            extra += net.kl * ae.kl_penalty(ae.mean_activation(a), net.rho) if net.kl else 0
        elif layer < depth:
            a = BENDS[bend](a)
    if net.contractive:
        extra += net.contractive * ae.contractive(given, params.w[2], params.b[2])
    cost = ae.bernoulli_nll if likelihood == "bernoulli" else ae.reconstruction
    found = net.loss_and_grad(
        params, None, (x,), like(params), net.workspace(7), np.random.default_rng(5)
    )
    assert found == pytest.approx(cost(a, x) + extra, rel=1e-12)


@pytest.mark.parametrize("how", HANDICAPS)
def test_inference_has_no_penalties_and_no_noise(how):
    net, params, (x,) = small(likelihood="bernoulli", **HANDICAPS[how])
    h = net.encode(params, x)
    out = net.decode(params, h)
    np.testing.assert_array_equal(net.predict(params, None, x), out)
    assert h.shape == (7, 3 if how != "wide" else 9)
    assert out.min() > 0 and out.max() < 1
    logits = special.logit(out)
    assert net.loss(params, None, (x,)) == pytest.approx(ae.bernoulli_nll(logits, x), rel=1e-12)
    other = np.random.default_rng(9).random(x.shape)
    assert net.loss(params, None, (x, other)) == pytest.approx(
        ae.bernoulli_nll(logits, other), rel=1e-12
    )


@pytest.mark.parametrize("how", HANDICAPS)
def test_single_precision(how):
    net, params, batch = small(likelihood="bernoulli", **HANDICAPS[how])
    half, _, _ = small(likelihood="bernoulli", **(HANDICAPS[how] | {"dtype": "float32"}))
    single = half.init(np.random.default_rng(1))
    single.flat[:] = params.flat
    results = []
    for model, given in ((net, params), (half, single)):
        grads, part = like(given), model.check(given, batch)
        rng = np.random.default_rng(5)
        if net.noise:  # the draws differ between the precisions
            part, model = (0.9 * part[0], part[0]), type(model)(model.encoder, dtype=model.dtype)
        loss = model.loss_and_grad(given, None, part, grads, model.workspace(7), rng)
        results.append((loss, grads.flat))
    assert results[1][1].dtype == np.float32
    assert results[1][0] == pytest.approx(results[0][0], rel=1e-5)
    assert relative_error(results[1][1], results[0][1]) < 1e-4


@pytest.mark.parametrize("noise", ["gaussian", "mask"])
def test_noise_is_drawn_anew(noise):
    """Another draw in each step; the same seed gives the same bits; the batch stays as it was."""
    net, params, (x,) = small(noise=noise, level=0.4)
    work, rng, kept = net.workspace(7), np.random.default_rng(5), x.copy()
    losses = [net.loss_and_grad(params, None, (x,), like(params), work, rng) for _ in range(3)]
    again = net.loss_and_grad(params, None, (x,), like(params), work, np.random.default_rng(5))
    assert len(set(losses)) == 3 and again == losses[0]
    np.testing.assert_array_equal(x, kept)


def test_first_weights():
    """He's variance in front of rectifiers, Xavier's elsewhere; biases zero."""
    params = Autoencoder((300, 200, 100)).init(np.random.default_rng(1))
    for layer, variance in zip(range(2, 6), (2 / 300, 2 / 300, 2 / 100, 2 / 500), strict=True):
        assert np.mean(params.w[layer] ** 2) == pytest.approx(variance, rel=0.05)
        assert not params.b[layer].any()


def test_a_batch_of_one_and_small_batches(rng):
    net, params, (x,) = small()
    work, whole, parts = net.workspace(7), like(params), np.zeros_like(params.flat)
    loss = net.loss_and_grad(params, None, (x,), whole, work, None)
    total = 0.0
    for n in range(7):
        one = like(params)
        total += net.loss_and_grad(params, None, (x[n : n + 1],), one, work, None)
        parts += one.flat
    assert loss == pytest.approx(total / 7, rel=1e-12)
    assert relative_error(parts / 7, whole.flat) < 1e-12


def test_a_run_that_diverges_says_where():
    net, params, (x,) = small(activation="linear")
    with pytest.raises(Diverged, match=r"w\[|loss"):
        fit(net, params, (x,), SGD(50.0), np.random.default_rng(1), epochs=60, batch=7)


def test_resuming_gives_the_same_bits(tmp_path):
    """The generator that draws the noise is part of a checkpoint."""
    net, params, (x,) = small(noise="mask", level=0.4)
    settings = {"batch": 3, "progress": False}
    whole = fit(net, params, (x,), Adam(0.01), np.random.default_rng(1), epochs=6, **settings)
    file = tmp_path / "run"
    fit(
        net,
        params,
        (x,),
        Adam(0.01),
        np.random.default_rng(1),
        epochs=3,
        checkpoint=file,
        **settings,
    )
    rest = fit(
        net, params, (x,), Adam(0.01), np.random.default_rng(7), epochs=6, resume=file, **settings
    )
    np.testing.assert_array_equal(whole.params.flat, rest.params.flat)


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"encoder": (6,)}, "encoder"),
        ({"encoder": 6}, "encoder"),
        ({"encoder": (6, 0)}, r"encoder\[1\]"),
        ({"decoder": (3, 5)}, "decoder"),
        ({"decoder": (4, 6)}, "decoder"),
        ({"activation": "gelu"}, "activation"),
        ({"code_activation": "step"}, "code_activation"),
        ({"likelihood": "poisson"}, "likelihood"),
        ({"l1": -1.0}, "l1"),
        ({"kl": 1.0}, "sigmoid"),
        ({"kl": 1.0, "code_activation": "sigmoid", "rho": 1.0}, "rho"),
        ({"contractive": 1.0}, "sigmoid"),
        ({"contractive": 1.0, "code_activation": "sigmoid"}, "one layer"),
        ({"noise": "salt", "level": 0.1}, "noise"),
        ({"noise": "mask", "level": 1.0}, "level"),
        ({"noise": "gaussian"}, "level"),
        ({"level": 0.3}, "level"),
        ({"dtype": "float16"}, "dtype"),
    ],
)
def test_network_refuses(more, words):
    with pytest.raises((TypeError, ValueError), match=words):
        Autoencoder(**({"encoder": (6, 5, 3)} | more))


BAD = [
    (7, "data"),
    ((), "data"),
    ((np.zeros((2, 5)),), "x"),
    ((np.zeros((2, 6)), np.zeros((3, 6))), "x"),
    ((np.full((2, 6), np.nan),), "x"),
    ((np.zeros((0, 6)),), "x"),
    ((np.full((2, 6), 1.5),), "bernoulli"),
    ((np.zeros((2, 6), complex),), "x"),
]


@pytest.mark.parametrize(("given", "words"), BAD)
def test_data_is_checked(given, words):
    net, params, _ = small(likelihood="bernoulli")
    with pytest.raises((TypeError, ValueError), match=words):
        net.check(params, given)


def test_codes_are_checked():
    net, params, _ = small()
    with pytest.raises(ValueError, match="h"):
        net.decode(params, np.zeros((2, 4)))
    with pytest.raises(ValueError, match="x"):
        net.encode(params, np.zeros((2, 5)))


# The convolutional network


def images(likelihood="bernoulli", **more):
    net = ConvAutoencoder(
        **({"channels": (3, 5), "code": 4, "likelihood": likelihood, "dtype": "float64"} | more)
    )
    params = net.init(np.random.default_rng(1))
    params.flat[:] += 0.1 * np.random.default_rng(2).standard_normal(params.flat.size)
    return net, params, (np.random.default_rng(3).random((5, net.side**2)),)


@pytest.mark.parametrize("likelihood", ["gaussian", "bernoulli"])
@pytest.mark.parametrize("channels", [(3,), (3, 5), (2, 3, 4)])
def test_convolutional_gradient(channels, likelihood):
    """Along random directions, since there are many parameters."""
    net, params, batch = images(likelihood, channels=channels)
    work, grads = net.workspace(6), like(params)
    net.loss_and_grad(params, None, batch, grads, work, None)
    directions = np.random.default_rng(4).standard_normal((20, params.flat.size))

    def cost(t):
        flat = params.flat + t @ directions
        return net.loss_and_grad(like(params, flat), None, batch, like(params), work, None)

    expected = central_differences(cost, np.zeros(20), eps=1e-6)
    assert relative_error(directions @ grads.flat, expected) < 1e-7


def test_convolutional_network_is_its_literal_kernels():
    net, params, (x,) = images()

    def framed(a):
        return np.pad(a, ((0, 0), (0, 0), (1, 1), (1, 1)))

    a = x.reshape(5, 1, 8, 8)
    for layer in range(2):
        a = relu(conv(framed(a), params.w[layer], params.b[layer], (2, 2), (1, 1), 1))
    # The channels of a pixel lie side by side in what the code sees
    h = affine(a.transpose(0, 2, 3, 1).reshape(5, -1), params.code, params.code_bias)
    assert relative_error(net.encode(params, x), h) < 1e-12
    a = relu(affine(h, params.open, params.open_bias)).reshape(5, 2, 2, 5).transpose(0, 3, 1, 2)
    a = relu(conv(framed(ae.upsample(a)), params.w[2], params.b[2], (1, 1), (1, 1), 1))
    a = conv(framed(ae.upsample(a)), params.w[3], params.b[3], (1, 1), (1, 1), 1).reshape(5, 64)
    assert relative_error(net.decode(params, h), special.expit(a)) < 1e-12
    expected = ae.bernoulli_nll(a, x)
    assert net.loss(params, None, (x,)) == pytest.approx(expected, rel=1e-12)
    found = net.loss_and_grad(params, None, (x,), like(params), net.workspace(5), None)
    assert found == pytest.approx(expected, rel=1e-12)


def test_upsampling(rng):
    x, y = rng.normal(size=(2, 3, 4, 5)), rng.normal(size=(2, 3, 8, 10))
    expected = np.repeat(np.repeat(x, 2, axis=2), 2, axis=3)
    np.testing.assert_array_equal(ae.upsample(x), expected)
    assert adjoint_gap(ae.upsample, ae.upsample_backward, x, y) < 1e-14
    large = np.full((2, 8, 10, 3), 7.0)
    last = np.ascontiguousarray(x.transpose(0, 2, 3, 1))
    upsample_into(last, large)
    np.testing.assert_array_equal(large.transpose(0, 3, 1, 2), expected)
    back = np.empty_like(last)
    upsample_backward_into(np.ascontiguousarray(y.transpose(0, 2, 3, 1)), back)
    assert relative_error(back.transpose(0, 3, 1, 2), ae.upsample_backward(y)) < 1e-14


def test_many_images_in_parts():
    net, params, _ = images()
    x = np.random.default_rng(3).random((600, 64))
    whole = net.predict(params, None, x)
    for part in (slice(0, 1), slice(255, 258), slice(599, 600)):
        assert relative_error(net.predict(params, None, x[part]), whole[part]) < 1e-13


def test_convolutional_single_precision():
    net, params, batch = images()
    half = ConvAutoencoder(channels=(3, 5), code=4, likelihood="bernoulli")
    single = half.init(np.random.default_rng(1))
    single.flat[:] = params.flat
    grads = like(params), like(single)
    losses = [
        model.loss_and_grad(p, None, model.check(p, batch), g, model.workspace(5), None)
        for model, p, g in zip((net, half), (params, single), grads, strict=True)
    ]
    assert losses[1] == pytest.approx(losses[0], rel=1e-5)
    assert relative_error(grads[1].flat, grads[0].flat) < 1e-4


@compiled_only  # minutes otherwise
def test_convolutional_network_learns():
    """Ten epochs, and it reconstructs better than PCA with as many numbers."""
    digits = data.digits(np.float32)
    net, rng = ConvAutoencoder(channels=(16, 32), likelihood="bernoulli"), np.random.default_rng(0)
    run = fit(net, net.init(rng), (digits.x_train,), Adam(0.005), rng, epochs=10, batch=32)
    x = digits.x_val
    pc = ae.principal_components(digits.x_train)
    kept = pc.components[:8].T @ pc.components[:8]
    linear = np.sum(((x - pc.mean) @ kept + pc.mean - x) ** 2)
    assert np.sum((net.predict(run.params, None, x) - x) ** 2) < linear


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"side": 6, "channels": (3, 5)}, "multiple of 4"),
        ({"side": 0}, "side"),
        ({"channels": ()}, "channels"),
        ({"channels": 4}, "channels"),
        ({"channels": (4, 0)}, r"channels\[1\]"),
        ({"code": 0}, "code"),
        ({"likelihood": "poisson"}, "likelihood"),
        ({"dtype": "float16"}, "dtype"),
    ],
)
def test_convolutional_network_refuses(more, words):
    with pytest.raises((TypeError, ValueError), match=words):
        ConvAutoencoder(**more)


def test_convolutional_data_is_checked():
    net, params, _ = images()
    for given, words in (((np.zeros((2, 63)),), "x"), ((np.full((2, 64), 2.0),), "bernoulli")):
        with pytest.raises(ValueError, match=words):
            net.check(params, given)
    with pytest.raises(ValueError, match="h"):
        net.decode(params, np.zeros((2, 5)))
