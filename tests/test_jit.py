"""The disk cache notices what Numba's own does not, and is never in the way."""

import os
import subprocess
import sys
import textwrap

import numpy as np
import pytest
from compiled import compiled_only
from pages import ROOT, chapters

from dlbook.tools import jit
from dlbook.tools.jit import njit

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


EDITS = {  # what stands in the other file, and whether the kernel reaches it
    "a number": ("2 * x", "3 * x", "31 0"),
    "a constant of its module": (
        "BY = 2\n\n\n@njit\ndef two(x):\n    return BY * x",
        "BY = 3",
        "31 0",
    ),
    "a helper": ("2 * x", "by() * x\n\n\n@njit\ndef by():\n    return 3", "31 0"),
    "an option": ("@njit", "@njit(boundscheck=True)", "21 0"),
    "a comment": ("2 * x", "2 * x  # edited", "21 1"),
    "a docstring": ("def two(x):\n", 'def two(x):\n    """Twice x."""\n', "21 1"),
    "another function": ("@njit", "@njit\ndef ten(x):\n    return 10 * x\n\n\n@njit", "21 1"),
}


@pytest.mark.parametrize("what", EDITS)
def test_an_edit_in_another_file_is_seen(package, tmp_path, what):
    """Numba's own cache would answer 21 again; and one that goes by files, compile for a comment."""
    old, new, expected = EDITS[what]
    where = {"PYTHONPATH": package, "DLBOOK_CACHE_DIR": tmp_path / "cache"}
    two = package / "dlbook" / "two.py"
    text = two.read_text()
    if old not in text:  # the constant
        text = text.replace("@njit\ndef two(x):\n    return 2 * x", old)
        two.write_text(text)
        old = "BY = 2"
    run(CALL, **where)
    # of another length, or Python's own cache of bytecode would miss an edit in the same second
    two.write_text(f"{text.replace(old, new, 1)}# edited\n")
    assert run(CALL, **where) == expected


def test_digests_are_the_same_in_every_process():
    """A part without a fixed form (an address, the order of a set) would compile all anew."""
    fast = [f"fast.{p.stem}" for p in (ROOT / "dlbook" / "fast").glob("[a-z]*.py")]
    code = f"""
        from importlib import import_module
        from dlbook.tools.jit import digest
        for stem in {(*chapters(), *fast, "tools.elementary")}:
            for name, kernel in vars(import_module("dlbook." + stem)).items():
                if hasattr(kernel, "py_func"):
                    print(stem, name, digest(kernel))
    """
    first, second = (run(code, PYTHONHASHSEED=seed) for seed in (1, 2))
    assert first == second
    assert len(first.splitlines()) > 400
    assert len({line.split()[2] for line in first.splitlines()}) > 400


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


APART = """from dlbook.tools.jit import njit_fast


@njit_fast(apart=True)
def two(x, more=False):
    if x < 0:
        raise ValueError("negative")
    return 2 * x + more
"""
CALLED = """
    from dlbook.one import one
    from dlbook.two import two
    print(one(10), sum(one.stats.cache_hits.values()), sum(two.stats.cache_hits.values()))
    try:
        one(-1)
    except ValueError as error:
        print(error)
"""


def test_an_apart_kernel_is_called_where_it_is(package, tmp_path):
    """Its callers hold no copy of it, and find it in every process, compiled if need be."""
    (package / "dlbook" / "two.py").write_text(APART)
    (package / "dlbook" / "three.py").write_text(
        "from dlbook.tools.jit import njit\nfrom dlbook.one import one\n\n\n"
        "@njit\ndef three(x):\n    return one(x) + 1\n"
    )
    where = {"PYTHONPATH": package, "DLBOOK_CACHE_DIR": tmp_path / "cache"}
    assert run(CALLED, **where) == "21 0 0\nnegative"
    assert run(CALLED, **where) == "21 1 1\nnegative"
    [folder] = (tmp_path / "cache" / "dlbook.two" / "two").iterdir()
    for file in folder.iterdir():
        file.unlink()  # what is on the disk calls by a name that does not depend on the process
    assert run(CALLED, **where) == "21 1 0\nnegative"
    through = (
        "from dlbook.three import three; print(three(10), sum(three.stats.cache_hits.values()))"
    )
    assert run(through, **where) == "22 0"  # another kernel holds the caller, from the disk
    assert run(through, **where) == "22 1"
    (package / "dlbook" / "two.py").write_text(APART.replace("2 * x", "3 * x") + "# edited\n")
    assert run(CALLED, **where) == "31 0 0\nnegative"


