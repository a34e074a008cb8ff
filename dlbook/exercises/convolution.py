"""Exercises of the chapter on convolution.

Page: ``book/convolution.md``. Axes: n images, c channels and k filters, h and w rows and columns
of an image, i and j of an output, u and v of a filter, as in the chapter.
"""
# ruff: noqa: E741

import numpy as np

from dlbook import convolution as chapter
from dlbook.exercises.forms import Choice, Exercise, Mistake, sizes
from dlbook.tools.jit import njit

__all__ = ["EXERCISES"]


# A network by hand


def parameters(first=1, second=6, sides=5, bias=1):
    """Return the parameters of two layers of 5 × 5 filters and three dense ones."""
    filters = (25 * first + bias) * 6 + (25 * second + bias) * 16
    dense = ((16 * sides**2, 120), (120, 84), (84, 10))
    return filters + sum((n + bias) * m for n, m in dense)


def parameters_by_kernels():
    side = 32
    for window, step in ((5, 1), (2, 2), (5, 1), (2, 2)):
        side = chapter.output_size(side, window, step)
    filters = chapter.conv_parameters(5, 1, 6) + chapter.conv_parameters(5, 6, 16)
    dense = ((16 * side**2, 120), (120, 84), (84, 10))
    return filters + sum(chapter.dense_parameters(n, m) for n, m in dense)


def parameters_by_arrays():
    shapes = ((6, 1, 5, 5), (16, 6, 5, 5), (120, 400), (84, 120), (10, 84))
    return sum(np.zeros(shape).size + shape[0] for shape in shapes)


def parameters_in_single():
    return np.float32(156 + 2416 + 48120 + 10164 + 850)


LENET = Exercise(
    label="convolution-lenet",
    task="Give the number of parameters: 6 and 16 filters of 5 × 5 with pooling, then 120, 84 and 10 outputs.",
    reference=parameters,
    axes="-> ()",
    mistakes=(
        Mistake(
            "the second layer's filters see one channel",
            lambda: parameters(second=1),
            "What comes in has six channels, one for each filter of the first layer.",
            "{eq}`convolution-parameters`",
        ),
        Mistake(
            "the biases are left out",
            lambda: parameters(bias=0),
            "Each filter and each dense output has a bias of its own.",
            "{eq}`convolution-dense-parameters`",
        ),
        Mistake(
            "the images keep their size in a convolution",
            lambda: parameters(sides=8),
            "There is no frame: 32 pixels have room for 28 places of a filter of 5.",
            "{eq}`convolution-output-size`",
        ),
        Mistake(
            "pooling does not make the images smaller",
            lambda: parameters(sides=24),
            "Windows of 2 × 2 with stride 2 leave half of the rows and half of the columns.",
            "{eq}`convolution-output-size`",
        ),
        Mistake(
            "only the filters are counted",
            lambda: 156 + 2416,
            "The three dense layers behind them have parameters too, and most of them.",
            "{eq}`convolution-dense-parameters`",
        ),
        Mistake(
            "only the dense layers are counted",
            lambda: parameters() - 156 - 2416,
            "The two layers of filters have parameters too.",
            "{eq}`convolution-parameters`",
        ),
        Mistake(
            "the dense layer sees one number for each channel",
            lambda: parameters(sides=1),
            "The last maps have 25 places, and each of them goes in.",
            "{eq}`convolution-output-size`",
        ),
    ),
    hints=(
        "Go through the sizes first: which side do the images have after each layer?",
        "The sides are 32, 28, 14, 10 and 5, so that 16 · 25 numbers reach the first dense layer.",
        "156 and 2416 for the filters, then (n + 1) m for 400 to 120, 120 to 84 and 84 to 10.",
    ),
    used="It takes {eq}`convolution-output-size`, {eq}`convolution-parameters` and "
    "{eq}`convolution-dense-parameters`, the three formulas that every table of layers is made of.",
    right=(parameters_by_kernels, parameters_by_arrays, parameters_in_single),
    others=(
        (lambda: -parameters(), "every number has the opposite sign"),
        (lambda: 60_000, "wrong"),
        (lambda: np.array([parameters()]), "wrong type or shape"),
    ),
)


# The gradient by turning round


def turned_probes(rng):
    """Two errors and a filter of two; then several channels, and no two sizes equal."""
    yield np.array([[[1.0, 2.0]]]), np.array([[[[3.0, 5.0]]]])
    for _ in range(4):
        k, c, i, j, u, v = sizes(rng, 6, most=7)
        yield rng.normal(size=(k, i, j)), rng.normal(size=(k, c, u, v))


