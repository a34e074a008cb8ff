"""Optimization: gradient descent, momentum, Nesterov, the adaptive methods, and schedules.

Page: ``book/optimization.md``. Builds on the tools only.

Sources: Cauchy (1847); Robbins & Monro, Ann. Math. Stat. 22 (1951); Polyak, USSR Comput. Math.
Math. Phys. 4 (1964); Nesterov, Sov. Math. Dokl. 27 (1983); Duchi, Hazan & Singer, JMLR 12 (2011);
Zeiler, arXiv:1212.5701 (2012); Tieleman & Hinton, Coursera lecture 6.5 (2012); Sutskever et al.,
ICML (2013); Kingma & Ba, ICLR (2015); Loshchilov & Hutter, ICLR (2017) and (2019); Reddi et al.,
ICLR (2018).

Axes: p parameters, all of them in one flat vector; t steps, counted from 1; n examples; s the
slots of an optimizer, vectors of the length of the parameters in which it remembers.

Names: theta the parameters, g the gradient there, rate the learning rate η, mu the momentum
factor, rho and beta the factors of moving averages, eps the small number in a denominator, decay
the weight decay, lam an eigenvalue of the Hessian.

A step changes `theta` and `slots` in place, in one pass over memory. Every operation on an entry
is an IEEE operation in the order that is written, so that the bits depend neither on the number of
threads nor on how the vector is cut.
"""

import math
import operator
import types
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from functools import cache, cached_property
from typing import ClassVar

import numba
import numpy as np
from numba import prange
from numpy.typing import ArrayLike

from dlbook.tools import shapes
from dlbook.tools.jit import check_indices, njit

__all__ = [
    "OPTIMIZERS",
    "SGD",
    "AdaDelta",
    "AdaGrad",
    "Adam",
    "AdamW",
    "InverseDecay",
    "Momentum",
    "Nesterov",
    "Optimizer",
    "RMSprop",
    "StepDecay",
    "WarmupCosine",
    "adadelta",
    "adagrad",
    "adam",
    "adamw",
    "amsgrad",
    "batch_factor",
    "best_rate",
    "corrected",
    "heavy_ball",
    "inverse_decay",
    "lookahead",
    "minibatch_gradient",
    "minibatch_variance",
    "minibatches",
    "momentum",
    "momentum_optimum",
    "momentum_path",
    "momentum_radius",
    "nesterov",
    "nesterov_ball",
    "noise_floor",
    "quadratic_rate",
    "rmsprop",
    "rmsprop_momentum",
    "sgd",
    "step_decay",
    "trajectory",
    "warmup_cosine",
]

PARALLEL_FROM = 2**21  # bytes of parameters; below, starting threads costs more than they save


# Steps of the optimizers, in place. A slot is taken out in a statement of its own: from a tuple of
# several, Numba's parallel loops lose sight of where an array comes from and may not write to it.


@njit
def sgd(theta, g, slots, t, rate, decay):
    """(optimization-gd)  θ_p ← θ_p − η (g_p + λ θ_p)
    (p), (p), (0 p), (), () … -> (p) in place
    """
    kind = theta.dtype.type
    eta, lam = kind(rate), kind(decay)
    for p in prange(theta.size):
        theta[p] -= eta * (g[p] + lam * theta[p])


@njit
def momentum(theta, g, slots, t, rate, mu, dampening, decay):
    """(optimization-momentum)  v_p ← μ v_p + (1 − d) g_p,  θ_p ← θ_p − η v_p
    (p), (p), (1 p), (), () … -> (p), (1 p) in place

    As PyTorch has it: the first gradient is taken whole, whatever the dampening d.
    """
    kind = theta.dtype.type
    v = slots[0]
    eta, keep, lam = kind(rate), kind(mu), kind(decay)
    share = kind(1.0 - dampening if t > 1 else 1.0)
    for p in prange(theta.size):
        v[p] = keep * v[p] + share * (g[p] + lam * theta[p])
        theta[p] -= eta * v[p]


@njit
def heavy_ball(theta, g, slots, t, rate, mu, dampening, decay):
    """(optimization-polyak)  v_p ← μ v_p − η (1 − d) g_p,  θ_p ← θ_p + v_p
    (p), (p), (1 p), (), () … -> (p), (1 p) in place
    """
    kind = theta.dtype.type
    v = slots[0]
    eta, keep, lam = kind(rate * (1 - dampening)), kind(mu), kind(decay)
    for p in prange(theta.size):
        v[p] = keep * v[p] - eta * (g[p] + lam * theta[p])
        theta[p] += v[p]


@njit
def lookahead(theta, v, g, rate, mu):
    """(optimization-nesterov)  v_p ← μ v_p − η g_p,  θ_p ← θ_p + v_p,  g taken at θ + μ v
    (p), (p), (p), (), () -> (p), (p)
    """
    new_theta, new_v = np.empty_like(theta), np.empty_like(v)
    for p in range(theta.size):
        new_v[p] = mu * v[p] - rate * g[p]
        new_theta[p] = theta[p] + new_v[p]
    return new_theta, new_v


