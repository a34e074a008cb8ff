"""Numba's decorator with a disk cache that notices edits, and with the book's rule for numbers.

**The cache.** Numba keeps compiled kernels on disk and compiles again when the file that holds the
kernel changes. It does not look at what that kernel calls in other files, so an edit of a helper
would be answered with stale machine code; and it compiles all of a file anew for one changed
comment. Here a kernel's folder is named by a digest of what the kernel *reaches*: its own code and
constants, those of every function it calls, Numba's version and the processor. Comments,
docstrings and whatever else the file holds do not count.

**Whole numbers.** A literal kernel makes its results in the dtype of an argument, as NumPy's
``empty_like`` does. Whole numbers in that argument would cut the results off without a word. So
whole numbers and truth values are turned into floating-point numbers before a literal kernel sees
them, except in arguments that are declared to hold labels, positions or truth values. A list is
as good as an array, and what Numba cannot take is refused in one line. All this happens only
where no compiled form fits what came in, so that floating-point arrays pay nothing for it.

Two sets of options are used in the book:

``njit`` is for literal kernels: IEEE arithmetic in the order that is written. ``njit_fast`` is for
fast kernels: sums may be reordered and multiply-adds fused, while NaN and infinities keep their
meaning (never ``fastmath=True``). Fast kernels get what public functions have checked, and take it
as it is.

A compiled kernel holds copies of the kernels it calls, and of several copies that are loaded the
first one runs. Copies of a loop whose sums may be reordered can round differently, so that results
would depend on what had been compiled before. A loop over floating-point numbers that fast kernels
share is therefore inlined into each of them: ``njit_fast(forceinline=True)``. What is large exists
once, for all that call it: ``apart=True``.

Where no private folder can be written, kernels compile in memory in every new process; nothing
raises. Cache files are pickles, and loading one runs what it says: a folder that somebody else
owns, or that others may write to, is not used.
"""

import ast
import contextlib
import copy
import hashlib
import os
import shutil
import stat
import sys
import warnings
from functools import cache, cached_property, partial, wraps
from importlib import import_module
from pathlib import Path
from types import BuiltinFunctionType, CodeType, FunctionType, ModuleType

import numba
import numpy as np
from llvmlite.binding import add_symbol, get_host_cpu_features, get_host_cpu_name
from numba.core import caching, config, errors, types
from numba.core.base import user_function
from numba.core.dispatcher import OmittedArg

__all__ = ["cache_root", "check_indices", "njit", "njit_fast", "package_files", "taken"]

PACKAGE = Path(__file__).resolve().parents[1]
FAST_FLAGS = {"reassoc", "contract", "nsz", "arcp"}
OPTIONS = {"error_model": "numpy", "nogil": True, "no_cfunc_wrapper": True}  # nobody's C calls
KEPT_VERSIONS = 4  # folders of one kernel: other environments may share the cache


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


# What a kernel reaches


def _ours(module):
    return (module or "").split(".")[0] == "dlbook"


def _outline(code, doc=None):
    """Return what a code object says: no line numbers, and not the docstring of its function."""
    constants = list(code.co_consts)
    if doc is not None and constants and constants[0] == doc:
        constants[0] = None
    return (
        code.co_code,
        code.co_varnames[: code.co_argcount],
        code.co_names,
        [_outline(c) if isinstance(c, CodeType) else _plain(c) for c in constants],
    )


def _plain(value):
    """Return a constant in a form whose repr is the same in every process."""
    if isinstance(value, (set, frozenset)):
        return sorted(map(repr, value))
    if isinstance(value, np.ndarray):
        return value.dtype.str, value.shape, value.tobytes()
    return value


def _names(code):
    """Yield the names that a code object looks up, those of the functions inside it too."""
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names(constant)


