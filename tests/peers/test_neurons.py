"""The framework code on the page of `neurons` against the chapter's kernels."""

import numpy as np
import pytest
import torch
from shown import shown

from dlbook import neurons
from dlbook.linear_classification import sigmoid, sigmoid_prime

KERNELS = {
    **neurons.ACTIVATIONS,
    "sigmoid": (sigmoid, sigmoid_prime),
    "gelu_tanh": (neurons.gelu_tanh, neurons.gelu_tanh_prime),
}
NAMES = ["sigmoid", "tanh", "relu", "leaky_relu", "gelu", "gelu_tanh"]


@pytest.fixture(scope="module")
def page():
    """Run the shown code on random inputs and return its names with the inputs."""
    rng = np.random.default_rng(20_260_101)
    arrays = {"x": rng.normal(size=(5, 3)), "w": rng.normal(size=(4, 3)), "b": rng.normal(size=4)}
    names = {name: torch.from_numpy(array) for name, array in arrays.items()}
    exec(compile(shown("neurons"), "neurons.md", "exec"), names)
    return names | {"arrays": arrays}


def close(a, b):
    np.testing.assert_allclose(a, b.detach().numpy(), rtol=1e-10, atol=1e-12)


def test_the_page_shows_every_activation(page):
    assert sorted(page["outputs"]) == sorted(NAMES)


def test_affine(page):
    arrays = page["arrays"]
    close(neurons.affine(arrays["x"], arrays["w"], arrays["b"]), page["z"])


@pytest.mark.parametrize("name", NAMES)
def test_layer(page, name):
    arrays = page["arrays"]
    a = neurons.dense(arrays["x"], arrays["w"], arrays["b"], KERNELS[name][0])
    close(a, page["outputs"][name])


@pytest.mark.parametrize("name", NAMES)
def test_slope(page, name):
    """Reverse mode through the framework's activation gives the chapter's derivative."""
    (slope,) = torch.autograd.grad(page["outputs"][name].sum(), page["z"], retain_graph=True)
    close(KERNELS[name][1](page["z"].detach().numpy()), slope)


def test_conventions_at_zero():
    zero = torch.zeros(1, requires_grad=True)
    for f, kernel in (
        (torch.nn.functional.relu, neurons.relu_prime),
        (torch.nn.functional.leaky_relu, neurons.leaky_relu_prime),
    ):
        (slope,) = torch.autograd.grad(f(zero).sum(), zero)
        close(kernel(np.zeros(1)), slope)
