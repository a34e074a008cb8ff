"""A reader's place on the site, in a real browser: far sections wait, and nothing moves."""

import functools
import json
import subprocess
from pathlib import Path

import pytest
from test_site import SITE, node

CHAPTER = "backprop.html"
PAGES = ("index.html", "equations.html", CHAPTER)  # those that moved most while they were loaded
WIDTHS = (1280, 390)


@functools.cache
def places():
    """Return what the browser saw."""
    out = SITE.parent / "places.json"
    out.unlink(missing_ok=True)
    command = [node(), Path(__file__).with_name("places.mjs"), SITE, CHAPTER, ",".join(PAGES), out]
    done = subprocess.run(command, capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(out.read_text(encoding="utf-8"))


each_width = pytest.mark.parametrize("width", WIDTHS)


@each_width
@pytest.mark.parametrize("page", PAGES)
def test_nothing_moves_while_a_page_is_loaded(page, width):
    assert places()["shifts"][f"{page} {width}"] < 0.05


def test_far_sections_wait():
    """Else nothing below says anything of pages that are laid out in parts."""
    assert all(0 < some < every for some, every in places()["waiting"].values())


@each_width
def test_fragments_are_reached(width):
    """A section and an equation deep in a page stand where they belong, loaded, linked or come back to."""
    found = {key: at for key, at in places()["fragments"].items() if key.endswith(f" {width}")}
    assert len(found) == 2
    for key, at in found.items():
        assert all(abs(off) <= 2 for off in at.values()), (key, at)


@each_width
def test_the_way_up_is_steady(width):
    """What comes near from above pushes nothing that is seen."""
    assert places()["upwards"][str(width)] <= 3


@each_width
def test_stories_hang_out_of_sections(width):
    """A story at the end of a section is neither cut nor covered by the next."""
    stories = places()["stories"][str(width)]
    assert len(stories) > 3
    assert all(story["hangs"] and story["whole"] for story in stories)
