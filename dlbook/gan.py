"""Generative adversarial networks: a game of two networks, and measures of what it makes.

Page: ``book/gan.md``. Builds on `linear_classification` (logistic loss, sigmoid) and `neurons`
(layers, leaky rectifiers).

Sources: Goodfellow et al., NIPS 27 (2014), for the game, its best discriminator and its value;
Arjovsky and Bottou, ICLR (2017), for what the second loss measures there;
Arjovsky, Chintala and Bottou, ICML (2017), for critics; Gulrajani et al., NIPS 30 (2017), and
Mescheder, Geiger and Nowozin, ICML (2018), for penalties on a slope; Heusel et al., NIPS 30 (2017),
for the Fréchet distance of samples; Gatys, Ecker and Bethge, CVPR (2016), for style.

Axes: x places of a finite set; n real examples, m generated ones (Ñ); d numbers of an example; h and k
neurons of a critic's first and second layer; i and j maps of features, t their places; r rows, s
columns and c colours of a picture.

Names: p the distribution of real examples, q that of generated ones (x); D what a discriminator
says (x); real (n) and fake (m) scores, whose sigmoids are the probabilities that an example is
real; A (h d), a (h), B (k h), b (k), u (k) the weights of a critic, leak its slope below zero; g
the gradient of the critic by its input (n d), v a direction of the same shape; F maps of features
(i t), G their Gram matrix (i j), T the one that is wanted. dF is ∂loss/∂F.
"""

import numpy as np
from numpy.typing import ArrayLike

from dlbook.linear_classification import logistic_loss, sigmoid
from dlbook.neurons import affine, leaky_relu, leaky_relu_prime
from dlbook.tools import shapes
from dlbook.tools.jit import njit

__all__ = [
    "best_critic",
    "circling",
    "content_loss",
    "critic_loss",
    "discriminator_gradient",
    "discriminator_loss",
    "dual_value",
    "frechet",
    "frechet_distance",
    "generator_slopes",
    "gradient_penalty",
    "gradient_penalty_slope",
    "gram",
    "input_gradient",
    "interpolate",
    "jensen_shannon",
    "non_saturating",
    "non_saturating_at_optimum",
    "optimal_discriminator",
    "penalty_gradient",
    "r1",
    "r1_slope",
    "saturating",
    "score",
    "slope_ratio",
    "style_gradient",
    "style_loss",
    "total_variation",
    "total_variation_gradient",
    "two_numbers",
    "value",
    "value_at_optimum",
    "wasserstein_1d",
    "weight_average",
]


# The game


@njit
def value(p, q, D):
    """(gan-minimax)  V = Σ_x p_x log D_x + Σ_x q_x log(1 − D_x)
    (x), (x), (x) -> ()
    """
    total = 0.0
    for x in range(len(D)):
        if p[x] != 0:
            total += p[x] * np.log(D[x])
        if q[x] != 0:
            total += q[x] * np.log(1 - D[x])
    return total


@njit
def optimal_discriminator(p, q):
    """(gan-optimal-discriminator)  D*_x = p_x / (p_x + q_x)
    (x), (x) -> (x)
    """
    return p / (p + q)


@njit
def jensen_shannon(p, q):
    """(gan-js)  with m_x = (p_x + q_x) / 2:
    JS = ½ Σ_x p_x log(p_x / m_x) + ½ Σ_x q_x log(q_x / m_x)
    (x), (x) -> ()
    """
    total = 0.0
    for x in range(len(p)):
        m = (p[x] + q[x]) / 2
        if p[x] != 0:
            total += p[x] * np.log(p[x] / m)
        if q[x] != 0:
            total += q[x] * np.log(q[x] / m)
    return total / 2


@njit
def value_at_optimum(p, q):
    """(gan-value)  V(D*) = 2 JS(p, q) − log 4
    (x), (x) -> ()
    """
    return 2 * jensen_shannon(p, q) - np.log(4)


@njit
def non_saturating_at_optimum(p, q):
    """(gan-reverse)  KL(q ‖ p) − 2 JS(p, q), KL(q ‖ p) = Σ_x q_x log(q_x/p_x)
    slope by q that of −Σ_x q_x log D*_x with D* held, but for a constant
    (x), (x) -> ()
    """
    total = 0.0
    for x in range(len(q)):
        if q[x] != 0:
            total += q[x] * np.log(q[x] / p[x])
    return total - 2 * jensen_shannon(p, q)


