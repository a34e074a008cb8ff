"""Build the book once for all tests of a session that read what the build leaves."""

import json
import os
import re
import shutil
import subprocess
import sys

import pytest
from pages import BOOK, ROOT

OUT = ROOT / "_build" / "html"


class Build:
    """What one run of Sphinx left: exit status, warnings, results.

    With ``DLBOOK_BUILT=1``, as `make test` asks where it has just built the book, the results alone.
    """

    status = warnings = None

    def __init__(self):
        if os.environ.get("DLBOOK_BUILT") != "1":
            self.run()
        self.equations, self.claims = self.load("equations"), self.load("claims")

    def run(self):
        """Build the book, with nothing left of an earlier build that could pass for its results."""
        shutil.rmtree(OUT / "reports", ignore_errors=True)  # old reports are never deleted
        for name in ("equations", "claims"):
            (OUT / f"{name}.json").unlink(missing_ok=True)
        command = [sys.executable, "-m", "sphinx", "-q", "-E", "-n", "-W", "--no-color"]
        where = ["-j", "auto", "-c", str(ROOT), str(BOOK), str(OUT)]
        run = subprocess.run([*command, *where], capture_output=True, text=True)
        self.status = run.returncode
        self.warnings = re.sub(r"\x1b\[[0-9;]*m", "", run.stderr)

    def load(self, name):
        """Return the results of one kind, or None if the build did not write them."""
        path = OUT / f"{name}.json"
        return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None

    def row(self, kind, label, where):
        """Return one result, or fail with the reason why there is none."""
        rows = getattr(self, kind)
        if rows is None:
            pytest.fail(
                f"{where}: {label}: the build wrote no results\n{self.warnings[-800:]}",
                pytrace=False,
            )
        if label not in rows:
            report = self.report(where.removeprefix("book/").split(".md")[0])
            why = f"the page stopped: {report.splitlines()[-1]}" if report else "no such check ran"
            pytest.fail(f"{where}: {label}: {why}", pytrace=False)
        return rows[label]

    def report(self, page):
        """Return the failed cell and its traceback, or an empty string."""
        path = OUT / "reports" / f"{page}.err.log"
        text = path.read_text(encoding="utf-8") if path.is_file() else ""
        text = re.sub(r"\x1b\[[0-9;]*m", "", text).strip()
        return text[max(0, text.find("An error occurred while executing")) :]
