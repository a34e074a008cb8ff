"""Exercises of the chapter on verification.

Page: ``book/verification.md``. Axes: p inputs of a function, n cases, i entries of a signal,
r draws, as in the chapter.
"""

import math

import numpy as np

from dlbook import verification as chapter
from dlbook.exercises.forms import Choice, Exercise, Mistake, sizes
from dlbook.tools.jit import njit

__all__ = ["EXERCISES"]


# Five points


def five_probes(rng):
    """A cube, for which five points are exact; then functions that bend in every direction."""

    def cube(x):
        return x[0] ** 3

    yield cube, np.array([2.0]), 0.5
    for p in sizes(rng, 3, least=2, most=7):
        A = rng.normal(size=(3, p))

        def wavy(x, A=A):
            return np.sum(np.sin(A @ x)) + np.exp(np.mean(x))

        yield wavy, rng.normal(size=p), float(rng.uniform(0.2, 0.5))


def five_point(f, x, eps):
    near, far = (chapter.central_differences(f, x, h) for h in (eps, 2 * eps))
    return (4 * near - far) / 3


def five_weights(f, x, eps):
    steps = eps * np.eye(len(x))
    return np.array([8 * (f(x + h) - f(x - h)) - f(x + 2 * h) + f(x - 2 * h) for h in steps]) / (
        12 * eps
    )


def five_loops(f, x, eps):
    slopes = np.zeros(len(x))
    for p in range(len(x)):
        for step, weight in ((-2, 1 / 12), (-1, -2 / 3), (1, 2 / 3), (2, -1 / 12)):
            moved = x.copy()
            moved[p] += step * eps
            slopes[p] += weight * f(moved) / eps
    return slopes


def five_by_parts(f, x, eps):
    near = chapter.central_differences(f, x, eps)
    return near - (chapter.central_differences(f, x, 2 * eps) - near) / 3


def _two(f, x, eps, near=1.0, far=0.0, method=chapter.central_differences):
    """Return differences with the steps ε and 2ε in another combination."""
    return near * method(f, x, eps) + far * method(f, x, 2 * eps)


def five_in_place(f, x, eps):
    slopes = np.zeros(len(x))
    for p in range(len(x)):
        moved = x
        moved[p] += eps
        slopes[p] = f(moved) / eps
    return slopes


def five_at_once(f, x, eps):
    return (8 * (f(x + eps) - f(x - eps)) - f(x + 2 * eps) + f(x - 2 * eps)) / (12 * eps)


FIVE = Exercise(
    label="verification-five-points",
    task="Write `five_point(f, x, eps)`, the gradient from symmetric differences with steps ε and 2ε, free of ε².",
    reference=five_point,
    axes="(f), (p), () -> (p)",
    probes=five_probes,
    mistakes=(
        Mistake(
            "this is the symmetric difference with ε alone",
            _two,
            "Its error ⅙ ε² f‴ is still there; the difference with 2ε has four times as much, so a mixture has none.",
            "{eq}`verification-central`",
        ),
        Mistake(
            "the weights are 2 and −1",
            lambda f, x, eps: _two(f, x, eps, 2, -1),
            "They cancel an error that doubles with the step; that of a symmetric difference grows fourfold.",
            "{eq}`verification-central-error`",
        ),
        Mistake(
            "the two weights are exchanged",
            lambda f, x, eps: _two(f, x, eps, -1 / 3, 4 / 3),
            "The difference with the smaller step is the better one: it gets 4/3, the other −1/3.",
            "{eq}`verification-central-error`",
        ),
        Mistake(
            "the mean of the two differences is taken",
            lambda f, x, eps: _two(f, x, eps, 1 / 2, 1 / 2),
            "Both err to the same side, so a mean cannot cancel anything: one weight has to be negative.",
            "{eq}`verification-central-error`",
        ),
        Mistake(
            "the wide difference is divided by 2ε",
            lambda f, x, eps: _two(f, x, eps, 4 / 3, -2 / 3),
            "Its two points are 4ε apart, and a secant is divided by the distance of its points.",
            "{eq}`verification-central`",
        ),
        Mistake(
            "one-sided differences are combined",
            lambda f, x, eps: _two(f, x, eps, 4 / 3, -1 / 3, chapter.forward_differences),
            "Their leading error is ½ ε f″, which these weights leave standing.",
            "{eq}`verification-forward`",
        ),
    ),
    hints=(
        "Write D(ε) = f′ + ⅙ ε² f‴ + …, and below it the same line for D(2ε).",
        "Look for a and b with a + b = 1, so that f′ stays, and a + 4b = 0, so that f‴ goes.",
        "(4 D(ε) − D(2ε)) / 3, entry by entry; `central_differences` gives both D.",
    ),
    used="Compared with {eq}`verification-central-error`, the left branch of the V stays as it is, and the right one falls as ε⁴.",
    right=(five_weights, five_loops, five_by_parts),
    others=(
        (lambda f, x, eps: 3 * five_point(f, x, eps), "every number is 3 times what it should be"),
        (lambda f, x, eps: chapter.complex_step(f, x), "wrong"),
        (five_at_once, "wrong type or shape"),
        (five_in_place, "changed its input"),
    ),
)


