"""The language of the live equations, in V8: formulas as readers type them against the kernels."""

import json
import math
import random
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from py_mini_racer import MiniRacer

from dlbook import (
    attention,
    backprop,
    convolution,
    embeddings,
    gan,
    gated,
    linear_classification,
    linear_regression,
    neurons,
    optimization,
    regularization,
    rnn,
    variational,
)
from dlbook.tools import checks

SCRIPT = Path(__file__).resolve().parent.parent / "book" / "_static" / "formula.js"
KINDS = {"empty", "ends", "symbol", "bracket", "place", "left", "unclear", "name", "arguments"}
KINDS |= {"rank", "index", "size", "outside", "long", "deep", "much"}
SHIM = """
function tried(text, scope) {
  try {
    const { shape, data } = formula.evaluate(text, scope);
    return { shape, data: Array.from(data, String) };
  } catch (e) {
    if (!(e instanceof formula.Mistake)) throw Error(`${text} gives ${e.stack}`);
    return { kind: e.kind, start: e.start, end: e.end, words: e.message };
  }
}
"""
SIZES = {"n": 5, "j": 4, "k": 3, "i": 2, "t": 6, "s": 7, "p": 5, "q": 6, "x": 5, "d": 4}
SIZES |= {"c": 2, "h": 9, "w": 8, "u": 3, "v": 4, "r": 4, "a": 5, "b": 3}


@pytest.fixture(scope="module")
def engine():
    """Return an engine with the script and what calls it."""
    engine = MiniRacer()
    engine.eval(SCRIPT.read_text("utf-8") + SHIM)
    return engine


def script(engine, code, timeout=60):
    """Return what an expression gives, by way of JSON."""
    return json.loads(engine.eval(f"JSON.stringify({code})", timeout_sec=timeout))


def given(x):
    """Return an array as the script wants it."""
    x = np.asarray(x)
    return {"shape": list(x.shape), "data": x.astype(float).ravel().tolist()}


def answers(engine, texts, left="", shape=None, timeout=60, **arrays):
    """Return for each formula the array that it gives, or its mistake as a dictionary."""
    scope = {"left": list(left), "arrays": {name: given(x) for name, x in arrays.items()}}
    scope |= {} if shape is None else {"shape": list(shape)}
    code = f"{json.dumps(texts)}.map((text) => tried(text, {json.dumps(scope)}))"
    return [
        one if "kind" in one else np.array(one["data"], float).reshape(one["shape"])
        for one in script(engine, code, timeout)
    ]


def tried(engine, text, left="", shape=None, **arrays):
    """Return the array that one formula gives, or its mistake."""
    return answers(engine, [text], left, shape, **arrays)[0]


# Equations of the book, typed


class Case(NamedTuple):
    """A kernel, its right-hand side as typed, its indices and its arguments.

    An argument is the letters of its axes ("nj"), with > where its numbers are positive, "n:j" for
    whole numbers from 0 to below the size of j, or a value. Names with _ are for the kernel alone.
    """

    kernel: object
    text: str
    left: str
    arguments: dict
    part: int | None = None
    more: dict = {}


def in_place(kernel, slots, *settings):
    """Return an optimizer's kernel as a function of θ, g and a row of each slot: θ and the slots."""

    def stepped(theta, g, *rows):
        theta, rows = theta.copy(), np.array(rows).reshape(slots, theta.size)
        kernel(theta, g, rows, *settings)
        return theta, *rows

    stepped.chapter = kernel.__module__
    return stepped


