"""``qkan train lstm``."""

import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from call_counts import count_calls
from tiny_runs import BARE_FLAGS

from qkan.forecasting import load_run
from qkan.forecasting.config.options import FINISH_STEPS
from qkan.forecasting.report.run_frame import training_command
from qkan.forecasting.runs import tuning

SMALL = ("train", "lstm", "--data", "damped-shm", "--cell", "lstm", "--epochs", "1", "--window", "4", *BARE_FLAGS)


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def facts(output: str) -> dict[str, str]:
    """Return the table before training as a dictionary."""
    lines = [line.split("   ", 1) for line in output.splitlines() if "   " in line]
    return {name.strip(): value.strip() for name, value in lines}


def test_plan_training_result_and_folder_are_shown(elsewhere: Path, qkan) -> None:
    done = qkan(*SMALL, "--hidden-size", "2")
    assert done.exit_code == 0, done.output
    plan = facts(done.output)
    assert plan["data"] == "damped-shm: angular velocity of a damped pendulum"
    assert plan["values"] == "240, 0 to 239"
    assert plan["windows"] == "164 training, 24 validation, 48 test; 4 steps in, 1 out"
    assert plan["cell"] == "lstm, hidden size 2, layers 1"
    assert plan["parameters"] == "43"
    assert plan["run folder"] == "runs/damped-shm-lstm-seed0"
    assert "epoch 1/1  loss " in done.output
    assert "Test part, errors in rad/s" in done.output
    assert "run folder: runs/damped-shm-lstm-seed0" in done.output
    assert load_run("runs/damped-shm-lstm-seed0").config.hidden_size == 2


def test_data_are_read_and_cut_once_and_the_model_is_built_once(elsewhere: Path, qkan, monkeypatch) -> None:
    calls = count_calls(monkeypatch)
    assert qkan(*SMALL, "--hidden-size", "2").exit_code == 0
    assert calls == {"read": 1, "cut": 1, "build": 1, "baselines": 1}


def test_quantum_lstm_shows_its_circuits(elsewhere: Path, qkan) -> None:
    options = ["--cell", "qlstm", "--qubits", "3", "--circuit-layers", "2", "--hidden-size", "2"]
    done = qkan(*SMALL, *options)
    assert done.exit_code == 0, done.output
    plan = facts(done.output)
    assert plan["cell"] == "qlstm, hidden size 2, layers 1, circuit layers 2, qubits 3"
    assert plan["parameters"] == "107"
    cell = load_run("runs/damped-shm-qlstm-seed0").model.cell
    assert (cell.qubits, cell.circuit_layers) == (3, 2)


def test_gr_kan_is_a_cell(elsewhere: Path, qkan) -> None:
    done = qkan(*SMALL, "--cell", "gr-kan", "--latent-features", "3", "--hidden-size", "2")
    assert done.exit_code == 0, done.output
    plan = facts(done.output)
    assert plan["cell"] == "gr-kan, hidden size 2, layers 1, latent features 3"
    latent = load_run("runs/damped-shm-gr-kan-seed0").model.cell.directions[0].gates.latent
    assert (latent.fc1.in_features, latent.act1.num_groups) == (3, 3)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ("--cell qlstm --qubits 13", "Invalid value for '--qubits': 13 is not in the range 1<=x<=12."),
        (
            "--cell lstm --qubits 3",
            "--qubits 3 has no effect on cell 'lstm'; leave it out or choose one of the cells qlstm",
        ),
    ],
)
def test_bad_circuits_of_the_quantum_lstm(arguments: str, sentence: str, elsewhere: Path, qkan) -> None:
    done = qkan("train", "lstm", "--data", "damped-shm", *arguments.split())
    assert done.exit_code == 2
    assert sentence in done.stderr.splitlines()[-1]


