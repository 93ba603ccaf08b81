"""The numbers of the charts: few, exact enough for a screen, on the right clock."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd

from qkan.datasets import load_series
from qkan.forecasting.evaluation import accuracy, check_frame
from qkan.forecasting.report.chart import (
    MOST_SERIES,
    choose_series,
    coming_chart,
    history_of,
    judged_chart,
    without_overlap,
)
from qkan.forecasting.report.page_plots import draw_forecasts, times_of


def test_of_many_series_those_between_the_best_and_the_worst_are_shown(make_frame) -> None:
    frame = check_frame(make_frame(series=60, origins=2, only=1.0))
    found = accuracy(frame).per_series
    shown = choose_series(found, "only")
    assert len(shown) == MOST_SERIES
    ordered = list(found.sort_values("mae", kind="stable")["unique_id"])
    assert {ordered[0], ordered[-1]} <= set(shown)
    assert shown == [name for name in dict.fromkeys(frame["unique_id"]) if name in set(shown)]
    few = check_frame(make_frame(series=3, origins=2, only=1.0))
    assert choose_series(accuracy(few).per_series, "only") == ["s0", "s1", "s2"]
    assert len(choose_series(found, "another")) == MOST_SERIES


def test_forecasts_of_several_steps_do_not_overlap(make_frame) -> None:
    frame = check_frame(make_frame(series=1, origins=40, horizon=3, only=1.0))
    kept = without_overlap(frame, 12)
    assert kept["ds"].is_monotonic_increasing
    assert kept["ds"].is_unique
    assert len(kept) == 12
    assert kept["ds"].iloc[-1] == frame["ds"].max()


def test_numbers_are_as_fine_as_the_range_asks() -> None:
    """A series far from zero keeps its small changes, one of large numbers no decimals; what is missing is null."""
    for base, scale in ((1e6, 1e-3), (0.0, 1e9), (0.0, 1e-12), (5.0, 0.0)):
        y = base + scale * np.sin(np.arange(50))
        frame = pd.DataFrame({"unique_id": "a", "ds": np.arange(50) + 1, "cutoff": np.arange(50), "y": y, "m": y})
        part = judged_chart(check_frame(frame), ["a"], ["m"], "")["series"][0]
        np.testing.assert_allclose(part["y"], y, atol=1e-3 * max(scale, 1e-9 * abs(base)))
        assert len(json.dumps(part["y"])) < 50 * 18
    lacking = judged_chart(check_frame(frame.assign(n=np.nan)), ["a"], ["m", "n"], "")["series"][0]
    assert list(lacking["models"]) == ["m"]


def test_charts_of_many_long_series_stay_small() -> None:
    names, steps = [f"s{number}" for number in range(24)], np.tile(np.arange(1500), 24)
    y = np.random.default_rng(0).normal(size=(24 * 1500, 3))
    frame = pd.DataFrame({"unique_id": np.repeat(names, 1500), "ds": steps + 1, "cutoff": steps, "step": 1})
    chart = judged_chart(frame.assign(y=y[:, 0], a=y[:, 1], b=y[:, 2]), names, ["a", "b"], "")
    assert {part["count"] for part in chart["series"]} == {555}  # 40,000 numbers in three columns
    assert len(json.dumps(chart)) < 400_000


def test_what_comes_next_begins_at_the_last_value() -> None:
    times = pd.date_range("2024-01-01", periods=300, freq="h")
    history = pd.DataFrame({"unique_id": "a", "ds": times, "y": np.arange(300.0)})
    ahead = pd.date_range(times[-1] + pd.Timedelta("1h"), periods=4, freq="h")
    coming = pd.DataFrame({"unique_id": "a", "ds": ahead, "m": [300.0, 301.0, 302.0, 303.0]})
    coming["m-lo-90"], coming["m-hi-90"] = [299.0, 300, np.nan, np.nan], [301.0, 302, np.nan, np.nan]
    made = coming_chart(history, coming, ["a"], "m", "kW")
    part = made["series"][0]
    assert part["count"] == 124
    assert part["y"][119:] == [299.0, None, None, None, None]
    assert part["models"]["m"][118:121] == [None, 299.0, 300.0]
    assert part["bands"][0]["low"][118:] == [None, 299.0, 299.0, 300.0, None, None]
    assert times_of(part)[-1] == np.datetime64("2024-01-13T15:00:00")
    assert "4 steps ahead by m" in draw_forecasts(made, 0).alt


def test_uneven_times_and_steps_are_told_one_by_one() -> None:
    for times in (pd.to_datetime(["2024-01-05", "2024-01-08", "2024-01-09"]), pd.Index([5, 8, 9])):
        frame = pd.DataFrame({"unique_id": "a", "ds": times, "y": [1.0, 2.0, 3.0], "m": [1.0, 2.0, 3.0]})
        frame["cutoff"] = frame["ds"] - (pd.Timedelta("1D") if times.dtype.kind == "M" else 1)
        part = judged_chart(check_frame(frame), ["a"], ["m"], "")["series"][0]
        assert "at" in part
        np.testing.assert_array_equal(times_of(part), times.to_numpy())


def test_values_that_are_missing_are_not_steps_ahead() -> None:
    times = pd.date_range("2024-01-01", periods=100, freq="h")
    history = pd.DataFrame({"unique_id": "a", "ds": times, "y": np.arange(100.0)})
    history.loc[[10, 95], "y"] = np.nan
    ahead = pd.DataFrame({"unique_id": "a", "ds": times[-3:] + pd.Timedelta("3h"), "m": [1.0, 2.0, 3.0]})
    plot = draw_forecasts(coming_chart(history, ahead, ["a"], "m", ""), 0)
    assert plot.caption == "a: the last 27 values and 3 steps ahead by m."


def test_values_that_were_filled_are_not_shown_as_observed() -> None:
    series = load_series("damped-shm")
    assert history_of(series) is series.frame
    observed = np.arange(len(series.frame)) % 5 > 0
    found = history_of(replace(series, observed=observed))["y"]
    np.testing.assert_array_equal(found.isna(), ~observed)


def test_times_between_seconds_stay_apart() -> None:
    times = pd.date_range("2024-01-01 12:00", periods=5, freq="250ms")
    frame = pd.DataFrame({"unique_id": "a", "ds": times, "cutoff": times - pd.Timedelta("250ms"), "y": 1.0, "m": 2.0})
    part = judged_chart(check_frame(frame), ["a"], ["m"], "")["series"][0]
    assert (part["begin"], part["apart"]) == (1704110400, 0.25)
    np.testing.assert_array_equal(times_of(part), times.to_numpy())
