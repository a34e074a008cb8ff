"""Try altered versions of each kernel on the cases of its equation while the book is built.

All must be rejected, or be declared the same function, with the reason, in `declared.toml` beside
the pages. What was found is kept by a digest of code and cases, so an unchanged equation costs
nothing. `verified` makes faults of what survives, `marks` shows the rest.
"""

import base64
import hashlib
import inspect
import json
import os
import platform
import tomllib
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from importlib.metadata import version
from pathlib import Path

from sphinx.util import logging

from dlbook.tools import altering, cases, checks, trials
from dlbook.tools.jit import package_files

log = logging.getLogger(__name__)
STACK = f"{platform.python_version()} {version('numpy')} {version('scipy')}"


class Declared:
    """The versions that are declared to be the same function, by (function, was, now)."""

    def __init__(self, file):
        text = file.read_text(encoding="utf-8") if file.is_file() else ""
        entries = tomllib.loads(text).get("equal", [])
        self.entries = {(e["function"], e["was"], e["now"]): e for e in entries}
        self.met = set()

    def where(self, function):
        """Return the conditions under which versions of a function are the same."""
        return {
            key[1:]: e["where"]
            for key, e in self.entries.items()
            if key[0] == function and "where" in e
        }

    def reason(self, function, row):
        """Return why a version is the same function, or None where nobody says so."""
        key = (function, row.get("was"), row.get("now"))
        if key in self.entries:
            self.met.add(key)
            return self.entries[key]["because"]
        return None

    def stale(self, functions):
        """Return the entries for which there is no such surviving version."""
        return [k for k in self.entries if k not in self.met and k[0] in functions]


def jobs_of(label, module, blobs, declared):
    """Return the trials of an equation: its functions and helpers, each with the cases it faces.

    A function that stands for several equations faces the cases of all of them.
    """
    jobs, stem = [], module.__name__.removeprefix("dlbook.")
    for name in trials.functions_of(label, module):
        own = trials.labels_of(getattr(module, name)) or [label]
        faced = {blob for other in own for blob in blobs.get(other, ())}
        faced = sorted(faced, key=lambda blob: (len(blob), blob))  # the same in every build
        jobs.append(
            trials.Job(own[0], module.__name__, name, faced, declared.where(f"{stem}.{name}"))
        )
    return jobs


def digest(job, sources):
    """Return a name for all that decides how a trial ends."""
    found = hashlib.sha256(f"{STACK} {job.label} {job.function} {job.where}".encode() + sources)
    for blob in job.cases:
        found.update(blob)
    return found.hexdigest()[:24]


def sources(module):
    """Return a digest of the code that a trial in a module runs."""
    own = [Path(inspect.getsourcefile(m)) for m in (altering, cases, checks, trials)]
    files = [*own, *package_files([module])]
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).digest()


def kept(folder, jobs):
    """Return the rows of each job, from the folder where they are there, else by trying.

    What ended in an error is tried again by the next build: it may have been the machine.
    """
    code = {module: sources(module) for module in {job.module for job in jobs}}
    paths = [folder / f"{digest(job, code[job.module])}.json" for job in jobs]
    rows, groups = {}, {}
    for job, path in zip(jobs, paths, strict=True):
        if path.is_file():
            rows[path] = json.loads(path.read_text(encoding="utf-8"))
        else:
            groups.setdefault(job.module, {})[job.label, job.function] = job, path

    def run(group):
        found = {path: [] for _, path in group.values()}
        for row in trials.tried([job for job, _ in group.values()]):
            found[group[row["label"], row["function"]][1]].append(row)
        return found

    folder.mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for found in pool.map(run, groups.values()):
            rows |= found
            for path, tried in found.items():
                if not any(row["outcome"] == "error" for row in tried):
                    path.write_text(json.dumps(tried, ensure_ascii=False), encoding="utf-8")
    return [rows[path] for path in paths]


def outcomes(app, equations, given):
    """Return what altered versions of the kernels came to.

    Parameters
    ----------
    app : Sphinx
    equations : dict
        By label, with ``function``.
    given : dict
        By label the cases: ``blob`` and ``plain``.

    Returns
    -------
    dict, list
        By label the rows of all versions; and the stale entries of `declared.toml`.
    """
    declared = Declared(Path(app.srcdir, "declared.toml"))
    blobs = {
        label: [base64.b64decode(case["blob"]) for case in found if case["blob"]]
        for label, found in given.items()
    }
    jobs = []
    for label, row in equations.items():
        if row["function"] and blobs.get(label):
            module = import_module(row["function"].rpartition(".")[0])
            jobs += [(label, job) for job in jobs_of(label, module, blobs, declared)]
    log.info("trying altered kernels ...")
    found, functions = {}, set()
    rows = kept(Path(app.outdir).parent / "altered", [job for _, job in jobs])
    for (label, job), tried in zip(jobs, rows, strict=True):
        function = f"{job.module.removeprefix('dlbook.')}.{job.function}"
        functions.add(function)
        inputs = [text for row in tried for text in row.get("inputs", ())]
        found.setdefault(label, []).extend(
            row | judgement(declared, function, row, inputs)
            for row in tried
            if row["kind"] != "cases"
        )
    return found, declared.stale(functions)


def judgement(declared, function, row, inputs):
    """Return how a row counts after what is declared, and what exposed it."""
    if row["outcome"] == "rejected":
        return {"input": inputs[row["case"]]} if inputs else {}
    if row["outcome"] != "survives":
        return {}
    reason = declared.reason(function, row)
    if reason is None:
        return {}
    if not row["seen"].startswith("the same"):
        return {"seen": f"declared the same function, but {row['seen']}"}
    return {"outcome": "equal", "seen": reason}


def counts(rows):
    """Return the numbers that the mark shows."""
    made = [row for row in rows if row["kind"] != "unaltered"]
    return {
        "altered": len(made),
        "rejected": sum(row["outcome"] == "rejected" for row in made),
        "declared_equal": sum(row["outcome"] == "equal" for row in made),
    }


def survivors(rows):
    """Yield what a fault says of each version that no case notices, and of each error."""
    for row in rows:
        if row["outcome"] in ("survives", "error"):
            where = f"`{row['function']}`" + (f", line {row['line']}" if "line" in row else "")
            what = f": {row['kind']}"
            if "was" in row:
                was, now = (" ⏎ ".join(row[k].splitlines()) for k in ("was", "now"))
                what += f", “{was}” → “{now}”"
            verb = "is noticed by no case" if row["outcome"] == "survives" else "was not judged"
            yield f"{where}{what} {verb} ({row['seen']})"
