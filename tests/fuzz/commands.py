"""What `dlbook` reads: command lines, notebooks and scripts, progress, requests of a browser.

What a learner wrote is meant to run, with the learner's rights; here it is read, compiled and
reported on as `dlbook check` does, and not run.
"""

import csv
import functools
import io
import json
import os
import shutil
import sys
import threading
import unicodedata
from pathlib import Path
from unittest import mock

from test_exercises import BROKEN, GOOD, HEAD, as_notebook

from dlbook import __main__ as command
from dlbook import exercises
from dlbook.exercises import grading, running, store
from dlbook.tools import built, starting
from fuzz import mutation
from fuzz.engine import Target
from fuzz.mutation import Raw

__all__ = ["CommandLines", "Notebooks", "Progress", "Requests", "Scripts"]


class Answers(Target):
    """Files that `dlbook check` is given."""

    traced = (running, grading)
    ending = ""

    def within(self, stack):
        """Do in this process what is done in one of its own, but for running the code."""
        main = sys.modules["__main__"]
        stack.callback(sys.modules.__setitem__, "__main__", main)
        stack.callback(exercises.shown.listeners.clear)
        nothing = lambda *arguments, **options: None
        for where, what, stand_in in (
            (running, "_settle", nothing),
            (running, "exec", nothing),
            (running.os, "_exit", nothing),
            (grading, "_attempt", self.attempt),
        ):
            stack.enter_context(mock.patch.object(where, what, stand_in, create=True))
        shell = {"dlbook.exercises.shell": None}  # its cells would run
        stack.enter_context(mock.patch.dict(sys.modules, shell))

    def attempt(self, context, path, answers, log, skip, seconds, stop):
        """Run a file once."""
        running.work(path, answers, log, skip, mock.Mock())
        return ""

    def accepts(self, case):
        path = self.put(case, f"answer{self.ending}")
        log, out = self.folder / "log", self.folder / "out"
        stop = threading.Event()
        report = grading._report(None, path, path.name, frozenset(), log, 9, stop)
        problems = report["problems"]
        assert all(isinstance(p, str) and len(p) < 1000 for p in problems), problems
        text = grading.text_report(report)
        assert not any(unicodedata.category(c) in ("Cc", "Cs") for c in text if c != "\n"), text
        assert len(text.splitlines()) == 1 + len(problems), text
        grading.write_report(report, out)
        json.loads((out / f"{path.name}.json").read_text("utf-8"))
        grading.write_table([report], self.folder / "table.csv")
        with open(self.folder / "table.csv", encoding="utf-8-sig", newline="") as file:
            _, row = csv.reader(file)
        assert row[:3] == [path.name, "0", "0"] and row[-1][:1] not in tuple(grading.FORMULA)
        assert path.read_bytes() == case
        return not problems


class Notebooks(Answers):
    """Notebooks: JSON around what a learner wrote."""

    name = "notebooks"
    ending = ".ipynb"

    def seeds(self):
        made = [content for name, (content, _, _) in BROKEN.items() if name.endswith(".ipynb")]
        made += [as_notebook(GOOD), as_notebook(HEAD + "\n\n\n!ls\n\n\n%time 1\n\n\n1 / 0\n")]
        outputs = {"output_type": "stream", "name": "stdout", "text": ["✓ σ\n"]}
        cells = [{"cell_type": "markdown", "source": "# A", "metadata": {}, "id": "a"},
                 {"cell_type": "code", "source": GOOD, "metadata": {"tags": ["x"]}, "id": "b",
                  "execution_count": 3, "outputs": [outputs]}]  # fmt: skip
        whole = {"cells": cells, "metadata": {"kernelspec": {"name": "python3"}}, "nbformat": 4}
        made += [json.dumps(whole, indent=1), json.dumps({"worksheets": [{"cells": cells}]})]
        coded = [json.dumps(whole).encode(coding) for coding in ("utf-16", "utf-8-sig")]
        return [m if isinstance(m, bytes) else m.encode() for m in made] + coded

    def changed(self, rng, case, other):
        value = mutation.read(case.decode("utf-8", "replace"))
        if value is None or rng.random() < 0.3:
            return mutation.bytes_changed(rng, case, other)
        kinds = [
            "code", "markdown", "raw", "source", "cells", ["a\n", 1], ["a", None], "def f(:",
            "\0", "x = 1\n" * 300, "(" * 300, "-" * 3000 + "1", "\ud800",
            "from __future__ import x", "from __future__ import annotations", "\f1",
            "# coding: nonsense", "1\r2\x1b[0m",
        ]  # fmt: skip
        twin = mutation.read(other.decode("utf-8", "replace"))
        value = mutation.json_changed(rng, value, twin, kinds)
        coding = rng.choice(("utf-8",) * 8 + ("utf-16", "utf-8-sig", "latin-1", "utf-32-be"))
        text = mutation.written(value)
        return text.encode(coding, "backslashreplace")[: mutation.MOST]


