"""Networks that were published, as layers of this package: to read, to plan by, to count.

Each function returns a `Network` for ImageNet (or, `lenet5`, for digits); nothing is allocated
before `init`. Their numbers of parameters are held against the published ones in the tests and on
the page *Architectures*.
"""

from dlbook.nets.containers import Parallel, Residual, Sequential
from dlbook.nets.conv import Conv2d
from dlbook.nets.images import AvgPool2d, GlobalPool, MaxPool2d
from dlbook.nets.layers import Activation, Dense, Dropout, Reshape
from dlbook.nets.network import Network
from dlbook.nets.norms import BatchNorm
from dlbook.tools import shapes

__all__ = ["alexnet", "googlenet", "inception_v3", "lenet5", "resnet", "vgg16"]

IMAGE, RELU = (3, 224, 224), Activation("relu")
STAGES = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3)}
STAGES |= {152: (3, 8, 36, 3)}


def lenet5() -> Network:
    """Return LeNet-5 as it is written today: full connections, plain pooling, a dense top.

    The network of 1998 has 60 of the 96 possible connections in its second layer, two numbers to
    learn in each pooled map, and fixed targets at the top.
    """
    tanh = Activation("tanh")
    net = Sequential(
        *(Conv2d(6, 5), tanh, AvgPool2d(2)),
        *(Conv2d(16, 5), tanh, AvgPool2d(2)),
        *(Reshape(-1), Dense(120), tanh, Dense(84), tanh, Dense(10)),
    )
    return Network((1, 32, 32), net)


def alexnet(towers: int = 1) -> Network:
    """Return AlexNet, without the normalization over neighbouring channels that has no parameters.

    Parameters
    ----------
    towers : {1, 2}
        Two as in 2012, where each of two processors held half of the filters and some layers saw
        only their own half; or the single tower of 2014, which libraries carry.
    """
    G = shapes.count("towers", towers, most=2)
    first, fourth = (64, 256) if G == 1 else (96, 384)
    second = 192 if G == 1 else 256

    def conv(out, size, groups=1, **how):
        return Conv2d(out, size, groups=groups, **how), RELU

    net = Sequential(
        *(*conv(first, 11, stride=4, padding=2), MaxPool2d(3, 2)),
        *(*conv(second, 5, G, padding=2), MaxPool2d(3, 2)),
        *conv(384, 3, padding=1),
        *conv(fourth, 3, G, padding=1),
        *(*conv(256, 3, G, padding=1), MaxPool2d(3, 2), Reshape(-1)),
        *(Dropout(0.5), Dense(4096), RELU, Dropout(0.5), Dense(4096), RELU, Dense(1000)),
    )
    return Network(IMAGE, net)


def vgg16() -> Network:
    """Return VGG-16: thirteen 3 × 3 convolutions and three dense layers."""
    layers = []
    for out, count in ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3)):
        layers += [Conv2d(out, 3, padding=1), RELU] * count + [MaxPool2d(2)]
    top = (Reshape(-1), Dense(4096), RELU, Dropout(0.5), Dense(4096), RELU, Dropout(0.5))
    return Network(IMAGE, Sequential(*layers, *top, Dense(1000)))


def resnet(depth: int = 50, *, stride_in: str = "first") -> Network:
    """Return a residual network for ImageNet, with projections where the shape changes.

    Parameters
    ----------
    depth : {18, 34, 50, 101, 152}
        Layers with weights on the way; from 50 on blocks are bottlenecks.
    stride_in : {"first", "middle"}
        Which convolution of a bottleneck has the stride: the first, 1 × 1, as published, or the
        middle one, 3 × 3, as libraries have it, which sees all pixels and costs more.
    """
    if depth not in STAGES:
        raise ValueError(f"depth is {depth!r}, expected one of {', '.join(map(str, STAGES))}")
    late = shapes.choice("stride_in", stride_in, ("first", "middle")) == "middle"
    wide, stages = 4 if depth >= 50 else 1, {}
    for k, count in enumerate(STAGES[depth]):
        out = 64 * 2**k
        blocks = []
        for i in range(count):
            stride = 2 if k and not i else 1
            if wide == 1:
                body = _norm(out, 3, stride), RELU, _norm(out, 3)
            else:
                a, b = (1, stride) if late else (stride, 1)
                body = _norm(out, 1, a), RELU, _norm(out, 3, b), RELU, _norm(wide * out, 1)
            changes = not i and (k or wide > 1)
            skip = Sequential(*_norm(wide * out, 1, stride)) if changes else None
            flat = [x for part in body for x in (part if isinstance(part, tuple) else (part,))]
            blocks += [Residual(*flat, skip=skip), RELU]
        stages[f"stage{k + 1}"] = Sequential(*blocks)
    stem = Sequential(*_norm(64, 7, 2), RELU, MaxPool2d(3, 2, 1))
    return Network(IMAGE, Sequential(stem=stem, **stages, pool=GlobalPool(), top=Dense(1000)))


