"""Streams: how long a value takes by cell, and whether a state that is carried on forecasts as well as the window.

    python -m benchmarks.stream latency
    python -m benchmarks.stream accuracy

Latencies are processor time of one thread, the least of some repetitions, so that others on the machine hardly count:
of ``Stream.push``, the next value of every series at once and the forecasts that follow. Parameters are drawn at
random, for a trained cell takes as long. Accuracy trains a run for every series and cell and forecasts from every value
of its test part, three ways: from the window, from a state that is carried on from the first window, and from one that
begins anew with the window every so many steps as this has.
"""

from __future__ import annotations

import argparse
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from qkan.datasets import DataNotice, Scaler, Series, load_series
from qkan.forecasting import Run, Stream, TrainConfig, build_forecaster, train

CELLS = ("qkan", "hqkan", "lowrank", "lstm", "gru", "fourier", "spline", "gr-kan", "mlp", "qlstm")
SERIES = (1, 100, 10_000)
_SEASON, _WINDOW, _HORIZON, _HIDDEN = 24, 24, 16, 16
_BUDGET = 1.0  # seconds a measurement
ACCURACY = ("telecom", "milan-24", "delayed-quantum-control")


def made_run(cell: str, count: int, state: str) -> Run:
    """A run of so many series whose parameters are drawn at random."""
    level = "season" if state == "carried" else "last"
    sizes: dict[str, Any] = {"window": _WINDOW, "horizon": _HORIZON, "season": (_SEASON,), "level": level}
    config = TrainConfig(data="frame", cell=cell, hidden_size=_HIDDEN, **sizes).decided()
    model = build_forecaster(config, torch.Generator().manual_seed(0)).eval()
    ids = tuple(f"{place:05d}" for place in range(count))
    scaler = Scaler("standard", ids, (0.0,) * count, (1.0,) * count)
    return Run(Path("made"), config, model, scaler, {"frequency": "h", "step": None, "fingerprint": ""}, {})


def begun(run: Run, state: str) -> Stream:
    """A stream of a run whose series have a window each."""
    ids, steps = run.scaler.ids, run.config.context
    frame = pd.DataFrame(
        {
            "unique_id": np.repeat(np.array(ids, dtype=object), steps),
            "ds": np.tile(pd.date_range("2024-01-01", periods=steps, freq="h").as_unit("ns"), len(ids)),
            "y": np.random.default_rng(0).normal(size=steps * len(ids)),
        }
    )
    stream = Stream(run, state=state)
    stream.begin(Series("made", frame, "h"))
    return stream


def push_time(stream: Stream) -> float:
    """Least processor time of a value of every series, in seconds."""
    values = np.random.default_rng(1).normal(size=len(stream.ids))
    stream.push(values)
    begin = time.process_time()
    stream.push(values)
    many = max(1, int(0.02 / max(time.process_time() - begin, 1e-6)))  # a clock of the processor is coarse
    best, end = np.inf, time.process_time() + _BUDGET
    while time.process_time() < end:
        begin = time.process_time()
        for _ in range(many):
            stream.push(values)
        best = min(best, (time.process_time() - begin) / many)
    return best


def latency(cells: tuple[str, ...]) -> pd.DataFrame:
    """Milliseconds of a value by cell, state and number of series."""
    rows = []
    for cell in cells:
        for state in ("window", "carried"):
            try:
                times = {count: push_time(begun(made_run(cell, count, state), state)) * 1e3 for count in SERIES}
            except ValueError:  # this cell carries no state
                continue
            rows.append({"cell": cell, "state": state, **times})
            print(pd.DataFrame(rows[-1:]).to_string(index=False, header=len(rows) == 1), flush=True)
    return pd.DataFrame(rows)


def accuracy(names: tuple[str, ...], cells: tuple[str, ...], level: str) -> pd.DataFrame:
    """Mean absolute error over the test part, by series, cell and what the state is, over that of the last value.

    ``apart`` is the mean difference between forecasts of a carried state and of the window, in the same unit.
    """
    rows = []
    for name in names:
        for cell in cells:
            with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
                warnings.simplefilter("ignore", DataNotice)
                sizes: dict[str, Any] = {"window": 24, "horizon": 12, "epochs": 10, "lbfgs_steps": 0}
                config = TrainConfig(data=name, cell=cell, level=level, **sizes)
                run = train(config, Path(folder) / "run")
            series = load_series(name)
            made = {how: test_forecasts(run, series, how) for how in ("window", "carried", "anew")}
            errors = {how: mean_error(own, *made["window"][1:]) for how, (own, *_) in made.items()}
            spread = np.abs(made["window"][1] - made["window"][2]).mean(axis=(0, 2))
            apart = float((np.abs(made["carried"][0] - made["window"][0]).mean(axis=(0, 2)) / spread).mean())
            rows.append({"series": name, "cell": cell, "level": level, **errors, "apart": apart})
            print(pd.DataFrame(rows[-1:]).to_string(index=False, header=len(rows) == 1), flush=True)
    return pd.DataFrame(rows)


def test_forecasts(run: Run, series: Series, how: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Forecasts, targets and last values of the test part, (origins, series, horizon) each."""
    from qkan.datasets import first_values
    from qkan.forecasting.data.load import split_of

    split, horizon = split_of(run.config, series), run.config.horizon
    ends = np.array([split.boundaries(int(length))[1] for length in series.lengths])
    stream = Stream(run, state="window" if how == "window" else "carried")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DataNotice)
        stream.begin(first_values(series, ends))
    values = np.stack([series.values_of(index)[end:] for index, end in enumerate(ends)], axis=1)
    found = []
    for step in range(len(values) - horizon):
        if how == "anew" and step and step % run.config.window == 0:
            stream.reset()
            stream.begin(first_values(series, ends + step))
        found.append(stream.push(values[step]))
    origins = np.arange(len(found))[:, None]
    ahead = values[origins + np.arange(1, horizon + 1)].transpose(0, 2, 1)
    return np.array(found), ahead, np.broadcast_to(values[: len(found), :, None], ahead.shape)


def mean_error(found: np.ndarray, wanted: np.ndarray, last: np.ndarray) -> float:
    """Mean absolute difference over that of the last value, the mean of all series."""
    own, naive = (np.abs(one - wanted).mean(axis=(0, 2)) for one in (found, last))
    return float((own / naive).mean())


def main() -> None:
    """Measure what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("latency", "accuracy"))
    parser.add_argument("--cells", help="separated by commas")
    parser.add_argument("--data", default=",".join(ACCURACY), help="series of the accuracy, separated by commas")
    parser.add_argument("--level", default="season", choices=("season", "none"))
    given = parser.parse_args()
    torch.set_num_threads(1)
    if given.what == "latency":
        latency(tuple(given.cells.split(",")) if given.cells else CELLS)
    else:
        accuracy(tuple(given.data.split(",")), tuple((given.cells or "qkan,lstm").split(",")), given.level)


if __name__ == "__main__":
    main()
