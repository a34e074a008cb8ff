"""Whether a release may be made of this tree, and the sums of what it consists of.

``python book/_ext/release.py [--draft] FOLDER`` (``make release``) writes ``SHA256SUMS`` into a
folder, and refuses where what is published could not be traced: where the tree has changes that
are not committed, or where the benchmarks lack a row or are of another state of the code than they
say. A draft only warns.
"""

import hashlib
import io
import subprocess
import sys
import tarfile
from pathlib import Path, PurePosixPath

from benchmarks import machine, report, store
from benchmarks.row import all_rows
from dlbook.tools import files

SUMS = "SHA256SUMS"


def some(names, most=5):
    """Return the first of some names, and a sign that there are more."""
    names = list(names)
    return ", ".join(names[:most]) + ", …" * (len(names) > most)


def uncommitted():
    """Yield why the tree is of no commit."""
    if not machine.git("rev-parse", "HEAD"):
        yield f"{machine.ROOT} has no history: a release is made of a commit"
    elif changed := machine.git("status", "--porcelain").splitlines():
        yield f"{len(changed)} changes are not committed: {some(line[2:].strip() for line in changed)}"


def digest(commit):
    """Return what `machine.code` was at a commit."""
    command = ["git", "archive", "--format=tar", commit, *machine.MEASURED]
    done = subprocess.run(command, cwd=machine.ROOT, capture_output=True, check=True)
    found = hashlib.sha256()
    with tarfile.open(fileobj=io.BytesIO(done.stdout)) as archive:
        members = [member for member in archive if member.name.endswith(".py")]
        for member in sorted(members, key=lambda member: PurePosixPath(member.name)):
            found.update(archive.extractfile(member).read())
    return found.hexdigest()[:10]


def outdated(results, declared):
    """Yield why results are not those of the code that they name.

    Parameters
    ----------
    results : dict
        What `benchmarks.report.newest` returns.
    declared : set of (str, int)
        Names and threads of all rows.
    """
    said, missing = results["machine"], sorted(declared - store.done(results))
    if missing:
        names = some(dict.fromkeys(name for name, _ in missing))
        yield f"the benchmarks lack {len(missing)} of {len(declared)} rows ({names}): `make bench`"
    commit = said.get("commit") or "none"
    if machine.git("cat-file", "-t", commit) != "commit":
        yield f"the benchmarks are of an unknown commit ({commit})"
    elif said["changed"] or digest(commit) != said.get("code"):
        yield f"the benchmarks are of another state of the code than that of commit {commit}"


def reasons():
    """Return why no release may be made, as sentences."""
    declared = {(row.name, n) for rows in all_rows().values() for row in rows for n in row.threads}
    found = [*uncommitted()]
    try:
        found += outdated(report.newest(), declared)
    except FileNotFoundError as error:
        found.append(str(error))
    return found


def summed(folder):
    """Write the sums of the files of a folder, as ``sha256sum --check`` reads them; return their names."""
    folder = Path(folder)
    found = {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.iterdir())
        if path.is_file() and path.name != SUMS and not path.name.startswith(".")
    }
    lines = "".join(f"{value}  {name}\n" for name, value in found.items())
    files.replace(folder / SUMS, lines.encode())
    return [*found]


if __name__ == "__main__":
    draft, found = "--draft" in sys.argv[1:], reasons()
    for reason in found:
        print(f"{'draft' if draft else 'no release'}: {reason}", file=sys.stderr)
    if found and not draft:
        sys.exit("commit and measure first, or `make release DRAFT=1`, which only warns")
    for folder in (argument for argument in sys.argv[1:] if argument != "--draft"):
        print(f"{folder}: {', '.join(summed(folder))}")
