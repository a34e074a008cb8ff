"""A process that runs sides: `serve` answers a `run.Remote`, `first` sets up, calls and ends."""

import importlib
import os
import sys


def find(module, name):
    """Return a row of a module."""
    return next(row for row in importlib.import_module(module).ROWS if row.name == name)


def first(module, name, side):
    """Set one side up and call it once."""
    row = find(module, name)
    call, _ = row.sides[side](**row.size)
    call()


def serve(module, name, descriptor, cpus):
    """Call the methods of a `run.Bench` that are asked for, until the other end closes."""
    from multiprocessing.connection import Connection

    from benchmarks.run import Bench, SideError, reason

    if cpus:
        os.sched_setaffinity(0, map(int, cpus.split(",")))
    connection, bench = Connection(int(descriptor)), Bench(find(module, name))
    while True:
        try:
            method, *arguments = connection.recv()
        except EOFError:
            return
        try:
            answer = getattr(bench, method)(*arguments)
        except Exception as error:
            answer = SideError(reason(error, arguments[0]))
        connection.send(answer)


if __name__ == "__main__":
    (first if len(sys.argv) == 4 else serve)(*sys.argv[1:])
