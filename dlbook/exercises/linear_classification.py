"""Exercises of the chapter on linear classification.

Page: ``book/linear_classification.md``. Axes: n examples, p inputs, j classes, as in the chapter.
"""

import numpy as np
from scipy import special
from scipy.stats import multivariate_normal

from dlbook import linear_classification as chapter
from dlbook.exercises.forms import Choice, Exercise, Mistake, sizes
from dlbook.tools.jit import njit
from dlbook.verification import complex_step

__all__ = ["EXERCISES"]


# A logarithm that survives


def log_probes(rng):
    """Two scores; then moderate ones, confident ones, and ones for which e^(−z) overflows.

    The confident ones begin where 1 + e^(−z) loses no bit; from 37.5 on all of e^(−z) is lost.
    """
    yield (np.array([0.0, -2.0]),)
    for low, high in ((-6, 6), (37.5, 40), (-1200, -800)):
        for least, most in ((3, 5), (9, 12)):
            (n,) = sizes(rng, 1, least=least, most=most)
            z = rng.uniform(low, high, size=n)
            if high == 40:
                z[:2] = 43 * np.log(2), 37.6
            yield (z,)


def log_sigmoid(z):
    return np.minimum(z, 0) - np.log1p(np.exp(-np.abs(z)))


def log_loops(z):
    logs = np.empty_like(z)
    for n in range(len(z)):
        if z[n] >= 0:
            logs[n] = -np.log1p(np.exp(-z[n]))
        else:
            logs[n] = z[n] - np.log1p(np.exp(z[n]))
    return logs


@njit
def log_compiled(z):
    return -chapter.logistic_loss(z)


LOG = Exercise(
    label="linear_classification-log-sigmoid",
    task="Write `log_sigmoid(z)`, the logarithm of σ(z), for scores of any size.",
    reference=log_sigmoid,
    axes="(n) -> (n)",
    probes=log_probes,
    mistakes=(
        Mistake(
            "σ is computed first, and then its logarithm",
            lambda z: np.log(1 / (1 + np.exp(-z))),
            "Far to the left σ(z) underflows to zero, far to the right it rounds to one: take the logarithm by hand.",
            "{eq}`linear_classification-log-sum-exp`",
        ),
        Mistake(
            "the exponential overflows far to the left",
            lambda z: -np.log1p(np.exp(-z)),
            "For z < −709 e^(−z) is infinite. Take it out of the bracket, so that the exponent is never positive.",
            "{eq}`linear_classification-log-sum-exp`",
        ),
        Mistake(
            "far to the right no digit is left",
            lambda z: np.minimum(z, 0) - np.log(1 + np.exp(-np.abs(z))),
            "Added to 1, or to z, a tiny e^(−z) is rounded away: for positive z write −log1p(e^(−z)), and add nothing to it.",
            "{eq}`linear_classification-logistic-loss`",
        ),
        Mistake(
            "σ is kept away from zero by a small number",
            lambda z: np.log(special.expit(z) + 1e-12),
            "The result is finite and wrong: below the small number the loss stops rising, and its slope is gone.",
            "{eq}`linear_classification-logistic-slope`",
        ),
        Mistake(
            "z is added where it is positive",
            lambda z: np.maximum(z, 0) - np.log1p(np.exp(-np.abs(z))),
            "A logarithm of a probability is never above zero; the term z belongs to the negative scores.",
            "{eq}`linear_classification-sigmoid`",
        ),
        Mistake(
            "this is the logarithm of σ(−z)",
            lambda z: log_sigmoid(-z),
            "The reflected number is the probability of the other class, 1 − σ(z).",
            "{eq}`linear_classification-sigmoid`",
        ),
        Mistake(
            "the logarithm is added where it is subtracted",
            lambda z: np.minimum(z, 0) + np.log1p(np.exp(-np.abs(z))),
            "log σ = −log(1 + e^(−z)): the minus stays when a factor is taken out, and log σ(0) is −log 2.",
            "{eq}`linear_classification-logistic-loss`",
        ),
        Mistake(
            "the exponent is z on both sides",
            lambda z: np.minimum(z, 0) - np.log1p(np.exp(z)),
            "Right for negative z, where z was taken out; for positive z the exponent is −z: together −|z|.",
            "{eq}`linear_classification-log-sum-exp`",
        ),
    ),
    hints=(
        "log σ(z) = −log(1 + e^(−z)). For which z is that fine, and what goes wrong for the others?",
        "For negative z take the factor e^(−z) out of the bracket: −log(1 + e^(−z)) = z − log(1 + e^z).",
        "Both cases are min(z, 0) − log(1 + e^(−|z|)), and `np.log1p` keeps the digits.",
    ),
    used="Its negative is {eq}`linear_classification-logistic-loss`, and the same factor is taken out in {eq}`linear_classification-log-sum-exp`.",
    right=(log_loops, special.log_expit, lambda z: -np.logaddexp(0, -z), log_compiled),
    others=(
        (lambda z: -log_sigmoid(z), "every number has the opposite sign"),
        (lambda z: log_sigmoid(z) / np.log(2), "every number is 1.4427 times what it should be"),
        (lambda z: np.sum(log_sigmoid(z)), "wrong type or shape"),
        (lambda z: np.maximum(log_sigmoid(z), -100), "wrong"),
    ),
)


