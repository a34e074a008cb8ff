"""Compare numbers, and find the one mistake that explains all of them."""

import numpy as np

from dlbook.exercises.forms import Mistake
from dlbook.exercises.probes import catalogue

__all__ = ["EXACT", "SINGLE", "alike", "gap", "recognised"]

EXACT, SINGLE = 1e-9, 1e-4  # largest relative error of an answer in float64 and in float32
CLEARLY = 1000  # how much closer a mistake must be than the next one to be named


def gap(actual, expected):
    """Return the largest error of any part relative to its largest number; inf if shapes differ."""
    if len(actual) != len(expected):
        return np.inf
    worst = 0.0
    for a, e in zip(actual, expected, strict=True):
        if a.shape != e.shape:
            return np.inf
        if e.size == 0:
            continue
        a, e = np.atleast_1d(a) * 1.0, np.atleast_1d(e) * 1.0
        with np.errstate(all="ignore"):
            apart = np.abs(a - e)
            apart[(a == e) | (np.isnan(a) & np.isnan(e))] = 0
            size = np.max(np.abs(e), where=np.isfinite(e), initial=0) or 1.0
            error = np.max(apart) / size
        worst = max(worst, float(error) if np.isfinite(error) else np.inf)
    return worst


def alike(mine, theirs):
    """Say whether two outcomes are the same exception, or the same numbers."""
    if isinstance(mine, Exception) or isinstance(theirs, Exception):
        return type(mine) is type(theirs) and str(mine) == str(theirs)
    single = any(part.dtype in (np.float32, np.complex64) for part in mine)
    return gap(mine, theirs) <= (SINGLE if single else EXACT)


def _distance(actual, other):
    """Return the largest gap of all cases."""
    return max(map(gap, actual, other), default=np.inf)


def recognised(exercise, found, actual, tolerance):
    """Return the mistake that explains every case and stands alone, or None."""
    expected = [case.expected for case in found]
    known = catalogue(exercise)
    levels = [
        lambda: known,
        lambda: _scaled(actual, expected, found),
        lambda: _rearranged(expected),
        lambda: _shuffled(actual, expected, tolerance),
        lambda: _pairs(actual, expected, found, known),
    ]
    for level in levels:
        ranked = sorted(
            ((_distance(actual, other), mistake) for mistake, other in level()),
            key=lambda pair: pair[0],
        )
        near = [pair for pair in ranked if pair[0] <= tolerance]
        if near:
            bar = CLEARLY * max(ranked[0][0], tolerance / CLEARLY)
            alone = len(ranked) == 1 or ranked[1][0] > bar
            return ranked[0][1] if alone else None
    return None


PLAIN = (-1.0, 2.0, -2.0, 0.5, -0.5)  # factors that people forget


def _scaled(actual, base, found):
    """Return the base times one number, or times the size of an axis, fitted to the answer."""
    ratios, numbers = [], 0
    for parts, other in zip(actual, base, strict=True):
        if len(parts) != len(other) or any(
            a.shape != b.shape for a, b in zip(parts, other, strict=True)
        ):
            return []
        a, b = (np.concatenate([p.ravel() for p in ps]) for ps in (parts, other))
        if not (np.isfinite(a).all() and np.isfinite(b).all()):
            return []
        square = np.vdot(b, b).real
        ratios.append(np.vdot(b, a).real / square if square else None)
        numbers += b.size
    used = [k for k, ratio in enumerate(ratios) if ratio is not None]
    if not used or any(ratios[k] == 0 for k in used):
        return []

    def candidate(factors, name, message):
        scaled = [
            tuple(p * (1.0 if f is None else f) for p in parts)
            for parts, f in zip(base, factors, strict=True)
        ]
        return Mistake(name, None, message), scaled

    made, first = [], ratios[used[0]]
    plain = next((c for c in PLAIN if abs(first / c - 1) < 1e-3), None)
    if plain == -1:
        made.append(
            candidate(
                [-1.0] * len(found),
                "every number has the opposite sign",
                "The difference is taken the other way round, or a minus sign is missing.",
            )
        )
    elif plain or (len(used) > 1 and numbers >= 4 and abs(first - 1) > 1e-3):
        c = plain or first
        made.append(
            candidate(
                [c] * len(found),
                f"every number is {c:.6g} times what it should be",
                "A constant factor is missing or stands there twice.",
            )
        )
    for letter in sorted(set.intersection(*(set(case.sizes) for case in found))):
        size = np.array([case.sizes[letter] for case in found], dtype=float)
        for power, verb in ((1, "divide by"), (-1, "multiply by")):
            rest = ratios[used[0]] / size[used[0]] ** power
            c = next((c for c in (1.0, *PLAIN) if abs(rest / c - 1) < 1e-3), None)
            if c and len(set(size[used])) > 1:
                times = "" if c == 1 else f"{c:.6g} times "
                by = letter.upper() if power == 1 else f"1/{letter.upper()}"
                made.append(
                    candidate(
                        c * size**power,
                        f"every number is {times}{by} times what it should be",
                        f"{letter.upper()} is the size of the axis {letter}: a sum where a mean "
                        f"belongs, or the other way round; {verb} it.",
                    )
                )
    return made


def _rearranged(base):
    """Return the base with its axes swapped, its parts swapped, or in reverse order."""
    made = []

    def add(name, message, change):
        changed = [change(parts) for parts in base]
        if any(gap(c, b) > EXACT for c, b in zip(changed, base, strict=True)):
            made.append((Mistake(name, None, message), changed))

    if any(p.ndim == 2 for parts in base for p in parts):
        add(
            "the result is transposed",
            "Rows and columns are exchanged; compare which index the equation writes first.",
            lambda parts: tuple(p.T if p.ndim == 2 else p for p in parts),
        )
    if len(base[0]) > 1:
        add(
            "the results are returned in the reverse order",
            "Each is right; the statement says in which order they are wanted.",
            lambda parts: parts[::-1],
        )
    if max((p.shape[0] for parts in base for p in parts if p.ndim), default=0) > 2:
        add(
            "the numbers stand in reverse order",
            "The first is last: a loop or a slice runs backwards.",
            lambda parts: tuple(p[::-1] if p.ndim else p for p in parts),
        )
        for step in (1, -1):
            add(
                "the numbers are shifted by one place",
                "An index is off by one, and wraps around at the end.",
                lambda parts, step=step: tuple(np.roll(p, step, 0) if p.ndim else p for p in parts),
            )
    return made


def _shuffled(actual, base, tolerance):
    """Return the answer itself where it has the right numbers in other places."""
    enough = max((p.size for parts in base for p in parts), default=0) > 3
    sort = [[tuple(np.sort(p, axis=None) for p in ps) for ps in side] for side in (actual, base)]
    shapes = [[tuple(p.shape for p in ps) for ps in side] for side in (actual, base)]
    if not enough or shapes[0] != shapes[1] or _distance(*sort) > tolerance:
        return []
    message = "None is missing and none is wrong, so an index or a reshape is."
    return [(Mistake("the right numbers stand in other places", None, message), actual)]


def _pairs(actual, expected, found, known):
    """Return mistakes that are made twice: a named one or a transposition, with a factor or an order."""
    made = []
    for first, other in [*known, *_rearranged(expected)]:
        second = _scaled(actual, other, found)
        second += _rearranged(other) if first.wrong else []
        for extra, both in second:
            name = f"{first.name}; and {extra.name}"
            made.append((Mistake(name, None, first.message, first.read), both))
    return made
