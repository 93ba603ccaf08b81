"""The page on replacing MLPs works by copy and paste; its sections on timm and Hugging Face run in tests/ecosystem."""

import pytest
from documents import DOCS, python_sections

SECTIONS = python_sections(DOCS / "guides" / "replace-mlp.md")
HERE = ["Plain PyTorch", "Recurrent nets and single linear maps"]


def test_every_section_runs_somewhere() -> None:
    assert list(SECTIONS) == ["Plain PyTorch", "timm", "Hugging Face", "Recurrent nets and single linear maps"]


@pytest.mark.parametrize("section", HERE)
def test_python_runs_as_one_session(section: str, capsys: pytest.CaptureFixture[str]) -> None:
    session: dict[str, object] = {}
    exec(SECTIONS[section], session)
    if section == "Plain PyTorch":
        assert tuple(session["output"].shape) == (8, 20, 10)  # type: ignore[attr-defined]
        # The page shows the very report that its code prints.
        assert capsys.readouterr().out.strip() in (DOCS / "guides" / "replace-mlp.md").read_text()
    else:
        assert tuple(session["forecast"].shape) == (4, 1)  # type: ignore[attr-defined]
