"""What the source of the package says about its kernels, read without importing them."""

import ast
import re
from functools import cache
from pathlib import Path

__all__ = ["LABELS", "LABELS_IN_CODE", "PACKAGE", "kernel_source"]

PACKAGE = Path(__file__).resolve().parents[1]
LABELS = re.compile(r"^\(([a-z]\w*-[\w-]+(?:, *[a-z]\w*-[\w-]+)*)\)")  # of a docstring
LABELS_IN_CODE = re.compile(r'(?<=""")' + LABELS.pattern.removeprefix("^"))


def kernel_source(name):
    """Return the file and source of "module.function", its docstring cut to the first paragraph.

    Raises
    ------
    LookupError
        If the package has no such module, or the module no such function or class.
    """
    *module, function = name.split(".")
    path = PACKAGE.joinpath(*module).with_suffix(".py")
    if not (module and all(map(str.isidentifier, module)) and path.is_file()):
        raise LookupError(f"{name}: no such module in {PACKAGE.name}")
    tree, lines = _parsed(path, path.stat().st_mtime_ns)
    found = [
        n
        for n in tree.body
        if isinstance(n, (ast.FunctionDef, ast.ClassDef)) and n.name == function
    ]
    if not found:
        raise LookupError(f"{name}: no such function in {path.name}")
    node = found[0]
    first = min([node.lineno, *(d.lineno for d in node.decorator_list)]) - 1
    shown = lines[first : node.end_lineno]
    doc = node.body[0]
    if isinstance(doc, ast.Expr) and isinstance(doc.value, ast.Constant):
        body = lines[doc.lineno - 1 : doc.end_lineno]
        head = body[: next((i for i, line in enumerate(body) if not line.strip()), len(body))]
        if len(head) < len(body):
            head[-1] = head[-1].rstrip() + '"""'
        shown = lines[first : doc.lineno - 1] + head + lines[doc.end_lineno : node.end_lineno]
    return path, "\n".join(shown) + "\n"


@cache
def _parsed(path, mtime_ns):
    """Return the tree and the lines of a file (parsed once per state of the file)."""
    text = path.read_text(encoding="utf-8")
    return ast.parse(text), text.splitlines()
