"""Data that is already on the reader's machine; nothing is downloaded.

=================  ============================================  =====================================
function           what it holds                                 where it comes from
=================  ============================================  =====================================
`digits`           1,797 handwritten digits of 8 × 8 pixels      scikit-learn; UCI, Alpaydin 1998, CC BY 4.0
`breast_cancer`    569 tumours, 30 measurements, two classes     scikit-learn; UCI, Wolberg, Street, Mangasarian 1995, CC BY 4.0
`diabetes`         442 patients, 10 measurements, a progression  scikit-learn; Efron et al. 2004
`photographs`      two colour photographs of 427 × 640 pixels    scikit-learn; see `CREDITS`, CC BY 2.0
`pydocs`           the English help texts of Python              the standard library, PSF licence
`pydocs_groups`    its paragraphs in six groups of topics        the standard library, PSF licence
`source`           Python source, each character labelled        the standard library, PSF licence
`names`            names of functions, classes and constants     the standard library, PSF licence
`tunes`            20 melodies in a small notation               traditional, or out of copyright
`word_vectors`     the vectors of the page *Embeddings*          learned from `pydocs`
`writer`           the decoder of the page *The transformer*     learned from `pydocs`
=================  ============================================  =====================================

The splits are made here, once, with a fixed seed, so that every page reports numbers from the
same held-out examples. `digits` and `breast_cancer` are stratified: each part has the classes in
the proportions of the whole. The file of the digits is ordered by writer; its last fifth would
be a harder test than the random one used here, because its writers are not among the others.
"""

import importlib
import io
import keyword
import re
import sys
import sysconfig
import tokenize
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import DTypeLike

from dlbook.tools import shapes
from dlbook.tools.errors import DataError

__all__ = [
    "CREDITS",
    "KINDS",
    "Labelled",
    "Split",
    "Table",
    "Tune",
    "WordVectors",
    "breast_cancer",
    "diabetes",
    "digits",
    "names",
    "photographs",
    "pydocs",
    "pydocs_groups",
    "source",
    "stratified_split",
    "tunes",
    "word_vectors",
    "writer",
]

SEED = 20_260_101
CREDITS = {
    "china": "photograph china.jpg: Daniel Büchele (flickr: danielbuechele), CC BY 2.0",
    "flower": "photograph flower.jpg: flickr user vultilion, CC BY 2.0",
}
TUNES = Path(__file__).with_name("tunes.txt")
VECTORS = Path(__file__).with_name("vectors.npz")
WRITER = Path(__file__).with_name("writer.npz")
GROUPS = {
    "debugger": ("debugger",),
    "strings": ("formatstrings", "string-methods", "strings"),
    "data model": ("specialnames", "types", "customization", "attribute-access"),
    "statements": ("compound",),
    "sequences": ("typesseq", "typesmapping", "typesseq-mutable"),
    "expressions": (
        *("numeric-types", "comparisons", "calls", "operator-summary", "lambda"),
        "atom-identifiers",
    ),
}
KINDS = ("blank", "name", "keyword", "number", "string", "comment", "operator")


class Split(NamedTuple):
    """A data set in three parts, for fitting, for choosing and for the one final measurement."""

    x_train: np.ndarray  # (n, …)
    y_train: np.ndarray  # (n,)
    x_val: np.ndarray  # (m, …)
    y_val: np.ndarray  # (m,)
    x_test: np.ndarray  # (t, …)
    y_test: np.ndarray  # (t,)


class Table(NamedTuple):
    """A table of measurements and what is to be predicted from them."""

    x: np.ndarray  # (n, p)
    y: np.ndarray  # (n,)
    names: tuple[str, ...]  # p column names


class Grouped(NamedTuple):
    """Paragraphs and the group of topics that each belongs to."""

    texts: list[str]
    groups: np.ndarray  # (n,) index into `names`
    names: tuple[str, ...]


class Labelled(NamedTuple):
    """A text with a label for each character."""

    file: str  # name of the source file
    text: str  # n characters
    kinds: np.ndarray  # (n,) index into `KINDS`, uint8


class Tune(NamedTuple):
    """A melody and where it comes from."""

    name: str
    about: str  # who wrote it, or where it was first printed
    eighths: int  # length of a full bar
    notes: str  # in the notation that `dlbook.tools.music.melody` reads


def _datasets():
    """Return scikit-learn's data sets, or say what to install."""
    try:
        return importlib.import_module("sklearn.datasets")
    except ImportError as error:
        raise DataError(
            "this data set comes with scikit-learn, which is not installed: pip install scikit-learn"
        ) from error


