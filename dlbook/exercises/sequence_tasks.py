"""Exercises of the chapter on sequence tasks.

Page: ``book/sequence_tasks.md``. Axes: n lines, u steps, a and b symbols of two sequences, t steps
of a table, v symbols.
"""

from functools import cache

import numpy as np

from dlbook.exercises.forms import Choice, Exercise, Mistake, sizes
from dlbook.tools.jit import njit
from dlbook.verification import complex_step

__all__ = ["EXERCISES"]


# Scheduled sampling


def scheduled_sampling_probes(rng):
    """One line of three steps; then several lines, about half of the choices each way."""
    yield (
        np.array([[5, 6, 7]]),
        np.array([[2, 3, 4]]),
        np.array([[0.9, 0.1, 0.8]]),
        0.5,
        1,
    )
    for _ in range(5):
        n, u = sizes(rng, 2, least=3, most=8)
        y, drawn = rng.integers(2, 30, size=(2, n, u))
        yield y, drawn, rng.random((n, u)), float(rng.uniform(0.3, 0.7)), 1


def scheduled_sampling(y, drawn, u, share, begin):
    read = np.full_like(y, begin)
    read[:, 1:] = np.where(u[:, 1:] < share, y[:, :-1], drawn[:, :-1])
    return read


def scheduled_sampling_loops(y, drawn, u, share, begin):
    read = y.copy()
    for n in range(len(y)):
        before = begin
        for k in range(y.shape[1]):
            if k:
                before = y[n, k - 1] if u[n, k] < share else drawn[n, k - 1]
            read[n, k] = before
    return read


def scheduled_sampling_rolled(y, drawn, u, share, begin):
    taught = np.roll(u, -1, axis=1) < share
    read = np.roll(taught * y + ~taught * drawn, 1, axis=1)
    read[:, 0] = begin
    return read


@njit
def scheduled_sampling_compiled(y, drawn, u, share, begin):
    read = np.empty_like(y)
    for n in range(y.shape[0]):
        read[n, 0] = begin
        for k in range(1, y.shape[1]):
            read[n, k] = drawn[n, k - 1]
            if u[n, k] < share:
                read[n, k] = y[n, k - 1]
    return read


def _earlier_choice(y, drawn, u, share, begin):
    return np.hstack((np.full_like(y[:, :1], begin), np.where(u < share, y, drawn)[:, :-1]))


SCHEDULED = Exercise(
    label="sequence_tasks-scheduled",
    task="Write `scheduled_sampling(y, drawn, u, share, begin)`: the symbol before, the right one where u < share, else the drawn one.",
    reference=scheduled_sampling,
    axes="(n u), (n u), (n u), (), () -> (n u)",
    probes=scheduled_sampling_probes,
    mistakes=(
        Mistake(
            "nothing is shifted",
            lambda y, drawn, u, share, begin: np.where(u < share, y, drawn),
            "At step u the decoder is to write y_u, so it must not read it: it reads what stands a step earlier.",
            "{eq}`sequence_tasks-teacher-forcing`",
        ),
        Mistake(
            "the random number is that of the step before",
            _earlier_choice,
            "The random number of a step decides what is read at that step; here it is shifted together with the symbols.",
            "{eq}`sequence_tasks-teacher-forcing`",
        ),
        Mistake(
            "the choice is turned round",
            lambda y, drawn, u, share, begin: scheduled_sampling(drawn, y, u, share, begin),
            "`share` is the share of right symbols: with share 1 it is teacher forcing.",
            "{eq}`sequence_tasks-teacher-forcing`",
        ),
        Mistake(
            "only right symbols are read",
            lambda y, drawn, u, share, begin: scheduled_sampling(y, y, u, share, begin),
            "That is teacher forcing. Where u is not below `share`, the drawn symbol is read.",
            "{eq}`sequence_tasks-teacher-forcing`",
        ),
        Mistake(
            "only drawn symbols are read",
            lambda y, drawn, u, share, begin: scheduled_sampling(drawn, drawn, u, share, begin),
            "That is free running. Where u is below `share`, the right symbol is read.",
            "{eq}`sequence_tasks-teacher-forcing`",
        ),
        Mistake(
            "one random number is used for a whole line",
            lambda y, drawn, u, share, begin: scheduled_sampling(
                y, drawn, u[:, :1] + 0 * u, share, begin
            ),
            "Each step has a random number of its own.",
            "{eq}`sequence_tasks-teacher-forcing`",
        ),
    ),
    hints=(
        "Begin with the two cases in which u does not matter: share 1 and share 0.",
        "Choose between y[:, :-1] and drawn[:, :-1]. Which columns of u belong to them?",
        "read[:, 1:] = np.where(u[:, 1:] < share, y[:, :-1], drawn[:, :-1]), and begin in front.",
    ),
    used="With share 1 it is {eq}`sequence_tasks-teacher-forcing`, which `EncoderDecoder` is trained with.",
    right=(scheduled_sampling_loops, scheduled_sampling_rolled, scheduled_sampling_compiled),
    others=(
        (lambda *args: scheduled_sampling(*args)[:, 1:], "wrong type or shape"),
        (lambda *args: scheduled_sampling(*args) + 1, "wrong"),
    ),
)


