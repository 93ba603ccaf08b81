import subprocess
from pathlib import Path

import pytest
import torch

from qkan.forecasting.runs import environment
from qkan.forecasting.runs.environment import describe_environment, git_revision


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A repository with one committed file."""

    def git(*arguments: str) -> None:
        identity = ["-c", "user.name=x", "-c", "user.email=x@example.org"]
        subprocess.run(["git", "-C", str(tmp_path), *identity, *arguments], check=True, capture_output=True)

    (tmp_path / "tracked.py").write_text("x = 1\n")
    git("init")
    git("add", "tracked.py")
    git("commit", "-m", "start")
    return tmp_path


def test_revision_of_a_tracked_file_marks_changes(checkout):
    head = subprocess.run(["git", "-C", str(checkout), "rev-parse", "HEAD"], check=True, capture_output=True, text=True)
    assert git_revision(checkout / "tracked.py") == head.stdout.strip()
    (checkout / "tracked.py").write_text("x = 2\n")
    assert git_revision(checkout / "tracked.py") == head.stdout.strip() + "-dirty"


def test_package_installed_inside_somebody_elses_checkout_has_no_revision(checkout):
    (checkout / "untracked.py").touch()
    assert git_revision(checkout / "untracked.py") is None


@pytest.mark.parametrize("error", [FileNotFoundError("git"), subprocess.TimeoutExpired("git", 10)])
def test_no_revision_where_git_cannot_answer(monkeypatch, error):
    def fail(*arguments, **options):
        raise error

    monkeypatch.setattr(environment.subprocess, "run", fail)
    assert git_revision(Path(__file__)) is None


def test_environment_of_a_gpu_names_it(monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: f"gpu {device.index}")
    described = describe_environment(torch.device("cuda", 1))
    assert (described["device"], described["device_name"]) == ("cuda:1", "gpu 1")
