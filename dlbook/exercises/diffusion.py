"""Exercises of the chapter on diffusion.

Page: ``book/diffusion.md``. Axes: n images, d pixels, k steps of a schedule or angles of a path.
"""

import itertools

import numpy as np
from scipy import integrate

from dlbook import diffusion as chapter
from dlbook.exercises.forms import Choice, Exercise, Mistake, sizes
from dlbook.tools.jit import njit

__all__ = ["EXERCISES"]


# The loss of a batch, each image at a step of its own


def loss_probes(rng):
    """One pixel and one step; then batches, each image at a step of its own, and small networks."""

    def itself(x, t):
        return x

    yield itself, np.array([[2.0]]), np.array([[-1.0]]), np.array([0.36]), np.array([1])
    for _ in range(4):
        n, d, k = sizes(rng, 3, least=3, most=7)
        A, b = rng.normal(size=(d, d)), rng.normal(size=d)

        def predict(x, t, A=A, b=b):
            return np.tanh(x @ A.T + np.outer(np.cos(t), b))

        t = rng.permutation(np.arange(n) % (k - 1)) + 2
        yield (
            *(predict, rng.uniform(-1, 1, size=(n, d)), rng.normal(size=(n, d))),
            *(rng.uniform(0.05, 0.5, size=k), t),
        )


def kept(beta, t):
    """Return what is left of the variance of the image after the steps up to t."""
    return np.cumprod(1 - beta)[t - 1][:, None]


def _loss(noised, target=lambda x0, eps: eps):
    """Return a loss with another noised image, or another target."""

    def found(predict, x0, eps, beta, t):
        answer = predict(noised(x0, eps, beta, t), t)
        return np.sum((answer - target(x0, eps)) ** 2) / len(x0)

    return found


def noised_image(x0, eps, beta, t):
    left = kept(beta, t)
    return np.sqrt(left) * x0 + np.sqrt(1 - left) * eps


def noise_loss(predict, x0, eps, beta, t):
    gap = predict(noised_image(x0, eps, beta, t), t) - eps
    return np.mean(np.sum(gap**2, axis=1))


def loss_loops(predict, x0, eps, beta, t):
    x = np.empty_like(x0)
    for n, step in enumerate(t):
        left = np.prod(1 - beta[:step])
        x[n] = left**0.5 * x0[n] + (1 - left) ** 0.5 * eps[n]
    answer, total = predict(x, t), 0.0
    for n in range(len(x0)):
        total += np.linalg.norm(answer[n] - eps[n]) ** 2
    return total / len(x0)


def loss_logarithms(predict, x0, eps, beta, t):
    log_left = np.cumsum(np.log1p(-beta))[t - 1]
    x = np.exp(log_left / 2)[:, None] * x0 + np.sqrt(-np.expm1(log_left))[:, None] * eps
    gap = (predict(x, t) - eps).ravel()
    return gap @ gap / len(x0)


def loss_by_chapter(predict, x0, eps, beta, t):
    alpha = chapter.signal(beta)[t - 1]
    x = chapter.forward(x0, eps, alpha, np.sqrt(1 - alpha**2))
    return chapter.loss(predict(x, t), eps, np.ones(len(x0)))


@njit
def noised_compiled(x0, eps, beta, t):
    x = np.empty_like(x0)
    for n in range(x0.shape[0]):
        left = 1.0
        for k in range(int(t[n])):
            left *= 1 - beta[k]
        x[n] = np.sqrt(left) * x0[n] + np.sqrt(1 - left) * eps[n]
    return x


def of_one_step(x0, eps, beta, t):
    b = beta[t - 1][:, None]
    return np.sqrt(1 - b) * x0 + np.sqrt(b) * eps


def adding_up(x0, eps, beta, t):
    alpha = np.sqrt(kept(beta, t))
    return alpha * x0 + (1 - alpha) * eps


