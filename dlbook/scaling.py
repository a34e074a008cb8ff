"""Beyond one machine: one gradient from many workers, what it costs to add it up, and how far
larger batches carry.

Page: ``book/scaling.md``. Builds on `optimization` (gradient descent, the variance of a batch) and
`backprop` (what a forward and a backward pass compute).

Sources: Patarasuk and Yuan, J. Parallel Distrib. Comput. 69 (2009), for the ring; Amdahl, AFIPS
(1967), and Gustafson, Commun. ACM 31 (1988), for speed; McCandlish et al., arXiv:1812.06162 (2018),
for the noise scale; Goyal et al., arXiv:1706.02677 (2017), for the linear rule; Chen et al.,
arXiv:1604.00981 (2016), for backup workers; Levin and May, Theor. Popul. Biol. 9 (1976), for delays;
Young, Commun. ACM 17 (1974), and Daly, Future Gener. Comput. Syst. 22 (2006), for checkpoints;
Hoffmann et al., NeurIPS 35 (2022), for the best size at a given number of operations.

Axes: k workers; s shards of a batch; n examples; p and q parameters; c chunks of a gradient, as
many as there are workers, and m their entries; j small batches that make a large one, κ of them;
l layers.

Names: g gradients, one a row; n_s the size of a shard; w weights, eta the rate η; alpha the
seconds that a message takes however short it is, beta those for each number in it; serial the
share that one worker has to do alone; B the size of a batch, noise the noise scale; H Hessians
and h the eigenvalues of one; mean the mean time of a worker's step, b the number of backup
workers; tau the steps by which a gradient is late; interval the work between two checkpoints,
delta the time that one takes, restart the time to begin again, between the mean time between two
failures; J the widths of a dense network; C a number of operations, A and a, D and d how fast the
loss falls with parameters and with examples.
"""

import numpy as np

from dlbook.tools.jit import njit

__all__ = [
    "all_gather",
    "allreduce_volume",
    "amdahl",
    "backup_time",
    "best_interval",
    "compute_optimal",
    "gain",
    "gustafson",
    "largest_factor",
    "lost_share",
    "noise_scale",
    "reduce_scatter",
    "ring_time",
    "scaled_step",
    "scaling_gap",
    "shard_gradient",
    "slowest",
    "stale_limit",
    "steps_examples",
    "training_flops",
    "tree_time",
    "wall_time",
]


# One gradient from many workers


@njit
def shard_gradient(g, n):
    """(scaling-shard-gradient)  g_p = Σ_s n_s g_sp / Σ_s n_s
    (s p), (s) -> (p)
    """
    total = np.zeros(g.shape[1], g.dtype)
    for s in range(len(g)):
        total += n[s] * g[s]
    return total / np.sum(n)


# The ring


@njit
def reduce_scatter(x):
    """(scaling-reduce-scatter)  for r = 0, …, K − 2, for all k at once, modulo K:
    x_{k+1, k−r, m} ← x_{k+1, k−r, m} + x_{k, k−r, m}
    (k c m) -> (k c m)
    """
    x, K = x.copy(), len(x)
    for r in range(K - 1):
        for k in range(K):
            c = (k - r) % K
            x[(k + 1) % K, c] += x[k, c]
    return x


@njit
def all_gather(x):
    """(scaling-all-gather)  for r = 0, …, K − 2, for all k at once, modulo K:
    x_{k+1, k+1−r, m} ← x_{k, k+1−r, m}
    (k c m) -> (k c m)
    """
    x, K = x.copy(), len(x)
    for r in range(K - 1):
        for k in range(K):
            c = (k + 1 - r) % K
            x[(k + 1) % K, c] = x[k, c]
    return x


@njit
def allreduce_volume(P, K):
    """(scaling-allreduce)  2 (K − 1) P / K numbers sent by each worker
    (), () -> ()
    """
    return 2 * (K - 1) * P / K


@njit
def ring_time(P, K, alpha, beta):
    """(scaling-ring-time)  2 (K − 1) (α + β P / K)
    (), (), (), () -> ()
    """
    return 2 * (K - 1) * (alpha + beta * P / K)


@njit
def tree_time(P, K, alpha, beta):
    """(scaling-tree-time)  2 ⌈log₂ K⌉ (α + β P)
    (), (), (), () -> ()
    """
    return 2 * np.ceil(np.log2(K)) * (alpha + beta * P)


# How much faster


@njit
def amdahl(serial, K):
    """(scaling-amdahl)  1 / (f + (1 − f) / K),  f the serial share
    of the time of one worker
    (), () -> ()
    """
    return 1 / (serial + (1 - serial) / K)


