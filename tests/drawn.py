"""Layers drawn at random, for the tests and for those beside PyTorch."""


def how(rng):
    """Draw a layer: sizes, stride, padding, dilation, groups; rectangular in every respect."""
    G = int(rng.choice([1, 1, 2, 3]))
    C, K = G * int(rng.integers(1, 6)), G * int(rng.integers(1, 12))
    U, V, S, T, D, E = (int(n) for n in rng.integers(1, 4, size=6))
    P, Q = (int(n) for n in rng.integers(0, 3, size=2))
    H = max(1, D * (U - 1) + 1 - 2 * P) + int(rng.integers(0, 8))
    W = max(1, E * (V - 1) + 1 - 2 * Q) + int(rng.integers(0, 8))
    shape = int(rng.integers(1, 4)), C, H, W
    return (
        shape,
        (K, C // G, U, V),
        {"stride": (S, T), "padding": (P, Q), "dilation": (D, E), "groups": G},
    )


def pool_how(rng):
    size = tuple(int(n) for n in rng.integers(1, 4, size=2))
    stride = tuple(int(n) for n in rng.integers(1, 4, size=2))
    padding = tuple(int(rng.integers(0, f // 2 + 1)) for f in size)
    H, W = (f + int(rng.integers(0, 7)) for f in size)
    shape = int(rng.integers(1, 4)), int(rng.integers(1, 20)), H, W
    return shape, size, stride, padding
