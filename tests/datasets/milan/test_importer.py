"""From daily files to a Parquet file: numbers, filling, going on after a kill, clock changes and refusals."""

import datetime as dt
import errno
import os
import stat
import subprocess
import sys
from contextlib import contextmanager

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from qkan._util.files import only_process
from qkan.datasets import DataError, read_series, resolve_series
from qkan.datasets.milan import importer as milan_import
from qkan.datasets.milan.grid import MilanOptions, day_bounds, default_path, read_facts, wall_clock
from qkan.datasets.milan.importer import import_milan
from qkan.datasets.milan.sample import file_name, sample_rows, write_sample

DAYS = [dt.date(2013, 11, 1), dt.date(2013, 11, 2)]
SQUARES = [1, 77, 5161, 10000]


class Told:
    """What an import said of its progress."""

    def __init__(self):
        self.days, self.done, self.read = [], None, 0

    def start(self, days, done):
        self.done = (days, done)

    def rows(self, count):
        self.read += count

    def day(self, day, rows):
        self.days.append(day)


def truth(days, signal, step_ms):
    """Sums by square and step with pandas, from the rows that the sample holds; NaN where no row is."""
    rows = pd.concat([sample_rows(day, SQUARES) for day in days])
    step = (rows["time_ms"] - day_bounds(days[0])[0]) // step_ms
    sums = rows[signal].fillna(0).groupby([rows["square_id"], step]).sum().unstack()
    steps = (day_bounds(days[-1])[1] - day_bounds(days[0])[0]) // step_ms
    return sums.reindex(columns=range(steps))


def wide(path):
    """The imported values, squares by steps."""
    frame = pd.read_parquet(path)
    return frame.pivot(index="unique_id", columns="ds", values="y").sort_index(key=lambda ids: ids.astype(int))


@pytest.fixture
def folder(tmp_path):
    write_sample(tmp_path / "in", DAYS, SQUARES)
    return tmp_path / "in"


@pytest.fixture
def out(tmp_path):
    return tmp_path / "out.parquet"


@pytest.mark.parametrize(("freq", "step_ms"), [("10min", 600_000), ("1h", 3_600_000)])
@pytest.mark.parametrize(("signal", "fill"), [("sms_in", "zero"), ("internet", "missing")])
def test_values_are_sums_over_country_codes(folder, out, freq, step_ms, signal, fill):
    done = import_milan([folder], out, MilanOptions(signal=signal, freq=freq, fill=fill))
    wanted = truth(DAYS, signal, step_ms)
    got = wide(out)
    assert got.index.tolist() == [str(square) for square in SQUARES]
    assert got.columns[0] == pd.Timestamp("2013-11-01")
    assert (np.diff(got.columns) == np.timedelta64(step_ms, "ms")).all()
    absent = wanted.isna().to_numpy()
    assert absent.any() or freq == "1h"
    expected = wanted.fillna(0.0) if fill == "zero" else wanted
    np.testing.assert_allclose(got.to_numpy(), expected.to_numpy(), rtol=1e-13)
    assert done.facts["steps_filled"] == absent.sum()
    assert done.facts == read_facts(out)


def test_the_file_records_where_it_is_from_and_how_it_was_made(folder, out):
    told = Told()
    import_milan([folder], out, MilanOptions(squares=(1, 2, 5161)), progress=told)
    facts = read_facts(out)
    assert facts["doi"] == "10.7910/DVN/EGZHFV"
    assert "ODbL" in facts["licence"]
    wanted = {
        "signal": "sms_in",
        "freq": "10min",
        "fill": "zero",
        "zone": "Europe/Rome",
        "utc_offset": "+01:00",
        "days": "2013-11-01 to 2013-11-02",
        "squares": 2,
        "steps": 288,
    }
    assert {name: facts[name] for name in wanted} == wanted
    assert facts["squares_without_rows"] == [2]
    assert facts["rows_read"] == told.read == sum(len(sample_rows(day, SQUARES)) for day in DAYS)
    assert (told.done, told.days) == ((2, 0), ["2013-11-01", "2013-11-02"])


