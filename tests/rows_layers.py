"""Rows of the registry: dense layers, activations, normalization, costs, penalties, products."""
# ruff: noqa: E741

import itertools

import numpy as np
from registry import ANY, FEW, NONE_OR_FEW, SOME, row, wide

from dlbook import autoencoders as ae
from dlbook import diffusion, embeddings, matmul, neurons, training, transformer, variational
from dlbook import linear_classification as lc
from dlbook.fast import (
    activations,
    cached,
    cutting,
    dense,
    dropout,
    latent,
    losses,
    noising,
    norms,
    penalties,
    stack,
)  # fmt: skip
from dlbook.tools import elementary

# Activations


def bent(z, slope):
    """The slope of a ReLU, which is that on the left where z is NaN: the NaN is in the loss then."""
    return training.leaky_relu_gradient(np.ones_like(z), z, slope)


PLAIN = {
    "linear": (lambda z, slope: z, lambda z, slope: np.ones_like(z)),
    "relu": (lambda z, slope: neurons.relu(z), lambda z, slope: bent(z, 0.0)),
    "leaky-relu": (neurons.leaky_relu, lambda z, slope: bent(z, slope)),
    "sigmoid": (lambda z, slope: lc.sigmoid(z), lambda z, slope: lc.sigmoid_prime(z)),
    "tanh": (lambda z, slope: neurons.tanh(z), lambda z, slope: neurons.tanh_prime(z)),
    "silu": (lambda z, slope: neurons.silu(z), lambda z, slope: neurons.silu_prime(z)),
    "gelu": (lambda z, slope: neurons.gelu_tanh(z), lambda z, slope: neurons.gelu_tanh_prime(z)),
}
BEND = ("silu", "gelu")  # whose derivative is kept


@row(activations.rectify, n=ANY, j=ANY)
def _(d, n, j):
    z, slope = d.normal(n, j), d.pick(0.0, 0.2)
    return (z, slope), {"z": neurons.leaky_relu(wide(z), slope)}


@row(activations.rectify_backward, n=ANY, j=ANY)
def _(d, n, j):
    da, z, slope = d.normal(n, j), d.normal(n, j), d.pick(0.0, 0.2)
    a = d.array(neurons.leaky_relu(wide(z), slope))
    return (da, a, slope), {"da": training.leaky_relu_gradient(wide(da), wide(z), slope)}


def backward(kernel, name, keeps):
    """Enter the way back of an activation, from its output or its input."""

    @row(kernel, n=ANY, j=ANY)
    def _(d, n, j):
        there, back = PLAIN[name]
        values = 4 * d.rng.normal(size=(n, j))
        if keeps == "input":  # some whose cube is more than float32 holds
            values[d.rng.random((n, j)) < 0.2] *= 1e13
        da, z = d.normal(n, j), d.of(values)
        a = d.array(there(wide(z), 0)) if keeps == "output" else z
        return (da, a), {"da": wide(da) * back(wide(z), 0)}


backward(activations.sigmoid_backward, "sigmoid", "output")
backward(activations.tanh_backward, "tanh", "output")
backward(activations.silu_backward, "silu", "input")
backward(activations.gelu_backward, "gelu", "input")


@row(activations.silu, n=ANY, j=ANY)
def _(d, n, j):
    z = d.of(4 * d.rng.normal(size=(n, j)))
    return (z,), {"z": neurons.silu(wide(z))}


def with_slope(kernel, name):
    """Enter an activation that leaves its derivative."""

    @row(kernel, n=ANY, j=ANY)
    def _(d, n, j):
        there, back = PLAIN[name]
        z = d.of(4 * d.rng.normal(size=(n, j)))
        expected = {"z": there(wide(z), 0), "slope": back(wide(z), 0)}
        return (z, d.empty(n, j)), expected


with_slope(activations.silu_with_slope, "silu")
with_slope(activations.gelu_with_slope, "gelu")


