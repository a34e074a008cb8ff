"""Backpropagation: every derivative of a network for the price of a few forward passes.

Page: ``book/backprop.md``. Builds on `linear_classification` (sigmoid, softmax and cross-entropy),
`matmul` (the packed product of the fused step) and `verification` (the gradient check).

Sources: Linnainmaa, BIT 16 (1976); Werbos, System Modeling and Optimization (1982); Rumelhart,
Hinton & Williams, Nature 323 (1986); Baur & Strassen, Theor. Comput. Sci. 22 (1983) and Griewank
(1989) for the price; Baydin et al., JMLR 18 (2018) for the wider family.

Axes: l counts layers from 1 (the input) to L, and indexes lists and tuples as it stands, so that
``w[l]`` is w^l and entries without a meaning are None; j neurons of layer l; k neurons of the
layer below in w^l_jk, of the layer above in BP2; n examples of a batch.

Names: z weighted inputs, a activations, delta = ∂C/∂z, da = ∂C/∂a, dw and db the gradients.
"""
# ruff: noqa: E741

import itertools
from collections import defaultdict
from collections.abc import Sequence
from numbers import Real
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from dlbook.linear_classification import (
    row_shift,
    sigmoid,
    sigmoid_prime,
    softmax,
    softmax_cross_entropy,
    softmax_cross_entropy_gradient,
)
from dlbook.matmul import PANEL_BYTES, multiply_parallel, pack_parallel
from dlbook.tools import shapes
from dlbook.tools.elementary import decay, logistic
from dlbook.tools.jit import check_indices, njit, njit_fast
from dlbook.tools.progress import bar
from dlbook.tools.simd import aligned, largest
from dlbook.verification import check_gradient

__all__ = [
    "COSTS",
    "Graph",
    "Params",
    "Trained",
    "Value",
    "adjoints",
    "as_params",
    "average_cost",
    "backprop",
    "batch_forward",
    "bp1",
    "bp1_matrix",
    "bp2",
    "bp2_batch",
    "bp2_matrix",
    "bp3",
    "bp3_batch",
    "bp3_matrix",
    "bp4",
    "bp4_batch",
    "bp4_matrix",
    "check_backprop",
    "cost_from",
    "deltas",
    "forward",
    "fused_backward",
    "fused_epoch",
    "fused_errors",
    "fused_forward",
    "fused_gradient",
    "fused_step",
    "fused_weights",
    "half_shifts",
    "init",
    "layer",
    "layer_batch",
    "layer_jacobian",
    "layer_matrix",
    "layer_sizes",
    "loss_and_grad",
    "network_cost",
    "network_graph",
    "network_jacobian",
    "parameter_count",
    "path_sum",
    "predict",
    "quadratic_cost",
    "quadratic_cost_gradient",
    "sgd_step",
    "softmax_output_delta",
    "topological_order",
    "train",
    "workspace",
]

COSTS = ("quadratic", "cross-entropy")
FLOATING = ("float64", "float32", "complex128", "complex64")


# The network: one layer, and the cost of one example


@njit
def layer(w, b, a):
    """(backprop-notation)  z_j = Σ_k w_jk a_k + b_j,   a_j = σ(z_j)
    (j k), (j), (k) -> (j), (j)
    """
    z = b.copy()
    for j in range(w.shape[0]):
        for k in range(w.shape[1]):
            z[j] += w[j, k] * a[k]
    return z, sigmoid(z)


@njit
def layer_matrix(w, b, a):
    """(backprop-forward)  z = w a + b,   a = σ(z)
    (j k), (j), (k) -> (j), (j)
    """
    z = np.dot(np.ascontiguousarray(w), np.ascontiguousarray(a)) + b
    return z, sigmoid(z)


@njit
def quadratic_cost(a, y):
    """(backprop-quadratic-cost)  C_x = ½ Σ_j (y_j − a_j)²
    (j), (j) -> ()
    """
    total = a.dtype.type(0)
    for j in range(a.shape[0]):
        total += (y[j] - a[j]) ** 2
    return total / 2


@njit
def quadratic_cost_gradient(a, y):
    """(backprop-cost-output)  ∂C_x/∂a_j = a_j − y_j, from a and y alone
    (j), (j) -> (j)
    """
    da = np.empty_like(a)
    for j in range(a.shape[0]):
        da[j] = a[j] - y[j]
    return da


@njit
def average_cost(a, y):
    """(backprop-cost-average)  C = Σ_n C_n / N,   C_n = ½ Σ_j (y_nj − a_nj)²
    (n j), (n j) -> ()
    """
    total = a.dtype.type(0)
    for n in range(a.shape[0]):
        total += quadratic_cost(a[n], y[n])
    return total / a.shape[0]


# The four equations in components


@njit
def bp1(da, z):
    """(backprop-bp1)  δ^L_j = ∂C/∂a^L_j σ'(z^L_j)
    (j), (j) -> (j)
    """
    delta = np.empty_like(z)
    for j in range(z.shape[0]):
        delta[j] = da[j] * sigmoid_prime(z[j])
    return delta


@njit
def bp2(w, delta, z):
    """(backprop-bp2)  δ^l_j = Σ_k w^{l+1}_kj δ^{l+1}_k σ'(z^l_j)
    (k j), (k), (j) -> (j)
    """
    below = np.zeros_like(z)
    slope = sigmoid_prime(z)
    for k in range(w.shape[0]):
        for j in range(w.shape[1]):
            below[j] += w[k, j] * delta[k] * slope[j]
    return below