def back(dz, w):
    """Return the derivative with respect to one image, from the literal kernel."""
    H, W = dz.shape[1] + w.shape[2] - 1, dz.shape[2] + w.shape[3] - 1
    return chapter.conv_dx(dz[None], w, H, W, (1, 1), (1, 1), 1)[0]


def by_turning(dz, w):
    c, rim = w.shape[1], (w.shape[2] - 1, w.shape[3] - 1)
    wide = np.pad(dz, ((0, 0), (rim[0], rim[0]), (rim[1], rim[1])))
    turned = np.ascontiguousarray(w[:, :, ::-1, ::-1].transpose(1, 0, 2, 3))
    return chapter.multichannel(wide[None], turned, np.zeros(c, w.dtype))[0]


def by_full_convolution(dz, w):
    rows = dz.shape[1] + w.shape[2] - 1, dz.shape[2] + w.shape[3] - 1
    dx = np.zeros((w.shape[1], *rows))
    for u in range(w.shape[2]):
        for v in range(w.shape[3]):
            share = np.tensordot(w[:, :, u, v], dz, (0, 0))
            dx[:, u : u + dz.shape[1], v : v + dz.shape[2]] += share
    return dx


@njit
def by_loops(dz, w):
    (K, I, J), (_, C, U, V) = dz.shape, w.shape
    dx = np.zeros((C, I + U - 1, J + V - 1), dz.dtype)
    for c in range(C):
        for h in range(I + U - 1):
            for p in range(J + V - 1):
                for k in range(K):
                    for u in range(max(0, h - I + 1), min(U, h + 1)):
                        for v in range(max(0, p - J + 1), min(V, p + 1)):
                            dx[c, h, p] += w[k, c, u, v] * dz[k, h - u, p - v]
    return dx


TURNED = Exercise(
    label="convolution-turned",
    task="Write `turned(dz, w)`: ∂C/∂x for one image and stride 1, from ∂C/∂z and the filters.",
    reference=back,
    axes="(k i j), (k c u v) -> (c h w)",
    probes=turned_probes,
    mistakes=(
        Mistake(
            "the filters are not turned round",
            lambda dz, w: back(dz, w[:, :, ::-1, ::-1]),
            "At the first pixel only the first weight has ever been used, and in your sum it is the last.",
            "{eq}`convolution-flip`",
        ),
        Mistake(
            "the filters are turned upside down only",
            lambda dz, w: back(dz, w[:, :, :, ::-1]),
            "Both conditions, i = h − u and j = w − v, turn their axis round.",
            "{eq}`convolution-conv-dx`",
        ),
        Mistake(
            "the filters are turned from left to right only",
            lambda dz, w: back(dz, w[:, :, ::-1]),
            "Both conditions, i = h − u and j = w − v, turn their axis round.",
            "{eq}`convolution-conv-dx`",
        ),
        Mistake(
            "the channels are turned round as well",
            lambda dz, w: back(dz, w[:, ::-1]),
            "Channels change places as axes, k for c; their order stays.",
            "{eq}`convolution-conv-dx`",
        ),
        Mistake(
            "the order of the filters is turned round as well",
            lambda dz, w: back(dz, w[::-1]),
            "Filter k belongs to error k; only rows and columns are turned.",
            "{eq}`convolution-conv-dx`",
        ),
        Mistake(
            "the errors are turned round",
            lambda dz, w: back(dz[:, ::-1, ::-1], w),
            "It is the filter that runs backwards. The error stays where it arose.",
            "{eq}`convolution-conv-dx`",
        ),
    ),
    hints=(
        "How large must the frame around dz be, so that what comes out has the size of x?",
        "U − 1 rows and V − 1 columns at either side. Then exchange the axes k and c of the filters.",
        "`w[:, :, ::-1, ::-1].transpose(1, 0, 2, 3)`, and `multichannel` without biases.",
    ),
    used="It is {eq}`convolution-conv-dx` for stride 1, written as {eq}`convolution-multichannel`: the way back "
    "through a convolution is a convolution.",
    right=(by_turning, by_full_convolution, by_loops),
    others=(
        (lambda dz, w: -back(dz, w), "every number has the opposite sign"),
        (lambda dz, w: 2 * back(dz, w), "every number is 2 times what it should be"),
        (lambda dz, w: back(dz, w)[:, 1:, 1:], "wrong type or shape"),
        (lambda dz, w: back(dz, w) + 0.01, "wrong"),
    ),
)


