"""What the loop asks of a model, and what training gives back."""

from typing import Any, NamedTuple, Protocol

import numpy as np

__all__ = ["Diverged", "Fitted", "History", "Model"]


class Model(Protocol):
    """A model as the loop sees it. It remembers nothing: what changes is handed to it.

    Parameters, gradients and running statistics are NamedTuples of views of a field ``flat``.
    Where a model has an attribute ``smallest_batch``, no step has fewer examples than that. Where
    it has an attribute ``layout`` (see `dlbook.tools.flat.laid_out`), parameters are held against
    it, otherwise against those that `init` draws. Where it has a method ``layers(params, state,
    batch)``, which yields a name and an array for each layer, a run that diverges names the first
    layer that gives something infinite. Where it has a method ``terms(batch)``, which says how many
    terms the loss of a batch is the mean of, shards of a batch count as much as they have terms,
    otherwise as much as they have examples.
    """

    def init(self, rng: np.random.Generator) -> Any:
        """Draw the first parameters."""

    def start(self) -> Any:
        """Return fresh running statistics, or None."""

    def check(self, params: Any, data: tuple) -> tuple[np.ndarray, ...]:
        """Return the data checked and converted, with examples on the first axis."""

    def workspace(self, batch: int) -> Any:
        """Return the memory for steps of at most `batch` examples."""

    def loss_and_grad(self, params, state, batch, grads, work, rng) -> float:
        """Return the mean loss of a batch, fill `grads`, move the running statistics."""

    def loss(self, params, state, batch) -> float:
        """Return the mean loss of checked data in inference."""

    def predict(self, params, state, x) -> np.ndarray:
        """Return what the model says of new examples."""


class History(NamedTuple):
    """What was measured in each finished epoch; None stands for what was not asked for."""

    loss: np.ndarray  # (epochs,) mean loss of the examples while the weights moved
    validation: np.ndarray | None  # (epochs,) loss on the validation data after the epoch
    score: np.ndarray | None  # (epochs,) score after the epoch
    rate: np.ndarray  # (epochs,) learning rate of the last step
    norm: np.ndarray  # (epochs,) mean norm of the gradient, before clipping
    seconds: np.ndarray  # (epochs,)


class Fitted(NamedTuple):
    """What training gives back."""

    params: Any
    state: Any  # running statistics that belong to params, or None
    history: History
    why: str  # training ended: "finished", "stopped early" or "interrupted"
    steps: int
    best: int | None  # the epoch, from 1, whose weights these are; None for those of the last step


class Diverged(FloatingPointError):  # noqa: N818
    """A loss, a gradient or a weight is no longer a finite number.

    Attributes
    ----------
    step, epoch : int
        Where, both counted from 1.
    layer : str
        The first layer whose output is not finite, where the model shows them; otherwise the first
        array, in the order of the flat vector, whose gradient or values are not: ``"w[3]"``;
        ``"loss"``, ``"validation"`` or ``"score"`` where only that number is not.
    params, state : NamedTuple
        The last good weights and running statistics: those after the step before.
    """

    def __init__(self, message, step=0, epoch=0, layer="", params=None, state=None):
        super().__init__(message)
        self.step, self.epoch, self.layer = step, epoch, layer
        self.params, self.state = params, state