@row(activations.activate, n=ANY, j=ANY, kind=range(7), keeps=(0, 1))
def _(d, n, j, kind, keeps):
    there, back = PLAIN[activations.KINDS[kind]]
    z, slope = d.normal(n, j), 0.2
    rise = d.empty(n, j) if keeps else d.empty(0, 0)
    expected = {"z": there(wide(z), slope)}
    if keeps and activations.KINDS[kind] in BEND:
        expected["rise"] = back(wide(z), slope)
    return (z, kind, slope, rise), expected


@row(activations.activate_backward, n=ANY, j=ANY, kind=range(7))
def _(d, n, j, kind):
    there, back = PLAIN[activations.KINDS[kind]]
    da, z, slope = d.normal(n, j), d.normal(n, j), 0.2
    a, rise = d.array(there(wide(z), slope)), d.array(back(wide(z), slope))
    return (da, kind, slope, a, rise), {"da": wide(da) * back(wide(z), slope)}


# Dense layers


def layer(d, n, j, k):
    return d.normal(n, k), d.normal(j, k), d.normal(j)


BIG = {"n": 700, "j": 130, "k": 70}


@row(
    dense.layer_into,
    scratch="panels",
    n=ANY,
    j=ANY,
    k=ANY,
    kind=range(7),
    threads=BIG | {"kind": 6},
)
def _(d, n, j, k, kind):
    there, back = PLAIN[activations.KINDS[kind]]
    (a, w, b), slope = layer(d, n, j, k), 0.2
    z = wide(a) @ wide(w).T + wide(b)
    rise, expected = d.empty(0, j), {"z": there(z, slope)}
    if activations.KINDS[kind] in BEND:
        rise, expected["rise"] = d.empty(n, j), back(z, slope)
    return (a, w, b, d.panels((k, j)), d.empty(n, j), kind, slope, rise), expected


@row(dense.dense_into, scratch="panels", n=ANY, j=ANY, k=ANY, threads=BIG)
def _(d, n, j, k):
    a, w, b = layer(d, n, j, k)
    return (a, w, b, d.panels((k, j)), d.empty(n, j)), {"z": wide(a) @ wide(w).T + wide(b)}


def gradients(d, n, j, k):
    delta, a = d.normal(n, j), d.normal(n, k)
    _, dw, db = matmul.dense_backward(wide(delta), wide(a), np.zeros((j, k)))
    return delta, a, dw, db


@row(dense.dense_backward_into, scratch="panels", n=ANY, j=ANY, k=ANY, threads=BIG)
def _(d, n, j, k):
    delta, a, dw, db = gradients(d, n, j, k)
    return (delta, a, d.panels((n, k)), d.empty(j, k), d.empty(j)), {"dw": dw, "db": db}


@row(dense.gradients_into, scratch="panels", n=(*ANY, 511, 512, 523), j=ANY, k=ANY, threads=BIG)
def _(d, n, j, k):
    delta, a, dw, db = gradients(d, n, j, k)
    return (delta, a, d.panels((n, k)), d.empty(j, k), d.empty(j)), {"dw": dw, "db": db}


@row(dense.rows_gradient_into, scratch="panels", r=(*ANY, 127, 128, 129, 300), j=ANY, k=ANY,
     threads={"r": 700, "j": 70, "k": 300})  # fmt: skip
def _(d, r, j, k):
    delta, a, more, _ = gradients(d, r, j, k)
    dw = d.normal(j, k)
    return (delta, a, d.panels((min(r, 128), k)), dw), {"dw": wide(dw) + more}


@row(dense.rows_sum_into, r=ANY, j=ANY, more=(0, 1, 5), threads={"r": 7000, "j": 70, "more": 3})
def _(d, r, j, more):
    delta, db = d.normal(r, j), d.normal(j + more)
    sums = wide(db)
    sums[:j] += wide(delta).sum(axis=0)
    return (delta, db), {"db": sums}


@row(dense.scatter_rows, r=ANY, j=ANY, k=(1, 2, 5))
def _(d, r, j, k):
    dy, x, dw = d.normal(r, j), d.array(d.rng.integers(k, size=r), np.int64), d.normal(k, j)
    return (dy, x, dw), {"dw": wide(dw) + embeddings.lookup_gradient(x, wide(dy), k)}


