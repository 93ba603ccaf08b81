"""Files with some of their bytes changed."""

from __future__ import annotations

import io
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

from torture import examples
from torture.answers import ask, content

COUNT = 300

TABLES = ("calls.csv", "calls.csv.gz", "calls.parquet", "calls.xlsx")
RUN = ("config.json", "manifest.json", "metrics.json", "model.safetensors", "validation.csv")
RESULTS = ("model.safetensors", "history.csv", "predictions.csv")
#: What is damaged, in turn.
TARGETS = (
    *TABLES,
    *RUN,
    "checkpoint/last.ckpt",
    "run.onnx",
    "calls.csv",
    "calls.parquet",
    "model.safetensors",
    "run.onnx",
)


def mutate(data: bytes, dice: random.Random) -> tuple[str, bytes]:
    """Change some bytes; what was done, and the result."""
    at, size = dice.randrange(len(data)), dice.choice((1, 1, 2, 4, 16, 200))
    end = min(at + size, len(data))
    noise = dice.randbytes(end - at)
    return dice.choice(
        [
            (f"bit {at}", data[:at] + bytes([data[at] ^ 1 << dice.randrange(8)]) + data[at + 1 :]),
            (f"noise {at}:{end}", data[:at] + noise + data[end:]),
            (f"zeros {at}:{end}", data[:at] + bytes(end - at) + data[end:]),
            (f"ones {at}:{end}", data[:at] + b"\xff" * (end - at) + data[end:]),
            (f"without {at}:{end}", data[:at] + data[end:]),
            (f"twice {at}:{end}", data[:end] + data[at:]),
            (f"more at {at}", data[:at] + noise + data[at:]),
            (f"end at {at}", data[:at]),
        ]
    )


def run(index: int, folder: Path) -> tuple[str, str]:
    dice = random.Random(f"files {index}")
    target = TARGETS[index % len(TARGETS)]
    what, act = _case(target, folder, dice)
    before = content(folder)
    code, answer = act()
    if code and target != "checkpoint/last.ckpt":
        assert content(folder) == before, f"{what}: refused, but files changed"
    return what, answer if code else "right"


def _case(target: str, folder: Path, dice: random.Random) -> tuple[str, Callable[[], tuple[int, str]]]:
    sound = examples.folder()
    if target in TABLES:
        how = _damage(sound / target, folder / target, dice)
        return f"{target}, {how}", lambda: _forecast_of_table(folder / target, dice)
    if target == "run.onnx":
        examples.onnx_file()
        how = _damage(sound / target, folder / target, dice)
        return f"{target}, {how}", lambda: _as_sound(("predict",), (folder / target, sound / target))
    origin = sound / ("cut" if target.startswith("checkpoint") else "run")
    shutil.copytree(origin, folder / "run")
    how = _damage(origin / target, folder / "run" / target, dice)
    if target.startswith("checkpoint"):
        return f"{target}, {how}", lambda: _resumed(folder / "run", sound / "run")
    command = dice.choice((("predict",), ("predict", "--level", "90"), ("evaluate",)))
    return f"{target}, {how}", lambda: _as_sound(command, (folder / "run", sound / "run"))


def _damage(source: Path, place: Path, dice: random.Random) -> str:
    how, data = mutate(source.read_bytes(), dice)
    place.write_bytes(data)
    return how


def _forecast_of_table(path: Path, dice: random.Random) -> tuple[int, str]:
    """A forecast of what is left of a table: finite, and of two steps for every series."""
    if dice.random() < 0.2:
        return ask("data", "show", path)
    code, answer = ask("predict", examples.folder() / "run", "--data", path, "--new-series", "scale")
    if code == 0:
        frame = pd.read_csv(io.StringIO(answer), dtype={"unique_id": str}, keep_default_na=False)
        assert len(frame) >= 2, answer
        assert np.isfinite(frame["LSTM"].astype(float)).all(), answer
        assert set(frame.groupby("unique_id").size()) == {2}, answer
    return code, answer


def _as_sound(command: tuple[str, ...], paths: tuple[Path, Path]) -> tuple[int, str]:
    """What the damaged one answers; if it is a result, it is that of the sound one."""
    code, answer = ask(command[0], paths[0], *command[1:])
    if code == 0:
        right = ask(command[0], paths[1], *command[1:])
        assert answer == right[1], f"{answer!r} instead of {right!r}"
    return code, answer


def _resumed(path: Path, sound: Path) -> tuple[int, str]:
    code, answer = ask("train", "lstm", "--out", path, "--resume")
    if code == 0:
        for name in RESULTS:
            assert (path / name).read_bytes() == (sound / name).read_bytes(), f"{name} differs from the undisturbed run"
    return code, answer
