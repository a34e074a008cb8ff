"""Parameters belong to their model: whatever takes them names those of another one, before any work."""

import dataclasses
import importlib
import inspect
import pkgutil
import re

import numpy as np
import pytest

import dlbook
from dlbook.nets import (
    CNN,
    GRU,
    LSTM,
    MLP,
    VAE,
    Activation,
    AttentiveDecoder,
    Autoencoder,
    BatchNorm,
    Captioner,
    ConvAutoencoder,
    Denoiser,
    Dense,
    Embedding,
    EncoderDecoder,
    MultiHeadAttention,
    Network,
    PaddedNetwork,
    RecurrentNetwork,
    SequenceNetwork,
    Sequential,
    Transformer,
    check_model,
    fit,
    fit_stream,
)
from dlbook.nets.containers import in_parts
from dlbook.optimization import SGD
from dlbook.tools import flat
from dlbook.tools.flat import belong, fits, laid_out, like, named

# Each model as small as it gets: where it stands, one of its own, others whose parameters are not
# its own, and data.

N, T = 4, 3
STEPS = np.arange(N * T).reshape(N, T) % 5
FEATURES = np.linspace(-1, 1, N * 16).reshape(N, 16)
LABELS = np.arange(N) % 3
MAPS = np.linspace(-1, 1, N * 8).reshape(N, 2, 2, 2)
LINES = STEPS, np.where(np.arange(T) == T - 1, 1, 2 + STEPS % 3), np.full(N, T), np.full(N, T)

MODELS = {
    "MLP": (
        MLP((16, 5, 4, 3)),
        [{"sizes": s} for s in ((16, 6, 4, 3), (16, 4, 3), (8, 5, 4, 3), (16, 5, 4, 2))]
        + [{"norm": "batch"}, {"norm": "layer"}],
        (FEATURES, LABELS),
    ),
    "MLP, batch norm": (
        MLP((16, 5, 4, 3), norm="batch"),
        [{"norm": None}, {"sizes": (16, 4, 5, 3)}],
        (FEATURES, LABELS),
    ),
    "MLP, layer norm": (
        MLP((16, 5, 4, 3), norm="layer", dropout=0.5),
        [{"norm": None}, {"sizes": (16, 5, 3)}],
        (FEATURES, LABELS),
    ),
    "Network": (
        Network(16, Sequential(Dense(5), BatchNorm(), Activation(), Dense(3))),
        [
            {"input": 8},
            {"net": Sequential(Dense(6), BatchNorm(), Activation(), Dense(3))},
            {"net": Sequential(Dense(5), Activation(), Dense(3))},
            {"net": Sequential(Dense(5), BatchNorm(), Dense(5), Dense(3))},
        ],
        (FEATURES, LABELS),
    ),
    "PaddedNetwork": (
        PaddedNetwork(T, Sequential(Embedding(5, 4), MultiHeadAttention(4, 2)), symbols=5),
        [
            {"net": Sequential(Embedding(5, 6), MultiHeadAttention(6, 2))},
            {"net": Sequential(Embedding(6, 4), MultiHeadAttention(4, 2))},
            {"net": Sequential(Embedding(5, 4), Dense(4))},
        ],
        (STEPS, STEPS % 4, np.full(N, T)),
    ),
    "CNN": (
        CNN(4, (2, 3), (True, False), classes=3),
        [
            {"channels": (2, 4)},
            {"channels": (2, 3, 3), "pools": (True, False, False)},
            {"side": 8},
            {"classes": 4},
            {"head": "max"},
        ],
        (FEATURES, LABELS),
    ),
    "Autoencoder": (
        Autoencoder((16, 5, 2), noise="mask", level=0.1),
        [{"encoder": s, "decoder": s[::-1]} for s in ((16, 6, 2), (16, 2), (8, 5, 2), (16, 5, 3))],
        (FEATURES,),
    ),
    "VAE": (
        VAE((16, 5, 2), likelihood="gaussian"),
        [{"encoder": s, "decoder": s[::-1]} for s in ((16, 6, 2), (16, 2), (8, 5, 2), (16, 5, 3))],
        (FEATURES,),
    ),
    "ConvAutoencoder": (
        ConvAutoencoder(4, (2,), code=3),
        [{"side": 8}, {"channels": (3,)}, {"channels": (2, 2)}, {"code": 4}],
        (FEATURES,),
    ),
    "Denoiser": (
        Denoiser((16, 5, 16), 3),
        [
            *({"sizes": s} for s in ((16, 6, 16), (16, 16), (8, 5, 8))),
            {"classes": 4},
            {"waves": 3},
        ],
        (FEATURES, LABELS),
    ),
    "SequenceNetwork": (
        SequenceNetwork((), Sequential(GRU(4, symbols=5), Dense(5)), symbols=5),
        [{"net": Sequential(LSTM(4, symbols=5), Dense(5))}, {"net": GRU(5, symbols=5)}],
        (STEPS, STEPS),
    ),
    "Transformer": (
        Transformer(5, 4, 2, 2, T),
        [
            {"symbols": 6},
            {"width": 6},
            {"blocks": 1},
            {"length": 4},
            {"hidden": 5},
            {"hidden": 0},
            {"tied": False},
            {"positions": "sinusoid"},
            {"norm": "post"},
        ],
        (STEPS, np.where(STEPS == 3, -1, STEPS)),
    ),
    "RecurrentNetwork": (
        RecurrentNetwork(5, 4, 5, symbols=True, cell="lstm", depth=2),
        [
            {"cell": "gru"},
            {"cell": "tanh"},
            {"bidirectional": True},
            {"inputs": 6},
            {"hidden": 5},
            {"outputs": 3},
            {"depth": 1},
        ],
        (STEPS, STEPS),
    ),
    "EncoderDecoder": (
        EncoderDecoder(5, 4, 6, max_length=3),
        [{"inputs": 6}, {"hidden": 5}, {"outputs": 7}, {"cell": "tanh"}, {"cell": "lstm"}],
        LINES,
    ),
    "AttentiveDecoder": (
        AttentiveDecoder(5, 4, 6, max_length=3),
        [{"inputs": 6}, {"hidden": 5}, {"outputs": 7}, {"cell": "tanh"}, {"cell": "lstm"}],
        LINES,
    ),
    "Captioner": (
        Captioner((2, 2, 2), 6, 4, 3, max_length=3),
        [
            {"input": (2, 2, 3)},
            {"words": 7},
            {"hidden": 5},
            {"width": 4},
            {"look": "uniform"},
            {"look": "flat"},
            {"encoder": Dense(2)},
        ],
        (MAPS, *LINES[1::2]),
    ),
}


