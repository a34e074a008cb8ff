"""A step of two adversarial networks at the size of the digits, both with Adam, float32.

A step is the discriminator's on 64 real and 64 generated examples, and then the generator's on other
noise, through the discriminator as it is by then. Examples and noise are given and stay in memory.
Compared are both losses of the second step and what two steps changed. Without a penalty,
with half the squared slope at the real examples, and, for a critic, with the square of what the
slope's length lacks to one between real and generated examples: the last two need second derivatives.
torch.compile takes no graph that is differentiated twice, so that its one setting for them is the whole
step in functional form. Adam adds 1e-4 to the root, on all sides: a critic's biases have gradients that
are zero but for rounding.
"""

import itertools

import numpy as np

from benchmarks import steps
from benchmarks.row import OURS, Row
from benchmarks.rows.backprop import change, torch_linear

GENERATOR, DISCRIMINATOR, BATCH = (16, 128, 128, 64), (64, 128, 128, 1), 64
RATE, BETAS, EPS, LEAK = 1e-3, (0.5, 0.9), 1e-4, 0.2
GAMMA = {"none": 0.0, "r1": 0.3, "gradient": 10.0}


def start():
    """Return real examples, two batches of noise, places between, and the layers of both networks."""
    rng = np.random.default_rng(1)
    real = rng.random((BATCH, DISCRIMINATOR[0]))
    z = rng.standard_normal((2, BATCH, GENERATOR[0]))
    tau = rng.random(BATCH)
    layers = [
        [
            (rng.standard_normal((n, m)) / np.sqrt(m / 2), 0.1 * rng.standard_normal(n))
            for m, n in itertools.pairwise(sizes)
        ]
        for sizes in (GENERATOR, DISCRIMINATOR)
    ]
    single = lambda parts: [(w.astype(np.float32), b.astype(np.float32)) for w, b in parts]
    data = tuple(part.astype(np.float32) for part in (real, *z, tau))
    return data, single(layers[0]), single(layers[1])


def compared(losses, now, layers):
    """Return both losses, and what changed."""
    return [np.array([float(loss) for loss in losses]), change(0, now, layers)[1]]


def dlbook(penalty):
    """Our model as `play` calls it."""
    from dlbook.nets import GAN
    from dlbook.optimization import Adam

    (real, first, second, tau), made, judged = start()
    loss = "wasserstein" if penalty == "gradient" else "non-saturating"
    net = GAN(
        GENERATOR,
        DISCRIMINATOR,
        loss=loss,
        penalty=None if penalty == "none" else penalty,
        gamma=GAMMA[penalty],
        leak=LEAK,
    )
    players, grads, work = net.like(), net.like(), net.workspace(BATCH)
    players.flat[:] = np.concatenate([np.ravel(p) for layer in made + judged for p in layer])
    adam = Adam(RATE, *BETAS, EPS)
    slots, last, t = [adam.start(part.flat) for part in players[1:]], [0.0, 0.0], [0]
    place = tau if penalty == "gradient" else None

    def step():
        t[0] += 1
        cost, price = net.discriminator_gradient(players, real, first, place, grads, work)
        adam.update(players.discriminator.flat, grads.discriminator.flat, slots[1], t[0])
        last[:] = cost + price, net.generator_gradient(players, second, grads, work)
        adam.update(players.generator.flat, grads.generator.flat, slots[0], t[0])

    def result():
        parts = [
            (w, b) for part in players[1:] for w, b in zip(part.w[2:], part.b[2:], strict=True)
        ]
        return compared(last, parts, made + judged)

    return step, result


