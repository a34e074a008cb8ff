"""Exercises of the chapter on neurons.

Page: ``book/neurons.md``. Axes: n examples, k inputs, as in the chapter; in the exercise on
rectifiers k points and m cells, one fewer.
"""

import numpy as np
from scipy.special import expit

from dlbook import neurons as chapter
from dlbook.exercises.forms import Choice, Exercise, Mistake, sizes
from dlbook.linear_classification import sigmoid, sigmoid_prime
from dlbook.tools.jit import njit
from dlbook.verification import complex_step

__all__ = ["EXERCISES"]


# XOR from NANDs


def hard_gate(p, q):
    return 1.0 * (3 - 2 * p - 2 * q > 0)


def product_gate(p, q):
    return 1 - p * q


def soft_gate(gain):
    return lambda p, q: expit(gain * (3 - 2 * p - 2 * q))


def wiring_probes(rng):
    """The four corners; then soft gates and signals between 0 and 1, which tell wirings apart."""
    p, q = np.array([[0.0, 0, 1, 1], [0, 1, 0, 1]])
    yield hard_gate, p, q
    for gate, n in zip(
        (product_gate, soft_gate(1.5), soft_gate(0.7)), sizes(rng, 3, 5, 9), strict=True
    ):
        yield gate, *rng.uniform(size=(2, n))
    for n in sizes(rng, 2, least=6, most=12):
        yield soft_gate(float(rng.uniform(0.5, 2))), *rng.uniform(size=(2, n))


def four_gates(gate, p, q):
    h = gate(p, q)
    return gate(gate(p, h), gate(q, h))


def four_gates_one_by_one(gate, p, q):
    out = np.empty(len(p))
    for n in range(len(p)):
        h = gate(p[n], q[n])
        out[n] = gate(gate(p[n], h), gate(q[n], h))
    return out


def four_gates_stacked(gate, p, q):
    both = np.stack((p, q))
    return gate(*gate(both, gate(p, q)))


def four_gates_turned(gate, p, q):
    h = gate(q, p)
    return gate(gate(h, q), gate(h, p))


XOR = Exercise(
    label="neurons-xor-nand",
    task="Write `xor_of(gate, p, q)`, which computes whether p and q differ with four calls of `gate`, a NAND.",
    reference=four_gates,
    axes="(gate), (n), (n) -> (n)",
    probes=wiring_probes,
    mistakes=(
        Mistake(
            "this is OR",
            lambda gate, p, q: gate(gate(p, p), gate(q, q)),
            "NAND of two negations is 1 as soon as one bit is; XOR has to turn 0 again where both are.",
            "{eq}`neurons-nand`",
        ),
        Mistake(
            "this is AND",
            lambda gate, p, q: gate(gate(p, q), gate(p, q)),
            "NAND of a signal with itself negates it, so h is only turned round: feed h back to p and to q.",
            "{eq}`neurons-nand`",
        ),
        Mistake(
            "the result is negated",
            lambda gate, p, q: gate(four_gates(gate, p, q), four_gates(gate, p, q)),
            "One gate too many: NAND of the two inner ones is XOR already, without a NOT behind it.",
            "{ref}`ex-neurons-xor-nand`",
        ),
        Mistake(
            "each input is negated by a gate of its own",
            lambda gate, p, q: gate(gate(p, gate(q, q)), gate(gate(p, p), q)),
            "Right for bits, with five gates: one NAND of p and q serves in the place of both negations.",
            "{ref}`ex-neurons-xor-nand`",
        ),
        Mistake(
            "h meets only one of the inputs",
            lambda gate, p, q: gate(gate(p, gate(p, q)), q),
            "XOR treats p and q alike, and so must the wiring: each of them meets h in a gate.",
            "{ref}`ex-neurons-xor-nand`",
        ),
        Mistake(
            "p and q are compared without any gate",
            lambda gate, p, q: 1.0 * (p != q),
            "That is right for bits and builds nothing; soft gates and soft signals show the difference.",
            "{eq}`neurons-nand`",
        ),
    ),
    hints=(
        "Begin with h = NAND(p, q). In which rows of the table does it already know the answer?",
        "NAND(p, h) is 0 only where p is 1 and q is 0. Which gate does the same for q?",
        "gate(gate(p, h), gate(q, h)) with h = gate(p, q).",
    ),
    used="Two such groups of four and one more gate make the full adder behind {eq}`neurons-nand`.",
    right=(four_gates_one_by_one, four_gates_stacked, four_gates_turned),
    others=(
        (lambda gate, p, q: gate(p, q), "wrong"),
        (lambda gate, p, q: -four_gates(gate, p, q), "every number has the opposite sign"),
        (lambda gate, p, q: four_gates(gate, p, q)[:1], "wrong type or shape"),
        (lambda gate, p, q: four_gates(gate, p, q)[::-1], "the numbers stand in reverse order"),
    ),
)


