"""Variational autoencoders: codes that are drawn, and a lower bound on the likelihood.

Page: ``book/variational.md``. Builds on `autoencoders` (costs of an output) and
`linear_classification` (log-sum-exp); `nets` has the networks.

Sources: Kingma & Welling, ICLR (2014), and Rezende, Mohamed & Wierstra, ICML (2014); Tipping &
Bishop, J. R. Stat. Soc. B 61 (1999), for the linear model; Burda, Grosse & Salakhutdinov, ICLR
(2016), for importance weights; Williams, Mach. Learn. 8 (1992), for the score function; Gretton et
al., J. Mach. Learn. Res. 13 (2012), for the two-sample test.

Axes: n examples; d and e numbers of an example (pixels); c numbers of a code; k draws; i, j points
of two samples. The capital is the count.

Names: x example, z code, a what a decoder gives before its activation; m and s mean and logarithm
of the standard deviation of a code's distribution q, eps standard normal noise; W, b, tau2 weights,
mean and variance of the noise of the linear Gaussian model; dm = ∂cost/∂m and so on.
"""
# ruff: noqa: E741

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from dlbook.autoencoders import bernoulli_nll
from dlbook.linear_classification import log_sum_exp
from dlbook.matmul import squared_distances
from dlbook.tools import shapes
from dlbook.tools.jit import njit
from dlbook.tools.judges import divided

__all__ = [
    "LinearGaussian",
    "TwoSample",
    "beta_solution",
    "bits_per_dimension",
    "elbo",
    "elbo_gap",
    "evidence",
    "gaussian_kl",
    "gaussian_kl_gradient",
    "iwae",
    "linear_elbo",
    "log_weights",
    "mmd2",
    "permutation_p",
    "posterior",
    "ppca",
    "ppca_solution",
    "reparameterize",
    "reparameterize_gradient",
    "score_function",
    "score_variance",
    "two_sample",
    "vae_gradients",
    "water_filling",
]

# A model whose evidence is known


@njit
def evidence(x, W, b, tau2):
    """(variational-evidence)
    log p(x_n) = −½ (r_nᵀ M⁻¹ r_n + log det M + D log 2π),
    r_n = x_n − b,   M = W Wᵀ + τ² I
    (n d), (d c), (d), () -> (n)
    """
    N, D = x.shape
    M = (tau2 * np.eye(D)).astype(W.dtype)
    for d, e in np.ndindex(M.shape):
        for c in range(W.shape[1]):
            M[d, e] += W[d, c] * W[e, c]
    fixed = np.linalg.slogdet(M)[1] + D * np.log(2 * np.pi)
    log_p = np.empty_like(x[:, 0])
    for n in range(N):
        r = x[n] - b
        log_p[n] = -(np.sum(r * np.linalg.solve(M, r)) + fixed) / 2
    return log_p


@njit
def posterior(x, W, b, tau2):
    """(variational-posterior)  p(z | x_n) = N(μ_n, P⁻¹),
    μ_n = P⁻¹ Wᵀ (x_n − b) / τ²,   P = I + Wᵀ W / τ²
    (n d), (d c), (d), () -> (n c), (c c)
    """
    (N, D), C = x.shape, W.shape[1]
    P, mu = np.eye(C).astype(W.dtype), np.empty((N, C), x.dtype)
    for d in range(D):
        for c in range(C):
            P[c] += W[d, c] * W[d] / tau2
    for n in range(N):
        along = np.zeros(C, x.dtype)
        for d in range(D):
            along += W[d] * (x[n, d] - b[d]) / tau2
        mu[n] = np.linalg.solve(P, along)
    return mu, P


@njit
def gaussian_kl(m, s):
    """(variational-gaussian-kl)
    KL_n = Σ_c (½ (m_nc² + e^2s_nc − 1) − s_nc)
    (n c), (n c) -> (n)
    """
    kl = np.zeros_like(m[:, 0] + s[:, 0])
    for n in range(m.shape[0]):
        for c in range(m.shape[1]):
            kl[n] += (m[n, c] ** 2 + np.exp(2 * s[n, c]) - 1) / 2 - s[n, c]
    return kl


