"""What a layer is, and the step it runs in.

A layer is a frozen dataclass of its settings. It says which parameters it has for an input of some
shape, how they are drawn, and what it does with a batch on the way up (`forward`) and on the way
back (`backward`). It remembers nothing. What a step needs beside parameters, memory, running
statistics, whether this is training, stands in a `Step`: a tree of the same form as the network,
with one node for each place where a layer is used.

Who owns an array. A layer may write over its input where `Step.free` says so, and never where the
input is the reader's data or the layer below looks at it again. Whoever is handed a gradient owns
it: a container that needs one twice makes a copy. What a layer returns lies in the memory of its
node, which the next call overwrites; what must outlive a step is copied.
"""

from dataclasses import dataclass
from itertools import accumulate
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np

from dlbook.fast.memory import Memory
from dlbook.nets.tree import mapped
from dlbook.tools import shapes

__all__ = ["Layer", "Shape", "Step", "features", "new_step", "rows_of"]

Shape = tuple  # of one example, without the axis of the batch; or a tuple of such where there are several


@dataclass(frozen=True)
class Layer:
    """A layer without parameters that gives what it gets; others say where they differ.

    Attributes
    ----------
    learns : bool
        Whether it has parameters that are learned. Below the first layer that has, nobody asks for
        the gradient by the input.
    keeps_output : bool
        Whether `backward` looks at what `forward` returned, so that no layer above may write over
        it.
    passes : bool
        Whether what it returns may be its input, or a view of it.
    """

    learns: ClassVar[bool] = False
    keeps_output: ClassVar[bool] = False
    passes: ClassVar[bool] = False

    def shape(self, s: Shape) -> Shape:
        """Return the shape of an example after this layer; refuse one that does not fit."""
        return s

    def parameters(self, s: Shape) -> dict | list:
        """Return the shapes of the parameters by name, or a list with those of each part."""
        return {}

    def running(self, s: Shape) -> dict | list:
        """Return the shapes of the running statistics, in the same form."""
        return {}

    def least(self, s: Shape) -> int:
        """Return how many examples a step of training needs at least."""
        return 1

    def draw(self, p: Any, rng: np.random.Generator) -> None:
        """Draw the first parameters into p, which is zero."""

    def begin(self, h: Any) -> None:
        """Write the first running statistics into h, which is zero."""

    def forward(self, p: Any, x: Any, step: "Step") -> tuple[Any, Any]:
        """Return what the layer gives for a batch, and what `backward` will need."""
        raise NotImplementedError(f"{type(self).__name__} has no forward")

    def backward(self, p: Any, dy: Any, kept: Any, grads: Any, step: "Step") -> Any:
        """Overwrite grads, and return ∂C/∂x from dy = ∂C/∂y.

        With grads None no gradient of parameters is wanted; where `step.wants` is False, none of
        the input, and None may be returned.
        """
        raise NotImplementedError(f"{type(self).__name__} has no backward")


def features(layer: Layer, s: Shape, axes: int | None = None) -> Shape:
    """Return a shape if it is that of one array with the wanted number of axes."""
    several = not isinstance(s, tuple) or any(not isinstance(n, int) for n in s)
    if several or not s or (axes is not None and len(s) != axes):
        wanted = {None: "one array", 1: "rows (k,)", 3: "images (h, w, c)"}[axes]
        raise ValueError(f"{layer} wants {wanted} and gets examples of shape {s}")
    return s


def rows_of(x):
    """Return a view with all axes but the last in one."""
    return x if x.ndim == 2 else x.reshape(-1, x.shape[-1])


