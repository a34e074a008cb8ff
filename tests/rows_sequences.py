"""Rows of the registry: sequences in rows, recurrent layers, attention, text."""

import itertools

import numpy as np
from registry import ANY, FEW, NONE_OR_FEW, SOME, row, wide

from dlbook import attention as att
from dlbook import captioning, embeddings, gated, rnn
from dlbook import linear_classification as lc
from dlbook.fast import attend, gates, grams, looks, normal, recurrent, sequences, skipgram

WIDE = (1, 2, 3, 7, 8, 13, 16, 17, 33)

# How sequences lie


def steps_of(counts, n, states=False):
    """Yield for each sequence the rows of its steps, of states with that of the beginning."""
    begins = np.concatenate([[0], np.cumsum(counts)])
    for m in range(n):
        rows = [int(b) + m for b, count in zip(begins[:-1], counts, strict=True) if m < count]
        yield [m, *(n + r for r in rows)] if states else rows


@row(sequences.arrange_into, dtypes=("float32",), n=NONE_OR_FEW, steps=(0, 1, 2, 7))
def _(d, n, steps):
    lengths = d.array(d.rng.integers(0, steps + 1, n), np.int64)
    order = np.argsort(-lengths, kind="stable")
    counts = np.array([(lengths > t).sum() for t in range(steps)])
    places = [order[m] * steps + t for t in range(steps) for m in range(counts[t])]
    ends = [rows[-1] for rows in steps_of(counts, n, states=True)]
    whole = {"order": order, "counts": counts, "places": places, "last": ends}
    into = [d.empty(len(x), dtype=np.int64) for x in whole.values()]
    return (lengths, steps, *into), whole


@row(sequences.earlier_into, n=NONE_OR_FEW, t=(0, 1, 2, 7), j=ANY)
def _(d, n, t, j):
    _, counts = d.lengths(n, t)
    R = counts.sum()
    h, before = d.normal(n + R, j), np.empty((R, j))
    pairs = zip(steps_of(counts, n, states=True), steps_of(counts, n), strict=True)
    for states, rows in pairs:
        before[rows] = wide(h)[states[:-1]]
    return (h, counts, d.empty(R, j)), {"before": before}


@row(sequences.ends_into, n=NONE_OR_FEW, t=(0, 1, 2, 7), j=ANY)
def _(d, n, t, j):
    _, counts = d.lengths(n, t)
    h, order = d.normal(n + counts.sum(), j), d.array(d.rng.permutation(n), np.int64)
    last = d.array([rows[-1] for rows in steps_of(counts, n, states=True)], np.int64)
    ends = np.empty((n, j))
    ends[order] = wide(h)[last]
    return (h, last, order, d.empty(n, j)), {"ends": ends}


@row(
    sequences.look_up_into,
    scratch="turned",
    r=ANY,
    j=ANY,
    k=SOME,
    nan="a column that nobody looks up is not seen",
)
def _(d, r, j, k):
    x, wx, b = d.whole(k, r), d.normal(j, k), d.normal(j)
    one_hot = np.eye(k)[x]
    return (x, wx, b, d.empty(k, j), d.empty(r, j)), {"z": one_hot @ wide(wx).T + wide(b)}


@row(
    sequences.look_up_backward_into,
    scratch="turned",
    r=ANY,
    j=ANY,
    k=SOME,
    nan="a column that nobody looks up is not seen",
)
def _(d, r, j, k):
    delta, x, dwx = d.normal(r, j), d.whole(k, r), d.normal(j, k)
    return (delta, x, d.empty(k, j), dwx), {"dwx": wide(dwx) + wide(delta).T @ np.eye(k)[x]}


@row(sequences.reverse_into, dtypes=("float32",), n=NONE_OR_FEW, t=(0, 1, 2, 7))
def _(d, n, t):
    _, counts = d.lengths(n, t)
    turn = np.empty(counts.sum())
    for rows in steps_of(counts, n):
        turn[rows] = rows[::-1]
    return (counts, d.empty(counts.sum(), dtype=np.int64)), {"turn": turn}


# Recurrent layers


def activated(z, kind):
    return (np.tanh(z), np.maximum(z, 0), z)[kind]


def slope(h, kind):
    return (1 - h**2, 1.0 * (h > 0), np.ones_like(h))[kind]


@row(recurrent.activate_into, p=ANY, kind=range(3))
def _(d, p, kind):
    flat = d.normal(p)
    return (flat, kind), {"flat": activated(wide(flat), kind)}


