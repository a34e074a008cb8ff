"""Noised examples, with what a denoiser is told and what it is to predict, in one pass."""

import math

from dlbook.tools.jit import njit_fast

__all__ = ["TARGETS", "noise_into"]

TARGETS = ("v", "noise", "image", "velocity")


@njit_fast
def noise_into(x, y, u, kept, waves, target, want, into):
    """into_n = (α x_n + σ ε_n; sin 2^k φ_n; cos 2^k φ_n; [y_n = c] where kept_n), φ = π u_n / 2
    (n d), (n), (n), (n), (), (), (n d) -> (n d + 2 waves + c)

    `want` holds the noise ε and becomes the target: α ε − σ x, ε, x or, on the straight path with
    α = 1 − u and σ = u, ε − x.
    """
    (N, D), one, zero = x.shape, x.dtype.type(1), x.dtype.type(0)
    for n in range(N):
        angle = 0.5 * math.pi * u[n]
        sine, cosine = x.dtype.type(math.sin(angle)), x.dtype.type(math.cos(angle))
        alpha, sigma = cosine, sine
        if target == 3:
            alpha, sigma = one - u[n], u[n]
        a, b = zero, one  # the target is a x + b ε
        if target == 0:
            a, b = -sigma, alpha
        elif target == 2:
            a, b = one, zero
        elif target == 3:
            a = -one
        row, given, aim = into[n], x[n], want[n]
        for d in range(D):
            eps = aim[d]
            row[d] = alpha * given[d] + sigma * eps
            aim[d] = a * given[d] + b * eps
        for k in range(waves):
            row[D + k], row[D + waves + k] = sine, cosine
            sine, cosine = (one + one) * sine * cosine, one - (one + one) * sine * sine
        row[D + 2 * waves :] = zero
        if kept[n]:
            row[D + 2 * waves + y[n]] = one