LOSS = Exercise(
    label="diffusion-noise-loss",
    task="Write `noise_loss(predict, x0, eps, beta, t)`, the loss of a batch whose images stand at the steps t, counted from one.",
    reference=noise_loss,
    axes="(predict), (n d), (n d), (k), (n) -> ()",
    probes=loss_probes,
    mistakes=(
        Mistake(
            "the image keeps the product of 1 − β, not its square root",
            _loss(lambda x0, eps, beta, t: kept(beta, t) * x0 + np.sqrt(1 - kept(beta, t)) * eps),
            "The product is a variance. An image is multiplied by a spread: take the root.",
            "{eq}`diffusion-signal`",
        ),
        Mistake(
            "the noise is multiplied by its variance",
            _loss(lambda x0, eps, beta, t: np.sqrt(kept(beta, t)) * x0 + (1 - kept(beta, t)) * eps),
            "1 minus the product is the variance of the noise. What multiplies it is the root of that.",
            "{eq}`diffusion-forward`",
        ),
        Mistake(
            "signal and noise add up to one",
            _loss(adding_up),
            "Variances add, so that the squares of the two have the sum one.",
            "{eq}`diffusion-forward`",
        ),
        Mistake(
            "the image has made one step only",
            _loss(of_one_step),
            "β of step t is what that step adds to the image of the step before; x0 has made all steps up to t.",
            "{eq}`diffusion-signal`",
        ),
        Mistake(
            "the last step is left out of the product",
            _loss(lambda x0, eps, beta, t: noised_image(x0, eps, np.append(0.0, beta[:-1]), t)),
            "Steps are counted from one: step t has t factors, and stands at t − 1 in an array.",
            "{eq}`diffusion-signal`",
        ),
        Mistake(
            "all images stand at the step of the first",
            _loss(lambda x0, eps, beta, t: noised_image(x0, eps, beta, 0 * t + t[0])),
            "Each image has its own step: t[n] goes with row n.",
            "{eq}`diffusion-forward`",
        ),
        Mistake(
            "the network is shown the image without noise",
            _loss(lambda x0, eps, beta, t: x0),
            "From the clean image nobody can tell which noise will be added.",
            "{eq}`diffusion-loss`",
        ),
        Mistake(
            "the network is asked for the image",
            _loss(noised_image, lambda x0, eps: x0),
            "That is another of the three targets. Here the network predicts the noise.",
            "{eq}`diffusion-targets`",
        ),
        Mistake(
            "the target is the noise as it was added, σ times ε",
            lambda predict, x0, eps, beta, t: noise_loss(
                lambda x, t: predict(x, t) + (1 - np.sqrt(1 - kept(beta, t))) * eps,
                *(x0, eps, beta, t),
            ),
            "The target is ε itself, of the same size at all steps.",
            "{eq}`diffusion-loss`",
        ),
    ),
    hints=(
        "What is left of an image after t steps is a product of t factors.",
        "α = √((1 − β_1) … (1 − β_t)) and σ = √(1 − α²), one pair for each image.",
        "left = np.cumprod(1 − beta)[t − 1][:, None]; x = √left x0 + √(1 − left) eps; compare predict(x, t) with eps.",
    ),
    used="A network is trained by {eq}`diffusion-loss`, with angles drawn from an interval in place of steps.",
    right=(loss_loops, loss_logarithms, loss_by_chapter, _loss(noised_compiled)),
    others=(
        (lambda *a: -noise_loss(*a), "every number has the opposite sign"),
        (
            lambda predict, x0, eps, beta, t: predict(noised_image(x0, eps, beta, t), t) - eps,
            "wrong type or shape",
        ),
        (
            lambda predict, x0, eps, beta, t: np.mean(np.abs(predict(x0, t) - eps)),
            "wrong",
        ),
    ),
)


# The mean of a step back, from the noise that was predicted


def mean_probes(rng):
    """Two steps of one pixel; then schedules, at a step within or at the end."""
    yield np.array([[3.0]]), np.array([[0.8]]), np.array([0.36, 0.4375]), 2
    for at in (0, 1, 0, 2):
        n, d, k = sizes(rng, 3, least=3, most=6)
        yield (
            *(rng.normal(size=(n, d)), rng.normal(size=(n, d))),
            *(rng.uniform(0.05, 0.6, size=k), int(k - at)),
        )


def levels(beta, t):
    """Return β of step t, and what is left of the variance after it and before it."""
    left = np.cumprod(np.append(1.0, 1 - beta))
    return beta[t - 1], left[t], left[t - 1]


def step_mean(x, eps, beta, t):
    b, left, _ = levels(beta, t)
    return (x - b / np.sqrt(1 - left) * eps) / np.sqrt(1 - b)


def mean_by_image(x, eps, beta, t):
    """By the image that the noise implies, and the posterior given both."""
    b, left, before = levels(beta, t)
    x0 = (x - np.sqrt(1 - left) * eps) / np.sqrt(left)
    return chapter.posterior(x, x0, b, np.sqrt(before), np.sqrt(1 - before))[0]


