"""Exercises of the maths primer, a self-test.

Page: ``book/primer.md``. Axes: i and j entries, p and q coordinates, n observations, k values
of a random variable.
"""

import math

import numpy as np

from dlbook.exercises.forms import Choice, Exercise, Mistake, sizes
from dlbook.tools.jit import njit

__all__ = ["EXERCISES"]


# A sum over two indices


def double_probes(rng):
    """Whole numbers; then matrices that are not square."""
    yield np.array([1.0, 2.0]), np.array([[1.0, 0.0, 2.0], [3.0, 1.0, 0.0]]), np.array([2.0, 1, 3])
    for _ in range(4):
        i, j = sizes(rng, 2, least=2, most=7)
        yield rng.normal(size=i), rng.normal(size=(i, j)), rng.normal(size=j)


def double_sum(x, A, y):
    return x @ A @ y


def double_loops(x, A, y):
    total = 0.0
    for i in range(len(x)):
        for j in range(len(y)):
            total += x[i] * A[i, j] * y[j]
    return total


def double_outer(x, A, y):
    return np.sum(np.outer(x, y) * A)


@njit
def double_compiled(x, A, y):
    total = 0.0
    for i in range(len(x)):
        for j in range(len(y)):
            total += x[i] * A[i, j] * y[j]
    return total


DOUBLE = Exercise(
    label="primer-double-sum",
    task="Write `double_sum(x, A, y)`, the number Σ_i Σ_j x_i A_ij y_j.",
    reference=double_sum,
    axes="(i), (i j), (j) -> ()",
    probes=double_probes,
    mistakes=(
        Mistake(
            "only the terms with i = j are added",
            lambda x, A, y: sum(x[i] * A[i, i] * y[i] for i in range(min(A.shape))),
            "Each i meets every j, so there are as many terms as A has entries; one loop sees the diagonal alone.",
            "{doc}`notation`",
        ),
        Mistake(
            "the three sums are taken first and then multiplied",
            lambda x, A, y: x.sum() * A.sum() * y.sum(),
            "A factor may leave a sum only if it does not depend on its index, and A_ij depends on both.",
            "{doc}`notation`",
        ),
        Mistake(
            "x is left out",
            lambda x, A, y: (A @ y).sum(),
            "This adds up the entries of Ay; each of them wants its weight x_i.",
            "{doc}`notation`",
        ),
        Mistake(
            "y is left out",
            lambda x, A, y: (x @ A).sum(),
            "This adds up the entries of Aᵀx; each of them wants its weight y_j.",
            "{doc}`notation`",
        ),
    ),
    hints=(
        "How many terms has the sum, if A has 2 rows and 3 columns?",
        "Six: for each i a whole sum over j. Do the inner one first: what is Σ_j A_ij y_j?",
        "It is entry i of Ay, and the outer sum is the inner product of x with it: xᵀAy.",
    ),
    used="With y = x it is a quadratic form, which {eq}`matmul-quadratic-gradient` differentiates.",
    right=(double_loops, double_outer, double_compiled),
    others=((lambda x, A, y: x[:, None] * A * y, "wrong type or shape"),),
)


# First A, then B


def order_probes(rng):
    """A rotation by a right angle and a stretch; then matrices that are not symmetric."""
    yield (
        np.array([[0.0, -1.0], [1.0, 0.0]]),
        np.array([[2.0, 0.0], [0.0, 1.0]]),
        np.array([1.0, 3]),
    )
    for p in sizes(rng, 4, least=3, most=8):
        yield rng.normal(size=(p, p)), rng.normal(size=(p, p)), rng.normal(size=p)


def one_then_other(A, B, x):
    return B @ (A @ x)


def order_product(A, B, x):
    return np.dot(np.dot(B, A), x)


def order_sums(A, B, x):
    return np.einsum("pq,qr,r->p", B, A, x)


@njit
def order_compiled(A, B, x):
    z, y = np.zeros(len(x)), np.zeros(len(x))
    for p in range(len(x)):
        for q in range(len(x)):
            z[p] += A[p, q] * x[q]
    for p in range(len(x)):
        for q in range(len(x)):
            y[p] += B[p, q] * z[q]
    return y


