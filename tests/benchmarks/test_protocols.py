"""The table of a public benchmark's file: medians of seeds with their spread, and baselines below."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from benchmarks.protocols import main
from qkan.forecasting.evaluation.metrics import seasonal_change


def test_rows_have_the_spread_of_the_seeds_and_baselines_one_value(tmp_path: Path) -> None:
    rng, values = np.random.default_rng(0), {}
    for part, count in (("train", 40), ("test", 6)):
        values[part] = {name: rng.normal(size=count).cumsum() + 20 for name in ("Y1", "Y2")}
        pd.DataFrame(values[part]).T.to_csv(tmp_path / f"Yearly-{part}.csv", index_label="V1")
    asked = ["--protocol", "m4", "--models", "linear", "--seeds", "2", "--baselines", "naive", "--set", "epochs=1"]
    done = CliRunner().invoke(main, [str(tmp_path / "Yearly-train.csv"), *asked], catch_exceptions=False)
    assert done.exit_code == 0
    head, _, linear, naive = ([own.strip() for own in row.split("|")[1:-1]] for row in done.output.splitlines())
    assert head == ["horizon", "model", "parameters", "validation", "mase", "smape", "gate", "seconds"]
    assert linear[:2] == ["6", "linear"]
    assert " to " in linear[4]
    errors = [
        np.abs(values["test"][name] - own[-1]).mean() / seasonal_change(own, 1) for name, own in values["train"].items()
    ]
    assert naive[:4] == ["6", "Naive", "0", "-"]
    assert float(naive[4]) == pytest.approx(np.mean(errors), abs=1e-4)
