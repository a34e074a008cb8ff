"""Exercises of the chapter on optimization.

Page: ``book/optimization.md``. Axes: t steps, p parameters, as in the chapter.
"""

import numpy as np

from dlbook import optimization as chapter
from dlbook.exercises.forms import Choice, Exercise, Mistake, sizes
from dlbook.tools.jit import njit

__all__ = ["EXERCISES"]


def walked(optimizer, G, theta0):
    """Return the points that an optimizer visits when it is given these gradients."""
    stream = iter(G)
    return chapter.trajectory(lambda _: next(stream), theta0, optimizer, len(G))[1:]


# Two steps with two rates, by hand


def pair_probes(rng):
    """Eigenvalues from 1 to 3; then several intervals."""
    yield np.array([1.0]), np.array([3.0])
    for p in sizes(rng, 5, least=2, most=9):
        small = rng.uniform(0.1, 1, size=p)
        yield small, small * rng.uniform(1.5, 20, size=p)


def two_rates(small, large):
    middle, half = (large + small) / 2, (large - small) / 2
    return 1 / (middle - half / np.sqrt(2)), 1 / (middle + half / np.sqrt(2))


def two_rates_by_roots(small, large):
    found = []
    for a, b in zip(small, large, strict=True):
        roots = np.polynomial.chebyshev.Chebyshev([0, 0, 1], [a, b]).roots()
        found.append(1 / np.sort(roots.real))
    return tuple(np.array(found).T)


def two_rates_by_cosine(small, large):
    angles = np.array([3, 1])[:, None] * np.pi / 4
    return tuple(2 / (large + small + (large - small) * np.cos(angles)))


@njit
def two_rates_compiled(small, large):
    first, second = np.empty_like(small), np.empty_like(small)
    for p in range(small.size):
        middle, half = (large[p] + small[p]) / 2, (large[p] - small[p]) / np.sqrt(8)
        first[p], second[p] = 1 / (middle - half), 1 / (middle + half)
    return first, second


def _pair(share):
    """Return rates whose reciprocals lie so far from the middle, in half widths."""

    def rates(small, large):
        middle, half = (large + small) / 2, (large - small) / 2
        return 1 / (middle - share * half), 1 / (middle + share * half)

    return rates


PAIR = Exercise(
    label="optimization-two-rates",
    task="Write `two_rates(small, large)`: the pair of rates, the larger first, that is best for two steps.",
    reference=two_rates,
    axes="(p), (p) -> (p), (p)",
    probes=pair_probes,
    mistakes=(
        Mistake(
            "both steps have the best single rate",
            _pair(0.0),
            "Two steps make a quadratic in λ. It may be zero at two places, and a double zero wastes one.",
            "{eq}`optimization-best-rate`",
        ),
        Mistake(
            "the two rates are 1/ℓ and 1/L",
            _pair(1.0),
            "Then the ends of the interval are hit exactly, and the middle is left far too large.",
            "{eq}`optimization-quadratic-rate`",
        ),
        Mistake(
            "the zeros lie half way between the middle and the ends",
            _pair(0.5),
            "The middle and both ends must be equally bad: 2u² − 1 is −1 in the middle, 1 at the ends, 0 at ±1/√2.",
            "{eq}`optimization-best-rate`",
        ),
        Mistake(
            "these are the eigenvalues where the factor is zero, not the rates",
            lambda small, large: tuple(1 / rate for rate in two_rates(small, large)),
            "The factor 1 − ηλ is zero at λ = 1/η.",
            "{eq}`optimization-quadratic-rate`",
        ),
        Mistake(
            "the zeros are placed on the scale of rates instead of eigenvalues",
            lambda small, large: (
                (1 / small + 1 / large) / 2 + (1 / small - 1 / large) / np.sqrt(8),
                (1 / small + 1 / large) / 2 - (1 / small - 1 / large) / np.sqrt(8),
            ),
            "The factors are polynomials in λ: place the zeros between ℓ and L, and then take reciprocals.",
            "{eq}`optimization-quadratic-rate`",
        ),
        Mistake(
            "the zeros lie √2 times too close to the middle",
            _pair(0.5 / np.sqrt(2)),
            "The distance is the half width (L − ℓ)/2 over √2.",
            "{eq}`optimization-best-rate`",
        ),
    ),
    hints=(
        "After two steps an eigenvector is multiplied by (1 − η₁λ)(1 − η₂λ). Draw it between ℓ and L.",
        "Put λ = (L + ℓ)/2 + u (L − ℓ)/2 with u from −1 to 1. Which quadratic in u is equally large at −1, 0 and 1?",
        "It is a multiple of 2u² − 1, with its zeros at u = ±1/√2: take λ there, and 1/λ.",
    ),
    used="One step gives {eq}`optimization-best-rate`. With ever more steps the best rates follow Chebyshev's "
    "polynomials, and momentum with {eq}`optimization-momentum-rate` reaches the same speed without knowing the number.",
    right=(two_rates_by_roots, two_rates_by_cosine, two_rates_compiled),
    others=(
        (
            lambda small, large: two_rates(small, large)[::-1],
            "the results are returned in the reverse order",
        ),
        (lambda small, large: two_rates(small, large)[0], "wrong type or shape"),
        (lambda small, large: tuple(r + 0.01 for r in two_rates(small, large)), "wrong"),
    ),
)