ORDER = Exercise(
    label="primer-order",
    task="Write `one_then_other(A, B, x)`, the vector that is left when first A and then B is applied to x.",
    reference=one_then_other,
    axes="(p p), (p p), (p) -> (p)",
    probes=order_probes,
    mistakes=(
        Mistake(
            "the product has the wrong order",
            lambda A, B, x: A @ B @ x,
            "In ABx the matrix that stands next to x acts first, and here that is B.",
            "{eq}`matmul-product`",
        ),
        Mistake(
            "x stands on the left of the matrices",
            lambda A, B, x: x @ A @ B,
            "xᵀAB is the transpose of BᵀAᵀx: a row from the left meets the columns of a matrix, not its rows.",
            "{eq}`matmul-product`",
        ),
        Mistake(
            "the matrices are multiplied entry by entry",
            lambda A, B, x: (B * A) @ x,
            "`*` multiplies what stands at the same place; a product of matrices, `@`, takes rows against columns.",
            "{eq}`matmul-product`",
        ),
        Mistake(
            "the two results are added",
            lambda A, B, x: A @ x + B @ x,
            "B is to be applied to what A has made, not to x.",
            "{eq}`matmul-linear-jacobian`",
        ),
    ),
    hints=(
        "What does A make of x? Give it a name.",
        "It is z = Ax. And B makes Bz of it: which matrix now stands next to x?",
        "B @ (A @ x).",
    ),
    used="Layers are applied in this way, the last one leftmost; without non-linearities they are one "
    "matrix, {eq}`neurons-linear-collapse`.",
    right=(order_product, order_sums, order_compiled),
    others=((lambda A, B, x: B @ A, "wrong type or shape"),),
)


# Which products are there?

SHAPES = Choice(
    label="primer-shapes",
    task="X is 5 × 3, W is 2 × 3, D is 5 × 2. Name the letters of all products that are defined.",
    right="ace",
    wrong={
        "b": "(b) puts the 3 columns of W against the 5 rows of X.",
        "d": "(d) puts the 3 columns of X against the 5 rows of D.",
        "f": "(f) puts the 3 columns of W against the 2 rows of Dᵀ.",
    },
    missing="Write the two shapes beside each other: 5 × 3 times 3 × 2 fits, because the inner numbers are equal.",
    hints=(
        "A product is defined if the first factor has as many columns as the second has rows.",
        "Transposing exchanges the two numbers of a shape: Wᵀ is 3 × 2, and Dᵀ is 2 × 5.",
        "Three of them are: XWᵀ goes forward through a layer, and two lead back.",
    ),
    used="They are a layer and its way back, {eq}`matmul-dense-backward`, where the shapes alone nearly give the formulas.",
)


# A derivative in two steps


def chain_probes(rng):
    """One example at w = 0, where the exponential is one; then several."""
    yield 0.0, np.array([3.0]), np.array([5.0])
    for n in sizes(rng, 4, least=2, most=7):
        yield float(rng.normal()), rng.normal(size=n), 3 * rng.normal(size=n)


def slope(w, x, y):
    return 2 * (np.exp(w * x) - y) * np.exp(w * x) * x


def slope_expanded(w, x, y):
    return 2 * x * np.exp(2 * w * x) - 2 * x * y * np.exp(w * x)


def slope_loops(w, x, y):
    found = []
    for x_n, y_n in zip(x, y, strict=True):
        a = math.exp(w * x_n)
        found.append(2 * (a - y_n) * a * x_n)
    return np.array(found)


@njit
def slope_compiled(w, x, y):
    out = np.empty(len(x))
    for n in range(len(x)):
        a = np.exp(w * x[n])
        out[n] = 2 * (a - y[n]) * a * x[n]
    return out


