"""Backpropagation: each kernel against loops, differences and a graph that knows no chain rule."""
# ruff: noqa: E741

import subprocess
import sys

import numpy as np
import pytest
from compiled import compiled_only, same_bits

from dlbook import backprop as bp
from dlbook.linear_classification import sigmoid_prime, softmax
from dlbook.tools import data
from dlbook.verification import (
    VerificationError,
    central_differences,
    check_gradient,
    compare,
    complex_step,
)

SHAPES = [(3, 4, 3, 2), (1, 1), (1, 1, 1), (5, 2), (2, 6, 1), (4, 1, 5, 3)]
KERNELS = [
    (bp.layer, lambda r: (r.normal(size=(4, 3)), r.normal(size=4), r.normal(size=3))),
    (bp.layer_matrix, lambda r: (r.normal(size=(4, 3)), r.normal(size=4), r.normal(size=3))),
    (bp.quadratic_cost, lambda r: (r.random(5), r.random(5))),
    (bp.quadratic_cost_gradient, lambda r: (r.random(5), r.random(5))),
    (bp.average_cost, lambda r: (r.random((4, 3)), r.random((4, 3)))),
    (bp.bp1, lambda r: (r.normal(size=4), r.normal(size=4))),
    (bp.bp2, lambda r: (r.normal(size=(2, 5)), r.normal(size=2), r.normal(size=5))),
    (bp.bp3, lambda r: (r.normal(size=4),)),
    (bp.bp4, lambda r: (r.normal(size=3), r.normal(size=4))),
    (bp.bp1_matrix, lambda r: (r.normal(size=4), r.normal(size=4))),
    (bp.bp2_matrix, lambda r: (r.normal(size=(2, 5)), r.normal(size=2), r.normal(size=5))),
    (bp.bp3_matrix, lambda r: (r.normal(size=4),)),
    (bp.bp4_matrix, lambda r: (r.normal(size=3), r.normal(size=4))),
    (bp.softmax_output_delta, lambda r: (r.normal(size=(3, 4)), np.array([0, 3, 1]))),
    (bp.layer_jacobian, lambda r: (r.normal(size=(4, 3)), r.normal(size=4))),
    (bp.path_sum, lambda r: (r.normal(size=(3, 4, 4)), r.normal(size=4), 2)),
    (bp.layer_batch, lambda r: (r.normal(size=(4, 3)), r.normal(size=4), r.normal(size=(6, 3)))),
    (bp.bp2_batch, lambda r: (r.normal(size=(2, 5)), r.normal(size=(6, 2)), r.normal(size=(6, 5)))),
    (bp.bp3_batch, lambda r: (r.normal(size=(6, 4)),)),
    (bp.bp4_batch, lambda r: (r.normal(size=(6, 3)), r.normal(size=(6, 4)))),
]


def network(sizes, rng, spread=0.7):
    """Return a network with biases that are not zero."""
    net = bp.init(sizes, rng)
    net.flat[:] += rng.normal(0, spread, net.flat.size)
    return net


def example(sizes, rng, cost):
    """Return an input and a target for it."""
    x = rng.normal(size=sizes[0])
    return x, rng.random(sizes[-1]) if cost == "quadratic" else int(rng.integers(sizes[-1]))


def stepped(net, x, y, cost):
    """Return complex steps of the cost over the flat vector."""
    sizes = bp.layer_sizes(net)
    return complex_step(lambda f: bp.network_cost(bp.as_params(f, sizes), x, y, cost), net.flat)


def graphed(net, x, y, cost):
    """Return the gradient by reverse mode on the graph of numbers."""
    graph = bp.network_graph(net, x, y, cost)
    bar = bp.adjoints(graph.cost)
    return np.array([bar[v] for v in graph.leaves])


def close(actual, expected, rtol=1e-12):
    """Hold two arrays against each other, relative to the largest number."""
    record = compare("test", actual, expected, "the oracle", rtol)
    assert record["passed"], str(record)


# Single layers and costs


def test_a_layer_is_numpys(rng):
    w, b, a = rng.normal(size=(4, 3)), rng.normal(size=4), rng.normal(size=3)
    z = np.array([w[j] @ a + b[j] for j in range(4)])
    for kernel in (bp.layer, bp.layer_matrix):
        close(kernel(w, b, a)[0], z)
        close(kernel(w, b, a)[1], np.exp(z) / (1 + np.exp(z)))
    zs, acts = bp.layer_batch(w, b, np.array([a, -a]))
    close(zs[0], z)
    close(acts[0], np.exp(z) / (1 + np.exp(z)))
    close(zs[0] + zs[1], 2 * b)


