"""Signals through depth, initial weights, norms, dropout, and the network that is made of them."""

import itertools

import numpy as np
import pytest
from compiled import compiled_only, same_bits

from dlbook import training
from dlbook.fast import norms
from dlbook.fast.activations import ACTIVATIONS, rectify
from dlbook.fast.dropout import dropout_into
from dlbook.fast.losses import softmax_cross_entropy_into
from dlbook.linear_classification import sigmoid, softmax_cross_entropy
from dlbook.nets import MLP, Diverged, fit, mlp
from dlbook.neurons import affine, gelu_tanh, leaky_relu, relu, silu, tanh
from dlbook.optimization import SGD
from dlbook.tools.flat import like
from dlbook.verification import central_differences, complex_step, relative_error


def some_batch(rng, shape=(6, 3)):
    return 2 + 3 * rng.normal(size=shape), rng.normal(size=shape[1]), rng.normal(size=shape[1])


def some_way_back(rng, shape=(6, 3)):
    x, gamma, _ = some_batch(rng, shape)
    return rng.normal(size=shape), x, gamma, 1e-3


KERNELS = [
    (training.vanishing_bound, lambda rng: (rng.uniform(0.5, 3, 5), 0.25, 0.7)),
    (training.weighted_input_variance, lambda rng: (0.04, rng.normal(size=7))),
    (training.xavier_variance, lambda rng: (300, 100)),
    (training.he_variance, lambda rng: (100, 0.1)),
    (training.moments, lambda rng: some_batch(rng)[:1]),
    (training.normalize, lambda rng: (*some_batch(rng)[:2], np.ones(3), 1e-3)),
    (training.scale_shift, some_batch),
    (training.batchnorm, lambda rng: (*some_batch(rng), 1e-3)),
    (training.batchnorm_backward, some_way_back),
    (
        training.running_statistics,
        lambda rng: (*rng.uniform(1, 2, size=(4, 3)), 5, 0.1),
    ),
    (training.layernorm, lambda rng: (*some_batch(rng), 1e-3)),
    (training.layernorm_backward, some_way_back),
    (training.dropout, lambda rng: (rng.normal(size=(4, 3)), rng.random((4, 3)), 0.25)),
    (training.dropout_backward, lambda rng: (rng.normal(size=(4, 3)), rng.random((4, 3)), 0.25)),
    (
        training.leaky_relu_gradient,
        lambda rng: (rng.normal(size=(4, 3)), rng.normal(size=(4, 3)), 0.1),
    ),
]


# Norms


NORMS = {
    "batch": (training.batchnorm, training.batchnorm_backward, 0),
    "layer": (training.layernorm, training.layernorm_backward, 1),
}
SHAPES = [(2, 1), (2, 5), (3, 8), (17, 33), (64, 4), (5, 100)]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("norm", NORMS)
def test_norm_against_numpy(norm, shape, rng):
    forward, _, axis = NORMS[norm]
    x, gamma, beta = some_batch(rng, shape)
    mean, variance = x.mean(axis, keepdims=True), x.var(axis, keepdims=True)
    expected = gamma * (x - mean) / np.sqrt(variance + 1e-3) + beta
    assert relative_error(forward(x, gamma, beta, 1e-3), expected) < 1e-13


@pytest.mark.parametrize("shape", [(4, 3), (5, 4)])  # of two, the gradient is nearly zero
@pytest.mark.parametrize("norm", NORMS)
def test_norm_gradient(norm, shape, rng):
    forward, backward, _ = NORMS[norm]
    dy, x, gamma, eps = some_way_back(rng, shape)
    given = [x, gamma, rng.normal(size=shape[1])]
    for k, found in enumerate(backward(dy, x, gamma, eps)):

        def cost(v, k=k):
            parts = [np.asarray(p, v.dtype) for p in given]
            parts[k] = v
            return np.sum(dy * forward(*parts, eps))

        assert relative_error(found, complex_step(cost, given[k])) < 1e-12
        assert relative_error(found, central_differences(cost, given[k])) < 1e-7


