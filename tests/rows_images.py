"""Rows of the registry: convolution, pooling and what else is done to images, channels last."""

import numpy as np
from registry import FEW, NONE_OR_FEW, row, wide

from dlbook import autoencoders as ae
from dlbook import convolution as cv
from dlbook import vision
from dlbook.fast import conv, images, lines, patches, pool, winograd
from dlbook.tools.simd import TILES

NONE = np.zeros(0)


def first(x):
    """Return images with channels first, in float64."""
    return np.ascontiguousarray(wide(x).transpose(0, 3, 1, 2))


def last(x):
    return np.ascontiguousarray(x.transpose(0, 2, 3, 1))


# Convolution, by the three ways that it has

KINDS = {"patches": conv.Patches, "direct": conv.Direct, "winograd": conv.Winograd}
IMAGES = {"n": (1, 2, 3, 5), "h": (1, 4, 5, 8, 9, 19), "w": (1, 4, 5, 7, 8, 13)}
CHANNELS = (1, 2, 3, 7, 8, 9, 16, 17, 33)
PATCHES = IMAGES | {"c": CHANNELS, "k": CHANNELS, "u": (1, 2, 3), "v": (1, 2, 3), "p": (0, 1, 2),
                    "s": (1, 2, 3), "t": (1, 2), "dil": (1, 2), "g": (1, 2, 3)}  # fmt: skip
DIRECT = IMAGES | {"c": CHANNELS, "k": CHANNELS, "u": (1, 2, 3, 5), "v": (2, 3, 4), "p": (0, 1, 2)}
DIRECT |= {"dil": (1, 2)}
WINOGRAD = IMAGES | {"c": (8, 9, 16, 17, 33), "k": (8, 9, 16, 17, 33), "p": (0, 1, 2)}
WAYS = {"patches": PATCHES, "direct": DIRECT, "winograd": WINOGRAD}
LARGE = {
    "patches": {
        "n": 5,
        "h": 40,
        "w": 40,
        "c": 8,
        "k": 8,
        "u": 3,
        "v": 3,
        "p": 1,
        "s": 1,
        "t": 1,
        "dil": 1,
        "g": 2,
    },
    "direct": {"n": 5, "h": 60, "w": 60, "c": 4, "k": 33, "u": 5, "v": 4, "p": 1, "dil": 1},
    "winograd": {"n": 5, "h": 41, "w": 40, "c": 33, "k": 17, "p": 1},
}


def guarded(d, memory):
    """Return the same memory between guards, full of NaN but for what is none."""
    found = {}
    for key, part in memory._asdict().items():
        if isinstance(part, np.ndarray):
            part = (d.zeros if key == "none" else d.empty)(*part.shape)
        found[key] = guarded(d, part) if isinstance(part, tuple) else part
    return type(memory)(**found)


