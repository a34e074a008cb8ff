"""Exercises of the chapter on gated networks.

Page: ``book/gated.md``. Axes: t steps, s = t + 1 states, k inputs, j units, i units a step earlier;
m rows of several gates, one below the other.
"""

import numpy as np

from dlbook import gated as chapter
from dlbook.exercises.forms import Choice, Exercise, Mistake, sizes
from dlbook.tools.jit import njit
from dlbook.verification import complex_step

__all__ = ["EXERCISES"]


def sigma(z):
    return 1 / (1 + np.exp(-z))


# How long a cell remembers


def hold_probes(rng):
    """A half after one step and after two; then long lags."""
    yield np.array([1.0, 2.0]), 0.5
    for j in sizes(rng, 5, least=2, most=8):
        yield np.exp(rng.uniform(1, 5, size=j)), float(rng.uniform(0.1, 0.9))


def bias_for(T, share):
    return -np.log(share ** (-1 / T) - 1)


def bias_by_gate(T, share):
    f = share ** (1 / T)
    return np.log(f / (1 - f))


def bias_by_logarithms(T, share):
    return -np.log(np.expm1(-np.log(share) / T))


@njit
def bias_compiled(T, share):
    b = np.empty(T.shape[0])
    for j in range(T.shape[0]):
        f = share ** (1 / T[j])
        b[j] = np.log(f) - np.log(1 - f)
    return b


HOLD = Exercise(
    label="gated-hold",
    task="Write `bias_for(T, share)`: the bias b with which σ(b), taken T_j times, leaves that share of a cell.",
    reference=bias_for,
    axes="(j), () -> (j)",
    probes=hold_probes,
    mistakes=(
        Mistake(
            "this is the gate, not its bias",
            lambda T, share: share ** (1 / T),
            "The gate is σ(b). The bias is what the sigmoid is applied to: log(f / (1 − f)).",
            "{eq}`gated-forget`",
        ),
        Mistake(
            "this is the bias of a gate that forgets that share",
            lambda T, share: bias_for(T, 1 - share),
            "`share` is what is left after T steps, not what is gone.",
            "{eq}`gated-cell-gradient`",
        ),
        Mistake(
            "what is lost is spread evenly over the steps",
            lambda T, share: bias_by_gate(1.0, 1 - (1 - share) / T),
            "The gates of the steps are multiplied, not their losses added: f^T = share.",
            "{eq}`gated-cell-gradient`",
        ),
        Mistake(
            "the share is left after one step",
            lambda T, share: bias_for(np.ones_like(T), share),
            "The lag does not enter. T steps of the same gate multiply to f^T.",
            "{eq}`gated-cell-gradient`",
        ),
        Mistake(
            "this is the logarithm of the lag",
            lambda T, share: np.log(T),
            "That is what is left of the formula for long lags and a share of 1/e.",
            "{ref}`ex-gated-hold`",
        ),
        Mistake(
            "the gate is that of tanh",
            lambda T, share: np.arctanh(share ** (1 / T)),
            "Gates are sigmoids; tanh bends the candidate.",
            "{eq}`gated-forget`",
        ),
    ),
    hints=(
        "If the gate is the same f at all steps, what is left of a cell after T of them?",
        "f^T = share gives f. Which b has σ(b) = f?",
        "f = share ** (1 / T), and b = log(f / (1 − f)).",
    ),
    used="`forget_bias` is this bias; by {eq}`gated-cell-gradient` the gradient of the direct path is the same product.",
    right=(bias_by_gate, bias_by_logarithms, bias_compiled),
    others=(
        (lambda T, share: -bias_for(T, share), "every number has the opposite sign"),
        (lambda T, share: bias_for(T, share).sum(), "wrong type or shape"),
        (lambda T, share: bias_for(T, share) + 0.1, "wrong"),
    ),
)


# One gate for two


def coupled_probes(rng):
    """One cell, one step; then several of each."""
    column = np.array([[1.0], [2.0], [-1.0]])
    yield np.array([[1.0]]), np.array([0.5]), np.array([2.0]), column, column / 2, np.zeros(3)
    for _ in range(4):
        t, k, j = sizes(rng, 3, least=2, most=6)
        weights = rng.normal(size=(3 * j, k)), rng.normal(size=(3 * j, j)), rng.normal(size=3 * j)
        yield rng.normal(size=(t, k)), rng.normal(size=j), rng.normal(size=j), *weights