def wrong_way_back(dy, x, gamma, eps):
    """Mistakes that one meets in the derivative by the inputs."""
    N = len(x)
    mean, variance = x.mean(0), x.var(0)
    root = np.sqrt(variance + eps)
    normed = (x - mean) / root
    share, along = dy.mean(0), (dy * normed).mean(0)
    return {
        "statistics as constants": gamma / root * dy,
        "the mean only": gamma / root * (dy - share),
        "the variance only": gamma / root * (dy - normed * along),
        "sum for mean": gamma / root * (dy - dy.sum(0) - normed * (dy * normed).sum(0)),
        "N − 1 for N": gamma / root * (dy - (dy.sum(0) + normed * (dy * normed).sum(0)) / (N - 1)),
        "without scale": (dy - share - normed * along) / root,
        "sign of the second": gamma / root * (dy - share + normed * along),
        "ε outside": gamma / (np.sqrt(variance) + eps) * (dy - share - normed * along),
    }


@pytest.mark.parametrize("why", wrong_way_back(*some_way_back(np.random.default_rng(0))))
def test_wrong_gradients_are_rejected(why, rng):
    given = some_way_back(rng)
    right = training.batchnorm_backward(*given)[0]
    assert relative_error(wrong_way_back(*given)[why], right) > 1e-5


def fused(norm, dy, x, gamma, beta, eps):
    """Return what the fast forms of a norm give, forward and backward, in place."""
    J = x.shape[1] if norm == "batch" else len(x)
    mean, root, y = np.empty(J, x.dtype), np.empty(J, x.dtype), np.empty_like(x)
    back = norms.fused_batchnorm_backward, norms.fused_layernorm_backward
    forth = norms.fused_batchnorm, norms.fused_layernorm
    dx, dgamma, dbeta = dy.copy(), np.empty_like(gamma), np.empty_like(gamma)
    which = norm == "layer"
    forth[which](x, gamma, beta, eps, mean, root, y)
    back[which](dx, x, gamma, mean, root, dx, dgamma, dbeta)
    return y, dx, dgamma, dbeta


@pytest.mark.parametrize(("dtype", "rtol"), [(np.float64, 1e-12), (np.float32, 2e-5)])
@pytest.mark.parametrize("shape", [*SHAPES, (1, 7)])
@pytest.mark.parametrize("norm", NORMS)
def test_fused_norm_equals_literal(norm, shape, dtype, rtol, rng):
    forward, backward, _ = NORMS[norm]
    x, gamma, beta = (part.astype(dtype) for part in some_batch(rng, shape))
    dy = rng.normal(size=shape).astype(dtype)
    double = [part.astype(float) for part in (dy, x, gamma, beta)]
    expected = (
        forward(*double[1:], 0.1),
        *backward(*double[:3], 0.1),
    )
    for found, wanted in zip(fused(norm, dy, x, gamma, beta, 0.1), expected, strict=True):
        assert found.dtype == dtype
        assert relative_error(found, wanted, scale=max(1, np.abs(wanted).max())) < rtol


@pytest.mark.parametrize("norm", NORMS)
def test_norm_far_from_zero(norm, rng):
    """A mean ten thousand times the spread costs digits, not the result: two passes, no squares."""
    x = (1e4 + rng.normal(size=(64, 64))).astype(np.float32)
    gamma, beta = np.ones(64, np.float32), np.zeros(64, np.float32)
    y, *_ = fused(norm, x, x, gamma, beta, 1e-5)
    expected = NORMS[norm][0](x.astype(float), np.ones(64), np.zeros(64), 1e-5)
    assert relative_error(y, expected) < 5e-3