class Scripts(Answers):
    """Scripts, which are bytes until their encoding is known."""

    name = "scripts"
    ending = ".py"
    PIECES = [
        b"# coding: latin-1\n", b"# -*- coding: utf-7 -*-\n", b"# coding: nonsense\n",
        b"\xef\xbb\xbf", b"\f", b"\\\n", b"\t", b" ", b"\n" * 99, b"(" * 250, b"[" * 90,
        b"-" * 2000, b"f'{", b"f'{x!r:{y}}'", b"'''", b"lambda " * 40, b"if x:\n ",
        b"for i in x:\n" * 22, b"async def f():\n await x\n", b"yield", b"return",
        b"from __future__ import annotations\n", b"from __future__ import braces\n", b"0" * 5000,
        b"1_000", b"0x", b"1e999", b":=", b"match x:\n case y: pass\n", b"x." * 3000,
        b"nonlocal x\n", b"*", b"a=" * 200, b"\\N{DIGIT ONE}", b"'\\ud800'", "ſ𝐱ª".encode(),
        b"\x1a", b"del (", b"@", b"raise", b"global x\n", b"x: int = 1\n",
        b"try:\n pass\nexcept* E: pass\n",
    ]  # fmt: skip

    def seeds(self):
        made = [content for name, (content, _, _) in BROKEN.items() if name.endswith(".py")]
        made += [GOOD, HEAD + "\n".join(f"check('backprop-break', {n})" for n in range(60))]
        made += [
            f"# coding: latin-1\nx = '{chr(233)}'\n".encode("latin-1"),
            "x = 'é'".encode("utf-16"),
        ]
        return [m if isinstance(m, bytes) else m.encode() for m in made]

    def changed(self, rng, case, other):
        return mutation.bytes_changed(rng, case, other, self.PIECES)


class Progress(Target):
    """The file that knows what a reader has solved."""

    name = "progress"
    traced = (store, exercises)
    LABELS = ("backprop-bp2", "backprop-break", "neurons-derivative", "a-b")

    def seeds(self):
        entries = [{}, {"a-b": {}}, {"backprop-bp2": {"status": "correct", "tries": 3, "hints": 1}}]
        entries += [{label: {"status": "wrong", "tries": 1, "later": [1]} for label in self.LABELS}]
        made = [{"version": 1, "exercises": e} for e in entries] + [{"version": 2}, [], 3]
        made += [{"version": 1, "exercises": entries[3], "more": {"of": [1]}}]
        return [json.dumps(m, indent=1).encode() for m in made]

    def within(self, stack):
        os.environ["DLBOOK_DATA_DIR"] = str(self.folder / "data")
        labels = functools.cache(exercises.labels)  # reads sources, not what is changed here
        stack.enter_context(mock.patch.object(exercises, "labels", labels))
        stack.callback(exercises._store_in.cache_clear)

    def changed(self, rng, case, other):
        value = mutation.read(case.decode("utf-8", "replace"))
        if value is None or rng.random() < 0.3:
            return mutation.bytes_changed(rng, case, other)
        more = ["correct", "wrong", "not attempted", "stopped", 2**70, Raw("1e2"), *self.LABELS]
        twin = mutation.read(other.decode("utf-8", "replace"))
        text = mutation.written(mutation.json_changed(rng, value, twin, more))
        return text.encode()[: mutation.MOST]

    def accepts(self, case):
        folder = self.folder / "data"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        path = folder / "progress.json"
        path.write_bytes(case)
        kept = store.Store(folder)
        before = json.loads(json.dumps(kept.read()))
        taken = not kept.notes
        if taken:
            assert path.read_bytes() == case  # who only looks changes nothing
            stated = json.loads(case)["exercises"]
            assert repr(stated) == repr(kept.entries)
        else:  # what cannot be read is still there, under another name
            aside = [p.read_bytes() for p in folder.glob("progress-damaged-*.json")]
            assert aside == [case] and before == {} and len(kept.notes) == 1
        exercises._store_in.cache_clear()
        exercises.progress()
        exercises.progress("backprop")
        exercises.hint("backprop-bp2")
        exercises.check("backprop-break", "ace")
        after = store.Store(folder).read()
        mine = ("backprop-bp2", "backprop-break")
        assert after[mine[0]]["hints"] >= 1
        assert after[mine[1]]["status"] == "correct"
        others = {k: v for k, v in after.items() if k not in mine}
        kept = {k: v for k, v in before.items() if k not in mine}
        assert json.dumps(others, sort_keys=True) == json.dumps(kept, sort_keys=True)
        exercises.reset("backprop-bp2")
        assert "backprop-bp2" not in store.Store(folder).read()
        assert len(list(folder.iterdir())) == 2 - taken
        return taken


