"""What a user sees while a model trains: a live bar on a terminal, plain lines anywhere else."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any

import click

from qkan.cli.sketch import MOST_LETTERS, training_lines

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.live import Live
    from rich.progress import Progress as Bar
    from rich.text import Text

    from qkan.forecasting.training.objective import Glimpse

REFRESHES = 4  # of a view of a training, a second
LOOKING_SHARE = 0.02  # of the training time that may go into looking at forecasts
MOST_LOSSES = 2_000  # that are kept; of more, the means of two
PLAIN_LINES = 20  # about as many lines does a training print where there is no terminal


class _Display:
    """A rich progress bar on a terminal that is taken down whatever happens; ``None`` where there is no terminal."""

    def __init__(self) -> None:
        self.bar: Bar | None = None
        self.live: Live | None = None
        self.began, self.done_before = time.monotonic(), 0

    def __enter__(self) -> Any:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Take the bar down, and what stands below it."""
        if self.live is not None:
            self.live.stop()
        elif self.bar is not None:
            self.bar.stop()

    def open(self, fields: str) -> None:
        """Start the clock and, on a terminal, the bar; ``fields`` is the text that follows its percentage."""
        self.began = time.monotonic()
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

        console = Console()
        if console.is_terminal and not console.is_dumb_terminal:
            columns = (TextColumn("{task.description}"), BarColumn(), TextColumn(fields))
            times = (TextColumn("elapsed"), TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn())
            self.bar = Progress(*columns, *times, console=console)
            self.show(console)

    def show(self, console: Console) -> None:
        """Show the bar."""
        if self.bar is not None:
            self.bar.start()

    def left(self, done: int, total: int) -> str:
        """Estimate the time left from the units done in this session."""
        here = done - self.done_before
        seconds = round((time.monotonic() - self.began) / here * (total - done)) if here else 0
        return f"{seconds // 60}:{seconds % 60:02d}"


