"""Exercises of the chapter on architectures.

Page: ``book/architectures.md``. Axes: l layers or blocks, n examples, c channels of the input and k
of the output, m maps in between, h hidden units, u and v (or p and q) rows and columns of a filter.
"""
# ruff: noqa: E741

import itertools
import math

import numpy as np

from dlbook import convolution
from dlbook.exercises.forms import Choice, Exercise, Mistake, sizes
from dlbook.tools.jit import njit

__all__ = ["EXERCISES"]


# How far a unit sees


def sees_probes(rng):
    """Two layers, the first with a stride; then stacks whose strides differ."""
    yield np.array([3.0, 3.0]), np.array([2.0, 1.0])
    for l in sizes(rng, 4, least=3, most=9):
        yield rng.integers(1, 8, l).astype(float), rng.integers(1, 4, l).astype(float)


def apart(S):
    """Return how far apart neighbours of each layer's input lie, in pixels."""
    return np.concatenate([np.ones(1), np.cumprod(S)[:-1]])


def sees(F, S):
    return 1 + np.sum((F - 1) * apart(S))


def sees_from_above(F, S):
    r = 1.0
    for l in reversed(range(len(F))):
        r = (r - 1) * S[l] + F[l]
    return r


def sees_by_interval(F, S):
    first, last = 0.0, 0.0
    for size, stride in zip(F[::-1], S[::-1], strict=True):
        first, last = first * stride, last * stride + size - 1
    return last - first + 1


@njit
def sees_compiled(F, S):
    r, step = 1.0, 1.0
    for l in range(F.size):
        r += (F[l] - 1) * step
        step *= S[l]
    return r


SEES = Exercise(
    label="architectures-sees",
    task="Write `sees(F, S)`: how many pixels across a unit on top of layers with sides F and strides S sees.",
    reference=sees,
    axes="(l), (l) -> ()",
    probes=sees_probes,
    mistakes=(
        Mistake(
            "the strides are left out",
            lambda F, S: 1 + np.sum(F - 1),
            "Above a stride of 2, neighbours stand two pixels apart, and a filter reaches twice as far.",
            "{eq}`architectures-receptive-field`",
        ),
        Mistake(
            "the strides are added",
            lambda F, S: 1 + np.sum((F - 1) * np.concatenate([np.ones(1), np.cumsum(S)[:-1]])),
            "Two layers with stride 3 put neighbours nine pixels apart and not six: strides multiply.",
            "{eq}`architectures-receptive-field`",
        ),
        Mistake(
            "a layer's own stride is counted for its own filter",
            lambda F, S: 1 + np.sum((F - 1) * np.cumprod(S)),
            "The stride says how far its own outputs stand apart. Its filter lies on its input.",
            "{eq}`architectures-receptive-field`",
        ),
        Mistake(
            "the strides above a layer are multiplied, not those below",
            lambda F, S: 1 + np.sum((F - 1) * apart(S[::-1])[::-1]),
            "What a filter reaches is measured in pixels, so it is stretched by what lies below it.",
            "{eq}`architectures-receptive-field`",
        ),
        Mistake(
            "each filter adds its whole side",
            lambda F, S: 1 + np.sum(F * apart(S)),
            "One of the F places was there before. A filter adds F − 1 steps.",
            "{eq}`architectures-receptive-field`",
        ),
        Mistake(
            "the pixel to begin with is left out",
            lambda F, S: np.sum((F - 1) * apart(S)),
            "Without any layer a unit is a pixel and sees one.",
            "{eq}`architectures-receptive-field`",
        ),
    ),
    hints=(
        "How many pixels does one step in the input of layer l span?",
        "The product of the strides below layer l. A filter of side F makes F − 1 such steps.",
        "Start with r = 1 and step = 1; for each layer r += (F − 1) · step, then step *= S.",
    ),
    used="It is {eq}`architectures-receptive-field` with strides, the last column of the chapter's tables.",
    right=(sees_from_above, sees_by_interval, sees_compiled),
    others=(
        (lambda F, S: -sees(F, S), "every number has the opposite sign"),
        (lambda F, S: np.cumsum((F - 1) * apart(S)) + 1, "wrong type or shape"),
        (lambda F, S: sees(F, S) + 2, "wrong"),
    ),
)


