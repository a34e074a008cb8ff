"""The framework code that a page shows under *The same in PyTorch*."""

import re
from pathlib import Path

BOOK = Path(__file__).resolve().parents[2] / "book"


def shown(stem):
    """Return the code of the first Python block after that heading."""
    text = (BOOK / f"{stem}.md").read_text(encoding="utf-8")
    _, _, after = text.partition("## The same in PyTorch")
    found = re.search(r"^```python\n(.*?)^```", after, re.M | re.S)
    if not found:
        raise AssertionError(f"book/{stem}.md shows no Python block under “The same in PyTorch”")
    return found[1]
