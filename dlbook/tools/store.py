"""Weights in files: never half written, never half read.

Files are in the format of safetensors, which holds names, shapes, dtypes and numbers and nothing
that could run. Beside them stand two entries of ours: that the book's package wrote the file, and a
checksum of all of it, because the format itself has none.

Saving writes a second file beside the old one and puts it in its place when it is whole and on the
disk, so that a process that is killed at any moment leaves the old file or the new one. Loading
checks everything before it changes anything: what is wrong with a file is said by a `DataError`,
and the arrays in memory are what they were.
"""

import os
import stat
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy

from dlbook.tools import files
from dlbook.tools.errors import DataError
from dlbook.tools.flat import named
from dlbook.tools.shapes import shown

__all__ = ["load", "load_params", "save", "save_params"]

DTYPES = {"F32": "float32", "F64": "float64", "I64": "int64"}  # their names in the format
OURS = {"dlbook": "1"}  # the form of what we write
KEYS = ("crc32", *OURS)  # of what we add to remarks


# Writing


def _checksum(arrays, metadata):
    """Return the CRC-32 of all names, shapes, dtypes, numbers and remarks."""
    crc = 0
    for key in sorted(metadata):
        crc = zlib.crc32(repr((key, metadata[key])).encode(), crc)
    for name in sorted(arrays):
        x = arrays[name]
        crc = zlib.crc32(repr((name, x.dtype.name, x.shape)).encode(), crc)
        crc = zlib.crc32(x.reshape(-1).view(np.uint8), crc)
    return f"{crc:08x}"


def _storable(name, x):
    """Return one array as it will be written: contiguous, in the byte order of the machine."""
    if not isinstance(name, str) or name in ("", "__metadata__"):
        raise TypeError(f"{shown(name)} cannot be the name of an array")
    masked = isinstance(x, np.ma.MaskedArray)
    if not isinstance(x, np.ndarray) or masked or x.dtype.name not in DTYPES.values():
        kind = x.dtype if isinstance(x, np.ndarray) and not masked else type(x).__name__
        raise TypeError(f"{name} is {kind}, expected an array of {', '.join(DTYPES.values())}")
    _finite(name, x)
    return np.require(x, x.dtype.newbyteorder("="), "C")


def _finite(name, x):
    """Refuse NaN and infinities."""
    if not np.isfinite(x).all():
        at = tuple(int(i) for i in np.argwhere(~np.isfinite(x))[0])
        raise DataError(
            f"{name} holds {x[at]} at index {at}; only finite numbers are kept in files"
        )