def test_costs(rng):
    a, y = rng.random((5, 3)), rng.random((5, 3))
    close(bp.quadratic_cost(a[0], y[0]), np.linalg.norm(a[0] - y[0]) ** 2 / 2)
    close(bp.average_cost(a, y), np.mean([np.linalg.norm(u) ** 2 / 2 for u in a - y]))
    found = bp.quadratic_cost_gradient(a[0], y[0])
    close(found, complex_step(lambda v: bp.quadratic_cost(v, y[0]), a[0]))


def test_two_neurons_by_hand():
    pair = bp.as_params(np.array([np.log(3) / 2, 0.0, 2.0, -1.5]), (1, 1, 1))
    close(bp.network_cost(pair, [2.0], [1.0]), 1 / 8)
    close(bp.backprop(pair, [2.0], [1.0]).flat, np.array([-6, -3, -6, -8]) / 64)
    close(bp.network_jacobian(pair, [2.0]), [[3 * np.log(3) / 64]])


def test_softmax_delta_by_hand():
    close(bp.softmax_output_delta(np.log([[3.0, 1.0]]), np.array([0])), [[-1 / 4, 1 / 4]])


# The four equations, by three oracles


@pytest.mark.parametrize("cost", bp.COSTS)
@pytest.mark.parametrize("sizes", SHAPES)
def test_gradient(sizes, cost, rng):
    net = network(sizes, rng)
    x, y = example(sizes, rng, cost)
    found = bp.backprop(net, x, y, cost).flat
    scale = max(1e-3, np.abs(found).max())  # one class: the gradient is zero
    np.testing.assert_allclose(found, stepped(net, x, y, cost), rtol=0, atol=1e-12 * scale)
    np.testing.assert_allclose(found, graphed(net, x, y, cost), rtol=0, atol=1e-12 * scale)
    differences = central_differences(
        lambda f: bp.network_cost(bp.as_params(f, sizes), x, y, cost), net.flat
    )
    np.testing.assert_allclose(found, differences, rtol=0, atol=1e-7 * scale)


@pytest.mark.parametrize("cost", bp.COSTS)
@pytest.mark.parametrize("sizes", [(3, 4, 3, 2), (2, 3)])
def test_errors_of_every_layer(sizes, cost, rng):
    net = network(sizes, rng)
    x, y = example(sizes, rng, cost)
    z, _ = bp.forward(net, x)
    delta = bp.deltas(net, x, y, cost)
    graph = bp.network_graph(net, x, y, cost)
    bar = bp.adjoints(graph.cost)
    for l in range(2, len(sizes) + 1):
        close(delta[l], complex_step(lambda v, l=l: bp.cost_from(net, l, v, y, cost), z[l]))
        close(delta[l], [bar[v] for v in graph.z[l]])
    assert delta[0] is delta[1] is None


def test_matrix_forms_equal_components(rng):
    for kernel, matrix in (
        (bp.bp1, bp.bp1_matrix),
        (bp.bp2, bp.bp2_matrix),
        (bp.bp3, bp.bp3_matrix),
        (bp.bp4, bp.bp4_matrix),
    ):
        args = next(make for k, make in KERNELS if k is kernel)(rng)
        close(matrix(*args), kernel(*args))


def test_complex_numbers_go_through(rng):
    """The curvature along a direction, by a complex step of the gradient."""
    net = network((3, 4, 2), rng)
    x, y = example((3, 4, 2), rng, "quadratic")
    u, v = rng.normal(size=(2, net.flat.size))

    def times(v):
        nudged = bp.as_params(net.flat + 1e-30j * v, (3, 4, 2))
        return bp.backprop(nudged, x, y).flat.imag / 1e-30

    np.testing.assert_allclose(u @ times(v), v @ times(u), rtol=1e-12)
    assert np.linalg.norm(times(v)) > 1e-3


def test_jacobian(rng):
    net = network((3, 4, 2), rng)
    x = rng.normal(size=3)
    close(
        bp.network_jacobian(net, x),
        central_differences(lambda v: bp.forward(net, v)[1][3], x),
        1e-7,
    )
    graph = bp.network_graph(net, x, np.zeros(2))
    rows = [bp.adjoints(v) for v in graph.a[3]]
    close(bp.network_jacobian(net, x), [[r[v] for v in graph.x] for r in rows])


def test_paths(rng):
    """Paths between layers of unequal size are enumerated with zeros on the wires that are missing."""
    net = network((2, 3, 2), rng)
    x, y = example((2, 3, 2), rng, "quadratic")
    z, a = bp.forward(net, x)
    J = np.zeros((2, 3, 3))
    J[0, :3, :2], J[1, :2, :3] = (bp.layer_jacobian(net.w[l], z[l]) for l in (2, 3))
    da = np.append(a[3] - y, 0.0)
    graph = bp.network_graph(net, x, y)
    bar = bp.adjoints(graph.cost)
    close([bp.path_sum(J, da, j) for j in range(2)], [bar[v] for v in graph.x])
    close(bp.path_sum(np.zeros((0, 3, 3)), da, 1), da[1])