@pytest.mark.parametrize("norm", NORMS)
def test_constant_features_become_the_shift(norm):
    x, beta = np.full((4, 3), 7.0), np.array([1.0, 2.0, 3.0])
    np.testing.assert_array_equal(
        NORMS[norm][0](x, np.ones(3), beta, 1e-5), np.broadcast_to(beta, (4, 3))
    )


@pytest.mark.parametrize("norm", NORMS)
def test_norm_lets_nan_through(norm, rng):
    """One NaN spoils its column, or its row, and nothing else."""
    x, gamma, beta = some_batch(rng)
    x[2, 1] = np.nan
    y = fused(norm, x, x, gamma, beta, 1e-3)[0]
    expected = np.zeros((6, 3), bool)
    expected[(slice(None), 1) if norm == "batch" else (2, slice(None))] = True
    np.testing.assert_array_equal(np.isnan(y), expected)
    np.testing.assert_array_equal(np.isnan(NORMS[norm][0](x, gamma, beta, 1e-3)), expected)


def test_batch_gradient_is_orthogonal_to_shift_and_stretch(rng):
    dy, x, gamma, _ = some_way_back(rng)
    dx = training.batchnorm_backward(dy, x, gamma, 0.0)[0]
    normed = (x - x.mean(0)) / x.std(0)
    assert np.abs(dx.sum(0)).max() < 1e-14 * np.abs(dx).sum()
    assert np.abs((dx * normed).sum(0)).max() < 1e-14 * np.abs(dx).sum()


def test_running_statistics_by_hand():
    x = np.array([[1.0], [1.0], [3.0], [3.0]])
    mean, variance = training.running_statistics(
        np.zeros(1), np.ones(1), *training.moments(x), 4, 0.25
    )
    assert mean[0] == 0.5
    assert variance[0] == pytest.approx(0.75 + 0.25 * 4 / 3, rel=1e-15)


def test_following_equals_the_equation(rng):
    x = rng.normal(3, 2, size=(9, 4))
    mean, variance = rng.normal(size=4), rng.uniform(1, 2, size=4)
    expected = training.running_statistics(mean, variance, *training.moments(x), 9, 0.3)
    batch_mean, root, y = np.empty(4), np.empty(4), np.empty_like(x)
    norms.fused_batchnorm(x, np.ones(4), np.zeros(4), 0.5, batch_mean, root, y)
    norms.update_running(mean, variance, batch_mean, root, 0.5, 9, 0.3)
    assert relative_error(mean, expected[0]) < 1e-14
    assert relative_error(variance, expected[1]) < 1e-13


# Dropout and rectifiers


def test_dropout_keeps_at_the_threshold():
    """u ≥ p keeps: p = 0 keeps all, as u is never 1 and may be 0."""
    a, u = np.ones((1, 3)), np.array([[0.0, 0.5, 0.999]])
    np.testing.assert_array_equal(training.dropout(a, u, 0.0), [[1, 1, 1]])
    np.testing.assert_array_equal(training.dropout(a, u, 0.5), [[0, 2, 2]])


@pytest.mark.parametrize("p", [0.0, 0.2, 0.9])
def test_fused_dropout_equals_literal(p, rng):
    a, u = rng.normal(size=(7, 5)), rng.random((7, 5), dtype=np.float32)
    y = np.empty_like(a)
    dropout_into(a, u, p, y)
    assert relative_error(y, training.dropout(a, u, p)) < 1e-15
    dropout_into(a, u, p, a)
    np.testing.assert_array_equal(a, y)


@pytest.mark.parametrize("slope", [0.0, 0.01, 0.3])
def test_rectify_equals_the_activations(slope, rng):
    z = np.concatenate((rng.normal(size=30), [0.0, np.inf, np.nan])).reshape(3, 11)
    y = z.copy()
    rectify(y, slope)
    np.testing.assert_array_equal(y, leaky_relu(z, slope) if slope else relu(z))
    least = np.array([[-np.inf]])
    rectify(least, slope)
    assert least[0, 0] == (-np.inf if slope else 0)


