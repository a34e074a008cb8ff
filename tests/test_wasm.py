"""Kernels as WebAssembly, in the engine of a browser: the bits they give, and what is refused."""

import json
import math
import os
import re
import subprocess
import sys
import textwrap
from functools import cache
from importlib import import_module
from types import FunctionType, SimpleNamespace
from typing import NamedTuple

import numpy as np
import pytest
from compiled import compiled_only
from pages import ROOT
from py_mini_racer import MiniRacer

from dlbook import autoencoders, backprop, convolution, linear_regression, matmul, neurons
from dlbook.tools import portable, wasm
from dlbook.tools.jit import njit

pytestmark = compiled_only

CHAPTERS = ("backprop", "convolution", "attention", "gated", "optimization")
SOME = {  # of the chapters that take long: some that stand for the others
    "attention": "scaled_scores masked_softmax dot_product_attention additive_scores multi_head "
    "positional_encoding tiled attention_cost path_lengths softmax_backward",
    "gated": "forget_gate lstm_states lstm_deltas gru_states cell_state hidden_state bidirectional "
    "gru_state",
    "convolution": "convolve conv multichannel conv_dw pool_max pool_average toeplitz patches pad",
}
LOADER = (ROOT / "book" / "_static" / "kernels.js").read_text(encoding="utf-8")
ENGINE = """
var TextDecoder = function () {};  // a browser has these two
TextDecoder.prototype.decode = (bytes) => decodeURIComponent(escape(String.fromCharCode(...bytes)));
var hex = (data) => [...new Uint8Array(data.buffer)].map((b) => b.toString(16).padStart(2, "0")).join("");
var unhex = (text) => Uint8Array.from(text.match(/../g) ?? [], (b) => parseInt(b, 16));
var given = (x) => {
  if (x === null || typeof x !== "object") return x;
  if (Array.isArray(x)) return x.map(given);
  const data = new ({ float64: Float64Array, float32: Float32Array, int64: BigInt64Array,
    bool: Uint8Array, complex128: Float64Array })[x.type](unhex(x.hex).buffer);
  return x.shape ? { shape: x.shape, data } : x.type.startsWith("complex") ? [...data] : data[0];
};
var taken = (x) => {
  if (typeof x === "number") return { hex: hex(Float64Array.of(x)) };
  if (x === null || typeof x !== "object") return x;
  if (Array.isArray(x)) return x.map(taken);
  if (!x.data) return Object.values(x).map(taken);
  return { shape: x.shape, hex: hex(x.data) };
};
var kernels, run = (name, values) => {
  try { return JSON.stringify(taken(kernels[name](...given(JSON.parse(values))))); }
  catch (e) { return "!" + e.message; }
};
"""


class Engine:
    """A module inside V8, called with arrays and numbers bit by bit."""

    def __init__(self, module):
        self.table, self.v8 = module.table, MiniRacer()
        self.v8.eval(LOADER + ENGINE)
        code, table = json.dumps(list(module.code)), json.dumps(module.table)
        start = (
            f"dlbookKernels.load(Uint8Array.from({code}), {table}).then((k) => {{ kernels = k; }})"
        )
        self.v8.eval(start).get()

    def __call__(self, name, *arguments):
        found = self.v8.eval(f"run({json.dumps(name)}, {json.dumps(json.dumps(sent(arguments)))})")
        if found.startswith("!"):
            raise ValueError(found[1:])
        return received(json.loads(found), self.table[name]["returns"])


def sent(value):
    if isinstance(value, tuple):
        return [sent(v) for v in value]
    if value is None or isinstance(value, (bool, int, np.integer)):
        return value if value is None else int(value)
    array = np.ascontiguousarray(value)
    shape = {"shape": list(value.shape)} if isinstance(value, np.ndarray) else {}
    return {"type": array.dtype.name, "hex": array.tobytes().hex(), **shape}


def received(value, kind):
    """Return a result as Python has it, of arrays and numbers with the same bits."""
    if kind == "none":
        return None
    if isinstance(kind, dict) and "tuple" in kind:
        return tuple(received(v, k) for v, k in zip(value, kind["tuple"], strict=True))
    if isinstance(kind, dict):
        return np.frombuffer(bytes.fromhex(value["hex"]), kind["array"]).reshape(value["shape"])
    if kind.startswith("complex"):
        return complex(*(received(v, "float64") for v in value))
    return np.frombuffer(bytes.fromhex(value["hex"]))[0] if isinstance(value, dict) else value


def leaves(value):
    if isinstance(value, (tuple, list)):
        return [leaf for part in value for leaf in leaves(part)]
    return [] if value is None else [np.asarray(value)]


