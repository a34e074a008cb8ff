"""Neurons: perceptrons, smooth neurons, activation functions, layers, and what they can express.

Page: ``book/neurons.md``. Builds on: `linear_classification` (sigmoid).

Sources: McCulloch & Pitts, Bull. Math. Biophys. 5 (1943) and Rosenblatt, Psychol. Rev. 65 (1958)
for the neuron; Minsky & Papert, *Perceptrons* (1969) for its limits; Hendrycks & Gimpel,
arXiv:1606.08415 (2016) for GELU; Elfwing, Uchibe & Doya, Neural Networks 107 (2018) for SiLU;
Cybenko, Math. Control Signals Systems 2 (1989) and Leshno et al., Neural Networks 6 (1993) for
approximation. The bound of `bump_bound` is derived on the page.

Axes: n examples, k inputs of a layer, h hidden units, j outputs. Activations take any shape.

Names: x inputs; w weights, (out, in) in a layer; b biases; z the pre-activation w·x + b; a an
activation, the output of a layer and so the input of the next; g an activation function, always
with its derivative ``g_prime``, **which takes z and not a**.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from dlbook.linear_classification import sigmoid, sigmoid_prime
from dlbook.tools import shapes, units
from dlbook.tools.jit import njit

__all__ = [
    "ACTIVATIONS",
    "Network",
    "add",
    "affine",
    "bump_bound",
    "bump_network",
    "bumps",
    "collapse",
    "dense",
    "fit_random_layer",
    "forward",
    "full_adder",
    "gelu",
    "gelu_prime",
    "gelu_tanh",
    "gelu_tanh_prime",
    "identity",
    "identity_prime",
    "joints",
    "leaky_relu",
    "leaky_relu_prime",
    "nand",
    "perceptron",
    "relu",
    "relu_prime",
    "remainder_bound",
    "separating_perceptron",
    "sigmoid_neuron",
    "sigmoid_neuron_slopes",
    "sigmoid_slope",
    "silu",
    "silu_prime",
    "small_change",
    "step",
    "tanh",
    "tanh_from_sigmoid",
    "tanh_prime",
    "two_spirals",
    "weighted_sum",
]


# One neuron


@njit
def step(z):
    """g(z) = 1 where z > 0, else 0
    (any shape) -> (the same shape)
    """
    a = np.empty_like(z)
    for i, v in enumerate(z.flat):
        a.flat[i] = 1 if v > 0 else 0 if v <= 0 else v  # the rest is NaN
    return a


@njit
def weighted_sum(x, w, b):
    """z_n = Σ_k w_k x_nk + b
    (n k), (k), () -> (n)
    """
    z = np.full(len(x), b, w.dtype)
    for n in range(len(x)):
        for k in range(len(w)):
            z[n] += w[k] * x[n, k]
    return z


@njit
def perceptron(x, w, b):
    """(neurons-perceptron)  y_n = 1 where Σ_k w_k x_nk + b > 0, else 0
    (n k), (k), () -> (n)
    """
    return step(weighted_sum(x, w, b))


@njit
def nand(x):
    """(neurons-nand)  y_n = 1 where −2 x_n1 − 2 x_n2 + 3 > 0, else 0
    (n 2) -> (n)
    """
    w = np.full_like(x[0], -2)
    return perceptron(x, w, 3)


@njit
def sigmoid_neuron(x, w, b):
    """(neurons-sigmoid)  y_n = σ(z_n),  z_n = Σ_k w_k x_nk + b
    (n k), (k), () -> (n)
    """
    return sigmoid(weighted_sum(x, w, b))


@njit
def sigmoid_neuron_slopes(x, w, b):
    """(neurons-sigmoid-prime)  ∂y_n/∂w_k = σ′(z_n) x_nk,  ∂y_n/∂b = σ′(z_n)
    (n k), (k), () -> (n k), (n)
    """
    slope_b = sigmoid_prime(weighted_sum(x, w, b))
    slope_w = np.empty(x.shape, slope_b.dtype)
    for n in range(len(x)):
        for k in range(len(w)):
            slope_w[n, k] = slope_b[n] * x[n, k]
    return slope_w, slope_b


@njit
def small_change(x, w, b, change_w, change_b):
    """(neurons-small-change)  Δy_n ≈ Σ_k ∂y_n/∂w_k Δw_k + ∂y_n/∂b Δb
    (n k), (k), (), (k), () -> (n)
    """
    slope_w, slope_b = sigmoid_neuron_slopes(x, w, b)
    change = slope_b * change_b
    for n in range(len(x)):
        for k in range(len(w)):
            change[n] += slope_w[n, k] * change_w[k]
    return change


@njit
def remainder_bound(x, change_w, change_b):
    """(neurons-remainder)  |rest_n| ≤ √3/36 (Σ_k x_nk Δw_k + Δb)²
    (n k), (k), () -> (n)
    """
    change_z = weighted_sum(x, change_w, change_b)
    return math.sqrt(3) / 36 * change_z * change_z


@njit
def sigmoid_slope(z):
    """(neurons-sigmoid-max-slope)  σ′(z) = 1/4 − (σ(z) − 1/2)²
    (any shape) -> (the same shape)
    """
    s = sigmoid(z)
    return 0.25 - (s - 0.5) * (s - 0.5)


# Activation functions and their derivatives, all at the pre-activation z


@njit
def identity(z):
    """g(z) = z
    (any shape) -> (the same shape)
    """
    return z.copy()


@njit
def identity_prime(z):
    """g′(z) = 1
    (any shape) -> (the same shape)
    """
    return np.ones_like(z)


@njit
def tanh(z):
    """(neurons-tanh)  tanh z = (e^z − e^(−z)) / (e^z + e^(−z))
    (any shape) -> (the same shape)

    The quotient as written is ∞/∞ from z = 710 on; the library's tanh saturates.
    """
    return np.tanh(z)


@njit
def tanh_prime(z):
    """(neurons-tanh-prime)  tanh′ z = 1 − tanh² z
    (any shape) -> (the same shape)
    """
    slope = np.empty_like(z)
    for i, v in enumerate(z.flat):
        t = np.tanh(v)
        slope.flat[i] = (1 - t) * (1 + t)
    return slope


@njit
def tanh_from_sigmoid(z):
    """(neurons-tanh-sigmoid)  tanh z = 2 σ(2z) − 1
    (any shape) -> (the same shape)
    """
    return 2 * sigmoid(2 * z) - 1


@njit
def relu(z):
    """(neurons-relu)  relu(z) = max(0, z)
    (any shape) -> (the same shape)
    """
    a = np.empty_like(z)
    for i, v in enumerate(z.flat):
        a.flat[i] = 0 if v.real < 0 else v
    return a


@njit
def relu_prime(z):
    """(neurons-relu-prime)  relu′(z) = 1 where z > 0, else 0
    (any shape) -> (the same shape)

    At z = 0, where there is no derivative, the value is 0 by convention.
    """
    return step(z)


@njit
def leaky_relu(z, slope=0.01):
    """(neurons-leaky-relu)  g(z) = z where z > 0, else αz
    (any shape), () -> (the same shape)
    """
    a = np.empty_like(z)
    for i, v in enumerate(z.flat):
        a.flat[i] = v if v.real > 0 else slope * v
    return a


@njit
def leaky_relu_prime(z, slope=0.01):
    """(neurons-leaky-relu-prime)  g′(z) = 1 where z > 0, else α
    (any shape), () -> (the same shape)

    At z = 0 the value is the slope on the left, by convention.
    """
    d = np.empty_like(z)
    for i, v in enumerate(z.flat):
        d.flat[i] = 1 if v > 0 else slope if v <= 0 else v
    return d


@njit
def gelu(z):
    """(neurons-gelu)  gelu(z) = z Φ(z),  Φ(z) = (1 + erf(z/√2)) / 2
    (any shape) -> (the same shape)

    The code has erfc(−z/√2) for 1 + erf(z/√2): the same number, without the cancellation that
    costs the sum all its digits below z = −8. At z = −∞ the product is −∞·0, which is NaN.
    """
    a = np.empty_like(z)
    for i, v in enumerate(z.flat):
        a.flat[i] = v * math.erfc(-v / math.sqrt(2)) / 2
    return a


@njit
def gelu_prime(z):
    """(neurons-gelu-prime)  gelu′(z) = Φ(z) + z φ(z),  φ(z) = e^(−z²/2) / √(2π)
    (any shape) -> (the same shape)
    """
    slope = np.empty_like(z)
    for i, v in enumerate(z.flat):
        density = math.exp(-v * v / 2) / math.sqrt(2 * math.pi)
        slope.flat[i] = math.erfc(-v / math.sqrt(2)) / 2 + v * density
    return slope


@njit
def gelu_tanh(z):
    """(neurons-gelu-tanh)  gelu(z) ≈ z (1 + tanh u) / 2,  u = √(2/π) (z + 0.044715 z³)
    (any shape) -> (the same shape)
    """
    a = np.empty_like(z)
    for i, v in enumerate(z.flat):
        u = math.sqrt(2 / math.pi) * (v + 0.044715 * v * v * v)
        a.flat[i] = v * (1 + np.tanh(u)) / 2
    return a


@njit
def gelu_tanh_prime(z):
    """(neurons-gelu-tanh-prime)  (1 + tanh u) / 2 + z (1 − tanh² u) u′ / 2
    (any shape) -> (the same shape)
    """
    slope = np.empty_like(z)
    for i, v in enumerate(z.flat):
        t = np.tanh(math.sqrt(2 / math.pi) * (v + 0.044715 * v * v * v))
        u_prime = math.sqrt(2 / math.pi) * (1 + 3 * 0.044715 * v * v)
        slope.flat[i] = (1 + t) / 2 + v * (1 - t) * (1 + t) * u_prime / 2
    return slope


@njit
def silu(z):
    """(neurons-silu)  silu(z) = z σ(z)
    (any shape) -> (the same shape)
    """
    a = np.empty_like(z)
    for i, v in enumerate(z.flat):
        a.flat[i] = v / (1 + np.exp(-v))
    return a


@njit
def silu_prime(z):
    """silu′(z) = σ(z) + z σ(z) (1 − σ(z))
    (any shape) -> (the same shape)
    """
    slope = np.empty_like(z)
    for i, v in enumerate(z.flat):
        s = 1 / (1 + np.exp(-v))
        slope.flat[i] = s + v * s * (1 - s)
    return slope


ACTIVATIONS = {
    "identity": (identity, identity_prime),
    "sigmoid": (sigmoid, sigmoid_prime),
    "tanh": (tanh, tanh_prime),
    "relu": (relu, relu_prime),
    "leaky_relu": (leaky_relu, leaky_relu_prime),
    "gelu": (gelu, gelu_prime),
    "silu": (silu, silu_prime),
}


# Layers


@njit
def affine(a, w, b):
    """(neurons-affine)  z_nj = Σ_k w_jk a_nk + b_j
    (n k), (j k), (j) -> (n j)
    """
    N, (J, K) = len(a), w.shape
    z = np.empty((N, J), w.dtype)
    for n in range(N):
        for j in range(J):
            z[n, j] = b[j]
            for k in range(K):
                z[n, j] += w[j, k] * a[n, k]
    return z


@njit
def collapse(w1, b1, w2, b2):
    """(neurons-linear-collapse)  w_jk = Σ_h w²_jh w¹_hk,  b_j = Σ_h w²_jh b¹_h + b²_j
    (h k), (h), (j h), (j) -> (j k), (j)
    """
    (H, K), J = w1.shape, len(w2)
    w, b = np.zeros((J, K), w2.dtype), b2.copy()
    for j in range(J):
        for h in range(H):
            b[j] += w2[j, h] * b1[h]
            for k in range(K):
                w[j, k] += w2[j, h] * w1[h, k]
    return w, b


def dense(
    a: ArrayLike,
    w: ArrayLike,
    b: ArrayLike,
    g: Callable,
) -> np.ndarray:
    """(neurons-dense)  a′_nj = g(Σ_k w_jk a_nk + b_j)
    (n k), (j k), (j) -> (n j)

    Parameters
    ----------
    a : array_like, shape (n, k)
        Activations of the layer before, one example per row.
    w : array_like, shape (j, k)
        Weights, one row per neuron.
    b : array_like, shape (j,)
        Biases.
    g : callable
        Activation function: takes the pre-activations, returns an array of their shape.

    Returns
    -------
    ndarray, shape (n, j)
        Activations of the layer.

    Raises
    ------
    ValueError, TypeError
        Where shapes do not fit, an array is empty or not of real numbers, or g is not a function.
    """
    axes = shapes.Axes()
    a = axes.floats("a", a, "n k", finite=False)
    w = axes.floats("w", w, "j k", finite=False)
    b = axes.floats("b", b, "j", finite=False)
    return _function("g", g)(affine(a, w, b))


class Network(NamedTuple):
    """Weights and biases of a network with one hidden layer."""

    w1: np.ndarray  # (h, k) into the hidden layer
    b1: np.ndarray  # (h,)
    w2: np.ndarray  # (j, h) from the hidden layer
    b2: np.ndarray  # (j,)


def forward(x: ArrayLike, network: Network, g: Callable) -> np.ndarray:
    """Return the outputs w² g(w¹ x + b¹) + b² of a network with one hidden layer.

    Parameters
    ----------
    x : array_like, shape (n, k)
        Inputs.
    network : Network
        Its weights and biases.
    g : callable
        Activation function of the hidden layer; the outputs have none.

    Returns
    -------
    ndarray, shape (n, j)
    """
    return dense(dense(x, network.w1, network.b1, g), network.w2, network.b2, identity)


def _function(name, g):
    """Return `g` if it can be called."""
    if not callable(g):
        raise TypeError(f"{name} is {shapes.shown(g)}, expected a function of an array")
    return g


# Logic


def _nand(p, q):
    return nand(np.stack((p, q), axis=-1))


def full_adder(p: ArrayLike, q: ArrayLike, carry: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Add three bits with nine NAND perceptrons.

    Parameters
    ----------
    p, q, carry : array_like of int, shape (n,)
        Bits.

    Returns
    -------
    total, carry : ndarray of int64, shape (n,)
        Lower and upper bit of p + q + carry.

    Raises
    ------
    ValueError, TypeError
        Where an entry is not a bit or the lengths differ.
    """
    axes = shapes.Axes()
    bits = {"p": p, "q": q, "carry": carry}
    p, q, c = (axes.labels(name, v, "n", 2).astype(np.float64) for name, v in bits.items())
    both = _nand(p, q)
    half = _nand(_nand(p, both), _nand(q, both))  # p ≠ q
    odd = _nand(half, c)
    total = _nand(_nand(half, odd), _nand(c, odd))  # half ≠ c
    return total.astype(np.int64), _nand(odd, both).astype(np.int64)


