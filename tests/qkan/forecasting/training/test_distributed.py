import io
import os
import re
import shutil
import signal
import socket
import sys
from dataclasses import replace
from pathlib import Path
from unittest.mock import ANY

import numpy as np
import pandas as pd
import pytest
import torch
from several_processes import CASES, panel, panel_config, trained
from tiny_runs import BARE, BARE_FLAGS, tiny_config
from warm_processes import WarmProcess

from qkan.datasets import prepare_panel
from qkan.forecasting import build_forecaster, train
from qkan.forecasting.training.distributed import rank_of, trainer_options, training_device
from qkan.forecasting.training.loop import fit

ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}


def close(one: dict, other: dict) -> None:
    torch.testing.assert_close(one["weights"], other["weights"], rtol=1e-5, atol=1e-5)
    assert len(one["history"]) == len(other["history"])
    for mine, yours in zip(one["history"], other["history"], strict=True):
        assert mine == pytest.approx(yours, rel=1e-5)
    assert one["best"] == other["best"]


def made_panel(folder: Path) -> Path:
    """A panel of four series, 190 values, in a folder that is given back."""
    lengths, draw = (40, 50, 45, 55), np.random.default_rng(0)
    owner = np.repeat(np.arange(4), lengths)
    table = {"unique_id": owner, "ds": np.concatenate([np.arange(n) for n in lengths]), "y": draw.normal(size=190)}
    pd.DataFrame(table).to_parquet(folder / "table.parquet", index=False)
    prepare_panel(folder / "table.parquet", folder / "panel", part_rows=60)
    return folder


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return free.getsockname()[1]


def test_two_processes_end_like_one_and_resume_each_other(tmp_path: Path) -> None:
    """Started as by torchrun; the command line starts its second process itself, in the test of Ctrl-C below."""
    single = {name: trained(config, tmp_path / f"one-{name}") for name, config in CASES.items()}
    of_panel = train(panel_config(made_panel(tmp_path)), tmp_path / "one-panel")
    shutil.copy(tmp_path / "one-masked.first", tmp_path / "two-resumed")
    group = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port()), "TORCHELASTIC_RUN_ID": "x", "WORLD_SIZE": "2"}
    command = ["several_processes", tmp_path]
    ranks = ({**ENVIRONMENT, **group, "RANK": rank, "LOCAL_RANK": rank} for rank in "01")
    with WarmProcess(command, environment=next(ranks)) as one, WarmProcess(command, environment=next(ranks)) as other:
        for process in (one, other):
            process.wait(500)
            assert process.returncode == 0, process.stderr.read().decode()
    first, second = (torch.load(tmp_path / f"results{rank}.pt", weights_only=True) for rank in (0, 1))
    for name, expected in single.items():
        close(first[name], expected)
        torch.testing.assert_close(second[name], first[name], rtol=0, atol=0)
    torch.testing.assert_close(first["panel"]["weights"], of_panel.model.state_dict(), rtol=1e-5, atol=1e-5)
    assert first["panel"] == {"weights": ANY, "mapped": [90, 100]}  # each process the series of its own shard
    assert of_panel.metrics["mapped_values"] == [190]
    close(first["resumed"], single["masked"])
    shutil.copy(tmp_path / "two-masked.first", tmp_path / "one-resumed")
    close(trained(CASES["masked"], tmp_path / "one-resumed"), single["masked"])


def test_ctrl_c_ends_all_processes_and_one_process_goes_on(tmp_path: Path) -> None:
    config = tiny_config(epochs=12, batch_size=9, lr=0.03)
    whole = train(config, tmp_path / "whole")
    options = "--data damped-shm --window 4 --device cpu --cell lstm --hidden-size 2 --epochs 12 --batch-size 9"
    devices = ["--devices", "2", "--out", "run"]
    command = ["qkan.cli", "train", "lstm", *options.split(), *BARE_FLAGS, *devices]
    process = WarmProcess(command, environment=ENVIRONMENT, folder=tmp_path)
    shown = []
    with process:
        for line in io.TextIOWrapper(process.stdout):
            shown.append(line)
            if line.startswith("epoch 2/12"):
                process.send_signal(signal.SIGINT)
                break
        errors = process.stderr.read().decode()  # ends when no process holds the other end of the pipe any more
        process.wait(120)
    assert process.returncode == 130
    assert errors.strip().splitlines()[-1] == "Interrupted. Go on with: qkan train lstm --out run --resume"
    assert "rocess" not in errors  # the second process says nothing
    assert "".join(shown).count("run folder") == "".join(shown).count("epoch 1/12") == 1
    assert any("on cpu with 2 processes" in line for line in shown)
    resumed = train(config, tmp_path / "run", resume=True)
    assert len(resumed.history) == 12
    torch.testing.assert_close(resumed.model.state_dict(), whole.model.state_dict(), rtol=1e-5, atol=1e-5)
    assert resumed.config == config


@pytest.mark.parametrize("cell", ["lstm", "qkan"])
def test_bfloat16_is_near_float32(cell: str) -> None:
    config = replace(CASES["precise"], **BARE, cell=cell, hidden_size=4, epochs=8, patience=8)
    losses = []
    for precision in ("32-true", "bf16-mixed"):
        model = build_forecaster(config, torch.Generator().manual_seed(0))
        result = fit(model, panel(config, 23, 0), panel(config, 3, 1), replace(config, precision=precision))
        losses.append([row["train_loss"] for row in result.history])
        assert {value.dtype for value in model.state_dict().values()} == {torch.float32}
    assert losses[0] != losses[1]
    assert losses[1] == pytest.approx(losses[0], rel=0.03)
    assert losses[1][-1] < losses[1][0] / 2


