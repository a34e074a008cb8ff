"""IDX files: what is written comes back, and 10,000 damaged ones are refused or read exactly."""

import gzip
import itertools
import math
import os
import re
import struct
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from compiled import compiled_only

from dlbook.tools import data
from dlbook.tools.errors import DataError
from dlbook.tools.idx import Examples, read_idx, read_labelled

PAGE = Path(__file__).resolve().parents[1] / "book" / "data.md"
CODES = {
    "uint8": 0x08,
    "int8": 0x09,
    "int16": 0x0B,
    "int32": 0x0C,
    "float32": 0x0D,
    "float64": 0x0E,
}
LETTERS = {0x08: "B", 0x09: "b", 0x0B: "h", 0x0C: "i", 0x0D: "f", 0x0E: "d"}
LIMIT = 10_000  # bytes of numbers in a damaged file


def idx(x):
    """Return the bytes of an array as an IDX file."""
    header = bytes([0, 0, CODES[x.dtype.name], x.ndim]) + struct.pack(f">{x.ndim}I", *x.shape)
    return header + x.astype(x.dtype.newbyteorder(">")).tobytes()


def announced(code, *sizes):
    """Return a header."""
    return bytes([0, 0, code, len(sizes)]) + struct.pack(f">{len(sizes)}I", *sizes)


def packed(content):
    """Return bytes as gzip packs them, the same at any time."""
    return gzip.compress(content, mtime=0)


def stated(content):
    """Return the array that some bytes state, read number by number, or None."""
    if content[:2] == b"\x1f\x8b":
        try:
            content = gzip.decompress(content)
        except Exception:
            return None
    dimensions = content[3] if len(content) > 3 else 0
    start = 4 + 4 * dimensions
    sizes = [int.from_bytes(content[i : i + 4], "big") for i in range(4, start, 4)]
    if content[:2] != b"\0\0" or not 1 <= dimensions <= 64 or content[2] not in LETTERS:
        return None
    form = f">{math.prod(sizes)}{LETTERS[content[2]]}"
    if len(content) < start or not 0 < math.prod(sizes) <= LIMIT:
        return None
    if not struct.calcsize(form) == len(content) - start <= LIMIT:
        return None
    kind = {code: name for name, code in CODES.items()}[content[2]]
    return np.array(struct.unpack(form, content[start:]), kind).reshape(sizes)


@pytest.fixture
def put(tmp_path):
    """Return a function that writes bytes, or an array, to a new file and returns its path."""

    def write(content, name="file"):
        path = tmp_path / name
        path.write_bytes(idx(content) if isinstance(content, np.ndarray) else content)
        return path

    return write


@pytest.fixture
def peak():
    """Return a function that returns what another one gives or raises, and the memory it took."""

    def measured(call):
        before = tracemalloc.get_traced_memory()[0]
        tracemalloc.reset_peak()
        try:
            result = call()
        except DataError as error:
            result = error
        return result, tracemalloc.get_traced_memory()[1] - before

    tracemalloc.start()
    yield measured
    tracemalloc.stop()


@pytest.mark.parametrize("pack", [bytes, packed], ids=["plain", "gzip"])
@pytest.mark.parametrize("dtype", CODES)
def test_arrays_come_back_to_the_bit(put, rng, dtype, pack):
    for shape in ((7,), (3, 4), (2, 3, 4), (1, 1, 1, 5), (1,) * 64):
        x = rng.integers(0, 256, (math.prod(shape), np.dtype(dtype).itemsize), np.uint8)
        x = x.view(dtype).reshape(shape)
        found = read_idx(put(pack(idx(x))))
        assert (found.shape, found.dtype) == (shape, np.dtype(dtype)) and found.dtype.isnative
        assert found.tobytes() == x.tobytes()
        assert found.flags.c_contiguous and found.flags.writeable and found.flags.aligned


def test_the_header_of_mnist(put):
    """As its page prints it: 0x00000803, 60,000 images of 28 × 28 in the training files."""
    content = (
        bytes.fromhex("00000803 00000002 0000001c 0000001c") + bytes(range(256)) * 6 + b"\7" * 32
    )
    found = read_idx(put(content))
    assert found.shape == (2, 28, 28) and found.dtype == np.uint8
    assert found[0, 0, :3].tolist() == [0, 1, 2] and found[1, 27, 27] == 7


