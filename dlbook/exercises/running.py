"""Run one file of answers in a process of its own, and write down what happens.

A script is read as Python reads it and run statement by statement; a notebook is run cell by cell,
in IPython's own shell where IPython is installed. What stops is noted, and the rest still runs.
This is not a sandbox: the file runs with all the rights of whoever runs it.
"""

import __future__

import ast
import contextlib
import functools
import json
import linecache
import multiprocessing
import operator
import os
import sys
import types
from importlib.machinery import PathFinder
from pathlib import Path

from dlbook.exercises import shown
from dlbook.exercises.words import said

__all__ = ["KINDS", "work"]

KINDS = (".ipynb", ".py")
LARGEST = 50_000_000  # bytes of a file
DEEPEST = sys.getrecursionlimit()
FUTURE = functools.reduce(
    operator.or_, (getattr(__future__, n).compiler_flag for n in __future__.all_feature_names)
)
NEEDS_IPYTHON = (
    "; what only Jupyter understands can be read where IPython is installed, "
    "for example by `python -m pip install ipython`"
)


def work(path, answers, log, skip, ready):
    """Run a file and write what happens, line by line, so that nothing is lost when it dies.

    Parameters
    ----------
    path : Path
        The file.
    answers : frozenset of str
        All files of the run, none of which this one may import.
    log : Path
        Where to write.
    skip : frozenset of int
        The steps that are left out.
    ready : Connection
        Is told when the file is about to be read.
    """
    _settle(path, answers)
    main = sys.modules["__main__"] = types.ModuleType("__main__")
    main.__dict__.update(display=lambda *args, **options: None)
    with open(log, "a", encoding="utf-8") as file:

        def tell(kind, **fields):
            file.write(json.dumps({"kind": kind} | fields) + "\n")
            file.flush()

        def listen(event, what):
            if event == "begin":
                tell("begin", label=what)
            else:
                lines = [shown.plain(line) for line in what.lines]
                tell("result", label=what.label, status=what.status, name=what.name, lines=lines)

        shown.listeners[:] = [listen]
        ready.send(True)
        try:
            steps = _steps(path, main, log.with_suffix(""))
        except (OSError, ValueError, SyntaxError, RecursionError, MemoryError) as error:
            tell("problem", text=f"cannot be read: {said(error)}")
            steps = []
        tell("steps", names=[name for name, _ in steps])
        for number, (name, step) in enumerate(steps):
            if number in skip:
                continue
            tell("step", number=number, name=name)
            try:
                step()
            except BaseException as error:  # whatever a file does, the rest of it still runs
                sys.setrecursionlimit(DEEPEST)
                if not (isinstance(error, SystemExit) and error.code in (None, 0)):
                    tell("problem", text=f"{name}: {said(error)}")
            sys.setrecursionlimit(DEEPEST)
        tell("end")
    os._exit(0)  # threads that a file left behind cannot hold it up


def _settle(path, answers):
    """Make this process look like one that was started for the file alone."""
    with contextlib.suppress(AttributeError, OSError):
        os.setsid()  # so that what it starts can be ended with it
    with contextlib.suppress(OSError):  # where memory runs out, this is what the system should end
        Path("/proc/self/oom_score_adj").write_text("1000")
    nowhere = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nowhere, stream)
    for stream in (sys.stdout, sys.stderr):
        if stream:
            stream.reconfigure(encoding="utf-8", errors="backslashreplace")
    os.environ.update(DLBOOK_DATA_DIR="", MPLBACKEND="Agg")
    os.environ.pop("PYTHONSAFEPATH", None)
    os.chdir(path.parent)
    # What is installed comes first, so that nobody's statistics.py stands in for Python's
    sys.path.append(str(path.parent))
    sys.meta_path.insert(0, _Apart(answers - {str(path)}))
    sys.argv = [str(path)]
    # Otherwise a pool would run the file again in each of its processes
    multiprocessing.set_start_method(None, force=True)


class _Apart:
    """Refuses to import the other answers; a module that checks nothing is not an answer."""

    def __init__(self, answers):
        self.answers = answers
        self.stems = {Path(answer).stem for answer in answers}

    def find_spec(self, name, path=None, target=None):
        """Raise where a module is an answer, otherwise leave it to the finders of Python."""
        if name.rpartition(".")[2] not in self.stems:
            return
        spec = PathFinder.find_spec(name, path, target)
        file = os.path.realpath(spec.origin) if spec and spec.origin else ""
        if file in self.answers and _checks(file):
            raise ModuleNotFoundError(
                f"{name} is another answer of this folder and cannot be imported", name=name
            )


def _checks(path):
    """Return whether a script checks answers."""
    return b"dlbook.exercises" in Path(path).read_bytes()


# What a file holds


def _steps(path, main, scratch):
    """Return [(name, function that runs it)] of a file, or raise ValueError."""
    if not path.is_file():
        raise ValueError("this is not a file, or what it links to is gone")
    if path.stat().st_size > LARGEST:
        raise ValueError(f"the file is larger than {LARGEST:,} bytes")
    if path.suffix.lower() == ".ipynb":
        return _cells(path.read_bytes(), main, scratch)
    main.__file__ = str(path)
    return _statements(path.read_bytes(), main)


def _statements(data, main):
    """Return the statements of a script; those from `__future__` hold for all of it."""
    tree = ast.parse(data, main.__file__)
    future = compile(tree, main.__file__, "exec", dont_inherit=True).co_flags & FUTURE

    def run(node):
        module = ast.Module([node], [])
        exec(compile(module, main.__file__, "exec", future, dont_inherit=True), main.__dict__)

    return [(f"line {node.lineno}", functools.partial(run, node)) for node in tree.body]


def _cells(data, main, scratch):
    """Return the cells of code of a notebook."""
    notebook = json.loads(data)
    if not isinstance(notebook, dict) or not isinstance(notebook.get("cells"), list):
        raise ValueError("this is not a notebook of format 4")
    cells = [c for c in notebook["cells"] if isinstance(c, dict) and c.get("cell_type") == "code"]
    if not cells:
        return []
    run = _runner(main, scratch)
    steps = []
    for number, cell in enumerate(cells, 1):
        name = f"cell {number}"
        steps.append((name, functools.partial(run, name, cell.get("source"))))
    return steps


def _runner(main, scratch):
    """Return the function that runs a cell: IPython's, or Python alone where it is missing."""
    try:
        from dlbook.exercises.shell import Shell
    except ImportError:
        execute = functools.partial(_as_python, main)
    else:
        execute = Shell.begin(main, scratch).execute

    def run(name, source):
        if isinstance(source, list) and all(isinstance(line, str) for line in source):
            source = "".join(source)
        if not isinstance(source, str):
            raise ValueError("the cell has no source")
        execute(name, source)

    return run


def _as_python(main, name, source):
    """Run a cell that is nothing but Python; say what is missing where it is more."""
    linecache.cache[name] = (len(source), None, source.splitlines(keepends=True), name)
    try:
        future = getattr(main, "__future_flags__", 0)
        code = compile(source, name, "exec", future, dont_inherit=True)
    except SyntaxError as error:
        raise SyntaxError(f"{error}{NEEDS_IPYTHON}") from None
    main.__future_flags__ = code.co_flags & FUTURE
    exec(code, main.__dict__)