def test_double_precision_trains_a_model_that_stays_single() -> None:
    config = CASES["precise"]
    model, seen = build_forecaster(config, torch.Generator().manual_seed(0)), set()
    model.register_forward_hook(lambda module, inputs, output: seen.add((inputs[0].dtype, output.dtype)))
    fit(model, panel(config, 23, 0), panel(config, 3, 1), config)
    assert seen == {(torch.float64, torch.float64)}
    assert {value.dtype for value in model.state_dict().values()} == {torch.float32}


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"devices": 0}, "devices must be an integer between 1 and 1024, got 0"),
        ({"num_nodes": 0}, "num_nodes must be an integer between 1 and 10000, got 0"),
        ({"precision": "8"}, "unknown precision '8'; choose one of 32-true, bf16-mixed, 16-mixed, 64-true"),
        ({"shards": 3, "devices": 2}, "shards must be 1 or a multiple of the 2 processes, got 3; use shards=4"),
    ],
)
def test_bad_options(options: dict, sentence: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(sentence)}$"):
        tiny_config(**options)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"devices": 65}, "devices=65 are more than the 64 CPU cores of this machine; use devices=64"),
        (
            {"precision": "16-mixed"},
            "precision='16-mixed' needs a CUDA device, and device='cpu' is the CPU here; use precision='bf16-mixed' or "
            "precision='32-true'",
        ),
        (
            {"num_nodes": 2},
            "num_nodes=2 needs torchrun or SLURM's srun on every node, or the environment variable MASTER_ADDR; use "
            "one of them or num_nodes=1",
        ),
    ],
)
def test_what_this_machine_cannot_do(
    options: dict, sentence: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    with pytest.raises(ValueError, match=f"^{re.escape(sentence)}$"):
        train(tiny_config(**options), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_what_these_cuda_devices_cannot_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: False)
    for options, sentence in (
        ({"devices": 5}, "devices=5 are more than the 4 CUDA devices of this machine; use devices=4"),
        ({"devices": 2, "device": "cuda:1"}, "device='cuda:1' is one device, devices=2 more; use device='cuda'"),
        (
            {"precision": "bf16-mixed"},
            "precision='bf16-mixed' is beyond this CUDA device; use precision='16-mixed'",
        ),
    ):
        with pytest.raises(ValueError, match=f"^{re.escape(sentence)}$"):
            training_device(tiny_config(**{"device": "auto", **options}))


def test_an_interactive_session_has_no_script_to_start_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(sys.modules["__main__"], "__file__", raising=False)  # nor have processes of a test run
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    with pytest.raises(ValueError, match="an interactive session has none; write a script, use the command line"):
        training_device(tiny_config(devices=2))


def set_environment(monkeypatch: pytest.MonkeyPatch, **values: object) -> None:
    for name, value in values.items():
        monkeypatch.setenv(name, str(value))


TORCHRUN = {"TORCHELASTIC_RUN_ID": "x", "WORLD_SIZE": 6, "RANK": 4, "LOCAL_RANK": 1}
SLURM = {
    "SLURM_NTASKS_PER_NODE": 3,
    "SLURM_NTASKS": 6,
    "SLURM_PROCID": 4,
    "SLURM_LOCALID": 1,
    "SLURM_NODEID": 1,
    "SLURM_JOB_NAME": "train",
}
BY_HAND = {"MASTER_ADDR": "node0", "MASTER_PORT": 12345, "NODE_RANK": 1, "LOCAL_RANK": 1}


@pytest.mark.parametrize("started_by", [TORCHRUN, SLURM, BY_HAND], ids=["torchrun", "slurm", "by hand"])
def test_processes_that_others_started_are_found(started_by: dict, monkeypatch: pytest.MonkeyPatch) -> None:
    set_environment(monkeypatch, **started_by)
    monkeypatch.setattr(os, "cpu_count", lambda: 3)
    config = tiny_config(devices=3, num_nodes=2)
    assert rank_of(config) == 4
    options = trainer_options(config, training_device(config))
    assert (options["devices"], options["num_nodes"], options["accelerator"]) == (3, 2, "cpu")
    assert options["plugins"][1].local_rank() == 1
    assert options["plugins"][1].creates_processes_externally


@pytest.mark.parametrize("started_by", [TORCHRUN, SLURM], ids=["torchrun", "slurm"])
def test_other_numbers_of_processes_are_refused(started_by: dict, monkeypatch: pytest.MonkeyPatch) -> None:
    set_environment(monkeypatch, **started_by)
    sentence = (
        "6 processes were started, and devices=2 with num_nodes=1 makes 2; "
        "start as many processes on every node as devices"
    )
    with pytest.raises(ValueError, match=f"^{re.escape(sentence)}$"):
        rank_of(tiny_config(devices=2))


def test_slurm_without_tasks_per_node_is_told_what_to_use(monkeypatch: pytest.MonkeyPatch) -> None:
    set_environment(monkeypatch, SLURM_NTASKS=6)
    sentence = "SLURM must know where the processes go: use --nodes=2 --ntasks-per-node=3 instead of --ntasks=6"
    with pytest.raises(ValueError, match=f"^{re.escape(sentence)}$"):
        rank_of(tiny_config(devices=3, num_nodes=2))
