"""Counting the n-grams of a megabyte of text, and a training step of a network with a window.

The text is Python's own documentation, letter by letter, as often as it takes to have 1,048,576 of
them. All n-grams of the orders 1 to 5 are counted, and how often each occurs is compared, from the
least frequent to the most. NumPy sorts the n-grams as whole numbers, Python's Counter takes slices
of bytes. The window is the size of the largest on the page.
"""

import numpy as np

from benchmarks.row import OURS, Row
from benchmarks.steps import our_step, torch_step

ORDER, LENGTH = 5, 2**20
BOOK = {"symbols": 92, "places": 9, "width": 24, "hidden": 256, "batch": 256}


def text():
    """Return the letters as numbers, and how many different ones there are."""
    from dlbook.tools.data import pydocs
    from dlbook.tools.text import Alphabet

    found = pydocs()
    alphabet = Alphabet.of(found, min_count=20, unknown="\ufffd")
    return np.resize(alphabet.encode(found), LENGTH), len(alphabet)


def ours():
    from dlbook.language_models import NGram

    (ids, V), model = text(), NGram(ORDER, "none")
    return lambda: model.fit(ids, V), lambda: [np.sort(level.raw) for level in model.levels]


def numpy():
    (ids, V), found = text(), []

    def call():
        found.clear()
        code = np.zeros(LENGTH, np.int64)
        for n in range(ORDER):
            code = code[: LENGTH - n] * V + ids[n:]
            found.append(np.unique(code, return_counts=True)[1])

    return call, lambda: [np.sort(counts).astype(float) for counts in found]


def counter():
    from collections import Counter

    (ids, _), found = text(), []
    letters = ids.astype(np.uint8).tobytes()

    def call():
        found.clear()
        for n in range(1, ORDER + 1):
            found.append(Counter(letters[t : t + n] for t in range(LENGTH - n + 1)))

    return call, lambda: [np.sort([*counts.values()]).astype(float) for counts in found]


def drawn(symbols, places, width, hidden, batch):
    """Return windows and what came after them, and first parameters."""
    rng = np.random.default_rng(1)
    x, y = rng.integers(symbols, size=(batch, places)), rng.integers(symbols, size=batch)
    sizes = (symbols, width), (hidden, places * width), (hidden,), (symbols, hidden), (symbols,)
    return x, y, [np.float32(0.1) * rng.standard_normal(s).astype(np.float32) for s in sizes]


def our_window(symbols, places, width, hidden, batch):
    from dlbook.nets import Activation, Dense, Embedding, Network, Reshape, Sequential

    x, y, given = drawn(symbols, places, width, hidden, batch)
    layers = Sequential(
        *(Embedding(symbols, width), Reshape(-1), Dense(hidden), Activation("tanh")),
        Dense(symbols),
    )
    net = Network((places,), layers, symbols=symbols)
    params = net.init(np.random.default_rng(0))
    params.flat[:] = np.concatenate([p.ravel() for p in given])
    data = net.check(params, (x, y))
    return our_step(net, params, data, 1e-3, lambda loss: [loss, params.flat], adam=True)


def torch_window(symbols, places, width, hidden, batch, mode=None):
    import torch
    from torch.nn import functional

    x, y, given = drawn(symbols, places, width, hidden, batch)
    x, y = torch.tensor(x), torch.tensor(y)
    parameters = [torch.tensor(p, requires_grad=True) for p in given]
    C, W, b, U, d = parameters

    def cost():
        h = torch.tanh(functional.linear(functional.embedding(x, C).flatten(1), W, b))
        return functional.cross_entropy(functional.linear(h, U, d), y)

    def result(loss):
        flat = torch.cat([p.detach().ravel() for p in parameters])
        return [loss.item(), flat.numpy()]

    return torch_step(parameters, cost, 1e-3, result, adam=True, mode=mode)


ROWS = [
    Row(
        "n-grams",
        "all n-grams of the orders 1 to 5 of a megabyte of text, counted",
        {OURS: ours, "numpy": numpy, "python": counter},
        target={"python": 10},
        limit=1.0,
    ),
    Row(
        "window",
        "training step of a network with a window of 9 letters, 256 units, batch 256, float32",
        {
            OURS: our_window,
            "torch": torch_window,
            "torch.compile": lambda **size: torch_window(**size, mode="default"),
        },
        BOOK,
        rtol=1e-4,
        target={"torch": 1},
    ),
]
