"""What the page shows in PyTorch gives what the kernels give."""

import numpy as np
import torch
from shown import shown

from dlbook import linear_classification as lc


def test_the_same_in_pytorch():
    rng = np.random.default_rng(7)
    X, W, b = rng.normal(size=(9, 5)), rng.normal(size=(4, 5)), rng.normal(size=4)
    y, t, l2 = rng.integers(0, 4, 9), rng.integers(0, 2, 9), 0.3
    names = {
        "X": torch.tensor(X),
        "y": torch.tensor(y),
        "t": torch.tensor(t, dtype=torch.float64),
        "W": torch.tensor(W, requires_grad=True),
        "b": torch.tensor(b, requires_grad=True),
        "l2": l2,
    }
    exec(shown("linear_classification"), names)
    theirs = lambda name: names[name].detach().numpy()
    close = lambda ours, other: np.testing.assert_allclose(ours, other, rtol=1e-10, atol=1e-12)

    z = lc.scores(X, W, b)
    close(z, theirs("z"))
    close(lc.softmax(z), theirs("p"))
    np.testing.assert_array_equal(lc.row_argmax(z), theirs("guess"))
    close(lc.softmax_cross_entropy(z, y), theirs("loss"))
    close(lc.softmax_cost(X, y, W, b, l2), theirs("cost"))
    dW, db = lc.softmax_gradient(X, y, W, b, l2)
    close(dW, names["W"].grad.numpy())
    close(db, names["b"].grad.numpy())
    close(lc.log_sum_exp(z), theirs("soft_maximum"))
    p = lc.pair_probability(z[:, :2])
    close(lc.binary_cross_entropy(p, t), theirs("binary"))
    m = lc.margins(z[:, 1] - z[:, 0], 2 * t - 1)
    close(lc.logistic_loss(m).mean(), theirs("logistic"))
