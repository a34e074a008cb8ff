"""Neurons, activation functions, layers, logic and one-hidden-layer approximation."""

import itertools
import math

import numpy as np
import pytest
from scipy import special, stats

from dlbook import neurons
from dlbook.linear_classification import sigmoid, sigmoid_prime
from dlbook.verification import central_differences, complex_step, relative_error

CORNERS = np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])


def some_z(rng):
    return (rng.normal(scale=2, size=(4, 5)),)


def some_neuron(rng):
    return rng.normal(size=(5, 3)), rng.normal(size=3), 0.3


KERNELS = [
    *(
        (getattr(neurons, name), some_z)
        for name in [
            "step",
            "identity",
            "identity_prime",
            "tanh",
            "tanh_prime",
            "tanh_from_sigmoid",
            "relu",
            "relu_prime",
            "leaky_relu",
            "leaky_relu_prime",
            "gelu",
            "gelu_prime",
            "gelu_tanh",
            "gelu_tanh_prime",
            "silu",
            "silu_prime",
            "sigmoid_slope",
        ]
    ),
    (neurons.leaky_relu, lambda rng: (*some_z(rng), 0.2)),
    (neurons.leaky_relu_prime, lambda rng: (*some_z(rng), 0.2)),
    *(
        (kernel, some_neuron)
        for kernel in (
            neurons.weighted_sum,
            neurons.perceptron,
            neurons.sigmoid_neuron,
            neurons.sigmoid_neuron_slopes,
        )
    ),
    (neurons.nand, lambda rng: (rng.integers(2, size=(7, 2)).astype(float),)),
    (neurons.small_change, lambda rng: (*some_neuron(rng), 1e-2 * rng.normal(size=3), 0.02)),
    (
        neurons.affine,
        lambda rng: (rng.normal(size=(5, 3)), rng.normal(size=(4, 3)), rng.normal(size=4)),
    ),
    (
        neurons.collapse,
        lambda rng: tuple(rng.normal(size=shape) for shape in ((4, 3), 4, (2, 4), 2)),
    ),
    (neurons.remainder_bound, lambda rng: (rng.normal(size=(5, 3)), rng.normal(size=3), 0.2)),
    (neurons.bumps, lambda rng: (rng.normal(size=6), 8.0)),
    (neurons.bump_bound, lambda rng: (2.0, 5, 30.0)),
    (neurons.joints, lambda rng: tuple(rng.normal(size=(3, 6)))),
]

Z = np.concatenate((np.linspace(-6.03, 6.01, 301), [-1e-3, 1e-3]))
REFERENCE = {
    "identity": (lambda z: z, lambda z: np.ones_like(z)),
    "sigmoid": (special.expit, lambda z: special.expit(z) * special.expit(-z)),
    "tanh": (np.tanh, lambda z: 1 / np.cosh(z) ** 2),
    "relu": (lambda z: np.maximum(z, 0), lambda z: np.heaviside(z, 0)),
    "leaky_relu": (
        lambda z: np.maximum(z, 0.01 * z),
        lambda z: 0.01 + 0.99 * np.heaviside(z, 0),
    ),
    "gelu": (lambda z: z * stats.norm.cdf(z), lambda z: stats.norm.cdf(z) + z * stats.norm.pdf(z)),
    "silu": (
        lambda z: z * special.expit(z),
        lambda z: special.expit(z) * (1 + z * special.expit(-z)),
    ),
    "gelu_tanh": (
        lambda z: z * special.expit(2 * np.sqrt(2 / np.pi) * (z + 0.044715 * z**3)),
        None,
    ),
}
PAIRS = {**neurons.ACTIVATIONS, "gelu_tanh": (neurons.gelu_tanh, neurons.gelu_tanh_prime)}
ANALYTIC = ("identity", "sigmoid", "tanh", "gelu_tanh", "silu")