# How far off is it?


def edits_probes(rng):
    """Sit and sat, with a letter behind; then longer pairs that share some of their symbols."""
    yield np.array([1, 2, 3]), np.array([1, 4, 3, 5])
    for _ in range(7):
        a, b = sizes(rng, 2, least=4, most=11)
        yield rng.integers(1, 5, size=a), rng.integers(1, 5, size=b)


def edits(a, b):
    row = list(range(len(b) + 1))
    for i in range(len(a)):
        corner, row[0] = row[0], i + 1
        for j in range(len(b)):
            here = min(row[j + 1] + 1, row[j] + 1, corner + (a[i] != b[j]))
            corner, row[j + 1] = row[j + 1], here
    return row[-1]


def edits_recursive(a, b):
    @cache
    def far(i, j):
        if i == 0 or j == 0:
            return i + j
        return min(
            far(i - 1, j) + 1, far(i, j - 1) + 1, far(i - 1, j - 1) + int(a[i - 1] != b[j - 1])
        )

    return far(len(a), len(b))


@njit
def edits_compiled(a, b):
    table = np.zeros((a.shape[0] + 1, b.shape[0] + 1), np.int64)
    table[:, 0], table[0] = np.arange(a.shape[0] + 1), np.arange(b.shape[0] + 1)
    for i in range(a.shape[0]):
        for j in range(b.shape[0]):
            least = min(table[i, j + 1], table[i + 1, j]) + 1
            table[i + 1, j + 1] = min(least, table[i, j] + (0 if a[i] == b[j] else 1))
    return table[-1, -1]


def _edits(a, b, replace=1, insert=1, delete=1, swap=False):
    """Return the distance with other costs, or with the borders of the table left at zero."""
    table = np.zeros((len(a) + 1, len(b) + 1))
    if not swap:
        table[:, 0], table[0] = delete * np.arange(len(a) + 1), insert * np.arange(len(b) + 1)
    for i in range(len(a)):
        for j in range(len(b)):
            same = table[i, j] + (0 if a[i] == b[j] else replace)
            table[i + 1, j + 1] = min(table[i, j + 1] + delete, table[i + 1, j] + insert, same)
    return float(table[-1, -1])


def edits_by_rows(a, b):
    row = np.arange(len(b) + 1)
    for symbol in a:
        kept = np.minimum(row[1:] + 1, row[:-1] + (b != symbol))
        new = np.concatenate(([row[0] + 1], kept))
        steps = np.arange(len(new))
        row = np.minimum.accumulate(new - steps) + steps
    return row[-1]


