"""A distribution cut before a symbol is drawn; the literal forms stand in `transformer`."""

import numpy as np

from dlbook.tools.jit import njit

__all__ = ["likeliest"]


@njit(whole="K")
def likeliest(p, K, rho):
    """p is 0 but for the first K symbols, and of these the first that have ρ together; then its sum is 1
    (w), (), () -> (w)

    Symbols stand in the order of their probability, equal ones in that of the alphabet.
    """
    order, kept, total = np.argsort(-p, kind="mergesort"), 0, 0.0
    for w in order[:K]:
        total += p[w]
    before = 0.0
    for w in order[:K]:
        if before >= rho * total:
            break
        before += p[w]
        kept += 1
    for w in order[kept:]:
        p[w] = 0
    p /= before