@pytest.mark.parametrize("kind", ACTIVATIONS)
@pytest.mark.parametrize("slope", [0.01, 0.3])
def test_an_activation_and_its_way_back(kind, slope, rng):
    """The function is that of the chapter on neurons, the way back the slope times the gradient."""
    literal = {
        "relu": relu,
        "leaky-relu": lambda z: leaky_relu(z, slope),
        "sigmoid": sigmoid,
        "tanh": tanh,
        "gelu": gelu_tanh,
        "silu": silu,
    }[kind]
    pair, (z, da) = ACTIVATIONS[kind], rng.normal(size=(2, 4, 5))
    a, found = z.copy(), da.copy()
    pair.forward(a, slope)
    assert relative_error(a, literal(z)) < 1e-12
    pair.backward(found, a if pair.keeps == "output" else z, slope)
    expected = central_differences(lambda v: np.sum(da * literal(v)), z)
    assert relative_error(found, expected) < 1e-8


# The output layer


def test_softmax_cross_entropy_equals_literal(rng):
    z, y = 3 * rng.normal(size=(6, 4)), rng.integers(4, size=6)
    found, delta = 0.0, z.copy()
    found = softmax_cross_entropy_into(delta, y)
    assert found == pytest.approx(softmax_cross_entropy(z, y), rel=1e-13)
    expected = complex_step(lambda v: softmax_cross_entropy(v, y), z)
    assert relative_error(delta, expected) < 1e-13


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_huge_scores(dtype):
    z = np.array([[1e4, 0.0], [0.0, -1e4], [1e30, -1e30]], dtype)
    loss = softmax_cross_entropy_into(z, np.array([0, 0, 1]))
    assert loss == pytest.approx(2e30 / 3, rel=1e-6)
    np.testing.assert_allclose(z, [[0, 0], [0, 0], [1 / 3, -1 / 3]], rtol=1e-6, atol=0)


@pytest.mark.parametrize("where", [0, 1, 2])
def test_a_score_that_is_nan(where):
    z = np.zeros((2, 3))
    z[1, where] = np.nan
    assert np.isnan(softmax_cross_entropy_into(z, np.array([0, 1])))
    assert np.isnan(z[1]).all() and not np.isnan(z[0]).any()


# Initial weights


@pytest.mark.parametrize("uniform", [False, True])
@pytest.mark.parametrize(
    ("draw", "shape", "variance"),
    [
        (training.xavier, (200, 300), 2 / 500),
        (training.xavier, (20, 30, 5, 3), 2 / (15 * 50)),
        (training.he, (200, 300), 2 / 300),
        (training.he, (30, 20, 5, 3), 2 / 300),
        (lambda *a, **k: training.he(*a, slope=0.5, **k), (200, 300), 2 / 1.25 / 300),
        (lambda *a, **k: training.he(*a, fan="out", **k), (200, 300), 2 / 200),
    ],
)
def test_moments_of_initial_weights(draw, shape, variance, uniform, rng):
    w = draw(shape, rng, uniform=uniform)
    assert w.shape == shape
    se = variance * np.sqrt((0.8 if uniform else 2) / w.size)  # of the mean of the squares
    assert abs(np.mean(w**2) - variance) < 4.5 * se
    assert abs(np.mean(w)) < 4.5 * np.sqrt(variance / w.size)
    largest = np.abs(w).max() / np.sqrt(3 * variance)
    assert (largest <= 1) == uniform
    assert largest > 0.99


def test_same_seed_same_weights():
    a, b = (training.he((4, 3), np.random.default_rng(7)) for _ in range(2))
    np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: training.xavier((3,), np.random.default_rng()), "shape"),
        (lambda: training.xavier((3, 0), np.random.default_rng()), r"shape\[1\]"),
        (lambda: training.xavier(3, np.random.default_rng()), "shape"),
        (lambda: training.xavier((3, 2), 7), "rng"),
        (lambda: training.he((3, 2), np.random.default_rng(), slope=-1), "slope"),
        (lambda: training.he((3, 2), np.random.default_rng(), fan="both"), "fan"),
        (lambda: training.he((3, 2), np.random.default_rng(), dtype=np.int64), "dtype"),
    ],
)
def test_initial_weights_refuse(call, words):
    with pytest.raises((TypeError, ValueError), match=words):
        call()


