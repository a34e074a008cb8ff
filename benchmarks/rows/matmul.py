"""The matrix product, with b packed before and within the call, against the tile's own peak."""
# ruff: noqa: E741

import numpy as np

from benchmarks.row import OURS, PEAK, Row


def factors(I, K, J):
    rng = np.random.default_rng(1)
    return [rng.standard_normal(shape).astype(np.float32) for shape in ((I, K), (K, J))]


def packed_before(I, K, J):
    from dlbook import matmul

    (a, b), c = factors(I, K, J), np.empty((I, J), np.float32)
    packed = matmul.panels(K, J, a.dtype)
    matmul.pack(b, packed)
    return lambda: matmul.multiply_parallel(a, packed, c, False), lambda: [c]


def packed_within(I, K, J):
    from dlbook import matmul

    (a, b), c = factors(I, K, J), np.empty((I, J), np.float32)
    packed = matmul.panels(K, J, a.dtype)

    def call():
        matmul.pack_parallel(b, packed)
        matmul.multiply_parallel(a, packed, c, False)

    return call, lambda: [c]


def inside(I, K, J):
    """A hundred products in compiled code, as within a training step."""
    import numba

    from dlbook import matmul

    (a, b), c = factors(I, K, J), np.empty((I, J), np.float32)
    packed, multiply = matmul.panels(K, J, a.dtype), matmul.multiply
    matmul.pack(b, packed)

    @numba.njit
    def often(a, packed, c):
        for _ in range(100):
            multiply(a, packed, c, False)

    return lambda: often(a, packed, c), lambda: [c]


def blas_inside(I, K, J):
    """The same with ``np.dot``, which Numba hands to SciPy's BLAS."""
    import numba

    (a, b), c = factors(I, K, J), np.empty((I, J), np.float32)

    @numba.njit
    def often(a, b, c):
        for _ in range(100):
            np.dot(a, b, c)

    return lambda: often(a, b, c), lambda: [c]


def peak(I, K, J):
    """The register tile on operands that stay in the first cache."""
    from dlbook import matmul
    from dlbook.tools.simd import TILE

    rows, width, depth, times = TILE.rows, TILE.width(np.dtype("f4")), 128, 2000
    a, panel = np.ones((rows, depth), "f4"), np.ones((depth, width), "f4")
    c = np.zeros((rows, width), "f4")
    return lambda: matmul.peak_kernel(a, panel, c, times), 2 * rows * width * depth * times


def in_numpy(I, K, J):
    a, b = factors(I, K, J)
    c = np.empty((I, J), a.dtype)
    return lambda: np.matmul(a, b, c), lambda: [c]


def in_torch(I, K, J):
    import torch

    torch.set_grad_enabled(False)
    a, b = map(torch.from_numpy, factors(I, K, J))
    c = torch.empty(I, J)
    return lambda: torch.mm(a, b, out=c), lambda: [c.numpy()]


def rows_of(n, m, k):
    rng = np.random.default_rng(1)
    return [rng.standard_normal((count, k)).astype(np.float32) for count in (n, m)]


def our_distances(n, m, k):
    from dlbook import matmul

    (x, y), last = rows_of(n, m, k), [None]

    def call():
        last[0] = matmul.squared_distances(x, y)

    return call, lambda: last


def sklearn_distances(n, m, k):
    from sklearn.metrics.pairwise import euclidean_distances

    (x, y), last = rows_of(n, m, k), [None]

    def call():
        last[0] = euclidean_distances(x, y, squared=True)

    return call, lambda: last


def torch_distances(n, m, k):
    import torch

    torch.set_grad_enabled(False)
    x, y = map(torch.from_numpy, rows_of(n, m, k))
    last = [None]

    def call():
        last[0] = torch.cdist(x, y)

    return call, lambda: [last[0].numpy() ** 2]


SIZES = {(256, 784, 1024): 0.85, (16, 64, 256): 0, (64, 64, 64): 0, (1024, 1024, 1024): 0}
ROWS = [
    Row(
        f"product-{I}x{K}x{J}{suffix}",
        f"{I} × {K} × {J}, {words}",
        {OURS: ours, "numpy": in_numpy, "torch": in_torch, PEAK: peak},
        {"I": I, "K": K, "J": J},
        threads=(1, 2) if I * K * J > 1e6 else (1,),
        work=2 * I * K * J,
        share=least if ours is packed_before else 0,
    )
    for (I, K, J), least in SIZES.items()
    for ours, suffix, words in (
        (packed_before, "", "packed before"),
        (packed_within, "-pack", "packed within"),
    )
] + [
    Row(
        "product-16x64x256-inside",
        "16 × 64 × 256, packed before, 100 times from compiled code",
        {OURS: inside, "numba.dot": blas_inside, PEAK: peak},
        {"I": 16, "K": 64, "J": 256},
        work=100 * 2 * 16 * 64 * 256,
        share=0.75,
    ),
    Row(
        "distances-1000x5000",
        "squared distances of 1,000 and 5,000 points of 64 numbers",
        {OURS: our_distances, "scikit-learn": sklearn_distances, "torch": torch_distances},
        {"n": 1000, "m": 5000, "k": 64},
        threads=(1, 2),
        work=2 * 1000 * 5000 * 64,
        target={"scikit-learn": 1},
    ),
]
