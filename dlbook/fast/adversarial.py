"""Steps of a game of two networks: a discriminator with a penalty on its slope, a generator.

A score is one number, so that the way back from it is the same for every loss: with δ for the
slopes of the score by what the layers get, ∂loss/∂W is the sum of ṡ_n δ_n a_nᵀ, where ṡ is the
slope of the loss by the score. A penalty on the gradient g of the score adds δ_n e_nᵀ, where e is
∂penalty/∂g on its way up through the same switches. Both are one product of matrices.
"""
# ruff: noqa: E741

from math import exp, log1p, sqrt

from dlbook.fast.activations import rectify_backward
from dlbook.fast.dense import rows_gradient_into
from dlbook.fast.stack import stack_backward, stack_forward
from dlbook.matmul import PANEL_BYTES, multiply_parallel, pack_parallel
from dlbook.tools.elementary import logistic
from dlbook.tools.jit import njit_fast

__all__ = [
    "LOSSES",
    "PENALTIES",
    "critic_into",
    "maker_into",
    "penalty_into",
    "scores_into",
]

LOSSES = ("saturating", "non-saturating", "wasserstein")  # by their place here
PENALTIES = ("r1", "gradient")


@njit_fast
def softplus(s):
    """log(1 + e^s), for every s
    () -> ()
    """
    return max(s, 0.0) + log1p(exp(-abs(s)))


@njit_fast
def scores_into(s, sign, loss, ds):
    """Mean loss of scores, and its slopes: sign 1 for real ones, −1 for generated ones
    (n 1), () -> (n)
    """
    total, N = 0.0, s.shape[0]
    for n in range(N):
        if loss == 2:
            total -= sign * s[n, 0]
            ds[n] = -sign / N
        else:
            total += softplus(-sign * s[n, 0])
            ds[n] = -sign * logistic(-sign * s[n, 0]) / N
    return total / N


@njit_fast
def penalty_into(g, kind, gamma, v):
    """The penalty on the slopes g of scores, and v = ∂penalty/∂g
    (n d) -> (n d)
    """
    total, (N, D) = 0.0, g.shape
    for n in range(N):
        square = 0.0
        for d in range(D):
            square += g[n, d] * g[n, d]
        length, factor = sqrt(square), gamma / N
        if kind == 0:
            total += square / 2
        else:
            total += (length - 1.0) * (length - 1.0)
            factor *= 0.0 if length == 0 else 2 - 2 / length
        of = g.dtype.type(factor)
        for d in range(D):
            v[n, d] = of * g[n, d]
    return gamma * total / N


