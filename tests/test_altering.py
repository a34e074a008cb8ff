"""Altered versions: what is altered and what is left alone; how cases judge them."""

import contextlib
import json
import os
import pickle
import re
import sys

import numpy as np
import pytest

from dlbook import backprop, verification
from dlbook.tools import altering, cases, checks, trials

SAMPLE = '''
import os

import numpy as np

from dlbook.tools import shapes


def weighted(x, w):
    """(sample-weighted)  y = Σ_k w_k x_k"""
    total = 0 * x[0]
    for k in range(len(x)):
        total += w[k] * x[k]
    return total


def first_largest(x):
    """(sample-first)  the first k with the largest x_k"""
    best = 0
    for k in range(1, len(x)):
        if x[k] > x[best]:
            best = k
    return best


def halved(n):
    """(sample-halved)  how often n can be halved"""
    count = 0
    while n > 1:
        n = n // 2
        count += 1
    return count


def careful(x, rate=0.1):
    """(sample-careful)  y = rate x"""
    shapes.number("rate", rate, above=0)
    if rate > 1:
        raise ValueError("rate is above 1")
    return rate * x


def leaves(n):
    """(sample-leaves)  ends the process where n is odd"""
    if n % 2:
        os._exit(7)
    return n


def helped(x):
    """(sample-helped)  y = 3 x"""
    return thrice(x)


def thrice(x):
    return 3 * x
'''


@pytest.fixture
def sample(tmp_path, monkeypatch):
    """A module outside the package, for this process and for the child."""
    (tmp_path / "sample.py").write_text(SAMPLE, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    sys.modules.pop("sample", None)
    import sample

    yield sample
    sys.modules.pop("sample", None)


def versions(function):
    return {(v.kind, v.was, v.now) for v in altering.versions(function)}


def case(kernel, *args, expected, **options):
    options = {"rtol": 1e-12, "relation": "=="} | options
    given = {"label": "a-b", "kernel": kernel, "args": args, "expected": expected, "by": "hand"}
    return cases.packed(given | {"options": options})


def tried(module, function, *some, where=None):
    """Return the rows of all versions of a function."""
    job = trials.Job("a-b", module.__name__, function, list(some), where or {})
    return [row for row in trials.tried([job]) if row["kind"] != "cases"]


def outcome(rows, now):
    return next((row["outcome"], row["seen"]) for row in rows if row.get("now") == now)


def test_slips_are_made_one_at_a_time(sample):
    made = versions(sample.weighted)
    line = "total += w[k] * x[k]"
    assert ("overwritten", line, "total = w[k] * x[k]") in made
    assert ("another operator", line, "total -= w[k] * x[k]") in made
    assert ("another operator", line, "total += w[k] / x[k]") in made
    assert ("left operand only", line, "total += w[k]") in made
    assert ("first left out", "for k in range(len(x)):", "for k in range(1, len(x)):") in made
    assert ("parameters exchanged", "def weighted(x, w):", "def weighted(w, x):") in made
    assert ("result negated", "return total", "return -total") in made


def test_what_is_no_mathematics_is_left_alone(sample):
    """The zero of 0 * x is made another number, its x is not taken alone; checks and defaults stay."""
    assert not any(now == "total = x[0]" for _, _, now in versions(sample.weighted))
    touched = {was for _, was, _ in versions(sample.careful)}
    assert touched == {"return rate * x"}


def test_a_line_is_told_as_its_file_has_it(sample):
    lines = SAMPLE.splitlines()
    for function in (sample.weighted, sample.first_largest):
        for version in altering.versions(function):
            if version.kind != "parameters exchanged":
                assert version.was.split("\n")[0] in lines[version.line - 1]


def test_functions_and_their_helpers_are_altered(sample):
    assert trials.functions_of("sample-helped", sample) == ["helped", "thrice"]
    assert trials.functions_of("sample-careful", sample) == ["careful"]


def test_cases_without_ties_do_not_see_which_maximum_is_taken(sample):
    apart = case(sample.first_largest, np.array([1.0, 3.0, 2.0]), expected=1)
    ties = case(sample.first_largest, np.array([1.0, 3.0, 3.0]), expected=1)
    last = "if x[k] >= x[best]:"
    verdict, seen = outcome(tried(sample, "first_largest", apart), last)
    assert verdict == "survives" and "too weak" in seen
    assert outcome(tried(sample, "first_largest", apart, ties), last)[0] == "rejected"


def test_the_same_function_is_told_from_weak_cases(sample):
    one = case(sample.weighted, np.array([1.0, 2.0]), np.array([3.0, 5.0]), expected=13.0)
    verdict, seen = outcome(tried(sample, "weighted", one), "def weighted(w, x):")
    assert (verdict, seen) == ("survives", "the same in 60 redraws")


def test_a_loop_that_never_ends_is_an_error_and_no_rejection(sample):
    rows = tried(sample, "halved", case(sample.halved, 8, expected=3))
    verdict, seen = (
        outcome(rows, "n = n * 2")
        if any(row["now"] == "n = n * 2" for row in rows)
        else outcome(rows, "n = n")
    )
    assert verdict == "error" and "turns of its loops" in seen


def test_a_dead_child_is_an_error_and_the_rest_goes_on(sample):
    rows = tried(sample, "leaves", case(sample.leaves, 4, expected=4))
    ended = [row for row in rows if row["outcome"] == "error"]
    assert ended and all("the child ended with 7" in row["seen"] for row in ended)
    assert outcome(rows, "return -n")[0] == "rejected"


def test_a_case_that_fails_by_itself_is_an_error(sample):
    rows = tried(sample, "thrice", case(sample.thrice, 2.0, expected=7.0))
    assert [row["kind"] for row in rows] == ["unaltered"]
    assert rows[0]["outcome"] == "error" and "largest error" in rows[0]["seen"]


def test_the_module_is_as_it_was(sample):
    """What was put into the module of the child is not seen here."""
    before = sample.weighted
    tried(sample, "weighted", case(sample.weighted, np.ones(2), np.ones(2), expected=2.0))
    assert sample.weighted is before and not hasattr(sample, "__turn__")


# Cases


def test_parameters_stay_views_of_their_flat_vector():
    net = backprop.as_params(np.arange(7.0), (1, 2, 1))
    blob = case(lambda net: net.flat, net, expected=net.flat)
    again = pickle.loads(blob)["args"][0]
    again.flat[:] = 7
    assert all(np.all(w == 7) for w in again.w[2:])
    assert type(again) is type(net) and net.flat[0] == 0


def test_kernels_go_by_name():
    """So that another process takes the altered one that stands under the name."""
    assert (
        pickle.loads(case(backprop.bp3, np.ones(2), expected=np.ones(2)))["kernel"] is backprop.bp3
    )


def test_a_case_calls_the_kernel_on_copies():
    def spoils(x):
        x[:] = 0
        return x

    x = np.ones(3)
    with pytest.raises(verification.VerificationError, match="changed an argument"):
        verification.verify("a-b", spoils, x, np.zeros(3), by="hand", scale=1)
    assert np.all(x == 1)


def test_what_a_kernel_writes_is_compared():
    def doubled_into(y, x):
        y[:2] = 2 * x[:2]

    def given(x):
        return np.zeros(3), x

    verification.verify(
        "a-b",
        doubled_into,
        given(np.array([1.0, 2, 0])),
        [2, 4, np.nan],
        by="hand",
        out=("y",),
        nan=True,
    )
    with pytest.raises(verification.VerificationError, match="not finite"):
        verification.verify(
            "a-b", doubled_into, given(np.ones(3)), [2, 2, 0], by="hand", out=("y",)
        )


@pytest.mark.parametrize(
    ("kernel", "expected", "words"),
    [
        (lambda x: (x, 2 * x), (np.ones(2), np.ones(2)), "largest error 1e+00"),
        (lambda x: (x, 2 * x), (np.ones(2), None), None),
        (lambda x: (x, 2 * x), (np.ones(2),), "nothing to compare"),
        (lambda x: x, (np.ones(2), None), "nothing to compare"),
        (lambda x: x * np.nan, np.ones(2), "not finite"),
    ],
)
def test_results_of_several_parts(kernel, expected, words):
    fails = contextlib.nullcontext()
    if words:
        fails = pytest.raises(verification.VerificationError, match=re.escape(words))
    with fails:
        verification.verify("a-b", kernel, np.ones(2), expected, by="hand")


def test_a_bound_has_to_be_reached():
    bound = lambda x: 50 * x
    verification.verify("a-b", bound, 1.0, 1.0, by="hand", relation=">=")
    with pytest.raises(
        verification.VerificationError, match=r"reached up to 0\.02, which is below"
    ):
        verification.verify("a-b", bound, 1.0, 1.0, by="hand", relation=">=", sharp=0.9)
    for kernel, relation in ((lambda x: 1.05 * x, ">="), (lambda x: 0.95 * x, "<=")):
        verification.verify("a-b", kernel, 1.0, 1.0, by="hand", relation=relation, sharp=0.95)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: verification.verify("a-b", np.sum, np.ones(2), 2.0), "by is missing"),
        (lambda: verification.verify("a-b", np.sum, np.ones(2), by="hand"), "expected is missing"),
    ],
)
def test_what_a_check_needs_is_named(call, words):
    with pytest.raises(TypeError, match=words):
        call()


