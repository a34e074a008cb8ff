"""Residual and Inception blocks with every gradient, and whole networks counted, against PyTorch."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from shown import shown
from test_layers import Run, agree, leaves
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from dlbook import architectures as ar
from dlbook.nets import (
    Activation,
    AvgPool2d,
    BatchNorm,
    Conv2d,
    Dense,
    GlobalPool,
    MaxPool2d,
    Network,
    Parallel,
    Residual,
    Sequential,
    published,
)
from dlbook.nets.table import table

SEEDS = range(25)
RELU = Activation("relu")


def shape_of(rng):
    """Draw the shape of a batch of images."""
    return *(int(n) for n in rng.integers(1, 5, 2)), *(int(n) for n in rng.integers(3, 9, 2))


@pytest.mark.parametrize("narrow", [False, True])
@pytest.mark.parametrize("project", [False, True])
def test_residual_blocks(project, narrow):
    """Two layers of 3 × 3, or a bottleneck; with the bare identity, or a projection and a stride."""
    for seed in SEEDS:
        rng = np.random.default_rng(seed)
        x = rng.normal(size=shape_of(rng))
        C, M = x.shape[1], int(rng.integers(1, 6))
        K, S = (int(n) for n in rng.integers(1, 5, 2)) if project else (C, 1)
        sizes = ((M, 1, 1), (M, 3, S), (K, 1, 1)) if narrow else ((M, 3, S), (K, 3, 1))

        def unit(k, size, stride):
            return Conv2d(k, size, stride, padding=size // 2, bias=False), BatchNorm()

        body = [layer for unit_ in sizes for layer in (*unit(*unit_), RELU)][:-1]
        skip = Sequential(*unit(K, 1, S)) if project else None
        run = Run(Residual(*body, skip=skip), x, rng)

        def normed(x, w, gamma, beta, stride):
            z = F.conv2d(x, w, None, stride, w.shape[2] // 2)
            return F.batch_norm(z, None, None, gamma, beta, training=True)

        def theirs(x, *p, sizes=sizes, S=S):
            h, p = x, list(p)
            for i, (_, _, stride) in enumerate(sizes):
                h = normed(torch.relu(h) if i else h, *p[:3], stride)
                del p[:3]
            return h + (normed(x, *p, S) if p else x)

        agree(run, x, list(leaves(run.p.net)), theirs)


@pytest.mark.parametrize("factored", [False, True])
def test_inception_blocks(factored):
    """Branches of any width, with one 5 × 5, or with 1 × 3 and 3 × 1 in its place."""
    for seed in SEEDS:
        rng = np.random.default_rng(seed)
        x = rng.normal(size=shape_of(rng))
        k = [int(n) for n in rng.integers(1, 6, 6)]
        large = [(1, 3), (3, 1)] if factored else [(5, 5)]

        def conv(out, size):
            return Conv2d(out, size, padding=tuple(n // 2 for n in size)), RELU

        one = (1, 1)
        block = Parallel(
            Sequential(*conv(k[0], one)),
            Sequential(*conv(k[1], one), *conv(k[2], (3, 3))),
            Sequential(*conv(k[3], one), *(part for size in large for part in conv(k[4], size))),
            Sequential(MaxPool2d(3, 1, 1), *conv(k[5], one)),
        )
        run = Run(block, x, rng)

        def theirs(x, *p, large=large):
            layers = iter(zip(p[::2], p[1::2], strict=True))

            def up(h, times):
                for _ in range(times):
                    w, b = next(layers)
                    h = torch.relu(F.conv2d(h, w, b, 1, [n // 2 for n in w.shape[2:]]))
                return h

            parts = up(x, 1), up(x, 2), up(x, 1 + len(large)), up(F.max_pool2d(x, 3, 1, 1), 1)
            return torch.cat(parts, 1)

        agree(run, x, list(leaves(run.p.net)), theirs)


# The literal kernels


def tensors(*arrays):
    return [torch.from_numpy(a.copy()).requires_grad_() for a in arrays]


def close(found, expected):
    for mine, theirs in zip(found, expected, strict=True):
        theirs = theirs.detach().numpy()
        assert mine.shape == theirs.shape
        scale = max(1.0, np.abs(theirs).max(initial=0))
        np.testing.assert_allclose(mine, theirs, rtol=0, atol=1e-11 * scale)


def framed(x, w, b):
    return F.conv2d(x, w, b, padding=[n // 2 for n in w.shape[2:]])


def odd(rng):
    return 2 * rng.integers(0, 3, 2) + 1


def test_the_literal_residual_block():
    for seed in SEEDS:
        rng = np.random.default_rng(seed)
        x, C, K = rng.normal(size=(shape := shape_of(rng))), shape[1], int(rng.integers(1, 6))
        w, v = rng.normal(size=(K, C, *odd(rng))), rng.normal(size=(C, K, *odd(rng)))
        given = tensors(x, w, rng.normal(size=K), v, rng.normal(size=C))
        arrays = [t.detach().numpy() for t in given]
        y = given[0] + framed(torch.relu(framed(*given[:3])), *given[3:])
        close([ar.residual(*arrays)], [y])
        dy = rng.normal(size=shape)
        expected = torch.autograd.grad(y, given, torch.from_numpy(dy))
        close(ar.residual_backward(dy, *arrays[:4]), expected)


def test_the_literal_inception_block():
    """Its parts are compiled; the kernel that puts them together need not be, for this."""
    for seed in SEEDS:
        rng = np.random.default_rng(seed)
        x, k = rng.normal(size=(shape := shape_of(rng))), [int(n) for n in rng.integers(1, 5, 6)]
        seen = shape[1], shape[1], k[1], shape[1], k[3], shape[1]
        sides = [(1, 1) if c == 0 else odd(rng) for c in (0, 0, 1, 0, 1, 0)]
        w = [rng.normal(size=(m, c, *uv)) for m, c, uv in zip(k, seen, sides, strict=True)]
        x, *rest = tensors(x, *w, *(rng.normal(size=m) for m in k))
        w, b = rest[:6], rest[6:]
        layers = [lambda h, i=i: torch.relu(framed(h, w[i], b[i])) for i in range(6)]  # noqa: B023
        best = layers[5](F.max_pool2d(x, 3, 1, 1))
        y = torch.cat([layers[0](x), layers[2](layers[1](x)), layers[4](layers[3](x)), best], 1)
        ours = tuple(tuple(t.detach().numpy() for t in part) for part in (w, b))
        close([ar.inception.py_func(x.detach().numpy(), *ours)], [y])
        dy = rng.normal(size=tuple(y.shape))
        found = ar.inception_backward.py_func(dy, x.detach().numpy(), *ours)
        close(found, torch.autograd.grad(y, [x, *w, *b], torch.from_numpy(dy)))


def test_literal_layers():
    """A dense layer at every pixel, and the mean of each map."""
    for seed in SEEDS:
        rng = np.random.default_rng(seed)
        x, K = rng.normal(size=(shape := shape_of(rng))), int(rng.integers(1, 6))
        given = tensors(x, rng.normal(size=(K, shape[1])), rng.normal(size=K))
        t, w, b = given
        close(
            [ar.one_by_one(*(a.detach().numpy() for a in given))],
            [F.conv2d(t, w[..., None, None], b)],
        )
        y, dy = F.adaptive_avg_pool2d(t, 1)[..., 0, 0], rng.normal(size=shape[:2])
        expected = torch.autograd.grad(y, t, torch.from_numpy(dy))
        close([ar.global_average(x), ar.global_average_backward(dy, *shape[2:])], [y, *expected])


# Whole networks, counted by the tensors and the products of PyTorch


class Sum(nn.Module):
    def __init__(self, body, skip):
        super().__init__()
        self.body, self.skip = body, skip

    def forward(self, x):
        return self.skip(x) + self.body(x)


class Side(nn.Module):
    def __init__(self, branches):
        super().__init__()
        self.branches = nn.ModuleList(branches)

    def forward(self, x):
        return torch.cat([branch(x) for branch in self.branches], 1)


def translated(layer, s):
    """Return a layer of ours, for inputs (h, w, c), as a module of PyTorch."""
    if isinstance(layer, Residual):
        parts = [translated(part, s) for part in layer.layers]
        return Sum(parts[0], parts[1] if len(parts) > 1 else nn.Identity())
    if isinstance(layer, (Sequential, Parallel)):
        each = zip(layer.layers, layer.inputs(s), strict=True)
        parts = [translated(part, shape) for part, shape in each]
        return nn.Sequential(*parts) if isinstance(layer, Sequential) else Side(parts)
    if isinstance(layer, Conv2d):
        how = layer.size, layer.stride, layer.padding, layer.dilation, layer.groups, layer.bias
        return nn.Conv2d(s[2], layer.out, *how)
    if isinstance(layer, BatchNorm):
        return nn.BatchNorm2d(s[2])
    if isinstance(layer, Dense):
        return nn.Linear(s[0], layer.out, layer.bias)
    if isinstance(layer, MaxPool2d):
        return nn.MaxPool2d(layer.size, layer.stride, layer.padding)
    if isinstance(layer, AvgPool2d):
        return nn.AvgPool2d(layer.size, layer.stride, layer.padding)
    if isinstance(layer, GlobalPool):
        return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
    if layer.shape(s) != s:
        return nn.Flatten()
    return nn.ReLU()  # in place of all that keeps the shape and has no parameters


NETWORKS = {
    "LeNet-5": published.lenet5(),
    "AlexNet": published.alexnet(),
    "AlexNet, two towers": published.alexnet(2),
    "VGG-16": published.vgg16(),
    "ResNet-18": published.resnet(18),
    "ResNet-34": published.resnet(34),
    "ResNet-50": published.resnet(50),
    "ResNet-50, stride in the middle": published.resnet(50, stride_in="middle"),
    "ResNet-152": published.resnet(152),
    "GoogLeNet": published.googlenet(),
    "Inception-v3": published.inception_v3(),
    "rectangles": Network(
        (3, 17, 22),
        Sequential(
            Conv2d(6, (3, 2), (2, 1), (1, 0), (1, 2), groups=3, bias=False),
            Parallel(Conv2d(4, 1), Sequential(Conv2d(2, (1, 3), padding=(0, 1)), BatchNorm())),
            AvgPool2d((2, 3), (1, 2)),
            Residual(Conv2d(6, 3, padding=1), RELU),
            GlobalPool(),
            Dense(5, bias=False),
        ),
    ),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_tables_count_what_pytorch_counts(name):
    """Parameters, multiply-adds and what goes out, on tensors that have shapes and no numbers."""
    net = NETWORKS[name]
    with torch.device("meta"):
        model, x = translated(net.net, net.inside), torch.empty(1, *net.input)
        model.eval()
        counter = FlopCounterMode(display=False)
        with counter:
            y = model(x)
    found = table(net)
    assert found.parameters == sum(p.numel() for p in model.parameters())
    assert 2 * found.multiply_adds == counter.get_total_flops()
    assert tuple(y.shape[1:]) == found.rows[-1].shape


# The code on the page


@pytest.fixture(scope="module")
def page():
    """What the page's code defines."""
    names = {}
    exec(compile(shown("architectures"), "architectures.md", "exec"), names)
    return names


