"""What the page shows in PyTorch gives what the kernels give."""

import numpy as np
import torch
from shown import shown

from dlbook import gan


def test_the_same_in_pytorch():
    rng = np.random.default_rng(17)
    net = tuple(rng.normal(size=size) for size in ((4, 3), 4, (2, 4), 2, 2))
    real, fake = rng.normal(size=(2, 6, 3))
    tau, maps = rng.random(6), rng.normal(size=(3, 7))
    wanted = gan.gram(rng.normal(size=(3, 5)))
    A, a, B, b, u = (torch.tensor(w, requires_grad=True) for w in net)
    bent = torch.nn.functional.leaky_relu

    def critic(x):
        return (bent(bent(x @ A.T + a, 0.2) @ B.T + b, 0.2) @ u)[:, None]

    names = {
        "critic": critic,
        "real": torch.tensor(real),
        "fake": torch.tensor(fake),
        "tau": torch.tensor(tau[:, None]),
        "maps": torch.tensor(maps),
        "wanted": torch.tensor(wanted),
        "gamma": 0.3,
        "strength": 10.0,
    }
    kept = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        exec(shown("gan"), names)
    finally:
        torch.set_default_dtype(kept)
    close = lambda ours, other: np.testing.assert_allclose(
        ours, names[other].detach().numpy(), rtol=1e-11, atol=1e-12
    )
    s, t = (gan.score(x, *net, 0.2) for x in (real, fake))
    close(gan.discriminator_loss(s, t), "loss_d")
    close(gan.non_saturating(t), "loss_g")
    close(gan.saturating(t), "minimax")
    g = gan.input_gradient(real, *net, 0.2)
    close(g, "g")
    close(gan.r1(g, 0.3), "r1")
    h = gan.input_gradient(gan.interpolate(real, fake, tau), *net, 0.2)
    close(h, "h")
    close(gan.gradient_penalty(h, 10.0), "penalty")
    found = gan.penalty_gradient(real, *net, 0.2, gan.r1_slope(g, 0.3))
    for ours, weight in zip(found, (A, B, u), strict=True):
        np.testing.assert_allclose(ours, weight.grad.numpy(), rtol=1e-11, atol=1e-12)
    close(gan.gram(maps), "gram")
    close(gan.style_loss(gan.gram(maps), wanted), "style")


def test_gradient_of_the_gradient_penalty():
    rng = np.random.default_rng(18)
    net = tuple(rng.normal(size=size) for size in ((4, 3), 4, (2, 4), 2, 2))
    x = rng.normal(size=(5, 3))
    A, a, B, b, u = (torch.tensor(w, requires_grad=True) for w in net)
    at, bent = torch.tensor(x, requires_grad=True), torch.nn.functional.leaky_relu
    score = bent(bent(at @ A.T + a, 0.1) @ B.T + b, 0.1) @ u
    (g,) = torch.autograd.grad(score.sum(), at, create_graph=True)
    (7 * (g.norm(dim=1) - 1).pow(2).mean()).backward()
    v = gan.gradient_penalty_slope(gan.input_gradient(x, *net, 0.1), 7.0)
    found = gan.penalty_gradient(x, *net, 0.1, v)
    for ours, weight in zip(found, (A, B, u), strict=True):
        np.testing.assert_allclose(ours, weight.grad.numpy(), rtol=1e-11, atol=1e-12)