@pytest.mark.parametrize("name", PAIRS)
def test_activations_against_scipy(name):
    for kernel, reference in zip(PAIRS[name], REFERENCE[name], strict=True):
        if reference:
            assert relative_error(kernel(Z), reference(Z)) < 1e-14


@pytest.mark.parametrize("name", PAIRS)
def test_slopes_against_differences(name):
    """A straight stretch on either side of the kink: no difference straddles zero."""
    g, g_prime = PAIRS[name]
    slopes = (g(Z + 1e-5) - g(Z - 1e-5)) / 2e-5
    assert relative_error(g_prime(Z), slopes) < 1e-9


@pytest.mark.parametrize("name", [*ANALYTIC, "relu", "leaky_relu"])
def test_slopes_against_complex_step(name):
    g, g_prime = PAIRS[name]
    assert relative_error(g_prime(Z), g(Z + 1e-30j).imag / 1e-30) < 1e-14


def wrong_slopes():
    """Mistakes that one meets, each beside the pair it is made from."""
    g = PAIRS
    phi = stats.norm.pdf
    return [
        ("sigmoid", "at a", lambda z: sigmoid_prime(sigmoid(z))),
        ("sigmoid", "a (1 + a)", lambda z: sigmoid(z) * (1 + sigmoid(z))),
        ("sigmoid", "sign", lambda z: -sigmoid_prime(z)),
        ("sigmoid", "0.1 %", lambda z: 1.001 * sigmoid_prime(z)),
        ("tanh", "at a", lambda z: neurons.tanh_prime(np.tanh(z))),
        ("tanh", "1 − a", lambda z: 1 - np.tanh(z)),
        ("tanh", "1 + a²", lambda z: 1 + np.tanh(z) ** 2),
        ("tanh", "that of the sigmoid", sigmoid_prime),
        ("relu", "its own value", lambda z: np.maximum(z, 0)),
        ("relu", "one everywhere", np.ones_like),
        ("leaky_relu", "that of relu", neurons.relu_prime),
        ("leaky_relu", "slope on the wrong side", lambda z: neurons.leaky_relu_prime(-z)),
        ("gelu", "first term only", special.ndtr),
        ("gelu", "density without z", lambda z: special.ndtr(z) + phi(z)),
        ("gelu", "factor √2π missing", lambda z: special.ndtr(z) + z * np.exp(-z * z / 2)),
        ("gelu", "that of the tanh form", g["gelu_tanh"][1]),
        ("gelu_tanh", "that of the exact form", g["gelu"][1]),
        ("silu", "first term only", special.expit),
        ("silu", "that of gelu", g["gelu"][1]),
        ("gelu_tanh", "inner slope without 3", lambda z: _without_three(z)),
    ]


def _without_three(z):
    t = np.tanh(np.sqrt(2 / np.pi) * (z + 0.044715 * z**3))
    return (1 + t) / 2 + z * (1 - t * t) * np.sqrt(2 / np.pi) * (1 + 0.044715 * z * z) / 2


@pytest.mark.parametrize(("name", "why", "wrong"), wrong_slopes())
def test_wrong_slopes_are_rejected(name, why, wrong):
    g = PAIRS[name][0]
    slopes = (g(Z + 1e-5) - g(Z - 1e-5)) / 2e-5
    assert relative_error(wrong(Z), slopes) > 1e-4, why


def test_conventions_at_zero():
    zero = np.array([0.0, -0.0])
    np.testing.assert_array_equal(neurons.step(zero), 0)
    np.testing.assert_array_equal(neurons.relu(zero), 0)
    np.testing.assert_array_equal(neurons.relu_prime(zero), 0)
    np.testing.assert_array_equal(neurons.leaky_relu_prime(zero, 0.3), 0.3)
    np.testing.assert_array_equal(neurons.gelu_prime(zero), 0.5)


