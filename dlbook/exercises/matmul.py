"""Exercises of the chapter on matrix products.

Page: ``book/matmul.md``. Axes: n examples, k inputs and j outputs of a layer, as in the chapter; in
the chain of products l layers and o orders, in the cache t accesses.
"""

from itertools import pairwise

import numpy as np

from dlbook import matmul as chapter
from dlbook.exercises.forms import Choice, Exercise, Mistake, sizes
from dlbook.tools.jit import njit
from dlbook.verification import complex_step

__all__ = ["EXERCISES"]


# Least squares with many outputs


def outputs_probes(rng):
    """One example with two outputs; then random ones, with a matrix that is not symmetric."""
    S = np.array([[1.0, 2.0], [0.0, 1.0]])
    yield np.ones((1, 1)), np.array([[0.0, 1.0]]), np.array([[1.0, 2.0]]), S
    for _ in range(4):
        j, k, n = sizes(rng, 3)
        X, Y, W = (rng.normal(size=shape) for shape in ((n, k), (n, j), (k, j)))
        yield X, Y, W, rng.normal(size=(j, j))


def outputs_gradient(X, Y, W, S):
    return X.T @ (X @ W - Y) @ (S + S.T)


def outputs_two_terms(X, Y, W, S):
    R = X @ W - Y
    return X.T @ R @ S + X.T @ R @ S.T


def outputs_step(X, Y, W, S):
    def cost(W):
        R = X @ W - Y
        return np.trace(R @ S @ R.T)

    return complex_step(cost, W)


@njit
def outputs_compiled(X, Y, W, S):
    R = chapter.product(X, W) - Y
    G = np.empty_like(R)
    for n in range(len(R)):
        G[n] = chapter.quadratic_gradient(S, R[n])
    return chapter.product_backward(G, X, W)[1]


def _residual(change):
    """Return a gradient that treats the residuals and S as `change` says."""
    return lambda X, Y, W, S: X.T @ change(X @ W - Y, S)


OUTPUTS = Exercise(
    label="matmul-least-squares",
    task="Write `outputs_gradient(X, Y, W, S)`, the derivative of tr(R S Rᵀ) by W, where R = XW − Y.",
    reference=outputs_gradient,
    axes="(n k), (n j), (k j), (j j) -> (k j)",
    probes=outputs_probes,
    mistakes=(
        Mistake(
            "S is taken for symmetric",
            _residual(lambda R, S: 2 * R @ S),
            "R stands in the trace twice; the second dR gives Sᵀ, and S + Sᵀ is 2S for a symmetric S only.",
            "{eq}`matmul-quadratic-gradient`",
        ),
        Mistake(
            "Sᵀ stands twice, and S not at all",
            _residual(lambda R, S: 2 * R @ S.T),
            "One of the two terms has S and the other Sᵀ; turn only one of them around.",
            "{eq}`matmul-quadratic-gradient`",
        ),
        Mistake(
            "S is left out",
            _residual(lambda R, S: 2 * R),
            "This is the derivative of the plain sum of squares, where S = I.",
            "{eq}`matmul-quadratic-gradient`",
        ),
        Mistake(
            "only the diagonal of S is used",
            _residual(lambda R, S: 2 * R * np.diag(S)),
            "The other entries of S couple the errors of different outputs.",
            "{eq}`matmul-quadratic-gradient`",
        ),
        Mistake(
            "Y is not subtracted",
            lambda X, Y, W, S: X.T @ X @ W @ (S + S.T),
            "R = XW − Y stays in the derivative whole, Y included: for S = I it is 2XᵀR.",
            "{eq}`matmul-product-gradient`",
        ),
        Mistake(
            "S and Sᵀ are subtracted",
            _residual(lambda R, S: R @ (S - S.T)),
            "A number equals its transpose, with the same sign: the two terms add up.",
            "{eq}`matmul-quadratic-gradient`",
        ),
    ),
    hints=(
        "dR = X dW, and R occurs twice: the product rule gives two terms.",
        "df = tr(dR S Rᵀ) + tr(R S dRᵀ). The second is equal to its transpose, tr(dR Sᵀ Rᵀ).",
        "df = tr((S + Sᵀ) Rᵀ X dW), so the derivative is Xᵀ R (S + Sᵀ).",
    ),
    used="It is {eq}`matmul-quadratic-gradient` for each row of R and {eq}`matmul-product-gradient` behind it.",
    right=(outputs_two_terms, outputs_step, outputs_compiled),
    others=(
        (lambda *args: -outputs_gradient(*args), "every number has the opposite sign"),
        (lambda *args: outputs_gradient(*args).T, "the result is transposed"),
        (
            lambda X, Y, W, S: outputs_gradient(X, Y, W, S) / len(X),
            "every number is 1/N times what it should be",
        ),
        (
            _residual(lambda R, S: R @ S),
            "S is taken for symmetric; and every number is 0.5 times what it should be",
        ),
        (lambda X, Y, W, S: X @ (X @ W - Y) @ (S + S.T), "crashed"),
    ),
)


