"""The machine-near code of the book: a register tile for matrix products, and what fills panels.

A processor of today multiplies and adds whole vectors of numbers, and it does so at full speed
only while its operands are in registers. Numba cannot be told to keep a small array there, so the
innermost piece of the matrix product is written here as an *intrinsic*: a Python function that,
while a kernel is being compiled, emits instructions of LLVM (the compiler below Numba) one by
one. Everything around it, which panels, in which order, by how many threads, is plain Numba in
`matmul`.

Where the processor has no such vectors, `TILE` is None and the product is left to ``np.dot``. The
environment variable ``DLBOOK_SIMD`` asks for ``avx512``, ``avx2`` or ``none`` by hand. As plain
Python (``NUMBA_DISABLE_JIT=1``) there is no tile either, and any processor can be asked for the
panels of any of them.
"""

import functools
import math
import os
from typing import NamedTuple

import numpy as np
from llvmlite import ir
from llvmlite.binding import get_host_cpu_features
from numba import types
from numba.core import cgutils, config
from numba.core.errors import NumbaTypeError
from numba.core.imputils import impl_ret_borrowed
from numba.extending import intrinsic

__all__ = [
    "SHAPE",
    "SQUARE",
    "TILE",
    "TILES",
    "Tile",
    "able",
    "aligned",
    "any_layout",
    "largest",
    "move",
    "tile",
    "tile_for",
    "turn",
]

LINE = 64  # bytes that a cache fetches at once
SQUARE = 8  # rows and columns that are turned at once


class Tile(NamedTuple):
    """The shape of the register tile: `rows` × (`vectors` · numbers in a vector) running sums."""

    rows: int
    vectors: int  # side by side in a row of the tile
    bytes: int  # length of one vector
    needs: tuple  # features of the processor

    def width(self, dtype):
        """Return the columns of the tile for a NumPy dtype."""
        return self.vectors * self.bytes // dtype.itemsize


# 24 of the 32 registers of AVX-512 and 12 of the 16 of AVX2 hold sums, the rest what is being
# multiplied. Both leave enough sums on their way that no multiply-add waits for the one before it:
# two units, each taking four cycles, are kept busy by eight.
TILES = {
    "avx512": Tile(12, 2, 64, ("avx512f",)),
    "avx2": Tile(6, 2, 32, ("avx2", "fma")),
}


def able(features=None):
    """Return the names of the tiles that a processor can execute, this one where none is given."""
    features = get_host_cpu_features() if features is None else features
    return [name for name, tile in TILES.items() if all(features.get(f) for f in tile.needs)]


def tile_for(features, choice=None):
    """Return the tile for a processor, or None.

    Parameters
    ----------
    features : mapping of str to bool
        What the processor has, named as LLVM names it.
    choice : {"avx512", "avx2", "none"}, optional
        What the reader asks for; the widest that the processor has where not given.

    Raises
    ------
    ValueError
        If the choice is none of these, or the processor cannot do it.
    """
    names = able(features)
    if choice is None:
        return TILES[names[0]] if names else None
    if choice not in (*names, "none"):
        raise ValueError(f"DLBOOK_SIMD is {choice!r}, expected one of {[*names, 'none']} here")
    return TILES.get(choice)


CHOICE = os.environ.get("DLBOOK_SIMD") or None
TILE = None if config.DISABLE_JIT else tile_for(get_host_cpu_features(), CHOICE)
SHAPE = TILE or TILES.get(CHOICE, TILES["avx512"])  # of panels, which np.dot can read as well


def aligned(shape, dtype):
    """Return zeros whose first number begins a line of the cache, so that vectors lie in one."""
    count, dtype = math.prod(shape), np.dtype(dtype)
    room = np.zeros(count * dtype.itemsize + LINE, np.uint8)
    first = -room.ctypes.data % LINE
    return room[first : first + count * dtype.itemsize].view(dtype).reshape(shape)


