import json
import math
import multiprocessing

import numpy as np
import pandas as pd
import pytest
import torch
from tiny_runs import tiny_comparison, tiny_config

from qkan.forecasting import RunError, compare
from qkan.forecasting.comparison import workers
from qkan.forecasting.comparison.plan import Point, choose_learning_rate, plan_points
from qkan.forecasting.comparison.workers import Outcome, train_and_score
from qkan.forecasting.data.load import load_windows
from qkan.forecasting.training.process_state import one_thread

CLOCKS = ["seconds", "predict_seconds"]


class Counter:
    """Remembers reports and, if asked, stops the comparison after a number of runs."""

    def __init__(self, stop_after=None):
        self.stop_after, self.started, self.records, self.finished = stop_after, None, [], False
        self.baselines = []

    def start(self, runs, done=0):
        self.started = (runs, done)

    def baseline(self, name, done, total):
        self.baselines.append(name)

    def run(self, record):
        self.records.append(record)
        if len(self.records) == self.stop_after:
            raise KeyboardInterrupt

    def finish(self):
        self.finished = True


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """A finished comparison of lstm and gru at one size, with its watcher."""
    watcher = Counter()
    out = tmp_path_factory.mktemp("comparisons") / "small"
    return compare(tiny_comparison(out=str(out)), progress=watcher), watcher


def test_every_cell_gets_the_same_runs(small):
    found, watcher = small
    assert (watcher.started, len(watcher.records), watcher.finished) == ((6, 0), 6, True)
    for _, own in found.runs.groupby("cell"):
        assert own[own["seed"] == 0]["lr"].tolist() == [0.01, 0.03]
        assert own[own["seed"] == 1]["lr"].nunique() == 1


def test_learning_rate_is_chosen_by_validation_of_seed_zero(small):
    found, _ = small
    for _, point in found.points.iterrows():
        tried = found.runs[(found.runs["cell"] == point["cell"]) & (found.runs["seed"] == 0)]
        assert point["lr"] == tried.loc[tried["validation_loss"].idxmin(), "lr"]


def test_points_are_medians_and_spreads_over_seeds(small):
    found, _ = small
    for _, point in found.points.iterrows():
        own = found.runs[(found.runs["cell"] == point["cell"]) & (found.runs["lr"] == point["lr"])]
        assert (point["seeds"], len(own)) == (2, 2)
        for metric in ("mae", "mse", "r2", "scaled_mse"):
            values = own[f"test_{metric}"]
            assert point[f"{metric}_median"] == pytest.approx(values.mean())  # of two
            assert (point[f"{metric}_min"], point[f"{metric}_max"]) == (values.min(), values.max())


def test_folder_holds_tables_picture_and_options(small):
    found, _ = small
    names = {"comparison.csv", "comparison.md", "comparison.png", "config.json", "environment.json", "points.csv"}
    names |= {"runs.csv", "baselines.json", "losses"}
    assert {path.name for path in found.path.iterdir()} == names
    pd.testing.assert_frame_equal(pd.read_csv(found.path / "points.csv"), found.points)
    pd.testing.assert_frame_equal(pd.read_csv(found.path / "runs.csv"), found.runs)
    environment = json.loads((found.path / "environment.json").read_text())
    assert (environment["torch"], environment["device"]) == (torch.__version__, "cpu")
    options = json.loads((found.path / "config.json").read_text())["compare"]
    assert (options["cells"], options["seeds"], "out" in options) == (["lstm", "gru"], 2, False)


def test_run_of_a_comparison_is_the_run_that_train_makes(small):
    found, _ = small
    row = found.runs.iloc[0]
    config = tiny_config(cell=row["cell"], hidden_size=int(row["hidden_size"]), lr=row["lr"], seed=int(row["seed"]))
    with one_thread():
        record = train_and_score(config, load_windows(config)).record
    assert {name: value for name, value in record.items() if name not in CLOCKS} == {
        name: value for name, value in row.items() if name not in CLOCKS
    }


