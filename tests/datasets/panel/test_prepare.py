"""`qkan data prepare`: tables of any order become panels, which are read as files are; bad ones in the same words."""

import json
import os
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from qkan.datasets import DataError, keep_series, prepare_panel, resolve_series
from qkan.datasets.panel import PanelSeries, prepare, stream
from qkan.datasets.panel.store import VERSION, digest_of, lock_of, work_of
from qkan.datasets.series import Series


def hourly(lengths: dict[object, int]) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    times = pd.date_range("2024-01-01", periods=max(lengths.values()), freq="h")
    own = [pd.DataFrame({"unique_id": id, "ds": times[:n], "y": rng.normal(size=n)}) for id, n in lengths.items()]
    return pd.concat(own, ignore_index=True)


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks and memory so small that every path is taken."""
    monkeypatch.setattr(stream, "ROWS", 7)
    monkeypatch.setattr(prepare, "KEPT_ROWS", 20)


@pytest.fixture
def table(tmp_path: Path) -> Path:
    hourly({"c": 30, "a": 25, "b": 40}).to_parquet(tmp_path / "table.parquet", index=False, row_group_size=11)
    return tmp_path / "table.parquet"


@pytest.fixture
def panel(table: Path) -> Path:
    prepare_panel(table, table.with_name("panel"), part_rows=50)
    return table.with_name("panel")


def same(found: Series, wanted: Series) -> None:
    assert isinstance(found, PanelSeries)
    for name in ("ids", "frequency", "step", "season", "missing", "points"):
        assert getattr(found, name) == getattr(wanted, name), name
    assert (found.values == wanted.values).all()
    assert (found.times == wanted.times).all()
    assert [found.times_of(place).tolist() for place in range(len(found.ids))] == [
        wanted.times_of(place).tolist() for place in range(len(wanted.ids))
    ]
    assert found.fingerprint() == wanted.fingerprint()
    assert {**found.describe(), "name": ""} == {**wanted.describe(), "name": ""}
    told = pd.DataFrame({"unique_id": wanted.ids, "ds": wanted.all_future_times(1)[:, 0]})
    pd.testing.assert_frame_equal(found.give_back(told), wanted.give_back(told))


CASES: dict[str, Callable[[], pd.DataFrame]] = {
    "sorted": lambda: hourly({"a": 20, "b": 30, "c": 25}),
    "whole numbers as ids, in another order": lambda: hourly({10: 20, 9: 30, 2: 25}),
    "all rows mixed": lambda: hourly({"a": 20, "b": 30, "c": 25}).sample(frac=1, random_state=0),
    "one series": lambda: hourly({"a": 20}).drop(columns="unique_id"),
    "whole-number steps": lambda: hourly({"a": 20, "b": 30}).assign(ds=[*range(0, 40, 2), *range(4, 64, 2)]),
    "months": lambda: hourly({"a": 20, "b": 20}).assign(ds=[*pd.date_range("2020-01-31", periods=20, freq="ME")] * 2),
    "a zone": lambda: hourly({"a": 20, "b": 30}).assign(ds=lambda own: own["ds"].dt.tz_localize("Europe/Rome")),
    "a short one": lambda: hourly({"a": 20, "b": 2, "c": 5}),
}


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.filterwarnings("ignore::qkan.datasets.DataNotice")
@pytest.mark.parametrize("ending", ["parquet", "csv"])
@pytest.mark.parametrize("name", CASES)
def test_a_panel_is_read_as_its_file(name: str, ending: str, tmp_path: Path) -> None:
    path = tmp_path / f"table.{ending}"
    getattr(CASES[name](), f"to_{ending}")(path, index=False, **({"row_group_size": 11} if ending == "parquet" else {}))
    prepare_panel(path, tmp_path / "panel", part_rows=40)
    same(resolve_series(tmp_path / "panel"), resolve_series(path))
    assert sorted(own.name for own in tmp_path.iterdir()) == ["panel", path.name]


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("missing", ["mask", "interpolate", "zero"])
def test_missing_values_are_filled_as_of_the_file(missing: str, tmp_path: Path) -> None:
    rows = hourly({"a": 20, "b": 30}).drop(index=[5, 6, 25])
    rows.loc[[8, 30], "y"] = np.nan
    rows.to_parquet(tmp_path / "table.parquet", index=False)
    prepare_panel(tmp_path / "table.parquet", tmp_path / "panel", missing=missing, part_rows=20)
    found, wanted = (resolve_series(tmp_path / name, missing=missing) for name in ("panel", "table.parquet"))
    same(found, wanted)
    assert (found.observed is None) == (wanted.observed is None) == (missing == "zero")
    if found.observed is not None and wanted.observed is not None:
        assert (found.observed == wanted.observed).all()
        assert isinstance(found, PanelSeries)
        assert found.store.series["missing"].sum() == 5
    with pytest.raises(DataError, match=f"was prepared with missing='{missing}', but missing='refuse' was given"):
        resolve_series(tmp_path / "panel")


def test_statistics_of_every_series_are_kept(panel: Path, table: Path) -> None:
    found, wanted = resolve_series(panel), pd.read_parquet(table).groupby("unique_id")["y"]
    assert isinstance(found, PanelSeries)
    kept = found.store.series.set_index("unique_id")
    for name, own in {"count": wanted.count(), "mean": wanted.mean(), "min": wanted.min(), "max": wanted.max()}.items():
        np.testing.assert_allclose(kept[name], own, rtol=1e-14)
    np.testing.assert_allclose(kept["deviation"], wanted.std(ddof=0), rtol=1e-13)


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize(
    "spoil",
    [
        {"y": (37, np.nan)},
        {"y": (41, np.inf)},
        {"ds": (41, pd.Timestamp("2024-01-01 00:30"))},
        {"unique_id": (41, None)},
        {"ds": (41, pd.NaT)},
    ],
    ids=str,
)
def test_bad_rows_are_refused_in_the_words_of_the_file_reader(spoil: dict, tmp_path: Path) -> None:
    rows, ((column, (row, value)),) = hourly({"a": 20, "b": 30, "c": 20}), spoil.items()
    rows.loc[row, column] = value
    rows.to_parquet(tmp_path / "table.parquet", index=False)
    with pytest.raises(DataError) as of_file:
        resolve_series(tmp_path / "table.parquet")
    with pytest.raises(DataError) as of_panel:
        prepare_panel(tmp_path / "table.parquet", tmp_path / "panel", part_rows=25)
    assert str(of_panel.value) == str(of_file.value)
    assert not (tmp_path / "panel").exists()


@pytest.mark.usefixtures("small_blocks")
def test_a_killed_preparation_goes_on_with_the_parts_that_are_there(
    table: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target, written = table.with_name("panel"), []
    whole = prepare._Preparation._write_part

    def failing(self: prepare._Preparation, part: int) -> None:
        if len(written) == 1:
            raise KeyboardInterrupt
        whole(self, part)
        written.append(part)

    monkeypatch.setattr(prepare._Preparation, "_write_part", failing)
    with pytest.raises(KeyboardInterrupt):
        prepare_panel(table, target, part_rows=40)
    for half in (target, work_of(target)):
        with pytest.raises(DataError, match="is half prepared: `qkan data prepare` was stopped, or still runs"):
            resolve_series(half)
    kept = {own.name: own.stat().st_mtime_ns for own in work_of(target).glob("part-*.npz")}
    assert len(kept) == 1
    monkeypatch.setattr(
        prepare._Preparation, "_write_part", lambda self, part: (whole(self, part), written.append(part))
    )
    prepare_panel(table, target, part_rows=40)
    assert len(written) == len(set(written)) == 3
    same(resolve_series(target), resolve_series(table))


def test_another_process_prepares_it(table: Path) -> None:
    import filelock

    target = table.with_name("panel")
    with filelock.FileLock(lock_of(target)), pytest.raises(DataError, match=r"preparing .* already"):
        prepare_panel(table, target)


def test_what_is_there_is_not_replaced(panel: Path, table: Path, tmp_path: Path) -> None:
    before = {own.name: own.read_bytes() for own in panel.iterdir()}
    with pytest.raises(DataError, match=r"there is a panel in .* already; choose another folder"):
        prepare_panel(table, panel)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "notes.txt").write_text("mine")
    with pytest.raises(DataError, match="exists and is no panel"):
        prepare_panel(table, tmp_path / "other", overwrite=True)
    assert before == {own.name: own.read_bytes() for own in panel.iterdir()}
    prepare_panel(table, panel, overwrite=True)
    same(resolve_series(panel), resolve_series(table))


def edit_values(panel: Path) -> None:
    content = bytearray((panel / "values.npy").read_bytes())
    content[-3] ^= 1
    (panel / "values.npy").write_bytes(content)


def edit_manifest(panel: Path, **changes: object) -> None:
    facts = json.loads((panel / "manifest.json").read_text()) | changes
    (panel / "manifest.json").write_text(json.dumps(facts | {"sha256": digest_of(facts)}))


SPOILT: dict[str, tuple[Callable[[Path], object], str]] = {
    "edited": (edit_values, r"part 2 of values\.npy .* is not what was written \(its sha256 differs\)"),
    "cut": (lambda panel: os.truncate(panel / "values.npy", 300), r"has 300 bytes, but 888 were written"),
    "without values": (lambda panel: (panel / "values.npy").unlink(), r"cannot read values\.npy of the panel"),
    "a folder in their place": (
        lambda panel: ((panel / "values.npy").unlink(), (panel / "values.npy").mkdir()),
        r"values\.npy of the panel .* has .* bytes, but 888 were written",
    ),
    "without a manifest": (lambda panel: (panel / "manifest.json").unlink(), "is a folder; give the path of one"),
    "no JSON": (lambda panel: (panel / "manifest.json").write_text("{"), r"manifest\.json .* is damaged"),
    "a manifest by hand": (
        lambda panel: (panel / "manifest.json").write_text(
            (panel / "manifest.json").read_text().replace('"points": 95', '"points": 94')
        ),
        r"manifest\.json of the panel .* is not what was written",
    ),
    "another version": (
        lambda panel: edit_manifest(panel, version=VERSION + 1),
        rf"has version '{VERSION + 1}' of the format, this version of qkan reads {VERSION}; prepare it again",
    ),
    "another folder": (lambda panel: edit_manifest(panel, format="x"), "is no panel: its manifest.json says no format"),
    "series edited": (
        lambda panel: (panel / "series.parquet").write_bytes((panel / "series.parquet").read_bytes()[:-1] + b"x"),
        r"series\.parquet of the panel .* is not what was written",
    ),
}


@pytest.mark.parametrize("name", SPOILT)
def test_a_damaged_panel_is_refused(name: str, panel: Path) -> None:
    spoil, sentence = SPOILT[name]
    spoil(panel)
    with pytest.raises(DataError, match=sentence):
        resolve_series(panel).values.sum()


def test_another_process_maps_the_files_where_they_lie(panel: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No values are sent, however many there are, and whoever takes the series may work elsewhere."""
    monkeypatch.chdir(panel.parent)
    opened = resolve_series(f"{panel.name}/")
    values = opened.values.copy()
    sent = pickle.dumps(opened)
    assert values[:20].tobytes() not in sent
    monkeypatch.chdir("/")
    taken = pickle.loads(sent)
    assert taken.mapped_values() == 0
    np.testing.assert_array_equal(taken.values, values)
    assert taken.mapped_values() == len(values)
    panel.rename(panel.with_name("elsewhere"))
    with pytest.raises(FileNotFoundError) as caught:
        pickle.loads(sent)
    assert Path(caught.value.filename) == panel.absolute() / "manifest.json"


