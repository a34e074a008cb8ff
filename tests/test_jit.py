"""The disk cache notices what Numba's own does not, and is never in the way."""

import os
import subprocess
import sys
import textwrap

import pytest
from compiled import compiled_only
from pages import chapters

from dlbook.tools import jit

pytestmark = compiled_only

HEAVY = (
    "matplotlib",
    "safetensors",
    "scipy.linalg",
    "scipy.optimize",
    "scipy.special",
    "scipy.stats",
    "sklearn",
    "torch",
    "tqdm",
)


def run(code, PYTHONPATH=jit.PACKAGE.parent, **environment):
    """Run Python code in a new process and return what it printed."""
    env = {k: v for k, v in os.environ.items() if environment.get(k, "") is not None}
    environment["PYTHONPATH"] = PYTHONPATH
    env |= {k: str(v) for k, v in environment.items() if v is not None}
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        cwd=PYTHONPATH,
        capture_output=True,
        text=True,
        env=env,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.fixture
def package(tmp_path):
    """Return a folder with a small copy of the package: `one` calls `two`."""
    home = tmp_path / "dlbook"
    (home / "tools").mkdir(parents=True)
    source = jit.PACKAGE
    for name in ("__init__.py", "tools/__init__.py", "tools/jit.py"):
        (home / name).write_text((source / name).read_text(encoding="utf-8"), encoding="utf-8")
    (home / "two.py").write_text(
        "from dlbook.tools.jit import njit\n\n\n@njit\ndef two(x):\n    return 2 * x\n"
    )
    (home / "one.py").write_text(
        "from dlbook.tools.jit import njit\nfrom dlbook.two import two\n\n\n"
        "@njit\ndef one(x):\n    return two(x) + 1\n"
    )
    return tmp_path


CALL = """
    from dlbook.one import one
    print(one(10), sum(one.stats.cache_hits.values()))
"""


def test_second_process_reads_the_cache(package, tmp_path):
    where = {"PYTHONPATH": package, "DLBOOK_CACHE_DIR": tmp_path / "cache"}
    assert run(CALL, **where) == "21 0"
    assert run(CALL, **where) == "21 1"


def test_an_edit_in_another_file_is_seen(package, tmp_path):
    """Numba's own cache would answer 21 again."""
    where = {"PYTHONPATH": package, "DLBOOK_CACHE_DIR": tmp_path / "cache"}
    run(CALL, **where)
    two = package / "dlbook" / "two.py"
    # of another length, or Python's own cache of bytecode would miss an edit in the same second
    two.write_text(two.read_text().replace("2 * x", "3 * x  # edited"))
    assert run(CALL, **where) == "31 0"


def test_a_parallel_kernel_starts_its_threads_in_every_process(package, tmp_path):
    """A caller compiled against a cached parallel kernel crashed in the process after that."""
    (package / "dlbook" / "two.py").write_text(
        "from numba import prange\nfrom dlbook.tools.jit import njit\n\n\n"
        "@njit(parallel=True)\ndef two(x):\n    total = 0\n"
        "    for i in prange(2):\n        total += x\n    return total\n"
    )
    where = {"PYTHONPATH": package, "DLBOOK_CACHE_DIR": tmp_path / "cache"}
    assert run("from dlbook.two import two; print(two(10))", **where) == "20"
    assert run(CALL, **where) == "21 0"
    assert run(CALL, **where) == "21 1"


def test_old_versions_are_pruned(package, tmp_path):
    where = {"PYTHONPATH": package, "DLBOOK_CACHE_DIR": tmp_path / "cache"}
    two = package / "dlbook" / "two.py"
    text = two.read_text()
    for k in range(jit.KEPT_VERSIONS + 2):
        two.write_text(text + f"# {k}\n")
        run(CALL, **where)
    assert len(list((tmp_path / "cache" / "dlbook.one").iterdir())) == jit.KEPT_VERSIONS


def test_a_folder_that_cannot_be_made_is_no_error(package, tmp_path):
    """A file stands where the folder should be, which stops even an administrator."""
    (tmp_path / "cache").write_text("not a folder")
    assert run(CALL, PYTHONPATH=package, DLBOOK_CACHE_DIR=tmp_path / "cache") == "21 0"


def test_no_home_is_no_error(package):
    """Without HOME the account's folder is asked for; without that there is no cache."""
    code = """
        import pathlib
        def none(): raise RuntimeError("no home")
        pathlib.Path.home = none
        from dlbook.one import one
        print(one(10))
    """
    assert (
        run(code, PYTHONPATH=package, HOME=None, DLBOOK_CACHE_DIR=None, XDG_CACHE_HOME=None) == "21"
    )


def test_damaged_files_are_compiled_again(package, tmp_path):
    where = {"PYTHONPATH": package, "DLBOOK_CACHE_DIR": tmp_path / "cache"}
    run(CALL, **where)
    for file in (tmp_path / "cache").rglob("*.nb?"):
        file.write_bytes(file.read_bytes()[:40])
    assert run(CALL, **where) == "21 0"


def test_a_folder_lost_on_the_way_is_no_error(package, tmp_path):
    code = """
        import os, shutil
        from dlbook.one import one
        shutil.rmtree(os.environ["DLBOOK_CACHE_DIR"])
        open(os.environ["DLBOOK_CACHE_DIR"], "w").close()
        print(one(10))
    """
    assert run(code, PYTHONPATH=package, DLBOOK_CACHE_DIR=tmp_path / "cache") == "21"


def test_import_is_cheap():
    """The package alone loads nothing; a chapter loads NumPy and Numba and compiles nothing.

    Only who trains can save: safetensors comes with `training`.
    (Numba itself looks whether SciPy is there, which loads the bare package ``scipy``.)
    """
    code = f"""
        import sys
        import dlbook
        print([m for m in {HEAVY} + ("numpy", "scipy", "numba") if m in sys.modules])
        from importlib import import_module
        for stem in {chapters()}:
            before = set(sys.modules)
            module = import_module("dlbook." + stem)
            heavy = [m for m in {HEAVY} if m in sys.modules and m not in before]
            compiled = [k for k in vars(module).values() if getattr(k, "signatures", None)]
            if heavy or compiled:
                print(stem, heavy, compiled)
    """
    assert run(code).splitlines() == ["[]", "training ['safetensors'] []"]


def test_jit_can_be_switched_off(package):
    assert (
        run(
            "from dlbook.one import one; print(one(10), type(one).__name__)",
            PYTHONPATH=package,
            NUMBA_DISABLE_JIT="1",
        )
        == "21 function"
    )


def test_fast_kernels_keep_nan():
    code = """
        import numpy as np
        from dlbook.tools.jit import njit_fast
        @njit_fast
        def total(x):
            s = 0.0
            for i in range(len(x)):
                s += x[i]
            return s, np.isnan(s)
        print(total(np.array([1.0, np.nan])), total(np.array([1.0, np.inf])))
    """
    assert run(code) == "(nan, True) (inf, False)"


def test_imports_are_found_wherever_they_stand():
    code = "def f():\n    from dlbook import a\n    import dlbook.b.c\nfrom . import d\nfrom .e import f\nimport numpy"
    names = set(jit.imported_names(code, "dlbook.tools"))
    assert names == {"dlbook.a", "dlbook.b.c", "dlbook.tools.d", "dlbook.tools.e.f"}


def test_files_of_a_module_include_what_it_imports():
    names = {f.name for f in jit.package_files(["dlbook.verification"])}
    assert {"verification.py", "shapes.py", "__init__.py"} <= names
    assert "plotting.py" not in names
