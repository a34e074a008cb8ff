"""Contents: the chapters of a part with what they hold, numbered on from part to part."""

from typing import ClassVar

from docutils import nodes
from docutils.parsers.rst.directives import unchanged_required
from parts import drawing, exercise, themed
from sphinx import addnodes
from sphinx.environment.collectors.toctree import TocTreeCollector
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective

WORDS = 150  # read in a minute
log = logging.getLogger(__name__)
EQUATION = 1  # minute for each that has a number
CODE = (nodes.container, nodes.literal_block, nodes.math_block, exercise)  # not read as prose


class contents(nodes.General, nodes.Element):
    """A list of chapters, filled in when all pages are read."""


class thumbnail(nodes.General, nodes.Element):
    """A picture of a chapter, small."""


class Chapters(SphinxDirective):
    """{chapters}: list chapters, one "page: what it is about" a line.

    The option ``picture`` names a figure of one of them, which stands beside the list.
    """

    option_spec: ClassVar[dict] = {"picture": unchanged_required}
    has_content = True

    def run(self):
        rows = []
        for text in filter(None, self.content):
            page, colon, about = text.partition(": ")
            if not colon:
                raise self.error(f"expected 'page: what it is about', not '{text}'")
            inline, _ = self.state.inline_text(about, self.lineno)
            rows.append((page, nodes.inline("", "", *inline, classes=["chapter-about"])))
        pages, picture = [page for page, _ in rows], self.options.get("picture")
        node = contents("", *(about for _, about in rows), pages=pages, picture=picture)
        self.set_source_info(node)
        self.env.note_reread()  # any page may change what it says
        return [node]


def prose(node):
    """Yield the paragraphs of a page that are read, without cells, kernels and exercises."""
    for child in node.children:
        if isinstance(child, nodes.paragraph):
            yield child.astext()
        elif not isinstance(child, CODE):
            yield from prose(child)


def size(app, page):
    """Return the minutes to read a page, its numbered equations and its exercises."""
    doctree = app.env.get_doctree(page)
    equations = sum(row["page"] == page for row in app.verified[0].values())
    words = sum(len(text.split()) for text in prose(doctree))
    return words / WORDS + equations * EQUATION, equations, len(list(doctree.findall(exercise)))


def told(minutes):
    """Return a time in words, to five minutes and from an hour to a quarter of one."""
    near = max(5, 5 * round(minutes / 5) if minutes < 60 else 15 * round(minutes / 15))
    hours, rest = divmod(near, 60)
    return " ".join(f"{n} {unit}" for n, unit in ((hours, "h"), (rest, "min")) if n)


def link(app, docname, page):
    """Return a link to a chapter, with its number."""
    number = app.env.toc_secnumbers.get(page, {}).get("") or ()
    title = f"{'.'.join(map(str, number))} {app.env.titles[page].astext()}".strip()
    uri = app.builder.get_relative_uri(docname, page)
    return nodes.reference("", title, refuri=uri, internal=True)


def resolved(app, doctree, docname):
    """Fill in the lists of chapters."""
    for node in list(doctree.findall(contents)):
        rows = nodes.bullet_list(classes=["chapters"])
        for page, about in zip(node["pages"], node.children, strict=True):
            minutes, equations, exercises = size(app, page)
            counts = [told(minutes)]
            for n, word in ((equations, "equation"), (exercises, "exercise")):
                counts += [f"{n} {word}{'s' * (n != 1)}"] if n else []
            rows += nodes.list_item(
                "",
                nodes.paragraph("", "", link(app, docname, page)),
                nodes.paragraph("", "", about.deepcopy()),
                nodes.paragraph("", " · ".join(counts), classes=["chapter-size"]),
            )
        node.replace_self([*pictured(app, node), rows])


def pictured(app, node):
    """Return the picture of a list of chapters, if it has one."""
    name = node["picture"]
    if name is None:
        return []
    for page in node["pages"]:
        for figure in app.env.get_doctree(page).findall(nodes.figure):
            if name in figure["ids"]:
                [art] = figure.findall(drawing)
                return [thumbnail("", svg=art["frames"][art["start"]]["svg"])]
    log.warning("no figure %s in the chapters listed", name, location=node, type="contents")
    return []


def visit_thumbnail(self, node):
    """Write a small picture, which says nothing that its chapter does not."""
    self.body.append(f'<div class="thumbnail" aria-hidden="true">{themed(node["svg"])}</div>\n')
    raise nodes.SkipNode


def through_parts(collector, env, number=TocTreeCollector.assign_section_numbers):
    """Number the chapters on from part to part; Sphinx begins at one in every toctree."""
    read = env.get_doctree

    def joined(docname):
        doctree = read(docname)
        first, *others = [t for t in doctree.findall(addnodes.toctree) if t.get("numbered")]
        for other in others:
            first["entries"] = [*first["entries"], *other["entries"]]
            other["numbered"] = 0
        return doctree

    env.get_doctree = joined
    try:
        return number(collector, env)
    finally:
        del env.get_doctree


def setup(app):
    """Register the directive and the numbers."""
    TocTreeCollector.assign_section_numbers = through_parts
    app.add_node(contents)
    app.add_node(thumbnail, html=(visit_thumbnail, None))
    app.add_directive("chapters", Chapters)
    app.connect("doctree-resolved", resolved)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
