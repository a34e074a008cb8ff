"""Exercises of the chapter on architectures.

Page: ``book/architectures.md``. Axes: l layers or blocks, n examples, c channels of the input and k
of the output, h hidden units, u and v (or p and q) rows and columns of a filter.
"""
# ruff: noqa: E741

import itertools
import math

import numpy as np

from dlbook import convolution
from dlbook.exercises.forms import Choice, Exercise, Mistake, sizes
from dlbook.tools.jit import njit

__all__ = ["EXERCISES"]


# Which pixels a unit sees


def window_probes(rng):
    """One layer with a stride and a frame; then stacks whose strides and frames differ."""
    yield np.array([3.0]), np.array([2.0]), np.array([1.0]), 4.0
    for l in sizes(rng, 4, least=2, most=7):
        F, S = rng.integers(2, 8, l), rng.integers(1, 4, l)
        P, i = rng.integers(0, 4, l), rng.integers(3, 20)
        yield *(a.astype(float) for a in (F, S, P)), float(i)


def apart(S):
    """Return how far apart neighbours of each layer's input lie, in pixels."""
    return np.concatenate([np.ones(1), np.cumprod(S)[:-1]])


def sees(F, S):
    return 1 + np.sum((F - 1) * apart(S))


def window(F, S, P, i):
    first = i * np.prod(S) - np.sum(P * apart(S))
    return first, first + sees(F, S) - 1


def window_from_above(F, S, P, i):
    first = last = i
    for l in reversed(range(len(F))):
        first, last = first * S[l] - P[l], last * S[l] - P[l] + F[l] - 1
    return first, last


def window_by_marking(F, S, P, i):
    """Go down from the unit and mark every place that is looked at."""
    seen = {int(i)}
    for size, stride, frame in zip(F[::-1], S[::-1], P[::-1], strict=True):
        seen = {int(at * stride - frame) + u for at in seen for u in range(int(size))}
    return float(min(seen)), float(max(seen))


@njit
def window_compiled(F, S, P, i):
    first, step, r = 0.0, 1.0, 1.0
    for l in range(F.size):
        first -= P[l] * step
        r += (F[l] - 1) * step
        step *= S[l]
    first += i * step
    return first, first + r - 1


def window_with(F, S, P, i, stretch=None, jump=None, field=None):
    """Return the window with one thing wrong."""
    stretch = apart(S) if stretch is None else stretch
    first = i * (np.prod(S) if jump is None else jump) - np.sum(P * stretch)
    return first, first + (sees(F, S) if field is None else field) - 1


