import numpy as np
import pandas as pd
import pytest

from qkan.datasets import CALENDAR, DataError
from qkan.datasets.windows.calendar import calendar_features
from qkan.forecasting.config import options as config


def features(names, *times):
    return calendar_features(pd.DatetimeIndex(times).as_unit("ns").to_numpy(), names)


@pytest.mark.parametrize(
    ("name", "time", "turn"),
    [
        ("minute", "2024-02-05 17:45:00", 0.75),
        ("hour", "2024-02-05 06:00", 0.25),
        ("hour", "2024-02-05 18:30:36", 18.51 / 24),
        ("weekday", "2024-02-05 23:00", 0.0),  # a Monday
        ("weekday", "2024-02-11", 6 / 7),
        ("monthday", "2024-02-29", 28 / 29),
        ("month", "2024-04-30", 0.25),
        ("yearday", "2024-12-31", 365 / 366),
        ("yearday", "2023-12-31", 364 / 365),
    ],
)
def test_a_periodic_feature_is_sin_and_cos_of_its_angle(name, time, turn):
    found = features([name], time)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, [[np.sin(2 * np.pi * turn), np.cos(2 * np.pi * turn)]], atol=1e-6)


def test_weekend_is_one_channel():
    days = pd.date_range("2024-02-05", periods=7)
    assert features(["weekend"], *days)[:, 0].tolist() == [-1, -1, -1, -1, -1, 1, 1]


def test_features_stand_in_the_order_asked():
    both = features(["month", "weekend", "hour"], "2024-04-06 06:00")
    np.testing.assert_allclose(both, [[1, 0, 1, 1, 0]], atol=1e-6)


def test_channels_are_counted_alike_everywhere():
    assert config.CALENDAR == CALENDAR
    for name, channels in CALENDAR.items():
        assert features([name], "2024-01-01").shape == (1, channels)
    assert features([], "2024-01-01").shape == (1, 0)


def test_steps_have_no_calendar():
    with pytest.raises(
        DataError, match="calendar='hour,month' needs dates, but the times of the data are whole-number"
    ):
        calendar_features(np.arange(3), ["hour", "month"])


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["hours"], "unknown calendar feature 'hours'; choose from minute, hour, weekday"),
        (["hour", "hour"], "the calendar features hour, hour repeat one"),
    ],
)
def test_impossible_names_are_refused(names, message):
    with pytest.raises(DataError, match=message):
        features(names, "2024-01-01")
