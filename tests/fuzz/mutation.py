"""Change bytes, text and JSON, with a leaning towards what readers forget."""

import copy
import json
import struct

__all__ = ["MOST", "REAL", "Members", "Raw", "bytes_changed", "json_changed", "read", "written"]

MOST = 2**16  # bytes of a case
DEEPEST = 40  # lists in lists that are still changed
WHOLE = [0, 1, 127, 128, 255, 2**15, 2**16 - 1, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1, 2**64 - 1]
FORMS = [(8, "little"), (32, "little"), (32, "big"), (64, "little")]
PACKED = sorted({(n % 2**bits).to_bytes(bits // 8, order) for n in WHOLE for bits, order in FORMS})
REAL = [struct.pack(f, x) for x in (float("nan"), float("inf"), 5e-324) for f in ("<f", "<d", ">d")]
TEXTS = [
    b"-1", b"0", b"-0.0", b"1e999", b"9" * 400, b"9" * 5000, b"NaN", b"null", b'""', b"\\ud800",
    b"[]", b"{}", b"\n", b"\r", b"\t", b"\0", b"\x1b[2J", b"\xff\xfe", b"\xef\xbb\xbf",
    b"\xed\xa0\x80", "\u202e".encode(), "σ′".encode(), "＝".encode(), b"..", b"/", b"%", b"=1+1",
]  # fmt: skip
PIECES = [*PACKED, *REAL, *TEXTS]


def bytes_changed(rng, case, other, pieces=(), head=0):
    """Return bytes with one to eight changes, or two files spliced.

    Parameters
    ----------
    rng : random.Random
    case, other : bytes
        What is changed, and where pieces may come from.
    pieces : sequence of bytes
        What may be put in, beside the numbers that are at some edge.
    head : int
        Half of the changes happen before this place, where there is one.
    """
    pieces = [*PIECES, *pieces] if rng.random() < 0.7 or not pieces else pieces
    for _ in range(rng.choice((1, 1, 1, 2, 3, 8))):
        end = head if head and rng.random() < 0.5 else len(case)
        at = rng.randint(0, min(end, len(case)))
        to = min(len(case), at + rng.choice((1, 1, 2, 4, 8, 64, 1024)))
        kind = rng.randrange(9)
        if kind == 0 and at < len(case):  # a bit flips
            case = case[:at] + bytes([case[at] ^ 1 << rng.randrange(8)]) + case[at + 1 :]
        elif kind == 1:  # cut short
            case = case[:at]
        elif kind == 2:  # a part is lost
            case = case[:at] + case[to:]
        elif kind == 3:  # a part stands twice, or many times
            case = case[:to] + case[at:to] * rng.choice((1, 1, 2, 30)) + case[to:]
        elif kind == 4:  # something is put in
            case = case[:at] + rng.choice(pieces) + case[at:]
        elif kind == 5:  # or stands in the place of what was there
            piece = rng.choice(pieces)
            case = case[:at] + piece + case[at + len(piece) :]
        elif kind == 6:  # bytes are others
            case = case[:at] + rng.randbytes(to - at) + case[to:]
        elif kind == 7 and other:  # a part of another file
            start = rng.randrange(len(other))
            piece = other[start : start + rng.choice((4, 16, 256))]
            case = case[:at] + piece + case[rng.choice((at, at + len(piece))) :]
        elif kind == 8 and other:  # the end of another file
            case = case[:at] + other[rng.randint(0, len(other)) :]
    return case[:MOST]


# JSON, in which a name may stand twice and a number may be any text


class Members(list):
    """The members of an object, as pairs."""


class Raw(str):
    """What is written as it stands."""

    __slots__ = ()


HOSTILE = [
    None, True, False, 0, -1, 1, 1.5, -0.0, 2**31, 2**53, 2**63, 2**64, -(2**63), 10**400, "",
    "\0", "\ud800", "a" * 3000, "=1+1", "\x1b[2J", "..", "NaN", [], [[]], {}, [0], [-1], [None],
    {"a": {}}, Raw("NaN"), Raw("-Infinity"), Raw("1e999"), Raw("1e-999"), Raw("9" * 4300),
    Raw("9" * 5000), Raw("1.0e0"), Raw(""),
]  # fmt: skip


def read(text):
    """Return JSON with objects as `Members`, or None where it cannot be read or is very deep."""
    try:
        value = json.loads(text, object_pairs_hook=Members)
        return value if _depth(value) <= DEEPEST else None
    except (ValueError, RecursionError):
        return None


def _depth(value):
    """Return how many lists stand in each other."""
    level, depth = [value], 0
    while level := [part for part in level if isinstance(part, (list, tuple))]:
        level, depth = [part for one in level for part in one], depth + 1
    return depth


def written(value):
    """Return a value as JSON text."""
    if isinstance(value, Raw):
        return str(value)
    if isinstance(value, dict):
        value = Members(value.items())
    if isinstance(value, Members):
        return "{" + ", ".join(f"{json.dumps(k)}: {written(v)}" for k, v in value) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(written, value)) + "]"
    return json.dumps(value)


def _deep(rng):
    """Return lists or objects in each other, about as many as Python bears or far more."""
    depth = rng.choice((100, 300, 480, 4000, 20_000, *(rng.randint(880, 1000) for _ in range(9))))
    before, after = rng.choice((("[", "]"), ("[", "]"), ('{"a":', "}")))
    return Raw(before * depth + "1" + after * depth)


def _places(value):
    """Return all (list, position) below a value, itself not among them."""
    found, todo = [], [value]
    while todo:
        one = todo.pop()
        if isinstance(one, list):
            for i, part in enumerate(one):
                found.append((one, i))
                todo.append(part[1] if isinstance(one, Members) else part)
    return found


def json_changed(rng, value, other=None, hostile=()):
    """Return a value of `read` with one to four changes."""
    value = copy.deepcopy(value)
    for _ in range(rng.choice((1, 1, 2, 4))):
        places = _places(value)
        if not places or rng.random() < 0.01:
            return copy.deepcopy(rng.choice(HOSTILE))
        inside, i = rng.choice(places)
        kind, pairs = rng.randrange(7), isinstance(inside, Members)
        old = inside[i][1] if pairs else inside[i]
        new = copy.deepcopy(rng.choice([*HOSTILE, *hostile]))
        if rng.random() < 0.05:
            new = _deep(rng)
        if kind == 0:  # gone
            del inside[i]
            continue
        if kind == 1:  # twice, perhaps with another value
            inside.insert(rng.randint(0, len(inside)), copy.deepcopy(inside[i]))
        elif kind == 2 and pairs:  # under another name
            name = rng.choice(["", "\0", "dlbook", "a" * 300, "\ud800", inside[i - 1][0]])
            inside[i] = (name, old)
            continue
        elif kind == 3 and isinstance(old, int) and not isinstance(old, bool):  # near by
            new = old + rng.choice((-1, 1, -8, 8, 2**32, 2**64))
        elif kind == 4:  # what stands elsewhere
            there, k = rng.choice(_places(other) or places)
            part = there[k][1] if isinstance(there, Members) else there[k]
            new = copy.deepcopy(part) if _depth(part) < 12 else old  # or it would grow each time
        elif kind == 5 and isinstance(old, list) and not isinstance(old, Members):
            new = rng.choice((old[::-1], old * 2, [old], old[:-1]))
        inside[i] = (inside[i][0], new) if pairs else new
    return value
