"""The versions that are allowed: each requirement names the oldest, and the pins lie above it."""

import re

import pytest
from floors import floors, requirements
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from pages import ROOT

PINS = dict(line.split("==") for line in (ROOT / "constraints.txt").read_text("utf-8").splitlines())
PINS = {canonicalize_name(name): version for name, version in PINS.items()}


def test_every_requirement_has_a_floor_and_a_pin_that_it_allows():
    asked = [Requirement(one) for one in requirements()]
    assert len(floors(requirements())) == len(asked) > 20
    for one, floor in zip(asked, floors(requirements()), strict=True):
        assert floor.partition("==")[2] in one.specifier, floor
        assert PINS[canonicalize_name(one.name)] in one.specifier, one


@pytest.mark.parametrize("one", ["numpy", "numpy==2.0", "numpy<3", "numpy~=2.0", "numpy>2"])
def test_a_requirement_without_a_floor_is_named(one):
    with pytest.raises(ValueError, match=re.escape(one)):
        floors(["scipy>=1.14", one])


def test_the_floor_is_what_the_requirement_says():
    assert floors(["sphinx>=9,<10", "mini-racer>=0.14"]) == ["sphinx==9", "mini-racer==0.14"]


def test_the_public_workflow_runs_every_lane():
    """A lane is a target of make; what `contributing/tests.md` lists is run by somebody."""
    make = (ROOT / "Makefile").read_text("utf-8")
    flow = (ROOT / ".github" / "workflows" / "ci.yml").read_text("utf-8")
    targets = {*re.findall(r"lane: ([\w-]+)", flow), *re.findall(r"run: make ([\w-]+)", flow)}
    assert targets <= set(re.findall(r"^([\w-]+):", make, re.M))
    table = (ROOT / "contributing" / "tests.md").read_text("utf-8").split("\n\n")[1]
    lanes = set(re.findall(r"`make ([\w-]+)`", table))
    assert len(lanes) > 10 and lanes <= targets