# Two linear layers are one


def filter_probes(rng):
    """One map, filters of two and one weights; then several maps, and no two sizes equal."""
    yield np.array([[[[1.0, 2.0]]]]), np.array([[[[3.0, 5.0]]]])
    for _ in range(4):
        p, q, u, v = sizes(rng, 4, least=1, most=4)
        m, c, k = sizes(rng, 3, least=2, most=6)
        yield rng.normal(size=(m, c, p, q)), rng.normal(size=(k, m, u, v))


def one_filter(first, second):
    (_, C, P, Q), (K, _, U, V) = first.shape, second.shape
    w = np.zeros((K, C, P + U - 1, Q + V - 1), np.result_type(first, second))
    for u, v in np.ndindex(U, V):
        w[:, :, u : u + P, v : v + Q] += np.einsum("km,mcpq->kcpq", second[:, :, u, v], first)
    return w


def filter_by_an_impulse(first, second):
    """Show both layers a single bright pixel in each channel; what comes out is turned round."""
    (M, C, P, Q), (K, _, U, V) = first.shape, second.shape
    H, W = P + U - 1, Q + V - 1
    x = np.zeros((C, C, 2 * H - 1, 2 * W - 1), first.dtype)
    for c in range(C):
        x[c, c, H - 1, W - 1] = 1
    a = convolution.multichannel(x, first, np.zeros(M, first.dtype))
    z = convolution.multichannel(a, second, np.zeros(K, first.dtype))
    return z.transpose(1, 0, 2, 3)[:, :, ::-1, ::-1]


def filter_by_frequencies(first, second):
    size = [a + b - 1 for a, b in zip(first.shape[2:], second.shape[2:], strict=True)]
    one, two = (np.fft.fft2(w, s=size) for w in (first, second))
    return np.fft.ifft2(np.einsum("kmuv,mcuv->kcuv", two, one)).real


@njit
def filter_compiled(first, second):
    (M, C, P, Q), (K, _, U, V) = first.shape, second.shape
    w = np.zeros((K, C, P + U - 1, Q + V - 1), first.dtype)
    for k in range(K):
        for m in range(M):
            for c in range(C):
                for p in range(P):
                    for q in range(Q):
                        for u in range(U):
                            for v in range(V):
                                w[k, c, p + u, q + v] += second[k, m, u, v] * first[m, c, p, q]
    return w


