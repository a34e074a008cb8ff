"""The register tile against NumPy, on every shape of tile this processor can run."""

import importlib
import itertools
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from compiled import compiled_only
from pages import ROOT

from dlbook import (
    backprop,
    matmul,
)
from dlbook.fast import adversarial, attend, conv, dense, memory, recurrent
from dlbook.fast.conv import SAME
from dlbook.fast.memory import Memory
from dlbook.nets import (
    CNN,
    MLP,
    AttentiveDecoder,
    Autoencoder,
    ConvAutoencoder,
    EncoderDecoder,
    Gaussian,
    MultiHeadAttention,
    Network,
    RecurrentNetwork,
)
from dlbook.tools import simd
from dlbook.tools.jit import njit

needs_tile = pytest.mark.skipif(simd.TILE is None, reason="no register tile on this processor")
AVX512 = {"avx512f": True, "avx2": True, "fma": True}
AVX2 = {"avx512f": False, "avx2": True, "fma": True}


@pytest.mark.parametrize(
    ("features", "choice", "expected"),
    [
        (AVX512, None, (12, 2, 64)),
        (AVX512, "avx2", (6, 2, 32)),
        (AVX512, "none", None),
        (AVX2, None, (6, 2, 32)),
        (AVX2 | {"fma": False}, None, None),
        ({"neon": True}, None, None),
        ({}, "none", None),
    ],
)
def test_the_processor_decides(features, choice, expected):
    tile = simd.tile_for(features, choice)
    assert (tile and tile[:3]) == expected


@pytest.mark.parametrize(("features", "choice"), [(AVX2, "avx512"), ({}, "avx2"), (AVX512, "sse")])
def test_a_choice_the_processor_lacks_is_named(features, choice):
    with pytest.raises(ValueError, match=f"DLBOOK_SIMD is '{choice}', expected one of"):
        simd.tile_for(features, choice)


def test_registers_are_enough():
    """Sums, the vectors of a panel's row and one number spread out fit the register file."""
    for name, registers in (("avx512", 32), ("avx2", 16)):
        tile = simd.TILES[name]
        assert tile.rows * tile.vectors + tile.vectors + 1 <= registers
        assert tile.rows * tile.vectors >= 8  # two units, four cycles each