class TrainingDisplay(_Display):
    """Shows one training run; a context manager that implements `LiveProgress` of the training.

    On a terminal with room for it: the bar, the loss, the validation loss beside that of naive, and a sketch of the
    forecasts of the newest validation values.
    """

    def __init__(self) -> None:
        super().__init__()
        self.starts = 0
        self.losses: list[float] = []
        self.validation: list[float] = []
        self.naive = math.nan
        self.curves: Any = None
        self.drawing = True
        self.looked_at, self.looking_took = -math.inf, 0.0

    def show(self, console: Console) -> None:
        """Show the bar with what stands below it, which is drawn anew a few times a second."""
        from rich.live import Live

        self.losses, self.validation, self.curves = [], [], None
        self.live = Live(get_renderable=self.view, console=console, refresh_per_second=REFRESHES)
        self.live.start()

    def trials_start(self, trials: int, done: int = 0) -> None:
        """Show the empty bar of the trials, or the part that is on disk already."""
        self.trials, self.trials_done, self.done_before = trials, done, done
        self.open("trial {task.completed:.0f}/{task.total:.0f}  {task.fields[last]}")
        if self.bar is not None:
            self.task = self.bar.add_task("tuning  ", total=trials, completed=done, last="")
        elif done:
            click.echo(f"{done} of {trials} trials are on disk already")

    def trial(self, row: Mapping[str, Any]) -> None:
        """Move the bar, or print a line."""
        self.trials_done += 1
        last = f"lr {row['lr']:g}  validation {row['validation_loss']:.4g}"
        if self.bar is not None:
            self.bar.update(self.task, advance=1, last=last)
        else:
            left = self.left(self.trials_done, self.trials)
            click.echo(f"trial {self.trials_done}/{self.trials}  {last}  left {left}")

    def trials_finish(self) -> None:
        """Take the bar of the trials down."""
        self.close()
        self.bar = self.live = None

    def start(self, epochs: int, steps: int, done: int = 0) -> None:
        """Show the empty bar, or the part that was done before an interruption."""
        self.epochs, self.steps, self.epochs_done, self.done_before = epochs, steps, done, done
        self.starts += 1
        self.open("epoch {task.fields[epoch]}/{task.fields[epochs]}  loss {task.fields[loss]}")
        if self.bar is not None:
            self.task = self.bar.add_task(
                "training" if self.starts == 1 else f"start {self.starts} ",
                total=epochs * steps,
                completed=done * steps,
                epoch=done + 1,
                epochs=epochs,
                loss=f"{'-':<9}",
            )
            return
        if self.starts > 1:
            click.echo(f"start {self.starts}, from other weights")
        if done:
            click.echo(f"resuming after epoch {done} of {epochs}")

    def step(self, loss: float, count: int = 1) -> None:
        """Move the bar."""
        if self.bar is not None:
            self.losses.append(loss)
            if len(self.losses) > MOST_LOSSES:
                self.losses = [sum(pair) / 2 for pair in zip(self.losses[::2], self.losses[1::2], strict=False)]
            self.bar.update(self.task, advance=count, loss=f"{loss:<9.4g}", epoch=self.epochs_done + 1)

    def epoch(self, metrics: Mapping[str, float]) -> None:
        """Without a terminal, print a line for this epoch unless there would be too many of them."""
        self.epochs_done = round(metrics["epoch"])
        every = -(-self.epochs // PLAIN_LINES)
        if self.bar is not None:
            self.validation += [metrics["val_loss"]] if "val_loss" in metrics else []
        elif self.epochs_done % every == 0 or self.epochs_done == self.epochs:
            validation = f"  validation {metrics['val_loss']:.4g}" if "val_loss" in metrics else ""
            click.echo(
                f"epoch {self.epochs_done}/{self.epochs}  loss {metrics['train_loss']:.4g}{validation}  "
                f"left {self.left(self.epochs_done, self.epochs)}"
            )

    def look(self, view: Glimpse) -> None:
        """Take a look at the model if the last one is so long ago that the training does not feel it."""
        now = time.monotonic()
        pause = max(1 / REFRESHES, self.looking_took / LOOKING_SHARE)
        if self.live is None or not self.drawing or now - self.looked_at < pause:
            return
        try:
            if math.isnan(self.naive):
                self.naive = view.naive_loss
            self.curves = view.forecasts(2 * MOST_LETTERS)
        except Exception as error:  # noqa: BLE001  (of memory, say: a drawing is no reason to lose a training)
            self._draw_no_more(error)
            return
        self.looked_at = time.monotonic()
        self.looking_took = self.looked_at - now

    def lbfgs_start(self, steps: int) -> None:
        """Show a bar of the finish below that of the epochs."""
        self.lbfgs_steps, self.lbfgs_done, self.done_before = steps, 0, 0
        self.open("step {task.completed:.0f}/{task.total:.0f}  loss {task.fields[loss]}")
        if self.bar is not None:
            self.task = self.bar.add_task("finish  ", total=steps, loss=f"{'-':<9}")

    def lbfgs_step(self, done: int, loss: float, val_loss: float) -> None:
        """Move the bar; without a terminal, print a line unless there would be too many of them."""
        before, self.lbfgs_done = self.lbfgs_done, done
        every = -(-self.lbfgs_steps // PLAIN_LINES)
        if self.bar is not None:
            self.losses.append(loss)
            self.validation.append(val_loss)
            self.bar.update(self.task, completed=done, loss=f"{loss:<9.4g}")
        elif done // every > before // every or done == self.lbfgs_steps:
            click.echo(
                f"finish, step {done}/{self.lbfgs_steps}  loss {loss:.4g}  validation {val_loss:.4g}  "
                f"left {self.left(done, self.lbfgs_steps)}"
            )

    def lbfgs_finish(self) -> None:
        """Say so if the finish ended before its last step."""
        self.curves = None
        self.close()
        if self.lbfgs_done < self.lbfgs_steps:
            click.echo(f"finish ended early after step {self.lbfgs_done} of {self.lbfgs_steps}")

    def view(self) -> RenderableType:
        """What a terminal shows now."""
        from rich.console import Group

        below: Sequence[Text] = ()
        if self.live is not None and self.drawing:
            try:
                below = list(training_lines(self, self.live.console))
            except Exception as error:  # noqa: BLE001  (as above)
                self._draw_no_more(error)
        return Group(self.bar or "", *below)

    def _draw_no_more(self, error: Exception) -> None:
        self.drawing, self.curves = False, None
        logging.getLogger(__name__).warning("losses and forecasts are not drawn any more: %s", error)

    def finish(self) -> None:
        """Say so if training ended before its last epoch."""
        self.curves = None  # the sketch goes; the lines of losses stay
        self.close()
        if self.epochs_done < self.epochs:
            click.echo(f"stopped early after epoch {self.epochs_done} of {self.epochs}")


class ComparisonDisplay(_Display):
    """Shows a comparison; a context manager that implements :class:`qkan.forecasting.CompareProgress`."""

    fitted: str | None = None

    def baseline(self, name: str, done: int, total: int) -> None:
        """Show which baseline is fitted and how far it is; without a terminal, print a line when it is done."""
        if self.fitted is None:
            self.open("{task.completed:.0f}/{task.total:.0f}  {task.fields[last]}")
        if self.bar is not None:
            if self.fitted is None:
                self.task = self.bar.add_task("baselines", total=total, last=name)
            self.bar.update(self.task, completed=done, total=total, last=name)
        elif done == total:
            click.echo(f"baseline {name} fitted")
        self.fitted = name

    def start(self, runs: int, done: int = 0) -> None:
        """Show the empty bar, or the part that is on disk already."""
        self.runs, self.runs_done, self.done_before = runs, done, done
        self.close()
        self.open("run {task.completed:.0f}/{task.total:.0f}  {task.fields[last]}")
        if self.bar is not None:
            self.task = self.bar.add_task("comparing", total=runs, completed=done, last="")
        elif done:
            click.echo(f"{done} of {runs} runs are on disk already")

    def run(self, record: Mapping[str, Any]) -> None:
        """Count the run and show what it was."""
        self.runs_done += 1
        last = "  ".join(f"{name} {record[name]}" for name in ("cell", "hidden_size", "lr", "seed") if name in record)
        if self.bar is not None:
            self.bar.update(self.task, advance=1, last=last)
        else:
            click.echo(f"run {self.runs_done}/{self.runs}  {last}  left {self.left(self.runs_done, self.runs)}")

    def finish(self) -> None:
        """Take the bar down."""
        self.close()


class SearchDisplay(_Display):
    """Shows a search; a context manager that implements :class:`qkan.forecasting.automatic.trials.SearchProgress`."""

    def start(self, candidates: int, seconds: float | None) -> None:
        """Show the empty bar."""
        self.candidates, self.done = candidates, 0
        self.open("{task.fields[trying]}")
        if self.bar is not None:
            self.task = self.bar.add_task("trying", total=candidates + 1, trying="")

    def trying(self, name: str) -> None:
        """Name what is tried."""
        if self.bar is not None:
            self.bar.update(self.task, trying=name)

    def tried(self, name: str, error: float | None, note: str = "") -> None:
        """Print a line for every candidate, and move the bar."""
        self.done += 1
        line = f"{name:<20} left out: {note}"
        if error is not None:
            line = f"{name:<20} mean absolute error {error:.4g}{f'  ({note})' if note else ''}"
        if self.bar is None:
            click.echo(line)
            return
        self.bar.console.print(line, markup=False, highlight=False)
        self.bar.update(self.task, completed=min(self.done, self.candidates))

    def finish(self) -> None:
        """Take the bar down."""
        self.close()


class ImportDisplay(_Display):
    """Shows an import; a context manager that implements :class:`qkan.datasets.milan.importer.ImportProgress`."""

    def start(self, days: int, done: int) -> None:
        """Show the empty bar, or the days that are there from an interrupted import."""
        self.days, self.days_done, self.done_before, self.rows_read = days, done, done, 0
        self.open("day {task.completed:.0f}/{task.total:.0f}  {task.fields[rows]:,} rows")
        if self.bar is not None:
            self.task = self.bar.add_task("importing", total=days, completed=done, rows=0)
        if done:
            click.echo(f"{done} of {days} days are on disk already")

    def rows(self, count: int) -> None:
        """Count rows."""
        self.rows_read += count
        if self.bar is not None:
            self.bar.update(self.task, rows=self.rows_read)

    def day(self, day: str, rows: int) -> None:
        """Move the bar, or print a line."""
        self.days_done += 1
        if self.bar is not None:
            self.bar.update(self.task, advance=1)
        else:
            click.echo(
                f"day {self.days_done}/{self.days}  {day}  {rows:,} rows  left {self.left(self.days_done, self.days)}"
            )


class PrepareDisplay(_Display):
    """Shows a preparation; implements :class:`qkan.datasets.panel.prepare.PrepareProgress`."""

    def start(self, parts: int, done: int) -> None:
        """Show the empty bar, or the parts that are there from an interrupted preparation."""
        self.parts, self.parts_done, self.done_before = parts, done, done
        self.open("part {task.completed:.0f}/{task.total:.0f}")
        if self.bar is not None:
            self.task = self.bar.add_task("preparing", total=parts, completed=done)
        if done:
            click.echo(f"{done} of {parts} parts are on disk already")

    def part(self) -> None:
        """Move the bar, or print a line unless there would be too many."""
        self.parts_done += 1
        if self.bar is not None:
            self.bar.update(self.task, advance=1)
        elif self.parts_done % -(-self.parts // PLAIN_LINES) == 0 or self.parts_done == self.parts:
            click.echo(f"part {self.parts_done}/{self.parts}  left {self.left(self.parts_done, self.parts)}")


class FetchDisplay(_Display):
    """Shows a download; a context manager that implements :class:`qkan.datasets.milan.fetch.FetchProgress`."""

    def start(self, files: int, size: int) -> None:
        """Show the empty bar."""
        self.files, self.files_done = files, 0
        self.sizes: dict[str, int] = {}
        self.open("{task.completed:,.0f} of {task.total:,.0f} bytes  {task.fields[name]}")
        if self.bar is not None:
            self.task = self.bar.add_task("downloading", total=size, name="")
        else:
            click.echo(f"{files} {'file' if files == 1 else 'files'}, {size:,} bytes")

    def at(self, name: str, done: int) -> None:
        """Move the bar to what is on disk of all files."""
        self.sizes[name] = done
        if self.bar is not None:
            self.bar.update(self.task, completed=sum(self.sizes.values()), name=name)

    def complete(self, name: str, fetched: bool) -> None:
        """Without a terminal, print a line."""
        self.files_done += 1
        if self.bar is None:
            how = "downloaded and verified" if fetched else "there already, verified"
            click.echo(f"file {self.files_done}/{self.files}  {name}  {how}")
