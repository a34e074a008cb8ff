"""Hand the processes that read pages one page at a time, the longest first.

Sphinx hands each process a stretch of the alphabet, which leaves one of them idle while the other
still runs the chapters of its own. What is written, and what is short, stays in stretches.
"""

from pathlib import Path

from sphinx import builders
from sphinx.util.parallel import make_chunks

LONG = 20_000  # bytes of a page that is handed out alone


def chunks(sizes, processes):
    """Return lists of names: each long one alone, the longest first; the others in stretches.

    Parameters
    ----------
    sizes : dict
        Bytes of each page, by name.
    processes : int
        How many read.
    """
    alone = sorted((n for n in sizes if sizes[n] >= LONG), key=lambda n: (-sizes[n], n))
    return [*([n] for n in alone), *make_chunks([n for n in sizes if sizes[n] < LONG], processes)]


def before_read(app, env, names):
    """Cut the list of pages to be read so, once."""

    def once(names, processes):
        builders.make_chunks = make_chunks
        sizes = {name: Path(env.doc2path(name)).stat().st_size for name in names}
        return chunks(sizes, processes)

    builders.make_chunks = once


def read(app, env):
    """Leave Sphinx as it was where no pages were read side by side."""
    builders.make_chunks = make_chunks


def setup(app):
    """Connect the hooks."""
    app.connect("env-before-read-docs", before_read)
    app.connect("env-updated", read)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
