"""IPython's shell, in which the cells of a notebook run as they do in Jupyter.

Magics, ``await``, ``_`` and ``get_ipython`` are IPython's own. Programs are not started, because
a notebook that installs packages would change the environment of whoever checks it, and figures
open no window.
"""

import sys

from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.text import SList
from traitlets.config import Config

__all__ = ["Shell"]


class Shell(InteractiveShell):
    """Runs cells and keeps what went wrong in them."""

    cell = ""  # the name of the one that runs
    met = None  # the exception that ended it

    @classmethod
    def begin(cls, main, scratch):
        """Return the shell of this process, whose names are those of a module.

        Parameters
        ----------
        main : module
            Where the cells run.
        scratch : Path
            A folder for what IPython keeps.
        """
        scratch.mkdir(exist_ok=True)
        config = Config()
        config.HistoryManager.enabled = False
        shell = cls.instance(config=config, user_module=main, ipython_dir=str(scratch))
        shell.compile.get_code_name = lambda *args: shell.cell
        return shell

    def execute(self, name, source):
        """Run a cell, or raise what it raised."""
        self.cell, self.met = name, None
        result = self.run_cell(source, store_history=True)
        if error := result.error_before_exec or result.error_in_exec or self.met:
            raise error

    def showtraceback(self, exc_tuple=None, *args, **options):
        """Keep the exception, also where a magic would only show it."""
        self.met = (exc_tuple or sys.exc_info())[1]

    showsyntaxerror = showindentationerror = lambda self, *args, **options: None

    def system(self, cmd):
        """Start nothing."""

    def getoutput(self, cmd, split=True, depth=0):
        """Start nothing, and return what a program without output would give."""
        return SList() if split else ""

    def run_cell_magic(self, magic_name, line, cell):
        """Run a magic, unless it hands the cell to another program."""
        magic = self.find_cell_magic(magic_name)
        if getattr(magic, "__module__", "") == "IPython.core.magics.script":
            return None
        return super().run_cell_magic(magic_name, line, cell)

    def ask_exit(self):
        """Go on with the next cell."""

    def enable_gui(self, gui=None):
        """Open no window."""

    def enable_matplotlib(self, gui=None):
        """Leave figures undrawn."""
        return "", "agg"
