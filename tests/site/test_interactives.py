"""Interactives in a real browser: whatever is set, they show what the book's own kernels give."""

import base64
import functools
import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy.special import expit, softmax
from test_site import ROOT, SITE, mine, node

sys.path.insert(0, str(ROOT / "book" / "_ext"))

import live

from dlbook.nets import GAN, MLP, VAE, Autoencoder, Denoiser, RecurrentNetwork, Transformer
from dlbook.tools import data
from dlbook.tools.flat import like
from dlbook.tools.sweeps import stored

FIGURE = re.compile(
    r'<figure class="interactive"(?: style="[^"]*")? data-name="([^"]*)" data-page="[^"]*"'
    r'(?: data-learned="([^"]*)")?(?: data-(weight)=)?'
)
EVERY = {
    page.name: names
    for page in sorted(SITE.glob("*.html"))
    if (names := FIGURE.findall(page.read_text(encoding="utf-8")))
}
FOUND = {page: EVERY[page] for page in mine([*EVERY]) if page in EVERY}
FIGURES = [(page, name) for page, names in FOUND.items() for name, _, _ in names]
each = pytest.mark.parametrize(("page", "name"), FIGURES)


@functools.cache
def browsed():
    """Send a browser through the pages; return whether and what it complained, once for all tests."""
    out = SITE.parent / "interactive.json"
    command = [node(), Path(__file__).with_name("interactive.mjs"), SITE, ",".join(FOUND), out]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=1800, check=False)
    except subprocess.TimeoutExpired as error:
        return str(error), {}
    if done.returncode:
        return done.stderr[-2000:], {}
    return "", json.loads(out.read_text(encoding="utf-8"))


def report():
    """Return what the browser saw."""
    complaint, seen = browsed()
    assert not complaint, complaint
    return seen


@functools.cache
def learned(page, name):
    """Return what the page has handed to a picture, arrays as it does."""
    file = next(file for one, file, _ in EVERY[page] if one == name)
    if not file:
        return {}
    path = SITE / "live" / file
    text = path.read_text(encoding="utf-8")
    values = json.loads(text[text.index("{", text.index("learned =")) : text.rindex(";")])
    return {
        key: np.frombuffer(base64.b64decode(value["numbers"]), value["dtype"]).reshape(
            value["shape"]
        )
        for key, value in values.items()
        if isinstance(value, dict) and "numbers" in value
    }


def states(page, name):
    return report()[page]["figures"][name]


def given(value, kind, known):
    """Return what a page handed to a kernel, as Python has it."""
    if isinstance(kind, dict) and "tuple" in kind:
        return tuple(
            given(part, one, known) for part, one in zip(value, kind["tuple"], strict=True)
        )
    if isinstance(kind, dict):
        if not isinstance(value, dict):
            return np.array(value, kind["array"]).reshape(
                np.shape(value) or (0,) * len(kind["axes"])
            )
        flat = (
            known[value["learned"]].ravel()[value["start"] :]
            if "learned" in value
            else value["data"]
        )
        size = int(np.prod(value["shape"]))
        return np.array(flat[:size], kind["array"]).reshape(value["shape"])
    return value if kind in ("bool", "none") else np.dtype(kind).type(value)


def numbers(value):
    """Return the numbers in results, with what is no number in JSON as NaN."""
    parts = value if isinstance(value, (tuple, list)) else [value]
    if isinstance(value, np.ndarray) or not isinstance(value, (tuple, list)):
        return np.atleast_1d(np.array(value, float)).ravel()
    return np.concatenate([numbers(part) for part in parts]) if parts else np.zeros(0)


def test_every_part_has_some():
    text = (ROOT / "book" / "index.md").read_text(encoding="utf-8")
    parts = re.findall(r"```\{chapters\}\n(.*?)```", text, re.S)
    counts = [
        sum(len(EVERY.get(f"{p}.html", ())) for p in re.findall(r"^(\w+): ", part, re.M))
        for part in parts
    ]
    assert len(counts) == 7 and min(counts) >= 1 and sum(counts) >= 15


