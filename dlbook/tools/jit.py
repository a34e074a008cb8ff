"""Numba's decorator with a disk cache that notices edits in other files.

Numba keeps compiled kernels on disk and compiles again when the file that holds the kernel
changes. It does not look at the files that kernel calls into, so an edit of a helper would be
answered with stale machine code. Here the cache folder is named by a digest of the module *and*
of everything it imports from the package, of Numba's version and of the processor.

Two sets of options are used in the book:

``njit`` is for literal kernels: IEEE arithmetic in the order that is written. ``njit_fast`` is for
fast kernels: sums may be reordered and multiply-adds fused, while NaN and infinities keep their
meaning (never ``fastmath=True``).

A compiled kernel holds copies of the kernels it calls, and of several copies that are loaded the
first one runs. Copies of a loop whose sums may be reordered can round differently, so that results
would depend on what had been compiled before. A loop over floating-point numbers that fast kernels
share is therefore inlined into each of them: ``njit_fast(forceinline=True)``.

Where no private folder can be written, kernels compile in memory in every new process; nothing
raises. Cache files are pickles, so they only ever live in a folder of the user's own.
"""

import ast
import contextlib
import hashlib
import os
import shutil
import sys
from functools import cache
from pathlib import Path

import numba
from llvmlite.binding import get_host_cpu_features, get_host_cpu_name
from numba.core import caching, config

__all__ = ["njit", "njit_fast", "cache_root", "package_files"]

PACKAGE = Path(__file__).resolve().parents[1]
FAST_FLAGS = {"reassoc", "contract", "nsz", "arcp"}
KEPT_VERSIONS = 4  # folders of one module: other environments may share the cache


def _whole_vectors():
    """Let Numba use the whole width of the processor's vectors.

    For Intel's AVX-512 processors LLVM keeps to half of it, since the first of them slowed down
    for the whole. Elementwise loops gain 1.3 to 1.6 times from this. Nothing is changed where
    NUMBA_CPU_NAME or NUMBA_CPU_FEATURES decide.
    """
    features = get_host_cpu_features()
    if config.CPU_NAME is None and config.CPU_FEATURES is None and features.get("avx512f"):
        config.CPU_FEATURES = features.flatten() + ",-prefer-256-bit"


_whole_vectors()


def imported_names(code, package=""):
    """Yield the dotted ``dlbook`` names that Python source imports, at any depth.

    Parameters
    ----------
    code : str
        Python source text.
    package : str
        Dotted name of the package the source lives in, for relative imports.
    """
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            parents = package.split(".")[: len(package.split(".")) - node.level + 1]
            base = ".".join(
                (parents if node.level else []) + ([node.module] if node.module else [])
            )
            names = [f"{base}.{alias.name}" for alias in node.names]
        else:
            continue
        yield from (name for name in names if name.split(".")[0] == "dlbook")


@cache
def _imports_of(path, mtime_ns):
    """Return the names one file of the package imports (parsed once per state of the file)."""
    package = ".".join(("dlbook", *path.relative_to(PACKAGE).parent.parts))
    return tuple(imported_names(path.read_text(encoding="utf-8"), package))


def package_files(names):
    """Return the sorted files of the package that importing the dotted names executes."""
    todo, found = list(names), set()
    while todo:
        parts = todo.pop().split(".")[1:]
        for depth in range(len(parts) + 1):
            base = PACKAGE.joinpath(*parts[:depth])
            for file in (base.with_suffix(".py"), base / "__init__.py"):
                if file not in found and file.is_file():
                    found.add(file)
                    todo += _imports_of(file, file.stat().st_mtime_ns)
    return sorted(found)