# The derivative of an inverse


def inverse_probes(rng):
    """Two by two, with an inverse to be read off; then random ones, well conditioned."""
    yield np.array([[1.0, 2.0], [0.0, 1.0]]), np.array([[1.0, 2.0], [1.0, 3.0]])
    for n in sizes(rng, 4, least=2, most=7):
        U, _, V = np.linalg.svd(rng.normal(size=(n, n)))
        yield rng.normal(size=(n, n)), U * rng.uniform(0.5, 2, size=n) @ V


def trace_inverse_gradient(A, X):
    inverse = np.linalg.inv(X)
    return -(inverse @ A @ inverse).T


def inverse_solved(A, X):
    return -np.linalg.solve(X, np.linalg.solve(X.T, A.T).T).T


def inverse_step(A, X):
    return complex_step(lambda X: np.trace(A @ np.linalg.inv(X)), X)


def inverse_sums(A, X):
    inverse = np.linalg.inv(X)
    return -np.einsum("jp,pq,qi->ij", inverse, A, inverse)


@njit
def inverse_compiled(A, X):
    turned = chapter.log_det_gradient(X)
    return -chapter.product(chapter.product(turned, chapter.trace_gradient(A)), turned)


def _with_inverse(form):
    """Return what an expression in A and X⁻¹ gives."""
    return lambda A, X: form(A, np.linalg.inv(X))


INVERSE = Exercise(
    label="matmul-inverse",
    task="Write `trace_inverse_gradient(A, X)`, the derivative of tr(A X⁻¹) by X.",
    reference=trace_inverse_gradient,
    axes="(n n), (n n) -> (n n)",
    probes=inverse_probes,
    mistakes=(
        Mistake(
            "both inverses stand on the left of A",
            _with_inverse(lambda A, Y: -(Y @ Y @ A).T),
            "dX stands between the two inverses, and so they end up on the two sides of A.",
            "{eq}`matmul-differential`",
        ),
        Mistake(
            "both inverses stand on the right of A",
            _with_inverse(lambda A, Y: -(A @ Y @ Y).T),
            "Matrices may go round in a trace, but not past each other: dX has to come to the end.",
            "{eq}`matmul-differential`",
        ),
        Mistake(
            "A is transposed and the inverses are not",
            _with_inverse(lambda A, Y: -Y @ A.T @ Y),
            "The transpose of a product turns every factor, and their order.",
            "{eq}`matmul-trace-gradient`",
        ),
        Mistake(
            "one of the inverses is missing",
            _with_inverse(lambda A, Y: -(Y @ A).T),
            "The −1/x² of numbers has two factors 1/x; for matrices they stand left and right of dX.",
            "{ref}`ex-matmul-inverse`",
        ),
        Mistake(
            "the inverse is taken entry by entry",
            lambda A, X: -A.T / X**2,
            "An entry of X⁻¹ depends on all entries of X: −1/x² holds for numbers, not entry by entry.",
            "{ref}`ex-matmul-inverse`",
        ),
        Mistake(
            "A is left out",
            _with_inverse(lambda A, Y: -(Y @ Y).T),
            "This is the derivative of tr(X⁻¹), where A = I.",
            "{eq}`matmul-trace-gradient`",
        ),
    ),
    hints=(
        "X X⁻¹ is always I, so its differential is zero. Write it with the product rule.",
        "d(X⁻¹) = −X⁻¹ dX X⁻¹. Put it into tr(A d(X⁻¹)) and turn the trace until dX stands last.",
        "df = −tr(X⁻¹ A X⁻¹ dX), so the derivative is −(X⁻¹ A X⁻¹)ᵀ.",
    ),
    used="The method is that of {eq}`matmul-differential`, by which {eq}`matmul-log-det-gradient` was found.",
    right=(inverse_solved, inverse_step, inverse_sums, inverse_compiled),
    others=(
        (lambda A, X: trace_inverse_gradient(A, X).T, "the result is transposed"),
        (lambda A, X: -trace_inverse_gradient(A, X), "every number has the opposite sign"),
        (lambda A, X: np.trace(trace_inverse_gradient(A, X)), "wrong type or shape"),
        (lambda A, X: trace_inverse_gradient(A, X) + 0.01, "wrong"),
    ),
)