@pytest.mark.parametrize("shape", [(1,), (3, 5), (2, 7, 32)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_aligned(shape, dtype):
    x = simd.aligned(shape, dtype)
    assert x.ctypes.data % simd.LINE == 0
    assert x.shape == shape and x.dtype == dtype and not x.any() and x.flags.c_contiguous


if simd.TILE is not None:
    ROWS, VECTORS = simd.TILE.rows, simd.TILE.vectors

    @njit
    def whole(a, i, panel, c, j, columns, more):
        simd.tile(ROWS, VECTORS, a, i, panel, c, j, columns, more)

    @njit
    def one_row(a, i, panel, c, j, columns, more):
        simd.tile(1, VECTORS, a, i, panel, c, j, columns, more)

    @njit
    def narrow(a, i, panel, c, j, columns, more):
        simd.tile(ROWS, 1, a, i, panel, c, j, columns, more)


@needs_tile
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("order", ["C", "F", "strided"])
@pytest.mark.parametrize("more", [False, True])
@pytest.mark.parametrize("depth", [0, 1, 7, 64])
def test_tile_equals_numpy(dtype, order, more, depth, rng):
    """Inside a larger c, from any row and column on, with fewer columns than the tile has."""
    width = simd.TILE.width(np.dtype(dtype))
    kinds = (whole, simd.TILE.rows), (one_row, 1), (narrow, simd.TILE.rows)
    for kernel, rows in kinds:
        for columns in (1, width // 2) if kernel is narrow else (1, width // 2 + 1, width):
            a = rng.normal(size=(rows + 5, depth)).astype(dtype)
            if order == "F":
                a = np.asfortranarray(a)
            elif order == "strided":
                a = np.repeat(np.repeat(a, 2, axis=0), 3, axis=1)[::2, ::3]
            panel = rng.normal(size=(depth, width)).astype(dtype)
            if order == "strided":  # as part of a larger one
                panel = np.repeat(panel, 2, axis=0)[::2]
            c = rng.normal(size=(rows + 9, width + 20)).astype(dtype)
            expected = c.astype(np.float64)
            part = expected[3 : 3 + rows, 11 : 11 + columns]
            part[:] = part * more + a[3 : 3 + rows].astype(np.float64) @ panel[:, :columns]
            kernel(a, 3, panel, c, 11, columns, more)
            tolerance = {np.float32: 1e-5, np.float64: 1e-13}[dtype]
            np.testing.assert_allclose(c, expected, rtol=0, atol=tolerance)
            outside = np.ones(c.shape, bool)
            outside[3 : 3 + rows, 11 : 11 + columns] = False
            np.testing.assert_array_equal(c[outside], expected[outside].astype(dtype))


@needs_tile
def test_nan_and_infinity_pass(rng):
    width = simd.TILE.width(np.dtype(np.float64))
    a, panel = np.ones((ROWS, 4)), np.ones((4, width))
    a[1, 2], a[2, 0], panel[3, 5] = np.nan, np.inf, -np.inf
    c = np.zeros((ROWS, width))
    whole(a, 0, panel, c, 0, width, False)
    with np.errstate(invalid="ignore"):
        np.testing.assert_array_equal(c, a @ panel)


def test_largest():
    @njit
    def over(x):
        most = x[0]
        for v in x:
            most = simd.largest(most, v)
        return most

    for dtype in (np.float32, np.float64):
        x = np.array([3, -1, 7.5, 7.25, -np.inf], dtype)
        assert over(x) == 7.5 and over(x[1:2]) == -1 and over(x[-1:]) == -np.inf


CODE = """
import numpy as np
from dlbook import matmul
from dlbook.tools import simd
rng = np.random.default_rng(0)
for dtype in ("float32", "float64"):
    for I, K, J in ((1, 1, 1), (5, 3, 70), (29, 140, 33)):
        a, b = rng.normal(size=(I, K)).astype(dtype), rng.normal(size=(K, J)).astype(dtype)
        for x in (a, np.asfortranarray(a)):
            error = np.abs(matmul.packed_product(x, b) - a.astype(float) @ b).max()
            assert error < {"float32": 1e-4, "float64": 1e-12}[dtype], error
print(simd.TILE and simd.TILE.rows)
"""


@pytest.mark.parametrize(
    "choice",
    ["none", *(n for n, t in simd.TILES.items() if simd.TILE and t.bytes <= simd.TILE.bytes)],
)
def test_the_product_by_every_path(choice):
    """Other processors' paths run here too: a narrower tile, and np.dot."""
    done = subprocess.run(
        [sys.executable, "-c", CODE],
        capture_output=True,
        text=True,
        env=os.environ | {"DLBOOK_SIMD": choice},
    )
    assert done.returncode == 0, done.stderr
    tile = simd.TILES.get(choice)
    assert done.stdout.strip() == str(tile and tile.rows)


def test_an_unknown_path_is_refused():
    done = subprocess.run(
        [sys.executable, "-c", "import dlbook.tools.simd"],
        capture_output=True,
        text=True,
        env=os.environ | {"DLBOOK_SIMD": "mmx"},
    )
    assert done.returncode != 0 or os.environ.get("NUMBA_DISABLE_JIT") == "1"
    assert "DLBOOK_SIMD is 'mmx'" in done.stderr or os.environ.get("NUMBA_DISABLE_JIT") == "1"


# What lies in memory, for every shape of the tile, whether or not this processor can execute it

USERS = (adversarial, attend, backprop, conv, dense, matmul, memory, recurrent)


@pytest.fixture(params=[*simd.TILES, "none"])
def shape(request, monkeypatch):
    """Let every chapter compute its sizes as for that tile; the kernels stay as they are."""
    found = simd.TILES.get(request.param, simd.TILES["avx512"])
    for module in USERS:
        monkeypatch.setattr(module, "PANEL_BYTES", found.vectors * found.bytes)
    return found


def test_every_user_is_known():
    """What packs panels has their width under one name, and is tested with every tile."""
    folder = Path(matmul.__file__).parent
    names = [p.stem for p in folder.glob("*.py")]
    names += [f"fast.{p.stem}" for p in (folder / "fast").glob("*.py")]
    modules = [importlib.import_module(f"dlbook.{n}") for n in names if not n.startswith("_")]
    assert {m for m in modules if hasattr(m, "PANEL_BYTES")} == set(USERS)
    tested = re.search(r"^TILED +:= (.*)", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M)
    assert {m.__name__.split(".")[1] for m in USERS} - {"fast"} < set(tested[1].split())


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_panels_of_every_width(shape, dtype):
    width = shape.width(np.dtype(dtype))
    for K, J in ((1, 1), (7, width), (7, width + 1), (130, 70)):
        assert matmul.panels(K, J, dtype).shape == (-(-J // width), K, width)
    assert shape.rows % 3 == 0  # whole tiles, two thirds, one third
    assert attend.KEYS % width == 0  # all of a block's keys are in panels
    layer = conv.memory((2, 5, 6, 3), (40, 3, 3, 3), (2, 5, 6, 40), SAME, np.dtype(dtype))
    assert layer.forth.shape[-1] == layer.back.shape[-1] == width


def packed(width, *factors):
    """Return the numbers in the largest of some packed factors, given as (rows, columns)."""
    return max(-(-J // width) * width * K for K, J in factors)


SIZES = [(3, 70, 5), (64, 30, 10), (1, 1, 3), (33, 5, 129)]  # inputs, hidden, outputs


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_memory_has_room_for_packed_factors(shape, dtype):
    """The widest first or last, and all that share it."""
    width = shape.width(np.dtype(dtype))
    factors = [(7, 1), (3, 70), (130, width + 1)]
    for some in (factors, factors[::-1]):
        work = Memory(dtype)
        for factor in some:
            work.panels(factor)
        assert work.panels(factors[0]).size >= packed(width, *factors)
    assert Memory(dtype).packed("w", 130, 70).shape == (-(-70 // width), 130, width)


def needed(pairs, N):
    """Return what a product and its gradients pack, for each pair of inputs and outputs."""
    return {f for K, J in pairs for f in ((K, J), (min(N, matmul.DEPTH), K), (J, K))}


def held(factors, wanted):
    """Return whether there is room for all of them."""
    return all(any(r >= a and c >= b for r, c in factors) for a, b in wanted)


def asked_for(model, N, monkeypatch, rng, batch=None):
    """Return the factors that the layers of a model want room for in a step of N examples."""
    factors, panels = set(), Memory.panels
    with monkeypatch.context() as patch:
        patch.setattr(Memory, "panels", lambda m, *f: factors.update(f) or panels(m, *f))
        params = model.init(rng)
        if batch is None:
            x = np.zeros((N, *model.input), model.dtype)
            batch = (x, np.zeros(N, int)) if isinstance(model, (MLP, CNN)) else (x,)
        if isinstance(model, RecurrentNetwork):
            batch = x[None], np.zeros((1, N), int), np.array([N])
        grads, work = model.init(rng), model.workspace(N)
        model.loss_and_grad(params, None, batch, grads, work, None)
    return factors


FEW_AND_MANY = [1, 40, pytest.param(700, marks=compiled_only)]


@pytest.mark.parametrize("N", FEW_AND_MANY)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_layers_ask_for_room_for_all_that_is_packed(dtype, N, monkeypatch, rng):
    """A layer packs its weights on the way up, its inputs for dw, its weights again for dx."""
    for sizes in SIZES:
        up = [*itertools.pairwise(sizes)]
        assert held(asked_for(MLP(sizes, dtype=dtype), N, monkeypatch, rng), needed(up, N))
        found = asked_for(Autoencoder(sizes, dtype=dtype), N, monkeypatch, rng)
        assert held(found, needed(up + [(J, K) for K, J in up], N))
    for channels in ((5, 3), (16, 32)) if N <= 40 else ():
        net = CNN(channels=channels, dtype=dtype)
        features = channels[-1] * net.sides[-1] ** 2
        assert held(asked_for(net, N, monkeypatch, rng), needed([(features, net.classes)], N))
        net = ConvAutoencoder(channels=channels, dtype=dtype)
        pairs = [(net.features, net.code), (net.code, net.features)]
        assert held(asked_for(net, N, monkeypatch, rng), needed(pairs, N))
    for K, J, V in SIZES:
        one = np.ones(N, int)
        lines = 0 * one[:, None], one[:, None], one, one
        for kind, pairs in (
            (EncoderDecoder, [(J, V)]),
            (AttentiveDecoder, [(2 * J, V), (J, J)]),
        ):
            found = asked_for(kind(K, J, V, dtype=dtype), N, monkeypatch, rng, lines)
            assert held(found, needed(pairs, N))
        net = Network((1, 2 * J), MultiHeadAttention(2 * J, 2), Gaussian(), dtype=dtype)
        x = np.zeros((N, 1, 2 * J), dtype)
        found = asked_for(net, N, monkeypatch, rng, (x, x))
        assert held(found, needed([(2 * J, 2 * J)], N))


@pytest.mark.parametrize("rows", FEW_AND_MANY)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("cell", "G"), [("tanh", 1), ("gru", 3), ("lstm", 4)])
def test_so_do_recurrent_layers(cell, G, dtype, rows, monkeypatch, rng):
    """Those with gates pack the weights of the state once for all steps, in an array of their own."""
    for K, J, V in SIZES:
        net = RecurrentNetwork(K, J, V, cell=cell, depth=2, bidirectional=True, dtype=dtype)
        wanted = needed([(2 * J, G * J), (2 * J, V)], rows)
        wanted |= {(K, G * J), (min(rows, matmul.DEPTH), K), (min(rows, matmul.DEPTH), J)}
        wanted |= {(J, J)} if G == 1 else set()
        assert held(asked_for(net, rows, monkeypatch, rng), wanted)
