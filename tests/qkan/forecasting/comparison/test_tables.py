import math
import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny_runs import tiny_comparison

from qkan.datasets import load_series, make_forecast_data
from qkan.forecasting.comparison.baseline_runs import left_out, losses_path
from qkan.forecasting.comparison.comparison import write_comparison
from qkan.forecasting.comparison.plan import Point, Skipped
from qkan.forecasting.comparison.plots import pareto_front
from qkan.forecasting.comparison.significance import read_losses, verdict_of, write_losses
from qkan.forecasting.comparison.tables import (
    _conclusion,
    baseline_table,
    main_table,
    points_table,
    readable,
    strongest,
)

NAIVE = {"mae": 4.0, "mse": 16.0, "r2": 0.5, "scaled_mse": 0.4}


def baselines(*scores, asked="naive"):
    """What a comparison keeps of one baseline, with these scores fold by fold."""
    row = {"model": "Naive", "parameters": 0, "seconds": 0.5, "predict_seconds": 0.1, "choices": {}, "failures": {}}
    return [
        {"fold": fold, "asked": asked, "rows": [{**row, "scores": own}], "reason": ""}
        for fold, own in enumerate(scores, start=1)
    ]


def absent(fold, asked, reason):
    """What a comparison keeps of a baseline that the data of a fold do not allow."""
    return {"fold": fold, "asked": asked, "rows": [], "reason": reason}


POINTS = [Point("lstm", 50, 2, 43), Point("lstm", 125, 4, 100), Point("gru", 50, 2, 50)]


def record(cell, hidden, lr, seed, validation, mae, fold=1):
    return {
        "fold": fold, "predict_seconds": 0.25,
        "cell": cell, "hidden_size": hidden, "lr": lr, "seed": seed, "validation_loss": validation, "diverged": False,
        "seconds": 2.0, "test_mae": mae, "test_mse": mae**2, "test_r2": 0.9, "test_scaled_mse": mae / 10,
    }  # fmt: skip


RECORDS = [
    record("lstm", 2, 0.01, 0, 5.0, 3.0),
    record("lstm", 2, 0.03, 0, 4.0, 2.0),
    record("lstm", 2, 0.03, 1, 6.0, 2.5),
    record("lstm", 2, 0.03, 2, 9.0, 4.0),
    record("lstm", 4, 0.01, 0, 3.0, 2.0),
    record("lstm", 4, 0.01, 1, 3.0, 2.0),
    record("lstm", 4, 0.03, 0, 3.5, 0.1),  # better on the test part, which chooses nothing
    record("gru", 2, 0.01, 0, 7.0, 1.0),
    record("gru", 2, 0.03, 0, 8.0, 0.5),
    record("gru", 2, 0.01, 1, 7.0, 2.0),
]
CONFIG = tiny_comparison(out="o", trials=2, seeds=3)


def table_of(points, scores=NAIVE):
    return main_table(CONFIG, points, baseline_table(CONFIG, baselines(scores)), RECORDS, 1)[0]


@pytest.fixture
def points() -> pd.DataFrame:
    return points_table(CONFIG, POINTS, RECORDS)


def test_point_holds_median_and_spread_of_its_chosen_rate(points):
    row = points.iloc[0]
    assert (row["lr"], row["seeds"], row["validation_loss"]) == (0.03, 3, 6.0)
    assert (row["mae_median"], row["mae_min"], row["mae_max"]) == (2.5, 2.0, 4.0)
    assert (row["mse_median"], row["parameters"], row["seconds"]) == (6.25, 43, 2.0)


def test_with_several_folds_a_point_is_the_mean_of_their_medians():
    two = tiny_comparison(out="o", trials=2, seeds=1, folds=2)
    records = [record("lstm", 2, lr, 0, 4.0 + fold, mae, fold) for fold, lr, mae in ((1, 0.01, 2.0), (2, 0.03, 5.0))]
    row = points_table(two, POINTS[:1], records).iloc[0]
    assert (row["lr"], row["validation_loss"]) == ("0.01, 0.03", 5.5)
    assert (row["mae_median"], row["mae_min"], row["mae_max"]) == (3.5, 2.0, 5.0)
    table = baseline_table(two, [*baselines(NAIVE, {**NAIVE, "mae": 7.0}), *baselines(NAIVE, asked="drift")[:0]])
    assert table[["mae_median", "mae_min", "mae_max", "seconds"]].to_numpy().tolist() == [[5.5, 4.0, 7.0, 0.5]]
    assert len(baseline_table(two, baselines(NAIVE))) == 0  # one fold lacks it
    text = readable(points_table(two, POINTS[:1], records))
    assert text[["MAE", "lr"]].to_numpy().tolist() == [["3.5 (2 to 5)", "0.01, 0.03*"]]