# How many truth tables?


def realised(weights, biases):
    """Return how many truth tables of three bits the perceptrons with these numbers compute."""
    cube = np.indices((2, 2, 2)).reshape(3, -1)
    grid = np.stack(np.meshgrid(weights, weights, weights, biases), axis=-1).reshape(-1, 4)
    outputs = grid[:, :3] @ cube + grid[:, 3:] > 0
    return len(np.unique(outputs @ 2 ** np.arange(8)))


def tables():
    """Weights up to 2 and biases between the whole numbers reach every table that can be reached."""
    return realised(np.arange(-2, 3), np.arange(-6, 6) + 0.5)


def tables_wider():
    return realised(np.arange(-3, 4), np.arange(-9, 9) + 0.5)


def tables_proved():
    cube = np.indices((2, 2, 2)).reshape(3, -1).T
    every = (np.arange(256)[:, None] >> np.arange(8)) & 1
    return sum(chapter.separating_perceptron(cube, table) is not None for table in every)


COUNT = Exercise(
    label="neurons-count",
    task="Of the 256 truth tables of three bits, how many does a single perceptron compute?",
    reference=tables,
    axes="-> ()",
    mistakes=(
        Mistake(
            "the share of two bits is carried over",
            lambda: 224,
            "14 of 16 is 224 of 256, but each new input doubles the rows that have to agree: count.",
            "{eq}`neurons-perceptron`",
        ),
        Mistake(
            "only two tables are missing",
            lambda: 254,
            "Parity and its negation fail as before; so does every table that holds an XOR on a face of the cube.",
            "{eq}`neurons-perceptron`",
        ),
        Mistake(
            "all tables are counted",
            lambda: 256,
            "One perceptron cannot compute XOR of two bits, nor any table of three that is XOR once the third is fixed.",
            "{eq}`neurons-perceptron`",
        ),
        Mistake(
            "points in general position are counted",
            lambda: 128,
            "2 (1 + 7 + 21 + 35) holds where no four points share a plane; of the cube's corners many do.",
            "{eq}`neurons-perceptron`",
        ),
        Mistake(
            "the bias is zero",
            lambda: realised(np.arange(-4, 5), [0.0]),
            "Planes through the origin only: give `separating_perceptron` the cube, and it finds b too.",
            "{eq}`neurons-perceptron`",
        ),
        Mistake(
            "weights below zero are left out",
            lambda: realised(np.arange(3), np.arange(-6, 6) + 0.5),
            "NAND itself has negative weights: an input may speak against.",
            "{eq}`neurons-nand`",
        ),
        Mistake(
            "the weights are −1, 0 and 1 only",
            lambda: realised(np.arange(-1, 2), np.arange(-3, 3) + 0.5),
            "Some tables need one weight twice as large, such as x₁ or (x₂ and x₃).",
            "{eq}`neurons-perceptron`",
        ),
        Mistake(
            "the two constants are left out",
            lambda: tables() - 2,
            "Always 0 and always 1 are tables too, and a bias alone computes them.",
            "{eq}`neurons-perceptron`",
        ),
    ),
    hints=(
        "The text asks a linear program for each of the 16 tables of two bits; nothing in it knows about two.",
        "The cube is `np.indices((2, 2, 2)).reshape(3, -1).T`, and table t has the bits `(t >> np.arange(8)) & 1`.",
        "Count the tables for which `separating_perceptron(cube, table)` is not None.",
    ),
    used="One perceptron, {eq}`neurons-perceptron`, computes an ever smaller share of the tables; circuits of "
    "{eq}`neurons-nand` compute them all.",
    right=(tables_wider, tables_proved, lambda: np.float64(tables())),
    others=(
        (lambda: 14, "wrong"),
        (lambda: 100, "wrong"),
        (lambda: 2 * tables(), "every number is 2 times what it should be"),
        (lambda: np.array([104]), "wrong type or shape"),
    ),
)


