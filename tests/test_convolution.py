"""Convolution and pooling: literal kernels, fast forms, sizes, and the network made of them."""

import itertools

import numpy as np
import pytest
from compiled import compiled_only, same_bits
from drawn import how, pool_how
from numpy.lib.stride_tricks import sliding_window_view
from scipy import signal

from dlbook import convolution as cv
from dlbook.fast import conv, winograd
from dlbook.fast.images import place_images
from dlbook.fast.patches import gather_patches, scatter_patches
from dlbook.linear_classification import softmax_cross_entropy
from dlbook.matmul import TILED
from dlbook.nets import CNN, fit
from dlbook.neurons import relu
from dlbook.optimization import Adam, WarmupCosine
from dlbook.tools import data
from dlbook.tools.flat import like
from dlbook.verification import central_differences, complex_step, relative_error


def layer(rng, shape=(2, 4, 7, 9), filters=(6, 2, 3, 2), stride=(2, 1), dilation=(1, 2), G=2):
    x, w = rng.normal(size=shape), rng.normal(size=filters)
    return x, w, rng.normal(size=filters[0]), stride, dilation, G


def way_back(rng):
    x, w, b, *how = layer(rng)
    z = cv.conv(x, w, b, *how)
    return rng.normal(size=z.shape), x, w, *how


def dw_args(rng):
    dz, x, w, *how = way_back(rng)
    return dz, x, *w.shape[2:], *how


def dx_args(rng):
    dz, x, w, *how = way_back(rng)
    return dz, w, *x.shape[2:], *how


def images(rng, *shape):
    return rng.normal(size=shape or (2, 3, 6, 7))


POOL = (3, 2), (2, 2)
KERNELS = [
    (cv.convolve, lambda rng: (rng.normal(size=5), rng.normal(size=3))),
    (cv.correlate, lambda rng: (rng.normal(size=7), rng.normal(size=3))),
    (cv.flip, lambda rng: (rng.normal(size=4),)),
    (cv.pad, lambda rng: (images(rng), 1, 2, 0.5)),
    (cv.translate, lambda rng: (images(rng), 2, -1)),
    (cv.circulant, lambda rng: (images(rng, 3, 4),)),
    (cv.shift_average, lambda rng: (images(rng, 6, 6), 2, 3)),
    (cv.size_after, lambda rng: (11, 3, 2, 1, 2)),
    (cv.conv_parameters, lambda rng: (3, 16, 32)),
    (cv.dense_parameters, lambda rng: (300, 100)),
    (cv.receptive_fields, lambda rng: tuple(np.array([[3, 2, 5], [1, 2, 1], [1, 1, 3]]))),
    (cv.multichannel, lambda rng: (images(rng), images(rng, 4, 3, 3, 2), images(rng, 4))),
    (cv.conv, layer),
    (cv.conv_dw, dw_args),
    (cv.conv_dx, dx_args),
    (cv.conv_db, lambda rng: (images(rng),)),
    (cv.gradient_of_copies, lambda rng: (images(rng, 4, 3), images(rng, 6, 4), 3, 2)),
    (cv.shared_gradient, lambda rng: (images(rng, 4, 3, 2, 3),)),
    (cv.toeplitz, lambda rng: (images(rng, 3, 2), 5, 4)),
    (cv.patches, lambda rng: (images(rng), 3, 2, (2, 1), (1, 2))),
    (cv.pool_max, lambda rng: (images(rng), *POOL)),
    (cv.pool_max_backward, lambda rng: (images(rng, 2, 3, 2, 3), images(rng), *POOL)),
    (cv.pool_average, lambda rng: (images(rng), *POOL)),
    (cv.pool_average_backward, lambda rng: (images(rng, 2, 3, 2, 3), 6, 7, *POOL)),
]


# Literal kernels against independent forms


@pytest.mark.parametrize(("a", "b"), [(1, 1), (5, 3), (3, 5), (8, 8)])
def test_one_axis_against_numpy(a, b, rng):
    f, g = rng.normal(size=a), rng.normal(size=b)
    assert relative_error(cv.convolve(f, g), np.convolve(f, g)) < 1e-14
    if a >= b:
        assert relative_error(cv.correlate(f, g), np.correlate(f, g, "valid")) < 1e-13


def test_a_convolution_is_a_correlation_with_the_flipped_filter(rng):
    x, w = rng.normal(size=9), rng.normal(size=4)
    same = cv.correlate(x, cv.flip(w))
    assert relative_error(same, np.convolve(x, w, "valid")) < 1e-14


def test_many_channels_against_scipy(rng):
    x, w, b = images(rng), images(rng, 4, 3, 3, 2), images(rng, 4)
    expected = [
        [
            b[k] + sum(signal.correlate2d(x[n, c], w[k, c], "valid") for c in range(3))
            for k in range(4)
        ]
        for n in range(2)
    ]
    assert relative_error(cv.multichannel(x, w, b), np.array(expected)) < 1e-13