@pytest.mark.parametrize("name", [*PAIRS, "step"])
def test_nan_goes_through(name):
    """One NaN in, one NaN out, at its place; a constant slope is the one exception."""
    z = np.array([[1.0, np.nan, -2.0]])
    for kernel in PAIRS.get(name, (neurons.step,)):
        expected = np.zeros_like(z, dtype=bool) if name == "identity" else np.isnan(z)
        if kernel is neurons.identity:
            expected = np.isnan(z)
        np.testing.assert_array_equal(np.isnan(kernel(z)), expected)


@pytest.mark.parametrize(
    ("name", "left", "right", "slope_left", "slope_right"),
    [
        ("sigmoid", 0, 1, 0, 0),
        ("tanh", -1, 1, 0, 0),
        ("relu", 0, 1e4, 0, 1),
        ("leaky_relu", -1e2, 1e4, 0.01, 1),
        ("gelu", 0, 1e4, 0, 1),
        ("silu", 0, 1e4, 0, 1),
        ("gelu_tanh", 0, 1e4, 0, 1),
    ],
)
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_far_out(name, left, right, slope_left, slope_right, dtype):
    z = np.array([-1e4, 1e4], dtype)
    g, g_prime = PAIRS[name]
    np.testing.assert_allclose(g(z), np.array([left, right]), rtol=1e-6)
    np.testing.assert_allclose(g_prime(z), np.array([slope_left, slope_right]), rtol=1e-6)


def test_infinities():
    ends = np.array([-np.inf, np.inf])
    np.testing.assert_array_equal(neurons.step(ends), [0, 1])
    np.testing.assert_array_equal(neurons.relu(ends), [0, np.inf])
    np.testing.assert_array_equal(neurons.leaky_relu(ends), ends)
    np.testing.assert_array_equal(neurons.tanh(ends), [-1, 1])
    np.testing.assert_array_equal(neurons.gelu(ends), [np.nan, np.inf])  # −∞ · 0


@pytest.mark.parametrize("kernel", [neurons.relu, neurons.gelu, neurons.tanh_prime, neurons.step])
@pytest.mark.parametrize("shape", [(), (0,), (1,), (2, 3, 4)])
def test_any_shape_and_the_type_of_the_input(kernel, shape, rng):
    for dtype in (np.float64, np.float32):
        a = kernel(np.asarray(rng.normal(size=shape), dtype))
        assert a.shape == shape
        assert a.dtype == dtype


def test_gelu_keeps_its_digits_in_the_tail():
    """1 + erf cancels there: at z = −10 it is exactly zero."""
    z = -np.linspace(5, 12, 60)  # rounding z alone costs a relative z²u, here 2e-14
    np.testing.assert_allclose(neurons.gelu(z), z * special.ndtr(z), rtol=1e-13)
    assert 1 + math.erf(-10 / math.sqrt(2)) == 0


def test_the_two_gelus_are_not_one():
    z = np.linspace(-6, 6, 24_001)
    assert 4.7e-4 < np.abs(neurons.gelu(z) - neurons.gelu_tanh(z)).max() < 4.8e-4
    assert 8.6e-4 < np.abs(neurons.gelu_prime(z) - neurons.gelu_tanh_prime(z)).max() < 8.7e-4


def test_slope_of_the_sigmoid_is_at_most_a_quarter():
    z = np.linspace(-30, 30, 4001)
    assert relative_error(neurons.sigmoid_slope(z), special.expit(z) * special.expit(-z)) < 1e-15
    assert neurons.sigmoid_slope(np.array([0.0]))[0] == 0.25
    assert neurons.sigmoid_slope(z).max() == 0.25


@pytest.mark.parametrize("shape", [(7, 3), (1, 3), (7, 1), (1, 1)])
def test_neurons_against_numpy(shape, rng):
    x, w, b = rng.normal(size=shape), rng.normal(size=shape[1]), rng.normal()
    np.testing.assert_allclose(neurons.weighted_sum(x, w, b), x @ w + b, atol=1e-14)
    np.testing.assert_array_equal(neurons.perceptron(x, w, b), x @ w + b > 0)
    assert relative_error(neurons.sigmoid_neuron(x, w, b), special.expit(x @ w + b)) < 1e-14