# A cache of your own, and an unlucky size


def cache_probes(rng):
    """Two lines of one set that take turns with a third; then random walks and walks down columns."""
    yield np.array([0, 2, 0, 4, 0, 2]), 2, 2
    for t in sizes(rng, 4, least=20, most=60):
        count, ways = sizes(rng, 2, least=2, most=4)
        yield rng.integers(0, 3 * count * ways, size=t), count, ways
    for rows in sizes(rng, 2, least=10, most=30):
        walk = np.arange(rows) * int(rng.integers(9, 40)) // 4
        yield np.concatenate((walk, walk)), 4, 3


def misses(lines, sets, ways):
    cache = [[] for _ in range(sets)]
    count = 0
    for line in lines:
        held = cache[line % sets]
        if line in held:
            held.remove(line)
        else:
            count += 1
        held.append(line)
        del held[:-ways]
    return count


def misses_kernel(lines, sets, ways):
    cache = np.full((sets, ways), -1)
    return sum(chapter.fetch(cache, line) for line in lines)


def misses_clock(lines, sets, ways):
    used, count = {}, 0
    for now, line in enumerate(lines):
        if line not in used:
            count += 1
            rivals = [other for other in used if (other - line) % sets == 0]
            if len(rivals) == ways:
                del used[min(rivals, key=used.get)]
        used[line] = now
    return count


@njit
def misses_compiled(lines, sets, ways):
    """Count what lies between two uses: a line is lost after `ways` others of its set."""
    count = 0
    for t in range(len(lines)):
        seen, back = 0, t - 1
        while back >= 0 and lines[back] != lines[t]:
            again = False
            for s in range(back + 1, t):
                again = again or lines[s] == lines[back]
            seen += not again and (lines[back] - lines[t]) % sets == 0
            back -= 1
        count += back < 0 or seen >= ways
    return count


def first_in_first_out(lines, sets, ways):
    cache, count = [[] for _ in range(sets)], 0
    for line in lines:
        held = cache[line % sets]
        if line not in held:
            count += 1
            held.append(line)
            del held[:-ways]
    return count


def newest_goes(lines, sets, ways):
    cache, count = [[] for _ in range(sets)], 0
    for line in lines:
        held = cache[line % sets]
        if line in held:
            held.remove(line)
        else:
            count += 1
            del held[ways - 1 :]
        held.append(line)
    return count