FILTER = Exercise(
    label="architectures-filter",
    task="Write `one_filter(first, second)`: the filters of the one layer that two linear ones, stacked, equal.",
    reference=one_filter,
    axes="(m c p q), (k m u v) -> (k c r s)",
    probes=filter_probes,
    mistakes=(
        Mistake(
            "the second filters are turned round",
            lambda first, second: one_filter(first, second[:, :, ::-1, ::-1]),
            "Offsets add: the weight at u meets the weight at p and lands at p + u, neither backwards.",
            "{eq}`architectures-two-3x3`",
        ),
        Mistake(
            "the first filters are turned round",
            lambda first, second: one_filter(first[:, :, ::-1, ::-1], second),
            "Offsets add: the weight at u meets the weight at p and lands at p + u, neither backwards.",
            "{eq}`architectures-two-3x3`",
        ),
        Mistake(
            "the result is turned round",
            lambda first, second: one_filter(first, second)[:, :, ::-1, ::-1],
            "A bright pixel shows a layer's filter backwards. Turn what you see round once more.",
            "{eq}`convolution-flip`",
        ),
        Mistake(
            "only the first map in between is followed",
            lambda first, second: one_filter(first[:1], second[:, :1]),
            "The second layer adds up what all maps in between say.",
            "{eq}`convolution-multichannel`",
        ),
        Mistake(
            "each map in between meets the weights of the next one",
            lambda first, second: one_filter(np.roll(first, 1, axis=0), second),
            "Filter m of the first layer makes map m, and column m of the second reads it.",
            "{eq}`convolution-multichannel`",
        ),
        Mistake(
            "the maps are added up before the filters meet",
            lambda first, second: one_filter(
                first.sum(axis=0, keepdims=True), second.sum(axis=1, keepdims=True)
            ),
            "A sum of products is wanted, one for each map; you have a product of two sums.",
            "{eq}`convolution-multichannel`",
        ),
    ),
    hints=(
        "Write out one output of the second layer and put in what its inputs are. Which pixel of x is met?",
        "The pixel at i + u + p. Collect all products whose offsets u + p are the same.",
        "w[:, :, u : u + P, v : v + Q] += second[:, :, u, v] times first, summed over the maps between.",
    ),
    used="It is {eq}`architectures-two-3x3` with channels; only the non-linearity keeps two layers from being one.",
    right=(filter_by_an_impulse, filter_by_frequencies, filter_compiled),
    others=(
        (lambda first, second: -one_filter(first, second), "every number has the opposite sign"),
        (lambda first, second: one_filter(first, second)[:, :, 1:, 1:], "wrong type or shape"),
        (lambda first, second: one_filter(first, second) + 0.01, "wrong"),
    ),
)


# Parameters of a stage


def stage(blocks=4, first=256, norm=2, bias=0, projections=1, reduced=True):
    """Return the parameters of blocks 1 × 1 to 128, 3 × 3, 1 × 1 to 512, each with a normalization."""
    total, C = 0, first
    for block in range(blocks):
        layers = [(C, 128, 1), (128, 128, 3), (128, 512, 1)]
        layers += [(C, 512, 1)] * (block < projections)
        total += sum(c * k * F**2 + (norm + bias) * k for c, k, F in layers)
        C = 512 if reduced else first
    return total


def stage_by_arrays():
    shapes = [(128, 512, 1, 1), (128, 128, 3, 3), (512, 128, 1, 1)] * 4
    shapes[0] = (128, 256, 1, 1)
    shapes.append((512, 256, 1, 1))
    return sum(np.zeros(shape).size + 2 * shape[0] for shape in shapes)


def stage_by_formula():
    return 3 * (17 * 128**2 + 12 * 128) + 23 * 128**2 + 20 * 128


def stage_in_single():
    return np.float32(379_392 + 3 * 280_064)


STAGE = Exercise(
    label="architectures-stage",
    task="Give the number of parameters of the second stage of ResNet-50: four bottlenecks, 256 channels to 512.",
    reference=stage,
    axes="-> ()",
    mistakes=(
        Mistake(
            "the projection is left out",
            lambda: stage(projections=0),
            "The first block gets 256 channels and gives 512. The skip needs a 1 × 1 convolution to add them.",
            "{eq}`architectures-bottleneck`",
        ),
        Mistake(
            "every block has a projection",
            lambda: stage(projections=4),
            "From the second block on x and F(x) have the same shape, and x is added as it is.",
            "{eq}`architectures-residual`",
        ),
        Mistake(
            "the convolutions have biases",
            lambda: stage(bias=1),
            "The normalization behind takes the mean away, and a bias with it. They are left out.",
            "{eq}`training-batchnorm`",
        ),
        Mistake(
            "biases take the place of the normalizations",
            lambda: stage(norm=0, bias=1),
            "Each convolution is followed by batch normalization, with a γ and a β for each channel.",
            "{eq}`training-batchnorm`",
        ),
        Mistake(
            "batch normalization is left out",
            lambda: stage(norm=0),
            "Each convolution is followed by one, with a γ and a β for each channel.",
            "{eq}`training-batchnorm`",
        ),
        Mistake(
            "the running statistics are counted",
            lambda: stage(norm=4),
            "Running mean and variance are kept and not learned. Only γ and β are parameters.",
            "{eq}`training-batchnorm`",
        ),
        Mistake(
            "all blocks get 256 channels",
            lambda: stage(reduced=False),
            "The first block gives 512, and the others get what it gives.",
            "{eq}`architectures-bottleneck`",
        ),
    ),
    hints=(
        "Write a table with a line for each convolution: channels in, channels out, side of the filter.",
        "The first block has four convolutions, with its projection, and the others three; γ and β for each map.",
        "379,392 for the first block; for each of the others 512 · 128 + 9 · 128² + 128 · 512, and 2 · 768.",
    ),
    used="Four such stages, a stem and a head make up ResNet-50, whose total the chapter finds; "
    "each block is {eq}`architectures-bottleneck` with normalizations.",
    right=(stage_by_arrays, stage_by_formula, stage_in_single),
    others=(
        (lambda: -stage(), "every number has the opposite sign"),
        (lambda: stage(blocks=3), "wrong"),
        (lambda: np.array([stage()]), "wrong type or shape"),
    ),
)