@row(recurrent.activate_backward_into, p=ANY, kind=range(3))
def _(d, p, kind):
    delta, z = d.normal(p), d.normal(p)
    h = d.array(activated(wide(z), kind))
    nought = np.isnan(wide(h)) & (kind == 1)  # as in relu_prime: nothing comes back through a NaN
    return (delta, h, kind), {"delta": np.where(nought, 0, wide(delta) * slope(wide(h), kind))}


RUNS = {"n": (0, 1, 2, 5, 13), "t": (0, 1, 2, 5), "j": WIDE}


@row(recurrent.recur_into, scratch="panels", kind=range(3), **RUNS)
def _(d, n, t, j, kind):
    _, counts = d.lengths(n, t)
    h, wh = d.normal(n + counts.sum(), j), d.of(d.rng.normal(size=(j, j)) / np.sqrt(j))
    expected = wide(h)
    for rows in steps_of(counts, n, states=True):
        for before, now in itertools.pairwise(rows):
            expected[now] = activated(expected[now] + wide(wh) @ expected[before], kind)
        if kind == 0:
            states = rnn.states(
                wide(h)[rows[1:]], wide(h)[rows[0]], np.eye(j), wide(wh), np.zeros(j)
            )
            np.testing.assert_allclose(states, expected[rows], atol=1e-12)
    return (h, counts, wh, kind, d.panels((j, j))), {"h": expected}


@row(recurrent.recur_backward_into, scratch="panels", kind=range(3), **RUNS)
def _(d, n, t, j, kind):
    _, counts = d.lengths(n, t)
    R, wh = int(counts.sum()), d.of(d.rng.normal(size=(j, j)) / np.sqrt(j))
    delta, h = d.normal(R, j), d.array(activated(d.rng.normal(size=(n + R, j)), kind))
    after = d.normal(int(d.rng.integers(counts[-1] + 1)) if R else 0, j)
    expected, dstart = wide(delta), np.zeros((n, j))
    if R:
        begin = R - counts[-1]
        expected[begin : begin + len(after)] += wide(after)
    pairs = zip(steps_of(counts, n, states=True), steps_of(counts, n), strict=True)
    for m, (states, rows) in enumerate(pairs):
        outside, later = expected[rows], np.zeros(j)
        for at, r in reversed(list(zip(states[1:], rows, strict=True))):
            back, shut = expected[r] + later, (kind == 1) & ~(wide(h)[at] > 0)
            expected[r] = np.where(shut, 0, slope(wide(h)[at], kind) * back)
            later = wide(wh).T @ expected[r]
        dstart[m] = later
        if kind == 0 and rows:
            literal = rnn.deltas(outside, wide(h)[states], wide(wh))
            np.testing.assert_allclose(literal, expected[rows], atol=1e-12)
    args = delta, h, counts, wh, kind, d.panels((j, j)), after, d.empty(n, j)
    return args, {"delta": expected, "dstart": dstart}


def share_of(d, n):
    """Return the first and the last of the sequences that one thread has: all, or some."""
    return (
        (0, n) if d.rng.random() < 0.5 or n < 2 else sorted(d.rng.choice(n + 1, 2, False).tolist())
    )


ZEROS = "the literal form multiplies a NaN by zeros, which gives more of them"


@row(gates.lstm_into, nan=ZEROS, **RUNS)
def _(d, n, t, j):
    _, counts = d.lengths(n, t)
    R, (begin, stop) = int(counts.sum()), share_of(d, n)
    z, wh = d.normal(R, 4 * j), d.of(d.rng.normal(size=(4 * j, j)) / np.sqrt(j))
    h, c, tanh_c = d.empty(n + R, j), d.empty(n + R, j), d.empty(R, j)
    h[:n], c[:n] = d.rng.normal(size=(2, n, j))
    expected = [wide(x) for x in (z, h, c, tanh_c)]
    pairs = list(zip(steps_of(counts, n, states=True), steps_of(counts, n), strict=True))
    for states, rows in pairs[begin:stop]:
        start = wide(h)[states[0]], wide(c)[states[0]]
        given = wide(z)[rows], *start, np.eye(4 * j), wide(wh), np.zeros(4 * j)
        up, cells, found = gated.lstm_states(*given)
        expected[0][rows], expected[1][states], expected[2][states] = found, up, cells
        expected[3][rows] = np.tanh(cells[1:])
    args = z, h, c, tanh_c, counts, d.in_panels(wide(wh).T), begin, stop
    return args, dict(zip(("z", "h", "c", "tanh_c"), expected, strict=True))


