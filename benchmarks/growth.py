"""What a gradient of a decoder costs as one of its sizes grows: multiply-adds, bytes and seconds."""

import time

import numba
import numpy as np

from dlbook.nets import Transformer
from dlbook.tools.flat import like
from dlbook.transformer import multiply_adds

SYMBOLS, HEADS = 96, 4
USUAL = {"length": 64, "width": 64, "batch": 8, "blocks": 2}
GROWN = {
    "length": (16, 32, 64, 128, 256, 512),
    "width": (16, 32, 64, 128, 256),
    "batch": (1, 2, 4, 8, 16, 32),
    "blocks": (1, 2, 4, 8, 16),
}
ROUNDS = 7


def work_of(length, width, batch, blocks):
    """Return the multiply-adds of a gradient: each symbol sees those before it, and each product has two
    on the way back."""
    each = [multiply_adds(t, SYMBOLS, width, 4 * width, blocks) for t in range(1, length + 1)]
    return 3 * batch * sum(map(int, each))


def gradient_of(length, width, batch, blocks):
    """Return a function that computes a gradient, and the memory it works in."""
    rng = np.random.default_rng(1)
    net = Transformer(SYMBOLS, width, blocks, HEADS, length)
    params = net.init(rng)
    given = net.check(params, tuple(rng.integers(SYMBOLS, size=(2, batch, length))))
    grads, memory, state = like(params), net.workspace(batch), net.start()
    return lambda: net.loss_and_grad(params, state, given, grads, memory, None), memory


def bytes_of(**sizes):
    """Return the bytes that a gradient works in, without packed factors, whose width is the processor's."""
    gradient, memory = gradient_of(**sizes)
    gradient()
    return int(memory.bytes - memory.panel_bytes)


def seconds_of(**sizes):
    """Return the processor's seconds of a gradient on one thread, the least of some rounds."""
    gradient, _ = gradient_of(**sizes)
    gradient()
    begin = time.process_time()
    gradient()
    calls = max(1, round(0.05 / max(time.process_time() - begin, 1e-4)))
    found = []
    for _ in range(ROUNDS):
        begin = time.process_time()
        for _ in range(calls):
            gradient()
        found.append((time.process_time() - begin) / calls)
    return float(f"{min(found):.3g}")


def measured(axis):
    """Return what was found for the sizes of one axis, the others as usual."""
    sizes = [USUAL | {axis: size} for size in GROWN[axis]]
    return {
        "sizes": [*GROWN[axis]],
        "multiply-adds": [work_of(**some) for some in sizes],
        "bytes": [bytes_of(**some) for some in sizes],
        "seconds": [seconds_of(**some) for some in sizes],
    }


def transformer_growth(spread):
    """Grow one size at a time; all in one process, so that nothing runs beside it."""
    [found] = spread(every_axis, [0])
    return {"usual": USUAL, "symbols": SYMBOLS, "heads": HEADS, "rounds": ROUNDS, "grown": found}


def every_axis(_):
    """Measure on one thread: each has memory of its own."""
    numba.set_num_threads(1)
    return {axis: measured(axis) for axis in GROWN}