def _reached(function):
    """Yield what decides what a function computes, and then the same for all that it calls.

    Parameters
    ----------
    function : function or dispatcher

    Yields
    ------
    object
        With a repr that is the same in every process.
    """
    todo, seen = [function], set()
    while todo:
        thing = todo.pop()
        if id(thing) in seen:
            continue
        seen.add(id(thing))
        if hasattr(thing, "py_func"):  # a kernel: its options and its function
            options = {k: _plain(v) for k, v in thing.targetoptions.items()}
            yield sorted(options.items(), key=repr)
            thing = thing.py_func
        elif hasattr(thing, "_defn"):  # an intrinsic
            thing = thing._defn
        elif isinstance(thing, FunctionType) and _ours(thing.__module__) and thing is not function:
            # Compiled code takes another function in its place, which its file says
            yield Path(thing.__code__.co_filename).read_bytes()
        if isinstance(thing, FunctionType) and _ours(thing.__module__):
            names = list(dict.fromkeys(_names(thing.__code__)))
            yield _outline(thing.__code__, thing.__doc__), _plain(thing.__defaults__)
            scopes = [thing.__globals__]
            for name in names:  # what stands in another module of the package: simd.tile
                value = thing.__globals__.get(name)
                if isinstance(value, ModuleType) and _ours(value.__name__):
                    scopes.append(vars(value))
            todo += [scope[name] for scope in scopes for name in names if name in scope]
            todo += [cell.cell_contents for cell in thing.__closure__ or ()]
        elif isinstance(thing, (tuple, list)):
            yield type(thing).__name__, len(thing)
            todo += thing
        elif isinstance(thing, type):
            yield thing.__module__, thing.__qualname__, getattr(thing, "_fields", None)
        elif isinstance(thing, (ModuleType, FunctionType, BuiltinFunctionType)):
            yield thing.__name__  # other libraries; their versions are in the digest
        else:
            yield _plain(thing)


def digest(kernel):
    """Return a short name for what a kernel computes on this machine, by what it reaches.

    Parameters
    ----------
    kernel : dispatcher
        A compiled kernel of the package.

    Returns
    -------
    str
        16 hexadecimal digits, the same in every process.
    """
    machine = (numba.__version__, np.__version__, get_host_cpu_name())
    machine += (config.BOUNDSCHECK, str(config.OPT))
    found = hashlib.sha256(repr(machine).encode())
    for part in _reached(kernel):
        found.update(part if isinstance(part, bytes) else repr(part).encode())
    return found.hexdigest()[:16]


# What Numba compiles into kernels


def _unequal_shapes(source, target):
    """Refuse to assign an array to a part of another shape; for compiled code."""
    raise NotImplementedError


@cache
def _shorten_message():
    """Let an assignment to a part of an array, where shapes differ, name them as they are.

    Numba compiles the making of its message, as text, into each kernel with such an assignment:
    two thirds of what the kernel takes to compile, and seconds in each new process.
    """
    from numba.extending import overload
    from numba.np import arrayobj

    @overload(_unequal_shapes)
    def refuse(source, target):
        def refuse(source, target):
            raise ValueError("cannot assign slice of shape", target, "from input of shape", source)

        return refuse

    if hasattr(arrayobj, "raise_with_shape_context"):
        arrayobj.raise_with_shape_context = _unequal_shapes


# The cache


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
    """Delete the oldest sibling versions of a kernel's cache folder."""
    versions = sorted(folder.parent.iterdir(), key=lambda f: f.stat().st_mtime, reverse=True)
    for old in versions[keep:]:
        shutil.rmtree(old, ignore_errors=True)


def _private(folder):
    """Say whether a folder belongs to this user and nobody else may write to it."""
    if not hasattr(os, "getuid"):
        return True
    found = os.lstat(folder)
    others = found.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and not others


def _cache_folder(kernel, state):
    """Return a folder of the user's own for this state of a kernel, or None."""
    root = cache_root()
    if root is None:
        return None
    function = kernel.py_func
    name = "".join(c if c.isalnum() or c in "._" else "-" for c in function.__qualname__)
    folder = root / function.__module__ / name / state
    try:
        root.mkdir(parents=True, exist_ok=True)
        for level in (folder.parent.parent, folder.parent, folder):
            level.mkdir(mode=0o700, exist_ok=True)
            if not _private(level):
                return None
        os.utime(folder)  # pruning goes by last use
        if not os.access(folder, os.W_OK):
            return None
        _prune(folder, KEPT_VERSIONS)
    except OSError:
        return None
    return folder