@row(gates.lstm_backward_into, scratch="dh", **RUNS)
def _(d, n, t, j):
    _, counts = d.lengths(n, t)
    R, (begin, stop) = int(counts.sum()), share_of(d, n)
    dh, wh = d.normal(R, j), d.of(d.rng.normal(size=(4 * j, j)) / np.sqrt(j))
    z, c, dc = d.uniform(R, 4 * j), d.normal(n + R, j), d.normal(n, j)
    pairs = list(zip(steps_of(counts, n, states=True), steps_of(counts, n), strict=True))
    tanh_c = d.array(np.tanh(wide(c)[n:]))
    after = d.normal(int(d.rng.integers(counts[-1] + 1)) if R else 0, j)
    into = d.empty(n, j)
    e, delta, dstart, before = wide(dh), wide(z), wide(into), wide(dc)
    e[R - counts[-1:].sum() :][: len(after)] += wide(after)
    for m, (states, rows) in enumerate(pairs):
        if not begin <= m < stop or not rows:
            continue
        if (
            not wide(dc)[m].any() or d.rng.random() < 0.5
        ):  # the literal form has no ∂C/∂c behind the end
            literal = gated.lstm_deltas(e[rows], wide(z)[rows], wide(c)[states], wide(wh))
        else:
            literal = None
        kept = e.copy()
        for fro in (np.zeros(j), wide(dc)[m]):
            e[:], back = kept, fro
            for at, r in reversed(list(zip(states[1:], rows, strict=True))):
                i, f, g, o = wide(z)[r].reshape(4, j)
                u, old = wide(tanh_c)[at - n], wide(c)[states[states.index(at) - 1]]
                cell = back + e[r] * o * (1 - u**2)
                delta[r] = np.concatenate([
                    cell * g * i * (1 - i), cell * old * f * (1 - f), cell * i * (1 - g**2), e[r] * u * o * (1 - o),
                ])  # fmt: skip
                back = cell * f
                down = wide(wh).T @ delta[r]
                if r == rows[0]:
                    dstart[m], before[m] = down, back
                else:
                    e[rows[rows.index(r) - 1]] += down
            if not fro.any() and literal is not None and d.poisoned < 0:
                np.testing.assert_allclose(delta[rows], literal, atol=1e-6)
        e[:] = kept
    args = dh, z, c, tanh_c, counts, d.in_panels(wide(wh)), after, into, dc, begin, stop
    return args, {"z": delta, "dstart": dstart, "dc": before}


@row(gates.gru_into, scratch="p", nan=ZEROS, **RUNS)
def _(d, n, t, j):
    _, counts = d.lengths(n, t)
    R, (begin, stop) = int(counts.sum()), share_of(d, n)
    z, wh, bh = d.normal(R, 3 * j), d.of(d.rng.normal(size=(3 * j, j)) / np.sqrt(j)), d.normal(j)
    h, q = d.empty(n + R, j), d.empty(R, j)
    h[:n] = d.rng.normal(size=(n, j))
    expected = [wide(x) for x in (z, h, q)]
    pairs = list(zip(steps_of(counts, n, states=True), steps_of(counts, n), strict=True))
    for states, rows in pairs[begin:stop]:
        b = np.concatenate([np.zeros(3 * j), wide(bh)])
        up, found = gated.gru_states(wide(z)[rows], wide(h)[states[0]], np.eye(3 * j), wide(wh), b)
        expected[0][rows], expected[1][states] = found[:, : 3 * j], up
        expected[2][rows] = found[:, 3 * j :]
    args = z, h, q, bh, counts, d.in_panels(wide(wh).T), d.empty(n, 3 * j), begin, stop
    return args, dict(zip(("z", "h", "q"), expected, strict=True))


