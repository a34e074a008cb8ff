"""How many threads a kernel uses, decided once for the package.

- A kernel large enough to gain from it uses Numba's threads, all of them unless
  ``numba.set_num_threads`` or ``NUMBA_NUM_THREADS`` say otherwise. A small one uses one thread.
- Work is cut into parts that do not depend on the number of threads, and no two threads add to
  the same number. The same seed therefore gives the same bits on one thread and on many.
- BLAS is only called by literal kernels and, through ``np.dot``, on processors without a register
  tile. A kernel that runs on Numba's threads never calls it, so the two pools do not compete
  within one kernel. Their idle threads may: around parallel kernels BLAS does best with one
  thread (``OPENBLAS_NUM_THREADS=1``), as in the book's build and its benchmarks. How it rounds
  depends on how many rows it gets, so these never depend on the number of threads.
- OpenMP's threads spin for a while when they have nothing to do. Where every core is theirs that
  is quick; where another program wants a core, a parallel kernel may wait for milliseconds, and
  ``OMP_WAIT_POLICY=passive`` (set before Python starts) lets them sleep. The book is built with it.

The package changes none of these settings in the reader's process, with one exception: a process
that is *forked* after kernels have run on OpenMP's threads has none of them, and GNU's library would
end it. There the kernels run on one thread, with the same results; where the child starts threads
of its own, each of them has to say ``numba.set_num_threads(1)`` before it calls a kernel. Processes
that are *spawned* have threads of their own and are the better choice where they are to be quick:
``multiprocessing.get_context("spawn")``.
"""

import contextlib
import itertools
import os
from ctypes import CFUNCTYPE, c_int64, c_void_p, cast

from llvmlite import ir
from numba import get_num_threads, prange, set_num_threads, threading_layer, types
from numba.core import cgutils, config
from numba.extending import intrinsic

from dlbook.tools.jit import njit_fast

__all__ = ["by_threads", "in_threads", "threads"]


@intrinsic
def _threads(context):
    """Return the number of threads Numba is set to; for kernels that call a parallel kernel.

    Numba's own `get_num_threads` does the same and keeps the kernel out of the disk cache.
    """

    def emit(context, builder, signature, args):
        kind = ir.FunctionType(cgutils.intp_t, [])
        ask = cgutils.get_or_insert_function(builder.module, kind, "get_num_threads")
        return builder.call(ask, [])

    return types.intp(), emit


threads = (lambda: 1) if config.DISABLE_JIT else _threads


def _alone():
    """Do without threads in a forked process, which has none of those that were started."""
    with contextlib.suppress(ValueError):  # none were started
        if threading_layer() == "omp":  # the others can start anew
            set_num_threads(1)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_alone)


# Python on Numba's threads


@intrinsic
def _call(context, address, job, m):
    """Call the function of two whole numbers that stands at an address."""

    def emit(context, builder, signature, arguments):
        address, *given = arguments
        kind = ir.FunctionType(ir.VoidType(), [cgutils.intp_t] * 2)
        builder.call(builder.inttoptr(address, kind.as_pointer()), given)
        return context.get_dummy_value()

    return types.void(types.intp, types.intp, types.intp), emit


@njit_fast(parallel=True)
def _side_by_side(address, job, parts):
    """Call the function at an address with the job and each of 0 … parts − 1, by all threads
    (), (), () -> ()
    """
    for m in prange(parts):
        _call(address, job, m)


_jobs, _numbers = {}, itertools.count()


@CFUNCTYPE(None, c_int64, c_int64)
def _do(job, m):
    """Do a part of a job, on one thread; what goes wrong is kept for the one who waits."""
    part, wrong = _jobs[job]
    before = get_num_threads()
    try:
        set_num_threads(1)
        part(m)
    except BaseException as error:
        wrong.append(error)
    finally:
        set_num_threads(before)


_ADDRESS = cast(_do, c_void_p).value


def by_threads(part, together, parts):
    """Call together(), a parallel kernel, where there are threads for it, else part(0), part(1), …

    For kernels that run for less than a millisecond. The parts that are called one after the other
    may share memory, which stays in the cache.
    """
    if not config.DISABLE_JIT and min(get_num_threads(), parts) > 1:
        together()
    else:
        for m in range(parts):
            part(m)


def in_threads(part, parts):
    """Call part(0), part(1), … part(parts − 1), side by side where there are threads for it.

    For kernels that run for long and call many others, which let go of Python's lock while they
    run: it costs some fifty microseconds, where ``parallel=True`` in each costs a second of
    compiling. The threads are Numba's own, so that those of parallel kernels, which spin, are not
    in the way.
    """
    count = 1 if config.DISABLE_JIT else get_num_threads()
    if min(count, parts) <= 1:
        for m in range(parts):
            part(m)
        return
    job, wrong = next(_numbers), []
    _jobs[job] = part, wrong
    try:
        _side_by_side(_ADDRESS, job, parts)
    finally:
        del _jobs[job]
    if wrong:
        raise wrong[0]