@njit
def bp3(delta):
    """(backprop-bp3)  ∂C/∂b^l_j = δ^l_j
    (j) -> (j)
    """
    db = np.empty_like(delta)
    for j in range(delta.shape[0]):
        db[j] = delta[j]
    return db


@njit
def bp4(a, delta):
    """(backprop-bp4)  ∂C/∂w^l_jk = a^{l−1}_k δ^l_j
    (k), (j) -> (j k)
    """
    dw = np.empty((delta.shape[0], a.shape[0]), a.dtype)
    for j in range(delta.shape[0]):
        for k in range(a.shape[0]):
            dw[j, k] = a[k] * delta[j]
    return dw


# The same four as matrix products


@njit
def bp1_matrix(da, z):
    """(backprop-bp1-matrix)  δ^L = ∇_a C ⊙ σ'(z^L)
    (…), (…) -> (…)
    """
    return da * sigmoid_prime(z)


@njit
def bp2_matrix(w, delta, z):
    """(backprop-bp2-matrix)  δ^l = ((w^{l+1})ᵀ δ^{l+1}) ⊙ σ'(z^l)
    (k j), (k), (j) -> (j)
    """
    w, delta = np.ascontiguousarray(w), np.ascontiguousarray(delta)
    return np.dot(w.T, delta) * sigmoid_prime(z)


@njit
def bp3_matrix(delta):
    """(backprop-bp3-matrix)  ∇_b C = δ^l
    (j) -> (j)
    """
    return delta.copy()


@njit
def bp4_matrix(a, delta):
    """(backprop-bp4-matrix)  ∇_w C = δ^l (a^{l−1})ᵀ
    (k), (j) -> (j k)
    """
    return np.outer(delta, a)


@njit(whole="y")
def softmax_output_delta(z, y):
    """(backprop-softmax-output-delta)  δ^L_nj = softmax(z^L_n)_j − [y_n = j]
    (n j), (n) -> (n j)
    """
    check_indices(y, z.shape[1])
    delta = softmax(z)
    for n in range(z.shape[0]):
        delta[n, y[n]] -= 1
    return delta


# The chain rule written out: a product of Jacobians, a sum over paths


@njit
def layer_jacobian(w, z):
    """J_jk = ∂a^l_j/∂a^{l−1}_k = σ'(z^l_j) w^l_jk
    (j k), (j) -> (j k)
    """
    jacobian = w.copy()
    slope = sigmoid_prime(z)
    for j in range(w.shape[0]):
        for k in range(w.shape[1]):
            jacobian[j, k] *= slope[j]
    return jacobian


@njit
def path_sum(jacobians, da, j):
    """(backprop-path-sum)  Σ_paths ∂C/∂a_{q_M} Π_m J^m_{q_m q_{m−1}},  q_0 = j
    (m q q), (q), () -> ()
    """
    M, Q = jacobians.shape[:2]
    total = da.dtype.type(0)
    for path in range(Q**M):
        term, at = da.dtype.type(1), j
        for m in range(M):
            to = path // Q**m % Q  # where this path goes next
            term *= jacobians[m, to, at]
            at = to
        total += term * da[at]
    return total


# Whole batches


@njit
def layer_batch(w, b, a):
    """(backprop-minibatch)  Z = A wᵀ + 1 bᵀ,   A = σ(Z)
    (j k), (j), (n k) -> (n j), (n j)
    """
    w, a = np.ascontiguousarray(w), np.ascontiguousarray(a)
    z = np.dot(a, w.T) + b
    return z, sigmoid(z)


@njit
def bp2_batch(w, delta, z):
    """(backprop-minibatch)  Δ^l = (Δ^{l+1} w^{l+1}) ⊙ σ'(Z^l)
    (k j), (n k), (n j) -> (n j)
    """
    w, delta = np.ascontiguousarray(w), np.ascontiguousarray(delta)
    return np.dot(delta, w) * sigmoid_prime(z)


@njit
def bp3_batch(delta):
    """(backprop-minibatch)  ∂C/∂b_j = Σ_n δ_nj
    (n j) -> (j)
    """
    db = np.zeros_like(delta[0])
    for n in range(delta.shape[0]):
        for j in range(delta.shape[1]):
            db[j] += delta[n, j]
    return db


@njit
def bp4_batch(a, delta):
    """(backprop-minibatch)  ∂C/∂w = Δᵀ A
    (n k), (n j) -> (j k)
    """
    a, delta = np.ascontiguousarray(a), np.ascontiguousarray(delta)
    return np.dot(delta.T, a)


# Parameters: one flat vector, seen as matrices


class Params(NamedTuple):
    """Weights and biases, or their gradients; ``w[l]`` and ``b[l]`` are views of ``flat``."""

    flat: np.ndarray  # all numbers: w², b², w³, b³, …
    w: tuple  # w[l] has shape (n_l, n_{l−1}) for l = 2 … L; w[0] and w[1] are None
    b: tuple  # b[l] has shape (n_l,)


def _sizes(sizes):
    """Return the layer sizes as a tuple of whole numbers."""
    if not isinstance(sizes, (Sequence, np.ndarray)) or isinstance(sizes, str):
        raise TypeError(f"sizes is {sizes!r}, expected neurons of each layer, such as (64, 30, 10)")
    if len(sizes) < 2:
        raise ValueError(f"sizes is {tuple(sizes)}, expected at least an input and an output layer")
    return tuple(shapes.count(f"sizes[{i}]", n) for i, n in enumerate(sizes))


