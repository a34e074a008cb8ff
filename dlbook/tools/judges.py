"""One set of measures for generated digits: what readers see in them, how near they lie to real ones.

Three readers learn from the training digits alone and know nothing of the model that is judged: a
support vector machine (C = 10), the three nearest neighbours, and the mean of three small networks.
They are scikit-learn's. No single measure says what a good sample is, which is why `references`
gives every one of them for held-out digits, for a Gaussian in the space of pixels, for uniform
noise and for copies of training digits.

Sources: Gretton et al., J. Mach. Learn. Res. 13 (2012), for the two-sample test; Meehan, Chaudhuri &
Dasgupta, AISTATS (2020), for comparing the distances to training and to held-out data.
"""

import importlib
import warnings
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from dlbook.tools import shapes
from dlbook.tools.data import digits
from dlbook.tools.errors import DataError

__all__ = [
    "CONFIDENT",
    "PERMUTATIONS",
    "Judged",
    "TwoSample",
    "divided",
    "judge",
    "nearest",
    "pixel_gaussian",
    "readings",
    "references",
]

PIXELS, CLASSES = 64, 10
CONFIDENT = 0.9  # mean probability that the networks give to a digit that counts as recognised
PERMUTATIONS = 200
NETWORKS, UNITS, LEVEL = 3, 64, 0.1  # LEVEL: deviation of the noise on what the networks learn from


class TwoSample(NamedTuple):
    """Whether samples and held-out digits differ as sets."""

    mmd2: float  # unbiased squared maximum mean discrepancy; may be below zero
    p: float  # share of permutations, the true order among them, with one at least as large


class Judged(NamedTuple):
    """What is measured of a set of generated digits."""

    agree: float  # share in which the three readers name the same class
    recognised: float  # share in which they do, and the networks are CONFIDENT
    to_train: float  # mean distance to the nearest training digit, pixels 0 … 1
    to_held_out: float  # the same to the nearest held-out digit; there are fewer of these
    two_sample: TwoSample  # against the held-out digits
    classes: np.ndarray  # (10,) share of each class that the networks name


def _squares(x, y):
    """Return the squared distance of each row of x from each of y."""
    return np.maximum(np.sum(x**2, axis=1)[:, None] + np.sum(y**2, axis=1) - 2 * x @ y.T, 0)


def _learner(module, name, *args, **settings):
    """Return an untrained reader of scikit-learn."""
    try:
        made = getattr(importlib.import_module(f"sklearn.{module}"), name)
    except ImportError as error:
        raise DataError(
            "the readers come with scikit-learn, which is not installed: pip install scikit-learn"
        ) from error
    return made(*args, **settings)


@cache
def _readers():
    """Train the readers, once in a process."""
    split, rng = digits(), np.random.default_rng(0)
    x, y = split.x_train, split.y_train
    vectors = _learner("svm", "SVC", C=10).fit(x, y)
    near = _learner("neighbors", "KNeighborsClassifier", 3).fit(x, y)
    small = {"learning_rate_init": 0.005, "max_iter": 20}
    nets = [
        _learner("neural_network", "MLPClassifier", (UNITS,), random_state=i, **small)
        for i in range(NETWORKS)
    ]
    both = np.append(y, y)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # they stop after as many epochs as they are given
        for net in nets:
            net.fit(np.concatenate((x, x + LEVEL * rng.normal(size=x.shape))), both)
    return vectors, near, nets


@cache
def _bandwidth():
    """Return the median distance of two training digits, which depends on nothing that is judged."""
    x = digits().x_train
    return float(np.sqrt(np.median(_squares(x, x)[np.triu_indices(len(x), 1)])))


def _checked(samples, clip):
    """Return samples (n, 64) in float64, between 0 and 1."""
    axes = shapes.Axes()
    axes.sizes["d"] = (PIXELS, "a digit")
    x = axes.floats("samples", samples, "n d").astype(np.float64)
    if len(x) < 2:
        raise ValueError("samples is one digit, expected two at least")
    low, high = x.min(), x.max()
    if not clip and (low < 0 or high > 1):
        raise ValueError(
            f"samples has pixels from {low:.3g} to {high:.3g}, outside of 0 … 1; clip=True cuts "
            "them off there"
        )
    return np.clip(x, 0, 1)


