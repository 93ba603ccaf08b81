"""From daily Milan files to one Parquet file of regular series, in one pass and in little memory.

Every day becomes a part file in a work folder beside the output; when all are there, they are joined by blocks of
squares. A killed import therefore goes on with the days that it lacks.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import errno
import hashlib
import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict
from itertools import pairwise
from pathlib import Path
from typing import IO, Any, NamedTuple, Protocol

import numpy as np

from qkan._util.files import only_process, remove_leftovers, write_atomic
from qkan.datasets.errors import DataError
from qkan.datasets.milan.grid import (
    DOI,
    FREQS,
    LICENCE,
    METADATA_KEY,
    SOURCE,
    SQUARES,
    STEP_MS,
    UTC_OFFSET,
    ZONE,
    MilanOptions,
    day_bounds,
    default_path,
)
from qkan.datasets.milan.lines import read_blocks
from qkan.datasets.milan.sources import Source, find_sources

FORMAT = 1
MOST_ROWS = 25_000_000
"""A day has about 5 million rows; a file with more than this is refused, so that memory stays bounded."""

ROW_GROUP = 1_000_000
"""About so many rows are written to Parquet at a time."""


class ImportProgress(Protocol):
    """Told how an import goes on."""

    def start(self, days: int, done: int) -> None:
        """So many days will be read, of which so many are there from an interrupted import."""

    def rows(self, count: int) -> None:
        """So many rows more of the present day were read."""

    def day(self, day: str, rows: int) -> None:
        """A day is complete."""


class ImportSummary(NamedTuple):
    """What an import wrote: the Parquet file and the metadata recorded in it, see docs/guides/milan.md."""

    path: Path
    facts: dict[str, Any]


def import_milan(
    paths: Sequence[str | Path],
    out: str | Path | None = None,
    options: MilanOptions | None = None,
    *,
    overwrite: bool = False,
    progress: ImportProgress | None = None,
) -> ImportSummary:
    """Read daily files and write one Parquet file ``unique_id`` (square), ``ds``, ``y``, sorted by both.

    Activity is summed over country codes. ``ds`` is Italian standard time (UTC+1), regular through clock changes; see
    `qkan.datasets.milan.grid.wall_clock`. Squares without a single row are left out.

    Args:
        paths: files, archives and folders; see `qkan.datasets.milan.sources.find_sources`.
        out: the ``.parquet`` file to write, in a folder that exists; by default the place where ``--data milan`` looks.
        options: signal, step, filling and squares.
        overwrite: whether an existing ``out`` may be replaced.
        progress: told about rows and days.

    Raises:
        DataError: an input is missing, malformed or damaged, days are missing between others (with ``fill="zero"``),
            ``out`` exists or cannot be written, or another process imports to it. Then ``out`` is as it was, and the
            days that were complete are kept for the next attempt.

    Examples:
        >>> import datetime as dt
        >>> from pathlib import Path
        >>> from qkan.datasets.milan import import_milan, write_sample
        >>> files = write_sample(Path("grid"), [dt.date(2013, 11, 4)], squares=[5160, 5161])
        >>> summary = import_milan(files, "milan-import.parquet", overwrite=True)
        >>> summary.path.name
        'milan-import.parquet'
    """
    options = options or MilanOptions()
    target = _target(out, options)
    with only_process(target.with_name(f".{target.name}.lock"), f"importing to {str(target)!r}", DataError):
        remove_leftovers(target.parent, target.name)
        _check_target(target, overwrite)
        sources = find_sources([Path(path) for path in paths])
        _check_gaps(sources, options)
        work = _work_folder(target)
        parts = [_Part(work, source, options) for source in sources]
        try:
            _make_parts(work, parts, options, progress)
            facts = _join(target, parts, options)
        except BaseException:
            with contextlib.suppress(OSError):
                work.rmdir()  # if it is empty
            raise
        shutil.rmtree(work, ignore_errors=True)
    return ImportSummary(target, facts)


def _target(out: str | Path | None, options: MilanOptions) -> Path:
    if out is None:
        target = default_path(options.signal, options.freq)
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise DataError(
                f"cannot make the folder {str(target.parent)!r}: {error.strerror}; name another in QKAN_DATA, or a "
                "file with --out"
            ) from error
        return target
    target = Path(out)
    if target.suffix.lower() != ".parquet":
        raise DataError(f"cannot write {str(target)!r}: the name must end in .parquet")
    if not target.parent.is_dir():
        raise DataError(f"the folder {str(target.parent)!r} of {target.name!r} does not exist; make it first")
    return target


def _check_target(target: Path, overwrite: bool) -> None:
    if target.is_dir():
        raise DataError(f"cannot write {str(target)!r}: it is a folder; choose another name")
    if target.exists() and not overwrite:
        raise DataError(f"{str(target)!r} exists already; replace it with overwrite=True, or choose another file")


def _work_folder(target: Path) -> Path:
    """Where the finished days of an import are kept; nobody else's folder under that name is used."""
    work = target.with_name(f".{target.name}.import")
    try:
        work.mkdir(exist_ok=True)
        if work.is_symlink():
            raise OSError(errno.ENOTDIR, "it is a link")
    except OSError as error:
        raise DataError(f"cannot use the work folder {str(work)!r}: {error.strerror}; remove it") from error
    return work