def test_row_groups_hold_whole_squares_in_the_order_of_a_series(folder, out, monkeypatch):
    monkeypatch.setattr(milan_import, "ROW_GROUP", 600)  # two squares of 288 steps
    import_milan([folder], out)
    file = pq.ParquetFile(out)
    assert [file.metadata.row_group(n).num_rows for n in range(file.num_row_groups)] == [576, 576]
    series = read_series(out)
    assert series.ids == ("1", "10000", "5161", "77")
    assert series.frequency == "10min"
    ids = pd.read_parquet(out, columns=["unique_id"])["unique_id"]
    assert ids.tolist() == [name for name in series.ids for _ in range(288)]
    np.testing.assert_allclose(series.values.reshape(4, 288)[[0, 3, 2, 1]], truth(DAYS, "sms_in", 600_000).fillna(0))


def test_days_may_be_any_subset_in_any_order(folder, out, tmp_path):
    files = [folder / file_name(day) for day in reversed(DAYS)]
    import_milan([*files, folder], out)  # a folder that holds the same files changes nothing
    other = tmp_path / "other.parquet"
    import_milan([files[0]], other)
    both, second = wide(out), wide(other)
    assert second.columns[0] == pd.Timestamp("2013-11-02")
    np.testing.assert_array_equal(both.to_numpy()[:, 144:], second.to_numpy())


def test_a_missing_day_is_not_filled_with_zeros(tmp_path, out):
    write_sample(tmp_path, [DAYS[0], dt.date(2013, 11, 3)], SQUARES)
    with pytest.raises(DataError, match=r"no file holds 2013-11-02, the day after .*, though .*2013-11-03.* is later"):
        import_milan([tmp_path], out)
    assert not out.exists()
    done = import_milan([tmp_path], out, MilanOptions(fill="missing", freq="1h"))
    got = wide(out)
    assert got.shape == (4, 72)
    assert got.iloc[:, 24:48].isna().all(axis=None)
    assert (done.facts["days_missing"], done.facts["steps"]) == (1, 72)
    assert done.facts["steps_filled"] == got.isna().sum().sum()


def test_intervals_without_any_row_are_counted(tmp_path, out):
    rows = sample_rows(DAYS[0], SQUARES)
    noon = day_bounds(DAYS[0])[0] + 12 * 3_600_000
    rows[rows["time_ms"] < noon].to_csv(tmp_path / file_name(DAYS[0]), sep="\t", header=False, index=False)
    assert import_milan([tmp_path], out).facts["intervals_without_rows"] == 72


@pytest.mark.parametrize(
    ("day", "hours", "before", "after"),
    [
        ("2013-03-31", 23, "01:50:00+01:00", "03:00:00+02:00"),
        ("2013-10-27", 25, "02:50:00+02:00", "02:00:00+01:00"),
    ],
)
def test_days_of_a_clock_change_give_regular_steps(tmp_path, out, day, hours, before, after):
    day = dt.date.fromisoformat(day)
    days = [day - dt.timedelta(days=1), day, day + dt.timedelta(days=1)]
    write_sample(tmp_path, days, SQUARES)
    import_milan([tmp_path], out)
    got = wide(out)
    assert got.shape == (4, (48 + hours) * 6)
    assert (np.diff(got.columns) == np.timedelta64(10, "m")).all()
    np.testing.assert_allclose(got, truth(days, "sms_in", 600_000).fillna(0), rtol=1e-13)
    shown = wall_clock(pd.DatetimeIndex(got.columns))
    assert str(shown[0]) == f"{days[0]} 00:00:00+0{1 if hours == 23 else 2}:00"
    assert str(shown[-1])[11:16] == "23:50"
    change = int(np.flatnonzero(np.diff([t.utcoffset().seconds for t in shown]))[0])
    assert (str(shown[change])[11:], str(shown[change + 1])[11:]) == (before, after)


def test_a_killed_import_goes_on_with_the_days_it_lacks(folder, out, tmp_path):
    code = f"""
import os
from qkan.datasets.milan import importer as m
class Kill:
    def start(self, days, done): pass
    def rows(self, count):
        if self.days == 1: os.kill(os.getpid(), 9)
    days = 0
    def day(self, day, rows): self.days += 1
m.import_milan([{str(folder)!r}], {str(out)!r}, progress=Kill())
"""
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -9
    assert not out.exists()
    told = Told()
    import_milan([folder], out, progress=told)
    assert (told.done, told.days) == ((2, 1), ["2013-11-02"])
    straight = tmp_path / "straight.parquet"
    import_milan([folder], straight)
    assert out.read_bytes() == straight.read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in", "out.parquet", "straight.parquet"]