def parameter_count(sizes: Sequence[int]) -> int:
    """Return Σ_l n_l (n_{l−1} + 1), the number of weights and biases.

    Parameters
    ----------
    sizes : sequence of int
        Neurons of each layer, the input first.

    Raises
    ------
    TypeError, ValueError
        If a size is not a whole number of at least 1, or there are more than 2³¹ − 1 parameters.
    """
    sizes = _sizes(sizes)
    total = sum(n * (m + 1) for m, n in itertools.pairwise(sizes))
    return shapes.count(f"the number of parameters of sizes {sizes}", total)


def as_params(flat: np.ndarray, sizes: Sequence[int]) -> Params:
    """Return the views of a flat vector as weights and biases; nothing is copied.

    Parameters
    ----------
    flat : ndarray, shape (parameters,)
        One-dimensional and contiguous; float64, float32 or complex.
    sizes : sequence of int
        Neurons of each layer, the input first.

    Raises
    ------
    TypeError, ValueError
        If `flat` is not such a vector or its length is not that of the sizes.
    """
    total = parameter_count(sizes)
    kind = shapes.array("flat", flat).dtype
    if kind not in FLOATING or not isinstance(flat, np.ndarray) or flat.dtype != kind:
        raise TypeError(f"flat is not a NumPy array of {', '.join(FLOATING)} numbers")
    if flat.shape != (total,) or not flat.flags.c_contiguous:
        raise ValueError(f"flat has shape {flat.shape}, expected ({total},), contiguous")
    return _views(flat, tuple(sizes))


def _views(flat, sizes):
    """Cut the flat vector into w², b², w³, b³, …"""
    w, b, at = [None, None], [None, None], 0
    for m, n in itertools.pairwise(sizes):
        w.append(flat[at : at + n * m].reshape(n, m))
        b.append(flat[at + n * m : at + n * m + n])
        at += n * m + n
    return Params(flat, tuple(w), tuple(b))


def layer_sizes(params: Params) -> tuple[int, ...]:
    """Return the neurons of each layer, the input first."""
    if not isinstance(params, Params):
        raise TypeError(f"params is {type(params).__name__}, expected Params, as init returns them")
    return (params.w[2].shape[1], *(len(b) for b in params.b[2:]))


def _like(params, dtype):
    """Return the same parameters in another dtype (as they are, where it is theirs)."""
    if params.flat.dtype == dtype:
        return params
    return _views(params.flat.astype(dtype), layer_sizes(params))


def init(sizes: Sequence[int], rng: np.random.Generator, dtype: DTypeLike = np.float64) -> Params:
    """Draw weights with standard deviation 1/√n_{l−1}; biases start at zero.

    Parameters
    ----------
    sizes : sequence of int
        Neurons of each layer, the input first: (64, 30, 10).
    rng : numpy.random.Generator
        Source of the weights.
    dtype : numpy dtype
        float64 or float32.

    Returns
    -------
    Params

    Raises
    ------
    TypeError, ValueError
        If a size is not a whole number of at least 1, or there are too many parameters.
    """
    total = parameter_count(sizes)
    shapes.generator("rng", rng)
    dtype = np.dtype(shapes.choice("dtype", np.dtype(dtype).name, ("float64", "float32")))
    params = _views(np.zeros(total, dtype), tuple(sizes))
    for w in params.w[2:]:
        w[:] = rng.standard_normal(w.shape) / np.sqrt(w.shape[1])
    return params


# One example: forward, the errors, the gradient


def _axes(params):
    """Return axes that know the size i of the input layer and j of the output layer."""
    axes, sizes = shapes.Axes(), layer_sizes(params)
    axes.sizes.update(i=(sizes[0], "layer 1"), j=(sizes[-1], "layer L"))
    return axes


def _example(params, x, y, cost):
    """Check one example and return it in the dtype of the parameters."""
    sizes, axes = layer_sizes(params), _axes(params)
    shapes.choice("cost", cost, COSTS)
    x = axes.floats("x", x, "i").astype(params.flat.dtype)
    if cost == "cross-entropy":
        return x, axes.labels("y", y, "", sizes[-1]).reshape(1)
    return x, axes.floats("y", y, "j").astype(params.flat.dtype)


def _forward(params, x, apply):
    """Return lists z and a, indexed by layer; `apply` is a kernel for one layer."""
    z, a = [None, None], [None, x]
    for w, b in zip(params.w[2:], params.b[2:], strict=True):
        zl, al = apply(w, b, a[-1])
        z.append(zl)
        a.append(al)
    return z, a


def _cost(z, a, y, cost):
    """Return the cost of one example from its output layer."""
    if cost == "cross-entropy":
        return softmax_cross_entropy(z[np.newaxis], y)
    return quadratic_cost(a, y)


def forward(params: Params, x: ArrayLike) -> tuple[list, list]:
    """Apply layer 2, 3, …, L to one example.

    Parameters
    ----------
    params : Params
        The network.
    x : array_like, shape (i,)
        The example; it is a^1.

    Returns
    -------
    z, a : lists of ndarray
        ``z[l]`` and ``a[l]`` belong to layer l. ``z[0]``, ``z[1]`` and ``a[0]`` are None.
    """
    x = _axes(params).floats("x", x, "i").astype(params.flat.dtype)
    return _forward(params, x, layer)


