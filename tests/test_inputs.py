"""What every public function does with arrays of odd kinds: one table of calls, one sweep."""

import importlib
import inspect
import os
import re
import traceback

import numpy as np
import pytest
from numba.core import config
from numpy.typing import ArrayLike
from pages import chapters

from dlbook import architectures as arch
from dlbook import attention as att
from dlbook import autoencoders as ae
from dlbook import backprop as bp
from dlbook import convolution as cv
from dlbook import diffusion as diff
from dlbook import embeddings as emb
from dlbook import gan as game
from dlbook import language_models as lm
from dlbook import linear_classification as lc
from dlbook import linear_regression as lr
from dlbook import matmul, neurons, vision
from dlbook import optimization as opt
from dlbook import regularization as reg
from dlbook import rnn as recurrent
from dlbook import sequence_tasks as tasks
from dlbook import variational as va
from dlbook import verification as ver
from dlbook.nets import (
    MLP,
    VAE,
    Autoencoder,
    Found,
    RecurrentNetwork,
    box_ap,
    fit,
    fit_stream,
    named_ap,
    reduced,
    style_distances,
    train_skipgram,
)
from dlbook.tools import captions, modes, music, paths
from dlbook.tools.jit import PACKAGE
from dlbook.tools.text import Alphabet

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(8, 3)), RNG.normal(size=8)
SIGNS, CLASSES, BITS = np.array([1, -1] * 4), np.array([0, 1, 2, 1] * 2), np.array([0, 1] * 4)
NET = bp.init((3, 4, 3), RNG)
GRADS = bp.init((3, 4, 3), RNG)
IMAGES, FILTERS = RNG.normal(size=(2, 2, 5, 5)), RNG.normal(size=(3, 2, 3, 3))
BOXES = np.array([[0, 0, 2, 3], [1, 0, 3, 3], [0, 4, 2, 5.0]])
MAPS = np.array([[[0, 1], [2, 2]], [[0, 2], [1, 2]]])
Q, K, V = RNG.normal(size=(3, 2, 1, 4, 3))
HEADS = att.attention(Q, K, V, lengths=np.array([4, 2]))
TEXT = np.array([0, 1, 2, 3] * 4)
PHOTOS, LABELS = RNG.random((2, 8, 8, 3)), np.array([[0, 1, -1]])
FOUND = [Found(BOXES, np.array([0.9, 0.5, 0.1]), CLASSES[:3], np.array([0.9, 0.5, 0.1]))]
SERIES = RecurrentNetwork(3, 4, 3, reads="last")
DATES = tasks.dates(2, RNG)
WORK, READER = bp.workspace((3, 4, 3), 8), RecurrentNetwork(4, 3, 4, symbols=True, dtype="float64")


def fresh():
    return np.random.default_rng(1)


def from_z(z, y):
    return bp.cost_from(NET, 3, z, y)


def comparing(actual, expected):
    return ver.compare("chapter-slug", actual, expected, "hand")["passed"]


def predicting(model, x, *more):
    """Return a call of a model's `predict`."""
    params = model.init(fresh())
    return (lambda *data: model.predict(params, model.start(), *data)), x, *more


def fitting(model, *data):
    """Return a call of `fit` for one epoch, which gives the losses."""

    def losses(*data):
        found = fit(model, model.init(fresh()), data, opt.SGD(0.01), fresh(), epochs=1, batch=4)
        return found.history.loss

    return losses, *data


