"""Results of runs that are too long for a page; `make sweeps` repeats them."""

import json
from pathlib import Path

from dlbook.tools import shapes

__all__ = ["stored"]

FILE = Path(__file__).with_name("sweeps.json")


def stored(name):
    """Return what a sweep found, and where: the dictionary that `benchmarks.sweeps` wrote.

    Parameters
    ----------
    name : str
        Label of the claim that it stands behind, such as "gated-text".

    Raises
    ------
    ValueError
        If there is no such sweep.
    """
    known = json.loads(FILE.read_text(encoding="utf-8"))
    return known[shapes.choice("name", name, tuple(known))]
