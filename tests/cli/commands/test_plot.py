"""``qkan plot``."""

import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner
from tiny_runs import tiny_config

from qkan.cli.main import cli
from qkan.forecasting import report, train


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on two squares of Milan."""
    config = tiny_config(data="milan-24", series=("1", "1102"), season=(24,), epochs=1)
    return train(config, tmp_path_factory.mktemp("runs") / "milan").path


def test_season_draws_and_prints_what_was_learned(folder):
    done = CliRunner().invoke(cli, ["plot", "season", str(folder)])
    assert done.exit_code == 0, done.output
    assert "Season of 24 steps: time of the day" in done.output
    assert "% of the data's variance over the season" in done.output
    assert "Added to a forecast of 1, t steps after 00:00: " in done.output
    assert "cos(2πt/24)" in done.output
    assert f"Plot: {folder / 'season.png'}" in done.output
    assert (folder / "season.png").stat().st_size > 1000


def test_season_keeps_a_plot_that_is_there(folder, tmp_path):
    (tmp_path / "own.png").write_text("mine")
    done = CliRunner().invoke(cli, ["plot", "season", str(folder), "--series", "1", "--out", str(tmp_path / "own.png")])
    assert done.exit_code == 2
    assert "already" in done.output
    assert (tmp_path / "own.png").read_text() == "mine"


def test_season_of_a_run_without_one_is_one_sentence(trained, tmp_path):
    shutil.copytree(trained, tmp_path / "run")
    done = CliRunner().invoke(cli, ["plot", "season", str(tmp_path / "run")])
    assert done.exit_code == 2
    assert "was trained without a season, so there is none to show; train with --season 24" in done.output
    assert not (tmp_path / "run" / "season.png").exists()


def test_the_report_shows_the_seasons(folder, tmp_path):
    from qkan.forecasting import load_run

    made = report.report_run(load_run(folder), tmp_path / "page.html", baselines=())
    page = made.path.read_text(encoding="utf-8")
    assert '<h2 id="seasons">Seasons</h2>' in page
    assert "cos(2πt/24)" in page
