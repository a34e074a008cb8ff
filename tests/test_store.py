"""Files of weights and named views of a flat vector: what they refuse, and that nothing is lost."""

import json
import os
import stat
import struct
import subprocess
import sys
import time
from typing import NamedTuple

import numpy as np
import pytest
import safetensors.numpy

from dlbook import backprop
from dlbook.tools import files, store
from dlbook.tools.errors import DataError
from dlbook.tools.flat import like, named
from dlbook.tools.store import load, load_params, save, save_params


class Block(NamedTuple):
    w: np.ndarray
    gain: np.ndarray | None


class Nested(NamedTuple):
    flat: np.ndarray
    blocks: tuple
    head: np.ndarray
    tied: np.ndarray
    width: int


def nested(dtype=np.float64):
    """Return parameters with blocks, a gap (None), a transposed view and a tied weight."""
    flat = np.arange(1.0, 21.0, dtype=dtype)
    first = Block(flat[:6].reshape(2, 3), flat[6:8])
    second = Block(flat[8:14].reshape(3, 2).T, None)
    head = flat[14:].reshape(2, 3)
    return Nested(flat, (None, first, second), head, head, 3)


@pytest.fixture
def net(rng):
    """Return a small network."""
    return backprop.init((3, 4, 2), rng)


@pytest.fixture
def path(tmp_path):
    """Return the path of a file that is not there yet."""
    return tmp_path / "weights.safetensors"


# Named views


def test_names_follow_the_flat_vector(net):
    found = named(net)
    assert list(found) == ["w[2]", "b[2]", "w[3]", "b[3]"]
    np.testing.assert_array_equal(np.concatenate([x.ravel() for x in found.values()]), net.flat)
    assert list(named(nested())) == ["blocks[1].w", "blocks[1].gain", "blocks[2].w", "head"]


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_like_builds_the_same_views(dtype):
    mine = nested(dtype)
    flat = np.arange(100.0, 120.0, dtype=dtype)
    other = like(mine, flat)
    assert type(other) is Nested and other.flat is flat and other.width == 3
    assert other.blocks[0] is None and type(other.blocks[1]) is Block
    for name, x in named(other).items():
        before = named(mine)[name]
        assert (x.shape, x.dtype, x.strides) == (before.shape, dtype, before.strides)
        np.testing.assert_array_equal(x, before + 99)
        assert np.shares_memory(x, flat)
    other.tied[0, 0] = -1
    assert other.head[0, 0] == -1 and mine.head[0, 0] == 15


def test_like_makes_zeros(net):
    grads = like(net)
    assert type(grads) is backprop.Params and grads.w[0] is None and not grads.flat.any()
    grads.w[3][:] = 1
    assert grads.flat.sum() == 8 and net.flat[-1] == 0
    assert backprop.layer_sizes(grads) == (3, 4, 2)


def test_like_of_a_network_is_as_good_as_the_network(net, rng):
    """Kernels take the new views as they take the old ones."""
    x, y = rng.normal(size=(5, 3)), rng.integers(2, size=5)
    loss = backprop.loss_and_grad(net, None, (x, y), ours := like(net))
    twin = like(net, net.flat.copy())
    grads = backprop.as_params(np.zeros_like(net.flat), (3, 4, 2))
    assert backprop.loss_and_grad(twin, None, (x, y), grads) == loss
    np.testing.assert_array_equal(ours.flat, grads.flat)


@pytest.mark.parametrize(
    ("params", "words"),
    [
        (np.zeros(3), "params is ndarray, expected a NamedTuple with a flat array"),
        (Block(np.zeros(3), None), "params is Block"),
        (Nested([1.0], (), None, None, 1), "params is Nested"),
        (Nested(np.zeros((2, 2)), (), None, None, 1), "params.flat is not a contiguous vector"),
        (Nested(np.zeros(4)[::2], (), None, None, 1), "params.flat is not a contiguous vector"),
        (Nested(np.zeros(4, int), (), None, None, 1), "params.flat is not a contiguous vector"),
        (Nested(np.zeros(4), (), np.zeros(4), None, 1), "params.head is not a view of params.flat"),
        (Nested(np.zeros(4), (), None, None, 1), "flat holds 4 numbers, the arrays of params 0"),
    ],
)
def test_what_is_not_parameters(params, words):
    with pytest.raises(TypeError, match=words.replace("(", r"\(")):
        named(params)