GATE = {"x": "k", "before": "i", "wx": "jk", "wh": "ji", "b": "j"}
IMAGE = {"x": "nchw", "_size": (3, 2), "_stride": (2, 3)}
CASES = [
    Case(backprop.layer, "sum(k, w[j,k] * a[k]) + b[j]", "j", {"w": "jk", "b": "j", "a": "k"}, 0),
    Case(backprop.layer, "σ(Σ_k w_jk·a_k + b_j)", "j", {"w": "jk", "b": "j", "a": "k"}, 1),
    Case(backprop.quadratic_cost, "1/2 * Σ_j (y_j − a_j)²", "", {"a": "j", "y": "j"}),
    Case(
        backprop.average_cost, "sum(n, j, (y[n,j]-a[n,j])**2) / (2*N)", "",
        {"a": "nj", "y": "nj"}, more={"N": 5},
    ),
    Case(backprop.bp1, "da_j * σ′(z_j)", "j", {"da": "j", "z": "j"}),
    Case(
        backprop.bp2, "sum(k, w[k,j] * delta[k]) * σ'(z[j])", "j", {"w": "kj", "delta": "k", "z": "j"}
    ),
    Case(backprop.bp2, "Σ_k w_{kj} × δ_k × σ′(z_j)", "j", {"w": "kj", "delta": "k", "z": "j"}),
    Case(backprop.bp4, "a_k * δ_j", "jk", {"a": "k", "delta": "j"}),
    Case(
        backprop.softmax_output_delta, "exp(z_nj) / Σ_k exp(z_nk) − [y_n = j]", "nj",
        {"z": "nj", "y": "n:j"},
    ),
    Case(
        convolution.convolve, "sum(a, where(0 <= c-a and c-a < B, f[a] * g[c-a], 0))", "c",
        {"f": "a", "g": "b"}, more={"B": 3},
    ),
    Case(convolution.correlate, "Σ_u w_u * x_{i+u}", "i", {"x": "h", "w": "u"}),
    Case(convolution.flip, "w[U-1-u]", "u", {"w": "u"}, more={"U": 3}),
    Case(
        convolution.translate, "where(h >= a and w >= b, x[n,c,h-a,w-b], 0)", "nchw",
        {"x": "nchw", "a": 2, "b": 1},
    ),
    Case(
        convolution.multichannel, "b_k + Σ_cuv w_kcuv * x_{n,c,i+u,j+v}", "nkij",
        {"x": "nchw", "w": "kcuv", "b": "k"},
    ),
    Case(
        convolution.conv, "b_k + sum(c, u, v, w[k,c,u,v] * x[n,c,2*i+u,j+2*v])", "nkij",
        {"x": "nchw", "w": "kcuv", "b": "k", "_stride": (2, 1), "_dilation": (1, 2), "_groups": 1},
    ),
    Case(convolution.conv_db, "sum(n, i, j, dz[n,k,i,j])", "k", {"dz": "nkij"}),
    Case(
        convolution.pool_average, "sum(u, v, one[u,v] * x[n,c,2*i+u,3*j+v]) / 6", "ncij", IMAGE,
        more={"one": np.ones((3, 2))},
    ),
    Case(
        convolution.pool_max, "max(u, v, one[u,v] * x[n,c,2*i+u,3*j+v])", "ncij", IMAGE,
        more={"one": np.ones((3, 2))},
    ),
    Case(attention.soft_lookup, "Σ_s a_ts*v_sv", "tv", {"a": "ts", "v": "sv"}),
    Case(
        attention.additive_scores, "sum(j, u[j] * tanh(sum(k, wq[j,k]*q[t,k] + wk[j,k]*k[s,k])))",
        "ts", {"q": "tk", "k": "sk", "wq": "jk", "wk": "jk", "u": "j"},
    ),
    Case(
        attention.scaled_scores, "sum(k, q[t,k] * k[s,k]) / √(K)", "ts", {"q": "tk", "k": "sk"},
        more={"K": 3},
    ),
    Case(
        attention.masked_softmax, "mask_ts * exp(z_ts) / Σ_r (mask_tr * exp(z_tr))", "ts",
        {"z": "ts", "mask": np.tri(6, 7, 2, dtype=bool)},
    ),
    Case(attention.softmax_backward, "a_ts*(da_ts - Σ_r a_tr*da_tr)", "ts", {"da": "ts", "a": "ts"}),
    Case(attention.causal_mask, "s <= first + t", "ts", {"_T": 6, "_S": 7, "first": 1}),
    Case(
        attention.positional_encoding,
        "where(m - 2*floor(m/2) = 0, sin(t / 10000^(m/M)), cos(t / 10000^((m-1)/M)))", "tm",
        {"_T": 6, "M": 10},
    ),
    Case(attention.permuted, "x[order[t], m]", "tm", {"x": "tj", "order": "t:t"}),
    Case(gated.forget_gate, "σ(Σ_k wx_jk*x_k + Σ_i wh_ji*before_i + b_j)", "j", GATE),
    Case(gated.candidate, "tanh(Σ_k wx_jk*x_k + Σ_i wh_ji*before_i + b_j)", "j", GATE),
    Case(gated.cell_state, "f_j*before_j + i_j*g_j", "j", dict.fromkeys(["f", "before", "i", "g"], "j")),
    Case(gated.hidden_state, "o_j*tanh(c_j)", "j", {"o": "j", "c": "j"}),
    Case(gated.cell_gradient, "Π_t f_tj", "j", {"f": "tj"}),
    Case(
        gated.gru_candidate, "tanh(Σ_k wx_jk*x_k + bx_j + r_j*(Σ_i wh_ji*before_i + bh_j))", "j",
        {"x": "k", "before": "i", "r": "j", "wx": "jk", "wh": "ji", "bx": "j", "bh": "j"},
    ),
    Case(gated.gru_state, "(1 - z_j)*n_j + z_j*before_j", "j", {"z": "j", "n": "j", "before": "j"}),
    Case(
        in_place(optimization.sgd, 0, 1, 0.1, 0.01), "θ_p - η*(g_p + λ*θ_p)", "p",
        {"theta": "p", "g": "p"}, 0, {"eta": 0.1, "lambda": 0.01},
    ),
    Case(
        in_place(optimization.momentum, 1, 2, 0.1, 0.9, 0.2, 0.0), "mu*v[p] + (1-d)*g[p]", "p",
        {"theta": "p", "g": "p", "v": "p"}, 1, {"mu": 0.9, "d": 0.2},
    ),
    Case(
        in_place(optimization.adagrad, 1, 1, 0.1, 0.0, 1e-8, 0.0),
        "θ_p − η g_p / (√(s_p + g_p²) + ε)".replace("η ", "η·"), "p",
        {"theta": "p", "g": "p", "s": "p>"}, 0, {"η": 0.1, "ε": 1e-8},
    ),
    Case(
        in_place(optimization.adam, 2, 3, 0.1, 0.9, 0.99, 1e-8, 0.0),
        "θ_p - η*(β₁*m_p + (1-β₁)*g_p)/(1-β₁^t) / (sqrt((β₂*v_p + (1-β₂)*g_p^2)/(1-β₂^t)) + ε)", "p",
        {"theta": "p", "g": "p", "m": "p", "v": "p>"}, 0,
        {"η": 0.1, "β₁": 0.9, "β₂": 0.99, "ε": 1e-8, "t": 3},
    ),
    Case(
        optimization.minibatch_variance, "Σ_n (grads_np − Σ_m grads_mp / N)^2 / N / B", "p",
        {"grads": "np", "B": 2, "_replace": True}, more={"N": 5},
    ),
    Case(linear_classification.logistic_loss, "log(1 + e^(−m_n))", "n", {"m": "n"}),
    Case(linear_classification.squared_hinge, "where(m_n < 1, (1 − m_n)², 0)", "n", {"m": "n"}),
    Case(
        linear_classification.log_sum_exp, "max_k z_nk + log(Σ_j exp(z_nj − max_k z_nk))", "n",
        {"z": "nj"},
    ),
    Case(
        linear_classification.softmax_cross_entropy,
        "1/N * Σ_n (log(Σ_j exp(z_nj)) − z[n, y[n]])", "", {"z": "nj", "y": "n:j"}, more={"N": 5},
    ),
    Case(linear_classification.softmax_jacobian, "p_j*([j = k] − p_k)", "jk", {"p": "j"}),
    Case(
        linear_regression.rss, "Σ_n (y_n − Σ_p X_np*β_p)²", "", {"X": "np", "y": "n", "beta": "p"}
    ),
    Case(
        linear_regression.reflect, "A_np − 2*v_n*(Σ_m v_m*A_mp) / Σ_m v_m²", "np",
        {"v": "n", "A": "nj"},
    ),
    Case(
        regularization.ridge_cost, "1/2*Σ_n (y_n − Σ_p X_np*w_p)^2 + λ/2*Σ_p w_p^2", "",
        {"X": "np", "y": "n", "w": "p", "lambda": 0.3},
    ),
    Case(
        regularization.soft_threshold, "sign(z_p)*max(abs(z_p) − l1, 0)", "p", {"z": "p", "l1": 0.4}
    ),
    Case(rnn.state, "tanh(Σ_i wh_ji*before_i + Σ_k wx_jk*x_k + b_j)", "j", GATE | {"wh": "jj", "before": "j"}),
    Case(
        rnn.bptt, "sum(t, delta[t,j] * h[t+0,i])", "ji",
        {"delta": "tj", "h": "sj", "x": "tk"}, 1,
    ),
    Case(neurons.gelu, "z_i/2*(1 + erf(z_i/sqrt(2)))", "i", {"z": "n"}),
    Case(neurons.relu, "max(0, z_n)", "n", {"z": "n"}),
    Case(
        neurons.gelu_prime, "(1 + erf(z_n/sqrt(2)))/2 + z_n*exp(-z_n^2/2)/sqrt(2*pi)", "n", {"z": "n"}
    ),
    Case(variational.gaussian_kl, "Σ_c (1/2*(m_nc² + e^(2*s_nc) − 1) − s_nc)", "n", {"m": "nc", "s": "nc"}),
    Case(variational.iwae, "log(1/K*Σ_k exp(log_w_nk))", "n", {"log_w": "nk"}, more={"K": 3}),
    Case(gan.gram, "1/M*Σ_t F_it*F_jt", "ij", {"F": "jt"}, more={"M": 6}),
    Case(gan.style_loss, "Σ_ij (G_ij − T_ij)^2 / Σ_ij T_ij^2", "", {"G": "jj", "T": "jj"}),
    Case(
        gan.total_variation,
        "sum(r, s, c, where(r+1 < R, (Y[r+1,s,c] - Y[r,s,c])^2, 0)"
        " + where(s+1 < S, (Y[r,s+1,c] - Y[r,s,c])^2, 0))", "",
        {"Y": "rsc"}, more={"R": 4, "S": 7},
    ),
    Case(
        embeddings.cosines, "sum(d, w[d]*W[v,d]) / (sqrt(sum(d, w[d]^2)) * sqrt(sum(d, W[v,d]^2)))",
        "v", {"w": "d", "W": "kd"},
    ),
    Case(embeddings.lookup, "W[ids[t], d]", "td", {"ids": "t:v", "W": "vd"}),
]  # fmt: skip