# AdaGrad without a loop


def gradient_probes(rng):
    """Two steps of one parameter; then more steps than parameters, and fewer."""
    yield np.array([[3.0], [4.0]]), 0.5, 1e-2
    for _ in range(4):
        t, p = sizes(rng, 2, least=2, most=8)
        yield rng.normal(size=(t, p)), float(rng.uniform(0.1, 1)), float(rng.uniform(1e-3, 0.1))


def adagrad_steps(G, rate, eps):
    return rate * G / (np.sqrt(np.cumsum(G**2, axis=0)) + eps)


def adagrad_by_optimizer(G, rate, eps):
    path = walked(chapter.AdaGrad(rate, eps=eps), G, np.zeros(G.shape[1]))
    return -np.diff(path, axis=0, prepend=np.zeros((1, G.shape[1])))


def adagrad_loops(G, rate, eps):
    steps, s = [], np.zeros(G.shape[1])
    for g in G:
        s = s + g * g
        steps.append(rate * g / (s**0.5 + eps))
    return np.array(steps)


@njit
def adagrad_compiled(G, rate, eps):
    steps = np.empty_like(G)
    for p in range(G.shape[1]):
        s = 0.0
        for t in range(G.shape[0]):
            s += G[t, p] ** 2
            steps[t, p] = rate * G[t, p] / (np.sqrt(s) + eps)
    return steps


def _before(G):
    return np.vstack((np.zeros((1, G.shape[1])), np.cumsum(G**2, axis=0)[:-1]))


ADAGRAD = Exercise(
    label="optimization-adagrad-steps",
    task="Write `adagrad_steps(G, rate, eps)`: what AdaGrad subtracts in each step, for gradients G of shape (t, p).",
    reference=adagrad_steps,
    axes="(t p), (), () -> (t p)",
    probes=gradient_probes,
    mistakes=(
        Mistake(
            "the squares are summed over all parameters",
            lambda G, rate, eps: (
                rate * G / (np.sqrt(np.cumsum(np.sum(G**2, axis=1, keepdims=True), axis=0)) + eps)
            ),
            "That gives every parameter the same rate, which is what AdaGrad was to avoid: it is per parameter.",
            "{eq}`optimization-adagrad`",
        ),
        Mistake(
            "the present gradient is not yet in the sum",
            lambda G, rate, eps: rate * G / (np.sqrt(_before(G)) + eps),
            "The accumulator is updated first; otherwise the first step is η g/ε, as large as you like.",
            "{eq}`optimization-adagrad`",
        ),
        Mistake(
            "ε stands under the root",
            lambda G, rate, eps: rate * G / np.sqrt(np.cumsum(G**2, axis=0) + eps),
            "Here it is added to the root. Under it, √ε is what counts.",
            "{eq}`optimization-adagrad`",
        ),
        Mistake(
            "the root is missing",
            lambda G, rate, eps: rate * G / (np.cumsum(G**2, axis=0) + eps),
            "Without it the steps fall like 1/t, and their size depends on the units of the cost.",
            "{eq}`optimization-adagrad`",
        ),
        Mistake(
            "the squares are averaged, not summed",
            lambda G, rate, eps: (
                rate
                * G
                / (np.sqrt(np.cumsum(G**2, axis=0) / np.arange(1, len(G) + 1)[:, None]) + eps)
            ),
            "An average does not grow, and the rate would not fall. What forgets is RMSprop, with another weight.",
            "{eq}`optimization-rmsprop`",
        ),
        Mistake(
            "the absolute values are summed",
            lambda G, rate, eps: rate * G / (np.cumsum(np.abs(G), axis=0) + eps),
            "The root of a sum of squares is smaller than the sum of the sizes.",
            "{eq}`optimization-adagrad`",
        ),
    ),
    hints=(
        "Which axis is time? The sum runs along it, and along nothing else.",
        "s of step t is the sum of the squares of rows 1 to t; NumPy has a function for sums so far.",
        "η G / (√(cumsum of G² over the first axis) + ε).",
    ),
    used="The checks of {eq}`optimization-adagrad` with random gradients are made in this way.",
    right=(adagrad_by_optimizer, adagrad_loops, adagrad_compiled),
    others=(
        (lambda G, rate, eps: -adagrad_steps(G, rate, eps), "every number has the opposite sign"),
        (lambda G, rate, eps: adagrad_steps(G, rate, eps)[-1], "wrong type or shape"),
        (lambda G, rate, eps: adagrad_steps(G, rate, eps).cumsum(axis=0), "wrong"),
    ),
)


