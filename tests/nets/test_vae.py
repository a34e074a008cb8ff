"""The variational autoencoder: its gradient, its bound, what it draws and what it refuses."""

import numpy as np
import pytest
from scipy import stats

from dlbook.nets import VAE, Activation, Dense, Diverged, Latent, Sequential, check_model, fit
from dlbook.nets.layer import new_step
from dlbook.optimization import SGD, Adam
from dlbook.tools import data
from dlbook.tools.flat import like
from dlbook.variational import elbo, gaussian_kl, iwae, vae_gradients

DIGITS = data.digits(np.float32)


def some(n, k, seed=0):
    return np.random.default_rng(seed).random((n, k))


@pytest.mark.parametrize("likelihood", ["bernoulli", "gaussian"])
@pytest.mark.parametrize(
    ("encoder", "decoder", "beta", "activation"),
    [
        ((7, 6, 5, 3), None, 0.7, "tanh"),
        ((5, 1), (1, 4, 5), 2.5, "sigmoid"),
        ((3, 4, 2), (2, 3), 0.0, "linear"),
        ((6, 5, 4), (4, 7, 5, 6), 1.0, "relu"),
    ],
)
def test_the_gradient_is_that_of_the_loss_with_frozen_noise(
    likelihood, encoder, decoder, beta, activation
):
    net = VAE(encoder, decoder, activation, beta, likelihood, "float64")
    for n in (5, 1):
        check_model(net, (some(n, encoder[0]),), seed=n)


def test_the_loss_is_the_bound_of_the_page():
    net, x = VAE((6, 5, 3), beta=0.4, dtype="float64"), some(9, 6)
    params = net.init(np.random.default_rng(1))
    params.flat[:] += 0.3 * np.random.default_rng(2).standard_normal(params.flat.size)
    m, s = net.encode(params, x)
    eps = np.random.default_rng(3).standard_normal(m.shape)
    p = net.decode(params, m + np.exp(s) * eps)
    logits = np.log(p / (1 - p))
    found = net.loss_and_grad(
        params, None, (x,), like(params), net.workspace(9), np.random.default_rng(3)
    )
    assert found == pytest.approx(-elbo(logits, x, m, s, 0.4), rel=1e-10)


def test_the_layer_has_the_kernel_of_the_page_as_its_way_back(rng):
    h, dz = rng.normal(size=(4, 6)), rng.normal(size=(4, 3))
    step = new_step("float64", rng=np.random.default_rng(5), wants=True)
    layer = Latent(1.7)
    z, kept = layer.forward((), h, step)
    m, s = h[:, :3].copy(), h[:, 3:].copy()
    eps = np.random.default_rng(5).standard_normal((4, 3))
    np.testing.assert_allclose(z, m + np.exp(s) * eps, rtol=1e-12)
    dh = layer.backward((), dz.copy(), kept, None, step)
    dm, ds = vae_gradients(dz, m, s, eps, 1.7)
    np.testing.assert_allclose(dh, np.hstack((dm, ds)), rtol=1e-10, atol=1e-12)
    assert step.all.cost == pytest.approx(1.7 * gaussian_kl(m, s).mean(), rel=1e-12)


def test_inference_has_no_noise_and_training_draws_anew():
    net, x = VAE((6, 5, 2)), some(4, 6)
    params = net.init(np.random.default_rng(0))
    m, s = net.encode(params, x)
    assert m.shape == s.shape == (4, 2)
    np.testing.assert_array_equal(net.predict(params, None, x), net.decode(params, m))
    (batch,), work, rng = net.check(params, (x,)), net.workspace(4), np.random.default_rng(1)
    losses = [net.loss_and_grad(params, None, (batch,), like(params), work, rng) for _ in range(2)]
    assert losses[0] != losses[1]
    with pytest.raises(TypeError, match="rng"):
        net.loss_and_grad(params, None, (batch,), like(params), work, None)


def test_the_bound_is_the_mean_of_log_weights_and_more_draws_raise_it():
    net, x = VAE((6, 5, 2), dtype="float64"), some(40, 6)
    params = net.init(np.random.default_rng(0))
    bound = net.elbo(params, x, np.random.default_rng(1), 400)
    np.testing.assert_allclose(bound.elbo, -bound.distortion - bound.rate)
    m, s = net.encode(params, x)
    np.testing.assert_allclose(bound.rate, gaussian_kl(m, s))
    log_w = net.log_weights(params, x, np.random.default_rng(2), 400)
    gaps = bound.elbo - log_w.mean(axis=1)
    assert abs(gaps.mean()) < 5 * gaps.std() / np.sqrt(len(gaps)) + 1e-3
    assert np.all(iwae(log_w) > log_w.mean(axis=1))


def test_log_weights_by_densities():
    net, x = VAE((5, 4, 3), dtype="float64"), some(6, 5)
    params = net.init(np.random.default_rng(4))
    found = net.log_weights(params, x, np.random.default_rng(5), 2)
    m, s = net.encode(params, x)
    eps = np.random.default_rng(5).standard_normal((6, 2, 3))
    z = m[:, None] + np.exp(s)[:, None] * eps
    for k in range(2):
        p = net.decode(params, z[:, k])
        log_px = np.sum(x * np.log(p) + (1 - x) * np.log1p(-p), axis=1)
        prior = stats.norm.logpdf(z[:, k]).sum(axis=1)
        code = stats.norm.logpdf(z[:, k], m, np.exp(s)).sum(axis=1)
        np.testing.assert_allclose(found[:, k], log_px + prior - code, rtol=1e-9)


