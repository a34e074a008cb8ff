"""Weights, checkpoints and IDX files. What is taken is read once more here, by other means."""

import gzip
import json
import pickle
import struct
from unittest import mock

import numpy as np
import safetensors
import safetensors.numpy
from test_idx import LIMIT, announced, idx, packed, stated
from test_store import nested
from test_training_loop import DATA, HELD, START, TOY, Hook, Watched, stop

from dlbook.nets import Diverged, checkpoint, fit, loop
from dlbook.optimization import Adam
from dlbook.tools import flat, store
from dlbook.tools import idx as reader
from dlbook.tools.errors import DataError
from dlbook.tools.flat import like, named
from dlbook.tools.store import load_params, save_params
from fuzz import mutation
from fuzz.engine import Target
from fuzz.mutation import Members, Raw

__all__ = ["Checkpoints", "Idx", "Weights"]

DTYPES = {"F64": "<f8", "F32": "<f4", "I64": "<i8"}
SIZES = [-1, 0, 1, 2, 7, 2**31, 2**32, 2**61, 2**62, 2**63, 2**64, Raw("1e3"), Raw("1.0")]
SHAPES = [[], [0], [2**62, 4], [2**32, 2**32], [1] * 70, [0, 2**63], *([n] for n in SIZES)]
NAMES = ["F64", "F32", "I64", "BF16", "F8_E4M3", "F4", "BOOL", "f64", "F128", "C64", ""]
OFFSETS = [[0, 0], [8, 0], [0, 2**63], [2**64 - 8, 2**64], *([n, n] for n in SIZES[:6])]


def parts(case):
    """Return the header of a file of safetensors as `Members`, or None, and its numbers."""
    if len(case) < 8 or (size := struct.unpack("<Q", case[:8])[0]) > len(case) - 8:
        return None, b""
    header = mutation.read(case[8 : 8 + size].decode("utf-8", "replace"))
    return (header if isinstance(header, Members) else None), case[8 + size :]


def joined(header, numbers):
    """Return a header and numbers as a file."""
    text = mutation.written(header).encode("utf-8", "surrogatepass")
    return struct.pack("<Q", len(text)) + text + numbers


def sealed(case):
    """Return a file with the checksum that its content has, where it can be read."""
    header, numbers = parts(case)
    try:
        arrays, known = safetensors.numpy.load(case), dict(header)
        remarks = {k: str(v) for k, v in known["__metadata__"] if k not in store.KEYS}
        crc = store._checksum(arrays, remarks)
    except Exception:  # it is not to be read, and stays as it is
        return case
    known["__metadata__"] = Members((remarks | store.OURS | {"crc32": crc}).items())
    return joined(Members(known.items()), numbers)


def stored(case):
    """Return the arrays that a file of safetensors states, read here, by name."""
    size = struct.unpack("<Q", case[:8])[0]
    header, numbers = json.loads(case[8 : 8 + size]), case[8 + size :]
    header.pop("__metadata__", None)
    return {
        name: np.frombuffer(
            numbers[slice(*part["data_offsets"])], DTYPES[part["dtype"]]
        ).reshape(part["shape"])
        for name, part in header.items()
    }  # fmt: skip


def same(found, expected):
    """Hold arrays against others by name, to the bit."""
    assert found.keys() == expected.keys(), (sorted(found), sorted(expected))
    for name, x in expected.items():
        y = found[name]
        assert (y.shape, y.dtype) == (x.shape, x.dtype), name
        assert np.isfinite(y).all(), f"{name} is not finite"
        assert np.ascontiguousarray(y).tobytes() == x.tobytes(), name


def documented(error, path):
    """Hold a refusal against the documentation: this very error, with the file's name."""
    assert type(error) is DataError and str(path) in str(error), repr(error)


