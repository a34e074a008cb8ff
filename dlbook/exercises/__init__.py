"""Exercises that answer back.

``check("backprop-bp2", my_function)`` says whether an answer is right, and if not, what is wrong:
the mistake by its name where it is known, and the smallest case that shows it. ``hint`` helps in
three steps, ``solution`` shows the solution, ``progress`` says how far you are and ``reset`` forgets it.

Answers run in your own Python, with your rights: this is not a sandbox. A loop without end in a
notebook ends when you interrupt the kernel, and a compiled one only when you restart it;
``python -m dlbook check FILE`` runs a file under a time limit.
"""

from __future__ import annotations

import difflib
import re
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

from dlbook.exercises import shown
from dlbook.exercises.engine import judge
from dlbook.exercises.forms import CORRECT, UNATTEMPTED
from dlbook.exercises.store import Store, data_directory
from dlbook.tools.tex import without_tex

__all__ = ["check", "hint", "progress", "reset", "solution"]

MACHINERY = {
    *("engine", "forms", "grading", "probes", "recognise", "running", "shell", "shown"),
    *("solutions", "store", "words"),
}
CHAPTERS = sorted(
    path.stem for path in Path(__file__).parent.glob("[a-z]*.py") if path.stem not in MACHINERY
)


class UnknownExerciseError(ValueError):
    """No exercise has this label."""

    def _render_traceback_(self):  # Jupyter shows the message alone
        return [str(self)]


def exercises(chapter):
    """Return {label: exercise} of a chapter; only this loads what it builds on."""
    return _exercises(chapter)


@cache
def _exercises(chapter):
    module = import_module(f"dlbook.exercises.{chapter}")
    return {exercise.label: exercise for exercise in module.EXERCISES}


def labels(chapter):
    """Return the labels of a chapter's exercises from its source, so that nothing is loaded."""
    text = Path(__file__).with_name(f"{chapter}.py").read_text(encoding="utf-8")
    return re.findall(r'^ +label="([\w-]+)",$', text, re.M)


def find(label):
    """Return the exercise with a label, or raise UnknownExerciseError."""
    if not isinstance(label, str):
        raise UnknownExerciseError(f"label is {label!r}, expected text such as 'backprop-bp2'")
    chapter = label.partition("-")[0]
    if chapter not in CHAPTERS:
        near = _with_slug(label)
        if near:
            raise UnknownExerciseError(f"no exercise {label!r}; did you mean {near}?")
        _known_chapter(chapter)
    known = exercises(chapter)
    if label not in known:
        near = difflib.get_close_matches(label, known, 1, cutoff=0) or [""]
        raise UnknownExerciseError(f"no exercise {label!r}; did you mean {near[0]!r}?")
    return known[label]


def _with_slug(slug):
    """Return the labels that end with a slug, or with the nearest one, in words."""
    slugs = {}
    for chapter in CHAPTERS:
        for label in labels(chapter):
            slugs.setdefault(label.partition("-")[2], []).append(repr(label))
    near = difflib.get_close_matches(slug, slugs, 1, cutoff=0.75)
    first, more = (slugs[near[0]][:3], slugs[near[0]][3:]) if near else ((), ())
    return " or ".join(first) + ", or that of another chapter" * bool(more)


def _known_chapter(chapter):
    """Return a chapter that has exercises, or raise UnknownExerciseError."""
    if chapter not in CHAPTERS:
        near = difflib.get_close_matches(str(chapter), CHAPTERS, 1)
        known = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(CHAPTERS)}"
        raise UnknownExerciseError(f"no chapter {chapter!r} has exercises to check; {known}")
    return chapter


@cache
def _store_in(folder):
    return Store(folder)


def _store():
    """Return the store of the data directory."""
    return _store_in(data_directory())


def _show(lines, status="", label=""):
    shown.show(shown.Shown(lines, status, label))
    store = _store()
    while store.notes and store.path is not None:
        shown.show(shown.Shown([store.notes.pop(0)]))