def mean_by_score(x, eps, beta, t):
    b, left, _ = levels(beta, t)
    return (x + b * (-eps / (1 - left) ** 0.5)) * (1 - b) ** -0.5


@njit
def mean_compiled(x, eps, beta, t):
    left = 1.0
    for k in range(int(t)):
        left *= 1 - beta[k]
    b = beta[int(t) - 1]
    out = np.empty_like(x)
    for n in range(x.shape[0]):
        for d in range(x.shape[1]):
            out[n, d] = (x[n, d] - b * eps[n, d] / np.sqrt(1 - left)) / np.sqrt(1 - b)
    return out


def _mean(formula):
    """Return another combination of x and eps, from β, and what is left after and before."""
    return lambda x, eps, beta, t: formula(x, eps, *levels(beta, t))


MEAN = Exercise(
    label="diffusion-step-mean",
    task="Write `step_mean(x, eps, beta, t)`, the posterior mean at step t − 1 if eps is the noise of x at step t.",
    reference=step_mean,
    axes="(n d), (n d), (k), () -> (n d)",
    probes=mean_probes,
    mistakes=(
        Mistake(
            "β is divided by the variance of the noise",
            _mean(lambda x, e, b, left, before: (x - b / (1 - left) * e) / np.sqrt(1 - b)),
            "Put x0 = (x − σε)/α into the mean of the posterior: one σ of σ² cancels.",
            "{eq}`diffusion-posterior`",
        ),
        Mistake(
            "eps is taken for the noise of the last step",
            _mean(lambda x, e, b, left, before: (x - np.sqrt(b) * e) / np.sqrt(1 - b)),
            "eps is the noise of all steps together, and the last one has only a part in it.",
            "{eq}`diffusion-step`",
        ),
        Mistake(
            "all steps are undone in the division",
            _mean(lambda x, e, b, left, before: (x - b / np.sqrt(1 - left) * e) / np.sqrt(left)),
            "One step is taken back, and so one factor √(1 − β).",
            "{eq}`diffusion-posterior`",
        ),
        Mistake(
            "this is the image, not the step before",
            _mean(lambda x, e, b, left, before: (x - np.sqrt(1 - left) * e) / np.sqrt(left)),
            "That is the image which the noise implies. One step leads only a little way there.",
            "{eq}`diffusion-from-noise`",
        ),
        Mistake(
            "the noise level is that of the step before",
            _mean(lambda x, e, b, left, before: (x - b / np.sqrt(1 - before) * e) / np.sqrt(1 - b)),
            "eps is the noise of x at step t, whose variance is 1 minus the product up to t.",
            "{eq}`diffusion-signal`",
        ),
        Mistake(
            "the step is not divided by √(1 − β)",
            _mean(lambda x, e, b, left, before: x - b / np.sqrt(1 - left) * e),
            "The step forward made the image smaller; the step back makes it larger.",
            "{eq}`diffusion-step`",
        ),
        Mistake(
            "this is the step without noise of DDIM",
            _mean(
                lambda x, e, b, left, before: (
                    np.sqrt(before) * (x - np.sqrt(1 - left) * e) / np.sqrt(left)
                    + np.sqrt(1 - before) * e
                )
            ),
            "It goes where the same noise would be at the level before. The posterior's mean lies closer to the image.",
            "{eq}`diffusion-ddim`",
        ),
    ),
    hints=(
        "Begin with the posterior's mean, and put in the image that the noise implies.",
        "x0 = (x − σ_t ε)/α_t. Collect what multiplies x, and what multiplies ε.",
        "(x − β_t/σ_t · ε)/√(1 − β_t), where σ_t² = 1 − (1 − β_1) … (1 − β_t).",
    ),
    used="It is the mean of {eq}`diffusion-posterior` in the form in which the algorithm is often printed.",
    right=(mean_by_image, mean_by_score, mean_compiled),
    others=(
        (lambda *a: -step_mean(*a), "every number has the opposite sign"),
        (lambda x, eps, beta, t: step_mean(x, eps, beta, t).sum(axis=1), "wrong type or shape"),
        (lambda x, eps, beta, t: x - eps, "wrong"),
    ),
)


# The score, from v


def score_probes(rng):
    """One pixel; then batches, each image at a level of its own."""
    yield np.array([[1.0]]), np.array([[2.0]]), np.array([0.6]), np.array([0.8])
    for _ in range(4):
        n, d = sizes(rng, 2)
        angle = rng.uniform(0.2, 1.4, size=n)
        yield rng.normal(size=(n, d)), rng.normal(size=(n, d)), np.cos(angle), np.sin(angle)