@each
def test_it_shows_what_the_kernels_give(page, name):
    """Each call that was made for a picture is made again here; of very many the first and the last."""
    text = (SITE / "live" / page.replace(".html", ".js")).read_text(encoding="utf-8")
    table = json.loads(text[text.index("{", text.index("live =")) : text.rindex(";")])["table"]
    assert all(state["calls"] for state in states(page, name))
    known = learned(page, name)
    for state in states(page, name):
        for call in state["calls"]:
            kernel = live.found_kernel(f"dlbook.{call['name']}")
            kinds = table[call["name"]]["args"].values()
            args = [given(*pair, known) for pair in zip(call["given"], kinds, strict=True)]
            here = numbers(kernel(*args))
            there = numbers(call["result"])
            here = np.where(np.isfinite(here), here, np.nan)  # JSON has no other words
            size = np.nanmax(np.abs(here), initial=0, where=np.isfinite(here))
            np.testing.assert_allclose(
                there, here, rtol=1e-11, atol=1e-12 * size, err_msg=call["name"]
            )


@each
def test_controls_change_it_and_words_say_so(page, name):
    first, *others = states(page, name)
    assert len(others) >= 2 and len(first["words"]) > 40
    assert len({state["words"] for state in [first, *others]}) >= 3
    for state in [first, *others]:
        assert state["words"].strip() and set(state["titles"]) == {state["words"]}
        assert "undefined" not in state["words"] and "NaN" not in state["words"]
        assert all(state["drawn"]) and state["wild"] == 0, state["values"]


@each
def test_its_place_was_kept(page, name):
    """What is drawn without being asked for moves nothing, and leaves no hole."""
    asked = {one for one, _, weight in EVERY[page] if weight}
    heights = report()[page]["heights"]
    assert heights.keys() | asked == {one for one, _, _ in EVERY[page]}
    for width, (kept, needed) in heights.get(name, {}).items():
        assert needed <= kept <= needed + 40, width


class Drawn(np.random.Generator):
    """A generator that has been told its first draw."""

    def __new__(cls, first):
        return super().__new__(cls)

    def __init__(self, first):
        super().__init__(np.random.PCG64(0))
        self.first = first

    def standard_normal(self, size, dtype):
        return np.array(self.first, dtype).reshape(size)


def put(net, values, layers):
    """Return parameters of a network with layers of dense ones as they were handed over."""
    params = net.init(np.random.default_rng(0))
    for layer, name in layers.items():
        params.w[layer][:], params.b[layer][:] = values[f"w{name}"], values[f"b{name}"]
    return params


def gan_digits(known, state):
    net, A, B = GAN((16, 128, 128, 64), (64, 128, 128, 1)), known["A"], known["B"]
    players = net.init(np.random.default_rng(0))
    for k in (1, 2, 3):
        players.generator.w[k + 1][:] = known[f"w{k}"]
        players.generator.b[k + 1][:] = known[f"b{k}"]
    w, b = players.discriminator.w, players.discriminator.b
    w[2][:], w[3][:], w[4][:] = A, B[:-1], known["u"][:-1]
    b[2][:], b[3][:], b[4][:] = known["a"], known["b"][:-1], known["u"][-1]
    made = net.generate(players, state["numbers"]["z"])
    says = [expit(net.score(players, x)) for x in (made, known["written"].astype(np.float32))]
    return [(made, "x"), (says[0], "made"), (says[1], "written")]


def variational_digits(known, state):
    z, wide = np.array(state["numbers"]["z"]), VAE((64, 128, 128, 8))
    plain, _ = wide.plain(wide.init(np.random.default_rng(0)))
    found = {}
    for kind, net in (("0", plain), ("1", wide)):
        first = len(net.init(np.random.default_rng(0)).w) - 3
        given = {first + k: f"{k + 1}{kind}" for k in range(3)}
        found[kind] = net.decode(put(net, known, given), z)
    return [(np.array([*map(np.ravel, (found["0"], found["1"]))]), "drawn")]


def diffusion_digits(known, state):
    net = Denoiser((64, 128, 128, 64), classes=10)
    params, given = put(net, known, {2: 1, 3: 2, 4: 3}), state["values"]
    start, how = np.array(state["numbers"]["start"]), {}
    if given["class"] != "not told":
        how = {"classes": np.full(len(start), int(given["class"])), "guidance": given["w"]}
    steps = state["numbers"]["steps"]
    return [(net.sample(params, len(start), Drawn(start), steps, **how), "x")]