# The best step to one side


def forward_probes(rng):
    """One case with round numbers; then rounding errors of many sizes."""
    yield np.array([9.0]), np.array([4.0]), 0.01
    for n in sizes(rng, 4, least=2, most=7):
        f0, f2 = rng.uniform(0.1, 10, size=(2, n))
        yield f0, f2, float(10 ** rng.uniform(-16, -4))


def forward_best(f0, f2, u):
    return 2 * np.sqrt(u * f0 / f2), 2 * np.sqrt(u * f0 * f2)


def forward_bound(eps, f0, f2, u):
    return eps * f2 / 2 + 2 * u * f0 / eps


def forward_by_bound(f0, f2, u):
    step = np.sqrt(4 * u * f0 / f2)
    return step, forward_bound(step, f0, f2, u)


def forward_loops(f0, f2, u):
    steps, errors = [], []
    for value, bend in zip(f0, f2, strict=True):
        steps.append(2 * math.sqrt(u * value / bend))
        errors.append(steps[-1] * bend)
    return np.array(steps), np.array(errors)


@njit
def forward_compiled(f0, f2, u):
    step, error = np.empty_like(f0), np.empty_like(f0)
    for n in range(len(f0)):
        step[n] = 2 * np.sqrt(u * f0[n] / f2[n])
        error[n] = 4 * u * f0[n] / step[n]
    return step, error


def _at(step):
    """Return a wrong step, and the right bound at it."""

    def best(f0, f2, u):
        eps = step(f0, f2, u) + 0 * f0
        return eps, forward_bound(eps, f0, f2, u)

    return best


def forward_symmetric(f0, f2, u):
    step = chapter.best_step(f0, f2, u)
    return step, chapter.central_error(step, f0, f2, u)


FORWARD = Exercise(
    label="verification-forward-step",
    task="Write `forward_best(f0, f2, u)`, the pair of the best step of one-sided differences and its error bound.",
    reference=forward_best,
    axes="(n), (n), () -> (n), (n)",
    probes=forward_probes,
    mistakes=(
        Mistake(
            "this belongs to the symmetric difference",
            forward_symmetric,
            "To one side the leading error is ½ ε |f″|, of first order, and the power of u becomes another.",
            "{eq}`verification-forward`",
        ),
        Mistake(
            "the half of Taylor's second term is missing",
            lambda f0, f2, u: (np.sqrt(2 * u * f0 / f2), 2 * np.sqrt(2 * u * f0 * f2)),
            "f(x + ε) has the term ½ ε² f″; after the division by ε the half is still there.",
            "{eq}`verification-forward`",
        ),
        Mistake(
            "the step is √u, whatever f is",
            _at(lambda f0, f2, u: np.sqrt(u)),
            "The rule of thumb knows only the power of u. Large values want a longer step, strong bending a shorter one.",
            "{eq}`verification-best-step`",
        ),
        Mistake(
            "f and f″ are exchanged in the step",
            _at(lambda f0, f2, u: 2 * np.sqrt(u * f2 / f0)),
            "Rounding is proportional to |f| and calls for a long step, so |f| stands in the numerator.",
            "{eq}`verification-central-error`",
        ),
        Mistake(
            "the root of the step is missing",
            _at(lambda f0, f2, u: 4 * u * f0 / f2),
            "Zero slope of the bound gives ε² = 4u|f|/|f″|, and that is the square of the step.",
            "{eq}`verification-best-step`",
        ),
        Mistake(
            "the error counts one of its two parts",
            lambda f0, f2, u: (2 * np.sqrt(u * f0 / f2), np.sqrt(u * f0 * f2)),
            "At the best step bending and rounding contribute alike: the bound is their sum.",
            "{eq}`verification-central-error`",
        ),
    ),
    hints=(
        "Two things add up: what Taylor's theorem leaves of the secant, and the rounding of both values of f.",
        "The bound is ½ ε |f″| + 2u|f|/ε. Where is its derivative by ε zero?",
        "At ε* = 2 √(u|f|/|f″|). Put it into the bound: both terms become √(u|f||f″|).",
    ),
    used="It is the counterpart of {eq}`verification-best-step`, and the reason why the step of {eq}`verification-forward` is 1e-8 in the code.",
    right=(forward_by_bound, forward_loops, forward_compiled),
    others=(
        (
            lambda f0, f2, u: (np.sqrt(2 * u * f0 / f2), np.sqrt(2 * u * f0 * f2)),
            "every number is 0.707107 times what it should be",
        ),
        (
            lambda f0, f2, u: forward_best(f0, f2, u)[::-1],
            "the results are returned in the reverse order",
        ),
        (lambda f0, f2, u: forward_best(f0, f2, u)[0], "wrong type or shape"),
        (lambda f0, f2, u: forward_best(f0, f2, 2.0**-53), "wrong"),
    ),
)