def test_members_of_gzip_are_read_one_after_the_other(put):
    content = idx(x := np.arange(100, dtype=np.int16))
    for cuts in ([0, 50, len(content)], [0, 3, 3, 5, len(content)]):
        parts = (packed(content[a:b]) for a, b in itertools.pairwise(cuts))
        np.testing.assert_array_equal(read_idx(put(b"".join(parts))), x)
    np.testing.assert_array_equal(read_idx(put(packed(content) + bytes(512))), x)  # of a tape


GOOD = idx(np.arange(24, dtype=np.uint8).reshape(2, 3, 4))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty, expected an IDX file"),
        (b"\x89PNG\r\n", "begins with the bytes 89 50, expected 00 00"),
        (b"\x1f", "begins with the bytes 1f, expected 00 00"),
        (b"\0\0\x08", "ends after 3 bytes, expected a header of 8 at least"),
        (b"\0\0\x0a\1\0\0\0\1x", r"has the type 0x0A, expected one of 0x08 \(uint8\), "),
        (b"\0\0\x08\0x", "has 0 dimensions, expected 1 to 64"),
        (b"\0\0\x08\x41" + b"\0\0\0\1" * 65 + b"x", "has 65 dimensions, expected 1 to 64"),
        (GOOD[:9], "ends after 9 bytes, expected a header of 16 for 3 dimensions"),
        (announced(8, 5, 0), r"announces 0 bytes: uint8 of shape \(5, 0\), expected one number"),
        (announced(14, 2**31, 2**31), "announces 36,893,488,147,419,103,232 bytes: float64"),
        (announced(8, 2**30 + 1), r"announces .*, expected at most 1,073,741,824 \(max_bytes\)"),
        (
            GOOD[:-1],
            r"has 23 bytes after its header, expected 24 bytes: uint8 of shape \(2, 3, 4\)",
        ),
        (GOOD + b"x", "has 25 bytes after its header, expected 24 bytes"),
        (packed(GOOD[:-1]), "has 23 bytes after its header, expected 24 bytes"),
        (packed(GOOD + b"x"), "has more than 24 bytes after its header, expected 24 bytes"),
        (packed(announced(8, 10**6)), "has 28 bytes of gzip, expected 1,000,000 bytes: uint8"),
        (packed(b""), "is empty"),
        (packed(GOOD)[:-9], "is cut short or damaged, expected gzip: Compressed file ended"),
        (packed(GOOD)[:-5] + b"abcde", "is cut short or damaged, expected gzip: CRC check failed"),
        (packed(GOOD) + b"abc", "is cut short or damaged, expected gzip: Not a gzipped file"),
        (packed(GOOD)[:10] + b"\xff" * 9, "is cut short or damaged, expected gzip: Error -3"),
    ],
)
def test_what_is_wrong_is_said_in_a_sentence(put, content, words):
    path = put(content)
    with pytest.raises(DataError, match=f"^{re.escape(str(path))} {words}") as caught:
        read_idx(path)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < len(str(path)) + 200


def damaged(rng):
    """Yield files with one thing wrong, or several, among them some that only look so."""
    good = [
        idx(rng.integers(0, 100, shape).astype(dtype))
        for dtype in CODES
        for shape in ((9,), (3, 4), (2, 3, 4))
    ]
    kinds = [*good, *map(packed, good)]
    for i in range(16):  # every value of every byte of a header
        for value in range(256):
            yield good[2][:i] + bytes([value]) + good[2][i + 1 :]
    for content in kinds:
        for i in range(len(content)):  # cut at every place
            yield content[:i]
        yield from (content + more for more in (b"\0", b"x", content))
    for content in kinds[18:21]:  # every bit of a packed file
        for i in range(8 * len(content)):
            at = i // 8
            yield content[:at] + bytes([content[at] ^ 1 << i % 8]) + content[at + 1 :]
    for _ in range(3000):
        content = bytearray(kinds[rng.integers(len(kinds))])
        for _ in range(rng.integers(1, 4)):
            content[rng.integers(len(content))] = rng.integers(256)
        a, b = sorted(rng.integers(0, len(content), 2))
        again = rng.random() < 0.5  # a piece stands twice
        yield bytes(content[:b] + content[a:] if again else content)


