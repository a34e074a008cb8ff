"""Exercises of the chapter on variational autoencoders.

Page: ``book/variational.md``. Axes: n examples, d pixels, c numbers of a code, k draws; i and j
points of two samples, as in the chapter.
"""

import numpy as np
from scipy import special

from dlbook import variational as chapter
from dlbook.exercises.forms import Choice, Exercise, Mistake, sizes
from dlbook.tools.jit import njit
from dlbook.verification import complex_step

__all__ = ["EXERCISES"]


# An encoder that gives log σ²


def variance_probes(rng):
    """One number with the variance one half; then batches of codes."""
    yield np.array([[2.0]]), np.log([[0.5]])
    for _ in range(4):
        n, c = sizes(rng, 2)
        yield rng.normal(size=(n, c)), rng.normal(size=(n, c))


def rate_gradient(m, log_var):
    return m / len(m), (np.exp(log_var) - 1) / (2 * len(m))


def rate_by_chapter(m, log_var):
    dm, ds = chapter.gaussian_kl_gradient(m, log_var / 2)
    return dm / len(m), ds / 2 / len(m)


def rate_step(m, log_var):
    def cost(at):
        return np.sum(at[0] ** 2 + np.exp(at[1]) - 1 - at[1]) / (2 * len(m))

    return tuple(complex_step(cost, np.stack((m, log_var))))


@njit
def rate_compiled(m, log_var):
    dm, dv = np.empty_like(m), np.empty_like(log_var)
    for n in range(m.shape[0]):
        for c in range(m.shape[1]):
            dm[n, c] = m[n, c] / m.shape[0]
            dv[n, c] = np.expm1(log_var[n, c]) / (2 * m.shape[0])
    return dm, dv


VARIANCE = Exercise(
    label="variational-log-variance",
    task="Write `rate_gradient(m, log_var)`, the derivatives of the mean rate of a batch by m and by log σ².",
    reference=rate_gradient,
    axes="(n c), (n c) -> (n c), (n c)",
    probes=variance_probes,
    mistakes=(
        Mistake(
            "log σ² is taken for log σ",
            lambda m, log_var: (m / len(m), (np.exp(2 * log_var) - 1) / len(m)),
            "e^2s is the variance where s = log σ. Here the exponential is the variance already.",
            "{eq}`variational-gaussian-kl-gradient`",
        ),
        Mistake(
            "the derivative by log σ² lacks the half",
            lambda m, log_var: (m / len(m), (np.exp(log_var) - 1) / len(m)),
            "log σ is half of log σ², so that a step in the second moves the first by half of it.",
            "{eq}`variational-gaussian-kl-gradient`",
        ),
        Mistake(
            "the logarithm has no derivative",
            lambda m, log_var: (m / len(m), np.exp(log_var) / (2 * len(m))),
            "The rate contains −½ log σ² as well; without it nothing keeps the spread from vanishing.",
            "{eq}`variational-gaussian-kl`",
        ),
        Mistake(
            "the divergence is turned round",
            lambda m, log_var: (
                m * np.exp(-log_var) / len(m),
                (1 - (1 + m**2) * np.exp(-log_var)) / (2 * len(m)),
            ),
            "The rate is the divergence of q from the prior, an expectation over q.",
            "{eq}`variational-gaussian-kl`",
        ),
        Mistake(
            "the two derivatives have different batches: one is a sum, the other a mean",
            lambda m, log_var: (m, (np.exp(log_var) - 1) / (2 * len(m))),
            "Both are derivatives of the same mean; both have the 1/N.",
            "{eq}`variational-vae-gradients`",
        ),
    ),
    hints=(
        "Write the rate of one number of the code with σ² and log σ².",
        "½ (m² + σ² − 1 − log σ²). Differentiate, and remember the mean over the batch.",
        "m/N and (σ² − 1)/(2N), where σ² is the exponential of what was given.",
    ),
    used="Many programs keep log σ²; {eq}`variational-gaussian-kl-gradient` is the same for log σ.",
    right=(rate_by_chapter, rate_step, rate_compiled),
    others=(
        (
            lambda m, log_var: rate_gradient(m, log_var)[::-1],
            "the results are returned in the reverse order",
        ),
        (lambda m, log_var: rate_gradient(m, log_var)[0], "wrong type or shape"),
        (lambda m, log_var: (m / len(m), log_var / (2 * len(m))), "wrong"),
    ),
)