def network_cost(params: Params, x: ArrayLike, y: ArrayLike, cost: str = "quadratic"):
    """Return the cost C_x of one example; complex where the parameters are.

    Parameters
    ----------
    params : Params
        The network.
    x : array_like, shape (i,)
        The example.
    y : array_like, shape (j,), or int
        The target vector for "quadratic", the label 0 … j−1 for "cross-entropy".
    cost : {"quadratic", "cross-entropy"}
        ½ ‖y − a^L‖², or −log softmax(z^L)_y.
    """
    x, y = _example(params, x, y, cost)
    z, a = _forward(params, x, layer)
    return _cost(z[-1], a[-1], y, cost)


def cost_from(params: Params, l: int, z: np.ndarray, y: ArrayLike, cost: str = "quadratic"):
    """Return the cost as a function of the weighted inputs z^l alone: layers l … L are run.

    Parameters
    ----------
    params : Params
        The network.
    l : int
        A layer from 2 to L.
    z : ndarray, shape (n_l,)
        Its weighted inputs, real or complex.
    y, cost
        As in `network_cost`.
    """
    sizes = layer_sizes(params)
    shapes.count("l", l, least=2, most=len(sizes))
    _, y = _example(params, np.zeros(sizes[0]), y, cost)
    z = shapes.array("z", z)
    if z.dtype not in FLOATING and z.dtype.kind not in "biu":
        raise TypeError(f"z has dtype {z.dtype}, expected one of {', '.join(FLOATING)}")
    if z.shape != (sizes[l - 1],):
        raise ValueError(f"z has shape {z.shape}, expected ({sizes[l - 1]},) for layer {l}")
    params, a = _like(params, np.result_type(params.flat, z)), sigmoid(z)
    for w, b in zip(params.w[l + 1 :], params.b[l + 1 :], strict=True):
        z, a = layer(w, b, a)
    return _cost(z, a, y.astype(a.dtype) if cost == "quadratic" else y, cost)


def _output_delta(z, a, y, cost):
    """Return δ^L."""
    if cost == "cross-entropy":
        return softmax_output_delta(z[np.newaxis], y)[0]
    return bp1(quadratic_cost_gradient(a, y), z)


def _deltas(params, z, a, y, cost):
    """Return the list of errors, from δ^L down to δ^2."""
    L = len(params.w) - 1
    delta = [None] * (L + 1)
    delta[L] = _output_delta(z[L], a[L], y, cost)
    for l in range(L - 1, 1, -1):
        delta[l] = bp2(params.w[l + 1], delta[l + 1], z[l])
    return delta


def deltas(params: Params, x: ArrayLike, y: ArrayLike, cost: str = "quadratic") -> list:
    """(backprop-delta)  δ^l_j = ∂C_x/∂z^l_j   for every layer l = 2 … L
    (i), (j) -> list of (n_l)

    Parameters
    ----------
    params, x, y, cost
        As in `network_cost`.

    Returns
    -------
    list of ndarray
        ``delta[l]`` has shape (n_l,); ``delta[0]`` and ``delta[1]`` are None.
    """
    x, y = _example(params, x, y, cost)
    z, a = _forward(params, x, layer)
    return _deltas(params, z, a, y, cost)


def backprop(
    params: Params,
    x: ArrayLike,
    y: ArrayLike,
    cost: str = "quadratic",
) -> Params:
    """Return ∂C_x/∂w^l and ∂C_x/∂b^l of one example, for every layer.

    Parameters
    ----------
    params, x, y, cost
        As in `network_cost`.

    Returns
    -------
    Params
        ``w[l]`` is ∂C_x/∂w^l and ``b[l]`` is ∂C_x/∂b^l.
    """
    x, y = _example(params, x, y, cost)
    z, a = _forward(params, x, layer)
    delta = _deltas(params, z, a, y, cost)
    grads = _views(np.empty_like(params.flat), layer_sizes(params))
    for l in range(2, len(params.w)):
        grads.b[l][:] = bp3(delta[l])
        grads.w[l][:] = bp4(a[l - 1], delta[l])
    return grads


def network_jacobian(params: Params, x: ArrayLike) -> np.ndarray:
    """(backprop-jacobian)  ∂a^L/∂a^1 = J^L J^{L−1} … J^2
    (i) -> (j i)

    Parameters
    ----------
    params : Params
        The network.
    x : array_like, shape (i,)
        The example.
    """
    z, _ = forward(params, x)
    product = layer_jacobian(params.w[2], z[2])
    for l in range(3, len(params.w)):
        product = layer_jacobian(params.w[l], z[l]) @ product
    return product


def check_backprop(params, x, y, cost="quadratic", rtol=1e-7, eps=1e-5) -> float:
    """Hold `backprop` against central differences of the cost over the flat parameter vector.

    Parameters
    ----------
    params, x, y, cost
        As in `network_cost`; float64.
    rtol, eps : float
        Largest relative error accepted, and the step of the differences.

    Returns
    -------
    float
        The largest relative error.

    Raises
    ------
    VerificationError
        If the error is above `rtol`.
    """
    sizes = layer_sizes(params)

    def cost_of(flat):
        return network_cost(_views(flat, sizes), x, y, cost)

    return check_gradient(cost_of, backprop(params, x, y, cost).flat, params.flat, rtol, eps)


# The same derivatives by a graph of numbers


def _ieee(function, *numbers):
    """Return a value as the kernels have it, infinite or NaN where Python would raise."""
    with np.errstate(all="ignore"):
        return float(function(*numbers))