def columns(formula):
    """Return a function of x, v and the two levels, these as columns."""
    return lambda x, v, alpha, sigma: formula(x, v, alpha[:, None], sigma[:, None])


def score_from_v(x, v, alpha, sigma):
    return -x - (alpha / sigma)[:, None] * v


def score_by_image(x, v, alpha, sigma):
    """By the image, and Tweedie's formula solved for the score."""
    a, s = alpha[:, None], sigma[:, None]
    return (a * (a * x - s * v) - x) / s**2


def score_by_chapter(x, v, alpha, sigma):
    return -chapter.from_v(x, v, alpha, sigma)[1] / sigma[:, None]


@njit
def score_compiled(x, v, alpha, sigma):
    out = np.empty_like(x)
    for n in range(x.shape[0]):
        out[n] = -(sigma[n] * x[n] + alpha[n] * v[n]) / sigma[n]
    return out


SCORE = Exercise(
    label="diffusion-score-from-v",
    task="Write `score_from_v(x, v, alpha, sigma)`, the score that belongs to a predicted v, image by image.",
    reference=score_from_v,
    axes="(n d), (n d), (n), (n) -> (n d)",
    probes=score_probes,
    mistakes=(
        Mistake(
            "the noise is not divided by σ",
            columns(lambda x, v, a, s: -s * x - a * v),
            "That is minus the noise. The score has the unit of one over x: divide by σ.",
            "{eq}`diffusion-score-matching`",
        ),
        Mistake(
            "the noise is divided by σ²",
            columns(lambda x, v, a, s: (-s * x - a * v) / s**2),
            "x − αx0 is divided by σ², and that is σε already.",
            "{eq}`diffusion-score-matching`",
        ),
        Mistake(
            "v is counted the other way, σx0 − αε",
            columns(lambda x, v, a, s: -x + a / s * v),
            "Here v = αε − σx0, which points to more noise.",
            "{eq}`diffusion-targets`",
        ),
        Mistake(
            "the image stands where the noise belongs",
            columns(lambda x, v, a, s: -(a * x - s * v) / s),
            "αx − σv is the image; the noise is σx + αv.",
            "{eq}`diffusion-from-v`",
        ),
        Mistake(
            "α and σ are exchanged in the noise",
            columns(lambda x, v, a, s: -(a * x + s * v) / s),
            "x = αx0 + σε and v = αε − σx0: multiply by σ and by α, and add.",
            "{eq}`diffusion-from-v`",
        ),
        Mistake(
            "the image is not made smaller by α",
            columns(lambda x, v, a, s: (a * x - s * v - x) / s**2),
            "The density of x given the image has its mean at αx0.",
            "{eq}`diffusion-tweedie`",
        ),
        Mistake(
            "the noise is divided by α",
            columns(lambda x, v, a, s: -(s * x + a * v) / a),
            "The score is −ε over the level of the noise, not of the signal.",
            "{eq}`diffusion-score-matching`",
        ),
    ),
    hints=(
        "Which noise belongs to x and v? Then think of the score of a normal distribution.",
        "ε = σx + αv, because σx + αv = (α² + σ²) ε; and the score is −ε/σ.",
        "−x − (α/σ) v, with α and σ as columns.",
    ),
    used="The page steps along {eq}`diffusion-ode` with a network that predicts v.",
    right=(score_by_image, score_by_chapter, score_compiled),
    others=(
        (lambda *a: -score_from_v(*a), "every number has the opposite sign"),
        (lambda x, v, alpha, sigma: score_from_v(x, v, alpha, sigma)[:, 0], "wrong type or shape"),
        (lambda x, v, alpha, sigma: -x, "wrong"),
    ),
)


# Between no noise and the posterior's


def eta_probes(rng):
    """One pixel and half of the noise; then batches, between other levels."""
    point = (np.array([[v]]) for v in (1.0, 0.5, 2.0))
    yield *point, 0.6, 0.8, 0.8, 0.6, 0.5
    for _ in range(4):
        n, d = sizes(rng, 2)
        to = rng.uniform(0.85, 1.2)
        angle = to + rng.uniform(0.05, 0.15)
        yield (
            *(rng.normal(size=(n, d)) for _ in range(3)),
            *(np.cos(angle), np.sin(angle), np.cos(to), np.sin(to)),
            rng.uniform(0.3, 0.9),
        )