# A prior that is learned


def prior_probes(rng):
    """One number, a prior of the double spread; then codes of several."""
    zero = np.zeros((1, 1))
    yield zero + 1, zero, np.zeros(1), np.log(np.full(1, 2.0))
    for _ in range(4):
        n, c = sizes(rng, 2)
        yield (
            *(rng.normal(size=(n, c)), 0.6 * rng.normal(size=(n, c))),
            *(rng.normal(size=c), 0.6 * rng.normal(size=c)),
        )


def kl_learned(m, s, m0, s0):
    ratio = np.exp(2 * (s - s0))
    return np.sum((ratio + ((m - m0) * np.exp(-s0)) ** 2 - 1) / 2 - (s - s0), axis=1)


def kl_standardised(m, s, m0, s0):
    return chapter.gaussian_kl((m - m0) * np.exp(-s0), s - s0)


def kl_as_a_gap(m, s, m0, s0):
    there = np.broadcast_to(m0, m.shape).copy()
    return chapter.elbo_gap(m, s, there, np.diag(np.exp(-2 * s0)))


def kl_entropies(m, s, m0, s0):
    v, v0 = np.exp(2 * s), np.exp(2 * s0)
    crossed = (np.log(2 * np.pi * v0) + (v + (m - m0) ** 2) / v0) / 2
    return np.sum(crossed - (np.log(2 * np.pi * v) + 1) / 2, axis=1)


@njit
def kl_compiled(m, s, m0, s0):
    out = np.zeros(m.shape[0])
    for n in range(m.shape[0]):
        for c in range(m.shape[1]):
            v0 = np.exp(2 * s0[c])
            far = (m[n, c] - m0[c]) ** 2 + np.exp(2 * s[n, c])
            out[n] += s0[c] - s[n, c] + (far / v0 - 1) / 2
    return out


def _kl(m, s, m0, s0, variance=True, far=True):
    """Return the divergence with a mistake in what divides."""
    v0 = np.exp(2 * s0) if variance else np.exp(s0)
    apart = (m - m0) ** 2 / (v0 if far else 1)
    return np.sum((np.exp(2 * s) / v0 + apart - 1) / 2 - (s - s0), axis=1)


PRIOR = Exercise(
    label="variational-learned-prior",
    task="Write `kl_learned(m, s, m0, s0)`, the rate against the prior N(m0, e^2s0), for each example.",
    reference=kl_learned,
    axes="(n c), (n c), (c), (c) -> (n)",
    probes=prior_probes,
    mistakes=(
        Mistake(
            "the divergence is turned round",
            lambda m, s, m0, s0: np.sum(
                (np.exp(2 * (s0 - s)) + ((m - m0) * np.exp(-s)) ** 2 - 1) / 2 - (s0 - s), axis=1
            ),
            "The expectation is over q, and the prior stands in the denominator: its variance divides.",
            "{eq}`variational-gaussian-kl`",
        ),
        Mistake(
            "the prior's standard deviation divides, not its variance",
            lambda m, s, m0, s0: _kl(m, s, m0, s0, variance=False),
            "The exponent of the normal density has the variance, e^2s0.",
            "{eq}`variational-gaussian-kl`",
        ),
        Mistake(
            "the distance of the means is not divided by the prior's variance",
            lambda m, s, m0, s0: _kl(m, s, m0, s0, far=False),
            "A distance is far or near in units of the prior's spread.",
            "{eq}`variational-gaussian-kl`",
        ),
        Mistake(
            "the logarithm of the prior's spread is missing",
            lambda m, s, m0, s0: kl_learned(m, s, m0, s0) - np.sum(s0),
            "The prior's density has its own normalising factor: + s0. Without it a wide prior is free.",
            "{eq}`variational-gaussian-kl`",
        ),
        Mistake(
            "the prior stayed where it was",
            lambda m, s, m0, s0: chapter.gaussian_kl(m, s),
            "That is the rate against N(0, 1); here the prior has parameters of its own.",
            "{eq}`variational-gaussian-kl`",
        ),
    ),
    hints=(
        "In which units would the prior be N(0, 1)?",
        "Standardise: (m − m0)/σ0 for the mean, and s − s0 for the logarithm of the spread.",
        "Σ_c ((σ² + (m − m0)²)/σ0² − 1)/2 + s0 − s.",
    ),
    used="With m0 = 0 and s0 = 0 it is {eq}`variational-gaussian-kl`. A prior that is learned is fitted to the codes "
    "and not the codes to it.",
    right=(kl_standardised, kl_as_a_gap, kl_entropies, kl_compiled),
    others=(
        (lambda *args: -kl_learned(*args), "every number has the opposite sign"),
        (lambda *args: kl_learned(*args).sum(), "wrong type or shape"),
        (lambda *args: kl_learned(*args) + 0.01, "wrong"),
    ),
)