@pytest.mark.parametrize("n", [1, 6])
def test_slopes_of_a_neuron(n, rng):
    x, w, b = rng.normal(size=(n, 4)), rng.normal(size=4), 0.2
    slope_w, slope_b = neurons.sigmoid_neuron_slopes(x, w, b)
    in_w = lambda w: neurons.sigmoid_neuron(x, w, b)
    in_b = lambda b: neurons.sigmoid_neuron(x, w + 0j * b, b[()])
    assert relative_error(slope_w, complex_step(in_w, w)) < 1e-14
    assert relative_error(slope_w, central_differences(in_w, w)) < 1e-9
    assert relative_error(slope_b, complex_step(in_b, np.array(b))) < 1e-14
    s = special.expit(x @ w + b)
    assert relative_error(slope_w, (s * (1 - s))[:, None] * x) < 1e-14


def test_remainder_of_a_small_change_is_of_second_order(rng):
    x, w, b = rng.normal(size=(6, 4)), rng.normal(size=4), 0.2
    v, c = rng.normal(size=4), 0.7
    y = lambda t: special.expit(x @ (w + t * v) + b + t * c)
    steps = 2.0 ** -np.arange(3, 12)
    rest = [np.abs(y(t) - y(0) - neurons.small_change(x, w, b, t * v, t * c)).max() for t in steps]
    assert abs(np.polyfit(np.log(steps), np.log(rest), 1)[0] - 2) < 0.01
    wrong = [np.abs(y(t) - y(0) - neurons.small_change(x, w, b, t * v, 0.0)).max() for t in steps]
    assert abs(np.polyfit(np.log(steps), np.log(wrong), 1)[0] - 1) < 0.1  # without the bias


def test_remainder_stays_below_its_bound_and_the_bound_is_sharp():
    """The curvature of σ is largest where σ = (3 ± √3)/6, and the bound is nearly met there."""
    steepest = np.log((3 - np.sqrt(3)) / (3 + np.sqrt(3)))
    x, w = np.array([[1.0]]), np.array([0.0])
    for z in (*np.linspace(-6, 6, 41), steepest):
        for change in (1e-2, -0.1, 1.0, -5.0):
            rest = special.expit(z + change) - special.expit(z)
            rest -= neurons.small_change(x, w, z, np.array([change]), 0.0)[0]
            assert abs(rest) <= neurons.remainder_bound(x, np.array([change]), 0.0)[0]
    rest = special.expit(steepest + 1e-3) - special.expit(steepest)
    rest -= neurons.small_change(x, w, steepest, np.array([1e-3]), 0.0)[0]
    assert rest > 0.999 * neurons.remainder_bound(x, np.array([1e-3]), 0.0)[0]


def test_dense_against_numpy(rng):
    a, w, b = rng.normal(size=(5, 3)), rng.normal(size=(4, 3)), rng.normal(size=4)
    np.testing.assert_allclose(neurons.affine(a, w, b), a @ w.T + b, rtol=1e-13)
    np.testing.assert_allclose(neurons.dense(a, w, b, neurons.tanh), np.tanh(a @ w.T + b))
    assert neurons.dense(a[:1], w[:1], b[:1], neurons.relu).shape == (1, 1)
    assert np.isnan(neurons.dense(a * [1, np.nan, 1], w, b, neurons.tanh)).all()


def test_slopes_of_affine_are_its_factors(rng):
    a, w, b = rng.normal(size=(5, 3)), rng.normal(size=(4, 3)), rng.normal(size=4)
    by_w = complex_step(lambda w: neurons.affine(a, w, b), w)
    assert relative_error(by_w, np.einsum("nk,jl->njlk", a, np.eye(4))) < 1e-15
    by_a = complex_step(lambda a: neurons.affine(a, w + 0j, b), a)
    assert relative_error(by_a, np.einsum("jk,nm->njmk", w, np.eye(5))) < 1e-15
    by_b = complex_step(lambda b: neurons.affine(a, w + 0j, b), b)
    assert relative_error(by_b, np.broadcast_to(np.eye(4), (5, 4, 4))) < 1e-15