@row(
    dense.dense_input_into,
    scratch="panels",
    n=ANY,
    j=ANY,
    k=ANY,
    more=(0, 1),
    threads=BIG | {"more": 1},
)
def _(d, n, j, k, more):
    delta, w = d.normal(n, j), d.normal(j, k)
    da = d.normal(n, k) if more else d.empty(n, k)
    dx, _, _ = matmul.dense_backward(wide(delta), np.zeros((n, k)), wide(w))
    return (delta, w, d.panels((j, k)), da, bool(more)), {"da": dx + (wide(da) if more else 0)}


@row(
    dense.layer_input_into,
    nan="what comes back through a rectifier does not see its NaN",
    scratch="panels",
    n=ANY,
    j=ANY,
    k=ANY,
    kind=range(7),
    threads=BIG | {"kind": 4},
)
def _(d, n, j, k, kind):
    there, back = PLAIN[activations.KINDS[kind]]
    delta, w, z, slope = d.normal(n, j), d.normal(j, k), d.normal(n, k), 0.2
    out, rise = d.array(there(wide(z), slope)), d.array(back(wide(z), slope))
    dx, _, _ = matmul.dense_backward(wide(delta), wide(z), wide(w))
    args = delta, w, d.panels((j, k)), d.empty(n, k), kind, slope, out, rise
    return args, {"da": dx * back(wide(z), slope)}


# Stacks: layers one after the other


def a_stack(d, n, sizes, keeps):
    """Draw a network: flat parameters, table, slopes, inputs, and what is computed in float64."""
    kinds = [int(d.rng.integers(7)) for _ in sizes[1:]]
    table, at = [], 0
    for (k, j), kind in zip(itertools.pairwise(sizes), kinds, strict=True):
        table.append((j, k, at, kind))
        at += j * k + j
    flat, x = d.of(0.7 * d.rng.normal(size=at)), d.normal(n, sizes[0])
    slopes = d.array(np.full(len(kinds), 0.2), np.float64)
    outs, rises, below = [], [], wide(x)
    for j, k, place, kind in table:
        w = wide(flat)[place : place + j * k].reshape(j, k)
        b, (there, back) = wide(flat)[place + j * k :][:j], PLAIN[activations.KINDS[kind]]
        z = below @ w.T + b
        below = there(z, 0.2)
        outs.append(below)
        rises.append(back(z, 0.2))
    return flat, d.array(table, np.int64), slopes, x, outs, rises


def joined(parts):
    return np.concatenate([np.zeros(0), *(part.ravel() for part in parts)])


STACKS = {"n": ANY, "i": SOME, "j": SOME, "k": (0, *SOME)}
STACKED = {"n": 700, "i": 70, "j": 130, "k": 33}


@row(stack.stack_forward, scratch="panels", threads=STACKED, **STACKS)
def _(d, n, i, j, k):
    sizes = (i, j, k) if k else (i, j)
    flat, table, slopes, x, outs, rises = a_stack(d, n, sizes, True)
    kept = [
        rise if activations.KINDS[row[3]] in BEND else None
        for rise, row in zip(rises, table, strict=True)
    ]
    rise = joined(
        [
            np.full(n * row[0], np.nan) if r is None else r
            for r, row in zip(kept, table, strict=True)
        ]
    )
    panels = d.panels(*itertools.pairwise(sizes))
    a = d.empty(2 * n * sum(sizes[1:]))
    return (flat, table, slopes, x, a, panels), {"a": np.concatenate([joined(outs), rise])}


@row(stack.stack_backward, scratch="panels dy da", wanted=(0, 1), inputs=(0, 1),
     threads=STACKED | {"wanted": 1, "inputs": 1}, **STACKS)  # fmt: skip