# The transpose of a running sum


def running_probes(rng):
    """Two entries; then longer signals, each with another memory."""
    yield np.array([4.0, 8.0]), 0.25
    for i in sizes(rng, 4, least=3, most=12):
        yield rng.normal(size=i), float(rng.uniform(0.3, 0.8))


def running(x, beta):
    """Return s_i = x_i + β s_(i−1)."""
    s = np.array(x)
    for i in range(1, len(s)):
        s[i] += beta * s[i - 1]
    return s


def running_transposed(y, beta):
    return running(y[::-1], beta)[::-1]


def running_matrix(y, beta):
    lag = np.subtract.outer(np.arange(len(y)), np.arange(len(y)))
    return np.where(lag >= 0, beta ** np.abs(lag), 0.0).T @ y


def running_sums(y, beta):
    return np.array(
        [sum(beta**k * y[j + k] for k in range(len(y) - j)) for j in range(len(y))],
    )


@njit
def running_compiled(y, beta):
    back = y.copy()
    for i in range(len(y) - 2, -1, -1):
        back[i] += beta * back[i + 1]
    return back


def running_in_place(y, beta):
    for i in range(len(y) - 2, -1, -1):
        y[i] += beta * y[i + 1]
    return y


def shifted(y, step):
    """Return y moved by one place, with a zero where nothing comes in."""
    out = np.zeros(len(y))
    if step > 0:
        out[1:] = y[:-1]
    else:
        out[:-1] = y[1:]
    return out


RUNNING = Exercise(
    label="verification-running-sum",
    task="Write `running_transposed(y, beta)`, the transpose of the map from x to s with s_i = x_i + β s_(i−1).",
    reference=running_transposed,
    axes="(i), () -> (i)",
    probes=running_probes,
    mistakes=(
        Mistake(
            "this is the running sum itself",
            running,
            "Its matrix is zero above the diagonal, the transpose is zero below: each entry gathers from later ones.",
            "{eq}`verification-adjoint`",
        ),
        Mistake(
            "this is the inverse, not the transpose",
            lambda y, beta: y - beta * shifted(y, 1),
            "It takes s back to x. The transpose undoes nothing; it makes both inner products equal.",
            "{eq}`verification-adjoint`",
        ),
        Mistake(
            "this is the transpose of the inverse",
            lambda y, beta: y - beta * shifted(y, -1),
            "It solves the transposed equations; what is wanted multiplies by the transposed matrix.",
            "{eq}`verification-adjoint`",
        ),
        Mistake(
            "the entry's own place is left out",
            lambda y, beta: running_transposed(y, beta) - y,
            "x_j enters s_j with the weight one, before it enters any later sum: the sum begins at i = j.",
            "{eq}`verification-adjoint`",
        ),
        Mistake(
            "each term has one factor β too many",
            lambda y, beta: beta * running_transposed(y, beta),
            "What arrives at place j itself is not multiplied: β belongs to what comes from place j + 1.",
            "{eq}`verification-adjoint`",
        ),
        Mistake(
            "the new entry is multiplied by 1 − β",
            lambda y, beta: (1 - beta) * running_transposed(y, beta),
            "That is the transpose of a moving average; here x_i enters the sum with the weight one.",
            "{eq}`verification-adjoint`",
        ),
        Mistake(
            "nothing is forgotten",
            lambda y, beta: running_transposed(y, 1.0),
            "This is the transpose of the plain sum, β = 1; here x_j has faded to β^(i−j) x_j at place i.",
            "{eq}`verification-adjoint`",
        ),
        Mistake(
            "the power of β is i and not i − j",
            lambda y, beta: running_transposed(y * beta ** np.arange(len(y)), 1.0),
            "What fades is counted from the place where it came in: the last entry of the result is y's last entry.",
            "{eq}`verification-adjoint`",
        ),
    ),
    hints=(
        "In which sums s_i does x_j occur, and with which weight? Write the matrix for three entries.",
        "A_ij = β^(i−j) for i ≥ j, so (Aᵀy)_j = Σ_{i ≥ j} β^(i−j) y_i. Can each entry be made from the next one?",
        "From the end to the beginning: b_j = y_j + β b_(j+1).",
    ),
    used="It is tested by {eq}`verification-adjoint`; the errors of {eq}`backprop-bp2` run backwards through the layers in the same way.",
    right=(running_matrix, running_sums, running_compiled),
    others=(
        (lambda y, beta: -running_transposed(y, beta), "every number has the opposite sign"),
        (lambda y, beta: running_transposed(y, beta)[::-1], "the numbers stand in reverse order"),
        (
            lambda y, beta: running(y, beta)[::-1],
            "this is the running sum itself; and the numbers stand in reverse order",
        ),
        (running_in_place, "changed its input"),
        (lambda y, beta: running_transposed(y, beta)[0], "wrong type or shape"),
        (lambda y, beta: running_transposed(y, 0.5), "wrong"),
    ),
)