CALLS = {
    "accuracy": (lc.accuracy, CLASSES, CLASSES),
    "add": (neurons.add, CLASSES, CLASSES, 3),
    "attention": (lambda q, k, v, n: att.attention(q, k, v, lengths=n).o, Q, K, V, TEXT[1:3]),
    "attention_backward": (
        lambda do, q, k, v, n: att.attention_backward(do, q, k, v, HEADS, lengths=n),
        *(V, Q, K, V, np.array([4, 2])),
    ),
    "avg_pool2d": (lambda x: cv.avg_pool2d(x, 2), IMAGES[:, :, :4, :4]),
    "avg_pool2d_backward": (
        lambda dy, x: cv.avg_pool2d_backward(dy, x, 2),
        *(IMAGES[:, :, :2, :2], IMAGES[:, :, :4, :4]),
    ),
    "backprop": (lambda x, y: bp.backprop(NET, x, y).flat, X[0], X[1]),
    "batch_forward": (lambda x: bp.batch_forward(NET, x)[1][-1], X),
    "calibration": (lc.calibration, RNG.random(8), BITS, 2),
    "conv2d": (cv.conv2d, IMAGES, FILTERS, np.ones(3)),
    "conv2d_backward": (cv.conv2d_backward, RNG.normal(size=(2, 3, 3, 3)), IMAGES, FILTERS),
    "conv_transpose2d": (vision.conv_transpose2d, IMAGES, FILTERS[:2], np.ones(2)),
    "corrupt": (lambda x: ae.corrupt(x, "mask", 0.5, fresh()), X),
    "cost_from": (from_z, X[0], X[1]),
    "cross_validate": (
        lambda X, y, fold: paths.cross_validate(
            lambda X, y: reg.ridge_path(X, y, [1.0]), X, y, fold
        ),
        *(X, Y, CLASSES),
    ),
    "dates_right": (lambda found: tasks.dates_right(found, DATES), DATES.y),
    "deltas": (lambda x, y: bp.deltas(NET, x, y)[2:], X[0], X[1]),
    "dense": (lambda a, w, b: neurons.dense(a, w, b, neurons.identity), X, X, Y),
    "design_matrix": (lr.design_matrix, X, Y),
    "dummy_coding": (lr.dummy_coding, CLASSES, 3),
    "eigen_path": (lambda X, y, beta: lr.eigen_path(X, y, beta, 0.1, 2), X, Y, np.ones(3)),
    "detection_ap": (
        lambda found, scores, truth: vision.detection_ap([found], [scores], [truth]),
        *(BOXES, np.array([0.5, 0.9, 0.1]), BOXES[:2]),
    ),
    "elastic_net": (lambda X, y, s: reg.elastic_net(X, y, 1.0, 1.0, weights=s).w, X, Y, Y**2),
    "elastic_net_path": (
        lambda X, y, l1, l2: reg.elastic_net_path(X, y, l1, l2).w,
        *(X, Y, np.array([2.0, 1.0]), np.array([0.0, 1.0])),
    ),
    "f_test": (lr.f_test, X, Y, np.array([0, 1])),
    "fit_random_layer": (lambda x, y: neurons.fit_random_layer(x, y, 4, fresh()), X, X),
    "forward": (lambda x: bp.forward(NET, x)[1][-1], X[0]),
    "full_adder": (neurons.full_adder, BITS, BITS, BITS),
    "gradient_descent": (lambda X, y, b: lr.gradient_descent(X, y, 0.1, 2, b), X, Y, np.ones(3)),
    "half_shifts": (lambda x: bp.half_shifts(x, 2), RNG.random((3, 4))),
    "im2col": (lambda x: cv.im2col(x, 3), IMAGES),
    "interactions": (lr.interactions, X, X),
    "fista": (lambda X, y, s: reg.fista(X, y, 1.0, 1.0, weights=s).w, X, Y, Y**2),
    "iou": (vision.iou, BOXES, BOXES),
    "ista": (lambda X, y, s: reg.ista(X, y, 1.0, 1.0, weights=s).w, X, Y, Y**2),
    "NGram.fit": (lambda s: lm.NGram(2).fit(s, 4).probabilities(s), TEXT),
    "best_mixture": (lambda P: lm.best_mixture(P, 5), RNG.uniform(0.1, 0.9, size=(2, 4))),
    "generate": (lambda s: lm.generate(lambda before: np.full(4, 0.25), s, 3, fresh()), TEXT),
    "unseen": (lambda s, u: lm.unseen(s, u, 4, 2), TEXT, TEXT[3:].copy()),
    "windows": (lambda s: lm.windows(s, 3), TEXT),
    "largest_l1": (lambda X, y, s: reg.largest_l1(X, y, weights=s), X, Y, Y**2),
    "lasso": (lambda X, y, s: reg.lasso(X, y, 1.0, weights=s).w, X, Y, Y**2),
    "least_squares": (lambda X, y: lr.least_squares(X, y).beta, X, Y),
    "logistic_regression": (lambda X, y: lc.logistic_regression(X, y, 0.1), X, SIGNS),
    "loss_and_grad": (lambda x, y: bp.loss_and_grad(NET, None, (x, y), GRADS), X, CLASSES),
    "max_pool2d": (lambda x: cv.max_pool2d(x, 2), IMAGES[:, :, :4, :4]),
    "max_pool2d_backward": (
        lambda dy, x: cv.max_pool2d_backward(dy, x, 2),
        *(IMAGES[:, :, :2, :2], IMAGES[:, :, :4, :4]),
    ),
    "monte_carlo": (ver.monte_carlo, X),
    "nearest": (lambda w, W: emb.nearest(w, W, 3).cosines, X[0], X),
    "neighbours": (lambda a, b: ae.neighbours(a, b, 2), X, X),
    "network_cost": (lambda x, y: bp.network_cost(NET, x, y), X[0], X[1]),
    "network_graph": (lambda x, y: bp.network_graph(NET, x, y).cost.data, X[0], X[1]),
    "network_jacobian": (lambda x: bp.network_jacobian(NET, x), X[0]),
    "one_vs_rest": (lambda X, y: lc.one_vs_rest(X, y, 0.1), X, CLASSES),
    "packed_product": (matmul.packed_product, X, X.T.copy()),
    "padded": (lambda s: tasks.padded([s]), TEXT),
    "pca_path": (lambda X, y, s: reg.pca_path(X, y, [1, 2], weights=s).w, X, Y, Y**2),
    "perceptron": (lambda X, y: lc.perceptron(X, y, fresh()), X, SIGNS),
    "play": (lambda samples: music.play(samples, alt="a", title="b"), Y),
    "polynomial": (lambda x: lr.polynomial(x, 2), Y),
    "ppca": (lambda x: va.ppca(x, 1).W, X),
    "predict": (lambda x: bp.predict(NET, None, x), X),
    "principal_angles": (ae.principal_angles, X, X[:, :2].copy()),
    "principal_components": (ae.principal_components, X),
    "probabilities": (lambda x: lc.probabilities(lc.logistic_regression(X, SIGNS, 0.1), x), X),
    "rate_limit": (lr.rate_limit, X),
    "fit_stream": (
        lambda s: fit_stream(*(READER, READER.init(fresh()), s, opt.SGD(0.01)), batch=2, steps=3)[
            1
        ],
        TEXT,
    ),
    "ridge": (lambda X, y, s: reg.ridge(X, y, 1.0, weights=s).w, X, Y, Y**2),
    "ridge_path": (lambda X, y, l2: reg.ridge_path(X, y, l2).w, X, Y, np.array([1.0, 2.0])),
    "segment_iou": (lambda t, u: vision.segment_iou(t, u, 3), MAPS, MAPS[::-1].copy()),
    "separating_perceptron": (neurons.separating_perceptron, X[:3], BITS[:3]),
    "sgd_step": (
        lambda x, y: bp.sgd_step(bp.init((3, 4, 3), fresh()), (x, y), 0.1, WORK),
        *(X, CLASSES),
    ),
    "softmax_regression": (lambda X, y: lc.softmax_regression(X, y, 0.1), X, CLASSES),
    "squared_distances": (matmul.squared_distances, X, X),
    "standardize": (lc.standardize, X, X),
    "stopped_path": (lambda X, y: reg.stopped_path(X, y, [1, 2]).w, X, Y),
    "suppress": (vision.suppress, BOXES, np.array([0.5, 0.9, 0.1])),
    "svd_vectors": (lambda M: emb.svd_vectors(M, 2), X),
    "tracks": (lambda s: recurrent.tracks(s, 2), TEXT),
    "train": (
        lambda x, y: bp.train(NET, x, y, fresh(), rate=0.1, epochs=1).losses,
        *(X, CLASSES),
    ),
    "trajectory": (lambda start: opt.trajectory(lambda t: t, start, opt.SGD(0.1), 2), Y),
    "two_sample": (lambda x, y: va.two_sample(x, y, fresh(), 9), X, X[:5] + 1),
    "verify": (comparing, X, X),
    "wav": (music.wav, Y),
    "merged": (arch.merged, FILTERS, FILTERS[:, :, :2].repeat(2, axis=1)[:, :3].copy()),
    "denoise_ideally": (lambda x, points: diff.denoise_ideally(x, points, 0.8, 0.6), X, X),
    "integrate": (lambda x, times: diff.integrate(lambda x, t: -x, x, times), X, np.arange(3.0)),
    "schedule": (diff.schedule, np.array([0.9, 0.4, 0.04])),
    "frechet_distance": (game.frechet_distance, X, X + 1),
    "style_distances": (
        lambda x, y: style_distances(x, y, FILTERS.repeat(2, axis=1)[:, :3], 1),
        *PHOTOS,
    ),
    "reduced": (lambda photo: reduced(photo, 4, 4), (255 * PHOTOS[0]).astype(np.uint8)),
    "written": (captions.written, TEXT + 1),
    "ring_judged": (modes.ring_judged, X[:, :2].copy()),
    "box_ap": (lambda labels, boxes: box_ap(FOUND, labels, boxes), LABELS, BOXES[None]),
    "named_ap": (lambda labels, boxes: named_ap(FOUND, labels, boxes), LABELS, BOXES[None]),
    # Models: what is predicted from and what is fitted to
    "MLP.fit": fitting(MLP((3, 4, 3)), X, CLASSES),
    "MLP.predict": predicting(MLP((3, 4, 3)), X),
    "Autoencoder.fit": fitting(Autoencoder((3, 2)), X),
    "VAE.fit": fitting(VAE((3, 2), likelihood="gaussian"), X),
    "RecurrentNetwork.fit": fitting(SERIES, RNG.normal(size=(8, 5, 3)), CLASSES, TEXT[:8]),
    "RecurrentNetwork.predict": predicting(SERIES, RNG.normal(size=(2, 5, 3)), TEXT[3:5]),
    "train_skipgram": (
        lambda ids: train_skipgram(ids, [0, 16], rng=fresh(), dimension=3, epochs=1).words,
        TEXT,
    ),
    "Alphabet.decode": (Alphabet("abcd").decode, TEXT),
}

