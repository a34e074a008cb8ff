"""Models of layers and costs that no table of another test has: (model, data) by name."""

import numpy as np

from dlbook.nets import (
    LSTM,
    Activation,
    Bernoulli,
    Dense,
    Detection,
    Embedding,
    Frozen,
    Gaussian,
    Last,
    Network,
    Noise,
    PaddedNetwork,
    Parallel,
    PositionalEncoding,
    Scale,
    SequenceNetwork,
    Sequential,
    SoftmaxCrossEntropy,
    Together,
    Transformer,
    detector,
)  # fmt: skip
from dlbook.nets.copying import Before
from dlbook.tools.scenes import scenes

RNG = np.random.default_rng(0)
X, STEPS, LENGTHS = RNG.normal(size=(5, 3)), RNG.normal(size=(4, 6, 3)), np.array([6, 3, 1, 6])
SYMBOLS, CLASSES = RNG.integers(0, 5, (3, 4)), np.array([0, 1, 2, 1, 0])
WIDE = {"dtype": "float64"}


def frozen():
    """A frozen layer below one that learns."""
    body = Sequential(Dense(4), Activation("tanh"))
    values = Network(3, body, Gaussian(), **WIDE).init(np.random.default_rng(1))
    return Network(3, Sequential(Frozen(body, values), Dense(3)), **WIDE)


def found():
    """A detector and scenes, one of them empty."""
    cost, some = Detection(spread=0.3, weight=0.7), scenes("detect", "train", 3, dtype=np.float64)
    some.labels[1] = -1
    net = detector(cost, channels=(2, 3, 3, 3), dtype="float64")
    return net, (some.x, cost.targets(some.labels, some.boxes, 24))


HEADS = Sequential(Dense(4), Activation("tanh"), Parallel(Dense(3), Dense(3), join="tuple"))
TOKENS = Sequential(Dense(4), Scale(0.7), PositionalEncoding(6), Dense(3))
MODELS = {
    "scaled, with places": (PaddedNetwork((6, 3), TOKENS, Gaussian(), **WIDE), (STEPS, STEPS, LENGTHS)),
    "Bernoulli": (Network(3, Dense(3), Bernoulli(), **WIDE), (X, np.abs(X) % 1)),
    "two heads": (
        Network(3, HEADS, Together(SoftmaxCrossEntropy(), Gaussian()), **WIDE),
        (X, (CLASSES, X)),
    ),
    "masked": (Network(3, Sequential(Noise("mask", 0.3), Dense(3)), Gaussian(), **WIDE), (X, X)),
    "noisy": (Network(3, Sequential(Noise("gaussian", 0.3), Dense(3)), Gaussian(), **WIDE), (X, X)),
    "frozen": (frozen(), (X, CLASSES)),
    "what stood before": (PaddedNetwork((6, 3), Sequential(Before(), Dense(3)), Gaussian(), **WIDE),
                          (STEPS, STEPS, LENGTHS)),
    "the last step": (
        SequenceNetwork((), Sequential(Embedding(5, 4), LSTM(3), Last(), Dense(2)), symbols=5, **WIDE),
        (SYMBOLS, CLASSES[:3] % 2, np.array([4, 1, 3])),
    ),
    "Transformer": (Transformer(5, 4, 1, 2, 4, **WIDE), (SYMBOLS, SYMBOLS)),
    "detector": found(),
}  # fmt: skip
