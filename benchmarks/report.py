"""From raw numbers to ratios, verdicts and tables, for the terminal and for the page."""

import json
import re
import tomllib
from collections import Counter
from pathlib import Path
from statistics import median

from benchmarks.row import NOT_BEHIND, OURS, PEAK, library

__all__ = ["aims", "compared", "described", "markdown", "memories", "newest", "products", "ratios"]
__all__ += ["beside", "left_out", "read", "seconds", "short", "short_of", "standing", "starts"]
__all__ += ["table", "unmeasured", "verdicts", "whys"]

CORES = 1.5  # that some side must have had in a round of two threads
AHEAD = 1.05  # from here on ahead, from NOT_BEHIND level
RESULTS = Path(__file__).resolve().parent / "results"
WHY = Path(__file__).resolve().parent / "behind.toml"


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


def counted(row):
    """Return the numbers of the rounds that count, and how many there were.

    A machine that is shared may give a process one core where it asked for two. Where no side had
    more than one, a round says nothing about two threads.
    """
    timed = [r for r in row["sides"].values() if r["status"] == "ok" and r.get("wall")]
    rounds = range(max((len(r["wall"]) for r in timed), default=0))
    if row["threads"] == 1 or row["kind"] != "time":
        return list(rounds), len(rounds)
    had = lambda r, n: r["cpu"][n] / r["wall"][n] if n < len(r["wall"]) else 0
    return [n for n in rounds if max(had(r, n) for r in timed) >= CORES], len(rounds)


def measured(row, side):
    """Return the seconds of one side in the rounds that count; empty if it was not timed."""
    record = row["sides"].get(side, {"status": "missing"})
    seconds = record.get(clock(row), []) if record["status"] == "ok" else []
    return [seconds[n] for n in counted(row)[0] if n < len(seconds)]


def times(row, side):
    """Return median and minimum of one side in seconds, or None if it was not timed."""
    found = measured(row, side)
    return (median(found), min(found)) if found else None


def rivals(row, of=None):
    """Return the sides that were timed beside ours, those of one library if it is named."""
    return [
        side
        for side in row["sides"]
        if library(side) not in (OURS, PEAK) and times(row, side) and of in (None, library(side))
    ]


def ratios(row, of=None):
    """Return the best rival and how many times longer it takes: in the median round, by minima.

    The best rival is that with the smallest median. In a round the sides take turns, so that what
    slows a machine down for seconds slows all of them. None where nothing can be compared.
    """
    if not times(row, OURS) or not rivals(row, of):
        return None
    best = min(rivals(row, of), key=lambda side: times(row, side)[0])
    pairs = zip(measured(row, best), measured(row, OURS), strict=False)
    return best, median(a / b for a, b in pairs), times(row, best)[1] / times(row, OURS)[1]


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


# What the page says first


def placed(results):
    """Return what was timed beside rivals, by rising ratio, in three lists: behind, level, ahead."""
    rows = [row for row in results["rows"] if row["kind"] == "time" and ratios(row)]
    rows.sort(key=lambda row: ratios(row)[1])
    lists = [], [], []
    for row in rows:
        lists[(ratios(row)[1] >= NOT_BEHIND) + (ratios(row)[1] >= AHEAD)].append(row)
    return lists


def standing(results):
    """Return two sentences: how often dlbook is ahead, level and behind, and where it is behind."""
    behind, level, ahead = placed(results)
    whole = len(behind) + len(level) + len(ahead)
    often = (
        f"Beside its best rival dlbook is ahead in {len(ahead)} of {whole} measurements, by five per "
        f"cent or more, level in {len(level)} and behind in {len(behind)}."
    )
    if not behind:
        return often
    named = [f"`{row['name']}` ({ratios(row)[1]:.2f}{on_two(row)})" for row in behind]
    return f"{often} Behind it is, from the worst on, in {', '.join(named)}."


def on_two(row):
    """Return how many threads a row had, where it was not one."""
    return f" on {row['threads']} threads" if row["threads"] > 1 else ""


def left_out(results):
    """Return how many rounds on several threads did not count, of how many."""
    found = [counted(row) for row in results["rows"] if row["threads"] > 1]
    return sum(whole - len(kept) for kept, whole in found), sum(whole for _, whole in found)