WINDOW = Exercise(
    label="architectures-window",
    task="Write `window(F, S, P, i)`: the first and the last pixel that unit i on top of a stack sees.",
    reference=window,
    axes="(l), (l), (l), () -> (), ()",
    probes=window_probes,
    mistakes=(
        Mistake(
            "the frames are left out",
            lambda F, S, P, i: window_with(F, S, 0 * P, i),
            "A frame of P places moves all that a layer sees by P of its own input's places.",
            "{eq}`convolution-output-size`",
        ),
        Mistake(
            "the frames are not stretched",
            lambda F, S, P, i: window_with(F, S, P, i, stretch=np.ones(len(S))),
            "A place in the frame of a higher layer is as wide as the strides below it make it.",
            "{eq}`architectures-receptive-field`",
        ),
        Mistake(
            "a frame is stretched by its own layer's stride, too",
            lambda F, S, P, i: window_with(F, S, P, i, stretch=np.cumprod(S)),
            "The frame lies around the input of the layer, and the stride counts in its output.",
            "{eq}`architectures-receptive-field`",
        ),
        Mistake(
            "units are as far apart as the last stride says",
            lambda F, S, P, i: window_with(F, S, P, i, jump=S[-1]),
            "A step on top is a step of S on the layer below, and each of these is one of S below that.",
            "{eq}`architectures-receptive-field`",
        ),
        Mistake(
            "the strides are added",
            lambda F, S, P, i: window_with(F, S, P, i, jump=np.sum(S)),
            "Two layers with stride 3 put neighbours nine pixels apart and not six: strides multiply.",
            "{eq}`architectures-receptive-field`",
        ),
        Mistake(
            "the last pixel is the first behind the window",
            lambda F, S, P, i: window_with(F, S, P, i, field=sees(F, S) + 1),
            "Of r pixels the last is r − 1 behind the first.",
            "{eq}`architectures-receptive-field`",
        ),
        Mistake(
            "the strides are left out of the size of the window",
            lambda F, S, P, i: window_with(F, S, P, i, field=1 + np.sum(F - 1)),
            "Above a stride of 2, neighbours stand two pixels apart, and a filter reaches twice as far.",
            "{eq}`architectures-receptive-field`",
        ),
    ),
    hints=(
        "Take one layer: which places of its input does its unit i see, with stride S and a frame of P?",
        "Those from i S − P to i S − P + F − 1. Each end is a unit of the layer below: go on with it.",
        "Start with first = last = i; from the top down: first S − P, and last S − P + F − 1.",
    ),
    used="The distance between the two is {eq}`architectures-receptive-field`, whatever the frames.",
    right=(window_from_above, window_by_marking, window_compiled),
    others=(
        (lambda *a: window(*a)[::-1], "the results are returned in the reverse order"),
        (lambda *a: window(*a)[0], "wrong type or shape"),
        (lambda F, S, P, i: window(F, S, P, i + 1), "wrong"),
    ),
)


# A block that is one layer


def merge_probes(rng):
    """One channel and one weight, round numbers; then several channels, filters of any odd sides."""
    one = np.ones(1)
    yield np.array([[[[3.0]]]]), 5 * one, np.array([[7.0]]), 2 * one
    for (u, v), c in zip(((3, 1), (1, 5), (3, 5), (5, 3)), sizes(rng, 4), strict=True):
        shapes = ((c, c, u, v), (c,), (c, c), (c,))
        yield tuple(rng.normal(size=shape) for shape in shapes)


def one_layer(w, b, v, d, identity=None):
    """Return the filters of x + (w ∗ x + b) + (v x + d), and its biases."""
    both = w.copy()
    P, Q = w.shape[2] // 2, w.shape[3] // 2
    both[:, :, P, Q] += v + (np.eye(len(v), dtype=v.dtype) if identity is None else identity)
    return both, b + d


def layer_by_padding(w, b, v, d):
    P, Q = w.shape[2] // 2, w.shape[3] // 2
    middle = v + np.eye(len(v), dtype=v.dtype)
    return w + np.pad(middle[:, :, None, None], ((0, 0), (0, 0), (P, P), (Q, Q))), b + d