@row(gates.gru_backward_into, scratch="dh", **RUNS)
def _(d, n, t, j):
    _, counts = d.lengths(n, t)
    R, (begin, stop) = int(counts.sum()), share_of(d, n)
    dh, wh = d.normal(R, j), d.of(d.rng.normal(size=(3 * j, j)) / np.sqrt(j))
    z, q, h, dstart = d.uniform(R, 3 * j), d.normal(R, j), d.normal(n + R, j), d.zeros(n, j)
    after = d.normal(int(d.rng.integers(counts[-1] + 1)) if R else 0, j)
    outside, dx, dq, first = wide(dh), wide(z), wide(q), wide(dstart)
    outside[R - counts[-1:].sum() :][: len(after)] += wide(after)
    pairs = list(zip(steps_of(counts, n, states=True), steps_of(counts, n), strict=True))
    for m, (states, rows) in enumerate(pairs):
        if not begin <= m < stop or not rows:
            continue
        found = np.hstack([wide(z)[rows], wide(q)[rows]])
        dx[rows], inside = gated.gru_deltas(outside[rows], found, wide(h)[states], wide(wh))
        dq[rows], e = inside[:, 2 * j :], np.zeros(j)
        for place in range(len(rows) - 1, -1, -1):
            e = outside[rows[place]] + e
            e = wide(z)[rows[place], j : 2 * j] * e + wide(wh).T @ inside[place]
        first[m] = e
    packed = d.in_panels(wide(wh)[: 2 * j]), d.in_panels(wide(wh)[2 * j :])
    args = dh, z, q, h, counts, *packed, after, dstart, begin, stop
    return args, {"z": dx, "q": dq, "dstart": first}


# A decoder that looks at places


@row(looks.look_into, n=NONE_OR_FEW, s=SOME, c=SOME)
def _(d, n, s, c):
    v, r = d.normal(n, s, c), int(d.rng.integers(n + 1))
    q = d.normal(r, c)
    found = [captioning.look(wide(q)[m], wide(v)[m], np.eye(c)) for m in range(r)]
    o, a = np.reshape([f[0] for f in found], (r, c)), np.reshape([f[1] for f in found], (r, s))
    return (v, q, d.empty(r, s), d.empty(r, c)), {"a": a, "o": o}


@row(looks.look_backward_into, n=NONE_OR_FEW, s=SOME, c=SOME)
def _(d, n, s, c):
    v, r = d.normal(n, s, c), int(d.rng.integers(n + 1))
    do, q, more, dv = d.normal(r, c), d.normal(r, c), d.normal(n, s), d.normal(n, s, c)
    a = d.array([captioning.look(wide(q)[m], wide(v)[m], np.eye(c))[1] for m in range(r)])
    a = a.reshape(r, s)
    dq, into = np.empty((r, c)), wide(dv)
    for m in range(r):
        weights, places, back = wide(a)[m], wide(v)[m], wide(do)[m]
        jacobian = np.diag(weights) - np.outer(weights, weights)
        dz = jacobian @ (places @ back + wide(more)[m]) / np.sqrt(c)
        dq[m] = dz @ places
        into[m] += np.outer(weights, back) + np.outer(dz, wide(q)[m])
        if d.poisoned < 0:  # without `more` it is the literal form
            alone = jacobian @ (places @ back) / np.sqrt(c)
            literal = captioning.look_backward(back, wide(q)[m], places, np.eye(c), weights)
            np.testing.assert_allclose(literal[0], alone @ places, atol=1e-6)
    return (do, v, q, a, more, d.empty(r, c), dv), {"dq": dq, "dv": into}


@row(looks.missed_into, n=NONE_OR_FEW, t=(0, 1, 2, 5), s=ANY)
def _(d, n, t, s):
    _, counts = d.lengths(n, t)
    a = d.uniform(counts.sum(), s)
    missed = np.array([1 - wide(a)[rows].sum(axis=0) for rows in steps_of(counts, n)]).reshape(n, s)
    cost = sum(captioning.coverage(wide(a)[rows], 1.0) for rows in steps_of(counts, n))
    return (a, counts, d.empty(n, s)), {"missed": missed, "returned": cost}


LOOKING = {
    "n": (0, 1, 2, 3),
    "t": (0, 1, 2, 3),
    "j": (1, 2, 3, 8),
    "s": (1, 2, 3),
    "c": (1, 2, 3, 8),
}


def looked(z, h_0, c_0, v, wh, wq, wo, counts):
    """Return h, c, gates, tanh(c), q, a, o of all steps; of complex numbers too."""
    (n, J), R, kind = h_0.shape, len(z), np.result_type(z, h_0, c_0, v)
    h, c = (np.concatenate([start, np.zeros((R, J), kind)]) for start in (h_0, c_0))
    sizes = 4 * J, J, v.shape[2], v.shape[1], v.shape[2]
    found, u, q, a, o = (np.zeros((R, size), kind) for size in sizes)
    pairs = zip(steps_of(counts, n, states=True), steps_of(counts, n), strict=True)
    for m, (states, rows) in enumerate(pairs):
        for before, now, r in zip(states, states[1:], rows, strict=False):
            q[r] = wq @ h[before]
            scores = np.exp(v[m] @ q[r] / np.sqrt(v.shape[2]))
            a[r] = scores / scores.sum()
            o[r] = a[r] @ v[m]
            i, f, g, out = (z[r] + wo @ o[r] + wh @ h[before]).reshape(4, -1)
            i, f, out = (1 / (1 + np.exp(-gate)) for gate in (i, f, out))
            found[r] = np.concatenate([i, f, np.tanh(g), out])
            c[now] = f * c[before] + i * np.tanh(g)
            u[r] = np.tanh(c[now])
            h[now] = out * u[r]
    return h, c, found, u, q, a, o


