"""The search on small series: what it may know, what it takes, what it does with data it cannot judge."""

import itertools
import re
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from qkan.datasets import Series
from qkan.forecasting.automatic import AutoConfig, AutoForecaster, forecast_table, search, verdict
from qkan.forecasting.automatic.budget import Budget, Clock, OutOfTime, Stage
from qkan.forecasting.automatic.candidates import FittedBaseline, _Watched, astray, expected_seconds
from qkan.forecasting.automatic.options import FREE
from qkan.forecasting.automatic.parts import make_parts
from qkan.forecasting.automatic.trials import Search, SilentSearch, _fit_again, with_sizes
from qkan.forecasting.baselines import NotInstalled, fit_baselines, per_series, registry
from qkan.forecasting.baselines.interface import Step
from qkan.forecasting.baselines.statistical import Theta
from qkan.forecasting.config import FRAME, TrainConfig, model_name
from qkan.forecasting.io.files import RunError

FAST = ("naive", "drift", "seasonal-naive", "ridge", "theta")


def made(*values: np.ndarray, season: tuple[int, ...] = ()) -> Series:
    """Series a, b, ... at steps 0, 1, ..."""
    frames = [
        pd.DataFrame({"unique_id": name, "ds": np.arange(len(own)), "y": own.astype(float)})
        for name, own in zip("abcdef", values, strict=False)
    ]
    return Series("made", pd.concat(frames, ignore_index=True), season=season)


def wave(count: int, seed: int = 0) -> np.ndarray:
    """A season of 7 steps with a little noise."""
    rng = np.random.default_rng(seed)
    return 10 + np.sin(2 * np.pi * np.arange(count) / 7) * 3 + rng.normal(size=count) * 0.1


def tried(series: Series, horizon: int = 7, candidates: tuple[str, ...] = FAST, **options: Any) -> Search:
    """A search for a horizon, without a limit of time."""
    train = TrainConfig(data=FRAME, loss="mae", **options)
    config = AutoConfig(train=train, budget=None, candidates=candidates)
    return search(series, with_sizes(config, series, horizon))


def test_the_season_beats_the_last_value() -> None:
    found = tried(made(wave(200)))
    assert "Naive" not in [one.name for one, _ in found.members]
    assert found.error is not None
    assert found.error < 0.2
    future = 10 + np.sin(2 * np.pi * np.arange(200, 207) / 7) * 3
    assert np.abs(found.future[0] - future).max() < 0.5


def test_a_random_walk_is_forecast_about_as_by_the_naive_rule() -> None:
    walk = np.cumsum(np.random.default_rng(1).normal(size=300))
    found = tried(made(walk), horizon=5)
    spread = np.abs(np.diff(walk)).mean()
    assert np.abs(found.future[0] - walk[-1]).max() < spread


def test_nothing_is_fitted_to_what_it_is_judged_by() -> None:
    values = wave(200)
    parts = make_parts(made(values), with_sizes(_config(), made(values), 7).train)
    assert parts is not None
    begin = int(parts.judged.boundaries[0, 1])
    other = values.copy()
    other[begin:] = 500.0
    before, after = tried(made(values)), tried(made(other))
    for one, two in zip(before.candidates, after.candidates, strict=True):
        np.testing.assert_array_equal(one.judged[0], two.judged[0], err_msg=one.name)


def _config() -> AutoConfig:
    return AutoConfig(train=TrainConfig(data=FRAME, loss="mae"), budget=None, candidates=FAST)


def test_the_newest_origin_leaves_one_horizon() -> None:
    series = made(wave(200))
    parts = make_parts(series, with_sizes(_config(), series, 7).train)
    assert parts is not None
    assert parts.origins.known[-1] == 193
    assert len(parts.judged.test) == 44  # the newest quarter holds so many
    assert (parts.final.boundaries[0] == 200).all()


def test_too_short_a_series_repeats_its_last_value() -> None:
    found = tried(made(np.arange(9.0)), horizon=6)
    assert found.parts is None
    table, notes = forecast_table(found, (80,))
    assert table["Naive"].tolist() == [8.0] * 6
    assert table["Naive-lo-80"].isna().all()
    assert verdict(found, "") == [
        "9 values are too few to judge anything over a horizon of 6, so the forecast repeats the last value; give at "
        "least 14 values, or a shorter horizon."
    ]
    assert notes == ["There are too few origins for intervals of 80 %; they are left empty."]


def test_a_short_series_of_a_panel_repeats_its_last_value() -> None:
    series = made(wave(200), wave(200, 1), wave(10))
    with pytest.warns(UserWarning, match="left out"):
        found = tried(series)
    table, notes = forecast_table(found, (80,))
    own = table[table["unique_id"] == "c"]
    assert own[found.name].tolist() == [wave(10)[-1]] * 7
    assert table[table["unique_id"] == "a"][f"{found.name}-lo-80"].notna().all()
    assert notes == ["1 of 3 series are too short to be judged and repeat their last value."]