@contextmanager
def full_disk(monkeypatch, after):
    """Let the disk be full from the n-th file on that is forced to it."""
    calls, real = [], os.fsync

    def fsync(handle):
        if stat.S_ISREG(os.fstat(handle).st_mode):  # a folder is synced after every file
            calls.append(handle)
        if len(calls) > after:
            raise OSError(errno.ENOSPC, "No space left on device")
        real(handle)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fsync)
        yield


def test_a_full_disk_keeps_the_days_that_are_done_and_the_old_file(folder, out, monkeypatch):
    out.write_bytes(b"old")
    with full_disk(monkeypatch, after=2), pytest.raises(DataError) as error:
        import_milan([folder], out, overwrite=True)
    assert "No space left on device; the days done so far are kept in" in str(error.value)
    assert out.read_bytes() == b"old"
    told = Told()
    with (
        full_disk(monkeypatch, after=2),
        pytest.raises(DataError, match=r"cannot write '.*out.parquet': No space"),
    ):
        import_milan([folder], out, overwrite=True, progress=told)
    assert told.done == (2, 1)
    assert out.read_bytes() == b"old"
    told = Told()
    import_milan([folder], out, overwrite=True, progress=told)
    assert told.done == (2, 2)
    assert len(pd.read_parquet(out)) == 4 * 288


def test_parts_of_a_changed_file_or_of_other_options_are_not_used(folder, out, monkeypatch):
    def interrupted(options):
        with full_disk(monkeypatch, after=4), pytest.raises(DataError):
            import_milan([folder], out, options)

    interrupted(MilanOptions())
    told = Told()
    first = folder / file_name(DAYS[0])
    sample_rows(DAYS[0], SQUARES, seed=1).to_csv(first, sep="\t", header=False, index=False)
    interrupted(MilanOptions(signal="internet"))
    sample_rows(DAYS[0], SQUARES, seed=0).to_csv(first, sep="\t", header=False, index=False)
    import_milan([folder], out, MilanOptions(signal="internet"), progress=told)
    assert told.done == (2, 1)
    np.testing.assert_allclose(wide(out), truth(DAYS, "internet", 600_000).fillna(0), rtol=1e-13)


def test_an_existing_file_is_replaced_only_if_asked(folder, out):
    out.write_bytes(b"old")
    with pytest.raises(DataError, match=r"out.parquet' exists already; replace it with overwrite=True, or choose"):
        import_milan([folder], out)
    assert out.read_bytes() == b"old"
    import_milan([folder], out, overwrite=True)
    assert len(read_series(out).ids) == 4


def test_a_second_import_to_the_same_file_is_told(folder, out):
    with (
        only_process(out.with_name(".out.parquet.lock"), "importing", DataError),
        pytest.raises(DataError, match=rf"process {os.getpid()} on .* is importing to '.*out.parquet' already"),
    ):
        import_milan([folder], out)
    assert not out.exists()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("out.csv", r"cannot write '.*out.csv': the name must end in .parquet"),
        ("no/out.parquet", r"the folder '.*no' of 'out.parquet' does not exist; make it first"),
        ("in.parquet", r"cannot write '.*in.parquet': it is a folder; choose another name"),
    ],
)
def test_impossible_outputs_are_refused_before_reading(folder, tmp_path, name, message):
    (tmp_path / "in.parquet").mkdir()
    with pytest.raises(DataError, match=message):
        import_milan([folder], tmp_path / name)


def test_squares_without_rows_are_refused_if_none_is_left(folder, out, tmp_path):
    with pytest.raises(DataError, match=r"no row is of the squares asked for \(2, from 3 to 9\); choose others"):
        import_milan([folder], out, MilanOptions(squares=(3, 9)))
    assert not out.exists()


def test_rows_that_come_twice_are_refused(folder, out):
    path = folder / file_name(DAYS[1])
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join([*lines, *lines[:5]]))
    square, time_ms, code = lines[0].split("\t")[:3]
    with pytest.raises(DataError) as error:
        import_milan([folder], out)
    assert f"has square {square} at time_ms {time_ms} with country code {code} more than once (5 such rows)" in str(
        error.value
    )


def test_rows_in_another_order_give_the_same_values(folder, out, tmp_path):
    path = folder / file_name(DAYS[1])
    lines = path.read_text().splitlines(keepends=True)
    import_milan([folder], out)
    path.write_text("".join(reversed(lines)))
    other = tmp_path / "other.parquet"
    import_milan([folder], other)
    np.testing.assert_allclose(wide(other), wide(out), rtol=1e-13)


