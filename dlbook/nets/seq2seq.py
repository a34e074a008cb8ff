"""A decoder that begins where an encoder ended.

What is read lies in rows, and so does what is written (`dlbook.fast.sequences.Rows`), each with a
layout of its own. Equations: `sequence_tasks`.
"""

from dlbook.nets.containers import Container
from dlbook.nets.layer import Layer
from dlbook.nets.recurrent import Recurrent

__all__ = ["Seq2Seq"]


class Seq2Seq(Container):
    """A decoder that begins with the last states of an encoder, and the scores of what it writes.

    The input is the pair of rows that encoder and decoder read, and `step.rows` the pair of their
    layouts. Where there is attention, it gets the pair of the states of decoder and encoder, and
    the scores are made of what it gives.

    Parameters
    ----------
    encoder, decoder : Recurrent
        Of the same kind, with states of the same width.
    scores : Layer
        Mostly a `Dense`.
    attention : Layer, optional
        A layer of such pairs, as `LuongAttention` is.
    """

    def __init__(self, encoder: Layer, decoder: Layer, scores: Layer, attention=None):
        more = {} if attention is None else {"attention": attention}
        super().__init__(encoder=encoder, decoder=decoder, scores=scores, **more)
        for name, layer in (("encoder", encoder), ("decoder", decoder)):
            if not isinstance(layer, Recurrent):
                raise TypeError(f"{name} is {layer}, expected an RNN, LSTM or GRU")
        if (encoder.carried, encoder.hidden) != (decoder.carried, decoder.hidden):
            raise ValueError(f"{decoder} cannot begin with the states of {encoder}")

    def inputs(self, s):
        if not isinstance(s, tuple) or len(s) != 2 or isinstance(s[0], int):
            raise ValueError(f"Seq2Seq wants two inputs and gets examples of shape {s}")
        encoder, decoder, _, *attention = self.layers
        d, h = decoder.shape(s[1]), encoder.shape(s[0])
        return [*s, attention[0].shape((d, h)), (d, h)] if attention else [*s, d]

    def shape(self, s):
        return self.layers[2].shape(self.inputs(s)[2])

    def node(self, name, step):
        """Return the node of a part."""
        at = self.names.index(name)
        if at in step.parts:
            return step.parts[at]
        return step.part(at, wants=step.wants or name in ("attention", "scores"))

    def _part(self, name, p, x, step, rows):
        """Return what a part gives, and what its way back needs."""
        node, at = self.node(name, step), self.names.index(name)
        node.rows = rows
        return self.layers[at].forward(p[at], x, node)

    def _layouts(self, step):
        """Return the layouts of what is read and of what is written."""
        if not isinstance(step.rows, tuple) or len(step.rows) != 2:
            raise ValueError("step.rows is not the pair of layouts that Seq2Seq wants")
        return step.rows

    def encode(self, p, x, step):
        """Return the states of the encoder, and what its way back needs."""
        return self._part("encoder", p, x, step, self._layouts(step)[0])

    def decode(self, p, y, h, start, step):
        """Return what decoder, attention and scores give, by name, each with what it keeps.

        The decoder begins with the states `start`; h are the states of the encoder.
        """
        source, target = self._layouts(step)
        self.node("decoder", step).start = start
        found = {"decoder": self._part("decoder", p, y, step, target)}
        seen = found["decoder"][0]
        if "attention" in self.names:
            pair = target, source
            found["attention"] = self._part("attention", p, (seen, h), step, pair)
            seen = found["attention"][0]
        return found | {"scores": self._part("scores", p, seen, step, target)}

    def run(self, p, x, step):
        """Return what every part gives, by name, each with what it keeps; the scores are last."""
        found = {"encoder": self.encode(p, x[0], step)}
        last = self.node("encoder", step).last
        return found | self.decode(p, x[1], found["encoder"][0], last, step)

    def forward(self, p, x, step):
        found = self.run(p, x, step)
        kept = {name: kept for name, (_, kept) in found.items()}
        return found["scores"][0], (kept, found["encoder"][0].shape)

    def backward(self, p, do, kept, grads, step):
        kept, shape = kept

        def back(name, dy):
            at, node = self.names.index(name), self.node(name, step)
            into = None if grads is None else grads[at]
            return self.layers[at].backward(p[at], dy, kept[name], into, node)

        dd = back("scores", do)
        if "attention" in kept:
            dd, dh = back("attention", dd)
        else:
            dh = step.array("dh", *shape)
            dh[:] = 0
        dy = back("decoder", dd)
        self.node("encoder", step).dlast = self.node("decoder", step).dstart
        return back("encoder", dh), dy
