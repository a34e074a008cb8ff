"""How a result looks: plain lines in a terminal, a quiet box in a notebook, a record for the site.

The lines of a result may hold ``{eq}`label```, ``{doc}`page```, ``{ref}`exercise``` and `code`, as the pages
do. A reader sees the numbers and titles of the book in their place; the site makes links of them.
"""

import re
import sys
from html import escape

from dlbook.exercises.forms import CORRECT, UNATTEMPTED
from dlbook.tools.built import plain

__all__ = ["MIME", "Shown", "listeners", "show"]

MIME = "application/vnd.dlbook.exercise+json"
MARKS = {CORRECT: "✓", UNATTEMPTED: "○", "": "·"}
COLOURS = {"✓": "#009e73", "✗": "#d55e00"}  # 3:1 on white and on dark paper; never alone
listeners = []  # functions that get every result


class Shown:
    """Lines under a mark, as a terminal, a notebook and the site show them."""

    def __init__(self, lines, status="", label=""):
        self.lines, self.status, self.label = tuple(lines), status, label
        self.mark = MARKS.get(status, "✗")

    def __str__(self):
        first, *rest = map(plain, self.lines)
        return "\n".join([f"{self.mark} {first}", *(f"  {line}" for line in rest)])

    def _repr_mimebundle_(self, include=None, exclude=None):
        first, *rest = (self._html(line) for line in self.lines)
        colour = COLOURS.get(self.mark, "#0072b2")
        rows = [f"<strong>{self.mark} {first}</strong>", *rest]
        html = "".join(f'<p style="margin:0.15em 0">{row}</p>' for row in rows)
        box = f'<div role="status" style="border-left:4px solid {colour};padding:0.1em 0.9em">'
        return {
            MIME: {"label": self.label, "status": self.status, "lines": [self.mark, *self.lines]},
            "text/html": f"{box}{html}</div>",
            "text/plain": str(self),
        }

    @staticmethod
    def _html(line):
        return re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(plain(line), quote=False))


def show(shown):
    """Display in a notebook, print elsewhere."""
    shell = sys.modules.get("IPython")
    if shell and shell.get_ipython():
        from IPython.display import display

        display(shown)
    else:
        text, coding = str(shown), getattr(sys.stdout, "encoding", None) or "utf-8"
        print(text.encode(coding, "replace").decode(coding))  # ✓ is not in every encoding
