"""Matrix products in every order, their derivatives, and the counts that explain their speed."""

import itertools

import numpy as np
import pytest
from compiled import compiled_only, same_bits

from dlbook import matmul
from dlbook.verification import adjoint_gap, central_differences, complex_step, relative_error


def some_pair(rng):
    return rng.normal(size=(5, 3)), rng.normal(size=(3, 4))


def some_layer(rng):
    return rng.normal(size=(5, 4)), rng.normal(size=(5, 3)), rng.normal(size=(4, 3))


KERNELS = [
    *((kernel, some_pair) for kernel in matmul.LOOP_ORDERS.values()),
    (matmul.product_four, some_pair),
    (matmul.product_four, lambda rng: (rng.normal(size=(3, 11)), rng.normal(size=(11, 6)))),
    (matmul.product_tiled, lambda rng: (*some_pair(rng), 2)),
    (matmul.differential, lambda rng: tuple(rng.normal(size=(2, 4, 3)))),
    (matmul.trace_gradient, lambda rng: (rng.normal(size=(4, 3)),)),
    (matmul.quadratic_gradient, lambda rng: (rng.normal(size=(4, 4)), rng.normal(size=4))),
    (matmul.log_det_gradient, lambda rng: (rng.normal(size=(4, 4)) + 3 * np.eye(4),)),
    (matmul.elementwise_jacobian, lambda rng: (rng.normal(size=4),)),
    (matmul.linear_jacobian, lambda rng: (rng.normal(size=(4, 3)), rng.normal(size=3))),
    (matmul.product_backward, lambda rng: (rng.normal(size=(5, 4)), *some_pair(rng))),
    (matmul.dense_backward, some_layer),
    (matmul.traffic, lambda rng: (8, 6, 4, 2, 4)),
    (matmul.arithmetic_intensity, lambda rng: (8, 6, 4, 4)),
    (matmul.roofline, lambda rng: (rng.uniform(size=5), 0.5, 2.0)),
    (matmul.multiply_add_rate, lambda rng: (np.arange(1.0, 12), 4, 2)),
    (matmul.distances, lambda rng: (rng.normal(size=(5, 3)), rng.normal(size=(4, 3)))),
]
SHAPES = [(1, 1, 1), (2, 3, 4), (7, 1, 5), (1, 9, 1), (5, 4, 8), (13, 17, 11), (16, 16, 16)]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("order", matmul.LOOP_ORDERS)
def test_orders_against_numpy(order, shape, rng):
    I, K, J = shape  # noqa: E741
    a, b = rng.normal(size=(I, K)), rng.normal(size=(K, J))
    assert relative_error(matmul.LOOP_ORDERS[order](a, b), a @ b) < 1e-14


def test_product_by_hand():
    a, b = np.array([[1.0, 2, 0], [0, 1, 3]]), np.array([[1.0, 0], [2, 1], [1, 4]])
    for f in matmul.LOOP_ORDERS.values():
        np.testing.assert_array_equal(f(a, b), [[5, 2], [5, 13]])


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("s", [1, 2, 3, 4, 5, 16, 100])
def test_blocks_of_any_size(shape, s, rng):
    I, K, J = shape  # noqa: E741
    a, b = rng.normal(size=(I, K)), rng.normal(size=(K, J))
    assert relative_error(matmul.product_tiled(a, b, s), a @ b) < 1e-14


@pytest.mark.parametrize("depth", range(1, 10))
def test_four_at_a_time_and_the_rest(depth, rng):
    a, b = rng.normal(size=(6, depth)), rng.normal(size=(depth, 19))
    assert relative_error(matmul.product_four(a, b), a @ b) < 1e-14


def test_products_add_to_what_is_there(rng):
    (a, b), c = some_pair(rng), np.ones((5, 4))
    matmul.add_product(a, b, c)
    assert relative_error(c, 1 + a @ b) < 1e-14
    a, b, c = rng.normal(size=(5, 4)), rng.normal(size=(4, 3)), np.ones((5, 3))
    matmul.add_four(a, b, c)
    assert relative_error(c, 1 + a @ b) < 1e-14