def test_a_gaussian_loses_half_the_squared_error():
    net, x = VAE((5, 3), likelihood="gaussian", dtype="float64"), some(7, 5)
    params = net.init(np.random.default_rng(0))
    m, s = net.encode(params, x)
    eps = np.random.default_rng(1).standard_normal(m.shape)
    apart = net.decode(params, m + np.exp(s) * eps) - x
    found = net.elbo(params, x, np.random.default_rng(1))
    np.testing.assert_allclose(found.distortion, np.sum(apart**2, axis=1) / 2, rtol=1e-10)


@pytest.mark.parametrize("likelihood", ["bernoulli", "gaussian"])
def test_the_distortion_has_its_gradient_by_the_code(likelihood):
    net, x = VAE((5, 4, 3), likelihood=likelihood, dtype="float64"), some(6, 5)
    params = net.init(np.random.default_rng(4))
    z = np.random.default_rng(5).standard_normal((6, 3))
    dz = net.distortion(params, x, z)[1]
    for c in range(3):
        step = 1e-5 * np.eye(3)[c]
        up, down = (net.distortion(params, x, z + t * step)[0] for t in (1, -1))
        np.testing.assert_allclose(dz[:, c], (up - down) / 2e-5, rtol=1e-6, atol=1e-8)
    m, s = net.encode(params, x)
    eps = np.random.default_rng(1).standard_normal(m.shape)
    bound = net.elbo(params, x, np.random.default_rng(1))
    again = net.distortion(params, x, m + np.exp(s) * eps)[0]
    np.testing.assert_allclose(again, bound.distortion, rtol=1e-10)
    with pytest.raises(ValueError, match="z has shape"):
        net.distortion(params, x, z[:4])


def test_samples_are_decoded_normal_numbers():
    net = VAE((64, 16, 2))
    params = net.init(np.random.default_rng(0))
    z = np.random.default_rng(7).standard_normal((5, 2)).astype(np.float32)
    found = net.sample(params, 5, np.random.default_rng(7))
    np.testing.assert_array_equal(found, net.decode(params, z))
    assert found.shape == (5, 64)
    assert 0 <= found.min() <= found.max() <= 1


def test_the_plain_one_has_the_means_and_nothing_else():
    net, x = VAE((6, 5, 4, 2)), some(3, 6)
    params = net.init(np.random.default_rng(0))
    bare, start = net.plain(params)
    np.testing.assert_allclose(bare.encode(start, x), net.encode(params, x)[0], rtol=1e-6)
    np.testing.assert_allclose(
        bare.predict(start, None, x), net.predict(params, None, x), rtol=1e-6
    )
    assert not np.shares_memory(start.flat, params.flat)


def test_training_lowers_the_cost_and_a_large_beta_costs_the_code():
    rates = []
    for beta in (0.5, 8.0):
        net = VAE((64, 32, 4), beta=beta)
        start = net.init(np.random.default_rng(0))
        held = net.check(start, (DIGITS.x_val,))
        given = start, (DIGITS.x_train[:300],), Adam(0.01), np.random.default_rng(0)
        run = fit(net, *given, epochs=5, batch=32)
        assert net.loss(run.params, None, held) < net.loss(start, None, held)
        rates.append(net.elbo(run.params, DIGITS.x_val, np.random.default_rng(0)).rate.mean())
    assert rates[1] < 0.5 * rates[0]


def test_training_that_diverges_leaves_the_last_good_weights():
    net = VAE((64, 16, 2), likelihood="gaussian")
    start, rng = net.init(np.random.default_rng(0)), np.random.default_rng(0)
    with np.errstate(all="ignore"), pytest.raises(Diverged, match=r"not finite|loss is|NaN") as e:
        fit(net, start, (DIGITS.x_train,), SGD(1e4), rng, epochs=3, batch=64)
    assert np.isfinite(e.value.params.flat).all()


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"encoder": (64, 8, 0)}, r"encoder\[2\] is 0"),
        ({"encoder": (64,)}, "at least two sizes"),
        ({"decoder": (3, 64)}, "expected sizes from 2"),
        ({"beta": -0.1}, "beta is -0.1"),
        ({"beta": np.nan}, "beta is nan"),
        ({"activation": "gelu"}, "activation"),
        ({"likelihood": "poisson"}, "likelihood"),
        ({"dtype": "float16"}, "dtype"),
    ],
)
def test_settings_are_refused(settings, words):
    with pytest.raises((TypeError, ValueError), match=words):
        VAE(**({"encoder": (64, 8, 2)} | settings))


def test_data_and_arguments_are_refused():
    net = VAE((6, 4, 2))
    params, rng = net.init(np.random.default_rng(0)), np.random.default_rng(0)
    for x, words in (
        (np.zeros((2, 5)), "x has shape"),
        (np.full((2, 6), np.nan), "x"),
        (np.full((2, 6), 1.5), "bernoulli"),
    ):
        with pytest.raises(ValueError, match=words):
            net.elbo(params, x, rng)
    with pytest.raises(ValueError, match="draws"):
        net.elbo(params, np.zeros((2, 6)), rng, 0)
    with pytest.raises(ValueError, match="n is 0"):
        net.sample(params, 0, rng)
    with pytest.raises(ValueError, match="h has shape"):
        net.decode(params, np.zeros((2, 4)))
    with pytest.raises(ValueError, match="2C numbers, and gets 3"):
        Sequential(Dense(3), Activation(), Latent()).shape((6,))
