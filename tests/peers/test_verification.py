"""The oracles agree with PyTorch's automatic differentiation, and so do the two checkers."""

import numpy as np
import pytest
from shown import shown

from dlbook.verification import central_differences, check_gradient, complex_step

X = np.array([0.3, 1.2, -0.7])


def f(x):
    return np.exp(x[0]) * np.sin(x[1]) + x[2] ** 3


def test_the_code_on_the_page():
    space = {}
    exec(shown("verification"), space)
    gradient = space["gradient"].numpy()
    assert space["passed"] is True
    np.testing.assert_allclose(complex_step(f, X), gradient, rtol=1e-14)
    np.testing.assert_allclose(central_differences(f, X), gradient, rtol=1e-9)
    assert check_gradient(f, gradient, X) < 1e-9


def test_gradcheck_lets_pass_what_the_book_refuses():
    """A gradient wrong by half a thousandth is inside the framework's default tolerances."""
    import torch

    class Slightly(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x**3

        @staticmethod
        def backward(ctx, g):
            (x,) = ctx.saved_tensors
            return g * 3 * x**2 * 1.0005

    x = torch.tensor([0.9, 1.1], requires_grad=True)
    assert torch.autograd.gradcheck(Slightly.apply, (x,))
    point = np.array([0.9, 1.1])
    with pytest.raises(AssertionError, match="gradient"):
        check_gradient(lambda x: np.sum(x**3), 3 * point**2 * 1.0005, point)
