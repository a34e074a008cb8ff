"""A training over MPI: ``mpiexec -n 3 python -m mpi4py.futures over_mpi.py OUT CHECKPOINT
FLAG EPOCHS``.

One process asks, the others compute. After so many EPOCHS a worker dies of one example.
"""

import json
import sys
import time
from pathlib import Path

import test_shards
from mpi4py import MPI
from mpi4py.futures import MPIPoolExecutor


def rank(_):
    """Return which process this is."""
    time.sleep(0.01)
    return MPI.COMM_WORLD.Get_rank()


def main(out, checkpoint, flag, epochs):
    """Train, and tell of it in a file."""
    import over_mpi  # by which name the workers know it

    model, score = test_shards.Mortal(flag=flag), test_shards.after(Path(flag), int(epochs))
    with MPIPoolExecutor() as workers:
        told = {"ranks": sorted(set(workers.map(over_mpi.rank, range(40))))}
        found = test_shards.train(workers, model=model, score=score, checkpoint=checkpoint)
    told |= {"size": MPI.COMM_WORLD.Get_size(), "bits": found.params.flat.tobytes().hex()}
    with open(out, "w") as file:
        json.dump(told, file)


if __name__ == "__main__":
    main(*sys.argv[1:])
