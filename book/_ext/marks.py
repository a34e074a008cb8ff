"""Show the results of the checks: marks at equations, check lines, tables, numbers in code.

`verified` collects them. Everything here is made when a page is resolved, because only then are
all equations numbered.
"""

import re
from typing import ClassVar

from docutils import nodes
from docutils.parsers.rst import directives
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective, SphinxRole
from sphinx.util.nodes import make_refnode
from verified import check, listing, tally, target

from dlbook.tools.listing import LABELS_IN_CODE

COUNTED = ("altered", "rejected", "declared_equal")
log = logging.getLogger(__name__)


class EquationTable(SphinxDirective):
    """{equations}: the table at the end of a chapter, from lines "label: what it is called"."""

    has_content = True

    def run(self):
        names = dict(line.split(":", 1) for line in self.content if line.strip())
        return [
            listing(
                kind="chapter",
                names_of={label.strip(): name.strip() for label, name in names.items()},
            )
        ]


class TallyRole(SphinxRole):
    """{tally}`what`: how many equations, chapters, claims, cases … the build has (see `tallied`)."""

    def run(self):
        return [tally("", "", what=self.text)], []


class Sample(SphinxDirective):
    """{sample} label: an equation of another page once more, with its mark and a link to it.

    ``:open:`` is what stands in its panel, which is then open from the beginning.
    """

    required_arguments = 1
    option_spec: ClassVar = {"open": directives.unchanged_required}

    def run(self):
        node = sample("", label=self.arguments[0], open=self.options.get("open"))
        self.set_source_info(node)
        return [node]


class sample(nodes.General, nodes.Element):
    """Where an equation of another page is shown."""


class EquationIndex(SphinxDirective):
    """{equation-index}: all equations of the book with their results."""

    def run(self):
        return [listing(kind="index")]


class ClaimIndex(SphinxDirective):
    """{claim-index}: all claims of the book with their evidence."""

    def run(self):
        return [listing(kind="claims")]


class PitfallIndex(SphinxDirective):
    """{pitfall-index}: all forms that are often printed wrong, with how they fail."""

    def run(self):
        return [listing(kind="pitfalls")]


def link(app, docname, target, text):
    """Return a link to (page, anchor), or the bare text."""
    return (
        make_refnode(app.builder, docname, *target, nodes.Text(text))
        if target
        else nodes.Text(text)
    )


def magnitude(row):
    """Return the error as a reader sees it; rounding differs between machines, so it is cut at 1e-15."""
    if row["error"] is None:
        return "–"
    if row["unit"] == "standard errors":
        return f"{row['error']:.1f} s.e."
    if row["relation"] != "==":
        return "holds"
    return (
        "exact"
        if row["error"] == 0
        else "<1e-15"
        if row["error"] < 1e-15
        else f"{row['error']:.0e}"
    )


def story(row):
    """Return the worst check of an equation in a sentence, and in another what all checks compared."""
    tolerance = (
        f"{row['tolerance']:g} standard errors"
        if row["unit"] == "standard errors"
        else "no error at all"
        if row["tolerance"] == 0
        else f"{row['tolerance']:.0e}"
    )
    worst = f"{counted(row['compared'])} against {row['oracle']}: {row['detail']}; tolerance {tolerance}."
    if row["checks"] == 1:
        return worst
    each = ", ".join(f"{count} against {by}" for by, count in row["oracles"].items())
    return f"{worst} In all {counted(row['count'])} in {row['checks']} checks: {each}."


def counted(count):
    """Return a count of numbers in words."""
    return f"{count} number{'s' * (count != 1)}"


def trials(row):
    """Say how many altered versions of its kernels the cases of an equation reject."""
    made, same = row.get("altered"), row.get("declared_equal")
    if not made:
        return ""
    text = f"rejects {row['rejected']} of {made - same} altered versions"
    return f"{text}; {same} more {'is' if same == 1 else 'are'} the same function" if same else text


