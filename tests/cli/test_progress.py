"""The displays: plain lines without a terminal, a bar on one."""

import click
import pytest

from qkan.cli import progress
from qkan.cli.progress import ComparisonDisplay, TrainingDisplay
from qkan.cli.tables import print_facts, print_rows


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Return the time, in a list that the test may change."""
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


def train(display: TrainingDisplay, epochs: int, clock: list[float], first: int = 1, last: int | None = None) -> None:
    """Report a training with two steps an epoch and ten seconds an epoch."""
    display.start(epochs, 2, first - 1)
    for epoch in range(first, (last or epochs) + 1):
        clock[0] += 10
        display.step(0.5, 2)
        display.epoch({"epoch": float(epoch), "train_loss": 0.25, "val_loss": 0.125, "lr": 0.01})
    display.finish()


def test_lines_hold_losses_and_time_left(clock: list[float], capsys: pytest.CaptureFixture[str]) -> None:
    with TrainingDisplay() as display:
        train(display, 8, clock)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "epoch 1/8  loss 0.25  validation 0.125  left 1:10"
    assert lines[-1] == "epoch 8/8  loss 0.25  validation 0.125  left 0:00"


def test_long_trainings_print_few_lines(clock: list[float], capsys: pytest.CaptureFixture[str]) -> None:
    with TrainingDisplay() as display:
        train(display, 1001, clock)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 20
    assert lines[-1].startswith("epoch 1001/1001 ")


def test_time_left_counts_this_session_only(clock: list[float], capsys: pytest.CaptureFixture[str]) -> None:
    with TrainingDisplay() as display:
        train(display, 10, clock, first=9)
    assert capsys.readouterr().out.splitlines() == [
        "resuming after epoch 8 of 10",
        "epoch 9/10  loss 0.25  validation 0.125  left 0:10",
        "epoch 10/10  loss 0.25  validation 0.125  left 0:00",
    ]


def test_early_stop_is_said(clock: list[float], capsys: pytest.CaptureFixture[str]) -> None:
    with TrainingDisplay() as display:
        train(display, 10, clock, last=4)
    assert capsys.readouterr().out.splitlines()[-1] == "stopped early after epoch 4 of 10"


def test_without_a_validation_part_there_is_no_such_loss(
    clock: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    with TrainingDisplay() as display:
        display.start(1, 1)
        display.epoch({"epoch": 1.0, "train_loss": 0.25, "lr": 0.01})
    assert capsys.readouterr().out == "epoch 1/1  loss 0.25  left 0:00\n"


def test_a_terminal_gets_a_bar(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "160")
    monkeypatch.setenv("TERM", "xterm")
    with TrainingDisplay() as display:
        train(display, 3, [0.0])
        assert display.bar is not None
        assert display.bar.tasks[display.task].completed == 6
    output = capsys.readouterr().out
    assert "epoch 3/3" in output
    assert "loss 0.5" in output
    assert "left" in output


def test_tables_fit_the_terminal(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    monkeypatch.setenv("COLUMNS", "40")
    print_facts({"data": "a long description that must be broken into lines"})
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) > 1
    assert max(map(len, lines)) <= 40


def test_columns_that_do_not_fit_go_on_below(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    monkeypatch.setenv("COLUMNS", "40")
    rows = [["qkan", "0.3612 (0.3169 to 0.4056)", "121"], ["naive", "0.131", "0"]]
    print_rows(["cell", "MAE", "parameters"], rows, title="errors")
    plain = click.unstyle(capsys.readouterr().out)
    assert [line.split() for line in plain.splitlines() if line.strip(" ─")] == [
        ["errors"],
        ["cell", "MAE"],
        ["qkan", "0.3612", "(0.3169", "to", "0.4056)"],
        ["naive", "0.131"],
        ["cell", "parameters"],
        ["qkan", "121"],
        ["naive", "0"],
    ]


def test_columns_stay_together_where_there_is_room(capsys: pytest.CaptureFixture[str]) -> None:
    print_rows(["cell", "MAE", "parameters"], [["qkan", "0.3612", "121"]])
    assert [line.split() for line in capsys.readouterr().out.splitlines() if line.strip(" ─")] == [
        ["cell", "MAE", "parameters"],
        ["qkan", "0.3612", "121"],
    ]


def test_a_bar_is_taken_down_by_an_error(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    with pytest.raises(KeyboardInterrupt), TrainingDisplay() as display:  # noqa: PT012
        display.start(3, 2)
        raise KeyboardInterrupt
    assert display.bar is not None
    assert display.bar.live.is_started is False


RECORD = {"cell": "qkan", "hidden_size": 3, "lr": 0.01, "seed": 1, "test_mae": 13.0}


def test_comparison_lines_name_the_run(clock: list[float], capsys: pytest.CaptureFixture[str]) -> None:
    with ComparisonDisplay() as display:
        display.start(5, 2)
        clock[0] += 30
        display.run(RECORD)
        display.finish()
    assert capsys.readouterr().out.splitlines() == [
        "2 of 5 runs are on disk already",
        "run 3/5  cell qkan  hidden_size 3  lr 0.01  seed 1  left 1:00",
    ]


def test_comparison_on_a_terminal_gets_a_bar(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "160")
    with ComparisonDisplay() as display:
        display.start(5, 2)
        display.run(RECORD)
        display.finish()
        assert display.bar is not None
        assert display.bar.tasks[display.task].completed == 3
    assert "run 3/5" in capsys.readouterr().out
