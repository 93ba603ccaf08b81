import gzip
import hashlib
from importlib.resources import files

import numpy as np
import pandas as pd
import pytest

from qkan.datasets import autocorrelation, load_series, naive_test_mae, resolve_series

GZ_SHA256 = "056fcd18bd21eb1d4f18444dfa1d1c4a2bd7b90c81fa5e9e3275dbc3ea8900b8"
CSV_SHA256 = "ec31cf56c54cbe6fbd0cb77066376e08f7d00db4e88ac83fcdf798d6ea125055"


@pytest.fixture(scope="module")
def series():
    return load_series("milan-24")


def test_shipped_file_is_the_one_whose_provenance_and_licence_are_documented():
    folder = files("qkan.datasets") / "data"
    packed = (folder / "milan_24.csv.gz").read_bytes()
    assert hashlib.sha256(packed).hexdigest() == GZ_SHA256
    assert hashlib.sha256(gzip.decompress(packed)).hexdigest() == CSV_SHA256
    assert len(packed) < 40_000
    note = (folder / "README.md").read_text(encoding="utf-8")
    assert all(text in note for text in (GZ_SHA256, CSV_SHA256, "10.7910/DVN/EGZHFV", "Open Database License"))
    notice = (folder / "LICENSE.milan_24.txt").read_text(encoding="utf-8")
    assert "https://opendatacommons.org/licenses/odbl/1-0/" in notice
    assert "https://doi.org/10.7910/DVN/EGZHFV" in notice


def test_milan_24_is_a_panel_of_24_squares_of_1488_hours(series):
    assert len(series.ids) == 24
    assert set(series.lengths) == {1488}
    assert series.frame["ds"].min() == pd.Timestamp("2013-11-01 00:00")
    assert series.frame["ds"].max() == pd.Timestamp("2014-01-01 23:00")
    assert (series.frequency, series.season, series.session) == ("h", (24, 168), None)


def test_milan_24_has_the_known_counts(series):
    assert series.ids[:3] == ("1", "1002", "1006")
    assert series.values_of(0)[:3].tolist() == [13.0, 11.0, 8.0]
    assert (series.values.min(), series.values.max(), series.values.sum()) == (6.0, 67.0, 663_891.0)


def test_milan_24_repeats_itself_daily_and_weekly(series):
    assert autocorrelation(series, 24) == pytest.approx(0.7446, abs=1e-3)
    assert autocorrelation(series, 168) == pytest.approx(0.6922, abs=1e-3)
    assert autocorrelation(series, 12) < 0
    assert naive_test_mae(series, 1) == pytest.approx(3.1184, abs=1e-3)


def test_squares_are_chosen_by_their_numbers():
    chosen = resolve_series("milan-24", series=("1102", "1"))
    assert chosen.ids == ("1", "1102")
    assert np.array_equal(chosen.values_of(0)[:2], [13.0, 11.0])
