"""Diffusion: data made noisy step by step, and a regression that finds the way back.

Page: ``book/diffusion.md``. Builds on `attention` (the lookup that an ideal denoiser is) and
`linear_classification` (softmax, log-sum-exp); `nets` has the network.

Sources: Sohl-Dickstein et al., ICML (2015), and Ho, Jain & Abbeel, NeurIPS (2020), for the chain of
steps and its loss; Efron, J. Am. Stat. Assoc. 106 (2011), for Tweedie's formula; Vincent, Neural
Comput. 23 (2011), for matching a score by denoising; Song, Meng & Ermon, ICLR (2021), for steps
without noise; Song et al., ICLR (2021), for the differential equation; Chen et al., NeurIPS (2018),
for the density along its paths; Salimans & Ho, ICLR (2022),
for the target v; Lipman et al., ICLR (2023), for straight paths; Ho & Salimans,
arXiv:2207.12598 (2022), for guidance.

Axes: n examples of a batch; d numbers of an example (pixels); m examples of the training set; t
steps; k frequencies. The capital is the count.

Names: x an example with noise on it, x0 without, eps standard normal noise; alpha and sigma the
share of signal and of noise in x = alpha x0 + sigma eps, with alpha² + sigma² = 1 except on straight
paths (Ho et al. write √ᾱ for alpha); beta the variance that one step adds; v = alpha eps − sigma x0;
u time from 0 (data) to 1 (noise), and φ = πu/2 the angle with alpha = cos φ, sigma = sin φ; s a
score, ∇ log p; w the strength of guidance. `points` is the training set.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from dlbook.attention import soft_lookup
from dlbook.linear_classification import log_sum_exp, softmax
from dlbook.tools import shapes
from dlbook.tools.jit import njit

__all__ = [
    "Schedule",
    "ancestral_step",
    "change_of_variables",
    "cosine",
    "cosine_schedule",
    "ddim_step",
    "denoise_ideally",
    "denoising_matching",
    "elbo_weights",
    "euler_step",
    "flow_loss",
    "forward",
    "from_image",
    "from_noise",
    "from_v",
    "guided",
    "heun_step",
    "ideal_denoiser",
    "integrate",
    "log_density",
    "lookup_weights",
    "loss",
    "loss_gradient",
    "noising_step",
    "ode",
    "posterior",
    "schedule",
    "score",
    "signal",
    "straight_path",
    "time_features",
    "tweedie",
    "v_target",
    "velocity",
]

# Noise is added


@njit
def noising_step(x, eps, beta):
    """(diffusion-step)  x_t,nd = √(1 − β) x_{t−1},nd + √β ε_nd
    (n d), (n d), () -> (n d)
    """
    after = np.empty_like(x)
    for n in range(x.shape[0]):
        for d in range(x.shape[1]):
            kept = np.sqrt(1 - beta) * x[n, d]
            after[n, d] = kept + np.sqrt(beta) * eps[n, d]
    return after


@njit
def signal(beta):
    """(diffusion-signal)  α_t = Π_{j ≤ t} √(1 − β_j)
    (t) -> (t)
    """
    alpha = np.sqrt(1 - beta)
    for t in range(1, beta.shape[0]):
        alpha[t] *= alpha[t - 1]
    return alpha


@njit
def forward(x0, eps, alpha, sigma):
    """(diffusion-forward)  x_nd = α_n x0_nd + σ_n ε_nd
    (n d), (n d), (n), (n) -> (n d)
    """
    x = np.empty_like(x0)
    for n in range(x0.shape[0]):
        for d in range(x0.shape[1]):
            x[n, d] = alpha[n] * x0[n, d] + sigma[n] * eps[n, d]
    return x


@njit
def cosine(u):
    """(diffusion-schedule)  α_n = cos φ_n,   σ_n = sin φ_n,   φ_n = π u_n / 2
    (n) -> (n), (n)
    """
    alpha, sigma = np.empty_like(u), np.empty_like(u)
    for n in range(u.shape[0]):
        alpha[n] = np.cos(np.pi * u[n] / 2)
        sigma[n] = np.sin(np.pi * u[n] / 2)
    return alpha, sigma


@njit
def posterior(x, x0, beta, alpha, sigma):
    """(diffusion-posterior)  q(x_{t−1} | x_t, x_0) = N(μ, β̃ I),   β̃ = β σ² / σ_t²,
    μ_nd = (α β x0_nd + √(1 − β) σ² x_nd) / σ_t²,   σ_t² = (1 − β) σ² + β,
    α, σ: of step t − 1
    (n d), (n d), (), (), () -> (n d), ()
    """
    mean, noise2 = np.empty_like(x), (1 - beta) * sigma**2 + beta
    for n in range(x.shape[0]):
        for d in range(x.shape[1]):
            kept = np.sqrt(1 - beta) * sigma**2 * x[n, d]
            mean[n, d] = (alpha * beta * x0[n, d] + kept) / noise2
    return mean, beta * sigma**2 / noise2


# What a network is asked for


@njit
def v_target(x0, eps, alpha, sigma):
    """(diffusion-targets)  v_nd = α_n ε_nd − σ_n x0_nd
    (n d), (n d), (n), (n) -> (n d)
    """
    v = np.empty_like(x0)
    for n in range(x0.shape[0]):
        for d in range(x0.shape[1]):
            v[n, d] = alpha[n] * eps[n, d] - sigma[n] * x0[n, d]
    return v


@njit
def from_v(x, v, alpha, sigma):
    """(diffusion-from-v)  x0_nd = α_n x_nd − σ_n v_nd,   ε_nd = σ_n x_nd + α_n v_nd
    (n d), (n d), (n), (n) -> (n d), (n d)
    """
    x0, eps = np.empty_like(x), np.empty_like(x)
    for n in range(x.shape[0]):
        for d in range(x.shape[1]):
            x0[n, d] = alpha[n] * x[n, d] - sigma[n] * v[n, d]
            eps[n, d] = sigma[n] * x[n, d] + alpha[n] * v[n, d]
    return x0, eps


@njit
def from_noise(x, eps, alpha, sigma):
    """(diffusion-from-noise)  x0_nd = (x_nd − σ_n ε_nd) / α_n,
    v_nd = (ε_nd − σ_n x_nd) / α_n
    (n d), (n d), (n), (n) -> (n d), (n d)
    """
    x0, v = np.empty_like(x), np.empty_like(x)
    for n in range(x.shape[0]):
        for d in range(x.shape[1]):
            x0[n, d] = (x[n, d] - sigma[n] * eps[n, d]) / alpha[n]
            v[n, d] = (eps[n, d] - sigma[n] * x[n, d]) / alpha[n]
    return x0, v


@njit
def from_image(x, x0, alpha, sigma):
    """(diffusion-from-image)  ε_nd = (x_nd − α_n x0_nd) / σ_n,
    v_nd = (α_n x_nd − x0_nd) / σ_n
    (n d), (n d), (n), (n) -> (n d), (n d)
    """
    eps, v = np.empty_like(x), np.empty_like(x)
    for n in range(x.shape[0]):
        for d in range(x.shape[1]):
            eps[n, d] = (x[n, d] - alpha[n] * x0[n, d]) / sigma[n]
            v[n, d] = (alpha[n] * x[n, d] - x0[n, d]) / sigma[n]
    return eps, v


@njit
def time_features(u, K):
    """(diffusion-time)  ψ_nk = sin(2^k φ_n),   ψ_n,K+k = cos(2^k φ_n),
    φ_n = π u_n / 2
    (n), () -> (n 2K)
    """
    f = np.empty((u.shape[0], 2 * K), u.dtype)
    for n in range(u.shape[0]):
        for k in range(K):
            f[n, k] = np.sin(2.0**k * np.pi * u[n] / 2)
            f[n, K + k] = np.cos(2.0**k * np.pi * u[n] / 2)
    return f


@njit
def loss(predicted, target, weight):
    """(diffusion-loss)  1/N Σ_n λ_n Σ_d (predicted_nd − target_nd)²
    (n d), (n d), (n) -> ()
    """
    total = predicted.dtype.type(0)
    for n in range(predicted.shape[0]):
        for d in range(predicted.shape[1]):
            total += weight[n] * (predicted[n, d] - target[n, d]) ** 2
    return total / predicted.shape[0]


@njit
def loss_gradient(predicted, target, weight):
    """(diffusion-loss-gradient)  2 λ_n / N (predicted_nd − target_nd)
    (n d), (n d), (n) -> (n d)
    """
    slope = np.empty_like(predicted)
    for n in range(predicted.shape[0]):
        for d in range(predicted.shape[1]):
            off = predicted[n, d] - target[n, d]
            slope[n, d] = 2 * weight[n] / predicted.shape[0] * off
    return slope


@njit
def elbo_weights(alpha, sigma):
    """(diffusion-elbo-weights)  ½ (R_{t−1} / R_t − 1) for t = 2 … T,
    R_t = α_t² / σ_t²
    (t), (t) -> (t−1)
    """
    ratio = (alpha / sigma) ** 2
    weight = np.empty_like(ratio[1:])
    for t in range(weight.shape[0]):
        weight[t] = (ratio[t] / ratio[t + 1] - 1) / 2
    return weight


# The density of noisy data


@njit
def log_density(x, points, alpha, sigma):
    """(diffusion-density)  log p(x_n) = log 1/M Σ_m e^z_nm − D/2 log 2πσ²,
    z_nm = −Σ_d (x_nd − α points_md)² / 2σ²
    (n d), (m d), (), () -> (n)
    """
    (N, D), M = x.shape, points.shape[0]
    z = np.zeros((N, M), x.dtype)
    for n in range(N):
        for m in range(M):
            for d in range(D):
                far = (x[n, d] - alpha * points[m, d]) ** 2
                z[n, m] -= far / (2 * sigma**2)
    log_p = log_sum_exp(z)
    for n in range(N):
        log_p[n] -= np.log(M) + D / 2 * np.log(2 * np.pi * sigma**2)
    return log_p


@njit
def lookup_weights(x, points, alpha, sigma):
    """(diffusion-lookup-weights)  r_nm = e^z_nm / Σ_j e^z_nj,
    z_nm = −Σ_d (x_nd − α points_md)² / 2σ²
    (n d), (m d), (), () -> (n m)
    """
    z = np.zeros((x.shape[0], points.shape[0]), x.dtype)
    for n in range(z.shape[0]):
        for m in range(z.shape[1]):
            for d in range(x.shape[1]):
                far = (x[n, d] - alpha * points[m, d]) ** 2
                z[n, m] -= far / (2 * sigma**2)
    return softmax(z)


@njit
def score(x, points, alpha, sigma):
    """(diffusion-score)  s_nd = Σ_m r_nm (α points_md − x_nd) / σ²
    (n d), (m d), (), () -> (n d)
    """
    r, s = lookup_weights(x, points, alpha, sigma), np.zeros_like(x)
    for n in range(x.shape[0]):
        for m in range(points.shape[0]):
            for d in range(x.shape[1]):
                apart = alpha * points[m, d] - x[n, d]
                s[n, d] += r[n, m] * apart / sigma**2
    return s


@njit
def tweedie(x, s, alpha, sigma):
    """(diffusion-tweedie)  E[x0 | x]_nd = (x_nd + σ² s_nd) / α
    (n d), (n d), (), () -> (n d)
    """
    mean = np.empty_like(x)
    for n in range(x.shape[0]):
        for d in range(x.shape[1]):
            mean[n, d] = (x[n, d] + sigma**2 * s[n, d]) / alpha
    return mean


@njit
def ideal_denoiser(x, points, alpha, sigma):
    """(diffusion-ideal-denoiser)  x̂0_nd = Σ_m r_nm points_md
    (n d), (m d), (), () -> (n d)
    """
    return soft_lookup(lookup_weights(x, points, alpha, sigma), points)


@njit
def denoising_matching(s, eps, sigma, p):
    """(diffusion-score-matching)  Σ_n p_n Σ_d ½ (s_nd + ε_nd / σ_n)²
    (n d), (n d), (n), (n) -> ()
    """
    total = s.dtype.type(0)
    for n in range(s.shape[0]):
        for d in range(s.shape[1]):
            total += p[n] / 2 * (s[n, d] + eps[n, d] / sigma[n]) ** 2
    return total


# The way back


@njit
def ancestral_step(x, x0, eps, alpha, sigma, alpha_to, sigma_to):
    """(diffusion-ancestral)  μ_nd + √β̃ ε_nd, the posterior at β = 1 − α² / α_to²:
    β̃ = β σ_to² / σ²,   μ_nd = (α_to β x0_nd + α/α_to σ_to² x_nd) / σ²
    (n d), (n d), (n d), (), (), (), () -> (n d)
    """
    after, share = np.empty_like(x), alpha / alpha_to
    beta = 1 - share**2
    spread = np.sqrt(beta) * sigma_to / sigma
    for n in range(x.shape[0]):
        for d in range(x.shape[1]):
            kept = share * sigma_to**2 * x[n, d]
            mean = (alpha_to * beta * x0[n, d] + kept) / sigma**2
            after[n, d] = mean + spread * eps[n, d]
    return after


@njit
def ddim_step(x, x0, alpha, sigma, alpha_to, sigma_to):
    """(diffusion-ddim)  α_to x0_nd + σ_to (x_nd − α x0_nd) / σ
    (n d), (n d), (), (), (), () -> (n d)
    """
    after = np.empty_like(x)
    for n in range(x.shape[0]):
        for d in range(x.shape[1]):
            eps = (x[n, d] - alpha * x0[n, d]) / sigma
            after[n, d] = alpha_to * x0[n, d] + sigma_to * eps
    return after


@njit
def ode(x, x0, alpha, sigma, dalpha, dsigma):
    """(diffusion-ode)  dx_nd/du = α′ x0_nd + σ′ (x_nd − α x0_nd) / σ
    (n d), (n d), (), (), (), () -> (n d)
    """
    slope = np.empty_like(x)
    for n in range(x.shape[0]):
        for d in range(x.shape[1]):
            eps = (x[n, d] - alpha * x0[n, d]) / sigma
            slope[n, d] = dalpha * x0[n, d] + dsigma * eps
    return slope


@njit
def change_of_variables(jacobian):
    """(diffusion-change-of-variables)  d log p(x_n)/du = −Σ_d jacobian_ndd,
    jacobian_nde = ∂slope_nd / ∂x_ne, along the path of x_n
    (n d d) -> (n)
    """
    change = np.zeros(jacobian.shape[0], jacobian.dtype)
    for n in range(jacobian.shape[0]):
        for d in range(len(jacobian[n])):
            change[n] -= jacobian[n, d, d]
    return change


@njit
def euler_step(x, slope, h):
    """(diffusion-euler)  x_nd + h slope_nd
    (n d), (n d), () -> (n d)
    """
    after = np.empty_like(x)
    for n in range(x.shape[0]):
        for d in range(x.shape[1]):
            after[n, d] = x[n, d] + h * slope[n, d]
    return after


@njit
def heun_step(x, slope, slope_after, h):
    """(diffusion-heun)  x_nd + h/2 (slope_nd + slope_after_nd),
    slope_after: at the end of the Euler step
    (n d), (n d), (n d), () -> (n d)
    """
    after = np.empty_like(x)
    for n in range(x.shape[0]):
        for d in range(x.shape[1]):
            both = slope[n, d] + slope_after[n, d]
            after[n, d] = x[n, d] + h / 2 * both
    return after


# Straight paths


@njit
def straight_path(x0, eps, u):
    """(diffusion-straight)  x_nd = (1 − u_n) x0_nd + u_n ε_nd
    (n d), (n d), (n) -> (n d)
    """
    x = np.empty_like(x0)
    for n in range(x0.shape[0]):
        for d in range(x0.shape[1]):
            x[n, d] = (1 - u[n]) * x0[n, d] + u[n] * eps[n, d]
    return x


@njit
def velocity(x, points, u):
    """(diffusion-velocity)  E[ε − x0 | x]_nd = Σ_m r_nm (x_nd − points_md) / u,
    r at α = 1 − u, σ = u
    (n d), (m d), () -> (n d)
    """
    r, v = lookup_weights(x, points, 1 - u, u), np.zeros_like(x)
    for n in range(x.shape[0]):
        for m in range(points.shape[0]):
            for d in range(x.shape[1]):
                v[n, d] += r[n, m] * (x[n, d] - points[m, d]) / u
    return v


@njit
def flow_loss(predicted, x0, eps):
    """(diffusion-flow-loss)  1/N Σ_n Σ_d (predicted_nd − (ε_nd − x0_nd))²
    (n d), (n d), (n d) -> ()
    """
    total = predicted.dtype.type(0)
    for n in range(predicted.shape[0]):
        for d in range(predicted.shape[1]):
            total += (predicted[n, d] - (eps[n, d] - x0[n, d])) ** 2
    return total / predicted.shape[0]


# Guidance


@njit
def guided(given, free, w):
    """(diffusion-guidance)  (1 + w) given_nd − w free_nd,
    given: with the class, free: without
    (n d), (n d), () -> (n d)
    """
    g = np.empty_like(given)
    for n in range(given.shape[0]):
        for d in range(given.shape[1]):
            g[n, d] = (1 + w) * given[n, d] - w * free[n, d]
    return g


# Public functions


class Schedule(NamedTuple):
    """How much signal and how much noise there is after each step."""

    beta: np.ndarray  # (t,) variance that the step adds
    alpha: np.ndarray  # (t,) share of the signal
    sigma: np.ndarray  # (t,) share of the noise


def schedule(alpha: ArrayLike, ends: float = 0.05) -> Schedule:
    """Return the schedule with these shares of signal, or say why it cannot serve.

    Parameters
    ----------
    alpha : array_like, shape (t,)
        Share of the signal after each step, falling, below one; √ᾱ of Ho et al.
    ends : float
        The largest share that may be left after the last step. Sampling starts from noise alone,
        and a network that never saw so much noise starts where it has learned nothing.

    Returns
    -------
    Schedule

    Raises
    ------
    TypeError, ValueError
        If alpha is not a vector of numbers between 0 and 1 that fall, or does not end in noise.
    """
    alpha = shapes.Axes().floats("alpha", alpha, "t").astype(np.float64)
    ends = shapes.number("ends", ends, above=0, most=1)
    for t in range(len(alpha)):
        if not 0 < alpha[t] < 1:
            raise ValueError(f"alpha is {alpha[t]:g} at step {t + 1}, expected 0 < alpha < 1")
        if t and alpha[t] >= alpha[t - 1]:
            raise ValueError(
                f"alpha does not fall from step {t} ({alpha[t - 1]:g}) to step {t + 1} "
                f"({alpha[t]:g}); each step has to add noise"
            )
    if alpha[-1] > ends:
        raise ValueError(
            f"the schedule does not end in noise: {alpha[-1]:.3g} of the signal is left after the "
            f"last step, at most {ends:g} may be; take more steps, or larger ones"
        )
    before = np.concatenate(([1.0], alpha[:-1]))
    return Schedule(1 - (alpha / before) ** 2, alpha, np.sqrt(1 - alpha**2))


def cosine_schedule(T: int, most: float = 0.999) -> Schedule:
    """Return the schedule whose angle grows by equal steps from 0 to a right one.

    Parameters
    ----------
    T : int
        Number of steps, three or more.
    most : float
        The largest variance that one step may add; the last would add 1, after which no α is left.

    Returns
    -------
    Schedule

    References
    ----------
    Nichol & Dhariwal, ICML (2021), who start at a small angle; Salimans & Ho, ICLR (2022).
    """
    T = shapes.count("T", T, least=3)
    most = shapes.number("most", most, above=0.9, below=1)
    angles = np.arange(T + 1) / T
    alpha = cosine(angles)[0]
    return schedule(signal(np.minimum(1 - (alpha[1:] / alpha[:-1]) ** 2, most)))


def denoise_ideally(x: ArrayLike, points: ArrayLike, alpha: float, sigma: float) -> np.ndarray:
    """Return the mean of the training examples that x may have come from, for each x.

    Parameters
    ----------
    x : array_like, shape (n, d)
        Noisy examples.
    points : array_like, shape (m, d)
        The training set, every example of it with the same probability.
    alpha, sigma : float
        Share of the signal and of the noise in x, positive.

    Returns
    -------
    ndarray, shape (n, d)
        No function of x has a smaller mean squared error on noisy training examples.

    Raises
    ------
    TypeError, ValueError
        If shapes do not fit or something is not finite or not positive.
    """
    axes = shapes.Axes()
    x, points = axes.floats("x", x, "n d"), axes.floats("points", points, "m d")
    alpha = shapes.number("alpha", alpha, above=0)
    sigma = shapes.number("sigma", sigma, above=0)
    return ideal_denoiser(x, points.astype(x.dtype), alpha, sigma)


def integrate(
    slope: Callable[[np.ndarray, float], np.ndarray],
    x: ArrayLike,
    times: ArrayLike,
    method: str = "heun",
) -> np.ndarray:
    """Follow dx/dt = slope(x, t) through the given times.

    Parameters
    ----------
    slope : callable
        Takes x of shape (n, d) and a time, returns an array of that shape.
    x : array_like, shape (n, d)
        Where the paths start, at the first of the times.
    times : array_like, shape (t,)
        Two or more, rising or falling.
    method : {"heun", "euler"}
        Heun's method asks for the slope twice a step.

    Returns
    -------
    ndarray, shape (t, n, d)
        The paths, one row of points for each time.

    Raises
    ------
    TypeError, ValueError
        If shapes do not fit, the times turn round, or the slope has another shape or is not finite.
    """
    axes = shapes.Axes()
    x, times = axes.floats("x", x, "n d"), axes.floats("times", times, "t").astype(np.float64)
    shapes.choice("method", method, ("euler", "heun"))
    steps = np.diff(times)
    if not len(steps) or not (np.all(steps > 0) or np.all(steps < 0)):
        raise ValueError("times must be two or more that rise, or two or more that fall")

    def asked(x, t):
        found = np.asarray(slope(x, t))
        if found.shape != x.shape or not np.isfinite(found).all():
            raise ValueError(
                f"slope gave {shapes.shown(found)} at time {t:g}, expected finite numbers of "
                f"shape {x.shape}"
            )
        return found.astype(x.dtype, copy=False)

    path = [x]
    for t, after, h in zip(times[:-1], times[1:], steps, strict=True):
        first = asked(path[-1], t)
        ahead = euler_step(path[-1], first, h)
        if method == "heun":
            ahead = heun_step(path[-1], first, asked(ahead, after), h)
        path.append(ahead)
    return np.stack(path)
