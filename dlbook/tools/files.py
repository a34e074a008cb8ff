"""Files that are whole: a new one stands beside the old one until it is on the disk.

A process that is killed at any moment leaves the old file or the new one, and perhaps a part of the
new one under a hidden name, which goes when the file is written again an hour later. Standard
library only, because the notebooks are written where there may be nothing else.
"""

import contextlib
import glob
import os
import stat
import time
from pathlib import Path

__all__ = ["clear", "place", "readable", "replace", "save_all", "try_out"]

STALE = 3600  # seconds after which a part left behind by a killed process is deleted


def readable(path: str | os.PathLike) -> str:
    """Return a path as text, if it can be one.

    Raises
    ------
    TypeError
        If it is neither text nor a path.
    ValueError
        If it is empty or holds a zero byte.
    """
    text = os.fsdecode(path)
    if not text or "\0" in text:
        what = "holds a zero byte" if text else "is empty"
        raise ValueError(f"{text!r} is not the path of a file: it {what}")
    return text


def place(path: str | os.PathLike) -> Path:
    """Return where a file will stand, with links followed, so that they keep pointing to it.

    Raises
    ------
    TypeError, ValueError
        As `readable`.
    OSError
        If there is no such folder, or if something that is not a file stands there.
    """
    path = Path(os.path.realpath(readable(path)))
    if not path.parent.is_dir():
        raise FileNotFoundError(f"there is no folder {path.parent}")
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder")
    if path.exists() and not path.is_file():
        raise OSError(f"{path} is not a file")
    return path


def _part(path):
    """Return a name that no other process has."""
    return path.with_name(f".{path.name}.{os.urandom(4).hex()}.part")


def try_out(path: str | os.PathLike) -> None:
    """Find out whether `replace` could write a file, without touching what is there.

    Raises
    ------
    TypeError, ValueError, OSError
        As `replace`.
    """
    part = _part(place(path))
    with open(part, "xb"):
        pass
    part.unlink()


def replace(path: str | os.PathLike, content: bytes) -> None:
    """Put a whole file in the place of another, with its permissions, or leave that one as it is.

    Raises
    ------
    TypeError, ValueError
        As `readable`.
    OSError
        If the file cannot be written; what was there before is still there.
    """
    path = place(path)
    part = _part(path)
    try:
        with open(part, "xb") as file:
            if path.exists():
                os.chmod(part, stat.S_IMODE(path.stat().st_mode))
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    except BaseException:
        with contextlib.suppress(OSError):
            part.unlink()
        raise
    if hasattr(os, "O_DIRECTORY"):  # the new name is on the disk, too
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    clear(path)


def clear(path: Path) -> None:
    """Delete what processes that were killed an hour ago have left of a file."""
    for old in path.parent.glob(f".{glob.escape(path.name)}.*.part"):
        with contextlib.suppress(OSError):
            if old.stat().st_mtime < time.time() - STALE:
                old.unlink()


def save_all(files: dict[str, bytes], folder: str | os.PathLike, overwrite: bool = False) -> dict:
    """Write {name: bytes} into a folder; return the names that were written, same and kept.

    A file that is already there and differs is kept unless `overwrite` is set.
    """
    folder, saved = Path(folder), {"written": [], "same": [], "kept": []}
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        path = folder / name
        clear(path)
        if path.is_file() and path.read_bytes() == data:
            saved["same"].append(name)
        elif os.path.lexists(path) and not overwrite:
            saved["kept"].append(name)
        else:
            replace(path, data)
            saved["written"].append(name)
    return saved