# A machine that cannot learn exclusive or


def epoch_probes(rng):
    """Two examples and a weight of zero; then random ones, some of them from zero weights."""
    yield np.zeros(1), np.array([[1.0], [-2.0]]), np.array([-1, 1]), 0.5
    for k in range(5):
        p, n = sorted(sizes(rng, 2, least=2, most=8))
        y = rng.permutation(np.where(np.arange(n) % 2, 1, -1))
        w = np.zeros(p) if k % 2 else rng.normal(size=p)
        yield w, rng.normal(size=(n, p)), y, float(rng.uniform(0.2, 0.8))


def epoch(w, X, y, rate):
    return chapter.perceptron_epoch(w, X, y, rate, np.arange(len(y)))


def epoch_vectorised(w, X, y, rate):
    w, mistakes = w.copy(), 0
    for x, label in zip(X, y, strict=True):
        if label * (w @ x) <= 0:
            w, mistakes = w + rate * label * x, mistakes + 1
    return w, mistakes


def epoch_guesses(w, X, y, rate):
    wrong = []
    for n in range(len(y)):
        margin = sum(w[p] * X[n, p] for p in range(len(w))) * y[n]
        wrong.append(margin <= 0)
        w = w + wrong[n] * rate * y[n] * X[n]
    return w, sum(wrong)


@njit
def epoch_compiled(w, X, y, rate):
    w, mistakes = w.copy(), 0
    for n in range(len(y)):
        z = 0.0
        for p in range(len(w)):
            z += w[p] * X[n, p]
        if not y[n] * z > 0:
            mistakes += 1
            for p in range(len(w)):
                w[p] += rate * y[n] * X[n, p]
    return w, mistakes


def _epoch(wrong=lambda m: m <= 0, move=lambda rate, y, z: rate * y, always=False):
    """Return an epoch with another condition or another update."""

    def go(w, X, y, rate):
        w, mistakes = np.array(w), 0
        for n in range(len(y)):
            z = X[n] @ w
            missed = wrong(y[n] * z)
            mistakes += missed
            if missed or always:
                w = w + move(rate, y[n], z) * X[n]
        return w, mistakes

    return go


def epoch_batch(w, X, y, rate):
    missed = y * (X @ w) <= 0
    return w + rate * (y * missed) @ X, np.sum(missed)


def epoch_in_place(w, X, y, rate):
    mistakes = 0
    for n in range(len(y)):
        if y[n] * (X[n] @ w) <= 0:
            w += rate * y[n] * X[n]
            mistakes += 1
    return w, mistakes


