"""The Python of the pages on the toolbox runs by copy and paste, here with less work in it."""

import re
from pathlib import Path

import pytest
from documents import DOCS

from qkan import QKAN, QKANSelector, SymbolicQKAN

#: page -> what makes it quicker; its figures need the full work.
QUICKER = {
    "fit": {"steps=200": "steps=20", "QKANSelector(2,": "QKANSelector(2, steps=20,"},
    "prune": {"train(300, 0.01)": "train(40, 0.01)", "train(200)": "train(20)"},
    "formula": {"auto_symbolic(x, ": 'auto_symbolic(x, ["x^2", "exp", "sin", "tanh"], '},
    "read": {"max_iter=300": "max_iter=40", "rand(100, 2": "rand(24, 2"},
}


def run(page: str) -> dict[str, object]:
    """What the page leaves behind."""
    text = (DOCS / "guides" / f"kan-{page}.md").read_text()
    code = "\n".join(re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL))
    for long, short in QUICKER[page].items():
        assert long in code
        code = code.replace(long, short)
    session: dict[str, object] = {}
    exec(code, session)
    return session


def test_fit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    session = run("fit")
    assert session["history"].best_loss < 0.5  # type: ignore[attr-defined]  # of targets of variance 1.0
    assert Path("loss.png").read_bytes()[1:4] == b"PNG"
    assert isinstance(session["selector"], QKANSelector)
    assert session["pipeline"][0].get_support().sum() == 2  # type: ignore[index]


def test_prune(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    session = run("prune")
    assert re.fullmatch(
        r"removed \d+ edges, .* of 12 edges are left; outputs moved by .* in the mean\n", capsys.readouterr().out
    )
    again, small, x = session["again"], session["small"], session["x"]
    assert isinstance(again, QKAN)
    assert (again(x) == small(x)).all()  # type: ignore[operator]
    assert again.layers[0].reps == 5


def test_symbolic(capsys: pytest.CaptureFixture[str]) -> None:
    session = run("read")
    assert isinstance(session["symbolic"], SymbolicQKAN)
    assert session["figure"].axes[0].get_title() == "layer 0: x2 to y1"  # type: ignore[attr-defined]
    printed = capsys.readouterr().out.splitlines()
    assert printed[0].split()[0] == "function"
    assert len(printed) == 5  # three suggestions below their heading, then the formula


def test_formula(capsys: pytest.CaptureFixture[str]) -> None:
    run("formula")
    removed, *rest = capsys.readouterr().out.splitlines()
    assert removed.endswith("3 of 15 edges are left; outputs moved by 0 in the mean")
    assert rest == ["[2, 1, 1]", "[exp(x2**2 + sin(3.142*x1))]"]
