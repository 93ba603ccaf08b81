"""A small file that unpacks to more than the memory holds is refused before it does."""

import gzip
import re

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from qkan.datasets import DataError, read_series
from qkan.datasets.milan.grid import METADATA_KEY, read_import
from qkan.datasets.read import limits


@pytest.fixture
def small(monkeypatch):
    """A machine of 4 MB: a quarter for text, half for tables."""
    monkeypatch.setattr(limits, "memory", lambda: 4_000_000)


def refusal(path):
    with pytest.raises(DataError) as error:
        read_series(path)
    return re.sub(r"^'[^']*'", "'FILE'", str(error.value))  # the middle of a long path is left out


FIX = "write fewer rows or columns into a file of their own"


def test_packed_text_is_unpacked_no_further_than_it_fits(small, tmp_path):
    path = tmp_path / "bomb.csv.gz"
    path.write_bytes(gzip.compress(b"y\n" + b"0\n" * 5_000_000))
    assert path.stat().st_size < 20_000
    assert refusal(path) == (
        f"'FILE' cannot be read: it unpacks to more text than the 0.001 GB that this machine's memory allows; {FIX}"
    )


def test_a_packed_line_without_an_end_is_read_no_further_than_a_header(tmp_path):
    path = tmp_path / "bomb.csv.gz"
    path.write_bytes(gzip.compress(bytes(50_000_000)))
    assert "its first line has more than 1,000,000 bytes" in refusal(path)


def test_plain_text_larger_than_fits_is_refused_by_its_size(small, tmp_path):
    path = tmp_path / "large.csv"
    path.write_bytes(b"y\n" + b"0\n" * 1_000_000)
    assert f"it holds more text than the 0.001 GB that this machine's memory allows; {FIX}" in refusal(path)


def test_a_table_is_refused_by_its_metadata(small, tmp_path, monkeypatch):
    path = tmp_path / "bomb.parquet"
    pd.DataFrame({"y": np.zeros(1_000_000)}).to_parquet(path)
    assert path.stat().st_size < 20_000
    monkeypatch.setattr(pq.ParquetFile, "iter_batches", None)  # would be a TypeError
    assert "it has 1,000,000 rows of 1 columns, more table than the 0.002 GB that this machine's" in refusal(path)


def test_texts_that_a_dictionary_keeps_once_are_counted_as_often_as_they_come(small, tmp_path):
    """The metadata tells of 100 kB, the table has 100 MB."""
    path = tmp_path / "bomb.parquet"
    pq.write_table(pa.table({"unique_id": ["x" * 100_000] * 1000, "y": np.zeros(1000)}), path)
    with pq.ParquetFile(path) as file:
        assert file.metadata.row_group(0).total_byte_size < 200_000
    assert "it unpacks to more table than the 0.002 GB that this machine's memory allows" in refusal(path)


def test_an_import_that_does_not_fit_can_be_read_by_squares(small, tmp_path):
    path, steps = tmp_path / "milan.parquet", 60_000
    facts = b'{"freq": "1h", "signal": "internet", "source": "s", "licence": "l", "days": "d"}'
    ds = pd.date_range("2013-11-01", periods=steps, freq="h").to_numpy()
    columns = {"unique_id": ["1"] * steps + ["2"] * steps, "ds": np.tile(ds, 2), "y": np.arange(2.0 * steps)}
    schema = pa.schema([("unique_id", pa.string()), ("ds", pa.timestamp("ns")), ("y", pa.float64())])
    pq.write_table(pa.table(columns, schema.with_metadata({METADATA_KEY: facts})), path)
    with pytest.raises(DataError, match=r"rows of 3 columns, more table than .*; or choose some of its squares"):
        read_import(path)
    assert len(read_import(path, ["1"]).frame) == steps


def test_tables_are_read_as_pandas_reads_them(tmp_path):
    frame = pd.DataFrame(
        {"unique_id": ["a", "b"] * 3, "ds": pd.date_range("2024", periods=6), "y": np.arange(6.0), "k": [1, 2, 3] * 2}
    )
    for index in (frame, frame.set_index("ds"), frame.astype({"unique_id": "category"})):
        index.to_parquet(tmp_path / "x.parquet", row_group_size=4)
        pd.testing.assert_frame_equal(
            limits.read_parquet(tmp_path / "x.parquet"), pd.read_parquet(tmp_path / "x.parquet")
        )


def test_the_memory_of_a_container_counts(tmp_path, monkeypatch):
    (tmp_path / "memory.max").write_text("1000000\n")
    (tmp_path / "none").write_text("max\n")
    for name, expected in (("memory.max", True), ("none", False), ("missing", False)):
        monkeypatch.setattr(limits, "_CGROUPS", (str(tmp_path / name),))
        assert (limits.memory.__wrapped__() == 1_000_000) is expected
    monkeypatch.setattr(limits.os, "sysconf", lambda name: (_ for _ in ()).throw(ValueError))
    assert limits.memory.__wrapped__() == 8 << 30


def test_an_id_that_our_tables_guard_is_the_same_id(tmp_path):
    rows = "".join(f"'=a,{row}\n-5,{row}\n'b,{row}\n" for row in range(4))
    (tmp_path / "x.csv").write_text("unique_id,y\n" + rows)
    assert read_series(tmp_path / "x.csv").ids == ("'b", "-5", "=a")