def test_cases_as_data(monkeypatch):
    """Small arrays whole, large ones by a digest, what is not finite as null."""
    given = {"args": (np.array([1.0, np.inf]), 3, np.zeros(1000, np.float32)), "by": "hand"}
    given |= {"kernel": backprop.bp3, "expected": np.array([1, 2]), "options": {"rtol": 1e-12}}
    plain = cases.plain(given)
    assert plain["kernel"] == "dlbook.backprop.bp3"
    assert plain["args"][0] == {"float64": [1.0, None]}
    assert plain["args"][1] == 3
    assert plain["args"][2] == {"float32": [1000], "digest": cases.digest(np.zeros(1000, "f4"))}
    assert plain["expected"] == {"int64": [1, 2]}
    assert json.loads(json.dumps(plain)) == plain
    assert cases.plain(given | {"kernel": lambda x: x}) is None
    assert cases.plain(given | {"args": (object(),)}) is None


def test_a_reader_keeps_no_cases(monkeypatch, capsys):
    """They are for the build of the book: a notebook would carry them all."""
    found = []
    monkeypatch.setattr(checks, "_publish", found.append)
    verification.verify("a-b", np.sum, np.ones(2), 2.0, by="hand")
    monkeypatch.setenv("DLBOOK_VERIFY", "collect")
    verification.verify("a-b", np.sum, np.ones(2), 2.0, by="hand")
    assert "case" not in found[0] and found[1]["case"]["blob"]


def test_claims_are_told_whole():
    verification.claim("a-b", "It is so.", True, "1 < 2", seeds=range(5), control=("not", False))
    with pytest.raises(verification.VerificationError, match="holds for the control too: not"):
        verification.claim("a-b", "It is so.", True, "1 < 2", control=("not", True))


def test_numbers_are_plain(capsys):
    verification.numbers(best=np.float64(0.5), seeds=3, name="tanh")
    assert capsys.readouterr().out == "best = 0.5, seeds = 3, name = tanh\n"
    with pytest.raises(TypeError, match="all is list, expected a number or a string"):
        verification.numbers(all=[1, 2])
