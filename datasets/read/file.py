"""Series from a user's own file: every value and every time is checked before anything is computed with it."""

from __future__ import annotations

import contextlib
import csv
import os
import stat
import warnings
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from qkan._util.csv_cells import unguarded
from qkan._util.optional import require_release
from qkan.datasets.errors import DataError, notice, shortened
from qkan.datasets.read.cells import EXACT, rounded_cells
from qkan.datasets.read.columns import Columns
from qkan.datasets.read.csv_form import CsvForm, find_form, without_groups
from qkan.datasets.read.limits import TooLargeError, check_columns, open_text, read_parquet
from qkan.datasets.read.sheets import check_workbook
from qkan.datasets.read.table import MIN_POINTS, future_frame, table_series
from qkan.datasets.read.times import holds_dates
from qkan.datasets.series import Series

_LONGEST_REASON = 160  # characters of what another package says
_SUFFIXES = (".csv", ".csv.gz", ".parquet", ".xlsx")
_MISSING = ("", "NA", "N/A", "n/a", "#N/A", "<NA>", "NaN", "nan", "-nan", "null", "NULL", "None")


def is_data_path(name: str | Path) -> bool:
    """Whether ``name`` can only mean a file: it has one of the known endings, names a folder, or exists."""
    text = str(name)
    return isinstance(name, Path) or "/" in text or "\\" in text or _suffix(text) is not None or os.path.exists(text)


def read_series(
    path: str | Path,
    *,
    missing: str = "refuse",
    sep: str | None = None,
    decimal: str | None = None,
    encoding: str | None = None,
    **columns: Any,
) -> Series:
    """One or many series from a ``.csv``, ``.csv.gz``, ``.parquet`` or ``.xlsx`` file in long form, one row a value.

    Args:
        path: the file. The first line of a CSV file names its columns. Of a workbook, the first sheet is read.
        sep, decimal, encoding: how a CSV file writes its table; None finds them, and a `DataNotice` says what was found
            other than commas, decimal points and UTF-8.
        missing, columns: as of :func:`qkan.datasets.read.table.series_from_frame`; without an id column there is one
            series, named after the file.

    Returns:
        a series named after the file, with the frequency found in its times and the seasons usual for that frequency.

    Raises:
        DataError: the file cannot be read, or :func:`qkan.datasets.read.table.series_from_frame` refuses what is in it.
            The message names the first offending row, counted from 1 below the header.

    Examples:
        >>> from qkan.datasets import read_series
        >>> series = read_series("traffic.csv", time_col="ds", target_col="y")
        >>> len(series.frame)
        400
    """
    return file_series(Path(path), Columns.named(**columns), missing, form=CsvForm(sep, decimal, encoding))


def file_series(
    path: Path,
    columns: Columns,
    missing: str,
    *,
    steps: tuple[Any, str | None] = (None, None),
    form: CsvForm | None = None,
) -> Series:
    """`read_series` for columns that are one value; ``steps`` are as of `table_series`."""
    frame = read_table(path, columns.id, form)
    return table_series(
        frame, columns, name=series_name(path), label=path.name, source=str(path), missing=missing, steps=steps
    )


def series_name(path: Path) -> str:
    """What the series of a file is called: the name of the file without its ending."""
    return path.name[: -len(_suffix(path.name) or "")]


def read_future(
    path: str | Path,
    series: Series,
    *,
    time_col: str | None = None,
    id_col: str | None = None,
    sep: str | None = None,
    decimal: str | None = None,
    encoding: str | None = None,
) -> pd.DataFrame:
    """The future covariates of a series from a file of its own, for `Series.with_futr_exog`.

    Args:
        path: a file as of `read_series`, with the columns of times, ids and future covariates.
        series: whose future it is.
        time_col, id_col: names of the columns; None stands for those of the table of the series.
        sep, decimal, encoding: as of `read_series`.

    Raises:
        DataError: the series has no future covariates, the file cannot be read, or what is in it cannot be used.

    Examples:
        >>> import pandas as pd
        >>> from qkan.datasets import read_future, series_from_frame
        >>> ds = pd.date_range("2026-01-01", periods=50, freq="h")
        >>> table = pd.DataFrame({"ds": ds, "y": range(50), "holiday": 0.0})
        >>> series = series_from_frame(table[:48], future_cols=["holiday"])
        >>> table.loc[48:, ["ds", "holiday"]].to_csv("future.csv", index=False)
        >>> len(read_future("future.csv", series))
        2
    """
    path = Path(path)
    if not series.future and not series.categories:
        raise DataError(
            f"{str(path)!r} was given for the future, but the model uses no covariate known in advance; leave it out"
        )
    id_col = id_col or series.form.id_col
    frame = read_table(path, id_col, CsvForm(sep, decimal, encoding))
    return future_frame(frame, series, label=path.name, time_col=time_col, id_col=id_col)


