"""Runs on a panel on disk are those on its file, whatever of it is in memory."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from tiny_runs import tiny_config

from qkan.datasets import load_series, prepare_panel
from qkan.datasets.panel.series import LazyFrame, PanelSeries, open_panel
from qkan.forecasting import Forecaster, evaluate, predict, train
from qkan.forecasting.data.load import load_windows, tensors
from qkan.forecasting.runs import evaluation

CASES = {
    "plain": {},
    "sharded": {"shards": 2},
    "seasons, calendar and intervals": {
        **{"season": "auto", "calendar": ("hour",), "level": "auto"},
        **{"loss": "quantile", "scaler": "standard", "horizon": 2},
    },
    "numbered": {"per_series": True},
}  # fmt: skip


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of four series, beside its panel."""
    folder, draw = tmp_path_factory.mktemp("panels"), np.random.default_rng(0)
    hours = pd.date_range("2024-01-01", periods=110, freq="h")
    waves = np.sin(np.arange(110) * 2 * np.pi / 24)
    own = [
        pd.DataFrame({"unique_id": name, "ds": hours[:n], "y": size * waves[:n] + draw.normal(size=n)})
        for name, n, size in (("c", 100, 3), ("a", 110, 1), ("d", 90, 2), ("b", 105, 1))
    ]
    pd.concat(own).to_parquet(folder / "table.parquet", index=False)
    prepare_panel(folder / "table.parquet", folder / "panel", part_rows=150)
    return folder / "table.parquet"


@pytest.mark.parametrize("name", CASES)
def test_a_panel_trains_and_forecasts_as_its_file(name: str, table: Path, tmp_path: Path) -> None:
    config = tiny_config(**CASES[name], data=str(table))
    of_file = train(config, tmp_path / "file")
    of_panel = train(replace(config, data=str(table.with_name("panel"))), tmp_path / "panel")
    torch.testing.assert_close(of_panel.model.state_dict(), of_file.model.state_dict(), rtol=0, atol=0)
    assert of_panel.scaler == of_file.scaler
    assert of_panel.data["fingerprint"] == of_file.data["fingerprint"]
    assert of_panel.metrics["test"] == of_file.metrics["test"]
    pd.testing.assert_frame_equal(of_panel.predictions, of_file.predictions)
    pd.testing.assert_frame_equal(predict(of_panel), predict(of_file, data=table.with_name("panel")))
    assert evaluate(of_panel) == evaluate(of_file)


def test_a_forecaster_is_fitted_on_a_panel_as_on_its_frame(table: Path) -> None:
    frame, panel = pd.read_parquet(table), table.with_name("panel")
    options = {"window": 4, "horizon": 2, "hidden_size": 2, "epochs": 1, "device": "cpu", "lbfgs_steps": 0}
    of_frame, of_panel = (Forecaster("lstm", **options).fit(df) for df in (frame, panel))
    pd.testing.assert_frame_equal(of_panel.predict(), of_frame.predict())
    pd.testing.assert_frame_equal(of_panel.predict(str(panel)), of_frame.predict(frame))


def test_the_first_and_last_time_of_a_panel_are_those_of_its_file(table: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    frame, panel = pd.read_parquet(table), open_panel(table.with_name("panel"))
    refuse_whole(monkeypatch)
    assert panel.span == (frame["ds"].min(), frame["ds"].max())
    assert load_series("damped-shm").span == (0, 239)


def test_windows_of_a_panel_take_no_memory(table: Path) -> None:
    """They are computed where they are looked at, and are those of the file."""
    config = tiny_config(data=str(table), horizon=3)
    of_file, of_panel = (load_windows(replace(config, data=str(table.with_name(own)))) for own in (table.name, "panel"))
    for part in ("train", "validation", "test"):
        listed, counted = of_file.part(part), of_panel.part(part)
        assert not any(
            isinstance(getattr(counted, own), np.ndarray) for own in ("values", "futr_exog", "first", "series")
        )
        for own in ("first", "series", "target_index"):
            np.testing.assert_array_equal(getattr(counted, own), getattr(listed, own))
        np.testing.assert_array_equal(counted.inputs, listed.inputs)
        np.testing.assert_array_equal(counted.targets, listed.targets)
        assert counted.counts(4).tolist() == listed.counts(4).tolist()
    some = tensors(of_panel.train).of_series(1, 3)
    assert len(some) == int(of_file.train.counts(4)[1:3].sum())
    torch.testing.assert_close(
        some.batch(torch.arange(len(some))), tensors(of_file.train).of_series(1, 3).batch(torch.arange(len(some)))
    )


def refuse_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """Refuse to make all times or rows of a panel, which of a large one would take gigabytes."""
    load = LazyFrame.load

    def part(frame: LazyFrame, begin: int = 0, end: int | None = None) -> pd.DataFrame:
        assert begin or end not in (None, len(frame)), "all rows of the panel are made"
        return load(frame, begin, end)

    monkeypatch.setattr(LazyFrame, "load", part)
    monkeypatch.setattr(PanelSeries, "times", property(lambda own: pytest.fail("all times of the panel are made")))


def test_a_large_test_part_is_evaluated_group_by_group(
    table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tiny_config(data=str(table.with_name("panel")), season="auto", horizon=2)
    whole = train(config, tmp_path / "whole")
    monkeypatch.setattr(evaluation, "_MOST_TARGETS", 100)
    refuse_whole(monkeypatch)
    grouped = train(config, tmp_path / "grouped")
    assert list(grouped.metrics["test"]) == [name for name in whole.metrics["test"] if name != "Ridge"]
    for name, errors in grouped.metrics["test"].items():
        assert errors == pytest.approx(whole.metrics["test"][name], rel=1e-6), name
        assert grouped.metrics["test_median"][name] == pytest.approx(whole.metrics["test_median"][name], rel=1e-6)
    pd.testing.assert_frame_equal(grouped.predictions, whole.predictions, rtol=1e-5)
    assert (tmp_path / "grouped" / "forecast.png").exists()
