"""Autoencoders: a network learns to repeat its input through a narrow place, or against a handicap.

Page: ``book/autoencoders.md``. Builds on `training` (dense layers over given memory, the loop's form
of a model), `convolution` (layers with the channels last), `neurons`, `linear_classification`
(sigmoid, softmax) and `matmul` (distances).

Sources: Eckart & Young, Psychometrika 1 (1936); Bourlard & Kamp, Biol. Cybern. 59 (1988), and Baldi
& Hornik, Neural Networks 2 (1989), for the linear case; Hinton & Salakhutdinov, Science 313 (2006);
Vincent et al., ICML (2008), for noise; Rifai et al., ICML (2011), for contraction.

Axes: n examples; k inputs (pixels) and outputs; j numbers of the code; m grey levels; i code numbers
kept by PCA; c, h, w channels, rows and columns of an image.

Names: x input, h code, x_hat reconstruction, a what the last layer gives before any bend, u uniform
and eps normal random numbers; dx = ∂C/∂x and so on for every other letter. Costs are means over the
batch and sums over the numbers of an example.
"""
# ruff: noqa: E741

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from dlbook import convolution
from dlbook.linear_classification import sigmoid, softmax
from dlbook.matmul import PANEL_BYTES, squared_distances
from dlbook.neurons import affine
from dlbook.tools import elementary, shapes, units
from dlbook.tools.elementary import decay
from dlbook.tools.flat import Layout, belong, fits, laid_out, step_fits
from dlbook.tools.jit import check_indices, njit, njit_fast
from dlbook.tools.simd import aligned
from dlbook.training import (
    cut_up,
    dense_backward_into,
    dense_input_into,
    dense_into,
    he,
    rectify,
    through,
    xavier,
)

__all__ = [
    "Autoencoder",
    "Coder",
    "ConvAutoencoder",
    "ConvCoder",
    "ConvWork",
    "Principal",
    "Stage",
    "Work",
    "bernoulli_into",
    "bernoulli_nll",
    "bend",
    "bernoulli_nll_gradient",
    "categorical_nll",
    "categorical_nll_gradient",
    "coder_forward",
    "coder_step",
    "contract_into",
    "contractive",
    "contractive_gradient",
    "corrupt",
    "denoising",
    "denoising_linear",
    "eckart_young",
    "gaussian_into",
    "gaussian_nll",
    "gaussian_nll_gradient",
    "kl_gradient",
    "kl_penalty",
    "l1_gradient",
    "l1_penalty",
    "linear_gradient",
    "mask",
    "mean_activation",
    "neighbours",
    "penalize_into",
    "precision",
    "principal_angles",
    "principal_components",
    "principal_sines",
    "reconstruction",
    "upsample",
    "upsample_back_into",
    "upsample_backward",
    "upsample_into",
]

# What is asked of a reconstruction


@njit
def reconstruction(x_hat, x):
    """(autoencoders-reconstruction)  C = 1/2N Σ_nk (x̂_nk − x_nk)²
    (n k), (n k) -> ()
    """
    total = x_hat.dtype.type(0)
    for n in range(x.shape[0]):
        for k in range(x.shape[1]):
            total += (x_hat[n, k] - x[n, k]) ** 2
    return total / (2 * x.shape[0])


@njit
def linear_gradient(x, w1, w2):
    """(autoencoders-linear-gradient)  dw2_kj = Σ_n r_nk h_nj / N,
    dw1_jk = Σ_n (Σ_i r_ni w2_ij) x_nk / N,   h = x w1ᵀ,  r = h w2ᵀ − x
    (n k), (j k), (k j) -> (j k), (k j)
    """
    none_k, none_j = np.zeros_like(w2[:, 0]), np.zeros_like(w1[:, 0])
    h = affine(x, w1, none_j)
    r = affine(h, w2, none_k) - x
    back = affine(r, w2.T, none_j)
    dw1, dw2 = np.zeros_like(w1), np.zeros_like(w2)
    for n in range(x.shape[0]):
        for k in range(x.shape[1]):
            for j in range(w1.shape[0]):
                dw2[k, j] += r[n, k] * h[n, j] / x.shape[0]
                dw1[j, k] += back[n, j] * x[n, k] / x.shape[0]
    return dw1, dw2


@njit
def principal_sines(u, v):
    """(autoencoders-linear-pca)  sin θ_i = σ_i(v − u uᵀ v), columns of u and v orthonormal
    (k i), (k j) -> (j)
    """
    rest = v.copy()
    for i in range(u.shape[1]):
        for j in range(v.shape[1]):
            along = v.dtype.type(0)
            for k in range(v.shape[0]):
                along += u[k, i] * v[k, j]
            for k in range(v.shape[0]):
                rest[k, j] -= u[k, i] * along
    return np.linalg.svd(rest)[1][: v.shape[1]]


@njit
def eckart_young(s, I, N):
    """(autoencoders-eckart-young)  bound = 1/2N Σ_{i > I} s_i²
    (i), (), () -> ()
    """
    total = s.dtype.type(0)
    for i in range(I, s.shape[0]):
        total += s[i] ** 2
    return total / (2 * N)


# Sparse codes


@njit
def l1_penalty(h):
    """(autoencoders-l1-sparsity)  Ω = 1/N Σ_nj |h_nj|
    (n j) -> ()
    """
    total = h.dtype.type(0)
    for n in range(h.shape[0]):
        for j in range(h.shape[1]):
            total += abs(h[n, j])
    return total / h.shape[0]


@njit
def l1_gradient(h):
    """∂Ω/∂h_nj = sign(h_nj) / N, zero at zero
    (n j) -> (n j)
    """
    dh = np.empty_like(h)
    for n in range(h.shape[0]):
        for j in range(h.shape[1]):
            dh[n, j] = np.sign(h[n, j]) / h.shape[0]
    return dh


@njit
def mean_activation(h):
    """(autoencoders-rho-hat)  ρ̂_j = 1/N Σ_n h_nj
    (n j) -> (j)
    """
    rho_hat = np.zeros_like(h[0])
    for n in range(h.shape[0]):
        for j in range(h.shape[1]):
            rho_hat[j] += h[n, j] / h.shape[0]
    return rho_hat