# Adam with its corrections in the rate


def adam_probes(rng):
    """Two steps of one parameter; then random gradients of different sizes."""
    yield np.array([[1.0], [-1.0]]), 0.1, 0.9, 0.99, 1e-2
    for _ in range(4):
        t, p = sizes(rng, 2, least=2, most=8)
        b1, b2 = rng.uniform(0.5, 0.9), rng.uniform(0.92, 0.99)
        yield rng.normal(size=(t, p)), 0.1, float(b1), float(b2), float(rng.uniform(1e-2, 0.1))


def adam_points(G, rate, beta1, beta2, eps):
    return walked(chapter.Adam(rate, beta1, beta2, eps), G, np.zeros(G.shape[1]))


def adam_in_the_rate(G, rate, beta1, beta2, eps):
    return _adam(G, rate, beta1, beta2, eps)


def _adam(G, rate, beta1, beta2, eps, first=True, second=True, moving=True, inside=0, late=0):
    """Return Adam's points, with what readers forget taken out."""
    m = v = theta = np.zeros(G.shape[1])
    path = []
    for t, g in enumerate(G, 1 + late):
        m, v = beta1 * m + (1 - beta1) * g, beta2 * v + (1 - beta2) * g**2
        one = 1 - beta1**t if first else 1.0
        two = np.sqrt(1 - beta2**t) if second else 1.0
        small = eps * two if moving else eps
        below = np.sqrt(v + eps**inside * two**2) if inside else np.sqrt(v) + small
        theta = theta - rate * two / one * m / below
        path.append(theta)
    return np.array(path)


def adam_unrolled(G, rate, beta1, beta2, eps):
    t = np.arange(1, len(G) + 1)[:, None]

    def corrected(beta, values):
        weights = np.tril(beta ** np.abs(t - t.T)) * (1 - beta)
        return weights @ values / (1 - beta**t)

    steps = corrected(beta1, G) / (np.sqrt(corrected(beta2, G**2)) + eps)
    return -rate * np.cumsum(steps, axis=0)


@njit
def adam_compiled(G, rate, beta1, beta2, eps):
    path = np.empty_like(G)
    for p in range(G.shape[1]):
        m, v, theta = 0.0, 0.0, 0.0
        for t in range(G.shape[0]):
            m = beta1 * m + (1 - beta1) * G[t, p]
            v = beta2 * v + (1 - beta2) * G[t, p] ** 2
            mean, square = m / (1 - beta1 ** (t + 1)), v / (1 - beta2 ** (t + 1))
            theta -= rate * mean / (np.sqrt(square) + eps)
            path[t, p] = theta
    return path