def by_windows(x, w, b, stride, dilation, G):
    """`conv` by NumPy's windows and einsum."""
    (K, C, U, V), (D, E) = w.shape, dilation
    window = sliding_window_view(x, (D * (U - 1) + 1, E * (V - 1) + 1), axis=(2, 3))
    window = window[:, :, :: stride[0], :: stride[1], ::D, ::E]
    parts = [
        np.einsum(
            "ncijuv,kcuv->nkij", window[:, g * C : (g + 1) * C], w[g * K // G : (g + 1) * K // G]
        )
        for g in range(G)
    ]
    return np.concatenate(parts, axis=1) + b[:, None, None]


@pytest.mark.parametrize("seed", range(60))
@pytest.mark.parametrize(("dtype", "rtol"), [(np.float64, 1e-12), (np.float32, 1e-5)])
def test_fast_equals_literal(dtype, rtol, seed):
    rng = np.random.default_rng(seed)
    shape, filters, more = how(rng)
    x, w, b = (rng.normal(size=s).astype(dtype) for s in (shape, filters, filters[:1]))
    (P, Q), G = more["padding"], more["groups"]
    step = more["stride"], more["dilation"], G
    double, many = [a.astype(float) for a in (x, w, b)], cv.pad(x.astype(float), P, Q, 0.0)
    z = cv.conv(many, *double[1:], *step)
    assert relative_error(z, by_windows(many, *double[1:], *step)) < 1e-12
    dz = rng.normal(size=z.shape).astype(dtype)
    dx = cv.conv_dx(dz.astype(float), double[1], *many.shape[2:], *step)
    dx = dx[:, :, P : P + shape[2], Q : Q + shape[3]]
    dw = cv.conv_dw(dz.astype(float), many, *filters[2:], *step)
    expected = z, dx, dw, cv.conv_db(dz.astype(float))
    found = cv.conv2d(x, w, b, **more), *cv.conv2d_backward(dz, x, w, **more)
    for mine, wanted in zip(found, expected, strict=True):
        assert mine.dtype == dtype and mine.flags.c_contiguous
        scale = max(1.0, np.abs(wanted).max())
        assert relative_error(mine, wanted, scale=scale) < rtol


@compiled_only
@pytest.mark.parametrize("seed", range(30))
def test_winograd_equals_literal(seed):
    """3 × 3 filters of eight channels or more, in single precision: 1e-5 of the largest number."""
    rng = np.random.default_rng(seed)
    (N, P, Q), (C, K), (H, W) = (rng.integers(a, b, n) for a, b, n in ((0, 3, 3), (8, 40, 2), (3, 19, 2)))  # fmt: skip
    x, w, b = (rng.normal(size=s).astype("f4") for s in ((N + 1, C, H, W), (K, C, 3, 3), K))
    many, double = cv.pad(x.astype(float), P, Q, 0.0), w.astype(float)
    z = cv.multichannel(many, double, b.astype(float))
    dz = rng.normal(size=z.shape).astype("f4")
    step, errors = ((1, 1), (1, 1), 1), dz.astype(float)
    dx = cv.conv_dx(errors, double, *many.shape[2:], *step)[:, :, P : P + H, Q : Q + W]
    expected = z, dx, cv.conv_dw(errors, many, 3, 3, *step), cv.conv_db(errors)
    same = {"padding": (int(P), int(Q))}
    found = cv.conv2d(x, w, b, **same), *cv.conv2d_backward(dz, x, w, **same)
    for mine, wanted in zip(found, expected, strict=True):
        assert np.abs(mine - wanted).max() < 1e-5 * np.abs(wanted).max()
    how, sizes = ((1, 1), (int(P), int(Q)), (1, 1), 1), (N + 1, *z.shape[2:], K)
    mem = conv.memory((N + 1, H, W, C), (K, C, 3, 3), sizes, how, np.float32)
    assert isinstance(mem, conv.Winograd)


@compiled_only
@pytest.mark.parametrize("balanced", [False, True])
@pytest.mark.parametrize("C", [8, 64, 512])
def test_winograd_rounds_by_what_is_added_up(C, balanced, rng):
    """5e-6 of Σ |w| |x|, however many channels and however much of it cancels."""
    x, w = (
        (1 + rng.normal(size=(1, C, 9, 9))).astype("f4"),
        rng.normal(size=(8, C, 3, 3)).astype("f4"),
    )
    if balanced:  # the sums are near zero
        w -= w.mean(axis=(1, 2, 3), keepdims=True)
        x = (100 + x).astype("f4")
    double = x.astype(float), w.astype(float)
    missed = np.abs(cv.conv2d(x, w, padding=1) - cv.conv2d(*double, padding=1)).max()
    assert 0 < missed < 5e-6 * cv.conv2d(*map(np.abs, double), padding=1).max()


def matrices():
    """Bᵀ, G and Aᵀ of F(4, 3), by applying the kernels to unit vectors."""
    found = []
    for kernel, rows, size in ((winograd.input_values, 6, 6), (winograd.filter_values, 6, 3), (winograd.output_values, 4, 6)):  # fmt: skip
        x, y = np.eye(size, dtype="f4").ravel(), np.zeros(rows * size, "f4")
        more = (np.zeros(size, "f4"),) * (kernel is winograd.output_values)
        kernel(x, 0, size, y, 0, size, size, *more)
        found.append(y.reshape(rows, size).astype(float))
    return found


def test_winograd_transforms():
    """Together they correlate; the ways back are transposes; the points are 0, ±1, ±2 and ∞."""
    B, G, A = matrices()
    x, w = np.random.default_rng(1).normal(size=6), np.random.default_rng(2).normal(size=3)
    assert relative_error(A @ ((G @ w) * (B @ x)), cv.correlate(x, w)) < 1e-6
    for kernel, matrix in ((winograd.error_values, A), (winograd.filter_values_backward, G)):
        rows, size = matrix.T.shape[0], matrix.shape[0]
        y = np.zeros(rows * size, "f4")
        kernel(np.eye(size, dtype="f4").ravel(), 0, size, y, 0, size, size)
        np.testing.assert_allclose(y.reshape(rows, size), matrix.T, atol=1e-7)
    points = np.array([0, 1, -1, 2, -2])
    np.testing.assert_array_equal(A[:, :5], points ** np.arange(4)[:, None])


def test_winograd_and_what_is_not_a_number(rng):
    """A NaN reaches the outputs of its tiles, and no others."""
    x, w = rng.normal(size=(2, 8, 12, 12)), rng.normal(size=(8, 8, 3, 3))
    x[1, 3, 1, 2] = np.nan
    found = np.isnan(cv.conv2d(x.astype("f4"), w.astype("f4"), padding=1))
    expected = np.zeros(found.shape, bool)
    expected[1, :, :4, :4] = True
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("seed", range(20))
def test_adjoint(seed):
    """⟨conv(x, w), dz⟩ = ⟨x, dx⟩ = ⟨w, dw⟩ without bias: both ways back are transposes."""
    rng = np.random.default_rng(100 + seed)
    shape, filters, more = how(rng)
    x, w = rng.normal(size=shape), rng.normal(size=filters)
    z = cv.conv2d(x, w, **more)
    dz = rng.normal(size=z.shape)
    dx, dw, _ = cv.conv2d_backward(dz, x, w, **more)
    scale = np.linalg.norm(z) * np.linalg.norm(dz)
    assert abs(np.sum(z * dz) - np.sum(x * dx)) <= 1e-12 * scale
    assert abs(np.sum(z * dz) - np.sum(w * dw)) <= 1e-12 * scale
    y = cv.avg_pool2d(x, 1, stride=2)
    dy = rng.normal(size=y.shape)
    back = cv.avg_pool2d_backward(dy, x, 1, stride=2)
    scale = np.linalg.norm(y) * np.linalg.norm(dy)
    assert abs(np.sum(y * dy) - np.sum(x * back)) <= 1e-12 * scale


def test_gradients_against_differences(rng):
    dz, x, w, *step = way_back(rng)

    def cost(v, which):
        parts = [x.astype(v.dtype), w.astype(v.dtype), np.zeros(len(w), v.dtype)]
        parts[which] = v
        return np.sum(dz * cv.conv(*parts, *step))

    found = cv.conv_dx(dz, w, *x.shape[2:], *step), cv.conv_dw(dz, x, *w.shape[2:], *step)
    for which, (mine, at) in enumerate(
        zip((*found, cv.conv_db(dz)), (x, w, np.zeros(6)), strict=True)
    ):
        assert relative_error(mine, complex_step(lambda v, k=which: cost(v, k), at)) < 1e-12


def wrong_forms(x, w, b, stride, dilation, G):
    """Mistakes that one meets."""
    right = by_windows(x, w, b, stride, dilation, G)
    return {
        "flipped filter": by_windows(x, w[:, :, ::-1, ::-1], b, stride, dilation, G),
        "stride across for down": by_windows(x, w, b, stride[::-1], dilation, G),
        "no bias": right - b[:, None, None],
        "groups interleaved": by_windows(x[:, [0, 2, 1, 3]], w, b, stride, dilation, G),
        "bias for each channel": right + (w.shape[1] - 1) * b[:, None, None],
    }


@pytest.mark.parametrize("why", wrong_forms(*layer(np.random.default_rng(0))))
def test_wrong_forms_are_rejected(why, rng):
    given = layer(rng)
    right, wrong = cv.conv(*given), wrong_forms(*given)[why]
    assert wrong.shape != right.shape or relative_error(wrong, right) > 1e-3


# Sizes


def places(W, F, S, P, D):
    """Count by trying: a place is a start at which the whole filter lies on the padded image."""
    return sum(start + D * (F - 1) <= W + 2 * P - 1 for start in range(0, W + 2 * P, S))


def test_output_size_enumerated():
    for W, F, S, P, D in itertools.product(
        *(range(1, 9), range(1, 6), range(1, 4), range(3), (1, 2, 3))
    ):
        if expected := places(W, F, S, P, D):
            assert cv.output_size(W, F, S, P, D) == expected
        else:
            with pytest.raises(ValueError, match=r"⌊\(W \+ 2P − D\(F − 1\) − 1\) / S⌋ \+ 1"):
                cv.output_size(W, F, S, P, D)


def test_a_size_that_does_not_fit_shows_the_formula():
    with pytest.raises(ValueError, match=r"⌊\(4 \+ 2·0 − 2·\(3 − 1\) − 1\) / 1⌋ \+ 1 = 0"):
        cv.conv2d(np.ones((1, 1, 4, 9)), np.ones((1, 1, 3, 3)), dilation=2)
    with pytest.raises(ValueError, match="does not fit"):
        cv.max_pool2d(np.ones((1, 1, 4, 9)), 5)


@pytest.mark.parametrize("seed", range(40))
def test_receptive_field_by_the_gradient(seed):
    """The inputs that move the middle unit of the last layer, for filters of positive weights."""
    rng = np.random.default_rng(seed)
    layers = [tuple(map(int, rng.integers(1, (5, 4, 4)))) for _ in range(rng.integers(1, 5))]
    fields = cv.receptive_field(*zip(*layers, strict=True))
    sizes = [400]
    for F, S, D in layers:
        sizes.append(cv.output_size(sizes[-1], F, S, 0, D))
    error = np.zeros((1, 1, 1, sizes[-1]))
    error[..., sizes[-1] // 2] = 1
    for (F, S, D), W in zip(layers[::-1], sizes[-2::-1], strict=True):
        error = cv.conv_dx(error, np.ones((1, 1, 1, F)), 1, W, (1, S), (1, D), 1)
    touched = np.flatnonzero(error[0, 0, 0])
    assert touched[-1] - touched[0] + 1 == fields[-1]


# The same, seen differently


def shifts(H, W):
    """Return the matrix of every shift of an image round its edges."""
    pixels = np.arange(H * W).reshape(H, W)
    turns = itertools.product(range(H), range(W))
    return [np.eye(H * W)[np.roll(pixels, turn, (0, 1)).ravel()] for turn in turns]


def test_a_circulant_commutes_with_every_shift(rng):
    M = cv.circulant(rng.normal(size=(3, 4)))
    assert all(np.array_equal(T @ M, M @ T) for T in shifts(3, 4))


def test_a_dense_matrix_averaged_over_shifts_is_a_circulant(rng):
    M, every = rng.normal(size=(12, 12)), shifts(3, 4)
    mean = np.mean([T.T @ M @ T for T in every], axis=0)
    assert not np.allclose(M, mean)
    np.testing.assert_allclose(cv.circulant(cv.shift_average(M, 3, 4)), mean, atol=1e-14)


def test_the_average_of_a_circulant_is_its_filter(rng):
    w = rng.normal(size=(2, 5))
    np.testing.assert_allclose(cv.shift_average(cv.circulant(w), 2, 5), w, atol=1e-15)


def test_a_circulant_convolves_round_the_edge(rng):
    x, w = rng.normal(size=(2, 4, 5))
    w[3:], w[:, 2:] = 0, 0
    framed = np.pad(x, ((0, 2), (0, 1)), mode="wrap")
    seen = signal.correlate2d(framed, w[:3, :2], "valid").ravel()
    np.testing.assert_allclose(cv.circulant(w) @ x.ravel(), seen, atol=1e-14)


def test_toeplitz_and_patches(rng):
    x, w = rng.normal(size=(1, 3, 6, 5)), rng.normal(size=(4, 3, 3, 2))
    z = cv.multichannel(x, w, np.zeros(4))
    p = cv.im2col(x, (3, 2)) @ w.reshape(4, -1).T
    assert relative_error(p.T.reshape(z.shape), z) < 1e-13
    one = cv.toeplitz(w[0, 0], 6, 5) @ x[0, 0].ravel()
    expected = cv.multichannel(x[:, :1], w[:1, :1], np.zeros(1))
    assert relative_error(one, expected.ravel()) < 1e-13


@pytest.mark.parametrize("seed", range(20))
def test_fast_patches_equal_literal(seed):
    rng = np.random.default_rng(seed)
    shape, (_, _, U, V), more = how(rng)
    x, (P, Q) = rng.normal(size=shape), more["padding"]
    step = more["stride"], more["dilation"]
    expected = cv.im2col(x, (U, V), padding=(P, Q), stride=step[0], dilation=step[1])
    last, C = np.ascontiguousarray(x.transpose(0, 2, 3, 1)), shape[1]
    columns = cv.output_size(shape[3], V, step[0][1], Q, step[1][1])
    flat = (U, V, *step[0], P, Q, *step[1])
    p = np.full((len(expected), U * V * C), np.nan)
    gather_patches(last, 0, 0, flat, columns, p)
    swapped = p.reshape(-1, U, V, C).transpose(0, 3, 1, 2).reshape(expected.shape)
    np.testing.assert_array_equal(swapped, expected)
    dp, dx = rng.normal(size=p.shape), np.zeros_like(last)
    scatter_patches(dp, 0, 0, flat, columns, dx)
    assert np.sum(dp * p) == pytest.approx(np.sum(dx * last), rel=1e-10)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("places", [1, 3, 4, 7, 14, 17])
def test_lines_equal_patches(places, dtype):
    """Other filters than those of Winograd's form, with dilated rows, in one part and in several."""
    rng = np.random.default_rng(places)
    N, C, K, D = 5, int(rng.integers(1, 7)), int(rng.integers(1, 40)), int(rng.integers(1, 3))
    U, V = int(rng.integers(1, 5)), int(rng.integers(2, 6))
    P, Q = int(rng.integers(0, (U - 1) * D + 1)), int(rng.integers(0, V))
    H, W = int(rng.integers(20, 23)), max(1, places + V - 1 - 2 * Q)
    lines, J = H + 2 * P - (U - 1) * D, W + 2 * Q - (V - 1)
    x, w = rng.normal(size=(N, H, W, C)), rng.normal(size=(K, C, U, V))
    b, dz = rng.normal(size=K), rng.normal(size=(N, lines, J, K))
    x, w, b, dz = (a.astype(dtype) for a in (x, w, b, dz))
    how = (1, 1), (P, Q), (D, 1), 1
    sizes = x.shape, w.shape, dz.shape
    assert isinstance(conv.memory(*sizes, how, dtype), conv.Direct)
    found = []
    for make in (conv._direct_memory, conv._patch_memory):
        for m in (1, 2):
            memory = make(*sizes, how, m, np.dtype(dtype))
            z, dx, dw, db = (np.full_like(a, np.nan) for a in (dz, x, w, b))
            conv.forward(x, w, b, how, memory, z)
            conv.backward(dz, x, w, how, memory, dx, dw, db)
            found.append((z, dx, dw, db))
    for arrays in found[1:]:
        for mine, first in zip(arrays, found[0], strict=True):
            np.testing.assert_allclose(mine, first, rtol=0, atol=1e-5 * np.abs(first).max())
    if TILED:  # np.dot adds in an order of its own
        (z, _, dw, db), _, (z_, _, dw_, db_), _ = found
        for mine, first in ((z_, z), (dw_, dw), (db_, db)):
            np.testing.assert_array_equal(mine, first)


# Pooling


@pytest.mark.parametrize("seed", range(60))
@pytest.mark.parametrize(("dtype", "rtol"), [(np.float64, 1e-13), (np.float32, 1e-6)])
def test_pooling_fast_equals_literal(dtype, rtol, seed):
    rng = np.random.default_rng(seed)
    shape, size, stride, (P, Q) = pool_how(rng)
    x = rng.integers(0, 5, size=shape).astype(dtype)  # many equal numbers
    inside = np.s_[:, :, P : P + shape[2], Q : Q + shape[3]]
    around, zeros = cv.pad(x.astype(float), P, Q, -np.inf), cv.pad(x.astype(float), P, Q, 0.0)
    more = {"stride": stride, "padding": (P, Q)}
    y = cv.max_pool2d(x, size, **more)
    np.testing.assert_array_equal(y, cv.pool_max(around, size, stride))
    dy = rng.normal(size=y.shape).astype(dtype)
    expected = cv.pool_max_backward(dy.astype(float), around, size, stride)[inside]
    assert (
        relative_error(cv.max_pool2d_backward(dy, x, size, **more), expected, scale=1.0) < 10 * rtol
    )
    mean = cv.pool_average(zeros, size, stride)
    assert relative_error(cv.avg_pool2d(x, size, **more), mean, scale=5.0) < rtol
    expected = cv.pool_average_backward(dy.astype(float), *zeros.shape[2:], size, stride)[inside]
    assert (
        relative_error(cv.avg_pool2d_backward(dy, x, size, **more), expected, scale=1.0) < 10 * rtol
    )


def test_pooling_gradients_against_differences(rng):
    x, dy = rng.permutation(84).reshape(2, 1, 6, 7) / 10.0, rng.normal(size=(2, 1, 2, 3))
    found = cv.pool_max_backward(dy, x, *POOL)
    expected = central_differences(lambda v: np.sum(dy * cv.pool_max(v, *POOL)), x)
    assert relative_error(found, expected) < 1e-7
    found = cv.pool_average_backward(dy, 6, 7, *POOL)
    expected = complex_step(lambda v: np.sum(dy * cv.pool_average(v, *POOL)), x)
    assert relative_error(found, expected) < 1e-12


def test_the_first_of_equal_numbers_gets_the_gradient():
    x = np.zeros((1, 1, 2, 2))
    found = cv.max_pool2d_backward(np.ones((1, 1, 1, 1)), x, 2)
    np.testing.assert_array_equal(found[0, 0], [[1, 0], [0, 0]])


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize(("size", "stride", "padding"), [(2, 2, 1), (3, 2, 1), (3, 1, 1), ((2, 5), (1, 3), (1, 2)), (2, 2, 0)])  # fmt: skip
def test_of_pixels_of_minus_infinity_the_first_gets_the_gradient(size, stride, padding, dtype, rng):
    """Nothing is lost in what is around the image; many windows hold nothing else."""
    x = np.where(rng.random((3, 2, 7, 6)) < 0.8, -np.inf, rng.integers(3, size=(3, 2, 7, 6)))
    x[0] = -np.inf
    how = {"stride": stride, "padding": padding}
    y = cv.max_pool2d(x.astype(dtype), size, **how)
    dy = rng.integers(1, 9, size=y.shape).astype(dtype)
    found, expected = cv.max_pool2d_backward(dy, x.astype(dtype), size, **how), np.zeros(x.shape)
    (U, V), (S, T), (P, Q) = (np.broadcast_to(pair, 2) for pair in (size, stride, padding))
    for n, c, i, j in np.ndindex(y.shape):
        rows, columns = (range(max(0, a), min(b, m)) for a, b, m in (
            (i * S - P, i * S - P + U, 7), (j * T - Q, j * T - Q + V, 6)))  # fmt: skip
        first = max(((h, w) for h in rows for w in columns), key=lambda at: x[n, c][at])
        expected[n, c][first] += dy[n, c, i, j]
    np.testing.assert_array_equal(found, expected)
    assert found.sum() == dy.sum()


def test_nan_stays_where_it_is_seen(rng):
    x, w = rng.normal(size=(2, 3, 6, 6)), rng.normal(size=(4, 3, 3, 3))
    x[1, 2, 0, 0] = np.nan
    z, y = cv.conv2d(x, w), cv.max_pool2d(x, 2)
    for found, at in ((z, np.s_[1, :, 0, 0]), (y, np.s_[1, 2, 0, 0])):
        expected = np.zeros(found.shape, bool)
        expected[at] = True
        np.testing.assert_array_equal(np.isnan(found), expected)
    np.testing.assert_array_equal(np.isnan(cv.pool_max(x, (2, 2), (2, 2))), np.isnan(y))


SHARED = {  # channels, dtype, filters, options: each of the three ways, with unequal sides
    "few channels": (3, "f8", (3, 3), {}),
    "lines": (24, "f8", (3, 3), {"padding": (2, 1)}),
    "long filters": (24, "f4", (5, 3), {"padding": (1, 2)}),
    "Winograd": (24, "f4", (3, 3), {}),
    "Winograd with a frame": (24, "f4", (3, 3), {"padding": (2, 0)}),
    "patches": (24, "f4", (3, 2), {"stride": (2, 1), "padding": (0, 1)}),
    "pixels": (24, "f4", (1, 1), {}),
}


@compiled_only
@pytest.mark.parametrize("name", SHARED)
def test_same_bits_for_any_number_of_threads(name, rng):
    C, dtype, size, how = SHARED[name]
    x, w = (rng.normal(size=s).astype(dtype) for s in ((20, C, 30, 27), (40, C, *size)))
    dz = rng.normal(size=cv.conv2d(x, w, **how).shape).astype(dtype)
    assert same_bits(lambda: (cv.conv2d(x, w, **how), *cv.conv2d_backward(dz, x, w, **how)))


def test_one_image_is_the_same_alone(rng):
    """Neither the other images nor the number of them change what one image gives."""
    x, w, b = rng.normal(size=(5, 4, 9, 8)), rng.normal(size=(6, 4, 3, 2)), rng.normal(size=6)
    together, y = cv.conv2d(x, w, b, padding=1), cv.max_pool2d(x, (3, 2))
    for n in range(5):
        alone = cv.conv2d(x[n : n + 1], w, b, padding=1)
        assert relative_error(alone[0], together[n]) < 1e-14
        np.testing.assert_array_equal(cv.max_pool2d(x[n : n + 1], (3, 2))[0], y[n])


def test_an_image_of_one_pixel():
    x, w = np.full((1, 1, 1, 1), 3.0), np.full((1, 1, 1, 1), -2.0)
    assert cv.conv2d(x, w, np.ones(1)).item() == -5
    assert [a.item() for a in cv.conv2d_backward(x, x, w)] == [-6, 9, 3]
    assert cv.max_pool2d(x, 1).item() == cv.avg_pool2d(x, 1).item() == 3


@pytest.mark.parametrize(
    ("dtype", "huge", "beyond"), [(np.float64, 1e305, 1e200), (np.float32, 1e36, 1e30)]
)
def test_huge_numbers(dtype, huge, beyond):
    """What is in the range stays finite; what is beyond it becomes infinite and not NaN."""
    ones, w = np.ones((1, 2, 5, 5), dtype), np.ones((3, 2, 3, 3), dtype)
    z = cv.conv2d(ones * dtype(huge), w)
    assert relative_error(z, np.full(z.shape, 18 * huge)) < 1e-6
    with np.errstate(over="ignore"):
        assert np.isposinf(cv.conv2d(ones * dtype(beyond), w * dtype(beyond))).all()
    x = ones * dtype(-np.inf)
    assert np.isneginf(cv.max_pool2d(x, 2, padding=1)).all()


def test_arguments_are_left_alone(rng):
    x, w = rng.normal(size=(2, 3, 6, 7)), rng.normal(size=(4, 3, 3, 3))
    dz, dy = rng.normal(size=(2, 4, 4, 5)), rng.normal(size=(2, 3, 3, 3))
    before = [a.copy() for a in (x, w, dz, dy)]
    cv.conv2d(x, w), cv.conv2d_backward(dz, x, w), cv.im2col(x, 2)
    cv.max_pool2d_backward(dy, x, 2), cv.avg_pool2d_backward(dy, x, 2)
    for a, b in zip((x, w, dz, dy), before, strict=True):
        np.testing.assert_array_equal(a, b)


def test_any_layout_in_memory(rng):
    x, w = rng.normal(size=(4, 3, 12, 14)), rng.normal(size=(4, 3, 6, 3))
    views = x[::2, :, ::2, ::-1], w[:, :, ::2].transpose(1, 0, 2, 3)[:3].transpose(1, 0, 2, 3)
    found, copies = cv.conv2d(*views), [np.ascontiguousarray(a) for a in views]
    np.testing.assert_array_equal(found, cv.conv2d(*copies))


# What is refused


X, F = np.ones((2, 4, 6, 6)), np.ones((6, 4, 3, 3))


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: cv.conv2d(X[0], F), "x has shape"),
        (lambda: cv.conv2d(X[:0], F), "x"),
        (lambda: cv.conv2d(X, F[:0]), "w"),
        (lambda: cv.conv2d(X.astype(complex), F), "x"),
        (lambda: cv.conv2d("x", F), "x"),
        (lambda: cv.max_pool2d(X[:0], 2), "x"),
        (lambda: cv.conv2d(X, F[0]), "w has shape"),
        (lambda: cv.conv2d(X.astype("f4"), F), "dtype"),
        (lambda: cv.conv2d(X, F[:, :3]), "w has 3 channels, expected 4"),
        (lambda: cv.conv2d(X, F, groups=2), "w has 4 channels, expected 2"),
        (lambda: cv.conv2d(X, F, groups=4), "groups is 4"),
        (lambda: cv.conv2d(X, F, groups=0), "groups"),
        (lambda: cv.conv2d(X, F, stride=0), "stride"),
        (lambda: cv.conv2d(X, F, stride=(1, 2, 3)), "stride"),
        (lambda: cv.conv2d(X, F, stride=1.5), "stride"),
        (lambda: cv.conv2d(X, F, padding=-1), "padding"),
        (lambda: cv.conv2d(X, F, dilation=0), "dilation"),
        (lambda: cv.conv2d(X, F, np.ones(5)), "b has shape"),
        (lambda: cv.conv2d_backward(np.ones((2, 6, 5, 4)), X, F), "dz has shape"),
        (lambda: cv.max_pool2d(X, 2, padding=2), "padding"),
        (lambda: cv.max_pool2d(X, 0), "size"),
        (lambda: cv.max_pool2d_backward(np.ones((2, 4, 2, 3)), X, 2), "dy has shape"),
        (lambda: cv.avg_pool2d(X[0, 0], 2), "x has shape"),
        (lambda: cv.im2col(X, 7), "does not fit"),
        (lambda: cv.receptive_field([3, 3], [1]), "strides"),
        (lambda: cv.receptive_field([], []), "filters"),
        (lambda: cv.receptive_field([0], [1]), "filters"),
    ],
)
def test_refuses(call, words):
    with pytest.raises((TypeError, ValueError), match=words):
        call()