# Separable filters


def separable_probes(rng):
    """A filter whose singular vectors are round; then several with one strong direction."""
    yield (np.array([[3.0, 0.0], [4.0, 5.0]]),)
    for _ in range(5):
        u, v = sizes(rng, 2, least=3, most=8)
        p, q = rng.uniform(0.5, 1.5, u), rng.uniform(0.5, 1.5, v)
        yield (2 * np.outer(p, q) + 0.5 * rng.normal(size=(u, v)),)


def pairs(w):
    """Return the parts of a filter, each of rank one, the largest first."""
    left, size, right = np.linalg.svd(w, full_matrices=False)
    return [s * np.outer(left[:, k], right[k]) for k, s in enumerate(size)]


def nearest(w):
    return pairs(w)[0]


def nearest_by_projection(w):
    p = np.linalg.eigh(w @ w.T)[1][:, -1]
    return np.outer(p, p @ w)


def nearest_by_turns(w):
    """Solve for p and for q by turns."""
    q = w.sum(axis=0)
    for _ in range(200):
        p = w @ q / (q @ q)
        q = p @ w / (p @ p)
    return np.outer(p, q)


@njit
def nearest_compiled(w):
    left, size, right = np.linalg.svd(w)
    found = np.empty_like(w)
    for u in range(w.shape[0]):
        for v in range(w.shape[1]):
            found[u, v] = size[0] * left[u, 0] * right[0, v]
    return found


SEPARABLE = Exercise(
    label="convolution-separable",
    task="Write `separable(w)`: the filter p_u q_v that is nearest to w in the sum of squares.",
    reference=nearest,
    axes="(u v) -> (u v)",
    probes=separable_probes,
    mistakes=(
        Mistake(
            "the singular value is left out",
            lambda w: nearest(w) / np.linalg.norm(w, 2),
            "The two singular vectors have length 1; their product must be as large as the singular value.",
            "{ref}`ex-convolution-separable`",
        ),
        Mistake(
            "this is what is left over",
            lambda w: w - nearest(w),
            "The approximation is asked for. What you return is its error.",
            "{ref}`ex-convolution-separable`",
        ),
        Mistake(
            "the smallest singular value is taken",
            lambda w: pairs(w)[-1],
            "That is the part that matters least. NumPy sorts singular values from large to small.",
            "{ref}`ex-convolution-separable`",
        ),
        Mistake(
            "row sums times column sums",
            lambda w: np.outer(w.sum(axis=1), w.sum(axis=0)) / w.sum(),
            "That is right for a filter of rank one. For others it keeps the sums and is not the nearest.",
            "{ref}`ex-convolution-separable`",
        ),
        Mistake(
            "the first row and the first column are continued",
            lambda w: np.outer(w[:, 0], w[0]) / w[0, 0],
            "That is right for a filter of rank one. For others it hangs on one row and one column.",
            "{ref}`ex-convolution-separable`",
        ),
        Mistake(
            "the two largest parts are kept",
            lambda w: sum(pairs(w)[:2]),
            "With two parts the filter has rank 2 and needs two pairs of passes.",
            "{ref}`ex-convolution-separable`",
        ),
    ),
    hints=(
        "A filter p_u q_v is a matrix of rank one.",
        "The nearest matrix of rank one comes from the singular value decomposition: `np.linalg.svd`.",
        "Largest singular value times the first column of the left factor times the first row of the right.",
    ),
    used="Two passes of {eq}`convolution-multichannel` with p and with q cost U + V multiplications for a pixel "
    "instead of U · V.",
    right=(nearest_by_projection, nearest_by_turns, nearest_compiled),
    others=(
        (lambda w: -nearest(w), "every number has the opposite sign"),
        (lambda w: nearest(w).T, "the result is transposed"),
        (lambda w: nearest(w) + 0.01, "wrong"),
    ),
)


# Average pooling as a convolution


def average_probes(rng):
    """Four pixels; then images with channels, windows of two and of three."""
    yield np.array([[[[1.0, 3.0], [2.0, 0.0]]]]), 2
    for size in (2, 3, 2, 3):
        n, c = sizes(rng, 2, most=3)
        h, w = sizes(rng, 2, least=6, most=9)
        yield rng.normal(size=(n, c, h, w)), size


def average(x, size):
    return chapter.pool_average(x, (size, size), (size, size))


