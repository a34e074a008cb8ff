"""``dlbook`` or ``python -m dlbook``: write the chapters as notebooks, serve the site, check answers,
begin a project.

Loads nothing but the standard library, so it answers at once.
"""

import os
import sys

if __name__ == "__main__" and not sys.flags.safe_path:
    # Python put the folder we are in first, where an answer may be called csv.py
    sys.path[:] = [*sys.path[1:], os.path.dirname(os.path.dirname(os.path.abspath(__file__)))]

import argparse
import tempfile
from functools import partial
from http import HTTPStatus
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from dlbook import __version__
from dlbook.tools import built, starting
from dlbook.tools.files import save_all

TREE = Path(__file__).resolve().parents[1]


class CommandError(Exception):
    """The command cannot be carried out; the message says why."""


def write_notebooks(options):
    """Write all chapters into a folder; what a reader changed stays unless told otherwise."""
    target = options.folder
    if target.exists() and not target.is_dir():
        raise CommandError(f"{target} is a file; give the name of a folder")
    files = built.notebooks()
    try:
        saved = save_all(files, target, options.overwrite)
    except OSError as error:
        raise CommandError(f"cannot write into {target}: {error.strerror or error}") from error
    print(f"{target}: {len(saved['written'])} written, {len(saved['same'])} already there")
    if kept := saved["kept"]:
        print(
            f"kept {len(kept)} that differ from the book's: {', '.join(kept)}\n"
            "Write into another folder to have both, or add --overwrite to replace them.",
            file=sys.stderr,
        )
        return 1
    return 0


class Site(SimpleHTTPRequestHandler):
    """Answer GET and HEAD with the files of a folder; no listings, no log of every request."""

    extensions_map = SimpleHTTPRequestHandler.extensions_map | {
        ".ipynb": "application/x-ipynb+json",
        ".js": "text/javascript",  # some Windows machines say otherwise
        ".md": "text/markdown; charset=utf-8",
    }

    def send_head(self):
        """Answer what asks for this machine by its name and stays within the folder."""
        host = self.headers.get("Host", "localhost").rpartition(":")
        if (host[0] or host[2]) not in ("127.0.0.1", "localhost"):
            self.send_error(HTTPStatus.MISDIRECTED_REQUEST)  # a name that leads here from elsewhere
            return None
        if not self.is_inside():
            self.send_error(HTTPStatus.NOT_FOUND)
            return None
        return super().send_head()

    def is_inside(self):
        """Return whether what is asked for lies in the folder, links followed."""
        path, top = self.translate_path(self.path), os.path.realpath(self.directory)
        names = ("", "index.html", "index.htm")  # what a folder is answered with
        try:
            found = [os.path.realpath(os.path.join(path, name)) for name in names]
        except ValueError:  # no file can have this name
            return False
        return all(os.path.commonpath([top, name]) == top for name in found)

    def list_directory(self, path):
        """Refuse a folder without index.html."""
        self.send_error(HTTPStatus.NOT_FOUND)

    def end_headers(self):
        """Let a page that was built again be seen."""
        self.send_header("Cache-Control", "no-cache")
        super().end_headers()

    def log_request(self, code="-", size="-"):
        """Stay quiet; errors are still logged."""