# Break this line

BREAK = Choice(
    label="verification-break",
    task="`monte_carlo` has ddof=0 for ddof=1. Name the letters of all checks that fail.",
    right="ae",
    wrong={
        "b": "(b) allows four standard errors, and with 20,000 draws one has changed by 25 millionths of itself.",
        "c": "(c) counts misses among 2,000 experiments; with 2,000 draws each the band is too narrow by a 4,000th.",
        "d": "(d) takes the spread of one draw from NumPy and never calls `monte_carlo`.",
    },
    missing="The factor √((R − 1)/R) is near one where R is large. Where is R small?",
    hints=(
        "By which factor does the standard error change, as a function of R?",
        "By √((R − 1)/R). Compare 1 minus it with what each check tolerates.",
        "An identity to 1e-12 notices 25 millionths, and two draws lose a factor √½; no statistical check sees either.",
    ),
    used="This is why {eq}`verification-monte-carlo` has two checks, a sharp one of the standard error and a blunt one of the mean.",
)


# A copy that was not made

ALIAS = Choice(
    label="verification-alias",
    task="`_nudged` has np.asarray for np.array and moves x itself. Name the letters of all checks that fail.",
    right="abd",
    wrong={
        "c": "(c) is safe: its x has to become complex, and that makes a copy.",
        "e": "(e) is checked by a complex step, which still copies, and calls no difference.",
    },
    missing="Follow x through the lambda of each method: what has been moved when f is called the next time?",
    hints=(
        "`np.asarray` copies only where it must. When must it?",
        "It copies when the type changes, as it does for an imaginary step. For a real one every step stays in x.",
        "Symmetric differences evaluate f at x + ε and then at x, not x − ε; one-sided ones keep all earlier steps.",
    ),
    used="The line serves {eq}`verification-forward`, {eq}`verification-central` and {eq}`verification-complex-step`.",
)


# How many draws?


def draws_probes(rng):
    """Two draws of a pilot; then longer pilots."""
    yield np.array([1.0, 3.0]), 2.0, 0.5, 2.0
    for r in sizes(rng, 5, least=3, most=12):
        right = float(rng.normal())
        gap = rng.uniform(0.05, 0.3) * rng.choice([-1, 1])
        yield right + rng.normal(size=r), right, float(right + gap), float(rng.uniform(2, 5))


def draws_needed(pilot, right, wrong, within):
    return int(np.ceil(np.var(pilot, ddof=1) * (within / (right - wrong)) ** 2))


def draws_kernel(pilot, right, wrong, within):
    spread = chapter.monte_carlo(pilot).se * np.sqrt(len(pilot))
    return math.ceil((within * spread / abs(right - wrong)) ** 2)


def draws_search(pilot, right, wrong, within):
    spread, R = np.std(pilot, ddof=1), 2
    while within * spread / np.sqrt(R) > abs(right - wrong):
        R *= 2
    low = R // 2
    while R - low > 1:
        middle = (low + R) // 2
        enough = within * spread / np.sqrt(middle) <= abs(right - wrong)
        low, R = (low, middle) if enough else (middle, R)
    return R