# The noise was not kept


def kept_probes(rng):
    """One number and one example; then batches."""
    one = np.ones((1, 1))
    yield 3 * one, 2 * one, one, np.log(2) * one, 1.0
    for _ in range(4):
        n, c = sizes(rng, 2)
        dz, m, eps = (rng.normal(size=(n, c)) for _ in range(3))
        s = 0.6 * rng.normal(size=(n, c))
        yield dz, m + np.exp(s) * eps, m, s, float(rng.uniform(0.3, 3))


def kept_gradients(dz, z, m, s, beta):
    share = beta / len(z)
    return dz + share * m, dz * (z - m) + share * (np.exp(2 * s) - 1)


def kept_by_chapter(dz, z, m, s, beta):
    return chapter.vae_gradients(dz, m, s, (z - m) / np.exp(s), beta)


def kept_step(dz, z, m, s, beta):
    eps = (z - m) * np.exp(-s)

    def cost(at):
        rate = (at[0] ** 2 + np.exp(2 * at[1]) - 1) / 2 - at[1]
        return np.sum(dz * (at[0] + np.exp(at[1]) * eps)) + beta * np.sum(rate) / len(z)

    return tuple(complex_step(cost, np.stack((m, s))))


@njit
def kept_compiled(dz, z, m, s, beta):
    dm, ds = np.empty_like(z), np.empty_like(z)
    for n in range(z.shape[0]):
        for c in range(z.shape[1]):
            sigma = np.exp(s[n, c])
            dm[n, c] = dz[n, c] + beta * m[n, c] / z.shape[0]
            ds[n, c] = dz[n, c] * (z[n, c] - m[n, c])
            ds[n, c] += beta * (sigma - 1) * (sigma + 1) / z.shape[0]
    return dm, ds


def _drawn_again(dz, z, m, s, beta):
    """Return gradients with noise that is drawn anew."""
    return chapter.vae_gradients(dz, m, s, np.random.default_rng().normal(size=z.shape), beta)