def same(found, expected):
    """Say whether results have the same numbers, zeros of the same sign, and NaN at the same places."""
    pairs = list(zip(leaves(found), leaves(expected), strict=True))
    return all(
        a.shape == b.shape
        and np.array_equal(a, b, equal_nan=a.dtype.kind in "fc")
        and np.array_equal(np.signbit(a.real), np.signbit(b.real))
        for a, b in pairs
    )


PORTABLE = {
    name: function if count == 2 else np.vectorize(function, otypes=[float])
    for name, (function, count) in portable.FUNCTIONS.items()
}


@cache
def with_portable(function):
    """Return a kernel's Python source, bound to the book's functions of the mathematics library."""
    scope = {"__builtins__": function.__globals__["__builtins__"]}
    for name in function.__code__.co_names:
        if name not in function.__globals__:
            continue
        value = function.__globals__[name]
        if hasattr(value, "py_func"):
            scope[name] = with_portable(value.py_func) if value.py_func is not function else value
        elif value is np or value is math:
            scope[name] = SimpleNamespace(**(vars(value) | PORTABLE))
        else:
            scope[name] = PORTABLE.get(name, value) if callable(value) else value
    return FunctionType(function.__code__, scope, function.__name__, function.__defaults__)


def literal(stem):
    """Return the literal kernels of a chapter with arguments, by name."""
    rows = import_module(f"test_{stem}").KERNELS
    some = SOME.get(stem, "").split()
    rows = [row for row in rows if not some or row[0].__name__ in some]
    return {kernel.__name__: (kernel, make(np.random.default_rng(7))) for kernel, make in rows}


@cache
def chapter(stem):
    rows = literal(stem)
    module = wasm.build({n: (k, wasm.signature(k, args)) for n, (k, args) in rows.items()})
    return rows, module, Engine(module)


@pytest.mark.parametrize("stem", CHAPTERS)
def test_the_bits_are_those_of_the_kernel(stem):
    """Of what Numba compiles for the processor where no library is involved."""
    rows, module, engine = chapter(stem)
    plain = [n for n, row in module.table.items() if not row["maths"]]
    assert len(plain) > 1
    assert str(ROOT).encode() not in module.code  # nor in what NumPy's functions would raise
    for name in plain:
        kernel, args = rows[name]
        assert same(engine(name, *args), kernel(*args)), name


# Their docstrings have one letter for two sizes that the tests let differ
PYTHONS_POWER = {"momentum_path"}  # `x**y` in Python asks the library


@pytest.mark.parametrize("stem", CHAPTERS)
def test_with_the_mathematics_of_the_book_the_bits_are_those_of_the_source(stem):
    """exp and its kin inline, in compiled array expressions, through called kernels."""
    rows, module, engine = chapter(stem)
    used = [n for n, row in module.table.items() if row["maths"]]
    assert used or stem == "convolution"
    for name in used:
        kernel, args = rows[name]
        found, expected = engine(name, *args), with_portable(kernel.py_func)(*args)
        if name in PYTHONS_POWER:
            np.testing.assert_allclose(found, expected, rtol=1e-14)
        else:
            assert same(found, expected), name


def test_what_needs_a_library_is_refused_by_name():
    _, module, _ = chapter("backprop")
    assert "numba_xxgemv" in module.refused["layer_matrix"]
    assert "a product of BLAS" in module.refused["layer_matrix"]
    assert not set(module.refused) & set(module.table)
    rows = [(matmul, "log_det_gradient"), (autoencoders, "principal_sines")]
    tests = {m: literal(m.__name__.split(".")[1]) for m, _ in rows}
    kernels = {n: (k, wasm.signature(k, a)) for m, n in rows for k, a in [tests[m][n]]}
    made = wasm.build(kernels)
    assert made.table == {}
    assert all("solution by LAPACK" in words for words in made.refused.values())


@njit
def powers(x, y, z):
    return x**y, x % y, np.fmod(x, y), z**z


def test_powers_and_remainders():
    """What is an operator in a kernel, and a call of the library in what LLVM makes of it."""
    arguments = 7.25, -2.5, 0.5 + 2j
    made = wasm.build({"powers": (powers, wasm.signature(powers, arguments))})
    found = Engine(made)("powers", *arguments)
    expected = 7.25**-2.5, 7.25 % -2.5, math.fmod(7.25, -2.5), (0.5 + 2j) ** (0.5 + 2j)
    np.testing.assert_allclose(found, expected, rtol=1e-15)
    assert found[1:3] == expected[1:3]