# From perceptrons to sigmoids


def adder_probes(rng):
    """One sum of three bits; then all of them and random bits, at low and at high gain."""
    yield np.array([1.0]), np.array([1.0]), np.array([0.0]), 2.0
    for gain, n in zip((0.5, 1.2, 3.0, 8.0), sizes(rng, 4, least=2, most=9), strict=True):
        yield *rng.integers(0, 2, size=(3, n)).astype(float), gain
    yield *np.indices((2, 2, 2)).reshape(3, -1).astype(float), float(rng.uniform(0.5, 3))


def wired(gate, p, q, carry):
    """Return the two bits of the sum from nine gates."""
    both = gate(p, q)
    half = gate(gate(p, both), gate(q, both))
    odd = gate(half, carry)
    return gate(gate(half, odd), gate(carry, odd)), gate(odd, both)


def soft_adder(p, q, carry, gain):
    return wired(soft_gate(gain), p, q, carry)


def soft_adder_neurons(p, q, carry, gain):
    def gate(p, q):
        inputs = np.stack((p, q), axis=-1)
        return chapter.sigmoid_neuron(inputs, np.full_like(inputs[0], -2 * gain), 3 * gain)

    return wired(gate, p, q, carry)


def soft_adder_loops(p, q, carry, gain):
    def gate(p, q):
        return 1 / (1 + np.exp(-3 * gain + 2 * gain * p + 2 * gain * q))

    sums = [wired(gate, *bits) for bits in zip(p, q, carry, strict=True)]
    return tuple(np.array(bit) for bit in zip(*sums, strict=True))


@njit
def _compiled_gate(p, q, gain):
    return sigmoid(gain * (3 - 2 * p - 2 * q))


@njit
def soft_adder_compiled(p, q, carry, gain):
    both = _compiled_gate(p, q, gain)
    half = _compiled_gate(_compiled_gate(p, both, gain), _compiled_gate(q, both, gain), gain)
    odd = _compiled_gate(half, carry, gain)
    left, right = _compiled_gate(half, odd, gain), _compiled_gate(carry, odd, gain)
    return _compiled_gate(left, right, gain), _compiled_gate(odd, both, gain)


def _half_adder(p, q, gain):
    gate = soft_gate(gain)
    both = gate(p, q)
    return both, gate(gate(p, both), gate(q, both))


def first_half(p, q, carry, gain):
    return _half_adder(p, q, gain)[1], soft_adder(p, q, carry, gain)[1]


def carry_from_half(p, q, carry, gain):
    both, half = _half_adder(p, q, gain)
    return soft_adder(p, q, carry, gain)[0], soft_gate(gain)(half, both)


def carry_negated(p, q, carry, gain):
    total, out = soft_adder(p, q, carry, gain)
    return total, soft_gate(gain)(out, out)


