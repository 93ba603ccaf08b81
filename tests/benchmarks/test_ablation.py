"""``benchmarks.ablation``: rows for the parts that the data have, errors in the unit of the data."""

import numpy as np

from benchmarks.ablation import PARTS, median_score, rows_of


def test_a_part_of_the_season_has_no_row_where_there_is_no_season():
    rows = rows_of("logistic-map", "lstm", {"window": 2}, list(PARTS))
    levels = [f"level: {name}" for name in ("last", "mean", "window")]  # none is what the series chooses
    assert list(rows) == ["all parts", *levels, "no skip", "no gate", "bare cell"]
    assert rows["no skip"].skip == 0
    assert rows["bare cell"].decoder == "last"
    assert "season as a table" in rows_of("delayed-quantum-control", "lstm", {"window": 4}, list(PARTS))


def test_errors_are_in_the_unit_of_the_data_and_medians_over_seeds():
    changes = {"window": 4, "season": "none", "epochs": 1, "hidden_size": 1, "lr": 1e-9, "lbfgs_steps": 0}
    rows = rows_of("damped-shm", "lstm", changes, ["no gate"])
    found = median_score(rows["no gate"], 2)
    assert found["gate"] == "none"
    assert found["low"] <= found["test"] <= found["high"]
    assert 1e-4 < found["test"] < 1e-3  # that of the regression on the window, where training starts
    assert np.isfinite(found["validation"])
    assert found["parameters"] == 22
