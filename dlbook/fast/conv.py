"""A convolutional layer forward and back, images with channels last: Winograd's way, as the lines lie, or by patches."""
# ruff: noqa: E741

from math import prod
from typing import NamedTuple

import numpy as np

from dlbook.fast.lines import direct_lines, direct_lines_dw, pack_rows, turned
from dlbook.fast.parts import (
    conv_parts,
    conv_parts_backward,
    direct_parts,
    direct_parts_dw,
    winograd_parts,
    winograd_parts_dw,
)
from dlbook.fast.patches import (
    adjoint_lines_backward,
    bias_gradient_into,
    conv_lines,
    conv_lines_backward,
    conv_lines_input,
    pack_filters,
)
from dlbook.fast.winograd import pack_values, unpack_values, winograd_lines, winograd_lines_dw
from dlbook.matmul import PANEL_BYTES
from dlbook.tools.simd import aligned
from dlbook.tools.threads import by_threads, in_threads

__all__ = [
    "ONE",
    "SAME",
    "PARTS",
    "FEW",
    "adjoint",
    "adjoint_backward",
    "backward",
    "bias_gradient",
    "forward",
    "memory",
    "Direct",
    "Patches",
    "Winograd",
]

SUMMED = 300_000  # numbers that a thread of its own adds up
WINOGRAD_PARTS = (4, 64_000_000), (2, 8_000_000)  # of a batch, from so many multiply-adds on
OTHER_PARTS = (4, 4_000_000), (2, 2_000_000)  # where filters are not Winograd's
ONE = (1, 1)
SAME = (ONE, ONE, ONE, 1)  # stride, padding and dilation of one, in one group
PARTS = 4  # of errors whose bias is wanted
ROWS_AT_ONCE, TILES = 128, 1800  # patches, and tiles of Winograd's times channels, for the cache
LINES = 16  # of an image that are framed at a time
SPARE = 4  # times as many maps as channels leave a tile of sums over maps nearly empty
FEW = 8  # channels below which Winograd's form does not pay


class Patches(NamedTuple):
    """Memory of the fast kernels for one layer, the batch in m parts."""

    forth: np.ndarray  # filters in panels, (g, q, uvc, w)
    back: np.ndarray  # turned, (g, q, k/g, w)
    none: np.ndarray  # zeros
    p: np.ndarray  # patches, (m, r, uvc)
    errors: np.ndarray  # in panels, (m, qrw)
    sums: np.ndarray  # of each part, (m, g, uvc, k/g)


class Direct(NamedTuple):
    """Memory of the fast kernels for one layer with strides of one, the batch in m parts."""

    forth: np.ndarray  # filters in panels, (q, uvc, w)
    back: np.ndarray  # turned, (q, uvk, w)
    none: np.ndarray  # zeros
    framed: np.ndarray  # lines of an image, (m, …)
    around: np.ndarray  # lines of errors, (m, …)
    errors: np.ndarray  # the same in panels, (m, q, ij, w)
    sums: np.ndarray  # of each part, (m, u, vc, k)
    few: Patches | None  # for the way back to few channels


class Winograd(NamedTuple):
    """Memory of the fast kernels for one layer of 3 × 3 filters, the batch in m parts."""

    most: int  # lines of tiles at a time
    forth: np.ndarray  # filters at 36 points in panels, (36, q, c, w)
    back: np.ndarray  # turned round, (36, q, k, w)
    room: np.ndarray  # for filters on their way
    none: np.ndarray  # zeros
    strip: np.ndarray  # rows of an image, framed, (m, …)
    lines: np.ndarray  # the same at six points
    values: np.ndarray  # images at 36 points
    sums: np.ndarray  # outputs at 36 points
    errors: np.ndarray  # errors at 36 points in panels
    parts: np.ndarray  # gradients of each part, (m, 36, c, k)


Memory = Patches | Direct | Winograd


def memory(images: tuple, filters: tuple, out: tuple, how: tuple, dtype) -> Memory:
    """Return the memory for a layer.

    Parameters
    ----------
    images, filters, out : tuple of int
        Shapes (n, h, w, c), (k, c / groups, u, v) and (n, i, j, k), for the largest batch.
    how : tuple
        (stride, padding, dilation, groups), the first three pairs.
    dtype : numpy dtype
        Of all of it.

    Returns
    -------
    Winograd, Direct or Patches
        The first where 3 × 3 filters have 8 channels or more on both sides and float32 numbers, the
        second for other filters of more than a pixel in steps of one, without groups.
    """
    N, C, (K, _, U, V) = images[0], images[3], filters
    (stride, padding, dilation, G), dtype = how, np.dtype(dtype)
    todo = prod(out) * prod(filters[1:])
    m, few = (
        next((parts for parts, least in table if parts <= N and todo >= least), 1)
        for table in (WINOGRAD_PARTS, OTHER_PARTS)
    )
    once = stride == dilation == ONE and G == 1
    if once and (U, V) == (3, 3) and max(padding) <= 2 and min(C, K) >= FEW and dtype == np.float32:
        return _winograd_memory(images, filters, out, m, dtype)
    inside = padding[0] <= (U - 1) * dilation[0] and padding[1] <= V - 1
    if stride == ONE and dilation[1] == 1 and G == 1 and (U, V) != ONE and inside:
        return _direct_memory(images, filters, out, how, few, dtype)
    return _patch_memory(images, filters, out, how, few, dtype)