class Pair(NamedTuple):
    low: float
    all: np.ndarray


@njit(whole="y mask")
def mixed(x, scale, y, mask, pair, nothing):
    """(test-mixed)  everything that a table can describe
    (n k), (), (n), (n k), … -> …
    """
    counted = np.zeros(3, np.int64)
    total = x[0, 0] * 0
    for n in range(x.shape[0]):
        if y[n] < 0:
            raise ValueError("a label is negative")
        counted[y[n]] += 1
        for k in range(x.shape[1]):
            if mask[n, k]:
                total += scale * x[n, k] + pair[0] * pair[1][k]
    return Pair(total, x.T), counted, y[0] > 0, nothing


def mixed_arguments(dtype):
    rng = np.random.default_rng(3)
    x = rng.normal(size=(4, 3)).astype(dtype)
    pair = (2.5, rng.normal(size=3).astype(dtype))
    return x, dtype(0.5), np.array([1, 0, 2, 1]), x > 0, pair, None


@cache
def others():
    """Return a module with kernels for other numbers than float64, and what they are given."""
    rng = np.random.default_rng(5)
    z = rng.normal(size=(3, 4))
    w, a = z + 1j * rng.normal(size=(3, 4)), rng.normal(size=4) + 1e-20j
    x, f = rng.normal(size=(2, 2, 5, 5)) + 1e-20j, rng.normal(size=(3, 2, 3, 3)) + 0j
    single = tuple(v.astype(np.float32) for v in (z, z[:, 0], z[0]))
    rows = {
        "mixed": (mixed, mixed_arguments(np.float64)),
        "mixed32": (mixed, mixed_arguments(np.float32)),
        "complex_layer": (backprop.layer, (w, w[:, 0].copy(), a)),
        "complex_conv": (convolution.multichannel, (x, f, f[:, 0, 0, 0].copy())),
        "single_layer": (backprop.layer, single),
        "gelu": (neurons.gelu, (rng.normal(size=9),)),
        "predict": (linear_regression.predict, (z, z[0])),
    }
    return (
        rows,
        (made := wasm.build({n: (k, wasm.signature(k, v)) for n, (k, v) in rows.items()})),
        Engine(made),
    )


@pytest.mark.parametrize("name", ["mixed", "mixed32", "complex_conv"])
def test_numbers_of_every_kind(name):
    rows, module, engine = others()
    kernel, args = rows[name]
    assert module.table[name]["maths"] == []
    found, expected = engine(name, *args), kernel(*args)
    assert same(found, expected)
    kinds = [(a.dtype, b.dtype) for a, b in zip(leaves(found), leaves(expected), strict=True)]
    assert all(a == b or (b == np.float32 and not a.shape) for a, b in kinds)


@pytest.mark.parametrize("name", ["complex_layer", "single_layer", "gelu"])
def test_mathematics_of_other_numbers(name):
    """A complex step goes through, and single precision stays single."""
    rows, _, engine = others()
    kernel, args = rows[name]
    for found, expected in zip(leaves(engine(name, *args)), leaves(kernel(*args)), strict=True):
        assert found.dtype == expected.dtype
        few = 4 * np.finfo(found.dtype).eps
        np.testing.assert_allclose(found.real, expected.real, rtol=few, atol=few)
        np.testing.assert_allclose(found.imag, expected.imag, rtol=1e-14, atol=1e-34)


def test_a_table_is_plain_data():
    _, module, _ = others()
    assert json.loads(json.dumps(module.table)) == module.table
    row = module.table["mixed"]
    assert list(row["args"]) == ["x", "scale", "y", "mask", "pair", "nothing"]
    assert row["args"]["mask"] == {"array": "bool", "axes": [None, None]}
    assert row["returns"]["tuple"][0]["names"] == ["low", "all"]
    assert module.table["predict"]["args"]["X"]["axes"] == ["n", "p"]


ONE, TWO = np.ones(2), np.ones((2, 2))
WRONG = {
    "too few": ((TWO,), "predict takes X, beta"),
    "another size": ((TWO, np.ones(3)), "beta has 3 along p, X has 2"),
    "another rank": ((ONE, ONE), "X has 2 axes, not 1"),
    "other numbers": ((TWO.astype(np.float32), ONE), "X is an array of float64"),
    "a number": ((TWO, 3.0), "beta has 1 axis, not 0"),
}


@pytest.mark.parametrize("what", WRONG)
def test_wrong_arguments_are_refused_in_words(what):
    arguments, words = WRONG[what]
    with pytest.raises(ValueError, match=words):
        others()[2]("predict", *arguments)


