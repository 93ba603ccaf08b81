"""``benchmarks.quantum_series``: the series, the windows, and runs that are resumed and chosen by validation."""

import json

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from benchmarks.quantum_series import training
from benchmarks.quantum_series.__main__ import main
from benchmarks.quantum_series.cells import CELLS, build, parameters, widest
from benchmarks.quantum_series.record import chosen_runs
from benchmarks.quantum_series.tables import against, ranks
from benchmarks.quantum_series.tasks import TASKS, henon
from benchmarks.quantum_series.training import Error, Standardized, Training

# Of reservoirpy 0.3.12, henon_map(1000)[[1, 2, 3, 20, 40, 999]].
HENON = [
    [1.0, 0.0],
    [-0.3999999999999999, 0.3],
    [1.076, -0.11999999999999997],
    [0.34951464064150617, 0.1973015960288456],
    [1.2421092869213906, 0.03178750104786542],
    [-0.5211300984022545, 0.3221199093523596],
]


def test_henon_has_the_numbers_of_reservoirpy():
    points = henon()
    assert points.shape == (1000, 2)
    assert points[[1, 2, 3, 20, 40, 999]].tolist() == HENON


def test_there_are_27_tasks_of_all_coordinates():
    assert len(TASKS) == 27
    assert {name: task.parts()[0][1].shape[1] for name, task in TASKS.items() if task.horizon == 1} == {
        **{f"mackey-glass-h1-w{window}": 1 for window in (4, 8, 16)},
        **{f"henon-h1-w{window}": 2 for window in (4, 8, 16)},
        **{f"lorenz-h1-w{window}": 3 for window in (4, 8, 16)},
    }


def test_windows_are_parted_in_time_and_targets_lie_so_many_steps_behind_them():
    parts = TASKS["henon-h4-w8"].parts()
    values = henon()
    scaled = (values - values.min(axis=0)) / (values.max(axis=0) - values.min(axis=0))
    assert [len(inputs) for inputs, _ in parts] == [593, 198, 198]
    for (inputs, targets), first in zip(parts, (0, 593, 791), strict=True):
        assert inputs[0].numpy() == pytest.approx(scaled[first : first + 8], abs=1e-6)
        assert targets[0].numpy() == pytest.approx(scaled[first + 11], abs=1e-6)
    assert parts[-1][1][-1].numpy() == pytest.approx(scaled[-1], abs=1e-6)


@pytest.mark.parametrize("cell", CELLS)
def test_every_cell_fills_the_budget_and_reads_windows(cell):
    task = TASKS["lorenz-h1-w4"]
    width = widest(cell, task, 3, 200)
    assert parameters(build(cell, task, 3, width)) <= 200
    assert cell == "linear" or parameters(build(cell, task, 3, width + 1)) > 200
    assert build(cell, task, 3, width)(torch.rand(5, 4, 3)).shape == (5, 3)


def run(tmp_path, *arguments):
    short = ["--epochs", "1", "--lbfgs-steps", "2"]
    options = ["--tasks", "henon-h1-w4", "--cells", "linear,lstm", *short, "--out", str(tmp_path)]
    return CliRunner().invoke(main, [*options, *arguments])


def test_runs_are_kept_resumed_and_told(tmp_path, monkeypatch):
    first = run(tmp_path, "--seeds", "1")
    assert first.exit_code == 0, first.output
    path = tmp_path / "tuned" / "henon-h1-w4.json"
    rows = json.loads(path.read_text())["runs"]
    assert [(row["cell"], row["rate"], row["seed"]) for row in rows] == [
        (cell, rate, 0) for cell in ("linear", "lstm") for rate in (0.01, 0.03)
    ]
    monkeypatch.setattr(Training, "runs", lambda *_: pytest.fail("trained again"))
    again = run(tmp_path, "--seeds", "1")
    assert again.output == first.output
    assert "| `linear` | " in again.output
    assert "LSTM 1.78, RNN 2.70" in again.output
    monkeypatch.undo()
    assert run(tmp_path, "--seeds", "2").exit_code == 0
    more = json.loads(path.read_text())["runs"]
    assert more[:4] == rows
    assert [row["rate"] for row in more[4:]] == [chosen_runs(rows, cell)[0]["rate"] for cell in ("linear", "lstm")]


def test_a_picture_is_drawn_of_errors_beside_those_of_the_lstm(tmp_path):
    assert run(tmp_path, "--seeds", "1", "--plot", str(tmp_path / "a.png")).exit_code == 0
    assert (tmp_path / "a.png").stat().st_size > 10_000
    result = run(tmp_path, "--cells", "linear", "--table", "--plot", str(tmp_path / "b.png"))
    assert result.exit_code == 2
    assert "name lstm in --cells as well" in " ".join(result.output.split())