def _norm(out, size, stride=1):
    """Return a convolution that keeps the size, apart from its stride, and batch normalization."""
    return Conv2d(out, size, stride, padding=size // 2, bias=False), BatchNorm()


def googlenet() -> Network:
    """Return GoogLeNet of 2014, without the two heads that help training.

    Frames stand where the original rounds sizes up, so that all maps have the published sizes.
    """

    def conv(out, size, stride=1):
        return Conv2d(out, size, stride, padding=size // 2), RELU

    def block(one, before3, three, before5, five, pooled):
        return Parallel(
            Sequential(*conv(one, 1)),
            Sequential(*conv(before3, 1), *conv(three, 3)),
            Sequential(*conv(before5, 1), *conv(five, 5)),
            Sequential(MaxPool2d(3, 1, 1), *conv(pooled, 1)),
        )

    half = MaxPool2d(3, 2, 1)
    net = Sequential(
        stem=Sequential(*conv(64, 7, 2), half, *conv(64, 1), *conv(192, 3), half),
        a3=block(64, 96, 128, 16, 32, 32),
        b3=block(128, 128, 192, 32, 96, 64),
        half3=half,
        a4=block(192, 96, 208, 16, 48, 64),
        b4=block(160, 112, 224, 24, 64, 64),
        c4=block(128, 128, 256, 24, 64, 64),
        d4=block(112, 144, 288, 32, 64, 64),
        e4=block(256, 160, 320, 32, 128, 128),
        half4=half,
        a5=block(256, 160, 320, 32, 128, 128),
        b5=block(384, 192, 384, 48, 128, 128),
        pool=GlobalPool(),
        drop=Dropout(0.4),
        top=Dense(1000),
    )
    return Network(IMAGE, net)


def _unit(out, size, stride=1, padding=0):
    """Return a convolution without bias, batch normalization and a rectifier, as Inception-v3 has."""
    return Conv2d(out, size, stride, padding, bias=False), BatchNorm(eps=1e-3), RELU


def _chain(*units):
    """Return units one after the other; each is (out, size) and keeps the size of its maps."""
    return [
        layer
        for out, size in units
        for layer in _unit(out, size, 1, tuple(n // 2 for n in _pair(size)))
    ]


def _pair(size):
    """Return two numbers."""
    return size if isinstance(size, tuple) else (size, size)


def _pooled(out):
    """Return the branch of an Inception block that averages first."""
    return Sequential(AvgPool2d(3, 1, 1), *_chain((out, 1)))


def _small(pooled):
    """Return a block on 35 × 35 maps."""
    return Parallel(
        Sequential(*_chain((64, 1))),
        Sequential(*_chain((48, 1), (64, 5))),
        Sequential(*_chain((64, 1), (96, 3), (96, 3))),
        _pooled(pooled),
    )


def _factored(q):
    """Return a block on 17 × 17 maps, whose 7 × 7 filters are 1 × 7 and then 7 × 1."""
    a, b = (1, 7), (7, 1)
    return Parallel(
        Sequential(*_chain((192, 1))),
        Sequential(*_chain((q, 1), (q, a), (192, b))),
        Sequential(*_chain((q, 1), (q, b), (q, a), (q, b), (192, a))),
        _pooled(192),
    )


def _wide():
    """Return a block on 8 × 8 maps, whose branches fork at the end."""

    def fork():
        return Parallel(Sequential(*_chain((384, (1, 3)))), Sequential(*_chain((384, (3, 1)))))

    return Parallel(
        Sequential(*_chain((320, 1))),
        Sequential(*_chain((384, 1)), fork()),
        Sequential(*_chain((448, 1), (384, 3)), fork()),
        _pooled(192),
    )


def inception_v3() -> Network:
    """Return Inception-v3, without the head that helps training, for images of 299 × 299."""
    half = MaxPool2d(3, 2)
    stem = Sequential(
        *(*_unit(32, 3, 2), *_unit(32, 3), *_unit(64, 3, 1, 1), half),
        *(*_unit(80, 1), *_unit(192, 3), half),
    )
    first = Parallel(
        Sequential(*_unit(384, 3, 2)),
        Sequential(*_chain((64, 1), (96, 3)), *_unit(96, 3, 2)),
        half,
    )
    second = Parallel(
        Sequential(*_chain((192, 1)), *_unit(320, 3, 2)),
        Sequential(*_chain((192, 1), (192, (1, 7)), (192, (7, 1))), *_unit(192, 3, 2)),
        half,
    )
    net = Sequential(
        stem=stem,
        maps35=Sequential(_small(32), _small(64), _small(64)),
        to17=first,
        maps17=Sequential(_factored(128), _factored(160), _factored(160), _factored(192)),
        to8=second,
        maps8=Sequential(_wide(), _wide()),
        pool=GlobalPool(),
        drop=Dropout(0.5),
        top=Dense(1000),
    )
    return Network((3, 299, 299), net)
