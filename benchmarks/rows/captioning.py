"""A training step of a decoder that looks at places before each word, float32, plain gradient descent.

Loss, the gradient of all weights, and an update at the rate 0.1, for 32 captions of 4, 8 or 12 words
over maps of 6 × 6 places with 32 channels, which are given: the encoder was taught before. Each step
looks, so that the steps of a caption follow one another on every side. PyTorch takes the captions in
the order of their lengths, and at each step those that have not ended; its second setting compiles
that.
"""

import numpy as np

from benchmarks import steps
from benchmarks.row import OURS, Row

BOOK = {"batch": 32, "side": 6, "channels": 32, "hidden": 96, "width": 32}
LARGE = {"batch": 64, "side": 14, "channels": 128, "hidden": 512, "width": 128}
WORDS, RATE = 21, 0.1


def some(batch, side, channels, hidden, width):
    """Return a network with its parameters, and a batch whose longest captions come first."""
    from dlbook.nets import Captioner

    rng = np.random.default_rng(1)
    net = Captioner((channels, side, side), WORDS, hidden, width)
    x = rng.standard_normal((batch, channels, side, side), np.float32)
    ends = np.sort(np.resize((4, 8, 12), batch))[::-1].copy()
    y = rng.integers(2, WORDS, size=(batch, 12))
    y[np.arange(12) >= ends[:, None] - 1] = net.end
    return net, net.init(rng), (x, y, ends)


def weights_of(params):
    """Return all weights by the names that PyTorch has for them."""
    p = params.net
    return {
        "places": p.places.w,
        "start.weight": p.decoder.ws,
        "start.bias": p.decoder.bs,
        "table": p.words.w,
        "query": p.decoder.wq,
        "wx": p.decoder.wx,
        "wh": p.decoder.wh,
        "b": p.decoder.b,
        "scores.weight": p.scores.w,
        "scores.bias": p.scores.b,
    }


def ours(**size):
    """Our model as the loop calls it."""
    net, params, batch = some(**size)
    result = lambda loss: [loss, *weights_of(params).values()]
    return steps.our_step(net, params, net.check(params, batch), RATE, result)


def torch_step(mode=None, **size):
    """PyTorch's operations with our first weights."""
    import torch
    from torch.nn import functional

    _, params, (x, y, ends) = some(**size)
    theirs = {
        name: torch.from_numpy(w.copy()).requires_grad_() for name, w in weights_of(params).items()
    }
    N, K = x.shape[:2]
    maps = torch.from_numpy(x).reshape(N, K, -1).mT.contiguous()
    read, y = torch.from_numpy(np.hstack((0 * y[:, :1], y[:, :-1]))), torch.from_numpy(y)
    going = [int((ends > u).sum()) for u in range(int(ends.max()))]
    wanted = torch.cat([y[:m, u] for u, m in enumerate(going)])

    def cost():
        w, rows = theirs, []
        v = maps + w["places"]
        h = torch.tanh(functional.linear(v.mean(1), w["start.weight"], w["start.bias"]))
        c = torch.zeros_like(h)
        for u, m in enumerate(going):
            h, c, v = h[:m], c[:m], v[:m]
            asks = functional.linear(h, w["query"])[:, None]
            o = functional.scaled_dot_product_attention(asks, v, v)[:, 0]
            step = torch.cat((functional.embedding(read[:m, u], w["table"]), o), 1)
            z = functional.linear(step, w["wx"], w["b"]) + functional.linear(h, w["wh"])
            i, f, g, out = z.chunk(4, 1)
            c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
            h = torch.sigmoid(out) * torch.tanh(c)
            rows.append(torch.cat((h, o), 1))
        scores = functional.linear(torch.cat(rows), w["scores.weight"], w["scores.bias"])
        return functional.cross_entropy(scores, wanted)

    def result(loss):
        return [float(loss), *(w.detach().numpy() for w in theirs.values())]

    return steps.torch_step([*theirs.values()], cost, RATE, result, mode=mode)


SIDES = {
    OURS: ours,
    "torch": torch_step,
    "torch.compile": lambda **size: torch_step(mode=steps.TUNED, **size),
}
ROWS = [
    Row(
        "captioner",
        "training step of a decoder that looks at 36 places, 32 captions, 96 units, float32",
        SIDES,
        BOOK,
        rtol=1e-4,
        target={"torch": 3},
    ),
    Row(
        "captioner-large",
        "the same with 196 places of 128 channels, 64 captions, 512 units",
        {name: side for name, side in SIDES.items() if name != "torch.compile"},
        LARGE,
        rtol=1e-3,
        target={"torch": 1.5},
    ),
]