# Batches


@pytest.mark.parametrize("cost", bp.COSTS)
@pytest.mark.parametrize("n", [1, 2, 7])
def test_a_batch_is_the_mean_of_its_examples(n, cost, rng):
    sizes = (3, 4, 3, 2)
    net = network(sizes, rng)
    pairs = [example(sizes, rng, cost) for _ in range(n)]
    x, y = (np.array(part) for part in zip(*pairs, strict=True))
    grads = bp.as_params(np.full(net.flat.size, np.nan), sizes)
    loss = bp.loss_and_grad(net, None, (x, y), grads, cost=cost)
    close(loss, np.mean([bp.network_cost(net, u, v, cost) for u, v in pairs]))
    close(grads.flat, np.mean([stepped(net, u, v, cost) for u, v in pairs], axis=0))
    close(grads.flat, np.mean([graphed(net, u, v, cost) for u, v in pairs], axis=0))


def test_batch_bias_gradient_sums_rows(rng):
    delta = rng.normal(size=(6, 4))
    close(bp.bp3_batch(delta), delta.sum(axis=0))


def test_float32_stays_float32(rng):
    net = bp.init((3, 4, 2), rng, np.float32)
    x, y = rng.random((5, 3)), rng.integers(0, 2, 5)
    grads = bp.as_params(np.empty_like(net.flat), (3, 4, 2))
    bp.loss_and_grad(net, None, (x, y), grads)
    wide = bp.as_params(net.flat.astype(np.float64), (3, 4, 2))
    exact = bp.as_params(np.empty_like(wide.flat), (3, 4, 2))
    bp.loss_and_grad(wide, None, (x, y), exact)
    assert bp.train(net, x, y, rng, rate=0.1, epochs=1).params.flat.dtype == np.float32
    assert bp.backprop(net, x[0], 1, "cross-entropy").flat.dtype == np.float32
    close(grads.flat, exact.flat, 1e-5)


@np.errstate(over="ignore", invalid="ignore")  # NumPy warns where a compiled kernel does not
def test_extreme_logits(rng):
    """Saturated outputs give finite errors; NaN in gives NaN out."""
    z = np.array([[1e4, -1e4, 0.0], [-1e4, -1e4, -1e4]])
    delta = bp.softmax_output_delta(z, np.array([1, 0]))
    close(delta, [[1, -1, 0], [-2 / 3, 1 / 3, 1 / 3]])
    assert bp.bp1(np.ones(2), np.array([1e4, -1e4])).tolist() == [0, 0]
    assert np.isnan(bp.softmax_output_delta(np.array([[np.nan, 0.0]]), np.array([0]))).all()
    assert np.isnan(bp.bp1(np.ones(2), np.array([np.nan, 0.0]))).tolist() == [True, False]
    poisoned = bp.bp2(np.ones((2, 3)), np.array([np.nan, 1.0]), rng.normal(size=3))
    assert np.isnan(poisoned).all()


# The graph


def test_graph_operations(rng):
    """Every operation of a node, against complex steps of the same formula in NumPy."""
    u, v = (bp.Value(t) for t in (0.7, 1.9))
    out = (u - 3) * v / (1 + v) - (2 / u) + (-(u * 0.5)).exp() + (3 - v + u).log() * u

    def formula(t):
        u, v = t
        return (u - 3) * v / (1 + v) - 2 / u + np.exp(-0.5 * u) + np.log(3 - v + u) * u

    bar = bp.adjoints(out)
    close([bar[u], bar[v]], complex_step(formula, np.array([0.7, 1.9])))
    close(out.data, formula((0.7, 1.9)))


@pytest.mark.parametrize("k", [2, 3, -1, 0.5, 0, np.float32(1.5)])
def test_graph_powers(k):
    u = bp.Value(1.9)
    out = u**k
    close(out.data, 1.9 ** float(k))
    close(bp.adjoints(out)[u] + 1, complex_step(lambda t: t ** float(k), 1.9) + 1)


def test_graph_exponents_are_constants():
    with pytest.raises(TypeError, match="unsupported operand"):
        bp.Value(2.0) ** bp.Value(3.0)


