import gzip
import hashlib
from importlib.resources import files

import numpy as np
import pandas as pd
import pytest

from qkan.datasets import autocorrelation, load_series, naive_test_mae
from qkan.datasets.catalog.telecom import telecom

GZ_SHA256 = "a3208317e33254dae5a13626f0ed81b823062a14f1b74e6a414256f902c807a6"
CSV_SHA256 = "ed29cbc134ff4e58f3833c1dca389b4793296d3147d221f2d57800f6fa9d88cd"


@pytest.fixture(scope="module")
def series():
    return load_series("telecom")


def test_shipped_file_is_the_one_whose_provenance_is_documented():
    folder = files("qkan.datasets") / "data"
    packed = (folder / "bank_calls.csv.gz").read_bytes()
    assert hashlib.sha256(packed).hexdigest() == GZ_SHA256
    assert hashlib.sha256(gzip.decompress(packed)).hexdigest() == CSV_SHA256
    note = (folder / "README.md").read_text(encoding="utf-8")
    assert GZ_SHA256 in note
    assert CSV_SHA256 in note


def test_telecom_holds_164_working_days_of_169_intervals(series):
    days = series.frame["ds"].dt.normalize()
    assert len(series.frame) == 27_716
    assert days.nunique() == 164
    assert set(days.value_counts()) == {169}
    assert set(days.dt.day_of_week) == {0, 1, 2, 3, 4}


def test_telecom_runs_from_march_to_october_2003(series):
    assert series.frame["ds"].iloc[0] == pd.Timestamp("2003-03-03 07:00")
    assert series.frame["ds"].iloc[-1] == pd.Timestamp("2003-10-24 21:00")


def test_telecom_has_the_known_first_and_last_counts(series):
    assert series.values[:5].tolist() == [111.0, 113.0, 76.0, 82.0, 91.0]
    assert series.values[-3:].tolist() == [54.0, 55.0, 54.0]
    assert series.values.sum() == 5_323_661.0


def test_telecom_describes_its_step_and_seasons(series):
    assert (series.frequency, series.season) == ("5min", (169, 845))
    assert (series.session.first, series.session.last) == ("07:00", "21:00")


def test_telecom_steps_are_five_minutes_except_over_nights():
    steps = np.diff(telecom()["ds"].to_numpy()) / np.timedelta64(1, "m")
    assert (steps == 5).sum() == 164 * 168
    assert sorted(set(steps[steps != 5] / 60)) == [10.0, 34.0, 58.0, 82.0, 106.0]


@pytest.mark.parametrize(("lag", "error"), [(1, 15.4213), (169, 23.7622), (845, 23.0478)])
def test_naive_forecasts_of_telecom_have_the_known_errors(series, lag, error):
    assert naive_test_mae(series, lag) == pytest.approx(error, abs=1e-3)


def test_telecom_repeats_itself_daily_and_weekly(series):
    assert autocorrelation(series, 169) == pytest.approx(0.908, abs=2e-3)
    assert autocorrelation(series, 845) == pytest.approx(0.900, abs=2e-3)
    assert autocorrelation(series, 84) < 0  # half a day: morning against evening


def test_telecom_goes_on_after_the_weekend(series):
    following = pd.DatetimeIndex(series.future_times(0, 170))
    assert following[0] == pd.Timestamp("2003-10-27 07:00")  # the last day is a Friday
    assert following[168] == pd.Timestamp("2003-10-27 21:00")
    assert following[169] == pd.Timestamp("2003-10-28 07:00")