def costs(penalty, soft, slope, root):
    """Return the two losses, in the words of a library."""

    def discriminator(score, real, fake, tau):
        s, t = score(real)[:, 0], score(fake)[:, 0]
        if penalty == "gradient":
            tau = tau[:, None]
            g = slope(score, tau * real + (1 - tau) * fake)
            held = ((root((g**2).sum(1)) - 1) ** 2).mean()
            return t.mean() - s.mean() + GAMMA[penalty] * held
        cost = soft(-s).mean() + soft(t).mean()
        if penalty == "r1":
            g = slope(score, real)
            cost = cost + GAMMA[penalty] / 2 * (g**2).sum(1).mean()
        return cost

    def generator(score, fake):
        s = score(fake)[:, 0]
        return -s.mean() if penalty == "gradient" else soft(-s).mean()

    return discriminator, generator


def torch_eager(penalty, mode=None):
    """PyTorch with its fused optimizer; `mode` names how the costs are compiled, if they are."""
    import torch
    from torch import nn

    data, made, judged = start()
    real, first, second, tau = map(torch.from_numpy, data)
    up, down = torch_linear(made)[0], torch_linear(judged)[0]
    relu, bent = nn.ReLU(), nn.LeakyReLU(LEAK)
    G = nn.Sequential(up[0], relu, up[1], relu, up[2], nn.Sigmoid())
    D = nn.Sequential(down[0], bent, down[1], bent, down[2])
    adam = lambda net: torch.optim.Adam(net.parameters(), lr=RATE, betas=BETAS, eps=EPS, fused=True)
    turns, last = (adam(D), adam(G)), [0.0, 0.0]

    def slope(score, x):
        x = x.detach().requires_grad_()
        return torch.autograd.grad(score(x).sum(), x, create_graph=True)[0]

    judging, making = costs(penalty, nn.functional.softplus, slope, torch.sqrt)
    cost_d = lambda: judging(D, real, G(first).detach(), tau)
    cost_g = lambda: making(D, G(second))
    if mode:
        cost_d, cost_g = (torch.compile(cost, mode=mode) for cost in (cost_d, cost_g))

    def step():
        for k, cost in enumerate((cost_d, cost_g)):
            turns[k].zero_grad(set_to_none=True)
            D.requires_grad_(k == 0)
            last[k] = cost()
            last[k].backward()
            turns[k].step()

    def result():
        now = [(one.weight.detach().numpy(), one.bias.detach().numpy()) for one in up + down]
        return compared([loss.detach() for loss in last], now, made + judged)

    return step, result


def functional(wide, bent, squash):
    """Return both networks as functions of their layers."""

    def network(layers, x, inside, end):
        for k, (w, b) in enumerate(layers):
            x = x @ w.T + b
            x = end(x) if k == len(layers) - 1 else inside(x)
        return x

    return (
        lambda layers, z: network(layers, z, wide, squash),
        lambda layers, x: network(layers, x, bent, lambda s: s),
    )


def both_turns(penalty, library, data):
    """Return a step of both networks and Adam, as a function of its state."""
    soft, root, wide, bent, squash, of_input, of_layers, mapped = library
    real, first, second, tau = data
    make, judge = functional(wide, bent, squash)
    slope = lambda score, x: of_input(lambda x: score(x).sum())(x)
    judging, making = costs(penalty, soft, slope, root)

    def moved(layers, grads, m, v, t):
        m = mapped(lambda a, g: BETAS[0] * a + (1 - BETAS[0]) * g, m, grads)
        v = mapped(lambda a, g: BETAS[1] * a + (1 - BETAS[1]) * g * g, v, grads)

        def step(p, a, b):
            by = root(b / (1 - BETAS[1] ** t)) + EPS
            return p - RATE / (1 - BETAS[0] ** t) * a / by

        return mapped(step, layers, m, v), m, v

    def step(G, D, mG, vG, mD, vD, t):
        t = t + 1
        fake = make(G, first)
        cost = lambda D: judging(lambda x: judge(D, x), real, fake, tau)
        judged, grads = of_layers(cost, D)
        D, mD, vD = moved(D, grads, mD, vD, t)
        made, grads = of_layers(lambda G: making(lambda x: judge(D, x), make(G, second)), G)
        G, mG, vG = moved(G, grads, mG, vG, t)
        return (judged, made), (G, D, mG, vG, mD, vD, t)

    return step


