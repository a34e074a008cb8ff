"""Penalties on a code: their gradients, added to what is there."""

import numpy as np

from dlbook.tools.jit import njit_fast

__all__ = ["add_scaled", "contract_into", "penalize_into"]


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
def add_scaled(factors, w, dw):
    """dw_jk = dw_jk + f_j w_jk
    (j), (j k) -> (j k)
    """
    for j in range(dw.shape[0]):
        for k in range(dw.shape[1]):
            dw[j, k] += factors[j] * w[j, k]