def test_the_network_on_the_page(page):
    """As many parameters as ours, in tensors of the same shapes."""
    net = published.resnet(50)
    assert page["total"] == table(net).parameters == 25_557_032
    theirs = sorted(tuple(p.shape) for p in page["resnet50"].parameters())
    assert theirs == sorted(p for p in shapes(net.net.parameters(net.inside)))


def shapes(tree):
    """Yield the shapes of a tree of parameters."""
    for part in tree.values() if isinstance(tree, dict) else tree:
        if isinstance(part, (dict, list)):
            yield from shapes(part)
        else:
            yield tuple(part)


def test_the_blocks_on_the_page(page):
    """Its bottleneck from our weights, and branches."""
    for seed in range(20):
        rng = np.random.default_rng(seed)
        x = rng.normal(size=(3, int(rng.choice([4, 8])), *rng.integers(3, 8, 2)))
        C, K, S = x.shape[1], 8, 1 if x.shape[1] == 8 else 2
        body = []
        for k, size, stride in ((2, 1, S), (2, 3, 1), (K, 1, 1)):
            body += [Conv2d(k, size, stride, size // 2, bias=False), BatchNorm(), RELU]
        skip = None if C == K else Sequential(Conv2d(K, 1, S, bias=False), BatchNorm())
        run = Run(Sequential(Residual(*body[:-1], skip=skip), RELU), x, rng)
        model = page["bottleneck"](C, K, S)
        names = [name for name, _ in model.named_parameters()]

        def theirs(x, *p, model=model, names=names):
            return torch.func.functional_call(model, dict(zip(names, p, strict=True)), x)

        agree(run, x, list(leaves(run.p.net)), theirs)
    x = torch.ones(2, 3, 4, 5)
    y = page["Parallel"](nn.Identity(), nn.Conv2d(3, 2, 1), nn.MaxPool2d(3, 1, 1))(x)
    assert y.shape == (2, 8, 4, 5) and (y[:, :3] == 1).all() and (y[:, 5:] == 1).all()