def test_interrupted_comparison_goes_on_where_it_stopped(small, tmp_path):
    config = tiny_comparison(out=str(tmp_path / "c"))
    with pytest.raises(KeyboardInterrupt):
        compare(config, progress=Counter(stop_after=4))
    watcher = Counter()
    found = compare(config, progress=watcher)
    assert (watcher.started, len(watcher.records)) == ((6, 4), 2)
    pd.testing.assert_frame_equal(found.runs.drop(columns=CLOCKS), small[0].runs.drop(columns=CLOCKS))


def test_comparison_interrupted_before_its_first_run_starts_again(tmp_path):
    class Early(Counter):
        def start(self, runs, done=0):
            raise KeyboardInterrupt

    config = tiny_comparison(out=str(tmp_path / "c"), cells=("lstm",), trials=1, seeds=1)
    with pytest.raises(KeyboardInterrupt):
        compare(config, progress=Early())
    made = {"config.json", "environment.json", "baselines.json", "losses"}
    assert {path.name for path in (tmp_path / "c").iterdir()} == made
    assert len(compare(config).runs) == 1


def test_finished_comparison_trains_nothing_when_repeated(small):
    found, _ = small
    watcher = Counter()
    again = compare(tiny_comparison(out=str(found.path), workers=3), progress=watcher)
    assert (watcher.started, watcher.records) == ((6, 6), [])
    pd.testing.assert_frame_equal(again.points, found.points)


def test_other_options_need_another_folder_or_overwrite(tmp_path):
    config = tiny_comparison(out=str(tmp_path / "c"), cells=("lstm",), trials=1, seeds=1)
    compare(config)
    changed = tiny_comparison(out=str(tmp_path / "c"), cells=("lstm",), trials=1, seeds=1, epochs=1)
    with pytest.raises(RunError, match=r"was made with epochs=2, not 1; choose another folder, or pass overwrite=True"):
        compare(changed)
    assert compare(changed, overwrite=True).runs["epochs"].tolist() == [1]


def test_changed_data_needs_another_folder(tmp_path):
    path = tmp_path / "values.csv"
    config = tiny_comparison(data=str(path), out=str(tmp_path / "c"), cells=("lstm",), trials=1, seeds=1)
    for offset, expectation in ((0, None), (1, r"was made with other values of '.*values\.csv'")):
        pd.DataFrame({"y": np.sin(np.arange(80) / 4) + offset}).to_csv(path, index=False)
        if expectation is None:
            compare(config)
        else:
            with pytest.raises(RunError, match=expectation):
                compare(config)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("thesis.tex", "x", "holds no comparison; choose another folder"),
        ("config.json", '{"format_version": 1, "config": {}}', "holds no comparison; choose another folder"),
        ("config.json", '{"format_version": 9, "compare": {}}', "format version 9, this version of qkan reads up to 1"),
    ],
)
def test_folder_with_something_else_is_refused(tmp_path, name, content, message):
    (tmp_path / name).write_text(content)
    with pytest.raises(RunError, match=message):
        compare(tiny_comparison(out=str(tmp_path)), overwrite=True)
    assert (tmp_path / name).read_text() == content


def test_file_in_the_place_of_the_folder_is_refused(tmp_path):
    (tmp_path / "c").touch()
    with pytest.raises(RunError, match="cannot make the folder"):
        compare(tiny_comparison(out=str(tmp_path / "c")))


@pytest.mark.parametrize("content", ["", "cell,lr\nlstm,0.1\n"])
def test_unreadable_records_are_refused(small, tmp_path, content):
    config = tiny_comparison(out=str(tmp_path / "c"))
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "config.json").write_text((small[0].path / "config.json").read_text())
    (tmp_path / "c" / "runs.csv").write_text(content)
    with pytest.raises(RunError, match=r"cannot read .*runs\.csv.*; delete it to start the comparison anew"):
        compare(config)