def layer_by_impulses(w, b, v, d):
    """Show the block single bright pixels, and read its filters backwards."""
    C, _, U, V = w.shape
    x = np.zeros((C + 1, C, 2 * U - 1, 2 * V - 1), w.dtype)
    for c in range(C):
        x[c, c, U - 1, V - 1] = 1
    wide = convolution.multichannel(x, w, b)
    near = x[:, :, U // 2 : U // 2 + U, V // 2 : V // 2 + V]
    y = near + wide + np.einsum("kc,ncij->nkij", v, near) + d[:, None, None]
    shown = y[:C] - y[C]
    return shown.transpose(1, 0, 2, 3)[:, :, ::-1, ::-1], y[C, :, 0, 0]


@njit
def layer_compiled(w, b, v, d):
    both, bias = w.copy(), np.empty_like(b)
    for k in range(w.shape[0]):
        bias[k] = b[k] + d[k]
        both[k, k, w.shape[2] // 2, w.shape[3] // 2] += 1
        for c in range(w.shape[1]):
            both[k, c, w.shape[2] // 2, w.shape[3] // 2] += v[k, c]
    return both, bias


def identity_everywhere(w, b, v, d):
    both, bias = one_layer(w, b, v, d, 0 * v)
    return both + np.eye(len(v))[:, :, None, None], bias


def in_a_corner(w, b, v, d):
    both = w.copy()
    both[:, :, 0, 0] += v + np.eye(len(v))
    return both, b + d


MERGE = Exercise(
    label="architectures-merge",
    task="Write `one_layer(w, b, v, d)`: filters and biases of the one convolution that gives x + (w ∗ x + b) + (v x + d).",
    reference=one_layer,
    axes="(c c p q), (c), (c c), (c) -> (c c p q), (c)",
    probes=merge_probes,
    mistakes=(
        Mistake(
            "the identity is left out",
            lambda w, b, v, d: one_layer(w, b, v, d, 0 * v),
            "x itself is a convolution, too: its filters are 1 in the middle of their own channel.",
            "{eq}`architectures-residual`",
        ),
        Mistake(
            "each channel is added to all channels",
            lambda w, b, v, d: one_layer(w, b, v, d, np.ones_like(v)),
            "The sum adds channel c to channel c: the identity over channels, not a matrix of ones.",
            "{eq}`architectures-residual`",
        ),
        Mistake(
            "the identity stands at every place of the filter",
            identity_everywhere,
            "That adds up the neighbours, too. x stays where it is: only the middle weight is raised.",
            "{eq}`architectures-residual`",
        ),
        Mistake(
            "v and the identity stand in the corner of the filter",
            in_a_corner,
            "With a frame that keeps the size, the pixel itself is met by the weight in the middle.",
            "{eq}`architectures-one-by-one`",
        ),
        Mistake(
            "v is transposed",
            lambda w, b, v, d: one_layer(w, b, v.T, d),
            "Weights are (out, in) in v as in w, so the two are added as they are.",
            "{eq}`architectures-one-by-one`",
        ),
        Mistake(
            "the biases of the convolution of 1 × 1 are left out",
            lambda w, b, v, d: one_layer(w, b, v, 0 * d),
            "Both branches have biases, and both are added.",
            "{eq}`architectures-one-by-one`",
        ),
        Mistake(
            "the convolution of 1 × 1 is left out",
            lambda w, b, v, d: one_layer(w, b, 0 * v, d),
            "A filter of 1 × 1 is one of U × V that is zero around its middle.",
            "{eq}`architectures-one-by-one`",
        ),
    ),
    hints=(
        "Each of the three terms is a convolution. What are the filters of the second and of the third?",
        "A filter of 1 × 1, with zeros around it; and x itself, with weight 1 from each channel to itself.",
        "Add v + np.eye(C) to the middle, w[:, :, U // 2, V // 2], and d to b.",
    ),
    used="It merges {eq}`architectures-residual` without its rectifier; with one in the branch nothing can be merged.",
    right=(layer_by_padding, layer_by_impulses, layer_compiled),
    others=(
        (lambda *a: one_layer(*a)[::-1], "the results are returned in the reverse order"),
        (lambda *a: tuple(-f for f in one_layer(*a)), "every number has the opposite sign"),
        (lambda *a: one_layer(*a)[0], "wrong type or shape"),
        (lambda w, b, v, d: one_layer(w, b + 0.01, v, d), "wrong"),
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
    "stay below it.",
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
    used="It is why {eq}`training-batchnorm`, once a network is trained, costs nothing: "
    "its running mean and variance become part of the convolution.",
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
    """Two blocks whose gains are 1 and 3; then longer chains."""
    yield (np.array([1.0, 3.0]),)
    for l in sizes(rng, 4, least=3, most=8):
        yield (rng.uniform(0.1, 2, l),)


def mean_length(a):
    return np.sum(a / (1 + a))


def length_by_paths(a):
    """Enumerate all paths; each weighs the product of the gains that it meets."""
    total = weighed = 0.0
    for taken in itertools.product((0, 1), repeat=len(a)):
        weight = math.prod(g for g, t in zip(a, taken, strict=True) if t)
        total, weighed = total + weight, weighed + weight * sum(taken)
    return weighed / total


def length_by_polynomial(a):
    found = np.ones(1)
    for gain in a:
        found = np.convolve(found, [1, gain])
    return found @ np.arange(len(found)) / found.sum()


def length_by_a_derivative(a):
    """Return t d/dt log Π (1 + a t) at t = 1, by a complex step."""
    return np.imag(np.sum(np.log(1 + a * (1 + 1e-20j)))) / 1e-20


@njit
def length_compiled(a):
    found = 0.0
    for l in range(a.size):
        found += 1 - 1 / (1 + a[l])
    return found


LENGTH = Exercise(
    label="architectures-length",
    task="Write `mean_length(a)`: branches on a path of a chain of blocks x + a x, each path weighing its gain.",
    reference=mean_length,
    axes="(l) -> ()",
    probes=length_probes,
    mistakes=(
        Mistake(
            "all paths weigh the same",
            lambda a: len(a) / 2,
            "A path contributes the product of the gains of the branches that it takes.",
            "{eq}`architectures-paths`",
        ),
        Mistake(
            "the gains are added",
            lambda a: np.sum(a),
            "A gain is not a probability. A block is taken by a share a of 1 + a.",
            "{eq}`architectures-paths`",
        ),
        Mistake(
            "the sum is not divided by the weight of all paths",
            lambda a: mean_length(a) * np.prod(1 + a),
            "The weights add up to the product of all 1 + a, and a mean is divided by it.",
            "{eq}`architectures-paths`",
        ),
        Mistake(
            "all blocks have the mean gain",
            lambda a: len(a) * a.mean() / (1 + a.mean()),
            "a / (1 + a) is not linear: its mean is not what it is at the mean.",
            "{eq}`architectures-paths`",
        ),
        Mistake(
            "the path round all blocks is left out",
            lambda a: mean_length(a) / (1 - 1 / np.prod(1 + a)),
            "Going round every block is a path as well: its product is empty, and is one.",
            "{eq}`architectures-paths`",
        ),
        Mistake(
            "the blocks that are gone round are counted",
            lambda a: np.sum(1 / (1 + a)),
            "1 / (1 + a) is the share of the paths that leave a block out.",
            "{eq}`architectures-paths`",
        ),
    ),
    hints=(
        "Of all that comes through the chain, which share goes through branch l?",
        "Multiply out in l only: the product has a factor 1 + a, of which a belongs to the branch.",
        "A mean of a sum is the sum of the means: add up the shares of all branches.",
    ),
    used="It weighs the paths of {eq}`architectures-paths` by what they carry.",
    right=(length_by_paths, length_by_polynomial, length_by_a_derivative, length_compiled),
    others=(
        (lambda a: -mean_length(a), "every number has the opposite sign"),
        (lambda a: a / (1 + a), "wrong type or shape"),
        (lambda a: mean_length(a) + 0.5, "wrong"),
    ),
)


# Break this line


BREAK = Choice(
    label="architectures-break",
    task="In `rectified_backward` the channels of a branch are taken from 0 on. Name the letters of all that is wrong.",
    right="bdf",
    wrong={
        "a": "(a) goes forward, and the line is in the way back.",
        "c": "(c) belongs to the branch whose channels are the first: for it the line is right.",
        "e": "(e) has no channels of others beside its own, and `first` is 0 there.",
    },
    missing="Every branch whose channels do not come first gets the errors of others. What is made of them?",
    hints=(
        "Which of the calls of `rectified_backward` have a `first` that is not 0?",
        "Those for the last layers of three branches. Their own gradients are wrong, and what do they hand down?",
        "Filters and biases of these branches, and the sum over all branches: the gradient of the input.",
    ),
    used="{eq}`architectures-inception-backward`: what was put side by side has to be taken apart at the same places.",
)


EXERCISES = (WINDOW, MERGE, STAGE, EVEN, BACK, FOLD, LENGTH, BREAK)