def drawn(value, rng):
    """Return an argument as `Case` describes it."""
    if not isinstance(value, str):
        return value
    letters, _, below = value.rstrip(">").partition(":")
    shape = tuple(SIZES[letter] for letter in letters)
    if below:
        return rng.integers(0, SIZES[below], shape)
    x = rng.standard_normal(shape)
    return np.abs(x) + 0.1 if ">" in value else x


def expected(case, rng):
    """Return what the kernel gives, and the names that the formula may use."""
    values = {name: drawn(value, rng) for name, value in case.arguments.items()}
    found = case.kernel(*values.values())
    found = found if case.part is None else found[case.part]
    named = {name: x for name, x in values.items() if not name.startswith("_")}
    return np.asarray(found), {name: given(x) for name, x in (named | case.more).items()}


def chapter(case):
    """Return the chapter that a case is of."""
    return getattr(case.kernel, "chapter", case.kernel.__module__)


CHAPTERS = sorted({chapter(case) for case in CASES})


@pytest.mark.parametrize("name", CHAPTERS)
def test_equations_of_the_book(engine, rng, name):
    """What a reader types in is the kernel's, to rounding; a third of a percent more is not."""
    for case in (case for case in CASES if chapter(case) == name):
        right, arrays = expected(case, rng)
        scope = {"left": list(case.left), "shape": list(right.shape), "arrays": arrays}
        found = f"formula.evaluate(text, {json.dumps(scope)})"
        judged = f"formula.compare({found}, {json.dumps(given(right))}, 1e-12)"
        for text, passes in ((case.text, True), (f"({case.text}) * 1.003", False)):
            verdict = script(engine, f"((text) => {judged})({json.dumps(text)})")
            assert verdict["passed"] == passes, (case.text, verdict)
            assert verdict["count"] == right.size