KEPT = Exercise(
    label="variational-kept",
    task="Write `gradients(dz, z, m, s, beta)`, ∂cost/∂m and ∂cost/∂s of a batch, from the codes and not the noise.",
    reference=kept_gradients,
    axes="(n c), (n c), (n c), (n c), () -> (n c), (n c)",
    probes=kept_probes,
    mistakes=(
        Mistake(
            "the derivative is taken with respect to σ, not to s = log σ",
            lambda dz, z, m, s, beta: (
                dz + beta * m / len(z),
                dz * (z - m) * np.exp(-s) + beta * (np.exp(s) - np.exp(-s)) / len(z),
            ),
            "By s = log σ one factor σ more appears: z − m is e^s ε, the whole of it.",
            "{eq}`variational-reparameterize-gradient`",
        ),
        Mistake(
            "the noise is not multiplied by e^s",
            lambda dz, z, m, s, beta: (
                dz + beta * m / len(z),
                dz * (z - m) * np.exp(-s) + beta * (np.exp(2 * s) - 1) / len(z),
            ),
            "∂z/∂s is e^s ε, which is z − m without any division.",
            "{eq}`variational-reparameterize-gradient`",
        ),
        Mistake(
            "the spread is multiplied once more",
            lambda dz, z, m, s, beta: (
                dz + beta * m / len(z),
                dz * (z - m) * np.exp(s) + beta * (np.exp(2 * s) - 1) / len(z),
            ),
            "z − m contains the spread already: it is e^s ε and not ε.",
            "{eq}`variational-reparameterize`",
        ),
        Mistake(
            "the rate is a sum over the batch",
            lambda dz, z, m, s, beta: (
                dz + beta * m,
                dz * (z - m) + beta * (np.exp(2 * s) - 1),
            ),
            "The cost is a mean over examples. dz has the 1/N inside; the rate needs it, too.",
            "{eq}`variational-vae-gradients`",
        ),
        Mistake(
            "the rate pulls at the code and not at its mean",
            lambda dz, z, m, s, beta: (
                dz + beta * z / len(z),
                dz * (z - m) + beta * (np.exp(2 * s) - 1) / len(z),
            ),
            "The rate is known exactly and contains m and s only; no draw enters it.",
            "{eq}`variational-gaussian-kl-gradient`",
        ),
        Mistake(
            "the rate is left out",
            lambda dz, z, m, s, beta: (dz + 0 * m, dz * (z - m)),
            "That is the gradient of the distortion alone: an autoencoder with noise that it may turn off.",
            "{eq}`variational-vae-gradients`",
        ),
    ),
    hints=(
        "How can the noise be got back from z, m and s?",
        "e^s ε = z − m, so that ∂z/∂s = z − m. Add what the rate contributes.",
        "dz + β m/N and dz (z − m) + β (e^2s − 1)/N.",
    ),
    used="{eq}`variational-vae-gradients` with one array less to keep between the two passes.",
    right=(kept_by_chapter, kept_step, kept_compiled),
    others=(
        (_drawn_again, "not deterministic"),
        (
            lambda *args: kept_gradients(*args)[::-1],
            "the results are returned in the reverse order",
        ),
        (lambda *args: kept_gradients(*args)[1], "wrong type or shape"),
        (lambda dz, z, m, s, beta: kept_gradients(dz, z, m, s, 1.0), "wrong"),
    ),
)


# What β does to the best answer


def best_probes(rng):
    """One number, prior and noise of variance one; then models whose columns are not at right angles."""
    one = np.ones((1, 1))
    yield 2 * one, one, np.zeros(1), 1.0, 1.0
    for _ in range(4):
        c, n, d = sorted(sizes(rng, 3, least=2, most=7))
        x, W, b = (rng.normal(size=size) for size in ((n, d), (d, c), d))
        yield x, W, b, float(rng.uniform(0.5, 2)), float(rng.choice([0.3, 0.5, 2, 3]))


def best_code(x, W, b, tau2, beta):
    A = W.T @ W + beta * tau2 * np.eye(W.shape[1])
    m = np.linalg.solve(A, W.T @ (x - b).T).T
    return m, np.tile(np.log(beta * tau2 / np.diag(A)) / 2, (len(x), 1))


def best_scaled(x, W, b, tau2, beta):
    m, P = chapter.posterior(x, W, b, beta * tau2)
    return m, np.broadcast_to(-np.log(np.diag(P)) / 2, m.shape)


def best_ridge(x, W, b, tau2, beta):
    C = W.shape[1]
    rows = np.vstack((W, np.sqrt(beta * tau2) * np.eye(C)))
    wanted = np.hstack((x - b, np.zeros((len(x), C))))
    m = np.linalg.lstsq(rows, wanted.T, rcond=None)[0].T
    slope = np.sum(W**2, axis=0) / tau2
    return m, np.repeat(np.log(beta / (beta + slope))[None] / 2, len(x), axis=0)


@njit
def best_compiled(x, W, b, tau2, beta):
    D, C = W.shape
    A, s = np.zeros((C, C)), np.empty((x.shape[0], C))
    for c in range(C):
        for e in range(C):
            for d in range(D):
                A[c, e] += W[d, c] * W[d, e] / (beta * tau2)
        A[c, c] += 1
        s[:, c] = -np.log(A[c, c]) / 2
    m = np.linalg.solve(A, W.T @ np.ascontiguousarray((x - b).T)) / (beta * tau2)
    return np.ascontiguousarray(m.T), s