def average_by_filters(x, size):
    C = x.shape[1]
    weights = np.full((C, 1, size, size), 1 / size**2, x.dtype)
    return chapter.conv2d(x, weights, stride=size, groups=C)


def average_by_reshaping(x, size):
    N, C, H, W = x.shape
    I, J = H // size, W // size
    tiles = x[:, :, : I * size, : J * size].reshape(N, C, I, size, J, size)
    return tiles.mean(axis=(3, 5))


@njit
def average_compiled(x, size):
    N, C, H, W = x.shape
    y = np.zeros((N, C, H // size, W // size), x.dtype)
    for n in range(N):
        for c in range(C):
            for i in range(H // size):
                for j in range(W // size):
                    for u in range(size):
                        for v in range(size):
                            y[n, c, i, j] += x[n, c, i * size + u, j * size + v]
    return y / size**2


def same_for_all(value, x):
    """Return one map for each image, given to all channels."""
    return np.repeat(value, x.shape[1], axis=1)


AVERAGE = Exercise(
    label="convolution-average",
    task="Write `average(x, size)`: average pooling with windows of size × size, by one call of `conv2d`.",
    reference=average,
    axes="(n c h w), () -> (n c i j)",
    probes=average_probes,
    mistakes=(
        Mistake(
            "the channels are added up",
            lambda x, size: same_for_all(average(x, size).sum(axis=1, keepdims=True), x),
            "A filter over all channels adds what they say. Which knob gives each channel a filter of its own?",
            "{eq}`convolution-conv`",
        ),
        Mistake(
            "the mean is taken over the channels as well",
            lambda x, size: same_for_all(average(x, size).mean(axis=1, keepdims=True), x),
            "Each channel is pooled by itself. Which knob keeps them apart?",
            "{eq}`convolution-avg-pool`",
        ),
        Mistake(
            "the windows are added up",
            lambda x, size: average(x, size) * size**2,
            "The mean divides by the number of pixels of a window.",
            "{eq}`convolution-avg-pool`",
        ),
        Mistake(
            "the weights are 1 / size",
            lambda x, size: average(x, size) * size,
            "A window has size · size pixels.",
            "{eq}`convolution-avg-pool`",
        ),
        Mistake(
            "one pixel of each window is kept",
            lambda x, size: x[:, :, ::size, ::size][
                :, :, : x.shape[2] // size, : x.shape[3] // size
            ],
            "That is a stride without a filter. All pixels of the window have a share in the mean.",
            "{eq}`convolution-avg-pool`",
        ),
        Mistake(
            "this is max pooling",
            lambda x, size: chapter.pool_max(x, (size, size), (size, size)),
            "The mean is asked for. A maximum is not linear, and no filter computes it.",
            "{eq}`convolution-max-pool`",
        ),
    ),
    hints=(
        "The mean of a window is a sum of products with weights that are all equal.",
        "The windows do not overlap: the stride is their size. And each channel needs a filter of its own.",
        "Filters of shape (C, 1, size, size), all 1 / size², with stride=size and groups=C.",
    ),
    used="{eq}`convolution-avg-pool` is {eq}`convolution-conv` with one group for each channel; max pooling is no "
    "convolution at all.",
    right=(average_by_filters, average_by_reshaping, average_compiled),
    others=(
        (lambda x, size: -average(x, size), "every number has the opposite sign"),
        (lambda x, size: average(x, size)[0], "wrong type or shape"),
        (lambda x, size: average(x, size) + 0.01, "wrong"),
    ),
)


# A frame for any stride


def frame_probes(rng):
    """One image by hand; then several widths, with filters narrower and wider than the stride."""
    yield np.array([10.0]), 3, 2, 1
    steps = ((1, 3, 1), (5, 2, 2), (2, 4, 1), (3, 3, 3), (4, 1, 2), (7, 5, 1))
    for n, (window, stride, dilation) in zip(sizes(rng, 6, most=9), steps, strict=True):
        yield rng.integers(5, 40, n).astype(float), window, stride, dilation


def frame(W, F, S, D):
    return np.maximum((np.ceil(W / S) - 1) * S + D * (F - 1) + 1 - W, 0)


def frame_by_trying(W, F, S, D):
    found = np.zeros_like(W)
    for n, width in enumerate(W.astype(int)):
        wanted = len(range(0, width, S))
        while len(range(0, width + int(found[n]) - D * (F - 1), S)) < wanted:
            found[n] += 1
    return found


def frame_by_the_rest(W, F, S, D):
    rest = W % S
    rest[rest == 0] = S
    missing = D * (F - 1) + 1 - rest
    return np.where(missing > 0, missing, 0.0)


@njit
def frame_compiled(W, F, S, D):
    found = np.zeros_like(W)
    for n in range(W.size):
        last = (np.ceil(W[n] / S) - 1) * S + D * (F - 1)
        if last > W[n] - 1:
            found[n] = last - (W[n] - 1)
    return found


FRAME = Exercise(
    label="convolution-frame",
    task="Write `frame(W, F, S, D)`: the fewest zeros, both ends together, with which ⌈W/S⌉ places fit.",
    reference=frame,
    axes="(n), (), (), () -> (n)",
    probes=frame_probes,
    mistakes=(
        Mistake(
            "the stride is left out",
            lambda W, F, S, D: np.full_like(W, D * (F - 1)),
            "That keeps the size at stride 1. With larger strides the last place may end before the border.",
            "{eq}`convolution-output-size`",
        ),
        Mistake(
            "the number may be below zero",
            lambda W, F, S, D: (np.ceil(W / S) - 1) * S + D * (F - 1) + 1 - W,
            "Where the filter is narrower than the stride, pixels are left over and no zeros are needed.",
            "{eq}`convolution-output-size`",
        ),
        Mistake(
            "the dilation is left out",
            lambda W, F, S, D: frame(W, F, S, 1),
            "A filter of F weights spans D (F − 1) + 1 pixels.",
            "{eq}`convolution-output-size`",
        ),
        Mistake(
            "the number of places is rounded down",
            lambda W, F, S, D: np.maximum((np.floor(W / S) - 1) * S + D * (F - 1) + 1 - W, 0),
            "⌈W/S⌉ is asked for: as many as there are multiples of S among 0, …, W − 1.",
            "{eq}`convolution-output-size`",
        ),
        Mistake(
            "the zeros of one end are counted",
            lambda W, F, S, D: frame(W, F, S, D) // 2,
            "Both ends together are asked for: the number may be odd, and then the ends differ.",
            "{eq}`convolution-output-size`",
        ),
        Mistake(
            "one pixel too few: the span is taken as D (F − 1)",
            lambda W, F, S, D: np.maximum((np.ceil(W / S) - 1) * S + D * (F - 1) - W, 0),
            "From the first weight to the last it is D (F − 1) steps, which are D (F − 1) + 1 pixels.",
            "{eq}`convolution-output-size`",
        ),
    ),
    hints=(
        "Where does the last of the ⌈W/S⌉ places begin, and where does the filter end there?",
        "It begins at (⌈W/S⌉ − 1) S and ends D (F − 1) pixels further on. How many pixels are there?",
        "(⌈W/S⌉ − 1) S + D (F − 1) + 1 − W, and zero where that is negative.",
    ),
    used="It inverts {eq}`convolution-output-size`; programs that offer a padding called same pad by it.",
    right=(frame_by_trying, frame_by_the_rest, frame_compiled),
    others=(
        (lambda W, F, S, D: -frame(W, F, S, D), "every number has the opposite sign"),
        (lambda W, F, S, D: np.sum(frame(W, F, S, D)), "wrong type or shape"),
        (lambda W, F, S, D: frame(W, F, S, D) + 1, "wrong"),
    ),
)


# Break this line


BREAK = Choice(
    label="convolution-break",
    task="In `conv` the line `first = k * G // K * C` becomes `first = 0`. Name the letters of all equations that fail.",
    right="abc",
    wrong={
        "d": "(d) is the sum of the errors; which channels a filter saw does not matter to its bias.",
        "e": "(e) goes back through `conv_dx`, which has a line of its own, and with one group.",
        "f": "(f) has no groups: the patches hold all channels.",
    },
    missing="An oracle that differentiates `conv` is as wrong as `conv`. Whose check uses it, and for which weights does "
    "it matter?",
    hints=(
        "Which cells of the page call `conv`? It also serves as an oracle.",
        "The gradients are held against the complex step through `conv`, with two groups.",
        "The output itself, and its derivatives with respect to the filters and the input.",
    ),
    used="{eq}`convolution-conv` with G = 2; with one group the line is zero anyway, and a check without groups would "
    "have seen nothing.",
)


EXERCISES = (LENET, TURNED, SEPARABLE, AVERAGE, FRAME, BREAK)