def test_what_a_kernel_raises_is_told():
    """In its own words, without the place of a file; and the next call works."""
    rows, module, engine = others()
    x, scale, _, *rest = mixed_arguments(np.float64)
    with pytest.raises(ValueError, match=r"^ValueError: a label is negative$"):
        engine("mixed", x, scale, np.array([0, -1, 0, 0]), *rest)
    assert same(engine("mixed", *rows["mixed"][1]), mixed(*rows["mixed"][1]))
    assert str(ROOT).encode() not in module.code


def test_an_index_outside_is_told_and_reads_nothing():
    """Labels are the reader's: of three counts there is no eighth, nor one far beyond the memory."""
    engine = others()[2]
    x, scale, _, *rest = mixed_arguments(np.float64)
    for label in (3, 7, 2**40):
        with pytest.raises(ValueError, match=r"^IndexError: .*out of bounds"):
            engine("mixed", x, scale, np.array([0, label, 0, 0]), *rest)


def test_lists_are_as_good_as_arrays():
    engine = others()[2]
    found = engine.v8.eval("JSON.stringify(kernels.predict([[1, 2], [3, 4]], [1, 10]).data)")
    assert json.loads(found) == {"0": 21, "1": 43}
    with pytest.raises(Exception, match="different lengths"):
        engine.v8.eval("kernels.predict([[1, 2], [3]], [1, 10])")


BYTES = """
    import hashlib
    import numpy as np
    from dlbook import attention, backprop
    from dlbook.tools import wasm
    z = np.random.default_rng(0).normal(size=(3, 3))
    {before}
    kernels = {{"bp2": (backprop.bp2, (z, z[0], z[0])), "softmax": (backprop.softmax, (z,))}}
    kernels["positions"] = (attention.positional_encoding, (3, 4))
    made = wasm.build({{n: (k, wasm.signature(k, a)) for n, (k, a) in kernels.items()}})
    print(hashlib.sha256(made.code).hexdigest(), sorted(made.table))
"""
CALLS = "backprop.bp2(z, z[0], z[0]), backprop.softmax(z)"
BUILD = 'wasm.build({"softmax": (backprop.softmax, wasm.signature(backprop.softmax, (z,)))})'


def test_the_bytes_are_the_same_in_every_process():
    """Whatever was compiled before, for the processor or for pages."""
    found = set()
    for seed, before in enumerate(("", f"{CALLS}, {BUILD}")):
        code = textwrap.dedent(BYTES.format(before=before))
        env = os.environ | {"PYTHONHASHSEED": str(seed), "PYTHONPATH": str(ROOT)}
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, env=env, check=True
        )
        found.add(done.stdout)
    assert len(found) == 1
    assert "bp2" in found.pop()


def test_numba_of_this_process_does_not_notice():
    """What is compiled for pages is compiled elsewhere: here there is not even the target."""
    registry = import_module("numba.core.target_extension").target_registry
    assert wasm.available() == (True, "")
    assert len(others()[1].table) == len(others()[0])
    assert "dlbook.tools.wasm_target" not in sys.modules
    assert not [name for name in registry if "wasm" in str(name)]


def test_where_numba_is_made_otherwise_it_is_said(monkeypatch):
    """In the words of the other process, whatever it did: an error, or its end."""
    gone = "raise ImportError(\"cannot import name 'CPUCodegen'\")"
    broken = f"wasm._target.__wrapped__.__code__ = (lambda: exec({gone!r})).__code__; wasm._serve()"
    ended = "import os; os._exit(3)"
    for code, words in ((broken, "'CPUCodegen'"), (gone, "'CPUCodegen'"), (ended, "was ended")):
        monkeypatch.setattr(wasm, "_START", wasm._START.replace("wasm._serve()", code))
        wasm.available.cache_clear()
        try:
            found = wasm.available()
            assert not found
            assert re.fullmatch(rf"Numba \S+ makes no WebAssembly \(.*{words}.*\)", found.why)
        finally:
            monkeypatch.undo()
            wasm.available.cache_clear()


def test_a_kernel_that_another_process_does_not_find_is_refused():
    def local(x):
        return x

    for kernel in (njit(local), njit(powers.py_func)):
        with pytest.raises(ValueError, match="is not the kernel of that name in test_wasm"):
            wasm.build({"local": (kernel, wasm.signature(kernel, (ONE,)))})


def test_what_a_page_cannot_hand_over_is_refused():
    for value, words in ((np.random.default_rng(0), "Generator"), (np.array(["a"]), "no number")):
        with pytest.raises(TypeError, match=words):
            wasm.signature(backprop.softmax, (value,))