def _(d, n, i, j, k, wanted, inputs):
    sizes = (i, j, k) if k else (i, j)
    flat, table, slopes, x, outs, rises = a_stack(d, n, sizes, True)
    dy = d.normal(n, sizes[-1])
    delta, found, below = wide(dy), [], [wide(x), *outs]
    for l in range(len(sizes) - 2, -1, -1):
        delta = delta * rises[l]
        J, K, at, _ = table[l]
        w = wide(flat)[at : at + J * K].reshape(J, K)
        dx, dw, db = matmul.dense_backward(np.ascontiguousarray(delta), below[l], w)
        found[:0] = [dw, db]
        delta = dx
    total = n * sum(sizes[1:])
    a = d.array(np.concatenate([joined(outs), joined(rises)]))
    grads, dx = d.empty(flat.size), d.empty(n, i) if inputs else d.empty(0, 0)
    expected = ({"grads": joined(found)} if wanted else {}) | ({"dx": delta} if inputs else {})
    panels = d.panels(*[(n, size) for size in sizes], *zip(sizes[1:], sizes, strict=False))
    args = flat, table, slopes, x, a, dy, d.empty(total), panels, grads, bool(wanted), dx
    return args, expected


# Dropout and normalization


@row(
    dropout.dropout_into,
    n=ANY,
    j=ANY,
    same=(0, 1),
    nan="a NaN that is dropped is zero in both; uniform has none",
)
def _(d, n, j, same):
    a, uniform, p = d.normal(n, j), d.uniform(n, j), d.pick(0.0, 0.25)
    uniform[d.rng.random((n, j)) < 0.2] = p  # the border itself is kept
    y = a if same else d.empty(n, j)
    expected = training.dropout(wide(a), wide(uniform), p)
    return (a, uniform, p, y), {"y": expected} | ({"a": expected} if same else {})


EPS = 1e-3


@row(norms.fused_batchnorm, n=SOME, j=ANY, rtol={"float32": 5e-5})
def _(d, n, j):
    x, gamma, beta = d.normal(n, j), d.normal(j), d.normal(j)
    mean, variance = training.moments(wide(x))
    y = training.batchnorm(wide(x), wide(gamma), wide(beta), EPS)
    expected = {"mean": mean, "root": np.sqrt(variance + EPS), "y": y}
    return (x, gamma, beta, EPS, d.empty(j), d.empty(j), d.empty(n, j)), expected


@row(norms.affine_rows, n=ANY, j=ANY)
def _(d, n, j):
    x, mean, root, gamma, beta = (
        d.normal(n, j),
        d.normal(j),
        d.positive(j),
        d.normal(j),
        d.normal(j),
    )
    normed = training.normalize(wide(x), wide(mean), wide(root) ** 2, 0.0)
    y = training.scale_shift(normed, wide(gamma), wide(beta))
    return (x, mean, root, gamma, beta, d.empty(n, j)), {"y": y}


@row(
    norms.fused_batchnorm_backward,
    n=SOME,
    j=ANY,
    same=(0, 1),
    rtol={"float32": 2e-4, "float64": 1e-11},
)
def _(d, n, j, same):
    dy, x, gamma = d.normal(n, j), d.normal(n, j), d.normal(j)
    mean, variance = training.moments(wide(x))
    dx, dgamma, dbeta = training.batchnorm_backward(wide(dy), wide(x), wide(gamma), EPS)
    root, into = np.sqrt(variance + EPS), dy if same else d.empty(n, j)
    args = dy, x, gamma, d.array(mean), d.array(root), into, d.empty(j), d.empty(j)
    return args, {"dx": dx, "dgamma": dgamma, "dbeta": dbeta} | ({"dy": dx} if same else {})


@row(norms.fused_layernorm, n=ANY, j=SOME, rtol={"float32": 5e-5})
def _(d, n, j):
    x, gamma, beta = d.normal(n, j), d.normal(j), d.normal(j)
    mean, variance = training.moments(np.ascontiguousarray(wide(x).T))
    y = training.layernorm(wide(x), wide(gamma), wide(beta), EPS)
    expected = {"mean": mean, "root": np.sqrt(variance + EPS), "y": y}
    return (x, gamma, beta, EPS, d.empty(n), d.empty(n), d.empty(n, j)), expected


