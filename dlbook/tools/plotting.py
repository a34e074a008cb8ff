"""One style for all figures: line art as SVG, legible in light and dark, told in words as well.

`figure` opens a figure in the style, `show` puts it on the page with a caption and an alternative
text, `slider` shows several figures one at a time, `hand_over` gives a picture of the website that
answers what it draws from. The alternative text is an argument computed
from the numbers of the cell, so it cannot go stale. Ink, grid and paper are drawn in the three
colours below; on the website they become variables and follow the theme. The four series colours
(Okabe & Ito) have a contrast of 3 : 1 on white and on black, and differ in marker and dash too.
"""

import base64
import hashlib
import io
import json
import re
from html import escape
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np

from dlbook.tools import shapes
from dlbook.tools.built import called, plain
from dlbook.tools.tex import written_out

__all__ = ["GRID", "INK", "PAPER", "SERIES", "figure", "hand_over", "image_grid", "show", "slider"]

MIME = "application/vnd.dlbook.figure+json"
LEARNED = "application/vnd.dlbook.learned+json"
INK, GRID, PAPER = "#1b1b1f", "#c8c8cd", "#fefefc"
SERIES = ("#0072b2", "#d55e00", "#009e73", "#cc79a7")
MANY = 1000  # points from which a collection is drawn as pixels
LARGEST = 100  # inches, and axes, in a row or a column
NAME = re.compile(r"[A-Za-z][\w-]*")

STYLE = {
    "axes.edgecolor": INK,
    "axes.facecolor": "none",
    "axes.grid": True,
    "axes.labelcolor": INK,
    "axes.linewidth": 0.8,
    "axes.prop_cycle": mpl.cycler(color=SERIES) + mpl.cycler(linestyle=["-", "--", "-.", ":"]),
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlecolor": INK,
    "axes.titlelocation": "left",
    "axes.titlesize": 10.5,
    "axes.axisbelow": True,
    "figure.constrained_layout.use": True,
    "figure.facecolor": "none",
    "font.family": "DejaVu Sans",
    "font.size": 9.5,
    "grid.color": GRID,
    "grid.linewidth": 0.5,
    "image.cmap": "gray_r",
    "image.interpolation": "nearest",
    "legend.frameon": False,
    "legend.labelcolor": INK,
    "lines.linewidth": 1.8,
    "lines.markersize": 5,
    "savefig.facecolor": "none",
    "svg.fonttype": "path",
    "svg.hashsalt": "dlbook",
    "text.color": INK,
    "xtick.color": INK,
    "xtick.labelsize": 8.5,
    "ytick.color": INK,
    "ytick.labelsize": 8.5,
}


def figure(
    width: float = 6.2, height: float = 3.2, rows=1, columns=1, **options
) -> tuple[Any, Any]:
    """Return a figure in the style of the book, which figures made later have, too.

    `show` puts it on the page, and so does Jupyter where it is the last value of a cell. Not
    before: Matplotlib does not hold it among its open figures, of which Jupyter shows the unfinished
    ones at the end of each cell.

    Parameters
    ----------
    width, height : float
        Size in inches, at most 100; the column of the page is 6.2 wide.
    rows, columns : int
        Grid of axes, at most 100 in a row or a column.
    **options
        Passed on to :func:`matplotlib.pyplot.subplots`.

    Returns
    -------
    figure, axes
        As `subplots` returns them.

    Raises
    ------
    TypeError, ValueError
        If a size is not what is described here, before a figure is opened.
    """
    width = shapes.number("width", width, above=0, most=LARGEST)
    height = shapes.number("height", height, above=0, most=LARGEST)
    rows = shapes.count("rows", rows, most=LARGEST)
    columns = shapes.count("columns", columns, most=LARGEST)
    mpl.rcParams.update(STYLE)
    fig, axes = plt.subplots(rows, columns, figsize=(width, height), **options)
    plt.close(fig)
    return fig, axes