GAIN = Exercise(
    label="neurons-gain",
    task="Write `soft_adder(p, q, carry, gain)`, the pair (total, carry) of nine sigmoid NANDs, not rounded.",
    reference=soft_adder,
    axes="(n), (n), (n), () -> (n), (n)",
    probes=adder_probes,
    mistakes=(
        Mistake(
            "the bias is not multiplied by the gain",
            lambda p, q, carry, c: wired(
                lambda p, q: expit(3 - 2 * c * p - 2 * c * q), p, q, carry
            ),
            "Then the boundary moves as the gain grows; scaling weights and bias alike leaves it where it was.",
            "{eq}`neurons-sigmoid`",
        ),
        Mistake(
            "the weights are not multiplied by the gain",
            lambda p, q, carry, c: wired(lambda p, q: expit(3 * c - 2 * p - 2 * q), p, q, carry),
            "A large bias alone drowns the inputs: every gate then says 1.",
            "{eq}`neurons-sigmoid`",
        ),
        Mistake(
            "the outputs are multiplied by the gain, not the weighted inputs",
            lambda p, q, carry, c: wired(lambda p, q: c * expit(3 - 2 * p - 2 * q), p, q, carry),
            "That makes the signals larger and the step no steeper: the gain belongs inside σ.",
            "{eq}`neurons-sigmoid`",
        ),
        Mistake(
            "these are perceptrons",
            lambda p, q, carry, c: wired(hard_gate, p, q, carry),
            "Every gate decides, or rounds, before the next one, so nothing can fade on the way.",
            "{eq}`neurons-perceptron`",
        ),
        Mistake(
            "the outputs are rounded",
            lambda *args: tuple(1.0 * (bit > 0.5) for bit in soft_adder(*args)),
            "Right at a high gain; return the numbers themselves, which show how the signals fade.",
            "{eq}`neurons-sigmoid`",
        ),
        Mistake(
            "the total leaves out the incoming carry",
            first_half,
            "The first four gates tell whether p and q differ; four more compare that with the carry.",
            "{ref}`ex-neurons-xor-nand`",
        ),
        Mistake(
            "the outgoing carry is made from the first four gates",
            carry_from_half,
            "NAND(half, both) has not met the incoming carry; odd has, the first of the second four gates.",
            "{ref}`ex-neurons-gain`",
        ),
        Mistake(
            "the outgoing carry is negated",
            carry_negated,
            "NAND(odd, both) is 1 as soon as one of the two is 0, and that is the carry already, without a NOT.",
            "{eq}`neurons-nand`",
        ),
    ),
    hints=(
        "Write `gate(p, q)` first, one sigmoid neuron; then wire it as perceptrons would be wired.",
        "A gate is σ(c(3 − 2p − 2q)): the gain multiplies the weights and the bias.",
        "both = gate(p, q), half from four gates, odd = gate(half, carry); the carry is gate(odd, both).",
    ),
    used="For a large gain {eq}`neurons-sigmoid` becomes {eq}`neurons-perceptron`, and the sums are right.",
    right=(soft_adder_neurons, soft_adder_loops, soft_adder_compiled),
    others=(
        (lambda *args: soft_adder(*args)[::-1], "the results are returned in the reverse order"),
        (lambda *args: soft_adder(*args)[0], "wrong type or shape"),
        (lambda p, q, carry, gain: soft_adder(p, q, carry, 4.0), "wrong"),
        (lambda p, q, carry, gain: soft_adder(p, carry, q, gain), "wrong"),
    ),
)


# One term further


def second_probes(rng):
    """One input, where z is 1 and changes by 2; then several, and large changes too."""
    yield np.array([[1.0]]), np.array([1.0]), 0.0, np.array([0.5]), 1.5
    for _ in range(5):
        k, n = sizes(rng, 2)
        x, (w, dw) = rng.normal(size=(n, k)), rng.normal(size=(2, k))
        yield x, w, float(rng.normal()), dw, float(rng.normal())


def _taylor(x, w, b, change_w, change_b):
    """Return σ, σ′ at the old z, and the change of z."""
    s = expit(x @ w + b)
    return s, s * (1 - s), x @ change_w + change_b


def second_order(x, w, b, change_w, change_b):
    s, slope, dz = _taylor(x, w, b, change_w, change_b)
    return slope * dz + slope * (1 - 2 * s) * dz**2 / 2


def second_order_kernel(x, w, b, change_w, change_b):
    first = chapter.small_change(x, w, b, change_w, change_b)
    curvature = complex_step(sigmoid_prime, x @ w + b).diagonal()
    return first + curvature * (x @ change_w + change_b) ** 2 / 2


def second_order_loops(x, w, b, change_w, change_b):
    out = np.zeros(len(x))
    for n in range(len(x)):
        row = np.append(x[n], 1.0)
        step = np.append(change_w, change_b)
        s = expit(row[:-1] @ w + b)
        for i in range(len(row)):
            out[n] += s * (1 - s) * row[i] * step[i]
            for j in range(len(row)):
                pair = row[i] * row[j] * step[i] * step[j]
                out[n] += s * (1 - s) * (1 - 2 * s) * pair / 2
    return out


@njit
def second_order_compiled(x, w, b, change_w, change_b):
    s = sigmoid(chapter.weighted_sum(x, w, b))
    dz = chapter.weighted_sum(x, change_w, change_b)
    return s * (1 - s) * dz * (1 + (0.5 - s) * dz)


def crossless(x, w, b, change_w, change_b):
    s, slope, dz = _taylor(x, w, b, change_w, change_b)
    return slope * dz + slope * (1 - 2 * s) * (x**2 @ change_w**2 + change_b**2) / 2


