"""Rows of the registry: fits by columns, optimizers, networks that take a step in one call, games."""
# ruff: noqa: E741

import itertools

import numpy as np
from registry import ANY, FEW, SOME, row, wide

from dlbook import backprop as bp
from dlbook import gan, training
from dlbook import linear_classification as lc
from dlbook import optimization as opt
from dlbook import regularization as reg
from dlbook.fast import adversarial, columns, coordinate

ONE = ("float64",)

# Fits by columns


@row(columns.centre, dtypes=ONE, n=SOME, p=ANY, nan="distances to the first row share its NaN")
def _(d, n, p):
    X, s = d.normal(n, p), d.positive(n)
    mean = np.average(wide(X), axis=0, weights=wide(s))
    A = (np.sqrt(wide(s))[:, None] * (wide(X) - mean)).T
    return (X, s, d.empty(p, n), d.empty(p)), {"A": A, "mean": mean}


@row(columns.moments_of, dtypes=ONE, n=ANY, p=ANY)
def _(d, n, p):
    A, y = d.normal(p, n), d.normal(n)
    return (A, y), {"returned": ((wide(A) ** 2).sum(axis=1), wide(A) @ wide(y))}


def a_fit(d, n, p, k):
    """Draw columns, responses and strengths, the strongest first; some columns may be zero."""
    A, y = d.normal(p, n), d.normal(n)
    A[d.rng.random(p) < 0.1] = 0
    squares, moments = (d.array(x) for x in columns.moments_of(A, y))
    most = np.abs(wide(moments)).max(initial=0)
    l1, l2 = (
        d.array(np.geomspace(1.1, 0.02, k) * max(most, 1e-3)),
        d.array(np.full(k, d.pick(0.5, 2.0))),
    )
    return A, y, l1, l2, squares, moments


def descended(A, y, l1, l2):
    """Return the weights after very many sweeps of the literal form."""
    w, X = np.zeros(len(A)), np.ascontiguousarray(A.T)
    if not len(w):
        return w
    for _ in range(3000):
        new = reg.coordinate_sweep(X, y, w, l1, l2)
        if np.abs(new - w).max() <= 1e-15 * np.abs(new).max():
            break
        w = new
    return new


FITS = {"n": (1, 2, 3, 8, 17, 40), "p": (1, 2, 3, 5, 8, 13), "k": (1, 2, 9)}
PATH = "a fit of data that hold a NaN is refused before"


def a_path(d, n, p, k):
    A, y, l1, l2, squares, moments = a_fit(d, n, p, k)
    W = np.array([descended(wide(A), wide(y), a, b) for a, b in zip(l1, l2, strict=True)])
    X = np.ascontiguousarray(wide(A).T)
    costs = [reg.elastic_net_cost(X, wide(y), *row) for row in zip(W, l1, l2, strict=True)]
    least = d.array(1e-11 * wide(l1))
    args = A, y, l1, l2, squares, moments, -1.0, least, 100_000, d.empty(k, p)
    return args, {"W": W, "returned": (costs, None, None, None)}


row(coordinate.descend_path, dtypes=ONE, rtol={"float64": 1e-8}, nan=PATH, **FITS)(a_path)
row(coordinate.path_by_products, dtypes=ONE, rtol={"float64": 1e-8}, nan=PATH, **FITS)(a_path)


@row(
    coordinate.descend, dtypes=ONE, scratch="kept active", rtol={"float64": 1e-8}, nan=PATH, **FITS
)
def _(d, n, p, k):
    A, y, l1, l2, squares, moments = a_fit(d, n, p, k)
    strength, ridge = float(l1[-1]), float(l2[-1])
    w = descended(wide(A), wide(y), strength, ridge)
    e, room = d.array(wide(y)), [d.empty(p, dtype=np.int64) for _ in range(2)]
    X = np.ascontiguousarray(wide(A).T)
    cost = reg.elastic_net_cost(X, wide(y), w, strength, ridge)
    args = (
        A,
        y,
        strength,
        ridge,
        squares,
        -1.0,
        1e-11 * strength,
        100_000,
        d.zeros(p),
        e,
        moments,
        *room,
    )
    left = wide(y) - w @ wide(A)
    return args, {"w": w, "e": left, "slope": None, "returned": (cost, None, None, None)}