def test_an_apart_kernel_has_one_form_for_all_constants(package, tmp_path):
    (package / "dlbook" / "two.py").write_text(APART)
    (package / "dlbook" / "one.py").write_text(
        "from dlbook.tools.jit import njit\nfrom dlbook.two import two\n\n\n"
        "@njit\ndef one(x):\n    return two(x, True) + two(x, x > 2) + two(x, more=False)\n"
    )
    code = (
        "from dlbook.one import one; print(one(10), len(one.py_func.__globals__['two'].overloads))"
    )
    where = {"PYTHONPATH": package, "DLBOOK_CACHE_DIR": tmp_path / "cache"}
    assert run(code, **where) == "62 1"


@pytest.mark.parametrize("shape", [(4,), (2, 4), (3, 2, 3)])
def test_an_array_of_another_shape_is_not_assigned(shape):
    """Without compiling the making of a text into each kernel that assigns to a part of an array."""

    def assign(x, y):
        x[:] = y

    kernel, x = njit(assign), np.zeros((2, 3))
    kernel(x, np.ones((2, 3)))
    assert (x == 1).all()
    with pytest.raises(ValueError, match=r"cannot assign slice of shape.*from input of shape"):
        kernel(x, np.ones(shape))
    assert all(len(code) < 100_000 for code in kernel.inspect_llvm().values())


def test_old_versions_are_pruned(package, tmp_path):
    where = {"PYTHONPATH": package, "DLBOOK_CACHE_DIR": tmp_path / "cache"}
    two = package / "dlbook" / "two.py"
    text = two.read_text()
    for k in range(jit.KEPT_VERSIONS + 2):
        two.write_text(text.replace("2 * x", f"{10**k} * x"))
        run(CALL, **where)
    assert len(list((tmp_path / "cache" / "dlbook.one" / "one").iterdir())) == jit.KEPT_VERSIONS


def test_a_folder_that_cannot_be_made_is_no_error(package, tmp_path):
    """A file stands where the folder should be, which stops even an administrator."""
    (tmp_path / "cache").write_text("not a folder")
    assert run(CALL, PYTHONPATH=package, DLBOOK_CACHE_DIR=tmp_path / "cache") == "21 0"


def test_a_folder_that_others_may_write_to_is_not_used(package, tmp_path):
    """What is loaded from the cache is run: a stranger's file must never be."""
    where = {"PYTHONPATH": package, "DLBOOK_CACHE_DIR": tmp_path / "cache"}
    run(CALL, **where)
    for level in ("dlbook.one", "dlbook.one/one"):
        folder = tmp_path / "cache" / level
        folder.chmod(0o777)
        assert run(CALL, **where) == "21 0"
        folder.chmod(0o700)
    assert run(CALL, **where) == "21 1"


def test_a_folder_of_somebody_else_is_not_used(tmp_path, monkeypatch):
    assert jit._private(tmp_path)
    (tmp_path / "link").symlink_to(tmp_path)
    assert not jit._private(tmp_path / "link")
    monkeypatch.setattr(jit.os, "getuid", lambda: tmp_path.stat().st_uid + 1)
    assert not jit._private(tmp_path)


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


def test_what_cannot_be_kept_is_compiled_without_a_word(package, tmp_path):
    """Numba keeps no kernel that holds an address, and warns of it, which may be an error."""
    (package / "dlbook" / "two.py").write_text(
        "import numpy as np\nfrom dlbook.tools.jit import njit\n\nTABLE = np.full(200_000, 2)\n\n\n"
        "@njit\ndef two(x):\n    return TABLE[x] * x\n"
    )
    call = "import warnings; warnings.simplefilter('error')\n" + textwrap.dedent(CALL)
    where = {"PYTHONPATH": package, "DLBOOK_CACHE_DIR": tmp_path / "cache"}
    assert run(call, **where) == "21 0"
    assert run(call, **where) == "21 0"


