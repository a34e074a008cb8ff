"""Which suites hold each public name of the package: ``make census`` prints it, the book shows it.

A name is public where its module's ``__all__`` has it. Each is held by a generic suite, through
another name whose row runs it, or excused in words: `THROUGH` and `EXCUSED` have them.
"""

import ast
import importlib
import inspect
import json
import re
import sys
from functools import cache
from pathlib import Path
from typing import NamedTuple

import registry
from registry import sizes_of

import dlbook
from dlbook.nets import Composition, Layer
from dlbook.nets.costs import Cost

HERE = Path(__file__).resolve().parent
APART = {"wasm_target"}  # what Numba knows of it stays in a process of its own; see test_wasm.py
ROOT = Path(dlbook.__file__).parent
SUITES = ("contract", "page", "literal", "NaN", "threads", "memory", "arrays", "gradient", "own")

THROUGH = {  # kernels that a row runs by way of another
    "fast.attend": {
        "attend_heads": "attend.attend",
        "attend_backward_heads": "attend.attend_backward",
        "attend_parts": "attend.attend",
        "attend_backward_parts": "attend.attend_backward",
        "rows_at": "attend.attend",
        "weigh_into": "attend.attend",
        "weigh_backward_into": "attend.attend_backward",
    },
    "fast.gates": {
        "lstm_cells": "gates.lstm_into",
        "lstm_cells_backward": "gates.lstm_backward_into",
        "gru_cells": "gates.gru_into",
        "gru_cells_backward": "gates.gru_backward_into",
        "in_parts": "gates.lstm_into, of which it calls parts",
    },
    "fast.lines": {
        "direct_lines": "conv.forward",
        "direct_lines_dw": "conv.backward",
        "turned": "conv.adjoint",
    },
    "fast.parts": {
        "conv_parts": "conv.forward",
        "conv_parts_backward": "conv.backward",
        "direct_parts": "conv.forward",
        "direct_parts_dw": "conv.backward",
        "winograd_parts": "conv.forward",
        "winograd_parts_dw": "conv.backward",
    },
    "fast.patches": {
        "conv_lines": "conv.forward",
        "conv_lines_backward": "conv.backward",
        "conv_lines_input": "conv.adjoint",
        "adjoint_lines_backward": "conv.adjoint_backward",
    },
    "fast.winograd": {
        "winograd_lines": "conv.forward",
        "winograd_lines_dw": "conv.backward",
    },
    "fast.conv": {"memory": "conv.forward"},
    "fast.columns": {"centred": "columns.centre"},
    "fast.grams": {"numbered": "grams.number"},
    "fast.normal": {"normals": "normal.normal_into"},
    "fast.sequences": {"arrange": "sequences.arrange_into"},
    "fast.skipgram": {"learn_round": "skipgram.learn_part"},
    "matmul": {"multiply_tiled": "multiply, which it is where there is a tile"},
    "backprop": {"fused_forward": "fused_gradient", "fused_backward": "fused_gradient"},
}

MEASURES = "measures the machine: what it computes is not looked at"
COUNTS = "counts from sizes: its own tests have cases by hand"
DRAWS = "draws or builds from settings: its own tests hold sizes, laws and what is refused"
GRAPH = "takes or makes a graph of numbers, itself the second oracle of gradients"
RULE = (
    "calls the kernel of its name, which has a row; its own tests hold settings and what is refused"
)
WORDS = "takes text or lists of symbols: its own tests have cases by hand and what is refused"
TASK = "takes functions: its own tests hold it against enumeration"
EXCUSED = {  # module, or module and name -> why there is no generic suite
    "tools": "held by tests of its own: files, text, figures, and the making of the book",
    "exercises": "held by tests/test_exercises.py: solutions, mistakes and messages of each exercise",
    "nets": "makes, trains or reads networks: held by tests of its own, with files, shapes and errors",
    "verification": TASK,
    "fast.memory.Memory": "hands out arrays: held by tests/test_simd.py, for every tile",
    "language_models.NGram": "its `fit` has a row, in tests/test_inputs.py",
    **dict.fromkeys(("matmul.repeat_tile", "matmul.peak_kernel"), MEASURES),
    **dict.fromkeys(
        ("matmul.fetch", "matmul.lines_fetched"), "simulates a cache in place, for `fetched`"
    ),
    **dict.fromkeys(
        [
            *("architectures.layer_costs", "backprop.layer_sizes", "backprop.parameter_count"),
            *("convolution.output_size", "convolution.receptive_field", "matmul.fetched"),
            *("linear_regression.multiplications", "linear_regression.operations"),
            *("matmul.panels", "vision.upsampled_size"),
        ],
        COUNTS,
    ),
    **dict.fromkeys(
        [
            *(
                "backprop.init",
                "backprop.as_params",
                "backprop.workspace",
                "diffusion.cosine_schedule",
            ),
            *("neurons.bump_network", "neurons.two_spirals", "optimization.minibatches"),
            *(
                "rnn.adding_problem",
                "rnn.orthogonal",
                "sequence_tasks.chunks",
                "sequence_tasks.dates",
            ),
            *("training.he", "training.xavier", "linear_regression.coefficient_table"),
        ],
        DRAWS,
    ),
    **dict.fromkeys(
        [
            "backprop.Value",
            "backprop.adjoints",
            "backprop.check_backprop",
            "backprop.topological_order",
        ],
        GRAPH,
    ),
    **dict.fromkeys(
        ["captioning.bleu", "captioning.exact_match", "sequence_tasks.written_date"], WORDS
    ),
    "sequence_tasks.beam_search": TASK,
    **dict.fromkeys(
        [
            f"optimization.{name}"
            for name in (
                *(
                    "SGD",
                    "AdaDelta",
                    "AdaGrad",
                    "Adam",
                    "AdamW",
                    "InverseDecay",
                    "Momentum",
                    "Nesterov",
                ),
                *("Optimizer", "RMSprop", "StepDecay", "WarmupCosine"),
            )
        ],
        RULE,
    ),
}
ROOMS = {"tools", "exercises", "nets", "verification"}  # excused as a whole
NETWORKS = ("layer", "cost", "model")  # of these each has a gradient, and nothing excuses it
DATA = "data: what returns it is held"