# Optimizers: one step, at some t

ETA, DECAY, MU, RHO, B1, B2, TINY = 0.1, 0.03, 0.8, 0.9, 0.85, 0.95, 1e-3


ALONE = "no sum runs over parameters; test_optimization.py holds what threads share to these bits"


def steps(kernel, slots, settings, formula):
    """Enter an optimizer; the formula maps θ, g, slots and t to θ and slots."""

    @row(kernel, p=ANY, t=(1, 2, 17), rtol={"float32": 5e-5}, threads=ALONE)
    def _(d, p, t):
        theta, g = d.normal(p), d.normal(p)
        held = d.positive(slots, p)
        args = theta, g, held, t, ETA, *settings
        new, *kept = formula(wide(theta), wide(g), *wide(held), t)
        return args, {"theta": new, "slots": np.reshape(kept, (slots, p))}


steps(opt.sgd, 0, (DECAY,), lambda x, g, t: (x - ETA * (g + DECAY * x),))


def first_whole(x, g, v, t):
    v = MU * v + (g + DECAY * x) * (1 if t == 1 else 0.7)
    return x - ETA * v, v


steps(opt.momentum, 1, (MU, 0.3, DECAY), first_whole)


def ball(x, g, v, t):
    v = MU * v - ETA * 0.7 * (g + DECAY * x)
    return x + v, v


steps(opt.heavy_ball, 1, (MU, 0.3, DECAY), ball)


def nesterov(x, g, v, t):
    g = g + DECAY * x
    v = MU * v + g
    return x - ETA * (g + MU * v), v


steps(opt.nesterov, 1, (MU, DECAY), nesterov)


def nesterov_ball(x, g, v, t):
    g = g + DECAY * x
    v = MU * v - ETA * g
    return x + MU * v - ETA * g, v


steps(opt.nesterov_ball, 1, (MU, DECAY), nesterov_ball)


def adagrad(x, g, s, t):
    g = g + DECAY * x
    s = s + g**2
    return x - ETA / (1 + (t - 1) * 0.2) * g / (np.sqrt(s) + TINY), s


steps(opt.adagrad, 1, (0.2, TINY, DECAY), adagrad)


def rmsprop(x, g, v, t):
    g = g + DECAY * x
    v = RHO * v + (1 - RHO) * g**2
    return x - ETA * g / (np.sqrt(v) + TINY), v


steps(opt.rmsprop, 1, (RHO, TINY, DECAY), rmsprop)


def centred_rmsprop(x, g, v, m, b, t):
    g = g + DECAY * x
    v, m = RHO * v + (1 - RHO) * g**2, RHO * m + (1 - RHO) * g
    spread = v - m**2
    b = MU * b + g / (np.sqrt(np.where(spread < 0, 0, spread)) + 0.3)
    return x - ETA * b, v, m, b


steps(opt.rmsprop_momentum, 3, (RHO, 0.3, DECAY, MU, 1.0), centred_rmsprop)


def adadelta(x, g, v, u, t):
    g = g + DECAY * x
    v = RHO * v + (1 - RHO) * g**2
    step = np.sqrt(u + TINY) / np.sqrt(v + TINY) * g
    return x - ETA * step, v, RHO * u + (1 - RHO) * step**2


steps(opt.adadelta, 2, (RHO, TINY, DECAY), adadelta)


def adam(x, g, m, v, t, decay=DECAY):
    g = g + decay * x if decay else g
    m, v = B1 * m + (1 - B1) * g, B2 * v + (1 - B2) * g**2
    up, down = m / (1 - B1**t), np.sqrt(v / (1 - B2**t)) + TINY
    return x - ETA * up / down, m, v


steps(opt.adam, 2, (B1, B2, TINY, DECAY), adam)


def adamw(x, g, m, v, t):
    new, m, v = adam(x, g, m, v, t, 0)
    return new - ETA * DECAY * x, m, v


steps(opt.adamw, 2, (B1, B2, TINY, DECAY), adamw)


