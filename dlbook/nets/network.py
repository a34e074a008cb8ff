"""A network and its cost as a model that `fit` can train."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from dlbook.nets.containers import Sequential
from dlbook.nets.costs import AXES, Cost, SoftmaxCrossEntropy
from dlbook.nets.layer import Layer, Step, new_step
from dlbook.nets.tree import Views, built
from dlbook.tools import shapes
from dlbook.tools.flat import Layout, belong, fits, laid_out, step_fits

__all__ = ["Network"]

AT_ONCE = 256  # examples that go up together in inference


@dataclass(frozen=True)
class Network:
    """Layers, and a cost on top.

    Parameters
    ----------
    input : int or tuple of int
        Shape of an example. One with three numbers is an image, (channels, height, width); inside
        the network its channels are last.
    net : Layer
        Mostly a `Sequential`.
    cost : Cost
        What is made small.
    symbols : int, optional
        Examples are whole numbers below this one, instead of floating-point numbers.
    dtype : {"float32", "float64"}
        Of parameters and data.

    Raises
    ------
    TypeError, ValueError
        If one of them is not what is described here, or the layers do not fit each other.

    Examples
    --------
    >>> net = Network(64, Sequential(Dense(30), Activation("relu"), Dense(10)))
    >>> params = net.init(np.random.default_rng(0))
    >>> params.net[0].w.shape
    (30, 64)
    """

    input: int | tuple[int, ...]
    net: Layer
    cost: Cost = field(default_factory=SoftmaxCrossEntropy)
    symbols: int | None = None
    dtype: str = "float32"

    def __post_init__(self):
        """Check all of them at once."""
        given = self.input if isinstance(self.input, (tuple, list)) else (self.input,)
        found = tuple(shapes.count(f"input[{i}]", n) for i, n in enumerate(given))
        object.__setattr__(self, "input", found)
        for name, kind in (("net", Layer), ("cost", Cost)):
            part = getattr(self, name)
            if not isinstance(part, kind):
                raise TypeError(f"{name} is {shapes.shown(part)}, expected a {kind.__name__}")
        shapes.choice("dtype", self.dtype, ("float32", "float64"))
        if self.symbols is not None:
            shapes.count("symbols", self.symbols)
        _ = self.output  # the layers fit each other, or this says which does not

    @cached_property
    def inside(self) -> tuple[int, ...]:
        """Shape of an example as the first layer gets it."""
        return self.input if len(self.input) != 3 else (*self.input[1:], self.input[0])

    @cached_property
    def output(self) -> tuple:
        """Shape of an example as the last layer gives it."""
        return self.net.shape(self.inside)

    @cached_property
    def layout(self) -> Layout:
        """What the parameters of this model are like."""
        return laid_out(self._params())

    @cached_property
    def smallest_batch(self) -> int:
        """How many examples a step needs at least: two for batch normalization."""
        return self.net.least(self.inside)

    def _params(self):
        """Return parameters that are all zero."""
        return built(self.net.parameters(self.inside), self.dtype)

    def init(self, rng: np.random.Generator) -> Views:
        """Draw the first parameters."""
        shapes.generator("rng", rng)
        params = self._params()
        self.net.draw(params.net, rng)
        return params

    def start(self) -> Views | None:
        """Return fresh running statistics, or None where no layer has any."""
        state = built(self.net.running(self.inside), self.dtype)
        if not state.flat.size:
            return None
        self.net.begin(state.net)
        return state

    def check(self, params: Any, data: tuple) -> tuple[np.ndarray, ...]:
        """Return examples and targets, checked and of the dtype of the parameters.

        Parameters
        ----------
        params : Views
            Held against the layout of this model.
        data : tuple (x, y)
            Examples, and what the cost wants of each.
        """
        if not isinstance(data, tuple) or len(data) != 2:
            raise TypeError("data is not a pair of examples and targets, (x, y)")
        fits(params, self.layout)
        axes = shapes.Axes()
        x = self._examples(axes, data[0])
        y = self.cost.check(axes, data[1], self.output, self.dtype)
        return (x, *y) if isinstance(y, tuple) else (x, y)

    def _examples(self, axes, x):
        """Return checked examples, images with their channels last."""
        names = AXES[1 : len(self.input) + 1]
        for axis, n in zip(names, self.input, strict=True):
            axes.sizes[axis] = (n, "the network's input")
        letters = " ".join(("n", *names))
        if self.symbols is not None:
            x = axes.labels("x", x, letters, self.symbols)
        else:
            x = axes.floats("x", x, letters).astype(self.dtype)
        for axis in names:  # the targets have sizes of their own
            del axes.sizes[axis]
        return x if len(self.input) != 3 else np.ascontiguousarray(x.transpose(0, 2, 3, 1))

    def workspace(self, batch: int) -> Step:
        """Return the memory of a step; it grows to what the largest batch needs."""
        shapes.count("batch", batch)
        return new_step(self.dtype)

    def loss_and_grad(self, params, state, batch, grads, work, rng) -> float:
        """Return the mean cost of a batch with all penalties, fill `grads`, move the statistics.

        Parameters
        ----------
        params, grads : Views
            The parameters, and where their gradient goes.
        state : Views or None
            Running statistics; changed in place.
        batch : tuple
            As `check` returns it; trusted.
        work : Step
            From `workspace`.
        rng : numpy.random.Generator or None
            For layers that draw.
        """
        step_fits(self, params, state, grads, work.memory.held)
        held = () if state is None else state.net
        if work.state is not held:
            work.set_state(held)
        shared = work.all
        shared.training, shared.rng, shared.cost = True, rng, 0.0
        x, y = self._entered(work, batch)
        z, kept = self.net.forward(params.net, x, work)
        loss = self._cost(z, y)  # z is ∂C/∂z from here on
        self.net.backward(params.net, z, kept, grads.net, work)
        return loss + shared.cost

    def _entered(self, step, batch):
        """Return input and targets of a checked batch; set what layers look up in the step."""
        return batch[0], batch[1] if len(batch) == 2 else batch[1:]

    def _cost(self, z, y):
        """Turn what the network gives into ∂C/∂z; return C."""
        return self.cost.into(z, y)

    def outputs(self, params: Any, state: Any, x: np.ndarray) -> Any:
        """Return what the network gives for checked examples, in inference.

        Returns
        -------
        ndarray, shape (n, …), or a tuple of them
            Images with their channels last.
        """
        belong(self, params, state)
        found = [self._up(params, state, part) for part in pieces(x)]
        several = isinstance(found[0], tuple)
        return tuple(map(np.concatenate, zip(*found, strict=True))) if several else joined(found)

    def _up(self, params, state, x):
        """Return what the network gives for some examples."""
        return self.net.forward(params.net, x, self._still(state))[0]

    def _still(self, state):
        """Return a step of inference."""
        return new_step(self.dtype, training=False, state=() if state is None else state.net)

    def layers(self, params, state, batch) -> Iterator[tuple[str, np.ndarray]]:
        """Yield the name of each part of the network and what it gives, in inference."""
        belong(self, params, state)
        step, net = self._still(state), self.net
        x, _ = self._entered(step, batch)
        if not isinstance(net, Sequential):
            yield "net", net.forward(params.net, x, step)[0]
            return
        for i, layer in enumerate(net.layers):
            x, _ = layer.forward(params.net[i], x, step.part(i))
            yield f"net.{net.names[i]}" if net.names else f"net[{i}]", x

    def loss(self, params: Any, state: Any, batch: tuple) -> float:
        """Return the mean cost of checked data, in inference and without penalties."""
        z = self.outputs(params, state, batch[0])
        return float(self.cost.into(z, batch[1] if len(batch) == 2 else batch[1:]))

    def predict(self, params: Any, state: Any, x: ArrayLike) -> Any:
        """Return what the network says of new examples: classes, or numbers.

        Parameters
        ----------
        params, state : Views
            The network.
        x : array_like, shape (n, …)
            Examples.
        """
        z = self.cost.says(self.outputs(params, state, self._examples(shapes.Axes(), x)))
        if isinstance(z, np.ndarray) and z.ndim == 4:
            return np.ascontiguousarray(z.transpose(0, 3, 1, 2))
        return z


def pieces(x):
    """Yield the examples in parts that go up together."""
    for first in range(0, max(1, len(x)), AT_ONCE):
        yield x[first : first + AT_ONCE]


def joined(found):
    """Return parts one after the other; one part alone as it is, which may be the input."""
    return np.concatenate(found) if len(found) > 1 else found[0].copy()