def add(x: ArrayLike, y: ArrayLike, bits: int) -> np.ndarray:
    """Add whole numbers bit by bit: each carry goes into the next full adder.

    Parameters
    ----------
    x, y : array_like of int, shape (n,)
        Whole numbers from 0 to 2^bits − 1.
    bits : int
        Length of the numbers, from 1 to 30; there are nine perceptrons for each bit.

    Returns
    -------
    ndarray of int64, shape (n,)
    """
    bits = shapes.count("bits", bits, most=30)
    axes = shapes.Axes()
    x, y = (axes.labels(name, v, "n", 2**bits) for name, v in (("x", x), ("y", y)))
    total = np.zeros_like(x)
    carry = np.zeros_like(x)
    for bit in range(bits):
        one, carry = full_adder((x >> bit) & 1, (y >> bit) & 1, carry)
        total += one << bit
    return total + (carry << bits)


def separating_perceptron(x: ArrayLike, y: ArrayLike) -> tuple[np.ndarray, float] | None:
    """Find a perceptron that gives every example its label, or learn that there is none.

    The conditions (2y_n − 1)(w·x_n + b) ≥ 1 are linear in w and b, so a linear program decides;
    the 1 is no restriction, since any separating w and b can be scaled up to meet it.

    Parameters
    ----------
    x : array_like, shape (n, k)
        Inputs.
    y : array_like of int, shape (n,)
        Labels 0 or 1.

    Returns
    -------
    (w, b) or None
        Weights (k,) and bias; None where no perceptron separates the labels.

    Raises
    ------
    ValueError, TypeError
        For inputs that do not fit together, NaN, or labels other than 0 and 1.
    RuntimeError
        Where the solver gives up.
    """
    from scipy.optimize import linprog

    axes = shapes.Axes()
    x = axes.floats("x", x, "n k").astype(np.float64)
    side = 2 * axes.labels("y", y, "n", 2) - 1
    unit = units.powers(x, axis=0)  # the solver's tolerances are those of numbers near one
    rows = -side[:, None] * np.column_stack((np.ldexp(x, -unit), np.ones(len(x))))
    found = linprog(np.zeros(rows.shape[1]), rows, -np.ones(len(x)), bounds=(None, None))
    if found.status not in (0, 2):
        raise RuntimeError(f"the linear program was not decided: {found.message}")
    return (np.ldexp(found.x[:-1], -unit), float(found.x[-1])) if found.status == 0 else None