def test_part_of_the_vector_without_a_name():
    flat = np.zeros(5)
    with pytest.raises(TypeError, match="flat holds 5 numbers, the arrays of params 4"):
        named(Nested(flat, (flat[:4],), None, None, 1))


def test_like_wants_the_same_vector(net):
    with pytest.raises(ValueError, match=r"flat has shape \(3,\), expected \(26,\)"):
        like(net, np.zeros(3))
    with pytest.raises(TypeError, match="contiguous vector of float64"):
        like(net, np.zeros(26, np.float32))


# What is saved comes back


def test_arrays_come_back_to_the_bit(path, rng):
    arrays = {
        "a": rng.normal(size=(3, 4)),
        "b": rng.normal(size=7).astype(np.float32),
        "c": rng.integers(-9, 9, size=(2, 1, 2)),
        "scalar": np.array(-0.0),
        "none": np.zeros((0, 3)),
        "σ[2]": rng.normal(size=(6, 6))[::2, ::3].T,
        "big-endian": np.array([1.0, 2.0], ">f8"),
    }
    save(path, arrays, {"note": "λ = 1", "seed": "3"})
    found, metadata = load(path, arrays)
    assert metadata == {"note": "λ = 1", "seed": "3"} and found.keys() == arrays.keys()
    for name, x in arrays.items():
        assert found[name].shape == x.shape and found[name].dtype == x.dtype.newbyteorder("=")
        assert found[name].tobytes() == x.astype(x.dtype.newbyteorder("=")).tobytes()
        found[name][...] = 0  # the reader may write to them


def test_other_tools_can_read_it(path, net):
    save_params(net, path)
    found = safetensors.numpy.load_file(path)
    assert sorted(found) == sorted(named(net))
    np.testing.assert_array_equal(found["w[3]"], net.w[3])


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_parameters_come_back_to_the_bit(path, dtype, rng):
    params, state = nested(dtype), backprop.init((2, 3), rng, dtype)
    save_params(params, path, state)
    blank, other = like(params), like(state)
    load_params(blank, path, other)
    assert blank.flat.tobytes() == params.flat.tobytes()
    assert other.flat.tobytes() == state.flat.tobytes()


def test_saving_replaces(path, net):
    save_params(net, path)
    net.flat[:] += 1
    save_params(net, path)
    load_params(blank := like(net), path)
    np.testing.assert_array_equal(blank.flat, net.flat)
    assert os.listdir(path.parent) == [path.name]


def test_a_link_keeps_pointing_to_the_file(path, net):
    link = path.with_name("latest.safetensors")
    link.symlink_to(path)
    save_params(net, link)
    assert link.is_symlink() and path.is_file()
    load_params(like(net), link)


def test_permissions_are_those_of_a_new_file(path, net):
    save_params(net, path)
    path.with_name("plain").write_bytes(b"")
    assert stat.S_IMODE(path.stat().st_mode) == stat.S_IMODE(path.with_name("plain").stat().st_mode)


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o666, 0o444])
def test_permissions_are_those_of_the_file_that_was_there(path, net, mode, monkeypatch):
    """Also of the part, while it is written: what nobody else may read is never open to all."""
    save_params(net, path)
    path.chmod(mode)
    seen, really = [], os.fsync

    def fsync(file):
        seen.append(stat.S_IMODE(os.fstat(file).st_mode))
        really(file)

    monkeypatch.setattr(files.os, "fsync", fsync)
    save_params(net, path)
    assert stat.S_IMODE(path.stat().st_mode) == seen[0] == mode


# What cannot be saved