def _eta(spread, rest=lambda tau, s: np.sqrt(s**2 - tau**2), noise=None, own=lambda tau: tau):
    """Return a step with another spread, another share of the old noise, or another old noise."""

    def found(x, x0, z, alpha, sigma, alpha_to, sigma_to, eta):
        tau = spread(alpha, sigma, alpha_to, sigma_to, eta)
        eps = (noise or (lambda x, x0, a, s, *_: (x - a * x0) / s))(
            *(x, x0, alpha, sigma, alpha_to, sigma_to)
        )
        return alpha_to * x0 + rest(tau, sigma_to) * eps + own(tau) * z

    return found


def tilde(a, s, a_to, s_to, eta):
    return eta * s_to / s * np.sqrt(1 - (a / a_to) ** 2)


def eta_step(x, x0, z, alpha, sigma, alpha_to, sigma_to, eta):
    tau = eta * sigma_to / sigma * np.sqrt(1 - (alpha / alpha_to) ** 2)
    eps = (x - alpha * x0) / sigma
    return alpha_to * x0 + np.sqrt(sigma_to**2 - tau**2) * eps + tau * z


def eta_products(x, x0, z, alpha, sigma, alpha_to, sigma_to, eta):
    """With the products of 1 − β, as programs keep them."""
    left, before = alpha**2, alpha_to**2
    variance = eta**2 * (1 - before) / (1 - left) * (1 - left / before)
    eps = (x - left**0.5 * x0) / (1 - left) ** 0.5
    return before**0.5 * x0 + (1 - before - variance) ** 0.5 * eps + variance**0.5 * z


def eta_loops(x, x0, z, alpha, sigma, alpha_to, sigma_to, eta):
    out = np.empty(x.shape)
    beta = 1 - alpha**2 / alpha_to**2
    tau = eta * (beta * sigma_to**2 / sigma**2) ** 0.5
    for place in np.ndindex(*x.shape):
        eps = (x[place] - alpha * x0[place]) / sigma
        out[place] = alpha_to * x0[place] + (sigma_to**2 - tau**2) ** 0.5 * eps + tau * z[place]
    return out


@njit
def eta_compiled(x, x0, z, alpha, sigma, alpha_to, sigma_to, eta):
    tau2 = eta**2 * (sigma_to / sigma) ** 2 * (1 - (alpha / alpha_to) ** 2)
    share = np.sqrt(sigma_to**2 - tau2) / sigma
    return share * x + (alpha_to - share * alpha) * x0 + np.sqrt(tau2) * z


ETA = Exercise(
    label="diffusion-eta",
    task="Write `eta_step(x, x0, z, alpha, sigma, alpha_to, sigma_to, eta)`, a step with eta times the spread of the posterior.",
    reference=eta_step,
    axes="(n d), (n d), (n d), (), (), (), (), () -> (n d)",
    probes=eta_probes,
    mistakes=(
        Mistake(
            "fresh noise is added on top of the old",
            _eta(tilde, rest=lambda tau, s: s),
            "The whole must have the variance σ_to²: as much of the old noise goes as of the new comes.",
            "{eq}`diffusion-forward`",
        ),
        Mistake(
            "the spread is that of a step forward, √β",
            _eta(lambda a, s, a_to, s_to, eta: eta * np.sqrt(1 - (a / a_to) ** 2)),
            "Who knows the image knows more: the posterior's variance is β σ_to²/σ².",
            "{eq}`diffusion-posterior`",
        ),
        Mistake(
            "β lacks its square: 1 − α/α_to",
            _eta(lambda a, s, a_to, s_to, eta: eta * s_to / s * np.sqrt(1 - a / a_to)),
            "1 − β is the quotient of variances, α²/α_to².",
            "{eq}`diffusion-signal`",
        ),
        Mistake(
            "the old noise is multiplied by the spread of the new",
            _eta(tilde, rest=lambda tau, s: tau),
            "With eta = 0 the old noise would vanish as well. It keeps what the new one leaves of σ_to².",
            "{eq}`diffusion-ddim`",
        ),
        Mistake(
            "the old noise is computed with the levels of the new step",
            _eta(tilde, noise=lambda x, x0, a, s, a_to, s_to: (x - a_to * x0) / s_to),
            "x stands at the levels α and σ: it is αx0 + σε.",
            "{eq}`diffusion-ddim`",
        ),
        Mistake(
            "eta multiplies the variance",
            _eta(lambda a, s, a_to, s_to, eta: tilde(a, s, a_to, s_to, np.sqrt(eta))),
            "eta is a share of the spread; of the variance it takes eta².",
            "{eq}`diffusion-posterior`",
        ),
        Mistake(
            "fresh noise is multiplied by its variance",
            _eta(tilde, own=lambda tau: tau**2),
            "A variance is the square of what multiplies the noise.",
            "{eq}`diffusion-ancestral`",
        ),
        Mistake(
            "old and new noise have spreads that add up to σ_to",
            _eta(tilde, rest=lambda tau, s: s - tau),
            "The two are independent: their variances add.",
            "{eq}`diffusion-forward`",
        ),
    ),
    hints=(
        "The result must be α_to x0 plus noise of the variance σ_to², whatever eta.",
        "The new noise has the spread s = eta (σ_to/σ) √(1 − α²/α_to²). What variance is left for the old, ε = (x − αx0)/σ?",
        "α_to x0 + √(σ_to² − s²) ε + s z.",
    ),
    used="eta = 0 is {eq}`diffusion-ddim`, and eta = 1 is {eq}`diffusion-ancestral`.",
    right=(eta_products, eta_loops, eta_compiled),
    others=(
        (lambda *a: -eta_step(*a), "every number has the opposite sign"),
        (lambda *a: eta_step(*a)[0], "wrong type or shape"),
        (lambda x, x0, z, *levels: x0 + z, "wrong"),
    ),
)