EDITS = Exercise(
    label="sequence_tasks-edits",
    task="Write `edits(a, b)`: the fewest symbols to insert, delete or replace to turn a into b.",
    reference=edits,
    axes="(a), (b) -> ()",
    probes=edits_probes,
    mistakes=(
        Mistake(
            "replacing costs two",
            lambda a, b: _edits(a, b, replace=2),
            "To replace a symbol is one edit, not a deletion and an insertion.",
            "{ref}`ex-sequence_tasks-edits`",
        ),
        Mistake(
            "symbols are compared place by place",
            lambda a, b: float(np.sum(a[: len(b)] != b[: len(a)]) + abs(len(a) - len(b))),
            "One symbol left out at the beginning shifts all others, and is still one edit.",
            "{ref}`ex-sequence_tasks-edits`",
        ),
        Mistake(
            "the borders of the table are zero",
            lambda a, b: _edits(a, b, swap=True),
            "From nothing to j symbols it takes j insertions; with zeros a beginning costs nothing.",
            "{ref}`ex-sequence_tasks-edits`",
        ),
        Mistake(
            "insertions are free",
            lambda a, b: _edits(a, b, insert=0),
            "A symbol of b that a lacks has to be inserted, and that counts.",
            "{ref}`ex-sequence_tasks-edits`",
        ),
        Mistake(
            "deletions are free",
            lambda a, b: _edits(a, b, delete=0),
            "A symbol of a that b lacks has to be deleted, and that counts.",
            "{ref}`ex-sequence_tasks-edits`",
        ),
    ),
    hints=(
        "Ask for the distance of the first i symbols of a from the first j of b. What can have happened to the last two?",
        "Deleted, inserted, or opposite each other: D[i−1, j] + 1, D[i, j−1] + 1, D[i−1, j−1] + [a_i ≠ b_j].",
        "Fill a table with i and j along its borders and the smallest of the three elsewhere; return the last corner.",
    ),
    used="A finer measure than the share of whole lines for what {eq}`sequence_tasks-encoder-decoder` writes; for speech and translation it is the usual one.",
    right=(edits_recursive, edits_by_rows, edits_compiled),
    others=(
        (lambda a, b: -edits(a, b), "every number has the opposite sign"),
        (lambda a, b: np.array([edits(a, b)] * 2), "wrong type or shape"),
        (lambda a, b: edits(a, b) + 1, "wrong"),
    ),
)


# How sure is the greedy choice?


def missed_probes(rng):
    """Two steps with two symbols; then larger tables of logarithms of probabilities."""
    yield (np.log(np.array([[0.5, 0.125], [0.25, 0.125]])),)
    for _ in range(5):
        t, v = sizes(rng, 2, least=3, most=8)
        scores = rng.normal(size=(t, v))
        yield (scores - np.log(np.exp(scores).sum(1, keepdims=True)),)


def gap(logs):
    ordered = np.sort(logs, axis=1)
    return np.min(ordered[:, -1] - ordered[:, -2])


def gap_loops(logs):
    least = np.inf
    for row in logs:
        first = second = -np.inf
        for value in row:
            if value > first:
                first, second = value, first
            elif value > second:
                second = value
        least = min(least, first - second)
    return least


def gap_by_beam(logs):
    """Return it by a beam of two, which keeps the two best sums."""
    sums = np.zeros(1)
    for row in logs:
        sums = np.sort((sums[:, None] + row).ravel())[::-1][:2]
    return sums[0] - sums[1]


@njit
def gap_compiled(logs):
    least = np.inf
    for t in range(logs.shape[0]):
        row = np.sort(logs[t])
        least = min(least, row[-1] - row[-2])
    return least


def _ordered(logs):
    return np.sort(logs, axis=1)