class CommandLines(Target):
    """What is typed behind `dlbook`, with zero bytes between, which no argument can hold."""

    name = "commands"
    traced = (command, starting)
    WORDS = [
        "notebooks", "serve", "check", "new", "--port", "--csv", "--report", "--seconds",
        "--jobs", "--overwrite", "--help", "--version", "-h", "--", "-", "", " ", "0", "-1",
        "1e9", "nan", "inf", "²", "٣", "1_0", "65535", "65536", "8000", "folder", "answer.py",
        "answer.ipynb", "new/er", "x" * 300, "é", "\udcff", "a\nb", "--port=1", "--csv=t.csv",
        "--rep", "--s", "%s", "~", "*", "@x",
    ]  # fmt: skip

    def seeds(self):
        lines = [
            [], ["--version"], ["notebooks", "chapters"], ["serve", "site", "--port", "0"],
            ["new", "mine"],
            ["check", "answer.py", "folder", "--csv", "t.csv", "--report", "out", "--seconds", "5"],
            ["check", "--jobs", "2", "answer.ipynb"], ["notebooks", "here", "--overwrite"],
        ]  # fmt: skip
        return [os.fsencode("\0".join(line)) for line in lines]

    def within(self, stack):
        """Keep to a folder of our own, serve nothing, run nothing, and make notebooks up."""
        os.environ["COLUMNS"] = "80"
        made = {"00-front.ipynb": b"{}\n", "01-one.ipynb": b"[1]\n"}

        def ran(paths, seconds, jobs, progress, finished):
            assert 0 < seconds < 1e6 and (jobs is None or 0 < jobs < 1000)
            reports = [grading._empty_report(name) for _, name in paths]
            for report in reports:
                finished(report)
            return reports

        class Refused:
            def __init__(self, address, handler):
                assert address[0] == "127.0.0.1" and 0 <= address[1] <= 65535
                raise OSError(98, "Address already in use")

        for where, what, stand_in in (
            (built, "notebooks", lambda: dict(made)),
            (grading, "run", ran),
            (command, "Server", Refused),
        ):
            stack.enter_context(mock.patch.object(where, what, stand_in))

    def changed(self, rng, case, other):
        words = os.fsdecode(case).split("\0")
        for _ in range(rng.choice((1, 1, 2, 4))):
            at, kind = rng.randint(0, len(words)), rng.randrange(6)
            word = rng.choice(self.WORDS)
            if rng.random() < 0.3:  # values stand last
                words[-1:] = [word]
            elif kind == 0:
                words[at : at + 1] = []
            elif kind == 1:
                words[at:at] = [word]
            elif kind == 2:
                words[at : at + 1] = [word]
            elif kind == 3 and at < len(words):
                words[at] = rng.choice((words[at] + word, word + words[at], words[at][:-1]))
            elif kind == 4:
                words = words[:at] + os.fsdecode(other).split("\0")[at:]
            elif kind == 5 and at < len(words):
                words[at] = os.fsdecode(
                    mutation.bytes_changed(rng, os.fsencode(words[at]), b"")[:400]
                )
        return os.fsencode("\0".join(words[:12]))

    def accepts(self, case):
        # Never a path that leads out of the folder
        words = [w.replace("..", ".") for w in os.fsdecode(case).split("\0")]
        words = [w.lstrip("/").replace("=/", "=").removeprefix("~") for w in words]
        here = self.folder / "here"
        shutil.rmtree(here, ignore_errors=True)
        (here / "folder").mkdir(parents=True)
        (here / "site").mkdir()
        (here / "site" / "index.html").write_text("x")
        mine = {"answer.py": HEAD, "answer.ipynb": as_notebook(GOOD), "folder/b.py": GOOD}
        for name, text in mine.items():
            (here / name).write_text(text)
        os.chdir(here)
        (out := io.StringIO()), (err := io.StringIO())
        with mock.patch.object(sys, "stdout", out), mock.patch.object(sys, "stderr", err):
            try:
                status = command.main(words)
            except SystemExit as stop:
                status = stop.code
        assert status in (0, 1, 2), status
        assert (status == 2) == bool(err.getvalue()) or status == 1, (status, err.getvalue())
        for name, text in mine.items():
            assert (here / name).read_text() == text, f"{name} was changed"
        for path in filter(Path.is_file, here.rglob("*.py")):  # a new project, or an answer
            compile(path.read_bytes(), path.name, "exec")
        for path in filter(Path.is_file, here.rglob("*.ipynb")):
            json.loads(path.read_bytes())
        made = {path.name for path in self.folder.iterdir()}
        assert made == {"here"}, made
        return status == 0