# Tables of the page: a head and rows


def markdown(head, rows):
    """Return a table in Markdown."""
    written = [f"| {' | '.join(map(str, cells))} |" for cells in [head, ["---"] * len(head), *rows]]
    return re.sub(r"(\d) (?=(?:[mµn]?s|[MG]iB)\b)", "\\1\N{NO-BREAK SPACE}", "\n".join(written))


def compared(results, threads):
    """What was timed beside rivals, by falling ratio: our median, the best rival, the ratios."""
    head = ("row", "what", "dlbook", "best rival", "its time", "ratio, median round", "of minima")
    rows = [row for row in results["rows"] if row["kind"] == "time" and row["threads"] == threads]
    rows = sorted(filter(ratios, rows), key=lambda row: ratios(row)[1], reverse=True)
    return head, [
        (
            row["name"],
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
    return ("row", "threads", "aim", "measured", "verdict"), [
        (row["name"], row["threads"], aim, shown, word[reached])
        for row in results["rows"]
        for aim, shown, reached in verdicts(row)
    ]


def whys():
    """Return {row: what bounds it, and what was tried}, of `behind.toml`."""
    return tomllib.loads(WHY.read_text(encoding="utf-8"))


def short(results):
    """Return the rows that are behind their best rival or miss an aim."""
    return [
        row
        for row in results["rows"]
        if (row["kind"] == "time" and ratios(row) and ratios(row)[1] < NOT_BEHIND)
        or any(reached is False for *_, reached in verdicts(row))
    ]


def short_of(results, why):
    """What is behind or misses an aim: the ratio, the share of the tile, what bounds it and what was tried.

    Parameters
    ----------
    results : dict
    why : dict
        What `whys` returns.
    """
    head = ("row", "threads", "ratio", "of the tile's peak", "why, and what was tried")
    return head, [
        (
            row["name"],
            row["threads"],
            f"{ratios(row)[1]:.2f}" if ratios(row) else "–",
            f"{share(row):.0%}" if share(row) else "–",
            why.get(row["name"], why.get(row["kind"], "")),
        )
        for row in short(results)
    ]


def beside(found):
    """The ratios of every machine whose results are stored, the newest first.

    Parameters
    ----------
    found : dict
        What `read` returns.
    """
    files = sorted(found.values(), key=lambda results: results["machine"]["date"], reverse=True)
    ratio = [
        {
            (row["name"], row["threads"]): f"{ratios(row)[1]:.2f}"
            for row in one["rows"]
            if row["kind"] == "time" and ratios(row)
        }
        for one in files
    ]
    head = (
        "row",
        "threads",
        *(f"{one['machine']['processor']}, {one['machine']['date'][:10]}" for one in files),
    )
    rows = [
        (*key, *(some.get(key, "–") for some in ratio))
        for key in dict.fromkeys(key for some in ratio for key in some)
        if sum(key in some for some in ratio) > 1
    ]
    return head, rows


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
        ("rows of earlier commits", earlier(results)),
        ("processor", f"{machine['processor']}, {machine['cores']} cores"),
        ("vector instructions", ", ".join(machine["features"])),
        ("memory", f"{machine['memory'] / 2**30:.0f} GiB"),
        ("BLAS", "; ".join(blas) or "unknown"),
        ("layer of Numba's threads", machine["libraries"].get("numba_threads", "unknown")),
        ("variables", variables or "none set"),
        ("versions", versions),
        ("load before, after", ", ".join(map(str, machine["load"]))),
    ]


def earlier(results):
    """Return how many rows were measured with an earlier state of the code, by its commit."""
    counts = Counter(row["commit"] for row in results["rows"] if "commit" in row)
    return ", ".join(f"{count} of {commit}" for commit, count in counts.items()) or "none"


def unmeasured(results):
    """Sides that could not be timed, each with the reason."""
    return ("what", "side", "reason"), [
        (row["what"], side, record["status"])
        for row in results["rows"]
        for side, record in row["sides"].items()
        if record["status"] != "ok"
    ]