# The network


KINDS = list(itertools.product(mlp.KINDS, (None, "batch", "layer"), (0.0, 0.3)))


def small(bend, norm, p, sizes=(5, 9, 6, 4), **more):
    net = MLP(sizes, activation=bend, norm=norm, dropout=p, dtype="float64", **more)
    params = net.init(np.random.default_rng(1))
    params.flat[:] += 0.1 * np.random.default_rng(2).standard_normal(params.flat.size)
    rng = np.random.default_rng(3)
    return net, params, (rng.normal(size=(7, 5)), rng.integers(4, size=7))


@pytest.mark.parametrize(("bend", "norm", "p"), KINDS)
def test_gradient_against_differences(bend, norm, p):
    """All parameters at once, the mask held fixed, in a workspace larger than the batch."""
    net, params, batch = small(bend, norm, p)
    work = net.workspace(10)

    def cost(flat):
        given, grads = like(params, flat), like(params)
        rng = np.random.default_rng(5)
        return net.loss_and_grad(given, net.start(), batch, grads, work, rng), grads

    expected = central_differences(lambda flat: cost(flat)[0], params.flat)
    assert relative_error(cost(params.flat)[1].flat, expected) < 1e-7


BENDS = {
    "relu": relu,
    "leaky-relu": lambda z: leaky_relu(z, 0.01),
    "sigmoid": sigmoid,
    "tanh": tanh,
}
LITERAL = {"batch": training.batchnorm, "layer": training.layernorm}


@pytest.mark.parametrize(("bend", "norm", "p"), KINDS)
def test_training_is_its_literal_kernels(bend, norm, p):
    net, params, (x, y) = small(bend, norm, p)
    rng, a = np.random.default_rng(5), x
    for layer in (2, 3):
        z = affine(a, params.w[layer], params.b[layer])
        if norm:
            z = LITERAL[norm](z, params.gamma[layer], params.beta[layer], net.eps)
        a = BENDS[bend](z)
        if p:
            a = training.dropout(a, rng.random(a.shape, dtype=np.float32), p)
    expected = softmax_cross_entropy(affine(a, params.w[4], params.b[4]), y)
    found = net.loss_and_grad(
        params, net.start(), (x, y), like(params), net.workspace(7), np.random.default_rng(5)
    )
    assert found == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(("bend", "norm", "p"), KINDS)
def test_inference_is_its_literal_kernels(bend, norm, p):
    net, params, (x, y) = small(bend, norm, p)
    state = net.start()
    if state:
        state.flat[:] = np.random.default_rng(4).uniform(0.5, 2, state.flat.size)
    a = x
    for layer in (2, 3):
        z = affine(a, params.w[layer], params.b[layer])
        if norm == "batch":
            z = training.normalize(z, state.mean[layer], state.variance[layer], net.eps)
            z = training.scale_shift(z, params.gamma[layer], params.beta[layer])
        elif norm:
            z = training.layernorm(z, params.gamma[layer], params.beta[layer], net.eps)
        a = BENDS[bend](z)
    scores = affine(a, params.w[4], params.b[4])
    assert relative_error(net.scores(params, state, x)[-1], scores) < 1e-12
    np.testing.assert_array_equal(net.predict(params, state, x), np.argmax(scores, axis=1))
    assert net.loss(params, state, (x, y)) == pytest.approx(
        softmax_cross_entropy(scores, y), rel=1e-12
    )