@njit
def nesterov(theta, g, slots, t, rate, mu, decay):
    """(optimization-nesterov-torch)  v_p ← μ v_p + g_p,  θ_p ← θ_p − η (g_p + μ v_p)
    (p), (p), (1 p), (), () … -> (p), (1 p) in place
    """
    kind = theta.dtype.type
    v = slots[0]
    eta, keep, lam = kind(rate), kind(mu), kind(decay)
    for p in prange(theta.size):
        d = g[p] + lam * theta[p]
        v[p] = keep * v[p] + d
        theta[p] -= eta * (d + keep * v[p])


@njit
def nesterov_ball(theta, g, slots, t, rate, mu, decay):
    """(optimization-nesterov-ball)  v_p ← μ v_p − η g_p,  θ_p ← θ_p + μ v_p − η g_p
    (p), (p), (1 p), (), () … -> (p), (1 p) in place
    """
    kind = theta.dtype.type
    v = slots[0]
    eta, keep, lam = kind(rate), kind(mu), kind(decay)
    for p in prange(theta.size):
        push = eta * (g[p] + lam * theta[p])
        v[p] = keep * v[p] - push
        theta[p] += keep * v[p] - push


@njit
def adagrad(theta, g, slots, t, rate, rate_decay, eps, decay):
    """(optimization-adagrad)  s_p ← s_p + g_p²,  θ_p ← θ_p − η g_p / (√s_p + ε)
    (p), (p), (1 p), (), () … -> (p), (1 p) in place

    With PyTorch's `rate_decay` r, η / (1 + (t − 1) r) stands for η.
    """
    kind = theta.dtype.type
    s = slots[0]
    eta = kind(rate / (1 + (t - 1) * rate_decay))
    e, lam = kind(eps), kind(decay)
    for p in prange(theta.size):
        d = g[p] + lam * theta[p]
        s[p] += d * d
        theta[p] -= eta * d / (np.sqrt(s[p]) + e)


@njit
def rmsprop(theta, g, slots, t, rate, rho, eps, decay):
    """(optimization-rmsprop)  v_p ← ρ v_p + (1 − ρ) g_p²,  θ_p ← θ_p − η g_p / (√v_p + ε)
    (p), (p), (1 p), (), () … -> (p), (1 p) in place
    """
    kind = theta.dtype.type
    v = slots[0]
    eta, keep, share = kind(rate), kind(rho), kind(1 - rho)
    e, lam = kind(eps), kind(decay)
    for p in prange(theta.size):
        d = g[p] + lam * theta[p]
        v[p] = keep * v[p] + share * (d * d)
        theta[p] -= eta * d / (np.sqrt(v[p]) + e)


@njit
def rmsprop_momentum(theta, g, slots, t, rate, rho, eps, decay, mu, center):
    """(optimization-rmsprop)  v_p ← ρ v_p + (1 − ρ) g_p²,  m_p ← ρ m_p + (1 − ρ) g_p,
    b_p ← μ b_p + g_p / (√(v_p − c m_p²) + ε),  θ_p ← θ_p − η b_p
    (p), (p), (3 p), (), () … -> (p), (3 p) in place
    """
    kind = theta.dtype.type
    v = slots[0]
    m = slots[1]
    b = slots[2]
    eta, keep, share = kind(rate), kind(rho), kind(1 - rho)
    e, lam, push = kind(eps), kind(decay), kind(mu)
    c, zero = kind(center), kind(0)
    for p in prange(theta.size):
        d = g[p] + lam * theta[p]
        v[p] = keep * v[p] + share * (d * d)
        m[p] = keep * m[p] + share * d
        spread = v[p] - c * (m[p] * m[p])
        spread = zero if spread < zero else spread  # by rounding only
        b[p] = push * b[p] + d / (np.sqrt(spread) + e)
        theta[p] -= eta * b[p]


@njit
def adadelta(theta, g, slots, t, rate, rho, eps, decay):
    """(optimization-adadelta)  v_p ← ρ v_p + (1 − ρ) g_p²,
    Δ_p = √(u_p + ε) / √(v_p + ε) g_p,  u_p ← ρ u_p + (1 − ρ) Δ_p²,
    θ_p ← θ_p − η Δ_p
    (p), (p), (2 p), (), () … -> (p), (2 p) in place
    """
    kind = theta.dtype.type
    v = slots[0]
    u = slots[1]
    eta, keep, share = kind(rate), kind(rho), kind(1 - rho)
    e, lam = kind(eps), kind(decay)
    for p in prange(theta.size):
        d = g[p] + lam * theta[p]
        v[p] = keep * v[p] + share * (d * d)
        step = np.sqrt(u[p] + e) / np.sqrt(v[p] + e) * d
        u[p] = keep * u[p] + share * (step * step)
        theta[p] -= eta * step


