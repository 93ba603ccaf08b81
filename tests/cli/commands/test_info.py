"""``qkan info``."""

import platform
from types import SimpleNamespace

import pytest
import torch

from qkan.kernels import backends


def facts(output: str) -> dict[str, str]:
    lines = [line.split("   ", 1) for line in output.splitlines() if "   " in line]
    return {name.strip(): value.strip() for name, value in lines}


def test_versions_are_those_of_this_process(qkan) -> None:
    shown = facts(qkan("info").output)
    assert shown["torch"] == torch.__version__
    assert shown["Python"].startswith(f"{platform.python_version()} on ")


def test_backends_say_why_they_cannot_run(monkeypatch: pytest.MonkeyPatch, qkan) -> None:
    reasons = {"bloch": None, "triton": "triton is not installed: pip install triton"}
    monkeypatch.setattr(backends, "available_backends", lambda: reasons)
    shown = facts(qkan("info").output)
    assert (shown["bloch"], shown["triton"]) == ("can run", "triton is not installed: pip install triton")


def test_missing_libraries_are_said_to_be_missing(monkeypatch: pytest.MonkeyPatch, qkan) -> None:
    monkeypatch.setattr("qkan.cli.commands.info.LIBRARIES", ("no-such-library",))
    assert facts(qkan("info").output)["no-such-library"] == "not installed"


def test_devices_are_listed(monkeypatch: pytest.MonkeyPatch, qkan) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    properties = SimpleNamespace(name="Some GPU", total_memory=8 * 2**30)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda index: properties)
    assert facts(qkan("info").output)["cuda:0"] == "Some GPU, 8.0 GiB"


@pytest.mark.parametrize(
    ("built", "answer"), [(None, "this PyTorch is built for the CPU only"), ("12.8", "no device found")]
)
def test_no_device_is_explained(built: str | None, answer: str, monkeypatch: pytest.MonkeyPatch, qkan) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    monkeypatch.setattr(torch.version, "cuda", built)
    monkeypatch.setattr(torch.version, "hip", None)
    assert facts(qkan("info").output)["cuda"] == answer
