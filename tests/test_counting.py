"""Numbers that count: what a kernel does is seen, whatever its formula says."""

import numpy as np

from dlbook.attention import dot_product_attention
from dlbook.matmul import dense_backward, product
from dlbook.tools.counting import Operations, operations


def softmax(z):
    e = np.exp(z - z.max())
    return e / e.sum()


def test_a_product_multiplies_and_adds():
    """Every entry starts at zero, so as many numbers are added as multiplied."""
    assert operations(product, np.ones((6, 3)), np.ones((3, 4))) == Operations(72, 72, 0)


def test_a_backward_pass_is_two_products():
    found = operations(dense_backward, np.ones((6, 4)), np.ones((6, 3)), np.ones((4, 3)))
    assert found.multiplications == 2 * 6 * 3 * 4


def test_the_kernels_that_a_kernel_calls_count_too():
    """Scores, their division by the root and by their sum, and the mean of the values."""
    q, k, v = np.ones((2, 3)), np.ones((4, 3)), np.ones((4, 5))
    found = operations(dot_product_attention, q, k, v, np.ones((2, 4), bool))
    assert found.multiplications == 2 * 4 * (3 + 1 + 1 + 5)
    assert found.functions == 2 * 4


def test_functions_are_counted_apart():
    assert operations(softmax, np.arange(5.0)) == Operations(5, 5 + 4, 5)


def test_whole_numbers_and_signs_cost_nothing():
    def scaled(x, n):
        return -x * n

    assert operations(scaled, np.ones(4), 3) == Operations(4, 0, 0)
    assert operations(scaled, np.arange(4), 3) == Operations(0, 0, 0)


def test_the_numbers_themselves_are_right():
    """What branches on its numbers takes the branch it would take."""

    def largest(x):
        best = x[0]
        for i in range(1, len(x)):
            if x[i] > best:
                best = x[i] + 0.0
        return best

    assert operations(largest, np.array([1.0, 3.0, 2.0, 5.0])).additions == 2