def a_looking(d, n, t, j, s, c):
    """Draw weights, beginnings, places and weighted inputs."""
    _, counts = d.lengths(n, t)
    z, v = d.normal(counts.sum(), 4 * j), d.normal(n, s, c)
    start = d.rng.normal(size=(2, n, j)).astype(d.dtype)
    wh, wq, wo = (d.of(0.5 * d.rng.normal(size=size)) for size in ((4 * j, j), (c, j), (4 * j, c)))
    return counts, z, v, start, wh, wq, wo


@row(looks.looking_into, **LOOKING)
def _(d, n, t, j, s, c):
    counts, z, v, start, wh, wq, wo = a_looking(d, n, t, j, s, c)
    h, cells, gate, u, q, a, o = looked(*map(wide, (z, *start, v, wh, wq, wo)), counts)
    expected = {"z": gate, "h": h, "c": cells, "tanh_c": u, "q": q, "a": a, "o": o}
    mine = {key: d.empty(*x.shape) for key, x in expected.items() if key != "z"}
    mine["h"][:n], mine["c"][:n] = start
    packed = (d.in_panels(wide(w).T) for w in (wh, wq, wo))
    states = mine["h"], mine["c"], mine["tanh_c"]
    return (z, *states, counts, *packed, v, mine["q"], mine["a"], mine["o"]), expected


@row(
    looks.looking_backward_into,
    scratch="dh",
    nan="complex steps do not say where a NaN goes",
    **LOOKING,
)
def _(d, n, t, j, s, c):
    counts, z, v, start, wh, wq, wo = a_looking(d, n, t, j, s, c)
    given = dict(zip(("z", "h", "c", "v"), map(wide, (z, *start, v)), strict=True))
    weights = *map(wide, (wh, wq, wo)), counts
    _h, cells, gate, u, q, a, _o = looked(*given.values(), *weights)
    dh, do = d.normal(*z[:, :j].shape), d.normal(len(z), c)
    more, dc, dv = d.normal(n, s), d.normal(n, j), d.normal(n, s, c)
    lasts = [rows[-1] for rows in steps_of(counts, n, states=True)]
    owner = np.zeros(len(z), int)
    for m, rows in enumerate(steps_of(counts, n)):
        owner[rows] = m

    def cost(**changed):
        h, cells, _, _, _, a, o = looked(*(given | changed).values(), *weights)
        total = (wide(dh) * h[n:]).sum() + (wide(do) * o).sum() + (wide(more)[owner] * a).sum()
        return total + (wide(dc) * cells[lasts]).sum()

    def slopes(key):
        found = np.zeros(given[key].shape)
        for at in np.ndindex(found.shape):
            moved = given[key].astype(complex)
            moved[at] += 1e-30j
            found[at] = cost(**{key: moved}).imag / 1e-30
        return found

    delta = slopes("z")
    back, dq = wide(do) + delta @ wide(wo), np.empty((len(z), c))
    for r, m in enumerate(owner):
        jacobian = np.diag(a[r]) - np.outer(a[r], a[r])
        dq[r] = jacobian @ (given["v"][m] @ back[r] + wide(more)[m]) @ given["v"][m] / np.sqrt(c)
    dstart, into, before = d.empty(n, j), wide(dv) + slopes("v"), slopes("c")
    first = np.where(np.arange(n)[:, None] < (counts[0] if len(counts) else 0), slopes("h"), np.nan)
    packed = (d.in_panels(wide(w)) for w in (wh, wq, wo))
    kept = d.array(gate), d.array(cells), d.array(u), counts, *packed, v, d.array(q), d.array(a)
    args = dh, do, *kept, more, dstart, dc, d.empty(len(z), c), dv
    return args, {"z": delta, "do": back, "dstart": first, "dc": before, "dq": dq, "dv": into}