# A path of Heun's steps


def path_probes(rng):
    """A slope that is the angle, two steps; then small networks, and steps of different lengths."""

    def straight(x, angle):
        return 2 * angle + 0 * x

    yield straight, np.array([[1.0]]), np.array([2.0, 1.0, 0.0])
    for _ in range(4):
        n, d, k = sizes(rng, 3, least=3, most=6)
        A, b = rng.normal(size=(d, d)), rng.normal(size=d)

        def slope(x, angle, A=A, b=b):
            return np.tanh(x @ A.T + np.cos(3 * angle) * b)

        yield slope, rng.normal(size=(n, d)), np.sort(rng.uniform(0, 1.5, size=k + 1))[::-1].copy()


def heun_path(slope, x, angles):
    for here, there in itertools.pairwise(angles):
        h = there - here
        first = slope(x, here)
        x = x + h / 2 * (first + slope(x + h * first, there))
    return x


def path_indices(slope, x, angles):
    x = x.copy()
    for k in range(len(angles) - 1):
        length = angles[k] - angles[k + 1]
        first = slope(x, angles[k])
        second = slope(x - length * first, angles[k + 1])
        x -= length * (0.5 * first + 0.5 * second)
    return x


def path_recursive(slope, x, angles):
    if len(angles) == 1:
        return x
    h = angles[1] - angles[0]
    first = slope(x, angles[0])
    reached = x + h * first
    corrected = reached + h * (slope(reached, angles[1]) - first) / 2
    return path_recursive(slope, corrected, angles[1:])


def path_by_chapter(slope, x, angles):
    return chapter.integrate(slope, x, angles)[-1]


@njit
def half_and_half(x, h, first, second):
    out = np.empty_like(x)
    for n in range(x.shape[0]):
        for d in range(x.shape[1]):
            out[n, d] = x[n, d] + h * (first[n, d] + second[n, d]) / 2
    return out


def path_compiled(slope, x, angles):
    for k in range(1, len(angles)):
        h = angles[k] - angles[k - 1]
        first = slope(x, angles[k - 1])
        x = half_and_half(x, h, first, slope(x + h * first, angles[k]))
    return x


def _path(step, steps=lambda angles: angles):
    """Return a path with another step, or along other angles."""

    def found(slope, x, angles):
        angles = steps(angles)
        for here, there in itertools.pairwise(angles):
            x = step(slope, x, here, there)
        return x

    return found


def _heun(place=lambda x, h, first: x + h * first, when=lambda here, there: there, sign=1):
    """Return a step whose second slope is taken elsewhere."""

    def step(slope, x, here, there):
        h = sign * (there - here)
        first = slope(x, here)
        return x + h / 2 * (first + slope(place(x, h, first), when(here, there)))

    return step


def euler(slope, x, here, there):
    return x + (there - here) * slope(x, here)


def middle(slope, x, here, there):
    h = there - here
    return x + h * slope(x + h / 2 * slope(x, here), here + h / 2)