# The network


def small(examples=5, **more):
    net = CNN(**({"side": 6, "channels": (3, 4), "classes": 3, "dtype": "float64"} | more))
    params = net.init(np.random.default_rng(1))
    params.flat[:] += 0.1 * np.random.default_rng(2).standard_normal(params.flat.size)
    rng = np.random.default_rng(3)
    return net, params, (rng.normal(size=(examples, net.side**2)), rng.integers(3, size=examples))


POOLS = list(itertools.product((True, False), (True, False)))


@pytest.mark.parametrize("shift", [0, 2])
@pytest.mark.parametrize("head", ["flat", "max"])
@pytest.mark.parametrize("pools", POOLS)
def test_network_gradient(pools, head, shift):
    """All parameters at once, the moves held fixed, in a workspace larger than the batch."""
    net, params, batch = small(3, side=4, pools=pools, head=head, shift=shift)

    def cost(flat):
        grads, rng = like(params), np.random.default_rng(5)
        given = like(params, flat)
        return net.loss_and_grad(given, None, batch, grads, net.workspace(7), rng), grads.flat

    expected = central_differences(lambda flat: cost(flat)[0], params.flat)
    assert relative_error(cost(params.flat)[1], expected) < 1e-7


@pytest.mark.parametrize("head", ["flat", "max"])
@pytest.mark.parametrize("pools", POOLS)
def test_network_is_its_literal_kernels(pools, head):
    net, params, (x, y) = small(pools=pools, head=head)
    a = x.reshape(5, 1, 6, 6)
    for w, b, pooled in zip(params.w, params.b, pools, strict=True):
        a = relu(cv.multichannel(cv.pad(a, 1, 1, 0.0), w, b))
        a = cv.pool_max(a, (2, 2), (2, 2)) if pooled else a
    last = a.max(axis=(2, 3)) if head == "max" else a.transpose(0, 2, 3, 1).reshape(5, -1)
    scores = last @ params.top.T + params.bias
    assert relative_error(net.scores(params, x), scores) < 1e-12
    np.testing.assert_array_equal(net.predict(params, None, x), scores.argmax(axis=1))
    expected = softmax_cross_entropy(scores, y)
    assert net.loss(params, None, (x, y)) == pytest.approx(expected, rel=1e-12)
    found = net.loss_and_grad(params, None, (x, y), like(params), net.workspace(5), None)
    assert found == pytest.approx(expected, rel=1e-12)