@njit
def gustafson(serial, K):
    """(scaling-gustafson)  f + (1 − f) K,  f the serial share
    of the time of K workers
    (), () -> ()
    """
    return serial + (1.0 - serial) * K


# Larger batches


@njit
def noise_scale(g):
    """(scaling-noise-scale)  with G_p = 1/N Σ_n g_np:
    1/N Σ_n Σ_p (g_np − G_p)² / Σ_p G_p²
    (n p) -> ()
    """
    G = np.zeros(g.shape[1], g.dtype)
    for n in range(len(g)):
        G += g[n] / len(g)
    spread = 0.0
    for n in range(len(g)):
        spread += np.sum((g[n] - G) ** 2)
    return spread / len(g) / np.sum(G**2)


@njit
def gain(B, noise):
    """(scaling-gain)  1 / (1 + B_noise / B)
    (), () -> ()
    """
    return 1 / (1 + noise / B)


@njit
def steps_examples(B, noise):
    """(scaling-steps-examples)  T/T_min = 1 + B_noise / B,  E/E_min = 1 + B / B_noise,
    so that (T/T_min − 1) (E/E_min − 1) = 1
    (), () -> (), ()
    """
    return 1 + noise / B, 1 + B / noise


@njit
def scaled_step(w, g, eta):
    """(scaling-linear-scaling)  w_p − κ η · 1/κ Σ_j g_jp
    (p), (j p), () -> (p)
    """
    factor = len(g)
    mean = np.zeros(g.shape[1], g.dtype)
    for j in range(factor):
        mean += g[j] / factor
    return w - factor * eta * mean


@njit
def scaling_gap(H, g, eta):
    """(scaling-scaling-gap)  η² Σ_j Σ_{i<j} Σ_q H_jpq g_iq
    (j p q), (j p), () -> (p)
    """
    gap = np.zeros(g.shape[1], g.dtype)
    before = np.zeros(g.shape[1], g.dtype)
    for j in range(len(g)):
        for p in range(len(gap)):
            gap[p] += eta**2 * np.sum(H[j, p] * before)
        before += g[j]
    return gap


@njit
def largest_factor(h, eta):
    """(scaling-largest-factor)  κ = 2 / (η max_p h_p)
    (p), () -> ()
    """
    return 2 / (eta * np.max(h))


# Waiting


@njit
def slowest(mean, K):
    """(scaling-straggler)  μ Σ_{k=1}^K 1/k
    (), () -> ()
    """
    total = 0.0
    for k in range(1, K + 1):
        total += mean / k
    return total


@njit
def backup_time(mean, K, b):
    """(scaling-backup)  μ Σ_{k=b+1}^{K+b} 1/k
    (), (), () -> ()
    """
    total = 0.0
    for k in range(b + 1, K + b + 1):
        total += mean / k
    return total


@njit
def stale_limit(tau):
    """(scaling-stale)  η h = 2 sin(π / (2 (2τ + 1)))
    () -> ()
    """
    return 2 * np.sin(np.pi / (2 * (2 * tau + 1)))


# Failures


@njit
def wall_time(interval, delta, restart, between):
    """(scaling-wall-time)  F/I · e^(R/F) (e^((I + δ)/F) − 1)
    (), (), (), () -> ()
    """
    grown = np.exp((interval + delta) / between) - 1
    return between / interval * np.exp(restart / between) * grown


@njit
def lost_share(interval, delta, between):
    """(scaling-checkpoint)  δ/I + I/(2F)
    (), (), () -> ()
    """
    return delta / interval + interval / (2 * between)


@njit
def best_interval(delta, between):
    """(scaling-interval)  I* = √(2 δ F)
    (), () -> ()
    """
    return np.sqrt(2 * delta * between)


# How much to compute


@njit
def training_flops(J, N):
    """(scaling-training-flops)  2 N (3 Σ_l J_{l−1} J_l − J_0 J_1)
    (l), () -> ()
    """
    weights = np.sum(J[:-1] * J[1:])
    return 2 * N * (3 * weights - J[0] * J[1])


@njit
def compute_optimal(C, A, a, D, d):
    """(scaling-compute-optimal)  with 6 P N = C, where A/P^a + D/N^d is least:
    P = (a A / (d D))^(1/(a+d)) (C/6)^(d/(a+d)),  N = C / (6 P)
    (), (), (), (), () -> (), ()
    """
    P = (a * A / (d * D)) ** (1 / (a + d)) * (C / 6) ** (d / (a + d))
    return P, C / (6 * P)
