"""What the page shows in PyTorch, run by one process and by two, gives what the kernels give."""

import multiprocessing

import numpy as np
import pytest
import torch
import torch.distributed as dist
import torch.nn.functional as F  # noqa: N812
from shown import shown
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from dlbook import scaling

PATIENCE = 120.0  # seconds that two processes may take
ETA = 0.3


def network(weights):
    """Return a small network with the weights of a flat vector."""
    model = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3)).double()
    nn.utils.vector_to_parameters(torch.from_numpy(weights.copy()), model.parameters())
    return model


def flat(tensors):
    """Return one vector."""
    return torch.cat([t.detach().flatten() for t in tensors]).numpy()


def gradient(weights, x, y):
    """Return the gradient of the mean loss."""
    model = network(weights)
    F.cross_entropy(model(x), y).backward()
    return flat(p.grad for p in model.parameters())


def examples(seed, sizes):
    """Return weights and the shards of a batch."""
    rng = np.random.default_rng(seed)
    N, weights = sum(sizes), rng.normal(size=4 * 5 + 5 + 5 * 3 + 3)
    x, y = torch.from_numpy(rng.normal(size=(N, 4))), torch.from_numpy(rng.integers(3, size=N))
    return weights, [*zip(x.split(sizes), y.split(sizes), strict=True)]


def work(rank, meeting, folder, seed, sizes):
    """Run what the page shows as one of the workers; store gradients, weights, and those of DDP."""
    torch.set_default_dtype(torch.float64)
    torch.set_num_threads(1)
    weights, shards = examples(seed, sizes)
    names = {
        "meeting": meeting,
        "rank": rank,
        "K": len(sizes),
        "kappa": len(sizes),
        "eta": ETA,
        "model": network(weights),
        "x": shards[rank][0],
        "y": shards[rank][1],
    }
    try:
        exec(compile(shown("scaling"), "scaling.md", "exec"), names)
        parts = [*names["model"].parameters()]
        other = DistributedDataParallel(network(weights))
        F.cross_entropy(other(names["x"]), names["y"]).backward()
        np.savez(
            f"{folder}/{rank}.npz",
            gradient=flat(p.grad for p in parts),
            weights=flat(parts),
            parallel=flat(p.grad for p in other.parameters()),
        )
    finally:
        if dist.is_initialized():
            dist.destroy_process_group()


def worked(folder, seed, sizes):
    """Start a process for each shard, and return what each of them found."""
    start = multiprocessing.get_context("spawn").Process
    given = (f"file://{folder}/meeting", str(folder), seed, sizes)
    workers = [start(target=work, args=(rank, *given)) for rank in range(len(sizes))]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(PATIENCE)
    for worker in workers:
        if worker.is_alive():
            worker.kill()
    assert [worker.exitcode for worker in workers] == [0] * len(sizes)
    return [np.load(f"{folder}/{rank}.npz") for rank in range(len(sizes))]


def close(found, expected):
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("sizes", [(6,), (3, 3), (4, 2)])
def test_the_same_in_pytorch(tmp_path, sizes):
    """All workers have the gradient of the batch, and after the step the same weights.

    DistributedDataParallel takes the mean of means, which is that gradient for equal shards only.
    """
    weights, shards = examples(7, sizes)
    g, n = np.array([gradient(weights, *shard) for shard in shards]), np.array(sizes, float)
    mean, equal = scaling.shard_gradient(g, n), len(set(sizes)) == 1
    whole = [torch.cat(part) for part in zip(*shards, strict=True)]
    close(mean, gradient(weights, *whole))
    batches = g if equal else np.array([mean] * len(sizes))
    for found in worked(tmp_path, 7, sizes):
        close(found["gradient"], mean)
        close(found["weights"], scaling.scaled_step(weights, batches, ETA))
        close(found["parallel"], scaling.shard_gradient(g, np.ones(len(sizes))))
        assert (np.abs(found["parallel"] - mean).max() < 1e-12) == equal


@pytest.mark.parametrize("seed", range(20))
def test_shards_of_any_sizes(seed):
    rng = np.random.default_rng(seed)
    sizes = tuple(int(n) for n in rng.integers(1, 9, size=rng.integers(1, 7)))
    weights, shards = examples(seed, sizes)
    g = np.array([gradient(weights, *shard) for shard in shards])
    whole = [torch.cat(part) for part in zip(*shards, strict=True)]
    close(scaling.shard_gradient(g, np.array(sizes, float)), gradient(weights, *whole))