def epoch_counted_late(w, X, y, rate):
    w = np.array(w)
    mistakes = 0
    for n in range(len(y)):
        if y[n] * (X[n] @ w) <= 0:
            w = w + rate * y[n] * X[n]
        mistakes += y[n] * (X[n] @ w) <= 0
    return w, mistakes


EPOCH = Exercise(
    label="linear_classification-xor",
    task="Write `epoch(w, X, y, rate)`, one pass of the perceptron in the order of the rows: the new w, and its mistakes.",
    reference=epoch,
    axes="(p), (n p), (n), () -> (p), ()",
    probes=epoch_probes,
    mistakes=(
        Mistake(
            "a margin of exactly zero counts as right",
            _epoch(wrong=lambda m: m < 0),
            "Weights that start at zero then have margin zero everywhere and stay there for ever.",
            "{eq}`linear_classification-perceptron-update`",
        ),
        Mistake(
            "all margins are computed with the old weights",
            epoch_batch,
            "Each example meets the weights that the one before it has left: the product belongs inside the loop.",
            "{eq}`linear_classification-perceptron-update`",
        ),
        Mistake(
            "examples that are judged rightly move the weights too",
            _epoch(always=True),
            "The perceptron loss is flat where the margin is positive, so nothing is to be done there.",
            "{eq}`linear_classification-perceptron-loss`",
        ),
        Mistake(
            "the label is missing in the update",
            _epoch(move=lambda rate, y, z: rate),
            "Adding x raises the score. An example with the label −1 needs a lower one.",
            "{eq}`linear_classification-perceptron-update`",
        ),
        Mistake(
            "the rate is missing in the update",
            _epoch(move=lambda rate, y, z: y),
            "From zero weights the guesses are the same, the weights are not.",
            "{eq}`linear_classification-perceptron-update`",
        ),
        Mistake(
            "the update is η (y − z) x",
            _epoch(move=lambda rate, y, z: rate * (y - z)),
            "That is a step down the squared loss. The slope of the perceptron loss does not grow with the error.",
            "{eq}`linear_classification-squared-margin`",
        ),
        Mistake(
            "the update is η (y − ŷ) x",
            _epoch(move=lambda rate, y, z: 2 * rate * y),
            "With labels −1 and +1 the difference y − ŷ is 2y, so each step is twice as long.",
            "{eq}`linear_classification-perceptron-update`",
        ),
        Mistake(
            "mistakes are counted after the update",
            epoch_counted_late,
            "An update may repair the example at once; what counts is the guess before it.",
            "{eq}`linear_classification-mistake-bound`",
        ),
    ),
    hints=(
        "Take the rows one after the other; which weights does the second one meet?",
        "Compute y_n w·x_n anew for each row. If it is not positive, count one and add η y_n x_n.",
        "Start with a copy of w; for each n: if y[n] * (X[n] @ w) <= 0, then w = w + rate * y[n] * X[n].",
    ),
    used="These are the mistakes that {eq}`linear_classification-mistake-bound` counts; where no plane separates, they never end.",
    right=(epoch_vectorised, epoch_guesses, epoch_compiled),
    others=(
        (lambda *args: epoch(*args)[::-1], "the results are returned in the reverse order"),
        (lambda *args: epoch(*args)[0], "wrong type or shape"),
        (epoch_in_place, "changed its input"),
        (lambda w, X, y, rate: epoch(w, X[::-1], y[::-1], rate), "wrong"),
        (lambda w, X, y, rate: epoch(*epoch(w, X, y, rate)[:1], X, y, rate), "wrong"),
    ),
)


# Cooling the bold


def temperature_probes(rng):
    """One bold score of the wrong sign; then more of them."""
    yield np.array([2.0]), np.array([-1]), 2.0
    for n in sizes(rng, 4, least=3, most=12):
        y = rng.permutation(np.where(np.arange(n) % 2, 1, -1))
        yield 3 * rng.normal(size=n), y, float(rng.uniform(1.5, 4))