def _best(x, W, b, tau2, m_noise, s_noise):
    """Return means and spreads with a mistake in what takes the place of β τ²."""
    m = chapter.posterior(x, W, b, m_noise)[0]
    return m, best_scaled(x, W, b, s_noise, 1.0)[1].copy()


def best_marginal(x, W, b, tau2, beta):
    m, P = chapter.posterior(x, W, b, beta * tau2)
    return m, np.tile(np.log(np.diag(np.linalg.inv(P))) / 2, (len(x), 1))


BEST = Exercise(
    label="variational-best-code",
    task="Write `best_code(x, W, b, tau2, beta)`, the m and s with the least distortion + β rate in the linear model.",
    reference=best_code,
    axes="(n d), (d c), (d), (), () -> (n c), (n c)",
    probes=best_probes,
    mistakes=(
        Mistake(
            "the spreads are those of the posterior",
            best_marginal,
            "Independent components that fit best have the variances 1/P_cc, not the entries of the inverse of P.",
            "{eq}`variational-elbo-gap`",
        ),
        Mistake(
            "β is missing",
            lambda x, W, b, tau2, beta: _best(x, W, b, tau2, tau2, tau2),
            "The rate is weighed with β, and so is its derivative: β m and β (e^2s − 1).",
            "{eq}`variational-gaussian-kl-gradient`",
        ),
        Mistake(
            "β is on the wrong side",
            lambda x, W, b, tau2, beta: _best(x, W, b, tau2, tau2 / beta, tau2 / beta),
            "A large β makes the rate dear: means go to 0 and spreads to 1.",
            "{eq}`variational-gaussian-kl-gradient`",
        ),
        Mistake(
            "the spreads do not feel β",
            lambda x, W, b, tau2, beta: _best(x, W, b, tau2, beta * tau2, tau2),
            "The derivative of the rate by s has its β as well: σ² W·W/τ² + β (σ² − 1) = 0.",
            "{eq}`variational-linear-elbo`",
        ),
        Mistake(
            "the means do not feel β",
            lambda x, W, b, tau2, beta: _best(x, W, b, tau2, tau2, beta * tau2),
            "The derivative of the rate by m has its β as well.",
            "{eq}`variational-linear-elbo`",
        ),
        Mistake(
            "the second result is log σ² in place of log σ",
            lambda x, W, b, tau2, beta: (
                best_code(x, W, b, tau2, beta)[0],
                2 * best_code(x, W, b, tau2, beta)[1],
            ),
            "s is the logarithm of the standard deviation, half of that of the variance.",
            "{eq}`variational-gaussian-kl`",
        ),
        Mistake(
            "the mean of the data is not taken off",
            lambda x, W, b, tau2, beta: best_code(x, W, 0 * b, tau2, beta),
            "The code explains x − b; b is there whatever the code says.",
            "{eq}`variational-posterior`",
        ),
    ),
    hints=(
        "Differentiate −distortion − β rate of the linear model by m and by s, and set both to zero.",
        "Wᵀ(x − b − W m)/τ² = β m, and for each c: σ² Σ_d W_dc²/τ² + β (σ² − 1) = 0.",
        "Both are the answer for β = 1 with the noise β τ² in place of τ².",
    ),
    used="The page trades distortion for rate by β; here the trade can be computed, and "
    "{eq}`variational-posterior` says what β = 1 gives.",
    right=(best_scaled, best_ridge, best_compiled),
    others=(
        (lambda *args: best_code(*args)[::-1], "the results are returned in the reverse order"),
        (lambda *args: best_code(*args)[0], "wrong type or shape"),
        (lambda x, W, b, tau2, beta: best_code(x, W, b, 1.0, beta), "wrong"),
        (lambda x, W, b, tau2, beta: best_code(x, W, b, tau2, 1.0), "β is missing"),
    ),
)


# Which draws count


def share_probes(rng):
    """Two draws, one of the triple weight; then more, and weights that underflow or overflow."""
    yield (np.log([[3.0, 1.0]]),)
    for least in (0, -2, -790, 760):
        n, k = sizes(rng, 2)
        yield (least + np.round(64 * rng.normal(0, 1.5, size=(n, k))) / 64,)


def share(log_w):
    w = np.exp(log_w - log_w.max(axis=1, keepdims=True))
    return w / w.sum(axis=1, keepdims=True)