def _check_gaps(sources: list[Source], options: MilanOptions) -> None:
    if options.fill == "missing":
        return
    for before, after in pairwise(sources):
        if after.day - before.day > dt.timedelta(days=1):
            raise DataError(
                f"no file holds {before.day + dt.timedelta(days=1)}, the day after {before.shown}, though "
                f"{after.shown} is later; zeros would be invented for it: add that day, or use --fill missing"
            )


class _Part:
    """The sums of one day: a float64 array (squares, steps), NaN where no row is, and a few facts, on disk."""

    def __init__(self, work: Path, source: Source, options: MilanOptions) -> None:
        self.source = source
        self.first_ms, last = day_bounds(source.day)
        self.intervals = (last - self.first_ms) // STEP_MS
        key = json.dumps([FORMAT, source.identity(), asdict(options)])
        self.array = work / f"{source.day}.{hashlib.sha256(key.encode()).hexdigest()[:20]}.npy"  # with it, all is there
        self.facts = self.array.with_suffix(".json")

    def load(self) -> np.ndarray:
        return np.load(self.array, mmap_mode="r", allow_pickle=False)

    def save(self, values: np.ndarray, facts: dict[str, int]) -> None:
        kept = f"the days done so far are kept in {str(self.array.parent)!r}"
        _write(self.facts, lambda out: out.write(json.dumps(facts).encode()), kept)
        _write(self.array, lambda out: np.lib.format.write_array(out, values, allow_pickle=False), kept)


def _write(path: Path, write: Callable[[IO[bytes]], object], kept: str) -> None:
    """Write a file in one step; ``kept`` says what is not lost if that fails."""
    try:
        write_atomic(path, write)
    except OSError as error:
        raise DataError(
            f"cannot write {str(path)!r}: {error.strerror or error}; {kept}: make room or allow writing there, then "
            "repeat the command"
        ) from error


def _make_parts(work: Path, parts: list[_Part], options: MilanOptions, progress: ImportProgress | None) -> None:
    wanted = {path for part in parts for path in (part.array, part.facts)}
    try:
        for path in set(work.iterdir()) - wanted:  # of other files, other options, or half written
            path.unlink()
    except OSError as error:
        raise DataError(f"cannot use the work folder {str(work)!r}: {error.strerror}; remove it") from error
    left = [part for part in parts if not part.array.exists()]
    if progress is not None:
        progress.start(len(parts), len(parts) - len(left))
    for part in left:
        rows = _make_part(part, options, progress)
        if progress is not None:
            progress.day(str(part.source.day), rows)


def _make_part(part: _Part, options: MilanOptions, progress: ImportProgress | None) -> int:
    """Read one file and write its part; the number of its rows."""
    place = np.full(SQUARES + 1, -1, dtype=np.int64)
    place[list(options.kept)] = np.arange(len(options.kept))
    sums = np.zeros((len(options.kept), part.intervals))
    present = np.zeros(sums.shape, dtype=bool)
    per_interval = np.zeros(part.intervals, dtype=np.int64)
    keys, rows = [np.zeros(0, dtype=np.int64)], 0
    with part.source.open() as file:
        for block in read_blocks(file, part.source.day, options.signal, part.source.shown):
            rows += len(block.squares)
            if rows > MOST_ROWS:
                raise DataError(
                    f"{part.source.shown} has more than {MOST_ROWS:,} rows, while a day of the Milan grid has about 5 "
                    "million; give the official daily files"
                )
            keys.append((block.squares * part.intervals + block.intervals) << 20 | block.codes)
            per_interval += np.bincount(block.intervals, minlength=part.intervals)
            kept = place[block.squares] >= 0
            where = place[block.squares[kept]] * part.intervals + block.intervals[kept]
            # One row after the other, so the sums do not depend on where a block ends.
            np.add.at(sums.reshape(-1), where, block.activity[kept])
            present.reshape(-1)[where] = True
            if progress is not None:
                progress.rows(len(block.squares))
    _check_unique(part, np.concatenate(keys))
    steps = (len(sums), -1, FREQS[options.freq])
    values = np.where(present.reshape(steps).any(axis=2), sums.reshape(steps).sum(axis=2), np.nan)
    part.save(values, {"rows": rows, "intervals_without_rows": int((per_interval == 0).sum())})
    return rows