# Losses from scores


@njit
def discriminator_loss(real, fake):
    """(gan-discriminator-loss)
    1/N Σ_n log(1 + e^(−real_n)) + 1/Ñ Σ_m log(1 + e^(fake_m))
    (n), (m) -> ()
    """
    return np.mean(logistic_loss(real)) + np.mean(logistic_loss(-fake))


@njit
def discriminator_gradient(real, fake):
    """(gan-discriminator-gradient)  −σ(−real_n) / N,  σ(fake_m) / Ñ
    (n), (m) -> (n), (m)
    """
    return -sigmoid(-real) / len(real), sigmoid(fake) / len(fake)


@njit
def saturating(fake):
    """(gan-saturating)  1/Ñ Σ_m log(1 − σ(fake_m)) = −1/Ñ Σ_m log(1 + e^(fake_m))
    (m) -> ()
    """
    return -np.mean(logistic_loss(-fake))


@njit
def non_saturating(fake):
    """(gan-non-saturating)  −1/Ñ Σ_m log σ(fake_m) = 1/Ñ Σ_m log(1 + e^(−fake_m))
    (m) -> ()
    """
    return np.mean(logistic_loss(fake))


@njit
def generator_slopes(fake):
    """(gan-slopes)  −σ(fake_m) / Ñ,  −σ(−fake_m) / Ñ
    (m) -> (m), (m)
    """
    return -sigmoid(fake) / len(fake), -sigmoid(-fake) / len(fake)


@njit
def slope_ratio(fake):
    """(gan-ratio)  σ(−fake_m) / σ(fake_m) = e^(−fake_m)
    (m) -> (m)
    """
    return np.exp(-fake)


# Moving earth


@njit
def wasserstein_1d(x, y):
    """(gan-wasserstein-1d)  1/N Σ_n |x_(n) − y_(n)|,  both sorted
    (n), (n) -> ()
    """
    return np.mean(np.abs(np.sort(x) - np.sort(y)))


@njit
def dual_value(p, q, f):
    """(gan-kantorovich)  Σ_x (p_x − q_x) f_x, at most the cost of any plan
    (x), (x), (x) -> ()
    """
    total = 0.0
    for x in range(len(f)):
        total += (p[x] - q[x]) * f[x]
    return total


@njit
def best_critic(p, q, at):
    """(gan-best-critic)  f_0 = 0,
    f_{x+1} = f_x − sign(Σ_{y ≤ x} (p_y − q_y)) (at_{x+1} − at_x)
    (x), (x), (x) -> (x)
    """
    f, left = np.zeros_like(at), 0.0
    for x in range(len(at) - 1):
        left += p[x] - q[x]
        f[x + 1] = f[x] - np.sign(left) * (at[x + 1] - at[x])
    return f


@njit
def critic_loss(real, fake):
    """(gan-critic)  1/Ñ Σ_m fake_m − 1/N Σ_n real_n
    (n), (m) -> ()
    """
    return np.mean(fake) - np.mean(real)


# The slope of a critic


@njit
def score(x, A, a, B, b, u, leak):
    """(gan-score)  with φ(z) = z where z > 0, else leak z:
    s_n = Σ_k u_k φ(b_k + Σ_h B_kh φ(a_h + Σ_d A_hd x_nd))
    (n d), (h d), (h), (k h), (k), (k), () -> (n)
    """
    y = leaky_relu(affine(leaky_relu(affine(x, A, a), leak), B, b), leak)
    s = np.empty(len(y), y.dtype)
    for n in range(len(y)):
        s[n] = np.sum(u * y[n])
    return s


@njit
def input_gradient(x, A, a, B, b, u, leak):
    """(gan-input-gradient)  with α_nh and β_nk the slopes of φ in both layers:
    ∂s_n/∂x_nd = Σ_h α_nh A_hd Σ_k β_nk B_kh u_k
    (n d), (h d), (h), (k h), (k), (k), () -> (n d)
    """
    z = affine(x, A, a)
    y = affine(leaky_relu(z, leak), B, b)
    alpha = leaky_relu_prime(z.real, leak)
    beta = leaky_relu_prime(y.real, leak)
    g = np.zeros(x.shape, A.dtype)
    for n in range(len(x)):
        for h in range(len(A)):
            down = np.sum(beta[n] * B[:, h] * u)
            g[n] += alpha[n, h] * down * A[h]
    return g