def _with_second(term):
    """Return the first-order prediction plus another second term."""

    def prediction(x, w, b, change_w, change_b):
        s, slope, dz = _taylor(x, w, b, change_w, change_b)
        return slope * dz + term(s, slope, dz)

    return prediction


SECOND = Exercise(
    label="neurons-second-order",
    task="Write `second_order(x, w, b, change_w, change_b)`, the change of y up to second order in the changes.",
    reference=second_order,
    axes="(n k), (k), (), (k), () -> (n)",
    probes=second_probes,
    mistakes=(
        Mistake(
            "only the first order is there",
            _with_second(lambda s, slope, dz: 0.0),
            "This is the tangent; the curve bends away from it by ½ σ″ times the square of Δz.",
            "{eq}`neurons-small-change`",
        ),
        Mistake(
            "the half is missing",
            _with_second(lambda s, slope, dz: slope * (1 - 2 * s) * dz**2),
            "In Taylor's series the second derivative comes with 1/2!.",
            "{eq}`neurons-remainder`",
        ),
        Mistake(
            "each change is squared by itself",
            crossless,
            "All changes act through one number, Δz: square the sum, which brings the mixed terms along.",
            "{eq}`neurons-remainder`",
        ),
        Mistake(
            "the second derivative lacks the factor 1 − 2σ",
            _with_second(lambda s, slope, dz: slope * dz**2 / 2),
            "σ′ is itself a function of z; its derivative is σ′(1 − 2σ), which changes its sign at z = 0.",
            "{eq}`neurons-sigmoid-max-slope`",
        ),
        Mistake(
            "the change of z is not squared in the second term",
            _with_second(lambda s, slope, dz: slope * (1 - 2 * s) * dz / 2),
            "A second derivative meets the square of the change.",
            "{eq}`neurons-remainder`",
        ),
        Mistake(
            "the second term has the wrong sign",
            _with_second(lambda s, slope, dz: -slope * (1 - 2 * s) * dz**2 / 2),
            "Left of zero the sigmoid bends upwards, so there σ″ is positive: 1 − 2σ, not 2σ − 1.",
            "{eq}`neurons-sigmoid-max-slope`",
        ),
        Mistake(
            "only the second term is there",
            _with_second(lambda s, slope, dz: slope * (1 - 2 * s) * dz**2 / 2 - slope * dz),
            "It is added to the first order, which is the larger one for small changes.",
            "{eq}`neurons-small-change`",
        ),
        Mistake(
            "this is the exact change",
            lambda x, w, b, change_w, change_b: (
                expit(x @ (w + change_w) + b + change_b) - expit(x @ w + b)
            ),
            "The question is what Taylor's polynomial of degree two says, from σ at the old weights alone.",
            "{eq}`neurons-small-change`",
        ),
    ),
    hints=(
        "y depends on the weights through z alone, so this is Taylor's series of σ in one variable.",
        "Differentiate σ′ = σ(1 − σ) once more: σ″ = σ′(1 − 2σ).",
        "With Δz = Σ_k x_k Δw_k + Δb the answer is σ′ Δz + ½ σ′ (1 − 2σ) Δz², with σ at the old z.",
    ),
    used="The first term is {eq}`neurons-small-change`; {eq}`neurons-remainder` bounds what the second begins.",
    right=(second_order_kernel, second_order_loops, second_order_compiled),
    others=(
        (lambda *args: -second_order(*args), "every number has the opposite sign"),
        (lambda *args: second_order(*args)[:, None], "wrong type or shape"),
        (lambda *args: np.mean(second_order(*args)), "wrong type or shape"),
        (lambda *args: second_order(*args) + 1e-3, "wrong"),
    ),
)


# Swish by hand


def swish_probes(rng):
    """One point; then several, with different steepness."""
    yield np.array([0.5]), 2.0
    for n in sizes(rng, 5, least=2, most=9):
        yield 2 * rng.normal(size=n), float(rng.uniform(0.4, 3))


def swish_prime(z, beta):
    s = expit(beta * z)
    return beta * z * s + s * (1 - beta * z * s)


def swish_prime_product(z, beta):
    return expit(beta * z) + beta * z * sigmoid_prime(beta * z)


def swish_prime_step(z, beta):
    return complex_step(lambda z: z / (1 + np.exp(-beta * z)), z).diagonal()