def test_all_models_are_here():
    """Each class of the package that draws parameters for one loss; a game has two (test_game)."""
    modules = (m.name for m in pkgutil.iter_modules(dlbook.__path__, "dlbook."))
    modules = [importlib.import_module(name) for name in modules if "__main__" not in name]
    found = {
        kind
        for module in modules
        for kind in vars(module).values()
        if isinstance(kind, type)
        and dataclasses.is_dataclass(kind)
        and hasattr(kind, "loss_and_grad")
    }
    assert {type(model) for model, *_ in MODELS.values()} == found


def drawn(model):
    """Return fresh parameters, and running statistics where there are some."""
    return model.init(np.random.default_rng(0)), model.start()


def surroundings(model, data):
    """Return all arguments, by name, with which something public of a model can be called."""
    params, state = drawn(model)
    rng = np.random.default_rng(1)
    batch, work = model.check(params, data), model.workspace(N)
    given = {"data": data, "batch": batch, "x": batch[0], "grads": like(params), "work": work}
    if hasattr(model, "through_time"):
        given["start"] = [np.zeros((N, model.hidden), np.float32)] * model.carried
    if hasattr(model, "decode"):
        codes = model.encode(params, FEATURES)
        given["h"] = given["z"] = codes[0] if isinstance(codes, tuple) else codes
    if hasattr(model, "cache"):
        given |= {"symbols": STEPS[:, 0], "cache": model.cache(N)}
    given |= {"u": 0.5, "prompt": STEPS[0], "length": 2, "width": 2, "draws": 2, "n": 2, "rng": rng}
    return given | {"params": params, "state": state}


