"""A training step of a decoder, and writing with keys and values kept, float32.

Two blocks of 64 numbers on 16 texts of 64 symbols, as on the page, and four of 256 numbers on 8 of
256. Both sides have one table for what is read and written, norms first, GELU in its tanh form, no
dropout, and AdamW, in PyTorch its fused form; its attention is `scaled_dot_product_attention` between
one projection for queries, keys and values together. A step takes a cost and every gradient and
changes all parameters; compared is the cost after a step.

Writing: 63 symbols, one after the other, the likeliest each time, so that both sides write the same.
Both keep keys and values in arrays that are there. Compared are the last scores.
"""

import numpy as np

from benchmarks.row import OURS, Row
from benchmarks.steps import TUNED, our_step, torch_step

BOOK = {"symbols": 96, "width": 64, "blocks": 2, "heads": 4, "length": 64, "batch": 16}
LARGE = {"symbols": 96, "width": 256, "blocks": 4, "heads": 8, "length": 256, "batch": 8}
RATE, DECAY = 1e-3, 0.01


def drawn(symbols, width, blocks, heads, length, batch):
    """Return a model of the book, its first parameters and a batch."""
    from dlbook.nets import Transformer

    rng = np.random.default_rng(1)
    net = Transformer(symbols, width, blocks, heads, length)
    params = net.init(rng)
    return net, params, net.check(params, tuple(rng.integers(symbols, size=(2, batch, length))))


def ours(**size):
    """`Transformer`, and one pass of AdamW over all parameters; two threads take half a batch each."""
    net, params, batch = drawn(**size)
    result = lambda loss: [loss]
    return our_step(net, params, batch, RATE, result, adam=True, decay=DECAY, shards=True)


