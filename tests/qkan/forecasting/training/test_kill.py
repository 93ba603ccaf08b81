"""A run that is killed at random moments and resumed ends exactly as one that was left alone."""

import json
import random
import signal
import time
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest
import torch
from tiny_runs import train_in_child
from warm_processes import warm_context

KILLS = 6  # `make torture` kills 30


def results(out: Path) -> dict[str, bytes]:
    return {name: (out / name).read_bytes() for name in ("model.safetensors", "history.csv", "predictions.csv")}


def check_whole(out: Path) -> None:
    """Every file that exists is a whole one."""
    for path in out.glob("*.json"):
        json.loads(path.read_text())
    if (out / "checkpoint" / "last.ckpt").exists():
        torch.load(out / "checkpoint" / "last.ckpt", weights_only=True)


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs a system with SIGKILL")
def test_kills_at_random_moments_change_nothing(tmp_path):
    def start(out: Path) -> BaseProcess:
        process = warm_context().Process(target=train_in_child, args=(str(out), out.exists()))
        process.start()
        return process

    undisturbed = start(tmp_path / "undisturbed")  # the first process also waits for the imports: it is not timed
    undisturbed.join()
    began = time.monotonic()
    start(tmp_path / "timed").join()
    duration = time.monotonic() - began
    expected = results(tmp_path / "undisturbed")
    assert results(tmp_path / "timed") == expected

    moments, kills, runs, amid_training = random.Random(0), 0, 0, 0
    while kills < KILLS:
        out = tmp_path / f"run{runs}"
        process = start(out)
        process.join(timeout=moments.uniform(0, duration))
        if process.is_alive():
            process.kill()
            process.join()
            kills += 1
            amid_training += (out / "checkpoint" / "last.ckpt").exists() and not (out / "history.csv").exists()
            check_whole(out)
        else:
            assert process.exitcode == 0
        if (out / "manifest.json").exists():
            assert results(out) == expected
            runs += 1
    assert amid_training >= 1
    if (out := tmp_path / f"run{runs}").exists():
        process = start(out)
        process.join()
        assert process.exitcode == 0
        assert results(out) == expected
        assert not list(out.rglob("*.tmp"))
