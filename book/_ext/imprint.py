"""Say at the foot of each page of which commit it was made, and with which versions."""

import platform
import subprocess
from datetime import datetime
from importlib.metadata import version
from pathlib import Path

SHOWN = {"numpy": "NumPy", "numba": "Numba", "matplotlib": "Matplotlib"}


def git(root, *arguments):
    """Return what git says in a folder, or "" where there is none."""
    try:
        run = subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True)
    except OSError:
        return ""
    return run.stdout.strip()


def commit(root):
    """Return the commit of a tree, its day, and whether all is committed; "" for a tree without history."""
    top = git(root, "rev-parse", "--show-toplevel")
    short, _, day = git(root, "log", "-1", "--format=%h %cs").partition(" ")
    if (
        not short or Path(top).resolve() != Path(root).resolve()
    ):  # the history may be that of a folder around it
        return ""
    day = datetime.fromisoformat(day)
    changed = ", with changes that are not committed" if git(root, "status", "--porcelain") else ""
    return f"commit {short} of {day.day} {day:%B %Y}{changed}"


def made(root):
    """Return what the pages are made from and with, as a sentence."""
    *others, last = (f"{name} {version(package)}" for package, name in SHOWN.items())
    stack = ", ".join([f"Python {platform.python_version()}", *others]) + f" and {last}"
    of = commit(root)
    return f"Made from {of}, with {stack}." if of else f"Made with {stack}."


def begun(app):
    """Ask once, for all processes that write pages."""
    app.dlbook_made = made(app.confdir)


def added(app, pagename, templatename, context, doctree):
    """Hand the sentence to the frame of a page."""
    context["made"] = app.dlbook_made


def setup(app):
    """Connect the hooks."""
    app.connect("builder-inited", begun)
    app.connect("html-page-context", added)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
