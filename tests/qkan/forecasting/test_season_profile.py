"""What a run believes of its seasons: numbers, closed forms and plots."""

import numpy as np
import pandas as pd
import pytest
from untrained import untrained_run

from qkan.forecasting import Forecaster, RunError, TrainConfig
from qkan.forecasting.season.clock import clock_of
from qkan.forecasting.season.plot import save_season_plot
from qkan.forecasting.season.polynomial import Polynomial, sum_of
from qkan.forecasting.season.profile import season_profile

TINY = {"cell": "lstm", "hidden_size": 2, "window": 4, "device": "cpu", "season": (24,), "lbfgs_steps": 0}


def panel(series: dict[str, np.ndarray]) -> pd.DataFrame:
    """Hourly series from a Monday on."""
    parts = [
        pd.DataFrame({"unique_id": name, "ds": pd.date_range("2024-01-01", periods=len(y), freq="h"), "y": y})
        for name, y in series.items()
    ]
    return pd.concat(parts, ignore_index=True)


@pytest.fixture(scope="module")
def wave() -> np.ndarray:
    """Three weeks of a day with two harmonics and a rise of 1 a week."""
    step = np.arange(504)
    turn = 2 * np.pi * step / 24
    return 20 + 3 * np.cos(turn) + 2 * np.sin(2 * turn) + step / 168


@pytest.fixture(scope="module")
def file(wave, tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "wave.csv"
    panel({"a": wave, "b": 10 - 2 * wave}).to_csv(path, index=False)
    return path


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"season_encoding": "sincos", "level": "window"},
        {"per_series": True, "horizon": 3, "loss": "quantile"},
        {"calendar": ("hour",), "decoder": "last", "season": (24, 168), "split": (0.8, 0.0, 0.2)},
    ],
)
def test_the_closed_form_is_what_is_added_to_a_forecast(file, options):
    run = untrained_run(TrainConfig(data=str(file), **{**TINY, **options}))
    profile = season_profile(run)
    for name, formulas in profile.formulas.items():
        assert list(formulas) == list(profile.seasons)
        for season, formula in formulas.items():
            rows = profile.table[(profile.table["unique_id"] == name) & (profile.table["season"] == season)]
            assert np.abs(rows["term"]).max() > 0.01
            assert np.abs(formula(rows["step"]) - rows["term"]).max() < 1e-6 * np.abs(rows["term"]).max()


def test_the_term_is_part_of_the_effect_that_the_phase_has_on_a_forecast(file):
    """With a head of zeros nothing goes through the cell, so they are the same."""
    import torch

    # Windows that are divided by their own scale have the effect at a few windows, the term at the mean scale of all.
    run = untrained_run(TrainConfig(data=str(file), level="last", **TINY))
    with torch.no_grad():
        run.model.head.weight.zero_()
    table = season_profile(run).table
    assert table["effect"].to_numpy() == pytest.approx(table["term"].to_numpy(), abs=2e-5)


def test_the_mean_of_the_data_is_that_of_the_training_part_without_its_trend(file, wave):
    run = untrained_run(TrainConfig(data=str(file), **TINY))
    table = season_profile(run, series=("a",)).table
    at = np.arange(24)
    expected = 3 * np.cos(2 * np.pi * at / 24) + 2 * np.sin(4 * np.pi * at / 24)
    assert (table["y"] - table["y"].mean()).tolist() == pytest.approx(expected.tolist(), abs=0.05)
    assert table["time"].tolist() == [f"{hour:02d}:00" for hour in range(24)]


def test_a_trained_model_settles_into_the_season_of_the_data(wave):
    noise = np.random.default_rng(0).normal(0, 0.2, len(wave))
    model = Forecaster("qkan", window=4, horizon=1, epochs=15, hidden_size=2, season=24, device="cpu")
    profile = model.fit(panel({"a": wave + noise})).season_profile()
    assert profile.unexplained(24) < 0.05
    assert list(profile.table.columns) == ["unique_id", "season", "step", "time", "y", "QKAN-LSTM", "effect", "term"]


