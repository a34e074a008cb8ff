"""The site and its notebooks as archives, the same bytes for the same files.

``python book/_ext/archives.py SITE SITE.zip NOTEBOOKS.zip`` (``make archives``).
"""

import io
import sys
import zipfile
from pathlib import Path

from volume import BOOK, current

from dlbook.tools import files

SINCE = (1980, 1, 1, 0, 0, 0)  # the date of every file: the first that an archive can tell


def packed(content, stored=()):
    """Return an archive of {name: bytes}; those in `stored` are not compressed."""
    with zipfile.ZipFile(out := io.BytesIO(), "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in content.items():
            entry = zipfile.ZipInfo(name, SINCE)
            entry.create_system, entry.external_attr = 3, 0o644 << 16
            kind = zipfile.ZIP_STORED if name in stored else zipfile.ZIP_DEFLATED
            archive.writestr(entry, data, kind, 9)
    return out.getvalue()


def below(folder, pattern, name):
    """Return {name: bytes} of the files below a folder; what is hidden is of the build alone."""
    found = {}
    for path in sorted(Path(folder).glob(pattern)):
        inside = path.relative_to(folder)
        if path.is_file() and not any(part.startswith(".") for part in inside.parts):
            found[f"{name}/{inside.as_posix()}"] = path.read_bytes()
    return found


def archives(site, whole, notebooks, book=BOOK):
    """Write both archives of a built site; return how many files each has.

    Parameters
    ----------
    site : path
        A built site.
    whole, notebooks : path
        The archives to write, of all of the site and of its notebooks alone.
    book : path
        The folder of the pages that the site has to be built from.

    Raises
    ------
    FileNotFoundError, ValueError
        As `volume.current`.
    """
    current(site, book)
    made = {
        whole: below(site, "**/*", "dlbook-site"),
        notebooks: below(Path(site) / "notebooks", "*.ipynb", "dlbook-notebooks"),
    }
    for file, content in made.items():
        files.replace(file, packed(content))
    return [len(content) for content in made.values()]


if __name__ == "__main__":
    try:
        counts = archives(*sys.argv[1:])
    except (OSError, ValueError) as error:
        sys.exit(f"archives: {error}")
    for file, count in zip(sys.argv[2:], counts, strict=True):
        print(f"{file}: {count} files, {Path(file).stat().st_size / 1e6:.1f} MB")