def test_a_folder_lost_on_the_way_is_no_error(package, tmp_path):
    code = """
        import os, shutil
        from dlbook.one import one
        one(10)
        shutil.rmtree(os.environ["DLBOOK_CACHE_DIR"])
        open(os.environ["DLBOOK_CACHE_DIR"], "w").close()
        print(one(10.0))
    """
    assert run(code, PYTHONPATH=package, DLBOOK_CACHE_DIR=tmp_path / "cache") == "21.0"


def test_import_is_cheap():
    """The package alone loads nothing; a chapter loads NumPy and Numba and compiles nothing.

    Only who trains can save: safetensors comes with `nets`.
    (Numba itself looks whether SciPy is there, which loads the bare package ``scipy``.)
    """
    code = f"""
        import sys
        import dlbook
        print([m for m in {HEAVY} + ("numpy", "scipy", "numba") if m in sys.modules])
        from importlib import import_module
        for stem in {[*chapters(), "nets"]}:
            before = set(sys.modules)
            module = import_module("dlbook." + stem)
            heavy = [m for m in {HEAVY} if m in sys.modules and m not in before]
            compiled = [k for k in vars(module).values() if getattr(k, "signatures", None)]
            if heavy or compiled:
                print(stem, heavy, compiled)
    """
    assert run(code).splitlines() == ["[]", "nets ['safetensors'] []"]


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


def test_a_literal_kernel_stays_literal_for_a_fast_one():
    """Numba would compile it with its caller's options, keep it, and give it to all others."""
    code = """
        import numpy as np
        from dlbook.tools.jit import njit, njit_fast
        @njit
        def cancelled(a, b):
            return (a + b) - a
        @njit_fast
        def fast(a, b):
            return cancelled(a, b)
        print(fast(1e20, 1.0), cancelled(1e20, 1.0))
    """
    assert run(code) == "0.0 0.0"


def test_imports_are_found_wherever_they_stand():
    code = "def f():\n    from dlbook import a\n    import dlbook.b.c\nfrom . import d\nfrom .e import f\nimport numpy"
    names = set(jit.imported_names(code, "dlbook.tools"))
    assert names == {"dlbook.a", "dlbook.b.c", "dlbook.tools.d", "dlbook.tools.e.f"}


def test_files_of_a_module_include_what_it_imports():
    names = {f.name for f in jit.package_files(["dlbook.verification"])}
    assert {"verification.py", "shapes.py", "__init__.py"} <= names
    assert "plotting.py" not in names


# Whole numbers, lists and what cannot be taken; test_kernels tries the numbers on all kernels


@njit
def doubled(x, y):
    """2 x_n
    (n), () -> (n)
    """
    out = np.empty_like(x)
    for n in range(len(x)):
        out[n] = 2 * x[n]
    return out


@njit
def spoiled(x):
    x[0] = 0.5
    return x.sum()


def test_lists_and_the_other_byte_order_are_taken():
    for x in ([1, 2.5], np.array([1, 2.5], ">f8"), np.array([1, 2.5], ">f4")):
        np.testing.assert_array_equal(doubled(x, 0), [2, 5])


def test_whole_numbers_follow_the_other_arrays():
    """They become float32 beside float32 alone."""
    whole, single, double = np.arange(3), np.ones(2, np.float32), np.ones(2)
    assert doubled(whole, single).dtype == np.float32
    assert doubled(whole, double).dtype == np.float64
    assert doubled(whole, (single, double)).dtype == np.float64
    assert doubled(whole, 1).dtype == np.float64


@pytest.mark.parametrize(
    ("x", "said"),
    [
        ("word", "'word'"),
        (None, "None"),
        (["a", "b"], "('a', 'b')"),
        (np.array([{}]), "an array of shape (1,) and dtype object"),
    ],
)
def test_what_numba_cannot_take_is_refused_in_one_line(x, said):
    with pytest.raises(TypeError) as caught:
        doubled(x, 1)
    assert str(caught.value) == (
        f"doubled cannot be called with x = {said}, y = 1; it takes (n), () -> (n)"
    )
    assert caught.value.__suppress_context__


def test_what_is_written_into_a_copy_is_not_lost():
    x = np.arange(3)
    with pytest.raises(
        TypeError, match=r"spoiled writes to x, .* dtype int64; it has to be a floa"
    ):
        spoiled(x)
    assert spoiled(np.ones(3)) == 2.5


def test_a_declared_argument_must_exist():
    with pytest.raises(ValueError, match="<lambda> has no argument y"):
        njit(lambda x: x, whole="x y")
