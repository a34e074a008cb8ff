"""From raw numbers to ratios, verdicts and tables, for the terminal and for the page."""

import json
import re
from pathlib import Path
from statistics import median

from benchmarks.row import OURS, PEAK, library

__all__ = ["aims", "compared", "described", "markdown", "memories", "newest", "products", "ratios"]
__all__ += ["read", "seconds", "starts", "table", "unmeasured", "verdicts"]

RESULTS = Path(__file__).resolve().parent / "results"


def read(folder=RESULTS):
    """Return {machine: results} of the committed files."""
    files = sorted(Path(folder).glob("*.json"))
    return {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in files}


def newest(folder=RESULTS):
    """Return the latest of the committed results."""
    if not (found := read(folder)):
        raise FileNotFoundError(f"no results in {folder}: `make bench`, then `--publish`")
    return max(found.values(), key=lambda results: results["machine"]["date"])


def clock(row):
    """Return which time counts: that of the processor for one thread, or that of the clock."""
    return "cpu" if row["kind"] == "time" and row["threads"] == 1 else "wall"


def times(row, side):
    """Return median and minimum of one side in seconds, or None if it was not timed."""
    record = row["sides"].get(side, {"status": "missing"})
    measured = record.get(clock(row)) if record["status"] == "ok" else None
    return (median(measured), min(measured)) if measured else None


def rivals(row, of=None):
    """Return the sides that were timed beside ours, those of one library if it is named."""
    return [
        side
        for side in row["sides"]
        if library(side) not in (OURS, PEAK) and times(row, side) and of in (None, library(side))
    ]


def ratios(row, of=None):
    """Return the best rival and how many times longer it takes: by medians, by minima.

    None where nothing can be compared.
    """
    if not times(row, OURS) or not rivals(row, of):
        return None
    best = min(rivals(row, of), key=lambda side: times(row, side)[0])
    a, b = times(row, best), times(row, OURS)
    return best, a[0] / b[0], a[1] / b[1]


def rate(row, side, which=0):
    """Return work per second of one side by its median (0) or minimum (1), or None."""
    work = row["sides"][side].get("work", row["work"])
    return work / times(row, side)[which] if work and times(row, side) else None


def share(row, which=0):
    """Return the share of the tile's peak that we reach, or None."""
    there = row["sides"].get(PEAK) and rate(row, PEAK, which) and times(row, OURS)
    return rate(row, OURS, which) / rate(row, PEAK, which) if there else None


def verdicts(row):
    """Return [(what was aimed at, what was measured, reached?)]; of two statistics the worse counts."""
    found = []
    for of, least in row["target"].items():
        result = ratios(row, of)
        worse = min(result[1:]) if result else None
        shown = f"{worse:.2f}×" if result else "not measured"
        found.append((f"≥ {least:g}× {of}", shown, worse and worse >= least))
    if row["share"] and row["threads"] == 1:
        worse = share(row) and min(share(row, 0), share(row, 1))
        shown = f"{worse:.0%}" if worse else "not measured"
        found.append((f"≥ {row['share']:.0%} of the peak", shown, worse and worse >= row["share"]))
    if row["limit"]:
        ours = times(row, OURS)
        shown = f"{ours[0]:.2f} s" if ours else "not measured"
        found.append((f"≤ {row['limit']:g} s", shown, ours and ours[0] <= row["limit"]))
    return [
        (aim, shown, None if reached is None else bool(reached)) for aim, shown, reached in found
    ]


def seconds(value):
    """Return a duration with a fitting unit."""
    for unit, size in (("s", 1), ("ms", 1e-3), ("µs", 1e-6)):
        if value >= size:
            return f"{value / size:.3g} {unit}"
    return f"{value * 1e9:.3g} ns"


def table(results):
    """Return the plain table of all rows: one block for each, one line for each side."""
    lines = []
    for row in results["rows"]:
        counted = "CPU time" if clock(row) == "cpu" else "wall time"
        threads = f"{row['threads']} thread{'s' * (row['threads'] > 1)}, {counted}"
        lines += ["", f"{row['name']}: {row['what']} ({threads})"]
        for side, record in row["sides"].items():
            lines.append(f"  {side:14s}{line(row, side, record)}".rstrip())
        for aim, shown, reached in verdicts(row):
            word = {True: "reached", False: "NOT REACHED", None: ""}[reached]
            lines.append(f"  aim {aim}: {shown} {word}".rstrip())
        if row["error"]:
            lines.append(f"  ERROR {row['error']}")
    return "\n".join(lines[1:])