class _Arithmetic:
    """What follows from addition, multiplication and 1/x."""

    __slots__ = ()

    def __neg__(self):
        return self * -1

    def __sub__(self, other):
        return self + -_lift(other)

    def __truediv__(self, other):
        return self * _lift(other).reciprocal()

    def __radd__(self, other):
        return self + other

    def __rmul__(self, other):
        return self * other

    def __rsub__(self, other):
        return _lift(other) - self

    def __rtruediv__(self, other):
        return _lift(other) / self

    def __repr__(self):
        return f"Value({self.data:g})"


class Value(_Arithmetic):
    """A number with its edges: pairs of a parent and ∂self/∂parent"""

    __slots__ = ("data", "edges")

    def __init__(self, data, edges=()):
        self.data, self.edges = float(data), edges

    def __add__(self, other):
        v = _lift(other)
        return Value(self.data + v.data, ((self, 1.0), (v, 1.0)))

    def __mul__(self, other):
        v = _lift(other)
        return Value(self.data * v.data, ((self, v.data), (v, self.data)))

    def reciprocal(self):
        """Return 1/self."""
        v = _ieee(np.divide, 1.0, self.data)
        return Value(v, ((self, -v * v),))

    def __pow__(self, k):
        if not isinstance(k, Real):
            return NotImplemented
        k = float(k)
        slope = k * _ieee(np.power, self.data, k - 1) if k else 0.0
        return Value(_ieee(np.power, self.data, k), ((self, slope),))

    def exp(self):
        """Return e^self."""
        v = _ieee(np.exp, self.data)
        return Value(v, ((self, v),))

    def log(self):
        """Return the natural logarithm."""
        slope = _ieee(np.divide, 1.0, self.data)
        return Value(_ieee(np.log, self.data), ((self, slope),))


def _lift(x):
    """Return a number as a node without parents."""
    return x if isinstance(x, Value) else Value(x)


def topological_order(output: Value) -> list:
    """List the nodes the output depends on, each after its parents."""
    order, seen, todo = [], set(), [(output, False)]
    while todo:
        node, ready = todo.pop()
        if ready:
            order.append(node)
        elif node not in seen:
            seen.add(node)
            todo.append((node, True))
            todo += [(parent, False) for parent, _ in node.edges]
    return order


def adjoints(output: Value, order=None) -> dict:
    """(backprop-adjoint)  v̄ = ∂output/∂v = Σ_{c made from v} c̄ ∂c/∂v

    Parameters
    ----------
    output : Value
        The number to differentiate.
    order : list of Value, optional
        Nodes with parents first, as `topological_order` gives them; any other order gives
        wrong derivatives.

    Returns
    -------
    dict
        The adjoint of each node.
    """
    order = topological_order(output) if order is None else order
    bar = defaultdict(float, {output: 1.0})
    for node in reversed(order):
        for parent, partial in node.edges:
            bar[parent] += bar[node] * partial
    return bar


class Graph(NamedTuple):
    """The cost of one example as a graph of numbers."""

    cost: Value
    leaves: list  # the parameters, in the order of the flat vector
    x: list  # the inputs
    z: list  # z[l][j] for l = 2 … L
    a: list  # a[l][j] for l = 1 … L


def network_graph(params: Params, x: ArrayLike, y: ArrayLike, cost: str = "quadratic") -> Graph:
    """Write the cost of one example as a graph of additions, multiplications, exp and log.

    It knows nothing of σ′ nor of BP1–BP4: the sigmoid is built from exp and 1/x.

    Parameters
    ----------
    params, x, y, cost
        As in `network_cost`.
    """
    x, y = _example(params, x, y, cost)
    leaves = [Value(v) for v in params.flat]
    z, a = [None, None], [None, [Value(v) for v in x]]
    at = 0
    for w in params.w[2:]:
        n, m = w.shape
        b = at + n * m
        z.append(
            [_dot(leaves[at + j * m : at + j * m + m], a[-1], leaves[b + j]) for j in range(n)]
        )
        a.append([_sigmoid(v) for v in z[-1]])
        at = b + n
    if cost == "cross-entropy":
        c = row_shift(np.array([[v.data for v in z[-1]]]))[0]  # a constant, it cancels
        out = sum((v - c).exp() for v in z[-1]).log() + c - z[-1][y[0]]
    else:
        out = sum((t - v) * (t - v) for t, v in zip(y, a[-1], strict=True)) * 0.5
    return Graph(out, leaves, a[1], z, a)


def _sigmoid(v):
    """Return 1 / (1 + e^−v), through e^v where e^−v could overflow."""
    if v.data >= 0:
        return 1 / (1 + (-v).exp())
    power = v.exp()
    return power / (1 + power)


def _dot(weights, inputs, total):
    """Return Σ_k w_k a_k + b as a chain of nodes."""
    for w, a in zip(weights, inputs, strict=True):
        total = w * a + total
    return total


# A batch, and training on many


def _batch(params, x, y, cost):
    """Check examples and their targets and return them in the dtype of the parameters."""
    sizes, axes = layer_sizes(params), _axes(params)
    shapes.choice("cost", cost, COSTS)
    x = axes.floats("x", x, "n i").astype(params.flat.dtype, copy=False)
    if cost == "cross-entropy":
        return x, axes.labels("y", y, "n", sizes[-1])
    return x, axes.floats("y", y, "n j").astype(params.flat.dtype, copy=False)