# When a 1 × 1 convolution pays


def even_probes(rng):
    """Numbers by which one can divide; then layers of all kinds."""
    yield np.array([18.0]), np.array([1.0]), np.array([3.0])
    for n in sizes(rng, 4, least=3, most=9):
        draw = (rng.integers(1, 300, n) for _ in range(2))
        yield *(a.astype(float) for a in draw), rng.integers(2, 9, n).astype(float)


def break_even(C, K, F):
    return C * K * F**2 / (C + K * F**2)


def even_by_inverses(C, K, F):
    return 1 / (1 / C + 1 / (K * F * F))


def even_by_one_channel(C, K, F):
    plain, each = C * K * F**2, C + K * F**2  # for a place, and for a place and a channel between
    return plain / each


@njit
def even_compiled(C, K, F):
    R = np.empty_like(C)
    for n in range(C.size):
        R[n] = C[n] * K[n] * F[n] ** 2 / (C[n] + K[n] * F[n] ** 2)
    return R


EVEN = Exercise(
    label="architectures-break-even",
    task="Write `break_even(C, K, F)`: the R at which C → R → K channels, 1 × 1 then F × F, cost what C → K cost.",
    reference=break_even,
    axes="(n), (n), (n) -> (n)",
    probes=even_probes,
    mistakes=(
        Mistake(
            "the 1 × 1 convolution is taken to cost nothing",
            lambda C, K, F: C.copy(),
            "It multiplies each of the C channels for each of the R maps at every place.",
            "{eq}`architectures-multiply-adds`",
        ),
        Mistake(
            "the side of the filter is not squared",
            lambda C, K, F: C * K * F / (C + K * F),
            "A filter of side F has F² weights for each channel.",
            "{eq}`architectures-multiply-adds`",
        ),
        Mistake(
            "the large filter is put first",
            lambda C, K, F: C * K * F**2 / (K + C * F**2),
            "Here the 1 × 1 convolution comes first, so that the large filter sees R channels and not C.",
            "{eq}`architectures-multiply-adds`",
        ),
        Mistake(
            "both layers are taken to be F × F",
            lambda C, K, F: C * K / (C + K),
            "The first of the two has filters of 1 × 1, and F² does not cancel.",
            "{eq}`architectures-one-by-one`",
        ),
        Mistake(
            "the 1 × 1 convolution is counted with all K maps",
            lambda C, K, F: (C * K * F**2 - C * K) / (K * F**2),
            "It gives R maps: its cost grows with R as well.",
            "{eq}`architectures-multiply-adds`",
        ),
        Mistake(
            "the 1 × 1 convolution is counted with one map",
            lambda C, K, F: (C * K * F**2 - C) / (K * F**2),
            "It gives R maps: its cost grows with R as well.",
            "{eq}`architectures-multiply-adds`",
        ),
    ),
    hints=(
        "Write down the multiply-adds for one place: first of the single layer, then of the two.",
        "C K F² against C R + R K F². Both terms have the factor R.",
        "Set them equal and divide by C + K F².",
    ),
    used="It compares two costs of {eq}`architectures-multiply-adds`: the branches of {eq}`architectures-inception` "
    "stay far below it.",
    right=(even_by_inverses, even_by_one_channel, even_compiled),
    others=(
        (lambda C, K, F: -break_even(C, K, F), "every number has the opposite sign"),
        (lambda C, K, F: break_even(C, K, F)[::-1], "the numbers stand in reverse order"),
        (lambda C, K, F: np.floor(break_even(C, K, F)), "wrong"),
        (lambda C, K, F: np.sum(break_even(C, K, F)), "wrong type or shape"),
    ),
)