class Layer:
    """A layer drawn for some sizes: arrays, settings, memory between guards that holds NaN."""

    def __init__(self, d, way, n, h, w, c, k, p, u=3, v=3, s=1, t=1, dil=1, g=1):
        q = int(d.rng.integers(p + 1)) if way == "patches" else min(p, v - 1)
        p = min(p, (u - 1) * dil) if way == "direct" else p
        across = 1 if way == "direct" else dil
        self.how = (s, t), (p, q), (dil, across), g
        h, w = max(h, dil * (u - 1) + 1), max(w, across * (v - 1) + 1)
        c, k = c * g, k * g
        i, j = (h + 2 * p - dil * (u - 1) - 1) // s + 1, (w + 2 * q - across * (v - 1) - 1) // t + 1
        self.images, self.filters, self.out = (n, h, w, c), (k, c // g, u, v), (n, i, j, k)
        large = (
            (n + 2, *self.images[1:]),
            self.filters,
            (n + 2, *self.out[1:]),
        )  # and a smaller batch
        found = conv.memory(
            *(large if d.rng.random() < 0.3 else (self.images, *large[1:2], self.out)),
            self.how,
            d.dtype,
        )
        if not isinstance(found, KINDS[way]):  # float64, or one of the others does it
            found = conv._patch_memory(self.images, self.filters, self.out, self.how, 1, d.dtype)
        self.memory, self.d = guarded(d, found), d

    def padded(self, x):
        (p, q) = self.how[1]
        return np.pad(first(x), ((0, 0), (0, 0), (p, p), (q, q)))

    def forward(self, x, w, b):
        stride, _, dilation, G = self.how
        return last(cv.conv(self.padded(x), wide(w), wide(b), stride, dilation, G))

    def dx(self, dz, w):
        (stride, (p, q), dilation, G), (_, H, W, _) = self.how, self.images
        dx = cv.conv_dx(first(dz), wide(w), H + 2 * p, W + 2 * q, stride, dilation, G)
        return last(dx[:, :, p : p + H, q : q + W])

    def dw(self, dz, x):
        (stride, _, dilation, G), (_, _, U, V) = self.how, self.filters
        return cv.conv_dw(first(dz), self.padded(x), U, V, stride, dilation, G)


def enter(way, dtypes, rtol):
    """Enter the four directions of one way."""
    how = {"dtypes": dtypes, "rtol": rtol, "of": way, **WAYS[way]}
    if way == "winograd":
        how["nan"] = "36 numbers share a NaN, where the literal form has nine"
    if way != "winograd":
        how["nan"] = "whole tiles read what zeros are multiplied with"

    @row(conv.forward, **how, threads=LARGE[way])
    def _(d, **sizes):
        layer = Layer(d, way, **sizes)
        x, w, b = d.normal(*layer.images), d.normal(*layer.filters), d.normal(layer.filters[0])
        return (x, w, b, layer.how, layer.memory, d.empty(*layer.out)), {
            "z": layer.forward(x, w, b)
        }

    @row(conv.backward, **how, inputs=(1, 0), threads=LARGE[way] | {"inputs": 1})
    def _(d, inputs, **sizes):
        layer = Layer(d, way, **sizes)
        dz, x, w = d.normal(*layer.out), d.normal(*layer.images), d.normal(*layer.filters)
        expected = {"dw": layer.dw(dz, x), "db": wide(dz).sum(axis=(0, 1, 2))}
        dx = d.empty(*layer.images) if inputs else None
        expected |= {"dx": layer.dx(dz, w)} if inputs else {}
        into = dx, d.empty(*layer.filters), d.empty(layer.filters[0])
        return (dz, x, w, layer.how, layer.memory, *into), expected

    @row(conv.adjoint, **how, threads=LARGE[way])
    def _(d, **sizes):
        layer = Layer(d, way, **sizes)
        dz, w, b = d.normal(*layer.out), d.normal(*layer.filters), d.normal(layer.images[3])
        dx = layer.dx(dz, w) + wide(b)
        return (dz, w, b, layer.how, layer.memory, d.empty(*layer.images)), {"dx": dx}

    @row(conv.adjoint_backward, **how, inputs=(1, 0), threads=LARGE[way] | {"inputs": 1})
    def _(d, inputs, **sizes):
        layer = Layer(d, way, **sizes)
        dz, x, w = d.normal(*layer.images), d.normal(*layer.out), d.normal(*layer.filters)
        expected = {"dw": layer.dw(x, dz), "db": wide(dz).sum(axis=(0, 1, 2))}
        dx = d.empty(*layer.out) if inputs else None
        expected |= {"dx": layer.forward(dz, w, np.zeros(layer.filters[0]))} if inputs else {}
        into = dx, d.empty(*layer.filters), d.empty(layer.images[3])
        return (dz, x, w, layer.how, layer.memory, *into), expected


enter("patches", ("float32", "float64"), {"float32": 2e-5})
enter("direct", ("float32", "float64"), {"float32": 2e-5})
enter("winograd", ("float32",), {"float32": 1e-4})


@row(
    conv.bias_gradient,
    n=NONE_OR_FEW,
    i=FEW,
    j=FEW,
    k=FEW,
    threads={"n": 8, "i": 300, "j": 100, "k": 3},
)
def _(d, n, i, j, k):
    dz = d.normal(n, i, j, k)
    return (dz, d.empty(k)), {"db": cv.conv_db(first(dz))}


@row(patches.bias_gradient_into, n=(0, 1, 5, 37), k=(0, 1, 7, 33))
def _(d, n, k):
    dz = d.normal(n, k)
    return (dz, d.empty(k)), {"db": wide(dz).sum(axis=0)}


def a_gathering(d, n, h, w, c, u, v, p, q, s, t, dil, acr):
    """Draw images and which of their lines are gathered: (x, channel, line, how, J), and all rows."""
    h, w = max(h, dil * (u - 1) + 1), max(w, acr * (v - 1) + 1)
    how = u, v, s, t, p, q, dil, acr
    i, j = (h + 2 * p - dil * (u - 1) - 1) // s + 1, (w + 2 * q - acr * (v - 1) - 1) // t + 1
    x, some = d.normal(n, h, w, c), int(d.rng.integers(1, c + 1))
    channel, line = int(d.rng.integers(c - some + 1)), int(d.rng.integers(n * i))
    count = int(d.rng.integers(1, n * i - line + 1))
    padded = np.pad(first(x)[:, channel : channel + some], ((0, 0), (0, 0), (p, p), (q, q)))
    rows = cv.patches(padded, u, v, (s, t), (dil, acr)).reshape(n * i * j, some, u * v)
    rows = rows.transpose(0, 2, 1).reshape(n * i, j, -1)[line : line + count]
    return (x, channel, line, how, j), rows.reshape(count * j, u * v * some)


GATHER = {
    "n": FEW,
    "h": FEW,
    "w": (1, 2, 5, 8),
    "c": FEW,
    "u": (1, 2, 3),
    "v": (1, 2, 3),
    "p": (0, 1, 2, 4),
}
GATHER |= {"q": (0, 1, 2, 4), "s": (1, 2, 3), "t": (1, 2, 3), "dil": (1, 2), "acr": (1, 2)}


@row(patches.gather_patches, **GATHER)
def _(d, **sizes):
    given, rows = a_gathering(d, **sizes)
    return (*given, d.empty(*rows.shape)), {"p": rows}


@row(patches.scatter_patches, **GATHER)
def _(d, **sizes):
    (x, *where), rows = a_gathering(d, **sizes)
    dp = d.normal(*rows.shape)
    expected = wide(x)
    places = np.arange(1.0, x.size + 1).reshape(x.shape)  # what is gathered says where it came from
    channel, line, (U, V, S, T, P, Q, D, E), J = where
    some = rows.shape[1] // (U * V)
    padded = np.pad(first(places)[:, channel : channel + some], ((0, 0), (0, 0), (P, P), (Q, Q)))
    at = cv.patches(padded, U, V, (S, T), (D, E)).reshape(-1, some, U * V).transpose(0, 2, 1)
    at = at.reshape(-1, J, rows.shape[1])[line : line + len(rows) // J].ravel().astype(int)
    np.add.at(expected.reshape(-1), at[at > 0] - 1, wide(dp).ravel()[at > 0])
    return (dp, *where, x), {"dx": expected}


@row(patches.pack_filters, k=FEW, c=FEW, u=FEW, v=FEW, g=(1, 2, 3))
def _(d, k, c, u, v, g):
    w, share, rows = d.normal(k * g, c, u, v), k, u * v * c
    flat = wide(w).transpose(0, 2, 3, 1).reshape(g, share, rows)
    forth = d.empty(g, -(-share // d.width), rows, d.width)
    back = d.empty(g, -(-rows // d.width), share, d.width)
    expected = {"forth": np.stack([d.in_panels(one.T) for one in flat])}
    expected["back"] = np.stack([d.in_panels(one) for one in flat])
    return (w, forth, back), expected


@row(lines.pack_rows, k=FEW, c=FEW, u=FEW, v=FEW, around=(0, 1))
def _(d, k, c, u, v, around):
    w = d.normal(k, c, u, v)
    turned = wide(w)[:, :, ::-1, ::-1].transpose(2, 3, 0, 1).reshape(-1, c)
    flat = turned if around else wide(w).transpose(2, 3, 1, 0).reshape(-1, k)
    forth = d.in_panels(flat)
    return (w, bool(around), d.empty(*forth.shape)), {"forth": wide(forth)}


# Winograd's five matrices, after A. Lavin & S. Gray, CVPR 2016

AT = np.array(
    [[1, 1, 1, 1, 1, 0], [0, 1, -1, 2, -2, 0], [0, 1, 1, 4, 4, 0], [0, 1, -1, 8, -8, 1.0]]
)
G = np.array([[6, 0, 0], [-4, -4, -4], [-4, 4, -4], [1, 2, 4], [1, -2, 4], [0, 0, 24]]) / 24
BT = np.array([
    [4, 0, -5, 0, 1, 0], [0, -4, -4, 1, 1, 0], [0, 4, -4, -1, 1, 0],
    [0, -2, -1, 2, 1, 0], [0, 2, -1, -2, 1, 0], [0, 4, 0, -5, 0, 1.0],
])  # fmt: skip
WIDTHS = sorted(
    {t.bytes // 4 + k for t in TILES.values() for k in (-1, 0, 1, 5)} | {0, 1, 3, 4, 33}
)


def winograds(kernel, matrix, extra=False):
    """Enter one of the five, for rows that lie further apart than they are long."""

    @row(kernel, dtypes=("float32",), size=WIDTHS, more=(0, 3), nan="sums of two points are shared")
    def _(d, size, more):
        s, t, p, q = size + more, size + 2 * more, more, 2 * more
        (out, into), wanted = matrix.shape, None
        x = d.normal(p + into * s)
        rows = wide(x)[p:].reshape(into, s)[:, :size]
        y = d.empty(q + out * t)
        wanted = wide(y)
        args = x, p, s, y, q, t, size
        if extra:
            bias = d.normal(size)
            args, rows = (*args, bias), rows + np.eye(6)[1][:, None] * wide(bias)
        for o in range(out):
            wanted[q + o * t : q + o * t + size] = matrix[o] @ rows
        written = list(winograd_arguments(kernel))[3]
        return args, {written: wanted}


def winograd_arguments(kernel):
    import inspect

    return inspect.signature(getattr(kernel, "py_func", kernel)).parameters


winograds(winograd.input_values, BT)
winograds(winograd.output_values, AT, extra=True)
winograds(winograd.error_values, AT.T)
winograds(winograd.filter_values, G)
winograds(winograd.filter_values_backward, G.T)


@row(
    winograd.pack_values,
    nan="36 numbers share a NaN of nine",
    dtypes=("float32",),
    scratch="room",
    k=(1, 2, 8, 17, 33),
    c=(1, 3, 8, 16),
    back=(0, 1),
)
def _(d, k, c, back):
    w = d.normal(k, c, 3, 3)
    turned = wide(w)[:, :, ::-1, ::-1].transpose(1, 0, 2, 3) if back else wide(w)
    points = np.einsum("iu,kcuv,jv->ijck", G, turned, G).reshape(36, *turned.shape[1::-1])
    packed = np.stack([wide(d.in_panels(one)) for one in points])
    return (w, bool(back), d.empty(27 * packed[0].size), d.empty(*packed.shape)), {"packed": packed}


@row(winograd.unpack_values, dtypes=("float32",), scratch="room", k=(1, 2, 8, 17), c=(1, 3, 8, 16),
     nan="sums of two points are shared")  # fmt: skip
def _(d, k, c):
    values = d.normal(36, c, k)
    dw = np.einsum("iu,ijck,jv->kcuv", G, wide(values).reshape(6, 6, c, k), G)
    return (values, d.empty(27 * c * k), d.empty(k, c, 3, 3)), {"dw": dw}


# Pooling

POOL = {"n": NONE_OR_FEW, "c": (0, 1, 3, 17), "i": FEW, "j": FEW, "u": (1, 2, 3), "v": (1, 2, 3)}
POOL |= {"s": (1, 2, 3), "t": (1, 2, 3), "more": (0, 1)}


def windows(n, c, i, j, u, v, s, t, more):
    """Return shapes of images and of what windows give; the last pixels may be in none."""
    h, w = (i - 1) * s + u + min(more, s - 1), (j - 1) * t + v + min(more, t - 1)
    return (n, h, w, c), (n, i, j, c), (u, v), (s, t)


def won(x, size, stride, shape):
    """Return which place of each window has its largest number, the first of equal ones."""
    (_N, _I, _J, _C), (U, V), (S, T) = shape, size, stride
    at = np.zeros(shape, np.int64)
    for n, i, j, c in np.ndindex(shape):
        at[n, i, j, c] = np.argmax(wide(x)[n, i * S : i * S + U, j * T : j * T + V, c])
    return at


@row(pool.pool_into, **POOL)
def _(d, **sizes):
    inside, shape, size, stride = windows(**sizes)
    x = d.few(*inside)
    at = won(x, size, stride, shape) if not np.isnan(x).any() else None
    y = last(cv.pool_max(first(x), size, stride))
    args = x, size, stride, d.empty(*shape), d.empty(*shape, dtype=np.int32)
    return args, {"y": y, "at": at}


@row(pool.pool_backward_into, **POOL)
def _(d, **sizes):
    inside, shape, size, stride = windows(**sizes)
    x, dy = d.array(d.rng.integers(-2, 3, size=inside)), d.normal(*shape)
    at = d.array(won(x, size, stride, shape), np.int32)
    dx = last(cv.pool_max_backward(first(dy), first(x), size, stride))
    return (dy, at, size, stride, d.empty(*inside)), {"dx": dx}


@row(pool.pooled_from, **POOL)
def _(d, **sizes):
    inside, shape, size, stride = windows(**sizes)
    x = d.normal(*inside)
    at = d.whole(size[0] * size[1], *shape)
    y = np.zeros(shape)
    for n, i, j, c in np.ndindex(shape):
        u, v = divmod(at[n, i, j, c], size[1])
        y[n, i, j, c] = wide(x)[n, i * stride[0] + u, j * stride[1] + v, c]
    return (x, d.array(at, np.int32), size, stride, d.empty(*shape)), {"y": y}


@row(pool.average_into, **POOL)
def _(d, **sizes):
    inside, shape, size, stride = windows(**sizes)
    x = d.normal(*inside)
    return (x, size, stride, d.empty(*shape)), {"y": last(cv.pool_average(first(x), size, stride))}


@row(pool.average_backward_into, **POOL)
def _(d, **sizes):
    inside, shape, size, stride = windows(**sizes)
    dy = d.normal(*shape)
    dx = last(cv.pool_average_backward(first(dy), *inside[1:3], size, stride))
    return (dy, size, stride, d.empty(*inside)), {"dx": dx}


@row(pool.largest_of_all, n=NONE_OR_FEW, h=FEW, w=FEW, c=(0, 1, 3, 17))
def _(d, n, h, w, c):
    y = d.few(n, h, w, c)
    flat = wide(y).reshape(n, h * w, c)
    at = np.argmax(flat, axis=1) if not np.isnan(flat).any() else None
    features = np.max(flat, axis=1)
    return (y, d.empty(n, c), d.empty(n, c, dtype=np.int64)), {"features": features, "at": at}


@row(pool.largest_backward, n=NONE_OR_FEW, h=FEW, w=FEW, c=(0, 1, 3, 17))
def _(d, n, h, w, c):
    slope, at = d.normal(n, c), d.whole(h * w, n, c)
    dy = vision.max_unpool(wide(slope)[:, :, None, None], at[:, :, None, None], h, w)
    return (slope, at, d.empty(n, h, w, c)), {"dy": last(dy)}


# Larger and moved images

UP = {"n": NONE_OR_FEW, "h": FEW, "w": FEW, "c": (0, 1, 3, 17), "s": FEW}


@row(images.upsample_into, **UP)
def _(d, n, h, w, c, s):
    x = d.normal(n, h, w, c)
    y = last(ae.upsample(first(x))) if s == 2 else wide(x).repeat(s, 1).repeat(s, 2)
    return (x, d.empty(n, s * h, s * w, c)), {"y": y}


@row(images.upsample_backward_into, **UP)
def _(d, n, h, w, c, s):
    dy = d.normal(n, s * h, s * w, c)
    if s == 2:
        dx = last(ae.upsample_backward(first(dy)))
    else:
        dx = wide(dy).reshape(n, h, s, w, s, c).sum(axis=(2, 4))
    return (dy, d.empty(n, h, w, c)), {"dx": dx}


@row(images.place_images, n=NONE_OR_FEW, h=FEW, w=FEW, c=(0, 1, 3))
def _(d, n, h, w, c):
    x, move = d.normal(n, h, w, c), d.array(d.rng.integers(-2, 3, (n, 2)), np.int64)
    moved = [last(cv.translate(first(x[[m]]), *move[m]))[0] for m in range(n)]
    expected = np.reshape(moved, x.shape)
    return (x, move, d.empty(n, h, w, c)), {"images": expected}