def batch_forward(params: Params, x: ArrayLike) -> tuple[list, list]:
    """Apply layer 2, 3, …, L to a batch, one example per row.

    Parameters
    ----------
    params : Params
        The network.
    x : array_like, shape (n, i)
        The examples.

    Returns
    -------
    z, a : lists of ndarray
        ``z[l]`` and ``a[l]`` have shape (n, n_l).
    """
    x = _axes(params).floats("x", x, "n i")
    return _forward(params, x.astype(params.flat.dtype, copy=False), layer_batch)


def _step(params, x, y, grads, cost):
    """Fill `grads` and return the mean cost; nothing is checked."""
    z, a = _forward(params, x, layer_batch)
    L = len(params.w) - 1
    if cost == "cross-entropy":
        loss = softmax_cross_entropy(z[L], y)
        delta = softmax_cross_entropy_gradient(z[L], y)
    else:
        loss = average_cost(a[L], y)
        delta = bp1_matrix((a[L] - y) / len(y), z[L])
    for l in range(L, 1, -1):
        grads.w[l][:] = bp4_batch(a[l - 1], delta)
        grads.b[l][:] = bp3_batch(delta)
        if l > 2:
            delta = bp2_batch(params.w[l], delta, z[l - 1])
    return loss


# The same step fused: the whole batch as matrices of (neurons, examples), over one flat vector