def by_fit(model, params, data):
    """Train a little."""
    rng = np.random.default_rng(0)
    return fit(model, params, data, SGD(0.1), rng, epochs=1, batch=2)


def by_reading_on(model, params):
    """Train a little on one long sequence."""
    return fit_stream(model, params, STEPS.ravel(), SGD(0.1), batch=2, steps=2)


def borders(model, data):
    """Yield the name of each public thing that takes parameters of a model, and what it takes."""
    for name, method in inspect.getmembers(model, callable):
        takes = [] if name.startswith("_") else list(inspect.signature(method).parameters.values())
        if "params" in [p.name for p in takes]:
            needed = [p.name for p in takes if p.default is p.empty or p.name == "rng"]
            yield name, method, needed
    yield "fit", lambda params, data: by_fit(model, params, data), ["params", "data"]
    if isinstance(model, RecurrentNetwork):
        yield "fit_stream", lambda params: by_reading_on(model, params), ["params"]


def call(method, needed, given):
    """Call one of them to its end."""
    if method.__name__ == "beam":  # which reads a single line, or writes under a single image
        given = given | {"x": given["prompt"] if given["x"].ndim == 2 else given["x"][0]}
    found = method(**{name: given[name] for name in needed})
    return list(found) if inspect.isgenerator(found) else found


@pytest.mark.parametrize("name", MODELS)
def test_the_right_ones_are_taken_by_all_that_is_public(name):
    model, _, data = MODELS[name]
    found = {}
    for border, method, needed in borders(model, data):
        if border == "signals" and not in_parts(model.net):
            with pytest.raises(TypeError, match="whose parts are looked at"):
                call(method, needed, surroundings(model, data))
            continue
        found[border] = call(method, needed, surroundings(model, data))
    assert {"fit", "check", "loss", "predict", "loss_and_grad"} <= found.keys()


def rebuilt(value, make):
    """Return the same tuples with other arrays in them."""
    if isinstance(value, np.ndarray):
        return make(value)
    if isinstance(value, tuple):
        parts = (rebuilt(part, make) for part in value)
        return type(value)(*parts) if hasattr(value, "_fields") else type(value)(parts)
    return value


def backwards(params):
    """Return views of the same shapes in a vector that has them in reverse order."""
    views, flat, at = named(params), np.zeros_like(params.flat), 0
    places = {}
    for x in reversed(views.values()):
        places[x.__array_interface__["data"][0], x.shape] = at
        at += x.size

    def make(x):
        first = places.get((x.__array_interface__["data"][0], x.shape))
        return (
            flat
            if x is params.flat
            else x
            if first is None
            else flat[first:][: x.size].reshape(x.shape)
        )

    return rebuilt(params, make)


def wrong_parameters(model, others):
    """Yield parameters that are not those of a model, and what is said about them."""
    params, _ = drawn(model)
    yield None, "params is None, and the model has some"
    yield list(params), "params is list, expected a NamedTuple with a flat array"
    yield params.flat, "params is ndarray, expected a NamedTuple"
    yield params._replace(flat=params.flat.copy()), r"params\..* is not a view of params\.flat"
    whole = rebuilt(params, lambda x: x.astype(int))
    yield whole, "params.flat is not a contiguous vector of floating-point numbers"
    yield drawn(dataclasses.replace(model, dtype="float64"))[0], "has dtype float64"
    stranger = MODELS["EncoderDecoder" if isinstance(model, MLP) else "MLP"][0]
    kind = type(drawn(stranger)[0]).__name__
    yield drawn(stranger)[0], f"params is {kind}, those of this model are {type(params).__name__}"
    yield backwards(params), "at another place of params.flat"
    for other in others:
        yield drawn(dataclasses.replace(model, **other))[0], "the model ha"


@pytest.mark.parametrize("name", MODELS)
def test_parameters_of_another_model_are_named_by_all_that_is_public(name):
    """Of another dtype, depth, width, number of inputs or outputs, with or without a norm, of another
    class, in another order, as a list, as whole numbers.
    """
    model, others, data = MODELS[name]
    given = surroundings(model, data)
    for params, words in wrong_parameters(model, others):
        for _, method, needed in borders(model, data):
            with pytest.raises((TypeError, ValueError), match=words):
                call(method, needed, given | {"params": params})
            if "grads" in needed:
                with pytest.raises((TypeError, ValueError), match=words.replace("params", "grads")):
                    call(method, needed, given | {"grads": params})