CHAIN = Exercise(
    label="primer-chain",
    task="Write `slope(w, x, y)`, the derivative of (e^(w x) − y)² with respect to w, for each x and its y.",
    reference=slope,
    axes="(), (n), (n) -> (n)",
    probes=chain_probes,
    mistakes=(
        Mistake(
            "the innermost derivative is forgotten",
            lambda w, x, y: 2 * (np.exp(w * x) - y) * np.exp(w * x),
            "The exponent wx changes x times as fast as w: its derivative, the factor x, is missing.",
            "{doc}`backprop`",
        ),
        Mistake(
            "the derivative of the exponential is forgotten",
            lambda w, x, y: 2 * (np.exp(w * x) - y) * x,
            "Between the square and wx stands e^(wx), and its derivative is e^(wx) again.",
            "{doc}`backprop`",
        ),
        Mistake(
            "only the square is differentiated",
            lambda w, x, y: 2 * (np.exp(w * x) - y),
            "This is the derivative with respect to the bracket; the bracket's own derivative is a factor.",
            "{doc}`backprop`",
        ),
        Mistake(
            "this is the derivative with respect to x",
            lambda w, x, y: 2 * (np.exp(w * x) - y) * np.exp(w * x) * w,
            "The innermost factor is the derivative of wx by what varies: x if that is w, and w if that is x.",
            "{doc}`backprop`",
        ),
        Mistake(
            "the square is differentiated by the power rule alone, without y",
            lambda w, x, y: 2 * np.exp(2 * w * x) * x,
            "The outer derivative is twice the bracket, and y stands in the bracket.",
            "{doc}`backprop`",
        ),
    ),
    hints=(
        "Name the parts: u = wx, a = e^u, and the square of a − y. What is the derivative of each by the one before?",
        "They are x, e^u and 2(a − y). The chain rule multiplies them.",
        "2 (e^(w x) − y) e^(w x) x.",
    ),
    used="It is {eq}`backprop-bp1` in small: an error times a slope, and then times what came in, {eq}`backprop-bp4`.",
    right=(slope_expanded, slope_loops, slope_compiled),
)


# A gradient


def gradient_probes(rng):
    """Two coordinates; then several."""
    yield np.array([1.0, 2.0]), np.array([3.0, 1.0])
    for p in sizes(rng, 4, least=3, most=8):
        yield rng.normal(size=p), rng.normal(size=p)


def gradient(a, x):
    return 2 * (a @ x) * a + 2 * x


def gradient_matrix(a, x):
    return 2 * (np.outer(a, a) + np.eye(len(a))) @ x


def gradient_loops(a, x):
    inner = sum(a[p] * x[p] for p in range(len(a)))
    return np.array([2 * inner * a[p] + 2 * x[p] for p in range(len(a))])


@njit
def gradient_compiled(a, x):
    inner, out = 0.0, np.empty(len(a))
    for p in range(len(a)):
        inner += a[p] * x[p]
    for p in range(len(a)):
        out[p] = 2 * inner * a[p] + 2 * x[p]
    return out


GRADIENT = Exercise(
    label="primer-gradient",
    task="Write `gradient(a, x)`, the gradient of (Σ_p a_p x_p)² + Σ_p x_p² with respect to x.",
    reference=gradient,
    axes="(p), (p) -> (p)",
    probes=gradient_probes,
    mistakes=(
        Mistake(
            "the inner derivative is forgotten",
            lambda a, x: 2 * (a @ x) + 2 * x,
            "Twice the sum is the derivative with respect to the sum; the sum changes a_p times as fast as x_p.",
            "{doc}`linear_regression`",
        ),
        Mistake(
            "each term of the first sum is squared alone",
            lambda a, x: 2 * a**2 * x + 2 * x,
            "The square of a sum has mixed terms a_p x_p a_q x_q too, so every entry of the gradient knows all of x.",
            "{doc}`linear_regression`",
        ),
        Mistake(
            "the second sum is left out",
            lambda a, x: 2 * (a @ x) * a,
            "Of Σ_p x_p² one term depends on x_p, and its derivative 2 x_p is to be added.",
            "{doc}`linear_regression`",
        ),
        Mistake(
            "the inner derivative is taken with respect to a",
            lambda a, x: 2 * (a @ x) * x + 2 * x,
            "With respect to x_p the term a_p x_p has the derivative a_p; a is held fixed.",
            "{doc}`linear_regression`",
        ),
    ),
    hints=(
        "Differentiate by one x_p and hold all others fixed. Which terms of the sums have x_p in them?",
        "The first part is a square of s = Σ_q a_q x_q, whose derivative by x_p is a_p.",
        "2 s a_p + 2 x_p, for each p.",
    ),
    used="It has the pieces of {eq}`linear_regression-gradient`: twice a residual, times what multiplied the coefficient.",
    right=(gradient_matrix, gradient_loops, gradient_compiled),
    others=((lambda a, x: np.sum(gradient(a, x)), "wrong type or shape"),),
)


