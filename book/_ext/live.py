"""Make what a reader's browser needs to answer: kernels, cases, formulas.

For each page a script ``live/<page>.js`` is written: one WebAssembly module of the kernels of its
equations, and the cases that the page ran. Where ``live/<page>.toml`` beside the pages has an
equation's right-hand side in the small language of ``formula.js``, perhaps with wrong ones and what
they are called, a reader can edit it; of the others the inputs can be changed. A formula that does
not compute what its kernel does, or a wrong one that does, is a fault of the build. Where this Numba
makes no WebAssembly the book is built without, and says so.
"""

import base64
import gzip
import hashlib
import json
import os
import pickle
import re
import tomllib
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from py_mini_racer import JSEvalException, MiniRacer
from sphinx.util import logging

from dlbook.tools import jit, wasm
from dlbook.tools.cases import encoded
from dlbook.tools.jit import package_files

CALLED = re.compile(r'\.call\(\s*"([\w.]+)"')
MOST, NUMBERS = 8, 800  # cases of an equation that go to the reader, and numbers in all of them
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
        Module and name, as in "backprop.bp2".
    signature : tuple
        Types of the kernel's arguments.
    cases : list of dict
        ``args`` and ``by``, as ``cases/<page>.json`` has them.
    """

    label: str
    kernel: str
    signature: tuple
    cases: list


def axes(kernel: Any) -> list[str] | None:
    """Return the letters of a kernel's one result; None where it has several, or none is said."""
    found = re.search(r" -> \(([^()]*)\)\s*$", kernel.py_func.__doc__ or "", re.M)
    letters = found[1].split() if found else None
    fine = letters is not None and all(len(x) == 1 and x != "…" for x in letters)
    return letters if fine and len(set(letters)) == len(letters) else None


def found_kernel(name: str) -> Any:
    """Return the kernel "dlbook.module.name"; None where that is none."""
    module, _, own = name.rpartition(".")
    kernel = getattr(import_module(module), own, None)
    return kernel if hasattr(kernel, "py_func") else None


def decoded(value: Any) -> Any:
    """Return a value that `dlbook.tools.cases.encoded` has made plain data."""
    if isinstance(value, dict):
        [(dtype, nested)] = value.items()
        return np.array(nested, dtype)
    return tuple(map(decoded, value)) if isinstance(value, list) else value


def taken(plain: dict | None) -> tuple | None:
    """Return the types of a case's arguments; None where a page cannot be handed it.

    It has to be small, of finite numbers, and of a kernel.
    """
    text = json.dumps(plain["args"]) if plain else "null"
    if re.search(r'"digest"|null|\[\]', text) or text.count(",") >= NUMBERS:
        return None
    if (kernel := found_kernel(plain["kernel"])) is None:
        return None
    try:
        return wasm.signature(kernel, tuple(map(decoded, plain["args"])))
    except TypeError:
        return None


def chosen(label: str, given: list[dict]) -> Live:
    """Return an equation with those of its cases that a page can hold.

    Parameters
    ----------
    label : str
    given : list of dict
        Those cases of the equation, as ``cases/<page>.json`` has them, that are `taken`.
    """
    name, kinds = given[0]["kernel"], taken(given[0])
    found, count = [], 0
    for plain in given:
        numbers = json.dumps(plain["args"]).count(",")
        if (plain["kernel"], taken(plain)) != (name, kinds) or len(found) == MOST:
            continue
        if not found or count + numbers < NUMBERS:
            count += numbers
            found.append({"args": plain["args"], "by": plain["by"]})
    return Live(label, name.removeprefix("dlbook."), kinds, found)


