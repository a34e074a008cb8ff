"""Cards to learn with: each equation, and each form that is known to be wrong, as a deck for Anki.

``python book/_ext/cards.py SITE DECK`` (``make cards``) reads a built site, so a card has what the
build has verified: no equation without its tick, no wrong form that the kernel did not refute.
Formulas are MathML, which Anki shows without a network; the reader's progress survives a new deck,
because a card is known by the label of its equation.
"""

import json
import re
import sys
from html import escape
from pathlib import Path

import genanki
from live import entries
from marks import magnitude
from maths import displayed, engine, repaired

from dlbook.tools.tex import MACROS

BOOK = Path(__file__).resolve().parents[1]
TITLE = "Deep Learning, Equation by Equation"
DISPLAY = re.compile(r"^`{3,}\{math\}\n:label: *(\S+)\n((?:.*\n)*?)`{3,}$", re.M)
STYLE = """
.card { font: 1.15rem/1.5 Georgia, serif; text-align: center; }
.where, .tick { font: 0.85rem/1.5 sans-serif; opacity: 0.75; }
code { font: 1rem/1.5 monospace; white-space: pre-wrap; }
math { font-size: 1.3em; margin-block: 0.6em; }
"""
MODELS = {  # fields, question, answer; the numbers are Anki's names for them and never change
    "Equation": (
        1_791_360_001,
        ["Label", "Where", "Name", "Formula", "Kernel", "Tick"],
        '<p class="where">{{Where}}</p><p>{{Name}}</p>',
        '{{FrontSide}}<hr id="answer">{{Formula}}<p><code>{{Kernel}}</code></p>'
        '<p class="tick">{{Tick}}</p>',
    ),
    "Mistake": (
        1_791_360_002,
        ["Label", "Where", "Name", "Wrong", "Mistake", "Right"],
        '<p class="where">{{Where}}</p><p>{{Name}}: what is wrong here?</p>'
        "<p><code>{{Wrong}}</code></p>",
        '{{FrontSide}}<hr id="answer"><p>{{Mistake}}</p><p><code>{{Right}}</code></p>',
    ),
}
DECK = 1_791_360_000


def rendered(tex):
    """Return displayed TeX as MathML."""
    options = {"displayMode": True, "output": "mathml", "macros": dict(MACROS)}
    given = json.dumps(displayed(tex.strip())), json.dumps(options)
    return repaired(engine().eval(f"katex.renderToString({given[0]}, {given[1]})"))


def formulas(folder):
    """Return the TeX of every numbered equation of the pages in a folder, by label."""
    texts = (path.read_text(encoding="utf-8") for path in sorted(folder.glob("*.md")))
    return {label: tex for text in texts for label, tex in DISPLAY.findall(text)}


def notes(site, book=BOOK):
    """Yield what each card has: its model and its fields, the label first.

    Parameters
    ----------
    site : path
        A built site.
    book : path
        The folder of its pages.

    Raises
    ------
    FileNotFoundError
        If there is no site.
    ValueError
        If an equation of the site is on no page.
    """
    rows, tex = json.loads((Path(site) / "equations.json").read_text("utf-8")), formulas(book)
    for label in sorted(rows, key=lambda name: [int(n) for n in rows[name]["number"].split(".")]):
        row = rows[label]
        if not row["passed"]:
            continue
        if label not in tex:
            raise ValueError(f"equation {label} is in {site} and on no page in {book}")
        where = f"{row['page'].replace('_', ' ').capitalize()} ({row['number']})"
        tick = f"✓ {magnitude(row)}, against {row['oracle']}"
        given = where, row["name"], row["formula"] or "", tick
        where, name, kernel, tick = map(escape, given)
        yield "Equation", [label, where, name, rendered(tex[label]), kernel, tick]
        entry = entries(row["page"], book).get(label, {})
        for mistake, wrong in entry.get("wrong", []):
            words = [" ".join(text.split()) for text in (wrong, mistake, entry["formula"])]
            yield "Mistake", [f"{label}: {mistake}", where, name, *map(escape, words)]


def deck(site, file, book=BOOK):
    """Write a deck; return how many cards it has of each kind. Arguments as for `notes`."""
    models = {
        name: genanki.Model(
            number,
            f"dlbook {name}",
            fields=[{"name": field} for field in fields],
            templates=[{"name": name, "qfmt": question, "afmt": answer}],
            css=STYLE,
        )
        for name, (number, fields, question, answer) in MODELS.items()
    }
    cards, counts = genanki.Deck(DECK, TITLE), dict.fromkeys(MODELS, 0)
    for kind, fields in notes(site, book):
        tag = fields[0].partition("-")[0]
        guid = genanki.guid_for("dlbook", fields[0])
        cards.add_note(genanki.Note(models[kind], fields, guid=guid, tags=[tag]))
        counts[kind] += 1
    genanki.Package(cards).write_to_file(str(file))
    return counts


if __name__ == "__main__":
    site, file = sys.argv[1:]
    found = deck(site, file)
    print(f"{file}: {found['Equation']} equations, {found['Mistake']} mistakes")
