import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from qkan.cli.commands.data import data
from qkan.cli.main import cli
from qkan.datasets import SPECS, DataError


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Run ``qkan data`` with the given words in an empty folder."""
    monkeypatch.chdir(tmp_path)

    def run(*words):
        return CliRunner().invoke(data, words, env={"COLUMNS": "200"})

    return run


def told(result):
    """The facts that ``qkan data show`` printed, by name."""
    assert result.exit_code == 0, result.output
    rows = [[cell.strip() for cell in line.strip("│").split("│")] for line in result.output.splitlines() if "│" in line]
    return dict(rows)


def test_list_shows_every_series_with_size_step_seasons_summary_and_source(run):
    result = run("list")
    assert result.exit_code == 0
    rows = {line.split()[0]: line for line in result.output.splitlines() if line.strip()}
    for name, spec in SPECS.items():
        assert f"{spec.points:,}" in rows[name]
        assert f"{spec.summary} ({spec.source})" in rows[name]
    assert rows["telecom"].split()[:5] == ["telecom", "27,716", "5min", "169,", "845"]
    assert rows["henon-map"].split()[:4] == ["henon-map", "1,100", "1", "none"]


def test_show_describes_telecom(run, tmp_path):
    facts = told(run("show", "telecom"))
    assert facts["points"] == "27,716"
    assert facts["step"] == "5min, working days 07:00 to 21:00"
    assert facts["time"] == "2003-03-03 07:00:00 to 2003-10-24 21:00:00"
    assert facts["unit"] == "calls per 5 minutes"
    assert (facts["mean"], facts["standard deviation"], facts["min"], facts["max"]) == (
        "192.079",
        "78.3415",
        "11",
        "465",
    )
    assert facts["autocorrelation, season 169"] == "0.908"
    assert facts["test MAE, Naive"] == "15.4213"
    assert facts["test MAE, SeasonalNaive(169)"] == "23.7622"
    assert facts["test MAE, SeasonalNaive(845)"] == "23.0478"
    assert (tmp_path / "telecom-series.png").read_bytes().startswith(b"\x89PNG")


def test_show_describes_a_series_without_seasons(run):
    facts = told(run("show", "logistic-map"))
    assert facts["step"] == "row order or whole-number steps"
    assert (facts["seasons"], facts["unit"], facts["time"]) == ("none", "none", "0 to 1499")
    assert [name for name in facts if "MAE" in name] == ["test MAE, Naive"]


def test_show_describes_a_file_with_several_series(run, tmp_path):
    times = pd.date_range("2024-01-01", periods=30, freq="D")
    parts = [
        pd.DataFrame({"site": site, "day": times[:n], "calls": np.arange(n)}) for site, n in (("[b]", 30), ("a", 20))
    ]
    pd.concat(parts).assign(other=1).to_csv(tmp_path / "mine.csv", index=False)
    result = run("show", "mine.csv", "--time-col", "day", "--target-col", "calls", "--id-col", "site", "--out", "x.svg")
    facts = told(result)
    assert (facts["series"], facts["points"], facts["step"]) == ("2", "50 (20 to 30 per series)", "D")
    assert (facts["seasons"], facts["test MAE, Naive"]) == ("7 steps", "1")
    assert facts["missing"] == "0 (a series with missing values is refused)"
    assert "Plot: x.svg" in result.output
    assert (tmp_path / "x.svg").exists()


def test_show_says_when_a_statistic_cannot_be_had(run, tmp_path):
    (tmp_path / "flat.csv").write_text("y\n1\n1\n1\n")
    facts = told(run("show", "flat.csv"))
    assert facts["autocorrelation, 1 step"] == "too short or constant"
    assert facts["test MAE, Naive"] == "0"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["telecm"], "unknown data 'telecm' (did you mean 'telecom'?)"),
        (["none.csv"], "there is no file 'none.csv'"),
        (["telecom", "--time-col", "ds"], "time_col='ds' was given, but 'telecom' is a built-in series"),
        (["narma-5", "--out", "p.gif"], "cannot draw into 'p.gif'"),
        (["narma-5", "--out", "no/p.png"], "the folder 'no' of 'p.png' does not exist"),
    ],
)
def test_data_errors_reach_the_entry_of_the_command_line(run, words, message):
    error = run("show", *words).exception
    assert isinstance(error, DataError)
    assert str(error).startswith(message)


def test_the_entry_of_the_command_line_answers_with_one_line():
    result = CliRunner().invoke(cli, ["data", "show", "telecm"])
    assert result.exit_code == 2
    assert result.stderr.startswith("Error: unknown data 'telecm' (did you mean 'telecom'?); choose one of telecom,")
    assert result.stderr.count("\n") == 1


def test_help_gives_examples(run):
    output = run("show", "--help").output
    assert "qkan data show telecom" in output
    assert "NAME|FILE" in output


def test_show_counts_what_was_filled(run, tmp_path):
    pd.DataFrame({"y": [1.0, 2, np.nan, 4, 5, 6, 7, 8, np.nan, 9]}).to_csv(tmp_path / "mine.csv", index=False)
    facts = told(run("show", "mine.csv", "--missing", "mask", "--out", "x.svg"))
    assert (facts["missing"], facts["points"], facts["test MAE, Naive"]) == ("2, filled", "10", "1")
