"""Exercises of the chapter on generative adversarial networks.

Page: ``book/gan.md``. Axes: n real examples, m generated ones, d numbers of an example, k numbers of
noise, x places of a finite set; i and j maps of features, t their places and s those of another picture.
"""

import numpy as np
from scipy import linalg, special

from dlbook.exercises.forms import Choice, Exercise, Mistake, sizes
from dlbook.tools.jit import njit

__all__ = ["EXERCISES"]


# The loss of a discriminator, from scores


def scores_probes(rng):
    """One real score and two others; then moderate ones, and ones whose exponentials overflow."""
    yield np.array([0.0]), np.array([1.0, -2.0])
    for low, high in ((-3, 3), (-900, 900), (-5, 5), (2000, 3000)):
        n, m = sizes(rng, 2, least=2, most=9)
        yield rng.uniform(low, high, size=n), rng.uniform(low, high, size=m)


def soft(s):
    return np.logaddexp(0, s)


def cost(real, fake):
    return np.mean(soft(-real)) + np.mean(soft(fake))


def cost_loops(real, fake):
    total = 0.0
    for s in real:
        total += (max(-s, 0) + np.log1p(np.exp(-abs(s)))) / len(real)
    for s in fake:
        total += (max(s, 0) + np.log1p(np.exp(-abs(s)))) / len(fake)
    return total


def cost_logs(real, fake):
    return -special.log_expit(real).mean() - special.log_expit(-fake).mean()


@njit
def cost_compiled(real, fake):
    total = 0.0
    for n in range(len(real)):
        total += (max(-real[n], 0.0) + np.log1p(np.exp(-abs(real[n])))) / len(real)
    for m in range(len(fake)):
        total += (max(fake[m], 0.0) + np.log1p(np.exp(-abs(fake[m])))) / len(fake)
    return total


def cost_naive(real, fake):
    D = lambda s: 1 / (1 + np.exp(-s))
    return -np.mean(np.log(D(real))) - np.mean(np.log(1 - D(fake)))


def cost_kept_away(real, fake):
    D = special.expit
    return -np.mean(np.log(D(real) + 1e-8)) - np.mean(np.log(1 - D(fake) + 1e-8))


SCORES = Exercise(
    label="gan-scores",
    task="Write `cost(real, fake)`, the discriminator's loss from the scores of real and of generated examples, of any size.",
    reference=cost,
    axes="(n), (m) -> ()",
    probes=scores_probes,
    mistakes=(
        Mistake(
            "the sigmoid is computed first, and then its logarithm",
            cost_naive,
            "Where the discriminator is sure and wrong the sigmoid is zero or one, and the logarithm infinite: write log(1 + e^s).",
            "{eq}`gan-discriminator-loss`",
        ),
        Mistake(
            "probabilities are kept away from zero by a small number",
            cost_kept_away,
            "The result is finite and wrong: beyond it the loss stops rising. From scores no such number is needed.",
            "{eq}`gan-discriminator-loss`",
        ),
        Mistake(
            "the labels are exchanged",
            lambda real, fake: cost(fake, real),
            "A high score says real: the loss falls where real scores rise and generated ones fall.",
            "{eq}`gan-discriminator-loss`",
        ),
        Mistake(
            "all scores are averaged together",
            lambda real, fake: np.mean(np.concatenate([soft(-real), soft(fake)])),
            "The value of the game has two means, one over each kind; together the larger batch would count for more.",
            "{eq}`gan-minimax`",
        ),
        Mistake(
            "generated examples are called real",
            lambda real, fake: np.mean(soft(-real)) + np.mean(soft(-fake)),
            "That label belongs to the generator's loss. The discriminator's wants generated scores low.",
            "{eq}`gan-non-saturating`",
        ),
        Mistake(
            "real examples are left out",
            lambda real, fake: np.mean(soft(fake)),
            "That part alone is least where everything is called generated.",
            "{eq}`gan-discriminator-loss`",
        ),
        Mistake(
            "this is the critic's loss",
            lambda real, fake: np.mean(fake) - np.mean(real),
            "A critic's scores enter as they are; here each goes through log(1 + e^s).",
            "{eq}`gan-critic`",
        ),
    ),
    hints=(
        "What is −log σ(s), and −log(1 − σ(s)), without a sigmoid?",
        "log(1 + e^(−s)) for a real score, log(1 + e^s) for a generated one; a mean over each kind.",
        "np.logaddexp(0, s) is log(1 + e^s) for any s.",
    ),
    used="A discriminator is trained by {eq}`gan-discriminator-loss`.",
    right=(cost_loops, cost_logs, cost_compiled),
    others=(
        (lambda real, fake: -cost(real, fake), "every number has the opposite sign"),
        (lambda real, fake: soft(-real), "wrong type or shape"),
    ),
)


