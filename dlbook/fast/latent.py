"""A code that is drawn: its noise on the way up, its price on the way back."""

import numpy as np

from dlbook.tools.elementary import exponential
from dlbook.tools.jit import njit_fast

__all__ = ["latent_backward", "latent_forward"]


@njit_fast
def latent_forward(h, eps, z):
    """z_nc = m_nc + e^{s_nc} ε_nc, where h_n is m_n and then s_n; ε_nc becomes e^{s_nc} ε_nc
    (n 2c), (n c) -> (n c)
    """
    N, C = z.shape
    for n in range(N):
        for c in range(C):
            eps[n, c] *= exponential(h[n, C + c])
            z[n, c] = h[n, c] + eps[n, c]


@njit_fast
def latent_backward(h, moved, dz, beta, dh):
    """∂/∂m_nc = dz_nc + β m_nc / N, ∂/∂s_nc = dz_nc (z_nc − m_nc) + β (e^{2 s_nc} − 1) / N
    (n 2c), (n c), (n c), () -> (n 2c)

    `moved` is z − m. Returns β/N Σ_nc (m_nc² + e^{2 s_nc} − 1 − 2 s_nc) / 2, what codes cost.
    """
    (N, C), one, loss = dz.shape, h.dtype.type(1), 0.0
    share = h.dtype.type(beta / N)
    for n in range(N):
        total = h.dtype.type(0)
        for c in range(C):
            m, s = h[n, c], h[n, C + c]
            over = exponential(s + s) - one
            total += m * m + over - (s + s)
            dh[n, c] = dz[n, c] + share * m
            dh[n, C + c] = dz[n, c] * moved[n, c] + share * over
        loss += np.float64(total)
    return loss * beta / (2 * N)