HEADS = ("Equation", "What it says", "Function", "Measured error")
WIDTHS = (10, 38, 24, 28)
UNITS = {  # in which errors are measured, and how the largest is said
    "relative": lambda error: f"largest error {error:.0e}" if error else "exactly equal",
    "standard errors": lambda error: f"at most {error:.1f} standard errors off",
}


def folded(records, equations):
    """Return the one line that stands for the checks of a cell that only checks."""
    numbers = sorted(
        {equations[r["label"]]["number"] for r in records if r["label"] in equations},
        key=lambda number: [int(n) for n in number.split(".") if n],
    )
    of = ", ".join(f"({number})" for number in numbers)
    errors = {unit: [r["error"] or 0 for r in records if r["unit"] == unit] for unit in UNITS}
    said = [UNITS[unit](max(some)) for unit, some in errors.items() if some]
    count = sum(r["count"] for r in records)
    return f"✓ {len(records)} checks of {of}: {count} numbers, {', '.join(said)}"


def table(heads, widths, rows):
    """Return a table node."""

    def line(cells):
        return nodes.row("", *(nodes.entry("", nodes.paragraph("", "", *cell)) for cell in cells))

    group = nodes.tgroup("", *(nodes.colspec(colwidth=w) for w in widths), cols=len(widths))
    group += nodes.thead("", line([[nodes.Text(head)] for head in heads]))
    group += nodes.tbody("", *(line(row) for row in rows))
    return nodes.table("", group, classes=["results"])


def short(function):
    """Return a function's name as the reader imports it."""
    return (function or "").removeprefix("dlbook.")


def code(app, docname, row):
    """Return a link to a function's entry in the API reference."""
    text = nodes.literal("", short(row["function"]))
    return make_refnode(app.builder, docname, *row["api"], text) if row["api"] else text


def in_order(rows):
    return sorted(rows, key=lambda r: ([int(n) for n in r["number"].split(".") if n], r["label"]))


def said(r):
    """Return what an equation is called, and its right-hand side as its kernel's first line has it."""
    name = nodes.Text(r["name"] or r["label"])
    return [name, nodes.Text(": "), nodes.literal("", r["formula"])] if r["formula"] else [name]


def by_chapter(app, docname, equations):
    """Return a section for each chapter, with the table of its equations."""
    pages = sorted(
        {r["page"] for r in equations.values()}, key=lambda p: (chapter_order(app, p), p)
    )
    for page in pages:
        rows = [r for r in equations.values() if r["page"] == page]
        title = nodes.title("", app.env.titles[page].astext())
        made = table(HEADS, WIDTHS, equation_rows(app, docname, rows))
        yield nodes.section("", title, made, ids=[f"equations-{page}"])


def equation_rows(app, docname, rows):
    for r in in_order(rows):
        result = [
            link(app, docname, r["check"], f"{'✓' if r['passed'] else '✗'} {magnitude(r)}"),
            nodes.Text(f" · {r['oracle']}"),
            nodes.Text(f" · {trials(r)}" if trials(r) else ""),
        ]
        yield [
            [link(app, docname, (r["page"], r["anchor"]), f"({r['number']})")],
            said(r),
            [code(app, docname, r)],
            result,
        ]