# The generator's gradient


def generator_probes(rng):
    """One number each; then several, with examples that are recognised and ones that pass."""
    yield np.array([[1.0]]), np.array([[0.5]]), np.array([-2.0])
    for size in (1.0, 4.0, 2.0, 8.0):
        m, k, d = sizes(rng, 3, least=2, most=6)
        yield rng.normal(size=(m, k)), rng.normal(size=(d, k)), size * rng.normal(size=d)


def _down(slope, bend=lambda x: 1 - x**2):
    """Return the gradient by theta where a score has a slope, and tanh has another one."""

    def found(z, theta, psi):
        x = np.tanh(z @ theta.T)
        return (slope(x @ psi)[:, None] * psi * bend(x)).T @ z

    return found


pulled = _down(lambda s: -special.expit(-s) / len(s))


def pulled_loops(z, theta, psi):
    grad = np.zeros_like(theta)
    for noise in z:
        x = np.tanh(theta @ noise)
        bar = -1 / (1 + np.exp(x @ psi)) / len(z)
        grad += np.outer(bar * psi * (1 - x**2), noise)
    return grad


def pulled_sums(z, theta, psi):
    x = np.tanh(np.einsum("mk,dk->md", z, theta))
    bar = (special.expit(x @ psi) - 1) / len(z)
    return np.einsum("m,d,md,mk->dk", bar, psi, 1 - x * x, z)


def pulled_steps(z, theta, psi):
    loss = lambda V: np.mean(np.log(1 + np.exp(-(np.tanh(z @ V.T) @ psi))))
    grad = np.zeros(theta.shape)
    for d, k in np.ndindex(*theta.shape):
        V = theta.astype(complex)
        V[d, k] += 1e-30j
        grad[d, k] = loss(V).imag / 1e-30
    return grad


@njit
def pulled_compiled(z, theta, psi):
    grad = np.zeros(theta.shape)
    for m in range(z.shape[0]):
        x = np.tanh(np.array([np.sum(row * z[m]) for row in theta]))
        bar = -1 / (1 + np.exp(np.sum(x * psi))) / z.shape[0]
        for d in range(theta.shape[0]):
            grad[d] += bar * psi[d] * (1 - x[d] ** 2) * z[m]
    return grad


GENERATOR = Exercise(
    label="gan-generator",
    task="Write `pulled(z, theta, psi)`, the gradient by theta of the non-saturating loss, for examples tanh(theta z) with scores psi·x.",
    reference=pulled,
    axes="(m k), (d k), (d) -> (d k)",
    probes=generator_probes,
    mistakes=(
        Mistake(
            "this is the saturating loss",
            _down(lambda s: -special.expit(s) / len(s)),
            "That gradient vanishes where samples are bad: the weight of an example is σ(−s), not σ(s).",
            "{eq}`gan-slopes`",
        ),
        Mistake(
            "the sigmoid is differentiated without its logarithm",
            _down(lambda s: -special.expit(s) * special.expit(-s) / len(s)),
            "The slope of σ is σ(s) σ(−s), and the logarithm divides by σ(s).",
            "{eq}`gan-slopes`",
        ),
        Mistake(
            "the slope of tanh is missing",
            _down(lambda s: -special.expit(-s) / len(s), bend=lambda x: 1),
            "The examples are tanh of something: on the way back each entry meets 1 − x².",
            "{eq}`backprop-bp2`",
        ),
        Mistake(
            "the slope of tanh is taken at the example",
            _down(lambda s: -special.expit(-s) / len(s), bend=lambda x: 1 - np.tanh(x) ** 2),
            "x is tanh already: its slope is 1 − x².",
            "{eq}`backprop-bp2`",
        ),
        Mistake(
            "every example counts alike",
            _down(lambda s: -np.ones_like(s) / len(s)),
            "That is a critic's gradient. Here an example weighs σ(−s), the more the worse it is.",
            "{eq}`gan-critic`",
        ),
    ),
    hints=(
        "Three factors for each example: of the loss by its score, of the score by the example, of the example by theta.",
        "They are −σ(−s)/Ñ, psi, and (1 − x²) times the noise.",
        "x = tanh(z @ theta.T); ((−σ(−s)/Ñ)[:, None] * psi * (1 − x**2)).T @ z.",
    ),
    used="Each step of a generator goes this way: {eq}`gan-slopes`, and then backwards through both networks.",
    right=(pulled_loops, pulled_sums, pulled_steps, pulled_compiled),
    others=(
        (lambda *a: -pulled(*a), "every number has the opposite sign"),
        (lambda *a: pulled(*a)[:, 0], "wrong type or shape"),
        (lambda z, theta, psi: np.zeros_like(theta), "wrong"),  # through a detached sample
    ),
)