# Attention in tiles

HEADS = {
    "n": NONE_OR_FEW,
    "h": (1, 2, 3),
    "t": (1, 2, 15, 17, 25, 64, 65, 70),
    "s": (1, 2, 16, 63, 64, 65, 130),
}
HEADS |= {
    "k": (1, 3, 16, 17, 33),
    "v": (1, 2, 16, 17, 33),
    "causal": (0, 1),
    "side": (0, 1),
    "short": (0, 1),
}
MANY = {"n": 3, "h": 4, "t": 130, "s": 130, "k": 33, "v": 17, "causal": 1, "side": 1, "short": 1}


def attended(q, k, v, o, L, lengths, how, work, side, query_lengths):
    attend.attend(q, k, v, o, L, lengths, how, work, side=side, query_lengths=query_lengths)


def attended_backward(do, q, k, v, o, L, dq, dk, dv, lengths, how, work, side, query_lengths):
    attend.attend_backward(
        do, q, k, v, o, L, dq, dk, dv, lengths, how, work, side=side, query_lengths=query_lengths
    )


def heads_of(d, n, h, t, s, k, v, causal, side, short):
    """Draw what attention gets, and what it gives by the literal form, head by head."""
    q, keys, values = d.normal(n, h, t, k), d.normal(n, h, s, k), d.normal(n, h, s, v)
    lengths, queries = d.array(np.full(n, s), np.int64), None
    if short:
        lengths, queries = d.whole(s + 1, n), d.whole(t + 1, n)
    how = (int(d.rng.integers(3)), 1) if causal else (0, 0)
    T = np.arange(t)[:, None]
    masks = [
        (np.arange(s) < lengths[m]) & ((t if queries is None else queries[m]) > T)
        & ((np.arange(s) <= how[0] + T) | (not causal)) for m in range(n)
    ]  # fmt: skip
    return q, keys, values, lengths, queries, how, np.reshape(masks, (n, t, s)).astype(bool)


def laid(x, side):
    """Return heads as they lie: those of a step side by side, or one after the other."""
    return np.ascontiguousarray(x.transpose(0, 2, 1, 3)) if side else x


def attention_of(q, keys, values, masks):
    """Return o, the weights and L, zero and −∞ for what sees nothing."""
    (N, H, T, _), S, V = q.shape, keys.shape[2], values.shape[3]
    o, a, L = np.zeros((N, H, T, V)), np.zeros((N, H, T, S)), np.full((N, H, T), -np.inf)
    for n, h in np.ndindex(N, H):
        sees = masks[n].any(axis=1)
        if sees.any():
            some = wide(q)[n, h][sees], wide(keys)[n, h], wide(values)[n, h], masks[n][sees]
            o[n, h, sees], a[n, h, sees] = att.dot_product_attention(*some)
            z = np.where(some[3], some[0] @ some[1].T / np.sqrt(q.shape[3]), -np.inf)
            L[n, h, sees] = lc.log_sum_exp(z)
    return o, a, L


HOW_NAN = (
    "a NaN among keys that a query does not see stays out of tiles, and may not in the literal form"
)


@row(attend.attend, call=attended, rtol={"float32": 5e-5}, threads=MANY, nan=HOW_NAN, **HEADS)
def _(d, side, **sizes):
    q, keys, values, lengths, queries, how, masks = heads_of(d, side=side, **sizes)
    o, _, L = attention_of(q, keys, values, masks)
    given = (d.array(laid(x, side)) for x in (q, keys, values))
    out, sums = laid(o, side), L.reshape(-1, sizes["t"])
    args = (
        *given,
        d.empty(*out.shape),
        d.empty(*sums.shape),
        lengths,
        how,
        d.memory(),
        bool(side),
        queries,
    )
    return args, {"o": out, "L": sums}


@row(attend.attend_backward, call=attended_backward, rtol={"float32": 2e-4, "float64": 1e-11}, threads=MANY,
     nan=HOW_NAN, **HEADS)  # fmt: skip