PLACES = (
    *chapters(),
    *(
        f"{home}.{path.stem}"
        for home in ("nets", "tools")
        for path in (PACKAGE / home).glob("*.py")
    ),
)
LONG = {
    "judge",
    "readings",
    "maps_of",
}  # what reads or trains whole networks first; has tests of its own
EVERY = [
    pytest.param(call, arrays, i, id=f"{name}-{i}")
    for name, (call, *arrays) in CALLS.items()
    for i, array in enumerate(arrays)
    if isinstance(array, np.ndarray)
]


def test_every_function_that_takes_arrays_has_a_row():
    found = set()
    for stem in PLACES:
        module = importlib.import_module(f"dlbook.{stem}")
        for name in getattr(module, "__all__", ()):
            thing = getattr(module, name)
            mine = getattr(thing, "__module__", None) == module.__name__
            if mine and inspect.isfunction(thing) and not hasattr(thing, "__wrapped__"):
                kinds = {p.annotation for p in inspect.signature(thing).parameters.values()}
                found |= {name} if ArrayLike in kinds else set()
    assert found - LONG <= set(CALLS), "a row in CALLS is missing: how it is called with arrays"


def called(call, arrays, i, new):
    """Call with one of the arrays replaced."""
    return call(*arrays[:i], new, *arrays[i + 1 :])


