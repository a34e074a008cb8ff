"""Architectures: blocks and their gradients, counts, paths, and what comes in wrong."""

import itertools

import numpy as np
import pytest

from dlbook import architectures as ar
from dlbook import convolution as cv
from dlbook.nets import Conv2d, Network, Parallel, Sequential
from dlbook.nets.layers import Activation
from dlbook.nets.images import MaxPool2d
from dlbook.verification import central_differences


def drawn(rng, *shape):
    return rng.normal(size=shape)


def block(rng, C=3, sides=((1, 1), (1, 1), (3, 1), (1, 1), (1, 3), (1, 1)), K=(2, 2, 3, 1, 2, 3)):
    """Draw the filters and biases of an Inception block."""
    before = C, C, K[1], C, K[3], C
    w = tuple(rng.normal(size=(k, c, *side)) for k, c, side in zip(K, before, sides, strict=True))
    return w, tuple(rng.normal(size=k) for k in K)


def with_error(rng):
    x, (w, b) = drawn(rng, 2, 3, 4, 5), block(rng)
    return drawn(rng, *ar.inception(x, w, b).shape), x, w, b


def adds(rng, C=3, K=4):
    """Draw the input and the parameters of a block that adds."""
    return drawn(rng, 2, C, 4, 5), drawn(rng, K, C, 3, 1), drawn(rng, K), drawn(rng, C, K, 1, 3)


KERNELS = [
    (ar.parameters, lambda rng: (3, 2, 6, 4, 1)),
    (ar.multiply_adds, lambda rng: (3, 2, 6, 4, 5, 7)),
    (ar.receptive_field, lambda rng: tuple(np.array([[3, 5, 2], [2, 3, 1]]))),
    (ar.stack_parameters, lambda rng: (3, 5, 2)),
    (ar.bottleneck_parameters, lambda rng: (3, 16, 4)),
    (ar.stack_filter, lambda rng: (drawn(rng, 2, 3, 3, 2), drawn(rng, 4, 2, 1, 3))),
    (ar.asymmetric, lambda rng: (drawn(rng, 2, 3, 4), drawn(rng, 5, 2, 3))),
    (ar.one_by_one, lambda rng: (drawn(rng, 2, 3, 4, 5), drawn(rng, 6, 3), drawn(rng, 6))),
    (ar.global_average, lambda rng: (drawn(rng, 2, 3, 4, 5),)),
    (ar.global_average_backward, lambda rng: (drawn(rng, 2, 3), 4, 5)),
    (ar.framed, lambda rng: adds(rng)[:3]),
    (ar.framed_backward, lambda rng: (drawn(rng, 2, 4, 4, 5), *adds(rng)[:2])),
    (ar.rectified, lambda rng: adds(rng)[:3]),
    (ar.opened, lambda rng: (drawn(rng, 2, 3, 4, 5), drawn(rng, 2, 3, 4, 5))),
    (ar.rectified_backward, lambda rng: (drawn(rng, 2, 6, 4, 5), 1, *adds(rng)[:3])),
    (ar.pooled, lambda rng: (drawn(rng, 2, 3, 4, 5),)),
    (ar.pooled_backward, lambda rng: (drawn(rng, 2, 3, 4, 5), drawn(rng, 2, 3, 4, 5))),
    (ar.inception, lambda rng: (drawn(rng, 2, 3, 4, 5), *block(rng))),
    (ar.inception_backward, with_error),
    (ar.residual, lambda rng: (*adds(rng), drawn(rng, 3))),
    (ar.residual_backward, lambda rng: (drawn(rng, 2, 3, 4, 5), *adds(rng))),
    (ar.growth, lambda rng: (2.0, np.array([0.5, 1.5, 2.0]))),
    (ar.plain_product, lambda rng: (drawn(rng, 3, 2, 2),)),
    (ar.residual_paths, lambda rng: (drawn(rng, 3, 2, 2),)),
    (ar.path_lengths, lambda rng: (np.array([0.5, 1.5, 2.0]),)),
]
