"""Each small row of the benchmark is set up and agrees, as before it is timed; compiled rivals wait for `make bench`."""

import sys

import numpy as np
import pytest
import torch
from pages import ROOT

sys.path.insert(0, str(ROOT))
from benchmarks import run
from benchmarks.row import PEAK, all_rows, chosen, library

SMALL = 2e8  # operations, or bytes, of one call
ROWS = [r for _, r in chosen(all_rows(), "") if r.kind == "time" and r.work <= SMALL]


@pytest.fixture
def own_process():
    """Sides set what holds for a whole process; the other tests keep theirs."""
    torch.set_default_dtype(torch.float32)
    with torch.enable_grad(), np.errstate():
        yield
    torch.set_default_dtype(torch.float64)


def test_most_rows_are_small():
    assert len(ROWS) > 30


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
@pytest.mark.usefixtures("own_process")
def test_sides_agree(row):
    names = [side for side in row.sides if library(side) not in (PEAK, "jax")]
    names = [side for side in names if "compile" not in side]
    here = run.Bench(row, least=0)
    sides = run.checked(row, names, lambda side: here)
    assert {side: record["status"] for side, record in sides.items()} == dict.fromkeys(names, "ok")
