"""How a `Sequential` runs dense layers that follow each other: as one."""

from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from dlbook.fast.activations import KINDS
from dlbook.fast.dense import MANY
from dlbook.fast.stack import stack_backward, stack_forward
from dlbook.matmul import DEPTH
from dlbook.nets.layer import Layer, rows_of
from dlbook.nets.layers import Activation, Dense

__all__ = ["Stack", "in_stacks"]


SHAPES = 8  # of batches that are remembered; ragged sequences have many


class Slot(NamedTuple):
    """What a stack finds again at its next call with a batch of this shape."""

    dtype: np.dtype
    a: np.ndarray  # what each layer gives, one after the other
    y: np.ndarray  # the last of them
    panels: np.ndarray
    da: np.ndarray | None
    dx: np.ndarray | None
    into: np.ndarray  # the same in rows, empty where nobody asks for it


class Held:
    """What a node of a stack keeps: vectors of parameters and gradients, a slot for each shape."""

    __slots__ = ("flat", "grads", "into", "p", "slots")

    def __init__(self):
        self.p = self.flat = self.grads = self.into = None
        self.slots = {}


class Stack:
    """Dense layers, each with or without an activation, that a `Sequential` has from `first` on.

    Parameters
    ----------
    layers : sequence of Layer
        All layers of the container.
    first, stop : int
        Which of them.
    """

    learns = True

    def __init__(self, layers, first, stop):
        self.first, found = first, []
        for i in range(first, stop):
            layer = layers[i]
            if isinstance(layer, Dense):
                found.append([i, layer.out, 0, 0.0])
            else:
                found[-1][2:] = KINDS.index(layer.kind), layer.slope
        self.places, outs, kinds, slopes = (list(part) for part in zip(*found, strict=True))
        self.outs, self.kinds, self.slopes = outs, kinds, np.array(slopes)
        self.table = None

    def _table(self, inputs):
        """Return outputs, inputs, place and activation of each layer."""
        rows, at = [], 0
        for (K, J), kind in zip(pairwise([inputs, *self.outs]), self.kinds, strict=True):
            rows.append((J, K, at, kind))
            at += J * (K + 1)
        return np.array(rows)

    def vector(self, p):
        """Return the numbers of all layers as one vector, of which they are views."""
        arrays = [x for i in self.places for x in p[i]]
        size, start = sum(x.size for x in arrays), arrays[0].ctypes.data
        at = start
        for x in arrays:
            if x.ctypes.data != at or not x.flags.c_contiguous:
                raise ValueError("the parameters of layers do not lie one after the other")
            at += x.nbytes
        return np.lib.stride_tricks.as_strided(arrays[0].reshape(-1), (size,), (x.itemsize,))

    def _slot(self, x, step):
        """Make what the stack needs for this shape of batch."""
        if x.dtype != step.all.dtype:
            raise TypeError(f"x is {x.dtype}, the memory of this step is {step.all.dtype}")
        K, N, training = x.shape[-1], x.size // x.shape[-1] if x.size else 0, step.all.training
        if self.table is None:
            self.table = self._table(K)
        sides = [(k, j) for j, k, *_ in self.table.tolist()]
        factors = [f for k, j in sides for f in ((k, j), (j, k), (min(N, max(MANY, DEPTH)), k))]
        size = N * sum(self.outs)
        twice = training and not {"silu", "gelu"}.isdisjoint(KINDS[kind] for kind in self.kinds)
        a, dx = step.array("a", 2 * size if twice else size), None  # derivatives need room
        y = a[size - N * self.outs[-1] : size].reshape(*x.shape[:-1], self.outs[-1])
        if step.wants and training:
            dx = step.array("dx", *x.shape)
        into = np.empty((0, K), x.dtype) if dx is None else rows_of(dx)
        da = step.array("da", size - y.size) if training else None
        return Slot(x.dtype, a, y, step.panels(*factors), da, dx, into)

    def _found(self, p, x, step):
        """Return what the node keeps, and the slot for this shape of batch."""
        held = step.slot
        if held is None:
            held = step.slot = Held()
        if held.p is not p:
            held.p, held.flat = p, self.vector(p)
        slot = held.slots.get(x.shape)
        if slot is None or slot.dtype is not x.dtype:
            slot = self._slot(x, step)
            if step.all.training:
                if len(held.slots) >= SHAPES:
                    held.slots.clear()
                held.slots[x.shape] = slot
        return held, slot

    def forward(self, p, x, step):
        """Apply the layers."""
        held, slot = self._found(p, x, step)
        rows = x if x.ndim == 2 else rows_of(x)
        stack_forward(held.flat, self.table, self.slopes, rows, slot.a, slot.panels)
        return slot.y, (rows, slot)

    def backward(self, p, dy, kept, grads, step):
        """Carry a gradient back through the layers."""
        (rows, slot), held, wanted = kept, step.slot, grads is not None
        if wanted and held.grads is not grads:
            held.grads, held.into = grads, self.vector(grads)
        into = held.into if wanted else held.flat
        dy = dy if dy.ndim == 2 else rows_of(dy)
        of = held.flat, self.table, self.slopes, rows, slot.a, dy, slot.da, slot.panels
        stack_backward(*of, into, wanted, slot.into)
        return slot.dx

    def whole(self, p, grads, step, cost):
        """Return a function of inputs and targets that takes a step with a cost on top.

        It calls what `forward` and `backward` call, without the way through containers.
        """
        into, slopes = self.vector(grads), self.slopes

        def take(x, y):
            held, (_, a, z, panels, da, _, dx) = self._found(p, x, step)
            flat, table = held.flat, self.table
            stack_forward(flat, table, slopes, x, a, panels)
            loss = cost(z, y)  # z is ∂C/∂z from here on
            stack_backward(flat, table, slopes, x, a, z, da, panels, into, True, dx)
            return loss

        return take


def in_stacks(layers: tuple[Layer, ...]) -> list[tuple[Any, int]]:
    """Return layers, and stacks for those that can run as one, each with its first place."""
    units, i = [], 0
    while i < len(layers):
        stop = i
        while stop < len(layers) and type(layers[stop]) is Dense and layers[stop].bias:
            stop += 1
            if stop < len(layers) and type(layers[stop]) is Activation:
                stop += layers[stop].kind in KINDS
        units.append((Stack(layers, i, stop) if stop > i else layers[i], i))
        i = max(stop, i + 1)
    return units