@row(
    norms.fused_layernorm_backward,
    n=ANY,
    j=SOME,
    same=(0, 1),
    rtol={"float32": 2e-4, "float64": 1e-11},
)
def _(d, n, j, same):
    dy, x, gamma = d.normal(n, j), d.normal(n, j), d.normal(j)
    mean, variance = training.moments(np.ascontiguousarray(wide(x).T))
    dx, dgamma, dbeta = training.layernorm_backward(wide(dy), wide(x), wide(gamma), EPS)
    root, into = np.sqrt(variance + EPS), dy if same else d.empty(n, j)
    args = dy, x, gamma, d.array(mean), d.array(root), into, d.empty(j), d.empty(j)
    return args, {"dx": dx, "dgamma": dgamma, "dbeta": dbeta} | ({"dy": dx} if same else {})


@row(norms.update_running, j=ANY, n=(2, 3, 17))
def _(d, j, n):
    r, s, mean, v = d.normal(j), d.positive(j), d.normal(j), d.positive(j)
    args = r, s, mean, d.array(np.sqrt(wide(v) + EPS)), EPS, n, 0.1
    running, variance = training.running_statistics(*map(wide, (r, s, mean, v)), n, 0.1)
    return args, {"running": running, "variance": variance}


# Costs


@row(losses.softmax_cross_entropy_into, n=SOME, j=SOME)
def _(d, n, j):
    z, y = d.normal(n, j), d.whole(j, n)
    dz = lc.softmax_cross_entropy_gradient(wide(z), y)
    return (z, y), {"z": dz, "returned": lc.softmax_cross_entropy(wide(z), y)}


@row(losses.cross_entropy_rows, r=ANY, v=SOME)
def _(d, r, v):
    o, y, share = d.normal(r, v), d.whole(v, r), 0.3
    rows = wide(o)[:, None]  # each a batch of its own
    pairs = list(zip(rows, y[:, None], strict=True))
    do = [share * lc.softmax_cross_entropy_gradient(*pair)[0] for pair in pairs]
    cost = share * sum(lc.softmax_cross_entropy(*pair) for pair in pairs)
    return (o, y, share), {"o": np.reshape(do, (r, v)), "returned": cost}


@row(losses.square_rows, r=ANY, v=ANY)
def _(d, r, v):
    o, y, share = d.normal(r, v), d.normal(r, v), 0.3
    apart = wide(o) - wide(y)
    return (o, y, share), {"o": 2 * share * apart, "returned": share * (apart**2).sum()}


@row(losses.gaussian_into, n=SOME, k=ANY)
def _(d, n, k):
    a, x = d.normal(n, k), d.normal(n, k)
    da = ae.gaussian_nll_gradient(wide(a), wide(x), 1.0)
    return (a, x), {"a": da, "returned": ae.reconstruction(wide(a), wide(x))}


@row(losses.bernoulli_into, n=SOME, k=(*ANY, 511, 512, 513))
def _(d, n, k):
    a, x = d.normal(n, k), d.uniform(n, k)
    da = ae.bernoulli_nll_gradient(wide(a), wide(x))
    return (a, x), {"a": da, "returned": ae.bernoulli_nll(wide(a), wide(x))}


# Penalties


@row(
    penalties.penalize_into,
    nan="a NaN makes the cost NaN, and adds nothing to slopes by its sign",
    n=SOME,
    j=ANY,
    which=range(4),
    scratch="means",
)
def _(d, n, j, which):
    h, dh, rho = d.uniform(n, j), d.normal(n, j), 0.2
    l1, kl = 0.3 * (which & 1), 0.4 * (which >> 1)
    more, cost = wide(dh), 0.0
    if l1:
        more, cost = more + l1 * ae.l1_gradient(wide(h)), l1 * ae.l1_penalty(wide(h))
    if kl:
        more = more + kl * ae.kl_gradient(wide(h), rho)
        cost += kl * ae.kl_penalty(ae.mean_activation(wide(h)), rho)
    return (h, dh, l1, kl, rho, d.empty(j)), {"dh": more, "returned": cost}


