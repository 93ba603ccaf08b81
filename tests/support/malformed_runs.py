"""Malformed run folders and comparisons: what may come from elsewhere, and must never be executed."""

from __future__ import annotations

import hashlib
import io
import json
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from malformed import Arguments, Case, lines, write_run_folder

from qkan.forecasting.runs.record import sum_of

MARK = "HACKED"
"""File that a case's pickle would leave if it were executed."""


class _Attack:
    """A pickle that runs a command when it is loaded."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {MARK}",)


def edit(name: str, change: Callable[[dict[str, Any]], object]) -> Callable[[Path], None]:
    """Change the JSON of a file of the run folder in place."""

    def apply(folder: Path) -> None:
        path = folder / name
        content = json.loads(path.read_text())
        change(content)
        path.write_text(json.dumps(content))

    return apply


def put(name: str, content: bytes) -> Callable[[Path], None]:
    """Replace a file of the run folder."""
    return lambda folder: _replace(folder / name, content)


def _replace(path: Path, content: bytes) -> None:
    path.unlink(missing_ok=True)
    path.write_bytes(content)


def signed(content: bytes) -> Callable[[Path], None]:
    """Replace the weights by something whose checksum the manifest confirms."""

    def apply(folder: Path) -> None:
        (folder / "model.safetensors").write_bytes(content)
        sums = {"model.safetensors": hashlib.sha256(content).hexdigest()}
        edit("manifest.json", lambda manifest: manifest["sha256"].update(sums))(folder)

    return apply


def special(name: str, make: Callable[[Path], object]) -> Callable[[Path], None]:
    """Put something that is no regular file in the place of a file."""

    def apply(folder: Path) -> None:
        (folder / name).unlink(missing_ok=True)
        make(folder / name)

    return apply


def option(**values: object) -> Callable[[Path], None]:
    """Change options in config.json, whose sum confirms them."""

    def change(record: dict[str, Any]) -> None:
        record["config"].update(values)
        record["sha256"] = sum_of({name: value for name, value in record.items() if name != "sha256"})

    return edit("config.json", change)


def scaler(**values: object) -> Callable[[Path], None]:
    """Change the scaler in config.json."""
    return edit("config.json", lambda record: record["scaler"].update(values))


def _other_weights(folder: Path) -> None:
    write_run_folder(folder.parent / "other", hidden_size=3)
    signed((folder.parent / "other" / "model.safetensors").read_bytes())(folder)


def _endless(path: Path) -> None:
    path.symlink_to("/dev/zero")


ATTACK = pickle.dumps(_Attack())
DEEP = b"[" * 200_000
FOLDERS: dict[str, tuple[Callable[[Path], object], str]] = {
    **{
        f"no {name}": (lambda folder, name=name: (folder / name).unlink(), f"{name}|unfinished")
        for name in ("config.json", "manifest.json", "metrics.json", "model.safetensors")
    },
    **{
        f"{name} of half its bytes": (lambda folder, name=name: os.truncate(folder / name, 30), name)
        for name in ("config.json", "manifest.json", "metrics.json", "model.safetensors")
    },
    **{
        f"{name} is a list": (put(name, b"[1]"), f"{name}.*list")
        for name in ("config.json", "manifest.json", "metrics.json")
    },
    **{f"{name} in utf-16": (put(name, "{}".encode("utf-16")), name) for name in ("config.json", "manifest.json")},
    **{f"{name} nested too deep": (put(name, DEEP), name) for name in ("config.json", "manifest.json", "metrics.json")},
    **{
        f"{name} is a pipe": (special(name, os.mkfifo), f"{name}.*no regular file")
        for name in ("config.json", "manifest.json", "metrics.json", "model.safetensors")
    },
    **{
        f"{name} is endless": (special(name, _endless), f"{name}.*no regular file")
        for name in ("config.json", "model.safetensors")
    },
    **{
        f"{name} is a folder": (special(name, os.mkdir), name)
        for name in ("config.json", "manifest.json", "metrics.json", "model.safetensors")
    },
    "a number of 5,000 digits": (put("config.json", b'{"format_version": ' + b"9" * 5000 + b"}"), "config.json"),
    "config.json is empty": (put("config.json", b""), "config.json"),
    "version 99": (edit("config.json", lambda record: record.update(format_version=99)), "version 99"),
    "manifest version 99": (edit("manifest.json", lambda record: record.update(format_version=99)), "version 99"),
    "version 1.5": (edit("config.json", lambda record: record.update(format_version=1.5)), "format_version"),
    "version 0": (edit("config.json", lambda record: record.update(format_version=0)), "format_version"),
    "version true": (edit("config.json", lambda record: record.update(format_version=True)), "format_version"),
    "version in words": (edit("config.json", lambda record: record.update(format_version="one")), "format_version"),
    "another key": (edit("config.json", lambda record: record.update(hook="os.system")), "'hook'"),
    "config is a list": (edit("config.json", lambda record: record.update(config=[])), "config.json"),
    "no data": (edit("config.json", lambda record: record["config"].pop("data")), "'data'"),
    "data has no fingerprint": (
        edit("config.json", lambda record: record.update(data={})),
        "config.json lacks fingerprint",
    ),
    "an unknown option": (option(plugin="evil"), "'plugin'"),
    "window in words": (option(window="twelve"), "'twelve'"),
    "window as text": (option(window="4"), "'4'"),
    "window true": (option(window=True), "True"),
    "window 0": (option(window=0), "window .*0"),
    "window of a fraction": (option(window=4.5), "4.5"),
    "window null": (option(window=None), "None"),
    "hidden size of a billion": (option(hidden_size=10**9), "1000000000"),
    "another hidden size": (option(hidden_size=3), "weights"),
    "cell of no kind": (option(cell="transformer"), "'transformer'"),
    "cell is a list": (option(cell=["lstm"]), "cell"),
    "cell is a record": (option(cell={"a": 1}), "cell"),
    "lr is NaN": (option(lr=float("nan")), "lr .*nan"),
    "lr is infinite": (option(lr=float("inf")), "lr .*inf"),
    "lr in words": (option(lr="fast"), "'fast'"),
    "data is a number": (option(data=5), "data .*5"),
    "data is a record": (option(data={"a": 1}), "data"),
    "data climbs out": (option(data="../../../../etc/passwd"), "etc/passwd"),
    "data is a device": (option(data="/dev/zero"), "/dev/zero"),
    "data is gone": (option(data="/nowhere/x.csv"), "/nowhere/x.csv"),
    "data is another series": (option(data="bessel-j2"), "has changed|bessel-j2"),
    "split of two": (option(split=[0.5, 0.5]), "split"),
    "split is text": (option(split="0.7,0.1,0.2"), "split"),
    "split of text": (option(split=["a", "b", "c"]), "split"),
    "covariates are a number": (option(past_cols=5), "past_cols|past-cols"),
    "covariates of lists": (option(past_cols=[["a"]]), "past_cols|past-cols"),
    "series of lists": (option(series=[["a"]]), "series"),
    "levels of records": (option(levels=[{"a": 1}]), "levels|level"),
    "device of no kind": (option(device="tpu; rm -rf /"), "'tpu; rm -rf /'"),
    "calendar is unknown": (option(calendar=["century"]), "century"),
    "scaler of no kind": (scaler(kind="magic"), "'magic'"),
    "scaler in words": (scaler(offset=["low"]), "low"),
    "scaler is infinite": (scaler(offset=[float("inf")]), "inf"),
    "scaler of scale 0": (scaler(scale=[0.0]), "scale"),
    "scaler of two series": (scaler(ids=["a", "b"]), "scaler"),
    "scaler without numbers": (scaler(offset=None), "scaler"),
    "scaler with another key": (scaler(code="import os"), "scaler"),
    "scaler of covariates is a list": (scaler(covariates=[1]), "scaler"),
    "weights of another model": (_other_weights, "weights"),
    "weights that were changed": (put("model.safetensors", b"\1" * 400), "model.safetensors"),
    "weights of a huge header": (signed(b"\xff" * 7 + b"\x7f" + b"{}"), "model.safetensors"),
    "weights of no header": (signed(b"\0" * 8), "model.safetensors"),
    "weights that are a pickle": (signed(ATTACK), "model.safetensors"),
    "weights that are a pickle, unsigned": (put("model.safetensors", ATTACK), "model.safetensors"),
    "no checksum": (edit("manifest.json", lambda manifest: manifest.pop("sha256")), "sha256"),
    "a checksum that is a list": (edit("manifest.json", lambda manifest: manifest.update(sha256=[1])), "sha256"),
    "metrics that are a pickle": (put("metrics.json", ATTACK), "metrics.json"),
}


def _unfinished(folder: Path) -> None:
    """Make the run one that `--resume` goes on with."""
    (folder / "manifest.json").unlink()
    (folder / "checkpoint").mkdir()


def _saved(content: object) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()


STATE = {"state_dict": {}, "epoch": 0, "global_step": 0, "pytorch-lightning_version": "2.5.0"}
CHECKPOINTS: dict[str, tuple[bytes, str]] = {
    "a list of numbers": (_saved([1, 2]), "checkpoint/last.ckpt holds list"),
    "a record of something else": (_saved({"a": 1}), "does not fit"),
    "of another model": (_saved(STATE), "does not fit"),
    "a pickle that runs a command": (ATTACK, "checkpoint"),
    "junk": (b"junk" * 100, "checkpoint"),
    "nothing": (b"", "checkpoint"),
    "a zip archive's first bytes": (b"PK\3\4" + b"\0" * 60, "checkpoint"),
    "a pickle of a list": (pickle.dumps([1, 2]), "checkpoint"),
}

PLACES: dict[str, tuple[Callable[[Path], object], str, str]] = {
    "no such run": (lambda folder: None, "nowhere", "nowhere"),
    "a file": (lambda folder: (folder / "run").write_bytes(b"x"), "run", "run"),
    "an empty folder": (lambda folder: (folder / "run").mkdir(), "run", "config.json"),
    "a folder of something else": (lambda folder: (folder / "notes.txt").write_bytes(b"x"), ".", "config.json"),
    "a link to itself": (lambda folder: (folder / "run").symlink_to("run"), "run", "run"),
    "a device": (lambda folder: None, "/dev/zero", "/dev/zero"),
    "a very long name": (lambda folder: None, "n" * 5000, "name"),
}

COMPARISONS: dict[str, tuple[bytes, str]] = {
    "no JSON": (b"{", "config.json"),
    "a list": (b"[]", "config.json"),
    "nested too deep": (DEEP, "config.json"),
    "another thing": (b"{}", "no comparison"),
    "options that are a list": (b'{"format_version": 1, "compare": []}', "comparison|config.json"),
    "no data": (b'{"format_version": 1, "compare": {}}', "data"),
    "version 99": (b'{"format_version": 99, "compare": {}}', "version 99"),
    "version true": (b'{"format_version": true, "compare": {}}', "version"),
    "a run": (b'{"format_version": 1, "config": {}}', "no comparison"),
}


def run_cases() -> list[Case]:
    """Run folders that `predict`, `evaluate`, `train --resume` and `compare` refuse."""
    cases = []
    for place, (name, (damage, says)) in enumerate(FOLDERS.items()):
        command = ("predict", "evaluate")[place % 2]
        cases.append(Case(f"{command}: run with {name}", _damaged(damage, command, "run"), says))
    for name, (content, says) in CHECKPOINTS.items():
        resume = _resumed(lambda run, content=content: _checkpoint(run, content))
        cases.append(Case(f"resume: a checkpoint that is {name}", resume, says, adds=_adds(says)))
    for command in ("predict", "evaluate"):
        for name, (write, path, says) in PLACES.items():
            cases.append(Case(f"{command}: {name}", _built(write, command, path), says))
    for name, (content, says) in COMPARISONS.items():
        words = ("compare", "lstm", "--data", "damped-shm", "--out", "there")
        cases.append(Case(f"compare: folder with {name}", _built(_comparison(content), *words), says))
    cases.append(
        Case(
            "resume: a checkpoint that names a file to write",
            _resumed(_stealing),
            "does not fit",
            adds=_adds("does not fit"),
        )
    )
    cases.append(Case("resume: a checkpoint that is a pipe", _resumed(_piped), "no regular file|damaged"))
    words = ("train", "lstm", "--data", "damped-shm", "--out", "there")
    cases.append(Case("train: folder of something else", _built(_notes, *words, "--overwrite"), "not a run folder"))
    cases.append(Case("train: folder is a file", _built(lambda folder: (folder / "there").touch(), *words), "there"))
    cases.append(
        Case(
            "train: a run is there", _built(lambda folder: write_run_folder(folder / "there"), *words), "there already"
        )
    )
    cases.append(
        Case(
            "resume: another window",
            _damaged(_unfinished, *["train", "lstm", "--out", "run", "--resume", "--window", "9"]),
            "window",
        )
    )
    cases.append(
        Case("resume: nothing", _built(lambda folder: None, *["train", "lstm", "--out", "run", "--resume"]), "run")
    )
    sound = ("predict", "run")
    cases += [
        Case("predict: future for no covariates", _damaged(_future, *sound, "--future", "future.csv"), "no covariate"),
        Case(
            "predict: no such future", _damaged(_future, *sound, "--future", "nowhere.csv"), "nowhere.csv|no covariate"
        ),
        Case("predict: file is there", _damaged(_future, *sound, "--out", "future.csv"), "future.csv exists"),
        Case("predict: into a folder", _damaged(_future, *sound, "--out", "run", "--overwrite"), "run"),
        Case("predict: below a file", _damaged(_future, *sound, "--out", "future.csv/x.csv"), "future.csv"),
        Case("predict: unknown series", _damaged(_future, *sound, "--data", "two.csv"), "'a'"),
        Case("evaluate: unknown series", _damaged(_future, "evaluate", "run", "--data", "two.csv"), "'a'"),
    ]
    return cases


def _damaged(damage: Callable[[Path], object], *words: str) -> Callable[[Path], Arguments]:
    def build(folder: Path) -> Arguments:
        write_run_folder(folder / "run")
        damage(folder / "run")
        return list(words)

    return build


def _built(write: Callable[[Path], object], *words: str) -> Callable[[Path], Arguments]:
    def build(folder: Path) -> Arguments:
        write(folder)
        return list(words)

    return build


def _adds(says: str) -> tuple[str, ...]:
    """A checkpoint whose state does not fit is found out when the training is set up and its environment written."""
    return ("run/environment.json",) if "does not fit" in says else ()


def _resumed(damage: Callable[[Path], object]) -> Callable[[Path], Arguments]:
    return _damaged(damage, *["train", "lstm", "--out", "run", "--resume"])


def _stealing(run: Path) -> None:
    """A state of the right model whose recorder would write its next checkpoint to a file of the attacker's choice."""
    weights = safetensors.torch.load((run / "model.safetensors").read_bytes())
    state = STATE | {"state_dict": {f"model.{name}": value for name, value in weights.items()}}
    recorder = {"history": [], "best_epoch": 0, "best_loss": 1.0, "best_weights": {}, "stopped": False}
    _checkpoint(run, _saved(state | {"callbacks": {"_Recorder": recorder | {"checkpoint": "stolen.txt"}}}))


def _piped(run: Path) -> None:
    _unfinished(run)
    os.mkfifo(run / "checkpoint" / "last.ckpt")


def _checkpoint(run: Path, content: bytes) -> None:
    _unfinished(run)
    (run / "checkpoint" / "last.ckpt").write_bytes(content)


def _comparison(content: bytes) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        (folder / "there").mkdir()
        (folder / "there" / "config.json").write_bytes(content)

    return write


def _notes(folder: Path) -> None:
    (folder / "there").mkdir()
    (folder / "there" / "notes.txt").write_text("mine")


def _future(run: Path) -> None:
    (run.parent / "future.csv").write_bytes(lines("ds,x", "240,1", "241,2", "242,3"))
    (run.parent / "two.csv").write_bytes(
        lines("unique_id,ds,y", *(f"{name},{n},{n}" for name in "ab" for n in range(60)))
    )
