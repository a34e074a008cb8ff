"""Networks as tables and diagrams: published totals, tallies of arrays, fields found by looking."""

from math import inf

import numpy as np
import pytest
from compiled import compiled_only

from dlbook.convolution import conv
from dlbook.nets import published, small
from dlbook.nets.containers import Parallel, Residual, Sequential
from dlbook.nets.conv import Conv2d, ConvTranspose2d
from dlbook.nets.diagram import diagram, told
from dlbook.nets.images import AvgPool2d, GlobalPool, MaxPool2d, Upsample
from dlbook.nets.layer import new_step
from dlbook.nets.layers import Activation, Dense, Dropout, Reshape
from dlbook.nets.network import Network
from dlbook.nets.norms import BatchNorm, LayerNorm
from dlbook.nets.recurrent import LSTM
from dlbook.nets.reuse import Frozen, Repeat
from dlbook.nets.table import table, words
from dlbook.nets.tree import built
from dlbook.tools import data, plotting
from dlbook.tools.counting import operations

RELU = Activation("relu")
PUBLISHED = {
    "lenet5": (published.lenet5(), 61_706, 5),
    "alexnet": (published.alexnet(), 61_100_840, 8),
    "two towers": (published.alexnet(2), 60_965_224, 8),
    "vgg16": (published.vgg16(), 138_357_544, 16),
    "googlenet": (published.googlenet(), 6_998_552, 22),
    "resnet18": (published.resnet(18), 11_689_512, 18),
    "resnet34": (published.resnet(34), 21_797_672, 34),
    "resnet50": (published.resnet(), 25_557_032, 50),
    "resnet101": (published.resnet(101), 44_549_160, 101),
    "resnet152": (published.resnet(152), 60_192_808, 152),
    "inception_v3": (published.inception_v3(), 23_834_568, 48),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_totals(name):
    net, parameters, depth = PUBLISHED[name]
    found = table(net)
    assert (found.parameters, found.depth) == (parameters, depth)
    assert max(map(len, str(found).splitlines())) <= 76


def test_where_the_stride_of_a_bottleneck_stands_costs_no_parameters():
    first, middle = table(published.resnet(50)), table(published.resnet(50, stride_in="middle"))
    assert first.parameters == middle.parameters
    assert (first.multiply_adds, middle.multiply_adds) == (3_857_973_248, 4_089_184_256)


@pytest.mark.parametrize("net", [small.deep(6, residual=True, norm=True), small.branched(8, 2)])
def test_parameters_are_those_that_are_drawn(net, rng):
    assert table(net).parameters == net.init(rng).flat.size
    assert table(net).parameters == table(net.net, net.input).parameters


def seen(net, s):
    """Return the box of pixels on which the number in the middle of the last map depends."""
    step, x = new_step("float64", wants=True), np.zeros((1, *s))
    params = built(net.parameters(s), "float64")
    params.flat[:] = 1
    y, kept = net.forward(params.net, x, step)
    dy = np.zeros_like(y)
    dy[0, y.shape[1] // 2, y.shape[2] // 2] = 1
    dx = net.backward(params.net, dy, kept, None, step)[0]
    return tuple(int(np.ptp(places)) + 1 for places in np.nonzero(dx)[:2])


FIELDS = {
    "stack": Sequential(Conv2d(2, 3, padding=1), Conv2d(2, (3, 5), (2, 1)), AvgPool2d(2, 2)),
    "dilated": Sequential(Conv2d(2, (1, 3), dilation=(1, 2)), Conv2d(1, 2, dilation=3)),
    "grouped": Sequential(Conv2d(4, 3, groups=2), AvgPool2d(3, 2, 1), Conv2d(2, 3, padding=1)),
    "residual": Residual(Conv2d(2, 3, padding=1), Conv2d(2, 3, padding=1)),
    "projected": Sequential(
        Conv2d(2, 3), Residual(Conv2d(3, 3, 2, 1), skip=Conv2d(3, 1, 2)), Conv2d(1, 3)
    ),
    "branches": Parallel(
        Conv2d(2, 1),
        Sequential(Conv2d(1, (1, 5), padding=(0, 2)), Conv2d(1, (3, 1), padding=(1, 0))),
        AvgPool2d(3, 1, 1),
    ),
    "repeated": Sequential(Conv2d(2, 3), Repeat(Conv2d(2, 3, padding=1), 3)),
}


@pytest.mark.parametrize("name", FIELDS)
@compiled_only
def test_fields_are_found_by_looking_back(name):
    net = FIELDS[name]
    row = table(net, (2, 23, 25)).rows[-1]
    assert row.sees == seen(net, (23, 25, 2))
    assert (*row.shape[1:], row.shape[0]) == net.shape((23, 25, 2))


def test_rows_of_all_kinds():
    """Multiply-adds by hand."""
    net = Sequential(
        Conv2d(4, (3, 2), (2, 1), groups=2, bias=False),  # 3 × 5 places, 4 · 1 · 6 weights
        BatchNorm(),
        Upsample(2),  # 6 × 10
        ConvTranspose2d(3, 2),  # 60 places, 4 · 3 · 4 weights
        GlobalPool(),
        Dense(5),
        LayerNorm(),
        Dropout(0.5),
    )
    rows = table(net, (2, 7, 6)).rows
    assert [row.multiply_adds for row in rows] == [360, 0, 0, 2880, 0, 15, 0, 0]
    assert [row.parameters for row in rows] == [24, 8, 0, 51, 0, 20, 10, 0]
    assert [row.sees for row in rows[1:4]] == [(3, 2), None, None]
    assert [row.shape for row in rows[2:5]] == [(4, 6, 10), (3, 7, 11), (3,)]
    assert table(net, (2, 7, 6), depth=0).rows[0][3:5] == (113, 3255)


def test_multiply_adds_are_what_the_literal_layer_multiplies(rng):
    x, w, b = rng.normal(size=(1, 2, 7, 6)), rng.normal(size=(4, 1, 3, 2)), rng.normal(size=4)
    counted = operations(conv, x, w, b, (2, 1), (1, 1), 2)
    row = table(Conv2d(4, (3, 2), (2, 1), groups=2), (2, 7, 6)).rows[0]
    assert counted.multiplications == row.multiply_adds
    assert row.parameters == w.size + b.size


def test_layers_without_a_rule():
    found = table(Sequential(Dense(5), LSTM(3), Dense(2)), 4)
    assert [row.multiply_adds for row in found.rows] == [20, None, 6]
    assert found.multiply_adds is None
    assert "–" in str(found)
    assert table(Dense(5), (7, 4)).multiply_adds == 7 * 20


def test_what_is_used_again_is_learned_once_and_paid_each_time():
    found = table(Sequential(Dense(4), Repeat(Dense(4), 3), RELU), 4)
    assert (found.parameters, found.multiply_adds, found.depth) == (40, 64, 4)
    frozen = Sequential(Frozen(Dense(4), None), Dense(2))
    found = table(frozen, 4)
    assert (found.parameters, found.multiply_adds, found.depth) == (10, 24, 2)
    assert found.rows[0].kind == "frozen dense 4"


def test_the_longest_way_is_the_depth():
    block = Residual(Dense(4), RELU, Dense(4), skip=Dense(4))
    assert table(block, 4).depth == 2
    assert table(Parallel(block, Dense(2)), 4).depth == 2
    assert table(Sequential(block, block), 4).depth == 4


def test_depth_closes_blocks_and_keeps_totals():
    net = published.resnet(18)
    tables = [table(net, depth=k) for k in (0, 1, 2)]
    assert [len(found.rows) for found in tables[:2]] == [1, 7]
    for found in tables:
        assert found[1:] == table(net)[1:]
        assert sum(row.parameters for row in found.rows) == found.parameters
        assert sum(row.multiply_adds for row in found.rows) == found.multiply_adds
    assert tables[1].rows[4].name == "stage4"
    assert tables[2].rows[4][:2] == ("stage1.0", "residual block")
    assert tables[1].rows[-1].sees == (inf, inf)


def test_what_is_printed():
    lines = str(table(Sequential(Conv2d(6, 5), MaxPool2d(2), Reshape(-1)), (1, 12, 11))).split("\n")
    assert [line.split() for line in lines] == [
        ["layer", "what", "it", "is", "gives", "parameters", "multiply-adds", "sees"],
        ["0", "conv", "5×5,", "6", "6×8×7", "156", "8,400", "5"],
        ["1", "max", "2×2", "/2", "6×4×3", "0", "0", "6"],
        ["2", "flatten", "72", "0", "0", "6"],
        ["total", "1", "deep", "156", "8,400"],
    ]
    assert "all" in str(table(small.headed("mean")))
    assert "1×3" in str(table(Conv2d(1, (1, 3)), (1, 4, 4)))


def test_bad_input():
    net = Sequential(Conv2d(2, 3))
    for call, words_ in (
        (lambda: table(net), "example is missing"),
        (lambda: table(3, 4), "net is 3, expected a layer"),
        (lambda: table(net, (1, 2, 2)), "expected .* pixels|filter|wide"),
        (lambda: table(net, (1, 4)), "wants images"),
        (lambda: table(net, (1, 0, 4)), r"example\[1\] is 0"),
        (lambda: table(net, (1, 4, 4), depth=-1), "depth is -1"),
        (lambda: table(Network((1, 4, 4), net), (1, 4, 4)), "has its own"),
        (lambda: table(Residual(Conv2d(2, 3)), (1, 4, 4)), "Residual adds"),
        (lambda: published.resnet(20), "depth is 20"),
        (lambda: published.resnet(50, stride_in="last"), "stride_in"),
        (lambda: published.alexnet(3), "towers"),
        (lambda: small.deep(3), "layers is 3"),
        (lambda: small.branched(6), "channels is 6"),
        (lambda: small.headed("max"), "head"),
        (lambda: diagram(), "no layers"),
        (lambda: diagram(3), r"layers\[0\] is 3"),
        (lambda: diagram(net, titles=("a", "b")), "titles has 2"),
    ):
        with pytest.raises((TypeError, ValueError), match=words_):
            call()


def test_words():
    assert words(Conv2d(8, (1, 7), (1, 2), groups=2)) == "conv 1×7, 8 /1×2, 2 groups"
    assert words(Conv2d(8, 3, dilation=2)) == "conv 3×3, 8, dilation 2"
    assert words(ConvTranspose2d(8, 2, 2)) == "transposed 2×2, 8 /2"
    assert words(Repeat(Dense(3), 4)) == "4 times dense 3"
    assert words(GlobalPool("max")) == "global max"


def test_a_diagram_has_every_layer_in_it():
    block = published.inception_v3().net.layers[5].layers[0]
    around = Residual(Conv2d(4, 3, 2, 1), BatchNorm(), skip=Conv2d(4, 1, 2))
    fig, ax = diagram(block, Sequential(around, RELU), titles=("branches", "sum"))
    texts = [text.get_text() for text in ax.texts]
    assert texts.count("concatenate") == 3
    assert sum("batch norm, ReLU" in text for text in texts) == 9
    assert {"mean 3×3", "conv 1×1, 4 /2", "+", "branches"} <= {*texts}
    plotting.show(fig, alt=told(block), caption="Blocks.")
    assert told(around).endswith("added to [conv 1×1, 4 /2] of what came in")
    _, ax = diagram(published.googlenet().net.layers[1], example=(192, 28, 28))
    assert {"192×28×28", "256×28×28"} <= {text.get_text() for text in ax.texts}


def test_small_networks_differ_in_one_thing():
    assert table(small.deep(8)).depth == 8
    assert table(small.deep(8)).parameters == table(small.deep(8, residual=True)).parameters
    flat, mean = (table(small.headed(head)) for head in ("flat", "mean"))
    assert flat.parameters - mean.parameters == 15 * 32 * 10


@compiled_only
def test_training_loss_leaves_running_statistics(rng):
    net = small.deep(4, norm=True)
    pair = rng.normal(size=(70, 1, 8, 8)).astype(np.float32), rng.integers(0, 10, 70)
    out = small.learned(net, pair, 0.01, 0, epochs=1)
    before = out.state.flat.copy()
    assert 0 < small.training_loss(net, out, pair) < 10
    assert np.array_equal(out.state.flat, before)


def test_neighbours():
    x = np.arange(64.0).reshape(1, 1, 8, 8)
    down, up, right, left = (moved[0, 0] for moved in small.neighbours(x))
    assert np.array_equal(down[1:], x[0, 0, :-1])
    assert np.array_equal(up[:-1], x[0, 0, 1:])
    assert np.array_equal(right[:, 1:], x[0, 0, :, :-1])
    assert np.array_equal(left[:, :-1], x[0, 0, :, 1:])
    assert not down[0].any()
    assert not left[:, -1].any()


@compiled_only
@pytest.mark.parametrize("residual", [False, True])
def test_a_block_is_taken_out_with_what_it_learned(residual, rng):
    net = small.deep(8, residual=residual, norm=True)
    pair = rng.normal(size=(70, 1, 8, 8)).astype(np.float32), rng.integers(0, 10, 70)
    out = small.learned(net, pair, 0.01, 0, epochs=1)
    x = net.check(out.params, pair)[0]
    given = [y for _, y in net.layers(out.params, out.state, (x, pair[1]))]
    step = 2 if residual else 6
    for block in range(3):
        less, params, state = small.lesioned(net, out, block)
        assert table(less).depth == 6
        left = [y for _, y in less.layers(params, state, (x, pair[1]))]
        before = 3 + step * block  # what is below the block gives what it gave
        assert all(np.array_equal(a, b) for a, b in zip(left[:before], given, strict=False))
        assert np.array_equal(params.net[-1].w, out.params.net[-1].w)
        assert state.flat.size == out.state.flat.size - 4 * 16
    with pytest.raises(ValueError, match="block is 3"):
        small.lesioned(net, out, 3)


@compiled_only
@pytest.mark.parametrize("norm", [False, True])
def test_paths_through_a_trained_network_add_up_to_its_gradient(norm):
    d = data.digits(np.float32)
    x, y = small.images(d.x_train[:200]), d.y_train[:200]
    net = small.deep(6, residual=True, norm=norm)
    out = small.learned(net, (x, y), 0.01, 0, epochs=2)
    found = small.paths(net, out, (x[:3], y[:3]))
    assert found.lengthens.shape == found.adds.shape == (2, 3)
    assert found.carried.shape == (3, 3, 256)
    (seen,) = net.check(out.params, (x[:3], y[:3]))[:1]
    given = dict(net.layers(out.params, out.state, (seen, y[:3])))
    first = 1 + norm  # the rectifier in front of the first block
    layers, at = net.net.layers, first + 1
    h = [()] * len(layers) if out.state is None else out.state.net
    above = small._alone((4, 4, 16), layers[at:], out.params.net[at:], h[at:])
    start = given[f"net[{first}]"].astype(float)

    def cost(x):
        z = above(x.reshape(-1, 4, 4, 16))
        return np.log(np.exp(z).sum(axis=1)) - z[np.arange(3), y[:3]]

    total = found.carried.sum(axis=0)
    for k in np.random.default_rng(0).permutation(256)[:20]:
        e = 1e-6 * np.eye(256)[k].reshape(4, 4, 16)
        slope = (cost(start + e) - cost(start - e)) / 2e-6
        np.testing.assert_allclose(total[:, k], slope, atol=1e-6)
    branch = small._alone(
        (4, 4, 16), layers[at].layers[0].layers, out.params.net[at][0], h[at] and h[at][0]
    )
    size = np.linalg.norm(branch(start).reshape(3, -1), axis=1)
    np.testing.assert_allclose(found.adds[0], size / np.linalg.norm(start.reshape(3, -1), axis=1))
    step = 1e-6 * np.random.default_rng(1).normal(size=start.shape)
    moved = np.linalg.norm((branch(start + step) - branch(start)).reshape(3, -1), axis=1)
    assert (moved <= found.lengthens[0] * np.linalg.norm(step.reshape(3, -1), axis=1) * 1.001).all()
