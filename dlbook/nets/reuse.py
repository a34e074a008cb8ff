"""Layers used again: several times in one network, or as they were learned elsewhere."""

from dataclasses import dataclass
from typing import Any

from dlbook.nets.layer import Layer
from dlbook.nets.tree import Views, added, copied, sizes
from dlbook.tools import shapes

__all__ = ["Frozen", "Repeat"]


@dataclass(frozen=True)
class Around(Layer):
    """What stands around one layer and gives what that gives."""

    layer: Layer

    @property
    def keeps_output(self):
        return self.layer.keeps_output

    @property
    def passes(self):
        return self.layer.passes

    def least(self, s):
        return self.layer.least(s)


@dataclass(frozen=True)
class Repeat(Around):
    """One layer, several times: weights that are shared through depth.

    Parameters
    ----------
    layer : Layer
        Its output has the shape of its input.
    times : int
        How often.
    """

    times: int

    def __post_init__(self):
        shapes.count("times", self.times)
        if not isinstance(self.layer, Layer):
            raise TypeError(f"layer is {shapes.shown(self.layer)}, expected a layer")

    @property
    def learns(self):
        return self.layer.learns

    def shape(self, s):
        if self.layer.shape(s) != s:
            raise ValueError(f"{self.layer} is repeated and turns {s} into {self.layer.shape(s)}")
        return s

    def parameters(self, s):
        return [self.layer.parameters(s)]

    def running(self, s):
        if self.times > 1 and any(sizes(self.layer.running(s))):
            raise ValueError(f"{self.layer} is repeated, and its running statistics are of one use")
        return [self.layer.running(s)] * self.times

    def draw(self, p, rng):
        self.layer.draw(p[0], rng)

    def begin(self, h):
        for part in h:
            self.layer.begin(part)

    def forward(self, p, x, step):
        kept = []
        for i in range(self.times):
            wants = step.wants or (i > 0 and self.learns)
            x, k = self.layer.forward(p[0], x, step.part(i, False, wants))
            kept.append(k)
        return x, kept

    def backward(self, p, dy, kept, grads, step):
        for i in range(self.times - 1, -1, -1):
            first = i == self.times - 1  # it overwrites; later uses are added
            into = grads and (grads[0] if first else step.like(grads[0]))
            dy = self.layer.backward(p[0], dy, kept[i], into, step.parts[i])
            if grads and not first:
                added(grads[0], into)
        return dy


@dataclass(frozen=True)
class Frozen(Around):
    """A layer that was learned elsewhere: no optimizer, decay or clipping sees its parameters.

    They are part of the running statistics. Batch normalization inside follows its own in training.

    Parameters
    ----------
    layer : Layer
        What is frozen.
    values : Views or its tree
        Its parameters, as `dlbook.nets.network.Network.init` or `fit` returned them for it.
    """

    values: Any

    def shape(self, s):
        return self.layer.shape(s)

    def running(self, s):
        return [self.layer.running(s), self.layer.parameters(s)]

    def begin(self, h):
        self.layer.begin(h[0])
        copied(h[1], self.values.net if isinstance(self.values, Views) else self.values)

    def forward(self, p, x, step):
        return self.layer.forward(step.state[1], x, step.part(0, step.free, step.wants))

    def backward(self, p, dy, kept, grads, step):
        return self.layer.backward(step.state[1], dy, kept, None, step.parts[0])