CACHE = Exercise(
    label="matmul-unlucky",
    task="Write `misses(lines, sets, ways)`, how many of the accesses to lines a cache has to fetch; it starts empty.",
    reference=misses,
    axes="(t), (), () -> ()",
    probes=cache_probes,
    mistakes=(
        Mistake(
            "the line fetched longest ago is driven out",
            first_in_first_out,
            "It has to be the one used longest ago: a line that is found becomes the newest of its set.",
            "{eq}`matmul-traffic`",
        ),
        Mistake(
            "the line used last is driven out",
            newest_goes,
            "What was used a moment ago is likely to be used again; the one used longest ago goes.",
            "{eq}`matmul-traffic`",
        ),
        Mistake(
            "a line may go into any place",
            lambda lines, sets, ways: misses(lines, 1, sets * ways),
            "Each line belongs to one set, its number modulo `sets`, and competes with those of that set only.",
            "{ref}`ex-matmul-unlucky`",
        ),
        Mistake(
            "a set holds only one line",
            lambda lines, sets, ways: misses(lines, sets, 1),
            "There is room for `ways` lines in each set.",
            "{ref}`ex-matmul-unlucky`",
        ),
        Mistake(
            "nothing is ever driven out",
            lambda lines, sets, ways: len(np.unique(lines)),
            "These are the different lines; a full set has to give one up, which is fetched again later.",
            "{eq}`matmul-traffic`",
        ),
        Mistake(
            "the hits are counted",
            lambda lines, sets, ways: len(lines) - misses(lines, sets, ways),
            "Count what is not there and has to be fetched.",
            "{ref}`ex-matmul-unlucky`",
        ),
        Mistake(
            "sets and ways are exchanged",
            lambda lines, sets, ways: misses(lines, ways, sets),
            "`sets` is how many there are, `ways` how many lines each of them holds.",
            "{ref}`ex-matmul-unlucky`",
        ),
    ),
    hints=(
        "Keep one list for each set, ordered by use; a line meets only the list `line % sets`.",
        "Whether it is found or fetched, the line moves to the end of its list.",
        "Found: remove and append. Not found: count, drop the first if the list holds `ways` lines, and append.",
    ),
    used="`fetched` counts with such a cache what {eq}`matmul-traffic` predicts.",
    right=(misses_kernel, misses_clock, misses_compiled),
    others=(
        (
            lambda lines, sets, ways: -misses(lines, sets, ways),
            "every number has the opposite sign",
        ),
        (lambda lines, sets, ways: len(lines), "wrong"),
        (lambda lines, sets, ways: misses(lines, sets, ways) + 1, "wrong"),
        (lambda lines, sets, ways: lines % sets, "wrong type or shape"),
    ),
)


# Where to put the brackets


def chain_probes(rng):
    """Three layers; then longer and shorter chains, all sizes different."""
    yield (np.array([2, 3, 4]),)
    for layers in sizes(rng, 4, least=3, most=7):
        yield (rng.permutation(np.arange(2, 12))[:layers],)


def chain_costs(sizes):
    layers = sizes[1:] * sizes[:-1]
    return np.array([np.sum(layers), sizes[0] * np.sum(layers[1:]) + sizes[-1] * sizes[0]])


def chain_loops(sizes):
    backward = 0
    for i in range(len(sizes) - 1, 0, -1):
        backward += sizes[i] * sizes[i - 1]
    forward = sizes[-1] * sizes[0]
    for i in range(2, len(sizes)):
        forward += sizes[i] * sizes[i - 1] * sizes[0]
    return backward, forward


def chain_walked(sizes):
    """Multiply shapes as one would multiply matrices."""

    def cost(shapes):
        (rows, inner), rest, total = shapes[0], shapes[1:], 0
        for _, columns in rest:
            total += rows * inner * columns
            inner = columns
        return total

    jacobians = [(int(m), int(n)) for n, m in pairwise(sizes)]
    turned = [(n, m) for m, n in [*jacobians, (1, int(sizes[-1]))]]
    return cost([(1, int(sizes[-1])), *jacobians[::-1]]), cost(turned)