@row(penalties.contract_into, n=SOME, j=SOME, k=SOME)
def _(d, n, j, k):
    w, b, x, delta = d.normal(j, k), d.normal(j), d.normal(n, k), d.normal(n, j)
    h = lc.sigmoid(wide(x) @ wide(w).T + wide(b))
    slope = h * (1 - h)
    zeta = 2 / n * slope**2 * (1 - 2 * h) * (wide(w) ** 2).sum(axis=1)
    assert np.allclose(
        zeta.sum(axis=0), ae.contractive_gradient(*map(wide, (x, w, b)))[1], equal_nan=True
    )
    cost = 0.3 * ae.contractive(*map(wide, (x, w, b)))
    means = 0.3 * 2 / n * (slope**2).sum(axis=0)
    args = w, d.array(h), 0.3, delta, d.empty(j)
    return args, {"delta": wide(delta) + 0.3 * zeta, "means": means, "returned": cost}


@row(penalties.add_scaled, j=ANY, k=ANY)
def _(d, j, k):
    factors, w, dw = d.normal(j), d.normal(j, k), d.normal(j, k)
    return (factors, w, dw), {"dw": wide(dw) + wide(factors)[:, None] * wide(w)}


# Codes that are drawn, noised examples, cut distributions


@row(latent.latent_forward, n=ANY, c=SOME)
def _(d, n, c):
    h, eps = d.normal(n, 2 * c), d.normal(n, c)
    m, s = np.hsplit(wide(h), 2)
    z = variational.reparameterize(m, s, wide(eps))
    return (h, eps, d.empty(n, c)), {"eps": np.exp(s) * wide(eps), "z": z}


@row(latent.latent_backward, n=SOME, c=SOME)
def _(d, n, c):
    h, eps, dz, beta = d.normal(n, 2 * c), d.normal(n, c), d.normal(n, c), 0.7
    m, s = map(np.ascontiguousarray, np.hsplit(wide(h), 2))
    dm, ds = variational.reparameterize_gradient(wide(dz), s, wide(eps))
    km, ks = variational.gaussian_kl_gradient(m, s)
    args = h, d.array(np.exp(s) * wide(eps)), dz, beta, d.empty(n, 2 * c)
    dh = np.hstack([dm + beta / n * km, ds + beta / n * ks])
    return args, {"dh": dh, "returned": beta / n * variational.gaussian_kl(m, s).sum()}


@row(
    noising.noise_into,
    nan="targets are a x + b ε, where 0 · NaN is NaN",
    n=ANY,
    dim=ANY,
    waves=NONE_OR_FEW,
    c=FEW,
    target=range(4),
    rtol={"float64": 1e-11},
)
def _(d, n, dim, waves, c, target):
    x, eps, u = d.normal(n, dim), d.normal(n, dim), d.uniform(n)
    y, kept = d.whole(c, n), d.array(d.rng.random(n) < 0.7, np.bool_)
    alpha, sigma = np.cos(np.pi * wide(u) / 2), np.sin(np.pi * wide(u) / 2)
    if target == 3:
        noised = diffusion.straight_path(wide(x), wide(eps), wide(u))
    else:
        noised = alpha[:, None] * wide(x) + sigma[:, None] * wide(eps)
    of = (
        diffusion.v_target(wide(x), wide(eps), alpha, sigma),
        wide(eps),
        wide(x),
        wide(eps) - wide(x),
    )
    told = (np.arange(c) == y[:, None]) & kept[:, None]
    into = np.hstack([noised, diffusion.time_features(wide(u), waves), told])
    args = x, y, u, kept, waves, target, eps, d.empty(n, dim + 2 * waves + c)
    return args, {"want": of[target], "into": into}


@row(cutting.likeliest, w=SOME, k=SOME, nan="where a NaN stands in an order, nothing is promised")
def _(d, w, k):
    p, mass = d.positive(w), d.pick(0.3, 0.9, 1.0)
    if d.rng.random() < 0.4:  # halves, whose sums are the border itself
        p[:], mass = 0.5 ** np.minimum(np.arange(1, w + 1), max(w - 1, 0)), 0.5
        k = w
    p /= p.sum()
    top = transformer.top_k(wide(p), k)
    return (p, k, mass), {"p": transformer.nucleus(top, mass)}