def _(d, side, **sizes):
    q, keys, values, lengths, queries, how, masks = heads_of(d, side=side, **sizes)
    o, a, L = attention_of(q, keys, values, masks)
    do = d.normal(*o.shape)
    slopes = [np.zeros(x.shape) for x in (q, keys, values)]
    for n, h in np.ndindex(o.shape[:2]):
        seen = masks[n].any(axis=1)
        given = (wide(x)[n, h] for x in (q, keys, values))
        literal = att.dot_product_attention_backward(
            wide(do)[n, h] * seen[:, None], *given, a[n, h]
        )
        for into, found in zip(slopes, literal, strict=True):
            into[n, h] = found
    given = (d.array(laid(wide(x), side)) for x in (do, q, keys, values, o))
    slopes = [laid(x, side) for x in slopes]
    args = *given, d.array(L.reshape(-1, sizes["t"])), *(d.empty(*x.shape) for x in slopes)
    args = *args, lengths, how, d.memory(), bool(side), queries
    return args, dict(zip(("dq", "dk", "dv"), slopes, strict=True))


# Text


@row(grams.number, dtypes=("float32",), t=(0, 1, 2, 50), v=(1, 2, 7), room=(1, 3, 32))
def _(d, t, v, room):
    contexts, ids, table, out = d.whole(5, t) * 977, d.whole(v, t), {}, d.empty(t, dtype=np.int64)
    expected, at = out.copy(), t
    often, begun = np.full((2, room), 77)
    for place, key in enumerate((contexts * v + ids).tolist()):
        if key not in table and len(table) == room:
            at = place
            break
        n = expected[place] = table.setdefault(key, len(table))
        if n == len(table) - 1 and begun[n] == 77:
            often[n], begun[n] = 0, place
        often[n] += 1
    numbers = np.full(room, 77)
    numbers[: len(table)] = list(table)
    slots = d.array(np.full(64, -1), np.int32)
    rooms = [d.empty(room, dtype=np.int64) for _ in range(3)]
    found = {"out": expected, "known": numbers, "counts": often, "begun": begun, "slots": None}
    return (contexts, ids, v, slots, *rooms, out, 0, 0), found | {"returned": (at, len(table))}


def a_table(d, keys):
    """Draw different keys and the table that finds them."""
    known = d.array(d.rng.permutation(10 * keys)[:keys] * 31, np.int64)
    slots = d.array(np.full(64, -1), np.int32)
    return known, slots


@row(grams.settle, dtypes=("float32",), keys=(0, 1, 2, 30))
def _(d, keys):
    known, slots = a_table(d, keys)
    kept = slots.copy()
    for k, key in enumerate(known.tolist()):  # each in the first free slot from its own on
        mixed = ((key ^ (key >> grams.HALF)) & grams.LOW) * grams.MIX
        s = (mixed ^ (mixed >> grams.HALF)) & 63
        while kept[s] >= 0:
            s = (s + 1) & 63
        kept[s] = k
    return (slots, known, keys), {"slots": kept}


@row(grams.find, dtypes=("float32",), t=(0, 1, 2, 50), keys=(0, 1, 2, 30), v=(1, 2, 7))
def _(d, t, keys, v):
    known, slots = a_table(d, keys)
    grams.settle(slots, known, keys)
    ids, contexts = d.whole(v, t), d.array(d.rng.integers(-1, 40, t), np.int64)
    place = {key: k for k, key in enumerate(known.tolist())}
    pairs = zip(contexts.tolist(), ids.tolist(), strict=True)
    numbers = [place.get(c * v + i, -1) if c >= 0 else -1 for c, i in pairs]
    return (contexts, ids, v, slots, known, d.empty(t, dtype=np.int64)), {"out": numbers}


def splitmix(z):
    """The generator of Steele, Lea & Flood in Python's own numbers."""
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) % 2**64
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) % 2**64
    return z ^ (z >> 31)


@row(
    skipgram.mixed,
    dtypes=("float32",),
    plain="NumPy warns where a product of whole numbers overflows",
)
def _(d):
    z = int(d.rng.integers(2**63)) * 2 + 1
    return (np.uint64(z),), {"returned": splitmix(z)}


def an_alias_table(d, v):
    share, other = embeddings.alias_table(wide(d.positive(v)))
    keep = np.minimum(np.round(share * 2**32), 2**32).astype(np.uint64)
    return d.array(keep, np.uint64), d.array(other, np.int64)


def drawn(z, keep, other):
    v = ((z >> 32) * len(keep)) >> 32
    return v if (z % 2**32) < int(keep[v]) else int(other[v])


@row(skipgram.draw, dtypes=("float32",), v=SOME)
def _(d, v):
    (keep, other), z = an_alias_table(d, v), int(d.rng.integers(2**63))
    return (np.uint64(z), keep, other), {"returned": drawn(z, keep, other)}