@np.errstate(invalid="ignore")
@pytest.mark.parametrize("f", [*matmul.LOOP_ORDERS.values(), matmul.product_four])
def test_nan_and_infinity_reach_their_row(f, rng):
    """A NaN spoils one row of c, also where it meets a zero; infinity times zero is NaN."""
    a, b = some_pair(rng)
    a[2, 1], b[1] = np.nan, 0
    np.testing.assert_array_equal(np.isnan(f(a, b)).any(axis=1), np.arange(5) == 2)
    a[2, 1] = np.inf
    assert np.isnan(f(a, b)[2]).all()
    b[1] = 1
    assert np.isposinf(f(a, b)[2]).all()


def test_empty_axes():
    """A sum over nothing is zero."""
    for f in (*matmul.LOOP_ORDERS.values(), matmul.product_four):
        np.testing.assert_array_equal(f(np.ones((2, 0)), np.ones((0, 3))), np.zeros((2, 3)))
        assert f(np.ones((0, 2)), np.ones((2, 3))).shape == (0, 3)


def random_matrix(rng, n, sign):
    """Return a matrix with a determinant of the wanted sign."""
    x = rng.normal(size=(n, n))
    return x if np.sign(np.linalg.det(x)) == sign else x[[1, 0, *range(2, n)]]


@pytest.mark.parametrize("n", [2, 3, 6])
def test_rules_against_complex_step(n, rng):
    a, x, v = rng.normal(size=(n + 1, n)), rng.normal(size=(n, n + 1)), rng.normal(size=n)
    assert (
        relative_error(matmul.trace_gradient(a), complex_step(lambda x: np.trace(a @ x), x)) < 1e-14
    )
    square = rng.normal(size=(n, n))
    by_step = complex_step(lambda v: v @ square @ v, v)
    assert relative_error(matmul.quadratic_gradient(square, v), by_step) < 1e-13
    positive = random_matrix(rng, n, 1)
    by_step = complex_step(lambda x: np.log(np.linalg.det(x)), positive)
    assert relative_error(matmul.log_det_gradient(positive), by_step) < 1e-12


@pytest.mark.parametrize("sign", [-1, 1])
def test_log_det_gradient_does_not_ask_for_the_sign(sign, rng):
    x = random_matrix(rng, 4, sign)
    slopes = central_differences(lambda x: np.linalg.slogdet(x)[1], x)
    assert relative_error(matmul.log_det_gradient(x), slopes) < 1e-7


def test_differential_is_a_trace(rng):
    gradient, change = rng.normal(size=(2, 4, 3))
    assert abs(matmul.differential(gradient, change) - np.trace(gradient.T @ change)) < 1e-13


def test_distances_against_scipy(rng):
    from scipy.spatial.distance import cdist

    x, y = rng.normal(size=(7, 3)), rng.normal(size=(5, 3))
    assert relative_error(matmul.distances(x, y), cdist(x, y, "sqeuclidean")) < 1e-14


def test_jacobians(rng):
    w, x, z = rng.normal(size=(4, 3)), rng.normal(size=3), rng.normal(size=5)
    by_x, by_w = matmul.linear_jacobian(w, x)
    assert relative_error(by_x, complex_step(lambda x: w @ x, x)) < 1e-15
    assert relative_error(by_w, complex_step(lambda w: w @ x, w)) < 1e-15
    assert relative_error(matmul.elementwise_jacobian(np.cos(z)), complex_step(np.sin, z)) < 1e-15


@pytest.mark.parametrize("n", [1, 6])
def test_gradients_of_a_product(n, rng):
    a, b, weight = rng.normal(size=(n, 3)), rng.normal(size=(3, 4)), rng.normal(size=(n, 4))
    cost = lambda c: np.sum(np.sin(c) * weight)
    da, db = matmul.product_backward(np.cos(a @ b) * weight, a, b)
    assert relative_error(da, complex_step(lambda a: cost(a @ b), a)) < 1e-13
    assert relative_error(db, complex_step(lambda b: cost(a @ b), b)) < 1e-13


