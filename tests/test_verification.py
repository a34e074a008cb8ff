"""The oracles, and the checker checked: what it accepts, what it must refuse, what it says."""

import subprocess
import sys

import numpy as np
import pytest
from scipy import stats

from dlbook import verification as v
from dlbook.tools import built
from dlbook.tools.checks import MIME


def f(x):
    return np.exp(x[0]) * np.sin(x[1]) + x[2] ** 3


def slope(x):
    return np.array([np.exp(x[0]) * np.sin(x[1]), np.exp(x[0]) * np.cos(x[1]), 3 * x[2] ** 2])


X = np.array([0.3, 1.2, -0.7])


@pytest.mark.parametrize(
    ("method", "rtol"),
    [(v.forward_differences, 1e-7), (v.central_differences, 1e-9), (v.complex_step, 1e-15)],
)
def test_derivatives(method, rtol):
    assert v.relative_error(method(f, X), slope(X)) < rtol


@pytest.mark.parametrize("method", [v.forward_differences, v.central_differences, v.complex_step])
def test_jacobians_have_the_shape_of_f_then_of_x(method, rng):
    W, x = rng.normal(size=(3, 4)), rng.normal(size=(4, 2))
    jacobian = method(lambda x: W @ x, x)
    assert jacobian.shape == (3, 2, 4, 2)
    expected = np.einsum("ik,jl->ijkl", W, np.eye(2))
    assert v.relative_error(jacobian, expected) < 1e-6


@pytest.mark.parametrize("method", [v.forward_differences, v.central_differences, v.complex_step])
def test_point_stays_as_it_was(method):
    x = np.array([1.0, 2.0])
    method(lambda x: np.sum(x**2), x)
    np.testing.assert_array_equal(x, [1.0, 2.0])


@pytest.mark.parametrize("method", [v.forward_differences, v.central_differences, v.complex_step])
def test_scalars_and_whole_numbers_are_points_too(method):
    assert method(lambda x: x**2, 3).shape == ()
    assert abs(method(lambda x: x**2, 3) - 6) < 1e-6


def test_order_of_the_errors():
    """Halving the step halves the error on one side and quarters it in the middle."""
    one, two = (
        [abs(m(np.exp, 1.0, h) - np.e) for h in (0.02, 0.01)]
        for m in (v.forward_differences, v.central_differences)
    )
    assert 1.99 < one[0] / one[1] < 2.02
    assert 3.99 < two[0] / two[1] < 4.01


def test_complex_step_refuses_what_drops_the_imaginary_part():
    with pytest.raises(TypeError, match="imaginary"):
        v.complex_step(lambda x: np.sum(np.abs(x)), X)


def test_best_step_is_the_minimum_of_the_bound():
    best = v.best_step(2.0, 5.0)
    around = best * np.array([0.9, 1.0, 1.1])
    assert v.central_error(around, 2.0, 5.0).argmin() == 1


def test_adjoint_gap_sees_a_missing_transpose(rng):
    A, x, y = rng.normal(size=(5, 5)), rng.normal(size=5), rng.normal(size=5)
    assert v.adjoint_gap(lambda x: A @ x, lambda y: A.T @ y, x, y) < 1e-15
    assert v.adjoint_gap(lambda x: A @ x, lambda y: A @ y, x, y) > 1e-3


def test_monte_carlo_is_mean_and_standard_error(rng):
    draws = rng.normal(size=(50, 3))
    estimate = v.monte_carlo(draws)
    np.testing.assert_allclose(estimate.mean, draws.mean(axis=0))
    np.testing.assert_allclose(estimate.se, stats.sem(draws))
    assert estimate.n == 50


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        (lambda g: g * 1.001, "0.1 %"),
        (lambda g: g.T, "transposed"),
        (lambda g: g / 2, "missing factor"),
        (lambda g: -g, "sign"),
        (lambda g: g + np.eye(4) * 1e-3, "constant"),
        (lambda g: np.where(np.arange(4) == 2, 0, g), "lost column"),
        (lambda g: g * 4 / 3, "1/(n−1)"),
    ],
)
def test_wrong_gradients_are_rejected(wrong, why, rng):
    W, x = rng.normal(size=(4, 4)), rng.normal(size=4)
    right = 2 * np.outer(W @ x, x)
    cost = lambda W: np.sum((W @ x) ** 2)
    assert v.check_gradient(cost, right, W) < 1e-8
    with pytest.raises(v.VerificationError, match="central differences gives"):
        v.check_gradient(cost, wrong(right), W)
    assert why


