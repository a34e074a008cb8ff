"""What the benchmark ran on: processor, libraries, variables, load, and the state of the code."""

import hashlib
import json
import os
import platform
import re
import subprocess
import sys
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

__all__ = ["header", "load", "slug"]

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = (
    *("numpy", "numba", "llvmlite", "scipy", "torch", "jax", "jaxlib"),
    *("scikit-learn", "gensim", "threadpoolctl"),
)
MEASURED = ("dlbook", "benchmarks")  # folders of source
STORED = ":!dlbook/tools/sweeps.json"  # what the sweeps themselves write
FEATURES = ("avx2", "fma", "avx512f", "avx512bf16", "amx-tile", "neon", "sve")
VARIABLES = re.compile(r"(OPENBLAS|OMP|GOMP|KMP|MKL|NUMBA|XLA|DLBOOK)_(?!CACHE)")


def processor():
    """Return the name of the processor."""
    try:
        names = re.findall(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.M)
    except OSError:
        names = []
    return names[0] if names else platform.processor() or platform.machine()


def git(*arguments):
    """Return what git says, or "" where there is none."""
    try:
        run = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True)
    except OSError:
        return ""
    return run.stdout.strip()


def code():
    """Return a digest of the source that is measured."""
    found = hashlib.sha256()
    for path in sorted(file for part in MEASURED for file in (ROOT / part).rglob("*.py")):
        found.update(path.read_bytes())
    return found.hexdigest()[:10]


def installed(name):
    """Return the version of a package."""
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"


def load():
    """Return the load average of the last minute."""
    return round(os.getloadavg()[0], 2)


def libraries():
    """Return the BLAS of NumPy and SciPy and the layer of Numba's threads; loads them all."""
    import numba
    import numpy as np
    import scipy.linalg  # noqa: F401
    from threadpoolctl import threadpool_info

    @numba.njit(parallel=True)
    def launch(x):
        for i in numba.prange(x.size):
            x[i] = i

    launch(np.zeros(1000))
    try:
        layer = numba.threading_layer()
    except ValueError:
        layer = "none: compilation is switched off"
    kept = ("internal_api", "version", "architecture", "threading_layer", "num_threads")
    pools = sorted(threadpool_info(), key=lambda pool: pool["filepath"])  # they come in any order
    blas = [
        {"of": re.sub(r".*/(\w+)\.libs/.*", r"\1", pool["filepath"])}
        | {key: pool[key] for key in kept if key in pool}
        for pool in pools
        if pool["user_api"] == "blas"
    ]
    return {"blas": blas, "numba_threads": layer}


def header():
    """Return the description of this machine; nothing in it names a host or a folder."""
    from llvmlite.binding import get_host_cpu_features

    features = get_host_cpu_features()
    loaded = subprocess.run(  # in a process of its own, whose threads end with it
        [sys.executable, "-m", "benchmarks.machine"], cwd=ROOT, capture_output=True, text=True
    )
    return {
        "processor": processor(),
        "features": [name for name in FEATURES if features.get(name)],
        "cores": os.cpu_count(),
        "memory": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "system": f"{platform.system()} {platform.machine()}",
        "variables": {k: v for k, v in sorted(os.environ.items()) if VARIABLES.match(k)},
        "libraries": json.loads(loaded.stdout) if loaded.returncode == 0 else {},
        "versions": {"python": platform.python_version()} | {p: installed(p) for p in PACKAGES},
        "date": datetime.now(UTC).isoformat(timespec="minutes"),
        "commit": git("rev-parse", "--short=10", "HEAD"),
        "changed": bool(git("status", "--porcelain", "--", "dlbook", "benchmarks/*.py", STORED)),
        "code": code(),
        "load": [load()],
    }


def slug(machine):
    """Return a file name for the results of a machine."""
    name = re.sub(r"\((?:r|tm)\)|processor|cpu|@.*", "", machine["processor"].lower())
    words = f"{name} {machine['cores']} cores {' '.join(machine['features'][-1:])}"
    return re.sub(r"[^a-z0-9]+", "-", words).strip("-")


if __name__ == "__main__":
    print(json.dumps(libraries()))