def temperature_slope(z, y, T):
    m = y * z
    return np.mean(m * special.expit(-m / T)) / T**2


def temperature_kernels(z, y, T):
    m = chapter.margins(z, y)
    return np.mean(chapter.logistic_slope(m / T) * -m / T**2)


def temperature_loops(z, y, T):
    total = 0.0
    for n in range(len(y)):
        m = y[n] * z[n]
        total += m / (1 + np.exp(m / T)) / T**2
    return total / len(y)


def temperature_step(z, y, T):
    def loss(t):
        return np.mean(np.log(1 + np.exp(-y * z / t)))

    return complex_step(loss, np.array(float(T)))


@njit
def temperature_compiled(z, y, T):
    m = chapter.margins(z, y)
    return -np.sum(chapter.logistic_slope(m / T) * m) / (len(y) * T * T)


TEMPERATURE = Exercise(
    label="linear_classification-temperature",
    task="Write `temperature_slope(z, y, T)`, the derivative by T of the mean logistic loss of the scores z/T.",
    reference=temperature_slope,
    axes="(n), (n), () -> ()",
    probes=temperature_probes,
    mistakes=(
        Mistake(
            "the factor 1/T² is missing",
            lambda z, y, T: temperature_slope(z, y, T) * T**2,
            "m/T has the derivative −m/T² by T. Without it this is, up to its sign, the derivative by 1/T.",
            "{eq}`linear_classification-logistic-slope`",
        ),
        Mistake(
            "the factor is 1/T instead of 1/T²",
            lambda z, y, T: temperature_slope(z, y, T) * T,
            "The quotient m/T is differentiated by its denominator, and that squares it.",
            "{eq}`linear_classification-logistic-slope`",
        ),
        Mistake(
            "σ is taken at the margin before cooling",
            lambda z, y, T: np.mean(y * z * special.expit(-y * z)) / T**2,
            "The chain rule evaluates the outer slope where the loss is: at m/T.",
            "{eq}`linear_classification-logistic-slope`",
        ),
        Mistake(
            "the score stands where the margin belongs",
            lambda z, y, T: np.mean(z * special.expit(-z / T)) / T**2,
            "A bold score of the wrong sign is what cooling has to repair; only the margin y z knows of it.",
            "{eq}`linear_classification-margin`",
        ),
        Mistake(
            "σ(m/T) stands where σ(−m/T) belongs",
            lambda z, y, T: np.mean(y * z * special.expit(y * z / T)) / T**2,
            "The slope of the loss is minus the probability of what did not happen.",
            "{eq}`linear_classification-logistic-slope`",
        ),
        Mistake(
            "the inner derivative lacks the margin",
            lambda z, y, T: np.mean(special.expit(-y * z / T)) / T**2,
            "m/T has the derivative −m/T² by T: an example of margin zero does not care how its score is scaled.",
            "{eq}`linear_classification-logistic-slope`",
        ),
        Mistake(
            "this is the loss itself",
            lambda z, y, T: np.mean(np.logaddexp(0, -y * z / T)),
            "Differentiate it by T: where that slope crosses zero, the loss is lowest.",
            "{eq}`linear_classification-logistic-loss`",
        ),
    ),
    hints=(
        "For one example the loss is log(1 + e^(−m/T)), a function of m/T. Use the chain rule.",
        "The outer slope is −σ(−m/T), the inner one −m/T².",
        "Their product is m σ(−m/T)/T²; take the mean over the examples.",
    ),
    used="It is {eq}`linear_classification-logistic-slope` times −m/T²; the solution finds the temperature where it crosses zero.",
    right=(temperature_kernels, temperature_loops, temperature_step, temperature_compiled),
    others=(
        (lambda z, y, T: -temperature_slope(z, y, T), "every number has the opposite sign"),
        (
            lambda z, y, T: temperature_slope(z, y, T) * len(z),
            "every number is N times what it should be",
        ),
        (lambda z, y, T: y * z * special.expit(-y * z / T) / T**2, "wrong type or shape"),
        (lambda z, y, T: temperature_slope(z, y, 2.0), "wrong"),
        (
            lambda z, y, T: -temperature_slope(z, y, T) * T**2,
            "the factor 1/T² is missing; and every number has the opposite sign",
        ),
    ),
)


