"""A built site of two chapters: what the formats of the book are made of, made up and small."""

import json
import shutil
from types import SimpleNamespace

from maths import KATEX, render

from dlbook.tools.built import digest
from dlbook.tools.tex import MACROS

KNOWN = SimpleNamespace(katex_macros=MACROS)
FRAME = (
    '<div class="frame" role="img" aria-label="{alt}"{hidden}>'
    '<svg style="width:20rem;--least:16rem" aria-hidden="true" xmlns:xlink="http://www.w3.org/1999/xlink" '
    'viewBox="0 0 240 120" xmlns="http://www.w3.org/2000/svg"><defs><path id="{ident}-a"/></defs>'
    '<g clip-path="url(#{ident}-c)"><path d="M 0 0 L 240 120" style="stroke: currentColor"/>'
    '<path d="M 9 9 L 9 90" style="stroke: var(--figure-grid); fill: var(--figure-paper)"/></g>'
    '<use xlink:href="#{ident}-a"/><clipPath id="{ident}-c"><rect width="240" height="120"/></clipPath>'
    "</svg></div>\n"
)
CELL = '<div class="cell_input docutils container"><div class="highlight"><pre><span></span>{}\n</pre></div></div>'
PAGE = (
    '<!doctype html><html><body><nav class="sidebar-tree">{tree}</nav>'
    '<article role="main"><section id="{ident}"><h1>{title}'
    '<a class="headerlink" href="#{ident}" title="Link">#</a></h1>\n'
    '<p class="downloads">Read elsewhere: <a href="_sources/x.md">page source</a></p>\n{body}</section></article>'
    "<script>1</script></body></html>"
)
LARGEST = r"\lambda_{\max}"  # KaTeX gives it a child too many
TREE = {"preface": "Preface", "backprop": "1. Two neurons", "training": "2. Training"}
REFERENCE = {"equations": "Index of equations", "claims": "Index of claims"}


def formula(tex, display=False):
    """Return a formula as the site has it."""
    return f'<span class="math">{render(None, tex, display, KNOWN)}</span>'


def equation(label, number, tex):
    """Return a numbered equation with its mark."""
    return (
        f'<div class="math-wrapper" id="equation-{label}"><div class="math notranslate">'
        f'<div class="formula">{render(None, tex, True, KNOWN)}</div><div class="eqno">'
        f'<a class="number" href="#equation-{label}" title="Link">({number})</a>'
        '<details class="mark passed"><summary><span aria-hidden="true">✓</span> 2e-16'
        f'<span class="visually-hidden">, equation {number} is verified</span></summary>'
        '<div class="story"><p>3 numbers</p><button type="button" class="answers" hidden>Edit</button>'
        "</div></details></div></div></div>"
    )


def figure(name, frames):
    """Return a figure; the second of several frames is the one that is shown."""
    shown = min(1, frames - 1)
    art = "".join(
        FRAME.format(
            alt=f"picture {k}", ident=f"{name}-{k}", hidden="" if k == shown else " hidden"
        )
        for k in range(frames)
    )
    slider = (
        '<div class="slider" hidden><label for="s">units</label><input id="s" type="range" min="0" '
        f'max="{frames - 1}" value="1"><span class="value">7</span></div>'
    )
    return (
        f'<figure class="drawn" id="{name}"><div class="art">{art}{slider * (frames > 1)}</div>'
        f'<figcaption><p><span class="caption-number">Fig. 1 </span>Of {formula("x^2")}</p></figcaption></figure>'
    )


EXERCISE = (
    '<div class="exercise admonition" id="ex-backprop-bp2"><p class="admonition-title">'
    '<span class="exercise-number">Exercise 1.1</span> · In one line</p><p>Write it.</p>'
    '<details class="fold"><summary>Solution</summary><div><p>It is one product.</p></div></details></div>\n'
    f'<div class="cell">{CELL.format("my_bp2 = ...")}<div class="cell_output"><div class="answer">'
    "<p>○ Not attempted yet.</p></div></div></div>\n"
    '<div class="cell tag_hide-cell tag_solution"><details class="admonition hide"><summary>'
    f'<p>Show</p></summary>{CELL.format("solved = w.T @ delta")}<div class="cell_output">'
    '<div class="answer"><p>✓ Correct.</p></div></div></details></div>\n'
)