def test_rates_at_the_edge_are_marked():
    three = tiny_comparison(out="o", trials=3)  # 0.01, 0.03, 0.1
    records = [record("lstm", 2, lr, 0, validation, 1.0) for lr, validation in ((0.01, 3.0), (0.03, 1.0), (0.1, 2.0))]
    assert points_table(three, POINTS[:1], records)["lr_at_edge"].tolist() == [False]
    records[2]["validation_loss"] = 0.5
    assert points_table(three, POINTS[:1], records)["lr_at_edge"].tolist() == [True]


def test_main_table_takes_each_cell_at_its_lowest_validation_error(points):
    table = table_of(points)
    assert table["cell"].tolist() == ["lstm", "gru", "Naive"]
    assert table["parameters"].tolist() == [100, 50, 0]
    assert table["mae_change"].tolist() == [0.0, -25.0, 100.0]
    assert table["parameters_change"].tolist()[:2] == [0.0, -50.0]
    assert math.isnan(table["parameters_change"].iloc[2])  # a naive forecast has no parameters to save
    assert table["mse_change"].tolist() == pytest.approx([0.0, 100 * (2.5 / 4 - 1), 300.0])


def test_without_lstm_there_is_no_relative_change(points):
    table = table_of(points[points["cell"] == "gru"])
    assert not [name for name in table if name.endswith("_change")]
    assert "MAE vs LSTM" not in readable(table)


def test_readable_table_shows_spreads_changes_and_edges(points):
    text = readable(table_of(points)).set_index("model")
    assert text.loc["GRU", "MAE"] == "1.5 (1 to 2)"
    assert text.loc["GRU", "MAE vs LSTM"] == "-25.0 %"
    assert text.loc["GRU", "lr"] == "0.01*"
    assert text.loc["Naive", ["hidden", "lr", "training s", "prediction s", "MAE"]].tolist() == [
        "-", "-", "0.5", "0.10", "4",
    ]  # fmt: skip


def test_undefined_metric_reads_as_a_dash(points):
    table = table_of(points, {**NAIVE, "r2": None})
    assert readable(table)["R2"].tolist()[-1] == "-"


def test_markdown_explains_itself_and_names_what_was_left_out(tmp_path):
    config = tiny_comparison(out=str(tmp_path), trials=2, seeds=3)
    skipped = [Skipped("qkan", 20, 38)]
    data = [make_forecast_data(load_series("damped-shm"), window=4, horizon=1)]
    write_comparison(config, data, POINTS, skipped, RECORDS, baselines(NAIVE))
    text = (tmp_path / "comparison.md").read_text()
    assert "Test errors in original units (rad/s): median (minimum to maximum) of 3 seeds" in text
    assert "tried the same learning rates (0.01, 0.03)" in text
    assert "| GRU | 2 | 50 | 1.5 (1 to 2) |" in re.sub(" {2,}", " ", text)
    assert "- QKAN-LSTM at 20 parameters: its smallest model has 38." in text
    write_comparison(config, data, POINTS, [], RECORDS, baselines(NAIVE))
    assert "Left out" not in (tmp_path / "comparison.md").read_text()
    none = [*baselines(NAIVE), absent(1, "ridge", "no training part holds a window and its targets")]
    found = write_comparison(config, data, POINTS, [], RECORDS, none)
    assert found.left_out == ("Ridge: no training part holds a window and its targets",)
    assert "## Left out\n\n- Ridge: no training" in (tmp_path / "comparison.md").read_text()


