"""``qkan doctor``."""

import json
import platform
from types import SimpleNamespace

import pytest
import torch

from qkan.validation import machine


@pytest.fixture(autouse=True)
def _few_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "SECONDS", 0)
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)


def facts(output: str) -> dict[str, str]:
    lines = [line.split("   ", 1) for line in output.splitlines() if "   " in line]
    return {name.strip(): value.strip() for name, value in lines}


def test_19_doctor_says_what_is_installed_what_runs_and_how_fast(qkan) -> None:
    done = qkan("doctor")
    shown = facts(done.output)
    assert done.exit_code == 0
    assert f"\ntorch               {torch.__version__}" in done.output  # torch is the name of a backend, too
    assert shown["python"].startswith(f"{platform.python_version()} on ")
    assert shown["pennylane"] == "can run"  # the backend, behind the extra
    assert shown["CPU, recurrences"] in ("on disk", "not yet: the first step compiles them, for about 15 seconds")
    assert shown["QKANLSTM(8, 16, reps=2), batch 64, 12 steps"].endswith("cpu")
    assert done.output.endswith("Everything that qkan needs is here.\n")


def test_19_doctor_as_json_has_every_finding(qkan) -> None:
    found = json.loads(qkan("doctor", "--json").stdout)
    assert list(found) == ["packages", "devices", "backends", "kernels", "steps", "problems"]
    assert found["packages"]["required"]["torch"] == {"version": torch.__version__, "oldest": "2.6"}
    assert found["packages"]["extras"]["xlsx"]["install"] is None
    assert found["backends"]["recurrences"]["numba"] is None
    assert "CUDA" in found["backends"]["rational activations"]["triton"]
    assert set(found["kernels"]["numba"]["compiled"]) == {"layers", "recurrences"}
    assert all(step["ms"] > 0 and step["error"] is None for step in found["steps"].values())
    assert found["problems"] == []


def test_packages_that_are_missing_or_too_old_come_with_the_line_that_installs_them(monkeypatch, qkan) -> None:
    lines = ["torch>=99.1", "no-such-library>=2", "no-such-extra ; extra == 'xlsx'", 'old; sys_platform == "none"']
    monkeypatch.setattr(machine.metadata, "requires", lambda name: lines)
    done = qkan("doctor")
    assert done.exit_code == 1
    assert done.output.splitlines()[-2:] == [
        f"To mend: torch {torch.__version__} is too old: pip install 'torch>=99.1'",
        "To mend: no-such-library is not installed: pip install 'no-such-library>=2'",
    ]
    assert facts(done.output)["xlsx"].startswith("no-such-extra is missing: pip install 'qkan-seq[xlsx]'")
    assert "old" not in facts(done.output)


def test_sources_that_were_never_installed_are_said(monkeypatch) -> None:
    def requires(name: str) -> list[str]:
        raise machine.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(machine.metadata, "requires", requires)
    (problem,) = machine._problems(machine.find_packages(), {"numba": {"problem": None}}, {})
    assert problem == "qkan-seq runs from its sources without being installed: pip install . in their folder"


def test_backends_say_why_they_cannot_run(monkeypatch: pytest.MonkeyPatch, qkan) -> None:
    reasons = {"bloch": None, "spectral": "triton is not installed: pip install triton"}
    monkeypatch.setattr(machine, "available_backends", lambda: reasons)
    shown = facts(qkan("doctor").output)
    assert (shown["bloch"], shown["spectral"]) == ("can run", "triton is not installed: pip install triton")


def test_a_step_that_fails_is_a_problem_and_the_rest_is_shown(monkeypatch: pytest.MonkeyPatch, qkan) -> None:
    def broken(*sizes: int, **options: object) -> torch.nn.Module:
        raise RuntimeError("no kernel image")

    monkeypatch.setattr(machine, "QKANLayer", broken)
    done = qkan("doctor")
    assert done.exit_code == 1
    assert done.output.splitlines()[-1] == (
        "To mend: a training step of QKANLayer(64, 64, reps=3), batch 256 failed: RuntimeError: no kernel image"
    )


def test_kernels_that_cannot_be_kept_are_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("qkan.kernels.common.numba_cache.cache_folder", lambda: None)
    found = machine.find_kernels()["numba"]
    assert found["problem"] == "there is no folder for machine code, so every process compiles its own"
    assert (found["folder"], found["files"]) == (None, 0)


def test_compiled_kernels_of_gpus_are_counted(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    (tmp_path / "KEY").mkdir()
    for name in ("walk.cubin", "walk.ptx", "sums.hsaco"):
        (tmp_path / "KEY" / name).touch()
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    assert machine.find_kernels()["triton"] == {"folder": str(tmp_path), "compiled": 2}
    monkeypatch.setattr(machine.triton_device, "triton_installed", lambda: False)
    assert machine.find_kernels()["triton"] == {"folder": None, "compiled": 0}


def test_devices_are_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    properties = SimpleNamespace(name="Some GPU", total_memory=8 * 2**30)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda index: properties)
    assert machine.find_devices()["cuda:0"] == "Some GPU, 8.0 GiB"


@pytest.mark.parametrize(
    ("built", "answer"), [(None, "this PyTorch is built for the CPU only"), ("12.8", "no device found")]
)
def test_no_device_is_explained(built: str | None, answer: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    monkeypatch.setattr(torch.version, "cuda", built)
    monkeypatch.setattr(torch.version, "hip", None)
    assert machine.find_devices()["cuda"] == answer
