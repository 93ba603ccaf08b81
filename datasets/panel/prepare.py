"""From a table of any size to a panel: checked once, in little memory, and resumed where it was stopped.

The ids are read first, so it is known which rows make a part. Rows of a part are kept until all of it are there, in
memory or, of a table that is not sorted by series, in files of the work folder beside the panel; then they are checked
as `qkan.datasets.read.table` checks a whole file, and written. When all parts are there they are joined and the folder
gets its name. A killed preparation goes on with the parts that it lacks.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.feather as feather

from qkan._util.files import only_process, remove_leftovers, write_atomic
from qkan.datasets.errors import DataError, shortened
from qkan.datasets.panel.join import join_parts
from qkan.datasets.panel.plan import PART_ROWS, Plan, make_plan
from qkan.datasets.panel.series import form_to_dict
from qkan.datasets.panel.store import FORMAT, MANIFEST, VERSION, lock_of, work_of
from qkan.datasets.panel.stream import Block, TableStream, distinct, plain
from qkan.datasets.read.cells import ids_of, numbered_as
from qkan.datasets.read.columns import Columns, find_columns
from qkan.datasets.read.csv_form import CsvForm
from qkan.datasets.read.file import series_name
from qkan.datasets.read.frames import with_columns_only
from qkan.datasets.read.limits import frame_of
from qkan.datasets.read.table import Settled, table_series
from qkan.datasets.series import Series
from qkan.datasets.steps import fixed_step

KEPT_ROWS = 4_000_000
"""Rows that wait in memory for the others of their part; more wait on disk."""

_ROW = "__row__"


class PrepareProgress(Protocol):
    """Told how a preparation goes on."""

    def start(self, parts: int, done: int) -> None:
        """So many parts will be written, of which so many are there from an interrupted preparation."""

    def part(self) -> None:
        """A part is written."""


class PanelSummary(NamedTuple):
    """What was prepared: the folder, and facts of its manifest."""

    path: Path
    facts: dict[str, Any]


def prepare_panel(
    path: str | Path,
    out: str | Path,
    *,
    missing: str = "refuse",
    frequency: int | str | None = None,
    sep: str | None = None,
    decimal: str | None = None,
    encoding: str | None = None,
    overwrite: bool = False,
    part_rows: int = PART_ROWS,
    progress: PrepareProgress | None = None,
    **columns: Any,
) -> PanelSummary:
    """Check a table and write its series as a panel, a folder that is read like a file, by memory map.

    Args:
        path: a ``.csv``, ``.csv.gz``, ``.parquet`` or ``.xlsx`` file of any size and order.
        out: the folder to write, in a folder that exists.
        missing: as of `qkan.datasets.read.table.series_from_frame`.
        frequency: the step that the times must have; None finds it in the first part.
        sep, decimal, encoding: as of `qkan.datasets.read.file.read_series`.
        overwrite: whether a panel in ``out`` may be replaced.
        part_rows: rows of a part, about.
        progress: told about parts.
        columns: ``time_col``, ``target_col``, ``id_col``, ``time_format``, ``time_zone``.

    Raises:
        DataError: the file or what is in it cannot be used, as a file that is read; the folder exists or cannot be
            written, or another process prepares it. The parts that were complete are kept for the next attempt.

    Examples:
        >>> from qkan.datasets import prepare_panel, resolve_series
        >>> summary = prepare_panel("traffic.csv", "traffic-panel", overwrite=True)
        >>> resolve_series("traffic-panel").lengths
        array([400])
    """
    target, source = Path(out), Path(path)
    if not target.resolve().parent.is_dir():
        raise DataError(f"the folder {shortened(target.parent)} of {target.name!r} does not exist; make it first")
    target = target.resolve().parent / target.resolve().name
    chosen = Columns.named(**columns)
    stream = TableStream(source, chosen.id, CsvForm(sep, decimal, encoding))
    with only_process(lock_of(target), f"preparing {str(target)!r}", DataError):
        _check_target(target, overwrite)
        given = {"missing": missing, "frequency": frequency, "form": [sep, decimal, encoding], "part_rows": part_rows}
        work = _work_folder(target, source, {**given, "columns": vars(chosen)})
        try:
            run = _Preparation(stream, chosen, work, missing, frequency, part_rows)
            run.make_parts(progress)
            facts = run.join(target)
        except OSError as error:
            raise DataError(
                f"cannot write {str(work)!r}: {error.strerror or error}; the parts done so far are kept there: make "
                "room or allow writing, then repeat the command"
            ) from error
        shutil.rmtree(work, ignore_errors=True)
    return PanelSummary(target, facts)


def _check_target(target: Path, overwrite: bool) -> None:
    if not os.path.lexists(target):
        return
    ours = target.is_dir() and not target.is_symlink() and (target / MANIFEST).exists()
    if not ours and not (target.is_dir() and not any(target.iterdir())):
        raise DataError(f"{str(target)!r} exists and is no panel; choose another folder")
    if ours and not overwrite:
        raise DataError(
            f"there is a panel in {str(target)!r} already; choose another folder, or replace it with overwrite=True"
        )


def _work_folder(target: Path, source: Path, given: dict[str, Any]) -> Path:
    """Where the finished parts are kept; those of another file or of other options are removed."""
    work, facts = work_of(target), source.stat()
    plan = {"source": str(source.resolve()), "bytes": facts.st_size, "modified": facts.st_mtime_ns, **given}
    key = hashlib.sha256(json.dumps([FORMAT, VERSION, plan], default=str).encode()).hexdigest()
    try:
        if work.is_symlink() or (work.exists() and not work.is_dir()):
            raise OSError(errno.ENOTDIR, "it is no folder")
        with contextlib.suppress(OSError, ValueError):
            if json.loads((work / "plan.json").read_bytes()) == key:
                remove_leftovers(work)
                return work
        if work.exists():
            shutil.rmtree(work)
        work.mkdir()
        write_atomic(work / "plan.json", lambda file: file.write(json.dumps(key).encode()))
    except OSError as error:
        raise DataError(f"cannot use the work folder {str(work)!r}: {error.strerror}; remove it") from error
    return work


class _Preparation:
    """One run over a table.

    Args:
        stream: the table.
        columns: as given.
        work: folder of the parts.
        missing, frequency, part_rows: as of `prepare_panel`.
    """

    def __init__(
        self, stream: TableStream, columns: Columns, work: Path, missing: str, frequency: Any, part_rows: int
    ) -> None:
        self.stream, self.work, self.missing, self.frequency = stream, work, missing, frequency
        self.name = series_name(stream.path)
        first = next(stream.blocks(), None)
        head = pd.DataFrame() if first is None else with_columns_only(_frame(first.table), stream.path.name)
        self.columns = find_columns(head, stream.path.name, columns) if len(head.columns) else columns
        names = [self.columns.id, self.columns.time, self.columns.target]
        wanted = [str(own) for own in names if own is not None]
        there = set() if first is None else set(first.table.column_names)
        self.read = wanted if set(wanted) <= there else None
        self.plan: Plan = make_plan(stream, self.columns, self.name, part_rows)
        self.settled: Settled | None = None
        self.waiting: dict[int, list[pa.Table]] = {}
        self.spilled = 0
        self.counts = np.zeros(len(self.plan.rows), dtype=np.int64)

    def path(self, part: int, ending: str = "npz") -> Path:
        """A file of a part."""
        return self.work / f"part-{part:06d}.{ending}"

    def make_parts(self, progress: PrepareProgress | None) -> None:
        """Write the parts that are not there."""
        done = {part for part in range(len(self.plan.rows)) if self.path(part).exists()}
        for spilled in self.work.glob("rows-*"):
            spilled.unlink()
        if progress is not None:
            progress.start(len(self.plan.rows), len(done))
        if done:
            self._settle_again(min(done))
        skip = {group for group, parts in self.plan.groups.items() if parts <= done | {-1}}
        for block in self.stream.blocks(self.read, skip):
            for part, rows in self._split(block):
                if part < 0 or part in done:
                    continue
                self.waiting.setdefault(part, []).append(rows)
                self.counts[part] += len(rows)
                if self.counts[part] == self.plan.rows[part]:
                    self._write_part(part)
                    if progress is not None:
                        progress.part()
            if sum(map(len, (own for pieces in self.waiting.values() for own in pieces))) > KEPT_ROWS:
                self._spill()

    def _split(self, block: Block) -> Iterator[tuple[int, pa.Table]]:
        """The rows of a block by part, with their numbers."""
        table = block.table.append_column(_ROW, pa.array(np.arange(block.first, block.first + len(block.table))))
        if self.columns.id is None:
            yield 0, table
            return
        cells, numbers = distinct(table.column(self.columns.id))
        texts = ids_of(cells.to_frame(self.columns.id), self.columns.id, "")
        parts = np.array([self.plan.part_of[own] for own in texts], dtype=np.int64)[numbers]
        edges = np.flatnonzero(np.diff(parts)) + 1
        if len(edges) < len(np.unique(parts)):  # sorted by part
            for begin, end in zip([0, *edges], [*edges, len(parts)], strict=True):
                yield int(parts[begin]), table.slice(begin, end - begin)
            return
        for part in np.unique(parts):
            yield int(part), table.take(np.flatnonzero(parts == part))

    def _spill(self) -> None:
        """Put the rows that wait on disk."""
        for part, waiting in self.waiting.items():
            pieces = [plain(own) for own in waiting]
            if all(own.schema.equals(pieces[0].schema) for own in pieces):  # types of CSV files are found by block
                pieces = [pa.concat_tables(pieces)]
            for piece in pieces:
                path = self.work / f"rows-{part:06d}-{self.spilled:09d}"
                feather.write_feather(piece, str(path), "uncompressed")
                self.spilled += 1
        self.waiting.clear()

    def _write_part(self, part: int) -> None:
        """Check the rows of a part and write them."""
        spilled = sorted(self.work.glob(f"rows-{part:06d}-*"))
        pieces = [feather.read_table(str(own), memory_map=False) for own in spilled]
        frame = pd.concat([_frame(own) for own in (*pieces, *self.waiting.pop(part, []))], ignore_index=True)
        numbers = frame.pop(_ROW).to_numpy()
        series = self._checked(frame, numbers)
        arrays = _arrays(series)
        facts = {"frequency": series.frequency, "step": series.step, "form": form_to_dict(series.form)}
        arrays["facts"] = np.array(json.dumps(facts))
        if series.form.ids is None:
            arrays["ids"] = np.array(series.ids)
        else:
            ids = pd.DataFrame({"unique_id": list(series.ids), "id": series.form.ids.to_numpy()})
            feather.write_feather(ids, str(self.path(part, "ids")), "uncompressed")
        write_atomic(self.path(part), lambda file: np.savez(file, allow_pickle=False, **arrays))
        for own in spilled:
            own.unlink()

    def _checked(self, frame: pd.DataFrame, numbers: np.ndarray) -> Series:
        """The series of a part, after all checks of a file that is read."""
        with numbered_as(numbers):
            series = table_series(
                frame,
                self.columns,
                name=self.name,
                label=self.stream.path.name,
                source=str(self.stream.path),
                missing=self.missing,
                steps=(self.frequency, None),
                settled=self.settled,
            )
        if self.settled is None:
            usual = series.step if series.frequency is None else fixed_step(series.frequency)
            self.settled = Settled(series.frequency, usual, series.form.clock)
        step = series.step if series.frequency is None else series.frequency
        known = self.settled.usual if self.settled.expected is None else self.settled.expected
        if step != known:
            raise DataError(
                f"the times are irregular: series {series.ids[0]!r} has steps of {step}, while the usual step is "
                f"{known}; resample the data, or choose the order of the rows as the time with time_col='rows'"
            )
        return series

    def _settle_again(self, part: int) -> None:
        """Take the step and the clock from a part that is there."""
        from qkan.datasets.panel.series import form_of

        with np.load(self.path(part), allow_pickle=False) as arrays:
            facts = json.loads(str(arrays["facts"]))
        usual = facts["step"] if facts["frequency"] is None else fixed_step(facts["frequency"])
        clock = form_of({**facts["form"], "named": False}, pd.DataFrame({"unique_id": []})).clock
        self.settled = Settled(facts["frequency"], usual, clock)

    def join(self, target: Path) -> dict[str, Any]:
        """Make the panel of all parts and give it its name; its manifest."""
        paths = [self.path(part) for part in range(len(self.plan.rows))]
        facts = join_parts(paths, self.work / "panel", self.plan.order, self.stream.path.name, self.missing)
        old = self.work / "old"
        if target.exists():
            os.replace(target, old)
        try:
            os.replace(self.work / "panel", target)
        except OSError:
            if old.exists():
                os.replace(old, target)
            raise
        return facts


def _frame(table: pa.Table) -> pd.DataFrame:
    frame = frame_of(plain(table))
    return frame if isinstance(frame.index, pd.RangeIndex) else frame.reset_index()


def _arrays(series: Series) -> dict[str, np.ndarray]:
    """Columns and statistics of the series of a part."""
    observed = np.ones(series.points, dtype=bool) if series.observed is None else series.observed
    own = [(series.values_of(place)[observed[begin:end]], int(end - begin)) for place, (begin, end) in enumerate(
        zip(series.starts[:-1], series.starts[1:], strict=True)
    )]  # fmt: skip
    arrays = {
        "values": series.values,
        "first": series.times[series.starts[:-1]].astype(np.int64),
        "length": series.lengths,
        "count": np.array([len(values) for values, _ in own]),
        "mean": np.array([values.mean() for values, _ in own]),
        "deviation": np.array([values.std() for values, _ in own]),
        "min": np.array([values.min() for values, _ in own]),
        "max": np.array([values.max() for values, _ in own]),
    }
    arrays["missing"] = arrays["length"] - arrays["count"]
    if series.observed is not None:
        arrays["observed"] = series.observed
    if series.frequency is not None and fixed_step(series.frequency) is None:
        arrays["times"] = series.times.astype(np.int64)
    return arrays