ADAM = Exercise(
    label="optimization-adam-points",
    task="Write `adam_points(G, rate, beta1, beta2, eps)`: the points Adam visits from 0 when given gradients G.",
    reference=adam_points,
    axes="(t p), (), (), (), () -> (t p)",
    probes=adam_probes,
    mistakes=(
        Mistake(
            "the bias corrections are missing",
            lambda G, rate, beta1, beta2, eps: _adam(
                G, rate, beta1, beta2, eps, first=False, second=False
            ),
            "Both averages start at zero and are too small at first, by 1 − β^t.",
            "{eq}`optimization-adam-bias`",
        ),
        Mistake(
            "only the mean is corrected",
            lambda G, rate, beta1, beta2, eps: _adam(G, rate, beta1, beta2, eps, second=False),
            "The average of the squares starts at zero too, and takes longer to recover.",
            "{eq}`optimization-adam-bias`",
        ),
        Mistake(
            "only the average of the squares is corrected",
            lambda G, rate, beta1, beta2, eps: _adam(G, rate, beta1, beta2, eps, first=False),
            "The average of the gradients starts at zero too: divide it by 1 − β₁^t.",
            "{eq}`optimization-adam-bias`",
        ),
        Mistake(
            "ε is not corrected along with the root",
            lambda G, rate, beta1, beta2, eps: _adam(G, rate, beta1, beta2, eps, moving=False),
            "With the corrections in the rate, ε √(1 − β₂^t) stands where ε stood.",
            "{eq}`optimization-adam`",
        ),
        Mistake(
            "ε stands under the root",
            lambda G, rate, beta1, beta2, eps: _adam(G, rate, beta1, beta2, eps, inside=1),
            "It is added to the root of v̂, not inside it, where it acts like √ε.",
            "{eq}`optimization-adam`",
        ),
        Mistake(
            "ε stands under the root, squared",
            lambda G, rate, beta1, beta2, eps: _adam(G, rate, beta1, beta2, eps, inside=2),
            "It is added to the root of v̂, not inside it.",
            "{eq}`optimization-adam`",
        ),
        Mistake(
            "the two factors β₁ and β₂ are exchanged",
            lambda G, rate, beta1, beta2, eps: _adam(G, rate, beta2, beta1, eps),
            "β₁ belongs to the gradients and β₂, which is closer to one, to their squares.",
            "{eq}`optimization-adam`",
        ),
        Mistake(
            "the steps are counted from 2 in the corrections",
            lambda G, rate, beta1, beta2, eps: _adam(G, rate, beta1, beta2, eps, late=1),
            "In the first step the averages hold one gradient, and the exponent is 1.",
            "{eq}`optimization-adam-bias`",
        ),
    ),
    hints=(
        "Keep two vectors, m and v, that start at zero, and count the steps from 1.",
        "Update both averages, divide each by its 1 − β^t, and only then take the root.",
        "θ ← θ − η m̂/(√v̂ + ε) with m̂ = m/(1 − β₁^t) and v̂ = v/(1 − β₂^t); append θ after each step.",
    ),
    used="Every network of the book that trains with Adam takes these steps; they are {eq}`optimization-adam`.",
    right=(adam_in_the_rate, adam_unrolled, adam_compiled),
    others=(
        (lambda *args: -adam_points(*args), "every number has the opposite sign"),
        (lambda *args: np.vstack((0 * args[0][:1], adam_points(*args))), "wrong type or shape"),
        (lambda *args: adam_points(*args) + 0.01, "wrong"),
    ),
)


# Sign descent


def sign_probes(rng):
    """One start; then several, for numbers of steps on both sides of the arrival."""
    yield np.array([1.0]), 0.3, 2
    for p in sizes(rng, 5, least=2, most=9):
        yield rng.uniform(-2, 2, size=p), float(rng.uniform(0.2, 0.4)), int(rng.integers(4, 12))


def sign_descent(theta, rate, steps):
    for _ in range(steps):
        theta = theta - rate * np.sign(theta)
    return theta


def sign_by_adam(theta, rate, steps):
    optimizer = chapter.Adam(rate, 0.0, 0.0, 1e-300)
    return chapter.trajectory(lambda at: at, theta, optimizer, steps)[-1]


def sign_closed(theta, rate, steps):
    arrive = np.minimum(np.ceil(np.abs(theta) / rate), steps)  # the first step that crosses zero
    size = np.abs(theta) - rate * arrive
    return np.sign(theta) * (size + rate * ((steps - arrive) % 2))


@njit
def sign_compiled(theta, rate, steps):
    out = theta.copy()
    for p in range(out.size):
        for _ in range(steps):
            out[p] -= rate if out[p] > 0 else -rate
    return out


