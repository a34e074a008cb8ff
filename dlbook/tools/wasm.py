"""Kernels as WebAssembly, so that they run in a reader's browser: no other compiler, no linker.

LLVM, which Numba carries, can write WebAssembly. `wasm_target` makes a target of Numba's own kind
of it, beside the processor: a kernel is typed and lowered as always, and the kernels that it calls
are compiled anew. Nothing that was compiled for the processor is taken. This is done in a process of
its own: Numba keeps what it has compiled of NumPy's functions by their types and not by their target,
so that in one process a kernel for the processor can be given a part that was made for pages.

What LLVM writes is an object for a linker; with everything in one piece, it lacks little of a
module that runs. `_module` gives it its memory, its stack and its list of exports. The module
imports nothing: memory is taken by a few lines of `wasm_target`, and exp and its kin come from
`portable`, so that a kernel gives the same bits in every browser. What it raises is there as text.

A kernel that needs what is not there, such as the matrix products and factorizations of BLAS and
LAPACK, is named in `Module.refused`. Where a new Numba is made otherwise than is counted on here,
`available` says so.
"""

import pickle
import re
import subprocess
import sys
from functools import cache
from importlib import import_module
from typing import Any, NamedTuple

import llvmlite.binding as llvm
from numba import typeof
from numba.core import config, types

from dlbook.tools import jit, portable

__all__ = ["Available", "Module", "available", "build", "signature"]

STACK, PAGE = 65_536, 65_536  # bytes
MEMORY = ("reset", "room")  # the functions of `wasm_target.RUNTIME` that the loader calls
LATER = ("__multi3", "fmod", "fmodf")  # those that LLVM calls when it writes the module


class Module(NamedTuple):
    """A WebAssembly module with kernels.

    Attributes
    ----------
    code : bytes
        The module.
    table : dict
        What its loader (``book/_static/kernels.js``) has to know, plain data: for each kernel its
        ``symbol``, the names and kinds of its arguments ``args``, the kind of its result
        ``returns``, and ``maths``, the functions of `portable` it is bound to. A kind is "float64" and so on, {"array": "float64", "axes": ["n", None]}, with
        the letters that the kernel's docstring has for sizes, or {"tuple": [kinds], "names": […]}.
    refused : dict
        The kernels that were left out, and why.
    """

    code: bytes
    table: dict[str, dict[str, Any]]
    refused: dict[str, str]


class Available(NamedTuple):
    """Whether kernels can be made WebAssembly here, and in words why not."""

    ok: bool
    why: str

    def __bool__(self):
        return self.ok


@jit.njit
def twice(x):
    """2 x, with which `available` finds out"""
    return x + x


@cache
def available():
    """Try a kernel, and return whether this Numba and its LLVM make WebAssembly of it."""
    if config.DISABLE_JIT:
        return Available(False, "nothing is compiled where NUMBA_DISABLE_JIT is set")
    try:
        made = build({"twice": (twice, (types.Array(types.float64, 1, "C"),))})
        if made.refused:
            return Available(False, made.refused["twice"])
    except Exception as error:  # whatever a Numba of later years does
        import numba

        words = f"{type(error).__name__}: {error}".strip().splitlines()[0]
        return Available(False, f"Numba {numba.__version__} makes no WebAssembly ({words})")
    return Available(True, "")


# Types, in and out


def signature(kernel, arguments):
    """Return the types in which a kernel takes arguments, arrays as contiguous ones.

    Parameters
    ----------
    kernel : dispatcher
        A literal kernel.
    arguments : tuple
        Of one call, in order; lists and whole numbers become what the kernel makes of them.

    Raises
    ------
    TypeError
        For what is not made of numbers, arrays and tuples.
    """
    names = kernel.py_func.__code__.co_varnames
    arguments = jit.taken(kernel, arguments)
    return tuple(_plain(typeof(a), n) for a, n in zip(arguments, names, strict=False))


