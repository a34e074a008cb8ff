"""Architectures: blocks and their gradients, counts, paths, and what comes in wrong."""

import itertools

import numpy as np
import pytest
from scipy import ndimage, signal

from dlbook import architectures as ar
from dlbook import convolution as cv
from dlbook.verification import complex_step, relative_error


def drawn(rng, *shape):
    return rng.normal(size=shape)


def block(rng, C=3, sides=((1, 1), (1, 1), (3, 1), (1, 1), (1, 3), (1, 1)), K=(2, 2, 3, 1, 2, 3)):
    """Draw the filters and biases of an Inception block."""
    before = C, C, K[1], C, K[3], C
    w = tuple(rng.normal(size=(k, c, *side)) for k, c, side in zip(K, before, sides, strict=True))
    return w, tuple(rng.normal(size=k) for k in K)


def with_error(rng):
    x, (w, b) = drawn(rng, 2, 3, 4, 5), block(rng)
    return drawn(rng, *ar.inception(x, w, b).shape), x, w, b


def adds(rng, C=3, K=4):
    """Draw the input and the parameters of a block that adds."""
    return drawn(rng, 2, C, 4, 5), drawn(rng, K, C, 3, 1), drawn(rng, K), drawn(rng, C, K, 1, 3)


KERNELS = [
    (ar.parameters, lambda rng: (3, 2, 6, 4, 1)),
    (ar.multiply_adds, lambda rng: (3, 2, 6, 4, 5, 7)),
    (ar.receptive_field, lambda rng: tuple(np.array([[3, 5, 2], [2, 3, 1]]))),
    (ar.stack_parameters, lambda rng: (3, 5, 2)),
    (ar.bottleneck_parameters, lambda rng: (3, 16, 4)),
    (ar.stack_filter, lambda rng: (drawn(rng, 2, 3, 3, 2), drawn(rng, 4, 2, 1, 3))),
    (ar.asymmetric, lambda rng: (drawn(rng, 2, 3, 4), drawn(rng, 5, 2, 3))),
    (ar.one_by_one, lambda rng: (drawn(rng, 2, 3, 4, 5), drawn(rng, 6, 3), drawn(rng, 6))),
    (ar.global_average, lambda rng: (drawn(rng, 2, 3, 4, 5),)),
    (ar.global_average_backward, lambda rng: (drawn(rng, 2, 3), 4, 5)),
    (ar.framed, lambda rng: adds(rng)[:3]),
    (ar.framed_backward, lambda rng: (drawn(rng, 2, 4, 4, 5), *adds(rng)[:2])),
    (ar.rectified, lambda rng: adds(rng)[:3]),
    (ar.opened, lambda rng: (drawn(rng, 2, 3, 4, 5), drawn(rng, 2, 3, 4, 5))),
    (ar.rectified_backward, lambda rng: (drawn(rng, 2, 6, 4, 5), 1, *adds(rng)[:3])),
    (ar.pooled, lambda rng: (drawn(rng, 2, 3, 4, 5),)),
    (ar.pooled_backward, lambda rng: (drawn(rng, 2, 3, 4, 5), drawn(rng, 2, 3, 4, 5))),
    (ar.inception, lambda rng: (drawn(rng, 2, 3, 4, 5), *block(rng))),
    (ar.inception_backward, with_error),
    (ar.residual, lambda rng: (*adds(rng), drawn(rng, 3))),
    (ar.residual_backward, lambda rng: (drawn(rng, 2, 3, 4, 5), *adds(rng))),
    (ar.growth, lambda rng: (2.0, np.array([0.5, 1.5, 2.0]))),
    (ar.plain_product, lambda rng: (drawn(rng, 3, 2, 2),)),
    (ar.residual_paths, lambda rng: (drawn(rng, 3, 2, 2),)),
    (ar.path_lengths, lambda rng: (np.array([0.5, 1.5, 2.0]),)),
]


# Blocks against SciPy


def layer(x, w, b):
    """Return max(0, w ∗ x + b) by SciPy, image by image and channel by channel."""
    z = [
        [
            b[k] + sum(signal.correlate2d(at[c], w[k, c], "same") for c in range(len(at)))
            for k in range(len(w))
        ]
        for at in x
    ]
    return np.maximum(z, 0)


def inception(x, w, b):
    """Return the four branches by SciPy."""
    best = ndimage.maximum_filter(x, (1, 1, 3, 3), mode="constant", cval=-np.inf)
    return np.concatenate(
        [
            layer(x, w[0], b[0]),
            layer(layer(x, w[1], b[1]), w[2], b[2]),
            layer(layer(x, w[3], b[3]), w[4], b[4]),
            layer(best, w[5], b[5]),
        ],
        axis=1,
    )