@pytest.mark.parametrize(
    ("form", "at", "value", "slope"),
    [
        (lambda u: u.exp(), 1000, np.inf, np.inf),
        (lambda u: u.exp(), -1000, 0, 0),
        (lambda u: u.log(), 0, -np.inf, np.inf),
        (lambda u: u.log(), -1, np.nan, -1),
        (lambda u: 1 / u, 0, np.inf, -np.inf),
        (lambda u: 1 / u, -0.0, -np.inf, -np.inf),
        (lambda u: 1 / u, 1e-200, 1e200, -np.inf),
        (lambda u: 1 / u, 1e200, 1e-200, 0),
        (lambda u: 0 / u, 0, np.nan, np.nan),
        (lambda u: u**2, 1e200, np.inf, 2e200),
        (lambda u: u**0, 0, 1, 0),
        (lambda u: u**-1, 0, np.inf, -np.inf),
        (lambda u: u**0.5, -1, np.nan, np.nan),
    ],
)
def test_graph_operations_beyond_the_range_of_numbers(form, at, value, slope):
    """Infinite or NaN as in compiled code; nothing raises, nothing warns."""
    u = bp.Value(at)
    out = form(u)
    np.testing.assert_array_equal([out.data, bp.adjoints(out)[u]], [value, slope])


@pytest.mark.parametrize("cost", ["quadratic", "cross-entropy"])
@pytest.mark.parametrize("size", [1.0, 30.0, 400.0, 1000.0, 1e4, 1e155, 1e308])
@np.errstate(over="ignore", invalid="ignore")  # NumPy warns where a compiled kernel does not
def test_graph_of_a_network_of_huge_weights(cost, size, rng):
    """The numbers of the kernels, the gradient too, however far the neurons are saturated."""
    net, (x, y) = network((3, 4, 3, 2), rng), example((3, 4, 3, 2), rng, cost)
    net.flat[:] *= size
    graph = bp.network_graph(net, x, y, cost)
    bar = bp.adjoints(graph.cost)
    found = np.array([graph.cost.data, *(bar[leaf] for leaf in graph.leaves)])
    kernels = [bp.network_cost(net, x, y, cost), *bp.backprop(net, x, y, cost).flat]
    np.testing.assert_allclose(found, kernels, rtol=1e-10)


def test_order_of_a_diamond():
    x = bp.Value(5.0)
    p = 2 * x
    q = 3 * p
    out = p + q
    assert bp.adjoints(out)[x] == 8
    assert bp.adjoints(out, order=[x, q, p, out])[x] == 2


def test_topological_order_of_a_long_chain():
    """Ten thousand links: no recursion limit, every parent first."""
    node = bp.Value(1.0)
    for _ in range(10_000):
        node = node + node * 0.0
    order = bp.topological_order(node)
    place = {v: i for i, v in enumerate(order)}
    assert len(place) == len(order)
    assert all(place[parent] < place[v] for v in order for parent, _ in v.edges)


# Wrong variants: the same check must reject each


def _outer(a, delta):
    return np.outer(a, delta)


WRONG = {
    "BP1 with σ′(a)": lambda k: k | {"bp1": lambda da, z: da * sigmoid_prime(1 / (1 + np.exp(-z)))},
    "BP1 without σ′": lambda k: k | {"bp1": lambda da, z: da + 0 * z},
    "BP1 with y − a": lambda k: k | {"bp1": lambda da, z: -da * sigmoid_prime(z)},
    "BP1 with a factor 2": lambda k: k | {"bp1": lambda da, z: 2 * da * sigmoid_prime(z)},
    "BP2 without the transpose": lambda k: k | {"bp2": lambda w, d, z: (w @ d) * sigmoid_prime(z)},
    "BP2 without σ′": lambda k: k | {"bp2": lambda w, d, z: w.T @ d + 0 * z},
    "BP2 with σ instead of σ′": lambda k: k | {"bp2": lambda w, d, z: (w.T @ d) / (1 + np.exp(-z))},
    "BP2 wrong by 0.1 %": lambda k: (
        k | {"bp2": lambda w, d, z: 1.001 * (w.T @ d) * sigmoid_prime(z)}
    ),
    "BP3 zero": lambda k: k | {"bp3": lambda d: 0 * d},
    "BP4 transposed": lambda k: k | {"bp4": _outer},
    "BP4 with z instead of a": lambda k: (
        k | {"bp4": lambda a, d: np.outer(d, np.log(np.abs(a / (1 - a))))}
    ),
    "BP4 wrong by 0.1 %": lambda k: k | {"bp4": lambda a, d: 1.001 * np.outer(d, a)},
}


def assembled(net, x, y, kernels):
    """Return the flat gradient put together from given kernels."""
    z, a = bp.forward(net, x)
    L = len(net.w) - 1
    delta, parts = kernels["bp1"](a[L] - y, z[L]), []
    for l in range(L, 1, -1):
        parts = [kernels["bp4"](a[l - 1], delta).ravel(), kernels["bp3"](delta), *parts]
        if l > 2:
            delta = kernels["bp2"](net.w[l], delta, z[l - 1])
    return np.concatenate(parts)