def _plain(kind, name):
    """Return a type as the loader can lay it out."""
    kind = types.unliteral(kind)
    if isinstance(kind, types.Array):
        if not isinstance(kind.dtype, (types.Number, types.Boolean)):
            raise TypeError(f"{name} is an array of {kind.dtype}, which is no number")
        return types.Array(kind.dtype, kind.ndim, "C")
    if isinstance(kind, types.BaseNamedTuple):
        return types.NamedTuple([_plain(k, name) for k in kind.types], kind.instance_class)
    if isinstance(kind, types.BaseTuple):
        return types.Tuple([_plain(k, name) for k in kind.types])
    if isinstance(kind, (types.Number, types.Boolean, types.NoneType)):
        return kind
    raise TypeError(f"{name} is {kind}, which a page cannot hand over")


def _kind(kind):
    """Return a type as plain data."""
    kind = types.unliteral(kind)
    if isinstance(kind, types.Array):
        return {"array": _kind(kind.dtype), "axes": [None] * kind.ndim}
    if isinstance(kind, types.BaseTuple):
        named = {"names": list(kind.fields)} if isinstance(kind, types.BaseNamedTuple) else {}
        return {"tuple": [_kind(k) for k in kind.types]} | named
    if isinstance(kind, (types.Number, types.Boolean, types.NoneType)):
        return {"boolean": "bool"}.get(kind.name, kind.name)
    raise TypeError(f"it gives {kind}, which a page cannot read")


def _arguments(kernel, kinds):
    """Return the arguments of a kernel as plain data, with the letters of their axes.

    Parameters
    ----------
    kernel : dispatcher
        Its docstring may say "(j k), (k), () -> (j)".
    kinds : sequence
        The types of its arguments.

    Returns
    -------
    dict
        Names and kinds. What is no letter and no number in the docstring is not held to anything.
    """
    code = kernel.py_func.__code__
    found = dict(zip(code.co_varnames[: code.co_argcount], map(_kind, kinds), strict=True))
    lines = (kernel.py_func.__doc__ or "").splitlines()
    said = next((line.split(" -> ")[0] for line in lines if " -> " in line), "")
    groups = [g.strip() for g in re.split(r",(?![^(]*\))", said)]
    for kind, group in zip(found.values(), groups, strict=False):
        names = re.findall(r"\S+", group[1:-1]) if re.fullmatch(r"\([^()]*\)", group) else []
        if len(groups) == len(found) and "array" in kind and len(names) == len(kind["axes"]):
            kind["axes"] = [n if re.fullmatch(r"[^\W\d_]|\d+", n) else None for n in names]
    return found


# What a kernel needs

_NAME = re.compile(r'@("[^"]+"|[-\w$.]+)')
_EXACT = {"sqrt": "sqrt", "floor": "floor", "ceil": "ceil", "trunc": "trunc", "rint": "rint"}
_EXACT |= {"fabs": "fabs", "copysign": "copysign"}  # these are instructions
_OURS = "|".join(sorted(portable.FUNCTIONS, key=len, reverse=True))
_MATHS = re.compile(rf"@(?:({_OURS})(f?)|llvm\.({_OURS})\.f(32|64))(?=\()")
_INSTRUCTION = re.compile(rf"@({'|'.join(_EXACT)})(f?)(?=\()")
LIBRARIES = {
    r"numba_xx(gemm|gemv|dot)\w*": "a product of BLAS",
    r"numba_\w*(ge|po)(trf|tri|sv|sdd|ev|qrf|lsd)": "a factorization or solution by LAPACK",
}


def _bound(text):
    """Return LLVM's code with the functions of the mathematics library replaced by the book's.

    Under their old names LLVM would know them, and compute them itself where it sees a constant.
    """

    def ours(found):
        name, single, intrinsic, bits = found.groups()
        return f"@dlbook.{name or intrinsic}.{bits or ('32' if single else '64')}"

    text = _MATHS.sub(ours, text)
    text = _INSTRUCTION.sub(lambda f: f"@llvm.{f[1]}.f{32 if f[2] else 64}", text)
    lines, seen = [], set()
    for line in text.splitlines():
        if line.startswith("declare"):  # each name once; attributes are of the old one
            name = _NAME.search(line).group(1)
            if name in seen:
                continue
            seen.add(name)
            if name.startswith("dlbook."):
                line = re.sub(r"\s#\d+\s*$", "", line)
        lines.append(line)
    return "\n".join(lines)


