"""Tests run with one BLAS thread, their own kernel cache and no window for figures."""

import os
import sys
from pathlib import Path

import pytest
from shares import chosen

ROOT = Path(__file__).resolve().parent.parent
os.environ.setdefault("DLBOOK_CACHE_DIR", str(ROOT / "_build" / "kernels"))
os.environ["MPLBACKEND"] = "Agg"
os.environ["DLBOOK_DATA_DIR"] = ""  # progress in memory
for pool in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(pool, "1")
os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # idle threads sleep


PLAIN = os.environ.get("NUMBA_DISABLE_JIT") == "1"  # kernels run as Python


def pytest_configure(config):
    """Compiled code is silent about overflow and NaN; its Python form need not be."""
    config.addinivalue_line(
        "markers", "compiled_only: takes too long as Python, or is about compiling"
    )
    if PLAIN:
        config.addinivalue_line("filterwarnings", "ignore::RuntimeWarning")


def pytest_collection_modifyitems(config, items):
    """Leave out what is for compiled kernels where nothing is compiled, and what is in another share."""
    mine = set(chosen([item.nodeid for item in items], os.environ.get("DLBOOK_SHARE")))
    config.hook.pytest_deselected(items=[item for item in items if item.nodeid not in mine])
    items[:] = [item for item in items if item.nodeid in mine]
    skip = pytest.mark.skip(reason="compilation is switched off by NUMBA_DISABLE_JIT")
    for item in items if PLAIN else ():
        if item.get_closest_marker("compiled_only"):
            item.add_marker(skip)


@pytest.fixture
def rng():
    """Return a generator that is the same in every test."""
    import numpy as np

    return np.random.default_rng(20_260_101)


@pytest.fixture(autouse=True)
def figures_are_closed():
    """Leave no figure of a test open for the tests that follow."""
    yield
    if "matplotlib.pyplot" in sys.modules:
        sys.modules["matplotlib.pyplot"].close("all")


@pytest.fixture(scope="session")
def build():
    """Run the build that is published."""
    from building import Build

    return Build()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    """Tests of the book read the results of one build: their message says it all."""
    report = yield
    ours = item.path.name in ("test_book.py", "test_pages.py")
    if report.failed and ours and call.excinfo and call.excinfo.errisinstance(AssertionError):
        report.longrepr = str(call.excinfo.value).split("\nassert ")[0]
    return report
