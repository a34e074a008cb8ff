"""Arrays from IDX files, the format of MNIST, with everything checked that a file says of itself.

A file begins with two bytes 00, one for the type of its numbers and one for the number of its
dimensions. The size of each dimension follows in four bytes, then come the numbers, the last index
fastest; sizes and numbers have their most significant byte first.

====  =======      ====  =======      ====  =======
type  numbers      type  numbers      type  numbers
====  =======      ====  =======      ====  =======
0x08  uint8        0x0B  int16        0x0D  float32
0x09  int8         0x0C  int32        0x0E  float64
====  =======      ====  =======      ====  =======

Files may be compressed by gzip; that is seen from their first bytes and not from their names. What
a header announces is held against a limit, and against what a file of this size can hold, before
memory is taken for it; nothing is expanded beyond it.

Sources: Y. LeCun, C. Cortes, C. Burges, *The MNIST database of handwritten digits*, 1998, for the
format; J.-l. Gailly, M. Adler, *zlib technical details*, for what a byte of gzip can hold.
"""

import gzip
import math
import os
import stat
import struct
import zlib
from typing import Any, NamedTuple

import numpy as np

from dlbook.tools import shapes
from dlbook.tools.errors import DataError

__all__ = ["MAX_BYTES", "Examples", "read_idx", "read_labelled"]

MAX_BYTES = 2**30  # bytes that are read from one file, where the caller names no other limit
TYPES = {
    0x08: "uint8",
    0x09: "int8",
    0x0B: "int16",
    0x0C: "int32",
    0x0D: "float32",
    0x0E: "float64",
}
DIMENSIONS = 64  # those that an array of NumPy can have
GZIP = b"\x1f\x8b"  # how a compressed file begins
EXPANSION = 1032  # bytes that one byte of gzip can hold
PIECE = 2**18  # bytes that are expanded at a time


class Examples(NamedTuple):
    """Images in rows and their classes: what `fit` calls ``data``."""

    x: np.ndarray  # (n, height·width), 0 … 1
    y: np.ndarray  # (n,), int64


def _path(name, path):
    """Return the path of a file, or say that it is a folder, a pipe or a device."""
    if not isinstance(path, (str, os.PathLike)):
        raise TypeError(f"{name} is {shapes.shown(path)}, expected the path of a file")
    path = os.fsdecode(path)
    try:
        mode = os.stat(path).st_mode
    except ValueError:  # a null character, for example
        raise DataError(f"{name} is {path!r}, expected the path of a file") from None
    if not stat.S_ISREG(mode):
        kind = "a folder" if stat.S_ISDIR(mode) else "a pipe or a device"
        raise DataError(f"{path} is {kind}, expected a file")
    return path


def _header(path, file):
    """Return dtype and shape as the first bytes of a file announce them."""
    first = file.read(4)
    if not first:
        raise DataError(f"{path} is empty, expected an IDX file")
    if any(first[:2]):
        begins = first[:2].hex(" ")
        raise DataError(f"{path} begins with the bytes {begins}, expected 00 00, as of IDX files")
    if len(first) < 4:
        raise DataError(f"{path} ends after {len(first)} bytes, expected a header of 8 at least")
    code, dimensions = first[2:]
    if code not in TYPES:
        known = ", ".join(f"0x{known:02X} ({name})" for known, name in TYPES.items())
        raise DataError(f"{path} has the type 0x{code:02X}, expected one of {known}")
    if not 1 <= dimensions <= DIMENSIONS:
        raise DataError(f"{path} has {dimensions} dimensions, expected 1 to {DIMENSIONS}")
    sizes = file.read(4 * dimensions)
    if len(sizes) < 4 * dimensions:
        raise DataError(
            f"{path} ends after {4 + len(sizes)} bytes, "
            f"expected a header of {4 + 4 * dimensions} for {dimensions} dimensions"
        )
    return np.dtype(TYPES[code]).newbyteorder(">"), struct.unpack(f">{dimensions}I", sizes)