# Backwards through a residual block


def block_probes(rng):
    """One channel, round numbers; then several, with sums on both sides of zero."""
    one = np.array([[1.0]])
    yield 2 * one, 3 * one, -0.2 * one, 5 * one
    for _ in range(4):
        n, c, h = sizes(rng, 3, least=2, most=7)
        shapes = ((n + 2, c), (h, c), (c, h), (n + 2, c))
        yield tuple(rng.normal(size=s) for s in shapes)


def block_backward(x, v, w, dy, skip=1.0, top=True, mask="sum"):
    """Return the gradients of y = relu(x + relu(x vᵀ) wᵀ); the options are mistakes."""
    a = np.maximum(x @ v.T, 0)
    seen = {"sum": x + a @ w.T, "branch": a @ w.T, "input": x}[mask]
    delta = dy * (seen > 0) if top else dy
    dw, da = delta.T @ a, delta @ w
    dz = da * (a > 0)
    return skip * delta + dz @ v, dz.T @ x, dw


def block_by_rows(x, v, w, dy):
    dx, dv, dw = np.zeros_like(x), np.zeros_like(v), np.zeros_like(w)
    for n in range(len(x)):
        a = np.maximum(v @ x[n], 0)
        delta = np.where(x[n] + w @ a > 0, dy[n], 0)
        dz = np.where(a > 0, w.T @ delta, 0)
        dx[n] = delta + v.T @ dz
        dv += np.outer(dz, x[n])
        dw += np.outer(delta, a)
    return dx, dv, dw


def block_by_jacobians(x, v, w, dy):
    """Multiply by the whole matrix I + w D v of each example."""
    dx, dv, dw = np.empty_like(x), np.zeros_like(v), np.zeros_like(w)
    for n, row in enumerate(x):
        z = v @ row
        D, a = np.diag((z > 0).astype(x.dtype)), np.maximum(z, 0)
        delta = dy[n] * (row + w @ a > 0)
        dx[n] = (np.eye(len(row), dtype=x.dtype) + w @ D @ v).T @ delta
        dv += np.outer(D @ w.T @ delta, row)
        dw += np.outer(delta, a)
    return dx, dv, dw


@njit
def block_compiled(x, v, w, dy):
    N, C = x.shape
    H = v.shape[0]
    dx, dv, dw = np.zeros_like(x), np.zeros_like(v), np.zeros_like(w)
    for n in range(N):
        a = np.zeros(H, x.dtype)
        for h in range(H):
            for c in range(C):
                a[h] += v[h, c] * x[n, c]
            a[h] = max(a[h], 0)
        for c in range(C):
            y = x[n, c]
            for h in range(H):
                y += w[c, h] * a[h]
            if y > 0:
                dx[n, c] += dy[n, c]
                for h in range(H):
                    dw[c, h] += dy[n, c] * a[h]
                    if a[h] > 0:
                        for j in range(C):
                            dx[n, j] += dy[n, c] * w[c, h] * v[h, j]
                            dv[h, j] += dy[n, c] * w[c, h] * x[n, j]
    return dx, dv, dw


def masked_late(x, v, w, dy):
    dx, dv, dw = block_backward(x, v, w, dy, skip=0.0)
    return dx + dy, dv, dw