class Stored(Target):
    """What is kept in files of safetensors."""

    def changed(self, rng, case, other):
        """Change bytes or the header, and let the checksum often be right again."""
        header, numbers = parts(case)
        if header is None or rng.random() < 0.3:
            head = 8 + struct.unpack("<Q", case[:8])[0] if len(case) >= 8 else 0
            case = mutation.bytes_changed(rng, case, other, head=min(head, len(case)))
        else:
            if rng.random() < 0.6:
                hostile = rng.choice((SIZES, SHAPES, NAMES, OFFSETS))
                header = mutation.json_changed(rng, header, parts(other)[0], hostile)
            if isinstance(header, Members) and rng.random() < 0.5:
                header = self.remarked(rng, header)
            if rng.random() < 0.3 and numbers:
                numbers = mutation.bytes_changed(rng, numbers, parts(other)[1])[: len(numbers)]
                numbers += bytes(len(parts(case)[1]) - len(numbers))
            elif rng.random() < 0.1 and len(numbers) >= 8:  # one number is NaN, infinite or tiny
                at, piece = 8 * rng.randrange(len(numbers) // 8), rng.choice(mutation.REAL)
                numbers = numbers[:at] + piece + numbers[at + len(piece) :]
            case = joined(header, numbers)
        return (sealed(case) if rng.random() < 0.7 else case)[: mutation.MOST]

    def remarked(self, rng, header):
        """Return a header whose remarks are others."""
        return header


class Weights(Stored):
    """Parameters and running statistics of a model."""

    name = "weights"
    traced = (store, flat)

    def seeds(self):
        made = []
        for dtype in (np.float64, np.float32):
            for state in (None, nested(dtype)):
                path = self.folder / "seed"
                save_params(nested(dtype), path, state)
                made.append(path.read_bytes())
        store.save(path, named(nested()) | {"n": np.arange(3)}, {"kind": "weights", "by": "σ"})
        return [*made, path.read_bytes()]

    def accepts(self, case):
        path, taken = self.put(case), False
        for dtype in (np.float64, np.float32):
            for state in (None, nested(dtype)):
                params = like(nested(dtype))
                running = None if state is None else like(state)
                try:
                    load_params(params, path, running)
                except DataError as error:
                    documented(error, path)
                    assert not params.flat.any() and (running is None or not running.flat.any())
                    continue
                taken = True
                same(store._both(params, running), stored(case))
                again = self.folder / "again"
                save_params(params, again, running)
                same(stored(again.read_bytes()), stored(case))
        assert path.read_bytes() == case
        return taken


class Checkpoints(Stored):
    """Moments of a training."""

    name = "checkpoint"
    traced = (checkpoint, store)
    seconds = 10.0  # a run may go on from one
    KINDS = ("PCG64", "MT19937")

    def options(self, patience):
        """Return what all runs share."""
        return {"batch": 5, "validation": HELD, "patience": patience, "progress": False}

    def seeds(self):
        made, path = [], self.folder / "seed"
        for kind in self.KINDS:
            for patience in (None, 9):
                for epochs in (1, 3):
                    hook = Hook("begins", 5 * epochs - 1, stop)
                    for model in (TOY, type(TOY)(hook=hook)):
                        rng = np.random.Generator(getattr(np.random, kind)(1))
                        rng.integers(3, dtype=np.uint32)  # half of a draw is left over
                        more = self.options(patience) | {"epochs": epochs, "checkpoint": path}
                        fit(model, START, DATA, Watched(Adam(0.01)), rng, **more)
                        made.append(path.read_bytes())
        return made

    def within(self, stack):
        self.runs = [(k, p, self.run(k, p)) for k in self.KINDS for p in (None, 9)]
        stack.enter_context(mock.patch.object(loop, "PAUSE", 0.0))
        stack.enter_context(np.errstate(all="ignore"))

    def remarked(self, rng, header):
        """Change what the file says of the moment, or of the run."""
        known = dict(header)
        remarks = known.get("__metadata__")
        if not isinstance(remarks, Members):
            return header
        key = rng.choice(("moment", "moment", "moment", "settings"))
        inner = mutation.read(str(dict(remarks).get(key)))
        if inner is None:
            return header
        more = [0, 1, 4, 5, 23, 624, 625, 2**32, 2**128, Raw("1e308"), Raw("0.1"), "PCG64"]
        text = mutation.written(mutation.json_changed(rng, inner, None, more))
        known["__metadata__"] = Members((dict(remarks) | {key: text}).items())
        return Members(known.items())

    def accepts(self, case):
        path, taken = self.put(case), False
        for i, (kind, patience, run) in enumerate(self.runs):
            before = pickle.dumps(run.rng.bit_generator.state)
            try:
                moment = run.read(path)
            except DataError as error:
                documented(error, path)
                assert pickle.dumps(run.rng.bit_generator.state) == before
                continue
            taken, run.moment = True, moment
            same(run.arrays(moment), stored(case))
            again = self.folder / "again"
            run.write(again)
            self.runs[i] = kind, patience, other = (kind, patience, self.run(kind, patience))
            assert repr(other.read(again)) == repr(moment)
            self.goes_on(path, run.rng, patience, len(moment.rows) + 1)
            self.runs[i] = kind, patience, self.run(kind, patience)
        assert path.read_bytes() == case
        return taken

    def run(self, kind, patience):
        """Return the memory of a training that has not begun."""
        rng = np.random.Generator(getattr(np.random, kind)(0))
        how = HELD, patience, None, None, None, None
        return loop._Run(TOY, START, DATA, Watched(Adam(0.01)), rng, 5, *how)

    def goes_on(self, path, rng, patience, epochs):
        """Train an epoch more from a file; numbers of any size may diverge, and nothing else."""
        more = self.options(patience) | {"epochs": epochs, "resume": path}
        try:
            found = fit(TOY, START, DATA, Watched(Adam(0.01)), rng, **more)
        except Diverged:
            return
        assert np.isfinite(found.params.flat).all() and found.why != "interrupted"


class Idx(Target):
    """Images, labels and other arrays, packed or not."""

    name = "idx"
    traced = (reader,)
    memory = 2**26

    def seeds(self):
        rng, plain = np.random.default_rng(1), []
        for dtype in ("uint8", "int8", "int16", "int32", "float32", "float64"):
            for shape in ((9,), (3, 4), (2, 3, 4), (1,) * 64):
                plain.append(idx(rng.integers(0, 9, shape).astype(dtype)))
        bomb = packed(announced(8, 100) + bytes(2**22))
        return [*plain, *map(packed, plain[::3]), bomb, packed(plain[0])[:-8] + packed(plain[1])]

    def changed(self, rng, case, other):
        """Change a file, or what is inside of it, its header in particular."""
        inner = case
        if case[:2] == reader.GZIP and rng.random() < 0.6:
            try:
                inner = gzip.decompress(case)[: mutation.MOST]
            except Exception:
                inner = case
        if rng.random() < 0.4:
            inner = self.headed(rng, inner)
        else:
            inner = mutation.bytes_changed(rng, inner, other, head=min(20, len(inner)))
        if inner is case and rng.random() < 0.9:
            return inner
        if rng.random() < 0.1:  # much behind little
            inner += bytes(rng.choice((LIMIT, 2**20, 2**22)))
        made = packed(inner)
        if rng.random() < 0.2:
            made = mutation.bytes_changed(rng, made, other)
        return rng.choice((made, made, inner))[: mutation.MOST]

    def headed(self, rng, inner):
        """Return numbers behind a header of their own or of somebody else's."""
        numbers = inner[rng.choice((8, 12, 16)) :]
        likely = (0, 1, 2, 3, 4, len(numbers), 2**16, 2**31, 2**32 - 1)
        sizes = rng.choices(likely, k=rng.choice((1, 1, 2, 3, 64)))
        if rng.random() < 0.5:
            sizes = [1] * (len(sizes) - 1) + [min(len(numbers), 2**32 - 1)]
        return announced(rng.choice((*reader.TYPES, 0x0A, 0)), *sizes) + numbers

    def accepts(self, case):
        path, expected = self.put(case), stated(case)
        good = self.put(announced(8, 2, 1, 1) + b"ab", "images")
        labels = self.put(announced(8, 2) + b"\1\2", "labels")
        try:
            found = reader.read_idx(path, max_bytes=LIMIT)
        except DataError as error:
            documented(error, path)
            if expected is not None:
                raise AssertionError("what is right was refused") from error
        else:
            assert expected is not None, f"what is wrong was taken: {found.dtype} {found.shape}"
            same({"x": found}, {"x": expected}) if found.dtype.kind in "iu" else None
            assert found.dtype == expected.dtype and found.dtype.isnative
            # by value: unpacked one by one, a signalling NaN becomes a quiet one
            assert np.array_equal(found, expected, equal_nan=found.dtype.kind == "f")
        for pair in ((path, labels), (good, path)):
            try:
                pixels, classes = reader.read_labelled(*pair, classes=3, max_bytes=LIMIT)
            except DataError as error:
                documented(error, self.folder)
                continue
            assert pixels.shape[0] == len(classes) == 2 and pixels.dtype == np.float32
            assert pixels.min() >= 0 and pixels.max() <= 1
            assert classes.min() >= 0 and classes.max() < 3
        assert path.read_bytes() == case
        return expected is not None