@pytest.mark.parametrize("n", [1, 6])
def test_gradients_of_a_layer(n, rng):
    """Two oracles: complex step through a curved cost, and the adjoint of each linear map."""
    x, w, b = rng.normal(size=(n, 3)), rng.normal(size=(4, 3)), rng.normal(size=4)
    cost = lambda x, w, b: np.sum(np.sin(x @ w.T + b) ** 2)
    z = x @ w.T + b
    dx, dw, db = matmul.dense_backward(np.sin(2 * z), x, w)
    assert relative_error(dx, complex_step(lambda x: cost(x, w, b), x)) < 1e-13
    assert relative_error(dw, complex_step(lambda w: cost(x, w, b), w)) < 1e-13
    assert relative_error(db, complex_step(lambda b: cost(x, w, b), b)) < 1e-13
    u, v, c, delta = (rng.normal(size=s) for s in ((n, 3), (4, 3), 4, (n, 4)))
    back = lambda d: matmul.dense_backward(d, x, w)
    assert adjoint_gap(lambda u: u @ w.T, lambda d: back(d)[0], u, delta) < 1e-14
    assert adjoint_gap(lambda v: x @ v.T, lambda d: back(d)[1], v, delta) < 1e-14
    assert adjoint_gap(lambda c: np.ones((n, 1)) * c, lambda d: back(d)[2], c, delta) < 1e-14


def test_a_layer_is_a_product(rng):
    """z = x wᵀ: the rules for a product of two matrices give those of a layer."""
    delta, x, w = some_layer(rng)
    da, db = matmul.product_backward(delta, x, w.T)
    dx, dw, _ = matmul.dense_backward(delta, x, w)
    assert relative_error(dx, da) < 1e-15
    assert relative_error(dw, db.T) < 1e-15


def wrong_gradients(rng):
    """Mistakes that keep the shape when the sizes are equal, beside the right arrays."""
    delta, x, w = rng.normal(size=(3, 4, 4))
    dx, dw, db = matmul.dense_backward(delta, x, w)
    return [
        ("dx = δ wᵀ", dx, delta @ w.T),
        ("dx = w δ", dx, w @ delta),
        ("dw = xᵀ δ", dw, x.T @ delta),
        ("dw = δ xᵀ", dw, delta @ x.T),
        ("dw averaged", dw, delta.T @ x / 4),
        ("db over the wrong axis", db, delta.sum(axis=1)),
        ("0.1 %", dw, 1.001 * delta.T @ x),
    ]


def test_wrong_gradients_are_rejected(rng):
    for why, right, wrong in wrong_gradients(rng):
        assert relative_error(wrong, right) > 1e-4, why


def lru(stream, lines):
    """Count the misses of a fully associative cache, by a dictionary that remembers its order."""
    held, missed = {}, 0
    for line in stream:
        missed += held.pop(line, None) is None
        held[line] = True
        if len(held) > lines:
            held.pop(next(iter(held)))
    return missed


@pytest.mark.parametrize("order", ["".join(p) for p in itertools.permutations("ijk")])
@pytest.mark.parametrize(
    ("sets", "ways", "transposed"),
    [(1, 7, ""), (4, 2, ""), (1, 1, ""), (3, 5, ""), (3, 5, "a"), (4, 2, "b"), (1, 7, "ab")],
)
def test_cache_against_a_dictionary(order, sets, ways, transposed):
    counts, row, per_line = {"i": 5, "k": 6, "j": 4}, 7, 2
    streams = [[] for _ in range(sets)]
    for at in itertools.product(*(range(counts[axis]) for axis in order)):
        i, k, j = (dict(zip(order, at, strict=True))[axis] for axis in "ikj")
        a = k * row + i if "a" in transposed else i * row + k
        b = j * row + k if "b" in transposed else k * row + j
        for m, place in enumerate((a, b, i * row + j)):
            line = (m * row * row + place) // per_line
            streams[line % sets].append(line)
    cache = {"row": row, "per_line": per_line, "sets": sets, "ways": ways}
    found = matmul.fetched(order, (5, 6, 4), transposed=transposed, **cache)
    assert found.sum() == sum(lru(stream, ways) for stream in streams)