def listed(app, docname, node):
    """Return the table a `listing` stands for, or the sections with several."""
    equations, claims, pitfalls, _ = app.verified
    if node["kind"] == "index":
        return list(by_chapter(app, docname, equations))
    if node["kind"] == "chapter":
        rows = [equations[label] for label in node["names_of"] if label in equations]
        return table(HEADS, WIDTHS, equation_rows(app, docname, rows))
    if node["kind"] == "claims":
        ordered = sorted(claims.values(), key=lambda c: (chapter_order(app, c["page"]), c["line"]))
        heads = ("Chapter", "Claim", "Criterion", "Measured")
        return table(heads, (14, 30, 22, 34), (claim_row(app, docname, c) for c in ordered))
    ordered = sorted(pitfalls, key=lambda c: (chapter_order(app, c["page"]), c["line"]))
    return table(
        ("Equation", "Wrong form", "Right form", "How it fails", "Source"),
        (9, 26, 27, 23, 15),
        (
            [
                [
                    link(
                        app,
                        docname,
                        (c["page"], c["anchor"]),
                        f"({equations[c['label']]['number']})"
                        if c["label"] in equations
                        else c["label"],
                    )
                ],
                [nodes.Text(c["form"])],
                [nodes.Text(equations.get(c["label"], {}).get("formula") or "–")],
                [nodes.Text(c["detail"])],
                [cited(app, docname, c["source"]) if c.get("source") else nodes.Text("–")],
            ]
            for c in ordered
        ),
    )


def cited(app, docname, source):
    """Return author, year and place of a source, with a link to the bibliography."""
    domain = app.env.domains["cite"]
    return domain.resolve_xref(app.env, docname, app.builder, "t", target(source), None, None)


def set_in_type(sentence):
    """Return the nodes of a sentence as the page's source has it: formulas, code and emphasis."""
    kinds = {"$": nodes.math, "`": nodes.literal, "*": nodes.emphasis}
    for part in re.split(r"(\$[^$]+\$|`[^`]+`|\*[^*]+\*)", sentence):
        if len(part) > 2 and part[0] == part[-1] and part[0] in kinds:
            yield kinds[part[0]]("", part[1:-1])
        elif part:
            yield nodes.Text(part)


def claim_row(app, docname, c):
    """Return sentence, criterion and evidence of a claim, with its seeds and its control."""
    title = app.env.titles[c["page"]].astext()
    measured = f"{'✓' if c['passed'] else '✗'} {c['evidence']}"
    if isinstance(c.get("seeds"), list):
        measured += f" · {len(c['seeds'])} seeds: {', '.join(map(str, c['seeds']))}"
    measured += f" · it does not hold for {c['control']}"
    return [
        [link(app, docname, (c["page"], c["anchor"]), title)],
        list(set_in_type(c["sentence"])),
        [nodes.literal("", c["criterion"])] if c.get("criterion") else [nodes.Text("–")],
        [nodes.Text(measured)],
    ]


def chapter_order(app, docname):
    return app.env.toc_secnumbers.get(docname, {}).get("", (999,))


def resolved(app, doctree, docname):
    """Give equations their marks, check lines their words, listings their tables, code its numbers."""
    equations = app.verified[0]
    for node in list(doctree.findall(sample)):
        node.replace_self(again(app, docname, node, equations))
    for node in doctree.findall(nodes.math_block):
        if row := equations.get(node.get("label")):
            node["mark"] = {
                "passed": bool(row["passed"]),
                "error": magnitude(row),
                "story": story(row) if row["check"] else row["detail"] or "no check ran",
                "trials": trials(row),
                "label": row["label"],
                "script": f"{'../' * docname.count('/')}altered/{row['page']}.js",
                "live": live_script(app, docname, row),
                "open": node.get("open"),
                "function": short(row["function"]),
                "number": row["number"],
            }
            for key, target in (("check_uri", row["check"]), ("api_uri", row["api"])):
                if target:
                    page = (
                        ""
                        if target[0] == docname
                        else app.builder.get_relative_uri(docname, target[0])
                    )
                    node["mark"][key] = f"{page}#{target[1]}"
    for box in [b for b in doctree.findall(nodes.container) if "tag_checks" in b["classes"]]:
        fold(box, equations)
    for node in doctree.findall(check):
        if "folded" in node["classes"]:
            continue
        r, row = node["record"], equations.get(node["record"]["label"])
        tick = "✓ " if r["passed"] else "✗ "
        if r["kind"] == "claim":
            node += nodes.Text(f"{tick}{r['evidence']}")
            node["classes"].append("claim")
        else:
            node += nodes.Text(tick)
            node += link(
                app,
                docname,
                row and (row["page"], row["anchor"]),
                f"({row['number']})" if row else r["label"],
            )
            what = (
                f" {r['name']}"
                if r.get("name")
                else f" printed wrong: {r['form']}"
                if r["kind"] == "pitfall"
                else ""
            )
            node += nodes.Text(f"{what}: {story(dict(r, checks=1, compared=r['count']))}")
            if r.get("source"):
                node += nodes.Text(" Compare ")
                node += cited(app, docname, r["source"])
        node["classes"].append("passed" if r["passed"] else "failed")
    for node in list(doctree.findall(tally)):
        known = tallied(app)
        if node["what"] not in known:
            log.warning("tally knows %s", ", ".join(known), location=node)
        count = known.get(node["what"], 0)
        node.replace_self(nodes.inline("", f"{count:,}", classes=["number"]))
    for node in list(doctree.findall(listing)):
        node.replace_self(listed(app, docname, node))
    for node in doctree.findall(nodes.literal_block):
        if "kernel" in node["classes"]:  # a reader sees numbers, never labels
            text = LABELS_IN_CODE.sub(lambda m: numbered(m, equations), node.rawsource)
            node.rawsource = text
            node.children[:] = [nodes.Text(text)]


