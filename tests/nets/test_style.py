"""Style transfer: linear maps against their adjoints, and the whole gradient against differences."""

import numpy as np
import pytest
from compiled import compiled_only

from dlbook import gan
from dlbook.nets import style
from dlbook.verification import adjoint_gap, central_differences, relative_error


def transfer(rng, size=3, shape=(16, 24), **settings):
    """Return two small pictures and what makes one into the other."""
    content, wanted = rng.random((*shape, 3)), rng.random((8, 16, 3))
    filters = style.random_filters(rng, 4, size)
    return style.Transfer(content, wanted, filters, levels=2, dtype="float64", **settings)


@pytest.mark.parametrize("k", [0, 1, 2])
def test_padding_and_its_adjoint(k, rng):
    x, y = rng.normal(size=(2, 5, 6)), rng.normal(size=(2, 5 + 2 * k, 6 + 2 * k))
    forward, back = lambda v: style._padded(v, k), lambda v: style._folded(v, k)
    assert adjoint_gap(forward, back, x, y) < 1e-14


@pytest.mark.parametrize("shape", [(3, 8, 12), (1, 4, 2), (2, 2, 6)])
def test_halving_and_its_adjoint(shape, rng):
    x = rng.normal(size=shape)
    y = rng.normal(size=(shape[0], shape[1] // 2, shape[2] // 2))
    assert style._halved(x).shape == y.shape
    assert adjoint_gap(style._halved, style._doubled, x, y) < 1e-14
    np.testing.assert_allclose(style._halved(np.ones(shape)), 1)


@pytest.mark.parametrize("size", [1, 3, 5])
def test_windows_and_their_adjoint(size, rng):
    x = rng.normal(size=(2, 6, 7))
    columns = style._columns(x, size)
    assert columns.shape == (2 * size**2, 42)
    middle = columns.reshape(2, size, size, 6, 7)[:, size // 2, size // 2]
    np.testing.assert_array_equal(middle, x)
    back = lambda d: style._gathered(d, x.shape, size)
    y = rng.normal(size=columns.shape)
    assert adjoint_gap(lambda v: style._columns(v, size), back, x, y) < 1e-14


def test_edges_and_their_adjoint(rng):
    x = rng.normal(size=(3, 8, 12))
    y = rng.normal(size=style._edges(x).shape)
    assert adjoint_gap(style._edges, lambda d: style._edges_back(d, x.shape), x, y) < 1e-14
    assert np.abs(style._edges(np.ones((3, 8, 12)))).max() < 1e-15


@pytest.mark.parametrize("size", [1, 3, 5])
def test_gradient_of_the_cost(size, rng):
    """Also where pixels lie outside of 0 and 1."""
    made = transfer(rng, size, (8, 12), edges=0.3, smooth=2.0)
    x = made.start + 0.2 * rng.normal(size=made.start.shape)
    slopes = central_differences(lambda v: made.cost(v)[0], x, 1e-6)
    assert relative_error(made.cost(x)[1], slopes) < 1e-6


def test_losses_are_those_of_the_chapter(rng):
    made = transfer(rng, edges=0.0, smooth=0.0)
    total, _, loss, content = made.cost(made.start)
    assert content == 0 and total == loss
    pictures = [made.start, style._halved(made.start)]
    maps = [style._features(x, made.filters) for x in pictures]
    parts = [gan.style_loss(gan.gram(F), T) for F, T in zip(maps, made.wanted, strict=True)]
    assert np.isclose(loss, np.mean(parts))


@compiled_only
def test_a_picture_takes_a_style(rng):
    made = transfer(rng)
    found = made.run(30)
    assert found.picture.shape == (16, 24, 3)
    assert found.picture.min() >= 0 and found.picture.max() <= 1
    assert len(found.style) == len(found.content) <= 31
    assert found.style[-1] < 0.2 * found.style[0] and found.content[0] == 0


def test_distances_of_styles(rng):
    x, y = rng.random((2, 8, 16, 3))
    filters = style.random_filters(rng, 5, 3)
    np.testing.assert_array_equal(style.style_distances(x, x, filters, 2), 0)
    assert (style.style_distances(x, y, filters, 2) > 0).all()
    turned = style.style_distances(x, x[:, ::-1], style.random_filters(rng, 5, 1), 1)
    assert turned.max() < 1e-14  # filters of one pixel do not see what is beside what


def test_random_filters(rng):
    w = style.random_filters(rng, 7, 3)
    assert w.shape == (7, 3, 3, 3)
    assert np.abs(w.sum(axis=(1, 2, 3))).max() < 1e-13
    np.testing.assert_allclose((w**2).sum(axis=(1, 2, 3)), 16)


def test_reduced():
    photo = np.arange(7 * 9 * 3, dtype=np.uint8).reshape(7, 9, 3)
    small = style.reduced(photo, 3, 4)
    assert small.shape == (3, 4, 3)
    np.testing.assert_allclose(small[0, 0], photo[0:2, 0:2].mean(axis=(0, 1)) / 255)


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda rng: style.random_filters(rng, 4, 2), ValueError, "size is 2"),
        (lambda rng: style.random_filters(rng, 0), ValueError, "count is 0"),
        (lambda rng: style.reduced(np.ones((4, 4))), ValueError, "photo has shape"),
        (lambda rng: style.reduced(np.ones((4, 4, 3))), ValueError, "photo has .* pixels"),
        (lambda rng: transfer(rng, edges=-1), ValueError, "edges is -1"),
        (
            lambda rng: style.Transfer(
                np.ones((7, 8, 3)), np.ones((8, 8, 3)), np.ones((1, 3, 1, 1))
            ),
            ValueError,
            "content has sides",
        ),
        (
            lambda rng: style.Transfer(np.ones((8, 8, 3)), np.ones((8, 8)), np.ones((1, 3, 1, 1))),
            ValueError,
            "style has shape",
        ),
        (
            lambda rng: style.style_distances(np.ones((8, 8, 4)), np.ones((8, 8, 3)), None),
            ValueError,
            "x has shape",
        ),
        (lambda rng: transfer(rng).run(0), ValueError, "steps is 0"),
    ],
)
def test_refused(call, error, words, rng):
    with pytest.raises(error, match=words):
        call(rng)