def stratified_split(y, fractions, seed=SEED):
    """Return index arrays that split the examples, class by class, in the given fractions.

    Parameters
    ----------
    y : ndarray of int, shape (n,)
        Class of each example.
    fractions : sequence of float
        Share of each part; they add up to one.
    seed : int
        Seed of the shuffle.

    Returns
    -------
    list of ndarray of int64
        Sorted indices of each part; together every index once.

    Raises
    ------
    TypeError, ValueError
        If an argument is not what is described here, or if a part would have no example.
    """
    y = shapes.Axes().labels("y", y, "n")
    seed = shapes.count("seed", seed, least=0, most=2**63 - 1)
    if not np.iterable(fractions):
        raise TypeError(f"fractions is {shapes.shown(fractions)}, expected one for each part")
    fractions = np.array([shapes.number("a fraction", f, above=0, most=1) for f in fractions])
    if not np.isclose(fractions.sum(), 1):
        raise ValueError(f"the fractions add up to {fractions.sum():g}, expected 1")
    rng = np.random.default_rng(seed)
    parts = [[] for _ in fractions]
    for label in np.unique(y):
        mine = rng.permutation(np.flatnonzero(y == label))
        cuts = np.rint(np.cumsum(fractions)[:-1] * len(mine)).astype(int)
        for part, some in zip(parts, np.split(mine, cuts), strict=True):
            part.append(some)
    parts = [np.sort(np.concatenate(part)) for part in parts]
    for fraction, part in zip(fractions, parts, strict=True):
        if not len(part):
            raise ValueError(
                f"a fraction is {fraction:g}, which leaves a part without examples: y has {len(y)}"
            )
    return parts


def _split(x, y):
    """Split 70 : 10 : 20, stratified, with the seed of the book."""
    train, val, test = stratified_split(y, (0.7, 0.1, 0.2))
    return Split(x[train], y[train], x[val], y[val], x[test], y[test])


@cache
def _digits():
    bunch = _datasets().load_digits()
    return _split(bunch.data / 16.0, bunch.target.astype(np.int64))


def digits(dtype: DTypeLike = np.float64):
    """Return the handwritten digits: 64 pixels from 0 (paper) to 1 (ink), labels 0 … 9.

    Parameters
    ----------
    dtype : numpy dtype
        float64 or float32.

    Returns
    -------
    Split
        Of 1,257, 180 and 360 examples, give or take the rounding within classes; pixels in rows
        of 64, row by row of the 8 × 8 image.

    Raises
    ------
    TypeError
        If `dtype` is another one.
    """
    dtype = shapes.floating("dtype", dtype)
    return Split(*(part.astype(dtype) if part.ndim == 2 else part.copy() for part in _digits()))


@cache
def _breast_cancer():
    bunch = _datasets().load_breast_cancer()
    return _split(bunch.data, bunch.target.astype(np.int64)), tuple(map(str, bunch.feature_names))


def breast_cancer():
    """Return the split of the tumours and the names of the 30 measurements.

    Returns
    -------
    split : Split
        Measurements in their own units; label 0 is malignant, 1 benign.
    names : tuple of str
        Names of the columns.
    """
    split, names = _breast_cancer()
    return Split(*(part.copy() for part in split)), names


@cache
def _diabetes():
    bunch = _datasets().load_diabetes(scaled=False)
    return bunch.data, bunch.target, tuple(bunch.feature_names)


def diabetes():
    """Return the diabetes table in its own units, 442 patients and 10 measurements.

    Returns
    -------
    Table
        Columns age (years), sex (1, 2), bmi (kg/m²), bp (mmHg) and six blood serum
        measurements s1 … s6; y is the disease's progression after one year.
    """
    x, y, names = _diabetes()
    return Table(x.copy(), y.copy(), names)


def photographs():
    """Return the two photographs, {"china": …, "flower": …}, as uint8 (height, width, 3)."""
    images = _datasets().load_sample_images()
    return {
        Path(name).stem: image.copy()
        for name, image in zip(images.filenames, images.images, strict=True)
    }


def _topics():
    """Return {name: text} of the help texts."""
    try:
        return importlib.import_module("pydoc_data.topics").topics
    except ImportError as error:
        raise DataError(
            "this Python comes without pydoc_data, which the full installation has"
        ) from error


@cache
def pydocs():
    """Return the English help texts of Python as one string, each paragraph once.

    Some 40 % of the text stands in more than one topic. Without removing the repetitions a model
    would be graded on what it has already read. The text changes with Python's version.
    """
    topics = _topics()
    seen = dict.fromkeys(
        p.rstrip() for name in sorted(topics) for p in topics[name].split("\n\n") if p.strip()
    )
    return "\n\n".join(seen) + "\n"


def pydocs_groups(least=10):
    """Return the paragraphs of `pydocs` that belong to one of six groups of topics alone.

    Parameters
    ----------
    least : int
        Words that a paragraph has to have, digits and signs not counted.

    Returns
    -------
    Grouped
        The paragraphs in the order of `pydocs`.
    """
    topics, owners = _topics(), {}
    for name in sorted(topics):
        for paragraph in topics[name].split("\n\n"):
            if paragraph.strip():
                owners.setdefault(paragraph.rstrip(), set()).add(name)
    texts, found = [], []
    for paragraph, names in owners.items():
        hit = [k for k, some in enumerate(GROUPS.values()) if names & set(some)]
        if len(hit) == 1 and len(re.findall(r"[a-zA-Z_]\w*", paragraph)) >= least:
            texts.append(paragraph)
            found += hit
    return Grouped(texts, np.array(found), tuple(GROUPS))


