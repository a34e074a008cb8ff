"""Layers made of layers: one after the other, beside each other, around.

A container hands its parts the gradient they own. Its parameters are a tuple with those of each
part; where the parts have names, a NamedTuple: ``Sequential(body=…, head=…)`` has
``params.net.body`` and ``params.net.head``.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import accumulate, pairwise

import numpy as np

from dlbook.nets.layer import Layer, features
from dlbook.nets.stack import Stack, in_stacks
from dlbook.tools import shapes

__all__ = ["Container", "Parallel", "Residual", "Sequential", "in_parts", "within"]

JOINS = ("concatenate", "tuple")


@dataclass(frozen=True, init=False)
class Container(Layer):
    """What all containers share.

    Parameters
    ----------
    *layers : Layer
        The parts, in order.
    **named : Layer
        The same with names; either all parts have one or none.
    """

    layers: tuple[Layer, ...]
    names: tuple[str, ...] | None

    def __init__(self, *layers: Layer, **named: Layer):
        if layers and named:
            raise ValueError(f"{type(self).__name__} has parts with names and parts without")
        for i, layer in enumerate(layers or named.values()):
            if not isinstance(layer, Layer):
                raise TypeError(
                    f"part {i} of {type(self).__name__} is {shapes.shown(layer)}, expected a layer"
                )
        if not (layers or named):
            raise ValueError(f"{type(self).__name__} has no parts")
        object.__setattr__(self, "layers", tuple(layers or named.values()))
        object.__setattr__(self, "names", tuple(named) or None)

    @property
    def learns(self):
        return any(layer.learns for layer in self.layers)

    def inputs(self, s):
        """Return the shape that each part gets."""
        return [s] * len(self.layers)

    def _each(self, s, what):
        """Return what each part says of its input, by name where parts have names."""
        found = []
        for i, (layer, shape) in enumerate(zip(self.layers, self.inputs(s), strict=True)):
            try:
                found.append(getattr(layer, what)(shape))
            except (TypeError, ValueError) as error:
                error.add_note(f"This is about part {self.names[i] if self.names else i}.")
                raise
        return dict(zip(self.names, found, strict=True)) if self.names else found

    def parameters(self, s):
        return self._each(s, "parameters")

    def running(self, s):
        return self._each(s, "running")

    def least(self, s):
        return max(part.least(at) for part, at in zip(self.layers, self.inputs(s), strict=True))

    def draw(self, p, rng):
        for layer, part in zip(self.layers, p, strict=True):
            layer.draw(part, rng)

    def begin(self, h):
        for layer, part in zip(self.layers, h, strict=True):
            layer.begin(part)


class Sequential(Container):
    """One layer after the other."""

    @property
    def keeps_output(self):
        for layer in reversed(self.layers):
            if layer.keeps_output or not layer.passes:  # what passes shows what is below it
                return layer.keeps_output
        return False

    @property
    def passes(self):
        return all(layer.passes for layer in self.layers)

    def inputs(self, s):
        found = []
        for i, layer in enumerate(self.layers):
            found.append(s)
            try:
                s = layer.shape(s)
            except (TypeError, ValueError) as error:
                error.add_note(f"This is about part {self.names[i] if self.names else i}.")
                raise
        return found

    def shape(self, s):
        return self.layers[-1].shape(self.inputs(s)[-1])

    def _nodes(self, step):
        """Decide once who may write over what, from where on a gradient is wanted, what is run as one.

        What is run as one has a node under the place of its first layer.
        """
        wants, free, flags = step.wants, step.free, []
        for layer in self.layers:
            flags.append((free, wants))
            wants = wants or layer.learns
            free = not layer.keeps_output and (free or not layer.passes)
        step.slot = [(unit, i, step.part(i, *flags[i])) for unit, i in in_stacks(self.layers)]
        return step.slot

    def forward(self, p, x, step):
        kept, training = [], step.all.training
        for unit, i, node in step.slot or self._nodes(step):
            x, k = unit.forward(p if type(unit) is Stack else p[i], x, node)
            kept.append(k if training else None)
        return x, kept

    def backward(self, p, dy, kept, grads, step):
        for (unit, i, node), k in zip(reversed(step.slot), reversed(kept), strict=True):
            if type(unit) is Stack:
                dy = unit.backward(p, dy, k, grads, node)
            else:
                dy = unit.backward(p[i], dy, k, None if grads is None else grads[i], node)
            if dy is None:  # nothing below wants it
                return None
        return dy if step.wants else None

    def whole(self, p, grads, step, cost):
        """Return what takes a whole step at once, or None: there is such for dense layers alone."""
        (unit, _, node), *more = step.slot or self._nodes(step)
        return unit.whole(p, grads, node, cost) if type(unit) is Stack and not more else None


@dataclass(frozen=True, init=False)
class Residual(Container):
    """s(x) + F(x): what the layers F make of x is added to x, or to what s makes of it.

    Parameters
    ----------
    *layers : Layer
        F, one after the other.
    skip : Layer, optional
        s, where the shapes of x and F(x) differ: a projection.
    """

    def __init__(self, *layers: Layer, skip: Layer | None = None):
        super().__init__(Sequential(*layers), *([] if skip is None else [skip]))

    def shape(self, s):
        found = [layer.shape(s) for layer in self.layers]
        if len(found) == 1:
            found.append(s)
        if found[0] != found[1]:
            raise ValueError(
                f"Residual adds what has the shapes {found[1]} and {found[0]}; skip is the layer "
                "that makes the first like the second"
            )
        return features(self, found[0])

    def forward(self, p, x, step):
        y, kept = self.layers[0].forward(p[0], x, step.part(0, False, step.wants))
        ahead, over = x, None
        if len(self.layers) > 1:
            ahead, over = self.layers[1].forward(p[1], x, step.part(1, False, step.wants))
        return np.add(ahead, y, out=step.array("y", *y.shape)), (kept, over)

    def backward(self, p, dy, kept, grads, step):
        d = step.array("d", *dy.shape)
        d[:] = dy  # two owners, two arrays
        dx = self.layers[0].backward(p[0], d, kept[0], grads and grads[0], step.parts[0])
        if len(self.layers) > 1:
            dy = self.layers[1].backward(p[1], dy, kept[1], grads and grads[1], step.parts[1])
        if not step.wants:
            return None
        dy += dx
        return dy


@dataclass(frozen=True, init=False)
class Parallel(Container):
    """All layers read the same input.

    Parameters
    ----------
    *layers, **named : Layer
        As for `Container`.
    join : {"concatenate", "tuple"}
        Whether what they give is put together along the features, as in an Inception block, or
        stays apart, as that of a network with several heads.
    """

    join: str

    def __init__(self, *layers: Layer, join: str = "concatenate", **named: Layer):
        super().__init__(*layers, **named)
        object.__setattr__(self, "join", shapes.choice("join", join, JOINS))

    @property
    def keeps_output(self):
        return self.join == "tuple" and any(layer.keeps_output for layer in self.layers)

    @property
    def passes(self):
        return self.join == "tuple" and any(layer.passes for layer in self.layers)

    def shape(self, s):
        found = tuple(layer.shape(s) for layer in self.layers)
        if self.join == "tuple":
            return found
        if len({features(self, part)[:-1] for part in found}) > 1:
            raise ValueError(f"Parallel joins along the last axis and gets the shapes {found}")
        return (*found[0][:-1], sum(part[-1] for part in found))

    def forward(self, p, x, step):
        ys, kept = [], []
        for i, layer in enumerate(self.layers):
            y, k = layer.forward(p[i], x, step.part(i, False, step.wants))
            ys.append(y)
            kept.append(k)
        if self.join == "tuple":
            return tuple(ys), kept
        ends = [0, *accumulate(y.shape[-1] for y in ys)]
        out = step.array("y", *ys[0].shape[:-1], ends[-1])
        np.concatenate(ys, axis=-1, out=out)
        return out, (kept, ends)

    def backward(self, p, dy, kept, grads, step):
        if self.join == "concatenate":
            kept, ends = kept
            whole, dy = dy, []
            for i, (a, b) in enumerate(pairwise(ends)):
                dy.append(step.array(("d", i), *whole.shape[:-1], b - a))
                dy[i][:] = whole[..., a:b]
        total = None
        for i, layer in enumerate(self.layers):
            dx = layer.backward(p[i], dy[i], kept[i], grads and grads[i], step.parts[i])
            if total is None or dx is None:
                total = dx if total is None else total
            else:
                total += dx
        return total if step.wants else None


def in_parts(net: Layer) -> bool:
    """Return whether layers are a `Sequential` that does nothing but what its parts do in turn."""
    return isinstance(net, Sequential) and type(net).forward is Sequential.forward


def within(layer: Layer) -> Iterator[Layer]:
    """Yield a layer and all layers that it is made of."""
    yield layer
    held = getattr(layer, "layer", None)
    for part in (*getattr(layer, "layers", ()), *([] if held is None else [held])):
        yield from within(part)