def test_shown_errors_are_those_of_the_run_folder(elsewhere: Path, qkan) -> None:
    done = qkan(*SMALL)
    scores = json.loads(Path("runs/damped-shm-lstm-seed0/metrics.json").read_text())["test"]
    rows = {
        line.split()[0]: line.split() for line in done.output.splitlines() if line.startswith((" LSTM ", " Naive "))
    }
    for shown, name in (("LSTM", "LSTM"), ("Naive", "Naive")):
        assert float(rows[shown][1]) == pytest.approx(scores[name]["mae"], rel=1e-3)
        assert float(rows[shown][4]) == pytest.approx(scores[name]["r2"], rel=1e-3)
    best = min((name for name in scores if name != "LSTM"), key=lambda name: scores[name]["mae"])
    change = 100 * (scores["LSTM"]["mae"] / scores[best]["mae"] - 1)
    assert f"MAE of LSTM: {change:.1f} % above that of {best}, the best simple method." in done.output


def test_circuit_options_reach_the_cell(elsewhere: Path, qkan) -> None:
    circuit = ["--reps", "2", "--ansatz", "rpz", "--preact-trainable", "--group", "input", "--no-bias"]
    options = ["--data", "bessel-j2", "--window", "4", "--epochs", "1", "--hidden-size", "1", "--seed", "3"]
    done = qkan("train", "lstm", *options, *circuit)
    assert done.exit_code == 0, done.output
    config = load_run("runs/bessel-j2-qkan-seed3").config
    chosen = (config.reps, config.ansatz, config.preact_trainable, config.group, config.bias)
    assert chosen == (2, "rpz", True, "input", False)


def test_a_file_of_the_user_is_read_by_its_columns(elsewhere: Path, qkan) -> None:
    hours = pd.date_range("2024-01-01", periods=120, freq="h")
    frame = pd.DataFrame({"hour": hours, "calls": np.sin(np.arange(120.0)), "other": 1.0})
    frame.to_csv("calls.csv", index=False)
    columns = ("--time-col", "hour", "--target-col", "calls")
    done = qkan("train", "lstm", "--data", "calls.csv", *columns, "--cell", "gru", "--epochs", "1", "--horizon", "2")
    assert done.exit_code == 0, done.output
    assert "2024-01-01 00:00:00 to 2024-01-05 23:00:00" in facts(done.output)["values"]
    assert load_run("runs/calls-gru-seed0").config.horizon == 2


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ("--data telecm", "unknown data 'telecm' (did you mean 'telecom'?)"),
        ("--data missing.csv", "missing.csv"),
        ("--data damped-shm --cell rnn", "Invalid value for '--cell': 'rnn' is not one of"),
        ("--data damped-shm --ansatz pzz", "unknown ansatz 'pzz'"),
        ("--data damped-shm --hidden-size -1", "Invalid value for '--hidden-size': -1 is not in the range 1<=x<=4096."),
        ("--data damped-shm --hidden-size 4096 --num-layers 32", "take a smaller --hidden-size"),
        ("--data damped-shm --lr nan", "lr must be a finite number, got nan"),
        ("--data damped-shm --cell lstm --reps 2", "--reps 2 has no effect on cell 'lstm'"),
        ("--data damped-shm --split 0.5,0.1", "split must be three fractions"),
        (
            "--data damped-shm --split a,b,c",
            "'a,b,c' is not a list of numbers separated by commas, such as 0.7,0.1,0.2",
        ),
        ("--data damped-shm --window 400", "series 'damped-shm' has 240 points"),
        ("--data damped-shm --device tpu", "device must be 'auto', 'cpu', 'cuda' or 'cuda:N', got 'tpu'"),
        ("--data damped-shm --device cuda:99", "device 'cuda:99' is not available"),
        ("--data damped-shm --target-col z", "column"),
        ("--epochs 3", "Missing option '--data': name a series of `qkan data list` or a file."),
        ("--resume", "Missing option '--data'"),
        ("--data damped-shm --tune 1", "Invalid value for '--tune': 1 is not in the range 2<=x<=8."),
        (
            "--data damped-shm --tune 2 --lr 0.1",
            "--lr is what the 2 trials are to find; leave out --lr or --tune.",
        ),
        ("--data damped-shm --executor ray", "--executor says where trials run, and there are none; add --tune N."),
        ("--data damped-shm --workers 2", "--workers says where trials run, and there are none; add --tune N."),
        ("--data damped-shm --tune 2 --executor rax", "executor must be processes, ray, or the address of a Ray"),
        ("--data damped-shm --tune 2 --devices 2", "every trial of a learning rate is trained by one process, not by"),
        ("--data damped-shm --tune 2 --split 0.8,0,0.2", "trials of learning rates are judged by the validation part"),
        ("--data damped-shm --resume --overwrite", "--resume and --overwrite exclude each other"),
        ("--out nowhere --resume", "nowhere/config.json is missing; give a run folder, or restore the file"),
        (
            "--data damped-shm --out nowhere --resume",
            "there is no run to resume in nowhere; leave out --resume to start one",
        ),
    ],
)
def test_what_a_user_can_get_wrong_is_one_sentence(arguments: str, sentence: str, elsewhere: Path, qkan) -> None:
    done = qkan("train", "lstm", *arguments.split())
    assert done.exit_code == 2
    assert done.stderr.splitlines()[-1].startswith("Error: ")
    assert sentence in done.stderr.splitlines()[-1]
    assert list(elsewhere.iterdir()) == []


