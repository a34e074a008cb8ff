"""Small networks on digits of 8 × 8 pixels: those of the page *Architectures*, and of its stored runs.

They differ in one thing at a time: in depth, in what is added to a block, in branches, in the head.
"""

from typing import Any, NamedTuple

import numpy as np

from dlbook.linear_classification import softmax
from dlbook.nets.containers import Parallel, Residual, Sequential
from dlbook.nets.conv import Conv2d
from dlbook.nets.images import GlobalPool, MaxPool2d
from dlbook.nets.layers import Activation, Dense, Reshape
from dlbook.nets.loop import fit
from dlbook.nets.model import Fitted
from dlbook.nets.network import Network
from dlbook.nets.norms import BatchNorm
from dlbook.optimization import Adam
from dlbook.tools import shapes
from dlbook.tools.flat import like

__all__ = [
    "Paths",
    "Start",
    "branched",
    "deep",
    "headed",
    "images",
    "learned",
    "neighbours",
    "paths",
    "stacked",
    "training_loss",
]

RELU, IMAGE = Activation("relu"), (1, 8, 8)


def _conv(out, size=3, stride=1, norm=False, initial="he"):
    """Return a convolution that keeps the size apart from its stride, and what norms it."""
    conv = Conv2d(out, size, stride, size // 2, bias=not norm, initial=initial)
    return [conv, BatchNorm()] if norm else [conv]


def deep(layers: int, *, residual: bool = False, norm: bool = False, zero: bool = False) -> Network:
    """Return a network with so many layers with weights, all but the last 3 × 3 with 16 filters.

    Parameters
    ----------
    layers : int
        2, 4, 6, …: a convolution with stride 2, blocks of two convolutions, a dense layer.
    residual : bool
        Whether what goes into a block is added to what comes out of it.
    norm : bool
        Whether each convolution has batch normalization instead of a bias.
    zero : bool
        Whether the second convolution of each block starts with weights that are zero.
    """
    if shapes.count("layers", layers, least=2) % 2:
        raise ValueError(f"layers is {layers}, expected an even number")
    start = "zero" if zero else "he"
    inner = [*_conv(16, norm=norm), RELU, *_conv(16, norm=norm, initial=start)]
    block = [Residual(*inner), RELU] if residual else [*inner, RELU]
    net = [*_conv(16, 3, 2, norm), RELU, *block * (layers // 2 - 1), Reshape(-1), Dense(10)]
    return Network(IMAGE, Sequential(*net))


def branched(channels: int = 64, reduced: int | None = None) -> Network:
    """Return a network with two Inception blocks.

    Parameters
    ----------
    channels : int
        Of all maps, a multiple of 4: a quarter for each branch.
    reduced : int, optional
        Maps that 1 × 1 convolutions leave before the 3 × 3 and the 5 × 5; none where not given.
    """
    if shapes.count("channels", channels) % 4:
        raise ValueError(f"channels is {channels}, expected a multiple of 4")
    unit = [*_conv(channels, 3, 2, True), RELU]
    quarter = channels // 4

    def branch(size):
        less = [] if reduced is None else [*_conv(reduced, 1, norm=True), RELU]
        return Sequential(*less, *_conv(quarter, size, norm=True), RELU)

    one = [*_conv(quarter, 1, norm=True), RELU]
    pooled = Sequential(MaxPool2d(3, 1, 1), *one)
    block = Parallel(Sequential(*one), branch(3), branch(5), pooled)
    return Network(IMAGE, Sequential(*unit, block, block, Reshape(-1), Dense(10)))


def headed(head: str) -> Network:
    """Return a network that reads its last 32 maps of 4 × 4 in one of two ways.

    Parameters
    ----------
    head : {"flat", "mean"}
        A dense layer on all their numbers, or on the mean of each map.
    """
    shapes.choice("head", head, ("flat", "mean"))
    body = [*_conv(16, norm=True), RELU, MaxPool2d(2)]
    body += [*_conv(32, norm=True), RELU, *_conv(32, norm=True), RELU]
    read = Reshape(-1) if head == "flat" else GlobalPool()
    return Network(IMAGE, Sequential(*body, read, Dense(10)))


def stacked(kind: str) -> Network:
    """Return a network with two units that see 5 × 5 numbers, on maps of 8 × 8.

    Parameters
    ----------
    kind : {"large", "same maps", "same weights", "straight"}
        Each unit is one 5 × 5 convolution on 16 maps; or two of 3 × 3, with 16 maps in between, or
        with 22, which makes about as many weights as 5 × 5; or these without a rectifier in between.
    """
    shapes.choice("kind", kind, ("large", "same maps", "same weights", "straight"))
    if kind == "large":
        unit = _conv(16, 5, norm=True)
    else:
        bend = [] if kind == "straight" else [RELU]
        unit = [*_conv(16 if kind == "same maps" else 22, norm=True), *bend, *_conv(16, norm=True)]
    unit = [*unit, RELU, MaxPool2d(2)]
    return Network(
        IMAGE, Sequential(*_conv(16, norm=True), RELU, *unit, *unit, Reshape(-1), Dense(10))
    )


def images(x: np.ndarray) -> np.ndarray:
    """Return rows of 64 numbers as images, (n, 1, 8, 8)."""
    return np.ascontiguousarray(x).reshape(-1, *IMAGE)


def neighbours(x: np.ndarray) -> list[np.ndarray]:
    """Return images moved by one pixel down, up, right and left; zeros come in."""
    wide = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
    ways = (0, 1), (2, 1), (1, 0), (1, 2)
    return [np.ascontiguousarray(wide[:, :, i : i + 8, j : j + 8]) for i, j in ways]


def learned(net: Network, data: tuple, rate, seed: int, epochs: int = 7) -> Fitted:
    """Train a network with Adam on batches of 64.

    Parameters
    ----------
    net : Network
        Any of this module.
    data : tuple (x, y)
        Images and classes.
    rate : float or schedule
        Of Adam.
    seed : int
        Draws weights, and the order of examples.
    epochs : int
        Passes over the examples.
    """
    draw = np.random.default_rng(seed)
    start = net.init(draw)
    return fit(net, start, data, Adam(rate), draw, epochs=epochs, batch=64, progress=False)


def training_loss(net: Network, fitted: Fitted, data: tuple) -> float:
    """Return the loss on all data as one batch in training, with the statistics of that batch.

    Running statistics lag behind weights that move fast; this loss does not know them.
    """
    params, state = fitted.params, fitted.state
    held = None if state is None else like(state, state.flat.copy())
    batch = net.check(params, data)
    return net.loss_and_grad(params, held, batch, like(params), net.workspace(len(batch[0])))


def lesioned(net: Network, fitted: Fitted, block: int) -> tuple[Network, Any, Any]:
    """Return a network of :func:`deep` after training without one of its blocks, and what it learned.

    Parameters
    ----------
    net : Network
        Of `deep`.
    fitted : Fitted
        Its parameters and running statistics.
    block : int
        Which one is taken out, 0 for the first. What it would get goes to the next.

    Returns
    -------
    Network, parameters, running statistics
    """
    parts = net.net.layers
    ends = [i for i, part in enumerate(parts) if part is RELU]
    if not any(isinstance(part, Residual) for part in parts):
        ends = ends[::2]
    block = shapes.count("block", block, least=0, most=len(ends) - 2)
    first, last = ends[block] + 1, ends[block + 1] + 1
    less = Network(IMAGE, Sequential(*parts[:first], *parts[last:]))
    found = []
    for kept, blank in ((fitted.params, less.init), (fitted.state, lambda rng: less.start())):
        new = blank(np.random.default_rng(0))
        if new is not None:
            new.flat[:] = np.concatenate(
                [a.ravel() for a in _arrays((*kept.net[:first], *kept.net[last:]))]
            )
        found.append(new)
    return less, *found


class Paths(NamedTuple):
    """What the branches of a trained residual network do with images, in inference."""

    lengthens: np.ndarray  # (block, image): largest singular value of the branch's Jacobian
    adds: np.ndarray  # (block, image): length of what the branch gives, by that of what it gets
    carried: np.ndarray  # (branches, image, number): gradient by the first block's input, by paths


def paths(net: Network, fitted: Fitted, data: tuple) -> Paths:
    """Return what the branches of a residual network of :func:`deep` do.

    A branch is two affine maps with a rectifier in between, so that its Jacobian at an image is
    the product of two matrices, with the rows left out at which the rectifier is closed. The
    gradient of the cost of each image is carried down block by block, kept apart by the number of
    branches that it went through.

    Parameters
    ----------
    net : Network
        Of `deep`, with `residual`.
    fitted : Fitted
        Its parameters and running statistics.
    data : tuple (x, y)
        Images and classes.
    """
    batch, n = net.check(fitted.params, data), len(data[1])
    held = None if fitted.state is None else fitted.state.net
    gave = [y.astype(float) for _, y in net.layers(fitted.params, fitted.state, batch)]
    errors = softmax(gave[-1]) - np.eye(10)[batch[1]]
    carried = [errors @ fitted.params.net[-1].w.astype(float)]
    lengthens, adds = [], []
    for i, part in reversed([*enumerate(net.net.layers)]):
        if not isinstance(part, Residual):
            continue
        x, p = gave[i - 1], fitted.params.net[i][0]
        h = [()] * len(p) if held is None else held[i][0]
        layers = part.layers[0].layers
        at = layers.index(RELU)
        lower = _alone(x.shape[1:], layers[:at], p[:at], h[:at])
        upper = _alone(x.shape[1:], layers[at + 1 :], p[at + 1 :], h[at + 1 :])
        z = lower(x)
        units = np.eye(x[0].size).reshape(-1, *x.shape[1:])
        first, second = (
            (layer(units) - layer(0 * units[:1])).reshape(len(units), -1)
            for layer in (lower, upper)
        )
        J = np.array([(first * on) @ second for on in (z > 0).reshape(n, -1)])
        size = lambda a: np.linalg.norm(a.reshape(n, -1), axis=1)
        lengthens.append(np.linalg.norm(J, 2, axis=(1, 2)))
        adds.append(size(upper(np.maximum(z, 0))) / size(x))
        behind = [g * (gave[i + 1].reshape(n, -1) > 0) for g in carried]
        through = [np.einsum("nij,nj->ni", J, g) for g in behind]
        none = np.zeros_like(behind[0])
        carried = [a + b for a, b in zip([*behind, none], [none, *through], strict=True)]
    return Paths(np.array(lengthens[::-1]), np.array(adds[::-1]), np.array(carried))


def _alone(inside, layers, p, h):
    """Return a function: what some layers give with these parameters and running statistics."""
    net = Network((inside[-1], *inside[:-1]), Sequential(*layers), dtype="float64")
    params, state = net.init(np.random.default_rng(0)), net.start()
    for new, old in ((params, p), (state, h)):
        if new is not None:
            new.flat[:] = np.concatenate([a.ravel() for a in _arrays(old)])
    return lambda x: net.outputs(params, state, x)


class Start(NamedTuple):
    """What an untrained network gives, by its rectified outputs and its weights, from below."""

    signals: np.ndarray  # norm of the gradient by each output
    weights: np.ndarray  # norm of the gradient by the weights of each convolution
    alike: np.ndarray  # cosine between outputs for different images, in the mean over pairs


def start(net: Network, data: tuple, seed: int) -> Start:
    """Return what a network of :func:`deep` gives for a batch before it is trained.

    Parameters
    ----------
    net : Network
        Any of `deep`.
    data : tuple (x, y)
        A batch.
    seed : int
        Draws the weights.
    """
    params = net.init(np.random.default_rng(seed))
    batch, state, grads = net.check(params, data), net.start(), like(params)
    gave = zip(net.net.layers, net.signals(params, state, batch, None), strict=True)
    found = [signal for layer, signal in gave if layer is RELU]
    net.loss_and_grad(params, state, batch, grads, net.workspace(len(data[1])))
    weights = [part for part in _arrays(grads.net) if part.ndim == 4]
    norms = [
        np.array([np.linalg.norm(a) for a in part])
        for part in ([signal.dy for signal in found], weights)
    ]
    return Start(*norms, np.array([_alike(signal.y) for signal in found]))


def _arrays(tree):
    """Return the arrays of a tree, in order."""
    return [tree] if isinstance(tree, np.ndarray) else [a for part in tree for a in _arrays(part)]


def _alike(y):
    """Return the mean cosine between rows of different examples."""
    rows = y.reshape(len(y), -1).astype(float)
    rows /= np.linalg.norm(rows, axis=1)[:, None]
    return (np.sum(rows.sum(axis=0) ** 2) - len(y)) / (len(y) * (len(y) - 1))