def _check_unique(part: _Part, keys: np.ndarray) -> None:
    """Refuse rows that come twice: ``keys`` has square, interval and country code of every row as one number."""
    if not (keys[1:] > keys[:-1]).all():
        keys.sort()
    twice = keys[1:][keys[1:] == keys[:-1]]
    if twice.size:
        cell, code = divmod(int(twice[0]), 1 << 20)
        square, interval = divmod(cell, part.intervals)
        raise DataError(
            f"{part.source.shown} has square {square} at time_ms {part.first_ms + interval * STEP_MS} with country "
            f"code {code} more than once ({twice.size:,} such rows); a daily file has each once, so get it again"
        )


def _join(target: Path, parts: list[_Part], options: MilanOptions) -> dict[str, Any]:
    """Write the Parquet file from the parts of all days; its metadata."""
    every, kept = FREQS[options.freq], options.kept
    ends = [(part.first_ms - parts[0].first_ms) // STEP_MS + part.intervals for part in parts]
    steps = ends[-1] // every
    seen = np.zeros(len(kept), dtype=bool)
    counted = 0
    for part in parts:
        present = ~np.isnan(part.load())
        seen |= present.any(axis=1)
        counted += int(present.sum())
    if not seen.any():
        shutil.rmtree(parts[0].array.parent, ignore_errors=True)  # no other attempt has a use for these parts
        raise DataError(
            f"no row is of the squares asked for ({len(kept)}, from {kept[0]} to {kept[-1]}); "
            "choose others with --squares"
        )
    rows = sorted(np.flatnonzero(seen).tolist(), key=lambda row: str(kept[row]))  # the order in a Series
    silent = [kept[row] for row in np.flatnonzero(~seen)]
    told = [json.loads(part.facts.read_bytes()) for part in parts]
    days = [part.source.day for part in parts]
    facts = {
        "format": FORMAT,
        "source": SOURCE,
        "doi": DOI,
        "licence": LICENCE,
        "signal": options.signal,
        "freq": options.freq,
        "fill": options.fill,
        "zone": str(ZONE),
        "utc_offset": "+01:00",
        "days": f"{days[0]} to {days[-1]}",
        "days_missing": (days[-1] - days[0]).days + 1 - len(days),
        "squares": len(rows),
        "squares_without_rows": silent if options.squares is not None else len(silent),
        "steps": steps,
        "rows_read": sum(facts["rows"] for facts in told),
        "steps_filled": len(rows) * steps - counted,
        "intervals_without_rows": sum(facts["intervals_without_rows"] for facts in told),
    }

    def block(chosen: list[int]) -> np.ndarray:
        """All steps of some squares."""
        values = np.full((len(chosen), steps), np.nan)
        for end, part in zip(ends, parts, strict=True):
            day = part.load()  # anew for every block: pages of a map that stays open count as memory in use
            values[:, end // every - day.shape[1] : end // every] = day[chosen]
        return np.nan_to_num(values, copy=False) if options.fill == "zero" else values

    names = {str(kept[row]): row for row in rows}
    kept_days = "the days that were read are kept for the next attempt"
    _write(target, lambda file: _write_table(file, names, parts[0].first_ms, block, facts), kept_days)
    return facts


def _write_table(
    file: IO[bytes],
    names: dict[str, int],
    first_ms: int,
    block: Callable[[list[int]], np.ndarray],
    facts: dict[str, Any],
) -> None:
    """Write blocks of squares, each with all its steps, as row groups: a reader of one square skips the others."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = pa.schema([("unique_id", pa.string()), ("ds", pa.timestamp("ns")), ("y", pa.float64())])
    schema = schema.with_metadata({METADATA_KEY: json.dumps(facts).encode()})
    steps = facts["steps"]
    start = np.datetime64(first_ms, "ms") + np.timedelta64(UTC_OFFSET)
    ds = (start + np.timedelta64(STEP_MS * FREQS[facts["freq"]], "ms") * np.arange(steps)).astype("datetime64[ns]")
    size = max(1, ROW_GROUP // steps)
    with pq.ParquetWriter(file, schema, use_dictionary=["unique_id", "ds"]) as writer:
        for begin in range(0, len(names), size):
            ids = list(names)[begin : begin + size]
            y = pa.array(block([names[name] for name in ids]).reshape(-1), from_pandas=True)  # NaN becomes null
            columns = [np.repeat(np.array(ids, dtype=object), steps), np.tile(ds, len(ids)), y]
            writer.write_table(pa.Table.from_arrays([pa.array(column) for column in columns], schema=schema))