def twin(symbols, width, blocks, heads, length, batch):
    """Return the same decoder in PyTorch with the same parameters, and the batch."""
    import torch
    from torch import nn
    from torch.nn import functional

    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
            self.looked, self.found = nn.Linear(width, 3 * width), nn.Linear(width, width)
            self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

        def split(self, x):
            n, t, _ = x.shape
            q = self.looked(self.norm(x)).view(n, t, 3, heads, width // heads)
            return q.permute(2, 0, 3, 1, 4)

        def rest(self, x, o):
            x = x + self.found(o.transpose(1, 2).reshape(x.shape))
            u = functional.gelu(self.up(self.norm2(x)), approximate="tanh")
            return x + self.down(u)

        def forward(self, x):
            q, k, v = self.split(x)
            o = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
            return self.rest(x, o)

        def step(self, x, keys, values, t):
            q, k, v = self.split(x)
            keys[:, :, t], values[:, :, t] = k[:, :, 0], v[:, :, 0]
            seen = keys[:, :, : t + 1], values[:, :, : t + 1]
            return self.rest(x, functional.scaled_dot_product_attention(q, *seen))

    class Decoder(nn.Module):
        def __init__(self):
            super().__init__()
            self.tokens = nn.Embedding(symbols, width)
            self.places = nn.Embedding(length, width)
            self.blocks = nn.ModuleList(Block() for _ in range(blocks))
            self.norm = nn.LayerNorm(width)

        def forward(self, ids):
            x = self.tokens(ids) + self.places.weight[: ids.shape[1]]
            for block in self.blocks:
                x = block(x)
            return functional.linear(self.norm(x), self.tokens.weight)

        def step(self, ids, cache, t):
            x = self.tokens(ids) + self.places.weight[t]
            for block, (keys, values) in zip(self.blocks, cache, strict=True):
                x = block.step(x, keys, values, t)
            return functional.linear(self.norm(x), self.tokens.weight)

    _, params, (x, y) = drawn(symbols, width, blocks, heads, length, batch)
    theirs, p = Decoder(), params.net
    given = [(theirs.tokens.weight, p.tokens.w), (theirs.places.weight, p.positions.w)]
    given += [(theirs.norm.weight, p.norm.gamma), (theirs.norm.bias, p.norm.beta)]
    for ours, block in zip(p.blocks, theirs.blocks, strict=True):
        a, (up, _, down) = ours.attention, ours.feed
        given += [(block.norm.weight, ours.norm.gamma), (block.norm.bias, ours.norm.beta)]
        given += [(block.norm2.weight, ours.norm2.gamma), (block.norm2.bias, ours.norm2.beta)]
        given += [(block.looked.weight, np.vstack(a[:3])), (block.found.weight, a.wo)]
        given += [(block.looked.bias, np.concatenate(a[4:7])), (block.found.bias, a.bo)]
        given += [(block.up.weight, up.w), (block.up.bias, up.b)]
        given += [(block.down.weight, down.w), (block.down.bias, down.b)]
    with torch.no_grad():
        for tensor, array in given:
            tensor.copy_(torch.from_numpy(array))
    return theirs, torch.from_numpy(x), torch.from_numpy(y)


def torch_training(mode=None, **size):
    """PyTorch, its AdamW fused; `mode` names how the cost is compiled, if it is."""
    from torch.nn import functional

    theirs, x, y = twin(**size)

    def cost():
        return functional.cross_entropy(theirs(x).flatten(0, 1), y.flatten())

    result = lambda loss: [loss.item()]
    return torch_step([*theirs.parameters()], cost, RATE, result, adam=True, mode=mode, decay=DECAY)


def our_writing(**size):
    """`Transformer.step`, symbol by symbol."""
    net, params, _ = drawn(**size)
    last = [None]

    def write():
        cache, w = net.cache(), np.zeros(1, np.int64)
        for _ in range(size["length"] - 1):
            last[0] = net.step(params, w, cache)
            w = last[0].argmax(axis=1)

    return write, lambda: [last[0]]


def torch_writing(compiled=False, **size):
    """The same in PyTorch, in inference mode."""
    import torch

    theirs, *_ = twin(**size)
    step, last = theirs.step, [None]
    if compiled:
        step = torch.compile(step, dynamic=True)
    shape = 1, size["heads"], size["length"], size["width"] // size["heads"]
    cache = [(torch.zeros(shape), torch.zeros(shape)) for _ in range(size["blocks"])]

    @torch.inference_mode()
    def write():
        w = torch.zeros(1, 1, dtype=torch.int64)
        for t in range(size["length"] - 1):
            last[0] = step(w, cache, t)
            w = last[0].argmax(-1)

    return write, lambda: [last[0][0].numpy()]


TRAINING = {
    OURS: ours,
    "torch": torch_training,
    "torch.compile": lambda **size: torch_training(mode="default", **size),
    "torch.tuned": lambda **size: torch_training(mode=TUNED, **size),
}
WRITING = {
    OURS: our_writing,
    "torch": torch_writing,
    "torch.compile": lambda **size: torch_writing(compiled=True, **size),
}


def operations(symbols, width, blocks, heads, length, batch):
    """Forth and twice as much back: dense layers, the seen half of all pairs, and the scores."""
    each = blocks * (12 * width**2 + length * width) + symbols * width
    return 6 * batch * length * each


ROWS = [
    Row(
        "transformer",
        "training step of a decoder, 2 blocks of 64 numbers, 16 texts of 64 symbols, AdamW, float32",
        TRAINING,
        BOOK,
        rtol=1e-5,
        threads=(1, 2),
        work=operations(**BOOK),
        target={"torch": 2},
    ),
    Row(
        "transformer-large",
        "the same with 4 blocks of 256 numbers, 8 texts of 256 symbols",
        TRAINING,
        LARGE,
        rtol=1e-5,
        threads=(1, 2),
        work=operations(**LARGE),
        target={"torch": 1.05},
    ),
    Row(
        "transformer-writing",
        "63 symbols of a text by the small decoder, keys and values kept",
        WRITING,
        BOOK,
        rtol=1e-3,
        target={"torch": 5},
    ),
]