@pytest.mark.parametrize("norm", ["batch", "layer"])
def test_epsilon_is_as_exact_as_the_rest(norm, rng):
    """Where the variance is zero, nothing else stands under the root."""
    net = MLP((2, 3, 2), activation="tanh", norm=norm, dtype="float64")
    params, state, x = net.init(rng), net.start(), rng.normal(size=(4, 2))
    params.gamma[2][:] = 1e-3
    if norm == "layer":
        params.w[2][:], params.b[2][:] = 0, [1e-4, 0, 0]
        z = training.layernorm(
            np.tile(params.b[2], (4, 1)), params.gamma[2], params.beta[2], net.eps
        )
    else:
        state.variance[2][:] = 0
        z = 1e-3 * affine(x, params.w[2], params.b[2]) / np.sqrt(net.eps)
    assert relative_error(net.scores(params, state, x)[2], np.tanh(z)) < 1e-13


@pytest.mark.parametrize(("bend", "norm", "p"), KINDS)
def test_single_precision(bend, norm, p):
    net, params, (x, y) = small(bend, norm, p)
    half = MLP(net.sizes, activation=bend, norm=norm, dropout=p)
    single = half.init(np.random.default_rng(1))
    single.flat[:] = params.flat
    results = []
    for model, given in ((net, params), (half, single)):
        grads = like(given)
        batch = model.check(given, (x, y))
        loss = model.loss_and_grad(
            given, model.start(), batch, grads, model.workspace(7), np.random.default_rng(5)
        )
        results.append((loss, grads.flat))
    assert results[1][1].dtype == np.float32
    assert results[1][0] == pytest.approx(results[0][0], rel=1e-5)
    assert relative_error(results[1][1], results[0][1]) < 1e-4


def test_linear_model_without_hidden_layers(rng):
    net = MLP((3, 4), initial="xavier", dtype="float64")
    params, grads = net.init(rng), like(net.init(rng))
    x, y = rng.normal(size=(5, 3)), rng.integers(4, size=5)
    loss = net.loss_and_grad(params, None, (x, y), grads, net.workspace(5), None)

    def cost(w):
        return softmax_cross_entropy(affine(x.astype(w.dtype), w, params.b[2].astype(w.dtype)), y)

    assert loss == pytest.approx(cost(params.w[2]), rel=1e-14)
    assert relative_error(grads.w[2], complex_step(cost, params.w[2])) < 1e-12


def test_workspaces_do_not_leak_between_steps(rng):
    """A small batch after a large one gives what it gives in a fresh workspace."""
    net, params, (x, y) = small("relu", "layer", 0.3)
    work, results = net.workspace(7), []
    for place in (work, net.workspace(3)):
        if place is work:
            net.loss_and_grad(params, None, (x, y), like(params), work, rng)
        grads = like(params)
        few = x[:3], y[:3]
        net.loss_and_grad(params, None, few, grads, place, np.random.default_rng(5))
        results.append(grads.flat)
    np.testing.assert_array_equal(*results)


def test_a_bias_before_batch_norm_has_no_gradient():
    net, params, batch = small("relu", "batch", 0.0)
    grads = like(params)
    net.loss_and_grad(params, net.start(), batch, grads, net.workspace(7), None)
    assert max(np.abs(grads.b[layer]).max() for layer in (2, 3)) < 1e-15
    assert np.abs(grads.b[4]).max() > 1e-3


def test_a_batch_of_one_has_no_variance():
    net, params, (x, y) = small("relu", "batch", 0.0)
    state = net.start()
    with pytest.raises(ValueError, match="needs two"):
        net.loss_and_grad(params, state, (x[:1], y[:1]), like(params), net.workspace(1), None)
    np.testing.assert_array_equal(state.flat, net.start().flat)
    out = fit(
        net, params, (x, y), SGD(0.1), np.random.default_rng(1), epochs=2, batch=3, progress=False
    )
    assert out.steps == 4  # of three examples; the seventh waits for another epoch


