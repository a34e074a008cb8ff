"""Exercises of the chapter on recurrent networks.

Page: ``book/rnn.md``. Axes: n sequences, t steps, s = t + 1 states, k inputs, j units, i units a
step earlier, as in the chapter.
"""

import numpy as np

from dlbook import rnn as chapter
from dlbook.exercises.forms import Choice, Exercise, Mistake, sizes
from dlbook.tools.jit import njit
from dlbook.verification import complex_step

__all__ = ["EXERCISES"]


# Errors of rectifiers


def relu_probes(rng):
    """One unit, two steps; then networks of several units, about half of them off."""
    yield np.array([[1.0], [2.0]]), np.array([[0.5], [3.0], [1.0]]), np.array([[0.5]])
    for _ in range(4):
        t, j = sizes(rng, 2, least=3, most=7)
        h = np.maximum(rng.normal(0.3, 1, size=(t + 1, j)), 0)
        yield rng.normal(size=(t, j)), h, rng.normal(size=(j, j))


def relu_deltas(dh, h, wh):
    delta, later = np.zeros_like(dh), np.zeros_like(dh[0])
    for t in range(len(dh) - 1, -1, -1):
        later = delta[t] = (h[t + 1] > 0) * (dh[t] + later @ wh)
    return delta


def relu_by_products(dh, h, wh):
    T, J = dh.shape
    on = (h[1:] > 0).astype(dh.dtype)
    delta = np.zeros_like(dh)
    for t in range(T):
        reach = np.eye(J, dtype=dh.dtype)
        for s in range(t, T):
            delta[t] += (dh[s] * on[s]) @ reach if s == t else dh[s] @ reach
            if s + 1 < T:
                reach = (on[s + 1][:, None] * wh) @ (reach if s > t else np.diag(on[t]))
    return delta


def relu_loops(dh, h, wh):
    T, J = dh.shape
    delta = np.zeros_like(dh)
    for t in reversed(range(T)):
        for j in range(J):
            if h[t + 1, j] > 0:
                delta[t, j] = dh[t, j]
                if t + 1 < T:
                    delta[t, j] += sum(wh[i, j] * delta[t + 1, i] for i in range(J))
    return delta


@njit
def relu_compiled(dh, h, wh):
    delta = dh.copy()
    for t in range(dh.shape[0] - 1, -1, -1):
        for j in range(dh.shape[1]):
            if t + 1 < dh.shape[0]:
                for i in range(dh.shape[1]):
                    delta[t, j] += wh[i, j] * delta[t + 1, i]
            if h[t + 1, j] <= 0:
                delta[t, j] = 0
    return delta


def _relu(dh, h, wh, slopes=None, outside=False):
    """Return the errors with other slopes, or with a slope on the direct part only."""
    slopes = (h[1:] > 0) * 1.0 if slopes is None else slopes
    delta, later = np.zeros_like(dh), np.zeros_like(dh[0])
    for t in range(len(dh) - 1, -1, -1):
        back = later @ wh
        later = slopes[t] * dh[t] + back if outside else slopes[t] * (dh[t] + back)
        delta[t] = later
    return delta