def test_images_are_moved(rng):
    x, moves = rng.normal(size=(9, 36)), np.indices((3, 3)).reshape(2, -1).T - 1
    images = np.full((9, 6, 6, 1), np.nan)
    place_images(x.reshape(9, 6, 6, 1), moves, images)
    for image, move, found in zip(x.reshape(9, 1, 1, 6, 6), moves, images, strict=True):
        np.testing.assert_array_equal(found[..., 0], cv.translate(image, *move)[0, 0])


def test_network_in_single_precision():
    net, params, (x, y) = small()
    half, results = small(dtype="float32")[0], []
    single = half.init(np.random.default_rng(1))
    single.flat[:] = params.flat
    for model, given in ((net, params), (half, single)):
        grads, batch = like(given), model.check(given, (x, y))
        loss = model.loss_and_grad(given, None, batch, grads, model.workspace(5), None)
        results.append((loss, grads.flat))
    assert results[1][1].dtype == np.float32
    assert results[1][0] == pytest.approx(results[0][0], rel=1e-5)
    assert relative_error(results[1][1], results[0][1]) < 1e-4


def test_workspaces_do_not_leak_between_steps():
    net, params, (x, y) = small(head="max")
    work, found = net.workspace(5), []
    for place in (work, net.workspace(2)):
        if place is work:
            net.loss_and_grad(params, None, (x, y), like(params), work, None)
        grads = like(params)
        net.loss_and_grad(params, None, (x[:2], y[:2]), grads, place, None)
        found.append(grads.flat)
    np.testing.assert_array_equal(*found)