# A decoder that keeps keys and values


@row(cached.read_into, n=ANY, v=SOME, s=FEW, m=ANY)
def _(d, n, v, s, m):
    symbols, E, places, t = d.whole(v, n), d.normal(v, m), d.normal(s, m), int(d.whole(s))
    x = 1.5 * wide(E)[symbols] + wide(places)[t]
    return (symbols, E, places, 1.5, t, d.empty(n, m)), {"x": x}


@row(cached.scores_into, n=ANY, v=ANY, m=SOME, normed=(0, 1), rtol={"float32": 5e-5})
def _(d, n, v, m, normed):
    h, w, size = d.normal(n, m), d.normal(v, m), m * normed
    gamma, beta = d.normal(size), d.normal(size)
    x = training.layernorm(*map(wide, (h, gamma, beta)), EPS) if normed else wide(h)
    return (h, gamma, beta, EPS, w, d.empty(n, v)), {"f": x @ wide(w).T}


@row(cached.cached_step, n=NONE_OR_FEW, blocks=NONE_OR_FEW, s=FEW, m=(4, 8, 12), hidden=(0, 1, 7, 16),
     pre=(0, 1), residual=(0, 1), scratch="room", rtol={"float32": 3e-4, "float64": 1e-11},
     nan="what one example makes of a NaN stays its own")  # fmt: skip
