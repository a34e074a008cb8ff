"""Pairs of fast kernels, the way there and the way back, without their literal forms.

Each draws its arguments and returns x, the way there, and the way back: `there(x)` gives y, and
`back(x, dy)` gives Σ dy ∂y/∂x. Both leave x as it is.
"""

import numpy as np

from dlbook.fast import (
    activations,
    attend,
    conv,
    gates,
    images,
    latent,
    looks,
    losses,
    norms,
    patches,
    pool,
    recurrent,
    sequences,
    stack,
)  # fmt: skip
from dlbook.fast.memory import Memory

LINEAR, CURVED = {}, {}


def into(kernel, shape, *args, after=(), dtype=np.float64):
    """Call a kernel that writes into an array of that shape, and return it."""
    out = np.full(shape, np.nan, dtype)
    kernel(*args, out, *after)
    return out


def linear(make):
    LINEAR[make.__name__] = make
    return make


def curved(make):
    CURVED[make.__name__] = make
    return make


# Linear maps, whose way back is their transpose


@linear
def gathered_patches(rng):
    x, how, J = rng.normal(size=(2, 5, 6, 3)), (2, 3, 2, 1, 1, 2, 1, 2), 6
    rows = (2 * 3 * J, 2 * 3 * 2)  # of all lines, of two channels

    def back(x, dy):
        dx = np.zeros(x.shape)
        patches.scatter_patches(dy, 1, 0, how, J, dx)
        return dx

    return x, lambda x: into(patches.gather_patches, rows, x, 1, 0, how, J), back


@linear
def upsampled(rng):
    x = rng.normal(size=(2, 3, 4, 5))
    up = lambda x: into(images.upsample_into, (2, 9, 12, 5), x)
    return x, up, lambda x, dy: into(images.upsample_backward_into, x.shape, dy)


@linear
def averaged(rng):
    x, how = rng.normal(size=(2, 5, 7, 3)), ((2, 3), (1, 2))
    there = lambda x: into(pool.average_into, (2, 4, 3, 3), x, *how)
    return x, there, lambda x, dy: into(pool.average_backward_into, x.shape, dy, *how)


@linear
def taken_from_places(rng):
    x, how = rng.normal(size=(2, 5, 7, 3)), ((2, 3), (1, 2))
    at = rng.integers(0, 6, (2, 4, 3, 3)).astype(np.int32)
    there = lambda x: into(pool.pooled_from, at.shape, x, at, *how)
    return x, there, lambda x, dy: into(pool.pool_backward_into, x.shape, dy, at, *how)


@linear
def looked_up(rng):
    wx, symbols = rng.normal(size=(4, 6)), rng.integers(0, 6, 20)
    turned = np.empty((6, 4))

    def back(wx, dy):
        dwx = np.zeros(wx.shape)
        sequences.look_up_backward_into(dy, symbols, turned, dwx)
        return dwx

    there = lambda wx: into(sequences.look_up_into, (20, 4), symbols, wx, np.zeros(4), turned)
    return wx, there, back


def convolved(which, how, filters):
    """Enter a convolution, by its input or by its filters."""

    def make(rng):
        x, w = rng.normal(size=(3, 7, 8, filters[1] * how[3])), rng.normal(size=filters)
        (S, T), (P, Q), (D, E), _ = how
        sides = (
            (7 + 2 * P - D * (filters[2] - 1) - 1) // S + 1,
            (8 + 2 * Q - E * (filters[3] - 1) - 1) // T + 1,
        )
        out = (3, *sides, filters[0])
        mem = conv.memory(x.shape, w.shape, out, how, "float64")
        forward = lambda x, w: into(conv.forward, out, x, w, np.zeros(w.shape[0]), how, mem)

        def backward(x, w, dz):
            dx, dw = np.full(x.shape, np.nan), np.full(w.shape, np.nan)
            conv.backward(dz, x, w, how, mem, dx, dw, np.empty(w.shape[0]))
            return dx, dw

        if which == "x":
            return x, lambda x: forward(x, w), lambda x, dz: backward(x, w, dz)[0]
        return w, lambda w: forward(x, w), lambda w, dz: backward(x, w, dz)[1]

    make.__name__ = f"convolved by {which}, {how}"
    linear(make)


