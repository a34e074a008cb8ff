"""``python -m dlbook``: what it writes, what it leaves alone, what it refuses and what it says."""

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from contextlib import contextmanager

import pytest
from pages import ROOT

from dlbook import __main__ as command
from dlbook.tools import built, files

ENV = os.environ | {"PYTHONPATH": str(ROOT), "COLUMNS": "80", "PYTHONUNBUFFERED": ""}
MADE = {"00-front.ipynb": b"{}\n", "01-one.ipynb": b"[1]\n", "02-two.ipynb": b"[2]\n"}


def run(*arguments, cwd=None):
    """Run the command as a reader does, from elsewhere, and refuse tracebacks."""
    done = subprocess.run(
        [sys.executable, "-m", "dlbook", *map(str, arguments)],
        cwd=cwd,
        env=ENV,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert "Traceback" not in done.stderr
    return done


def contents(folder):
    """Return {name: bytes} of a folder."""
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture
def few(monkeypatch):
    """Let the book have three small notebooks."""
    monkeypatch.setattr(built, "notebooks", lambda: dict(MADE))


# Help


def test_alone_it_prints_help():
    done = run()
    assert done.returncode == 0
    assert done.stderr == ""
    assert re.findall(r"^    (\w+)\b", done.stdout, re.M) == ["notebooks", "serve", "check", "new"]
    assert done.stdout == run("--help").stdout


def test_it_loads_nothing_heavy():
    """Notebooks are written without the packages that chapters need; none is even looked for."""
    code = (
        "import sys; before = set(sys.modules); import dlbook.__main__;"
        "print(*sorted({name.split('.')[0] for name in set(sys.modules) - before}"
        " - sys.stdlib_module_names))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=ENV, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["dlbook"]


WRONG = [
    *(("nothing",), ("notebooks",), ("new",), ("serve", "--port", "70000")),
    *(("notebooks", ""), ("serve", ""), ("check", " "), ("new", "")),
]


@pytest.mark.parametrize("arguments", WRONG)
def test_a_wrong_command_line_is_refused(arguments, tmp_path):
    done = run(*arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert "usage: python -m dlbook" in done.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("arguments", [("notebooks",), ("serve",), ("new",), ("check",)])
def test_a_name_that_is_too_long_is_said(arguments, tmp_path, few, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for name in ("x" * 300, "x/" * 3000):
        assert command.main([*arguments, name]) == 2
        said = capsys.readouterr().err
        assert said.count("\n") == 1 and ("too long" in said or "there is no" in said), said
    assert not list(tmp_path.iterdir())


def test_a_command_is_called_as_it_was_typed(monkeypatch, capsys):
    for typed, name in (("/usr/bin/dlbook", "dlbook"), ("dlbook/__main__.py", "python -m dlbook")):
        monkeypatch.setattr(sys, "argv", [typed])
        assert command.main(["check", "nowhere.py"]) == 2
        assert capsys.readouterr().err == f"{name}: there is no nowhere.py\n"


def test_what_lies_in_the_folder_is_not_taken_for_python_s_own(tmp_path):
    for name in ("argparse", "tempfile", "http", "statistics"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit(9)")
    done = run("serve", "nowhere", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert "no built site in nowhere" in done.stderr


# notebooks


def test_it_writes_all_chapters(tmp_path, few, capsys):
    """The first time all are written, the second time nothing is touched."""
    target = tmp_path / "my notebooks" / "é"
    assert command.main(["notebooks", str(target)]) == 0
    assert contents(target) == MADE
    assert capsys.readouterr() == (f"{target}: 3 written, 0 already there\n", "")
    before = {path: path.stat().st_mtime_ns for path in target.iterdir()}
    assert command.main(["notebooks", str(target)]) == 0
    assert capsys.readouterr() == (f"{target}: 0 written, 3 already there\n", "")
    assert {path: path.stat().st_mtime_ns for path in target.iterdir()} == before


def test_work_is_kept(tmp_path, few, capsys):
    (tmp_path / "01-one.ipynb").write_bytes(b"my work")
    (tmp_path / "02-two.ipynb").write_bytes(MADE["02-two.ipynb"])
    (tmp_path / "mine.txt").write_bytes(b"mine")
    assert command.main(["notebooks", str(tmp_path)]) == 1
    assert contents(tmp_path) == MADE | {"01-one.ipynb": b"my work", "mine.txt": b"mine"}
    said = capsys.readouterr()
    assert "1 written, 1 already there" in said.out
    assert "kept 1 that differ from the book's: 01-one.ipynb\n" in said.err
    assert "--overwrite" in said.err
    assert command.main(["notebooks", str(tmp_path), "--overwrite"]) == 0
    assert contents(tmp_path) == MADE | {"mine.txt": b"mine"}


def test_a_link_is_not_followed(tmp_path, few):
    """A file that a reader linked from elsewhere is kept, even if what it points to is gone."""
    (tmp_path / "01-one.ipynb").symlink_to(tmp_path / "gone")
    assert command.main(["notebooks", str(tmp_path)]) == 1
    assert not (tmp_path / "gone").exists()
    assert (tmp_path / "01-one.ipynb").is_symlink()


def test_a_file_is_not_a_folder(tmp_path):
    (tmp_path / "file").write_text("mine")
    done = run("notebooks", tmp_path / "file")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"python -m dlbook: {tmp_path / 'file'} is a file; give the name of a folder\n"  # fmt: skip
    below = run("notebooks", tmp_path / "file" / "below")
    assert (below.returncode, below.stdout) == (2, "")
    assert "cannot write into" in below.stderr
    assert contents(tmp_path) == {"file": b"mine"}


def test_a_folder_in_the_way(tmp_path, few, capsys):
    (tmp_path / "01-one.ipynb").mkdir()
    assert command.main(["notebooks", str(tmp_path)]) == 1
    assert command.main(["notebooks", str(tmp_path), "--overwrite"]) == 2
    assert "cannot write into" in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(MADE)
    assert (tmp_path / "01-one.ipynb").is_dir()


@pytest.mark.parametrize("fails", ["open", "write", "replace"])
def test_nothing_is_half_written(tmp_path, few, capsys, monkeypatch, fails):
    """A disk that fills up or forbids: files are old or new, whole, and no part is left."""
    (tmp_path / "01-one.ipynb").write_bytes(b"old")

    class Full:
        def __init__(self, file):
            self.file = file

        def __enter__(self):
            return self

        def __exit__(self, *error):
            self.file.close()

        def write(self, data):
            self.file.write(data[:1])
            raise OSError(28, "No space left on device")

    def opened(path, mode):
        if "01-one" in str(path):
            if fails == "open":
                raise PermissionError(13, "Permission denied")
            if fails == "write":
                return Full(open(path, mode))
        return open(path, mode)

    def replaced(part, path, really=os.replace):
        if fails == "replace" and "01-one" in str(path):
            raise PermissionError(13, "Permission denied")
        really(part, path)

    monkeypatch.setattr(files, "open", opened, raising=False)
    monkeypatch.setattr(files.os, "replace", replaced)
    assert command.main(["notebooks", str(tmp_path), "--overwrite"]) == 2
    assert contents(tmp_path) == {"00-front.ipynb": MADE["00-front.ipynb"], "01-one.ipynb": b"old"}
    said = capsys.readouterr().err
    assert f"cannot write into {tmp_path}: " in said
    assert ("No space left" if fails == "write" else "Permission denied") in said


@pytest.mark.parametrize("tree", [True, False])
def test_what_is_not_built_is_said(tmp_path, monkeypatch, capsys, tree):
    """In a tree and in an installation, each with what helps there; nothing is written."""
    if tree:
        (tmp_path / "conf.py").write_text("")
    monkeypatch.setattr(built, "PACKAGE", tmp_path / "dlbook")
    assert command.main(["notebooks", str(tmp_path / "new")]) == 2
    said = capsys.readouterr().err
    assert ("the book is not built; `make book`" in said) == tree
    assert ("run `make book` there and install it again" in said) != tree
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("place", ["dlbook/_notebooks", "_build/html/notebooks"])
def test_the_notebooks_are_found(tmp_path, monkeypatch, place):
    """Those of the wheel, or those of the tree's site, and nothing else of their folder."""
    folder = tmp_path / place
    folder.mkdir(parents=True)
    for name, data in {**MADE, "names.json": b"{}"}.items():
        (folder / name).write_bytes(data)
    monkeypatch.setattr(built, "PACKAGE", tmp_path / "dlbook")
    assert built.notebooks() == MADE


def test_notebooks_are_of_the_pages_they_were_made_of(tmp_path):
    """A page that changes, comes or goes makes them those of other pages."""
    (tmp_path / "a.md").write_text("A")
    made = {"names": {}, "pages": built.digest(tmp_path)}
    assert not built.is_current(tmp_path, tmp_path)
    (tmp_path / "names.json").write_text(json.dumps(made))
    assert built.is_current(tmp_path, tmp_path)
    (tmp_path / "a.md").write_text("B")
    assert not built.is_current(tmp_path, tmp_path)
    (tmp_path / "a.md").write_text("A")
    (tmp_path / "b.md").write_text("")
    assert not built.is_current(tmp_path, tmp_path)


# serve


@contextmanager
def serving(folder):
    """Serve a folder on a free port; yield the process and its address."""
    process = subprocess.Popen(
        [sys.executable, "-m", "dlbook", "serve", folder, "--port", "0"],
        env=ENV,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A shell that runs the tests in its background lets them ignore Ctrl-C
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    patience = threading.Timer(30, process.kill)
    patience.start()
    try:
        line = process.stdout.readline()
        found = re.match(r"http://127\.0\.0\.1:(\d+)/ serves (.*); Ctrl-C stops\n", line)
        assert found, line + process.stderr.read()
        assert found[2] == str(folder)
        yield process, int(found[1])
    finally:
        patience.cancel()
        process.terminate()
        process.communicate(timeout=20)


def ask(port, path, method="GET", body=None, host=None):
    """Return (status, content type, text) of one request."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    connection.request(method, path, body, {} if host is None else {"Host": host})
    answer = connection.getresponse()
    text = answer.read().decode()
    connection.close()
    return answer.status, answer.getheader("Content-Type"), text


@pytest.fixture
def site(tmp_path):
    """Make a small built site beside a file that is none of its."""
    folder = tmp_path / "html"
    (folder / "_sources").mkdir(parents=True)
    (folder / "index.html").write_text("<h1>Book</h1>")
    (folder / "_sources" / "one.ipynb").write_text("{}")
    (tmp_path / "secret").write_text("secret")
    return folder


def test_it_serves_a_site(site):
    before = sorted(site.rglob("*"))
    with serving(site) as (process, port):
        assert ask(port, "/") == (200, "text/html", "<h1>Book</h1>")
        assert ask(port, "/_sources/one.ipynb")[:2] == (200, "application/x-ipynb+json")
        assert ask(port, "/index.html", "HEAD") == (200, "text/html", "")
        assert ask(port, "/missing")[0] == 404
        assert ask(port, "/_sources/")[0] == 404
        (site / "leak").symlink_to(site.parent / "secret")
        (site / "out").symlink_to(site.parent)
        (site / "_sources" / "index.html").symlink_to(site.parent / "secret")
        for path in (
            "/leak",
            "/out/secret",
            "/out/html/index.html/",
            "/_sources/",
            "/%00",
            "/a%00b",
        ):
            assert ask(port, path)[0] == 404
        for name in ("leak", "out", "_sources/index.html"):
            (site / name).unlink()
        for host in ("localhost", f"localhost:{port}", "127.0.0.1", "127.0.0.1:1"):
            assert ask(port, "/", host=host)[0] == 200
        for host in ("evil.example", f"evil.example:{port}", "127.0.0.1.evil.example", "", "[::1]"):
            assert ask(port, "/", host=host)[0] == 421
        for path in ("/../secret", "/%2e%2e/secret", "//../secret", "/_sources/../../secret"):
            assert "secret" not in ask(port, path)[2].replace(path, "")
        for method in ("POST", "PUT", "DELETE"):
            assert ask(port, "/index.html", method, "x")[0] == 501
        with pytest.raises(OSError, match=r"refused|unreachable|timed out|invalid|route"):
            socket.create_connection(("127.0.0.2", port), timeout=2)  # not this address
        second = run("serve", site, "--port", port)
        assert second.returncode == 2
        assert f"port {port} cannot be used" in second.stderr
        assert "--port" in second.stderr
        assert ask(port, "/")[0] == 200
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=20)
        assert process.returncode == 0
        assert output == "\n"
        assert "Traceback" not in errors
    assert sorted(site.rglob("*")) == before
    assert (site / "index.html").read_text() == "<h1>Book</h1>"


@pytest.mark.parametrize("made", [True, False])
def test_without_a_site_it_says_how_to_build_one(tmp_path, made):
    folder = tmp_path / "html"
    if made:
        folder.mkdir()
    done = run("serve", folder)
    assert (done.returncode, done.stdout) == (2, "")
    assert f"no built site in {folder}" in done.stderr
    assert "make book" in done.stderr


def test_the_default_is_the_site_of_the_tree(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(command, "TREE", tmp_path)
    (tmp_path / "conf.py").write_text("")
    assert command.main(["serve"]) == 2
    assert f"no built site in {tmp_path / '_build' / 'html'}" in capsys.readouterr().err


def test_an_installed_package_says_what_it_offers(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(command, "TREE", tmp_path)
    assert command.main(["serve"]) == 2
    said = capsys.readouterr().err
    assert "an installed dlbook has no built site" in said and str(tmp_path) not in said
    assert "notebooks DIR` writes the chapters" in said and "serve DIR`" in said
