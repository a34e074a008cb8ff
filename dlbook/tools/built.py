"""What the build of the book leaves for readers: its notebooks, and what its labels are called.

The build writes them into one folder, a wheel brings that folder along. Standard library only.
"""

import hashlib
import json
import re
from functools import cache
from pathlib import Path

__all__ = ["INSTALL", "ROLE", "NotBuiltError", "called", "digest", "folder", "is_current", "names", "notebooks", "plain"]  # fmt: skip

PACKAGE = Path(__file__).resolve().parents[1]
NAMES = "names.json"
ROLE = re.compile(r"\{(eq|doc|numref|ref)\}`([^`]+)`")
# There is no release yet; README and preface say the same
INSTALL = (
    "`python -m pip install .` in the folder of its source, "
    "or `python -m pip install FILE` for a wheel that was built from it"
)


class NotBuiltError(FileNotFoundError):
    """The book was not built where the package comes from."""


def folder():
    """Return the folder of the notebooks: in the installed package, or of the tree's site.

    Raises
    ------
    NotBuiltError
        If there is none. The message says how to get it.
    """
    tree = PACKAGE.parent
    for place in (PACKAGE / "_notebooks", tree / "_build" / "html" / "notebooks"):
        if (place / NAMES).is_file():
            return place
    if (tree / "conf.py").is_file():
        raise NotBuiltError("the book is not built; `make book` writes its notebooks")
    raise NotBuiltError(
        "this dlbook was installed from a tree whose book was not built, or not since its pages "
        "changed; run `make book` there and install it again to have the notebooks"
    )


def notebooks():
    """Return {file name: content} of all chapters that are notebooks."""
    return {path.name: path.read_bytes() for path in sorted(folder().glob("*.ipynb"))}


def is_current(folder, pages):
    """Return whether the notebooks in a folder were made of the pages in another, as they are."""
    try:
        made = json.loads((Path(folder) / NAMES).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return made["pages"] == digest(pages)


def digest(pages):
    """Return a digest of the pages in a folder, by which a build is known to be theirs."""
    found = hashlib.sha256()
    for path in sorted(Path(pages).glob("*.md")):
        found.update(b"%s\0%s\0" % (path.name.encode(), path.read_bytes()))
    return found.hexdigest()


@cache
def names():
    """Return {label: "(6.4)", "Fig. 6.1" or "Exercise 6.3"} and {page: title}, in one dictionary.

    It is empty where the book was not built. A notebook adds what it needs.
    """
    try:
        return json.loads((folder() / NAMES).read_text(encoding="utf-8"))["names"]
    except (OSError, ValueError):
        return {}


def called(label, otherwise=None):
    """Return what a label is called in the book: "(6.4)"."""
    return names().get(label, otherwise)


def plain(text):
    """Return text with its references in words."""

    def reference(m):
        word = "equation " if m[1] == "eq" and m[2] in names() else ""
        return word + called(m[2], m[2])

    return ROLE.sub(reference, text)
