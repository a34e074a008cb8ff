"""Formulas as a terminal can show them: `$w^{l+1}_{kj}$` becomes wˡ⁺¹ₖⱼ."""

import re
import textwrap
import unicodedata

__all__ = ["MACROS", "readable", "without_tex", "written_out"]

# The book's own TeX commands: the site hands them to KaTeX, a notebook gets them written out.
OPERATORS = ("E", "Var", "Cov", "sign", "softmax", "tr", "diag", "rank")
MACROS = {rf"\{name}": rf"\operatorname{{{name}}}" for name in OPERATORS} | {
    r"\T": r"^{\mathsf T}",
    r"\R": r"\mathbb{R}",
    r"\argmin": r"\operatorname*{arg\,min}",
    r"\argmax": r"\operatorname*{arg\,max}",
}

FORMULA = re.compile(r"\$\$(.+?)\$\$|(?<!\\)\$((?:\\.|[^$\\])+)\$", re.S)
TOKEN = re.compile(r"\\[A-Za-z]+\*?|\\.|.", re.S)
SPACED = {
    "cdot": "·", "times": "×", "odot": "⊙", "le": "≤", "ge": "≥", "ne": "≠", "approx": "≈",
    "in": "∈", "to": "→", "mapsto": "↦",
}  # fmt: skip
SYMBOLS = {name: f" {sign} " for name, sign in SPACED.items()} | {
    "ast": "*", "pm": "±", "mp": "∓", "dots": "…", "sum": "∑", "prod": "∏", "int": "∫",
    "partial": "∂", "nabla": "∇", "infty": "∞", "ell": "ℓ", "lambda": "λ", "Lambda": "Λ",
    "varepsilon": "ε", "varrho": "ϱ", "varphi": "φ", "lceil": "⌈", "rceil": "⌉", "lfloor": "⌊",
    "rfloor": "⌋", "lvert": "|", "rvert": "|", "|": "‖", "{": "{", "}": "}", "\\": "\n",
    "quad": "  ", " ": " ", ";": " ", ",": " ", "!": "", "left": "", "right": "",
    "bigl": "", "bigr": "", "Bigl": "", "Bigr": "",
}  # fmt: skip
WORDS = {"log", "exp", "tanh", "sin", "cos", "max", "min", "arg", "det"}
ACCENTS = {"hat": "\u0302", "bar": "\u0304", "tilde": "\u0303", "dot": "\u0307"}
CLOSE = {"partial", "nabla", "Delta", "lvert", "lceil", "lfloor"}  # to what follows
FRACTIONS = {"frac", "tfrac", "dfrac"}
FONTS = {"mathsf", "mathbb", "mathrm", "mathcal", "text", "operatorname", "operatorname*"}
LINES = {"begin", "end"}  # of an environment, which stands for lines of their own
RAISED = dict(zip("0123456789+-=()abcdefghijklmnoprstuvwxyzᵀNLβγδθ*′",
                  "⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁼⁽⁾ᵃᵇᶜᵈᵉᶠᵍʰⁱʲᵏˡᵐⁿᵒᵖʳˢᵗᵘᵛʷˣʸᶻᵀᴺᴸᵝᵞᵟᶿ*′", strict=True))  # fmt: skip
LOWERED = dict(zip("0123456789+-=()aehijklmnoprstuvxβγρφχ",
                   "₀₁₂₃₄₅₆₇₈₉₊₋₌₍₎ₐₑₕᵢⱼₖₗₘₙₒₚᵣₛₜᵤᵥₓᵦᵧᵨᵩᵪ", strict=True))  # fmt: skip
MARKS = re.compile(f"[{''.join(RAISED.values())}{''.join(LOWERED.values())}′\u0300-\u036f]")


def written_out(tex):
    """Return TeX with the book's own commands written out, so that any renderer knows it."""

    def command(m):
        script, meaning = m[1] or "", MACROS.get(m[2], m[2])
        braced = script and meaning != m[2] and not meaning.startswith("^")
        return script + (f"{{{meaning}}}" if braced else meaning)

    return re.sub(r"([\^_]\s*)?(\\(?:[A-Za-z]+|.))", command, tex, flags=re.S)