SIGN = Exercise(
    label="optimization-sign",
    task="Write `sign_descent(theta, rate, steps)`: where Adam with β₁ = β₂ = 0 and ε → 0 ends on C = ½ Σ θ².",
    reference=sign_descent,
    axes="(p), (), () -> (p)",
    probes=sign_probes,
    mistakes=(
        Mistake(
            "the steps are proportional to the gradient",
            lambda theta, rate, steps: theta * (1 - rate) ** steps,
            "That is plain descent. Without memory m̂/√v̂ is g/|g|, whatever the size of g.",
            "{eq}`optimization-adam`",
        ),
        Mistake(
            "one step too few",
            lambda theta, rate, steps: sign_descent(theta, rate, steps - 1),
            "The point after `steps` steps is asked for, not the one before the last.",
            "{eq}`optimization-adam`",
        ),
        Mistake(
            "one step too many",
            lambda theta, rate, steps: sign_descent(theta, rate, steps + 1),
            "The start counts as step 0.",
            "{eq}`optimization-adam`",
        ),
        Mistake(
            "the descent stops at zero",
            lambda theta, rate, steps: np.sign(theta) * np.maximum(np.abs(theta) - rate * steps, 0),
            "Nothing stops it: a step is as long as the one before, and it jumps to and fro across the minimum.",
            "{eq}`optimization-adam`",
        ),
        Mistake(
            "the sign is taken only once, at the start",
            lambda theta, rate, steps: theta - rate * steps * np.sign(theta),
            "The gradient changes its sign when the point passes the minimum.",
            "{eq}`optimization-gd`",
        ),
        Mistake(
            "all parameters share one direction",
            lambda theta, rate, steps: theta * _shared(theta, rate, steps),
            "Adam divides each parameter by its own root, not the whole gradient by its length.",
            "{eq}`optimization-adagrad`",
        ),
    ),
    hints=(
        "What are m̂ and v̂ if nothing is remembered?",
        "m̂ = g and v̂ = g², so a step is −η g/|g|, for each parameter by itself.",
        "Repeat θ ← θ − η sign θ.",
    ),
    used="It explains why {eq}`optimization-adam` needs a falling rate even without noise, and the first step of every "
    "run: there {eq}`optimization-adam-bias` makes it ± the rate.",
    right=(sign_by_adam, sign_closed, sign_compiled),
    others=(
        (lambda *args: -sign_descent(*args), "every number has the opposite sign"),
        (lambda *args: np.abs(sign_descent(*args)).max(), "wrong type or shape"),
        (lambda *args: sign_descent(*args) + 0.01, "wrong"),
    ),
)


def _shared(theta, rate, steps):
    """Return the factor by which normalized descent, as one vector, has changed the start."""
    size = length = np.linalg.norm(theta)
    for _ in range(steps):
        size = size - rate * np.sign(size)
    return size / length


# Lion


def lion_probes(rng):
    """Two steps of one parameter; then random gradients."""
    yield np.array([[1.0], [-2.0]]), np.array([1.0]), 0.1, 0.9, 0.5, 0.5
    for _ in range(4):
        t, p = sizes(rng, 2, least=3, most=9)
        yield rng.normal(size=(t, p)), rng.normal(size=p), 0.1, 0.6, 0.9, float(rng.uniform(0.2, 1))


def _lion(
    G, theta, rate, beta1, beta2, decay, early=False, coupled=False, signed=True, plain=False
):
    """Return Lion's points, with what readers forget taken out."""
    m, path = np.zeros(len(theta)), []
    for g in G:
        d = g + decay * theta if coupled else g
        if early:
            m = beta2 * m + (1 - beta2) * d
        c = m if plain else beta1 * m + (1 - beta1) * d
        step = np.sign(c) if signed else c
        theta = theta - rate * (step + (0 if coupled else decay * theta))
        if not early:
            m = beta2 * m + (1 - beta2) * d
        path.append(theta)
    return np.array(path)


def lion(G, theta, rate, beta1, beta2, decay):
    return _lion(G, theta, rate, beta1, beta2, decay)


def lion_unrolled(G, theta, rate, beta1, beta2, decay):
    T = len(G)
    age = np.subtract.outer(np.arange(T), np.arange(T)) - 1
    before = np.where(age >= 0, (1 - beta2) * beta2 ** np.maximum(age, 0), 0.0) @ G
    signs = np.sign(beta1 * before + (1 - beta1) * G)
    shrink = 1 - rate * decay
    powers = np.tril(shrink ** np.maximum(age + 1, 0))
    return shrink ** np.arange(1, T + 1)[:, None] * theta - rate * powers @ signs


