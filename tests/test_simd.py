"""The register tile against NumPy, on every shape of tile this processor can run."""

import os
import subprocess
import sys

import numpy as np
import pytest

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
    ROWS = simd.TILE.rows

    @njit
    def whole(a, i, panel, c, j, columns, more):
        simd.tile(ROWS, a, i, panel, c, j, columns, more)

    @njit
    def one_row(a, i, panel, c, j, columns, more):
        simd.tile(1, a, i, panel, c, j, columns, more)


@needs_tile
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("order", ["C", "F", "strided"])
@pytest.mark.parametrize("more", [False, True])
@pytest.mark.parametrize("depth", [0, 1, 7, 64])
def test_tile_equals_numpy(dtype, order, more, depth, rng):
    """Inside a larger c, from any row and column on, with fewer columns than the tile has."""
    width = simd.TILE.width(np.dtype(dtype))
    for kernel, rows in ((whole, simd.TILE.rows), (one_row, 1)):
        for columns in (1, width // 2 + 1, width):
            a = rng.normal(size=(rows + 5, depth)).astype(dtype)
            if order == "F":
                a = np.asfortranarray(a)
            elif order == "strided":
                a = np.repeat(np.repeat(a, 2, axis=0), 3, axis=1)[::2, ::3]
            panel = rng.normal(size=(depth, width)).astype(dtype)
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