@njit
def adam(theta, g, slots, t, rate, beta1, beta2, eps, decay):
    """(optimization-adam)  θ_p ← θ_p − η m̂_p / (√v̂_p + ε),
    m_p ← β₁ m_p + (1 − β₁) g_p,  m̂_p = m_p / (1 − β₁ᵗ),
    v_p ← β₂ v_p + (1 − β₂) g_p²,  v̂_p = v_p / (1 − β₂ᵗ)
    (p), (p), (2 p), (), () … -> (p), (2 p) in place
    """
    kind = theta.dtype.type
    m = slots[0]
    v = slots[1]
    eta, e, lam = kind(rate), kind(eps), kind(decay)
    b1, c1 = kind(beta1), kind(1 - beta1)
    b2, c2 = kind(beta2), kind(1 - beta2)
    grow1, grow2 = kind(1 / (1 - beta1**t)), kind(1 / (1 - beta2**t))
    for p in prange(theta.size):
        d = g[p] + lam * theta[p]
        m[p] = b1 * m[p] + c1 * d
        v[p] = b2 * v[p] + c2 * (d * d)
        theta[p] -= eta * (grow1 * m[p]) / (np.sqrt(grow2 * v[p]) + e)


@njit
def adamw(theta, g, slots, t, rate, beta1, beta2, eps, decay):
    """(optimization-adamw)  θ_p ← θ_p − η λ θ_p − η m̂_p / (√v̂_p + ε), m̂, v̂ as in Adam
    (p), (p), (2 p), (), () … -> (p), (2 p) in place
    """
    kind = theta.dtype.type
    m = slots[0]
    v = slots[1]
    eta, e, keep = kind(rate), kind(eps), kind(1 - rate * decay)
    b1, c1 = kind(beta1), kind(1 - beta1)
    b2, c2 = kind(beta2), kind(1 - beta2)
    grow1, grow2 = kind(1 / (1 - beta1**t)), kind(1 / (1 - beta2**t))
    for p in prange(theta.size):
        m[p] = b1 * m[p] + c1 * g[p]
        v[p] = b2 * v[p] + c2 * (g[p] * g[p])
        step = eta * (grow1 * m[p]) / (np.sqrt(grow2 * v[p]) + e)
        theta[p] = keep * theta[p] - step


@njit
def amsgrad(theta, g, slots, t, rate, beta1, beta2, eps, decay, decoupled):
    """(optimization-amsgrad)  w_p ← max(w_p, v_p),  θ_p ← θ_p − η m̂_p / (√ŵ_p + ε)
    (p), (p), (3 p), (), () … -> (p), (3 p) in place

    m and v as in Adam, ŵ = w / (1 − β₂ᵗ). Of `decay` and `decoupled` one is zero.
    """
    kind = theta.dtype.type
    m = slots[0]
    v = slots[1]
    most = slots[2]
    eta, e, lam = kind(rate), kind(eps), kind(decay)
    keep = kind(1 - rate * decoupled)
    b1, c1 = kind(beta1), kind(1 - beta1)
    b2, c2 = kind(beta2), kind(1 - beta2)
    grow1, grow2 = kind(1 / (1 - beta1**t)), kind(1 / (1 - beta2**t))
    for p in prange(theta.size):
        d = g[p] + lam * theta[p]
        m[p] = b1 * m[p] + c1 * d
        v[p] = b2 * v[p] + c2 * (d * d)
        most[p] = most[p] if most[p] >= v[p] else v[p]  # NaN stays NaN
        step = eta * (grow1 * m[p]) / (np.sqrt(grow2 * most[p]) + e)
        theta[p] = keep * theta[p] - step


@njit
def corrected(m, beta, t):
    """(optimization-adam-bias)  m̂_p = m_p / (1 − βᵗ)
    (p), (), () -> (p)
    """
    return m / m.dtype.type(1 - beta**t)


@cache
def _spread(kernel):
    """Compile a step once more, its loop cut into as many parts as there are threads."""
    source = getattr(kernel, "py_func", kernel)
    name = source.__name__ + "_parallel"  # its own name, for its own place in the disk cache
    twin = types.FunctionType(source.__code__, source.__globals__, name)
    twin.__qualname__, twin.__module__ = name, source.__module__
    return njit(twin, parallel=True)


# Gradients from samples


@njit(whole="batch")
def minibatch_gradient(grads, batch):
    """(optimization-sgd)  ĝ_p = 1/B Σ_{n in batch} g_np
    (n p), (b) -> (p)
    """
    check_indices(batch, len(grads))
    total = np.zeros_like(grads[0])
    for n in batch:
        for p in range(grads.shape[1]):
            total[p] += grads[n, p]
    return total / total.dtype.type(len(batch))


