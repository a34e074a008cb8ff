"""Dense layers one after the other, with their activations, in one compiled call each way.

A table says what the layers are, so that one compiled form serves every depth and width. Between
small layers the way from Python into a kernel costs as much as the kernel.
"""
# ruff: noqa: E741

from dlbook.fast.activations import activate_backward
from dlbook.fast.dense import dense_input_into, gradients_into, layer_input_into, layer_into
from dlbook.tools.jit import njit_fast

__all__ = ["stack_backward", "stack_forward"]


@njit_fast
def _part(numbers, place, N, J):
    """Return rows of `numbers` from a place on; none where it ends before."""
    part = numbers[place : place + N * J]
    return part.reshape(part.size // J, J)


@njit_fast(apart=True)
def stack_forward(flat, table, slopes, x, a, panels):
    """Fill `a` with what each layer gives, one after the other
    (numbers), (l 4), (l), (n k), (numbers) -> (numbers)

    A row of the table has the outputs and inputs of a layer, the place of its weights, which its
    biases follow, in `flat`, and its activation by its place in `activations.KINDS`. Where `a` is
    twice as long, its second half keeps derivatives that the way back cannot have from what a layer
    gives.
    """
    N, place = x.shape[0], 0
    total = N * table[:, 0].sum()
    below = x
    for l in range(table.shape[0]):
        J, K, at, kind = table[l]
        w, b = flat[at : at + J * K].reshape(J, K), flat[at + J * K : at + J * K + J]
        z, rise = _part(a, place, N, J), _part(a, total + place, N, J)
        layer_into(below, w, b, panels, z, kind, slopes[l], rise)
        below, place = z, place + N * J


@njit_fast(apart=True)
def stack_backward(flat, table, slopes, x, a, dy, da, panels, grads, wanted, dx):
    """Overwrite the gradients and, where dx is not empty, ∂C/∂x; dy is lost
    (numbers), (l 4), (l), (n k), (numbers), (n j), (numbers), (numbers), (), -> (numbers), (n k)
    """
    N, total, top = x.shape[0], x.shape[0] * table[:, 0].sum(), table.shape[0] - 1
    delta, J = dy, table[top, 0]
    place = total - N * J
    out, rise = _part(a, place, N, J), _part(a, total + place, N, J)
    activate_backward(delta, table[top, 3], slopes[top], out, rise)
    for l in range(top, 0, -1):
        J, K, at, _ = table[l]
        w, place = flat[at : at + J * K].reshape(J, K), place - N * K
        out, rise, into = (
            _part(a, place, N, K),
            _part(a, total + place, N, K),
            _part(da, place, N, K),
        )
        if wanted:
            _gradients(delta, out, panels, grads, table[l])
        layer_input_into(delta, w, panels, into, table[l - 1, 3], slopes[l - 1], out, rise)
        delta = into
    if wanted:
        _gradients(delta, x, panels, grads, table[0])
    if dx.size:
        J, K, at, _ = table[0]
        dense_input_into(delta, flat[at : at + J * K].reshape(J, K), panels, dx)


@njit_fast
def _gradients(delta, below, panels, grads, row):
    """The gradients of the layer that a row of the table describes."""
    J, K, at, _ = row
    end = at + J * K
    gradients_into(delta, below, panels, grads[at:end].reshape(J, K), grads[end : end + J])
