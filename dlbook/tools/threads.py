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
import functools
import os
from concurrent.futures import ThreadPoolExecutor

from llvmlite import ir
from numba import get_num_threads, set_num_threads, threading_layer, types
from numba.core import cgutils, config
from numba.extending import intrinsic

__all__ = ["in_threads", "threads"]


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


@functools.lru_cache(maxsize=1)
def _pool(count):
    """Threads that wait for work."""
    return ThreadPoolExecutor(count)


def _alone():
    """Do without threads in a forked process, which has none of those that were started."""
    _pool.cache_clear()
    with contextlib.suppress(ValueError):  # none were started
        if threading_layer() == "omp":  # the others can start anew
            set_num_threads(1)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_alone)


def in_threads(part, parts):
    """Call part(0), part(1), … part(parts − 1), side by side where there are threads for it.

    For kernels that run for long and call many others, which let go of Python's lock while they
    run: it costs some ten microseconds, where ``parallel=True`` costs seconds of compiling.
    """
    count = 1 if config.DISABLE_JIT else get_num_threads()
    if min(count, parts) <= 1:
        for m in range(parts):
            part(m)
    else:
        list(_pool(count).map(part, range(parts)))