@njit
def gaussian_kl_gradient(m, s):
    """(variational-gaussian-kl-gradient)  dm_nc = m_nc,   ds_nc = e^2s_nc − 1
    (n c), (n c) -> (n c), (n c)
    """
    dm, ds = np.empty_like(m), np.empty_like(s)
    for n in range(m.shape[0]):
        for c in range(m.shape[1]):
            dm[n, c] = m[n, c]
            ds[n, c] = np.exp(2 * s[n, c]) - 1
    return dm, ds


@njit
def linear_elbo(x, W, b, tau2, m, s):
    """(variational-linear-elbo)  L_n = −D/2 log 2πτ² − KL_n
    − 1/2τ² Σ_d ((x_nd − b_d − Σ_c W_dc m_nc)² + Σ_c W_dc² e^2s_nc)
    (n d), (d c), (d), (), (n c), (n c) -> (n)
    """
    N, D = x.shape
    L = -gaussian_kl(m, s)
    for n in range(N):
        L[n] -= D / 2 * np.log(2 * np.pi * tau2)
        for d in range(D):
            r = x[n, d] - b[d] - np.sum(W[d] * m[n])
            spread = np.sum(W[d] ** 2 * np.exp(2 * s[n]))
            L[n] -= (r**2 + spread) / (2 * tau2)
    return L


@njit
def elbo_gap(m, s, mu, P):
    """(variational-elbo-gap)  KL(N(m_n, e^2s_n) ‖ N(μ_n, P⁻¹))
    = ½ (Σ_c (P_cc e^2s_nc − 2 s_nc) + r_nᵀ P r_n − C − log det P),
    r_n = m_n − μ_n
    (n c), (n c), (n c), (c c) -> (n)
    """
    N, C = m.shape
    gap = np.empty_like(m[:, 0])
    fixed = C + np.linalg.slogdet(P)[1]
    for n in range(N):
        off, total = m[n] - mu[n], -fixed
        for c in range(C):
            total += P[c, c] * np.exp(2 * s[n, c]) - 2 * s[n, c]
            total += off[c] * np.sum(P[c] * off)
        gap[n] = total / 2
    return gap


@njit
def ppca_solution(values, vectors, C):
    """(variational-ppca)  τ² = Σ_{d > C} λ_d / (D − C),   W_dc = v_dc √(λ_c − τ²),
    λ, v eigenvalues, the largest first, and eigenvectors of the covariance
    (d), (d d), () -> (d c), ()
    """
    D = values.shape[0]
    tau2 = np.sum(values[C:]) / (D - C)
    W = np.empty((D, C), vectors.dtype)
    for d in range(D):
        for c in range(C):
            W[d, c] = vectors[d, c] * np.sqrt(values[c] - tau2)
    return W, tau2


@njit
def beta_solution(values, vectors, C, level):
    """(variational-level)  W_dc = v_dc √max(λ_c − ℓ, 0),   ℓ = β τ²
    (d), (d d), (), () -> (d c)
    """
    W = np.empty_like(vectors[:, :C])
    for d in range(W.shape[0]):
        for c in range(C):
            W[d, c] = vectors[d, c] * np.sqrt(max(values[c] - level, 0))
    return W


@njit
def water_filling(values, C, level):
    """(variational-water-filling)  rate = Σ_{c ≤ C} ½ log max(λ_c / ℓ, 1),
    error = Σ_{c ≤ C} min(λ_c, ℓ) + Σ_{d > C} λ_d,   ℓ = β τ²
    (d), (), () -> (), ()
    """
    rate, error = values.dtype.type(0), values.dtype.type(0)
    for d in range(values.shape[0]):
        if d < C:
            rate += np.log(max(values[d] / level, 1)) / 2
            error += min(values[d], level)
        else:
            error += values[d]
    return rate, error


# Noise that stands outside


@njit
def reparameterize(m, s, eps):
    """(variational-reparameterize)  z_nc = m_nc + e^s_nc ε_nc
    (n c), (n c), (n c) -> (n c)
    """
    z = np.empty_like(m + s)
    for n in range(m.shape[0]):
        for c in range(m.shape[1]):
            z[n, c] = m[n, c] + np.exp(s[n, c]) * eps[n, c]
    return z


@njit
def reparameterize_gradient(dz, s, eps):
    """(variational-reparameterize-gradient)  dm_nc = dz_nc,   ds_nc = dz_nc e^s_nc ε_nc
    (n c), (n c), (n c) -> (n c), (n c)
    """
    dm, ds = np.empty_like(dz), np.empty_like(dz + s)
    for n in range(dz.shape[0]):
        for c in range(dz.shape[1]):
            dm[n, c] = dz[n, c]
            ds[n, c] = dz[n, c] * np.exp(s[n, c]) * eps[n, c]
    return dm, ds