# Break this line

BREAK = Choice(
    label="linear_classification-break",
    task="`softmax_cross_entropy_gradient` divides by J instead of N. Name the letters of all checks that no longer pass.",
    right="bdf",
    wrong={
        "a": "(a) is the loss, which has its own division by N and calls no gradient.",
        "c": "(c), the Jacobian, speaks of one row of probabilities; there is nothing to average.",
        "e": "(e), the cost, is put together from (a) and the penalty, and does not ask for a slope.",
    },
    missing="Who calls `softmax_cross_entropy_gradient`, and who trusts what it returns?",
    hints=(
        "Search the module for the name of the function.",
        "The gradient of softmax regression calls it, and the minimiser believes that gradient.",
        "(b) itself, (d), which calls it, and the fit (f): cost and gradient contradict each other, or the minimum has moved.",
    ),
    used="Both {eq}`linear_classification-softmax-ce-gradient` and {eq}`linear_classification-softmax-gradient` meet a complex step of their cost, which knows nothing of the line.",
)


# Convex, by hand


def curvature_probes(rng):
    """Odds of three to one; then more classes, and scores whose exponentials overflow."""
    yield np.array([0.0, np.log(3)]), np.array([1.0, 5.0])
    for k, j in enumerate(sizes(rng, 5, least=3, most=9)):
        z = rng.integers(-128, 128, size=j) / 64  # short enough for float32 far from zero
        yield z + 720.0 * (k == 3), rng.normal(size=j)


def curvature(z, v):
    p = special.softmax(z)
    return p @ (v - p @ v) ** 2


def curvature_jacobian(z, v):
    return v @ chapter.softmax_jacobian(chapter.softmax(z[None])[0]) @ v


def curvature_step(z, v):
    def slope(t):
        e = np.exp(z - z.max() + t * v)
        return e @ v / np.sum(e)

    return complex_step(slope, np.array(0.0))


@njit
def curvature_compiled(z, v):
    e = np.exp(z - np.max(z))
    total, first, second = np.sum(e), 0.0, 0.0
    for j in range(len(z)):
        first += e[j] / total * v[j]
    for j in range(len(z)):
        second += e[j] / total * (v[j] - first) ** 2
    return second


def curvature_naive(z, v):
    p = np.exp(z) / np.sum(np.exp(z))
    return p @ (v - p @ v) ** 2


