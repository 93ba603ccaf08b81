import pandas as pd
import pytest

from qkan.datasets import SPECS, DataError, available_series, load_series, resolve_series

NAMES = [
    "telecom",
    "milan-24",
    "damped-shm",
    "bessel-j2",
    "delayed-quantum-control",
    "narma-5",
    "narma-10",
    "duffing",
    "logistic-map",
    "henon-map",
    "mackey-glass",
    "lorenz",
    "driven-transmon",
    "jaynes-cummings",
]


def test_all_series_are_listed_with_a_summary():
    summaries = available_series()
    assert list(summaries) == NAMES
    assert summaries["bessel-j2"] == "Bessel function J2 on [2, 100]"
    assert all(0 < len(text) < 100 for text in summaries.values())


@pytest.mark.parametrize("name", NAMES)
def test_series_is_what_its_entry_announces(name):
    series, spec = load_series(name), SPECS[name]
    assert series.name == spec.name == name
    assert len(series.ids) == (24 if name == "milan-24" else 1)
    assert len(series.frame) == spec.points
    announced = (spec.frequency, spec.season, spec.unit, spec.source, spec.licence, spec.summary, spec.session)
    assert announced == (
        series.frequency,
        series.season,
        series.unit,
        series.source,
        series.licence,
        series.summary,
        series.session,
    )
    assert series.source
    assert series.licence


@pytest.mark.parametrize("name", NAMES)
def test_loading_twice_gives_the_same_data(name):
    first = load_series(name)
    before = first.fingerprint()
    for column in first.frame:  # what a caller does to its series, the next one does not see
        first.frame[column] = first.frame[column].iloc[::-1].to_numpy()
    assert load_series(name).fingerprint() == before


@pytest.mark.parametrize("name", NAMES)
def test_building_twice_gives_the_same_data(name):
    """As two processes do; in one of them the frame is built once."""
    pd.testing.assert_frame_equal(SPECS[name].build(), load_series(name).frame, rtol=0, atol=0)


def test_unknown_name_is_answered_with_the_closest_one():
    with pytest.raises(
        DataError, match=r"unknown data 'telcom' \(did you mean 'telecom'\?\); choose one of telecom, milan-24, damped"
    ):
        load_series("telcom")


def test_unknown_name_without_a_close_one_lists_what_there_is():
    with pytest.raises(
        DataError, match=r"unknown data 'xyzzy'; choose one of telecom, .*jaynes-cummings, or give the path"
    ):
        resolve_series("xyzzy")


def test_resolve_loads_a_built_in_series_by_name():
    assert resolve_series("narma-5").fingerprint() == load_series("narma-5").fingerprint()


def test_resolve_reads_a_file(tmp_path):
    (tmp_path / "mine.csv").write_text("t,v\n1,5\n2,6\n3,7\n")
    series = resolve_series(tmp_path / "mine.csv", time_col="t", target_col="v")
    assert (series.name, series.times.tolist(), series.values.tolist()) == ("mine", [1, 2, 3], [5.0, 6.0, 7.0])


def test_a_built_in_name_wins_over_a_file_of_that_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "narma-5").write_text("y\n1\n2\n3\n")
    assert len(resolve_series("narma-5").frame) == 300
    with pytest.raises(DataError, match=r"is none of \.csv, \.csv\.gz, \.parquet"):
        resolve_series("./narma-5")


@pytest.mark.parametrize("path", ["data.csv", "folder/data", "DATA.PARQUET", "x.csv.gz"])
def test_a_path_that_leads_nowhere_is_called_a_missing_file(path):
    with pytest.raises(DataError, match=r"there is no file '.*'; check the path"):
        resolve_series(path)


@pytest.mark.parametrize("option", ["time_col", "target_col", "id_col"])
def test_columns_cannot_be_chosen_in_a_built_in_series(option):
    with pytest.raises(DataError, match=f"{option}='x' was given, but 'duffing' is a built-in series"):
        resolve_series("duffing", **{option: "x"})