def check(label: str, answer: Any = ..., *, traceback: bool = False) -> None:
    """Say whether an answer is right, and if not, what is wrong with it.

    Parameters
    ----------
    label : str
        The exercise, "<chapter>-<name>", as its page gives it.
    answer : callable, array_like, number or str
        Your function, plain or compiled; for some exercises a number, an array or letters.
    traceback : bool
        Show the whole message of an error in your code.

    Raises
    ------
    ValueError
        If there is no such exercise.
    """
    exercise = find(label)
    for listener in shown.listeners:
        listener("begin", label)
    result = judge(exercise, answer)
    for listener in shown.listeners:
        listener("result", result)
    if result.status != UNATTEMPTED:
        store = _store()
        old = store.read().get(label, {})
        status = CORRECT if old.get("status") == CORRECT else result.status
        store.change(label, status=status, tries=old.get("tries", 0) + 1)
    _show(result.lines, result.status, label)
    if traceback and result.traceback:
        print(result.traceback)


def hint(label: str, level: int | None = None) -> None:
    """Show a hint; each call goes one step further, up to three.

    Parameters
    ----------
    label : str
        The exercise.
    level : int, optional
        1, 2 or 3; without it, the next one.
    """
    exercise, store = find(label), _store()
    last = len(exercise.hints)
    if level is None:
        level = min(store.read().get(label, {}).get("hints", 0) + 1, last)
    elif level not in range(1, last + 1):
        raise ValueError(f"level is {level!r}, expected 1 to {last}")
    store.change(label, hints=max(level, store.read().get(label, {}).get("hints", 0)))
    more = (
        f'`hint("{label}")` says more.' if level < last else f'`solution("{label}")` shows it all.'
    )
    _show([f"Hint {level} of {last}.", exercise.hints[level - 1], more])


def solution(label: str) -> None:
    """Show the solution of the page: in words, and in code that runs by itself.

    Parameters
    ----------
    label : str
        The exercise.
    """
    from dlbook.exercises.solutions import solution_text

    find(label)
    _show_markdown(solution_text(label))


class _Markdown:
    """Text that a notebook typesets."""

    def __init__(self, text):
        self.text = text

    def __str__(self):
        words, *rest = re.split(r"^```.*\n?", self.text, flags=re.M)
        return "".join([without_tex(words), *rest])

    def _repr_mimebundle_(self, include=None, exclude=None):
        return {"text/markdown": self.text, "text/plain": str(self)}


def _show_markdown(text):
    shown.show(_Markdown(text))


def progress(chapter: str | None = None) -> None:
    """Show which exercises you have solved, and where that is kept.

    Parameters
    ----------
    chapter : str, optional
        The chapter whose exercises are listed one by one; without it, all chapters in a line each.
    """
    store = _store()
    if chapter is not None:
        lines = _listed(_known_chapter(chapter), store.read())
    else:
        lines = _counted(store.read())
    kept = [f"Kept in {store.path}"] if store.path else []
    shown.show(shown.Shown(["Your progress.", *lines, *store.notes, *kept]))


def _listed(chapter, entries):
    """Return a line for each exercise of a chapter: its mark, its label, how often it was tried."""
    lines = []
    for label in labels(chapter):
        entry = entries.get(label, {})
        status = entry.get("status", UNATTEMPTED)
        tries = entry.get("tries", 0)
        times = f", {tries} {'try' if tries == 1 else 'tries'}" if tries else ""
        lines.append(f"{shown.MARKS.get(status, '✗')} {label}: {status}{times}")
    return lines


def _counted(entries):
    """Return a line for each chapter: how many exercises are solved, and which are begun."""
    lines = []
    for chapter in CHAPTERS:
        known = labels(chapter)
        solved = [label for label in known if entries.get(label, {}).get("status") == CORRECT]
        open_ = [label for label in known if label not in solved and label in entries]
        words = f"{chapter}: {len(solved)} of {len(known)} solved"
        lines.append(words + (f"; begun: {', '.join(open_)}" if open_ else ""))
    return lines


def reset(label: str | None = None) -> None:
    """Forget the progress on one exercise, or on all.

    Parameters
    ----------
    label : str, optional
        The exercise; without it, all of them.
    """
    store = _store()
    labels = [find(label).label] if label is not None else list(store.read())
    count = store.remove(labels)
    _show([f"Progress on {count} exercise{'s' * (count != 1)} is forgotten."])