def test_there_are_enough_of_them():
    assert len(CASES) >= 50 and len(CHAPTERS) >= 12


WRONG = {
    "sum(k, w[k,j] * delta[k]) * σ′(a[j])": "σ′ taken at a",
    "sum(k, w[k,j] * delta[k])": "no slope",
    "sum(k, w[k,j] * delta[k]) * σ(z[j])": "σ for σ′",
    "sum(k, w[k,j]) * sum(k, delta[k]) * σ′(z[j])": "a product of sums",
    "sum(k, w[k,j] * delta[k] * σ′(z[j]))": None,
}


def test_wrong_forms_are_told_from_right_ones(engine, rng):
    w, delta, z = rng.standard_normal((3, 4)), rng.standard_normal(3), rng.standard_normal(4)
    arrays = {"w": w, "delta": delta, "z": z, "a": 1 / (1 + np.exp(-z))}
    right = backprop.bp2(w, delta, z)
    for text, wrong in WRONG.items():
        found = tried(engine, text, "j", right.shape, **arrays)
        assert checks.compare("backprop-bp2", found, right, "the kernel")["passed"] == (not wrong)


def test_shapes_follow_from_the_arrays_where_none_is_given(engine, rng):
    a, b = rng.standard_normal(3), rng.standard_normal(4)
    np.testing.assert_array_equal(tried(engine, "a_k*b_j", "jk", a=a, b=b), np.outer(b, a))
    assert tried(engine, "2", "j", [3]).tolist() == [2, 2, 2]  # the index need not occur
    assert tried(engine, "2").shape == ()
    assert tried(engine, "x_j", "j", x=np.zeros(0)).shape == (0,)
    assert tried(engine, "sum(j, x_j) + prod(j, x_j)", x=np.zeros(0)) == 1
    assert tried(engine, "max(j, x_j)", x=np.zeros(0)) == -np.inf


# Mistakes: what is typed, the kind, the place and a part of the words

