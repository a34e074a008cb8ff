"""Linear regression against PyTorch: the code that the page shows, and autograd."""

import numpy as np
import torch
from shown import shown

from dlbook import linear_regression as lr
from dlbook.tools import data
from dlbook.verification import relative_error


def standardised():
    table = data.diabetes()
    z = (table.x - table.x.mean(axis=0)) / table.x.std(axis=0)
    return lr.design_matrix(z), table.y


def test_shown_code():
    """Both the exact solution and 200 steps of descent are those of the chapter."""
    X, y = standardised()
    rate, steps = 0.9 * lr.rate_limit(X), 200
    names = {"X": torch.tensor(X), "y": torch.tensor(y), "rate": rate, "steps": steps}
    exec(shown("linear_regression"), names)
    assert relative_error(lr.least_squares(X, y).beta, names["exact"].numpy()) <= 1e-10
    layer, path = names["layer"], lr.gradient_descent(X, y, rate, steps)
    weights = np.append(layer.bias.detach().numpy(), layer.weight.detach().numpy()[0])
    assert relative_error(path[-1], weights) <= 1e-10
    last = lr.rss(X, y, path[-2]) / len(y)
    assert relative_error(last, names["loss"].item()) <= 1e-10
    # the gradients that the layer holds are those of its last step
    dbeta = np.append(layer.bias.grad.numpy(), layer.weight.grad.numpy()[0])
    assert relative_error(lr.gradient(X, y, path[-2]) / len(y), dbeta) <= 1e-8


def test_gradient_against_autograd(rng):
    for n, p in ((1, 1), (7, 3), (23, 5)):
        X, y, beta = rng.normal(size=(n, p)), rng.normal(size=n), rng.normal(size=p)
        b = torch.tensor(beta, requires_grad=True)
        torch.sum((torch.tensor(y) - torch.tensor(X) @ b) ** 2).backward()
        assert relative_error(lr.gradient(X, y, beta), b.grad.numpy()) <= 1e-12


def test_dependent_columns_against_pinv(rng):
    X = rng.normal(size=(9, 3)) @ rng.normal(size=(3, 6))
    y = rng.normal(size=9)
    peer = torch.linalg.pinv(torch.tensor(X)) @ torch.tensor(y)
    assert relative_error(lr.least_squares(X, y, "minimum-norm").beta, peer.numpy()) <= 1e-10


def test_leverages_are_what_autograd_says(rng):
    X, y = rng.normal(size=(9, 3)), torch.tensor(rng.normal(size=9))
    T = torch.tensor(X)
    H = torch.autograd.functional.jacobian(lambda v: T @ torch.linalg.solve(T.T @ T, T.T @ v), y)
    fit = lr.least_squares(X, y.numpy())
    assert relative_error(fit.leverages, H.diagonal().numpy()) <= 1e-10