@njit
def minibatch_variance(grads, B, replace):
    """(optimization-minibatch-variance)  Var ĝ_p = σ_p²/B, times (N − B)/(N − 1) without
    replacement,  σ_p² = 1/N Σ_n (g_np − g_p)²
    (n p), (), () -> (p)
    """
    N, P = grads.shape
    mean, total = np.zeros_like(grads[0]), np.zeros_like(grads[0])
    for n in range(N):
        for p in range(P):
            mean[p] += grads[n, p] / N
    for n in range(N):
        for p in range(P):
            total[p] += (grads[n, p] - mean[p]) ** 2 / N
    share = 1 / B if replace else (N - B) / (N - 1) / B
    return total * total.dtype.type(share)


@njit
def noise_floor(lam, rate, sigma, B):
    """(optimization-noise-floor)  Var θ_∞ = η σ² / (B λ (2 − η λ))
    (), (), (), () -> ()
    """
    return rate * sigma * sigma / (B * lam * (2 - rate * lam))


@njit
def batch_factor(rate, B, P):
    """(optimization-batch-rate)  E‖θ_{t+1} − θ*‖² / ‖θ_t − θ*‖² = 1 − 2η + η² (1 + (P + 1)/B)
    (), (), () -> ()
    """
    return 1 - 2 * rate + rate * rate * (1 + (P + 1) / B)


# On a quadratic


@njit
def quadratic_rate(lam, rate):
    """(optimization-quadratic-rate)  max_p |1 − η λ_p|
    (p), () -> ()
    """
    most = lam.dtype.type(0)
    for v in lam:
        most = max(most, abs(1 - rate * v))
    return most


@njit
def best_rate(smallest, largest):
    """(optimization-best-rate)  η = 2/(ℓ + L),  max_p |1 − η λ_p| = (κ − 1)/(κ + 1),  κ = L/ℓ
    (), () -> (), ()
    """
    kappa = largest / smallest
    return 2 / (smallest + largest), (kappa - 1) / (kappa + 1)


@njit
def momentum_radius(lam, rate, mu):
    """(optimization-momentum-radius)  ρ = √μ where (1 + μ − η λ)² ≤ 4μ, else the larger root of
    r² − (1 + μ − η λ) r + μ = 0 in size
    (), (), () -> ()
    """
    b = 1 + mu - rate * lam
    if b * b <= 4 * mu:
        return math.sqrt(mu)
    return (abs(b) + math.sqrt(b * b - 4 * mu)) / 2


@njit
def momentum_optimum(smallest, largest):
    """(optimization-momentum-rate)  η = 4/(√ℓ + √L)²,  μ = ((√κ − 1)/(√κ + 1))²,  ρ = √μ
    (), () -> (), (), ()
    """
    root = math.sqrt(largest / smallest)
    rho = (root - 1) / (root + 1)
    roots = math.sqrt(smallest) + math.sqrt(largest)
    return 4 / roots**2, rho * rho, rho


@njit
def momentum_path(theta, lam, rate, mu, t):
    """(optimization-momentum-path)  θ_t = √μᵗ (cos φt + c sin φt) θ_0,
    cos φ = (1 + μ − η λ)/(2√μ),  c = ((1 − η λ)/√μ − cos φ)/sin φ
    (), (), (), (), () -> ()
    """
    rho = math.sqrt(mu)
    phi = math.acos((1 + mu - rate * lam) / (2 * rho))
    c = ((1 - rate * lam) / rho - math.cos(phi)) / math.sin(phi)
    return rho**t * (math.cos(phi * t) + c * math.sin(phi * t)) * theta


# Schedules: the rate of step t


@njit
def warmup_cosine(t, rate, warmup, total, floor):
    """(optimization-schedule)  η_t = η t/w for t ≤ w,
    η_t = f + (η − f) (1 + cos(π (t − w)/(T − w)))/2 for w < t ≤ T, then f
    (), (), (), (), () -> ()
    """
    if t <= warmup:
        return rate * t / warmup
    done = min(1.0, (t - warmup) / (total - warmup))
    return floor + (rate - floor) * (1 + math.cos(math.pi * done)) / 2


