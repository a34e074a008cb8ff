"""Normalization as layers.

Equations: `training`.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from dlbook.fast.norms import (
    affine_rows,
    fused_batchnorm,
    fused_batchnorm_backward,
    fused_layernorm,
    fused_layernorm_backward,
    update_running,
)
from dlbook.nets.layer import Layer, features, rows_of
from dlbook.tools import shapes

__all__ = ["BatchNorm", "LayerNorm"]


@dataclass(frozen=True)
class BatchNorm(Layer):
    """Each feature with mean 0 and variance 1 over the batch, then scaled and shifted.

    Statistics go over all axes but the last. In inference running averages of them stand in.

    Parameters
    ----------
    eps : float
        ε under the root.
    rate : float
        ρ of the running averages.
    """

    learns: ClassVar[bool] = True
    eps: float = 1e-5
    rate: float = 0.1

    def __post_init__(self):
        shapes.number("eps", self.eps, above=0)
        shapes.number("rate", self.rate, above=0, most=1)

    def parameters(self, s):
        C = features(self, s)[-1]
        return {"gamma": (C,), "beta": (C,)}

    def running(self, s):
        C = features(self, s)[-1]
        return {"mean": (C,), "variance": (C,)}

    def least(self, s):
        return 2 if len(s) == 1 or max(s[:-1]) == 1 else 1

    def draw(self, p, rng):
        p.gamma[:] = 1

    def begin(self, h):
        h.variance[:] = 1

    def forward(self, p, x, step):
        y, h, rows = step.array("y", *x.shape), step.state, rows_of(x)
        if not step.all.training:
            root = np.sqrt(h.variance + x.dtype.type(self.eps))
            affine_rows(rows, h.mean, root, p.gamma, p.beta, rows_of(y))
            return y, None
        if len(rows) < 2:
            raise ValueError("batch has one example, batch norm needs two to have a variance")
        mean, root = step.array("mean", x.shape[-1]), step.array("root", x.shape[-1])
        fused_batchnorm(rows, p.gamma, p.beta, self.eps, mean, root, rows_of(y))
        update_running(h.mean, h.variance, mean, root, self.eps, len(rows), self.rate)
        return y, (rows, mean, root)

    def backward(self, p, dy, kept, grads, step):
        x, mean, root = kept
        grads, d = step.like(p) if grads is None else grads, rows_of(dy)
        fused_batchnorm_backward(d, x, p.gamma, mean, root, d, grads.gamma, grads.beta)
        return dy


@dataclass(frozen=True)
class LayerNorm(Layer):
    """The features of each row with mean 0 and variance 1, then scaled and shifted.

    Parameters
    ----------
    eps : float
        ε under the root.
    """

    learns: ClassVar[bool] = True
    eps: float = 1e-5

    def __post_init__(self):
        shapes.number("eps", self.eps, above=0)

    def parameters(self, s):
        C = features(self, s)[-1]
        return {"gamma": (C,), "beta": (C,)}

    def draw(self, p, rng):
        p.gamma[:] = 1

    def forward(self, p, x, step):
        y, rows = step.array("y", *x.shape), rows_of(x)
        mean, root = step.array("mean", len(rows)), step.array("root", len(rows))
        fused_layernorm(rows, p.gamma, p.beta, self.eps, mean, root, rows_of(y))
        return y, (rows, mean, root)

    def backward(self, p, dy, kept, grads, step):
        x, mean, root = kept
        grads, d = step.like(p) if grads is None else grads, rows_of(dy)
        fused_layernorm_backward(d, x, p.gamma, mean, root, d, grads.gamma, grads.beta)
        return dy
