"""The displays: plain lines without a terminal, a bar on one, with losses and forecasts below it."""

import math

import click
import numpy as np
import pytest
from rich.console import Console

from qkan.cli import progress
from qkan.cli.progress import ComparisonDisplay, TrainingDisplay
from qkan.cli.sketch import sketch, sparkline, training_lines
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


def finish(display: TrainingDisplay, steps: int, clock: list[float], last: int | None = None) -> None:
    """Report a finish, ten seconds every ten steps."""
    display.lbfgs_start(steps)
    for done in range(10, (last or steps) + 1, 10):
        clock[0] += 10
        display.lbfgs_step(done, 0.5, 0.25)
    display.lbfgs_finish()


def test_a_finish_prints_lines_as_the_epochs_do(clock: list[float], capsys: pytest.CaptureFixture[str]) -> None:
    """At most twenty, with losses and its own time left; what ends it early is said."""
    with TrainingDisplay() as display:
        train(display, 1, clock)
        finish(display, 1000, clock, last=970)
        train(display, 1, clock)
        finish(display, 40, clock)
    lines = capsys.readouterr().out.splitlines()
    assert lines[1] == "finish, step 50/1000  loss 0.5  validation 0.25  left 15:50"
    assert lines[19:21] == [
        "finish, step 950/1000  loss 0.5  validation 0.25  left 0:50",
        "finish ended early after step 970 of 1000",
    ]
    assert lines[21] == "start 2, from other weights"
    assert lines[23:] == [
        f"finish, step {done}/40  loss 0.5  validation 0.25  left 0:{40 - done:02d}" for done in range(10, 50, 10)
    ]


class View:
    """A look at a model that counts how often it is taken."""

    naive_loss = 0.5

    def __init__(self) -> None:
        self.looks = 0

    def forecasts(self, points: int) -> tuple[np.ndarray, np.ndarray]:
        self.looks += 1
        wave = np.sin(np.arange(40) / 4)
        return wave[:points], wave[:points] + 1


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"FORCE_COLOR": "1", "COLUMNS": "100", "LINES": "40", "TERM": "xterm"}.items():
        monkeypatch.setenv(name, value)


@pytest.mark.usefixtures("terminal")
def test_a_terminal_shows_losses_and_forecasts(clock: list[float], capsys: pytest.CaptureFixture[str]) -> None:
    """The validation loss stands beside that of naive; when training ends the sketch goes and the losses stay."""
    view = View()
    with TrainingDisplay() as display:
        display.start(3, 2)
        for epoch in range(1, 4):
            clock[0] += 10
            display.step(0.5 / epoch, 2)
            display.epoch({"epoch": float(epoch), "train_loss": 0.25, "val_loss": 0.3 - epoch / 20, "lr": 0.01})
            display.look(view)
        assert display.live is not None
        display.live.refresh()
        during = click.unstyle(capsys.readouterr().out)
        display.finish()
    after = click.unstyle(capsys.readouterr().out)
    assert "forecast    in colour over the newest validation values" in during
    assert "validation  █▆▁ 0.15, 30 % of naive's 0.5" in during.replace("▅", "▆")
    assert "loss        █" in after
    assert "over the newest" not in after
    assert view.looks == 3


@pytest.mark.usefixtures("terminal")
def test_a_finish_has_a_bar_and_a_sketch_of_its_own(clock: list[float], capsys: pytest.CaptureFixture[str]) -> None:
    with TrainingDisplay() as display:
        train(display, 3, clock)
        capsys.readouterr()
        display.lbfgs_start(20)
        for done, val_loss in ((10, 0.3), (20, 0.1)):
            clock[0] += 10
            display.lbfgs_step(done, val_loss, val_loss)
            display.look(View())
        assert display.live is not None
        display.live.refresh()
        during = click.unstyle(capsys.readouterr().out)
        display.lbfgs_finish()
    after = click.unstyle(capsys.readouterr().out)
    assert "step 20/20  loss 0.1" in during
    assert "over the newest validation values" in during
    assert "validation  █▁ 0.1, 20 % of naive's 0.5" in after
    assert "ended early" not in after