def _coupled(
    x,
    h,
    c,
    wx,
    wh,
    b,
    keep=lambda f: f,
    write=lambda f: 1 - f,
    see=np.tanh,
    order="fgo",
    late=False,
):
    """Return the states of all steps, coupled by another rule."""
    J, found = len(h), [h]
    for step in x:
        z = wx @ step + wh @ h + b
        part = {name: z[m * J : (m + 1) * J] for m, name in enumerate(order)}
        f, g, o = sigma(part["f"]), np.tanh(part["g"]), sigma(part["o"])
        before, c = c, keep(f) * c + write(f) * g
        h = o * see(before if late else c)
        found.append(h)
    return np.array(found)


def coupled_states(x, h_0, c_0, wx, wh, b):
    return _coupled(x, h_0, c_0, wx, wh, b)


def coupled_by_steps(x, h_0, c_0, wx, wh, b):
    J, h, c = len(h_0), [h_0], c_0
    f, g, o = slice(0, J), slice(J, 2 * J), slice(2 * J, 3 * J)
    for step in x:
        forget = chapter.forget_gate(step, h[-1], wx[f], wh[f], b[f])
        new = chapter.candidate(step, h[-1], wx[g], wh[g], b[g])
        c = chapter.cell_state(forget, c, 1 - forget, new)
        shown = chapter.output_gate(step, h[-1], wx[o], wh[o], b[o])
        h.append(chapter.hidden_state(shown, c))
    return np.array(h)


def coupled_as_lstm(x, h_0, c_0, wx, wh, b):
    """1 − σ(z) = σ(−z): an LSTM whose input gate has the weights of the forget gate, turned round."""
    J = len(h_0)
    whole = (np.concatenate((-w[:J], w)) for w in (wx, wh, b))
    return chapter.lstm_states(x, h_0, c_0, *whole)[0]


@njit
def coupled_compiled(x, h_0, c_0, wx, wh, b):
    J = h_0.shape[0]
    h, c = np.empty((x.shape[0] + 1, J)), c_0.copy()
    h[0] = h_0
    for t in range(x.shape[0]):
        z = b.copy()
        for m in range(3 * J):
            for k in range(x.shape[1]):
                z[m] += wx[m, k] * x[t, k]
            for i in range(J):
                z[m] += wh[m, i] * h[t, i]
        for j in range(J):
            f, g = 1 / (1 + np.exp(-z[j])), np.tanh(z[J + j])
            c[j] = f * c[j] + (1 - f) * g
            h[t + 1, j] = np.tanh(c[j]) / (1 + np.exp(-z[2 * J + j]))
    return h


COUPLED = Exercise(
    label="gated-coupled",
    task="Write `coupled_states(x, h_0, c_0, wx, wh, b)`: states of an LSTM with i = 1 − f; weights in the order f, g, o.",
    reference=coupled_states,
    axes="(t k), (j), (j), (m k), (m i), (m) -> (s j)",
    probes=coupled_probes,
    mistakes=(
        Mistake(
            "nothing couples the gates",
            lambda x, h, c, wx, wh, b: _coupled(x, h, c, wx, wh, b, write=lambda f: 1.0),
            "The candidate comes in undiminished. What is kept and what comes in add up to one.",
            "{eq}`gated-cell`",
        ),
        Mistake(
            "the forget gate stands before both terms",
            lambda x, h, c, wx, wh, b: _coupled(x, h, c, wx, wh, b, write=lambda f: f),
            "A cell that keeps all has no room for new content: the candidate gets 1 − f.",
            "{eq}`gated-cell`",
        ),
        Mistake(
            "keeping and writing are exchanged",
            lambda x, h, c, wx, wh, b: _coupled(
                x, h, c, wx, wh, b, keep=lambda f: 1 - f, write=lambda f: f
            ),
            "The forget gate says what stays: f times the old cell, 1 − f times the candidate.",
            "{eq}`gated-cell`",
        ),
        Mistake(
            "the cell is shown without a bend",
            lambda x, h, c, wx, wh, b: _coupled(x, h, c, wx, wh, b, see=lambda c: c),
            "The state is the output gate times tanh of the cell.",
            "{eq}`gated-hidden`",
        ),
        Mistake(
            "the cell before the step is shown",
            lambda x, h, c, wx, wh, b: _coupled(x, h, c, wx, wh, b, late=True),
            "The state of a step shows the cell of that step, after it was written.",
            "{eq}`gated-hidden`",
        ),
        Mistake(
            "the rows are read in another order",
            lambda x, h, c, wx, wh, b: _coupled(x, h, c, wx, wh, b, order="gfo"),
            "The first J rows belong to the forget gate, the next to the candidate, the last to the output gate.",
            "{ref}`ex-gated-coupled`",
        ),
        Mistake(
            "cell and state are exchanged at the start",
            lambda x, h, c, wx, wh, b: _coupled(x, c, h, wx, wh, b),
            "h_0 is what the gates of the first step read, c_0 what the cell holds.",
            "{eq}`gated-cell`",
        ),
    ),
    hints=(
        "Start from the loop of `lstm_states` and strike out one gate.",
        "z = wx @ step + wh @ h + b, cut into three parts of J numbers: f, g, o.",
        "c = f * c + (1 - f) * g, then h = o * np.tanh(c), with h_0 as the first row.",
    ),
    used="{eq}`gated-gru-state` couples in the same way: what is not kept is replaced.",
    right=(coupled_by_steps, coupled_as_lstm, coupled_compiled),
    others=(
        (lambda *args: -coupled_states(*args), "every number has the opposite sign"),
        (lambda *args: coupled_states(*args)[1:], "wrong type or shape"),
        (lambda *args: coupled_states(*args) + 0.01, "wrong"),
    ),
)