# A penalty on the slope


def penalty_probes(rng):
    """A score that is half the square; then networks, in other sizes."""

    def itself(points):
        return points

    yield itself, np.array([[3.0, 0.0]]), np.array([[0.0, 4.0]]), np.array([0.5])
    for _ in range(4):
        n, d, h = sizes(rng, 3, least=2, most=6)
        A, u = rng.normal(size=(h, d)), 1.5 * rng.normal(size=h)

        def slope(points, A=A, u=u):
            return (u * (1 - np.tanh(points @ A.T) ** 2)) @ A

        yield slope, rng.normal(size=(n, d)), 2 + rng.normal(size=(n, d)), rng.uniform(size=n)


def between(x, y, tau):
    return tau[:, None] * x + (1 - tau[:, None]) * y


def _penalty(points, cost):
    """Return a penalty: where slopes are taken, and what of them."""
    return lambda slope, x, y, tau: np.mean(cost(slope(points(x, y, tau))))


def length(g):
    return np.linalg.norm(g, axis=1)


def penalty(slope, x, y, tau):
    return np.mean((length(slope(between(x, y, tau))) - 1) ** 2)


def penalty_loops(slope, x, y, tau):
    total = 0.0
    for n in range(len(x)):
        point = tau[n] * x[n] + (1 - tau[n]) * y[n]
        g = slope(point[None])[0]
        total += (np.sqrt(np.sum(g * g)) - 1) ** 2
    return total / len(x)


def penalty_bracket(slope, x, y, tau):
    g = slope(y + tau[:, None] * (x - y))
    square = np.einsum("nd,nd->n", g, g)
    return np.mean(square - 2 * np.sqrt(square) + 1)


@njit
def of_slopes(g):
    total = 0.0
    for n in range(g.shape[0]):
        total += (np.sqrt(np.sum(g[n] ** 2)) - 1) ** 2
    return total / g.shape[0]


def penalty_compiled(slope, x, y, tau):
    return of_slopes(slope(between(x, y, tau)))


def off_one(g):
    return (length(g) - 1) ** 2