def torch_whole(penalty):
    """The whole step in functional form, in one compiled function."""
    import torch
    from torch.utils import _pytree as tree

    data, made, judged = start()
    data = tuple(map(torch.from_numpy, data))

    def of_layers(cost, layers):
        grads, loss = torch.func.grad_and_value(cost)(layers)
        return loss, grads

    bent = lambda x: torch.nn.functional.leaky_relu(x, LEAK)
    library = (
        *(
            torch.nn.functional.softplus,
            torch.sqrt,
            torch.relu,
            bent,
            torch.sigmoid,
            torch.func.grad,
            of_layers,
        ),
        tree.tree_map,
    )
    step = torch.compile(both_turns(penalty, library, data), mode=steps.TUNED)
    tensors = [[tuple(map(torch.from_numpy, pair)) for pair in part] for part in (made, judged)]
    zeros = [tree.tree_map(torch.zeros_like, part) for part in tensors for _ in range(2)]
    state, last = [(*tensors, *zeros, torch.zeros(()))], [None]

    @torch.no_grad()
    def call():
        last[0], state[0] = step(*state[0])

    def result():
        now = [(w.numpy(), b.numpy()) for part in state[0][:2] for w, b in part]
        return compared(last[0], now, made + judged)

    return call, result


def jax_jit(penalty):
    """JAX: the whole step under jit, its state donated."""
    import jax

    data, made, judged = start()
    data = tuple(map(jax.device_put, data))
    bent = lambda x: jax.nn.leaky_relu(x, LEAK)
    of_layers = lambda cost, layers: jax.value_and_grad(cost)(layers)
    library = (
        *(jax.nn.softplus, jax.numpy.sqrt, jax.nn.relu, bent, jax.nn.sigmoid, jax.grad, of_layers),
        jax.tree.map,
    )
    step = both_turns(penalty, library, data)
    step = jax.jit(step, donate_argnums=tuple(range(7)))
    layers = [made, judged]
    zeros = [jax.tree.map(np.zeros_like, part) for part in layers for _ in range(2)]
    state, last = [jax.device_put((*layers, *zeros, np.float32(0)))], [None]

    def call():
        last[0], state[0] = step(*state[0])
        jax.block_until_ready(state[0])

    def result():
        now = [pair for part in jax.device_get(state[0][:2]) for pair in part]
        return compared(last[0], now, made + judged)

    return call, result


SIDES = {
    OURS: dlbook,
    "torch": torch_eager,
    "torch.compile whole": torch_whole,
    "jax": jax_jit,
}
PLAIN = SIDES | {"torch.compile": lambda penalty: torch_eager(penalty, steps.TUNED)}


def operations(penalty):
    """Return how many a step takes: forward, back to what enters, and to the weights."""
    made, judged = (
        sum(m * n for m, n in itertools.pairwise(sizes)) for sizes in (GENERATOR, DISCRIMINATOR)
    )
    sides = 6 * judged + made + (made * 3 + 2 * judged)
    more = {"none": 0, "r1": 2 * judged, "gradient": 4 * judged}[penalty]
    return 2 * BATCH * (sides + more)


ROWS = [
    Row(
        f"gan-{name}",
        f"step of both networks, 16-128-128-64 and 64-128-128-1, batch 64, {what}",
        PLAIN if penalty == "none" else SIDES,
        {"penalty": penalty},
        rtol=1e-3,  # divided by their size, small gradients show how they were rounded
        work=operations(penalty),
        target={"torch": 1.5, "jax": 1},  # the best setting; five times the eager one is wanted
    )
    for penalty, name, what in (
        ("none", "plain", "without a penalty"),
        ("r1", "r1", "with a penalty on the slope at real examples"),
        ("gradient", "gradient", "critic with a gradient penalty"),
    )
]