# The GRU as it was


def original_probes(rng):
    """One unit; then several."""
    column = np.array([[1.0], [-1.0], [2.0]])
    yield np.array([1.0]), np.array([0.5]), column, column[::-1].copy(), np.zeros(3)
    for _ in range(3):
        k, j = sizes(rng, 2, least=2, most=6)
        weights = rng.normal(size=(3 * j, k)), rng.normal(size=(3 * j, j)), rng.normal(size=3 * j)
        yield rng.normal(size=k), rng.normal(size=j), *weights


def _original(
    x, h, wx, wh, b, after=False, swap=False, no_reset=False, order="rzn", keep=None, new=False
):
    """Return the state after a step, by another rule."""
    J = len(h)
    at = {name: slice(m * J, (m + 1) * J) for m, name in enumerate(order)}
    u = wx @ x + b
    r, z = (sigma(u[at[name]] + wh[at[name]] @ h) for name in "rz")
    if after:
        n = np.tanh(u[at["n"]] + r * (wh[at["n"]] @ h))
    else:
        n = np.tanh(u[at["n"]] + wh[at["n"]] @ (h if no_reset else r * h))
    old = h if keep is None else keep(r, h)
    if new:
        return n
    return z * n + (1 - z) * old if swap else (1 - z) * n + z * old


def original_step(x, before, wx, wh, b):
    return _original(x, before, wx, wh, b)


def original_by_kernels(x, before, wx, wh, b):
    r, z, n = np.split(np.arange(len(b)), 3)
    reset = chapter.reset_gate(x, before, wx[r], wh[r], b[r])
    keep = chapter.update_gate(x, before, wx[z], wh[z], b[z])
    new = chapter.candidate(x, reset * before, wx[n], wh[n], b[n])
    return chapter.gru_state(keep, new, before)


def original_loops(x, before, wx, wh, b):
    J = len(before)
    u = [b[m] + sum(wx[m, k] * v for k, v in enumerate(x)) for m in range(3 * J)]
    gate = lambda m: sigma(u[m] + sum(wh[m, i] * v for i, v in enumerate(before)))
    r = [gate(j) for j in range(J)]
    h = []
    for j in range(J):
        seen = sum(wh[2 * J + j, i] * r[i] * v for i, v in enumerate(before))
        h.append(before[j] + (1 - gate(J + j)) * (np.tanh(u[2 * J + j] + seen) - before[j]))
    return np.array(h)


@njit
def original_compiled(x, before, wx, wh, b):
    J, z = before.shape[0], b.copy()
    seen = before.copy()
    for m in range(3 * J):
        if m == 2 * J:
            for j in range(J):
                seen[j] = before[j] / (1 + np.exp(-z[j]))
        for k in range(x.shape[0]):
            z[m] += wx[m, k] * x[k]
        for i in range(J):
            z[m] += wh[m, i] * seen[i]
    h = np.empty(J)
    for j in range(J):
        keep = 1 / (1 + np.exp(-z[J + j]))
        h[j] = (1 - keep) * np.tanh(z[2 * J + j]) + keep * before[j]
    return h


