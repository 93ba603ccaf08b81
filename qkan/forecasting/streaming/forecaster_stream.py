"""The methods of a forecaster that go on value by value."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from qkan.datasets import Series
    from qkan.forecasting.runs.run import Run
    from qkan.forecasting.streaming.stream import Stream

STATE_FILE = "stream.safetensors"
"""What a run folder calls the state of its stream."""


class GoesOn:
    """What :class:`qkan.forecasting.Forecaster` does with new values one by one."""

    _series: Series | None
    _stream: Stream | None = None

    @property
    def run(self) -> Run:
        """The trained model."""
        raise NotImplementedError

    def stream(self, df: Any = None, *, state: str = "window") -> Stream:
        """Return a stream of the fitted series, which goes on from some data.

        Args:
            df: The data; ``None`` takes that of :meth:`fit`, or none for a loaded forecaster: its series begin with the
                first rows that the stream is given.
            state: As of :class:`qkan.forecasting.Stream`.

        Raises:
            DataError: the data cannot be used.
            RunError: nothing was fitted, or a series is unknown.
            ValueError: the model cannot carry its state.
        """
        from qkan.forecasting.streaming.stream import Stream

        made = Stream(self.run, state=state)
        data = self._series if df is None else df
        if data is not None:
            made.begin(data)
        return made

    def update(self, df: Any, futr_df: Any = None, level: Sequence[float] | float | None = None) -> Any:
        """Take new rows of one or many series and forecast what follows them, at constant work a value.

        The forecaster goes on from the data of :meth:`fit`, from the state that was saved with it, or else from the
        first rows that it is given. What it was fitted to stays as it is, and so does :meth:`predict`.

        Args:
            df, futr_df, level: As of :meth:`qkan.forecasting.Stream.update`.

        Returns:
            A frame as of :meth:`predict`, of the series that ``df`` has rows of.

        Raises:
            DataError, RunError, ValueError: as of :meth:`qkan.forecasting.Stream.update`; nothing was taken then.
        """
        if self._stream is None:
            self._stream = self._saved_stream() or self.stream()
        return self._stream.update(df, futr_df, level)

    def _saved_stream(self) -> Stream | None:
        """The stream whose state lies in the folder of a loaded forecaster, if there is one."""
        from qkan.forecasting.streaming.stream import Stream

        path = Path(self.run.path) / STATE_FILE
        return Stream.load(self.run, path) if path.exists() else None

    def _write_stream(self, folder: Path) -> None:
        """Leave the state of the stream in a run folder, or none."""
        (folder / STATE_FILE).unlink(missing_ok=True)
        if self._stream is not None:
            self._stream.save(folder / STATE_FILE)

    def _kept_stream(self, folder: Path) -> bool:
        """Write the stream of a loaded forecaster to the folder that it came from; return whether it is that one."""
        if self._stream is None or not folder.exists() or folder.resolve() != Path(self.run.path).resolve():
            return False
        self._stream.save(folder / STATE_FILE)
        return True