def backprop(wide):
    """Return the text of the first chapter; what is wide has so many terms, columns and signs."""
    terms = " + ".join(rf"\theta_{{{k}}}^2" for k in range(wide))
    columns = "".join(f"<td><p>column{k}</p></td>" for k in range(wide))
    return (
        f"<p>See <a href='training.html#loop'><span>the loop</span></a>, <a href='training.html'>all</a>, "
        '<a href="api/backprop.html#f">a function</a>, <a href="#nowhere">nothing</a> and '
        '<a class="external" href="https://example.org/">another host</a>.</p>\n'
        '<section id="chain"><h2>1.1. A chain<a class="headerlink" href="#chain">#</a></h2>'
        f"<p>With {formula(LARGEST)} and {formula('w_1 < 2')}:</p>"
        f"{equation('backprop-a', '1.1', terms)}"
        f'<div class="cell tag_hide-input"><details class="hide"><summary><p>Show</p></summary>'
        f'{CELL.format("folded = 1")}</details><div class="cell_output">{figure("fig-a", 3)}</div></div>\n'
        f'<div class="cell">{CELL.format("shown = 2")}<div class="cell_output"><p class="check passed" '
        'id="check-1">✓ <a href="#equation-backprop-a">(1.1)</a>: 3 numbers</p></div></div>\n'
        f'<div class="cell">{CELL.format("print(" + "+1" * wide * 4 + ")")}</div>\n'
        f'<div class="table-wrapper"><table><tbody><tr>{columns}</tr></tbody></table></div>\n'
        '<details class="fold"><summary>Symbols of this page</summary><div><p>none</p></div></details>\n'
        '<figure class="interactive" hidden data-name="x"><div class="stage"></div></figure>\n'
        '<figure class="sound"><audio controls src="data:audio/wav;base64,AA==" aria-label="two notes">'
        "</audio></figure></section>\n"
        f'<section id="exercises"><h2>1.2. Exercises</h2>{EXERCISE}</section>\n'
    )


def page(name, title, body):
    """Return a page of the site."""
    links = "".join(
        f'<li class="toctree-l1"><a href="{"#" if name == key else f"{key}.html"}">{value}</a></li>'
        for key, value in (TREE | REFERENCE).items()
    )
    return PAGE.format(tree=f"<ul>{links}</ul>", ident=name, title=title, body=body)


def made(folder, wide=3):
    """Write a site and the pages that it was built from; return both folders."""
    site, book = folder / "site", folder / "book"
    for path in (book, site / "_static" / "katex", site / "notebooks"):
        path.mkdir(parents=True)
    chapters = "".join(
        f'<li><p><a href="{name}.html">{TREE[name]}</a></p><p class="chapter-size">1 h</p></li>'
        for name in ("backprop", "training")
    )
    bodies = {
        "preface": '<p>Why.</p><button class="copybtn">copy</button>',
        "backprop": backprop(wide),
        "training": '<section id="loop"><h2>2.1. The loop</h2><p>Back to '
        f'<a href="backprop.html#equation-backprop-a">(1.1)</a>.</p>{figure("fig-b", 1)}</section>',
        "equations": '<table><tbody><tr><td><a href="backprop.html#check-1">✓ 2e-16</a></td></tr></tbody></table>',
        "claims": "<p>Not on paper.</p>",
        "index": '<p>Live.</p><section id="networks"><h2>Networks</h2><p>They learn.</p>'
        f'<div class="toctree-wrapper"></div><ul class="chapters">{chapters}</ul></section>',
    }
    for name, body in bodies.items():
        title = (TREE | REFERENCE).get(name, "A book")
        (site / f"{name}.html").write_text(page(name, title, body), encoding="utf-8")
        (book / f"{name}.md").write_text(f"# {title}\n", encoding="utf-8")
    shutil.copy(KATEX / "katex.min.css", site / "_static" / "katex")
    shutil.copytree(KATEX / "fonts", site / "_static" / "katex" / "fonts")
    (site / "equations.json").write_text('{"backprop-a": {"passed": true}}', encoding="utf-8")
    names = {"pages": digest(book), "names": {"ex-backprop-bp2": "Exercise 1.1"}}
    (site / "notebooks" / "names.json").write_text(json.dumps(names), encoding="utf-8")
    (site / "notebooks" / "01-backprop.ipynb").write_text("{}", encoding="utf-8")
    (site / ".built").touch()
    return site, book