# What logarithms do

LOGARITHMS = Choice(
    label="primer-logarithms",
    task="Name the letters of all lines that hold for every positive a and b.",
    right="acf",
    wrong={
        "b": "(b) takes the logarithm of a sum apart, which has no rule: with a = b = 1 it says log 2 = 0.",
        "d": "(d) adds where one has to multiply: with a = b = 1 it says that e² is 2e.",
        "e": "(e) takes a quotient of logarithms for the logarithm of a quotient: try b = 1.",
    },
    missing="Try each line with e² for a and e³ for b, or at a = b = 1, where log 1 = 0.",
    hints=(
        "Products become sums. Which lines say just that, or a consequence of it?",
        "Try a = b = 1: three of the lines fail there.",
        "A power is a repeated product, and 1/a is a power.",
    ),
    used="The rules turn a likelihood into the sum of {eq}`linear_classification-logistic-cost`; for the logarithm "
    "of a sum there is {eq}`linear_classification-log-sum-exp`.",
)


# A product too small to exist


def product_probes(rng):
    """Two probabilities; a few; and a dozen so small that their product is zero in float64."""
    yield (np.array([0.5, 0.25]),)
    for n in sizes(rng, 3, least=3, most=9):
        yield (rng.uniform(0.05, 0.9, size=n),)
    yield (10 ** rng.uniform(-34, -28, size=12 + rng.integers(3)),)


def log_of_product(p):
    return np.sum(np.log(p))


def product_loops(p):
    total = 0.0
    for value in p:
        total += math.log(value)
    return total


def product_of_pairs(p):
    return np.log(p[::2]).sum() + np.log(p[1::2]).sum()


@njit
def product_compiled(p):
    total = 0.0
    for n in range(len(p)):
        total += np.log(p[n])
    return total


PRODUCT = Exercise(
    label="primer-log-product",
    task="Write `log_of_product(p)`, the logarithm of the product of all p_n, however small that product is.",
    reference=log_of_product,
    axes="(n) -> ()",
    probes=product_probes,
    mistakes=(
        Mistake(
            "the product is formed before its logarithm is taken",
            lambda p: np.log(np.prod(p)),
            "The formula is right, and the product of a dozen very small numbers is below the smallest float64 number.",
            "{eq}`linear_classification-logistic-cost`",
        ),
        Mistake(
            "this is the logarithm of the sum",
            lambda p: np.log(np.sum(p)),
            "A logarithm turns products into sums: take it of each p_n first, and add then.",
            "{eq}`linear_classification-logistic-cost`",
        ),
        Mistake(
            "the logarithms are multiplied",
            lambda p: np.prod(np.log(p)),
            "Below the logarithm the product has become a sum: log(ab) = log a + log b.",
            "{eq}`linear_classification-logistic-cost`",
        ),
        Mistake(
            "this is the logarithm of the mean",
            lambda p: np.log(np.mean(p)),
            "Neither the mean nor the order fits: the logarithms of the p_n are added.",
            "{eq}`linear_classification-logistic-cost`",
        ),
    ),
    hints=(
        "What is log(ab)? And log(abc)?",
        "The logarithm of a product is the sum of the logarithms, none of which is far from zero.",
        "np.sum(np.log(p)).",
    ),
    used="Costs are sums of logarithms for this reason: {eq}`linear_classification-cross-entropy`.",
    right=(product_loops, product_of_pairs, product_compiled),
    others=(
        (np.log, "wrong type or shape"),
        (lambda p: -log_of_product(p), "every number has the opposite sign"),
    ),
)


# A variance


def variance_probes(rng):
    """Two values with probabilities of a quarter and three quarters; then several."""
    yield np.array([0.0, 4.0]), np.array([0.25, 0.75])
    for k in sizes(rng, 4, least=3, most=8):
        p = rng.uniform(0.2, 1, size=k)
        yield rng.normal(size=k) + 1, p / p.sum()


def variance(x, p):
    return p @ (x - p @ x) ** 2


def variance_of_squares(x, p):
    return p @ x**2 - (p @ x) ** 2


def variance_loops(x, p):
    mean = sum(p[k] * x[k] for k in range(len(x)))
    return sum(p[k] * (x[k] - mean) ** 2 for k in range(len(x)))


