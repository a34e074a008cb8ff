"""The progress of long work: one line of text, in a notebook as in a terminal, wiped at the end."""

import os
import sys

__all__ = ["bar"]


def bar(wanted, what, **options):
    """Return a bar of ``tqdm``, which may show nothing.

    Parameters
    ----------
    wanted : bool or None
        None shows it where somebody sees it: on a terminal, and in a notebook after a second.
    what : str
        The word before the bar.
    **options
        Passed on to ``tqdm``: ``iterable``, ``total``.
    """
    from tqdm import tqdm

    notebook = wanted is None and _in_notebook()
    terminal = sys.stderr is not None and sys.stderr.isatty()
    shown = notebook or terminal if wanted is None else wanted
    return tqdm(desc=what, leave=False, delay=float(notebook), disable=not shown, **options)


def _in_notebook():
    """Return whether a reader runs a notebook; the build of the book, which does too, is none."""
    shell = sys.modules.get("IPython") and sys.modules["IPython"].get_ipython()
    return hasattr(shell, "kernel") and os.environ.get("DLBOOK_VERIFY") != "collect"