RELU = Exercise(
    label="rnn-relu",
    task="Write `relu_deltas(dh, h, wh)`: ∂C/∂z_t of a network of rectifiers, from ∂C_t/∂h_t and its states.",
    reference=relu_deltas,
    axes="(t j), (s j), (j i) -> (t j)",
    probes=relu_probes,
    mistakes=(
        Mistake(
            "nothing comes back from later steps",
            lambda dh, h, wh: dh * (h[1:] > 0),
            "h_t is read twice: by the scores of its step and by the next state. The second way is missing.",
            "{eq}`rnn-delta`",
        ),
        Mistake(
            "errors go back through the weights as they are",
            lambda dh, h, wh: _relu(dh, h, wh.T),
            "Up: z_j gets wh_ji h_i. Down: unit j gets Σ_i wh_ij δ_i, the transpose.",
            "{eq}`rnn-delta`",
        ),
        Mistake(
            "the slope is that of the state before",
            lambda dh, h, wh: _relu(dh, h, wh, (h[:-1] > 0) * 1.0),
            "Row 0 of h is the state before the first step, so the slope of step t is in the row after.",
            "{eq}`rnn-delta`",
        ),
        Mistake(
            "the slope is that of tanh",
            lambda dh, h, wh: _relu(dh, h, wh, 1 - h[1:] ** 2),
            "1 − h² is the slope of tanh. A rectifier has 1 where its output is positive, else 0.",
            "{eq}`rnn-irnn`",
        ),
        Mistake(
            "only the direct part passes the bend",
            lambda dh, h, wh: _relu(dh, h, wh, outside=True),
            "Both parts arrive at h_t, and both have to pass the slope on the way to z_t.",
            "{eq}`rnn-delta`",
        ),
        Mistake(
            "the output is taken for the slope",
            lambda dh, h, wh: _relu(dh, h, wh, h[1:]),
            "Where a rectifier is on its slope is 1, however large its output.",
            "{eq}`rnn-irnn`",
        ),
    ),
    hints=(
        "Only the factor in front of the bracket of the recursion depends on the bend.",
        "The slope of a rectifier is 1 where its output h_t is above 0, else 0. Mind which row of h is step t.",
        "From the last step backwards: (h[t + 1] > 0) * (dh[t] + delta[t + 1] @ wh).",
    ),
    used="{eq}`rnn-irnn` is what is left of it for the identity; the fast kernels behind `RecurrentNetwork` do the same in place.",
    right=(relu_by_products, relu_loops, relu_compiled),
    others=(
        (lambda *args: -relu_deltas(*args), "every number has the opposite sign"),
        (lambda *args: relu_deltas(*args).sum(0), "wrong type or shape"),
        (lambda *args: relu_deltas(*args) + 0.01, "wrong"),
    ),
)


# The mean of what was read


def mask_probes(rng):
    """Two short sequences, one of them padded; then batches in which one sequence is empty."""
    yield np.array([[1.0, 3.0], [5.0, 7.0]]), np.array([2, 1])
    for _ in range(5):
        n, t = sizes(rng, 2, least=3, most=8)
        lengths = rng.integers(1, t, size=n)
        lengths[rng.integers(n)] = 0
        yield rng.uniform(1, 4, size=(n, t)), lengths


def _inside(losses, lengths):
    return np.arange(losses.shape[1]) < lengths[:, None]


def mean_loss(losses, lengths):
    return losses[_inside(losses, lengths)].sum() / lengths.sum()


def mean_loop(losses, lengths):
    total = sum(losses[n, t] for n in range(len(losses)) for t in range(lengths[n]))
    return total / sum(lengths)


def mean_masked(losses, lengths):
    return np.ma.masked_array(losses, ~_inside(losses, lengths)).mean()


@njit
def mean_compiled(losses, lengths):
    total, count = 0.0, 0
    for n in range(losses.shape[0]):
        for t in range(lengths[n]):
            total += losses[n, t]
            count += 1
    return total / count


def _per_sequence(losses, lengths):
    return np.where(_inside(losses, lengths), losses, 0).sum(1) / np.maximum(lengths, 1)