class Step:
    """What a layer is handed beside parameters and input: one node of a tree like the network.

    Attributes
    ----------
    all : object
        What all nodes share: ``training``, ``rng``, ``dtype``, ``cost`` (penalties that layers add
        to the loss), ``memory``.
    state : NamedTuple or tuple
        Running statistics of this layer, views.
    free : bool
        Whether the layer may write over its input.
    wants : bool
        Whether somebody asks for the gradient by the input.
    start, last, dlast, dstart : list or None
        States that are carried from outside, in the order of the batch: where a recurrent layer
        begins and what it leaves, and on the way back the gradients by what it left and by where
        it began.
    slot : Any
        What the layer finds again at its next call: views for this size of batch.
    """

    __slots__ = (
        "_lengths",
        "_rows",
        "all",
        "dlast",
        "dstart",
        "free",
        "last",
        "memory",
        "parts",
        "slot",
        "start",
        "state",
        "up",
        "wants",
    )

    def __init__(self, shared, up, state, free, wants):
        self.all, self.up, self.state, self.free, self.wants = shared, up, state, free, wants
        self.parts, self.memory = {}, Memory(shared.dtype)
        self._rows = self._lengths = self.start = self.last = self.dlast = self.dstart = None
        self.slot = None

    def part(self, key, free=False, wants=True) -> "Step":
        """Return the node of a part, made when it is first asked for."""
        node = self.parts.get(key)
        if node is None:
            state = self.state[key] if self.state else ()
            node = self.parts[key] = Step(self.all, self, state, free, wants)
        return node

    def set_state(self, state) -> None:
        """Let the tree stand on other running statistics."""
        self.state = state
        for key, node in self.parts.items():
            node.set_state(state[key] if state else ())

    def array(self, name, *shape, dtype=None) -> np.ndarray:
        """Return memory of this node that lives until the way back.

        In inference nothing is kept: each call has an array of its own, which goes when nobody
        looks at it any more.
        """
        if self.all.training:
            return self.memory.array(name, *shape, dtype=dtype)
        return np.empty(shape, dtype or self.all.dtype)

    def panels(self, *factors) -> np.ndarray:
        """Return room for packed factors of products, which all layers share; see `Memory`."""
        return self.all.memory.panels(*factors)

    def like(self, p) -> Any:
        """Return scratch of the form of parameters, for gradients that nobody else wants."""
        sizes = []
        mapped(p, lambda path, x: sizes.append(x.size))
        ends = accumulate(sizes)
        flat = self.memory.array("grads", sum(sizes))
        return mapped(p, lambda path, x: flat[next(ends) - x.size :][: x.size].reshape(x.shape))

    @property
    def bytes(self) -> int:
        """How much memory this node and those below it have, the root with all that is shared."""
        return self._sum("bytes")

    @property
    def panel_bytes(self) -> int:
        """How much of it is for packed factors, which the width of vectors changes."""
        return self._sum("panel_bytes")

    def _sum(self, name):
        """Return the sum of an attribute over all memory."""
        own = [self.memory] if self.up else [self.memory, self.all.memory]
        return sum(getattr(part, name) for part in (*own, *self.parts.values()))

    @property
    def rng(self) -> np.random.Generator:
        """What draws in this step, which refuses to be missing."""
        return shapes.generator("rng", self.all.rng)

    def _nearest(self, name):
        """Return what this node has, or the nearest above that has it."""
        node = self
        while node is not None and getattr(node, name) is None:
            node = node.up
        return None if node is None else getattr(node, name)

    @property
    def rows(self):
        """Layout of ragged sequences, this node's own or that of the nearest one above."""
        return self._rows if self._rows is not None else self._nearest("_rows")

    @rows.setter
    def rows(self, value):
        self._rows = value

    @property
    def lengths(self):
        """Lengths of padded sequences, found like `rows`."""
        return self._nearest("_lengths")

    @lengths.setter
    def lengths(self, value):
        self._lengths = value


def new_step(dtype, *, training: bool = True, state: Any = (), rng=None, wants=False) -> Step:
    """Return the root of a tree: a step of a whole network, or of a layer by itself.

    Parameters
    ----------
    dtype : {"float32", "float64"}
        Of all arrays.
    training : bool
        False for inference, in which nothing is kept for a way back.
    state : NamedTuple or tuple
        Running statistics.
    rng : numpy.random.Generator, optional
        Draws what layers draw in training.
    wants : bool
        Whether the gradient by the input is asked for.
    """
    dtype = shapes.floating("dtype", dtype)
    shared = SimpleNamespace(
        dtype=dtype, memory=Memory(dtype), training=training, rng=rng, cost=0.0, given=None
    )
    return Step(shared, None, state, free=False, wants=wants)