def _filled(kind, sizes, dtype, *first):
    """Return memory of a kind, arrays of these sizes behind what is none."""
    arrays = {name: aligned(size, dtype) for name, size in sizes.items()}
    return kind(*first, *(arrays.get(name) for name in kind._fields[len(first) :]))


def _winograd_memory(images, filters, out, m, dtype):
    """Memory for 3 × 3 filters in steps of one, the batch in m parts."""
    (N, H, W, C), K, (_, I, J, _), width = images, filters[0], out, PANEL_BYTES // dtype.itemsize
    TW, most = -(-max(J, W) // 4), max(C, K)
    lines = max(1, min(TILES // (TW * most), -(-N // m) * -(-max(I, H) // 4)))
    strip, points = (m, 6 * (4 * TW + 2) * most), (m, 36 * lines * TW * most)
    sizes = {
        "forth": (36, -(-K // width), C, width),
        "back": (36, -(-C // width), K, width),
        "room": (27 * max(-(-K // width) * C, -(-C // width) * K) * width,),
        "none": (4 * TW * most,),
        "strip": strip,
        "lines": strip,
        "values": points,
        "sums": points,
        "errors": (m, 36 * lines * TW * -(-K // width) * width),
        "parts": (m, 36, C, K),
    }
    return _filled(Winograd, sizes, dtype, lines)


def _direct_memory(images, filters, out, how, m, dtype):
    """Memory for filters in steps of one, the batch in m parts."""
    (_, H, W, C), (K, _, U, V), (_, I, J, _) = images, filters, out
    (_, padding, dilation, _), width = how, PANEL_BYTES // dtype.itemsize
    lines = min(LINES, max(H, I)) + (U - 1) * dilation[0] + 1  # one is read by whole tiles
    sizes = {
        "forth": (-(-K // width), U * V * C, width),
        "back": (-(-C // width), U * V * K, width),
        "none": (max(C, K),),
        "framed": (m, lines, (W + 2 * padding[1]) * C),
        "around": (m, lines, (W + V - 1) * K),
        "errors": (m, -(-K // width), min(LINES, I) * J, width),
        "sums": (m, U, V * C, K),
    }
    few = _patch_memory(images, filters, out, how, m, dtype) if SPARE * C <= K else None
    return _filled(Direct, sizes, dtype)._replace(few=few)


def _patch_memory(images, filters, out, how, m, dtype):
    """Memory for any filters, the batch in m parts."""
    (N, *_, C), (K, M, U, V), (_, I, J, _), G = images, filters, out, how[3]
    width, share = PANEL_BYTES // dtype.itemsize, K // G
    R, rows = U * V * M, J * max(1, min(ROWS_AT_ONCE // J, I * N))
    sizes = {
        "forth": (G, -(-share // width), R, width),
        "back": (G, -(-R // width), share, width),
        "none": (max(C, K),),
        "p": (m, rows, R),
        "errors": (m, -(-share // width) * rows * width),
        "sums": (m, G, R, share),
    }
    return _filled(Patches, sizes, dtype)


def forward(x, w, b, how, mem, z):
    """Apply a layer to images, channels last; `how` is (stride, padding, dilation, groups)."""
    if isinstance(mem, Patches):
        flat, M = (*w.shape[2:], *how[0], *how[1], *how[2]), len(mem.p)
        pack_filters(w, mem.forth, mem.back)
        by_threads(
            lambda m: conv_lines(x, mem.forth, b, flat, m, M, mem.p[0], z),
            lambda: conv_parts(x, mem.forth, b, flat, mem.p, z),
            M,
        )
    elif isinstance(mem, Direct):
        pack_rows(w, False, mem.forth)
        _direct(x, mem.forth, b, _in_lines(w, how), mem.framed, z)
    else:
        pack_values(w, False, mem.room, mem.forth)
        _winograd(x, mem.forth, b, how[1], mem, z)


def _in_lines(w, how):
    """Return (U, V, P, Q, D) for the kernels of `lines`."""
    return (*w.shape[2:], *how[1], how[2][0])


def _direct(x, filters, b, five, framed, z):
    """`direct_lines` for all parts."""
    M, given = len(framed), (x, filters, b, five)
    by_threads(
        lambda m: direct_lines(*given, m, M, LINES, framed[0], z),
        lambda: direct_parts(*given, LINES, framed, z),
        M,
    )


def _winograd(x, filters, b, padding, mem, z):
    """`winograd_lines` for all parts."""
    M, rooms, given = len(mem.strip), mem[5:9], (x, filters, b, mem.none, *padding)

    def part(m):
        winograd_lines(*given, m, M, mem.most, *(room[0] for room in rooms), z)

    by_threads(part, lambda: winograd_parts(*given, mem.most, *rooms, z), M)


def bias_gradient(dz, db):
    """Sum errors over images and pixels, a large batch in parts."""
    rows = dz.reshape(-1, dz.shape[-1])
    sums = np.empty((max(1, min(PARTS, dz.size // SUMMED)), db.size), db.dtype)
    M, R = len(sums), len(rows)
    in_threads(lambda m: bias_gradient_into(rows[m * R // M : (m + 1) * R // M], sums[m]), M)
    db[:] = _added(sums)


def backward(dz, x, w, how, mem, dx, dw, db):
    """Carry a gradient back through `forward`; where dx is None it is not computed."""
    bias_gradient(dz, db)
    if isinstance(mem, Patches):
        into = np.empty((0, 0, 0, 0), dz.dtype) if dx is None else dx
        flat, M = (*w.shape[2:], *how[0], *how[1], *how[2]), len(mem.p)
        pack_filters(w, mem.forth, mem.back)

        def part(m):
            room = mem.p[0], mem.errors[0]
            conv_lines_backward(dz, x, mem.back, flat, m, M, *room, into, mem.sums[m])

        def together():
            conv_parts_backward(dz, x, mem.back, flat, mem.p, mem.errors, into, mem.sums)

        by_threads(part, together, M)
        _patch_sums(mem, dw)
        return
    _filters(dz, x, w, how, mem, dw)
    if dx is not None:
        adjoint(dz, w, mem.none[: w.shape[1]], how, mem, dx)


def adjoint(dz, w, b, how, mem, dx):
    """Compute the dx of `backward` alone, on top of b: a transposed convolution of dz."""
    if isinstance(mem, Direct) and mem.few is not None:
        mem = mem.few
    if isinstance(mem, Patches):
        flat, M = (*w.shape[2:], *how[0], *how[1], *how[2]), len(mem.p)
        pack_filters(w, mem.forth, mem.back)
        in_threads(lambda m: conv_lines_input(dz, mem.back, b, flat, m, M, mem.p[m], dx), M)
    elif isinstance(mem, Direct):
        pack_rows(w, True, mem.back)  # turned round, over the errors
        _direct(dz, mem.back, b, turned(_in_lines(w, how)), mem.around, dx)
    else:
        (P, Q), _ = how[1], pack_values(w, True, mem.room, mem.back)
        _winograd(dz, mem.back, b, (2 - P, 2 - Q), mem, dx)


def adjoint_backward(dz, x, w, how, mem, dx, dw, db):
    """Carry a gradient back through `adjoint`, by its own convolution; dx may be None."""
    bias_gradient(dz, db)
    if isinstance(mem, Patches) and dx is not None:
        flat, M = (*w.shape[2:], *how[0], *how[1], *how[2]), len(mem.p)
        pack_filters(w, mem.forth, mem.back)

        def part(m):
            room = mem.p[m], mem.errors[m]
            adjoint_lines_backward(dz, x, mem.forth, flat, m, M, *room, dx, mem.sums[m])

        in_threads(part, M)
        _patch_sums(mem, dw)
        return
    if isinstance(mem, Patches):
        backward(x, dz, w, how, mem, None, dw, np.empty(w.shape[0], w.dtype))
        return
    _filters(x, dz, w, how, mem, dw)
    if dx is not None:
        forward(dz, w, mem.none[: w.shape[0]], how, mem, dx)


def _patch_sums(mem, dw):
    """Put the sum of the gradients of all parts where it belongs."""
    _, C, U, V = dw.shape
    total = _added(mem.sums).reshape(-1, U, V, C, dw.shape[0] // mem.sums.shape[1])
    dw[:] = total.transpose(0, 4, 3, 1, 2).reshape(dw.shape)


def _filters(dz, x, w, how, mem, dw):
    """The gradient of the filters, as the lines lie or by Winograd's way."""
    K, C, U, V = w.shape
    if isinstance(mem, Direct):
        five, M = _in_lines(w, how), len(mem.framed)

        def direct_part(m):
            room = mem.framed[0], mem.errors[0]
            direct_lines_dw(dz, x, five, m, M, LINES, *room, mem.sums[m])

        def direct_together():
            direct_parts_dw(dz, x, five, LINES, mem.framed, mem.errors, mem.sums)

        by_threads(direct_part, direct_together, M)
        total = _added(mem.sums).reshape(U, V, C, K)
        dw[:] = total.transpose(3, 2, 0, 1)
        return

    width, M, (P, Q) = mem.forth.shape[3], len(mem.strip), how[1]
    rooms = mem.strip, mem.lines, mem.values, mem.errors, mem.parts

    def winograd_part(m):
        own = (room[0] for room in rooms[:4])
        winograd_lines_dw(dz, x, P, Q, m, M, mem.most, width, *own, mem.parts[m])

    by_threads(winograd_part, lambda: winograd_parts_dw(dz, x, P, Q, mem.most, width, *rooms), M)
    unpack_values(_added(mem.parts), mem.room, dw)


def _added(parts):
    """Return the sum of what all parts have computed, added in order."""
    for more in parts[1:]:
        parts[0] += more
    return parts[0]
