"""What a fit records of every step."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict

from qkan._util.files import save_figure

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure


class FitRow(TypedDict):
    """One row of a history: the weights after ``step`` steps."""

    step: int  #: 0 is the start
    optimizer: str  #: what made the step: "start" (also of another attempt), "adam" or "lbfgs"
    train_loss: float  #: of all samples; with mini-batches that of the next batch, at the end again of all samples
    validation_loss: float  #: NaN without validation samples, and between the epochs of mini-batches
    regularization: float  #: what was added to train_loss
    watched: float  #: what the kept weights have the least of; NaN between the epochs of mini-batches
    evaluations: int  #: of the loss and its gradient, of a batch or of all samples, until these weights were reached
    seconds: float  #: wall time since the start


@dataclass
class FitHistory:
    """The record of a fit.

    Attributes:
        watched: ``"validation_loss"``, or ``"train_loss"`` (of all samples, regularisation included).
        rows: one :class:`FitRow` a step, the first for the start.
        best_step: the step whose weights the model has now.
        best_loss: its value of what is watched.
        stopped: why the fit ended: ``"steps"`` (all were made), ``"converged"`` (LBFGS finds no step that changes the
            weights, even without its memory) or ``"callback"``.

    Examples:
        >>> import torch
        >>> from qkan import QKAN
        >>> x = 2 * torch.rand(60, 2) - 1
        >>> net = QKAN([2, 1], reps=1)
        >>> history = net.fit(x, x[:, :1], steps=5)
        >>> len(history.to_frame()) == history.best_loss < 1
        False
    """

    watched: str
    rows: list[FitRow] = field(default_factory=list)
    best_step: int = 0
    best_loss: float = float("inf")
    stopped: str = "steps"

    def __len__(self) -> int:
        return len(self.rows)

    def to_frame(self) -> pd.DataFrame:
        """The rows as a pandas data frame with the fields of :class:`FitRow` as its columns."""
        import pandas as pd

        return pd.DataFrame(self.rows, columns=list(FitRow.__annotations__))

    def plot(self, path: str | Path | None = None) -> Figure:
        """Draw training and validation loss over the steps on a log scale, and save the plot if a path is given."""
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        figure = Figure(figsize=(7.0, 3.5), layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.add_subplot()
        rows = self.to_frame()
        for column, label, color in (
            ("train_loss", "training", "#999999"),
            ("validation_loss", "validation", "#0072b2"),
            ("regularization", "regularisation", "#009e73"),
        ):
            shown = rows[rows[column].notna()]
            if (shown[column] != 0).any():
                axes.plot(shown["step"], shown[column], label=label, color=color)
        axes.axvline(self.best_step, color="#d55e00", linestyle="--", label=f"kept weights (step {self.best_step})")
        second = rows.loc[rows["optimizer"] == "lbfgs", "step"]
        if len(second) and (rows["optimizer"] == "adam").any():
            axes.axvline(second.iloc[0] - 1, color="#222222", linestyle=":", label="Adam to LBFGS")
        axes.set(xlabel="step", ylabel="loss", yscale="log")
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False)
        if path is not None:
            save_figure(figure, path)
        return figure
