"""The deck for Anki: what the cards say is what the built site has verified."""

import json
import re
import shutil
import sqlite3
import sys
import zipfile

import pytest
from building import OUT
from pages import BOOK, ROOT

sys.path.insert(0, str(ROOT / "book" / "_ext"))

import cards
import live


@pytest.fixture(scope="module")
def made(build, tmp_path_factory):
    """Return the notes as Anki reads them, (guid, tags, fields), and how many of each kind were told."""
    folder = tmp_path_factory.mktemp("cards")
    counts = cards.deck(OUT, folder / "book.apkg")
    with zipfile.ZipFile(folder / "book.apkg") as package:
        package.extract("collection.anki2", folder)
    with sqlite3.connect(folder / "collection.anki2") as base:
        rows = base.execute("select guid, tags, flds from notes").fetchall()
    return [(guid, tags.split(), fields.split("\x1f")) for guid, tags, fields in rows], counts


def test_every_equation_has_a_card(build, made):
    notes, counts = made
    labels = [fields[0] for _, _, fields in notes if ":" not in fields[0]]
    assert sorted(labels) == sorted(build.equations) and counts["Equation"] == len(labels)
    for _, tags, (label, where, name, *rest) in notes:
        row = build.equations[label.partition(":")[0]]
        assert f"({row['number']})" in where and name and tags == [row["page"]]
        assert all(rest), label


def test_formulas_are_mathematics_without_a_script(made):
    """MathML, with no macro of the book left, and no mistake in TeX."""
    for _, _, fields in made[0]:
        if ":" in fields[0]:
            continue
        assert fields[3].count("<math") == 1 and "katex-error" not in fields[3], fields[0]
        shown = re.sub(r"<annotation.*?</annotation>", "", fields[3], flags=re.S)
        assert "\\" not in re.sub(r"<[^>]*>", "", shown), fields[0]


def test_every_wrong_form_that_the_build_refuted_has_a_card(made):
    notes, counts = made
    found = {fields[0]: fields[3:] for _, _, fields in notes if ":" in fields[0]}
    files = [path.stem for path in (BOOK / "live").glob("*.toml")]
    told = [entry for page in files for entry in live.entries(page, BOOK).items()]
    wrong = {f"{label}: {name}" for label, entry in told for name, _ in entry.get("wrong", [])}
    assert set(found) == wrong and counts["Mistake"] == len(wrong) > 1000
    assert found["backprop-bp2: the slope σ′(z_j) is missing"] == [
        "Σ_k w_kj * delta_k",
        "the slope σ′(z_j) is missing",
        "Σ_k w_kj * delta_k * σ′(z_j)",
    ]


def test_what_a_reader_has_learnt_survives_a_new_deck(made):
    """A card is known by its label, whatever else of it changes."""
    guids = {fields[0]: guid for guid, _, fields in made[0]}
    assert len(set(guids.values())) == len(guids)
    assert guids["backprop-bp2"] == cards.genanki.guid_for("dlbook", "backprop-bp2")


def test_what_is_not_verified_has_no_card(build, tmp_path):
    rows = {label: build.equations[label] for label in ("backprop-bp1", "backprop-bp2")}
    rows["backprop-bp1"] = rows["backprop-bp1"] | {"passed": False}
    (tmp_path / "equations.json").write_text(json.dumps(rows), encoding="utf-8")
    labels = [fields[0] for _, fields in cards.notes(tmp_path)]
    assert labels[0] == "backprop-bp2" and len(labels) > 1
    assert not [label for label in labels if label.startswith("backprop-bp1")]


def test_another_site_is_refused(build, tmp_path):
    with pytest.raises(FileNotFoundError, match="equations"):
        cards.deck(tmp_path, tmp_path / "deck.apkg")
    shutil.copy(OUT / "equations.json", tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="on no page in"):
        list(cards.notes(tmp_path, tmp_path / "empty"))
    assert not (tmp_path / "deck.apkg").exists()
