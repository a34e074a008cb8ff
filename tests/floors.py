"""The oldest versions that `pyproject.toml` allows, one to a line, as constraints for pip.

``python tests/floors.py`` prints them for `make test-oldest`, which shows that the book works with
them. So a floor is a version that exists: 2025.12.19, where there is no 2025.12.
"""

import re
import tomllib
from itertools import chain
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent / "pyproject.toml"


def requirements(project=PROJECT):
    """Return the requirements of the package and of all its extras, in the order of the file."""
    said = tomllib.loads(Path(project).read_text(encoding="utf-8"))["project"]
    return [*said["dependencies"], *chain(*said["optional-dependencies"].values())]


def floors(requirements):
    """Return the lines ``name==floor``, or raise ValueError for a requirement that has none."""
    found = [re.match(r"([\w.-]+)>=([\d.]+)(?:,<[\d.]+)?$", one) for one in requirements]
    if None in found:
        raise ValueError(f"{requirements[found.index(None)]} names no oldest version")
    return [f"{match[1]}=={match[2]}" for match in found]


if __name__ == "__main__":
    print("\n".join(floors(requirements())))