class Server(ThreadingHTTPServer):
    """A server that survives a browser hanging up."""

    allow_reuse_address = os.name != "nt"  # there, two servers would share a port

    def handle_error(self, request, client_address):
        """Report what went wrong, unless the other side only left."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


def serve(options):
    """Serve a built site on this machine until Ctrl-C."""
    folder = options.folder or TREE / "_build" / "html"
    if not options.folder and not (TREE / "conf.py").is_file():
        raise CommandError(
            f"an installed dlbook has no built site. `{name()} notebooks DIR` writes the chapters "
            f"as notebooks; a site that was built from the source tree, by `make book`, is served "
            f"by `{name()} serve DIR`"
        )
    if not (folder / "index.html").is_file():
        raise CommandError(
            f"no built site in {folder}. In the source tree of dlbook, `make book` builds one "
            "into _build/html; without make: python -m sphinx -c . book _build/html"
        )
    try:
        server = Server(("127.0.0.1", options.port), partial(Site, directory=str(folder)))
    except OSError as error:
        raise CommandError(
            f"port {options.port} cannot be used ({error.strerror or error}); "
            "choose another with --port, 0 takes a free one"
        ) from error
    with server:
        print(f"http://127.0.0.1:{server.server_port}/ serves {folder}; Ctrl-C stops", flush=True)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            print()
    return 0


def check(options):
    """Run files of answers to the exercises and report."""
    from dlbook.exercises import grading

    for path in options.paths:
        if not os.path.lexists(path):
            raise CommandError(f"there is no {path}")
        if not path.is_dir() and not (grading.is_answer(path) and path.is_file()):
            raise CommandError(f"{path} is neither a notebook nor a script (.ipynb or .py)")
    files = grading.answer_files(options.paths)
    if not files:
        raise CommandError("there is neither a notebook nor a script in what you named")
    try_targets(options, [path for path, _ in files])
    many, failed = len(files) > 1, []

    def write(what, *arguments):
        """Write one thing, and note it where that cannot be done; the rest is still written."""
        try:
            what(*arguments)
        except (OSError, ValueError) as error:
            failed.append(getattr(error, "strerror", None) or str(error))

    def finished(report):
        if options.report:
            write(grading.write_report, report, options.report)

    reports = grading.run(
        files, options.seconds, options.jobs, many and sys.stderr is not None, finished
    )
    for report in reports:
        text = grading.text_report(report).rstrip("\n")
        first, *more = map(grading.printable, report["problems"] or [""])
        trouble = f"; {first}" * bool(first) + f" (and {len(more)} more)" * bool(more)
        write(partial(print, flush=True), text.split("\n")[0] + trouble if many else text)
    if options.csv:
        write(grading.write_table, reports, options.csv)
    if failed:
        raise CommandError(f"not all could be written: {failed[0]}")
    good = [r for r in reports if r["checked"] == r["correct"] > 0 and not r["problems"]]
    return 0 if len(good) == len(reports) else 1


def begin(options):
    """Write a small project into a new folder."""
    target = options.folder
    if os.path.lexists(target) and not (target.is_dir() and not any(target.iterdir())):
        raise CommandError(f"{target} is already there; nothing was written")
    called = os.fsencode(Path(os.path.abspath(target)).name).decode(errors="replace")
    try:
        save_all(starting.project(called), target)
    except OSError as error:
        raise CommandError(f"cannot write {target}: {error.strerror or error}") from error
    print(f"{target}: begin with README.md; `python -m pytest` in it says that all is well")
    return 0


def try_targets(options, answers):
    """Refuse what cannot be written, before any work is done."""
    if options.report:
        try:
            options.report.mkdir(parents=True, exist_ok=True)
            tempfile.TemporaryFile(dir=options.report).close()
        except OSError as error:
            raise cannot_write("--report", options.report, error) from error
    if options.csv:
        if any(options.csv.exists() and options.csv.samefile(a) for a in answers if a.exists()):
            raise CommandError(f"--csv {options.csv} is one of the files to check")
        new = not os.path.lexists(options.csv)
        try:
            open(options.csv, "a").close()
            if new:
                options.csv.unlink()
        except OSError as error:
            raise cannot_write("--csv", options.csv, error) from error


def cannot_write(option, path, error):
    """Return the refusal of a target."""
    return CommandError(f"cannot write {option} {path}: {error.strerror or error}")


def name():
    """Return what the reader typed to get here."""
    return "dlbook" if Path(sys.argv[0]).stem == "dlbook" else "python -m dlbook"


def named(text):
    """Return a path from the command line."""
    if not text.strip():
        raise argparse.ArgumentTypeError("the name is empty")
    return Path(text)


def positive(text):
    """Return a positive number from the command line."""
    try:
        number = float(text)
    except ValueError:
        number = 0
    if not 0 < number < 1e6:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0 and below a million")
    return number


def jobs(text):
    """Return a number of processes from the command line."""
    if not text.isdecimal() or not 0 < int(text) < 1000:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of processes from 1 to 999")
    return int(text)


def port(text):
    """Return a port number from the command line."""
    if not text.isdecimal() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port, expected 0 to 65535")
    return int(text)


def parser():
    """Return the parser of the command line."""
    top = argparse.ArgumentParser(name(), description="Deep Learning, Equation by Equation")
    top.add_argument("--version", action="version", version=f"dlbook {__version__}")
    commands = top.add_subparsers(title="commands", metavar="command")
    writing = commands.add_parser(
        "notebooks",
        help="write the chapters as Jupyter notebooks",
        description="Write every chapter as a Jupyter notebook, as the build of the book left it. "
        "A file that is already there and differs, because you worked in it, is kept; the exit status is then 1.",
    )
    writing.add_argument("folder", type=named, metavar="DIR", help="made if it is missing")
    writing.add_argument("--overwrite", action="store_true", help="replace files that differ")
    writing.set_defaults(run=write_notebooks)
    serving = commands.add_parser(
        "serve",
        help="serve a built site on this machine",
        description="Serve a built site on 127.0.0.1, to this machine only.",
    )
    serving.add_argument(
        "folder",
        type=named,
        nargs="?",
        metavar="DIR",
        help="default: _build/html in the source tree",
    )
    serving.add_argument("--port", type=port, default=8000, help="default: 8000")
    serving.set_defaults(run=serve)
    checking = commands.add_parser(
        "check",
        help="check files of answers to the exercises",
        description="Run notebooks and scripts, each in a process of its own, and say which of "
        "their answers are right. The exit status is 0 if all are, else 1. Magics in notebooks "
        "need IPython; commands of the shell, such as !ls, are not run. This is not a sandbox: "
        "the files run with your rights, so check only those of people you trust.",
    )
    checking.add_argument(
        "paths", type=named, nargs="+", metavar="PATH", help="a notebook, a script or a folder"
    )
    checking.add_argument("--csv", type=named, metavar="FILE", help="write a row for each file")
    checking.add_argument(
        "--report", type=named, metavar="DIR", help="write each report, as text and as JSON"
    )
    checking.add_argument(
        "--seconds", type=positive, default=60, help="limit for a file (default: 60)"
    )
    checking.add_argument("--jobs", type=jobs, help="files at a time (default: all processors)")
    checking.set_defaults(run=check)
    starting_one = commands.add_parser(
        "new",
        help="begin a project of your own",
        description="Write a small project into a new folder: data, a model, an equation with its "
        "check, tests that pass, a report and a checklist. What is already there is left alone.",
    )
    starting_one.add_argument("folder", type=named, metavar="DIR", help="must not be there yet")
    starting_one.set_defaults(run=begin)
    return top


def main(arguments=None):
    """Run a command and return the exit status: 0 done, 1 something was kept, 2 refused."""
    for stream in (sys.stdout, sys.stderr):  # a name that they cannot show does not end the run
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    top = parser()
    options = top.parse_args(arguments)
    if "run" not in options:
        top.print_help()
        return 0
    try:
        return options.run(options)
    except (CommandError, built.NotBuiltError) as error:
        print(f"{name()}: {error}", file=sys.stderr)
        return 2
    except OSError as error:  # a name that is too long, a folder that may not be looked into
        where = f"{error.filename}: " if error.filename else ""
        print(f"{name()}: {where}{error.strerror or error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