def test_learning_rates_are_tried_first_and_the_best_one_trains(elsewhere: Path, qkan) -> None:
    done = qkan(*SMALL, "--tune", "3", "--workers", "1", "--out", "tuned")
    assert done.exit_code == 0, done.output
    assert "the best lr of 0.01, 0.03, 0.1 by validation error" in facts(done.output)["training"]
    lines = [line for line in done.output.splitlines() if line.startswith("trial ")]
    assert [line.split("  ")[:2] for line in lines] == [
        [f"trial {place}/3", f"lr {rate}"] for place, rate in enumerate((0.01, 0.03, 0.1), start=1)
    ]
    run = load_run("tuned")
    lr = f"{run.tuning['lr'][run.tuning['validation_loss'].idxmin()]:g}"
    assert f"lr {lr} had the lowest validation error of 3 (tuning.csv); the run is what --lr {lr} in" in done.output
    assert f"{run.config.lr:g}" == lr
    assert qkan("report", "tuned", "--baselines", "none").exit_code == 0
    page = Path("tuned/report.html").read_text()
    assert "<caption>Learning rates that were tried before the training</caption>" in page
    assert training_command(run) in page


def test_a_search_is_resumed_by_its_folder_alone(elsewhere: Path, qkan, monkeypatch) -> None:
    real, calls = tuning.try_rate, []

    def ends_at_the_second(data, config):
        calls.append(config.lr)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return real(data, config)

    monkeypatch.setattr(tuning, "try_rate", ends_at_the_second)
    done = qkan(*SMALL, "--tune", "2", "--workers", "1", "--out", "r")
    assert done.exit_code == 130
    assert done.stderr.splitlines()[-1] == "Interrupted. Go on with: qkan train lstm --out r --resume"
    done = qkan("train", "lstm", "--out", "r", "--resume", "--workers", "1")
    assert done.exit_code == 0, done.output
    assert "1 of 2 trials are on disk already" in done.output
    assert calls == [0.01, 0.03, 0.03]
    done = qkan("train", "lstm", "--out", "r", "--resume", "--lr", "0.1")
    assert done.exit_code == 2
    assert done.stderr.endswith("Error: --lr is what the 2 trials are to find; leave out --lr or --tune.\n")


def test_a_run_is_never_replaced_unasked(trained: Path, qkan) -> None:
    before = (trained / "metrics.json").read_bytes()
    done = qkan(*SMALL, "--out", trained)
    assert done.exit_code == 2
    assert done.stderr == (
        f"Error: there is a run in {trained} already; choose another folder, or pass --overwrite to replace it or "
        "--resume to finish it\n"
    )
    assert (trained / "metrics.json").read_bytes() == before