def _missing(text, symbol):
    """Return the names that a function reaches and the code does not define, sorted."""
    parts, inside = {}, None
    for line in text.splitlines():
        names = _NAME.findall(line)
        if line.startswith("define"):
            inside = parts.setdefault(names[0], set())
        elif line.startswith("}"):
            inside = None
        elif line.startswith("@") and " external " not in line:
            parts[names[0]] = set(names[1:])
        if inside is not None:
            inside.update(names)
    todo, seen = [symbol], set()
    while todo:
        name = todo.pop()
        if name not in seen:
            seen.add(name)
            todo += parts.get(name, ())
    return sorted(name.strip('"') for name in seen if name not in parts)


def _refusal(missing):
    """Say what a kernel needs and does not get, or return None."""
    there = set(re.findall(r"^define \S+ @([\w.]+)\(", _target().RUNTIME, re.M))
    missing = [m for m in missing if m not in there and not m.startswith(("llvm.", "dlbook."))]
    missing = [m for m in missing if m != "numba_cpow"]
    for pattern, words in LIBRARIES.items():
        if found := [m for m in missing if re.fullmatch(pattern, m)]:
            return f"needs {words} ({', '.join(found)}), which runs on the processor only"
    return f"needs {', '.join(missing)}, which runs on the processor only" if missing else None


_POWER = """
define void @numba_cpow(ptr %a, ptr %b, ptr %out) {{
  %r = alloca {{ double, double }}
  %e = alloca ptr
  %ai = getelementptr double, ptr %a, i32 1
  %bi = getelementptr double, ptr %b, i32 1
  %a0 = load double, ptr %a
  %a1 = load double, ptr %ai
  %b0 = load double, ptr %b
  %b1 = load double, ptr %bi
  %s = call i32 @{symbol}(ptr %r, ptr %e, double %a0, double %a1, double %b0, double %b1)
  %v = load {{ double, double }}, ptr %r
  store {{ double, double }} %v, ptr %out
  ret void
}}
declare i32 @{symbol}(ptr, ptr, double, double, double, double)
"""


def _wrapper(name, kind, symbol, count):
    """Return LLVM's code of a function of C that calls a compiled kernel, in double precision."""
    given = ["%x", "%y"][:count]
    lines = [f"define {kind} @{name}({', '.join(f'{kind} {g}' for g in given)}) {{"]
    if kind == "float":
        lines += [f"  {g}w = fpext float {g} to double" for g in given]
        given = [f"{g}w" for g in given]
    lines += ["  %r = alloca double", "  %e = alloca ptr"]
    lines += [f"  %s = call i32 @{symbol}(ptr %r, ptr %e, double {', double '.join(given)})"]
    lines += ["  %v = load double, ptr %r"]
    if kind == "float":
        lines += ["  %n = fptrunc double %v to float", "  ret float %n", "}"]
    else:
        lines += ["  ret double %v", "}"]
    return "\n".join(lines)


def _used(text):
    """Return the names of the functions of the mathematics library that some code calls."""
    return sorted(set(re.findall(r"@dlbook\.(\w+)\.\d\d\(", text)))


def _maths(text):
    """Yield LLVM's code of the functions of the mathematics library that some code calls.

    What calls stands before what is called: LLVM leaves out what nothing has called so far.
    """
    wanted = {}
    for name in _used(text):
        kinds = (("32", "float"), ("64", "double"))
        wanted[name] = [(f"dlbook.{name}.{bits}", kind) for bits, kind in kinds]
    if " frem " in text:  # an instruction for which LLVM calls C
        wanted.setdefault("fmod", []).extend([("fmod", "double"), ("fmodf", "float")])
    for name, wrappers in wanted.items():
        function, count = portable.FUNCTIONS[name]
        code, symbol, _ = _target().compiled(function, (types.float64,) * count)
        yield f"declare i32 @{symbol}(ptr, ptr{', double' * count})\n" + "\n".join(
            _wrapper(called, kind, symbol, count) for called, kind in wrappers
        )
        yield code
    if "@numba_cpow(" in text:
        code, symbol, _ = _target().compiled(portable.power_of_complex, (types.complex128,) * 2)
        yield _POWER.format(symbol=symbol)
        yield code


# The module


@cache
def _target():
    """Return the module that knows how Numba is made, which need not be so in every Numba."""
    return import_module("dlbook.tools.wasm_target")


