"""Two builds that differ are told apart, and only what measures time may differ."""

import pytest
import twice


@pytest.fixture
def sites(tmp_path):
    """Return two sites that are the same."""
    for name in ("one", "other"):
        (tmp_path / name / "notebooks").mkdir(parents=True)
        for file in ("matmul.html", "notebooks/matmul.ipynb", "rnn.html", "claims.json"):
            (tmp_path / name / file).write_text(f"first\n{file}\n", encoding="utf-8")
    return tmp_path / "one", tmp_path / "other"


@pytest.mark.parametrize(
    ("file", "wrong"),
    [
        ("matmul.html", 0),
        ("notebooks/matmul.ipynb", 0),
        ("claims.json", 0),
        ("rnn.html", 1),
        ("live/matmul.js", 1),
    ],
)
def test_what_may_differ(sites, file, wrong):
    one, other = sites
    (other / file).parent.mkdir(exist_ok=True)
    (other / file).write_text("first\nsecond\n", encoding="utf-8")
    said = []
    assert twice.compared(one, other, {"matmul"}, said.append) == wrong
    assert len(said) == 1 and said[0].startswith(f"{file}: ")
    assert twice.main(["--sites", str(one), str(other)]) == wrong


def test_what_is_the_same_is_the_same(sites):
    assert twice.compared(*sites, {"matmul"}) == 0


def test_the_place_is_told(sites, capsys):
    one, other = sites
    (other / "rnn.html").write_text("first\nrnn.htm\n", encoding="utf-8")
    assert twice.main(["--sites", str(one), str(other)]) == 1
    assert "line 2: b'rnn.html' and b'rnn.htm'" in capsys.readouterr().out
    (other / "rnn.html").write_text("first\n", encoding="utf-8")
    twice.main(["--sites", str(one), str(other)])
    assert "one goes on" in capsys.readouterr().out
    (other / "rnn.html").unlink()
    twice.main(["--sites", str(one), str(other)])
    assert "only one of them has it" in capsys.readouterr().out


def test_pages_that_measure_time_are_found():
    """By what their cells call; most pages measure none."""
    pages = twice.timed()
    assert {"matmul", "attention"} <= pages and len(pages) < 10