PENALTY = Exercise(
    label="gan-penalty",
    task="Write `penalty(slope, x, y, tau)`, the gradient penalty (strength one) at the points tau x + (1 − tau) y.",
    reference=penalty,
    axes="(slope), (n d), (n d), (n) -> ()",
    probes=penalty_probes,
    mistakes=(
        Mistake(
            "slopes are taken at the real examples",
            _penalty(lambda x, y, tau: x, off_one),
            "The penalty asks for slope one between the two kinds. On real examples alone stands the other one, which asks for zero.",
            "{eq}`gan-r1`",
        ),
        Mistake(
            "slopes are taken at the generated examples",
            _penalty(lambda x, y, tau: y, off_one),
            "The critic has to be straight on the way from generated to real, and not only at one end.",
            "{eq}`gan-between`",
        ),
        Mistake(
            "slopes are taken half-way for every pair",
            _penalty(lambda x, y, tau: (x + y) / 2, off_one),
            "Every pair has its own place on its line: tau[n] goes with row n.",
            "{eq}`gan-between`",
        ),
        Mistake(
            "one place serves all pairs",
            _penalty(lambda x, y, tau: tau[0] * x + (1 - tau[0]) * y, off_one),
            "Every pair has its own place on its line: tau[n] goes with row n.",
            "{eq}`gan-between`",
        ),
        Mistake(
            "tau belongs to the generated examples",
            _penalty(lambda x, y, tau: between(y, x, tau), off_one),
            "Drawn at random, the place may be counted from either end. Here tau is the share of the real example.",
            "{eq}`gan-between`",
        ),
        Mistake(
            "the length lacks its square root",
            _penalty(between, lambda g: (np.sum(g**2, axis=1) - 1) ** 2),
            "The sum of squares is the squared length: take its root before one is subtracted.",
            "{eq}`gan-gradient-penalty`",
        ),
        Mistake(
            "one is subtracted from each entry",
            _penalty(between, lambda g: np.sum((np.abs(g) - 1) ** 2, axis=1)),
            "One is the length of the whole row, not the size of each of its entries.",
            "{eq}`gan-gradient-penalty`",
        ),
        Mistake(
            "one length is taken of the whole batch",
            _penalty(between, lambda g: (np.sqrt(np.sum(g**2)) - 1) ** 2),
            "Each example has a slope of its own: sum over axis 1.",
            "{eq}`gan-gradient-penalty`",
        ),
        Mistake(
            "only slopes above one cost",
            _penalty(between, lambda g: np.maximum(length(g) - 1, 0) ** 2),
            "That would be enough for a critic of slope at most one, and has its uses. The usual penalty pulls from both sides.",
            "{eq}`gan-gradient-penalty`",
        ),
        Mistake(
            "the deviation is not squared",
            _penalty(between, lambda g: np.abs(length(g) - 1)),
            "Squared, it pulls less the nearer a slope is to one.",
            "{eq}`gan-gradient-penalty`",
        ),
    ),
    hints=(
        "Three steps: a point for each pair, the slope there, its length.",
        "tau has one number for each row: tau[:, None] * x + (1 − tau[:, None]) * y.",
        "g = slope(points); np.mean((np.sqrt((g**2).sum(axis=1)) − 1)**2).",
    ),
    used="A critic with {eq}`gan-gradient-penalty` is trained on the ring of {doc}`gan`.",
    right=(penalty_loops, penalty_bracket, penalty_compiled),
    others=((lambda slope, x, y, tau: off_one(slope(between(x, y, tau))), "wrong type or shape"),),
)


# How far two pictures are apart in style


def style_probes(rng):
    """One map of two places and of one; then several maps, on pictures of other sizes."""
    yield np.array([[1.0, 2.0]]), np.array([[2.0]])
    for _ in range(4):
        i, t, s = sizes(rng, 3, least=2, most=8)
        yield np.abs(rng.normal(size=(i, t))), 1 + np.abs(rng.normal(size=(i, s)))


def gram(F):
    return F @ F.T / F.shape[1]


def _style(of, against=lambda T, G: np.sum(T**2)):
    """Return a distance of style with another matrix, or relative to something else."""
    return lambda F, wanted: np.sum((of(F) - of(wanted)) ** 2) / against(of(wanted), of(F))


style = _style(gram)


def style_loops(F, wanted):
    gap = size = 0.0
    for i in range(len(F)):
        for j in range(len(F)):
            aim = np.mean(wanted[i] * wanted[j])
            gap += (np.mean(F[i] * F[j]) - aim) ** 2
            size += aim**2
    return gap / size


def style_norms(F, wanted):
    G, T = (
        np.einsum("it,jt->ij", F, F) / F.shape[1],
        np.einsum("is,js->ij", wanted, wanted) / wanted.shape[1],
    )
    return (np.linalg.norm(G - T) / np.linalg.norm(T)) ** 2


@njit
def style_compiled(F, wanted):
    gap, size = 0.0, 0.0
    for i in range(F.shape[0]):
        for j in range(F.shape[0]):
            aim = np.sum(wanted[i] * wanted[j]) / wanted.shape[1]
            gap += (np.sum(F[i] * F[j]) / F.shape[1] - aim) ** 2
            size += aim**2
    return gap / size