@njit
def chain_compiled(sizes):
    return np.dot(1.0 * sizes[1:], 1.0 * sizes[:-1]), sizes[0] * (
        np.dot(1.0 * sizes[2:], 1.0 * sizes[1:-1]) + sizes[-1]
    )


def _second(form):
    """Return the right first count beside another second one."""
    return lambda sizes: np.array([chain_costs(sizes)[0], form(sizes, sizes[1:] * sizes[:-1])])


def _first(form):
    """Return another first count beside the right second one."""
    return lambda sizes: np.array([form(sizes), chain_costs(sizes)[1]])


BRACKETS = Exercise(
    label="matmul-brackets",
    task="Write `chain_costs(sizes)`, the multiply-adds of a row times all Jacobians, from the output and from the input.",
    reference=chain_costs,
    axes="(l) -> (o)",
    probes=chain_probes,
    mistakes=(
        Mistake(
            "from the input, the row at the output is left out",
            _second(lambda n, layers: n[0] * np.sum(layers[1:])),
            "The last of the products is the row times a matrix of n_L rows and n_0 columns.",
            "{ref}`ex-matmul-brackets`",
        ),
        Mistake(
            "from the input, one product too many is counted",
            _second(lambda n, layers: n[0] * np.sum(layers) + n[-1] * n[0]),
            "The first product is of two Jacobians: there is one product fewer than there are factors.",
            "{eq}`matmul-product`",
        ),
        Mistake(
            "from the input, only the last product counts",
            _second(lambda n, layers: n[-1] * n[0]),
            "The matrices on the way have to be multiplied first, n_l n_(l−1) n_0 multiply-adds each.",
            "{eq}`matmul-product`",
        ),
        Mistake(
            "from the input, each product keeps its own two sizes only",
            _second(lambda n, layers: np.sum(n[2:] * n[1:-1] * n[:-2]) + n[-1] * n[0]),
            "What has been multiplied so far always has n_0 columns, however far it has come.",
            "{eq}`matmul-product`",
        ),
        Mistake(
            "from the output, the first layer is left out",
            _first(lambda n: np.sum(n[2:] * n[1:-1])),
            "The row goes through every Jacobian, the one beside the input too.",
            "{eq}`matmul-product`",
        ),
        Mistake(
            "from the output, matrices are multiplied",
            _first(lambda n: n[-1] * np.sum(n[1:-1] * n[:-2]) + n[-1] * n[0]),
            "With the row first there is never a matrix times a matrix: n_l n_(l−1) for each layer.",
            "{ref}`ex-matmul-brackets`",
        ),
        Mistake(
            "the two orders are exchanged",
            lambda n: chain_costs(n)[::-1],
            "Each count is right; the one that starts at the output is wanted first.",
            "{ref}`ex-matmul-brackets`",
        ),
        Mistake(
            "the sizes are added instead of multiplied",
            _first(lambda n: np.sum(n[1:] + n[:-1])),
            "A row of n_l numbers times a matrix of n_(l−1) columns takes n_l n_(l−1) multiply-adds.",
            "{eq}`matmul-product`",
        ),
    ),
    hints=(
        "A product of r × m and m × c takes r m c multiply-adds. Which of the three sizes never changes in each order?",
        "From the output the left factor is always one row; from the input the right factor always has n_0 columns.",
        "Σ_l n_l n_(l−1) over all layers; and n_0 (Σ_{l≥2} n_l n_(l−1) + n_L).",
    ),
    used="Backpropagation chains {eq}`matmul-dense-backward` from the output, so a gradient costs a few passes.",
    right=(chain_loops, chain_walked, chain_compiled),
    others=(
        (lambda n: 2 * chain_costs(n), "every number is 2 times what it should be"),
        (lambda n: chain_costs(n[::-1]), "wrong"),
        (lambda n: np.sum(chain_costs(n)), "wrong type or shape"),
    ),
)


# Points far from the origin