# What one hidden layer can approximate


@njit
def joints(w, b, v):
    """(neurons-joints)  x_h = −b_h / w_h,  F′(x_h + 0) − F′(x_h − 0) = v_h |w_h|
    (h), (h), (h) -> (h), (h)

    Where F(x) = v_0 + Σ_h v_h relu(w_h x + b_h) is bent, and by how much its slope grows
    there. A unit with w_h = 0 is constant: its joint lies at infinity, or is NaN.
    """
    return -b / w, v * np.abs(w)


@njit
def bump_bound(lipschitz, m, steepness):
    """(neurons-universal)  max |F(x) − f(x)| ≤ (L/m) (1/2 + 1/sinh(s/2m))
    (), (), () -> ()

    For f that changes by at most L per unit of x on [0, 1] and takes m cells. An infinite
    steepness s stands for steps.
    """
    return lipschitz / m * (0.5 + 1 / np.sinh(steepness / (2 * m)))


@njit
def bumps(values, steepness):
    """(neurons-bumps)  F(x) = f(c_1) + Σ_h (f(c_{h+1}) − f(c_h)) σ(s x − s h/m)
    (m), () -> (m−1 1), (m−1), (1 m−1), (1)
    """
    m = len(values)
    w1, b1 = np.empty((m - 1, 1), values.dtype), np.empty_like(values[1:])
    w2, b2 = np.empty((1, m - 1), values.dtype), values[:1].copy()
    for h in range(m - 1):
        w1[h, 0] = steepness
        b1[h] = -steepness * (h + 1) / m
        w2[0, h] = values[h + 1] - values[h]
    return w1, b1, w2, b2


