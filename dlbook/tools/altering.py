"""Altered versions of a function, made one at a time at one place of its syntax tree.

They are the slips that people make: a wrong sign, two indices exchanged, a bound one off, the last
instead of the first, a factor forgotten. Left alone are docstrings, annotations, keywords, errors
raised and checks of arguments, what only makes a zero of the right type (``0 * x``), and the shape
that an array is made with (``zeros_like``). Alterations that come to the same source count once.
"""

import ast
import copy
import inspect
import textwrap
from typing import NamedTuple

__all__ = ["Version", "compiled", "parsed", "trees", "versions"]

SWAPS = {
    ast.Add: [ast.Sub],
    ast.Sub: [ast.Add],
    ast.Mult: [ast.Div],
    ast.Div: [ast.Mult],
    ast.Pow: [ast.Mult],
    ast.FloorDiv: [ast.Div],
    ast.Mod: [ast.FloorDiv],
}
ORDERED = (ast.Sub, ast.Div, ast.FloorDiv, ast.Mod, ast.Pow, ast.MatMult)
COMPARISONS = {
    ast.Lt: [ast.LtE, ast.Gt],
    ast.LtE: [ast.Lt, ast.GtE],
    ast.Gt: [ast.GtE, ast.Lt],
    ast.GtE: [ast.Gt, ast.LtE],
    ast.Eq: [ast.NotEq],
    ast.NotEq: [ast.Eq],
    ast.Is: [ast.IsNot],
    ast.IsNot: [ast.Is],
}
PAIRS = {
    "min": "max",
    "minimum": "maximum",
    "argmin": "argmax",
    "ceil": "floor",
    "cos": "sin",
    "mean": "sum",
    "ones": "zeros",
    "ones_like": "zeros_like",
    "any": "all",
    "append": "appendleft",
    "pop": "popleft",
}
OTHERS = PAIRS | {b: a for a, b in PAIRS.items()} | {"exp": "expm1", "log": "log1p"}
MAKERS = {"zeros", "ones", "empty", "full"}
SYMMETRIC = {"min", "max", "maximum", "minimum", "isinstance", "astype", "range", "zip"} | MAKERS
KEPT = MAKERS | {
    "append",
    "arange",
    "array",
    "asarray",
    "ascontiguousarray",
    "copy",
    "enumerate",
    "float",
    "float32",
    "float64",
    "int",
    "kind",
    "len",
    "list",
    "ndarray",
    "ndindex",
    "prange",
    "range",
    "reversed",
    "tuple",
    "type",
}
CHECKS = {"axes", "check_indices", "shapes"}


class Version(NamedTuple):
    """One altered version of a function."""

    kind: str  # what was done, in words
    line: int  # of its file
    was: str  # the lines that differ, before
    now: str  # and after
    code: object  # compiled; run in the module of the function it defines the altered one


# Trees


def _with(node, **fields):
    """Return a copy of a node with other fields."""
    new = copy.copy(node)
    for field, value in fields.items():
        setattr(new, field, value)
    return new


class _Replace(ast.NodeTransformer):
    """Copies a tree with one node replaced."""

    def __init__(self, old, new):
        self.old, self.new = old, new

    def visit(self, node):
        if node is self.old:
            return self.new
        new = copy.copy(node)
        for field, value in ast.iter_fields(node):
            items = value if isinstance(value, list) else [value]
            items = [self.visit(v) if isinstance(v, ast.AST) else v for v in items]
            setattr(new, field, items if isinstance(value, list) else items[0])
        return new


class _Turns(ast.NodeTransformer):
    """Lets each turn of a loop be counted, so that one that never ends is stopped."""

    def visit_For(self, node):
        self.generic_visit(node)
        node.body.insert(0, ast.Expr(ast.Call(ast.Name("__turn__", ast.Load()), [], [])))
        return node

    visit_While = visit_For  # noqa: N815


def compiled(tree):
    """Return the code of a definition whose loops call ``__turn__()`` once a turn."""
    counted = ast.fix_missing_locations(_Turns().visit(copy.deepcopy(tree)))
    return compile(counted, "<altered>", "exec")


def parsed(function):
    """Return the tree of a function without its docstring, and the line where its file has it."""
    lines, first = inspect.getsourcelines(function)
    tree = ast.parse(textwrap.dedent("".join(lines)))
    definition = tree.body[0]
    if ast.get_docstring(definition):
        definition.body = definition.body[1:]
    return tree, first


# Alterations


def _name(call):
    return getattr(call.func, "attr", getattr(call.func, "id", ""))


def _zero(node):
    """Return the zero of ``0 * x``, or None."""
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult):
        for side in (node.left, node.right):
            if isinstance(side, ast.Constant) and side.value == 0:
                return side
    return None