def share_scipy(log_w):
    return np.exp(log_w - special.logsumexp(log_w, axis=1, keepdims=True))


def share_step(log_w):
    return complex_step(lambda v: np.sum(special.logsumexp(v, axis=1)), log_w)


@njit
def share_compiled(log_w):
    out = np.empty_like(log_w)
    for n in range(log_w.shape[0]):
        for k in range(log_w.shape[1]):
            out[n, k] = 1 / np.sum(np.exp(log_w[n] - log_w[n, k]))
    return out


def share_plain(log_w):
    with np.errstate(over="ignore", under="ignore", invalid="ignore", divide="ignore"):
        w = np.exp(log_w)
        return w / w.sum(axis=1, keepdims=True)


SHARE = Exercise(
    label="variational-draws",
    task="Write `share(log_w)`, the derivatives of the importance weighted bound by log w, example by example.",
    reference=share,
    axes="(n k) -> (n k)",
    probes=share_probes,
    mistakes=(
        Mistake(
            "the weights overflow or underflow",
            share_plain,
            "Weights of e^−790 are zero in floating point, and 0/0 is no number. Subtract the largest logarithm first.",
            "{eq}`variational-iwae`",
        ),
        Mistake(
            "all draws count alike",
            lambda log_w: np.full_like(log_w, 1 / log_w.shape[1]),
            "That is the derivative of the mean of the logarithms, the ELBO with K draws.",
            "{eq}`variational-iwae`",
        ),
        Mistake(
            "the shares are taken over the examples",
            lambda log_w: np.ascontiguousarray(share(np.ascontiguousarray(log_w.T)).T),
            "Draws of one example compete with each other; examples do not.",
            "{eq}`variational-iwae`",
        ),
        Mistake(
            "only the largest weight counts",
            lambda log_w: (log_w == log_w.max(axis=1, keepdims=True)).astype(float),
            "The bound is the logarithm of a mean and not of a maximum.",
            "{eq}`variational-iwae`",
        ),
        Mistake(
            "the weights are divided by the largest, not by their sum",
            lambda log_w: np.exp(log_w - log_w.max(axis=1, keepdims=True)),
            "The largest comes out of the logarithm to prevent overflow, and it cancels; the sum divides.",
            "{eq}`variational-iwae`",
        ),
    ),
    hints=(
        "Chain rule: derivative of the logarithm, then of the mean, then of the exponential.",
        "e^log w_k / Σ_j e^log w_j. Which K is left?",
        "A softmax over the draws of each example, with the largest taken out.",
    ),
    used="A draw moves the encoder by its share of {eq}`variational-iwae`. With one draw the share is 1, and the "
    "bound is the ELBO.",
    right=(share_scipy, share_step, share_compiled),
    others=(
        (lambda log_w: -share(log_w), "every number has the opposite sign"),
        (lambda log_w: share(log_w).sum(axis=0), "wrong type or shape"),
        (lambda log_w: share(log_w) + 0.01, "wrong"),
        (lambda log_w: share(2 * log_w), "wrong"),
    ),
)


# A part of the rate that is free


def free_probes(rng):
    """One number below what is free and one above; then batches, some of it free."""
    yield np.array([[0.0, 2.0]]), np.zeros((1, 2)), 0.5
    for free in (0.0, 0.3, 1.0, 2.5):
        n, c = sizes(rng, 2)
        yield rng.normal(size=(n, c)), 0.5 * rng.normal(size=(n, c)), free


def parts_of(m, s):
    return (m**2 + np.exp(2 * s) - 1) / 2 - s


def free_rate(m, s, free):
    return np.maximum(parts_of(m, s).mean(axis=0), free).sum()


def free_loop(m, s, free):
    total = 0.0
    for c in range(m.shape[1]):
        column = np.ascontiguousarray(m[:, c : c + 1]), np.ascontiguousarray(s[:, c : c + 1])
        total += max(free, chapter.gaussian_kl(*column).mean())
    return total


def free_excess(m, s, free):
    over = np.mean((m**2 + np.expm1(2 * s)) / 2 - s, axis=0) - free
    return free * len(over) + np.sum(over[over > 0])