@njit
def score_function(f, z, m, s, baseline):
    """(variational-score-function)  dm_kc = (f_k − f_0) u_kc e^−s_c,
    ds_kc = (f_k − f_0) (u_kc² − 1),   u_kc = (z_kc − m_c) e^−s_c
    (k), (k c), (c), (c), () -> (k c), (k c)
    """
    dm, ds = np.empty_like(z), np.empty_like(z)
    for k in range(z.shape[0]):
        for c in range(z.shape[1]):
            u = (z[k, c] - m[c]) * np.exp(-s[c])
            dm[k, c] = (f[k] - baseline) * u * np.exp(-s[c])
            ds[k, c] = (f[k] - baseline) * (u**2 - 1)
    return dm, ds


@njit
def score_variance(m, sigma, baseline):
    """(variational-score-variance)  Var = 8m² + 10σ² + 4g + g²/σ²,   g = m² + σ² − f_0:
    of the estimate of d/dm E z² by the score function
    (), (), () -> ()
    """
    g = m**2 + sigma**2 - baseline
    return 8 * m**2 + 10 * sigma**2 + 4 * g + (g / sigma) ** 2


# The network's cost


@njit
def elbo(a, x, m, s, beta):
    """(variational-elbo)
    1/N Σ_n (Σ_d (x_nd a_nd − log(1 + e^a_nd)) − β KL_n)
    (n d), (n d), (n c), (n c), () -> ()
    """
    return -bernoulli_nll(a, x) - beta * np.mean(gaussian_kl(m, s))


@njit
def vae_gradients(dz, m, s, eps, beta):
    """(variational-vae-gradients)  dm_nc = dz_nc + β m_nc / N,
    ds_nc = dz_nc e^s_nc ε_nc + β (e^2s_nc − 1) / N
    (n c), (n c), (n c), (n c), () -> (n c), (n c)
    """
    share = beta / m.shape[0]
    dm, ds = reparameterize_gradient(dz, s, eps)
    pull_m, pull_s = gaussian_kl_gradient(m, s)
    return dm + share * pull_m, ds + share * pull_s


# More draws


@njit
def log_weights(log_px, s, eps, z):
    """(variational-log-weights)
    log w_nk = log p(x_n | z_nk) + Σ_c (s_nc + ½ (ε_nkc² − z_nkc²))
    (n k), (n c), (n k c), (n k c) -> (n k)
    """
    log_w = log_px.copy()
    for n, k, c in np.ndindex(z.shape):
        log_w[n, k] += s[n, c] + (eps[n, k, c] ** 2 - z[n, k, c] ** 2) / 2
    return log_w


@njit
def iwae(log_w):
    """(variational-iwae)  L_n = log 1/K Σ_k e^log_w_nk
    (n k) -> (n)
    """
    return log_sum_exp(log_w) - np.log(log_w.shape[1])


# What a likelihood and a sample are worth


@njit
def bits_per_dimension(log_p, D, levels):
    """(variational-bits)  bits_n = (D log G − log p(y_n)) / (D log 2)
    (n), (), () -> (n)
    """
    bits = np.empty_like(log_p)
    for n in range(log_p.shape[0]):
        bits[n] = (D * np.log(levels) - log_p[n]) / (D * np.log(2))
    return bits


@njit
def mmd2(x, y, h):
    """(variational-mmd)  MMD² = 1/I(I−1) Σ_{i≠j} κ(x_i, x_j)
    + 1/J(J−1) Σ_{i≠j} κ(y_i, y_j) − 2/IJ Σ_ij κ(x_i, y_j),
    κ(u, v) = e^−‖u − v‖²/2h²
    (i d), (j d), () -> ()
    """
    I, J = x.shape[0], y.shape[0]
    total = x.dtype.type(0)
    for i in range(I):
        for j in range(J):
            far = np.sum((x[i] - y[j]) ** 2)
            total -= 2 * np.exp(-far / (2 * h**2)) / (I * J)
    for u in (x, y):
        U = u.shape[0]
        for i in range(U):
            for j in range(U):
                far = np.sum((u[i] - u[j]) ** 2)
                if i != j:
                    total += np.exp(-far / (2 * h**2)) / (U * (U - 1))
    return total