BACK = Exercise(
    label="architectures-back",
    task="Write `block_backward(x, v, w, dy)`: dx, dv and dw of y = relu(x + relu(x vᵀ) wᵀ).",
    reference=block_backward,
    axes="(n c), (h c), (c h), (n c) -> (n c), (h c), (c h)",
    probes=block_probes,
    mistakes=(
        Mistake(
            "the skip is left out",
            lambda x, v, w, dy: block_backward(x, v, w, dy, skip=0.0),
            "x reaches y by two ways, and one of them is no layer at all: its derivative is the identity.",
            "{eq}`architectures-residual-gradient`",
        ),
        Mistake(
            "the skip is counted twice",
            lambda x, v, w, dy: block_backward(x, v, w, dy, skip=2.0),
            "A gradient that is written into the array of the skip must not be added to it again.",
            "{eq}`architectures-residual-gradient`",
        ),
        Mistake(
            "the last rectifier is left out",
            lambda x, v, w, dy: block_backward(x, v, w, dy, top=False),
            "Where the sum was negative y is zero, and nothing comes back by either way.",
            "{eq}`neurons-relu`",
        ),
        Mistake(
            "the last rectifier closes by the branch alone",
            lambda x, v, w, dy: block_backward(x, v, w, dy, mask="branch"),
            "It stands behind the sum, so that the sign of x + F(x) decides.",
            "{eq}`architectures-residual`",
        ),
        Mistake(
            "the last rectifier closes by the input",
            lambda x, v, w, dy: block_backward(x, v, w, dy, mask="input"),
            "It stands behind the sum, so that the sign of x + F(x) decides.",
            "{eq}`architectures-residual`",
        ),
        Mistake(
            "the skip goes round the last rectifier",
            masked_late,
            "The rectifier stands behind the sum: what goes back over the skip has passed it, too.",
            "{eq}`architectures-residual-gradient`",
        ),
    ),
    hints=(
        "Go through the forward pass and name each array: z, a, the sum s, y. Then go back from y.",
        "The gradient at s is dy where s > 0. It goes two ways: to x as it is, and into the branch.",
        "dx = delta + (delta @ w * (a > 0)) @ v, with delta = dy * (s > 0).",
    ),
    used="It is the block of the first residual networks, {eq}`architectures-residual-gradient` with a rectifier behind.",
    right=(block_by_rows, block_by_jacobians, block_compiled),
    others=(
        (lambda *a: tuple(-g for g in block_backward(*a)), "every number has the opposite sign"),
        (lambda *a: block_backward(*a)[::-1], "the results are returned in the reverse order"),
        (lambda *a: block_backward(*a)[0], "wrong type or shape"),
        (lambda x, v, w, dy: block_backward(x, w.T, w, dy), "wrong"),
    ),
)


# Batch normalization folded into the layer below


def fold_probes(rng):
    """One filter of two weights, round numbers; then several, with means and biases."""
    one = np.ones(1)
    w = np.array([[[[2.0, 4.0]]]])
    yield w, 3 * one, one, 3 * one, 6 * one, 5 * one, 1.0
    for _ in range(4):
        k, c, u, v = sizes(rng, 4, least=1, most=5)
        b, mean, beta, gamma = (rng.normal(size=k + 1) for _ in range(4))
        yield (
            *(rng.normal(size=(k + 1, c, u, v)), b, mean, rng.uniform(0.2, 3, k + 1)),
            *(gamma, beta, float(rng.uniform(0.05, 0.5))),
        )


def folded(w, b, mean, var, gamma, beta, eps):
    scale = gamma / np.sqrt(var + eps)
    return w * scale[:, None, None, None], (b - mean) * scale + beta


def fold_by_trying(w, b, mean, var, gamma, beta, eps):
    """Ask the two layers what they make of no light and of single pixels."""

    def both(x):
        z = convolution.multichannel(x, w, b)[:, :, 0, 0]
        return gamma * (z - mean) / np.sqrt(var + eps) + beta

    dark = both(np.zeros((1, *w.shape[1:]), w.dtype))[0]
    pixels = np.eye(w[0].size, dtype=w.dtype).reshape(-1, *w.shape[1:])
    return (both(pixels) - dark).T.reshape(w.shape), dark


