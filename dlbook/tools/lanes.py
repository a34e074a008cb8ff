"""Several neighbours of an array as one value, for loops that a compiler does not turn into vectors.

LLVM computes with whole vectors where it can see that what a loop writes is not what it reads next,
or can ask so beforehand. With six places to read and six to write it asks some two hundred
instructions for a loop that, over a row of thirty-two numbers, is half as long. Here the loop says
itself what is read together: ``v = load(x, at, like)`` are as many numbers of x as `like` has, v + w,
v − w, v · w and c · v are computed with all of them, and ``store(x, at, v)`` writes them. What is
written between a load and its use is not seen, which is for the caller to know.

Without compilation the same are short arrays of NumPy.
"""

import operator

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import config
from numba.core.errors import NumbaTypeError
from numba.extending import intrinsic, models, overload, register_model

from dlbook.tools.simd import SHAPE

__all__ = ["NARROW", "WIDE", "Lanes", "lanes", "load", "store"]

FLAGS = ("reassoc", "contract", "nsz", "arcp")
WIDE, NARROW = SHAPE.bytes // 4, 4  # numbers of four bytes in a vector, and in a part of one


class Lanes(types.Type):
    """So many numbers of a dtype side by side."""

    def __init__(self, dtype, count):
        self.dtype, self.count = dtype, count
        super().__init__(f"Lanes({dtype}, {count})")


@register_model(Lanes)
class _Model(models.PrimitiveModel):
    """A vector of LLVM."""

    def __init__(self, manager, kind):
        number = manager.lookup(kind.dtype).get_value_type()
        super().__init__(manager, kind, ir.VectorType(number, kind.count))


def _spread(builder, number, whole):
    """Emit a number in every lane."""
    short, none = ir.IntType(32), ir.Constant(whole, ir.Undefined)
    first = builder.insert_element(none, number, short(0))
    nought = ir.Constant(ir.VectorType(short, whole.count), [0] * whole.count)
    return builder.shuffle_vector(first, none, nought)


@intrinsic(prefer_literal=True)
def _lanes(context, number, count):
    """Return so many times a number."""
    kind = Lanes(types.unliteral(number), count.literal_value)

    def emit(context, builder, signature, arguments):
        return _spread(builder, arguments[0], context.get_value_type(kind))

    return kind(number, count), emit


def _same(x, kind):
    """Refuse numbers of another dtype, and an array that has no order of places."""
    if not isinstance(kind, Lanes) or x.dtype != kind.dtype or x.ndim != 1 or x.layout != "C":
        raise NumbaTypeError(f"no {kind} can be read in {x} or written there")


def _place(context, builder, signature, x, at, kind):
    """Return where a vector begins."""
    data = context.make_array(signature.args[0])(context, builder, x).data
    return builder.bitcast(builder.gep(data, [at]), context.get_value_type(kind).as_pointer())


@intrinsic
def _load(context, x, at, like):
    """Return the numbers from one place on."""
    _same(x, like)

    def emit(context, builder, signature, arguments):
        place = _place(context, builder, signature, *arguments[:2], like)
        return builder.load(place, align=like.dtype.bitwidth // 8)

    return like(x, types.uintp, like), emit


@intrinsic
def _store(context, x, at, v):
    """Write the numbers from one place on."""
    _same(x, v)

    def emit(context, builder, signature, arguments):
        place = _place(context, builder, signature, *arguments[:2], v)
        builder.store(arguments[2], place, align=v.dtype.bitwidth // 8)
        return context.get_dummy_value()

    return types.void(x, types.uintp, v), emit


def _computed(operation, name):
    """Let an operation take lanes, or a number and lanes."""

    @intrinsic
    def both(context, x, y):
        kind = x if isinstance(x, Lanes) else y

        def emit(context, builder, signature, arguments):
            whole = context.get_value_type(kind)
            x, y = (a if a.type == whole else _spread(builder, a, whole) for a in arguments)
            return getattr(builder, name)(x, y, flags=FLAGS)

        return kind(x, y), emit

    @overload(operation)
    def of_lanes(x, y):
        kinds = [a for a in (x, y) if isinstance(a, Lanes)]
        fit = kinds and all(a in (kinds[0], kinds[0].dtype) for a in (x, y))
        return (lambda x, y: both(x, y)) if fit else None


_computed(operator.add, "fadd")
_computed(operator.sub, "fsub")
_computed(operator.mul, "fmul")


def _lanes_slowly(number, count):
    return np.full(count, number)


def _load_slowly(x, at, like):
    return x[int(at) : int(at) + like.size].copy()


def _store_slowly(x, at, v):
    x[int(at) : int(at) + v.size] = v


SLOWLY = config.DISABLE_JIT
lanes = _lanes_slowly if SLOWLY else _lanes
load = _load_slowly if SLOWLY else _load
store = _store_slowly if SLOWLY else _store