@njit
def free_compiled(m, s, free):
    total = 0.0
    for c in range(m.shape[1]):
        rate = 0.0
        for n in range(m.shape[0]):
            rate += ((m[n, c] ** 2 + np.exp(2 * s[n, c]) - 1) / 2 - s[n, c]) / m.shape[0]
        total += max(rate, free)
    return total


FREE = Exercise(
    label="variational-free",
    task="Write `free_rate(m, s, free)`: each number of a code costs its mean rate, but no less than `free`; the sum.",
    reference=free_rate,
    axes="(n c), (n c), () -> ()",
    probes=free_probes,
    mistakes=(
        Mistake(
            "the maximum is taken for each example",
            lambda m, s, free: np.maximum(parts_of(m, s), free).mean(axis=0).sum(),
            "The mean over the batch comes first: an example may say much and another one little.",
            "{eq}`variational-gaussian-kl`",
        ),
        Mistake(
            "the maximum is taken for the whole code",
            lambda m, s, free: max(parts_of(m, s).mean(axis=0).sum(), free),
            "Each number of the code has its own free part; one active number would use up that of all.",
            "{eq}`variational-gaussian-kl`",
        ),
        Mistake(
            "the free part is subtracted",
            lambda m, s, free: np.maximum(parts_of(m, s).mean(axis=0) - free, 0).sum(),
            "Its gradient is the same, but the cost is C times the free part too low.",
            "{eq}`variational-gaussian-kl`",
        ),
        Mistake(
            "a mean over the numbers of the code",
            lambda m, s, free: np.maximum(parts_of(m, s).mean(axis=0), free).mean(),
            "The rate of a code is the sum over its numbers.",
            "{eq}`variational-gaussian-kl`",
        ),
        Mistake(
            "the smaller of the two is taken",
            lambda m, s, free: np.minimum(parts_of(m, s).mean(axis=0), free).sum(),
            "Then the rate would be free beyond that amount, and codes would spread without end.",
            "{eq}`variational-gaussian-kl`",
        ),
    ),
    hints=(
        "First the rate of each number of the code, as a mean over the batch.",
        "Compare each of these C means with `free`.",
        "np.maximum(mean rate of each number, free), summed.",
    ),
    used="Below `free` a number of the code feels none of the pull of {eq}`variational-gaussian-kl-gradient`, "
    "so there is no gain in giving it up.",
    right=(free_loop, free_compiled, free_excess),
    others=(
        (lambda m, s, free: -free_rate(m, s, free), "every number has the opposite sign"),
        (lambda m, s, free: np.maximum(parts_of(m, s).mean(axis=0), free), "wrong type or shape"),
        (lambda m, s, free: free_rate(m, s, free) + 0.01, "wrong"),
    ),
)


# The simplest kernel


def means_probes(rng):
    """Two and two numbers; then samples of different sizes."""
    yield np.array([[0.0], [2.0]]), np.array([[3.0], [5.0]])
    for _ in range(4):
        i, j, d = sizes(rng, 3, least=3, most=8)
        yield rng.normal(size=(i, d)), rng.normal(size=(j, d)) + rng.normal(size=d)


def mmd_of_means(x, y):
    apart = x.mean(axis=0) - y.mean(axis=0)
    inside = sum(np.sum(u.var(axis=0, ddof=1)) / len(u) for u in (x, y))
    return np.sum(apart**2) - inside


def means_by_pairs(x, y):
    within = 0.0
    for u in (x, y):
        gram = u @ u.T
        within += (gram.sum() - np.trace(gram)) / (len(u) * (len(u) - 1))
    return within - 2 * np.mean(x @ y.T)


def means_by_sums(x, y):
    a, b = x.sum(axis=0), y.sum(axis=0)
    within = sum(
        (total @ total - np.sum(u * u)) / (len(u) * (len(u) - 1)) for total, u in ((a, x), (b, y))
    )
    return within - 2 * (a @ b) / (len(x) * len(y))


@njit
def means_compiled(x, y):
    A, B, total = x.shape[0], y.shape[0], 0.0
    for i in range(A):
        for j in range(A):
            if i != j:
                total += np.sum(x[i] * x[j]) / (A * (A - 1))
        for j in range(B):
            total -= 2 * np.sum(x[i] * y[j]) / (A * B)
    for i in range(B):
        for j in range(B):
            if i != j:
                total += np.sum(y[i] * y[j]) / (B * (B - 1))
    return total


