"""A network and its cost as a model that `fit` can train."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from dlbook.nets.containers import Sequential, in_parts
from dlbook.nets.costs import AXES, Cost, SoftmaxCrossEntropy
from dlbook.nets.layer import Layer, Step, new_step
from dlbook.nets.tree import Views, built, mapped, viewed
from dlbook.tools import shapes
from dlbook.tools.flat import Layout, belong, fits, laid_out, like, step_fits

__all__ = ["Composition", "Network", "Signal"]

AT_ONCE = 256  # examples that go up together in inference


class Signal(NamedTuple):
    """What a part of a network gives in a step of training."""

    name: str
    y: Any
    dy: Any  # ∂C/∂y


class Given(NamedTuple):
    """What a step was given last, held against the model, and the same by layers."""

    params: Any
    grads: Any
    state: Any
    model: Any
    p: Any
    g: Any
    whole: Any  # takes the step at once, where there is such


class Composition:
    """What a model needs that is made of layers; `Network` is one, `MLP` another.

    Attributes
    ----------
    input : tuple of int
        Shape of an example, images with their channels first.
    net : Layer
        What is put together.
    cost : Cost
        What stands on top.
    symbols : int or None
        How many symbols there are where examples are whole numbers.
    dtype : str
        Of parameters and data, "float32" or "float64".
    """

    input: tuple[int, ...]
    net: Layer
    cost: Cost
    symbols: int | None = None
    dtype: str

    @cached_property
    def inside(self) -> tuple[int, ...]:
        """Shape of an example as the first layer gets it."""
        return self.input if len(self.input) != 3 else (*self.input[1:], self.input[0])

    @cached_property
    def output(self) -> tuple:
        """Shape of an example as the last layer gives it."""
        return self.net.shape(self.inside)

    @property
    def _cost(self):
        """What stands on top, also where the field `cost` is a name."""
        return self.cost

    @cached_property
    def layout(self) -> Layout:
        """What the parameters of this model are like."""
        return laid_out(self._params())

    @cached_property
    def smallest_batch(self) -> int:
        """How many examples a step needs at least, which is two for batch normalization."""
        return self.net.least(self.inside)

    @cached_property
    def _shapes(self):
        """Return the shapes of the parameters and of the running statistics, by layer."""
        return self.net.parameters(self.inside), self.net.running(self.inside)

    def _params(self):
        """Return parameters that are all zero."""
        return built(self._shapes[0], self.dtype)

    def by_layer(self, params: Any) -> Any:
        """Return parameters, or gradients, as a tree of the form of the network, of views."""
        fits(params, self.layout)
        return self._tree(params)

    def _tree(self, params):
        """Return parameters by layer, unchecked."""
        return viewed(self._shapes[0], params.flat)

    def _held(self, state):
        """Return running statistics as a tree of the form of the network."""
        return () if state is None else viewed(self._shapes[1], state.flat)

    def init(self, rng: np.random.Generator) -> Views:
        """Draw the first parameters."""
        shapes.generator("rng", rng)
        params = self._params()
        self.net.draw(self._tree(params), rng)
        return params

    def start(self) -> Views | None:
        """Return fresh running statistics, or None where no layer has any."""
        state = built(self._shapes[1], self.dtype)
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
        y = self._cost.check(axes, data[1], self.output, self.dtype)
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

    def loss_and_grad(self, params, state, batch, grads, work, rng=None) -> float:
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
        rng : numpy.random.Generator, optional
            For layers that draw.
        """
        shared, given = work.all, work.all.given
        if (
            given is None
            or given.params is not params
            or given.grads is not grads
            or given.state is not state
            or given.model is not self
        ):
            given = self._take(params, grads, state, work)
        shared.training, shared.rng, shared.cost = True, rng, 0.0
        return self._there_and_back(given, batch, work) + shared.cost

    def _there_and_back(self, given, batch, work):
        """Return the mean cost of a batch and fill `grads`, in a step that is set up for it."""
        x, y = self._entered(work, batch)
        if given.whole is not None:
            return given.whole(x, y)
        z, kept = self._forward(given.p, x, work)
        loss = self._cost_of(z, y)  # z is ∂C/∂z from here on
        self.net.backward(given.p, z, kept, given.g, work)
        return loss

    @cached_property
    def _looks_again(self):
        """Return whether a layer needs what the network gives once more, or it is the input."""
        return self.net.keeps_output or self.net.passes

    def _forward(self, p, x, work):
        """Return what the network gives, where the cost may write over it, and what it keeps."""
        z, kept = self.net.forward(p, x, work)
        return (mapped(z, copy) if self._looks_again else z), kept

    def _take(self, params, grads, state, work):
        """Hold what a step is given against the model, and return it by layers."""
        step_fits(self, params, state, grads, [])
        work.set_state(self._held(state))
        p, g, whole = self._tree(params), self._tree(grads), None
        if isinstance(self.net, Sequential) and len(self.inside) == 1 and not self._looks_again:
            whole = self.net.whole(p, g, work, self._cost_of)
        work.all.given = Given(params, grads, state, self, p, g, whole)
        return work.all.given

    def _entered(self, step, batch):
        """Return input and targets of a checked batch; set what layers look up in the step."""
        return batch[0], batch[1] if len(batch) == 2 else batch[1:]

    def _cost_of(self, z, y):
        """Turn what the network gives into ∂C/∂z; return C."""
        return self._cost.into(z, y)

    def outputs(self, params: Any, state: Any, x: np.ndarray) -> Any:
        """Return what the network gives for checked examples, in inference.

        Returns
        -------
        ndarray, shape (n, …), or a tuple of them
            Images with their channels last.
        """
        belong(self, params, state)
        p, held = self._tree(params), self._held(state)
        found = [self._up(p, held, part) for part in pieces(x)]
        several = isinstance(found[0], tuple)
        return tuple(map(np.concatenate, zip(*found, strict=True))) if several else joined(found)

    def _up(self, p, held, x):
        """Return what the network gives for some examples."""
        return self.net.forward(p, x, self._still(held))[0]

    def _still(self, held=()):
        """Return a step of inference."""
        return new_step(self.dtype, training=False, state=held)

    def layers(self, params, state, batch) -> Iterator[tuple[str, np.ndarray]]:
        """Yield the name of each part of the network and what it gives, in inference."""
        belong(self, params, state)
        step, net, p = self._still(self._held(state)), self.net, self._tree(params)
        x, _ = self._entered(step, batch)
        if not in_parts(net):
            yield "net", net.forward(p, x, step)[0]
            return
        for i, layer in enumerate(net.layers):
            x, _ = layer.forward(p[i], x, step.part(i))
            yield f"net.{net.names[i]}" if net.names else f"net[{i}]", x

    def signals(self, params: Any, state: Any, batch: tuple, rng: Any) -> list[Signal]:
        """Return what every part of a `Sequential` gives in a step of training, and its gradient.

        Parameters
        ----------
        params, state : Views
            The network; neither is changed.
        batch : tuple
            As `check` returns it.
        rng : numpy.random.Generator or None
            For layers that draw.

        Returns
        -------
        list of Signal
            From below, copies.
        """
        belong(self, params, state)
        if not in_parts(self.net):
            raise TypeError(f"net is {self.net}, expected a Sequential, whose parts are looked at")
        held = () if state is None else self._held(like(state, state.flat.copy()))
        step, p = new_step(self.dtype, state=held, rng=rng, wants=True), self._tree(params)
        x, y = self._entered(step, batch)
        parts, found = list(enumerate(self.net.layers)), []
        for i, layer in parts:
            x, kept = layer.forward(p[i], x, step.part(i))
            found.append((kept, mapped(x, copy)))
        x = mapped(x, copy)
        self._cost_of(x, y)
        for i, layer in reversed(parts):
            kept, gave = found[i]
            name = self.net.names[i] if self.net.names else f"net[{i}]"
            found[i] = Signal(name, gave, mapped(x, copy))
            x = layer.backward(p[i], x, kept, None, step.part(i))
        return found

    def loss(self, params: Any, state: Any, batch: tuple) -> float:
        """Return the mean cost of checked data, in inference and without penalties."""
        z = self.outputs(params, state, batch[0])
        return float(self._cost.into(z, batch[1] if len(batch) == 2 else batch[1:]))

    def predict(self, params: Any, state: Any, x: ArrayLike) -> Any:
        """Return what the network says of new examples: classes, or numbers.

        Parameters
        ----------
        params, state : Views
            The network.
        x : array_like, shape (n, …)
            Examples.
        """
        z = self._cost.predict(self.outputs(params, state, self._examples(shapes.Axes(), x)))
        if isinstance(z, np.ndarray) and z.ndim == 4:
            return np.ascontiguousarray(z.transpose(0, 3, 1, 2))
        return z


@dataclass(frozen=True)
class Network(Composition):
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


def copy(path, x):
    """Return a copy of an array of a tree."""
    return x.copy()


def pieces(x):
    """Yield the examples in parts that go up together."""
    for first in range(0, max(1, len(x)), AT_ONCE):
        yield x[first : first + AT_ONCE]


def joined(found):
    """Return parts one after the other; one part alone as it is, which may be the input."""
    return np.concatenate(found) if len(found) > 1 else found[0].copy()
