"""What a step costs whose shards are computed by processes of this machine."""

import statistics
import time
from concurrent.futures import ProcessPoolExecutor
from itertools import pairwise
from multiprocessing import get_context

import numba
import numpy as np

from dlbook.nets import CNN, MLP, Composition
from dlbook.nets.shards import Shards
from dlbook.tools import data
from dlbook.tools.flat import like

BATCH, SHARDS, ROUNDS = 512, 8, 15
SIZES = (16, 32, 64, 128, 256, 512)
LEVELS = np.linspace(0, 1, 41)  # of the times of one size
LENGTHS = (1_000, 30_000, 100_000, 300_000, 1_000_000)
NETS: dict[str, Composition] = {
    "CNN": CNN(),
    "MLP": MLP((64, 512, 512, 10)),
}


def echo(x):
    """Return what came, as a worker that has nothing to do."""
    return x


def echoed(pool, x):
    """Send an array there and back, as often as a step has shards."""
    for future in [pool.submit(echo, x) for _ in range(SHARDS)]:
        future.result()


def seconds(call, rounds=ROUNDS):
    """Return how long so many calls took, each by itself, after one that is not counted."""
    call()
    times = [time.perf_counter()]
    for _ in range(rounds):
        call()
        times.append(time.perf_counter())
    return [b - a for a, b in pairwise(times)]


def computed(net, x, y):
    """Return the times of shards of several sizes, on one thread."""
    params, rng = net.init(np.random.default_rng(0)), np.random.default_rng(1)
    grads, work = like(params), net.workspace(BATCH)
    step = lambda n: net.loss_and_grad(params, None, (x[:n], y[:n]), grads, work, rng)
    return {n: seconds(lambda n=n: step(n), 400 if n == BATCH // SHARDS else ROUNDS) for n in SIZES}


def stepped(net, batch, pool):
    """Return the times of whole steps on a pool; in this process where there is none."""
    params, rng = net.init(np.random.default_rng(0)), np.random.default_rng(1)
    grads, parts = like(params), Shards(net, pool, SHARDS, BATCH)
    return seconds(lambda: parts.loss_and_grad(params, None, batch, grads, rng, 0))


def scaling_workers(_map):
    """Measure shards, messages and steps; medians in seconds, and quantiles of one shard.

    Parameters
    ----------
    _map : callable
        Not used: nothing may run beside what is timed.
    """
    numba.set_num_threads(1)
    found = {"batch": BATCH, "shards": SHARDS, "nets": {}}
    digits, messages = data.digits(np.float32), {}
    pools = {n: ProcessPoolExecutor(n, get_context("spawn")) for n in (1, 2)}
    for n, pool in pools.items():
        for length in LENGTHS:
            x = np.zeros(length, np.float32)
            times = seconds(lambda x=x, pool=pool: echoed(pool, x), 4 * ROUNDS)
            messages[n, length] = statistics.median(times) / SHARDS
    found["messages"] = {n: [[m, messages[n, m]] for m in LENGTHS] for n in pools}
    for name, net in NETS.items():
        params = net.init(np.random.default_rng(0))
        checked = net.check(params, (digits.x_train.reshape(-1, *net.input), digits.y_train))
        batch = tuple(x[:BATCH] for x in checked)
        shards, steps = computed(net, *batch), {}
        for n in (0, *pools):
            steps[n] = statistics.median(stepped(net, batch, pools.get(n)))
        found["nets"][name] = {
            "parameters": int(params.flat.size),
            "compute": [[n, statistics.median(times)] for n, times in shards.items()],
            "quantiles": np.quantile(shards[BATCH // SHARDS], LEVELS).tolist(),
            "steps": [[n, t] for n, t in steps.items()],
        }
    for pool in pools.values():
        pool.shutdown()
    return found
