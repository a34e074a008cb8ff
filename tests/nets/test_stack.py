"""Dense layers in one call: each activation both ways, few rows and many, any number of threads."""

import numpy as np
import pytest
from compiled import compiled_only, same_bits

from dlbook.fast.stack import stack_backward, stack_forward
from dlbook.nets import Activation, Dense, Sequential
from dlbook.nets.stack import in_stacks
from dlbook.tools import simd

KINDS = ("relu", "leaky-relu", "sigmoid", "tanh", "silu", "gelu")


def both_ways(net, x, dy, dtype):
    """Return parameters and their table, what a network gives, ∂C/∂x and the gradients."""
    (stack, _), *rest = in_stacks(net.layers)
    assert not rest
    table = stack._table(x.shape[1])
    N, total = len(x), len(x) * int(table[:, 0].sum())
    rng = np.random.default_rng(1)
    size = int((table[:, 0] * (table[:, 1] + 1)).sum())
    flat = (0.3 * rng.standard_normal(size)).astype(dtype)
    a, da = np.full(2 * total, 9, dtype), np.full(total, 9, dtype)
    panels = simd.aligned((64 * 4096,), dtype)
    grads, dx = np.full(size, 9, dtype), np.full_like(x, 9)
    stack_forward(flat, table, stack.slopes, x, a, panels)
    top = dy.copy()
    stack_backward(flat, table, stack.slopes, x, a, top, da, panels, grads, True, dx)
    return flat, table, a[total - N * dy.shape[1] : total].reshape(dy.shape).copy(), dx, grads


def by_numpy(net, table, flat, x, dy):
    """The same, layer by layer, derivatives by central differences."""
    acts = [layer for layer in net.layers if isinstance(layer, Activation)]
    functions = {
        "relu": lambda z: np.maximum(z, 0),
        "leaky-relu": lambda z: np.where(z > 0, z, 0.01 * z),
        "sigmoid": lambda z: 1 / (1 + np.exp(-z)),
        "tanh": np.tanh,
        "silu": lambda z: z / (1 + np.exp(-z)),
        "gelu": lambda z: z * (1 + np.tanh((2 / np.pi) ** 0.5 * (z + 0.044715 * z**3))) / 2,
    }
    flat, below, kept = flat.astype(float), x.astype(float), []
    for i, (J, K, at, kind) in enumerate(table.tolist()):
        w, b = flat[at : at + J * K].reshape(J, K), flat[at + J * K : at + J * K + J]
        z = below @ w.T + b
        g = functions[acts[i].kind] if kind else (lambda z: z)
        kept.append((below, w, z, g))
        below = g(z)
    y, delta, grads = below, dy.astype(float), []
    for below, w, z, g in reversed(kept):
        delta = delta * (g(z + 1e-6) - g(z - 1e-6)) / 2e-6
        grads = [(delta.T @ below).ravel(), delta.sum(axis=0), *grads]
        delta = delta @ w
    return y, delta, np.concatenate(grads)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("N", [0, 1, 47, 130, 600])
@pytest.mark.parametrize("kind", KINDS)
def test_equals_layers_one_by_one(kind, N, dtype, rng):
    net = Sequential(Dense(35), Activation(kind), Dense(9), Activation(kind), Dense(3))
    x, dy = (rng.standard_normal((N, k)).astype(dtype) for k in (13, 3))
    flat, table, *found = both_ways(net, x, dy, dtype)
    for got, wanted in zip(found, by_numpy(net, table, flat, x, dy), strict=True):
        tolerance = 1e-4 if dtype == "float32" else 1e-8
        np.testing.assert_allclose(got, wanted, rtol=tolerance, atol=tolerance * (1 + N / 10))


@compiled_only
@pytest.mark.parametrize("kind", KINDS)
def test_the_same_bits_on_any_number_of_threads(kind, rng):
    net = Sequential(Dense(288), Activation(kind), Dense(70))
    x, dy = (rng.standard_normal((1100, k)).astype("float32") for k in (100, 70))
    assert same_bits(lambda: both_ways(net, x, dy, "float32")[2:])


@pytest.mark.parametrize("kind", KINDS)
def test_nan_stays_in_its_row(kind, rng):
    net = Sequential(Dense(35), Activation(kind), Dense(3))
    x, dy = (rng.standard_normal((60, k)).astype("float32") for k in (13, 3))
    x[50, 2] = np.nan
    _, _, y, dx, grads = both_ways(net, x, dy, "float32")
    assert np.isnan(y[50]).all() and np.isnan(y).sum() == 3
    assert np.isnan(dx).any(axis=1).sum() <= 1 and np.isnan(grads).any()
