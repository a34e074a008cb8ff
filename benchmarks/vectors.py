"""The vectors of the page *Embeddings*, stored: ``python -m benchmarks.vectors`` learns them anew."""

import platform

import numpy as np

from dlbook.nets.embeddings import train_skipgram
from dlbook.tools import data
from dlbook.tools.text import Vocabulary


def learned():
    """Return the vocabulary and the vectors of the page's first seed."""
    paragraphs = data.pydocs().split("\n\n")
    vocabulary = Vocabulary.of(paragraphs, min_count=5)
    ids, starts = vocabulary.encode(paragraphs)
    draw = np.random.default_rng(0)
    run = train_skipgram(ids, starts, len(vocabulary), rng=draw, epochs=10, rate=0.1)
    return vocabulary, run.words


def main():
    """Learn the vectors and write them."""
    vocabulary, words = learned()
    python = ".".join(platform.python_version_tuple()[:2])
    np.savez_compressed(
        data.VECTORS,
        words=np.array(vocabulary.words),
        vectors=words.astype(np.float16),
        python=np.array(python),
    )


if __name__ == "__main__":
    main()
