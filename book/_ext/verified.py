"""Join each numbered equation to the checks that its page ran (`marks` shows the results).

`verify`, `claim` and `refute` display a record under a MIME type of their own. myst-nb hands it to
`CheckRenderer`, for cells that ran and for cells that came from the cache alike. It becomes a node
and is kept per page in a Sphinx domain, so purging, merging and pickling are Sphinx's own.
"""

import json
import re
from pathlib import Path

import altered
import prose
from docutils import nodes
from myst_nb.core.read import read_myst_markdown_notebook
from myst_nb.core.render import load_mime_renders
from sphinx.domains import Domain
from sphinx.util import logging
from sphinxcontrib.bibtex.citation_target import parse_citation_targets
from sphinxcontrib.bibtex.roles import CitationRef

from dlbook.tools.listing import LABELS

MIME = "application/vnd.dlbook.verification+json"
SHARP = 0.9  # share of a bound that some case has to reach
log = logging.getLogger(__name__)


class check(nodes.paragraph):
    """The line of one executed check."""


class listing(nodes.General, nodes.Element):
    """Where a generated table goes; `kind` says which."""


class tally(nodes.Inline, nodes.TextElement):
    """A figure of the whole build."""


class CheckRenderer:
    """Turn a record in a cell's output into a `check` node."""

    mime_priority_overrides = [("*", MIME, 1)]

    @staticmethod
    def handle_mime(renderer, data, inline):
        """Keep the record with the line of the page that made it."""
        if data.mime_type != MIME or inline:
            return None
        cell = renderer.renderer.nb_client.notebook.cells[data.cell_index].source.splitlines()
        page = Path(renderer.source).read_text(encoding="utf-8").splitlines()
        first = max(0, data.line - 3)  # myst-nb's line is only near the fence
        start = next((i for i in range(first, len(page)) if page[i : i + len(cell)] == cell), first)
        if data.content["kind"] == "numbers":
            return [prose.told("", values=data.content["values"])]
        record = dict(data.content, line=start + (data.content.get("cell_line") or 1))
        if record["kind"] == "claim":
            record["criterion"] = prose.criterion("\n".join(cell), record["label"])
        return [check("", "", classes=["check"], record=record)]


