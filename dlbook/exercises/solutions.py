"""The solution of an exercise as its page gives it, with what its code needs of the page before it."""

import ast
import builtins
import json
import re
import symtable
from importlib import import_module

from dlbook.tools import built

__all__ = ["solution_text"]

FOLD = "<details>\n<summary>{}</summary>\n\n(.*?)\n\n</details>"
WORDS = re.compile(FOLD.format(r"Solution(?! in code).*?"), re.S)
CODE = re.compile(FOLD.format("Solution in code").replace("(.*?)", "```python\n(.*?)\n```"), re.S)
BUILT_IN = frozenset(dir(builtins))
IMPORTS = (ast.Import, ast.ImportFrom)


def solution_text(label):
    """Return the solution of an exercise as Markdown: words, and code that runs by itself."""
    (path,) = built.folder().glob(f"[0-9][0-9]-{label.partition('-')[0]}.ipynb")
    words, before, here = [], [], False
    for cell in json.loads(path.read_text(encoding="utf-8"))["cells"][2:]:
        text = "".join(cell["source"])
        if cell["cell_type"] == "code":
            before += _statements(text, empty="\ncheck(" in text)
        elif text.startswith("#"):
            if here:
                break
            here = text.startswith(f"### {built.called(f'ex-{label}')} · ")
        if cell["cell_type"] == "markdown":
            words += WORDS.findall(text) if here else []
            for code in CODE.findall(text):
                if here:
                    words.append(f"```python\n{needed(code, before)}\n\n{code}\n```")
                before += _statements(code)
    return "\n\n".join(words)


def _statements(source, empty=False):
    """Return the statements of a cell; of what a reader has to fill in only the imports."""
    return [
        (node, ast.get_source_segment(source, node))
        for node in ast.parse(source).body
        if not empty or isinstance(node, IMPORTS)
    ]


def needed(code, before):
    """Return the source of the earlier statements that some code needs.

    Parameters
    ----------
    code : str
        The code.
    before : list of (ast.stmt, str)
        The statements that may be taken, in their order, with their source.
    """
    missing, taken = _missing(ast.parse(code).body, set()), []
    modules = {name for node, _ in before if isinstance(node, IMPORTS) for name in _bound(node)}
    for node, source in reversed(before):
        names = _bound(node) & missing
        if names or _changed(node) & missing - modules:
            taken.append(_only(names, node) if isinstance(node, IMPORTS) else source)
            missing = _missing([node], missing)
    taken.reverse()
    taken.sort(key=lambda source: not source.startswith(("import ", "from ")))
    return "".join(f"{source}\n" for source in taken)


def _only(names, node):
    """Return the source of an import of some names."""
    if node.names[0].name == "*":
        node = ast.ImportFrom(node.module, [ast.alias(name) for name in sorted(names)], 0)
    wanted = [a for a in node.names if _imported(a) in names]
    return ast.unparse(type(node)(**{**vars(node), "names": wanted}))


def _imported(alias):
    """Return the name that an import binds."""
    return alias.asname or alias.name.partition(".")[0]


def _bound(node):
    """Return the names that a statement binds and that are meant to last: not those of a loop."""
    if isinstance(node, IMPORTS):
        if node.names[0].name == "*":
            return set(import_module(node.module).__all__)
        return {_imported(alias) for alias in node.names}
    return _symbols(node, lambda symbol: symbol.is_assigned()) - _targets(node)


def _targets(node):
    """Return the names that a statement counts through or opens."""
    parts = [node.target] if isinstance(node, ast.For) else []
    parts += [item.optional_vars for item in getattr(node, "items", []) if item.optional_vars]
    return {name.id for part in parts for name in ast.walk(part) if isinstance(name, ast.Name)}


def _symbols(node, wanted):
    """Return the names of a statement's own scope of which something is true."""
    table = symtable.symtable(ast.unparse(node), "page", "exec")
    return {symbol.get_name() for symbol in table.get_symbols() if wanted(symbol)}


def _loaded(node):
    """Return the global names that a statement reads, those in its functions included."""
    scopes = symtable.symtable(ast.unparse(node), "page", "exec").get_children()
    found = _symbols(node, lambda symbol: symbol.is_referenced())
    while scopes:
        scope = scopes.pop()
        found |= {s.get_name() for s in scope.get_symbols() if s.is_global() and s.is_referenced()}
        scopes += scope.get_children()
    return found - BUILT_IN


def _missing(statements, after):
    """Return the names that must be there before some statements if `after` are needed behind."""
    for node in reversed(statements):
        if isinstance(node, (ast.For, ast.While, ast.If, ast.With)):
            head = [getattr(node, key, None) for key in ("iter", "test")]
            head += [item.context_expr for item in getattr(node, "items", [])]
            inside = _missing(node.body, set()) | _missing(getattr(node, "orelse", []), set())
            surely = set() if isinstance(node, ast.If) else _bound(node)
            after = after - surely | inside - _targets(node)
            after = after.union(*(_loaded(part) for part in head if part))
        elif isinstance(node, IMPORTS):
            after = after - _bound(node)
        elif isinstance(node, ast.AugAssign):
            after = after | _loaded(node) | _bound(node)
        else:
            after = after - _bound(node) | _loaded(node)
    return after


def _changed(node):
    """Return the names of what a statement writes into, or calls a method of for its effect."""
    if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
        return set()
    found = set()
    for part in ast.walk(node):
        if isinstance(part, (ast.Subscript, ast.Attribute)) and isinstance(part.ctx, ast.Store):
            found |= {name.id for name in ast.walk(part.value) if isinstance(name, ast.Name)}
        called = part.value.func if isinstance(getattr(part, "value", None), ast.Call) else None
        if isinstance(part, ast.Expr) and isinstance(called, ast.Attribute):
            found |= {called.value.id} if isinstance(called.value, ast.Name) else set()
    return found
