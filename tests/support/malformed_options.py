"""Bad words on the command line."""

from __future__ import annotations

from pathlib import Path

from malformed import Case, lines, write_run_folder

TRAIN = {
    "--epochs 0": "'--epochs'.*0",
    "--epochs -5": "'--epochs'.*-5",
    "--epochs ten": "'--epochs'.*'ten'",
    "--epochs 1e3": "'--epochs'.*'1e3'",
    "--epochs 999999999": "999999999",
    "--window 0": "'--window'.*0",
    "--window 100001": "100001",
    "--window 500": "window|too short",
    "--horizon 0": "'--horizon'.*0",
    "--horizon 239": "horizon|too short",
    "--hidden-size 0": "'--hidden-size'.*0",
    "--hidden-size 5000": "5000",
    "--num-layers 33": "33",
    "--reps 0": "'--reps'.*0",
    "--batch-size 0": "'--batch-size'.*0",
    "--patience 0": "'--patience'.*0",
    "--lbfgs-steps -1": "'--lbfgs-steps'.*-1",
    "--restarts 0": "'--restarts'.*0",
    "--lr-frequencies 0": "--lr-frequencies must be above 0",
    "--lr-frequencies 2": "--lr-frequencies 2.0 has no effect: --no-preact-trainable",
    "--seed -1": "-1",
    "--seed 4294967296": "4294967296",
    "--lr 0": "lr .*0",
    "--lr nan": "nan",
    "--lr inf": "inf",
    "--lr 11": "11",
    "--lr fast": "'fast'",
    "--split 0.5,0.5": "0.5",
    "--split 0.9,0.9,0.9": "0.9",
    "--split 0.7,0.1,-0.2": "-0.2",
    "--split a,b,c": "'a,b,c'",
    "--split 0,0.5,0.5": "split",
    "--split nan,0.5,0.5": "nan",
    "--split 0.7;0.1;0.2": "0.7;0.1;0.2",
    "--cell transformer": "'transformer'",
    "--cell lstm --reps 2": "reps",
    "--cell qlstm --qubits 13": "13",
    "--cell qkan --group 0": "group",
    "--cell qkan --group some": "'some'",
    "--ansatz px": "px",
    "--ansatz quantum": "quantum",
    "--base-activation tanh9": "tanh9",
    "--scaler sturdy": "'sturdy'",
    "--loss mape": "'mape'",
    "--levels 90": "90",
    "--loss quantile --levels 100": "100",
    "--loss quantile --levels 0": "0",
    "--loss quantile --levels 90,90": "90",
    "--loss quantile --levels most": "'most'",
    "--loss quantile --strategy recursive --horizon 3": "recursive",
    "--strategy greedy": "'greedy'",
    "--device tpu": "'tpu'",
    "--device cuda:99": "cuda",
    "--calendar hour": "hour",
    "--time-col ds": "built-in",
    "--past-cols x": "built-in",
    "--series nobody": "'nobody'",
    "--resume --overwrite": "--resume and --overwrite",
    "--no-such-option": "--no-such-option",
    "--epochs": "--epochs",
    "--out /proc/no/run": "/proc",
    "--out /dev/null": "/dev/null",
    "surplus": "surplus",
}

COMPARE = {
    "--cells transformer": "'transformer'",
    "--cells lstm,lstm": "cells",
    "--cells ,": "cell",
    "--seeds 0": "'--seeds'.*0",
    "--seeds 101": "101",
    "--seeds 2 --tuning-seeds 3": "3",
    "--trials 9": "9",
    "--budget-params 0": "0",
    "--budget-params few": "'few'",
    "--budget-params 1": "smallest model",
    "--budget-params 50,50": "budget",
    "--workers 0": "'--workers'.*0",
    "--executor slurm": "'slurm'",
    "--split 0.8,0,0.2": "validation",
    "--lr 0.1": "--lr",
    "--out /dev/null": "/dev/null",
}

PREDICT = {
    "--horizon 0": "'--horizon'.*0",
    "--horizon 10001": "10001",
    "--horizon soon": "'soon'",
    "--data telecon": "'telecom'",
    "--data short.csv": "window|needs",
    "--out /proc/no/x.csv": "/proc",
    "--out /dev/full/x.csv": "/dev/full",
}

OTHER = {
    "trian lstm": "'trian'",
    "train gru": "'gru'",
    "train": "",
    "train lstm": "--data",
    "compare lstm": "--data",
    "predict": "RUN",
    "evaluate": "RUN",
    "data show": "NAME",
    "data shew telecom": "'shew'",
    "data show damped-shm --out picture.docx": "docx",
    "data show damped-shm --out nowhere/x.png": "nowhere",
    "data show damped-shm --out there.png/x.png": "there.png",
    "data show damped-shm --missing guess": "'guess'",
    "data import": "",
    "data import venice x.txt": "'venice'",
    "--verbose": "--verbose",
}


def option_cases() -> list[Case]:
    """Command lines that no file can make right."""
    cases = [
        Case(f"train lstm {words}", _words("train lstm --data damped-shm", words), says)
        for words, says in TRAIN.items()
    ]
    cases += [
        Case(f"compare lstm {words}", _words("compare lstm --data damped-shm", words), says)
        for words, says in COMPARE.items()
    ]
    cases += [Case(f"predict {words}", _run(words), says) for words, says in PREDICT.items()]
    return cases + [Case(words, _words(words, ""), says) for words, says in OTHER.items() if says]


def _words(command: str, more: str):
    def build(folder: Path) -> list[str]:
        (folder / "there.png").write_bytes(b"mine")
        return [*command.split(), *more.split()]

    return build


def _run(words: str):
    def build(folder: Path) -> list[str]:
        write_run_folder(folder / "run")
        (folder / "short.csv").write_bytes(lines("ds,y", "1,2", "2,3", "3,4"))
        return ["predict", "run", *words.split()]

    return build