MASK = Exercise(
    label="rnn-mask",
    task="Write `mean_loss(losses, lengths)`, the mean over the steps before the end of each padded sequence.",
    reference=mean_loss,
    axes="(n t), (n) -> ()",
    probes=mask_probes,
    mistakes=(
        Mistake(
            "the padding is averaged too",
            lambda losses, lengths: losses.mean(),
            "Behind the end of a sequence stands what the network said of nothing. It does not belong in the mean.",
            "{eq}`rnn-total-loss`",
        ),
        Mistake(
            "the sum is divided by the size of the array",
            lambda losses, lengths: (
                np.where(_inside(losses, lengths), losses, 0).sum() / losses.size
            ),
            "The padding is left out of the sum and still counted: more padding, better cost.",
            "{eq}`rnn-total-loss`",
        ),
        Mistake(
            "this is the mean of the means of sequences",
            lambda losses, lengths: _per_sequence(losses, lengths)[lengths > 0].mean(),
            "A step of a short sequence then counts more than one of a long sequence.",
            "{eq}`rnn-total-loss`",
        ),
        Mistake(
            "this is the mean of the means, with 0 for an empty sequence",
            lambda losses, lengths: _per_sequence(losses, lengths).mean(),
            "A sequence without steps has no cost. As a zero it makes the mean look better.",
            "{eq}`rnn-total-loss`",
        ),
        Mistake(
            "nothing is divided",
            lambda losses, lengths: losses[_inside(losses, lengths)].sum(),
            "That is the total cost. It grows with the batch, and so would the gradient.",
            "{eq}`rnn-total-loss`",
        ),
        Mistake(
            "one step too many is read",
            lambda losses, lengths: losses[_inside(losses, lengths + 1)].mean(),
            "Steps count from 0 in the array: a sequence of length 2 has the steps 0 and 1.",
            "{eq}`rnn-total-loss`",
        ),
    ),
    hints=(
        "Which entries of the array belong to a sequence, and how many are they?",
        "np.arange(steps) < lengths[:, None] is true where there was something to read.",
        "The sum of losses where that holds, divided by lengths.sum().",
    ),
    used="`RecurrentNetwork` divides the sum of {eq}`rnn-total-loss` over a batch by just this number; its rows hold no padding at all.",
    right=(mean_loop, mean_masked, mean_compiled),
    others=(
        (lambda losses, lengths: -mean_loss(losses, lengths), "every number has the opposite sign"),
        (lambda losses, lengths: losses.mean(axis=1), "wrong type or shape"),
        (lambda losses, lengths: mean_loss(losses, lengths) + 0.01, "wrong"),
    ),
)


# A unit that leaks


def leaky_probes(rng):
    """One unit with one input; then several of each."""
    one = np.ones((1, 1))
    yield np.array([[1.0], [0.0]]), np.array([0.5]), one, one / 2, np.zeros(1), 0.25
    for _ in range(4):
        t, k, j = sizes(rng, 3, least=2, most=6)
        weights = rng.normal(size=(j, k)), rng.normal(size=(j, j)), rng.normal(size=j)
        yield rng.normal(size=(t, k)), rng.normal(size=j), *weights, float(rng.uniform(0.1, 0.4))


def leaky_states(x, start, wx, wh, b, alpha):
    h = [start]
    for step in x:
        h.append((1 - alpha) * h[-1] + alpha * np.tanh(wh @ h[-1] + wx @ step + b))
    return np.array(h)


def leaky_by_steps(x, start, wx, wh, b, alpha):
    h = np.empty((len(x) + 1, len(start)))
    h[0] = start
    for t, step in enumerate(x):
        target = chapter.state(step, h[t], wx, wh, b)
        h[t + 1] = h[t] + alpha * (target - h[t])
    return h


def leaky_loops(x, start, wx, wh, b, alpha):
    h = [list(start)]
    for step in x:
        z = [
            b[j]
            + sum(wh[j, i] * v for i, v in enumerate(h[-1]))
            + sum(wx[j, k] * v for k, v in enumerate(step))
            for j in range(len(b))
        ]
        h.append([v + alpha * (np.tanh(u) - v) for u, v in zip(z, h[-1], strict=True)])
    return np.array(h)


@njit
def leaky_compiled(x, start, wx, wh, b, alpha):
    h = np.empty((x.shape[0] + 1, start.shape[0]))
    h[0] = start
    for t in range(x.shape[0]):
        for j in range(start.shape[0]):
            z = b[j]
            for i in range(start.shape[0]):
                z += wh[j, i] * h[t, i]
            for k in range(x.shape[1]):
                z += wx[j, k] * x[t, k]
            h[t + 1, j] = (1 - alpha) * h[t, j] + alpha * np.tanh(z)
    return h


