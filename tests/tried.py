"""How many shapes of each fast kernel were held against its literal form so far: `make registry` adds to it.

Each round draws other shapes and other numbers than those before it. What a round tried is added to
``tried.json`` when all of it held, with the commit it was tried at. ``python tests/tried.py next`` prints the number of the next round, ``add`` ends it, ``show`` prints all.
"""

import json
import os
import shutil
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FILE = ROOT / "tests" / "tried.json"
ROOM = ROOT / "_build" / "tried"  # a file for each process that tries


def read(path=FILE):
    """Return what was tried so far: rounds, the newest of them, and shapes by kernel and dtype."""
    if not path.is_file():
        return {"rounds": 0, "commit": "", "date": "", "shapes": {}}
    return json.loads(path.read_text(encoding="utf-8"))


def note(name, dtype, count):
    """Keep, in a round, that so many shapes of a kernel held."""
    if os.environ.get("DLBOOK_ROUND"):
        ROOM.mkdir(parents=True, exist_ok=True)
        with (ROOM / f"{os.getpid()}.txt").open("a", encoding="utf-8") as file:
            file.write(f"{name} {dtype} {count}\n")


def noted(room=ROOM):
    """Return what the processes of a round have kept: shapes by kernel and dtype."""
    found = {}
    for path in sorted(room.glob("*.txt")):
        for line in path.read_text(encoding="utf-8").splitlines():
            name, dtype, count = line.split(" ")
            found[f"{name} {dtype}"] = found.get(f"{name} {dtype}", 0) + int(count)
    return found


def add(path=FILE, room=ROOM):
    """Add a round that held to what was tried; return how many shapes it had, and how many there are.

    Raises
    ------
    FileNotFoundError
        If nothing was tried.
    """
    found, before = noted(room), read(path)
    if not found:
        raise FileNotFoundError(f"{room} holds no round: `make registry`")
    log = subprocess.run(
        ["git", "log", "-1", "--format=%h"], cwd=ROOT, capture_output=True, text=True
    )
    shapes = {key: before["shapes"].get(key, 0) + count for key, count in found.items()}
    after = {
        "rounds": before["rounds"] + 1,
        "commit": log.stdout.strip(),
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
        "shapes": dict(sorted((before["shapes"] | shapes).items())),
    }
    path.write_text(json.dumps(after, indent=1) + "\n", encoding="utf-8")
    shutil.rmtree(room)  # so that no round is added twice
    return sum(found.values()), sum(after["shapes"].values())


if __name__ == "__main__":
    if sys.argv[1:] == ["next"]:
        shutil.rmtree(ROOM, ignore_errors=True)  # what is left of a round that failed
        print(read()["rounds"] + 1)
    elif sys.argv[1:] == ["add"]:
        print("{:,} shapes held, {:,} with those of all rounds".format(*add()))
    elif sys.argv[1:] == ["show"]:
        print(json.dumps(read()))
    else:
        sys.exit("python tests/tried.py next|add|show")