@intrinsic(prefer_literal=True)
def tile(context, rows, vectors, a, i, panel, c, j, columns, more):
    """Compute c[i:i+rows, j:j+columns] (+)= a[i:i+rows, :] · panel, with all sums in registers.

    To be called in compiled code. `rows` and `vectors`, those of a row of the tile, are constants;
    a (I, K) has any strides, each row of the panel (K, width) is contiguous, and so is each of c.
    K may be two axes of a, the first of them slower. The tile starts from zero, or from what c holds if `more`. Its columns beyond `columns` are
    computed and not stored. Shapes are trusted.
    """
    if TILE is None:
        raise NumbaTypeError("this processor has no register tile; use np.dot")
    bits = a.dtype.bitwidth
    lanes = TILE.bytes * 8 // bits  # numbers in a vector

    def emit(context, builder, signature, arguments):
        builder.function.attributes.add("noinline")  # one copy for all who call it: compiled sooner

        # The types: a number, a vector of them, a truth value for each, whole numbers
        number = ir.FloatType() if bits == 32 else ir.DoubleType()
        vector, truths = ir.VectorType(number, lanes), ir.VectorType(ir.IntType(1), lanes)
        whole, short = ir.IntType(64), ir.IntType(32)
        down, across = range(rows.literal_value), range(vectors.literal_value)

        def const(n):
            return ir.Constant(whole, n)

        def at(pointer, *steps):  # the address some numbers further on
            for step in steps:
                pointer = builder.gep(pointer, [step])
            return pointer

        def spread(value, kind):  # the same value in every lane
            first = builder.insert_element(ir.Constant(kind, ir.Undefined), value, short(0))
            lane = ir.Constant(ir.VectorType(short, lanes), [0] * lanes)
            return builder.shuffle_vector(first, ir.Constant(kind, ir.Undefined), lane)

        def instruction(name, returns, *takes):
            kind = ir.FunctionType(returns, takes)
            return cgutils.get_or_insert_function(builder.module, kind, f"llvm.{name}")

        suffix, place = f"v{lanes}f{bits}", vector.as_pointer()
        multiply_add = instruction(f"fma.{suffix}", vector, vector, vector, vector)
        load = instruction(f"masked.load.{suffix}.p0", vector, place, short, truths, vector)
        store = instruction(
            f"masked.store.{suffix}.p0", ir.VoidType(), vector, place, short, truths
        )

        # Where the operands lie, with strides counted in numbers
        _, _, _, i_, _, _, j_, columns_, more_ = arguments
        A, P, C = (
            context.make_array(signature.args[n])(context, builder, arguments[n]) for n in (2, 4, 5)
        )
        size = const(bits // 8)
        a_row, *a_steps = (builder.sdiv(s, size) for s in cgutils.unpack_tuple(builder, A.strides))
        c_row, p_row = (
            builder.sdiv(cgutils.unpack_tuple(builder, x.strides)[0], size) for x in (C, P)
        )
        _, *sides = cgutils.unpack_tuple(builder, A.shape)
        depth = functools.reduce(builder.mul, sides)
        a_first = at(A.data, builder.mul(i_, a_row))
        c_first = at(C.data, builder.mul(i_, c_row), j_)
        a_down = [builder.mul(a_row, const(r)) for r in down]

        # The places of the tile in c, and which of its columns are there
        counting = ir.VectorType(whole, lanes)
        exists = [
            builder.icmp_signed(
                "<",
                ir.Constant(counting, [v * lanes + lane for lane in range(lanes)]),
                spread(columns_, counting),
            )
            for v in across
        ]
        c_places = [
            [
                builder.bitcast(at(c_first, builder.mul(c_row, const(r)), const(v * lanes)), place)
                for v in across
            ]
            for r in down
        ]
        aligned = short(bits // 8)

        # The sums start at zero, or at what c holds
        before = builder.basic_block
        held, head, body, done = (
            builder.append_basic_block(name) for name in ("held", "head", "body", "done")
        )
        builder.cbranch(more_, held, head)
        builder.position_at_end(held)
        zero = ir.Constant(vector, [0.0] * lanes)
        start = [
            [builder.call(load, [c_places[r][v], aligned, exists[v], zero]) for v in across]
            for r in down
        ]
        builder.branch(head)

        # k = 0, 1, … while k < depth
        builder.position_at_end(head)
        k, where, until = (builder.phi(whole) for _ in range(3))  # … the slower axis steps
        sums = [[builder.phi(vector) for _ in across] for _ in down]
        builder.cbranch(builder.icmp_signed("<", k, depth), body, done)

        # sums[r][v] += a[i + r, k] * panel[k, v]: one load and one spread serve many sums
        builder.position_at_end(body)
        a_k, p_k = at(a_first, where), at(P.data, builder.mul(k, p_row))
        right = [
            builder.load(builder.bitcast(at(p_k, const(v * lanes)), place), align=bits // 8)
            for v in across
        ]
        for r in down:
            left = spread(builder.load(at(a_k, a_down[r])), vector)
            for v in across:
                total = builder.call(multiply_add, [left, right[v], sums[r][v]])
                sums[r][v].add_incoming(total, body)
                sums[r][v].add_incoming(zero, before)
                sums[r][v].add_incoming(start[r][v], held)
        on, less = builder.add(where, a_steps[-1]), builder.sub(until, const(1))
        if len(sides) == 2:
            jump = builder.sub(a_steps[0], builder.mul(sides[1], a_steps[1]))
            turn_over = builder.icmp_signed("==", less, const(0))
            on = builder.select(turn_over, builder.add(on, jump), on)
            less = builder.select(turn_over, sides[-1], less)
        for block in (before, held):
            k.add_incoming(const(0), block)
            where.add_incoming(const(0), block)
            until.add_incoming(sides[-1], block)
        k.add_incoming(builder.add(k, const(1)), body)
        where.add_incoming(on, body)
        until.add_incoming(less, body)
        builder.branch(head)

        # Masks cost many cycles on some processors, so whole rows are stored without
        builder.position_at_end(done)
        whole_rows = builder.icmp_signed(">=", columns_, const(len(across) * lanes))
        with builder.if_else(whole_rows) as (all_there, some_there):
            with all_there:
                for r in down:
                    for v in across:
                        builder.store(sums[r][v], c_places[r][v], align=bits // 8)
            with some_there:
                for r in down:
                    for v in across:
                        builder.call(store, [sums[r][v], c_places[r][v], aligned, exists[v]])
        return context.get_dummy_value()

    i = j = columns = types.intp
    return types.void(rows, vectors, a, i, panel, c, j, columns, types.boolean), emit


@intrinsic
def _any_layout(context, x):
    """Return the same array, typed without regard to its order in memory.

    A kernel is compiled once for each order of each argument. Behind this it is compiled once.
    """

    def emit(context, builder, signature, arguments):
        return impl_ret_borrowed(context, builder, signature.return_type, arguments[0])

    return x.copy(layout="A")(x), emit


@intrinsic
def _largest(context, x, y):
    """Return the larger of two numbers; unlike ``max``, a loop of it becomes vectors.

    With NaN the result may be either number, so what calls this must let NaN through another way,
    as softmax does through its sum.
    """

    def emit(context, builder, signature, arguments):
        kind = ir.FunctionType(arguments[0].type, [arguments[0].type] * 2)
        name = f"llvm.maxnum.f{signature.return_type.bitwidth}"
        maximum = cgutils.get_or_insert_function(builder.module, kind, name)
        return builder.call(maximum, arguments, fastmath=("nnan", "nsz"))

    return x(x, x), emit


@intrinsic
def _turn(context, a, i, j, c, k, w):
    """Copy a[i:i+8, j:j+8] to c[k:k+8, w:w+8]; a is contiguous along its first axis, c its last.

    Eight columns of a are loaded as vectors. Interleaving the first half of them with the second
    three times makes rows of them, which are stored: no number is moved by itself.
    """
    if a.dtype != c.dtype:
        raise NumbaTypeError(f"numbers of {a.dtype} cannot be copied to {c.dtype}")

    def emit(context, builder, signature, arguments):
        a, i, j, c, k, w = arguments
        number, whole = context.get_data_type(signature.args[0].dtype), ir.IntType(64)
        vector, short = ir.VectorType(number, SQUARE), ir.IntType(32)
        size = context.get_abi_sizeof(number)

        def place(kind, array, *index):  # where a vector begins
            array = context.make_array(kind)(context, builder, array)
            steps = map(builder.mul, cgutils.unpack_tuple(builder, array.strides), index)
            first = builder.bitcast(array.data, ir.IntType(8).as_pointer())
            return builder.bitcast(builder.gep(first, [builder.add(*steps)]), vector.as_pointer())

        def interleave(x, y, first):  # x_first, y_first, x_first+1, …
            pairs = [lane for n in range(first, first + SQUARE // 2) for lane in (n, n + SQUARE)]
            return builder.shuffle_vector(x, y, ir.Constant(ir.VectorType(short, SQUARE), pairs))

        kind, into, half = signature.args[0], signature.args[3], SQUARE // 2
        further = [ir.Constant(whole, n) for n in range(SQUARE)]
        rows = [builder.load(place(kind, a, i, builder.add(j, n)), align=size) for n in further]
        for _ in range(3):
            pairs = zip(rows[:half], rows[half:], strict=True)
            rows = [interleave(x, y, first) for x, y in pairs for first in (0, half)]
        for n, row in zip(further, rows, strict=True):
            builder.store(row, place(into, c, builder.add(k, n), w), align=size)
        return context.get_dummy_value()

    at = types.intp
    return types.void(a, at, at, c, at, at), emit


@intrinsic
def _move(context, a, i, j, c, k, w):
    """Copy a vector of numbers from a[i, j] on to c[k, w]; both are contiguous along their last axis."""
    if a.dtype != c.dtype:
        raise NumbaTypeError(f"numbers of {a.dtype} cannot be copied to {c.dtype}")

    def emit(context, builder, signature, arguments):
        a, i, j, c, k, w = arguments
        number = context.get_data_type(signature.args[0].dtype)
        size = context.get_abi_sizeof(number)
        vector = ir.VectorType(number, SHAPE.bytes // size)

        def place(kind, array, *index):  # where a vector begins
            array = context.make_array(kind)(context, builder, array)
            steps = map(builder.mul, cgutils.unpack_tuple(builder, array.strides), index)
            first = builder.bitcast(array.data, ir.IntType(8).as_pointer())
            return builder.bitcast(builder.gep(first, [builder.add(*steps)]), vector.as_pointer())

        found = builder.load(place(signature.args[0], a, i, j), align=size)
        builder.store(found, place(signature.args[3], c, k, w), align=size)
        return context.get_dummy_value()

    at = types.intp
    return types.void(a, at, at, c, at, at), emit


def _move_slowly(a, i, j, c, k, w):
    count = SHAPE.bytes // a.itemsize
    c[k, w : w + count] = a[i, j : j + count]


def _turn_slowly(a, i, j, c, k, w):
    c[k : k + SQUARE, w : w + SQUARE] = a[i : i + SQUARE, j : j + SQUARE]


any_layout = (lambda x: x) if config.DISABLE_JIT else _any_layout
largest = max if config.DISABLE_JIT else _largest
turn = _turn_slowly if config.DISABLE_JIT else _turn
move = _move_slowly if config.DISABLE_JIT else _move