ORIGINAL = Exercise(
    label="gated-original",
    task="Write `original_step(x, before, wx, wh, b)`: a GRU whose state is reset before the product; order r, z, n.",
    reference=original_step,
    axes="(k), (j), (m k), (m i), (m) -> (j)",
    probes=original_probes,
    mistakes=(
        Mistake(
            "the product is reset, not the state",
            lambda x, h, wx, wh, b: _original(x, h, wx, wh, b, after=True),
            "That is the form of the page. In the original r multiplies the state, and the product comes after.",
            "{eq}`gated-gru-candidate`",
        ),
        Mistake(
            "the update gate says what is replaced",
            lambda x, h, wx, wh, b: _original(x, h, wx, wh, b, swap=True),
            "Here and in the original z is the part that is kept.",
            "{eq}`gated-gru-state`",
        ),
        Mistake(
            "nothing is reset",
            lambda x, h, wx, wh, b: _original(x, h, wx, wh, b, no_reset=True),
            "The candidate reads r ⊙ h, not h.",
            "{eq}`gated-gru-reset`",
        ),
        Mistake(
            "reset and update gate are exchanged",
            lambda x, h, wx, wh, b: _original(x, h, wx, wh, b, order="zrn"),
            "The first J rows are of the reset gate, the next J of the update gate.",
            "{ref}`ex-gated-original`",
        ),
        Mistake(
            "the state that is kept is reset too",
            lambda x, h, wx, wh, b: _original(x, h, wx, wh, b, keep=lambda r, h: r * h),
            "The reset gate acts inside the candidate only; z keeps the state as it was.",
            "{eq}`gated-gru-state`",
        ),
        Mistake(
            "this is the candidate",
            lambda x, h, wx, wh, b: _original(x, h, wx, wh, b, new=True),
            "The new state lies between it and the old one: (1 − z) n + z h.",
            "{eq}`gated-gru-state`",
        ),
    ),
    hints=(
        "Two gates first; both read x and the state before.",
        "The candidate reads x and r * before. It has one bias.",
        "n = np.tanh(wx_n @ x + wh_n @ (r * before) + b_n), and the state is (1 - z) * n + z * before.",
    ),
    used="{eq}`gated-gru-candidate` resets the product instead, so that one product serves all three gates.",
    right=(original_by_kernels, original_loops, original_compiled),
    others=(
        (lambda *args: -original_step(*args), "every number has the opposite sign"),
        (lambda *args: original_step(*args).sum(), "wrong type or shape"),
        (lambda *args: original_step(*args) + 0.01, "wrong"),
    ),
)


# The other name of z


def translate_probes(rng):
    """One unit with one input; then several."""
    yield (np.array([[1.0], [2.0], [3.0]]),)
    for _ in range(5):
        k, j = sizes(rng, 2, least=2, most=6)
        yield (rng.normal(size=(3 * j, k)),)


def translated(w):
    J = len(w) // 3
    return np.concatenate((w[:J], -w[J : 2 * J], w[2 * J :]))