for way in (((2, 1), (1, 2), (1, 2), 2), ((1, 1), (1, 1), (1, 1), 1)):
    convolved("x", way, (4, 3, 3, 2))
    convolved("w", way, (4, 3, 3, 2))


# The rest, against central differences


def with_copy(kernel, x, *args):
    """Let a kernel write over a copy, and return that."""
    y = x.copy()
    kernel(y, *args)
    return y


def an_activation(name):
    def make(rng):
        pair, z = activations.ACTIVATIONS[name], 3 * rng.normal(size=(5, 17))

        def back(z, dy):
            kept = with_copy(pair.forward, z, 0.2) if pair.keeps == "output" else z
            return with_copy(pair.backward, dy, kept, 0.2)

        return z, lambda z: with_copy(pair.forward, z, 0.2), back

    make.__name__ = f"activation {name}"
    curved(make)


for name in activations.ACTIVATIONS:
    an_activation(name)


def normalized(there, back, kept):
    def make(rng):
        x, gamma, beta = rng.normal(size=(6, 19)), rng.normal(size=19), rng.normal(size=19)

        def forward(x):
            rest = np.empty(x.shape[kept]), np.empty(x.shape[kept])
            return (*rest, into(there, x.shape, x, gamma, beta, 1e-3, *rest))

        def backward(x, dy):
            mean, root, _ = forward(x)
            return into(back, x.shape, dy, x, gamma, mean, root, after=(np.empty(19), np.empty(19)))

        return x, lambda x: forward(x)[2], backward

    make.__name__ = there.py_func.__name__ if hasattr(there, "py_func") else there.__name__
    curved(make)


normalized(norms.fused_batchnorm, norms.fused_batchnorm_backward, 1)
normalized(norms.fused_layernorm, norms.fused_layernorm_backward, 0)


def a_cost(kernel, *args):
    """Enter a cost that turns what it is given into its own slopes."""

    def make(rng):
        z = rng.normal(size=(5, 13))
        given = args or (rng.random((5, 13)),)

        def back(z, dy):
            slopes = z.copy()
            kernel(slopes, *given)
            return dy * slopes

        return z, lambda z: np.array(kernel(z.copy(), *given)), back

    make.__name__ = getattr(kernel, "py_func", kernel).__name__
    curved(make)


TARGETS = np.array([0, 3, 12, 3, 5])
a_cost(losses.softmax_cross_entropy_into, TARGETS)
a_cost(losses.cross_entropy_rows, TARGETS, 0.3)
a_cost(losses.square_rows, np.ones((5, 13)), 0.3)
a_cost(losses.gaussian_into)
a_cost(losses.bernoulli_into)


COUNTS = np.array([5, 3, 3, 1])  # of sequences that have a step
ROWS, BATCH, J = int(COUNTS.sum()), 5, 7


def packed(b):
    """Return a factor in panels."""
    memory = Memory("float64").packed("b", *b.shape)
    W = memory.shape[2]
    padded = np.zeros((len(b), memory.shape[0] * W))
    padded[:, : b.shape[1]] = b
    memory[:] = padded.reshape(len(b), -1, W).transpose(1, 0, 2)
    return memory


NO_MORE = np.zeros((0, J))


@curved
def lstm(rng):
    wh, start = rng.normal(size=(4 * J, J)) / 3, rng.normal(size=(2, BATCH, J))

    def forward(z):
        gate, tanh_c = z.copy(), np.empty((ROWS, J))
        h, c = (np.concatenate([s, np.empty((ROWS, J))]) for s in start)
        gates.lstm_into(gate, h, c, tanh_c, COUNTS, packed(wh.T), 0, BATCH)
        return gate, c, tanh_c, h[BATCH:].copy()

    def backward(z, dy):
        gate, c, tanh_c, _ = forward(z)
        rest = np.empty((BATCH, J)), np.zeros((BATCH, J))
        gates.lstm_backward_into(
            dy.copy(), gate, c, tanh_c, COUNTS, packed(wh), NO_MORE, *rest, 0, BATCH
        )
        return gate

    return rng.normal(size=(ROWS, 4 * J)), lambda z: forward(z)[3], backward