MUCH = "sum(b, c, d, f, g, h, i, l, m, n, z_b*z_c*z_d*z_f*z_g*z_h*z_i*z_l*z_m*z_n)"
MISTAKES = [
    ("", "empty", "", "nothing here"),
    (" \n ", "empty", " \n ", "nothing here"),
    ("z[j] +", "ends", "+", "ends where a value is expected"),
    ("exp(", "ends", "(", "ends where"),
    ("Σ_k", "ends", "k", "ends where"),
    ("z[j] @ 2", "symbol", "@", "“@” has no meaning"),
    ("z[j] ? 1 : 2", "symbol", "?", "no meaning"),
    ("(z[j] + 1", "bracket", "(", "“(” is not closed"),
    ("z[j", "bracket", "[", "“[” is not closed"),
    ("w_{1,j", "bracket", "{", "“{” is not closed"),
    ("sum(k, w[k,j]", "bracket", "(", "“(” is not closed"),
    ("(z[j]]", "bracket", "]", "“]” does not close “(”"),
    ("z[j) + 1", "bracket", ")", "“)” does not close “[”"),
    ("* z[j]", "place", "*", "“*” stands where a value"),
    ("z[j] + / 2", "place", "/", "“/” stands where a value"),
    ("z[]", "place", "]", "“]” stands where a value"),
    ("sum(k, )", "place", ")", "“)” stands where a value"),
    ("z[j] and", "ends", "d", "ends where"),
    ("z[j])", "left", ")", "“)” is left over"),
    ("z[j], 2", "left", ",", "“,” is left over"),
    ("z[j] a[j]", "left", "a", "missing before “a”"),
    ("2 z[j]", "left", "z", "a product is written with *"),
    ("(z[j] a[j])", "left", "a", "a product is written with *"),
    ("z[j](2)", "left", "(", "missing before “(”"),
    ("1 / Σ_k δ_k * 2", "unclear", "*", "does Σ end before “*”? Parentheses"),
    ("Π_k δ_k / 2", "unclear", "/", "does Π end before “/”"),
    ("detla[k]", "name", "detla", "did you mean delta?"),
    ("dleta[j]", "name", "dleta", "did you mean delta?"),
    ("rat * z[j]", "name", "rat", "did you mean rate?"),
    ("tnh(z[j])", "name", "tnh", "did you mean tanh?"),
    ("sunm(k, δ_k)", "name", "sunm", "did you mean sum?"),
    ("max(rato, z[j])", "name", "rato", "did you mean rate?"),
    ("y[j]", "name", "y", "y is not known here; known: w, delta, z, a, rho_hat, rate"),
    ("y_j", "name", "y_j", "y_j is not known here"),
    ("constructor + toString", "name", "constructor", "not known"),
    ("__proto__", "symbol", "_", "no meaning"),
    ("exp", "arguments", "exp", "write exp(…)"),
    ("where + 1", "arguments", "where", "write where(…)"),
    ("exp(z[j], 1)", "arguments", "exp(z[j], 1)", "here exp takes 1 value"),
    ("where(z[j] > 0, 1)", "arguments", "where(z[j] > 0, 1)", "takes 3 values"),
    ("sum(w[k,j])", "arguments", "sum", "needs an index: sum(k, …)"),
    ("max(z[j], 1, 2)", "arguments", "max(z[j], 1, 2)", "here max takes 2 values"),
    ("sum(k, δ_k, 2)", "arguments", "sum(k, δ_k, 2)", "here sum takes 1 value"),
    ("w(k, j)", "arguments", "w", "its indices stand in [ ]"),
    ("size(k)", "arguments", "k", "size takes the name of an array"),
    ("size + 1", "arguments", "size", "write size(…)"),
    ("size(w, 2)", "rank", "2", "w has 2 axes, counted from 0"),
    ("size(w 1)", "left", "1", "an operator is missing"),
    ("w[j]", "rank", "w[j]", "w has 2 indices, not 1"),
    ("w", "rank", "w", "w has 2 indices, not none"),
    ("w_j", "rank", "w_j", "w has 2 indices, not 1"),
    ("z[j, j]", "rank", "z[j, j]", "z has 1 index, not 2"),
    ("rate[j]", "rank", "rate[j]", "rate has no indices, not 1"),
    ("w[k,j] * delta[k]", "index", "k", "neither an index of the left-hand side nor bound by a sum"),
    ("w_kj", "index", "k", "k is neither"),
    ("z[m-1]", "index", "m", "m is neither"),
    ("sum(k, w[k,j]) * δ[k]", "index", "k", "k is neither"),
    ("w[z, j]", "index", "z", "z is neither"),
    ("sum(j, z[j])", "index", "j", "j is an index of the left-hand side: take another letter"),
    ("1/Σ_j z_j", "index", "j", "take another letter"),
    ("Σ_kk δ_k", "size", "k", "nothing says how far k runs"),
    ("Σ_{2} w_kj", "index", "Σ_{2}", "indices follow Σ_"),
    ("delta[j]", "size", "delta[j]", "j takes 4 values on the left-hand side, but 3 in delta[j]"),
    ("sum(k, w[k,j] * z[k])", "size", "z[k]", "k takes 3 values in w[k,j], but 4 in z[k]"),
    ("sum(k, 2)", "size", "k", "nothing says how far k runs"),
    ("max(z, 0)", "size", "z", "nothing says how far z runs"),
    ("sum(m, z[j-m])", "size", "m", "stands alone on no axis"),
    ("z[j-1]", "outside", "j-1", "j-1 is −1 at j = 0, but this axis of z has the places 0 to 3"),
    ("sum(k, δ_k*w[k+j,j])", "outside", "k+j", "k+j is 3 at k = 2, j = 1"),
    ("z[j/2]", "outside", "j/2", "j/2 is 0.5 at j = 1"),
    ("z_9", "outside", "9", "9 is 9, but"),
    ("z[1/0]", "outside", "1/0", "1/0 is ∞"),
    ("1" + "+1" * 1000, "long", "1" + "+1" * 1000, "longer than 2000 characters"),
    ("(" * 100 + "1" + ")" * 100, "deep", "1", "nested"),
    ("-" * 101 + "1", "deep", "-", "nested"),
    ("2^" * 101 + "1", "deep", "2", "nested"),
    (MUCH, "much", MUCH, "more than 3 million steps"),
]  # fmt: skip


@pytest.fixture(scope="module")
def names():
    """Return arrays under the names of backpropagation."""
    rng = np.random.default_rng(1)
    shapes = {"w": (3, 4), "delta": 3, "z": 4, "a": 4, "rho_hat": 4, "rate": ()}
    return {name: rng.standard_normal(shape) for name, shape in shapes.items()}


def test_mistakes_are_said_in_words_with_their_place(engine, names):
    found = answers(engine, [text for text, *_ in MISTAKES], "j", [4], **names)
    for (text, kind, place, words), mistake in zip(MISTAKES, found, strict=True):
        assert isinstance(mistake, dict), (text, mistake)
        assert mistake["kind"] == kind and words in mistake["words"], (text, mistake)
        assert text[mistake["start"] : mistake["end"]] == place, (text, mistake)
    assert {kind for _, kind, _, _ in MISTAKES} == KINDS


def test_sizes_that_nothing_tells(engine):
    found = tried(engine, "2", "j")
    assert found["kind"] == "size" and "how far j runs" in found["words"]


def test_limits_are_above_what_is_needed(engine):
    assert tried(engine, "(" * 99 + "1" + ")" * 99) == 1
    assert tried(engine, "1" + "+1" * 999) == 1000
    assert tried(engine, "1" + "+(1" * 99 + ")" * 99) == 100
    assert tried(engine, "Σ_{ijk} x_i*x_j*x_k", x=np.ones(50)) == 125_000


# The language

