"""Make what a reader's browser needs to answer an edited equation: kernels, cases, formulas.

For each page with such equations a script ``live/<page>.js`` is written: one WebAssembly module of
their kernels, the cases that the page ran, and from `live.toml` beside the pages the right-hand
side as the small language of ``formula.js`` has it, with wrong ones and what they are called. A
formula that does not compute what its kernel does, or a wrong one that does, is a fault of the
build. Where this Numba makes no WebAssembly the book is built without, and says so.
"""

import base64
import hashlib
import json
import pickle
import re
import tomllib
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

from sphinx.util import logging

from dlbook.tools import wasm
from dlbook.tools.jit import package_files

CLOSE = 1e-9  # how near a formula has to come to its kernel, relative to the largest number
MOST = 12  # cases of an equation that go to the reader
LACKING = """
var atob = (text) => {  // a browser has these two
  const known = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/", out = [];
  for (let i = 0, held = 0, bits = 0; i < text.length && text[i] !== "="; i++) {
    held = ((held << 6) | known.indexOf(text[i])) & 0xffff, bits += 6;
    if (bits >= 8) out.push(String.fromCharCode((held >> (bits -= 8)) & 255));
  }
  return out.join("");
};
var TextDecoder = function () {};
TextDecoder.prototype.decode = (bytes) => decodeURIComponent(escape(String.fromCharCode(...bytes)));
"""
STATIC = Path(__file__).resolve().parents[1] / "_static"
SCRIPTS = [STATIC / name for name in ("formula.js", "kernels.js", "live.js")]
log = logging.getLogger(__name__)


class Live(NamedTuple):
    """An equation that answers.

    Attributes
    ----------
    label : str
    kernel : str
        Name in its module.
    left : list of str
        Indices of the left-hand side.
    formula : str
        The right-hand side.
    wrong : list of (str, str)
        What a mistake is called, and the right-hand side with it.
    signature : tuple
        Types of the kernel's arguments.
    cases : list of dict
        As ``cases/<page>.json`` has them.
    """

    label: str
    kernel: str
    left: list
    formula: str
    wrong: list
    signature: tuple
    cases: list


def axes(kernel: Any) -> list[str] | None:
    """Return the letters of a kernel's one result; None where it has several, or none is said."""
    found = re.search(r" -> \(([^()]*)\)\s*$", kernel.py_func.__doc__ or "", re.M)
    letters = found[1].split() if found else None
    return letters if letters is not None and all(len(x) == 1 for x in letters) else None


def chosen(label: str, entry: dict, module: Any, given: list[dict]) -> Live:
    """Return an equation with those of its cases that a page can hold.

    Parameters
    ----------
    label : str
    entry : dict
        Of `live.toml`: ``formula``, perhaps ``wrong``, and ``left`` where no docstring tells it.
    module : module
        Of the chapter.
    given : list of dict
        The cases of the equation: ``blob`` and ``plain``.

    Raises
    ------
    ValueError
        If no case can be taken, or the left-hand side is not known.
    """
    found, name, kinds = [], None, None
    for case in given:
        plain = case["plain"]
        if not plain or not case["blob"] or "digest" in json.dumps(plain["args"]):
            continue
        kernel = plain["kernel"].rpartition(".")[2]
        args = pickle.loads(base64.b64decode(case["blob"]))["args"]
        try:
            signature = wasm.signature(getattr(module, kernel), args)
        except (AttributeError, TypeError):
            continue
        name, kinds = name or kernel, kinds or signature
        if (name, kinds) == (kernel, signature) and len(found) < MOST:
            found.append(plain)
    if not found:
        raise ValueError("no case that a page can hold")
    left = entry.get("left", axes(getattr(module, name)))
    if left is None:
        raise ValueError("its indices on the left are not known: say left = […]")
    return Live(label, name, left, entry["formula"], entry.get("wrong", []), kinds, found)