def stepped(W, C, w, chosen, rate):
    """Take a step of gradient descent; where a context is chosen twice it moves twice."""
    g = np.zeros(W.shape[1])
    for k, c in enumerate(chosen):
        e = rate * ((k == 0) - lc.sigmoid(np.asarray(W[w] @ C[c])))
        g += e * C[c]
        C[c] += e * W[w]
    W[w] += g
    return g


@row(skipgram.pair_step, dtypes=("float32",), v=FEW, dim=(16, 32), k=NONE_OR_FEW)
def _(d, v, dim, k):
    W, C, w, chosen = d.normal(v, dim), d.normal(v, dim), int(d.whole(v)), d.whole(v, 1 + k)
    before, after = wide(W), wide(C)
    g = stepped(before, after, w, chosen, 0.1)
    args = W, C, w, chosen, np.float32(0.1), d.empty(dim)
    return args, {"W": before, "C": after, "g": g}


@row(skipgram.learn_part, dtypes=("float32",), p=FEW, t=NONE_OR_FEW, v=FEW, window=FEW, k=NONE_OR_FEW,
     nan="a word that is left out stays out", rtol={"float32": 1e-4},
     plain="NumPy warns where a product of whole numbers overflows")  # fmt: skip
def _(d, p, t, v, window, k):
    starts = d.array(np.concatenate([[0], np.cumsum(d.rng.integers(0, t + 2, p))]), np.int64)
    ids, (keep, other) = d.whole(v, int(starts[-1])), an_alias_table(d, v)
    first, last = sorted(d.rng.choice(p + 1, 2, False).tolist())
    stay = d.array(d.rng.uniform(0.5, 1.1, v) * 2**32, np.uint64)
    W, C, seed, rates = d.normal(v, 16), d.normal(v, 16), int(d.rng.integers(2**62)), (0.2, 0.05)
    before, after, z, pairs = wide(W), wide(C), seed, 0
    begin, end = int(starts[first]), int(starts[last])
    for para in range(first, last):
        done = (starts[para] - begin) / max(1, end - begin)
        rate, text = rates[0] + (rates[1] - rates[0]) * done, []
        for word in ids[starts[para] : starts[para + 1]]:
            z = (z + 0x9E3779B97F4A7C15) % 2**64
            text += [int(word)] if (splitmix(z) >> 32) < int(stay[word]) else []
        for at, word in enumerate(text):
            z = (z + 0x9E3779B97F4A7C15) % 2**64
            reach = 1 + (((splitmix(z) >> 32) * window) >> 32)
            for u in range(max(0, at - reach), min(len(text), at + reach + 1)):
                if u != at:
                    chosen = [text[u]]
                    for _ in range(k):
                        z = (z + 0x9E3779B97F4A7C15) % 2**64
                        chosen.append(drawn(splitmix(z), keep, other))
                    stepped(before, after, word, chosen, rate)
                    pairs += 1
    args = ids, starts, first, last, stay, keep, other, W, C, window, k, rates, np.uint64(seed)
    return args, {"W": before, "C": after, "returned": pairs}


@row(
    normal.normal_into,
    dtypes=("float32",),
    i=(*ANY, 1000),
    plain="NumPy warns where a product overflows",
)
def _(d, i):
    """Box & Muller's formula, from the same 32-bit hashes in Python's own numbers."""
    first, second = (int(s) for s in d.rng.integers(2**32, size=2))

    def mixed(h):
        h = ((h ^ (h >> 16)) % 2**32 * 0x21F0AAAD) % 2**32
        h = ((h ^ (h >> 15)) * 0xD35A2D97) % 2**32
        return h ^ (h >> 15)

    half, out = (i + 1) // 2, np.empty(i)
    for n in range(half):
        place = half if half + n == i else n  # the last of an odd number has a place of its own
        h = mixed(place * 0x9E3779B9 % 2**32 + first)  # compiled, the sum has 33 bits
        where = mixed(h ^ second)
        angle = ((where >> 8) + 0.5) * 2.0**-24 * np.pi / 4
        s, c = np.sin(angle), np.cos(angle)
        s, c = (c, s) if where & 1 else (s, c)
        s, c = (-s if where & 2 else s), (-c if where & 4 else c)
        chance = ((mixed((h + second + 0x85EBCA6B) % 2**32) >> 8) + 0.5) * 2.0**-24
        r = np.sqrt(-2 * np.log(chance))
        out[n] = r * c
        if half + n < i:
            out[half + n] = r * s
    return (np.uint32(first), np.uint32(second), d.empty(i)), {"out": out}
