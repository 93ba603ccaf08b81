"""Options drawn at random: sound ones, ones at the ends of their range, and nonsense."""

from __future__ import annotations

import io
import json
import math
import random
import shutil
from pathlib import Path

import pandas as pd

from torture import examples
from torture.answers import ask

COUNT = 150

ODD = (
    "",
    "0",
    "-1",
    "nan",
    "inf",
    "1e400",
    "99999999999999999999",
    "a b",
    "é",
    "--",
    ",",
    "1,,2",
    "\x1b[31m",
    "x" * 500,
)
"""What a user may type anywhere."""

#: Values of every option of a training that leave it small.
TRAIN: dict[str, tuple[str, ...]] = {
    "--cell": ("qkan", "hqkan", "lowrank", "lstm", "gru", "qlstm", "gr-kan"),
    "--hidden-size": ("1", "2", "3"),
    "--num-layers": ("1", "2"),
    "--reps": ("1", "2"),
    "--ansatz": ("pz", "rpz", "real", "mix", "px"),
    "--latent-features": ("1", "3"),
    "--group": ("edge", "input", "1", "2"),
    "--base-activation": ("silu", "gelu", "none"),
    "--qubits": ("1", "2"),
    "--circuit-layers": ("1", "2"),
    "--window": ("1", "5", "40", "100000"),
    "--horizon": ("1", "2", "3", "30"),
    "--season": ("1", "24", "2,3", "24,24"),
    "--freq": ("h", "60min", "D", "7"),
    "--strategy": ("direct", "recursive"),
    "--split": ("0.7,0.1,0.2", "1,0,0", "0.5,0.5,0", "0.8,0,0.2", "0.1,0.1,0.1", "0,0,1"),
    "--scaler": ("minmax", "standard", "robust", "none"),
    "--loss": ("mse", "mae", "huber", "quantile"),
    "--levels": ("80", "50,99.9", "80,80", "100"),
    "--batch-size": ("1", "16", "1000000"),
    "--lr": ("0.01", "1e-9", "9.9", "10.5"),
    "--patience": ("1", "100000"),
    "--seed": ("0", "4294967295"),
    "--precision": ("32-true", "64-true", "bf16-mixed", "16-mixed"),
    "--devices": ("1",),
    "--shards": ("1", "2", "3"),
    "--device": ("cpu", "auto", "cuda", "cuda:3", "tpu"),
    "--calendar": ("hour", "weekday,month", "hour,hour", "monthday,yearday,weekend,minute"),
    "--past-cols": ("past", "past,known", "y"),
    "--future-cols": ("known", "known,nothing"),
    "--missing": ("refuse", "mask", "interpolate", "zero"),
    "--series": ("north", "south,north", "east"),
    "--time-col": ("ds", "y", "rows"),
    "--time-format": ("%Y-%m-%d %H:%M:%S", "%d/%m/%Y", "steps"),
    "--target-col": ("y", "past", "ds"),
    "--id-col": ("unique_id", "past"),
    "--sep": (",", ";", "tab"),
    "--decimal": (".", ","),
    "--encoding": ("utf-8", "cp1252", "utf-16", "klingon"),
}
FLAGS = ("--preact-trainable", "--no-preact-trainable", "--bias", "--no-bias")

PREDICT: dict[str, tuple[str, ...]] = {
    "--horizon": ("1", "2", "7", "100"),
    "--level": ("80", "80,90", "99.99", "1e-9", "100", "80,80"),
    "--data": ("calls.csv", "calls.parquet", "wide.csv", "telecom", "nowhere.csv"),
    "--new-series": ("refuse", "scale", "guess"),
    "--future": ("wide.csv", "calls.csv"),
    "--out": ("forecast.csv", ".", "/dev/null", "missing/forecast.csv"),
}


def run(index: int, folder: Path) -> tuple[str, str]:
    dice = random.Random(f"options {index}")
    if index % 3 == 2:
        return _of_a_run(dice, folder)
    names = dice.sample(list(TRAIN), dice.randint(1, 3))
    words = _drawn(TRAIN, names, dice) + [flag for flag in FLAGS if dice.random() < 0.05]
    table = dice.choice(("wide.csv", "calls.csv"))
    out = folder / "run"
    fixed = ["--data", examples.folder() / table, "--epochs", dice.choice(("1", "2")), "--out", out]
    given = [
        *(["--window", "4"] if "--window" not in names else []),
        *(["--device", "cpu"] if "--device" not in names else []),
    ]
    code, answer = ask("train", "lstm", *fixed, *given, *words)
    if code:
        assert not (out / "manifest.json").exists(), f"{words}: refused, but there is a finished run"
        return f"train {words}", answer
    for scores in json.loads((out / "metrics.json").read_text())["test"].values():
        assert all(value is None or math.isfinite(value) for value in scores.values()), f"{words}: {scores}"
    again, forecast = ask("predict", out)
    if again == 0:
        _check_forecast(forecast)
        assert ask("predict", out) == (again, forecast), f"{words}: two forecasts differ"
    return f"train {words}", "right"


def _of_a_run(dice: random.Random, folder: Path) -> tuple[str, str]:
    """``predict`` or ``evaluate`` of a sound run."""
    for name in ("calls.csv", "calls.parquet", "wide.csv"):
        shutil.copy(examples.folder() / name, folder / name)
    names = dice.sample(list(PREDICT), dice.randint(1, 4))
    command = dice.choice(("predict", "predict", "evaluate"))
    if command == "evaluate":
        names = [name for name in names if name in ("--data", "--new-series")]
    places = {
        name: tuple(_inside(folder, value) for value in PREDICT[name]) for name in ("--data", "--future", "--out")
    }
    words = _drawn(PREDICT | places, names, dice)
    conformal = ["--conformal"] if command == "predict" and dice.random() < 0.3 else []
    code, answer = ask(command, examples.folder() / "run", *words, *conformal)
    if code == 0 and command == "predict" and "--out" not in names:
        _check_forecast(answer)
    return f"{command} {words} {conformal}", answer if code else "right"


def _inside(folder: Path, name: str) -> str:
    return name if name in ("telecom", "/dev/null") else str(folder / name)


def _drawn(values: dict[str, tuple[str, ...]], names: list[str], dice: random.Random) -> list[str]:
    return [word for name in names for word in (name, dice.choice(ODD if dice.random() < 0.06 else values[name]))]


def _check_forecast(text: str) -> None:
    frame = pd.read_csv(io.StringIO(text), dtype={"unique_id": str, "ds": str})
    numbers = frame.drop(columns=["unique_id", "ds"]).astype(float)
    assert len(frame) > 0, text
    assert numbers.shape[1] > 0, text
    assert numbers.notna().all(axis=None), text