def _leaky(x, start, wx, wh, b, step):
    """Return states by another rule: step(before, z)."""
    h = [start]
    for now in x:
        h.append(step(h[-1], wh @ h[-1] + wx @ now + b))
    return np.array(h)


LEAKY = Exercise(
    label="rnn-leaky",
    task="Write `leaky_states(x, start, wx, wh, b, alpha)`: (1 − α) times the old state + α tanh(z_t), h_0 first.",
    reference=leaky_states,
    axes="(t k), (j), (j k), (j i), (j), () -> (s j)",
    probes=leaky_probes,
    mistakes=(
        Mistake(
            "α and 1 − α are exchanged",
            lambda x, start, wx, wh, b, alpha: leaky_states(x, start, wx, wh, b, 1 - alpha),
            "α is the part of the way that the state moves: with α = 0 it stays where it is.",
            "{ref}`ex-rnn-leaky`",
        ),
        Mistake(
            "the state does not leak",
            lambda x, start, wx, wh, b, alpha: _leaky(
                x, start, wx, wh, b, lambda h, z: h + alpha * np.tanh(z)
            ),
            "What is added must be taken away elsewhere, or states grow without bound: (1 − α) h.",
            "{ref}`ex-rnn-leaky`",
        ),
        Mistake(
            "the old state is not kept",
            lambda x, start, wx, wh, b, alpha: _leaky(
                x, start, wx, wh, b, lambda h, z: alpha * np.tanh(z)
            ),
            "That is a plain step, made smaller. The part 1 − α of the old state is missing.",
            "{eq}`rnn-state`",
        ),
        Mistake(
            "the mean is taken before the bend",
            lambda x, start, wx, wh, b, alpha: _leaky(
                x, start, wx, wh, b, lambda h, z: np.tanh((1 - alpha) * h + alpha * z)
            ),
            "tanh bends the weighted inputs only; the old state goes around it, unbent.",
            "{ref}`ex-rnn-leaky`",
        ),
        Mistake(
            "the weights of the state are transposed",
            lambda x, start, wx, wh, b, alpha: leaky_states(x, start, wx, wh.T, b, alpha),
            "Row j of wh holds what unit j reads: wh @ h, not h @ wh.",
            "{eq}`rnn-state`",
        ),
        Mistake(
            "the first state is taken to be zero",
            lambda x, start, wx, wh, b, alpha: leaky_states(x, 0 * start, wx, wh, b, alpha),
            "The sequence starts from `start`, which is also the first row of the result.",
            "{eq}`rnn-state`",
        ),
    ),
    hints=(
        "Start from the loop of `states`. Which line changes?",
        "The new state is a mean of the old one and of what a plain step would give.",
        "h.append((1 - alpha) * h[-1] + alpha * np.tanh(wh @ h[-1] + wx @ step + b))",
    ),
    used="Its step has the Jacobian (1 − α) 1 + α D wh in place of the D wh of {eq}`rnn-jacobian-product`: near the "
    "identity for small α.",
    right=(leaky_by_steps, leaky_loops, leaky_compiled),
    others=(
        (lambda *args: -leaky_states(*args), "every number has the opposite sign"),
        (lambda *args: leaky_states(*args)[1:], "wrong type or shape"),
        (lambda *args: leaky_states(*args) + 0.01, "wrong"),
    ),
)


# One weight, all powers


def scalar_probes(rng):
    """Two steps; then more, from weights on both sides of one."""
    yield 2.0, np.array([3.0, 5.0]), 1.0
    for t in sizes(rng, 5, least=3, most=16):
        yield float(rng.uniform(0.5, 1.4)), rng.normal(size=t), float(rng.normal())


def scalar_slope(w, x, start):
    T = len(x)
    left = T - 1 - np.arange(T - 1)
    return T * w ** (T - 1) * start + np.sum(left * w ** (left - 1) * x[:-1])