class _Locator(caching._CacheLocator):
    """Tell Numba the folder; its name already says what was compiled."""

    def __init__(self, folder):
        self._folder = folder
        self._py_file = str(folder)  # for Numba's warnings

    def get_cache_path(self):
        return str(self._folder)

    def get_source_stamp(self):
        return self._folder.name

    def get_disambiguator(self):
        return "kernel"


class _Impl(caching.CompileResultCacheImpl):
    """Numba's way of writing a compiled function, in a folder that was chosen here."""

    def __init__(self, folder):
        self._locator, self._lineno = _Locator(folder), 1
        self._filename_base = self.get_filename_base(folder.parent.name, sys.abiflags)


class _Cache(caching.FunctionCache):
    """A cache that is a convenience: what goes wrong with it never reaches the reader.

    Where it lies is decided when a kernel is first compiled or looked for: by then everything that
    the kernel reaches exists, and an import costs nothing.
    """

    def __init__(self, kernel):
        self._kernel, self._py_func = kernel, kernel.py_func
        self._name = repr(kernel.py_func)
        self._enabled = True

    @cached_property
    def digest(self):
        return digest(self._kernel)

    @cached_property
    def _folder(self):
        return _cache_folder(self._kernel, self.digest)

    @cached_property
    def _impl(self):
        return _Impl(self._folder)

    @cached_property
    def _cache_file(self):
        return caching.IndexDataCacheFile(
            cache_path=str(self._folder),
            filename_base=self._impl.filename_base,
            source_stamp=self._folder.name,
        )

    @property
    def cache_path(self):
        return self._folder and str(self._folder)

    def flush(self):
        if self._folder is not None:
            super().flush()

    def load_overload(self, sig, target_context):
        _shorten_message()
        if self._folder is None:
            return None
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
        if self._folder is None:
            return
        try:
            with warnings.catch_warnings():  # what cannot be kept is compiled in each process
                warnings.simplefilter("ignore", errors.NumbaWarning)
                super().save_overload(sig, data)
        except OSError:  # disk full, folder gone or turned read-only
            self.disable()


# Kernels that others call, and do not copy


def _load(module, name, arguments):
    """Make an apart kernel ready for arguments of these types: from the cache, or by compiling."""
    getattr(import_module(module), name).compile(arguments)


def _set_apart(kernel):
    """Let other kernels call this one where it is, in one compiled form for arrays of one kind.

    A kernel usually becomes part of each that calls it: its code is linked into theirs, and then
    optimized and translated again with them. That pays for a small one; matrix products, which
    nearly all fast kernels call, cost more time than everything around them. And constants among
    the arguments, such as False, would each have a form of their own.
    """
    kernel.add_overload = partial(_add_apart, kernel, kernel.add_overload)
    template = kernel.get_call_template
    kernel.get_call_template = lambda args, kws: template(
        tuple(map(types.unliteral, args)), {name: types.unliteral(a) for name, a in kws.items()}
    )


def _add_apart(kernel, add_overload, compiled):
    """Add a compiled form to an apart kernel.

    The callers know a name only. It is made of what decides the machine code, so that it is the
    same in every process, and what calls it and comes from the disk loads it first.
    """
    add_overload(compiled)
    function, arguments = kernel.py_func, compiled.signature.args
    known = hashlib.sha256(f"{kernel._cache.digest} {arguments}".encode()).hexdigest()[:24]
    called = copy.copy(compiled.fndesc)
    address = compiled.library.get_pointer_to_function(called.mangled_name)
    called.mangled_name = f"dlbook.{function.__name__}.{known}"
    add_symbol(called.mangled_name, address)
    emit_call = user_function(called, ())
    load = partial(_load, function.__module__, function.__name__, arguments)

    def call(context, builder, signature, arguments):
        context.active_code_library._reload_init.add(load)
        return emit_call(context, builder, signature, arguments)

    call.signature, call.libs = emit_call.signature, ()
    context = compiled.target_context
    context.remove_user_function(compiled.entry_point)
    context._defns[compiled.entry_point].append(call, call.signature)


# Whole numbers, lists, and what cannot be taken