def test_a_large_cache_fetches_each_line_once():
    found = matmul.fetched("ijk", (8, 8, 8), per_line=4, sets=1, ways=1000)
    np.testing.assert_array_equal(found, [16, 16, 16])
    found = matmul.fetched("ijk", (8, 8, 8), per_line=1, sets=1, ways=1)
    np.testing.assert_array_equal(found, [512, 512, 512])


@compiled_only
@pytest.mark.parametrize("block", [(4, 4, 4), (4, 8, 6), (6, 2, 8), (8, 8, 8)])
def test_traffic_of_blocks(block):
    """Exactly as counted, once a block of each matrix fits and a row of blocks does not."""
    n, (r, _, w) = 48, block
    found = matmul.fetched("ikj", (n, n, n), block=block, per_line=1, sets=1, ways=250)
    np.testing.assert_array_equal(found, [n**3 / w, n**3 / r, n * n])
    assert found.sum() == matmul.traffic(n, n, n, r, w)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_distances_by_a_product(dtype, rng):
    x, y = rng.normal(size=(7, 30)).astype(dtype), rng.normal(size=(50, 30)).astype(dtype)
    found = matmul.squared_distances(x, y)
    assert found.dtype == dtype
    assert relative_error(found, matmul.distances(x, y)) < 20 * np.finfo(dtype).eps
    assert matmul.squared_distances(x, x).min() == 0
    assert matmul.squared_distances(x + 1000, x + 1000).min() >= 0
    nan = matmul.squared_distances(np.where(np.arange(7)[:, None] == 2, np.nan, x), y)
    np.testing.assert_array_equal(np.isnan(nan).all(axis=1), np.arange(7) == 2)


def test_read_through_reads_everything(rng):
    for dtype in (np.float32, np.float64):
        x = rng.integers(-9, 9, 1001).astype(dtype)
        assert matmul.read_through(x) == x.sum()


@pytest.mark.skipif(not matmul.TILED, reason="this processor has no register tile")
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_every_height_of_the_tile(dtype, rng):
    width = matmul.panels(1, 1, dtype).shape[2]
    a = rng.normal(size=(matmul.ROWS, 20)).astype(dtype)
    panel = rng.normal(size=(20, width)).astype(dtype)
    for rows in (1, matmul.THIRD, matmul.TWO_THIRDS, matmul.ROWS):
        c = np.zeros((matmul.ROWS, width), dtype)
        matmul.repeat_tile(rows, a, panel, c, 3)
        assert relative_error(c[:rows], a[:rows] @ panel) < 10 * np.finfo(dtype).eps
        assert not c[rows:].any()


@compiled_only
def test_traffic_of_a_rectangle():
    counts, (r, _, w) = (40, 48, 36), (block := (4, 6, 12))
    found = matmul.fetched("ikj", counts, block=block, per_line=1, sets=1, ways=300)
    np.testing.assert_array_equal(found, [40 * 48 * 36 / w, 40 * 48 * 36 / r, 40 * 36])
    assert found.sum() == matmul.traffic(*counts, r, w)


# The fast product

FITS = [(1, 1, 1), (3, 7, 2), (12, 5, 32), (13, 129, 33), (25, 64, 70), (40, 300, 31), (250, 3, 65)]


def orders(a):
    """Return the same matrix by rows, by columns, and as a part of larger ones."""
    wide = np.zeros((2 * a.shape[0], 3 * a.shape[1]), a.dtype)
    wide[::2, ::3] = a
    return a, np.asfortranarray(a), wide[::2, ::3], np.asfortranarray(wide)[::2, ::3]