def scalar_bptt(w, x, start):
    h = [start]
    for v in x:
        h.append(w * h[-1] + v)
    delta, total = 1.0, 0.0
    for before in h[-2::-1]:
        total, delta = total + delta * before, delta * w
    return total


def scalar_forward(w, x, start):
    h, slope = start, 0.0
    for v in x:
        h, slope = w * h + v, h + w * slope
    return slope


def scalar_step(w, x, start):
    def last(v):
        h = start
        for u in x:
            h = v[0] * h + u
        return h

    return complex_step(last, np.array([w], float))[0]


@njit
def scalar_compiled(w, x, start):
    h, slope = start, 0.0
    for t in range(x.shape[0]):
        slope = h + w * slope
        h = w * h + x[t]
    return slope


SCALAR = Exercise(
    label="rnn-scalar",
    task="Write `slope(w, x, start)`: ∂h_T/∂w where each state is w times the last one + x_t, and h_0 is start.",
    reference=scalar_slope,
    axes="(), (t), () -> ()",
    probes=scalar_probes,
    mistakes=(
        Mistake(
            "the gradient stops at the state before",
            lambda w, x, start: (
                w ** (len(x) - 1) * start
                + np.sum(w ** (len(x) - 2 - np.arange(len(x) - 1)) * x[:-1])
            ),
            "That is the state before the last, what w is multiplied by at the last step. It was used at all the others too.",
            "{eq}`rnn-bptt`",
        ),
        Mistake(
            "the power is not lowered by one",
            lambda w, x, start: w * scalar_slope(w, x, start),
            "The derivative of w^n is n w^(n−1).",
            "{ref}`ex-rnn-scalar`",
        ),
        Mistake(
            "the first state is forgotten",
            lambda w, x, start: scalar_slope(w, x, 0.0),
            "h_0 has gone through w as often as there were steps: it adds T w^(T−1) h_0.",
            "{ref}`ex-rnn-scalar`",
        ),
        Mistake(
            "every number goes through the weight once more",
            lambda w, x, start: scalar_slope(w, np.append(x, 0.0), start),
            "The input of step t goes through w only T − t times; the last one not at all.",
            "{ref}`ex-rnn-scalar`",
        ),
        Mistake(
            "the inputs are read from the end",
            lambda w, x, start: scalar_slope(w, x[::-1], start),
            "The first input has gone through w most often, T − 1 times, the last one never.",
            "{ref}`ex-rnn-scalar`",
        ),
        Mistake(
            "this is the last state, not its derivative",
            lambda w, x, start: (
                w ** len(x) * start + np.sum(w ** (len(x) - 1.0 - np.arange(len(x))) * x)
            ),
            "Differentiate it by w, power by power.",
            "{ref}`ex-rnn-scalar`",
        ),
    ),
    hints=(
        "Write h_3 out: w (w (w h_0 + x_1) + x_2) + x_3. Which power of w stands before each number?",
        "h_T = w^T h_0 + Σ_t w^(T−t) x_t.",
        "T w^(T−1) h_0 + Σ_t (T−t) w^(T−t−1) x_t.",
    ),
    used="It is {eq}`rnn-bptt` with δ_t = w^(T−t): every long recurrence holds high powers of its weights.",
    right=(scalar_bptt, scalar_forward, scalar_step, scalar_compiled),
    others=(
        (lambda w, x, start: -scalar_slope(w, x, start), "every number has the opposite sign"),
        (lambda w, x, start: scalar_slope(w, x, start) * np.ones(2), "wrong type or shape"),
        (lambda w, x, start: scalar_slope(w, x, start) + 0.01, "wrong"),
    ),
)


# Checkpoints between checkpoints


def levels_probes(rng):
    """A hundred steps with one level; then several lengths and more levels."""
    yield np.array([100.0]), 1
    for j in sizes(rng, 5, least=2, most=8):
        yield np.exp(rng.uniform(3, 12, size=j)), int(rng.integers(2, 6))