SAME = [
    ("2*3", "2·3", "2×3", "2⋅3", "2 * 3", "2∗3"),
    ("3-5", "3−5", "−5+3", "+3-5"),
    ("rate**2", "rate^2", "rate²", "(rate)^(2)", "rate^{2}"),
    ("z[j]**3", "z_j^3", "z_j³", "z_{j}³", "z_{j}**3", "z[ j ]^ 3"),
    ("w[1,j]", "w_1j", "w_{1j}", "w_{1,j}", "w[1, j]", "w[2-1,j]"),
    ("delta[2]", "δ[2]", "δ_2", "delta_2", "delta_{2}", "δ_{2}"),
    ("rho_hat[j]", "rho_hat_j", "ρ_hat_j", "rho_hat_{j}"),
    ("sum(k, w[k,j])", "Σ_k w_kj", "∑_k w_kj", "Σ(k, w_kj)", "Σ_{k} w_{kj}", "Σ_k(w_kj)"),
    ("sum(k, sum(m, δ_m) * δ_k)", "sum(k, sum(k, δ_k) * δ_k)", "Σ_k δ_k * Σ_k δ_k"),
    ("sum(k, m, w[k,m])", "Σ_km w_km", "Σ_{km} w_km", "Σ_{k,m} w_km", "sum(m, k, w[k,m])"),
    ("sum(k, w[k,j]) + z[j]", "Σ_k w_kj + z_j", "z_j + Σ_k w_kj"),
    ("sum(k, w[k,j]*delta[k]^2/2)", "Σ_k w_kj * δ_k² / 2", "Σ_k (w_kj) * δ_k**2 / 2"),
    ("z[j]*sum(k, delta[k]*2)", "z_j * Σ_k δ_k * 2", "z_j * (Σ_k δ_k) * 2", "2 * z_j * Σ_k δ_k"),
    ("-sum(k, delta[k]*2)", "-Σ_k δ_k * 2"),
    ("1/sum(k, exp(delta[k]))", "1/Σ_k exp(δ_k)", "1/(Σ_k exp(δ_k))"),
    ("prod(k, delta[k])", "Π_k δ_k", "∏_k δ_k", "Π(k, δ_k)"),
    ("max(k, w[k,j])", "max_k w_kj", "max(k, w_kj)", "-min(k, -w_kj)"),
    ("max(rate, 0)", "max(0, rate)", "relu(rate)", "where(rate > 0, rate, 0)"),
    ("max(j, 2)", "where(j > 2, j, 2)"),
    ("size(z)", "size(z, 0)", "Σ_k z_k^0"),
    ("size(w) * size(w, 1)", "size(w, 0) * Σ_m w_0m^0"),
    ("sigmoid(z[j])", "σ(z_j)", "1/(1 + e^(-z_j))", "1/(1 + exp(−z_j))", "(1 + tanh(z_j/2))/2"),
    ("sigmoid_prime(z[j])", "σ′(z_j)", "σ'(z_j)", "σ’(z_j)", "σ(z_j)*(1-σ(z_j))"),
    ("where(j >= 1, z[j-1], 0)", "where(j ≥ 1, z_{j-1}, 0)", "where(j = 0, 0, z[j-1])"),
    ("where(j != 1, 2, 3)", "where(j ≠ 1, 2, 3)", "2 + [j = 1]", "2 + (j == 1)", "3 - [j != 1]"),
    ("[1 <= j < 3]", "1 <= j and j < 3", "[j=1] + [j=2]", "j = 1 or j = 2", "3 > j ≥ 1"),
    ("sum(k, [k = 1]*delta[k])", "δ_1"),
    ("sqrt(abs(z[j]))", "√(abs(z_j))", "abs(z_j)^.5", "abs(z_j)**5e-1"),
    ("sin(pi/2)", "sin(π/2)", "1", "1.", "10e-1", "10e−1"),
    ("where(j > 0 and z[j-1] > 0, 1, 0)", "[j > 0 and z[j-1] > 0]"),
]


def test_forms_that_mean_the_same(engine, names):
    for texts in SAME:
        right, *found = answers(engine, texts, "j", [4], **names)
        assert isinstance(right, np.ndarray), (texts, right)
        for text, other in zip(texts[1:], found, strict=True):
            np.testing.assert_allclose(other, right, rtol=1e-14, err_msg=text)


def test_an_index_may_have_the_name_of_an_array(engine, rng):
    k = rng.standard_normal((2, 3))
    np.testing.assert_allclose(tried(engine, "sum(k, k[s,k])", "s", k=k), k.sum(axis=1))
    np.testing.assert_allclose(tried(engine, "max(k, k_sk)", "s", k=k), k.max(axis=1))


def test_names_that_are_known_as_a_whole(engine):
    """A name with an underscore is itself; only what is not known is read as a subscript."""
    arrays = {"w": np.arange(3.0), "w_k": 7.0, "sum_x": 5.0}
    assert tried(engine, "w_k", **arrays) == 7
    assert tried(engine, "sum(k, w[k]) + w_2 + sum_x", **arrays) == 10


def test_division_by_zero_and_overflow(engine):
    assert tried(engine, "1/0") == np.inf and tried(engine, "-1/0") == -np.inf
    assert np.isnan(tried(engine, "0/0")) and np.isnan(tried(engine, "log(-1)"))
    assert tried(engine, "exp(1000)") == np.inf and tried(engine, "σ(-1000)") == 0