def test_training_as_the_paper_does_takes_its_rate_and_stops_on_a_plateau(monkeypatch):
    monkeypatch.setattr(training, "PATIENCE", 1)
    monkeypatch.setattr(Error, "value", lambda _: 1.0)
    (row,) = Training("paper", 50, 0, 400).runs("linear", TASKS["henon-h1-w4"], training.RATES["paper"], 0)
    assert (row["epochs"], row["best_epoch"], row["parameters"]) == (1, 0, 18)
    assert row["rate"] == 1e-3


def test_models_see_the_training_part_with_zero_mean_and_unit_variance():
    train = TASKS["lorenz-h1-w4"].parts()[0]
    seen = []
    model = Standardized(torch.nn.Identity(), train)
    model.model.forward = lambda window: seen.append(window) or torch.zeros(len(window), 3)
    assert torch.equal(model(train[0]), train[1].mean(dim=0).expand(len(train[0]), 3))
    assert seen[0].mean(dim=(0, 1)).tolist() == pytest.approx([0, 0, 0], abs=1e-5)
    assert seen[0].flatten(0, 1).std(dim=0).tolist() == pytest.approx([1, 1, 1], abs=1e-5)


def test_the_finish_goes_on_from_the_rate_with_the_lower_validation_error_and_never_raises_it():
    rows = Training("tuned", 2, 30, 100).runs("gru", TASKS["henon-h1-w4"], (1e-3, 3e-2), 1)
    assert [row["chosen"] for row in rows] == [False, True]
    assert rows[0]["adam_validation"] == rows[0]["validation"] > rows[1]["adam_validation"]
    assert rows[0]["steps"] == 0
    assert rows[1]["validation"] < 0.1 * rows[1]["adam_validation"]
    assert rows[1]["steps"] == 30


def test_the_finish_counts_the_error_from_a_million(monkeypatch):
    begun = []
    monkeypatch.setattr(training, "descend", lambda model, objective, *_, **__: begun.append(objective.with_gradient()))
    Training("tuned", 1, 30, 100).runs("gru", TASKS["henon-h1-w4"], (1e-3,), 1)
    assert begun == [pytest.approx(1e6)]


def test_training_lowers_the_error_and_a_seed_gives_the_same_run():
    found = [Training("tuned", 5, 20, 100).runs("gru", TASKS["henon-h1-w4"], (3e-2,), 1)[0] for _ in range(2)]
    assert found[0]["test"] == found[1]["test"]
    targets = TASKS["henon-h1-w4"].parts()[2][1]
    assert found[0]["test"] < 0.1 * float(targets.var(dim=0, correction=0).mean())


def test_ranks_are_those_of_the_errors():
    assert ranks({"task": {"a": 0.3, "b": 0.1, "c": 0.2}}) == {"task": {"b": 1, "c": 2, "a": 3}}


def test_two_cells_are_compared_in_pairs_over_tasks():
    errors = {str(task): {"a": 1.0, "b": 2.0 + task, "c": 1.0} for task in range(8)}
    wins, ratio, p = against(errors, "a", "b")
    assert (wins, ratio) == (8, pytest.approx(30**-0.5))
    assert p == pytest.approx(2 / 2**8)
    assert against(errors, "a", "c") == (0, 1.0, 1.0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--cells", "lstn"), "--cells has no 'lstn'; choose from qkan, "),
        (("--tasks", "henon"), "--tasks has no 'henon'; choose from mackey-glass-h1-w4, "),
        (("--cells", "qkan", "--budget", "8"), "the smallest 'qkan' for henon-h1-w4 has "),
        (("--table",), "has no task with runs of all of linear, lstm; run them, or name other --cells"),
    ],
)
def test_bad_arguments_are_answered_with_a_sentence(tmp_path, arguments, message):
    result = run(tmp_path, *arguments)
    assert result.exit_code == 2
    assert message in " ".join(result.output.split())


def test_runs_of_other_settings_are_not_mixed(tmp_path):
    assert run(tmp_path, "--seeds", "1", "--cells", "linear").exit_code == 0
    result = run(tmp_path, "--seeds", "1", "--cells", "linear", "--budget", "99")
    assert result.exit_code == 2
    assert "give --out another folder" in " ".join(result.output.split())


def test_a_damaged_file_is_told_and_stays_as_it_was(tmp_path):
    path = tmp_path / "tuned" / "henon-h1-w4.json"
    path.parent.mkdir()
    path.write_text('{"runs"')
    result = run(tmp_path)
    assert result.exit_code == 2
    assert "henon-h1-w4.json holds no runs of this benchmark; remove it" in " ".join(result.output.split())
    assert path.read_text() == '{"runs"'


def test_all_values_lie_between_0_and_1():
    for name in ("mackey-glass-h1-w4", "lorenz-h1-w4"):
        inputs = np.concatenate([part[0].numpy() for part in TASKS[name].parts()])
        assert (inputs.min(), inputs.max()) == pytest.approx((0.0, 1.0), abs=1e-6)
