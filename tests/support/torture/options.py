"""Options drawn at random: mostly such as train, some at the ends of their range, and nonsense."""

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

#: Options that only some cells have, with values that they take.
OF_CELL: dict[str, dict[str, tuple[str, ...]]] = {
    "qkan": {
        "--reps": ("1", "2"),
        "--ansatz": ("pz", "rpz", "real", "mix"),
        "--group": ("edge", "input", "1", "2"),
        "--base-activation": ("silu", "gelu", "none"),
    },
    "hqkan": {"--reps": ("1", "2"), "--ansatz": ("pz", "real", "mix"), "--latent-features": ("1", "3")},
    "lowrank": {"--latent-features": ("1", "3")},
    "lstm": {},
    "gru": {},
    "qlstm": {"--qubits": ("1", "2"), "--circuit-layers": ("1", "2")},
    "fwp": {"--reps": ("1", "2"), "--ansatz": ("pz", "real", "mix"), "--latent-features": ("1", "3")},
    "fwp-linear": {"--latent-features": ("1", "3")},
    "gr-kan": {"--latent-features": ("1", "2")},
    "fourier": {"--latent-features": ("1", "2"), "--terms": ("2", "4")},
    "rff": {"--latent-features": ("1", "2"), "--terms": ("2", "4")},
    "spline": {"--latent-features": ("1", "2"), "--terms": ("4", "5")},
    "chebyshev": {"--latent-features": ("1", "2"), "--terms": ("1", "5")},
    "mlp": {"--latent-features": ("1", "2"), "--terms": ("1", "5")},
}

#: Values of the other options that go together, whatever the cell, and leave a training small.
SOUND: dict[str, tuple[str, ...]] = {
    "--hidden-size": ("1", "2", "3"),
    "--num-layers": ("1", "2"),
    "--window": ("2", "5", "11"),
    "--horizon": ("1", "2", "3"),
    "--season": ("none", "24", "4,6", "7"),
    "--freq": ("h", "60min"),
    "--level": ("auto", "last", "mean", "window", "none"),
    "--skip": ("0", "1", "3"),
    "--season-encoding": ("circuit", "sincos", "table", "none"),
    "--decoder": ("last", "steps"),
    "--strategy": ("direct", "recursive"),
    "--split": ("0.7,0.1,0.2", "0.6,0.2,0.2", "0.5,0.25,0.25"),
    "--scaler": ("minmax", "standard", "robust", "none"),
    "--loss": ("mse", "mae", "huber", "quantile"),
    "--batch-size": ("1", "16", "1000000"),
    "--lr": ("0.01", "1e-9", "9.9"),
    "--patience": ("1", "100000"),
    "--lbfgs-steps": ("0", "3"),
    "--restarts": ("1", "2"),
    "--seed": ("0", "4294967295"),
    "--precision": ("32-true", "64-true", "bf16-mixed"),
    "--devices": ("1",),
    "--shards": ("1", "2"),
    "--device": ("cpu", "auto"),
    "--calendar": ("hour", "weekday,month", "monthday,yearday,weekend,minute"),
    "--missing": ("refuse", "mask", "interpolate", "zero"),
    "--series": ("north", "south,north"),
    "--time-col": ("ds",),
    "--time-format": ("%Y-%m-%d %H:%M:%S",),
    "--target-col": ("y",),
    "--id-col": ("unique_id",),
    "--sep": (",",),
    "--decimal": (".",),
    "--encoding": ("utf-8", "cp1252"),
}
#: More of the table with covariates alone.
SOUND_WIDE: dict[str, tuple[str, ...]] = {"--past-cols": ("past", "past,known"), "--future-cols": ("known",)}
FLAGS = ("--bias", "--no-bias", "--seasonal-lags", "--no-seasonal-lags")

#: Values that a training may refuse, alone or beside others.
RISKY: dict[str, tuple[str, ...]] = {
    "--cell": ("linear", "cycle", "sparse", "rnn"),
    "--ansatz": ("px", "pz"),
    "--window": ("1", "40", "100000"),
    "--horizon": ("30", "10000"),
    "--season": ("1", "24,24", "10000"),
    "--freq": ("D", "7"),
    "--split": ("1,0,0", "0.5,0.5,0", "0.8,0,0.2", "0.1,0.1,0.1", "0,0,1"),
    "--order": ("segments", "periods"),
    "--segment": ("2", "9"),
    "--levels": ("80", "50,99.9", "80,80", "100"),
    "--lr": ("10.5",),
    "--precision": ("16-mixed",),
    "--device": ("cuda", "cuda:3", "tpu"),
    "--calendar": ("hour,hour",),
    "--past-cols": ("y",),
    "--future-cols": ("known,nothing",),
    "--series": ("east",),
    "--time-col": ("y", "rows"),
    "--time-format": ("%d/%m/%Y", "steps"),
    "--target-col": ("past", "ds"),
    "--id-col": ("past",),
    "--sep": (";", "tab"),
    "--decimal": (",",),
    "--encoding": ("utf-16", "klingon"),
    "--latent-features": ("3",),
    "--qubits": ("2",),
    "--shards": ("3",),
    "--base-activation": ("None", "sigmoid"),
}

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
    table = dice.choice(("wide.csv", "calls.csv"))
    words = _risky(dice) if index % 8 == 2 else _sound(dice, table)
    out = folder / "run"
    fixed = ["--data", examples.folder() / table, "--epochs", dice.choice(("1", "2")), "--out", out]
    given = [word for name, value in _SMALL.items() if name not in words for word in (name, value)]
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
    used = _of_a_run(dice.choice((out, examples.folder() / "run")), dice, folder) if index % 3 == 2 else ""
    return f"train {words}{used}", "right"


#: What keeps a training short where nothing else is drawn.
_SMALL = {"--window": "4", "--horizon": "2", "--hidden-size": "2", "--device": "cpu"}


def _sound(dice: random.Random, table: str) -> list[str]:
    """A cell, options of it and up to five others that go together."""
    cell = dice.choice(list(OF_CELL))
    own = OF_CELL[cell]
    others = SOUND | SOUND_WIDE if table == "wide.csv" else SOUND
    names = dice.sample(list(own), dice.randint(0, len(own))) + dice.sample(list(others), dice.randint(1, 5))
    words = ["--cell", cell]
    for name in names:
        words += [name, dice.choice((own | others)[name])]
    if "quantile" in words and dice.random() < 0.5:
        words += ["--levels", dice.choice(("80", "50,99.9"))]
    return words + [flag for flag in FLAGS[:: dice.choice((1, -1))] if dice.random() < 0.05][:1]


def _risky(dice: random.Random) -> list[str]:
    """Options from the ends of their ranges and beyond, and nonsense."""
    names = dice.sample(list(RISKY), dice.randint(1, 3))
    return _drawn(RISKY, names, dice) + ["--preact-trainable"] * (dice.random() < 0.2)


def _of_a_run(path: Path, dice: random.Random, folder: Path) -> str:
    """``predict`` or ``evaluate`` of a run, or of one on a table; what was asked, and a refusal."""
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
    code, answer = ask(command, path, *words, *conformal)
    if code == 0 and command == "predict" and "--out" not in names:
        _check_forecast(answer)
    return f"; {command} {words} {conformal}: {answer if code else 'right'}"


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