def translated_by_sign(w):
    return w * np.repeat([1, -1, 1], len(w) // 3)[:, None]


def translated_copy(w):
    new, J = w.copy(), len(w) // 3
    new[J : 2 * J] *= -1
    return new


@njit
def translated_compiled(w):
    J, new = w.shape[0] // 3, w.copy()
    for j in range(J, 2 * J):
        for k in range(w.shape[1]):
            new[j, k] = -w[j, k]
    return new


def _thirds(w, signs, order=(0, 1, 2)):
    parts = np.split(w, 3)
    return np.concatenate([sign * parts[m] for sign, m in zip(signs, order, strict=True)])


TRANSLATE = Exercise(
    label="gated-convention",
    task="Write `translated(w)`: weights r, z, n for a GRU with h = z n + (1 − z) h that does what ours does with w.",
    reference=translated,
    axes="(m k) -> (m k)",
    probes=translate_probes,
    mistakes=(
        Mistake(
            "the gate is mirrored, not its weights",
            lambda w: np.concatenate((np.split(w, 3)[0], 1 - np.split(w, 3)[1], np.split(w, 3)[2])),
            "1 − σ(z) = σ(−z): it is the number inside the sigmoid that changes its sign.",
            "{eq}`gated-gru-update`",
        ),
        Mistake(
            "the weights of the reset gate are turned round",
            lambda w: _thirds(w, (-1, 1, 1)),
            "The first third is the reset gate. The update gate is the second.",
            "{eq}`gated-gru-state`",
        ),
        Mistake(
            "both gates are turned round",
            lambda w: _thirds(w, (-1, -1, 1)),
            "Only the update gate has two names; the reset gate means the same in both.",
            "{eq}`gated-gru-reset`",
        ),
        Mistake(
            "nothing is changed",
            lambda w: w.copy(),
            "Then their gate keeps where ours replaces. Which number is theirs to be where ours is z?",
            "{eq}`gated-gru-state`",
        ),
        Mistake(
            "the gates have changed places",
            lambda w: _thirds(w, (1, 1, 1), (1, 0, 2)),
            "No gate takes the place of another; one of them is read the other way round.",
            "{eq}`gated-gru-state`",
        ),
        Mistake(
            "update gate and candidate have changed places",
            lambda w: _thirds(w, (1, 1, 1), (0, 2, 1)),
            "The gate multiplies the other term now; that is a change of the gate, not of who is gated.",
            "{eq}`gated-gru-state`",
        ),
    ),
    hints=(
        "If our gate is z, what must theirs be so that the states agree?",
        "Theirs must be 1 − z. What is 1 − σ(u) as a sigmoid?",
        "1 − σ(u) = σ(−u): the second third of the rows changes its sign.",
    ),
    used="With it weights can be exchanged with code that reads {eq}`gated-gru-state` the other way round.",
    right=(translated_by_sign, translated_copy, translated_compiled),
    others=(
        (lambda w: -translated(w), "every number has the opposite sign"),
        (lambda w: translated(w)[: len(w) // 3], "wrong type or shape"),
        (lambda w: translated(w) + 0.01, "wrong"),
    ),
)


# All paths from cell to cell


def paths_probes(rng):
    """One cell; then several."""
    one = np.array([0.5])
    yield one, one, np.array([0.25, 0.5, 0.5, 0.75]), np.array([[1.0], [2.0], [4.0], [8.0]])
    for _ in range(3):
        (j,) = sizes(rng, 1, least=2, most=6)
        gates = sigma(rng.normal(size=4 * j))
        gates[2 * j : 3 * j] = np.tanh(rng.normal(size=j))
        wh = rng.normal(size=(4 * j, j))
        yield rng.normal(size=j), sigma(rng.normal(size=j)), gates, wh


def _paths(c, o, gates, wh, direct=1, inner=None, keep=(1, 1, 1), turned=False, slope=None):
    """Return ∂c_t/∂c_{t−1} with parts left out or changed."""
    J = len(c)
    i, f, g, _ = np.split(gates, 4)
    wi, wf, wg, _ = (w.T if turned else w for w in np.split(wh, 4))
    shown = o * (1 - np.tanh(c) ** 2) if inner is None else inner(c, o)
    rows = (
        (g * i * (1 - i), c * f * (1 - f), i * (1 - g**2)) if slope is None else slope(i, f, g, c)
    )
    through = sum(k * r[:, None] * w for k, r, w in zip(keep, rows, (wi, wf, wg), strict=True))
    return direct * np.diag(f) + through * shown + np.zeros((J, J))


def cell_jacobian(c, o, gates, wh):
    return _paths(c, o, gates, wh)


def paths_by_step(c, o, gates, wh):
    """Weighted inputs that give these gates; then a complex step through the formulas."""
    i, f, g, _ = np.split(gates, 4)
    odds = [np.log(v / (1 - v)) for v in (i, f)]
    rest = np.concatenate((*odds, np.arctanh(g))) - wh[: 3 * len(c)] @ (o * np.tanh(c))

    def step(v):
        zi, zf, zg = np.split(wh[: 3 * len(c)] @ (o * np.tanh(v)) + rest, 3)
        return sigma(zf) * v + sigma(zi) * np.tanh(zg)

    return complex_step(step, np.asarray(c, float))


def paths_columns(c, o, gates, wh):
    J = len(c)
    i, f, g = gates[:J], gates[J : 2 * J], gates[2 * J : 3 * J]
    out = np.diag(f).astype(float)
    for m in range(J):
        dh = o[m] * (1 - np.tanh(c[m]) ** 2)
        dz = wh[:, m] * dh
        out[:, m] += g * i * (1 - i) * dz[:J] + c * f * (1 - f) * dz[J : 2 * J]
        out[:, m] += i * (1 - g**2) * dz[2 * J : 3 * J]
    return out


@njit
def paths_compiled(c, o, gates, wh):
    J = c.shape[0]
    out = np.zeros((J, J))
    for j in range(J):
        i, f, g = gates[j], gates[J + j], gates[2 * J + j]
        out[j, j] = f
        for m in range(J):
            way = g * i * (1 - i) * wh[j, m] + c[j] * f * (1 - f) * wh[J + j, m]
            way += i * (1 - g * g) * wh[2 * J + j, m]
            out[j, m] += way * o[m] * (1 - np.tanh(c[m]) ** 2)
    return out


PATHS = Exercise(
    label="gated-paths",
    task="Write `cell_jacobian(c, o, gates, wh)`: the derivative of the cells by those a step before, along all paths, from c and o of then and the gates i, f, g, o of now.",
    reference=cell_jacobian,
    axes="(j), (j), (m), (m i) -> (j i)",
    probes=paths_probes,
    mistakes=(
        Mistake(
            "only the direct path is there",
            lambda c, o, gates, wh: _paths(c, o, gates, wh, keep=(0, 0, 0)),
            "The cells are shown in the state before as well, and the gates of the step read that.",
            "{eq}`gated-lstm-bptt`",
        ),
        Mistake(
            "the direct path is missing",
            lambda c, o, gates, wh: _paths(c, o, gates, wh, direct=0),
            "The cell is carried over too, times the forget gate: add diag(f).",
            "{eq}`gated-cell-gradient`",
        ),
        Mistake(
            "the way through the forget gate is missing",
            lambda c, o, gates, wh: _paths(c, o, gates, wh, keep=(1, 0, 1)),
            "The forget gate reads the state before as the others do, and it multiplies the old content c.",
            "{eq}`gated-forget`",
        ),
        Mistake(
            "the state before shows the cell without its bend",
            lambda c, o, gates, wh: _paths(c, o, gates, wh, inner=lambda c, o: o),
            "What is shown is o tanh c: its derivative has the factor 1 − tanh².",
            "{eq}`gated-hidden`",
        ),
        Mistake(
            "the output gate is that of the new step",
            lambda c, o, gates, wh: _paths(c, gates[3 * len(c) :], gates, wh),
            "What the gates read is the state before, which was shown by the output gate of then.",
            "{eq}`gated-hidden`",
        ),
        Mistake(
            "the weights are transposed",
            lambda c, o, gates, wh: _paths(c, o, gates, wh, turned=True),
            "Row j of wh holds what gate j reads; entry (j, i) belongs to the effect of unit i on cell j.",
            "{eq}`gated-lstm-bptt`",
        ),
        Mistake(
            "the slopes of the gates are missing",
            lambda c, o, gates, wh: _paths(c, o, gates, wh, slope=lambda i, f, g, c: (g, c, i)),
            "Between a weighted input and its gate there is a bend: σ(1 − σ), and 1 − g² for the candidate.",
            "{eq}`gated-lstm-bptt`",
        ),
    ),
    hints=(
        "On how many ways does a cell reach itself a step later? Follow the arrows of the figure of the cell.",
        "The chain: from c to the state it shows, from there through wh to i, f and g, and from these to the new cell. The last gate is not on it.",
        "diag(f) + (g i(1−i) W_i + c f(1−f) W_f + i(1−g²) W_g) o (1 − tanh² c): rows of the bracket, columns behind it.",
    ),
    used="{eq}`gated-cell-gradient` is its first term; {eq}`gated-lstm-bptt` multiplies errors by its transpose, and more.",
    right=(paths_by_step, paths_columns, paths_compiled),
    others=(
        (lambda *args: -cell_jacobian(*args), "every number has the opposite sign"),
        (lambda *args: cell_jacobian(*args)[0], "wrong type or shape"),
        (lambda *args: cell_jacobian(*args) + 0.01, "wrong"),
    ),
)


BREAK = Choice(
    label="gated-break",
    task="In `lstm_deltas` the last line becomes `dc[j] *= i`. Name the letters of all that fail.",
    right="ace",
    wrong={
        "b": "(b) has one step only: what the last line hands to the step before is never used.",
        "d": "(d) is made of the errors of `gru_deltas`, which has no cell.",
        "f": "(f) is a product of forget gates in a kernel of its own and never calls `lstm_deltas`.",
        "g": "(g) is trained by the fast kernels of `RecurrentNetwork`, which have a way back of their own.",
    },
    missing="Something else is made of the errors that `lstm_deltas` returns, or measures how long they are.",
    hints=(
        "Which results of the page come from `lstm_deltas`? Search for its name, and for what is made of its result.",
        "In which of them is there a step before the last?",
        "The experiment with three first biases asks how an error fades. Which gate does it pass now?",
    ),
    used="That line is the direct path {eq}`gated-cell-gradient`, taken one step at a time.",
)


EXERCISES = (HOLD, COUPLED, ORIGINAL, TRANSLATE, PATHS, BREAK)