def fold_by_matrix(w, b, mean, var, gamma, beta, eps):
    D = np.diag(gamma / np.sqrt(var + eps))
    return (D @ w.reshape(len(w), -1)).reshape(w.shape), D @ (b - mean) + beta


@njit
def fold_compiled(w, b, mean, var, gamma, beta, eps):
    new, shift = np.empty_like(w), np.empty_like(b)
    for k in range(w.shape[0]):
        scale = gamma[k] / np.sqrt(var[k] + eps)
        new[k] = scale * w[k]
        shift[k] = scale * (b[k] - mean[k]) + beta[k]
    return new, shift


FOLD = Exercise(
    label="architectures-fold",
    task="Write `folded(w, b, mean, var, gamma, beta, eps)`: filters and biases that do what two layers did.",
    reference=folded,
    axes="(k c u v), (k), (k), (k), (k), (k), () -> (k c u v), (k)",
    probes=fold_probes,
    mistakes=(
        Mistake(
            "the running mean is left out",
            lambda w, b, mean, *a: folded(w, b, 0 * mean, *a),
            "It is taken off before the scale, so that the new bias holds minus scale times mean.",
            "{eq}`training-batchnorm`",
        ),
        Mistake(
            "the bias is not scaled",
            lambda w, b, mean, var, gamma, beta, eps: (
                folded(w, b, mean, var, gamma, beta, eps)[0],
                b - mean * gamma / np.sqrt(var + eps) + beta,
            ),
            "b is part of z and goes through the normalization with it.",
            "{eq}`training-batchnorm`",
        ),
        Mistake(
            "the bias of the convolution is left out",
            lambda w, b, *a: folded(w, 0 * b, *a),
            "In training it makes no difference; with running statistics it stands beside the mean.",
            "{eq}`training-running-statistics`",
        ),
        Mistake(
            "β is scaled, too",
            lambda w, b, mean, var, gamma, beta, eps: folded(
                w, b + beta, mean, var, gamma, 0 * beta, eps
            ),
            "β is added last, after the scale.",
            "{eq}`training-batchnorm`",
        ),
        Mistake(
            "the variance is not put under a root",
            lambda w, b, mean, var, gamma, beta, eps: folded(
                w, b, mean, (var + eps) ** 2, gamma, beta, 0.0
            ),
            "Normalization divides by the standard deviation.",
            "{eq}`training-batchnorm`",
        ),
        Mistake(
            "ε is added behind the root",
            lambda w, b, mean, var, gamma, beta, eps: folded(
                w, b, mean, (np.sqrt(var) + eps) ** 2, gamma, beta, 0.0
            ),
            "It stands beside the variance, under the root.",
            "{eq}`training-batchnorm`",
        ),
        Mistake(
            "γ is left out",
            lambda w, b, mean, var, gamma, beta, eps: folded(
                w, b, mean, var, np.ones_like(gamma), beta, eps
            ),
            "After the division each map is multiplied by its own γ.",
            "{eq}`training-batchnorm`",
        ),
    ),
    hints=(
        "Write the two layers one after the other: first z, then what the normalization makes of it.",
        "Everything that is multiplied with x belongs to the filters, everything else to the bias.",
        "With s = γ / √(var + ε): the filters are s w, the biases s (b − mean) + β.",
    ),
    used="It is why networks with {eq}`training-batchnorm` need no biases, and why the normalization of a trained "
    "network costs nothing.",
    right=(fold_by_trying, fold_by_matrix, fold_compiled),
    others=(
        (lambda *a: folded(*a)[::-1], "the results are returned in the reverse order"),
        (lambda *a: tuple(-f for f in folded(*a)), "every number has the opposite sign"),
        (lambda *a: folded(*a)[0], "wrong type or shape"),
        (lambda w, b, *a: folded(w, b + 0.01, *a), "wrong"),
    ),
)