@pytest.mark.parametrize("shape", FITS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_fast_product_equals_literal(shape, dtype, rng):
    """Whatever the strides, with the same bits; stored or added; by the tile and by np.dot."""
    I, K, J = shape  # noqa: E741
    a, b = rng.normal(size=(I, K)).astype(dtype), rng.normal(size=(K, J)).astype(dtype)
    literal = matmul.product(a.astype(np.float64), b.astype(np.float64))
    tolerance = {np.float32: 1e-6, np.float64: 1e-15}[dtype] * max(1, K) ** 0.5 * 4
    packed, results = matmul.panels(K, J, dtype), []
    for right in orders(b):
        packed[:] = np.nan  # what was there does not matter
        matmul.pack(right, packed)
        for left in orders(a):
            c = np.full((I, J), np.nan, dtype)
            matmul.multiply(left, packed, c, False)
            results.append(c)
    assert relative_error(results[0], literal) < tolerance
    if matmul.TILED:
        for other in results[1:]:
            np.testing.assert_array_equal(results[0], other)
    c = np.ones((I, J + 3), dtype)[:, 2:-1]  # a part of a larger matrix
    matmul.multiply_parallel(a, packed, c, True)
    np.testing.assert_allclose(
        c, 1 + literal, rtol=0, atol=tolerance * np.abs(literal).max() + 1e-6
    )
    assert c.base[0, 0] == 1 and c.base[-1, -1] == 1
    matmul.multiply_blas(a, packed, c, False)
    assert relative_error(c, literal) < tolerance
    assert relative_error(matmul.packed_product(a, b), literal) < tolerance


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_panels_by_hand(dtype):
    """Each panel holds its columns, row after row, and zeros beyond the last."""
    width = matmul.PANEL_BYTES // np.dtype(dtype).itemsize
    b = np.arange(1, 2 * (width + 1) + 1, dtype=dtype).reshape(2, width + 1)
    packed = matmul.panels(2, width + 1, dtype)
    assert not packed.any()
    packed[:] = np.nan
    matmul.pack(b, packed)
    assert packed.shape == (2, 2, width) and packed.ctypes.data % 64 == 0
    np.testing.assert_array_equal(packed[0], b[:, :width])
    np.testing.assert_array_equal(packed[1, :, 0], b[:, width])
    assert not packed[1, :, 1:].any()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("depth", [1, 7, 8, 17])
def test_contiguous_columns_fill_the_same_panels(depth, dtype, rng):
    """Squares, what is left of them at both edges, and columns that lie further apart."""
    width = matmul.PANEL_BYTES // np.dtype(dtype).itemsize
    for columns in (1, 5, 8, 13, width, width + 9):
        b = rng.standard_normal((depth, columns)).astype(dtype)
        apart = np.full((2 * columns, depth), np.nan, dtype)[::2].T
        apart[:] = b
        expected = matmul.panels(depth, columns, dtype)
        for q, k, w in np.ndindex(expected.shape):
            if q * width + w < columns:
                expected[q, k, w] = b[k, q * width + w]
        for like in (b, np.asfortranarray(b), apart):
            packed = np.full_like(expected, np.nan)
            matmul.pack(like, packed)
            np.testing.assert_array_equal(packed, expected)


@compiled_only
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_same_bits_for_any_number_of_threads(dtype, rng):
    a, b = rng.normal(size=(211, 190)).astype(dtype), rng.normal(size=(190, 170)).astype(dtype)
    assert a.size * b.shape[1] > matmul.PARALLEL_FROM
    assert same_bits(lambda: (matmul.packed_product(a, b),))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_nan_stays_in_its_row_and_column(dtype, rng):
    a, b = rng.normal(size=(30, 20)).astype(dtype), rng.normal(size=(20, 40)).astype(dtype)
    a[7, 3], b[5, 33] = np.nan, np.inf
    found = matmul.packed_product(a, b)
    assert np.isnan(found[7]).all()
    assert not np.isfinite(found[:, 33]).any()
    clean = np.delete(np.delete(found, 7, 0), 33, 1)
    assert np.isfinite(clean).all()


def test_sums_on_their_way_by_hand():
    """Two units with a latency of four: eight sums keep them busy, and more do not help."""
    rates = [matmul.multiply_add_rate(m, 4, 2) for m in (1, 4, 8, 24)]
    assert rates == [0.25, 1, 2, 2]


def test_intensity_by_hand():
    assert matmul.arithmetic_intensity(1, 1, 1, 4) == 2 / 12
    assert matmul.arithmetic_intensity(100, 200, 50, 4) == 2e6 / (4 * (20_000 + 10_000 + 5_000))
    assert matmul.arithmetic_intensity(512, 512, 512, 4) == 512 / 6


def test_roofline_is_a_time():
    """The slower of computing and moving takes all the time."""
    for intensity in (0.1, 1.0, 5.0, 100.0):
        seconds = max(intensity / 50.0, 1.0 / 20.0)  # for one byte
        assert abs(matmul.roofline(intensity, 50.0, 20.0) * seconds - intensity) < 1e-13


X = np.ones((3, 2))
BAD = [
    (matmul.packed_product, (X, X), {}, ValueError, "b has shape"),
    (matmul.packed_product, (X, X.T[0]), {}, ValueError, "b has shape"),
    (matmul.packed_product, (X[:0], X.T), {}, ValueError, "a is empty"),
    (matmul.packed_product, (X, X.T.astype("f4")), {}, TypeError, "a is float64 and b is float32"),
    (matmul.packed_product, (X, X.T * 1j), {}, TypeError, "b has dtype complex128"),
    (matmul.packed_product, ("a", X), {}, TypeError, "a has dtype"),
    (matmul.panels, (0, 3), {}, ValueError, "K is 0"),
    (matmul.panels, (3, 2.5), {}, TypeError, "N is 2.5"),
    (matmul.panels, (3, 2, "int32"), {}, ValueError, "dtype"),
    (matmul.squared_distances, (X, X.T), {}, ValueError, "y has shape"),
    (matmul.squared_distances, (X, X[0]), {}, ValueError, "y has shape"),
    (matmul.squared_distances, (X[:0], X), {}, ValueError, "x is empty"),
    (matmul.squared_distances, (X, X.astype(np.float32)), {}, TypeError, "x is float64"),
    (matmul.squared_distances, (X * 1j, X), {}, TypeError, "x has dtype"),
    (matmul.fetched, ("iij", (2, 2, 2)), {}, ValueError, "order is 'iij'"),
    (matmul.fetched, (3, (2, 2, 2)), {}, ValueError, "order is 3"),
    (matmul.fetched, ("ijk", (2, 2)), {}, TypeError, r"counts is \(2, 2\)"),
    (matmul.fetched, ("ijk", (2, 2, 0)), {}, ValueError, r"counts\[2\] is 0"),
    (matmul.fetched, ("ijk", (2, 2, 2)), {"block": 2}, TypeError, "block is 2"),
    (matmul.fetched, ("ijk", (2, 2, 3)), {"row": 2}, ValueError, "row is 2"),
    (matmul.fetched, ("ijk", (2, 2, 2)), {"per_line": 0}, ValueError, "per_line is 0"),
    (matmul.fetched, ("ijk", (2, 2, 2)), {"sets": 1.5}, TypeError, "sets is 1.5"),
    (matmul.fetched, ("ijk", (2, 2, 2)), {"ways": 0}, ValueError, "ways is 0"),
]


@pytest.mark.parametrize(("function", "args", "options", "error", "words"), BAD)
def test_bad_input_is_named(function, args, options, error, words):
    with pytest.raises(error, match=words):
        function(*args, **options)