def script(lives: list[Live], others: list[dict] = ()) -> dict:
    """Return what a page's script holds but for formulas: code, table of kernels, equations.

    Of what cannot be WebAssembly it has the reason, ``refused``, in place of ``cases``.

    Parameters
    ----------
    lives : list of Live
    others : list of dict
        A case of each kernel that only the page's pictures call.
    """
    kinds = {live.kernel: live.signature for live in lives}
    kinds |= {plain["kernel"].removeprefix("dlbook."): taken(plain) for plain in others}
    kernels = {name: (found_kernel(f"dlbook.{name}"), kind) for name, kind in kinds.items()}
    made, equations = wasm.build(kernels), {}
    for live in lives:
        why = made.refused.get(live.kernel)
        held = {"refused": why} if why else {"cases": live.cases}
        left = axes(found_kernel(f"dlbook.{live.kernel}"))
        equations[live.label] = {"kernel": live.kernel, "left": left, **held}
    code = base64.b64encode(made.code).decode()
    return {"code": code, "table": made.table, "equations": equations}


def with_formulas(data: dict, said: dict[str, dict]) -> list[tuple[str, str]]:
    """Give equations the formulas that a page's file has; return (label, what is wrong with an entry).

    Parameters
    ----------
    data : dict
        From `script`; changed.
    said : dict
        By label: ``formula``, perhaps ``wrong`` as [what a mistake is called, the right-hand side
        with it]; ``left``, the indices of the left-hand side, where no docstring tells them; and
        ``part``, which of several results of the kernel it is, from 0.
    """
    wrong = []
    for label, entry in said.items():
        equation = data["equations"].get(label, {"refused": "has no case that a page can hold"})
        if "refused" in equation:
            wrong.append((label, equation["refused"]))
        elif (left := entry.get("left", equation["left"])) is None:
            wrong.append((label, "its indices on the left are not known: say left = […]"))
        else:
            part = {"part": entry["part"]} if "part" in entry else {}
            wrongs = entry.get("wrong", [])
            equation |= {"left": left, "formula": entry["formula"], "wrong": wrongs, **part}
            data["equations"][label] = equation
    return wrong


@contextmanager
def browser(data: dict) -> Iterator[Any]:
    """Open what `script` returned in V8 with the scripts of the page; give what calls its methods."""
    with MiniRacer() as engine:
        engine.eval(LACKING)
        for path in SCRIPTS:
            engine.eval(path.read_text(encoding="utf-8"))
        opened = f"var page; liveEquations.open({json.dumps(data)}).then((p) => {{ page = p; }})"
        engine.eval(opened).get()

        def call(method: str, *given: str) -> Any:
            code = f"page.{method}({', '.join(map(json.dumps, given))})"
            return json.loads(engine.eval(f"JSON.stringify({code})"))

        yield call


def faults(data: dict) -> list[tuple[str, str]]:
    """Return (label, what is wrong) of every formula that the page's own judgement does not accept.

    Every kernel is run on its cases, those of equations without a formula too.

    Parameters
    ----------
    data : dict
        From `script`.
    """
    found = []
    with browser(data) as call:
        for label, equation in data["equations"].items():
            if "cases" in equation:
                try:
                    call("cases", label)
                except JSEvalException as error:
                    found.append((label, f"its kernel does not run: {str(error).splitlines()[0]}"))
                    continue
            if "formula" not in equation:
                continue
            said = call("judge", label, equation["formula"])
            if not said["right"]:
                found.append((label, f"its formula is not its kernel: {said['words']}"))
            for name, text in equation["wrong"]:
                said = call("judge", label, text)
                if said["right"] or said.get("name") != name:
                    found.append((label, f"the wrong form “{name}” is not named: {said['words']}"))
    return found


def entries(page: str, source: Path) -> dict[str, dict]:
    """Return what the file of a page says of its equations, by label."""
    file = source / "live" / f"{page}.toml"
    return tomllib.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}


def called(page: str) -> set[str]:
    """Return the kernels that the pictures of a page call, "module.name"."""
    path = STATIC / "interactive" / f"{page}.js"
    return set(CALLED.findall(path.read_text(encoding="utf-8"))) if path.is_file() else set()