@pytest.mark.parametrize(
    ("arrays", "metadata", "error", "words"),
    [
        ({"a": [1.0]}, None, TypeError, "a is list, expected an array"),
        ({"a": np.zeros(2, complex)}, None, TypeError, "a is complex128"),
        ({"a": np.zeros(2, np.float16)}, None, TypeError, "a is float16"),
        ({"a": np.array(["x"])}, None, TypeError, "a is <U1"),
        ({"": np.zeros(2)}, None, TypeError, "'' cannot be the name"),
        ({3: np.zeros(2)}, None, TypeError, "3 cannot be the name"),
        ({"__metadata__": np.zeros(2)}, None, TypeError, "cannot be the name of an array"),
        ({"a": np.ma.zeros(2)}, None, TypeError, "a is MaskedArray, expected an array"),
        ({"a": np.array([0, np.nan])}, None, DataError, r"a holds nan at index \(1,\)"),
        ({"a": np.array([[np.inf]])}, None, DataError, r"a holds inf at index \(0, 0\)"),
        ({"a": np.zeros(2)}, {"seed": 3}, TypeError, "metadata holds something"),
        ({"a": np.zeros(2)}, {3: "seed"}, TypeError, "metadata holds something"),
        ({"a": np.zeros(2)}, {"dlbook": "7"}, ValueError, "metadata has 'dlbook', a name that"),
        ({"a": np.zeros(2)}, {"crc32": "7"}, ValueError, "metadata has 'crc32', a name that"),
    ],
)
def test_refuses_to_save(path, arrays, metadata, error, words):
    save(path, {"old": np.ones(1)})
    before = path.read_bytes()
    with pytest.raises(error, match=words):
        save(path, arrays, metadata)
    assert path.read_bytes() == before and os.listdir(path.parent) == [path.name]


def test_no_folder(path, net):
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        save_params(net, path.parent / "not" / "there.safetensors")


@pytest.mark.parametrize(("path", "words"), [("", "it is empty"), ("a\0b", "holds a zero byte")])
def test_what_is_not_a_path(path, words, net):
    for use in (save_params, load_params):
        with pytest.raises(ValueError, match=words):
            use(net, path)
    for use in (save_params, load_params):
        with pytest.raises(TypeError, match="not int"):
            use(net, 3)


def test_what_is_not_a_file_is_not_replaced(tmp_path, net):
    folder, pipe = tmp_path / "folder", tmp_path / "pipe"
    folder.mkdir()
    os.mkfifo(pipe)
    for target, error in ((folder, IsADirectoryError), (pipe, OSError)):
        for use in (lambda path: save_params(net, path), files.try_out):
            with pytest.raises(error, match=r"is a folder|is not a file"):
                use(target)
    assert pipe.is_fifo() and sorted(tmp_path.iterdir()) == [folder, pipe]
    assert not list(folder.iterdir())


def test_trying_out_leaves_nothing_and_touches_nothing(path, net):
    files.try_out(path)
    assert not list(path.parent.iterdir())
    save_params(net, path)
    before = path.read_bytes(), path.stat().st_mtime_ns
    files.try_out(path)
    assert (path.read_bytes(), path.stat().st_mtime_ns) == before
    assert os.listdir(path.parent) == [path.name]


@pytest.mark.parametrize("where", ["write", "fsync", "replace"])
@pytest.mark.parametrize("error", [OSError("No space left on device"), KeyboardInterrupt()])
def test_interrupted_save_leaves_the_old_file(path, net, monkeypatch, where, error):
    """A full disk or Ctrl-C, while writing, before and at the replacement."""
    save_params(net, path)
    before = path.read_bytes()

    def fail(*_):
        raise error

    if where == "write":
        monkeypatch.setattr(files, "open", lambda *a: _Failing(*a, fail=fail), raising=False)
    else:
        monkeypatch.setattr(files.os, where, fail)
    net.flat[:] = 7
    with pytest.raises(type(error)):
        save_params(net, path)
    monkeypatch.undo()
    assert path.read_bytes() == before and os.listdir(path.parent) == [path.name]


class _Failing:
    """A file that takes half of what it is given."""

    def __init__(self, path, mode, fail):
        self.file, self.fail = open(path, mode), fail  # noqa: SIM115

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.file.close()

    def write(self, content):
        self.file.write(content[: len(content) // 2])
        self.fail()


def test_parts_left_behind(path, net):
    """What a killed process left is not in the way, and goes when it is old."""
    old, new = (path.with_name(f".{path.name}.{n:08x}.part") for n in (1, 2))
    other = path.with_name(".weights.other.part")
    for part in (old, new, other):
        part.write_bytes(b"half")
    for part in (old, other):
        os.utime(part, (time.time() - 7200,) * 2)
    save_params(net, path)
    assert sorted(os.listdir(path.parent)) == sorted([path.name, new.name, other.name])
    load_params(like(net), path)


KILLED = """
import os, random, signal, sys, time
import numpy as np
from dlbook.tools.store import load, save

assert not {"numba", "scipy", "matplotlib", "tqdm"} & set(sys.modules)
path, seed = sys.argv[1], int(sys.argv[2])
folder, random = os.path.dirname(path), random.Random(seed)
like = {"a": np.zeros((300, 300)), "b": np.zeros(100_000)}
save(path, like, {"n": "0"})
at = cut = whole = 0
for kill in range(50):
    child = os.fork()
    if child == 0:
        while True:
            at += 1
            save(path, {name: np.full_like(x, at) for name, x in like.items()}, {"n": str(at)})
    time.sleep(random.random() * 0.03)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    arrays, metadata = load(path, like)
    n = int(metadata["n"])
    assert all((x == n).all() for x in arrays.values()) and n >= at, (n, at)
    whole, at = whole + (n > at), n
    parts = [f for f in os.listdir(folder) if f.endswith(".part")]
    cut += bool(parts)
    for part in parts:
        os.unlink(os.path.join(folder, part))
print(cut, whole, at)
"""


def test_killed_while_saving(path):
    """Killed 50 times at random moments, the file is each time a whole one, the old or the new."""
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(path), "20260101"],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    cut, whole, _ = map(int, done.stdout.split())
    assert cut > 0  # some were killed in the midst of writing
    assert whole > 0  # and some had replaced the file before


# What cannot be loaded


def crafted(header, content=b"", size=None):
    """Return a file in the form of safetensors, or nearly."""
    header = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(header) if size is None else size) + header + content


