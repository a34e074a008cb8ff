"""Make the faces of the website: Source Serif and Source Sans, cut to the letters of a book.

They come from their packages and are asked from no other host. They stand inside a style sheet, so that
they are there with it and no line moves later. A face that was cut may not bear the reserved name, so
they are called Book Serif and Book Sans here; their licence (SIL OFL 1.1) stands beside them.
Mathematics has KaTeX's faces, code those of the reader's system.
"""

import base64
import io
import logging
from importlib.resources import files
from pathlib import Path
from typing import Any

from fontTools.subset import Options, Subsetter
from fontTools.ttLib import TTFont

FACES = (  # family, weights, style, package, name there
    ("Book Serif", "400", "normal", "font_source_serif_pro", "SourceSerifPro-Regular"),
    ("Book Serif", "400", "italic", "font_source_serif_pro", "SourceSerifPro-It"),
    ("Book Serif", "500 700", "normal", "font_source_serif_pro", "SourceSerifPro-Semibold"),
    ("Book Sans", "400", "normal", "font_source_sans_pro", "SourceSansPro-Regular"),
    ("Book Sans", "500 700", "normal", "font_source_sans_pro", "SourceSansPro-Semibold"),
)
RULE = """@font-face {{
  font-family: "{}";
  font-weight: {};
  font-style: {};
  src: url("data:font/woff2;base64,{}") format("woff2");
}}
"""
LETTERS = [
    *range(0x20, 0x7F),
    *range(0xA0, 0x180),  # Latin with marks
    *range(0x370, 0x400),  # Greek
    *range(0x2010, 0x2070),  # dashes, quotation marks
    *range(0x2070, 0x20A0),  # small figures above and below
    *range(0x2150, 0x2190),  # fractions
    *range(0x2190, 0x2300),  # arrows, operators
]


def cut(package: str, name: str) -> bytes:
    """Return a face as WOFF2, with the letters of a book only."""
    font = TTFont(files(package) / "files" / f"{name}.ttf", recalcTimestamp=False)
    options = Options(name_IDs=[], notdef_outline=True, layout_features=["kern", "liga", "mark"])
    logging.getLogger("fontTools").setLevel(logging.WARNING)
    subsetter = Subsetter(options)
    subsetter.populate(unicodes=LETTERS)
    subsetter.subset(font)
    font.flavor = "woff2"
    font.save(out := io.BytesIO())
    return out.getvalue()


def written(app: Any) -> None:
    """Put the style sheet and the licence where the pages look for them, if none is there."""
    if app.builder.name != "html":
        return
    folder = Path(app.outdir, "_static")
    sheet = folder / "fonts.css"
    if sheet.is_file() and sheet.stat().st_mtime > Path(__file__).stat().st_mtime:
        return  # of an earlier build
    folder.mkdir(parents=True, exist_ok=True)
    rules = [
        RULE.format(*words, base64.b64encode(cut(package, name)).decode())
        for *words, package, name in FACES
    ]
    sheet.write_text("\n".join(rules), encoding="utf-8")
    licence = files("font_source_serif_pro") / "files" / "LICENSE.txt"
    (folder / "fonts-licence.txt").write_bytes(licence.read_bytes())


def setup(app: Any) -> dict:
    """Register the beginning of the build."""
    app.connect("builder-inited", written)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