def least_states(T, levels):
    return (levels + 1) * T ** (1 / (levels + 1))


def least_by_logarithms(T, levels):
    return np.exp(np.log(levels + 1) + np.log(T) / (levels + 1))


def least_by_sum(T, levels):
    piece = T ** (1.0 / (levels + 1))
    return T / piece**levels + sum(piece for _ in range(levels))


@njit
def least_compiled(T, levels):
    out = np.empty_like(T)
    for j in range(T.shape[0]):
        out[j] = (levels + 1) * T[j] ** (1 / (levels + 1))
    return out


LEVELS = Exercise(
    label="rnn-levels",
    task="Write `least_states(T, levels)`: the fewest states kept for T_j steps with so many levels of checkpoints.",
    reference=least_states,
    axes="(j), () -> (j)",
    probes=levels_probes,
    mistakes=(
        Mistake(
            "the states within a piece are not counted",
            lambda T, levels: levels * T ** (1 / (levels + 1)),
            "There are borders of each level, and beside them the states of the piece that is being worked on.",
            "{eq}`rnn-checkpoint`",
        ),
        Mistake(
            "the levels are taken for the number of terms",
            lambda T, levels: levels * T ** (1 / levels),
            "One level gives two terms, T/c and c; m levels give m + 1.",
            "{eq}`rnn-checkpoint`",
        ),
        Mistake(
            "only one term of the sum is counted",
            lambda T, levels: T ** (1 / (levels + 1)),
            "That is how large each of the equal terms is; there are levels + 1 of them.",
            "{eq}`rnn-checkpoint`",
        ),
        Mistake(
            "the levels make no difference",
            lambda T, levels: 2 * np.sqrt(T),
            "2 √T is the answer for one level. With two the sum is T/(c d) + c + d.",
            "{eq}`rnn-checkpoint`",
        ),
        Mistake(
            "each level halves the number of states",
            lambda T, levels: 2 * np.sqrt(T) / 2.0 ** (levels - 1),
            "A level changes the root that is taken, not a factor.",
            "{ref}`ex-rnn-levels`",
        ),
    ),
    hints=(
        "For one level set the derivative of T/c + c to zero. Which of the two terms is larger then?",
        "With two levels the three terms T/(c d), c and d have the product T. When is their sum smallest?",
        "All terms equal: each is T^(1/(levels + 1)).",
    ),
    used="{eq}`rnn-checkpoint` is the case of one level, and `RecurrentNetwork(checkpoint_every=…)` does it.",
    right=(least_by_logarithms, least_by_sum, least_compiled),
    others=(
        (lambda T, levels: -least_states(T, levels), "every number has the opposite sign"),
        (lambda T, levels: np.sum(least_states(T, levels)), "wrong type or shape"),
        (lambda T, levels: least_states(T, levels) + 1, "wrong"),
    ),
)


# Break this line


BREAK = Choice(
    label="rnn-break",
    task="In `deltas` the slope is taken from the state before. Name the letters of all that fail.",
    right="bde",
    wrong={
        "a": "(a) multiplies its own slopes into its own product and never calls `deltas`.",
        "c": "(c) does call `deltas`, but near zero all slopes are 1: it does not matter from which state they come.",
        "f": "(f) is trained by the fast kernels of `RecurrentNetwork`, which have a way back of their own.",
    },
    missing="Something else is made of the errors that `deltas` returns, or calls it for each of its pieces.",
    hints=(
        "Search the module and the page for `deltas`. Who calls it, and who has a loop of its own?",
        "The gradient of the weights is a sum of errors times what was read. Where do its errors come from on the page?",
        "Where all slopes are nearly 1, an exchange of slopes changes nothing.",
    ),
    used="{eq}`rnn-delta` is the one kernel behind the gradient, the truncated errors and the experiment on slopes.",
)


EXERCISES = (RELU, MASK, LEAKY, SCALAR, LEVELS, BREAK)