def lion_lists(G, theta, rate, beta1, beta2, decay):
    m, path = [0.0] * len(theta), [list(theta)]
    for g in G:
        signs = [np.sign(beta1 * a + (1 - beta1) * b) for a, b in zip(m, g, strict=True)]
        last = path[-1]
        path.append([x - rate * (s + decay * x) for x, s in zip(last, signs, strict=True)])
        m = [beta2 * a + (1 - beta2) * b for a, b in zip(m, g, strict=True)]
    return np.array(path[1:])


@njit
def lion_compiled(G, theta, rate, beta1, beta2, decay):
    path = np.empty_like(G)
    for p in range(theta.size):
        x, m = theta[p], 0.0
        for t in range(G.shape[0]):
            c = beta1 * m + (1 - beta1) * G[t, p]
            x -= rate * (np.sign(c) + decay * x)
            m = beta2 * m + (1 - beta2) * G[t, p]
            path[t, p] = x
    return path


LION = Exercise(
    label="optimization-lion",
    task="Write `lion(G, theta, rate, beta1, beta2, decay)`: the points Lion visits from theta when given gradients G.",
    reference=lion,
    axes="(t p), (p), (), (), (), () -> (t p)",
    probes=lion_probes,
    mistakes=(
        Mistake(
            "the memory is updated before the step",
            lambda *args: _lion(*args, early=True),
            "The mixture c takes the old m; otherwise the gradient is counted twice.",
            "{ref}`ex-optimization-lion`",
        ),
        Mistake(
            "the sign is taken of the memory, not of the mixture",
            lambda *args: _lion(*args, plain=True),
            "c holds a share 1 − β₁ of the present gradient, so that Lion answers to it at once.",
            "{ref}`ex-optimization-lion`",
        ),
        Mistake(
            "the weight decay goes through the gradient",
            lambda *args: _lion(*args, coupled=True),
            "Under a sign a penalty has no size left. It is decoupled, as in AdamW.",
            "{eq}`optimization-adamw`",
        ),
        Mistake(
            "β₁ and β₂ are exchanged",
            lambda G, theta, rate, beta1, beta2, decay: _lion(G, theta, rate, beta2, beta1, decay),
            "β₁ mixes for the step, β₂ is what the memory forgets with.",
            "{ref}`ex-optimization-lion`",
        ),
        Mistake(
            "the weight decay is not multiplied by the rate",
            lambda G, theta, rate, beta1, beta2, decay: _lion(
                G, theta, rate, beta1, beta2, decay / rate
            ),
            "The bracket holds the sign and λθ, and η stands in front of it.",
            "{eq}`optimization-adamw`",
        ),
        Mistake(
            "the sign is missing",
            lambda *args: _lion(*args, signed=False),
            "Without it this is a momentum; with it every step has the same length.",
            "{ref}`ex-optimization-lion`",
        ),
    ),
    hints=(
        "One vector m is remembered; it starts at zero. In which order are c, θ and m computed?",
        "c from the old m and g; then θ; then m.",
        "θ ← θ − η (sign(β₁ m + (1 − β₁) g) + λ θ), and after it m ← β₂ m + (1 − β₂) g.",
    ),
    used="Its decay is that of {eq}`optimization-adamw`, its steps those of Adam without memory: {ref}`ex-optimization-sign`.",
    right=(lion_unrolled, lion_lists, lion_compiled),
    others=(
        (lambda *args: -lion(*args), "every number has the opposite sign"),
        (lambda *args: lion(*args)[-1], "wrong type or shape"),
        (lambda *args: lion(*args) + 0.01, "wrong"),
    ),
)


# Break this line


BREAK = Choice(
    label="optimization-break",
    task="In the kernel `adam`, `beta2**t` becomes `beta1**t`. Name the letters of all checks that fail.",
    right="ad",
    wrong={
        "b": "(b) checks `corrected`, a kernel of its own that is handed one β.",
        "c": "(c) has the same two lines in a kernel of its own, which nobody has touched.",
        "e": "(e) keeps no bias correction at all.",
    },
    missing="A constant gradient notices it, and so do random ones; look for another check of the same kernel.",
    hints=(
        "Which optimizers call the kernel `adam`, and which have a kernel of their own?",
        "For a constant gradient v is (1 − β₂^t) g². Divided by 1 − β₁^t it is not g².",
        "Both checks of the kernel fail, with constant and with random gradients; AdamW and `corrected` pass.",
    ),
    used="One of the two sequences in the checks of {eq}`optimization-adam` would have been enough to notice.",
)


EXERCISES = (PAIR, ADAGRAD, ADAM, SIGN, LION, BREAK)