def test_ten_thousand_damaged_files(tmp_path, rng, peak):
    """Each is refused by `DataError` or gives the array that its bytes state, within the limit."""
    path, tried, read, most = tmp_path / "file", 0, 0, 0
    for content in damaged(rng):
        path.unlink(missing_ok=True)  # some systems flush a file that is written anew
        path.write_bytes(content)
        found, memory = peak(lambda: read_idx(path, max_bytes=LIMIT))
        expected = stated(content)
        if expected is None:
            assert isinstance(found, DataError), content.hex()
        else:
            assert isinstance(found, np.ndarray), (found, content.hex())
            assert (found.shape, found.dtype) == (expected.shape, expected.dtype)
            assert found.tobytes() == expected.tobytes()
        tried, read, most = tried + 1, read + (expected is not None), max(most, memory)
    assert tried >= 10_000 and read >= 100
    assert most < 500_000  # most of it are the buffers of gzip


ZEROS = 2**26  # 67 MB, which gzip packs into 65 kB


@pytest.mark.parametrize(
    ("content", "words", "memory"),
    [
        (packed(announced(8, 100) + bytes(ZEROS)), "more than 100 bytes", 500_000),
        (packed(announced(8, ZEROS + 1) + bytes(ZEROS)), "has 67,108,864 bytes", ZEROS + 1e6),
        (packed(announced(8, 2**31) + bytes(ZEROS)), "at most 1,073,741,824", 500_000),
        (packed(announced(8, 2**29) + bytes(1000)), "bytes of gzip", 500_000),
        (announced(14, 2**26), "has 0 bytes", 500_000),
        (packed(b"") * 10_000, "is empty", 500_000),
    ],
    ids=["bomb", "short bomb", "beyond the limit", "too short to hold it", "plain", "members"],
)
def test_nothing_is_expanded_beyond_what_is_announced(put, peak, content, words, memory):
    path = put(content)
    found, used = peak(lambda: read_idx(path))
    assert isinstance(found, DataError) and words in str(found)
    assert used < memory


@pytest.mark.parametrize("pack", [bytes, packed], ids=["plain", "gzip"])
def test_memory_beside_the_array(put, peak, pack):
    path = put(pack(announced(0x0C, 2**22) + bytes(2**24)))
    found, used = peak(lambda: read_idx(path))
    assert found.nbytes == 2**24 and used < 2**24 + 1e6


def test_the_limit_is_the_callers(put):
    path = put(np.zeros(1000))
    assert read_idx(path, max_bytes=8000).shape == (1000,)
    with pytest.raises(
        DataError, match=r"announces 8,000 bytes.* expected at most 7,999 \(max_bytes\)"
    ):
        read_idx(path, max_bytes=7999)
    for most, error in ((0, ValueError), (-1, ValueError), (1e9, TypeError), (None, TypeError)):
        with pytest.raises(error, match="max_bytes is"):
            read_idx(path, max_bytes=most)


# Paths


def test_paths_are_strings_or_path_like(put):
    path = put(np.arange(3, dtype=np.uint8))
    for same in (path, str(path)):
        assert read_idx(same).tolist() == [0, 1, 2]
    link = path.with_name("link")
    link.symlink_to(path)
    assert read_idx(link).tolist() == [0, 1, 2]


@pytest.mark.parametrize("path", [0, 3.5, None, b"file", ["file"], np.zeros(3)])
def test_what_is_no_path(path):
    """A number would be a file that is open already, 0 what is typed."""
    with pytest.raises(TypeError, match=r"path is .*, expected the path of a file"):
        read_idx(path)