@curved
def gru(rng):
    wh, bh, start = rng.normal(size=(3 * J, J)) / 3, rng.normal(size=J), rng.normal(size=(BATCH, J))

    def forward(z):
        gate, q, p = z.copy(), np.empty((ROWS, J)), np.empty((BATCH, 3 * J))
        h = np.concatenate([start, np.empty((ROWS, J))])
        gates.gru_into(gate, h, q, bh, COUNTS, packed(wh.T), p, 0, BATCH)
        return gate, q, h

    def backward(z, dy):
        gate, q, h = forward(z)
        weights = packed(wh[: 2 * J]), packed(wh[2 * J :])
        start = np.zeros((BATCH, J))
        gates.gru_backward_into(dy.copy(), gate, q, h, COUNTS, *weights, NO_MORE, start, 0, BATCH)
        return gate

    return rng.normal(size=(ROWS, 3 * J)), lambda z: forward(z)[2][BATCH:].copy(), backward


@curved
def recurrent_layer(rng):
    wh, panels = rng.normal(size=(J, J)) / 3, Memory("float64").panels((J, J))
    start = rng.normal(size=(BATCH, J))

    def forward(z):
        h = np.concatenate([start, z])
        recurrent.recur_into(h, COUNTS, wh, 0, panels)
        return h

    def backward(z, dy):
        delta = dy.copy()
        args = delta, forward(z), COUNTS, wh, 0, panels, NO_MORE, np.empty((BATCH, J))
        recurrent.recur_backward_into(*args)
        return delta

    return rng.normal(size=(ROWS, J)), lambda z: forward(z)[BATCH:], backward


def attended(which):
    def make(rng):
        given = [rng.normal(size=(2, 3, T, 5)) for T in (19, 70, 70)]
        rest = np.array([70, 33]), (2, 1), Memory("float64")

        def forward(x):
            q, k, v = (x if n == which else a for n, a in enumerate(given))
            o, L = np.empty((2, 3, 19, 5)), np.empty((6, 19))
            attend.attend(q, k, v, o, L, *rest)
            return q, k, v, o, L

        def backward(x, dy):
            slopes = [np.empty(a.shape) for a in given]
            attend.attend_backward(dy, *forward(x), *slopes, *rest)
            return slopes[which]

        return given[which], lambda x: forward(x)[3], backward

    make.__name__ = f"attention by {'qkv'[which]}"
    curved(make)


for argument in range(3):
    attended(argument)


@curved
def look(rng):
    q, v = rng.normal(size=(4, 3)), rng.normal(size=(4, 6, 3))

    def forward(q):
        a, o = np.empty((4, 6)), np.empty((4, 3))
        looks.look_into(v, q, a, o)
        return a, o

    def backward(q, dy):
        args = dy, v, q, forward(q)[0], np.zeros((4, 6))
        return into(looks.look_backward_into, q.shape, *args, after=(np.zeros(v.shape),))

    return q, lambda q: forward(q)[1], backward


@curved
def drawn_code(rng):
    h, eps = rng.normal(size=(4, 6)), rng.normal(size=(4, 3))
    there = lambda h: into(latent.latent_forward, (4, 3), h, eps.copy())

    def backward(h, dy):
        moved = there(h) - h[:, :3]
        return into(latent.latent_backward, h.shape, h, moved, dy, 0.0)

    return h, there, backward


@curved
def dense_layers(rng):
    """By all parameters at once: three layers, of which SiLU and GELU keep their slopes."""
    sizes, kinds, n = (5, 7, 6, 3), (5, 6, 4), 9
    table, at = [], 0
    for k, j, kind in zip(sizes, sizes[1:], kinds, strict=False):
        table.append((j, k, at, kind))
        at += j * k + j
    table, slopes, x = np.array(table), np.zeros(3), rng.normal(size=(n, 5))
    panels = Memory("float64").panels(*[(a, b) for a in (n, *sizes) for b in (n, *sizes)])
    total = n * sum(sizes[1:])

    def forward(flat):
        a = np.empty(2 * total)
        stack.stack_forward(flat, table, slopes, x, a, panels)
        return a

    def backward(flat, dy):
        rest = np.empty(total), panels, np.empty(flat.size), True, np.empty((0, 0))
        stack.stack_backward(flat, table, slopes, x, forward(flat), dy.copy(), *rest)
        return rest[2]

    return (
        rng.normal(size=at) / 2,
        lambda f: forward(f)[total - 3 * n : total].reshape(n, 3),
        backward,
    )