def live_script(app, docname, row):
    """Return where the script is that lets an equation answer, and whether it can be edited."""
    if row["label"] not in getattr(app, "live", {}).get(row["page"], ()):
        return None
    script = f"{'../' * docname.count('/')}live/{row['page']}.js"
    return {"script": script, "edit": row["label"] in app.editable[row["page"]]}


def again(app, docname, node, equations):
    """Return the equation that a `sample` stands for, as its own page has it."""
    row = equations.get(node["label"])
    if row is None:
        log.warning("no equation %s to show", node["label"], location=node)
        return []
    blocks = app.env.get_doctree(row["page"]).findall(nodes.math_block)
    found = next(block for block in blocks if block.get("label") == node["label"]).deepcopy()
    uri = app.builder.get_relative_uri(docname, row["page"])
    found["ids"], found["uri"], found["open"] = [], f"{uri}#{row['anchor']}", node["open"]
    return [found]


def tallied(app):
    """Return what the whole build has of each kind."""
    rows = app.verified[0].values()
    found = {key: sum(r.get(key, 0) for r in rows) for key in COUNTED}
    cases = app.env.domains["verified"].cases().values()
    tried = sum(case["blob"] is not None for some in cases for case in some)
    live = getattr(app, "live", {})
    return {
        "equations": len(rows),
        "chapters": len({r["page"] for r in rows}),
        "claims": len(app.verified[1]),
        "cases": tried,
        "editable": sum(len(app.editable[page]) for page in live),
        **found,
    }


def fold(box, equations):
    """Let one line stand for the checks of a cell, if all have passed."""
    found = list(box.findall(check))
    if len(found) > 1 and all(node["record"]["passed"] for node in found):
        first, *others = found
        first += nodes.Text(folded([node["record"] for node in found], equations))
        first["classes"] += ["folded", "passed"]
        for node in others:
            node.parent.remove(node)


def numbered(match, equations):
    """Return the numbers of the labels in a docstring."""
    return ", ".join(
        f"({equations[label]['number']})" if label in equations else label
        for label in re.split(", *", match[1])
    )


def setup(app):
    """Register the directives and the last step of each page."""
    for name, directive in (
        ("equations", EquationTable),
        ("sample", Sample),
        ("equation-index", EquationIndex),
        ("claim-index", ClaimIndex),
        ("pitfall-index", PitfallIndex),
    ):
        app.add_directive(name, directive)
    app.add_role("tally", TallyRole())
    app.connect("doctree-resolved", resolved, priority=900)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