CURVATURE = Exercise(
    label="linear_classification-convex",
    task="Write `curvature(z, v)`, the second derivative of log Σ_j e^(z_j) along v, as the variance that it is.",
    reference=curvature,
    axes="(j), (j) -> ()",
    probes=curvature_probes,
    mistakes=(
        Mistake(
            "the square of the mean is not subtracted",
            lambda z, v: special.softmax(z) @ v**2,
            "This is E v². A shift of all scores along a constant v would then cost something, and it costs nothing.",
            "{eq}`linear_classification-softmax-shift`",
        ),
        Mistake(
            "every class has the same weight",
            lambda z, v: np.var(v),
            "j is drawn with the probabilities p = softmax(z), for the mean and for the square.",
            "{eq}`linear_classification-softmax-jacobian`",
        ),
        Mistake(
            "only the diagonal of the Jacobian is used",
            lambda z, v: (special.softmax(z) * (1 - special.softmax(z))) @ v**2,
            "The entries −p_j p_k beside it belong to the quadratic form too: the classes share one sum.",
            "{eq}`linear_classification-softmax-jacobian`",
        ),
        Mistake(
            "this is the first derivative",
            lambda z, v: special.softmax(z) @ v,
            "The slope along v is the mean of v; differentiate it once more.",
            "{eq}`linear_classification-softmax-jacobian`",
        ),
        Mistake(
            "the exponentials overflow",
            curvature_naive,
            "The formula is right. For a score of 720 e^z is infinite: subtract the largest score first.",
            "{eq}`linear_classification-softmax-shift`",
        ),
        Mistake(
            "the deviations are averaged with equal weights",
            lambda z, v: np.mean((v - special.softmax(z) @ v) ** 2),
            "The mean inside is weighted by p; the one outside has to be too.",
            "{eq}`linear_classification-softmax-jacobian`",
        ),
        Mistake(
            "the root of the variance is taken",
            lambda z, v: np.sqrt(curvature(z, v)),
            "That is the standard deviation, and a second derivative is quadratic in v.",
            "{eq}`linear_classification-softmax-jacobian`",
        ),
    ),
    hints=(
        "The gradient of log Σ e^z is p = softmax(z). What is its derivative along v?",
        "The Hessian is the Jacobian diag(p) − p pᵀ; write vᵀ(diag(p) − p pᵀ)v as a difference of two means.",
        "Σ_j p_j v_j² − (Σ_j p_j v_j)², the variance of v under p, with p computed stably.",
    ),
    used="With {eq}`linear_classification-softmax-jacobian` it makes the cost {eq}`linear_classification-softmax-cost` convex.",
    right=(curvature_jacobian, curvature_step, curvature_compiled),
    others=(
        (lambda z, v: -curvature(z, v), "every number has the opposite sign"),
        (lambda z, v: curvature(z, v) / len(z), "every number is 1/J times what it should be"),
        (lambda z, v: np.diag(special.softmax(z)) @ v, "wrong type or shape"),
        (lambda z, v: np.cov(v, aweights=special.softmax(z)), "wrong"),
    ),
)


# When log-odds are linear


def gaussian_probes(rng):
    """One measurement with round numbers; then several, which are correlated."""
    yield np.array([3.0]), np.array([1.0]), np.array([[2.0]]), 0.25
    for p in sizes(rng, 4, least=2, most=7):
        A = rng.normal(size=(p, p))
        plus, minus = rng.normal(size=(2, p))
        yield plus, minus, A @ A.T / p + np.eye(p), float(rng.uniform(0.1, 0.9))


def prior(share):
    return np.log(share / (1 - share))


def gaussian_weights(plus, minus, S, share):
    w = np.linalg.solve(S, plus - minus)
    return w, prior(share) - (plus + minus) @ w / 2


def gaussian_forms(plus, minus, S, share):
    inverse = np.linalg.inv(S)
    b = (minus @ inverse @ minus - plus @ inverse @ plus) / 2 + np.log(share) - np.log1p(-share)
    return inverse @ (plus - minus), b


def gaussian_densities(plus, minus, S, share):
    def odds(x):
        return (
            multivariate_normal(plus, S).logpdf(x)
            - multivariate_normal(minus, S).logpdf(x)
            + special.logit(share)
        )

    b = odds(np.zeros(len(plus)))
    return np.array([odds(unit) - b for unit in np.eye(len(plus))]), b


@njit
def gaussian_compiled(plus, minus, S, share):
    w = np.linalg.solve(S, plus - minus)
    b = np.log(share) - np.log(1 - share)
    for p in range(len(w)):
        b -= w[p] * (plus[p] + minus[p]) / 2
    return w, b


def _gaussian(w=None, b=None):
    """Return weights and bias of which one is made in another way."""

    def made(plus, minus, S, share):
        v = np.linalg.solve(S, plus - minus) if w is None else w(plus, minus, S)
        middle = (plus + minus) @ v / 2
        return v, prior(share) - middle if b is None else b(plus - minus, middle, v, share)

    return made