def numbers(value):
    """Return all numbers of a result as one array."""
    if isinstance(value, (tuple, list)):
        return np.concatenate([np.zeros(0), *map(numbers, value)])
    if isinstance(value, (str, bytes)):
        return np.frombuffer(str(value).encode(), np.uint8).astype(float)
    return np.ravel(np.asarray([] if value is None else value)).astype(float)


@pytest.mark.parametrize(("call", "arrays", "i"), EVERY)
def test_masked_arrays_are_refused(call, arrays, i):
    """What is masked would count like the rest."""
    masked = np.ma.array(arrays[i], mask=np.arange(arrays[i].size).reshape(arrays[i].shape) == 1)
    for given in (masked, list(masked) if masked.ndim > 1 else masked):
        with pytest.raises(TypeError, match="is a masked array"):
            called(call, arrays, i, given)


@pytest.mark.parametrize(("call", "arrays", "i"), EVERY)
def test_arrays_of_the_other_byte_order_are_as_good(call, arrays, i):
    swapped = arrays[i].astype(arrays[i].dtype.newbyteorder("S"))
    found = numbers(called(call, arrays, i, swapped))
    np.testing.assert_array_equal(found, numbers(call(*arrays)))


@pytest.mark.parametrize(("call", "arrays", "i"), EVERY)
@pytest.mark.parametrize("dtype", ["float16", "longdouble", "object", "complex128", "U3", "M8[s]"])
def test_arrays_of_other_dtypes_are_refused_by_name(call, arrays, i, dtype):
    odd = np.zeros(arrays[i].shape, dtype)
    if call is comparing or (call is from_z and dtype == "complex128"):
        return  # any number can be compared; complex steps go through z
    if odd.dtype == np.float64:
        return  # here long double is double
    with pytest.raises(TypeError, match=re.escape(str(odd.dtype))):
        called(call, arrays, i, odd)