def cache_root():
    """Return the folder for compiled kernels, whether or not it exists.

    ``DLBOOK_CACHE_DIR`` decides if it is set; otherwise it is ``dlbook`` in the user's cache
    folder of the platform. None where there is no home directory at all.
    """
    if chosen := os.environ.get("DLBOOK_CACHE_DIR"):
        return Path(chosen)
    try:
        home = Path.home()
    except RuntimeError:
        return None
    if sys.platform == "win32":
        return (
            Path(os.environ.get("LOCALAPPDATA") or home / "AppData" / "Local") / "dlbook" / "cache"
        )
    if sys.platform == "darwin":
        return home / "Library" / "Caches" / "dlbook"
    return Path(os.environ.get("XDG_CACHE_HOME") or home / ".cache") / "dlbook"


def _prune(folder, keep):
    """Delete the oldest sibling versions of a module's cache folder."""
    versions = sorted(folder.parent.iterdir(), key=lambda f: f.stat().st_mtime, reverse=True)
    for old in versions[keep:]:
        shutil.rmtree(old, ignore_errors=True)


@cache
def _cache_folder(module, root):
    """Return a writable folder for this state of a module, or None."""
    try:
        machine = f"{numba.__version__} {get_host_cpu_name()} {os.environ.get('DLBOOK_SIMD')}"
        digest = hashlib.sha256(f"{machine} {config.BOUNDSCHECK}".encode())
        for file in package_files([module]):
            digest.update(file.read_bytes())
        folder = Path(root, module, digest.hexdigest()[:16])
        folder.mkdir(parents=True, exist_ok=True)
        os.utime(folder)  # pruning goes by last use
        if not os.access(folder, os.W_OK):
            return None
        _prune(folder, KEPT_VERSIONS)
    except OSError:
        return None
    return folder


class _Locator(caching._CacheLocator):
    """Tell Numba the folder; its name already says which sources it was compiled from."""

    def __init__(self, py_func, folder):
        self._line, self._folder = py_func.__code__.co_firstlineno, folder
        self._py_file = py_func.__code__.co_filename  # for Numba's warnings

    def get_cache_path(self):
        return str(self._folder)

    def get_source_stamp(self):
        return self._folder.name

    def get_disambiguator(self):
        return str(self._line)

    @classmethod
    def from_function(cls, py_func, py_file):
        root = cache_root()
        folder = root and _cache_folder(py_func.__module__, str(root))
        return folder and cls(py_func, folder)


class _Impl(caching.CompileResultCacheImpl):
    _locator_classes = [_Locator]


class _Cache(caching.FunctionCache):
    """A cache that is a convenience: what goes wrong with it never reaches the reader."""

    _impl_class = _Impl

    def load_overload(self, sig, target_context):
        try:
            found = super().load_overload(sig, target_context)
        except Exception:  # a damaged or vanished file: start afresh
            with contextlib.suppress(OSError):
                self.flush()
            return None
        if found is not None:
            # What a parallel kernel needs to have started, its callers need too. Numba hands that
            # on from a kernel just compiled, but forgets it for one that comes from the cache;
            # callers then crash in the next process, which loads them and starts no threads.
            found.library._reload_init.update(found.reload_init or ())
        return found

    def save_overload(self, sig, data):
        try:
            super().save_overload(sig, data)
        except OSError:  # disk full, folder gone or turned read-only
            self.disable()


def _with_cache(dispatcher):
    """Give a dispatcher of this package its disk cache, where there can be one."""
    if config.DISABLE_JIT or dispatcher.py_func.__module__.split(".")[0] != "dlbook":
        return dispatcher
    if _Locator.from_function(dispatcher.py_func, None):
        dispatcher._cache = _Cache(dispatcher.py_func)
    return dispatcher


def njit(function=None, **options):
    """Compile a literal kernel: IEEE arithmetic, evaluated as written.

    Parameters
    ----------
    function : callable
        Given when used as a plain decorator.
    **options
        Further options of :func:`numba.njit`; ``cache`` is handled here.
    """
    if function is None:
        return lambda f: njit(f, **options)
    return _with_cache(numba.njit(**{"error_model": "numpy", "nogil": True} | options)(function))


def njit_fast(function=None, **options):
    """Compile a fast kernel: sums may be reordered, NaN and infinities survive."""
    return njit(function, **{"fastmath": FAST_FLAGS} | options)