def autoencoders_latent(known, state):
    net, judge = Autoencoder((64, 128, 64, 2), likelihood="bernoulli"), MLP((64, 64, 10))
    at = np.array([[state["values"]["across"], state["values"]["up"]]])
    drawn = net.decode(put(net, known, {5: 5, 6: 6, 7: 7}), at)
    scores = judge.scores(put(judge, known, {2: 1, 3: 2}), None, drawn.astype(np.float32))[-1]
    return [(drawn[0], "drawn"), (softmax(scores[0]), "p")]


def lstm(net, known):
    params = net.init(np.random.default_rng(0))
    params.wx[0][:], params.wh[0][:], params.b[0][:] = known["wx"], known["wh"], known["b"]
    params.wy[:], params.by[:] = known["wy"], known["by"]
    return params


def gated_gates(known, state):
    if not state["numbers"]["inputs"]:
        return []
    net = RecurrentNetwork(2, 16, 1, cell="lstm", reads="last", cost="squares")
    y = net.run(lstm(net, known), np.array([state["numbers"]["inputs"]])).scores
    return [(y[0, -1, 0], "answer")]


def gated_sentence(known, state):
    V, units = known["wy"].shape
    net, ids = RecurrentNetwork(V, units, V, cell="lstm", symbols=True), state["numbers"]["at"]
    if not ids:
        return []
    y = net.run(lstm(net, known), np.array([ids])).scores
    return [(softmax(y[0, -1]), "p")]


def transformer_prompt(known, state):
    """Of the stored decoder, which is too large to be handed over in more than 16 bits."""
    kept = data.writer()
    net = Transformer(len(kept.symbols), **stored("transformer-text")["settings"])
    params, ids = like(net.init(np.random.default_rng(0)), kept.numbers), state["numbers"]["ids"]
    if len(ids) > net.length:  # it has begun anew, with the last ones
        return []
    return [(net.outputs(params, None, np.array([ids]))[0, -1], "scores")]


NETWORKS = [
    (page, name, globals()[f"{page.removesuffix('.html')}_{name}"])
    for page, name in FIGURES
    if f"{page.removesuffix('.html')}_{name}" in globals()
]


@pytest.mark.parametrize(("page", "name", "network"), NETWORKS)
def test_what_was_learned_is_put_together_as_its_network(page, name, network):
    """The calls of a picture make, from what a page has learned, what the network makes of it."""
    compared = 0
    for state in states(page, name):
        for found, key in network(learned(page, name), state):
            there = state["numbers"][key]
            there = numbers(
                tuple(there[k] for k in sorted(there)) if isinstance(there, dict) else there
            )
            found = np.ravel(found)
            np.testing.assert_allclose(there, found, rtol=0, atol=1e-4 * np.abs(found).max())
            compared += 1
    assert compared >= 3


@pytest.mark.parametrize("page", [page for page in FOUND if page == "transformer.html"])
def test_the_prompted_decoder_reads_a_text_first(page):
    """So that keys and values that were kept have a part in what is compared."""
    assert len(states(page, "prompt")[0]["numbers"]["ids"]) > 70


def test_every_network_that_is_handed_over_is_compared():
    """Vectors of words and digits to learn from are none, and one picture draws of another's."""
    handed = {(page, name) for page, names in EVERY.items() for name, file, _ in names if file}
    stand = {
        tuple(row) for row in FIGURES if f"{row[0].removesuffix('.html')}_{row[1]}" in globals()
    }
    others = {
        ("embeddings.html", "neighbours"),
        ("optimization.html", "race"),
        ("transformer.html", "looks"),
    }
    assert handed & {*FIGURES} <= stand | others, "write how its network is put together"


@pytest.mark.parametrize("page", FOUND)
def test_nothing_leaves_the_page_and_nothing_complains(page):
    assert report()[page]["outside"] == []
    assert report()[page]["noise"] == []
    assert not [what for some in report()[page]["axe"].values() for what in some]