def sizes(rng):
    """Draw the sizes of an Inception block: (n c h w), six odd sides, six numbers of filters."""
    N, C, *area = (int(n) for n in rng.integers(1, 5, 4))
    sides = 2 * rng.integers(0, 3, (6, 2)) + 1
    return (N, C, *area), [tuple(map(int, side)) for side in sides], rng.integers(1, 4, 6)


@pytest.mark.parametrize("seed", range(12))
def test_inception_is_four_branches(seed):
    rng = np.random.default_rng(seed)
    shape, sides, K = sizes(rng)
    x, (w, b) = rng.normal(size=shape), block(rng, shape[1], sides, [int(k) for k in K])
    assert relative_error(ar.inception(x, w, b), inception(x, w, b), 1.0) < 1e-12


@pytest.mark.parametrize("seed", range(12))
def test_inception_backward_is_the_slope_of_the_cost(seed):
    """Along a direction in all that goes in, a piecewise linear cost has a slope without error."""
    rng = np.random.default_rng(seed)
    shape, sides, K = sizes(rng)
    x, (w, b) = rng.normal(size=shape), block(rng, shape[1], sides, [int(k) for k in K])
    dy = rng.normal(size=ar.inception(x, w, b).shape)
    slopes, at = ar.inception_backward(dy, x, w, b), (x, *w, *b)
    along = [rng.normal(size=a.shape) for a in at]
    eps = 1e-6
    ends = []
    for step in (eps, -eps):
        moved = [a + step * d for a, d in zip(at, along, strict=True)]
        ends.append(np.sum(dy * inception(moved[0], moved[1:7], moved[7:])))
    found = sum(np.sum(s * d) for s, d in zip(slopes, along, strict=True))
    assert abs(found - (ends[0] - ends[1]) / (2 * eps)) < 1e-6 * max(1, abs(found))


@pytest.mark.parametrize("seed", range(12))
def test_residual_and_its_way_back(seed):
    rng = np.random.default_rng(seed)
    (N, C, H, W), K = (int(n) for n in rng.integers(1, 4, 4)), int(rng.integers(1, 4))
    one, two = 2 * rng.integers(0, 3, (2, 2)) + 1
    x, w, b = drawn(rng, N, C, H, W), drawn(rng, K, C, *one), drawn(rng, K)
    v, c = drawn(rng, C, K, *two), drawn(rng, C)
    a = layer(x, w, b)
    expected = x + layer(a, v, c) - layer(a, -v, -c)
    assert relative_error(ar.residual(x, w, b, v, c), expected, 1.0) < 1e-12
    dy = rng.normal(size=x.shape)
    slopes = ar.residual_backward(dy, x, w, b, v)
    for i, found in enumerate(slopes):

        def cost(at, i=i):
            given = [a.astype(complex) for a in (x, w, b, v, c)]
            given[i] = at
            return np.sum(dy * ar.residual(*given))

        assert relative_error(found, complex_step(cost, (x, w, b, v, c)[i]), 1.0) < 1e-12


def test_a_branch_of_zeros_does_nothing(rng):
    x, w, b, v = adds(rng)
    dy = drawn(rng, *x.shape)
    np.testing.assert_array_equal(ar.residual(x, w, b, 0 * v, np.zeros(3)), x)
    np.testing.assert_array_equal(ar.residual_backward(dy, x, w, b, 0 * v)[0], dy)


def test_nan_goes_through(rng):
    """Where a NaN can be seen, there is a NaN, and nowhere else."""
    x, w, b, v = adds(rng)
    x[1, 2, 0, 0] = np.nan
    y = ar.residual(x, w, b, v, np.zeros(3))
    assert np.isnan(y[1, 2, 0, 0])
    assert not np.isnan(y[0]).any()
    assert np.isnan(ar.inception(x, *block(rng))[1]).any()
    assert np.isnan(ar.global_average(x)).sum() == 1


# Stacks


@pytest.mark.parametrize("seed", range(20))
def test_receptive_field_is_that_of_convolution(seed):
    rng = np.random.default_rng(seed)
    F, S = rng.integers(1, 8, (2, int(rng.integers(1, 7))))
    assert ar.receptive_field(F, S) == cv.receptive_field(F.tolist(), S.tolist())[-1]


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_merged_does_what_two_layers_do(seed, dtype):
    rng = np.random.default_rng(seed)
    M, C, K = (int(n) for n in rng.integers(1, 5, 3))
    A, B, P, Q = rng.integers(1, 4, 4)
    u = drawn(rng, M, C, A, B).astype(dtype)
    v = drawn(rng, K, M, P, Q).astype(dtype)
    x = drawn(rng, 2, C, 9, 8).astype(dtype)
    once, twice = cv.conv2d(x, ar.merged(u, v)), cv.conv2d(cv.conv2d(x, u), v)
    assert once.dtype == dtype
    assert relative_error(once, twice) < (1e-12 if dtype == np.float64 else 1e-4)


