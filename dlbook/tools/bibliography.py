"""Read references.bib: citations in words, and the list of sources of a notebook.

Every entry is written in the same way: a line `@kind{key,`, a line `name = {value},` for each
field, a closing brace; authors as "Last, First and Last, First", an institution in braces.
"""

import re
import unicodedata

from dlbook.tools.myst import PageError, read_page

__all__ = ["cited", "listed_sources", "read_bibliography"]

ENTRY = re.compile(r"@\w+\{([\w-]+),")
FIELD = re.compile(r" *(\w+) = \{(.*)\},?")
ACCENT = re.compile(r"\\(['`^\"~]|[cv](?=\{))\{?\\?([A-Za-z])\}?")
COMBINING = {"'": "\u0301", "`": "\u0300", "^": "\u0302", '"': "\u0308", "~": "\u0303", "c": "\u0327", "v": "\u030c"}  # fmt: skip
LETTERS = {r"\aa": "å", r"\ae": "æ", r"\ss": "ß", r"\i": "ı", r"\o": "ø", r"\O": "Ø", r"\l": "ł", r"\L": "Ł", r"\&": "&"}  # fmt: skip


def read_bibliography(path):
    """Return {key: {field: text}} of a file of sources; "author" is a list of (given, family).

    Raises
    ------
    PageError
        If it is not UTF-8, or a line is not what is described above, an entry stands twice, has a
        field twice, lacks authors, title or year, or does not end.
    """
    sources, key = {}, ""
    for line, row in enumerate(read_page(path).splitlines(), 1):
        reason = ""
        if not key and (entry := ENTRY.fullmatch(row)):
            key = entry[1]
            reason = f"the entry {key} stands twice" if key in sources else ""
            sources[key] = {}
        elif key and (field := FIELD.fullmatch(row)):
            text = people(field[2]) if field[1] == "author" else plain(field[2])
            reason = "" if text and "\\" not in str(text) else f"cannot read {field[2]}"
            reason = f"{field[1]} stands twice" if field[1] in sources[key] else reason
            sources[key][field[1]] = text
        elif key and row == "}":
            lacking = {"author", "title", "year"} - sources[key].keys()
            reason = f"the entry {key} lacks {min(lacking)}" if lacking else ""
            key = ""
        elif row.strip():
            reason = f"cannot read {row}"
        if reason:
            raise PageError(path.name, line, reason)
    if key:
        raise PageError(path.name, line, f"the entry {key} does not end")
    return sources


def plain(text):
    """Return the text that a little TeX stands for: accents, dashes, braces."""
    text = ACCENT.sub(lambda m: unicodedata.normalize("NFC", m[2] + COMBINING[m[1]]), text)
    for command, letter in LETTERS.items():
        text = re.sub(rf"{re.escape(command)}(?![A-Za-z])", letter, text)
    return re.sub(r"[{}]", "", text).replace("---", "—").replace("--", "–").replace("~", " ")


def people(text):
    """Return authors as a list of (given, family), empty where a name is not "Last, First"."""
    found = []
    for name in text.split(" and "):
        family, _, given = plain(name).partition(", ")
        if not given and " " in family and not name.startswith("{"):
            return []
        found.append((given, family))
    return found


def cited(source):
    """Return the authors as a sentence names them: "Squire & Trapp", "Rumelhart et al."."""
    names = [family for _, family in source["author"]]
    return f"{names[0]} et al." if len(names) > 2 else " & ".join(names)


def listed_sources(sources):
    """Return a list of sources, by last names and year."""

    def order(source):
        return [family for _, family in source["author"]], source["year"]

    return "\n".join(f"- {described(source)}" for source in sorted(sources, key=order))


def described(source):
    """Return the line of a source in the list of sources."""
    names = [f"{given} {family}".strip() for given, family in source["author"]]
    listed = " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))
    places = ("journal", "booktitle", "publisher", "school")
    place = next((source[name] for name in places if name in source), "")
    if "volume" in source:
        place += f" {source['volume']}" + (f"({source['number']})" if "number" in source else "")
    for name, words in (("edition", ", edition "), ("pages", ", ")):
        place += words + source[name] if name in source else ""
    text = f"{listed} ({source['year']}). *{source['title'].rstrip('.')}*."
    text += f" {place}." if place else ""
    if "doi" in source:
        return f"{text} [doi:{source['doi']}](https://doi.org/{source['doi']})"
    if "eprint" in source:
        return f"{text} [arXiv:{source['eprint']}](https://arxiv.org/abs/{source['eprint']})"
    return f"{text} <{source['url']}>" if "url" in source else text