RIGHT = {"bp1": bp.bp1, "bp2": bp.bp2, "bp3": bp.bp3, "bp4": bp.bp4}


SQUARE = (4, 4, 4, 4)  # all layers have one size, so that no shape gives a mistake away


def against_differences(change, rng):
    """Check a gradient put together from changed kernels."""
    net = network(SQUARE, rng)
    x, y = example(SQUARE, rng, "quadratic")
    found = assembled(net, x, y, change(RIGHT))
    return check_gradient(
        lambda flat: bp.network_cost(bp.as_params(flat, SQUARE), x, y), found, net.flat
    )


def test_the_right_kernels_are_accepted(rng):
    assert against_differences(lambda kernels: kernels, rng) < 1e-8


@pytest.mark.parametrize("name", WRONG)
def test_wrong_variants_are_rejected(name, rng):
    with pytest.raises(VerificationError):
        against_differences(WRONG[name], rng)


def test_wrong_batch_variants_are_rejected(rng):
    net = network((3, 3), rng)
    x, y = rng.normal(size=(7, 3)), rng.integers(0, 3, 7)
    grads = bp.as_params(np.empty_like(net.flat), (3, 3))
    bp.loss_and_grad(net, None, (x, y), grads)
    p = softmax(x @ net.w[2].T + net.b[2])
    for divisor, passes in ((7, True), (6, False), (1, False)):
        dz = (p - np.eye(3)[y]) / divisor
        flat = np.concatenate([(dz.T @ x).ravel(), dz.sum(axis=0)])
        assert compare("", grads.flat, flat, "", 1e-12)["passed"] == passes


def test_check_backprop_accepts_and_rejects(rng, monkeypatch):
    net = network((3, 4, 2), rng)
    assert bp.check_backprop(net, [0.1, 0.2, 0.3], [0.0, 1.0]) < 1e-8
    assert bp.check_backprop(net, [0.1, 0.2, 0.3], 1, "cross-entropy") < 1e-8
    monkeypatch.setattr(bp, "bp4", lambda a, delta: np.outer(delta, a) * 1.001)
    with pytest.raises(VerificationError):
        bp.check_backprop(net, [0.1, 0.2, 0.3], [0.0, 1.0])


# Parameters and training


def test_parameters_are_views():
    flat = np.arange(39.0)
    net = bp.as_params(flat, (3, 4, 3, 2))
    assert bp.parameter_count((3, 4, 3, 2)) == 39
    assert [v.shape for v in net.w[2:]] == [(4, 3), (3, 4), (2, 3)]
    assert all(np.shares_memory(v, flat) for v in (*net.w[2:], *net.b[2:]))
    rebuilt = [part.ravel() for w, b in zip(net.w[2:], net.b[2:], strict=True) for part in (w, b)]
    assert np.concatenate(rebuilt).tolist() == flat.tolist()
    assert net.w[:2] == net.b[:2] == (None, None)


def test_init_has_the_stated_spread():
    net = bp.init((400, 300, 10), np.random.default_rng(0))
    assert abs(net.w[2].std() * np.sqrt(400) - 1) < 0.01
    assert abs(net.w[3].std() * np.sqrt(300) - 1) < 0.05
    assert not np.concatenate(net.b[2:]).any()


@pytest.mark.parametrize("cost", ["cross-entropy", "quadratic"])
def test_training_is_plain_sgd(cost, rng):
    """Two epochs, an unequal last batch, against an independent loop."""
    sizes, n = (3, 4, 2), 7
    net, x, y = network(sizes, rng), rng.normal(size=(n, 3)), rng.integers(0, 2, n)
    if cost == "quadratic":
        y = rng.random((n, 2))
    before = net.flat.copy()
    found = bp.train(net, x, y, np.random.default_rng(4), rate=0.3, epochs=2, batch=3, cost=cost)
    shuffle, flat, losses = np.random.default_rng(4), before.copy(), []
    for _ in range(2):
        order, total = shuffle.permutation(n), 0.0
        for some in (order[:3], order[3:6], order[6:]):
            here = bp.as_params(flat, sizes)
            total += sum(bp.network_cost(here, x[i], y[i], cost) for i in some)
            flat = flat - 0.3 * np.mean([graphed(here, x[i], y[i], cost) for i in some], 0)
        losses.append(total / n)
    close(found.params.flat, flat)
    close(found.losses, losses)
    assert np.array_equal(net.flat, before)


def test_progress_changes_nothing(rng, capsys):
    net, x, y = network((3, 2), rng), rng.normal(size=(5, 3)), rng.integers(0, 2, 5)
    runs = [
        bp.train(net, x, y, np.random.default_rng(1), rate=0.1, epochs=2, progress=p)
        for p in (False, True)
    ]
    assert np.array_equal(runs[0].params.flat, runs[1].params.flat)
    assert not capsys.readouterr().out


