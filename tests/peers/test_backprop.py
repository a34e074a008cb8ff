"""The PyTorch code of the page gives the gradients of the chapter's kernels."""

import numpy as np
import torch
from shown import shown

from dlbook import backprop as bp


def test_page_code():
    """Loss, all gradients and the parameters after one step, to 1e-10."""
    sizes, rng = (5, 4, 6, 3), np.random.default_rng(11)
    net = bp.init(sizes, rng)
    net.flat[:] += rng.normal(0, 0.3, net.flat.size)
    x, y = rng.normal(size=(8, 5)), rng.integers(0, 3, 8)
    given = bp.as_params(
        net.flat.copy(), sizes
    )  # the tensors of the page share memory with nothing
    names = {"net": given, "x": x, "y": y}
    exec(shown("backprop"), names)  # the page's own code
    grads = bp.as_params(np.empty_like(net.flat), sizes)
    loss = bp.loss_and_grad(net, None, (x, y), grads)
    flat = np.concatenate([g.ravel() for g in names["gradients"]])
    np.testing.assert_allclose(names["loss"].item(), loss, rtol=1e-10)
    np.testing.assert_allclose(flat, grads.flat, rtol=0, atol=1e-10 * np.abs(grads.flat).max())
    stepped = torch.cat([p.detach().ravel() for p in names["model"].parameters()]).numpy()
    np.testing.assert_allclose(stepped, net.flat - 0.5 * grads.flat, rtol=0, atol=1e-10)
