"""Literal costs and their gradients, which take complex numbers: (cost, gradient, where)."""

import numpy as np

from dlbook import autoencoders as ae
from dlbook import embeddings, gan, variational
from dlbook import linear_classification as lc
from dlbook import linear_regression as lr

RNG = np.random.default_rng(0)
X, Y, Z = RNG.normal(size=(6, 3)), RNG.normal(size=6), RNG.normal(size=(6, 4))
SIGNS, CLASSES, SHARES = np.array([1.0, -1] * 3), np.array([0, 1, 2, 3, 1, 1]), RNG.random((6, 4))
SECOND = RNG.normal(size=(6, 4))
W, B = RNG.normal(size=(2, 3)), RNG.normal(size=2)
COUNTS, NOISE = RNG.random((5, 4)), np.full(4, 0.25)


def flat(cost, gradient, *shapes):
    """Return cost and gradient of several arrays as those of one vector."""
    ends = np.cumsum([int(np.prod(shape)) for shape in shapes])[:-1]

    def parts(theta):
        cut = zip(np.split(theta, ends), shapes, strict=True)
        return [part.reshape(shape) for part, shape in cut]

    return (
        lambda theta: cost(*parts(theta)),
        lambda theta: np.concatenate([np.ravel(g) for g in gradient(*parts(theta))]),
    )


def contractive(w, b):
    return ae.contractive_gradient(X.astype(w.dtype), w, b)


SLOPES = {
    "least squares": (
        lambda beta: lr.rss(X, Y, beta),
        lambda beta: lr.gradient(X, Y, beta),
        RNG.normal(size=3),
    ),
    "logistic": (
        *flat(
            lambda w, b: lc.logistic_cost(X, SIGNS, w, b, 0.3),
            lambda w, b: lc.logistic_gradient(X, SIGNS, w, b, 0.3),
            *[(3,), ()],
        ),
        RNG.normal(size=4),
    ),
    "softmax and cross-entropy": (
        lambda z: lc.softmax_cross_entropy(z, CLASSES),
        lambda z: lc.softmax_cross_entropy_gradient(z, CLASSES),
        Z,
    ),
    "Bernoulli": (
        lambda a: ae.bernoulli_nll(a, SHARES),
        lambda a: ae.bernoulli_nll_gradient(a, SHARES),
        Z,
    ),
    "Gaussian": (
        lambda a: ae.gaussian_nll(a, SECOND, 0.7),
        lambda a: ae.gaussian_nll_gradient(a, SECOND, 0.7),
        Z,
    ),
    "sparse by divergence": (
        lambda h: ae.kl_penalty(ae.mean_activation(h), 0.2),
        lambda h: ae.kl_gradient(h, 0.2),
        SHARES,
    ),
    "contractive": (
        *flat(lambda w, b: ae.contractive(X.astype(w.dtype), w, b), contractive, (2, 3), (2,)),
        np.concatenate([W.ravel(), B]),
    ),
    "divergence of a code": (
        *flat(
            lambda m, s: variational.gaussian_kl(m, s).sum(),
            variational.gaussian_kl_gradient,
            *2 * [(6, 2)],
        ),
        Z.ravel(),
    ),
    "skip-gram with negative sampling": (
        *flat(
            lambda W, C: embeddings.sgns_cost(COUNTS, NOISE, 2.0, W, C),
            lambda W, C: embeddings.sgns_gradient(COUNTS, NOISE, 2.0, W, C),
            *[(5, 3), (4, 3)],
        ),
        RNG.normal(size=27),
    ),
    "R1": (lambda g: gan.r1(g, 0.7), lambda g: gan.r1_slope(g, 0.7), X),
    "gradient penalty": (
        lambda g: gan.gradient_penalty(g, 0.7),
        lambda g: gan.gradient_penalty_slope(g, 0.7),
        X,
    ),
}