@njit(whole="sizes")
def _plan(sizes, N, W):
    """Return where each part of the workspace ends: activations, two packed factors, two errors."""
    widest, neurons = sizes[0], 0
    for n in sizes[1:]:
        widest, neurons = max(widest, n), neurons + n
    activations = neurons * N
    right = activations + -(-N // W) * W * widest  # panels of W examples
    turned = right + -(-widest // W) * W * N  # panels of W neurons
    return activations, right, turned, turned + widest * N, turned + 2 * widest * N


def workspace(sizes: Sequence[int], batch: int, dtype: DTypeLike = np.float64) -> np.ndarray:
    """Return the memory that a fused step needs, so that no step allocates any.

    Parameters
    ----------
    sizes : sequence of int
        Neurons of each layer, the input first.
    batch : int
        The most examples there will be in a step.
    dtype : numpy dtype
        float64 or float32.

    Returns
    -------
    ndarray
        One-dimensional.
    """
    dtype = np.dtype(shapes.choice("dtype", np.dtype(dtype).name, ("float64", "float32")))
    sizes, batch = np.array(_sizes(sizes)), shapes.count("batch", batch)
    return aligned((_plan(sizes, batch, PANEL_BYTES // dtype.itemsize)[-1],), dtype)


@njit_fast
def _activate(z, b):
    """z_jn becomes a_jn = σ(z_jn + b_j)"""
    for j in range(z.shape[0]):
        for n in range(z.shape[1]):
            z[j, n] = logistic(z[j, n] + b[j])


@njit_fast
def _cross_entropy(z, b, y, most, total):
    """z_jn becomes δ_jn = (softmax(z_n + b)_j − [y_n = j]) / N; returns the mean cost."""
    J, N = z.shape
    most[:], total[:], loss = -np.inf, 0, 0.0
    for j in range(J):
        for n in range(N):
            z[j, n] += b[j]
            most[n] = largest(most[n], z[j, n])
    for n in range(N):
        loss += most[n] - z[y[n], n]
    for j in range(J):
        for n in range(N):
            z[j, n] = decay(z[j, n] - most[n])
            total[n] += z[j, n]
    for n in range(N):
        loss += np.log(total[n])
        total[n] = 1 / (N * total[n])
    for j in range(J):
        for n in range(N):
            z[j, n] *= total[n]
    for n in range(N):
        z[y[n], n] -= z.dtype.type(1) / N
    return loss / N


@njit_fast
def fused_forward(flat, sizes, x, y, work):
    """Fill the activations in `work`, with δ^L in place of the last, and return the mean cost
    (parameters), (l), (n i), (n), (numbers) -> ()
    """
    N, L, W = x.shape[0], sizes.size, PANEL_BYTES // flat.itemsize
    packed, _, most, total, _ = _plan(sizes, N, W)
    weights = layer = 0  # where the weights and the activations of a layer begin
    loss = 0.0
    for l in range(1, L):
        K, J = sizes[l - 1], sizes[l]
        w = flat[weights : weights + J * K].reshape(J, K)
        b = flat[weights + J * K : weights + J * K + J]
        right = work[packed : packed + -(-N // W) * W * K].reshape(-(-N // W), K, W)
        if l == 1:
            pack_parallel(x.T, right)
        else:
            pack_parallel(work[layer - K * N : layer].reshape(K, N), right)
        z = work[layer : layer + J * N].reshape(J, N)
        multiply_parallel(w, right, z, False)
        if l < L - 1:
            _activate(z, b)
        else:
            loss = _cross_entropy(z, b, y, work[most : most + N], work[total : total + N])
        weights, layer = weights + J * (K + 1), layer + J * N
    return loss


@njit_fast
def fused_errors(w, delta, a, right, below):
    """Δ^l = ((w^{l+1})ᵀ Δ^{l+1}) ⊙ A ⊙ (1 − A), one column per example
    (k j), (k n), (j n), (q k w) -> (j n)
    """
    pack_parallel(delta, right)
    multiply_parallel(w.T, right, below, False)
    for j in range(below.shape[0]):
        for n in range(below.shape[1]):
            below[j, n] *= a[j, n] - a[j, n] * a[j, n]


@njit_fast
def fused_weights(delta, a, scale, add, right, dw, db):
    """dw = scale Δ Aᵀ and db = scale Δ 1, or added to dw and db
    (j n), (n k), (), (), (q n w) -> (j k), (j)
    """
    for j in range(delta.shape[0]):
        total = scale * 0
        for n in range(delta.shape[1]):
            delta[j, n] *= scale
            total += delta[j, n]
        db[j] = db[j] + total if add else total
    pack_parallel(a, right)
    multiply_parallel(delta, right, dw, add)


@njit_fast
def fused_backward(flat, sizes, x, into, scale, add, work):
    """Carry Δ^L down; write scale · gradient into a flat vector, or add it there
    (parameters), (l), (n i), (parameters), (), (), (numbers) -> (parameters)
    """
    N, W, weights = x.shape[0], PANEL_BYTES // flat.itemsize, flat.size
    layer, turned, even, odd, _ = _plan(sizes, N, W)
    packed, adding = layer, bool(add)  # one compiled form of what is called below
    delta = work[layer - sizes[-1] * N : layer].reshape(sizes[-1], N)
    for l in range(sizes.size - 1, 0, -1):
        K, J = sizes[l - 1], sizes[l]
        weights, layer = weights - J * (K + 1), layer - J * N
        dw = into[weights : weights + J * K].reshape(J, K)
        db = into[weights + J * K : weights + J * K + J]
        right = work[turned : turned + -(-K // W) * W * N].reshape(-(-K // W), N, W)
        if l == 1:
            fused_weights(delta, x, scale, adding, right, dw, db)
        else:
            w = flat[weights : weights + J * K].reshape(J, K)
            a = work[layer - K * N : layer].reshape(K, N)
            first = even if l % 2 else odd
            below = work[first : first + K * N].reshape(K, N)
            panels = work[packed : packed + -(-N // W) * W * J].reshape(-(-N // W), J, W)
            fused_errors(w, delta, a, panels, below)  # before the weights move
            fused_weights(delta, a.T, scale, adding, right, dw, db)
            delta = below


@njit_fast
def fused_gradient(flat, sizes, x, y, grads, work):
    """Fill the flat gradient of the mean cross-entropy and return the cost
    (parameters), (l), (n i), (n), (parameters), (numbers) -> ()
    """
    loss = fused_forward(flat, sizes, x, y, work)
    fused_backward(flat, sizes, x, grads, flat.dtype.type(1), False, work)
    return loss


@njit_fast
def fused_step(flat, sizes, x, y, rate, work):
    """θ ← θ − rate · ∇C: BP3 and BP4 add −rate · gradient to the parameters at once
    (parameters), (l), (n i), (n), (), (numbers) -> ()
    """
    loss = fused_forward(flat, sizes, x, y, work)
    fused_backward(flat, sizes, x, flat, flat.dtype.type(-rate), True, work)
    return loss


@njit_fast
def fused_epoch(flat, sizes, x, y, order, rate, batch, work):
    """Take a step for each mini-batch; return the mean cost and the step that failed, or −1
    (parameters), (l), (n i), (n), (n), (), (), (numbers) -> (), ()
    """
    some_x, some_y = np.empty((batch, x.shape[1]), x.dtype), np.empty(batch, y.dtype)
    total = 0.0
    for step in range(-(-order.size // batch)):
        some = order[step * batch : (step + 1) * batch]
        for n in range(some.size):
            some_x[n], some_y[n] = x[some[n]], y[some[n]]
        loss = fused_step(flat, sizes, some_x[: some.size], some_y[: some.size], rate, work)
        total += loss * some.size
        if not (np.isfinite(loss) and np.isfinite(flat).all()):
            return loss, step
    return total / order.size, -1


def loss_and_grad(
    params: Params,
    state: None,
    batch: tuple,
    grads: Params,
    work: np.ndarray | None = None,
    rng: None = None,
    *,
    cost: str = "cross-entropy",
) -> float:
    """Return the mean cost of a batch and fill `grads` with its gradient.

    Parameters
    ----------
    params : Params
        The network.
    state, rng : None
        Later models keep running statistics and random masks here.
    work : ndarray, optional
        A `workspace`, for "cross-entropy": the fused form of the same computation runs in it.
    batch : tuple (x, y)
        x of shape (n, i); y labels of shape (n,) for "cross-entropy", targets of shape (n, j)
        for "quadratic".
    grads : Params
        Of the same sizes and dtype; overwritten.
    cost : {"cross-entropy", "quadratic"}
        Mean of −log softmax(z^L)_y, or of ½ ‖y − a^L‖².

    Returns
    -------
    float
        The mean cost.
    """
    x, y = _batch(params, *batch, cost)
    if layer_sizes(grads) != layer_sizes(params) or grads.flat.dtype != params.flat.dtype:
        raise ValueError("grads has other sizes or another dtype than params")
    if work is None:
        return float(_step(params, x, y, grads, cost))
    if cost != "cross-entropy":
        raise ValueError(
            f"work is given and cost is {cost!r}; the fused form has cross-entropy only"
        )
    _fits(work, params, len(x))
    sizes = np.array(layer_sizes(params))
    return float(fused_gradient(params.flat, sizes, x, y, grads.flat, work))


def _fits(work, params, batch):
    """Hold a workspace against the network and the batch."""
    need = _plan(np.array(layer_sizes(params)), batch, PANEL_BYTES // params.flat.itemsize)[-1]
    dtype = params.flat.dtype
    if not isinstance(work, np.ndarray) or work.dtype != dtype or not work.flags.c_contiguous:
        raise TypeError(f"work is not a workspace of {dtype} numbers; see workspace")
    if work.ndim != 1 or work.size < need:
        raise ValueError(f"work holds {work.size} numbers, {batch} examples need {need}")


def sgd_step(params: Params, batch: tuple, rate: float, work: np.ndarray) -> float:
    """Move the parameters one step against the gradient of the mean cross-entropy of a batch.

    Parameters
    ----------
    params : Params
        The network; its flat vector is changed in place.
    batch : tuple (x, y)
        x of shape (n, i), labels y of shape (n,).
    rate : float
        Learning rate η > 0.
    work : ndarray
        A `workspace` for these sizes and at least n examples.

    Returns
    -------
    float
        The mean cost before the step.
    """
    x, y = _batch(params, *batch, "cross-entropy")
    rate = shapes.number("rate", rate, above=0)
    _fits(work, params, len(x))
    return float(fused_step(params.flat, np.array(layer_sizes(params)), x, y, rate, work))


def predict(params: Params, state: None, x: ArrayLike) -> np.ndarray:
    """Return the most probable class of each example.

    Parameters
    ----------
    params : Params
        The network.
    state : None
        As in `loss_and_grad`.
    x : array_like, shape (n, i)
        The examples.

    Returns
    -------
    ndarray of int64, shape (n,)
    """
    z, _ = batch_forward(params, x)
    return np.argmax(z[-1], axis=1)


def half_shifts(x: ArrayLike, side: int) -> np.ndarray:
    """Return square images and four copies of each, moved by half a pixel up, down, left, right.

    Parameters
    ----------
    x : array_like, shape (n, side · side)
        Images, row by row; what lies beyond their edge counts as zero.
    side : int
        Pixels per row.

    Returns
    -------
    ndarray, shape (5n, side · side)
        The n images first, then four times n; repeat the labels with ``np.tile(y, 5)``.
    """
    side = shapes.count("side", side)
    x = shapes.Axes(i=side * side).floats("x", x, "n i")
    framed = np.pad(x.reshape(-1, side, side), ((0, 0), (1, 1), (1, 1)))
    moves = ((0, 1), (0, -1), (1, 0), (-1, 0))
    moved = [(framed + np.roll(framed, by, axis=(1, 2))) / 2 for by in moves]
    return np.concatenate([x, *(m[:, 1:-1, 1:-1].reshape(x.shape) for m in moved)])


class Trained(NamedTuple):
    """What training gives back."""

    params: Params
    losses: np.ndarray  # (epochs,) mean cost during each epoch, while the weights moved


def train(
    params: Params,
    x: ArrayLike,
    y: ArrayLike,
    rng: np.random.Generator,
    *,
    rate: float,
    epochs: int,
    batch: int = 10,
    cost: str = "cross-entropy",
    progress: bool = False,
) -> Trained:
    """Train by plain stochastic gradient descent on shuffled mini-batches.

    Parameters
    ----------
    params : Params
        Where to start; left as it is.
    x : array_like, shape (n, i)
        The examples.
    y : array_like
        Labels (n,) for "cross-entropy", targets (n, j) for "quadratic".
    rng : numpy.random.Generator
        Shuffles the examples.
    rate : float
        Learning rate η > 0.
    epochs, batch : int
        Passes over the examples, and examples per step; the last batch of an epoch may be smaller.
    cost : {"cross-entropy", "quadratic"}
        As in `loss_and_grad`.
    progress : bool
        Show a progress bar.

    Returns
    -------
    Trained

    Raises
    ------
    FloatingPointError
        When the cost or a weight stops being a finite number; the message names epoch and step.
    """
    x, y = _batch(params, x, y, cost)
    shapes.generator("rng", rng)
    rate = shapes.number("rate", rate, above=0)
    epochs, batch = shapes.count("epochs", epochs), shapes.count("batch", batch)
    sizes, flat = layer_sizes(params), params.flat.copy()
    params, grads = _views(flat, sizes), _views(np.empty_like(flat), sizes)
    work = workspace(sizes, min(batch, len(x)), flat.dtype)
    losses = np.zeros(epochs)
    for epoch in bar(progress, "epochs", iterable=range(epochs)):
        order = rng.permutation(len(x))
        if cost == "cross-entropy":
            loss, failed = fused_epoch(
                flat, np.array(sizes), x, y, order, rate, min(batch, len(x)), work
            )
        else:
            loss, failed = _epoch(params, x, y, order, rate, batch, grads, cost)
        if failed >= 0:
            raise FloatingPointError(
                f"training diverged in epoch {epoch + 1}, step {failed + 1}: the loss is {loss} "
                f"or the weights are not finite; try a rate below {rate:g}"
            )
        losses[epoch] = loss
    return Trained(params, losses)


def _epoch(params, x, y, order, rate, batch, grads, cost):
    """Take a step for each mini-batch; returns the mean cost and the step that failed, or −1."""
    total = 0.0
    for step, first in enumerate(range(0, len(x), batch)):
        some = order[first : first + batch]
        loss = _step(params, x[some], y[some], grads, cost)
        with np.errstate(over="ignore", invalid="ignore"):  # answered by name in train
            params.flat[:] -= rate * grads.flat
        total += loss * len(some)
        if not (np.isfinite(loss) and np.isfinite(params.flat).all()):
            return loss, step
    return total / len(x), -1