@njit
def draws_compiled(pilot, right, wrong, within):
    mean, total = 0.0, 0.0
    for r in range(len(pilot)):
        mean += pilot[r] / len(pilot)
    for r in range(len(pilot)):
        total += (pilot[r] - mean) ** 2
    return np.ceil(total / (len(pilot) - 1) * (within / (right - wrong)) ** 2)


def _draws(variance, gap, within):
    return np.ceil(variance * (within / gap) ** 2)


def _var(pilot):
    return np.var(pilot, ddof=1)


DRAWS = Exercise(
    label="verification-draws",
    task="Write `draws_needed(pilot, right, wrong, within)`, the fewest draws whose standard error tells right from wrong.",
    reference=draws_needed,
    axes="(r), (), (), () -> ()",
    probes=draws_probes,
    mistakes=(
        Mistake(
            "the pilot's variance is divided by its length, not by one less",
            lambda pilot, right, wrong, within: _draws(np.var(pilot), right - wrong, within),
            "The mean was taken from the same draws, which lie closer to it than to the truth: `np.var` needs ddof=1.",
            "{eq}`verification-monte-carlo`",
        ),
        Mistake(
            "the spread stands where the variance belongs",
            lambda pilot, right, wrong, within: _draws(
                np.std(pilot, ddof=1), right - wrong, within
            ),
            "Squaring the condition within · s/√R ≤ |right − wrong| squares s too.",
            "{eq}`verification-monte-carlo`",
        ),
        Mistake(
            "the square is missing",
            lambda pilot, right, wrong, within: np.ceil(
                np.std(pilot, ddof=1) * within / abs(right - wrong)
            ),
            "The standard error falls as 1/√R, so half the distance costs four times the draws.",
            "{eq}`verification-monte-carlo`",
        ),
        Mistake(
            "the number of standard errors is left out",
            lambda pilot, right, wrong, within: _draws(_var(pilot), right - wrong, 1),
            "With this R the wrong value lies one standard error away, and a check refuses it from `within` on.",
            "{eq}`verification-monte-carlo`",
        ),
        Mistake(
            "the standard error of the pilot stands where its spread belongs",
            lambda pilot, right, wrong, within: _draws(
                _var(pilot) / len(pilot), right - wrong, within
            ),
            "The length of the pilot is not part of the answer; what one draw scatters is.",
            "{eq}`verification-monte-carlo`",
        ),
        Mistake(
            "the mean of the pilot stands where the right value belongs",
            lambda pilot, right, wrong, within: _draws(_var(pilot), np.mean(pilot) - wrong, within),
            "A short pilot knows the spread well enough; its mean is as uncertain as what you plan to measure.",
            "{eq}`verification-monte-carlo`",
        ),
        Mistake(
            "the number of draws is not rounded up",
            lambda pilot, right, wrong, within: _var(pilot) * (within / (right - wrong)) ** 2,
            "Draws are whole, and the condition has to hold: take the next whole number.",
            "{eq}`verification-monte-carlo`",
        ),
        Mistake(
            "the number of draws is rounded down",
            lambda pilot, right, wrong, within: np.floor(
                _var(pilot) * (within / (right - wrong)) ** 2
            ),
            "One draw less, and the wrong value lies just inside the band.",
            "{eq}`verification-monte-carlo`",
        ),
    ),
    hints=(
        "How wide is the standard error of a mean of R draws, if one draw scatters with s?",
        "The condition is within · s/√R ≤ |right − wrong|, with s² from the pilot, divided by its length less one.",
        "Solve for R: s² (within / (right − wrong))², rounded up.",
    ),
    used="Every Monte Carlo check of the book names a wrong form, {eq}`verification-monte-carlo`; this is how its draws are counted.",
    right=(draws_kernel, draws_search, draws_compiled),
    others=(
        (
            lambda pilot, right, wrong, within: -draws_needed(pilot, right, wrong, within),
            "every number has the opposite sign",
        ),
        (lambda pilot, right, wrong, within: draws_needed(pilot, right, wrong, 4), "wrong"),
        (
            lambda pilot, right, wrong, within: draws_needed(pilot, right, wrong, within) + 1,
            "wrong",
        ),
        (
            lambda pilot, right, wrong, within: pilot * (within / (right - wrong)) ** 2,
            "wrong type or shape",
        ),
    ),
)

EXERCISES = (FIVE, FORWARD, RUNNING, BREAK, ALIAS, DRAWS)