def outcome(call, arrays):
    """Return the numbers of a result, or the error that the package raises, in its own words."""
    try:
        return numbers(call(*arrays))
    except (TypeError, ValueError) as error:
        *_, (frame, _) = traceback.walk_tb(error.__traceback__)
        if not frame.f_globals["__name__"].startswith("dlbook."):
            raise
        return error


def same(found, expected):
    """Hold two outcomes against each other: numbers to rounding, or errors of one kind."""
    if isinstance(expected, Exception):
        assert type(found) is type(expected), (found, expected)
        return
    assert not isinstance(found, Exception), found
    size = np.abs(expected[np.isfinite(expected)]).max(initial=1e-300)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-10 * size)


def strided(a):
    wide = np.zeros((*a.shape[:-1], 2 * a.shape[-1]), a.dtype)
    wide[..., ::2] = a
    return wide[..., ::2]


def guarded(a):
    a = a.copy()
    a.flags.writeable = False
    return a


LAYOUTS = {"list": np.ndarray.tolist}
if config.DISABLE_JIT or os.environ.get("DLBOOK_SHAPES"):  # compiled, each is another form
    LAYOUTS |= {"Fortran": np.asfortranarray, "strided": strided, "read-only": guarded}


@pytest.mark.parametrize(("call", "arrays", "i"), EVERY)
def test_arrays_of_any_layout_are_as_good(call, arrays, i):
    """And none of them is changed."""
    kept = [a.copy() if isinstance(a, np.ndarray) else a for a in arrays]
    expected = outcome(call, arrays)
    for a, before in zip(arrays, kept, strict=True):
        np.testing.assert_array_equal(a, before)
    for layout in LAYOUTS.values():
        same(outcome(call, [*arrays[:i], layout(arrays[i]), *arrays[i + 1 :]]), expected)


@pytest.mark.parametrize(("call", "arrays", "i"), EVERY)
def test_whole_numbers_are_as_good(call, arrays, i):
    if arrays[i].dtype.kind != "f":
        return
    whole = np.rint(3 * arrays[i])
    floats = outcome(call, [*arrays[:i], whole, *arrays[i + 1 :]])
    same(outcome(call, [*arrays[:i], whole.astype(int), *arrays[i + 1 :]]), floats)


@pytest.mark.parametrize(("call", "arrays", "i"), EVERY)
@pytest.mark.parametrize("count", [0, 1])
def test_none_and_one_give_a_result_or_a_named_error(call, arrays, i, count):
    """Of the first axis of one array, or of all that are as long: never another error or a warning."""
    outcome(call, [a[:count] if j == i else a for j, a in enumerate(arrays)])
    long = len(arrays[i])
    outcome(
        call, [a[:count] if isinstance(a, np.ndarray) and len(a) == long else a for a in arrays]
    )
    outcome(call, [a[..., :count] if j == i else a for j, a in enumerate(arrays)])
