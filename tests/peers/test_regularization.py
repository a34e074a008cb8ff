"""What the page shows in PyTorch gives what the kernels give."""

import numpy as np
import torch
from shown import shown

from dlbook import regularization as reg


def test_the_same_in_pytorch():
    rng = np.random.default_rng(7)
    X, y, w = rng.normal(size=(9, 4)), rng.normal(size=9), rng.normal(size=4)
    l1, l2 = 0.7, 0.3
    L = np.linalg.norm(X, 2) ** 2 + l2
    names = {
        "X": torch.tensor(X),
        "y": torch.tensor(y),
        "w": torch.tensor(w, requires_grad=True),
        "l1": l1,
        "l2": l2,
        "L": L,
    }
    exec(shown("regularization"), names)
    theirs = lambda name: names[name].detach().numpy()
    close = lambda ours, other: np.testing.assert_allclose(ours, other, rtol=1e-10, atol=1e-12)

    close(reg.ridge_solution(X, y, l2), theirs("closed"))
    close(reg.ridge_solution(X, y, l2), theirs("decayed"))
    close(reg.proximal_step(X, y, w, l1, l2, L), theirs("step"))
    close(reg.elastic_net_cost(X, y, w, l1, l2), theirs("cost"))
    z = torch.tensor([-2.0, -0.5, 0.0, 0.5, 2.0], dtype=torch.float64)
    close(reg.soft_threshold(z.numpy(), l1), torch.nn.functional.softshrink(z, l1).numpy())


def test_plain_gradient_steps_never_rest_at_a_zero():
    """Autograd takes zero for the slope of the kink, and the minimum has zeros."""
    rng = np.random.default_rng(7)
    X, y = rng.normal(size=(30, 6)), rng.normal(size=30)
    best = reg.lasso(X, y, 8.0, intercept=False).w
    w = torch.zeros(6, dtype=torch.float64, requires_grad=True)
    w.abs().sum().backward()
    assert (w.grad == 0).all() and (best == 0).any() and (best != 0).any()
    A, b, L = torch.tensor(X), torch.tensor(y), np.linalg.norm(X, 2) ** 2
    steps = []
    for _ in range(2000):
        w.grad = None
        (0.5 * (b - A @ w).square().sum() + 8.0 * w.abs().sum()).backward()
        with torch.no_grad():
            w -= w.grad / L
        steps.append(w.detach().numpy().copy())
    late = np.array(steps[-100:])[:, best == 0]
    assert (late != 0).all() and (np.diff(np.sign(late), axis=0) != 0).any(axis=0).all()
