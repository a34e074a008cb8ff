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


def test_autograd_takes_zero_for_the_slope_of_a_kink():
    """So that plain steps never rest at a zero, as the page says."""
    w = torch.zeros(1, requires_grad=True)
    w.abs().sum().backward()
    assert w.grad.item() == 0
