"""Say what holds the names of the package, as the tests themselves say it when the page is read."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

from docutils import nodes
from docutils.statemachine import StringList
from sphinx.util.docutils import SphinxDirective
from sphinx.util.nodes import nested_parse_with_titles

SUITES = ("contract", "page", "literal", "NaN", "threads", "memory", "arrays", "gradient", "own")
KINDS = {
    "kernel": "kernels",
    "function": "functions",
    "layer": "layers",
    "cost": "costs",
    "model": "models",
    "class": "other classes",
}
ABSENT = (
    "The tests are not installed where this page was made; `make census` prints what stands here."
)


def told(root, *words):
    """Return what a program of the tests prints.

    Raises
    ------
    RuntimeError
        If it fails, with its last words.
    """
    paths = [root, root / "tests", root / "tests" / "nets"]
    env = os.environ | {"PYTHONPATH": os.pathsep.join(map(str, paths))}
    run = subprocess.run(
        [sys.executable, *words], cwd=root, env=env, capture_output=True, text=True
    )
    if run.returncode:
        raise RuntimeError(f"{' '.join(words)}: {run.stderr.strip().splitlines()[-1]}")
    return run.stdout


def table(head, rows):
    """Return the lines of a table in Markdown."""
    cells = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return ["", *(f"| {' | '.join(map(str, row))} |" for row in cells), ""]


def kinds(names):
    """Return how many names of each kind each suite holds."""
    rows = []
    for kind, many in KINDS.items():
        mine = [one for one in names if one["kind"] == kind]
        counts = [sum(suite in one["held"] for one in mine) or "" for suite in SUITES]
        alone = sum(bool(one["excuse"]) for one in mine) or ""
        rows.append([many, len(mine), *counts, alone])
    return table(["kind", "names", *SUITES, "own alone"], rows)


def shapes(names, tried):
    """Return how many shapes were tried in one run of the tests, and in all rounds."""
    held = [one for one in names if one["shapes"]]
    lines = [
        f"Every run of the tests tries {sum(one['shapes'] for one in held):,} shapes of "
        f"{len(held)} kernels, the same ones each time."
    ]
    if tried["rounds"]:
        many, counts = tried["rounds"], tried["shapes"]
        least = min(counts, key=counts.get)
        lines[0] += (
            f" {many} round{'s' * (many > 1)} of others {'have' if many > 1 else 'has'} been tried so far, "
            f"the newest on {tried['date']} at commit {tried['commit']}: {sum(counts.values()):,} shapes, "
            f"at least {counts[least]:,} of each kernel and dtype, none of which told the two forms apart."
        )
    return lines


def by_name(names):
    """Return a folded table for each module: its names, and what holds them."""
    lines = []
    for module in dict.fromkeys(one["module"] for one in names):
        mine = [one for one in names if one["module"] == module and one["kind"] != "data"]
        if not mine:
            continue
        lines += [f"::::{{fold}} {module or 'dlbook'} ({len(mine)})", "", "| name | held by |", "| --- | --- |"]  # fmt: skip
        for one in mine:
            held = [how(suite, one) for suite in SUITES if suite in one["held"]]
            words = f"{', '.join(held)}. No generic suite: {one['excuse']}" if one["excuse"] else ", ".join(held)  # fmt: skip
            lines.append(f"| `{one['name']}` | {words.lstrip('. ')} |")
        lines += ["", "::::", ""]
    return lines


def how(suite, one):
    """Return a suite that holds a name, with what is particular to it."""
    words = one["held"][suite]
    if suite == "literal" and one["shapes"]:
        return f"literal ({one['shapes']} shapes)"
    return suite if words == "✓" else f"{suite} ({words})"


class Tested(SphinxDirective):
    """{tested} kinds, shapes, alterations or names: what the tests say of it."""

    required_arguments = 1

    def run(self):
        what, root = self.arguments[0], Path(self.env.app.confdir)
        for path in [*root.glob("tests/**/*.py"), *root.glob("tests/*.json"), *root.glob("dlbook/**/*.py")]:  # fmt: skip
            self.env.note_dependency(str(path))
        lines = [ABSENT]
        if importlib.util.find_spec("pytest"):
            try:
                lines = self.lines(what, root)
            except (KeyError, RuntimeError) as error:
                raise self.error(f"{{tested}} {what}: {error}") from error
        box = nodes.container()
        self.set_source_info(box)
        nested_parse_with_titles(self.state, StringList(lines, self.env.docname), box)
        return box.children

    def lines(self, what, root):
        """Return what is shown, in Markdown."""
        if what == "alterations":
            return ["", *told(root, "tests/mutation.py", "--show").splitlines(), ""]
        kept = self.env.temp_data  # of this page: the tests are asked once
        if "census" not in kept:
            kept["census"] = json.loads(told(root, "tests/census.py", "--json"))
        names = kept["census"]
        if what == "shapes":
            return shapes(names, json.loads(told(root, "tests/tried.py", "show")))
        return {"kinds": kinds, "names": by_name}[what](names)


def setup(app):
    """Add the directive."""
    app.add_directive("tested", Tested)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
