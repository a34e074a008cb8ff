"""What an exercise is: data for the authors of exercises, and what is said of an answer."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

__all__ = ["Choice", "Exercise", "Mistake", "Result", "Stream", "is_value", "sizes"]

# What can be said of an answer
UNATTEMPTED, CORRECT = "not attempted", "correct"
TYPE, CRASHED, STOPPED = "wrong type or shape", "crashed", "stopped"
CHANGED, UNSTABLE = "changed its input", "not deterministic"
MISTAKE, WRONG = "known mistake", "wrong"


# An exercise is data


@dataclass(frozen=True)
class Mistake:
    """A mistake that answers make: what it is called, what it computes, and what to say."""

    name: str  # follows "A known mistake: "
    wrong: Callable  # takes what the reference takes, returns what the mistake leads to
    message: str  # why it is wrong, in one line
    read: str = ""  # what to read next, with {eq}`label` where an equation is meant


def nothing(rng):
    """Yield one probe without arguments: the answer is a number or an array."""
    yield ()


@dataclass(frozen=True, eq=False, kw_only=True)
class Exercise:
    """An exercise whose answer is a function, or, without probes, a number or an array."""

    label: str  # "<chapter>-<slug>"; on the page it is called ex-<label>
    task: str  # the statement in one line of plain text
    reference: Callable  # the right answer; often a kernel of the book
    axes: str  # of its arguments and its result: "(n p), (n) -> (p)"
    probes: Callable = nothing  # probes(rng) yields tuples of arguments, the smallest first
    mistakes: tuple  # of Mistake
    hints: tuple  # three, from a nudge to nearly the answer
    used: str  # where the book uses the result
    right: tuple = ()  # other answers that are right: a loop, vectorised, compiled
    others: tuple = ()  # (wrong answer, what must be said of it) beyond the catalogue


@dataclass(frozen=True, eq=False, kw_only=True)
class Choice:
    """An exercise whose answer is a letter or several."""

    label: str
    task: str
    right: str  # the letters that are right: "bd"
    wrong: dict  # {letter: why it is wrong}
    missing: str  # what to say where only some of the right ones are chosen
    hints: tuple
    used: str


def is_value(exercise):
    """Return whether the answer is a number or an array, and not a function."""
    return exercise.probes is nothing


class Stream(NamedTuple):
    """An argument that can be read only once: the answer gets an iterator over the items."""

    items: list


def sizes(rng, count, least=2, most=6):
    """Return different sizes, so that no axis can pass for another."""
    return (int(n) for n in rng.choice(np.arange(least, most + 1), count, replace=False))


@dataclass(frozen=True)
class Result:
    """What is said of an answer, in at most four lines."""

    label: str
    status: str
    lines: tuple
    name: str = ""  # of the mistake, where one was recognised
    traceback: str = ""  # of a crash

    @property
    def correct(self):
        """Return whether the answer is right."""
        return self.status == CORRECT
