"""A slider in a notebook, in a real browser: it moves, or a line says that it does not."""

import json
import os
import subprocess
from pathlib import Path

import pytest
from test_site import node

from dlbook.tools import plotting


@pytest.fixture
def seen(tmp_path):
    """Return a function that shows three frames, with scripts or without, and moves the slider."""
    frame = '<svg style="width:20px" viewBox="0 0 2 2"><circle cx="1" cy="1" r="1"/></svg>'
    rows = [{"label": f"<{k}>", "svg": frame, "alt": f"frame {k}"} for k in range(3)]
    record = {"frames": rows, "start": 1, "variable": "units", "caption": "c", "name": None}
    page = tmp_path / "page.html"
    page.write_text(f"<!doctype html><meta charset=utf-8>{plotting._html(record)}", "utf-8")

    def show(scripts):
        command = [node(), Path(__file__).with_name("slider.mjs"), page, scripts]
        done = subprocess.run(command, capture_output=True, text=True, env=os.environ, timeout=120)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return show


def test_it_moves(seen):
    before, after = seen("yes")
    assert before["slider"] and "run this cell" not in before["text"]
    assert before["visible"] == ["frame 1"] and "<1>" in before["text"]
    assert after["visible"] == ["frame 2"] and "<2>" in after["text"]


def test_it_says_that_it_does_not_move(seen):
    before, after = seen("no")
    assert before == after and not before["slider"]
    assert before["visible"] == ["frame 1"]
    assert "units: <1>. One of 3 pictures; run this cell to move through them" in before["text"]
