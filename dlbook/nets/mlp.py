"""The multilayer perceptron, put together from layers.

Equations: `backprop`, `training`.
"""
# ruff: noqa: E741

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from dlbook.nets.containers import Sequential
from dlbook.nets.costs import SoftmaxCrossEntropy
from dlbook.nets.layers import Activation, Dense, Dropout
from dlbook.nets.network import Composition
from dlbook.nets.norms import BatchNorm, LayerNorm
from dlbook.tools import shapes
from dlbook.tools.flat import belong

__all__ = ["MLP", "Layers", "Running"]


class Layers(NamedTuple):
    """Parameters of an `MLP`, or their gradients; all are views of ``flat``."""

    flat: np.ndarray
    w: tuple  # w[l] has shape (n_l, n_{l−1}) for l = 2 … L; w[0] and w[1] are None
    b: tuple  # b[l] has shape (n_l,)
    gamma: tuple  # gamma[l] and beta[l] have shape (n_l,) for hidden layers with a norm, else None
    beta: tuple


class Running(NamedTuple):
    """Running statistics of batch normalization; views of ``flat``."""

    flat: np.ndarray
    mean: tuple  # mean[l] and variance[l] have shape (n_l,) for hidden layers, else None
    variance: tuple


KINDS = ("relu", "leaky-relu", "sigmoid", "tanh")
NORMS = ("batch", "layer")
RULES = ("he", "xavier", "small", "zero")


@dataclass(frozen=True)
class MLP(Composition):
    """Dense layers with softmax at the end; in each hidden layer a norm, an activation, dropout.

    Parameters
    ----------
    sizes : sequence of int
        Neurons of each layer, the input first.
    activation : {"relu", "leaky-relu", "sigmoid", "tanh"}
        Of the hidden layers.
    initial : {"he", "xavier", "small", "zero"}
        Variance of the first weights: 2/n_in, 2/(n_in + n_out), 10⁻⁴, 0. Biases start at zero.
    norm : {None, "batch", "layer"}
        What stands between the weighted inputs and the activation.
    dropout : float
        Probability that a hidden activation is dropped in training, 0 ≤ p < 1.
    slope : float
        α of "leaky-relu".
    eps : float
        ε under the root of a norm.
    rate : float
        ρ of the running statistics.
    dtype : {"float32", "float64"}
        Of parameters and data.

    Raises
    ------
    TypeError, ValueError
        If one of them is not what is described here.
    """

    sizes: tuple[int, ...]
    activation: str = "relu"
    initial: str = "he"
    norm: str | None = None
    dropout: float = 0.0
    slope: float = 0.01
    eps: float = 1e-5
    rate: float = 0.1
    dtype: str = "float32"

    def __post_init__(self):
        """Check all of them at once."""
        if not isinstance(self.sizes, (Sequence, np.ndarray)) or len(self.sizes) < 2:
            raise ValueError(f"sizes is {self.sizes!r}, expected at least two layers: (64, 30, 10)")
        sizes = tuple(shapes.count(f"sizes[{i}]", n) for i, n in enumerate(self.sizes))
        object.__setattr__(self, "sizes", sizes)
        shapes.choice("activation", self.activation, KINDS)
        shapes.choice("initial", self.initial, RULES)
        if self.norm is not None:
            shapes.choice("norm", self.norm, NORMS)
        shapes.choice("dtype", self.dtype, ("float32", "float64"))
        shapes.number("dropout", self.dropout, least=0, below=1)
        shapes.number("slope", self.slope, least=0)
        shapes.number("eps", self.eps, above=0)
        shapes.number("rate", self.rate, above=0, most=1)

    @property
    def input(self) -> tuple[int, ...]:
        """Shape of an example."""
        return self.sizes[:1]

    @cached_property
    def net(self) -> Sequential:
        """The layers."""
        return Sequential(
            *(layer for l in range(2, len(self.sizes) + 1) for layer in self._layer(l))
        )

    def _layer(self, l):
        """Return what layer l consists of."""
        slope = self.slope if self.activation == "leaky-relu" else 0.0
        parts = [Dense(self.sizes[l - 1], initial=self.initial, slope=slope)]
        if l == len(self.sizes):
            return parts
        if self.norm:
            norm = BatchNorm(self.eps, self.rate) if self.norm == "batch" else LayerNorm(self.eps)
            parts.append(norm)
        parts.append(Activation(self.activation, self.slope))
        return [*parts, Dropout(self.dropout)] if self.dropout else parts

    @cached_property
    def cost(self) -> SoftmaxCrossEntropy:
        """What is made small."""
        return SoftmaxCrossEntropy()

    def _params(self):
        """Return parameters that are all zero."""
        flat, net = super()._params()
        return Layers(flat, *(self._by_layer(net, name) for name in ("w", "b", "gamma", "beta")))

    def _by_layer(self, net, name):
        """Return the arrays of one name, indexed by the book's number of their layer."""
        found, l = [None] * (len(self.sizes) + 1), 1
        for layer, part in zip(self.net.layers, net, strict=True):
            l += isinstance(layer, Dense)
            found[l] = getattr(part, name, found[l])
        return tuple(found)

    def start(self) -> Running | None:
        """Return fresh running statistics: mean 0, variance 1; None without batch norm."""
        state = super().start()
        if state is None:
            return None
        pair = (self._by_layer(state.net, name) for name in ("mean", "variance"))
        return Running(state.flat, *pair)

    def _examples(self, axes, x):
        """Return checked examples."""
        axes.sizes["i"] = (self.sizes[0], "layer 1")
        return axes.floats("x", x, "n i").astype(self.dtype)

    def scores(self, params: Layers, state: Running | None, x: np.ndarray) -> list[np.ndarray]:
        """Return what each layer gives in inference: the hidden activations, then the scores.

        Parameters
        ----------
        params : Layers
            The network.
        state : Running or None
            Its running statistics, which stand in for those of a batch.
        x : ndarray, shape (n, i)
            Examples as `check` returns them.

        Returns
        -------
        list of ndarray
            Indexed by layer as `params`; entry 1 is x itself.
        """
        return [None, x, *(a for _, a in self.layers(params, state, (x,)))]

    def layers(self, params: Any, state: Any, batch: tuple) -> Iterator[tuple[str, np.ndarray]]:
        """Yield the name of each layer's weights and what the layer gives, in inference."""
        belong(self, params, state)
        step, p = self._still(self._held(state)), self._tree(params)
        x, l = batch[0], 1
        for i, layer in enumerate(self.net.layers):
            if isinstance(layer, Dense) and i:
                l += 1
                yield f"w[{l}]", x
            x, _ = layer.forward(p[i], x, step.part(i))
        yield f"w[{l + 1}]", x