def amsgrad(x, g, m, v, most, t):
    _, m, v = adam(x, g, m, v, t)
    most = np.maximum(most, v)
    return x - ETA * (m / (1 - B1**t)) / (np.sqrt(most / (1 - B2**t)) + TINY), m, v, most


steps(opt.amsgrad, 3, (B1, B2, TINY, DECAY, 0.0), amsgrad)


# What is done to gradients


@row(training.scaled_norm, p=ANY, power=(-300, 0, 150))
def _(d, p, power):
    g = d.normal(p)
    if d.dtype == np.float64:
        g *= 10.0**power
    norm = (
        float(np.linalg.norm(wide(g) * 10.0**-power) * 10.0**power)
        if d.dtype == np.float64
        else np.linalg.norm(wide(g))
    )
    return (g,), {"returned": norm}


@row(training.scale_in_place, p=ANY)
def _(d, p):
    g = d.normal(p)
    factor = d.dtype.type(0.3)
    return (g, factor), {"g": wide(g) * float(factor)}


@row(training.clip, p=ANY, limit=(0, 1))
def _(d, p, limit):
    g, most = d.normal(p), (1e3, 0.5)[limit]
    if d.rng.random() < 0.2:
        g[:1] = np.inf  # stays as it is: there is no factor that makes it shorter
    norm = np.linalg.norm(wide(g))
    factor = most / norm if most < norm < np.inf else 1
    return (g, most), {"g": wide(g) * factor, "returned": norm}


@row(training.finite_copy, p=ANY)
def _(d, p):
    theta = d.normal(p)
    return (theta, d.empty(p)), {"out": wide(theta), "returned": np.isfinite(theta).all()}


# A network that takes a step in one call: sigmoid neurons, softmax, parameters in one flat vector


def a_network(d, n, i, j, k):
    sizes = np.array([i, j, k] if j else [i, k])
    count = int((sizes[1:] * (sizes[:-1] + 1)).sum())
    flat, x, y = d.of(0.7 * d.rng.normal(size=count)), d.normal(n, i), d.whole(k, n)
    return sizes, flat, x, y


def layers_of(flat, sizes):
    at = flat.size
    for K, J in reversed(list(itertools.pairwise(sizes))):
        at -= J * (K + 1)
        yield flat[at : at + J * K].reshape(J, K), flat[at + J * K : at + J * K + J]


def cost_and_slopes(flat, sizes, x, y):
    """Return the mean cost and its gradient by the literal forms of the chapter."""
    layers = list(layers_of(flat, sizes))[::-1]
    acts = [x]
    for l, (w, b) in enumerate(layers):
        z = acts[-1] @ w.T + b
        acts.append(lc.sigmoid(z) if l < len(layers) - 1 else z)
    delta, parts = bp.softmax_output_delta(acts[-1], y) / len(x), []
    for l in range(len(layers) - 1, -1, -1):
        parts[:0] = [(delta.T @ acts[l]).ravel(), delta.sum(axis=0)]
        delta = (delta @ layers[l][0]) * acts[l] * (1 - acts[l])
    order = [part for pair in zip(parts[::2], parts[1::2], strict=True) for part in pair]
    return lc.softmax_cross_entropy(acts[-1], y), np.concatenate(order), acts


NETS = {"n": SOME, "i": SOME, "j": (0, *FEW, 17, 33), "k": SOME}
BIG = {"n": 700, "i": 70, "j": 130, "k": 33}


def room(d, sizes, n):
    return d.empty(bp.workspace(sizes, n, d.dtype).size)


@row(bp.fused_gradient, scratch="work", threads=BIG, **NETS)
def _(d, n, i, j, k):
    sizes, flat, x, y = a_network(d, n, i, j, k)
    cost, slopes, _ = cost_and_slopes(wide(flat), sizes, wide(x), y)
    args = flat, sizes, x, y, d.empty(flat.size), room(d, sizes, n)
    return args, {"grads": slopes, "returned": cost}


@row(bp.fused_step, scratch="work", threads=BIG, **NETS)
def _(d, n, i, j, k):
    sizes, flat, x, y = a_network(d, n, i, j, k)
    cost, slopes, _ = cost_and_slopes(wide(flat), sizes, wide(x), y)
    args = flat, sizes, x, y, 0.1, room(d, sizes, n)
    return args, {"flat": wide(flat) - 0.1 * slopes, "returned": cost}


