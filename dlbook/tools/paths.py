"""Paths: fits for several strengths, judged on folds that they have not seen, and drawn."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from dlbook.tools import shapes

__all__ = ["Path", "RidgePath", "SparsePath", "cross_validate", "k_folds", "plot_path"]


class Path(NamedTuple):
    """Weights and biases for several strengths."""

    strength: np.ndarray  # (k) what differs: steps, components
    w: np.ndarray  # (k p)
    b: np.ndarray  # (k)


class RidgePath(NamedTuple):
    """Ridge regressions for several strengths."""

    strength: np.ndarray  # (k) l2
    w: np.ndarray  # (k p)
    b: np.ndarray  # (k)
    cost: np.ndarray  # (k)
    freedom: np.ndarray  # (k) effective number of weights, without the bias
    left_out: np.ndarray  # (k) mean squared error on examples left out one at a time


class SparsePath(NamedTuple):
    """Elastic nets for several strengths, each begun where the one before ended."""

    strength: np.ndarray  # (k) l1
    w: np.ndarray  # (k p)
    b: np.ndarray  # (k)
    cost: np.ndarray  # (k)
    gap: np.ndarray  # (k)
    steps: np.ndarray  # (k) sweeps


def k_folds(n: int, folds: int, rng: np.random.Generator) -> np.ndarray:
    """Return the fold of each of n examples, drawn so that folds differ by one in size at most.

    Parameters
    ----------
    n, folds : int
        Examples, and folds from 2 to n.
    rng : numpy.random.Generator
        Draws them.
    """
    n = shapes.count("n", n, least=2)
    folds = shapes.count("folds", folds, least=2, most=n)
    return shapes.generator("rng", rng).permutation(np.arange(n) % folds)


def cross_validate(
    fit: Callable[[np.ndarray, np.ndarray], Any], X: ArrayLike, y: ArrayLike, fold: ArrayLike
) -> np.ndarray:
    """Return the mean squared error of each fit of a path on examples that it has not seen.

    Parameters
    ----------
    fit : callable
        ``fit(X, y)`` returns a path, anything with weights ``w`` (k, p) and biases ``b`` (k). What
        is learned from data, means and spreads too, belongs inside.
    X, y : array_like, shapes (n, p) and (n,)
        Inputs and responses.
    fold : array_like of int, shape (n,)
        The fold of each example, from `k_folds`.

    Returns
    -------
    ndarray, shape (k,)
    """
    axes = shapes.Axes()
    X, y = axes.floats("X", X, "n p"), axes.floats("y", y, "n")
    fold = axes.labels("fold", fold, "n")
    if fold.min() == fold.max():
        raise ValueError(f"fold holds {fold[0]} only; examples of another fold are needed to fit")
    total = 0.0
    for f in np.unique(fold):
        inside = fold == f
        path = fit(X[~inside], y[~inside])
        total += np.sum((y[inside, None] - X[inside] @ path.w.T - path.b) ** 2, axis=0)
    return total / len(y)


def plot_path(
    path: Path | RidgePath | SparsePath, names: Sequence[str] | None = None, most: int = 6
) -> tuple[Any, Any]:
    """Draw the weights of a path against its strength, the largest of them with their names.

    Parameters
    ----------
    path : Path, RidgePath or SparsePath
        From `ridge_path`, `elastic_net_path`, `pca_path` or `stopped_path` of regularization.
    names : sequence of str, optional
        Names of the columns; their numbers otherwise.
    most : int
        How many curves are named.

    Returns
    -------
    figure, axes
    """
    from dlbook.tools import plotting

    if not isinstance(path, (Path, RidgePath, SparsePath)):
        raise TypeError(f"path is {shapes.shown(path)}, expected a path of fits")
    names = [str(p) for p in range(path.w.shape[1])] if names is None else list(names)
    if len(names) != path.w.shape[1]:
        raise ValueError(f"names has {len(names)} names for {path.w.shape[1]} columns")
    fig, ax = plotting.figure(6.2, 3.4)
    end = path.w[np.argmin(path.strength) if not isinstance(path, Path) else -1]
    named = np.argsort(-np.abs(end))[:most]
    beside = {"textcoords": "offset points", "ha": "right", "va": "center"}
    for p in np.argsort(np.abs(end)):
        color = plotting.SERIES[p % 4] if p in named else plotting.GRID
        ax.plot(path.strength, path.w[:, p], color=color, linestyle=("-", "--", ":", "-.")[p % 4])
    last, height = path.strength[np.flatnonzero((path.w == end).all(axis=1))[0]], -np.inf
    for p in sorted(named, key=lambda p: end[p]):  # upwards, so that no name covers another
        height = max(end[p], height + 0.06 * np.ptp(path.w))
        ax.annotate(names[p], (last, height), (-3, 0), **beside)
    ax.set(xscale="log", ylabel="weight")
    return fig, ax