@njit
def swish_prime_compiled(z, beta):
    slope = np.empty_like(z)
    for i, v in enumerate(z):
        e = np.exp(-beta * v)
        slope[i] = (1 + e + beta * v * e) / ((1 + e) * (1 + e))
    return slope


SWISH = Exercise(
    label="neurons-swish",
    task="Write `swish_prime(z, beta)`, the derivative of g(z) = z σ(βz) with respect to z.",
    reference=swish_prime,
    axes="(n), () -> (n)",
    probes=swish_probes,
    mistakes=(
        Mistake(
            "only the first factor is differentiated",
            lambda z, beta: expit(beta * z),
            "z stands inside σ too: the product rule has a second term, z times the slope of σ(βz).",
            "{eq}`neurons-gelu-prime`",
        ),
        Mistake(
            "only the second factor is differentiated",
            lambda z, beta: beta * z * sigmoid_prime(beta * z),
            "The product rule has a first term too: the derivative of z is 1, times σ(βz).",
            "{eq}`neurons-gelu-prime`",
        ),
        Mistake(
            "the inner derivative β is missing",
            lambda z, beta: expit(beta * z) + z * sigmoid_prime(beta * z),
            "By the chain rule σ(βz) has the derivative β σ′(βz); at β = 1 nobody would notice.",
            "{eq}`neurons-sigmoid-prime`",
        ),
        Mistake(
            "σ stands where σ′ belongs",
            lambda z, beta: expit(beta * z) * (1 + beta * z),
            "In the second term the sigmoid has been differentiated: σ′ = σ(1 − σ).",
            "{eq}`neurons-sigmoid-prime`",
        ),
        Mistake(
            "the slope is taken at σ(βz) instead of βz",
            lambda z, beta: expit(beta * z) + beta * z * sigmoid_prime(expit(beta * z)),
            "σ′ is a function of βz. Written with the value s it is s(1 − s), without another sigmoid.",
            "{eq}`neurons-sigmoid-max-slope`",
        ),
        Mistake(
            "β is left out inside the sigmoid",
            lambda z, beta: swish_prime(z, 1.0),
            "This is the derivative for β = 1.",
            "{ref}`ex-neurons-swish`",
        ),
        Mistake(
            "this is g itself",
            lambda z, beta: z * expit(beta * z),
            "Differentiate it with respect to z, by the product rule.",
            "{eq}`neurons-gelu-prime`",
        ),
        Mistake(
            "β multiplies both terms",
            lambda z, beta: beta * swish_prime(z, beta),
            "The inner derivative belongs to the term in which σ was differentiated, and to no other.",
            "{eq}`neurons-sigmoid-prime`",
        ),
    ),
    hints=(
        "A product of z and a function of z: write the rule down before you put anything in.",
        "g′ = σ(βz) + z · β · σ′(βz), and σ′ = σ(1 − σ).",
        "Collect: g′ = βg + σ(βz)(1 − βg).",
    ),
    used="With Φ in the place of σ it is {eq}`neurons-gelu-prime`; with β = 1.702 the two are at most 0.021 apart.",
    right=(swish_prime_product, swish_prime_step, swish_prime_compiled),
    others=(
        (lambda z, beta: -swish_prime(z, beta), "every number has the opposite sign"),
        (lambda z, beta: swish_prime(z, beta) / 2, "every number is 0.5 times what it should be"),
        (lambda z, beta: np.outer(z, swish_prime(z, beta)), "wrong type or shape"),
        (
            lambda z, beta: (swish_prime(z + 1e-3, beta) - swish_prime(z, beta)) / 1e-3,
            "wrong",
        ),
    ),
)


# Rectifiers approximate faster


def kink_probes(rng):
    """A roof of two cells; then random values."""
    yield (np.array([0.0, 1.0, 0.0]),)
    for k in sizes(rng, 5, least=3, most=12):
        yield (rng.normal(size=k),)


def kinks(values):
    m = len(values) - 1
    return m * np.diff(np.diff(values), prepend=0.0)


def kinks_solved(values):
    """Solve for the coefficients that meet the values: any right ones do."""
    knots = np.linspace(0, 1, len(values))
    heights = chapter.relu(knots[1:, None] - knots[:-1])
    return np.linalg.solve(heights, values[1:] - values[0])


def kinks_loops(values):
    m, c, slope = len(values) - 1, [], 0.0
    for h in range(m):
        new = (values[h + 1] - values[h]) * m
        c.append(new - slope)
        slope = new
    return c