def test_functions_against_python(engine):
    z = np.concatenate([np.linspace(-8, 8, 331), [0.0, -0.0, 1e-300]])
    forms = {"exp": math.exp, "tanh": math.tanh, "abs": abs, "sin": math.sin, "cos": math.cos}
    forms |= {"erf": math.erf, "floor": math.floor, "sign": np.sign}
    forms |= {"relu": lambda v: max(v, 0.0), "sigmoid": lambda v: 1 / (1 + math.exp(-v))}
    for name, form in forms.items():
        found = tried(engine, f"{name}(z_n)", "n", z=z)
        np.testing.assert_allclose(found, [form(v) for v in z], rtol=4e-15, atol=0, err_msg=name)
    for name in ("log", "sqrt"):
        found = tried(engine, f"{name}(z_n)", "n", z=np.exp(z))
        np.testing.assert_allclose(found, getattr(np, name)(np.exp(z)), rtol=4e-15, atol=1e-15)
    assert tried(engine, "erf(1/0) - erf(-1/0)") == 2 and np.isnan(tried(engine, "erf(0/0)"))


def expression(rng, depth):
    """Draw an expression that Python and the language share."""
    if depth == 0 or rng.random() < 0.15:
        return rng.choice(["1.", "2.0", "3e0", ".5", "1.5", "2e-1", "x", "y"])
    form = rng.choice(
        ["{} + {}", "{} - {}", "{}*{}", "{} / {}", "{}**{}", "-{}", "({})", "-{}**{}"]
    )
    return form.format(*(expression(rng, depth - 1) for _ in range(2)))


def test_precedence_against_python(engine):
    rng, compared = random.Random(3), 0
    texts = [expression(rng, rng.randint(1, 6)) for _ in range(1500)]
    found = answers(engine, texts, x=0.7, y=-1.3)
    for text, mine in zip(texts, found, strict=True):
        try:
            right = eval(text, {"x": 0.7, "y": -1.3})
        except (ZeroDivisionError, OverflowError):
            continue
        if isinstance(right, complex):
            continue
        assert mine == pytest.approx(right, rel=1e-9, abs=1e-12), text
        compared += 1
    assert compared > 1000


def test_logic_against_python(engine):
    parts = ["0", "1", "j", "j - 1", "2 < j", "j == 1", "j != 2", "0 < j <= 2", "1 >= j"]
    rng, texts = random.Random(5), []
    for _ in range(300):
        words = [rng.choice(["and", "or"]) for _ in range(rng.randint(0, 4))]
        texts.append(" ".join([rng.choice(parts), *(f"{w} {rng.choice(parts)}" for w in words)]))
    for text, found in zip(texts, answers(engine, texts, "j", [4]), strict=True):
        right = [bool(eval(text, {"j": j})) for j in range(4)]
        assert found.astype(bool).tolist() == right, text


def test_functions_of_the_page_stand_for_the_built_in_ones(engine):
    code = """((calls) => {
      const data = (text, functions) =>
        formula.evaluate(text, { left: [], arrays: { x: 0.5 }, functions }).data[0];
      const exp = (x) => (calls.push(x), Math.exp(x) + 1);
      return [data("exp(x)", { exp }), data("σ(x)", { exp }), data("σ(x)", { sigmoid: () => 7 }),
        data("gelu′(x) + f(2)", { "gelu'": (x) => 10 * x, f: (x) => x }), calls];
    })([])"""
    *found, calls = script(engine, code)
    assert found == pytest.approx([math.exp(0.5) + 1, 1 / (2 + math.exp(-0.5)), 7, 7])
    assert calls == [0.5, -0.5]


# The verdict


def test_the_verdict_is_that_of_the_book(engine, rng):
    """The same error, entry and decision as `dlbook.tools.checks.compare`."""
    cases = []
    for _ in range(40):
        right = rng.standard_normal((3, 4)) * 10.0 ** rng.integers(-3, 4)
        found = right + right * rng.standard_normal((3, 4)) * 10.0 ** -rng.integers(8, 16, (3, 4))
        cases.append((found, right, {}))
    some = rng.standard_normal(5)
    holed = np.where(np.arange(5) == 2, np.nan, some)
    cases += [
        (some, some, {}),
        (np.zeros(5), np.zeros(5), {}),
        (some, np.zeros(5), {}),
        (some * 1e-13, np.zeros(5), {"scale": 1.0}),
        (some * 1e-11, np.zeros(5), {"scale": 1.0}),
        (some, some[:4], {}),
        (some, some.reshape(5, 1), {}),
        (np.zeros(0), np.zeros(0), {}),
        (holed, some, {}),
        (some, holed, {}),
        (holed, holed, {}),
        (holed, holed, {"nan": True}),
        (holed, holed[::-1], {"nan": True}),
        (some, holed, {"nan": True}),
        (np.full(5, np.inf), np.full(5, np.inf), {}),
    ]
    for found, right, options in cases:
        theirs = checks.compare("a-b", found, right, "the kernel", **options)
        code = f"formula.compare({json.dumps(given(found))}, {json.dumps(given(right))}, 1e-12, {json.dumps(options)})"
        mine = script(engine, code)
        assert mine["passed"] == theirs["passed"] and mine["count"] == right.size
        if theirs["error"] is None:
            assert mine["problem"]
        else:
            assert mine["error"] == theirs["error"] and "problem" not in mine
        if theirs["error"]:
            scores = np.abs(found - right)[tuple(mine["at"])]
            assert scores == np.nanmax(np.abs(found - right))


