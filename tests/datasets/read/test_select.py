import pandas as pd
import pytest

from qkan.datasets import DataError, load_series, resolve_series
from qkan.datasets.read.select import keep_series


@pytest.fixture
def panel(tmp_path):
    path = tmp_path / "panel.csv"
    frame = pd.DataFrame({"unique_id": ["north"] * 3 + ["east"] * 4 + ["west"] * 3, "y": range(10)})
    frame.to_csv(path, index=False)
    return path


def test_named_series_are_kept_in_the_order_of_their_ids(panel):
    series = resolve_series(panel, series=("west", "east"))
    assert series.ids == ("east", "west")
    assert series.values.tolist() == [3, 4, 5, 6, 7, 8, 9]
    assert series.lengths.tolist() == [4, 3]
    assert series.frame.index.tolist() == list(range(7))


def test_no_name_keeps_all(panel):
    assert resolve_series(panel, series=()).ids == ("east", "north", "west")


def test_an_unknown_name_is_answered_with_the_closest(panel):
    with pytest.raises(DataError) as error:
        resolve_series(panel, series=("east", "nort"))
    assert str(error.value) == (
        "there is no series 'nort' in 'panel' (did you mean 'north'?); it has 3 series, 'east' to 'west'"
    )


def test_a_lone_series_has_one_name():
    series = load_series("narma-5")
    assert keep_series(series, ("narma-5",)).fingerprint() == series.fingerprint()
    with pytest.raises(DataError, match=r"there is no series 'x' in 'narma-5'; it has the series 'narma-5' only"):
        resolve_series("narma-5", series=("x",))