@njit
def step_decay(t, rate, every, factor):
    """(optimization-step-decay)  η_t = η γ^⌊(t − 1)/k⌋
    (), (), (), () -> ()
    """
    return rate * factor ** ((t - 1) // every)


@njit
def inverse_decay(t, rate, decay):
    """(optimization-inverse-decay)  η_t = η / (1 + r (t − 1))
    (), (), () -> ()
    """
    return rate / (1 + decay * (t - 1))


def _set(thing, **values):
    """Write checked values into a frozen dataclass."""
    for name, value in values.items():
        object.__setattr__(thing, name, value)


@dataclass(frozen=True)
class WarmupCosine:
    """A rate that rises in a straight line, then falls like half a cosine (`warmup_cosine`).

    Call it with a step, 1 for the first.

    Parameters
    ----------
    rate : float
        Its highest value, at step `warmup` (at the first steps without warm-up).
    warmup : int
        Steps of the rise, 0 for none.
    total : int
        Step at which `floor` is reached; more than `warmup`.
    floor : float
        The value from there on, from 0 to `rate`.

    Raises
    ------
    ValueError, TypeError
        For values outside these ranges.
    """

    rate: float
    warmup: int
    total: int
    floor: float = 0.0

    def __post_init__(self):
        rate = shapes.number("rate", self.rate, above=0)
        warmup = shapes.count("warmup", self.warmup, least=0)
        total = shapes.count("total", self.total, least=warmup + 1)
        floor = shapes.number("floor", self.floor, least=0, most=rate)
        _set(self, rate=rate, warmup=warmup, total=total, floor=floor)

    def __call__(self, step: int) -> float:
        step = shapes.count("step", step)
        return warmup_cosine(step, self.rate, self.warmup, self.total, self.floor)


@dataclass(frozen=True)
class StepDecay:
    """A rate that is multiplied by a factor after every so many steps (`step_decay`).

    Parameters
    ----------
    rate : float
        The first value.
    every : int
        Steps between two changes.
    factor : float
        What it is multiplied by, above 0 and at most 1.

    Raises
    ------
    ValueError, TypeError
        For values outside these ranges.
    """

    rate: float
    every: int
    factor: float = 0.1

    def __post_init__(self):
        rate, every = shapes.number("rate", self.rate, above=0), shapes.count("every", self.every)
        factor = shapes.number("factor", self.factor, above=0, most=1)
        _set(self, rate=rate, every=every, factor=factor)

    def __call__(self, step: int) -> float:
        return step_decay(shapes.count("step", step), self.rate, self.every, self.factor)


@dataclass(frozen=True)
class InverseDecay:
    """A rate that falls like one over the number of steps (`inverse_decay`).

    Parameters
    ----------
    rate : float
        The first value.
    decay : float
        Its strength r, positive; after 1/r steps half of the rate is left.

    Raises
    ------
    ValueError, TypeError
        For values outside these ranges.
    """

    rate: float
    decay: float

    def __post_init__(self):
        rate = shapes.number("rate", self.rate, above=0)
        _set(self, rate=rate, decay=shapes.number("decay", self.decay, above=0))

    def __call__(self, step: int) -> float:
        return inverse_decay(shapes.count("step", step), self.rate, self.decay)


# Optimizers: checked settings in front of a step

FLOAT64, FLOAT32 = np.dtype(np.float64), np.dtype(np.float32)
UNIT = {"least": 0, "below": 1}  # bounds of factors like β
NOT_NEGATIVE = {"least": 0}


@dataclass(frozen=True)
class Optimizer(ABC):
    """Settings of an optimizer; what it remembers stands in an array of slots, outside of it.

    Parameters
    ----------
    rate : float or callable
        Learning rate, above 0, or a schedule: a function from the step, 1, 2, …, to the rate.
    """

    rate: float | Callable[[int], float]

    BOUNDS: ClassVar[dict] = {}  # name of a number: its bounds

    def __post_init__(self):
        if not callable(self.rate):
            _set(self, rate=shapes.number("rate", self.rate, above=0))
        for name, bounds in self.BOUNDS.items():
            _set(self, **{name: shapes.number(name, getattr(self, name), **bounds)})

    @property
    def slots(self) -> tuple[str, ...]:
        """Names of the vectors that the optimizer remembers."""
        return ()

    @abstractmethod
    def _step(self) -> tuple:
        """Return the kernel and its settings after the rate."""

    @cached_property
    def _plan(self):
        return (*self._step(), len(self.slots))

    def __getstate__(self):
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def start(self, flat: np.ndarray) -> np.ndarray:
        """Return fresh slots for a flat vector of parameters, shape (slots, p), of its dtype."""
        flat = shapes.Axes().floats("flat", flat, "p", finite=False)
        return np.zeros((len(self.slots), flat.size), flat.dtype)

    def rate_at(self, step: int, factor: float = 1.0) -> float:
        """Return the rate of a step, 1 for the first, times a factor."""
        rate = float((self.rate(step) if callable(self.rate) else self.rate) * factor)
        if not 0.0 <= rate < math.inf:
            raise ValueError(
                f"the rate of step {step} is {rate}, expected a finite number ≥ 0: "
                f"rate is {shapes.shown(self.rate)}, factor {factor}"
            )
        return rate

    def update(
        self,
        flat_params: np.ndarray,
        flat_grads: np.ndarray,
        slots: np.ndarray,
        step: int,
        factor: float = 1.0,
    ) -> None:
        """Take one step: change parameters and slots in place.

        Parameters
        ----------
        flat_params : ndarray, shape (p,)
            All parameters, contiguous, float64 or float32.
        flat_grads : ndarray, shape (p,)
            The gradient of the cost there, of the same dtype. NaN passes through.
        slots : ndarray, shape (s, p)
            What `start` returned, after the steps before this one.
        step : int
            Number of this step, 1 for the first.
        factor : float
            What the rate is multiplied by.

        Raises
        ------
        ValueError, TypeError
            For arrays that do not fit, a step below 1, or a rate that is negative or not finite.
        """
        kernel, settings = self._ready(flat_params, flat_grads, slots)
        t = operator.index(step)
        if t < 1:
            raise ValueError(f"step is {step}, expected 1 for the first step")
        kernel(flat_params, flat_grads, slots, t, self.rate_at(t, factor), *settings)

    def bound(
        self, flat_params: np.ndarray, flat_grads: np.ndarray, slots: np.ndarray
    ) -> Callable[[int], None]:
        """Return `update` for these arrays, which are checked here and not at every step.

        Parameters
        ----------
        flat_params, flat_grads, slots : ndarray
            As for `update`; the same memory in all steps to come.

        Returns
        -------
        callable
            Takes the number of a step.

        Raises
        ------
        ValueError, TypeError
            As `update`, for the arrays now and for the rate at each step.
        """
        kernel, settings = self._ready(flat_params, flat_grads, slots)
        rate_at = self.rate_at
        return lambda t: kernel(flat_params, flat_grads, slots, t, rate_at(t), *settings)

    def _ready(self, flat_params, flat_grads, slots):
        """Return the kernel for these arrays, if they fit, and its settings after the rate."""
        kernel, settings, rows = self._plan
        if not _fit(flat_params, flat_grads, slots, rows):
            _explain(flat_params, flat_grads, slots, self.slots)
        if flat_params.nbytes >= PARALLEL_FROM and numba.get_num_threads() > 1:
            kernel = _spread(kernel)
        return kernel, settings


def _fit(theta, g, slots, rows):
    """Return quickly whether three arrays are what a kernel expects."""
    try:
        P, kind = len(theta), theta.dtype
        return (
            len(g) == P
            and slots.shape == (rows, P)
            and theta.ndim == g.ndim == 1
            and (kind is FLOAT64 or kind is FLOAT32)
            and kind is g.dtype is slots.dtype
            and theta.flags.carray
            and g.flags.carray
            and slots.flags.carray
        )
    except (AttributeError, TypeError):
        return False


def _explain(flat_params, flat_grads, slots, names):
    """Raise the error that says which array does not fit and how, if one does not."""
    given = {"flat_params": flat_params, "flat_grads": flat_grads, "slots": slots}
    for name, array in given.items():
        if not isinstance(array, np.ndarray):
            raise TypeError(f"{name} is {shapes.shown(array)}, expected an array")
        if array.dtype not in (np.float64, np.float32):
            raise TypeError(f"{name} has dtype {array.dtype}, expected float64 or float32")
    if flat_params.ndim != 1:
        raise ValueError(f"flat_params has shape {flat_params.shape}, expected (p,)")
    P = flat_params.size
    for name, shape in (("flat_grads", (P,)), ("slots", (len(names), P))):
        array = given[name]
        if array.shape != shape:
            of = f", one row for each of {', '.join(names) or 'none'}" if name == "slots" else ""
            raise ValueError(
                f"{name} has shape {array.shape}, expected {shape} as flat_params has {P}{of}"
            )
        if array.dtype != flat_params.dtype:
            raise TypeError(f"{name} has dtype {array.dtype}, flat_params {flat_params.dtype}")
    for name, array in given.items():
        if not array.flags.c_contiguous:
            raise ValueError(f"{name} is not contiguous; use np.ascontiguousarray({name})")
        if not array.flags.writeable and name != "flat_grads":
            raise ValueError(f"{name} cannot be written to")
        if not array.flags.aligned:
            raise ValueError(f"{name} is not aligned in memory; use {name}.copy()")


@dataclass(frozen=True)
class SGD(Optimizer):
    """Gradient descent, stochastic where the gradient is that of a mini-batch (`sgd`).

    Parameters
    ----------
    rate : float or callable
        Learning rate, or a schedule.
    weight_decay : float
        Strength λ of the L2 penalty λ/2 ‖θ‖², whose gradient is added to that of the cost.
    """

    rate: float | Callable[[int], float] = 1e-2
    weight_decay: float = 0.0

    BOUNDS: ClassVar[dict] = {"weight_decay": NOT_NEGATIVE}

    def _step(self):
        return sgd, (self.weight_decay,)


@dataclass(frozen=True)
class Momentum(Optimizer):
    """Gradient descent with a velocity (`momentum`, `heavy_ball`).

    Parameters
    ----------
    rate : float or callable
        Learning rate, or a schedule.
    mu : float
        Share of the velocity that stays, from 0 to below 1; 0 is plain gradient descent.
    dampening : float
        Share of each gradient that is left out, from 0 to 1.
    weight_decay : float
        Strength of the L2 penalty.
    form : {"torch", "polyak"}
        Whether the velocity gathers gradients, and the rate multiplies all of it, or steps, each
        with the rate of its time. The same where rate and dampening are constant, but that PyTorch
        takes the first gradient without dampening.
    """

    rate: float | Callable[[int], float] = 1e-2
    mu: float = 0.9
    dampening: float = 0.0
    weight_decay: float = 0.0
    form: str = "torch"

    BOUNDS: ClassVar[dict] = {
        "mu": UNIT,
        "dampening": {"least": 0, "most": 1},
        "weight_decay": NOT_NEGATIVE,
    }

    def __post_init__(self):
        super().__post_init__()
        shapes.choice("form", self.form, ("torch", "polyak"))

    @property
    def slots(self):
        return ("v",)

    def _step(self):
        kernel = momentum if self.form == "torch" else heavy_ball
        return kernel, (self.mu, self.dampening, self.weight_decay)


@dataclass(frozen=True)
class Nesterov(Optimizer):
    """Nesterov's accelerated gradient (`nesterov`, `nesterov_ball`).

    The parameters it moves are the points θ + μ v at which the gradient is taken.

    Parameters
    ----------
    rate : float or callable
        Learning rate, or a schedule.
    mu : float
        Share of the velocity that stays, from 0 to below 1.
    weight_decay : float
        Strength of the L2 penalty.
    form : {"torch", "ball"}
        As for `Momentum`: whether the velocity gathers gradients or steps.
    """

    rate: float | Callable[[int], float] = 1e-2
    mu: float = 0.9
    weight_decay: float = 0.0
    form: str = "torch"

    BOUNDS: ClassVar[dict] = {"mu": UNIT, "weight_decay": NOT_NEGATIVE}

    def __post_init__(self):
        super().__post_init__()
        shapes.choice("form", self.form, ("torch", "ball"))

    @property
    def slots(self):
        return ("v",)

    def _step(self):
        kernel = nesterov if self.form == "torch" else nesterov_ball
        return kernel, (self.mu, self.weight_decay)


@dataclass(frozen=True)
class AdaGrad(Optimizer):
    """A rate for each parameter, divided by the root of its summed squares (`adagrad`).

    Parameters
    ----------
    rate : float or callable
        Learning rate, or a schedule.
    rate_decay : float
        Strength r of a further decay η/(1 + r (t − 1)).
    weight_decay : float
        Strength of the L2 penalty.
    initial : float
        What the sums of squares start from.
    eps : float
        Small number added to the root.
    """

    rate: float | Callable[[int], float] = 1e-2
    rate_decay: float = 0.0
    weight_decay: float = 0.0
    initial: float = 0.0
    eps: float = 1e-10

    BOUNDS: ClassVar[dict] = {
        "rate_decay": NOT_NEGATIVE,
        "weight_decay": NOT_NEGATIVE,
        "initial": NOT_NEGATIVE,
        "eps": {"above": 0},
    }

    @property
    def slots(self):
        return ("s",)

    def start(self, flat):
        slots = super().start(flat)
        slots[:] = self.initial
        return slots

    def _step(self):
        return adagrad, (self.rate_decay, self.eps, self.weight_decay)


@dataclass(frozen=True)
class RMSprop(Optimizer):
    """AdaGrad with a moving average in place of the sum (`rmsprop`, `rmsprop_momentum`).

    Parameters
    ----------
    rate : float or callable
        Learning rate, or a schedule.
    rho : float
        Factor of the moving average of squares, from 0 to below 1.
    eps : float
        Small number added to the root.
    weight_decay : float
        Strength of the L2 penalty.
    mu : float
        Momentum, from 0 to below 1.
    centered : bool
        Divide by the standard deviation of the gradient instead of its root mean square.
    """

    rate: float | Callable[[int], float] = 1e-2
    rho: float = 0.99
    eps: float = 1e-8
    weight_decay: float = 0.0
    mu: float = 0.0
    centered: bool = False

    BOUNDS: ClassVar[dict] = {
        "rho": UNIT,
        "eps": {"above": 0},
        "weight_decay": NOT_NEGATIVE,
        "mu": UNIT,
    }

    def __post_init__(self):
        super().__post_init__()
        _truth("centered", self.centered)

    @property
    def slots(self):
        return ("v", "m", "b") if self.mu or self.centered else ("v",)

    def _step(self):
        settings = self.rho, self.eps, self.weight_decay
        if self.mu or self.centered:
            return rmsprop_momentum, (*settings, self.mu, float(self.centered))
        return rmsprop, settings


@dataclass(frozen=True)
class AdaDelta(Optimizer):
    """Steps whose size follows that of the steps before (`adadelta`).

    Parameters
    ----------
    rate : float or callable
        Factor of each step; 1 in Zeiler's paper.
    rho : float
        Factor of both moving averages, from 0 to below 1.
    eps : float
        Number added below both roots; it decides how large the first steps are.
    weight_decay : float
        Strength of the L2 penalty.
    """

    rate: float | Callable[[int], float] = 1.0
    rho: float = 0.9
    eps: float = 1e-6
    weight_decay: float = 0.0

    BOUNDS: ClassVar[dict] = {"rho": UNIT, "eps": {"above": 0}, "weight_decay": NOT_NEGATIVE}

    @property
    def slots(self):
        return ("v", "u")

    def _step(self):
        return adadelta, (self.rho, self.eps, self.weight_decay)


@dataclass(frozen=True)
class Adam(Optimizer):
    """Momentum and RMSprop, both freed of the bias of their start (`adam`, `amsgrad`).

    Parameters
    ----------
    rate : float or callable
        Learning rate, or a schedule.
    beta1, beta2 : float
        Factors of the moving averages of g and g², from 0 to below 1.
    eps : float
        Small number added to the root.
    weight_decay : float
        Strength of the L2 penalty, whose gradient is added to that of the cost.
    amsgrad : bool
        Divide by the root of the largest average of squares so far.
    """

    rate: float | Callable[[int], float] = 1e-3
    beta1: float = 0.9
    beta2: float = 0.999
    eps: float = 1e-8
    weight_decay: float = 0.0
    amsgrad: bool = False

    BOUNDS: ClassVar[dict] = {
        "beta1": UNIT,
        "beta2": UNIT,
        "eps": {"above": 0},
        "weight_decay": NOT_NEGATIVE,
    }

    def __post_init__(self):
        super().__post_init__()
        _truth("amsgrad", self.amsgrad)

    @property
    def slots(self):
        return ("m", "v", "most") if self.amsgrad else ("m", "v")

    def _step(self):
        settings = self.beta1, self.beta2, self.eps, self.weight_decay
        return (amsgrad, (*settings, 0.0)) if self.amsgrad else (adam, settings)


@dataclass(frozen=True)
class AdamW(Adam):
    """Adam whose weight decay does not pass through the averages (`adamw`, `amsgrad`).

    Parameters
    ----------
    rate, beta1, beta2, eps, amsgrad
        As for `Adam`.
    weight_decay : float
        Strength λ: each step also takes the share η λ of every parameter away.
    """

    weight_decay: float = 1e-2

    def _step(self):
        settings = self.beta1, self.beta2, self.eps
        if self.amsgrad:
            return amsgrad, (*settings, 0.0, self.weight_decay)
        return adamw, (*settings, self.weight_decay)


OPTIMIZERS = (SGD, Momentum, Nesterov, AdaGrad, RMSprop, AdaDelta, Adam, AdamW)


def _truth(name, value):
    """Refuse what is neither True nor False."""
    if not isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{name} is {shapes.shown(value)}, expected True or False")


# Using them


def trajectory(
    gradient: Callable, start: ArrayLike, optimizer: Optimizer, steps: int
) -> np.ndarray:
    """Return every point that an optimizer visits, shape (steps + 1, p), the start first.

    Parameters
    ----------
    gradient : callable
        Takes parameters (p,), returns the gradient of the cost there, or a random estimate of it.
    start : array_like, shape (p,)
        Where to begin; float32 stays float32.
    optimizer : Optimizer
        What takes the steps.
    steps : int
        How many, 0 or more.

    Raises
    ------
    ValueError, TypeError
        If the start is not finite, the optimizer is not one, or a gradient has another shape.
    """
    axes = shapes.Axes()
    start = axes.floats("start", start, "p")
    steps = shapes.count("steps", steps, least=0)
    if not isinstance(optimizer, Optimizer):
        raise TypeError(f"optimizer is {shapes.shown(optimizer)}, expected one like SGD(0.1)")
    if not callable(gradient):
        raise TypeError(f"gradient is {shapes.shown(gradient)}, expected a function")
    path = np.empty((steps + 1, start.size), start.dtype)
    path[0], slots = start, optimizer.start(start)
    for t in range(steps):
        g = gradient(path[t].copy())
        if not (isinstance(g, np.ndarray) and g.dtype == start.dtype and g.shape == start.shape):
            g = axes.floats("gradient(theta)", g, "p", finite=False).astype(start.dtype)
        path[t + 1] = path[t]
        optimizer.update(path[t + 1], np.ascontiguousarray(g), slots, t + 1)
    return path


def minibatches(n: int, batch: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Yield the indices of mini-batches for ever: every epoch in a new random order.

    Parameters
    ----------
    n : int
        Number of examples.
    batch : int
        Examples in a mini-batch, from 1 to n; what is left over at the end of an epoch is a
        smaller one.
    rng : numpy.random.Generator
        Source of the orders.

    Yields
    ------
    ndarray of int64
    """
    n = shapes.count("n", n)
    batch = shapes.count("batch", batch, most=n)
    shapes.generator("rng", rng)

    def epochs():
        while True:
            order = rng.permutation(n)
            for first in range(0, n, batch):
                yield order[first : first + batch]

    return epochs()
