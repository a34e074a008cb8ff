"""The file of results: written after every row, and continued by the next run.

It is continued where code, machine, settings and versions are the same. Otherwise a new one is
begun, and the old one stays beside it until the next time. Where only the code is another, rows can
be kept; each then says of which commit it is.
"""

import json
import os

from dlbook.tools.files import replace as save

__all__ = ["begin", "done", "name", "put", "without", "write"]

FLEETING = {"date", "load"}  # what may differ between two runs that are one
STATE = {"commit", "changed", "code"}  # of the code


def write(path, results):
    """Write results as JSON, one row on a line; whole, or not at all."""
    dump = lambda value: json.dumps(value, ensure_ascii=False)
    head = "".join(f"{dump(k)}: {dump(v)},\n" for k, v in results.items() if k != "rows")
    rows = ",\n".join(map(dump, results["rows"]))
    path.parent.mkdir(parents=True, exist_ok=True)
    save(path, f'{{{head}"rows": [\n{rows}\n]}}\n'.encode())


def conditions(results):
    """Return what two runs must have in common."""
    machine = {k: v for k, v in results["machine"].items() if k not in FLEETING}
    return machine | {"rounds": results["rounds"]}


def begin(path, machine, rounds, keep=False):
    """Return the results to go on with, and a sentence that says which these are.

    Parameters
    ----------
    path : Path
        The file of results, if there is one.
    machine : dict
        What `machine.header` says now.
    rounds : int
        Measurements of each side.
    keep : bool
        Keep rows of another state of the code, if that is all that differs.
    """
    fresh = {"machine": machine, "rounds": rounds, "rows": []}
    if not path.exists():
        return fresh, "a first run"
    try:
        old = json.loads(path.read_text(encoding="utf-8"))
        then, now = conditions(old), conditions(fresh)
    except (ValueError, KeyError, TypeError):
        why = "the file could not be read"
    else:
        differ = sorted(k for k in now.keys() | then.keys() if now.get(k) != then.get(k))
        if not differ:
            old["machine"]["load"] += machine["load"]
            return old, f"going on with the results of {old['machine']['date']}"
        if keep and STATE.issuperset(differ) and not old["machine"].get("changed"):
            of = {"commit": old["machine"]["commit"]}
            return fresh | {
                "rows": [of | row for row in old["rows"]]
            }, "keeping rows of earlier code"
        why = f"no longer the same: {', '.join(differ)}"
    kept = path.with_suffix(".old.json")
    os.replace(path, kept)
    return fresh, f"starting anew ({why}); the earlier results are in {kept.name}"


def name(row):
    """Return what tells the record of a row from all others."""
    return row["name"], row["threads"]


def done(results):
    """Return the names of the rows that were measured without error, with the code as it is."""
    return {name(row) for row in results["rows"] if not row["error"] and "commit" not in row}


def without(rows, names):
    """Return the records of the other rows."""
    return [row for row in rows if name(row) not in names]


def put(rows, record, order):
    """Return records with this one in its place; `order` lists the names of all."""
    rows = [*without(rows, {name(record)}), record]
    return sorted(rows, key=lambda row: order.index(name(row)))