@pytest.mark.parametrize(
    ("actual", "expected", "options", "words"),
    [
        (
            [1.0, 2.0],
            [1.0, 2.1],
            {},
            "largest error 5e-02 of the largest number > 1e-12 at (1,): got 2, hand gives 2.1",
        ),
        ([1.0], [1.0, 1.0], {}, "shapes (1,) and (2,) differ"),
        ([], [], {}, "nothing to compare"),
        ([1.0, np.nan], [1.0, np.nan], {}, "not finite at (1,)"),
        ([np.inf], [np.inf], {}, "not finite"),
        (["a"], ["a"], {}, "not numbers"),
        ([1e-3], [0.0], {}, "no scale is given"),
        ([0, 1e-13], [0.0, 0.0], {}, "zero and no scale is given; got up to 1.0e-13"),
        ([1e-3], [0.0], {"scale": 1}, "largest error 1e-03"),
        ([3.0], [2.0], {"relation": "<="}, "the bound is passed by 5e-01"),
        ([1.0], [2.0], {"relation": ">="}, "the bound is passed by 5e-01"),
        ([1.0], [2.0], {"se": 0.0}, "standard error is not a positive number"),
        ([1.0], [2.0], {"se": 0.1, "rtol": 4}, "at most 10.0 standard errors away > 4"),
    ],
)
def test_what_a_failed_comparison_says(actual, expected, options, words):
    record = v.compare("chapter-slug", actual, expected, "hand", **options)
    assert not record["passed"]
    assert words in record["detail"]
    with pytest.raises(v.VerificationError, match="chapter-slug"):
        v.verify("chapter-slug", actual, expected, by="hand", **options)


@pytest.mark.parametrize(
    ("actual", "expected", "options"),
    [
        ([1.0, 2.0], [1.0, 2.0 + 1e-13], {}),
        (np.array(3), 3.0, {}),
        ([True, False], [1, 0], {}),
        ([1.0, 2.0], [1.0, 5.0], {"relation": "<="}),
        ([1 + 1e-14j], [1.0], {}),
        ([0.0], [0.0], {}),
    ],
)
def test_what_passes(actual, expected, options):
    assert v.compare("a-b", actual, expected, "hand", **options)["passed"]


def test_a_monte_carlo_check_needs_a_wrong_form_and_must_refuse_it():
    with pytest.raises(ValueError, match="reject"):
        v.verify("a-b", 1.0, 1.1, by="x", se=0.1, rtol=4)
    with pytest.raises(v.VerificationError, match="wrong form is accepted too"):
        v.verify("a-b", 1.0, 1.1, by="x", se=0.1, rtol=4, reject=1.3)
    v.verify("a-b", 1.0, 1.1, by="x", se=0.1, rtol=4, reject=2.0)


def test_claims_and_refutations():
    v.claim("a-b", "It is less.", 1 < 2, "one is below two", control=("reversed", 2 < 1))
    with pytest.raises(v.VerificationError, match="two is below one"):
        v.claim("a-b", "It is less.", 2 < 1, "two is below one", control=("equal", 1 < 1))
    with pytest.raises(v.VerificationError, match="holds for the control too: as much"):
        v.claim("a-b", "It is less.", 1 < 2, "one is below two", control=("as much", 1 <= 1))
    v.refute("a-b", 2.0, 1.0, by="hand", form="twice")
    with pytest.raises(v.VerificationError, match="wrong form passes"):
        v.refute("a-b", 1.0, 1.0, by="hand", form="no mistake at all")