def _means(x, y, ddof=1, power=1):
    apart = x.mean(axis=0) - y.mean(axis=0)
    inside = sum(np.sum(u.var(axis=0, ddof=ddof)) / len(u) ** power for u in (x, y))
    return np.sum(apart**2) - inside


MEANS = Exercise(
    label="variational-means",
    task="Write `mmd_of_means(x, y)`, the unbiased MMD² with the kernel κ(u, v) = u · v, from means and variances alone.",
    reference=mmd_of_means,
    axes="(i d), (j d) -> ()",
    probes=means_probes,
    mistakes=(
        Mistake(
            "points are compared with themselves",
            lambda x, y: np.sum((x.mean(axis=0) - y.mean(axis=0)) ** 2),
            "The squared distance of two means is too large by their variances, even where both samples are alike.",
            "{eq}`variational-mmd`",
        ),
        Mistake(
            "the variances have 1/I where 1/(I − 1) belongs",
            lambda x, y: _means(x, y, ddof=0),
            "The pairs i ≠ j are I(I − 1) in number; put together, they give the unbiased variance.",
            "{eq}`variational-mmd`",
        ),
        Mistake(
            "the variances are not divided by the sizes of the samples",
            lambda x, y: _means(x, y, power=0),
            "What is subtracted is the variance of a mean, Var/I, and not that of a point.",
            "{eq}`variational-mmd`",
        ),
        Mistake(
            "the variances are added",
            lambda x, y: 2 * np.sum((x.mean(axis=0) - y.mean(axis=0)) ** 2) - mmd_of_means(x, y),
            "A mean's own variance makes the distance larger by chance; it has to come off.",
            "{eq}`variational-mmd`",
        ),
        Mistake(
            "the sums over i ≠ j are divided by I² and J²",
            lambda x, y: (
                sum((np.sum(u @ u.T) - np.sum(u * u)) / len(u) ** 2 for u in (x, y))
                - 2 * np.mean(x @ y.T)
            ),
            "There are I(I − 1) pairs of different points.",
            "{eq}`variational-mmd`",
        ),
    ),
    hints=(
        "What is Σ_ij x_i · x_j, over all pairs, in terms of the mean?",
        "I² ‖mean‖². The pairs i = j contribute Σ ‖x_i‖², which is not wanted.",
        "‖mean x − mean y‖² − Var(x)/I − Var(y)/J, with the unbiased variances summed over the numbers.",
    ),
    used="With this kernel {eq}`variational-mmd` sees nothing but a difference of means.",
    right=(means_by_pairs, means_by_sums, means_compiled),
    others=(
        (lambda x, y: -mmd_of_means(x, y), "every number has the opposite sign"),
        (lambda x, y: mmd_of_means(x, y) * np.ones(len(x) + 1), "wrong type or shape"),
        (lambda x, y: mmd_of_means(x, y) + 0.1, "wrong"),
    ),
)


# Break this line


BREAK = Choice(
    label="variational-break",
    task="In `gaussian_kl`, `np.exp(2 * s[n, c])` becomes `np.exp(s[n, c])`. Name the letters of all equations whose checks fail.",
    right="ace",
    wrong={
        "b": "(b) has an exponential of its own, and its oracles differentiate the page's rate, not the kernel.",
        "d": "(d) is written with the posterior's precision and does not call `gaussian_kl`.",
        "f": "(f) needs the densities at the draws; no divergence is in it.",
    },
    missing="Two bounds begin with the rate and take it from `gaussian_kl`.",
    hints=(
        "Search the module for `gaussian_kl(`: which kernels call it?",
        "A bound is −distortion − rate. Which of the equations are bounds?",
        "`linear_elbo` begins with it, and `elbo` ends with it.",
    ),
    used="{eq}`variational-gaussian-kl` is the rate of every bound of the page. The gap shows that two roads to one number "
    "need not share a line.",
)


EXERCISES = (VARIANCE, PRIOR, KEPT, BEST, SHARE, FREE, MEANS, BREAK)