def line(row, side, record):
    """Return the numbers of one side: median, minimum, ratios, rate, share of the peak, memory."""
    if not times(row, side):
        return record["status"] if record["status"] != "ok" else "not timed"
    parts = [f"{seconds(t):>9s}" for t in times(row, side)]
    if times(row, OURS) and side not in (OURS, PEAK):
        parts += [f"{a / b:6.2f}×" for a, b in zip(times(row, side), times(row, OURS), strict=True)]
    else:
        parts += [" " * 7] * 2
    if rate(row, side):
        parts.append(f"{rate(row, side) / 1e9:7.1f} {'GF/s' if row['unit'] == 'flop' else 'GB/s'}")
    if side != PEAK and rate(row, side) and row["sides"].get(PEAK, {}).get(clock(row)):
        parts.append(f"{rate(row, side) / rate(row, PEAK):5.0%} of peak")
    if "memory" in record:
        parts.append(f"{record['memory'] / 2**20:7.1f} MiB")
    return " ".join(parts)


# Tables of the page: a head and rows


def markdown(head, rows):
    """Return a table in Markdown."""
    written = [f"| {' | '.join(map(str, cells))} |" for cells in [head, ["---"] * len(head), *rows]]
    return re.sub(r"(\d) (?=(?:[mµn]?s|[MG]iB)\b)", "\\1\N{NO-BREAK SPACE}", "\n".join(written))


def compared(results, threads):
    """What was timed beside rivals, by falling ratio: our median, the best rival, the ratios."""
    head = ("what", "dlbook", "best rival", "its time", "ratio of medians", "of minima")
    rows = [row for row in results["rows"] if row["kind"] == "time" and row["threads"] == threads]
    rows = sorted(filter(ratios, rows), key=lambda row: ratios(row)[1], reverse=True)
    return head, [
        (
            row["what"],
            seconds(times(row, OURS)[0]),
            ratios(row)[0],
            seconds(times(row, ratios(row)[0])[0]),
            f"{ratios(row)[1]:.2f}",
            f"{ratios(row)[2]:.2f}",
        )
        for row in rows
    ]


def products(results):
    """Rates of the matrix product and their share of the tile's peak, with one thread."""
    rows = [row for row in results["rows"] if share(row)]
    sides = sorted({side for row in rows for side in rivals(row)})
    head = ("product", "dlbook, GF/s", "share of the peak", *(f"{side}, GF/s" for side in sides))
    return head, [
        (
            row["what"],
            f"{rate(row, OURS) / 1e9:.0f}",
            f"{share(row):.0%}",
            *(f"{rate(row, s) / 1e9:.0f}" if times(row, s) else "–" for s in sides),
        )
        for row in rows
    ]


def starts(results):
    """Wall time of new processes, each side's median, and the limit."""
    rows = [row for row in results["rows"] if row["kind"] != "time"]
    sides = list(dict.fromkeys(side for row in rows for side in (OURS, *rivals(row))))
    shown = lambda t: seconds(t[0]) if t else "–"
    return ("new process", *sides, "limit"), [
        (
            row["what"],
            *(shown(times(row, side)) for side in sides),
            f"{row['limit']:g} s" if row["limit"] else "–",
        )
        for row in rows
    ]


def memories(results):
    """Peak memory in MiB of the sides for which it was measured."""
    found = [
        (row["what"], side, f"{record['memory'] / 2**20:.0f} MiB")
        for row in results["rows"]
        for side, record in row["sides"].items()
        if "memory" in record
    ]
    return ("what", "side", "peak memory"), found


def aims(results):
    """Every aim and what was measured."""
    word = {True: "reached", False: "**not reached**", None: "not measured"}
    return ("what", "threads", "aim", "measured", "verdict"), [
        (row["what"], row["threads"], aim, shown, word[reached])
        for row in results["rows"]
        for aim, shown, reached in verdicts(row)
    ]


def described(results):
    """The machine and the state of the code."""
    machine = results["machine"]
    blas = [
        f"{pool['of']}: {pool['internal_api']} {pool.get('version')}, "
        f"{pool.get('architecture', 'no')} kernels"
        for pool in machine["libraries"].get("blas", [])
    ]
    versions = ", ".join(f"{name} {v}" for name, v in machine["versions"].items())
    variables = ", ".join(f"{k}={v}" for k, v in machine["variables"].items())
    return ("measured on", "found there"), [
        ("date", machine["date"].replace("T", " ").replace("+00:00", " UTC")),
        ("commit", machine["commit"] + (", with changes" if machine["changed"] else "")),
        ("processor", f"{machine['processor']}, {machine['cores']} cores"),
        ("vector instructions", ", ".join(machine["features"])),
        ("memory", f"{machine['memory'] / 2**30:.0f} GiB"),
        ("BLAS", "; ".join(blas) or "unknown"),
        ("layer of Numba's threads", machine["libraries"].get("numba_threads", "unknown")),
        ("variables", variables or "none set"),
        ("versions", versions),
        ("load before, after", ", ".join(map(str, machine["load"]))),
    ]


def unmeasured(results):
    """Sides that could not be timed, each with the reason."""
    return ("what", "side", "reason"), [
        (row["what"], side, record["status"])
        for row in results["rows"]
        for side, record in row["sides"].items()
        if record["status"] != "ok"
    ]
