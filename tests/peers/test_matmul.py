"""The framework code on the page of `matmul` against the chapter's kernels."""

import numpy as np
import pytest
import torch
from shown import shown

from dlbook import matmul
from dlbook.neurons import affine

SHAPES = {"x": (5, 3), "w": (4, 3), "b": (4,), "delta": (5, 4), "square": (3, 3)}


@pytest.fixture(scope="module")
def page():
    """Run the shown code on random inputs and return its names with the inputs."""
    rng = np.random.default_rng(20_260_101)
    arrays = {name: rng.normal(size=shape) for name, shape in SHAPES.items()}
    names = {name: torch.tensor(array, requires_grad=True) for name, array in arrays.items()}
    exec(compile(shown("matmul"), "matmul.md", "exec"), names)
    return names | {"arrays": arrays}


def close(a, b):
    np.testing.assert_allclose(a, b.detach().numpy(), rtol=1e-10, atol=1e-12)


def test_layer_and_its_gradients(page):
    x, w, b, delta = (page["arrays"][name] for name in ("x", "w", "b", "delta"))
    close(affine(x, w, b), page["z"])
    for found, name in zip(matmul.dense_backward(delta, x, w), ("dx", "dw", "db"), strict=True):
        close(found, page[name])


def test_distances(page):
    x, w = page["arrays"]["x"], page["arrays"]["w"]
    close(matmul.distances(x, w), page["pairs"])
    close(matmul.squared_distances(x, w), page["pairs"])


def test_rules(page):
    square, b = page["arrays"]["square"], page["arrays"]["b"]
    close(matmul.log_det_gradient(square), page["slope"])
    close(matmul.quadratic_gradient(square, b[:3]), page["steepest"])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", [(1, 1, 1), (5, 300, 33), (130, 64, 70)])
def test_products(dtype, shape):
    rng = np.random.default_rng(1)
    a, b = rng.normal(size=shape[:2]).astype(dtype), rng.normal(size=shape[1:]).astype(dtype)
    theirs = (torch.from_numpy(a) @ torch.from_numpy(b)).numpy()
    tolerance = 10 * np.finfo(dtype).eps * np.sqrt(shape[1])
    for ours in (
        matmul.product(a, b),
        matmul.product_four(a, b),
        matmul.product_tiled(a, b, 16),
        matmul.packed_product(a, b),
    ):
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=tolerance * np.abs(theirs).max())


def test_gradients_of_a_product():
    rng = np.random.default_rng(2)
    a, b, dc = (rng.normal(size=shape) for shape in ((4, 3), (3, 5), (4, 5)))
    left, right = torch.tensor(a, requires_grad=True), torch.tensor(b, requires_grad=True)
    (left @ right).backward(torch.from_numpy(dc))
    da, db = matmul.product_backward(dc, a, b)
    close(da, left.grad)
    close(db, right.grad)
