"""The sections on timm and Hugging Face of the page on replacing MLPs work by copy and paste."""

from pathlib import Path

import pytest
import torch
from documents import DOCS, python_sections
from torch import nn

SECTIONS = python_sections(DOCS / "guides" / "replace-mlp.md")


def run(section: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, nn.Module | torch.Tensor]:
    monkeypatch.chdir(folder)
    session: dict[str, nn.Module | torch.Tensor] = {}
    exec(SECTIONS[section], session)
    return session


def test_timm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run("timm", tmp_path, monkeypatch)["logits"].shape == (1, 1000)


def test_hugging_face(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    session = run("Hugging Face", tmp_path, monkeypatch)
    assert session["written"].shape[1] > 3
    want, got = session["gpt2"].state_dict(), session["again"].state_dict()
    assert list(want) == list(got)
    assert all(torch.equal(want[name], got[name]) for name in want)