MISSED = Exercise(
    label="sequence_tasks-missed",
    task="Write `gap(logs)`: log-probability of the best sequence minus that of the second best, the steps being independent.",
    reference=gap,
    axes="(t v) -> ()",
    probes=missed_probes,
    mistakes=(
        Mistake(
            "the second symbol is taken at every step",
            lambda logs: np.sum(_ordered(logs)[:, -1] - _ordered(logs)[:, -2]),
            "A sequence that differs at one step only is more probable than one that differs at all.",
            "{eq}`sequence_tasks-likelihood`",
        ),
        Mistake(
            "the largest gap is taken, not the smallest",
            lambda logs: np.max(_ordered(logs)[:, -1] - _ordered(logs)[:, -2]),
            "The second best loses as little as it can: it differs where the two best symbols are closest.",
            "{eq}`sequence_tasks-likelihood`",
        ),
        Mistake(
            "only the last step may differ",
            lambda logs: _ordered(logs)[-1, -1] - _ordered(logs)[-1, -2],
            "Any step may be the one at which the second best differs.",
            "{eq}`sequence_tasks-beam-search`",
        ),
        Mistake(
            "only the first step may differ",
            lambda logs: _ordered(logs)[0, -1] - _ordered(logs)[0, -2],
            "Any step may be the one at which the second best differs.",
            "{eq}`sequence_tasks-beam-search`",
        ),
        Mistake(
            "probabilities are subtracted",
            lambda logs: np.min(np.exp(_ordered(logs)[:, -1]) - np.exp(_ordered(logs)[:, -2])),
            "The logarithms of products are sums of logarithms; stay with the logarithms.",
            "{eq}`sequence_tasks-likelihood`",
        ),
        Mistake(
            "the steps are compared with each other",
            lambda logs: np.diff(np.sort(_ordered(logs)[:, -1]))[-1],
            "The second best sequence takes another symbol at some step; compare symbols within a step.",
            "{eq}`sequence_tasks-likelihood`",
        ),
    ),
    hints=(
        "At how many steps does the second best sequence differ from the best?",
        "At one, where it takes the second best symbol. What does that cost, and where does it cost least?",
        "The smallest, over the rows, of the largest minus the second largest entry.",
    ),
    used="A beam of two, {eq}`sequence_tasks-beam-search`, finds both; so does the sorting here, as long as steps are independent.",
    right=(gap_loops, gap_by_beam, gap_compiled),
    others=(
        (lambda logs: -gap(logs), "every number has the opposite sign"),
        (lambda logs: logs.max(axis=1), "wrong type or shape"),
        (lambda logs: gap(logs) + 0.01, "wrong"),
    ),
)


# What comes back through the bottleneck


def linear_probes(rng):
    """Two symbols by hand; then more, with a decoder that fades and one that grows."""
    yield 1.0, np.array([2.0, 3.0]), 0.5
    for u in sizes(rng, 5, least=3, most=12):
        yield float(rng.normal()), rng.normal(size=u), float(rng.uniform(0.6, 1.2))


def back(d_0, y, a):
    d, before, total = d_0, 0.0, 0.0
    for u, target in enumerate(y, 1):
        d = a * d + before
        total += a**u * (d - target)
        before = target
    return total


def back_through_time(d_0, y, a):
    read, states = np.concatenate(([0.0], y[:-1])), []
    d = d_0
    for v in read:
        d = a * d + v
        states.append(d)
    e = 0.0
    for d, target in zip(states[::-1], y[::-1], strict=True):
        e = (d - target) + a * e
    return a * e


def back_by_step(d_0, y, a):
    def cost(start):
        d, total, before = start[0], 0.0, 0.0
        for target in y:
            d = a * d + before
            total = total + (d - target) ** 2 / 2
            before = target
        return total

    return complex_step(cost, np.array([d_0]))[0]


@njit
def back_compiled(d_0, y, a):
    d, power, total = d_0, 1.0, 0.0
    for u in range(y.shape[0]):
        d = a * d + (y[u - 1] if u else 0.0)
        power *= a
        total += power * (d - y[u])
    return total


def _states(d_0, y, a, begin=0.0, forced=True):
    """Return the states of the decoder, with what it writes itself read instead where not forced."""
    d, before, states = d_0, begin, []
    for target in y:
        d = a * d + before
        states.append(d)
        before = target if forced else d
    return np.array(states)


def _powers(y, a, first=1):
    return a ** np.arange(first, len(y) + first)