@njit
def kinks_compiled(values):
    c = np.empty_like(values[1:])
    c[0] = len(c) * (values[1] - values[0])
    for h in range(1, len(c)):
        c[h] = len(c) * (values[h + 1] - 2 * values[h] + values[h - 1])
    return c


KINKS = Exercise(
    label="neurons-relu-rate",
    task="Write `kinks(values)`, the weights c_h of v_0 + Σ_h c_h relu(x − (h − 1)/m) through the values at h/m.",
    reference=kinks,
    axes="(k) -> (m)",
    probes=kink_probes,
    mistakes=(
        Mistake(
            "these are the slopes of the cells",
            lambda values: np.diff(values) * (len(values) - 1),
            "A rectifier stays on: what the units before have brought goes on rising. Add the change of slope only.",
            "{eq}`neurons-relu`",
        ),
        Mistake(
            "these are the heights of stairs",
            lambda values: np.diff(values),
            "A step adds a height; a rectifier adds a slope, so c_h is a value divided by a length.",
            "{eq}`neurons-bumps`",
        ),
        Mistake(
            "the width of a cell is missing",
            lambda values: np.diff(np.diff(values), prepend=0.0),
            "A slope is the difference of two values divided by the width 1/m.",
            "{ref}`ex-neurons-relu-rate`",
        ),
        Mistake(
            "the changes of slope are one unit too early",
            lambda values: (len(values) - 1) * np.diff(np.diff(values), append=0.0),
            "The first unit makes the first slope, from zero: the zero stands before the slopes, not behind.",
            "{ref}`ex-neurons-relu-rate`",
        ),
        Mistake(
            "the first slope is missing",
            lambda values: kinks(values) * (np.arange(len(values) - 1) > 0),
            "Without a unit at x = 0 the first cell is flat, and every later slope is off by the same amount.",
            "{eq}`neurons-relu`",
        ),
        Mistake(
            "the points are counted instead of the cells",
            lambda values: kinks(values) * len(values) / (len(values) - 1),
            "m + 1 points bound m cells of width 1/m.",
            "{ref}`ex-neurons-relu-rate`",
        ),
    ),
    hints=(
        "On the first cell only the first unit is on. Which slope must it have?",
        "On cell h the units 1 to h are on, and the slope there is c_1 + … + c_h.",
        "c_h = t_h − t_{h−1} with t_h = m (v_h − v_{h−1}) and t_0 = 0.",
    ),
    used="It is {eq}`neurons-bumps` with {eq}`neurons-relu`, and its error falls as 1/m², not as 1/m.",
    right=(kinks_solved, kinks_loops, kinks_compiled),
    others=(
        (lambda values: -kinks(values), "every number has the opposite sign"),
        (lambda values: np.append(kinks(values), 0.0), "wrong type or shape"),
        (lambda values: np.diff(np.diff(values)), "wrong type or shape"),
        (lambda values: np.abs(kinks(values)), "wrong"),
        (
            lambda values: np.cumsum(kinks(values)) / 2,
            "these are the slopes of the cells; and every number is 0.5 times what it should be",
        ),
    ),
)


# Break this line

BREAK = Choice(
    label="neurons-break",
    task="`affine` adds b[0] in the place of b[j]. Name the letters of all checks that fail with it.",
    right="cdf",
    wrong={
        "a": "(a) has a kernel of its own: a single perceptron adds its bias in `weighted_sum`, not in `affine`.",
        "b": "(b) has a kernel of its own: a single sigmoid neuron adds its bias in `weighted_sum`, not in `affine`.",
        "e": "(e) checks the weights and biases of the staircase by a product in the cell, which does not call `affine`.",
    },
    missing="Something else is computed through `affine`, or held against what is: look at both sides of each check.",
    hints=(
        "Search the page for `dense` and `forward`: both go through `affine`.",
        "A check has two sides. `collapse` is untouched, but what is it compared with?",
        "(c) is `dense`, (d) is compared with four layers of it, (f) runs `forward`; the others do without.",
    ),
    used="A layer of one neuron hides it: {eq}`neurons-affine` is checked with four neurons and four different biases.",
)

EXERCISES = (XOR, COUNT, GAIN, SECOND, SWISH, KINKS, BREAK)