FUSED = [(3, 1), (1, 1, 2), (5, 7, 3), (64, 32, 10), (20, 70, 33, 40, 4)]


def fused_case(sizes, n, dtype, rng):
    """Return a network, a batch and a workspace for it."""
    net = bp.as_params(network(sizes, rng).flat.astype(dtype), sizes)
    x = rng.normal(size=(n, sizes[0])).astype(dtype)
    return net, (x, rng.integers(0, sizes[-1], n)), bp.workspace(sizes, n, dtype)


@pytest.mark.parametrize("sizes", FUSED)
@pytest.mark.parametrize("n", [1, 2, 31, 33])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_fused_equals_literal(sizes, n, dtype, rng):
    """The fused gradient against BP1–BP4 of each example, and its step against plain descent."""
    net, (x, y), work = fused_case(sizes, n, dtype, rng)
    double = bp.as_params(net.flat.astype(np.float64), sizes)
    one_by_one = [bp.backprop(double, x[i], y[i], "cross-entropy").flat for i in range(n)]
    costs = [bp.network_cost(double, x[i], y[i], "cross-entropy") for i in range(n)]
    grads, before = bp.as_params(np.full_like(net.flat, np.nan), sizes), net.flat.copy()
    tolerance = {np.float64: 1e-13, np.float32: 2e-6}[dtype]
    scale = max(1.0, np.max(np.abs(net.flat)))
    loss = bp.loss_and_grad(net, None, (x, y), grads, work)
    assert abs(loss - np.mean(costs)) <= 10 * tolerance * max(1.0, np.mean(costs))
    assert np.max(np.abs(grads.flat - np.mean(one_by_one, 0))) <= tolerance * scale
    assert np.array_equal(net.flat, before)
    assert bp.sgd_step(net, (x, y), 0.25, work) == loss
    expected = before - 0.25 * np.mean(one_by_one, 0)
    assert np.max(np.abs(net.flat - expected)) <= tolerance * scale


def test_fused_needs_no_fresh_workspace(rng):
    """What a larger batch left behind does not matter."""
    net, (x, y), work = fused_case((6, 5, 3), 40, np.float64, rng)
    first, second = (bp.as_params(np.empty_like(net.flat), (6, 5, 3)) for _ in range(2))
    bp.loss_and_grad(net, None, (x[:7], y[:7]), first, work)
    work[:] = np.nan
    bp.loss_and_grad(net, None, (x, y), second, work)
    bp.loss_and_grad(net, None, (x[:7], y[:7]), second, work)
    assert np.array_equal(first.flat, second.flat)


@compiled_only
def test_fused_same_bits_for_any_number_of_threads():
    def five_steps():
        net, batch, work = fused_case((300, 260, 200, 7), 65, np.float32, np.random.default_rng(3))
        return [bp.sgd_step(net, batch, 0.1, work) for _ in range(5)], net.flat

    assert same_bits(five_steps)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_fused_lets_nan_through(bad, rng):
    """Weights that are no longer numbers give a cost that says so."""
    net, (x, y), work = fused_case((4, 3, 2), 5, np.float64, rng)
    net.w[3][0, 1] = bad
    grads = bp.as_params(np.zeros_like(net.flat), (4, 3, 2))
    with np.errstate(all="ignore"):
        assert not np.isfinite(bp.loss_and_grad(net, None, (x, y), grads, work))
    assert not np.isfinite(grads.flat).all()


def test_fused_survives_huge_logits(rng):
    net, (x, y), work = fused_case((4, 3), 5, np.float32, rng)
    net.flat[:] *= 1e5
    grads, literal = (bp.as_params(np.zeros_like(net.flat), (4, 3)) for _ in range(2))
    loss = bp.loss_and_grad(net, None, (x, y), grads, work)
    expected = bp.loss_and_grad(net, None, (x, y), literal)
    assert np.isfinite(loss) and abs(loss - expected) < 1e-5 * expected
    close(grads.flat, literal.flat, 1e-5)


def test_predict_takes_the_largest(rng):
    net = network((3, 4, 3), rng)
    x = rng.normal(size=(20, 3))
    z = [bp.forward(net, v)[0][3] for v in x]
    assert bp.predict(net, None, x).tolist() == [int(np.argmax(v)) for v in z]


@np.errstate(over="ignore", invalid="ignore")
def test_divergence_is_named():
    x, y = np.array([[1e150], [1e150]]), np.array([[0.3], [0.4]])
    linear = bp.init((1, 2), np.random.default_rng(0))
    with pytest.raises(FloatingPointError, match=r"epoch 1, step \d"):
        bp.train(linear, x, [0, 1], np.random.default_rng(0), rate=1e200, epochs=3, batch=1)
    poisoned = bp.as_params(np.full(2, np.nan), (1, 1))
    with pytest.raises(FloatingPointError, match="epoch 1, step 1: the loss is nan"):
        bp.train(poisoned, x, y, np.random.default_rng(0), rate=1.0, epochs=1, cost="quadratic")