def _kinds(text):
    """Label each character of Python source with the class of its token."""
    kinds = np.zeros(len(text), dtype=np.uint8)
    starts = np.cumsum([0, *map(len, io.StringIO(text))])  # lines as `tokenize` counts them
    classes = {
        tokenize.NUMBER: "number",
        tokenize.STRING: "string",
        tokenize.COMMENT: "comment",
        tokenize.OP: "operator",
    }
    classes |= {
        getattr(tokenize, name): "string"
        for name in ("FSTRING_START", "FSTRING_MIDDLE", "FSTRING_END")
        if hasattr(tokenize, name)
    }
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        kind = classes.get(token.type)
        if token.type == tokenize.NAME:
            kind = "keyword" if keyword.iskeyword(token.string) else "name"
        if kind:
            first, last = (starts[line - 1] + column for line, column in (token.start, token.end))
            kinds[first:last] = KINDS.index(kind)
    return kinds


def source(files=40, max_length=20_000):
    """Return modules of the standard library with each character labelled by `tokenize`.

    Parameters
    ----------
    files : int
        How many modules, in alphabetical order.
    max_length : int
        Longest module taken, in characters.

    Returns
    -------
    tuple of Labelled
        Modules of plain ASCII text, at least 1,000 characters each. They change with Python's
        version.

    Raises
    ------
    TypeError, ValueError
        If an argument is not a whole number, or `max_length` is below 1,000.
    DataError
        If the standard library has fewer such modules.
    """
    files, most = shapes.count("files", files), shapes.count("max_length", max_length, least=1000)
    return tuple(part._replace(kinds=part.kinds.copy()) for part in _source(files, most))


@cache
def _source(files, most):
    found = []
    for path in sorted(Path(sysconfig.get_path("stdlib")).glob("*.py")):
        text = path.read_bytes()
        if 1000 <= len(text) <= most and text.isascii() and not path.name.startswith("_"):
            text = text.decode("ascii").replace("\r\n", "\n")
            found.append(Labelled(path.name, text, _kinds(text)))
        if len(found) == files:
            return tuple(found)
    raise DataError(
        f"{len(found)} of {files} modules found in the standard library of Python {sys.version.split()[0]}"
    )


def names():
    """Return names that the standard library gives to functions, classes and constants.

    Returns
    -------
    dict of str to tuple of str
        ``{"function": …, "class": …, "constant": …}``, each name once and sorted. Functions begin
        with a small letter, classes with a capital, constants have no small letters. They change
        with Python's version.
    """
    return dict(_names())


@cache
def _names():
    patterns = {
        "function": r"^ *def ([a-z]\w+)",
        "class": r"^ *class ([A-Z]\w*[a-z]\w*)",
        "constant": r"^([A-Z][A-Z0-9_]+) *=",
    }
    found = {kind: set() for kind in patterns}
    for path in sorted(Path(sysconfig.get_path("stdlib")).glob("*.py")):
        text = path.read_bytes()
        if text.isascii():
            for kind, pattern in patterns.items():
                found[kind].update(re.findall(pattern, text.decode("ascii"), re.M))
    if not all(found.values()):
        raise DataError(
            f"no names found; Python {sys.version.split()[0]} seems to come without its source"
        )
    return {kind: tuple(sorted(some)) for kind, some in found.items()}


def tunes():
    """Return melodies that are out of copyright, all written in C, each with what it is.

    Returns
    -------
    tuple of Tune
        Traditional ones, and some by composers who died more than a hundred years ago.
    """
    text = TUNES.read_text(encoding="utf-8")
    return tuple(map(_tune, text[text.index("\n\n") :].strip().split("\n\n")))


def _tune(block):
    """Return a melody of the file; its first lines say what it is, the others are its bars."""
    name, about, eighths, *bars = block.split("\n")
    return Tune(name, about, int(eighths), " | ".join(bars))


class WordVectors(NamedTuple):
    """Words, and a vector for each."""

    words: tuple[str, ...]
    vectors: np.ndarray  # (v, d)
    python: str  # whose help texts they were learned from


@cache
def word_vectors() -> WordVectors:
    """Return the vectors that the first seed of the page *Embeddings* learned, in float32.

    They are stored in float16, by ``python -m benchmarks.vectors``.
    """
    with np.load(VECTORS) as stored:
        vectors = stored["vectors"].astype(np.float32)
        vectors.setflags(write=False)
        return WordVectors(tuple(stored["words"].tolist()), vectors, str(stored["python"]))


class Writer(NamedTuple):
    """A decoder that was trained on characters."""

    symbols: str  # its alphabet
    unknown: str  # what stands for all other characters
    numbers: np.ndarray  # the vector of its parameters
    python: str  # the version whose help texts were read


def writer() -> Writer:
    """Return the decoder that the page *The transformer* writes with, in float32.

    It is stored in float16, by ``make sweeps NAME=transformer-text``.
    """
    with np.load(WRITER) as stored:
        numbers = stored["flat"].astype(np.float32)
        numbers.setflags(write=False)
        return Writer(
            *(str(stored[name]) for name in ("symbols", "unknown")), numbers, str(stored["python"])
        )
