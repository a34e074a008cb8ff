"""What the page shows in PyTorch gives what the kernels give."""

import numpy as np
import torch
from shown import shown

from dlbook import language_models as lm
from dlbook.linear_classification import softmax_cross_entropy_gradient
from dlbook.nets import Activation, Dense, Embedding, Network, Reshape, Sequential

V, E, J, T, M = 7, 3, 5, 11, 4


def test_the_same_in_pytorch():
    rng = np.random.default_rng(7)
    C, W, b = rng.normal(size=(V, E)), rng.normal(size=(J, M, E)), rng.normal(size=J)
    U, d = rng.normal(size=(V, J)), rng.normal(size=V)
    ids = rng.integers(V, size=T + M)
    x, y = lm.windows(ids, M + 1)
    given = {"C": C, "W": W.reshape(J, -1), "b": b, "U": U, "d": d}
    names = {name: torch.tensor(array, requires_grad=True) for name, array in given.items()}
    names |= {name: torch.tensor(array) for name, array in (("x", x), ("y", y), ("ids", ids))}
    names |= {"V": V, "alpha": 0.5, "tau": 0.7}
    torch.manual_seed(0)
    exec(shown("language_models"), names)
    theirs = lambda name: names[name].detach().numpy()
    close = lambda ours, other: np.testing.assert_allclose(ours, other, rtol=1e-11, atol=1e-13)

    a, z = lm.window(x, C, W, b, U, d)
    close(z, theirs("z"))
    dz = softmax_cross_entropy_gradient(z, y)
    for name, found in zip("CWbUd", lm.window_gradient(x, dz, a, C, W, U), strict=True):
        close(found.reshape(given[name].shape), names[name].grad.numpy())
    p = np.array([lm.temper(row, 1.0)[v] for row, v in zip(z, y, strict=True)])
    close(lm.perplexity(p), theirs("perplexity"))
    np.testing.assert_allclose(lm.bits(p), theirs("bits"), rtol=1e-6)  # log 2 in float32
    np.testing.assert_allclose(
        lm.laplace(lm.gram_counts(ids, 2, V), 0.5), theirs("follows"), rtol=1e-6
    )
    close(lm.temper(z[0], 0.7), theirs("p"))
    shares = np.bincount(theirs("drawn"), minlength=V) / 1000
    assert np.abs(shares - theirs("p")).max() < 0.08  # five standard errors


def test_the_layers_of_the_book_are_the_window():
    """Embedding, Reshape, Dense and Activation, with the kernel's parameters."""
    rng = np.random.default_rng(3)
    layers = Sequential(Embedding(V, E), Reshape(-1), Dense(J), Activation("tanh"), Dense(V))
    net = Network((M,), layers, symbols=V, dtype="float64")
    params, ids = net.init(rng), rng.integers(V, size=T + M)
    x, y = lm.windows(ids, M + 1)
    cuts = np.cumsum([V * E, J * M * E, J, V * J])
    C, W, b, U, d = np.split(params.flat, cuts)
    C, W, U = C.reshape(V, E), W.reshape(J, M, E), U.reshape(V, J)
    z = lm.window(x, C, W, b, U, d)[1]
    ours = torch.nn.functional.cross_entropy(torch.tensor(z), torch.tensor(y)).item()
    assert np.isclose(net.loss(params, None, (x, y)), ours)