def test_plan_takes_the_largest_size_that_fits_once():
    config = tiny_comparison(out="o", cells=("lstm", "qkan"), group="edge", budget_params=(130, 20, 37, 43, 40))
    points, skipped = plan_points(config)
    assert points == [
        Point("lstm", 20, 1, 18),
        Point("lstm", 43, 2, 43),
        Point("lstm", 130, 4, 117),
        Point("qkan", 40, 1, 38),
        Point("qkan", 130, 2, 107),
    ]
    assert [(skip.cell, skip.budget, skip.smallest) for skip in skipped] == [("qkan", 20, 38), ("qkan", 37, 38)]


def test_plan_without_any_fitting_cell_is_refused():
    with pytest.raises(ValueError, match=r"no cell fits budget_params=\(5,\); the smallest model has 14 parameters"):
        plan_points(tiny_comparison(out="o", budget_params=(5,)))


def test_diverged_runs_lose_and_never_crash(tmp_path, monkeypatch):
    real = workers.train_and_score

    def explode(config, data, fold):
        record, losses = real(config, data, fold)
        if config.lr == 0.01:
            bad = {name: math.inf for name in record if name.startswith(("test_", "validation"))}
            return Outcome({**record, **bad, "test_r2": -math.inf, "diverged": True}, None)
        return Outcome(record, losses)

    monkeypatch.setattr(workers, "train_and_score", explode)
    found = compare(tiny_comparison(out=str(tmp_path / "c"), cells=("lstm",)))
    assert found.points["lr"].tolist() == [0.03]
    monkeypatch.undo()
    assert compare(tiny_comparison(out=str(tmp_path / "c"), cells=("lstm",))).runs["diverged"].tolist() == [
        True, False, False,
    ]  # fmt: skip


def test_first_of_equal_learning_rates_wins():
    config = tiny_comparison(out="o", trials=3)
    point = Point("lstm", 50, 2, 43)
    records = [
        {"fold": 1, "cell": "lstm", "hidden_size": 2, "seed": 0, "lr": lr, "validation_loss": error}
        for lr, error in ((0.1, 1.0), (0.03, 1.0), (0.01, math.inf))
    ]
    assert choose_learning_rate(config, point, records) == 0.03
    assert choose_learning_rate(config, point, []) == 0.01


def test_learning_rates_can_be_tried_with_several_seeds(tmp_path):
    config = tiny_comparison(out=str(tmp_path / "c"), cells=("lstm",), seeds=3, tuning_seeds=2, trials=2)
    watcher = Counter()
    found = compare(config, progress=watcher)
    sizes = found.runs["hidden_size"].nunique()
    assert watcher.started == (sizes * (2 * 2 + 1), 0)
    for _, own in found.runs.groupby("hidden_size"):
        median = own[own["seed"] < 2].groupby("lr")["validation_loss"].median()
        assert set(own[own["seed"] == 2]["lr"]) == {median.idxmin()}
    assert "with seeds 0 to 1;" in (tmp_path / "c" / "comparison.md").read_text()


def test_diverged_training_is_recorded_as_infinitely_bad(make_data):
    data = make_data({"a": [(-1.0) ** i * 3e19 for i in range(100)]}, window=4, scaler="none")
    record, losses = train_and_score(tiny_config(scaler="none"), data)
    assert losses is None
    assert record["diverged"] is True
    assert (record["validation_loss"], record["test_mae"], record["test_r2"]) == (math.inf, math.inf, -math.inf)


def test_worker_processes_give_the_same_results_and_end(small, tmp_path):
    before = set(multiprocessing.active_children())
    found = compare(tiny_comparison(out=str(tmp_path / "c"), workers=2))
    pd.testing.assert_frame_equal(found.runs.drop(columns=CLOCKS), small[0].runs.drop(columns=CLOCKS))
    assert set(multiprocessing.active_children()) == before


def test_interrupt_ends_the_worker_processes(tmp_path):
    before = set(multiprocessing.active_children())
    with pytest.raises(KeyboardInterrupt):
        compare(tiny_comparison(out=str(tmp_path / "c"), workers=2), progress=Counter(stop_after=1))
    for process in set(multiprocessing.active_children()) - before:
        process.join(timeout=30)
    assert set(multiprocessing.active_children()) == before
    assert len(pd.read_csv(tmp_path / "c" / "runs.csv")) == 1
