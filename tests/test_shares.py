"""A lane in parts: together they are the whole, and none of them is empty or twice there."""

import re

import pytest
from pages import ROOT
from shares import chosen, share

NAMES = [f"tests/test_{name}.py::test_{n}" for name in ("a", "b", "c") for n in range(200)]


@pytest.mark.parametrize("parts", [1, 2, 3, 7])
def test_every_name_is_in_one_part(parts):
    found = [chosen(NAMES, f"{part}/{parts}") for part in range(parts)]
    assert sorted(name for some in found for name in some) == sorted(NAMES)
    assert all(len(some) > len(NAMES) / parts / 2 for some in found)


def test_without_a_share_it_is_the_whole():
    assert chosen(NAMES, None) == chosen(NAMES, "") == NAMES


@pytest.mark.parametrize("text", ["3/3", "1", "a/b", "1/0", "-1/3", "1/3 "])
def test_what_is_no_share_is_refused(text):
    with pytest.raises(ValueError, match="a share is written like 0/3"):
        share(text)


def test_each_change_runs_a_part_that_exists():
    """What a change must pass runs long lanes in parts, which its own name chooses."""
    text = (ROOT / ".ci" / "run").read_text("utf-8")
    parts = re.findall(r"^(DLBOOK_\w+)=\$\(\(turn % (\d+)\)\)/(\d+) make ([\w-]+)$", text, re.M)
    assert [(name, lane) for name, _, _, lane in parts] == [
        ("DLBOOK_SHARE", "test-modes"),
        ("DLBOOK_PAGES", "test-site"),
    ]
    assert all(modulus == whole for _, modulus, whole, _ in parts)