@njit
def interpolate(x, y, t):
    """(gan-between)  t_n x_nd + (1 − t_n) y_nd
    (n d), (n d), (n) -> (n d)
    """
    z = np.empty_like(x)
    for n in range(len(x)):
        z[n] = t[n] * x[n] + (1 - t[n]) * y[n]
    return z


@njit
def gradient_penalty(g, strength):
    """(gan-gradient-penalty)  λ/N Σ_n (√(Σ_d g_nd²) − 1)²
    (n d), () -> ()
    """
    total = 0.0
    for n in range(len(g)):
        total += (np.sqrt(np.sum(g[n] * g[n])) - 1) ** 2
    return strength * total / len(g)


@njit
def gradient_penalty_slope(g, strength):
    """(gan-gradient-penalty-slope)  2λ/N (1 − 1/√(Σ_d g_nd²)) g_nd, zero where g is
    (n d), () -> (n d)
    """
    v = np.zeros_like(g)
    for n in range(len(g)):
        length = np.sqrt(np.sum(g[n] * g[n]))
        if length != 0:
            v[n] = 2 * strength / len(g) * (1 - 1 / length) * g[n]
    return v


@njit
def r1(g, gamma):
    """(gan-r1)  γ/(2N) Σ_n Σ_d g_nd²
    (n d), () -> ()
    """
    return gamma / 2 * np.sum(g * g) / len(g)


@njit
def r1_slope(g, gamma):
    """(gan-r1-slope)  γ/N g_nd
    (n d), () -> (n d)
    """
    return gamma / len(g) * g


@njit
def penalty_gradient(x, A, a, B, b, u, leak, v):
    """(gan-penalty-gradient)  with e_nh = α_nh Σ_d A_hd v_nd and all n summed:
    dA_hd = α_nh Σ_k β_nk B_kh u_k v_nd,  dB_kh = β_nk u_k e_nh,
    du_k = β_nk Σ_h B_kh e_nh
    (n d), (h d), (h), (k h), (k), (k), (), (n d) -> (h d), (k h), (k)
    """
    z = affine(x, A, a)
    y = affine(leaky_relu(z, leak), B, b)
    alpha, beta = leaky_relu_prime(z, leak), leaky_relu_prime(y, leak)
    dA, dB, du = np.zeros_like(A), np.zeros_like(B), np.zeros_like(u)
    for n in range(len(x)):
        for h in range(len(A)):
            down = np.sum(beta[n] * B[:, h] * u)
            e = alpha[n, h] * np.sum(A[h] * v[n])
            dA[h] += alpha[n, h] * down * v[n]
            dB[:, h] += beta[n] * u * e
            du += beta[n] * B[:, h] * e
    return dA, dB, du


@njit
def two_numbers(theta, psi, rate, gamma):
    """(gan-two-numbers)  θ ← θ + η σ(−ψθ) ψ,  ψ ← ψ − η (σ(ψθ) θ + γ ψ)
    (), (), (), () -> (), ()
    """
    s = psi * theta
    up = theta + rate * sigmoid(-s) * psi
    return up, psi - rate * (sigmoid(s) * theta + gamma * psi)


@njit
def circling(rate, gamma):
    """(gan-circling)  |ζ|² = 1 − η γ + η² / 4,  γ below one
    (), () -> ()
    """
    return 1 - rate * gamma + rate**2 / 4


@njit
def weight_average(mean, w, rate):
    """(gan-weight-average)  mean ← mean + ρ (w − mean)
    (any shape), (the same shape), () -> (the same shape)
    """
    return mean + rate * (w - mean)


# Judging samples


@njit
def frechet(mu, nu, S, R, e):
    """(gan-frechet)  Σ_d (μ_d − ν_d)² + Σ_d (S_dd + R_dd − 2 √e_d)
    (d), (d), (d d), (d d), (d) -> ()
    """
    total = 0.0
    for d in range(len(mu)):
        total += (mu[d] - nu[d]) ** 2
        total += S[d, d] + R[d, d] - 2 * np.sqrt(e[d])
    return total