_START = (
    "import pickle, sys; sys.path[:] = pickle.load(sys.stdin.buffer); "
    "from dlbook.tools import wasm; wasm._serve()"
)


def build(kernels):
    """Return one WebAssembly module with kernels.

    Parameters
    ----------
    kernels : dict
        Names, and for each a dispatcher and its signature, a tuple of Numba's types as `signature`
        returns it. A dispatcher has to be found under its name in its module.

    Returns
    -------
    Module
        The same bytes in every process.

    Raises
    ------
    ValueError
        If a kernel is not found where it says it is.
    RuntimeError
        If this Numba is made otherwise than is counted on here.
    """
    wanted = {n: (*_place(kernel), tuple(kinds)) for n, (kernel, kinds) in kernels.items()}
    done = subprocess.run(
        [sys.executable, "-c", _START],
        input=pickle.dumps(sys.path) + pickle.dumps(wanted),
        capture_output=True,
    )
    made = pickle.loads(done.stdout) if done.returncode == 0 else _last(done.stderr)
    if isinstance(made, str):
        raise RuntimeError(made)
    return Module(*made)


def _place(kernel):
    """Return the module and the name by which another process finds a kernel."""
    module, name = kernel.py_func.__module__, kernel.py_func.__qualname__
    if getattr(sys.modules.get(module), name, None) is not kernel:
        raise ValueError(f"{name} is not the kernel of that name in {module}")
    return module, name


def _last(text):
    """Return the last line of what a process said before it ended."""
    return (text.decode(errors="replace").strip().splitlines() or ["the process was ended"])[-1]


def _serve():
    """Build what standard input asks for, in the process that `build` starts."""
    out, sys.stdout = sys.stdout.buffer, sys.stderr  # what a module prints is no answer
    wanted = pickle.load(sys.stdin.buffer)
    try:
        made = tuple(
            _built(
                {n: (getattr(import_module(m), k), kinds) for n, (m, k, kinds) in wanted.items()}
            )
        )
    except Exception as error:  # whatever a Numba of later years does
        made = f"{type(error).__name__}: {error}"
    out.write(pickle.dumps(made))


def _built(kernels):
    """Return what `build` returns, of kernels of this process."""
    target = _target()
    texts, table, refused, symbols = [], {}, {}, {}
    for name, (kernel, types_in) in kernels.items():
        try:
            text, symbol, found = target.compiled(kernel, tuple(types_in))
            returns = _kind(found.return_type)
            args = _arguments(kernel, found.args)
        except TypeError as error:
            refused[name] = str(error)
            continue
        text = _bound(text)
        if words := _refusal(_missing(text, symbol)):
            refused[name] = words
            continue
        texts.append(text)
        symbols[name] = symbol
        table[name] = {"symbol": name, "args": args, "returns": returns, "maths": _used(text)}
    maths = list(_maths("\n".join(texts)))
    whole = _linked([*texts, *maths, target.RUNTIME], [*symbols.values(), *MEMORY, *LATER])
    exports = symbols | {f".{n}": n for n in MEMORY}
    return Module(_module(_optimized(whole), exports), table, refused)


def _linked(texts, kept):
    """Return one module of LLVM's, in which only some functions can be seen from outside."""
    whole = None
    for text in texts:
        module = llvm.parse_assembly(text)
        for function in module.functions:
            if not function.is_declaration and function.name not in kept:
                function.linkage = (
                    "linkonce_odr"  # what several kernels call is there several times
                )
        if whole is None:
            whole = module
        else:
            whole.link_in(module)
    for value in [*whole.functions, *whole.global_variables]:
        if not value.is_declaration and value.linkage.name not in ("private", "internal"):
            value.linkage = "external" if value.name in kept else "internal"
    whole.verify()
    return whole


def _optimized(module):
    """Return the object that LLVM writes of a module."""
    machine = _target().machine()
    options = llvm.create_pipeline_tuning_options(2)
    options.loop_vectorization = options.slp_vectorization = options.loop_unrolling = False
    builder = llvm.create_pass_builder(machine, options)
    builder.getModulePassManager().run(module, builder)
    return machine.emit_object(module)


# Bytes of WebAssembly: numbers are in base 128, the last digit marked; parts begin with their size