def test_feature_maps(rng):
    net, params, (x, _) = small()
    first, second = net.maps(params, x)
    expected = relu(cv.conv2d(x.reshape(5, 1, 6, 6), params.w[0], params.b[0], padding=1))
    assert relative_error(first, expected) < 1e-12
    assert second.shape == (5, 4, 3, 3)


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"side": 0}, "side"),
        ({"channels": ()}, "channels"),
        ({"channels": (3, 0)}, r"channels\[1\]"),
        ({"pools": (True,)}, "pools"),
        ({"side": 3, "pools": (True, True)}, "pools"),
        ({"head": "mean"}, "head"),
        ({"classes": 1}, "classes"),
        ({"shift": -1}, "shift"),
        ({"dtype": "float16"}, "dtype"),
    ],
)
def test_network_refuses(more, words):
    with pytest.raises((TypeError, ValueError), match=words):
        small(**more)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (7, "data"),
        ((np.zeros((2, 35)), [0, 1]), "x"),
        ((np.zeros((0, 36)), []), "x"),
        ((np.full((2, 36), np.inf), [0, 1]), "x"),
        ((np.zeros((2, 36)), [0, 1, 2]), "y"),
        ((np.zeros((2, 36)), [0, 3]), "y"),
        ((np.full((2, 36), np.nan), [0, 1]), "x"),
    ],
)
def test_data_is_checked(data, words):
    net, params, _ = small()
    with pytest.raises((TypeError, ValueError), match=words):
        net.check(params, data)


def learned(epochs=30):
    """Train on digits with five seeds, longer than the page does; how many test digits are read."""
    digits, net, found = data.digits(np.float32), CNN(8, (32, 64), shift=1), []
    for seed in range(5):
        rng, steps = np.random.default_rng(seed), -(-len(digits.x_train) // 64) * epochs
        adam = Adam(WarmupCosine(0.006, 40, steps))
        out = fit(
            net,
            net.init(rng),
            (digits.x_train, digits.y_train),
            adam,
            rng,
            epochs=epochs,
            batch=64,
            progress=False,
        )
        found.append(np.mean(net.predict(out.params, None, digits.x_test) == digits.y_test))
    return np.array(found)


@compiled_only
def test_reads_digits():
    """At least 98.5 % of the held-out digits, as the mean over five seeds, each at least 98 %."""
    right = learned()
    assert right.mean() >= 0.985 and right.min() >= 0.98, right
