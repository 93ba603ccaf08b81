"""The state of a stream in one safetensors file, which is checked whole before anything of it is used."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from qkan.forecasting.io.files import RunError, check_version, read_bytes, write_atomic
from qkan.forecasting.streaming.tail import Tail

if TYPE_CHECKING:
    from qkan.datasets import Series
    from qkan.forecasting.runs.run import Run
    from qkan.forecasting.streaming.stream import Stream

FORMAT_VERSION = 1
_FACTS = ("name", "frequency", "season", "unit", "past", "future", "static", "categories", "missing", "mase_season")
_OF_FORM = ("named", "format", "read_as", "assumed_zone", "id_col", "time_col", "target_col")


def write_state(stream: Stream, path: Path) -> None:
    """Write the state of a stream atomically.

    Raises:
        RunError: the file cannot be written.
    """
    import safetensors.numpy

    arrays = {**stream.engine.rings.arrays(), "count": stream.count, "step_number": stream.number}
    facts: dict[str, Any] = {"state": stream.state, "run": _mark(stream.run), "tail": None}
    tail, places = stream.tail.series(), stream.tail.places
    if tail is not None:
        facts["tail"] = _facts_of(tail)
        arrays |= {"tail_places": places, "tail_lengths": tail.lengths, "tail_times": tail.times.astype("int64")}
        arrays["tail_values"] = tail.values
        arrays["tail_covariates"] = tail.covariates(tail.numeric)
    metadata = {"format_version": str(FORMAT_VERSION), "facts": json.dumps(facts)}
    content = safetensors.numpy.save({name: np.ascontiguousarray(own) for name, own in arrays.items()}, metadata)
    write_atomic(path, lambda file: file.write(content))


def read_state(kind: type[Stream], run: Run, path: Path) -> Stream:
    """Read what :func:`write_state` wrote of a stream of the same run.

    Raises:
        RunError: the file is missing, damaged, of a newer version, or of another run.
    """
    facts, arrays = _content(path)
    if facts.get("run") != _mark(run):
        raise RunError(f"{path} holds the state of a stream of another run than {run.path}; remove it to begin anew")
    state = facts.get("state")
    try:
        stream = kind(run, state=str(state))
    except ValueError as error:
        raise _damaged(path, f"its state is {state!r}") from error
    own = {**stream.engine.rings.arrays(), "count": stream.count, "step_number": stream.number}
    for name, wanted in own.items():
        wanted[...] = _array(path, arrays, name, wanted.dtype, wanted.shape)
    rings = stream.engine.rings
    if (stream.count < 0).any() or ((rings.place < 0) | (rings.place >= [rings.context, rings.window])).any():
        raise _damaged(path, "its places lie beyond its steps")
    if facts["tail"] is not None:
        _read_tail(path, stream, facts["tail"], arrays)
    elif (stream.count > 0).any():
        raise _damaged(path, "it has values without times")
    return stream


def _mark(run: Run) -> str:
    """What tells runs apart: a sum of the weights, the scaler and the options that shape them."""
    digest = hashlib.sha256(json.dumps(run.scaler.to_dict()).encode())
    for name, tensor in run.model.state_dict().items():
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def _content(path: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    import safetensors
    import safetensors.numpy

    content = read_bytes(path)
    try:
        arrays = safetensors.numpy.load(content)
        length = int.from_bytes(content[:8], "little")
        metadata = json.loads(content[8 : 8 + length].decode())["__metadata__"]
        version, facts = int(metadata["format_version"]), json.loads(metadata["facts"])
    except (safetensors.SafetensorError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise _damaged(path, "it is no state of a stream") from error
    check_version(path, version, FORMAT_VERSION)
    if not isinstance(facts, dict) or not isinstance(facts.get("tail", 0), dict | None):
        raise _damaged(path, "it says nothing of its series")
    return facts, arrays


def _array(path: Path, arrays: dict[str, np.ndarray], name: str, dtype: Any, shape: tuple[int, ...]) -> np.ndarray:
    found = arrays.get(name)
    if found is None or found.dtype != dtype or found.shape != shape:
        what = "missing" if found is None else f"{found.dtype} {found.shape}, not {np.dtype(dtype)} {shape}"
        raise _damaged(path, f"{name!r} is {what}")
    if found.dtype.kind == "f" and not np.isfinite(found).all():
        raise _damaged(path, f"{name!r} is not finite")
    return found


def _damaged(path: Path, why: str) -> RunError:
    return RunError(f"{path} cannot be read as the state of a stream ({why}); remove it to begin anew")


def _facts_of(tail: Series) -> dict[str, Any]:
    """What tells how the rows of a tail are read and written."""
    form, session = tail.form, tail.session
    clock = None if form.clock.zone is None else [str(form.clock.zone), form.clock.wall]
    return {
        **{name: getattr(tail, name) for name in _FACTS},
        "form": {name: getattr(form, name) for name in _OF_FORM},
        "clock": clock,
        "session": None if session is None else [session.first, session.last],
        "ids": list(tail.ids),
        "names": {name: list(tail.frame[name]) for name in tail.categories},
    }


def _read_tail(path: Path, stream: Stream, facts: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
    from qkan.datasets import DataError

    try:
        tail = _tail_of(path, facts, arrays)
    except (DataError, KeyError, TypeError, ValueError, AttributeError) as error:
        if isinstance(error, RunError):
            raise
        raise _damaged(path, "its last rows are not such") from error
    places = _array(path, arrays, "tail_places", np.int64, (len(tail.ids),))
    known = places.min(initial=0) >= 0 and places.max(initial=0) < len(stream.ids)
    if not known or len(set(places.tolist())) < len(places) or not (stream.count[places] > 0).all():
        raise _damaged(path, "its last rows are of no series of the run")
    stream.tail.restore(tail, places)


def _tail_of(path: Path, facts: dict[str, Any], arrays: dict[str, np.ndarray]) -> Series:
    import pandas as pd

    from qkan.datasets import Series, Session
    from qkan.datasets.table_form import Clock, TableForm

    ids = [str(name) for name in facts["ids"]]
    lengths = _array(path, arrays, "tail_lengths", np.int64, (len(ids),))
    if (lengths < 1).any() or (lengths > Tail.ROWS).any():
        raise _damaged(path, "its last rows are too few or too many")
    rows = int(lengths.sum())
    numeric = [*facts["past"], *facts["future"], *facts["static"]]
    times = _array(path, arrays, "tail_times", np.int64, (rows,))
    frame = pd.DataFrame({"unique_id": np.repeat(np.array(ids, dtype=object), lengths)})
    frame["ds"] = times if facts["frequency"] is None else times.astype("datetime64[ns]")
    frame["y"] = _array(path, arrays, "tail_values", np.float64, (rows,))
    covariates = _array(path, arrays, "tail_covariates", np.float64, (rows, len(numeric)))
    for place, name in enumerate(numeric):
        frame[str(name)] = covariates[:, place]
    for name in facts["categories"]:
        frame[str(name)] = [str(own) for own in facts["names"][name]]
    clock = Clock()
    if facts["clock"] is not None:
        zone = pd.DatetimeTZDtype(tz=str(facts["clock"][0])).tz
        clock = Clock(zone, bool(facts["clock"][1]))
    form = TableForm(clock=clock, **{name: facts["form"][name] for name in _OF_FORM})
    session = None if facts["session"] is None else Session(*map(str, facts["session"]))
    own: dict[str, Any] = {
        name: tuple(facts[name]) if isinstance(facts[name], list) else facts[name] for name in _FACTS
    }
    return Series(frame=frame, session=session, form=form, **own)