def test_half_shifts():
    image = np.zeros((1, 9))
    image[0, 4] = 1.0
    five = bp.half_shifts(image, 3)
    assert five.shape == (5, 9)
    assert five[0].tolist() == image[0].tolist()
    assert sorted(np.flatnonzero(row).tolist() for row in five[1:]) == [
        [1, 4],
        [3, 4],
        [4, 5],
        [4, 7],
    ]
    assert set(five[1:].ravel()) == {0.0, 0.5}


@compiled_only
def test_digits():
    """At least 97 % of the test digits as the mean of five seeds, and 96 % for each."""
    d = data.digits()
    x = bp.half_shifts(np.vstack([d.x_train, d.x_val]), 8)
    y = np.tile(np.concatenate([d.y_train, d.y_val]), 5)
    right = []
    for seed in range(5):
        rng = np.random.default_rng(seed)
        run = bp.train(bp.init((64, 64, 10), rng), x, y, rng, rate=1.0, epochs=20, batch=10)
        right.append(np.mean(bp.predict(run.params, None, d.x_test) == d.y_test))
    assert np.mean(right) >= 0.97
    assert min(right) >= 0.96


def test_import_is_light():
    """Importing the chapter loads no plotting, no SciPy, no scikit-learn and compiles nothing."""
    code = (
        "import sys, dlbook.backprop as b\n"
        "assert not {'matplotlib', 'scipy.linalg', 'sklearn', 'tqdm'} & set(sys.modules)\n"
        "assert not any(getattr(k, 'signatures', None) for k in vars(b).values())"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=data.Path(__file__).parents[1])


# Bad input


NET = bp.as_params(np.linspace(-1, 1, 26), (3, 4, 2))
X, LABELS = np.ones((5, 3)), np.array([0, 1, 0, 1, 1])
RNG = np.random.default_rng(0)
GO = {"rate": 0.1, "epochs": 1}


def _grad(batch, grads=None, **options):
    grads = bp.as_params(np.empty(26), (3, 4, 2)) if grads is None else grads
    return bp.loss_and_grad(NET, None, batch, grads, **options)