def test_few_values_leave_out_what_learns() -> None:
    found = tried(made(wave(20)), horizon=7)
    assert found.skipped["Ridge"] == "the values before the origins are too few to learn from"
    assert found.members


def test_rules_that_the_data_do_not_allow_are_left_out_with_the_reason() -> None:
    walk = np.cumsum(np.random.default_rng(1).normal(size=100))
    found = tried(made(walk), horizon=5, candidates=("naive", "seasonal-naive", "seasonal-mean"), season="none")
    assert found.skipped == dict.fromkeys(("SeasonalNaive", "SeasonalMean"), "the data have no season")


def test_constant_values_are_forecast_without_error() -> None:
    found = tried(made(np.full(100, 4.0)), horizon=3)
    assert found.name == "Naive"
    assert found.future.tolist() == [[4.0, 4.0, 4.0]]


def test_until_a_week_shows_the_sarima_that_may_see_it_later_counts() -> None:
    asked = AutoConfig(train=TrainConfig(data=FRAME), candidates=("sarima", "double-sarima")).tried
    assert asked == ("naive", "double-sarima", "sarima")  # of candidates that forecast the same, the first counts


def ticking() -> Clock:
    """A clock that goes on by a second whenever somebody looks."""
    return itertools.count(1.0).__next__


def test_what_does_not_fit_into_the_time_is_left_out_and_said() -> None:
    series = made(wave(200))
    config = AutoConfig(train=TrainConfig(data=FRAME, loss="mae"), budget=3.0, candidates=FAST)
    found = search(series, with_sizes(config, series, 7), budget=Budget(3.0, ticking()))
    assert "Theta" in found.skipped
    assert "left" in found.skipped["Theta"]
    assert found.members


def test_what_was_judged_goes_on_where_no_time_is_left_for_the_last_fit() -> None:
    series = made(wave(200))
    config = with_sizes(AutoConfig(train=TrainConfig(data=FRAME, loss="mae"), candidates=FAST), series, 7)
    found = search(series, config, budget=Budget(1000.0, ticking()))
    assert not found.notes
    budget = Budget(1000.0, ticking())
    parts = found.parts
    assert parts is not None
    budget.seconds = budget.spent  # all of it is gone
    again = Search(config, series, parts, found.candidates, found.errors, weights=found.weights)
    _fit_again(again, parts, budget, SilentSearch())
    names = [one.name for one, _ in found.members if one.asked not in FREE]
    assert again.notes == [f"For want of time, not fitted again to the newest values: {', '.join(names)}."]
    wanted = sum(weight * one.kept(parts) for one, weight in found.members)
    np.testing.assert_allclose(again.future, wanted, rtol=1e-12)


def test_a_last_fit_that_goes_astray_is_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    found = tried(made(wave(200)), candidates=("theta",))
    [theta] = [one for one in found.candidates if one.name == "Theta"]
    assert found.parts is not None
    fit = per_series.fit_theta

    def astray(known: np.ndarray, season: int) -> Theta:
        return replace(fit(known, season), slope=1e6)

    monkeypatch.setattr(per_series, "fit_theta", astray)
    np.testing.assert_array_equal(theta.again(found.parts, Budget(None)), theta.kept(found.parts))


def test_a_fit_to_the_newest_values_is_not_judged_by_older_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("baselines.statistical", "automatic.candidates"):
        monkeypatch.setattr(f"qkan.forecasting.{module}.MAX_FIT", 60)
    found = tried(made(wave(400), season=(7,)), candidates=("ets",))
    [ets] = [one for one in found.candidates if one.name == "ETS"]
    assert found.parts is not None
    assert isinstance(ets, FittedBaseline)
    [again] = fit_baselines(found.parts.final, ["ets"])
    assert not astray(again, ets, found.parts).any()