@row(
    bp.fused_epoch,
    threads=BIG | {"batch": 500},
    scratch="work",
    nan="a step that fails ends the epoch",
    batch=(1, 2, 5),
    **NETS,
)
def _(d, n, i, j, k, batch):
    sizes, flat, x, y = a_network(d, n, i, j, k)
    order, theta, total = d.array(d.rng.permutation(n), np.int64), wide(flat), 0.0
    for begin in range(0, n, batch):
        some = order[begin : begin + batch]
        cost, slopes, _ = cost_and_slopes(theta, sizes, wide(x)[some], y[some])
        theta, total = theta - 0.1 * slopes, total + cost * len(some)
    args = flat, sizes, x, y, order, 0.1, batch, room(d, sizes, batch)
    return args, {"flat": theta, "returned": (total / n, -1)}


@row(bp.fused_errors, scratch="right", threads={"n": 700, "j": 130, "k": 70}, n=ANY, j=ANY, k=ANY)
def _(d, n, j, k):
    w, delta, a = d.normal(k, j), d.normal(k, n), d.uniform(j, n)
    below = (wide(w).T @ wide(delta)) * wide(a) * (1 - wide(a))
    return (w, delta, a, d.packed(k, n), d.empty(j, n)), {"below": below}


@row(
    bp.fused_weights,
    scratch="right",
    threads={"n": 700, "j": 130, "k": 70, "add": 0},
    n=ANY,
    j=ANY,
    k=ANY,
    add=(0, 1),
)
def _(d, n, j, k, add):
    delta, a, scale = d.normal(j, n), d.normal(n, k), d.dtype.type(0.3)
    dw, db = (d.normal(j, k), d.normal(j)) if add else (d.empty(j, k), d.empty(j))
    scaled = float(scale) * wide(delta)
    new = scaled @ wide(a), scaled.sum(axis=1)
    old = (wide(dw), wide(db)) if add else (0, 0)
    args = delta, a, scale, bool(add), d.packed(n, k), dw, db
    return args, {"delta": scaled, "dw": old[0] + new[0], "db": old[1] + new[1]}


# Two networks against each other; the oracle is the complex step of the whole cost


def scores_of(flat, table, slopes, x):
    """Return what each layer gives, of complex numbers too, and which switches are open."""
    outs, gates, below = [], [], x
    for (J, K, at, _), slope in zip(table, slopes, strict=True):
        z = below @ flat[at : at + J * K].reshape(J, K).T + flat[at + J * K : at + J * K + J]
        gates.append(np.where(z.real > 0, 1.0, slope))
        below = z * gates[-1]
        outs.append(below)
    return outs, gates


def slopes_of(flat, table, gates):
    """Return ∂score/∂x and what it is by each layer's output, of complex numbers too."""
    back, deltas = 1.0, []
    for (J, K, at, _), gate in zip(table[::-1], gates[::-1], strict=True):
        back = back * gate
        deltas.append(back)
        back = back @ flat[at : at + J * K].reshape(J, K)
    return back


def softplus(s):
    return np.log(1 + np.exp(s))


def loss_of(s, sign, loss):
    return (-sign * s if loss == 2 else softplus(-sign * s)).mean()


def penalty_of(g, kind, gamma):
    squares = (g * g).sum(axis=1)
    return gamma * ((squares / 2) if kind == 0 else (np.sqrt(squares) - 1) ** 2).mean()


@row(adversarial.scores_into, n=SOME, sign=(-1, 1), loss=range(3))
def _(d, n, sign, loss):
    s = d.normal(n, 1)
    slope = np.full(n, -sign / n) if loss == 2 else -sign * lc.sigmoid(-sign * wide(s)[:, 0]) / n
    return (s, sign, loss, d.empty(n)), {"ds": slope, "returned": loss_of(wide(s), sign, loss)}