class Verified(Domain):
    """What each page states, what it checked and what the tables at its end call it."""

    name, label, data_version = "verified", "verified equations", 5
    initial_data = {"pages": {}, "shown": {}, "bad": set()}

    def page(self, docname):
        return self.data["pages"].setdefault(
            docname,
            {
                "equations": [],
                "checks": [],
                "cases": [],
                "prose": {},
                "kernels": {},
                "formulas": {},
                "names": {},
                "lists": False,
                "stop": None,
            },
        )

    def clear_doc(self, docname):
        self.data["pages"].pop(docname, None)

    def merge_domaindata(self, docnames, other):
        self.data["pages"].update({d: p for d, p in other["pages"].items() if d in docnames})

    def process_doc(self, env, docname, document):
        """Collect from a page that was just read."""
        page = self.page(docname)
        prose.filled(document)
        page["prose"] = prose.read(document)
        page["equations"] = [
            (n["label"], n["ids"][0], n.line)
            for n in document.findall(nodes.math_block)
            if n.get("label")
        ]
        folds = [box for box in document.findall(nodes.container) if "tag_checks" in box["classes"]]
        folded = {id(node): box for box in folds for node in box.findall(check)}
        for k, node in enumerate(document.findall(check)):
            box = folded.get(id(node), node)  # checks that are folded share one place
            if box is node or not any(other["ids"] for other in box.findall(check)):
                node["ids"] = [f"check-{k + 1}"]
            anchor = next(other["ids"][0] for other in box.findall(check) if other["ids"])
            if case := node["record"].pop("case", None):
                page["cases"].append(dict(case, label=node["record"]["label"]))
            page["checks"].append(dict(node["record"], page=docname, anchor=anchor))
            if source := node["record"].get("source"):
                note_source(env, docname, anchor, node["record"]["line"], source)
        if made := [c for c in page["checks"] if c["kind"] == "claim"]:
            text = Path(env.doc2path(docname)).read_text(encoding="utf-8")
            cells = read_myst_markdown_notebook(text, env.myst_config).cells
            names = prose.drawn([cell.source for cell in cells if cell.cell_type == "code"])
            lacking = [(c["line"], c["label"], prose.lacks(c, text, names)) for c in made]
            page["prose"]["claims"] = [
                (line, f"{label} lacks {' and '.join(missing)}")
                for line, label, missing in lacking
                if missing
            ]
        page["lists"] |= any(document.findall(tally))
        for node in document.findall(listing):
            page["lists"] = True
            page["names"].update(node.get("names_of", {}))
        for node in document.findall(nodes.literal_block):
            if "traceback" in node["classes"]:
                page["stop"] = (node.line or 1, node.astext().strip().splitlines()[-1])

    def row(self, docname, equation, checks, kernels):
        """Return what is known of one equation; of several checks the worst is shown."""
        label, anchor, line = equation
        row = dict.fromkeys(
            (
                "oracle",
                "count",
                "error",
                "tolerance",
                "unit",
                "passed",
                "detail",
                "relation",
                "check",
                "elementwise",
            )
        )
        row["float32"] = False
        mine = [c for c in checks if c["kind"] == "equation" and c["label"] == label]
        stop = self.data["pages"][docname]["stop"]
        if mine:
            worst = max(
                mine, key=lambda c: (not c["passed"], (c["error"] or 0) / (c["tolerance"] or 1))
            )
            row.update({k: worst[k] for k in row if k in worst})
            row.update(
                count=sum(c["count"] for c in mine),
                compared=worst["count"],
                oracles={
                    by: sum(c["count"] for c in mine if c["oracle"] == by)
                    for by in dict.fromkeys(c["oracle"] for c in mine)
                },
                check=(worst["page"], worst["anchor"]),
                checks=len(mine),
            )
        elif stop:
            row["detail"] = "not reached: the page stopped at line {} with {}".format(*stop)
        numbers = self.env.toc_fignumbers.get(docname, {}).get("displaymath", {})
        entry = self.env.domains.python_domain.objects.get(kernels.get(label))
        return row | {
            "label": label,
            "page": docname,
            "line": line,
            "anchor": anchor,
            "function": kernels.get(label),
            "name": self.data["pages"][docname]["names"].get(label),
            "number": ".".join(map(str, numbers.get(anchor, ()))),
            "api": entry and (entry.docname, entry.node_id),
            "shown_in": sorted(
                {docname, *(c["page"] for c in mine), *([entry.docname] if entry else [])}
            ),
        }

    def cases(self):
        """Return the cases of each equation by its label."""
        found = {}
        for _, page in sorted(self.data["pages"].items()):
            for case in page["cases"]:
                found.setdefault(case["label"], []).append(case)
        return found

    def join(self, rows=None, stale=()):
        """Return equations and claims by label, pitfalls, and faults as (page, line, kind, text).

        `rows` are the altered versions by label, `stale` the declarations that no version meets.
        """
        pages = dict(sorted(self.data["pages"].items()))  # not as processes have brought them
        checks = [c for p in pages.values() for c in p["checks"]]
        kernels = {label: name for p in pages.values() for label, name in p["kernels"].items()}
        formulas = {label: text for p in pages.values() for label, text in p["formulas"].items()}
        equations, claims, faults = {}, {}, []
        for docname, page in pages.items():
            for equation in page["equations"]:
                row = equations[equation[0]] = self.row(docname, equation, checks, kernels)
                row["formula"] = formulas.get(row["label"])
                if rows is not None:
                    row.update(altered.counts(rows.get(row["label"], ())))
                found = [*missing(row), *blunt(row, checks, rows)]
                named = f"equation {row['label']} ({row['number']})"
                faults += [(docname, row["line"], kind, f"{named}{text}") for kind, text in found]
            if page["stop"]:
                faults.append(
                    (docname, page["stop"][0], "stopped", f"the page stopped: {page['stop'][1]}")
                )
        for c in checks:
            faults += [(c["page"], c["line"], *fault) for fault in of_check(c, claims, equations)]
            if c["kind"] == "claim":
                claims[c["label"]] = c
        for function, was, now in stale:
            text = (
                f"`{function}`, “{was}” → “{now}” is declared, and no version that survives is it"
            )
            faults.append((None, None, "declared", f"declared.toml: {text}"))
        return equations, claims, [c for c in checks if c["kind"] == "pitfall"], faults

    def check_consistency(self):
        """Warn about each fault of the whole book."""
        for docname, line, kind, text in self.joined[3]:
            where = (docname, line) if docname else None
            log.warning("%s", text, location=where, type="verified", subtype=kind)


