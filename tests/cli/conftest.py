"""Running commands in this process, and one small trained run."""

from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from tiny_runs import BARE_FLAGS

from qkan.cli.main import cli

Qkan = Callable[..., Result]


@pytest.fixture
def qkan() -> Qkan:
    """Run ``qkan ARGUMENTS`` and return exit code and output; an error that nothing explains has exit code 1."""

    def run(*arguments: str | Path, env: dict[str, str] | None = None) -> Result:
        return CliRunner().invoke(cli, [str(word) for word in arguments], env=env, catch_exceptions=False)

    return run


@pytest.fixture(autouse=True)
def _brief_finish(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small models end with 20 steps of LBFGS, not with 1,000: what a command does with them is the same."""
    monkeypatch.setattr("qkan.forecasting.training.lbfgs.FINISH_STEPS", 20)


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a run of one epoch."""
    folder = tmp_path_factory.mktemp("runs") / "small"
    arguments = ["train", "lstm", "--data", "damped-shm", "--cell", "lstm", "--epochs", "1", "--window", "4"]
    done = CliRunner().invoke(cli, [*arguments, *BARE_FLAGS, "--out", str(folder)], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return folder
