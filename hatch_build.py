"""Put the notebooks that the build of the book left into the wheel, if they are of these pages."""

import sys
from pathlib import Path

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class Notebooks(BuildHookInterface):
    """A tree whose book is not built, or not since a page changed, gives a wheel without them.

    `dlbook notebooks` then says so.
    """

    def initialize(self, version, build_data):
        """Take the folder; a source distribution has it where the tree has it."""
        root = Path(self.root)
        sys.path.insert(0, str(root))
        from dlbook.tools import built

        folder = root / "_build" / "html" / "notebooks"
        if version != "editable" and built.is_current(folder, root / "book"):
            inside = {"wheel": "dlbook/_notebooks", "sdist": folder.relative_to(root).as_posix()}
            build_data["force_include"][str(folder)] = inside[self.target_name]