def target(source):
    """Return a source as the roles of the bibliography write it: its key, the place in braces."""
    key, _, place = source.partition(", ")
    return f"{key}{{{place}}}" if place else key


def note_source(env, docname, anchor, line, source):
    """Let the bibliography know that a check names a source."""
    targets = list(parse_citation_targets(target(source)))
    env.domains["cite"].citation_refs.append(CitationRef(anchor, docname, line, targets))


def missing(row):
    """Yield what an equation lacks."""
    if not row["passed"]:
        kind = "failed" if row["check"] else "unverified"
        yield kind, f": {row['detail'] or 'no check ran'}"
    if not row["function"]:
        yield "kernel", ": no documented function names it in its docstring"
    if not row["name"]:
        yield "table", " is missing in the page's table of equations"


def blunt(row, checks, rows):
    """Yield why the mark of an equation could not have failed where it should."""
    mine = [c for c in checks if c["kind"] == "equation" and c["label"] == row["label"]]
    if not (row["passed"] and row["function"]) or rows is None:
        return
    if any(c["relation"] != "==" for c in mine) and not any(
        (c["sharp"] or 0) >= SHARP for c in mine
    ):
        yield "blunt", f" is a bound, and no check with sharp= reaches {SHARP:.0%} of it"
    if not any(c.get("tried") for c in mine):
        yield "untried", ": no case of 200 numbers or less calls its kernel"
    for text in altered.survivors(rows.get(row["label"], ())):
        yield "survivor", f": {text}"


def of_check(c, claims, equations):
    """Yield what is wrong with a check of a sentence, or one of no equation."""
    if c["kind"] == "claim":
        if c["label"] in claims:
            yield "duplicate", f"claim {c['label']} is checked twice"
        if not c["passed"]:
            yield "failed", f"claim {c['label']}: {c['evidence']}"
    elif c["label"] not in equations:
        yield "unknown", f"a check names equation {c['label']}, which no page has"
    elif c["kind"] == "pitfall" and not c["passed"]:
        yield "failed", f"{c['label']}, wrong form “{c['form']}”: {c['detail']}"
    elif c["kind"] == "pitfall" and not c.get("source"):
        yield "source", f"{c['label']}, wrong form “{c['form']}”: no source is named"


def outdated(app, env, added, changed, removed):
    """Read pages with faults again, so that a second build does not pass in silence."""
    return env.domaindata["verified"]["bad"] & env.found_docs


def updated(app, env):
    """Return the pages whose results changed; runs after Sphinx has numbered the equations."""
    domain = env.domains["verified"]
    equations = domain.join()[0]
    sound = {label: row for label, row in equations.items() if row["passed"]}
    app.altered, stale = altered.outcomes(app, sound, domain.cases())
    app.verified = domain.joined = domain.join(app.altered, stale)
    domain.joined[3].extend(prose.faults(app, domain.data["pages"]))
    equations, claims, pitfalls, faults = app.verified
    everything = [*equations.values(), claims, pitfalls]
    shown = {
        docname: repr(
            [r for r in equations.values() if docname in r["shown_in"]]
            + (everything if page["lists"] else [])
        )
        for docname, page in domain.data["pages"].items()
    }
    stale = {d for d in shown if shown[d] != domain.data["shown"].get(d)}
    domain.data.update(shown=shown, bad={fault[0] for fault in faults if fault[0]})
    return stale