def _number(data, at):
    value = shift = 0
    while True:
        value |= (data[at] & 127) << shift
        shift, at = shift + 7, at + 1
        if data[at - 1] < 128:
            return value, at


def _digits(value):
    found = bytearray()
    while value > 127:
        found.append(value & 127 | 128)
        value >>= 7
    return bytes(found) + bytes([value])


def _signed(value):
    """Return a positive number as digits whose last has no sign."""
    found = _digits(value)
    return found if found[-1] < 64 else found[:-1] + bytes([found[-1] | 128, 0])


def _sized(data):
    return _digits(len(data)) + data


def _text(data, at):
    size, at = _number(data, at)
    return data[at : at + size].decode(), at + size


def _sections(obj):
    """Return the sections of an object by their number, and the one that tells symbols."""
    sections, linking, at = {}, b"", 8
    while at < len(obj):
        kind = obj[at]
        size, at = _number(obj, at + 1)
        body, at = obj[at : at + size], at + size
        if kind:
            sections[kind] = body
        else:
            name, start = _text(body, 0)
            linking = body[start:] if name == "linking" else linking
    return sections, linking


def _functions(linking):
    """Return the functions that an object defines, by name, from its table of symbols."""
    _, at = _number(linking, 0)
    found = {}
    while at < len(linking):
        kind = linking[at]
        size, at = _number(linking, at + 1)
        end = at + size
        count, at = _number(linking, at) if kind == 8 else (0, end)
        for _ in range(count):
            what = linking[at]
            flags, at = _number(linking, at + 1)
            foreign, named = flags & 0x10, flags & 0x40
            if what == 1:  # a constant: its name, and where it lies
                _, at = _text(linking, at)
                for _ in range(0 if foreign else 3):
                    _, at = _number(linking, at)
                continue
            index, at = _number(linking, at)
            if what != 3 and (not foreign or named):
                name, at = _text(linking, at)
                if what == 0 and not foreign:
                    found[name] = index
        at = end
    return found


def _imported(section):
    """Return the names that an object imports."""
    count, at = _number(section, 0)
    found = []
    for _ in range(count):
        _, at = _text(section, at)
        name, at = _text(section, at)
        found.append(name)
        kind, at = section[at], at + 1
        if kind in (1, 2):  # a table or a memory: least size, and perhaps the largest
            at += kind == 1
            flags, at = _number(section, at)
            for _ in range(1 + flags % 2):
                _, at = _number(section, at)
        else:
            at += 2 if kind == 3 else 0
            at = _number(section, at)[1] if kind == 0 else at
    return found


def _data_end(section):
    """Return where in memory the constants of an object end."""
    count, at = _number(section, 0)
    end = 0
    for _ in range(count):
        if section[at : at + 2] != b"\0\x41":  # active, at a constant address
            raise RuntimeError("LLVM lays out constants in an unknown way")
        begin, at = _number(section, at + 2)
        size, at = _number(section, at + 1)
        at += size
        end = max(end, begin + size)
    return end


def _module(obj, exports):
    """Return a module that runs, of an object: with memory, a stack and exports of its own."""
    sections, linking = _sections(obj)
    defined = _functions(linking)
    if missing := set(_imported(sections.pop(2))) - {"__linear_memory", "__stack_pointer"}:
        raise RuntimeError(f"LLVM calls {', '.join(sorted(missing))}, which nothing defines")
    stack = -(-(_data_end(sections.get(11, b"\0")) + STACK) // 64) * 64
    sections[5] = b"\1\0" + _digits(stack // PAGE + 1)  # one memory
    sections[6] = b"\1\x7f\1\x41" + _signed(stack) + b"\x0b"  # one variable, its stack's end
    names = {name: (0, defined[symbol]) for name, symbol in exports.items()}
    names |= {".memory": (2, 0), ".stack": (3, 0)}
    table = [_sized(n.encode()) + bytes([kind]) + _digits(i) for n, (kind, i) in names.items()]
    sections[7] = _digits(len(table)) + b"".join(table)
    order = [1, 3, 4, 5, 6, 7, 8, 9, 12, 10, 11]  # as the format wants them
    return bytes(obj[:8]) + b"".join(
        bytes([k]) + _sized(sections[k]) for k in order if k in sections
    )
