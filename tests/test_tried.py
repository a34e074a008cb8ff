"""What rounds of the registry tried is added up once, and only where all of it held."""

import subprocess
import sys

import pytest
import registry
import tried


@pytest.fixture
def room(tmp_path, monkeypatch):
    """Return an empty place for a round."""
    monkeypatch.setattr(tried, "ROOM", tmp_path / "tried")
    monkeypatch.setenv("DLBOOK_ROUND", "1")
    return tmp_path / "tried"


def test_a_round_is_added_once(room, tmp_path):
    path = tmp_path / "tried.json"
    tried.note("dense.dense", "float32", 14)
    tried.note("dense.dense", "float64", 14)
    (room / "another.txt").write_text("dense.dense float32 6\n", encoding="utf-8")
    assert tried.add(path, room) == (34, 34)
    assert tried.read(path)["shapes"] == {"dense.dense float32": 20, "dense.dense float64": 14}
    with pytest.raises(FileNotFoundError, match="make registry"):
        tried.add(path, room)
    tried.note("norms.norm", "float32", 2)
    assert tried.add(path, room) == (2, 36)
    assert tried.read(path)["rounds"] == 2
    assert [*tried.read(path)["shapes"].values()] == [20, 14, 2]


def test_outside_of_a_round_nothing_is_kept(room, monkeypatch):
    monkeypatch.delenv("DLBOOK_ROUND")
    tried.note("dense.dense", "float32", 14)
    assert not room.exists()


def test_each_round_draws_other_shapes(monkeypatch):
    """The first ones, the smallest, are those of every round."""
    registry.load()
    name = next(name for name, row in registry.ROWS.items() if len(row.sizes) > 2)
    usual = list(registry.sizes_of(name, 30))
    assert usual == list(registry.sizes_of(name, 30))
    monkeypatch.setattr(registry, "ROUND", [2])
    other = list(registry.sizes_of(name, 30))
    assert other[:2] == usual[:2] and other != usual


def test_another_word_is_refused():
    command = [sys.executable, tried.__file__, "begin"]
    run = subprocess.run(command, capture_output=True, text=True)
    assert run.returncode == 1 and "next|add|show" in run.stderr
