"""Penalties that stand inside a network: they add to the cost of a step of training.

Equations: `autoencoders`.
"""

from dataclasses import dataclass
from typing import ClassVar

from dlbook.fast.activations import ACTIVATIONS
from dlbook.fast.penalties import add_scaled, contract_into, penalize_into
from dlbook.nets.layer import Layer, features, rows_of
from dlbook.nets.layers import Dense
from dlbook.tools import elementary, shapes

__all__ = ["Contractive", "Sparse"]


@dataclass(frozen=True)
class Sparse(Layer):
    """Gives what it gets, and adds penalties of it to the cost.

    They are l1 times the mean of ``Σ |h|`` over the examples, and kl times the divergence of ρ from
    the mean activation of each unit, which then lies between 0 and 1.

    Parameters
    ----------
    l1, kl : float
        Weights of the two.
    rho : float
        ρ, the mean activation that is wanted.
    """

    keeps_output: ClassVar[bool] = True
    passes: ClassVar[bool] = True
    l1: float = 0.0
    kl: float = 0.0
    rho: float = 0.05

    def __post_init__(self):
        shapes.number("l1", self.l1, least=0)
        shapes.number("kl", self.kl, least=0)
        shapes.number("rho", self.rho, above=0, below=1)

    def shape(self, s):
        return features(self, s)

    def forward(self, p, x, step):
        return x, rows_of(x)

    def backward(self, p, dy, h, grads, step):
        means = step.memory.array("means", h.shape[1])
        step.all.cost += penalize_into(h, rows_of(dy), self.l1, self.kl, self.rho, means)
        return dy


@dataclass(frozen=True)
class Contractive(Dense):
    """Sigmoid units, and a penalty on how much they move: scale · Σ (∂h_j/∂x_k)² / N.

    Parameters
    ----------
    out, bias, initial, slope
        As of `Dense`.
    scale : float
        Weight of the penalty.
    """

    scale: float = 0.1

    def __post_init__(self):
        super().__post_init__()
        shapes.number("scale", self.scale, least=0)

    @property
    def keeps_output(self):
        return True

    def shape(self, s):
        features(self, s, 1)
        return super().shape(s)

    def forward(self, p, x, step):
        z, rows = super().forward(p, x, step)
        elementary.sigmoid(z, z)
        return z, (rows, z)

    def backward(self, p, dy, kept, grads, step):
        rows, h = kept
        ACTIVATIONS["sigmoid"].backward(dy, h, 0.0)
        means = step.memory.array("means", self.out)
        step.all.cost += contract_into(p.w, h, self.scale, dy, means)
        dx = super().backward(p, dy, rows, grads, step)
        if grads is not None:
            add_scaled(means, p.w, grads.w)
        return dx