def test_linear_layers_collapse(rng):
    sizes = (3, 7, 2, 5, 4)
    layers = [(rng.normal(size=(j, k)), rng.normal(size=j)) for k, j in itertools.pairwise(sizes)]
    x = rng.normal(size=(6, 3))
    a, (w, b) = x @ layers[0][0].T + layers[0][1], layers[0]
    for w_next, b_next in layers[1:]:
        a = a @ w_next.T + b_next
        w, b = neurons.collapse(w, b, w_next, b_next)
    assert w.shape == (4, 3)
    assert relative_error(x @ w.T + b, a) < 1e-13


def test_nand_is_its_truth_table():
    """By itself: the adder would pass with NOR as well, since sum and carry are self-dual."""
    np.testing.assert_array_equal(neurons.nand(CORNERS), [1, 1, 1, 0])


def test_tanh_is_a_stretched_sigmoid():
    assert relative_error(neurons.tanh_from_sigmoid(Z), np.tanh(Z)) < 1e-14


def test_adders():
    p, q, c = np.array(np.meshgrid((0, 1), (0, 1), (0, 1))).reshape(3, -1)
    total, carry = neurons.full_adder(p, q, c)
    np.testing.assert_array_equal(total + 2 * carry, p + q + c)
    x, y = np.divmod(np.arange(32 * 32), 32)
    np.testing.assert_array_equal(neurons.add(x, y, 5), x + y)
    big = np.array([2**30 - 1])
    np.testing.assert_array_equal(neurons.add(big, big, 30), 2 * big)


def test_boolean_functions_of_one_perceptron():
    """Two inputs: all but XOR and its negation."""
    for k in range(16):
        y = (k >> np.arange(4)) & 1
        found = neurons.separating_perceptron(CORNERS, y)
        assert (found is None) == (k in (0b0110, 0b1001))
        if found:
            np.testing.assert_array_equal(CORNERS @ found[0] + found[1] > 0, y)


def test_a_separable_set_is_separated(rng):
    x = rng.normal(size=(200, 5))
    y = (x @ rng.normal(size=5) > 0.4).astype(int)
    w, b = neurons.separating_perceptron(x, y)
    np.testing.assert_array_equal(neurons.perceptron(x, w, b), y)
    both = np.concatenate((x, x[:1])), np.concatenate((y, 1 - y[:1]))
    assert neurons.separating_perceptron(*both) is None


@pytest.mark.parametrize("m", [2, 3, 10, 41])
@pytest.mark.parametrize("gain", [1, 3, 10, 40])
def test_approximation_stays_below_its_bound(m, gain):
    x = np.linspace(0, 1, 4001)[:, None]
    for f, lipschitz in (
        (lambda x: np.sin(2 * np.pi * x), 2 * np.pi),
        (lambda x: 3 * x - 1, 3),
        (lambda x: np.abs(x - 0.4), 1),
    ):
        network = neurons.bump_network(f, m, gain * m)
        smooth = neurons.forward(x, network, sigmoid)
        hard = neurons.forward(x, network, neurons.step)
        assert np.abs(smooth - f(x)).max() <= neurons.bump_bound(lipschitz, m, gain * m)
        assert np.abs(hard - f(x)).max() <= neurons.bump_bound(lipschitz, m, np.inf) + 1e-14


def test_joints_are_where_the_slope_changes(rng):
    w, b, v = rng.normal(size=(3, 7))
    x, jump = neurons.joints(w, b, v)
    network = neurons.Network(w[:, None], b, v[None], np.zeros(1))
    F = lambda x: neurons.forward(x[:, None], network, neurons.relu)[:, 0]
    d = (np.abs(np.subtract.outer(x, x)) + np.eye(7)).min() / 2
    np.testing.assert_allclose((F(x + d) - 2 * F(x) + F(x - d)) / d, jump, rtol=1e-9, atol=1e-12)
    middle = np.sort(x)[:-1] + np.diff(np.sort(x)) / 2
    np.testing.assert_allclose(F(middle + d / 2) + F(middle - d / 2), 2 * F(middle))