def test_running_statistics_move_in_training_only():
    net, params, (x, y) = small("relu", "batch", 0.0)
    state = net.start()
    net.loss(params, state, (x, y))
    net.predict(params, state, x)
    np.testing.assert_array_equal(state.flat, net.start().flat)
    net.loss_and_grad(params, state, (x, y), like(params), net.workspace(7), None)
    z = affine(x, params.w[2], params.b[2])
    assert relative_error(state.mean[2], 0.1 * z.mean(0)) < 1e-13
    assert relative_error(state.variance[2], 0.9 + 0.1 * z.var(0, ddof=1)) < 1e-13


@compiled_only
def test_same_bits_for_any_number_of_threads(rng):
    net = MLP((300, 400, 300, 10), norm="batch", dropout=0.2)
    params, work = net.init(rng), net.workspace(256)
    batch = net.check(params, (rng.normal(size=(256, 300)), rng.integers(10, size=256)))

    def step():
        grads, draw = like(params), np.random.default_rng(5)
        return net.loss_and_grad(params, net.start(), batch, grads, work, draw), grads.flat

    assert same_bits(step)


def test_a_run_that_diverges_names_the_first_layer_that_overflows():
    """The weights of layer 3 are too large; a NaN in the loss is one in the gradient of all."""
    net = MLP((5, 6, 6, 6, 3), activation="leaky-relu")
    params = net.init(np.random.default_rng(1))
    params.w[3][:], params.b[2][:] = 3e38, 5
    rng = np.random.default_rng(2)
    with pytest.raises(Diverged, match=r"what the layer of w\[3\] gives") as caught:
        fit(net, params, (rng.normal(size=(8, 5)), [0, 1] * 4), SGD(0.1), rng, epochs=1, batch=4)
    assert (caught.value.layer, caught.value.step) == ("w[3]", 1)
    np.testing.assert_array_equal(caught.value.params.flat, params.flat)


@pytest.mark.parametrize("initial", mlp.RULES)
def test_initial_rules(initial):
    net = MLP((300, 200, 10), initial=initial)
    params = net.init(np.random.default_rng(1))
    variance = {"he": 2 / 300, "xavier": 2 / 500, "small": 1e-4, "zero": 0}[initial]
    assert np.mean(params.w[2] ** 2) == pytest.approx(variance, rel=0.05)
    assert not any(b.any() for b in params.b[2:])


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"sizes": (3,)}, "sizes"),
        ({"sizes": 3}, "sizes"),
        ({"sizes": (3, 0)}, r"sizes\[1\]"),
        ({"activation": "swish"}, "activation"),
        ({"initial": "one"}, "initial"),
        ({"norm": "group"}, "norm"),
        ({"norm": 1}, "norm"),
        ({"dropout": 1.0}, "dropout"),
        ({"dropout": -0.1}, "dropout"),
        ({"slope": -1.0}, "slope"),
        ({"eps": 0.0}, "eps"),
        ({"rate": 0.0}, "rate"),
        ({"rate": 1.5}, "rate"),
        ({"dtype": "float16"}, "dtype"),
    ],
)
def test_network_refuses(more, words):
    with pytest.raises((TypeError, ValueError), match=words):
        MLP(**({"sizes": (3, 2)} | more))


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (7, "data"),
        ((np.zeros((2, 5)),), "data"),
        ((np.zeros((2, 4)), [0, 1]), "x"),
        ((np.zeros((2, 5)), [0]), "y"),
        ((np.zeros((2, 5)), [0, 4]), "y"),
        ((np.full((2, 5), np.nan), [0, 1]), "x"),
        ((np.zeros((0, 5)), np.zeros(0, int)), "x"),
        ((np.zeros((2, 5)), [0.5, 1]), "y"),
    ],
)
def test_data_is_checked(data, words):
    net, params, _ = small("relu", None, 0.0)
    with pytest.raises((TypeError, ValueError), match=words):
        net.check(params, data)