def _(d, n, blocks, s, m, hidden, pre, residual):
    heads, t = 4, int(d.rng.integers(s))
    size = 2 * m + 4 * m * m + 4 * m + (3 * m + 2 * hidden * m + hidden if hidden else 0)
    flat, x = d.of(0.5 * d.rng.normal(size=blocks * size)), d.normal(n, m)
    keys, values = d.normal(blocks, n, s, m), d.normal(blocks, n, s, m)
    K, V, y = wide(keys), wide(values), wide(x)
    for l in range(blocks):
        rest = wide(flat)[l * size : (l + 1) * size]

        def take(*shape):
            nonlocal rest
            found, rest = rest[: np.prod(shape)].reshape(shape), rest[np.prod(shape) :]
            return found

        norm, w, b = take(2, m), take(4, m, m), take(4, m)
        for i in range(n):
            old = y[i]
            x_i = training.layernorm(old[None], *norm, EPS)[0] if pre else old
            q, K[l, i, t], V[l, i, t] = (w[p] @ x_i + b[p] for p in range(3))
            z = np.einsum(
                "hd,shd->hs", q.reshape(heads, -1), K[l, i, : t + 1].reshape(t + 1, heads, -1)
            )
            share = lc.softmax(z / np.sqrt(m // heads))
            o = np.einsum("hs,shd->hd", share, V[l, i, : t + 1].reshape(t + 1, heads, -1)).ravel()
            a = w[3] @ o + b[3] + residual * old
            y[i] = a if pre else training.layernorm(a[None], *norm, EPS)[0]
        if hidden:
            norm, w1, b1, w2, b2 = (
                take(2, m),
                take(hidden, m),
                take(hidden),
                take(m, hidden),
                take(m),
            )
            for i in range(n):
                old = y[i]
                x_i = training.layernorm(old[None], *norm, EPS)[0] if pre else old
                a = w2 @ neurons.gelu_tanh(w1 @ x_i + b1) + b2 + residual * old
                y[i] = a if pre else training.layernorm(a[None], *norm, EPS)[0]
    room = d.empty(4 * m + s + hidden)
    args = (
        flat,
        size,
        x,
        keys,
        values,
        t,
        heads,
        hidden,
        bool(pre),
        bool(residual),
        EPS,
        room,
        d.empty(n, m),
    )
    return args, {"keys": K, "values": V, "y": y}


# The product of matrices in panels


@row(matmul.pack, k=ANY, j=ANY, turned=(0, 1))
def _(d, k, j, turned):
    b = d.normal(j, k).T if turned else d.normal(k, j)
    return (b, d.packed(k, j)), {"out": d.in_panels(wide(b))}


@row(matmul.pack_parallel, k=ANY, j=ANY, threads={"k": 600, "j": 600})
def _(d, k, j):
    b = d.normal(k, j)
    return (b, d.packed(k, j)), {"out": d.in_panels(wide(b))}


PRODUCTS = {
    "i": ANY,
    "k": (*ANY, 64, 65, 129, 512, 513),
    "j": ANY,
    "turned": (0, 1),
    "more": (0, 1),
}


def a_product(d, i, k, j, turned, more):
    a, b = d.normal(k, i).T if turned else d.normal(i, k), d.normal(k, j)
    c = d.normal(i, j) if more else d.empty(i, j)
    expected = matmul.product(np.ascontiguousarray(wide(a)), wide(b)) + (wide(c) if more else 0)
    return (a, d.in_panels(wide(b)), c, bool(more)), {"c": expected}


LONG = {"rtol": {"float32": 1e-4}}  # √k roundings of numbers as large as √k, whose sum may be small
PRODUCTS |= LONG
row(matmul.multiply, **PRODUCTS)(a_product)
DEEP = {"i": (1, 5, 13), "k": (129, 512, 513, 1100), "j": (1, 17, 33)}
row(matmul.multiply, of="deep", **(PRODUCTS | DEEP))(a_product)
row(
    matmul.multiply_parallel,
    threads={"i": 300, "k": 70, "j": 70, "turned": 0, "more": 1},
    **PRODUCTS,
)(a_product)
if matmul.multiply is not matmul.multiply_blas:
    row(matmul.multiply_blas, **PRODUCTS)(a_product)


@row(matmul.add_four, i=ANY, j=ANY)
def _(d, i, j):
    a, b, c = d.normal(i, 4), d.normal(4, j), d.normal(i, j)
    return (a, b, c), {"c": wide(c) + wide(a) @ wide(b)}


@row(matmul.add_product, i=ANY, k=ANY, j=ANY)
def _(d, i, k, j):
    a, b, c = d.normal(i, k), d.normal(k, j), d.normal(i, j)
    return (a, b, c), {"c": wide(c) + wide(a) @ wide(b)}


@row(matmul.read_through, i=ANY)
def _(d, i):
    x = d.normal(i)
    return (x,), {"returned": wide(x).sum()}


# Functions of numbers and arrays; how exact they are is for test_elementary.py

NUMBERS = {
    elementary.exp: np.exp, elementary.tanh: np.tanh, elementary.sigmoid: lc.sigmoid,
    elementary.gelu: neurons.gelu_tanh,
}  # fmt: skip
ONES = {
    elementary.logistic: lc.sigmoid, elementary.hyperbolic_tangent: np.tanh,
    elementary.gaussian_unit: neurons.gelu_tanh,
}  # fmt: skip


def of_arrays(kernel, literal):
    """Enter a function of an array, which may be written over."""

    @row(kernel, i=(*ANY, 1023, 1024, 1025), same=(0, 1), threads={"i": 100_000, "same": 1})
    def _(d, i, same):
        x = d.normal(i)
        y = literal(wide(x))
        return (x, x if same else d.empty(i)), {"out": y} | ({"x": y} if same else {})


def of_numbers(kernel, literal):
    """Enter a function of a number."""

    @row(kernel)
    def _(d):
        x = d.normal(1)
        return (x[0],), {"returned": literal(wide(x))[0]}


for kernel, literal in NUMBERS.items():
    of_arrays(kernel, literal)
for kernel, literal in ONES.items():
    of_numbers(kernel, literal)


@row(elementary.apply, which=range(4), i=ANY)
def _(d, which, i):
    x = d.normal(i)
    return (which, x, d.empty(i)), {"out": list(NUMBERS.values())[which](wide(x))}


@row(elementary.softmax, n=ANY, k=SOME, threads={"n": 2000, "k": 50})
def _(d, n, k):
    x = d.normal(n, k)
    return (x, d.empty(n, k)), {"out": lc.softmax(wide(x))}