def test_a_unit_without_weight_has_no_joint():
    x, jump = neurons.joints(np.zeros(1), np.ones(1), np.ones(1))
    assert np.isinf(x).all() and jump == 0


def test_the_bound_is_reached_and_its_wrong_forms_are_not_bounds():
    """For a straight line of slope L the steps are L/2m off, so nothing smaller can be a bound."""
    x = np.linspace(0, 1, 20_001)[:, None]
    m = 7
    network = neurons.bump_network(lambda x: 2 * x, m, 1)
    error = np.abs(neurons.forward(x, network, neurons.step) - 2 * x).max()
    bound = neurons.bump_bound(2, m, np.inf)
    assert 0.999 * bound < error <= bound + 1e-14
    assert bound == 2 / (2 * m)
    assert error > 2 / (4 * m)
    assert error > 1 / (2 * m)


def test_bump_network_by_hand():
    network = neurons.bump_network(lambda x: x**2, 2, 8)
    np.testing.assert_array_equal(network.w1, [[8]])
    np.testing.assert_array_equal(network.b1, [-4])
    np.testing.assert_array_equal(network.w2, [[0.75**2 - 0.25**2]])
    np.testing.assert_array_equal(network.b2, [0.25**2])


def test_outputs_of_a_random_layer_are_the_least_squares_ones(rng):
    x, y = rng.normal(size=(40, 3)), rng.normal(size=(40, 2))
    network = neurons.fit_random_layer(x, y, 6, rng)
    hidden = np.tanh(x @ network.w1.T + network.b1)
    residual = y - neurons.forward(x, network, neurons.tanh)
    assert np.abs(hidden.T @ residual).max() < 1e-10
    assert np.abs(residual.sum(axis=0)).max() < 1e-10
    exact = neurons.fit_random_layer(x, y, 60, rng, scale=2.0)
    assert relative_error(neurons.forward(x, exact, neurons.tanh), y) < 1e-8


def test_identity_units_are_a_linear_model(rng):
    x, y = rng.normal(size=(40, 3)), rng.normal(size=(40, 2))
    network = neurons.fit_random_layer(x, y, 20, rng, neurons.identity)
    columns = np.column_stack((x, np.ones(40)))
    fitted = columns @ np.linalg.lstsq(columns, y, rcond=None)[0]
    assert relative_error(neurons.forward(x, network, neurons.identity), fitted) < 1e-12


def test_regions_grow_with_units():
    train = neurons.two_spirals(600, np.random.default_rng(3), turns=1.5)
    test = neurons.two_spirals(2000, np.random.default_rng(4), turns=1.5)
    accuracy = []
    for units in (2, 8, 32, 128):
        network = neurons.fit_random_layer(
            train[0], 2.0 * train[1][:, None] - 1, units, np.random.default_rng(5), scale=3.0
        )
        right = (neurons.forward(test[0], network, neurons.tanh)[:, 0] > 0) == test[1]
        accuracy.append(right.mean())
    assert np.all(np.diff(accuracy) > 0)
    assert accuracy[0] < 0.75
    assert accuracy[-1] > 0.99


def test_spirals_are_reproducible_and_balanced():
    x, y = neurons.two_spirals(101, np.random.default_rng(1))
    again, _ = neurons.two_spirals(101, np.random.default_rng(1))
    np.testing.assert_array_equal(x, again)
    assert x.shape == (101, 2)
    np.testing.assert_array_equal(np.bincount(y), [51, 50])
    exact, _ = neurons.two_spirals(50, np.random.default_rng(1), noise=0)
    assert np.linalg.norm(exact, axis=1).max() <= 1