def test_what_is_no_file(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    for path, words in (
        (tmp_path, "is a folder, expected a file"),
        (tmp_path / "pipe", "is a pipe or a device, expected a file"),
        ("/dev/zero", "is a pipe or a device"),
        ("a\0b", "path is 'a.*b', expected the path of a file"),
    ):
        with pytest.raises(DataError, match=words):
            read_idx(path)
    for path in (tmp_path / "none", tmp_path / "none" / "file", "", tmp_path / "loop", "x" * 300):
        with pytest.raises(OSError, match=r"\[Errno"):
            read_idx(path)


def test_a_file_that_may_not_be_read(put):
    path = put(np.arange(3, dtype=np.uint8))
    path.chmod(0)
    user = os.geteuid()
    try:
        if user == 0:  # who may read everything
            os.seteuid(65534)
        with pytest.raises(PermissionError):
            read_idx(path)
    finally:
        os.seteuid(user)


def test_a_file_that_never_ends_is_not_read(put):
    """A sparse file of 50 GB behind a good header."""
    path = put(GOOD)
    os.truncate(path, 50 * 10**9)
    with pytest.raises(DataError, match="has 49,999,999,984 bytes after its header, expected 24"):
        read_idx(path)


# Images and their labels


def pair(rng, n=40, side=28, classes=10):
    """Return bright squares, whose place tells their class, with some noise, and the classes."""
    y = np.arange(n) % classes
    x = rng.integers(0, 60, (n, side, side), np.uint8)
    for image, k in zip(x, y, strict=True):
        row, column = divmod(int(k), 5)
        image[row * 12 : row * 12 + 8, column * 5 : column * 5 + 5] = 255
    return x, y.astype(np.uint8)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_images_are_scaled_as_digits_are(put, rng, dtype):
    x, y = pair(rng)
    found = read_labelled(put(x, "x"), put(y, "y"), dtype=dtype)
    assert type(found) is Examples and found.x.dtype == dtype and found.y.dtype == np.int64
    np.testing.assert_array_equal(found.x, (x.reshape(40, 784) / 255).astype(dtype))
    np.testing.assert_array_equal(found.y, y)
    digits = data.digits(dtype)
    assert (found.x.min() < 0.01, found.x.max()) == (True, digits.x_train.max())
    assert found.x.ndim == digits.x_train.ndim and found.y.dtype == digits.y_train.dtype


@pytest.mark.parametrize(
    ("x", "y", "words"),
    [
        (np.zeros((3, 2, 2), np.uint8), [0, 1], "x holds 3 images and .*y 2 labels"),
        (
            np.zeros((2, 2, 2), np.uint8),
            [0, 10],
            r"y holds the label 10 at index 1, expected 0 … 9",
        ),
        (np.zeros((2, 2, 2), np.uint8), [0, -1], "y holds the label -1 at index 1"),
        (np.zeros((2, 2, 2), np.float32), [0, 1], "x holds float32 of shape .*expected images"),
        (np.zeros((2, 4), np.uint8), [0, 1], r"x holds uint8 of shape \(2, 4\), expected images"),
        (
            np.zeros((2, 2, 2), np.uint8),
            [[0, 1]],
            r"y holds int32 of shape \(1, 2\), expected labels",
        ),
        (np.zeros((2, 2, 2), np.uint8), [0.0, 1.0], "y holds float32 of shape"),
    ],
)
def test_images_and_labels_belong_together(put, x, y, words):
    y = np.array(y)
    y = y.astype(np.float32 if y.dtype.kind == "f" else np.int32)
    with pytest.raises(DataError, match=words):
        read_labelled(put(x, "x"), put(y, "y"))


def test_files_in_the_wrong_order_are_noticed(put, rng):
    x, y = (put(part, name) for part, name in zip(pair(rng), "xy", strict=True))
    with pytest.raises(DataError, match=r"x holds uint8 of shape \(40, 28, 28\), expected labels"):
        read_labelled(y, x)


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"classes": 0}, ValueError, "classes is 0"),
        ({"classes": 2.0}, TypeError, "classes is 2.0"),
        ({"dtype": int}, TypeError, "dtype is <class 'int'>, expected float64 or float32"),
        ({"dtype": None}, TypeError, "dtype is None"),
        ({"dtype": ">f8"}, TypeError, "dtype is '>f8'"),
        ({"max_bytes": -1}, ValueError, "max_bytes is -1"),
        ({"images": 3, "labels": 3}, TypeError, "labels is 3, expected the path of a file"),
    ],
)
def test_arguments_are_checked_before_a_file_is_opened(options, error, words):
    with pytest.raises(error, match=words):
        read_labelled(**{"images": "none", "labels": "none", **options})


@compiled_only
def test_the_lines_of_the_page(tmp_path, rng, monkeypatch, capsys):
    """From four files to a trained network, as the page shows it."""
    lines = re.search(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.S)[1]
    for name, n in (("train", 200), ("t10k", 50)):
        x, y = pair(rng, n)
        (tmp_path / f"{name}-images-idx3-ubyte.gz").write_bytes(packed(idx(x)))
        (tmp_path / f"{name}-labels-idx1-ubyte.gz").write_bytes(packed(idx(y)))
    monkeypatch.chdir(tmp_path)
    exec(compile(lines, PAGE.name, "exec"), {})
    assert float(capsys.readouterr().out) > 0.9
    rows = [line for line in lines.splitlines() if line and "import" not in line]
    assert len(rows) <= 7 and all(len(line) <= 88 for line in lines.splitlines())