STYLE = Exercise(
    label="gan-style",
    task="Write `style(F, wanted)`, how far the maps F of one picture are in style from the maps wanted of another one, of any size.",
    reference=style,
    axes="(i t), (i s) -> ()",
    probes=style_probes,
    mistakes=(
        Mistake(
            "the Gram matrices are not divided by the number of places",
            _style(lambda F: F @ F.T),
            "A larger picture would have a stronger style. Divide each matrix by its own number of places.",
            "{eq}`gan-gram`",
        ),
        Mistake(
            "both are divided by the places of one picture",
            lambda F, wanted: (
                np.sum((F @ F.T - wanted @ wanted.T) ** 2)
                / F.shape[1] ** 2
                / np.sum((wanted @ wanted.T / wanted.shape[1]) ** 2)
            ),
            "Each picture has its own number of places.",
            "{eq}`gan-gram`",
        ),
        Mistake(
            "only how strong each map is counts, not which occur together",
            _style(lambda F: np.mean(F**2, axis=1)),
            "That is the diagonal. Products of different maps say which features occur at the same places.",
            "{eq}`gan-gram`",
        ),
        Mistake(
            "the mean of each map was subtracted",
            _style(lambda F: gram(F - F.mean(axis=1, keepdims=True))),
            "That is a covariance. The Gram matrix keeps the means: how strong a feature is belongs to the style.",
            "{eq}`gan-gram`",
        ),
        Mistake(
            "only the means of the maps are compared",
            _style(lambda F: F.mean(axis=1)),
            "Two textures may have the same means. The Gram matrix has products of maps.",
            "{eq}`gan-gram`",
        ),
        Mistake(
            "the gap is relative to the picture that is made",
            _style(gram, against=lambda T, G: np.sum(G**2)),
            "It is relative to the style that is wanted, which stays fixed while the other one moves.",
            "{eq}`gan-style-loss`",
        ),
        Mistake(
            "the gap is not relative to anything",
            _style(gram, against=lambda T, G: 1.0),
            "Layers and filters have sizes of their own. Divide by the sum of squares of the wanted matrix.",
            "{eq}`gan-style-loss`",
        ),
        Mistake(
            "the ratio is not squared",
            lambda F, wanted: np.sqrt(style(F, wanted)),
            "The loss is a ratio of sums of squares, without a root.",
            "{eq}`gan-style-loss`",
        ),
    ),
    hints=(
        "Which matrix forgets the places of a map? It is of the same size for both pictures.",
        "F @ F.T divided by the number of columns of F, and the same for wanted.",
        "np.sum((G − T)**2) / np.sum(T**2) with T of the wanted ones.",
    ),
    used="The photograph of {doc}`gan` is changed until {eq}`gan-style-loss` is small at all scales.",
    right=(style_loops, style_norms, style_compiled),
    others=((lambda F, wanted: gram(F) - gram(wanted), "wrong type or shape"),),
)


# The best discriminator for labels that were smoothed


def smoothed_probes(rng):
    """Two places; then more, with labels near one and zero."""
    yield np.array([0.5, 0.5]), np.array([0.25, 0.75]), 0.9, 0.2
    for _ in range(4):
        (x,) = sizes(rng, 1, least=3, most=9)
        p, q = rng.dirichlet(np.ones(x)), rng.dirichlet(np.ones(x))
        yield p, q, rng.uniform(0.7, 0.95), rng.uniform(0.05, 0.4)


def smoothed(p, q, c1, c0):
    return (c1 * p + c0 * q) / (p + q)


def smoothed_average(p, q, c1, c0):
    D = p / (p + q)
    return c0 + (c1 - c0) * D


def smoothed_loops(p, q, c1, c0):
    D = np.empty(len(p))
    for x in range(len(p)):
        real, generated = c1 * p[x] + c0 * q[x], (1 - c1) * p[x] + (1 - c0) * q[x]
        D[x] = real / (real + generated)
    return D


@njit
def smoothed_compiled(p, q, c1, c0):
    D = np.empty(p.size)
    for x in range(p.size):
        D[x] = c1 - (c1 - c0) * q[x] / (p[x] + q[x])
    return D