@njit
def variance_compiled(x, p):
    mean, total = 0.0, 0.0
    for k in range(len(x)):
        mean += p[k] * x[k]
    for k in range(len(x)):
        total += p[k] * (x[k] - mean) ** 2
    return total


VARIANCE = Exercise(
    label="primer-variance",
    task="Write `variance(x, p)`, the variance of a random variable with the values x_k and their probabilities p_k.",
    reference=variance,
    axes="(k), (k) -> ()",
    probes=variance_probes,
    mistakes=(
        Mistake(
            "the mean is not subtracted",
            lambda x, p: p @ x**2,
            "This is E x². It is the variance only if the mean is zero; otherwise subtract (E x)².",
            "{doc}`training`",
        ),
        Mistake(
            "all values count the same",
            lambda x, p: np.var(x),
            "`np.var` gives each value the probability 1/K; the expectation weighs them by p.",
            "{doc}`training`",
        ),
        Mistake(
            "the plain mean is subtracted",
            lambda x, p: p @ (x - np.mean(x)) ** 2,
            "The mean of a random variable is weighed by the probabilities as well.",
            "{doc}`training`",
        ),
        Mistake(
            "this is the standard deviation",
            lambda x, p: np.sqrt(variance(x, p)),
            "The variance is its square, in the units of x squared.",
            "{doc}`training`",
        ),
        Mistake(
            "the mean is subtracted and not its square",
            lambda x, p: p @ x**2 - p @ x,
            "Multiply (x − μ)² out and take expectations: E x² − 2μ² + μ².",
            "{doc}`training`",
        ),
    ),
    hints=(
        "First the mean: each value times its probability, added up.",
        "Then the same for the squares of the distances from the mean.",
        "With μ = Σ_k p_k x_k it is Σ_k p_k (x_k − μ)².",
    ),
    used="How the first weights are drawn is decided by such a sum: {eq}`training-variance-propagation`.",
    right=(variance_of_squares, variance_loops, variance_compiled),
    others=((lambda x, p: p * (x - p @ x) ** 2, "wrong type or shape"),),
)


# An estimate


def estimate_probes(rng):
    """Two observations; then several."""
    yield (np.array([1.0, 5.0]),)
    for n in sizes(rng, 4, least=3, most=9):
        yield (rng.normal(size=n) + 2,)


def estimate(x):
    return np.var(x, ddof=1)


def estimate_formula(x):
    return np.sum((x - x.mean()) ** 2) / (len(x) - 1)


def estimate_pairs(x):
    return np.mean([(a - b) ** 2 / 2 for i, a in enumerate(x) for b in x[:i]])


@njit
def estimate_compiled(x):
    mean, total = 0.0, 0.0
    for n in range(len(x)):
        mean += x[n] / len(x)
    for n in range(len(x)):
        total += (x[n] - mean) ** 2
    return total / (len(x) - 1)


ESTIMATE = Exercise(
    label="primer-estimate",
    task="Write `estimate(x)`, the estimate of the variance from observations x_n that is right on average.",
    reference=estimate,
    axes="(n) -> ()",
    probes=estimate_probes,
    mistakes=(
        Mistake(
            "it is divided by N and not by N − 1",
            np.var,
            "The mean was taken from the same observations and lies too near to them: on average the factor (N − 1)/N is lost.",
            "{eq}`linear_regression-sigma-hat`",
        ),
        Mistake(
            "the mean is not subtracted",
            lambda x: np.sum(x**2) / (len(x) - 1),
            "A variance measures distances from the mean, not from zero.",
            "{eq}`linear_regression-sigma-hat`",
        ),
        Mistake(
            "the mean is not subtracted, and it is divided by N",
            lambda x: np.mean(x**2),
            "This is the mean of the squares: it measures distances from zero.",
            "{eq}`linear_regression-sigma-hat`",
        ),
        Mistake(
            "the squares are not divided",
            lambda x: np.sum((x - x.mean()) ** 2),
            "A sum of squares grows with the number of observations; an estimate does not.",
            "{eq}`linear_regression-sigma-hat`",
        ),
        Mistake(
            "this is the standard deviation",
            lambda x: np.std(x, ddof=1),
            "The variance is its square.",
            "{eq}`linear_regression-sigma-hat`",
        ),
    ),
    hints=(
        "Subtract the mean of the observations, square, add up. What should the sum be divided by?",
        "One observation alone says nothing about a variance: the formula has to be undefined for N = 1.",
        "np.var(x, ddof=1).",
    ),
    used="With one column of ones it is {eq}`linear_regression-sigma-hat`; `monte_carlo` uses it for {eq}`verification-monte-carlo`.",
    right=(estimate_formula, estimate_pairs, estimate_compiled),
)