def test_steps_of_telecoms_irregular_clock_are_called_by_their_times():
    from qkan.datasets import load_series
    from qkan.datasets.windows import season_phases

    series = load_series("telecom")
    for season, name, first, last in (
        (169, "time of the day", "07:00", "21:00"),
        (845, "day and time of the week", "Mon 07:00", "Fri 21:00"),
    ):
        phases = season_phases(series, series.times, (season,))[:, 0].astype(np.float64)
        clock = clock_of(series.times, np.rint(phases * season / (2 * np.pi)).astype(np.int64) % season, season)
        assert (clock.name, clock.labels[0], clock.labels[-1]) == (name, first, last)
        assert len(clock.ticks) <= 8
    assert [label for _, label in clock.ticks] == ["Mon", "Tue", "Wed", "Thu", "Fri"]


@pytest.mark.parametrize(
    ("freq", "season", "name", "labels"),
    [
        ("D", 7, "day of the week", ("Mon", "Tue", "Wed")),
        ("MS", 12, "month of the year", ("Jan", "Feb", "Mar")),
        ("QS", 4, "quarter of the year", ("Q1", "Q2", "Q3")),
        ("h", 5, "step", ("0", "1", "2")),
    ],
)
def test_steps_of_calendars_are_called_by_their_names(freq, season, name, labels):
    times = pd.date_range("2024-01-01", periods=10 * season, freq=freq).to_numpy()
    clock = clock_of(times, np.arange(10 * season) % season, season)
    assert (clock.name, clock.labels[:3]) == (name, labels)


def test_whole_number_times_have_no_clock():
    assert clock_of(np.arange(20), np.arange(20) % 4, 4).labels == ("0", "1", "2", "3")


def test_a_polynomial_is_written_with_three_digits():
    form = Polynomial(24, np.array([1.23456, 0.0]), np.array([-0.5, 1e-9]))
    assert str(form) == "1.23 cos(2πt/24) - 0.5 sin(2πt/24)"
    assert form([0, 6]).tolist() == pytest.approx([1.23456, -0.5])
    assert str(sum_of([form, form.times(-1)])) == "0"


def test_parts_of_polynomials_may_have_other_numbers_of_harmonics():
    longer = Polynomial(6, np.array([0.0, 2.0]), np.array([1.0, 0.0]))
    assert str(sum_of([Polynomial(6, np.array([1.0]), np.array([0.0])), longer])) == (
        "1 cos(2πt/6) + 1 sin(2πt/6) + 2 cos(4πt/6)"
    )


def test_a_table_has_no_closed_form_but_a_curve(file):
    profile = season_profile(untrained_run(TrainConfig(data=str(file), **{**TINY, "season_encoding": "table"})))
    assert profile.formula(24) is None
    assert profile.table["effect"].notna().all()


def test_a_run_without_a_season_is_refused(file):
    with pytest.raises(RunError, match="was trained without a season, so there is none to show; train with --season 2"):
        season_profile(untrained_run(TrainConfig(data=str(file), **{**TINY, "season": "none"})))


def test_an_unknown_series_is_named(file):
    with pytest.raises(RunError, match="the run knows no series 'c'; it has 2, 'a' the first of them"):
        season_profile(untrained_run(TrainConfig(data=str(file), **TINY)), series=("c",))


def test_the_plot_has_axes_with_units_and_clock_times(file, tmp_path, drawn):
    profile = season_profile(untrained_run(TrainConfig(data=str(file), **TINY)))
    save_season_plot(profile, tmp_path / "season.png", title="LSTM on wave")
    above, below = drawn[0].axes
    assert above.get_title() == "season of 24 steps: time of the day"
    assert [label.get_text() for label in above.get_xticklabels()][:2] == ["00:00", "03:00"]
    assert (above.get_ylabel(), below.get_xlabel()) == ("value", "time of the day")
    assert len(above.lines) == 2 + 2  # the means, and every series
    assert (tmp_path / "season.png").stat().st_size > 1000