@njit
def kl_penalty(rho_hat, rho):
    """(autoencoders-kl-sparsity)
    Ω = Σ_j (ρ log(ρ / ρ̂_j) + (1 − ρ) log((1 − ρ) / (1 − ρ̂_j)))
    (j), () -> ()
    """
    total = rho_hat.dtype.type(0)
    for j in range(rho_hat.shape[0]):
        total += rho * np.log(rho / rho_hat[j])
        total += (1 - rho) * np.log((1 - rho) / (1 - rho_hat[j]))
    return total


@njit
def kl_gradient(h, rho):
    """(autoencoders-kl-gradient)  ∂Ω/∂h_nj = ((1 − ρ)/(1 − ρ̂_j) − ρ/ρ̂_j) / N
    (n j), () -> (n j)
    """
    rho_hat, dh = mean_activation(h), np.empty_like(h)
    for n in range(h.shape[0]):
        for j in range(h.shape[1]):
            slope = (1 - rho) / (1 - rho_hat[j]) - rho / rho_hat[j]
            dh[n, j] = slope / h.shape[0]
    return dh


# Handicaps: noise, and a code that must not move


@njit
def denoising(x, eps, sigma, w1, b1, w2, b2):
    """(autoencoders-denoising)  C = 1/2N Σ_n ‖w2 σ(w1 x̃_n + b1) + b2 − x_n‖²,
    x̃_n = x_n + s ε_n
    (n k), (n k), (), (j k), (j), (k j), (k) -> ()
    """
    noisy = x + sigma * eps
    h = sigmoid(affine(noisy, w1, b1))
    return reconstruction(affine(h, w2, b2), x)


@njit
def denoising_linear(x, w, sigma):
    """(autoencoders-denoising-linear)
    E C = 1/2N Σ_n ‖w x_n − x_n‖² + s²/2 Σ_ik w_ik²
    (n k), (k k), () -> ()
    """
    clean = reconstruction(affine(x, w, np.zeros_like(x[0])), x)
    square = w.dtype.type(0)
    for i in range(w.shape[0]):
        for k in range(w.shape[1]):
            square += w[i, k] ** 2
    return clean + sigma * sigma / 2 * square


@njit
def mask(x, u, p):
    """x̃_nk = x_nk where u_nk ≥ p, else 0
    (n k), (n k), () -> (n k)
    """
    kept = np.zeros_like(x)
    for n in range(x.shape[0]):
        for k in range(x.shape[1]):
            if u[n, k] >= p:
                kept[n, k] = x[n, k]
    return kept


@njit
def contractive(x, w, b):
    """(autoencoders-contractive)  Ω = 1/N Σ_n ‖∂h_n/∂x_n‖²
    = 1/N Σ_nj (h_nj (1 − h_nj))² Σ_k w_jk²,   h = σ(x wᵀ + b)
    (n k), (j k), (j) -> ()
    """
    h = sigmoid(affine(x, w, b))
    total = h.dtype.type(0)
    for j in range(w.shape[0]):
        square = w.dtype.type(0)
        for k in range(w.shape[1]):
            square += w[j, k] ** 2
        for n in range(x.shape[0]):
            total += (h[n, j] * (1 - h[n, j])) ** 2 * square
    return total / x.shape[0]


@njit
def contractive_gradient(x, w, b):
    """(autoencoders-contractive-gradient)  db_j = 2/N Σ_n q_nj,
    dw_jk = 2/N Σ_n (s_nj² w_jk + q_nj x_nk),
    s = h(1 − h),   q_nj = s_nj² (1 − 2 h_nj) Σ_k w_jk²
    (n k), (j k), (j) -> (j k), (j)
    """
    h, N = sigmoid(affine(x, w, b)), x.shape[0]
    dw, db = np.zeros_like(w), np.zeros_like(b)
    for j in range(w.shape[0]):
        square = np.sum(w[j] * w[j])
        for n in range(N):
            s2 = (h[n, j] * (1 - h[n, j])) ** 2
            q = s2 * (1 - 2 * h[n, j]) * square
            db[j] += 2 * q / N
            for k in range(w.shape[1]):
                dw[j, k] += 2 * (s2 * w[j, k] + q * x[n, k]) / N
    return dw, db


# Outputs as distributions


@njit
def gaussian_nll(x_hat, x, variance):
    """(autoencoders-gaussian-nll)
    1/N Σ_nk ((x_nk − x̂_nk)² / 2v + ½ log 2πv)
    (n k), (n k), () -> ()
    """
    total, (N, K) = x_hat.dtype.type(0), x.shape
    for n in range(N):
        for k in range(K):
            total += (x[n, k] - x_hat[n, k]) ** 2
    return total / (2 * N * variance) + K / 2 * np.log(2 * np.pi * variance)


@njit
def gaussian_nll_gradient(x_hat, x, variance):
    """dx̂_nk = (x̂_nk − x_nk) / (N v)
    (n k), (n k), () -> (n k)
    """
    dx_hat = np.empty_like(x_hat)
    for n in range(x.shape[0]):
        for k in range(x.shape[1]):
            dx_hat[n, k] = (x_hat[n, k] - x[n, k]) / (x.shape[0] * variance)
    return dx_hat


@njit
def bernoulli_nll(a, x):
    """(autoencoders-bernoulli-nll)  −1/N Σ_nk (x_nk log p_nk + (1 − x_nk) log(1 − p_nk))
    = 1/N Σ_nk (log(1 + e^a_nk) − x_nk a_nk),   p = σ(a)
    (n k), (n k) -> ()
    """
    total = a.dtype.type(0)
    for n in range(x.shape[0]):
        for k in range(x.shape[1]):
            v = a[n, k]
            if v.real > 0:  # log(1 + e^v) = v + log(1 + e^−v)
                total += v - x[n, k] * v + np.log(1 + np.exp(-v))
            else:
                total += np.log(1 + np.exp(v)) - x[n, k] * v
    return total / x.shape[0]


@njit
def bernoulli_nll_gradient(a, x):
    """da_nk = (σ(a_nk) − x_nk) / N
    (n k), (n k) -> (n k)
    """
    da, p = np.empty_like(a), sigmoid(a)
    for n in range(x.shape[0]):
        for k in range(x.shape[1]):
            da[n, k] = (p[n, k] - x[n, k]) / x.shape[0]
    return da