def one(dtype, shape, size, **metadata):
    """Return a file with one array of zeros."""
    part = {"dtype": dtype, "shape": shape, "data_offsets": [0, size]}
    return crafted({"__metadata__": metadata, "a": part}, b"\0" * size)


OURS = {"dlbook": "1", "crc32": "00000000"}


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "damaged, cut short or not in safetensors form"),
        (b"abc", "not in safetensors form"),
        (b"\x93NUMPY\x01\x00" + b" " * 200, "not in safetensors form"),
        (b"PK\x03\x04" + b"\0" * 200, "not in safetensors form"),
        (b"\x80\x04\x95" + b"." * 100, "not in safetensors form"),
        (crafted(b"{}", size=2**63), r"(?i)header ?too ?large"),
        (crafted(b"{}", size=100_000_001), r"(?i)header ?too ?large"),
        (crafted(b"[" * 5000 + b"]" * 5000), "not in safetensors form"),
        (crafted(b'{"a":' * 5000 + b"1" + b"}" * 5000), "not in safetensors form"),
        (crafted(b"\xff\xfe{}"), "not in safetensors form"),
        (one("F64", [2**62, 4], 8, **OURS), "not in safetensors form"),
        (one("F64", [-1], 8, **OURS), "not in safetensors form"),
        (one("F64", [2], 16, **OURS)[:-1], "not in safetensors form"),
        (one("F64", [2], 16, **OURS) + b"\0", "not in safetensors form"),
        (crafted({}), "was not written by dlbook"),
        (one("F64", [2], 16), "was not written by dlbook"),
        (one("F64", [2], 16, format="pt"), "was not written by dlbook"),
        (one("F64", [2], 16, dlbook="2"), "dlbook is '2' in its metadata, expected '1'"),
        (crafted({"__metadata__": OURS}), "lacks 'a'"),
        (one("BF16", [2], 4, **OURS), "a has dtype BF16, expected float64"),
        (one("F8_E5M2", [2], 2, **OURS), "a has dtype F8_E5M2, expected float64"),
        (one("F32", [2], 8, **OURS), "a has dtype float32, expected float64"),
        (one("I64", [2], 16, **OURS), "a has dtype int64, expected float64"),
        (one("F64", [2, 1], 16, **OURS), r"a has shape \(2, 1\), expected \(2,\)"),
        (one("F64", [1], 8, **OURS), r"a has shape \(1,\), expected \(2,\)"),
        (one("F64", [2], 16, **OURS), "does not have the checksum|do not have the checksum"),
        (one("F64", [2], 16, dlbook="1"), "do not have the checksum"),
    ],
)
def test_refuses_a_foreign_file(path, content, words):
    path.write_bytes(content)
    with pytest.raises(DataError, match=words) as caught:
        load(path, {"a": np.zeros(2)})
    assert str(path) in str(caught.value)


def test_refuses_nan_that_was_written_on_purpose(path, monkeypatch):
    monkeypatch.setattr(store, "_finite", lambda *_: None)
    save(path, {"a": np.array([1.0, np.nan])})
    monkeypatch.undo()
    with pytest.raises(DataError, match=r"a holds nan at index \(1,\)"):
        load(path, {"a": np.zeros(2)})


