import os
import re
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import several_processes
import torch
from several_processes import CASES, panel, trained
from tiny_runs import tiny_config

from qkan.forecasting import RunError, TrainConfig, build_forecaster, train
from qkan.forecasting.distributed import rank_of, trainer_options, training_device
from qkan.forecasting.training import fit

ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}


def close(one: dict, other: dict) -> None:
    torch.testing.assert_close(one["weights"], other["weights"], rtol=1e-5, atol=1e-5)
    assert len(one["history"]) == len(other["history"])
    for mine, yours in zip(one["history"], other["history"], strict=True):
        assert mine == pytest.approx(yours, rel=1e-5)
    assert one["best"] == other["best"]


def test_two_processes_end_like_one_and_resume_each_other(tmp_path: Path) -> None:
    single = {name: trained(config, tmp_path / f"{name}.one") for name, config in CASES.items()}
    shutil.copy(tmp_path / "masked.first", tmp_path / "masked.single")  # the single process's after one epoch
    script = several_processes.__file__
    subprocess.run([sys.executable, script, str(tmp_path)], env=ENVIRONMENT, check=True, timeout=500)
    first, second = (torch.load(tmp_path / f"results{rank}.pt", weights_only=True) for rank in (0, 1))
    for name, expected in single.items():
        close(first[name], expected)
        torch.testing.assert_close(second[name], first[name], rtol=0, atol=0)
    close(first["resumed"], single["masked"])
    # By now the copy is that of two processes after one epoch.
    close(trained(CASES["masked"], tmp_path / "masked.first"), single["masked"])


def test_ctrl_c_ends_all_processes_and_one_process_goes_on(tmp_path: Path) -> None:
    config = tiny_config(epochs=12, batch_size=9, lr=0.03)
    whole = train(config, tmp_path / "whole")
    options = "--data damped-shm --window 4 --device cpu --cell lstm --hidden-size 2 --epochs 12 --batch-size 9 --lr 0.03"
    command = [sys.executable, "-m", "qkan.cli", "train", "lstm", *options.split(), "--devices", "2", "--out", "run"]
    process = subprocess.Popen(
        command, cwd=tmp_path, env=ENVIRONMENT, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    shown = []
    for line in process.stdout:
        shown.append(line)
        if line.startswith("epoch 2/12"):
            children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
            child = int(children.read_text().split()[0]) if children.exists() else None
            process.send_signal(signal.SIGINT)
            break
    rest, errors = process.communicate(timeout=120)
    assert process.returncode == 130
    assert errors.strip().splitlines()[-1] == "Interrupted. Go on with: qkan train lstm --out run --resume"
    assert not any("process" in line for line in errors.splitlines())
    assert "".join(shown).count("epoch 1/12") == 1
    if child is not None:
        with pytest.raises(ProcessLookupError):
            os.kill(child, 0)
    resumed = train(config, tmp_path / "run", resume=True)
    assert len(resumed.history) == 12
    torch.testing.assert_close(resumed.model.state_dict(), whole.model.state_dict(), rtol=1e-5, atol=1e-5)
    assert resumed.config.devices == 1


def test_bfloat16_is_near_float32() -> None:
    config = replace(CASES["masked"], missing="refuse")
    losses = []
    for precision in ("32-true", "bf16-mixed"):
        model = build_forecaster(config, torch.Generator().manual_seed(0))
        changed = replace(config, precision=precision)
        result = fit(model, panel(config, 23, 0), panel(config, 3, 1), changed)
        losses.append([row["train_loss"] for row in result.history])
        assert {value.dtype for value in model.state_dict().values()} == {torch.float32}
    assert losses[0] != losses[1]
    assert losses[1] == pytest.approx(losses[0], rel=0.02)
    assert losses[1][-1] < losses[1][0]


def test_shards_take_equal_parts_and_every_window_once() -> None:
    pass


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"devices": 0}, "devices must be an integer between 1 and 1024, got 0"),
        ({"num_nodes": 0}, "num_nodes must be an integer between 1 and 10000, got 0"),
        (
            {"distributed": "ddp"},
            "distributed='ddp' needs several processes, and devices=1 with num_nodes=1 is one; use devices=2 or more, "
            "or leave distributed out",
        ),
        ({"distributed": "deepspeed", "devices": 2}, "unknown distributed 'deepspeed'; choose one of ddp, fsdp"),
        ({"precision": "8"}, "unknown precision '8'; choose one of 32-true, bf16-mixed, 16-mixed, 64-true"),
        ({"shards": 3, "devices": 2}, "shards must be 1 or a multiple of the 2 processes, got 3; use shards=4"),
    ],
)
def test_bad_options(options: dict, sentence: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(sentence)}$"):
        tiny_config(**options)
