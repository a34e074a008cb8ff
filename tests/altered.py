"""Say which altered kernels the checks of one page let live: ``python tests/altered.py STEM``.

The cells before the exercises run as one script. Cells that match a regular expression given as a
second argument, and that check nothing, are left out: trainings, figures.
"""

import base64
import os
import re
import sys
from importlib import import_module

os.environ |= {"DLBOOK_VERIFY": "collect", "MPLBACKEND": "agg"}

from pages import ROOT, cells, text_of

sys.path.insert(0, str(ROOT / "book" / "_ext"))

import altered

from dlbook.tools import checks, trials


def cases(stem, without):
    """Run a page; return the cases of each equation as bytes, and print what fails."""
    found, space = {}, {"__name__": "__main__"}

    def publish(record):
        if not record["passed"]:
            print(record)
        if record["kind"] == "equation":
            blob = record.get("case", {}).get("blob")
            found.setdefault(record["label"], []).extend([base64.b64decode(blob)] if blob else [])

    checks._publish = publish
    last = text_of(stem).split("## Exercises")[0].count("\n")
    for cell in cells(stem):
        left_out = without and re.search(without, cell.code) and "verify(" not in cell.code
        if cell.line <= last and not left_out:
            exec(compile(cell.code, f"book/{stem}.md:{cell.line}", "exec"), space)
    return found


def main(stem, without=None):
    blobs, module = cases(stem, without), import_module(f"dlbook.{stem}")
    declared, counted = altered.Declared(ROOT / "book" / "declared.toml"), {}
    jobs = [job for label in blobs for job in altered.jobs_of(label, module, blobs, declared)]
    once = {(job.label, job.function): job for job in jobs}  # one may stand for several equations
    for row in trials.tried([*once.values()]):
        if row["kind"] != "cases":
            row |= altered.judgement(declared, f"{stem}.{row['function']}", row, None)
            counted[row["outcome"]] = counted.get(row["outcome"], 0) + 1
            for text in altered.survivors([row]):
                print(f"{row['label']}: {text}")
    print(", ".join(f"{count} {outcome}" for outcome, count in counted.items()))


if __name__ == "__main__":
    main(*sys.argv[1:])