def nearest(x: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return the distance (n,) of each row of x (n, d) to the nearest row of others (m, d)."""
    return np.sqrt(_squares(x.astype(float), others.astype(float)).min(axis=1))


def divided(kernel: np.ndarray, first: np.ndarray) -> np.ndarray:
    """Return the unbiased MMD² of each division of n + m points into two samples.

    Parameters
    ----------
    kernel : ndarray, shape (n + m, n + m)
        Of all pairs of points, with zeros on the diagonal.
    first : ndarray, shape (k, n + m)
        1 for the n points of the first sample, 0 for the others, for each division.
    """
    n = int(first[0].sum())
    m = len(kernel) - n
    within = np.sum((first @ kernel) * first, axis=1)
    across = first @ kernel.sum(axis=1) - within
    rest = kernel.sum() - within - 2 * across
    return within / (n * (n - 1)) + rest / (m * (m - 1)) - 2 * across / (n * m)


def _two_sample(x, y, rng):
    """Return the unbiased MMD² of two samples under a Gaussian kernel, and its p by permutation."""
    both, n = np.concatenate((x, y)), len(x)
    kernel = np.exp(-_squares(both, both) / (2 * _bandwidth() ** 2))
    np.fill_diagonal(kernel, 0)
    chosen = np.zeros((PERMUTATIONS, len(both)))
    chosen[:, :n] = 1
    chosen[1:] = rng.permuted(chosen[1:], axis=1)
    found = divided(kernel, chosen)
    return TwoSample(float(found[0]), float(np.mean(found >= found[0] - 1e-12)))


def readings(samples: ArrayLike, *, clip: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Return what each reader names, and how sure the networks are.

    Parameters
    ----------
    samples : array_like, shape (n, 64)
        Digits of 8 × 8 pixels between 0 and 1.
    clip : bool
        Cut off what lies outside, which is refused otherwise.

    Returns
    -------
    named : ndarray of int, shape (n, 3)
        Class by support vectors, by neighbours and by the networks.
    confidence : ndarray, shape (n,)
        Mean probability that the networks give to the class they name.
    """
    x = _checked(samples, clip)
    vectors, near, nets = _readers()
    probability = np.mean([net.predict_proba(x) for net in nets], axis=0)
    named = (vectors.predict(x), near.predict(x), probability.argmax(axis=1))
    return np.stack(named, axis=1), probability.max(axis=1)


def judge(samples: ArrayLike, seed: int = 0, *, clip: bool = False) -> Judged:
    """Measure how good generated digits are, in several ways that can disagree.

    Parameters
    ----------
    samples : array_like, shape (n, 64)
        Digits of 8 × 8 pixels between 0 and 1; two at least, some hundreds to say much.
    seed : int
        Of the permutations.
    clip : bool
        Cut off what lies outside of 0 … 1, which is refused otherwise.

    Returns
    -------
    Judged

    Raises
    ------
    TypeError, ValueError
        If the samples are not what is described here, or not finite.
    DataError
        If scikit-learn is missing.

    Notes
    -----
    Copies of training digits show by a `to_train` that is far below that of real digits, which
    `references` gives. The two distances alone do not compare: the nearest of more digits is nearer.
    """
    shapes.count("seed", seed, least=0)
    x, split = _checked(samples, clip), digits()
    named, confidence = readings(x)
    agree = np.all(named == named[:, :1], axis=1)
    return Judged(
        float(agree.mean()),
        float(np.mean(agree & (confidence >= CONFIDENT))),
        float(nearest(x, split.x_train).mean()),
        float(nearest(x, split.x_test).mean()),
        _two_sample(x, split.x_test, np.random.default_rng(seed)),
        np.bincount(named[:, -1], minlength=CLASSES) / len(x),
    )


def pixel_gaussian(n: int, rng: np.random.Generator) -> np.ndarray:
    """Return n draws (n, 64) of a Gaussian with mean and covariance of the training digits."""
    x = digits().x_train
    return rng.multivariate_normal(x.mean(axis=0), np.cov(x.T), n, method="eigh")


def references(n: int = 500, seed: int = 0) -> dict[str, Any]:
    """Return what `judge` says of sets that nobody had to generate.

    Parameters
    ----------
    n : int
        Samples of the Gaussian and of the noise; copies, at most as many as there are.
    seed : int
        Of what is drawn.

    Returns
    -------
    dict of str to Judged
        "real digits": the validation digits, which neither the readers nor the held-out set have;
        "Gaussian in pixel space", with mean and covariance of the training digits, cut off at 0
        and 1; "uniform noise"; "copies of training digits", drawn without putting back.
    """
    shapes.count("n", n, least=2)
    split, rng = digits(), np.random.default_rng(shapes.count("seed", seed, least=0))
    copied = rng.choice(len(split.x_train), min(n, len(split.x_train)), replace=False)
    sets = {
        "real digits": split.x_val,
        "Gaussian in pixel space": pixel_gaussian(n, rng),
        "uniform noise": rng.random((n, PIXELS)),
        "copies of training digits": split.x_train[copied],
    }
    return {name: judge(x, seed, clip=True) for name, x in sets.items()}