def test_a_copy_is_as_good(panel: Path, table: Path, tmp_path: Path) -> None:
    shutil.copytree(panel, tmp_path / "copy", copy_function=shutil.copyfile)  # its times are others
    same(resolve_series(tmp_path / "copy"), resolve_series(table))


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"time_col": "hour"}, "time_col='hour' was given, but the panel .* was prepared with time_col='ds'"),
        ({"frequency": "D"}, "freq='D' was given, but the step of the panel .* is 'h'; leave it out"),
        *(
            (
                {name: ("x",)},
                rf"{name}=\('x',\) was given, but the panel .* holds no covariates, .*; give the file that",
            )
            for name in ("past_cols", "future_cols", "static_cols", "category_cols")
        ),
        ({"series": ("z",)}, "there is no series 'z' in 'panel'"),
    ],
    ids=str,
)
def test_what_a_panel_cannot_do(given: dict, sentence: str, panel: Path) -> None:
    with pytest.raises(DataError, match=sentence):
        resolve_series(panel, **given)


@pytest.mark.parametrize("step", ["h", "60min", "3600s"])
def test_a_step_of_the_same_size_is_that_of_the_panel(step: str, panel: Path, table: Path) -> None:
    same(resolve_series(panel, frequency=step), resolve_series(table))


def test_some_series_are_kept_in_memory(panel: Path, table: Path) -> None:
    found, wanted = (keep_series(resolve_series(path), ["c"]) for path in (panel, table))
    assert type(found) is Series
    pd.testing.assert_frame_equal(found.frame, wanted.frame)


def test_only_the_rows_of_the_series_that_are_held_are_mapped(panel: Path, table: Path) -> None:
    series, whole = resolve_series(panel), resolve_series(table)
    own = series.only(1, 2)
    assert isinstance(own, PanelSeries)
    inside, outside = np.arange(25, 65).reshape(4, 10), np.arange(5, 95)
    assert (own.values_at(inside) == whole.values[inside]).all()
    assert (own.values_at(outside) == whole.values[outside]).all()  # read, not mapped
    assert (own.values_of(2) == whole.values_of(2)).all()
    assert own.store.mapped == [("values", 25, 65)]