def wrong_statistics(model):
    """Yield running statistics that are not those of a model, and what is said about them."""
    state = model.start()
    if state is None:
        yield MLP((3, 2, 3), norm="batch").start(), "state is .*, expected None"
        return
    yield None, "state is None, and the model has some"
    yield list(state), "state is list, expected a NamedTuple"
    yield like(state, state.flat.copy())._replace(flat=state.flat), "is not a view of state.flat"
    yield dataclasses.replace(model, dtype="float64").start(), "state has dtype float64"
    if isinstance(model, Network):
        yield drawn(model)[0], r"state (lacks|has) net\[.\]"
        wider = Sequential(Dense(6), BatchNorm(), Activation(), Dense(3))
        yield dataclasses.replace(model, net=wider).start(), r"state has net\[1\].mean of shape"
        return
    yield drawn(model)[0], "state is Layers, those of this model are Running"
    yield dataclasses.replace(model, sizes=(16, 4, 5, 3)).start(), r"state has mean\[2\] of shape"
    yield dataclasses.replace(model, sizes=(16, 5, 3)).start(), r"state lacks mean\[3\]"


@pytest.mark.parametrize("name", MODELS)
def test_running_statistics_of_another_model_are_named(name):
    """Forgotten, of another shape or dtype, or handed to a model that has none."""
    model, _, data = MODELS[name]
    given = surroundings(model, data)
    for state, words in wrong_statistics(model):
        for _, method, needed in borders(model, data):
            if "state" in needed:
                with pytest.raises((TypeError, ValueError), match=words):
                    call(method, needed, given | {"state": state})


def test_what_differs_is_said():
    mine = MLP((4, 3, 2)).layout
    for sizes, words in (
        ((4, 5, 2), "params has w[2] of shape (5, 4), that of the model has (3, 4)"),
        ((4, 2), "params lacks b[3], w[3], which the model has"),
        ((4, 3, 2, 2), "params has b[4], w[4], the model has not"),
    ):
        with pytest.raises(ValueError, match=f"^{re.escape(words)}$"):
            fits(drawn(MLP(sizes))[0], mine)
    with pytest.raises(TypeError, match=r"^grads has dtype float64, that of the model is float32$"):
        fits(drawn(MLP((4, 3, 2), dtype="float64"))[0], mine, "grads")


def test_copies_and_gradients_belong_to_the_model():
    for model, *_ in MODELS.values():
        params, state = drawn(model)
        for views in (params, like(params), like(params, params.flat + 1)):
            fits(views, model.layout)
            assert laid_out(views) == model.layout
        belong(model, params, state)


def test_a_loop_pays_once(monkeypatch):
    """A step holds what it is given against the model only when that is given for the first time."""
    model, _, data = MODELS["MLP"]
    given, seen = surroundings(model, data), []
    monkeypatch.setattr(flat, "fits", lambda params, *_: seen.append(params))
    step = [given[k] for k in ("params", "state", "batch", "grads", "work", "rng")]
    for _ in range(3):
        model.loss_and_grad(*step)
    assert seen == [given["params"], given["state"], given["grads"]]


class Own:
    """A reader's model that says nothing of a layout: scores are one product."""

    init = staticmethod(MLP((16, 3)).init)
    start = staticmethod(lambda: None)
    workspace = loss = loss_and_grad = None

    def check(self, params, data):
        raise AssertionError("the parameters are looked at first")


def test_fit_holds_parameters_against_what_init_draws():
    """For a model that has no layout to show."""
    wrong = drawn(MLP((16, 4)))[0]
    with pytest.raises(ValueError, match=r"params has w\[2\] of shape \(4, 16\)"):
        by_fit(Own(), wrong, (FEATURES, LABELS))


@pytest.mark.parametrize("name", MODELS)
def test_every_model_passes_the_check_of_a_model(name):
    """Gradients are those of the loss, overwritten, and the same bits again; data stay as they are."""
    model, _, data = MODELS[name]
    check_model(dataclasses.replace(model, dtype="float64"), data, count=5)
