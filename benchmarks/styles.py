"""Runs of style transfer that are too long for a page: more draws of filters, and a control."""

from itertools import product

from numpy.random import default_rng as generator

from dlbook.nets.style import Transfer, random_filters, reduced, style_distances
from dlbook.tools import data

__all__ = ["gan_style"]

SEEDS, SIZES, JUDGES = range(5), (5, 1), (5, 11, 1)  # one pixel: colours alone


def styled(seed, size):
    """Return losses before and after, and distances by filters that had no part in it."""
    photos = data.photographs()
    china, flower = (reduced(photos[name]) for name in ("china", "flower"))
    made = Transfer(china, flower, random_filters(generator(seed), size=size)).run()
    fresh = [random_filters(generator(1000 + seed), size=other) for other in JUDGES]
    far = [
        [style_distances(picture, flower, filters).round(4).tolist() for filters in fresh]
        for picture in (china, made.picture)
    ]
    return {
        "style": [float(made.style[0]), float(made.style[-1])],
        "content": float(made.content[-1]),
        "before": far[0],
        "after": far[1],
    }


def gan_style(spread):
    """Each draw of filters, and filters of one pixel, judged by fresh filters of three sizes."""
    jobs = [*product(SIZES, SEEDS)]
    runs = [*spread(styled, *zip(*((seed, size) for size, seed in jobs), strict=True))]
    at = dict(zip(jobs, runs, strict=True))
    kinds = {"pictures": SIZES[0], "colours": SIZES[1]}
    return {
        "seeds": [*SEEDS],
        "judges": [*JUDGES],
        **{kind: [at[size, seed] for seed in SEEDS] for kind, size in kinds.items()},
    }