SAID = [
    ([0.1, 0.2, -0.3141], [0.1, 0.2, -0.2917], "j", "at j = 2: yours −0.31, the kernel −0.29"),
    ([0.1, 0.31449], [0.1, 0.31451], "j", "at j = 1: yours 0.314, the kernel 0.315"),
    ([3e-9, 1], [2e-9, 1], "j", "at j = 0: yours 3e−9, the kernel 2e−9"),
    ([[1, 2], [3, 4]], [[1, 2], [5, 4]], "jk", "at j = 1, k = 0: yours 3, the kernel 5"),
    (5, 4, "", "yours 5, the kernel 4"),
    ([2, 3], [2, 3], "j", "at j = 0: yours 2, the kernel 2"),
    ([2, np.inf], [2, 3], "j", "at j = 1: yours ∞, the kernel 3"),
    ([2, np.nan], [2, -np.inf], "j", "at j = 1: yours NaN, the kernel −∞"),
    ([1, 2], [1, 2, 3], "j", "shapes [2] and [3] differ"),
]


@pytest.mark.parametrize(("found", "right", "names", "words"), SAID)
def test_the_worst_entry_in_words(engine, found, right, names, words):
    verdict = f"formula.compare({json.dumps(given(found))}, {json.dumps(given(right))}, 1e-12)"
    assert script(engine, f"formula.sayWorst({verdict}, {json.dumps(list(names))})") == words


def test_the_other_side_has_a_name(engine):
    verdict = '{ at: [1], found: 1, expected: 2 }, ["n"], "the central difference"'
    said = script(engine, f"formula.sayWorst({verdict})")
    assert said == "at n = 1: yours 1, the central difference 2"


# Whatever is typed

WHOLE = """w_kj z_j δ_k w[k,j] z[j] delta[1] rate rho_hat_j j 2 .5 1e9 e π (z_j) -rate exp(rate) σ(z_j)
w_{1j} sum(k,δ_k) Σ_k Π_k max(z_j,0) max_k max(k,w_kj) where(j>0,z[j-1],0) where(j>0,z_{j-1},1) [j=1]"""
BETWEEN = "+ - * / ^ ** · × − < > <= >= == = != and or"
PART = """k m w_ w_k w_{ z[ Σ_{k,m} Σ sum( sum(k, prod( max( max(k, where( exp( erf( √( σ′( ( ) [ ] { } , _
² ³ 0 1e-3 constructor z[j-1] z[k] [j=k] z[j/2] δ_j detla 1e999"""
STRANGE = "′ @ # ; é 𝑤 \\ \" ' ` ${ __proto__"
VALUES, SIGNS, PARTS = WHOLE.split(), BETWEEN.split(), PART.split()
ANY = [*VALUES, *SIGNS, *PARTS] * 2 + STRANGE.split()


def fuzzed(rng):
    """Draw a string: pieces in any order, or values with signs between, or a formula changed."""
    if (form := rng.random()) < 0.2:
        return rng.choice(["", " "]).join(rng.choices(ANY, k=rng.randint(1, 20)))
    if form < 0.6:
        pairs = [f"{rng.choice(VALUES)} {rng.choice(SIGNS)}" for _ in range(rng.randint(0, 8))]
        return " ".join([*pairs, rng.choice(VALUES)])
    text = rng.choice(rng.choice(SAME)) if form < 0.9 else rng.choice(CASES).text
    for _ in range(rng.randint(1, 3)):
        at, to = sorted(rng.choices(range(len(text) + 1), k=2))
        change = rng.randrange(4)
        if change == 0:  # leave something out
            text = text[:at] + text[min(to, at + 3) :]
        elif change == 1:  # put something in
            text = text[:at] + rng.choice(ANY) + text[at:]
        elif change == 2:  # repeat a part
            text = text[:to] + text[at:to] * rng.choice([1, 1, 2, 50]) + text[to:]
            text = text[:3000]
        else:
            text = text[:at] + rng.choice("()[]{},+-*/^_=<> jkmwz1Σδ′") + text[at + 1 :]
    return text


def test_whatever_is_typed_gives_numbers_or_a_mistake(engine, names):
    """Ten thousand strings, none of which ends in another error or takes long."""
    rng, numbers, kinds = random.Random(7), 0, Counter()
    texts = [fuzzed(rng) for _ in range(10_000)]
    for text, found in zip(texts, answers(engine, texts, "j", [4], **names), strict=True):
        if isinstance(found, np.ndarray):
            assert found.shape == (4,)
            numbers += 1
            continue
        kinds[found["kind"]] += 1
        units = len(text.encode("utf-16-le")) // 2
        assert 0 <= found["start"] <= found["end"] <= units, (text, found)
        for word in ("undefined", "object", "function ("):
            assert found["words"] and word not in found["words"], (text, found)
    assert numbers > 1500 and kinds.keys() >= KINDS - {"deep", "much"}, (numbers, kinds)


# The file


def test_the_script_is_small_and_does_nothing_by_itself():
    text, engine = SCRIPT.read_text("utf-8"), MiniRacer()
    assert len(text.splitlines()) <= 320
    for word in ("eval(", "Function(", "fetch(", "import ", "export ", "document", "window"):
        assert word not in text
    names = "JSON.stringify(Object.getOwnPropertyNames(globalThis))"
    before = json.loads(engine.eval(names))
    engine.eval(text)
    assert set(json.loads(engine.eval(names))) - set(before) == {"formula"}
    offered = json.loads(engine.eval("JSON.stringify(Object.keys(formula))"))
    assert offered == ["Mistake", "evaluate", "compare", "sayWorst"]
    engine.eval(text)  # twice does no harm
