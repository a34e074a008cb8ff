"""Dense layers one after the other, with their activations, in one compiled call each way.

A table says what the layers are, so that one compiled form serves every depth and width. Between
small layers the way from Python into a kernel costs as much as the kernel.
"""
# ruff: noqa: E741

from dlbook.fast.activations import (
    gelu_with_slope,
    rectify,
    rectify_backward,
    sigmoid_backward,
    silu,
    silu_with_slope,
    tanh_backward,
)
from dlbook.fast.dense import (
    dense_input_into,
    dense_into,
    gradients_into,
)
from dlbook.tools import elementary
from dlbook.tools.jit import njit_fast

__all__ = ["KINDS", "stack_backward", "stack_forward"]

KINDS = (
    "linear",
    "relu",
    "leaky-relu",
    "sigmoid",
    "tanh",
    "silu",
    "gelu",
)  # in a table by their place here


@njit_fast(apart=True)
def stack_forward(flat, table, slopes, x, a, panels):
    """Fill `a` with what each layer gives, one after the other
    (numbers), (l 4), (l), (n k), (numbers) -> (numbers)

    A row of the table has the outputs and inputs of a layer, the place of its weights, which its
    biases follow, in `flat`, and its activation. Where `a` is twice as long, its second half keeps
    derivatives that the way back cannot have from what a layer gives.
    """
    N, place = x.shape[0], 0
    total = N * table[:, 0].sum()
    below = x
    for l in range(table.shape[0]):
        J, K, at, kind = table[l]
        w = flat[at : at + J * K].reshape(J, K)
        z = a[place : place + N * J].reshape(N, J)
        dense_into(below, w, flat[at + J * K : at + J * K + J], panels, z)
        if kind == 1:
            rectify(z, 0.0)
        elif kind == 2:
            rectify(z, slopes[l])
        elif kind == 3:
            elementary.sigmoid(z, z)
        elif kind == 4:
            elementary.tanh(z, z)
        elif kind == 5 and a.size > total:
            silu_with_slope(z, a[total + place : total + place + N * J].reshape(N, J))
        elif kind == 5:
            silu(z)
        elif kind == 6 and a.size > total:
            gelu_with_slope(z, a[total + place : total + place + N * J].reshape(N, J))
        elif kind == 6:
            elementary.gelu(z, z)
        below, place = z, place + N * J


@njit_fast(apart=True)
def stack_backward(flat, table, slopes, x, a, dy, da, panels, grads, wanted, dx):
    """Overwrite the gradients and, where dx is not empty, ∂C/∂x; dy is lost
    (numbers), (l 4), (l), (n k), (numbers), (n j), (numbers), (numbers), (), -> (numbers), (n k)
    """
    N, total = x.shape[0], x.shape[0] * table[:, 0].sum()
    delta, place = dy, total
    for l in range(table.shape[0] - 1, -1, -1):
        J, K, at, kind = table[l]
        place -= N * J
        out = a[place : place + N * J].reshape(N, J)
        if kind == 1:
            rectify_backward(delta, out, 0.0)
        elif kind == 2:
            rectify_backward(delta, out, slopes[l])
        elif kind == 3:
            sigmoid_backward(delta, out)
        elif kind == 4:
            tanh_backward(delta, out)
        elif kind == 5 or kind == 6:
            delta *= a[total + place : total + place + N * J].reshape(N, J)
        below = a[place - N * K : place].reshape(N, K) if l else x
        if wanted:
            end = at + J * K
            gradients_into(delta, below, panels, grads[at:end].reshape(J, K), grads[end : end + J])
        into = da[place - N * K : place].reshape(N, K) if l else dx
        if l or dx.size:
            dense_input_into(delta, flat[at : at + J * K].reshape(J, K), panels, into)
        delta = into