def save(
    path: str | os.PathLike,
    arrays: Mapping[str, np.ndarray],
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Write arrays to a file; the file that was there stays until the new one is whole.

    Parameters
    ----------
    path : path-like
        The file, by custom ``….safetensors``; its folder exists.
    arrays : mapping of str to ndarray
        float32, float64 or int64 of any shape.
    metadata : mapping of str to str, optional
        Remarks to keep with them, under any names but ``"dlbook"`` and ``"crc32"``.

    Raises
    ------
    TypeError, ValueError
        If names, arrays or remarks are not of these kinds, or if the path is empty or holds a zero
        byte.
    DataError
        If an array holds NaN or infinities.
    OSError
        If the file cannot be written; what was there before is still there.
    """
    metadata = dict(metadata or {})
    if not all(isinstance(part, str) for item in metadata.items() for part in item):
        raise TypeError("metadata holds something that is not a string")
    if taken := [key for key in KEYS if key in metadata]:
        raise ValueError(f"metadata has {taken[0]!r}, a name that the file's own remarks bear")
    arrays = {name: _storable(name, x) for name, x in arrays.items()}
    metadata |= OURS | {"crc32": _checksum(arrays, metadata)}
    files.replace(path, safetensors.numpy.save(arrays, metadata))


# Reading


def load(
    path: str | os.PathLike,
    expected: Mapping[str, np.ndarray],
    metadata: Mapping[str, str] | None = None,
) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Read the arrays of a file that `save` wrote, if they are those expected.

    Parameters
    ----------
    path : path-like
        The file.
    expected : mapping of str to ndarray
        For each name an array of the shape and dtype wanted; its numbers play no part.
    metadata : mapping of str to str, optional
        Remarks that the file must have.

    Returns
    -------
    arrays : dict of str to ndarray
        New arrays, under the names expected.
    metadata : dict of str to str
        The remarks.

    Raises
    ------
    DataError
        If it is not a file of safetensors, is cut short or damaged, was not written by this package, has other
        remarks, other names, shapes or dtypes, or holds NaN or infinities.
    TypeError, ValueError
        If the path is none, is empty or holds a zero byte.
    OSError
        If the file is not there or cannot be opened.
    """
    if not stat.S_ISREG(os.stat(files.readable(path)).st_mode):
        raise DataError(f"{path} is not a file")
    try:
        with safetensors.safe_open(path, framework="np") as file:
            remarks = file.metadata() or {}
            _check_remarks(path, remarks, OURS | dict(metadata or {}))
            _check_arrays(path, file, expected)
            arrays = {name: file.get_tensor(name) for name in expected}
    except safetensors.SafetensorError as error:
        raise DataError(
            f"{path} is damaged, cut short or not in safetensors form: {error}"
        ) from None
    crc = remarks.pop("crc32", None)
    remarks = {key: text for key, text in remarks.items() if key not in OURS}
    if crc != _checksum(arrays, remarks):
        raise DataError(f"{path} is damaged: its contents do not have the checksum it states")
    for name, x in arrays.items():
        _finite(f"{path}: {name}", x)
    return arrays, remarks


def _check_remarks(path, found, wanted):
    """Hold the remarks of a file against those it must have."""
    if "dlbook" not in found:
        raise DataError(f"{path} was not written by dlbook: it does not say so in its metadata")
    for key, text in wanted.items():
        if found.get(key) != text:
            there = shown(found[key]) if key in found else "missing"
            raise DataError(f"{path}: {key} is {there} in its metadata, expected {text!r}")


def _check_arrays(path, file, expected):
    """Hold names, dtypes and shapes against those expected, before any number is read."""
    names = set(file.keys())
    for what, some in (("lacks", expected.keys() - names), ("has, too,", names - expected.keys())):
        if some:
            first = ", ".join(shown(name) for name in sorted(some)[:3])
            more = f" and {len(some) - 3} more" if len(some) > 3 else ""
            raise DataError(f"{path} {what} {first}{more}")
    for name, x in expected.items():
        part = file.get_slice(name)
        dtype, shape = part.get_dtype(), tuple(part.get_shape())
        if DTYPES.get(dtype) != x.dtype.name:
            dtype = DTYPES.get(dtype, dtype)
            raise DataError(f"{path}: {name} has dtype {dtype}, expected {x.dtype.name}")
        if shape != x.shape:
            raise DataError(f"{path}: {name} has shape {shape}, expected {x.shape}")


# Parameters of a model


def _both(params, state):
    """Return the arrays of parameters and of running statistics by name."""
    more = {} if state is None else named(state, "state")
    return named(params) | {f"state.{name}": x for name, x in more.items()}


def save_params(params: Any, path: str | os.PathLike, state: Any = None) -> None:
    """Write the parameters of a model to a file.

    Parameters
    ----------
    params : NamedTuple
        Parameters with a ``flat`` vector; every chapter's are.
    path : path-like
        The file.
    state : NamedTuple, optional
        Running statistics, where the model has some.

    Raises
    ------
    TypeError, ValueError, DataError, OSError
        As `save`.
    """
    save(path, _both(params, state), {"kind": "weights"})


def load_params(params: Any, path: str | os.PathLike, state: Any = None) -> None:
    """Fill parameters with those of a file; when it is refused, they stay as they were.

    Parameters
    ----------
    params : NamedTuple
        Parameters of the same model, for example those `init` draws.
    path : path-like
        A file that `save_params` wrote.
    state : NamedTuple, optional
        Running statistics, where the model has some.

    Raises
    ------
    TypeError, ValueError, DataError, OSError
        As `load`.
    """
    mine = _both(params, state)
    arrays, _ = load(path, mine, {"kind": "weights"})
    for name, x in mine.items():
        x[...] = arrays[name]