# The style of a picture


@njit
def content_loss(F, wanted):
    """(gan-content-loss)  ½ Σ_it (F_it − wanted_it)²
    (i t), (i t) -> ()
    """
    return np.sum((F - wanted) ** 2) / 2


@njit
def gram(F):
    """(gan-gram)  G_ij = 1/M Σ_t F_it F_jt
    (i t) -> (i j)
    """
    maps, M = F.shape
    G = np.empty((maps, maps), F.dtype)
    for i in range(maps):
        for j in range(maps):
            G[i, j] = np.sum(F[i] * F[j]) / M
    return G


@njit
def style_loss(G, T):
    """(gan-style-loss)  Σ_ij (G_ij − T_ij)² / Σ_ij T_ij²
    (i j), (i j) -> ()
    """
    return np.sum((G - T) ** 2) / np.sum(T**2)


@njit
def style_gradient(F, T):
    """(gan-style-gradient)  4 / (M Σ_ij T_ij²) Σ_j (G_ij − T_ij) F_jt
    (i t), (i j) -> (i t)
    """
    G, M = gram(F), F.shape[1]
    dF = np.zeros_like(F)
    for i in range(len(F)):
        for j in range(len(F)):
            dF[i] += (G[i, j] - T[i, j]) * F[j]
    return 4 / (M * np.sum(T**2)) * dF


@njit
def total_variation(Y):
    """(gan-total-variation)
    Σ_rsc (Y_{r+1,s,c} − Y_rsc)² + Σ_rsc (Y_{r,s+1,c} − Y_rsc)²
    (r s c) -> ()
    """
    total, (R, S, C) = 0.0, Y.shape
    for r in range(R):
        for s in range(S):
            for c in range(C):
                if r + 1 < R:
                    total += (Y[r + 1, s, c] - Y[r, s, c]) ** 2
                if s + 1 < S:
                    total += (Y[r, s + 1, c] - Y[r, s, c]) ** 2
    return total


@njit
def total_variation_gradient(Y):
    """(gan-total-variation-gradient)
    2 Σ (Y_rsc − Y′),  Y′ above, below, left and right of Y_rsc
    (r s c) -> (r s c)
    """
    dY, (R, S, C) = np.zeros_like(Y), Y.shape
    for r in range(R):
        for s in range(S):
            for c in range(C):
                if r + 1 < R:
                    step = 2 * (Y[r + 1, s, c] - Y[r, s, c])
                    dY[r, s, c] -= step
                    dY[r + 1, s, c] += step
                if s + 1 < S:
                    step = 2 * (Y[r, s + 1, c] - Y[r, s, c])
                    dY[r, s, c] -= step
                    dY[r, s + 1, c] += step
    return dY


# What a reader calls


def frechet_distance(x: ArrayLike, y: ArrayLike) -> float:
    """Return the squared Fréchet distance between Gaussians fitted to two sets of examples.

    Parameters
    ----------
    x, y : array_like of shape (n, d) and (m, d)
        Examples in rows, two or more of each, in pixels or as what a network says of them.

    Returns
    -------
    float
        Zero where means and covariances agree, whatever else differs. Covariances are divided by
        n − 1 and by m − 1; with few examples the distance is too large on average.

    Raises
    ------
    TypeError, ValueError
        For wrong shapes, NaN, or a single example.

    References
    ----------
    Heusel et al., NIPS 30 (2017).
    """
    axes = shapes.Axes()
    x, y = axes.floats("x", x, "n d"), axes.floats("y", y, "m d")
    for name, some in (("x", x), ("y", y)):
        if len(some) < 2:
            raise ValueError(f"{name} has one example, and one has no covariance")
    S, R = (np.atleast_2d(np.cov(some, rowvar=False)) for some in (x, y))
    lengths, U = np.linalg.eigh(S)
    root = U * np.sqrt(np.maximum(lengths, 0)) @ U.T
    e = np.maximum(np.linalg.eigvalsh(root @ R @ root), 0)
    return float(frechet(x.mean(axis=0), y.mean(axis=0), S, R, e))
