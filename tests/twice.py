"""Build the book and the package twice from nothing and compare them byte by byte: ``make twice``.

Two clones of the last commit are built one after the other, each with caches of its own. What
measures time may differ, and nothing else: `reason` says which files these are, and why.
``--sites ONE OTHER`` compares two sites that were built before.
"""

import argparse
import hashlib
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
ROOM = ROOT / "_build" / "twice"
CLOCK = re.compile(r"\b(?:median_seconds|perf_counter|process_time|monotonic)\(")
GATHERED = ("claims.html", "claims.json", "searchindex.js")  # of all pages


def timed(book=ROOT / "book"):
    """Return the names of the pages that measure time."""
    return {p.stem for p in book.glob("*.md") if CLOCK.search(p.read_text(encoding="utf-8"))}


def reason(path, pages):
    """Return why a file may differ, or None: its path in the site, and the pages that measure time."""
    name = Path(path)
    if name.stem in pages and (len(name.parts) == 1 or name.parts[0] in ("notebooks", "reports")):
        return "a page that measures time"
    if path in GATHERED and pages:
        return "it gathers what pages say, measured times among it"
    return None


def digests(folder):
    """Return {path in a folder: digest} of all its files, without what marks the end of a build."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
        and path.name not in (".built", ".buildinfo")
        and ".doctrees" not in path.parts  # what the builder keeps for itself
    }


def differing(one, other):
    """Return the paths of the files that only one of two folders has, or that differ."""
    first, second = digests(one), digests(other)
    return sorted(
        path for path in first.keys() | second.keys() if first.get(path) != second.get(path)
    )


def where(one, other):
    """Return the first line in which two files differ, as each has it, cut to what is seen."""
    if not (one.is_file() and other.is_file()):
        return "only one of them has it"
    lines = (path.read_bytes().splitlines() for path in (one, other))
    for n, (a, b) in enumerate(zip(*lines, strict=False), 1):
        if a != b:
            same = next((k for k, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), 0)
            at = max(0, same - 40)
            return f"line {n}: {a[at : at + 120]!r} and {b[at : at + 120]!r}"
    return "one goes on where the other ends"


def compared(one, other, pages, said=print):
    """Tell of all that differs in two sites; return how many files may not."""
    wrong = 0
    for path in differing(one, other):
        why = reason(path, pages)
        wrong += why is None
        said(f"{path}: {why or where(one / path, other / path)}")
    return wrong


def built(folder):
    """Clone the last commit into a folder and build the book and the package there, from nothing."""
    shutil.rmtree(folder, ignore_errors=True)
    subprocess.run(["git", "clone", "--quiet", ROOT, folder], check=True)
    if (ROOT / "node_modules").is_dir():
        (folder / "node_modules").symlink_to(ROOT / "node_modules")
    env = os.environ | {"PYTHONPATH": str(folder), "DLBOOK_CACHE_DIR": str(folder / "_build/kernels")}  # fmt: skip
    stamp = subprocess.run(["git", "log", "-1", "--format=%ct"], cwd=folder, capture_output=True, text=True)  # fmt: skip
    env["SOURCE_DATE_EPOCH"] = stamp.stdout.strip()
    for command in (
        ["sphinx", "-q", "-n", "-W", "-j", "auto", "-c", ".", "book", "_build/html"],
        ["build", "--outdir", "dist"],
    ):
        subprocess.run([sys.executable, "-m", *command], cwd=folder, env=env, check=True)
    return folder


def main(words=None):
    """Return the exit status: 1 where something differs that may not."""
    reader = argparse.ArgumentParser(prog="make twice", description=__doc__.split("\n")[0])
    reader.add_argument("--sites", nargs=2, type=Path, help="two sites that are built")
    options = reader.parse_args(words)
    pages, wrong = timed(), 0
    if options.sites:
        pairs = [options.sites]
    else:
        one, other = built(ROOM / "one"), built(ROOM / "other")
        pairs = [(one / "_build/html", other / "_build/html"), (one / "dist", other / "dist")]
    for one, other in pairs:
        count = len(digests(one))
        found = compared(one, other, pages)
        print(f"{one.name}: {count} files, {found} differ that may not")
        wrong += found
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