def script(module: Any, lives: list[Live]) -> dict:
    """Return what a page's script holds.

    Raises
    ------
    ValueError
        If a kernel cannot be made WebAssembly.
    """
    kernels = {live.kernel: (getattr(module, live.kernel), live.signature) for live in lives}
    made = wasm.build(kernels)
    if made.refused:
        name, why = next(iter(made.refused.items()))
        raise ValueError(f"{name} {why}")
    return {
        "code": base64.b64encode(made.code).decode(),
        "table": made.table,
        "equations": {
            live.label: {
                "kernel": live.kernel,
                "left": live.left,
                "formula": live.formula,
                "wrong": live.wrong,
                "cases": [{k: c[k] for k in ("args", "expected", "by")} for c in live.cases],
            }
            for live in lives
        },
    }


@cache
def browser() -> Any:
    """Return V8 with the scripts of the page in it."""
    from py_mini_racer import MiniRacer

    engine = MiniRacer()
    engine.eval(LACKING)
    for path in SCRIPTS:
        engine.eval(path.read_text(encoding="utf-8"))
    return engine


def faults(data: dict) -> list[tuple[str, str]]:
    """Return (label, what is wrong) of every formula that the page's own judgement does not accept.

    Parameters
    ----------
    data : dict
        From `script`.
    """
    engine = browser()
    opened = f"var page; liveEquations.open({json.dumps(data)}).then((p) => {{ page = p; }})"
    engine.eval(opened).get()
    found = []
    for label, equation in data["equations"].items():
        texts = [("", equation["formula"]), *equation["wrong"]]
        for name, text in texts:
            say = f"JSON.stringify(page.judge({json.dumps(label)}, {json.dumps(text)}))"
            said = json.loads(engine.eval(say))
            if not name and not said["right"]:
                found.append((label, f"its formula is not its kernel: {said['words']}"))
            if name and (said["right"] or said["name"] != name):
                found.append((label, f"the wrong form “{name}” is not named: {said['words']}"))
    return found


def written(app: Any, page: str, entries: dict) -> str:
    """Return the script of a page as text, from the folder of an earlier build where it is there."""
    cases = app.env.domains["verified"].cases()
    module = import_module(f"dlbook.{page}")
    reached = [module.__name__, "dlbook.tools.wasm", "dlbook.tools.wasm_target"]
    files = [Path(__file__), *SCRIPTS, *package_files(reached)]
    sources = b"".join(path.read_bytes() for path in files)
    given = {label: cases.get(label, []) for label in entries}
    key = hashlib.sha256(sources + repr((entries, given)).encode()).hexdigest()[:24]
    path = Path(app.outdir).parent / "live" / f"{page}-{key}.js"
    if path.is_file():
        return path.read_text(encoding="utf-8")
    lives = []
    for label, entry in entries.items():
        try:
            lives.append(chosen(label, entry, module, given[label]))
        except ValueError as error:
            log.warning("live.toml: %s: %s", label, error, type="live")
    data = script(module, lives)
    for label, words in faults(data):
        log.warning("live.toml: %s: %s", label, words, type="live")
    text = f"(window.dlbook ??= {{}}).live = {json.dumps(data, ensure_ascii=False)};\n"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return text


def finished(app: Any, exception: Exception | None) -> None:
    """Write the scripts beside the pages."""
    if exception or app.builder.name != "html" or not app.live:
        return
    Path(app.outdir, "live").mkdir(exist_ok=True)
    for page, entries in app.live.items():
        Path(app.outdir, "live", f"{page}.js").write_text(
            written(app, page, entries), encoding="utf-8"
        )


def begun(app: Any) -> None:
    """Read `live.toml`: which equations are live, by page."""
    app.live, able = {}, wasm.available()
    file = Path(app.srcdir, "live.toml")
    if not able:
        log.info("no live equations: %s", able.why)
    elif file.is_file():
        for label, entry in tomllib.loads(file.read_text(encoding="utf-8")).items():
            app.live.setdefault(label.partition("-")[0], {})[label] = entry


def setup(app: Any) -> dict:
    """Register both ends of the build."""
    app.connect("builder-inited", begun)
    app.connect("build-finished", finished)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