def test_more_rows_than_a_day_can_have_are_refused(folder, out, monkeypatch):
    monkeypatch.setattr(milan_import, "MOST_ROWS", 100)
    with pytest.raises(DataError, match=r"has more than 100 rows, while a day of the Milan grid has about 5 million"):
        import_milan([folder], out)


def test_a_malformed_line_leaves_the_output_as_it_was(folder, out, tmp_path):
    path = folder / file_name(DAYS[0])
    path.write_text(path.read_text() + f"1\t{day_bounds(DAYS[0])[0]}\t39\t-1\t\t\t\t\n")
    out.write_bytes(b"old")
    with pytest.raises(DataError, match=r"has sms_in -1, outside 0 to 1e\+12 \(1 malformed line in this file\)"):
        import_milan([folder], out, overwrite=True)
    assert out.read_bytes() == b"old"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in", "out.parquet"]


def test_milan_names_the_import_in_the_default_place(folder, tmp_path, monkeypatch):
    monkeypatch.setenv("QKAN_DATA", str(tmp_path / "new" / "data"))
    done = import_milan([folder], options=MilanOptions(freq="1h", signal="call_in"))
    assert done.path == default_path("call_in", "1h") == tmp_path / "new" / "data" / "milan-call_in-1h.parquet"
    series = resolve_series("milan")
    assert series.name == "milan-call_in-1h"
    assert (series.frequency, series.season, series.ids[-1]) == ("h", (24,), "77")
    assert series.unit == "call_in activity per hour"
    assert series.source.endswith("doi 10.7910/DVN/EGZHFV")
    assert series.licence == "Open Database License (ODbL) 1.0"
    assert series.summary == "call_in of 4 squares of the Milan grid, 2013-11-01 to 2013-11-02"
    with pytest.raises(DataError, match=r"id_col='unique_id' was given, but 'milan' is a built-in series"):
        resolve_series("milan", id_col="unique_id")


def test_squares_of_an_import_are_chosen_by_name(folder, out):
    import_milan([folder], out)
    series = resolve_series(out, series=("77", "10000"))
    assert (series.name, series.ids, series.licence) == ("out", ("10000", "77"), "Open Database License (ODbL) 1.0")
    wanted = truth(DAYS, "sms_in", 600_000).fillna(0).loc[[10000, 77]].to_numpy()
    np.testing.assert_allclose(series.values.reshape(2, 288), wanted, rtol=1e-13)
    assert resolve_series(out).fingerprint() == read_series(out).fingerprint()
    with pytest.raises(DataError, match=r"there is no series '516' in 'out' \(did you mean '5161'\?\); it has 4"):
        resolve_series(out, series=("1", "516"))


def test_missing_values_are_refused_only_in_squares_that_are_used(tmp_path, out):
    rows = sample_rows(DAYS[0], [1, 2])
    first = day_bounds(DAYS[0])[0]
    full = rows[rows["square_id"] == 1].drop_duplicates("time_ms").iloc[:1].loc[[0] * 144]
    full["time_ms"] = first + 600_000 * np.arange(144)
    rows = pd.concat([full, rows[rows["square_id"] == 2].iloc[10:]])
    rows.to_csv(tmp_path / file_name(DAYS[0]), sep="\t", header=False, index=False)
    done = import_milan([tmp_path], out, MilanOptions(fill="missing"))
    absent = done.facts["steps_filled"]
    assert absent > 0
    assert len(resolve_series(out, series=("1",)).frame) == 144
    with pytest.raises(DataError, match=rf"has {absent} missing values among those asked for; import it"):
        resolve_series(out)
    masked = resolve_series(out, missing="mask")
    assert masked.missing == "mask"
    assert (masked.ids, masked.frequency) == (("1", "2"), "10min")
    assert 0 < (~masked.observed).sum() <= absent  # those before the first value of a square are dropped
    assert "activity per 10 minutes" in masked.unit


def test_a_damaged_import_is_explained(folder, out):
    import_milan([folder], out)
    data = bytearray(out.read_bytes())
    data[20:2000] = bytes(1980)
    out.write_bytes(data)
    with pytest.raises(DataError, match=r"out.parquet' cannot be read \(.*; import it again"):
        resolve_series(out)


def test_a_default_place_that_cannot_be_made_is_explained(folder, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("QKAN_DATA", str(tmp_path / "file" / "data"))
    with pytest.raises(DataError, match=r"cannot make the folder '.*data': Not a directory; name another in QKAN_DATA"):
        import_milan([folder])
