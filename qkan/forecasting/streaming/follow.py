"""Following a file that grows, or standard input: forecasts as rows come."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING

from qkan.forecasting.config import FRAME
from qkan.forecasting.io.files import RunError
from qkan.forecasting.runs.run_data import series_of
from qkan.forecasting.streaming.forecaster_stream import STATE_FILE
from qkan.forecasting.streaming.stream import Stream

if TYPE_CHECKING:
    import pandas as pd

    from qkan.forecasting.runs.run import Run

_PIECE = 2**20  # bytes that are read at once
_LONGEST_LINE = 2**20
_SAVE_EVERY = 10.0  # seconds


def open_stream(run: Run, data: str | None = None) -> Stream:
    """Return the stream of a run folder: from the state in it, else from data, else from what the run was trained on.

    A run of a data frame, or whose file is gone, begins with the first rows that it is given.

    Args:
        run: A loaded run.
        data: Name or file of data to begin from, whatever state there is; ``None`` for none.

    Raises:
        DataError: the data cannot be used.
        RunError: the state is damaged, or the run does not know a series.
    """
    from qkan.datasets import names_file

    path = run.path / STATE_FILE
    if data is None and path.exists():
        return Stream.load(run, path)
    stream, own = Stream(run), run.config.data
    if data is not None or (own != FRAME and not (names_file(own) and not Path(own).exists())):
        stream.begin(series_of(run, data, grown=True))
    return stream


class Lines:
    """Whole lines of a file that grows, or of a pipe, as tables below the first one.

    Args:
        source: Opened in binary; where it ends, it may go on later.
        name: What it is called.
        grows: Whether more may come behind its end.
    """

    def __init__(self, source: IO[bytes], name: str, *, grows: bool) -> None:
        self._source, self.name, self._grows = source, name, grows
        self._header: bytes | None = None
        self._rest, self._read = b"", 0

    def tables(
        self, run: Run, *, poll: float = 0.2, wait: Callable[[float], None] = time.sleep
    ) -> Iterator[pd.DataFrame]:
        """Give the rows that have come since the last time, again and again.

        Args:
            run: Tells how the text is written: separator, decimal mark, encoding, the column of ids.
            poll: Seconds between two looks at a file that grows.
            wait: Waits so long.

        Raises:
            DataError: the text is no table.
            RunError: the file got shorter, or a line does not end.
        """
        while True:
            piece = self._piece()
            if piece is None:
                if not self._grows:
                    if self._rest.strip():  # a last line without an end
                        yield self._table(run, self._rest)
                    return
                wait(poll)
                continue
            whole, _, self._rest = (self._rest + piece).rpartition(b"\n")
            if len(self._rest) > _LONGEST_LINE:
                raise RunError(
                    f"a line of {self.name} is longer than {_LONGEST_LINE:,} bytes; check whether it is a table"
                )
            if whole and self._header is None:
                self._header, _, whole = whole.partition(b"\n")
            if whole.strip():
                yield self._table(run, whole)

    def _piece(self) -> bytes | None:
        """What has come, or ``None`` at the end."""
        read: Callable[[int], bytes] = getattr(self._source, "read1", self._source.read)
        if self._grows and self._source.seek(0, 2) < self._read:
            raise RunError(f"{self.name} got shorter while it was followed; follow it anew")
        if self._grows:
            self._source.seek(self._read)
        piece = read(_PIECE)
        self._read += len(piece)
        return piece or None

    def _table(self, run: Run, lines: bytes) -> pd.DataFrame:
        from qkan.datasets.read import CsvForm
        from qkan.datasets.read.file import read_table

        config = run.config
        with tempfile.TemporaryDirectory() as folder:  # so that rows are read as those of any file
            path = Path(folder) / "rows.csv"
            path.write_bytes((self._header or b"") + b"\n" + lines + b"\n")
            return read_table(path, config.id_col, CsvForm(config.sep, config.decimal, config.encoding))


def follow(
    stream: Stream, lines: Lines, level: tuple[float, ...] | None = None, *, poll: float = 0.2
) -> Generator[pd.DataFrame, None, None]:
    """Forecast what follows the rows of a file, as they come; the state is kept in the run's folder.

    Rows that the stream has already are passed over where the file is opened; later ones have to go on.

    Args:
        stream: What goes on; its state is saved at times, and when this ends for any reason.
        lines: The rows.
        level: As of :meth:`Stream.update`.
        poll: As of :meth:`Lines.tables`.

    Yields:
        For the rows that came at once the forecasts of their series: columns ``unique_id``, ``ds``, ``cutoff`` (the
        last time that is known) and those of :func:`qkan.forecasting.predict`.

    Raises:
        DataError, RunError: rows cannot be used; the state is that before them.
    """
    from qkan.datasets import notice

    path, saved, first = stream.run.path / STATE_FILE, time.monotonic(), True
    try:
        for table in lines.tables(stream.run, poll=poll):
            if first:
                newer = stream.newer(table)
                first = False
                if not newer.all():
                    known = len(table) - int(newer.sum())
                    notice(f"{known:,} rows of {lines.name} are known already and passed over")
                    table = table[newer].reset_index(drop=True)
                if not len(table):
                    continue
            found, series = stream.take(table, level=level)
            if len(found):
                ends = dict(zip(series.ids, series.times_at(series.starts[1:] - 1), strict=True))
                found.insert(2, "cutoff", found["unique_id"].map(ends))
                yield series.give_back(found)
            if time.monotonic() > saved + _SAVE_EVERY:
                stream.save(path)
                saved = time.monotonic()
    finally:
        stream.save(path)
