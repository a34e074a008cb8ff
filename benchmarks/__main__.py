"""``python -m benchmarks``: run rows, print the table, write the raw numbers."""

import argparse
import json
import sys
from pathlib import Path

from tqdm import tqdm

from benchmarks import machine, report, run
from benchmarks.row import all_rows, chosen


def parser():
    """Return the parser of the command line."""
    top = argparse.ArgumentParser("python -m benchmarks", description=__doc__.split(": ")[1])
    top.add_argument("--only", default="", help="names of rows or modules, comma-separated")
    top.add_argument("--rounds", type=int, default=11, help="measurements of each side (≥ 7)")
    top.add_argument("--threads", type=int, choices=(1, 2), help="rows with so many threads only")
    top.add_argument("--out", type=Path, default=run.BUILD / "results.json")
    top.add_argument("--list", action="store_true", help="say which rows there are")
    top.add_argument(
        "--publish", action="store_true", help="copy complete results to benchmarks/results"
    )
    return top


def publish(out, expected, folder=report.RESULTS):
    """Copy results into the tree if they hold every row, often measured and without error."""
    results = json.loads(out.read_text(encoding="utf-8"))
    if results["rounds"] < 7:
        raise LookupError(f"{out} holds {results['rounds']} rounds, expected 7 or more")
    if wrong := [f"{row['name']}: {row['error']}" for row in results["rows"] if row["error"]]:
        raise LookupError(f"{out} holds errors: {', '.join(wrong)}")
    have = {(row["name"], row["threads"]) for row in results["rows"]}
    if missing := sorted(f"{name} ({threads})" for name, threads in expected - have):
        raise LookupError(f"{out} lacks {', '.join(missing)}: run `make bench` first")
    path = folder / f"{machine.slug(results['machine'])}.json"
    path.write_text(out.read_text(encoding="utf-8"), encoding="utf-8")
    return path


def main(arguments=None):
    """Return the exit status: 0, 1 after an error in a row, 2 for a wrong command."""
    options = parser().parse_args(arguments)
    try:
        rows = chosen(all_rows(), options.only)
        todo = [(m, row, n) for m, row in rows for n in row.threads]
        todo = [job for job in todo if options.threads in (None, job[2])]
        if options.publish:
            print(publish(options.out, {(row.name, n) for _, row, n in todo}))
            return 0
    except (LookupError, OSError) as error:
        print(f"python -m benchmarks: {error}", file=sys.stderr)
        return 2
    if options.list:
        print("\n".join(f"{m:14s} {row.name:24s} {row.what}" for m, row in rows))
        return 0
    results = {"machine": machine.header(), "rounds": options.rounds, "rows": []}
    for module, row, threads in (bar := tqdm(todo, unit="row", leave=False)):
        bar.set_description(row.name)
        dotted = f"benchmarks.rows.{module}"
        results["rows"].append(run.measure(dotted, row, threads, options.rounds))
    results["machine"]["load"].append(machine.load())
    options.out.parent.mkdir(parents=True, exist_ok=True)
    report.write(options.out, results)
    print(report.table(results))
    return int(any(row["error"] for row in results["rows"]))


if __name__ == "__main__":
    sys.exit(main())
