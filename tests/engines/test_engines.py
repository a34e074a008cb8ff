"""`fit` on engines of others, each on this machine: the same bits, also after a worker is killed."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from distributed import Client, LocalCluster
from test_shards import Mortal, after, train
from test_training_loop import HELD, same

HERE = Path(__file__).resolve().parent


@pytest.fixture(scope="module")
def cluster():
    """Return Dask's scheduler and two worker processes, which only this machine can reach."""
    local = {"host": "127.0.0.1", "dashboard_address": None}
    with LocalCluster(n_workers=2, threads_per_worker=1, processes=True, **local) as found:
        assert found.scheduler_address.startswith("tcp://127.0.0.1:")
        yield found


@pytest.fixture
def dask(cluster):
    """Return an executor on the cluster."""
    with Client(cluster) as client, client.get_executor(retries=3) as executor:
        yield executor


def test_dask_finds_the_same_bits(dask):
    options = {"validation": HELD, "patience": 3}
    same(train(dask, **options), train(**options))


def test_dask_computes_again_what_a_killed_worker_had(dask, tmp_path):
    flag = tmp_path / "flag"
    model = Mortal(flag=str(flag))
    found = train(dask, model=model, score=after(flag, 2))
    assert found.why == "finished" and not flag.exists()  # which the worker took along
    same(found, train(model=model, score=after(tmp_path / "other", 99)))


def mpi(processes, folder, deadly=99):
    """Train over MPI, one process of so many that asks; return how it ended and what it told."""
    mpiexec = Path(sys.executable).with_name("mpiexec")
    assert mpiexec.exists(), "MPI comes with the wheel mpich"
    folders = [str(HERE), *(str(path) for path in HERE.parents[:2]), str(HERE.parent / "nets")]
    files = [folder / name for name in ("found.json", "run.safetensors", "flag")]
    command = [
        mpiexec,
        "-n",
        processes,
        sys.executable,
        "-m",
        "mpi4py.futures",
        HERE / "over_mpi.py",
    ]
    done = subprocess.run(
        [str(part) for part in (*command, *files, deadly)],
        capture_output=True,
        text=True,
        timeout=300,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(folders)},
    )
    return done, json.loads(files[0].read_text()) if files[0].exists() else None


@pytest.mark.parametrize("processes", [2, 3])
def test_mpi_finds_the_same_bits(processes, tmp_path):
    done, found = mpi(processes, tmp_path)
    assert done.returncode == 0, done.stderr
    assert found["size"] == processes and found["ranks"] == [*range(1, processes)]
    assert found["bits"] == train(score=after(tmp_path / "other", 99)).params.flat.tobytes().hex()


def test_a_killed_process_ends_mpi_and_the_checkpoint_goes_on(tmp_path):
    """MPI ends all processes with the one that died; another engine takes the training up."""
    done, found = mpi(3, tmp_path, deadly=2)
    assert done.returncode != 0 and found is None and not (tmp_path / "flag").exists()
    model, checkpoint = Mortal(flag=str(tmp_path / "flag")), tmp_path / "run.safetensors"
    score = after(tmp_path / "other", 99)
    same(
        train(model=model, score=score, resume=checkpoint, seed=99),
        train(model=model, score=score),
    )