SMOOTHED = Exercise(
    label="gan-smoothed",
    task="Write `smoothed(p, q, c1, c0)`, the best discriminator if real examples have the label c1 and generated ones the label c0.",
    reference=smoothed,
    axes="(x), (x), (), () -> (x)",
    probes=smoothed_probes,
    mistakes=(
        Mistake(
            "the labels are those of the plain game",
            lambda p, q, c1, c0: p / (p + q),
            "This is the answer for the labels one and zero.",
            "{eq}`gan-optimal-discriminator`",
        ),
        Mistake(
            "p and q are exchanged",
            lambda p, q, c1, c0: (c1 * q + c0 * p) / (p + q),
            "The label c1 is that of the real examples, whose probabilities are p.",
            "{eq}`gan-optimal-discriminator`",
        ),
        Mistake(
            "the label of generated examples is taken as zero",
            lambda p, q, c1, c0: c1 * p / (p + q),
            "Right for labels that are smoothed on one side. Here generated examples also count as real, by c0.",
            "{eq}`gan-optimal-discriminator`",
        ),
        Mistake(
            "the label of real examples is taken as one",
            lambda p, q, c1, c0: (p + c0 * q) / (p + q),
            "Real examples count as real by c1 only, and as generated by 1 − c1.",
            "{eq}`gan-optimal-discriminator`",
        ),
        Mistake(
            "the labels weigh the examples",
            lambda p, q, c1, c0: c1 * p / (c1 * p + c0 * q),
            "An example with a label below one is not a part of an example: what it lacks it adds to the other class.",
            "{eq}`gan-optimal-discriminator`",
        ),
        Mistake(
            "c0 is the share by which generated examples are generated",
            lambda p, q, c1, c0: (c1 * p + (1 - c0) * q) / (p + q),
            "c0 is how much a generated example counts as real, so that zero is the plain game.",
            "{eq}`gan-optimal-discriminator`",
        ),
        Mistake(
            "the two sides are not averaged",
            lambda p, q, c1, c0: c1 * p + c0 * q,
            "Divide by p + q: how often the place occurs at all.",
            "{eq}`gan-optimal-discriminator`",
        ),
    ),
    hints=(
        "Write the terms of one place: p (c1 log D + (1 − c1) log(1 − D)), and the same with q and c0.",
        "With A before log D and B before log(1 − D) the best D is A/(A + B).",
        "A = c1 p + c0 q, and A + B = p + q.",
    ),
    used="For c1 = 1 and c0 = 0 it is {eq}`gan-optimal-discriminator`.",
    right=(smoothed_average, smoothed_loops, smoothed_compiled),
    others=((lambda *a: smoothed(*a)[:1], "wrong type or shape"),),
)


# The distance of two Gaussians


def gaussians_probes(rng):
    """One dimension, spreads two and one; then more, with covariances that do not commute."""
    yield np.array([3.0]), np.array([[4.0]]), np.array([1.0]), np.array([[1.0]])
    for d in sizes(rng, 4, least=2, most=6):
        root, other = rng.normal(size=(2, d, 2 * d))
        S, R = root @ root.T / d, 0.3 * np.eye(d) + other @ other.T / (3 * d)
        yield rng.normal(size=d), S, rng.normal(size=d), R


def gaussians(mu, S, nu, R):
    e = np.linalg.eigvals(S @ R).real
    return np.sum((mu - nu) ** 2) + np.trace(S + R) - 2 * np.sqrt(np.maximum(e, 0)).sum()


def gaussians_root(mu, S, nu, R):
    middle = linalg.sqrtm(S)
    middle = linalg.sqrtm(middle @ R @ middle)
    return np.sum((mu - nu) ** 2) + np.trace(S + R - 2 * np.real(middle))


def gaussians_factors(mu, S, nu, R):
    """The roots of the eigenvalues of SR are the singular values of a product of factors."""
    shared = np.linalg.svd(np.linalg.cholesky(S).T @ np.linalg.cholesky(R), compute_uv=False)
    return (mu - nu) @ (mu - nu) + np.trace(S) + np.trace(R) - 2 * shared.sum()


@njit
def gaussians_compiled(mu, S, nu, R):
    L = np.linalg.cholesky(S)
    e = np.linalg.eigvalsh(L.T @ R @ L)
    return np.sum((mu - nu) ** 2) + np.sum(np.diag(S)) + np.sum(np.diag(R)) - 2 * np.sum(np.sqrt(e))


def _gaussians(means, spread):
    return lambda mu, S, nu, R: means(mu - nu) + spread(S, R)


def both(S, R):
    return gaussians(np.zeros(len(S)), S, np.zeros(len(S)), R)


def squares(v):
    return np.sum(v**2)