def docstring(app, what, name, obj, options, lines):
    """A docstring that begins with "(label)" names the equations its function computes."""
    if not (found := LABELS.match(lines[0] if lines else "")):
        return
    labels = re.split(", *", found[1])
    page = app.env.domains["verified"].page(app.env.docname)
    end = next((i for i, line in enumerate(lines) if not line.strip()), len(lines))
    shapes = next((i for i, line in enumerate(lines[:end]) if " -> " in line), end)
    said = " ".join([lines[0][found.end() :], *lines[1:shapes]]).split()
    for label in labels:  # several functions may share one: the first in the source
        page["kernels"].setdefault(label, name)
        page["formulas"].setdefault(label, " ".join(said))
    formula = [lines[0][found.end() :], *lines[1:end]]
    lines[:end] = [", ".join(f":eq:`{label}`" for label in labels), ""]
    lines[2:2] = ["::", "", *(f"    {line.strip()}" for line in formula), ""]


def finished(app, exception):
    """Write results, cases and altered versions beside index.html."""
    if exception or app.builder.name != "html":
        return
    for kind in ("cases", "altered"):
        Path(app.outdir, kind).mkdir(exist_ok=True)
    for page, text in by_page(app, app.env.domains["verified"].cases(), plain):
        Path(app.outdir, "cases", f"{page}.json").write_text(text + "\n", encoding="utf-8")
    for page, text in by_page(app, app.altered, shown):  # a script, for a page from a folder
        script = f"(window.dlbook ??= {{}}).altered = {text};\n"
        Path(app.outdir, "altered", f"{page}.js").write_text(script, encoding="utf-8")
    Path(app.outdir, "search-equations.js").write_text(sought(app), encoding="utf-8")
    hidden = {"kind", "check", "api", "cell_line", "shown_in"}
    for name, rows in zip(("equations", "claims"), app.verified[:2], strict=True):
        clean = {
            label: {k: v for k, v in sorted(rows[label].items()) if k not in hidden}
            for label in sorted(rows)
        }
        Path(app.outdir, f"{name}.json").write_text(
            json.dumps(clean, indent=1, ensure_ascii=False) + "\n", encoding="utf-8"
        )


def sought(app):
    """Return what the search knows of equations, as a script."""
    rows = [
        [r["number"], r["name"] or "", r["page"], r["anchor"], title_of(app, r), r["formula"] or ""]
        for r in app.verified[0].values()
    ]
    text = json.dumps(rows, ensure_ascii=False, separators=(",", ":"))
    return f"(window.dlbook ??= {{}}).equations = {text};\n"


def title_of(app, row):
    """Return the title of an equation's page."""
    return app.env.titles[row["page"]].astext()


def by_page(app, found, shown):
    """Yield each page with what its equations have, as JSON."""
    pages = {}
    for label in sorted(found.keys() & app.verified[0].keys()):
        page = app.verified[0][label]["page"]
        pages.setdefault(page, {})[label] = shown(found[label])
    for page, content in pages.items():
        yield page, json.dumps(content, ensure_ascii=False, separators=(",", ":"))


def plain(some):
    """Return the cases that are plain data."""
    return [case["plain"] for case in some if case["plain"]]


def shown(rows):
    """Return what a reader sees of altered versions: before, after, what exposed it, what it saw."""
    return [
        [row["was"], row["now"], row.get("input", ""), row["seen"]] for row in rows if "was" in row
    ]


def setup(app):
    """Register everything; an entry point for the plugin would reach other projects too."""
    if CheckRenderer not in load_mime_renders():  # myst-nb keeps this list, so the addition stays
        load_mime_renders().append(CheckRenderer)
    app.setup_extension("sphinx.ext.autodoc")
    app.add_domain(Verified)
    app.connect("autodoc-process-docstring", docstring)
    app.connect("env-get-outdated", outdated)
    app.connect("env-get-updated", updated, priority=900)
    app.connect("build-finished", finished)
    app.setup_extension("marks")
    app.setup_extension("prose")
    return {
        "version": "1",
        "env_version": 5,
        "parallel_read_safe": True,
        "parallel_write_safe": True,
    }