def _numbers(path, file, size, packed, most):
    """Return the array in a file of `size` bytes, which is read as it is or through gzip."""
    dtype, shape = _header(path, file)
    length = math.prod(shape) * dtype.itemsize
    announced = f"{length:,} bytes: {dtype.name} of shape {shapes.shown(shape)}"
    if not length:
        raise DataError(f"{path} announces {announced}, expected one number at least")
    if length > most:
        raise DataError(f"{path} announces {announced}, expected at most {most:,} (max_bytes)")
    room = size * EXPANSION if packed else size - file.tell()
    if room < length or (room > length and not packed):
        there = f"{size:,} bytes of gzip" if packed else f"{room:,} bytes after its header"
        raise DataError(f"{path} has {there}, expected {announced}")
    x = np.empty(shape, dtype)
    content, done = memoryview(x.reshape(-1).view(np.uint8)), 0
    while done < length and (got := file.readinto(content[done : done + PIECE])):
        done += got
    if done < length or file.read(1):
        there = f"{done:,}" if done < length else f"more than {length:,}"
        raise DataError(f"{path} has {there} bytes after its header, expected {announced}")
    if not dtype.isnative:
        x = x.byteswap(inplace=True).view(dtype.newbyteorder("="))
    return x


def _read(name, path, most):
    """Return the array in the file that the argument `name` names."""
    most, path = shapes.count("max_bytes", most, most=2**63 - 1), _path(name, path)
    with open(path, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        if file.peek(2)[:2] != GZIP:
            return _numbers(path, file, size, False, most)
        try:
            with gzip.GzipFile(fileobj=file) as inside:
                return _numbers(path, inside, size, True, most)
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise DataError(f"{path} is cut short or damaged, expected gzip: {error}") from None


def read_idx(path: str | os.PathLike, *, max_bytes: int = MAX_BYTES) -> np.ndarray:
    """Read the array of an IDX file, compressed by gzip or not.

    Parameters
    ----------
    path : path-like
        The file.
    max_bytes : int
        Bytes of numbers that are read at most. Besides them, a million bytes are used.

    Returns
    -------
    ndarray
        uint8, int8, int16, int32, float32 or float64, as the file says, in the byte order of the
        machine, contiguous and writable. NaN and infinities are passed on.

    Raises
    ------
    TypeError, ValueError
        If an argument is not what is described here.
    DataError
        If `path` is not a file; if the file is empty, is not in IDX form, has an unknown type, no
        or too many dimensions, no numbers, or more than `max_bytes` allows; if it is shorter or longer
        than its header announces; if its compression is damaged, cut short or followed by
        something else.
    OSError
        If the file is not there or cannot be read.
    """
    return _read("path", path, max_bytes)


def read_labelled(
    images: str | os.PathLike,
    labels: str | os.PathLike,
    classes: int = 10,
    dtype: Any = np.float32,
    *,
    max_bytes: int = MAX_BYTES,
) -> Examples:
    """Read a pair of IDX files, images and their labels, scaled as `dlbook.tools.data.digits` is.

    Parameters
    ----------
    images : path-like
        A file of uint8, shape (n, height, width): MNIST and what has its form.
    labels : path-like
        A file of n whole numbers from 0 to classes − 1.
    classes : int
        Number of classes.
    dtype : numpy dtype
        float32, which the networks of the book take unless told otherwise, or float64.
    max_bytes : int
        As in `read_idx`, for each file; as floats the pixels take 4 or 8 times as many bytes.

    Returns
    -------
    Examples
        Pixels from 0 to 1, each image a row, and labels, as `dlbook.nets.fit` takes them.

    Raises
    ------
    TypeError, ValueError
        If an argument is not what is described here.
    DataError
        As `read_idx`; if a file holds other than images or labels, if they are not as many, or if
        a label is out of range.
    OSError
        If a file is not there or cannot be read.
    """
    classes, dtype = shapes.count("classes", classes), shapes.floating("dtype", dtype)
    y = _read("labels", labels, max_bytes)
    if y.ndim != 1 or y.dtype.kind not in "iu":
        raise DataError(
            f"{labels} holds {y.dtype} of shape {y.shape}, expected labels: integers of shape (n,)"
        )
    wrong = (y < 0) | (y >= classes)
    if wrong.any():
        at = int(wrong.argmax())
        raise DataError(
            f"{labels} holds the label {y[at]} at index {at}, expected 0 … {classes - 1}"
        )
    pixels = _read("images", images, max_bytes)
    if pixels.ndim != 3 or pixels.dtype != np.uint8:
        raise DataError(
            f"{images} holds {pixels.dtype} of shape {pixels.shape}, "
            "expected images: uint8 of shape (n, height, width)"
        )
    if len(pixels) != len(y):
        raise DataError(
            f"{images} holds {len(pixels):,} images and {labels} {len(y):,} labels, "
            "expected as many of both"
        )
    x = np.divide(pixels.reshape(len(y), -1), 255, dtype=dtype)
    return Examples(x, y.astype(np.int64))
