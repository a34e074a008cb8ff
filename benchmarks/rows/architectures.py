"""A training step of a network of residual blocks and of one of Inception blocks, batch 64, float32.

Images of 8 × 8. The Inception block is the later one, with two layers of 3 × 3 where the first had
one of 5 × 5; the first is a row of its own. Both sides start from our first weights and descend the
gradient, PyTorch also with its channels last, which is our layout. Compared are the cost of the
second step and what two steps changed.
"""

import numpy as np

from benchmarks import steps
from benchmarks.row import NOT_BEHIND, OURS, Row

BATCH, RATE = 64, 0.1
DIRECT, MIDDLE, LARGE, POOLED = 16, (24, 32), (8, 16), 16  # channels: of a 1 × 1, behind one, …
WIDE = DIRECT + MIDDLE[1] + LARGE[1] + POOLED


def residual_net():
    """Return a stem of 32 maps, four blocks of two convolutions with batch norm, and a head."""
    from dlbook import nets
    from dlbook.nets import BatchNorm, Conv2d, Residual

    def conv():
        return Conv2d(32, 3, padding=1, bias=False), BatchNorm()

    relu = nets.Activation("relu")
    blocks = [part for _ in range(4) for part in (Residual(*conv(), relu, *conv()), relu)]
    head = nets.GlobalPool(), nets.Dense(10)
    return nets.Network((1, 8, 8), nets.Sequential(*conv(), relu, *blocks, *head))


def inception_net(large):
    """Return a stem of 32 maps, three blocks of four branches, and a head; `large` are the filters of one."""
    from dlbook import nets
    from dlbook.nets import Conv2d, MaxPool2d, Parallel, Sequential

    relu = nets.Activation("relu")

    def conv(k, size):
        return Conv2d(k, size, padding=size // 2), relu

    block = Parallel(
        Sequential(*conv(DIRECT, 1)),
        Sequential(*conv(MIDDLE[0], 1), *conv(MIDDLE[1], 3)),
        Sequential(*conv(LARGE[0], 1), *(part for size in large for part in conv(LARGE[1], size))),
        Sequential(MaxPool2d(3, 1, 1), *conv(POOLED, 1)),
    )
    blocks = [block] * 3
    head = nets.GlobalPool(), nets.Dense(10)
    return nets.Network((1, 8, 8), Sequential(*conv(32, 3), *blocks, *head))


def start(large):
    """Return a network of ours, its first weights and a batch."""
    net, rng = inception_net(large) if large else residual_net(), np.random.default_rng(1)
    params = net.init(rng)
    x = rng.random((BATCH, 1, 8, 8), np.float32)
    return net, params, x, rng.integers(10, size=BATCH)


def ours(large):
    """Our model as the loop calls it."""
    net, params, x, y = start(large)
    first, batch = params.flat.copy(), net.check(params, (x, y))

    def result(loss):
        return [np.array([loss]), params.flat - first]

    return steps.our_step(net, params, batch, RATE, result)


def torch_net(large):
    """PyTorch's layers, in the order of ours."""
    import torch
    from torch import nn

    class Residual(nn.Module):
        def __init__(self, body):
            super().__init__()
            self.body = body

        def forward(self, x):
            return x + self.body(x)

    class Parallel(nn.Module):
        def __init__(self, *branches):
            super().__init__()
            self.branches = nn.ModuleList(branches)

        def forward(self, x):
            return torch.cat([branch(x) for branch in self.branches], 1)

    def conv(c, k, size):
        return nn.Conv2d(c, k, size, padding=size // 2), nn.ReLU()

    def normed(c):
        return nn.Conv2d(c, 32, 3, padding=1, bias=False), nn.BatchNorm2d(32)

    def block(c):
        third, k = [*conv(c, LARGE[0], 1)], LARGE[0]
        for size in large:
            third, k = [*third, *conv(k, LARGE[1], size)], LARGE[1]
        return Parallel(
            nn.Sequential(*conv(c, DIRECT, 1)),
            nn.Sequential(*conv(c, MIDDLE[0], 1), *conv(*MIDDLE, 3)),
            nn.Sequential(*third),
            nn.Sequential(nn.MaxPool2d(3, 1, 1), *conv(c, POOLED, 1)),
        )

    if not large:
        bodies = [nn.Sequential(*normed(32), nn.ReLU(), *normed(32)) for _ in range(4)]
        blocks = [part for body in bodies for part in (Residual(body), nn.ReLU())]
        below, width = [*normed(1), nn.ReLU()], 32
    else:
        below, width = conv(1, 32, 3), WIDE
        blocks = [block(32), block(WIDE), block(WIDE)]
    pool = nn.AdaptiveAvgPool2d(1), nn.Flatten()
    return nn.Sequential(*below, *blocks, *pool, nn.Linear(width, 10))


def theirs(large, last_axis=False, mode=None):
    """PyTorch with our first weights and its fused Adam."""
    import torch
    from torch import nn

    _, params, x, y = start(large)
    model, ends = torch_net(large), 0
    with torch.no_grad():
        for p in model.parameters():
            p.copy_(torch.from_numpy(params.flat[ends : ends + p.numel()].reshape(p.shape)))
            ends += p.numel()
    x, y = torch.from_numpy(x), torch.from_numpy(y)
    if last_axis:
        model, x = (a.to(memory_format=torch.channels_last) for a in (model, x))

    def cost():
        return nn.functional.cross_entropy(model(x), y)

    def result(loss):
        now = np.concatenate([p.detach().contiguous().numpy().ravel() for p in model.parameters()])
        return [np.array([float(loss)]), now - params.flat]

    return steps.torch_step(model.parameters(), cost, RATE, result, mode=mode)


SIDES = {
    OURS: ours,
    "torch": theirs,
    "torch.channels_last": lambda large: theirs(large, last_axis=True),
    "torch.compile": lambda large: theirs(large, mode=steps.TUNED),
}


def weights(large):
    """Return how many weights of filters a pixel meets on its way up."""
    if not large:
        return 9 * 32 * (1 + 8 * 32)
    k, own = LARGE[0], 9 * MIDDLE[0] * MIDDLE[1]
    for size in large:
        own, k = own + size**2 * k * LARGE[1], LARGE[1]
    return 9 * 32 + 3 * own + (32 + 2 * WIDE) * (DIRECT + MIDDLE[0] + LARGE[0] + POOLED)


ROWS = [
    Row(
        f"{name}-step",
        f"SGD step of a network of {what}, 64 images of 8 × 8",
        SIDES,
        {"large": large},
        rtol=1e-2,  # rectifiers near zero open for one side and not for the other
        threads=(1, 2),
        work=6 * BATCH * 64 * weights(large),
        target={"torch": least},
    )
    for name, what, large, least in (
        ("residual", "four residual blocks with batch norm, 32 maps", (), NOT_BEHIND),
        ("inception", "three Inception blocks, 80 maps, 5 × 5 as two 3 × 3", (3, 3), NOT_BEHIND),
        ("inception-5x5", "three Inception blocks, 80 maps, with filters of 5 × 5", (5,), 0.6),
    )
]