def bump_network(f: Callable, m: int, steepness: float) -> Network:
    """Build a network that is nearly constant on each of m cells of [0, 1], from `bumps`.

    Parameters
    ----------
    f : callable
        The function to approximate; takes an array of points of [0, 1], returns its values.
    m : int
        Number of cells, one more than there are hidden units; at least 2.
    steepness : float
        The weight s into each hidden unit. With `step` for σ any s > 0 gives the same.

    Returns
    -------
    Network
        One input, m − 1 hidden units, one output; evaluate it by ``forward(x, network, sigmoid)``.

    Raises
    ------
    ValueError, TypeError
        For fewer than 2 cells, a steepness that is not positive, or f without finite values.
    """
    m = shapes.count("m", m, least=2)
    steepness = shapes.number("steepness", steepness, above=0)
    centres = (np.arange(m) + 0.5) / m
    values = shapes.Axes(m=m).floats("f(centres)", _function("f", f)(centres), "m")
    return Network(*bumps(values, steepness))


def fit_random_layer(
    x: ArrayLike,
    y: ArrayLike,
    units: int,
    rng: np.random.Generator,
    g: Callable = tanh,
    scale: float = 1.0,
) -> Network:
    """Fit a network whose hidden layer is drawn and stays; only the outputs are fitted.

    Parameters
    ----------
    x : array_like, shape (n, k)
        Inputs.
    y : array_like, shape (n, j)
        Targets; of several exact fits the one with the smallest weights is taken.
    units : int
        Number of hidden units.
    rng : numpy.random.Generator
        Source of the hidden weights and biases, all normal.
    g : callable
        Activation function of the hidden layer.
    scale : float
        Standard deviation of the hidden biases; weights have ``scale / √k``.

    Returns
    -------
    Network

    Raises
    ------
    ValueError, TypeError
        For inputs that do not fit together, NaN, also as an activation, no units or a scale that
        is not positive.
    """
    axes = shapes.Axes()
    x, y = axes.floats("x", x, "n k"), axes.floats("y", y, "n j")
    units = shapes.count("units", units)
    scale = shapes.number("scale", scale, above=0)
    shapes.generator("rng", rng)
    w1 = rng.normal(scale=scale / np.sqrt(axes["k"]), size=(units, axes["k"]))
    b1 = rng.normal(scale=scale, size=units)
    hidden = axes.floats("g(hidden layer)", dense(x, w1, b1, g), "n h")
    w2 = np.linalg.lstsq(np.column_stack((hidden, np.ones(len(x)))), y, rcond=None)[0].T
    return Network(w1, b1, np.ascontiguousarray(w2[:, :-1]), w2[:, -1].copy())


def two_spirals(
    n: int, rng: np.random.Generator, turns: float = 1.0, noise: float = 0.03
) -> tuple[np.ndarray, np.ndarray]:
    """Draw points on two interleaved spirals.

    Parameters
    ----------
    n : int
        Number of points; half of them, rounded up, lie on the first spiral.
    rng : numpy.random.Generator
        Source of the positions and the noise.
    turns : float
        How often each spiral winds around the origin.
    noise : float
        Standard deviation of the normal noise added to both coordinates.

    Returns
    -------
    x : ndarray, shape (n, 2)
    y : ndarray of int64, shape (n,)
        Spiral 0 or 1.
    """
    n = shapes.count("n", n, least=2)
    shapes.generator("rng", rng)
    turns = shapes.number("turns", turns, above=0)
    noise = shapes.number("noise", noise, least=0)
    y = np.arange(n) % 2
    radius = np.sqrt(rng.uniform(0.02, 1.0, n))
    angle = 2 * np.pi * turns * radius + np.pi * y
    x = radius[:, None] * np.stack((np.cos(angle), np.sin(angle)), axis=1)
    return x + rng.normal(scale=noise, size=(n, 2)), y