GAUSSIANS = Exercise(
    label="gan-gaussians",
    task="Write `gaussians(mu, S, nu, R)`, the squared Fréchet distance of two Gaussians with these means and covariances.",
    reference=gaussians,
    axes="(d), (d d), (d), (d d) -> ()",
    probes=gaussians_probes,
    mistakes=(
        Mistake(
            "the root is taken of each entry",
            _gaussians(squares, lambda S, R: np.trace(S + R - 2 * np.sqrt(np.abs(S @ R)))),
            "A root of a matrix is a matrix whose product with itself is that matrix: take roots of eigenvalues.",
            "{eq}`gan-frechet`",
        ),
        Mistake(
            "only the diagonals of the covariances are used",
            _gaussians(
                squares, lambda S, R: np.sum((np.sqrt(np.diag(S)) - np.sqrt(np.diag(R))) ** 2)
            ),
            "Two Gaussians may spread alike along each axis and lie across each other.",
            "{eq}`gan-frechet`",
        ),
        Mistake(
            "roots of eigenvalues are paired by size",
            _gaussians(
                squares,
                lambda S, R: np.sum(
                    (np.sqrt(np.linalg.eigvalsh(S)) - np.sqrt(np.linalg.eigvalsh(R))) ** 2
                ),
            ),
            "Eigenvalues of S and R do not know each other's directions. Take those of the product SR.",
            "{eq}`gan-frechet`",
        ),
        Mistake(
            "the eigenvalues have no root",
            _gaussians(squares, lambda S, R: np.trace(S + R) - 2 * np.trace(S @ R)),
            "In one dimension the cross term is 2στ, the root of the product of the variances.",
            "{eq}`gan-frechet`",
        ),
        Mistake(
            "the roots are subtracted once",
            _gaussians(squares, lambda S, R: (both(S, R) + np.trace(S + R)) / 2),
            "It is a square, σ² + τ² − 2στ: the roots count twice.",
            "{eq}`gan-frechet`",
        ),
        Mistake(
            "the means enter unsquared",
            _gaussians(lambda v: np.sqrt(squares(v)), both),
            "The means enter by their squared distance.",
            "{eq}`gan-frechet`",
        ),
        Mistake(
            "the means are left out",
            _gaussians(lambda v: 0.0, both),
            "Equal spreads at different places are far apart.",
            "{eq}`gan-frechet`",
        ),
        Mistake(
            "covariances are compared entry by entry",
            _gaussians(squares, lambda S, R: np.sum((S - R) ** 2)),
            "That would be in units of the fourth power. The distance moves mass, and is in squared units of the data.",
            "{eq}`gan-frechet`",
        ),
        Mistake(
            "the distance has lost its square",
            lambda *a: np.sqrt(gaussians(*a)),
            "Asked is the squared distance, as it is reported.",
            "{eq}`gan-frechet`",
        ),
    ),
    hints=(
        "In one dimension it is (μ − ν)² + (σ − τ)². What becomes of στ?",
        "Of the sum of the roots of the eigenvalues of SR.",
        "np.linalg.eigvals(S @ R) are not negative up to rounding, though SR is not symmetric.",
    ),
    used="Samples are judged by {eq}`gan-frechet`, among other measures.",
    right=(gaussians_root, gaussians_factors, gaussians_compiled),
    others=((lambda mu, S, nu, R: (mu - nu) ** 2, "wrong type or shape"),),
)


# Break this line

BREAK = Choice(
    label="gan-break",
    task="The generator's line `loss = non_saturating(s)` becomes `loss = saturating(s)`. Name the letters of all that is computed otherwise.",
    right="bd",
    wrong={
        "a": "(a): the discriminator's loss has the generator's scores in it, not the generator's loss.",
        "c": "(c): both losses fall where a score rises, so each slope keeps its sign. What changes is its size.",
        "e": "(e): the best discriminator is a matter of p and q, whatever the generator wants of it.",
        "f": "(f): this penalty is taken on real examples, and by the discriminator.",
    },
    missing="How steep are the two losses at a score of zero, and at −5? And what becomes of a gradient that is a sum of such slopes?",
    hints=(
        "The line stands in the generator's step. Which of the letters belong to that step?",
        "Both losses fall where a score rises. Do they fall equally fast?",
        "The slopes are −σ(s)/Ñ and −σ(−s)/Ñ: same sign, other sizes, and so another sum over examples.",
    ),
    used="The two slopes are {eq}`gan-slopes`, and their quotient is {eq}`gan-ratio`.",
)

EXERCISES = (SCORES, GENERATOR, PENALTY, STYLE, SMOOTHED, GAUSSIANS, BREAK)