@njit
def permutation_p(found, permuted):
    """(variational-permutation)  p = (1 + Σ_k [t_k ≥ t]) / (1 + K)
    (), (k) -> ()
    """
    as_large = 1.0
    for k in range(permuted.shape[0]):
        as_large += permuted[k] >= found
    return as_large / (1 + permuted.shape[0])


# Public functions


class LinearGaussian(NamedTuple):
    """The model z ~ N(0, I), x = W z + b + τ ε."""

    W: np.ndarray  # (d, c)
    b: np.ndarray  # (d,)
    tau2: float  # variance of the noise of each pixel


def ppca(x: ArrayLike, count: int) -> LinearGaussian:
    """Return the linear Gaussian model under which data are most likely.

    Parameters
    ----------
    x : array_like, shape (n, d)
        Examples, more of them than numbers in one.
    count : int
        How many numbers a code has, fewer than d.

    Returns
    -------
    LinearGaussian

    Raises
    ------
    TypeError, ValueError
        If x is not a finite matrix, count is out of range, or the examples lie in a subspace of
        `count` dimensions, where the likelihood has no bound.

    References
    ----------
    Tipping & Bishop, J. R. Stat. Soc. B 61 (1999), equations 7 and 8.
    """
    x = shapes.Axes().floats("x", x, "n d")
    count = shapes.count("count", count, most=x.shape[1] - 1)
    b = x.mean(axis=0)
    values, vectors = np.linalg.eigh(np.cov(x, rowvar=False, bias=True).reshape(x.shape[1], -1))
    values, vectors = values[::-1], np.ascontiguousarray(vectors[:, ::-1])
    rounding = len(values) * np.finfo(x.dtype).eps
    if values[count] <= rounding * values[0]:
        raise ValueError(
            f"the examples lie in {count} dimensions or fewer, so that the noise would vanish; "
            "use fewer numbers in the code, or more different examples"
        )
    W, tau2 = ppca_solution(values, vectors, count)
    return LinearGaussian(W.astype(x.dtype), b, float(tau2))


class TwoSample(NamedTuple):
    """What a two-sample test found."""

    mmd2: float  # unbiased, may be negative
    p: float  # by permutation
    bandwidth: float


def two_sample(
    x: ArrayLike, y: ArrayLike, rng: np.random.Generator, permutations: int = 199
) -> TwoSample:
    """Test whether two samples come from one distribution, by the maximum mean discrepancy.

    Parameters
    ----------
    x, y : array_like, shapes (i, d) and (j, d)
        Two samples, of two points or more each.
    rng : numpy.random.Generator
        Source of the permutations.
    permutations : int
        How many; the smallest p that can come out is 1/(1 + permutations).

    Returns
    -------
    TwoSample
        The bandwidth of the Gaussian kernel is the median distance of all pairs of points.

    Raises
    ------
    TypeError, ValueError
        If shapes do not fit, numbers are not finite, a sample has fewer than two points, or more
        than half of the pairs coincide.

    References
    ----------
    Gretton et al., J. Mach. Learn. Res. 13 (2012).
    """
    axes = shapes.Axes()
    x, y = axes.floats("x", x, "i d"), axes.floats("y", y, "j d")
    shapes.generator("rng", rng)
    permutations = shapes.count("permutations", permutations)
    for name, sample in (("x", x), ("y", y)):
        if len(sample) < 2:
            raise ValueError(f"{name} has one point; a two-sample test needs two or more")
    both = np.concatenate((x, y)).astype(np.float64)
    far = squared_distances(both, both)
    h = float(np.median(np.sqrt(far[np.triu_indices(len(both), 1)])))
    if h == 0:
        raise ValueError("more than half of all pairs of points coincide; the bandwidth is zero")
    gram = np.exp(-far / (2 * h * h))
    np.fill_diagonal(gram, 0)
    first = np.zeros((permutations + 1, len(both)))
    first[0, : len(x)] = 1
    for row in first[1:]:
        row[rng.permutation(len(both))[: len(x)]] = 1
    t = divided(gram, first)
    # A division that comes up again may differ by rounding
    return TwoSample(float(t[0]), float(permutation_p(t[0] - 1e-12, t[1:])), h)
