"""Lasso, elastic net and ridge path beside scikit-learn, float64.

Centred data, no bias on either side, inputs in Fortran order, which scikit-learn does not copy
either. Responses are a sparse sum of the columns and noise. Lasso and elastic net end at the same
duality gap, 1e-6 of the squares of y, and are compared by their weights; the strength is a tenth
of the one that makes all weights zero. `precompute` lets scikit-learn work with the products of
all columns, which pays where there are few. The ridge path is 100 strengths with the error of
leaving one out.
"""

import numpy as np

from benchmarks.row import NOT_BEHIND, OURS, Row

GAP = 1e-6


def problem(n, p):
    """Return centred inputs in Fortran order and responses; neighbours correlate by one half."""
    rng = np.random.default_rng(1)
    X = rng.standard_normal((n, p))
    for k in range(1, p):
        X[:, k] = 0.5 * X[:, k - 1] + np.sqrt(0.75) * X[:, k]
    w = np.zeros(p)
    w[rng.permutation(p)[:20]] = rng.standard_normal(min(p, 20))
    y = X @ w + 0.5 * np.linalg.norm(w) * rng.standard_normal(n)
    return np.asfortranarray(X - X.mean(axis=0)), y - y.mean()


def strengths(X, y, l2):
    """Return λ₁ and λ₂."""
    l1 = 0.1 * np.abs(X.T @ y).max()
    return l1, l2 * l1


def our_net(n, p, l2):
    from dlbook.regularization import elastic_net

    X, y = problem(n, p)
    l1, second = strengths(X, y, l2)
    found = [None]

    def call():
        found[0] = elastic_net(X, y, l1, second, intercept=False, gap=GAP)

    return call, lambda: [found[0].w]


def their_net(n, p, l2, precompute=False):
    from sklearn.linear_model import ElasticNet, Lasso

    X, y = problem(n, p)
    l1, second = strengths(X, y, l2)
    options = {"fit_intercept": False, "copy_X": False, "tol": GAP, "max_iter": 100_000}
    options["precompute"] = precompute
    if l2:
        fit = ElasticNet((l1 + second) / n, l1_ratio=l1 / (l1 + second), **options)
    else:
        fit = Lasso(l1 / n, **options)
    return lambda: fit.fit(X, y), lambda: [fit.coef_]


def path_strengths(X, y):
    return np.abs(X.T @ y).max() * np.geomspace(1, 0.01, 100)


def our_path(n, p):
    from dlbook.regularization import elastic_net_path

    X, y = problem(n, p)
    l1, found = path_strengths(X, y), [None]

    def call():
        found[0] = elastic_net_path(X, y, l1, intercept=False, gap=GAP)

    return call, lambda: [found[0].w]


def their_path(n, p, precompute=False):
    from sklearn.linear_model import lasso_path

    X, y = problem(n, p)
    alphas, found = path_strengths(X, y) / n, [None]

    def call():
        found[0] = lasso_path(
            X, y, alphas=alphas, precompute=precompute, copy_X=False, tol=GAP, max_iter=100_000
        )

    return call, lambda: [found[0][1].T]


def our_ridge(n, p):
    from dlbook.regularization import ridge_path

    X, y = problem(n, p)
    l2, found = np.geomspace(1e-2, 1e4, 100), [None]

    def call():
        found[0] = ridge_path(X, y, l2)

    return call, lambda: [found[0].w[found[0].left_out.argmin()]]


def their_ridge(n, p, mode="auto"):
    from sklearn.linear_model import RidgeCV

    X, y = problem(n, p)
    fit = RidgeCV(np.geomspace(1e-2, 1e4, 100), gcv_mode=mode)
    return lambda: fit.fit(X, y), lambda: [fit.coef_]


NETS = {
    OURS: our_net,
    "scikit-learn": their_net,
    "scikit-learn.precompute": lambda **size: their_net(**size, precompute=True),
}
PATHS = {
    OURS: our_path,
    "scikit-learn": their_path,
    "scikit-learn.precompute": lambda **size: their_path(**size, precompute=True),
}
RIDGES = {
    OURS: our_ridge,
    "scikit-learn": their_ridge,
    "scikit-learn.svd": lambda **size: their_ridge(**size, mode="svd"),
    "scikit-learn.eigen": lambda **size: their_ridge(**size, mode="eigen"),
}

ROWS = [
    *(
        Row(
            f"{name}-{n}x{p}",
            f"{what}, {n:,} examples, {p:,} columns",
            NETS,
            {"n": n, "p": p, "l2": l2},
            rtol=1e-2,  # at one gap weights may differ by its root
            target={"scikit-learn": 3.5 if p >= 200 else NOT_BEHIND},
        )
        for name, what, l2 in (("lasso", "lasso", 0.0), ("net", "elastic net", 1.0))
        for n, p in ((442, 10), (1000, 200), (1000, 2000), (5000, 1000))
    ),
    Row(
        "lasso-path-1000x200",
        "100 lassos, 1,000 examples, 200 columns",
        PATHS,
        {"n": 1000, "p": 200},
        rtol=2e-2,
        target={"scikit-learn": NOT_BEHIND},
    ),
    *(
        Row(
            f"ridge-path-{n}x{p}",
            f"100 ridge regressions and leaving one out, {n:,} examples, {p:,} columns",
            RIDGES,
            {"n": n, "p": p},
            rtol=1e-6,
            target={"scikit-learn": 1},
        )
        for n, p in ((442, 64), (1000, 200), (200, 1000))
    ),
]