@pytest.mark.parametrize("asked", ["sarima", "ets"])
def test_a_model_of_one_series_that_takes_long_is_ended(asked: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("qkan.forecasting.automatic.candidates.expected_seconds", lambda *_: 0.0)
    series = made(wave(120))
    config = with_sizes(AutoConfig(train=TrainConfig(data=FRAME, loss="mae"), candidates=(asked,)), series, 7)
    found = search(series, config, budget=Budget(10.0, ticking()))  # a second for every step of the optimiser
    name = model_name(asked)
    assert found.name == "Naive"
    assert re.fullmatch(r"it was not done after \d\.?\d* s, and .* s were left with its last fit", found.skipped[name])


def test_a_last_fit_that_takes_long_is_ended_and_the_judged_one_goes_on() -> None:
    found = tried(made(wave(120)), candidates=("naive", "sarima"))
    parts, [sarima] = found.parts, [one for one in found.candidates if one.name == "SARIMA"]
    assert parts is not None
    sarima.last_fit = 1.0
    again = Search(found.config, found.series, parts, found.candidates, found.errors, weights=np.array([0.0, 1.0]))
    _fit_again(again, parts, Budget(6.0, ticking()), SilentSearch())
    assert again.notes == ["For want of time, not fitted again to the newest values: SARIMA."]
    np.testing.assert_array_equal(again.future, sarima.kept(parts))


def test_the_sample_that_tells_how_long_a_model_takes_is_ended_too() -> None:
    series = made(wave(120))
    config = with_sizes(AutoConfig(train=TrainConfig(data=FRAME, loss="mae"), candidates=("sarima",)), series, 7)
    found = search(series, config, budget=Budget(5.0, ticking()))
    assert found.skipped["SARIMA"].startswith("it was not done after ")


def test_a_last_training_ends_with_the_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("qkan.forecasting.training.loop._PROGRESS_SECONDS", 0.0)
    found = tried(made(wave(120)), horizon=2, candidates=("lstm",), epochs=1)
    parts, network = found.parts, found.candidates[1]
    assert parts is not None
    with pytest.raises(OutOfTime, match="no time is left"):
        network.again(parts, Budget(1.0, ticking()))


def test_a_network_that_does_not_fit_trains_for_fewer_epochs(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    step = _Watched.step

    def slow(watched: _Watched, loss: float, count: int = 1) -> None:
        now[0] += count  # a second for every step
        step(watched, loss, count)

    monkeypatch.setattr(_Watched, "step", slow)
    monkeypatch.setattr("qkan.forecasting.training.loop._PROGRESS_SECONDS", 0.0)
    series = made(wave(120))
    train = TrainConfig(data=FRAME, loss="mae", epochs=40, batch_size=32)
    config = with_sizes(AutoConfig(train=train, budget=None, candidates=("lstm",)), series, 2)
    budget = Budget(70.0, lambda: now[0])
    found = search(series, config, budget=budget)
    assert "LSTM" in [one.name for one in found.candidates], found.skipped
    [network] = [one for one in found.candidates if one.name == "LSTM"]
    epochs = network.options["train"]["epochs"]
    assert 8 <= epochs < 40
    assert network.note == f"{epochs} of 40 epochs, as many as the time allowed"
    assert now[0] <= 70
    assert budget.seconds == 70  # what the first try took is not given back


def test_kernels_that_are_compiled_and_first_steps_tell_no_pace() -> None:
    now = [0.0]
    stage = Stage(Budget(100.0, lambda: now[0]))
    watched = _Watched(stage)
    now[0] += 30  # compiling
    watched.start(10, 10)
    assert stage.budget.left == 100.0
    now[0] += 5
    watched.step(0.0)
    for _ in range(99):
        now[0] += 0.4
        watched.step(0.0)
    assert now[0] == pytest.approx(74.6)
    assert stage.budget.left == pytest.approx(55.4)


def test_a_network_is_judged_and_trained_again() -> None:
    found = tried(made(wave(120)), horizon=2, candidates=("lstm",), epochs=1)
    assert [own.name for own in found.candidates] == ["Naive", "LSTM"]
    assert found.future.shape == (1, 2)


def test_the_last_fit_of_an_exact_regression_is_as_exact() -> None:
    steps = np.arange(312)
    swing = np.exp(-steps / 150) * np.sin(2 * np.pi * steps / 17.3)
    found = tried(made(swing[:300]), horizon=12, candidates=("lstm",), epochs=2, season="none", device="cpu")
    assert found.name == "LSTM"
    np.testing.assert_allclose(found.future[0], swing[300:], atol=1e-6)


def test_a_season_that_the_data_lack_is_told_before_anything_is_fitted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr("qkan.forecasting.automatic.candidates.fit_one")
    found = tried(made(wave(200), season=(7,)), candidates=("double-sarima",))
    assert found.skipped == {"DoubleSARIMA": "the data have no season that holds the shortest several times"}


def test_three_lines_say_what_won() -> None:
    lines = verdict(tried(made(wave(200))), "calls")
    assert len(lines) == 3
    assert "mean absolute error" in lines[0]
    assert "calls over 44 rolling origins." in lines[0]
    assert "% below Naive" in lines[1]
    assert "Ridge" in lines[1]
    assert lines[2].startswith("It took ")
    alone = verdict(tried(made(wave(10)), horizon=3, candidates=("naive",)), "")
    assert alone[0].endswith("over 1 rolling origin.")
    assert alone[2].endswith("to try 1 method.")


def frame(count: int = 120) -> pd.DataFrame:
    """An hourly frame."""
    times = pd.date_range("2026-01-01", periods=count, freq="h")
    return pd.DataFrame({"unique_id": "shop", "ds": times, "y": wave(count)})


def test_the_forecaster_of_a_data_frame() -> None:
    forecaster = AutoForecaster(7, candidates=FAST, budget=None, season=(7,)).fit(frame())
    table = forecaster.predict(level=80)
    assert list(table) == ["unique_id", "ds", forecaster.name, f"{forecaster.name}-lo-80", f"{forecaster.name}-hi-80"]
    assert table["ds"].iloc[0] == pd.Timestamp("2026-01-06 00:00")
    assert (table[f"{forecaster.name}-lo-80"] <= table[f"{forecaster.name}-hi-80"]).all()
    assert len(forecaster.verdict) == 3


def test_missing_values_do_not_count() -> None:
    gaps = frame()
    gaps.loc[[50, 100], "y"] = np.nan
    forecaster = AutoForecaster(7, candidates=FAST, budget=None, season=(7,), missing="mask").fit(gaps)
    assert np.isfinite(forecaster.predict()[forecaster.name]).all()


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"window": 3}, TypeError, "AutoForecaster has no option 'window'"),
        ({"budget": 0}, ValueError, "budget must be above 0 seconds, got 0"),
        ({"candidates": ("ridge", "oracle")}, ValueError, "unknown candidate 'oracle'"),
        ({"candidates": ()}, ValueError, "candidates must be a list"),
        ({"horizon": 0}, ValueError, "horizon must be an integer between 1 and"),
    ],
)
def test_options_that_are_refused(options: dict[str, Any], error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        AutoForecaster(**options)


def test_predict_needs_a_fit() -> None:
    with pytest.raises(RunError, match=r"call fit\(df\) first"):
        AutoForecaster().predict()


def test_the_mean_season_that_was_judged_is_the_one_that_forecasts() -> None:
    long, short = np.arange(2000), np.arange(400)
    day = lambda steps: 50 * np.sin(2 * np.pi * steps / 24)  # noqa: E731
    found = tried(made(day(short), day(short), day(long), season=(24, 168)), candidates=("seasonal-mean",))
    assert found.name == "SeasonalMean(24)"
    wanted = [day(np.arange(end, end + 7)) for end in (400, 400, 2000)]
    np.testing.assert_allclose(found.future, wanted, atol=1e-6)


def test_the_naive_rule_needs_no_time() -> None:
    config = AutoConfig(train=TrainConfig(data=FRAME, loss="mae"), budget=1e-6, candidates=FAST)
    values = made(wave(200))
    found = search(values, with_sizes(config, values, 7))
    assert found.name == "Naive"
    assert set(found.skipped.values()) == {"no time is left"}


def test_series_of_tiny_values_are_told_apart() -> None:
    found = tried(made(wave(200) * 1e-9))
    assert len(found.members) >= 1
    assert "Naive" not in [one.name for one, _ in found.members]


def test_a_candidate_whose_package_is_missing_is_refused_before_anything_is_tried(monkeypatch) -> None:
    monkeypatch.setattr(registry, "find_spec", lambda _: None)
    with pytest.raises(NotInstalled, match=r"'lightgbm' needs lightgbm, .* pip install 'qkan-seq\[baselines\]'"):
        AutoForecaster(candidates=("lightgbm",))


def test_how_long_a_model_of_one_series_takes_is_seen_on_its_newest_quarter(monkeypatch: pytest.MonkeyPatch) -> None:
    now, seen = [0.0], []

    def slow(name: str, known: np.ndarray, seasons: tuple[int, ...], step: Step) -> None:
        seen.append(known)
        now[0] += len(known)

    monkeypatch.setattr("qkan.forecasting.automatic.candidates.fit_one", slow)
    parts = make_parts(made(np.arange(200.0), np.arange(160.0)), _config().train)
    assert parts is not None
    ends = parts.judged.boundaries[:, 1]
    assert expected_seconds("sarima", parts, Budget(None, lambda: now[0])) == ends.sum()
    np.testing.assert_array_equal(seen[0], np.arange(200.0)[: ends[0]][-len(seen[0]) :])
    assert len(seen[0]) == -(-ends[0] // 4)
    assert expected_seconds("ridge", parts, Budget(None)) == 0.0


@pytest.mark.parametrize("budget", [float("inf"), float("nan"), 0, -1.0, True])
def test_a_budget_is_a_finite_time(budget: float) -> None:
    with pytest.raises(ValueError, match="budget must be above 0 seconds"):
        AutoConfig(train=TrainConfig(data=FRAME), budget=budget)
