"""A stream forecasts what predict does of the same values, value by value, and refuses what does not go on."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars
import pytest
import safetensors.numpy
import torch

from qkan.datasets import DataError, DataNotice, LastSteps
from qkan.forecasting import Forecaster, RunError, Stream
from qkan.forecasting.data.load import as_cut, cut_windows
from qkan.forecasting.model.build import build_forecaster
from qkan.forecasting.runs.run import Run
from qkan.forecasting.streaming.lean import LeanEngine

TABLE = {"window": 6, "horizon": 3, "season": 4}


def table(series: int = 1, rows: int = 60, *, begin: str = "2024-01-01", freq: str = "h") -> pd.DataFrame:
    parts = []
    for place in range(series):
        rng = np.random.default_rng(place)  # more rows begin with the same values
        ds = pd.date_range(begin, periods=rows, freq=freq)
        y = 10 + place + np.sin(np.arange(rows) * np.pi / 2) + rng.normal(scale=0.3, size=rows)
        parts.append(pd.DataFrame({"unique_id": f"s{place}", "ds": ds, "y": y}))
    return pd.concat(parts, ignore_index=True)


def fitted(cell: str = "qkan", frame: pd.DataFrame | None = None, **options: Any) -> Forecaster:
    """A forecaster whose parameters are drawn at random, as of a training that nobody waited for."""
    own = Forecaster(cell, **{**TABLE, "level": "season", "epochs": 1, **options})
    series = own._read(table(2) if frame is None else frame)
    split = LastSteps(0)
    data = cut_windows(series, own._sized(series, 0), split=split)
    config = as_cut(own._sized(series, 0), data)
    generator = torch.Generator().manual_seed(1)
    model = build_forecaster(config, generator).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator))
    own.config, own._series, own._history = config, data.series, [{"epoch": 1.0, "train_loss": 1.0}]
    own._run = Run(Path("(in memory)"), config, model, data.scaler, data.series.describe(), {})
    return own


@pytest.fixture(scope="module")
def forecaster() -> Forecaster:
    return fitted()


def _same(found: pd.DataFrame, wanted: pd.DataFrame) -> None:
    assert list(found.columns) == list(wanted.columns)
    assert found[["unique_id", "ds"]].equals(wanted[["unique_id", "ds"]])
    numbers = list(wanted.columns[2:])
    np.testing.assert_allclose(found[numbers], wanted[numbers], rtol=1e-6, atol=2e-6)


def _new(forecaster: Forecaster, hours: int = 1) -> pd.DataFrame:
    whole = table(2, 60 + hours)
    return whole[whole["ds"] >= whole["ds"].min() + pd.Timedelta(hours=60)]


CELLS: dict[str, dict[str, Any]] = {
    "qkan": {}, "hqkan": {}, "lowrank": {}, "lstm": {}, "gru": {"level": "last"}, "qlstm": {}, "gr-kan": {},
    "fwp": {}, "fwp-linear": {"level": "last"},
    "fourier": {}, "rff": {}, "spline": {}, "chebyshev": {}, "mlp": {}, "linear": {"level": "last"},
    "cycle": {"level": "auto"}, "sparse": {"level": "auto", "window": 8},
}  # fmt: skip


@pytest.mark.parametrize("cell", CELLS)
def test_every_cell_forecasts_the_whole_window_at_every_value(cell):
    own = fitted(cell, **CELLS[cell])
    whole = table(2, 62)
    stream = own.stream(whole.groupby("unique_id").head(60))
    for hour in (60, 61):
        found = stream.update(whole.groupby("unique_id").nth([hour]))
        _same(found, own.predict(whole.groupby("unique_id").head(hour + 1)))


OPTIONS: dict[str, dict[str, Any]] = {
    "last": {"level": "last"},
    "window": {"level": "window", "loss": "quantile", "levels": (80,)},
    "lags": {"seasonal_lags": True, "decoder": "last"},
    "segments": {"order": "segments", "segment": 3, "level": "last"},
    "periods": {"order": "periods", "window": 8, "level": "window"},
    "per series": {"per_series": True, "level": "last"},
    "layers": {"num_layers": 2, "level": "last"},
    "trained frequencies": {"preact_trainable": True},
    "fed back": {"strategy": "recursive", "level": "last"},
    "no season": {"season": "none", "level": "none"},
    "a map of the inputs": {"cell": "gru", "season": "none", "level": "none", "missing": "mask"},
    "a map of lags": {"cell": "hqkan", "season": (4, 6), "level": "mean", "seasonal_lags": True, "loss": "quantile"},
}


@pytest.mark.parametrize("options", OPTIONS.values(), ids=list(OPTIONS))
def test_every_way_to_read_a_window_goes_on_as_predict(options):
    own = fitted(**options)
    whole = table(2, 61)
    stream = own.stream()
    found = stream.update(whole.groupby("unique_id").tail(1))
    _same(found, own.predict(whole))


CARRIED: dict[str, dict[str, Any]] = {
    "qkan": {}, "hqkan": {"decoder": "last", "seasonal_lags": True}, "lowrank": {"level": "none"},
    "lstm": {"num_layers": 2}, "gru": {"num_layers": 2, "level": "none"}, "gr-kan": {}, "mlp": {}, "rff": {},
    "chebyshev": {}, "fourier": {"seasonal_lags": True}, "spline": {"level": "none", "decoder": "last"},
}  # fmt: skip


@pytest.mark.parametrize(("cell", "options"), CARRIED.items(), ids=list(CARRIED))
def test_a_carried_state_is_that_of_a_window_of_the_whole_past(cell, options):
    own = fitted(cell, **options)
    context, stream = own.run.config.context, Stream(own.run, state="carried")
    whole = table(2, context + 4)
    for hour in range(3, context + 1):  # three values show a step
        rows = whole.groupby("unique_id").head(3) if hour == 3 else whole.groupby("unique_id").nth([hour - 1])
        few = pytest.warns(DataNotice, match="no forecast yet") if hour < context else contextlib.nullcontext()
        with few:
            found = stream.update(rows)
    _same(found, own.predict(whole.groupby("unique_id").head(context)))
    for hour in range(context, context + 4):
        found = stream.update(whole.groupby("unique_id").nth([hour]))
    _same(found, _with_window(own, own.run.config.window + 4).predict(whole))
    shorter = own.predict(whole)  # of the window alone, which is not the whole past any more
    assert np.abs(found.iloc[:, 2] - shorter.iloc[:, 2]).max() > 1e-5


def _with_window(own: Forecaster, window: int) -> Forecaster:
    """The same forecaster with a longer window, of which its linear skip reads the newest values alone."""
    options = {name: getattr(own.run.config, name) for name in ("level", "decoder", "seasonal_lags", "num_layers")}
    longer = fitted(own.run.config.cell, window=window, **options)
    mine = longer.run.model.state_dict()
    for name, value in own.run.model.state_dict().items():
        padded = torch.zeros_like(mine[name])
        (padded[:, -value.shape[1] :] if padded.shape != value.shape else padded).copy_(value)
        mine[name].copy_(padded)
    return longer


@pytest.mark.parametrize("cell", ["qkan", "qlstm"])
def test_a_series_that_begins_has_no_forecast_before_its_window_is_full(cell):
    own = fitted(cell, level="last")
    stream = Stream(own.run)
    with pytest.warns(DataNotice, match="'s0' has 3 of the 6 values"):
        assert len(stream.update(table(1, 3))) == 0


def test_many_series_at_once_are_as_one_by_one(forecaster):
    whole, alone = forecaster.stream(), forecaster.stream()
    values = np.array([10.3, 11.7])
    found = whole.push(values)
    rows = [alone.push(value, place)[0] for place, value in enumerate(values)]
    assert found.shape == (2, 3)
    np.testing.assert_array_equal(found, rows)


@pytest.mark.parametrize("horizon", [1, 3])
def test_series_at_different_times_are_as_one_by_one(horizon):
    own = fitted(horizon=horizon)
    assert own.run.model.gate is not None
    own.run.model.gate.fill_(0.0)  # the last value, with the season of its own step
    whole, rows = own.stream(), []
    for place, value in enumerate((10.3, 11.7)):
        alone = own.stream()
        for stream in (whole, alone) if place == 0 else (alone,):
            stream.push([9.0], [0])
        rows.append(alone.push([value], [place])[0])
    np.testing.assert_array_equal(whole.push([10.3, 11.7]), rows)
    np.testing.assert_array_equal(whole.push([10.3, 11.7]).shape, (2, horizon))


def test_values_without_times_are_as_rows_with_them(forecaster):
    rows = _new(forecaster, 3)
    stream, other = forecaster.stream(), forecaster.stream()
    for hour in range(2):
        found = stream.push(rows.groupby("unique_id").nth([hour])["y"])
        table = other.update(rows.groupby("unique_id").nth([hour]))
    np.testing.assert_allclose(found.ravel(), table["QKAN-LSTM"], rtol=1e-12)
    last = rows.groupby("unique_id").nth([2])
    assert stream.update(last).equals(other.update(last))


@pytest.mark.parametrize("state", ["window", "carried"])
def test_saved_in_the_middle_and_loaded_the_stream_goes_on_the_same(forecaster, tmp_path, state):
    rows = _new(forecaster, 3)
    stream = forecaster.stream(state=state)
    stream.update(rows.groupby("unique_id").nth([0]))
    stream.push([10.0, 11.0])
    stream.save(tmp_path / "state.safetensors")
    again = Stream.load(forecaster.run, tmp_path / "state.safetensors")
    last = rows.groupby("unique_id").nth([2])
    assert again.state == state
    assert again.update(last).equals(stream.update(last))


def test_a_forecaster_is_saved_with_where_its_series_are(tmp_path):
    own = fitted()
    rows = _new(own, 3)
    own.update(rows.groupby("unique_id").nth([0]))
    own.save(tmp_path / "run")
    loaded = Forecaster.load(tmp_path / "run")
    second, third = (rows.groupby("unique_id").nth([hour]) for hour in (1, 2))
    assert loaded.update(second).equals(own.update(second))
    loaded.save(tmp_path / "run")
    assert Forecaster.load(tmp_path / "run").update(third).equals(own.update(third))


def test_a_frame_of_polars_comes_back_as_one(forecaster):
    found = forecaster.stream().update(polars.from_pandas(_new(forecaster)))
    assert isinstance(found, polars.DataFrame)
    assert found.shape == (6, 3)


@pytest.mark.parametrize("missing", ["mask", "interpolate", "zero"])
def test_gaps_between_updates_are_filled_as_in_training(missing):
    whole = table(2, 64).drop(index=[61, 62, 64 + 61])
    own = fitted(frame=table(2), missing=missing)
    stream = own.stream()
    found = stream.update(whole[whole["ds"] >= whole["ds"].min() + pd.Timedelta(hours=60)])
    _same(found, own.predict(whole))
    apart = own.stream()
    for hour in range(60, 64):
        part = whole[whole["ds"] == whole["ds"].min() + pd.Timedelta(hours=hour)]
        if len(part):
            apart.update(part)
    ends = whole[whole["ds"] == whole["ds"].max()]
    assert len(ends) == 2
    np.testing.assert_array_equal(apart.engine.rings.value, stream.engine.rings.value)


def test_covariates_calendar_and_names_go_on_as_predict():
    def with_more(rows: int) -> pd.DataFrame:
        frame = table(2, rows)
        hour = np.arange(len(frame))
        more = {"rain": np.cos(hour), "price": np.sin(hour), "day": np.where(hour % 3, "dry", "wet")}
        return frame.assign(**more, area=frame["unique_id"].map({"s0": 1.0, "s1": 3.0}))

    columns = {"past_cols": ("rain",), "future_cols": ("price",), "category_cols": ("day",), "static_cols": ("area",)}
    own = fitted(frame=with_more(60), calendar=("hour",), missing="mask", **columns)
    whole = with_more(64)
    ahead = whole.groupby("unique_id").tail(3).drop(columns=["y", "rain"])
    past = whole.groupby("unique_id").head(61)
    stream = Stream(own.run)
    stream.begin(whole.groupby("unique_id").head(60))
    found = stream.update(past.groupby("unique_id").tail(1), futr_df=ahead)
    _same(found, own.predict(past, futr_df=ahead))
    with pytest.raises(RunError, match="reads covariates"):
        stream.push([1.0, 2.0])


def test_times_of_a_zone_go_on_over_a_change_of_the_clock():
    frame = table(1, 70, begin="2024-03-29").assign(
        ds=lambda t: t["ds"].dt.tz_localize("UTC").dt.tz_convert("Europe/Rome")
    )
    own = fitted(frame=frame[:50], season=24, window=6)
    stream = own.stream()
    for hour in range(50, 70):
        found = stream.update(frame[hour : hour + 1])
    _same(found, own.predict(frame))
    pushed = own.stream()
    for value in frame["y"][50:]:
        numbers = pushed.push(value)
    np.testing.assert_allclose(numbers[0], found["QKAN-LSTM"], rtol=1e-6)


def test_whole_number_times_and_no_times_go_on():
    frame = pd.DataFrame({"y": table(1)["y"]})
    own = fitted(frame=frame[:50])
    wanted = own.predict(frame[:52])
    found = own.stream().update(frame[50:52])
    assert list(found["ds"]) == list(wanted["ds"])
    np.testing.assert_allclose(found["QKAN-LSTM"], wanted["QKAN-LSTM"], rtol=1e-6)


def test_reset_series_begin_anew(forecaster):
    stream = forecaster.stream()
    stream.reset("s0")
    assert stream.count.tolist() == [0, 6]
    with pytest.raises(RunError, match="'s0' has no value yet"):
        stream.push(10.0, 0)
    stream.push(10.0, 1)
    whole = table(2)
    _same(stream.update(whole[whole["unique_id"] == "s0"]), forecaster.predict(whole[whole["unique_id"] == "s0"]))


def _one(**changed: Any) -> pd.DataFrame:
    return pd.DataFrame(
        {"unique_id": ["s0"], "ds": [pd.Timestamp("2024-01-03 12:00")], "y": [10.0]}
        | {k: [v] for k, v in changed.items()}
    )


BAD: dict[str, tuple[pd.DataFrame, str]] = {
    "an unknown series": (
        pd.concat([_one(unique_id="zoo", ds=pd.Timestamp("2024-01-03") + pd.Timedelta(hours=h)) for h in range(3)]),
        "was not trained on series 'zoo'",
    ),
    "older": (_one(ds=pd.Timestamp("2024-01-02")), "older than the last value that is known, at 2024-01-03 11:00:00"),
    "a duplicate": (_one(ds=pd.Timestamp("2024-01-03 11:00")), "comes twice|duplicate|more than once"),
    "a gap": (_one(ds=pd.Timestamp("2024-01-03 14:00")), "missing"),
    "another step": (_one(ds=pd.Timestamp("2024-01-03 11:30")), "step|regular|follow"),
    "not a number": (_one(y=float("nan")), "missing"),
    "infinite": (_one(y=float("inf")), "finite"),
    "text": (_one(y="ten"), "not a number"),
    "no rows": (_one()[:0], "has no rows"),
    "no ids": (_one().drop(columns="unique_id"), "no id column"),
    "other times": (_one(ds=7), "the times are int64"),
    "too large": (_one(y=1e60), "beyond float32"),
}


@pytest.mark.parametrize(("rows", "sentence"), BAD.values(), ids=list(BAD))
def test_rows_that_do_not_go_on_are_refused_and_nothing_is_taken(forecaster, rows, sentence):
    stream = forecaster.stream()
    before = {name: own.copy() for name, own in stream.engine.rings.arrays().items()}
    good = (
        _one(unique_id="s1")
        if rows["y"].dtype.kind == "f" and "unique_id" in rows and len(rows) == 1 and rows["ds"].dtype.kind == "M"
        else None
    )
    with pytest.raises((DataError, RunError), match=sentence):
        stream.update(rows if good is None else pd.concat([good, rows]))
    for name, own in stream.engine.rings.arrays().items():
        np.testing.assert_array_equal(own, before[name])
    assert stream.count.tolist() == [6, 6]
    assert len(stream.update(_new(forecaster))) == 6


@pytest.mark.parametrize(
    ("values", "series", "sentence"),
    [
        ([np.nan, 1.0], None, "value 1, of series 's0', is nan"),
        ([1.0, np.inf], None, "value 2, of series 's1', is inf"),
        ([1.0], None, "one for each of 2 series"),
        ([1.0, 2.0], [0, 0], "each once"),
        ([1.0], [2], "places among the 2 series"),
        ([1.0], [0.5], "places among the 2 series"),
        ([1e300], [0], "not a number that float32 holds"),
    ],
)
def test_values_that_cannot_be_pushed_are_refused(forecaster, values, series, sentence):
    stream = forecaster.stream()
    place = stream.engine.rings.place.copy()
    with pytest.raises(ValueError, match=sentence):
        stream.push(values, series)
    np.testing.assert_array_equal(stream.engine.rings.place, place)


def test_states_that_cannot_be_carried_are_refused():
    with pytest.raises(ValueError, match="needs the level season or none"):
        fitted(level="last").stream(state="carried")
    with pytest.raises(ValueError, match="no sum over functions of single numbers"):
        fitted("qlstm").stream(state="carried")
    with pytest.raises(ValueError, match="state must be one of window, carried, got 'kept'"):
        fitted().stream(state="kept")


def test_files_that_are_no_state_of_this_stream_are_refused(forecaster, tmp_path):
    path = tmp_path / "state.safetensors"
    stream = forecaster.stream()
    stream.save(path)
    content = path.read_bytes()
    for damaged in (b"", b"abc", content[:-8], content[:40]):
        path.write_bytes(damaged)
        with pytest.raises(RunError, match="cannot be read as the state of a stream"):
            Stream.load(forecaster.run, path)
    path.write_bytes(content)
    with pytest.raises(RunError, match="of another run"):
        Stream.load(fitted("lstm").run, path)
    arrays = safetensors.numpy.load(content)
    length = int.from_bytes(content[:8], "little")
    metadata = json.loads(content[8 : 8 + length])["__metadata__"]
    for name, own in arrays.items():
        changed = {**arrays, name: np.concatenate([own, own])}
        path.write_bytes(safetensors.numpy.save(changed, metadata))
        with pytest.raises(RunError, match="cannot be read as the state of a stream"):
            Stream.load(forecaster.run, path)
    changed = {**arrays, "place": arrays["place"] + 1000}
    path.write_bytes(safetensors.numpy.save(changed, metadata))
    with pytest.raises(RunError, match="its places lie beyond"):
        Stream.load(forecaster.run, path)
    path.write_bytes(safetensors.numpy.save(arrays, {**metadata, "format_version": "2"}))
    with pytest.raises(RunError, match="format version 2"):
        Stream.load(forecaster.run, path)
    with pytest.raises(RunError, match="is missing"):
        Stream.load(forecaster.run, tmp_path / "none")


@pytest.mark.parametrize("cell", [name for name in CELLS if name not in ("linear", "cycle", "sparse")])
def test_compiled_code_runs_where_arrays_are_all_that_there_is(cell):
    assert isinstance(fitted(cell).stream().engine, LeanEngine) == (cell not in ("qlstm", "fwp", "fwp-linear"))
