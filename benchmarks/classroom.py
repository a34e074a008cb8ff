"""What the page *For a class* says was measured: ``python -m benchmarks.classroom convolution``.

The first training in a home of its own, with nothing compiled and with the kernels of another home;
the memory of a notebook's kernel that ran a chapter; and a folder of 200 hand-ins that is checked.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks import machine

ROOT = Path(__file__).resolve().parents[1]
CACHE = Path(".cache", "dlbook")
TRAINING = """
import numpy as np
from dlbook.nets import MLP, fit
from dlbook.optimization import Adam
from dlbook.tools import data
rng, split, net = np.random.default_rng(1), data.digits(), MLP((64, 30, 10))
train = split.x_train, split.y_train
begun = time.process_time()
fit(net, net.init(rng), train, Adam(0.001), rng, epochs=1, batch=50)
"""
COUNTED = """
kernels = {id(k): k for name, module in list(sys.modules.items()) if name.startswith("dlbook")
           for k in vars(module).values() if hasattr(k, "py_func")}.values()
print(json.dumps({
    "compiled": sum(sum(k.stats.cache_misses.values()) for k in kernels),
    "loaded": sum(sum(k.stats.cache_hits.values()) for k in kernels),
    "seconds": time.process_time() - begun,
    "MiB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
}))
"""

# What a class of exercises hands in: right, a known mistake, a wrong choice, a loop without end
HEAD = "import numpy as np\nfrom dlbook.exercises import check"
BP2 = """\
def my_bp2(w, delta, z):
    a = 1 / (1 + np.exp(-z))
    return {}

check("backprop-bp2", my_bp2)"""
RIGHT = BP2.format("(w.T @ delta) * a * (1 - a)")
HANDED_IN = {
    "ada": (RIGHT, 'check("backprop-break", "ace")'),
    "ben": (BP2.format("w.T @ delta"), 'check("backprop-break", "ace")'),
    "cleo": (RIGHT, 'check("backprop-break", "bd")'),
    "dora": ("while True:\n    pass", 'check("backprop-break", "ace")'),
}


def in_home(home, code, **environment):
    """Run code in a process of somebody who has this home, and return what was counted there.

    Parameters
    ----------
    home : Path
        Compiled kernels are looked for in its `.cache`, as for any user of Linux.
    code : str
        Sets `begun` where counting seconds of the processor begins.
    **environment
        Variables to add.

    Returns
    -------
    dict
        How many kernels were compiled and loaded, "seconds" of the processor, the peak of "MiB".
    """
    own = ("DLBOOK_CACHE_DIR", "XDG_CACHE_HOME")
    env = {name: value for name, value in os.environ.items() if name not in own}
    env |= {"HOME": str(home), "PYTHONPATH": str(ROOT)} | environment
    head = "import json, resource, sys, time\nbegun = 0\n"
    done = subprocess.run(
        [sys.executable, "-c", head + code + COUNTED],
        cwd=ROOT,
        env=env,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise RuntimeError(done.stderr)
    return json.loads(done.stdout.splitlines()[-1])


def copied(home, other):
    """Copy the compiled kernels of a home into another, as `cp -r` does."""
    shutil.copytree(home / CACHE, other / CACHE)


def hand_in(folder, students):
    """Write the notebooks of {student: one of HANDED_IN}, each into a folder of its own."""
    for student, kind in students.items():
        sources = (HEAD, *HANDED_IN[kind])
        made = [{"cell_type": "code", "source": source} for source in sources]
        book = {"cells": made, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
        path = folder / student / "08-backprop.ipynb"
        path.parent.mkdir(parents=True)
        path.write_text(json.dumps(book), encoding="utf-8")


def memory(stem):
    """Return the peak of MiB of a notebook's kernel that ran a page from its first cell to its last."""
    import jupytext
    import nbformat
    from nbclient import NotebookClient

    notebook = jupytext.read(ROOT / "book" / f"{stem}.md")
    last = "import resource\nprint(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)"
    notebook.cells.append(nbformat.v4.new_code_cell(last))
    where = {"metadata": {"path": str(ROOT / "book")}}
    NotebookClient(notebook, timeout=900, kernel_name="python3", resources=where).execute()
    return int(notebook.cells[-1].outputs[0]["text"])


def main():
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("stems", nargs="*", help="chapters whose memory is measured")
    stems = parser.parse_args().stems
    print(machine.processor(), os.cpu_count(), "processors")
    with tempfile.TemporaryDirectory() as folder:
        one, two = Path(folder, "one"), Path(folder, "two")
        print("nothing compiled:", in_home(one, TRAINING))
        copied(one, two)
        print("kernels of another home:", in_home(two, TRAINING))
        for stem in stems:
            print(stem, [memory(stem) for _ in range(2)], "MiB, the first time and again")
        kinds = ["ada"] * 150 + ["ben"] * 40 + ["cleo"] * 8 + ["dora"] * 2
        hand_in(Path(folder, "hand-in"), {f"student-{k:03d}": kind for k, kind in enumerate(kinds)})
        command = [sys.executable, "-m", "dlbook", "check", "hand-in", "--seconds", "20"]
        env = os.environ | {"PYTHONPATH": str(ROOT)}
        subprocess.run(command, cwd=folder, env=env, stdout=subprocess.DEVNULL)


if __name__ == "__main__":
    main()
