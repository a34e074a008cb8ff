"""An encoder of images that is taught to name one thing and its colour, and then read by others.

`dlbook.nets.Captioner` reads the maps that it makes. Equations: `convolution`, `captioning`.
"""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from dlbook.nets.containers import Parallel, Sequential
from dlbook.nets.conv import Conv2d
from dlbook.nets.costs import SoftmaxCrossEntropy, Together
from dlbook.nets.images import GlobalPool, MaxPool2d
from dlbook.nets.layer import new_step
from dlbook.nets.layers import Activation, Dense
from dlbook.nets.network import Network, joined, pieces
from dlbook.nets.norms import BatchNorm
from dlbook.tools import shapes
from dlbook.tools.flat import belong

__all__ = ["maps_of", "taught", "viewer"]


def viewer(channels: tuple[int, ...] = (16, 32, 32, 32)) -> Sequential:
    """Return layers that turn an image into a map, with places of 4 × 4 pixels.

    Parameters
    ----------
    channels : tuple of int
        Filters of 3 × 3, each layer followed by batch normalization and a rectifier, the first two
        by 2 × 2 pooling.
    """
    net = []
    for depth, filters in enumerate(channels):
        net += [Conv2d(filters, 3, padding=1, bias=False), BatchNorm(), Activation("relu")]
        net += [MaxPool2d(2)] if depth < 2 else []
    return Sequential(*net)


def taught(side: int = 24, classes=(10, 4), *, dtype: str = "float32", **how) -> Network:
    """Return a network with which a `viewer` is taught: what is there, and of which colour.

    Parameters
    ----------
    side : int
        Rows and columns of the images.
    classes : (int, int)
        Of things, and of colours; each has its own head over the largest number of each channel.
    dtype : {"float32", "float64"}
        Of parameters and data.
    **how
        For `viewer`.
    """
    heads = Parallel(*map(Dense, classes), join="tuple")
    net = Sequential(body=viewer(**how), pool=GlobalPool("max"), heads=heads)
    return Network((3, side, side), net, Together(*[SoftmaxCrossEntropy()] * 2), dtype=dtype)


def maps_of(net: Network, params: Any, state: Any, x: ArrayLike) -> np.ndarray:
    """Return the maps that the body of a `taught` network makes of images, with what it has learned.

    Parameters
    ----------
    net : Network
        From `taught`.
    params, state : Views
        Of the network.
    x : array_like, shape (n, 3, side, side)
        Images.

    Returns
    -------
    ndarray, shape (n, c, h, w)
        As a `Captioner` without an encoder reads them.
    """
    belong(net, params, state)
    x, body = net._examples(shapes.Axes(), x), net.net.layers[0]
    p, held = net.by_layer(params).body, net._held(state).body
    still = lambda: new_step(net.dtype, training=False, state=held)
    found = [body.forward(p, part, still())[0] for part in pieces(x)]
    return np.ascontiguousarray(joined(found).transpose(0, 3, 1, 2))