class Request:
    """A connection that has said all it will say."""

    def __init__(self, case):
        self.case, self.answer = case, b""

    def makefile(self, *_):
        return io.BytesIO(self.case)

    def sendall(self, data):
        self.answer += bytes(data)


class Requests(Target):
    """What a browser, or a page of somebody else in it, asks of `dlbook serve`."""

    name = "requests"
    traced = (command,)
    SECRET = b"this lies outside of the site"
    PIECES = [
        b"%2e%2e/", b"../", b"//", b"/./", b"%00", b"%", b"%zz", b"%c0%ae", b"?a=b", b"#x",
        b"leak", b"out/secret", b"_sources/", b"one.ipynb", b"Host: evil.example\r\n",
        b"Host: localhost:1\r\n", b"Host:\r\n", b"\r\n", b"\n", b"Range: bytes=0-\r\n",
        b"If-Modified-Since: x\r\n", b"If-Modified-Since: Thu, 01 Jan 99999 0:0:0 GMT\r\n",
        b"Connection: keep-alive\r\n", b"Expect: 100-continue\r\n", b"HEAD ", b"GET ", b"POST ",
        b"HTTP/1.1", b"HTTP/0.9", b"HTTP/9.9", b"http://evil/", b"a" * 300, b"a" * 70_000,
        b"X: y\r\n" * 120, b"\\", b"C:/", b"index.html/", b"[::1]", b"/out/site/index.html", b"~",
    ]  # fmt: skip

    def seeds(self):
        paths = [
            "/",
            "/index.html",
            "/_sources/one.ipynb",
            "/_sources",
            "/leak",
            "/out/secret",
            "/../secret",
        ]
        made = [f"GET {path} HTTP/1.1\r\nHost: localhost:8000\r\n\r\n" for path in paths]
        made += [
            "GET / HTTP/1.0\r\n\r\n", "HEAD /index.html HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
            "GET /\r\n",
            "GET /index.html HTTP/1.1\r\nIf-Modified-Since: Mon, 30 Nov 2026 00:00:00 GMT\r\n\r\n",
        ]  # fmt: skip
        return [m.encode() for m in made]

    def within(self, stack):
        site = self.folder / "site"
        (site / "_sources").mkdir(parents=True)
        (site / "index.html").write_text("<h1>Book</h1>")
        (site / "_sources" / "one.ipynb").write_text("{}")
        (self.folder / "secret").write_bytes(self.SECRET)
        (site / "leak").symlink_to(self.folder / "secret")
        (site / "out").symlink_to(self.folder)
        self.site = site

    def changed(self, rng, case, other):
        return mutation.bytes_changed(rng, case, other, self.PIECES, head=20)

    def accepts(self, case):
        asked = Request(case)
        command.Site(asked, ("127.0.0.1", 1), mock.Mock(), directory=str(self.site))
        assert self.SECRET not in asked.answer, "a file outside of the site was sent"
        head, _, body = asked.answer.partition(b"\r\n\r\n")
        statuses = {line.split()[1] for line in head.splitlines() if line.startswith(b"HTTP/")}
        good = {b"200", b"301", b"304"}
        known = good | {b"100", b"400", b"404", b"414", b"421", b"431", b"501", b"505"}
        assert statuses <= known, statuses
        if statuses == {b"200"} and asked.answer.count(b"HTTP/1.") == 1:
            assert body in (b"", b"<h1>Book</h1>", b"{}"), body
        if b"evil.example" in case.partition(b"\r\n\r\n")[0].split(b"Host:")[-1][:30]:
            assert b"200" not in statuses or case.count(b"ost:") != 1
        return bool(statuses & good)
