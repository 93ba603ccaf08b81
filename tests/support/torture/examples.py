"""Small sound things to damage: tables, a finished run, an unfinished one and an export; made once a process."""

from __future__ import annotations

import atexit
import functools
import shutil
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from qkan.forecasting import TrainConfig, export, load_run, train

TINY = {"cell": "lstm", "hidden_size": 2, "window": 4, "horizon": 2, "epochs": 2, "batch_size": 32, "device": "cpu"}


def table(rows: int = 90, seed: int = 0) -> pd.DataFrame:
    """Two hourly series with a covariate of the past and one that is known two hours ahead."""
    random = np.random.default_rng(seed)
    times = pd.date_range("2024-01-01", periods=rows, freq="h")
    parts = []
    for name in ("north", "south"):
        y = 20 + 5 * np.sin(np.arange(rows) * np.pi / 12) + random.normal(size=rows).round(3)
        parts.append(pd.DataFrame({"unique_id": name, "ds": times, "y": y, "past": y.round(), "known": times.hour % 7}))
    return pd.concat(parts, ignore_index=True)


@functools.cache
def folder() -> Path:
    """``calls.csv``, ``.csv.gz``, ``.parquet``, ``.xlsx``, ``wide.csv``, ``run``, ``cut`` (to resume)."""
    made = empty_folder()
    torch.set_num_threads(1)
    plain = table().drop(columns=["past", "known"])
    plain.to_csv(made / "calls.csv", index=False)
    plain.to_csv(made / "calls.csv.gz", index=False)
    plain.to_parquet(made / "calls.parquet")
    plain.to_excel(made / "calls.xlsx", index=False)
    table().to_csv(made / "wide.csv", index=False)
    config = TrainConfig(data=str(made / "calls.csv"), **TINY)
    train(config, made / "run")
    shutil.copytree(made / "run", made / "cut")
    for name in ("manifest.json", "model.safetensors", "history.csv", "predictions.csv", "metrics.json"):
        (made / "cut" / name).unlink()
    return made


@functools.cache
def onnx_file() -> Path:
    """The run, exported."""
    path = folder() / "run.onnx"
    export(load_run(folder() / "run"), path)
    return path


def empty_folder() -> Path:
    """A folder that goes with this process."""
    made = Path(tempfile.mkdtemp(prefix="qkan-torture-"))
    atexit.register(shutil.rmtree, made, True)
    return made