def test_overwrite_replaces_the_run(elsewhere: Path, qkan) -> None:
    assert qkan(*SMALL, "--out", "run").exit_code == 0
    assert qkan(*SMALL, "--out", "run", "--seed", "1", "--overwrite").exit_code == 0
    assert load_run("run").config.seed == 1


def test_resume_takes_the_options_of_the_run(trained: Path, qkan) -> None:
    done = qkan("train", "lstm", "--out", trained, "--resume")
    assert done.exit_code == 0, done.output
    assert facts(done.output)["windows"].endswith("4 steps in, 1 out")


def test_resume_refuses_another_option_than_the_run_has(trained: Path, qkan) -> None:
    done = qkan("train", "lstm", "--out", trained, "--resume", "--epochs", "7")
    assert done.exit_code == 2
    assert f"the run in {trained} was started with --epochs 1, not 7" in done.stderr


def test_resume_starts_a_run_that_was_killed_before_its_first_file(elsewhere: Path, qkan) -> None:
    (elsewhere / "run").mkdir()
    done = qkan(*SMALL, "--out", "run", "--resume")
    assert done.exit_code == 0, done.output
    assert load_run("run").config.epochs == 1


def test_a_run_on_a_file_is_of_use_in_any_working_directory(elsewhere: Path, monkeypatch, qkan) -> None:
    folder = elsewhere / "my data"
    folder.mkdir()
    pd.DataFrame({"y": np.sin(np.arange(60.0))}).to_csv(folder / "Wärme.csv", index=False)
    options = ("--cell", "gru", "--epochs", "1", "--window", "4", *BARE_FLAGS)
    assert qkan("train", "lstm", "--data", "my data/Wärme.csv", *options, "--out", "run").exit_code == 0
    monkeypatch.chdir(folder)
    for command in (["train", "lstm", "--resume", "--out"], ["evaluate"], ["predict"]):
        done = qkan(*command, "../run")
        assert done.exit_code == 0, done.output
    (folder / "Wärme.csv").unlink()
    done = qkan("predict", "../run")
    assert done.exit_code == 2
    assert "that ../run was trained on is not there any more; to use other values, name them: --data" in done.stderr


def test_resume_finds_the_default_folder(elsewhere: Path, qkan) -> None:
    assert qkan(*SMALL).exit_code == 0
    done = qkan(*SMALL, "--resume")
    assert done.exit_code == 0, done.output
    assert facts(done.output)["run folder"] == "runs/damped-shm-lstm-seed0"


def test_the_finish_and_the_starts_are_said(elsewhere: Path, qkan) -> None:
    done = qkan(*SMALL, "--hidden-size", "2", "--lbfgs-steps", "20", "--restarts", "2")
    assert done.exit_code == 0, done.output
    assert facts(done.output)["training"].startswith("1 epoch, up to 20 steps of LBFGS, best of 2 starts, batch 8, ")
    said = r"the weights are those of epoch 1 and \d+ steps of LBFGS, which took the validation loss from \S+ to \S+"
    assert re.search(rf"{said}, of start [12] of 2\n", done.output), done.output
    losses = load_run("runs/damped-shm-lstm-seed0").metrics["starts"]
    assert min(losses) == load_run("runs/damped-shm-lstm-seed0").metrics["best_validation_loss"]


def test_the_plan_says_that_a_small_model_is_finished_by_default(
    elsewhere: Path, qkan, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("qkan.forecasting.training.lbfgs.FINISH_STEPS", FINISH_STEPS)
    options = ("--data", "damped-shm", "--cell", "gru", "--epochs", "1", "--window", "4", "--hidden-size", "1")
    done = qkan("train", "lstm", *options)
    assert done.exit_code == 0, done.output
    assert facts(done.output)["training"].startswith("1 epoch, up to 1,000 steps of LBFGS, batch 8, ")
    run = load_run("runs/damped-shm-gru-seed0")
    assert run.config.lbfgs_steps is None
    assert run.metrics["lbfgs"]["after"] <= run.metrics["lbfgs"]["before"]