def _guards(node):
    """Say whether a statement only looks after bad arguments."""
    if isinstance(node, ast.If):
        return not node.orelse and isinstance(node.body[-1], ast.Raise)
    call = getattr(node, "value", None) if isinstance(node, (ast.Expr, ast.Assign)) else None
    names = ast.walk(call.func) if isinstance(call, ast.Call) else ()
    return any(isinstance(n, ast.Name) and n.id in CHECKS for n in names)


def _put(items, at, new):
    return [*items[:at], new, *items[at + 1 :]]


def _keeps(name):
    """Say whether a call only makes, counts or converts."""
    return name in KEPT or name.endswith("_like")


def _alike(a, b):
    """Say whether two values are the same, or arrays that are made in the same way."""
    made = all(isinstance(v, ast.Call) and _name(v).endswith("_like") for v in (a, b))
    return (made and _name(a) == _name(b)) or ast.unparse(a) == ast.unparse(b)


def _exchanged(items, values=()):
    """Yield lists with two neighbours exchanged, unless the values they are given are alike."""
    for i in range(len(items) - 1):
        alike = len(values) == len(items) and _alike(*values[i : i + 2])
        if not (alike or any(isinstance(v, ast.Starred) for v in items[i : i + 2])):
            yield [*items[:i], items[i + 1], items[i], *items[i + 2 :]]


def _moved(node, by):
    return ast.BinOp(node, ast.Add() if by > 0 else ast.Sub(), ast.Constant(1))


def _of_operator(node, parent, loops):
    for swap in SWAPS.get(type(node.op), ()):
        yield "another operator", _with(node, op=swap())
    yield "left operand only", node.left
    if not _zero(node.left):
        yield "right operand only", node.right
    squared = isinstance(parent, ast.BinOp) and isinstance(parent.op, ast.Pow)
    if isinstance(node.op, ORDERED) and not (squared and ast.unparse(parent.right) == "2"):
        yield "operands exchanged", _with(node, left=node.right, right=node.left)
    if isinstance(node.op, ast.FloorDiv):
        minus = _with(node, left=ast.UnaryOp(ast.USub(), node.left))
        yield "rounded up", ast.UnaryOp(ast.USub(), minus)


def _of_sign(node, parent, loops):
    if isinstance(node.op, (ast.USub, ast.Not)):
        yield "sign dropped", node.operand


def _of_comparison(node, parent, loops):
    if len(node.ops) == 1:
        for op in COMPARISONS.get(type(node.ops[0]), ()):
            yield "another comparison", _with(node, ops=[op()])


def _of_conditions(node, parent, loops):
    yield "and or or", _with(node, op=ast.Or() if isinstance(node.op, ast.And) else ast.And())
    for i in range(len(node.values)):
        rest = node.values[:i] + node.values[i + 1 :]
        yield "condition dropped", rest[0] if len(rest) == 1 else _with(node, values=rest)


def _of_branch(node, parent, loops):
    yield "always", _with(node, test=ast.Constant(True))
    yield "never", _with(node, test=ast.Constant(False))


def _of_constant(node, parent, loops):
    if type(node.value) not in (int, float):
        return
    axis = isinstance(parent, ast.Subscript) and getattr(parent.value, "attr", "") == "shape"
    for value in (node.value + 1, node.value - 1, *(() if axis else (node.value * 2,))):
        if not (axis and value < 0):
            yield "another axis" if axis else "another constant", ast.Constant(value)


def _of_index(node, parent, loops):
    if isinstance(node.ctx, ast.Load) and node.id in loops:
        for other in sorted(loops - {node.id}):
            yield "another index", _with(node, id=other)


def _of_tuple(node, parent, loops):
    if isinstance(node.ctx, ast.Load) or isinstance(parent, ast.Assign):
        values = getattr(parent.value, "elts", ()) if isinstance(parent, ast.Assign) else ()
        for elements in _exchanged(node.elts, values):
            yield "neighbours exchanged", _with(node, elts=elements)


def _of_attribute(node, parent, loops):
    if node.attr == "T":
        yield "transpose dropped", node.value


def _of_call(node, parent, loops):
    name, args = _name(node), node.args
    if name in OTHERS:
        field = "attr" if isinstance(node.func, ast.Attribute) else "id"
        yield "another function", _with(node, func=_with(node.func, **{field: OTHERS[name]}))
    if name in ("range", "prange"):
        if len(args) == 1:
            yield "first left out", _with(node, args=[ast.Constant(1), *args])
        for i in range(min(len(args), 2)):
            for by in (-1, 1):
                yield "bound moved", _with(node, args=_put(args, i, _moved(args[i], by)))
    elif name == "ndindex":
        for i in range(len(args)):
            if isinstance(args[i], ast.Name):
                yield "last left out", _with(node, args=_put(args, i, _moved(args[i], -1)))
    elif len(args) == 1 and not (node.keywords or isinstance(parent, ast.Expr) or _keeps(name)):
        yield "function dropped", args[0]
    if name not in SYMMETRIC:
        for exchanged in _exchanged(args):
            yield "arguments exchanged", _with(node, args=exchanged)