GAUSSIANS = Exercise(
    label="linear_classification-gaussians",
    task="Write `gaussian_weights(plus, minus, S, share)`, w and b of the log-odds of two Gaussians with one covariance S.",
    reference=gaussian_weights,
    axes="(p), (p), (p p), () -> (p), ()",
    probes=gaussian_probes,
    mistakes=(
        Mistake(
            "S is multiplied where its inverse belongs",
            _gaussian(w=lambda plus, minus, S: S @ (plus - minus)),
            "A measurement that scatters widely says little, so its weight is small.",
            "{ref}`ex-linear_classification-gaussians`",
        ),
        Mistake(
            "only the variances are used, not the covariances",
            _gaussian(w=lambda plus, minus, S: (plus - minus) / np.diag(S)),
            "Measurements that move together tell the same story twice; the inverse of the whole S accounts for it.",
            "{ref}`ex-linear_classification-gaussians`",
        ),
        Mistake(
            "the half is missing in b",
            _gaussian(b=lambda apart, middle, v, share: prior(share) - 2 * middle),
            "With equal shares the border passes through the middle of the two means, not through their sum.",
            "{ref}`ex-linear_classification-gaussians`",
        ),
        Mistake(
            "the middle of the means enters b with the wrong sign",
            _gaussian(b=lambda apart, middle, v, share: prior(share) + middle),
            "In the middle of the means the score has to be the log-odds of the shares: w·x + b with b = −w·x there.",
            "{ref}`ex-linear_classification-gaussians`",
        ),
        Mistake(
            "the difference of the means stands in b where their sum belongs",
            _gaussian(b=lambda apart, middle, v, share: prior(share) - apart @ v / 2),
            "The two quadratic forms differ by (μ₊ + μ₋)ᵀ Σ⁻¹ (μ₊ − μ₋), as a² − b² = (a + b)(a − b).",
            "{ref}`ex-linear_classification-gaussians`",
        ),
        Mistake(
            "the shares are left out",
            _gaussian(b=lambda apart, middle, v, share: -middle),
            "This is for classes that are equally frequent. Bayes' rule adds the log-odds of the shares.",
            "{eq}`linear_classification-sigmoid`",
        ),
        Mistake(
            "the log of the share stands where its log-odds belong",
            _gaussian(b=lambda apart, middle, v, share: np.log(share) - middle),
            "The other class has its share too, 1 − share, and the score is a difference of two logarithms.",
            "{eq}`linear_classification-sigmoid`",
        ),
        Mistake(
            "the shares enter with the wrong sign",
            _gaussian(b=lambda apart, middle, v, share: -prior(share) - middle),
            "The more frequent the class +1 is, the higher its log-odds must start.",
            "{eq}`linear_classification-sigmoid`",
        ),
    ),
    hints=(
        "By Bayes' rule the log-odds are the difference of the log-densities plus the log-odds of the shares.",
        "The terms xᵀ Σ⁻¹ x cancel. What is linear in x gives w, what is constant gives b.",
        "w = Σ⁻¹(μ₊ − μ₋), and b = log(share/(1 − share)) − ½ (μ₊ + μ₋)·w.",
    ),
    used="Here the model behind {eq}`linear_classification-sigmoid` is exactly true; elsewhere log-odds that are linear are an assumption.",
    right=(gaussian_forms, gaussian_densities, gaussian_compiled),
    others=(
        (
            lambda *args: tuple(-part for part in gaussian_weights(*args)),
            "every number has the opposite sign",
        ),
        (
            lambda *args: gaussian_weights(*args)[::-1],
            "the results are returned in the reverse order",
        ),
        (lambda *args: gaussian_weights(*args)[0], "wrong type or shape"),
        (lambda plus, minus, S, share: gaussian_weights(plus, minus, S, 0.25), "wrong"),
        (
            lambda plus, minus, S, share: gaussian_weights(minus, plus, S, share),
            "the shares enter with the wrong sign; and every number has the opposite sign",
        ),
    ),
)

EXERCISES = (LOG, EPOCH, TEMPERATURE, BREAK, CURVATURE, GAUSSIANS)
