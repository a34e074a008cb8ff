"""What a reader has done so far: a small JSON file in the user's data directory.

It is written whole or not at all, and by one process at a time. A file that cannot be read is set aside under another name and
reported. Where nothing can be written, progress lasts as long as the process.

``DLBOOK_DATA_DIR`` names another directory; empty, it keeps progress in memory.
"""

import contextlib
import errno
import json
import os
import sys
import time
from pathlib import Path

from dlbook.tools.files import replace as save

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None
    import msvcrt

__all__ = ["Store", "data_directory"]

NAME, VERSION, LARGEST = "progress.json", 1, 10**7
MOST = 10**9  # tries, or hints
PATIENCE = 30  # seconds to wait for another process, which on a busy machine has its turn late


def data_directory():
    """Return the folder for what the package keeps of a user, or None for memory alone."""
    chosen = os.environ.get("DLBOOK_DATA_DIR")
    if chosen is not None:
        return Path(chosen) if chosen else None
    try:
        home = Path.home()
    except RuntimeError:
        return None
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or home / "AppData" / "Local") / "dlbook"
    if sys.platform == "darwin":
        return home / "Library" / "Application Support" / "dlbook"
    return Path(os.environ.get("XDG_DATA_HOME") or home / ".local" / "share") / "dlbook"


class Store:
    """Progress by label: {"status": …, "tries": …, "hints": …}, with notes on what went wrong."""

    def __init__(self, folder):
        self.path = folder and folder / NAME
        self.entries, self.notes = {}, []
        if self.path is None:
            self.notes.append("Progress is kept until Python ends.")

    def read(self):
        """Return all entries, as they are on disk if they are."""
        if self.path is not None:
            try:
                if self.path.stat().st_size > LARGEST:
                    raise ValueError("too large")
                self.entries = _entries(json.loads(self.path.read_bytes()))
            except FileNotFoundError:
                self.entries = {}
            except OSError as error:
                self._forget(f"cannot be read ({error.strerror})")
            except (ValueError, RecursionError):
                self._set_aside()
        return self.entries

    def change(self, label, **fields):
        """Update one entry; None removes it. What others wrote meanwhile is kept."""
        with self._alone():
            entries = self.read()
            entries[label] = entries.get(label, {}) | fields
            self._write()

    def remove(self, labels):
        """Remove entries and return how many there were."""
        with self._alone():
            entries = self.read()
            gone = [entries.pop(label) for label in labels if label in entries]
            if gone:
                self._write()
            return len(gone)

    @contextlib.contextmanager
    def _alone(self):
        """Keep other processes out while the file is read and written again."""
        with contextlib.ExitStack() as stack:
            if self.path is not None:
                with contextlib.suppress(OSError):  # then `_write` says why
                    folder = self._place().parent
                    folder.mkdir(parents=True, exist_ok=True)
                    lock = stack.enter_context(_lock_in(folder))
                    end = time.monotonic() + PATIENCE
                    while not _taken(lock) and time.monotonic() < end:
                        time.sleep(0.002)
            yield

    def _place(self):
        """Return where the file lies, so that a link to it stays one."""
        return Path(os.path.realpath(self.path))

    def _write(self):
        if self.path is None:
            return
        try:
            self._place().parent.mkdir(parents=True, exist_ok=True)
            save(self._place(), _content(self.entries))
        except OSError as error:
            self._forget(f"cannot be written ({error.strerror})")

    def _forget(self, why):
        """Go on in memory."""
        self.notes.append(f"{self.path} {why}: progress is kept until Python ends.")
        self.path = None

    def _set_aside(self):
        """Keep a damaged file under another name and begin a new one."""
        number, place = 1, self._place()
        while (aside := place.with_name(f"progress-damaged-{number}.json")).exists():
            number += 1
        self.entries = {}
        try:
            os.replace(place, aside)
            self.notes.append(f"{self.path} was damaged; it is now {aside.name}, beside a new one.")
        except OSError as error:
            self._forget(f"is damaged and cannot be moved ({error.strerror})")


@contextlib.contextmanager
def _lock_in(folder):
    """Open what stands for a folder when it is locked: itself, on Windows a file."""
    if fcntl:
        lock = os.open(folder, os.O_RDONLY)
    else:
        lock = os.open(folder / "progress.lock", os.O_RDWR | os.O_CREAT)
    try:
        yield lock
    finally:
        os.close(lock)  # which ends the lock, as the end of the process would


def _taken(lock):
    """Take a lock; return False if another process has it, and True where there are no locks."""
    try:
        if fcntl:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        else:
            msvcrt.locking(lock, msvcrt.LK_NBLCK, 1)
    except OSError as error:
        return error.errno not in (errno.EACCES, errno.EAGAIN, errno.EDEADLK)
    return True


def _content(entries):
    """Return the bytes of a file that holds entries, in one line: an indented text takes time that
    grows with the square of the depth.
    """
    text = json.dumps({"version": VERSION, "exercises": entries}, sort_keys=True)
    return f"{text}\n".encode()


def _entries(data):
    """Return the entries of a file, or raise ValueError or RecursionError."""
    if not isinstance(data, dict) or data.get("version") != VERSION:
        raise ValueError("another format")
    entries = data.get("exercises")
    if not isinstance(entries, dict):
        raise ValueError("no exercises")
    for entry in entries.values():
        counts = (
            [entry.get(key, 0) for key in ("tries", "hints")] if isinstance(entry, dict) else [""]
        )
        if not all(type(n) is int and 0 <= n <= MOST for n in counts) or not isinstance(
            entry.get("status", ""), str
        ):
            raise ValueError("not an entry")
    if len(_content(entries)) > LARGEST:  # or it is too deep to be written again
        raise ValueError("too large")
    return entries
