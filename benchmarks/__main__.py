"""``python -m benchmarks``: run rows, write the raw numbers after each, print the table.

A run goes on where the last one stopped, if code, machine, settings and versions are the same.
"""

import argparse
import json
import sys
from pathlib import Path

from tqdm import tqdm

from benchmarks import machine, report, run, store
from benchmarks.row import all_rows, chosen

PUBLISHED = 7  # rounds at least; fewer show that rows run and agree, and no more


def parser():
    """Return the parser of the command line."""
    about = __doc__.partition(": ")[2]
    top = argparse.ArgumentParser("python -m benchmarks", description=about)
    top.add_argument("--only", default="", help="names of rows or modules, comma-separated")
    top.add_argument(
        "--rounds",
        type=int,
        default=11,
        help=f"measurements of each side ({PUBLISHED} at least to be published)",
    )
    top.add_argument("--threads", type=int, choices=(1, 2), help="rows with so many threads only")
    top.add_argument("--out", type=Path, default=run.BUILD / "results.json")
    top.add_argument("--again", action="store_true", help="measure rows that are there once more")
    top.add_argument("--keep", action="store_true", help="keep what was measured with other code")
    top.add_argument("--list", action="store_true", help="say which rows there are")
    top.add_argument(
        "--publish", action="store_true", help="copy complete results to benchmarks/results"
    )
    return top


def publish(out, expected, folder=report.RESULTS):
    """Copy results into the tree if they hold every row, often measured and without error."""
    results = json.loads(out.read_text(encoding="utf-8"))
    if results["rounds"] < PUBLISHED:
        raise LookupError(f"{out} holds {results['rounds']} rounds, expected {PUBLISHED} or more")
    if wrong := [f"{row['name']}: {row['error']}" for row in results["rows"] if row["error"]]:
        raise LookupError(f"{out} holds errors: {', '.join(wrong)}")
    have = {(row["name"], row["threads"]) for row in results["rows"]}
    if missing := sorted(f"{name} ({threads})" for name, threads in expected - have):
        raise LookupError(f"{out} lacks {', '.join(missing)}: run `make bench` first")
    path = folder / f"{machine.slug(results['machine'])}.json"
    path.write_text(out.read_text(encoding="utf-8"), encoding="utf-8")
    return path


def measure(todo, results, options):
    """Measure the rows that are missing, and write the results after each."""
    order = [(row.name, n) for _, row in chosen(all_rows(), "") for n in row.threads]
    if options.again:
        results["rows"] = store.without(results["rows"], todo)
    missing = [key for key in todo if key not in store.done(results)]
    if found := len(todo) - len(missing):
        print(f"{found} of {len(todo)} are there; --again measures them anew", file=sys.stderr)
    for name, threads in (bar := tqdm(missing, unit="row", leave=False)):
        module, row = todo[name, threads]
        bar.set_description(name)
        record = run.measure(f"benchmarks.rows.{module}", row, threads, options.rounds)
        results["rows"] = store.put(results["rows"], record, order)
        store.write(options.out, results)
    if missing:
        results["machine"]["load"].append(machine.load())
        store.write(options.out, results)


def main(arguments=None):
    """Return the exit status: 0, 1 after an error in a row, 2 for a wrong command, 130 if stopped."""
    options = parser().parse_args(arguments)
    try:
        rows = chosen(all_rows(), options.only)
        todo = {(row.name, n): (module, row) for module, row in rows for n in row.threads}
        todo = {key: job for key, job in todo.items() if options.threads in (None, key[1])}
        if options.publish:
            print(publish(options.out, set(todo)))
            return 0
    except (LookupError, OSError) as error:
        print(f"python -m benchmarks: {error}", file=sys.stderr)
        return 2
    if options.list:
        print("\n".join(f"{m:14s} {row.name:24s} {row.what}" for m, row in rows))
        return 0
    results, which = store.begin(options.out, machine.header(), options.rounds, options.keep)
    print(which, file=sys.stderr)
    try:
        measure(todo, results, options)
        stopped = False
    except KeyboardInterrupt:
        stopped = True
    shown = [row for row in results["rows"] if store.name(row) in todo]
    print(report.table({"rows": shown}))
    if options.rounds < PUBLISHED:
        print(f"\nrounds: {options.rounds}, not to be published")
    if stopped:
        print("stopped; the next run goes on here", file=sys.stderr)
        return 130
    return int(any(row["error"] for row in shown))


if __name__ == "__main__":
    sys.exit(main())