FAR = Choice(
    label="matmul-cancellation",
    task="Pixels are shifted by 1,000, in float32. Name the letters of all repairs after which the neighbours are right.",
    right="ad",
    wrong={
        "b": "(b) moves the two sets by different amounts, so it changes every distance between them.",
        "c": "(c) comes too late: the product has been rounded, and more digits in the sum do not bring them back.",
        "e": "(e) keeps the ranking on paper; the two terms that remain are as large as before, and rounded alike.",
        "f": "(f) shrinks the distances as much as the lengths: the relative error of the subtraction is the same.",
    },
    missing="There are two ways: make the lengths small, or make the rounding of all three terms small.",
    hints=(
        "The error is about u‖x‖². A repair changes u, or the lengths, and leaves the distances alone.",
        "All three terms lose the digits, the product too; and only one and the same shift keeps every distance.",
        "(a) makes the lengths small and (d) makes u small; the others do neither, or change the distances.",
    ),
    used="Both sides of {eq}`matmul-distances` are equal on paper; its right side subtracts large numbers.",
)


# How large must the batch be?


def ridge_batch_probes(rng):
    """One layer of round numbers; then several layers, machines and kinds of numbers."""
    yield np.array([1000.0]), np.array([500.0]), 10.0, 4.0
    for count, size in zip(sizes(rng, 4, least=2, most=9), (4.0, 2.0, 8.0, 1.0), strict=True):
        inputs, outputs = rng.integers(512, 8192, size=(2, count)).astype(float)
        yield inputs, outputs, float(rng.uniform(5, 20)), size


def ridge_batch(inputs, outputs, ridge, size):
    weights = inputs * outputs
    return ridge * size * weights / (2 * weights - ridge * size * (inputs + outputs))


def ridge_batch_reciprocal(inputs, outputs, ridge, size):
    return 1 / (2 / (ridge * size) - 1 / inputs - 1 / outputs)


def ridge_batch_searched(inputs, outputs, ridge, size):
    low, high = np.zeros_like(inputs), np.full_like(inputs, 1e6)
    for _ in range(80):
        middle = (low + high) / 2
        enough = chapter.arithmetic_intensity(middle, inputs, outputs, size) >= ridge
        low, high = np.where(enough, low, middle), np.where(enough, middle, high)
    return high


@njit
def ridge_batch_compiled(inputs, outputs, ridge, size):
    batch = np.empty_like(inputs)
    for i in range(len(inputs)):
        per_example = 2 * inputs[i] * outputs[i] - ridge * size * (inputs[i] + outputs[i])
        batch[i] = ridge * size * inputs[i] * outputs[i] / per_example
    return batch