@row(adversarial.penalty_into, n=SOME, dim=SOME, kind=(0, 1))
def _(d, n, dim, kind):
    g, gamma = d.normal(n, dim), 0.7
    cost = (gan.r1, gan.gradient_penalty)[kind](wide(g), gamma)
    v = (gan.r1_slope, gan.gradient_penalty_slope)[kind](wide(g), gamma)
    return (g, kind, gamma, d.empty(n, dim)), {"v": v, "returned": cost}


def a_critic(d, n, i, j, k):
    """Draw a network with one output and slopes that are not zero."""
    sizes, at, table = [i, j, k, 1] if k else [i, j, 1], 0, []
    for K, J in itertools.pairwise(sizes):
        table.append((J, K, at, 2))
        at += J * (K + 1)
    table[-1] = (*table[-1][:3], 0)
    slopes = np.full(len(table), 0.2)
    slopes[-1] = 1.0
    flat = d.of(0.8 * d.rng.normal(size=at))
    return sizes, flat, d.array(table, np.int64), d.array(slopes, np.float64)


GAME = {"n": FEW, "i": FEW, "j": (1, 2, 3, 5), "k": (0, 1, 3)}
PRODUCTS = "its products are those of stack_forward, stack_backward and rows_gradient_into"
COMPLEX = "complex steps do not say where a NaN goes"


@row(adversarial.critic_into, threads=PRODUCTS, scratch="memory panels", kind=(-1, 0, 1), loss=range(3), nan=COMPLEX,
     rtol={"float32": 5e-5}, **GAME)  # fmt: skip
def _(d, n, i, j, k, kind, loss):
    sizes, flat, table, slopes = a_critic(d, n, i, j, k)
    real, fake, tau, gamma = d.normal(n, i), d.normal(n, i), d.uniform(n), 0.7
    between = wide(fake) + wide(tau)[:, None] * (wide(real) - wide(fake))

    def parts(theta):
        given = table, slopes
        total = sum(
            loss_of(scores_of(theta, *given, wide(x))[0][-1], sign, loss)
            for x, sign in ((real, 1), (fake, -1))
        )
        if kind < 0:
            return total, 0.0
        gates = scores_of(theta, *given, wide(real) if kind == 0 else between)[1]
        return total, penalty_of(slopes_of(theta, table, gates), kind, gamma)

    theta, grads = wide(flat), np.empty(flat.size)
    for p in range(flat.size):
        moved = theta.astype(complex)
        moved[p] += 1e-30j
        grads[p] = sum(parts(moved)).imag / 1e-30
    total, widest = n * sum(sizes[1:]), n * max(sizes)
    memory = (
        d.empty(total),
        d.empty(total),
        d.empty(total),
        d.empty(n),
        d.empty(n, i),
        d.empty(n, i),
    )
    memory = *memory, d.empty(widest), d.empty(n, i)
    panels = d.panels(*itertools.product((n, *sizes), (n, *sizes)))
    args = (
        flat,
        table,
        slopes,
        real,
        fake,
        tau,
        loss,
        kind,
        gamma,
        memory,
        panels,
        d.empty(flat.size),
    )
    return args, {"grads": grads, "returned": parts(theta)}


@row(
    adversarial.maker_into,
    threads=PRODUCTS,
    scratch="a delta ds panels",
    loss=range(3),
    nan=COMPLEX,
    **GAME,
)
def _(d, n, i, j, k, loss):
    sizes, flat, table, slopes = a_critic(d, n, i, j, k)
    fake = d.normal(n, i)

    def cost(x):
        s = scores_of(wide(flat), table, slopes, x)[0][-1]
        return -loss_of(s, -1, 0) if loss == 0 else loss_of(s, 1, loss)

    dx = np.empty((n, i))
    for at in np.ndindex(n, i):
        moved = wide(fake).astype(complex)
        moved[at] += 1e-30j
        dx[at] = cost(moved).imag / 1e-30
    total = n * sum(sizes[1:])
    panels = d.panels(*itertools.product((n, *sizes), (n, *sizes)))
    args = (
        flat,
        table,
        slopes,
        fake,
        loss,
        d.empty(total),
        d.empty(total),
        d.empty(n),
        panels,
        d.empty(n, i),
    )
    return args, {"dx": dx, "returned": cost(wide(fake))}
