"""``qkan compare lstm``."""

from pathlib import Path

import pandas as pd
import pytest
from tiny_runs import BARE_FLAGS

SMALL = ["compare", "lstm", "--data", "damped-shm", "--window", "4", "--epochs", "1", "--trials", "1", "--seeds", "2"]
SMALL += ["--workers", "1", *BARE_FLAGS]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("comparison")


@pytest.fixture(scope="module")
def output(folder: Path) -> str:
    from click.testing import CliRunner

    from qkan.cli.main import cli

    options = ["--cells", "lowrank,lstm", "--budget-params", "30,60", "--out", str(folder)]
    done = CliRunner().invoke(cli, [*SMALL, *options], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


def test_plan_names_the_budget(output: str) -> None:
    assert "sizes          at most 30, 60 parameters" in output
    assert "baselines      Naive, Drift, SeasonalNaive, SeasonalMean, Ridge" in output
    assert "each of them   1 setting by the validation error, or forms by AIC" in output
    assert "each           learning rates 0.01 with seed 0, then 1 more seed with the best" in output


def test_baselines_that_the_data_do_not_allow_are_named_with_the_reason(output: str, folder: Path) -> None:
    for name in ("SeasonalNaive", "SeasonalMean"):
        assert f"left out: {name}: the data have no season\n" in output
        assert f"- {name}: the data have no season." in (folder / "comparison.md").read_text()


def test_every_run_is_counted(output: str) -> None:
    runs = [line for line in output.splitlines() if line.startswith("run ")]
    assert len(runs) > 1
    assert runs[-1].startswith(f"run {len(runs)}/{len(runs)}  cell lstm  hidden_size ")


def test_table_has_parameters_errors_and_change_against_lstm(output: str, folder: Path) -> None:
    table = pd.read_csv(folder / "comparison.csv").set_index("cell")
    rows = {
        name: line
        for line in output.splitlines()
        for name in ("low-rank LSTM", "LSTM", "Naive")
        if line.startswith(f" {name} ")
    }
    assert set(rows) == {"low-rank LSTM", "LSTM", "Naive"}
    assert rows["low-rank LSTM"].split()[2] == str(int(table.loc["lowrank", "parameters"]))
    assert f"{table.loc['lowrank', 'mae_median']:.4g} (" in rows["low-rank LSTM"]
    assert f"{table.loc['lowrank', 'mae_change']:+.1f} %" in rows["low-rank LSTM"]
    assert rows["LSTM"].count("+0.0 %") == 2


def test_files_are_named(output: str, folder: Path) -> None:
    assert f"plot: {folder / 'comparison.png'}" in output
    assert (folder / "comparison.png").stat().st_size > 1000


def test_same_command_goes_on(output: str, folder: Path, qkan) -> None:
    done = qkan(*SMALL, "--cells", "lowrank,lstm", "--budget-params", "30,60", "--out", folder)
    assert done.exit_code == 0, done.output
    runs = output.count("\nrun ")
    assert f"{runs} of {runs} runs are on disk already" in done.output


def test_sizes_that_do_not_fit_are_named(tmp_path: Path, qkan) -> None:
    options = ["--cells", "lstm,lowrank", "--budget-params", "15,20", "--seeds", "1", "--out", tmp_path / "c"]
    done = qkan(*SMALL, *options)
    assert done.exit_code == 0, done.output
    assert "left out: LSTM at 15 parameters, as its smallest model has 18" in done.output


def test_quantum_lstm_takes_the_largest_size_that_fits(tmp_path: Path, qkan) -> None:
    options = ["--cells", "qlstm", "--qubits", "2", "--budget-params", "30,60", "--seeds", "1", "--trials", "1"]
    done = qkan(*SMALL, *options, "--out", tmp_path / "c")
    assert done.exit_code == 0, done.output
    # 15 H + 4 + 16 + 1 parameters: 2 (2 + H) encoder, 16 angles, 8 H + 4 H decoder and bias, H + 1 head
    points = pd.read_csv(tmp_path / "c" / "points.csv")
    assert points[["hidden_size", "parameters"]].to_numpy().tolist() == [[2, 51]]
    assert "left out: QLSTM at 30 parameters, as its smallest model has 36" in done.output


def test_gr_kan_is_compared_when_asked_for(tmp_path: Path, qkan) -> None:
    options = ["--cells", "gr-kan,lowrank", "--budget-params", "59,80", "--seeds", "1", "--trials", "1"]
    done = qkan(*SMALL, *options, "--out", tmp_path / "c")
    assert done.exit_code == 0, done.output
    points = pd.read_csv(tmp_path / "c" / "points.csv").set_index("cell")
    # 2 (2 + H) encoder, 28 + 12 latent, 12 H decoder and bias, H + 1 head: 15 H + 45
    assert points.loc[["gr-kan"], ["hidden_size", "parameters"]].to_numpy().tolist() == [[2, 75]]
    assert "left out: GR-KAN-LSTM at 59 parameters, as its smallest model has 60" in done.output


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ("", "Missing option '--data'"),
        ("--data telecm", "did you mean 'telecom'?"),
        ("--data damped-shm --cells qkan,rnn", "unknown cell 'rnn'"),
        (
            "--data damped-shm --cells lstm --budget-params 3 --level none --skip 0 --season none",
            "no cell fits --budget-params 3; the smallest model has 18 parameters",
        ),
        ("--data damped-shm --budget-params ten", "'ten' is not a list of whole numbers separated by commas"),
        ("--data damped-shm --seeds 0", "Invalid value for '--seeds': 0 is not in the range 1<=x<=100."),
    ],
)
def test_bad_input_is_one_sentence(arguments: str, sentence: str, tmp_path: Path, monkeypatch, qkan) -> None:
    monkeypatch.chdir(tmp_path)
    done = qkan("compare", "lstm", *arguments.split())
    assert done.exit_code == 2
    assert sentence in done.stderr.splitlines()[-1]


def test_another_comparison_is_not_replaced_unasked(output: str, folder: Path, qkan) -> None:
    done = qkan(*SMALL, "--cells", "lstm", "--budget-params", "30,60", "--out", folder)
    assert done.exit_code == 2
    assert "--overwrite to start anew" in done.stderr


def test_the_best_simple_method_is_named(output: str, folder: Path) -> None:
    assert "vs best baseline" in output
    (line,) = [line for line in output.splitlines() if "Diebold-Mariano" in line]
    assert line.startswith("Ridge would have done better: the MAE of ")
    assert line in (folder / "comparison.md").read_text()


def test_a_package_that_is_missing_is_one_sentence(tmp_path: Path, qkan, monkeypatch) -> None:
    from qkan.forecasting.baselines import registry

    monkeypatch.setattr(registry, "find_spec", lambda _: None)
    done = qkan(*SMALL, "--baselines", "lightgbm", "--out", tmp_path / "c")
    assert done.exit_code == 2
    install = "pip install 'qkan-seq[baselines]'"
    assert done.stderr.splitlines()[-1].endswith(f"needs lightgbm, which is not installed: {install}")
    assert not (tmp_path / "c").exists()


def test_more_folds_than_the_data_hold_are_one_sentence(tmp_path: Path, qkan) -> None:
    done = qkan(*SMALL, "--folds", "90", "--horizon", "5", "--out", tmp_path / "c")
    assert done.exit_code == 2
    assert "fewer than --horizon 5; use fewer folds or a smaller horizon" in done.stderr.splitlines()[-1]