# How long the paths are


def length_probes(rng):
    """Two blocks whose gains are 1 and 2; then longer chains."""
    yield (np.array([1.0, 2.0]),)
    for l in sizes(rng, 4, least=3, most=8):
        yield (rng.uniform(0.1, 2, l),)


def lengths(a):
    """Return the coefficients of the product of 1 + a_l t, divided by their sum."""
    found = np.ones(1)
    for gain in a:
        found = np.convolve(found, [1, gain])
    return found / found.sum()


def lengths_by_paths(a):
    found = np.zeros(len(a) + 1)
    for taken in itertools.product((0, 1), repeat=len(a)):
        found[sum(taken)] += math.prod(g for g, t in zip(a, taken, strict=True) if t)
    return found / found.sum()


def lengths_by_chance(a):
    """Each block is passed through with probability a / (1 + a)."""
    p = a / (1 + a)
    found = np.zeros(len(a) + 1)
    found[0] = 1
    for chance in p:
        found[1:] = found[1:] * (1 - chance) + found[:-1] * chance
        found[0] *= 1 - chance
    return found


@njit
def lengths_compiled(a):
    found = np.zeros(a.size + 1)
    found[0] = 1
    for l in range(a.size):
        for k in range(l + 1, 0, -1):
            found[k] += a[l] * found[k - 1]
    return found / np.prod(1 + a)


def binomial(a, p):
    L = len(a)
    return np.array([math.comb(L, k) * p**k * (1 - p) ** (L - k) for k in range(L + 1)])


LENGTHS = Exercise(
    label="architectures-length",
    task="Write `lengths(a)`: the share of the paths with k branches in the derivative of a chain of blocks x + a x.",
    reference=lengths,
    axes="(l) -> (k)",
    probes=length_probes,
    mistakes=(
        Mistake(
            "all paths count the same",
            lambda a: binomial(a, 0.5),
            "A path contributes the product of the gains of the branches that it takes.",
            "{eq}`architectures-paths`",
        ),
        Mistake(
            "the sums are not divided by the derivative",
            lambda a: lengths(a) * np.prod(1 + a),
            "Shares are wanted, and they add up to one.",
            "{eq}`architectures-paths`",
        ),
        Mistake(
            "all blocks have the mean gain",
            lambda a: binomial(a, a.mean() / (1 + a.mean())),
            "The product of different gains is not that of their mean.",
            "{eq}`architectures-paths`",
        ),
        Mistake(
            "the sums are means over the paths of each length",
            lambda a: (lambda found: found / found.sum())(
                lengths(a) / [math.comb(len(a), k) for k in range(len(a) + 1)]
            ),
            "There are many paths of a middle length, and all of them add to the derivative.",
            "{eq}`architectures-paths`",
        ),
        Mistake(
            "the path round all blocks is left out",
            lambda a: (lambda found: found / found.sum())(np.append(0.0, lengths(a)[1:])),
            "Going round every block is a path as well: its product is empty, and is one.",
            "{eq}`architectures-paths`",
        ),
    ),
    hints=(
        "Multiply out (1 + a₁)(1 + a₂): which terms belong to paths with one branch?",
        "Write a variable t beside each gain and sort the product by powers of t.",
        "Start with [1] and convolve it with [1, a_l] for each block; divide by the sum.",
    ),
    used="It sorts the paths of {eq}`architectures-paths` by their length.",
    right=(lengths_by_paths, lengths_by_chance, lengths_compiled),
    others=(
        (lambda a: -lengths(a), "every number has the opposite sign"),
        (lambda a: lengths(a)[1:], "wrong type or shape"),
        (lambda a: np.cumsum(lengths(a)), "wrong"),
    ),
)


EXERCISES = (SEES, FILTER, STAGE, EVEN, BACK, FOLD, LENGTHS)
