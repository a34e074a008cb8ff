"""A network that writes a caption under an image, and looks at places of it before each word.

Captions lie in rows, one for each word (`dlbook.fast.sequences.Rows`). Equations: `captioning`.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from dlbook.fast.sequences import arrange
from dlbook.nets.containers import Container
from dlbook.nets.costs import SoftmaxCrossEntropy
from dlbook.nets.decoding import greedy, searched
from dlbook.nets.encoder_decoder import together
from dlbook.nets.layer import Layer
from dlbook.nets.layers import Dense, Embedding
from dlbook.nets.looking import LookingLSTM, Places
from dlbook.nets.network import AT_ONCE, Composition, pieces
from dlbook.sequence_tasks import teacher_forcing
from dlbook.tools import shapes
from dlbook.tools.flat import belong, fits

__all__ = ["Captioner"]


class _Captions(Container):
    """Words under an image: the encoder, if there is one, places, words, decoder, scores.

    The input is the pair of images, or maps, and of rows of the words that the decoder reads.
    """

    def inputs(self, s):
        image, word = s
        *encoder, places, words, decoder, _ = self.layers
        found = [image] if encoder else []
        a = encoder[0].shape(image) if encoder else image
        pair = words.shape(word), places.shape(a)
        return [*found, a, word, pair, decoder.shape(pair)]

    def shape(self, s):
        return self.layers[-1].shape(self.inputs(s)[-1])

    def part(self, name, step):
        """Return where a part stands, the part, and its node."""
        at = self.names.index(name)
        below = name in ("decoder", "scores") or (name == "places" and self.layers[0].learns)
        return at, self.layers[at], step.part(at, False, step.wants or below)

    def up(self, name, p, x, step):
        """Return what a part gives, and what its way back needs."""
        at, layer, node = self.part(name, step)
        return layer.forward(p[at], x, node)

    def see(self, p, x, step):
        """Return the places of images, by name of the part, each with what it keeps."""
        found = {"encoder": self.up("encoder", p, x, step)} if "encoder" in self.names else {}
        seen = found["encoder"][0] if found else x
        return found | {"places": self.up("places", p, seen, step)}

    def write(self, p, words, a, start, step):
        """Return what the parts give for words that are read, by name, each with what it keeps."""
        self.part("decoder", step)[2].start = start
        found = {"words": self.up("words", p, words, step)}
        found["decoder"] = self.up("decoder", p, (found["words"][0], a), step)
        return found | {"scores": self.up("scores", p, found["decoder"][0], step)}

    def run(self, p, x, step):
        """Return what every part gives, by name, each with what it keeps; the scores are last."""
        found = self.see(p, x[0], step)
        return found | self.write(p, x[1], found["places"][0], None, step)

    def forward(self, p, x, step):
        found = self.run(p, x, step)
        return found["scores"][0], {name: kept for name, (_, kept) in found.items()}

    def backward(self, p, dy, kept, grads, step):
        def back(name, dy):
            at, layer, node = self.part(name, step)
            return layer.backward(p[at], dy, kept[name], None if grads is None else grads[at], node)

        de, da = back("decoder", back("scores", dy))
        back("words", de)
        dx = back("places", da)
        if dx is not None and "encoder" in kept:
            dx = back("encoder", dx)
        return (dx, None) if step.wants else None


@dataclass(frozen=True)
class Captioner(Composition):
    """A network that writes a caption under an image, one word after the other.

    Parameters
    ----------
    input : (int, int, int)
        Channels, rows and columns of the images; without an encoder of the maps, which one that was
        taught before has made of them.
    words : int
        How many there are, the beginning and the end among them.
    hidden, width : int
        Units of the decoder's state; numbers of a word's vector.
    look : {"attention", "fixed", "uniform", "flat"}
        What the decoder sees of the image; see `LookingLSTM`.
    encoder : Layer, optional
        Turns images into maps, and learns with the rest; `viewer` makes one. To keep one as it is,
        `Frozen` stands around it.
    coverage : float
        λ of `LookingLSTM`.
    begin, end : int
        What the decoder reads at its first step, and the word that ends a caption.
    max_length : int
        Words after which `predict` and `beam` give up waiting for the end.
    dtype : {"float32", "float64"}
        Of parameters and data.

    Raises
    ------
    TypeError, ValueError
        If one of them is not what is described here.
    """

    input: tuple[int, int, int]
    words: int
    hidden: int = 96
    width: int = 32
    look: str = "attention"
    encoder: Layer | None = field(default=None, kw_only=True)
    coverage: float = field(default=0.0, kw_only=True)
    begin: int = field(default=0, kw_only=True)
    end: int = field(default=1, kw_only=True)
    max_length: int = field(default=16, kw_only=True)
    dtype: str = field(default="float32", kw_only=True)

    def __post_init__(self):
        """Check all of them at once."""
        if not isinstance(self.input, (tuple, list)) or len(self.input) != 3:
            raise ValueError(f"input is {self.input!r}, expected (channels, rows, columns)")
        found = tuple(shapes.count(f"input[{i}]", n) for i, n in enumerate(self.input))
        object.__setattr__(self, "input", found)
        shapes.count("words", self.words, least=3)
        for name in ("begin", "end"):
            shapes.count(name, getattr(self, name), least=0, most=self.words - 1)
        if self.begin == self.end:
            raise ValueError(f"begin and end are both {self.end}, expected two words")
        shapes.count("max_length", self.max_length)
        shapes.choice("dtype", self.dtype, ("float32", "float64"))
        if self.encoder is not None and not isinstance(self.encoder, Layer):
            raise TypeError(f"encoder is {shapes.shown(self.encoder)}, expected a layer or None")
        _ = self.output  # the layers check the rest

    # What it is made of

    @cached_property
    def inside(self) -> tuple:
        """Shape of an example for the first layer, an image with channels last, and of a word."""
        return (*self.input[1:], self.input[0]), ()

    @cached_property
    def net(self) -> _Captions:
        """The layers."""
        parts = {} if self.encoder is None else {"encoder": self.encoder}
        return _Captions(
            **parts,
            places=Places(),
            words=Embedding(self.words, self.width),
            decoder=LookingLSTM(self.hidden, self.look, self.coverage, steps=self.max_length),
            scores=Dense(self.words, initial="xavier"),
        )

    @cached_property
    def cost(self) -> SoftmaxCrossEntropy:
        """What is made small."""
        return SoftmaxCrossEntropy()

    # Data

    def check(self, params: Any, data: tuple) -> tuple[np.ndarray, ...]:
        """Return images, the words to be written, and how many there are, checked.

        Parameters
        ----------
        params : Views
            The network.
        data : tuple (x, y, ends)
            Images (n, c, h, w), words (n, u), and how many of these each caption has, (n,), the end
            included, which is the last of each. What stands behind it is not looked at.
        """
        if not isinstance(data, tuple) or len(data) != 3:
            raise TypeError("data is not a tuple (x, y, ends)")
        fits(params, self.layout)
        axes = shapes.Axes()
        x = self._examples(axes, data[0])
        y = shapes.array("y", data[1])
        if y.ndim != 2 or y.size == 0:
            raise ValueError(f"y has shape {y.shape}, expected (n, u)")
        ends = axes.labels("ends", data[2], "n", y.shape[1] + 1, least=1)
        beyond = np.arange(y.shape[1]) >= ends[:, None]
        if y.shape == beyond.shape:
            y = y.copy()
            y[beyond] = self.end
        y = axes.labels("y", y, "n u", self.words)
        wrong = y[np.arange(len(y)), ends - 1] != self.end
        if wrong.any():
            n = int(np.argmax(wrong))
            raise ValueError(
                f"y ends with {y[n, ends[n] - 1]} at index {n}, expected the end, {self.end}"
            )
        return x, y, ends

    def loss_and_grad(self, params, state, batch, grads, work, rng=None) -> float:
        """Return the mean loss of a word with λ's part and fill `grads`; for batches see `check`."""
        return super().loss_and_grad(params, state, batch, grads, work, rng)

    def terms(self, batch: tuple) -> int:
        """Return how many words of a checked batch are to be written."""
        return int(batch[2].sum())

    def _entered(self, step, batch):
        """Return images and words that are read, and targets, as rows; set the layout."""
        x, y, ends = batch
        step.rows = rows = arrange(ends, y.shape[1])
        read, y = (
            a.reshape(-1).take(rows.places, mode="clip")
            for a in (teacher_forcing(y, self.begin), y)
        )
        return (x, read), y

    def _cost_of(self, z, y):
        """Turn scores into ∂C/∂z; return the mean loss of a word."""
        return self.cost.rows_into(z, y, 1 / len(y))

    # Inference

    def _run(self, params, state, batch):
        """Return what every part gives for a checked batch and keeps, targets, and the layout."""
        belong(self, params, state)
        step = self._still(self._held(state))
        x, y = self._entered(step, batch)
        return self.net.run(self._tree(params), x, step), y, step.rows

    def outputs(self, params: Any, state: Any, batch: tuple) -> np.ndarray:
        """Return the scores of all words of a checked batch, as rows."""
        return self._run(params, state, batch)[0]["scores"][0]

    def loss(self, params: Any, state: Any, batch: tuple) -> float:
        """Return the mean loss of a word of checked data, without λ's part."""
        total = words = 0
        for first in range(0, len(batch[0]), AT_ONCE):
            part = tuple(a[first : first + AT_ONCE] for a in batch)
            found, y, _ = self._run(params, state, part)
            total += float(self._cost_of(found["scores"][0], y)) * len(y)
            words += len(y)
        return total / words

    def layers(self, params: Any, state: Any, batch: tuple) -> Iterator[tuple[str, np.ndarray]]:
        """Yield the name of each part and what it gives."""
        for name, (y, _) in self._run(params, state, batch)[0].items():
            yield name, y

    def looks(self, params: Any, state: Any, data: tuple) -> np.ndarray:
        """Return the weights with which the network looked at each place before each word.

        Parameters
        ----------
        params, state : Views
            The network, whose look is "attention" or "fixed".
        data : tuple (x, y, ends)
            As for `check`; the decoder reads y, as in training.

        Returns
        -------
        ndarray, shape (n, u, s)
            A row sums to one up to the end of the caption, behind it is zero.
        """
        if self.look not in ("attention", "fixed"):
            raise ValueError(f"look is {self.look!r}, which does not learn where to look")
        batch = self.check(params, data)
        found = []
        for first in range(0, len(batch[0]), AT_ONCE):
            part = tuple(a[first : first + AT_ONCE] for a in batch)
            parts, _, rows = self._run(params, state, part)
            a = parts["decoder"][1][-1]
            found.append(np.zeros((part[1].size, a.shape[1]), a.dtype))
            found[-1][rows.places] = a
        return np.concatenate(found).reshape(*batch[1].shape, -1)

    def stepper(self, params: Any, state: Any, x: ArrayLike) -> tuple[np.ndarray, Callable]:
        """Return the state before the first word, and a function that writes a word.

        Parameters
        ----------
        params, state : Views
            The network.
        x : array_like, shape (n, c, h, w)
            Images.

        Returns
        -------
        first : ndarray, shape (n, 2j+1)
            State and cell of the decoder, and how many words are written.
        step : callable
            ``step(state, words)`` returns the logarithms of the probabilities of the next words
            (n, v), in float64, and the new state.
        """
        belong(self, params, state)
        x, node = self._examples(shapes.Axes(), x), self._still(self._held(state))
        N, net, p = len(x), self.net, self._tree(params)
        node.rows = arrange(np.zeros(N, np.int64), 1)
        a = net.see(p, x, node)["places"][0]
        net.write(p, np.empty(0, np.int64), a, None, node)
        decoder = net.part("decoder", node)[2]
        first = np.pad(together(decoder.last), ((0, 0), (0, 1)))
        node.rows = arrange(np.ones(N, np.int64), 1)

        def step(state, words):
            before, (h, c) = int(state[0, -1]), np.split(state[:, :-1], 2, axis=1)
            found = net.write(p, np.asarray(words), a, [h, c, before], node)
            o = found["scores"][0].astype(float)
            o -= o.max(axis=1, keepdims=True)
            o -= np.log(np.exp(o).sum(axis=1, keepdims=True))
            after = np.pad(together(decoder.last), ((0, 0), (0, 1)), constant_values=before + 1)
            return o, after

        return first, step

    def predict(self, params: Any, state: Any, x: ArrayLike) -> np.ndarray:
        """Write the most probable word at each step, which is read at the next one.

        Parameters
        ----------
        params, state : Views
            The network.
        x : array_like, shape (n, c, h, w)
            Images.

        Returns
        -------
        ndarray of int64, shape (n, u)
            What is written, with the end; −1 behind it. u is at most `max_length`.
        """
        found = []
        for part in pieces(shapes.array("x", x)):
            first, step = self.stepper(params, state, part)
            found.append(greedy(step, first, self.begin, self.end, max_length=self.max_length))
        out = np.full((sum(map(len, found)), max(f.shape[1] for f in found)), -1)
        for part, into in zip(
            found, np.split(out, np.cumsum([*map(len, found)])[:-1]), strict=True
        ):
            into[:, : part.shape[1]] = part
        return out

    def beam(
        self, params: Any, state: Any, x: ArrayLike, width: int, length_penalty: float = 0.0
    ) -> list[tuple[np.ndarray, float]]:
        """Write the caption of one image with a beam; see `dlbook.sequence_tasks.beam_search`.

        Parameters
        ----------
        params, state : Views
            The network.
        x : array_like, shape (c, h, w)
            The image.
        width : int
            Hypotheses kept.
        length_penalty : float
            See `beam_search`.

        Returns
        -------
        list of (ndarray of int64, float)
            Captions, the best first, and their scores. It is empty where none has ended after
            `max_length` words.
        """
        width = shapes.count("width", width)
        images = np.repeat(shapes.array("x", x)[None], width, axis=0)
        first, step = self.stepper(params, state, images)
        return searched(self, first, step, width, length_penalty)
