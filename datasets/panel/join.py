"""The parts of a panel joined to its files."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.feather as feather

from qkan._util.files import sync_folder
from qkan.datasets.panel.store import DTYPES, FORMAT, MANIFEST, SERIES, VERSION, column_file, digest_of

_OF_SERIES = ("first", "length", "count", "mean", "deviation", "min", "max", "missing")


def join_parts(parts: Sequence[Path], folder: Path, order: np.ndarray, source: str, missing: str) -> dict[str, Any]:
    """Write a panel into a fresh folder.

    Args:
        parts: their ``.npz`` files, in order.
        folder: replaced.
        order: positions of the series in the order of the user's table.
        source: name of the user's file.
        missing: how missing values were filled.

    Returns:
        What the manifest says.
    """
    if folder.exists():
        shutil.rmtree(folder)
    folder.mkdir()
    tables = [_table_of(path) for path in parts]
    table = pd.concat(tables, ignore_index=True)
    settled = json.loads(str(_arrays(parts[0])["facts"]))
    ends = np.cumsum([int(own["length"].sum()) for own in tables])
    counts = np.cumsum([len(own) for own in tables])
    points = int(ends[-1])
    names = [name for name in DTYPES if any(name in _arrays(path).files for path in parts)]
    step = settled["step"] if settled["frequency"] is None else _fixed(settled["frequency"])
    whole = hashlib.sha256(_header(table, settled["frequency"]))
    for times in _times(table, parts, step, "times" in names):
        whole.update(np.ascontiguousarray(times, "<i8").tobytes())
    sums: list[dict[str, str]] = [{} for _ in parts]
    for name in names:
        with (folder / column_file(name)).open("wb") as file:
            header = {"descr": DTYPES[name], "fortran_order": False, "shape": (points,)}
            np.lib.format.write_array_header_1_0(file, header)
            packed: list[np.ndarray] = []
            for place, path in enumerate(parts):
                arrays = _arrays(path)
                own = arrays[name] if name in arrays.files else np.ones(int(tables[place]["length"].sum()), dtype=bool)
                content = np.ascontiguousarray(own, DTYPES[name]).tobytes()
                sums[place][name] = hashlib.sha256(content).hexdigest()
                file.write(content)
                if name == "values":
                    whole.update(content)
                if name == "observed":
                    packed.append(own)
            if packed:
                whole.update(np.packbits(np.concatenate(packed)).tobytes())
            file.flush()
            os.fsync(file.fileno())
    if settled["form"]["named"]:
        table["order"] = order
    table.to_parquet(folder / SERIES, index=False)
    facts = {
        "format": FORMAT,
        "version": VERSION,
        "source": source,
        "series": len(table),
        "points": points,
        "frequency": settled["frequency"],
        "step": step,
        "missing": missing,
        "form": settled["form"],
        "fingerprint": whole.hexdigest(),
        "files": {},
        "parts": [
            {"series": [int(one), int(two)], "rows": [int(begin), int(end)], "sha256": own}
            for one, two, begin, end, own in zip(
                np.append(0, counts[:-1]), counts, np.append(0, ends[:-1]), ends, sums, strict=True
            )
        ],
    }
    for path in sorted(folder.iterdir()):
        stat = path.stat()
        facts["files"][path.name] = {"bytes": stat.st_size, "modified": stat.st_mtime_ns}
    content = (folder / SERIES).read_bytes()
    facts["files"][SERIES]["sha256"] = hashlib.sha256(content).hexdigest()
    (folder / MANIFEST).write_text(json.dumps({**facts, "sha256": digest_of(facts)}, indent=2) + "\n")
    sync_folder(folder)
    return facts


def _arrays(path: Path) -> Any:
    return np.load(path, allow_pickle=False)


def _table_of(path: Path) -> pd.DataFrame:
    """One row a series of a part."""
    arrays, ids = _arrays(path), path.with_suffix(".ids")
    table = pd.DataFrame({name: arrays[name] for name in _OF_SERIES})
    if not ids.exists():
        return table.assign(unique_id=arrays["ids"].astype(object))
    known = feather.read_feather(str(ids))
    table["unique_id"] = known["unique_id"].astype(object)
    same = known["id"].dtype == object and (known["id"] == known["unique_id"]).all()
    return table if same else table.assign(id=known["id"])


def _fixed(alias: str) -> int | None:
    from qkan.datasets.steps import fixed_step

    return fixed_step(alias)


def _header(table: pd.DataFrame, frequency: str | None) -> bytes:
    """What `Series.fingerprint` begins with."""
    times = "int64" if frequency is None else "datetime64[ns]"
    facts = {"ids": tuple(table["unique_id"]), "lengths": table["length"].tolist(), "times": times}
    return json.dumps(facts).encode()


def _times(table: pd.DataFrame, parts: Sequence[Path], step: int | None, stored: bool) -> Iterator[np.ndarray]:
    """The times of all series, one after the other."""
    if stored:
        for path in parts:
            yield _arrays(path)["times"]
        return
    for first, length in zip(table["first"], table["length"], strict=True):
        yield first + (step or 1) * np.arange(length, dtype=np.int64)
