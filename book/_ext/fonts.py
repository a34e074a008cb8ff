"""Make the faces of the website: Source Serif and Source Sans, cut to the letters of a book.

They come from their packages and are asked from no other host. A face that was cut may not bear the
reserved name, so they are called Book Serif and Book Sans here; their licence (SIL OFL 1.1) stands
beside them. Mathematics has KaTeX's faces, code those of the reader's system.
"""

import io
from importlib.resources import files
from pathlib import Path
from typing import Any

from fontTools.subset import Options, Subsetter
from fontTools.ttLib import TTFont

FACES = {
    "serif": ("font_source_serif_pro", "SourceSerifPro-Regular"),
    "serif-italic": ("font_source_serif_pro", "SourceSerifPro-It"),
    "serif-bold": ("font_source_serif_pro", "SourceSerifPro-Semibold"),
    "sans": ("font_source_sans_pro", "SourceSansPro-Regular"),
    "sans-bold": ("font_source_sans_pro", "SourceSansPro-Semibold"),
}
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
    subsetter = Subsetter(options)
    subsetter.populate(unicodes=LETTERS)
    subsetter.subset(font)
    font.flavor = "woff2"
    font.save(out := io.BytesIO())
    return out.getvalue()


def written(app: Any, exception: Exception | None) -> None:
    """Put the faces and their licences where the style sheet looks for them."""
    if exception or app.builder.name != "html":
        return
    folder = Path(app.outdir, "_static", "fonts")
    folder.mkdir(parents=True, exist_ok=True)
    for short, (package, name) in FACES.items():
        path = folder / f"{short}.woff2"
        if path.is_file() and path.stat().st_mtime > Path(__file__).stat().st_mtime:
            continue  # of an earlier build
        path.write_bytes(cut(package, name))
        licence = (files(package) / "files" / "LICENSE.txt").read_bytes()
        (folder / f"{short.partition('-')[0]}-licence.txt").write_bytes(licence)


def setup(app: Any) -> dict:
    """Register the end of the build."""
    app.connect("build-finished", written)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