def test_thin_filters_have_a_small_rank(rng):
    w = ar.asymmetric(drawn(rng, 2, 5, 3), drawn(rng, 4, 2, 3))
    matrix = w.transpose(0, 2, 1, 3).reshape(12, 15)
    assert np.linalg.matrix_rank(matrix) == 2


# Paths


@pytest.mark.parametrize("L", range(1, 7))
def test_paths_add_up_to_the_product(L, rng):
    J = drawn(rng, L, 3, 3) / 2
    chain = ar.plain_product(J + np.eye(3))
    assert relative_error(ar.residual_paths(J), chain) < 1e-12


def test_path_lengths_are_sums_over_sets(rng):
    s = drawn(rng, 6)
    by_sets = [sum(np.prod(A) for A in itertools.combinations(s, k)) for k in range(7)]
    np.testing.assert_allclose(ar.path_lengths(s), by_sets, rtol=1e-10)
    assert ar.path_lengths(np.ones(54)).sum() == 2.0**54


# Public functions


@pytest.mark.parametrize("seed", range(20))
def test_layer_costs_are_those_of_arrays(seed):
    rng = np.random.default_rng(seed)
    G, C, K = (int(n) for n in rng.integers(1, 4, 3))
    size, stride, padding = ([int(n) for n in pair] for pair in rng.integers(1, 4, (3, 2)))
    x, w = np.ones((1, G * C, 9, 8)), np.ones((G * K, C, *size))
    how = {"stride": tuple(stride), "padding": tuple(padding), "groups": G}
    costs = ar.layer_costs((G * C, 9, 8), G * K, tuple(size), **how)
    y = cv.conv2d(x, w, **how)
    assert costs.shape == y.shape[1:]
    assert costs.parameters == w.size + G * K
    assert costs.multiply_adds == y[0].size * w[0].size
    bare = ar.layer_costs((G * C, 9, 8), G * K, tuple(size), biases=False, **how)
    assert bare.parameters == w.size
    assert all(type(n) is int for n in (*costs.shape, *costs[1:]))


@pytest.mark.parametrize(
    ("given", "how", "kind", "words"),
    [
        (((3, 8), 4, 3), {}, ValueError, "image is"),
        ((8, 4, 3), {}, ValueError, "image is 8"),
        (((3, 8, 0), 4, 3), {}, ValueError, "image"),
        (((3, 8, 8.5), 4, 3), {}, TypeError, "image"),
        (((3, 8, 8), 0, 3), {}, ValueError, "filters"),
        (((3, 8, 8), 4, (3, 3, 3)), {}, ValueError, "size"),
        (((3, 8, 8), 4, 3), {"stride": 0}, ValueError, "stride"),
        (((3, 8, 8), 4, 3), {"padding": -1}, ValueError, "padding"),
        (((3, 8, 8), 4, 3), {"groups": 2}, ValueError, "groups is 2, expected a divisor of 3"),
        (((3, 8, 8), 4, 3), {"biases": 1}, TypeError, "biases is 1"),
        (((3, 8, 8), 4, 9), {"padding": 0}, ValueError, r"⌊\(8 \+ 2·0 − 1·\(9 − 1\) − 1\) / 1⌋"),
    ],
)
def test_bad_layers_are_refused(given, how, kind, words):
    with pytest.raises(kind, match=words):
        ar.layer_costs(*given, **how)


@pytest.mark.parametrize(
    ("first", "second", "kind", "words"),
    [
        (np.ones((2, 3, 3)), np.ones((4, 2, 3, 3)), ValueError, "first has shape"),
        (np.ones((2, 3, 3, 3)), np.ones((4, 3, 3, 3)), ValueError, "m = 2 as in first"),
        (np.ones((2, 3, 3, 3)), np.ones((4, 2, 3, 3), np.float32), TypeError, "same dtype"),
        (np.full((2, 3, 3, 3), np.nan), np.ones((4, 2, 3, 3)), ValueError, "first"),
    ],
)
def test_filters_that_do_not_fit_are_refused(first, second, kind, words):
    with pytest.raises(kind, match=words):
        ar.merged(first, second)