def without_tex(markdown):
    """Return text whose formulas are written with the characters of Unicode."""

    def formula(m):
        return readable(m[2]) if m[2] else f"\n{textwrap.indent(readable(m[1]), '    ')}\n"

    return FORMULA.sub(formula, markdown)


def readable(tex):
    """Return a formula in plain characters, `a/b` for a fraction and √ for a root."""
    tokens = TOKEN.findall(tex.strip().replace("&", ""))
    text = "".join(_read(tokens, None))
    lines = [re.sub(r" {2,}", " ", line).strip() for line in text.split("\n")]
    return "\n".join(filter(None, lines))


def _read(tokens, end):
    """Yield the pieces of a formula up to a token, which is taken too."""
    last = ""
    while tokens:
        token = tokens.pop(0)
        if token == end:
            return
        piece = _piece(token, tokens)
        if token[1:] in WORDS | FONTS and last[-1:].isalnum() and piece[:1].isalpha():
            piece = f" {piece}"
        if token[1:] in FRACTIONS and (last.rstrip()[-1:].isalnum() or not _ends(tokens)):
            piece = f"({piece})"
        last = piece or last
        yield piece


def _piece(token, tokens):
    """Return what a token and its arguments stand for."""
    name = token[1:]
    if token in "^_":
        return _shifted(_argument(tokens), token)
    if token == "{":
        return "".join(_read(tokens, "}"))
    if token in ("'", "-"):
        return {"'": "′", "-": "−"}[token]
    if not token.startswith("\\"):
        return " " if token.isspace() else token
    if name in FRACTIONS:
        return "/".join(_single(_argument(tokens)) for _ in range(2))
    if name == "sqrt":
        return f"√{_single(_argument(tokens))}"
    if name in ACCENTS:
        under = _argument(tokens)
        return f"{under[:1]}{ACCENTS[name]}{under[1:]}"
    if name == "tag":
        return f"    ({_argument(tokens)})"
    if name in LINES:
        _argument(tokens)
        return ""
    if name in FONTS:
        text = _argument(tokens)
        known = {("mathbb", "R"): "ℝ", ("mathsf", "T"): "ᵀ"}.get((name, text), text)
        return known + _gap(tokens) if "operator" in name else known
    if name in WORDS:
        return name + _gap(tokens)
    if name in CLOSE:
        _skip(tokens)
    return SYMBOLS[name] if name in SYMBOLS else _greek(name)


def _skip(tokens):
    """Leave out spaces."""
    while tokens[:1] == [" "]:
        tokens.pop(0)


def _gap(tokens):
    """Return the space after a word, where its argument follows at once."""
    _skip(tokens)
    follows = tokens[0] if tokens else ")"
    return " " if follows[-1:].isalnum() and not follows.startswith((r"\big", r"\left")) else ""


def _ends(tokens):
    """Return whether what comes next does not belong to a fraction: the end, or a relation."""
    follows = next((token for token in tokens if token != " "), "=")
    return follows in "+-=<>)],;.}" or SYMBOLS.get(follows[1:], "").startswith(" ")


def _argument(tokens):
    """Return the argument of a command: a group, or the next piece."""
    _skip(tokens)
    return _piece(tokens.pop(0), tokens) if tokens else ""


def _single(text):
    """Return text in parentheses where it would fall apart beside an operator."""
    plain = MARKS.sub("", text)
    alone = len(plain) == 1 or re.fullmatch(r"[\d.]+|\([^()]*\)", plain)
    return text if alone else f"({text})"


def _shifted(text, where):
    """Return an exponent or an index, with the small characters if there are all of them."""
    small, plain = (RAISED if where == "^" else LOWERED), text.replace("−", "-").replace(" ", "")
    if all(character in small for character in plain):
        return "".join(small[character] for character in plain)
    return f"{where}{text}" if len(text) == 1 else f"{where}({text})"


def _greek(name):
    """Return a Greek letter; what is not one stays a word."""
    size = "SMALL" if name.islower() else "CAPITAL"
    try:
        return unicodedata.lookup(f"GREEK {size} LETTER {name.upper()}")
    except KeyError:
        return name