def both_whole(slope, x, here, there):
    h = there - here
    first = slope(x, here)
    return x + h * (first + slope(x + h * first, there))


def second_alone(slope, x, here, there):
    h = there - here
    return x + h * slope(x + h * slope(x, here), there)


HEUN = Exercise(
    label="diffusion-heun-path",
    task="Write `heun_path(slope, x, angles)`, where Heun's steps lead along the angles, of which the first belongs to x.",
    reference=heun_path,
    axes="(slope), (n d), (k) -> (n d)",
    probes=path_probes,
    mistakes=(
        Mistake(
            "the second slope is taken at the old point",
            _path(_heun(place=lambda x, h, first: x)),
            "It is the slope where Euler's step arrives: at the new point and the new angle.",
            "{eq}`diffusion-heun`",
        ),
        Mistake(
            "the second slope is taken at the old angle",
            _path(_heun(when=lambda here, there: here)),
            "Euler's step arrives at the new angle, and the slope depends on it.",
            "{eq}`diffusion-heun`",
        ),
        Mistake(
            "the second slope is taken halfway to Euler's point",
            _path(_heun(place=lambda x, h, first: x + h / 2 * first)),
            "Heun's second slope is at the end of the step. The one in the middle belongs to another method.",
            "{eq}`diffusion-heun`",
        ),
        Mistake(
            "these are Euler's steps",
            _path(euler),
            "Half of the step follows the slope at its end.",
            "{eq}`diffusion-euler`",
        ),
        Mistake(
            "this is the midpoint method",
            _path(middle),
            "It is of the second order as well, but with other numbers.",
            "{eq}`diffusion-heun`",
        ),
        Mistake(
            "the two slopes are added and not averaged",
            _path(both_whole),
            "Each of them counts for half of the step.",
            "{eq}`diffusion-heun`",
        ),
        Mistake(
            "only the second slope counts",
            _path(second_alone),
            "The error of the first order vanishes in the mean of both slopes.",
            "{eq}`diffusion-heun`",
        ),
        Mistake(
            "all steps have the same length",
            _path(_heun(), lambda angles: np.linspace(angles[0], angles[-1], len(angles))),
            "The angles say where each step begins and ends.",
            "{eq}`diffusion-euler`",
        ),
        Mistake(
            "the steps lead away from the image",
            _path(_heun(sign=-1)),
            "The angle falls, so that the length of a step, new minus old, is negative.",
            "{eq}`diffusion-euler`",
        ),
    ),
    hints=(
        "First make Euler's step, but keep only the place where it arrives.",
        "first = slope(x, here); second = slope(x + h first, there), with h = there − here.",
        "x = x + h (first + second)/2, for each pair of neighbouring angles.",
    ),
    used="The page compares the orders of {eq}`diffusion-euler` and {eq}`diffusion-heun` on a trained network.",
    right=(path_indices, path_recursive, path_by_chapter, path_compiled),
    others=(
        (lambda *a: -heun_path(*a), "every number has the opposite sign"),
        (lambda slope, x, angles: heun_path(slope, x, angles)[0], "wrong type or shape"),
        (lambda slope, x, angles: x, "wrong"),
    ),
)


# Where guidance leads, between two Gaussians


def end_probes(rng):
    """A class half as wide as all, without a root to take; then several numbers at once."""
    yield np.array([1.0]), np.array([2.0]), 1.0
    for d in sizes(rng, 4, least=2, most=6):
        c02 = rng.uniform(0.3, 1.0, size=d)
        yield c02, c02 + rng.uniform(0.5, 2.0, size=d), rng.uniform(0.5, 3)


def end_variance(c02, c2, w):
    return c02 * (c02 / c2) ** w


def end_powers(c02, c2, w):
    return c02 ** (1 + w) / c2**w


def end_logarithms(c02, c2, w):
    spread = np.exp((1 + w) * np.log(c02) / 2 - w * np.log(c2) / 2)
    return spread**2


def end_integral(c02, c2, w):
    """The logarithm of the spread along the flow, from noise to data, by quadrature."""

    def rate(angle, a, b):
        noisy = lambda variance: np.cos(angle) ** 2 * variance + np.sin(angle) ** 2
        guided = (1 + w) / noisy(a) - w / noisy(b)
        return np.tan(angle) * (1 - guided)

    found = np.empty_like(c02)
    for d in range(len(c02)):
        whole = integrate.quad(rate, 0, np.pi / 2, (c02[d], c2[d]), epsabs=1e-13, epsrel=1e-13)[0]
        found[d] = np.exp(2 * whole)
    return found