def borrowed(page: str, live: dict[str, dict[str, list]]) -> list[dict]:
    """Return a case of each kernel that the pictures of a page call and none of its equations has."""

    def by_kernel(pages: Iterable[str]) -> dict[str, dict]:
        cases = [case for p in pages for some in live[p].values() for case in some]
        return {case["kernel"].removeprefix("dlbook."): case for case in reversed(cases)}

    lacking, known = called(page) - by_kernel([page]).keys(), by_kernel(live)
    for name in sorted(lacking - known.keys()):
        log.warning(
            "interactive/%s.js calls %s, of which no case is known", page, name, type="live"
        )
    return [known[name] for name in sorted(lacking & known.keys())]


def written(folder: Path, given: dict[str, list], others: list[dict]) -> dict:
    """Return what `script` returns for a page, from the folder of an earlier build if it can be.

    Parameters
    ----------
    folder : path
    given : dict
        The cases of each of the page's equations.
    others : list of dict
        Cases of what is `borrowed`.
    """
    cases = [*others, *(plain for some in given.values() for plain in some)]
    names = {plain["kernel"].rpartition(".")[0] for plain in cases}
    reached = [*sorted(names), "dlbook.tools.wasm", "dlbook.tools.wasm_target"]
    sources = b"".join(path.read_bytes() for path in [Path(__file__), *package_files(reached)])
    key = hashlib.sha256(sources + json.dumps([given, others]).encode()).hexdigest()[:24]
    path = folder / f"{key}.json"
    if path.is_file():
        return json.loads(path.read_text(encoding="utf-8"))
    data = script([chosen(label, cases) for label, cases in given.items()], others)
    folder.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(data, ensure_ascii=False), encoding="utf-8")
    return data


def given(app: Any) -> dict[str, dict[str, list]]:
    """Return the cases that pages can be handed, by page and label, with arguments as kernels take them."""
    found = {}
    for label, cases in app.env.domains["verified"].cases().items():
        for case in cases if label in app.verified[0] else ():
            if not (case["plain"] and case["blob"]):
                continue
            if (kernel := found_kernel(case["plain"]["kernel"])) is None:
                continue
            args = jit.taken(kernel, pickle.loads(base64.b64decode(case["blob"]))["args"])
            plain = case["plain"] | {"args": encoded(args)}
            if taken(plain):
                some = found.setdefault(app.verified[0][label]["page"], {})
                some.setdefault(label, []).append(plain)
    return found


def updated(app: Any, env: Any) -> set[str]:
    """Note which equations answer, by page; return the pages whose marks have to be written again."""
    app.live = given(app) if app.builder.name == "html" else {}
    if app.live and not (can := wasm.available()):
        log.info("no live equations: %s", can.why)
        app.live = {}
    app.editable = {page: entries(page, Path(app.srcdir)) for page in app.live}
    marked = {p: (sorted(found), sorted(app.editable[p])) for p, found in app.live.items()}
    before, env.dlbook_live = getattr(env, "dlbook_live", {}), marked
    return {page for page in marked.keys() | before.keys() if marked.get(page) != before.get(page)}


def finished(app: Any, exception: Exception | None) -> None:
    """Write the scripts beside the pages, and say what they weigh."""
    if exception or app.builder.name != "html" or not app.live:
        return
    kept, folder = Path(app.outdir).parent / "live", Path(app.outdir, "live")
    folder.mkdir(exist_ok=True)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        others = {page: borrowed(page, app.live) for page in app.live}
        made = pool.map(lambda page: written(kept, app.live[page], others[page]), app.live)
        for page, data in zip(app.live, made, strict=True):
            for label, words in [*with_formulas(data, app.editable[page]), *faults(data)]:
                log.warning("live/%s.toml: %s: %s", page, label, words, type="live")
            text = f"(window.dlbook ??= {{}}).live = {json.dumps(data, ensure_ascii=False)};\n"
            (folder / f"{page}.js").write_text(text, encoding="utf-8")
            size = len(gzip.compress(text.encode(), 6))
            said = len(data["equations"]), sum("formula" in e for e in data["equations"].values())
            log.info(
                "live/%s.js: %d equations, %d can be edited, %d bytes compressed", page, *said, size
            )


def setup(app: Any) -> dict:
    """Register both ends of the build."""
    app.connect("env-get-updated", updated, priority=950)  # after `verified` has joined its results
    app.connect("build-finished", finished)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