def test_a_baseline_is_missing_for_a_reason_in_every_fold_or_in_some():
    kept = [*baselines(NAIVE, NAIVE), *(absent(fold, "seasonal-naive", "the data have no season") for fold in (1, 2))]
    assert left_out([*kept, absent(1, "ridge", "too short")], 2) == [
        "SeasonalNaive: the data have no season", "Ridge in fold 1: too short",
    ]  # fmt: skip


def test_front_by_hand():
    parameters, errors = np.array([10, 10, 20, 30, 40]), np.array([5.0, 4.0, 4.0, 2.0, 3.0])
    assert pareto_front(parameters, errors).tolist() == [1, 3]
    assert pareto_front(np.array([1, 2]), np.array([np.inf, 1.0])).tolist() == [1]


@given(st.lists(st.tuples(st.integers(1, 20), st.integers(1, 20)), min_size=1, max_size=12))
def test_front_is_what_nothing_beats_and_beats_all_the_rest(pairs):
    parameters, errors = (np.array(column, dtype=float) for column in zip(*pairs, strict=True))
    front = pareto_front(parameters, errors)

    def beaten(i, by):
        no_worse = parameters[by] <= parameters[i] and errors[by] <= errors[i]
        return no_worse and (parameters[by] < parameters[i] or errors[by] < errors[i])

    assert not any(beaten(i, j) for i in front for j in range(len(pairs)))
    for i in set(range(len(pairs))) - set(front.tolist()):
        assert any(beaten(i, j) or (parameters[i], errors[i]) == (parameters[j], errors[j]) for j in front)


def test_too_few_origins_are_no_verdict(tmp_path):
    assert verdict_of([np.array([0.3])], [np.array([9.0])], 6) is None
    assert verdict_of([np.ones(50)], [np.ones(50)], 1).word == "level"
    path = tmp_path / "losses" / "one.npy"
    write_losses(path, np.ones(3))
    write_losses(path, None)  # of a run that diverged, over those of an earlier comparison
    assert read_losses(path) is None


def test_the_metric_that_was_asked_for_comes_first_and_names_the_best_baseline(tmp_path):
    config = tiny_comparison(out=str(tmp_path), trials=2, seeds=3, metric="mse")
    for name in ("Naive", "Drift"):
        write_losses(losses_path(tmp_path, 1, name), np.ones(3))
    steady = baselines({**NAIVE, "mae": 9.0, "mse": 0.5}, asked="drift")
    steady[0]["rows"][0]["model"] = "Drift"
    simple = baseline_table(config, [*baselines(NAIVE), *steady])
    assert strongest(config, simple) == "Drift"
    assert strongest(replace(config, metric=None, loss="mse"), simple) == "Naive"
    titles = list(readable(points_table(config, POINTS, RECORDS), config.judged_by))
    assert titles[3:5] == ["MSE", "MAE"]
    assert list(readable(points_table(config, POINTS, RECORDS)))[3] == "MAE"


@pytest.mark.parametrize(
    ("mae", "verdict", "says"),
    [
        (
            0.8,
            "better",
            "No simple method would have done as well: the MAE of {} 20.0 % below that of Ridge, the best baseline",
        ),
        (1.2, "worse", "Ridge would have done better: the MAE of {} 20.0 % above that of Ridge"),
        (
            0.8,
            "worse",
            "Ridge would have done better: the median MAE of {} 20.0 % below that of Ridge, "
            "but the mean of its seeds is above it",
        ),
        (
            1.2,
            "better",
            "No simple method would have done as well: the median MAE of {} 20.0 % above that of Ridge, "
            "the best baseline, but the mean of its seeds is below it",
        ),
    ],
)
def test_the_conclusion_tells_a_median_apart_from_the_mean_that_is_tested(mae, verdict, says):
    cells = pd.DataFrame({"cell": ["lstm", "gru"], "validation_loss": [2.0, 1.0], "mae_median": [9.0, mae]})
    cells = cells.assign(verdict=["level", verdict], p_value=0.01)
    simple = pd.DataFrame({"cell": ["Ridge"], "mae_median": [1.0]})
    says = says.format("GRU, the cell with the smallest validation error, is") + " (Diebold-Mariano, p = 0.01)."
    assert _conclusion(cells, simple, "Ridge", "mae") == says