@pytest.mark.parametrize(
    ("wrong", "expected", "words"),
    [
        (np.ones(2), np.ones(3), r"shapes \(2,\) and \(3,\) differ"),
        (np.array([np.nan]), np.ones(1), "not finite"),
        (np.empty(0), np.empty(0), "nothing to compare"),
        (np.ones(1), np.zeros(1), "the expected value is zero"),
    ],
)
def test_a_wrong_form_is_refuted_by_its_numbers_alone(wrong, expected, words):
    with pytest.raises(v.VerificationError, match=f"the wrong form was not compared: {words}"):
        v.refute("a-b", wrong, expected, by="hand", form="another")


def test_a_page_goes_on_after_a_failed_check_and_fails_at_its_end():
    code = (
        "from dlbook import verification as v\n"
        "v.verify('a-b', 1.0, 2.0, by='hand')\n"
        "v.claim('a-c', 'It is.', False, 'no', control=('not', False))\n"
        "print('went on')\n"
        "from dlbook.tools.checks import finish; finish()\n"
    )
    import os

    run = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env={**os.environ, "DLBOOK_VERIFY": "collect"},
    )
    assert "went on" in run.stdout
    assert "2 failed: a-b; a-c" in run.stderr
    assert run.returncode == 1


def test_a_record_reads_well_and_carries_its_data():
    record = v.compare("a-b", [1.0, 2.0], [1.0, 2.0], "hand")
    bundle = record._repr_mimebundle_()
    assert bundle["text/plain"] == "✓ exactly equal, 2 numbers against hand"
    assert str(record) == "a-b: ✓ exactly equal, 2 numbers against hand"
    failed = v.compare("a-b", [1.0], [2.0], "hand")._repr_mimebundle_()["text/plain"]
    assert failed.startswith("a-b: ✗ largest error 5e-01")
    assert bundle[MIME]["count"] == 2
    assert "<p>" in bundle["text/html"]


def test_a_record_names_its_equation_where_its_number_is_known(monkeypatch):
    monkeypatch.setattr(built, "names", lambda: {"a-b": "(3.1)"})
    record = v.compare("a-b", [1.0, 2.0], [1.0, 2.0], "hand")
    assert record.words() == "✓ (3.1) exactly equal, 2 numbers against hand"
    failed = v.compare("a-b", [1.0], [2.0], "hand")._repr_mimebundle_()["text/plain"]
    assert failed.startswith("✗ (3.1) largest error 5e-01")


def test_a_terminal_shows_a_sentence():
    """IPython, which would print a dictionary, shows what Python prints."""
    from IPython.core.formatters import DisplayFormatter

    for record in (
        v.compare("a-b", [1.0], [1.0], "hand"),
        v.compare("a-b", [1.0, 2.0], [1.0, 3.0], "hand"),
        v.Record(kind="claim", label="a-c", passed=True, evidence="2 < 3"),
        v.Record(kind="pitfall", label="a-d") | v.compare("a-d", [1.0], [2.0], "hand"),
    ):
        assert DisplayFormatter().format(record)[0]["text/plain"] == str(record)
    assert str(v.compare("a-b", [1.0], [1.0], "hand")).endswith(" 1 number against hand")


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: v.central_differences(f, X, eps=0), ValueError, "eps"),
        (lambda: v.forward_differences(f, X, eps=-1e-8), ValueError, "eps"),
        (lambda: v.complex_step(f, X, eps=np.nan), ValueError, "eps"),
        (lambda: v.central_differences(f, [1.0, np.nan]), ValueError, "x holds nan at index"),
        (lambda: v.central_differences(f, []), ValueError, "x is empty"),
        (lambda: v.central_differences(f, ["a"]), TypeError, "x has dtype"),
        (lambda: v.complex_step(f, X + 1j), TypeError, "x has dtype complex"),
        (lambda: v.monte_carlo([1.0]), ValueError, "expected 2 rows or more"),
        (lambda: v.monte_carlo(3.0), ValueError, "expected 2 rows or more"),
        (lambda: v.check_gradient(np.sum, X, X, rtol=0), ValueError, "rtol"),
    ],
)
def test_bad_input_is_named(call, error, words):
    with pytest.raises(error, match=words):
        call()