@njit_fast(apart=True)
def up_into(flat, table, slopes, v, a, e, panels):
    """Carry v up through the switches that `a` shows: e holds what enters each layer but the first
    (numbers), (l 4), (l), (n k), (numbers) -> (numbers)
    """
    N, place, below = v.shape[0], 0, v
    for l in range(table.shape[0] - 1):
        J, K, at, _ = table[l]
        w, W = flat[at : at + J * K].reshape(J, K), PANEL_BYTES // v.itemsize
        right = panels[: -(-J // W) * W * K].reshape(-(-J // W), K, W)
        z = e[place : place + N * J].reshape(N, J)
        pack_parallel(w.T, right)
        multiply_parallel(below, right, z, False)
        rectify_backward(z, a[place : place + N * J].reshape(N, J), slopes[l])
        below, place = z, place + N * J


@njit_fast(apart=True)
def weights_into(table, x, a, delta, ds, v, e, mixed, panels, grads):
    """Add Σ_n δ_n (ṡ_n a_n + e_n)ᵀ to the gradients of weights, Σ_n ṡ_n δ_n to those of biases
    (l 4), (n k), (numbers), (numbers), (n), (n k), (numbers), (numbers) -> (numbers)
    """
    N, place = x.shape[0], 0
    for l in range(table.shape[0]):
        J, K, at, _ = table[l]
        below = a[place - N * K : place].reshape(N, K) if l else x
        risen = below
        if v.size:
            risen = e[place - N * K : place].reshape(N, K) if l else v
        rows = mixed[: N * K].reshape(N, K)
        for n in range(N):
            of, held = ds[n], rows[n]
            if v.size:
                for k in range(K):
                    held[k] = of * below[n, k] + risen[n, k]
            else:
                for k in range(K):
                    held[k] = of * below[n, k]
        slope = delta[place : place + N * J].reshape(N, J)
        rows_gradient_into(slope, rows, panels, grads[at : at + J * K].reshape(J, K))
        db = grads[at + J * K : at + J * K + J]
        for n in range(N):
            of, held = ds[n], slope[n]
            for j in range(J):
                db[j] += of * held[j]
        place += N * J


@njit_fast(apart=True)
def one_side(
    flat, table, slopes, x, sign, loss, kind, gamma, a, delta, ds, e, mixed, panels, grads, g, v
):
    """Add the gradient of one half of the loss and, where g is not empty, of the penalty there
    (numbers), (l 4), (l), (n k), … -> loss, penalty

    Sign 0 stands for the penalty alone.
    """
    N, cost, price, last = x.shape[0], 0.0, 0.0, a.size - x.shape[0]
    stack_forward(flat, table, slopes, x, a, panels)
    if sign == 0:
        ds[:] = 0
    else:
        cost = scores_into(a[last:].reshape(N, 1), sign, loss, ds)
    delta[last:] = 1
    top = delta[last:].reshape(N, 1)
    stack_backward(flat, table, slopes, x, a, top, delta[:last], panels, grads, False, g)
    if g.size:
        price = penalty_into(g, kind, gamma, v)
        up_into(flat, table, slopes, v, a, e, panels)
    weights_into(table, x, a, delta, ds, v, e, mixed, panels, grads)
    return cost, price


@njit_fast
def critic_into(flat, table, slopes, real, fake, tau, loss, kind, gamma, memory, panels, grads):
    """Overwrite the discriminator's gradients; `kind` of penalty −1 for none
    (numbers), (l 4), (l), (n d), (n d), (n) -> loss, penalty; (numbers)

    `memory` holds: outputs, their slopes, and what rises, of all layers; slopes of the loss; two
    arrays like `real`; room for the widest layer; points between.
    """
    a, delta, e, ds, g, v, mixed, between = memory
    none, price = g[:0], 0.0
    grads[:] = 0
    at_real = (g, v) if kind == 0 else (none, none)
    first, price = one_side(
        flat, table, slopes, real, 1, loss, kind, gamma, a, delta, ds, e, mixed, panels, grads,
        at_real[0], at_real[1],
    )  # fmt: skip
    second, _ = one_side(
        flat, table, slopes, fake, -1, loss, kind, gamma, a, delta, ds, e, mixed, panels, grads,
        none, none,
    )  # fmt: skip
    if kind == 1:
        for n in range(real.shape[0]):
            for d in range(real.shape[1]):
                between[n, d] = fake[n, d] + tau[n] * (real[n, d] - fake[n, d])
        _, price = one_side(
            flat, table, slopes, between, 0, loss, kind, gamma, a, delta, ds, e, mixed, panels,
            grads, g, v,
        )  # fmt: skip
    return first + second, price


@njit_fast
def maker_into(flat, table, slopes, fake, loss, a, delta, ds, panels, dx):
    """The generator's loss, and its gradient by the examples
    (numbers), (l 4), (l), (n d) -> loss; (n d)
    """
    N, last = fake.shape[0], a.size - fake.shape[0]
    stack_forward(flat, table, slopes, fake, a, panels)
    s, top = a[last:].reshape(N, 1), delta[last:].reshape(N, 1)
    if loss == 0:
        cost = -scores_into(s, -1, loss, ds)
        ds *= -1
    else:
        cost = scores_into(s, 1, loss, ds)
    for n in range(N):
        top[n, 0] = ds[n]
    stack_backward(flat, table, slopes, fake, a, top, delta[:last], panels, flat, False, dx)
    return cost