A, W, B = np.ones((5, 3)), np.ones((4, 3)), np.ones(4)
BITS = np.array([0, 1])
RNG = np.random.default_rng(0)
BAD = [
    (neurons.dense, (A[0], W, B, np.tanh), ValueError, "a has shape"),
    (neurons.dense, (A, W.T, B, np.tanh), ValueError, "w has shape"),
    (neurons.dense, (A, W, B[:2], np.tanh), ValueError, "b has shape"),
    (neurons.dense, (A[:0], W, B, np.tanh), ValueError, "a is empty"),
    (neurons.dense, (A, W, B, "tanh"), TypeError, "g is 'tanh'"),
    (neurons.dense, (A.astype(complex), W, B, np.tanh), TypeError, "a has dtype"),
    (neurons.full_adder, (BITS, BITS[:1], BITS), ValueError, "q has shape"),
    (neurons.full_adder, (BITS, BITS, BITS + 1), ValueError, "carry holds the label 2"),
    (neurons.full_adder, (BITS, BITS * 1.0, BITS), TypeError, "q has dtype"),
    (neurons.full_adder, ([], [], []), TypeError, "p has dtype"),
    (neurons.add, ([4], [0], 2), ValueError, "x holds the label 4"),
    (neurons.add, ([0], [-1], 2), ValueError, "y holds the label -1"),
    (neurons.add, ([0], [0, 1], 2), ValueError, "y has shape"),
    (neurons.add, ([0], [0], 31), ValueError, "bits is 31"),
    (neurons.add, ([0], [0], 0), ValueError, "bits is 0"),
    (neurons.separating_perceptron, (A, BITS), ValueError, "y has shape"),
    (neurons.separating_perceptron, (A[:2], BITS + 1), ValueError, "y holds the label 2"),
    (neurons.separating_perceptron, (A[:2] * np.nan, BITS), ValueError, "x holds nan"),
    (neurons.separating_perceptron, (A[:2], BITS - 0.5), TypeError, "y has dtype"),
    (neurons.bump_network, (np.sin, 1, 10.0), ValueError, "m is 1"),
    (neurons.bump_network, (np.sin, 2.0, 10.0), TypeError, "m is 2.0"),
    (neurons.bump_network, (np.sin, 4, 0.0), ValueError, "steepness"),
    (neurons.bump_network, (np.sin, 4, np.inf), ValueError, "steepness"),
    (neurons.bump_network, (3.0, 4, 10.0), TypeError, "f is 3.0"),
    (neurons.bump_network, (lambda x: x[:1], 4, 10.0), ValueError, "centres"),
    (neurons.bump_network, (lambda x: x * np.nan, 4, 10.0), ValueError, "centres"),
    (neurons.fit_random_layer, (A, B[:, None], 3, RNG), ValueError, "y has shape"),
    (neurons.fit_random_layer, (A * np.inf, A, 3, RNG), ValueError, "x holds inf"),
    (neurons.fit_random_layer, (A, A, 0, RNG), ValueError, "units is 0"),
    (neurons.fit_random_layer, (A, A, 2**40, RNG), ValueError, "units"),
    (neurons.fit_random_layer, (A, A, 3, 7), TypeError, "rng is 7"),
    (neurons.fit_random_layer, (A, A, 3, RNG, neurons.tanh, 0.0), ValueError, "scale"),
    (neurons.fit_random_layer, (A, A, 3, RNG, None), TypeError, "g is None"),
    (neurons.two_spirals, (1, RNG), ValueError, "n is 1"),
    (neurons.two_spirals, (10, 7), TypeError, "rng is 7"),
    (neurons.two_spirals, (10, RNG, 0.0), ValueError, "turns"),
    (neurons.two_spirals, (10, RNG, 1.0, -0.1), ValueError, "noise"),
]


@pytest.mark.parametrize(("function", "args", "error", "words"), BAD)
def test_bad_input_is_named(function, args, error, words):
    with pytest.raises(error, match=words):
        function(*args)