def image_grid(images, columns, titles=None, size=0.9, **options):
    """Draw images side by side without axes.

    Parameters
    ----------
    images : ndarray, shape (n, height, width) or (n, height, width, 3)
        The images.
    columns : int
        How many stand in a row.
    titles : sequence of str, optional
        A line above each image.
    size : float
        Width of one image in inches.
    **options
        Passed on to ``imshow``.

    Returns
    -------
    figure

    Raises
    ------
    TypeError, ValueError
        If an argument is not what is described here, before a figure is opened.
    """
    columns, size = shapes.count("columns", columns), shapes.number("size", size, above=0)
    images = shapes.array("images", images)
    if images.dtype.kind not in "biuf":
        raise TypeError(f"images has dtype {images.dtype}, expected numbers")
    if not (images.size and (images.ndim == 3 or (images.ndim == 4 and images.shape[3] == 3))):
        raise ValueError(
            f"images has shape {images.shape}, expected (n, height, width) or (n, height, width, 3)"
        )
    if titles is not None and len(titles) != len(images):
        raise ValueError(f"titles has {len(titles)} lines, expected one for each of {len(images)}")
    rows = -(-len(images) // columns)
    fig, axes = figure(
        size * columns,
        (size + (0.22 if titles is not None else 0)) * rows,
        rows,
        columns,
        squeeze=False,
    )
    for k, ax in enumerate(axes.flat):
        ax.axis("off")
        if k < len(images):
            ax.imshow(images[k], **options)
            if titles is not None:
                ax.set_title(titles[k], fontsize=8, loc="center", pad=2)
    return fig


def _svg(fig, prefix):
    """Return a figure as an SVG element that can stand in a page beside others."""
    for artist in fig.findobj(mpl.collections.Collection):
        if len(artist.get_offsets()) > MANY or isinstance(artist, mpl.collections.QuadMesh):
            artist.set_rasterized(True)
    for line in fig.findobj(mpl.lines.Line2D):
        if len(line.get_xdata()) > MANY and line.get_linestyle() == "None":
            line.set_rasterized(True)
    photographs = any(np.ndim(image.get_array()) == 3 for image in fig.findobj(mpl.image.AxesImage))
    out = io.StringIO()
    with mpl.rc_context(STYLE | {"image.composite_image": not photographs}):
        fig.savefig(
            out,
            format="svg",
            dpi=160,
            metadata={"Date": None, "Creator": None, "Format": None, "Type": None},
        )
    plt.close(fig)
    svg = out.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>\s*", "", svg, flags=re.S)
    used = set(re.findall(r'(?:href="#|url\(#)([^")]+)', svg))
    svg = re.sub(r' id="([^"]+)"', lambda m: f' id="{prefix}-{m[1]}"' if m[1] in used else "", svg)
    svg = re.sub(r'(href="#|url\(#)', rf"\g<1>{prefix}-", svg)
    svg = re.sub(r'(<svg[^>]*?) (?:width|height)="[^"]*"', r"\1", svg, count=1)
    svg = re.sub(r'(<svg[^>]*?) (?:width|height)="[^"]*"', r"\1", svg, count=1)
    if photographs:
        svg = re.sub(r"data:image/png;base64,([^\"]+)", _photograph, svg)
    width = fig.get_figwidth()
    return svg.replace("<svg", f'<svg style="width:{width * 112:.0f}px"', 1).replace("\n", " ")


def _photograph(found):
    """Return an image of an SVG as JPEG, if nothing of it is transparent and that is half as long."""
    pixels, out = plt.imread(io.BytesIO(base64.b64decode(found[1]))), io.BytesIO()
    if pixels.ndim < 3 or pixels[..., 3:].min(initial=1) < 1:
        return found[0]
    quality = {"quality": 88, "subsampling": 0, "optimize": True}
    plt.imsave(out, pixels[..., :3], format="jpg", pil_kwargs=quality)
    text = base64.b64encode(out.getvalue()).decode()
    return f"data:image/jpeg;base64,{text}" if len(text) < len(found[1]) / 2 else found[0]


def _digest(text):
    """Return a short name that is the same in every build."""
    return "fig" + hashlib.sha256(text.encode()).hexdigest()[:8]


def _words(what, text):
    """Return a text that must not be empty."""
    if not isinstance(text, str) or not text.strip():
        raise ValueError(f"a figure needs its {what}: a sentence, got {shapes.shown(text)}")
    return " ".join(text.split())


def _drawn(fig):
    """Return what is a figure, with its texts in ink."""
    if not isinstance(fig, mpl.figure.Figure):
        raise TypeError(f"{shapes.shown(fig)} is not a figure of matplotlib")
    for text in fig.findobj(mpl.text.Text):
        if text.get_text() and mpl.colors.to_hex(text.get_color()) in SERIES:
            words = shapes.shown(text.get_text())
            raise ValueError(f"the text {words} has the colour of a series, expected ink")
    return fig


def _label(name):
    """Return what can be the name of a figure, or None where it has none."""
    if name is not None and not (isinstance(name, str) and NAME.fullmatch(name)):
        raise ValueError(f"name is {shapes.shown(name)}, expected letters, digits and hyphens")
    return name


def _publish(record):
    """Display the record of a figure: data for the book, pictures with words for a notebook."""
    try:
        from IPython import get_ipython
        from IPython.display import display

        shell = get_ipython()
    except ImportError:
        shell = None
    alt = record["frames"][record["start"]]["alt"]
    if not shell:
        print(f"figure: {alt}")
        return
    display({MIME: record, "text/html": _html(record), "text/plain": alt}, raw=True)


def _html(record):
    """Return a figure for a notebook: its frames, a slider if there are several, its caption.

    The slider needs no script but its own. Where even that is not run, a line says so instead.
    """
    frames, start = record["frames"], record["start"]
    pictures = [_picture(frame, k != start) for k, frame in enumerate(frames)]
    name = called(record["name"])
    caption = written_out(plain(record["caption"]))
    caption = f"{name}. {caption}" if name else caption
    return (
        f'<figure style="background:#fff;color:#000;margin:0">{"".join(pictures)}'
        f"{_slider(record) if len(frames) > 1 else ''}"
        f"<figcaption>{escape(caption, quote=False)}</figcaption></figure>"
    )


def _picture(frame, hidden):
    """Return a frame as an image, which holds everything it needs."""
    plain = frame["svg"].replace('style="width:', 'width="').replace('px"', '"', 1)
    data = base64.b64encode(plain.encode()).decode()
    return (
        f'<img alt="{escape(frame["alt"])}"{" hidden" if hidden else ""} '
        f'src="data:image/svg+xml;base64,{data}">'
    )


MOVED = (
    "const f=this.closest('figure');"
    "f.querySelectorAll('img').forEach((i,k)=>i.hidden=k!=this.value);"
    "f.querySelector('output').textContent=JSON.parse(this.dataset.labels)[this.value]"
)
STARTED = (  # where handlers run: the slider appears, the line that it does not move goes
    "const p=this.closest('figure').querySelectorAll('p');p[0].hidden=true;p[1].hidden=false"
)
PIXEL = "data:image/gif;base64,R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7"


def _slider(record):
    """Return the slider under the frames, and what is said where it does not move."""
    labels, variable = [frame["label"] for frame in record["frames"]], escape(record["variable"])
    shown, start = escape(labels[record["start"]]), record["start"]
    data = escape(json.dumps(labels, ensure_ascii=False))
    return (
        f"<p>{variable}: {shown}. One of {len(labels)} pictures; run this cell to move through "
        f"them with a slider.</p><p hidden><label>{variable} "
        f'<input type="range" min="0" max="{len(labels) - 1}" value="{start}" '
        f'data-labels="{data}" oninput="{MOVED}"></label> <output>{shown}</output></p>'
        f'<img alt="" style="display:none" src="{PIXEL}" onload="{STARTED}">'
    )


def show(fig, *, alt, caption, name=None):
    """Put a figure on the page.

    Parameters
    ----------
    fig : matplotlib figure
        It is closed afterwards.
    alt : str
        What the picture shows, for those who do not see it: an f-string with the numbers that
        matter.
    caption : str
        One or two sentences under the figure; mathematics stands between dollar signs.
    name : str, optional
        Label by which the text refers to it, with the role ``numref``.

    Raises
    ------
    TypeError, ValueError
        If it is not a figure, without alternative text or caption, with a text in the colour of
        a series, or if the name is not one.
    """
    frame = {"label": "", "alt": _words("alternative text", alt)}
    record = {
        "caption": _words("caption", caption),
        "name": _label(name),
        "variable": None,
        "start": 0,
        "frames": [frame],
    }
    frame["svg"] = _svg(_drawn(fig), name or _digest(record["caption"]))
    _publish(record)


def slider(frames, *, variable, caption, start=0, name=None):
    """Put several figures on the page, one at a time, with a slider to choose.

    Without scripts, and on paper, the figure at `start` is shown; let it make the point.

    Parameters
    ----------
    frames : sequence of (label, figure, alt)
        The value of the variable in words, the figure and its alternative text.
    variable : str
        What the slider changes, in words: "hidden units".
    caption, name
        As in `show`.
    start : int
        Index of the frame shown first.

    Raises
    ------
    TypeError, ValueError
        If an argument is not what is described here, before a figure is drawn.
    """
    record = {
        "caption": _words("caption", caption),
        "name": _label(name),
        "variable": _words("variable", variable),
    }
    frames = list(frames)
    if not frames:
        raise ValueError("frames is empty, expected (label, figure, alt) for each figure")
    for k, frame in enumerate(frames):
        if not isinstance(frame, (tuple, list)) or len(frame) != 3:
            raise TypeError(f"frames[{k}] is {shapes.shown(frame)}, expected (label, figure, alt)")
    record["start"] = shapes.count("start", start, least=0, most=len(frames) - 1)
    rows = [
        {"label": _words("label", str(label)), "alt": _words("alternative text", alt)}
        for label, _, alt in frames
    ]
    figures = [_drawn(fig) for _, fig, _ in frames]
    for k, (row, fig) in enumerate(zip(rows, figures, strict=True)):
        row["svg"] = _svg(fig, f"{name or _digest(record['caption'])}-{k}")
    _publish(record | {"frames": rows})


def hand_over(name, /, **values):
    """Hand what a page has learned to the picture that answers in it; elsewhere do nothing.

    Parameters
    ----------
    name : str
        The picture's, in its directive ``interactive``.
    **values : array, str, or list or dict of such and of numbers
        Arrays go in float16 where they are float16, else in float32. Keys are sorted, here as where a
        notebook is stored: what has an order is a list.

    Raises
    ------
    TypeError, ValueError
        If an array is not of finite numbers, if a value can be neither array nor JSON, or if the
        name is not one.
    """
    record = {key: _handed(key, value) for key, value in sorted(values.items())}
    if _label(name) is None:
        raise ValueError("name is None, expected that of a picture")
    try:
        from IPython import get_ipython
        from IPython.display import display
    except ImportError:
        return
    if get_ipython():
        display({LEARNED: {"name": name, "values": record}, "text/plain": ""}, raw=True)


def _handed(key, value):
    """Return a value as plain data, an array as its bytes in base64."""
    if not isinstance(value, np.ndarray):
        return json.loads(json.dumps(value, allow_nan=False, sort_keys=True))
    if value.dtype.kind not in "biuf" or not np.isfinite(value).all():
        raise ValueError(f"{key} is {shapes.shown(value)}, expected an array of finite numbers")
    kept = np.ascontiguousarray(value, "<f2" if value.dtype == np.float16 else "<f4")
    text = base64.b64encode(kept.tobytes()).decode()
    return {"dtype": kept.dtype.name, "numbers": text, "shape": list(value.shape)}
