"""Parts of a long lane: each name is in one of n parts, and which part runs is said from outside."""

import re
from zlib import crc32


def share(text):
    """Return (part, parts) of a text like "2/3", the parts counted from 0.

    Raises
    ------
    ValueError
        If it is none.
    """
    found = re.fullmatch(r"(\d+)/(\d+)", text)
    part, parts = map(int, found.groups()) if found else (0, 0)
    if not part < parts:
        raise ValueError(f"a share is written like 0/3, 1/3 or 2/3, not {text!r}")
    return part, parts


def chosen(names, text):
    """Return those names that are in a share; all of them where no share is asked for."""
    if not text:
        return list(names)
    part, parts = share(text)
    return [name for name in names if crc32(name.encode()) % parts == part]