@njit(whole="x")
def categorical_nll(a, x):
    """(autoencoders-categorical-nll)
    1/N Σ_nk (log Σ_m e^a_nkm − a_nk,x_nk)
    (n k m), (n k) -> ()
    """
    N, K, M = a.shape
    check_indices(x, M)
    total = a.dtype.type(0)
    for n in range(N):
        for k in range(K):
            p = softmax(a[n, k : k + 1])
            total -= np.log(p[0, x[n, k]])
    return total / N


@njit(whole="x")
def categorical_nll_gradient(a, x):
    """da_nkm = (softmax(a_nk)_m − [m = x_nk]) / N
    (n k m), (n k) -> (n k m)
    """
    check_indices(x, a.shape[2])
    da = np.empty_like(a)
    for n in range(a.shape[0]):
        da[n] = softmax(a[n])
        for k in range(a.shape[1]):
            da[n, k, x[n, k]] -= 1
    return da / a.shape[0]


# Larger images from smaller ones


@njit
def upsample(x):
    """(autoencoders-upsample)  y_nchw = x_n,c,⌊h/2⌋,⌊w/2⌋
    (n c h w) -> (n c 2h 2w)
    """
    N, C, H, W = x.shape
    y = np.empty((N, C, 2 * H, 2 * W), x.dtype)
    for n, c, h, w in np.ndindex(y.shape):
        y[n, c, h, w] = x[n, c, h // 2, w // 2]
    return y


@njit
def upsample_backward(dy):
    """dx_n,c,⌊h/2⌋,⌊w/2⌋ += dy_nchw
    (n c 2h 2w) -> (n c h w)
    """
    N, C, H, W = dy.shape
    dx = np.zeros((N, C, H // 2, W // 2), dy.dtype)
    for n, c, h, w in np.ndindex(dy.shape):
        dx[n, c, h // 2, w // 2] += dy[n, c, h, w]
    return dx


# Retrieval


@njit(whole="found y")
def precision(found, y):
    """(autoencoders-precision)  P@k = 1/(N k) Σ_n Σ_{i ≤ k} [found_ni = y_n]
    (n i), (n) -> ()
    """
    right = 0
    for n in range(found.shape[0]):
        for i in range(found.shape[1]):
            right += found[n, i] == y[n]
    return right / found.size


# The same, fast: one call for a whole step, into memory that is there


@njit_fast
def gaussian_into(a, x):
    """a_nk becomes δ_nk = (a_nk − x_nk) / N; returns the cost 1/2N Σ (a − x)²
    (n k), (n k) -> ()
    """
    N, share, loss = a.shape[0], a.dtype.type(1 / a.shape[0]), 0.0
    for n in range(N):
        total = a.dtype.type(0)
        for k in range(a.shape[1]):
            apart = a[n, k] - x[n, k]
            total += apart * apart
            a[n, k] = apart * share
        loss += total
    return loss / (2 * N)


@njit_fast
def bernoulli_into(a, x):
    """a_nk becomes δ_nk = (σ(a_nk) − x_nk) / N; returns the cost
    (n k), (n k) -> ()

    log(1 + e^a) = max(a, 0) + log(1 + e^−|a|). The factors 1 + e^−|a| lie between 1 and 2, so
    that 512 of them are multiplied before one logarithm is taken.
    """
    (N, K), one, zero = a.shape, a.dtype.type(1), a.dtype.type(0)
    share, loss = a.dtype.type(1 / N), 0.0
    for n in range(N):
        for first in range(0, K, 512):
            row, want = a[n, first : first + 512], x[n, first : first + 512]
            total, product = zero, 1.0
            for k in range(row.size):
                e = decay(-abs(row[k]))
                up = row[k] > zero
                total += (row[k] if up else zero) - want[k] * row[k]
                product *= np.float64(one + e)
                p = (one if up else e) / (one + e)
                row[k] = (p - want[k]) * share
            loss += total + np.log(product)
    return loss / N


@njit_fast
def bend(z, kind):
    """Apply an activation in place: rectifier (0), sigmoid (1), tanh (2), none (3)"""
    if kind == 0:
        rectify(z, 0.0)
    elif kind == 1:
        elementary.sigmoid(z, z)
    elif kind == 2:
        elementary.tanh(z, z)


@njit_fast
def penalize_into(h, dh, l1, kl, rho, means):
    """Add the gradients of l1 Ω_1 and kl Ω_KL to dh; returns what they add to the cost
    (n j), (), (), () -> (n j), (j)
    """
    (N, J), loss = h.shape, 0.0
    share, zero = h.dtype.type(l1 / N), h.dtype.type(0)
    if l1 > 0:
        for n in range(N):
            total = zero
            for j in range(J):
                total += abs(h[n, j])
                dh[n, j] += share if h[n, j] > zero else (-share if h[n, j] < zero else zero)
            loss += l1 * total / N
    if kl > 0:
        means[:] = 0
        for n in range(N):
            for j in range(J):
                means[j] += h[n, j]
        for j in range(J):
            q = np.float64(means[j]) / N
            loss += kl * (rho * np.log(rho / q) + (1 - rho) * np.log((1 - rho) / (1 - q)))
            means[j] = kl / N * ((1 - rho) / (1 - q) - rho / q)
        for n in range(N):
            for j in range(J):
                dh[n, j] += means[j]
    return loss


@njit_fast
def contract_into(w, h, scale, delta, means):
    """Add the gradient of scale · Ω by z to δ; `means` gets the factor of w in that by w
    (j k), (n j), () -> (n j), (j)
    """
    (N, J), loss = h.shape, 0.0
    one, two = h.dtype.type(1), h.dtype.type(2)
    share = h.dtype.type(2 * scale / N)
    for j in range(J):
        square = h.dtype.type(0)
        for k in range(w.shape[1]):
            square += w[j, k] * w[j, k]
        total = h.dtype.type(0)
        for n in range(N):
            s = h[n, j] - h[n, j] * h[n, j]
            total += s * s
            delta[n, j] += share * s * s * (one - two * h[n, j]) * square
        means[j] = share * total
        loss += scale * total * square / N
    return loss


@njit_fast
def coder_forward(flat, sizes, bends, x, a, panels):
    """Fill `a` with x and what each layer gives, one after the other; returns where they end
    (parameters), (l), (l), (n k), (numbers), (numbers) -> (numbers)
    """
    N, at, place = x.shape[0], 0, x.size
    a[:place].reshape(x.shape)[:] = x
    for l in range(1, sizes.size):
        K, J = sizes[l - 1], sizes[l]
        w = flat[at : at + J * K].reshape(J, K)
        b = flat[at + J * K : at + J * K + J]
        z = a[place : place + N * J].reshape(N, J)
        dense_into(a[place - N * K : place].reshape(N, K), w, b, panels, z)
        bend(z, bends[l])
        at, place = at + J * (K + 1), place + N * J
    return place


@njit_fast
def coder_step(flat, sizes, bends, code, bits, weights, x, target, grads, a, da, panels, means):
    """Fill the flat gradient of cost and penalties; returns their sum
    (parameters), (l), (l), (), (), (4), (n k), (n k) -> (parameters)

    `weights` are those of the L1, KL and contractive penalties and ρ; `bits` chooses the cost:
    Bernoulli or Gaussian. `code` is the index of the code in `sizes`.
    """
    N, L = x.shape[0], sizes.size
    place, at = coder_forward(flat, sizes, bends, x, a, panels), flat.size
    delta = a[place - N * sizes[L - 1] : place].reshape(N, sizes[L - 1])
    loss = bernoulli_into(delta, target) if bits else gaussian_into(delta, target)
    for l in range(L - 1, 0, -1):
        K, J = sizes[l - 1], sizes[l]
        at, place = at - J * (K + 1), place - N * J
        w = flat[at : at + J * K].reshape(J, K)
        dw = grads[at : at + J * K].reshape(J, K)
        db = grads[at + J * K : at + J * K + J]
        h = a[place - N * K : place].reshape(N, K)
        dense_backward_into(delta, h, panels, dw, db)
        if l > 1:
            below = da[place - N * K : place].reshape(N, K)
            dense_input_into(delta, w, panels, below)
            if l - 1 == code:
                loss += penalize_into(h, below, weights[0], weights[1], weights[3], means)
            if bends[l - 1] < 3:
                through(below, h, bends[l - 1], 0.0)
            if l - 1 == code and weights[2] > 0:
                first = flat[: K * sizes[0]].reshape(K, sizes[0])
                loss += contract_into(first, h, weights[2], below, means)
            delta = below
        elif weights[2] > 0:
            for j in range(J):
                for k in range(K):
                    dw[j, k] += means[j] * w[j, k]
    return loss


@njit_fast
def upsample_into(x, y):
    """`upsample` with channels last, s times as large as the shapes say
    (n h w c) -> (n sh sw c)
    """
    s = y.shape[1] // x.shape[1]
    for n in range(x.shape[0]):
        for h in range(y.shape[1]):
            for w in range(y.shape[2]):
                there, here = y[n, h, w], x[n, h // s, w // s]
                for c in range(here.size):
                    there[c] = here[c]


@njit_fast
def upsample_back_into(dy, dx):
    """`upsample_backward` with channels last
    (n sh sw c) -> (n h w c)
    """
    s = dy.shape[1] // dx.shape[1]
    dx[:] = 0
    for n in range(dx.shape[0]):
        for h in range(dy.shape[1]):
            for w in range(dy.shape[2]):
                there, here = dx[n, h // s, w // s], dy[n, h, w]
                for c in range(here.size):
                    there[c] += here[c]


# Public functions


class Principal(NamedTuple):
    """The principal components of data."""

    mean: np.ndarray  # (k,)
    components: np.ndarray  # (i, k), orthonormal rows, the strongest first
    s: np.ndarray  # (i,), singular values of the centred data


def principal_components(x: ArrayLike) -> Principal:
    """Return mean, principal directions and singular values of data.

    Parameters
    ----------
    x : array_like, shape (n, k)
        Examples.

    Returns
    -------
    Principal
        With i = min(n, k) directions. The first I of them give the best reconstruction of the data
        from I numbers by linear maps.

    References
    ----------
    Eckart & Young, Psychometrika 1 (1936).
    """
    x = shapes.Axes().floats("x", x, "n k")
    unit = units.powers(x)  # a power of two: sums do not overflow
    x = np.ldexp(x, -unit)
    mean = x.mean(axis=0, dtype=np.float64)  # sums of many float32 lose digits in float32
    centred = (x - mean).astype(x.dtype)
    _, s, components = np.linalg.svd(centred, full_matrices=False)
    return Principal(np.ldexp(mean.astype(x.dtype), unit), components, np.ldexp(s, unit))


def principal_angles(a: ArrayLike, b: ArrayLike) -> np.ndarray:
    """Return the angles between the spaces that the columns of two matrices span.

    Parameters
    ----------
    a, b : array_like, shapes (k, i) and (k, j)
        With i ≥ j; of full column rank.

    Returns
    -------
    ndarray, shape (j,)
        In radians, the largest first; exact for small angles, and to 1e-8 near a right one.

    Raises
    ------
    TypeError, ValueError
        If the shapes do not fit, or columns depend on each other.
    """
    axes = shapes.Axes()
    a, b = axes.floats("a", a, "k i"), axes.floats("b", b, "k j")
    if a.shape[1] < b.shape[1]:
        raise ValueError(f"a has {a.shape[1]} columns, fewer than b, which has {b.shape[1]}")
    bases = []
    for name, part in (("a", a), ("b", b)):
        columns = np.ldexp(part.astype(np.float64), -units.powers(part, axis=0))
        rounding = max(2 * np.finfo(part.dtype).eps, max(part.shape) * np.finfo(np.float64).eps)
        if np.linalg.matrix_rank(columns, rtol=rounding) < part.shape[1]:
            raise ValueError(f"the columns of {name} depend on each other")
        bases.append(np.linalg.qr(columns)[0])
    return np.arcsin(np.minimum(principal_sines(*bases), 1)).astype(np.result_type(a, b))


KINDS_OF_NOISE = ("gaussian", "mask")


def corrupt(x: ArrayLike, noise: str, level: float, rng: np.random.Generator) -> np.ndarray:
    """Return data with fresh noise.

    Parameters
    ----------
    x : array_like, shape (n, k)
        Examples.
    noise : {"gaussian", "mask"}
        Normal numbers are added, or numbers are set to zero.
    level : float
        Standard deviation, or the probability of being set to zero.
    rng : numpy.random.Generator
        Source of the noise.

    Returns
    -------
    ndarray, shape (n, k), of the dtype of x
    """
    x = shapes.Axes().floats("x", x, "n k")
    _noise(noise, level)
    shapes.generator("rng", rng)
    given, draws = np.empty_like(x), np.empty_like(x)
    _corrupt_into(x, noise, level, rng, draws, given)
    return given


def _noise(noise, level):
    """Check what spoils the input, and how much."""
    shapes.choice("noise", noise, KINDS_OF_NOISE)
    shapes.number("level", level, above=0, **({"below": 1} if noise == "mask" else {}))


def _corrupt_into(x, noise, level, rng, draws, given):
    """Draw noise and write the spoilt input."""
    if noise == "gaussian":
        rng.standard_normal(out=draws, dtype=draws.dtype)
        np.multiply(draws, draws.dtype.type(level), given)
        given += x
    else:
        rng.random(out=draws, dtype=draws.dtype)
        np.multiply(x, draws >= level, given)


def neighbours(queries: ArrayLike, base: ArrayLike, count: int) -> np.ndarray:
    """Return for each query which rows of `base` are nearest to it, the nearest first.

    Parameters
    ----------
    queries : array_like, shape (n, j)
        Codes, or images.
    base : array_like, shape (m, j)
        What is searched.
    count : int
        How many are wanted, at most m.

    Returns
    -------
    ndarray of int64, shape (n, count)
    """
    axes = shapes.Axes()
    queries, base = axes.floats("queries", queries, "n j"), axes.floats("base", base, "m j")
    count = shapes.count("count", count, most=len(base))
    unit = max(
        units.powers(queries), units.powers(base)
    )  # so that squares neither vanish nor overflow
    d = squared_distances(np.ldexp(queries, -unit), np.ldexp(base, -unit))
    return np.argsort(d, axis=1, kind="stable")[:, :count]


# A dense network to train


class Coder(NamedTuple):
    """Parameters of an `Autoencoder`, or their gradients; all are views of ``flat``."""

    flat: np.ndarray
    w: tuple  # w[l] has shape (n_l, n_{l−1}) for l = 2 … L; w[0] and w[1] are None
    b: tuple  # b[l] has shape (n_l,)


class Work(NamedTuple):
    """The memory of a step."""

    a: np.ndarray  # the input and what each layer gives, one after the other
    da: np.ndarray  # gradients in the same places
    panels: np.ndarray  # a packed factor of a product
    means: np.ndarray  # one number for each unit of the code
    given: np.ndarray  # spoilt input
    draws: np.ndarray  # what spoils it
    held: list  # for `step_fits`


KINDS = {"relu": 0, "sigmoid": 1, "tanh": 2, "linear": 3}
LIKELIHOODS = ("gaussian", "bernoulli")


@dataclass(frozen=True)
class Autoencoder:
    """Dense layers to a code and back.

    Parameters
    ----------
    encoder : sequence of int
        Sizes from the input to the code.
    decoder : sequence of int, optional
        Sizes from the code to the output; where not given, those of the encoder backwards.
    activation : {"relu", "sigmoid", "tanh", "linear"}
        Of the hidden layers on both sides of the code.
    code : {"linear", "relu", "sigmoid", "tanh"}
        Activation of the code.
    likelihood : {"gaussian", "bernoulli"}
        Half the squared error of a linear output, or the cross-entropy of a sigmoid one, for inputs
        between 0 and 1. Both are sums over the numbers of an example.
    l1, kl, contractive : float
        Weights of the penalties on the code: Σ|h|; the divergence of its mean activation from
        `rho`, for a sigmoid code; the squared derivatives of the code by the input, for a sigmoid
        code right after the input.
    rho : float
        Mean activation that is wanted, 0 < ρ < 1.
    noise : {None, "gaussian", "mask"}
        What spoils the input in training, drawn anew for each batch.
    level : float
        Standard deviation of the noise, or the probability of a zero.
    dtype : {"float32", "float64"}
        Of parameters and data.

    Raises
    ------
    TypeError, ValueError
        If one of them is not what is described here.
    """

    encoder: tuple[int, ...]
    decoder: tuple[int, ...] | None = None
    activation: str = "relu"
    code: str = "linear"
    likelihood: str = "gaussian"
    l1: float = 0.0
    kl: float = 0.0
    contractive: float = 0.0
    rho: float = 0.05
    noise: str | None = None
    level: float = 0.0
    dtype: str = "float32"

    def __post_init__(self):
        """Check all of them at once."""
        if self.decoder is None and isinstance(self.encoder, (Sequence, np.ndarray)):
            object.__setattr__(self, "decoder", tuple(self.encoder)[::-1])
        for name in ("encoder", "decoder"):
            sizes = getattr(self, name)
            if not isinstance(sizes, (Sequence, np.ndarray)) or len(sizes) < 2:
                raise ValueError(f"{name} is {sizes!r}, expected at least two sizes: (64, 2)")
            found = tuple(shapes.count(f"{name}[{i}]", n) for i, n in enumerate(sizes))
            object.__setattr__(self, name, found)
        if self.decoder[0] != self.encoder[-1] or self.decoder[-1] != self.encoder[0]:
            raise ValueError(
                f"decoder is {self.decoder}, expected sizes from {self.encoder[-1]}, the code, "
                f"to {self.encoder[0]}, the input"
            )
        shapes.choice("activation", self.activation, tuple(KINDS))
        shapes.choice("code", self.code, tuple(KINDS))
        shapes.choice("likelihood", self.likelihood, LIKELIHOODS)
        shapes.choice("dtype", self.dtype, ("float32", "float64"))
        for name in ("l1", "kl", "contractive"):
            shapes.number(name, getattr(self, name), least=0)
        shapes.number("rho", self.rho, above=0, below=1)
        if self.noise is not None:
            _noise(self.noise, self.level)
        elif shapes.number("level", self.level, least=0):
            raise ValueError(f"level is {self.level}, and no noise is chosen")
        if (self.kl or self.contractive) and self.code != "sigmoid":
            raise ValueError(f"code is {self.code!r}; kl and contractive need 'sigmoid'")
        if self.contractive and len(self.encoder) > 2:
            raise ValueError(f"encoder is {self.encoder}; contractive needs one layer: (64, 32)")

    @property
    def sizes(self) -> tuple[int, ...]:
        """Neurons of each layer, the input first."""
        return self.encoder + self.decoder[1:]

    @property
    def _code(self):
        """Return the index of the code in `sizes`."""
        return len(self.encoder) - 1

    @property
    def _bends(self):
        """Return the number of the activation of each layer; the last one has none."""
        kinds = [KINDS[self.activation]] * len(self.sizes)
        kinds[self._code], kinds[-1] = KINDS[self.code], KINDS["linear"]
        return kinds

    @cached_property
    def layout(self) -> Layout:
        """What the parameters of this model are like."""
        return laid_out(self._coder())

    def _coder(self):
        """Return parameters that are all zero."""
        sizes = [s for m, n in itertools.pairwise(self.sizes) for s in ((n, m), (n,))]
        flat = np.zeros(sum(map(prod, sizes)), self.dtype)
        cut = cut_up(flat, sizes)
        return Coder(flat, (None, None, *cut[::2]), (None, None, *cut[1::2]))

    def init(self, rng: np.random.Generator) -> Coder:
        """Draw the first parameters: He's variance before rectifiers, else Xavier's; biases 0."""
        shapes.generator("rng", rng)
        params = self._coder()
        for w, kind in zip(params.w[2:], self._bends[1:], strict=True):
            w[:] = (xavier if kind else he)(w.shape, rng)
        return params

    def start(self) -> None:
        """Return None: there are no running statistics."""

    def check(self, params: Coder, data: tuple) -> tuple[np.ndarray, ...]:
        """Return examples (n, k), checked and of the dtype of the parameters.

        `data` is (x,), or (given, x), where the network is to make x from something else.
        """
        if not isinstance(data, tuple) or len(data) not in (1, 2):
            raise TypeError("data is not a tuple of examples, (x,), or of inputs and targets")
        fits(params, self.layout)
        return self._pair(data)

    def _pair(self, data):
        """Return one or two arrays of checked examples."""
        axes = shapes.Axes()
        names = ("x",) if len(data) == 1 else ("given", "x")
        found = tuple(self._examples(axes, *pair) for pair in zip(names, data, strict=True))
        if self.likelihood == "bernoulli" and (found[-1].min() < 0 or found[-1].max() > 1):
            raise ValueError("x has numbers outside of 0 … 1, which 'bernoulli' cannot express")
        return found

    def _examples(self, axes, name, x):
        """Return checked examples."""
        axes.sizes["k"] = (self.sizes[0], "the input")
        return axes.floats(name, x, "n k").astype(self.dtype, copy=False)

    def workspace(self, batch: int) -> Work:
        """Return the memory for steps of at most `batch` examples."""
        batch, dtype = shapes.count("batch", batch), np.dtype(self.dtype)
        neurons = sum(self.sizes) * batch
        lengths = neurons, neurons, self._panels(batch), self.encoder[-1]
        room = batch if self.noise else 0
        spoilt = (np.empty((room, self.sizes[0]), dtype) for _ in range(2))
        return Work(*(aligned((n,), dtype) for n in lengths), *spoilt, [])

    def _panels(self, batch):
        """Return how many numbers the largest packed factor has."""
        widest = max(self.sizes)
        return (widest + PANEL_BYTES // np.dtype(self.dtype).itemsize) * max(widest, batch)

    def loss_and_grad(self, params, state, batch, grads, work, rng) -> float:
        """Return cost and penalties of a batch, and fill `grads`.

        Parameters
        ----------
        params, grads : Coder
            The network, and where its gradient goes.
        state : None
            There is none.
        batch : tuple of ndarray
            As `check` returns it; trusted.
        work : Work
            For at least as many examples.
        rng : numpy.random.Generator or None
            Draws the noise.
        """
        given, x = batch[0], batch[-1]
        step_fits(self, params, state, grads, work.held)
        if self.noise:
            N, clean = len(x), given
            given = work.given[:N]
            _corrupt_into(clean, self.noise, self.level, rng, work.draws[:N], given)
        sizes, bends, code, bits, weights = self._plan
        into = grads.flat, work.a, work.da, work.panels, work.means
        return coder_step(params.flat, sizes, bends, code, bits, weights, given, x, *into)

    @cached_property
    def _plan(self):
        """Return what the step needs to know of the network."""
        weights = np.array([self.l1, self.kl, self.contractive, self.rho])
        bits = self.likelihood == "bernoulli"
        return np.array(self.sizes), np.array(self._bends), self._code, bits, weights

    def _run(self, params, x, first, last):
        """Yield what layers `first` to `last` give."""
        panels = aligned((self._panels(1),), self.dtype)
        for l in range(first, last + 1):
            z = np.empty((len(x), self.sizes[l - 1]), x.dtype)
            dense_into(x, params.w[l], params.b[l], panels, z)
            bend(z, self._bends[l - 1])
            x = z
            yield x

    def encode(self, params: Coder, x: ArrayLike) -> np.ndarray:
        """Return the codes (n, j) of examples (n, k)."""
        fits(params, self.layout)
        x = self._examples(shapes.Axes(), "x", x)
        *_, h = self._run(params, x, 2, len(self.encoder))
        return h

    def decode(self, params: Coder, h: ArrayLike) -> np.ndarray:
        """Return the outputs (n, k) of codes (n, j): means, between 0 and 1 where Bernoulli."""
        fits(params, self.layout)
        axes = shapes.Axes()
        axes.sizes["j"] = (self.encoder[-1], "the code")
        h = axes.floats("h", h, "n j").astype(self.dtype, copy=False)
        *_, a = self._run(params, h, len(self.encoder) + 1, len(self.sizes))
        return self._mean(a)

    def _mean(self, a):
        """Return the mean of the output's distribution."""
        if self.likelihood == "bernoulli":
            elementary.sigmoid(a, a)
        return a

    def layers(self, params, state, batch) -> Iterator[tuple[str, np.ndarray]]:
        """Yield the name of each layer's weights and what the layer gives."""
        belong(self, params, state)
        for l, a in enumerate(self._run(params, batch[0], 2, len(self.sizes)), start=2):
            yield f"w[{l}]", a

    def loss(self, params: Coder, state: None, batch: tuple) -> float:
        """Return the cost of checked data: reconstruction alone, without penalties and noise."""
        belong(self, params, state)
        *_, a = self._run(params, batch[0], 2, len(self.sizes))
        into = bernoulli_into if self.likelihood == "bernoulli" else gaussian_into
        return float(into(a, batch[-1]))

    def predict(self, params: Coder, state: None, x: ArrayLike) -> np.ndarray:
        """Return the reconstructions (n, k) of examples (n, k).

        Parameters
        ----------
        params : Coder
            The network.
        state : None
            There is none.
        x : array_like, shape (n, k)
            Examples.
        """
        belong(self, params, state)
        x = self._examples(shapes.Axes(), "x", x)
        *_, a = self._run(params, x, 2, len(self.sizes))
        return self._mean(a)


# A convolutional network to train


class ConvCoder(NamedTuple):
    """Parameters of a `ConvAutoencoder`, or their gradients; all are views of ``flat``."""

    flat: np.ndarray
    w: tuple  # filters of the convolutions, those of the encoder first, (c', c, 3, 3)
    b: tuple  # their biases
    code: np.ndarray  # (j, features)
    code_bias: np.ndarray
    open: np.ndarray  # (features, j)
    open_bias: np.ndarray


class Stage(NamedTuple):
    """The memory of one convolution, channels last, for the largest batch."""

    x: np.ndarray  # what comes in
    a: np.ndarray  # what it gives
    da: np.ndarray
    dx: np.ndarray
    step: convolution.Patches | convolution.Winograd


class ConvWork(NamedTuple):
    """The memory of a step."""

    stages: list  # of Stage
    code: np.ndarray
    dcode: np.ndarray
    opened: np.ndarray  # (n, features)
    dopened: np.ndarray
    panels: np.ndarray
    held: list  # for `step_fits`


ONE = (1, 1)
DOWN, FLAT = ((2, 2), ONE, ONE, 1), (ONE, ONE, ONE, 1)  # stride, padding, dilation, groups


@dataclass(frozen=True)
class ConvAutoencoder:
    """Convolutions of stride 2 down to a code; upsampling and convolutions back.

    On the way down each layer is a 3 × 3 convolution that moves by two pixels, with a rectifier. A
    dense layer makes the code from what is left, and another opens it again. On the way up each
    layer repeats every pixel four times and convolves; the last one gives the image.

    Parameters
    ----------
    side : int
        Rows and columns of the square images, which come in as rows of side² numbers; a multiple of
        2 to the power of the number of layers.
    channels : sequence of int
        Filters of each layer on the way down; the same backwards on the way up.
    code : int
        Numbers of the code, which has no activation.
    likelihood : {"gaussian", "bernoulli"}
        As in `Autoencoder`.
    dtype : {"float32", "float64"}
        Of parameters and data.

    Raises
    ------
    TypeError, ValueError
        If one of them is not what is described here.
    """

    side: int = 8
    channels: tuple[int, ...] = (16, 32)
    code: int = 8
    likelihood: str = "gaussian"
    dtype: str = "float32"

    def __post_init__(self):
        """Check all of them at once."""
        shapes.count("side", self.side)
        shapes.count("code", self.code)
        shapes.choice("likelihood", self.likelihood, LIKELIHOODS)
        shapes.choice("dtype", self.dtype, ("float32", "float64"))
        if not isinstance(self.channels, Sequence) or not len(self.channels):
            raise ValueError(f"channels is {self.channels!r}, expected one number or more: (8, 16)")
        found = tuple(shapes.count(f"channels[{i}]", c) for i, c in enumerate(self.channels))
        object.__setattr__(self, "channels", found)
        if self.side % 2 ** len(found):
            raise ValueError(
                f"side is {self.side}, expected a multiple of {2 ** len(found)} for "
                f"{len(found)} layers that halve it"
            )

    @property
    def _shapes(self):
        """Return (channels in, channels out, rows in, rows out) of each convolution."""
        wide = (1, *self.channels)
        sides = [self.side // 2**i for i in range(len(wide))]
        down = [
            (*c, *s)
            for c, s in zip(itertools.pairwise(wide), itertools.pairwise(sides), strict=True)
        ]
        return down + [(k, c, h, h) for c, k, h, _ in reversed(down)]

    @property
    def features(self) -> int:
        """Numbers of an image before the code."""
        return self.channels[-1] * (self.side // 2 ** len(self.channels)) ** 2

    @cached_property
    def layout(self) -> Layout:
        """What the parameters of this model are like."""
        return laid_out(self._coder())

    def _coder(self):
        """Return parameters that are all zero."""
        pairs = [s for c, k, _, _ in self._shapes for s in ((k, c, 3, 3), (k,))]
        J, F = self.code, self.features
        sizes = [*pairs, (J, F), (J,), (F, J), (F,)]
        flat = np.zeros(sum(map(prod, sizes)), self.dtype)
        cut = cut_up(flat, sizes)
        both = cut[: len(pairs)]
        return ConvCoder(flat, tuple(both[::2]), tuple(both[1::2]), *cut[len(pairs) :])

    def init(self, rng: np.random.Generator) -> ConvCoder:
        """Draw the first parameters: He's variance, Xavier's for code and output; biases zero."""
        shapes.generator("rng", rng)
        params = self._coder()
        for w in (*params.w[:-1], params.open):
            w[:] = he(w.shape, rng)
        for w in (params.w[-1], params.code):
            w[:] = xavier(w.shape, rng)
        return params

    def start(self) -> None:
        """Return None: there are no running statistics."""

    def check(self, params: ConvCoder, data: tuple) -> tuple[np.ndarray, ...]:
        """Return images (n, side²), checked and of the dtype of the parameters."""
        if not isinstance(data, tuple) or len(data) not in (1, 2):
            raise TypeError("data is not a tuple of images, (x,), or of inputs and targets")
        fits(params, self.layout)
        return self._flat._pair(data)

    @property
    def _flat(self):
        """Return a dense network with the same input and code, which checks what comes in."""
        sizes = (self.side**2, self.code)
        return Autoencoder(sizes, likelihood=self.likelihood, dtype=self.dtype)

    def workspace(self, batch: int) -> ConvWork:
        """Return the memory for steps of at most `batch` images."""
        N, dtype = shapes.count("batch", batch), np.dtype(self.dtype)
        stages = []
        for C, K, H, I in self._shapes:
            inner, out, how = (N, H, H, C), (N, I, I, K), DOWN if I < H else FLAT
            arrays = [aligned(size, dtype) for size in (inner, out, out, inner)]
            step = convolution.memory(inner, (K, C, 3, 3), out, how, dtype)
            stages.append(Stage(*arrays, step))
        F, J, width = self.features, self.code, PANEL_BYTES // dtype.itemsize
        most = max(F, J)
        panels = aligned(((most + width) * max(most, N),), dtype)
        return ConvWork(stages, *(aligned((N, n), dtype) for n in (J, J, F, F)), panels, [])

    def _up_to_code(self, params, x, work):
        """Fill the workspace from the image to the code, which is returned."""
        N, depth = len(x), len(self.channels)
        a = x.reshape(N, self.side, self.side, 1)
        for l in range(depth):
            stage = work.stages[l]
            stage.x[:N] = a
            a = stage.a[:N]
            convolution.forward(stage.x[:N], params.w[l], params.b[l], DOWN, stage.step, a)
            convolution.rectify_all(a)
        h = work.code[:N]
        dense_into(a.reshape(N, -1), params.code, params.code_bias, work.panels, h)
        return h

    def _from_code(self, params, h, work):
        """Fill the workspace from the code to the output, which is returned as (n, side²)."""
        N, depth = len(h), len(self.channels)
        opened = work.opened[:N]
        dense_into(h, params.open, params.open_bias, work.panels, opened)
        rectify(opened, 0.0)
        a = opened.reshape(N, *work.stages[depth - 1].a.shape[1:])
        for l in range(depth, 2 * depth):
            stage = work.stages[l]
            upsample_into(a, stage.x[:N])
            a = stage.a[:N]
            convolution.forward(stage.x[:N], params.w[l], params.b[l], FLAT, stage.step, a)
            if l + 1 < 2 * depth:
                convolution.rectify_all(a)
        return a.reshape(N, -1)

    def loss_and_grad(self, params, state, batch, grads, work, rng) -> float:
        """Return the mean cost of a batch, and fill `grads`; the arguments as in `Autoencoder`."""
        given, x = batch[0], batch[-1]
        step_fits(self, params, state, grads, work.held)
        N, depth = len(x), len(self.channels)
        h = self._up_to_code(params, given, work)
        delta = self._from_code(params, h, work)
        loss = (bernoulli_into if self.likelihood == "bernoulli" else gaussian_into)(delta, x)
        d = delta.reshape(work.stages[-1].a[:N].shape)
        for l in range(2 * depth - 1, depth - 1, -1):
            self._back(l, d, params, grads, work, FLAT)
            below = work.dopened[:N].reshape(N, *work.stages[depth - 1].a.shape[1:])
            if l > depth:
                below = work.stages[l - 1].da[:N]
            upsample_back_into(work.stages[l].dx[:N], below)
            if l > depth:
                convolution.rectify_back(work.stages[l - 1].a[:N], below)
            d = below
        dopened, dcode = work.dopened[:N], work.dcode[:N]
        through(dopened, work.opened[:N], 0, 0.0)
        dense_backward_into(dopened, h, work.panels, grads.open, grads.open_bias)
        dense_input_into(dopened, params.open, work.panels, dcode)
        last = work.stages[depth - 1]
        features, d = last.a[:N].reshape(N, -1), last.da[:N]
        dense_backward_into(dcode, features, work.panels, grads.code, grads.code_bias)
        dense_input_into(dcode, params.code, work.panels, d.reshape(N, -1))
        for l in range(depth - 1, -1, -1):
            convolution.rectify_back(work.stages[l].a[:N], d)
            self._back(l, d, params, grads, work, DOWN)
            if l:
                d = work.stages[l - 1].da[:N]
                d[:] = work.stages[l].dx[:N]
        return loss

    def _back(self, l, d, params, grads, work, how):
        """Carry a gradient through convolution l, into its frame; the first one needs none."""
        stage, N = work.stages[l], len(d)
        dx = stage.dx[:N] if l else None
        w, into = params.w[l], (dx, grads.w[l], grads.b[l])
        convolution.backward(d, stage.x[:N], w, how, stage.step, *into)

    def _parts(self, x, part):
        """Run a function over checked examples, some at a time."""
        some, work = 256, self.workspace(min(len(x), 256))
        found = [part(x[at : at + some], work).copy() for at in range(0, len(x), some)]
        return np.concatenate(found)

    def encode(self, params: ConvCoder, x: ArrayLike) -> np.ndarray:
        """Return the codes (n, j) of images (n, side²)."""
        fits(params, self.layout)
        x = self._flat._examples(shapes.Axes(), "x", x)
        return self._parts(x, lambda some, work: self._up_to_code(params, some, work))

    def decode(self, params: ConvCoder, h: ArrayLike) -> np.ndarray:
        """Return the images (n, side²) of codes (n, j)."""
        fits(params, self.layout)
        axes = shapes.Axes()
        axes.sizes["j"] = (self.code, "the code")
        h = axes.floats("h", h, "n j").astype(self.dtype, copy=False)
        return self._flat._mean(
            self._parts(h, lambda some, work: self._from_code(params, some, work))
        )

    def _outputs(self, params, x):
        """Return what the last layer gives for checked images."""
        return self._parts(
            x,
            lambda some, work: self._from_code(params, self._up_to_code(params, some, work), work),
        )

    def loss(self, params: ConvCoder, state: None, batch: tuple) -> float:
        """Return the mean cost of checked images."""
        belong(self, params, state)
        into = bernoulli_into if self.likelihood == "bernoulli" else gaussian_into
        return float(into(self._outputs(params, batch[0]), batch[-1]))

    def predict(self, params: ConvCoder, state: None, x: ArrayLike) -> np.ndarray:
        """Return the reconstructions (n, side²) of images (n, side²)."""
        belong(self, params, state)
        x = self._flat._examples(shapes.Axes(), "x", x)
        return self._flat._mean(self._outputs(params, x))