def _floating(arguments, names, whole):
    """Return arguments as a literal kernel takes them, or None where they are so already.

    Parameters
    ----------
    arguments : tuple
        Of one call, in order.
    names : tuple of str
        What the kernel calls them.
    whole : frozenset of str
        The names of those that stay whole numbers or truth values.

    Returns
    -------
    list or None
        Lists as arrays, whole numbers as float32 where all floating-point arrays of the call are
        float32, otherwise as float64; arrays of the other byte order in this machine's own.
    """
    kinds = {a.dtype for a in _arrays(arguments) if a.dtype.kind == "f"}
    number = np.float32 if kinds == {np.dtype(np.float32)} else np.float64

    def taken(value, stays):
        if isinstance(value, list):
            with contextlib.suppress(ValueError):
                array = np.asarray(value)
                if array.dtype.kind in "biufc":
                    return taken(array, stays)
            return tuple(taken(part, stays) for part in value)
        if type(value) is tuple:
            parts = tuple(taken(part, stays) for part in value)
            return parts if any(p is not v for p, v in zip(parts, value, strict=True)) else value
        if type(value) is not np.ndarray:
            return value
        if value.dtype.kind in "biu" and not stays:
            return value.astype(number)
        native = value.dtype.newbyteorder("=")
        return value if native == value.dtype else value.astype(native)

    found = [taken(value, name in whole) for value, name in zip(arguments, names, strict=False)]
    return found if any(f is not a for f, a in zip(found, arguments, strict=True)) else None


def taken(kernel, arguments):
    """Return arguments as a kernel takes them: whole numbers as floating-point ones, lists as arrays.

    Parameters
    ----------
    kernel : dispatcher
    arguments : sequence
        Of one call, in order.

    Returns
    -------
    tuple
    """
    whole = getattr(kernel, "whole", None)
    names = kernel.py_func.__code__.co_varnames
    found = None if whole is None else _floating(arguments, names, whole)
    return tuple(arguments if found is None else found)


def _arrays(value):
    """Yield the arrays of arguments, those in tuples and lists too."""
    if isinstance(value, np.ndarray):
        yield value
    elif isinstance(value, (tuple, list)):
        for part in value:
            yield from _arrays(part)


def _written(given, taken):
    """Say whether a kernel has changed the copy it was given of an argument."""
    if given is taken:
        return False
    if isinstance(taken, tuple):
        return any(_written(g, t) for g, t in zip(given, taken, strict=True))
    return not np.array_equal(given, taken, equal_nan=True)


def _unlost(function, given, taken, result):
    """Return a result, unless a part of it went into copies of the arguments."""
    for name, before, after in zip(function.__code__.co_varnames, given, taken, strict=False):
        if _written(before, after):
            raise TypeError(
                f"{function.__name__} writes to {name}, which is {_described(before)}; "
                "it has to be a floating-point array"
            )
    return result


def _described(value):
    """Return what an argument is, for a message."""
    if isinstance(value, np.ma.MaskedArray):
        return "a masked array"
    if isinstance(value, np.ndarray):
        return f"an array of shape {value.shape} and dtype {value.dtype}"
    if isinstance(value, tuple):
        return f"({', '.join(map(_described, value))})"
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:39]}…"


def _refusal(function, arguments):
    """Return one line on what came in and what the kernel's docstring asks for."""
    names = function.__code__.co_varnames
    what = ", ".join(f"{n} = {_described(a)}" for n, a in zip(names, arguments, strict=False))
    lines = (function.__doc__ or "").splitlines()
    wanted = next((f"; it takes {line.strip()}" for line in lines if " -> " in line), "")
    return f"{function.__name__} cannot be called with {what}{wanted}"


def _compile_for_args(kernel, compile_for_args, whole, *arguments, **keywords):
    """Answer a call for which there is no compiled form yet.

    Numba's dispatcher asks for this method and calls what it returns with the same arguments.
    """
    _shorten_message()
    function = kernel.py_func
    values = [a.value if isinstance(a, OmittedArg) else a for a in arguments]
    taken = _floating(values, function.__code__.co_varnames, whole)
    if taken is not None:

        def call(*_, **__):
            return _unlost(function, values, taken, kernel(*taken))

        return call
    try:
        return compile_for_args(*arguments, **keywords)
    except errors.NumbaError:
        if config.DEVELOPER_MODE or config.FULL_TRACEBACKS:
            raise
        raise TypeError(_refusal(function, values)) from None