# A likelihood


def likelihood_probes(rng):
    """One observation a distance of two from the mean; then several."""
    yield np.array([3.0]), 1.0, 4.0
    for n in sizes(rng, 4, least=2, most=8):
        yield rng.normal(size=n), float(rng.normal()), float(rng.uniform(1.5, 3))


def negative_log_likelihood(x, mu, v):
    return np.sum((x - mu) ** 2 / (2 * v) + np.log(2 * np.pi * v) / 2)


def likelihood_densities(x, mu, v):
    return -np.sum(np.log(np.exp(-((x - mu) ** 2) / (2 * v)) / np.sqrt(2 * np.pi * v)))


def likelihood_loops(x, mu, v):
    total = 0.0
    for value in x:
        total += 0.5 * (value - mu) ** 2 / v + 0.5 * math.log(2 * math.pi * v)
    return total


@njit
def likelihood_compiled(x, mu, v):
    total = 0.0
    for n in range(len(x)):
        total += 0.5 * ((x[n] - mu) ** 2 / v + np.log(2 * np.pi * v))
    return total


LIKELIHOOD = Exercise(
    label="primer-likelihood",
    task="Write `negative_log_likelihood(x, mu, v)` of independent Gaussian x_n with the mean mu and the variance v.",
    reference=negative_log_likelihood,
    axes="(n), (), () -> ()",
    probes=likelihood_probes,
    mistakes=(
        Mistake(
            "the variance is taken for the standard deviation",
            lambda x, mu, v: negative_log_likelihood(x, mu, v**2),
            "v is σ² already: where the density has σ², put v, and where it has σ, its root.",
            "{eq}`autoencoders-gaussian-nll`",
        ),
        Mistake(
            "the factor in front of the exponential is left out",
            lambda x, mu, v: np.sum((x - mu) ** 2) / (2 * v),
            "It does not depend on mu and matters nothing for the best mu; it is part of the likelihood all the same.",
            "{eq}`autoencoders-gaussian-nll`",
        ),
        Mistake(
            "the factor in front is counted once",
            lambda x, mu, v: np.sum((x - mu) ** 2) / (2 * v) + np.log(2 * np.pi * v) / 2,
            "Each of the N densities has it, so its logarithm is added N times.",
            "{eq}`autoencoders-gaussian-nll`",
        ),
        Mistake(
            "the half before the square is missing",
            lambda x, mu, v: np.sum((x - mu) ** 2 / v + np.log(2 * np.pi * v) / 2),
            "The exponent is −(x − μ)²/(2σ²).",
            "{eq}`autoencoders-gaussian-nll`",
        ),
        Mistake(
            "the root of the factor in front is missing",
            lambda x, mu, v: np.sum((x - mu) ** 2 / (2 * v) + np.log(2 * np.pi * v)),
            "The density is divided by the root of 2πσ², and the logarithm of a root is half the logarithm.",
            "{eq}`autoencoders-gaussian-nll`",
        ),
    ),
    hints=(
        "Take minus the logarithm of one density first: it falls apart into two terms.",
        "They are (x − μ)²/(2v) and ½ log(2πv). Independent observations multiply, so their logarithms add.",
        "np.sum((x - mu)**2 / (2 * v) + np.log(2 * np.pi * v) / 2).",
    ),
    used="It is {eq}`autoencoders-gaussian-nll`, and why least squares, {eq}`linear_regression-rss`, belongs to Gaussian errors.",
    right=(likelihood_densities, likelihood_loops, likelihood_compiled),
    others=(
        (
            lambda x, mu, v: -negative_log_likelihood(x, mu, v),
            "every number has the opposite sign",
        ),
    ),
)


EXERCISES = (
    DOUBLE,
    ORDER,
    SHAPES,
    CHAIN,
    GRADIENT,
    LOGARITHMS,
    PRODUCT,
    VARIANCE,
    ESTIMATE,
    LIKELIHOOD,
)