def test_missing_and_surplus_names(path):
    save(path, {"w[2]": np.zeros(2), "w[3]": np.zeros(2)})
    with pytest.raises(DataError, match=r"lacks 'b\[2\]', 'b\[3\]', 'b\[4\]' and 1 more"):
        load(path, {name: np.zeros(2) for name in ("b[2]", "b[3]", "b[4]", "b[5]", "w[2]")})
    with pytest.raises(DataError, match=r"has, too, 'w\[3\]'$"):
        load(path, {"w[2]": np.zeros(2)})


def test_remarks_that_are_asked_for(path):
    save(path, {"a": np.zeros(2)}, {"kind": "weights"})
    assert load(path, {"a": np.zeros(2)}, {"kind": "weights"})[1] == {"kind": "weights"}
    with pytest.raises(DataError, match="kind is 'weights' in its metadata, expected 'checkpoint'"):
        load(path, {"a": np.zeros(2)}, {"kind": "checkpoint"})
    with pytest.raises(DataError, match="seed is missing in its metadata"):
        load(path, {"a": np.zeros(2)}, {"seed": "1"})


@pytest.mark.parametrize("which", ["folder", "device"])
def test_what_is_not_a_file(tmp_path, which):
    path = tmp_path if which == "folder" else os.devnull
    with pytest.raises(DataError, match="is not a file"):
        load(path, {})


def test_no_file(path, net):
    with pytest.raises(FileNotFoundError):
        load_params(net, path)


@pytest.mark.parametrize(
    ("other", "words"),
    [
        ((3, 5, 2), r"w\[2\] has shape \(5, 3\), expected \(4, 3\)"),
        ((3, 4, 2, 2), r"has, too, 'b\[4\]', 'w\[4\]'"),
        ((3, 2), r"lacks 'b\[3\]', 'w\[3\]'"),
    ],
)
def test_refused_weights_leave_the_model_alone(path, net, rng, other, words):
    before = net.flat.copy()
    save_params(backprop.init(other, rng), path)
    with pytest.raises(DataError, match=words):
        load_params(net, path)
    np.testing.assert_array_equal(net.flat, before)


def test_weights_of_another_precision_or_with_running_statistics(path, net, rng):
    before = net.flat.copy()
    save_params(backprop.init((3, 4, 2), rng, np.float32), path)
    with pytest.raises(DataError, match=r"w\[2\] has dtype float32, expected float64"):
        load_params(net, path)
    save_params(net, path, backprop.init((1, 1), rng))
    with pytest.raises(DataError, match=r"has, too, 'state\.b\[2\]', 'state\.w\[2\]'"):
        load_params(net, path)
    np.testing.assert_array_equal(net.flat, before)


def mutated(content, rng):
    """Return a file with one thing wrong, half of the time in its header."""
    header = 8 + struct.unpack("<Q", content[:8])[0]
    at = int(rng.integers(header if rng.random() < 0.5 else len(content)))
    many = int(rng.integers(1, 9))
    kind = rng.integers(6)
    if kind == 0:  # a bit flips
        return content[:at] + bytes([content[at] ^ 1 << rng.integers(8)]) + content[at + 1 :]
    if kind == 1:  # bytes change
        return content[:at] + rng.bytes(many) + content[at + many :]
    if kind == 2:  # cut short
        return content[:at]
    if kind == 3:  # bytes lost
        return content[:at] + content[at + many :]
    if kind == 4:  # bytes inserted
        return content[:at] + rng.bytes(many) + content[at:]
    start = int(rng.integers(len(content)))  # a piece stands elsewhere, too
    piece = content[start : start + many]
    return content[:at] + piece + content[at + len(piece) :]


def test_damaged_files_are_refused_or_harmless(path, rng):
    """Of 10,000 damaged files none loads as anything but what was saved."""
    arrays = {"w": rng.normal(size=(3, 2)), "b": rng.normal(size=2).astype(np.float32)}
    save(path, arrays, {"kind": "weights", "note": "one"})
    content, refused = path.read_bytes(), 0
    for _ in range(10_000):
        path.write_bytes(mutated(content, rng))
        try:
            found, metadata = load(path, arrays, {"kind": "weights"})
        except DataError:
            refused += 1
            continue
        assert metadata == {"kind": "weights", "note": "one"}
        for name, x in arrays.items():
            assert found[name].dtype == x.dtype and found[name].tobytes() == x.tobytes()
    assert refused > 9_000