BAD = [
    (lambda: bp.init((3,), RNG), ValueError, "at least an input and an output"),
    (lambda: bp.init(3, RNG), TypeError, "sizes"),
    (lambda: bp.init("34", RNG), TypeError, "sizes"),
    (lambda: bp.init((3, 0, 2), RNG), ValueError, r"sizes\[1\] is 0"),
    (lambda: bp.init((3, 2.0), RNG), TypeError, r"sizes\[1\]"),
    (lambda: bp.init((3, True), RNG), TypeError, r"sizes\[1\]"),
    (lambda: bp.init((3, -2), RNG), ValueError, r"sizes\[1\]"),
    (lambda: bp.init((2**31, 2), RNG), ValueError, r"sizes\[0\]"),
    (lambda: bp.init((100_000, 100_000), RNG), ValueError, "number of parameters"),
    (lambda: bp.init((3, 2), 0), TypeError, "rng"),
    (lambda: bp.init((3, 2), RNG, "int64"), ValueError, "dtype"),
    (lambda: bp.as_params(np.zeros(7), (3, 2)), ValueError, r"\(7,\), expected \(8,\)"),
    (lambda: bp.as_params(np.zeros(16)[::2], (3, 2)), ValueError, "contiguous"),
    (lambda: bp.as_params([0.0] * 8, (3, 2)), TypeError, "flat"),
    (lambda: bp.as_params(np.zeros(8, int), (3, 2)), TypeError, "flat"),
    (lambda: bp.layer_sizes([1, 2]), TypeError, "params"),
    (lambda: bp.forward(NET, np.ones(4)), ValueError, "x has shape"),
    (lambda: bp.forward(NET, np.ones((1, 3))), ValueError, "x has shape"),
    (lambda: bp.forward(NET, [1.0, np.nan, 0]), ValueError, "nan"),
    (lambda: bp.network_cost(NET, np.ones(3), np.ones(3)), ValueError, "y has shape"),
    (lambda: bp.network_cost(NET, np.ones(3), 2, "cross-entropy"), ValueError, "label 2"),
    (lambda: bp.network_cost(NET, np.ones(3), -1, "cross-entropy"), ValueError, "label -1"),
    (lambda: bp.network_cost(NET, np.ones(3), 0.5, "cross-entropy"), TypeError, "labels"),
    (lambda: bp.network_cost(NET, np.ones(3), np.ones(2), "l2"), ValueError, "cost"),
    (lambda: bp.cost_from(NET, 1, np.ones(4), np.ones(2)), ValueError, "l is 1"),
    (lambda: bp.cost_from(NET, 2, np.ones(3), np.ones(2)), ValueError, "z has shape"),
    (lambda: bp.deltas(NET, np.ones(3), [np.inf, 0.0]), ValueError, "y holds inf"),
    (lambda: bp.backprop(NET, ["a", "b", "c"], [0, 1]), TypeError, "x has dtype"),
    (lambda: bp.backprop(NET, np.ones(3), [0, 1, 2]), ValueError, "y has shape"),
    (lambda: bp.network_jacobian(NET, np.ones(2)), ValueError, "x has shape"),
    (lambda: bp.network_graph(NET, np.ones(2), np.ones(2)), ValueError, "x has shape"),
    (lambda: bp.check_backprop(NET, np.ones(3), [0, 1], rtol=0), ValueError, "rtol"),
    (lambda: _grad((X, LABELS[:4])), ValueError, "y has shape"),
    (lambda: _grad((X[:0], LABELS[:0])), ValueError, "empty"),
    (lambda: _grad((X, LABELS + 1)), ValueError, "label 2"),
    (lambda: _grad((X, LABELS * 1.0)), TypeError, "labels"),
    (lambda: _grad((X, LABELS), cost="quadratic"), ValueError, "y has shape"),
    (lambda: _grad((X * np.inf, LABELS)), ValueError, "x holds inf"),
    (lambda: _grad((X, LABELS), bp.as_params(np.empty(8), (3, 2))), ValueError, "grads"),
    (lambda: _grad((X, LABELS), bp.as_params(np.empty(26, "f4"), (3, 4, 2))), ValueError, "grads"),
    (lambda: _grad((X, LABELS), work=np.zeros(3)), ValueError, "work holds 3 numbers"),
    (lambda: _grad((X, LABELS), work=np.zeros(999, "f4")), TypeError, "work"),
    (lambda: _grad((X, LABELS), work=np.zeros(999)[::2]), TypeError, "work"),
    (lambda: _grad((X, LABELS), work=[0.0] * 999), TypeError, "work"),
    (lambda: _grad((X, X), work=np.zeros(999), cost="quadratic"), ValueError, "y has shape"),
    (lambda: bp.workspace((3, 0), 4), ValueError, "sizes"),
    (lambda: bp.workspace((3, 2), 0), ValueError, "batch"),
    (lambda: bp.workspace((3, 2), 4, "complex128"), ValueError, "dtype"),
    (lambda: bp.sgd_step(NET, (X, LABELS), 0.0, np.zeros(999)), ValueError, "rate"),
    (lambda: bp.sgd_step(NET, (X, LABELS + 5), 0.1, np.zeros(999)), ValueError, "label"),
    (lambda: bp.sgd_step(NET, (X, LABELS), 0.1, None), TypeError, "work"),
    (lambda: bp.predict(NET, None, np.ones(3)), ValueError, "x has shape"),
    (lambda: bp.batch_forward(NET, np.ones((0, 3))), ValueError, "empty"),
    (lambda: bp.train(NET, X, LABELS, 0, **GO), TypeError, "rng"),
    (lambda: bp.train(NET, X, LABELS, RNG, rate=0, epochs=1), ValueError, "rate is 0"),
    (lambda: bp.train(NET, X, LABELS, RNG, rate=-0.1, epochs=1), ValueError, "rate"),
    (lambda: bp.train(NET, X, LABELS, RNG, rate=np.nan, epochs=1), ValueError, "rate"),
    (lambda: bp.train(NET, X, LABELS, RNG, rate="1", epochs=1), TypeError, "rate"),
    (lambda: bp.train(NET, X, LABELS, RNG, rate=1, epochs=0), ValueError, "epochs"),
    (lambda: bp.train(NET, X, LABELS, RNG, rate=1, epochs=1.5), TypeError, "epochs"),
    (lambda: bp.train(NET, X, LABELS, RNG, **GO, batch=0), ValueError, "batch"),
    (lambda: bp.train(NET, X, LABELS, RNG, **GO, cost="mse"), ValueError, "cost"),
    (lambda: bp.train(None, X, LABELS, RNG, **GO), TypeError, "params"),
    (lambda: bp.half_shifts(np.ones((2, 8)), 3), ValueError, "x has shape"),
    (lambda: bp.half_shifts(np.ones((2, 9)), 0), ValueError, "side"),
]


@pytest.mark.parametrize(("call", "error", "word"), BAD)
def test_bad_input(call, error, word):
    with pytest.raises(error, match=word):
        call()