def _suffix(name: str) -> str | None:
    return next((suffix for suffix in _SUFFIXES if name.lower().endswith(suffix)), None)


def read_table(path: Path, id_col: str | None = None, form: CsvForm | None = None) -> pd.DataFrame:
    """The table in a file as it stands there; values that are missing are NaN, and ids in ``id_col`` stay text.

    Raises:
        DataError: the file cannot be read, or has no rows.
    """
    suffix = check_file(path)
    with readable(path):
        if suffix == ".parquet":
            frame = _read_parquet(path)
        else:
            frame = _read_workbook(path) if suffix == ".xlsx" else _read_csv(path, id_col, form or CsvForm())
    if len(frame) == 0:
        raise no_rows(path)
    return frame


def no_rows(path: Path) -> DataError:
    """What to say of a file without rows."""
    return DataError(f"{shortened(path)} has no rows below its header; a series needs at least {MIN_POINTS} values")


def check_file(path: Path) -> str:
    """The ending of a file that may be read.

    Raises:
        DataError: it is not there, no regular file, empty or of another type.
    """
    suffix, shown = _suffix(path.name), shortened(path)
    try:
        facts = os.stat(path)
    except (FileNotFoundError, NotADirectoryError, ValueError):  # the last: a zero byte in the name
        raise DataError(f"there is no file {shown}; check the path, or give the name of a built-in series") from None
    except OSError as error:
        raise DataError(f"cannot read {shown}: {error.strerror}; check the path") from error
    if stat.S_ISDIR(facts.st_mode):
        raise DataError(
            f"{shown} is a folder; give the path of one {', '.join(_SUFFIXES)} file, or of a panel that "
            "`qkan data prepare` wrote"
        )
    if not stat.S_ISREG(facts.st_mode):  # a device may be endless, and a pipe may never begin
        raise DataError(f"{shown} is no regular file, but a pipe or a device; write its values to a file first")
    if suffix is None:
        raise DataError(f"{shown} is none of {', '.join(_SUFFIXES)}; convert it to one of these")
    if facts.st_size == 0:
        raise DataError(f"{shown} is empty; it needs a header line and one row a value")
    return suffix


@contextlib.contextmanager
def readable(path: Path) -> Iterator[None]:
    """Turn what the readers of a file say of a damaged one into a sentence.

    Raises:
        DataError: the file cannot be read.
    """
    suffix, shown = _suffix(path.name), shortened(path)
    try:
        yield
    except UnicodeDecodeError as error:
        byte = f"0x{error.object[error.start]:02x}"
        raise DataError(
            f"{shown} cannot be read as {suffix} (its byte {byte} is no {error.encoding} text); say how it is encoded "
            "with encoding='cp1252' or the like, save it as UTF-8 or Parquet, or get it again if it is damaged"
        ) from error
    except DataError:
        raise
    except TooLargeError as error:
        raise DataError(f"{shown} cannot be read: {error}") from error
    except (
        pa.ArrowException,
        pd.errors.ParserError,
        ValueError,
        OSError,
        EOFError,
        zlib.error,
        zipfile.BadZipFile,
        KeyError,
        csv.Error,
    ) as error:
        reason = str(error).strip().split("\n")[0]
        reason = reason if len(reason) <= _LONGEST_REASON else f"{reason[:_LONGEST_REASON]}..."
        raise DataError(
            f"{shown} cannot be read as {suffix} ({reason}); check whether it is damaged or of another type"
        ) from error


def _read_csv(path: Path, id_col: str | None, given: CsvForm) -> pd.DataFrame:
    ids, options, decimal = csv_options(path, id_col, given)
    with _few_fields(), open_text(path) as file:
        frame = pd.read_csv(file, **options)
    _keep_whole_numbers(path, frame, [column for column in frame.columns if column != ids], options)
    check_header(frame)
    frame = in_csv_words(frame, ids, decimal)
    return frame.iloc[: _filled(frame)]  # blank lines at the end are no values


def csv_options(path: Path, id_col: str | None, given: CsvForm) -> tuple[str, dict[str, Any], str]:
    """The id column of a CSV file, there or not, what `pandas.read_csv` is to be told, and the decimal mark.

    Raises:
        ValueError: the first line names no columns, or one of them twice.
    """
    written_as = find_form(path, given)
    form: dict[str, Any] = {
        **written_as.options(),
        "skip_blank_lines": False,  # in a file of one column a blank line is a missing value
    }
    ids = id_col or "unique_id"
    with open_text(path, whole=False) as file:
        header = pd.read_csv(file, nrows=0, **form).columns
    check_columns(len(header))
    if any("\0" in str(column) for column in header):
        raise ValueError("its first line has zero bytes, as text in UTF-16 does")
    with open_text(path, whole=False) as file:
        written = pd.read_csv(file, nrows=1, header=None, dtype=str, **form).iloc[0].dropna()
    twice = written[written.duplicated()]  # pandas would rename the second one
    if len(twice):
        raise ValueError(f"its first line has more than one column {shortened(twice.iloc[0])}")
    others = [column for column in header if column != ids]
    form |= {"low_memory": False, "index_col": False, "dtype": {ids: str}}
    form |= {"keep_default_na": False, "na_values": dict.fromkeys(others, _MISSING)}  # an id "NA" is no missing one
    return ids, form, str(written_as.decimal)