def _interpreted(function, whole):
    """Return a literal kernel that runs as Python, with the same rule for numbers."""
    names = function.__code__.co_varnames[: function.__code__.co_argcount]

    @wraps(function)
    def kernel(*arguments, **keywords):
        if keywords:
            rest = names[len(arguments) :]
            arguments = (*arguments, *(keywords.pop(n) for n in rest if n in keywords))
        taken = _floating(arguments, names, whole)
        if taken is None:
            return function(*arguments, **keywords)
        return _unlost(function, arguments, taken, function(*taken, **keywords))

    return kernel


def _kernel(function, whole, options, apart=False):
    """Return a kernel of the package or of a reader, compiled or not.

    `whole` names the arguments that keep whole numbers; with None all are taken as they come.
    """
    if whole is not None:
        whole = frozenset(whole.split())
        names = function.__code__.co_varnames[: function.__code__.co_argcount]
        if unknown := whole.difference(names):
            raise ValueError(f"{function.__name__} has no argument {', '.join(sorted(unknown))}")
        if config.DISABLE_JIT:
            return _interpreted(function, whole)
    kernel = numba.njit(**OPTIONS | options)(function)
    if config.DISABLE_JIT:
        return kernel
    if whole is not None:
        compile_for_args = kernel._compile_for_args
        kernel._compile_for_args = partial(_compile_for_args, kernel, compile_for_args, whole)
        kernel.whole = whole
    if _ours(function.__module__):
        kernel._cache = _Cache(kernel)
        if apart:
            _set_apart(kernel)
    return kernel


def njit(function=None, *, whole="", apart=False, **options):
    """Compile a literal kernel: IEEE arithmetic, evaluated as written, also for a fast kernel.

    (Numba hands the options of a caller on to what it calls, where that says nothing of its own.)

    Parameters
    ----------
    function : callable
        Given when used as a plain decorator.
    whole : str
        The arguments that hold labels, positions or truth values, separated by blanks. Whole
        numbers and truth values in any other array are taken as floating-point numbers.
    apart : bool
        As for `njit_fast`: for what is made of many kernels, and part of larger ones.
    **options
        Further options of :func:`numba.njit`; ``cache`` is handled here.

    Raises
    ------
    TypeError
        From a call with what the kernel cannot take, in one line. Who writes a kernel sees Numba's
        own message with ``NUMBA_FULL_TRACEBACKS=1``.
    """
    if function is None:
        return lambda f: njit(f, whole=whole, apart=apart, **options)
    options = {"fastmath": False} | ({"forceinline": False} if apart else {}) | options
    return _kernel(function, whole, options, apart)


def njit_fast(function=None, *, whole=None, apart=False, **options):
    """Compile a fast kernel: sums may be reordered, NaN and infinities survive.

    Parameters
    ----------
    function : callable
        Given when used as a plain decorator.
    whole : str, optional
        As for `njit`, in a kernel that readers call. All others get what public functions have
        checked, and take it as it comes.
    apart : bool
        Whether kernels that call this one find it where it is, instead of holding a copy of it:
        for what is large and called seldom, such as a matrix product.
    **options
        Further options of :func:`numba.njit`.
    """
    if function is None:
        return lambda f: njit_fast(f, whole=whole, apart=apart, **options)
    options = {"fastmath": FAST_FLAGS} | ({"forceinline": False} if apart else {}) | options
    return _kernel(function, whole, options, apart)


@njit(whole="indices")
def check_indices(indices, size):
    """Refuse labels or positions that are not among 0 … size − 1, as the public functions do
    (any shape), () -> ()

    A literal kernel that indexes by what it is given asks for this first: compiled code does not
    look where an array ends, and −1 would be its last place.
    """
    for index in indices.flat:
        if not 0 <= index < size:
            raise ValueError("a label or position is negative or too large")