@njit
def end_compiled(c02, c2, w):
    found = np.empty_like(c02)
    for d in range(c02.shape[0]):
        found[d] = c02[d] * np.exp(w * np.log(c02[d] / c2[d]))
    return found


END = Exercise(
    label="diffusion-end-variance",
    task="Write `end_variance(c02, c2, w)`, the variance at the end of the guided flow, for classes of variance c02 among all of c2.",
    reference=end_variance,
    axes="(d), (d), () -> (d)",
    probes=end_probes,
    mistakes=(
        Mistake(
            "this is the variance of the sharpened density",
            lambda c02, c2, w: 1 / ((1 + w) / c02 - w / c2),
            "That is what stands in the brackets of guidance. The flow does not end there.",
            "{eq}`diffusion-guidance`",
        ),
        Mistake(
            "variances are combined like scores",
            lambda c02, c2, w: (1 + w) * c02 - w * c2,
            "What is combined with 1 + w and − w is the slope of the logarithm of the spread: powers multiply.",
            "{eq}`diffusion-ode`",
        ),
        Mistake(
            "the strength is counted from one",
            lambda c02, c2, w: end_variance(c02, c2, w - 1),
            "Many programs count so. Here w = 0 is the class without guidance.",
            "{eq}`diffusion-guidance`",
        ),
        Mistake(
            "the weights are 1 − w and w",
            lambda c02, c2, w: c02 ** (1 - w) * c2**w,
            "An average would draw the class back to all others; guidance pushes it away from them.",
            "{eq}`diffusion-guidance`",
        ),
        Mistake(
            "what all classes do is left out",
            lambda c02, c2, w: c02 ** (1 + w),
            "Without a class the flow stretches by the spread of all; this is right only where c2 is one.",
            "{eq}`diffusion-guidance`",
        ),
        Mistake(
            "this is the spread",
            lambda c02, c2, w: np.sqrt(end_variance(c02, c2, w)),
            "The variance was asked for, the square of the spread.",
            "{eq}`diffusion-ode`",
        ),
        Mistake(
            "the variance is that of the class",
            lambda c02, c2, w: c02 + 0 * c2,
            "So it is for w = 0. Guidance makes it narrower.",
            "{eq}`diffusion-guidance`",
        ),
        Mistake(
            "the power is half of what it should be",
            lambda c02, c2, w: c02 * (c02 / c2) ** (w / 2),
            "The spread goes with the root of each variance, and it is squared in the end.",
            "{eq}`diffusion-ode`",
        ),
    ),
    hints=(
        "Without a class, how does the spread of normal data grow along the flow? And within a class?",
        "For normal data the flow stretches with the root of the variance: dx/dφ = x times the slope of its logarithm.",
        "The slopes combine with 1 + w and − w, and so do the logarithms of both variances.",
    ),
    used="The page follows the flow of {eq}`diffusion-guidance` in steps and compares where it ends.",
    right=(end_powers, end_logarithms, end_integral, end_compiled),
    others=(
        (lambda *a: -end_variance(*a), "every number has the opposite sign"),
        (lambda *a: end_variance(*a)[0], "wrong type or shape"),
        (lambda c02, c2, w: c02 / c2, "wrong"),
    ),
)


# Break this line


BREAK = Choice(
    label="diffusion-break",
    task="In training, `target = eps` becomes `target = rng.standard_normal(eps.shape)`. Name the letters of all that is true.",
    right="abd",
    wrong={
        "c": "(c): the loss has a minimum, and descent goes there. Nothing is without bound.",
        "e": "(e): the right target depends on x, and this one does not. The mean of its gradients is another gradient.",
        "f": "(f): the image is no noise. A network asked for x0 has a target that cannot be drawn anew.",
    },
    missing="What is the best prediction of something that is independent of all one sees? What does it cost, and what does a step make of it?",
    hints=(
        "The new target has the mean zero, whatever x is.",
        "The best answer under squared error is the mean of the target, given x.",
        "It is zero everywhere and costs one for each pixel. Put ε = 0 into x0 = (x − σε)/α, and that into a step.",
    ),
    used="{eq}`diffusion-loss` needs one noise twice: in the image and as the target.",
)


EXERCISES = (LOSS, MEAN, SCORE, ETA, HEUN, END, BREAK)