def _of_accumulation(node, parent, loops):
    yield "overwritten", ast.Assign([node.target], node.value)
    for swap in SWAPS.get(type(node.op), ()):
        yield "another operator", _with(node, op=swap())
    yield "statement dropped", ast.Pass()


def _of_loop(node, parent, loops):
    yield "loop dropped", ast.Pass()


def _of_statement(node, parent, loops):
    if isinstance(node.value, ast.Call):
        yield "statement dropped", ast.Pass()


def _of_definition(node, parent, loops):
    if not node.args.defaults:
        for args in _exchanged(node.args.args):
            yield "parameters exchanged", _with(node, args=_with(node.args, args=args))


def _of_result(node, parent, loops):
    if node.value is not None and not isinstance(node.value, ast.Tuple):
        yield "result doubled", ast.Return(ast.BinOp(ast.Constant(2), ast.Mult(), node.value))
        yield "result negated", ast.Return(ast.UnaryOp(ast.USub(), node.value))


ALTERED = {
    ast.BinOp: _of_operator,
    ast.UnaryOp: _of_sign,
    ast.Compare: _of_comparison,
    ast.BoolOp: _of_conditions,
    ast.If: _of_branch,
    ast.IfExp: _of_branch,
    ast.Constant: _of_constant,
    ast.Name: _of_index,
    ast.Tuple: _of_tuple,
    ast.Attribute: _of_attribute,
    ast.Call: _of_call,
    ast.AugAssign: _of_accumulation,
    ast.For: _of_loop,
    ast.Expr: _of_statement,
    ast.FunctionDef: _of_definition,
    ast.Return: _of_result,
}


def _edits(node, parent, loops, assigned):
    """Yield (what is done, the node that takes its place)."""
    if type(node) in ALTERED:
        yield from ALTERED[type(node)](node, parent, loops)
    elif isinstance(node, ast.Assign):
        names = {n.id for t in node.targets for n in ast.walk(t) if isinstance(n, ast.Name)}
        again = loops and all(assigned.count(n) > 1 for n in names)
        if isinstance(node.targets[0], ast.Subscript) or again:
            yield "statement dropped", ast.Pass()


LEFT_ALONE = {"returns", "annotation", "keywords", "decorator_list"}


def _places(node, up=(), loops=frozenset()):
    """Yield each node that may be altered, what it stands in, and the indices in scope."""
    if isinstance(node, (ast.Raise, ast.JoinedStr, ast.arguments)) or _guards(node):
        return
    if isinstance(node, ast.FunctionDef) and up and not isinstance(up[-1], ast.FunctionDef):
        return
    if zero := _zero(node):
        yield zero, (*up, node), loops
        return
    yield node, up, loops
    if isinstance(node, ast.Call) and _name(node).endswith("_like"):
        return
    for field, value in ast.iter_fields(node):
        inside = loops
        if isinstance(node, ast.For) and field == "body":
            inside = loops | {n.id for n in ast.walk(node.target) if isinstance(n, ast.Name)}
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST) and field not in LEFT_ALONE:
                yield from _places(child, (*up, node), inside)


def _difference(old, new):
    """Return the lines that differ, as they were and as they are."""
    old, new = old.splitlines(), new.splitlines()
    first = next(i for i, (x, y) in enumerate(zip([*old, 0], [*new, 1], strict=False)) if x != y)
    ends = zip([*old[:first:-1], 0], [*new[:first:-1], 1], strict=False)
    last = next(i for i, (x, y) in enumerate(ends) if x != y)
    return tuple("\n".join(v[first : len(v) - last]) for v in (old, new))


def trees(tree):
    """Yield each altered version of a definition as a tree.

    Parameters
    ----------
    tree : ast.Module
        Of one definition without its docstring.

    Yields
    ------
    tuple
        What was done, the line in the tree, the lines that differ before and after, the new tree.
    """
    definition, original = tree.body[0], ast.unparse(tree)
    names = [n for n in ast.walk(definition) if isinstance(n, ast.Name)]
    assigned, seen = [n.id for n in names if isinstance(n.ctx, ast.Store)], {original}
    for node, up, loops in _places(definition):
        for kind, new in _edits(node, up[-1] if up else None, loops, assigned):
            altered = ast.fix_missing_locations(copy.deepcopy(_Replace(node, new).visit(tree)))
            text = ast.unparse(altered)
            if text not in seen:
                seen.add(text)
                line = next(u.lineno for u in (node, *up[::-1]) if isinstance(u, ast.stmt))
                was, now = map(textwrap.dedent, _difference(original, text))
                yield kind, line, was, now, altered


def versions(function):
    """Yield each altered version of a function.

    Parameters
    ----------
    function : function
        Of a module; its source is read.

    Yields
    ------
    Version
    """
    tree, first = parsed(function)
    for kind, line, was, now, altered in trees(tree):
        yield Version(kind, first + line - 1, was, now, compiled(altered))
