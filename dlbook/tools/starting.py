"""What ``dlbook new`` writes: a small project that is complete, for a reader to replace piece by piece.

Its files lie beside this module, in `project`. Standard library only.
"""

import json
import re
from pathlib import Path

__all__ = ["project"]

FILES = Path(__file__).with_name("project")
CELL = re.compile(r"^\+\+\+ (code|text)\n", re.M)


def project(name: str) -> dict[str, bytes]:
    """Return {file name: content} of a new project that is called `name`."""
    found = {}
    for path in sorted(FILES.glob("*.txt")):
        text = path.read_text(encoding="utf-8").replace("NAME", name)
        if path.stem == "project.md":
            found["project.ipynb"] = _notebook(text).encode()
        else:
            found[path.stem] = text.encode()
    return found


def _notebook(text):
    """Return cells of text and code, each begun by a line of its own, as a Jupyter notebook."""
    kinds_and_sources = ["text", *CELL.split(text)]
    cells = []
    for i in range(0, len(kinds_and_sources), 2):
        kind, source = kinds_and_sources[i : i + 2]
        cell = {"cell_type": "code" if kind == "code" else "markdown", "id": f"cell-{i // 2}"}
        cell |= {"metadata": {}, "source": source.strip("\n").splitlines(keepends=True)}
        if kind == "code":
            cell |= {"execution_count": None, "outputs": []}
        cells.append(cell)
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    whole = {"cells": cells, "metadata": {"kernelspec": kernel}, "nbformat": 4}
    return json.dumps(whole | {"nbformat_minor": 5}, indent=1, ensure_ascii=False) + "\n"