LINEAR = Exercise(
    label="sequence_tasks-linear",
    task="Write `back(d_0, y, a)`: ∂C/∂d_0 where d_u is a times the state before + y before, y_0 = 0, and C = ½ Σ_u (d_u − y_u)².",
    reference=back,
    axes="(), (u), () -> ()",
    probes=linear_probes,
    mistakes=(
        Mistake(
            "a step too few is taken back",
            lambda d_0, y, a: np.sum(_powers(y, a, 0) * (_states(d_0, y, a) - y)),
            "d_1 is already a d_0 + y_0, so its error comes back with a factor a.",
            "{eq}`sequence_tasks-handed-back`",
        ),
        Mistake(
            "errors come back undiminished",
            lambda d_0, y, a: np.sum(_states(d_0, y, a) - y),
            "Each step back multiplies by a: the error of symbol u arrives with a^u.",
            "{eq}`sequence_tasks-handed-back`",
        ),
        Mistake(
            "only the last symbol counts",
            lambda d_0, y, a: a ** len(y) * (_states(d_0, y, a)[-1] - y[-1]),
            "Every step has a cost, and each of them depends on the first state.",
            "{eq}`sequence_tasks-summed-loss`",
        ),
        Mistake(
            "only the first symbol counts",
            lambda d_0, y, a: a * (_states(d_0, y, a)[0] - y[0]),
            "The later states depend on the first one, too, with higher powers of a.",
            "{eq}`sequence_tasks-handed-back`",
        ),
        Mistake(
            "the decoder reads the symbol that it is to write",
            lambda d_0, y, a: np.sum(
                _powers(y, a) * (_states(d_0, np.append(y[1:], 0.0), a, y[0]) - y)
            ),
            "At each step it reads the symbol before; at the first step that is y_0 = 0.",
            "{eq}`sequence_tasks-teacher-forcing`",
        ),
        Mistake(
            "the decoder reads its own state",
            lambda d_0, y, a: np.sum(_powers(y, a) * (_states(d_0, y, a, forced=False) - y)),
            "With teacher forcing it reads the right symbol of the step before, whatever its state is.",
            "{eq}`sequence_tasks-teacher-forcing`",
        ),
    ),
    hints=(
        "How does d_2 depend on d_0? Put the first equation into the second.",
        "∂d_u/∂d_0 = a^u, and the targets that are read do not depend on d_0.",
        "Σ_u a^u (d_u − y_u), with the states computed from the right symbols.",
    ),
    used="It is {eq}`sequence_tasks-handed-back` for a decoder without gates, whose update gate is a.",
    right=(back_through_time, back_by_step, back_compiled),
    others=(
        (lambda d_0, y, a: -back(d_0, y, a), "every number has the opposite sign"),
        (lambda d_0, y, a: back(d_0, y, a) * np.ones(2), "wrong type or shape"),
        (lambda d_0, y, a: back(d_0, y, a) + 0.01, "wrong"),
    ),
)


# Break this line


BREAK = Choice(
    label="sequence_tasks-break",
    task="In `teacher_forcing` the decoder is given the symbol that it should write. Name the letters of all that fail.",
    right="ad",
    wrong={
        "b": "(b) is handed what the decoder reads as an array, and computes the same scores from it as before.",
        "c": "(c) is right for whatever the decoder reads; it is the right gradient of another cost.",
        "e": "(e) steps through a table of probabilities, in which nothing is trained or forced.",
        "f": "(f) has no decoder: a tagger reads its inputs and nothing that it has said.",
    },
    missing="Something else trains a decoder, and then lets it write without the right symbols.",
    hints=(
        "Search the package for `teacher_forcing`. Which method of `EncoderDecoder` calls it?",
        "Which checks on the page are handed the inputs of the decoder, and which train one?",
        "The cost of the wrong training is very low. What will the network write when it reads its own symbols?",
    ),
    used="{eq}`sequence_tasks-teacher-forcing` is where most first attempts at a decoder go wrong.",
)


EXERCISES = (SCHEDULED, EDITS, MISSED, LINEAR, BREAK)