class Name(NamedTuple):
    """A public name and what holds it."""

    module: str
    name: str
    kind: str
    held: dict  # suite -> how
    excuse: str  # why no generic suite holds it; empty where one does
    shapes: int  # tried by `make test`


def modules():
    """Yield the modules of the package that have public names."""
    for path in sorted(ROOT.rglob("*.py")):
        parts = path.relative_to(ROOT.parent).with_suffix("").parts
        if parts[-1] not in {"__main__", *APART}:
            name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
            module = importlib.import_module(name)
            if hasattr(module, "__all__"):
                yield module


def kind_of(thing):
    """Say what a public name is."""
    if hasattr(thing, "py_func"):
        return "kernel"
    if inspect.isclass(thing):
        if issubclass(thing, Layer):
            return "layer"
        if issubclass(thing, Composition):
            return "model"
        if issubclass(thing, Cost):
            return "cost"
        return "data" if issubclass(thing, (tuple, BaseException)) else "class"
    return "function" if inspect.isroutine(thing) or callable(thing) else "data"


def key_of(thing, module="", name=""):
    """Return where something is at home."""
    home = getattr(thing, "py_func", thing)
    return getattr(home, "__module__", module), getattr(home, "__qualname__", name)


def used_by(path):
    """Yield what a test file imports from the package, or takes from a module of it."""
    tree, places = ast.parse(path.read_text(encoding="utf-8")), {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("dlbook"):
            module = importlib.import_module(node.module)
            for alias in node.names:
                thing = getattr(module, alias.name, None)
                if thing is None:
                    thing = importlib.import_module(f"{node.module}.{alias.name}")
                if inspect.ismodule(thing):
                    places[alias.asname or alias.name] = thing
                else:
                    yield key_of(thing, node.module, alias.name)
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            place = places.get(node.value.id)
            if place is not None and hasattr(place, node.attr):
                yield key_of(getattr(place, node.attr), place.__name__, node.attr)


@cache
def own_tests():
    """Return what test files take from the package, but for these of the registry."""
    ours = {
        "census.py",
        "registry.py",
        "test_registry.py",
        *(p.name for p in HERE.glob("rows_*.py")),
    }
    files = [p for p in HERE.rglob("*.py") if p.name not in ours and p.parent.name != "site"]
    return {key for path in files for key in used_by(path)}


@cache
def parts_of_networks():
    """Return the classes of layers, costs and models whose gradient a test holds against differences."""
    found, seen = set(), {}  # what was seen is kept, so that no other thing gets its id

    def walk(thing):
        if id(thing) in seen or isinstance(thing, (str, bytes, int, float)):
            return
        seen[id(thing)] = thing
        if isinstance(thing, (Layer, Composition, Cost)):
            found.update(type(thing).__mro__)
            walk([getattr(thing, part, None) for part in ("net", "_cost")])
            for part in vars(thing).values():
                walk(part)
        elif isinstance(thing, dict):
            for part in thing.values():
                walk(part)
        elif isinstance(thing, (list, tuple)):
            for part in thing:
                walk(part)
        elif (
            inspect.isfunction(thing)
            and thing.__name__ == "<lambda>"
            and not thing.__code__.co_argcount
        ):
            walk(thing())

    files = [*sorted((HERE / "nets").glob("test_*.py")), HERE / "test_flat.py"]
    for path in (p for p in files if "check_model(" in p.read_text(encoding="utf-8")):
        for value in vars(importlib.import_module(path.stem)).values():
            if isinstance(value, dict):
                walk(value)
    walk(importlib.import_module("rows_nets").MODELS)
    return found


@cache
def verified():
    """Return the labels of the equations that pages verify."""
    text = "".join(p.read_text(encoding="utf-8") for p in (ROOT.parent / "book").glob("*.md"))
    return set(re.findall(r"verify\(\s*\"([\w-]+)\"", text))


@cache
def contracts():
    return {key_of(row.values[0]) for row in importlib.import_module("test_kernels").ROWS}


@cache
def calls():
    return importlib.import_module("test_inputs").CALLS


def excuse_of(short, name):
    """Return why a name needs no generic suite, or nothing."""
    for key in (f"{short}.{name}", short, short.split(".")[0]):
        if key in EXCUSED:
            return EXCUSED[key]
    return ""


def entry(module, name, thing):
    """Return what is known of one public name."""
    short, kind, held, shapes = (
        module.__name__.removeprefix("dlbook").strip("."),
        kind_of(thing),
        {},
        0,
    )
    key = key_of(thing, module.__name__, name)
    if key in contracts():
        held["contract"] = held["memory"] = "✓"
    labels = re.match(r"\(([\w, -]+)\)", inspect.getdoc(getattr(thing, "py_func", thing)) or "")
    if kind == "kernel" and labels and set(labels[1].split(", ")) & verified():
        held["page"] = "✓"
    alias = ".".join(key).removeprefix("dlbook.")
    rows = [r for r in registry.ROWS if r.split(":")[0] in (f"{short}.{name}", alias)]
    for row in rows:
        shapes += len(registry.ROWS[row].dtypes) * len(list(sizes_of(row, 12)))
        held["literal"], held["memory"] = "✓", "✓"
        held["NaN"] = registry.ROWS[row].nan or "✓"
        if registry.ROWS[row].threads:
            held["threads"] = (
                registry.ROWS[row].threads if isinstance(registry.ROWS[row].threads, str) else "✓"
            )
    through = THROUGH.get(short, {}).get(name)
    if through and not rows:
        held["literal"] = f"by {through}"
    if name in calls() and kind in ("function", "kernel"):
        held["arrays"] = "✓"
    if inspect.isclass(thing) and thing in parts_of_networks():
        held["gradient"] = "✓"
    if key in own_tests():
        held["own"] = "✓"
    generic = held.keys() - {"own", "page"}
    excuse = "" if generic or kind in NETWORKS else excuse_of(short, name)
    if excuse and "own" not in held:
        excuse += "; no test names it: held through what calls it"
    excuse = DATA if kind == "data" else excuse
    return Name(short, name, kind, held, excuse, shapes)


def census():
    """Return all public names, each once, where it is at home."""
    registry.load()
    found = []
    for module in modules():
        for name in module.__all__:
            thing = getattr(module, name)
            if key_of(thing, module.__name__)[0] == module.__name__ or kind_of(thing) == "data":
                found.append(entry(module, name, thing))
    seen, once = set(), []
    for one in found:  # a package names again what its modules have
        thing = getattr(importlib.import_module(f"dlbook.{one.module}".rstrip(".")), one.name)
        if id(thing) not in seen or one.kind != "data":
            once.append(one)
        seen.add(id(thing))
    return once


def table(names):
    """Return the census as Markdown: a table for each module, notes behind it."""
    lines = []
    for module in dict.fromkeys(one.module for one in names):
        mine = [one for one in names if one.module == module and one.kind != "data"]
        if not mine:
            continue
        lines += [
            f"\n## {module or 'dlbook'}\n",
            f"| name | kind | shapes | {' | '.join(SUITES)} |",
        ]
        lines += ["| --- " * (3 + len(SUITES)) + "|"]
        notes = {}
        for one in mine:
            cells = []
            for suite in SUITES:
                how = one.held.get(suite, "")
                if how not in ("", "✓"):
                    how = f"({notes.setdefault(how, len(notes) + 1)})"
                cells.append(how)
            if one.excuse:
                cells[-1] += f" ({notes.setdefault(one.excuse, len(notes) + 1)})"
            lines.append(f"| {one.name} | {one.kind} | {one.shapes or ''} | {' | '.join(cells)} |")
        lines += ["", *(f"({n}) {words}." for words, n in notes.items())]
    return "\n".join(lines)


def summary(names):
    """Return how many names of each kind which suites hold, as Markdown."""
    kinds = dict.fromkeys(one.kind for one in names)
    lines = [
        f"| kind | names | {' | '.join(SUITES)} | no generic suite |",
        "| --- " * (3 + len(SUITES)) + "|",
    ]
    for kind in kinds:
        mine = [one for one in names if one.kind == kind]
        counts = [sum(suite in one.held for one in mine) or "" for suite in SUITES]
        alone = sum(bool(one.excuse) for one in mine) or ""
        lines.append(f"| {kind} | {len(mine)} | {' | '.join(map(str, counts))} | {alone} |")
    shapes = sum(one.shapes for one in names)
    return "\n".join([*lines, "", f"Shapes tried of literal = fast in one `make test`: {shapes}."])


if __name__ == "__main__":
    names = census()
    if sys.argv[1:] == ["--json"]:
        print(json.dumps([one._asdict() for one in names]))
    else:
        print(summary(names))
        print(table(names))