@contextlib.contextmanager
def _few_fields() -> Iterator[None]:
    """Refuse rows that have more fields than the first line has names.

    Raises:
        ValueError: there is one.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("error", pd.errors.ParserWarning)
        try:
            yield
        except pd.errors.ParserWarning as warning:
            raise ValueError("its rows have more fields than its first line has names") from warning


def csv_blocks(path: Path, id_col: str | None, given: CsvForm, rows: int) -> Iterator[pd.DataFrame]:
    """The table of a CSV file of any size as `read_table` gives it, so many rows at a time.

    Raises:
        ValueError, pandas.errors.ParserError, UnicodeDecodeError: it is no table.
    """
    ids, options, decimal = csv_options(path, id_col, given)
    blank: pd.DataFrame | None = None
    with _few_fields(), open_text(path, whole=False) as file, pd.read_csv(file, chunksize=rows, **options) as blocks:
        for block in blocks:
            if blank is None:
                check_header(block)
            whole = block if blank is None else pd.concat([blank, block], ignore_index=True)
            filled = _filled(whole)  # lines that are blank up to the end of the file are no values
            blank = whole.iloc[filled:]
            if filled:
                yield in_csv_words(whole.iloc[:filled].reset_index(drop=True), ids, decimal)


def check_header(frame: pd.DataFrame) -> None:
    """Refuse a table whose first line holds values.

    Raises:
        ValueError: it does.
    """
    names = pd.Series(list(map(str, frame.columns)))
    words = names[pd.to_numeric(names, errors="coerce").isna()]
    if len(frame) and (not len(words) or (len(words) < len(names) and holds_dates(words))):
        raise ValueError(f"its first line {', '.join(names)!r} holds values, but must name the columns")


def in_csv_words(frame: pd.DataFrame, ids: str, decimal: str) -> pd.DataFrame:
    """The rows of a CSV file with their decimal commas read, and with ids as they were before our own tables quoted
    them."""
    if decimal == ",":
        others = [column for column in frame.columns if column != ids]
        frame = frame.assign(**{column: without_groups(frame[column]) for column in others})
    if ids in frame.columns:
        frame = frame.assign(**{ids: unguarded(frame[ids])})
    return frame


def _filled(frame: pd.DataFrame) -> int:
    """How many rows there are up to the last one that is not blank."""
    filled = np.flatnonzero(~(frame.isna() | (frame == "")).all(axis=1).to_numpy())
    return int(filled[-1]) + 1 if filled.size else 0


def _keep_whole_numbers(path: Path, frame: pd.DataFrame, names: list[str], form: dict[str, Any]) -> None:
    """Put the texts of whole numbers in the place of floats that are not the same; who uses the column refuses them.

    Beside a missing value pandas makes floats of whole numbers, and texts of those above 2^63.
    """
    for name in names:
        if not pd.api.types.is_numeric_dtype(frame[name]):
            frame[name] = frame[name].mask(frame[name].isin(_MISSING))  # a missing one among texts is ""
    large = [name for name in names if frame[name].dtype == "float64" and (frame[name].abs() >= EXACT).any()]
    if not large:
        return
    with open_text(path) as file:
        texts = pd.read_csv(file, **(form | {"dtype": dict.fromkeys(frame.columns, str)}))
    for name in large:
        if rounded_cells(texts[name]).any():
            frame[name] = texts[name]


def _read_parquet(path: Path) -> pd.DataFrame:
    frame = read_parquet(path)
    return frame if isinstance(frame.index, pd.RangeIndex) else frame.reset_index()


def _read_workbook(path: Path) -> pd.DataFrame:
    """The first sheet of a workbook; its unpacked size is limited like that of text."""
    require_release("openpyxl", "3.1", extra="xlsx")
    check_workbook(path)
    try:
        with pd.ExcelFile(path, engine="openpyxl") as book:
            names = book.sheet_names
            if len(names) > 1:
                notice(f"the first of the {len(names)} sheets of {path.name!r} is read, {names[0]!r}")
            frame = pd.read_excel(book)
    except (SyntaxError, AttributeError, IndexError, TypeError) as error:  # of parsers, for XML that is no workbook
        raise ValueError(f"it is no workbook: {error}") from error
    filled = np.flatnonzero(frame.notna().any(axis=1).to_numpy())
    return frame.iloc[: filled[-1] + 1 if filled.size else 0]
