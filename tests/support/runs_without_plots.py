"""The two plots that every training leaves, composed but not rendered: that takes longer than a tiny training."""

from __future__ import annotations

import base64
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

import pytest

from qkan.forecasting.io.files import write_atomic
from qkan.forecasting.runs import plots

_BLANK = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAQAAAC1HAwCAAAAC0lEQVR42mNk+A8AAQUBAScY42YAAAAASUVORK5CYII="
)


def leave_plots_blank(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let trainings write a PNG of one pixel in place of their loss and their forecasts.

    Trainings in fixtures of a session or a module come before and are rendered, as are all other figures, and these two
    where a test draws them itself.
    """
    for name in ("save_loss_plot", "save_forecast_plot"):
        monkeypatch.setattr(plots, name, _blank(getattr(plots, name)))


def _blank(draw: Callable[..., None]) -> Callable[..., None]:
    @wraps(draw)
    def drawn(path: Path, *arguments: Any, **options: Any) -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(
                plots, "save_figure", lambda figure, path: write_atomic(path, lambda file: file.write(_BLANK))
            )
            draw(path, *arguments, **options)

    return drawn