RIDGE = Exercise(
    label="matmul-ridge",
    task="Write `ridge_batch(inputs, outputs, ridge, size)`, the batches at which layers reach `ridge` operations per byte.",
    reference=ridge_batch,
    axes="(l), (l), (), () -> (l)",
    probes=ridge_batch_probes,
    mistakes=(
        Mistake(
            "a multiply-add is counted as one operation",
            lambda K, J, r, s: r * s * K * J / (K * J - r * s * (K + J)),
            "The peak counts a multiplication and an addition, so a multiply-add is two operations.",
            "{eq}`matmul-arithmetic-intensity`",
        ),
        Mistake(
            "only the weights are fetched",
            lambda K, J, r, s: r * s / 2 + 0 * K,
            "Inputs and outputs move too, and grow with the batch; that is why N/2 is only about right.",
            "{eq}`matmul-arithmetic-intensity`",
        ),
        Mistake(
            "the outputs are not stored",
            lambda K, J, r, s: r * s * K * J / (2 * K * J - r * s * K),
            "The product moves three matrices: inputs, weights, and the outputs that are written.",
            "{eq}`matmul-arithmetic-intensity`",
        ),
        Mistake(
            "the inputs are not fetched",
            lambda K, J, r, s: r * s * K * J / (2 * K * J - r * s * J),
            "The product moves three matrices: inputs, weights and outputs.",
            "{eq}`matmul-arithmetic-intensity`",
        ),
        Mistake(
            "numbers are counted instead of bytes",
            lambda K, J, r, s: ridge_batch(K, J, r, 1.0),
            "The ridge is in operations per byte: each number that is moved has `size` bytes.",
            "{eq}`matmul-arithmetic-intensity`",
        ),
        Mistake(
            "each layer is taken for a square one",
            lambda K, J, r, s: ridge_batch(K, K, r, s),
            "Inputs and outputs may differ in number, and both sizes enter.",
            "{eq}`matmul-arithmetic-intensity`",
        ),
        Mistake(
            "the traffic of the batch has the wrong sign",
            lambda K, J, r, s: r * s * K * J / (2 * K * J + r * s * (K + J)),
            "Bringing N to one side changes the sign: what each example moves makes the batch larger.",
            "{eq}`matmul-roofline`",
        ),
    ),
    hints=(
        "Put I = N, K inputs and J outputs into the arithmetic intensity, and set it equal to the ridge.",
        "2NKJ = ridge · size · (NK + KJ + NJ). Collect what has N on one side.",
        "N = ridge · size · KJ / (2KJ − ridge · size · (K + J)).",
    ),
    used="It is where {eq}`matmul-arithmetic-intensity` meets the ridge point of {eq}`matmul-roofline`.",
    right=(ridge_batch_reciprocal, ridge_batch_searched, ridge_batch_compiled),
    others=(
        (lambda *args: -ridge_batch(*args), "every number has the opposite sign"),
        (lambda *args: ridge_batch(*args) / 2, "every number is 0.5 times what it should be"),
        (lambda *args: np.ceil(ridge_batch(*args)), "wrong"),
        (lambda *args: np.max(ridge_batch(*args)), "wrong type or shape"),
    ),
)


# Break this line, and another

BREAK = Choice(
    label="matmul-break",
    task="`dense_backward` overwrites `dw[j, k]` instead of adding to it. Name the letters of all checks that fail.",
    right="bd",
    wrong={
        "a": "(a), ∂C/∂X, has a row for each example and is a sum over j, in another line.",
        "c": "(c), ∂C/∂b, is a sum over the batch too, but in a line of its own, which still adds.",
        "e": "(e) uses a single example, and of one term the sum is the last one.",
        "f": "(f) counts multiplications; the line has lost an addition.",
    },
    missing="Something else reads the derivative with respect to the weights: look at what each check is made of.",
    hints=(
        "What does `dw` hold at the end of the loop over n?",
        "The last example's term alone. Which of the checks would see that, and which have only one example?",
        "(b) compares dw directly, (d) its product with a direction; (e) has a batch of one.",
    ),
    used="The sum over examples is what makes a batch of {eq}`matmul-dense-backward` one product.",
)

EDGES = Choice(
    label="matmul-edges",
    task="`product_tiled` ends its last loop at K − s + 1. Name the letters of all checks of 50 × 30 times 30 × 41 that fail.",
    right="cde",
    wrong={
        "a": "(a) has blocks of 1, which divide every K.",
        "b": "(b) has blocks of 15, and 15 divides K = 30: the last one is whole.",
    },
    missing="A block is lost wherever the side does not divide K, be it smaller or larger than K.",
    hints=(
        "Which values does `range(0, 30 - s + 1, s)` take for each s, and which does it lack?",
        "It lacks the last block of the sum when that is smaller than s. Rows and columns of c lose nothing.",
        "s = 1 and s = 15 divide 30; 7 leaves 2, 16 leaves 14, and 64 leaves all of it.",
    ),
    used="Nothing in {eq}`matmul-blocking` asks that s divide anything, so its checks must not either.",
)

EXERCISES = (OUTPUTS, INVERSE, CACHE, BRACKETS, FAR, RIDGE, BREAK, EDGES)