@pytest.mark.usefixtures("terminal")
def test_looking_takes_a_small_share_of_the_time(clock: list[float]) -> None:
    """A look that takes a second is taken every 50 seconds, a quick one at most as often as the view is drawn."""

    class Slow(View):
        def forecasts(self, points: int) -> tuple[np.ndarray, np.ndarray]:
            clock[0] += 1
            return super().forecasts(points)

    with TrainingDisplay() as display:
        display.start(1000, 1)
        slow, quick = Slow(), View()
        for _ in range(200):
            clock[0] += 1
            display.look(slow)
        assert slow.looks == 4
        clock[0] += 100
        display.look(quick)
        for _ in range(100):
            clock[0] += 0.02
            display.look(quick)
        assert quick.looks == 1 + 7


@pytest.mark.usefixtures("terminal")
def test_a_look_that_fails_ends_the_looking_and_not_the_training(
    clock: list[float], caplog: pytest.LogCaptureFixture
) -> None:
    class Broken(View):
        def forecasts(self, points: int) -> tuple[np.ndarray, np.ndarray]:
            self.looks += 1
            raise RuntimeError("out of memory")

    with TrainingDisplay() as display:
        display.start(3, 1)
        broken = Broken()
        for _ in range(3):
            clock[0] += 10
            display.look(broken)
    assert broken.looks == 1
    assert display.curves is None
    said = "losses and forecasts are not drawn any more: out of memory"
    assert [record.getMessage() for record in caplog.records] == [said]


@pytest.mark.usefixtures("terminal")
def test_a_drawing_that_fails_leaves_the_bar(clock: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*given: object) -> None:
        raise ValueError("no such letter")

    monkeypatch.setattr("qkan.cli.progress.training_lines", broken)
    with TrainingDisplay() as display:
        train(display, 3, clock)
        assert display.bar is not None
        assert display.bar.tasks[display.task].completed == 6


def test_without_a_terminal_nobody_looks(clock: list[float], capsys: pytest.CaptureFixture[str]) -> None:
    view = View()
    with TrainingDisplay() as display:
        display.start(1, 1)
        display.look(view)
        display.finish()
    assert view.looks == 0


def shown(console: Console) -> list[str]:
    """What stands below the bar of a training on a console."""
    display = TrainingDisplay()
    display.losses, display.validation, display.naive, display.curves = [2.0, 1.0], [3.0], 4.0, View().forecasts(40)
    with console.capture() as capture:
        console.print(*training_lines(display, console), sep="\n")
    return capture.get().splitlines()


def test_what_is_shown_fits_the_terminal() -> None:
    """No colours: the forecast is of letters o. No height: no sketch. No width, or no letters for it: the bar alone."""
    plain = shown(Console(width=80, height=40, force_terminal=True, no_color=True))
    assert not any("\x1b[3" in line for line in plain)
    plain = list(map(click.unstyle, plain))
    assert plain[2] == "forecast    of o over the newest validation values"
    assert len(plain) == 9
    assert "o" in "".join(plain[3:])
    coloured = shown(Console(width=80, height=40, force_terminal=True, color_system="standard"))
    assert any("36m" in line for line in coloured[3:])
    narrow = shown(Console(width=40, height=40, force_terminal=True, no_color=True))
    assert max(len(click.unstyle(line)) for line in narrow) <= 40
    assert len(shown(Console(width=80, height=10, force_terminal=True))) == 2
    assert not any(shown(Console(width=24, height=40, force_terminal=True)))


def test_sparklines_follow_logarithms_of_losses() -> None:
    assert sparkline([100.0, 10.0, 1.0], 10) == "█▅▁"
    assert sparkline([-1.0, 0.0, 1.0], 10) == "▁▅█"
    assert sparkline([1.0, math.nan, 1.0], 10) == "▁ ▁"
    assert sparkline([1.0] * 100, 7) == "▁" * 7
    assert sparkline([], 7) == ""
    assert sparkline([math.inf], 7) == " "


def test_a_sketch_joins_dots_and_knows_whose_they_are() -> None:
    lines, owned = sketch([0.0, 0.0, 0.0, 0.0], [1.0, 1.0, 1.0, 1.0], 2, 2)
    assert lines == ["⠉⠉", "⣀⣀"]
    assert owned == [[True, True], [False, False]]
    steps, _ = sketch([0.0, 1.0], [math.nan, math.nan], 1, 2)
    assert steps == ["⢸", "⡇"] or len("".join(steps)) == 2
    assert sketch([math.nan], [math.nan], 4, 2) == ([], [])
    assert sketch([1.0, 1.0], [1.0, 1.0], 1, 1)[0] == ["⠤"]


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
    assert display.live is not None
    assert display.live.is_started is False


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
