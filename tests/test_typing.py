"""A type checker finds no fault in what an ordinary reader writes."""

import os
import subprocess
import sys

from pages import ROOT

# Annotated on its own side, so that each call is looked at, and strict about what it calls
EXERCISES = """\
# mypy: disallow-untyped-calls, disallow-untyped-defs
import numpy as np

from dlbook.exercises import check, hint, progress, reset, solution


def bp2(w: np.ndarray, delta: np.ndarray, z: np.ndarray) -> np.ndarray:
    a = 1 / (1 + np.exp(-z))
    return (w.T @ delta) * a * (1 - a)


check("backprop-bp2", bp2)
check("backprop-bp2", lambda w, delta, z: w.T @ delta, traceback=True)
check("backprop-break", "ace")
check("backprop-break", {"a", "c"})
check("linear_regression-interaction", 4.088)
check("linear_regression-interaction", np.array([1.0]))
check("backprop-tanh", answer=np.tanh)
check("backprop-bp2")
hint("backprop-bp2")
hint("backprop-bp2", level=2)
solution("backprop-bp2")
progress()
progress("backprop")
reset("backprop-bp2")
reset()
"""
PACKAGE = """\
import numpy as np

from dlbook.backprop import init, workspace
from dlbook.convolution import avg_pool2d, im2col, max_pool2d
from dlbook.linear_regression import gradient, least_squares, rss
from dlbook.matmul import panels
from dlbook.optimization import Adam
from dlbook.tools import data, plotting
from dlbook.nets import fit, MLP
from dlbook.training import he, xavier
from dlbook.verification import check_gradient, claim, refute, verify


def main() -> None:
    rng = np.random.default_rng(0)
    digits = data.digits(np.float32)
    model = MLP((64, 30, 10))
    params = model.init(rng)
    run = fit(model, params, (digits.x_train, digits.y_train), Adam(0.01), rng, epochs=1, batch=32)
    X, y = np.array([[1.0, 0.0], [1.0, 1.0], [1.0, 2.0]]), [1.0, 2.0, 2.0]
    beta = least_squares(X, y).beta
    error: float = check_gradient(lambda b: rss(X, y, b), lambda b: gradient(X, y, b), [0.5, 0.5])
    verify("a-b", beta, [1.0, 2.0], by="hand", rtol=1, se=0.1, reject=[3, 4], name="weights")
    claim("a-c", "It is small.", error < 1, f"{error}", control=("not", error > 1))
    refute("a-b", [1], 2.0, by="hand", form="wrong")
    init((3, 2), rng, np.float32), workspace((3, 2), 4, "float32"), panels(2, 3, np.float64)
    he((3, 2), rng, dtype=np.float32), xavier((3, 2), rng, dtype="float32")
    image = np.zeros((1, 1, 8, 8))
    max_pool2d(image, 2, stride=(1, 2)), avg_pool2d(image, (2, 2), padding=(0, 1))
    im2col(image, (3, 3), stride=(1, 2), padding=(1, 0), dilation=(1, 2))
    fig, ax = plotting.figure(4, 3)
    ax.plot(run.history.loss, label="loss")
    plotting.show(fig, alt="A curve.", caption="The loss.")
"""


def test_a_reader_s_file_satisfies_mypy(tmp_path):
    (tmp_path / "exercises.py").write_text(EXERCISES)
    (tmp_path / "package.py").write_text(PACKAGE)
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--check-untyped-defs", "--ignore-missing-imports",
         "--follow-imports=silent", f"--cache-dir={ROOT / '_build' / 'mypy'}",
         "exercises.py", "package.py"],
        cwd=tmp_path,
        env=os.environ | {"MYPYPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "no issues found in 2 source files" in done.stdout
